"""Which services serve which tasks, and whether one has room. Pure.

A *lane* is the kind of work that a service is asked for: the task's type while it is collected, processing after that.
A service serves the lanes of its role; an explorer never runs two scans at once, nor gives its last slot to connectors.
"""

from __future__ import annotations

from .lifecycle import SYSTEM_KINDS, Kind
from .task import PROCESS, Task

EXPLORER, AUDIT_SERVICE, HOSTED_ZONE, PROCESSOR = "explorer", "audit_service", "hosted_zone", "processor"
ROLES = (EXPLORER, AUDIT_SERVICE, HOSTED_ZONE, PROCESSOR)

SERVES: dict[str, tuple[str, ...]] = {
    "scan": (EXPLORER,),
    "connector": (EXPLORER, HOSTED_ZONE),
    "import": (HOSTED_ZONE,),
    "audit": (AUDIT_SERVICE,),
    "process": (PROCESSOR,),
}
"""Which roles serve which lane. An explorer has one slot in the scan lane and its others in the connector lane."""


def lane_of(kind: Kind, stage: str) -> str:
    """Name the lane of a stage: every processing, and all of a system task, is for the business's processors."""
    return "process" if stage == PROCESS or kind in SYSTEM_KINDS else kind.value


class Service:
    """A host that drains the queue: its slots, what runs in them, and whether it may be given more."""

    __slots__ = ("business", "executor", "heard", "heard_at", "lost", "name", "role", "running", "scanning", "since",
                 "site", "slots", "suspect", "wanted")

    def __init__(self, business: str, site: str | None, name: str, role: str, slots: int, executor: str) -> None:
        self.business, self.site, self.name = business, site, name
        self.role, self.slots, self.executor = role, slots, executor
        self.wanted = "online"  #: what people want it to be: online, draining or offline
        self.lost = False  #: silent for too long
        self.suspect = False  #: did not confirm a stop; gets nothing until it reports
        self.heard: int | None = None  #: on its executor's clock; None: never, and nothing claimed yet
        self.heard_at: int | None = None  #: instant of its own last report; its executor may know of a later sign
        self.running: dict[int, Task] = {}
        self.scanning = 0
        self.since = 0  #: the instant at which its state last changed

    @property
    def state(self) -> str:
        return "offline" if self.lost else self.wanted

    @property
    def available(self) -> bool:
        return self.wanted == "online" and not self.lost and not self.suspect

    def has_room(self, lane: str) -> bool:
        """Tell whether a slot of the lane is free; scans are exclusive on an explorer."""
        if len(self.running) >= self.slots:
            return False
        if self.role != EXPLORER:
            return True
        if lane == "scan":
            return self.scanning == 0
        return len(self.running) - self.scanning < self.slots - 1
