"""One live task: what its events have made of it so far. Pure.

Only `state.apply` writes to it. A finished task becomes a row and leaves memory.
"""

from __future__ import annotations

from .ledger import TaskEvent, TaskRow, new_row, number_of
from .lifecycle import KIND, Status, shown_status
from .messages import NewTask

COLLECT, PROCESS = "collect", "process"

EDITABLE = ("name", "target", "scope", "priority", "requested_service", "due_at")
SYSTEM_OWNER = "System"


def again(row: TaskRow, actor: str, longest_wait_s: int | None = None) -> NewTask:
    """Make the task that repeats another, live or finished: the same facts, due at once, and the actor behind it.

    What is the system's stays the system's. A row does not tell the longest wait; who knows it says so.
    """
    owner, initiator = (name if name == SYSTEM_OWNER else actor for name in (row.owner, row.initiator))
    return NewTask(
        row.business, row.site or "", KIND[row.kind], row.name, owner, initiator, row.target, row.target_kind,
        row.scope, row.requested_service, row.priority, None, longest_wait_s, row.task_id,
    )


class Task:
    """Facts from the submission, marks of its way, and sums over its intervals (integer microseconds)."""

    __slots__ = (
        "asked_to_suspend", "attempt", "business", "changes", "checkpoint", "collected_at", "created_at", "created_by",
        "due_at", "error", "errors", "finished_at", "hidden", "id", "initiator", "joined", "kind", "lease",
        "longest_wait_s", "name", "outcome", "owner", "priority", "process_us", "process_wait_hold_us",
        "process_wait_us", "processing_queued_at", "processing_started_at", "processor", "progress", "queued_at",
        "reason", "requested_service", "rerun_of", "run_us", "schedule_id", "scope", "service", "site", "source",
        "stage", "stage_started_at", "started_at", "status", "suspend", "target", "target_kind", "version", "waits",
        "widget",
    )

    def __init__(self, event: TaskEvent) -> None:
        facts = event.detail or {}
        get = facts.get
        self.id = event.task_id
        self.business, self.site, self.kind, self.owner = (
            event.business,
            event.site or "",
            KIND[event.kind],
            event.owner,
        )
        self.created_at = event.occurred_at
        self.name: str = facts["name"]
        self.target: str | None = get("target")
        self.target_kind: str | None = get("target_kind")
        self.scope: str | None = get("scope")
        self.initiator: str = facts["initiator"]
        self.created_by: str = get("created_by") or event.actor
        self.schedule_id: int | None = get("schedule_id")
        self.requested_service: str | None = get("requested_service")
        self.priority: int = get("priority", 5)
        self.due_at: int | None = get("due_at")
        self.longest_wait_s: int | None = get("longest_wait_s")
        self.rerun_of: int | None = get("rerun_of")
        self.widget: str | None = get("widget")
        self.source: str = get("source", "live")
        self.status = Status.NEW
        self.version = 1
        self.hidden = False
        self.stage = COLLECT
        self.attempt = 0
        self.lease: int | None = None
        self.service: str | None = None
        self.processor: str | None = None
        self.outcome: str | None = None
        self.reason: str | None = None
        self.error: str | None = None
        self.errors = 0
        self.changes: tuple[int, int, int, int, int] | None = None
        self.checkpoint = 0.0
        self.progress: tuple[float | None, float | None] = (None, None)  #: collecting, processing
        self.suspend: int | None = None  #: the hold whose request to suspend stands
        self.asked_to_suspend = False  #: this lease was ever asked, so a checkpoint may still come
        self.joined = 0  #: further requests for a widget's refresh that this one answers
        self.queued_at: int | None = None
        self.started_at: int | None = None
        self.stage_started_at = 0
        self.collected_at: int | None = None
        self.processing_queued_at: int | None = None
        self.processing_started_at: int | None = None
        self.finished_at: int | None = None
        self.waits: dict[str, int] = {}
        self.process_wait_us: int | None = None
        self.process_wait_hold_us = 0
        self.run_us: int | None = None
        self.process_us: int | None = None

    @property
    def due(self) -> bool:
        return self.queued_at is not None

    @property
    def host(self) -> str:
        """The service that runs the present stage."""
        return (self.processor if self.stage == PROCESS else self.service) or ""

    def row(self, held_by: int | None = None, cause: str | None = None) -> TaskRow:
        """Show the task as a table row; `held_by` and `cause` say why it waits, if it does."""
        waits, get = self.waits, self.waits.get
        return new_row(TaskRow, (
            self.id, number_of(self.id), self.name, self.kind, self.business, self.site, self.target,
            self.target_kind, self.scope, self.initiator, self.owner, self.created_by, self.schedule_id,
            self.requested_service, self.service, self.processor, self.source, self.status,
            shown_status(self.status, self.queued_at is not None, held_by is not None), held_by, cause, self.outcome,
            self.reason, self.error, self.errors, self.attempt, self.priority, self.version, self.hidden, self.rerun_of,
            self.created_at, self.due_at, self.queued_at, self.started_at, self.collected_at, self.processing_queued_at,
            self.processing_started_at, self.finished_at, sum(waits.values()) if self.queued_at is not None else None,
            get("hold", 0), get("throttled", 0), get("offline", 0), get("exclusive", 0), get("capacity", 0),
            get("console", 0), get("unknown", 0), self.process_wait_us, self.process_wait_hold_us, self.run_us,
            self.process_us, *(self.changes or (None, None, None, None, None)),
        ))  # fmt: skip
