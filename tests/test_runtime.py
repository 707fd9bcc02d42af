"""The running engine: who asks is answered, whatever becomes of him, of the store and of the engine meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from engine import messages as m
from engine import runtime
from engine.batch import Batch
from engine.core import Core
from engine.errors import Busy, CommitFailed, Invalid
from engine.ledger import Audit, Rows
from engine.lifecycle import Kind
from engine.runtime import Engine, Executor, Import
from engine.settings import Settings
from engine.state import Business

from .stores import laid

FLEET = (
    m.AddBusiness("Acme"),
    m.AddSite("Acme", "Berlin"),
    m.AddService("Acme", "Berlin", "audit-1", "audit_service", 4),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with founded(tmp_path) as one:
        yield one


@contextmanager
def founded(folder: Path, executors: Callable[[Core], Sequence[Executor]] = lambda _: ()) -> Iterator[Engine]:
    one = Engine(laid(folder / "store"), Settings(), executors).start()
    for n, action in enumerate(FLEET):
        assert one.do(m.Command(f"founding-{n}", "ann", action)).result(30).refused is None
    try:
        yield one
    finally:
        one.close()


def submit(engine: Engine, request: str) -> Future[m.Outcome]:
    new = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", "ann", "ann")
    return engine.do(m.Command(request, "ann", m.Submit([new])))


def test_two_requests_of_one_id_at_once_each_get_their_own_answer(engine: Engine) -> None:
    answers = [submit(engine, "click"), engine.do(m.Command("click", "bob", m.AddSite("Acme", "Oslo")))]
    again = submit(engine, "click")
    first, other, repeat = (answer.result(30) for answer in (*answers, again))
    assert first.changed == repeat.changed
    assert "for something else" in str(other.refused)


def test_no_command_however_odd_stops_the_engine(engine: Engine) -> None:
    for odd in (m.Stop(None), m.Submit("task"), m.KeepView({}, "Failed"), 5):
        assert engine.do(m.Command("odd", "ann", odd)).result(30).refused
    with pytest.raises(Invalid):
        engine.do(m.Command(["odd"], "ann", m.Stop([1]))).result(30)
    assert submit(engine, "fine").result(30).changed


class Unreadable:
    """Rows in bulk whose file can't be read, at first or ever."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __iter__(self) -> Iterator[pa.Table]:
        self.times -= 1
        if self.times >= 0:
            raise OSError("Input/output error")
        return iter(())


def an_import(unreadable: int = 0) -> Import:
    def make(base: Business) -> tuple[Rows, dict[str, Unreadable]]:
        an_id = base.last_audit + 1
        audit = Audit(an_id, 1, "Acme", None, "ann", "import", "file", "f", "changed", None, None, None, "r")
        return Rows(audit=[audit]), {"task_event": Unreadable(unreadable)}

    return Import("Acme", 0, 0, make)


def hold_up(engine: Engine, monkeypatch: pytest.MonkeyPatch, first: Callable[[], object]) -> threading.Event:
    """Let something else happen first whenever a batch is inserted; the event tells that one is."""
    insert, begun = engine.store._insert, threading.Event()

    def held_up(batch: Batch) -> None:
        begun.set()
        first()
        insert(batch)

    monkeypatch.setattr(engine.store, "_insert", held_up)
    return begun


def no_space() -> None:
    raise duckdb.IOException("no space left on device")


def test_why_a_commit_fails_is_told_to_the_log_and_to_nobody_who_asks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may name a path, a query or what another business wrote; and anybody may ask how the console is."""
    room = threading.Event()

    def fail() -> None:
        if not room.is_set():
            raise duckdb.IOException("could not write /srv/canary/drainboard.duckdb.wal")

    hold_up(engine, monkeypatch, fail)
    asked = submit(engine, "late")
    while engine.pulse.trouble is None:
        time.sleep(0.01)
    told = [engine.pulse.trouble]
    with pytest.raises(CommitFailed) as refused:
        submit(engine, "refused").result(30)
    told.append(str(refused.value))
    assert "canary" not in " ".join(told)
    assert "canary" in caplog.text
    assert told[1].endswith("Nothing was changed.")
    room.set()
    assert asked.result(30).changed


def test_who_no_longer_waits_for_an_answer_does_not_stop_the_engine(engine: Engine) -> None:
    for n in range(20):
        submit(engine, f"gone-{n}").cancel()
    assert submit(engine, "still here").result(30).changed
    assert engine.pulse.trouble is None


def test_what_changes_right_after_a_look_is_shown_soon_also_where_no_task_changes(engine: Engine) -> None:
    for n in range(10):
        hold = m.PlaceHolds("Acme", [m.HoldTarget("user", f"user-{n}")], "Later")
        assert engine.do(m.Command(f"hold-{n}", "ann", hold)).result(30).changed
    deadline = time.monotonic() + 30
    while engine.snapshot.batch < engine.store.batch or len(engine.snapshot.holds) < 10:
        assert time.monotonic() < deadline, engine.snapshot.holds
        time.sleep(0.05)


def test_a_snapshot_tells_of_hosts_and_holds_soon_where_no_task_changes(engine: Engine) -> None:
    def soon(seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not seen():
            assert time.monotonic() < deadline, "No snapshot tells of it"
            time.sleep(0.02)

    soon(lambda: len(engine.snapshot.services) == 1 and bool(engine.snapshot.zones))
    for n, state in enumerate(("offline", "draining") * 3):  # the second comes right after a snapshot was taken
        engine.do(m.Command(f"set-{n}", "ann", m.SetService("Acme", "audit-1", state))).result(30)
    soon(lambda: engine.snapshot.services[0].state == "draining")
    engine.do(m.Command("hold", "ann", m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], ""))).result(30)
    soon(lambda: len(engine.snapshot.holds) == 1)


def test_whoever_asks_finds_what_he_has_done_in_what_he_reads_next(engine: Engine) -> None:
    """Looks are half a second apart under load; what is asked for comes in between."""
    for n in range(4):
        new = m.NewTask("Acme", "Berlin", Kind.AUDIT, f"Audit {n}", "ann", "ann")
        outcome = engine.ask(m.Command(f"ask-{n}", "ann", m.Submit([new])), within=30)
        assert engine.snapshot.live(int(outcome.changed[0])) is not None
        service = m.SetService("Acme", "audit-1", "online" if n % 2 else "offline")
        assert engine.ask(m.Command(f"state-{n}", "ann", service), within=30).refused is None
        assert [look.wanted for look in engine.snapshot.services] == [service.state]


def test_a_look_that_somebody_waits_for_is_not_put_off(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a dialog that sends fifty commands, one after the other, would take half a minute."""
    monkeypatch.setattr(runtime, "LOOK_EVERY", 3_600.0)
    for n in range(5):
        outcome = submit(engine, f"one-{n}").result(30)
        assert engine.shown()
        assert engine.snapshot.live(int(outcome.changed[0])) is not None


def test_nobody_waits_for_a_snapshot_of_an_engine_that_stops(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SHOWN_WITHIN", 3_600.0)
    monkeypatch.setattr(runtime, "LOOK_EVERY", 3_600.0)
    submit(engine, "one").result(30)
    assert engine.shown()
    for n in range(2):  # whatever came of that wish to look, the last one is in no snapshot
        submit(engine, f"more-{n}").result(30)
    engine.close()
    assert engine.store.batch > engine.snapshot.batch
    asking = threading.Thread(target=engine.shown, daemon=True)
    asking.start()
    asking.join(30)
    assert not asking.is_alive()


def test_what_was_recovered_is_shown_from_the_start_on(tmp_path: Path) -> None:
    with founded(tmp_path) as engine:
        task = submit(engine, "one").result(30).changed[0]
    again = Engine(tmp_path / "store", Settings())
    try:
        assert again.snapshot.batch == again.store.batch > 0
        assert again.snapshot.live(int(task)) is not None
    finally:
        again.store.close()  # it was never started


def test_a_chore_is_done_again_and_again_also_by_a_scheduler_that_takes_a_dead_ones_place(engine: Engine) -> None:
    done = threading.Semaphore(0)
    engine.every(0.05, "count", done.release)
    for _ in range(2):
        assert done.acquire(timeout=30)
    dead = engine._scheduler
    assert dead is not None
    dead.shutdown(wait=True)
    while done.acquire(blocking=False):
        pass
    assert done.acquire(timeout=30), "the watchdog starts a new one"
    assert engine._scheduler is not dead


class Faulty:
    """An executor that fails of the first order it is given."""

    name = "simulated"

    def give(self, orders: Sequence[m.Order]) -> None:
        raise ZeroDivisionError

    def step(self, now: int) -> Sequence[m.Report]:
        return ()


def test_an_engine_that_an_error_has_stopped_says_so_to_all_who_still_ask(tmp_path: Path) -> None:
    with founded(tmp_path, lambda _: [Faulty()]) as engine:
        submit(engine, "the last straw")
        while engine.pulse.trouble is None:
            time.sleep(0.01)
        with pytest.raises(Busy, match="nothing was changed"):
            submit(engine, "too late").result(30)


def test_what_a_commit_under_way_makes_durable_while_the_engine_closes_is_told_as_done(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CLOSE_WITHIN", 0.2)
    slow = threading.Event()
    begun = hold_up(engine, monkeypatch, lambda: slow.wait(30))
    asked = submit(engine, "late")
    assert begun.wait(30)
    threading.Timer(1.0, slow.set).start()
    engine.close()
    assert asked.result(1).changed
    assert engine.store.batch == len(FLEET) + 1


def test_what_could_not_be_made_durable_before_the_engine_closed_is_told_as_not_done(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = hold_up(engine, monkeypatch, no_space)
    asked = submit(engine, "never")
    assert begun.wait(30)
    engine.close()
    with pytest.raises(Busy, match="nothing was changed"):
        asked.result(1)


def test_an_import_in_mid_commit_when_the_engine_closes_is_turned_away_and_so_is_one_that_comes_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = hold_up(engine, monkeypatch, no_space)
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(engine.load, an_import())
        assert begun.wait(30)
        engine.close()
        with pytest.raises(Busy, match="nothing was imported"):
            loading.result(10)
        with pytest.raises(Busy, match="nothing was imported"):
            pool.submit(engine.load, an_import()).result(10)


def test_an_import_whose_rows_can_not_be_read_for_a_while_is_tried_again_and_the_console_goes_on(
    engine: Engine,
) -> None:
    with ThreadPoolExecutor() as pool:
        assert pool.submit(engine.load, an_import(unreadable=2)).result(30) == len(FLEET) + 1
    assert submit(engine, "after").result(30).changed
