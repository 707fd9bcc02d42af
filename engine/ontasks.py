"""What people do with tasks: submit, stop, delete, restore, edit, rerun, and ask for a refresh or a report. Pure.

Every task that a bulk command names is either changed or skipped with a word that says why, one audit row each; one
that the actor may not touch is to him as if it were not there.
"""

from __future__ import annotations

from collections import OrderedDict

from . import messages as m
from .commanding import Commanded, check_instant
from .deciding import Policy
from .errors import Invalid, NotAllowed, NotFound, Refused
from .lanes import SERVES, lane_of
from .ledger import QueueShift, TaskEvent, TaskRow, number_of
from .lifecycle import (
    ANALYSED,
    KIND_LABEL,
    OUTLIERS,
    REPORTS,
    SYSTEM_KINDS,
    SYSTEM_NAMES,
    Kind,
    Reason,
    Status,
    result_site,
    task_label,
)
from .roles import Right
from .state import State
from .task import COLLECT, EDITABLE, SYSTEM_OWNER, Task, again

LONGEST_WAIT_S = 10 * 366 * 86_400
MOST_WIDGETS = 100  #: of a site, whose refresh waits


class OnTasks(Commanded):
    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._turned: OrderedDict[int, tuple[int, TaskRow]] = OrderedDict()  #: ended tasks hidden or shown lately

    def _submit_all(self, action: m.Submit) -> m.Outcome:
        for new in action.tasks:
            self._check_new(new, Right.OPERATE)
            named = {new.owner, new.initiator, new.created_by or self._actor}
            if (named != {self._actor} or new.source != "live") and not self._may(Right.USERS, new.business, None):
                # Else somebody whose tasks are held would go on under the name of another.
                raise NotAllowed(f"Tasks of others are for who manages the users of {new.business} to submit")
        created: list[int] = []
        for new in action.tasks:
            business = self.state.businesses[new.business]
            task = self._submit(new, business, self._actor)
            created.append(task.id)
            self._audit("submit", "task", task.id, task.business, task.site)
        return m.Outcome(changed=created)

    def _check_new(self, new: m.NewTask, right: Right) -> None:
        self._require(right, new.business, new.site)
        business = self.state.businesses.get(new.business)
        if business is None:
            raise NotFound.named("business", new.business, self.state.businesses)
        site = business.sites.get(new.site)
        if site is None:
            raise NotFound.named(f"site in {new.business}", new.site, business.sites)
        if site.archive:
            raise Invalid(f"{new.site} is an archive of imported history; nothing can run there")
        if not 0 <= new.priority <= 9:
            raise Invalid(f"The priority of “{new.name}” is {new.priority}; it must be 0 to 9")
        if not new.name or not new.owner:
            raise Invalid("A task needs a name and an owner")
        if new.longest_wait_s is not None and not 1 <= new.longest_wait_s <= LONGEST_WAIT_S:
            raise Invalid(
                f"The longest wait of “{new.name}” is {new.longest_wait_s} s; it must be 1 to {LONGEST_WAIT_S} s"
            )
        check_instant("due time", new.due_at)
        self._check_result(new.kind, new.name, new.business, new.site, right)
        self._check_requested(new.business, new.site, new.kind, new.requested_service)

    def _check_result(self, kind: Kind, name: str, business: str, site: str, right: Right) -> None:
        """A task that finds something bears a name of its own, and is for who has the right wherever that is of."""
        if kind not in ANALYSED:
            return
        if name not in SYSTEM_NAMES[kind]:
            raise NotFound.named(KIND_LABEL[kind].lower(), name, SYSTEM_NAMES[kind])
        self._require(right, business, result_site(kind, name, site))

    def _check_requested(self, business: str, site: str, kind: Kind, requested: str | None) -> None:
        if requested is None:
            return
        service = self.queues.services.get((business, requested))
        elsewhere = service is not None and service.site not in (None, site)
        if service is None or (elsewhere and not self._may(Right.SEE, business, service.site)):
            known = [other for other in self.queues.services.values() if other.business == business]
            seen = [other.name for other in known if self._may(Right.SEE, business, other.site)]
            raise NotFound.named("service", requested, seen)
        if kind not in SYSTEM_KINDS and service.site != site:
            raise Invalid(f"{requested} is not a service of {site}")
        if service.role not in SERVES[lane_of(kind, COLLECT)]:
            raise Invalid(f"{requested} has the role {service.role}, which can't run a task of type {kind}")

    def _refresh_widget(self, action: m.RefreshWidget) -> m.Outcome:
        self._require(Right.SEE, action.business, action.site)
        waiting = self.state.widgets.get((action.business, action.site, action.widget))
        if waiting:
            first = min(waiting)
            self.state.tasks[first].joined += 1
            return m.Outcome(skipped=[(first, "joined the refresh that waits")])
        if sum(place[:2] == (action.business, action.site) for place in self.state.widgets) >= MOST_WIDGETS:
            # Whoever sees a site may ask, and by any name.
            raise Refused(f"{MOST_WIDGETS} refreshes wait at {action.site} already; try again when some are done")
        new = m.NewTask(
            action.business, action.site, Kind.QUERY, "Query", SYSTEM_OWNER, "System", action.widget, "widget",
            created_by="System",
        )
        self._check_new(new, Right.SEE)
        task = self._submit(new, self.state.businesses[action.business], "system", widget=action.widget)
        return m.Outcome(changed=[task.id])

    def _start_report(self, action: m.StartReport) -> m.Outcome:
        """Who may change tasks where a report is of may start it, in all of a business or at a site; once at a time."""
        if action.report not in (*REPORTS, OUTLIERS):
            raise NotFound.named("report", action.report, (*REPORTS, OUTLIERS))
        kind = Kind.OUTLIER if action.report == OUTLIERS else Kind.REPORT
        reach = result_site(kind, action.report, action.site)
        self._require(Right.OPERATE, action.business, reach)
        new = m.NewTask(
            action.business, action.site, kind, action.report, SYSTEM_OWNER, "System", scope=reach or action.business
        )
        self._check_new(new, Right.OPERATE)
        for other in self.state.tasks.values():
            if (
                other.kind is kind and other.name == action.report and other.business == action.business and other.due
                and result_site(kind, other.name, other.site) == reach and other.status is not Status.STOPPING
            ):
                raise Refused(f"It is being made already, by {task_label(kind, number_of(other.id))}")
        task = self._submit(new, self.state.businesses[action.business], self._actor)
        self._audit("submit", "task", task.id, task.business, task.site)
        return m.Outcome(changed=[task.id])

    def _stop_all(self, action: m.Stop) -> m.Outcome:
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for task_id in dict.fromkeys(action.tasks):
            task = self.state.tasks.get(task_id)
            if task is not None and self._own(task):
                why = self._stop_one(task, action.reason)
            else:
                task, why = None, "not found, or already finished"
            self._tell("stop", task_id, task, why, action.reason, changed, skipped)
        return m.Outcome(changed=changed, skipped=skipped)

    def _stop_one(self, task: Task, reason: str | None) -> str | None:
        note = {"note": reason} if reason else None
        if task.status is Status.STOPPING:
            return "already stopping"
        if task.status is Status.NEW:
            self._emit(task, "stop", self._actor, Reason.BY_USER, dq=-1 if task.due else 0, detail=note)
        elif task.status is Status.PROCESSING_QUEUED:
            self._emit(task, "stop", self._actor, Reason.BY_USER, dp=-1, detail=note)
        else:
            self._emit(task, "request_stop", self._actor, Reason.BY_USER, detail=note)
            self._ask_to_stop(task, self.state.service(task))
        return None

    def _rerun_all(self, action: m.Rerun) -> m.Outcome:
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for task_id in dict.fromkeys(action.tasks):
            task = self.state.tasks.get(task_id)
            row = task.row() if task is not None else action.finished.get(task_id)
            try:
                if row is None or not self._own(row):
                    row = None
                    raise NotFound("not found")
                if row.kind == Kind.QUERY:
                    raise Refused("a widget's refresh is asked for on its dashboard")
                longest = task.longest_wait_s if task is not None else action.longest_waits.get(task_id)
                new = again(row, self._actor, longest)
                self._check_new(new, Right.OPERATE)
            except Refused as refusal:
                self._tell("rerun", task_id, row, str(refusal), action.reason, changed, skipped)
                continue
            run = self._submit(new, self.state.businesses[new.business], self._actor)
            changed.append(run.id)
            self._audit("rerun", "task", run.id, run.business, run.site, after={"rerun_of": task_id},
                        reason=action.reason)
        return m.Outcome(changed=changed, skipped=skipped)

    def _delete_all(self, action: m.Delete) -> m.Outcome:
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for task_id in dict.fromkeys(action.tasks):
            task, row = self.state.tasks.get(task_id), self._newest(action.finished.get(task_id))
            if not self._own(task or row):
                task = row = None
            if task is not None:
                why = self._delete_one(task)
            elif row is None or row.hidden:
                why = "not found, or already deleted"
            else:
                self._hide(row, hidden=True)
                why = None
            self._tell("delete", task_id, task or row, why, action.reason, changed, skipped)
        return m.Outcome(changed=changed, skipped=skipped)

    def _delete_one(self, task: Task) -> str | None:
        if task.status is not Status.NEW:
            return "stop it first"
        self._emit(task, "stop", self._actor, Reason.DELETED, dq=-1 if task.due else 0)
        self._set_timer(self._step.now + self.policy.undo, "forget", task.id)
        return None

    def _restore_all(self, action: m.Restore) -> m.Outcome:
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for task_id in dict.fromkeys(action.tasks):
            task, row = self.state.deleted.get(task_id), self._newest(action.finished.get(task_id))
            if not self._own(task or row):
                task = row = None
            if task is not None:
                why = self._restore_one(task)
            elif row is None or not row.hidden:
                why = "not deleted, or not found"
            elif row.reason == Reason.DELETED:
                why = "too late to undo"
            else:
                self._hide(row, hidden=False)
                why = None
            self._tell("restore", task_id, task or row, why, None, changed, skipped)
        return m.Outcome(changed=changed, skipped=skipped)

    def _restore_one(self, task: Task) -> str | None:
        schedule = self.state.schedules.get(task.schedule_id or 0)
        if schedule is not None and schedule.waiting:
            return "another run of its schedule waits"
        if task.widget is not None and (task.business, task.site, task.widget) in self.state.widgets:
            return "another refresh of its widget waits"
        self._emit(task, "restore", self._actor, dq=1 if task.due else 0)
        self._step.rows.task_done.append(task.row())
        if task.due:
            self._arm_expiry(task, self._step.now)
        else:
            assert task.due_at is not None
            self._set_timer(max(task.due_at, self._step.now), "due", task.id)
        return None

    def _hide(self, row: TaskRow, hidden: bool) -> None:
        """Hide a finished task or show it again: an event, and a further version of its row."""
        business = self.state.businesses[row.business]
        self._record_task(
            TaskEvent(
                business.next_event(), self._step.now, row.task_id, "hide" if hidden else "unhide", row.status,
                row.status, None, self._actor, row.business, row.site, row.kind, row.owner, None, None, row.attempt,
                None, 0, 0, 0, self._request.request_id if self._request else None, None,
            )
        )
        row = row._replace(hidden=hidden, version=row.version + 1)
        self._step.rows.task_done.append(row)
        self._turned[row.task_id] = self._step.now, row
        self._turned.move_to_end(row.task_id)
        while next(iter(self._turned.values()))[0] <= self._step.now - self.policy.remember:
            self._turned.popitem(last=False)

    def _newest(self, row: TaskRow | None) -> TaskRow | None:
        """Take the newest version of a row that was read beside the core: somebody may have turned it meanwhile."""
        _, known = self._turned.get(row.task_id, (0, row)) if row is not None else (0, None)
        return known if known is None or row is None or known.version > row.version else row

    def _edit(self, action: m.Edit) -> m.Outcome:
        self._edit_one(action, None)
        return m.Outcome(changed=[action.task])

    def _edit_many(self, action: m.EditMany) -> m.Outcome:
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for edit in action.edits:
            try:
                self._edit_one(edit, action.reason)
                changed.append(edit.task)
            except Refused as refusal:
                task = self.state.tasks.get(edit.task)
                where = task if self._own(task) else None
                self._tell("edit", edit.task, where, str(refusal), action.reason, changed, skipped)
        return m.Outcome(changed=changed, skipped=skipped)

    def _edit_one(self, action: m.Edit, reason: str | None) -> None:
        """Edit a task or raise Refused. The audit row's versions tell an undo whether it is still as this left it."""
        task = self.state.tasks.get(action.task)
        if task is None or not self._own(task):
            raise NotFound("The task is not found, or already finished")
        if task.status is not Status.NEW:
            raise Refused(f"Only New tasks can be edited; this one is {task.status}")
        if task.version != action.version:
            raise Refused(f"Somebody changed this task meanwhile (version {task.version}, yours {action.version})")
        changes = dict(action.changes)
        self._check_changes(task, changes)
        before = {name: getattr(task, name) for name in changes}
        versions = {"version": task.version}, {"version": task.version + 1}
        joined_before = self.queues.cause(task) if task.due else None
        self._emit(task, "edit", self._actor, detail={"changes": changes, "before": before})
        self._shift_if_moved(task, joined_before)
        if "due_at" in changes:
            self._arm(task)
        self._audit("edit", "task", task.id, task.business, task.site, before=before | versions[0],
                    after=changes | versions[1], reason=reason)

    def _check_changes(self, task: Task, changes: dict[str, object]) -> None:
        for name, value in changes.items():
            if name not in EDITABLE:
                raise NotFound.named("editable field", name, EDITABLE)
            if name == "priority" and not (isinstance(value, int) and 0 <= value <= 9):
                raise Invalid(f"Priority {value!r} is not 0 to 9")
            if name in ("name", "target", "scope") and not isinstance(value, str | None):
                raise Invalid(f"The {name} {value!r} is no text")  # and could never be stored
            if name == "name":
                if not value:
                    raise Invalid("A task needs a name")
                self._check_result(task.kind, str(value), task.business, task.site, Right.OPERATE)
            if name == "requested_service":
                self._check_requested(task.business, task.site, task.kind, value if value is None else str(value))
            if name == "due_at":
                if task.due:
                    raise Refused("Its due time has come; it can't be moved any more")
                changes[name] = self._step.now if value in (None, "now") else value
                check_instant("due time", changes[name])

    def _shift_if_moved(self, task: Task, before: str | None) -> None:
        """A task that an edit moved to another sub-queue may wait for another cause from now on."""
        if before is None:
            return
        after = self.queues.cause(task)
        if after != before:
            self._step.rows.queue_shift.append(
                QueueShift(self._step.now, task.business, task.site, task.kind, COLLECT, before, after, 1)
            )
