"""Help, one click from every page, for an admin and for a site user: real server, real browser."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pages.help.topics import ORDER, topics
from tests.browser.conftest import ROOT, Server, running
from tests.browser.test_a_day_of_an_admin import FLEET, watched

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.toml").write_text("seed_days = 0\npile_up_tasks = 1234567\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with running(folder, settings=None) as server:
        yield server


def enter(browser: Browser, server: Server, cookie: str, **how: object) -> Page:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
    context.add_cookies(server.cookies(cookie))
    return context.new_page()


def menu(page: Page, name: str) -> Locator:
    return page.get_by_test_id("stSidebar").get_by_role("link", name=re.compile(f"^{name}"))


def topic(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation", name="Help topics").get_by_role("link", name=name)


def reads(page: Page, title: str) -> None:
    expect(page.locator("article h1")).to_have_text(title, timeout=30_000)


def read_every_topic(page: Page) -> None:
    for name in ORDER:
        page.locator(f"nav a[data-topic={name}]").click()
        reads(page, topics()[name].title)
        expect(page.locator("nav a[aria-current=page]")).to_have_attribute("data-topic", name)
        assert page.get_by_test_id("stException").count() == 0
        said = page.locator("article").inner_text()
        assert len(said) > 500
        assert "[[" not in said
        assert "{" not in said
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_admin_finds_help_one_click_away_and_goes_on_by_its_links(browser: Browser, server: Server) -> None:
    page = enter(browser, server, server.sign_in(server.first_link()))
    problems, outside = watched(page, server)
    page.goto(server.url)
    expect(page.get_by_role("grid", name="Active tasks")).to_be_visible(timeout=60_000)
    # The topic that opens fits the page.
    menu(page, "Help").click()
    reads(page, "Active tasks reference")
    menu(page, "Settings and drills").click()
    expect(page.get_by_text("No drill goes on")).to_be_visible(timeout=30_000)
    menu(page, "Help").click()
    reads(page, "Settings")
    expect(page.locator("tr", has_text="pile_up_tasks").first).to_contain_text("1234567")
    read_every_topic(page)

    # Links go from topic to topic and to sections; the browser's own way back works.
    topic(page, "How to cancel a task").click()
    reads(page, "How to cancel a task")
    page.get_by_role("link", name="its schedule").click()
    reads(page, "Schedules, time zones and clock changes")
    topic(page, "Waits and their causes").click()
    reads(page, "Waits and their causes")
    page.get_by_role("link", name="Lost hosts").click()
    reads(page, "About audit services (and explorers, hosted zones, processors)")
    expect(page.get_by_role("heading", name="Lost hosts")).to_be_in_viewport()
    assert page.url.endswith("topic=services.lost")
    page.go_back()
    reads(page, "Waits and their causes")
    page.reload()
    reads(page, "Waits and their causes")
    problems[:] = [said for said in problems if "404" not in said]  # the server's own look for its base, by deep link

    # What is sought is found, and opened at its section.
    page.get_by_label("Search help").fill("stop_not_confirmed")
    page.get_by_label("Search help").press("Enter")
    reads(page, "Search")
    page.get_by_role("link", name="Statuses in two vocabularies › Reasons").click()
    reads(page, "Statuses in two vocabularies")
    expect(page.get_by_role("heading", name="Reasons")).to_be_in_viewport()
    expect(page.get_by_label("Search help")).to_have_value("")
    chart = page.get_by_role("img", name="What leads from status to status")
    chart.scroll_into_view_if_needed()
    expect(chart).to_be_in_viewport()

    # A page that Help names opens.
    topic(page, "How to cancel a task").click()
    reads(page, "How to cancel a task")
    page.get_by_role("article").get_by_role("link", name="Active tasks", exact=True).click()
    expect(page.get_by_role("grid", name="Active tasks")).to_be_visible(timeout=30_000)
    page.context.close()
    assert problems == []
    assert outside == []


def test_help_keeps_the_refresh_that_was_chosen(browser: Browser, server: Server) -> None:
    page = enter(browser, server, server.sign_in(server.first_link()))
    page.goto(server.url)
    expect(page.get_by_role("grid", name="Active tasks")).to_be_visible(timeout=60_000)
    refresh = page.get_by_role("combobox", name="Refresh every")
    refresh.click()
    page.get_by_role("option", name="5 s").click()
    expect(refresh).to_have_value("5 s", timeout=20_000)
    menu(page, "Help").click()
    reads(page, "Active tasks reference")
    topic(page, "Drills").click()
    reads(page, "Drills")
    menu(page, "Active tasks").click()
    expect(refresh).to_have_value("5 s", timeout=30_000)
    page.context.close()


def test_a_site_user_reads_all_of_it_on_a_phone(browser: Browser, server: Server, folder: Path) -> None:
    server.first_link()  # it is live
    invited = subprocess.run(
        [sys.executable, "-m", "engine", "user", "invite", "sid", "--role", "site_user", "--business", "Acme",
         "--site", "Berlin", "--data", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    page = enter(browser, server, server.sign_in(invited.stdout.split()[-1]),
                 viewport={"width": 390, "height": 844}, color_scheme="dark")  # fmt: skip
    problems, _ = watched(page, server)
    page.goto(server.url)
    expect(page.get_by_role("grid", name="Active tasks")).to_be_visible(timeout=60_000)
    page.get_by_test_id("stExpandSidebarButton").click()
    menu(page, "Help").click()
    reads(page, "Active tasks reference")
    expect(page.get_by_test_id("stExpandSidebarButton")).to_be_visible()  # the menu has gone away by itself
    for name in ORDER:
        page.get_by_text("All topics").click()
        page.locator(f"nav a[data-topic={name}]").click()
        reads(page, topics()[name].title)
        assert page.get_by_test_id("stException").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []

    # A topic that there is none of, and words that are no markup.
    page.goto(f"{server.url}/help?topic=%3Cimg%20src%3Dx%3E&find=")
    expect(page.locator("article")).to_contain_text("There is no topic “<img src=x>” any more", timeout=30_000)
    page.context.close()
