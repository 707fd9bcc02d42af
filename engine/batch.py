"""A batch: the rows of one commit made ready to be written, in order, as stored columns, linked to the batch before.

The link covers the very columns that are written, in the order in which they are written; made of the same rows after
the same batch it is always the same, so that a commit that failed can be tried again. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain as joined

import pyarrow as pa

from .chain import Canonical, in_order, link
from .columns import columns_of, plain_columns, stored_columns
from .ledger import LEDGER_TABLES, ROW_TYPES, AssetSeen, Rows

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
    bulk: Bulk
    superseded: list[int]  #: tasks of which an earlier row gives way to one of this batch
    link: str


def prepare(
    key: bytes, before: str, number: int, now: int, rows: Rows, bulk: Bulk, restored: Collection[int]
) -> Batch:
    """Turn rows into what DuckDB takes in, and into the batch's link; `restored` tasks have a row that says New."""
    tables: dict[str, pa.Table] = {}
    parts: list[Iterable[tuple[Canonical, int, int]]] = []
    for table in ROW_TYPES:
        own = getattr(rows, table)
        if table in bulk:
            assert not own
            if table in LEDGER_TABLES:
                parts.append(_blocks(table, bulk[table]))
            continue
        if table in LEDGER_TABLES:
            own = in_order(table, own)
        elif table == "task_done":
            own = list({row.task_id: row for row in own}.values())
        elif table == "asset":
            own = _latest(own)
        plain = plain_columns(table, own) if own else {}
        if table in LEDGER_TABLES:
            parts.append([(Canonical(table, plain.values()), 0, len(own))])
        if own:
            tables[table] = stored_columns(table, plain, number)
    changed = {event.task_id for event in rows.task_event if event.event in VERSIONED}.union(restored)
    superseded = [row.task_id for row in rows.task_done if row.task_id in changed] if changed else []
    made = link(key, before, number, now, joined.from_iterable(parts))
    return Batch(number, now, tables, bulk, superseded, made)


def _blocks(table: str, bulk: Iterable[pa.Table]) -> Iterator[tuple[Canonical, int, int]]:
    for block in bulk:
        yield Canonical(table, columns_of(block).values()), 0, block.num_rows


def _latest(assets: Sequence[AssetSeen]) -> list[AssetSeen]:
    """Keep one row per asset, the last seen: an upsert can't touch a row twice."""
    latest: dict[tuple[str, str, str], AssetSeen] = {}
    for seen in assets:
        key = (seen.business, seen.site, seen.target)
        if key not in latest or latest[key].seen_at <= seen.seen_at:
            latest[key] = seen
    return list(latest.values())
