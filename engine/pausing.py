"""What holds keep waiting, what one to be would touch, and what lifting some would release.

Unfinished tasks are counted by all that a hold can tell apart (site, type, owner, schedule), once for a snapshot; every
question is asked of these counts, so that a hundred thousand waiting tasks cost what their users and types cost. What a
hold covers is told as the core tells it, by its target and its reach; a test holds both to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from .clock import DAY, MINUTE, SECOND
from .conditions import WILD
from .filters import Either, Filter, Term
from .lanes import EXPLORER, SERVES, lane_of
from .lifecycle import COLLECTING, KIND_LABEL, RUNNING, SYSTEM_KINDS, Kind, Status
from .messages import BlackoutSpec, HoldTarget
from .snapshot import BlackoutLook, HoldLook, Snapshot, ThrottleLook
from .standing import OWN, Schedule, schedules
from .store import Store
from .task import COLLECT, PROCESS, SYSTEM_OWNER
from .timetable import fires
from .usual import Drain

AHEAD = DAY  #: so far ahead fires are looked for under a hold without an end
FARTHEST = 7 * DAY  #: and no farther under any
PACE_DAYS = 7  #: what tasks take is taken from so many days back
NEXT = 3  #: fires that are named
NEXT_WINDOWS = 5  #: times of a blackout window that are told ahead
FARTHEST_WINDOW = 20 * 366 * DAY

_APART = ("business", "site", "kind", "owner", "schedule_id")
_COUNTS = ("waiting", "to_process", "running", "collecting", "later")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody or something that a hold could be on: what waits and runs of it, and whether one is on it already."""

    name: str
    waiting: int
    running: int
    held: bool


@dataclass(frozen=True, slots=True)
class Touched:
    """What a hold on one target would touch."""

    target: HoldTarget
    waiting: int  #: tasks that it would keep
    already: int  #: of them, those that another hold keeps already
    running: int  #: that go on
    collecting: int  #: of them, those that could be asked to suspend
    later: int  #: tasks to come at their due time, which it would keep then
    fires: int  #: of schedules, until the hold ends or `Reach.until_at`


@dataclass(frozen=True, slots=True)
class Reach:
    """What holds on some targets would touch, each and together."""

    each: Sequence[Touched]
    users: Sequence[tuple[str, int]]  #: whose waiting and running tasks, most first
    next: Sequence[tuple[int, str]]  #: the next fires, and of which schedules
    until_at: int  #: as far as fires were looked for

    def total(self, what: str) -> int:
        return sum(getattr(one, what) for one in self.each)


@dataclass(frozen=True, slots=True)
class Kept:
    """A hold in force or to come, and how many tasks wait under it: all, and those that no other hold keeps."""

    hold: HoldLook
    waiting: int
    alone: int


@dataclass(frozen=True, slots=True)
class Window:
    """A blackout window, and how many tasks wait under what it holds now; None: it holds nothing now."""

    look: BlackoutLook
    keeps: int | None


@dataclass(frozen=True, slots=True)
class Closure:
    """What a blackout window to be would touch: its next times, what waits at its site now, and what fires in them."""

    times: Sequence[tuple[int, int]]  #: [begin, end)
    now: Touched
    fires: Sequence[tuple[int, str]]  #: the first of each schedule in each of these times, and which schedule's it is


@dataclass(frozen=True, slots=True)
class Capped:
    """A cap, and how many tasks of its user wait."""

    cap: ThrottleLook
    waiting: int


@dataclass(frozen=True, slots=True)
class Release:
    """What lifting some holds would let go, and which holds then keep how many of the others."""

    tasks: int
    users: int
    staying: Sequence[tuple[HoldLook, int]]
    drain: Drain

    def paced(self, rate: int) -> Drain:
        """Tell how long it takes where so many tasks a minute are let go: the first at once, the last that much later.

        It takes no less than without, and where that is not known, no less than this.
        """
        seconds = max(0, self.tasks - 1) * MINUTE / rate / SECOND
        if self.drain.word == "does not" or (self.drain.seconds is not None and seconds <= self.drain.seconds):
            return self.drain
        return Drain("about" if self.drain.seconds is not None else "at least", seconds, f"{rate:,} a minute")


def searched(text: str, zone: str = "UTC") -> Filter:
    """Make a filter of what somebody types who looks for a user or a task type: part of a name finds both."""
    text = "".join(sign for sign in text if sign.isprintable()).strip()
    if not text:
        return Filter(zone=zone)
    user = Term("user", (f"{WILD}{text}{WILD}",))
    kinds = tuple(kind for kind, label in KIND_LABEL.items() if text.lower() in label.lower())
    return Filter(Either((user, Term("type", kinds))) if kinds else user, zone)


def counted(snapshot: Snapshot, business: str | None) -> pl.DataFrame:
    """Count unfinished tasks by what holds tell apart: waiting, to_process (of these), running, collecting, later.

    Waiting tasks stand in a sub-queue, held or not; `later` counts those that are not due yet.
    """
    rows = snapshot.tasks(*_APART, "status", "queued_at")
    if business is not None:
        rows = rows.filter(pl.col("business") == business)
    waits, status = pl.col("queue").is_not_null(), pl.col("status")
    return rows.group_by(_APART).agg(
        waiting=waits.sum(),
        to_process=(waits & (status == Status.PROCESSING_QUEUED)).sum(),
        running=status.is_in(sorted(RUNNING)).sum(),
        collecting=status.is_in(sorted(COLLECTING)).sum(),
        later=((status == Status.NEW) & pl.col("queued_at").is_null()).sum(),
    ).with_columns(pl.col(_COUNTS).cast(pl.Int64))  # fmt: skip


def covers(target: HoldTarget, business: str | None, site: str | None = None) -> pl.Expr:
    """Tell of counts whether a hold on a target, with such a reach, covers them."""
    column = {"user": "owner", "kind": "kind", "schedule": "schedule_id", "site": "site"}[target.kind]
    value: object = int(target.name) if target.kind == "schedule" else target.name
    test: pl.Expr = pl.col(column).eq(value).fill_null(False)
    if target.kind == "site":
        test = test.and_(pl.col("kind").is_in(sorted(SYSTEM_KINDS)).not_())
    if business is not None:
        test = test.and_(pl.col("business").eq(business))
    return test if site is None else test.and_(pl.col("site").eq(site))


def window_at(
    at: int, kind: Kind, holds: Iterable[HoldLook], windows: Iterable[BlackoutLook]
) -> tuple[str, int] | None:
    """Name the blackout window of a site that keeps what falls due there at an instant, and tell until when.

    Of several the one that is over last; None where no window does: system tasks are kept by none.
    """
    if kind in SYSTEM_KINDS:
        return None
    found = [(h.until_at, h.blackout) for h in holds if h.blackout and h.until_at and h.from_at <= at < h.until_at]
    found += [(over, one.spec.name) for one in windows if (over := one.over(at)) is not None]
    over, name = max(found, default=(0, ""))
    return (name, over) if name else None


@dataclass(frozen=True, slots=True)
class Pauses:
    """The holds over a business (None: over the whole platform) as of a snapshot, and what any more would do."""

    snapshot: Snapshot
    store: Store
    counts: pl.DataFrame
    business: str | None
    now: int

    @property
    def holds(self) -> list[HoldLook]:
        """List the holds in force and to come that reach the business, oldest first."""
        return [h for h in self.snapshot.holds if self.business is None or h.business in (None, self.business)]

    @property
    def ramps(self) -> list[ThrottleLook]:
        """List the ramps in force that reach the business, oldest first: what they release and who still waits in it.

        One that goes beyond it has no business itself.
        """
        found = [one for one in self.snapshot.throttles if one.rate is not None]
        if self.business is None:
            return found
        own = [[reach for reach in one.over if reach[0] in (None, self.business)] for one in found]
        return [
            replace(one, over=tuple(over), left=one.left_of.get(self.business, 0))
            for one, over in zip(found, own, strict=True) if over
        ]  # fmt: skip

    def caps(self) -> list[Capped]:
        """List the caps in the business by user, with what of his waits."""
        counts = self.counts.group_by("business", "owner").agg(pl.col("waiting").sum())
        waiting = {(business, owner): n for business, owner, n in counts.rows()}
        caps = [one for one in self.snapshot.throttles if one.at_most is not None]
        found = [Capped(one, waiting.get((one.business, one.owner), 0)) for one in caps
                 if self.business in (None, one.business)]  # fmt: skip
        return sorted(found, key=lambda one: (str(one.cap.owner).lower(), str(one.cap.business)))

    def kept(self) -> list[Kept]:
        """Tell of each hold what it keeps waiting."""
        holds = self.holds
        over = {h.hold_id: self._over(h) for h in holds if h.in_force}
        found = self.counts.select(
            "waiting",
            **{f"h{n}": test for n, test in over.items()},
            n=pl.sum_horizontal([test.cast(pl.Int64) for test in over.values()] or [pl.lit(0, pl.Int64)]),
        )
        told = []
        for hold in holds:
            under = found.filter(pl.col(f"h{hold.hold_id}")) if hold.in_force else found.clear()
            told.append(Kept(hold, _sum(under, "waiting"), _sum(under.filter(pl.col("n") == 1), "waiting")))
        return told

    def windows(self) -> list[Window]:
        """List the blackout windows of the business, the next to begin first; with what each keeps now."""
        mine = [w for w in self.snapshot.blackouts if self.business in (None, w.spec.business)]
        found = []
        for look in sorted(mine, key=lambda one: (one.next_at, one.blackout_id)):
            held = [self._over(h) for h in self.holds if h.in_force and h.blackout_id == look.blackout_id]
            keeps = _sum(self.counts.filter(pl.any_horizontal(held)), "waiting") if held else None
            found.append(Window(look, keeps))
        return found

    def closure(self, spec: BlackoutSpec) -> Closure:
        """Tell what a window would touch: the next few times, what waits at its site, and the fires that fall in."""
        target, lasts = HoldTarget("site", spec.site), spec.duration_s * SECOND
        times = [(at, at + lasts) for at in spec.rule.occurrences(self.now, self.now + FARTHEST_WINDOW, NEXT_WINDOWS)]
        plans = [one for one in schedules(self.store, spec.business, spec.site) if _yields_for(one, target)]
        fired = [
            (first[0], one.spec.name) for one in plans for begin, end in times
            if (first := one.spec.rule.occurrences(begin - 1, end - 1, 1))
        ]  # fmt: skip
        return Closure(times, self._touched(target, spec.business, spec.site), sorted(fired))

    def users(self, known: Collection[str] = ()) -> list[Candidate]:
        """List who could be paused: whoever has unfinished tasks, and who else is known; most waiting first."""
        by_name = self._by("owner")
        names = [name for name in dict.fromkeys([*by_name, *known]) if name and name != SYSTEM_OWNER]
        found = [self._candidate("user", name, by_name) for name in names]
        return sorted(found, key=lambda one: (-one.waiting, -one.running, one.name.lower()))

    def kinds(self) -> list[Candidate]:
        """List the task types, most waiting first."""
        by_name = self._by("kind")
        found = [self._candidate("kind", kind.value, by_name) for kind in Kind]
        return sorted(found, key=lambda one: (-one.waiting, -one.running, KIND_LABEL[Kind(one.name)]))

    def reach(self, targets: Sequence[HoldTarget], until_at: int | None = None) -> Reach:
        """Tell what holds on users or on task types from now on would touch; fires within a week at most."""
        far = min(until_at if until_at is not None else self.now + AHEAD, self.now + FARTHEST)
        each, fired = [], []
        plans = self._schedules() if targets else []
        together: pl.Expr = pl.lit(False)
        for target in targets:
            together |= covers(target, self.business)
            due = [(at, one.spec.name, n) for one in plans if _yields_for(one, target)
                   for at, n in fires([one.spec.rule], self.now, far).select("minute_at", "n").rows()]  # fmt: skip
            fired += due
            each.append(self._touched(target, self.business, None, sum(n for _, _, n in due)))
        of = self.counts.filter(together).group_by("owner").agg(n=(pl.col("waiting") + pl.col("running")).sum())
        users = of.filter(pl.col("n") > 0).sort("n", "owner", descending=[True, False]).rows()
        return Reach(each, users, [(at, name) for at, name, _ in sorted(fired)[:NEXT]], far)

    def release(self, lifted: Collection[int]) -> Release:
        """Tell what lifting these holds lets go, what others keep then, and about how long until all that waits began.

        The estimate goes by what such tasks took in the last week and by the slots that are online now; what comes
        meanwhile is not in it.
        """
        in_force = [h for h in self.holds if h.in_force]
        off = pl.any_horizontal([self._over(h) for h in in_force if h.hold_id in lifted] or [pl.lit(False)])
        stay = [h for h in in_force if h.hold_id not in lifted]
        on = pl.any_horizontal([self._over(h) for h in stay] or [pl.lit(False)])
        free = self.counts.filter(off & ~on, pl.col("waiting") > 0)
        staying = [(h, _sum(self.counts.filter(self._over(h)), "waiting")) for h in stay]
        return Release(
            _sum(free, "waiting"), free["owner"].n_unique(), [(h, n) for h, n in staying if n],
            self._drain(self.counts.filter(~on, pl.col("waiting") > 0)) if free.height else Drain("empty", 0.0, ""),
        )  # fmt: skip

    # --- parts

    def _touched(self, target: HoldTarget, business: str | None, site: str | None, fires: int = 0) -> Touched:
        held = pl.any_horizontal([self._over(h) for h in self.holds if h.in_force] or [pl.lit(False)])
        under = self.counts.filter(covers(target, business, site))
        return Touched(
            target, _sum(under, "waiting"), _sum(under.filter(held), "waiting"), _sum(under, "running"),
            _sum(under, "collecting"), _sum(under, "later"), fires,
        )

    def _over(self, hold: HoldLook) -> pl.Expr:
        return covers(HoldTarget(hold.target_kind, hold.target), hold.business, hold.site)

    def _by(self, column: str) -> dict[str, tuple[int, int]]:
        found = self.counts.group_by(column).agg(pl.col("waiting").sum(), pl.col("running").sum())
        return {name: (waiting, running) for name, waiting, running in found.rows()}

    def _candidate(self, kind: str, name: str, counts: Mapping[str, tuple[int, int]]) -> Candidate:
        waiting, running = counts.get(name, (0, 0))
        return Candidate(name, waiting, running, any(
            (h.in_force, h.site, h.target_kind, h.target) == (True, None, kind, name)
            and h.business in (None, self.business)
            for h in self.snapshot.holds
        ))  # fmt: skip

    def _schedules(self) -> list[Schedule]:
        places = [place for place in self.snapshot.zones if self.business in (None, place[0])]
        return [one for place in places for one in schedules(self.store, *place)]

    def _drain(self, waiting: pl.DataFrame) -> Drain:
        """Estimate how long the slots that are online have work with what waits."""
        paces = {(b, s, k): took for b, s, k, *took in self._paces(waiting["business"].unique()).rows()}
        work: dict[tuple[str, str | None, str], float] = {}
        unknown = 0
        for row in waiting.iter_rows(named=True):
            kind = Kind(row["kind"])
            took = paces.get((row["business"], row["site"], kind))
            if took is None:
                unknown += row["waiting"]
                continue
            lane, process = lane_of(kind, COLLECT), lane_of(kind, PROCESS)
            at = row["business"], None if kind in SYSTEM_KINDS else row["site"], lane
            if kind not in SYSTEM_KINDS:
                work[at] = work.get(at, 0.0) + (row["waiting"] - row["to_process"]) * took[0]
            of = row["business"], None, process
            work[of] = work.get(of, 0.0) + row["waiting"] * took[1]
        longest, why = 0.0, ""
        for (business, site, lane), seconds in work.items():
            if seconds <= 0:
                continue
            slots = self._slots(business, site, lane)
            what = "processor" if site is None else lane
            where = f" at {site}" if site is not None else ""
            if not slots:
                return Drain("does not", None, f"No {what} slot is online{where}")
            if seconds / slots > longest:
                longest, why = seconds / slots, f"{slots:,} {what} slot{'s' if slots > 1 else ''}{where}"
        if not work:
            return Drain("unknown", None, "No such task has ended in the last week")
        left = f"; {unknown:,} of types that did not end in the last week are not in it" if unknown else ""
        return Drain("about", longest, f"{why}, by what such tasks took in the last week{left}")

    def _slots(self, business: str, site: str | None, lane: str) -> int:
        """Count the slots online that serve a lane: of an explorer's one is for scans, the others for connectors."""
        able = [s for s in self.snapshot.services if (s.business, s.site, s.state) == (business, site, "online")]
        return sum(
            s.slots if s.role != EXPLORER else 1 if lane == "scan" else s.slots - 1
            for s in able if s.role in SERVES[lane]
        )  # fmt: skip

    def _paces(self, businesses: Iterable[str]) -> pl.DataFrame:
        """Find what tasks took in the last week, in the middle: business, site, kind, collecting and processing (s)."""
        return self.store.read(
            f"""select business, site, kind, coalesce(median(run_s), 0)::double, coalesce(median(process_s), 0)::double
                from task_finished where business in (select unnest($businesses::varchar[])) and {OWN}
                  and status = '{Status.PROCESSED}' and finished_at > make_timestamp($since_at)
                group by all""",
            {"businesses": list(businesses), "since_at": self.now - PACE_DAYS * DAY},
        )


def _sum(counts: pl.DataFrame, column: str) -> int:
    return int(counts[column].sum())


def _yields_for(one: Schedule, target: HoldTarget) -> bool:
    """Tell whether a hold on the target keeps the runs of a schedule."""
    at = "" if one.spec.kind in SYSTEM_KINDS else one.spec.site
    return target.name == {"user": one.spec.owner, "kind": one.spec.kind.value, "site": at}.get(target.kind)
