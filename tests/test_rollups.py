"""Rollups equal the ledger, whichever way and in whatever order it came in."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import rollups
from engine.clock import HOUR, MINUTE, SECOND
from engine.ledger import QueueShift, Rows, TaskEvent, TaskRow, make_id
from engine.rollups import QUARTER, bin_middle, bin_of, depth_series
from engine.store import Store

from .seeds import seeds
from .stores import fresh

NOON = 1_800_000_000_000_000 - 1_800_000_000_000_000 % HOUR


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with fresh(tmp_path / "data") as opened:
        yield opened


class Ledger:
    """Writes hand-made events; each `commit` is a batch."""

    def __init__(self, store: Store) -> None:
        self.store, self.rows, self.events, self.shifts = store, Rows(), [], []
        self._number = 0

    def event(
        self,
        at: int,
        task: int,
        event: str,
        dq: int = 0,
        dp: int = 0,
        dr: int = 0,
        *,
        business: str = "acme",
        site: str = "berlin",
        kind: str = "scan",
        cause: str | None = "capacity",
    ) -> None:
        self._number += 1
        ends = {"finish": "Processed", "stop": "Stopped", "fail": "Canceled", "expire": "Canceled"}
        made = TaskEvent(
            make_id(1, self._number), at, make_id(1, task), event, None, ends.get(event, "New"), None, "test", business,
            site, kind, "ann", None, None, 0, cause, dq, dp, dr, None, None,
        )  # fmt: skip
        self.rows.task_event.append(made)
        self.events.append(made)

    def submit(self, at: int, task: int, **where: Any) -> None:
        self.event(at, task, "submit", 1, **where)

    def claim(self, at: int, task: int, **where: Any) -> None:
        self.event(at, task, "claim", -1, 0, 1, **where)

    def fail(self, at: int, task: int, **where: Any) -> None:
        self.event(at, task, "fail", 0, 0, -1, **where)

    def shift(self, at: int, from_cause: str, to_cause: str, n: int, queue: str = "collect") -> None:
        made = QueueShift(at, "acme", "berlin", "scan", queue, from_cause, to_cause, n)
        self.rows.queue_shift.append(made)
        self.shifts.append(made)

    def commit(self) -> None:
        self.store.commit(self.store.batch + 1, NOON, self.rows)
        self.rows = Rows()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def stored(store: Store, level: str = "site", table: str = "queue_minute") -> list[dict[str, Any]]:
    return store.read(
        f"select *, epoch_us(bucket) as at_us from {table} where level = ? order by bucket", [level]
    ).to_dicts()


def agree(store: Store) -> None:
    found = rollups.differences(store)
    assert found.is_empty(), found


def test_the_highest_depth_is_kept_where_the_minute_ends_lower(store: Store, ledger: Ledger) -> None:
    for task in range(3):
        ledger.submit(NOON + task * SECOND, task)
    for task in range(3):
        ledger.claim(NOON + (10 + task) * SECOND, task)
    ledger.commit()
    rollups.advance(store)
    (row,) = stored(store)
    assert (row["depth"], row["highest"], row["running"]) == (0, 3, 3)
    assert (row["arrived"], row["started"], row["finished"]) == (3, 3, 0)


def test_changes_of_one_instant_are_netted_before_the_peak_is_taken(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON + SECOND, 1)
    for task in range(2, 6):
        ledger.submit(NOON + 2 * SECOND, task)
        ledger.claim(NOON + 2 * SECOND, task)
    ledger.commit()
    rollups.advance(store)
    assert stored(store)[0]["highest"] == 1


@pytest.mark.parametrize(("late", "highest"), [(0, 1), (1, 2)])
def test_the_depth_carried_in_counts_unless_it_changes_right_at_the_start(
    store: Store, ledger: Ledger, late: int, highest: int
) -> None:
    ledger.submit(NOON, 1)
    ledger.submit(NOON, 2)
    ledger.claim(NOON + MINUTE + late, 1)
    ledger.commit()
    rollups.advance(store)
    assert [row["highest"] for row in stored(store)] == [2, highest]


def test_peaks_of_sites_do_not_add_up(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON, 1, site="berlin")
    ledger.claim(NOON + SECOND, 1, site="berlin")
    ledger.submit(NOON + 2 * SECOND, 2, site="paris")
    ledger.claim(NOON + 3 * SECOND, 2, site="paris")
    ledger.commit()
    rollups.advance(store)
    assert [row["highest"] for row in stored(store, "site")] == [1, 1]
    assert [row["highest"] for row in stored(store, "business")] == [1]
    assert [row["highest"] for row in stored(store, "all")] == [1]


def test_held_follows_the_cause_of_joins_and_leaves_and_the_shifts(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON, 1, cause="hold")
    ledger.submit(NOON, 2)
    ledger.shift(NOON + MINUTE, "capacity", "hold", 1)
    ledger.shift(NOON + 2 * MINUTE, "hold", "capacity", 2)
    ledger.shift(NOON + 2 * MINUTE, "capacity", "hold", 5, queue="process")
    ledger.claim(NOON + 3 * MINUTE, 1)
    ledger.commit()
    rollups.advance(store)
    assert [(row["depth"], row["held"], row["process_held"]) for row in stored(store)] == [
        (2, 1, 0), (2, 2, 0), (2, 0, 5), (1, 0, 5),
    ]  # fmt: skip


def test_a_minute_split_over_batches_is_one_row(store: Store, ledger: Ledger) -> None:
    for task in range(4):
        ledger.submit(NOON + task * SECOND, task)
        if task == 2:
            ledger.claim(NOON + 2 * SECOND + 1, 0)
        ledger.commit()
        rollups.advance(store)
    (row,) = stored(store)
    assert (row["arrived"], row["depth"], row["highest"]) == (4, 3, 3)
    agree(store)


def test_only_the_first_claim_counts_as_started(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON, 1)
    ledger.claim(NOON + SECOND, 1)
    ledger.commit()
    rollups.advance(store)
    ledger.event(NOON + MINUTE, 1, "rescue", 1, 0, -1)
    ledger.commit()
    rollups.advance(store)
    ledger.claim(NOON + 2 * MINUTE, 1)
    ledger.commit()
    rollups.advance(store)
    rows = stored(store)
    assert [row["started"] for row in rows] == [1, 0, 0]
    assert [row["arrived"] for row in rows] == [1, 0, 0]
    assert [row["depth"] for row in rows] == [0, 1, 0]
    agree(store)


def test_an_import_into_the_past_moves_its_own_minutes_only(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON, 1)
    ledger.claim(NOON + 10 * HOUR + 1, 1)
    ledger.commit()
    rollups.advance(store)
    for task in (5, 6):
        ledger.submit(NOON + HOUR + task * SECOND, task, site="archive")
        ledger.claim(NOON + 2 * HOUR + task * SECOND, task, site="archive")
        ledger.fail(NOON + 3 * HOUR, task, site="archive")
    ledger.submit(NOON + 11 * HOUR, 2)
    ledger.commit()
    rollups.advance(store)
    agree(store)
    whole = stored(store, "all")
    assert [(row["depth"], row["highest"]) for row in whole] == [(1, 1), (3, 3), (1, 3), (1, 1), (0, 1), (1, 1)]
    assert [row["batch"] for row in whole] == [1, 2, 2, 2, 1, 2]


def test_a_read_does_not_add_up_a_long_stretch_anew_for_a_log_that_is_not_rolled_up_yet(
    store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in range(10):
        ledger.submit(NOON + task * MINUTE, task)
    ledger.commit()
    rollups.advance(store)
    before = depth_series(store, "all", NOON - HOUR, NOON + HOUR)
    ledger.submit(NOON - HOUR, 20, site="archive")
    ledger.claim(NOON - HOUR // 2, 20, site="archive")
    ledger.fail(NOON - HOUR // 2, 20, site="archive")
    ledger.submit(NOON + 10 * MINUTE, 21)
    ledger.commit()
    assert depth_series(store, "all", NOON - HOUR, NOON + HOUR)["arrived"].sum() == 12
    monkeypatch.setattr(rollups, "STRETCH", 5)
    unrolled = depth_series(store, "all", NOON - HOUR, NOON + HOUR)
    assert unrolled["arrived"].sum() == 11  # what is new is there, what is late is not
    assert unrolled.head(70).equals(before.head(70))
    rollups.advance(store)
    assert depth_series(store, "all", NOON - HOUR, NOON + HOUR)["arrived"].sum() == 12


def test_late_events_that_leave_another_depth_raise_all_that_follows(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON + 2 * MINUTE, 1)
    ledger.claim(NOON + 40 * MINUTE + 1, 1)
    ledger.commit()
    rollups.advance(store)
    ledger.submit(NOON + MINUTE, 2)
    ledger.commit()
    rollups.advance(store)
    assert [(row["depth"], row["highest"]) for row in stored(store)] == [(1, 1), (2, 2), (1, 2)]
    agree(store)


def test_a_quarter_has_the_depth_that_stood_before_its_first_change(store: Store, ledger: Ledger) -> None:
    for task in range(5):
        ledger.submit(NOON + task * SECOND, task)
    for task in range(5):
        ledger.claim(NOON + 20 * MINUTE + task, task)
    ledger.claim(NOON + 50 * MINUTE, 9)
    ledger.commit()
    rollups.advance(store)
    quarters = stored(store, table="queue_quarter")
    assert [(row["at_us"] - NOON) // QUARTER for row in quarters] == [0, 1, 3]
    assert [row["highest"] for row in quarters] == [5, 5, 0]
    agree(store)


@pytest.mark.parametrize("roll", [True, False])
def test_a_series_carries_depth_over_empty_buckets(store: Store, ledger: Ledger, roll: bool) -> None:
    ledger.submit(NOON - HOUR, 1)
    ledger.submit(NOON + MINUTE + SECOND, 2)
    ledger.claim(NOON + MINUTE + 2 * SECOND, 1)
    ledger.claim(NOON + 4 * MINUTE, 2)
    ledger.commit()
    if roll:
        rollups.advance(store)
    series = depth_series(store, "site", NOON, NOON + 6 * MINUTE, business="acme", site="berlin")
    assert series["depth"].to_list() == [1, 1, 1, 1, 0, 0]
    assert series["highest"].to_list() == [1, 2, 1, 1, 0, 0]
    assert series["running"].to_list() == [0, 1, 1, 1, 2, 2]
    assert series["arrived"].to_list() == [0, 1, 0, 0, 0, 0]


def test_a_series_of_an_unknown_site_is_zero(store: Store) -> None:
    series = depth_series(store, "site", NOON, NOON + HOUR, QUARTER, business="acme", site="nowhere")
    assert series["depth"].to_list() == series["highest"].to_list() == [0, 0, 0, 0]


def test_bins_are_two_percent_wide_and_their_middle_is_within_one() -> None:
    assert bin_of(0) == bin_of(0.000_999) == 0
    waits = [0.001 * 1.0007**step for step in range(30_000)]
    bins = [bin_of(wait) for wait in waits]
    assert bins == sorted(bins)
    assert max(abs(bin_middle(b) / wait - 1) for wait, b in zip(waits, bins, strict=True)) < 0.01


# --- random ledgers: incremental == recomputed == counted in Python


def done(task: int, status: str, started_at: int | None, wait_s: int | None, *, site: str = "berlin") -> TaskRow:
    given = {
        "task_id": make_id(1, task), "number": task, "name": "Nightly", "kind": "scan", "business": "acme",
        "site": site, "initiator": "ann", "owner": "ann", "created_by": "ann", "source": "live", "status": status,
        "shown_status": status, "created_at": NOON, "started_at": started_at, "wait_s": wait_s,
        "processing_started_at": started_at and started_at + HOUR, "process_wait_s": wait_s and wait_s * 3,
        "hidden": False,
    }  # fmt: skip
    zero = {"errors", "attempt", "priority", "version", "process_wait_hold_s"} | {
        name for name in TaskRow._fields if name.startswith("wait_") and name != "wait_s"
    }
    return TaskRow(*(given.get(name, 0 if name in zero else None) for name in TaskRow._fields))


def test_a_newer_version_of_a_row_replaces_its_waits(store: Store, ledger: Ledger) -> None:
    def histogram() -> list[tuple[Any, ...]]:
        return sorted(store.read("select stage, bin, n from wait_histogram").rows())

    once = sorted([("collect", bin_of(2.0), 1), ("process", bin_of(6.0), 1)])
    ledger.rows.task_done.append(done(1, "Stopped", NOON, 2 * SECOND))
    ledger.commit()
    rollups.advance(store)
    assert histogram() == once
    ledger.rows.task_done.append(done(1, "Stopped", NOON, 2 * SECOND)._replace(hidden=True))
    ledger.event(NOON, 1, "hide")
    ledger.commit()
    rollups.advance(store)
    assert histogram() == once
    ledger.rows.task_done.append(done(1, "New", NOON, 2 * SECOND))
    ledger.event(NOON, 1, "restore", 1)
    ledger.commit()
    rollups.advance(store)
    assert histogram() == []
    ledger.rows.task_done.append(done(1, "Processed", NOON, 5 * SECOND))
    ledger.event(NOON, 1, "finish", 0, 0, -1)
    ledger.commit()
    rollups.advance(store)
    assert histogram() == sorted([("collect", bin_of(5.0), 1), ("process", bin_of(15.0), 1)])
    agree(store)


KEYS = {"kind": 3, "site": 2, "business": 1, "all": 0}
NUMBERS = ("arrived", "started", "finished", "depth", "held", "process_depth", "process_held", "running", "highest")


def counted(ledger: Ledger, width: int) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Walk through all instants of all keys, one by one."""
    put_back: set[int] = set()
    moves: dict[tuple[Any, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * 8))
    for event in ledger.events:
        hold = event.cause == "hold"
        first = event.event == "claim" and event.task_id not in put_back
        if event.event in ("rescue", "suspended"):
            put_back.add(event.task_id)
        ended = event.event in ("finish", "stop", "confirm_stop", "fail", "expire")
        move = (
            event.event in ("submit", "due", "restore") and event.dq > 0, first, ended,
            event.dq, event.dq * hold, event.dp, event.dp * hold, event.dr,
        )  # fmt: skip
        if not (ended or event.dq or event.dp or event.dr):
            continue
        for level, n in KEYS.items():
            key = (level, *(event.business, event.site, event.kind)[:n], *[None] * (3 - n))
            at = moves[key][event.occurred_at]
            for position, change in enumerate(move):
                at[position] += change
    for shift in ledger.shifts:
        change = shift.n * ((shift.to_cause == "hold") - (shift.from_cause == "hold"))
        for level, n in KEYS.items():
            key = (level, *(shift.business, shift.site, shift.kind)[:n], *[None] * (3 - n))
            moves[key][shift.occurred_at][4 if shift.queue == "collect" else 6] += change
    rows: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for key, instants in moves.items():
        now = [0] * 5
        for at in sorted(instants):
            move = instants[at]
            bucket = at - at % width
            before = rows.get((*key, bucket))
            tops = [before[8]] if before else []
            if not before and at > bucket:
                tops.append(now[0])
            now = [a + b for a, b in zip(now, move[3:], strict=True)]
            counts = [a + b for a, b in zip(before or (0, 0, 0), move[:3], strict=False)]
            rows[*key, bucket] = (*counts, *now, max([*tops, now[0]]))
    return rows


def written(store: Store, table: str) -> dict[tuple[Any, ...], tuple[int, ...]]:
    frame = store.read(f"select *, epoch_us(bucket) as at_us from {table}")
    keys = frame.select("level", "business", "site", "kind", "at_us").rows()
    return dict(zip(keys, frame.select(NUMBERS).rows(), strict=True))


def random_steps(ledger: Ledger, draw: random.Random, clock: int) -> int:
    """A few minutes of made-up life: ties, bursts, lulls, holds, some late news, now and then an import."""
    for _ in range(draw.randrange(1, 25)):
        clock += draw.choice([0, 0, 1, SECOND, 7 * SECOND, MINUTE, 20 * MINUTE])
        if draw.random() < 0.2:
            clock += -clock % MINUTE
        at = clock - draw.choice([0, 0, 0, 0, 0, 30 * SECOND, 3 * HOUR]) if draw.random() < 0.2 else clock
        where = {
            "business": draw.choice(["acme", "zen"]),
            "site": draw.choice(["berlin", "paris"]),
            "kind": draw.choice(["scan", "audit"]),
            "cause": draw.choice([None, "capacity", "hold"]),
        }
        event, dq, dp, dr = draw.choice([
            ("submit", 1, 0, 0), ("submit", 0, 0, 0), ("due", 1, 0, 0), ("claim", -1, 0, 1), ("collected", 0, 0, -1),
            ("hand_over", 0, 1, 0), ("process", 0, -1, 1), ("finish", 0, 0, -1), ("rescue", 1, 0, -1),
            ("stop", -1, 0, 0), ("stop", 0, 0, 0), ("edit", 0, 0, 0), ("restore", 1, 0, 0),
        ])  # fmt: skip
        ledger.event(at, draw.randrange(30), event, dq, dp, dr, **where)
        if draw.random() < 0.1:
            ledger.shift(at, *draw.sample(["hold", "capacity", "offline"], 2), draw.randrange(1, 4),
                         queue=draw.choice(["collect", "process"]))  # fmt: skip
    if draw.random() < 0.15:
        start = clock - draw.randrange(1, 30) * HOUR
        for task in range(100, 104):
            at = start + draw.randrange(3) * MINUTE
            ledger.submit(at, task, site="archive")
            ledger.claim(at + draw.randrange(HOUR), task, site="archive")
            ledger.fail(at + HOUR, task, site="archive")
    if draw.random() < 0.5:
        started = clock - draw.randrange(5 * HOUR)
        ledger.rows.task_done.append(done(draw.randrange(1000, 10**6), "Processed", started, draw.randrange(HOUR)))
    return clock


@pytest.mark.parametrize("seed", seeds(3, of=6))
def test_rolled_up_bit_by_bit_equals_recomputed_equals_counted_by_hand(
    store: Store, ledger: Ledger, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(rollups, "PIECE", (rollups.PIECE, 5, 30)[seed % 3])
    clock = NOON
    for _ in range(25):
        clock = random_steps(ledger, draw, clock)
        ledger.commit()
        if draw.random() < 0.5:
            rollups.advance(store)
    before = depth_series(store, "all", NOON - 40 * HOUR, clock, QUARTER)
    rollups.advance(store)
    assert written(store, "queue_minute") == counted(ledger, MINUTE)
    assert written(store, "queue_quarter") == counted(ledger, QUARTER)
    agree(store)
    # What readers piece together from rolled and unrolled parts is the same, too.
    assert before.equals(depth_series(store, "all", NOON - 40 * HOUR, clock, QUARTER))
    start = NOON + draw.randrange(100) * MINUTE
    fine = depth_series(store, "site", start, clock, business="acme", site="paris")
    coarse = depth_series(store, "site", start, clock, 7 * MINUTE, business="acme", site="paris")
    folded = fine.group_by((pl.int_range(pl.len()) // 7).alias("part"), maintain_order=True).agg(
        pl.col("arrived").sum(), pl.col("depth").last(), pl.col("highest").max()
    )
    n = folded.height - 1
    for name in ("arrived", "depth", "highest"):
        assert coarse[name].head(n).to_list() == folded[name].head(n).to_list()
    rollups.rebuild(store)
    assert written(store, "queue_minute") == counted(ledger, MINUTE)


def test_a_spoiled_row_is_told(store: Store, ledger: Ledger) -> None:
    ledger.submit(NOON, 1)
    ledger.commit()
    rollups.advance(store)
    with store.transaction() as cursor:
        cursor.execute("update queue_minute set highest = 7 where level = 'site'").fetchall()
    found = rollups.differences(store)
    assert found.select("table", "side", "level", "highest").rows() == [
        ("queue_minute", "recomputed", "site", 1),
        ("queue_minute", "stored", "site", 7),
    ]
