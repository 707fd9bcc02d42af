"""Where tasks wait: places, and in them sub-queues, in lines. Who goes first in each. Pure.

A *place* is where all tasks stand that the same services could run: one site's scans, its audits, a business's
processing. Its clock runs over what keeps the place as a whole: console, offline, exclusive, capacity. Inside a place,
tasks stand in *sub-queues* by (stage, site, kind, owner, schedule), so that a hold switches whole sub-queues and
touches no task.

Sub-queues of one place under the same throttles stand in a line of their own, a *gate*, whose clock runs over throttled
while one of these is shut; all others stand in the place's own line. So a token of a ramp switches few gates, and no
sub-queue.

Invariant: a line's heap holds the key of every non-empty sub-queue of it that is not held; `open` counts who waits in
these.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush, heapreplace

from .holds import Hold, Throttle
from .lanes import Service
from .lifecycle import Cause, Kind
from .splits import (
    CAPACITY,
    CAUSES,
    CONSOLE,
    EXCLUSIVE,
    HOLD,
    NOTHING,
    OFFLINE,
    THROTTLED,
    Joined,
    Mark,
    Marks,
    QueueMark,
    Split,
    read_line,
    read_queue,
)
from .task import Task

PlaceKey = tuple[str, str | None, str, str | None]  #: business, site (None: processing), lane, requested service
Entry = tuple[int, int, int, int]  #: (-priority, turn, queued since, task id): what makes one task go before another
ShiftKey = tuple[str, str, Kind, str, Cause, Cause]  #: business, site, kind, queue, from cause, to cause
Shifts = Counter[ShiftKey]


class Line:
    """Sub-queues that start in one order and are kept by the same, with the clock of what keeps them all."""

    __slots__ = ("business", "cause", "heap", "mark", "open")

    def __init__(self, business: str, at: int, cause: int) -> None:
        self.business = business
        self.heap: list[tuple[Entry, int, SubQueue]] = []
        self.open: Counter[tuple[str, Kind, str]] = Counter()  #: waiting and not held, by site, kind and queue
        self.cause = cause
        self.mark: Mark = (cause, at, NOTHING)

    def read(self, at: int) -> Split:
        return read_line(self.mark, at)

    def turn(self, cause: int, at: int) -> Shifts:
        """Begin to wait for another cause; say what that shifts."""
        if cause == self.cause:
            return Counter()
        before, after = CAUSES[self.cause], CAUSES[cause]
        self.mark = (cause, at, self.read(at))
        self.cause = cause
        return Counter(
            {(self.business, site, kind, stage, before, after): n for (site, kind, stage), n in self.open.items() if n}
        )

    def first(self) -> tuple[Entry, SubQueue] | None:
        """Return the first sub-queue's key and itself; drop what is stale on the way."""
        heap = self.heap
        while heap:
            key, serial, queue = heap[0]
            if queue.line is not self:
                heappop(heap)
                continue
            now = None if queue.holds else queue.key_now()
            if now == key:
                return key, queue
            if now is not None and queue.posted == key:
                queue.posted = now
                heapreplace(heap, (now, serial, queue))
                continue
            heappop(heap)
            if queue.posted == key:
                queue.posted = None
        return None


class Place(Line):
    """Where tasks wait that the same services could run: a line, and gates where throttles keep some apart."""

    __slots__ = ("gates", "key", "lane", "queues", "requested", "services", "site", "turns")

    def __init__(self, key: PlaceKey, at: int, cause: int, turns: dict[str, int]) -> None:
        super().__init__(key[0], at, cause)
        self.key = key
        _, self.site, self.lane, self.requested = key
        self.services: list[Service] = []
        self.queues: list[SubQueue] = []
        self.gates: dict[tuple[int, ...], Gate] = {}  #: by the ids of their throttles
        self.turns = turns  #: with fair share: when each owner was last served, whichever service he asked for

    def switch(self, cause: int, at: int) -> Shifts:
        """Begin to wait for another cause, gates too where they are not shut; say what that shifts."""
        shifts = self.turn(cause, at)
        for gate in self.gates.values():
            shifts.update(gate.settle(at))
        return shifts

    def standing_cause(self) -> int:
        """Tell what the place waits for, the console being up."""
        if not any(service.available for service in self.services):
            return OFFLINE
        return EXCLUSIVE if self.lane == "scan" else CAPACITY

    def least_loaded(self) -> Service | None:
        """Pick the available service with a free slot that has the lowest load, ties by name."""
        best, best_load = None, 2.0
        for service in self.services:  # kept sorted by name
            used = len(service.running)
            if used < service.slots and service.available and service.has_room(self.lane):
                load = used / service.slots
                if load < best_load:
                    best, best_load = service, load
        return best

    def head(self) -> tuple[Entry, SubQueue] | None:
        """Return the key of the first sub-queue that may be claimed from, and itself."""
        best = self.first()
        if self.gates:
            heads = [head for gate in self.gates.values() if not gate.shut and (head := gate.first()) is not None]
            best = min([*heads, best] if best is not None else heads, key=lambda head: head[0], default=None)
        return best


class Gate(Line):
    """The line of those in a place that stand under the same throttles."""

    __slots__ = ("place", "throttles")

    def __init__(self, place: Place, throttles: tuple[Throttle, ...], at: int) -> None:
        super().__init__(place.business, at, THROTTLED)
        self.place, self.throttles = place, throttles
        self.settle(at)

    @property
    def shut(self) -> bool:
        return any(throttle.shut for throttle in self.throttles)

    def settle(self, at: int) -> Shifts:
        """See what those behind it wait for now: the console, then a throttle, then what the place waits for."""
        cause = self.place.cause
        return self.turn(THROTTLED if self.shut and cause != CONSOLE else cause, at)


class SubQueue:
    """The waiting tasks of one owner, kind, site and schedule at one stage of a place."""

    __slots__ = ("early", "heap", "holds", "kind", "line", "mark", "members", "owner", "place", "posted", "schedule",
                 "serial", "site", "stage", "throttles")

    def __init__(
        self, place: Place, stage: str, site: str, kind: Kind, owner: str, schedule: int | None, serial: int, at: int
    ) -> None:
        self.place, self.stage, self.site, self.kind = place, stage, site, kind
        self.owner, self.schedule, self.serial = owner, schedule, serial
        self.line: Line = place  #: where it stands in its place
        self.members: dict[int, Waiting] = {}  #: in the order in which they joined
        self.early: dict[int, int] = {}  #: members that queue since before they joined, as after a rescue: since when
        self.heap: list[Entry] = []
        self.holds: list[Hold] = []  #: oldest first
        self.throttles: tuple[Throttle, ...] = ()  #: oldest first
        self.posted: Entry | None = None
        self.mark: QueueMark = (False, at, NOTHING, place.read(at))

    @property
    def marks(self) -> Marks:
        """Where its clock and its line's stand: immutable, so that a wait can be told without the queue."""
        return self.mark, self.line.mark

    @property
    def cause(self) -> Cause:
        return CAUSES[self.cause_index]

    @property
    def cause_index(self) -> int:
        return HOLD if self.holds else self.line.cause

    def oldest(self) -> int | None:
        """Tell since when the one queues who queues longest, whatever the priorities; None where nobody waits.

        Costs nothing while tasks wait: who joins last queues since last, but for the few that were put back.
        """
        for first in self.members.values():
            return min(first.entry[2], *self.early.values()) if self.early else first.entry[2]
        return None

    def reaches_back(self, before: int) -> bool:
        """Tell whether somebody who joined before an instant still waits."""
        first = next(iter(self.members.values()), None)
        return first is not None and first.joined[0] < before

    def key_now(self) -> Entry | None:
        """Return the key of the task that would go first, or None where nobody waits."""
        heap, members = self.heap, self.members
        while heap:
            entry = heap[0]
            waiting = members.get(entry[3])
            if waiting is not None and waiting.entry == entry:
                turns = self.place.turns
                return (entry[0], turns.get(self.owner, 0), entry[2], entry[3]) if turns else entry
            heappop(heap)
        return None

    def post(self) -> None:
        """See that the line's heap knows this sub-queue by its present key."""
        if self.holds:
            return
        key = self.key_now()
        if key is not None and key != self.posted:
            self.posted = key
            heappush(self.line.heap, (key, self.serial, self))

    def switch(self, at: int) -> Shifts:
        """Take note that a first hold has come or the last one gone; say what that shifts."""
        held, line = bool(self.holds), self.line
        self.mark = (held, at, read_queue(self.mark, line.mark, at), line.read(at))
        n = len(self.members)
        line.open[self.site, self.kind, self.stage] += -n if held else n
        if not held:
            self.post()
        closed, opened = CAUSES[HOLD], CAUSES[line.cause]
        return self._shift(*((opened, closed) if held else (closed, opened)))

    def move(self, line: Line, at: int) -> Shifts:
        """Stand in another line of the place, as throttles have come or gone; say what that shifts."""
        before, n = self.line, len(self.members)
        self.mark = (self.mark[0], at, read_queue(self.mark, before.mark, at), line.read(at))
        self.line, self.posted = line, None
        if self.holds:
            return Counter()
        before.open[self.site, self.kind, self.stage] -= n
        line.open[self.site, self.kind, self.stage] += n
        self.post()
        return self._shift(CAUSES[before.cause], CAUSES[line.cause])

    def _shift(self, before: Cause, after: Cause) -> Shifts:
        n = len(self.members)
        if not n or before == after:
            return Counter()
        return Counter({(self.place.business, self.site, self.kind, self.stage, before, after): n})


class Waiting:
    """One task in one sub-queue: its place in the order, and the marks of the clocks when it joined."""

    __slots__ = ("entry", "joined", "queue", "task")

    def __init__(self, task: Task, queue: SubQueue, entry: Entry, joined_at: int) -> None:
        self.task, self.queue, self.entry = task, queue, entry
        self.joined: Joined = (joined_at, queue.mark, queue.line.mark)
