"""The chain: every batch is a link of an HMAC chain over all ledger rows, whose key and head lie outside the database.

A link covers the link before, the batch's number and instant, and all values of its rows, table by table in one order.
So a change made behind our back shows: rows edited, deleted, added or moved, batches removed, the ledger cut off at its
end. A row gives the same bytes before it is stored and after it is read back; a link once written never changes.

The key is made with the store and never replaced: without it the chain can neither be checked nor continued. The head
names the last batch that was acknowledged, and the engine's clock; it is written after the commit, so that a store may
be ahead of it, never behind. Both are small files beside the database; nothing else is touched here.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from .columns import plain_select
from .errors import StoreDamaged
from .ledger import ADDED_TABLES, LEDGER_TABLES
from .schema import TYPES

HEAD = "head.json"
KEY = "chain.key"
NO_LINK = "00" * 32  #: what the first batch is chained to
BLOCK = 16_384  #: rows that the chain goes by: a batch of millions can be written and checked piece by piece

Query = Callable[[str], pa.Table]
"""Runs a query on the store and gives its rows as Arrow columns."""

# --- links


def link(key: bytes, before: str, batch: int, now: int, parts: Iterable[tuple[Canonical, int, int]]) -> str:
    """Chain a batch to the one before: `parts` are each ledger table's rows and where the batch starts and stops.

    A table's rows may come in several parts, whole blocks each but for the last.
    """
    mac = hmac.new(key, bytes.fromhex(before), sha256)
    mac.update(b"batch %d at %d\n" % (batch, now))
    for rows, start, stop in parts:
        rows.feed(mac, start, stop)
    return mac.hexdigest()


def in_order(table: str, rows: Sequence[Any]) -> list[Any]:
    """Put a batch's rows in the order that the chain goes by and that the table keeps."""
    if table == "queue_shift":
        return sorted(rows, key=lambda row: [(value is None, value) for value in row])
    return sorted(rows, key=itemgetter(0))


def order_by(table: str) -> str:
    """Write the same order in SQL."""
    if table == "queue_shift":
        return ", ".join(f"{column} nulls last" for column in TYPES[table])
    return next(iter(TYPES[table]))


class Canonical:
    """The rows of one ledger table as bytes that are the same before and after storing; can be cut by rows.

    Numbers are 64-bit little-endian; texts are their lengths (-1 where absent), then all their UTF-8 bytes.
    """

    def __init__(self, table: str, columns: Iterable[pa.Array]) -> None:
        self._table, self._added = table.encode(), table in ADDED_TABLES
        self._numbers: list[Any] = []
        self._texts: list[tuple[Any, Any, memoryview]] = []
        for column in columns:
            if pa.types.is_string(column.type):
                self._texts.append(_text_parts(column))
            else:
                self._numbers.append(_numbers(column))

    def feed(self, mac: hmac.HMAC, start: int, stop: int) -> None:
        """Add rows start to stop, block by block; that there are none counts, too, but not of tables added later.

        So links of batches from before these tables stay what they were; and rows put there or taken away still show.
        """
        if start == stop and self._added:
            return
        for first in range(start, max(stop, start + 1), BLOCK):
            last = min(first + BLOCK, stop)
            mac.update(b"%s %d\n" % (self._table, last - first))
            if first == last:
                return
            for values in self._numbers:
                mac.update(values[first:last])
            for lengths, offsets, data in self._texts:
                mac.update(lengths[first:last])
                mac.update(data[offsets[first] : offsets[last]])


_NULL = -(2**63)  #: stands for an absent number; no column can hold it


def _numbers(column: pa.Array) -> Any:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(_NULL)
    return column.to_numpy()


def _text_parts(column: pa.Array) -> tuple[Any, Any, memoryview]:
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(offsets)
    if column.null_count:
        absent = column.is_null().to_numpy(zero_copy_only=False)
        if lengths[absent].any():  # whoever made the column left bytes under what is absent; they are no part of it
            lengths[absent] = 0
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            data_buffer = column.drop_null().buffers()[2]
        lengths[absent] = -1
    return lengths, offsets, memoryview(data_buffer or b"")


# --- the check


@dataclass(frozen=True, slots=True)
class Broken:
    """The first batch whose rows are not those that were committed."""

    batch: int
    why: str


class Stored(NamedTuple):
    """A batch as the store has it."""

    number: int
    now: int
    counts: str
    link: str


def broken_link(
    query: Query, key: bytes, head: Head, from_batch: int, rows_at_once: int,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Broken | None:
    """Recompute the chain from the rows that are there, and name the first batch that differs.

    Finds rows edited, deleted, added or moved to another batch in any ledger table, batches removed anywhere, and a
    ledger cut off at its end (its head no longer is the one beside the store). Commits may go on meanwhile, if the head
    was read before: what comes after the last batch that is read here is left alone. `told` hears up to which batch of
    which last one all is well, some batches after the other; it may take its time, and raise to end the check.
    """
    batches = stored_batches(query)
    last = batches[-1].number if batches else 0
    for expected, batch in enumerate(batches, 1):
        if batch.number != expected:
            return Broken(min(batch.number, expected), f"batch {expected} is missing or not alone")
    if head.batch > last:
        return Broken(last + 1, f"the ledger ends at batch {last}, batch {head.batch} was acknowledged")
    for table in LEDGER_TABLES:
        beyond = "batch is null or batch < 1 or batch > (select coalesce(max(batch), 0) from batch)"
        stray = query(f"select count(*) from {table} where {beyond}").column(0)[0].as_py()
        if stray:
            return Broken(last + 1, f"{stray} rows of {table} belong to no batch")
    before = NO_LINK if from_batch <= 1 else batches[from_batch - 2].link
    todo = batches[max(from_batch, 1) - 1 :]
    told(last - len(todo), last)
    while todo:
        size, n = _rows_in(todo[0].counts), 1
        while n < len(todo) and (size := size + _rows_in(todo[n].counts)) <= rows_at_once:
            n += 1
        part, todo = todo[:n], todo[n:]
        long = n == 1 and _rows_in(part[0].counts) > rows_at_once
        found = [_long_link(query, key, part[0], before)] if long else links(query, key, part, before)
        for batch, computed in zip(part, found, strict=True):
            if batch.link != computed:
                return Broken(batch.number, f"the rows of batch {batch.number} are not those that were committed")
        before = part[-1].link
        told(part[-1].number, last)
    if head.batch >= 1 and batches[head.batch - 1].link != head.link:
        return Broken(head.batch, f"batch {head.batch} is not the one that was acknowledged")
    return None


def stored_batches(query: Query, newest: int | None = None) -> list[Stored]:
    """Read all batches in their order, or the newest few."""
    batches = "batch" if newest is None else f"(from batch order by batch desc limit {newest})"
    found = query(f"select batch, epoch_us(committed_at), row_counts::varchar, link from {batches} order by batch")
    return list(map(Stored._make, zip(*(column.to_pylist() for column in found.columns), strict=True)))


def links(query: Query, key: bytes, batches: Sequence[Stored], before: str) -> list[str]:
    """Compute the links that consecutive batches should have, each from the stored link before it."""
    found = []
    for batch, parts in zip(batches, contents(query, batches), strict=True):
        found.append(link(key, before, batch.number, batch.now, parts))
        before = batch.link
    return found


def contents(query: Query, batches: Sequence[Stored]) -> Iterator[list[tuple[Canonical, int, int]]]:
    """Read the rows of consecutive batches, and give the parts of each batch that its link covers."""
    first, last = batches[0].number, batches[-1].number
    numbers = np.arange(first, last + 2)
    cut: list[tuple[Canonical, list[int]]] = []
    for table in LEDGER_TABLES:
        content = query(
            f"select batch, {plain_select(table)} from {table} where batch between {first} and {last} "
            f"order by batch, {order_by(table)}"
        ).combine_chunks()
        columns = [column.combine_chunks() for column in content.columns]
        bounds = np.searchsorted(columns[0].to_numpy(), numbers)
        cut.append((Canonical(table, columns[1:]), bounds.tolist()))
    for position in range(len(batches)):
        yield [(rows, bounds[position], bounds[position + 1]) for rows, bounds in cut]


TRIED = 3  #: batches by which a key is told from a wrong one: one that was tampered with is `verify`'s to find
SHORT = 4 * BLOCK  #: rows of a batch that is checked in a moment


def key_fits(query: Query, key: bytes) -> bool:
    """Tell whether one of the newest short batches was chained with this key; yes, too, where there is none."""
    newest = stored_batches(query, newest=10 * TRIED)
    pairs = list(pairwise([Stored(0, 0, "", NO_LINK), *newest] if newest and newest[0].number == 1 else newest))
    tried = [(before, batch) for before, batch in pairs if _rows_in(batch.counts) <= SHORT][-TRIED:]
    return not tried or any(
        links(query, key, [batch], before.link) == [batch.link] for before, batch in reversed(tried)
    )


PAGE = 8 * BLOCK  #: rows that are read at a time of a batch too long to be read at once


def _long_link(query: Query, key: bytes, batch: Stored, before: str) -> str:
    """Compute the link of a batch of millions, an import, with few of its rows in memory."""
    return link(key, before, batch.number, batch.now, _pages(query, batch.number))


def _pages(query: Query, batch: int) -> Iterator[tuple[Canonical, int, int]]:
    for table in LEDGER_TABLES:
        an_id, here = order_by(table), f"from {table} where batch = {batch}"
        ends = []
        if table != "queue_shift":  # which has no id to cut by, and is never long
            numbered = f"select {an_id} as an_id, row_number() over (order by {an_id}) as n {here}"
            ends = query(f"select an_id from ({numbered}) where n % {PAGE} = 0 order by n").column(0).to_pylist()
        # The pages are all rows, whatever their ids: one that was put in twice or lost its id must not slip through.
        for after, upto in pairwise([None, *ends, None]):
            beyond = "true" if after is None else f"({an_id} <= {after}) is not true"
            within = "true" if upto is None else f"{an_id} <= {upto}"
            rows = query(f"select {plain_select(table)} {here} and {beyond} and {within} order by {an_id}")
            columns = [column.combine_chunks() for column in rows.combine_chunks().columns]
            if rows.num_rows or after is None:
                yield Canonical(table, columns), 0, rows.num_rows


def _rows_in(counts: str) -> int:
    try:
        return sum(json.loads(counts).values())
    except (TypeError, ValueError, AttributeError):
        return 0  # only sizes the next read; what was tampered with shows in the links


# --- the files beside the store


class Head(NamedTuple):
    """The last batch that was acknowledged, its link, and the engine's clock."""

    batch: int = 0
    link: str = NO_LINK
    clock: int = 0


def read_head(folder: Path) -> Head:
    """Read the head; that of an empty ledger where there is none."""
    path = folder / HEAD
    try:
        noted = json.loads(path.read_text())
        return Head(int(noted.get("batch", 0)), str(noted.get("link", NO_LINK)), int(noted.get("clock", 0)))
    except FileNotFoundError:
        return Head()
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreDamaged(f"{path} can't be read: {error}. Use `restore` to accept the store as it is.") from error


def write_head(folder: Path, head: Head) -> None:
    """Put the head in its place, whole or not at all."""
    beside = folder / f"{HEAD}.new"
    beside.write_text(json.dumps(head._asdict()))
    beside.replace(folder / HEAD)


def refuse_loss(folder: Path, head: Head, last: int, stored: str | None) -> None:
    """Refuse a store that ends before its head, or whose batch of that number has another link (`stored`)."""
    if head.batch > last:
        raise StoreDamaged(
            f"The store in {folder} ends at batch {last}, but batch {head.batch} was acknowledged: "
            f"{head.batch - last} are missing. Was the .wal file removed, or an old copy put in its "
            "place? Put it back, or use `restore` to accept a backup.",
            last=last,
            acknowledged=head.batch,
        )
    if head.batch and stored != head.link:
        raise StoreDamaged(
            f"Batch {head.batch} in {folder} is not the one that was acknowledged: the store was "
            "replaced or changed. Put the right one back, or use `restore` to accept a backup."
        )


def read_key(folder: Path, *, make: bool) -> bytes:
    """Read the chain's key, or make one where the store is new."""
    path = folder / KEY
    try:
        return bytes.fromhex(path.read_text())
    except ValueError:
        raise StoreDamaged(f"{path} holds no key. Put the right one back from where you keep it.") from None
    except FileNotFoundError:
        if not make:
            raise StoreDamaged(
                f"{path} is missing: without it the chain of batches can neither be checked nor continued. "
                "Put it back from where you keep it."
            ) from None
    key = secrets.token_bytes(32)
    write_key(folder, key)
    return key


def refuse_wrong_key(query: Query, key: bytes, folder: Path) -> None:
    """Refuse a key that the batches were not chained with: all that is added would break the chain for good."""
    if not key_fits(query, key):
        raise StoreDamaged(
            f"{folder / KEY} is not the key of this store: its newest batches were chained with another. Put the right "
            "one back from where you keep it, or `restore` a backup, which brings its own. Nothing was changed. "
            "If you are sure of the key, the batches were tampered with: `verify` tells more."
        )


def write_key(folder: Path, key: bytes) -> None:
    """Write the key to a new file that only its owner may read; one that is there is never overwritten."""
    handle = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key.hex())
        file.flush()
        os.fsync(file.fileno())
