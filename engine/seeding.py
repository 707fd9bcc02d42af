"""History at full speed: the real core and the simulated fleet on a virtual clock, committed to a new store.

The clock jumps from one instant at which something happens to the next. Episodes are drawn in: hosts fall silent, users
and task types are held, surges come, processors slow down. What the store holds in the end is no different from what
the same fleet would have left behind in life.

Two processes share the work, each with a core of the machine to itself: one lives and tells, batch by batch; the other
writes what it is told. A life depends on fleet, span, pace and seed alone, so the same four make the same history.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from . import messages as m
from . import rollups
from .batch import in_bulk
from .clock import DAY, HOUR, MINUTE, SECOND, Reading
from .columns import Bulk
from .core import Core
from .errors import DrainboardError
from .fleet import Fleet
from .ledger import AssetSeen, Rows, TaskRow
from .lifecycle import Kind
from .outbox import Outbox
from .simulated import Simulated
from .store import Store

BATCH_EVENTS = 12_000
STEP = SECOND // 2  #: executors are stepped twice a second in life, too
FOUNDER = "fleet"
ROLL_EVERY = 10  #: batches between two roll-ups

Progress = Callable[[float, str], None]
Episode = tuple[int, Callable[[], list[m.Command]]]  #: when, and what


@dataclass(frozen=True, slots=True)
class Span:
    """What a history is of: a fleet, from when to when (microseconds), how much faster than by nature, and chance."""

    fleet: Fleet
    start: int
    until: int
    pace: float
    seed: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One batch of a history as told from process to process; the last one also brings the tasks that still live."""

    number: int
    now: int
    bulk: Bulk
    tasks: int  #: submitted so far
    live: list[TaskRow] | None = None


class Life:
    """Lives a span; `chapters` tells it."""

    def __init__(self, span: Span) -> None:
        self._fleet, self._start, self._until = span.fleet, span.start, span.until
        self._chance = Random(span.seed)
        self._core = Core()
        self._world = Simulated(span.fleet, span.seed, span.pace, tells_progress=False)
        self._outbox = Outbox(0)
        self._first_seen: dict[tuple[str, str, str], AssetSeen] = {}
        self._last_seen: dict[tuple[str, str, str], AssetSeen] = {}
        self._requests = 0
        self._tasks = 0

    def chapters(self) -> Iterator[Chapter]:
        """Live through the whole span, batch by batch."""
        self._step(self._start, [self._command(FOUNDER, action) for action in self._fleet.founding()])
        episodes = self._episodes()
        now = self._start
        while True:
            due = episodes[-1][0] if episodes else self._until
            for moment in (self._world.next_event(), self._core.next_timer()):
                if moment is not None and moment < due:
                    due = moment
            now = max(now, due) + STEP
            if now >= self._until:
                break
            self._step(now, episodes.pop()[1]() if episodes and episodes[-1][0] <= now else [])
            if self._outbox.open.events >= BATCH_EVENTS:
                yield self._chapter()
        yield self._chapter(last=True)

    def _step(self, now: int, commands: list[m.Command]) -> None:
        batch = self._outbox.open
        self._core.step(Reading(now, now - self._start), [*commands, *self._world.step(now)], batch)
        # Nobody reads this store before it is whole, so orders need not wait for the commit here.
        if batch.orders:
            self._world.give(batch.orders)
            self._world.settle(batch.now)
            batch.orders.clear()

    def _chapter(self, last: bool = False) -> Chapter:
        batch = self._outbox.seal()
        assert batch is not None
        self._outbox.settle(batch)
        rows = batch.rows
        self._tasks += sum(event.event == "submit" for event in rows.task_event)
        for seen in rows.asset:  # an asset is seen many times: only the first and the last count
            asset = (seen.business, seen.site, seen.target)
            self._first_seen.setdefault(asset, seen)
            self._last_seen[asset] = seen
        rows.asset = []
        bulk = dict(in_bulk(rows))
        if last and self._first_seen:
            sights = [in_bulk(Rows(asset=list(sight.values()))) for sight in (self._first_seen, self._last_seen)]
            bulk["asset"] = [block for sight in sights for block in sight["asset"]]
        return Chapter(batch.number, batch.now, bulk, self._tasks, self._live_rows() if last else None)

    def _live_rows(self) -> list[TaskRow]:
        queues = self._core.queues
        rows = []
        for task in self._core.state.tasks.values():
            waiting = queues.waiting.get(task.id)
            holds = waiting.queue.holds if waiting else []
            rows.append(task.row(holds[0].id if holds else None, waiting.queue.cause if waiting else None))
        return rows

    def _command(self, actor: str, action: m.Action) -> m.Command:
        self._requests += 1
        return m.Command(f"seeding-{self._requests}", actor, action)

    # --- episodes, last first

    def _episodes(self) -> list[Episode]:
        """Draw what goes wrong in this history: about one thing a day and site, in working hours or the night runs."""
        chance, episodes = self._chance, []
        day = self._start
        while day < self._until:
            for business in self._fleet.businesses:
                kind = chance.choice(("host", "host", "user hold", "type hold", "surge", "processors"))
                at = day + int(chance.uniform(1, 22) * HOUR)
                site = chance.choice(business.sites)
                if kind == "host" and site.services:
                    host = chance.choice(site.services).name
                    lasts = int(chance.uniform(0.5, 2.5) * HOUR)
                    episodes += [
                        (at, self._quietly(self._world.lose_host, business.name, host)),
                        (at + lasts, self._quietly(self._world.return_host, business.name, host)),
                    ]
                elif kind == "user hold":
                    user = chance.choice(business.users).name
                    target = m.HoldTarget("user", user)
                    episodes.append((at, self._hold(business.name, target, "Too many ad-hoc audits this morning")))
                elif kind == "type hold":
                    target = m.HoldTarget("kind", chance.choice((Kind.AUDIT, Kind.CONNECTOR)).value)
                    episodes.append((at, self._hold(business.name, target, "Maintenance of the audit hosts")))
                elif kind == "surge":
                    episodes.append((at, self._surge(business.name, site.name, chance.randrange(60, 180))))
                elif kind == "processors":
                    lasts = int(chance.uniform(20, 60) * MINUTE)
                    episodes += [
                        (at, self._quietly(self._world.slow_processors, business.name, chance.uniform(3.0, 6.0))),
                        (at + lasts, self._quietly(self._world.slow_processors, business.name, 1.0)),
                    ]
            day += DAY
        return sorted((e for e in episodes if e[0] < self._until), key=lambda episode: -episode[0])

    @staticmethod
    def _quietly(change: Callable[..., None], *arguments: object) -> Callable[[], list[m.Command]]:
        def happen() -> list[m.Command]:
            change(*arguments)
            return []

        return happen

    def _hold(self, business: str, target: m.HoldTarget, reason: str) -> Callable[[], list[m.Command]]:
        admins = [u.name for b in self._fleet.businesses if b.name == business for u in b.users if "admin" in u.role]
        admin, lasts = self._chance.choice(admins), int(self._chance.uniform(0.5, 4) * HOUR)

        def happen() -> list[m.Command]:
            until = self._core.state.last + lasts
            return [self._command(admin, m.PlaceHolds(business, [target], reason, until_at=until))]

        return happen

    def _surge(self, business: str, site: str, tasks: int) -> Callable[[], list[m.Command]]:
        def happen() -> list[m.Command]:
            submission = self._world.surge(business, site, Kind.AUDIT, tasks)
            return [self._command(submission.tasks[0].owner, submission)]

        return happen


# --- told and written


def seed(
    folder: Path, fleet: Fleet, *, days: int, tasks: int, seed: int, now: int, progress: Progress,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Build a store with so many days of history that end at `now`; return how many tasks it has.

    `tasks` 0 lets the fleet live at its own pace; else it lives faster or slower, with the same utilisation. When
    `stopped` says so, it ends early, with a history that is not whole.
    """
    natural = fleet.tasks_per_day() * days
    span = Span(fleet, now - days * DAY, now, tasks / natural if tasks else 1.0, seed)
    written = 0
    with Store.open(folder) as store:
        rollups.prepare(store)
        for chapter in _told(span, stopped):
            store.commit(chapter.number, chapter.now, Rows(), chapter.bulk)
            written = chapter.tasks
            if chapter.live is not None:
                progress(0.98, "Publishing")
                store.publish_live(chapter.live, store.batch)
            if chapter.live is not None or chapter.number % ROLL_EVERY == 0:
                rollups.advance(store)
            progress(0.97 * (chapter.now - span.start) / (span.until - span.start), f"{written:,} tasks so far")
        store.keep_clock(now)
    return written


def _told(span: Span, stopped: Callable[[], bool]) -> Iterator[Chapter]:
    """Let another process live the span, and hear its chapters to the last one, or until stopped."""
    context = get_context("spawn")  # a fork would take over what other threads hold
    here, there = context.Pipe(duplex=False)
    teller = context.Process(target=_tell, args=(there, span), name="drainboard-teller", daemon=True)
    teller.start()
    there.close()
    try:
        while not stopped():
            if here.poll(0.2):
                chapter: Chapter = here.recv()
                yield chapter
                if chapter.live is not None:
                    return
    except EOFError:
        teller.join(5)
        raise DrainboardError(f"The history's process ended before the history did ({teller.exitcode})") from None
    finally:
        teller.terminate()
        teller.join()


def _tell(there: Connection, span: Span) -> None:
    """Live a span and send its chapters; the pipe's end is the reader's, and with it this process's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who asked for the history decides
    gc.disable()  # no garbage in circles is made here, and looking for it among millions of rows takes long
    for chapter in Life(span).chapters():
        there.send(chapter)
