"""What pages read instead of the state: immutable, of one durable batch, shared by all browser sessions. Pure.

Publishing costs what changed, not what waits. The rows of live tasks are a base that is rarely made anew and an overlay
of what changed since; why a task waits is a property of its sub-queue, joined when somebody reads. A snapshot never
changes after it was published, so readers need no lock but the one that lets the first of them build a frame for all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args, get_type_hints
from weakref import ref

import polars as pl

from .clock import SECOND
from .core import Core
from .holds import Reach
from .ledger import TaskRow
from .lifecycle import SYSTEM_KINDS, Cause
from .messages import BlackoutSpec
from .splits import CAUSES, THROTTLED, Joined, Marks, waited
from .task import COLLECT

_ALWAYS = ("task_id", "status", "queue")
REBASE = 2_000  #: changed rows from which the overlay is folded into a new base

#: row, sub-queue that it waits in and since when by its clocks, progress of collecting, of processing
LiveRow = tuple[TaskRow, int | None, Joined | None, float | None, float | None]
_NONE: Mapping[int, LiveRow | None] = {}
_UNCHANGED: LiveRow = (None, None, None, None, None)  # type: ignore[assignment]  # told apart by identity


@dataclass(frozen=True, slots=True)
class ServiceLook:
    """A service as pages show it."""

    business: str
    site: str | None
    name: str
    role: str
    state: str
    suspect: bool
    slots: int
    used: int
    since: int  #: instant of the last change of its state
    wanted: str  #: what people want it to be; one that is lost is offline whatever they want


@dataclass(frozen=True, slots=True)
class HoldLook:
    """A hold in force or to come, as pages show it."""

    hold_id: int
    business: str | None
    site: str | None
    target_kind: str
    target: str
    reason: str | None
    actor: str
    from_at: int
    until_at: int | None
    in_force: bool
    blackout: str | None = None  #: the blackout window that placed it, by its name
    blackout_id: int | None = None


@dataclass(frozen=True, slots=True)
class BlackoutLook:
    """A blackout window as pages show it."""

    blackout_id: int
    version: int
    spec: BlackoutSpec
    next_at: int

    def over(self, at: int) -> int | None:
        """Tell when the window is over that an instant to come lies in; None where it lies in none."""
        lasts = self.spec.duration_s * SECOND
        times = self.spec.rule.occurrences(max(at - lasts, self.next_at - 1), at)
        return times[-1] + lasts if times else None


@dataclass(frozen=True, slots=True)
class ThrottleLook:
    """A ramp (`rate`) or a cap (`at_most`) in force, as pages show it."""

    throttle_id: int
    business: str | None
    site: str | None
    owner: str | None  #: whom a cap is on
    rate: int | None
    at_most: int | None
    reason: str | None
    actor: str
    begun_at: int
    over: tuple[Reach, ...]
    left: int  #: who waited when a ramp began, and still does
    left_of: Mapping[str, int]  #: of these, each business's
    running: int  #: a cap's


@dataclass(slots=True)
class Numbers:
    """How many tasks stand where, at one site (`site` None: the business's total)."""

    queued: int = 0  #: New, due, not held
    paused: int = 0  #: waiting under a hold, for collecting or processing
    process_queued: int = 0  #: waiting for a processor, not held
    running: int = 0  #: on a service, Stopping included
    system_running: int = 0  #: of these, system tasks


@dataclass(frozen=True, slots=True)
class QueueLook:
    """How many tasks wait at a site for a stage, for what and for whom, and since when the oldest of them does."""

    business: str
    site: str
    stage: str
    cause: str
    n: int
    oldest_at: int
    lane: str  #: which services it takes; see `lanes.SERVES`
    requested: str | None  #: the only one of them that will do


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a task has waited, in microseconds: to be collected or run, by cause; to be processed, and held so."""

    collect: Mapping[str, int]
    process: int
    process_held: int


@dataclass(frozen=True, slots=True)
class Capture:
    """What changed with a batch, taken from the state at the moment the batch was sealed."""

    rows: Mapping[int, LiveRow | None]
    queues: Mapping[int, tuple[str, int | None]]
    marks: Mapping[int, Marks]
    services: tuple[ServiceLook, ...]
    holds: tuple[HoldLook, ...]
    numbers: Mapping[tuple[str, str | None], Numbers]
    waiting: tuple[QueueLook, ...]
    zones: Mapping[tuple[str, str], str]
    throttles: tuple[ThrottleLook, ...]
    throttled: Mapping[int, int]
    blackouts: tuple[BlackoutLook, ...] = ()


class Base:
    """Rows that many snapshots share, and their frame once somebody asked for it.

    Where a base before has a frame, this one's is made of that and of what changed since: a tenth of the time.
    """

    def __init__(
        self, rows: Mapping[int, LiveRow], before: Base | None = None, changes: Mapping[int, LiveRow | None] = _NONE
    ) -> None:
        self.rows, self.changes = rows, changes
        self.before = ref(before) if before is not None else lambda: None
        frame, since = before._last if before is not None else (None, _NONE)
        since = {**since, **changes} if frame is not None else _NONE
        if len(since) > len(rows) // 2:  # nobody has looked for long
            frame, since = None, _NONE
        #: the newest frame that was made, of this base or of one before, and what changed since
        self._last: tuple[pl.DataFrame | None, Mapping[int, LiveRow | None]] = (frame, since)
        self._lock = threading.Lock()  # of those who look: publishing never waits for a frame

    def frame(self) -> pl.DataFrame:
        with self._lock:
            frame, since = self._last
            if frame is None:
                frame = frame_of(self.rows.values())
            elif since:
                frame = _changed(frame, since).rechunk()
            self._last = (frame, _NONE)
            return frame


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet as of a durable batch: numbers and rows."""

    batch: int
    now: int
    base: Base
    overlay: Mapping[int, LiveRow | None]
    queues: Mapping[int, tuple[str, int | None]]
    marks: Mapping[int, Marks]
    services: tuple[ServiceLook, ...]
    holds: tuple[HoldLook, ...]
    numbers: Mapping[tuple[str, str | None], Numbers]
    waiting: tuple[QueueLook, ...]
    zones: Mapping[tuple[str, str], str]
    throttles: tuple[ThrottleLook, ...] = ()
    throttled: Mapping[int, int] = field(default_factory=dict)  #: sub-queues that a throttle keeps → which
    blackouts: tuple[BlackoutLook, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _cache: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict, repr=False)

    def tasks(self, *names: str) -> pl.DataFrame:
        """Return all live tasks: TaskRow's columns, `shown_status`, `held_by` and `cause` as of now, and progress.

        With names, these columns and few more: a hundred thousand tasks of fewer are sooner put together.
        """
        with self._lock:
            if names not in self._cache:
                self._cache[names] = self._tasks(names)
            return self._cache[names]

    def _tasks(self, names: tuple[str, ...]) -> pl.DataFrame:
        frame = self.base.frame()
        wanted = [name for name in frame.columns if not names or name in {*names, *_ALWAYS}]
        base = _changed(frame.select(wanted), self.overlay)
        causes = pl.DataFrame(
            [(serial, cause, held_by) for serial, (cause, held_by) in self.queues.items()],
            schema={"queue": pl.Int64, "cause": pl.String, "held_by": pl.Int64},
            orient="row",
        )
        held = pl.col("held_by").is_not_null()
        return (
            base.drop("cause", "held_by", strict=False)
            .join(causes, on="queue", how="left", maintain_order="left")
            .with_columns(shown_status=pl.when(held).then(pl.lit("Paused")).otherwise(pl.col("status")))
        )

    def live(self, task_id: int) -> LiveRow | None:
        """Return one unfinished task; None where it has ended, or never was."""
        found = self.overlay.get(task_id, _UNCHANGED)
        return self.base.rows.get(task_id) if found is _UNCHANGED else found

    def waits(self, task_id: int, at: int) -> Waits:
        """Tell for what an unfinished task has waited by an instant not before the snapshot's."""
        live = self.live(task_id)
        if live is None:
            return Waits({}, 0, 0)
        row, queue, joined, _, _ = live
        so_far: dict[str, int] = {cause: us for cause in CAUSES if (us := getattr(row, f"wait_{cause}_s"))}
        process, held = row.process_wait_s or 0, row.process_wait_hold_s or 0
        present = waited(joined, self.marks[queue], at) if queue is not None and joined is not None else {}
        if row.processing_queued_at is None:
            for cause, us in present.items():
                so_far[cause] = so_far.get(cause, 0) + us
        else:
            process, held = process + sum(present.values()), held + present.get(Cause.HOLD, 0)
        return Waits(so_far, process, held)

    def slots(self, business: str, site: str) -> int:
        """Count the slots of a site's services that are online."""
        return sum(
            s.slots for s in self.services if (s.business, s.site, s.state) == (business, site, "online")
        )

    def rows(self) -> list[TaskRow]:
        """Return all live tasks as table rows, with what they wait for, to be published into the store."""
        return [self._shown(live) for live in _merge(self.base.rows, self.overlay).values()]

    def _shown(self, live: LiveRow) -> TaskRow:
        row, queue = live[:2]
        if queue is None:
            return row
        cause, held_by = self.queues[queue]
        return row._replace(cause=cause, held_by=held_by, shown_status="Paused" if held_by else row.status)


def _merge(rows: Mapping[int, LiveRow], changes: Mapping[int, LiveRow | None]) -> dict[int, LiveRow]:
    merged = dict(rows)
    for task_id, row in changes.items():
        if row is None:
            merged.pop(task_id, None)
        else:
            merged[task_id] = row
    return merged


def _polars_type(hint: object) -> type[pl.DataType]:
    if bool in (hint, *get_args(hint)):
        return pl.Boolean
    return pl.Int64 if int in (hint, *get_args(hint)) else pl.String


_SCHEMA = {name: _polars_type(hint) for name, hint in get_type_hints(TaskRow).items()} | {
    "queue": pl.Int64,
    "collecting": pl.Float64,
    "processing": pl.Float64,
}


def frame_of(rows: Iterable[LiveRow]) -> pl.DataFrame:
    """Make a frame of live rows, as the base's is."""
    columns = zip(*((*row, queue, c, p) for row, queue, _, c, p in rows), strict=True)
    series = [pl.Series(name, cells, kind) for (name, kind), cells in zip(_SCHEMA.items(), columns, strict=False)]
    return pl.DataFrame(series or None, schema=None if series else _SCHEMA)


def _changed(frame: pl.DataFrame, changes: Mapping[int, LiveRow | None]) -> pl.DataFrame:
    if not changes:
        return frame
    gone = pl.Series("task_id", list(changes), dtype=pl.Int64)
    kept = frame.filter(~pl.col("task_id").is_in(gone.implode()))
    return kept.vstack(frame_of(row for row in changes.values() if row is not None).select(frame.columns))


class Publisher:
    """Turns durable batches into snapshots. `capture` and `publish` belong to the engine thread; `current` to all."""

    def __init__(self, core: Core, batch: int = 0) -> None:
        self._core = core
        self._queues: dict[int, tuple[str, int | None]] = {}
        everything = self._capture(core.state.tasks)
        base = Base({task_id: row for task_id, row in everything.rows.items() if row is not None})
        self.current = Snapshot(
            batch, core.state.last, base, {}, everything.queues, everything.marks, everything.services,
            everything.holds, everything.numbers, everything.waiting, everything.zones, everything.throttles,
            everything.throttled, everything.blackouts,
        )

    def capture(self, touched: Iterable[int]) -> Capture:
        """Take down the state between two steps; `touched` are the tasks that changed since the last capture."""
        return self._capture(touched)

    def publish(self, batch: int, now: int, capture: Capture) -> Snapshot:
        """Make a capture the current snapshot, once everything in it is durable up to `batch`."""
        last = self.current
        base, overlay = last.base, {**last.overlay, **capture.rows}
        if len(overlay) > REBASE:
            base, overlay = Base(_merge(base.rows, overlay), base, overlay), {}
        self.current = Snapshot(
            batch, now, base, overlay, capture.queues, capture.marks, capture.services, capture.holds,
            capture.numbers, capture.waiting, capture.zones, capture.throttles, capture.throttled, capture.blackouts,
        )  # fmt: skip
        return self.current

    def _capture(self, touched: Iterable[int]) -> Capture:
        state, queues = self._core.state, self._core.queues
        rows: dict[int, LiveRow | None] = {}
        for task_id in touched:
            task = state.tasks.get(task_id)
            if task is None:
                rows[task_id] = None
            else:
                waiting = queues.waiting.get(task_id)
                queue, joined = (waiting.queue.serial, waiting.joined) if waiting else (None, None)
                rows[task_id] = (task.row(), queue, joined, *task.progress)
        marks = {queue.serial: queue.marks for queue in queues.queues.values() if queue.members}
        return Capture(
            rows, self._causes(), marks, self._services(), self._holds(), self._numbers(), self._waiting(),
            self._zones(), self._throttles(), self._throttled(), self._blackouts(),
        )  # fmt: skip

    def _causes(self) -> Mapping[int, tuple[str, int | None]]:
        causes = {
            queue.serial: (queue.cause.value, queue.holds[0].id if queue.holds else None)
            for queue in self._core.queues.queues.values()
            if queue.members
        }
        if causes != self._queues:
            self._queues = causes
        return self._queues

    def _services(self) -> tuple[ServiceLook, ...]:
        return tuple(
            ServiceLook(
                service.business, service.site, service.name, service.role, service.state, service.suspect,
                service.slots, len(service.running), service.since, service.wanted,
            )
            for _, service in sorted(self._core.queues.services.items())
        )

    def _holds(self) -> tuple[HoldLook, ...]:
        windows = self._core.state.blackouts
        return tuple(
            HoldLook(
                hold.id, hold.business, hold.site, hold.target_kind, hold.target, hold.reason, hold.actor,
                hold.from_at, hold.until_at, hold.begun,
                windows[hold.blackout].spec.name if hold.blackout in windows else None, hold.blackout,
            )
            for hold in sorted(self._core.state.holds.values(), key=lambda hold: hold.id)
        )

    def _blackouts(self) -> tuple[BlackoutLook, ...]:
        return tuple(
            BlackoutLook(window.id, window.version, window.spec, window.next_at)
            for window in self._core.state.blackouts.values()
        )

    def _throttles(self) -> tuple[ThrottleLook, ...]:
        return tuple(
            ThrottleLook(
                one.id, one.business, one.site, one.owner, one.rate, one.at_most, one.reason, one.actor, one.begun_at,
                one.over, one.left, dict(one.left_of), one.running,
            )
            for _, one in sorted(self._core.queues.throttles.items())
        )

    def _throttled(self) -> Mapping[int, int]:
        return {
            queue.serial: throttle.id
            for throttle in self._core.queues.throttles.values() if throttle.shut
            for queue in self._core.queues.under(throttle) if queue.members and queue.cause_index == THROTTLED
        }  # fmt: skip

    def _numbers(self) -> Mapping[tuple[str, str | None], Numbers]:
        numbers: dict[tuple[str, str | None], Numbers] = {}
        for business in self._core.state.businesses.values():
            for site in (None, *business.sites):
                numbers[business.name or "", site] = Numbers()
        for queue in self._core.queues.queues.values():
            n = len(queue.members)
            if not n:
                continue
            for at in (numbers[queue.place.business, queue.site], numbers[queue.place.business, None]):
                if queue.holds:
                    at.paused += n
                elif queue.stage == COLLECT:
                    at.queued += n
                else:
                    at.process_queued += n
        for service in self._core.queues.services.values():
            for task in service.running.values():
                for at in (numbers[task.business, task.site], numbers[task.business, None]):
                    at.running += 1
                    at.system_running += task.kind in SYSTEM_KINDS
        return numbers

    def _waiting(self) -> tuple[QueueLook, ...]:
        found: dict[tuple[str, str, str, int, str, str], list[int]] = {}
        for queue in self._core.queues.queues.values():
            oldest = queue.oldest()
            if oldest is None:
                continue
            place = queue.place
            cause = queue.cause_index
            so_far = found.setdefault(
                (place.business, queue.site, queue.stage, cause, place.lane, place.requested or ""), [0, oldest]
            )
            so_far[0] += len(queue.members)
            if oldest < so_far[1]:
                so_far[1] = oldest
        return tuple(
            QueueLook(business, site, stage, CAUSES[cause].value, n, oldest, lane, requested or None)
            for (business, site, stage, cause, lane, requested), (n, oldest) in sorted(found.items())
        )

    def _zones(self) -> Mapping[tuple[str, str], str]:
        return {
            (business.name or "", site.name): site.zone
            for business in self._core.state.businesses.values()
            for site in business.sites.values()
        }


