"""What schedules did and will do: last runs, misses, next fires, and the load to be expected of them.

A run's usual duration is the median of collecting and processing together over its schedule's last finished runs, else
over what finished of its type at the site in the last week; no estimate is ever made of a type that was never seen.
The load of an hour is all the work that its fires bring, wherever that work then runs over to: fires × usual duration.
What is expected is told of the week from the present hour on, by the site's zone. Instants are integer microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import polars as pl

from .clock import DAY, HOUR, MINUTE, SECOND
from .lifecycle import Kind, Status
from .messages import ScheduleSpec
from .recurrence import Rule
from .snapshot import Snapshot
from .standing import Schedule, schedules
from .state import spec_from_detail
from .store import Store

RUNS = 10  #: that are told of a schedule
CARD_RUNS = 20  #: likewise, on the card of one of its runs
RUN_DAYS = 60  #: as far back as runs are looked for
MISS_DAYS = 14  #: likewise, misses
KIND_DAYS = 7  #: what is usual of a type is taken from so many days back
WEEK = 7 * DAY
MOST_NAMED = 4
MOST_MISSES = 2_000  #: rows that are read of one schedule's past

MISSED = {"hold": "paused", "still_waiting": "the run before still waited", "late": "the console was down"}
"""Why a nominal time had no run of its own, in words."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_RUN_COLUMNS = (
    "task_id", "schedule_id", "kind", "number", "status", "held_by", "outcome", "reason", "errors", "error",
    "initiator", "created_at", "started_at", "finished_at", "run_s", "process_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stack:
    """A minute in which more schedules fire than in any other, and when it comes again."""

    n: int
    minute: int
    hours: tuple[int, ...]  #: of the day, in which as many fire then
    weekdays: tuple[int, ...]  #: likewise, of the week; 1 is Monday
    at: int  #: the first such instant
    schedule_ids: tuple[int, ...]
    names: tuple[str, ...]

    def when(self) -> str:
        """Say it: at :00 of each hour, at 02:00 each day, at 02:00 on Mon and Thu."""
        if len(self.hours) == 24:
            return f"at :{self.minute:02} of each hour"
        clock = " and ".join(f"{hour:02}:{self.minute:02}" for hour in self.hours[:MOST_NAMED])
        more = f" and {len(self.hours) - MOST_NAMED:,} more times" if len(self.hours) > MOST_NAMED else ""
        if len(self.weekdays) == 7:
            return f"at {clock}{more} each day"
        if self.weekdays == (1, 2, 3, 4, 5):
            return f"at {clock}{more} on weekdays"
        return f"at {clock}{more} on {_listed([_DAYS[day - 1] for day in self.weekdays])}"


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What is expected of a site's schedules in the coming week, in the site's zone.

    `hours`: weekday (1 is Monday), hour, fires, busy_s; all 168. `minutes`: minute of the hour, fires, stacked (the
    most schedules that fire in one such minute); all 60. `clock`: hour, minute, stacked, names (some of the most); of
    each minute of the day in which any fires.
    """

    hours: pl.DataFrame
    minutes: pl.DataFrame
    clock: pl.DataFrame
    busiest: Stack | None  #: where at least two fire in one minute
    unknown: int  #: schedules of which it is not known how long they take; they count as fires only
    zone: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule with what it did and will do."""

    schedule: Schedule
    prose: str
    next_at: int | None
    runs: Sequence[dict[str, Any]] = ()  #: the last ones, newest first: _RUN_COLUMNS and took_s
    missed: Mapping[str, int] = field(default_factory=dict)  #: nominal times without a run of their own, by reason
    usual_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Timetable:
    """A site's schedules by name, and the load to be expected of those that no hold keeps."""

    planned: Sequence[Planned]
    load: Load


@dataclass(frozen=True, slots=True)
class Version:
    """What somebody made of a schedule, and when."""

    version: int
    event: str
    actor: str
    at: int
    spec: ScheduleSpec | None  #: None where it was removed


@dataclass(frozen=True, slots=True)
class Past:
    """One schedule's versions, newest first, and what came of its last nominal times.

    `steps`, newest first, are runs ({"run": _RUN_COLUMNS and took_s}) and, between them, nominal times without one of
    their own: {"missed": how many, "why": reason, "first", "last": nominal instants}; missed 0: a run waits for a hold
    to end.
    """

    versions: Sequence[Version]
    steps: Sequence[dict[str, Any]]


def timetable(
    store: Store, snapshot: Snapshot, business: str, site: str, now: int, *, zone: str, held: Collection[int] = ()
) -> Timetable:
    """Make it as of a snapshot; schedules that are `held` bring no load."""
    found = schedules(store, business, site)
    ran: dict[int, list[dict[str, Any]]] = {}
    for run in runs(store, snapshot, business, site, now).iter_rows(named=True):
        ran.setdefault(run["schedule_id"], []).append(run)
    missed: dict[int, dict[str, int]] = {}
    for schedule_id, reason, n in misses(store, business, site, now).iter_rows():
        missed.setdefault(schedule_id, {})[reason] = n
    by_kind = usual_by_kind(store, business, site, now)
    planned = [
        Planned(
            one, one.spec.rule.prose(), one.spec.rule.next_after(now), ran.get(one.schedule_id, ()),
            missed.get(one.schedule_id, {}), usual(ran.get(one.schedule_id, ()), by_kind.get(one.spec.kind)),
        )
        for one in found
    ]  # fmt: skip
    free = [one for one in planned if one.schedule.schedule_id not in held]
    rules = {rule: n for n, rule in enumerate(dict.fromkeys(one.schedule.spec.rule for one in free))}
    plan = pl.DataFrame(
        [(p.schedule.schedule_id, p.schedule.spec.name, rules[p.schedule.spec.rule], p.usual_s) for p in free],
        schema={"schedule_id": pl.Int64, "name": pl.String, "rule": pl.Int64, "usual_s": pl.Float64},
        orient="row",
    )
    since = now - now % HOUR
    return Timetable(planned, expected(plan, fires(list(rules), since, since + WEEK), zone))


def fires(rules: Sequence[Rule], after: int, until: int) -> pl.DataFrame:
    """List when rules fire in (after, until]: rule (its place), minute_at, n (in that minute).

    At most one row a minute, however short an interval is; alike rules are best listed once.
    """
    seldom = {n: _instants(rule, after, until) for n, rule in enumerate(rules) if not _often(rule)}
    listed = pl.DataFrame(
        {"rule": list(seldom), "at": list(seldom.values())}, schema={"rule": pl.Int64, "at": pl.List(pl.Int64)}
    ).explode("at").drop_nulls()  # fmt: skip
    once = listed.select("rule", minute_at=pl.col("at") // MINUTE * MINUTE, n=pl.lit(1, pl.Int64))
    often = [
        _by_minute(rule, after, until).select(pl.lit(n, pl.Int64).alias("rule"), "minute_at", "n")
        for n, rule in enumerate(rules) if _often(rule)
    ]  # fmt: skip
    return pl.concat([once, *often])


def _often(rule: Rule) -> bool:
    """Tell whether a rule fires more than once a minute."""
    return rule.every_s is not None and rule.every_s * SECOND < MINUTE


def _instants(rule: Rule, after: int, until: int) -> Sequence[int]:
    if rule.every_s is None:
        return rule.occurrences(after, until)
    return list(range(rule.next_after(after), until + 1, rule.every_s * SECOND))


def _by_minute(rule: Rule, after: int, until: int) -> pl.DataFrame:
    """Count the fires of a short interval in each minute, without listing them."""
    every, first = (rule.every_s or 1) * SECOND, rule.next_after(after)
    begin = pl.int_range(first // MINUTE * MINUTE, until + 1, MINUTE, eager=True).alias("minute_at")
    from_at, to_at = (pl.max_horizontal(pl.col("minute_at"), pl.lit(first)),
                      pl.min_horizontal(pl.col("minute_at") + MINUTE, pl.lit(until + 1)))  # fmt: skip
    n = (to_at - 1 - first) // every - (from_at - 1 - first) // every
    return pl.DataFrame(begin).with_columns(n=n).filter(pl.col("n") > 0)


def expected(schedules: pl.DataFrame, fires: pl.DataFrame, zone: str) -> Load:
    """Add up what schedules bring: pure. `schedules`: schedule_id, name, rule, usual_s; `fires`: see `fires`."""
    by_rule = schedules.group_by("rule", maintain_order=True).agg(
        stacked=pl.len().cast(pl.Int64), work_s=pl.col("usual_s").sum(), names=pl.col("name").head(MOST_NAMED)
    )
    told = fires.join(by_rule, on="rule")
    there = pl.from_epoch("minute_at", "us").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    minutes = (
        told.group_by("minute_at")
        .agg(
            pl.col("stacked").sum(),
            fires=(pl.col("stacked") * pl.col("n")).sum(),
            busy_s=(pl.col("work_s") * pl.col("n")).sum(),
        )
        .sort("minute_at")
        .with_columns(
            weekday=there.dt.weekday().cast(pl.Int64),
            hour=there.dt.hour().cast(pl.Int64),
            minute=there.dt.minute().cast(pl.Int64),
        )
    )
    hours = pl.DataFrame({"weekday": range(1, 8)}).join(pl.DataFrame({"hour": range(24)}), how="cross")
    hours = hours.join(
        minutes.group_by("weekday", "hour").agg(pl.col("fires", "busy_s").sum()), on=["weekday", "hour"], how="left",
        maintain_order="left",
    ).with_columns(pl.col("fires", "busy_s").fill_null(0))  # fmt: skip
    of_hour = pl.DataFrame({"minute": range(60)}).join(
        minutes.group_by("minute").agg(pl.col("fires").sum(), pl.col("stacked").max()), on="minute", how="left",
        maintain_order="left",
    ).with_columns(pl.col("fires", "stacked").fill_null(0))  # fmt: skip
    most = minutes.sort("stacked", descending=True, maintain_order=True).unique(["hour", "minute"], keep="first")
    named = (
        told.join(most.select("minute_at"), on="minute_at", how="semi")
        .sort("rule")
        .group_by("minute_at")
        .agg(names=pl.col("names").explode().head(MOST_NAMED))
    )
    clock = most.join(named, on="minute_at").select("hour", "minute", "stacked", "names").sort("hour", "minute")
    unknown = schedules["usual_s"].null_count()
    return Load(hours, of_hour, clock, _busiest(schedules, told, minutes), unknown, zone)


def _busiest(schedules: pl.DataFrame, told: pl.DataFrame, minutes: pl.DataFrame) -> Stack | None:
    n = minutes["stacked"].max()
    if not isinstance(n, int) or n < 2:
        return None
    first = minutes.filter(pl.col("stacked") == n).row(0, named=True)
    rules = told.filter(pl.col("minute_at") == first["minute_at"])["rule"]
    alike = minutes.filter(pl.col("stacked") == n, pl.col("minute") == first["minute"])
    seldom = told.group_by("rule").agg(of_week=pl.col("n").sum())  # who fires seldom makes the stack; told of first
    members = schedules.filter(pl.col("rule").is_in(rules.implode())).join(seldom, on="rule", maintain_order="left")
    members = members.sort("of_week", maintain_order=True)
    return Stack(
        n, first["minute"], tuple(alike["hour"].unique().sort()), tuple(alike["weekday"].unique().sort()),
        first["minute_at"], tuple(members["schedule_id"]), tuple(members["name"]),
    )  # fmt: skip


# --- what they did


def runs(
    store: Store, snapshot: Snapshot, business: str, site: str, now: int, schedule_id: int | None = None,
    most: int = RUNS,
) -> pl.DataFrame:
    """List each schedule's last runs, newest first, those not yet ended too; of one schedule, where asked.

    Columns: schedule_id, task_id, kind, number, status, held_by, outcome, reason, errors, error, initiator, created_at,
    started_at, finished_at (µs), run_s, process_s, took_s (both together; empty before a run has begun).
    """
    return newest(pl.concat([ended(store, snapshot, business, site, now, schedule_id, most),
                             unfinished(snapshot, business, site, schedule_id)]), most)  # fmt: skip


def newest(found: pl.DataFrame, most: int = RUNS) -> pl.DataFrame:
    """Keep each schedule's last runs, newest first."""
    ordered = found.sort("created_at", "task_id", descending=True).unique("task_id", keep="first", maintain_order=True)
    return ordered.group_by("schedule_id", maintain_order=True).head(most)


def ended(
    store: Store, snapshot: Snapshot, business: str, site: str, now: int, schedule_id: int | None = None,
    most: int = RUNS,
) -> pl.DataFrame:
    """List those of the last runs that have ended."""
    columns = ", ".join(
        f"epoch_us({c}) as {c}" if c.endswith("_at") else f"{c}::double as {c}" if c.endswith("_s") else c
        for c in _RUN_COLUMNS
    )
    found = store.read(
        f"""
        select {columns} from task_finished
        where business = $business and site = $site and schedule_id is not null and not hidden and batch <= $batch
          and ($schedule_id::bigint is null or schedule_id = $schedule_id::bigint)
          and created_at >= make_timestamp($since_at)
        qualify row_number() over (partition by schedule_id order by created_at desc) <= {int(most)}
        """,
        {"business": business, "site": site, "schedule_id": schedule_id, "batch": snapshot.batch,
         "since_at": now - RUN_DAYS * DAY},
    )  # fmt: skip
    return _took(found)


def unfinished(snapshot: Snapshot, business: str, site: str, schedule_id: int | None = None) -> pl.DataFrame:
    """List the runs that have not ended."""
    wanted = pl.col("schedule_id").is_not_null() if schedule_id is None else pl.col("schedule_id") == schedule_id
    found = snapshot.tasks("business", "site", *_RUN_COLUMNS).filter(
        pl.col("business") == business, pl.col("site") == site, wanted
    )
    return _took(found.select(_RUN_COLUMNS).with_columns(pl.col("run_s", "process_s") / SECOND))


def _took(found: pl.DataFrame) -> pl.DataFrame:
    took = pl.when(pl.col("run_s").is_not_null() | pl.col("process_s").is_not_null()).then(
        pl.col("run_s").fill_null(0) + pl.col("process_s").fill_null(0)
    )
    return found.with_columns(took_s=took)


def misses(store: Store, business: str, site: str, now: int) -> pl.DataFrame:
    """Count the nominal times of the last days that had no run of their own: schedule_id, reason, n."""
    return store.read(
        """
        select schedule_id, reason, sum(
                   case outcome when 'skipped' then greatest("count", 1) when 'coalesced' then "count"
                                when 'queued' then "count" - 1 else 0 end)::bigint as n
        from schedule_fire
        where business = $business and site = $site and occurred_at >= make_timestamp($since_at) and reason is not null
        group by schedule_id, reason having n > 0 order by schedule_id, reason
        """,
        {"business": business, "site": site, "since_at": now - MISS_DAYS * DAY},
    )


def usual_by_kind(store: Store, business: str, site: str, now: int) -> dict[Kind, float]:
    """Give the median of what finished at a site of each type in the last week, in seconds."""
    found = store.read(
        f"""
        select kind, median(coalesce(run_s, 0) + coalesce(process_s, 0))::double as usual_s from task_finished
        where business = $business and site = $site and status = '{Status.PROCESSED}'
          and finished_at >= make_timestamp($since_at)
        group by kind
        """,
        {"business": business, "site": site, "since_at": now - KIND_DAYS * DAY},
    )
    return {Kind(kind): usual_s for kind, usual_s in found.iter_rows()}


def usual(runs: Sequence[Mapping[str, Any]], of_kind: float | None = None) -> float | None:
    """Give the lower median of what its finished runs took, else of its type's."""
    took = sorted(run["took_s"] for run in runs if run["status"] == Status.PROCESSED and run["took_s"] is not None)
    return took[(len(took) - 1) // 2] if took else of_kind


@dataclass(frozen=True, slots=True)
class Summed:
    """What came of some runs, in figures."""

    runs: int
    ended: int
    done: int  #: of those that ended
    usual_s: float | None  #: the median of those that are done


def summed(runs: Sequence[Mapping[str, Any]]) -> Summed:
    """Sum runs up: pure."""
    ended = [run for run in runs if run["finished_at"] is not None]
    done = sum(run["status"] == Status.PROCESSED for run in ended)
    return Summed(len(runs), len(ended), done, usual(runs))


def past(store: Store, snapshot: Snapshot, business: str, site: str, schedule_id: int, now: int) -> Past:
    """Tell of one schedule what it was and did; runs that have not ended are left out. Of another site's, nothing."""
    ran = list(newest(ended(store, snapshot, business, site, now, schedule_id)).iter_rows(named=True))
    told = store.read(
        f"""
        select epoch_us(occurred_at) as at, epoch_us(nominal_at) as first, epoch_us(last_nominal_at) as last,
               case outcome when 'queued' then "count" - 1 else greatest("count", 1) end as missed, outcome, reason
        from schedule_fire
        where business = $business and site = $site and schedule_id = $schedule_id and outcome <> 'fired'
          and occurred_at >= make_timestamp($since_at)
        order by event_id desc limit {MOST_MISSES}
        """,
        {"business": business, "site": site, "schedule_id": schedule_id,
         "since_at": ran[-1]["created_at"] if len(ran) == RUNS else now - RUN_DAYS * DAY},
    )  # fmt: skip
    return Past(_versions(store, business, site, schedule_id), steps(ran, list(told.iter_rows(named=True))))


def steps(runs: Sequence[Mapping[str, Any]], missed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put misses between the runs, newest first; those that follow one another for the same reason are one step."""
    every: list[tuple[int, tuple[str, str] | None, Mapping[str, Any]]] = [(r["created_at"], None, r) for r in runs]
    every += [(m["at"], (m["outcome"], m["reason"]), m) for m in missed]
    every.sort(key=lambda step: (step[0], step[1] is None), reverse=True)
    found: list[dict[str, Any]] = []
    for why, group in groupby(every, key=lambda step: step[1]):
        several = [step[2] for step in group]
        if why is None:
            found += [{"run": run} for run in several]
        else:
            n = sum(m["missed"] for m in several)
            first, last = min(m["first"] for m in several), max(m["last"] for m in several)
            found.append({"missed": n, "why": why[1], "first": first, "last": last})
    return found


def capped(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the last runs, and the misses between and after them."""
    found, ran = [], 0
    for step in steps:
        ran += "run" in step
        if ran > RUNS:
            break
        found.append(step)
    return found


def _versions(store: Store, business: str, site: str, schedule_id: int) -> list[Version]:
    found = store.read(
        """
        select version, event, actor, epoch_us(occurred_at) as at, name, detail::varchar as detail from schedule_event
        where business = $business and site = $site and schedule_id = $schedule_id order by version desc
        """,
        {"business": business, "site": site, "schedule_id": schedule_id},
    )
    return [
        Version(v["version"], v["event"], v["actor"], v["at"],
                spec_from_detail(business, site, v["name"], json.loads(v["detail"])) if v["detail"] else None)
        for v in found.iter_rows(named=True)
    ]  # fmt: skip


def mark(store: Store, business: str) -> int:
    """Tell how many versions of schedules a business has seen: with another one, what was made before is old."""
    found = store.read("select count(*) as n from schedule_event where business = $business", {"business": business})
    return int(found["n"][0])


def scheduled(snapshot: Snapshot, business: str, site: str) -> pl.DataFrame:
    """List the tasks of a site that are to come once: New, not yet due, the next ones first.

    Columns: task_id, business, site, number, name, kind, target, target_kind, scope, requested_service, owner,
    initiator, priority, version, due_at, queued_at (µs; empty).
    """
    columns = (
        "task_id", "business", "site", "number", "name", "kind", "target", "target_kind", "scope", "requested_service",
        "owner", "initiator", "priority", "version", "due_at", "queued_at",
    )  # fmt: skip
    return (
        snapshot.tasks("status", *columns)
        .filter(
            pl.col("business") == business, pl.col("site") == site, pl.col("status") == Status.NEW.value,
            pl.col("queued_at").is_null(),
        )
        .select(columns)
        .sort("due_at", "task_id")
    )  # fmt: skip


def _listed(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
