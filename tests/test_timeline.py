"""A task's life as its page tells it is the ledger's, and is found without reading the whole of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from engine import history
from engine import messages as m
from engine.clock import HOUR, SECOND
from engine.ledger import TaskRow
from engine.lifecycle import REASON_WORDS, TERMINAL, Kind, Reason
from engine.store import Store

from .driving import lived
from .health_fixtures import Life


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def told(store: Store, task: int) -> list[tuple[str, str, str | None]]:
    return history.timeline(store, task).select("event", "actor", "why").rows()


def test_every_step_of_every_task_is_told_in_the_order_of_the_ledger(tmp_path: Path) -> None:
    drive = lived(tmp_path / "data", tasks=400)
    with drive.store as store:
        drive.publish()
        ledger: dict[int, list[int]] = {}
        for task_id, event_id in store.read("select task_id, event_id from task_event order by batch, event_id").rows():
            ledger.setdefault(task_id, []).append(event_id)
        rows = dict(store.read("select task_id, status from task_finished").rows())
        turned = set(store.read("select task_id from task_event where event in ('hide', 'restore')")["task_id"])
        assert len(turned) > 10
        for n, (task_id, events) in enumerate(ledger.items()):
            if n % 4 and task_id not in turned:  # each look is a query or two
                continue
            found = history.timeline(store, task_id)
            assert found["event_id"].to_list() == events
            steps = found.select("from_status", "to_status").rows()
            assert steps[0] == (None, "New")
            assert all(before == source for (_, before), (source, _) in pairwise(steps))
            if task_id in rows:
                assert steps[-1][1] == rows[task_id]
                (row,) = history.task(store, task_id).select(TaskRow._fields).to_dicts()
                assert (row["task_id"], row["status"] in TERMINAL) == (task_id, True)
            else:
                assert history.task(store, task_id).is_empty()


def test_steps_tell_who_took_them_where_and_why(life: Life) -> None:
    life.length = lambda order: None
    (task,) = life.submit()
    life.live(30)
    life.do(m.Stop([task], "No longer wanted"), actor="carol")
    life.live(120)
    life.snapshot()
    found = history.timeline(life.store, task)
    assert told(life.store, task) == [
        ("submit", "ann", None),
        ("claim", "engine", None),
        ("request_stop", "carol", "asked for; “No longer wanted”"),
        ("fail", "engine", "the service did not confirm the stop in time"),
    ]
    assert found["service"].to_list() == [None, "audit-1", "audit-1", "audit-1"]
    leases = found["lease"].to_list()
    assert leases[0] is None
    assert leases[1] == found["event_id"][1]
    assert (found["at"][2] - found["at"][0]).total_seconds() == pytest.approx(30, abs=0.1)


def test_a_start_that_was_moved_is_told_in_a_zone(life: Life) -> None:
    later = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Later", "ann", "ann", due_at=life.now + HOUR)
    (task,) = life.do(m.Submit([later]))[0].changed
    life.do(m.Edit(task, 1, {"due_at": 1_795_734_000_000_000}))
    life.snapshot()
    assert told(life.store, task)[-1][2].endswith("→ 2026-11-26 23:00:00 UTC")


def test_a_rescue_an_edit_and_an_error_say_what_happened(life: Life) -> None:
    life.length = lambda order: None
    life.submit(12)
    (task,) = life.submit()
    life.do(m.Edit(task, 1, {"priority": 8, "target": "db-9"}))
    life.live(20)
    life.silent.add("audit-1")
    life.live(120)
    life.snapshot()
    assert told(life.store, task)[1][2] == "priority: 5 → 8; target: db-7 → db-9"
    lost = life.store.read("select task_id from task_event where event = 'rescue' limit 1").item()
    assert ("rescue", "engine", "the service was lost") in told(life.store, lost)


def test_a_live_task_that_was_never_published_is_found_by_when_it_was_created(life: Life) -> None:
    (task,) = life.submit()
    life.snapshot()
    assert told(life.store, task) == [("submit", "ann", None), ("claim", "engine", None)]
    created = life.core.state.tasks[task].created_at
    assert history.timeline(life.store, task, created).height == 2
    assert history.timeline(life.store, task, created + SECOND).is_empty()


def test_an_unknown_task_has_no_life(life: Life) -> None:
    life.snapshot()
    assert history.timeline(life.store, 7).is_empty()
    assert history.task(life.store, 7).is_empty()


def test_every_reason_has_words() -> None:
    assert {reason.value for reason in Reason} <= set(REASON_WORDS)
