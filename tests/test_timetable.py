"""What schedules did and will do: last runs, misses and why, next fires, and the load to be expected of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from engine import messages as m
from engine.clock import HOUR, MINUTE, SECOND
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.snapshot import Snapshot
from engine.timetable import (
    CARD_RUNS,
    RUNS,
    WEEK,
    Load,
    Past,
    Summed,
    Timetable,
    expected,
    fires,
    past,
    runs,
    scheduled,
    steps,
    summed,
    timetable,
    usual_by_kind,
)
from tests.health_fixtures import Life

BERLIN = "Europe/Berlin"
MONDAY = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * SECOND  #: midnight in UTC


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def spec(cron: str = "* * * * *", name: str = "Minutely", zone: str = "UTC", kind: Kind = Kind.AUDIT) -> m.ScheduleSpec:
    return m.ScheduleSpec(name, "Acme", "Berlin", kind, Rule.cron_rule(cron, zone), "ann", "db-7", "device")


def create(life: Life, given: m.ScheduleSpec) -> int:
    return int(life.do(m.CreateSchedule(given))[0].changed[0])


def seen(life: Life) -> Snapshot:
    """Show what stands as a running console does: as of the last batch."""
    snapshot = life.snapshot()
    return replace(snapshot, batch=life.store.batch)


def told(life: Life, held: frozenset[int] = frozenset()) -> Timetable:
    return timetable(life.store, seen(life), "Acme", "Berlin", life.now, zone=BERLIN, held=held)


def of(life: Life, schedule_id: int) -> Past:
    return past(life.store, seen(life), "Acme", "Berlin", schedule_id, life.now)


# --- what they did


def test_the_last_runs_are_told_newest_first_with_what_they_took_and_no_more_than_ten(life: Life) -> None:
    schedule_id = create(life, spec())
    life.live(14 * 60)
    (planned,) = told(life).planned
    assert [run["schedule_id"] for run in planned.runs] == [schedule_id] * RUNS
    created = [run["created_at"] for run in planned.runs]
    assert created == sorted(created, reverse=True)
    assert planned.runs[0]["status"] == "Active"  # it has not ended, and is told of all the same
    assert planned.runs[0]["took_s"] is None
    assert {run["took_s"] for run in planned.runs[2:]} == {65.0}
    assert planned.usual_s == 65.0


def test_the_card_of_a_run_tells_more_of_them_what_share_is_done_and_how_long_they_take(life: Life) -> None:
    schedule_id, other = create(life, spec()), create(life, spec(name="Other"))
    life.live(24 * 60)
    (run,) = life.do(m.RunNow(schedule_id))
    life.do(m.Stop([int(run.changed[0])]))
    life.live(90)
    life.do(m.RemoveSchedule(schedule_id))  # its runs stay
    found = runs(life.store, seen(life), "Acme", "Berlin", life.now, schedule_id, CARD_RUNS).to_dicts()
    assert [one["schedule_id"] for one in found] == [schedule_id] * CARD_RUNS
    created = [one["created_at"] for one in found]
    assert created == sorted(created, reverse=True)
    statuses = [one["status"] for one in found]
    assert statuses.count("Stopped") == 1
    assert statuses.count("Active") >= 1
    assert summed(found) == Summed(CARD_RUNS, statuses.count("Processed") + 1, statuses.count("Processed"), 65.0)
    assert runs(life.store, seen(life), "Acme", "Oslo", life.now, schedule_id, CARD_RUNS).is_empty()
    assert other != schedule_id


def test_of_no_runs_nothing_is_summed_up() -> None:
    assert summed([]) == Summed(0, 0, 0, None)


def test_a_run_that_was_deleted_is_told_no_more(life: Life) -> None:
    schedule_id = create(life, spec("0 0 * * *", kind=Kind.IMPORT))  # no service here runs imports
    first, second = (int(life.do(m.RunNow(schedule_id))[0].changed[0]) for _ in range(2))
    life.do(m.Stop([first]))
    assert [run["task_id"] for run in told(life).planned[0].runs] == [second, first]
    life.do(m.Delete([second]))
    assert [run["task_id"] for run in told(life).planned[0].runs] == [first]


def test_misses_are_counted_by_why_there_was_no_run(life: Life) -> None:
    waits = create(life, spec(name="Waits", kind=Kind.IMPORT))
    held = create(life, spec("*/2 * * * *", name="Held"))
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("schedule", str(held))], "maintenance"))
    life.live(6 * 60)
    life.restart(5 * 60)
    by_id = {one.schedule.schedule_id: dict(one.missed) for one in told(life).planned}
    assert by_id[held]["hold"] == 5
    assert by_id[waits] == {"still_waiting": 6, "late": 4}


def test_a_run_that_waits_for_the_end_of_a_hold_is_no_miss_and_those_beside_it_are(life: Life) -> None:
    schedule_id = create(life, replace(spec(), on_hold="queue_one"))
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("schedule", str(schedule_id))], "maintenance"))
    life.live(60)
    assert told(life).planned[0].missed == {}
    assert [(s["missed"], s["why"]) for s in of(life, schedule_id).steps] == [(0, "hold")]
    life.live(180)
    assert told(life).planned[0].missed == {"hold": 3}


def test_a_schedules_past_puts_what_was_missed_between_the_runs_as_one_step_for_each_reason(life: Life) -> None:
    schedule_id = create(life, spec())
    life.live(150)
    (hold,) = life.do(m.PlaceHolds("Acme", [m.HoldTarget("schedule", str(schedule_id))], "maintenance"))
    life.live(180)
    life.do(m.LiftHolds([int(hold.changed[0])]))
    life.live(240)
    found = of(life, schedule_id)
    kinds = ["run" if "run" in step else step["why"] for step in found.steps]
    assert kinds == ["run", "run", "run", "hold", "run", "run"]  # the newest has not ended
    missed = found.steps[3]
    assert (missed["missed"], missed["last"] - missed["first"]) == (3, 2 * MINUTE)


def test_steps_of_one_instant_and_reason_are_told_once_however_many_rows_say_so() -> None:
    rows = [{"at": n, "first": n, "last": n, "missed": 1, "outcome": "skipped", "reason": "hold"} for n in range(1, 6)]
    assert steps([], rows) == [{"missed": 5, "why": "hold", "first": 1, "last": 5}]
    late = [{**rows[0], "reason": "late", "outcome": "coalesced"}]
    assert [s["why"] for s in steps([{"created_at": 9}], rows + late) if "why" in s] == ["hold", "late"]


def test_a_schedules_versions_are_told_with_who_made_them_of_what(life: Life) -> None:
    schedule_id = create(life, spec())
    life.do(m.EditSchedule(schedule_id, 1, spec("0 2 * * *", "Nightly")), actor="bob")
    life.do(m.RemoveSchedule(schedule_id, "gone"), actor="cid")
    removed, edited, created = of(life, schedule_id).versions
    assert [(v.version, v.event, v.actor) for v in (removed, edited, created)] == [
        (3, "removed", "cid"), (2, "edited", "bob"), (1, "created", "ann"),
    ]  # fmt: skip
    assert removed.spec is None
    assert edited.spec == spec("0 2 * * *", "Nightly")
    assert told(life).planned == []


def test_what_is_usual_is_the_schedules_own_median_else_that_of_its_type(life: Life) -> None:
    life.length = lambda order: 300.0 if order.stage == "collect" else 100.0
    life.submit(3)
    life.live(500)
    never = create(life, spec("0 0 1 1 *", "Never ran"))
    odd = create(life, spec("0 0 1 1 *", "Never seen", kind=Kind.CONNECTOR))
    own = create(life, spec("0 0 1 1 *", "Ran"))
    life.length = lambda order: 20.0
    life.do(m.RunNow(own))
    life.live(100)
    usual = {one.schedule.schedule_id: one.usual_s for one in told(life).planned}
    assert usual == {never: 400.0, odd: None, own: 40.0}
    assert told(life).load.unknown == 1
    assert set(usual_by_kind(life.store, "Acme", "Berlin", life.now)) == {Kind.AUDIT}


def test_what_is_to_come_once_is_listed_by_its_due_time_until_that_comes(life: Life) -> None:
    def later(minutes: int) -> m.NewTask:
        due_at = life.now + minutes * MINUTE
        return m.NewTask("Acme", "Berlin", Kind.AUDIT, f"In {minutes}", "ann", "ann", due_at=due_at)

    life.do(m.Submit([later(30), later(10)]))
    life.submit(1)
    assert scheduled(seen(life), "Acme", "Berlin")["name"].to_list() == ["In 10", "In 30"]
    life.live(11 * 60)
    assert scheduled(seen(life), "Acme", "Berlin")["name"].to_list() == ["In 30"]


def test_another_sites_schedules_and_tasks_are_not_told(life: Life) -> None:
    schedule_id = create(life, spec())
    life.live(120)
    snapshot = seen(life)
    assert timetable(life.store, snapshot, "Acme", "Oslo", life.now, zone="UTC").planned == []
    assert past(life.store, snapshot, "Acme", "Oslo", schedule_id, life.now) == Past([], [])


# --- what they will do


def test_the_next_fire_is_the_rules_own(life: Life) -> None:
    create(life, spec("30 2 * * *", zone="America/New_York"))
    (planned,) = told(life).planned
    at = datetime(2026, 11, 25, 2, 30, tzinfo=ZoneInfo("America/New_York"))
    assert planned.next_at == int(at.timestamp()) * SECOND


@pytest.mark.parametrize("every_s", [1, 7, 59, 60, 61, 3600, 90_000])
def test_fires_of_an_interval_are_counted_minute_by_minute(every_s: int) -> None:
    rule = Rule.interval(every_s, MONDAY + 17 * SECOND)
    found = fires([rule], MONDAY - HOUR, MONDAY + 3 * HOUR)
    at = rule.occurrences(MONDAY - HOUR, MONDAY + 3 * HOUR)
    counted = pl.Series([one // MINUTE * MINUTE for one in at], dtype=pl.Int64).value_counts(sort=False)
    assert dict(found.select("minute_at", "n").iter_rows()) == dict(counted.iter_rows())
    assert found["n"].sum() == len(at)


def load_of(*rules: tuple[Rule, float | None], zone: str = "UTC", since: int = MONDAY) -> Load:
    given = pl.DataFrame(
        [(n, f"S{n}", n, usual_s) for n, (_, usual_s) in enumerate(rules)],
        schema={"schedule_id": pl.Int64, "name": pl.String, "rule": pl.Int64, "usual_s": pl.Float64}, orient="row",
    )  # fmt: skip
    return expected(given, fires([rule for rule, _ in rules], since, since + WEEK), zone)


def cron(expression: str, zone: str = "UTC") -> Rule:
    return Rule.cron_rule(expression, zone)


def test_the_load_of_an_hour_is_its_fires_times_what_they_usually_take() -> None:
    load = load_of((cron("0,30 2 * * 1-5"), 600.0), (cron("0 2 * * *"), 60.0))
    busy = {(day, hour): busy_s for day, hour, _, busy_s in load.hours.iter_rows() if busy_s}
    assert busy == {(day, 2): 1260.0 if day < 6 else 60.0 for day in range(1, 8)}
    assert load.hours.height == 168
    assert load.hours["fires"].sum() == 5 * 2 + 7


def test_a_schedule_of_unknown_length_counts_as_a_fire_and_brings_no_minutes() -> None:
    load = load_of((cron("0 2 * * *"), None), (cron("0 2 * * *"), 60.0))
    assert (load.unknown, load.hours["busy_s"].sum(), load.hours["fires"].sum()) == (1, 420.0, 14)


def test_hours_are_those_of_the_sites_zone_whatever_the_schedules() -> None:
    load = load_of((cron("30 2 * * 1", "America/New_York"), 60.0), zone="Asia/Kolkata")
    assert load.hours.filter(pl.col("fires") > 0).rows() == [(1, 12, 1, 60.0)]
    assert load.minutes.filter(pl.col("fires") > 0).rows() == [(0, 1, 1)]


@pytest.mark.parametrize(
    ("rules", "n", "when"),
    [
        (["0 * * * *"] * 12 + ["5 * * * *"], 12, "at :00 of each hour"),
        (["0 2 * * *", "0 2 * * *", "0 * * * *", "30 4 * * *"], 3, "at 02:00 each day"),
        (["0 9 * * 1-5", "0 9 * * *"], 2, "at 09:00 on weekdays"),
        (["15 4 * * 6", "15 4 * * *", "* * * * 6"], 3, "at 04:15 on Sat"),
        (["0 2,14 * * 1,4", "0 2,14 * * *"], 2, "at 02:00 and 14:00 on Mon and Thu"),
    ],
)
def test_the_busiest_minute_is_said_with_when_it_comes(rules: list[str], n: int, when: str) -> None:
    busiest = load_of(*((cron(rule), 60.0) for rule in rules)).busiest
    assert busiest is not None
    assert (busiest.n, busiest.when()) == (n, when)
    assert len(busiest.schedule_ids) == n


def test_schedules_of_the_same_minute_of_different_hours_do_not_stack() -> None:
    load = load_of((cron("0 2 * * *"), 1.0), (cron("0 3 * * *"), 1.0))
    assert load.busiest is None
    assert load.minutes.row(0) == (0, 14, 1)
    assert load.clock.rows() == [(2, 0, 1, ["S0"]), (3, 0, 1, ["S1"])]


def test_a_minute_is_stacked_by_schedules_not_by_how_often_one_of_them_fires_in_it() -> None:
    load = load_of((Rule.interval(10, MONDAY), 1.0), (cron("0 2 * * *"), 1.0))
    assert load.minutes.filter(pl.col("minute") == 1).rows() == [(1, 24 * 7 * 6, 1)]
    assert load.busiest is not None
    assert (load.busiest.n, load.busiest.when()) == (2, "at 02:00 each day")


def test_no_schedules_bring_no_load() -> None:
    load = load_of()
    assert load.busiest is None
    assert (load.hours.height, load.minutes.height, load.clock.height) == (168, 60, 0)
    assert load.hours["busy_s"].sum() == 0


def test_a_paused_schedule_brings_no_load(life: Life) -> None:
    held = create(life, spec("0 2 * * *"))
    create(life, spec("0 3 * * *", "Other"))
    assert told(life).load.hours["fires"].sum() == 14
    assert told(life, frozenset([held])).load.hours["fires"].sum() == 7


def test_a_week_with_a_clock_change_has_the_fires_that_the_rule_has() -> None:
    since = int(datetime(2026, 10, 24, tzinfo=UTC).timestamp()) * SECOND
    rules = [cron("*/5 * * * *", BERLIN), cron("30 2 * * *", BERLIN)]
    load = load_of(*((rule, 1.0) for rule in rules), zone=BERLIN, since=since)
    assert load.hours["fires"].sum() == sum(len(rule.occurrences(since, since + WEEK)) for rule in rules)
    sunday_at_two = load.hours.filter(pl.col("weekday") == 7, pl.col("hour") == 2).row(0, named=True)
    assert sunday_at_two["fires"] == 24 + 1


@pytest.mark.parametrize("every", ["* * * * *", "*/5 * * * *"])
def test_a_thousand_busy_schedules_are_added_up_once_for_all_that_are_alike(every: str) -> None:
    rules = list(dict.fromkeys([cron(every)] * 1000))
    assert len(rules) == 1
    found = fires(rules, MONDAY, MONDAY + WEEK)
    given = pl.DataFrame({"schedule_id": range(1000), "name": ["x"] * 1000, "rule": [0] * 1000,
                          "usual_s": [60.0] * 1000})  # fmt: skip
    load = expected(given, found, "UTC")
    assert load.busiest is not None
    assert load.busiest.n == 1000
    assert load.hours["fires"].sum() == found.height * 1000
    assert found.height <= 7 * 24 * 60
