"""Blackout windows in a browser: one is created with a preview, holds its site by its name, is edited and removed."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Server, looking, running
from tests.browser.test_async_tasks import FLEET, HERE, holds, rows, submit

pytestmark = pytest.mark.browser


MINUTES = 90_000  #: milliseconds: a window begins with the next minute


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("blackouts"), FLEET) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    with looking(browser, server, cookie, HERE) as page:
        yield page


def windows(page: Page) -> Locator:
    return page.get_by_role("grid", name="Blackout windows").locator(".row.body")


def fill(dialog: Locator, label: str, text: str) -> None:
    dialog.get_by_label(label, exact=True).fill(text)
    dialog.get_by_label(label, exact=True).press("Tab")


def test_a_window_is_created_once_its_form_is_right(page: Page) -> None:
    expect(page.get_by_text("none yet")).to_be_visible()
    page.get_by_role("button", name="New window").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("On Saturdays at 22:00, for 4 h").or_(dialog.get_by_text("Saturdays at 22:00, for 4 h")))\
        .to_be_visible()  # fmt: skip
    expect(dialog.locator(".d-fires tr")).to_have_count(6)  # a head, and the next five times
    expect(dialog.get_by_role("button", name="Create window")).to_be_disabled()
    expect(dialog.get_by_text("Give the window a name")).to_be_visible()
    fill(dialog, "Name", "Month end <b>x</b>")
    fill(dialog, "Minute, hour, day of month, month, weekday", "* * * * *")
    fill(dialog, "Lasts", "8")
    dialog.get_by_role("button", name="Create window").click()
    expect(dialog.get_by_text("a third time before its first hold is over")).to_be_visible()
    fill(dialog, "Minute, hour, day of month, month, weekday", "99 * * * *")
    expect(dialog.get_by_text("is not valid")).to_be_visible()
    fill(dialog, "Minute, hour, day of month, month, weekday", "* * * * *")
    expect(dialog.get_by_text("Every minute, for 8 h")).to_be_visible()  # from here on, the rows below stay in place
    dialog.get_by_label("Unit", exact=True).click()
    page.get_by_role("option", name="minutes").click()
    expect(dialog.get_by_text("Every minute, for 8 min")).to_be_visible()
    fill(dialog, "Lasts", "2")
    fill(dialog, "Reason", "books are closed")
    expect(dialog.get_by_text("Every minute, for 2 min")).to_be_visible()
    dialog.get_by_role("button", name="Create window").click()
    expect(page.get_by_text("Blackout window “Month end <b>x</b>” is created")).to_be_visible()
    expect(windows(page)).to_have_count(1)
    expect(windows(page)).to_contain_text("Every minute")
    expect(windows(page)).to_contain_text("Europe/Berlin")


def test_what_it_holds_goes_by_its_name(page: Page, server: Server) -> None:
    expect(holds(page).first).to_contain_text("Blackout window “Month end <b>x</b>”", timeout=MINUTES)
    submit(page, server, "srv-1")
    paused = rows(page).filter(has_text="Paused")
    said = re.compile("by blackout window “Month end <b>x</b>” until .*: “books are closed”")
    expect(paused).to_contain_text(said, timeout=MINUTES)
    page.goto(f"{server.url}/?site=Berlin")
    expect(page.locator(".d-holds")).to_contain_text("lackout window “Month end <b>x</b>” until")
    waits = page.get_by_role("grid", name="Active tasks").locator(".row.body").filter(has_text="Paused")
    expect(waits).to_contain_text("by blackout window “Month end <b>x</b>” until")
    waits.get_by_role("link", name="Audit #1").click()
    expect(page.get_by_text("the end of blackout window “Month end <b>x</b>” at").first).to_be_visible()


def test_a_phone_has_no_part_that_sticks_out(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(windows(page)).to_have_count(1)
    assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390


def test_it_is_edited_and_removed_and_what_it_held_is_let_go(page: Page) -> None:
    windows(page).get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    fill(dialog, "Name", "Freeze")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Blackout window “Freeze” is changed")).to_be_visible()
    expect(windows(page)).to_contain_text("Freeze")
    windows(page).get_by_role("button", name="Remove").click()
    dialog.get_by_label("Reason").fill("over")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Remove window").click()
    expect(page.get_by_text("Blackout window “Freeze” is removed; what it held is lifted")).to_be_visible()
    expect(windows(page)).to_have_count(0)
    expect(holds(page)).to_have_count(0)
    expect(rows(page).filter(has_text="Paused")).to_have_count(0)
