"""The deterministic state machine: (state, inputs, a reading of the clock) → rows, outcomes, orders. Pure.

No clock of its own, no randomness, no I/O. The same core runs the live fleet, generates history on a virtual clock and
is torn at by the simulator. What the engine does by itself is in `machine`; what people may ask of it in `ontasks`,
`onplans`, `onblackouts` and `onplaces`; here a step is put together, and each command carried out once.

A step runs in this order: what came due while time passed, each at its own nominal instant (due times, holds,
expiries); schedules; commands and reports in the order they came; deadlines over time that really ticked; dispatch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass

from . import messages as m
from . import wellformed
from .clock import Reading
from .deciding import ENGINE, Policy, Step
from .errors import Refused
from .lanes import Service
from .ledger import Audit
from .lifecycle import Reason, Status
from .onblackouts import OnBlackouts
from .onplaces import OnPlaces
from .onplans import OnPlans
from .state import State
from .task import Task

Input = m.Command | m.Report


class Core(OnPlans, OnBlackouts, OnPlaces):
    """The engine's mind. Call `step` for all that happens; ask its queues why a task waits."""

    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._answered: dict[str, tuple[m.Outcome, str | None, int | None]] = {}  #: by request: who asked, and for what
        self._answered_at: deque[tuple[int, str]] = deque()

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
    m.NoteRefused: "_note_refused",
    m.EditMany: "_edit_many",
    m.Rerun: "_rerun_all",
    m.KeepView: "_keep_view",
    m.DropView: "_drop_view",
    m.CreateBlackout: "_create_blackout",
    m.EditBlackout: "_edit_blackout",
    m.RemoveBlackout: "_remove_blackout",
    m.EndRamps: "_end_ramps",
    m.SetCap: "_set_cap",
    m.RemoveCap: "_remove_cap",
}


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


def answers_from(audits: Iterable[Audit]) -> dict[str, tuple[int, m.Outcome]]:
    """Read the outcomes of requests back from their audit rows: request id → instant and outcome."""
    answers: dict[str, tuple[int, m.Outcome]] = {}
    for row in sorted(audits, key=lambda row: (row.occurred_at, row.audit_id)):
        if row.request_id is None:
            continue
        _, known = answers.get(row.request_id, (0, m.Outcome()))
        numbered = row.object_kind in ("task", "schedule", "blackout", "ramp")
        changed_id: int | str = int(row.object_id) if numbered else row.object_id
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
