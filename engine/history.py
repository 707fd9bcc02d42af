"""Every read of what was and what stands: SQL with parameters in, Polars frames out.

Instants are integer microseconds (UTC) in arguments and plain values, `Datetime("us")` in frames; durations end in `_s`
and are seconds, Float64. A live console hands in its snapshot and gets live tasks, services and holds as of that;
without one (a store that no engine runs) live tasks are those of the last publication, services and holds those of the
ledger. Nothing here tells good from bad: `look` gathers what the health checks go by, `health` judges it.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import polars as pl

from . import rollups, usual
from .clock import DAY, HOUR, MINUTE, SECOND
from .health import Limits, Look
from .ledger import NUMBER_BITS, business_of
from .lifecycle import REASON_WORDS, RUNNING, SYSTEM_KINDS, TERMINAL, Kind, Status
from .messages import ScheduleSpec
from .rollups import QUARTER
from .snapshot import HoldLook, ServiceLook, Snapshot
from .state import spec_from_detail
from .store import Store
from .task import COLLECT, PROCESS

USUAL_DAYS = 14  #: what is usual is taken from so many days back
USUAL_TASKS = 1_000_000  #: or from fewer, where more tasks than this ended in them: enough to tell, and bounded
PACE_TASKS = 200_000  #: likewise, for a median instead of a p95
RECENT_S = 900  #: what is recent, for arrivals, departures and widgets
LATEST = 5  #: so many of a site's refreshes, or of a processor's tasks, tell how it does now
LOOK_BACK = DAY  #: how far back a look follows each queue, minute by minute
ENOUGH = Limits().pile_up_tasks
MOST_POINTS = 500  #: a series without a bucket of its own has at most so many
BUCKETS = (MINUTE, 5 * MINUTE, QUARTER, HOUR, 6 * HOUR, DAY)

MOST_STACKED = 100  #: schedules and users who are named of a minute
_SERVICE_FIELDS = attrgetter(*(field.name for field in fields(ServiceLook)))
_HOLD_FIELDS = attrgetter(*(field.name for field in fields(HoldLook)))

_SCOPE = """($business::varchar is null or business = $business::varchar)
    and ($site::varchar is null or site = $site::varchar)"""
_OWN = "source in ('live', 'demo')"  #: work of this fleet, not of an imported log


def last_instant(store: Store) -> int | None:
    """Tell the engine's clock at the last commit; None for an empty store."""
    instant: int | None = store.read("select epoch_us(max(committed_at)) as at_us from batch").item()
    return instant


# --- queues over time


def depth(
    store: Store,
    start_at: int,
    end_at: int,
    *,
    business: str | None = None,
    site: str | None = None,
    kind: str | None = None,
    bucket: int | None = None,
) -> pl.DataFrame:
    """Follow the queue of everything, a business, a site or one kind at a site, up to the last commit.

    A row per bucket that begins in [start_at, end_at): bucket, arrived, started, finished (counts within it), depth,
    held, process_depth, process_held, running (at its end), highest (depth within it), queued (depth without held).
    Without a `bucket` (µs) the finest that gives at most 500 rows; the start is moved down to a whole bucket.
    """
    if (site is not None and business is None) or (kind is not None and site is None):
        raise ValueError("a kind is told at a site, a site in a business")
    if bucket is None:
        bucket = next((b for b in BUCKETS if (end_at - start_at) // b <= MOST_POINTS), BUCKETS[-1])
    level = "kind" if kind else "site" if site else "business" if business else "all"
    start_at -= start_at % bucket
    series = rollups.depth_series(store, level, start_at, end_at, bucket, business=business, site=site, kind=kind)
    return series.with_columns(queued=pl.col("depth") - pl.col("held"))


_LEFT: dict[str, str] = {
    COLLECT: "queued_at as since_at, coalesce(started_at, finished_at) as left_at",
    PROCESS: "processing_queued_at as since_at, coalesce(processing_started_at, finished_at) as left_at",
}


def oldest_wait(
    store: Store,
    instants: Sequence[int],
    *,
    business: str,
    site: str | None = None,
    stage: str = COLLECT,
    tasks: pl.DataFrame | None = None,
    kinds: Sequence[str] | None = None,
) -> list[float | None]:
    """Tell how long the oldest waiting task had waited at each of some ascending instants, in seconds.

    None where nobody waited. Waits run from queue time to first start, so a rescued task counts as waiting throughout;
    tasks that are held now are left out. Waits within one minute are left out unless they go on: give instants at
    minutes, the last may be now. `tasks` are the live ones, where they have been read already. No `kinds` means all.
    """
    if not instants:
        return []
    gone = store.read(
        f"""
        select since_at, left_at from (
            select {_LEFT[stage]}, business, site, kind from task_finished
            where finished_at > make_timestamp($start_at))
        where left_at > make_timestamp($start_at) and since_at <= make_timestamp($end_at)
          and date_trunc('minute', since_at) <> date_trunc('minute', left_at) and {_SCOPE}
          and kind in ({_listed(_kinds(True) if kinds is None else kinds)})
        """,
        {"start_at": instants[0], "end_at": instants[-1], "business": business, "site": site},
    )
    if tasks is None:
        tasks = live_tasks(store)
    since, left = ("queued_at", "started_at") if stage == COLLECT else ("processing_queued_at", "processing_started_at")
    waits = (
        tasks.lazy()
        .filter(
            pl.col("business") == business,
            pl.lit(True) if site is None else pl.col("site") == site,
            pl.lit(True) if kinds is None else pl.col("kind").is_in(kinds),
            pl.col(since).is_not_null(),
            pl.col("held_by").is_null(),
        )
        .select(
            since_at=since,
            left_at=pl.when(pl.col("waits_for") == stage).then(None).otherwise(pl.col(left)),
            goes_on=pl.col("waits_for") == stage,
        )
        .filter(pl.col("goes_on") | pl.col("left_at").is_not_null())
        .drop("goes_on")
        .collect()
    )
    ends = pl.concat([gone, waits]).sort("since_at").select(pl.all().dt.epoch("us"))
    return _oldest(ends["since_at"].to_list(), ends["left_at"].to_list(), instants)


def _oldest(since: list[int], left: list[int | None], instants: Iterable[int]) -> list[float | None]:
    """Walk the waits in queue order beside the instants: who has left by one of them never comes back."""
    ages: list[float | None] = []
    first, n = 0, len(since)
    for at in instants:
        while first < n and (gone := left[first]) is not None and gone <= at:
            first += 1
        ages.append((at - since[first]) / SECOND if first < n and since[first] <= at else None)
    return ages


def flow(
    store: Store, start_at: int, end_at: int, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """Count who came and went in (start_at, end_at], by business and site.

    Columns: business, site, arrived, departed (the queue for collecting, or for running a system task),
    process_arrived, process_departed (the queue for processing), finished. Who is put back by a rescue or a suspension
    does not arrive anew; it takes back a departure, so that arrived less departed is how the depth has changed. Where
    more were put back than left, departed is below zero.
    """
    return store.read(
        f"""
        select business, site,
               count(*) filter (dq > 0 and event in ('submit', 'due', 'restore')) as arrived,
               arrived - sum(dq)::bigint as departed,
               count(*) filter (dp > 0 and event = 'hand_over') as process_arrived,
               process_arrived - sum(dp)::bigint as process_departed,
               count(*) filter (to_status in ({_listed(TERMINAL)}) and from_status <> to_status) as finished
        from task_event
        where occurred_at > make_timestamp($start_at) and occurred_at <= make_timestamp($end_at) and {_SCOPE}
        group by business, site order by business, site
        """,
        {"start_at": start_at, "end_at": end_at, "business": business, "site": site},
    )


# --- what is usual


Ask = Callable[[str, Mapping[str, Any]], pl.DataFrame]
"""How to have a query answered: `Store.read` anew, `Slowly.read` as it was some minutes ago."""


class Slowly:
    """Answers about what is usual, kept for some minutes: it takes long to find out and changes slowly."""

    def __init__(self, store: Store, every_s: int = 600, most: int = 256) -> None:
        self._store, self._every, self._most = store, every_s * SECOND, most
        self._lock = threading.Lock()  # one at a time: who asks for the same meanwhile finds it answered
        self._kept: OrderedDict[tuple[object, ...], pl.DataFrame] = OrderedDict()

    def until(self, now: int) -> int:
        """Tell up to when answers know of what happened: by this, what is asked is the same for a while."""
        return now - now % self._every

    def read(self, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
        """Answer a query, as `Store.read`; the same query with the same parameters is answered once."""
        key = (sql, repr(sorted(params.items())))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._store.read(sql, dict(params))
            answer: pl.DataFrame = _kept(self._kept, key, self._most)
            return answer


def _usual_from(ask: Ask, until_at: int, enough: int = USUAL_TASKS) -> int:
    """Tell from when on to look for what is usual before an instant; a busy store needs fewer days."""
    start_at = until_at - USUAL_DAYS * DAY
    enough = ask(
        """
        select epoch_us(max(bucket)) as at_us from (
            select bucket, sum(finished) over (order by bucket desc) as n from queue_quarter
            where level = 'all' and bucket >= make_timestamp($start_at) and bucket <= make_timestamp($until_at))
        where n >= $enough
        """,
        {"start_at": start_at, "until_at": until_at, "enough": enough},
    ).item()
    return start_at if enough is None else int(enough)


def usual_durations(store: Store, until_at: int, wanted: pl.DataFrame, ask: Ask | None = None) -> pl.DataFrame:
    """Find how long such tasks usually run, by the last 14 days or million tasks; `wanted` has business, kind, target.

    Columns: business, kind, site, target (both empty: the kind in its business), runs, run_s, process_s: the p95, by
    nearest rank, of collecting and of processing. Only finished work of this fleet counts, no imported log.
    """
    ask = ask or store.read
    return ask(
        f"""
        with done as not materialized (  -- each part reads but what it needs
            select business, site, kind, target, run_s, process_s from task_finished
            where finished_at >= make_timestamp($start_at) and finished_at <= make_timestamp($until_at)
              and status = '{Status.PROCESSED}' and {_OWN} and kind in (select unnest($kinds::varchar[]))
              and business in (select unnest($businesses::varchar[])))
        select business, kind, null::varchar as site, null::varchar as target, count(*) as runs,
               quantile_disc(run_s, 0.95)::double as run_s, quantile_disc(process_s, 0.95)::double as process_s
        from done group by business, kind
        union all
        select business, kind, site, target, count(*), quantile_disc(run_s, 0.95)::double,
               quantile_disc(process_s, 0.95)::double
        from done where list_contains($targets::varchar[], target) group by business, kind, site, target
        """,
        {
            "start_at": _usual_from(ask, until_at),
            "until_at": until_at,
            "kinds": wanted["kind"].unique().sort().to_list(),
            "businesses": wanted["business"].unique().sort().to_list(),
            "targets": wanted["target"].drop_nulls().unique().sort().to_list(),
        },
    )


def widget_latencies(
    store: Store, now: int, *, business: str | None = None, site: str | None = None, slowly: Slowly | None = None
) -> pl.DataFrame:
    """Compare each widget's refreshes of the last 15 minutes with those of the 14 days before.

    Columns: business, site, widget, recent (how many), latency_s (their median), before (how many), usual_s (their
    median). Latency runs from the first request that a refresh answered to its result; for recent ones the time under a
    hold is left out.
    """
    ask, until_at = (slowly.read, slowly.until(now)) if slowly else (store.read, now)
    place = {"business": business, "site": site}
    before = ask(
        f"""
        select business, site, widget, count(*) as before, quantile_disc(latency_s, 0.5)::double as usual_s
        from widget_refresh
        where occurred_at >= make_timestamp($start_at) and occurred_at <= make_timestamp($recent_at) and {_SCOPE}
        group by business, site, widget
        """,
        {"start_at": _usual_from(ask, until_at), "recent_at": until_at - RECENT_S * SECOND, **place},
    )
    recent = store.read(
        f"""
        select business, site, widget, count(*) as recent,
               quantile_disc(latency_s - coalesce(held_s, 0), 0.5)::double as latency_s
        from widget_refresh
        left join (select task_id, wait_hold_s + process_wait_hold_s as held_s from task_finished
                   where finished_at > make_timestamp($recent_at)) using (task_id)
        where occurred_at > make_timestamp($recent_at) and occurred_at <= make_timestamp($now) and {_SCOPE}
        group by business, site, widget
        """,
        {"now": now, "recent_at": now - RECENT_S * SECOND, **place},
    )
    return (
        recent.join(before, on=["business", "site", "widget"], how="full", coalesce=True, nulls_equal=True)
        .with_columns(pl.col("recent", "before").fill_null(0))
        .select("business", "site", "widget", "recent", "latency_s", "before", "usual_s")
        .sort("business", "site", "widget")
    )


def latest_refreshes(
    store: Store, now: int, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """List each site's last five refreshes of the last 15 minutes, of all its widgets, the earliest first.

    Columns: business, site, widget, at, latency_s. Time under a hold is left out, and so is that while the console was
    down.
    """
    return store.read(
        f"""
        select business, site, widget, occurred_at as at,
               least(latency_s::double - coalesce(held_s, 0)::double,
                     case when epoch_us(occurred_at) > $up_at::bigint
                          then (epoch_us(occurred_at) - $up_at::bigint) / 1e6 end) as latency_s
        from widget_refresh
        left join (select task_id, wait_hold_s + process_wait_hold_s as held_s from task_finished
                   where finished_at > make_timestamp($recent_at)) using (task_id)
        where occurred_at > make_timestamp($recent_at) and occurred_at <= make_timestamp($now) and {_SCOPE}
        qualify row_number() over (partition by business, site order by occurred_at desc, task_id desc) <= {LATEST}
        order by business, site, occurred_at, widget
        """,
        {
            "now": now,
            "recent_at": now - RECENT_S * SECOND,
            "up_at": _up_since(store),
            "business": business,
            "site": site,
        },
    )


def _up_since(store: Store) -> int | None:
    """Tell since when the console has been up again; None where it was never down."""
    up_at: int | None = store.read(
        "select epoch_us(max(occurred_at)) as up_at from service_event where event = 'console_up'"
    ).item()
    return up_at


def paces(
    store: Store, now: int, running: pl.DataFrame, *, business: str | None = None, slowly: Slowly | None = None
) -> pl.DataFrame:
    """Compare what each processor does now with what the same work usually takes in its business.

    Columns: business, processor, tasks (the last five at most, of the last 15 minutes), times (the median of how many
    times as long as usual they took). Work of the same task type, or widget, is the same. A running task, of
    `running_tasks`, counts as soon as it is overdue.
    """
    work = f"business, kind, if(kind = '{Kind.QUERY}', target, null) as work"
    what = pl.when(pl.col("kind") == Kind.QUERY).then("target")
    done = f"from task_finished where status = '{Status.PROCESSED}' and {_OWN} and process_s is not null"
    ask, until_at = (slowly.read, slowly.until(now)) if slowly else (store.read, now)
    scope = "and finished_at <= make_timestamp($until_at) and ($business::varchar is null or business = $business)"
    recent = store.read(
        f"""select business, processor, kind, target, process_s::double as took_s, epoch_us(finished_at) as at {done}
            and finished_at > make_timestamp($recent_at) {scope}""",
        {"recent_at": now - RECENT_S * SECOND, "until_at": now, "business": business},
    )
    usual = ask(
        f"""select {work}, quantile_disc(process_s, 0.5)::double as usual_s {done}
            and finished_at > make_timestamp($start_at) {scope} group by all having count(*) >= {LATEST}""",
        {"start_at": _usual_from(ask, until_at, PACE_TASKS), "until_at": until_at, "business": business},
    )
    at_work = running.filter(pl.col("stage") == PROCESS).select(
        "business", "kind", "target", processor="host", took_s=(now - pl.col("since_at").dt.epoch("us")) / SECOND
    )
    return (
        pl.concat([recent, at_work], how="diagonal")
        .with_columns(work=what)
        .join(usual, on=["business", "kind", "work"], nulls_equal=True)
        .with_columns(times=pl.col("took_s") / pl.col("usual_s"))
        .filter(pl.col("at").is_not_null() | (pl.col("times") > 1))
        .sort("at", nulls_last=True)
        .group_by("business", "processor")
        .agg(tasks=pl.len().clip(upper_bound=LATEST).cast(pl.Int64), times=pl.col("times").tail(LATEST).median())
        .sort("business", "processor")
    )


USUAL_BUCKET = 5 * MINUTE


class Usual:
    """What is usual at places, made once an hour, and their last hours, made every so often; shared by all sessions."""

    def __init__(self, store: Store, most: int = 64, every_s: int = 10) -> None:
        self._store, self._most, self._every = store, most, every_s * SECOND
        self._lock = threading.Lock()  # one at a time: who asks for the same meanwhile finds it made
        self._bands: OrderedDict[tuple[object, ...], pl.DataFrame] = OrderedDict()
        self._recent: OrderedDict[tuple[object, ...], tuple[int, Recent]] = OrderedDict()
        self._busy = threading.Lock()  # one at a time, too, but who has seen a last one goes on with that

    def bands(
        self, now: int, business: str, site: str | None = None, *, zone: str = "UTC", system: bool = False
    ) -> pl.DataFrame:
        """Give `usual_bands` as of the last full hour."""
        now -= now % HOUR
        key = (now, business, site, zone, system)
        with self._lock:
            if key not in self._bands:
                self._bands[key] = usual_bands(self._store, now, business, site, zone=zone, system=system)
            frame: pl.DataFrame = _kept(self._bands, key, self._most)
            return frame

    def recent(
        self, now: int, business: str, site: str | None = None, *, snapshot: Snapshot | None = None,
        system: bool = False,
    ) -> Recent:
        """Give `recent`, so many seconds old, and longer only while somebody makes the next."""
        key = (business, site, system)
        known = self._recent.get(key)
        if known is not None and (now < known[0] + self._every or self._busy.locked()):
            return known[1]
        with self._busy:
            known = self._recent.get(key)
            if known is None or now >= known[0] + self._every:
                made = recent(self._store, now, business, site, snapshot=snapshot, system=system)
                self._recent[key] = known = now, made
            _kept(self._recent, key, self._most)
            return known[1]

    def now(self, now: int, business: str, site: str | None = None, *, zone: str = "UTC") -> dict[str, float | None]:
        """Give the bands of the present hour of the week: queued_low, queued_high, running_low …"""
        found = self.bands(now, business, site, zone=zone)
        return found.drop("hour").row(usual.hour_of_week(now, zone), named=True)


def _kept(made: OrderedDict[tuple[object, ...], Any], key: tuple[object, ...], most: int) -> Any:
    """Return what was made, and let go what was not asked for longest."""
    made.move_to_end(key)
    while len(made) > most:
        made.popitem(last=False)
    return made[key]


def usual_bands(
    store: Store, now: int, business: str, site: str | None = None, *, zone: str = "UTC", system: bool = False
) -> pl.DataFrame:
    """Find what is usual in each hour of the week by the last 14 days' rollups; see `usual.bands` for the columns.

    Of system tasks only where asked. The oldest wait is worked out from counts, as if all had gone by turn.
    """
    places = sites(store, business=business, site=site)
    start_at = now - USUAL_DAYS * DAY
    if places.height:
        since: int = places["added_at"].dt.epoch("us").min()  # type: ignore[assignment]  # of integers
        start_at = max(start_at, since)
    start_at -= start_at % HOUR
    bucket = MINUTE if site is not None else USUAL_BUCKET
    series = _followed(store, start_at, now - now % bucket, bucket, places, system)
    series = series.with_columns(oldest_s=usual.oldest_by_turn(series, bucket))
    histogram = store.read(
        f"""
        select hour, bin, sum(n)::bigint as n from wait_histogram
        where {_SCOPE} and stage = '{COLLECT}' and kind in ({_listed(_kinds(system))})
          and hour >= make_timestamp($start_at) and hour < make_timestamp($end_at)
        group by hour, bin
        """,
        {"business": business, "site": site, "start_at": start_at, "end_at": now - now % HOUR},
    ).with_columns(wait_s=pl.col("bin").map_elements(rollups.bin_middle, return_dtype=pl.Float64))
    return usual.bands(series, usual.p95_by_hour(histogram), zone)


def _kinds(system: bool) -> list[str]:
    return [kind.value for kind in Kind if system or kind not in SYSTEM_KINDS]


def _followed(
    store: Store, start_at: int, end_at: int, bucket: int, places: pl.DataFrame, system: bool
) -> pl.DataFrame:
    """Follow the queue of some sites together: bucket, arrived, depth, running, queued; of system tasks if asked."""
    asked = places.select("business", "site").join(pl.DataFrame({"kind": _kinds(system)}), how="cross")
    return (
        rollups.depths(store, "kind", asked, start_at, end_at, bucket)
        .group_by("bucket", maintain_order=True)
        .agg(pl.col("arrived", "depth", "held", "running").sum())
        .with_columns(queued=pl.col("depth") - pl.col("held"))
        .drop("held")
    )


@dataclass(frozen=True, slots=True)
class Recent:
    """A queue's last hours."""

    #: at, queued, running, oldest_s, wait_s: the p95 of the waits that ended in the hour before; by steps, and now
    series: pl.DataFrame
    arrived: int  #: in the last `over_s`
    departed: int
    over_s: float  #: 15 minutes, and what has passed of the present one
    drain: usual.Drain


def recent(
    store: Store,
    now: int,
    business: str,
    site: str | None = None,
    *,
    snapshot: Snapshot | None = None,
    hours: float = 6,
    step: int = 5 * MINUTE,
    system: bool = False,
) -> Recent:
    """Follow a site's or a business's queue up to now, and estimate when it will be empty. Of system tasks if asked."""
    places = sites(store, business=business, site=site)
    start_at = now - now % MINUTE + MINUTE - int(hours * HOUR)
    minutes = _followed(store, start_at, now, MINUTE, places, system)
    ends = [min(at + MINUTE, now) for at in minutes["bucket"].dt.epoch("us")]
    chosen = minutes.with_columns(at_us=pl.Series(ends, dtype=pl.Int64)).filter(
        (pl.col("at_us") % step == 0) | (pl.col("at_us") == now)
    )
    instants = chosen["at_us"].to_list()
    kinds = _kinds(system)
    tasks = live_tasks(store, snapshot, business=business, site=site).filter(pl.col("kind").is_in(kinds))
    ages = oldest_wait(store, instants, business=business, site=site, tasks=tasks, kinds=kinds)
    series = chosen.select(
        pl.col("at_us").cast(pl.Datetime("us")).alias("at"),
        "queued",
        "running",
        oldest_s=pl.Series(ages, dtype=pl.Float64),
        wait_s=pl.Series(_waits_p95(store, instants, business, site, kinds, tasks), dtype=pl.Float64),
    )
    # From the end of the minute before: a quarter of an hour, and what has passed of the present minute.
    last = minutes.tail(RECENT_S * SECOND // MINUTE + 2)
    over_s = (ends[-1] - ends[-last.height]) / SECOND if ends else 0.0
    arrived = int(last["arrived"][1:].sum())
    departed = arrived - int(last["depth"][-1] - last["depth"][0]) if ends else 0
    queued = int(last["queued"][-1]) if ends else 0
    return Recent(series, arrived, departed, over_s, usual.drain(queued, arrived, departed, over_s))



def _waits_p95(
    store: Store, instants: list[int], business: str, site: str | None, kinds: list[str], tasks: pl.DataFrame
) -> list[float | None]:
    """Find the p95 of the waits that ended by a start in the hour before each instant, by nearest rank."""
    if not instants:
        return []
    gone = store.read(
        f"""
        select task_id, queued_at, started_at from (
            select task_id, queued_at, started_at, business, site, kind from task_finished
            where finished_at > make_timestamp($start_at))
        where started_at > make_timestamp($start_at) and {_SCOPE} and kind in ({_listed(kinds)})
        """,
        {"start_at": instants[0] - HOUR, "business": business, "site": site},
    )
    found = (
        pl.concat([gone, tasks.filter(pl.col("started_at").is_not_null()).select(gone.columns)])
        .unique("task_id")  # one that has ended since the snapshot
        .sort("started_at")
        .select(at_us=pl.col("started_at").dt.epoch("us"), wait_us=pl.col("started_at") - pl.col("queued_at"))
        .with_columns(pl.col("wait_us").dt.total_microseconds())
    )
    at, waits = found["at_us"], found["wait_us"]
    first = at.search_sorted(pl.Series([i - HOUR for i in instants]), "right").to_list()
    last = at.search_sorted(pl.Series(instants), "right").to_list()
    p95s = [waits.slice(a, b - a).quantile(0.95, "higher") if b > a else None for a, b in zip(first, last, strict=True)]
    return [None if p95 is None else p95 / SECOND for p95 in p95s]


# --- schedules


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in its present version."""

    schedule_id: int
    version: int
    spec: ScheduleSpec


def schedules(store: Store, business: str, site: str) -> list[Schedule]:
    """List a site's schedules as they stand, by name."""
    found = store.read(
        """
        select schedule_id, version, name, detail::varchar as detail from schedule
        where business = $business and site = $site and event <> 'removed' order by name, schedule_id
        """,
        {"business": business, "site": site},
    )
    return [
        Schedule(row["schedule_id"], row["version"],
                 spec_from_detail(business, site, row["name"], json.loads(row["detail"])))
        for row in found.iter_rows(named=True)
    ]  # fmt: skip


# --- one task


def task(store: Store, task_id: int) -> pl.DataFrame:
    """Give the newest row of a task that has ended, as the table task has it; none of one that lives or is unknown."""
    return store.read("select * from task_finished where task_id = $task_id", {"task_id": task_id})


def last_finished(store: Store, business: str, site: str, since_at: int) -> dict[str, Any] | None:
    """Give what ended last at a site since an instant: kind, number, target, finished_at (µs); None of nothing."""
    found = store.read(
        """
        select kind, number, target, epoch_us(finished_at) as finished_at from task_finished
        where finished_at > make_timestamp($since_at) and business = $business and site = $site
        order by finished_at desc limit 1
        """,
        {"business": business, "site": site, "since_at": since_at},
    )
    return next(found.iter_rows(named=True), None)


def timeline(store: Store, task_id: int, created_at: int | None = None) -> pl.DataFrame:
    """Tell a task's whole life, step by step, in the ledger's order.

    Columns: event_id, business, site, at, event, from_status, to_status, actor, reason (the word), why (in words, empty
    where there is nothing to say), service, lease, attempt, cause (of a wait that begins or ends here), batch. Give
    `created_at` (µs) of a live task, where it is known: one that was never published is looked for in all of the ledger
    else.
    """
    rows = store.read(
        """
        select epoch_us(created_at) as created_us, epoch_us(finished_at) as finished_us, hidden, true as done
        from task_done where task_id = $task_id
        union all
        select epoch_us(created_at), null, false, false from task_live where task_id = $task_id
        """,
        {"task_id": task_id},
    )
    ends = rows.filter("done")
    # What comes after the end (hidden, shown again, restored) leaves a further row, so one row means: nothing came.
    until = ends["finished_us"][0] if ends.height == 1 and not ends["hidden"][0] else None
    if rows.height:
        created_at = rows["created_us"][0]
    first = business_of(task_id) << NUMBER_BITS
    found = store.read(
        f"""
        select event_id, business, site, occurred_at as at, event, from_status, to_status, actor, reason,
               detail::varchar as detail, service, lease, attempt, cause, batch
        from task_event
        where task_id = $task_id and event_id between {first} and {first + (1 << NUMBER_BITS) - 1}
          {"" if created_at is None else f"and occurred_at >= make_timestamp({int(created_at)})"}
          {"" if until is None else f"and occurred_at <= make_timestamp({int(until)})"}
        order by batch, event_id
        """,
        {"task_id": task_id},
    )
    whys = [_why(reason, detail) for reason, detail in found.select("reason", "detail").rows()]
    at = found.columns.index("detail")
    return found.with_columns(why=pl.Series(whys, dtype=pl.String)).select(
        *found.columns[:at], "why", *found.columns[at + 1 :]
    )


def _why(reason: str | None, detail: str | None) -> str | None:
    """Put a step's reason and what else it tells into words."""
    facts = json.loads(detail) if detail else {}
    parts = [REASON_WORDS.get(reason, reason)] if reason else []
    if facts.get("error"):
        parts.append(str(facts["error"]))
    if facts.get("note"):
        parts.append(f"“{facts['note']}”")
    if facts.get("hold_id"):
        parts.append(f"hold {facts['hold_id'] & (1 << NUMBER_BITS) - 1}")
    if facts.get("checkpoint") is not None:
        parts.append(f"kept at {facts['checkpoint']:.0%}")
    if facts.get("errors"):
        parts.append(f"{facts['errors']} errors")
    before = facts.get("before") or {}
    for name, value in (facts.get("changes") or {}).items() if isinstance(facts.get("changes"), dict) else ():
        parts.append(f"{name}: {before.get(name)} → {value}")
    return "; ".join(parts) or None


# --- what stands

_LIVE_COLUMNS = (
    "task_id", "number", "name", "kind", "business", "site", "target", "target_kind", "scope", "owner", "schedule_id",
    "requested_service", "service", "processor", "status", "held_by", "cause", "created_at", "queued_at", "started_at",
    "processing_queued_at", "processing_started_at", "run_s", "process_s",
)  # fmt: skip


def live_tasks(
    store: Store, snapshot: Snapshot | None = None, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """List the unfinished tasks: of the snapshot, else those of the last publication that have not ended since.

    Columns of the table task: ids, facts, status, held_by, cause, instants, run_s, process_s; and waits_for, the stage
    ("collect" or "process") that it stands in a queue for, empty where it runs or is not due.
    """
    if snapshot is None:
        found = store.read(
            f"""select {", ".join(_LIVE_COLUMNS)} from task
                where status not in ({_listed(TERMINAL)}) and {_SCOPE} order by task_id""",
            {"business": business, "site": site},
        ).with_columns(pl.col("run_s", "process_s").cast(pl.Float64))
    else:
        found = (
            _within(snapshot.tasks(*_LIVE_COLUMNS), business, site)
            .select(_LIVE_COLUMNS)
            .with_columns(
                pl.col([name for name in _LIVE_COLUMNS if name.endswith("_at")]).cast(pl.Datetime("us")),
                pl.col("run_s", "process_s") / SECOND,
            )
        )
    queued = (pl.col("status") == Status.NEW) & pl.col("queued_at").is_not_null()
    return found.with_columns(
        waits_for=pl.when(queued)
        .then(pl.lit(COLLECT))
        .when(pl.col("status") == Status.PROCESSING_QUEUED)
        .then(pl.lit(PROCESS))
    )


def running_tasks(store: Store, tasks: pl.DataFrame) -> pl.DataFrame:
    """Pick those of the live tasks that hold a slot, with the host and the beginning of the present stage.

    Columns of `live_tasks` and: stage ("collect" or "process"), host, since_at. A stage begun anew after a rescue or a
    suspension counts from its last claim.
    """
    processing = pl.col("processing_started_at").is_not_null()
    found = tasks.filter(pl.col("status").is_in(sorted(RUNNING))).with_columns(
        stage=pl.when(processing).then(pl.lit(PROCESS)).otherwise(pl.lit(COLLECT)),
        host=pl.when(processing).then("processor").otherwise("service"),
        since_at=pl.when(processing).then("processing_started_at").otherwise("started_at"),
        again=pl.when(processing).then("process_s").otherwise("run_s").is_not_null(),
    )
    again = found.filter("again")
    if again.height:
        claims = store.read(
            """
            select task_id, max(occurred_at) as claimed_at from task_event
            where event in ('claim', 'process') and occurred_at >= $start_at
              and task_id in (select unnest($ids::bigint[]))
            group by task_id
            """,
            {"start_at": again["started_at"].min(), "ids": again["task_id"].to_list()},
        )
        found = (
            found.join(claims, on="task_id", how="left", maintain_order="left")
            .with_columns(since_at=pl.coalesce("claimed_at", "since_at"))
            .drop("claimed_at")
        )
    return found.drop("again")


def sites(store: Store, *, business: str | None = None, site: str | None = None) -> pl.DataFrame:
    """List the sites: business, site, zone, archive (imported history: no services), added_at."""
    return store.read(
        f"""
        select business, site, detail->>'$.zone' as zone, (detail->>'$.archive')::boolean as archive,
               occurred_at as added_at
        from service_event where event = 'site_added' and {_SCOPE} order by business, site
        """,
        {"business": business, "site": site},
    )


_SERVICE_SCHEMA = pl.Schema({
    "business": pl.String(), "site": pl.String(), "name": pl.String(), "role": pl.String(), "state": pl.String(),
    "suspect": pl.Boolean(), "slots": pl.Int64(), "used": pl.Int64(), "since_at": pl.Datetime("us"),
})  # fmt: skip


def services(
    store: Store,
    snapshot: Snapshot | None = None,
    *,
    business: str | None = None,
    site: str | None = None,
    tasks: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """List the services of a site and the processors of its business, as of the snapshot, else of the ledger.

    Columns: business, site (empty for processors), name, role, state (online, draining, offline), suspect, slots, used,
    since_at (the last change of state).
    """
    if snapshot is not None:
        looks = [
            _SERVICE_FIELDS(look)
            for look in snapshot.services
            if business in (None, look.business) and (look.site is None or site in (None, look.site))
        ]
        return pl.DataFrame(looks, schema=_SERVICE_SCHEMA, orient="row")
    found = store.read(
        """
        select business, any_value(site) as site, service as name,
               any_value(detail->>'$.role') filter (event = 'service_added') as role,
               arg_max(event, event_id) filter (event in ('online', 'draining', 'offline')) as wanted,
               arg_max(event, event_id) filter (event in ('lost', 'returned')) as heard,
               if(heard = 'lost', 'offline', coalesce(wanted, 'online')) as state,
               coalesce(arg_max(event, event_id) filter (event in ('suspect', 'cleared')) = 'suspect', false)
                   as suspect,
               arg_max((detail->>'$.slots')::bigint, event_id) filter (event in ('service_added', 'slots')) as slots,
               max(occurred_at) filter (event <> 'slots') as since_at
        from service_event
        where service is not null and ($business::varchar is null or business = $business::varchar)
          and (site is null or $site::varchar is null or site = $site::varchar)
        group by business, service order by business, service
        """,
        {"business": business, "site": site},
    )
    running = running_tasks(store, live_tasks(store) if tasks is None else tasks)
    used = running.group_by("business", "host").agg(used=pl.len().cast(pl.Int64))
    return (
        found.join(used, left_on=["business", "name"], right_on=["business", "host"], how="left", maintain_order="left")
        .with_columns(pl.col("used").fill_null(0))
        .select(_SERVICE_SCHEMA.names())
    )


_HOLD_SCHEMA = pl.Schema({
    "hold_id": pl.Int64(), "business": pl.String(), "site": pl.String(), "target_kind": pl.String(),
    "target": pl.String(), "reason": pl.String(), "actor": pl.String(), "from_at": pl.Datetime("us"),
    "until_at": pl.Datetime("us"), "in_force": pl.Boolean(),
})  # fmt: skip


def holds(
    store: Store, snapshot: Snapshot | None = None, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """List the holds in force and to come that reach a business or site, as of the snapshot, else of the ledger.

    Columns: hold_id, business (empty: system-wide), site, target_kind, target, reason, actor, from_at, until_at,
    in_force.
    """
    if snapshot is not None:
        found = pl.DataFrame([_HOLD_FIELDS(look) for look in snapshot.holds], schema=_HOLD_SCHEMA, orient="row")
    else:
        found = store.read(
            """
            select hold_id, any_value(business) as business, any_value(site) as site,
                   any_value(target_kind) as target_kind, any_value(target) as target,
                   any_value(reason) filter (event = 'placed') as reason,
                   any_value(actor) filter (event = 'placed') as actor, any_value(from_at) as from_at,
                   any_value(until_at) as until_at, bool_or(event = 'begun') as in_force
            from hold_event group by hold_id
            having not bool_or(event not in ('placed', 'begun')) order by hold_id
            """
        )
    return found.filter(_reaches("business", business), _reaches("site", site))


def _reaches(column: str, name: str | None) -> pl.Expr:
    return pl.lit(True) if name is None else pl.col(column).is_null() | (pl.col(column) == name)


def status_counts(store: Store, *, business: str | None = None, site: str | None = None) -> pl.DataFrame:
    """Count the tasks by stored status: status, n. Live ones count as of the last publication."""
    return store.read(
        f"select status, count(*) as n from task where {_SCOPE} group by status order by n desc, status",
        {"business": business, "site": site},
    )


# --- what an imported log holds


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What a site's whole history amounts to. Waits are of all tasks whose wait is known; percentiles by rank."""

    tasks: int
    statuses: pl.DataFrame  #: status, outcome, reason, n
    owners: pl.DataFrame  #: owner, n
    first_at: int | None  #: the first submission
    last_at: int | None  #: the last end
    waits: int
    wait_mean_s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_max_s: float | None
    peak_queued: int  #: over the instants of the ledger, changes of one instant netted
    peak_queued_at: int | None  #: when it was first reached


def trace_facts(store: Store, business: str, site: str) -> TraceFacts:
    """Count what an imported log, or any site's history, amounts to."""
    place = {"business": business, "site": site}
    here = "business = $business and site = $site"
    statuses = store.read(
        f"""select status, outcome, reason, count(*) as n from task where {here}
            group by status, outcome, reason order by n desc, status, outcome, reason""",
        place,
    )
    owners = store.read(
        f"select owner, count(*) as n from task where {here} group by owner order by n desc, owner", place
    )
    whole = store.read(
        f"""
        select count(*) as tasks, epoch_us(min(created_at)) as first_at, epoch_us(max(finished_at)) as last_at,
               count(wait_s) as waits, (sum(wait_s) / count(wait_s))::double as mean_s,
               quantile_disc(wait_s, 0.5)::double as p50_s, quantile_disc(wait_s, 0.95)::double as p95_s,
               max(wait_s)::double as max_s
        from task where {here}
        """,
        place,
    ).row(0, named=True)
    queued, queued_at = _peak(store, business, site)
    return TraceFacts(
        whole["tasks"], statuses, owners, whole["first_at"], whole["last_at"], whole["waits"], whole["mean_s"],
        whole["p50_s"], whole["p95_s"], whole["max_s"], queued, queued_at,
    )  # fmt: skip


def _peak(store: Store, business: str, site: str) -> tuple[int, int | None]:
    """Find the highest depth that the rollups have, and in the ledger of that one minute the instant of it."""
    place = {"business": business, "site": site}
    here = "business = $business and site = $site"
    minute = store.read(
        f"""
        select highest, epoch_us(bucket) as from_us, depth from queue_minute where level = 'site' and {here}
        order by highest desc, bucket limit 1
        """,
        place,
    )
    if not minute.height or not minute["highest"][0]:
        return 0, None
    highest, from_us, left = minute.row(0)
    # Within the minute the depth is what it leaves behind less what is still to come.
    (at_us,) = store.read(
        f"""
        select min(at_us) from (
            select epoch_us(occurred_at) as at_us, $left - sum(sum(dq)) over (order by occurred_at desc) + sum(dq) as n
            from task_event
            where occurred_at >= make_timestamp({from_us}) and occurred_at < make_timestamp({from_us + MINUTE})
              and {here} and dq <> 0
            group by occurred_at)
        where n = $highest
        """,
        place | {"left": left, "highest": highest},
    ).row(0)
    return highest, from_us if at_us is None else at_us


# --- what the health checks go by


def look(
    store: Store,
    snapshot: Snapshot | None = None,
    now: int | None = None,
    *,
    business: str | None = None,
    site: str | None = None,
    enough: int = ENOUGH,
    long_s: int = 0,
    slowly: Slowly | None = None,
) -> Look:
    """Gather what the health checks go by, for everything, a business, or a site with its business's processing.

    `now` is the engine's clock: an idle engine's snapshot is as old as its last event. Without one, the snapshot's or
    the last commit's. Since when a queue has been `enough` for a pile-up is told exactly, the rest of it by the minute.
    How long a task usually runs is found out for those that have run for `long_s`, and for each site's longest. Through
    `slowly`, what is usual is that of some minutes ago.
    """
    if now is None:
        now = snapshot.now if snapshot is not None else last_instant(store) or 0
    known = sites(store, business=business, site=site)
    # Processing is the whole business's, so its tasks are needed even where only one site is looked at.
    tasks = live_tasks(store, snapshot, business=business)
    tasks = tasks.join(known.filter("archive"), on=["business", "site"], how="anti", maintain_order="left")
    waiting = _waiting(tasks)
    running = running_tasks(store, tasks)
    return Look(
        now,
        known,
        services(store, snapshot, business=business, site=site, tasks=tasks),
        holds(store, snapshot, business=business, site=site),
        waiting,
        _stacked(tasks.filter(_here(site))),
        _depths(store, now, known.filter(~pl.col("archive")), tasks, enough),
        flow(store, now - RECENT_S * SECOND, now, business=business),
        _with_usual(store, now, running.filter(_here(site)), long_s, slowly),
        _processing(running),
        paces(store, now, running, business=business, slowly=slowly),
        _with_pending(
            widget_latencies(store, now, business=business, site=site, slowly=slowly),
            tasks.filter(_here(site)), now, _up_since(store),
        ),
        latest_refreshes(store, now, business=business, site=site),
    )  # fmt: skip


def _here(site: str | None) -> pl.Expr:
    return pl.lit(True) if site is None else pl.col("site") == site


def _within(frame: pl.DataFrame, business: str | None, site: str | None) -> pl.DataFrame:
    return frame.filter(pl.lit(True) if business is None else pl.col("business") == business, _here(site))


def _waiting(tasks: pl.DataFrame) -> pl.DataFrame:
    since = pl.when(pl.col("waits_for") == COLLECT).then("queued_at").otherwise("processing_queued_at")
    return (
        tasks.filter(pl.col("waits_for").is_not_null())
        .group_by(
            "business", "site", pl.col("waits_for").alias("stage"), "kind", "requested_service", "cause",
            held=pl.col("held_by").is_not_null(),
        )
        .agg(n=pl.len().cast(pl.Int64), oldest_at=since.min())
        .sort("business", "site", "stage", "kind", "requested_service", "cause")
    )  # fmt: skip


def _stacked(tasks: pl.DataFrame) -> pl.DataFrame:
    """Find the minute in which most of those came that are queued now, and who came in it."""
    place = ["business", "site"]
    scheduled = pl.col("schedule_id").is_not_null()
    ready = tasks.filter(pl.col("waits_for") == COLLECT, pl.col("held_by").is_null()).with_columns(
        minute_at=pl.col("queued_at").dt.truncate("1m")
    )
    fullest = (
        ready.group_by(*place, "minute_at")
        .agg(of=pl.len().cast(pl.Int64))
        .sort("of", "minute_at", descending=[True, False])
        .unique(place, keep="first", maintain_order=True)
    )
    return (
        ready.join(fullest, on=[*place, "minute_at"])
        .group_by(
            *place, "minute_at", "of",
            by=pl.when(scheduled).then(pl.lit("schedule")).otherwise(pl.lit("user")),
            name=pl.when(scheduled).then("name").otherwise("owner"),
        )
        .agg(schedule_ids=pl.col("schedule_id").drop_nulls().unique().sort(), n=pl.len().cast(pl.Int64))
        .sort(*place, "n", "name", descending=[False, False, True, False])
        .filter(pl.int_range(pl.len()).over(place) < MOST_STACKED)
    )  # fmt: skip


def _processing(running: pl.DataFrame) -> pl.DataFrame:
    """Count what each processor works on."""
    return (
        running.filter(pl.col("stage") == PROCESS)
        .group_by("business", "kind", processor="host")
        .agg(n=pl.len().cast(pl.Int64))
        .select("business", "processor", "kind", "n")
        .sort("business", "processor", "kind")
    )


_DEPTH_SCHEMA = pl.Schema({
    "business": pl.String(), "site": pl.String(), "at": pl.Datetime("us"), "queued": pl.Int64(),
    "oldest_s": pl.Float64(),
})  # fmt: skip


def _depths(store: Store, now: int, live_sites: pl.DataFrame, tasks: pl.DataFrame, enough: int) -> pl.DataFrame:
    """Follow each live site's queue and each of their businesses' processing over the last day."""
    parts = [pl.DataFrame(schema=_DEPTH_SCHEMA)]
    if not live_sites.height:
        return parts[0]
    start = now - LOOK_BACK
    start -= start % MINUTE
    businesses = live_sites.group_by("business", maintain_order=True).agg(pl.col("added_at").min())
    for level, places, waiting, held in (
        ("site", live_sites.select("business", "site", "added_at"), "depth", "held"),
        ("business", businesses, "process_depth", "process_held"),
    ):
        keys = list(rollups.KEYS[level])
        found = (
            rollups.depths(store, level, places.select(keys), start, now)
            .join(places, on=keys, how="left", maintain_order="left")
            .filter(pl.col("bucket") >= pl.col("added_at").dt.truncate("1m"))
            .with_columns(queued=pl.col(waiting) - pl.col(held))
        )
        stage = COLLECT if level == "site" else PROCESS
        for series in found.partition_by(keys, maintain_order=True):
            business, site = series["business"][0], series["site"][0] if level == "site" else None
            instants = [min(at + MINUTE, now) for at in series["bucket"].dt.epoch("us")]
            queued = series["queued"].to_list()
            _put_in_crossing(store, instants, queued, enough, business, site)
            # Nobody's age is asked where nobody waits: most places, most of the time.
            ages = (
                oldest_wait(store, instants, business=business, site=site, stage=stage, tasks=tasks)
                if queued[-1] > 0
                else [None] * len(queued)
            )
            parts.append(
                pl.DataFrame(
                    {"business": business, "site": site, "at": instants, "queued": queued, "oldest_s": ages},
                    schema=_DEPTH_SCHEMA,
                )
            )
    return pl.concat(parts)


def _put_in_crossing(
    store: Store, instants: list[int], queued: list[int], enough: int, business: str, site: str | None
) -> None:
    """Put the instant into a series, by the minute, since which there has been enough in the queue.

    Else a pile-up would be told up to a minute late, and one of seconds not at all.
    """
    first = len(queued)
    while first and queued[first - 1] >= enough:
        first -= 1
    if not 0 < first < len(queued):
        return
    moves = rollups.moves(store, instants[first - 1], instants[first], business, site)
    stage = "queued" if site is not None else "process_queued"
    depth, crossed = queued[first - 1], None
    for at, by in moves.select("at", stage).iter_rows():
        depth += by
        if depth < enough:
            crossed = None
        elif crossed is None:
            crossed = at, depth
    if crossed is not None and instants[first - 1] < crossed[0] < instants[first]:
        instants.insert(first, crossed[0])
        queued.insert(first, crossed[1])


def _with_usual(
    store: Store, now: int, running: pl.DataFrame, long_s: int = 0, slowly: Slowly | None = None
) -> pl.DataFrame:
    """Put beside running tasks how long their stage usually takes: their own target's p95, else their kind's."""
    since = pl.col("since_at").dt.epoch("us")
    long = (since <= now - long_s * SECOND) | (since == since.min().over("business", "site"))
    ask, until_at = (slowly.read, slowly.until(now)) if slowly else (store.read, now)
    usual = usual_durations(store, until_at, running.filter(long), ask)
    joined = running
    for of, keys in (("target", ["business", "kind", "site", "target"]), ("kind", ["business", "kind"])):
        p95 = usual.filter(pl.col("site").is_not_null() == (of == "target")).select(
            *keys, **{f"runs_{of}": "runs", f"run_{of}": "run_s", f"process_{of}": "process_s"}
        )
        joined = joined.join(p95, on=keys, how="left", maintain_order="left").with_columns(
            pl.when(pl.col("stage") == PROCESS).then(f"process_{of}").otherwise(f"run_{of}").alias(f"usual_{of}")
        )
    own, kinds = pl.col("usual_target"), pl.col("usual_kind")
    return joined.select(
        *running.columns,
        usual_s=pl.coalesce(own, kinds),
        usual_of=pl.when(own.is_not_null()).then(pl.lit("target")).when(kinds.is_not_null()).then(pl.lit("kind")),
        runs=pl.when(own.is_not_null()).then("runs_target").when(kinds.is_not_null()).then("runs_kind"),
    )


def _with_pending(latencies: pl.DataFrame, tasks: pl.DataFrame, now: int, up_at: int | None) -> pl.DataFrame:
    """Put beside each widget how long its unfinished refresh has been asked for, while the console was up."""
    asked = (
        tasks.filter(pl.col("target_kind") == "widget", pl.col("held_by").is_null())
        .group_by("business", "site", widget=pl.col("target"))
        .agg(pending_s=(now - pl.col("created_at").dt.epoch("us").min().clip(lower_bound=up_at)) / SECOND)
    )
    return latencies.join(asked, on=["business", "site", "widget"], how="left", maintain_order="left")


def _listed(words: Iterable[Any]) -> str:
    """Write words of the program, never data, as a list of SQL literals."""
    return ", ".join(f"'{word}'" for word in sorted(words))
