"""What nobody waits for any more is left off: at once, only that, and whoever comes next gets his answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests

from engine.catalogue import Asked
from engine.console import Console
from engine.errors import GivenUp
from engine.filters import parse
from engine.roles import Grant, Role
from engine.sight import Sight
from engine.store import Store
from pages.shared.frame import left

from .stores import fresh

ENDLESS = "select count(*) from range(3000000) a, range(3000000) b where a.range + b.range = 7"
LONG = 60  #: seconds within which it would not end by far
SLOW = "select count(*) from range(40000) a, range(20000) b where a.range <> b.range"
MANY = 300_000  #: tasks, all of different names
QUICK = "select count(*) as n from range(10)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with fresh(tmp_path) as store:
        yield store


def test_a_query_is_interrupted_soon_after_nobody_waits_for_it(store: Store) -> None:
    left = threading.Event()
    threading.Timer(0.3, left.set).start()
    begun = time.monotonic()
    with pytest.raises(GivenUp), store.unless(left.is_set):
        store.read(ENDLESS)
    assert 0.3 <= time.monotonic() - begun < LONG


def test_what_the_same_thread_reads_next_is_not_interrupted(store: Store) -> None:
    with pytest.raises(GivenUp), store.unless(lambda: True):
        store.read(ENDLESS)
    for _ in range(100):
        with suppress(GivenUp), store.unless(lambda: True):  # mostly it ends before anybody looks
            store.read(QUICK)
        assert store.read(QUICK).item() == 10


def test_what_others_read_meanwhile_goes_on(store: Store) -> None:
    done: list[int] = []

    def patiently() -> None:
        with store.unless(lambda: False):
            done.append(store.read(SLOW).item())

    other = threading.Thread(target=patiently)
    other.start()
    with pytest.raises(GivenUp), store.unless(lambda: True):
        store.read(ENDLESS)
    other.join()
    assert done == [40_000 * 20_000 - 20_000]


def test_nobody_watches_where_nothing_is_watched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.patience.IDLE", 0.2)

    def watching() -> bool:
        return any(thread.name == "drainboard-patience" for thread in threading.enumerate())

    with store.unless(lambda: False):
        store.read(QUICK)
    assert watching()
    deadline = time.monotonic() + LONG
    while watching() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not watching()
    with pytest.raises(GivenUp), store.unless(lambda: True):
        store.read(ENDLESS)


def test_a_search_through_very_many_tasks_is_left_off_and_found_by_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.patience.LOOK_EVERY", 0.005)
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    Console(tmp_path).start(wait=True).close()  # founds the fleet
    with Store.open(tmp_path / "store") as store:
        business, site = store.read("select business, site from service where site is not null order by all").row(0)
        with store.transaction() as cursor:
            cursor.execute(
                f"""insert into task_done by name
                    select 1 as batch, range as task_id, range as number, md5(range::varchar) as name, 'audit' as kind,
                        $1 as business, $2 as site, md5(name) as target, '' as initiator, '' as owner,
                        '' as created_by, 'live' as source, 'Processed' as status, status as shown_status,
                        0 as errors, 0 as attempt, 5 as priority, 1 as version, false as hidden,
                        timestamp '2026-01-01' as created_at, created_at as finished_at
                    from range({MANY})""",
                [business, site],
            ).fetchall()
    console = Console(tmp_path).start(wait=True)
    engine, watch = console.engine, console.watch
    assert engine is not None
    assert watch is not None
    try:
        grants = [Grant(Role.BUSINESS_ADMIN, business)]
        asked, told = Asked(parse("*8f*27b*")), list[str]()
        hasty = Sight(watch, grants, gone=lambda: True, leave=lambda: told.append("left"))
        with pytest.raises(GivenUp):
            hasty.counts(hasty.place(business, site), asked)
        assert told == ["left"]
        with pytest.raises(GivenUp):
            hasty.ended_tasks(hasty.place(business, site), asked, 100_000)
        told.clear()
        patient = Sight(watch, grants, gone=lambda: False, leave=lambda: told.append("left"))
        place = patient.place(business, site)
        found = sum(patient.counts(place, asked).ended)
        pattern = "'.*8f.*27b.*'"
        assert found == engine.store.read(
            f"select count(*) from task_done where regexp_matches(name, {pattern}) or regexp_matches(target, {pattern})"
        ).item()  # fmt: skip
        assert told == []
    finally:
        console.close()


def test_a_run_is_left_when_somebody_asks_for_another_but_not_when_a_refresh_is_due() -> None:
    requests = ScriptRequests()
    assert not left(requests, 1)
    requests.request_rerun(RerunData(is_auto_rerun=True, fragment_id="live"))
    assert not left(requests, 1)
    requests.request_rerun(RerunData(fragment_id="live"))
    assert left(requests, 1)
    stopped = ScriptRequests()
    stopped.request_stop()
    assert left(stopped, 1)
    assert left(stopped, 2)


def test_a_run_that_draws_more_than_one_part_is_left_only_by_whoever_asks_for_the_whole_page() -> None:
    requests = ScriptRequests()
    requests.request_rerun(RerunData(fragment_id="dialog"))
    for parts in (0, 2):
        assert not left(requests, parts)
    requests.request_rerun(RerunData())
    for parts in (0, 2):
        assert left(requests, parts)
