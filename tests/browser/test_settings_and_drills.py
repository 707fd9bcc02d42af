"""What a platform admin does on Settings and drills, and that nobody else gets there: real server, real browser."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from engine.access import Actor
from engine.console import Console
from engine.roles import EVERYTHING, Grant, Role
from engine.store import Store
from tests.browser.conftest import ROOT, Server, running, serve
from tests.browser.test_a_day_of_an_admin import FLEET, watched

pytestmark = pytest.mark.browser

#: Twice as much comes as is worked off, and nobody would call it a pile-up by these limits.
WRITTEN = "seed_days = 0\npile_up_s = 1\npile_up_tasks = 1000000 # never\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.toml").write_text(WRITTEN)
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with running(folder, settings=None) as server:
        yield server


def enter(browser: Browser, server: Server, cookie: str) -> tuple[BrowserContext, Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(cookie))
    return context, context.new_page()


def change(page: Page, name: str, value: str) -> None:
    open_form(page, name)
    send_form(page, name, value)


def open_form(page: Page, name: str) -> None:
    page.locator(f".st-key-set-{name}").get_by_role("button", name="Change").click()
    expect(page.get_by_role("dialog").get_by_label("Value")).to_be_visible()


def send_form(page: Page, name: str, value: str, reason: str = "") -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Value").fill(value)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=f"Change {name}").click()


def test_an_admin_starts_and_ends_a_drill_and_changes_what_the_verdict_goes_by(
    browser: Browser, server: Server, folder: Path
) -> None:
    context, page = enter(browser, server, server.sign_in(server.first_link()))
    problems, outside = watched(page, server)
    page.goto(server.url)
    active = page.get_by_role("link", name=re.compile(r"^Active tasks \d+$"))
    expect(active).to_be_visible(timeout=60_000)
    expect(page.locator(".d-account")).to_contain_text("adminPlatform admin")
    expect(page.locator(".st-key-verdict-alarm")).to_have_count(0)

    # A drill starts, is seen to go on, is not started a second time, and ends.
    page.get_by_role("link", name="Settings and drills").click()
    expect(page.get_by_text("No drill goes on")).to_be_visible(timeout=30_000)
    drill = page.locator(".st-key-drill-host-lost")
    drill.get_by_role("button", name="Start").click()
    expect(drill.get_by_text("audit-1 has fallen silent")).to_be_visible()
    expect(page.get_by_text("1 drill goes on")).to_be_visible()
    expect(page.get_by_text("Lost host: Acme / audit-1")).to_be_visible()
    drill.get_by_role("button", name="Start").click()
    expect(drill.get_by_text("This drill goes on already: host-lost: business Acme, service audit-1")).to_be_visible()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_text("audit-1 answers again.")).to_be_visible()
    expect(page.get_by_text("No drill goes on")).to_be_visible()

    # A setting that can't be so is refused; one that can counts after the next start, or at once.
    change(page, "silence_s", "30.5")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("silence_s = 30.5 is not a whole number")).to_be_visible()
    dialog.get_by_role("button", name="Dismiss").click()
    expect(dialog).to_be_hidden()
    open_form(page, "silence_s")
    send_form(page, "silence_s", "45", "slow links")
    expect(page.get_by_text("silence_s is 45 from the next start on; until then 30 counts.")).to_be_visible()
    expect(page.locator(".st-key-set-silence_s").get_by_text("then 45")).to_be_visible()
    change(page, "pile_up_tasks", "5")
    expect(page.get_by_text("pile_up_tasks is 5 from now on.")).to_be_visible()
    expect(page.locator(".st-key-set-pile_up_tasks .v")).to_have_text("5", use_inner_text=True)
    active.click()
    expect(page.locator(".st-key-verdict-alarm")).to_be_visible(timeout=120_000)
    context.close()
    assert problems == []
    assert outside == []

    server.stop()
    assert (folder / "settings.toml").read_text() == WRITTEN.replace("1000000 #", "5 #") + "silence_s = 45\n"
    with Store.open(folder / "store") as store:
        trail = store.read(
            "select actor, action, object_kind, object_id, after, reason from audit "
            "where object_kind in ('drill', 'setting') order by audit_id"
        ).rows()
    assert [row[:4] for row in trail if row[2] == "drill"] == [
        ("admin", "start", "drill", "host-lost"), ("admin", "end", "drill", "host-lost"),
    ]  # fmt: skip
    assert [(row[0], row[3], json.loads(row[4]), row[5]) for row in trail if row[2] == "setting"] == [
        ("admin", "silence_s", {"value": 45}, "slow links"), ("admin", "pile_up_tasks", {"value": 5}, None),
    ]  # fmt: skip


def test_the_second_of_two_admins_is_told_that_the_value_is_another_one_now(browser: Browser, server: Server) -> None:
    context, page = enter(browser, server, server.sign_in(server.first_link()))
    other = context.new_page()
    for one in (page, other):
        one.goto(f"{server.url}/settings")
        expect(one.locator(".st-key-set-undo_s")).to_be_visible(timeout=60_000)
    open_form(other, "undo_s")
    change(page, "undo_s", "300")
    expect(page.get_by_text("undo_s is 300 from the next start on")).to_be_visible()
    send_form(other, "undo_s", "900")
    expect(other.get_by_text("Somebody has changed undo_s meanwhile: it is 300 now.")).to_be_visible()
    other.get_by_role("dialog").get_by_role("button", name="Dismiss").click()
    expect(other.locator(".st-key-set-undo_s").get_by_text("then 300")).to_be_visible()
    context.close()


def test_a_site_user_neither_sees_the_page_in_the_menu_nor_gets_there_by_its_address(
    browser: Browser, server: Server, folder: Path
) -> None:
    server.sign_in(server.first_link())
    said = subprocess.run(
        [sys.executable, "-m", "engine", "user", "invite", "sid", "--role", "site_user", "--business", "Acme",
         "--site", "Berlin", "--data", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    context, page = enter(browser, server, server.sign_in(said.stdout.split()[-1]))
    page.goto(server.url)
    expect(page.get_by_role("link", name=re.compile(r"^Active tasks \d+$"))).to_be_visible(timeout=60_000)
    expect(page.locator(".d-account")).to_contain_text("sidSite user, Berlin, Acme")
    expect(page.get_by_role("link", name="Async tasks")).to_be_visible()
    for name in ("Settings and drills", "Users", "Activity"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    page.goto(f"{server.url}/settings")
    expect(page.get_by_text("This page is not open to your role.")).to_be_visible(timeout=30_000)
    for word in ("Start", "End", "Change"):
        expect(page.get_by_role("button", name=word)).to_have_count(0)
    assert "silence_s" not in page.content()
    page.get_by_role("link", name=re.compile("^Active tasks")).click()
    expect(page.get_by_role("grid", name="Active tasks")).to_be_visible(timeout=30_000)
    context.close()


def test_an_account_with_several_grants_finds_them_all_and_the_way_out_in_its_menu(
    browser: Browser, folder: Path
) -> None:
    console = Console(folder).start(wait=True)  # the command line gives but one grant
    assert console.access is not None
    grants = [Grant(Role.SITE_USER, "Acme", "Berlin"), Grant(Role.BUSINESS_ADMIN, "Acme")]
    secret = console.access.invite(Actor("operator", EVERYTHING), "sid", grants)
    console.close()
    server = serve(folder, folder / "server.log")
    try:
        server.first_link()  # it is live
        context, page = enter(browser, server, server.sign_in(f"/auth/link/{secret}"))
        page.goto(server.url)
        expect(page.locator(".d-account")).to_have_text("sidBusiness admin, Acme and 1 more", timeout=60_000)
        page.get_by_role("button", name="Account").click()
        expect(page.locator(".d-grants li")).to_have_text(["Business admin, Acme", "Site user, Berlin, Acme"])
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible(timeout=30_000)
        context.close()
    finally:
        server.stop()
