"""A core on a clock that a test moves by hand: every step is taken at the instant that the test names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine import messages as m
from engine.clock import SECOND, Reading
from engine.core import Core, answers_from
from engine.deciding import Policy, Step
from engine.ledger import NUMBERED_TABLES, Rows, TaskEvent, TaskRow
from engine.lifecycle import Kind, own_name
from engine.state import replay
from engine.task import Task

START = 1_780_000_000 * SECOND
SITE = ("acme", "berlin")
LONGEST_STEP = 10 * SECOND

EXPLORER = m.AddService(*SITE, "explorer", "explorer", 3)
PROCESSOR = m.AddService("acme", None, "processor", "processor", 2)
CLUSTER = m.AddService(*SITE, "far explorer", "explorer", 3, executor="cluster")


class Desk:
    """Acme's Berlin with the services that a test asks for. `at` counts seconds since the fleet was founded."""

    def __init__(self, *services: m.AddService, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.core = Core(policy=self.policy)
        self.at = 0.0
        self.rows = Rows()
        self.orders: list[m.Order] = []
        self.silent: set[str] = set()
        self.outcomes: list[m.Outcome] = []
        self._requests = 0
        self._born = START  #: when the present core began to tick
        self.step(m.AddBusiness("acme"), m.AddSite(*SITE, "Europe/Berlin"), *services)

    def step(
        self, *inputs: m.Action | m.Report, down_from: float | None = None, request: str | None = None,
        actor: str = "ann",
    ) -> Step:
        """Take one step now."""
        now = START + round(self.at * SECOND)
        given: list[m.Command | m.Report] = []
        for an_input in inputs:
            if isinstance(an_input, m.Report):
                given.append(an_input)
            else:
                self._requests += 1
                given.append(m.Command(request or f"r{self._requests}", actor, an_input))
        down = None if down_from is None else START + round(down_from * SECOND)
        return self._take(self.core.step(Reading(now, now - self._born, down), given))

    def wait(self, seconds: float, *inputs: m.Action | m.Report) -> Step:
        """Let time pass with services alive (but for the silent ones), then take the inputs in."""
        until = self.at + seconds
        while self.at < until:
            self.at = min(until, self.at + LONGEST_STEP / SECOND)
            step = self.step(self.alive(), *(inputs if self.at == until else ()))
        return step

    def alive(self) -> m.Alive:
        return m.Alive("simulated", frozenset(("acme", name) for name in self.silent))

    def restart(self, seconds: float = 0) -> Step:
        """Lose the core, and start again from the ledger after a while."""
        rows = sorted(
            (row for table in NUMBERED_TABLES for row in getattr(self.rows, table)),
            key=lambda row: (row.occurred_at, row.event_id),
        )
        down_from = START + round(self.at * SECOND)
        state, before = replay(rows), self.core.state
        sequences = {b.no: b for b in (before.system, *before.businesses.values())}
        for business in (state.system, *state.businesses.values()):
            business.last_audit = sequences[business.no].last_audit
        self.core = Core(state, self.policy)
        self.core.remember(answers_from(self.rows.audit), {str(row.request_id): row.actor for row in self.rows.audit})
        self.at += seconds
        self._born = START + round(self.at * SECOND)
        return self._take(self.core.start(Reading(self._born, 0, down_from)))

    def _take(self, step: Step) -> Step:
        self.rows.extend(step.rows)
        self.orders += step.orders
        self.outcomes += [outcome for _, outcome in step.outcomes]
        return step

    # --- what people and services do

    def submit(self, kind: Kind = Kind.SCAN, owner: str = "ann", **facts: Any) -> int:
        """Submit a task a second from now; return its id."""
        return self.submit_all([(kind, owner, facts)])[0]

    def submit_all(self, tasks: Sequence[tuple[Kind, str, dict[str, Any]]]) -> list[int]:
        self.wait(1, m.Submit([
            m.NewTask(*SITE, kind, own_name(kind, "task"), owner, owner, **facts) for kind, owner, facts in tasks
        ]))  # fmt: skip
        outcome = self.outcomes[-1]
        assert outcome.refused is None, outcome.refused
        return [int(task) for task in outcome.changed]

    def hold(self, kind: str, name: str, until: float | None = None, suspend: bool = False) -> int:
        """Place a hold a second from now; return its id."""
        until_at = None if until is None else START + round(until * SECOND)
        self.wait(1, m.PlaceHolds("acme", [m.HoldTarget(kind, name)], "pause", until_at=until_at, suspend=suspend))
        assert self.outcomes[-1].refused is None, self.outcomes[-1].refused
        return int(self.outcomes[-1].changed[0])

    def collected(self, task: int) -> m.Collected:
        return m.Collected(task, self.lease(task))

    def finished(self, task: int) -> m.Finished:
        return m.Finished(task, self.lease(task))

    # --- what is there to see

    def task(self, task: int) -> Task:
        return self.core.state.tasks[task]

    def lease(self, task: int) -> int:
        lease = self.task(task).lease
        assert lease is not None
        return lease

    def cause(self, task: int) -> str:
        return self.core.queues.cause(self.task(task))

    def row(self, task: int) -> TaskRow:
        """Return the newest row of a task that has ended."""
        return next(row for row in reversed(self.rows.task_done) if row.task_id == task)

    def events(self, task: int, event: str | None = None) -> list[TaskEvent]:
        return [e for e in self.rows.task_event if e.task_id == task and event in (None, e.event)]

    def happened(self, task: int, event: str) -> float:
        """Tell when an event last happened to a task, in seconds."""
        return (self.events(task, event)[-1].occurred_at - START) / SECOND

    def started(self) -> list[int]:
        """List the tasks that were started, in order."""
        return [order.task_id for order in self.orders if isinstance(order, m.StartOrder)]
