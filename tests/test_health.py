"""The health checks, judged on ledgers that the real core wrote: each alarm with its cause, and none without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import health
from engine import messages as m
from engine.clock import DAY, HOUR, MINUTE, SECOND
from engine.health import Limits, Signal, signals, verdict
from engine.lifecycle import Kind
from engine.looks import look
from engine.recurrence import Rule
from engine.settings import Settings
from engine.wording import Words

from .health_fixtures import NOON, Length, Life

LIMITS = Limits()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def judged(life: Life, name: str, site: str | None = "Berlin", limits: Limits = LIMITS) -> Signal:
    (found,) = [s for s in signals(life.look(), limits) if s.name == name and s.site == site]
    return found


def held(life: Life) -> set[str]:
    return {signal.name for signal in signals(life.look(), LIMITS) if signal.holds}


def said(signal: Signal) -> str:
    return " ".join([signal.headline, *signal.evidence])


def collecting(seconds: float) -> Length:
    """Let collecting take so long, and processing hardly anything."""
    return lambda order: seconds if order.stage == "collect" else 5.0


def pile_up(life: Life, n: int = 40, minutes: float = 20) -> None:
    """Let tasks of an hour come until every slot is taken and `n` are queued, then wait."""
    life.length = collecting(3600.0)
    life.submit(12 + n)
    life.live(minutes * 60)


# --- nothing to judge by


def test_a_store_without_a_site_is_not_known_rather_than_well(tmp_path: Path) -> None:
    made = Life(tmp_path / "data")
    with made.store:
        (signal,) = signals(look(made.store, now=NOON), LIMITS)  # nothing is committed yet
    assert (signal.name, signal.holds, signal.known) == ("steady", False, False)
    assert verdict([signal]) is signal


def test_a_site_without_a_history_raises_no_alarm(life: Life) -> None:
    life.live(1)
    found = signals(life.look(), LIMITS)
    assert not any(signal.holds for signal in found if signal.name in health.ALARMS)
    assert judged(life, "slow_widgets").known is False


def test_an_archive_has_no_verdict(life: Life) -> None:
    life.do(m.AddSite("Acme", "Old log", archive=True))
    life.live(60)
    assert {signal.site for signal in signals(life.look(), LIMITS)} == {"Berlin", None}
    only = look(life.store, life.snapshot(), life.now, business="Acme", site="Old log")
    (signal,) = signals(only, LIMITS)
    assert (signal.holds, signal.known) == (False, False)
    assert "archive" in signal.headline


def test_limits_are_the_settings_of_the_same_names() -> None:
    assert Limits.of(Settings()) == Limits()
    assert Limits.of(Settings({"pile_up_tasks": 5, "slow_widget_times": 2.5})) == Limits(
        pile_up_tasks=5, slow_widget_times=2.5
    )


# --- steady


def test_a_queue_that_drains_is_steady(life: Life) -> None:
    life.submit_every(600, 120, n=20)
    signal = judged(life, "steady")
    assert signal.holds
    assert "Steady" in signal.headline
    assert held(life) == {"steady"}


def test_a_queue_that_was_empty_all_day_is_busy_once_there_is_enough_in_it_for_a_pile_up(life: Life) -> None:
    life.submit_every(600, 120)
    life.length = collecting(3_600.0)
    life.submit(12 + LIMITS.pile_up_tasks)
    life.live(30)
    signal = judged(life, "steady")
    assert not signal.holds
    assert signal.headline == f"Busy: {LIMITS.pile_up_tasks} queued for 30 s: a pile-up from 15 min on"
    assert signal.evidence[0].startswith(f"{LIMITS.pile_up_tasks} tasks are queued at Berlin")


def test_nothing_is_steady_while_tasks_wait_and_a_host_for_them_is_away(life: Life) -> None:
    life.submit_every(600, 120)
    for name in ("audit-1", "audit-2", "audit-3"):
        life.do(m.SetService("Acme", name, "offline"))
    life.submit(3)
    life.live(30)
    signal = judged(life, "steady")
    assert not signal.holds
    assert signal.headline == "Short of hosts: audit-1, audit-2 and audit-3 are offline, and 3 tasks wait"
    assert [host["name"] for host in signal.facts["away"]] == ["audit-1", "audit-2", "audit-3"]
    first = verdict(signals(life.look(), LIMITS))
    assert first == signal


def test_nothing_is_steady_while_tasks_wait_and_there_is_no_host_for_them(life: Life) -> None:
    life.submit_every(600, 120)
    life.submit(3, Kind.IMPORT)
    life.live(30)
    signal = judged(life, "steady")
    assert not signal.holds
    assert signal.headline == "Short of hosts: there is no hosted zone here, and 3 tasks wait"
    assert signal.facts["role"] == "hosted_zone"


def test_a_queue_that_is_seldom_empty_is_busy_but_no_alarm(life: Life) -> None:
    life.length = collecting(300.0)
    life.submit(20)
    life.submit_every(30, 60)
    signal = judged(life, "steady")
    assert not signal.holds
    assert signal.headline.startswith("Busy")
    first = verdict(signals(life.look(), LIMITS))
    assert first is not None
    assert first.name == "steady"


def test_a_day_of_calm_is_no_steady_state_once_tasks_pile_up(life: Life) -> None:
    life.live(12 * 3600)
    pile_up(life)
    signal = judged(life, "steady")
    assert signal.facts["empty"] > signal.facts["minutes"] / 2
    assert not signal.holds


# --- pile-up


def test_a_host_gone_offline_is_named_as_the_cause_of_the_pile_up(life: Life) -> None:
    life.length = collecting(600.0)
    life.submit(12)
    life.live(60)
    life.silent.add("audit-2")
    lost_at = life.now
    life.submit_every(30, 60)
    signal = judged(life, "pile_up")
    assert signal.holds
    assert signal.headline == "Backing up: 1 of 3 audit hosts is offline"
    (away,) = signal.facts["away"]
    assert away["name"] == "audit-2"
    assert lost_at < away["since_at"] <= lost_at + 45 * SECOND
    assert "audit-2 has been offline since 12:01 UTC" in said(signal)
    assert "audit-2" in signal.action
    assert signal.facts["queued"] >= 24
    assert signal.facts["since_at"] <= life.now - 15 * MINUTE
    assert signal.facts["arrived"] > signal.facts["departed"]
    assert signal.facts["oldest_s"] > signal.facts["oldest_before_s"]
    assert verdict(signals(life.look(), LIMITS)) == signal


def test_tasks_that_ask_for_an_offline_host_say_so(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-3", "offline"))
    task = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", "ann", "ann", "db-7", requested_service="audit-3")
    life.do(m.Submit([task] * 30))
    life.live(17 * 60)
    signal = judged(life, "pile_up")
    assert signal.headline == "Backing up: audit-3, which most of the queued tasks ask for, is offline"
    assert signal.facts["cause"] == "offline"
    assert (signal.facts["wanted"], [host["name"] for host in signal.facts["away"]]) == ("audit-3", ["audit-3"])


def test_all_hosts_offline_is_told_apart_from_some(life: Life) -> None:
    life.do(*(m.SetService("Acme", f"audit-{n}", "offline") for n in (1, 2, 3)))
    life.submit(30)
    life.live(17 * 60)
    signal = judged(life, "pile_up")
    assert signal.headline == "Backing up: all 3 audit hosts are offline"
    assert signal.facts["causes"] == {"offline": 30}


def test_schedules_stacked_on_one_minute_are_named(life: Life) -> None:
    life.length = collecting(3600.0)
    for n in range(40):
        rule = Rule.cron_rule("30 12 * * *", "UTC")
        spec = m.ScheduleSpec(f"Nightly audit {n % 2}", "Acme", "Berlin", Kind.AUDIT, rule, "ann", f"db-{n}")
        life.do(m.CreateSchedule(spec))
    life.live(30 * 60 + 20 * 60)
    signal = judged(life, "pile_up")
    assert signal.holds
    assert signal.headline == "Backing up: 28 tasks came in one minute, 12:30 UTC"
    assert {(by, name) for by, name, _ in signal.facts["stacked"]["who"]} == {
        ("schedule", "Nightly audit 0"), ("schedule", "Nightly audit 1"),
    }  # fmt: skip
    assert "Stagger" in signal.action
    schedules = {schedule.id for schedule in life.core.state.schedules.values()}
    assert len(signal.facts["stacked"]["schedule_ids"]) == 28
    assert set(signal.facts["stacked"]["schedule_ids"]) < schedules
    assert signal.facts["stacked"]["users"] == []


def test_users_who_submit_much_at_once_are_named(life: Life) -> None:
    life.length = collecting(3600.0)
    life.submit(12)
    life.live(60)
    life.submit(40, owner="bob")
    life.live(17 * 60)
    signal = judged(life, "pile_up")
    assert signal.headline == "Backing up: 40 tasks came in one minute, 12:01 UTC"
    assert "40 of them came in one minute, 12:01 UTC: user bob (40)" in said(signal)
    assert (signal.facts["stacked"]["users"], signal.facts["stacked"]["schedule_ids"]) == (["bob"], [])


@pytest.mark.parametrize(
    ("kind", "lane", "role"),
    [
        (Kind.AUDIT, "audit", "audit_service"),
        (Kind.SCAN, "scan", "explorer"),
        (Kind.CONNECTOR, "connector", "hosted_zone"),
        (Kind.REPORT, "process", "processor"),
    ],
)
def test_a_pile_up_says_where_it_stands_and_which_host_would_help(life: Life, kind: Kind, lane: str, role: str) -> None:
    life.length = lambda order: 3600.0
    life.submit(40, kind)
    life.live(17 * 60)
    facts = judged(life, "pile_up").facts
    assert (facts["lane"], facts["role"], facts["wanted"]) == (lane, role, None)


def test_where_nothing_is_queued_no_host_would_help(life: Life) -> None:
    life.live(60)
    facts = judged(life, "pile_up").facts
    assert (facts["lane"], facts["role"], facts["away"], facts["stacked"]) == (None, None, [], None)


def test_load_beyond_the_slots_is_a_pile_up_of_capacity(life: Life) -> None:
    life.length = collecting(900.0)
    life.submit_every(15, 60)
    signal = judged(life, "pile_up")
    assert signal.headline == "Backing up: all 3 audit hosts are full"
    assert signal.facts["cause"] == "capacity"
    assert signal.facts["away"] == []


def test_scans_behind_one_another_are_a_pile_up_of_exclusivity(life: Life) -> None:
    life.length = collecting(600.0)
    for n in range(50):
        life.submit(1, Kind.SCAN, target=f"segment-{n}")
        life.live(60)
    signal = judged(life, "pile_up")
    assert signal.holds
    assert signal.facts["cause"] == "exclusive"
    assert signal.headline == "Backing up: the only explorer is scanning, one scan at a time"


@pytest.mark.parametrize(("n", "minutes", "alarm"), [(24, 17, True), (23, 17, False), (24, 14, False)])
def test_a_pile_up_needs_enough_tasks_for_long_enough(life: Life, n: int, minutes: float, alarm: bool) -> None:
    pile_up(life, n, minutes)
    assert judged(life, "pile_up").holds is alarm


@pytest.mark.parametrize(("seconds", "alarm"), [(899, False), (901, True)])
def test_a_pile_up_counts_from_the_instant_at_which_enough_were_queued(
    life: Life, seconds: float, alarm: bool
) -> None:
    pile_up(life, 20, 2)
    life.live(17)
    life.submit(4)
    since = life.now
    life.live(seconds)
    signal = judged(life, "pile_up")
    assert signal.facts["since_at"] == since
    assert signal.holds is alarm
    assert judged(life, "steady").facts["minutes"] == len(life.look().depth.filter(site="Berlin")) - 1


def test_a_pile_up_of_processing_counts_from_that_instant_too(life: Life) -> None:
    life.do(m.SetService("Acme", "processor-1", "offline"))
    life.length = collecting(20.0)
    life.submit(12)
    life.live(100)
    assert judged(life, "pile_up", site=None).facts["since_at"] is None
    collected_at = life.now + 20 * SECOND
    life.submit(12)
    life.live(25)
    assert judged(life, "pile_up", site=None).facts["since_at"] == pytest.approx(collected_at, abs=1000)


def test_who_left_and_came_back_within_a_minute_starts_the_count_anew(life: Life) -> None:
    pile_up(life, 20, 2)
    life.live(5)
    life.submit(4)
    life.live(5)
    queued = [task.id for task in life.core.state.tasks.values() if task.id in life.core.queues.waiting]
    life.do(m.Stop(queued[-4:]))
    life.live(20)
    life.submit(4)
    since = life.now
    life.live(120)
    assert judged(life, "pile_up").facts["since_at"] == since


def test_tasks_that_a_hold_let_go_count_from_then_on(life: Life) -> None:
    life.length = collecting(3600.0)
    life.submit(12)
    (outcome,) = life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Later"))
    life.submit(30, owner="bob")
    life.live(600.5)
    life.do(m.LiftHolds([int(hold) for hold in outcome.changed]))
    since = life.now
    life.live(40)
    assert judged(life, "pile_up").facts["since_at"] == since


def test_what_speaks_for_the_cause_comes_before_the_rest(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-3", "offline"))
    life.live(60)
    pile_up(life)
    evidence = judged(life, "pile_up").evidence
    assert evidence[0].startswith("44 tasks are queued at Berlin; it has been 24 or more since 12:01 UTC, for 20 min.")
    assert evidence[1] == "audit-3 has been offline since 12:00 UTC."
    assert evidence[2] == "In the last 15 min 0 came and 0 left."


def test_a_queue_whose_oldest_wait_does_not_grow_is_no_pile_up(life: Life) -> None:
    life.length = collecting(240.0)
    life.submit(12 + 30)
    life.submit_every(20, 60)  # twelve slots of four minutes: one ends every twenty seconds, as one comes
    life.submit(1)
    signal = judged(life, "pile_up")
    assert signal.facts["queued"] >= 24
    assert not signal.holds
    assert "does not grow" in signal.headline


def test_a_long_queue_that_moves_fast_is_at_no_time_a_pile_up(life: Life) -> None:
    life.live(65)
    life.length = collecting(11.5)
    life.submit(12 + 80)
    life.submit_every(1, 14.8)
    for _ in range(8):
        life.submit_every(1, 0.25)
        signal = judged(life, "pile_up")
        assert signal.facts["queued"] >= 24
        assert not signal.holds, signal.evidence


def test_a_pile_up_of_hours_is_not_over_because_one_quarter_of_an_hour_went_well(life: Life) -> None:
    life.length = collecting(900.0)
    life.submit_every(60, 8 * 60)  # twelve slots do 48 an hour, 60 come
    queued = sorted(task.id for task in life.core.state.tasks.values() if task.id in life.core.queues.waiting)
    life.do(m.Stop(queued[:8]))
    signal = judged(life, "pile_up")
    window = life.look().depth.filter(site="Berlin")["oldest_s"]
    assert window[-1] <= window[-17]
    assert signal.holds


def test_a_dip_below_the_threshold_starts_the_count_anew(life: Life) -> None:
    pile_up(life, 30, 12)
    tasks = [task.id for task in life.core.state.tasks.values() if task.id in life.core.queues.waiting]
    life.do(m.Stop(tasks[:20]))
    life.live(120)
    life.submit(20)
    life.live(12 * 60)
    signal = judged(life, "pile_up")
    assert not signal.holds
    assert signal.facts["since_at"] >= NOON + 13 * MINUTE


def test_held_tasks_raise_no_alarm(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("kind", "audit")], "Maintenance"))
    life.submit(60)
    life.live(HOUR / SECOND)
    signal = judged(life, "pile_up")
    assert not signal.holds
    assert (signal.facts["queued"], signal.facts["paused"]) == (0, 60)
    assert held(life) == {"steady"}


def test_only_what_is_not_held_counts_towards_a_pile_up(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Too many audits"))
    life.length = collecting(3 * 3600.0)
    life.submit(100, owner="bob")
    life.live(600)
    life.submit(12 + 23)
    life.live(20 * 60)
    assert not judged(life, "pile_up").holds
    life.submit(1)
    life.live(17 * 60)
    signal = judged(life, "pile_up")
    assert signal.holds
    assert signal.facts["queued"] == 24
    assert signal.facts["oldest_s"] == pytest.approx(37 * 60, abs=1)
    assert "100 more tasks are held" in said(signal)


def test_collected_data_that_no_processor_takes_is_a_pile_up_of_the_business(life: Life) -> None:
    life.do(m.SetService("Acme", "processor-1", "offline", reason="patching"))
    life.submit_every(20, 40)
    signal = judged(life, "pile_up", site=None)
    assert signal.holds
    assert signal.headline == "Backing up: the only processor is offline"
    assert signal.facts["departed"] == 0 < signal.facts["arrived"]
    assert not judged(life, "pile_up").holds


def test_slow_processors_are_named_as_the_cause_of_a_pile_up_of_processing(life: Life) -> None:
    life.length = lambda order: 10.0
    life.submit_every(20, 30)
    life.length = lambda order: 10.0 if order.stage == "collect" else 80.0
    life.submit_every(20, 40)
    signal = judged(life, "pile_up", site=None)
    assert signal.holds
    assert signal.headline == "Backing up: processor-1 takes 8.0 times as long as usual"
    assert signal.evidence[1] == "Times as long as usual that their last tasks took: processor-1 8.0."
    assert "processor-1" in signal.action
    assert [slow["name"] for slow in signal.facts["slow"]] == ["processor-1"]


def test_much_work_makes_no_processor_slow(life: Life) -> None:
    life.length = lambda order: 20.0
    life.submit_every(5, 40)
    signal = judged(life, "pile_up", site=None)
    assert signal.headline == "Backing up: the only processor has no free slot for it"
    assert signal.facts["slow"] == []


# --- stuck


def history_of_audits(life: Life, seconds: float = 1200, target: str = "db-7") -> None:
    """Let ten audits of a target run, each as long."""
    life.length = collecting(seconds)
    for _ in range(10):
        life.submit(target=target)
        life.live(seconds + 60)


def test_a_hung_task_is_named_with_how_many_times_its_usual_it_runs(life: Life) -> None:
    history_of_audits(life)
    life.length = lambda order: None
    (task_id,) = life.submit()
    since = life.now
    life.live(4 * 3600)
    signal = judged(life, "stuck")
    assert signal.holds
    (task,) = signal.facts["tasks"]
    assert (task["task_id"], task["label"], task["site"], task["target"], task["service"], task["usual_of"]) == (
        task_id, "Audit #11", "Berlin", "db-7", "audit-1", "target",
    )  # fmt: skip
    assert task["since_at"] == since
    assert task["times"] == pytest.approx(4 * 3600 / 1200, rel=0.01)
    assert signal.headline == "Stuck: Audit #11 has run for 4 h, 12 times as long as usual"
    assert "Audit #11 of db-7 (scope databases) has run on audit-1 since 15:30 UTC" in said(signal)
    assert verdict(signals(life.look(), LIMITS)) == signal


@pytest.mark.parametrize(("hours", "alarm"), [(1.9, False), (2.1, True)])
def test_no_task_is_stuck_before_two_hours(life: Life, hours: float, alarm: bool) -> None:
    history_of_audits(life, 60)
    life.length = lambda order: None
    life.submit()
    life.live(hours * 3600)
    assert judged(life, "stuck").holds is alarm


@pytest.mark.parametrize(("hours", "alarm"), [(2.9, False), (3.1, True)])
def test_a_target_that_always_takes_long_is_stuck_only_beyond_three_times_that(
    life: Life, hours: float, alarm: bool
) -> None:
    history_of_audits(life, 3600)
    life.length = lambda order: None
    life.submit()
    life.live(hours * 3600)
    assert judged(life, "stuck").holds is alarm


def test_a_target_never_seen_is_compared_with_its_kind(life: Life) -> None:
    history_of_audits(life, 3600, "db-1")
    life.length = lambda order: None
    life.submit(target="db-2")
    life.live(2.5 * 3600)
    assert not judged(life, "stuck").holds
    life.live(3600)
    (task,) = judged(life, "stuck").facts["tasks"]
    assert (task["usual_of"], task["runs"]) == ("kind", 10)


def test_a_quick_target_is_not_excused_by_its_slow_kind(life: Life) -> None:
    history_of_audits(life, 3600, "db-1")
    history_of_audits(life, 60, "db-2")
    life.length = lambda order: None
    life.submit(target="db-2")
    life.live(2.5 * 3600)
    (task,) = judged(life, "stuck").facts["tasks"]
    assert (task["target"], task["usual_of"], task["times"]) == ("db-2", "target", pytest.approx(150, rel=0.01))


def test_the_first_task_of_all_is_stuck_after_two_hours_and_has_nothing_to_compare(life: Life) -> None:
    life.length = lambda order: None
    life.submit()
    life.live(3 * 3600)
    signal = judged(life, "stuck")
    assert signal.holds
    assert "no earlier run" in said(signal)


def test_waiting_for_hours_is_not_running_for_hours(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "ann")], "Later"))
    life.submit(3)
    life.live(5 * 3600)
    assert judged(life, "stuck").headline == "No task is stuck: nothing is running"


def test_a_rescued_task_runs_since_its_last_claim(life: Life) -> None:
    life.length = lambda order: None
    life.submit()
    life.live(HOUR / SECOND)
    life.silent.add("audit-1")
    life.live(1.5 * HOUR / SECOND)
    signal = judged(life, "stuck")
    assert not signal.holds
    assert "has run on audit-2 since 13:00 UTC, for 1 h 29 min" in said(signal)


def test_a_task_that_is_asked_to_stop_is_not_stuck_any_more(life: Life) -> None:
    life.length = lambda order: None
    (task_id,) = life.submit()
    life.live(3 * 3600)
    life.do(m.Stop([task_id]))
    assert not judged(life, "stuck").holds


# --- slow widgets


def saturate_the_processor(life: Life) -> None:
    """Let the processor be taken by the results of many quick audits."""
    life.length = lambda order: 10.0 if order.stage == "collect" else (60.0 if order.kind == "audit" else 5.0)
    life.submit(40)
    life.live(60)
    life.refresh_every(60, 14)


def test_widgets_get_slow_when_the_processor_is_saturated(life: Life) -> None:
    life.refresh_every(60, 120)
    assert not judged(life, "slow_widgets").holds
    saturate_the_processor(life)
    signal = judged(life, "slow_widgets")
    assert signal.holds
    (widget,) = signal.facts["widgets"]
    assert widget["widget"] == "Open ports"
    assert widget["usual_s"] == pytest.approx(5, abs=0.1)
    assert widget["latency_s"] > 15
    assert signal.facts["process_queued"] > 5
    assert signal.headline == f"Dashboard is slow: {signal.facts['process_queued']} tasks wait for the processors"
    assert f"{signal.facts['process_queued']} tasks wait for Acme’s processors now" in said(signal)


def test_slow_processors_are_named_as_the_cause_of_slow_widgets(life: Life) -> None:
    life.do(m.AddService("Acme", None, "processor-2", "processor", 2))
    widgets = ("Open ports", "Assets", "Coverage")
    life.refresh_every(60, 60, widgets)
    life.length = lambda order: 40.0
    life.refresh_every(60, 3, widgets)
    signal = judged(life, "slow_widgets")
    assert signal.holds
    assert signal.headline == "Dashboard is slow: processor-1 and processor-2 take 8.0 times as long as usual"
    assert {slow["name"] for slow in signal.facts["slow"]} == {"processor-1", "processor-2"}
    assert {widget["widget"] for widget in signal.facts["widgets"]} == set(widgets)
    assert "took 40 s, usually 5.0 s (8.0 times); slow as well: " in signal.evidence[0]


def test_processors_that_are_not_to_be_told_apart_are_counted() -> None:
    slow = [{"name": "a processor", "times": times, "tasks": 5} for times in (3.4, 11.5)]
    words = Words(NOON, "UTC")
    assert words.takes(slow) == "2 processors take 12 times as long as usual"
    assert words.slow(slow) == "Times as long as usual that their last tasks took: 2 processors 3.4 to 11.5."


@pytest.mark.parametrize(("refreshes", "alarm"), [(2, False), (3, True)])
def test_a_dashboard_is_slow_once_three_of_its_last_five_refreshes_were(
    life: Life, refreshes: int, alarm: bool
) -> None:
    life.refresh_every(60, 120)
    life.length = lambda order: 16.0
    life.refresh_every(60, refreshes)
    signal = judged(life, "slow_widgets")
    assert signal.holds is alarm
    assert (signal.facts["slow_refreshes"], signal.facts["refreshes"]) == (refreshes, 5)
    if not alarm:
        assert signal.headline == "Widgets refresh as usual (1 widget), but for 2 of the last 5 refreshes"


def test_a_slow_dashboard_is_as_usual_again_after_three_refreshes(life: Life) -> None:
    life.refresh_every(60, 120)
    life.length = lambda order: 16.0
    life.refresh_every(60, 30)
    life.length = lambda order: 5.0
    life.refresh_every(60, 2)
    assert judged(life, "slow_widgets").holds
    life.refresh_every(60, 1)
    assert not judged(life, "slow_widgets").holds


def test_refreshes_that_waited_for_the_console_to_start_are_not_slow(life: Life) -> None:
    widgets = ("Open ports", "Assets", "Coverage", "Offline")
    life.refresh_every(60, 120, widgets)
    life.do(*(m.RefreshWidget("Acme", "Berlin", widget) for widget in widgets), actor="system")
    life.restart(600)
    life.live(1)
    assert judged(life, "slow_widgets").facts["widgets"] == []
    life.live(60)
    signal = judged(life, "slow_widgets")
    assert signal.known
    assert signal.facts["refreshes"] == 5
    assert signal.facts["widgets"] == []


def test_slow_widgets_tell_what_the_processors_are_busy_with_for_all_sites(life: Life) -> None:
    life.do(m.AddService("Acme", None, "processor-2", "processor", 4), m.SetService("Acme", "processor-2", "offline"))
    life.do(m.AddSite("Acme", "Oslo"), m.AddService("Acme", "Oslo", "audit-9", "audit_service", 4))
    life.length = lambda order: 10.0 if order.stage == "collect" else 600.0
    life.do(m.Submit([m.NewTask("Acme", "Oslo", Kind.AUDIT, "Audit", "ann", "ann", "db-9")] * 4))
    life.live(60)
    seen = look(life.store, life.snapshot(), life.now, business="Acme", site="Berlin")
    (signal,) = [signal for signal in signals(seen, LIMITS) if signal.name == "slow_widgets"]
    assert signal.facts["processors"] == ["processor-1", "processor-2"]
    assert signal.facts["busy"] == [
        {"name": "processor-1", "slots": 2, "used": 2, "kinds": {"audit": 2}},
        {"name": "processor-2", "slots": 4, "used": 0, "kinds": {}},
    ]


def test_a_refresh_that_does_not_come_back_is_slow_before_it_has_ended(life: Life) -> None:
    life.refresh_every(60, 60)
    life.do(m.SetService("Acme", "processor-1", "offline"))
    life.refresh_every(60, 5)
    signal = judged(life, "slow_widgets")
    assert signal.holds
    assert signal.headline == "Dashboard is slow: the only processor is offline"
    assert "Open ports has been refreshing for 5 min" in said(signal)


@pytest.mark.parametrize(("seconds", "alarm"), [(14.0, False), (16.0, True)])
def test_widgets_are_slow_beyond_three_times_their_usual(life: Life, seconds: float, alarm: bool) -> None:
    life.refresh_every(60, 120)
    life.length = lambda order: seconds
    life.refresh_every(60, 15)
    assert judged(life, "slow_widgets").holds is alarm


def test_what_nobody_can_see_is_not_slow(life: Life) -> None:
    life.length = lambda order: 0.1
    life.refresh_every(60, 60)
    life.length = lambda order: 0.9
    life.refresh_every(60, 15)
    assert not judged(life, "slow_widgets").holds


def test_refreshes_under_a_hold_are_not_slow(life: Life) -> None:
    life.refresh_every(60, 60)
    (outcome,) = life.do(m.PlaceHolds("Acme", [m.HoldTarget("kind", "query")], "Quiet"))
    life.refresh_every(60, 20)
    assert not judged(life, "slow_widgets").holds
    life.do(m.LiftHolds([int(hold) for hold in outcome.changed]))
    life.live(20)
    assert not judged(life, "slow_widgets").holds


# --- old holds


def test_what_a_blackout_window_holds_for_long_is_forgotten_by_nobody(life: Life) -> None:
    rule = Rule.interval(20 * 86_400, life.now + 5 * SECOND)
    life.do(m.CreateBlackout(m.BlackoutSpec("Freeze", "Acme", "Berlin", rule, 7 * 86_400)))
    life.live(10)
    life.live(26 * 3600)
    (hold,) = life.snapshot().holds
    assert hold.in_force
    assert "old_hold" not in held(life)


def test_a_hold_that_was_forgotten_is_warned_of_after_a_day(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Too many audits"))
    hours = DAY // HOUR
    life.live((hours - 1) * 3600)
    assert "old_hold" not in held(life)
    life.live(2 * 3600)
    (signal,) = [s for s in signals(life.look(), LIMITS) if s.name == "old_hold"]
    assert signal.holds
    assert signal.headline == "Held for 25 h: user bob"
    assert "“Too many audits”" in said(signal)


# --- which comes first, and in which words


def test_the_worst_alarm_comes_first(life: Life) -> None:
    life.length = lambda order: None
    life.submit(12)
    life.live(3 * 3600)
    first = verdict(signals(life.look(), LIMITS))
    assert first is not None
    assert first.name == "stuck"
    life.submit(30)
    life.live(17 * 60)
    first = verdict(signals(life.look(), LIMITS))
    assert first is not None
    assert first.name == "pile_up"
    assert verdict([]) is None


def test_instants_are_told_in_the_zone_asked_for(life: Life) -> None:
    pile_up(life)
    (signal,) = [s for s in signals(life.look(), LIMITS, "Asia/Tokyo") if s.name == "pile_up" and s.site]
    assert "since 21:01 Asia/Tokyo" in said(signal)


def test_a_store_at_rest_is_judged_as_it_was_left(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-3", "offline"))
    pile_up(life)
    live = signals(life.look(), LIMITS)
    at_rest = signals(look(life.rest()), LIMITS)
    assert at_rest == live
    assert verdict(at_rest) is not None
