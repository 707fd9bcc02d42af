"""Where tasks wait, for what, and which may start next. Pure.

A *place* is where all tasks stand that the same services could run: one site's scans, its audits, a business's
processing. Its clock runs over what keeps the place as a whole: console, offline, exclusive, capacity. Inside a place,
tasks stand in *sub-queues* by (stage, site, kind, owner, schedule), so that a hold switches whole sub-queues and
touches no task; a sub-queue's clock runs over hold, and over its line's clock while it is not held. How long a task
waited for what is the difference of two readings, so nothing is counted while nothing changes, and the parts always add
up.

Throttles stand over sub-queues as holds do: a ramp, which lets so many tasks a minute start of what a resume released,
and a cap on how many tasks of a user run at once. Sub-queues of one place under the same throttles stand in a line of
their own, a *gate*, whose clock runs over throttled while one of these is shut; all others stand in the place's own
line. So a token of a ramp switches few gates, and no sub-queue. When a throttle shuts and opens is the machine's to
say.

Invariant: a sub-queue that is held or behind a shut gate is never claimed from; a line's heap holds the key of every
non-empty sub-queue of it that is not held.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from .clock import MINUTE
from .lifecycle import SYSTEM_KINDS, Cause, Kind
from .task import COLLECT, PROCESS, Task

CAUSES = (Cause.HOLD, Cause.CONSOLE, Cause.THROTTLED, Cause.OFFLINE, Cause.EXCLUSIVE, Cause.CAPACITY)
"""The order of a split: microseconds waited for each of these."""

_HOLD = 0
_CONSOLE, THROTTLED, _OFFLINE, _EXCLUSIVE, _CAPACITY = range(1, 6)
_ZERO = (0, 0, 0, 0, 0, 0)

Split = tuple[int, int, int, int, int, int]
Mark = tuple[int, int, Split]  #: a line's cause, since when, and its reading then
QueueMark = tuple[bool, int, Split, Split]  #: held?, since when, the sub-queue's reading then, its line's then
Marks = tuple[QueueMark, Mark]  #: of a sub-queue and its line: both clocks, as they stand from now on
Joined = tuple[int, QueueMark, Mark]  #: when somebody joined a sub-queue, and the marks then
PlaceKey = tuple[str, str | None, str, str | None]  #: business, site (None: processing), lane, requested service
QueueKey = tuple[str, str, str, Kind, str | None, str, int | None]
Entry = tuple[int, int, int, int]  #: (-priority, turn, queued since, task id): what makes one task go before another
ShiftKey = tuple[str, str, Kind, str, Cause, Cause]  #: business, site, kind, queue, from cause, to cause
Shifts = Counter[ShiftKey]

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

    __slots__ = ("business", "executor", "heard", "heard_at", "lost", "name", "places", "role", "running", "scanning",
                 "since", "site", "slots", "suspect", "wanted")

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
        self.places: list[Place] = []

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


class Hold:
    """A pause in force or to come, over a user, a task type, a schedule or a site."""

    __slots__ = ("actor", "begun", "blackout", "business", "from_at", "id", "reason", "site", "suspend", "target",
                 "target_kind", "until_at")

    def __init__(
        self, an_id: int, business: str | None, site: str | None, target_kind: str, target: str,
        reason: str | None, actor: str, from_at: int, until_at: int | None, suspend: bool,
    ) -> None:
        self.id, self.business, self.site = an_id, business, site
        self.target_kind, self.target = target_kind, target
        self.reason, self.actor = reason, actor
        self.from_at, self.until_at, self.suspend = from_at, until_at, suspend
        self.begun = False
        self.blackout: int | None = None  #: the blackout window that placed it

    def reaches(self, business: str, site: str) -> bool:
        return self.business in (None, business) and self.site in (None, site)


Reach = tuple[str | None, str | None, str, str]  #: business and site (None: all), target kind, target


class Throttle:
    """A ramp (`rate`: so many starts a minute of what a resume released) or a cap (`at_most` of a user run at once)."""

    __slots__ = ("actor", "at_most", "begun_at", "business", "but", "gates", "id", "left", "over", "owner", "queues",
                 "rate", "reason", "running", "shut", "shut_at", "site")

    def __init__(
        self, an_id: int, business: str | None, site: str | None, owner: str | None, rate: int | None,
        at_most: int | None, over: Sequence[Reach], but: Sequence[Reach], reason: str | None, actor: str, begun_at: int,
    ) -> None:
        self.id, self.business, self.site, self.owner = an_id, business, site, owner
        self.rate, self.at_most, self.reason, self.actor = rate, at_most, reason, actor
        self.over, self.but = tuple(over), tuple(but)  #: it covers what is over, but not what other holds kept
        self.begun_at = begun_at
        self.shut, self.shut_at = False, begun_at
        self.left = 0  #: a ramp's: who waited when it began, and still does
        self.running = 0  #: a cap's: tasks of the user
        self.queues: dict[SubQueue, None] = {}
        self.gates: dict[Gate, None] = {}

    @property
    def opens_at(self) -> int:
        """The nominal instant of a ramp's next token: never sooner after a start than its rate allows."""
        assert self.rate is not None
        return self.shut_at + -(-MINUTE // self.rate)

    @property
    def has_room(self) -> bool:
        """Tell whether a cap lets one more start."""
        return self.at_most is None or self.running < self.at_most

    def covers(self, business: str, site: str, kind: Kind, owner: str, schedule: int | None) -> bool:
        whose = targets_of(site, kind, owner, schedule)

        def reached(reach: Reach) -> bool:
            return reach[0] in (None, business) and reach[1] in (None, site) and reach[2:] in whose

        return any(map(reached, self.over)) and not any(map(reached, self.but))

    def was_first(self, queue: SubQueue) -> bool:
        """Tell whether somebody who waited when the throttle began still waits in a sub-queue."""
        first = next(iter(queue.members.values()), None)
        return first is not None and first.joined[0] < self.begun_at


class Line:
    """Sub-queues that start in one order and are kept by the same, with the clock of what keeps them all."""

    __slots__ = ("business", "cause", "heap", "mark", "open")

    def __init__(self, business: str, at: int, cause: int) -> None:
        self.business = business
        self.heap: list[tuple[Entry, int, SubQueue]] = []
        self.open: Counter[tuple[str, Kind, str]] = Counter()  #: waiting and not held, by site, kind and queue
        self.cause = cause
        self.mark: Mark = (cause, at, _ZERO)

    def read(self, at: int) -> Split:
        return _advance(self.mark, at)

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
            return _OFFLINE
        return _EXCLUSIVE if self.lane == "scan" else _CAPACITY

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
        return self.turn(THROTTLED if self.shut and cause != _CONSOLE else cause, at)


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
        self.mark: QueueMark = (False, at, _ZERO, place.read(at))

    @property
    def marks(self) -> Marks:
        """Where its clock and its line's stand: immutable, so that a wait can be told without the queue."""
        return self.mark, self.line.mark

    @property
    def cause(self) -> Cause:
        return CAUSES[self.cause_index]

    @property
    def cause_index(self) -> int:
        return _HOLD if self.holds else self.line.cause

    def oldest(self) -> int | None:
        """Tell since when the one queues who queues longest, whatever the priorities; None where nobody waits.

        Costs nothing while tasks wait: who joins last queues since last, but for the few that were put back.
        """
        for first in self.members.values():
            return min(first.entry[2], *self.early.values()) if self.early else first.entry[2]
        return None

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
        self.mark = (held, at, _queue_vector(self.mark, line.mark, at), line.read(at))
        n = len(self.members)
        line.open[self.site, self.kind, self.stage] += -n if held else n
        if not held:
            self.post()
        closed, opened = CAUSES[_HOLD], CAUSES[line.cause]
        return self._shift(*((opened, closed) if held else (closed, opened)))

    def move(self, line: Line, at: int) -> Shifts:
        """Stand in another line of the place, as throttles have come or gone; say what that shifts."""
        before, n = self.line, len(self.members)
        self.mark = (self.mark[0], at, _queue_vector(self.mark, before.mark, at), line.read(at))
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


def waited(joined: Joined, marks: Marks, at: int) -> dict[str, int]:
    """Tell for what somebody has waited who joined a sub-queue, in microseconds, by the marks that it has now."""
    joined_at, mark, line_mark = joined
    mark_now, line_now = marks
    if mark_now is mark and (line_now is line_mark or mark[0]):
        us = at - joined_at
        return {CAUSES[_HOLD if mark[0] else line_mark[0]]: us} if us else {}
    before, now = _queue_vector(mark, line_mark, joined_at), _queue_vector(mark_now, line_now, at)
    return {cause: n - b for cause, n, b in zip(CAUSES, now, before, strict=True) if n != b}


def _advance(mark: Mark, at: int) -> Split:
    cause, since, total = mark
    reading = list(total)
    reading[cause] += at - since
    return tuple(reading)  # type: ignore[return-value]  # six in, six out


def _queue_vector(mark: QueueMark, line_mark: Mark, at: int) -> Split:
    held, since, total, opened_at = mark
    if held:
        return (total[0] + at - since, *total[1:])
    now = _advance(line_mark, at)
    return tuple(t + n - o for t, n, o in zip(total, now, opened_at, strict=True))  # type: ignore[return-value]


class Queues:
    """All places, sub-queues, services and begun holds: who waits, for what, and who is next."""

    def __init__(self, fair_share: bool = False) -> None:
        self.fair_share = fair_share
        self.services: dict[tuple[str, str], Service] = {}
        self.places: dict[PlaceKey, Place] = {}
        self.queues: dict[QueueKey, SubQueue] = {}
        self.waiting: dict[int, Waiting] = {}
        self.holds: dict[int, Hold] = {}
        self._holds_on: dict[tuple[str, str], list[Hold]] = {}
        self._queues_of: dict[tuple[str, str], list[SubQueue]] = {}
        self.throttles: dict[int, Throttle] = {}
        self.caps: dict[tuple[str, str], Throttle] = {}  #: by business and user
        self.dirty: dict[Place, None] = {}
        self.console_is_down = False
        self._served = 0
        self._turns: dict[tuple[str, str | None, str], dict[str, int]] = {}

    # --- services

    def add_service(self, service: Service, at: int) -> Shifts:
        """Take in a service; places it serves may stop to be offline."""
        self.services[service.business, service.name] = service
        for place in self.places.values():
            if _fits(service, place):
                self._serve(service, place)
        return self.service_changed(service, at)

    def service_changed(self, service: Service, at: int) -> Shifts:
        """Take note that a service's availability or slots may have changed."""
        shifts: Shifts = Counter()
        for place in service.places:
            self.dirty[place] = None
            if not self.console_is_down:
                shifts.update(place.switch(place.standing_cause(), at))
        return shifts

    def occupy(self, service: Service, task: Task, stage: str) -> None:
        service.running[task.id] = task
        if self.caps:
            self._count_running(task, 1)
        if stage == COLLECT and task.kind is Kind.SCAN:
            service.scanning += 1

    def release(self, service: Service, task: Task, stage: str) -> None:
        """Free the slot of a task; the places that the service serves may go on."""
        del service.running[task.id]
        if self.caps:
            self._count_running(task, -1)
        if stage == COLLECT and task.kind is Kind.SCAN:
            service.scanning -= 1
        for place in service.places:
            self.dirty[place] = None

    def _count_running(self, task: Task, n: int) -> None:
        cap = self.caps.get((task.business, task.owner))
        if cap is not None:
            cap.running += n

    def console_down(self, at: int) -> Shifts:
        """From here on everything not held waits for the console."""
        self.console_is_down = True
        shifts: Shifts = Counter()
        for place in self.places.values():
            shifts.update(place.switch(_CONSOLE, at))
        return shifts

    def console_up(self, at: int) -> Shifts:
        self.console_is_down = False
        shifts: Shifts = Counter()
        for place in self.places.values():
            self.dirty[place] = None
            shifts.update(place.switch(place.standing_cause(), at))
        return shifts

    # --- waiting

    def join(self, task: Task, stage: str, since: int, at: int) -> None:
        """Let a task wait for a stage, in the order of `since` within its priority; its wait counts from `at`."""
        queue = self.queue_for(task, stage, at)
        entry = (-task.priority, 0, since, task.id)
        queue.members[task.id] = self.waiting[task.id] = Waiting(task, queue, entry, at)
        heappush(queue.heap, entry)
        if since < at:
            queue.early[task.id] = since
        if not queue.holds:
            queue.line.open[queue.site, queue.kind, stage] += 1
            if queue.posted is None or self.fair_share or entry < queue.posted:
                queue.post()
            self.dirty[queue.place] = None

    def queue_for(self, task: Task, stage: str, at: int) -> SubQueue:
        """Find or make the sub-queue where a task waits for a stage. A service is requested for collecting only."""
        requested = task.requested_service if stage == COLLECT else None
        return self.queue((task.business, stage, task.site, task.kind, requested, task.owner, task.schedule_id), at)

    def queue(self, key: QueueKey, at: int) -> SubQueue:
        queue = self.queues.get(key)
        return queue if queue is not None else self._make_queue(key, at)

    def split(self, task: Task, at: int) -> dict[str, int]:
        """Tell for what a waiting task has waited since it joined, in microseconds; causes of zero are left out."""
        waiting = self.waiting[task.id]
        return waited(waiting.joined, waiting.queue.marks, at)

    def cause(self, task: Task) -> Cause:
        """Answer "why is it waiting?" in a word."""
        return self.waiting[task.id].queue.cause

    def leave(self, task: Task) -> None:
        """Take a task out of its sub-queue; its entry in the heap goes when it comes up."""
        waiting = self.waiting.pop(task.id)
        queue = waiting.queue
        members = queue.members
        del members[task.id]
        if queue.early:
            queue.early.pop(task.id, None)
        for throttle in queue.throttles:
            if waiting.joined[0] < throttle.begun_at:
                throttle.left -= 1
        if not queue.holds:
            queue.line.open[queue.site, queue.kind, queue.stage] -= 1
        if len(queue.heap) > 64 and len(queue.heap) > 4 * len(members):
            queue.heap = [other.entry for other in members.values()]
            heapify(queue.heap)

    def reprioritise(self, task: Task) -> None:
        """Move a waiting task within its sub-queue after its priority changed."""
        waiting = self.waiting[task.id]
        queue = waiting.queue
        waiting.entry = (-task.priority, *waiting.entry[1:])
        heappush(queue.heap, waiting.entry)
        queue.post()
        self.dirty[queue.place] = None

    # --- holds

    def begin_hold(self, hold: Hold, at: int) -> Shifts:
        """Put a hold in force over every sub-queue it covers."""
        hold.begun = True
        self.holds[hold.id] = hold
        self._holds_on.setdefault((hold.target_kind, hold.target), []).append(hold)
        shifts: Shifts = Counter()
        for queue in self._queues_of.get((hold.target_kind, hold.target), ()):
            if hold.reaches(queue.place.business, queue.site):
                insort(queue.holds, hold, key=_age)
                if len(queue.holds) == 1:
                    shifts.update(queue.switch(at))
        return shifts

    def end_hold(self, hold: Hold, at: int) -> Shifts:
        """Take a hold out of force; sub-queues that no other hold covers are open again."""
        hold.begun = False
        del self.holds[hold.id]
        self._holds_on[hold.target_kind, hold.target].remove(hold)
        shifts: Shifts = Counter()
        for queue in self._queues_of.get((hold.target_kind, hold.target), ()):
            if hold in queue.holds:
                queue.holds.remove(hold)
                if not queue.holds:
                    shifts.update(queue.switch(at))
                    self.dirty[queue.place] = None
        return shifts

    def holds_over(self, business: str, site: str, kind: Kind, owner: str, schedule: int | None) -> list[Hold]:
        """List the begun holds that cover such tasks, oldest first."""
        found = [
            hold
            for target in targets_of(site, kind, owner, schedule)
            for hold in self._holds_on.get(target, ())
            if hold.reaches(business, site)
        ]
        return sorted(found, key=_age)

    # --- throttles

    def begin_throttle(self, throttle: Throttle, at: int) -> Shifts:
        """Put a throttle over every sub-queue it covers; it begins open."""
        self.throttles[throttle.id] = throttle
        if throttle.owner is not None and throttle.business is not None:
            self.caps[throttle.business, throttle.owner] = throttle
            throttle.running = sum(
                (task.business, task.owner) == (throttle.business, throttle.owner)
                for service in self.services.values() for task in service.running.values()
            )  # fmt: skip
        shifts: Shifts = Counter()
        for queue in self.reached(throttle):
            throttle.queues[queue] = None
            throttle.left += sum(waiting.joined[0] < throttle.begun_at for waiting in queue.members.values())
            shifts.update(self._stand_under(queue, (*queue.throttles, throttle), at))
        return shifts

    def reached(self, throttle: Throttle) -> Iterator[SubQueue]:
        """Find the sub-queues that a throttle covers, each once."""
        near = [self._queues_of.get((kind, target), ()) for _, _, kind, target in throttle.over]
        for queue in dict.fromkeys(queue for queues in near for queue in queues):
            if throttle.covers(queue.place.business, queue.site, queue.kind, queue.owner, queue.schedule):
                yield queue

    def shut_throttle(self, throttle: Throttle, at: int) -> Shifts:
        """From here on nobody may start under a throttle."""
        throttle.shut, throttle.shut_at = True, at
        return self._settle(throttle, at)

    def open_throttle(self, throttle: Throttle, at: int) -> Shifts:
        throttle.shut = False
        for gate in throttle.gates:
            self.dirty[gate.place] = None
        return self._settle(throttle, at)

    def end_throttle(self, throttle: Throttle, at: int) -> Shifts:
        """Take a throttle away from its sub-queues."""
        del self.throttles[throttle.id]
        if throttle.owner is not None and throttle.business is not None:
            del self.caps[throttle.business, throttle.owner]
        shifts: Shifts = Counter()
        for queue in throttle.queues:
            shifts.update(self._stand_under(queue, tuple(t for t in queue.throttles if t is not throttle), at))
            self.dirty[queue.place] = None
        for gate in throttle.gates:
            del gate.place.gates[_ids(gate.throttles)]
            for other in gate.throttles:
                if other is not throttle:
                    del other.gates[gate]
        return shifts

    def _settle(self, throttle: Throttle, at: int) -> Shifts:
        shifts: Shifts = Counter()
        for gate in throttle.gates:
            shifts.update(gate.settle(at))
        return shifts

    def _stand_under(self, queue: SubQueue, throttles: tuple[Throttle, ...], at: int) -> Shifts:
        """Let a sub-queue stand under these throttles and no others."""
        queue.throttles = tuple(sorted(throttles, key=lambda throttle: throttle.id))
        place, line = queue.place, queue.place.gates.get(_ids(queue.throttles))
        if line is None and throttles:
            line = place.gates[_ids(queue.throttles)] = Gate(place, queue.throttles, at)
            for throttle in throttles:
                throttle.gates[line] = None
        return queue.move(line or place, at)

    # --- who is next

    def claims(self) -> Iterator[tuple[Task, Service]]:
        """Yield who starts where, best first over all places where something changed.

        The caller claims each before it asks for the next: leaves the sub-queue and occupies the service.
        """
        ready: list[tuple[Entry, int, Place, SubQueue]] = []
        for serial, place in enumerate(self.dirty):
            if (place.heap or place.gates) and place.least_loaded() is not None:
                head = place.head()
                if head is not None:
                    ready.append((head[0], serial, place, head[1]))
        self.dirty.clear()
        heapify(ready)
        while ready:
            key, serial, place, queue = ready[0]
            service = place.least_loaded()  # another place may have taken its last slot
            if service is None:
                heappop(ready)
                continue
            if queue.throttles and any(t.shut for t in queue.throttles):  # by who started in another place
                head = place.head()
                if head is None:
                    heappop(ready)
                else:
                    heapreplace(ready, (head[0], serial, place, head[1]))
                continue
            if self.fair_share:
                head = place.head()
                assert head is not None
                if head[0] != key:  # whoever is first here was served in a place beside, that shares its turns
                    heapreplace(ready, (head[0], serial, place, head[1]))
                    continue
                self._served += 1
                place.turns[queue.owner] = self._served
            yield queue.members[key[3]].task, service
            head = place.head()  # a claim changes who is next in its own place only, but for whose turn it is
            if head is None:
                heappop(ready)
            else:
                heapreplace(ready, (head[0], serial, place, head[1]))

    # --- making

    def _make_queue(self, key: QueueKey, at: int) -> SubQueue:
        business, stage, site, kind, requested, owner, schedule = key
        place = self._place(business, site, lane_of(kind, stage), requested, at)
        queue = SubQueue(place, stage, site, kind, owner, schedule, len(self.queues), at)
        queue.holds = self.holds_over(business, site, kind, owner, schedule)
        if queue.holds:
            queue.mark = (True, at, _ZERO, place.read(at))
        throttles = tuple(t for t in self.throttles.values() if t.covers(business, site, kind, owner, schedule))
        if throttles:
            self._stand_under(queue, throttles, at)
            for throttle in throttles:
                throttle.queues[queue] = None
        self.queues[key] = queue
        place.queues.append(queue)
        for target in targets_of(site, kind, owner, schedule):
            self._queues_of.setdefault(target, []).append(queue)
        return queue

    def _place(self, business: str, site: str, lane: str, requested: str | None, at: int) -> Place:
        key = (business, None if lane == "process" else site, lane, requested)
        place = self.places.get(key)
        if place is None:
            # An owner has one turn for all that the same services could do, or he could ask for each and get several.
            place = self.places[key] = Place(key, at, _OFFLINE, self._turns.setdefault(key[:3], {}))
            for service in self.services.values():
                if _fits(service, place):
                    self._serve(service, place)
            place.cause = _CONSOLE if self.console_is_down else place.standing_cause()
            place.mark = (place.cause, at, _ZERO)
        return place

    def _serve(self, service: Service, place: Place) -> None:
        place.services.append(service)
        place.services.sort(key=lambda s: s.name)
        service.places.append(place)


def targets_of(site: str, kind: Kind, owner: str, schedule: int | None) -> list[tuple[str, str]]:
    """List what a hold could be on to cover such tasks. A hold on a site covers what is collected there."""
    found: list[tuple[str, str]] = [("user", owner), ("kind", kind), ("schedule", str(schedule))]
    return found if kind in SYSTEM_KINDS else [*found, ("site", site)]


def _ids(throttles: Sequence[Throttle]) -> tuple[int, ...]:
    return tuple(throttle.id for throttle in throttles)


def _age(hold: Hold) -> tuple[int, int]:
    return hold.from_at, hold.id


def _fits(service: Service, place: Place) -> bool:
    return (
        service.business == place.business
        and service.role in SERVES[place.lane]
        and (place.lane == "process" or service.site == place.site)
        and place.requested in (None, service.name)
    )
