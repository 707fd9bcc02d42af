"""What all sessions share of what they see: looks, lists and lives, made at most every few seconds, whoever asks.

A `Watch` knows no grants: it makes what is asked of it for whoever asks, under keys that name the whole of what it is
about, so that nothing made for one place ever serves another. `sight` decides who may be told which of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import polars as pl
import polars.selectors as cs

from . import (
    fairness,
    health,
    history,
    hosts,
    looks,
    pausing,
    standing,
    timetable,
)
from .activity import Reach, Trail
from .catalogue import Catalogue
from .clock import DAY, SECOND, stopwatch
from .fairness import Given, Lens, Replay
from .health import Limits, Look, Signal
from .hosts import Day
from .inventory import Found
from .ledger import TaskEvent, TaskRow
from .living import Place
from .masks import UNTOLD, unnamed
from .proof import Proof
from .runtime import Engine
from .snapshot import ServiceLook, Snapshot
from .standing import Schedule
from .timetable import Past, Timetable

T = TypeVar("T")

LOOK_EVERY = 8  #: seconds that a look at a site serves everybody
LOOK_SHARE = 0.01  #: of a core that looks at a site may cost: a long one serves for longer
LONGEST_LOOK = 18  #: but for no more seconds than this: the verdict must not come late
RECENT_EVERY = 18  #: seconds for which a site's last hours serve
MOST_LIVES = 500  #: timelines that are kept
MOST_STANDING = 16  #: likewise, counts of what stands, of the last snapshots
NAMES_EVERY = 300  #: seconds for which the words that complete a filter serve
ASSETS_EVERY = 4  #: likewise, assets and the list of results
TIMETABLE_EVERY = 10  #: likewise, what schedules did and will do
PAST_EVERY = 3  #: likewise, of one schedule
QUIET_EVERY = 10  #: likewise, what came last and comes next where nothing happens
USE_EVERY = 20  #: likewise, how much each host of a business was used over a day
USE_SHARE = 0.01  #: of a core that this may cost
FAIR_EVERY = 30  #: likewise, who used the services in a period
FAIR_LONGEST = 600  #: but for no more seconds than this
MOST_REPLAYS = 4  #: periods of places that can be replayed at once; further ones are gathered anew
CENSUS_EVERY = 3  #: seconds between two counts of what ended meanwhile


@dataclass(frozen=True, slots=True)
class Judged:
    """A look at a site, every check's signal, and which of them is to be said first."""

    look: Look
    signals: Sequence[Signal]
    first: Signal | None

    @property
    def archive(self) -> bool:
        """Tell whether the site is an archive of imported history, which has no live verdict."""
        return bool(self.look.sites["archive"].any())


@dataclass(frozen=True, slots=True)
class Quiet:
    """What happened last at a site, in the last day, and what its schedules do next."""

    last: dict[str, Any] | None  #: kind, number, target, finished_at (µs) of the task that ended last
    next_at: int | None
    due: Sequence[Schedule]  #: that occur then


@dataclass(frozen=True, slots=True)
class Use:
    """How the hosts of a business were used, each and the processors together; and which sites are archives."""

    days: dict[str, Day]
    processing: Day
    archives: frozenset[str]


class _Shared(Generic[T]):
    """Things made at most every so often, each by one who asks, while others go on with the last; only those asked for
    last stay.

    With a `share`, what takes long to make serves the longer, so that no more than that part of a core goes into it.
    """

    def __init__(self, every_s: int, share: float = 1.0, longest_s: int = 60, most: int = 200) -> None:
        self._every, self._share, self._longest, self._most = every_s * SECOND, share, longest_s * SECOND, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, tuple[threading.Lock, list[tuple[int, T]]]] = OrderedDict()

    def get(self, key: object, now: int, make: Callable[[], T]) -> T:
        with self._lock:
            lock, made = self._kept.setdefault(key, (threading.Lock(), []))
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if made and (now < made[0][0] or lock.locked()):
            return made[0][1]
        with lock:
            if not made or now >= made[0][0]:
                spent = stopwatch()
                thing = make()
                worth = int(spent() / self._share * SECOND)
                made[:] = [(now + max(self._every, min(worth, self._longest)), thing)]
            return made[0][1]


class Watch:
    """What all sessions of one running engine share; any thread may ask."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.usual = history.Usual(engine.store, every_s=RECENT_EVERY)
        self.slowly = looks.Slowly(engine.store)
        self.catalogue = Catalogue(engine.store)
        self.trail = Trail(engine.store)
        self.proof = Proof(engine.store, lambda: engine.now)
        engine.every(CENSUS_EVERY, "take the census", self.catalogue.take_census)
        self._looks: _Shared[Look] = _Shared(LOOK_EVERY, LOOK_SHARE, LONGEST_LOOK)
        self._judged: _Shared[Judged] = _Shared(1)  # by the look's clock: anew with each look, never a second late
        self._quiet: _Shared[Quiet] = _Shared(QUIET_EVERY)
        self._names: _Shared[Mapping[str, list[str]]] = _Shared(NAMES_EVERY, longest_s=NAMES_EVERY)
        self._use: _Shared[Use] = _Shared(USE_EVERY, USE_SHARE)
        self._changes: _Shared[list[dict[str, Any]]] = _Shared(QUIET_EVERY)
        self.assets: _Shared[Found] = _Shared(ASSETS_EVERY)
        self.results: _Shared[list[dict[str, Any]]] = _Shared(ASSETS_EVERY)
        self._timetables: _Shared[Timetable] = _Shared(TIMETABLE_EVERY, LOOK_SHARE)
        self._pasts: _Shared[Past] = _Shared(PAST_EVERY, LOOK_SHARE)
        self._submissions: _Shared[TaskEvent | None] = _Shared(NAMES_EVERY, longest_s=NAMES_EVERY, most=MOST_LIVES)
        self._runs: _Shared[list[dict[str, Any]]] = _Shared(PAST_EVERY, LOOK_SHARE)
        self._standing: _Shared[pl.DataFrame] = _Shared(NAMES_EVERY, longest_s=NAMES_EVERY, most=MOST_STANDING)
        self._lenses: _Shared[Lens] = _Shared(FAIR_EVERY, LOOK_SHARE, FAIR_LONGEST)
        self._replays: OrderedDict[tuple[Place, str], tuple[Lens, Replay]] = OrderedDict()
        self._given: _Shared[Given] = _Shared(FAIR_LONGEST, longest_s=FAIR_LONGEST)
        self._archives: _Shared[list[str]] = _Shared(QUIET_EVERY)
        self._lock = threading.Lock()
        self._lives: OrderedDict[int, tuple[TaskRow | None, pl.DataFrame]] = OrderedDict()

    def judged(self, business: str, site: str, zone: str, named: bool, reasons: bool) -> Judged:
        """Judge a site in words of the zone, processors by name or as counts, holds with their reasons or without."""
        engine = self.engine
        look = self._looks.get((business, site), engine.now, lambda: _look(self, business, site))

        def judge() -> Judged:
            seen = look if named else unnamed(look, site)
            seen = seen if reasons else replace(seen, holds=seen.holds.with_columns(**UNTOLD))
            found = health.signals(seen, Limits.of(engine.settings), zone)
            return Judged(seen, found, health.verdict([s for s in found if s.site in (site, None)]))

        return self._judged.get((business, site, zone, named, reasons), look.now, judge)

    def timeline(self, task_id: int, snapshot: Snapshot) -> pl.DataFrame:
        """Tell a task's life up to a snapshot; read anew only when the task has changed."""
        live = snapshot.live(task_id)
        row = live[0] if live is not None else None
        with self._lock:
            known = self._lives.get(task_id)
            if known is not None and row is not None and known[0] == row:
                return known[1]
        steps = history.timeline(self.engine.store, task_id, row.created_at if row is not None else None)
        steps = steps.filter(pl.col("batch") <= snapshot.batch) if row is not None else steps
        with self._lock:
            self._lives[task_id] = row, steps
            self._lives.move_to_end(task_id)
            if len(self._lives) > MOST_LIVES:
                self._lives.popitem(last=False)
        return steps

    def audit_names(self, reach: Reach) -> Mapping[str, list[str]]:
        """List the words that complete a filter of the audit trail."""
        return self._names.get(reach, self.engine.now, lambda: self.trail.names(reach))

    def names(self, place: Place) -> Mapping[str, list[str]]:
        """List the words that complete a filter."""
        return self._names.get(place, self.engine.now, lambda: self.catalogue.names(place))

    def quiet(self, business: str, site: str) -> Quiet:
        """Tell what happened last at a site and what comes next."""
        engine = self.engine
        return self._quiet.get((business, site), engine.now, lambda: _quiet(engine, business, site))

    def use(self, business: str) -> Use:
        """Tell how the hosts of a business were used in the last 24 hours."""
        engine = self.engine
        return self._use.get(business, engine.now, lambda: _used(engine, business))

    def changes(self, look: ServiceLook) -> list[dict[str, Any]]:
        """Tell what befell a host; read anew as soon as it stands otherwise."""
        engine = self.engine
        return self._changes.get(
            replace(look, used=0), engine.now,
            lambda: plain(hosts.changes(engine.store, look.business, look.name)).to_dicts(),
        )  # fmt: skip

    def timetable(self, business: str, site: str) -> Timetable:
        """Tell what a site's schedules did and will do; anew as soon as one was changed, paused or resumed."""
        engine, store = self.engine, self.engine.store
        snapshot, now = engine.snapshot, engine.now
        held = frozenset(
            int(hold.target) for hold in snapshot.holds
            if hold.in_force and hold.target_kind == "schedule" and hold.business == business
        )  # fmt: skip
        zone = snapshot.zones.get((business, site), "UTC")
        return self._timetables.get(
            (business, site, timetable.mark(store, business), held), now,
            lambda: timetable.timetable(store, snapshot, business, site, now, zone=zone, held=held),
        )  # fmt: skip

    def past(self, business: str, site: str, schedule_id: int) -> Past:
        """Tell what one schedule was and did; anew as soon as one was changed."""
        engine, store = self.engine, self.engine.store
        return self._pasts.get(
            (business, site, schedule_id, timetable.mark(store, business)), engine.now,
            lambda: timetable.past(store, engine.snapshot, business, site, schedule_id, engine.now),
        )  # fmt: skip

    def submission(self, task_id: int, created_at: int) -> TaskEvent | None:
        """Give the event by which a task was submitted."""
        engine = self.engine
        return self._submissions.get(
            task_id, engine.now, lambda: history.submissions(engine.store, {task_id: created_at}).get(task_id)
        )

    def standing(self, business: str | None, snapshot: Snapshot) -> pl.DataFrame:
        """Count unfinished tasks by what holds tell apart."""
        key = (business, snapshot.batch)
        return self._standing.get(key, self.engine.now, lambda: pausing.counted(snapshot, business))

    def lens(self, place: Place, period: str) -> Lens:
        """Tell who used the services of a place in a period and who waited."""
        return self._lenses.get((place, period), self.engine.now, lambda: self._looked(place, period)[0])

    def _looked(self, place: Place, period: str) -> tuple[Lens, Replay]:
        engine = self.engine
        found = fairness.look(
            engine.store, engine.snapshot, engine.now, place.business, period, within=place.sites,
            named=place.processors is None,
        )  # fmt: skip
        with self._lock:
            self._replays[place, period] = found
            self._replays.move_to_end((place, period))
            if len(self._replays) > MOST_REPLAYS:
                self._replays.popitem(last=False)
        return found

    def given(self, place: Place, period: str, seen: Lens, owner: str) -> Given:
        """Estimate what pausing an owner would have given back to the others in a period, as of a look at it."""

        def make() -> Given:
            with self._lock:
                known = self._replays.get((place, period))
            _, replay = known if known is not None and known[0] is seen else self._looked(place, period)
            return replay.without(owner)

        return self._given.get((place, period, seen.until_at, owner), self.engine.now, make)

    def archives(self, business: str) -> list[str]:
        """Name a business's sites of imported history."""
        store = self.engine.store
        return self._archives.get(
            business, self.engine.now,
            lambda: standing.sites(store, business=business).filter("archive")["site"].to_list(),
        )

    def runs(self, business: str, site: str, schedule_id: int) -> list[dict[str, Any]]:
        """List the last runs of one schedule, newest first."""
        engine = self.engine
        return self._runs.get(
            (business, site, schedule_id), engine.now,
            lambda: timetable.runs(engine.store, engine.snapshot, business, site, engine.now, schedule_id,
                                   timetable.CARD_RUNS).to_dicts(),
        )  # fmt: skip


def _look(watch: Watch, business: str, site: str) -> Look:
    engine, settings = watch.engine, watch.engine.settings
    return looks.look(
        engine.store, engine.snapshot, engine.now, business=business, site=site,
        enough=settings.int("pile_up_tasks"), long_s=settings.int("stuck_s"), slowly=watch.slowly,
    )  # fmt: skip


def _quiet(engine: Engine, business: str, site: str) -> Quiet:
    last = history.last_finished(engine.store, business, site, engine.now - DAY)
    schedules = standing.schedules(engine.store, business, site)
    times = [(schedule.spec.rule.next_after(engine.now), schedule) for schedule in schedules]
    next_at = min((at for at, _ in times), default=None)
    return Quiet(last, next_at, [schedule for at, schedule in times if at == next_at])


def _used(engine: Engine, business: str) -> Use:
    snapshot = engine.snapshot
    used = hosts.use(engine.store, snapshot, engine.now, business)
    processors = [look.name for look in snapshot.services if (look.business, look.site) == (business, None)]
    archives = standing.sites(engine.store, business=business).filter("archive")["site"]
    return Use(hosts.days(used), hosts.together(used, processors), frozenset(archives))


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Write instants as integer microseconds."""
    return rows.with_columns(cs.datetime().dt.epoch("us"))
