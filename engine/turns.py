"""Did everybody start in his turn? Nobody is passed over by one whom the same service could have taken after him.

Whoever starts on a service goes before all who wait just then, are not held or throttled, and could have started there
instead: none of them has a higher priority or, at the same one, has queued earlier (`queued_at`, for processing the
first time that the task queued for it; both are kept over rescue, suspension and undoing). This reaches over all queues
that share the service: those of any service and of just this one, and connectors and imports at a hosted zone. It needs
no word on drained or suspect services or on free slots: what one task got, the other one could have had.

The order of a business's own event ids is the order of its decisions, starts come last in each step, and no two steps
have one instant. So who waited is known exactly, edits of priority and of the requested service included, and a hold
counts as in force by its instants even where it is system-wide and numbered apart.

What can't be proven. Which of several services a task should have got: loads are not looked at. That nobody idled:
nothing is said where nothing started. And the ledger does not tell which policy was in force: with fair share, owners
take turns that are nowhere recorded, so then only priorities are asked for, and a store that lived under both can be
checked as one of fair share only. Imports keep their own time and are left out.

A lean replay, in the order of event ids, a stretch of them after the other: what it holds in memory is what waits and
runs, however long the history is. Who was passed over is told once, with who was the first to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from .findings import IMPORT, Ledger, Wrong, listed, quoted, stretches, task_name, when
from .lifecycle import SYSTEM_KINDS, TERMINAL
from .spells import HELD, SHUT, THROTTLES

EVENTS_AT_ONCE = 500_000


def in_order(ledger: Ledger, no: int, business: str, fair_share: bool) -> Iterator[Wrong]:
    """Replay who joined, left and started in a business; tell who went before whom he should not have."""
    highest = ledger.highest("event_id", ["task_event"]).get(no, 0)
    replay = _Replay(*_fleet(ledger, business), fair_share)
    for first, last in stretches(no, highest, EVENTS_AT_ONCE):
        frame = ledger.read(_MOVES, span=f"event_id between {first} and {last}")
        for wrong in replay.take(frame.iter_rows()):
            yield {"check": "dispatch order", "business": business, **wrong}


_MOVES = f"""
    select batch, epoch_us(occurred_at), task_id, event, dq, dp, site, kind, owner, service,
           case when event = 'edit' or (event = 'submit' and (contains(detail::varchar, '"priority"')
                                        or contains(detail::varchar, '"requested_service"')
                                        or contains(detail::varchar, '"schedule_id"'))) then detail end,
           event not in ('hide', 'unhide') and to_status in ({listed(TERMINAL)}) and reason is distinct from 'deleted'
    from task_event
    where $span and batch <= $upto and actor <> '{IMPORT}'
      and (dq <> 0 or dp <> 0 or event in ('submit', 'edit') or to_status in ({listed(TERMINAL)}))
    order by event_id
"""

Move = tuple[int, int, int, str, int, int, str | None, str, str, str | None, str | None, bool]
Entry = tuple[int, int, int]  #: (-priority, queued since, task id): what makes one task go before another


class _Hold(NamedTuple):
    site: str | None
    target_kind: str
    target: str


class _Throttle(NamedTuple):
    over: tuple[_Hold, ...]
    but: tuple[_Hold, ...]


_Bar = _Hold | _Throttle  #: what keeps a line from starting while it lasts


class _Facts:
    """What a task asks for, and since when it stands in the order of each stage."""

    __slots__ = ("collect_since", "priority", "process_since", "requested", "schedule")

    def __init__(self, detail: str | None) -> None:
        facts = json.loads(detail) if detail is not None else {}
        self.priority: int = facts.get("priority", 5)
        self.requested: str | None = facts.get("requested_service")
        self.schedule: int | None = facts.get("schedule_id")
        self.collect_since: int | None = None
        self.process_since: int | None = None

    def edit(self, detail: str) -> None:
        changes = json.loads(detail).get("changes", {})
        self.priority = changes.get("priority", self.priority)
        self.requested = changes.get("requested_service", self.requested)


class _Line:
    """Those who wait in one place and are held together or not at all: of one site, kind, owner and schedule.

    `holds` counts what keeps it, holds and throttles alike.
    """

    __slots__ = ("aside", "heap", "holds", "kind", "lane", "owner", "schedule", "site")

    def __init__(
        self, heap: list[Entry], lane: str, site: str | None, kind: str, owner: str, schedule: int | None
    ) -> None:
        self.heap, self.lane = heap, lane
        self.site, self.kind, self.owner, self.schedule = site, kind, owner, schedule
        self.holds = 0
        self.aside: list[Entry] = []  #: who came up in the place's order while the line was held

    def is_covered(self, bar: _Bar) -> bool:
        if isinstance(bar, _Throttle):
            return any(map(self._is_covered, bar.over)) and not any(map(self._is_covered, bar.but))
        return self._is_covered(bar)

    def _is_covered(self, hold: _Hold) -> bool:
        whose = {"user": self.owner, "kind": self.kind, "schedule": str(self.schedule),
                 "site": None if self.kind in SYSTEM_KINDS else self.site}  # fmt: skip
        return hold.site in (None, self.site) and whose.get(hold.target_kind) == hold.target


class _Replay:
    """One business: who waits in which line, which holds are in force, and who is first in each place."""

    def __init__(self, roles: dict[str, str], holds: list[tuple[int, bool, _Bar]], fair_share: bool) -> None:
        self._roles, self._fair_share = roles, fair_share
        self._to_come = holds[::-1]  #: begins and ends, the next one last
        self._in_force: list[_Bar] = []
        self._covered: dict[_Bar, list[_Line]] = {}  #: by what was ever in force
        self._facts: dict[int, _Facts] = {}
        self._waiting: dict[int, tuple[Entry, _Line]] = {}
        self._lines: dict[tuple[str, str | None, str | None, str, str, int | None], _Line] = {}
        self._heaps: dict[tuple[str, str | None, str | None], list[Entry]] = defaultdict(list)  #: by place
        self._rival_heaps: dict[tuple[str, str | None, str], list[list[Entry]]] = {}

    def take(self, moves: Iterator[Move]) -> Iterator[Wrong]:
        waiting, facts = self._waiting, self._facts
        for batch, us, task_id, event, dq, dp, site, kind, owner, service, detail, gone in moves:
            while self._to_come and self._to_come[-1][0] <= us:
                self._switch(*self._to_come.pop()[1:])
            if event == "submit":
                facts[task_id] = _Facts(detail)
            elif detail is not None and task_id in facts:
                facts[task_id].edit(detail)
                if task_id in waiting:
                    self._join(task_id, us, "collect", site, kind, owner)
            if dq < 0 or dp < 0:
                left = waiting.pop(task_id, None)
                if left is not None and service is not None and event in ("claim", "process"):
                    passed = self._passed_over(*left, service)
                    if passed is not None:
                        what = f"{event} on {service} went before {passed}"
                        yield {"batch": batch, "site": site, "kind": kind, "task_id": task_id, "what": what}
            if task_id in facts:
                if dq > 0 or dp > 0:
                    self._join(task_id, us, "process" if dp > 0 else "collect", site, kind, owner)
                elif gone:
                    del facts[task_id]

    def _join(self, task_id: int, us: int, stage: str, site: str | None, kind: str, owner: str) -> None:
        """Let a task stand in its line, or in another one or another place of it after an edit."""
        facts = self._facts[task_id]
        if stage == "collect":
            since = facts.collect_since = facts.collect_since or us
            lane, requested = ("process" if kind in SYSTEM_KINDS else kind), facts.requested
        else:
            since = facts.process_since = facts.process_since or us
            lane, requested = "process", None
        key = (lane, requested, site, kind, owner, facts.schedule)
        line = self._lines.get(key)
        if line is None:
            heap = self._heaps[_place(lane, site, requested)]
            line = self._lines[key] = _Line(heap, lane, site, kind, owner, facts.schedule)
            for bar, lines in self._covered.items():
                if line.is_covered(bar):
                    lines.append(line)
                    line.holds += self._in_force.count(bar)
        entry = (-facts.priority, since, task_id)
        self._waiting[task_id] = (entry, line)
        heappush(line.heap, entry)

    def _passed_over(self, mine: Entry, line: _Line, service: str) -> str | None:
        """Name who should have started instead, if anybody should, and strike him from the order."""
        for heap in self._rivals(line.lane, line.site, service):
            first = self._first(heap)
            if first is not None and (first[0] < mine[0] if self._fair_share else first < mine):
                heappop(heap)
                priority, since, task_id = first
                kind = self._waiting[task_id][1].kind
                return (
                    f"{task_name(kind, task_id)}, which waited with priority {-priority} since "
                    f"{when(since)} (its own: {-mine[0]}, {when(mine[1])})"
                )
        return None

    def _rivals(self, lane: str, site: str | None, service: str) -> list[list[Entry]]:
        """List the places whose tasks the service could have taken into the same slot."""
        found = self._rival_heaps.get((lane, site, service))
        if found is None:
            shared = ("connector", "import") if self._roles.get(service) == "hosted_zone" else (lane,)
            found = self._rival_heaps[lane, site, service] = [
                self._heaps[_place(a_lane, site, requested)] for a_lane in shared for requested in (None, service)
            ]
        return found

    def _first(self, heap: list[Entry]) -> Entry | None:
        """Look who is first in a place; who has left is dropped, who is held steps aside until he no longer is."""
        while heap:
            entry = heap[0]
            current = self._waiting.get(entry[2])
            if current is not None and current[0] is entry:
                if not current[1].holds:
                    return entry
                current[1].aside.append(entry)
            heappop(heap)
        return None

    def _switch(self, begins: bool, bar: _Bar) -> None:
        if begins:
            self._in_force.append(bar)
        else:
            self._in_force.remove(bar)
        if bar not in self._covered:
            self._covered[bar] = [line for line in self._lines.values() if line.is_covered(bar)]
        for line in self._covered[bar]:
            line.holds += 1 if begins else -1
            if not line.holds:
                for entry in line.aside:
                    heappush(line.heap, entry)
                line.aside.clear()


def _place(lane: str, site: str | None, requested: str | None) -> tuple[str, str | None, str | None]:
    return lane, None if lane == "process" else site, requested


def _fleet(ledger: Ledger, business: str) -> tuple[dict[str, str], list[tuple[int, bool, _Bar]]]:
    """Read the roles of a business's services, and when holds and throttles that reach it kept somebody."""
    roles = ledger.read(
        "select service, detail ->> '$.role' from service_event "
        "where event = 'service_added' and business = $name and batch <= $upto",
        name=quoted(business),
    )
    holds = ledger.read(
        f"select epoch_us(begun_at), epoch_us(ended_at), site, target_kind, target from ({HELD}) "
        "where business is null or business = $name",
        name=quoted(business),
    )
    spells: list[tuple[int, bool, _Bar]] = []
    for begun, ended, *whom in holds.iter_rows():
        if begun < ended:
            spells += [(begun, True, _Hold(*whom)), (ended, False, _Hold(*whom))]
    reaches: dict[int, tuple[list[_Hold], list[_Hold]]] = defaultdict(lambda: ([], []))
    for throttle_id, but, *whom in ledger.read(
        f"select throttle_id, but, site, target_kind, target from ({THROTTLES}) "
        "where business is null or business = $name",
        name=quoted(business),
    ).iter_rows():
        reaches[throttle_id][but].append(_Hold(*whom))
    shut = ledger.read(f"select throttle_id, epoch_us(begun_at), epoch_us(ended_at) from ({SHUT})")
    for throttle_id, begun, ended in shut.iter_rows():
        over, left_out = reaches.get(throttle_id, ((), ()))
        if over and begun < ended:
            bar = _Throttle(tuple(over), tuple(left_out))
            spells += [(begun, True, bar), (ended, False, bar)]
    return dict(roles.iter_rows()), sorted(spells, key=lambda spell: spell[0])
