"""Ways around the console's doors that test_sign_in does not try, on the running server and in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Error, expect

from engine import messages as m
from engine.access import Actor
from engine.clock import HOUR
from engine.console import Console
from engine.lifecycle import Kind, own_name
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grant, Role
from tests.browser.conftest import PASSWORD, ROOT, Server, serve
from tests.browser.crawling import look_around, visiting
from tests.browser.test_sign_in import enters, user

pytestmark = pytest.mark.browser

FLEET = """
[businesses.acme]
processors = [{ name = "proc", slots = 1 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "srv", kind = "device", count = 9 }]
"""
PLACE = ("acme", "berlin")
RUNS = "window.__x=1"
HOSTILE = (
    f'<img src=x onerror="{RUNS}">', f"<script>{RUNS}</script>", f"</div><svg onload={RUNS}>",
    "![beacon](http://evil.example/b.png)", f"[press](javascript:{RUNS})", "http://evil.example/x",
    '<img src="http://evil.example/i.png">', ":red[x] :material/home: $x^2$ `code` **bold**", "{{7*7}} ${7*7}",
    "'; drop table task; --", '"quoted" & <b>tagged</b>', "=HYPERLINK(\"http://evil.example\",\"x\")",
)  # fmt: skip


def busy(folder: Path) -> None:
    """Let there be a console in which others gave everything the names that one should never give."""
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    console = Console(folder).start(wait=True)
    engine, access = console.engine, console.access
    assert engine is not None
    assert access is not None
    rule = Rule.cron_rule("30 2 * * *", "UTC")
    try:
        for n, name in enumerate(HOSTILE):
            later = engine.now + HOUR if n % 3 == 0 else None
            task = m.NewTask(*PLACE, Kind.AUDIT, own_name(Kind.AUDIT, name), name, name, name, "device", name,
                             due_at=later)  # fmt: skip
            for action in (
                m.Submit([task]), m.Submit([task._replace(due_at=None)]), m.RefreshWidget(*PLACE, name),
                m.CreateSchedule(m.ScheduleSpec(name, *PLACE, Kind.AUDIT, rule, name, name)),
                m.PlaceHolds("acme", [m.HoldTarget("user", name)], name),
                m.KeepView(name, "Failed", "", business="acme"),
            ):
                done = engine.do(m.Command(f"{uuid4()}", name, action)).result(30)
                assert done.refused is None, done
                if isinstance(action, m.Submit) and action.tasks[0].due_at is None and n % 2:
                    engine.do(m.Command(f"{uuid4()}", name, m.Stop([int(done.changed[0])], name))).result(30)
        for who, role in (("root", Grant(Role.PLATFORM_ADMIN)), ("ada", Grant(Role.BUSINESS_ADMIN, "acme"))):
            access.use_link(access.invite(Actor("cli", EVERYTHING), who, [role]), PASSWORD, "127.0.0.1")
    finally:
        console.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("security")
    busy(folder)
    server = serve(folder, folder / "server.log")
    server.wait_live()
    yield server
    if server.process.poll() is None:
        server.stop()


def signed_in(server: Server, name: str, **headers: str) -> str:
    """Sign somebody in; return his cookie."""
    status, told, _ = server.ask("POST", "/auth/sign-in", {"name": name, "password": PASSWORD}, **headers)
    assert status == 303
    return told["set-cookie"].partition(";")[0]


def test_a_sign_in_ends_the_session_that_it_takes_the_place_of(server: Server) -> None:
    before, elsewhere = signed_in(server, "ada"), signed_in(server, "ada")
    after = signed_in(server, "ada", Cookie=before)
    assert len({before, elsewhere, after}) == 3
    assert [enters(server, cookie) for cookie in (before, elsewhere, after)] == [False, True, True]


def test_a_forged_host_opens_nothing_even_with_an_origin_to_match(server: Server) -> None:
    cookie, evil = signed_in(server, "ada"), "evil.example:8501"
    assert not enters(server, cookie, f"http://{evil}", Host=evil)
    for method, path, form in (
        ("GET", "/", None), ("GET", "/auth/sign-in", None),
        ("POST", "/auth/sign-in", {"name": "ada", "password": PASSWORD}),
    ):  # fmt: skip
        status, told, _ = server.ask(method, path, form, Host=evil, Origin=f"http://{evil}", Cookie=cookie)
        assert status == 421
        assert "set-cookie" not in told
    assert server.ask("GET", "/healthz", Host=evil)[0] == 200


# --- addresses

ROUTES = """
import json, app
print(json.dumps([route.path for route in app.app._build_starlette_app().routes]))
"""
OPEN = {
    "/healthz": {200},
    "/metrics": {404},  # until it has a token, and then 401
    "/auth/sign-in": {200, 401},
    "/auth/sign-out": {303, 200},  # to a GET, the shell of the pages, which is the same for everybody
    "/auth/link/{secret}": {404},
    "/_stcore/health": {200, 204},
    "/auth/provider": {303, 404},  # without a provider, there is none to go to
    "/oauth2callback": {303, 400, 403, 404},
}
"""What answers to strangers, and with which status."""


def test_every_route_of_the_server_is_closed_to_strangers_but_those_that_are_meant_to_be_open(
    server: Server, tmp_path: Path
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ROUTES], cwd=ROOT, env=os.environ | {"DRAINBOARD_DATA": str(tmp_path)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    routes = set(json.loads(told.splitlines()[-1]))
    assert set(OPEN) <= routes
    for route in sorted(routes):
        path = route.replace("{secret}", "x").replace("{file_id:path}", "x.csv").replace("{path:path}", "x/y")
        path = path.replace("{session_id}", "x").replace("{file_id}", "y") or "/"
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, _, body = server.ask(method, path, {} if method == "POST" else None)
            if route in OPEN:
                assert status in OPEN[route] | {401, 405}, f"{method} {path}: {status}"
                assert "berlin" not in body
            else:
                assert status in (401, 404), f"{method} {path} answers a stranger with {status}"
    for path in ("//etc/passwd", "/static/../app.py", "/static/..%2f..%2fapp.py", "/%2e%2e/app.py"):
        status, _, body = server.ask("GET", path)
        assert "streamlit" not in body.lower() or status in (400, 401, 404), path
        assert "import" not in body


# --- in a browser


def test_in_an_open_tab_of_somebody_disabled_nothing_can_be_done(server: Server, browser: Browser) -> None:
    link = user(server, "invite", "gil", "--role", "business_admin", "--business", "acme").split()[-1]
    cookie = server.sign_in(link)
    with visiting(browser, server, cookie) as visit:
        page = visit.page
        visit.go("/async-tasks?site=berlin")
        page.get_by_role("button", name="Resume All").click()
        resume = page.get_by_role("dialog").get_by_role("button", name=re.compile("^Lift"))
        expect(resume).to_be_enabled(timeout=20_000)
        user(server, "disable", "gil")
        for _ in range(20):  # a tab that lies open, and somebody who presses on
            if resume.count():
                with suppress(Error):
                    resume.click(timeout=300, force=True)
        expect(page.get_by_text("You are signed out").first).to_be_visible(timeout=20_000)
        assert not enters(server, cookie)
    with visiting(browser, server, signed_in(server, "ada")) as visit:
        visit.go("/async-tasks?site=berlin")
        expect(visit.page.get_by_text(f"{len(HOSTILE)} holds")).to_be_visible(timeout=20_000)


def test_names_of_others_run_nothing_and_fetch_nothing(server: Server, browser: Browser) -> None:
    with visiting(browser, server, signed_in(server, "ada")) as visit:
        look_around(visit, "berlin", most=8)
        assert visit.pressed > 20
        shown = "\n".join(visit.texts)
        for name in HOSTILE[:4]:
            assert name in shown or name in visit.everything(), "it was there to be shown, as it is"
        assert visit.page.evaluate("window.__x") is None
        assert visit.hosts - {""} == {visit.server.url.removeprefix("http://")}
        assert [text for text in visit.said if "Content Security Policy" in text] == []
        assert "evil.example" not in " ".join(
            visit.page.evaluate("[...document.querySelectorAll('a[href],img[src]')].map(e => e.href || e.src)")
        )


SECRET = "canary-of-an-error"


def test_an_error_in_a_page_tells_the_browser_nothing_of_it(tmp_path: Path, browser: Browser) -> None:
    checkout, data = tmp_path / "checkout", tmp_path / "data"
    data.mkdir()
    busy(data)
    checkout.mkdir()
    shutil.copy(ROOT / "app.py", checkout)
    shutil.copytree(ROOT / ".streamlit", checkout / ".streamlit")
    shutil.copytree(ROOT / "pages", checkout / "pages")
    (checkout / "engine").symlink_to(ROOT / "engine")
    (checkout / "data").symlink_to(ROOT / "data")
    (checkout / "pages" / "operate" / "reports.py").write_text(
        f"hidden = {SECRET!r}\nraise RuntimeError('select password from account where ' + hidden)\n"
    )
    server = serve(data, data / "server.log", checkout=checkout)
    try:
        server.wait_live()
        with visiting(browser, server, signed_in(server, "ada")) as visit:
            visit.go("/reports?site=berlin")
            came = visit.everything()
            assert SECRET in (data / "server.log").read_text(), "it was raised"
            for told in (SECRET, "select password", "RuntimeError", "Traceback", "reports.py"):
                assert told not in came
    finally:
        server.stop()


