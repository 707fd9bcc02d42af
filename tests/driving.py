"""A life for a store: the real core on a virtual clock, a small fleet whose services answer by chance, real commits.

`lived` fills a folder with a history in which everything happens that may happen to tasks: holds with and without
expiry, suspensions, stops that are confirmed, ignored or overtaken, lost and drained services, deletions and their
undoing, ramps and caps, schedules, restarts of the console. The same seed makes the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path
from random import Random

from engine import messages as m
from engine import rollups
from engine.clock import MINUTE, SECOND, Reading
from engine.core import Core, Input
from engine.deciding import Policy, Step
from engine.ledger import AssetSeen, TaskRow
from engine.lifecycle import Kind, own_name
from engine.outbox import Outbox
from engine.recurrence import Rule
from engine.runtime import rebuild
from engine.store import Store

from .stores import fresh

START = 1_750_000_000_000_000
POLICY = Policy(stop_deadline=20 * SECOND, suspend_deadline=15 * SECOND, undo=2 * MINUTE)
BUSINESSES = ("acme", "globex")
SITES = ("berlin", "oslo")
USERS = ("ann", "bob", "cid", "dora")

Key = tuple[str, str]  #: business and service


class Hands:
    """An executor that answers each order after a while, sometimes badly and sometimes not at all."""

    def __init__(self, chance: Random) -> None:
        self.silent: set[Key] = set()
        self._chance = chance
        self._runs: dict[int, m.StartOrder] = {}
        self._agenda: list[tuple[int, int, int, m.Report]] = []
        self._serial = 0

    def give(self, orders: Sequence[m.Order], now: int) -> None:
        """Take orders at an instant; draw when and how each is answered."""
        chance = self._chance
        for order in orders:
            if isinstance(order, m.StartOrder):
                self._runs[order.lease] = order
                if chance.random() > 0.02:
                    self._answer(now, 40, order.lease, self._end(order, now))
            elif isinstance(order, m.StopOrder) and chance.random() < 0.8:
                self._answer(now, 10, order.lease, m.StopConfirmed(order.task_id, order.lease))
            elif isinstance(order, m.SuspendOrder) and chance.random() < 0.7:
                self._answer(now, 10, order.lease, m.Suspended(order.task_id, order.lease, chance.random()))

    def heard(self, now: int) -> list[Input]:
        """Return what the services report up to an instant; the silent ones drop what they ran."""
        told: list[Input] = [m.Alive("simulated", frozenset(self.silent))]
        for lease in [i for i, run in self._runs.items() if (run.business, run.service) in self.silent]:
            del self._runs[lease]
        while self._agenda and self._agenda[0][0] <= now:
            _, _, lease, report = heappop(self._agenda)
            if lease in self._runs:
                told.append(report)
                if self._chance.random() > 0.01:  # else it answers a second time, under a lease that is no longer good
                    del self._runs[lease]
        return told

    def forget(self) -> None:
        """Die with the console."""
        self._runs.clear()
        self._agenda.clear()

    def _answer(self, now: int, within_s: int, lease: int, report: m.Report) -> None:
        self._serial += 1
        at = now + self._chance.randrange(within_s * SECOND)
        heappush(self._agenda, (at, self._serial, lease, report))

    def _end(self, order: m.StartOrder, now: int) -> m.Report:
        chance = self._chance
        if chance.random() < 0.05:
            return m.Failed(order.task_id, order.lease, chance.choice(("error", "timeout")), "It did not answer")
        if order.stage == "collect":
            return m.Collected(order.task_id, order.lease)
        changes = tuple(chance.randrange(5) for _ in range(5)) if chance.random() < 0.5 else None
        assets = []
        if chance.random() < 0.05:
            assets = [AssetSeen(order.business, order.site, order.target or "?", "host", "server", now, True, None)]
        found = {"report": order.name, "n": order.task_id} if order.kind in (Kind.REPORT, Kind.OUTLIER) else None
        return m.Finished(order.task_id, order.lease, chance.choice((0, 0, 0, 2)), changes, assets, found)


class Drive:
    """A store, the core that writes it, and the clock that a test moves."""

    def __init__(self, folder: Path, seed: int = 1, policy: Policy = POLICY, throttles: int | None = None) -> None:
        self.folder, self.policy, self.now = folder, policy, START
        self.chance = Random(seed)
        self.throttles = None if throttles is None else Random(throttles)  #: what ramps and caps are drawn from
        self.hands = Hands(self.chance)
        self.store = fresh(folder)
        self.core = Core(policy=policy)
        self.outbox = Outbox(0)
        self.requests = 0
        self.finished: dict[int, TaskRow] = {}  #: the newest row of each finished task
        self._born = self.now

    def tick(self, us: int, *actions: m.Action, actor: str = "ann") -> list[m.Outcome]:
        """Let time pass, then let services report and people act. Orders leave at once: nobody kills this console."""
        self.now += us
        commands: list[Input] = []
        for action in actions:
            self.requests += 1
            commands.append(m.Command(f"request-{self.requests}", actor, action))
        step = self.core.step(Reading(self.now, self.now - self._born), [*self.hands.heard(self.now), *commands])
        self.now = step.now
        self._take(step)
        return [outcome for _, outcome in step.outcomes]

    def _take(self, step: Step) -> None:
        self.hands.give(step.orders, self.now)
        self.finished.update((row.task_id, row) for row in step.rows.task_done)
        self.outbox.add(step)

    def commit(self) -> None:
        """Make the open batch durable."""
        batch = self.outbox.seal()
        if batch is not None:
            self.store.commit(batch.number, batch.now, batch.rows)
            self.outbox.settle(batch)

    def do(self, *actions: m.Action, actor: str = "ann") -> list[m.Outcome]:
        """Act and have it durable; a refusal is an error of the test."""
        outcomes = self.tick(SECOND, *actions, actor=actor)
        self.commit()
        for outcome in outcomes:
            assert outcome.refused is None, outcome.refused
        return outcomes

    def restart(self, down: int = 0, publish: bool = True) -> None:
        """Stop the console, in order or not, and start it again after a while."""
        self.commit()
        if publish:
            self.publish()
        self.store.keep_clock(self.now)
        self.store.close()
        self.store = Store.open(self.folder)
        found = self.store.recover(self.policy.undo)
        self.core = rebuild(found, self.policy)
        self.outbox = Outbox(found.batch)
        self.hands.forget()
        down_from = max(found.now, self.core.state.last)
        self.now = self._born = self.now + down
        step = self.core.start(Reading(self.now, 0, down_from))
        self._take(step)
        self.commit()

    def publish(self) -> None:
        """Publish the live tasks and bring the rollups up to date."""
        rows: list[TaskRow] = []
        for task in self.core.state.tasks.values():
            waiting = self.core.queues.waiting.get(task.id)
            holds = waiting.queue.holds if waiting else []
            rows.append(task.row(holds[0].id if holds else None, waiting.queue.cause if waiting else None))
        self.store.publish_live(rows, self.store.batch)
        rollups.advance(self.store)

    def found(self, slots: int = 2) -> None:
        """Set up the fleet: two businesses with two sites each, every sort of service, two schedules."""
        actions: list[m.Action] = []
        for business in BUSINESSES:
            actions.append(m.AddBusiness(business))
            for site in SITES:
                actions += [
                    m.AddSite(business, site, "Europe/Berlin"),
                    m.AddService(business, site, f"explorer-{site}-1", "explorer", slots),
                    m.AddService(business, site, f"explorer-{site}-2", "explorer", slots),
                    m.AddService(business, site, f"audit-{site}", "audit_service", slots),
                    m.AddService(business, site, f"zone-{site}", "hosted_zone", slots),
                ]
            actions += [m.AddService(business, None, f"processor-{i}", "processor", 2 * slots) for i in range(2)]
            quarter = Rule.cron_rule("*/5 * * * *", "Europe/Berlin")
            often = Rule.interval(420, START + 17 * SECOND)
            actions += [
                m.CreateSchedule(m.ScheduleSpec("Five minutes", business, "berlin", Kind.SCAN, quarter, "ann")),
                m.CreateSchedule(
                    m.ScheduleSpec("Now and then", business, "oslo", Kind.AUDIT, often, "bob", on_hold="queue_one")
                ),
            ]
        self.do(*actions)

    def task(self, **changes: object) -> m.NewTask:
        """Draw a task."""
        chance = self.chance
        business, site = chance.choice(BUSINESSES), chance.choice(SITES)
        kind, owner = chance.choice(list(Kind)), chance.choice(USERS)
        later = self.now + chance.randrange(600) * SECOND if chance.random() < 0.1 else None
        wanted = f"explorer-{site}-1" if kind is Kind.SCAN and chance.random() < 0.2 else None
        facts: dict[str, object] = {
            "requested_service": wanted, "priority": chance.choice((2, 5, 5, 5, 9)), "due_at": later,
            "longest_wait_s": 40 if chance.random() < 0.1 else None, "target": f"host-{chance.randrange(50)}",
        }  # fmt: skip
        new = m.NewTask(business, site, kind, own_name(kind, f"{kind} task"), owner, owner)
        return new._replace(**(facts | changes))


def lived(folder: Path, tasks: int = 2_000, seed: int = 1, throttles: int | None = None) -> Drive:
    """Fill a folder with a history of about so many tasks; the last batch is durable, the store is left open.

    With a second seed, `throttles`, some resumes are gradual and users are capped now and then.
    """
    drive = Drive(folder, seed, throttles=throttles)
    chance = drive.chance
    drive.found()
    number, turn = 0, 0
    while number < tasks:
        turn += 1
        actions: list[m.Action] = []
        if chance.random() < 0.5:
            new = [drive.task() for _ in range(chance.randrange(1, 5))]
            number += len(new)
            actions.append(m.Submit(new))
        for happening, likelihood in _HAPPENINGS:
            if chance.random() < likelihood:
                actions += happening(drive)
        if drive.throttles is not None and drive.throttles.random() < 0.03:
            actions += _throttle(drive)
        drive.tick(chance.randrange(1, 5 * SECOND), *actions, actor=chance.choice(USERS))
        if turn % 15 == 0:
            drive.commit()
        if turn % 400 == 399:
            drive.restart(chance.choice((0, 30, 1_500)) * SECOND, publish=chance.random() < 0.5)
    drive.commit()
    return drive


def black_out(drive: Drive) -> None:
    """Go on with blackout windows over two sites that overlap, one of them edited, across a long downtime."""
    rule = Rule.interval(300, START)
    nights = m.BlackoutSpec("Nights", "globex", "oslo", rule, 120, "a window", suspend=True)
    drive.do(m.CreateBlackout(nights), m.CreateBlackout(replace(nights, name="Freeze", site="berlin", duration_s=330)),
             m.CreateBlackout(replace(nights, name="Month end", rule=Rule.interval(400, START))))  # fmt: skip
    window = min(drive.core.state.blackouts)
    for turn in range(160):
        drive.tick(9 * SECOND, m.Submit([drive.task(), drive.task(business="globex", site="oslo")]))
        if turn == 60:
            drive.do(m.EditBlackout(window, 1, replace(nights, rule=Rule.interval(250, START))))
        elif turn == 80:
            drive.restart(1_500 * SECOND)
        elif turn == 120:
            drive.do(m.RemoveBlackout(max(drive.core.state.blackouts)))
        elif turn % 15 == 0:
            drive.commit()
    drive.commit()


# --- what may happen besides submissions


def _some_tasks(drive: Drive, n: int) -> list[int]:
    live = sorted(drive.core.state.tasks)
    return drive.chance.sample(live, min(n, len(live)))


def _some_finished(drive: Drive, hidden: bool) -> dict[int, TaskRow]:
    rows = [row for row in drive.finished.values() if row.finished_at is not None and row.hidden is hidden]
    return {row.task_id: row for row in drive.chance.sample(rows, min(3, len(rows)))}


def _stop(drive: Drive) -> list[m.Action]:
    return [m.Stop(_some_tasks(drive, 4), "no longer wanted")]


def _delete(drive: Drive) -> list[m.Action]:
    finished = _some_finished(drive, hidden=False)
    return [m.Delete([*_some_tasks(drive, 4), *finished], None, finished)]


def _restore(drive: Drive) -> list[m.Action]:
    finished = _some_finished(drive, hidden=True)
    return [m.Restore([*drive.core.state.deleted, *finished], finished)]


def _edit(drive: Drive) -> list[m.Action]:
    chance, tasks = drive.chance, drive.core.state.tasks
    edits: list[m.Action] = []
    for task in (tasks[i] for i in _some_tasks(drive, 20)):
        changes: dict[str, object] = {"priority": chance.randrange(10)}
        if task.kind is Kind.SCAN:
            changes["requested_service"] = chance.choice((None, f"explorer-{task.site}-2"))
        if task.due_at is not None and not task.due and chance.random() < 0.5:
            changes["due_at"] = chance.choice(("now", drive.now + 40 * SECOND))
        if chance.random() < 0.5:
            changes["name"], changes["target"] = own_name(task.kind, "Edited"), None
        edits.append(m.Edit(task.id, task.version, changes))
    return edits


def _hold(drive: Drive) -> list[m.Action]:
    chance = drive.chance
    business = chance.choice(BUSINESSES)
    schedule = chance.choice(sorted(drive.core.state.schedules))
    target = chance.choice(
        (m.HoldTarget("user", chance.choice(USERS)), m.HoldTarget("kind", chance.choice(list(Kind))),
         m.HoldTarget("schedule", str(schedule)))
    )  # fmt: skip
    if target.kind == "schedule":
        business = drive.core.state.schedules[schedule].spec.business
    from_at = drive.now + chance.choice((0, 0, 60)) * SECOND
    until_at = from_at + chance.randrange(60, 400) * SECOND if chance.random() < 0.7 else None
    everywhere = target.kind == "kind" and chance.random() < 0.3
    return [m.PlaceHolds(None if everywhere else business, [target], "a pause", None, from_at, until_at,
                         chance.random() < 0.5)]  # fmt: skip


def _lift(drive: Drive) -> list[m.Action]:
    holds = sorted(drive.core.state.holds)
    rate = drive.throttles.choice((None, 6, 60)) if drive.throttles is not None else None
    return [m.LiftHolds(drive.chance.sample(holds, min(2, len(holds))), rate=rate)]


def _throttle(drive: Drive) -> list[m.Action]:
    """Cap a user, take a cap away or, now and then, let all go of a ramp."""
    assert drive.throttles is not None
    chance, queues = drive.throttles, drive.core.queues
    ramps = [throttle.id for throttle in queues.throttles.values() if throttle.rate is not None]
    ends: list[m.Action] = [m.EndRamps(ramps[:1], "enough")] if ramps and chance.random() < 0.2 else []
    if queues.caps and chance.random() < 0.4:
        return [*ends, m.RemoveCap(*chance.choice(sorted(queues.caps)))]
    return [*ends, m.SetCap(chance.choice(BUSINESSES), chance.choice(USERS), chance.randrange(1, 5), "his share")]


def _set_service(drive: Drive) -> list[m.Action]:
    chance = drive.chance
    business, name = chance.choice(sorted(drive.core.queues.services))
    state = chance.choice(("online", "online", "draining", "offline"))
    slots = chance.randrange(2, 9) if chance.random() < 0.3 else None
    back = [m.SetService(*key, "online") for key, s in drive.core.queues.services.items() if s.wanted != "online"]
    return [*back, m.SetService(business, name, state, slots)]


def _fall_silent(drive: Drive) -> list[m.Action]:
    drive.hands.silent = {drive.chance.choice(sorted(drive.core.queues.services))}
    return []


def _speak_again(drive: Drive) -> list[m.Action]:
    drive.hands.silent = set()
    return []


def _refresh(drive: Drive) -> list[m.Action]:
    return [m.RefreshWidget(drive.chance.choice(BUSINESSES), "berlin", f"widget-{drive.chance.randrange(3)}")] * 2


def _run_now(drive: Drive) -> list[m.Action]:
    return [m.RunNow(drive.chance.choice(sorted(drive.core.state.schedules)))]


def _edit_schedule(drive: Drive) -> list[m.Action]:
    schedule = drive.core.state.schedules[drive.chance.choice(sorted(drive.core.state.schedules))]
    rule = Rule.interval(drive.chance.randrange(200, 400), drive.now)
    old = schedule.spec
    new = m.ScheduleSpec(old.name, old.business, old.site, old.kind, rule, old.owner, on_hold=old.on_hold)
    return [m.EditSchedule(schedule.id, schedule.version, new)]


_HAPPENINGS: tuple[tuple[Callable[[Drive], list[m.Action]], float], ...] = (
    (_stop, 0.06),
    (_delete, 0.04),
    (_restore, 0.04),
    (_edit, 0.06),
    (_hold, 0.04),
    (_lift, 0.03),
    (_set_service, 0.04),
    (_fall_silent, 0.01),
    (_speak_again, 0.02),
    (_refresh, 0.1),
    (_run_now, 0.02),
    (_edit_schedule, 0.005),
)
