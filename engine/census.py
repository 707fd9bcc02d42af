"""How many ended tasks there are of each sort: counted once by all the words of a row, then moved on batch by batch.

Tasks are many, sorts are few: the same targets are worked on again and again. So a filter over words is counted, and
that it finds nothing is known beforehand, by looking at some thousands of sorts instead of at millions of rows. The
census is in memory only, made anew after a start beside everything else, and costs a commit nothing. It counts exactly
the rows that stand as of its batch. Where sorts are so many that they would not help there is none, and rows are asked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import polars as pl

from .store import Store

WORDS = (
    "hidden", "priority", "business", "kind", "status", "shown_status", "source", "outcome", "site", "reason", "scope",
    "service", "processor", "owner", "initiator", "created_by", "target", "name",
)  # fmt: skip
"""The columns that make a sort."""

MOST_SORTS = 200_000  #: of more than so many there is no census
AT_ONCE = 2_000_000  #: rows that one query of a census counts
SOON = 200_000  #: so many rows that are not counted yet are so while somebody waits

_LISTED = ", ".join(WORDS)


class Census:
    """The sorts of a store's ended tasks; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._batch: int | None = None
        self._sorts = pl.DataFrame()  #: WORDS and n; parts of one sort may be apart, and some negative
        self._merged = 0  #: so many sorts there were when parts were last put together
        self._too_many = False
        self._begun: tuple[int, int, pl.DataFrame] | None = None  #: as of a batch, so many rows, and their sorts

    def take(self) -> None:
        """Count what was not counted yet, up to the store's last batch; of a long history only the next part."""
        with self._lock:
            if not self._too_many:
                self._move_on(self._store.batch, a_part=True)

    def as_of(self, batch: int) -> pl.DataFrame | None:
        """Give WORDS and n, how many such rows stand as of a batch; None where there is no census, or none yet.

        One sort may be in several rows, whose n add up, even to nothing.
        """
        if self._too_many or (self._batch is None and (self._lock.locked() or self._total() > SOON)):
            return None
        with self._lock:
            if self._batch is None:
                self._move_on(batch)
            if self._batch is not None and self._batch < batch:  # also where it was begun as of an earlier one
                self._move_on(batch)
            if self._batch is None or self._batch == batch:
                return None if self._too_many else self._sorts
            return pl.concat([self._sorts, self._change(batch, self._batch).with_columns(-pl.col("n"))])

    def _total(self) -> int:
        total: int = self._store.read("select count(*) from task_done").item()
        return total

    def _move_on(self, batch: int, a_part: bool = False) -> None:
        if self._batch is None:
            whole = self._next_part(batch)
            while not whole and not a_part:
                whole = self._next_part(batch)
            if self._begun is None or not whole:
                return
            (batch, _, rows), self._begun, self._merged = self._begun, None, 0
        elif self._batch < batch:
            rows = pl.concat([self._sorts, self._change(self._batch, batch)])
        else:
            return
        if rows.height > self._merged + self._merged // 4 + 1_000:
            rows = _together([rows])
            self._merged = rows.height
        if rows.height > MOST_SORTS:
            self._too_many, self._batch, self._sorts = True, None, pl.DataFrame()
        else:
            self._batch, self._sorts = batch, rows

    def _next_part(self, batch: int) -> bool:
        """Count some more of what stands as of a batch, and tell whether that is all of it now.

        In parts, so that it is noticed early if there are too many sorts, and nobody waits long for a core.
        """
        batch, first, found = self._begun or (batch, 0, None)
        part = self._store.read(
            f"""select {_LISTED}, count(*)::bigint as n from task_done
                where rowid >= {first} and rowid < {first + AT_ONCE} and batch <= $batch
                  and (superseded_by is null or superseded_by > $batch) group by all""",
            {"batch": batch},
        )
        found = part if found is None else _together([found, part])
        self._begun = batch, first + AT_ONCE, found
        return found.height > MOST_SORTS or first + AT_ONCE >= self._total()

    def _change(self, last: int, batch: int) -> pl.DataFrame:
        """Count the rows that came after a batch up to another, less those replaced."""
        return self._store.read(
            f"""select {_LISTED}, count(*)::bigint as n from task_done
                where batch > $last and batch <= $batch and (superseded_by is null or superseded_by > $batch)
                group by all
                union all
                select {_LISTED}, -count(*)::bigint from task_done
                where batch <= $last and superseded_by > $last and superseded_by <= $batch group by all""",
            {"last": last, "batch": batch},
        )


def _together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by(WORDS).agg(pl.col("n").sum()).filter(pl.col("n") != 0)
