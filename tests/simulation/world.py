"""One simulated life from one seed: the real core and outbox, and around them everything that can go wrong.

The wall clock jumps, the machine sleeps, hosts fall silent and come back with late reports, services ignore stops,
people click twice, commits fail or become durable without saying so, and the console crashes. The store is modelled as
the list of batches that became durable; what the core decided is only ever taken from there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from engine import messages as m
from engine.clock import MINUTE, SECOND, EngineClock, Reading
from engine.core import Core, Input, answers_from
from engine.deciding import Policy, Step
from engine.hearing import LONGEST_LOOK_GAP
from engine.ledger import NUMBERED_TABLES, BlackoutFire, Rows, ScheduleFire, TaskEvent, TaskRow, business_of
from engine.lifecycle import TERMINAL, Kind, Status, own_name
from engine.outbox import Batch, Outbox
from engine.recurrence import Rule
from engine.state import State, replay

POLICY = Policy(undo=MINUTE, suspend_deadline=20 * SECOND)  #: short, so that lives are long enough for them
LONGEST_STEP = 25 * SECOND
STARTS = (1_774_738_000, 1_792_889_000, 1_780_000_000)  #: before both clock changes of 2026 in Berlin, and in summer
BEAT = 5 * SECOND

Key = tuple[str, str]


@dataclass
class Held:
    """A lease that an executor works on, whether or not the engine still thinks so."""

    order: m.StartOrder
    ends_at: int | None  #: None: hangs
    stop_at: int | None = None
    suspend_at: int | None = None


@dataclass
class Durable:
    """A batch that the store has."""

    number: int
    now: int
    rows: Rows


@dataclass
class Sums:
    """Running sums of the ledger's deltas: by place, and by the cause of waiting."""

    waiting: Counter[Any] = field(default_factory=Counter)
    running: Counter[Any] = field(default_factory=Counter)
    by_cause: Counter[Any] = field(default_factory=Counter)

    def add(self, rows: Rows) -> None:
        for e in rows.task_event:
            self.running[e.business, e.site, e.kind] += e.dr
            for queue, delta in (("collect", e.dq), ("process", e.dp)):
                if delta:
                    self.waiting[e.business, e.site, e.kind, queue] += delta
                    self.by_cause[e.business, e.site, e.kind, queue, e.cause] += delta
        for s in rows.queue_shift:
            self.by_cause[s.business, s.site, s.kind, s.queue, s.from_cause] -= s.n
            self.by_cause[s.business, s.site, s.kind, s.queue, s.to_cause] += s.n


@dataclass
class Notes:
    """What the world itself knows, apart from the engine: the other side of every invariant."""

    delivered: dict[int, list[m.Report]] = field(default_factory=dict)  #: by the step's instant
    acknowledged: dict[str, m.Outcome] = field(default_factory=dict)
    acknowledged_in: dict[str, tuple[int, int]] = field(default_factory=dict)  #: first in which batch, and its instant
    sent: dict[str, m.Action] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)  #: who sent it
    conflicts: list[str] = field(default_factory=list)  #: broken on the spot, as "invariant: what"
    hazards: Counter[str] = field(default_factory=Counter)
    stopping_since: dict[tuple[int, int], int] = field(default_factory=dict)  #: (task, lease) → ticked
    asked_since: dict[tuple[int, int, int], int] = field(default_factory=dict)  #: (task, lease, hold) → ticked
    claimed: dict[int, int] = field(default_factory=dict)  #: lease → ticked
    contact: dict[Key, int] = field(default_factory=dict)  #: ticked at the last word of a service
    beats: dict[Key, int] = field(
        default_factory=dict
    )  #: ticked at the last heartbeat of a service, or its first claim
    downs: dict[int, int] = field(default_factory=dict)  #: the first batch after each start → since when it was down
    obeyed: list[int] = field(default_factory=list)  #: when a command was carried out on a store that no engine ran


class World:
    """Live with `run`; then look at `durable` and `notes`."""

    acts_before_commit = False  #: a mutant lets orders out before their batch is durable
    naive_clock = False  #: a mutant believes the wall

    def __init__(
        self, seed: int, make_core: Callable[..., Core] = Core, steps: int = 70, verbose: bool = False
    ) -> None:
        self.seed, self.chance, self.steps, self.verbose = seed, Random(seed), steps, verbose
        self.make_core = make_core
        self.policy = replace(POLICY, fair_share=seed % 4 == 3, attempts=1 + seed % 3)
        self.wall = self.chance.choice(STARTS) * SECOND + self.chance.randrange(6 * 3600) * SECOND
        self.mono = 1_000_000
        self.life = 1  #: how long the world has lived; what executors go by
        self.durable: list[Durable] = []
        self.side_clock = 0
        self.notes = Notes()
        self.silent: set[Key] = set()
        self.held: dict[int, Held] = {}
        self.late: list[tuple[int, m.Report]] = []  #: reports that come when they come
        self.faults = True
        self.requests = 0
        self.plans: list[tuple[int, m.Action]] = []  #: what people will do later, if nothing comes between
        self.flapping: Key = self.chance.choice(SERVICES)  #: the host that falls silent most of all
        self.beaten = 0
        self.looked = 0  #: ticked when the in-process executor last looked at its services
        self.stalled_until = 0  #: until then it doesn't
        self.lapsed: set[int] = set()  #: tasks whose request to suspend ever lapsed
        self.given: set[int] = set()  #: leases whose order ever left
        self.leases: dict[int, int] = {}  #: leases that the ledger has → their batch
        self.sums = Sums()
        self._down_from: int | None = None
        self._start_core(None)

    # --- the life

    def run(self) -> None:
        """Live the whole life."""
        for _ in self.live():
            pass

    def live(self) -> Iterator[None]:
        """Found the fleet, live through the steps, then heal everything and let it settle; yield after each turn."""
        self.faults = False
        for action in FLEET:
            self._command("fleet", action)
        self._turn([])
        self.faults = True
        for _ in range(self.steps):
            self._pass_time()
            self._people()
            self._turn(self._words())
            self._look()
            yield
        self._heal()

    def _turn(self, inputs: list[Input]) -> None:
        """One turn of the engine thread: step, seal, commit with all that can befall a commit, settle."""
        try:
            self._step(inputs)
            self._commit()
        except _Crash:
            self._crash()
            return
        if self.outbox.in_flight is None and not self.outbox.open.rows:
            if self.chance.random() < 0.5:
                self.side_clock = max(self.side_clock, self.now)
            if self.chance.random() < 0.03:
                self.check_replay()
        if self.faults and self.chance.random() < 0.03:
            self.notes.hazards["crash between batches"] += 1
            self._crash()

    def _step(self, inputs: list[Input]) -> None:
        reading = self._read()
        commands, self.queue = self.queue, []
        everything: list[Input] = [*commands, *inputs]
        if self.faults:
            self.chance.shuffle(everything)
        if self.outbox.in_flight is not None:
            self.notes.hazards["step while a commit is in flight"] += 1
        self._listen(everything, reading.ticked)
        step = self.core.step(reading, everything)
        self.now = step.now
        self._note(step, everything)
        self.decided_at[id(self.outbox.open)] += [step.now] * len(step.outcomes)
        self.outbox.add(step)
        if self.acts_before_commit:
            self._give(step.orders)

    def _commit(self) -> None:
        """Seal and write; the writer may be slow or fail, then the engine goes on and the batch stays in flight."""
        for _ in range(20):
            batch = self.outbox.in_flight or self.outbox.seal()
            if batch is None or (self.faults and self.chance.random() < 0.12):
                return
            if not batch.rows or self._write(batch):
                self._settle(self.outbox.settle(batch))

    def _write(self, batch: Batch) -> bool:
        """Try one commit; True when the store has it and said so (or was found to have it)."""
        dice = self.chance.random() if self.faults else 1.0
        if self.durable and self.durable[-1].number == batch.number:
            return True  # a retry of a batch that is there already writes nothing twice
        if dice < 0.04:
            self.notes.hazards["commit failed"] += 1
            return False
        if dice < 0.055:
            self.notes.hazards["crash before durable"] += 1
            raise _Crash
        self._keep(batch)
        if dice < 0.075:
            self.notes.hazards["durable but not acknowledged"] += 1
            raise _Crash
        if dice < 0.1:
            self.notes.hazards["durable, and the checkpoint fatal"] += 1
            return False  # reopened; the retry finds it
        return True

    def _keep(self, batch: Batch) -> None:
        """Make a batch durable."""
        self.durable.append(Durable(batch.number, batch.now, batch.rows))
        self.side_clock = max(self.side_clock, batch.now)
        for e in batch.rows.task_event:
            if e.event in ("claim", "process"):
                self.leases[e.event_id] = batch.number
        self.sums.add(batch.rows)

    def _settle(self, batch: Batch) -> None:
        for (request, outcome), at in zip(batch.outcomes, self.decided_at.pop(id(batch), ()), strict=True):
            known = self.notes.acknowledged.get(request)
            _, since = self.notes.acknowledged_in.setdefault(request, (batch.number, at))
            if known is not None:
                self.notes.hazards["double click"] += 1
                reborn = batch.number >= self.reborn_in > self.notes.acknowledged_in[request][0]
                self.notes.hazards["double click across a restart"] += reborn
                # Forgotten by now, so decided anew; so is what was refused as a whole, which left no row to read back.
                if at - since >= self.policy.remember or (reborn and known.refused is not None):
                    self.notes.acknowledged_in[request] = (batch.number, at)
                elif _ids(known) != _ids(outcome):
                    self._broken("same_request_same_outcome", f"{request}: {known} and then {outcome}")
            self.notes.acknowledged[request] = outcome
        if not self.acts_before_commit:
            self._give(batch.orders)

    def _crash(self) -> None:
        """Lose everything that is not durable, and start again from what is."""
        self.notes.hazards["restart"] += 1
        if self.outbox.in_flight is not None:
            self.notes.hazards["crash with a commit in flight"] += 1
        elif not self.outbox.open.rows:
            self.check_replay()
        self.queue = []
        self.mono = self.chance.randrange(10**12)
        self.wall += self.chance.choice((0, 2, 40, 600, 7200)) * SECOND
        for lease in [lease for lease, h in self.held.items() if h.order.executor == "simulated"]:
            del self.held[lease]
        self.late = [(at, r) for at, r in self.late if self._executor_of(r) != "simulated"]
        if self.chance.random() < 0.2:
            self._obey()
        self._start_core(self.side_clock)

    def _obey(self) -> None:
        """Carry out a command on the store while no engine runs it, as the command line does."""
        self.notes.hazards["command on a stopped console"] += 1
        self._start_core(None)
        self._command("cli", m.AddSite("b", f"archive {self.requests}", archive=True))
        down_from = None if self.core.queues.console_is_down else self.side_clock
        step = self.core.obey(
            Reading(self.wall, 0, self.side_clock), [c for c in self.queue if isinstance(c, m.Command)]
        )
        if down_from is not None:
            self.notes.downs[self.outbox.open.number] = down_from
        self.notes.obeyed.append(step.now)
        self.outbox.add(step)
        batch = self.outbox.seal()
        assert batch is not None
        self._keep(batch)
        self.wall += self.chance.choice((0, 3, 100)) * SECOND

    def _start_core(self, down_from: int | None) -> None:
        """Rebuild the core from the ledger as recovery does: what is finished is not read."""
        rows = self.ledger(unfinished=True)
        state = replay(rows)
        highest: dict[str, dict[int, int]] = {"event": {}, "task": {}, "audit": {}}
        for batch in self.durable:
            for table in NUMBERED_TABLES:
                for row in getattr(batch.rows, table):
                    _raise(highest["event"], row.event_id)
            for event in batch.rows.task_event:
                _raise(highest["task"], event.task_id)
            for audit in batch.rows.audit:
                _raise(highest["audit"], audit.audit_id)
        state.advance_sequences(highest["event"], highest["task"], highest["audit"])
        self.core = self.make_core(state, self.policy)
        audits = [row for batch in self.durable for row in batch.rows.audit]
        views = {view.view_id: view for batch in self.durable for view in batch.rows.saved_view}
        self.core.recall(view for view in views.values() if not view.removed)
        since = self.side_clock - self.policy.remember
        self.core.remember(answers_from(row for row in audits if row.occurred_at >= since))
        self.now = self.side_clock
        self.outbox = Outbox(self.durable[-1].number if self.durable else 0)
        self.reborn_in = self.outbox.open.number
        self.decided_at: defaultdict[int, list[int]] = defaultdict(list)  #: by batch, for each of its outcomes
        self.clock = EngineClock(max(self.side_clock, state.last), lambda: self.wall, lambda: self.mono)
        self.queue: list[Input] = []
        self.notes.stopping_since.clear()
        self.notes.asked_since.clear()
        self.notes.claimed.clear()
        self.notes.contact.clear()
        self.notes.beats.clear()
        self.beaten = self.looked = self.stalled_until = 0
        self.heard: set[Key] = set()  #: services of which the core ever had a sign of life
        if down_from is not None and self.durable:
            if not self.core.queues.console_is_down:
                self.notes.downs[self.outbox.open.number] = down_from
            reading = self.clock.read()
            for task in state.tasks.values():
                if task.lease is not None:  # its service's silence counts from the start
                    self.notes.contact[task.business, task.host] = self.notes.beats[task.business, task.host] = 0
            step = self.core.start(Reading(reading.now, reading.ticked, down_from), ("simulated",))
            self._note(step, [])
            self.outbox.add(step)

    def ledger(self, unfinished: bool = False) -> list[Any]:
        """Return the ledger's rows in the order of replay; with `unfinished`, only what recovery would read."""
        keep: set[int] | None = None
        if unfinished:
            status: dict[int, TaskEvent] = {}
            for batch in self.durable:
                for event in batch.rows.task_event:
                    if event.event not in ("hide", "unhide"):
                        status[event.task_id] = event
            young = self.side_clock - self.policy.undo
            keep = {
                task
                for task, e in status.items()
                if e.to_status not in TERMINAL or (e.reason == "deleted" and e.occurred_at >= young)
            }
        rows: list[Any] = []
        for batch in self.durable:
            for table in NUMBERED_TABLES:
                rows += [
                    row
                    for row in getattr(batch.rows, table)
                    if keep is None or not isinstance(row, TaskEvent) or row.task_id in keep
                ]
        if unfinished:
            last: dict[tuple[int, bool], int] = {}
            for row in rows:
                if isinstance(row, ScheduleFire):
                    if row.count:
                        last[row.schedule_id, True] = row.event_id
                    if row.outcome == "queued" or not row.count:
                        last[row.schedule_id, False] = row.event_id
            told = set(last.values())
            newest = {row.blackout_id: row.event_id for row in rows if isinstance(row, BlackoutFire)}
            rows = [
                row for row in rows
                if (not isinstance(row, ScheduleFire) or row.event_id in told)
                and (not isinstance(row, BlackoutFire) or row.hold_id or row.event_id == newest[row.blackout_id])
            ]  # fmt: skip
        return sorted(rows, key=lambda row: (row.occurred_at, row.event_id))

    # --- time

    def _pass_time(self) -> None:
        """Let a while pass; sometimes let the wall jump or the machine sleep."""
        while_ = self.chance.choice((1_000, 30_000, 400_000, 2 * SECOND, 5 * SECOND, 12 * SECOND, LONGEST_STEP))
        self._let(while_)
        if not self.faults:
            return
        dice = self.chance.random()
        if dice < 0.03:
            self.notes.hazards["wall set back"] += 1
            self.wall -= self.chance.choice((2, 300, 3600)) * SECOND
        elif dice < 0.05:
            self.notes.hazards["wall set forward"] += 1
            self.wall += self.chance.choice((5, 300, 3600)) * SECOND
        elif dice < 0.07:
            self.notes.hazards["machine slept"] += 1
            self.wall += self.chance.choice((30, 1800)) * SECOND

    def _let(self, span: int) -> None:
        """Let time pass while the engine ticks idly, as it does four times a second."""
        while span > 0:
            part = min(span, 900_000)
            self.wall += part
            self.mono += part
            self.life += part
            span -= part
            if span > 0:
                self._read_into()

    def _read_into(self) -> None:
        reading = self.clock.read()
        if reading.down_from is not None and self._down_from is None:
            self._down_from = reading.down_from

    def _read(self) -> Reading:
        reading = self.clock.read()
        down_from = self._down_from or reading.down_from
        self._down_from = None
        if self.naive_clock:
            return Reading(self.wall, reading.ticked, None)
        return Reading(reading.now, reading.ticked, down_from)

    @property
    def ticked(self) -> int:
        return self.core._ticked

    # --- executors

    def _give(self, orders: list[m.Order]) -> None:
        chance = self.chance
        now = self.life
        for order in orders:
            if isinstance(order, m.StartOrder):
                if order.lease not in self.leases:
                    self._broken("order_after_commit", f"lease {order.lease} is not in the ledger")
                if order.lease in self.held:
                    self.notes.hazards["order given again"] += 1
                    continue
                if order.lease not in self.given and self.leases.get(order.lease, self.reborn_in) < self.reborn_in:
                    self.notes.hazards["claim durable, its order lost"] += 1
                self.given.add(order.lease)
                span = chance.choice((200_000, 2 * SECOND, 9 * SECOND, 30 * SECOND, 90 * SECOND))
                hangs = self.faults and chance.random() < 0.06
                if hangs:
                    self.notes.hazards["hung target"] += 1
                self.held[order.lease] = Held(order, None if hangs else now + span)
                continue
            held = self.held.get(order.lease)
            if held is None:
                continue
            if self.faults and chance.random() < 0.3:
                self.notes.hazards["stop or suspend ignored"] += 1
                continue
            after = now + chance.choice((100_000, 3 * SECOND, 20 * SECOND))
            if isinstance(order, m.StopOrder):
                held.stop_at = after
            else:
                held.suspend_at = after

    def _words(self) -> list[Input]:
        """Collect what services say by now: ends, confirmations, late and repeated reports, heartbeats."""
        chance, words = self.chance, list[Input]()
        if self.faults and chance.random() < 0.08:
            service = self.flapping if chance.random() < 0.5 else chance.choice(SERVICES)
            self.flapping = service
            if service in self.silent:
                self.silent.discard(service)
            else:
                self.silent.add(service)
                self.notes.hazards["host silent"] += 1
                for held in self.held.values():
                    if (held.order.business, held.order.service) == service and chance.random() < 0.5:
                        held.ends_at = None  # the host forgot it, and will never say so
        for lease, held in list(self.held.items()):
            order = held.order
            silent = (order.business, order.service) in self.silent
            if silent:
                continue
            if held.stop_at is not None and held.stop_at <= self.life:
                words.append(m.StopConfirmed(order.task_id, lease))
            elif held.suspend_at is not None and held.suspend_at <= self.life:
                words.append(m.Suspended(order.task_id, lease, round(chance.random(), 3)))
            elif held.ends_at is not None and held.ends_at <= self.life:
                words.append(self._end(order))
            else:
                if chance.random() < 0.1:
                    words.append(m.Progress(order.task_id, lease, chance.random()))
                continue
            del self.held[lease]
            if self.faults and chance.random() < 0.08:
                self.notes.hazards["report repeated late"] += 1
                self.late.append((self.life + chance.randrange(90) * SECOND, words[-1]))
        due = [report for at, report in self.late if at <= self.life]
        self.late = [(at, report) for at, report in self.late if at > self.life]
        words += due
        if self.faults and chance.random() < 0.02:
            self.notes.hazards["background scheduler stalled"] += 1
            self.stalled_until = self.life + chance.choice((20, 60, 120)) * SECOND
        if self.life - self.beaten >= BEAT or self.beaten == 0:
            self.beaten = self.life
            if self.life >= self.stalled_until:
                words.append(m.Alive("simulated", frozenset(k for k in self.silent if k in IN_PROCESS)))
            for business in ("a", "b"):
                alive = [n for b, n in SERVICES if b == business and (b, n) not in self.silent | IN_PROCESS]
                words.append(m.Heartbeat(business, alive))
        return words

    def _end(self, order: m.StartOrder) -> m.Report:
        if self.chance.random() < 0.12:
            return m.Failed(order.task_id, order.lease, self.chance.choice(("error", "timeout")), "refused")
        if order.stage == "collect":
            return m.Collected(order.task_id, order.lease)
        return m.Finished(order.task_id, order.lease, self.chance.choice((0, 0, 0, 2)), (1, 0, 0, 0, 0))

    def _executor_of(self, report: m.Report) -> str:
        held = getattr(report, "lease", None)
        order = next((h.order for h in self.held.values() if h.order.lease == held), None)
        return order.executor if order else "cluster"

    # --- people

    def _people(self) -> None:
        for action in [action for at, action in self.plans if at <= self.life]:
            self._command("ann", action)
        self.plans = [(at, action) for at, action in self.plans if at > self.life]
        for _ in range(self.chance.choice((0, 1, 1, 2, 4))):
            getattr(self, "_do_" + self.chance.choice(DEEDS))()

    def _command(self, actor: str, action: m.Action) -> None:
        self.requests += 1
        command = m.Command(f"r{self.requests}", actor, action)
        self.notes.sent[command.request_id], self.notes.asked[command.request_id] = action, actor
        self.queue.append(command)
        if (
            self.faults
            and self.chance.random() < 0.05
            and not isinstance(action, m.AddBusiness | m.AddSite | m.AddService)
        ):
            self.queue.append(command)

    def _again(self) -> None:
        """Click again on what was sent before, perhaps across a crash."""
        if self.notes.acknowledged:
            request = self.chance.choice(list(self.notes.acknowledged)[-8:])
            action = self.notes.sent[request]
            if not isinstance(action, m.RefreshWidget):
                self.queue.append(m.Command(request, self.notes.asked[request], action))

    _do_click_again = _again

    def _do_submit(self) -> None:
        chance = self.chance
        tasks = []
        for _ in range(chance.choice((1, 1, 1, 2, 6))):
            business = chance.choice(("a", "a", "b"))
            site = chance.choice(SITES[business])
            kind = chance.choice(
                (Kind.SCAN, Kind.SCAN, Kind.AUDIT, Kind.CONNECTOR, Kind.IMPORT, Kind.REPORT, Kind.OUTLIER)
            )
            asked = None
            if kind is Kind.SCAN and chance.random() < 0.2:
                asked = chance.choice([n for b, s, n, r in HOSTS if (b, s, r) == (business, site, "explorer")])
            elif chance.random() < 0.01:
                asked = chance.choice([n for b, _, n, _ in HOSTS if b == business])
            due_at = None
            if chance.random() < 0.25:
                due_at = self.wall + chance.choice((-5, 3, 20, 45)) * SECOND
            longest = chance.choice((5, 30, 90)) if chance.random() < 0.15 else None
            tasks.append(
                m.NewTask(
                    business, site, kind, own_name(kind, "task"), chance.choice(USERS), "ann", "host",
                    requested_service=asked, priority=chance.choice((5, 5, 5, 2, 8)), due_at=due_at,
                    longest_wait_s=longest,
                )
            )  # fmt: skip
        self._command(chance.choice(USERS), m.Submit(tasks))

    _do_submit_more = _do_submit
    _do_submit_yet_more = _do_submit

    def _some_tasks(self, n: int = 3) -> list[int]:
        known = sorted(self.core.state.tasks)
        finished = sorted(self.finished())
        pool = known * 3 + finished[-6:] + [77]
        return [self.chance.choice(pool) for _ in range(self.chance.randrange(1, n + 1))]

    def finished(self) -> dict[int, TaskRow]:
        """Return the newest durable row of each task that has ended."""
        return {row.task_id: row for batch in self.durable[-40:] for row in batch.rows.task_done if row.status != "New"}

    def _do_stop(self) -> None:
        self._command("ann", m.Stop(self._some_tasks(), "enough"))

    _do_stop_again = _do_stop

    def _do_delete(self) -> None:
        tasks = self._some_tasks()
        again = [t.id for t in self.core.state.tasks.values() if t.status is Status.NEW and t.version > 1]
        if again and self.chance.random() < 0.5:
            tasks.append(self.chance.choice(again))
        finished = {k: r for k, r in self.finished().items() if k in tasks and k not in self.core.state.tasks}
        running = [t for t in tasks if t in self.core.state.tasks and self.core.state.tasks[t].lease is not None]
        if running:
            self.notes.hazards["delete of a running task"] += 1
        self._command("ann", m.Delete(tasks, "tidy", finished))

    def _do_restore(self) -> None:
        hidden = [row.task_id for row in self.finished().values() if row.hidden and row.reason != "deleted"]
        tasks = [*list(self.core.state.deleted)[-2:], *hidden[-1:], *self._some_tasks(1)]
        self._command("ann", m.Restore(tasks, {k: r for k, r in self.finished().items() if k in tasks}))

    def _do_waver(self) -> None:
        """Delete a task, undo it, delete it again and undo that as well, late."""
        new = sorted(task.id for task in self.core.state.tasks.values() if task.status is Status.NEW)
        if new:
            tasks = [self.chance.choice(new)]
            self._command("ann", m.Delete(tasks))
            for after, action in ((15, m.Restore(tasks)), (35, m.Delete(tasks)), (70, m.Restore(tasks))):
                self.plans.append((self.life + after * SECOND, action))

    def _do_edit(self) -> None:
        new = [t for t in self.core.state.tasks.values() if t.status is Status.NEW]
        if not new:
            return
        task = self.chance.choice(sorted(new, key=lambda t: t.id))
        changes: dict[str, object] = self.chance.choice(
            (
                {"priority": self.chance.randrange(10)},
                {"name": "renamed"},
                {"due_at": "now"},
                {"due_at": self.wall + 20 * SECOND},
            )
        )
        if task.kind is Kind.SCAN and self.chance.random() < 0.4:
            hosts = [n for b, s, n, r in HOSTS if (b, s, r) == (task.business, task.site, "explorer")]
            changes = {"requested_service": self.chance.choice([*hosts, None])}
        stale = self.chance.random() < 0.2
        if stale:
            self.notes.hazards["stale edit"] += 1
        self._command("ann", m.Edit(task.id, task.version - (1 if stale else 0), changes))

    def _do_edit_many(self) -> None:
        """Change all that one sees at once, some of it seen a while ago, some of it no longer there to be edited."""
        tasks = [self.core.state.tasks[t] for t in sorted(self.core.state.tasks)]
        changes = {"priority": self.chance.randrange(10)}
        edits = [m.Edit(t.id, t.version - (self.chance.random() < 0.2), changes) for t in tasks[-6:]]
        self._command("ann", m.EditMany([*edits, m.Edit(77, 1, changes)], "sooner"))

    def _do_rerun(self) -> None:
        tasks = self._some_tasks()
        self._command("ann", m.Rerun(tasks, "again", {k: r for k, r in self.finished().items() if k in tasks}))

    def _do_view(self) -> None:
        """Keep a view, change one or drop one; names are few, so that they clash."""
        chance, user = self.chance, self.chance.choice(USERS)
        known = [None, *sorted(self.core._views)]
        if chance.random() < 0.25 and known[1:]:
            self._command(user, m.DropView(str(known[-1])))
            return
        business = chance.choice(("a", None))
        self._command(user, m.KeepView(chance.choice(("One", "one", "Two")), "Failed", "", "", business,
                                       chance.choice(known)))  # fmt: skip

    def _do_hold(self) -> None:
        chance = self.chance
        business: str | None = chance.choice(("a", "a", "b", None))
        targets = [m.HoldTarget("kind", chance.choice((Kind.SCAN, Kind.AUDIT, Kind.REPORT, Kind.QUERY)).value)]
        if business is not None:
            dice = chance.random()
            if dice < 0.5:
                targets = [m.HoldTarget("user", user) for user in chance.sample(USERS, chance.choice((1, 2)))]
            elif dice < 0.7:
                own = [i for i, s in sorted(self.core.state.schedules.items()) if s.spec.business == business]
                if own:
                    targets = [m.HoldTarget("schedule", str(chance.choice(own)))]
            elif dice < 0.8:
                targets = [m.HoldTarget("site", chance.choice(SITES[business]))]
        now = self.wall
        from_at = now + chance.choice((5, 40)) * SECOND if chance.random() < 0.2 else None
        until_at = (from_at or now) + chance.choice((4, 15, 60)) * SECOND if chance.random() < 0.6 else None
        suspend = chance.random() < 0.5
        site = chance.choice(SITES[business]) if business is not None and chance.random() < 0.2 else None
        if targets[0].kind == "site":
            site = None
        for name, met in (
            ("hold that suspends", suspend),
            ("hold", True),
            ("hold to come", from_at is not None),
            ("hold of one site", site is not None),
            ("hold on a site", targets[0].kind == "site"),
            ("hold of all businesses", business is None),
        ):
            if met:
                self.notes.hazards[name] += 1
        self._command("ann", m.PlaceHolds(business, targets, "pause", site, from_at, until_at, suspend))

    _do_hold_again = _do_hold

    def _do_lift(self) -> None:
        """Lift what a dialog listed, while somebody else perhaps places another."""
        listed = sorted(self.core.state.holds)
        if not listed:
            return
        chosen = self.chance.sample(listed, self.chance.randrange(1, len(listed) + 1))
        if self.chance.random() < 0.4:
            self.notes.hazards["resume while another pauses"] += 1
            self._do_hold()
        rate = self.chance.choice((2, 7, 60, 600)) if self.chance.random() < 0.8 else None
        self._command("ann", m.LiftHolds(chosen, "resume", rate))
        if rate is not None and self.chance.random() < 0.3:
            over = [self.core.state.holds[hold] for hold in chosen]
            again = [m.PlaceHolds(h.business, [m.HoldTarget(h.target_kind, h.target)], "no", h.site) for h in over]
            self.plans += [(self.life + 9 * SECOND, one) for one in again]

    def _ramps(self) -> list[int]:
        return sorted(t.id for t in self.core.queues.throttles.values() if t.rate is not None)

    def _let_go(self) -> None:
        """Let all go of some ramps, one of which has ended perhaps."""
        listed = self._ramps()
        if listed and self.chance.random() < 0.3:
            self._command("ann", m.EndRamps(self.chance.sample(listed, 1)))

    def _do_throttle(self) -> None:
        self._let_go()
        business, user = self.chance.choice(("a", "a", "b")), self.chance.choice(USERS)
        if self.chance.random() < 0.4:
            self._command("ann", m.RemoveCap(business, user))
        else:
            self._command("ann", m.SetCap(business, user, self.chance.choice((1, 1, 2, 3)), "his share"))

    def _do_schedule(self) -> None:
        chance = self.chance
        schedules = self.core.state.schedules
        if len(schedules) < 4 or chance.random() < 0.2:
            self._command("ann", m.CreateSchedule(self._spec()))
            return
        schedule = chance.choice([schedules[i] for i in sorted(schedules)])
        dice = chance.random()
        if dice < 0.3:
            self._command("ann", m.RunNow(schedule.id))
        elif dice < 0.7:
            spec = self._spec(schedule.spec.business, schedule.spec.site)
            self._command("ann", m.EditSchedule(schedule.id, schedule.version - chance.choice((0, 0, 0, 1)), spec))
        else:
            self._command("ann", m.RemoveSchedule(schedule.id))

    _do_schedule_again = _do_schedule

    def _spec(self, business: str | None = None, site: str | None = None) -> m.ScheduleSpec:
        chance = self.chance
        business = business or chance.choice(("a", "b"))
        site = site or chance.choice(SITES[business])
        every = chance.choice((7, 30, 95))
        rule = Rule.interval(every, (STARTS[0] - 86_400) * SECOND)
        if chance.random() < 0.5:
            rule = Rule.cron_rule(chance.choice(("* * * * *", "*/5 * * * *")), "Europe/Berlin")
        kind = chance.choice((Kind.SCAN, Kind.AUDIT, Kind.REPORT))
        on_hold = chance.choice(("skip", "queue_one"))
        name = own_name(kind, "nightly")
        return m.ScheduleSpec(name, business, site, kind, rule, chance.choice(USERS), on_hold=on_hold)

    def _do_blackout(self) -> None:
        """Create a window, change one (perhaps as it was seen a while ago) or remove one, perhaps while it holds."""
        chance, windows = self.chance, self.core.state.blackouts
        if len(windows) < 2 or chance.random() < 0.3:
            self._command("ann", m.CreateBlackout(self._window()))
            return
        window = chance.choice([windows[i] for i in sorted(windows)])
        if chance.random() < 0.6:
            spec = self._window(window.spec.business, window.spec.site)
            self._command("ann", m.EditBlackout(window.id, window.version - chance.choice((0, 0, 0, 1)), spec))
        else:
            self.notes.hazards["blackout window removed while it holds"] += any(
                hold.blackout == window.id for hold in self.core.state.holds.values()
            )
            self._command("ann", m.RemoveBlackout(window.id))

    def _window(self, business: str | None = None, site: str | None = None) -> m.BlackoutSpec:
        chance = self.chance
        business = business or chance.choice(("a", "a", "b"))
        site = site or chance.choice(SITES[business])
        if chance.random() < 0.5:
            rule, lasts = Rule.interval(chance.choice((75, 140)), (STARTS[0] - 86_400) * SECOND), (60, 90, 150)
        else:
            often = chance.choice(("* * * * *", "*/5 * * * *"))
            rule, lasts = Rule.cron_rule(often, "America/New_York"), (60, 100, 120)
        name = f"Window {chance.randrange(6)}"
        return m.BlackoutSpec(name, business, site, rule, chance.choice(lasts), "closed", chance.random() < 0.5)

    def _do_widget(self) -> None:
        business = self.chance.choice(("a", "b"))
        self._command("system", m.RefreshWidget(business, SITES[business][0], self.chance.choice(("w1", "w2"))))

    def _do_service(self) -> None:
        business, name = self.chance.choice(SERVICES)
        if self.chance.random() < 0.3:
            self._command("ann", m.SetService(business, name, slots=self.chance.randrange(1, 5)))
            return
        state = self.chance.choice(("online", "online", "draining", "offline"))
        self._command("ann", m.SetService(business, name, state=state))

    # --- notes and checks on the spot

    def _listen(self, inputs: list[Input], ticked: int) -> None:
        """Note what services are about to say, and who is known to live by it."""
        contact, beats = self.notes.contact, self.notes.beats
        for report in inputs:
            if isinstance(report, m.Heartbeat):
                for name in report.services:
                    contact[report.business, name] = beats[report.business, name] = ticked
                    self.heard.add((report.business, name))
            elif isinstance(report, m.Alive):
                unseen = max(0, ticked - self.looked - LONGEST_LOOK_GAP) if self.looked else 0
                self.looked = ticked
                for key in IN_PROCESS:
                    if key not in report.silent:
                        contact[key] = beats[key] = ticked
                        self.heard.add(key)
                    else:
                        for heard in (contact, beats):
                            if key in heard:
                                heard[key] = min(heard[key] + unseen, ticked)
            elif not isinstance(report, m.Command):
                task = self.core.state.tasks.get(report.task_id)
                if task is not None and task.lease == report.lease:
                    contact[task.business, task.host] = ticked

    def _note(self, step: Step, inputs: list[Input]) -> None:
        """Keep what was reported in a step, count what was met, and check what can only be seen in passing."""
        reports = [r for r in inputs if not isinstance(r, m.Command)]
        if reports:
            self.notes.delivered[step.now] = reports
        for event in step.rows.task_event:
            if event.event in ("claim", "process"):
                self.notes.claimed[event.event_id] = self.ticked
                for heard in (self.notes.contact, self.notes.beats):
                    heard.setdefault((event.business, event.service or ""), self.ticked)
            elif event.event == "ask_to_suspend":
                assert event.lease is not None
                assert event.detail is not None
                self.notes.asked_since[event.task_id, event.lease, event.detail["hold_id"]] = self.ticked
            elif event.event == "suspend_lapsed":
                self._lapsed(event)
            elif event.event == "suspended" and event.task_id in self.lapsed:
                self.notes.hazards["checkpoint after the request had lapsed"] += 1
            elif event.event == "edit" and event.detail is not None and "waited" in event.detail:
                self.notes.hazards["edit moves a waiting task"] += 1
            if event.event == "rescue" or event.reason == "worker_lost":
                self.notes.hazards[f"{event.event}: {event.reason}"] += 1
            if event.event == "confirm_stop" and event.reason == "finished_before_stop":
                self.notes.hazards["finish after the stop was asked for"] += 1
            if event.event in ("expire", "suspended", "restore", "suspend_lapsed", "hide", "unhide"):
                self.notes.hazards[event.event] += 1
            if event.reason in ("stop_not_confirmed", "deleted"):
                self.notes.hazards[str(event.reason)] += 1
        for audit in step.rows.audit:
            if audit.action in ("rerun", "keep", "drop"):
                self.notes.hazards[audit.action] += audit.outcome == "changed"
            if audit.action == "edit" and audit.outcome != "changed":
                self.notes.hazards["one of many edits refused"] += 1
        for service in step.rows.service_event:
            if service.event == "lost":
                key = (service.business or "", service.service or "")
                silence = self.ticked - self.notes.beats.get(key, 0)
                if key in IN_PROCESS:
                    silence += LONGEST_LOOK_GAP  # a claim between two looks counts from the first
                self.notes.hazards["lost without a first heartbeat"] += key not in self.heard
                if silence < self.policy.silence:
                    self._broken("no_false_alarm", f"{key} was lost after {silence / SECOND} s of silence")
            if service.event in ("stale_report", "lost", "returned", "suspect"):
                self.notes.hazards[service.event] += 1
        for hold in step.rows.hold_event:
            self.notes.hazards[f"hold {hold.event}"] += 1
        for throttle in step.rows.throttle_event:
            why = f" {throttle.reason}" if (throttle.throttle, throttle.event) == ("ramp", "ended") else ""
            self.notes.hazards[f"{throttle.throttle} {throttle.event}{why}"] += 1
        for fire in step.rows.schedule_fire:
            self.notes.hazards[f"occurrence {fire.outcome}"] += 1
        for window in step.rows.blackout_fire:
            self.notes.hazards[f"blackout {window.outcome}"] += 1
        for version in step.rows.blackout_event:
            self.notes.hazards[f"blackout window {version.event}"] += 1
        for refresh in step.rows.widget_refresh:
            self.notes.hazards["widget's refresh answers several"] += refresh.joined > 0
        if self.verbose:
            for row in [*step.rows.service_event, *step.rows.hold_event, *step.rows.throttle_event,
                        *step.rows.schedule_event, *step.rows.schedule_fire, *step.rows.blackout_event,
                        *step.rows.blackout_fire, *step.rows.task_event]:  # fmt: skip
                print(step.now, row)

    def _lapsed(self, event: TaskEvent) -> None:
        """suspensions_lapse_on_time: a request to suspend that is not answered lapses at its deadline, no sooner."""
        self.lapsed.add(event.task_id)
        self.notes.hazards[f"suspension {event.reason}"] += 1
        asked = [
            at
            for (task, lease, _), at in self.notes.asked_since.items()
            if (task, lease) == (event.task_id, event.lease)
        ]
        if event.reason == "not_answered" and asked and self.ticked - max(asked) < self.policy.suspend_deadline:
            waited = (self.ticked - max(asked)) / SECOND
            self._broken("suspensions_lapse_on_time", f"task {event.task_id}: the request lapsed after {waited} s")

    def _broken(self, invariant: str, what: str) -> None:
        self.notes.conflicts.append(f"{invariant}: {what}")

    def _look(self) -> None:
        """Check what can only be seen while it lasts."""
        state, queues = self.core.state, self.core.queues
        for task in state.tasks.values():
            if task.status is Status.STOPPING:
                assert task.lease is not None
                since = self.notes.stopping_since.setdefault((task.id, task.lease), self.ticked)
                if self.ticked - since > self.policy.stop_deadline + LONGEST_STEP:
                    self._broken(
                        "stop_settles", f"task {task.id} is Stopping for {(self.ticked - since) / SECOND:.0f} s"
                    )
            elif task.lease is not None:
                if task.suspend is not None:
                    since = self.notes.asked_since.setdefault((task.id, task.lease, task.suspend), self.ticked)
                    if self.ticked - since > self.policy.suspend_deadline + LONGEST_STEP:
                        self._broken(
                            "suspensions_lapse_on_time", f"task {task.id}: asked {(self.ticked - since) / SECOND} s ago"
                        )
                service = state.service(task)
                claimed = self.notes.claimed.get(task.lease, 0)
                contact = max(claimed, self.notes.contact.get((service.business, service.name), 0))
                if service.executor == "simulated" and self.ticked - self.looked > LONGEST_LOOK_GAP:
                    continue  # nobody looks
                if self.ticked - contact > 45 * SECOND + 2 * LONGEST_STEP and service.wanted != "offline":
                    self._broken(
                        "lost_service_rescued",
                        f"{service.name} is silent since {contact} (now {self.ticked}), task {task.id} runs",
                    )
        for place in queues.places.values():
            head = place.head()
            if head is not None and place.least_loaded() is not None:
                self._broken("nothing_idles", f"a task waits at {place.key} though a service has room")
        for (business, user), cap in queues.caps.items():
            owned = [t for t in state.tasks.values() if (t.business, t.owner) == (business, user)]
            runs, at_most = sum(task.lease is not None for task in owned), cap.at_most or 0
            if cap.shut != (runs >= at_most):
                self._broken("caps_open_at_once", f"{user} runs {runs} of {at_most}, and shut is {cap.shut}")
            self.notes.hazards["cap below what runs"] += runs > at_most
        if self.outbox.in_flight is None and not self.outbox.open.rows and self.durable:
            self.check_sums()

    def check_sums(self) -> None:
        """ledger_sums_equal_state: running sums of the ledger's deltas, by place and by cause, are the live depths."""
        there: Counter[Any] = Counter()
        cause: Counter[Any] = Counter()
        for q in self.core.queues.queues.values():
            there[q.place.business, q.site, q.kind, q.stage] += len(q.members)
            cause[q.place.business, q.site, q.kind, q.stage, q.cause] += len(q.members)
        ran = Counter((t.business, t.site, t.kind) for t in self.core.state.tasks.values() if t.lease is not None)
        sums = self.sums
        for name, summed, live in (
            ("waiting", sums.waiting, there),
            ("running", sums.running, ran),
            ("by cause", sums.by_cause, cause),
        ):
            told, lived = ({key: n for key, n in counts.items() if n} for counts in (summed, live))
            if told != lived:
                self._broken("ledger_sums_equal_state", f"{name}: ledger {told}, state {lived}")

    def check_replay(self) -> None:
        """replay_equals_state: what the ledger rebuilds is what lives, to the last field and clock."""
        mine = self.core.state
        ways = [("all rows", False), ("what recovery reads", True)]
        if self.faults:
            ways = [self.chance.choice(ways)]
        for name, unfinished in ways:
            theirs = replay(self.ledger(unfinished))
            if set(theirs.tasks) != set(mine.tasks):
                self._broken("replay_equals_state", f"{name}: other tasks: {set(theirs.tasks) ^ set(mine.tasks)}")
                continue
            at = max(mine.last, theirs.last) + SECOND
            young = max(self.side_clock, self.now, mine.last) - self.policy.undo
            for task_id, task in mine.tasks.items():
                again = theirs.tasks[task_id]
                for slot in task.__slots__:
                    if slot not in ("progress", "joined") and getattr(task, slot) != getattr(again, slot):
                        self._broken("replay_equals_state", f"{name}: task {task_id}.{slot}: {getattr(task, slot)!r} "
                                                            f"lives, {getattr(again, slot)!r} is rebuilt")  # fmt: skip
                if (task_id in mine.queues.waiting) != (task_id in theirs.queues.waiting):
                    self._broken("replay_equals_state", f"{name}: task {task_id} waits in one only")
                elif task_id in mine.queues.waiting:
                    one, other = mine.queues.split(task, at), theirs.queues.split(again, at)
                    if one != other:
                        self._broken("replay_equals_state", f"{name}: split of {task_id}: {one} lives, {other} rebuilt")
            for schedule_id, schedule in mine.schedules.items():
                again_schedule = theirs.schedules[schedule_id]
                for slot in ("next_at", "owed", "waiting", "version"):
                    if getattr(schedule, slot) != getattr(again_schedule, slot):
                        self._broken("replay_equals_state", f"{name}: schedule {schedule_id}.{slot}")
            for what, one_side, other_side in (
                ("holds", _holds(mine), _holds(theirs)),
                ("blackout windows", _blackouts(mine), _blackouts(theirs)),
                ("holds over sub-queues", _holds_over(mine), _holds_over(theirs)),
                ("throttles", _throttles(mine), _throttles(theirs)),
                ("throttles over sub-queues", _throttles_over(mine), _throttles_over(theirs)),
                ("services", _services(mine), _services(theirs)),
                ("causes of places", _place_causes(mine), _place_causes(theirs)),
                ("runs owed", mine.owed, theirs.owed),
                ("widgets", _widgets(mine), _widgets(theirs)),
                ("deleted tasks", _undoable(mine, young), _undoable(theirs, young)),
            ):
                if one_side != other_side:
                    self._broken("replay_equals_state", f"{name}: {what}: {one_side} live, {other_side} are rebuilt")

    # --- the end

    def _heal(self) -> None:
        """No more faults: everything that may run must come to an end."""
        self.faults = False
        self.silent.clear()
        self.late.clear()
        for held in self.held.values():
            if held.ends_at is None:
                held.ends_at = self.life + SECOND
        for business, name in SERVICES:
            self._command("ann", m.SetService(business, name, state="online"))
        self._command("ann", m.LiftHolds(sorted(self.core.state.holds), "end"))
        for schedule_id in sorted(self.core.state.schedules):
            self._command("ann", m.RemoveSchedule(schedule_id))
        for blackout_id in sorted(self.core.state.blackouts):
            self._command("ann", m.RemoveBlackout(blackout_id))
        self._let_all_go()
        for n in range(60):
            self._let(LONGEST_STEP)
            self._turn(self._words())
            self._look()
            if n == 3:
                self._command("ann", m.LiftHolds(sorted(self.core.state.holds), "end"))
                for schedule_id in sorted(self.core.state.schedules):
                    self._command("ann", m.RemoveSchedule(schedule_id))
                for blackout_id in sorted(self.core.state.blackouts):
                    self._command("ann", m.RemoveBlackout(blackout_id))
                self._let_all_go()
            if n > 4 and not self.core.state.tasks:
                break
        left = [t for t in self.core.state.tasks.values() if t.due]
        if left:
            task = left[0]
            self._broken("everything_settles", f"{len(left)} tasks are left, such as {task.id}: {task.status}")
        self.check_replay()


    def _let_all_go(self) -> None:
        self._command("ann", m.EndRamps(self._ramps()))
        for business, user in sorted(self.core.queues.caps):
            self._command("ann", m.RemoveCap(business, user))


class _Crash(Exception):
    """The console dies here."""


def _holds(state: State) -> dict[int, Any]:
    return {hold.id: (hold.begun, hold.blackout) for hold in state.holds.values()}


def _blackouts(state: State) -> dict[int, Any]:
    return {window.id: (window.next_at, window.version, window.spec) for window in state.blackouts.values()}


def _holds_over(state: State) -> dict[Any, list[int]]:
    return {key: [hold.id for hold in q.holds] for key, q in state.queues.queues.items() if q.members}


def _throttles(state: State) -> dict[int, Any]:
    return {
        t.id: (t.rate, t.at_most, t.reason, t.shut, t.shut_at, t.left, t.running, t.over, t.but)
        for t in state.queues.throttles.values()
    }


def _throttles_over(state: State) -> dict[Any, Any]:
    return {
        key: ([t.id for t in q.throttles], q.cause) for key, q in state.queues.queues.items() if q.members
    }


def _services(state: State) -> dict[Key, Any]:
    return {
        key: (s.wanted, s.lost, s.suspect, s.slots, s.scanning, s.since, sorted(s.running))
        for key, s in state.queues.services.items()
    }


def _place_causes(state: State) -> dict[Any, int]:
    return {key: place.cause for key, place in state.queues.places.items() if any(q.members for q in place.queues)}


def _undoable(state: State, since: int) -> set[int]:
    return {task.id for task in state.deleted.values() if (task.finished_at or 0) > since}


def _widgets(state: State) -> dict[Any, Any]:
    return dict(state.widgets)


def _raise(highest: dict[int, int], an_id: int) -> None:
    number = business_of(an_id)
    highest[number] = max(highest.get(number, 0), an_id)


def _ids(outcome: m.Outcome) -> tuple[list[object], list[object]]:
    return sorted(map(str, outcome.changed)), sorted(str(i) for i, _ in outcome.skipped)


SITES = {"a": ("north", "south"), "b": ("east",)}
USERS = ("ann", "bob", "cid")
HOSTS = (
    ("a", "north", "n-explorer-1", "explorer"), ("a", "north", "n-explorer-2", "explorer"),
    ("a", "north", "n-audit", "audit_service"), ("a", "north", "n-zone", "hosted_zone"),
    ("a", "south", "s-explorer", "explorer"), ("a", "south", "s-audit", "audit_service"),
    ("a", "south", "s-zone", "hosted_zone"), ("a", None, "a-proc-1", "processor"), ("a", None, "a-proc-2", "processor"),
    ("b", "east", "e-explorer", "explorer"), ("b", "east", "e-audit", "audit_service"),
    ("b", "east", "e-zone", "hosted_zone"), ("b", None, "b-proc", "processor"),
)  # fmt: skip
OUTSIDE = {"n-explorer-2", "a-proc-2", "s-audit", "e-zone"}  #: run by a cluster that outlives the console
SERVICES = tuple((business, name) for business, _, name, _ in HOSTS)
IN_PROCESS = frozenset(key for key in SERVICES if key[1] not in OUTSIDE)
FLEET: tuple[m.Action, ...] = (
    m.AddBusiness("a"), m.AddSite("a", "north", "Europe/Berlin"), m.AddSite("a", "south", "UTC"), m.AddBusiness("b"),
    m.AddSite("b", "east", "America/New_York"),
    *(
        m.AddService(business, site, name, role, 3 if role == "explorer" else 2,
                     "cluster" if name in OUTSIDE else "simulated")
        for business, site, name, role in HOSTS
    ),
)  # fmt: skip
DEEDS = (
    "submit", "submit_more", "submit_yet_more", "stop", "stop_again", "delete", "restore", "waver", "edit", "hold",
    "hold_again", "lift", "schedule", "schedule_again", "widget", "service", "click_again", "edit_many", "rerun",
    "view", "blackout", "throttle",
)  # fmt: skip
