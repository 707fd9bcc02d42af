"""The card of a task in a real browser: reached by a short link, by whoever may see it and nobody else."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PASSWORD, Server, looking, running
from tests.browser.test_tasks import tab

pytestmark = pytest.mark.browser

#: A schedule that runs all the time, and hosts that are quick with it.
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
services = [
  { name = "audit-1", role = "audit_service", slots = 2 }, { name = "zone-1", role = "hosted_zone", slots = 1 },
  { name = "explorer-1", role = "explorer", slots = 2 },
]
targets = [{ name = "srv", kind = "device", count = 3 }, { name = "AWS acme", kind = "cloud" }]
mix.audit = { per_hour = 0, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
mix.connector = { per_hour = 0, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
schedules = [
  { name = "Pulse", kind = "audit", every_s = 4, anchor = 2026-01-01T00:00:00Z, owner = "ann", target = "srv-01", longest_wait_s = 5400 },
]

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 2 }]
mix.audit = { per_hour = 1800, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }

[businesses.globex]
name = "Globex"
processors = [{ name = "proc-2", slots = 1 }]
users = [{ name = "hank", role = "business_admin" }]

[businesses.globex.sites.paris]
name = "Paris"
zone = "Europe/Paris"
services = [{ name = "audit-3", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 2 }]
mix.audit = { per_hour = 1800, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
"""  # noqa: E501 (a table of TOML stays on its line)

NONE = "There is no such task, or it is not yours to see."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("card"), FLEET) as server:
        yield server


def invited(server: Server, name: str, *roles: str) -> str:
    """Invite somebody; return the cookie of his session."""
    path = re.search(r"/auth/link/[\w-]+", server.cli("user", "invite", name, *roles))
    assert path is not None
    return server.sign_in(path[0])


@pytest.fixture(scope="module")
def ended(browser: Browser, server: Server, cookie: str) -> dict[str, str]:
    """Give the id of a task that has ended at each site."""
    found = {}
    for site in ("Berlin", "Oslo", "Paris"):
        with looking(browser, server, cookie, f"/tasks?tab=completed&site={site}") as page:
            link = page.get_by_role("link", name=re.compile("^Audit #")).first
            expect(link).to_be_visible(timeout=60_000)
            found[site] = (link.get_attribute("href") or "").partition("=")[2]
    return found


# --- the short link


def test_a_short_link_opens_tasks_where_the_task_is_with_its_card_on_top(
    browser: Browser, server: Server, cookie: str, ended: dict[str, str]
) -> None:
    with looking(browser, server, cookie, f"/task?id={ended['Paris']}") as page:
        expect(page.locator(".st-key-topcard")).to_contain_text("Audit #")
        expect(page.locator(".d-shown")).to_have_text("Paris")
        expect(page.get_by_role("button", name=re.compile("^Completed "))).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".st-key-topcard")).to_contain_text("Paris")
        page.wait_for_url(re.compile(rf"/tasks\?.*task={ended['Paris']}"))
        # Another link in the same browser leads to another site of another business, and the card stays open.
        page.goto(f"{server.url}/task?id={ended['Oslo']}")
        expect(page.locator(".d-shown")).to_have_text("Oslo")
        page.wait_for_timeout(2_500)
        expect(page.locator(".st-key-topcard")).to_contain_text("Oslo")
        assert page.get_by_role("link", name="Task", exact=True).count() == 0, "the menu does not list it"


@pytest.mark.parametrize("wanted", ["", "?id=12345", "?id=x", "?id=-1", "?id=" + "9" * 30, "?id=%C2%B2"])
def test_a_link_to_no_task_says_so_kindly(browser: Browser, server: Server, cookie: str, wanted: str) -> None:
    with looking(browser, server, cookie, f"/task{wanted}") as page:
        expect(page.locator(".d-finding")).to_have_text(NONE)


def test_who_may_not_see_a_task_is_told_the_same_as_of_one_that_is_not_there(
    browser: Browser, server: Server, cookie: str, ended: dict[str, str]
) -> None:
    uma = invited(server, "uma", "--role", "site_user", "--business", "Acme", "--site", "Berlin")
    with looking(browser, server, uma, "/task?id=12345") as page:
        expect(page.locator(".d-finding")).to_have_text(NONE)
        of_none = page.locator("[data-testid=stMain]").inner_text()
        for site in ("Oslo", "Paris"):
            page.goto(f"{server.url}/task?id={ended[site]}")
            expect(page.locator(".d-finding")).to_have_text(NONE)
            assert page.locator("[data-testid=stMain]").inner_text() == of_none
        page.goto(f"{server.url}/task?id={ended['Berlin']}")
        expect(page.locator(".st-key-topcard")).to_contain_text("Audit #")


def test_whoever_signs_in_on_the_way_lands_on_the_task(
    browser: Browser, server: Server, ended: dict[str, str]
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{server.url}/task?id={ended['Oslo']}")
    assert urlsplit(page.url).path == "/auth/sign-in"
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".st-key-topcard")).to_contain_text("Oslo", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


# --- what a card tells, and what it offers


def test_a_run_of_a_schedule_tells_the_past_ones_and_each_leads_to_its_card(
    browser: Browser, server: Server, cookie: str, ended: dict[str, str]
) -> None:
    with looking(browser, server, cookie, f"/task?id={ended['Berlin']}") as page:
        card = page.locator(".st-key-topcard")
        expect(card).to_contain_text("Past runs of “Pulse”")
        said = re.compile(r"Last \d+ runs: \d+ of \d+ that ended are done \(100\s%\)\. Median \d+ s\.")
        expect(card).to_contain_text(said)
        expect(card).to_contain_text("Waits at most1 h 30")
        expect(card).to_contain_text("Audit hostaudit-1")
        expect(card).to_contain_text("srv-01 (device)")
        runs = card.get_by_role("list", name="Past runs")
        number = runs.get_by_role("link").nth(2).inner_text()
        other = runs.get_by_role("link", name=re.compile(f"^{number}$"))
        address = other.get_attribute("href") or ""
        assert re.fullmatch(r"task\?id=\d+", address)
        assert address != f"task?id={ended['Berlin']}"
        other.click()
        expect(card.locator(".d-cardhead").first).to_contain_text(number)
        expect(other).to_have_attribute("aria-current", "true")
        page.wait_for_url(re.compile(rf"task={address.rpartition('=')[2]}"))
        page.wait_for_timeout(2_500)
        expect(card.locator(".d-cardhead").first).to_contain_text(number)  # a refresh does not turn it back


def test_a_task_is_copied_into_the_dialog_of_a_new_one_changed_and_taken_back(
    browser: Browser, server: Server, cookie: str, ended: dict[str, str]
) -> None:
    with looking(browser, server, cookie, f"/task?id={ended['Berlin']}") as page:
        card, dialog = page.locator(".st-key-topcard"), page.get_by_role("dialog")
        card.get_by_role("button", name="Copy as new task").click()
        expect(dialog.get_by_role("textbox", name=re.compile("^Targets"))).to_have_value("srv-01")
        expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_have_value("Pulse")
        expect(dialog.get_by_role("textbox", name="Waits at most")).to_have_value("1h30m")
        assert (dialog.bounding_box() or {})["width"] < 800
        scope = dialog.get_by_role("textbox", name="Scope")
        scope.fill("copied")
        scope.press("Tab")
        dialog.get_by_text("Later", exact=True).click()
        expect(dialog).to_contain_text("At, Europe/Berlin")
        dialog.get_by_role("button", name="Submit 1 task").click()
        tab(page, "Scheduled", "1")
        expect(page.get_by_role("grid", name="Tasks").get_by_role("link")).to_have_count(1)
        page.get_by_role("grid", name="Tasks").get_by_role("link").first.click()
        expect(card).to_contain_text("Scopecopied")
        expect(card).to_contain_text("Waits at most1 h 30")
        expect(card).to_contain_text("Audit hostany that can")
        expect(card).not_to_contain_text("Past runs")

        card.get_by_role("button", name="Edit").click()
        target = dialog.get_by_role("textbox", name="Target", exact=True)
        target.fill("10.0.0.0/24")
        target.press("Tab")
        expect(dialog).to_contain_text("“10.0.0.0/24” is no target for it: it is a segment; an audit is of a device.")
        expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
        target.fill("srv-03")
        target.press("Tab")
        dialog.get_by_role("textbox", name="Reason").fill("wrong host")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_contain_text("1 task changed.")
        expect(card).to_contain_text("srv-03 (device)")
        dialog.get_by_role("button", name="Undo").click()
        expect(dialog).to_contain_text("1 task taken back.")
        dialog.get_by_role("button", name="Close").last.click()
        expect(dialog).to_be_hidden()
        expect(card).to_contain_text("srv-01 (device)")
        way = card.locator(".d-way").first
        expect(way).to_contain_text("target: srv-01 → srv-03")


def test_an_edit_of_what_somebody_changed_meanwhile_is_told_and_changes_nothing(
    browser: Browser, server: Server, cookie: str
) -> None:
    with looking(browser, server, cookie, "/tasks?tab=scheduled&site=Berlin") as page:
        page.get_by_role("grid", name="Tasks").get_by_role("link").first.click()
        card, dialog = page.locator(".st-key-topcard"), page.get_by_role("dialog")
        expect(card).to_contain_text("srv-01 (device)")
        card.get_by_role("button", name="Edit").click()
        name = dialog.get_by_role("textbox", name="Name", exact=True)
        name.fill("Mine")
        name.press("Tab")
        with looking(browser, server, cookie, page.url.removeprefix(server.url)) as other:
            other.locator(".st-key-topcard").get_by_role("button", name="Edit").click()
            quicker = other.get_by_role("dialog")
            quicker.get_by_role("textbox", name="Name", exact=True).fill("Quicker")
            quicker.get_by_role("textbox", name="Name", exact=True).press("Tab")
            quicker.get_by_role("button", name="Save").click()
            expect(quicker).to_contain_text("1 task changed.")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Somebody changed this task meanwhile")
        dialog.get_by_role("button", name="Dismiss").click()
        expect(card).to_contain_text("Quicker")


def test_a_run_anew_leads_back_to_what_it_repeats(
    browser: Browser, server: Server, cookie: str, ended: dict[str, str]
) -> None:
    with looking(browser, server, cookie, f"/task?id={ended['Berlin']}") as page:
        card, dialog = page.locator(".st-key-topcard"), page.get_by_role("dialog")
        first = card.locator(".d-cardhead b").inner_text().partition(",")[0]
        card.get_by_role("button", name="Run again").click()
        dialog.get_by_role("button", name="Run again: 1 task").click()
        expect(dialog).to_contain_text("1 task submitted again.")
        dialog.get_by_role("button", name="Close").last.click()
        page.goto(f"{server.url}/tasks?site=Berlin&tab=completed&q=initiator:admin")
        page.get_by_role("grid", name="Tasks").get_by_role("link").first.click()
        expect(card).to_contain_text(f"repeats {first}")
        expect(card).to_contain_text("Waits at most1 h 30")
        card.get_by_role("button", name=f"Open {first}, which this repeats").click()
        expect(card.locator(".d-cardhead b")).to_contain_text(f"{first}, Pulse")


def test_who_only_reads_is_offered_nothing_but_the_link(
    browser: Browser, server: Server, ended: dict[str, str]
) -> None:
    ulf = invited(server, "ulf", "--role", "site_user", "--business", "Acme", "--site", "Berlin")
    with looking(browser, server, ulf, f"/task?id={ended['Berlin']}", width=390) as page:
        card = page.locator(".st-key-topcard")
        expect(card.get_by_role("list", name="Past runs").get_by_role("link").first).to_be_visible()
        expect(card.get_by_role("button", name="Copy link")).to_be_visible()
        for name in ("Copy as new task", "Edit", "Run again", "Delete"):
            assert card.get_by_role("button", name=name).count() == 0, name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
