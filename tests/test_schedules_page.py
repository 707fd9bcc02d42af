"""The Schedules page without a browser: odd data and odd addresses, and tasks that are to come once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from streamlit.testing.v1 import AppTest

from engine import messages as m
from engine.clock import HOUR
from engine.console import Console
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grant, Role
from engine.sight import Sight
from pages.shared import plans
from tests.visiting import visit

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<script>x</script> ![x](https://elsewhere.example/x.png) :red[a]"
FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 1 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 3 }]
targets = [{ name = "srv", kind = "device", count = 5 }]
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("schedules-page")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    one = Console(folder).start(wait=True)
    deadline = time.monotonic() + 20
    while one.engine is None or not one.engine.snapshot.zones:
        assert time.monotonic() < deadline, "Pages did not see the site in time"
        time.sleep(0.02)
    yield one
    one.close()


@pytest.fixture
def look(console: Console, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Tell what the page shows under an address to somebody."""
    visit(console, monkeypatch)

    def told(role: Role = Role.PLATFORM_ADMIN, **address: str) -> str:
        if role is not Role.PLATFORM_ADMIN:
            visit(console, monkeypatch, role.value, [Grant(role, "Acme", "Berlin")])
        page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        page.switch_page("operate/schedules.py")
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return "\n".join(part.proto.body for part in page.get("html"))

    return told


def do(console: Console, action: m.Action) -> list[int]:
    assert console.engine is not None
    outcome = console.engine.do(m.Command(f"{uuid4()}", "ann", action)).result(20)
    assert outcome.refused is None, outcome.refused
    return [int(changed) for changed in outcome.changed]


def create(console: Console, name: str = "Nightly", cron: str = "0 2 * * *", **facts: Any) -> int:
    rule = Rule.cron_rule(cron, "Europe/Berlin")
    (made,) = do(console, m.CreateSchedule(m.ScheduleSpec(name, "Acme", "Berlin", Kind.AUDIT, rule, "ann", **facts)))
    return made


@pytest.fixture
def schedule(console: Console) -> Iterator[int]:
    made = create(console, EVIL, target=EVIL, scope=EVIL)
    yield made
    do(console, m.RemoveSchedule(made))


def test_text_in_a_schedule_and_in_why_it_is_paused_is_no_markup(
    console: Console, look: Callable[..., str], schedule: int
) -> None:
    do(console, m.PlaceHolds("Acme", [m.HoldTarget("schedule", str(schedule))], EVIL))
    deadline = time.monotonic() + 20
    while console.engine is None or not console.engine.snapshot.holds:
        assert time.monotonic() < deadline, "Pages did not see the hold in time"
        time.sleep(0.02)
    told = look(schedule=str(schedule))
    assert "&lt;script&gt;x" in told
    assert "<script>" not in told
    assert "Paused until resumed, by ann" in told
    assert re.search(r"Schedule #\d+ without expiry", told)


@pytest.mark.parametrize(
    "address",
    [
        {"schedule": "9" * 18}, {"schedule": "9" * 400}, {"schedule": "x'<script>"}, {"schedule": "²"},
        {"sort": "garbage", "page": "99999999", "show": "<b>"}, {"page": "²", "find": "([" * 999}, {"find": "\0"},
        {"sort": "-missed", "show": "With misses"},
    ],
)  # fmt: skip
def test_an_address_of_garbage_shows_the_page_all_the_same(
    look: Callable[..., str], schedule: int, address: dict[str, str]
) -> None:
    told = look(**address)
    assert "1 schedule at Berlin" in told
    assert "<script>" not in told
    if "schedule" in address:
        assert "there never was such a schedule" in told


def test_a_stack_is_named_with_when_it_comes_and_who_is_in_it(console: Console, look: Callable[..., str]) -> None:
    made = [create(console, f"Nightly {n}") for n in range(4)]
    told = look()
    assert re.search("4 schedules fire at 02:00( and 03:00)? each day", told), "03:00 where clocks skip 02:00"
    assert "“Nightly 2” and 1 more" in told
    assert "How long 4 schedules will take is not known yet" in told
    for one in made:
        do(console, m.RemoveSchedule(one))


def test_who_may_only_read_is_told_which_role_changing_needs(look: Callable[..., str], schedule: int) -> None:
    sentence = "needs the role of a site admin"
    assert sentence in look(Role.SITE_USER)
    assert sentence not in look(Role.SITE_ADMIN)


def test_a_pages_worth_of_many_is_shown_in_the_order_that_was_asked_for(console: Console) -> None:
    assert console.watch is not None
    made = [create(console, f"Number {n:03}", f"{n % 60} {n // 60} * * *") for n in range(60)]
    planned = Sight(console.watch, EVERYTHING).timetable("Acme", "Berlin").planned
    assert len(planned) == 60
    query = plans.Query.of({"sort": "-name", "page": "2"}, "")
    ordered = sorted(planned, key=plans._order(query.column, lambda _: None), reverse=query.desc)
    assert [one.schedule.spec.name for one in ordered[:2]] == ["Number 059", "Number 058"]
    assert [one for one in planned if plans._matches(one, "number 017")] == [planned[17]]
    for one in made:
        do(console, m.RemoveSchedule(one))


# --- once


def later(console: Console) -> dict[str, Any]:
    assert console.engine is not None
    assert console.watch is not None
    due_at = console.engine.now + 5 * HOUR
    new = m.NewTask("Acme", "Berlin", Kind.AUDIT, EVIL, "ann", "ann", "srv-1", due_at=due_at)
    (task,) = do(console, m.Submit([new]))
    deadline = time.monotonic() + 20
    while True:
        found = [t for t in Sight(console.watch, EVERYTHING).scheduled("Acme", "Berlin") if t["task_id"] == task]
        if found:
            return found[0]
        assert time.monotonic() < deadline, "It was not seen in time"
        time.sleep(0.02)


def dialog(name: str, task: dict[str, Any], request: str = "r") -> AppTest:
    def page(name: str, task: dict[str, object], request: str) -> None:
        from pages.shared import edittask, once

        if name == "edit":
            edittask._dialog.__wrapped__(task, request, "grid")
        else:
            once._remove.__wrapped__(task, request)

    return AppTest.from_function(page, args=(name, task, request), default_timeout=30).run()


def told(form: AppTest) -> str:
    return " ".join(html.proto.body for html in form.get("html"))


def live(console: Console, task_id: int) -> Any:
    assert console.engine is not None
    found = console.engine.snapshot.live(task_id)
    return found[0] if found is not None else None


@pytest.mark.usefixtures("look")
def test_a_task_that_is_to_come_once_is_listed_changed_and_removed(
    console: Console, look: Callable[..., str]
) -> None:
    task = later(console)
    assert "<b>Scheduled once</b><span>1 to come</span>" in look()
    form = dialog("edit", task)
    assert not form.exception
    assert form.button(key="r.go").disabled  # nothing is changed yet
    form.text_input(key="r.target").set_value("srv-2").run()
    form.datetime_input(key="r.due").set_value(form.datetime_input(key="r.due").value + timedelta(hours=2)).run()
    form.text_input(key="r.reason").set_value("moved").run()
    form.button(key="r.go").click().run()
    assert not form.exception
    assert "1 task changed." in told(form)
    deadline = time.monotonic() + 20
    while live(console, task["task_id"]).version == 1:
        assert time.monotonic() < deadline, "It was not changed in time"
        time.sleep(0.02)
    row = live(console, task["task_id"])
    assert row.target == "srv-2"
    assert abs(row.due_at - task["due_at"] - 2 * HOUR) <= 60_000_000  # forms know whole minutes
    stale = dialog("edit", task, "late")
    for wrong in ("srv-3, srv-4", "10.0.0.0/24", ""):
        stale.text_input(key="late.target").set_value(wrong).run()
        assert stale.button(key="late.go").disabled, wrong
        assert "is no target for it" in told(stale)
    stale.text_input(key="late.target").set_value("srv-3").run()
    stale.button(key="late.go").click().run()
    assert "Somebody changed this task meanwhile (version 2, yours 1)" in told(stale)
    gone = dialog("remove", task)
    gone.button(key="r.go").click().run()
    assert not gone.exception
    while live(console, task["task_id"]) is not None:
        assert time.monotonic() < deadline, "It was not removed in time"
        time.sleep(0.02)
    assert "0 to come" in look()
