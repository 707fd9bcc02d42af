"""Drills on a console that runs, as the command line starts them through the socket: each does what it says."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from engine import messages as m
from engine import simulated
from engine.__main__ import main
from engine.clock import SECOND
from engine.console import Console
from engine.drills import DRILLS
from engine.errors import DrainboardError, NotAllowed
from engine.fleet import load
from engine.lifecycle import Kind
from engine.roles import EVERYTHING, Grant, Role
from engine.runtime import Engine
from engine.simulated import Simulated

T = TypeVar("T")

START = 1_780_000_000 * SECOND
PATIENCE = 60.0  #: seconds in which a thing must have happened, on a busy machine

BERLIN = ("--business", "Acme", "--site", "Berlin")

#: Ten times as fast as life, an audit comes every second, collects for a second and is processed in a tenth of one.
FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }, { name = "ben", role = "site_admin", sites = ["berlin"] }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "audit-1", role = "audit_service", slots = 6 },
  { name = "audit-2", role = "audit_service", slots = 6 },
]
targets = [{ name = "srv", kind = "device", count = 40 }]
mix.audit = { per_hour = 360, collect = { median_s = 10, sigma = 0.2 }, process = { median_s = 1, sigma = 0.1 } }
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("drills")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\nsilence_s = 5\n")
    (folder / "fleet.toml").write_text(FLEET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "HEARTBEAT", SECOND)
        patch.setattr(simulated, "STOPS_UNHEARD", 0.0)
        one = Console(folder).start(wait=True)
        try:
            until("the fleet works", lambda: one.engine and one.engine.snapshot.numbers["Acme", None].running)
            yield one
        finally:
            one.close()


@pytest.fixture
def engine(console: Console) -> Engine:
    assert console.engine is not None
    return console.engine


def until(what: str, happened: Callable[[], T]) -> T:
    """Wait until something is so; return what made it so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


def drill(console: Console, *words: str) -> int:
    return main(["drill", *words, "--data", str(console.folder)])


def state(engine: Engine, service: str) -> str:
    return next(look.state for look in engine.snapshot.services if look.name == service)


def trail(engine: Engine) -> list[tuple[str, ...]]:
    return engine.store.read(
        "select actor, action, object_id, business, site from audit where object_kind = 'drill' order by audit_id"
    ).rows()


def test_what_ran_on_a_lost_host_is_rescued_and_finished_elsewhere_until_the_host_is_back(
    console: Console, engine: Engine
) -> None:
    until("audit-1 works", lambda: any(s.used for s in engine.snapshot.services if s.name == "audit-1"))
    assert drill(console, "host-lost", "--business", "Acme", "--service", "audit-1") == 0
    until("audit-1 counts as offline", lambda: state(engine, "audit-1") == "offline")
    rescued = "select task_id from task_event where event = 'rescue' and reason = 'worker_lost'"
    elsewhere = f"select count(*) from task_done where status = 'Processed' and task_id in ({rescued})"
    until("a rescued task is finished", lambda: engine.store.read(elsewhere).item())

    assert drill(console, "end", "host-lost", "--business", "Acme", "--service", "audit-1") == 0
    until("audit-1 is back", lambda: state(engine, "audit-1") == "online")
    until("audit-1 works again", lambda: any(s.used for s in engine.snapshot.services if s.name == "audit-1"))


def test_a_lost_host_says_nothing_not_even_how_far_it_is() -> None:
    """Every report counts as a sign of life, so one would keep the host from being lost."""
    fleet = load(FLEET)
    (business,) = fleet.businesses
    world, host = Simulated(fleet, 1, 0.01), (business.name, business.processors[0].name)
    world.step(START)
    order = m.StartOrder("simulated", *BERLIN[1::2], host[1], 7, 9, "process", Kind.AUDIT, None, 0, 0.0)
    world.give([order])
    world.step(START + SECOND)
    heard = [r for r in world.step(START + 4 * SECOND) if isinstance(r, m.Progress | m.Finished)]
    assert [report.lease for report in heard] == [9]
    world.lose_host(*host)
    said = [r for n in range(5, 600) for r in world.step(START + n * SECOND)]
    assert not [r for r in said if isinstance(r, m.Progress | m.Finished) and r.lease == 9]
    assert all(host in r.silent for r in said if isinstance(r, m.Alive))
    world.return_host(*host)
    back = [r for n in range(600, 1_200) for r in world.step(START + n * SECOND)]
    assert [r.lease for r in back if isinstance(r, m.Finished) and r.lease == 9] == [9]


def test_a_hung_target_keeps_its_task_running_until_somebody_stops_it(console: Console, engine: Engine) -> None:
    assert drill(console, "hung-target", *BERLIN) == 0
    hung = until("one runs on while ten that came later are done", lambda: overtaken(engine, by=10))
    assert engine.do(m.Command("stop-hung", "ann", m.Stop([hung]))).result(10).refused is None
    ended = f"select status, reason from task_done where task_id = {hung}"
    assert until("it is stopped", lambda: engine.store.read(ended).rows()) == [("Stopped", "by_user")]


def test_a_hung_target_is_listed_while_it_waits_and_while_it_has_its_victim_until_it_is_ended(
    console: Console, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    drills = console.drills
    assert drills is not None
    assert drill(console, "hung-target", *BERLIN) == 0
    assert [(one.drill, one.values) for one in drills.ongoing()] == [
        ("hung-target", {"business": "Acme", "site": "Berlin"})
    ]
    until("it has a victim", lambda: "Audit #" in str(drills.ongoing()[0]))
    assert drill(console, "hung-target", *BERLIN) == 1
    capsys.readouterr()
    assert drill(console, "list") == 0
    assert "hung-target: business Acme, site Berlin (Audit #" in capsys.readouterr().out
    assert drill(console, "end", "hung-target", *BERLIN) == 0
    assert drills.ongoing() == []
    until("nothing hangs", lambda: overtaken(engine, by=10) is None)


@pytest.mark.parametrize(
    "grant", [Grant(Role.BUSINESS_ADMIN, "Acme"), Grant(Role.SITE_ADMIN, "Acme", "Berlin")], ids=lambda g: g.role
)
def test_who_is_no_platform_admin_starts_and_ends_no_drill_and_learns_of_no_name(
    console: Console, engine: Engine, grant: Grant
) -> None:
    drills = console.drills
    assert drills is not None
    before = trail(engine)
    for act in (drills.start, drills.end):
        for business in ("Acme", "Globex"):
            with pytest.raises(NotAllowed, match="You may not start drills at the whole platform"):
                act("slow-processors", {"business": business}, "ben", [grant])
    assert trail(engine) == before
    assert drills.ongoing() == []


def overtaken(engine: Engine, by: int) -> int | None:
    """Return a task that collects, was never put back, and sees so many later ones done."""
    tasks = engine.snapshot.tasks()
    running = tasks.filter((tasks["status"] == "Active") & (tasks["attempt"] == 0))["task_id"].to_list()
    for task in running:
        if engine.store.read("select count(*) from task_done where task_id > ?", [task]).item() >= by:
            return int(task)
    return None


def test_a_surge_is_one_submission_of_one_of_the_sites_people_and_fills_the_queue(
    console: Console, engine: Engine
) -> None:
    assert drill(console, "surge", *BERLIN, "--tasks", "80") == 0
    surges = "select count(*) as tasks, min(actor), max(actor), max(kind) from task_event where event = 'submit' "
    ((tasks, first, last, kind),) = engine.store.read(surges + "and request_id like 'drill-%'").rows()
    assert (tasks, kind) == (80, "audit")
    assert first == last
    assert first in ("ann", "ben")
    until("a queue stands", lambda: engine.snapshot.numbers["Acme", "Berlin"].queued > 40)
    until("it is worked off", lambda: engine.snapshot.numbers["Acme", "Berlin"].queued < 10)


def test_slow_processors_pile_up_work_until_they_are_as_fast_as_before(console: Console, engine: Engine) -> None:
    assert drill(console, "slow-processors", "--business", "Acme", "--times", "100") == 0
    until("work waits for processors", lambda: engine.snapshot.numbers["Acme", None].process_queued > 5)
    assert drill(console, "end", "slow-processors", "--business", "Acme") == 0
    until("none waits", lambda: engine.snapshot.numbers["Acme", None].process_queued == 0)


def test_drills_that_last_are_listed_and_end_by_themselves(
    console: Console, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drill(console, "slow-processors", "--business", "Acme", "--times", "2", "--for", "1000") == 0
    assert drill(console, "host-lost", "--business", "Acme", "--service", "audit-2", "--for", "1000") == 0
    capsys.readouterr()
    assert drill(console, "list", "--json") == 0
    ongoing = json.loads(capsys.readouterr().out)["ongoing"]
    assert [(one["drill"], one["values"]) for one in ongoing] == [
        ("host-lost", {"business": "Acme", "service": "audit-2"}),
        ("slow-processors", {"business": "Acme"}),
    ]
    assert all(one["until"] > engine.now for one in ongoing)
    for name, which in (("slow-processors", ()), ("host-lost", ("--service", "audit-2"))):
        before = trail(engine)
        assert drill(console, name, "--business", "Acme", *which, "--for", "1") == 1
        assert f"This drill goes on already: {name}: business Acme" in capsys.readouterr().err
        assert trail(engine) == before
        assert drill(console, "end", name, "--business", "Acme", *which) == 0
        assert drill(console, name, "--business", "Acme", *which, "--for", "1") == 0
    assert console.drills is not None
    until("both have ended", lambda: console.drills and not console.drills.ongoing())
    until("audit-2 is online", lambda: state(engine, "audit-2") == "online")


def test_the_audit_trail_tells_who_started_and_ended_each_drill_and_the_ledger_stays_legal(
    console: Console, engine: Engine
) -> None:
    before = trail(engine)
    assert drill(console, "slow-processors", "--business", "Acme") == 0
    assert drill(console, "end", "slow-processors", "--business", "Acme") == 0
    assert drill(console, "surge", *BERLIN, "--tasks", "3") == 0
    me = f"cli:{getpass.getuser()}"
    assert trail(engine)[len(before) :] == [
        (me, "start", "slow-processors", "Acme", None),
        (me, "end", "slow-processors", "Acme", None),
        (me, "start", "surge", "Acme", "Berlin"),
    ]
    given = "select after from audit where object_kind = 'drill' order by audit_id desc limit 1"
    assert json.loads(engine.store.read(given).item()) == {
        "business": "Acme", "site": "Berlin", "kind": "audit", "tasks": 3,
    }  # fmt: skip
    assert main(["verify", "--data", str(console.folder)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("host-lost --business Acne --service audit-1", "no business “Acne”; did you mean “Acme”?"),
        ("host-lost --business Acme --service audit-3", "no service in Acme “audit-3”; did you mean “audit-"),
        ("host-lost --business Acme --service audit-1 --for 0", "“for” is 0.0; it must be from 1 to 604800"),
        ("hung-target --business Acme --site Berlim", "no site “Berlim”; did you mean “Berlin”?"),
        ("surge --business Acme --site Berlin --tasks 0", "“tasks” is 0; it must be from 1 to 5000"),
        ("surge --business Acme --site Berlin --kind import", "Berlin has no service that runs tasks of type import"),
        ("slow-processors --business Acme --times 0", "“times” is 0.0; it must be from 1.1 to 1000"),
        ("slow-processors --business Acme --times -5", "“times” is -5.0"),
        ("slow-processors --business Acme --times nan", "“times” is nan"),
        ("slow-processors --business Acme --for inf", "“for” is inf"),
        ("end slow-processors --business Acme", "No such drill goes on: slow-processors: business Acme"),
    ],
)
def test_what_can_not_be_is_refused_in_words_and_leaves_no_trace(
    console: Console, engine: Engine, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    before = trail(engine)
    assert drill(console, *words.split()) == 1
    assert said in capsys.readouterr().err
    assert trail(engine) == before
    assert console.drills is not None
    assert console.drills.ongoing() == []


@pytest.mark.parametrize("words", ["", "host-lots", "end", "end surge", "surge --business Acme", "surge --kind audits"])
def test_bad_usage_is_told_apart_from_a_refusal(tmp_path: Path, words: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["drill", *words.split()])
    assert exit_.value.code == 2


def test_a_page_that_names_what_is_not_there_is_refused_like_the_command_line(console: Console) -> None:
    drills = console.drills
    assert drills is not None
    for name, given, said in (
        ("surge", {"business": "Acme"}, "The drill surge needs a site"),
        ("surge", {"business": "Acme", "site": "Berlin", "tasks": "many"}, "“tasks” is 'many'; it must be a number"),
        ("surge", {"business": "Acme", "site": "Berlin", "kind": "audits"}, "no kind “audits”; did you mean “audit”"),
        ("surge", {"business": "Acme", "site": "Berlin", "size": 1}, "no parameter of the drill surge “size”"),
        ("host_lost", {}, "no drill “host_lost”; did you mean “host-lost”?"),
    ):
        with pytest.raises(DrainboardError, match=said.replace("?", r"\?")):
            drills.start(name, given, "ann", EVERYTHING)
    with pytest.raises(DrainboardError, match="does not last"):
        drills.end("surge", {}, "ann", EVERYTHING)


@pytest.mark.parametrize("there", [True, False])
def test_a_drill_needs_a_running_console(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool) -> None:
    folder = tmp_path if there else tmp_path / "nowhere"
    assert main(["drill", "--data", str(folder), "surge", *BERLIN]) == 1
    assert f"No console runs on {folder}; a drill needs one" in capsys.readouterr().err
    assert not (folder / "store").exists()


def test_every_drill_says_what_it_does_and_needs() -> None:
    assert [drill.name for drill in DRILLS] == ["host-lost", "hung-target", "surge", "slow-processors"]
    for one in DRILLS:
        assert one.help
        assert all(parameter.help for parameter in one.parameters)
        assert one.identity[0].name == "business"


def test_a_drill_begun_anew_ends_at_its_new_end_and_not_at_the_old_one() -> None:
    world, start = Simulated(load(FLEET), seed=1), 1_780_000_000 * SECOND
    world.step(start)
    for end in (10, 20):
        world.lose_host("Acme", "audit-1", start + end * SECOND)
        world.slow_processors("Acme", 3.0, start + end * SECOND)
    world.step(start + 15 * SECOND)
    assert set(world.lost_hosts()) == {("Acme", "audit-1")}
    assert set(world.slow_businesses()) == {"Acme"}
    told = world.step(start + 25 * SECOND)
    assert world.lost_hosts() == world.slow_businesses() == {}
    assert m.Alive("simulated", frozenset({("Acme", "audit-1")})) in told
    assert m.Alive("simulated", frozenset()) in world.step(start + 35 * SECOND)


def test_a_surge_is_of_the_kind_that_was_asked_for() -> None:
    submission = Simulated(load(FLEET), seed=1).surge("Acme", "Berlin", Kind.AUDIT, 7)
    assert [task.kind for task in submission.tasks] == [Kind.AUDIT] * 7
