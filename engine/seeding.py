"""History at full speed: the real core and the simulated fleet on a virtual clock, committed to a new store.

The clock jumps from one instant at which something happens to the next. Episodes are drawn in: hosts fall silent, users
and task types are held, surges come, processors slow down. What the store holds in the end is no different from what
the same fleet would have left behind in life.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from . import messages as m
from . import rollups
from .clock import DAY, HOUR, MINUTE, SECOND, Reading
from .core import Core
from .errors import DrainboardError
from .fleet import Fleet
from .lifecycle import Kind
from .outbox import Batch, Outbox
from .simulated import Simulated
from .store import Store

BATCH_EVENTS = 12_000
STEP = SECOND // 2  #: executors are stepped twice a second in life, too
FOUNDER = "fleet"
ROLL_EVERY = 40  #: batches between two roll-ups

Progress = Callable[[float, str], None]
Episode = tuple[int, Callable[[], list[m.Command]]]  #: when, and what


class Seeder:
    """Builds one history; `run` does it."""

    def __init__(self, folder: Path, fleet: Fleet, *, start: int, until: int, pace: float, seed: int) -> None:
        self._fleet, self._start, self._until = fleet, start, until
        self._chance = Random(seed)
        self._core = Core()
        self._world = Simulated(fleet, seed, pace, tells_progress=False)
        self._store = Store.open(folder)
        rollups.prepare(self._store)
        self._outbox = Outbox(0)
        self._to_write: queue.Queue[Batch | None] = queue.Queue(2)
        self._failure: BaseException | None = None
        self._requests = 0
        self.tasks = 0

    def run(self, progress: Progress, stopped: Callable[[], bool]) -> None:
        """Live through the whole span; raise what went wrong while writing."""
        writer = threading.Thread(target=self._write, name="drainboard-seeding-writer", daemon=True)
        writer.start()
        try:
            self._live(progress, stopped)
        finally:
            self._to_write.put(None)
            writer.join()
        if self._failure is not None:
            raise self._failure
        progress(0.98, "Publishing")
        queues = self._core.queues
        rows = []
        for task in self._core.state.tasks.values():
            waiting = queues.waiting.get(task.id)
            holds = waiting.queue.holds if waiting else []
            rows.append(task.row(holds[0].id if holds else None, waiting.queue.cause if waiting else None))
        self._store.publish_live(rows, self._store.batch)
        rollups.advance(self._store)
        self._store.keep_clock(self._until)
        self._store.close()

    def _live(self, progress: Progress, stopped: Callable[[], bool]) -> None:
        self._step(self._start, [self._command(FOUNDER, action) for action in self._fleet.founding()])
        episodes = self._episodes()
        now, told = self._start, self._start
        span = self._until - self._start
        while True:
            due = episodes[-1][0] if episodes else self._until
            for moment in (self._world.next_event(), self._core.next_timer()):
                if moment is not None and moment < due:
                    due = moment
            now = max(now, due) + STEP
            if now >= self._until or stopped() or self._failure is not None:
                break
            commands = episodes.pop()[1]() if episodes and episodes[-1][0] <= now else []
            self._step(now, commands)
            if now - told > span // 100:
                told = now
                progress(0.97 * (now - self._start) / span, f"{self.tasks:,} tasks so far")
        self._seal()

    def _step(self, now: int, commands: list[m.Command]) -> None:
        batch = self._outbox.open
        self._core.step(Reading(now, now - self._start), [*commands, *self._world.step(now)], batch)
        # Nobody reads this store before it is whole, so orders need not wait for the commit here.
        if batch.orders:
            self._world.give(batch.orders)
            self._world.settle(batch.now)
            batch.orders.clear()
        if batch.events >= BATCH_EVENTS:
            self._seal()

    def _seal(self) -> None:
        batch = self._outbox.seal()
        if batch is not None:
            self.tasks += sum(event.event == "submit" for event in batch.rows.task_event)
            self._to_write.put(batch)
            self._outbox.settle(batch)

    def _write(self) -> None:
        n = 0
        while (batch := self._to_write.get()) is not None:
            if self._failure is not None or not batch.rows:
                continue
            try:
                self._store.commit(batch.number, batch.now, batch.rows)
                n += 1
                if n % ROLL_EVERY == 0:
                    rollups.advance(self._store)
            except DrainboardError as error:
                self._failure = error

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


def seed(
    folder: Path, fleet: Fleet, *, days: int, tasks: int, seed: int, now: int, progress: Progress,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Build a store with so many days of history that end at `now`; return how many tasks it has.

    `tasks` 0 lets the fleet live at its own pace; else it lives faster or slower, with the same utilisation.
    """
    natural = fleet.tasks_per_day() * days
    pace = tasks / natural if tasks else 1.0
    seeder = Seeder(folder, fleet, start=now - days * DAY, until=now, pace=pace, seed=seed)
    seeder.run(progress, stopped)
    return seeder.tasks
