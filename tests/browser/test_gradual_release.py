"""Async tasks in a browser: a user capped, his cap changed and removed; a resume that releases gradually; its end."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Server, looking, running
from tests.browser.test_async_tasks import FLEET, HERE, holds, pause, rows, submit

pytestmark = pytest.mark.browser

#: Slots enough for all: what waits, waits for a cap or a ramp.
ROOMY = FLEET.replace('role = "audit_service", slots = 1', 'role = "audit_service", slots = 20')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("gradual"), ROOMY) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    with looking(browser, server, cookie, HERE) as page:
        yield page


def listed(page: Page, name: str) -> Locator:
    return page.get_by_role("grid", name=name, exact=True).locator(".row.body")


def test_a_user_is_capped_and_what_waits_says_so(page: Page, server: Server) -> None:
    submit(page, server, "srv-0")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Cap User").click()
    dialog = page.get_by_role("dialog")
    box = dialog.get_by_label("User", exact=True)
    box.click()
    box.fill("admin")
    page.get_by_role("option", name="admin", exact=True).first.click()
    dialog.get_by_label("At most so many running at once").fill("1")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Set the cap").click()
    expect(dialog.get_by_text("Say why")).to_be_visible()
    dialog.get_by_label("Reason").fill("his share")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Set the cap").click()
    expect(dialog).to_be_hidden()
    expect(listed(page, "Caps")).to_have_count(1)
    submit(page, server, "srv-1", "srv-2", "srv-3")
    expect(rows(page).filter(has_text="At the cap of 1 running task of admin")).to_have_count(3)
    expect(rows(page).filter(has_text="Paused")).to_have_count(0)
    expect(listed(page, "Caps")).to_contain_text("his share")


def test_a_cap_is_changed_and_removed(page: Page) -> None:
    listed(page, "Caps").get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("admin now: 1 running, 3 waiting.")).to_be_visible()
    dialog.get_by_label("At most so many running at once").fill("2")
    dialog.get_by_label("Reason").fill("a little more")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Change the cap").click()
    expect(rows(page).filter(has_text="At the cap of 2 running tasks of admin")).to_have_count(2)
    listed(page, "Caps").get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the cap").click()
    expect(listed(page, "Caps")).to_have_count(0)
    expect(rows(page).filter(has_text="At the cap of")).to_have_count(0)


def test_a_resume_releases_gradually_until_somebody_lets_all_go(page: Page, server: Server) -> None:
    pause(page, "Pause User", "admin", "too many")
    submit(page, server, "srv-4", "srv-5", "srv-6", "srv-7")
    expect(rows(page).filter(has_text="Paused")).to_have_count(4)
    page.get_by_role("button", name="Resume All").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Release gradually").click()
    dialog.get_by_label("Tasks a minute").fill("1")
    page.keyboard.press("Tab")
    expect(dialog.locator(".d-release")).to_contain_text(re.compile("Drains in"))
    dialog.get_by_role("button", name=re.compile("^Lift 1 hold, release 4")).click()
    expect(dialog).to_be_hidden()
    expect(holds(page)).to_have_count(0)
    expect(listed(page, "Ramps")).to_have_count(1)
    expect(listed(page, "Ramps")).to_contain_text("User admin")
    expect(rows(page).filter(has_text="Released gradually after a resume by admin: 1 a minute")).not_to_have_count(0)


def test_a_phone_shows_ramps_without_a_part_that_sticks_out(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(listed(page, "Ramps")).to_have_count(1)
    assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390


def test_all_go_when_somebody_says_so(page: Page) -> None:
    listed(page, "Ramps").get_by_role("button", name="Let all go now").click()
    expect(listed(page, "Ramps")).to_have_count(0)
    expect(rows(page).filter(has_text="Released gradually")).to_have_count(0)
