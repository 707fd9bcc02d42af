"""What the ledger's rows make of the world: the state, and `apply`. Pure.

The live engine, recovery, the simulator and the checks all change the state through `apply` and through nothing else,
so that what was decided and what is rebuilt from the ledger can't differ. `apply` decides nothing and refuses nothing:
the core has decided, or the ledger says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from .clock import SECOND
from .dispatch import Queues
from .holds import Hold, Throttle, targets_of
from .lanes import Service
from .ledger import (
    SYSTEM,
    BlackoutEvent,
    BlackoutFire,
    Detail,
    HoldEvent,
    ScheduleEvent,
    ScheduleFire,
    ServiceEvent,
    TaskEvent,
    ThrottleEvent,
    business_of,
    make_id,
)
from .lifecycle import COLLECTING, STATUS, SYSTEM_KINDS, TERMINAL, Kind, Reason, Status
from .messages import BlackoutSpec, ScheduleSpec
from .recurrence import Rule
from .subqueues import Shifts
from .task import COLLECT, PROCESS, Task

Row = (
    TaskEvent | ServiceEvent | HoldEvent | ThrottleEvent | ScheduleEvent | ScheduleFire | BlackoutEvent | BlackoutFire
)


class Site:
    """A place in a business. An archive holds imported history only."""

    __slots__ = ("archive", "name", "zone")

    def __init__(self, name: str, zone: str, archive: bool) -> None:
        self.name, self.zone, self.archive = name, zone, archive


class Business:
    """A tenant: its number, its sites, and the last id of each of its own sequences."""

    __slots__ = ("last_audit", "last_event", "last_task", "name", "no", "sites")

    def __init__(self, name: str | None, no: int) -> None:
        self.name, self.no = name, no
        self.sites: dict[str, Site] = {}
        self.last_event = self.last_task = self.last_audit = make_id(no, 0)

    def next_event(self) -> int:
        return self.last_event + 1

    def next_task(self) -> int:
        return self.last_task + 1


class Schedule:
    """A recurring definition in its present version, and when it occurs next."""

    __slots__ = ("id", "next_at", "owed", "spec", "version", "waiting")

    def __init__(self, an_id: int, spec: ScheduleSpec, version: int, since: int) -> None:
        self.id, self.spec, self.version = an_id, spec, version
        self.next_at: int | None = spec.rule.next_after(since)
        self.waiting: set[int] = set()  #: its tasks in New
        self.owed: int | None = None  #: the nominal time of a run that is queued until a hold ends


class Blackout:
    """A blackout window in its present version, and when it occurs next."""

    __slots__ = ("id", "next_at", "spec", "version")

    def __init__(self, an_id: int, spec: BlackoutSpec, version: int, since: int) -> None:
        self.id, self.spec, self.version = an_id, spec, version
        self.next_at = spec.rule.next_after(since)

    @property
    def lasts(self) -> int:
        """How long each of its holds lasts, in microseconds."""
        return self.spec.duration_s * SECOND


class State:
    """Everything the engine knows about what is not finished."""

    def __init__(self, fair_share: bool = False) -> None:
        self.queues = Queues(fair_share)
        self.system = Business(None, SYSTEM)
        self.businesses: dict[str, Business] = {}
        self.tasks: dict[int, Task] = {}
        self.deleted: dict[int, Task] = {}  #: Stopped by deletion, and still to be undone
        self.holds: dict[int, Hold] = {}  #: in force and to come
        self.schedules: dict[int, Schedule] = {}
        self.blackouts: dict[int, Blackout] = {}
        self.owed: set[int] = set()  #: schedules with a run queued until a hold ends
        self.widgets: dict[tuple[str, str, str], set[int]] = {}  #: a widget's refreshes that wait; more after rescues
        self.last = 0  #: the last instant at which anything happened

    def business(self, name: str | None) -> Business:
        return self.system if name is None else self.businesses[name]

    def service(self, task: Task) -> Service:
        return self.queues.services[task.business, (task.processor if task.stage == PROCESS else task.service) or ""]

    def advance_sequences(self, events: dict[int, int], tasks: dict[int, int], audits: dict[int, int]) -> None:
        """Set how far each business's sequences have come: the highest ids, by business number."""
        for business in (self.system, *self.businesses.values()):
            none = make_id(business.no, 0)
            business.last_event = events.get(business.no, none)
            business.last_task = tasks.get(business.no, none)
            business.last_audit = audits.get(business.no, none)


def apply_task(state: State, row: TaskEvent) -> None:
    """Change the state as a task's event says. Never shifts the cause of any other task."""
    if row.occurred_at > state.last:
        state.last = row.occurred_at
    state.businesses[row.business].last_event = row.event_id
    TASK_EVENTS[row.event](state, row)


def apply(state: State, row: Row) -> Shifts:
    """Change the state as a row says; return the changes of cause that follow for tasks that wait."""
    if isinstance(row, TaskEvent):
        apply_task(state, row)
        return Counter()
    state.last = max(state.last, row.occurred_at)
    if isinstance(row, ServiceEvent):
        return _apply_service(state, row)
    state.business(row.business).last_event = row.event_id
    if isinstance(row, HoldEvent):
        return _apply_hold(state, row)
    if isinstance(row, ThrottleEvent):
        return _apply_throttle(state, row)
    if isinstance(row, ScheduleEvent):
        _apply_schedule(state, row)
    elif isinstance(row, ScheduleFire):
        _apply_fire(state, row)
    elif isinstance(row, BlackoutEvent):
        _apply_blackout(state, row)
    else:
        _apply_blackout_fire(state, row)
    return Counter()


def replay(rows: Iterable[Row], fair_share: bool = False) -> State:
    """Rebuild a state from ledger rows in the order (batch, occurred_at, event_id)."""
    state = State(fair_share)
    for row in rows:
        if isinstance(row, TaskEvent):
            apply_task(state, row)
        else:
            apply(state, row)
    return state


# --- tasks


def _submit(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id] = Task(e)
    state.businesses[e.business].last_task = e.task_id
    _expect(state, task)
    if e.dq:
        task.queued_at = e.occurred_at
        state.queues.join(task, COLLECT, e.occurred_at, e.occurred_at)


def _due(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    task.queued_at = e.occurred_at
    state.queues.join(task, COLLECT, e.occurred_at, e.occurred_at)


def _claim(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    _leave(state, task, e)
    _forget(state, task)
    if task.kind in SYSTEM_KINDS:
        task.stage, task.processor = PROCESS, e.service
        task.processing_started_at = task.processing_started_at or e.occurred_at
    else:
        task.service = e.service
    task.started_at = task.started_at or e.occurred_at
    _start(state, task, e)


def _collected(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    _end_stage(state, task, e.occurred_at)
    task.status = STATUS[e.to_status]
    task.collected_at = e.occurred_at


def _hand_over(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    task.status, task.stage, task.attempt = Status.PROCESSING_QUEUED, PROCESS, 0
    task.processing_queued_at = e.occurred_at
    state.queues.join(task, PROCESS, e.occurred_at, e.occurred_at)


def _process(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    _leave(state, task, e)
    _forget(state, task)
    task.processor = e.service
    task.processing_started_at = task.processing_started_at or e.occurred_at
    _start(state, task, e)


def _finish(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    _end_stage(state, task, e.occurred_at)
    _keep_result(task, e)
    _end(state, task, e)


def _stop(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    if task.id in state.queues.waiting:
        _leave(state, task, e)
    if e.reason == Reason.DELETED:
        task.hidden = True
        state.deleted[task.id] = task
    _forget(state, task)
    _end(state, task, e)


def _request_stop(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    task.status, task.reason = Status.STOPPING, e.reason


def _confirm_stop(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    _end_stage(state, task, e.occurred_at)
    _keep_result(task, e)
    _end(state, task, e)


def _fail(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    if task.id in state.queues.waiting:
        _leave(state, task, e)
    elif e.dr:
        _end_stage(state, task, e.occurred_at)
    task.attempt = e.attempt
    task.error = (e.detail or {}).get("error")
    _forget(state, task)
    _end(state, task, e)


def _back_to_queue(state: State, e: TaskEvent) -> None:
    """Rescue and suspended: the stage is put back to wait, where it stood in the order."""
    task = state.tasks[e.task_id]
    _end_stage(state, task, e.occurred_at)
    task.status, task.attempt = STATUS[e.to_status], e.attempt
    if e.event == "suspended":
        task.checkpoint = (e.detail or {})["checkpoint"]
    if task.status is Status.NEW or task.kind in SYSTEM_KINDS:
        _expect(state, task)
    if task.status is Status.NEW:
        since = task.queued_at
    else:
        since = task.processing_queued_at = task.processing_queued_at or e.occurred_at
    assert since is not None
    state.queues.join(task, task.stage, since, e.occurred_at)


def _restore(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id] = state.deleted.pop(e.task_id)
    task.status, task.outcome, task.reason, task.finished_at, task.hidden = Status.NEW, None, None, None, False
    task.version += 1
    _expect(state, task)
    if e.dq:
        assert task.queued_at is not None
        state.queues.join(task, COLLECT, task.queued_at, e.occurred_at)


def _edit(state: State, e: TaskEvent) -> None:
    task, detail = state.tasks[e.task_id], e.detail or {}
    changes = detail["changes"]
    waits = task.id in state.queues.waiting
    moves = waits and changes.get("requested_service", task.requested_service) != task.requested_service
    if moves:
        _leave(state, task, e)
    for name, value in changes.items():
        setattr(task, name, value)
    task.version += 1
    if moves:
        assert task.queued_at is not None
        state.queues.join(task, COLLECT, task.queued_at, e.occurred_at)
    elif waits and "priority" in changes:
        state.queues.reprioritise(task)


def _ask_to_suspend(state: State, e: TaskEvent) -> None:
    task = state.tasks[e.task_id]
    task.suspend, task.asked_to_suspend = (e.detail or {})["hold_id"], True


def _suspend_lapsed(state: State, e: TaskEvent) -> None:
    state.tasks[e.task_id].suspend = None


def _no_change(state: State, e: TaskEvent) -> None:
    """Hiding a finished task and showing it again: recorded, and nothing that lives changes."""


TASK_EVENTS: dict[str, Callable[[State, TaskEvent], None]] = {
    "submit": _submit,
    "due": _due,
    "claim": _claim,
    "collected": _collected,
    "hand_over": _hand_over,
    "process": _process,
    "finish": _finish,
    "stop": _stop,
    "request_stop": _request_stop,
    "confirm_stop": _confirm_stop,
    "fail": _fail,
    "expire": _fail,
    "suspended": _back_to_queue,
    "rescue": _back_to_queue,
    "restore": _restore,
    "edit": _edit,
    "ask_to_suspend": _ask_to_suspend,
    "suspend_lapsed": _suspend_lapsed,
    "hide": _no_change,
    "unhide": _no_change,
}


def _expect(state: State, task: Task) -> None:
    """Remember a New task where at most one may wait."""
    if task.schedule_id is not None and task.schedule_id in state.schedules:
        state.schedules[task.schedule_id].waiting.add(task.id)
    if task.widget is not None:
        state.widgets.setdefault((task.business, task.site, task.widget), set()).add(task.id)


def _forget(state: State, task: Task) -> None:
    if task.schedule_id is not None and task.schedule_id in state.schedules:
        state.schedules[task.schedule_id].waiting.discard(task.id)
    if task.widget is not None:
        widget = (task.business, task.site, task.widget)
        waiting = state.widgets.get(widget)
        if waiting is not None:
            waiting.discard(task.id)
            if not waiting:
                del state.widgets[widget]


def _leave(state: State, task: Task, e: TaskEvent) -> None:
    """End a waiting interval; the event says for what it was waited."""
    state.queues.leave(task)
    waited: dict[str, int] = e.detail.get("waited", {}) if e.detail else {}
    if task.status is Status.PROCESSING_QUEUED:
        task.process_wait_us = (task.process_wait_us or 0) + sum(waited.values())
        task.process_wait_hold_us += waited.get("hold", 0)
    elif waited:
        for cause, us in waited.items():
            task.waits[cause] = task.waits.get(cause, 0) + us


def _start(state: State, task: Task, e: TaskEvent) -> None:
    task.status, task.lease = STATUS[e.to_status], e.lease
    task.stage_started_at = e.occurred_at
    task.suspend, task.asked_to_suspend = None, False
    state.queues.occupy(state.service(task), task, task.stage)


def _end_stage(state: State, task: Task, at: int) -> None:
    """Free the slot and add up the running interval."""
    state.queues.release(state.service(task), task, task.stage)
    spent = at - task.stage_started_at
    if task.stage == PROCESS:
        task.process_us = (task.process_us or 0) + spent
    else:
        task.run_us = (task.run_us or 0) + spent
    task.lease = task.suspend = None


def _keep_result(task: Task, e: TaskEvent) -> None:
    detail = e.detail or {}
    task.errors = detail.get("errors", 0)
    task.joined = detail.get("joined", 0)
    if "changes" in detail:
        task.changes = tuple(detail["changes"])


def _end(state: State, task: Task, e: TaskEvent) -> None:
    task.status, task.finished_at = STATUS[e.to_status], e.occurred_at
    task.outcome = (e.detail or {}).get("outcome") or _OUTCOME[task.status]
    task.reason = e.reason
    del state.tasks[task.id]


_OUTCOME = {Status.PROCESSED: "finished", Status.STOPPED: "stopped", Status.CANCELED: "failed"}
assert set(_OUTCOME) == TERMINAL


# --- services, holds, schedules


def _apply_service(state: State, e: ServiceEvent) -> Shifts:
    detail: Detail = e.detail or {}
    if e.event == "business_added":
        assert e.business is not None
        state.businesses[e.business] = Business(e.business, business_of(e.event_id))
    state.business(e.business).last_event = e.event_id
    if e.event == "site_added":
        assert e.site is not None
        state.business(e.business).sites[e.site] = Site(e.site, detail["zone"], detail["archive"])
    if e.event == "console_down":
        return state.queues.console_down(e.occurred_at)
    if e.event == "console_up":
        return state.queues.console_up(e.occurred_at)
    if e.service is None or e.event == "stale_report":
        return Counter()
    assert e.business is not None
    if e.event == "service_added":
        service = Service(e.business, e.site, e.service, detail["role"], detail["slots"], detail["executor"])
        service.since = e.occurred_at
        return state.queues.add_service(service, e.occurred_at)
    service = state.queues.services[e.business, e.service]
    if e.event in ("online", "draining", "offline"):
        service.wanted = e.event
    elif e.event in ("lost", "returned"):
        service.lost = e.event == "lost"
    elif e.event in ("suspect", "cleared"):
        service.suspect = e.event == "suspect"
    elif e.event == "slots":
        service.slots = detail["slots"]
    if e.event != "slots":
        service.since = e.occurred_at
    return state.queues.service_changed(service, e.occurred_at)


def _apply_hold(state: State, e: HoldEvent) -> Shifts:
    if e.event == "placed":
        state.holds[e.hold_id] = Hold(
            e.hold_id, e.business, e.site, e.target_kind, e.target, e.reason, e.actor, e.from_at, e.until_at, e.suspend
        )
        return Counter()
    hold = state.holds[e.hold_id]
    if e.event == "begun":
        return state.queues.begin_hold(hold, e.occurred_at)
    del state.holds[e.hold_id]
    return state.queues.end_hold(hold, e.occurred_at) if hold.begun else Counter()


def _apply_throttle(state: State, e: ThrottleEvent) -> Shifts:
    queues = state.queues
    if e.event == "begun":
        over, but = ([tuple(reach) for reach in (e.detail or {}).get(part, ())] for part in ("over", "but"))
        begun = Throttle(
            e.throttle_id, e.business, e.site, e.owner, e.rate, e.at_most, over, but, e.reason, e.actor, e.occurred_at
        )
        return queues.begin_throttle(begun, e.occurred_at)
    throttle = queues.throttles[e.throttle_id]
    if e.event == "changed":
        throttle.at_most, throttle.reason, throttle.actor = e.at_most, e.reason, e.actor
        return Counter()
    if e.event == "shut":
        return queues.shut_throttle(throttle, e.occurred_at)
    if e.event == "open":
        return queues.open_throttle(throttle, e.occurred_at)
    return queues.end_throttle(throttle, e.occurred_at)


def _apply_schedule(state: State, e: ScheduleEvent) -> None:
    if e.event == "removed":
        del state.schedules[e.schedule_id]
        state.owed.discard(e.schedule_id)
        return
    spec = spec_from_detail(e.business, e.site, e.name, e.detail or {})
    schedule = Schedule(e.schedule_id, spec, e.version, e.occurred_at)
    before = state.schedules.get(e.schedule_id)
    if before is not None:
        schedule.waiting, schedule.owed = before.waiting, before.owed
    state.schedules[e.schedule_id] = schedule


def _apply_fire(state: State, e: ScheduleFire) -> None:
    schedule = state.schedules[e.schedule_id]
    if e.count:
        schedule.next_at = schedule.spec.rule.next_after(e.last_nominal_at)
    if e.outcome == "queued":
        schedule.owed = e.last_nominal_at
        state.owed.add(schedule.id)
    elif e.count == 0:
        schedule.owed = None
        state.owed.discard(schedule.id)


def _apply_blackout(state: State, e: BlackoutEvent) -> None:
    if e.event == "removed":
        del state.blackouts[e.blackout_id]
    else:
        spec = blackout_from_detail(e.business, e.site, e.name, e.detail or {})
        state.blackouts[e.blackout_id] = Blackout(e.blackout_id, spec, e.version, e.occurred_at)


def _apply_blackout_fire(state: State, e: BlackoutFire) -> None:
    blackout = state.blackouts[e.blackout_id]
    blackout.next_at = blackout.spec.rule.next_after(e.last_nominal_at)
    if e.hold_id is not None:
        state.holds[e.hold_id].blackout = e.blackout_id


_SPEC_FIELDS = ("owner", "target", "target_kind", "scope", "requested_service", "priority", "longest_wait_s", "on_hold")


def spec_to_detail(spec: ScheduleSpec) -> Detail:
    """Write a schedule's definition as the ledger keeps it."""
    return {"kind": spec.kind.value, "rule": spec.rule.to_dict()} | {
        name: getattr(spec, name) for name in _SPEC_FIELDS if getattr(spec, name) is not None
    }


def spec_from_detail(business: str, site: str, name: str, detail: Detail) -> ScheduleSpec:
    """Read a schedule's definition back from the ledger."""
    facts: dict[str, Any] = {field: detail[field] for field in _SPEC_FIELDS if field in detail}
    return ScheduleSpec(name, business, site, Kind(detail["kind"]), Rule.from_dict(detail["rule"]), **facts)


def blackout_to_detail(spec: BlackoutSpec) -> Detail:
    """Write a blackout window's definition as the ledger keeps it."""
    return {
        "rule": spec.rule.to_dict(), "duration_s": spec.duration_s, "reason": spec.reason, "suspend": spec.suspend
    }  # fmt: skip


def blackout_from_detail(business: str, site: str, name: str, detail: Detail) -> BlackoutSpec:
    """Read a blackout window's definition back from the ledger."""
    rule = Rule.from_dict(detail["rule"])
    return BlackoutSpec(name, business, site, rule, detail["duration_s"], detail["reason"], detail["suspend"])


def covered(hold: Hold, task: Task) -> bool:
    """Tell whether a hold covers a task by its scope and target."""
    targets = targets_of(task.site, task.kind, task.owner, task.schedule_id)
    return (hold.target_kind, hold.target) in targets and hold.reaches(task.business, task.site)


def collecting_under(state: State, hold: Hold) -> list[Task]:
    """List the tasks that collect while a hold covers them, by id."""
    running = (task for service in state.queues.services.values() for task in service.running.values())
    return sorted((t for t in running if t.status in COLLECTING and covered(hold, t)), key=lambda t: t.id)
