"""The unfinished tasks that a filter finds at a place, as of a snapshot: what all lists of them go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from .clock import SECOND
from .filters import Filter
from .lifecycle import SYSTEM_KINDS, Status, Tab, tab
from .snapshot import Snapshot

AS_OF = 10 * SECOND  #: a filter that goes by the present moment is asked by a clock that ticks so often
OF_QUEUES = frozenset({"shown_status", "held_by", "cause"})  #: columns that change while their rows do not
SYSTEM = tuple(sorted(kind.value for kind in SYSTEM_KINDS))

_TAB = {status.value: tab(status, True).value for status in Status}


@dataclass(frozen=True, slots=True)
class Place:
    """Where tasks are looked for: sites of a business; none named means all. Some may not see processors by name."""

    business: str
    sites: tuple[str, ...] = ()
    processors: str | None = None  #: what each processor is called instead of by its name


def asked_at(wanted: Filter, now: int) -> int:
    """Tell as of which instant a filter is asked: what follows from the clock is found once for some seconds."""
    return now - now % AS_OF if wanted.relative else now


def living(snapshot: Snapshot, place: Place, wanted: Filter, as_of: int, columns: Iterable[str]) -> pl.DataFrame:
    """Give the unfinished tasks that a filter finds: some columns, and tab, system, hidden."""
    needed = {*columns, *wanted.columns, "task_id", "business", "site", "kind", "status", "queued_at", "hidden"}
    return among(snapshot.tasks(*sorted(needed)), place, wanted, as_of)


def among(rows: pl.DataFrame, place: Place, wanted: Filter, as_of: int) -> pl.DataFrame:
    """Pick those of some unfinished tasks, as a snapshot has them, that a filter finds; likewise.

    A processor without a name here has none for the filter either, so that nobody finds one out by asking.
    """
    rows = rows.filter(pl.col("business") == place.business)
    if place.sites:
        rows = rows.filter(pl.col("site").is_in(place.sites))
    instants = [name for name in rows.columns if name.endswith("_at")]
    spans = [name for name in rows.columns if name.endswith("_s")]
    rows = rows.with_columns(pl.col(instants).cast(pl.Datetime("us")), pl.col(spans) / SECOND)
    if place.processors is not None:
        rows = rows.with_columns(masked(rows.columns, place.processors))
    due = pl.col("queued_at").is_not_null()
    where = (
        pl.when(~due & (pl.col("status") == Status.NEW))
        .then(pl.lit(Tab.SCHEDULED.value))
        .otherwise(pl.col("status").replace_strict(_TAB, return_dtype=pl.String))
    )
    return rows.filter(wanted.expr(as_of)).with_columns(tab=where, system=pl.col("kind").is_in(SYSTEM))


def masked(columns: Iterable[str], processors: str) -> list[pl.Expr]:
    """Call processors by what they are called, in those of the columns that name one."""
    named, system = pl.lit(processors), pl.col("kind").is_in(SYSTEM)
    masks = {
        "processor": pl.when(pl.col("processor").is_not_null()).then(named).alias("processor"),
        "requested_service": pl.when(system & pl.col("requested_service").is_not_null()).then(named)
        .otherwise("requested_service").alias("requested_service"),
    }  # fmt: skip
    return [mask for name, mask in masks.items() if name in columns]
