"""Blackout windows: a site is held at each time of a rule, for as long as the window says, each time once at most."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

import pytest

from engine import messages as m
from engine.clock import DAY, HOUR, MINUTE, SECOND, Reading
from engine.core import Core
from engine.ledger import NUMBERED_TABLES
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.roles import Grant, Role
from engine.state import replay
from tests.desk import EXPLORER, PROCESSOR, SITE, START, Desk

EVERY = 600  #: seconds between the windows of most tests here; the first begins 100 s after the fleet was founded


def spec(name: str = "Month end", lasts: int = 60, rule: Rule | None = None, suspend: bool = False) -> m.BlackoutSpec:
    rule = rule or Rule.interval(EVERY, START + 100 * SECOND, "Europe/Berlin")
    return m.BlackoutSpec(name, *SITE, rule, lasts, "books are closed", suspend)


def create(desk: Desk, wanted: m.BlackoutSpec | None = None) -> int:
    desk.step(m.CreateBlackout(wanted or spec()))
    assert desk.outcomes[-1].refused is None, desk.outcomes[-1].refused
    return int(desk.outcomes[-1].changed[0])


def refused(desk: Desk, action: m.Action, request: str | None = None) -> str:
    before = {table: len(getattr(desk.rows, table)) for table in (*NUMBERED_TABLES, "audit")}
    desk.step(action, request=request)
    assert before == {table: len(getattr(desk.rows, table)) for table in before}, "a refusal changes nothing"
    return desk.outcomes[-1].refused or ""


def spells(desk: Desk) -> list[tuple[float, float | None]]:
    """Tell from when to when holds on the site were in force, in seconds."""
    begun, ended = {}, {}
    for e in desk.rows.hold_event:
        at = (e.occurred_at - START) / SECOND
        if e.event == "begun":
            begun[e.hold_id] = at
        elif e.event != "placed":
            ended[e.hold_id] = at
    return [(at, ended.get(hold)) for hold, at in begun.items()]


def fires(desk: Desk) -> list[tuple[str, float, float, int]]:
    return [(f.outcome, (f.nominal_at - START) / SECOND, (f.last_nominal_at - START) / SECOND, f.count)
            for f in desk.rows.blackout_fire]  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    return Desk(EXPLORER, PROCESSOR)


# --- what a window does


def test_a_window_holds_its_site_from_its_nominal_time_until_it_is_over(desk: Desk) -> None:
    create(desk)
    desk.at = 112.5  # told late, and still at its time
    desk.step(desk.alive())
    task = desk.submit()
    assert desk.cause(task) == "hold"
    desk.at = 159.9
    desk.step(desk.alive())
    assert spells(desk) == [(100, None)]
    desk.wait(10)
    assert spells(desk) == [(100, 160)]
    assert desk.started() == [task]
    desk.wait(EVERY)
    assert fires(desk) == [("held", 100, 100, 1), ("held", 700, 700, 1)]


def test_a_window_covers_what_is_collected_at_its_site_and_no_system_task(desk: Desk) -> None:
    desk.step(m.AddSite("acme", "oslo"), m.AddService("acme", "oslo", "other", "explorer", 2))
    create(desk)
    desk.wait(110)
    here, report = desk.submit(), desk.submit(Kind.REPORT)
    desk.wait(1, m.Submit([m.NewTask("acme", "oslo", Kind.SCAN, "task", "ann", "ann")]))
    there = int(desk.outcomes[-1].changed[0])
    assert sorted(desk.started()) == sorted([report, there])
    assert desk.cause(here) == "hold"


def test_a_window_that_suspends_asks_what_collects_when_it_begins(desk: Desk) -> None:
    create(desk, spec(suspend=True))
    task = desk.submit()
    desk.wait(110)
    assert [type(order) for order in desk.orders] == [m.StartOrder, m.SuspendOrder]
    desk.step(m.Suspended(task, desk.lease(task), 0.5))
    assert desk.cause(task) == "hold"
    desk.wait(60)
    assert desk.started() == [task, task]


def test_windows_that_overlap_both_hold(desk: Desk) -> None:
    create(desk)
    create(desk, spec("Freeze", rule=Rule.interval(EVERY, START + 140 * SECOND)))
    desk.wait(145)
    task = desk.submit()
    desk.wait(20)
    assert spells(desk) == [(100, 160), (140, None)]
    assert desk.cause(task) == "hold"
    desk.wait(40)
    assert spells(desk) == [(100, 160), (140, 200)]
    assert desk.started() == [task]


def test_a_window_may_last_until_it_occurs_again(desk: Desk) -> None:
    create(desk, spec(lasts=EVERY))
    task = desk.submit()
    desk.wait(2.5 * EVERY)
    assert spells(desk)[:2] == [(100, 700), (700, 1300)]
    assert desk.started() == [task]  # before the first


# --- downtime


def test_a_console_that_starts_in_the_midst_of_a_window_holds_until_its_end(desk: Desk) -> None:
    create(desk)
    desk.wait(50)
    task = desk.submit()
    desk.step(desk.collected(task))
    desk.restart(70)
    waits = desk.submit()
    assert spells(desk) == [(100, None)]
    assert desk.cause(waits) == "hold"
    desk.wait(60)
    assert spells(desk) == [(100, 160)]
    assert waits in desk.started()


def test_windows_that_the_downtime_swallowed_are_told_and_not_made_up_for(desk: Desk) -> None:
    create(desk)
    desk.wait(50)
    desk.restart(3 * EVERY + 60)
    assert spells(desk) == [(1900, None)]
    assert fires(desk) == [("missed", 100, 1300, 3), ("held", 1900, 1900, 1)]


@pytest.mark.parametrize("at", [99.9, 100, 130, 159.9, 160, 170])
def test_a_time_is_settled_once_whenever_the_console_restarts(desk: Desk, at: float) -> None:
    create(desk)
    desk.wait(at - desk.at)
    desk.restart()
    desk.restart(1)
    desk.wait(EVERY)
    assert [nominal for _, nominal, _, _ in fires(desk)] == [100, 700]
    assert spells(desk)[0] == (100, 160)


def test_a_clock_set_back_brings_no_window_again(desk: Desk) -> None:
    create(desk)
    desk.wait(165)
    desk.at = 90
    desk.wait(70)
    assert fires(desk) == [("held", 100, 100, 1)]
    assert len(spells(desk)) == 1


# --- people


def test_a_hold_that_was_lifted_comes_back_with_the_next_time_only(desk: Desk) -> None:
    create(desk)
    desk.wait(110)
    (hold,) = desk.core.state.holds
    desk.step(m.LiftHolds([hold], "urgent"))
    desk.restart(5)
    assert spells(desk) == [(100, 110)]
    desk.wait(EVERY)
    assert spells(desk)[1][0] == 700


def test_removing_a_window_lifts_what_it_holds(desk: Desk) -> None:
    blackout = create(desk)
    desk.wait(110)
    held = desk.hold("site", "berlin")
    desk.step(m.RemoveBlackout(blackout, "no longer"))
    assert len(desk.outcomes[-1].changed) == 2
    assert list(desk.core.state.holds) == [held], "a person's own stays"
    assert [(a.action, a.object_kind) for a in desk.rows.audit[-2:]] == [("remove", "blackout"), ("lift", "site")]
    desk.wait(2 * EVERY)
    assert len(desk.rows.blackout_fire) == 1
    assert "no such blackout window" in refused(desk, m.RemoveBlackout(blackout))


def test_an_edit_concerns_the_times_to_come(desk: Desk) -> None:
    blackout = create(desk)
    desk.wait(110)
    later = spec("Quarter end", 60, Rule.interval(EVERY, START + 120 * SECOND))
    desk.step(m.EditBlackout(blackout, 1, later))
    desk.wait(EVERY)
    assert spells(desk) == [(100, 160), (120, 180)]
    assert "changed this window meanwhile (version 2, yours 1)" in refused(desk, m.EditBlackout(blackout, 1, spec()))


def test_a_person_may_hold_a_site_once(desk: Desk) -> None:
    hold = desk.hold("site", "berlin", until=30)
    task = desk.submit()
    report = desk.submit(Kind.OUTLIER)
    assert desk.cause(task) == "hold"
    assert desk.started() == [report]
    assert desk.core.state.holds[hold].site == "berlin"
    desk.wait(30)
    assert task in desk.started()
    for action, said in (
        (m.PlaceHolds("acme", [m.HoldTarget("site", "oslo")], "x"), "no site “oslo”"),
        (m.PlaceHolds("acme", [m.HoldTarget("site", "berlin")], "x", site="oslo"), "at that site, not at oslo"),
        (m.PlaceHolds(None, [m.HoldTarget("site", "berlin")], "x"), "Only a task type can be held system-wide"),
    ):
        assert said in refused(desk, action)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"duration_s": 59}, "from 1 minute to 7 days"),
        ({"duration_s": 7 * 86_400 + 1}, "from 1 minute to 7 days"),
        ({"duration_s": 2 * EVERY + 1}, "a third time"),
        ({"name": " "}, "A blackout window's name has 1 to 100 characters"),
        ({"name": "month END"}, "There is a blackout window “Month end” already"),
        ({"site": "nowhere"}, "no site “nowhere”"),
        ({"site": "attic"}, "is an archive"),
        ({"business": "nobody"}, "no business “nobody”"),
        ({"rule": Rule("99 * * * *", None, 0, "UTC")}, "not valid"),
        ({"rule": Rule(None, 60, 0, "Mars/Phobos")}, "no time zone"),
        ({"duration_s": "60"}, "a whole number"),
        ({"rule": "daily"}, "Rule"),
        ({"suspend": 1}, "yes or no"),
        ({"reason": "x" * 1001}, "at most 1,000 characters"),
    ],
)
def test_a_window_that_can_not_be_is_refused(desk: Desk, changes: dict[str, Any], said: str) -> None:
    desk.step(m.AddSite("acme", "attic", archive=True))
    blackout = create(desk)
    facts = {field: getattr(spec(), field) for field in m.BlackoutSpec.__slots__}
    assert said in refused(desk, m.CreateBlackout(m.BlackoutSpec(**({**facts, "name": "New"} | changes))))
    if "site" not in changes and "business" not in changes and changes.get("name") != "month END":
        assert said in refused(desk, m.EditBlackout(blackout, 1, m.BlackoutSpec(**(facts | changes))))


def test_a_window_keeps_its_name_and_its_site(desk: Desk) -> None:
    desk.step(m.AddSite("acme", "oslo"))
    blackout = create(desk)
    moved = m.BlackoutSpec("Month end", "acme", "oslo", spec().rule, 60)
    assert "stays in its business and site" in refused(desk, m.EditBlackout(blackout, 1, moved))
    create(desk, moved)  # the same name at another site
    desk.step(m.EditBlackout(blackout, 1, spec(lasts=90)))
    assert desk.outcomes[-1].changed == [blackout]


@pytest.mark.parametrize(
    ("role", "site", "may"),
    [(Role.BUSINESS_ADMIN, None, True), (Role.SITE_ADMIN, "berlin", False), (Role.SITE_USER, "berlin", False)],
)
def test_windows_are_for_who_may_pause_in_the_business(desk: Desk, role: Role, site: str | None, may: bool) -> None:
    blackout = create(desk)
    for n, action in enumerate((
        m.CreateBlackout(spec("Another")), m.EditBlackout(blackout, 1, spec(lasts=90)), m.RemoveBlackout(blackout),
        m.PlaceHolds("acme", [m.HoldTarget("site", "berlin")], "pause"),
    )):  # fmt: skip
        now = START + SECOND * (1 + n)
        command = m.Command(f"of {n}", "eve", action, (Grant(role, "acme", site),))
        ((_, outcome),) = desk.core.step(Reading(now, now - START), [command]).outcomes
        assert (outcome.refused is None) is may, outcome


def test_answers_are_the_same_after_a_restart(desk: Desk) -> None:
    desk.step(m.CreateBlackout(spec()), request="new")
    blackout = int(desk.outcomes[-1].changed[0])
    desk.wait(110, m.EditBlackout(blackout, 1, spec(lasts=90)))
    desk.step(m.RemoveBlackout(blackout), request="gone")
    before = {name: list(outcome.changed) for name, outcome in zip(("new", "gone"), desk.outcomes[-3::2], strict=True)}
    desk.restart(5)
    desk.step(m.CreateBlackout(spec()), request="new")
    desk.step(m.RemoveBlackout(blackout), request="gone")
    again = {name: list(outcome.changed) for name, outcome in zip(("new", "gone"), desk.outcomes[-2:], strict=True)}
    assert again == before
    assert len(desk.rows.blackout_event) == 3


# --- a year

YEAR_START = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * SECOND
YEAR = 365 * DAY


def utc(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("zone", "normal", "summer", "spring", "autumn"),
    [
        # 02:30 is skipped on 8 March (it occurs right after the gap) and comes twice on 1 November (the first counts)
        ("America/New_York", 7 * HOUR + 30 * MINUTE, 6 * HOUR + 30 * MINUTE,
         (utc(2026, 3, 8, 7, 0), utc(2026, 3, 9, 6, 30)), (utc(2026, 11, 1, 7, 30), utc(2026, 11, 2, 7, 30))),
        # half an hour: 02:00 goes to 02:30 on 4 October, and 02:00 back to 01:30 on 5 April
        ("Australia/Lord_Howe", 16 * HOUR, 15 * HOUR + 30 * MINUTE,
         (utc(2026, 10, 3, 15, 30), utc(2026, 10, 4, 15, 30)), (utc(2026, 4, 4, 16, 0), utc(2026, 4, 5, 16, 0))),
    ],
)  # fmt: skip
def test_a_year_of_windows_is_held_once_each_at_its_nominal_time(
    zone: str, normal: int, summer: int, spring: tuple[int, int], autumn: tuple[int, int]
) -> None:
    chance, serial, rows = Random(7), count(), []
    lasts = 3 * HOUR
    core, now = Core(), YEAR_START
    rule = Rule.cron_rule("30 2 * * *", zone)
    asked: list[m.Action] = [
        m.AddBusiness("b"), m.AddSite("b", "s", zone),
        m.CreateBlackout(m.BlackoutSpec("Nights", "b", "s", rule, lasts // SECOND)),
    ]  # fmt: skip
    inputs = [m.Command(f"r{next(serial)}", "ann", action) for action in asked]
    downs: list[tuple[int, int]] = []
    while now < YEAR_START + YEAR:
        step = core.step(Reading(now, now - YEAR_START), inputs)
        for table in NUMBERED_TABLES:
            rows += getattr(step.rows, table)
        inputs = []
        now = max(core.next_timer() or 0, step.now + 1)
        if chance.random() < 0.03:  # crash, before or after the window's next change
            last, now = core.state.last, now + chance.choice((0, HOUR, 2 * DAY))
            core = Core(replay(sorted(rows, key=lambda row: (row.occurred_at, row.event_id))))
            step = core.start(Reading(now, 0, last))
            for table in NUMBERED_TABLES:
                rows += getattr(step.rows, table)
            downs.append((last, step.now))
            now = step.now + 1
    told: list[int] = []
    for fire in (row for row in rows if type(row).__name__ == "BlackoutFire"):
        within = rule.occurrences(fire.nominal_at - 1, fire.last_nominal_at)
        assert len(within) == fire.count
        told += within
        if fire.outcome == "missed":
            assert any(a <= fire.nominal_at and fire.until_at <= b for a, b in downs), "missed while it was up"
    assert told == [at for at in rule.occurrences(YEAR_START, YEAR_START + YEAR) if at <= told[-1]]
    assert told[-1] > YEAR_START + YEAR - 2 * DAY
    assert len(told) == len(set(told)) > 360
    assert {at % DAY for at in told} == {normal, summer} | {at % DAY for at in (*spring, *autumn)}
    assert set(spring) | set(autumn) <= set(told)
    holds: dict[int, dict[str, int]] = {}
    for row in rows:
        if type(row).__name__ == "HoldEvent":
            holds.setdefault(row.hold_id, {"from": row.from_at})[row.event] = row.occurred_at
    held = [row for row in rows if type(row).__name__ == "BlackoutFire" and row.outcome == "held"]
    assert {row.hold_id for row in held} == set(holds)
    assert len(held) > 330
    for hold in holds.values():
        assert hold["begun"] == hold["from"]
        assert hold.get("expired", hold["from"] + lasts) == hold["from"] + lasts
