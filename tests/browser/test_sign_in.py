"""Who gets in, and who does not: every way that was thought of, tried on the running server."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from engine.fleet import load_file
from tests.browser.conftest import PASSWORD, ROOT, Server, running, serve

pytestmark = pytest.mark.browser

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("sign-in")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> str:
    """The cookie of the first admin."""
    return server.sign_in(server.first_link())


def user(server: Server, *arguments: str) -> str:
    """Run the command line's `user` verb on the running console."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "user", *arguments, "--data", str(server.log.parent)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def invited(server: Server, name: str, *role: str) -> str:
    """Invite somebody and let him set the usual password; return his cookie."""
    return server.sign_in(user(server, "invite", name, *role).split()[-1])


def enters(server: Server, cookie: str, origin: str | None = None, **headers: str) -> bool:
    """Tell whether a websocket is let in."""
    address = server.url.replace("http", "ws") + "/_stcore/stream"
    sender = server.url if origin is None else origin or None
    try:
        with connect(address, origin=sender, additional_headers={"Cookie": cookie, **headers}) as socket:
            socket.ping().wait(5)
            return True
    except (InvalidStatus, WebSocketException):
        return False


NORTHWIND = load_file(ROOT / "data" / "fleet.toml").businesses[0]
SITE_USER = ("--role", "site_user", "--business", NORTHWIND.name, "--site", NORTHWIND.sites[0].name)


def test_a_stranger_gets_no_further_than_the_sign_in_page(server: Server, admin: str) -> None:
    status, told, _ = server.ask("GET", "/tasks?tab=failed", **PAGE)
    assert (status, told["location"]) == (303, "/auth/sign-in?next=%2Ftasks%3Ftab%3Dfailed")
    for path in ("/_stcore/metrics", "/_stcore/agent/openapi.json"):
        assert server.ask("GET", path)[0] == 404
    for path in ("/_stcore/host-config", "/media/0123abcd.csv", "/component/x", "/any", "/_stcore/upload_file/a/b"):
        assert server.ask("GET", path)[0] == 401, path
    assert not enters(server, "")
    assert enters(server, admin)


def test_the_headers_keep_pages_out_of_frames_and_sniffers_away(server: Server, admin: str) -> None:
    for path, cookie in (("/", admin), ("/auth/sign-in", ""), ("/healthz", ""), ("/nowhere", "")):
        _, told, _ = server.ask("GET", path, Cookie=cookie)
        assert told["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in told["content-security-policy"]
        assert told["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in server.ask("GET", "/auth/sign-in")[1]["content-security-policy"]


def test_a_sign_in_gives_a_cookie_that_no_script_reads_and_leads_on_within_the_console(
    server: Server, admin: str
) -> None:
    elsewhere = dict.fromkeys(("//evil.example", "https://evil.example", "/\\evil.example"), "/")
    for wanted, leads_to in ({"/tasks?id=7": "/tasks?id=7"} | elsewhere).items():
        status, told, _ = server.ask(
            "POST", "/auth/sign-in", {"name": "admin", "password": PASSWORD, "next": wanted}
        )
        assert (status, told["location"]) == (303, leads_to)
        attributes = told["set-cookie"].lower()
        assert "httponly" in attributes
        assert "samesite=lax" in attributes
        assert enters(server, told["set-cookie"].partition(";")[0])


def test_a_cookie_goes_by_tls_only_where_browsers_reach_the_console_by_it(tmp_path: Path) -> None:
    """Whatever takes TLS off in front of it says, or does not say."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "settings.toml").write_text(f'seed_days = 0\npublic_url = "https://127.0.0.1:{port}"\n')
    server = serve(tmp_path, tmp_path / "server.log", port=port)
    try:
        deadline = time.monotonic() + 90
        while (link := re.search(r"once: \S+(/auth/link/\S+)", server.log.read_text())) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        given = server.ask("POST", link.group(1), {"password": PASSWORD}, Origin=f"https://127.0.0.1:{port}")[1]
        assert "; secure" in given["set-cookie"].lower()
        form = {"name": "admin", "password": PASSWORD}
        here = f"localhost:{port}"
        given = server.ask("POST", "/auth/sign-in", form, Host=here, Origin=f"http://{here}")[1]
        assert "; secure" not in given["set-cookie"].lower()
        told = {"Host": here, "Origin": f"https://{here}", "X-Forwarded-Proto": "https"}
        assert "; secure" in server.ask("POST", "/auth/sign-in", form, **told)[1]["set-cookie"].lower()
    finally:
        server.stop()


def test_a_session_cannot_be_taken_over_by_its_id_or_by_a_header(server: Server, admin: str) -> None:
    for cookie in ("drainboard_session=admin", "drainboard_session=", "drainboard_session=" + "a" * 43):
        assert not enters(server, cookie)
    assert not enters(server, "", **{"X-Console-User": "admin", "X-Forwarded-User": "admin"})
    assert not enters(server, "", Authorization="Bearer admin")


def test_a_session_that_the_visitor_brought_along_is_not_the_one_he_gets(server: Server, admin: str) -> None:
    planted = "drainboard_session=" + "f" * 43
    status, told, _ = server.ask("POST", "/auth/sign-in", {"name": "admin", "password": PASSWORD}, Cookie=planted)
    assert status == 303
    assert told["set-cookie"].partition(";")[0] != planted
    assert not enters(server, planted)


def test_whoever_signs_in_leaves_no_other_session_open_behind_him(server: Server, admin: str) -> None:
    form = {"name": "admin", "password": PASSWORD}
    for turn in range(2):
        before = server.ask("POST", "/auth/sign-in", form)[1]["set-cookie"].partition(";")[0]
        assert enters(server, before)
        if turn:
            assert server.ask("POST", "/auth/sign-in", form, Cookie=before)[0] == 303
        else:
            link = user(server, "invite", "lea", *SITE_USER).split()[-1]
            assert server.ask("POST", link, {"password": PASSWORD}, Cookie=before)[0] == 303
        assert not enters(server, before)
    assert enters(server, admin)


def test_forms_and_sockets_from_elsewhere_are_refused(server: Server, admin: str) -> None:
    for origin in ("http://evil.example", "null", "", server.url.replace("127.0.0.1", "localhost")):
        assert server.ask("POST", "/auth/sign-in", {"name": "admin", "password": PASSWORD}, Origin=origin)[0] == 403
        assert server.ask("POST", "/auth/sign-out", {}, Origin=origin, Cookie=admin)[0] == 403
        assert not enters(server, admin, origin)
    assert enters(server, admin)


def test_guesses_are_told_alike_and_soon_throttled(server: Server, admin: str) -> None:
    told = {server.ask("POST", "/auth/sign-in", {"name": name, "password": "wrong"})[2] for name in ("eve", "mallory")}
    assert len(told) == 1
    answers = [server.ask("POST", "/auth/sign-in", {"name": "carol", "password": f"guess {n}"})[0] for n in range(12)]
    assert answers[:5] == [401] * 5
    assert set(answers[5:]) == {429}


def test_huge_and_crooked_forms_are_turned_away(server: Server, admin: str) -> None:
    assert server.ask("POST", "/auth/sign-in", {"name": "x" * 100_000, "password": "y"})[0] == 401
    assert server.ask("GET", "/auth/link/not-a-link")[0] == 404
    assert server.ask("POST", "/auth/link/not-a-link", {"password": PASSWORD})[0] == 404
    page = server.ask("GET", "/auth/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")[2]
    assert "<script" not in page


def test_signing_out_and_disabling_end_what_is_open(server: Server, admin: str, browser: Browser) -> None:
    for name, end in (("dora", "sign out"), ("emil", "disable")):
        cookie = invited(server, name, "--role", "platform_admin")
        context = browser.new_context()
        context.add_cookies(server.cookies(cookie))
        page = context.new_page()
        page.goto(server.url)
        expect(page.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=30_000)
        if end == "sign out":
            assert server.ask("POST", "/auth/sign-out", {}, Cookie=cookie)[0] == 303
        else:
            user(server, "disable", name)
        expect(page.get_by_role("link", name="Sign in")).to_be_visible(timeout=30_000)
        expect(page.get_by_role("grid")).to_have_count(0)
        assert not enters(server, cookie)
        context.close()


def test_a_site_user_is_shown_his_site_and_no_other(server: Server, admin: str, browser: Browser) -> None:
    cookie = invited(server, "sid", *SITE_USER)
    context = browser.new_context()
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    page.goto(server.url)
    expect(page.get_by_text(f"in flight at {NORTHWIND.sites[0].name}")).to_be_visible(timeout=30_000)
    page.locator(".st-key-site").get_by_role("button").click()
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_text("cancelling needs the role of a site admin")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Cancel"))).to_have_count(0)
    assert "Harbor Health" not in page.content()
    context.close()


def test_a_link_shows_whose_it_is_and_works_once_in_the_browser(server: Server, admin: str, browser: Browser) -> None:
    link = user(server, "invite", "fay", *SITE_USER).split()[-1]
    page = browser.new_context().new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url + link)
    expect(page.get_by_text("Choose a password for fay")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set it and sign in").click()
    expect(page.get_by_text("fay")).to_be_visible(timeout=30_000)
    page.goto(server.url + link)
    expect(page.get_by_text("not valid, or not any more")).to_be_visible()
    assert [text for text in problems if "404" not in text] == []


def test_a_deep_link_right_after_a_restart_asks_for_a_sign_in_first(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    first = serve(tmp_path, tmp_path / "first.log")
    try:
        cookie = first.sign_in(first.first_link())
    finally:
        first.stop()
    second = serve(tmp_path, tmp_path / "second.log")
    try:
        second.wait_live()
        assert second.ask("GET", "/active", **PAGE)[0] == 303
        assert second.ask("GET", "/pages/operate/active.py", **PAGE)[0] == 303
        assert not enters(second, "")
        assert enters(second, cookie), "who was signed in before the restart still is"
        assert "Make the first admin" not in (tmp_path / "second.log").read_text()
    finally:
        second.stop()
