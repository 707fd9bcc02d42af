"""Fairness in a browser: who uses the services and who waits, one user paused from there, and what a reader sees."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Server, looking, running
from tests.browser.test_async_tasks import FLEET

pytestmark = pytest.mark.browser

MIX = "mix.audit = { per_hour = 0, collect = { median_s = 9000, sigma = 0.1 }"
BUSY = "mix.audit = { per_hour = 3600, collect = { median_s = 2, sigma = 0.1 }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert MIX in FLEET
    with running(tmp_path_factory.mktemp("fairness"), FLEET.replace(MIX, BUSY)) as server:
        yield server


def test_an_admin_finds_who_uses_the_services_and_pauses_him_from_there(
    browser: Browser, server: Server, cookie: str
) -> None:
    with looking(browser, server, cookie, "/async-tasks?site=Berlin") as page:
        page.get_by_role("button", name="Fairness", exact=True).click()
        expect(page).to_have_url(re.compile("part=fairness"))
        table = page.get_by_role("grid", name="Fairness")
        expect(table.locator(".row.body").first).to_be_visible(timeout=120_000)
        expect(page.locator(".d-verdict")).to_contain_text(re.compile("service time|nobody else to wait for|Nobody"))
        table.get_by_role("button", name="Pause…").first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("What this does")).to_be_visible()
        expect(dialog.get_by_role("button", name=re.compile("^Pause 1 user, hold "))).to_be_enabled()
        dialog.get_by_role("button", name="Dismiss").click()
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Last hour").click()
        expect(page).to_have_url(re.compile("period=1h"))
        page.get_by_role("button", name="Tasks", exact=True).first.click()
        expect(page.get_by_role("button", name="Pause User")).to_be_visible()


def test_an_empty_site_says_so(browser: Browser, server: Server, cookie: str) -> None:
    with looking(browser, server, cookie, "/async-tasks?site=Paris&business=Globex&part=fairness") as page:
        expect(page.locator(".d-verdict")).to_contain_text("Nobody used the services of Paris in the last 24 hours")


def test_who_may_only_read_a_site_sees_its_shares_and_can_pause_nobody(browser: Browser, server: Server) -> None:
    reader = server.invited("rita", "--role", "site_user", "--business", "Acme", "--site", "Berlin")
    with looking(browser, server, reader, "/async-tasks?site=Berlin&place=Paris&business=Globex") as page:
        expect(page.get_by_role("grid", name="Fairness")).to_be_visible()
        expect(page.get_by_text("You read this page")).to_be_visible()
        expect(page.get_by_role("button", name="Pause…")).to_have_count(0)
        expect(page.get_by_text("Globex")).to_have_count(0)
        page.set_viewport_size({"width": 390, "height": 844})
        expect(page.get_by_role("grid", name="Fairness")).to_be_visible()
        assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390
