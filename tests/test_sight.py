"""Every read of a page goes through one door: it shows what somebody's grants cover, refuses the rest, and names no
processor to whoever sees but a site."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from uuid import uuid4

import polars as pl
import pytest

from engine import messages as m
from engine import watch as module
from engine.access import Actor
from engine.bulk import Verb
from engine.catalogue import TABS, Asked
from engine.clock import SECOND
from engine.console import Console
from engine.errors import NotAllowed, NotFound
from engine.filters import parse
from engine.lifecycle import OVERVIEW, Kind, Tab
from engine.living import Place
from engine.masks import A_PROCESSOR
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grant, Grants, Role
from engine.sight import Sight, Spot
from pages.shared import figures, queue

T = TypeVar("T")

PATIENCE = 60.0  #: seconds in which a thing must have happened, on a busy machine

FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 3 }]
targets = [{ name = "srv", kind = "device", count = 5 }]
mix.audit = { per_hour = 360, collect = { median_s = 5, sigma = 0.2 }, process = { median_s = 20, sigma = 0.1 } }

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 5 }]
mix.audit = { per_hour = 0, collect = { median_s = 5, sigma = 0.2 }, process = { median_s = 5, sigma = 0.1 } }

[businesses.globex]
name = "Globex"
processors = [{ name = "proc-2", slots = 1 }]
users = [{ name = "hank", role = "business_admin" }]

[businesses.globex.sites.paris]
name = "Paris"
zone = "Europe/Paris"
services = [{ name = "audit-3", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 5 }]
"""

USER = [Grant(Role.SITE_USER, "Acme", "Berlin")]
ADMIN = [Grant(Role.BUSINESS_ADMIN, "Acme")]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("sight")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (folder / "fleet.toml").write_text(FLEET)
    console = Console(folder).start(wait=True)
    soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == 3)
    yield console
    console.close()


@pytest.fixture
def see(console: Console) -> Callable[[Grants], Sight]:
    watch = console.watch
    assert watch is not None
    return lambda grants: Sight(watch, grants)


def soon(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time"
        time.sleep(0.1)
    return found


def processed(see: Callable[[Grants], Sight], grants: Grants) -> tuple[Sight, dict[str, object]]:
    """Wait for a task that is being processed, as somebody sees it."""

    def look() -> tuple[Sight, dict[str, object]] | None:
        sight = see(grants)
        rows = sight.listing("Acme", "Berlin", size=200).rows.to_dicts()
        return next(((sight, row) for row in rows if row["processing_started_at"] is not None), None)

    return soon(look)


def test_somebody_sees_the_sites_that_his_grants_cover(see: Callable[[Grants], Sight]) -> None:
    assert see(USER).places() == [("Acme", "Berlin")]
    assert see(ADMIN).places() == [("Acme", "Berlin"), ("Acme", "Oslo")]
    assert see(EVERYTHING).places() == [("Acme", "Berlin"), ("Acme", "Oslo"), ("Globex", "Paris")]
    assert see([]).places() == []


@pytest.mark.parametrize(
    "read",
    [
        lambda sight, *place: sight.listing(*place),
        lambda sight, *place: sight.tasks(*place, [1]),
        lambda sight, *place: sight.ended(*place, 1),
        lambda sight, *place: sight.timeline(*place, 1),
        lambda sight, *place: sight.waits(*place, 1),
        lambda sight, *place: sight.judged(*place, "UTC"),
        lambda sight, *place: sight.recent(*place),
        lambda sight, *place: sight.usual(*place),
        lambda sight, *place: sight.numbers(*place),
        lambda sight, *place: sight.quiet(*place),
        lambda sight, *place: sight.services(*place),
        lambda sight, *place: sight.schedules(*place),
        lambda sight, *place: sight.holds(*place),
        lambda sight, *place: sight.blackouts(*place),
        lambda sight, *place: sight.hosts(*place),
        lambda sight, *place: sight.at_work(*place),
        lambda sight, *place: sight.changes(*place, "audit-1"),
        lambda sight, *place: sight.timetable(*place),
        lambda sight, *place: sight.past(*place, 1),
        lambda sight, *place: sight.scheduled(*place),
        lambda sight, *place: sight.runs(*place, 1),
        lambda sight, *place: sight.settings(*place, 1, 0),
        lambda sight, *place: sight.fairness(*place, "1h"),
    ],
)
def test_every_read_of_another_site_is_refused_whether_it_exists_or_not(
    see: Callable[[Grants], Sight], read: Callable[..., object]
) -> None:
    read(see(USER), "Acme", "Berlin")
    for place in (("Acme", "Oslo"), ("Globex", "Paris"), ("Nowhere", "Nothing")):
        with pytest.raises(NotAllowed):
            read(see(USER), *place)
    with pytest.raises(NotAllowed):
        read(see([]), "Acme", "Berlin")


def test_a_task_of_another_site_is_not_found_by_its_id(console: Console, see: Callable[[Grants], Sight]) -> None:
    assert console.engine is not None
    task = m.NewTask("Acme", "Oslo", Kind.AUDIT, "Audit", "ann", "ann", "box-1", "device")
    (task_id,) = console.engine.do(m.Command(f"{uuid4()}", "ann", m.Submit([task]))).result(20).changed
    sight = see(USER)
    assert sight.tasks("Acme", "Berlin", [int(task_id)]) == []
    assert sight.ended("Acme", "Berlin", int(task_id)) is None
    assert sight.timeline("Acme", "Berlin", int(task_id)) == []
    assert sight.waits("Acme", "Berlin", int(task_id)).collect == {}
    soon(lambda: see(ADMIN).ended("Acme", "Oslo", int(task_id)))
    assert sight.ended("Acme", "Berlin", int(task_id)) is None
    assert sight.timeline("Acme", "Berlin", int(task_id)) == []


def test_what_a_task_was_submitted_with_is_told_at_its_site_beside_what_its_row_says(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    assert console.engine is not None
    task = m.NewTask("Acme", "Oslo", Kind.AUDIT, "Audit", "ann", "ann", "box-1", "device", longest_wait_s=5_400)
    (changed,) = console.engine.do(m.Command(f"{uuid4()}", "ann", m.Submit([task]))).result(20).changed
    task_id = int(changed)
    row = soon(lambda: see(ADMIN).task("Acme", "Oslo", task_id) or see(ADMIN).ended("Acme", "Oslo", task_id))
    assert see(ADMIN).settings("Acme", "Oslo", task_id, row["created_at"]) == {"longest_wait_s": 5_400}
    assert see(USER).settings("Acme", "Berlin", task_id, row["created_at"]) == {}
    assert see(ADMIN).settings("Acme", "Oslo", 77, row["created_at"]) == {}


@pytest.mark.parametrize("hidden", [False, True])
def test_where_a_task_is_is_told_to_whoever_may_see_it(
    console: Console, see: Callable[[Grants], Sight], hidden: bool
) -> None:
    assert console.engine is not None
    task = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", "ann", "ann", "srv-1", "device")
    (changed,) = console.engine.do(m.Command(f"{uuid4()}", "ann", m.Submit([task]))).result(20).changed
    task_id = int(changed)
    ended = soon(lambda: see(ADMIN).finished([task_id]))
    if hidden:
        console.engine.do(m.Command(f"{uuid4()}", "ann", m.Delete([task_id], None, ended))).result(20)
    soon(lambda: see(ADMIN).where(task_id) == Spot("Acme", "Berlin", Tab.COMPLETED, hidden, False))
    for grants in ([Grant(Role.SITE_USER, "Acme", "Oslo")], []):
        assert see(grants).where(task_id) is None
        assert see(grants).where(77) is None


def test_whoever_sees_but_a_site_reads_of_a_processor_and_never_its_name(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    _, row = processed(see, ADMIN)
    assert (row["processor"], row["host"]) == ("proc-1", "proc-1")
    sight, row = processed(see, USER)
    assert (row["processor"], row["host"], row["service"]) == (A_PROCESSOR, A_PROCESSOR, "audit-1")
    task_id = int(str(row["task_id"]))
    assert any(step["service"] == A_PROCESSOR for step in sight.timeline("Acme", "Berlin", task_id))
    ended = soon(lambda: see(USER).ended("Acme", "Berlin", task_id))
    assert (ended["processor"], ended["service"]) == (A_PROCESSOR, "audit-1")
    told = [see(USER).timeline("Acme", "Berlin", task_id), ended, see(USER).judged("Acme", "Berlin", "UTC")]
    assert "proc-1" not in repr(told)
    soon(lambda: see(ADMIN).timeline("Acme", "Berlin", task_id)[-1]["to_status"] == "Processed")
    known = [see(ADMIN).timeline("Acme", "Berlin", task_id), see(ADMIN).ended("Acme", "Berlin", task_id)]
    assert repr(known).count("proc-1") >= 3
    with pytest.raises(NotAllowed):
        see(USER).services("Acme", None)


def test_the_verdict_names_a_lost_processor_to_whoever_sees_the_business(
    console: Console, see: Callable[[Grants], Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert console.engine is not None
    monkeypatch.setattr(module, "LOOK_EVERY", 0)
    offline = m.SetService("Acme", "proc-1", "offline")
    console.engine.do(m.Command(f"{uuid4()}", "ann", offline)).result(20)
    try:
        watch = module.Watch(console.engine)  # with nothing of before
        named, unnamed = (repr(Sight(watch, grants).judged("Acme", "Berlin", "UTC")) for grants in (ADMIN, USER))
        assert "proc-1" in named
        assert "proc-1" not in unnamed
        assert A_PROCESSOR in unnamed
    finally:
        console.engine.do(m.Command(f"{uuid4()}", "ann", m.SetService("Acme", "proc-1", "online"))).result(20)


def test_a_forged_command_is_refused_by_the_engine_whoever_sent_it_through_whatever(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    """As a page would send it for a site user, if he made his browser press a button that it never showed."""
    assert console.engine is not None
    row = soon(lambda: see(USER).listing("Acme", "Berlin", words=["Running"]).rows.to_dicts())[0]
    command = m.Command(f"{uuid4()}", "sid", m.Stop([row["task_id"]], "forged"), USER)
    outcome = console.engine.do(command).result(20)
    assert not outcome.changed
    assert [task for task, _ in outcome.skipped] == [row["task_id"]]
    steps = soon(lambda: see(ADMIN).timeline("Acme", "Berlin", row["task_id"]))
    assert "Stopping" not in [step["to_status"] for step in steps]
    assert "sid" not in [step["actor"] for step in steps]


def test_shares_are_of_the_places_that_one_sees_and_name_nobody_who_works_elsewhere(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    assert console.engine is not None
    task = m.NewTask("Acme", "Oslo", Kind.AUDIT, "Audit", "olaf", "olaf", "box-2", "device")
    (task_id,) = console.engine.do(m.Command(f"{uuid4()}", "ann", m.Submit([task]))).result(20).changed
    soon(lambda: see(ADMIN).ended("Acme", "Oslo", int(task_id)))

    def names(sight: Sight, site: str | None) -> set[str]:
        found = sight.fairness("Acme", site, "24h")
        elsewhere = {who for one in found.shares for who, _ in one.behind if who is not None}
        return {one.who for one in found.shares} | elsewhere

    assert "olaf" in names(see(ADMIN), None)
    assert "olaf" not in names(see(USER), "Berlin")
    assert "olaf" not in names(see(USER), None)
    assert see(ADMIN).given("Acme", "Oslo", "24h", "olaf").tasks == 1
    with pytest.raises(NotFound):
        see(USER).given("Acme", "Berlin", "24h", "olaf")
    with pytest.raises(NotAllowed):
        see(USER).given("Acme", "Oslo", "24h", "olaf")
    assert see(USER).archives("Acme") == []


def test_a_period_is_added_up_once_for_everybody_who_sees_the_same(see: Callable[[Grants], Sight]) -> None:
    assert see(ADMIN).fairness("Acme", None, "7d") is see(EVERYTHING).fairness("Acme", None, "7d")
    assert see(USER).fairness("Acme", "Berlin", "7d") is not see(ADMIN).fairness("Acme", "Berlin", "7d")


def test_a_look_serves_everybody_for_some_seconds(console: Console) -> None:
    assert console.engine is not None
    watch = module.Watch(console.engine)
    first, second = (Sight(watch, grants).judged("Acme", "Berlin", "UTC") for grants in (ADMIN, EVERYTHING))
    assert first is second
    soon(lambda: Sight(watch, ADMIN).judged("Acme", "Berlin", "UTC") is not first)


def test_a_quiet_site_says_what_ended_last(console: Console, see: Callable[[Grants], Sight]) -> None:
    assert console.engine is not None
    quiet = soon(lambda: (found := see(USER).quiet("Acme", "Berlin")).last is not None and found)
    assert quiet.last is not None
    assert quiet.last["kind"] == "audit"
    assert 0 <= console.engine.now - quiet.last["finished_at"] < 60 * SECOND
    assert quiet.next_at is None


def do(console: Console, action: m.Action) -> m.Outcome:
    assert console.engine is not None
    outcome = console.engine.do(m.Command(f"{uuid4()}", "ann", action)).result(20)
    assert outcome.refused is None
    return outcome


def test_a_task_that_was_stopped_while_it_was_processed_does_not_name_its_processor(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    _, row = processed(see, ADMIN)
    task_id = int(str(row["task_id"]))
    do(console, m.Stop([task_id], "enough"))
    soon(lambda: see(ADMIN).timeline("Acme", "Berlin", task_id)[-1]["to_status"] in ("Stopped", "Canceled"))
    assert see(ADMIN).timeline("Acme", "Berlin", task_id)[-1]["service"] == "proc-1"
    assert "proc-1" not in repr(see(USER).timeline("Acme", "Berlin", task_id))


def test_a_processor_that_a_report_asks_for_is_not_named_to_whoever_sees_but_a_site(
    console: Console, see: Callable[[Grants], Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    do(console, m.SetService("Acme", "proc-1", "offline"))
    try:
        report = m.NewTask("Acme", "Berlin", Kind.REPORT, OVERVIEW, "ann", "ann", requested_service="proc-1")
        ids = [int(i) for i in do(console, m.Submit([report] * 30)).changed]
        soon(lambda: len(see(USER).tasks("Acme", "Berlin", ids)) == 30)
        asked = {row["requested_service"] for row in see(USER).tasks("Acme", "Berlin", ids)}
        assert asked == {A_PROCESSOR}
        assert {row["requested_service"] for row in see(ADMIN).tasks("Acme", "Berlin", ids)} == {"proc-1"}
        monkeypatch.setattr(module, "LOOK_EVERY", 0)
        assert console.engine is not None
        watch = module.Watch(console.engine)
        judged = Sight(watch, USER).judged("Acme", "Berlin", "UTC")
        assert "proc-1" not in repr(judged)
        pile_up = next(s for s in judged.signals if (s.name, s.site) == ("pile_up", "Berlin"))
        assert [host["name"] for host in pile_up.facts["away"]] == [A_PROCESSOR]
        do(console, m.Stop(ids))
        soon(lambda: see(USER).ended("Acme", "Berlin", ids[0]))
        assert "proc-1" not in repr(see(USER).ended("Acme", "Berlin", ids[0]))
    finally:
        do(console, m.SetService("Acme", "proc-1", "online"))


def test_why_something_is_held_and_by_whom_is_not_told_to_a_site_user(
    console: Console, see: Callable[[Grants], Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    (hold_id,) = do(console, m.PlaceHolds("Acme", [m.HoldTarget("kind", "audit")], "ben is under suspicion")).changed
    try:
        monkeypatch.setattr(module, "LOOK_EVERY", 0)
        assert console.engine is not None
        monkeypatch.setitem(console.engine.settings._values, "old_hold_s", 0)

        def told(grants: Grants) -> str:
            assert console.engine is not None
            sight = Sight(module.Watch(console.engine), grants)
            listing = sight.listing("Acme", "Berlin", words=["Paused"]).rows.to_dicts()
            return repr((sight.holds("Acme", "Berlin"), listing, sight.judged("Acme", "Berlin", "UTC")))

        soon(lambda: "Held for" in told(ADMIN) and "Paused" in told(ADMIN))
        assert "under suspicion" in told(ADMIN)
        assert "under suspicion" in told([Grant(Role.SITE_ADMIN, "Acme", "Berlin")])
        assert "Held for" in told(USER)
        assert "under suspicion" not in told(USER)
        assert "'ann'" not in repr(see(USER).holds("Acme", "Berlin"))
        assert "ann holds" not in told(USER)
    finally:
        do(console, m.LiftHolds([int(hold_id)]))


def test_an_action_over_many_tasks_and_its_undo_reach_no_further_than_ones_rights(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    new = [m.NewTask("Acme", site, Kind.SCAN, "Scan", "ann", "ann") for site in ("Berlin", "Oslo")]
    berlin, oslo = (int(i) for i in do(console, m.Submit(new)).changed)
    soon(lambda: see(ADMIN).tasks("Acme", "Oslo", [oslo]))
    tasks = see(ADMIN).snapshot.tasks().filter(pl.col("task_id").is_in([berlin, oslo]))
    site_admin = [Grant(Role.SITE_ADMIN, "Acme", "Oslo")]
    for grants, touched in ((ADMIN, {berlin, oslo}), (site_admin, {oslo}), (USER, set())):
        assert set(see(grants).preview(Verb.STOP, tasks).ids) == touched
    command = m.Command(f"{uuid4()}", "ann", m.Delete([berlin, oslo]))
    assert console.engine is not None
    assert len(console.engine.do(command).result(20).changed) == 2
    assert (see(ADMIN).undo(command.request_id).count, see(site_admin).undo(command.request_id).count) == (2, 1)
    assert (see(ADMIN).finished([berlin, oslo]).keys(), see(site_admin).finished([berlin, oslo]).keys()) == (
        {berlin, oslo}, {oslo},
    )  # fmt: skip
    assert see(USER).finished([berlin, oslo]) == {}
    for request in (command.request_id, "never"):
        with pytest.raises(NotFound, match="no such request, or it changed no task that you may change"):
            see(USER).undo(request)


def test_what_is_at_work_counts_system_tasks_apart(console: Console, see: Callable[[Grants], Sight]) -> None:
    report = m.NewTask("Acme", "Berlin", Kind.REPORT, OVERVIEW, "ann", "ann", priority=9)
    ids = [int(i) for i in do(console, m.Submit([report] * 3)).changed]

    def at_work() -> tuple[Sight, list[dict[str, object]]] | None:
        sight = see(USER)
        rows = [row for row in sight.tasks("Acme", "Berlin", ids) if row["status"] == "Processing"]
        return (sight, rows) if rows else None

    sight, rows = soon(at_work)
    numbers = sight.numbers("Acme", "Berlin")
    assert numbers.system_running == len(rows)
    _, strip = figures.figures(sight, "Acme", "Berlin", sight.snapshot.now)
    own = sight.listing("Acme", "Berlin", size=200).rows.to_dicts()
    assert strip[1].value == f"{sum(queue.has_slot(row) for row in own):,}"
    do(console, m.Stop(ids))


def test_a_processor_that_a_report_was_made_to_ask_for_is_not_named_either(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    do(console, m.SetService("Acme", "proc-1", "offline"))
    try:
        report = m.NewTask("Acme", "Berlin", Kind.REPORT, OVERVIEW, "ann", "ann")
        (task_id,) = (int(i) for i in do(console, m.Submit([report])).changed)
        do(console, m.Edit(task_id, 1, {"requested_service": "proc-1"}))
        soon(lambda: "proc-1" in repr(see(ADMIN).timeline("Acme", "Berlin", task_id)))
        assert "proc-1" not in repr(see(USER).timeline("Acme", "Berlin", task_id))
        do(console, m.Stop([task_id]))
    finally:
        do(console, m.SetService("Acme", "proc-1", "online"))


# --- hosts


def test_hosts_are_shown_with_what_they_do_and_processors_by_name_to_whoever_sees_the_business(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    sight, row = processed(see, ADMIN)
    found = sight.hosts("Acme", "Berlin")
    assert [host.look.name for host in found.own] == ["audit-1"]
    assert [host.look.name for host in found.processors] == ["proc-1"]
    assert found.named
    assert not found.archive
    assert row["task_id"] in [task["task_id"] for task in sight.at_work("Acme", "Berlin")["proc-1"]]
    changes = sight.changes("Acme", "Berlin", "proc-1")
    assert changes[-1]["event"] == "service_added"


def test_a_site_user_reads_of_processors_only_how_many_there_are_and_how_they_do(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    processed(see, ADMIN)
    sight = see(USER)
    found = sight.hosts("Acme", "Berlin")
    assert [host.look.name for host in found.processors] == [A_PROCESSOR]
    assert not found.named
    assert sum(host.look.slots for host in found.processors) == 2
    assert list(sight.at_work("Acme", "Berlin")) == ["audit-1"]
    assert sight.changes("Acme", "Berlin", "proc-1") == []
    assert sight.changes("Acme", "Berlin", "audit-2") == []  # it is another site's
    assert "proc-1" not in repr([found, sight.at_work("Acme", "Berlin")])


def test_only_what_has_a_slot_is_at_work_and_as_many_of_it_as_the_hosts_use(see: Callable[[Grants], Sight]) -> None:
    def agrees() -> bool:
        sight = see(ADMIN)
        looks = {look.name: look.used for look in sight.snapshot.services if look.business == "Acme"}
        at_work = sight.at_work("Acme", "Berlin")
        assert {name: looks[name] for name in at_work} == {name: len(tasks) for name, tasks in at_work.items()}
        return looks["audit-1"] > 0 and looks["proc-1"] > 0

    soon(agrees)


def test_a_change_of_a_host_is_told_at_once_with_who_and_why(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    see(USER).changes("Acme", "Berlin", "audit-1")  # from now on it is kept for some seconds
    do(console, m.SetService("Acme", "audit-1", "draining", reason="being moved"))
    try:
        soon(lambda: see(USER).hosts("Acme", "Berlin").own[0].word == "draining")
        last = see(USER).changes("Acme", "Berlin", "audit-1")[0]
        assert (last["event"], last["actor"], last["reason"]) == ("draining", "ann", "being moved")
    finally:
        do(console, m.SetService("Acme", "audit-1", "online"))


def test_a_host_is_heard_of_while_nothing_is_published(console: Console, see: Callable[[Grants], Sight]) -> None:
    """Oslo has nothing to do: its host's heartbeats make no batch, and are told all the same."""
    engine = console.engine
    assert engine is not None

    def heard() -> int:
        return see(ADMIN).hosts("Acme", "Oslo").own[0].heard_at or 0

    first = soon(heard)
    soon(lambda: heard() > first + SECOND)
    assert engine.now - heard() < 10 * SECOND
    before = engine.snapshot.services
    soon(lambda: heard() > first + 3 * SECOND)
    assert [look for look in before if look.site == "Oslo"] == [
        look for look in engine.snapshot.services if look.site == "Oslo"
    ]


def test_a_schedule_is_told_of_as_soon_as_it_is_made_paused_run_or_removed(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    def do(action: m.Action) -> m.Outcome:
        assert console.engine is not None
        outcome = console.engine.do(m.Command(uuid4().hex, "ann", action)).result(PATIENCE)
        assert outcome.refused is None
        return outcome

    rule = Rule.cron_rule("0 0 1 1 *", "Europe/Oslo")
    (made,) = do(m.CreateSchedule(m.ScheduleSpec("New year", "Acme", "Oslo", Kind.AUDIT, rule, "ann"))).changed
    (planned,) = see(ADMIN).timetable("Acme", "Oslo").planned
    assert planned.schedule.schedule_id == made
    assert see(ADMIN).timetable("Acme", "Oslo").load.hours["fires"].sum() <= 1  # a week has New Year's in it, or not
    (task,) = do(m.RunNow(int(made))).changed
    soon(lambda: any(step["run"]["task_id"] == task for step in see(ADMIN).past("Acme", "Oslo", int(made)).steps))
    do(m.RemoveSchedule(int(made)))
    assert see(ADMIN).timetable("Acme", "Oslo").planned == []
    assert [v.event for v in see(ADMIN).past("Acme", "Oslo", int(made)).versions] == ["removed", "created"]
    assert see(ADMIN).past("Acme", "Berlin", int(made)).steps == []


def test_what_holds_keep_is_told_to_who_may_pause_there_and_whom_to_pause_of_his_business_only(
    console: Console, see: Callable[[Grants], Sight]
) -> None:
    assert console.access is not None
    for name, business in (("zoe", "Acme"), ("hugo", "Globex")):
        console.access.invite(Actor("root", EVERYTHING), name, [Grant(Role.BUSINESS_ADMIN, business)])
    for grants, business in ((USER, "Acme"), ([Grant(Role.SITE_ADMIN, "Acme", "Berlin")], "Acme"), (ADMIN, "Globex"),
                             (ADMIN, None)):  # fmt: skip
        with pytest.raises(NotAllowed, match="may not pause and resume"):
            see(grants).pauses(business)
    with pytest.raises(NotAllowed):
        see(ADMIN).people("Globex")
    for grants in (ADMIN, EVERYTHING):
        assert {"zoe", "hugo"} & set(see(grants).people("Acme")) == {"zoe"}
    assert set(see(ADMIN).pauses("Acme").counts["business"]) <= {"Acme"}


def test_a_list_of_several_tabs_is_of_the_places_that_one_sees_and_names_no_processor_to_who_sees_a_site(
    see: Callable[[Grants], Sight]
) -> None:
    everything = Asked(parse(""), system=True)
    processed(see, ADMIN)
    with pytest.raises(NotAllowed):
        see(USER).together(Place("Acme"), everything, TABS)
    sight = see(USER)
    rows = sight.together(sight.place("Acme"), everything, TABS, size=200).rows
    assert set(rows["site"]) == {"Berlin"}
    assert set(rows["processor"].drop_nulls()) <= {A_PROCESSOR}

