"""Who uses the services and who waits behind whom, and what a pause gives back: counted by hand, and as it then is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import fairness, joblogs, rollups
from engine import messages as m
from engine.clock import HOUR, MINUTE, SECOND, stopwatch
from engine.fairness import CAUSES, Ahead, Lens, Replay, Share, starts
from engine.lifecycle import Kind
from engine.recurrence import Rule
from pages.shared import fair

from .health_fixtures import Life
from .test_history import commit_log

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def look(life: Life, period: str = "24h", **asked: Any) -> Lens:
    return fairness.look(life.store, life.snapshot(), life.now, "Acme", period, **asked)[0]


def replay(life: Life, period: str = "24h", **asked: Any) -> Replay:
    return fairness.look(life.store, life.snapshot(), life.now, "Acme", period, **asked)[1]


def by_name(found: Lens) -> dict[str, Share]:
    return {one.who: one for one in found.shares}


def submit(life: Life, owner: str, n: int = 1, priority: int = 5, kind: Kind = Kind.AUDIT) -> None:
    task = m.NewTask("Acme", "Berlin", kind, "Audit", owner, owner, "db-7", "device", priority=priority)
    life.do(m.Submit([task] * n))


def one_slot(life: Life) -> None:
    """Leave the site one slot for audits."""
    life.do(
        m.SetService("Acme", "audit-1", slots=1),
        m.SetService("Acme", "audit-2", "offline"),
        m.SetService("Acme", "audit-3", "offline"),
    )


def takes(life: Life, seconds: float) -> None:
    """Let collecting take so long, and processing no time worth telling."""
    life.length = lambda order: seconds if order.stage == "collect" else 0.001


# --- shares


def test_shares_of_a_period_are_what_one_counts_by_hand(life: Life) -> None:
    one_slot(life)
    takes(life, 10)
    submit(life, "ann", 3)
    life.live(1)
    submit(life, "bob")
    life.live(60)
    found = by_name(look(life))
    ann, bob = found["ann"], found["bob"]
    assert (ann.tasks, bob.tasks) == (3, 1)
    assert (ann.served_s, bob.served_s) == (pytest.approx(30, abs=0.1), pytest.approx(10, abs=0.1))
    assert (ann.waited_s, bob.waited_s) == (pytest.approx(0 + 10 + 20, abs=0.1), pytest.approx(29, abs=0.1))
    assert (ann.served, bob.served) == (pytest.approx(0.75, abs=0.01), pytest.approx(0.25, abs=0.01))
    assert (ann.wait_mean_s, ann.wait_p95_s) == (pytest.approx(10, abs=0.1), pytest.approx(20, abs=0.1))
    assert set(bob.causes) <= {"capacity", "processor"}
    assert [(name, round(part, 2)) for name, part in bob.behind] == [("ann", 1.0)]
    assert [(name, round(part, 2)) for name, part in ann.behind] == [("ann", 1.0)]


def test_only_what_lies_within_the_period_counts(life: Life) -> None:
    one_slot(life)
    takes(life, 1800)
    submit(life, "ann", 4)  # works from now on for two hours; the fourth waits for an hour and a half
    life.live(7200 + 60)
    found = by_name(look(life, "1h"))["ann"]
    assert found.served_s == pytest.approx(3600 - 60, abs=1)
    assert found.waited_s == pytest.approx(1800 - 60, abs=1)
    assert found.tasks == 2  # the first two had ended before
    assert found.wait_p95_s == pytest.approx(5400, abs=1)  # a wait is told whole


def test_a_schedules_runs_and_the_systems_tasks_stand_apart(life: Life) -> None:
    rule = Rule.interval(60, life.now)
    life.do(m.CreateSchedule(m.ScheduleSpec("Often", "Acme", "Berlin", Kind.AUDIT, rule, "ann", "db-7", "device")))
    submit(life, "ann", 2)
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"), actor="system")
    life.live(300)
    found = by_name(look(life))
    assert set(found) == {"ann", "Schedule", "System"}
    assert (found["ann"].tasks, found["System"].tasks) == (2, 1)
    assert found["Schedule"].tasks >= 4
    assert [one.user for one in found.values()].count(True) == 1


def test_a_wait_under_a_hold_is_told_as_one(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "ann")], "backlog", until_at=life.now + 10 * MINUTE))
    submit(life, "ann", 2)
    life.live(300)
    held = by_name(look(life))["ann"]
    assert held.causes == {"hold": pytest.approx(600, abs=1)}
    assert (held.waiting, held.waiting_share, held.ahead) == (2, 1.0, None)
    life.live(600)
    after = by_name(look(life))["ann"]
    assert after.causes["hold"] == pytest.approx(1200, abs=1)
    assert after.waiting == 0


@pytest.mark.parametrize("seed", range(4))
def test_shares_add_up_to_one_and_their_seconds_to_those_of_the_tasks(life: Life, seed: int) -> None:
    chance = Random(seed)
    life.length = lambda order: chance.uniform(20, 400)
    for _ in range(12):
        submit(life, chance.choice(("ann", "bob", "cid")), chance.randrange(1, 20), chance.randrange(3, 8))
        if chance.random() < 0.3:
            life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "x", until_at=life.now + 5 * MINUTE))
        life.live(chance.uniform(10, 200))
    found = look(life)
    for share in ("served", "waited", "waiting_share"):
        assert sum(getattr(one, share) for one in found.shares) == pytest.approx(1)
    ended = life.store.read("select sum(wait_s)::double as w, sum(process_wait_s)::double as p from task_finished")
    waited = ended["w"][0] + ended["p"][0]
    for row in life.snapshot().tasks().iter_rows(named=True):
        waits = life.snapshot().waits(row["task_id"], life.now)
        waited += (sum(waits.collect.values()) + waits.process) / SECOND
    assert sum(one.waited_s for one in found.shares) == pytest.approx(waited, rel=1e-6)


def test_of_nothing_there_are_no_shares(life: Life) -> None:
    found = look(life)
    assert (found.shares, found.first, found.shortened) == ([], None, False)
    assert replay(life).without("ann").others == 0


def test_a_period_of_too_many_tasks_is_shortened_and_says_so(life: Life) -> None:
    takes(life, 5)
    for _ in range(6):
        submit(life, "ann", 10)
        life.live(900)
    life.snapshot()
    rollups.advance(life.store)
    found = look(life, most=25)
    assert found.shortened
    assert found.from_at > life.now - 24 * HOUR
    assert 25 <= sum(one.tasks for one in found.shares) < 60
    assert not look(life).shortened


# --- in line


def test_a_next_task_stands_behind_all_that_go_first_whosever_they_are(life: Life) -> None:
    one_slot(life)
    takes(life, 10_000)
    submit(life, "ann", 6)
    life.live(1)
    submit(life, "bob", 2)
    submit(life, "cid", 1, priority=9)
    submit(life, "bob", 1, kind=Kind.SCAN)
    life.live(1)
    found = by_name(look(life))
    assert found["cid"].ahead == Ahead(0)
    assert found["ann"].ahead == Ahead(1, "cid", 1)
    assert found["bob"].ahead == Ahead(6, "ann", 5)  # his scan runs
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "ann")], "backlog"))
    assert by_name(look(life))["bob"].ahead == Ahead(1, "cid", 1)


def test_who_stands_ahead_at_another_site_is_counted_and_not_named_to_who_may_not_see_it() -> None:
    line = pl.DataFrame({
        "site": ["Oslo", "Oslo", "Berlin", "Berlin"], "lane": [""] * 4, "who": ["eve", "eve", "ann", "bob"],
        "turn": [-5] * 4, "since": [1, 2, 3, 4], "task_id": [1, 2, 3, 4],
    })  # fmt: skip
    assert fairness.ahead(line, ["Berlin"], True) == {"ann": Ahead(2, "eve", 2), "bob": Ahead(3, "eve", 2)}
    assert fairness.ahead(line, ["Berlin"], False) == {"ann": Ahead(2), "bob": Ahead(3, "ann", 1)}


# --- what a pause gives back


def test_the_replay_of_a_small_example_is_what_one_counts_by_hand(life: Life) -> None:
    one_slot(life)
    takes(life, 10)
    submit(life, "ann", 3)
    life.live(1)
    submit(life, "bob")
    life.live(1)
    submit(life, "cid", priority=6)
    life.live(100)
    # ann 0–10, cid 10–20 by priority, ann 20–30 and 30–40, bob 40–50.
    found = replay(life).without("ann")
    assert (found.tasks, found.others) == (3, 2)
    assert found.measured.total_s == pytest.approx((10 - 2) + (40 - 1), abs=0.1)
    assert found.before.total_s == pytest.approx(found.measured.total_s, abs=0.1)
    # Without her: bob 1–11, cid 11–21.
    assert found.after.total_s == pytest.approx(0 + (11 - 2), abs=0.1)
    assert found.after.p95_s == pytest.approx(9, abs=0.1)
    assert found.off == pytest.approx(0, abs=0.01)


def busy_hour(life: Life, seed: int, priorities: Sequence[int]) -> None:
    """Let an hour of tasks come whose lengths go by their number, so that they are the same whoever is paused."""
    chance = Random(seed)
    lengths = [chance.uniform(30, 900) for _ in range(400)]
    life.length = lambda order: lengths[order.task_id % 400] if order.stage == "collect" else 0.5
    for _ in range(40):
        submit(life, chance.choice(("ann", "ann", "bob", "cid")), chance.randrange(1, 5), chance.choice(priorities))
        life.live(90)
    life.live(600)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_pause_is_said_to_give_back_is_what_it_gives_back_when_it_is_done(
    life: Life, tmp_path: Path, seed: int
) -> None:
    busy_hour(life, seed, (4, 5, 6))
    told = replay(life).without("ann")
    paused = Life(tmp_path / "paused")
    with paused.store:
        paused.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "ann")], "backlog"))
        busy_hour(paused, seed, (4, 5, 6))
        others = replay(paused).without("ann")
    assert told.off == pytest.approx(0, abs=0.02)
    assert told.after.mean_s == pytest.approx(others.measured.mean_s, rel=0.05, abs=1)
    assert told.after.mean_s < told.before.mean_s


def test_a_replay_of_too_many_tasks_goes_over_the_newest_and_begins_with_what_ran_then(life: Life) -> None:
    busy_hour(life, 5, (5,))
    whole, newest = replay(life), replay(life, most_replayed=40)
    assert newest.from_at > whole.from_at
    told = newest.without("ann")
    assert 0 < told.others <= 40 < whole.without("ann").others
    assert told.off == pytest.approx(0, abs=0.02)


def test_time_without_slots_and_under_holds_is_nobodys_fault(life: Life) -> None:
    one_slot(life)
    takes(life, 10)
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "backlog", until_at=life.now + 5 * MINUTE))
    submit(life, "bob", 2)
    life.do(m.SetService("Acme", "audit-1", "offline"))
    life.live(600)
    life.do(m.SetService("Acme", "audit-1", "online"))
    life.live(60)
    found = replay(life).without("ann")
    assert found.measured.total_s == pytest.approx(300 + 310, abs=1)
    assert found.after == found.before
    assert found.off == pytest.approx(0, abs=0.01)
    assert found.tasks == 0


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(0, 20)), max_size=25),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_a_slot_never_stands_empty_while_somebody_waits_and_turns_are_kept(
    jobs: list[tuple[int, int, int]], slots: int
) -> None:
    jobs.sort()
    free, lasts = [at for at, _, _ in jobs], [long for _, _, long in jobs]
    turn = [order * 100 + n for n, (_, order, _) in enumerate(jobs)]
    begun = starts(free, turn, lasts, [(0, slots)], [], 0)
    assert all(at is not None and at >= came for at, came in zip(begun, free, strict=True))
    for at, came, mine in zip(begun, free, turn, strict=True):
        assert at is not None
        if at > came:  # just before it began, all slots were taken, and by nobody whose turn comes later
            there = [n for n, (start, long) in enumerate(zip(begun, lasts, strict=True))
                     if start is not None and start < at <= start + long]  # fmt: skip
            assert len(there) >= slots
        late = [start for start, other in zip(begun, turn, strict=True) if other > mine and start is not None]
        assert not any(came < start < at for start in late)


def test_a_hundred_thousand_tasks_are_replayed_in_seconds() -> None:
    chance, n = Random(7), 100_000
    since = sorted(chance.randrange(20_000 * SECOND) for _ in range(n))
    lasts = [chance.randrange(1, 20) * SECOND for _ in range(n)]
    begun = starts(since, list(range(n)), lasts, [(0, 45)], [], 0)
    stages = pl.DataFrame({
        "task_id": list(range(n)), "site": "Berlin", "owner": [chance.choice("abcdef") for _ in range(n)],
        "kind": "audit", "priority": 5, "who": "x", "stage": "collect", "pool": "Berlin\naudit", "since": since,
        "begun": begun, "left": begun, "ran": lasts,
        "ended": [at + long for at, long in zip(begun, lasts, strict=True) if at is not None],
        "known": True, "hold": 0, "here": True,
    })  # fmt: skip
    made = Replay(stages, 0, 10**15, {"Berlin\naudit": [(0, 45)]})
    spent = stopwatch()
    found = made.without("a")
    assert found.before == found.measured  # it is made by the same rule
    assert found.after.mean_s < found.before.mean_s / 2
    assert spent() < 20  # some ten times of what it takes where nothing else is to be done


# --- in words


def test_a_place_is_summed_up_in_a_sentence_that_fits_it(life: Life) -> None:
    def said(found: Lens) -> str:
        return fair.finding(found, "Berlin", "24h")[1]

    assert said(look(life)) == "Nobody used the services of Berlin in the last 24 hours"
    takes(life, 60)
    submit(life, "ann", 2)
    life.live(30)
    assert said(look(life)) == "All of it is ann’s: there is nobody else to wait for"
    submit(life, "bob")
    life.live(60)
    assert said(look(life)).startswith("Nobody waited; ann has ")
    submit(life, "ann", 40)
    life.live(300)
    level, headline, evidence = fair.finding(look(life), "Berlin", "24h")
    assert level == "busy"
    assert headline.startswith("ann has 100\u202f% of all waiting and 98\u202f% of the service time")
    assert "tasks of the same user had" in evidence


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0 %"), (0.004, "< 1 %"), (0.01, "1 %"), (0.625, "62 %"), (0.9999, "> 99 %"), (1, "100 %")]
)
def test_a_share_is_never_said_to_be_nothing_or_all_where_it_is_not(share: float, said: str) -> None:
    assert fair.percent(share).replace("\u202f", " ") == said


def test_where_a_next_task_stands_is_said_with_whose_are_before_it(life: Life) -> None:
    one_slot(life)
    takes(life, 10_000)
    submit(life, "ann", 3)
    submit(life, "bob")
    submit(life, "cid")
    life.live(1)
    found = by_name(look(life))
    assert fair.in_line(found["ann"]) == {"t": "next in line"}
    assert fair.in_line(found["bob"]) == {"t": "behind 2", "s": "of ann"}
    assert fair.in_line(found["cid"]) == {"t": "behind 3", "s": "2 of ann"}
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "cid")], "backlog"))
    assert fair.in_line(by_name(look(life))["cid"]) == {"t": "held"}


# --- an imported log


def test_the_log_of_a_cluster_tells_of_one_user_with_a_thousand_queued(life: Life) -> None:
    path = SHARED / "traces" / "xdmod_phillips_slurm_sacct.log"
    if not path.exists():
        pytest.skip("the reference trace xdmod_phillips_slurm_sacct.log is not beside this checkout")
    life.do(m.AddSite("Acme", "Log", archive=True))
    life.snapshot()
    commit_log(life, joblogs.parse(path, "sacct"), "scan")
    rollups.advance(life.store)
    found = look(life, "all", within=["Log"])
    assert found.archive
    first = found.first
    assert first is not None
    assert (first.who, first.tasks) == ("honbu", 4238)
    assert first.waited > 0.999
    assert first.served == pytest.approx(0.0789, abs=0.0001)
    assert [(name, round(part, 3)) for name, part in first.behind] == [("honbu", 1.0)]
    # He filled a partition that nobody else used: whoever paused him would have given the others nothing.
    back = replay(life, "all", within=["Log"]).without("honbu")
    assert (back.tasks, back.others, back.enough) == (4238, 47, True)
    assert back.measured.mean_s == pytest.approx(94.9, abs=0.1)
    assert back.after == back.before
    assert back.off == pytest.approx(0, abs=0.01)
    # Periods of it count back from its end.
    day = look(life, "24h", within=["Log"])
    assert day.until_at == found.until_at
    assert 0 < sum(one.tasks for one in day.shares) < 4285
    # The business without it knows nothing of it.
    assert look(life, "24h").shares == []


def test_each_cause_of_a_wait_has_words_on_the_page() -> None:
    assert set(fair.WAITED_FOR) == set(CAUSES)
