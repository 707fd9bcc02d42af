"""What was: queues over time, what is usual, a task's life, an imported log's facts, as Polars frames.

Instants are integer microseconds (UTC) in arguments and plain values, `Datetime("us")` in frames; durations end in `_s`
and are seconds, Float64. What has not ended yet comes from `standing`, of the snapshot that the caller hands in.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from . import rollups, usual
from .clock import DAY, HOUR, MINUTE, SECOND
from .ledger import NUMBER_BITS, TaskEvent, TaskRow, business_of
from .lifecycle import REASON_WORDS, SYSTEM_KINDS, TERMINAL, Kind
from .rollups import QUARTER
from .snapshot import Snapshot
from .standing import SCOPE, listed, live_tasks, sites
from .store import Store
from .task import COLLECT, PROCESS

USUAL_DAYS = 14  #: what is usual is taken from so many days back
RECENT_S = 900  #: what is recent, for arrivals, departures and widgets
MOST_POINTS = 500  #: a series without a bucket of its own has at most so many
BUCKETS = (MINUTE, 5 * MINUTE, QUARTER, HOUR, 6 * HOUR, DAY)


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
          and date_trunc('minute', since_at) <> date_trunc('minute', left_at) and {SCOPE}
          and kind in ({listed(_kinds(True) if kinds is None else kinds)})
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
               count(*) filter (to_status in ({listed(TERMINAL)}) and from_status <> to_status) as finished
        from task_event
        where occurred_at > make_timestamp($start_at) and occurred_at <= make_timestamp($end_at) and {SCOPE}
        group by business, site order by business, site
        """,
        {"start_at": start_at, "end_at": end_at, "business": business, "site": site},
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
            frame: pl.DataFrame = kept(self._bands, key, self._most)
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
            kept(self._recent, key, self._most)
            return known[1]

    def now(self, now: int, business: str, site: str | None = None, *, zone: str = "UTC") -> dict[str, float | None]:
        """Give the bands of the present hour of the week: queued_low, queued_high, running_low …"""
        found = self.bands(now, business, site, zone=zone)
        return found.drop("hour").row(usual.hour_of_week(now, zone), named=True)


def kept(made: OrderedDict[tuple[object, ...], Any], key: tuple[object, ...], most: int) -> Any:
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
        where {SCOPE} and stage = '{COLLECT}' and kind in ({listed(_kinds(system))})
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
        where started_at > make_timestamp($start_at) and {SCOPE} and kind in ({listed(kinds)})
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


def task(store: Store, task_id: int) -> pl.DataFrame:
    """Give the newest row of a task that has ended, as the table task has it; none of one that lives or is unknown."""
    return store.read("select * from task_finished where task_id = $task_id", {"task_id": task_id})


def finished(store: Store, task_ids: Collection[int]) -> dict[int, TaskRow]:
    """Give the newest rows of those of the tasks that have ended, as the ledger has them; thousands at a time."""
    if not task_ids:
        return {}
    # By the rows' places, so that DuckDB reads but one column of all rows, and the many others only where they lie.
    newest = "select rowid from task_done where superseded_by is null and task_id in (select unnest(?::bigint[]))"
    rows = store.rows("task_done", f"rowid in ({newest})", [list(task_ids)], order="task_id")
    return {row.task_id: row for row in rows}


def submissions(store: Store, created: Mapping[int, int]) -> dict[int, TaskEvent]:
    """Give the events by which tasks were submitted, by their ids; `created` tells when each was (µs)."""
    if not created:
        return {}
    events = store.rows(
        "task_event",
        "event = 'submit' and task_id in (select unnest(?::bigint[])) "
        "and occurred_at between make_timestamp(?) and make_timestamp(?)",
        [list(created), min(created.values()), max(created.values())],
    )
    return {event.task_id: event for event in events}


def longest_waits(store: Store, rows: Mapping[int, TaskRow]) -> dict[int, int]:
    """Tell the longest wait, in seconds, of those of the tasks that were submitted with one."""
    submitted = submissions(store, {task_id: row.created_at for task_id, row in rows.items()})
    facts = {task_id: event.detail or {} for task_id, event in submitted.items()}
    return {task_id: told["longest_wait_s"] for task_id, told in facts.items() if "longest_wait_s" in told}


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


def stopped_by(store: Store, ended: Mapping[int, int]) -> dict[int, str]:
    """Tell who asked for tasks to be stopped: by id, of those whose end (µs) is given."""
    found = store.read(
        """
        select task_id, arg_max(actor, event_id) as actor from task_event
        where event in ('stop', 'request_stop') and task_id in (select unnest($ids::bigint[]))
          and occurred_at >= make_timestamp($start_at) and occurred_at <= make_timestamp($end_at)
        group by task_id
        """,
        {"ids": list(ended), "start_at": min(ended.values()) - HOUR, "end_at": max(ended.values())},
    )
    return dict(found.rows())


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
        parts.append(f"{name.removesuffix('_at')}: {_worded(name, before.get(name))} → {_worded(name, value)}")
    return "; ".join(parts) or None


def _worded(name: str, value: Any) -> str:
    """Word a value that was changed; an instant in UTC, since nobody's zone is known here."""
    if name.endswith("_at") and isinstance(value, int):
        return f"{datetime.fromtimestamp(value / SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "none" if value is None else str(value)


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
