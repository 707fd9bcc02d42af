"""Users in a real browser: somebody is invited, gets another role, is signed out and barred, each time at once; a
business's admin sees his own; the last platform admin stays."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from engine.access import Actor
from engine.console import Console
from engine.roles import EVERYTHING, Grant, Role
from tests.browser.conftest import PASSWORD, Server, serve
from tests.browser.test_activity import FLEET

pytestmark = pytest.mark.browser

SOON = 30_000
MANY = 52  #: users besides, of the other business


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("users")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    console = Console(folder).start(wait=True)
    try:
        assert console.access is not None
        for n in range(MANY):
            grant = Grant(Role.SITE_USER, "Canary", "Canary Paris")
            console.access.invite(Actor("operator", EVERYTHING), f"temp {n:02}", [grant])
    finally:
        console.close()
    server = serve(folder, folder / "server.log")
    yield server
    server.stop()


def context(browser: Browser, server: Server, cookie: str | None = None) -> BrowserContext:
    made = browser.new_context(viewport={"width": 1280, "height": 860}, timezone_id="Europe/Berlin")
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    if cookie is not None:
        made.add_cookies(server.cookies(cookie))
    return made


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The page of users as the first admin sees it."""
    made = context(browser, server, server.sign_in(server.first_link()))
    page = made.new_page()
    page.goto(f"{server.url}/users?q=-name:temp*")
    expect(rows(page)).to_have_count(1, timeout=60_000)
    yield page
    made.close()


def rows(page: Page) -> Locator:
    return page.get_by_role("grid", name="Users").locator(".row.body")


def card(page: Page, name: str) -> Locator:
    """Open a user's card."""
    found = page.locator(".st-key-card")
    if not found.is_visible() or name not in found.inner_text().splitlines()[0]:
        page.get_by_role("grid", name="Users").get_by_role("link", name=name, exact=True).click()
    expect(found.locator(".d-cardhead b")).to_have_text(name)
    expect(found.locator(f"[class*='st-key-users-{name}-']").first).to_be_visible()  # its buttons come after its name
    return found


def choose(dialog: Locator, page: Page, *roles: str) -> None:
    box = dialog.get_by_role("combobox", name=re.compile("Roles"))
    for role in roles:
        box.click()
        box.fill(role)
        page.get_by_role("option", name=role, exact=True).click()
        expect(dialog.get_by_text(role)).to_be_visible()
    box.press("Tab")


def invited(server: Server, name: str, *role: str) -> str:
    """Invite somebody by the command line and let him set the usual password; return his cookie."""
    return server.sign_in(json.loads(server.cli("user", "invite", name, *role))["link"])


def menu(page: Page) -> Locator:
    return page.get_by_test_id("stSidebar").get_by_test_id("stPageLink-NavLink")


@pytest.fixture(scope="module")
def bob(browser: Browser, server: Server, page: Page) -> Iterator[Page]:
    """Invite bob on the page, as a site's user; return what he sees once he has set his password."""
    page.get_by_role("button", name="New user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("bob")
    dialog.get_by_label("Name").press("Tab")
    dialog.get_by_role("button", name="Create user").click()
    expect(dialog.get_by_role("alert")).to_have_text("A user needs at least one role")
    choose(dialog, page, "Site user, Berlin, Acme")
    dialog.get_by_role("button", name="Create user").click()
    dialog.get_by_role("button", name="Copy link").click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{server.url}/auth/link/"), "with the host that the browser shows"
    expect(dialog.get_by_role("code")).to_have_text(link)
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    assert link.rpartition("/")[2] not in page.content(), "shown once"
    expect(page.locator(".st-key-card .d-cardhead")).to_contain_text("Invited")
    his = context(browser, server)
    seen = his.new_page()
    seen.goto(link)
    expect(seen.get_by_text("Choose a password for bob")).to_be_visible()
    seen.get_by_label("Password").fill(PASSWORD)
    seen.get_by_role("button", name="Set it and sign in").click()
    expect(seen.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=SOON)
    yield seen
    his.close()


def test_who_is_invited_sets_a_password_and_sees_the_pages_of_his_role(bob: Page, page: Page, server: Server) -> None:
    expect(bob.get_by_text("Site user, Berlin, Acme")).to_be_visible()
    expect(menu(bob).filter(has_text="Tasks").first).to_be_visible()
    expect(menu(bob).filter(has_text="Users")).to_have_count(0)
    shown = card(page, "bob")
    expect(shown.locator(".d-cardhead")).to_contain_text("Active")
    expect(shown).to_contain_text("Signed in")
    expect(shown).to_contain_text("from 127.0.0.1, by a link")
    bob.goto(f"{server.url}/users")
    expect(bob.get_by_text("This page is not open to your role.")).to_be_visible(timeout=SOON)
    expect(bob.get_by_role("grid")).to_have_count(0)
    bob.goto(server.url)
    expect(bob.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=SOON)


def test_another_role_counts_at_once_in_an_open_tab_without_a_new_sign_in(bob: Page, page: Page) -> None:
    card(page, "bob").get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    choose(dialog, page, "Business admin, Acme")
    dialog.get_by_label("Reason").fill("Promoted")
    dialog.get_by_label("Reason").press("Tab")
    dialog.get_by_role("button", name="Change user").click()
    expect(dialog).to_be_hidden()
    expect(menu(bob).filter(has_text="Users")).to_be_visible(timeout=SOON)
    menu(bob).filter(has_text="Users").click()
    expect(bob.locator(".d-shown")).to_have_text("of Acme", timeout=SOON)
    expect(rows(bob)).to_have_count(1)
    expect(rows(bob)).to_contain_text("Business admin, Acme")
    expect(card(page, "bob")).to_contain_text("Business admin, Acme")


def test_a_business_admin_sees_and_invites_his_own_and_another_business_is_as_if_not_there(
    bob: Page, page: Page, server: Server
) -> None:
    invited(server, "hank", "--role", "business_admin", "--business", "Canary")
    expect(rows(page)).to_have_count(3)
    expect(rows(bob)).to_have_count(1)
    bob.goto(f"{server.url}/users?user=hank")
    expect(bob.locator(".st-key-card")).to_contain_text("No such user", timeout=SOON)
    assert "Canary" not in bob.content()
    expect(card(bob, "bob").get_by_role("button", name="Disable")).to_be_disabled()
    expect(card(bob, "bob")).to_contain_text("You can't disable yourself; ask another admin")
    bob.get_by_role("button", name="New user").click()
    dialog = bob.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Roles")).click()
    offered = bob.get_by_role("option").all_inner_texts()
    assert offered == ["Business admin, Acme", "Site admin, Berlin, Acme", "Site user, Berlin, Acme"]
    bob.get_by_role("option", name="Site user, Berlin, Acme").click()
    dialog.get_by_label("Name").fill("hank")
    dialog.get_by_label("Name").press("Tab")
    dialog.get_by_role("button", name="Create user").click()
    expect(dialog.get_by_role("alert")).to_have_text("There is a user “hank” already")
    dialog.get_by_label("Name").fill("zoe")
    dialog.get_by_label("Name").press("Tab")
    dialog.get_by_role("button", name="Create user").click()
    dialog.get_by_role("button", name="Done").click()
    expect(rows(bob)).to_have_count(2)


def test_wrong_guesses_are_told_and_forgiven(bob: Page, page: Page, server: Server) -> None:
    for n in range(6):
        server.ask("POST", "/auth/sign-in", {"name": "bob", "password": f"guess {n}"})
    shown = card(page, "bob")
    expect(shown.locator(".d-cardhead")).to_contain_text(re.compile(r"Throttled, until \d\d:\d\d:\d\d"))
    expect(shown).to_contain_text("5 wrong, waits until")
    expect(shown).to_contain_text("wrong password, from 127.0.0.1")
    shown.get_by_role("button", name="Forgive guesses").click()
    page.get_by_role("dialog").get_by_role("button", name="Forgive guesses: bob").click()
    expect(shown.locator(".d-cardhead")).to_contain_text("Active")
    assert server.ask("POST", "/auth/sign-in", {"name": "bob", "password": PASSWORD})[0] == 303


def test_signing_out_everywhere_and_disabling_end_an_open_tab(bob: Page, page: Page, server: Server) -> None:
    expect(bob.get_by_role("grid", name="Users")).to_be_visible()
    card(page, "bob").get_by_role("button", name="Sign out everywhere").click()
    page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere: bob").click()
    expect(bob.get_by_role("link", name="Sign in")).to_be_visible(timeout=SOON)
    expect(bob.get_by_role("grid")).to_have_count(0)
    expect(card(page, "bob")).to_contain_text("Signed out by an admin")
    expect(card(page, "bob")).to_contain_text("no session")
    bob.get_by_role("link", name="Sign in").click()
    bob.get_by_label("Name").fill("bob")
    bob.get_by_label("Password").fill(PASSWORD)
    bob.get_by_role("button", name="Sign in").click()
    expect(bob.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=SOON)
    card(page, "bob").get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable: bob").click()
    expect(bob.get_by_role("link", name="Sign in")).to_be_visible(timeout=SOON)
    expect(card(page, "bob").locator(".d-cardhead")).to_contain_text("Disabled")
    expect(card(page, "bob").get_by_role("button", name="New link")).to_be_disabled()
    assert server.ask("POST", "/auth/sign-in", {"name": "bob", "password": PASSWORD})[0] == 401
    card(page, "bob").get_by_role("button", name="Enable").click()
    page.get_by_role("dialog").get_by_role("button", name="Enable: bob").click()
    expect(card(page, "bob").locator(".d-cardhead")).to_contain_text("Active")


def test_the_last_platform_admin_is_kept(page: Page, server: Server, browser: Browser) -> None:
    invited(server, "second", "--role", "platform_admin")
    his = context(browser, server, server.sign_in(json.loads(server.cli("user", "reset", "second"))["link"]))
    seen = his.new_page()
    seen.goto(f"{server.url}/users?user=admin")
    expect(seen.locator(".st-key-card .d-cardhead b")).to_have_text("admin", timeout=SOON)
    expect(card(seen, "admin").get_by_role("button", name="Disable")).to_be_enabled(timeout=SOON)
    card(page, "second").get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable: second").click()
    expect(seen.get_by_role("link", name="Sign in")).to_be_visible(timeout=SOON)
    his.close()
    shown = card(page, "admin")
    expect(shown.get_by_role("button", name="Disable")).to_be_disabled()
    shown.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("combobox", name=re.compile("Roles"))).to_be_disabled()
    dialog.get_by_role("button", name="Dismiss").click()


def test_many_users_are_found_and_turned_over_page_by_page(page: Page, server: Server) -> None:
    bar = page.get_by_role("combobox", name="Filter")
    bar.fill("name:temp*")
    bar.press("Enter")
    expect(page.get_by_role("button", name=f"All {MANY}", exact=True)).to_be_visible()
    expect(rows(page)).to_have_count(50)
    expect(page.locator(".st-key-pager")).to_contain_text(f"1–50 of {MANY} users")
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(MANY - 50)
    assert "page=2" in page.url
    page.get_by_role("button", name=re.compile("^Disabled 0")).click()
    expect(page.get_by_text("No user matches.")).to_be_visible()
    page.goto(f"{server.url}/users?q=last:none&sort=-name&state=invited")
    expect(rows(page).first).to_contain_text("zoe", timeout=SOON)


def test_the_account_that_an_address_names_is_on_the_screen_whatever_its_name(page: Page, server: Server) -> None:
    server.cli("user", "invite", "o'hara @ acme and co", "--role", "platform_admin")
    page.goto(f"{server.url}/users?q=hara")
    page.get_by_role("grid", name="Users").get_by_role("link").first.click()
    expect(page.locator(".st-key-card .d-cardhead b")).to_have_text("o'hara @ acme and co")
    page.reload()
    expect(page.locator(".st-key-card .d-cardhead b")).to_have_text("o'hara @ acme and co", timeout=SOON)
