"""All that waits and all that serves: who may start next, and why the others may not. Pure.

Every change that the ledger tells comes in here (a task joins or leaves, a service, a hold or a throttle changes) and
says what it *shifts*: how many tasks wait for another cause from now on. When a throttle shuts and opens is the
machine's to say.

Invariant: a sub-queue that is held or behind a shut gate is never claimed from; a place where somebody may have become
able to start is `dirty`, and no other is looked at.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from .holds import Hold, Throttle, targets_of
from .lanes import SERVES, Service, lane_of
from .lifecycle import Cause, Kind
from .splits import CONSOLE, NOTHING, OFFLINE, waited
from .subqueues import Entry, Gate, Place, PlaceKey, Shifts, SubQueue, Waiting
from .task import COLLECT, Task

QueueKey = tuple[str, str, str, Kind, str | None, str, int | None]
"""Business, stage, site, kind, requested service, owner and schedule of those in a sub-queue."""


class Queues:
    """All places, sub-queues, services and begun holds: who waits, for what, and who is next."""

    def __init__(self, fair_share: bool = False) -> None:
        self.fair_share = fair_share
        self.services: dict[tuple[str, str], Service] = {}
        self._serves: dict[Service, list[Place]] = {}
        self.places: dict[PlaceKey, Place] = {}
        self.queues: dict[QueueKey, SubQueue] = {}
        self.waiting: dict[int, Waiting] = {}
        self.holds: dict[int, Hold] = {}
        self._holds_on: dict[tuple[str, str], list[Hold]] = {}
        self._queues_of: dict[tuple[str, str], list[SubQueue]] = {}
        self.throttles: dict[int, Throttle] = {}
        self.caps: dict[tuple[str, str], Throttle] = {}  #: by business and user
        self._under: dict[Throttle, dict[SubQueue, None]] = {}
        self._gates: dict[Throttle, dict[Gate, None]] = {}
        self.dirty: dict[Place, None] = {}
        self.console_is_down = False
        self._served = 0
        self._turns: dict[tuple[str, str | None, str], dict[str, int]] = {}

    # --- services

    def add_service(self, service: Service, at: int) -> Shifts:
        """Take in a service; places it serves may stop to be offline."""
        self.services[service.business, service.name] = service
        self._serves[service] = []
        for place in self.places.values():
            if _fits(service, place):
                self._serve(service, place)
        return self.service_changed(service, at)

    def service_changed(self, service: Service, at: int) -> Shifts:
        """Take note that a service's availability or slots may have changed."""
        shifts: Shifts = Counter()
        for place in self._serves[service]:
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
        for place in self._serves[service]:
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
            shifts.update(place.switch(CONSOLE, at))
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
                throttle.left_of[queue.place.business] -= 1
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
        self._under[throttle], self._gates[throttle] = {}, {}
        if throttle.owner is not None and throttle.business is not None:
            self.caps[throttle.business, throttle.owner] = throttle
            throttle.running = sum(
                (task.business, task.owner) == (throttle.business, throttle.owner)
                for service in self.services.values() for task in service.running.values()
            )  # fmt: skip
        shifts: Shifts = Counter()
        for queue in self.reached(throttle):
            self._under[throttle][queue] = None
            first = sum(waiting.joined[0] < throttle.begun_at for waiting in queue.members.values())
            throttle.left += first
            throttle.left_of[queue.place.business] += first
            shifts.update(self._stand_under(queue, (*queue.throttles, throttle), at))
        return shifts

    def reached(self, throttle: Throttle) -> Iterator[SubQueue]:
        """Find the sub-queues that a throttle covers, each once."""
        near = [self._queues_of.get((kind, target), ()) for _, _, kind, target in throttle.over]
        for queue in dict.fromkeys(queue for queues in near for queue in queues):
            if throttle.covers(queue.place.business, queue.site, queue.kind, queue.owner, queue.schedule):
                yield queue

    def under(self, throttle: Throttle) -> Iterable[SubQueue]:
        """List the sub-queues that stand under a throttle in force."""
        return self._under[throttle]

    def shut_throttle(self, throttle: Throttle, at: int) -> Shifts:
        """From here on nobody may start under a throttle."""
        throttle.shut, throttle.shut_at = True, at
        return self._settle(throttle, at)

    def open_throttle(self, throttle: Throttle, at: int) -> Shifts:
        throttle.shut = False
        for gate in self._gates[throttle]:
            self.dirty[gate.place] = None
        return self._settle(throttle, at)

    def end_throttle(self, throttle: Throttle, at: int) -> Shifts:
        """Take a throttle away from its sub-queues."""
        del self.throttles[throttle.id]
        if throttle.owner is not None and throttle.business is not None:
            del self.caps[throttle.business, throttle.owner]
        shifts: Shifts = Counter()
        for queue in self._under.pop(throttle):
            shifts.update(self._stand_under(queue, tuple(t for t in queue.throttles if t is not throttle), at))
            self.dirty[queue.place] = None
        for gate in self._gates.pop(throttle):
            del gate.place.gates[_ids(gate.throttles)]
            for other in gate.throttles:
                if other is not throttle:
                    del self._gates[other][gate]
        return shifts

    def _settle(self, throttle: Throttle, at: int) -> Shifts:
        shifts: Shifts = Counter()
        for gate in self._gates[throttle]:
            shifts.update(gate.settle(at))
        return shifts

    def _stand_under(self, queue: SubQueue, throttles: tuple[Throttle, ...], at: int) -> Shifts:
        """Let a sub-queue stand under these throttles and no others."""
        queue.throttles = tuple(sorted(throttles, key=lambda throttle: throttle.id))
        place, line = queue.place, queue.place.gates.get(_ids(queue.throttles))
        if line is None and throttles:
            line = place.gates[_ids(queue.throttles)] = Gate(place, queue.throttles, at)
            for throttle in throttles:
                self._gates[throttle][line] = None
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
            queue.mark = (True, at, NOTHING, place.read(at))
        throttles = tuple(t for t in self.throttles.values() if t.covers(business, site, kind, owner, schedule))
        if throttles:
            self._stand_under(queue, throttles, at)
            for throttle in throttles:
                self._under[throttle][queue] = None
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
            place = self.places[key] = Place(key, at, OFFLINE, self._turns.setdefault(key[:3], {}))
            for service in self.services.values():
                if _fits(service, place):
                    self._serve(service, place)
            place.cause = CONSOLE if self.console_is_down else place.standing_cause()
            place.mark = (place.cause, at, NOTHING)
        return place

    def _serve(self, service: Service, place: Place) -> None:
        place.services.append(service)
        place.services.sort(key=lambda s: s.name)
        self._serves[service].append(place)


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
