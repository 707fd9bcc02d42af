"""What must be true of a life, each by a name: functions from a world's ledger and notes to what breaks them.

They recompute rather than ask: the edges, the coverage of holds, the occurrences of schedules and the causes of waits
are written out here a second time, from the design and not from the engine.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine import messages as m
from engine.clock import SECOND
from engine.ledger import NUMBERED_TABLES, HoldEvent, TaskEvent, ThrottleEvent, business_of, number_of
from tests.simulation.world import SERVICES, World

Broken = Iterator[str]
INVARIANTS: dict[str, Callable[[Life], Broken]] = {}


def invariant(check: Callable[[Life], Broken]) -> Callable[[Life], Broken]:
    INVARIANTS[check.__name__] = check
    return check


class Life:
    """A world's ledger, sorted the ways that checks need it."""

    def __init__(self, world: World) -> None:
        self.world, self.notes = world, world.notes
        self.batches = world.durable
        self.events: list[TaskEvent] = [e for b in self.batches for e in b.rows.task_event]
        self.batch_of = {e.event_id: b.number for b in self.batches for e in b.rows.task_event}
        self.of_task: dict[int, list[TaskEvent]] = defaultdict(list)
        for e in self.events:
            self.of_task[e.task_id].append(e)
        self.facts = {e.task_id: e.detail or {} for e in self.events if e.event == "submit"}
        self.services = [e for b in self.batches for e in b.rows.service_event]
        self.holds: list[HoldEvent] = [e for b in self.batches for e in b.rows.hold_event]
        self.fires = [f for b in self.batches for f in b.rows.schedule_fire]
        self.windows = [f for b in self.batches for f in b.rows.blackout_fire]
        self.done = [r for b in self.batches for r in b.rows.task_done]
        self.last = self.batches[-1].now if self.batches else 0
        self.throttling: list[ThrottleEvent] = [e for b in self.batches for e in b.rows.throttle_event]
        self.hold_spans = self._hold_spans()
        self.throttles = self._throttles()
        self.console = self._console()
        self.availability = self._availability()

    def _hold_spans(self) -> list[tuple[int, int, HoldEvent]]:
        begun: dict[int, HoldEvent] = {}
        spans = []
        for e in self.holds:
            if e.event == "begun":
                begun[e.hold_id] = e
            elif e.event in ("lifted", "expired") and e.hold_id in begun:
                first = begun.pop(e.hold_id)
                spans.append((first.occurred_at, e.occurred_at, first))
        return spans + [(e.occurred_at, 1 << 62, e) for e in begun.values()]

    def covering(self, e: TaskEvent) -> list[tuple[int, int]]:
        """List the spans of the holds that cover the task of an event."""
        schedule = self.facts[e.task_id].get("schedule_id")
        return [
            (start, end)
            for start, end, hold in self.hold_spans
            if hold.business in (None, e.business)
            and hold.site in (None, e.site)
            and (
                (hold.target_kind, hold.target)
                in (("user", e.owner), ("kind", str(e.kind)), ("schedule", str(schedule)))
                or ((hold.target_kind, hold.target) == ("site", e.site) and e.kind not in SYSTEM)
            )
        ]

    def _throttles(self) -> list[Throttling]:
        """List ramps and caps: their first rows, until when, and the spans in which nobody might start."""
        by_id: dict[int, list[ThrottleEvent]] = defaultdict(list)
        for e in self.throttling:
            by_id[e.throttle_id].append(e)
        found = []
        for first, *others in by_id.values():
            spans: list[tuple[int, int]] = []
            since: int | None = None
            for e in others:
                if e.event == "shut":
                    since = e.occurred_at
                elif since is not None and e.event in ("open", "ended"):
                    spans.append((since, e.occurred_at))
                    since = None
            if since is not None:
                spans.append((since, 1 << 62))
            ended = next((e.occurred_at for e in others if e.event == "ended"), 1 << 62)
            found.append(Throttling(first, ended, spans))
        return found

    def throttled(self, e: TaskEvent) -> list[Throttling]:
        """List the ramps and caps that cover the task of an event."""
        whose = {
            "user": e.owner, "kind": str(e.kind), "schedule": str(self.facts[e.task_id].get("schedule_id")),
            "site": None if e.kind in SYSTEM else e.site,
        }  # fmt: skip

        def reached(reaches: list[Any]) -> bool:
            return any(
                business in (None, e.business) and site in (None, e.site) and whose[kind] == target
                for business, site, kind, target in reaches
            )

        return [
            t for t in self.throttles
            if t.first.business in (None, e.business)
            and ((t.first.owner == e.owner) if t.first.throttle == "cap"
                 else reached(t.first.detail["over"]) and not reached(t.first.detail["but"]))
        ]  # fmt: skip

    def throttled_at(self, task: int, at: int) -> bool:
        spans = [span for t in self.throttled(self.of_task[task][0]) for span in t.shut]
        return any(start <= at < end for start, end in spans)

    def held_at(self, task: int, at: int) -> bool:
        return any(start <= at < end for start, end in self.covering(self.of_task[task][0]))

    def due_before(self, event: TaskEvent) -> bool:
        """Tell whether a task waits to be collected just before an event."""
        depth = 0
        for e in self.of_task[event.task_id]:
            if e is event:
                break
            depth += e.dq
        return depth > 0

    def told_late(self, nominal: int, at: int) -> bool:
        """Tell whether an instant may be told as `at`: as it is, or once a command was carried out at rest."""
        return at == nominal or any(nominal < obeyed <= at for obeyed in self.notes.obeyed)

    def _console(self) -> list[tuple[int, int]]:
        spans, down = [], None
        for e in self.services:
            if e.event == "console_down":
                down = e.occurred_at
            elif e.event == "console_up" and down is not None:
                spans.append((down, e.occurred_at))
                down = None
        return spans

    def _availability(self) -> dict[tuple[str, str], tuple[list[int], list[bool]]]:
        """When each service could be given work, as instants of change and what holds from there on."""
        known: dict[tuple[str, str], dict[str, Any]] = {}
        changes: dict[tuple[str, str], tuple[list[int], list[bool]]] = {}
        for e in self.services:
            if e.service is None or e.event == "stale_report":
                continue
            assert e.business is not None
            key = (e.business, e.service)
            state = known.setdefault(key, {"wanted": "online", "lost": False, "suspect": False})
            if e.event in ("online", "draining", "offline"):
                state["wanted"] = e.event
            elif e.event in ("lost", "returned"):
                state["lost"] = e.event == "lost"
            elif e.event in ("suspect", "cleared"):
                state["suspect"] = e.event == "suspect"
            instants, values = changes.setdefault(key, ([], []))
            instants.append(e.occurred_at)
            values.append(state["wanted"] == "online" and not state["lost"] and not state["suspect"])
        return changes


class Throttling(NamedTuple):
    """A ramp or a cap: its first row, when it ended, and the spans in which nobody might start."""

    first: Any  #: a ThrottleEvent with its detail
    ended: int
    shut: list[tuple[int, int]]


SCANNING, CONNECTING, SYSTEM = ("scan", "audit"), ("connector", "import"), ("report", "query", "outlier")


def _legal(event: str, status: str | None, kind: str) -> str | None:
    """The table of DESIGN 2, written out again: where an event leads, None where it must not happen."""
    queued, process = "Processing, queued", "Processing"
    collecting = {"scan": "Active", "audit": "Active", "connector": "Connecting", "import": "Connecting"}.get(kind)
    collected = {"Active": "Scanned", "Connecting": "Connected"}.get(status or "")
    return {
        "submit": "New" if status is None else None,
        "due": "New" if status == "New" else None,
        "claim": (collecting or process) if status == "New" else None,
        "collected": collected,
        "hand_over": queued if status in ("Scanned", "Connected") else None,
        "process": process if status == queued else None,
        "finish": "Processed" if status == process else None,
        "stop": "Stopped" if status in ("New", "Scanned", "Connected", queued) else None,
        "request_stop": "Stopping" if status in ("Active", "Connecting", process) else None,
        "confirm_stop": "Stopped" if status == "Stopping" else None,
        "fail": "Canceled" if status in ("New", "Active", "Connecting", process, "Stopping") else None,
        "expire": "Canceled" if status == "New" else None,
        "suspended": "New" if status in ("Active", "Connecting") else None,
        "rescue": queued if status == process else "New" if status in ("Active", "Connecting") else None,
        "restore": "New" if status == "Stopped" else None,
        "edit": status if status == "New" else None,
        "ask_to_suspend": status if status in ("Active", "Connecting") else None,
        "suspend_lapsed": status if status in ("Active", "Connecting", "Stopping") else None,
        "hide": status if status in ("Processed", "Stopped", "Canceled") else None,
        "unhide": status if status in ("Processed", "Stopped", "Canceled") else None,
    }.get(event)


@invariant
def legal_edges(life: Life) -> Broken:
    """Every event starts where the last one led and goes where the design allows."""
    for task, events in life.of_task.items():
        status: str | None = None
        for e in events:
            if e.from_status != status or _legal(e.event, status, e.kind) != e.to_status:
                yield f"task {task}: {e.event} from {e.from_status} (it is {status}) to {e.to_status}"
            status = e.to_status


@invariant
def stopping_never_processed(life: Life) -> Broken:
    """From Stopping a task ends Stopped or Canceled, never Processed."""
    for e in life.events:
        if e.from_status == "Stopping" and e.to_status == "Processed":
            yield f"task {e.task_id}"


@invariant
def running_never_deleted(life: Life) -> Broken:
    """Only New tasks are deleted."""
    for e in life.events:
        if e.reason == "deleted" and e.from_status != "New":
            yield f"task {e.task_id} was deleted while {e.from_status}"


@invariant
def lease_is_current(life: Life) -> Broken:
    """What a service reports changes a task only under the lease in force."""
    wanted = {"collected": m.Collected, "finish": m.Finished, "suspended": m.Suspended}
    for e in life.events:
        if e.event in wanted:
            reports = [r for r in life.notes.delivered.get(e.occurred_at, ()) if isinstance(r, wanted[e.event])]
            if not any(r.task_id == e.task_id and r.lease == e.lease for r in reports):
                yield f"task {e.task_id}: {e.event} under lease {e.lease}, reported: {reports}"


@invariant
def slot_freed_only_by_confirmation(life: Life) -> Broken:
    """A suspended or stopped task frees its slot when its service says so, no sooner."""
    for e in life.events:
        if e.event == "suspended" or (e.event == "confirm_stop" and e.reason != "console_restarted"):
            reports = life.notes.delivered.get(e.occurred_at, ())
            if not any(getattr(r, "task_id", None) == e.task_id for r in reports):
                yield f"task {e.task_id}: {e.event} at {e.occurred_at}, and nobody said so"


@invariant
def no_claim_under_hold(life: Life) -> Broken:
    """Claimed or processed at t means that no hold covers the task at t."""
    for e in life.events:
        if e.event in ("claim", "process"):
            for start, end in life.covering(e):
                if start <= e.occurred_at < end:
                    yield f"task {e.task_id}: {e.event} at {e.occurred_at} within [{start}, {end})"


@invariant
def ramps_are_paced(life: Life) -> Broken:
    """In any window of k minutes a ramp lets at most rate · k + 1 tasks start: no two sooner than its rate allows."""
    last: dict[int, int] = {}
    for e in sorted(life.events, key=lambda e: e.occurred_at):
        if e.event not in ("claim", "process"):
            continue
        for ramp in life.throttled(e):
            first = ramp.first
            if first.throttle == "ramp" and first.occurred_at <= e.occurred_at < ramp.ended:
                before = last.get(first.throttle_id)
                if before is not None and (e.occurred_at - before) * first.rate < 60 * SECOND:
                    yield f"task {e.task_id}: {e.event} {(e.occurred_at - before) / SECOND} s after another one, " \
                          f"at {first.rate} a minute"  # fmt: skip
                last[first.throttle_id] = e.occurred_at


@invariant
def ramps_cover_what_was_lifted(life: Life) -> Broken:
    """A ramp stands over the holds that its request lifted, and over no other."""
    for ramp in life.throttles:
        first = ramp.first
        if first.throttle == "ramp":
            lifted = [h for h in life.holds if h.event == "lifted" and h.request_id == first.request_id]
            begun = {e.hold_id for _, _, e in life.hold_spans}
            wanted = sorted(str([h.business, h.site, h.target_kind, h.target]) for h in lifted if h.hold_id in begun)
            if sorted(str(list(reach)) for reach in first.detail["over"]) != wanted:
                yield f"ramp {first.throttle_id}: over {first.detail['over']}, lifted {wanted}"


@invariant
def tokens_come_in_time(life: Life) -> Broken:
    """A ramp's next token comes at its nominal instant after the last start, however late it is told."""
    for ramp in life.throttles:
        first = ramp.first
        if first.throttle == "ramp":
            for start, end in ramp.shut:
                nominal = start + -(-60 * SECOND // first.rate)
                if end not in (ramp.ended, 1 << 62) and not life.told_late(nominal, end):
                    yield f"ramp {first.throttle_id}: shut at {start}, open at {end}; it was to be {nominal}"


@invariant
def caps_respected(life: Life) -> Broken:
    """When a task starts, no more tasks of its owner run than his cap allows."""
    running: dict[tuple[str, str], int] = defaultdict(int)
    caps: dict[tuple[str, str], int] = {}
    rows: list[Any] = sorted([*life.events, *life.throttling], key=lambda row: row.event_id)
    for row in rows:
        key = (row.business, row.owner)
        if isinstance(row, ThrottleEvent):
            if row.throttle == "cap" and row.event == "ended":
                del caps[key]
            elif row.throttle == "cap":
                caps[key] = row.at_most or 0
        else:
            running[key] += row.dr
            if row.event in ("claim", "process") and running[key] > caps.get(key, 1 << 62):
                yield f"task {row.task_id}: {row.event}, and {running[key]} run of {caps[key]} for {row.owner}"


@invariant
def lifted_only_listed(life: Life) -> Broken:
    """Resume lifts what its dialog listed, and nothing else.

    A hold on a schedule also ends where that is removed, one of a blackout window where that is.
    """
    for e in life.holds:
        if e.event == "lifted":
            action = life.notes.sent.get(e.request_id or "")
            if isinstance(action, m.RemoveSchedule):
                listed = (e.target_kind, e.target) == ("schedule", str(action.schedule))
            elif isinstance(action, m.RemoveBlackout):
                listed = (action.blackout, e.hold_id) in {(f.blackout_id, f.hold_id) for f in life.windows}
            else:
                listed = isinstance(action, m.LiftHolds) and e.hold_id in action.holds
            if not listed:
                yield f"hold {e.hold_id} was lifted by {e.request_id}: {action}"


@invariant
def slots_respected(life: Life) -> Broken:
    """A service never gets more than its slots, an explorer never a second scan, and nobody works while unavailable."""
    slots: dict[tuple[str, str], int] = {}
    role: dict[tuple[str, str], str] = {}
    running: dict[tuple[str, str], dict[int, TaskEvent]] = defaultdict(dict)
    rows: list[Any] = sorted(
        [*life.events, *life.services], key=lambda r: (r.occurred_at, business_of(r.event_id), r.event_id)
    )
    for r in rows:
        if not isinstance(r, TaskEvent):
            if r.event in ("service_added", "slots"):
                slots[r.business, r.service] = r.detail["slots"]
            if r.event == "service_added":
                role[r.business, r.service] = r.detail["role"]
            continue
        for tasks in running.values():
            if r.dr < 0:
                tasks.pop(r.task_id, None)
        if r.dr > 0:
            key = (r.business, r.service or "")
            here = running[key]
            here[r.task_id] = r
            scans = [t for t in here.values() if t.event == "claim" and t.kind == "scan"]
            if len(scans) > 1 and role[key] == "explorer":
                yield f"one_scan_per_explorer: {key} has {len(scans)} scans at {r.occurred_at}"
            if len(here) > slots[key]:
                yield f"{key} has {len(here)} of {slots[key]} at {r.occurred_at}"
            if role[key] == "explorer" and r.kind != "scan" and len(here) - len(scans) > slots[key] - 1:
                yield f"{key} gave the scan's slot to a connector at {r.occurred_at}"
            instants, values = life.availability[key]
            if not values[bisect_right(instants, r.occurred_at) - 1]:
                yield f"{key} was given task {r.task_id} while it was not available"


@invariant
def attempts_bounded(life: Life) -> Broken:
    """The last lost service that a stage may have ends a task, and none before it."""
    allowed = life.world.policy.attempts
    lost: dict[int, int] = defaultdict(int)
    for e in life.events:
        if e.event in ("submit", "hand_over"):
            lost[e.task_id] = 0
        lost[e.task_id] += e.reason == "worker_lost"
        if e.event == "rescue" and lost[e.task_id] >= allowed:
            yield f"task {e.task_id} was rescued after {lost[e.task_id]} losses"
        if e.event == "fail" and e.reason == "worker_lost" and lost[e.task_id] != allowed:
            yield f"task {e.task_id} failed worker_lost after {lost[e.task_id]} losses"


@invariant
def event_ids_gap_free(life: Life) -> Broken:
    """Each business's events, tasks and audit rows are numbered without a gap."""
    numbers: dict[tuple[str, int], list[int]] = defaultdict(list)
    for b in life.batches:
        for table in NUMBERED_TABLES:
            for row in getattr(b.rows, table):
                numbers["events", business_of(row.event_id)].append(number_of(row.event_id))
        for audit in b.rows.audit:
            numbers["audit", business_of(audit.audit_id)].append(number_of(audit.audit_id))
    for task in life.facts:
        numbers["tasks", business_of(task)].append(number_of(task))
    for (what, business), ids in numbers.items():
        if sorted(ids) != list(range(1, len(ids) + 1)):
            yield f"{what} of business {business}: {len(ids)} up to {max(ids)}"


@invariant
def time_never_goes_back(life: Life) -> Broken:
    """Within a business, later events are not earlier; and every step is later than all before it."""
    latest: dict[int, tuple[int, int]] = {}
    rows = sorted(
        (row for b in life.batches for table in NUMBERED_TABLES for row in getattr(b.rows, table)),
        key=lambda row: row.event_id,
    )
    for row in rows:
        business = business_of(row.event_id)
        if row.occurred_at < latest.get(business, (0, 0))[0]:
            yield f"event {row.event_id} at {row.occurred_at} after {latest[business]}"
        latest[business] = (row.occurred_at, row.event_id)
    for one, other in zip(life.batches, life.batches[1:], strict=False):
        if other.now < one.now:
            yield f"batch {other.number} is earlier than batch {one.number}"


@invariant
def occurrences_settled_once(life: Life) -> Broken:
    """one_task_per_occurrence, no_occurrence_lost: each nominal time is told once, up to the last tick."""
    told: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for f in life.fires:
        if f.count:
            told[f.schedule_id].append((f.nominal_at, f.last_nominal_at, f.count))
    for schedule, terms in _terms(life, "schedule").items():
        spans = told[schedule]
        for (_, end, _), (start, _, _) in itertools.pairwise(spans):
            if start <= end:
                yield f"one_task_per_occurrence: schedule {schedule}: {start} again after {end}"
        for term in terms:
            counted = sum(n for start, _, n in spans if start in term)
            if counted not in term.expected:
                yield f"no_occurrence_lost: schedule {schedule} v{term.version}: {counted} told, not {term.expected}"
            for start, end, n in spans:
                if start in term and not term.counts(start, end, n):
                    yield f"no_occurrence_lost: schedule {schedule}: [{start}, {end}] can't be {n} occurrences"


@dataclass(frozen=True, slots=True)
class Term:
    """The nominal times of one version of a schedule or window: every so often, from the first to the last."""

    version: int
    first: int
    until: int
    every: int
    expected: tuple[int, ...]  #: how many there may be

    def __contains__(self, at: object) -> bool:
        return isinstance(at, int) and self.first <= at <= self.until

    def counts(self, start: int, end: int, n: int) -> bool:
        """Tell whether there are so many from start to end, both of them nominal times."""
        return (start - self.first) % self.every == 0 and (end - start) // self.every + 1 == n


def _terms(life: Life, what: str) -> dict[int, list[Term]]:
    """List the versions of all that has a rule, "schedule" or "blackout", by its id."""
    versions: dict[int, list[Any]] = defaultdict(list)
    for b in life.batches:
        for e in getattr(b.rows, f"{what}_event"):
            versions[getattr(e, f"{what}_id")].append(e)
    terms: dict[int, list[Term]] = {}
    for an_id, events in versions.items():
        terms[an_id] = []
        for e, after in zip(events, [*events[1:], None], strict=True):
            if e.event == "removed":
                continue
            until = after.occurred_at if after is not None else life.last
            every, anchor = _every(e.detail["rule"])
            first = anchor + ((e.occurred_at - anchor) // every + 1) * every
            n = max(0, (until - first) // every + 1)
            # what falls due in the very step of an edit or removal is settled before it, or never was to be
            terms[an_id].append(Term(e.version, first, until, every, (n,) if after is None else (n, n - 1)))
    return terms


def _every(rule: dict[str, Any]) -> tuple[int, int]:
    """A rule as a period and an anchor, in µs: the world's cron rules are periodic in any whole-hour zone."""
    if "cron" in rule:
        return {"* * * * *": 60, "*/5 * * * *": 300}[rule["cron"]] * SECOND, 0
    return rule["every_s"] * SECOND, rule["anchor_at"]


@invariant
def windows_settled_once(life: Life) -> Broken:
    """one_hold_per_window, no_window_lost: each nominal time is held once, or told as missed while nobody looked."""
    held = [f.hold_id for f in life.windows if f.hold_id is not None]
    if len(held) != len(set(held)):
        yield "one_hold_per_window: a hold stands for several times"
    placed = {h.hold_id for h in life.holds if h.event == "placed" and h.actor == "engine"}
    if placed != set(held):
        yield f"one_hold_per_window: holds {placed ^ set(held)} are of no nominal time, or were not placed"
    for window, terms in _terms(life, "blackout").items():
        fires = [f for f in life.windows if f.blackout_id == window]
        for one, other in itertools.pairwise(fires):
            if other.nominal_at <= one.last_nominal_at:
                yield f"one_hold_per_window: window {window}: {other.nominal_at} again after {one.last_nominal_at}"
        for term in terms:
            own = [f for f in fires if f.nominal_at in term]
            counted = sum(f.count for f in own)
            if counted not in term.expected:
                yield f"no_window_lost: window {window} v{term.version}: {counted} told, not {term.expected}"
            for f in own:
                if not term.counts(f.nominal_at, f.last_nominal_at, f.count):
                    yield f"no_window_lost: window {window}: {f} can't be"
                if f.hold_id is None and _was_up(life, f.nominal_at, f.until_at):
                    yield f"no_window_lost: window {window}: {f.nominal_at} was missed though the console was up"


def _was_up(life: Life, start: int, end: int) -> bool:
    """Tell whether the console was up, and did something, within [start, end)."""
    return any(
        start <= b.now < end and not any(down <= b.now <= up for down, up in life.console) and b.now not in
        life.notes.obeyed
        for b in life.batches
    )  # fmt: skip


@invariant
def no_hold_outside_its_window(life: Life) -> Broken:
    """A window's hold is in force from its nominal time, and no longer than the window says."""
    lasts: dict[tuple[int, int], int] = {}
    for b in life.batches:
        for e in b.rows.blackout_event:
            if e.detail is not None:
                lasts[e.blackout_id, e.event_id] = e.detail["duration_s"] * SECOND
    spans = {hold.hold_id: (start, end) for start, end, hold in life.hold_spans}
    for f in life.windows:
        version = max(event for window, event in lasts if window == f.blackout_id and event < f.event_id)
        over = f.nominal_at + lasts[f.blackout_id, version]
        if f.hold_id is None:
            continue
        start, end = spans.get(f.hold_id, (0, 0))
        if not life.told_late(f.nominal_at, start):
            yield f"hold {f.hold_id} is in force from {start}, its window from {f.nominal_at}"
        if end == 1 << 62 and life.last < over:
            continue
        if end > over and not life.told_late(over, end):
            yield f"hold {f.hold_id} is in force until {end}, its window until {over}"


@invariant
def task_and_fire_same_batch(life: Life) -> Broken:
    """An occurrence and its task are in the same commit, or neither is."""
    for b in life.batches:
        submitted = {e.task_id for e in b.rows.task_event if e.event == "submit"}
        for f in b.rows.schedule_fire:
            if (f.outcome == "fired") != (f.task_id is not None) or (
                f.task_id is not None and f.task_id not in submitted
            ):
                yield f"batch {b.number}: {f}"
        fired = {f.task_id for f in b.rows.schedule_fire}
        for e in b.rows.task_event:
            if e.event == "submit" and e.actor == "schedule" and e.task_id not in fired:
                yield f"batch {b.number}: task {e.task_id} of a schedule, and no occurrence that fired it"


@invariant
def at_most_one_waiting_run(life: Life) -> Broken:
    """A schedule fires no run while another of its runs waits in New."""
    waiting: dict[int, set[int]] = defaultdict(set)
    for e in life.events:
        schedule = life.facts[e.task_id].get("schedule_id")
        if schedule is None:
            continue
        if e.event == "submit" and e.actor == "schedule" and waiting[schedule]:
            yield f"schedule {schedule} fired task {e.task_id} while {waiting[schedule]} wait"
        if e.to_status == "New" or (e.to_status == "Processing, queued" and e.kind in SYSTEM):
            waiting[schedule].add(e.task_id)
        else:
            waiting[schedule].discard(e.task_id)


@invariant
def acknowledged_is_durable(life: Life) -> Broken:
    """What was acknowledged is in the ledger, each changed object with a row of its own."""
    written: dict[str, int] = defaultdict(int)
    for b in life.batches:
        for row in b.rows.audit:
            written[row.request_id or ""] += row.outcome == "changed"
        for e in b.rows.task_event:
            if e.event == "submit" and "widget" in (e.detail or {}):
                written[e.request_id or ""] += 1
    for request, outcome in life.notes.acknowledged.items():
        if written[request] < len(outcome.changed):
            yield f"{request}: {outcome}, and {written[request]} rows"


@invariant
def edits_compare_and_set(life: Life) -> Broken:
    """An edit succeeds only on the version that its editor saw."""
    version: dict[int, int] = defaultdict(lambda: 1)
    for e in life.events:
        if e.event == "edit":
            action = life.notes.sent[e.request_id or ""]
            edits = action.edits if isinstance(action, m.EditMany) else [action]
            seen = [edit.version for edit in edits if isinstance(edit, m.Edit) and edit.task == e.task_id]
            if version[e.task_id] not in seen:
                yield f"task {e.task_id}: edited as version {seen}, it was {version[e.task_id]}"
        if e.event in ("edit", "restore"):
            version[e.task_id] += 1


@invariant
def views_have_names_of_their_own(life: Life) -> Broken:
    """Nobody keeps two views of one name for the same people, whatever the console went through."""
    kept: dict[str, tuple[str, str | None, str]] = {}
    for b in life.batches:
        for view in b.rows.saved_view:
            kept.pop(view.view_id, None)
            name = view.owner, view.business, view.name.lower()
            if not view.removed:
                if name in kept.values():
                    yield f"{view.view_id}: there is {name} already"
                kept[view.view_id] = name


@invariant
def waits_add_up(life: Life) -> Broken:
    """A task's wait is the sum of its waiting intervals, and each cause had its very microseconds."""
    rows = {row.task_id: row for row in life.done}
    for task, row in rows.items():
        if row.status == "New":
            continue
        causes: dict[str, int] = defaultdict(int)
        process = process_hold = 0
        joined: tuple[int, str] | None = None
        requested = life.facts[task].get("requested_service")
        for e in life.of_task[task]:
            moves = e.event == "edit" and "requested_service" in e.detail["changes"]
            if joined is not None and (e.dq < 0 or e.dp < 0 or moves):
                asked = requested if joined[1] == "collect" else None
                parts = _causes(life, e, joined[1], asked, joined[0], e.occurred_at)
                if joined[1] == "process":
                    process += sum(parts.values())
                    process_hold += parts.get("hold", 0)
                else:
                    for cause, us in parts.items():
                        causes[cause] += us
                joined = None
            if moves:
                requested = e.detail["changes"]["requested_service"]
                if row.queued_at is not None and life.due_before(e):
                    joined = (e.occurred_at, "collect")
            if e.dq > 0:
                joined = (e.occurred_at, "collect")
            elif e.dp > 0:
                joined = (e.occurred_at, "process")
        found = {
            "hold": row.wait_hold_s, "offline": row.wait_offline_s, "exclusive": row.wait_exclusive_s,
            "capacity": row.wait_capacity_s, "console": row.wait_console_s, "throttled": row.wait_throttled_s,
        }  # fmt: skip
        if found != {cause: causes.get(cause, 0) for cause in found} or sum(found.values()) != (row.wait_s or 0):
            yield f"task {task}: {found} of {row.wait_s}, expected {dict(causes)}"
        if (row.process_wait_s or 0, row.process_wait_hold_s) != (process, process_hold):
            found_there = f"{row.process_wait_s} ({row.process_wait_hold_s} held)"
            yield f"task {task}: processing {found_there}, expected {process} ({process_hold})"


def _causes(life: Life, e: TaskEvent, stage: str, requested: str | None, start: int, end: int) -> dict[str, int]:
    """Split [start, end) by brute force: cut at every change, and ask what was in force in each part."""
    holds = life.covering(e)
    lane = "process" if stage == "process" or e.kind in SYSTEM else e.kind
    hosts = [key for key in SERVICES if _serves(key, e, lane, requested)]
    cuts = {start, end}
    throttled = [span for t in life.throttled(e) for span in t.shut]
    for a, b in [*holds, *life.console, *throttled]:
        cuts |= {x for x in (a, b) if start < x < end}
    for key in hosts:
        cuts |= {x for x in life.availability.get(key, ([], []))[0] if start < x < end}
    parts: dict[str, int] = defaultdict(int)
    ordered = sorted(cuts)
    for a, b in itertools.pairwise(ordered):
        if any(x <= a < y for x, y in holds):
            cause = "hold"
        elif any(x <= a < y for x, y in life.console):
            cause = "console"
        elif any(x <= a < y for x, y in throttled):
            cause = "throttled"
        elif not any(_available(life, key, a) for key in hosts):
            cause = "offline"
        else:
            cause = "exclusive" if lane == "scan" else "capacity"
        parts[cause] += b - a
    return parts


def _available(life: Life, key: tuple[str, str], at: int) -> bool:
    instants, values = life.availability.get(key, ([], []))
    place = bisect_right(instants, at) - 1
    return place >= 0 and values[place]


_ROLE_OF = {
    "explorer": ("scan", "connector"),
    "zone": ("connector", "import"),
    "audit": ("audit",),
    "proc": ("process",),
}
_PREFIX = {("a", "north"): "n-", ("a", "south"): "s-", ("b", "east"): "e-"}


def _serves(key: tuple[str, str], e: TaskEvent, lane: str, requested: str | None) -> bool:
    business, name = key
    if business != e.business or requested not in (None, name):
        return False
    if not any(word in name and lane in lanes for word, lanes in _ROLE_OF.items()):
        return False
    return lane == "process" or name.startswith(_PREFIX[e.business, e.site or ""])


@invariant
def expiry_is_exact(life: Life) -> Broken:
    """A task expires at the instant at which it has waited its longest wait, holds left out; and none waits longer."""
    rows = {row.task_id: row for row in life.done if row.status != "New"}
    for task, row in rows.items():
        longest = life.facts[task].get("longest_wait_s")
        if longest is None or life.notes.obeyed:  # what fell due while a command was carried out at rest is told later
            continue
        waited = (row.wait_s or 0) - row.wait_hold_s
        if row.reason == "expired" and waited != longest * SECOND:
            yield f"task {task} expired after {waited / SECOND} s of {longest}"
        elif waited > longest * SECOND:
            yield f"task {task} waited {waited / SECOND} s, its longest wait is {longest} s"


@invariant
def due_at_its_time(life: Life) -> Broken:
    """Due times and the begin and end of holds bear their nominal instants, however late they are told."""
    due_at: dict[int, int | None] = {}
    armed: dict[int, int] = {}
    for e in life.events:
        if e.event in ("submit", "edit", "restore"):
            changes = (e.detail or {}) if e.event == "submit" else (e.detail or {}).get("changes", {})
            due_at[e.task_id] = changes.get("due_at", due_at.get(e.task_id))
            if e.event != "edit" or "due_at" in changes:
                armed[e.task_id] = e.occurred_at
        elif e.event == "due":
            nominal = max(due_at[e.task_id] or 0, armed[e.task_id])
            if not life.told_late(nominal, e.occurred_at):
                yield f"task {e.task_id}: due at {e.occurred_at}, it was {nominal}"
    placed: dict[int, int] = {}
    for h in life.holds:
        if h.event == "placed":
            placed[h.hold_id] = h.occurred_at
        elif h.event == "begun" and not life.told_late(max(h.from_at, placed[h.hold_id]), h.occurred_at):
            yield f"hold {h.hold_id} begun at {h.occurred_at}, it was to begin at {h.from_at}"
        elif h.event == "expired" and not life.told_late(h.until_at or 0, h.occurred_at):
            yield f"hold {h.hold_id} expired at {h.occurred_at}, it was to end at {h.until_at}"
        elif h.event == "lifted" and h.until_at is not None and h.occurred_at > h.until_at and not life.notes.obeyed:
            yield f"hold {h.hold_id} was lifted at {h.occurred_at} though it ended at {h.until_at}"


@invariant
def priority_order(life: Life) -> Broken:
    """Nobody who may go is passed over in his place: higher priority first, then who queued first."""
    fair = life.world.policy.fair_share
    waiting: dict[Any, dict[int, tuple[int, int, int]]] = defaultdict(dict)
    place_of: dict[int, Any] = {}
    requested: dict[int, str | None] = {}
    priority: dict[int, int] = {}
    since: dict[tuple[int, str], int] = {}
    for e in life.events:
        task = e.task_id
        if e.event == "submit":
            requested[task], priority[task] = (
                life.facts[task].get("requested_service"),
                life.facts[task].get("priority", 5),
            )
        if e.event in ("claim", "process"):
            mine = waiting[place_of[task]][task]
            for other, key in waiting[place_of[task]].items():
                passed = key[0] < mine[0] if fair else key < mine
                if passed and not (life.held_at(other, e.occurred_at) or life.throttled_at(other, e.occurred_at)):
                    yield f"task {task} {mine} went before {other} {key} at {e.occurred_at}"
        changes = (e.detail or {}).get("changes", {}) if e.event == "edit" else {}
        requested[task] = changes.get("requested_service", requested[task])
        priority[task] = changes.get("priority", priority[task])
        stage = "process" if e.dp > 0 else "collect"
        joins = e.dq > 0 or e.dp > 0
        if task in place_of and (joins or e.dq < 0 or e.dp < 0 or changes):
            stage = "process" if place_of[task][4] == "process" and not joins else stage
            joins = joins or bool(changes)
            waiting[place_of.pop(task)].pop(task)
        if joins and (e.dq > 0 or e.dp > 0 or (changes and life.due_before(e))):
            lane = "process" if stage == "process" or e.kind in SYSTEM else e.kind
            asked = requested[task] if stage == "collect" else None
            place = (e.business, None if lane == "process" else e.site, lane, asked)
            place_of[task] = (*place, stage)
            queued = since.setdefault((task, stage), e.occurred_at)
            waiting[place_of[task]][task] = (-priority[task], queued, task)


@invariant
def undo_span_kept(life: Life) -> Broken:
    """A deletion can be undone throughout its span."""
    undo = life.world.policy.undo
    for request, (batch, at) in life.notes.acknowledged_in.items():
        if not isinstance(life.notes.sent[request], m.Restore):
            continue
        for task, why in life.notes.acknowledged[request].skipped:
            events = [e for e in life.of_task.get(int(task), ()) if life.batch_of[e.event_id] <= batch]
            last = events[-1] if events else None
            if last is None or last.reason != "deleted" or life.batch_of[last.event_id] == batch:
                continue
            if why.startswith(("too late", "not deleted")) and at - last.occurred_at < undo:
                yield f"task {task}, deleted {(at - last.occurred_at) / SECOND} s before: {why}"


@invariant
def at_most_one_waiting_refresh(life: Life) -> Broken:
    """No refresh of a widget is submitted or restored while another one waits."""
    waiting: dict[Any, set[int]] = defaultdict(set)
    for e in life.events:
        widget = life.facts[e.task_id].get("widget")
        if widget is None:
            continue
        here = waiting[e.business, e.site, widget]
        if e.event in ("submit", "restore") and here:
            yield f"widget {widget}: {e.event} of {e.task_id} while {here} wait"
        if e.to_status in ("New", "Processing, queued"):
            here.add(e.task_id)
        else:
            here.discard(e.task_id)


@invariant
def downtime_is_told(life: Life) -> Broken:
    """The first batch after a start says since when the console was down: its last event, or its last sign of life."""
    rows = {b.number: b.rows.service_event for b in life.batches}
    for batch, since in life.notes.downs.items():
        if batch in rows:
            told = [e.occurred_at for e in rows[batch] if e.event == "console_down"]
            if since not in told:
                yield f"batch {batch}: down since {since}, told {told}"


@invariant
def a_request_acts_once(life: Life) -> Broken:
    """What a request asks for is done once, however often it is sent while its outcome is remembered."""
    done: dict[str, set[int]] = defaultdict(set)
    for b in life.batches:
        for row in (*b.rows.audit, *(e for e in b.rows.task_event if e.event == "submit")):
            if row.request_id is not None:
                done[row.request_id].add(row.occurred_at)
    for request, instants in done.items():
        first, *others = sorted(instants)
        if any(at - first < life.world.policy.remember for at in others):
            yield f"{request} was carried out at {sorted(instants)}"


@invariant
def rows_agree_with_events(life: Life) -> Broken:
    """tabs_partition: a finished task's row says what its last event says, and unfinished tasks are all alive."""
    rows = {row.task_id: row for row in life.done}
    alive = life.world.core.state.tasks
    for task, events in life.of_task.items():
        last = [e for e in events if e.event not in ("hide", "unhide")][-1]
        ended = last.to_status in ("Processed", "Stopped", "Canceled")
        if ended == (task in alive):
            yield f"task {task} ended with {last.event}, and is {'still' if ended else 'not'} alive"
        if ended and (rows[task].status, rows[task].reason) != (last.to_status, last.reason):
            yield f"task {task}: row {rows[task].status} {rows[task].reason}, event {last.to_status} {last.reason}"


NAMES = frozenset(INVARIANTS) - {"occurrences_settled_once", "windows_settled_once"} | {
    "one_task_per_occurrence", "no_occurrence_lost", "one_scan_per_explorer", "one_hold_per_window", "no_window_lost",
    # seen on the spot by the world
    "order_after_commit", "same_request_same_outcome", "stop_settles", "suspensions_lapse_on_time",
    "lost_service_rescued", "no_false_alarm", "nothing_idles", "ledger_sums_equal_state", "replay_equals_state",
    "everything_settles", "caps_open_at_once",
}  # fmt: skip
"""All that a life is checked for."""


def broken(world: World) -> list[str]:
    """Name everything that is broken in a life: what was seen on the spot, and what its ledger shows."""
    found = list(world.notes.conflicts)
    life = Life(world)
    for name, check in INVARIANTS.items():
        try:
            what = next(check(life), None)
        except (KeyError, IndexError, AssertionError, TypeError) as error:
            what = f"the ledger is too broken to be checked: {error!r}"
        if what is not None:
            own = what.startswith(("one_", "no_occurrence", "no_window"))
            found.append(what if own else f"{name}: {what}")
    return found
