"""A step under way: what is decided is a row first, then applied. Pure.

The ground of the core. Every change goes through a row here (`state.apply`), and nothing else writes to the state: so
what was decided and what is rebuilt from the ledger can't differ. What is to happen later is set here, too: a timer by
the wall clock, or a deadline by time that really ticked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush
from typing import Any

from . import messages as m
from .clock import MINUTE, SECOND
from .holds import Hold, Throttle
from .lanes import Service
from .ledger import (
    Detail,
    HoldEvent,
    QueueShift,
    Rows,
    ServiceEvent,
    TaskEvent,
    ThrottleEvent,
    WidgetRefresh,
    new_row,
)
from .lifecycle import NEXT, TERMINAL, Status
from .state import Row, State, apply, apply_task
from .subqueues import Shifts
from .task import COLLECT, PROCESS, Task

ENGINE = "engine"


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


class Deciding:
    """A state, the step that is being decided about it, and what is to happen later."""

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
        self._step = Step(self.state.last)
        self._request: m.Command | None = None  #: the command that is being carried out, if one is

    def _record(self, row: Row) -> None:
        """Write and apply a row other than a task's event, and tell what it shifts for tasks that wait."""
        self._step.rows.table(type(row)).append(row)
        shifts: Shifts = apply(self.state, row)
        for (business, site, kind, queue, before, after), n in shifts.items():
            self._step.rows.queue_shift.append(
                QueueShift(row.occurred_at, business, site, kind, queue, before, after, n)
            )

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

    # --- what is to happen later

    def _set_timer(self, at: int, what: str, subject: Any) -> None:
        self._serial += 1
        heappush(self._timers, (at, self._serial, what, subject))

    def _set_deadline(self, after: int, what: str, task: Task) -> None:
        self._serial += 1
        assert task.lease is not None
        heappush(self._deadlines, (self._ticked + after, self._serial, what, task.id, task.lease, task.suspend))


def _moves(task: Task, detail: Detail | None) -> bool:
    """Tell whether an edit moves a task to another sub-queue."""
    changes = (detail or {}).get("changes", {})
    return bool(changes.get("requested_service", task.requested_service) != task.requested_service)
