"""What the engine does by itself: time passes, and tasks start. Pure.

The lower half of the core, put together: what came due is done in the order of its nominal instants, whatever it is
(`holding`, `firing`), then schedules fire; deadlines run over time that really ticked (`hearing`); at last whatever may
start is started. No instant ever comes twice, whatever the clock says, and none comes before the last one.
"""

from __future__ import annotations

from heapq import heappop
from typing import Any

from . import messages as m
from .clock import SECOND, Reading
from .deciding import ENGINE, Policy, Step
from .firing import Firing
from .hearing import Hearing
from .lanes import Service
from .ledger import new_row
from .lifecycle import COLLECTING, Status
from .state import State
from .task import PROCESS, Task


class Machine(Firing, Hearing):
    """A state and its clock: open a step, pass the time, hear and obey, run the deadlines, dispatch."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._arm_everything()

    def _arm_everything(self) -> None:
        """Set the timers that a rebuilt state calls for."""
        for task in self.state.tasks.values():
            self._arm(task)
            if task.due:
                self._arm_expiry(task, self.state.last)
        for task in self.state.deleted.values():
            self._set_timer((task.finished_at or 0) + self.policy.undo, "forget", task.id)
        for hold in self.state.holds.values():
            self._arm_hold(hold)
        for throttle in self.queues.throttles.values():
            if throttle.rate is not None and throttle.shut:
                self._set_timer(throttle.opens_at, "token", throttle.id)
        for schedule in self.state.schedules.values():
            self._arm_schedule(schedule)
        for blackout in self.state.blackouts.values():
            self._arm_blackout(blackout)

    def _open(self, reading: Reading, into: Step | None = None) -> Step:
        self._ticked = reading.ticked
        now = self._advance(reading)
        if into is None:
            into = Step(now)
        into.now = now
        self._step = into
        return into

    def _advance(self, reading: Reading) -> int:
        """Never let an instant come twice, nor one before the console went down, whatever the clock says."""
        return max(reading.now, reading.down_from or 0, self.state.last + 1)

    def _pass_time(self, now: int, down_from: int | None) -> None:
        """Let everything come due that was to come by now, in nominal order; then the schedules."""
        if down_from is not None and not self.queues.console_is_down:
            self._set_timer(max(down_from, self.state.last), "go_down", None)
        fires: list[int] = []
        while self._timers and self._timers[0][0] <= now:
            at, _, what, subject = heappop(self._timers)
            if what == "fire":
                fires.append(subject)
            else:
                self._ring(at, what, subject)
        if self.queues.console_is_down:
            self._service_event(None, "console_up", at=now)
        if self.state.owed:
            self._release_owed()
        for schedule_id in fires:
            self._fire(schedule_id, now)

    def _ring(self, at: int, what: str, subject: Any) -> None:
        """Do what a timer was set for, if it still applies. The instant is the nominal one."""
        at = max(at, self.state.last)
        if what == "due":
            task = self.state.tasks.get(subject)
            if task is not None and task.status is Status.NEW and not task.due and (task.due_at or 0) <= at:
                self._emit(task, "due", ENGINE, dq=1, at=at)
                self._arm_expiry(task, at)
        elif what == "expire":
            self._expire(subject, at)
        elif what == "begin_hold":
            hold = self.state.holds.get(subject)
            if hold is not None and not hold.begun:
                self._begin_hold(hold, at)
        elif what == "end_hold":
            hold = self.state.holds.get(subject)
            if hold is not None:
                self._end_hold(hold, "expired", ENGINE, at)
        elif what == "black_out":
            self._black_out(subject, at)
        elif what == "token":
            throttle = self.queues.throttles.get(subject)
            if throttle is not None and throttle.shut and throttle.opens_at <= at:
                self._throttle_event(throttle, "open", at=at)
        elif what == "forget":
            task = self.state.deleted.get(subject)
            if task is not None and (task.finished_at or 0) + self.policy.undo <= at:  # else deleted again meanwhile
                del self.state.deleted[subject]
        elif what == "go_down":
            self._service_event(None, "console_down", at=at)

    def _run_deadlines(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._ticked:
            _, _, what, task_id, lease, hold_id = heappop(self._deadlines)
            task = self.state.tasks.get(task_id)
            if task is None or task.lease != lease:
                continue
            if what == "stop" and task.status is Status.STOPPING:
                self._give_up_stopping(task)
            elif what == "suspend" and task.status in COLLECTING and hold_id is not None and task.suspend == hold_id:
                self._emit(task, "suspend_lapsed", ENGINE, "not_answered")
        if self._ticked - self._looked >= SECOND:
            self._looked = self._ticked
            self._look_for_silence()

    # --- dispatch

    def _dispatch(self) -> None:
        """Start whatever may start now. Holds, services and exclusivity are asked here and nowhere before."""
        if self.queues.throttles:
            self._settle_throttles()
        if self.queues.dirty:
            for task, service in self.queues.claims():
                self._claim(task, service)

    def _claim(self, task: Task, service: Service) -> None:
        self._expect_report(service)
        throttles = tuple(self.queues.waiting[task.id].queue.throttles) if self.queues.throttles else ()
        if task.status is Status.PROCESSING_QUEUED:
            self._emit(task, "process", ENGINE, dp=-1, dr=1, service=service.name)
        else:
            self._emit(task, "claim", ENGINE, dq=-1, dr=1, service=service.name)
        if throttles:
            self._pay(throttles)
        self._order_start(task, service)

    def _order_start(self, task: Task, service: Service) -> None:
        assert task.lease is not None
        self._step.orders.append(
            new_row(m.StartOrder, (
                service.executor, task.business, task.site, service.name, task.id, task.lease, task.stage,
                task.kind, task.target, task.attempt, 0.0 if task.stage == PROCESS else task.checkpoint, task.name,
            ))
        )
