"""Planted bugs: each a small change of the real core (or of the protocol around it) that a named invariant must find.

A mutant that only crashed would prove nothing, so each does its wrong thing tidily. The harmless ones change what may
be changed and must survive every check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine import messages as m
from engine.clock import Reading
from engine.core import Core
from engine.dispatch import Hold, Place, Queues, Service, Shifts
from engine.ledger import Detail
from engine.lifecycle import NEXT, RUNNING, Kind, Reason, Status
from engine.machine import Step
from engine.task import PROCESS, Task
from tests.simulation.world import World


@contextmanager
def allowed(event: str, status: Status, target: Status) -> Iterator[None]:
    """Let the table have one more edge, so that a mutant can go where it must not."""
    added = [(event, status, kind) for kind in Kind if (event, status, kind) not in NEXT]
    NEXT.update(dict.fromkeys(added, target))
    try:
        yield
    finally:
        for key in added:
            del NEXT[key]


class NoLeaseCheck(Core):
    """Takes any report for a running task, whatever lease it bears."""

    def _is_stale(self, task: Task, lease: int) -> bool:
        return task.lease is None


class FinishBeatsStop(Core):
    """Lets a finish that comes after the stop was asked for end the task Processed."""

    def _confirm_stop(self, task: Task, reason: str | None, detail: Detail | None = None) -> None:
        if reason == Reason.FINISHED_BEFORE_STOP and task.stage == PROCESS:
            with allowed("finish", Status.STOPPING, Status.PROCESSED):
                self._emit(task, "finish", task.host, dr=-1)
        else:
            super()._confirm_stop(task, reason, detail)


class StopNeverTimesOut(Core):
    """Waits for ever for a confirmation."""

    def _give_up_stopping(self, task: Task) -> None:
        pass


class _ChecksOnJoining(Queues):
    def begin_hold(self, hold: Hold, at: int) -> Shifts:
        """Hold only those sub-queues where nobody waits yet."""
        target = (hold.target_kind, hold.target)
        everybody = self._queues_of.get(target, [])
        self._queues_of[target] = [queue for queue in everybody if not queue.members]
        try:
            return super().begin_hold(hold, at)
        finally:
            self._queues_of[target] = everybody


class HoldCheckedBeforeClaimOnly(Core):
    """Asks for holds when a task joins, and not again when it is claimed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queues.__class__ = _ChecksOnJoining


class ResumeLiftsTheUnlisted(Core):
    """Lifts every hold there is."""

    def _lift_holds(self, action: m.LiftHolds) -> m.Outcome:
        return super()._lift_holds(m.LiftHolds(sorted(self.state.holds), action.reason))


class TaskAndFireApart(Core):
    """Submits a schedule's task now and tells its occurrence a step later: a crash may come between."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._later: list[tuple[Any, ...]] = []

    def _record_fire(self, *fire: Any) -> None:
        self._later.append(fire)

    def _pass_time(self, now: int, down_from: int | None) -> None:
        later, self._later = self._later, []
        for schedule, *rest in later:
            if schedule.id in self.state.schedules:
                super()._record_fire(schedule, *rest)
        super()._pass_time(now, down_from)


class FollowsTheClockBack(Core):
    """Believes the wall clock, also when it goes back."""

    def _advance(self, reading: Reading) -> int:
        return reading.now


class NoFirstHeartbeat(Core):
    """Does not count the silence of a service that never sent a heartbeat."""

    def _expect_report(self, service: Service) -> None:
        pass


class DeletesRunningTasks(Core):
    """Deletes whatever it is asked to delete."""

    def _delete_one(self, task: Task) -> str | None:
        if task.status not in RUNNING:
            return super()._delete_one(task)
        self.queues.release(self.state.service(task), task, task.stage)
        with allowed("stop", task.status, Status.STOPPED):
            self._emit(task, "stop", self._actor, Reason.DELETED, dr=-1)
        return None


class SuspensionFreesTheSlotTooEarly(Core):
    """Takes a request to suspend for its confirmation."""

    def _ask_for_suspension(self, task: Task, service: Service) -> None:
        super()._ask_for_suspension(task, service)
        if task.status in (Status.ACTIVE, Status.CONNECTING):
            self._emit(task, "suspended", task.host, Reason.HOLD, dr=-1, dq=1, detail={"checkpoint": 0.0})


class ActsBeforeCommit(World):
    """Lets orders leave when they are decided."""

    acts_before_commit = True


class NaiveClock(World):
    """Reads the wall clock as it is."""

    naive_clock = True


class _LastByName(Place):
    __slots__ = ()

    def least_loaded(self) -> Service | None:
        self.services.reverse()
        try:
            return super().least_loaded()
        finally:
            self.services.reverse()


class TiesTheOtherWay(Core):
    """Harmless: among equally loaded services takes the last by name."""

    def _open(self, reading: Reading, into: Step | None = None) -> Step:
        for place in self.queues.places.values():
            place.__class__ = _LastByName
        return super()._open(reading, into)


class _Tidy(Queues):
    def leave(self, task: Task) -> None:
        queue = self.waiting[task.id].queue
        super().leave(task)
        queue.heap = sorted(waiting.entry for waiting in queue.members.values())


class TidiesAllTheTime(Core):
    """Harmless: rebuilds a sub-queue's heap whenever somebody leaves."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queues.__class__ = _Tidy


@dataclass(frozen=True)
class Mutant:
    """What is changed, and the invariants of which one must find it (none: it must survive)."""

    core: type[Core] = Core
    world: type[World] = World
    found_by: tuple[str, ...] = ()


MUTANTS = {
    "no lease check": Mutant(NoLeaseCheck, found_by=("lease_is_current",)),
    "finish beats stop": Mutant(FinishBeatsStop, found_by=("stopping_never_processed", "legal_edges")),
    "stop never times out": Mutant(StopNeverTimesOut, found_by=("stop_settles",)),
    "hold checked before claim only": Mutant(HoldCheckedBeforeClaimOnly, found_by=("no_claim_under_hold",)),
    "resume lifts what was not listed": Mutant(ResumeLiftsTheUnlisted, found_by=("lifted_only_listed",)),
    "crash between task and schedule": Mutant(TaskAndFireApart, found_by=("task_and_fire_same_batch",)),
    "clock set back": Mutant(FollowsTheClockBack, NaiveClock, found_by=("time_never_goes_back",)),
    "service without first heartbeat": Mutant(NoFirstHeartbeat, found_by=("lost_service_rescued",)),
    "delete of a running task": Mutant(DeletesRunningTasks, found_by=("running_never_deleted", "legal_edges")),
    "order to executor before commit": Mutant(world=ActsBeforeCommit, found_by=("order_after_commit",)),
    "suspension frees the slot too early": Mutant(
        SuspensionFreesTheSlotTooEarly, found_by=("slot_freed_only_by_confirmation",)
    ),
    "harmless: ties the other way": Mutant(TiesTheOtherWay),
    "harmless: tidies all the time": Mutant(TidiesAllTheTime),
}
