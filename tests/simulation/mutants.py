"""Planted bugs: each a small change of the real core (or of the protocol around it) that a named invariant must find.

A mutant that only crashed would prove nothing, so each does its wrong thing tidily. The harmless ones change what may
be changed and must survive every check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from engine import messages as m
from engine.clock import SECOND, Reading
from engine.core import Core
from engine.deciding import Policy, Step
from engine.dispatch import Queues
from engine.holds import Hold, Throttle
from engine.lanes import Service
from engine.ledger import Detail, SavedView
from engine.lifecycle import NEXT, RUNNING, Cause, Kind, Reason, Status
from engine.outbox import Batch
from engine.state import Blackout, Row, Schedule, State
from engine.subqueues import Place, Shifts
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


class AllowsOneMoreAttempt(Core):
    """Counts the attempts from the second on."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        policy = policy or Policy()
        super().__init__(state, replace(policy, attempts=policy.attempts + 1))


class EditsWhateverIsThere(Core):
    """Does not ask which version the editor saw."""

    def _edit_one(self, action: m.Edit, reason: str | None) -> None:
        task = self.state.tasks.get(action.task)
        super()._edit_one(action if task is None else replace(action, version=task.version), reason)


class ForgetsRequestsAtRestart(Core):
    """Does not read back what was answered before the restart."""

    def remember(self, answers: Mapping[str, tuple[int, m.Outcome]], actors: Mapping[str, str] | None = None) -> None:
        pass


class ForgetsViewsAtRestart(Core):
    """Does not read back which views were kept before the restart."""

    def recall(self, kept: Iterable[SavedView]) -> None:
        pass


class GivesOrdersOnce(Core):
    """After a restart trusts that executors elsewhere got their orders before."""

    def _order_again(self, task: Task, service: Service) -> None:
        pass


class SuspensionNeverTimesOut(Core):
    """Waits for ever for a checkpoint."""

    def _set_deadline(self, after: int, what: str, task: Task) -> None:
        if what != "suspend":
            super()._set_deadline(after, what, task)


class ExpiryCountsHolds(Core):
    """Lets the time under a hold count towards the longest wait."""

    def _patience(self, task: Task, at: int) -> int:
        assert task.longest_wait_s is not None
        waited = sum(task.waits.values()) + sum(self.queues.split(task, at).values())
        return task.longest_wait_s * SECOND - waited


class UndoesForTheFirstDeletionOnly(Core):
    """Ends the time to undo a deletion when that of an earlier deletion of the same task is over."""

    def _ring(self, at: int, what: str, subject: Any) -> None:
        if what == "forget":
            self.state.deleted.pop(subject, None)
        else:
            super()._ring(at, what, subject)


class TellsLateWhatFellDue(Core):
    """Lets everything happen at the instant at which it is told."""

    def _ring(self, at: int, what: str, subject: Any) -> None:
        super()._ring(self._step.now, what, subject)


class KeepsDowntimeToItself(Core):
    """Does not tell that the console was down."""

    def _pass_time(self, now: int, down_from: int | None) -> None:
        super()._pass_time(now, None)


class DropsWhatItMissed(Core):
    """Does not tell the occurrences that an outage swallowed."""

    def _fired(self, schedule: Schedule, first: int, last: int, count: int, outcome: str, reason: str | None) -> None:
        if outcome != "coalesced":
            super()._fired(schedule, first, last, count, outcome, reason)


class FiresBesideAWaitingRun(Core):
    """Fires an occurrence although another run of the schedule waits."""

    def _fired(self, schedule: Schedule, first: int, last: int, count: int, outcome: str, reason: str | None) -> None:
        fires = reason == "still_waiting"
        super()._fired(schedule, first, last, count, "fired" if fires else outcome, None if fires else reason)


class RefreshesBesideAWaitingOne(Core):
    """Starts another refresh of a widget although one waits."""

    def _refresh_widget(self, action: m.RefreshWidget) -> m.Outcome:
        self.state.widgets.pop((action.business, action.site, action.widget), None)
        return super()._refresh_widget(action)


class _PrioritiesAside(Queues):
    def join(self, task: Task, stage: str, since: int, at: int) -> None:
        priority, task.priority = task.priority, 5
        try:
            super().join(task, stage, since, at)
        finally:
            task.priority = priority


class ForgetsPriority(Core):
    """Lets everybody queue as if all had the same priority."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queues.__class__ = _PrioritiesAside


class _Crowded(Service):
    __slots__ = ()

    def has_room(self, lane: str) -> bool:
        return len(self.running) < self.slots


class ScansSideBySide(Core):
    """Treats a scan like any other task of an explorer."""

    def _dispatch(self) -> None:
        for service in self.queues.services.values():
            service.__class__ = _Crowded
        super()._dispatch()


class ShiftsUntold(Core):
    """Writes no row when waiting tasks begin to wait for another cause."""

    def _record(self, row: Row) -> None:
        shifts = len(self._step.rows.queue_shift)
        super()._record(row)
        del self._step.rows.queue_shift[shifts:]


class ChangesSlotsByHand(Core):
    """Changes the state without a row."""

    def _set_service(self, action: m.SetService) -> m.Outcome:
        outcome = super()._set_service(replace(action, slots=None))
        if action.slots is not None:
            self.queues.services[action.business, action.service].slots = action.slots
        return outcome


class _Lumping(Queues):
    def split(self, task: Task, at: int) -> dict[str, int]:
        waited = sum(super().split(task, at).values())
        return {Cause.CAPACITY: waited} if waited else {}


class BlamesCapacity(Core):
    """Says of every wait that it was for want of capacity."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queues.__class__ = _Lumping


class _Drowsy(Queues):
    def release(self, service: Service, task: Task, stage: str) -> None:
        awake = dict(self.dirty)
        super().release(service, task, stage)
        self.dirty = awake


class SleepsWhenASlotIsFreed(Core):
    """Does not look for the next task when a slot becomes free."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queues.__class__ = _Drowsy


class LosesPatience(Core):
    """Takes a service for lost too soon."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, replace(policy or Policy(), silence=10 * SECOND))


class ForgetsWhatItSkipped(Core):
    """Reads back what requests changed, and not what they were refused for."""

    def remember(self, answers: Mapping[str, tuple[int, m.Outcome]], actors: Mapping[str, str] | None = None) -> None:
        super().remember({request: (at, outcome._replace(skipped=())) for request, (at, outcome) in answers.items()})


class _Trusted(Service):
    __slots__ = ()

    @property
    def available(self) -> bool:
        return self.wanted == "online" and not self.lost


class TrustsTheSuspect(Core):
    """Gives work to a service that did not confirm a stop."""

    def _dispatch(self) -> None:
        for service in self.queues.services.values():
            service.__class__ = _Trusted
        super()._dispatch()


class LosesStaleReports(Core):
    """Numbers the refusal of a report and does not write it."""

    def _refuse_report(self, report: m.Report, task: Task | None) -> None:
        super()._refuse_report(report, task)
        self._step.rows.service_event.pop()


class WritesRowsWithoutReason(Core):
    """Leaves the reason out of the row of a failed task."""

    def _failed(self, task: Task, report: m.Failed) -> None:
        super()._failed(task, report)
        done = self._step.rows.task_done
        done[-1] = done[-1]._replace(reason=None)


class SkipsAStep(Core):
    """Puts a collected task into the processing queue without a word that it was collected."""

    def _collected(self, task: Task, report: m.Collected) -> None:
        if task.status in (Status.ACTIVE, Status.CONNECTING):
            with allowed("hand_over", task.status, Status.PROCESSING_QUEUED):
                self.queues.release(self.state.service(task), task, task.stage)
                self._emit(task, "hand_over", task.host, dp=1, dr=-1, attempt=0)
            task.lease = None
        else:
            super()._collected(task, report)


class FiresAgainAfterARestart(Core):
    """Takes the last occurrence for the next one when it starts."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        for schedule in state.schedules.values() if state is not None else ():
            assert schedule.next_at is not None
            schedule.next_at = schedule.spec.rule.next_after(schedule.next_at - 301 * SECOND)
        super().__init__(state, policy)


class HoldsAWindowAgainAfterARestart(Core):
    """Takes the last time of a window for the next one when it starts, if it is not over yet."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        for window in state.blackouts.values() if state is not None else ():
            (before, *_) = window.spec.rule.occurrences(state.last - window.lasts, state.last) or (window.next_at,)
            window.next_at = min(window.next_at, before)
        super().__init__(state, policy)


class HoldsOneTimeOnly(Core):
    """Passes over a time of a window while another hold is over its site."""

    def _place_blackout(self, blackout: Blackout, nominal: int, at: int) -> None:
        if any(hold.blackout is not None for hold in self.queues.holds.values()):
            self._blackout_fire(blackout, (nominal, nominal, 1), None, at)
        else:
            super()._place_blackout(blackout, nominal, at)


class ForgetsToEndWindows(Core):
    """Does not end what a window holds until somebody lifts it."""

    def _end_hold(self, hold: Hold, event: str, actor: str, at: int, reason: str | None = None) -> None:
        if event != "expired" or hold.blackout is None:
            super()._end_hold(hold, event, actor, at, reason)


class RampsCostNothing(Core):
    """Lets who starts under a ramp keep its token."""

    def _pay(self, throttles: Iterable[Throttle]) -> None:
        super()._pay([throttle for throttle in throttles if throttle.rate is None])


class CountsRunningOncePerStep(Core):
    """Looks once in a step how many of a user run, though several places claim in it."""

    def _pay(self, throttles: Iterable[Throttle]) -> None:
        super()._pay([throttle for throttle in throttles if throttle.rate is not None])


class TokensWhenItLooks(Core):
    """Counts a ramp's next token from when it is told."""

    def _ring(self, at: int, what: str, subject: Any) -> None:
        super()._ring(self._step.now if what == "token" else at, what, subject)


class CapsStayShut(Core):
    """Does not look again at a cap once it is shut."""

    def _settle_throttles(self) -> None:
        shut = [throttle for throttle in self.queues.caps.values() if throttle.shut]
        for throttle in shut:
            del self.queues.throttles[throttle.id]
        super()._settle_throttles()
        self.queues.throttles.update({throttle.id: throttle for throttle in shut})


class RampsOverEverythingHeld(Core):
    """Slows down all that any hold was ever on, not only what was lifted."""

    def _begin_ramp(self, lifted: list[Hold], rate: int, actor: str, reason: str | None) -> None:
        super()._begin_ramp([*lifted, *self.state.holds.values()], rate, actor, reason)


class ForgetsThrottlesAtRestart(Core):
    """Does not read back which ramps and caps were in force."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        for throttle in list(state.queues.throttles.values()) if state is not None else ():
            assert state is not None
            state.queues.end_throttle(throttle, state.last)
        super().__init__(state, policy)


class ActsBeforeCommit(World):
    """Lets orders leave when they are decided."""

    acts_before_commit = True


class AcknowledgesAFailedCommit(World):
    """Takes a commit that failed for done."""

    def _write(self, batch: Batch) -> bool:
        written = super()._write(batch)
        return written or self.durable[-1].number != batch.number


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
    "finish beats stop": Mutant(FinishBeatsStop, found_by=("stopping_never_processed",)),
    "stop never times out": Mutant(StopNeverTimesOut, found_by=("stop_settles",)),
    "hold checked before claim only": Mutant(HoldCheckedBeforeClaimOnly, found_by=("no_claim_under_hold",)),
    "resume lifts what was not listed": Mutant(ResumeLiftsTheUnlisted, found_by=("lifted_only_listed",)),
    "crash between task and schedule": Mutant(TaskAndFireApart, found_by=("task_and_fire_same_batch",)),
    "clock set back": Mutant(FollowsTheClockBack, NaiveClock, found_by=("time_never_goes_back",)),
    "service without first heartbeat": Mutant(NoFirstHeartbeat, found_by=("lost_service_rescued",)),
    "delete of a running task": Mutant(DeletesRunningTasks, found_by=("running_never_deleted",)),
    "order to executor before commit": Mutant(world=ActsBeforeCommit, found_by=("order_after_commit",)),
    "suspension frees the slot too early": Mutant(
        SuspensionFreesTheSlotTooEarly, found_by=("slot_freed_only_by_confirmation",)
    ),
    "one attempt more": Mutant(AllowsOneMoreAttempt, found_by=("attempts_bounded",)),
    "edit without compare": Mutant(EditsWhateverIsThere, found_by=("edits_compare_and_set",)),
    "requests forgotten at a restart": Mutant(ForgetsRequestsAtRestart, found_by=("a_request_acts_once",)),
    "views forgotten at a restart": Mutant(ForgetsViewsAtRestart, found_by=("views_have_names_of_their_own",)),
    "orders not given again after a restart": Mutant(GivesOrdersOnce, found_by=("everything_settles",)),
    "suspension never times out": Mutant(SuspensionNeverTimesOut, found_by=("suspensions_lapse_on_time",)),
    "expiry counts holds": Mutant(ExpiryCountsHolds, found_by=("expiry_is_exact",)),
    "undo for the first deletion only": Mutant(UndoesForTheFirstDeletionOnly, found_by=("undo_span_kept",)),
    "what fell due told late": Mutant(TellsLateWhatFellDue, found_by=("due_at_its_time",)),
    "downtime kept quiet": Mutant(KeepsDowntimeToItself, found_by=("downtime_is_told",)),
    "missed occurrences dropped": Mutant(DropsWhatItMissed, found_by=("no_occurrence_lost",)),
    "a run beside a waiting run": Mutant(FiresBesideAWaitingRun, found_by=("at_most_one_waiting_run",)),
    "a refresh beside a waiting one": Mutant(RefreshesBesideAWaitingOne, found_by=("at_most_one_waiting_refresh",)),
    "priority forgotten": Mutant(ForgetsPriority, found_by=("priority_order",)),
    "scans side by side": Mutant(ScansSideBySide, found_by=("one_scan_per_explorer",)),
    "shifts of cause untold": Mutant(ShiftsUntold, found_by=("ledger_sums_equal_state",)),
    "slots changed by hand": Mutant(ChangesSlotsByHand, found_by=("replay_equals_state",)),
    "every wait put down to capacity": Mutant(BlamesCapacity, found_by=("waits_add_up",)),
    "asleep when a slot is freed": Mutant(SleepsWhenASlotIsFreed, found_by=("nothing_idles",)),
    "impatient with services": Mutant(LosesPatience, found_by=("no_false_alarm",)),
    "refusals forgotten at a restart": Mutant(ForgetsWhatItSkipped, found_by=("same_request_same_outcome",)),
    "work for a suspect": Mutant(TrustsTheSuspect, found_by=("slots_respected",)),
    "refused reports lost": Mutant(LosesStaleReports, found_by=("event_ids_gap_free",)),
    "rows without a reason": Mutant(WritesRowsWithoutReason, found_by=("rows_agree_with_events",)),
    "a step skipped": Mutant(SkipsAStep, found_by=("legal_edges",)),
    "an occurrence again after a restart": Mutant(FiresAgainAfterARestart, found_by=("one_task_per_occurrence",)),
    "a window again after a restart": Mutant(HoldsAWindowAgainAfterARestart, found_by=("one_hold_per_window",)),
    "a window passed over": Mutant(HoldsOneTimeOnly, found_by=("no_window_lost",)),
    "windows that do not end": Mutant(ForgetsToEndWindows, found_by=("no_hold_outside_its_window",)),
    "a failed commit acknowledged": Mutant(world=AcknowledgesAFailedCommit, found_by=("acknowledged_is_durable",)),
    "a ramp that costs nothing": Mutant(RampsCostNothing, found_by=("ramps_are_paced",)),
    "running tasks counted once per step": Mutant(CountsRunningOncePerStep, found_by=("caps_respected",)),
    "tokens counted from when they are told": Mutant(TokensWhenItLooks, found_by=("tokens_come_in_time",)),
    "caps that stay shut": Mutant(CapsStayShut, found_by=("caps_open_at_once",)),
    "ramps over everything held": Mutant(RampsOverEverythingHeld, found_by=("ramps_cover_what_was_lifted",)),
    "throttles forgotten at a restart": Mutant(ForgetsThrottlesAtRestart, found_by=("replay_equals_state",)),
    "harmless: ties the other way": Mutant(TiesTheOtherWay),
    "harmless: tidies all the time": Mutant(TidiesAllTheTime),
}
