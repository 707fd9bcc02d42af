"""What the engine does by itself: pass time, keep holds, fire schedules, mind silence, hear reports, dispatch. Pure.

The lower half of the core. Every change is a row first, then applied (`state.apply`); nothing else writes to the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from . import messages as m
from .clock import MINUTE, SECOND, Reading
from .dispatch import Hold, Reach, Service, Shifts, Throttle
from .ledger import (
    BlackoutEvent,
    BlackoutFire,
    Detail,
    HoldEvent,
    QueueShift,
    ReportResult,
    Rows,
    ScheduleEvent,
    ScheduleFire,
    ServiceEvent,
    TaskEvent,
    ThrottleEvent,
    WidgetRefresh,
    business_of,
    digest,
    new_row,
)
from .lifecycle import COLLECTING, NEXT, TERMINAL, Reason, Status, own_name, result_site
from .state import Blackout, Business, Row, Schedule, State, apply, apply_task, collecting_under
from .task import COLLECT, PROCESS, Task

ENGINE = "engine"
LONGEST_LOOK_GAP = 15 * SECOND  #: an executor that did not look at its services for longer was not listening


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits that the core keeps, in microseconds where they are times."""

    stop_deadline: int = 60 * SECOND
    suspend_deadline: int = 60 * SECOND
    silence: int = 30 * SECOND
    attempts: int = 3
    undo: int = 10 * MINUTE
    remember: int = 10 * MINUTE  #: how long a request id keeps its outcome
    fair_share: bool = False


@dataclass(slots=True)
class Step:
    """What one step decided. Rows are to be committed; the rest may leave only after that."""

    now: int
    rows: Rows = field(default_factory=Rows)
    outcomes: list[tuple[str, m.Outcome]] = field(default_factory=list)
    orders: list[m.Order] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)  #: tasks whose rows a snapshot must look at again


@dataclass(slots=True)
class _Lookout:
    """An executor's own clock (it stands while nobody looks), when it last looked, and what was silent then."""

    clock: int
    looked: int
    looked_at: int  #: the instant of it
    silent: Set[tuple[str, str]] = frozenset()


class Machine:
    """A state, its timers and deadlines, and the step that is being decided."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.state = state or State()
        self.queues = self.state.queues
        self.queues.fair_share = self.policy.fair_share
        self._timers: list[tuple[int, int, str, Any]] = []  #: by wall instant
        #: by ticked time: what, task, lease, and the hold that asked to suspend, if one did
        self._deadlines: list[tuple[int, int, str, int, int, int | None]] = []
        self._serial = 0
        self._ticked = 0
        self._looked = 0
        self._lookouts: dict[str, _Lookout] = {}  #: executors that watch all of their services at once
        self._watched = 0  #: how many services there were when it was last sorted out who is unwatched
        self._unwatched: list[Service] = []
        self._unwell = {key for key, s in self.queues.services.items() if s.lost or s.suspect}
        self._parked: dict[int, Task] = {}  #: expiries that wait for a hold to end
        self._step = Step(self.state.last)
        self._request: m.Command | None = None
        self._arm_everything()

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

    # --- emitting: every change is a row first

    def _record(self, row: Row) -> None:
        """Write and apply a row other than a task's event, and tell what it shifts for tasks that wait."""
        self._add(row)
        shifts: Shifts = apply(self.state, row)
        for (business, site, kind, queue, before, after), n in shifts.items():
            self._step.rows.queue_shift.append(
                QueueShift(row.occurred_at, business, site, kind, queue, before, after, n)
            )

    def _add(self, row: Row) -> None:
        rows = self._step.rows
        if isinstance(row, ServiceEvent):
            rows.service_event.append(row)
        elif isinstance(row, HoldEvent):
            rows.hold_event.append(row)
        elif isinstance(row, ThrottleEvent):
            rows.throttle_event.append(row)
        elif isinstance(row, ScheduleEvent):
            rows.schedule_event.append(row)
        elif isinstance(row, ScheduleFire):
            rows.schedule_fire.append(row)
        elif isinstance(row, BlackoutEvent):
            rows.blackout_event.append(row)
        elif isinstance(row, BlackoutFire):
            rows.blackout_fire.append(row)

    def _record_task(self, row: TaskEvent) -> None:
        self._step.rows.task_event.append(row)
        apply_task(self.state, row)
        self._step.touched.add(row.task_id)

    def _emit(
        self, task: Task, event: str, actor: str, reason: str | None = None, *, dq: int = 0, dp: int = 0, dr: int = 0,
        service: str | None = None, attempt: int | None = None, detail: Detail | None = None, at: int | None = None,
    ) -> None:
        """Write and apply one transition of a task; fill in status, lease, cause and split."""
        if at is None:
            at = self._step.now
        status, queues = task.status, self.queues
        to_status = NEXT[event, status, task.kind]
        event_id = self.state.businesses[task.business].last_event + 1
        cause: str | None = None
        waiting = queues.waiting.get(task.id)
        if waiting is not None:
            cause = waiting.queue.cause
            if dq < 0 or dp < 0 or (event == "edit" and _moves(task, detail)):
                waited = queues.split(task, at)
                if waited:
                    detail = {**detail, "waited": waited} if detail else {"waited": waited}
        elif dq > 0 or dp > 0:
            cause = queues.queue_for(task, PROCESS if dp else COLLECT, at).cause
        lease = task.lease
        if service is not None:  # a claim
            lease = event_id
        elif lease is not None:
            service = task.processor if task.stage == PROCESS else task.service
        row = new_row(
            TaskEvent, (
                event_id, at, task.id, event, status, to_status, reason, actor, task.business, task.site, task.kind,
                task.owner, service, lease, task.attempt if attempt is None else attempt, cause, dq, dp, dr,
                self._request.request_id if self._request else None, detail,
            ),
        )
        step = self._step
        step.rows.task_event.append(row)
        apply_task(self.state, row)
        step.touched.add(task.id)
        if to_status in TERMINAL:
            step.rows.task_done.append(task.row())
            if task.widget is not None and to_status is Status.PROCESSED:
                self._refreshed(task)

    def _refreshed(self, task: Task) -> None:
        assert task.finished_at is not None
        assert task.widget is not None
        wait = sum(task.waits.values()) + (task.process_wait_us or 0)
        self._step.rows.widget_refresh.append(
            WidgetRefresh(
                task.finished_at, task.business, task.site, task.widget, task.id, wait, task.process_us or 0,
                task.finished_at - task.created_at, task.joined,
            )
        )

    def _service_event(
        self, service: Service | None, event: str, actor: str = ENGINE, reason: str | None = None,
        detail: Detail | None = None, at: int | None = None,
    ) -> None:
        business = self.state.business(service.business if service else None)
        self._record(
            ServiceEvent(
                business.next_event(), self._step.now if at is None else at, business.name, service.site if service else
                None, service.name if service else None, event, reason, actor, self._request.request_id if self._request
                else None, detail,
            )
        )

    def _hold_event(self, hold: Hold, event: str, actor: str, at: int, reason: str | None = None) -> None:
        business = self.state.business(hold.business)
        self._record(
            HoldEvent(
                business.next_event(), at, hold.id, event, hold.business, hold.site, hold.target_kind, hold.target,
                reason, actor, hold.from_at, hold.until_at, hold.suspend, self._request.request_id if self._request else
                None,
            )
        )

    def _throttle_event(
        self, throttle: Throttle, event: str, actor: str = ENGINE, reason: str | None = None, at: int | None = None,
        at_most: int | None = None, detail: Detail | None = None,
    ) -> None:
        business = self.state.business(throttle.business)
        self._record(
            ThrottleEvent(
                business.next_event(), self._step.now if at is None else at, throttle.id,
                "cap" if throttle.rate is None else "ramp", event, throttle.business, throttle.site, throttle.owner,
                throttle.rate, throttle.at_most if at_most is None else at_most, reason, actor,
                self._request.request_id if self._request else None, detail,
            )
        )

    # --- submission, for people and schedules alike

    def _submit(
        self, new: m.NewTask, business: Business, actor: str, schedule_id: int | None = None, widget: str | None = None
    ) -> Task:
        now = self._step.now
        due = new.due_at is None or new.due_at <= now
        cause = None
        if due:
            key = (new.business, COLLECT, new.site, new.kind, new.requested_service, new.owner, schedule_id)
            cause = self.queues.queue(key, now).cause
        facts: Detail = {"name": new.name, "initiator": new.initiator}
        if new.target is not None:
            facts["target"] = new.target
        if new.target_kind is not None:
            facts["target_kind"] = new.target_kind
        if new.scope is not None:
            facts["scope"] = new.scope
        if new.requested_service is not None:
            facts["requested_service"] = new.requested_service
        if new.priority != 5:
            facts["priority"] = new.priority
        if new.due_at is not None:
            facts["due_at"] = new.due_at
        if new.longest_wait_s is not None:
            facts["longest_wait_s"] = new.longest_wait_s
        if new.rerun_of is not None:
            facts["rerun_of"] = new.rerun_of
        if new.source != "live":
            facts["source"] = new.source
        if new.created_by is not None and new.created_by != actor:
            facts["created_by"] = new.created_by
        if schedule_id is not None:
            facts["schedule_id"] = schedule_id
        if widget is not None:
            facts["widget"] = widget
        task_id = business.last_task + 1
        self._record_task(
            new_row(TaskEvent, (
                business.last_event + 1, now, task_id, "submit", None, Status.NEW, None, actor, new.business, new.site,
                new.kind, new.owner, None, None, 0, cause, 1 if due else 0, 0, 0,
                self._request.request_id if self._request else None, facts,
            ))
        )
        task = self.state.tasks[task_id]
        if not due:
            self._arm(task)
        elif task.longest_wait_s is not None:
            self._arm_expiry(task, now)
        return task

    # --- time

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

    def _set_timer(self, at: int, what: str, subject: Any) -> None:
        self._serial += 1
        heappush(self._timers, (at, self._serial, what, subject))

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

    def _arm(self, task: Task) -> None:
        if task.status is Status.NEW and not task.due:
            assert task.due_at is not None
            self._set_timer(task.due_at, "due", task.id)

    def _arm_hold(self, hold: Hold) -> None:
        if not hold.begun:
            self._set_timer(hold.from_at, "begin_hold", hold.id)
        if hold.until_at is not None:
            self._set_timer(hold.until_at, "end_hold", hold.id)

    def _arm_schedule(self, schedule: Schedule) -> None:
        if schedule.next_at is not None:
            self._set_timer(schedule.next_at, "fire", schedule.id)

    def _arm_blackout(self, blackout: Blackout) -> None:
        self._set_timer(blackout.next_at, "black_out", blackout.id)

    # --- expiry: the longest wait counts from joining, time under a hold left out

    def _arm_expiry(self, task: Task, at: int) -> None:
        if task.longest_wait_s is None or task.id not in self.queues.waiting:
            return
        if self.queues.waiting[task.id].queue.holds:
            self._parked[task.id] = task
        else:
            self._set_timer(at + max(0, self._patience(task, at)), "expire", task.id)

    def _patience(self, task: Task, at: int) -> int:
        """Tell how much longer a task may wait, in microseconds."""
        assert task.longest_wait_s is not None
        waited = self.queues.split(task, at)
        spent = sum(us for cause, us in task.waits.items() if cause != "hold")
        return task.longest_wait_s * SECOND - spent - sum(us for cause, us in waited.items() if cause != "hold")

    def _expire(self, task_id: int, at: int) -> None:
        task = self.state.tasks.get(task_id)
        if task is None or task.status is not Status.NEW or task_id not in self.queues.waiting:
            return
        if self.queues.waiting[task_id].queue.holds or self._patience(task, at) > 0:
            self._arm_expiry(task, at)
        else:
            self._emit(task, "expire", ENGINE, Reason.EXPIRED, dq=-1, at=at)

    def _unpark(self, at: int) -> None:
        for task in [t for t in self._parked.values() if not self._is_held(t)]:
            del self._parked[task.id]
            self._arm_expiry(task, at)

    def _is_held(self, task: Task) -> bool:
        waiting = self.queues.waiting.get(task.id)
        return waiting is not None and bool(waiting.queue.holds)

    # --- holds

    def _begin_hold(self, hold: Hold, at: int) -> None:
        self._hold_event(hold, "begun", hold.actor, at)
        for ramp in [one for one in self.queues.throttles.values() if one.rate is not None]:
            if not any(ramp.was_first(queue) for queue in ramp.queues if not queue.holds):
                self._end_throttle(ramp, ENGINE, "held" if ramp.left else "released", at)
        if not hold.suspend:
            return
        for task in collecting_under(self.state, hold):
            if task.suspend is None:
                self._emit(task, "ask_to_suspend", ENGINE, Reason.HOLD, detail={"hold_id": hold.id}, at=at)
                self._ask_for_suspension(task, self.state.service(task))

    def _ask_for_suspension(self, task: Task, service: Service) -> None:
        assert task.lease is not None
        self._step.orders.append(m.SuspendOrder(service.executor, service.business, service.name, task.id, task.lease))
        self._set_deadline(self.policy.suspend_deadline, "suspend", task)

    def _end_hold(self, hold: Hold, event: str, actor: str, at: int, reason: str | None = None) -> None:
        self._hold_event(hold, event, actor, at, reason)
        if hold.suspend:
            for task in collecting_under(self.state, hold):
                if task.suspend == hold.id:
                    self._withdraw_suspension(task, at)
        self._unpark(at)

    def _withdraw_suspension(self, task: Task, at: int) -> None:
        """Let a task run on, unless another hold in force asks it to suspend as well."""
        over = self.queues.holds_over(task.business, task.site, task.kind, task.owner, task.schedule_id)
        other = next((hold for hold in over if hold.suspend), None)
        if other is None:
            self._emit(task, "suspend_lapsed", ENGINE, "withdrawn", at=at)
        else:
            self._emit(task, "ask_to_suspend", ENGINE, Reason.HOLD, detail={"hold_id": other.id}, at=at)
            self._set_deadline(self.policy.suspend_deadline, "suspend", task)

    # --- blackout windows

    def _black_out(self, blackout_id: int, at: int) -> None:
        """Settle the next nominal time of a blackout window: hold its site until it is over, if it is not over yet."""
        blackout = self.state.blackouts.get(blackout_id)
        if blackout is None or blackout.next_at > at:  # it was removed, or edited since
            return
        nominal = blackout.next_at
        over = blackout.spec.rule.missed(nominal - 1, self._step.now - blackout.lasts)
        if over is None:
            self._place_blackout(blackout, nominal, at)
        else:
            self._blackout_fire(blackout, over, None, at)
        self._arm_blackout(blackout)

    def _place_blackout(self, blackout: Blackout, nominal: int, at: int) -> None:
        spec = blackout.spec
        hold = Hold(
            self.state.businesses[spec.business].next_event(), spec.business, spec.site, "site", spec.site, spec.reason,
            ENGINE, nominal, nominal + blackout.lasts, spec.suspend,
        )
        self._hold_event(hold, "placed", ENGINE, at, spec.reason)
        hold = self.state.holds[hold.id]
        self._blackout_fire(blackout, (nominal, nominal, 1), hold.id, at)
        self._begin_hold(hold, at)
        self._arm_hold(hold)

    def _blackout_fire(self, blackout: Blackout, times: tuple[int, int, int], hold_id: int | None, at: int) -> None:
        """Record what became of nominal times (first, last, how many), in the same step and so in the same commit."""
        spec = blackout.spec
        outcome = "missed" if hold_id is None else "held"
        self._record(
            BlackoutFire(
                self.state.businesses[spec.business].next_event(), at, spec.business, spec.site, blackout.id, *times,
                times[1] + blackout.lasts, hold_id, outcome,
            )
        )

    # --- throttles: a ramp after a resume, a cap of a user's running tasks

    def _begin_ramp(self, lifted: list[Hold], rate: int, actor: str, reason: str | None) -> None:
        """Let what the lifted holds kept, and no other keeps, start at a rate only; where there is something."""
        over = [_reach(hold) for hold in lifted]
        but = [_reach(hold) for hold in sorted(self.queues.holds.values(), key=lambda hold: hold.id)]
        places = {(hold.business, hold.site) for hold in lifted}
        business = lifted[0].business if len({b for b, _ in places}) == 1 else None
        site = lifted[0].site if len(places) == 1 else None
        ramp = Throttle(
            self.state.business(business).next_event(), business, site, None, rate, None, over, but, reason, actor,
            self._step.now,
        )
        if any(map(ramp.was_first, self.queues.reached(ramp))):
            self._throttle_event(ramp, "begun", actor, reason, detail={"over": over, "but": but})

    def _end_throttle(self, throttle: Throttle, actor: str, reason: str | None, at: int | None = None) -> None:
        self._throttle_event(throttle, "ended", actor, reason, at)

    def _settle_throttles(self) -> None:
        """Before anybody starts: end ramps that are through, and open or shut caps by what runs now."""
        for throttle in list(self.queues.throttles.values()):
            if throttle.rate is not None:
                if not throttle.left:
                    self._end_throttle(throttle, ENGINE, "released")
            elif throttle.shut == throttle.has_room:
                self._throttle_event(throttle, "open" if throttle.shut else "shut")

    def _pay(self, throttles: Iterable[Throttle]) -> None:
        """Shut the throttles whose token or last room a start has just taken."""
        for throttle in throttles:
            if throttle.rate is not None:
                self._throttle_event(throttle, "shut")
                self._set_timer(throttle.opens_at, "token", throttle.id)
            elif not throttle.has_room:
                self._throttle_event(throttle, "shut")

    # --- schedules

    def _release_owed(self) -> None:
        """Start the runs that were queued while a hold kept their schedules."""
        for schedule in [self.state.schedules[i] for i in sorted(self.state.owed)]:
            if not self._schedule_held(schedule):
                nominal = schedule.owed
                assert nominal is not None
                if schedule.waiting:
                    self._fired(schedule, nominal, nominal, 0, "skipped", "still_waiting")
                else:
                    self._fired(schedule, nominal, nominal, 0, "fired", "held")

    def _fire(self, schedule_id: int, now: int) -> None:
        """Settle every nominal time of a schedule up to now: one run, the others told."""
        schedule = self.state.schedules.get(schedule_id)
        if schedule is None or schedule.next_at is None or schedule.next_at > now:
            return
        missed = schedule.spec.rule.missed(schedule.next_at - 1, now)
        assert missed is not None
        first, last, count = missed
        if self._schedule_held(schedule):
            queued = schedule.spec.on_hold == "queue_one" and schedule.owed is None and not schedule.waiting
            self._fired(schedule, first, last, count, "queued" if queued else "skipped", "hold")
        else:
            if count > 1:
                before_last = schedule.spec.rule.missed(first - 1, last - 1)
                assert before_last is not None
                self._fired(schedule, first, before_last[1], count - 1, "coalesced", "late")
            if schedule.waiting:
                self._fired(schedule, last, last, 1, "skipped", "still_waiting")
            else:
                self._fired(schedule, last, last, 1, "fired", None)
        self._arm_schedule(schedule)

    def _fired(self, schedule: Schedule, first: int, last: int, count: int, outcome: str, reason: str | None) -> None:
        """Record what became of nominal times, and submit the run in the same step and so in the same commit."""
        business = self.state.businesses[schedule.spec.business]
        task_id = business.next_task() if outcome == "fired" else None
        if task_id is not None:
            spec = schedule.spec
            run = m.NewTask(
                spec.business, spec.site, spec.kind, own_name(spec.kind, spec.name, spec.target), spec.owner,
                "Schedule", spec.target, spec.target_kind, spec.scope, spec.requested_service, spec.priority, None,
                spec.longest_wait_s, created_by="Schedule",
            )
            self._submit(run, business, "schedule", schedule_id=schedule.id)
        self._record_fire(schedule, first, last, count, task_id, outcome, reason)

    def _record_fire(
        self, schedule: Schedule, first: int, last: int, count: int, task_id: int | None, outcome: str,
        reason: str | None,
    ) -> None:
        business, spec = self.state.businesses[schedule.spec.business], schedule.spec
        self._record(
            ScheduleFire(
                business.next_event(), self._step.now, spec.business, spec.site, schedule.id, first, last, count,
                task_id, outcome, reason,
            )
        )

    def _schedule_held(self, schedule: Schedule) -> bool:
        return any(
            hold.target_kind == "schedule" and hold.target == str(schedule.id)
            and hold.reaches(schedule.spec.business, schedule.spec.site)
            for hold in self.queues.holds.values()
        )

    # --- deadlines and silence, over ticked time

    def _set_deadline(self, after: int, what: str, task: Task) -> None:
        self._serial += 1
        assert task.lease is not None
        heappush(self._deadlines, (self._ticked + after, self._serial, what, task.id, task.lease, task.suspend))

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

    def _give_up_stopping(self, task: Task) -> None:
        service = self.state.service(task)
        self._emit(task, "fail", ENGINE, Reason.STOP_NOT_CONFIRMED, dr=-1)
        if not service.suspect:
            self._service_event(service, "suspect", reason=Reason.STOP_NOT_CONFIRMED)
            self._unwell.add((service.business, service.name))

    def _look_for_silence(self) -> None:
        """Lose who has been silent for too long. Services of a lookout are alive unless it says otherwise."""
        services = self.queues.services
        if self._watched != len(services):
            self._watched = len(services)
            self._unwatched = [s for s in services.values() if s.executor not in self._lookouts]
        for service in self._unwatched:
            self._lose_if_silent(service)
        for lookout in self._lookouts.values():
            for key in sorted(lookout.silent):
                if key in services:
                    self._lose_if_silent(services[key])

    def _lose_if_silent(self, service: Service) -> None:
        if service.wanted != "offline" and not service.lost and self._silent_for(service) > self.policy.silence:
            self._lose(service)

    def _silent_for(self, service: Service) -> int:
        """Tell how long a service has been silent while its executor was listening.

        A service that never reported counts from its first claim (`heard` is set then).
        """
        return 0 if service.heard is None else self._executor_clock(service) - service.heard

    def _executor_clock(self, service: Service) -> int:
        lookout = self._lookouts.get(service.executor)
        return self._ticked if lookout is None else lookout.clock

    def _look_out(self, report: m.Alive) -> None:
        """Take in what an executor that watches all of its services has seen."""
        lookout = self._lookouts.get(report.executor)
        if lookout is None:
            lookout = self._lookouts[report.executor] = _Lookout(
                self._ticked, self._ticked, self._step.now, report.silent
            )
            self._watched = 0
        for key in report.silent - lookout.silent:
            service = self.queues.services.get(key)
            if service is not None:
                service.heard = lookout.clock  # it was alive when last looked at
                service.heard_at = lookout.looked_at
        lookout.clock += min(self._ticked - lookout.looked, LONGEST_LOOK_GAP)
        lookout.looked, lookout.looked_at = self._ticked, self._step.now
        back = (lookout.silent | self._unwell) - report.silent
        lookout.silent = report.silent
        for key in sorted(back):
            service = self.queues.services.get(key)
            if service is not None and service.executor == report.executor:
                self._heard(service)

    def heard(self) -> dict[tuple[str, str], int | None]:
        """Tell when each service was last heard of: by its own report, or by an executor that found it alive."""
        found: dict[tuple[str, str], int | None] = {}
        for key, service in self.queues.services.items():
            lookout = self._lookouts.get(service.executor)
            alive = lookout is not None and key not in lookout.silent
            found[key] = max(lookout.looked_at, service.heard_at or 0) if lookout and alive else service.heard_at
        return found

    def _lose(self, service: Service) -> None:
        self._service_event(service, "lost", reason="silent")
        self._unwell.add((service.business, service.name))
        for task in sorted(service.running.values(), key=lambda t: t.id):
            if task.status is Status.STOPPING:
                continue
            if task.attempt + 1 >= self.policy.attempts:
                self._emit(task, "fail", ENGINE, Reason.WORKER_LOST, dr=-1, attempt=task.attempt + 1)
            else:
                self._rescue(task, Reason.WORKER_LOST, task.attempt + 1)

    def _rescue(self, task: Task, reason: Reason, attempt: int) -> None:
        processing = task.status is Status.PROCESSING
        self._emit(
            task, "rescue", ENGINE, reason, dr=-1, dp=1 if processing else 0, dq=0 if processing else 1, attempt=attempt
        )
        self._arm_expiry(task, self._step.now)

    def _ask_to_stop(self, task: Task, service: Service) -> None:
        assert task.lease is not None
        self._step.orders.append(m.StopOrder(service.executor, service.business, service.name, task.id, task.lease))
        self._set_deadline(self.policy.stop_deadline, "stop", task)

    # --- reports

    def _hear(self, report: m.Report) -> None:
        if isinstance(report, m.Heartbeat):
            for name in report.services:
                service = self.queues.services.get((report.business, name))
                if service is not None:
                    self._heard(service)
        elif isinstance(report, m.Alive):
            self._look_out(report)
        else:
            task = self.state.tasks.get(report.task_id)
            if task is None or self._is_stale(task, report.lease):
                if not isinstance(report, m.Progress):
                    self._refuse_report(report, task)
            else:
                self._heard(self.state.service(task))
                getattr(self, _REPORTS[type(report)])(task, report)

    def _heard(self, service: Service) -> None:
        service.heard, service.heard_at = self._executor_clock(service), self._step.now
        if service.lost or service.suspect:
            if service.lost:
                self._service_event(service, "returned")
            if service.suspect:
                self._service_event(service, "cleared")
            self._unwell.discard((service.business, service.name))

    def _is_stale(self, task: Task, lease: int) -> bool:
        return task.lease != lease

    def _refuse_report(self, report: m.Report, task: Task | None) -> None:
        """Log a report that came under an old lease; whoever sent it no longer has the task."""
        assert not isinstance(report, m.Heartbeat | m.Alive)
        number = business_of(report.task_id)
        business = next((b for b in self.state.businesses.values() if b.no == number), self.state.system)
        detail = {"task_id": report.task_id, "lease": report.lease, "report": type(report).__name__.lower()}
        self._record(
            ServiceEvent(
                business.next_event(), self._step.now, business.name, task.site if task else None, None, "stale_report",
                "stale", ENGINE, None, detail,
            )
        )

    def _collected(self, task: Task, _: m.Collected) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, Reason.FINISHED_BEFORE_STOP)
        elif task.status in COLLECTING:
            self._emit(task, "collected", task.host, dr=-1)
            self._emit(task, "hand_over", ENGINE, dp=1, attempt=0)

    def _finished(self, task: Task, report: m.Finished) -> None:
        detail: Detail = {}
        if report.errors:
            detail["errors"] = report.errors
        if report.changes is not None:
            detail["changes"] = report.changes
        if task.joined:
            detail["joined"] = task.joined
        if report.result is not None:
            detail["digest"] = digest(report.result)
        if task.status is Status.STOPPING:
            detail["outcome"] = "finished_with_errors" if report.errors else "finished"
            self._confirm_stop(task, Reason.FINISHED_BEFORE_STOP, detail)
        elif task.stage == PROCESS:
            if report.errors:
                detail["outcome"] = "finished_with_errors"
            self._emit(task, "finish", task.host, dr=-1, detail=detail or None)
        else:
            self._refuse_report(report, task)
            return
        self._step.rows.asset.extend(report.assets)
        if report.result is not None:
            site = result_site(task.kind, task.name, task.site)
            self._step.rows.report_result.append(
                ReportResult(
                    task.id, task.business, site, task.name, task.created_by, self._step.now, report.result
                )
            )

    def _failed(self, task: Task, report: m.Failed) -> None:
        self._emit(task, "fail", task.host, report.reason, dr=-1, detail={"error": report.error})

    def _stop_confirmed(self, task: Task, report: m.StopConfirmed) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, None)
        else:
            self._refuse_report(report, task)

    def _confirm_stop(self, task: Task, reason: str | None, detail: Detail | None = None) -> None:
        self._emit(task, "confirm_stop", task.host, reason or task.reason, dr=-1, detail=detail)

    def _suspended(self, task: Task, report: m.Suspended) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, None)
        elif task.status in COLLECTING and task.asked_to_suspend:
            self._emit(task, "suspended", task.host, Reason.HOLD, dr=-1, dq=1, detail={"checkpoint": report.checkpoint})
            self._arm_expiry(task, self._step.now)
        else:
            self._refuse_report(report, task)

    def _progress(self, task: Task, report: m.Progress) -> None:
        """Progress never goes backwards within a stage."""
        collecting, processing = task.progress
        fraction = min(max(report.fraction, 0.0), 1.0)
        if task.stage == PROCESS:
            task.progress = (collecting, max(processing or 0.0, fraction))
        else:
            task.progress = (max(collecting or 0.0, fraction), processing)
        self._step.touched.add(task.id)

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

    def _expect_report(self, service: Service) -> None:
        """Count the silence of a service that never reported from its first claim."""
        if service.heard is None:
            service.heard = self._executor_clock(service)


def _reach(hold: Hold) -> Reach:
    return hold.business, hold.site, hold.target_kind, hold.target


def _moves(task: Task, detail: Detail | None) -> bool:
    """Tell whether an edit moves a task to another sub-queue."""
    changes = (detail or {}).get("changes", {})
    return bool(changes.get("requested_service", task.requested_service) != task.requested_service)


_REPORTS: dict[type, str] = {
    m.Collected: "_collected",
    m.Finished: "_finished",
    m.Failed: "_failed",
    m.StopConfirmed: "_stop_confirmed",
    m.Suspended: "_suspended",
    m.Progress: "_progress",
}
