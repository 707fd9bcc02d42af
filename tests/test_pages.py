"""Parts of pages without a browser: what they say of odd data, and what they ask the engine for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.testing.v1 import AppTest

from engine.console import Console
from engine.health import Look, Signal
from engine.lifecycle import OVERVIEW, Kind
from engine.messages import (
    Action,
    AddBusiness,
    AddService,
    AddSite,
    Command,
    HoldTarget,
    KeepView,
    NewTask,
    PlaceHolds,
    SetService,
    Stop,
    Submit,
)
from engine.onplaces import MOST_SLOTS
from engine.roles import Grant, Role
from engine.watch import Judged
from pages.shared import addresses, card, newtask, pastruns, remedies, times
from pages.shared.kpi import Kpi
from pages.shared.plain import plain
from tests.visiting import visit

ROOT = Path(__file__).resolve().parent.parent
EVIL = "![x](https://elsewhere.example/x.png) :red[a] $b$ *c* <script>d</script> [e](javascript:f)"


def test_plain_leaves_no_mark_unescaped_and_letters_alone() -> None:
    assert re.sub(r"\\(.)", r"\1", plain(EVIL)) == EVIL
    assert not re.search(r"(?<!\\)[!\[\]()*$:<>_`~#]", plain(EVIL).replace("\\\\", ""))
    assert plain("Scan 12 größer") == "Scan 12 größer"


def test_a_name_in_a_verdicts_button_and_in_what_is_told_is_no_markup() -> None:
    def page() -> None:

        from pages.shared import notice
        from pages.shared.verdict import verdict

        evil = "![x](https://elsewhere.example/x.png)"
        verdict("alarm", "Backing up: x", "", [f"Open {evil}"])
        notice.keep(evil)
        notice.tell()

    done = AppTest.from_function(page).run()
    assert not done.exception
    assert [button.label for button in done.button] == [f"Open {plain('![x](https://elsewhere.example/x.png)')}"]
    assert [toast.value for toast in done.toast] == [plain("![x](https://elsewhere.example/x.png)")]


def test_what_was_pressed_for_some_is_not_done_to_others_who_are_picked_after_a_clearing_in_the_same_run() -> None:
    def page() -> None:
        import streamlit as st

        from engine.lifecycle import Tab
        from pages.shared import acting, grid

        if picked := st.session_state.pop("picked", None):
            grid.select("g", picked)
        pressed = acting.bar(grid.state("g")[0], 9, acting.ACTS[Tab.SCHEDULED], key="g", view="v", off=False)
        st.text(f"{pressed[0].label}: {pressed[1]}" if pressed else "nothing")

    def pick(*ids: str) -> str:
        done.session_state["picked"] = ids
        return str(done.run().text[0].value)

    def press(*labels: str) -> str:
        for label in labels:
            next(one for one in done.button if one.label == label).click()
        return str(done.run().text[0].value)

    done = AppTest.from_function(page).run()
    assert pick("1") == "nothing"
    assert press("Delete", "Clear") == "nothing"
    assert pick("2", "3") == "nothing"
    assert press("Delete") == "Delete: (2, 3)"
    assert press("Select all 9") == "nothing"
    assert press("Delete") == "Delete: None", "all"
    assert pick("3") == "nothing"
    assert press("Delete") == "Delete: (3,)", "all no more, as one of them was unticked"
    assert pick("2", "3") == "nothing"
    assert press("Delete") == "Delete: (2, 3)", "nor once it is ticked again"
    assert press("Select all 9") == "nothing"
    assert pick("2", "3", "4") == "nothing"
    assert press("Delete") == "Delete: None"
    assert pick("2", "3") == "nothing"
    assert press("Delete") == "Delete: (2, 3)", "nor where one is unticked that was ticked since"
    press("Clear")
    assert pick("2", "3") == "nothing"
    assert press("Delete") == "Delete: (2, 3)"


@pytest.mark.parametrize("told", ["Etc/Unknown", "../../etc/passwd", "", None, "Europe", "a\0b", "x" * 5_000])
def test_a_zone_that_is_not_known_here_counts_as_utc(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "st", SimpleNamespace(context=SimpleNamespace(timezone=told)))
    assert times.zone().key == "UTC"


@pytest.mark.parametrize(
    ("wall", "said"),
    [
        ("2026-03-29T02:30", "Clocks skip 02:30 on that day: it is to start at 03:30 CEST."),
        ("2026-10-25T02:30", "Clocks show 02:30 twice on that day: the first time counts, CEST."),
        ("2026-03-29T03:00", ""), ("2026-10-25T03:00", ""), ("2026-07-01T02:30", ""),
        ("2025-12-31T23:59", "That has passed: it joins the queue at once."),
    ],
)  # fmt: skip
def test_a_start_that_clocks_skip_or_show_twice_or_that_has_passed_is_told_of(wall: str, said: str) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = times.instant_of(datetime.fromisoformat("2026-01-01"), berlin)
    assert times.doubt(datetime.fromisoformat(wall), berlin, now) == said


@pytest.mark.parametrize(
    ("attempt", "reason", "attempts"), [(0, None, 1), (2, None, 3), (3, "worker_lost", 3), (1, "by_user", 2)]
)
def test_a_task_that_has_ended_had_as_many_attempts_as_were_made(
    attempt: int, reason: str | None, attempts: int
) -> None:
    assert card._attempts({"attempt": attempt, "reason": reason}) == attempts


def run(status: str, took_s: float | None) -> dict[str, Any]:
    return {"status": status, "took_s": took_s, "finished_at": None if took_s is None else 1}


def test_past_runs_are_summed_up_in_words() -> None:
    done, failed, going = run("Processed", 130.0), run("Canceled", 5.0), run("Active", None)
    assert pastruns.summed_up([going]) == "One run so far; none has ended yet."
    assert pastruns.summed_up([failed]) == "One run so far: 0 of 1 that ended are done (0\u202f%)."
    said = pastruns.summed_up([going, failed, done, done])
    assert said == "Last 4 runs: 2 of 3 that ended are done (66\u202f%). Median 2:10 min."


def test_a_copy_takes_a_tasks_facts_and_settings_and_not_whose_it_is() -> None:
    task = {"kind": "audit", "number": 7, "target": "srv-1", "name": "Nightly", "scope": None, "owner": "ann",
            "requested_service": "aud", "priority": 8, "due_at": 5}  # fmt: skip
    assert newtask.likeness(task, {"longest_wait_s": 5_400}) == {
        "kind": Kind.AUDIT, "targets": "srv-1", "name": "Nightly", "scope": "", "service": "aud", "priority": 8,
        "longest": "1h30m", "of": "Audit #7",
    }  # fmt: skip
    like = newtask.likeness(task | {"name": "Audit of srv-1", "requested_service": None}, {})
    assert (like["name"], like["service"], like["longest"]) == ("", newtask.ANY, "")
    assert not newtask.can_copy({"kind": "report"})


def opened(kind: str, live: bool, **facts: Any) -> card.Opened:
    task = {"kind": kind, "service": None, "requested_service": None, **facts}
    roles = {"exp": "explorer", "zone": "hosted_zone", "aud": "audit_service"}
    return card.Opened(task, live, (), None, "", {}, roles, ())


def test_a_card_tells_of_each_role_that_could_collect_which_host_does() -> None:
    assert card._hosts(opened("connector", True)) == {"Explorer": "any that can", "Hosted zone": "any that can"}
    asked = opened("connector", True, requested_service="zone")
    assert card._hosts(asked) == {"Explorer": "not to be used", "Hosted zone": "zone, as asked for"}
    assert card._hosts(opened("connector", False, service="exp")) == {"Explorer": "exp", "Hosted zone": "not used"}
    assert card._hosts(opened("import", False, service="zone")) == {"Hosted zone": "zone"}
    assert card._hosts(opened("audit", False)) == {"Audit host": None}
    assert card._hosts(opened("report", True, requested_service="a processor")) == {"Asked for": "a processor"}
    assert card._hosts(opened("scan", False, service="node-7")) == {"Service": "node-7"}


def test_a_day_that_was_steady_is_not_called_so_beside_a_figure_that_is_out_of_usual() -> None:
    steady = Signal("steady", True, "Acme", "Berlin", "Steady: the queue was empty 53 % of the last 24 h", [], {}, "")
    judged = Judged(Look.__new__(Look), [steady], steady)
    calm = Kpi("Queued", "2", note="usual 0–3")
    assert remedies.told(judged, [calm])[:2] == ("steady", steady.headline)
    over = [
        Kpi("Queued", "11", note="usual 0–3", out=True),
        Kpi("Oldest wait", "8:35", "min:s", "usual 0–3:30 min", out=True),
    ]
    assert remedies.told(judged, over) == (
        "busy",
        "More than usual: queued 11 (usual 0–3), oldest wait 8:35 min (usual 0–3:30 min)",
        "The queue was empty 53 % of the last 24 h. Nothing to do unless it lasts.",
    )


# --- hosts


# --- the whole page

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
    folder = tmp_path_factory.mktemp("pages")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    one = Console(folder).start(wait=True)
    assert one.engine is not None
    deadline = time.monotonic() + 20
    while not one.engine.snapshot.zones:
        assert time.monotonic() < deadline, "Pages did not see the site in time"
        time.sleep(0.02)
    yield one
    one.close()


@pytest.fixture
def look(console: Console, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Tell what the page shows under an address."""
    visit(console, monkeypatch)

    def told(**address: str) -> str:
        page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return "\n".join(part.proto.body for part in page.get("html"))

    return told


def do(console: Console, action: Action) -> list[int]:
    """Have something done, and wait until pages see it."""
    engine = console.engine
    assert engine is not None
    outcome = engine.do(Command(f"{uuid4()}", "ann", action)).result(20)
    assert outcome.refused is None
    ids = [changed for changed in outcome.changed if isinstance(changed, int)]
    deadline = time.monotonic() + 20
    while any((engine.snapshot.live(task_id) is None) is isinstance(action, Submit) for task_id in ids):
        assert time.monotonic() < deadline, "Pages did not see it in time"
        time.sleep(0.02)
    return ids


def test_a_page_narrowed_down_to_nothing_does_not_say_that_nothing_is_there(
    console: Console, look: Callable[..., str]
) -> None:
    assert "No task is queued or running at Berlin" in look()
    do(console, SetService("Acme", "audit-1", "offline"))
    ids = do(console, Submit([NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", "ann", "ann", "srv-1", "device")] * 3))
    told = look(status="Paused")
    assert "3 in flight at Berlin" in told
    assert "No task is queued or running" not in told
    assert "No task matches" in told
    do(console, Stop(ids))


@pytest.mark.parametrize(
    "address",
    [
        {"sort": "garbage", "page": "99999999", "status": "<b>"}, {"page": "²", "q": "(["}, {"q": "x" * 5_000},
        {"task": "9" * 18}, {"task": "9" * 400}, {"task": "x'<script>"}, {"site": "Nowhere"}, {"q": "\0", "system": ""},
    ],
)  # fmt: skip
def test_an_address_of_garbage_shows_the_page_all_the_same(
    look: Callable[..., str], address: dict[str, str]
) -> None:
    told = look(**address)
    assert "in flight at Berlin" in told
    assert "<script>" not in told


@pytest.mark.parametrize(
    ("said", "page"),
    [({}, 0), *(({"page": text}, n) for text, n in {"3": 2, "0": 0, "-1": 0, "²": 0, "9" * 5_000: 0}.items())],
)
def test_which_page_an_address_asks_for_is_read_off_whatever_stands_there(said: dict[str, str], page: int) -> None:
    assert addresses.page(said) == page


def test_an_address_of_a_site_that_is_not_there_says_so_and_one_of_its_longer_name_finds_it(
    look: Callable[..., str]
) -> None:
    told = look(site="<b>Nowhere")
    assert "The address names the site “&lt;b&gt;Nowhere”, which is not there or not for you to see" in told
    for known in ("Berlin", "Berlin · Acme"):
        told = look(site=known)
        assert "in flight at Berlin" in told
        assert "The address names" not in told


def test_a_views_name_is_no_markup(console: Console, look: Callable[..., str]) -> None:
    evil = "![x](https://elsewhere.example/x.png)"
    do(console, KeepView(evil, "failed", business="Acme"))

    def page() -> None:
        import streamlit as st

        from pages.shared import frame, savedviews, tasklist

        savedviews.menu(frame.sight(), "Acme", tasklist.Query())
        st.stop()

    done = AppTest.from_function(page).run()
    assert not done.exception
    assert plain(evil) in [button.label for button in done.button]
    assert evil not in [button.label for button in done.button]


def test_a_link_to_a_view_shows_what_it_asks_for_and_one_to_none_says_so(
    console: Console, look: Callable[..., str]
) -> None:
    engine = console.engine
    assert engine is not None
    action = KeepView("Failed audits", "failed", "type:audit", business="Acme")
    (view_id,) = engine.do(Command(f"{uuid4()}", "ann", action)).result(20).changed

    def tasks(view: str) -> AppTest:
        page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30).run()
        page.query_params["view"] = view
        page.switch_page("operate/tasks.py").run()
        assert not page.exception
        return page

    assert tasks(str(view_id)).query_params["q"] == "type:audit"
    assert "view" not in tasks("garbage").query_params


HEADED = (
    "operate/active.py", "operate/tasks.py", "operate/schedules.py", "operate/services.py", "operate/logs.py",
    "operate/reports.py", "administer/async_tasks.py", "administer/activity.py", "administer/users.py",
    "administer/settings.py",
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "address"),
    [*((path, {}) for path in HEADED), ("operate/reports.py", {"report": "1"}),
     ("administer/async_tasks.py", {"part": "fairness"})],
)  # fmt: skip
def test_how_old_a_page_is_is_told_by_a_part_that_is_drawn_as_often_as_it_says(
    console: Console, look: Callable[..., str], path: str, address: dict[str, str]
) -> None:
    """Else a browser says after a while that it has not heard of the console, which is well."""
    page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30).run()
    for name, value in address.items():
        page.query_params[name] = value
    sent: list[ForwardMsg] = []
    ForwardMsgQueue.on_before_enqueue_msg(sent.append)
    try:
        page.switch_page(path).run()
    finally:
        ForwardMsgQueue.on_before_enqueue_msg(None)
    assert not page.exception
    (told,) = (message.delta for message in sent if "data-drawn=" in message.delta.new_element.html.body)
    pace = re.search(r" data-pace='(\d+)'", told.new_element.html.body)
    assert pace is not None
    anew = {message.auto_rerun.fragment_id: message.auto_rerun.interval for message in sent}
    assert anew.get(told.fragment_id or "none") == int(pace[1])


def test_where_there_are_but_system_tasks_the_page_says_so(console: Console, look: Callable[..., str]) -> None:
    do(console, SetService("Acme", "proc-1", "offline"))
    ids = do(console, Submit([NewTask("Acme", "Berlin", Kind.REPORT, OVERVIEW, "ann", "ann")] * 2))
    told = look()
    assert "There are but system tasks" in told
    assert "No task matches" not in told
    do(console, Stop(ids))


def test_services_say_what_to_do_where_there_is_no_host_and_that_an_archive_has_none(
    console: Console, look: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    do(console, AddBusiness("Globex"))
    do(console, AddSite("Globex", "Paris"))
    do(console, AddSite("Globex", "Old log", archive=True))
    engine = console.engine
    assert engine is not None
    deadline = time.monotonic() + 20
    while ("Globex", "Old log") not in engine.snapshot.zones:
        assert time.monotonic() < deadline, "Pages did not see the site in time"
        time.sleep(0.02)

    def services(site: str) -> str:
        page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30)
        page.query_params["site"] = site
        page.run()
        page.switch_page("operate/services.py").run()
        assert not page.exception
        return "\n".join(part.proto.body for part in page.get("html"))

    assert "Paris has no host yet" in services("Paris")
    assert "scans need an explorer" in services("Paris")
    assert "An archive has no services" in services("Old log")
    visit(console, monkeypatch, "sid", [Grant(Role.SITE_USER, "Globex", "Paris")])
    assert "A site admin can add one here" in services("Paris")


def test_async_tasks_show_what_a_business_has_paused_whatever_the_address_says(
    console: Console, look: Callable[..., str]
) -> None:
    def tasks(**address: str) -> AppTest:
        page = AppTest.from_file(ROOT / "pages" / "router.py", default_timeout=30)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        page.switch_page("administer/async_tasks.py").run()
        assert not page.exception
        return page

    def said(page: AppTest) -> str:
        return "\n".join(part.proto.body for part in page.get("html"))

    evil = "<script>x</script>"
    do(console, SetService("Acme", "audit-1", "offline"))
    ids = do(console, Submit([NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", evil, evil, "srv-1", "device")] * 3))
    engine = console.engine
    assert engine is not None
    hold = PlaceHolds("Acme", [HoldTarget("user", evil)], "backlog")
    assert engine.do(Command(f"{uuid4()}", "ann", hold)).result(20).refused is None
    deadline = time.monotonic() + 20
    while engine.snapshot.numbers["Acme", None].paused < 3:
        assert time.monotonic() < deadline, "Pages did not see the hold in time"
        time.sleep(0.02)
    shown = said(tasks(site="Berlin"))
    assert "<b>3</b> unfinished, <b>3</b> paused" in shown
    assert "<b>Holds</b><span>1 hold</span>" in shown
    assert evil not in shown
    assert "There are no tasks to show" not in shown
    for garbage in ({"sort": "name", "after": "x"}, {"q": "\0(\"", "before": "1.iq"}, {"business": "Nowhere"}):
        said(tasks(site="Berlin", **garbage))
    do(console, Stop(ids))


@pytest.fixture
def hosts(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sites of a business, each with a host that another machine runs: it keeps what it is given."""
    engine = console.engine
    assert engine is not None
    visit(console, monkeypatch)
    if ("Initech", "Rome") in engine.snapshot.zones:
        return
    do(console, AddBusiness("Initech"))
    for site, name, slots in (("Rome", "audit-1", MOST_SLOTS), ("Turin", "audit-2", 1)):
        do(console, AddSite("Initech", site))
        do(console, AddService("Initech", site, name, "audit_service", slots, "elsewhere"))
    until(lambda: "audit-2" in names(console))


def names(console: Console) -> list[str]:
    assert console.engine is not None
    return [look.name for look in console.engine.snapshot.services if look.business == "Initech"]


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < deadline, "Pages did not see it in time"
        time.sleep(0.02)


@pytest.mark.usefixtures("hosts")
def test_a_host_that_was_refused_is_asked_for_anew_under_another_name(console: Console) -> None:
    def page() -> None:
        from pages.shared import hosts

        hosts._add.__wrapped__("Initech", "Rome", "audit_service", "r")

    dialog = AppTest.from_function(page, default_timeout=30).run()
    assert dialog.text_input(key="r.name.audit_service").value == "audit-2"  # which is free at Rome
    dialog.button(key="r.go").click().run()
    assert "already" in dialog.error[0].value
    dialog.text_input(key="r.name.audit_service").set_value("audit-*3*").run()
    assert dialog.button(key="r.go").label == plain("Add audit-*3*")
    dialog.button(key="r.go").click().run()
    assert not dialog.exception
    until(lambda: sorted(names(console)) == ["audit-*3*", "audit-1", "audit-2"])


@pytest.mark.usefixtures("hosts")
def test_a_dialog_names_what_a_host_is_at_work_on_up_to_a_dozen_tasks(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page() -> None:
        from pages.shared import hosts

        hosts._host.__wrapped__("Initech", "Rome", "audit-1", None, "r")

    new = NewTask("Initech", "Rome", Kind.AUDIT, "Audit", "ann", "ann", "<b>db</b>", "device",
                  requested_service="audit-1")  # fmt: skip
    do(console, Submit([new] * 14))
    visit(console, monkeypatch, "rae", [Grant(Role.SITE_USER, "Initech", "Rome")])

    def facts() -> str:
        dialog = AppTest.from_function(page, default_timeout=30).run()
        assert not dialog.exception
        assert not dialog.button  # who may not is offered nothing
        assert "needs the role of a site admin" in dialog.caption[0].value
        return next(part.proto.body for part in dialog.get("html") if "At work" in part.proto.body)

    until(lambda: "Audit #12 (&lt;b&gt;db&lt;/b&gt;), 2 more" in facts())
