"""What the health checks go by, gathered from a store: queues, what waits and runs, how long such work usually takes.

Nothing here tells good from bad: `look` gathers, `health` judges. What is usual changes slowly and takes long to find
out, so a console asks for it through `Slowly`. Instants and durations are as in `history`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from . import rollups
from .clock import DAY, MINUTE, SECOND
from .health import Limits, Look
from .history import RECENT_S, USUAL_DAYS, flow, kept, oldest_wait
from .lifecycle import Kind, Status
from .snapshot import Snapshot
from .standing import OWN, SCOPE, at_site, holds, last_instant, live_tasks, running_tasks, services, sites
from .store import Store
from .task import COLLECT, PROCESS

USUAL_TASKS = 1_000_000  #: or from fewer, where more tasks than this ended in them: enough to tell, and bounded
PACE_TASKS = 200_000  #: likewise, for a median instead of a p95
LATEST = 5  #: so many of a site's refreshes, or of a processor's tasks, tell how it does now
LOOK_BACK = DAY  #: how far back a look follows each queue, minute by minute
ENOUGH = Limits().pile_up_tasks
MOST_STACKED = 100  #: schedules and users who are named of a minute
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
            answer: pl.DataFrame = kept(self._kept, key, self._most)
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
              and status = '{Status.PROCESSED}' and {OWN} and kind in (select unnest($kinds::varchar[]))
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
        where occurred_at >= make_timestamp($start_at) and occurred_at <= make_timestamp($recent_at) and {SCOPE}
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
        where occurred_at > make_timestamp($recent_at) and occurred_at <= make_timestamp($now) and {SCOPE}
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
        where occurred_at > make_timestamp($recent_at) and occurred_at <= make_timestamp($now) and {SCOPE}
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
    done = f"from task_finished where status = '{Status.PROCESSED}' and {OWN} and process_s is not null"
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
        _stacked(tasks.filter(at_site(site))),
        _depths(store, now, known.filter(~pl.col("archive")), tasks, enough),
        flow(store, now - RECENT_S * SECOND, now, business=business),
        _with_usual(store, now, running.filter(at_site(site)), long_s, slowly),
        _processing(running),
        paces(store, now, running, business=business, slowly=slowly),
        _with_pending(
            widget_latencies(store, now, business=business, site=site, slowly=slowly),
            tasks.filter(at_site(site)), now, _up_since(store),
        ),
        latest_refreshes(store, now, business=business, site=site),
    )  # fmt: skip


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
