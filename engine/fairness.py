"""Who uses the services and who waits behind whom, and what pausing somebody would give back to the others.

`look` adds up a period of a place by who is behind the work; `Replay` lets the period's tasks come again, in the core's
order (priority, then who came first) through the slots that the services had, with somebody and without him. A replay
is a model, and says how far off it is: `Given` has what was measured beside what the model makes of the same period.

Work counts as far as it lies within the period. What was begun anew after a rescue or a suspension counts as if it had
been in one piece: a wait from its first moment on, a run up to its end. Instants and durations are microseconds in
frames, durations that are told end in `_s`. Invariant: the shares of everybody add up to 1, or all are 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heappush
from math import ceil

import numpy as np
import polars as pl

from . import spells
from .clock import DAY, HOUR, SECOND
from .lanes import AUDIT_SERVICE, EXPLORER, HOSTED_ZONE, lane_of
from .lifecycle import RUNNING, SYSTEM_KINDS, Cause, Kind, Status
from .snapshot import Snapshot
from .standing import OWN, sites
from .store import Store
from .task import COLLECT, PROCESS, SYSTEM_OWNER

PERIODS: dict[str, int | None] = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "all": None}
"""How far back a lens looks; all of it is for imported history only."""

MOST_TASKS = 500_000  #: a period in which more have ended is shortened to the newest
MOST_REPLAYED = 100_000  #: likewise, what a replay goes over
SCHEDULE = "Schedule"
PROCESSOR = "processor"  #: what waits for a processor after collecting waits for that
CAUSES = (*(cause.value for cause in Cause), PROCESSOR)
MOST_WAITS = 20_000  #: of so many waits in a pool at most it is looked at who had the slots meanwhile
ENOUGH = 20  #: of fewer waits of others than this a replay says nothing
MOST_FITTED = 50_000  #: by so many of the newest stages of a pool the slots of an imported log are found

_SYSTEM = sorted(kind.value for kind in SYSTEM_KINDS)
_WAITS = tuple(f"wait_{cause.value}_s" for cause in Cause)
_INSTANTS = (
    "queued_at", "started_at", "collected_at", "processing_queued_at", "processing_started_at", "finished_at",
)
_SPANS = (*_WAITS, "wait_s", "process_wait_s", "process_wait_hold_s", "run_s", "process_s")
_FACTS = ("task_id", "site", "owner", "initiator", "kind", "priority", "scope")


@dataclass(frozen=True, slots=True)
class Ahead:
    """Who stands before somebody's next task in its line: how many in all, and of whom the most."""

    tasks: int
    whose: str | None = None  #: None: nobody, or somebody who is not to be named
    of: int = 0  #: how many of them are his


@dataclass(frozen=True, slots=True)
class Share:
    """What one had of a period: a user, the schedules together, or the system."""

    who: str
    user: bool  #: whether he can be paused
    tasks: int  #: that waited or ran in the period
    served_s: float
    served: float  #: share of the service-seconds
    waited_s: float
    waited: float  #: share of all waiting
    causes: Mapping[str, float]  #: seconds of his waiting by what for; none of zero
    wait_mean_s: float | None  #: what these tasks waited in all, so far
    wait_p95_s: float | None
    waiting: int  #: now, held or not
    waiting_share: float
    ahead: Ahead | None  #: None: nothing of his waits, or all that does is held
    behind: Sequence[tuple[str | None, float]] = ()  #: whose work had the slots while his waited, the most first


@dataclass(frozen=True, slots=True)
class Lens:
    """A period of a place and everybody's share of it, the greatest first."""

    from_at: int
    until_at: int
    shortened: bool  #: whether there was more in the period than is looked at
    archive: bool
    shares: Sequence[Share]

    @property
    def first(self) -> Share | None:
        """Name the user whose tasks were there most, waiting or running; None where no user's were."""
        there = [one for one in self.shares if one.user and one.waited_s + one.served_s > 0]
        return max(there, key=lambda one: one.waited_s + one.served_s, default=None)


@dataclass(frozen=True, slots=True)
class Given:
    """What pausing an owner from the start of a period on would have given back to the others."""

    owner: str
    tasks: int  #: of his, that would not have begun
    others: int  #: tasks of others that waited or could have
    from_at: int  #: where the replay begins
    measured: Waited  #: what the others did wait
    before: Waited  #: what the replay makes of that
    after: Waited  #: and without him

    @property
    def enough(self) -> bool:
        """Tell whether there are enough others to say anything."""
        return self.others >= ENOUGH

    @property
    def off(self) -> float | None:
        """Tell by which part of what was measured the replay misses the mean; None: nobody waited at all."""
        if not self.measured.mean_s:
            return None
        return (self.before.mean_s - self.measured.mean_s) / self.measured.mean_s


@dataclass(frozen=True, slots=True)
class Waited:
    """Waits of some tasks, time under holds left out: in all, in the mean, and the p95 by nearest rank."""

    total_s: float
    mean_s: float
    p95_s: float

    @classmethod
    def of(cls, waits: pl.Series) -> Waited:
        """Sum up waits in microseconds."""
        if waits.is_empty():
            return cls(0.0, 0.0, 0.0)
        total = int(waits.sum())
        rank = waits.sort()[ceil(0.95 * len(waits)) - 1]
        return cls(total / SECOND, total / len(waits) / SECOND, int(rank) / SECOND)


# --- a period of a place


def look(
    store: Store,
    snapshot: Snapshot,
    now: int,
    business: str,
    period: str,
    *,
    within: Sequence[str] = (),
    named: bool = True,
    most: int = MOST_TASKS,
    most_replayed: int = MOST_REPLAYED,
) -> tuple[Lens, Replay]:
    """Look at a period of a business, or of some of its sites, up to now; and make what replays it.

    One of imported history ends with the last task of it. Who stands ahead at other sites is not named, unless `named`.
    """
    known = sites(store, business=business)
    archives = known.filter("archive")["site"].to_list()
    archive = bool(within) and set(within) <= set(archives)
    place = {"business": business, "batch": snapshot.batch, "sites": list(within)}
    # Processors are the whole business's: their load is needed even where only one site is looked at.
    source = "list_contains($sites::varchar[], site)" if archive else f"{OWN} and ($sites::varchar[] is not null)"
    if archive:
        last = store.read(
            f"select epoch_us(max(finished_at)) as at_us from task_finished where business = $business "
            f"and batch <= $batch and {source}", place,
        ).item()  # fmt: skip
        now = int(last) + 1 if last is not None else now
    length = PERIODS[period]
    start_at = 0 if length is None else now - length
    first = _enough_from(store, start_at, now, most, place | {"within": within[0] if archive else None})
    begin = max(start_at, first or 0)
    ended = _ended(store, begin, source, place)
    live = _live(snapshot, now, business).filter(~pl.col("site").is_in(archives)) if not archive else ended.clear()
    tasks = pl.concat([ended, live], how="diagonal_relaxed")
    if length is None and not first:
        begin = int(tasks["queued_at"].min() or now)  # type: ignore[arg-type]  # of integers
    here = pl.col("site").is_in(list(within)) if within else pl.lit(True)
    stages = staged(tasks, now, archive).with_columns(here=here)
    ahead = _ahead(snapshot, business, within, named) if not archive else {}
    waiting = _waiting(live.filter(here))
    behind = stood_behind(stages, begin, now, named)
    shares = shared(stages.filter("here"), begin, now, waiting, ahead, behind)
    slots = fitted(stages, begin, now) if archive else capacity(store, snapshot.batch, business)
    return Lens(begin, now, bool(first), archive, shares), Replay(stages, begin, now, slots, most_replayed)


def _enough_from(store: Store, start_at: int, now: int, most: int, place: Mapping[str, object]) -> int | None:
    """Tell from when on the newest tasks of a period ended that are as many as can be looked at; None: all of it."""
    found = store.read(
        """
        select epoch_us(max(bucket)) as at_us from (
            select bucket, sum(finished) over (order by bucket desc) as n from queue_quarter
            where business = $business and bucket >= make_timestamp($start_at) and bucket <= make_timestamp($now)
              and if($within::varchar is null, level = 'business', level = 'site' and site = $within::varchar))
        where n >= $most
        """,
        {"start_at": start_at, "now": now, "most": most, "business": place["business"], "within": place["within"]},
    ).item()
    return None if found is None else int(found)


def _ended(store: Store, begin: int, source: str, place: Mapping[str, object]) -> pl.DataFrame:
    instants = ", ".join(f"epoch_us({name}) as {name}" for name in _INSTANTS)
    spans = ", ".join(f"({name} * 1000000)::bigint as {name}" for name in _SPANS)
    return store.read(
        f"""
        select {", ".join(_FACTS)}, {instants}, {spans}, null::varchar as waits, null::bigint as running_from
        from task_finished
        where finished_at >= make_timestamp($begin) and business = $business and batch <= $batch
          and queued_at is not null and {source}
        """,
        {"begin": begin, **place},
    )


def _live(snapshot: Snapshot, now: int, business: str) -> pl.DataFrame:
    """Give the unfinished tasks of a business that are due, with what they have waited by now."""
    wanted = (*_FACTS, *_INSTANTS, *_SPANS, "status", "business")
    rows = snapshot.tasks(*wanted).filter(pl.col("business") == business, pl.col("queued_at").is_not_null())
    waits = pl.col("queue").is_not_null()
    processing = pl.col("status") == Status.PROCESSING_QUEUED
    rows = rows.with_columns(
        waits=pl.when(waits & processing).then(pl.lit(PROCESS)).when(waits).then(pl.lit(COLLECT)),
        running_from=pl.when(pl.col("status").is_in(sorted(RUNNING))).then(
            pl.coalesce("processing_started_at", "started_at")
        ),
        wait_s=pl.col("wait_s").fill_null(0),
    )
    told = []
    for task_id in rows.filter(waits)["task_id"]:
        so_far = snapshot.waits(task_id, now)
        told.append((task_id, *(so_far.collect.get(cause, 0) for cause in Cause), so_far.process, so_far.process_held))
    names = ("task_id", *_WAITS, "process_wait_s", "process_wait_hold_s")
    return (
        rows.update(pl.DataFrame(told, dict.fromkeys(names, pl.Int64), orient="row"), on="task_id")
        .select(*_FACTS, *_INSTANTS, *_SPANS, "waits", "running_from", "status", "queue", "held_by")
        .with_columns(pl.col(_SPANS).cast(pl.Int64))
    )


def _who() -> pl.Expr:
    """Tell who is behind a task: its owner, but for what schedules and the system begin."""
    return (
        pl.when(pl.col("owner") == SYSTEM_OWNER).then(pl.lit(SYSTEM_OWNER))
        .when(pl.col("initiator") == SCHEDULE).then(pl.lit(SCHEDULE))
        .otherwise("owner")
    )  # fmt: skip


def staged(tasks: pl.DataFrame, now: int, archive: bool = False) -> pl.DataFrame:
    """Take tasks apart into what they wait for and run as: one row for collecting, one for processing.

    Columns: task_id, site, owner, who, kind, priority, pool, stage, since (in the queue), begun, left (the queue),
    ended, ran (begun and ended or not, by now), the causes, known (whether its wait is).
    """
    system = pl.col("kind").is_in(_SYSTEM)
    same = ("task_id", "site", "owner", "kind", "priority")
    lanes = {kind.value: "hosts" if lane_of(kind, COLLECT) in ("connector", "import") else lane_of(kind, COLLECT)
             for kind in Kind}  # fmt: skip
    lane = pl.col("kind").replace_strict(lanes, return_dtype=pl.String)
    of_log = pl.lit("log\n") + pl.col("scope").fill_null("")
    begins_anew = pl.col("running_from").is_not_null()

    def ran(begun: str, spent: str, runs: pl.Expr) -> pl.Expr:
        going = pl.when(runs & begins_anew).then(now - pl.col(begun)).otherwise(0)
        return (pl.col(spent).fill_null(0) + going).clip(lower_bound=0)

    collecting = tasks.filter(~system).select(
        *same, who=_who(), stage=pl.lit(COLLECT),
        pool=of_log if archive else pl.col("site") + "\n" + lane,
        since="queued_at", begun="started_at",
        left=pl.when(pl.col("waits").is_null() | (pl.col("waits") != COLLECT)).then(
            pl.coalesce("started_at", "finished_at")),
        ended=pl.when(pl.col("started_at").is_not_null()).then(pl.coalesce("collected_at", "finished_at")),
        ran=ran("started_at", "run_s", pl.col("processing_queued_at").is_null()),
        known=pl.col("wait_s").is_not_null(),
        **{cause.value: pl.col(f"wait_{cause.value}_s") for cause in Cause},
        **{PROCESSOR: pl.lit(0, pl.Int64)},
    )  # fmt: skip
    processing = tasks.filter(system | pl.col("processing_queued_at").is_not_null()).select(
        *same, who=_who(), stage=pl.lit(PROCESS),
        pool=of_log if archive else pl.lit(PROCESS),
        since=pl.when(system).then("queued_at").otherwise("processing_queued_at"), begun="processing_started_at",
        left=pl.when(pl.col("waits").is_null()).then(pl.coalesce("processing_started_at", "finished_at")),
        ended=pl.when(pl.col("processing_started_at").is_not_null()).then("finished_at"),
        ran=ran("processing_started_at", "process_s", pl.col("processing_started_at").is_not_null()),
        known=pl.col("wait_s").is_not_null(),
        **{
            cause.value: pl.when(system).then(f"wait_{cause.value}_s").otherwise(0)
            + (pl.col("process_wait_hold_s").fill_null(0) if cause is Cause.HOLD else 0)
            for cause in Cause
        },
        **{PROCESSOR: pl.col("process_wait_s").fill_null(0) - pl.col("process_wait_hold_s").fill_null(0)},
    )  # fmt: skip
    return pl.concat([collecting, processing], how="vertical_relaxed")


def clipped(stages: pl.DataFrame, begin: int, until: int) -> pl.DataFrame:
    """Leave of each stage what lies within a period: each cause and `served` in it; drop those that have nothing there.

    `whole` is what a stage has waited in all.
    """
    left = pl.coalesce("left", pl.lit(until))
    within = (pl.min_horizontal(left, pl.lit(until)) - pl.max_horizontal("since", pl.lit(begin))).clip(lower_bound=0)
    span = left - pl.col("since")
    part = pl.when(span > 0).then(within / span).otherwise(1.0)
    over = pl.coalesce("ended", pl.lit(until))
    served = pl.min_horizontal(over, pl.lit(until)) - pl.max_horizontal(over - pl.col("ran"), pl.lit(begin))
    return stages.with_columns(
        *(pl.col(cause) * part for cause in CAUSES),
        whole=pl.sum_horizontal(CAUSES),
        served=served.clip(lower_bound=0),
        came=pl.col("since").is_between(begin, until, closed="left") | (left > begin) & (pl.col("since") < until),
    ).filter(pl.col("came") | (pl.col("served") > 0))


def shared(
    stages: pl.DataFrame, begin: int, until: int, waiting: Mapping[str, int], ahead: Mapping[str, Ahead],
    behind: Mapping[str, Sequence[tuple[str | None, float]]],
) -> list[Share]:
    """Add up a period by who is behind the work, the greatest share of service-seconds first."""
    cut = clipped(stages, begin, until)
    sums = cut.group_by("who").agg(pl.col("task_id").n_unique().alias("tasks"), pl.col("served", *CAUSES).sum())
    waits = (
        cut.filter("known").group_by("task_id", "who").agg(pl.col("whole").sum())
        .group_by("who").agg(
            mean=pl.col("whole").mean(),
            p95=pl.col("whole").sort().get((pl.len() * 0.95).ceil().cast(pl.Int64) - 1),
        )
    )  # fmt: skip
    told = {row["who"]: row for row in sums.join(waits, on="who", how="left").iter_rows(named=True)}
    served = sum(row["served"] for row in told.values())
    waited = sum(row[cause] for row in told.values() for cause in CAUSES)
    stand = sum(waiting.values())
    shares = []
    for who in {**told, **waiting}:
        row = told.get(who, dict.fromkeys(("tasks", "served", *CAUSES), 0) | {"mean": None, "p95": None})
        causes = {cause: row[cause] / SECOND for cause in CAUSES if row[cause]}
        mean, p95 = row["mean"], row["p95"]
        shares.append(Share(
            who, who not in (SCHEDULE, SYSTEM_OWNER), row["tasks"], row["served"] / SECOND,
            row["served"] / served if served else 0.0, sum(causes.values()),
            sum(causes.values()) * SECOND / waited if waited else 0.0, causes,
            None if mean is None else mean / SECOND, None if p95 is None else p95 / SECOND,
            waiting.get(who, 0), waiting.get(who, 0) / stand if stand else 0.0, ahead.get(who), behind.get(who, ()),
        ))  # fmt: skip
    return sorted(shares, key=lambda one: (-one.served_s, -one.waited_s, one.who))


# --- who stands before whom


def stood_behind(
    stages: pl.DataFrame, begin: int, until: int, named: bool = True
) -> dict[str, list[tuple[str | None, float]]]:
    """Tell of everybody whose work had the slots while his own waited for them: names and shares, the most first.

    At each moment that a task waits and is not held, the moment is divided among whoever runs in the same pool, by how
    many slots they have; of very many waits some stand for all. None stands for those at other sites, unless they may
    be `named`. Moments in which nothing ran count for nobody.
    """
    runs = stages.filter(pl.col("begun").is_not_null()).select(
        "pool", who=pl.col("who") if named else pl.when("here").then("who").otherwise(pl.lit("")),
        begun=pl.max_horizontal("begun", pl.lit(begin)),
        over=pl.coalesce("ended", pl.lit(until)).clip(upper_bound=until),
    ).filter(pl.col("begun") < pl.col("over"))  # fmt: skip
    waits = stages.filter("here").select(
        "pool", "who", since=_free(begin), left=pl.coalesce("left", pl.lit(until)).clip(upper_bound=until)
    ).filter(pl.col("since") < pl.col("left"))  # fmt: skip
    taken: dict[str, dict[str, float]] = {}
    running = runs.partition_by("pool", as_dict=True)
    for key, waiting in waits.partition_by("pool", as_dict=True).items():
        if key not in running:
            continue
        moves = pl.concat(
            [running[key].select("who", at=at, n=pl.lit(n)) for at, n in (("begun", 1), ("over", -1))]
        ).sort("at")
        at, n = moves["at"].to_numpy(), moves["n"].to_numpy()
        # What one slot of those in use had had by each move; between two moves it grows evenly.
        each = np.concatenate([[0.0], np.cumsum(np.diff(at) / np.maximum(np.cumsum(n)[:-1], 1) / SECOND)])
        weight = -(-waiting.height // MOST_WAITS)
        waiting = waiting.gather_every(weight)
        instants = [waiting[name].to_numpy() for name in ("since", "left")]
        had = [np.interp(instant, at, each) for instant in instants]
        for (name,), mine in running[key].partition_by("who", as_dict=True).items():
            sides = [np.sort(mine[side].to_numpy()) for side in ("begun", "over")]
            upto = [np.concatenate([[0.0], np.cumsum(np.interp(side, at, each))]) for side in sides]
            since, left = (
                sum(sign * (so_far * (k := np.searchsorted(side, instant, "right")) - before[k])
                    for sign, side, before in zip((1, -1), sides, upto, strict=True))
                for instant, so_far in zip(instants, had, strict=True)
            )  # fmt: skip
            spent = waiting.select("who", spent=pl.Series(left - since)).group_by("who").agg(pl.col("spent").sum())
            for who, seconds in spent.rows():
                if seconds > 1e-6:
                    of = taken.setdefault(who, {})
                    of[str(name)] = of.get(str(name), 0.0) + seconds * weight
    return {
        who: [(name or None, part / sum(of.values())) for name, part in sorted(of.items(), key=lambda one: -one[1])]
        for who, of in taken.items()
    }


def _waiting(live: pl.DataFrame) -> dict[str, int]:
    if not live.height:
        return {}
    return dict(live.filter(pl.col("waits").is_not_null()).group_by(who=_who()).len().rows())


def _ahead(snapshot: Snapshot, business: str, within: Sequence[str], named: bool) -> dict[str, Ahead]:
    """Tell what stands before everybody's next task: of those that wait for the same hosts and are not held."""
    rows = snapshot.tasks(
        "business", "site", "owner", "initiator", "kind", "priority", "status", "queued_at", "processing_queued_at"
    )
    processing = pl.col("status") == Status.PROCESSING_QUEUED
    lane = pl.col("kind").replace_strict({k.value: lane_of(k, COLLECT) for k in Kind}, return_dtype=pl.String)
    line = rows.filter(
        pl.col("business") == business, pl.col("queue").is_not_null(), pl.col("held_by").is_null()
    ).select(
        "site", "task_id", turn=-pl.col("priority"), who=_who(),
        lane=pl.when(processing | (lane == PROCESS)).then(pl.lit("")).otherwise(pl.col("site") + "\n" + lane),
        since=pl.when(processing).then("processing_queued_at").otherwise("queued_at"),
    )  # fmt: skip
    return ahead(line, within, named)


def ahead(line: pl.DataFrame, within: Sequence[str], named: bool) -> dict[str, Ahead]:
    """Tell it of a line: site, lane, who, and turn, since, task_id, which order each lane."""
    here = pl.col("site").is_in(list(within)) if within else pl.lit(True)
    line = line.sort("lane", "turn", "since", "task_id").with_columns(
        place=pl.int_range(pl.len()).over("lane"), here=here
    )
    nexts = line.filter("here").sort("place").unique("who", keep="first", maintain_order=True)
    lanes = {key[0]: part for key, part in line.partition_by("lane", as_dict=True).items()}
    found = {}
    for who, lane, place in nexts.select("who", "lane", "place").rows():
        before = lanes[lane].head(place)
        seen = before if named else before.filter("here")
        most = seen.group_by("who").len().sort("len", "who", descending=[True, False]).head(1).rows()
        found[who] = Ahead(place, *(most[0] if most else ()))
    return found


# --- what the services had


Slots = Sequence[tuple[int, int]]  #: from when on how many, ascending


def capacity(store: Store, batch: int, business: str) -> dict[str, Slots]:
    """Tell how many slots took work in each pool, from the business's first moment on; none while the console is down.

    An explorer has one slot for scans; its others, and a hosted zone's, are one pool for connectors and imports.
    """
    changes = store.read(
        f"""
        select epoch_us(occurred_at) as at_us, service, role_now, place_now, if(available, slots_now, 0) as slots
        from ({spells.KNOWN}) where business = $business order by event_id
        """,
        {"upto": batch, "business": business},
    )
    down = store.read(
        f"select epoch_us(begun_at), epoch_us(ended_at) from ({spells.DOWN}) order by begun_at", {"upto": batch}
    ).rows()
    had: dict[tuple[str, str], int] = {}
    steps: dict[str, list[tuple[int, int]]] = {}
    for at, service, role, site, slots in changes.rows():
        for pool, n in _pools(role, site, slots).items():
            steps.setdefault(pool, []).append((at, n - had.get((service, pool), 0)))
            had[service, pool] = n
    return {pool: _without(deltas, down) for pool, deltas in steps.items()}


def _pools(role: str, site: str, slots: int) -> dict[str, int]:
    if role == EXPLORER:
        return {f"{site}\nscan": min(slots, 1), f"{site}\nhosts": max(slots - 1, 0)}
    return {f"{site}\naudit" if role == AUDIT_SERVICE else f"{site}\nhosts" if role == HOSTED_ZONE else PROCESS: slots}


def _without(deltas: Sequence[tuple[int, int]], down: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Add changes up, and count nothing while the console is down."""
    gone = [(at, 0, n) for begun_at, ended_at in down for at, n in ((begun_at, 1), (ended_at, -1))]
    marks = sorted([*((at, n, 0) for at, n in deltas), *gone])
    slots = away = 0
    found = []
    for at, n, m in marks:
        slots, away = slots + n, away + m
        found.append((at, 0 if away else slots))
    return found


def fitted(stages: pl.DataFrame, begin: int, until: int) -> dict[str, Slots]:
    """Find for each pool of an imported log with how many slots a replay comes closest to what was waited in it.

    A log does not tell how many there were: never fewer than one, never more than ran at the same time.
    """
    found: dict[str, Slots] = {}
    for (pool,), part in _guessed(stages).partition_by("pool", as_dict=True).items():
        newest = in_turn(part).tail(MOST_FITTED).with_row_index("turn").with_columns(free=_free(begin))
        line = newest.filter(~_runs_at(begin)).sort("free")
        left = pl.coalesce("left", pl.lit(until))
        waited = int(line.select((left - pl.col("free")).clip(lower_bound=0).sum()).item())
        off = partial(_off, line, _busy(newest, begin, until), begin, waited)
        few, many = 1, max(_peak(part, until), 1)
        while few < many:  # the more slots, the less is waited
            half = (few + many) // 2
            few, many = (half + 1, many) if off(half) > 0 else (few, half)
        near = few - 1 if few > 1 and abs(off(few - 1)) < abs(off(few)) else few
        found[str(pool)] = [(0, near)]
    return found


def _off(line: pl.DataFrame, busy: Sequence[int], begin: int, waited: int, slots: int) -> int:
    free: list[int] = line["free"].to_list()
    turn, lasts = line["turn"].to_list(), line["lasts"].to_list()
    begun = starts(free, turn, lasts, [(0, slots)], busy, begin)
    return sum(at - came for at, came in zip(begun, free, strict=True) if at is not None) - waited


def _peak(stages: pl.DataFrame, until: int) -> int:
    ran = stages.filter(pl.col("begun").is_not_null())
    ends = ran.select(at=pl.coalesce("ended", pl.lit(until)), n=pl.lit(-1))
    moves = pl.concat([ran.select(at="begun", n=pl.lit(1)), ends]).group_by("at").agg(pl.col("n").sum()).sort("at")
    return int(moves["n"].cum_sum().max() or 0)  # type: ignore[arg-type]  # of integers


# --- the same period once more


class Replay:
    """A period's tasks, let come once more through the slots that there were. Made once, asked for any owner."""

    def __init__(
        self, stages: pl.DataFrame, begin: int, until: int, slots: Mapping[str, Slots], most: int = MOST_REPLAYED
    ) -> None:
        self._until, self._slots = until, slots
        over = pl.coalesce("ended", "left", pl.lit(until))
        if stages["task_id"].n_unique() > most:
            ends = stages.group_by("task_id").agg(over.max().alias("over"))["over"].sort(descending=True)
            begin = max(begin, int(ends[most]))
        self.from_at = begin
        self._stages = in_turn(_guessed(stages.filter((over > begin) & (pl.col("since") < until))))
        self._before: pl.DataFrame | None = None

    def without(self, owner: str) -> Given:
        """Estimate what the others would have waited if an owner had been paused as the period began.

        What ran of his then goes on; nothing more of his begins, runs of his schedules neither.
        """
        if self._before is None:
            self._before = self._replayed(self._stages)
        his = (pl.col("owner") == owner) & ~_runs_at(self.from_at)
        others = (
            self._stages.filter(pl.col("owner") != owner, "here", "known")
            .with_columns(left=pl.coalesce("left", pl.lit(self._until)).clip(upper_bound=self._until))
            .with_columns(waited=(pl.col("left") - _free(self.from_at)).clip(lower_bound=0))
            .group_by("task_id", maintain_order=True).agg(pl.col("waited").sum())
        )  # fmt: skip
        after = self._replayed(self._stages.filter(~his))
        told = (
            others.join(self._before, on="task_id", how="left").join(after, on="task_id", how="left", suffix="_after")
            .fill_null(0)
        )  # fmt: skip
        return Given(
            owner, self._stages.filter(his, "here")["task_id"].n_unique(), others.height, self.from_at,
            *(Waited.of(told[name]) for name in ("waited", "model", "model_after")),
        )

    def _replayed(self, stages: pl.DataFrame) -> pl.DataFrame:
        """Let tasks come: task_id, and model, how long each waits until it begins, goes away, or the period ends."""
        handed = [pl.DataFrame(schema={"task_id": pl.Int64, "handed": pl.Int64})]
        waits: list[pl.DataFrame] = []
        pools = {str(key[0]): part for key, part in stages.partition_by("pool", as_dict=True).items()}
        for pool in sorted(pools, key=lambda pool: pool == PROCESS):  # what is collected comes to the processors
            part = pools[pool]
            if pool == PROCESS:
                part = part.join(pl.concat(handed), on="task_id", how="left")
                part = in_turn(part.with_columns(since=pl.coalesce("handed", "since")))
            part = part.with_row_index("turn").with_columns(free=_free(self.from_at))
            coming, busy = part.filter(~_runs_at(self.from_at)).sort("free"), _busy(part, self.from_at, self._until)
            free, turn, lasts = (coming[name].to_list() for name in ("free", "turn", "lasts"))
            begun = starts(free, turn, lasts, self._slots.get(pool, [(0, 0)]), busy, self.from_at)
            told = coming.select("task_id", "stage", "free", "gone", "lasts", begun=pl.Series(begun, dtype=pl.Int64))
            limit = pl.min_horizontal("begun", "gone", pl.lit(self._until))
            waits.append(told.select("task_id", model=(limit - pl.col("free")).clip(lower_bound=0)))
            if pool != PROCESS:
                done = told.filter(pl.col("stage") == COLLECT, pl.col("begun").is_not_null())
                handed.append(done.select("task_id", handed=pl.col("begun") + pl.col("lasts")))
        if not waits:
            return pl.DataFrame(schema={"task_id": pl.Int64, "model": pl.Int64})
        return pl.concat(waits).group_by("task_id").agg(pl.col("model").sum())


def in_turn(stages: pl.DataFrame) -> pl.DataFrame:
    """Put stages into the order in which the core lets them begin."""
    return stages.sort(-pl.col("priority"), "since", "task_id")


def _free(begin: int) -> pl.Expr:
    """Tell from when on a stage could have begun: in the queue, not under a hold, and not before the period."""
    return pl.max_horizontal(pl.col("since") + pl.col("hold"), pl.lit(begin))


def _runs_at(begin: int) -> pl.Expr:
    return pl.col("begun").is_not_null() & (pl.col("begun") < begin)


def _busy(stages: pl.DataFrame, begin: int, until: int) -> list[int]:
    """Tell when the slots come free that are taken as a period begins."""
    return stages.filter(_runs_at(begin)).select(pl.coalesce("ended", pl.lit(until))).to_series().to_list()


def _guessed(stages: pl.DataFrame) -> pl.DataFrame:
    """Say how long each stage lasts once begun, and when it goes away without; of what has not ended yet, as usual."""
    usual = stages.filter(pl.col("ended").is_not_null()).group_by("kind", "stage").agg(usual=pl.col("ran").median())
    ran_out = pl.col("ended").is_not_null()
    never = pl.col("begun").is_null()
    return stages.join(usual, on=["kind", "stage"], how="left").with_columns(
        lasts=pl.when(ran_out).then("ran").when(never & pl.col("left").is_not_null()).then(0)
        .otherwise(pl.max_horizontal(pl.col("usual").fill_null(0).cast(pl.Int64), "ran")),
        gone=pl.when(never).then("left"),
    ).drop("usual")  # fmt: skip


def starts(
    free: Sequence[int], turn: Sequence[int], lasts: Sequence[int], slots: Slots, busy: Sequence[int], begin: int
) -> list[int | None]:
    """Tell when each would begin who comes at `free`, ascending: whoever is there of the lowest turn, once a slot is.

    `busy` slots end at these instants. None: never, because no slot is left and none comes.
    """
    begun: list[int | None] = [None] * len(free)
    never = 1 << 62
    comes, who_has = [*free, never], {mine: n for n, mine in enumerate(turn)}
    changes = [*(at for at, _ in slots), never]
    step = bisect_right(changes, begin)
    had = slots[step - 1][1] if step else 0
    ends, waiting, came = list(busy), list[int](), 0
    heapify(ends)
    while True:
        now = comes[came]
        if waiting:
            now = min(now, changes[step], ends[0]) if ends else min(now, changes[step])
        if now == never:
            return begun
        while ends and ends[0] <= now:
            heappop(ends)
        while changes[step] <= now:
            had = slots[step][1]
            step += 1
        while comes[came] <= now:
            heappush(waiting, turn[came])
            came += 1
        while waiting and len(ends) < had:
            who = who_has[heappop(waiting)]
            begun[who] = now
            heappush(ends, now + lasts[who])
