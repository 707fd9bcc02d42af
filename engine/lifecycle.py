"""What a task may become: statuses, the one transition table, outcomes, tabs, and the two vocabularies. Pure.

The table below is the truth. The core's guard, the exhaustive test and the README's chart are all made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .errors import IllegalTransition


class Status(StrEnum):
    """The stored statuses, worded as runZero words them."""

    NEW = "New"  #: created, waiting to be picked up (or for its due time)
    ACTIVE = "Active"  #: a scan or audit is collecting
    SCANNED = "Scanned"  #: the collecting part has completed
    CONNECTING = "Connecting"  #: a connector or import is collecting
    CONNECTED = "Connected"  #: the connector has finished collecting
    PROCESSING_QUEUED = "Processing, queued"  #: collected data waits for a processor
    PROCESSING = "Processing"  #: a processor is at work
    PROCESSED = "Processed"  #: done, the data is updated
    STOPPING = "Stopping"  #: a stop was asked for and is not confirmed yet
    STOPPED = "Stopped"  #: stopped, confirmed
    CANCELED = "Canceled"  #: an error meant that the task could not continue


PAUSED = "Paused"
"""The twelfth word of seed 2: never stored, an overlay over waiting tasks that a hold covers."""


class Kind(StrEnum):
    """What sort of work a task is. The interface says "task type"."""

    SCAN = "scan"
    AUDIT = "audit"
    CONNECTOR = "connector"
    IMPORT = "import"
    REPORT = "report"
    QUERY = "query"
    OUTLIER = "outlier"


COLLECTING_KINDS = frozenset({Kind.SCAN, Kind.AUDIT, Kind.CONNECTOR, Kind.IMPORT})
SYSTEM_KINDS = frozenset({Kind.REPORT, Kind.QUERY, Kind.OUTLIER})  #: run by processors, no collecting stage


class Outcome(StrEnum):
    """How a task ended, kept apart from its status."""

    FINISHED = "finished"
    FINISHED_WITH_ERRORS = "finished_with_errors"
    STOPPED = "stopped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a task ended or moved, kept apart from its status."""

    BY_USER = "by_user"
    DELETED = "deleted"
    PREEMPTED = "preempted"
    ERROR = "error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    CONSOLE_RESTARTED = "console_restarted"
    SERVICE_OFFLINE = "service_offline"
    STOP_NOT_CONFIRMED = "stop_not_confirmed"
    FINISHED_BEFORE_STOP = "finished_before_stop"
    EXPIRED = "expired"
    HOLD = "hold"
    UNKNOWN_END = "unknown_end"


REASON_WORDS: dict[str, str] = {
    Reason.BY_USER: "asked for",
    Reason.DELETED: "deleted",
    Reason.PREEMPTED: "pushed aside by other work",
    Reason.ERROR: "an error",
    Reason.TIMEOUT: "it took too long",
    Reason.WORKER_LOST: "the service was lost",
    Reason.CONSOLE_RESTARTED: "the console was restarted",
    Reason.SERVICE_OFFLINE: "the service was taken offline",
    Reason.STOP_NOT_CONFIRMED: "the service did not confirm the stop in time",
    Reason.FINISHED_BEFORE_STOP: "finished before the stop arrived",
    Reason.EXPIRED: "it waited longer than it may",
    Reason.HOLD: "a hold suspends it",
    Reason.UNKNOWN_END: "the log does not tell how it ended",
    "withdrawn": "the hold was lifted first",
    "not_answered": "the service did not answer in time",
}
"""Why, in words: of every reason, and of what a lapsed request to suspend has for one."""


class Cause(StrEnum):
    """Why a waiting task waits: the first that applies, in this order."""

    HOLD = "hold"  #: a hold covers it
    CONSOLE = "console"  #: the engine was down
    THROTTLED = "throttled"  #: a resume ramp or a cap keeps it back
    OFFLINE = "offline"  #: no service that could run it is online
    EXCLUSIVE = "exclusive"  #: a scan, and every online explorer is scanning
    CAPACITY = "capacity"  #: every slot is taken
    UNKNOWN = "unknown"  #: an imported log does not tell


@dataclass(frozen=True, slots=True)
class Edge:
    """One row of the transition table: an event, where it starts, where it leads, who fires it.

    An empty `sources` starts a life; `target` None keeps the status.
    """

    event: str
    sources: frozenset[Status]
    target: Status | None
    kinds: frozenset[Kind]
    fired_by: str


ALL_KINDS = frozenset(Kind)
STATUS: dict[str, Status] = {status.value: status for status in Status}  #: by word, quicker than Status(word)
KIND: dict[str, Kind] = {kind.value: kind for kind in Kind}
ALL_STATUSES = frozenset(Status)
_SCANNING = frozenset({Kind.SCAN, Kind.AUDIT})
_CONNECTING = frozenset({Kind.CONNECTOR, Kind.IMPORT})


def _edge(event: str, sources: str, target: Status | None, fired_by: str, kinds: frozenset[Kind] = ALL_KINDS) -> Edge:
    return Edge(event, frozenset(Status[s] for s in sources.split()), target, kinds, fired_by)


TRANSITIONS: tuple[Edge, ...] = (
    _edge("submit", "", Status.NEW, "user, schedule, system, API, import"),
    _edge("due", "NEW", Status.NEW, "engine, when its due time has come"),
    _edge("claim", "NEW", Status.ACTIVE, "dispatcher", _SCANNING),
    _edge("claim", "NEW", Status.CONNECTING, "dispatcher", _CONNECTING),
    _edge("claim", "NEW", Status.PROCESSING, "dispatcher", SYSTEM_KINDS),
    _edge("collected", "ACTIVE", Status.SCANNED, "service", _SCANNING),
    _edge("collected", "CONNECTING", Status.CONNECTED, "service", _CONNECTING),
    _edge("hand_over", "SCANNED", Status.PROCESSING_QUEUED, "engine", _SCANNING),
    _edge("hand_over", "CONNECTED", Status.PROCESSING_QUEUED, "engine", _CONNECTING),
    _edge("process", "PROCESSING_QUEUED", Status.PROCESSING, "dispatcher"),
    _edge("finish", "PROCESSING", Status.PROCESSED, "processor"),
    _edge("stop", "NEW PROCESSING_QUEUED", Status.STOPPED, "person, at once"),
    _edge("stop", "SCANNED", Status.STOPPED, "person, at once", _SCANNING),
    _edge("stop", "CONNECTED", Status.STOPPED, "person, at once", _CONNECTING),
    _edge("request_stop", "ACTIVE", Status.STOPPING, "person", _SCANNING),
    _edge("request_stop", "CONNECTING", Status.STOPPING, "person", _CONNECTING),
    _edge("request_stop", "PROCESSING", Status.STOPPING, "person"),
    _edge("confirm_stop", "STOPPING", Status.STOPPED, "service, processor"),
    _edge("fail", "NEW PROCESSING STOPPING", Status.CANCELED, "service, engine"),
    _edge("fail", "ACTIVE", Status.CANCELED, "service, engine", _SCANNING),
    _edge("fail", "CONNECTING", Status.CANCELED, "service, engine", _CONNECTING),
    _edge("expire", "NEW", Status.CANCELED, "engine, when the longest wait is exceeded"),
    _edge("suspended", "ACTIVE", Status.NEW, "service, when a hold asked it to suspend", _SCANNING),
    _edge("suspended", "CONNECTING", Status.NEW, "service, when a hold asked it to suspend", _CONNECTING),
    _edge("rescue", "ACTIVE", Status.NEW, "engine, when the service was lost", _SCANNING),
    _edge("rescue", "CONNECTING", Status.NEW, "engine, when the service was lost", _CONNECTING),
    _edge("rescue", "PROCESSING", Status.PROCESSING_QUEUED, "engine, when the processor was lost"),
    _edge("restore", "STOPPED", Status.NEW, "person, undoing a deletion"),
    _edge("edit", "NEW", None, "person"),
    _edge("ask_to_suspend", "ACTIVE", None, "engine, for a hold that also suspends", _SCANNING),
    _edge("ask_to_suspend", "CONNECTING", None, "engine, for a hold that also suspends", _CONNECTING),
    _edge(
        "suspend_lapsed",
        "ACTIVE STOPPING",
        None,
        "engine, when the request was not answered or was withdrawn",
        _SCANNING,
    ),
    _edge(
        "suspend_lapsed",
        "CONNECTING STOPPING",
        None,
        "engine, when the request was not answered or was withdrawn",
        _CONNECTING,
    ),
    _edge("hide", "PROCESSED STOPPED CANCELED", None, "person"),
    _edge("unhide", "PROCESSED STOPPED CANCELED", None, "person"),
)

EVENTS: tuple[str, ...] = tuple(dict.fromkeys(e.event for e in TRANSITIONS))

NEXT: dict[tuple[str, Status | None, Kind], Status] = {
    (edge.event, source, kind): (edge.target or source)  # type: ignore[misc]  # a kept status has a source
    for edge in TRANSITIONS
    for source in (edge.sources or (None,))
    for kind in edge.kinds
}
"""The table unrolled: (event, from, kind) → to. Whatever is not in it is illegal."""


def successor(event: str, status: Status | None, kind: Kind) -> Status:
    """Look up where an event leads from a status; raise IllegalTransition where the table has no such edge."""
    try:
        return NEXT[event, status, kind]
    except KeyError:
        raise IllegalTransition(event, status) from None


TERMINAL = frozenset({Status.PROCESSED, Status.STOPPED, Status.CANCELED})
UNFINISHED = ALL_STATUSES - TERMINAL
RUNNING = frozenset({Status.ACTIVE, Status.CONNECTING, Status.PROCESSING, Status.STOPPING})  #: holds a slot
COLLECTING = frozenset({Status.ACTIVE, Status.CONNECTING})


class Tab(StrEnum):
    """The tabs of seed 2. Every task is in exactly one of the first five; Recurring lists schedules."""

    ACTIVE = "Active"
    PROCESSING = "Processing"
    SCHEDULED = "Scheduled"
    FAILED = "Failed"
    COMPLETED = "Completed"
    RECURRING = "Recurring"


def tab(status: Status, due: bool) -> Tab:
    """Name the tab of a task by its stored status; `due` tells a waiting New task from a scheduled one."""
    if status is Status.NEW:
        return Tab.ACTIVE if due else Tab.SCHEDULED
    return _TAB[status]


_TAB = {
    Status.ACTIVE: Tab.ACTIVE,
    Status.CONNECTING: Tab.ACTIVE,
    Status.STOPPING: Tab.ACTIVE,
    Status.SCANNED: Tab.PROCESSING,
    Status.CONNECTED: Tab.PROCESSING,
    Status.PROCESSING_QUEUED: Tab.PROCESSING,
    Status.PROCESSING: Tab.PROCESSING,
    Status.PROCESSED: Tab.COMPLETED,
    Status.STOPPED: Tab.FAILED,
    Status.CANCELED: Tab.FAILED,
}


def is_waiting(status: Status, due: bool) -> bool:
    """Tell whether a task stands in a queue: New and due, or Processing queued. Only these can be Paused."""
    return (status is Status.NEW and due) or status is Status.PROCESSING_QUEUED


def shown_status(status: Status, due: bool, held: bool) -> str:
    """Word a status as seed 2's pages do: the stored word, or Paused for a waiting task that a hold covers."""
    return PAUSED if held and is_waiting(status, due) else status.value


def queue_word(status: Status, due: bool, held: bool, outcome: str | None = None, errors: int = 0) -> str:
    """Word a status as seed 1's queue and logs do: Queued, Running, Paused, Stopping, Finished, Cancelled, Failed."""
    if held and is_waiting(status, due):
        return PAUSED
    if status is Status.PROCESSED and outcome == Outcome.FINISHED_WITH_ERRORS:
        return f"Finished with errors ({errors})" if errors else "Finished with errors"
    if status is Status.NEW and not due:
        return "Scheduled"
    return _QUEUE_WORD[status]


def queue_words(statuses: Iterable[str], held_by: Iterable[int | None]) -> list[str]:
    """Word a column of live, due tasks as seed 1's grid does; `held_by` names the hold over each, if any."""
    return [
        queue_word(STATUS[status], True, hold is not None) for status, hold in zip(statuses, held_by, strict=True)
    ]


_QUEUE_WORD = {
    Status.NEW: "Queued",
    Status.ACTIVE: "Running",
    Status.SCANNED: "Running",
    Status.CONNECTING: "Running",
    Status.CONNECTED: "Running",
    Status.PROCESSING_QUEUED: "Running",
    Status.PROCESSING: "Running",
    Status.STOPPING: "Stopping",
    Status.PROCESSED: "Finished",
    Status.STOPPED: "Cancelled",
    Status.CANCELED: "Failed",
}

KIND_LABEL = {
    Kind.SCAN: "Scan",
    Kind.AUDIT: "Audit",
    Kind.CONNECTOR: "Connector",
    Kind.IMPORT: "Import",
    Kind.REPORT: "Report",
    Kind.QUERY: "Query",
    Kind.OUTLIER: "Outlier calculation",
}

OVERVIEW, COMPARISON, EXTERNAL = REPORTS = (
    "Organization overview report", "Site and organization comparison", "External assets report",
)  # fmt: skip
OUTLIERS = "Outlier calculation"
ANALYSED = frozenset({Kind.REPORT, Kind.OUTLIER})  #: of the system kinds, those that have a result of their own
SYSTEM_NAMES: dict[Kind, tuple[str, ...]] = {Kind.REPORT: REPORTS, Kind.QUERY: ("Query",), Kind.OUTLIER: (OUTLIERS,)}
"""System tasks bear names of their own; a report's name tells which report it is."""


def own_name(kind: Kind, *said: str | None) -> str:
    """Name a task: as was said first or, of a system kind, by the first of its own names that was said, if any was."""
    own = SYSTEM_NAMES.get(kind)
    return next((name for name in said if name and (own is None or name in own)), own[0] if own else "")


def named_report(kind: Kind, *said: str | None) -> bool:
    """Tell whether what was said names a report, where one must be named: else another one would be made unasked."""
    return kind is not Kind.REPORT or any(name in REPORTS for name in said)


def result_site(kind: str, name: str, site: str | None) -> str | None:
    """Tell which site a system task's result is of; None: of the business as a whole, for those who see all of it."""
    return None if kind == Kind.REPORT and name != EXTERNAL else site


def task_label(kind: str, number: int) -> str:
    """Name a task as every screen does: Scan #123, numbered per business."""
    return f"{KIND_LABEL[Kind(kind)]} #{number}"


def mermaid(edges: Iterable[Edge] = TRANSITIONS) -> str:
    """Draw the transition table as a Mermaid state chart, for the README."""
    lines = ["stateDiagram-v2"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        if edge.target is None or edge.event == "due":
            continue
        for start in [source.name for source in sorted(edge.sources, key=list(Status).index)] or ["[*]"]:
            labels = arrows.setdefault((start, edge.target.name), [])
            if edge.event not in labels:
                labels.append(edge.event)
    lines += [f"    {status.name} : {status.value}" for status in Status]
    lines += [f"    {start} --> {end} : {', '.join(labels)}" for (start, end), labels in arrows.items()]
    lines += [f"    {status.name} --> [*]" for status in Status if status in TERMINAL]
    return "\n".join(lines)
