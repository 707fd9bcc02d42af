"""What people may rely on, one sentence each, on the real core with a clock moved by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import messages as m
from engine.clock import HOUR, SECOND, Reading
from engine.core import Core, answers_from
from engine.deciding import Policy
from engine.ledger import Audit
from engine.lifecycle import EXTERNAL, Cause, Kind, Status, own_name
from engine.recurrence import Rule
from tests.desk import CLUSTER, EXPLORER, PROCESSOR, SITE, START, Desk

SCAN, CONNECTOR, REPORT = Kind.SCAN, Kind.CONNECTOR, Kind.REPORT
MINUTELY = Rule.cron_rule("* * * * *", "UTC")


def schedule(on_hold: str = "skip", rule: Rule = MINUTELY) -> m.CreateSchedule:
    spec = m.ScheduleSpec("nightly", *SITE, SCAN, rule, "ann", on_hold=on_hold)
    return m.CreateSchedule(spec)


# --- a life


def test_a_scan_goes_from_new_to_processed_and_its_row_tells_all_of_it() -> None:
    desk = Desk(EXPLORER, PROCESSOR)
    scan = desk.submit(SCAN)
    desk.wait(9, desk.collected(scan))
    desk.wait(4, m.Finished(scan, desk.lease(scan), errors=2, changes=(1, 2, 3, 4, 5)))
    assert [e.event for e in desk.events(scan)] == ["submit", "claim", "collected", "hand_over", "process", "finish"]
    row = desk.row(scan)
    assert (row.status, row.outcome, row.errors) == (Status.PROCESSED, "finished_with_errors", 2)
    assert (row.service, row.processor, row.wait_s, row.run_s, row.process_s) == (
        "explorer", "processor", 0, 9 * SECOND, 4 * SECOND,
    )  # fmt: skip
    assert (row.assets_new, row.assets_offline) == (1, 5)


def test_a_system_task_is_processed_without_being_collected() -> None:
    desk = Desk(PROCESSOR)
    report = desk.submit(REPORT)
    desk.wait(3, desk.finished(report))
    assert [e.event for e in desk.events(report)] == ["submit", "claim", "finish"]
    assert (desk.row(report).run_s, desk.row(report).process_s) == (None, 3 * SECOND)


# --- waits


def test_a_wait_under_overlapping_holds_and_a_console_that_was_down_adds_up() -> None:
    desk = Desk(EXPLORER)
    running = desk.submit(SCAN)
    waiting = desk.submit(SCAN, "bob")
    desk.wait(10 - 1)
    desk.hold("user", "bob", until=desk.at + 21)  # from 10 to 30 s after it queued
    desk.wait(10 - 1)
    desk.hold("kind", "scan", until=desk.at + 31)  # from 20 to 50
    desk.wait(40)  # to 60
    assert desk.cause(waiting) is Cause.EXCLUSIVE
    desk.at += 40
    desk.step(desk.alive(), down_from=desk.at - 30)  # down from 70 to 100
    desk.wait(10, desk.collected(running))  # to 110
    row = desk.task(waiting).row()
    assert (row.wait_hold_s, row.wait_console_s, row.wait_exclusive_s) == (40 * SECOND, 30 * SECOND, 40 * SECOND)
    assert row.wait_s == 110 * SECOND


def test_why_is_it_waiting() -> None:
    desk = Desk(m.AddService(*SITE, "explorer", "explorer", 2))
    assert desk.cause(desk.submit(Kind.AUDIT)) is Cause.OFFLINE
    desk.submit(SCAN), desk.submit(CONNECTOR)
    scan, connector = desk.submit(SCAN), desk.submit(CONNECTOR)
    assert (desk.cause(scan), desk.cause(connector)) == (Cause.EXCLUSIVE, Cause.CAPACITY)
    desk.hold("user", "ann")
    assert desk.cause(scan) is Cause.HOLD
    desk.wait(1, m.LiftHolds(list(desk.core.state.holds)), m.SetService("acme", "explorer", state="draining"))
    assert desk.cause(scan) is Cause.OFFLINE


def test_a_due_time_bears_its_nominal_instant_however_late_it_is_told() -> None:
    desk = Desk(EXPLORER)
    before = desk.submit(SCAN, due_at=START + 5 * SECOND)
    within = desk.submit(SCAN, due_at=START + 60 * SECOND)
    desk.at = 100
    desk.step(desk.alive(), down_from=8)
    assert (desk.happened(before, "due"), desk.happened(within, "due")) == (5, 60)
    assert [desk.events(task, "due")[0].cause for task in (before, within)] == ["exclusive", "console"]


# --- holds


def test_a_held_user_s_new_task_is_paused_by_itself() -> None:
    desk = Desk(EXPLORER)
    desk.hold("user", "bob")
    task = desk.submit(SCAN, "bob")
    assert desk.started() == []
    assert desk.core.queues.waiting[task].queue.holds[0].target == "bob"
    assert desk.events(task)[0].cause == Cause.HOLD


def test_resume_lifts_what_was_listed_and_nothing_placed_meanwhile() -> None:
    desk = Desk(EXPLORER)
    listed = desk.hold("user", "bob")
    meanwhile = desk.hold("user", "bob")
    desk.wait(1, m.LiftHolds([listed]))
    assert list(desk.core.state.holds) == [meanwhile]
    task = desk.submit(SCAN, "bob")
    assert desk.cause(task) is Cause.HOLD
    desk.wait(1, m.LiftHolds([listed, meanwhile]))
    assert desk.outcomes[-1] == m.Outcome([meanwhile], [(listed, "already ended")])


def test_a_hold_ends_by_itself_at_its_instant() -> None:
    desk = Desk(EXPLORER)
    desk.hold("user", "bob", until=30)
    task = desk.submit(SCAN, "bob")
    desk.wait(45)
    assert desk.rows.hold_event[-1].event == "expired"
    assert desk.rows.hold_event[-1].occurred_at == START + 30 * SECOND
    assert desk.happened(task, "claim") >= 30


def test_suspending_frees_the_slot_on_confirmation_only() -> None:
    desk = Desk(EXPLORER)
    bob, ann = desk.submit(SCAN, "bob"), desk.submit(SCAN, "ann")
    desk.hold("user", "bob", suspend=True)
    desk.wait(20)
    assert desk.started() == [bob], "asked, not confirmed"
    desk.wait(1, m.Suspended(bob, desk.lease(bob), 0.4))
    assert desk.started() == [bob, ann]
    assert (desk.task(bob).status, desk.cause(bob)) == (Status.NEW, Cause.HOLD)
    desk.wait(1, m.LiftHolds(list(desk.core.state.holds)), desk.collected(ann))
    order = desk.orders[-1]
    assert isinstance(order, m.StartOrder)
    assert (order.task_id, order.checkpoint) == (bob, 0.4)


def test_a_request_to_suspend_lapses_unanswered_and_a_late_checkpoint_still_counts() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN, "bob")
    desk.hold("user", "bob", suspend=True)
    desk.wait(61)
    assert desk.events(task)[-1].reason == "not_answered"
    desk.wait(5, m.Suspended(task, desk.lease(task), 0.9))
    assert desk.task(task).status is Status.NEW


def test_each_request_to_suspend_has_its_own_deadline() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN, "bob")
    first = desk.hold("user", "bob", suspend=True)
    desk.wait(50, m.LiftHolds([first]))
    second = desk.hold("user", "bob", suspend=True)
    desk.wait(15)
    assert desk.task(task).suspend == second, "the first one's deadline is none of its business"
    desk.wait(50)
    assert desk.task(task).suspend is None


def test_a_request_taken_over_by_another_hold_lapses_too() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN, "bob")
    first = desk.hold("user", "bob", suspend=True)
    second = desk.hold("kind", "scan", suspend=True)
    desk.wait(30, m.LiftHolds([first]))
    assert desk.task(task).suspend == second
    desk.wait(70)
    assert desk.task(task).suspend is None


def test_system_tasks_are_held_by_type_only() -> None:
    desk = Desk(PROCESSOR)
    desk.wait(1, m.PlaceHolds("acme", [m.HoldTarget("user", "System")], "pause"))
    assert "by their type" in str(desk.outcomes[-1].refused)


def test_a_hold_over_a_schedule_whose_id_only_looks_like_a_number_is_refused() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, m.PlaceHolds("acme", [m.HoldTarget("schedule", "²")], "pause"))
    assert "schedule" in str(desk.outcomes[-1].refused)


# --- expiry


def test_the_longest_wait_leaves_out_the_time_under_a_hold() -> None:
    desk = Desk()
    task = desk.submit(SCAN, "bob", longest_wait_s=30)
    desk.wait(9)
    desk.hold("user", "bob", until=desk.at + 41)  # from 10 to 50 s after it queued
    desk.wait(100)
    row = desk.row(task)
    assert (row.status, row.reason) == (Status.CANCELED, "expired")
    assert (row.finished_at or 0) - row.created_at == 70 * SECOND
    assert (row.wait_s, row.wait_hold_s) == (70 * SECOND, 40 * SECOND)


# --- stops


def test_a_stop_that_nobody_confirms_fails_and_its_service_gets_nothing_until_it_reports() -> None:
    desk = Desk(EXPLORER)
    task, other = desk.submit(SCAN), desk.submit(SCAN)
    lease = desk.lease(task)
    desk.wait(1, m.Stop([task]))
    for _ in range(6):  # alive, but for the executor to say so would clear it
        desk.at += 10
        desk.step()
    assert (desk.row(task).status, desk.row(task).reason) == (Status.CANCELED, "stop_not_confirmed")
    assert desk.cause(other) is Cause.OFFLINE
    desk.wait(1, m.StopConfirmed(task, lease))
    assert desk.rows.service_event[-1].event == "stale_report"
    assert desk.task(other).status is Status.ACTIVE


def test_what_finishes_after_the_stop_was_asked_for_is_stopped_and_keeps_its_result() -> None:
    desk = Desk(PROCESSOR)
    task = desk.submit(REPORT)
    desk.wait(1, m.Stop([task]))
    desk.wait(1, desk.finished(task))
    row = desk.row(task)
    assert (row.status, row.outcome, row.reason) == (Status.STOPPED, "finished", "finished_before_stop")


def test_a_report_under_an_old_lease_changes_nothing_and_is_logged() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN)
    old = desk.collected(task)
    desk.wait(1, m.SetService("acme", "explorer", state="offline"))
    desk.wait(1, m.SetService("acme", "explorer", state="online"))
    desk.wait(1, old)
    assert desk.task(task).status is Status.ACTIVE
    assert desk.rows.service_event[-1].detail == {"task_id": task, "lease": old.lease, "report": "collected"}


# --- silence


def test_a_silent_service_loses_its_task_within_45_s_and_the_third_time_it_fails() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN)
    for attempt in (1, 2, 3):
        desk.silent = {"explorer"}
        since = desk.at
        desk.wait(45)
        assert 30 < desk.happened(task, "rescue" if attempt < 3 else "fail") - since <= 45
        desk.silent = set()
        desk.wait(10)
    assert (desk.row(task).reason, desk.row(task).attempt) == ("worker_lost", 3)


def test_a_service_that_never_sent_a_heartbeat_counts_from_its_claim() -> None:
    desk = Desk(CLUSTER)
    task = desk.submit(SCAN)
    desk.wait(45)
    assert desk.events(task, "rescue")[0].reason == "worker_lost"


def test_silence_does_not_count_while_nobody_listens() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN)
    desk.step(desk.alive())
    for _ in range(10):
        desk.at += 10
        desk.step()
    assert desk.task(task).status is Status.ACTIVE, "the executor did not look for 100 s"


# --- restarts


def test_after_a_restart_what_ran_in_process_is_rescued_and_others_get_their_orders_again() -> None:
    desk = Desk(EXPLORER, CLUSTER)
    near, far = desk.submit(SCAN), desk.submit(SCAN)
    lease = desk.lease(far)
    step = desk.restart(20)
    (rescue,) = [e for e in step.rows.task_event if e.event == "rescue"]
    assert (rescue.task_id, rescue.reason, rescue.attempt) == (near, "console_restarted", 0)
    assert [o.lease for o in step.orders if isinstance(o, m.StartOrder) and o.task_id == far] == [lease]
    desk.wait(1, m.Collected(far, lease))
    assert desk.task(far).status is Status.PROCESSING_QUEUED


def test_a_repeated_request_gets_the_same_outcome_also_after_a_restart() -> None:
    desk = Desk(EXPLORER)
    submit = m.Submit([m.NewTask(*SITE, SCAN, "task", "ann", "ann") for _ in range(3)])
    for _ in range(2):
        desk.step(submit, request="click")
    desk.restart(5)
    desk.step(submit, request="click")
    first, *others = desk.outcomes[-3:]
    assert all(list(other.changed) == list(first.changed) for other in others)
    assert len(desk.core.state.tasks) == 3


def test_what_comes_under_the_id_of_another_request_is_no_repeat_of_it() -> None:
    desk = Desk(EXPLORER)
    new = m.NewTask(*SITE, SCAN, "task", "ann", "ann")
    desk.step(m.Submit([new]), request="click")
    desk.step(m.Submit([new._replace(target="another")]), request="click")
    desk.step(m.AddSite("acme", "oslo"), request="click")
    desk.step(m.Submit([new]), request="click", actor="bob")
    desk.step(m.RefreshWidget(*SITE, EXTERNAL), request="widget")
    desk.step(m.StartReport(*SITE, EXTERNAL), request="widget")
    assert "for something else" in str(desk.outcomes.pop().refused)
    desk.outcomes.pop()
    assert ["for something else" in str(outcome.refused) for outcome in desk.outcomes[-3:]] == [True] * 3
    desk.restart(5)
    desk.step(m.Submit([new]), request="click", actor="bob")
    assert "for something else" in str(desk.outcomes[-1].refused)
    desk.step(m.Submit([new]), request="click")
    assert desk.outcomes[-1].changed
    assert len(desk.core.state.tasks) == 2, "and the widget's refresh"


def test_what_was_refused_is_decided_anew_when_it_is_asked_for_otherwise() -> None:
    desk = Desk(EXPLORER)
    new = m.NewTask(*SITE, SCAN, "task", "ann", "ann")
    for priority in (11, 11, 7, 7):
        desk.step(m.Submit([new._replace(priority=priority)]), request="click")
    first, again, mended, twice = desk.outcomes[-4:]
    assert first.refused == again.refused is not None
    assert mended == twice
    assert [task.priority for task in desk.core.state.tasks.values()] == [7]


def test_answers_are_read_back_as_they_were_given() -> None:
    desk = Desk(EXPLORER)
    desk.step(m.AddSite("acme", "2026"), request="digits")
    held = desk.hold("user", "bob")
    desk.step(m.LiftHolds([held]), request="lift")
    desk.step(m.LiftHolds([held]), request="late")
    desk.step(m.NoteDrill("start", "surge", "acme", "berlin", {"tasks": 120}), request="drill")
    desk.step(m.NoteSetting("silence_s", {"value": 30}, {"value": 45}), request="setting")
    answers = {request: outcome for request, (_, outcome) in answers_from(desk.rows.audit).items()}
    assert list(answers["digits"].changed) == ["2026"]
    assert list(answers["lift"].changed) == [held]
    assert list(answers["late"].skipped) == [(held, "already ended")]
    assert list(answers["drill"].changed) == ["surge"]
    assert list(answers["setting"].changed) == ["silence_s"]


def test_a_request_is_forgotten_after_ten_minutes() -> None:
    desk = Desk(EXPLORER)
    desk.step(m.AddSite("acme", "oslo"), request="click")
    desk.wait(599)
    desk.step(m.AddSite("acme", "oslo"), request="click")
    assert desk.outcomes[-1].refused is None
    desk.wait(2)
    desk.step(m.AddSite("acme", "oslo"), request="click")
    assert desk.outcomes[-1].refused is not None


def test_a_command_on_a_stopped_console_is_never_earlier_than_what_the_store_knows() -> None:
    desk = Desk(EXPLORER)
    desk.wait(100)
    command = m.Command("cli", "cli:root", m.AddSite("acme", "archive", archive=True))
    step = desk.core.obey(Reading(START - HOUR, 0, START + 200 * SECOND), [command])
    instants = [row.occurred_at for row in step.rows.service_event]
    assert instants == sorted(instants)
    assert instants[0] == START + 200 * SECOND


def test_time_never_goes_back_whatever_the_clock_says() -> None:
    core = Core()
    later = core.step(Reading(START + HOUR, 0), [m.Command("a", "ann", m.AddBusiness("acme"))])
    earlier = core.step(Reading(START, 1), [m.Command("b", "ann", m.AddBusiness("umbra"))])
    assert earlier.now > later.now


# --- deletions and edits


def test_a_deletion_can_be_undone_for_its_own_whole_span() -> None:
    desk = Desk(policy=Policy(undo=60 * SECOND))
    task = desk.submit(SCAN)
    desk.wait(1, m.Delete([task]))
    desk.wait(30, m.Restore([task]))
    desk.wait(10, m.Delete([task]))
    desk.wait(55, m.Restore([task]))  # 95 s after the first deletion, 55 s after the second
    assert list(desk.outcomes[-1].changed) == [task]
    row = desk.task(task).row()
    assert (row.status, row.version, row.queued_at) == (Status.NEW, 3, row.created_at)
    desk.wait(1, m.Delete([task]))
    desk.wait(61, m.Restore([task], {task: desk.row(task)}))
    assert list(desk.outcomes[-1].skipped) == [(task, "too late to undo")]


def test_the_time_that_a_task_was_deleted_is_no_waiting() -> None:
    desk = Desk()
    task = desk.submit(SCAN)
    desk.wait(10, m.Delete([task]))
    desk.wait(20, m.Restore([task]))
    desk.wait(5, m.Stop([task]))
    assert desk.row(task).wait_s == 15 * SECOND


def test_a_running_task_is_not_deleted() -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN)
    desk.wait(1, m.Delete([task]))
    assert desk.outcomes[-1].skipped == [(task, "stop it first")]
    assert desk.task(task).status is Status.ACTIVE


@pytest.mark.parametrize(
    "changes", [{"name": 5}, {"target": ["x"]}, {"scope": 1.5}, {"due_at": 2**63}, {"due_at": "soon"}]
)
def test_an_edit_to_what_could_never_be_stored_is_refused(changes: dict[str, object]) -> None:
    desk = Desk(EXPLORER)
    task = desk.submit(SCAN, due_at=START + 600 * SECOND)
    desk.wait(1, m.Edit(task, 1, changes))
    assert desk.outcomes[-1].refused is not None
    assert desk.task(task).version == 1


def test_an_instant_that_could_never_be_stored_is_refused() -> None:
    desk = Desk(EXPLORER)
    desk.wait(
        1,
        m.Submit([m.NewTask(*SITE, SCAN, "task", "ann", "ann", due_at=2**62)]),
        m.PlaceHolds("acme", [m.HoldTarget("user", "ann")], "pause", until_at=2**62),
    )
    assert all("no instant" in str(outcome.refused) for outcome in desk.outcomes[-2:])


def test_of_two_editors_who_saw_the_same_version_the_second_is_refused() -> None:
    desk = Desk()
    task = desk.submit(SCAN)
    desk.wait(1, m.Edit(task, 1, {"priority": 7}), m.Edit(task, 1, {"priority": 3}))
    assert [outcome.refused is None for outcome in desk.outcomes[-2:]] == [True, False]
    assert desk.task(task).priority == 7


@pytest.mark.parametrize(("kind", "service"), [(SCAN, "audits"), (REPORT, "explorer"), (Kind.AUDIT, "explorer")])
def test_a_task_can_ask_only_for_a_service_that_could_run_it(kind: Kind, service: str) -> None:
    desk = Desk(EXPLORER, m.AddService(*SITE, "audits", "audit_service", 2))
    new = m.NewTask(*SITE, kind, own_name(kind, "task"), "ann", "ann", requested_service=service)
    desk.wait(1, m.Submit([new]))
    assert "can't run" in str(desk.outcomes[-1].refused)


# --- schedules and widgets


def test_after_an_outage_one_run_stands_for_all_that_was_missed() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, schedule())
    desk.restart(10 * 60)
    fires = [(f.outcome, f.reason, f.count) for f in desk.rows.schedule_fire]
    assert fires == [("coalesced", "late", 9), ("fired", None, 1)]
    assert len(desk.core.state.tasks) == 1


def test_at_most_one_run_of_a_schedule_waits() -> None:
    desk = Desk()
    desk.wait(1, schedule())
    desk.wait(5 * 60)
    assert [f.outcome for f in desk.rows.schedule_fire] == ["fired", *["skipped"] * 4]
    assert {f.reason for f in desk.rows.schedule_fire} == {None, "still_waiting"}


def test_a_schedule_under_a_hold_owes_at_most_one_run() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, schedule("queue_one"))
    (schedule_id,) = desk.core.state.schedules
    hold = desk.hold("schedule", str(schedule_id))
    desk.wait(4 * 60)
    assert [(f.outcome, f.reason) for f in desk.rows.schedule_fire] == [("queued", "hold"), *[("skipped", "hold")] * 3]
    desk.wait(1, m.LiftHolds([hold]))
    owed = desk.rows.schedule_fire[-1]
    assert (owed.outcome, owed.reason, owed.count) == ("fired", "held", 0)
    assert owed.nominal_at == desk.rows.schedule_fire[0].nominal_at
    assert desk.started() == [owed.task_id]


def test_a_hold_on_a_removed_schedule_ends_with_it_and_what_it_kept_runs() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, schedule())
    (schedule_id,) = desk.core.state.schedules
    hold = desk.hold("schedule", str(schedule_id))
    desk.wait(1, m.RunNow(schedule_id))
    (task,) = desk.core.state.tasks
    assert desk.cause(task) is Cause.HOLD
    desk.wait(1, m.RemoveSchedule(schedule_id, "no longer needed"))
    assert desk.outcomes[-1].changed == [schedule_id, hold]
    assert not desk.core.state.holds
    assert desk.started() == [task]
    assert [(row.action, row.reason) for row in desk.rows.audit[-2:]] == [
        ("remove", "no longer needed"), ("lift", "no longer needed"),
    ]  # fmt: skip


def test_a_removed_schedule_owes_no_run_when_its_hold_ends() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, schedule("queue_one"))
    (schedule_id,) = desk.core.state.schedules
    desk.hold("schedule", str(schedule_id))
    desk.wait(60)
    desk.wait(1, m.RemoveSchedule(schedule_id))
    desk.wait(60)
    assert not desk.core.state.tasks


@pytest.mark.parametrize("owner", ["", "System"])
def test_a_schedule_needs_a_person_whom_a_hold_can_pause(owner: str) -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, m.CreateSchedule(replace(schedule().spec, owner=owner)))
    assert "owner" in str(desk.outcomes[-1].refused)


def test_a_user_s_hold_covers_the_runs_of_his_schedules() -> None:
    desk = Desk(EXPLORER)
    desk.wait(1, schedule())
    desk.hold("user", "ann")
    desk.wait(60)
    (task,) = desk.core.state.tasks
    assert desk.cause(task) is Cause.HOLD


def test_a_widget_has_at_most_one_refresh_waiting_and_the_others_are_counted() -> None:
    desk = Desk(m.AddService("acme", None, "processor", "processor", 1))
    refresh = m.RefreshWidget(*SITE, "open ports")
    desk.submit(REPORT)
    for _ in range(3):
        desk.wait(1, refresh)
    first = desk.outcomes[-3].changed[0]
    assert [outcome.skipped[0][0] for outcome in desk.outcomes[-2:]] == [first, first]
    desk.wait(1, desk.finished(desk.started()[0]))
    desk.wait(2, desk.finished(int(first)))
    (row,) = desk.rows.widget_refresh
    assert (row.joined, row.latency_s) == (2, 5 * SECOND)


def test_no_site_gets_more_refreshes_than_any_dashboard_has_however_they_are_called() -> None:
    desk = Desk()
    desk.wait(1, m.AddSite("acme", "oslo"), *(m.RefreshWidget(*SITE, f"w{n}") for n in range(101)))
    assert "100 refreshes wait at berlin already" in str(desk.outcomes[-1].refused)
    desk.wait(1, m.RefreshWidget(*SITE, "w7"), m.RefreshWidget("acme", "oslo", "w"))
    assert desk.outcomes[-2].skipped
    assert desk.outcomes[-1].changed
    assert len(desk.core.state.tasks) == 101


def test_a_rescued_refresh_counts_as_waiting() -> None:
    desk = Desk(m.AddService("acme", None, "processor", "processor", 1))
    refresh = m.RefreshWidget(*SITE, "open ports")
    desk.wait(1, refresh)
    desk.wait(1, refresh)
    first, second = (int(outcome.changed[0]) for outcome in desk.outcomes[-2:])
    desk.wait(1, m.SetService("acme", "processor", state="offline"))
    desk.wait(1, m.Stop([second]))
    desk.wait(1, refresh)
    assert desk.outcomes[-1].skipped == [(first, "joined the refresh that waits")]


def test_every_refusal_of_a_bulk_action_is_audited_with_its_reason() -> None:
    desk = Desk(EXPLORER)
    running, waiting = desk.submit(SCAN), desk.submit(SCAN)
    step = desk.wait(1, m.Delete([running, waiting, 77], "tidy"))
    rows: list[Audit] = step.rows.audit
    assert [(row.object_id, row.outcome) for row in rows] == [
        (str(running), "stop it first"), (str(waiting), "changed"), ("77", "not found, or already deleted"),
    ]  # fmt: skip
