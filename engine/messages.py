"""What goes into the core and what comes out: commands of people, reports of services, orders to executors. Pure.

A command is answered by an `Outcome`, a report by nothing. All instants are integer microseconds in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from .clock import DAY, MINUTE, SECOND
from .ledger import Account, AssetSeen, Detail, OneTimeLink, SignIn, TaskRow
from .lifecycle import Kind
from .recurrence import Rule
from .roles import EVERYTHING, Grants

# --- commands: what a person, a schedule's owner, the API or the fleet file asks for


class NewTask(NamedTuple):
    """The facts of a task to be. `due_at` None means now; `longest_wait_s` None means no limit (seconds)."""

    business: str
    site: str
    kind: Kind
    name: str
    owner: str
    initiator: str
    target: str | None = None
    target_kind: str | None = None
    scope: str | None = None
    requested_service: str | None = None
    priority: int = 5
    due_at: int | None = None
    longest_wait_s: int | None = None
    rerun_of: int | None = None
    source: str = "live"
    created_by: str | None = None  #: default: the actor


class Submit(NamedTuple):
    tasks: Sequence[NewTask]


class RefreshWidget(NamedTuple):
    """Ask for a widget's refresh; joins the one that waits, if one does."""

    business: str
    site: str
    widget: str


class StartReport(NamedTuple):
    """Start one of the reports, or the outlier calculation, by its name; what it finds is of the business or a site."""

    business: str
    site: str
    report: str


@dataclass(frozen=True, slots=True)
class Stop:
    tasks: Sequence[int]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete New tasks and hide finished ones. `finished` holds the rows of those no longer live."""

    tasks: Sequence[int]
    reason: str | None = None
    finished: Mapping[int, TaskRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restore:
    """Undo deletions and hidings. `finished` holds the rows of those no longer live."""

    tasks: Sequence[int]
    finished: Mapping[int, TaskRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """Change a New task, if it still has the version that the editor saw."""

    task: int
    version: int
    changes: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HoldTarget:
    """What a hold covers: a user, a task type ("kind"), a schedule (its id as text) or all collecting at a site."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class PlaceHolds:
    """Place one hold for each target. `business` None is system-wide; a hold covers [from_at, until_at).

    A hold on a schedule is at the schedule's own site, named or not, and for whoever may change schedules there. One on
    a site is at that site, and covers every task that is collected there, whoever owns it: all but system tasks.
    """

    business: str | None
    targets: Sequence[HoldTarget]
    reason: str
    site: str | None = None
    from_at: int | None = None
    until_at: int | None = None
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class LiftHolds:
    """Lift exactly these holds, those that a dialog listed.

    With a rate, what they kept and no other hold keeps starts gradually: so many tasks a minute, until all that waits
    now has gone.
    """

    holds: Sequence[int]
    reason: str | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class EndRamps:
    """Let all go now that these ramps still keep back."""

    ramps: Sequence[int]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SetCap:
    """Let at most so many tasks of a user of a business run at once, collecting or processing; what runs goes on."""

    business: str
    user: str
    at_most: int
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveCap:
    business: str
    user: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What a schedule yields and when. `on_hold` is "skip" or "queue_one"."""

    name: str
    business: str
    site: str
    kind: Kind
    rule: Rule
    owner: str
    target: str | None = None
    target_kind: str | None = None
    scope: str | None = None
    requested_service: str | None = None
    priority: int = 5
    longest_wait_s: int | None = None
    on_hold: str = "skip"


@dataclass(frozen=True, slots=True)
class CreateSchedule:
    spec: ScheduleSpec


@dataclass(frozen=True, slots=True)
class EditSchedule:
    schedule: int
    version: int
    spec: ScheduleSpec


@dataclass(frozen=True, slots=True)
class RemoveSchedule:
    schedule: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunNow:
    """Submit one run of a schedule at once, beside its occurrences."""

    schedule: int


SHORTEST_BLACKOUT, LONGEST_BLACKOUT = MINUTE, 7 * DAY
BLACKOUTS_LOOKED_AT = 200  #: times to come that are looked at: a window must not pile up hold upon hold


@dataclass(frozen=True, slots=True)
class BlackoutSpec:
    """A blackout window: at each time of the rule its whole site is held for so long, by the engine itself.

    `suspend` asks collecting tasks to suspend when the window begins.
    """

    name: str
    business: str
    site: str
    rule: Rule
    duration_s: int
    reason: str = ""
    suspend: bool = False

    def piles_up(self, now: int) -> bool:
        """Tell whether it occurs a third time before the first is over; once more it may, as days of 23 hours do."""
        times = self.rule.occurrences(now, now + 366 * DAY, BLACKOUTS_LOOKED_AT)
        return any(third - first < self.duration_s * SECOND for first, third in zip(times, times[2:], strict=False))


@dataclass(frozen=True, slots=True)
class CreateBlackout:
    spec: BlackoutSpec


@dataclass(frozen=True, slots=True)
class EditBlackout:
    """Change a window from its next time on, if it still has the version that the editor saw."""

    blackout: int
    version: int
    spec: BlackoutSpec


@dataclass(frozen=True, slots=True)
class RemoveBlackout:
    """Remove a window, and lift what it holds."""

    blackout: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AddBusiness:
    name: str


@dataclass(frozen=True, slots=True)
class AddSite:
    """Add a site. An archive holds imported history: no services, no live verdict."""

    business: str
    name: str
    zone: str = "UTC"
    archive: bool = False


@dataclass(frozen=True, slots=True)
class AddService:
    """Add a host. `role` is explorer, audit_service, hosted_zone or processor (of the business: no site)."""

    business: str
    site: str | None
    name: str
    role: str
    slots: int
    executor: str = "simulated"


@dataclass(frozen=True, slots=True)
class SetService:
    """Bring a service online, drain it, take it offline (`state`), or change its slots."""

    business: str
    service: str
    state: str | None = None
    slots: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NoteDrill:
    """Leave in the audit trail that a drill is started or ended (`verb`), with what was given. Changes nothing else."""

    verb: str
    drill: str
    business: str
    site: str | None
    given: Detail


@dataclass(frozen=True, slots=True)
class NoteSetting:
    """Leave in the audit trail that a setting is changed, from what to what. Changes nothing else."""

    setting: str
    before: Detail
    after: Detail
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class KeepUsers:
    """Keep accounts, one-time links and ended sessions as somebody who manages users made them.

    `verb` is for the audit trail.
    """

    verb: str
    user: str
    business: str | None  #: whose users; None: the platform's, or of several
    accounts: Sequence[Account] = ()
    links: Sequence[OneTimeLink] = ()
    before: Detail | None = None
    after: Detail | None = None
    reason: str | None = None
    sign_ins: Sequence[SignIn] = ()


@dataclass(frozen=True, slots=True)
class KeepSignIn:
    """Keep what somebody did with an account of his own: signed in or out, used a link, set a password."""

    verb: str
    sign_ins: Sequence[SignIn] = ()
    accounts: Sequence[Account] = ()
    links: Sequence[OneTimeLink] = ()
    business: str | None = None  #: that all his roles lie in
    after: Detail | None = None  #: from where, and how


class RefusedSignIn(NamedTuple):
    """Somebody who was not let in as a user that there is: why, from which address, and how he tried."""

    user: str
    business: str | None
    why: str
    address: str
    by: str
    at: int


@dataclass(frozen=True, slots=True)
class NoteRefused:
    """Leave in the audit trail who was not let in: the console's own note. Changes nothing else."""

    refused: Sequence[RefusedSignIn]


@dataclass(frozen=True, slots=True)
class NoteUse:
    """Note when sessions were last used: the console's own note, nobody's change, so it leaves no audit row."""

    sign_ins: Sequence[SignIn]


@dataclass(frozen=True, slots=True)
class EditMany:
    """Change many New tasks, each if it still has the version that the editor saw; the others are told with why."""

    edits: Sequence[Edit]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """Submit tasks anew with the facts of others. `finished` holds the rows of those no longer live.

    A row does not tell the longest wait (seconds); `longest_waits` does, of those rows that have one.
    """

    tasks: Sequence[int]
    reason: str | None = None
    finished: Mapping[int, TaskRow] = field(default_factory=dict)
    longest_waits: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeepView:
    """Keep a view under a name: for oneself, or shared with all who see some of a business; see `views`.

    `view` names the one that it takes the place of; without, it is a new one.
    """

    name: str
    tab: str
    filter: str = ""
    sort: str = ""
    business: str | None = None
    view: str | None = None


@dataclass(frozen=True, slots=True)
class DropView:
    view: str
    reason: str | None = None


Action = (
    Submit | RefreshWidget | Stop | Delete | Restore | Edit | PlaceHolds | LiftHolds | CreateSchedule | EditSchedule
    | RemoveSchedule | RunNow | StartReport | AddBusiness | AddSite | AddService | SetService
    | NoteDrill | NoteSetting | KeepUsers | KeepSignIn | NoteUse | NoteRefused
    | EditMany | Rerun | KeepView | DropView | CreateBlackout | EditBlackout | RemoveBlackout
    | EndRamps | SetCap | RemoveCap
)  # fmt: skip


class Command(NamedTuple):
    """An action, who asks for it, and what he may. The same `request_id` within ten minutes gets the same outcome."""

    request_id: str
    actor: str
    action: Action
    grants: Grants = EVERYTHING


class Outcome(NamedTuple):
    """What a command changed (ids of tasks, holds, schedules, views …; names of others), what it skipped, and why."""

    changed: Sequence[int | str] = ()
    skipped: Sequence[tuple[int | str, str]] = ()
    refused: str | None = None  #: set when the command as a whole was refused; then nothing changed


# --- reports: what services say. Each about a task carries the lease it was ordered under


class Heartbeat(NamedTuple):
    """These services of one business are alive."""

    business: str
    services: Sequence[str]


class Alive(NamedTuple):
    """An executor has looked at all of its services: they are alive but for these (business, name).

    The silence of an executor's services counts over time in which it does look.
    """

    executor: str
    silent: Set[tuple[str, str]] = frozenset()


class Progress(NamedTuple):
    """How far the running stage of a task is, 0 to 1. Never recorded, only shown."""

    task_id: int
    lease: int
    fraction: float


class Collected(NamedTuple):
    task_id: int
    lease: int


class Finished(NamedTuple):
    """Processing is done, with so many errors on the way; `changes` counts new, changed, gone, online, offline.

    `result` is what a report or an outlier calculation found; see `reports`.
    """

    task_id: int
    lease: int
    errors: int = 0
    changes: tuple[int, int, int, int, int] | None = None
    assets: Sequence[AssetSeen] = ()
    result: Detail | None = None


class Failed(NamedTuple):
    """The running stage can't go on. `reason` is error or timeout."""

    task_id: int
    lease: int
    reason: str
    error: str


class StopConfirmed(NamedTuple):
    task_id: int
    lease: int


class Suspended(NamedTuple):
    """The collecting stage was put aside as a hold asked; `checkpoint` lets it go on from there."""

    task_id: int
    lease: int
    checkpoint: float


Report = Heartbeat | Alive | Progress | Collected | Finished | Failed | StopConfirmed | Suspended


# --- orders: what the core tells executors, once the batch that decided it is durable


class StartOrder(NamedTuple):
    """Run a stage ("collect" or "process") of a task on a service. `checkpoint` is where a suspended stage goes on.

    An order may come again under the same lease, after a restart of the console; that is no second run.
    """

    executor: str
    business: str
    site: str
    service: str
    task_id: int
    lease: int
    stage: str
    kind: str
    target: str | None
    attempt: int
    checkpoint: float
    name: str = ""  #: of the task: a report's tells which report it is


class StopOrder(NamedTuple):
    executor: str
    business: str
    service: str
    task_id: int
    lease: int


class SuspendOrder(NamedTuple):
    executor: str
    business: str
    service: str
    task_id: int
    lease: int


Order = StartOrder | StopOrder | SuspendOrder
