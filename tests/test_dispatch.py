"""Who waits for what, and who goes next."""

from __future__ import annotations

import pytest

from engine import messages as m
from engine.clock import SECOND
from engine.deciding import Policy
from engine.lifecycle import Cause, Kind
from tests.desk import EXPLORER, PROCESSOR, SITE, START, Desk

SCAN, CONNECTOR, REPORT = Kind.SCAN, Kind.CONNECTOR, Kind.REPORT


def test_an_explorer_runs_one_scan_while_connectors_use_its_other_slots() -> None:
    desk = Desk(EXPLORER)
    scans = [desk.submit(SCAN) for _ in range(2)]
    connectors = [desk.submit(CONNECTOR) for _ in range(3)]
    assert desk.started() == [scans[0], *connectors[:2]]
    assert desk.cause(scans[1]) is Cause.EXCLUSIVE
    assert desk.cause(connectors[2]) is Cause.CAPACITY
    desk.wait(1, desk.collected(connectors[0]))
    assert desk.started()[-1] == connectors[2], "the slot of a connector is no slot for a scan"
    desk.wait(1, desk.collected(scans[0]))
    assert desk.started()[-1] == scans[1]


def test_higher_priority_goes_first_then_who_queued_first() -> None:
    desk = Desk(EXPLORER)
    first = desk.submit(SCAN)
    low, early, late, high = (desk.submit(SCAN, priority=priority) for priority in (2, 5, 5, 8))
    for task in (first, high, early, late):
        desk.wait(1, desk.collected(task))
    assert desk.started() == [first, high, early, late, low]


def test_a_task_submitted_for_later_queues_when_it_is_due() -> None:
    desk = Desk(EXPLORER)
    first = desk.submit(SCAN)
    later = desk.submit(SCAN, due_at=desk.core.state.last + 20_000_000)
    desk.wait(5)
    sooner = desk.submit(SCAN)
    desk.wait(30)
    for task in (first, sooner):
        desk.wait(1, desk.collected(task))
    assert desk.started() == [first, sooner, later]


def test_fair_share_serves_owners_in_turn_within_a_priority() -> None:
    desk = Desk(EXPLORER, policy=Policy(fair_share=True))
    busy = desk.submit(SCAN, "dora")
    ann = [desk.submit(SCAN, "ann") for _ in range(3)]
    bob = [desk.submit(SCAN, "bob") for _ in range(2)]
    urgent = desk.submit(SCAN, "ann", priority=9)
    for _ in range(7):
        desk.wait(1, desk.collected(desk.started()[-1]))
    assert desk.started() == [busy, urgent, bob[0], ann[0], bob[1], ann[1], ann[2]]


def test_with_fair_share_nobody_gets_a_second_turn_by_asking_for_a_service() -> None:
    desk = Desk(EXPLORER, policy=Policy(fair_share=True))
    busy = desk.submit(SCAN, "dora")
    anns = [desk.submit(SCAN, "ann") for _ in range(2)]
    asking = [desk.submit(SCAN, "ann", requested_service="explorer") for _ in range(2)]
    bobs = [desk.submit(SCAN, "bob") for _ in range(4)]
    for _ in range(8):
        desk.wait(1, desk.collected(desk.started()[-1]))
    assert desk.started() == [busy, anns[0], bobs[0], anns[1], bobs[1], asking[0], bobs[2], asking[1], bobs[3]]


def test_without_fair_share_an_owner_with_many_tasks_is_served_before_a_later_one() -> None:
    desk = Desk(EXPLORER)
    ann = [desk.submit(SCAN, "ann") for _ in range(3)]
    bob = desk.submit(SCAN, "bob")
    for _ in range(3):
        desk.wait(1, desk.collected(desk.started()[-1]))
    assert desk.started() == [*ann, bob]


def test_a_task_that_asks_for_a_service_waits_for_it_though_another_is_free() -> None:
    desk = Desk(m.AddService(*SITE, "one", "explorer", 2), m.AddService(*SITE, "two", "explorer", 2))
    first = desk.submit(SCAN, requested_service="two")
    second = desk.submit(SCAN, requested_service="two")
    assert desk.started() == [first]
    assert desk.cause(second) is Cause.EXCLUSIVE
    desk.wait(1, m.SetService("acme", "two", state="draining"))
    assert desk.cause(second) is Cause.OFFLINE
    desk.wait(1, m.Edit(second, 1, {"requested_service": None}))
    assert desk.task(second).service == "one"


def test_the_least_loaded_service_takes_it_ties_by_name() -> None:
    small, large = m.AddService("acme", None, "a", "processor", 2), m.AddService("acme", None, "b", "processor", 4)
    desk = Desk(small, large)
    tasks = [desk.submit(REPORT) for _ in range(6)]
    assert [desk.task(task).processor for task in tasks] == ["a", "b", "b", "a", "b", "b"]


def test_processors_serve_results_and_system_tasks_from_one_queue() -> None:
    desk = Desk(EXPLORER, m.AddService("acme", None, "processor", "processor", 1))
    running = desk.submit(REPORT)
    scan = desk.submit(SCAN)
    desk.wait(1, desk.collected(scan))
    later = desk.submit(REPORT)
    assert desk.cause(scan) is desk.cause(later) is Cause.CAPACITY
    desk.wait(1, desk.finished(running))
    assert desk.started()[-1] == scan, "its result was queued before the report"


def test_a_rescued_task_keeps_its_place_in_the_queue() -> None:
    desk = Desk(EXPLORER)
    first, second = desk.submit(SCAN), desk.submit(SCAN)
    desk.wait(1, m.SetService("acme", "explorer", state="offline"))
    desk.wait(1, m.SetService("acme", "explorer", state="online"))
    assert desk.started() == [first, first]
    desk.wait(1, desk.collected(first))
    assert desk.started()[-1] == second


def test_a_changed_priority_moves_a_waiting_task() -> None:
    desk = Desk(EXPLORER)
    running, first, second, third = (desk.submit(SCAN) for _ in range(4))
    desk.wait(1, m.Edit(third, 1, {"priority": 8}), m.Edit(first, 1, {"priority": 1}))
    for task in (running, third, second):
        desk.wait(1, desk.collected(task))
    assert desk.started() == [running, third, second, first]


def test_a_held_user_s_tasks_let_others_pass() -> None:
    desk = Desk(EXPLORER)
    running, held, other = desk.submit(SCAN), desk.submit(SCAN, "bob"), desk.submit(SCAN, "cid")
    hold = desk.hold("user", "bob")
    desk.wait(1, desk.collected(running))
    assert desk.started() == [running, other]
    desk.wait(1, m.LiftHolds([hold]))
    assert desk.cause(held) is Cause.EXCLUSIVE
    desk.wait(1, desk.collected(other))
    assert desk.started()[-1] == held


def test_a_hold_shifts_all_that_wait_in_one_row_per_kind_and_queue() -> None:
    desk = Desk(EXPLORER)
    desk.submit_all([(SCAN, "bob", {})] * 4)
    step = desk.wait(1, m.PlaceHolds("acme", [m.HoldTarget("user", "bob")], "pause"))
    assert [(s.kind, s.queue, s.from_cause, s.to_cause, s.n) for s in step.rows.queue_shift] == [
        ("scan", "collect", "exclusive", "hold", 3)
    ]
    step = desk.wait(1, m.LiftHolds(list(desk.core.state.holds)))
    assert [(s.from_cause, s.to_cause, s.n) for s in step.rows.queue_shift] == [("hold", "exclusive", 3)]


def test_reduced_slots_end_nothing_and_start_nothing() -> None:
    desk = Desk(PROCESSOR)
    tasks = [desk.submit(REPORT) for _ in range(3)]
    desk.wait(1, m.SetService("acme", "processor", slots=1))
    desk.wait(1, desk.finished(tasks[0]))
    assert desk.started() == tasks[:2]
    desk.wait(1, desk.finished(tasks[1]))
    assert desk.started() == tasks


@pytest.mark.parametrize(
    ("kind", "service"),
    [(Kind.SCAN, PROCESSOR), (Kind.REPORT, EXPLORER), (Kind.AUDIT, EXPLORER), (Kind.IMPORT, EXPLORER)],
)
def test_what_no_service_could_run_waits_as_offline(kind: Kind, service: m.AddService) -> None:
    desk = Desk(service)
    assert desk.cause(desk.submit(kind)) is Cause.OFFLINE


def test_overlapping_holds_count_once_and_the_oldest_is_named() -> None:
    desk = Desk(EXPLORER)
    desk.submit(SCAN)
    waiting = desk.submit(SCAN, "bob")
    late = (desk.core.state.last // 1_000_000 + 30) * 1_000_000
    targets = [m.HoldTarget("user", "bob")]
    desk.wait(1, m.PlaceHolds("acme", targets, "later", from_at=late))
    oldest = desk.hold("kind", "scan")
    desk.wait(60)
    queue = desk.core.queues.waiting[waiting].queue
    assert [hold.id for hold in queue.holds][:1] == [oldest]
    assert len(queue.holds) == 2
    desk.wait(1, m.LiftHolds([oldest]))
    assert desk.cause(waiting) is Cause.HOLD


def test_of_holds_that_begin_together_the_same_one_is_named_after_a_restart() -> None:
    desk = Desk(EXPLORER)
    desk.submit(SCAN)
    waiting = desk.submit(SCAN, "bob")
    together = START + 30 * SECOND
    desk.wait(1, m.PlaceHolds("acme", [m.HoldTarget("user", "bob")], "later", from_at=together))
    desk.wait(1, m.PlaceHolds(None, [m.HoldTarget("kind", "scan")], "later", from_at=together))
    desk.wait(60)
    named = [hold.id for hold in desk.core.queues.waiting[waiting].queue.holds]
    desk.restart()
    assert [hold.id for hold in desk.core.queues.waiting[waiting].queue.holds] == named
