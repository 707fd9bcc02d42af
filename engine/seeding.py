"""History at full speed: the real core and the simulated fleet on a virtual clock, committed to a new store.

The clock jumps from one instant at which something happens to the next. Episodes are drawn in: hosts fall silent, users
and task types are held, surges come, processors slow down. What the store holds in the end is no different from what
the same fleet would have left behind in life.

Businesses share nothing but the ledger, so each is lived by a core of its own, in as many processes as the machine has
cores; this one binds what they tell into batches and writes them. A history depends on fleet, span, pace and seed
alone: the same four make the same rows, however many cores there are.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import polars as pl

from . import messages as m
from . import reports, rollups
from .batch import Bulk, bound, in_bulk, seen_later
from .clock import DAY, HOUR, MINUTE, SECOND, Reading
from .core import Core
from .errors import DrainboardError, Invalid
from .fleet import Fleet
from .ledger import AssetSeen, Detail, Rows, TaskRow, business_of
from .lifecycle import Kind, result_site
from .outbox import Outbox
from .simulated import Simulated
from .store import Store

BATCH_EVENTS = 20_000  #: about so many in a batch
EVENTS_PER_TASK = 5
FEWEST_CHAPTERS = 20  #: so that progress shows
LONGEST_DAYS, MOST_TASKS = 3_660, 100_000_000
STEP = SECOND // 2  #: executors are stepped twice a second in life, too
FOUNDER = "fleet"
RESULTS_OF = DAY  #: before the end of a history: older results of reports are not kept in it
ROLL_EVERY = 25  #: chapters between two roll-ups

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

    def ends(self) -> list[int]:
        """Cut the span into chapters: where each ends."""
        days = (self.until - self.start) / DAY
        events = self.fleet.tasks_per_day() * days * self.pace * EVENTS_PER_TASK
        n = max(FEWEST_CHAPTERS, round(events / BATCH_EVENTS))
        return [self.start + (self.until - self.start) * (i + 1) // n for i in range(n)]


@dataclass(frozen=True, slots=True)
class Chapter:
    """What happened in a part of a span; the last one also brings the tasks that still live."""

    bulk: Bulk
    tasks: int  #: submitted in it
    live: list[TaskRow]


class Life:
    """One business living through a span; `chapters` tells it."""

    def __init__(self, span: Span, number: int) -> None:
        self._span, self._number = span, number
        business = span.fleet.businesses[number - 1]
        self._fleet = replace(span.fleet, businesses=(business,))
        self._start = span.start
        seed = span.seed * len(span.fleet.businesses) + number
        self._chance = Random(seed)
        self._core = Core()
        self._world = Simulated(self._fleet, seed, span.pace, tells_progress=False)
        self._world.analyst = self._analysed
        self._outbox = Outbox(0)
        self._first_seen: dict[tuple[str, str], AssetSeen] = {}
        self._last_seen: dict[tuple[str, str], AssetSeen] = {}
        self._requests = 0

    def chapters(self) -> Iterator[Chapter]:
        """Live through the whole span."""
        self._step(self._start, [self._command(FOUNDER, action) for action in self._founding()])
        episodes = self._episodes()
        now, until = self._start, self._span.until
        for end in self._span.ends():
            while True:
                due = episodes[-1][0] if episodes else until
                for moment in (self._world.next_event(), self._core.next_timer()):
                    if moment is not None and moment < due:
                        due = moment
                due = max(now, due) + STEP
                if due >= end:
                    break
                now = due
                self._step(now, episodes.pop()[1]() if episodes and episodes[-1][0] <= now else [])
            yield self._chapter(last=end == until)

    def _founding(self) -> Iterator[m.Action]:
        """Found the businesses before this one, too, so that it gets its number; their lives tell of them."""
        for business in self._span.fleet.businesses[: self._number - 1]:
            yield m.AddBusiness(business.name)
        yield from self._fleet.founding()

    def _step(self, now: int, commands: list[m.Command]) -> None:
        batch = self._outbox.open
        self._core.step(Reading(now, now - self._start), [*commands, *self._world.step(now)], batch)
        # Nobody reads this store before it is whole, so orders need not wait for the commit here.
        if batch.orders:
            self._world.give(batch.orders)
            self._world.settle(batch.now)
            batch.orders.clear()

    def _chapter(self, last: bool) -> Chapter:
        batch = self._outbox.seal()
        rows = self._outbox.settle(batch).rows if batch else Rows()
        rows.service_event = [row for row in rows.service_event if business_of(row.event_id) == self._number]
        rows.audit = [row for row in rows.audit if business_of(row.audit_id) == self._number]
        self._note(rows)
        tasks = sum(event.event == "submit" for event in rows.task_event)
        bulk = dict(in_bulk(rows))
        if last and self._first_seen:
            sights = [in_bulk(Rows(asset=list(sight.values()))) for sight in (self._first_seen, self._last_seen)]
            bulk["asset"] = [block for sight in sights for block in sight["asset"]]
        return Chapter(bulk, tasks, self._live_rows() if last else [])

    def _note(self, rows: Rows) -> None:
        """Take assets out of the rows: each is seen many times, and only the first and the last count."""
        for seen in rows.asset:
            key = seen.site, seen.target
            self._first_seen.setdefault(key, seen)
            self._last_seen[key] = seen_later(self._last_seen.get(key, seen), seen)
        rows.asset = []

    def _analysed(self, order: m.StartOrder, now: int) -> tuple[Detail | None, Sequence[AssetSeen]]:
        """Work out what a report has found, as in life; but of what is long past, nobody keeps that."""
        if now < self._span.until - RESULTS_OF:
            return None, ()
        self._note(self._outbox.open.rows)
        site = result_site(order.kind, order.name, order.site)
        known = [
            (*seen[:5], seen.online, seen.outlier_score, self._first_seen[key].seen_at, seen.seen_at)
            for key, seen in self._last_seen.items()
            if site in (None, seen.site)
        ]
        assets = pl.DataFrame(known, reports.SCHEMA, orient="row")
        sites = [one.name for one in self._fleet.businesses[0].sites] if site is None else [site]
        return reports.analyse(order.kind, order.name, assets, reports.Scope(order.business, site, sites, now))

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
        return m.Command(f"seeding-{self._number}-{self._requests}", actor, action)

    # --- episodes, last first

    def _episodes(self) -> list[Episode]:
        """Draw what goes wrong in this history: about one thing a day and site, in working hours or the night runs."""
        chance, episodes = self._chance, []
        day = self._start
        while day < self._span.until:
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
                elif kind in ("user hold", "type hold") and not self._admins():
                    continue  # nobody there could place one
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
        return sorted((e for e in episodes if e[0] < self._span.until), key=lambda episode: -episode[0])

    def _admins(self) -> list[str]:
        return [user.name for business in self._fleet.businesses for user in business.users if "admin" in user.role]

    @staticmethod
    def _quietly(change: Callable[..., None], *arguments: object) -> Callable[[], list[m.Command]]:
        def happen() -> list[m.Command]:
            change(*arguments)
            return []

        return happen

    def _hold(self, business: str, target: m.HoldTarget, reason: str) -> Callable[[], list[m.Command]]:
        admin, lasts = self._chance.choice(self._admins()), int(self._chance.uniform(0.5, 4) * HOUR)

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
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid(f"A history is of 1 to {LONGEST_DAYS:,} days, not {days:,}")
    if not 0 <= tasks <= MOST_TASKS:
        raise Invalid(f"A history has up to {MOST_TASKS:,} tasks, not {tasks:,}")
    natural = fleet.tasks_per_day() * days
    if tasks and not natural:
        raise Invalid(f"This fleet makes no tasks in {days} days, however fast it lives; {tasks:,} were asked for")
    span = Span(fleet, now - days * DAY, now, tasks / natural if tasks else 1.0, seed)
    ends = span.ends()
    written, live = 0, []
    with Store.open(folder, threads=1) as store:  # the other cores live
        rollups.prepare(store)
        for n, (end, chapters) in enumerate(zip(ends, _told(span, stopped), strict=False), 1):
            bulk = bound([chapter.bulk for chapter in chapters])
            if bulk:
                store.commit(store.batch + 1, end, Rows(), bulk)
            written += sum(chapter.tasks for chapter in chapters)
            live += [row for chapter in chapters for row in chapter.live]
            if n == len(ends):
                store.publish_live(live, store.batch)
            if n % ROLL_EVERY == 0 or n == len(ends):
                rollups.advance(store)
            progress(n / len(ends), f"{written:,} tasks so far")
        store.keep_clock(now)
    return written


def _told(span: Span, stopped: Callable[[], bool]) -> Iterator[Sequence[Chapter]]:
    """Let other processes live the span; yield the chapters of all businesses, by number, until stopped."""
    numbers = range(1, len(span.fleet.businesses) + 1)
    groups = [numbers[i :: os.cpu_count() or 1] for i in range(min(len(numbers), os.cpu_count() or 1))]
    context = get_context("spawn")  # a fork would take over what other threads hold
    pipes, tellers = [], []
    for group in groups:
        here, there = context.Pipe(duplex=False)
        pipes.append(here)
        tellers.append(context.Process(target=_tell, args=(there, span, group), daemon=True))
        tellers[-1].start()
        there.close()
    try:
        for _ in span.ends():
            if stopped():
                return
            told: dict[int, Chapter] = {}
            for here in pipes:
                while not here.poll(0.2):
                    if stopped():
                        return
                told |= here.recv()
            yield [told[number] for number in numbers]
    except (EOFError, OSError):  # at once, or in the middle of what it was telling
        raise DrainboardError("A process that lived the history ended before the history did") from None
    finally:
        for teller in tellers:
            teller.terminate()
            teller.join()


def _tell(there: Connection, span: Span, numbers: Sequence[int]) -> None:
    """Live some businesses through a span and send what happened, chapter by chapter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who asked for the history decides
    gc.disable()  # no garbage in circles is made here, and looking for it among millions of rows takes long
    for chapters in zip(*(Life(span, number).chapters() for number in numbers), strict=True):
        there.send(dict(zip(numbers, chapters, strict=True)))
