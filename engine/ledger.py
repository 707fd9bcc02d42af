"""The rows that are the truth: the append-only tables as tuples, their columns, and how ids are made. Pure.

Live state, task rows and rollups follow from these rows and from nothing else. Within a step, rows stand in the order
in which they were decided; `event_id` numbers them per business without a gap, over all tables that carry it, so a lost
row shows and no tenant can read another's volume off the ids. Instants and durations are integer microseconds here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

NUMBER_BITS = 40
SYSTEM = 0  #: the business number of what belongs to no business (system-wide holds, console_down)

Detail = dict[str, Any]

json_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
"""Writes a detail as the tables keep it."""


def make_id(business_no: int, number: int) -> int:
    """Join a business's number and a number of its own into one 64-bit id; `number_of` and `business_of` undo it."""
    return business_no << NUMBER_BITS | number


def business_of(an_id: int) -> int:
    return an_id >> NUMBER_BITS


def number_of(an_id: int) -> int:
    return an_id & ((1 << NUMBER_BITS) - 1)


new_row = tuple.__new__
"""Make a row of a type from one tuple of its columns: half the time of calling the type, for where it counts."""


class TaskEvent(NamedTuple):
    """One step in the life of one task."""

    event_id: int
    occurred_at: int
    task_id: int
    event: str
    from_status: str | None
    to_status: str
    reason: str | None
    actor: str
    business: str
    site: str | None
    kind: str
    owner: str
    service: str | None
    lease: int | None
    attempt: int
    cause: str | None
    dq: int
    dp: int
    dr: int
    request_id: str | None
    detail: Detail | None


class ServiceEvent(NamedTuple):
    """One change of the fleet: business, site or service added, service state, refused report, console down."""

    event_id: int
    occurred_at: int
    business: str | None
    site: str | None
    service: str | None
    event: str
    reason: str | None
    actor: str
    request_id: str | None
    detail: Detail | None


class HoldEvent(NamedTuple):
    """One change of a hold: placed, begun, ended (lifted or expired)."""

    event_id: int
    occurred_at: int
    hold_id: int
    event: str
    business: str | None
    site: str | None
    target_kind: str
    target: str
    reason: str | None
    actor: str
    from_at: int
    until_at: int | None
    suspend: bool
    request_id: str | None


class ThrottleEvent(NamedTuple):
    """One change of a ramp or cap: begun, changed (a cap), shut, open, ended. Where it began stands what it covers."""

    event_id: int
    occurred_at: int
    throttle_id: int
    throttle: str
    event: str
    business: str | None
    site: str | None
    owner: str | None
    rate: int | None
    at_most: int | None
    reason: str | None
    actor: str
    request_id: str | None
    detail: Detail | None


class ScheduleEvent(NamedTuple):
    """One version of a schedule: created, edited, removed."""

    event_id: int
    occurred_at: int
    schedule_id: int
    event: str
    version: int
    business: str
    site: str
    name: str
    actor: str
    request_id: str | None
    detail: Detail | None


class ScheduleFire(NamedTuple):
    """What became of one nominal time of a schedule, or of a run of them that was skipped together."""

    event_id: int
    occurred_at: int
    business: str
    site: str
    schedule_id: int
    nominal_at: int
    last_nominal_at: int
    count: int  # type: ignore[assignment]  # the public column name; tuple.count is not wanted here
    task_id: int | None
    outcome: str
    reason: str | None


class BlackoutEvent(NamedTuple):
    """One version of a blackout window: created, edited, removed."""

    event_id: int
    occurred_at: int
    blackout_id: int
    event: str
    version: int
    business: str
    site: str
    name: str
    actor: str
    request_id: str | None
    detail: Detail | None


class BlackoutFire(NamedTuple):
    """What became of one nominal time of a blackout window, or of a run of them that were over before they were seen.

    Outcome "held": `hold_id` is in force from then until `until_at`. "missed": the console was down all the while.
    """

    event_id: int
    occurred_at: int
    business: str
    site: str
    blackout_id: int
    nominal_at: int
    last_nominal_at: int
    count: int  # type: ignore[assignment]  # the public column name; tuple.count is not wanted here
    until_at: int
    hold_id: int | None
    outcome: str


class QueueShift(NamedTuple):
    """So many waiting tasks began to wait for another cause."""

    occurred_at: int
    business: str
    site: str | None
    kind: str
    queue: str
    from_cause: str
    to_cause: str
    n: int


class Audit(NamedTuple):
    """One object that a person's command changed, or that it was refused for."""

    audit_id: int
    occurred_at: int
    business: str | None
    site: str | None
    actor: str
    action: str
    object_kind: str
    object_id: str
    outcome: str
    before: Detail | None
    after: Detail | None
    reason: str | None
    request_id: str | None


class TaskRow(NamedTuple):
    """A task as the tables show it: derived from its events, written at its end and when live tasks are published."""

    task_id: int
    number: int
    name: str
    kind: str
    business: str
    site: str | None
    target: str | None
    target_kind: str | None
    scope: str | None
    initiator: str
    owner: str
    created_by: str
    schedule_id: int | None
    requested_service: str | None
    service: str | None
    processor: str | None
    source: str
    status: str
    shown_status: str
    held_by: int | None
    cause: str | None
    outcome: str | None
    reason: str | None
    error: str | None
    errors: int
    attempt: int
    priority: int
    version: int
    hidden: bool
    rerun_of: int | None
    created_at: int
    due_at: int | None
    queued_at: int | None
    started_at: int | None
    collected_at: int | None
    processing_queued_at: int | None
    processing_started_at: int | None
    finished_at: int | None
    wait_s: int | None
    wait_hold_s: int
    wait_throttled_s: int
    wait_offline_s: int
    wait_exclusive_s: int
    wait_capacity_s: int
    wait_console_s: int
    wait_unknown_s: int
    process_wait_s: int | None
    process_wait_hold_s: int
    run_s: int | None
    process_s: int | None
    assets_new: int | None
    assets_changed: int | None
    assets_gone: int | None
    assets_online: int | None
    assets_offline: int | None


class WidgetRefresh(NamedTuple):
    """One finished refresh of a dashboard's widget; latency runs from the first request that it answered."""

    occurred_at: int
    business: str
    site: str
    widget: str
    task_id: int
    wait_s: int
    run_s: int
    latency_s: int
    joined: int


class AssetSeen(NamedTuple):
    """An asset as a processed task last saw it; upserted, not part of the ledger."""

    business: str
    site: str
    target: str
    name: str
    type: str
    seen_at: int
    online: bool
    outlier_score: float | None


class ReportResult(NamedTuple):
    """What a report or an outlier calculation found; the event that ended its task bears the result's digest."""

    task_id: int
    business: str
    site: str | None  #: None: of the business as a whole
    name: str
    created_by: str
    made_at: int
    result: Detail


def digest(result: Detail) -> str:
    """Tell a result from every other: SHA-256 of it as it is kept, in hex."""
    return sha256(json_text(result).encode("utf-8", "replace")).hexdigest()


class Account(NamedTuple):
    """Somebody who may sign in, as he stands; upserted, not part of the ledger."""

    name: str
    password: str | None  #: argon2id; None until he has set one
    disabled: bool
    grants: Detail  #: {"grants": [[role, business, site], …]}
    created_at: int
    changed_at: int
    identity: str | None = None  #: by which a provider of identities knows him; None: he has but a password


class SignIn(NamedTuple):
    """A session, ended or not; upserted, not part of the ledger."""

    token: str  #: SHA-256 of what his browser keeps
    account: str
    address: str
    began_at: int
    seen_at: int
    ended_at: int | None


class OneTimeLink(NamedTuple):
    """A link that lets somebody set his password, once; upserted, not part of the ledger."""

    token: str  #: SHA-256 of what the link carries
    account: str
    purpose: str
    made_by: str
    made_at: int
    valid_until_at: int
    used_at: int | None


class SavedView(NamedTuple):
    """A view that somebody keeps under a name, as it stands; upserted, not part of the ledger."""

    view_id: str
    owner: str
    business: str | None  #: shared with all who see some of it; None: the owner's alone
    name: str
    tab: str
    filter: str
    sort: str
    changed_at: int
    removed: bool


@dataclass(slots=True)
class Rows:
    """All that one batch writes, table by table: the ledger, then what is derived or beside it."""

    task_event: list[TaskEvent] = field(default_factory=list)
    service_event: list[ServiceEvent] = field(default_factory=list)
    hold_event: list[HoldEvent] = field(default_factory=list)
    schedule_event: list[ScheduleEvent] = field(default_factory=list)
    schedule_fire: list[ScheduleFire] = field(default_factory=list)
    queue_shift: list[QueueShift] = field(default_factory=list)
    audit: list[Audit] = field(default_factory=list)
    blackout_event: list[BlackoutEvent] = field(default_factory=list)
    blackout_fire: list[BlackoutFire] = field(default_factory=list)
    throttle_event: list[ThrottleEvent] = field(default_factory=list)
    task_done: list[TaskRow] = field(default_factory=list)
    widget_refresh: list[WidgetRefresh] = field(default_factory=list)
    asset: list[AssetSeen] = field(default_factory=list)
    report_result: list[ReportResult] = field(default_factory=list)
    account: list[Account] = field(default_factory=list)
    sign_in: list[SignIn] = field(default_factory=list)
    one_time_link: list[OneTimeLink] = field(default_factory=list)
    saved_view: list[SavedView] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    def table(self, of: type[Any]) -> list[Any]:
        """Return the rows of a type."""
        rows: list[Any] = getattr(self, _TABLE[of])
        return rows

    def extend(self, other: Rows) -> None:
        """Append another step's rows, so that several steps become one batch."""
        for name in self.__slots__:
            rows = getattr(other, name)
            if rows:
                getattr(self, name).extend(rows)


ROW_TYPES: dict[str, type[Any]] = {
    "task_event": TaskEvent,
    "service_event": ServiceEvent,
    "hold_event": HoldEvent,
    "schedule_event": ScheduleEvent,
    "schedule_fire": ScheduleFire,
    "queue_shift": QueueShift,
    "audit": Audit,
    "blackout_event": BlackoutEvent,
    "blackout_fire": BlackoutFire,
    "throttle_event": ThrottleEvent,
    "task_done": TaskRow,
    "widget_refresh": WidgetRefresh,
    "asset": AssetSeen,
    "report_result": ReportResult,
    "account": Account,
    "sign_in": SignIn,
    "one_time_link": OneTimeLink,
    "saved_view": SavedView,
}
_TABLE = {row: table for table, row in ROW_TYPES.items()}
KEYS: dict[str, tuple[str, ...]] = {
    "asset": ("business", "site", "target"),
    "account": ("name",),
    "sign_in": ("token",),
    "one_time_link": ("token",),
    "saved_view": ("view_id",),
}
"""The tables beside the ledger whose rows are upserted, and by what."""

ADDED_TABLES = ("blackout_event", "blackout_fire", "throttle_event")
"""Tables of the ledger that came when there were stores already: a batch without such rows is what it was before."""
LEDGER_TABLES = ("task_event", "service_event", "hold_event", "schedule_event", "schedule_fire", "queue_shift", "audit",
                 *ADDED_TABLES)  # fmt: skip
NUMBERED_TABLES = ("task_event", "service_event", "hold_event", "schedule_event", "schedule_fire", *ADDED_TABLES)
"""The tables that share one gap-free `event_id` sequence per business."""
