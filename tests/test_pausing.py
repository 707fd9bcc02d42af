"""What holds keep, what one to be would touch, and what lifting some releases: as the core itself would have it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import polars as pl
import pytest

from engine import messages as m
from engine.catalogue import LIVE_TABS, Asked, Catalogue
from engine.clock import DAY, HOUR, MINUTE
from engine.ledger import TaskRow
from engine.lifecycle import Kind, own_name
from engine.living import Place
from engine.messages import HoldTarget
from engine.pausing import Pauses, counted, covers, searched, window_at
from engine.recurrence import Rule

from .health_fixtures import Life

TARGETS = [HoldTarget(kind, name) for kind, name in (
    ("user", "ann"), ("user", "bob"), ("kind", "audit"), ("kind", "scan"), ("site", "Berlin"))]  # fmt: skip


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def pauses(life: Life, business: str | None = "Acme") -> Pauses:
    snapshot = life.snapshot()
    return Pauses(snapshot, life.store, counted(snapshot, business), business, life.now)


def hold(life: Life, kind: str, name: str, business: str | None = "Acme", **facts: object) -> int:
    (outcome,) = life.do(m.PlaceHolds(business, [HoldTarget(kind, name)], "backlog", **facts))
    return int(outcome.changed[0])


def schedule(life: Life, name: str, owner: str, every_s: int, kind: Kind = Kind.AUDIT) -> int:
    rule = Rule.interval(every_s, life.now)
    spec = m.ScheduleSpec(name, "Acme", "Berlin", kind, rule, owner, "db-7", "device")
    (outcome,) = life.do(m.CreateSchedule(spec))
    return int(outcome.changed[0])


def waiting_under(life: Life) -> dict[int, set[int]]:
    """Tell from the core which tasks wait under which holds."""
    found: dict[int, set[int]] = {}
    for task_id, waiting in life.core.queues.waiting.items():
        for one in waiting.queue.holds:
            found.setdefault(one.id, set()).add(task_id)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_what_is_told_of_holds_is_what_the_core_holds_and_releases(life: Life, seed: int) -> None:
    chance = Random(seed)
    every = schedule(life, "Often", "bob", 90)
    placed: list[int] = []
    for _ in range(14):
        owner = chance.choice(("ann", "bob", "cid"))
        life.submit(chance.randrange(1, 9), chance.choice((Kind.AUDIT, Kind.SCAN, Kind.OUTLIER)), owner=owner)
        target = chance.choice([*TARGETS, HoldTarget("schedule", str(every))])
        everywhere = target.kind == "kind" and chance.random() < 0.3
        site = "Berlin" if target.kind != "schedule" and not everywhere and chance.random() < 0.3 else None
        if chance.random() < 0.5:
            placed.append(hold(life, target.kind, target.name, None if everywhere else "Acme", site=site))
        life.live(chance.uniform(1, 60))
    truth, now = waiting_under(life), pauses(life)
    assert {one.hold.hold_id: one.waiting for one in now.kept()} == {one: len(truth.get(one, ())) for one in placed}
    for one in now.kept():
        others = set().union(*(tasks for other, tasks in truth.items() if other != one.hold.hold_id))
        assert one.alone == len(truth.get(one.hold.hold_id, set()) - others)
    lifted = chance.sample(placed, len(placed) // 2)
    told = now.release(lifted)
    before = {task for tasks in truth.values() for task in tasks}
    life.do(m.LiftHolds(lifted))
    after = waiting_under(life)
    still = {task for tasks in after.values() for task in tasks}
    assert told.tasks == len(before - still)
    assert {one.hold_id: n for one, n in told.staying} == {one: len(tasks) for one, tasks in after.items()}


def test_windows_are_told_with_what_they_keep_now(life: Life) -> None:
    often = m.BlackoutSpec("Often", "Acme", "Berlin", Rule.interval(600, life.now + MINUTE), 120, "closed")
    rarely = m.BlackoutSpec("Rarely", "Acme", "Berlin", Rule.interval(86_400, life.now + HOUR), 7200)
    life.do(m.CreateBlackout(rarely))
    life.do(m.CreateBlackout(often))
    assert [(one.look.spec.name, one.keeps) for one in pauses(life).windows()] == [("Often", None), ("Rarely", None)]
    life.live(61)
    life.submit(3)
    life.submit(2, Kind.OUTLIER)
    life.live(2)
    now = pauses(life)
    assert [(one.look.spec.name, one.keeps) for one in now.windows()] == [("Often", 3), ("Rarely", None)]
    (kept,) = now.kept()
    assert (kept.hold.blackout, kept.hold.site, kept.waiting) == ("Often", "Berlin", 3)
    assert pauses(life, "Globex").windows() == []
    life.live(120)
    assert [one.keeps for one in pauses(life).windows()] == [None, None]


def test_a_window_to_be_tells_its_next_times_what_waits_and_which_fires_fall_in(life: Life) -> None:
    schedule(life, "Hourly", "ann", 3600)
    schedule(life, "Reckoning", "ann", 3600, Kind.OUTLIER)
    schedule(life, "Daily", "bob", 86_400, Kind.SCAN)
    life.submit(15)  # 12 slots
    life.live(1)
    begins = life.now + 30 * MINUTE
    spec = m.BlackoutSpec("New", "Acme", "Berlin", Rule.interval(4 * 3600, begins), 3600)
    found = pauses(life).closure(spec)
    assert found.times == [(begins + n * 4 * HOUR, begins + n * 4 * HOUR + HOUR) for n in range(5)]
    assert (found.now.waiting, found.now.running) == (3, 12)
    assert [name for _, name in found.fires] == ["Hourly"] * 5
    assert all(begin <= at < end for (at, _), (begin, end) in zip(found.fires, found.times, strict=True))


def test_a_fire_to_come_is_told_to_fall_into_a_window_as_the_core_will_hold_it(life: Life) -> None:
    rule = Rule.interval(3600, life.now + 30 * MINUTE)
    life.do(m.CreateBlackout(m.BlackoutSpec("Half hours", "Acme", "Berlin", rule, 600)))
    life.do(m.CreateBlackout(m.BlackoutSpec("Longer", "Acme", "Berlin", rule, 1200)))
    begins = pauses(life).windows()[0].look.next_at

    def at(minutes: float, kind: Kind = Kind.AUDIT) -> tuple[str, int] | None:
        snapshot = life.snapshot()
        return window_at(round(begins + minutes * MINUTE), kind, snapshot.holds, snapshot.blackouts)

    for minutes, name in ((-0.1, None), (0, "Longer"), (9.9, "Longer"), (15, "Longer"), (20, None), (60, "Longer")):
        told = at(minutes)
        assert (told and told[0]) == name, minutes
    assert at(5, Kind.REPORT) is None
    life.live(31 * 60)
    assert at(15) == ("Longer", begins + 20 * MINUTE), "also while it holds"
    held = next(h for h in life.snapshot().holds if h.blackout == "Longer")
    life.do(m.LiftHolds([held.hold_id]))
    assert at(9) == ("Half hours", begins + 10 * MINUTE), "what was lifted keeps nothing"


def test_a_preview_tells_what_waits_and_runs_and_comes_of_each_and_what_is_held_already(life: Life) -> None:
    life.submit(15)  # of ann: 12 slots
    life.live(1)
    life.submit(4, owner="bob")
    later = m.NewTask("Acme", "Berlin", Kind.AUDIT, own_name(Kind.AUDIT, "later"), "bob", "bob", due_at=life.now + HOUR)
    life.do(m.Submit([later]))
    hold(life, "kind", "audit")
    found = pauses(life).reach([HoldTarget("user", "ann"), HoldTarget("user", "bob")])
    told = [(one.waiting, one.already, one.running, one.collecting, one.later) for one in found.each]
    assert told == [(3, 3, 12, 12, 0), (4, 4, 0, 0, 1)]
    assert found.total("waiting") == 7
    assert found.users == [("ann", 15), ("bob", 4)]


def test_a_hold_touches_the_fires_of_its_users_and_types_schedules_up_to_its_end_and_a_week_at_most(life: Life) -> None:
    schedule(life, "Hourly", "ann", 3600)
    schedule(life, "Scans", "bob", 7200, Kind.SCAN)
    for target, until, n in (
        (HoldTarget("user", "ann"), life.now + 3 * HOUR, 3), (HoldTarget("user", "ann"), None, 24),
        (HoldTarget("kind", "scan"), life.now + 3 * HOUR, 1), (HoldTarget("user", "cid"), None, 0),
        (HoldTarget("user", "ann"), life.now + 30 * DAY, 24 * 7),
    ):  # fmt: skip
        assert pauses(life).reach([target], until).each[0].fires == n
    both = pauses(life).reach([HoldTarget("user", "ann"), HoldTarget("user", "bob")], life.now + 3 * HOUR)
    assert [name for _, name in both.next] == ["Hourly", "Hourly", "Scans"]
    assert both.until_at == life.now + 3 * HOUR


def test_users_and_types_are_listed_with_what_waits_most_first_and_who_is_paused_already(life: Life) -> None:
    life.submit(2, owner="ann")
    life.submit(30, owner="bob")
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"))
    hold(life, "user", "cid")
    hold(life, "kind", "query", None)
    users = pauses(life).users(["ann", "cid", "Zoë"])
    assert [(one.name, one.waiting, one.running, one.held) for one in users] == [
        ("bob", 20, 10, False), ("ann", 0, 2, False), ("cid", 0, 0, True), ("Zoë", 0, 0, False),
    ]  # fmt: skip
    kinds = pauses(life).kinds()
    assert len(kinds) == len(Kind)
    told = [(one.name, one.waiting, one.running, one.held) for one in kinds[:2]]
    assert told == [("audit", 20, 12, False), ("query", 0, 1, True)]


def test_how_long_it_takes_goes_by_the_last_week_and_the_slots_online(life: Life) -> None:
    life.submit(12)
    life.live(300)  # a minute each, and 5 s of processing on two slots
    life.submit(24, owner="bob")
    held = hold(life, "user", "bob")
    life.live(120)
    life.submit(24, owner="bob")
    told = pauses(life).release([held])
    assert told.tasks == 12 + 24 + 12  # the last twelve wait for a processor
    assert told.drain.word == "about"
    assert told.drain.seconds == pytest.approx(36 * 60 / 12, rel=0.05)
    for name in ("audit-1", "audit-2", "audit-3"):
        life.do(m.SetService("Acme", name, "offline"))
    assert "No audit slot is online at Berlin" in pauses(life).release([held]).drain.reason


def test_a_hold_that_is_to_come_or_has_ended_keeps_nothing_and_another_businesss_is_not_listed(life: Life) -> None:
    life.do(m.AddBusiness("Globex"))
    life.do(m.SetService("Acme", "audit-1", "offline"))
    life.submit(20)
    hold(life, "user", "ann", until_at=life.now + MINUTE)
    hold(life, "user", "ann", from_at=life.now + HOUR)
    hold(life, "user", "ann", "Globex")
    assert [(one.hold.in_force, one.waiting) for one in pauses(life).kept()] == [(True, 12), (False, 0)]
    life.live(70)
    assert [one.hold.in_force for one in pauses(life).kept()] == [False]
    assert {one.hold.business for one in pauses(life, None).kept()} == {"Acme", "Globex"}


def test_of_a_ramp_that_goes_beyond_a_business_its_own_part_is_told(life: Life) -> None:
    life.do(m.AddBusiness("Globex"), m.AddSite("Globex", "Rome"))
    held = [hold(life, "user", "ann"), hold(life, "user", "canary", "Globex"), hold(life, "kind", "audit", None)]
    life.submit(20)
    life.do(m.Submit([m.NewTask("Globex", "Rome", Kind.AUDIT, "audit", "canary", "canary") for _ in range(7)]))
    life.do(m.LiftHolds(held, rate=1))
    (whole,), (ours,), (theirs,) = (pauses(life, business).ramps for business in (None, "Acme", "Globex"))
    assert whole.left == ours.left + theirs.left
    assert theirs.left == 7
    assert "canary" in str(whole.over)
    assert "canary" not in str(ours.over)
    life.do(m.Stop([task_id for task_id, waiting in life.core.queues.waiting.items()
                    if waiting.queue.place.business == "Globex"]))  # fmt: skip
    assert [ramp.left for ramp in pauses(life, "Globex").ramps] == [0]
    assert [ramp.left for ramp in pauses(life).ramps] == [ours.left]


@pytest.mark.parametrize(
    ("text", "owners", "kinds"),
    [("ann", {"ann", "Anna*"}, set()), ("AUD", set(), {"audit"}), ("outlier c", set(), {"outlier"}),
     ("o", {"bob"}, {"connector", "import", "report", "outlier"}), ("*", {"Anna*"}, set()), ('"', set(), set())],
)  # fmt: skip
def test_a_search_finds_a_part_of_a_users_name_or_of_a_types_and_takes_signs_as_they_are(
    life: Life, text: str, owners: set[str], kinds: set[str]
) -> None:
    for owner in ("ann", "bob", "Anna*"):
        life.submit(1, owner=owner)
        life.submit(1, Kind.REPORT, owner=owner)
    wanted = Asked(searched(text), system=True)
    rows = Catalogue(life.store).together(life.snapshot(), Place("Acme"), wanted, life.now, LIVE_TABS).rows
    expected = {(owner, kind) for owner in ("ann", "bob", "Anna*") for kind in ("audit", "report")
                if owner in owners or kind in kinds}  # fmt: skip
    assert set(rows.select("owner", "kind").rows()) == expected


def test_counts_are_of_every_column_that_tells_tasks_apart_for_a_hold(life: Life) -> None:
    life.submit(5)
    counts = counted(life.snapshot(), "Acme")
    assert {"business", "site", "kind", "owner", "schedule_id"} <= set(TaskRow._fields) & set(counts.columns)
    assert counts.filter(covers(HoldTarget("schedule", "7"), "Acme")).is_empty()
    assert counts.select(pl.col("waiting", "running").sum()).row(0) == (0, 5)
