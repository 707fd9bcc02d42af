"""What Active tasks lists is what the core has in its queues: every task under one word, in its place, with its why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine import live, snapshot
from engine import messages as m
from engine.clock import HOUR, SECOND
from engine.core import Core
from engine.errors import Invalid
from engine.filters import parse
from engine.lifecycle import SYSTEM_KINDS, Kind, queue_word, task_label
from engine.live import WORDS, listing
from engine.living import Place, asked_at, living
from engine.snapshot import Publisher, Snapshot

from .desk import EXPLORER, PROCESSOR, Desk
from .driving import _HAPPENINGS, BUSINESSES, SITES, USERS, Drive
from .health_fixtures import Life


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    made = Drive(tmp_path / "data")
    with made.store:
        yield made


def everything(shown: Snapshot, business: str, site: str | None = None, **asked: Any) -> list[dict[str, Any]]:
    """Leaf through all pages."""
    first = listing(shown, business, site, size=7, **asked)
    pages = [listing(shown, business, site, size=7, page=n, **asked) for n in range(-(-first.total // 7))]
    assert all(page.total == first.total for page in pages)
    return [row for page in pages for row in page.rows.to_dicts()]


def truth(core: Core, business: str, site: str | None, system: bool) -> dict[int, str]:
    """Word every due live task as the core has it."""
    return {
        task.id: queue_word(task.status, True, task.id in core.queues.waiting and bool(holds(core, task.id)))
        for task in core.state.tasks.values()
        if task.due and task.business == business and site in (None, task.site)
        and (system or task.kind not in SYSTEM_KINDS)
    }  # fmt: skip


def holds(core: Core, task_id: int) -> list[Any]:
    return core.queues.waiting[task_id].queue.holds


def lane(core: Core, task_id: int) -> list[int]:
    """List who waits in a task's lane and is not held, first to last."""
    place = core.queues.waiting[task_id].queue.place
    rivals = [
        waiting.entry
        for waiting in core.queues.waiting.values()
        if waiting.queue.place.key[:3] == place.key[:3] and not waiting.queue.holds
    ]
    return [entry[3] for entry in sorted(rivals)]


def eventful(drive: Drive, turns: int, look: Callable[[Snapshot], None], every: int) -> None:
    """Let happen to a fleet whatever may happen, and publish and look every so often."""
    drive.found(slots=1)
    publisher, known, chance = Publisher(drive.core), set[int](), drive.chance
    for turn in range(1, turns + 1):
        actions: list[m.Action] = [m.Submit([drive.task() for _ in range(chance.randrange(1, 6))])]
        for happening, likelihood in _HAPPENINGS:
            if chance.random() < likelihood:
                actions += happening(drive)
        if turn % every == 0:
            actions.append(m.Stop(sorted(drive.core.state.tasks)[::4]))
        drive.tick(chance.randrange(1, 3 * SECOND), *actions, actor=chance.choice(USERS))
        if turn % every == 0:
            drive.commit()
            touched = known | set(drive.core.state.tasks)
            known = set(drive.core.state.tasks)
            look(publisher.publish(drive.store.batch, drive.now, publisher.capture(touched)))


def test_every_due_task_is_under_exactly_one_word_and_the_counts_are_those_of_the_rows(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "REBASE", 150)
    monkeypatch.setattr(live, "LONGEST_TAIL", 200)
    seen: set[str] = set()
    shots: list[tuple[Snapshot, pl.DataFrame]] = []

    def look(shown: Snapshot) -> None:
        for business in BUSINESSES:
            for site in (None, *SITES):
                for system in (False, True):
                    expected = truth(drive.core, business, site, system)
                    rows = everything(shown, business, site, system=system)
                    assert {row["task_id"]: row["word"] for row in rows} == expected
                    assert len(rows) == len(expected)
                    assert rows == sorted(rows, key=lambda row: (row["queued_at"], row["task_id"]), reverse=True)
                    told = listing(shown, business, site, system=system)
                    assert told.counts == {word: list(expected.values()).count(word) for word in WORDS}
                    under = [everything(shown, business, site, system=system, words=[word]) for word in WORDS]
                    assert sorted(row["task_id"] for rows in under for row in rows) == sorted(expected)
                    assert [len(rows) for rows in under] == list(told.counts.values())
            everybody = truth(drive.core, business, None, True)
            assert listing(shown, business).system == len(everybody) - len(truth(drive.core, business, None, False))
            seen.update(everybody.values())
        shots.append((shown, listing(shown, BUSINESSES[0], size=200).rows))

    eventful(drive, 160, look, every=10)
    assert seen == set(WORDS)
    for shown, rows in reversed(shots):  # a session that comes late sees what the others saw
        assert_frame_equal(listing(shown, BUSINESSES[0], size=200).rows, rows)


def test_a_waiting_task_knows_its_place_and_what_it_waits_for(drive: Drive) -> None:
    told = {"waiting": 0, "held": 0}

    def look(shown: Snapshot) -> None:
        core = drive.core
        for row in everything(shown, BUSINESSES[0], system=True):
            waiting = core.queues.waiting.get(row["task_id"])
            if waiting is None:
                assert (row["cause"], row["place"], row["why"]) == (None, None, None)
                continue
            assert row["cause"] == waiting.queue.cause
            if waiting.queue.holds:
                hold = waiting.queue.holds[0]
                assert (row["held_by"], row["place"]) == (hold.id, None)
                assert row["why"].startswith(f"{hold.actor} holds ")
                told["held"] += 1
            else:
                rivals = lane(core, row["task_id"])
                assert (row["place"], row["of"]) == (rivals.index(row["task_id"]) + 1, len(rivals))
                assert row["why"].endswith(f"no. {row['place']} of {row['of']}")
                told["waiting"] += 1

    eventful(drive, 160, look, every=8)
    assert min(told.values()) > 20


def test_a_filter_finds_the_same_from_snapshot_to_snapshot_as_it_does_anew(drive: Drive) -> None:
    texts = ("host-1", "type:audit -user:ann", "status:Paused OR cause:capacity", "age:<10m", "wait:>1m OR *7")
    filters = [parse(text) for text in texts]
    found = dict.fromkeys(filters, 0)

    def look(shown: Snapshot) -> None:
        for n, wanted in enumerate(filters):
            if (shown.batch + n) % 3 == 0:
                continue  # nobody looked: what changed meanwhile counts all the same
            for site in (None, SITES[0]):
                place = Place(BUSINESSES[0], () if site is None else (site,))
                anew = living(shown, place, wanted, asked_at(wanted, shown.now), ())
                ids = set(anew.filter(pl.col("queued_at").is_not_null())["task_id"])
                rows = everything(shown, BUSINESSES[0], site, wanted=wanted, system=True)
                assert {row["task_id"] for row in rows} == ids
                found[wanted] += len(ids)

    eventful(drive, 160, look, every=4)
    assert min(found.values()) > 10


def test_a_base_made_of_the_one_before_is_the_base_made_of_its_rows(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "REBASE", 20)

    def look(shown: Snapshot) -> None:
        fresh = snapshot.frame_of(shown.base.rows.values())
        assert_frame_equal(shown.base.frame(), fresh, check_row_order=False)

    eventful(drive, 60, look, every=15)


@pytest.mark.parametrize("sort", live.SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_rows_come_in_the_order_asked_for_and_the_newest_first_among_equals(
    drive: Drive, sort: str, descending: bool
) -> None:
    orders: list[Snapshot] = []
    eventful(drive, 60, orders.append, every=60)
    rows = everything(orders[0], BUSINESSES[0], system=True, sort=sort, descending=descending)
    newest = sorted(rows, key=lambda row: (row["queued_at"], row["task_id"]), reverse=True)

    def key(row: dict[str, Any]) -> Any:
        cell = row["number" if sort == "task" else sort]
        return cell.lower() if isinstance(cell, str) else cell

    if sort == "queued_at" and not descending:
        newest.reverse()  # of those who came in one instant, who came first
    known = sorted((row for row in newest if key(row) is not None), key=key, reverse=descending)
    assert [row["task_id"] for row in rows] == [
        row["task_id"] for row in [*known, *(row for row in newest if key(row) is None)]
    ]


def test_the_newest_come_first_unless_asked_otherwise(life: Life) -> None:
    first = life.submit()
    life.live(5)
    second = life.submit(2)
    assert listing(life.snapshot(), "Acme", "Berlin").rows["task_id"].to_list() == [*reversed(second), *first]


@pytest.mark.parametrize(
    "asked",
    [{"sort": "wait_s; drop table task"}, {"words": ["Finished"]}, {"page": -1}, {"size": 0}],
)
def test_what_can_not_be_asked_is_refused(life: Life, asked: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        listing(life.snapshot(), "Acme", "Berlin", **asked)


@pytest.mark.parametrize(
    ("search", "targets"),
    [
        ("DB-7", ["db-7"]), ("a.b", ["a.b(c%_\\"]), (".*c", ["a.b(c%_\\"]),
        ('"(c%_"', ["a.b(c%_\\"]), ("%", ["a.b(c%_\\"]),
        ("ÄRGER", ["Ärger"]), ("audit #2", ["a.b(c%_\\"]), ("user:bob", ["Ärger"]),
        ("scope:databases", None), ("  ", None),
        ("id:1 OR -user:ann", ["db-7", "Ärger"]), ("age:>1d", []), ("status:Queued", []), ("status:Running", None),
    ],
)  # fmt: skip
def test_a_filter_narrows_the_queue_down(life: Life, search: str, targets: list[str] | None) -> None:
    all_targets = ["db-7", "a.b(c%_\\", "Ärger"]
    for target, owner in zip(all_targets, ("ann", "ann", "bob"), strict=True):
        life.submit(target=target, owner=owner)
    found = listing(life.snapshot(), "Acme", "Berlin", wanted=parse(search), sort="task", descending=False)
    assert found.rows["target"].to_list() == (all_targets if targets is None else targets)
    assert sum(found.counts.values()) == found.total


def test_a_task_that_is_not_due_or_has_ended_is_not_listed(life: Life) -> None:
    later = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Later", "ann", "ann", due_at=life.now + HOUR)
    life.do(m.Submit([later]))
    life.submit()
    assert listing(life.snapshot(), "Acme", "Berlin").total == 1
    life.live(100)
    nothing = listing(life.snapshot(), "Acme", "Berlin")
    assert (nothing.total, nothing.rows.height, sum(nothing.counts.values())) == (0, 0, 0)


def test_a_snapshot_tells_for_what_each_task_has_waited_as_the_core_would(drive: Drive) -> None:
    causes: set[str] = set()

    def look(shown: Snapshot) -> None:
        at = drive.now + 7 * SECOND
        for task in drive.core.state.tasks.values():
            waits, queues = shown.waits(task.id, at), drive.core.queues
            present = queues.split(task, at) if task.id in queues.waiting else {}
            processing = task.processing_queued_at is not None
            expected = Counter(task.waits)
            if processing:
                assert waits.process == (task.process_wait_us or 0) + sum(present.values())
                assert waits.process_held == task.process_wait_hold_us + present.get("hold", 0)
            else:
                expected.update(present)
                assert (waits.process, waits.process_held) == (0, 0)
            assert {**waits.collect} == {cause: us for cause, us in expected.items() if us}
            causes.update(waits.collect)

    eventful(drive, 120, look, every=6)
    assert causes >= {"hold", "capacity", "exclusive", "offline"}


def test_a_page_behind_the_last_is_the_last(life: Life) -> None:
    life.submit(12)
    found = listing(life.snapshot(), "Acme", "Berlin", page=9, size=5)
    assert (found.page, found.rows.height) == (2, 2)


def test_a_row_names_its_task_and_who_runs_it(life: Life) -> None:
    (task,) = life.submit()
    (row,) = live.rows(life.snapshot(), "Acme", [task]).to_dicts()
    assert (row["task"], row["host"], row["word"]) == (task_label("audit", 1), "audit-1", "Running")
    life.live(62)
    (row,) = live.rows(life.snapshot(), "Acme", [task]).to_dicts()
    assert (row["status"], row["host"], row["word"]) == ("Processing", "processor-1", "Running")
    life.live(60)
    assert live.rows(life.snapshot(), "Acme", [task]).is_empty()


def test_a_held_task_names_whose_hold_keeps_it_and_until_when(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Too many", until_at=life.now + HOUR), actor="carol")
    (task,) = life.submit(owner="bob")
    (row,) = live.rows(life.snapshot(), "Acme", [task], "Europe/Berlin").to_dicts()
    assert row["why"] == ("carol holds user bob since 13:00 Europe/Berlin, until 14:00 Europe/Berlin: “Too many”.")
    assert (row["word"], row["place"]) == ("Paused", None)


def test_a_task_that_could_run_nowhere_says_so() -> None:
    desk = Desk(PROCESSOR)
    task = desk.submit(Kind.AUDIT)
    (row,) = live.rows(Publisher(desk.core).current, "acme", [task]).to_dicts()
    assert row["why"] == "Waits for a service that is online, no. 1 of 1"


def test_who_has_priority_stands_before_who_came_first() -> None:
    desk = Desk(EXPLORER, PROCESSOR)
    desk.submit()
    early, urgent = desk.submit(), desk.submit(priority=9)
    shown = Publisher(desk.core).current
    places = {task: live.rows(shown, "acme", [task])["place"].item() for task in (early, urgent)}
    assert places == {early: 2, urgent: 1}


def test_sessions_that_ask_alike_share_one_view(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.submit(300)
    shown, made = life.snapshot(), list[str]()
    for name in ("_view", "__init__"):
        true = getattr(live._Book, name)

        def counted(*args: Any, true: Any = true, name: str = name) -> Any:
            made.append(name)
            return true(*args)

        monkeypatch.setattr(live._Book, name, counted)
    with ThreadPoolExecutor(8) as sessions:
        found = list(sessions.map(lambda n: listing(shown, "Acme", "Berlin", page=n % 3), range(64)))
    assert sorted(made) == ["__init__", "_view"]
    for page in found:
        assert_frame_equal(page.rows, found[page.page].rows)


def test_old_snapshots_are_let_go(life: Life) -> None:
    for _ in range(8):
        life.submit()
        listing(life.snapshot(), "Acme")
    assert len(live._BOOKS._kept) == 3
    shown = life.snapshot()
    for n in range(100):
        listing(shown, "Acme", wanted=parse(f"x{n}"))
    assert len(live._book(shown, "Acme")._views._kept.popitem()[1][1]) == 64


def test_a_business_without_tasks_has_an_empty_listing_with_the_same_columns(life: Life) -> None:
    empty = listing(life.snapshot(), "Acme", "Berlin")
    life.submit()
    full = listing(life.snapshot(), "Acme", "Berlin")
    assert empty.rows.schema == full.rows.schema
    assert empty.counts == dict.fromkeys(WORDS, 0)
    assert full.rows["queued_at"].dtype == pl.Datetime("us")
