"""A batch: the rows of one commit made ready to be written, in order, as stored columns, linked to the batch before.

The link covers the very columns that are written, in the order in which they are written; made of the same rows after
the same batch it is always the same, so that a commit that failed can be tried again. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from .chain import BLOCK, Canonical, in_order, link
from .columns import columns_of, plain_columns, stored_columns
from .ledger import KEYS, LEDGER_TABLES, ROW_TYPES, AssetSeen, Rows

Bulk = Mapping[str, Iterable[pa.Table]]
"""Rows of a batch that are too many to hold: by table, blocks of plain columns in the order that the chain goes by, as
long as the chain's blocks but for the last. They are asked for more than once, and once more for each further try."""

VERSIONED = frozenset({"hide", "unhide", "restore"})  #: these events append a further version of a task's row


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit, ready to be written."""

    number: int
    now: int
    tables: dict[str, pa.Table]
    bulk: Bulk  #: further tables, still as plain columns: they are dressed one block at a time
    superseded: list[int]  #: tasks of which an earlier row gives way to one of this batch
    link: str


def prepare(
    key: bytes, before: str, number: int, now: int, rows: Rows, bulk: Bulk, restored: Collection[int]
) -> Batch:
    """Turn rows into what DuckDB takes in, and into the batch's link; `restored` tasks have a row that says New.

    A table's rows come in `rows` or, if they are many, in bulk. Those in bulk are new: they replace no earlier row.
    """
    plain = _plain(rows)
    assert plain.keys().isdisjoint(bulk), "a table's rows come one way or the other"
    tables = {table: stored_columns(table, columns, number) for table, columns in plain.items()}
    changed = {event.task_id for event in rows.task_event if event.event in VERSIONED}.union(restored)
    superseded = [row.task_id for row in rows.task_done if row.task_id in changed] if changed else []
    return Batch(number, now, tables, bulk, superseded, link(key, before, number, now, _ledger(plain, bulk)))


def in_bulk(rows: Rows) -> Bulk:
    """Make rows ready to be committed in bulk, maybe by another process: of each table a block at most."""
    return {table: [pa.table(columns)] for table, columns in _plain(rows).items()}


def bound(parts: Sequence[Bulk]) -> Bulk:
    """Bind what several businesses did into one bulk; parts come by business number, so that ids ascend."""
    bulk: dict[str, list[pa.Table]] = {}
    for table in ROW_TYPES:
        blocks = [block for part in parts for block in part.get(table, ())]
        if table == "asset":
            bulk[table] = blocks  # upserted one after the other: an asset may be in several
        elif blocks:
            whole = pa.concat_tables(blocks).combine_chunks()
            if table == "queue_shift":
                whole = whole.sort_by([(column, "ascending") for column in whole.column_names])
            bulk[table] = [whole.slice(start, BLOCK) for start in range(0, whole.num_rows, BLOCK)]
    return {table: blocks for table, blocks in bulk.items() if blocks}


def _plain(rows: Rows) -> dict[str, dict[str, pa.Array]]:
    """Turn the rows that there are into plain columns, in the order in which they are written."""
    plain = {}
    for table in ROW_TYPES:
        own = getattr(rows, table)
        if table in LEDGER_TABLES:
            own = in_order(table, own)
        elif table == "task_done":
            own = list({row.task_id: row for row in own}.values())
        elif table == "asset":
            own = _latest(own)
        elif table in KEYS:  # an upsert can't touch a row twice
            own = list({tuple(getattr(row, column) for column in KEYS[table]): row for row in own}.values())
        if own:
            plain[table] = plain_columns(table, own)
    return plain


def _ledger(plain: dict[str, dict[str, pa.Array]], bulk: Bulk) -> Iterator[tuple[Canonical, int, int]]:
    """Give the ledger's rows in the order that the chain goes by, one block of what comes in bulk at a time."""
    for table in LEDGER_TABLES:
        blocks = map(columns_of, bulk[table]) if table in bulk else [plain.get(table, {})]
        for block in blocks:
            yield Canonical(table, block.values()), 0, len(next(iter(block.values()), ()))


def _latest(assets: Sequence[AssetSeen]) -> list[AssetSeen]:
    """Keep one row per asset, the last seen: an upsert can't touch a row twice."""
    latest: dict[tuple[str, str, str], AssetSeen] = {}
    for seen in assets:
        key = (seen.business, seen.site, seen.target)
        latest[key] = seen_later(latest[key], seen) if key in latest else seen
    return list(latest.values())


def seen_later(before: AssetSeen, after: AssetSeen) -> AssetSeen:
    """Make one of two sights of an asset: as it was seen last, with the score that was told last."""
    last = after if before.seen_at <= after.seen_at else before
    score = before.outlier_score if after.outlier_score is None else after.outlier_score
    return last if last.outlier_score == score else last._replace(outlier_score=score)
