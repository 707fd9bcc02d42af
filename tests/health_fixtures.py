"""A small fleet that lives on a virtual clock: the real core, a store, and services that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path

from engine import messages as m
from engine import rollups
from engine.clock import MINUTE, SECOND, Reading
from engine.core import Core, Input
from engine.deciding import Policy, Step
from engine.health import Look
from engine.ledger import Rows
from engine.lifecycle import Kind, own_name
from engine.looks import look
from engine.runtime import rebuild
from engine.snapshot import Publisher, Snapshot
from engine.store import Store

from .stores import fresh

NOON = 1_795_521_600 * SECOND  #: 2026-11-24 12:00 UTC
HEARTBEAT = 10 * SECOND

Length = Callable[[m.StartOrder], float | None]  #: how many seconds a stage takes; None: it hangs


class Life:
    """One business, Acme, with the site Berlin: three audit hosts of four slots, one explorer, one processor."""

    def __init__(self, folder: Path, start: int = NOON) -> None:
        self.store = fresh(folder)
        self.core, self.now, self._start = Core(), start, start
        self.length: Length = lambda order: 60.0 if order.stage == "collect" else 5.0
        self.silent: set[str] = set()
        self._rows, self._requests, self._serial = Rows(), 0, 0
        self._agenda: list[tuple[int, int, m.StartOrder]] = []
        self._beaten = 0
        self.do(m.AddBusiness("Acme"), m.AddSite("Acme", "Berlin", "Europe/Berlin"))
        for name in ("audit-1", "audit-2", "audit-3"):
            self.do(m.AddService("Acme", "Berlin", name, "audit_service", 4))
        self.do(m.AddService("Acme", "Berlin", "explorer-1", "explorer", 3))
        self.do(m.AddService("Acme", None, "processor-1", "processor", 2))

    def do(self, *actions: m.Action, actor: str = "ann") -> list[m.Outcome]:
        """Carry out commands at the present instant."""
        outcomes = []
        for action in actions:
            self._requests += 1
            outcomes += self._step([m.Command(f"request-{self._requests}", actor, action)])
        for outcome in outcomes:
            assert outcome.refused is None, outcome.refused
        return outcomes

    def submit(self, n: int = 1, kind: Kind = Kind.AUDIT, *, target: str = "db-7", owner: str = "ann") -> list[int]:
        """Submit tasks at the present instant; return their ids."""
        name = own_name(kind, f"{kind} of {target}")
        task = m.NewTask("Acme", "Berlin", kind, name, owner, owner, target, "device", "databases")
        (outcome,) = self.do(m.Submit([task] * n))
        return [int(task_id) for task_id in outcome.changed]

    def submit_every(self, seconds: float, minutes: float, n: int = 1) -> None:
        """Let so many tasks come every so often, over so many minutes."""
        until = self.now + int(minutes * MINUTE)
        while self.now < until:
            self.submit(n)
            self.live(min(seconds, (until - self.now) / SECOND))

    def refresh_every(self, seconds: float, minutes: float, widgets: tuple[str, ...] = ("Open ports",)) -> None:
        until = self.now + int(minutes * MINUTE)
        while self.now < until:
            self.do(*(m.RefreshWidget("Acme", "Berlin", widget) for widget in widgets), actor="system")
            self.live(seconds)

    def live(self, seconds: float) -> None:
        """Let time pass: services beat, and end what they run when its time has come."""
        until = self.now + int(seconds * SECOND)
        while self.now < until:
            moments = [until, self._beaten + HEARTBEAT, self.core.next_timer() or until]
            if self._agenda:
                moments.append(self._agenda[0][0])
            self.now = min(until, max(self.now + 1, min(moments)))
            self._step(self._told())

    def _told(self) -> list[Input]:
        told: list[Input] = []
        if self.now - self._beaten >= HEARTBEAT:
            self._beaten = self.now
            names = [name for _, name in self.core.queues.services if name not in self.silent]
            told.append(m.Heartbeat("Acme", names))
        while self._agenda and self._agenda[0][0] <= self.now:
            _, _, order = heappop(self._agenda)
            if order.service not in self.silent:
                report = m.Collected if order.stage == "collect" else m.Finished
                told.append(report(order.task_id, order.lease))
        return told

    def _step(self, inputs: list[Input]) -> list[m.Outcome]:
        return self._take(self.core.step(Reading(self.now, self.now - self._start), inputs))

    def _take(self, step: Step) -> list[m.Outcome]:
        self.now = step.now
        self._rows.extend(step.rows)
        for order in step.orders:
            if isinstance(order, m.StartOrder) and (seconds := self.length(order)) is not None:
                self._serial += 1
                heappush(self._agenda, (step.now + int(seconds * SECOND), self._serial, order))
        return [outcome for _, outcome in step.outcomes]

    def restart(self, down_s: float) -> None:
        """Stop the console and start it again after a while: what ran is begun anew."""
        self.snapshot()
        self._agenda.clear()
        down_from, self.now = self.now, self.now + int(down_s * SECOND)
        self._start = self._beaten = self.now
        self.core = rebuild(self.store.recover(), Policy())
        self._take(self.core.start(Reading(self.now, 0, down_from)))

    def snapshot(self) -> Snapshot:
        """Commit what has happened and show what stands."""
        if self._rows:
            self.store.commit(self.store.batch + 1, self.now, self._rows)
            self._rows = Rows()
        return replace(Publisher(self.core).current, batch=self.store.batch)

    def look(self) -> Look:
        """Look at it as a live console does."""
        return look(self.store, self.snapshot(), self.now)

    def rest(self) -> Store:
        """Leave the store as a console does that stops: live tasks published, rollups brought up to date."""
        self.store.publish_live(self.snapshot().rows(), self.store.batch)
        rollups.advance(self.store)
        return self.store
