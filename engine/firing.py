"""Tasks come in: submitted by people, or by schedules, each of whose nominal times is settled once. Pure.

A run is submitted in the same step, and so in the same commit, as the row that says what became of its nominal time.
However late a schedule is looked at, it gets one run; the times before are told as coalesced.
"""

from __future__ import annotations

from . import messages as m
from .holding import Holding
from .ledger import Detail, ScheduleFire, TaskEvent, new_row
from .lifecycle import Status, own_name
from .state import Business, Schedule
from .task import COLLECT, Task


class Firing(Holding):
    def _submit(
        self, new: m.NewTask, business: Business, actor: str, schedule_id: int | None = None, widget: str | None = None
    ) -> Task:
        """Let a task come in that was found to be in order; it waits at once, or when it falls due."""
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

    def _arm(self, task: Task) -> None:
        if task.status is Status.NEW and not task.due:
            assert task.due_at is not None
            self._set_timer(task.due_at, "due", task.id)

    # --- schedules

    def _arm_schedule(self, schedule: Schedule) -> None:
        if schedule.next_at is not None:
            self._set_timer(schedule.next_at, "fire", schedule.id)

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
