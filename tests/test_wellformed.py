"""Commands that nobody should send: whatever stands in them, the engine goes on, and its ledger can be written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from engine import messages as m
from engine import wellformed
from engine.batch import prepare
from engine.errors import Invalid
from engine.ledger import Account, SignIn
from engine.lifecycle import EXTERNAL, Kind
from engine.recurrence import Rule
from tests.desk import EXPLORER, PROCESSOR, SITE, START, Desk

RULE = Rule.cron_rule("*/5 * * * *", "Europe/Berlin")
SPEC = m.ScheduleSpec("Five", *SITE, Kind.SCAN, RULE, "ann")
WINDOW = m.BlackoutSpec("Window", *SITE, RULE, 60, "r")
NEW = m.NewTask(*SITE, Kind.SCAN, "task", "ann", "ann")
ODD: tuple[Any, ...] = (
    "\ud800", "a\0b", "x" * 300_000, "", 10**30, -(10**30), 2**63, 10**15, -1, 0, 2.5, float("nan"), float("inf"), None,
    True, [], {}, b"x", object(), ("a",), [1, "x", None], {"a": object()}, {1: object()},
)  # fmt: skip


def with_odd(part: Any) -> Iterator[Any]:
    """Give something once for each of its fields and each odd value."""
    named = hasattr(part, "_fields")
    for name in part._fields if named else [field.name for field in dataclasses.fields(part)]:
        for odd in ODD:
            yield part._replace(**{name: odd}) if named else dataclasses.replace(part, **{name: odd})


def commands(task: int, schedule: int) -> dict[type, m.Action]:
    account = Account("bob", None, False, {"grants": []}, START, START)
    every: list[m.Action] = [
        m.Submit([NEW]), m.RefreshWidget(*SITE, "w"), m.StartReport(*SITE, EXTERNAL), m.Stop([task], "r"),
        m.Delete([task], "r"), m.Restore([task]), m.Edit(task, 1, {"priority": 1}),
        m.PlaceHolds("acme", [m.HoldTarget("user", "bob")], "r", "berlin"), m.LiftHolds([1], "r", 5),
        m.CreateSchedule(SPEC), m.EditSchedule(schedule, 1, SPEC), m.RemoveSchedule(schedule, "r"), m.RunNow(schedule),
        m.AddBusiness("more"), m.AddSite("acme", "more"), m.AddService(*SITE, "more", "explorer", 2),
        m.SetService("acme", "explorer", "online", 2, "r"), m.NoteDrill("start", "surge", *SITE, {}),
        m.NoteSetting("silence_s", {}, {}), m.EditMany([m.Edit(task, 1, {"priority": 1})], "r"), m.Rerun([task], "r"),
        m.KeepView("v", "failed", "type:scan", "name", "acme"), m.DropView("v", "r"),
        m.EndRamps([1], "r"), m.SetCap("acme", "bob", 2, "r"), m.RemoveCap("acme", "bob", "r"),
        m.KeepUsers("invite", "bob", "acme", [account]), m.KeepSignIn("sign_in"), m.NoteUse([]),
        m.CreateBlackout(WINDOW), m.EditBlackout(1, 1, WINDOW), m.RemoveBlackout(1, "r"),
        m.NoteRefused([m.RefusedSignIn("bob", None, "wrong password", "::1", "password", 1)]),
    ]  # fmt: skip
    return {type(action): action for action in every}


def odd_ones(of: type, task: int, schedule: int) -> Iterator[m.Action]:
    yield from with_odd(commands(task, schedule)[of])
    if of is m.Submit:
        yield from (m.Submit([new]) for new in with_odd(NEW))
    elif of is m.Edit:
        names = ("name", "target", "scope", "priority", "requested_service", "due_at", "odd")
        yield from (m.Edit(task, 1, {name: odd}) for name in names for odd in ODD)
    elif of is m.PlaceHolds:
        yield from (m.PlaceHolds("acme", [one], "r") for one in with_odd(m.HoldTarget("user", "bob")))
    elif of in (m.KeepUsers, m.KeepSignIn):
        ann = Account("ann", None, False, {"grants": []}, START, START)
        sign_in = SignIn("0" * 64, "ann", "", START, START, None)
        odd_grants = (*ODD, *([["site_user", odd, odd]] for odd in ODD))
        accounts = [*with_odd(ann), *(ann._replace(grants={"grants": odd}) for odd in odd_grants)]
        yield from (m.KeepUsers("invite", "ann", "acme", [account]) for account in accounts)
        yield from (m.KeepSignIn("set_password", [], [account]) for account in accounts)
        yield from (m.KeepSignIn("sign_in", [odd]) for odd in with_odd(sign_in))
    elif of is m.CreateSchedule:
        rules = (RULE, Rule.interval(60, 0))
        yield from (m.CreateSchedule(spec) for spec in with_odd(SPEC))
        yield from (m.CreateSchedule(dataclasses.replace(SPEC, rule=rule)) for one in rules for rule in with_odd(one))


    elif of is m.CreateBlackout:
        yield from (m.CreateBlackout(spec) for spec in with_odd(WINDOW))
        yield from (m.CreateBlackout(dataclasses.replace(WINDOW, rule=rule)) for rule in with_odd(RULE))
        yield m.CreateBlackout(WINDOW)


@pytest.mark.parametrize("of", get_args(m.Action))
def test_whatever_stands_in_a_command_the_engine_goes_on_and_can_write_its_ledger(of: type) -> None:
    desk = Desk(EXPLORER, PROCESSOR)
    desk.step(m.SetService("acme", "explorer", "draining"))
    task = desk.submit()
    desk.wait(1, m.CreateSchedule(SPEC))
    (schedule,) = desk.outcomes[-1].changed
    for action in odd_ones(of, task, int(schedule)):
        desk.at += 1
        step = desk.step(action)
        prepare(b"key", "", 1, step.now, step.rows, {}, ())
    desk.wait(400)
    desk.restart(60)


def test_a_command_as_it_is_declared_passes() -> None:
    every = commands(1, 2)
    assert set(every) == set(get_args(m.Action))
    for action in every.values():
        wellformed.check(m.Command("r", "ann", action))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (m.Stop([1], "x" * 1_001), "The reason has at most 1,000 characters; this one has 1,001"),
        (m.Stop(["1"]), "The tasks is '1'; it must be a whole number"),
        (m.Stop(range(3)), "The tasks is range; it must be a list"),
        (m.Stop([2**63]), "The tasks is beyond what can be stored"),
        (m.Submit([NEW._replace(priority=True)]), "The priority is True; it must be a whole number"),
        (m.Submit([NEW._replace(target="a\0b")]), "The target has a character that can't be stored; take it out"),
        (m.Submit([NEW] * 100_001), "A command is about at most 100,000 tasks; this one has 100,001"),
        (m.Submit([NEW._replace(kind="scan")]), "The kind is 'scan'; it must be one of scan, audit"),
        (m.NoteDrill("start", "surge", *SITE, {"a": "\0"}), "The given has a character that can't be stored"),
        (None, "There is no command NoneType"),
    ],
)
def test_what_is_wrong_is_told_by_name(action: m.Action, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        wellformed.check(m.Command("r", "ann", action))
    assert said in str(refusal.value)


def test_a_row_of_an_ended_task_stands_for_no_other_one() -> None:
    desk = Desk()
    mine, other = desk.submit(), desk.submit()
    row = desk.task(mine).row()._replace(status="Processed")
    desk.wait(1, m.Delete([other], finished={other: row}), m.Rerun([other + 9], finished={other + 9: row}))
    assert [outcome.changed for outcome in desk.outcomes[-2:]] == [(), ()]
    assert all("must be the row of the task that it stands for" in str(o.refused) for o in desk.outcomes[-2:])


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (m.AddSite("acme", "paris", "Europe/Pariss"), "There is no time zone “Europe/Pariss”; did you mean"),
        (m.AddService(*SITE, "big", "explorer", 100_001), "big can't have 100001 slots; it has 1 to 100,000"),
        (m.SetService("acme", "explorer", slots=0), "explorer can't have 0 slots"),
        (m.PlaceHolds("acme", [m.HoldTarget("kind", "scan")], "", "berln"), "There is no site “berln”; did you mean"),
        (m.PlaceHolds(None, [m.HoldTarget("kind", "scan")], "", "berlin"), "There is no site “berlin”"),
        (m.PlaceHolds("acme", [m.HoldTarget("user", "")], ""), "A hold needs somebody or something"),
        (m.Submit([NEW._replace(name="")]), "A task needs a name and an owner"),
        (m.Submit([NEW._replace(longest_wait_s=10**12)]), "it must be 1 to"),
        (m.CreateSchedule(dataclasses.replace(SPEC, rule=Rule("0 0 30 2 *", None, 0, "UTC"))), "never occurs in UTC"),
        (m.CreateSchedule(dataclasses.replace(SPEC, rule=Rule(None, 10**15, 0, "UTC"))), "is not possible"),
        (m.CreateSchedule(dataclasses.replace(SPEC, rule=Rule("* * * * *", 60, 0, "UTC"))), "not both"),
        (m.CreateSchedule(dataclasses.replace(SPEC, rule=Rule(None, 60, 0, "Mars/Olympus"))), "no time zone"),
    ],
)
def test_what_can_not_be_is_refused_and_leaves_no_row(action: m.Action, said: str) -> None:
    desk = Desk(EXPLORER)
    desk.at += 1
    step = desk.step(action)
    assert said in str(desk.outcomes[-1].refused)
    assert not step.rows
