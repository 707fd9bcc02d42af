"""Ramps after a resume and caps on a user's running tasks: who starts when, what he waits for, and what is written."""

from __future__ import annotations

import pytest

from engine import live
from engine import messages as m
from engine.clock import SECOND
from engine.lifecycle import Kind
from engine.pausing import Release
from engine.snapshot import Publisher
from engine.usual import Drain
from tests.desk import PROCESSOR, SITE, Desk

AUDIT = Kind.AUDIT
AUDITS = m.AddService(*SITE, "audits", "audit_service", 20)


def resumed(
    rate: int | None, waiting: int = 5, services: tuple[m.AddService, ...] = (AUDITS, PROCESSOR)
) -> tuple[Desk, list[int]]:
    """Pause bob, who has so many waiting audits, and resume him a minute later."""
    desk = Desk(*services)
    hold = desk.hold("user", "bob")
    tasks = desk.submit_all([(AUDIT, "bob", {})] * waiting)
    desk.wait(60, m.LiftHolds([hold], "go on", rate))
    return desk, tasks


def let_pass(desk: Desk, seconds: float) -> None:
    """Take four steps a second, as an idle engine does."""
    for _ in range(round(seconds * 4)):
        desk.wait(0.25, m.Heartbeat("acme", ["audits"]))


def starts(desk: Desk, tasks: list[int]) -> list[float]:
    return [desk.happened(task, "claim") for task in tasks if desk.events(task, "claim")]


def test_without_a_rate_all_go_at_once() -> None:
    desk, tasks = resumed(None)
    assert len(set(starts(desk, tasks))) == 1
    assert len(starts(desk, tasks)) == 5


def test_with_a_rate_one_goes_at_once_and_the_others_at_its_pace() -> None:
    desk, tasks = resumed(30)
    at = desk.at
    assert starts(desk, tasks) == [at]
    assert {desk.cause(task) for task in tasks[1:]} == {"throttled"}
    let_pass(desk, 20)
    assert starts(desk, tasks) == [at, at + 2, at + 4, at + 6, at + 8]


def test_a_ramp_ends_by_itself_when_all_that_waited_has_gone_and_newcomers_wait_no_longer() -> None:
    desk, tasks = resumed(30)
    (new,) = desk.submit_all([(AUDIT, "bob", {})])
    assert desk.cause(new) == "throttled"
    let_pass(desk, 6.5)
    assert desk.cause(new) == "throttled"
    let_pass(desk, 1.5)
    assert len(starts(desk, tasks)) == 5
    assert desk.events(new, "claim")
    assert not desk.core.queues.throttles
    assert [e.event for e in desk.rows.throttle_event][-1:] == ["ended"]
    assert desk.rows.throttle_event[-1].reason == "released"


def test_somebody_lets_all_go_before() -> None:
    desk, tasks = resumed(1)
    (ramp,) = desk.core.queues.throttles
    desk.wait(5, m.EndRamps([ramp, 77], "enough"))
    assert desk.outcomes[-1] == m.Outcome([ramp], [(77, "already ended")])
    assert starts(desk, tasks)[1:] == [desk.at] * 4
    assert [(a.action, a.object_kind, a.outcome) for a in desk.rows.audit[-2:]] == [
        ("release", "ramp", "changed"), ("release", "ramp", "already ended")
    ]  # fmt: skip


def test_a_hold_over_all_of_it_ends_a_ramp_and_one_over_a_part_does_not() -> None:
    desk, _ = resumed(1)
    desk.hold("kind", "scan")
    assert desk.core.queues.throttles
    desk.hold("kind", "audit")
    assert not desk.core.queues.throttles
    assert desk.rows.throttle_event[-1].reason == "held"


def test_others_are_not_slowed_down() -> None:
    desk, _ = resumed(1)
    (other,) = desk.submit_all([(AUDIT, "ann", {})])
    assert desk.happened(other, "claim") == desk.at


def test_what_another_hold_kept_too_is_not_under_the_ramp_when_that_is_lifted() -> None:
    desk = Desk(AUDITS, PROCESSOR, m.AddService(*SITE, "zone", "hosted_zone", 9))
    of_bob, of_imports = desk.hold("user", "bob"), desk.hold("kind", "import")
    tasks = desk.submit_all([(kind, "bob", {}) for kind in (AUDIT, AUDIT, Kind.IMPORT, Kind.IMPORT)])
    desk.wait(1, m.LiftHolds([of_bob], rate=1))
    assert [desk.cause(task) for task in tasks[1:]] == ["throttled", "hold", "hold"]
    desk.wait(1, m.LiftHolds([of_imports]))
    assert [bool(desk.events(task, "claim")) for task in tasks] == [True, False, True, True]


def test_a_pause_of_the_machine_makes_no_burst() -> None:
    desk, tasks = resumed(60)
    desk.at += 3600
    desk.step(desk.alive(), down_from=desk.at - 3590)
    assert len(starts(desk, tasks)) == 2
    assert desk.rows.throttle_event[-2].occurred_at < desk.rows.throttle_event[-1].occurred_at


def test_the_console_being_down_comes_before_a_ramp_and_after_a_hold() -> None:
    desk, tasks = resumed(1, waiting=2)
    began = desk.at
    desk.at += 100
    desk.step(desk.alive(), down_from=began + 10)
    waited = desk.events(tasks[1], "claim")[0].detail
    assert waited is not None
    assert waited["waited"] == {"hold": 60 * SECOND, "throttled": 10 * SECOND, "console": 90 * SECOND}


@pytest.mark.parametrize(("down", "next_after"), [(0, 15), (30, 35)])
def test_a_ramp_goes_on_after_a_restart_with_one_token_at_most(down: int, next_after: int) -> None:
    desk, tasks = resumed(4, services=(m.AddService(*SITE, "audits", "audit_service", 20, executor="cluster"),))
    began = desk.at
    let_pass(desk, 5)
    desk.restart(down)
    let_pass(desk, 65)
    expected = [began, *(began + next_after + 15 * n for n in range(4))]
    assert starts(desk, tasks) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("rate", [0, -1, 601])
def test_a_rate_that_is_none_is_refused_and_nothing_is_lifted(rate: int) -> None:
    desk = Desk(AUDITS)
    hold = desk.hold("user", "bob")
    desk.wait(1, m.LiftHolds([hold], None, rate))
    assert desk.outcomes[-1].refused == "Tasks are released gradually at 1 to 600 a minute"
    assert hold in desk.core.state.holds


def test_a_resume_that_releases_nothing_begins_no_ramp() -> None:
    desk = Desk(AUDITS)
    desk.wait(1, m.LiftHolds([desk.hold("user", "bob")], None, 5))
    assert not desk.rows.throttle_event


# --- caps


def cap(desk: Desk, at_most: int, user: str = "bob") -> None:
    desk.wait(1, m.SetCap("acme", user, at_most, "his share"))
    assert desk.outcomes[-1].refused is None, desk.outcomes[-1].refused


def running(desk: Desk, owner: str = "bob") -> int:
    return sum(task.lease is not None and task.owner == owner for task in desk.core.state.tasks.values())


def test_at_most_the_cap_runs_also_when_several_places_claim_in_one_step() -> None:
    desk = Desk(AUDITS, PROCESSOR, m.AddService(*SITE, "zone", "hosted_zone", 9))
    cap(desk, 3)
    tasks = desk.submit_all([(kind, "bob", {}) for kind in (AUDIT, Kind.IMPORT, Kind.REPORT) for _ in range(3)])
    assert running(desk) == 3
    assert sorted(desk.cause(task) for task in tasks if not desk.events(task, "claim")) == ["throttled"] * 6


def test_a_freed_slot_lets_the_next_one_go_in_the_same_step_and_processing_counts_too() -> None:
    desk = Desk(AUDITS, PROCESSOR)
    cap(desk, 1)
    first, second = desk.submit_all([(AUDIT, "bob", {}), (AUDIT, "bob", {})])
    assert desk.cause(second) == "throttled"
    desk.wait(1, desk.collected(first))
    assert running(desk) == 1
    assert desk.happened(second, "claim") == desk.at or desk.happened(first, "process") == desk.at


def test_a_cap_lower_than_what_runs_stops_nothing() -> None:
    desk = Desk(AUDITS, PROCESSOR)
    tasks = desk.submit_all([(AUDIT, "bob", {})] * 4)
    cap(desk, 2)
    assert running(desk) == 4
    (waits,) = desk.submit_all([(AUDIT, "bob", {})])
    desk.wait(1, m.Failed(tasks[0], desk.lease(tasks[0]), "error", "no"), m.Failed(tasks[1], desk.lease(tasks[1]),
                                                                                   "error", "no"))  # fmt: skip
    assert desk.cause(waits) == "throttled"
    desk.wait(1, m.Failed(tasks[2], desk.lease(tasks[2]), "error", "no"))
    assert desk.happened(waits, "claim") == desk.at


def test_a_cap_is_changed_and_removed_and_all_of_it_is_audited() -> None:
    desk = Desk(AUDITS, PROCESSOR)
    cap(desk, 1)
    tasks = desk.submit_all([(AUDIT, "bob", {})] * 5)
    cap(desk, 3)
    assert running(desk) == 3
    desk.wait(1, m.RemoveCap("acme", "bob", "he may"))
    assert running(desk) == 5
    assert not desk.core.queues.caps
    assert {e.object_id for e in desk.rows.audit if e.action == "cap"} == {"bob"}
    changes = [(a.action, a.before, a.after, a.reason) for a in desk.rows.audit if a.action in ("cap", "uncap")]
    assert changes == [
        ("cap", None, {"at_most": 1}, "his share"), ("cap", {"at_most": 1}, {"at_most": 3}, "his share"),
        ("uncap", {"at_most": 3}, None, "he may"),
    ]  # fmt: skip
    assert tasks


def test_others_of_the_business_and_the_same_user_elsewhere_are_not_capped() -> None:
    desk = Desk(AUDITS, PROCESSOR)
    desk.step(m.AddBusiness("globex"), m.AddSite("globex", "berlin"),
              m.AddService("globex", "berlin", "theirs", "audit_service", 9))  # fmt: skip
    cap(desk, 1)
    desk.submit_all([(AUDIT, "ann", {})] * 3)
    desk.wait(1, m.Submit([m.NewTask("globex", "berlin", AUDIT, "task", "bob", "bob")] * 3))
    assert (running(desk, "ann"), running(desk)) == (3, 3)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (m.SetCap("acme", "bob", 0, ""), "to stop all, pause the user"),
        (m.SetCap("acme", "System", 3, ""), "System tasks can't be capped"),
        (m.SetCap("acme", "", 3, ""), "A cap needs a user"),
        (m.RemoveCap("acme", "bob"), "There is no cap on bob"),
    ],
)
def test_what_is_no_cap_is_refused(action: m.Action, said: str) -> None:
    desk = Desk(AUDITS)
    desk.step(action)
    assert said in (desk.outcomes[-1].refused or "")
    assert not desk.rows.throttle_event


def test_a_cap_holds_after_a_restart() -> None:
    desk = Desk(m.AddService(*SITE, "audits", "audit_service", 20, executor="cluster"), PROCESSOR)
    cap(desk, 2)
    desk.submit_all([(AUDIT, "bob", {})] * 5)
    desk.restart(10)
    desk.wait(10)
    assert running(desk) == 2


# --- what is written


def test_no_task_row_is_written_when_many_are_held_lifted_and_released_gradually() -> None:
    desk = Desk(PROCESSOR)  # nobody is there to start them
    tasks = desk.submit_all([(AUDIT, f"user {n % 50}", {}) for n in range(2_000)])
    assert len(tasks) == 2_000

    def written(action: m.Action) -> tuple[int, int, int]:
        desk.at += 1
        step = desk.step(action)
        shifted = sum(shift.n for shift in step.rows.queue_shift)
        return len(step.rows.task_event) + len(step.rows.task_done), len(step.touched), shifted

    assert written(m.PlaceHolds("acme", [m.HoldTarget("kind", "audit")], "quiet")) == (0, 0, 2_000)
    (hold,) = desk.core.state.holds
    assert written(m.LiftHolds([hold])) == (0, 0, 2_000)
    assert written(m.PlaceHolds("acme", [m.HoldTarget("kind", "audit")], "quiet")) == (0, 0, 2_000)
    (hold,) = desk.core.state.holds
    assert written(m.LiftHolds([hold], rate=30)) == (0, 0, 2_000)
    (ramp,) = desk.core.queues.throttles
    assert desk.core.queues.throttles[ramp].left == 2_000
    assert written(m.EndRamps([ramp]))[:2] == (0, 0)


# --- what is estimated


@pytest.mark.parametrize(
    ("drain", "rate", "told"),
    [
        (Drain("about", 60.0, "9 slots"), 10, Drain("about", 180.0, "10 a minute")),
        (Drain("about", 600.0, "9 slots"), 10, Drain("about", 600.0, "9 slots")),
        (Drain("unknown", None, "No such task has ended"), 10, Drain("at least", 180.0, "10 a minute")),
        (Drain("does not", None, "No slot is online"), 10, Drain("does not", None, "No slot is online")),
    ],
)
def test_a_gradual_release_is_told_to_take_its_time_and_no_less_than_one_without(
    drain: Drain, rate: int, told: Drain
) -> None:
    assert Release(31, 2, [], drain).paced(rate) == told


def test_a_snapshot_tells_of_ramps_and_caps_and_of_whom_they_keep() -> None:
    desk, tasks = resumed(30)
    cap(desk, 2, "ann")
    desk.submit_all([(AUDIT, "ann", {})] * 3)
    found = Publisher(desk.core).current
    ramp, capped = found.throttles
    assert (ramp.rate, ramp.actor, ramp.over, ramp.left) == (30, "ann", (("acme", None, "user", "bob"),), 3)
    assert (capped.owner, capped.at_most, capped.running, capped.reason) == ("ann", 2, 2, "his share")
    kept = {queue: found.throttled[queue] for queue, (cause, _) in found.queues.items() if cause == "throttled"}
    assert sorted(kept.values()) == [ramp.throttle_id, capped.throttle_id]
    why = live.rows(found, "acme", tasks[-1:])["why"].item()
    assert why == "Released gradually after a resume by ann: 30 a minute, no. 3 of 4"
