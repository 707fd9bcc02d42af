"""What is usual at a place at this hour of the week, and when its queue will be empty. Pure: frames in, frames out.

Bands are p10 to p90, by nearest rank, over the same hour of the week (0: Monday, 00:00 to 01:00, by the site's zone).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from .clock import SECOND
from .wording import came_and_left

LOW, HIGH = 0.1, 0.9
HOURS = 168
DAYS = 2  #: on so many one must have seen an hour to know what is usual in it
ENOUGH = 5  #: from so many who came or left on, one can tell whether a queue drains

_BANDS = ("queued", "running", "oldest_s", "wait_s")


def hour_of_week(at: int, zone: str) -> int:
    """Tell in which hour of the week an instant lies."""
    there = datetime.fromtimestamp(at / SECOND, UTC).astimezone(ZoneInfo(zone))
    return there.weekday() * 24 + there.hour


def bands(series: pl.DataFrame, waits: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Give the usual bands: a row for each hour of the week, empty where nothing is known of it.

    `series` has bucket, queued, running, oldest_s; `waits` has hour and wait_s, the p95 of that hour. Columns: hour,
    and for each of queued, running, oldest_s and wait_s its low and high. There are but few p95s of one hour, so that
    the hours beside it count too. An hour of the week that was seen in one week only goes by that hour of all days; one
    that was seen on a single day is not known.
    """
    found = pl.DataFrame({"hour": pl.Series(range(HOURS), dtype=pl.Int64)}).with_columns(of_day=pl.col("hour") % 24)
    stood = series.with_columns(hour=_hour("bucket", zone), day=_day("bucket", zone))
    shifts = [
        waits.select("wait_s", hour=(_hour("hour", zone) + shift) % HOURS, day=_day("hour", zone))
        for shift in (-1, 0, 1)
    ]
    for name in _BANDS:
        source = (pl.concat(shifts) if name == "wait_s" else stood).drop_nulls(name)
        of_week = _band(source, name, "hour")
        of_day = _band(source.with_columns(of_day=pl.col("hour") % 24), name, "of_day")
        low, high = f"{name}_low", f"{name}_high"
        found = (
            found.join(of_week, on="hour", how="left", maintain_order="left")
            .join(of_day, on="of_day", how="left", maintain_order="left", suffix="_of_day")
            .with_columns(pl.coalesce(low, f"{low}_of_day"), pl.coalesce(high, f"{high}_of_day"))
            .drop(f"{low}_of_day", f"{high}_of_day")
        )
    return found.drop("of_day")


def _band(source: pl.DataFrame, name: str, by: str) -> pl.DataFrame:
    return (
        source.group_by(by)
        .agg(
            pl.col(name).quantile(LOW, "nearest").cast(pl.Float64).alias(f"{name}_low"),
            pl.col(name).quantile(HIGH, "nearest").cast(pl.Float64).alias(f"{name}_high"),
            days=pl.col("day").n_unique(),
        )
        .filter(pl.col("days") >= DAYS)
        .drop("days")
    )


def _day(column: str, zone: str) -> pl.Expr:
    return pl.col(column).dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date()


def _hour(column: str, zone: str) -> pl.Expr:
    there = pl.col(column).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return (there.dt.weekday().cast(pl.Int64) - 1) * 24 + there.dt.hour().cast(pl.Int64)


def oldest_by_turn(series: pl.DataFrame, bucket: int) -> pl.Series:
    """Tell from counts how long the oldest had waited at each bucket's end if all went by turn; 0 where nobody waits.

    Who waits then are the last that came, as many as are queued: so the oldest came when all before them had come.
    True to half a bucket where no priorities and no holds change the turns. Empty where he came before the series.
    """
    arrived = series["arrived"].cum_sum()
    before = arrived - series["queued"]
    came = arrived.search_sorted(before, side="right")
    places = pl.int_range(series.height, eager=True)
    known = pl.DataFrame({"queued": series["queued"], "before": before, "age": places - came.cast(pl.Int64)})
    return known.select(
        pl.when(pl.col("queued") <= 0)
        .then(0.0)
        .when(pl.col("before") >= 0)
        .then((pl.col("age") + 0.5) * (bucket / SECOND))
        .alias("oldest_s")
    ).to_series()


def p95_by_hour(histogram: pl.DataFrame) -> pl.DataFrame:
    """Find each hour's p95 by nearest rank: of hour, wait_s and n (how many waited so long) make hour and wait_s."""
    return (
        histogram.sort("hour", "wait_s")
        .with_columns(upto=pl.col("n").cum_sum().over("hour"), all=pl.col("n").sum().over("hour"))
        .filter(pl.col("upto") >= 0.95 * pl.col("all"))
        .group_by("hour", maintain_order=True)
        .agg(pl.col("wait_s").first())
    )


@dataclass(frozen=True, slots=True)
class Drain:
    """When a queue will be empty at the present pace: in `seconds`, or `word` says why there is no such number."""

    word: str  #: empty, about, does not, unknown
    seconds: float | None
    reason: str


def drain(queued: int, arrived: int, departed: int, over_s: float) -> Drain:
    """Estimate it from who waits now (held ones apart) and from who came and left in the last `over_s` seconds."""
    span = f"the last {over_s // 60:.0f} min"
    flow = f"{came_and_left(arrived, departed)} in {span}"
    if queued <= 0:
        return Drain("empty", 0.0, "Nothing is queued")
    if over_s < 60 or arrived + abs(departed) < ENOUGH:
        seen = f"only {flow}" if arrived or departed else f"nothing came or left in {span}"
        return Drain("unknown", None, f"Too little happened to tell: {seen}")
    if departed <= arrived:
        return Drain("does not", None, f"No more leave than come: {flow}")
    return Drain("about", queued * over_s / (departed - arrived), f"{queued:,} wait; {flow}")
