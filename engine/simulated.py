"""The executor that plays a fleet: its services work off orders, its people submit, its dashboards refresh.

Discrete-event: any number of running tasks without a thread each. `step` works off everything up to an instant and
returns what is to be told; between steps nothing happens. Orders may come from another thread at any time. All chance
comes from one seeded generator, so the same orders at the same instants make the same history.
"""

from __future__ import annotations

import threading
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from heapq import heappop, heappush
from ipaddress import ip_network
from itertools import accumulate, count
from math import exp
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from . import messages as m
from .clock import HOUR, MINUTE, SECOND
from .core import Input
from .errors import NotFound
from .fleet import Business, Fleet, Mix, Site, Target, Widget
from .ledger import AssetSeen, Detail
from .lifecycle import ANALYSED, EXTERNAL, KIND, REPORTS, SYSTEM_KINDS, Kind, own_name
from .task import COLLECT, SYSTEM_OWNER

HEARTBEAT = 10 * SECOND
PROGRESS_EVERY = 2 * SECOND
STOPS_UNHEARD = 0.01  #: how often a hung target does not even confirm its stop

Place = tuple[str, str]  #: business, site

Analyst = Callable[[m.StartOrder, int], tuple[Detail | None, Sequence[AssetSeen]]]
"""Works out what a report or an outlier calculation that ends at an instant has found: its result, and assets anew."""


@dataclass(slots=True)
class Run:
    """One order being worked off: when it will end by itself, if it does, and how."""

    order: m.StartOrder
    started: int
    ends: int | None  #: None: hung
    report: m.Report | None
    told: int = 0
    asked: int = 0  #: how often somebody asked to stop it, because it hangs
    drilled: bool = False  #: it hangs because a drill wanted so


class Simulated:
    """The simulated world behind the executor's protocol. `pace` lets it live faster: more arrivals, less work each."""

    name = "simulated"

    def __init__(self, fleet: Fleet, seed: int, pace: float = 1.0, *, tells_progress: bool = True) -> None:
        self._fleet, self._pace, self._tells_progress = fleet, pace, tells_progress
        self.analyst: Analyst | None = None  #: set before the first step; without one, reports find nothing
        self._to_analyse: list[tuple[int, m.Finished, m.StartOrder]] = []  #: where in what the present step tells
        self._seed, self._chance = seed, Random(seed)
        self._lock = threading.Lock()
        self._orders: list[m.Order] = []
        self._agenda: list[tuple[int, int, Callable[[int, Any, list[Input]], None], Any]] = []
        self._serial = count()
        self._now = 0
        self._born = 0
        self._beat = 0  #: when it was last told who is alive
        self._runs: dict[int, Run] = {}  #: by lease
        self._silent: dict[tuple[str, str], int | None] = {}  #: hosts that are lost, and until when, if that is set
        self._unheard: list[m.Order] = []  #: for hosts that are silent
        self._slow: dict[str, tuple[float, int | None]] = {}  #: how many times as long, and until when, if that is set
        self._hang_next: dict[Place, int] = {}
        self._sites: dict[Place, Site] = {(b.name, s.name): s for b in fleet.businesses for s in b.sites}
        self._businesses: dict[str, Business] = {b.name: b for b in fleet.businesses}
        self._zones = {place: ZoneInfo(site.zone) for place, site in self._sites.items()}
        self._targets: dict[tuple[str, str, str], Target] = {
            (*place, target.name): target for place, site in self._sites.items() for target in site.targets
        }
        self._targets_for = {
            (*place, kind): site.targets_for(kind) for place, site in self._sites.items() for kind in Kind
        }
        self._segments = {
            place: [t.name for t in site.targets if t.kind == "segment"] for place, site in self._sites.items()
        }
        self._people: dict[Place, tuple[list[str], list[float]]] = {}
        for place in self._sites:
            people = self._businesses[place[0]].submitters(place[1])
            self._people[place] = [u.name for u in people], list(accumulate(u.activity for u in people))
        self._admins = {  #: who may start a report on all of a business
            business.name: {SYSTEM_OWNER, *(user.name for user in business.users if user.role == "business_admin")}
            for business in fleet.businesses
        }
        self._widgets: dict[tuple[str, str, str], Widget] = {
            (*place, widget.name): widget for place, site in self._sites.items() for widget in site.widgets
        }

    # --- the executor's protocol

    def give(self, orders: Sequence[m.Order]) -> None:
        """Take orders; they are looked at in the next step."""
        with self._lock:
            self._orders += orders

    def step(self, now: int) -> list[Input]:
        """Work off everything up to `now`; return reports and what people asked for, in the order it happened."""
        told: list[Input] = []
        self._to_analyse = []
        if not self._born:
            self._begin(now)
        self._now = max(now, self._now)
        with self._lock:
            if self._orders:
                self._obey_all()
            if now - self._beat >= HEARTBEAT:
                self._beat = now
                told.append(m.Alive(self.name, frozenset(self._silent)))
            agenda = self._agenda
            while agenda and agenda[0][0] <= now:
                at, _, happen, subject = heappop(agenda)
                happen(at, subject, told)
            if self._tells_progress:
                self._tell_progress(told)
        for position, report, order in self._to_analyse:  # without the lock: who gives orders must not wait for it
            told[position] = self._analysed(report, order, now)
        return told

    def _analysed(self, report: m.Finished, order: m.StartOrder, now: int) -> m.Report:
        """Work out what a report or an outlier calculation has found by the assets as they are known now."""
        assert self.analyst is not None
        try:
            result, assets = self.analyst(order, now)
        except Exception as error:  # whatever it is, it ends this task and not the fleet
            return m.Failed(order.task_id, order.lease, "error", f"It could not be worked out: {error}")
        return report._replace(assets=assets, result=result)

    def settle(self, now: int) -> None:
        """Look at the orders given since the last step without letting time pass."""
        with self._lock:
            self._now = max(now, self._now)
            self._obey_all()

    def next_event(self) -> int | None:
        """Tell the next instant at which something happens here by itself.

        While all services are alive, nobody needs to hear so: it is told with whatever happens next.
        """
        event = self._agenda[0][0] if self._agenda else None
        if not self._silent:
            return event
        beat = self._beat + HEARTBEAT
        return beat if event is None else min(event, beat)

    # --- drills

    def lose_host(self, business: str, service: str, until: int | None = None) -> None:
        """Let a host fall silent: no heartbeat, no report; orders don't reach it."""
        with self._lock:
            self._silent[business, service] = until
            if until is not None:
                self._plan(until, self._return_lost, (business, service))

    def return_host(self, business: str, service: str) -> None:
        """Let a silent host come back: it tells what ended meanwhile and takes up the orders that waited for it."""
        with self._lock:
            self._bring_back((business, service))

    def _bring_back(self, host: tuple[str, str]) -> None:
        self._silent.pop(host, None)
        waiting, self._unheard = self._unheard, []
        self._orders = [*waiting, *self._orders]
        for run in self._runs.values():
            if run.ends is not None and run.ends <= self._now:
                run.ends = self._now + 1
                self._plan(run.ends, self._end, run)

    def hang_target(self, business: str, site: str) -> None:
        """Let the next collecting task of a site meet a target that never answers."""
        with self._lock:
            self._hang_next[business, site] = self._hang_next.get((business, site), 0) + 1

    def release_target(self, business: str, site: str) -> None:
        """Let what a drill hangs at a site answer at last, and no further task hang for a drill's sake."""
        with self._lock:
            self._hang_next.pop((business, site), None)
            for run in self._drilled((business, site)):
                run.report = m.Collected(run.order.task_id, run.order.lease)
                self._end_after(run, self._chance.uniform(0.5, 6.0))

    def surge(self, business: str, site: str, kind: Kind, tasks: int) -> m.Submit:
        """Make a submission of many tasks at once, as one person at the site would."""
        place = (business, site)
        if place not in self._sites:
            raise NotFound.named("site", site, [name for _, name in self._sites])
        with self._lock:
            owner = self._person(place)
            return m.Submit([self._new(place, kind, owner) for _ in range(tasks)])

    def slow_processors(self, business: str, factor: float, until: int | None = None) -> None:
        """Let a business's processors take so many times as long from now on; 1 ends it."""
        with self._lock:
            self._slow[business] = (factor, until)
            if factor == 1:
                del self._slow[business]
            elif until is not None:
                self._plan(until, self._quicken, business)

    def lost_hosts(self) -> dict[tuple[str, str], int | None]:
        """Tell which hosts (business, name) are silent, and until when, where that is set."""
        with self._lock:
            return dict(self._silent)

    def slow_businesses(self) -> dict[str, int | None]:
        """Tell whose processors are slow, and until when, where that is set."""
        with self._lock:
            return {business: until for business, (_, until) in self._slow.items()}

    def hung_targets(self) -> dict[Place, int | None]:
        """Tell at which sites a drill hangs a target: the task that hangs there, or None while it waits for one."""
        with self._lock:
            waiting: dict[Place, int | None] = {place: None for place, n in self._hang_next.items() if n}
            return waiting | {
                (run.order.business, run.order.site): run.order.task_id for run in self._drilled()
            }

    def _drilled(self, place: Place | None = None) -> list[Run]:
        return [
            run for run in self._runs.values()
            if run.drilled and run.ends is None and place in (None, (run.order.business, run.order.site))
        ]  # fmt: skip

    # --- orders

    def _obey_all(self) -> None:
        orders, self._orders = self._orders, []
        for order in orders:
            self._obey(order)

    def _obey(self, order: m.Order) -> None:
        if (order.business, order.service) in self._silent:
            self._unheard.append(order)
            return
        if isinstance(order, m.StartOrder):
            self._start(order)
            return
        run = self._runs.get(order.lease)
        if run is None:
            return
        if isinstance(order, m.StopOrder):
            if run.ends is None and self._chance.random() < STOPS_UNHEARD:
                del self._runs[order.lease]  # it will never say anything
                return
            run.report = m.StopConfirmed(order.task_id, order.lease)
            self._end_after(run, self._chance.uniform(0.5, 6.0))
        else:
            run.report = m.Suspended(order.task_id, order.lease, self._fraction(run))
            self._end_after(run, self._chance.uniform(1.0, 8.0))

    def _start(self, order: m.StartOrder) -> None:
        chance, place = self._chance, (order.business, order.site)
        if order.attempt:  # rescued: if an earlier run of it hangs, that is nobody's any more
            self._runs = {i: r for i, r in self._runs.items() if r.order.task_id != order.task_id or r.ends is not None}
        if place not in self._sites:  # the fleet file was another one when the task was submitted
            unknown = m.Failed(order.task_id, order.lease, "error", f"The fleet file has no site {order.site}")
            self._runs[order.lease] = Run(order, self._now, None, unknown)
            self._end_after(self._runs[order.lease], 0)
            return
        mix = self._sites[place].mix[KIND[order.kind]]
        collects = order.stage == COLLECT
        if collects:
            assert mix.collect is not None
            length = mix.collect.draw(chance) * (1 - order.checkpoint) / self._pace
        else:
            widget = self._widgets.get((*place, order.target or "")) if mix.kind is Kind.QUERY else None
            length = (widget.process if widget else mix.process).draw(chance) / self._pace
            length *= self._slow.get(order.business, (1.0, None))[0]
        run = self._runs[order.lease] = Run(order, self._now, None, None)
        run.drilled = collects and self._hangs_for_a_drill(place)
        if run.drilled or (collects and self._chance.random() < mix.hung):
            patience = chance.uniform(2.2, 4.5) * HOUR / self._pace
            self._plan(self._now + int(patience), self._lose_patience, run)
            return
        if (collects or mix.kind in SYSTEM_KINDS) and chance.random() < mix.failure:
            complaint = chance.choice(mix.complaints) if mix.complaints else "The target refused"
            reason = "timeout" if "time" in complaint.lower() else "error"
            run.report = m.Failed(order.task_id, order.lease, reason, complaint)
            length *= chance.uniform(0.05, 0.9)
        elif collects:
            run.report = m.Collected(order.task_id, order.lease)
        else:
            run.report = self._result(order, mix)
        self._end_after(run, length)

    def _hangs_for_a_drill(self, place: Place) -> bool:
        if not self._hang_next.get(place):
            return False
        self._hang_next[place] -= 1
        return True

    def _end_after(self, run: Run, seconds: float) -> None:
        run.ends = self._now + max(1, int(seconds * SECOND))
        self._plan(run.ends, self._end, run)

    def _plan(self, at: int, happen: Callable[[int, Any, list[Input]], None], subject: object) -> None:
        heappush(self._agenda, (at, next(self._serial), happen, subject))

    def _result(self, order: m.StartOrder, mix: Mix) -> m.Finished:
        """Draw what a processed task found: errors on the way, changes of assets, and the assets themselves."""
        chance, mean = self._chance, mix.changes
        errors = 1 + self._poisson(1.5) if chance.random() < mix.errors else 0
        if mix.kind in SYSTEM_KINDS:
            return m.Finished(order.task_id, order.lease, errors)
        target = self._targets.get((order.business, order.site, order.target or ""))
        new, changed, gone = self._poisson(mean.new), self._poisson(mean.changed), self._poisson(mean.gone)
        online, offline = self._poisson(mean.online), self._poisson(mean.offline)
        assets: list[AssetSeen] = []
        if target is not None:
            seen, number = new + changed + online, max(1, target.assets)
            known = _assets(target)
            for i in range(seen + gone + offline):
                address, name, kind = known[0 if number == 1 else int(chance.random() * number)]
                assets.append(AssetSeen(order.business, order.site, address, name, kind, self._now, i < seen, None))
        return m.Finished(order.task_id, order.lease, errors, (new, changed, gone, online, offline), assets)

    def _poisson(self, mean: float) -> int:
        return bisect(_poisson_sums(mean), self._chance.random()) if mean > 0 else 0

    # --- what happens by itself: what the agenda calls

    def _begin(self, now: int) -> None:
        self._born = self._now = now
        for place, site in self._sites.items():
            for mix in site.mix.values():
                if mix.per_hour > 0:
                    self._plan(self._next_arrival(now, place, mix), self._arrive, (place, mix))
            for widget in site.widgets:
                first = now + int(self._chance.uniform(0, widget.refresh_s) * SECOND)
                self._plan(first, self._refresh, (place, widget))

    def _end(self, at: int, run: Run, told: list[Input]) -> None:
        if (run.order.business, run.order.service) in self._silent:
            return
        if run.ends == at and self._runs.get(run.order.lease) is run and run.report is not None:
            del self._runs[run.order.lease]
            analysed = self.analyst is not None and run.order.kind in ANALYSED
            if analysed and isinstance(run.report, m.Finished):
                self._to_analyse.append((len(told), run.report, run.order))
            told.append(run.report)

    def _return_lost(self, at: int, host: tuple[str, str], told: list[Input]) -> None:
        if self._silent.get(host) == at:  # else it is back already, or was lost anew for another while
            self._bring_back(host)

    def _quicken(self, at: int, business: str, told: list[Input]) -> None:
        if self._slow.get(business, (1.0, None))[1] == at:  # else that is over already, or began anew
            del self._slow[business]

    def _arrive(self, at: int, subject: tuple[Place, Mix], told: list[Input]) -> None:
        """Let somebody submit."""
        place, mix = subject
        self._plan(self._next_arrival(at, place, mix), self._arrive, subject)
        person = self._person(place)
        new = self._new(place, mix.kind, person)
        starts = m.StartReport(*place, new.name) if mix.kind in ANALYSED else m.Submit([new])
        told.append(self._command(person, starts))

    def _next_arrival(self, after: int, place: Place, mix: Mix) -> int:
        """Draw when somebody submits next, by thinning: candidates come at the peak's rate, the hour decides."""
        chance, profile, zone = self._chance, mix.profile, self._zones[place]
        peak = profile.peak
        rate = mix.per_hour * peak * self._pace / HOUR
        while True:
            after += int(chance.expovariate(rate)) + 1
            wall = datetime.fromtimestamp(after / SECOND, UTC).astimezone(zone)
            if chance.random() * peak < profile.factor(wall):
                return after

    def _refresh(self, at: int, subject: tuple[Place, Widget], told: list[Input]) -> None:
        (business, site), widget = subject
        told.append(self._command("system", m.RefreshWidget(business, site, widget.name)))
        self._plan(at + widget.refresh_s * SECOND, self._refresh, subject)

    def _lose_patience(self, at: int, run: Run, told: list[Input]) -> None:
        """Let an admin stop a task that has hung for hours. What hangs on after the second time is nobody's task."""
        if self._runs.get(run.order.lease) is not run or run.ends is not None:
            return
        if run.asked == 2:
            del self._runs[run.order.lease]
        else:
            run.asked += 1
            admin = self._person((run.order.business, run.order.site))
            told.append(self._command(admin, m.Stop([run.order.task_id], "hung for hours")))
            self._plan(at + 30 * MINUTE, self._lose_patience, run)

    def _tell_progress(self, told: list[Input]) -> None:
        for run in self._runs.values():
            due = self._now - run.told >= PROGRESS_EVERY
            if due and (run.order.business, run.order.service) not in self._silent:
                run.told = self._now
                told.append(m.Progress(run.order.task_id, run.order.lease, self._fraction(run)))

    def _fraction(self, run: Run) -> float:
        """Tell how far a run is; one that hangs has stalled at a place of its own."""
        if run.ends is None:
            return 0.35 + (run.order.lease % 50) / 100
        done = (self._now - run.started) / max(1, run.ends - run.started)
        return min(0.99, run.order.checkpoint + (1 - run.order.checkpoint) * done)

    # --- people

    def _command(self, actor: str, action: m.Action) -> m.Command:
        return m.Command(f"simulated-{self._born}-{self._seed}-{next(self._serial)}", actor, action)

    def _person(self, place: Place) -> str:
        people, activity = self._people[place]
        return self._chance.choices(people, cum_weights=activity)[0] if people else SYSTEM_OWNER

    def _new(self, place: Place, kind: Kind, owner: str) -> m.NewTask:
        chance = self._chance
        if kind in SYSTEM_KINDS:
            theirs = REPORTS if owner in self._admins[place[0]] else (EXTERNAL,)
            name = chance.choice(theirs) if kind is Kind.REPORT else own_name(kind)
            return m.NewTask(*place, kind, name, SYSTEM_OWNER, "System", created_by=owner)
        targets, segments = self._targets_for[*place, kind], self._segments[place]
        if not targets:
            return m.NewTask(*place, kind, _NAMES[kind].format(place[1]), owner, owner, place[1])
        target = chance.choice(targets)
        scope = segments[_stable(target.name, segments)] if target.kind == "device" and segments else target.name
        return m.NewTask(
            *place, kind, _NAMES[kind].format(target.name), owner, owner, target.name, target.kind, scope
        )


@cache
def _poisson_sums(mean: float) -> tuple[float, ...]:
    """Tabulate the cumulative Poisson distribution, as far as a random number can tell."""
    term = exp(-mean)
    sums = [term]
    while sums[-1] < 1 - 1e-12 and len(sums) < 10 * mean + 50:
        term *= mean / len(sums)
        sums.append(sums[-1] + term)
    return tuple(sums)


@cache
def _assets(target: Target) -> list[tuple[str, str, str]]:
    """List what there is in a target, always the same: address, name and type of each asset.

    The first word of a segment's name may be its network; then its assets have addresses of it.
    """
    n, (first, _, rest) = max(1, target.assets), target.name.partition(" ")
    weights = [0.5**i for i in range(len(target.types))]
    types = Random(target.name).choices(target.types, weights, k=n)
    if n == 1:
        return [(target.name, target.name, types[0])]
    try:
        network = ip_network(first)
    except ValueError:
        names = [f"{target.name}-{i:03}" for i in range(1, n + 1)]
        return list(zip(names, names, types, strict=True))
    hosts = network.num_addresses - 2
    return [
        (str(network[i]) if i <= hosts else f"{target.name}-{i:03}", f"{rest or first}-{i:03}", types[i - 1])
        for i in range(1, n + 1)
    ]


def _stable(name: str, among: Sequence[object]) -> int:
    """Pick a place in a sequence that depends on the name alone."""
    return sum(name.encode()) % len(among)


_NAMES = {
    Kind.SCAN: "Discovery scan of {}",
    Kind.AUDIT: "Audit of {}",
    Kind.CONNECTOR: "Sync with {}",
    Kind.IMPORT: "Import of {}",
}
