"""The only wiring: opens the store, rebuilds the core, runs the threads, and closes in the right order.

Threads, and what each may touch:
    engine     owns the core: waits on the inbox, steps, seals batches, hands out what a durable batch releases
    writer     owns the commits: one batch at a time, retried under its number until it is durable
    scheduler  APScheduler's: steps the executors, publishes history. Decides nothing
    watchdog   starts a new scheduler when the old one has died
Everybody else sends commands (`do`) and reads the `snapshot`. Nothing leaves before its batch is durable.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from . import messages as m
from . import rollups
from .batch import Bulk
from .clock import SECOND, EngineClock, Reading
from .core import Core, Input, answers_from
from .deciding import Policy
from .errors import Busy, CommitFailed, DrainboardError, Invalid, StoreError, StoreFull
from .ledger import Rows, TaskRow
from .outbox import Batch, Outbox
from .settings import Settings
from .snapshot import Capture, Publisher, Snapshot
from .state import Business, Row, replay
from .store import LONG_LOG, Recovered, Store
from .tally import Tally

log = logging.getLogger("drainboard")

IDLE_WAIT = 0.25  #: seconds the engine sleeps when nothing comes and nothing is due
LOOK_EVERY = 0.5  #: seconds between two snapshots, at least, unless somebody waits for one
LOOK_SHARE = 0.05  #: part of the engine's time that taking snapshots may cost
SATURATED = 10_000  #: events in the open batch from which commands wait in the inbox
HEAR_EVERY = 1.0  #: seconds between two notes of when services were last heard of
LATE = 5.0  #: seconds without a tick from which the engine counts as unwell
RETRY_AFTER = 0.5  #: seconds between two tries of a commit
UNCOMMITTED = "the last commit failed and is being retried; the server's log says why"
SHORT_LOG = 4_000_000  #: bytes in the write-ahead log up to which a checkpoint holds nobody up
SHOWN_WITHIN = 3.0  #: seconds in which the snapshot should show what is durable
CLOSE_WITHIN = 4.0  #: seconds that an orderly stop may take, all in all


class Executor(Protocol):
    """What carries out orders. `step` runs in the scheduler's thread; what it returns goes to the inbox."""

    name: str

    def give(self, orders: Sequence[m.Order]) -> None: ...

    def step(self, now: int) -> Sequence[Input]: ...


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the engine itself is: seconds since its last tick and the scheduler's last beat, and what troubles it."""

    tick_age: float
    scheduler_age: float
    batch: int
    inbox: int
    trouble: str | None
    commit_age: float | None  #: seconds since the last commit; None before the first of this start

    @property
    def well(self) -> bool:
        return self.tick_age < LATE and self.scheduler_age < LATE and self.trouble is None

    @property
    def silence(self) -> float:
        """How long ago what is shown was last sure, in seconds: what can't be committed is no news."""
        uncommitted = self.commit_age if self.trouble is not None else None
        return max(self.tick_age, self.scheduler_age, uncommitted or 0.0)


@dataclass(slots=True)
class Import:
    """A parsed log on its way into the ledger. `make` gets the first free event id and task id of its business."""

    business: str
    events: int
    tasks: int
    make: Callable[[Business], tuple[Rows, Bulk]]  #: from the business as it stood when the batch got its place
    done: Future[int] = field(default_factory=Future)  #: resolves to the batch that holds it


@dataclass(slots=True)
class _Sealed:
    """A batch on its way to the writer, with what a snapshot and the publication of live tasks need of that moment."""

    batch: Batch
    capture: Capture | None
    live: list[TaskRow] | None
    load: Import | None = None
    base: Business | None = None
    bulk: Bulk | None = None


@dataclass(slots=True)
class _Asked:
    command: m.Command
    answer: Future[m.Outcome]


_Item = _Asked | Import | _Sealed | Sequence[Input] | None


class Engine:
    """A running Drainboard: `do` sends a command, `snapshot` is what pages read, `close` stops in order."""

    def __init__(
        self, folder: Path, settings: Settings, executors: Callable[[Core], Sequence[Executor]] = lambda _: ()
    ) -> None:
        self.folder, self.settings = folder, settings
        self.store = Store.open(folder, memory_limit=f"{settings.int('memory_limit_mb')}MB")
        try:
            self.store.refuse_wrong_key()
            rollups.prepare(self.store)
            self._rebuild(self.store.recover(settings.int("undo_s") * SECOND), executors)
        except BaseException:
            self.store.close()
            raise

    def _rebuild(self, found: Recovered, executors: Callable[[Core], Sequence[Executor]]) -> None:
        self.core = rebuild(found, policy_of(self.settings))
        self.outbox = Outbox(found.batch)
        self.clock = EngineClock(floor=max(found.now, self.core.state.last))
        self._down_from = max(found.now, self.core.state.last) if found.batch else None
        self.executors = {executor.name: executor for executor in executors(self.core)}
        self._publisher = Publisher(self.core, found.batch)
        self._published = threading.Condition()
        self.tally = Tally()
        self._unseen: set[int] = set()  #: tasks that changed since the last look
        self._behind = False  #: a batch has left since, if only of holds or services
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._to_write: queue.SimpleQueue[_Sealed | None] = queue.SimpleQueue()
        self._answers: dict[str, list[Future[m.Outcome]]] = {}
        self._imports: list[Import] = []
        self._under_way: _Sealed | None = None  #: what the writer has and is not settled yet
        self._trouble: str | None = None
        self._full: StoreFull | None = None
        self._now = self.core.state.last
        self._closing = threading.Event()
        self._sealed_at = self._look_next = self._look_soon = 0.0
        self._awaited = False  #: somebody waits for the next snapshot
        self._publish_wanted = False
        self._ticked_at = self._beat_at = time.monotonic()
        self._heard: Mapping[tuple[str, str], int | None] = {}
        self._hear_next = 0.0
        self._scheduler: BackgroundScheduler | None = None
        self._chores: dict[str, tuple[float, Callable[[], object]]] = {}
        self._threads = [
            threading.Thread(target=target, name=f"drainboard-{name}", daemon=True)
            for name, target in (("engine", self._run), ("writer", self._write), ("watchdog", self._watch))
        ]

    # --- the face

    def start(self) -> Engine:
        """Take up work: settle what the stop or crash left behind, then run."""
        _calm_collector()
        reading = self.clock.read()
        self._now = reading.now
        step = self.core.start(Reading(reading.now, reading.ticked, self._down_from), tuple(self.executors))
        self.outbox.add(step)
        self._start_scheduler()
        for thread in self._threads:
            thread.start()
        return self

    def do(self, command: m.Command) -> Future[m.Outcome]:
        """Send a command; the future resolves once its outcome is durable. Nobody can take it back meanwhile."""
        answer: Future[m.Outcome] = Future()
        request_id: object = command.request_id
        answer.set_running_or_notify_cancel()  # whoever no longer waits (a page that is gone) must not spoil it
        if self._closing.is_set():
            answer.set_exception(Busy("The engine is stopping; nothing was changed"))
        elif not isinstance(request_id, str):
            answer.set_exception(Invalid("A request's id is a text; nothing was changed"))
        else:
            answer.add_done_callback(partial(_note_refusal, command))
            self._inbox.put(_Asked(command, answer))
        return answer

    def ask(self, command: m.Command, within: float) -> m.Outcome:
        """Send a command; return its outcome once it is durable and, as a rule, the snapshot shows it.

        Whoever reads next sees what he has done. Raises TimeoutError after `within` seconds in which it did not get
        durable; a snapshot that is late is not waited for longer than SHOWN_WITHIN.
        """
        outcome = self.do(command).result(within)
        self.shown()
        return outcome

    def shown(self) -> bool:
        """Wait until the snapshot shows all that is durable by now; tell whether it came to that."""
        durable = self.store.batch

        def settled() -> bool:
            return self.snapshot.batch >= durable or self._closing.is_set()

        if not settled():
            self._awaited = True
            self._inbox.put(None)  # wakes the engine
            with self._published:
                self._published.wait_for(settled, SHOWN_WITHIN)
        return self.snapshot.batch >= durable

    def every(self, seconds: float, name: str, chore: Callable[[], object]) -> None:
        """Have something done every so often, in the scheduler's threads, until the engine closes."""
        self._chores[name] = seconds, chore
        if self._scheduler is not None:
            self._add_chore(self._scheduler, name)

    def report(self, reports: Sequence[m.Report]) -> None:
        """Hand in what services say, from an executor that does not wait to be stepped."""
        self._inbox.put(reports)

    def load(self, load: Import) -> int:
        """Put an imported log into the ledger as one batch; return the batch's number."""
        if self._closing.is_set():
            self._turn_away(load)
        else:
            self._inbox.put(load)
        return load.done.result()

    @property
    def snapshot(self) -> Snapshot:
        return self._publisher.current

    @property
    def now(self) -> int:
        """The engine's clock as of its last tick; a snapshot's is that of the last change."""
        return self._now

    @property
    def heard(self) -> Mapping[tuple[str, str], int | None]:
        """When each service (business, name) was last heard of, as of a second ago; None: not since the start.

        Beside the snapshot, not in it: a heartbeat changes nothing, so it makes no batch and may publish none. And as
        an idle engine publishes nothing, a snapshot's instants would grow old and call every host there silent.
        """
        return self._heard

    @property
    def pulse(self) -> Pulse:
        now, committed_at = time.monotonic(), self.tally.committed_at
        return Pulse(
            now - self._ticked_at, now - self._beat_at, self.store.batch, self._inbox.qsize(), self._trouble,
            None if committed_at is None else now - committed_at,
        )

    def close(self) -> None:
        """Stop in order: nothing new in, the scheduler down, the last batch durable, live tasks published, store shut.

        Workers stop before the engine so that no report comes to a dead inbox; the writer goes last but for the store.
        """
        if self._closing.is_set():
            return
        until = time.monotonic() + CLOSE_WITHIN
        self._closing.set()
        stopping = threading.Thread(target=self._stop_scheduler, daemon=True)
        stopping.start()
        self._inbox.put(None)
        self._tell_of_snapshot()  # there may come none any more
        for thread in (*self._threads, stopping):
            thread.join(max(0.1, until - time.monotonic()))
        with suppress(queue.Empty):
            while True:
                self._turn_away(self._inbox.get_nowait())
        self.store.close()
        self._answer_the_rest()
        gc.unfreeze()

    def _answer_the_rest(self) -> None:
        """Answer who still waits. The store is closed: what is not durable by now never will be."""
        last = self._under_way
        if last is not None and last.batch.number <= self.store.batch:
            self._settle(last)
        elif last is not None and last.load is not None:
            self._turn_away(last.load)
        for load in self._imports:
            self._turn_away(load)
        for answers in self._answers.values():
            for answer in answers:
                answer.set_exception(Busy("The engine stopped before this was durable; nothing was changed"))

    # --- the engine thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                items = self._receive()
                self._tick(items)
            self._finish()
        except Exception:
            log.exception("The engine stopped: an error it can't go on from. What was acknowledged is safe.")
            self._trouble = "the engine stopped after an error; see the log"
            self._to_write.put(None)
            while not self._closing.is_set():  # or who still asks would wait for ever
                self._turn_away(self._inbox.get())

    def _receive(self) -> list[_Item]:
        """Wait for something to come, or for the next moment at which something is due."""
        items: list[_Item] = []
        room = SATURATED - self.outbox.open.events
        try:
            item = self._inbox.get(timeout=self._patience())
            while True:
                items.append(item)
                room -= len(item) if isinstance(item, Sequence) else 1
                if room <= 0:
                    break
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        return items

    def _patience(self) -> float:
        if self.outbox.open.rows and self.outbox.in_flight is None:
            return max(0.0, self._sealed_at + self._window - time.monotonic())
        due, wait = self.core.next_timer(), IDLE_WAIT
        if due is not None:
            wait = min(wait, max(0.0, (due - self._now) / SECOND))
        if self._awaited and self._behind and self.outbox.in_flight is None:
            wait = min(wait, max(0.0, max(self._look_soon, self._sealed_at + self._window) - time.monotonic()))
        return wait

    @property
    def _window(self) -> float:
        return self.settings.int("commit_window_ms") / 1000

    def _tick(self, items: Sequence[_Item]) -> None:
        begun_at = time.monotonic()
        inputs: list[Input] = []
        for item in items:
            if isinstance(item, _Asked):
                refusal = self._refusal()
                if refusal is None:
                    self._answers.setdefault(item.command.request_id, []).append(item.answer)
                    inputs.append(item.command)
                else:
                    item.answer.set_exception(refusal)
            elif isinstance(item, _Sealed):
                self._settle(item)
            elif isinstance(item, Import):
                self._imports.append(item)
            elif item is not None:
                inputs += self._admitted(item)
        reading = self.clock.read()
        self._now = reading.now
        self.core.step(reading, inputs, self.outbox.open)
        self._seal()
        self._ticked_at = time.monotonic()
        if self._ticked_at >= self._hear_next:
            self._heard, self._hear_next = self.core.heard(), self._ticked_at + HEAR_EVERY
        self.tally.ticked(self._ticked_at - begun_at)

    def _admitted(self, told: Sequence[Input]) -> Sequence[Input]:
        """Let in what an executor says; what its people ask for, only while commands are taken."""
        if self._refusal() is None:
            return told
        return [an_input for an_input in told if not isinstance(an_input, m.Command)]

    def _refusal(self) -> DrainboardError | None:
        """Say why no command is taken right now, if so."""
        if self._trouble is not None:
            return CommitFailed(f"{self._trouble[0].upper()}{self._trouble[1:]}. Nothing was changed.")
        return self._full

    def _seal(self) -> None:
        """Send the open batch to the writer: at once after quiet, else when the window has passed."""
        now = time.monotonic()
        if self.outbox.in_flight is not None or now - self._sealed_at < self._window:
            return
        if self._imports and not self.outbox.open.rows:
            self._seal_import(self._imports.pop(0))
            return
        batch = self.outbox.seal()
        if batch is None:
            if self._behind and self._may_look(now):
                self._show(self.store.batch, self.core.state.last, self._look())
            return
        self._unseen |= batch.touched
        self._sealed_at = now
        sealed = _Sealed(batch, None, None)
        if self._may_look(now):
            sealed.capture = self._look()
        if self._publish_wanted:
            self._publish_wanted = False
            sealed.live = self._live_rows()
        self._write_out(sealed)

    def _write_out(self, sealed: _Sealed) -> None:
        self._under_way = sealed
        self._behind |= sealed.capture is None
        self._to_write.put(sealed)

    def _seal_import(self, load: Import) -> None:
        """Give an import a batch of its own; its ids are reserved now, its rows are numbered by the writer."""
        business = self.core.state.businesses.get(load.business)
        if business is None:
            load.done.set_exception(DrainboardError(f"There is no business “{load.business}”"))
            return
        batch = self.outbox.reserve(self.core.state.last)
        base = copy(business)
        business.last_event += load.events
        business.last_task += load.tasks
        business.last_audit += 1
        self._write_out(_Sealed(batch, None, None, load, base))

    def _may_look(self, now: float) -> bool:
        return now >= (self._look_soon if self._awaited else self._look_next)

    def _look(self) -> Capture:
        start = time.monotonic()
        touched, self._unseen, self._behind, self._awaited = self._unseen, set(), False, False
        capture = self._publisher.capture(touched)
        self._look_soon = start + (time.monotonic() - start) / LOOK_SHARE
        self._look_next = max(start + LOOK_EVERY, self._look_soon)
        return capture

    def _show(self, batch: int, now: int, capture: Capture) -> None:
        start = time.monotonic()
        self._publisher.publish(batch, now, capture)
        self._look_soon += (time.monotonic() - start) / LOOK_SHARE
        self._tell_of_snapshot()

    def _tell_of_snapshot(self) -> None:
        with self._published:
            self._published.notify_all()

    def _live_rows(self) -> list[TaskRow]:
        queues = self.core.queues
        rows = []
        for task in self.core.state.tasks.values():
            waiting = queues.waiting.get(task.id)
            if waiting is None:
                rows.append(task.row())
            else:
                holds = waiting.queue.holds
                rows.append(task.row(holds[0].id if holds else None, waiting.queue.cause))
        return rows

    def _settle(self, sealed: _Sealed) -> None:
        """Let out what a durable batch decided."""
        batch, self._under_way = self.outbox.settle(sealed.batch), None
        for request_id, outcome in batch.outcomes:
            asked = self._answers.get(request_id)
            if asked:  # each in its turn: what came under the same id may have asked for something else
                asked.pop(0).set_result(outcome)
                if not asked:
                    del self._answers[request_id]
        by_executor: dict[str, list[m.Order]] = {}
        for order in batch.orders:
            by_executor.setdefault(order.executor, []).append(order)
        for name, orders in by_executor.items():
            if name in self.executors:
                self.executors[name].give(orders)
        if sealed.capture is not None:
            self._show(batch.number, batch.now, sealed.capture)
        if sealed.load is not None:
            sealed.load.done.set_result(batch.number)

    def _finish(self) -> None:
        """Make what is decided durable and publish the live tasks, then let the writer go."""
        until = time.monotonic() + CLOSE_WITHIN / 2
        while (self.outbox.in_flight or self.outbox.open.rows) and time.monotonic() < until:
            if self.outbox.in_flight is None:
                self._sealed_at = 0.0
                self._seal()
                continue
            with suppress(queue.Empty):
                item = self._inbox.get(timeout=0.1)
                if isinstance(item, _Sealed):
                    self._settle(item)
                else:
                    self._turn_away(item)
        self._to_write.put(_Sealed(Batch(0, number=self.store.batch), None, self._live_rows()))
        self._to_write.put(None)

    @staticmethod
    def _turn_away(item: _Item) -> None:
        if isinstance(item, _Asked):
            item.answer.set_exception(Busy("The engine is stopping; nothing was changed"))
        elif isinstance(item, Import):
            item.done.set_exception(Busy("The engine is stopping; nothing was imported"))

    # --- the writer thread

    def _write(self) -> None:
        try:
            while (sealed := self._to_write.get()) is not None:
                if sealed.load is not None and sealed.base is not None:
                    rows, sealed.bulk = sealed.load.make(sealed.base)
                    sealed.batch.rows.extend(rows)
                took = self._commit(sealed.batch, sealed.bulk)
                if took is None:
                    return
                if sealed.live is not None:
                    self._publish(sealed)
                if sealed.batch is self.outbox.in_flight:
                    self._inbox.put(sealed)
                if sealed.batch.rows:
                    self.tally.committed(sealed.batch.rows, took, time.monotonic())
        except Exception:
            log.exception("The writer stopped: an error it can't go on from. What was acknowledged is safe.")
            self._trouble = "the writer stopped after an error; see the log"

    def _commit(self, batch: Batch, bulk: Bulk | None) -> float | None:
        """Commit until it holds; return how many seconds the try that held took, None when the engine closes before.

        Commands are refused meanwhile.
        """
        began_at = time.monotonic()
        while batch.rows:
            try:
                self.store.commit(batch.number, batch.now, batch.rows, bulk)
                if self._trouble is not None:
                    log.warning("Commits work again, from batch %d on", batch.number)
                self._trouble = None
                break
            except CommitFailed as error:
                if self._trouble is None:
                    log.error("Batch %d could not be committed and is retried: %s", batch.number, error)
                self._trouble = UNCOMMITTED  # what the error says, paths and rows of whomever, is for the log
                self.tally.failed_commits += 1
                if self._closing.wait(RETRY_AFTER):
                    return None
                began_at = time.monotonic()
        return time.monotonic() - began_at

    def _publish(self, sealed: _Sealed) -> None:
        try:
            self.store.publish_live(sealed.live or [], sealed.batch.number)
        except DrainboardError as error:
            log.error("Live tasks could not be published: %s", error)

    # --- the scheduler's thread

    def _start_scheduler(self) -> None:
        """Start APScheduler with its jobs. A late or missed run is run once, never dropped."""
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR)
        for executor in self.executors.values():
            scheduler.add_job(self._step_executor, "interval", [executor], seconds=0.5, id=f"step {executor.name}")
        scheduler.add_job(self._beat, "interval", seconds=1, id="beat")
        scheduler.add_job(self._shorten_log, "interval", seconds=3, id="shorten log")
        scheduler.add_job(self._keep_house, "interval", seconds=self.settings.int("publish_s"), id="publish")
        for name in self._chores:
            self._add_chore(scheduler, name)
        scheduler.start()
        self._scheduler = scheduler

    def _add_chore(self, scheduler: BackgroundScheduler, name: str) -> None:
        seconds, chore = self._chores[name]
        scheduler.add_job(chore, "interval", seconds=seconds, id=name, replace_existing=True)

    def _stop_scheduler(self) -> None:
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _job_failed(self, event: JobExecutionEvent) -> None:
        log.error("Background job “%s” failed: %s\n%s", event.job_id, event.exception, event.traceback)

    def _step_executor(self, executor: Executor) -> None:
        told = executor.step(self._now)
        if told and not self._closing.is_set():
            self._inbox.put(told)

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        if self._closing.is_set():
            return
        if self._trouble is None:
            self.store.keep_clock(self._now)
        try:
            self.store.check_space()
            self._full = None
        except StoreFull as full:
            self._full = full

    def _keep_house(self) -> None:
        """Publish live tasks with the next batch, bring the rollups up to date, move the log into the file."""
        if self._closing.is_set():
            return
        self._publish_wanted = True
        rollups.advance(self.store)
        if self.pulse.inbox == 0 and self.outbox.in_flight is None:
            # A short log is moved in a moment; after a busy time people would wait two seconds for it.
            self._checkpoint(beside_commits=self.store.wal_bytes() > SHORT_LOG)

    def _shorten_log(self) -> None:
        """Move a long log into the file before DuckDB does it within a commit, which would have to wait."""
        if not self._closing.is_set() and self.store.wal_bytes() >= LONG_LOG:
            self._checkpoint(beside_commits=True)

    def _checkpoint(self, beside_commits: bool) -> None:
        try:
            self.store.checkpoint(beside_commits=beside_commits)
        except StoreError as error:  # a read that began before the roll-up keeps what it replaced: no harm
            log.warning("%s. The next one will do it.", error)

    def _watch(self) -> None:
        """Start a new scheduler when the old one has not beaten for long: its own state would still say running."""
        while not self._closing.wait(1.0):
            if time.monotonic() - self._beat_at > LATE:
                log.error("The background scheduler has died; a new one is started")
                old, self._beat_at = self._scheduler, time.monotonic()
                self._start_scheduler()
                if old is not None and old.running:
                    threading.Thread(target=old.shutdown, kwargs={"wait": False}, daemon=True).start()


def _note_refusal(command: m.Command, answer: Future[m.Outcome]) -> None:
    """Leave in the log who was refused what: a refusal of a whole command changes nothing, so no row tells of it."""
    if answer.exception() is None and (refused := answer.result().refused) is not None:
        action = type(command.action).__name__
        log.info("%s was refused to %s: %s", action, ascii(command.actor)[:100], ascii(refused)[1:-1])


def _calm_collector() -> None:
    """Let Python look for garbage in circles less often.

    The core makes none, but millions of rows pass through it: at the default pace looking at them again and again costs
    a third of the engine's time. What is alive now stays, so it is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def policy_of(settings: Settings) -> Policy:
    """Turn the settings into the core's limits."""
    return Policy(
        stop_deadline=settings.int("stop_deadline_s") * SECOND,
        suspend_deadline=settings.int("suspend_deadline_s") * SECOND,
        silence=settings.int("silence_s") * SECOND,
        attempts=settings.int("attempts"),
        undo=settings.int("undo_s") * SECOND,
        fair_share=bool(settings["fair_share"]),
    )


def rebuild(found: Recovered, policy: Policy) -> Core:
    """Make the core again from what recovery read."""
    rows: list[Row] = [
        *found.service_events, *found.hold_events, *found.throttle_events, *found.schedule_events,
        *found.schedule_fires, *found.blackout_events, *found.blackout_fires, *found.task_events,
    ]  # fmt: skip
    state = replay(sorted(rows, key=lambda row: (row.occurred_at, row.event_id)))
    state.advance_sequences(found.last_event_id, found.last_task_id, found.last_audit_id)
    core = Core(state, policy)
    core.remember(
        answers_from(found.audits), {row.request_id: row.actor for row in found.audits if row.request_id is not None}
    )
    core.recall(found.saved_views)
    return core
