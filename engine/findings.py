"""What every check shares: the ledger as it stands at one batch, and how that which is wrong is told and placed.

A check is a query whose rows are wrongs, or a generator of them. Everything that is asked of the `Ledger` is as of the
batch that was the last durable one when it was made, so that a console may go on committing meanwhile; and it is asked
for a bounded stretch of ids after the other, so that memory stays bounded however long the history is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from string import Template
from typing import Any

import polars as pl

from .ledger import NUMBER_BITS, SYSTEM, make_id, number_of
from .lifecycle import task_label
from .store import Store

KEPT = 20  #: findings told of each check; the rest are counted
TASKS_AT_ONCE = 200_000

IMPORT = "import"  #: the actor of imported events

Wrong = dict[str, Any]
"""Check, what, and where: batch, business, site, kind, task_id, thing. `standing_for` counts those it stands for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be: which check says so, where it is, what was expected and what was found."""

    check: str
    where: str
    what: str


class Ledger:
    """A store up to a batch: what was committed by then, and the names of its businesses by number."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.upto = store.batch
        self.names: dict[int, str] = {SYSTEM: "the system"}
        for business, event_id in self.read(
            "select business, event_id from service_event where event = 'business_added' and batch <= $upto"
        ).iter_rows():
            self.names[event_id >> NUMBER_BITS] = business

    def name(self, no: int) -> str:
        return self.names.get(no, f"business number {no}")

    def businesses(self) -> list[tuple[int, str]]:
        return [(no, name) for no, name in self.names.items() if no != SYSTEM]

    def read(self, sql: str, **parts: object) -> pl.DataFrame:
        """Run a query; `$upto` in it is the last batch to look at, each other `$part` the text given for it."""
        return self.store.read(self._as_of(sql, **parts))

    def _as_of(self, sql: str, **parts: object) -> str:
        return Template(sql).safe_substitute(upto=self.upto, **parts)

    def wrongs(self, sql: str, **parts: object) -> Iterator[Wrong]:
        """Run a query whose rows are wrongs (check, batch, what and where) and keep the first of each check."""
        found = self.store.few(
            self._as_of(
                f"""
                select *, count(*) over (partition by "check") as total from ({sql})
                qualify row_number() over (partition by "check" order by batch nulls last, what) <= {KEPT}
                """,
                **parts,
            )
        )
        told: Counter[str] = Counter()
        for row in found:
            told[row["check"]] += 1
            # The last one told stands for those beyond it too, so that they are counted.
            more = row["total"] - KEPT if told[row["check"]] == KEPT else 0
            yield {**row, "standing_for": 1 + more}

    def highest(self, column: str, tables: Iterable[str]) -> dict[int, int]:
        """Tell the highest running number in a column of ids, by business number."""
        parts = " union all ".join(f"select {column} as id from {table} where batch <= $upto" for table in tables)
        found = self.read(
            f"select id >> {NUMBER_BITS}, max(id) from ({parts}) where id is not null group by 1 order by 1"
        )
        return {no: number_of(highest) for no, highest in found.iter_rows()}

    def task_stretches(self) -> Iterator[tuple[int, int]]:
        """Cut all tasks into stretches of ids; small businesses share one."""
        shared: tuple[int, int, int] | None = None  #: first id, last id, how many at most
        for no, highest in self.highest("task_id", ("task_event", "task_done", "task_live")).items():
            for first, last in stretches(no, highest, TASKS_AT_ONCE):
                n = min(number_of(last), highest) - number_of(first) + 1
                if shared is not None and shared[2] + n <= TASKS_AT_ONCE:
                    shared = shared[0], last, shared[2] + n
                    continue
                if shared is not None:
                    yield shared[0], shared[1]
                shared = first, last, n
        if shared is not None:
            yield shared[0], shared[1]


def stretches(no: int, highest: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut the ids of a business into stretches of at most `size`, [first, last]."""
    for start in range(0, highest + 1, size):
        yield make_id(no, start), make_id(no, start + size - 1)


def where(wrong: Wrong) -> str:
    """Say where something is wrong: business, site, task or thing, and batch, as far as they are known."""
    parts = [wrong.get("business"), wrong.get("site")]
    if wrong.get("task_id") is not None:
        parts.append(task_name(wrong.get("kind"), wrong["task_id"]))
    parts.append(wrong.get("thing"))
    place = " / ".join(part for part in parts if part)
    batch = wrong.get("batch")
    return ", ".join(filter(None, [place, None if batch is None else f"batch {batch}"])) or "the whole store"


def task_name(kind: str | None, task_id: int) -> str:
    """Name a task as every screen does, as far as its kind is one."""
    try:
        return task_label(kind or "", number_of(task_id))
    except ValueError:
        return f"{kind or 'task'} #{number_of(task_id)}"


def when(at: int) -> str:
    """Write an instant (µs) out."""
    return f"{pl.from_epoch(pl.Series([at]), time_unit='us').item():%Y-%m-%d %H:%M:%S} UTC"


def quoted(text: object) -> str:
    """Write a text as SQL does."""
    return "'" + str(text).replace("'", "''") + "'"


def listed(words: Iterable[object]) -> str:
    """Write words as SQL lists them between the brackets of an `in`."""
    return ", ".join(quoted(word) for word in sorted(map(str, words)))


#: Each business's name beside its number.
NUMBER_OF = f"""
    select business, event_id >> {NUMBER_BITS} as no from service_event
    where event = 'business_added' and batch <= $upto
"""
