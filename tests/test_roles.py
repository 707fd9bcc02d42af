"""Every action, every role, own and other places: what the engine lets through, and that it leaves the rest alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from engine import messages as m
from engine.clock import SECOND, Reading
from engine.core import _COMMANDS, Core
from engine.deciding import Step
from engine.errors import NotAllowed
from engine.ledger import Account, Rows, SignIn, TaskRow
from engine.lifecycle import EXTERNAL, OVERVIEW, Kind
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grant, Grants, Right, Role, checked, may, require, worded

START = 1_780_000_000 * SECOND
OWN, NEIGHBOUR, STRANGER = ("acme", "berlin"), ("acme", "oslo"), ("globex", "berlin")
NO_SITE, NO_BUSINESS = ("acme", "atlantis"), ("nowhere", "berlin")  #: what there is not
ABSENT = 1 << 41  #: likewise, an id

EVERY_NIGHT = Rule.cron_rule("30 2 * * *", "Europe/Berlin")

Place = tuple[str, str]


@dataclass
class World:
    """Two businesses with two sites each; at each site a task waits, a schedule stands, and a task was deleted."""

    core: Core
    waiting: dict[Place, int]
    deleted: dict[Place, int]
    finished: dict[Place, TaskRow]
    schedules: dict[Place, int]
    holds: dict[Place, int]
    paused: dict[Place, int]  #: holds on schedules
    windows: dict[Place, int]  #: blackout windows
    at: int = START

    def ask(self, action: m.Action, grants: Grants = EVERYTHING, actor: str = "ann") -> tuple[m.Outcome, Step]:
        self.at += SECOND
        command = m.Command(f"r{self.at}", actor, action, grants)
        step = self.core.step(Reading(self.at, self.at - START), [command])
        ((_, outcome),) = step.outcomes
        return outcome, step


def world() -> World:
    made = World(Core(), {}, {}, {}, {}, {}, {}, {})

    def do(action: m.Action) -> int:
        outcome, _ = made.ask(action)
        assert outcome.refused is None, outcome
        return int(outcome.changed[0]) if isinstance(outcome.changed[0], int) else 0

    for business in ("acme", "globex"):
        do(m.AddBusiness(business))
        do(m.AddService(business, None, "processor", "processor", 1))
        for site in ("berlin", "oslo"):
            place = business, site
            do(m.AddSite(*place, "Europe/Berlin"))
            do(m.AddService(*place, f"explorer-{site}", "explorer", 2))
            do(m.SetService(business, f"explorer-{site}", "draining"))
            made.waiting[place] = do(m.Submit([task(place)]))
            made.deleted[place] = do(m.Submit([task(place)]))
            made.finished[place] = made.core.state.tasks[made.deleted[place]].row()._replace(
                status="Processed", task_id=10_000 + made.deleted[place]
            )
            do(m.Delete([made.deleted[place]]))
            made.schedules[place] = do(m.CreateSchedule(spec(place)))
            made.holds[place] = do(m.PlaceHolds(business, [m.HoldTarget("user", "bob")], "quiet", site))
            still = str(do(m.CreateSchedule(spec(place, "Still"))))
            made.paused[place] = do(m.PlaceHolds(business, [m.HoldTarget("schedule", still)], "quiet"))
            made.windows[place] = do(m.CreateBlackout(window(place, "Quarter end")))
    return made


def task(place: Place) -> m.NewTask:
    return m.NewTask(*place, Kind.SCAN, "Discovery", "ann", "ann")


def spec(place: Place, name: str = "Nightly") -> m.ScheduleSpec:
    return m.ScheduleSpec(name, *place, Kind.SCAN, EVERY_NIGHT, "ann")


def window(place: Place, name: str) -> m.BlackoutSpec:
    return m.BlackoutSpec(name, *place, EVERY_NIGHT, 3600)


def report(place: Place, name: str = OVERVIEW) -> m.NewTask:
    return m.NewTask(*place, Kind.REPORT, name, "System", "System")


def reported(made: World, place: Place, name: str = OVERVIEW) -> int:
    """Let a report wait at a site; return its id."""
    made.ask(m.SetService(place[0], "processor", "draining"))
    return first(made.ask(m.Submit([report(place, name)]))[0])


def first(outcome: m.Outcome) -> int:
    return int(outcome.changed[0]) if outcome.changed else ABSENT


def ended(made: World, place: Place) -> TaskRow:
    waits = made.core.state.tasks.get(reported(made, place))
    return waits.row()._replace(task_id=5, status="Processed") if waits else made.finished[place]._replace(task_id=5)


def weekly(place: Place, name: str) -> m.ScheduleSpec:
    return m.ScheduleSpec(name, *place, Kind.REPORT, EVERY_NIGHT, "ann")


def planned(made: World, place: Place, name: str) -> int:
    return first(made.ask(m.CreateSchedule(weekly(place, name)))[0])


def ramped(made: World, place: Place, over: str = "user") -> int:
    """Let a task wait under a hold at a site, and lift that gradually; return the ramp's id."""
    target, site = m.HoldTarget("user", "ann"), place[1]
    if over == "schedule":
        target = m.HoldTarget("schedule", str(made.schedules[place]))
        made.ask(m.RunNow(made.schedules[place]))
    placed = made.ask(m.PlaceHolds(place[0], [target], "", site))[0].changed
    made.ask(m.LiftHolds([int(hold) for hold in placed], rate=1))
    return next((t.id for t in made.core.queues.throttles.values() if t.rate is not None), ABSENT)


def capped(made: World, place: Place) -> str:
    """Cap a user of a place's business; return his name."""
    made.ask(m.SetCap(place[0], "bob", 2, "his share"))
    return "bob"


def account(name: str) -> Account:
    return Account(name, None, False, {"grants": []}, START, START)


def shared(made: World, place: Place, owner: str) -> str:
    """Let somebody share a view with a place's business; return its id."""
    kept, _ = made.ask(m.KeepView(f"{owner}'s", "Failed", business=place[0]), actor=owner)
    return str(kept.changed[0]) if kept.changed else "0" * 16


ADMINS = {Role.PLATFORM_ADMIN, Role.BUSINESS_ADMIN}
OPERATORS = ADMINS | {Role.SITE_ADMIN}
PLATFORM = {Role.PLATFORM_ADMIN}
EVERYBODY = set(Role)

Ask = Callable[[World, Place], m.Action]

CELLS: dict[str, tuple[type, Ask, set[Role]]] = {
    "submit": (m.Submit, lambda w, p: m.Submit([task(p)]), OPERATORS),
    "refresh a widget": (m.RefreshWidget, lambda w, p: m.RefreshWidget(*p, "Assets"), EVERYBODY),
    "stop": (m.Stop, lambda w, p: m.Stop([w.waiting[p]]), OPERATORS),
    "delete": (m.Delete, lambda w, p: m.Delete([w.waiting[p]]), OPERATORS),
    "hide": (
        m.Delete, lambda w, p: m.Delete([w.finished[p].task_id], finished={w.finished[p].task_id: w.finished[p]}),
        OPERATORS,
    ),
    "restore": (m.Restore, lambda w, p: m.Restore([w.deleted[p]]), OPERATORS),
    "edit": (m.Edit, lambda w, p: m.Edit(w.waiting[p], 1, {"priority": 7}), OPERATORS),
    "edit many": (m.EditMany, lambda w, p: m.EditMany([m.Edit(w.waiting[p], 1, {"priority": 7})]), OPERATORS),
    "rerun": (m.Rerun, lambda w, p: m.Rerun([w.waiting[p]]), OPERATORS),
    "rerun what has ended": (
        m.Rerun, lambda w, p: m.Rerun([w.finished[p].task_id], finished={w.finished[p].task_id: w.finished[p]}),
        OPERATORS,
    ),
    "hold at a site": (m.PlaceHolds, lambda w, p: m.PlaceHolds(p[0], [m.HoldTarget("kind", "scan")], "", p[1]), ADMINS),
    "hold a site": (m.PlaceHolds, lambda w, p: m.PlaceHolds(p[0], [m.HoldTarget("site", p[1])], ""), ADMINS),
    "create a blackout window": (m.CreateBlackout, lambda w, p: m.CreateBlackout(window(p, "Freeze")), ADMINS),
    "edit a blackout window": (
        m.EditBlackout, lambda w, p: m.EditBlackout(w.windows[p], 1, window(p, "Freeze")), ADMINS,
    ),
    "remove a blackout window": (m.RemoveBlackout, lambda w, p: m.RemoveBlackout(w.windows[p]), ADMINS),
    "lift": (m.LiftHolds, lambda w, p: m.LiftHolds([w.holds[p]]), ADMINS),
    "pause a schedule": (
        m.PlaceHolds, lambda w, p: m.PlaceHolds(p[0], [m.HoldTarget("schedule", str(w.schedules[p]))], ""), OPERATORS,
    ),
    "resume a schedule": (m.LiftHolds, lambda w, p: m.LiftHolds([w.paused[p]]), OPERATORS),
    "let all go": (m.EndRamps, lambda w, p: m.EndRamps([ramped(w, p)]), ADMINS),
    "let all of a schedule go": (m.EndRamps, lambda w, p: m.EndRamps([ramped(w, p, "schedule")]), OPERATORS),
    "create a schedule": (m.CreateSchedule, lambda w, p: m.CreateSchedule(spec(p, "Other")), OPERATORS),
    "edit a schedule": (m.EditSchedule, lambda w, p: m.EditSchedule(w.schedules[p], 1, spec(p, "Late")), OPERATORS),
    "remove a schedule": (m.RemoveSchedule, lambda w, p: m.RemoveSchedule(w.schedules[p]), OPERATORS),
    "run a schedule now": (m.RunNow, lambda w, p: m.RunNow(w.schedules[p]), OPERATORS),
    "start a report on a site": (m.StartReport, lambda w, p: m.StartReport(*p, EXTERNAL), OPERATORS),
    "add a service": (m.AddService, lambda w, p: m.AddService(*p, "new", "explorer", 1), OPERATORS),
    "drain a service": (m.SetService, lambda w, p: m.SetService(p[0], f"explorer-{p[1]}", "offline"), OPERATORS),
}  # fmt: skip
"""What is done at a site: the action's type, how to ask for it, and who may where he has his role."""

OF_A_BUSINESS: dict[str, tuple[type, Ask, set[Role]]] = {
    "hold in a business": (m.PlaceHolds, lambda w, p: m.PlaceHolds(p[0], [m.HoldTarget("user", "cid")], ""), ADMINS),
    "cap a user": (m.SetCap, lambda w, p: m.SetCap(p[0], "bob", 2, "his share"), ADMINS),
    "change a cap": (m.SetCap, lambda w, p: m.SetCap(p[0], capped(w, p), 3, "his share"), ADMINS),
    "remove a cap": (m.RemoveCap, lambda w, p: m.RemoveCap(p[0], capped(w, p)), ADMINS),
    "submit a report on all of it": (m.Submit, lambda w, p: m.Submit([report(p)]), ADMINS),
    "run a report on all of it again": (m.Rerun, lambda w, p: m.Rerun([reported(w, p)]), ADMINS),
    "run an ended report on all of it again": (m.Rerun, lambda w, p: m.Rerun([5], finished={5: ended(w, p)}), ADMINS),
    "schedule a report on all of it": (m.CreateSchedule, lambda w, p: m.CreateSchedule(weekly(p, OVERVIEW)), ADMINS),
    "make a site's schedule one of all of it": (
        m.EditSchedule, lambda w, p: m.EditSchedule(planned(w, p, EXTERNAL), 1, weekly(p, OVERVIEW)), ADMINS,
    ),
    "run a schedule of all of it now": (m.RunNow, lambda w, p: m.RunNow(planned(w, p, OVERVIEW)), ADMINS),
    "make a site's report one on all of it": (
        m.Edit, lambda w, p: m.Edit(reported(w, p, EXTERNAL), 1, {"name": OVERVIEW}), ADMINS,
    ),
    "start a report on all of it": (m.StartReport, lambda w, p: m.StartReport(*p, OVERVIEW), ADMINS),
    "keep users": (m.KeepUsers, lambda w, p: m.KeepUsers("invite", "bob", p[0], [account("bob")]), ADMINS),
    "drop another's view": (m.DropView, lambda w, p: m.DropView(shared(w, p, "bob")), ADMINS),
    "change another's view": (
        m.KeepView, lambda w, p: m.KeepView("Better", "Failed", business=p[0], view=shared(w, p, "bob")), ADMINS,
    ),
    "add a site": (m.AddSite, lambda w, p: m.AddSite(p[0], "paris"), ADMINS),
    "add a processor": (m.AddService, lambda w, p: m.AddService(p[0], None, "new", "processor", 1), ADMINS),
    "drain a processor": (m.SetService, lambda w, p: m.SetService(p[0], "processor", "draining"), ADMINS),
}
OF_THE_PLATFORM: dict[str, tuple[type, Ask, set[Role]]] = {
    "hold everywhere": (m.PlaceHolds, lambda w, p: m.PlaceHolds(None, [m.HoldTarget("kind", "scan")], ""), PLATFORM),
    "add a business": (m.AddBusiness, lambda w, p: m.AddBusiness("initech"), PLATFORM),
    "note use": (m.NoteUse, lambda w, p: m.NoteUse([SignIn("0" * 64, "ann", "::1", START, START, None)]), PLATFORM),
    "note who was not let in": (
        m.NoteRefused, lambda w, p: m.NoteRefused([m.RefusedSignIn("ann", p[0], "wrong password", "::1", "x", START)]),
        PLATFORM,
    ),
    "note a drill": (m.NoteDrill, lambda w, p: m.NoteDrill("start", "surge", *p, {}), PLATFORM),
    "note a setting": (m.NoteSetting, lambda w, p: m.NoteSetting("silence_s", {"value": 30}, {"value": 5}), PLATFORM),
}

GRANT = {
    Role.PLATFORM_ADMIN: Grant(Role.PLATFORM_ADMIN),
    Role.BUSINESS_ADMIN: Grant(Role.BUSINESS_ADMIN, OWN[0]),
    Role.SITE_ADMIN: Grant(Role.SITE_ADMIN, *OWN),
    Role.SITE_USER: Grant(Role.SITE_USER, *OWN),
}


NOBODY = None  #: somebody who is signed in and has no grants


def granted(role: Role | None) -> Grants:
    return [GRANT[role]] if role is not NOBODY else []


def reaches(role: Role | None, place: Place) -> bool:
    """Tell, in words of its own, whether a role at the own site has to do with a place."""
    if role is NOBODY:
        return False
    if role is Role.PLATFORM_ADMIN:
        return True
    return place[0] == OWN[0] if role is Role.BUSINESS_ADMIN else place == OWN


@cache
def table() -> dict[str, tuple[type, Ask, set[Role]]]:
    return {**CELLS, **OF_A_BUSINESS, **OF_THE_PLATFORM}


def test_every_command_that_the_core_obeys_has_a_cell() -> None:
    """A command without one is open to nobody knows whom. For KeepSignIn, see the next test."""
    assert {cell[0] for cell in table().values()} == set(_COMMANDS) - {m.KeepSignIn}


def test_everybody_signs_in_for_himself_and_nobody_for_another() -> None:
    here = world()
    mine = SignIn("0" * 64, "ann", "127.0.0.1", START, START, None)
    outcome, step = here.ask(m.KeepSignIn("sign_in", [mine]), [])
    assert (outcome.changed, step.rows.sign_in) == (["ann"], [mine])
    for forged in (
        m.KeepSignIn("sign_in", [mine._replace(account="bob")]),
        m.KeepSignIn("sign_in", [mine], [account("bob")]),
        m.KeepSignIn("sign_in", [mine], business="acme"),
        m.KeepSignIn("sign_in"),
    ):
        outcome, step = here.ask(forged, [])
        assert outcome.refused
        assert not step.rows.sign_in
        assert not step.rows.account


def test_nobody_hands_out_more_than_he_has_nor_keeps_one_user_under_the_name_of_another() -> None:
    here = world()
    root = account("bob")._replace(grants={"grants": [["platform_admin", None, None]]})
    elsewhere = account("bob")._replace(grants={"grants": [["site_user", "globex", "berlin"]]})
    both = account("bob")._replace(grants={"grants": [["site_user", *OWN], ["site_user", *STRANGER]]})
    cids = SignIn("0" * 64, "cid", "127.0.0.1", START, START, START)
    for forged in (
        *(m.KeepUsers("invite", "bob", "acme", [one]) for one in (root, elsewhere, both, account("cid"))),
        m.KeepUsers("invite", "bob", None, [both]),
        m.KeepUsers("invite", "bob", None, [account("bob")]),
        m.KeepUsers("sign_out", "bob", "acme", [account("bob")], sign_ins=[cids]),
    ):
        outcome, step = here.ask(forged, [GRANT[Role.BUSINESS_ADMIN]])
        assert outcome.refused
        assert not step.rows.account
        assert not step.rows.sign_in


@pytest.mark.parametrize("place", [OWN, NEIGHBOUR, STRANGER], ids=" ".join)
@pytest.mark.parametrize("role", [*Role, NOBODY], ids=str)
@pytest.mark.parametrize("name", [*CELLS, *OF_A_BUSINESS, *OF_THE_PLATFORM])
def test_an_action_goes_through_where_the_role_allows_it_and_changes_nothing_elsewhere(
    name: str, role: Role | None, place: Place
) -> None:
    _, ask, roles = table()[name]
    here = world()
    outcome, step = here.ask(ask(here, place), granted(role))
    kept = [table for table in Rows.__slots__ if table != "audit" and getattr(step.rows, table)]
    if role in roles and reaches(role, place):
        assert outcome.refused is None
        assert outcome.changed
        assert kept or name in ("note a drill", "note a setting", "note who was not let in")
    else:
        assert not outcome.changed
        assert outcome.refused or outcome.skipped
        assert not kept
        assert all((row.actor, row.outcome != "changed") == ("ann", True) for row in step.rows.audit)
        if not reaches(role, place):
            assert all((row.business, row.site) == (None, None) for row in step.rows.audit), "in nobody's trail"
            assert worded_alike(outcome, place) == worded_alike(*in_vain(name, role, place))


def in_vain(name: str, role: Role | None, place: Place) -> tuple[m.Outcome, Place]:
    """Have somebody ask the same of a place, and of things there, that do not exist."""
    here, absent = world(), NO_SITE if place[0] == OWN[0] else NO_BUSINESS
    for ids in (here.waiting, here.deleted, here.schedules, here.holds, here.paused, here.windows):
        ids[absent] = ABSENT
    here.finished[absent] = here.finished[OWN]._replace(business=absent[0], site=absent[1], task_id=ABSENT)
    return here.ask(table()[name][1](here, absent), granted(role))[0], absent


def worded_alike(outcome: m.Outcome, place: Place) -> list[str]:
    """Give what somebody is told, without the names and numbers that he named himself."""
    told = [outcome.refused or "", *(why for _, why in outcome.skipped)]
    for name, word in zip(place, ("(business)", "(site)"), strict=True):
        told = [text.replace(name, word) for text in told]
    return [re.sub(r"\d+", "(number)", text) for text in told]


def test_what_somebody_may_not_touch_is_to_him_as_if_it_were_not_there() -> None:
    here = world()
    of_others, absent = here.waiting[STRANGER], 1 << 41
    grants = [GRANT[Role.BUSINESS_ADMIN]]
    outcome, _ = here.ask(m.Stop([of_others, absent]), grants)
    assert [why for _, why in outcome.skipped] == ["not found, or already finished"] * 2
    refusals = [
        here.ask(m.SetService(business, "explorer-berlin", "offline"), grants)[0].refused or ""
        for business in ("globex", "nowhere")
    ]
    assert refusals[0] == refusals[1].replace("nowhere", "globex")
    refusals = [here.ask(m.Submit([task((b, "berlin"))]), grants)[0].refused or "" for b in ("globex", "nowhere")]
    assert refusals[0] == refusals[1].replace("nowhere", "globex")


def test_who_manages_no_users_plans_in_his_own_name() -> None:
    made = world()
    site_admin = [Grant(Role.SITE_ADMIN, *OWN)]
    bobs = replace(spec(OWN, "Bob's"), owner="bob")
    refused, step = made.ask(m.CreateSchedule(bobs), site_admin)
    assert "Schedules of others" in str(refused.refused)
    assert not step.rows.schedule_event
    refused, _ = made.ask(m.EditSchedule(made.schedules[OWN], 1, bobs), site_admin)
    assert "Schedules of others" in str(refused.refused)
    kept, _ = made.ask(m.CreateSchedule(bobs), [Grant(Role.BUSINESS_ADMIN, OWN[0])])
    assert kept.changed
    edited, _ = made.ask(m.EditSchedule(first(kept), 1, replace(bobs, name="Bob's, later")), site_admin)
    assert edited.changed, "what is another's already stays so"


def test_a_service_elsewhere_that_a_task_asks_for_is_as_if_it_were_not_there() -> None:
    made = world()
    grants = [Grant(Role.SITE_ADMIN, *OWN)]

    def told(name: str) -> str:
        outcome, _ = made.ask(m.Submit([task(OWN)._replace(requested_service=name)]), grants)
        return str(outcome.refused)

    assert told("explorer-oslo") == "There is no service “explorer-oslo”; did you mean “explorer-berlin”?"
    assert told("processors") == "There is no service “processors”"
    assert "explorer-oslo" in str(made.ask(m.Submit([task(OWN)._replace(requested_service="explorer-osl")]))[0].refused)


@pytest.mark.parametrize(
    "name",
    ["", " padded", "line\nbreak", "un\u200bseen", "x" * 101, "EXPLORER-berlin", "\u0435xplorer-berlin",
     "\uff45xplorer-berlin", "expl\u03bfrer-b\u0435rlin"],
)  # fmt: skip
def test_a_host_gets_no_name_that_people_could_not_tell_from_another(name: str) -> None:
    made = world()
    outcome, step = made.ask(m.AddService(*OWN, name, "explorer", 1))
    assert outcome.refused is not None
    assert not step.rows.service_event


def test_a_hold_on_a_schedule_is_at_its_own_site_and_nowhere_else() -> None:
    made = world()
    target = [m.HoldTarget("schedule", str(made.schedules[OWN]))]
    refused, _ = made.ask(m.PlaceHolds("acme", target, "", "oslo"))
    assert "schedule" in str(refused.refused)
    (hold,) = made.ask(m.PlaceHolds("acme", target, ""), [GRANT[Role.SITE_ADMIN]])[0].changed
    assert made.core.state.holds[int(hold)].site == "berlin"


def test_who_may_pause_a_schedule_pauses_nothing_else_in_the_same_breath() -> None:
    made = world()
    targets = [m.HoldTarget("schedule", str(made.schedules[OWN])), m.HoldTarget("user", "ann")]
    outcome, step = made.ask(m.PlaceHolds("acme", targets, "", "berlin"), [GRANT[Role.SITE_ADMIN]])
    assert outcome.refused == "You may not pause and resume at acme / berlin; nothing was changed"
    assert not step.rows.hold_event


def test_a_schedule_elsewhere_is_paused_by_nobody_and_as_if_it_were_not_there() -> None:
    made = world()
    told = [
        made.ask(m.PlaceHolds("acme", [m.HoldTarget("schedule", name)], ""), [GRANT[Role.SITE_ADMIN]])[0].refused
        for name in (str(made.schedules[NEIGHBOUR]), str(1 << 41))
    ]
    assert str(told[0]).replace(str(made.schedules[NEIGHBOUR]), "") == str(told[1]).replace(str(1 << 41), "")


def test_one_command_over_many_tasks_stops_those_that_are_ones_own() -> None:
    here = world()
    outcome, _ = here.ask(m.Stop(list(here.waiting.values())), [GRANT[Role.SITE_ADMIN]])
    assert list(outcome.changed) == [here.waiting[OWN]]
    assert len(outcome.skipped) == 3


@pytest.mark.parametrize(
    "forged", [{"owner": "bob"}, {"initiator": "Schedule"}, {"created_by": "root"}, {"source": "import:log"}]
)
def test_nobody_submits_under_the_name_of_another_but_who_manages_users(forged: dict[str, str]) -> None:
    here = world()
    new = m.Submit([task(OWN)._replace(**forged)])
    refused, step = here.ask(new, [GRANT[Role.SITE_ADMIN]])
    assert "Tasks of others are for who manages the users of acme" in str(refused.refused)
    assert not step.rows.task_event
    assert here.ask(new, [GRANT[Role.BUSINESS_ADMIN]])[0].changed


def test_an_archive_gets_no_host() -> None:
    here = world()
    here.ask(m.AddSite("acme", "old", archive=True))
    assert "archive" in str(here.ask(m.AddService("acme", "old", "explorer-old", "explorer", 1))[0].refused)


def test_several_grants_add_up() -> None:
    grants = [Grant(Role.SITE_USER, *OWN), Grant(Role.SITE_ADMIN, *STRANGER)]
    assert may(grants, Right.OPERATE, *STRANGER)
    assert not may(grants, Right.OPERATE, *OWN)
    assert may(grants, Right.SEE, *OWN)
    assert not may([], Right.SEE, *OWN)


def test_grants_are_worded_with_where_they_hold_and_the_furthest_reaching_first() -> None:
    grants = [Grant(Role.SITE_USER, *OWN), Grant(Role.BUSINESS_ADMIN, "globex"), Grant(Role.PLATFORM_ADMIN)]
    assert worded(grants) == ["Platform admin", "Business admin, globex", "Site user, berlin, acme"]


def test_a_refusal_names_what_and_where() -> None:
    with pytest.raises(NotAllowed, match=r"You may not pause and resume at acme / berlin; nothing was changed"):
        require([GRANT[Role.SITE_ADMIN]], Right.HOLD, *OWN)
    with pytest.raises(NotAllowed, match="the whole platform"):
        require([GRANT[Role.BUSINESS_ADMIN]], Right.SETTINGS, None, None)


@pytest.mark.parametrize(
    ("role", "business", "site"),
    [("king", None, None), ("platform_admin", "acme", None), ("business_admin", None, None),
     ("business_admin", "acme", "berlin"), ("site_user", "acme", None), ("site_admin", None, "berlin")],
)  # fmt: skip
def test_a_grant_whose_scope_does_not_fit_its_role_is_refused(role: str, business: str, site: str) -> None:
    with pytest.raises(NotAllowed):
        checked(role, business, site)
