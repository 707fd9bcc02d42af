"""The deterministic state machine: (state, inputs, a reading of the clock) → rows, outcomes, orders. Pure.

No clock of its own, no randomness, no I/O. The same core runs the live fleet, generates history on a virtual clock and
is torn at by the simulator. What the engine does by itself is in `machine`; what people may ask of it is here.

A step runs in this order: what came due while time passed, each at its own nominal instant (due times, holds,
expiries); schedules; commands and reports in the order they came; deadlines over time that really ticked; dispatch.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass

from . import messages as m
from . import views, wellformed
from .clock import Reading
from .dispatch import ROLES, SERVES, Hold, Service, lane_of
from .errors import Invalid, NotAllowed, NotFound, Refused
from .ledger import (
    Account,
    Audit,
    Detail,
    OneTimeLink,
    QueueShift,
    SavedView,
    ScheduleEvent,
    ServiceEvent,
    SignIn,
    TaskEvent,
    TaskRow,
    make_id,
    new_row,
    number_of,
)  # fmt: skip
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
    named_report,
    own_name,
    result_site,
    task_label,
)
from .machine import ENGINE, Machine, Policy, Step
from .recurrence import check_zone
from .roles import Grant, Right, checked, may, require
from .state import Business, Schedule, State, spec_to_detail
from .task import COLLECT, EDITABLE, SYSTEM_OWNER, Task, again

LONGEST_WAIT_S = 10 * 366 * 86_400
MOST_SLOTS = 100_000
MOST_WIDGETS = 100  #: of a site, whose refresh waits
LATEST = 253_402_300_799_999_999  #: the last instant of the year 9999: a later one can be neither shown nor stored

Input = m.Command | m.Report


class Core(Machine):
    """The engine's mind. Call `step` for all that happens; ask its queues why a task waits."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._answered: dict[str, tuple[m.Outcome, str | None, int | None]] = {}  #: by request: who asked, and for what
        self._answered_at: deque[tuple[int, str]] = deque()
        self._views: dict[str, SavedView] = {}
        self._turned: OrderedDict[int, tuple[int, TaskRow]] = OrderedDict()  #: ended tasks hidden or shown lately

    # --- stepping

    def step(self, reading: Reading, inputs: Iterable[Input] = (), into: Step | None = None) -> Step:
        """Take in what happened and decide everything that follows; add it to the step `into`, where one is given."""
        step = self._open(reading, into)
        self._pass_time(step.now, reading.down_from)
        for an_input in inputs:
            if isinstance(an_input, m.Command):
                step.outcomes.append((an_input.request_id, self._obey(an_input)))
            else:
                self._hear(an_input)
        self._run_deadlines()
        self._dispatch()
        return step

    def start(self, reading: Reading, in_process: Sequence[str] = ("simulated",)) -> Step:
        """Take up work after a start: `reading.down_from` tells since when the console was down.

        What ran in executors that died with the console is rescued, or its asked-for stop confirmed. Others get their
        orders again, under the same lease: the last ones may not have left before the console died.
        """
        step = self._open(reading)
        self._looked = self._ticked
        for service in self.queues.services.values():
            if service.running:
                self._expect_report(service)
        self._pass_time(step.now, reading.down_from)
        for task in sorted(self.state.tasks.values(), key=lambda t: t.id):
            if task.lease is None:
                continue
            service = self.state.service(task)
            if service.executor not in in_process:
                self._order_again(task, service)
            elif task.status is Status.STOPPING:
                self._emit(task, "confirm_stop", ENGINE, Reason.CONSOLE_RESTARTED, dr=-1)
            else:
                self._rescue(task, Reason.CONSOLE_RESTARTED, task.attempt)
        self._dispatch()
        return step

    def _order_again(self, task: Task, service: Service) -> None:
        self._order_start(task, service)
        if task.status is Status.STOPPING:
            self._ask_to_stop(task, service)
        elif task.suspend is not None:
            self._ask_for_suspension(task, service)

    def obey(self, reading: Reading, commands: Iterable[m.Command]) -> Step:
        """Found businesses, sites and services in a store that no engine runs: no time passes, the console stays down.

        Anything else needs time to pass (what fell due meanwhile must be settled first) and so a running engine.
        """
        step = self._open(reading)
        if not self.queues.console_is_down:
            self._service_event(None, "console_down", at=max(reading.down_from or step.now, self.state.last))
        for command in commands:
            if not isinstance(command.action, m.AddBusiness | m.AddSite | m.AddService):
                raise Refused("This needs a running console")
            step.outcomes.append((command.request_id, self._obey(command)))
        return step

    def next_timer(self) -> int | None:
        """Tell the next wall instant at which something comes due by itself."""
        return self._timers[0][0] if self._timers else None

    # --- commands

    def _obey(self, command: m.Command) -> m.Outcome:
        """Carry a command out once; a repeat of its request id gets the same outcome.

        What comes under the id of another request is no repeat: it is refused, unless the other was, which did nothing.
        """
        try:
            wellformed.check(command)
        except Refused as refusal:
            return m.Outcome(refused=str(refusal))
        asked = hash((type(command.action), _frozen(command.action)))
        while self._answered_at and self._answered_at[0][0] <= self._step.now - self.policy.remember:
            self._answered.pop(self._answered_at.popleft()[1], None)
        known = self._answered.get(command.request_id)
        if known is not None:
            answer, actor, before = known
            if actor in (None, command.actor) and before in (None, asked):
                return answer
            if answer.refused is None:
                return m.Outcome(refused="This request was made before, for something else; nothing was changed now")
        self._request = command
        try:
            outcome: m.Outcome = getattr(self, _COMMANDS[type(command.action)])(command.action)
        except Refused as refusal:
            outcome = m.Outcome(refused=str(refusal))
        finally:
            self._request = None
        self._answered[command.request_id] = outcome, command.actor, asked
        if known is None:
            self._answered_at.append((self._step.now, command.request_id))
        return outcome

    def remember(self, answers: Mapping[str, tuple[int, m.Outcome]], actors: Mapping[str, str] | None = None) -> None:
        """Take over outcomes that were read back from the audit trail after a restart, and who had asked.

        What was refused as a whole changed nothing and left no row: asked once more, it is decided anew.
        """
        for request_id, (at, outcome) in sorted(answers.items(), key=lambda item: item[1][0]):
            self._answered[request_id] = outcome, (actors or {}).get(request_id), None
            self._answered_at.append((at, request_id))

    def recall(self, kept: Iterable[SavedView]) -> None:
        """Take over the saved views that were read back after a restart."""
        self._views = {view.view_id: view for view in kept}

    @property
    def _actor(self) -> str:
        assert self._request is not None
        return self._request.actor

    def _may(self, right: Right, business: str | None, site: str | None) -> bool:
        assert self._request is not None
        return may(self._request.grants, right, business, site)

    def _require(self, right: Right, business: str | None, site: str | None) -> None:
        assert self._request is not None
        require(self._request.grants, right, business, site)

    def _own(self, place: Task | TaskRow | None) -> bool:
        """Tell whether the actor may touch a task; one that he may not touch is to him as if it were not there."""
        return place is not None and self._may(Right.OPERATE, place.business, place.site)

    def _audit(
        self, action: str, object_kind: str, object_id: object, business: str | None, site: str | None = None, *,
        outcome: str = "changed", before: Detail | None = None, after: Detail | None = None, reason: str | None = None,
    ) -> None:
        assert self._request is not None
        owner = self.state.business(business if business in self.state.businesses else None)
        owner.last_audit += 1
        self._step.rows.audit.append(
            new_row(
                Audit, (
                    owner.last_audit, self._step.now, business, site, self._request.actor, action, object_kind,
                    str(object_id), outcome, before, after, reason, self._request.request_id,
                ),
            )
        )

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
        _check_instant("due time", new.due_at)
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

    def _tell(
        self, verb: str, task_id: int, where: Task | TaskRow | None, why: str | None, reason: str | None,
        changed: list[int | str], skipped: list[tuple[int | str, str]],
    ) -> None:
        if why is None:
            changed.append(task_id)
        else:
            skipped.append((task_id, why))
        self._audit(
            verb, "task", task_id, where.business if where else None, where.site if where else None,
            outcome=why or "changed", reason=reason,
        )

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
                _check_instant("due time", changes[name])

    def _shift_if_moved(self, task: Task, before: str | None) -> None:
        """A task that an edit moved to another sub-queue may wait for another cause from now on."""
        if before is None:
            return
        after = self.queues.cause(task)
        if after != before:
            self._step.rows.queue_shift.append(
                QueueShift(self._step.now, task.business, task.site, task.kind, COLLECT, before, after, 1)
            )

    def _place_holds(self, action: m.PlaceHolds) -> m.Outcome:
        sites = [self._held_at(action, target) for target in action.targets]
        if not sites or any(target.kind != "schedule" for target in action.targets):
            self._require(Right.HOLD, action.business, action.site)
        now = self._step.now
        _check_instant("begin of a hold", action.from_at)
        _check_instant("end of a hold", action.until_at)
        from_at = max(now, action.from_at or now)
        if action.until_at is not None and action.until_at <= from_at:
            raise Invalid("A hold must end after it begins")
        if action.business is not None and action.business not in self.state.businesses:
            raise NotFound.named("business", action.business, self.state.businesses)
        if action.business is None and any(t.kind != "kind" for t in action.targets):
            raise Invalid("Only a task type can be held system-wide")
        if action.site is not None:
            known = self._business(action.business).sites if action.business is not None else ()
            if action.site not in known:
                raise NotFound.named("site", action.site, known)
        for target in action.targets:
            _check_target(target)
        placed: list[int] = []
        for target, site in zip(action.targets, sites, strict=True):
            business = self.state.business(action.business)
            hold = Hold(
                business.next_event(), action.business, site, target.kind, target.name, action.reason,
                self._actor, from_at, action.until_at, action.suspend,
            )
            self._hold_event(hold, "placed", self._actor, now, action.reason)
            hold = self.state.holds[hold.id]
            if from_at == now:
                self._begin_hold(hold, now)
            self._arm_hold(hold)
            placed.append(hold.id)
            self._audit(
                "hold", target.kind, target.name, action.business, site, reason=action.reason,
                after={"hold_id": hold.id, "until_at": action.until_at, "suspend": action.suspend},
            )
        return m.Outcome(changed=placed)

    def _held_at(self, action: m.PlaceHolds, target: m.HoldTarget) -> str | None:
        """Tell at which site a hold is: a schedule's own, and then it is for who may change schedules there."""
        if target.kind != "schedule" or action.business is None:
            return action.site
        schedule = self.state.schedules.get(int(target.name)) if _is_number(target.name) else None
        spec = schedule.spec if schedule is not None else None
        if (
            spec is None
            or (spec.business, spec.site) != (action.business, action.site or spec.site)
            or not self._may(Right.SCHEDULE, spec.business, spec.site)
        ):
            raise NotFound.named("schedule", target.name)
        return spec.site

    def _lift_holds(self, action: m.LiftHolds) -> m.Outcome:
        """Lift the holds that were listed; whatever was placed meanwhile stays."""
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for hold_id in dict.fromkeys(action.holds):
            hold = self.state.holds.get(hold_id)
            if hold is None or not self._may(_right_over(hold), hold.business, hold.site):
                skipped.append((hold_id, "already ended"))
                self._audit("lift", "hold", hold_id, None, outcome="already ended", before={"hold_id": hold_id})
                continue
            self._end_hold(hold, "lifted", self._actor, self._step.now, action.reason)
            changed.append(hold_id)
            self._audit("lift", hold.target_kind, hold.target, hold.business, hold.site, reason=action.reason,
                        before={"hold_id": hold_id})
        self._release_owed()
        return m.Outcome(changed=changed, skipped=skipped)

    def _create_schedule(self, action: m.CreateSchedule) -> m.Outcome:
        self._check_schedule(action.spec)
        schedule_id = self.state.businesses[action.spec.business].next_event()
        self._schedule_event(schedule_id, "created", 1, action.spec, spec_to_detail(action.spec))
        self._arm_schedule(self.state.schedules[schedule_id])
        self._audit("create", "schedule", schedule_id, action.spec.business, action.spec.site,
                    after=spec_to_detail(action.spec))
        return m.Outcome(changed=[schedule_id])

    def _edit_schedule(self, action: m.EditSchedule) -> m.Outcome:
        schedule = self._schedule(action.schedule)
        if schedule.version != action.version:
            raise Refused(
                f"Somebody changed this schedule meanwhile (version {schedule.version}, yours {action.version})"
            )
        old, new = schedule.spec, action.spec
        if (old.business, old.site) != (new.business, new.site):
            raise Invalid("A schedule stays in its business and site")
        self._check_schedule(new)
        self._schedule_event(schedule.id, "edited", schedule.version + 1, new, spec_to_detail(new))
        self._arm_schedule(self.state.schedules[schedule.id])
        self._audit("edit", "schedule", schedule.id, new.business, new.site, before=spec_to_detail(old),
                    after=spec_to_detail(new))
        return m.Outcome(changed=[schedule.id])

    def _remove_schedule(self, action: m.RemoveSchedule) -> m.Outcome:
        schedule = self._schedule(action.schedule)
        spec = schedule.spec
        self._schedule_event(schedule.id, "removed", schedule.version + 1, spec, None)
        self._audit("remove", "schedule", schedule.id, spec.business, spec.site, before=spec_to_detail(spec),
                    reason=action.reason)
        over = [h for h in self.state.holds.values() if (h.target_kind, h.target) == ("schedule", str(schedule.id))]
        for hold in sorted(over, key=lambda hold: hold.id):  # nobody would find them where the schedule is gone
            self._end_hold(hold, "lifted", self._actor, self._step.now, action.reason)
            self._audit("lift", "schedule", schedule.id, hold.business, hold.site, reason=action.reason,
                        before={"hold_id": hold.id})
        return m.Outcome(changed=[schedule.id, *sorted(hold.id for hold in over)])

    def _run_now(self, action: m.RunNow) -> m.Outcome:
        spec = self._schedule(action.schedule).spec
        new = m.NewTask(
            spec.business, spec.site, spec.kind, own_name(spec.kind, spec.name, spec.target), spec.owner, self._actor,
            spec.target, spec.target_kind, spec.scope, spec.requested_service, spec.priority, None, spec.longest_wait_s,
        )
        self._check_new(new, Right.SCHEDULE)
        task = self._submit(new, self.state.businesses[spec.business], self._actor, schedule_id=action.schedule)
        self._audit("run_now", "schedule", action.schedule, spec.business, spec.site, after={"task_id": task.id})
        return m.Outcome(changed=[task.id])

    def _schedule(self, schedule_id: int) -> Schedule:
        schedule = self.state.schedules.get(schedule_id)
        if schedule is None or not self._may(Right.SCHEDULE, schedule.spec.business, schedule.spec.site):
            raise NotFound("There is no such schedule, or it was removed")
        return schedule

    def _check_schedule(self, spec: m.ScheduleSpec) -> None:
        if not spec.name:
            raise Invalid("A schedule needs a name")
        spec.rule.check()
        if not spec.owner or spec.owner == SYSTEM_OWNER:
            raise Invalid("A schedule needs a person as its owner")  # whom a hold can pause
        if spec.on_hold not in ("skip", "queue_one"):
            raise NotFound.named("rule for runs under a hold", spec.on_hold, ("skip", "queue_one"))
        if not named_report(spec.kind, spec.name, spec.target):
            raise Invalid(f"A schedule of a report bears its name, or has it as its target: {', '.join(REPORTS)}")
        self._check_new(
            m.NewTask(
                spec.business, spec.site, spec.kind, own_name(spec.kind, spec.name, spec.target), spec.owner,
                "Schedule", priority=spec.priority, requested_service=spec.requested_service,
                longest_wait_s=spec.longest_wait_s,
            ),
            Right.SCHEDULE,
        )

    def _schedule_event(
        self, schedule_id: int, event: str, version: int, spec: m.ScheduleSpec, detail: Detail | None
    ) -> None:
        assert self._request is not None
        self._record(
            ScheduleEvent(
                self.state.businesses[spec.business].next_event(), self._step.now, schedule_id, event, version,
                spec.business, spec.site, spec.name, self._actor, self._request.request_id, detail,
            )
        )

    def _add_business(self, action: m.AddBusiness) -> m.Outcome:
        self._require(Right.FOUND, None, None)
        _check_name("business", action.name, self.state.businesses)
        number = 1 + max((b.no for b in self.state.businesses.values()), default=0)
        self._topology(make_id(number, 1), action.name, None, None, "business_added", None)
        self._audit("add", "business", action.name, action.name)
        return m.Outcome(changed=[action.name])

    def _add_site(self, action: m.AddSite) -> m.Outcome:
        self._require(Right.SERVE, action.business, None)
        business = self._business(action.business)
        _check_name("site", action.name, business.sites)
        check_zone(action.zone)
        detail = {"zone": action.zone, "archive": action.archive}
        self._topology(business.next_event(), action.business, action.name, None, "site_added", detail)
        self._audit("add", "site", action.name, action.business, action.name, after=detail)
        return m.Outcome(changed=[action.name])

    def _add_service(self, action: m.AddService) -> m.Outcome:
        self._require(Right.SERVE, action.business, action.site)
        business = self._business(action.business)
        if (action.business, action.name) in self.queues.services:
            raise Refused(f"There is a service “{action.name}” in {action.business} already")
        _check_name("service", action.name, [name for b, name in self.queues.services if b == action.business])
        if action.role not in ROLES:
            raise NotFound.named("role", action.role, ROLES)
        if (action.role == "processor") != (action.site is None):
            raise Invalid("A processor belongs to the business; every other service belongs to a site")
        if action.site is not None and action.site not in business.sites:
            raise NotFound.named("site", action.site, business.sites)
        if action.site is not None and business.sites[action.site].archive:
            raise Invalid(f"{action.site} is an archive of imported history; nothing can run there")
        _check_slots(action.name, action.slots)
        detail = {"role": action.role, "slots": action.slots, "executor": action.executor}
        self._topology(business.next_event(), action.business, action.site, action.name, "service_added", detail)
        self._audit("add", "service", action.name, action.business, action.site, after=detail)
        return m.Outcome(changed=[action.name])

    def _topology(
        self, event_id: int, business: str, site: str | None, service: str | None, event: str, detail: Detail | None
    ) -> None:
        assert self._request is not None
        self._record(
            ServiceEvent(
                event_id, self._step.now, business, site, service, event, None, self._actor, self._request.request_id,
                detail,
            )
        )

    def _set_service(self, action: m.SetService) -> m.Outcome:
        service = self.queues.services.get((action.business, action.service))
        if not self._may(Right.SERVE, action.business, service.site if service else None):
            raise NotAllowed(f"You may not {Right.SERVE} at {action.business}, or not this one; nothing was changed")
        if service is None:
            names = [name for business, name in self.queues.services if business == action.business]
            raise NotFound.named("service", action.service, names)
        if action.state not in (None, "online", "draining", "offline"):
            raise NotFound.named("state", action.state, ("online", "draining", "offline"))
        if action.slots is not None:
            _check_slots(action.service, action.slots)
        before = {"state": service.wanted, "slots": service.slots}
        if action.slots is not None and action.slots != service.slots:
            self._service_event(service, "slots", self._actor, action.reason, {"slots": action.slots})
        if action.state is not None and action.state != service.wanted:
            self._service_event(service, action.state, self._actor, action.reason)
            if action.state == "offline":
                self._clear_out(service)
        after = {"state": service.wanted, "slots": service.slots}
        self._audit("set", "service", service.name, service.business, service.site, before=before, after=after,
                    reason=action.reason)
        return m.Outcome(changed=[service.name])

    def _clear_out(self, service: Service) -> None:
        """Put back what runs on a service that a person took offline; that is no failed attempt."""
        for task in sorted(service.running.values(), key=lambda t: t.id):
            if task.status is not Status.STOPPING:
                assert task.lease is not None
                self._step.orders.append(
                    m.StopOrder(service.executor, service.business, service.name, task.id, task.lease)
                )
                self._rescue(task, Reason.SERVICE_OFFLINE, task.attempt)

    def _note_drill(self, action: m.NoteDrill) -> m.Outcome:
        self._require(Right.DRILL, None, None)
        self._business(action.business)
        self._audit(action.verb, "drill", action.drill, action.business, action.site, after=action.given)
        return m.Outcome(changed=[action.drill])

    def _note_setting(self, action: m.NoteSetting) -> m.Outcome:
        self._require(Right.SETTINGS, None, None)
        self._audit(
            "set", "setting", action.setting, None, before=action.before, after=action.after, reason=action.reason
        )
        return m.Outcome(changed=[action.setting])

    def _keep_users(self, action: m.KeepUsers) -> m.Outcome:
        """Who keeps a user manages users wherever that one's grants reach: else he would hand out more than he has."""
        self._require(Right.USERS, action.business, None)
        for account in action.accounts:
            for grant in _granted(account):
                self._require(Right.USERS, grant.business, None)
        if ({row.name for row in action.accounts} | {row.account for row in action.links}) - {action.user}:
            raise NotAllowed(f"This is kept of {action.user} alone; nothing was changed")
        rows = self._step.rows
        rows.account += action.accounts
        rows.one_time_link += action.links
        self._audit(
            action.verb, "user", action.user, action.business, before=action.before, after=action.after,
            reason=action.reason,
        )
        return m.Outcome(changed=[action.user])

    def _keep_sign_in(self, action: m.KeepSignIn) -> m.Outcome:
        """Everybody may, for himself and with what he has already; nobody for another."""
        owned: tuple[SignIn | OneTimeLink, ...] = (*action.sign_ins, *action.links)
        whose = {row.account for row in owned} | {account.name for account in action.accounts}
        assert self._request is not None
        kept = {grant for account in action.accounts for grant in _granted(account)}
        if whose != {self._actor} or not kept.issubset(self._request.grants):
            raise NotAllowed
        rows = self._step.rows
        rows.sign_in += action.sign_ins
        rows.account += action.accounts
        rows.one_time_link += action.links
        self._audit(action.verb, "user", self._actor, None)
        return m.Outcome(changed=[self._actor])

    def _note_use(self, action: m.NoteUse) -> m.Outcome:
        self._require(Right.USERS, None, None)
        self._step.rows.sign_in += action.sign_ins
        return m.Outcome(changed=[sign_in.account for sign_in in action.sign_ins])

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

    def _keep_view(self, action: m.KeepView) -> m.Outcome:
        assert self._request is not None
        if action.business is not None:
            views.require_sharing(self._request.grants, action.business)
            self._business(action.business)
        return self._put_view("keep", views.kept(self._views, action, self._request, self._step.now), None)

    def _drop_view(self, action: m.DropView) -> m.Outcome:
        assert self._request is not None
        change = views.dropped(self._views, action, self._request, self._step.now)
        return self._put_view("drop", change, action.reason)

    def _put_view(self, verb: str, change: views.Change, reason: str | None) -> m.Outcome:
        before, after = change
        if after.removed:
            del self._views[after.view_id]
        else:
            self._views[after.view_id] = after
        self._step.rows.saved_view.append(after)
        self._audit(
            verb, "view", after.view_id, after.business or (before.business if before is not None else None),
            before=views.as_detail(before) if before is not None else None,
            after=None if after.removed else views.as_detail(after), reason=reason,
        )
        return m.Outcome(changed=[after.view_id])

    def _business(self, name: str) -> Business:
        business = self.state.businesses.get(name)
        if business is None:
            raise NotFound.named("business", name, self.state.businesses)
        return business


def _check_target(target: m.HoldTarget) -> None:
    if target.kind not in ("user", "kind", "schedule"):
        raise NotFound.named("kind of hold", target.kind, ("user", "kind", "schedule"))
    if target.kind == "kind" and target.name not in list(Kind):
        raise NotFound.named("task type", target.name, list(Kind))
    if not target.name:
        raise Invalid("A hold needs somebody or something that it is on")
    if target.kind == "user" and target.name == SYSTEM_OWNER:
        raise Invalid("System tasks are held by their type, not as a user's")


def _right_over(hold: Hold) -> Right:
    """Tell which right ends a hold: pausing a schedule is a change of it."""
    return Right.SCHEDULE if hold.target_kind == "schedule" else Right.HOLD


def _is_number(text: str) -> bool:
    """Tell whether a text is an id as holds keep it."""
    return text.isascii() and text.isdecimal() and len(text) < 20 and not text.startswith("0")


def _granted(account: Account) -> list[Grant]:
    try:
        found = [checked(*grant) for grant in account.grants["grants"]]
    except (KeyError, TypeError):
        found = None
    if found is None or not all(isinstance(place, str | None) for grant in found for place in grant[1:]):
        raise Invalid(f"The grants of {account.name} are not as they are kept")
    return found


def _frozen(value: object) -> object:
    """Put a part of a command into a form that can be hashed; rows handed in beside the tasks don't count."""
    if isinstance(value, list | tuple):
        whole = tuple(value)
        try:
            hash(whole)
        except TypeError:
            return tuple(map(_frozen, whole))
        return whole
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(each)) for name, each in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        named = [field.name for field in fields(value) if field.name != "finished"]
        return type(value), *(_frozen(getattr(value, name)) for name in named)
    return value


def _check_slots(name: str, slots: int) -> None:
    if not 1 <= slots <= MOST_SLOTS:
        raise Invalid(f"{name} can't have {slots} slots; it has 1 to {MOST_SLOTS:,}")


def _check_instant(what: str, at: object) -> None:
    if at is not None and not (isinstance(at, int) and 0 <= at <= LATEST):
        raise Invalid(f"The {what} {at!r} is no instant")


_COMMANDS: dict[type, str] = {
    m.Submit: "_submit_all",
    m.RefreshWidget: "_refresh_widget",
    m.StartReport: "_start_report",
    m.Stop: "_stop_all",
    m.Delete: "_delete_all",
    m.Restore: "_restore_all",
    m.Edit: "_edit",
    m.PlaceHolds: "_place_holds",
    m.LiftHolds: "_lift_holds",
    m.CreateSchedule: "_create_schedule",
    m.EditSchedule: "_edit_schedule",
    m.RemoveSchedule: "_remove_schedule",
    m.RunNow: "_run_now",
    m.AddBusiness: "_add_business",
    m.AddSite: "_add_site",
    m.AddService: "_add_service",
    m.SetService: "_set_service",
    m.NoteDrill: "_note_drill",
    m.NoteSetting: "_note_setting",
    m.KeepUsers: "_keep_users",
    m.KeepSignIn: "_keep_sign_in",
    m.NoteUse: "_note_use",
    m.EditMany: "_edit_many",
    m.Rerun: "_rerun_all",
    m.KeepView: "_keep_view",
    m.DropView: "_drop_view",
}


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name for good that people could not tell from another, or not see at all: it is never taken back."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > 100:
        raise Invalid(f"A {what}'s name has 1 to 100 characters that can be seen, and no space around them")
    like = next((other for other in known if wellformed.likeness(other) == wellformed.likeness(name)), None)
    if like is not None:
        raise Refused(f"There is a {what} “{like}” already")


def answers_from(audits: Iterable[Audit]) -> dict[str, tuple[int, m.Outcome]]:
    """Read the outcomes of requests back from their audit rows: request id → instant and outcome."""
    answers: dict[str, tuple[int, m.Outcome]] = {}
    for row in sorted(audits, key=lambda row: (row.occurred_at, row.audit_id)):
        if row.request_id is None:
            continue
        _, known = answers.get(row.request_id, (0, m.Outcome()))
        changed_id: int | str = int(row.object_id) if row.object_kind in ("task", "schedule") else row.object_id
        if row.action == "hold":
            changed_id = (row.after or {})["hold_id"]
        elif row.action == "lift":
            changed_id = (row.before or {})["hold_id"]
        elif row.action == "run_now":
            changed_id = (row.after or {})["task_id"]
        if row.outcome == "changed":
            outcome = m.Outcome([*known.changed, changed_id], known.skipped)
        else:
            outcome = m.Outcome(known.changed, [*known.skipped, (changed_id, row.outcome)])
        answers[row.request_id] = (row.occurred_at, outcome)
    return answers
