"""A tab that nobody answers: it takes back that it is live, offers to load anew, and is live again once it is drawn.

The server is stopped and let go on as a process is by its machine. Where an hour has to pass, the browser's clock is
moved on, as it moves while a laptop sleeps; the server's is not. Until the first warning, time is as it is.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Server, looking, running
from tests.browser.test_async_tasks import FLEET

pytestmark = pytest.mark.browser

LIVE = re.compile(r"^Live, \d\d:\d\d:\d\d ")
WARN = """() => {
  window.warned = false
  new MutationObserver(() => { window.warned ||= Boolean(document.querySelector('.d-unheard')) })
    .observe(document.body, {subtree: true, childList: true, attributes: true})
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("silent"), FLEET) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    """Open a page that is live, with a clock of its own."""
    with looking(browser, server, cookie) as page:
        page.clock.install()
        page.reload()
        expect(page.locator(".d-live")).to_have_text(LIVE)
        yield page


def drawing(page: Page) -> str:
    """Name the drawing of the head row that is on the screen."""
    return str(page.locator("[data-drawn]").get_attribute("data-drawn"))


def drawn(page: Page, times: int) -> None:
    """Wait until the head row was drawn anew as often."""
    for _ in range(times):
        expect(page.locator("[data-drawn]")).not_to_have_attribute("data-drawn", drawing(page))


def settled(page: Page) -> None:
    """Wait until the head row is not drawn anew for a second."""
    told = ""
    for _ in range(20):
        if told == (told := drawing(page)):
            return
        page.wait_for_timeout(1_000)
    raise AssertionError("The page is drawn anew again and again")


@contextmanager
def hanging(page: Page, server: Server) -> Iterator[None]:
    """Let the server do nothing while the block lasts, which begins once what was under way has come."""
    drawn(page, 2)
    server.process.send_signal(signal.SIGSTOP)
    try:
        settled(page)
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def warning(page: Page) -> Locator:
    return page.get_by_role("status").filter(has_text="Not heard of the console")


def reload(page: Page) -> Locator:
    return page.get_by_role("button", name="Reload", exact=True)


def places(page: Page, *more: Locator) -> list[Any]:
    """Tell where things stand in the head row on a desktop and on a phone, and see that all of it is on the screen."""
    found: list[Any] = []
    around = [page.locator(each) for each in (".st-key-head", "h1.d-title", ".st-key-head [data-testid=stSelectbox]")]
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        boxes: list[Any] = []
        while boxes != (boxes := [one.bounding_box() for one in (*around, *more)]):
            page.wait_for_timeout(500)  # the menu moves in and out
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
        found.append(boxes[: len(around)])
    return found


def test_a_page_that_nobody_draws_says_so_offers_to_reload_and_is_live_again_once_it_is_drawn(
    page: Page, server: Server
) -> None:
    with hanging(page, server):
        stood = places(page)
        expect(page.locator(".d-live")).to_have_text(LIVE)
        expect(warning(page)).to_have_text(re.compile(r"^Not heard of the console for 1\d s$"), timeout=16_000)
        expect(page.locator(".d-live")).to_have_count(0)
        expect(reload(page)).to_have_count(0)
        assert places(page, warning(page)) == stood
        page.clock.run_for(21_000)
        expect(warning(page)).to_have_text(re.compile(r" for [34]\d s$"))
        assert places(page, warning(page), reload(page)) == stood
    expect(page.locator(".d-live")).to_have_text(LIVE)
    expect(warning(page)).to_have_count(0)
    expect(reload(page)).to_have_count(0)
    drawn(page, 3)


def test_a_tab_that_comes_back_from_sleep_warns_only_if_nobody_draws_it_then(page: Page, server: Server) -> None:
    drawn(page, 2)
    for _ in range(3):  # a busy server may draw it later than a tab waits that wakes
        page.evaluate(WARN)
        page.clock.fast_forward("01:00:00")
        drawn(page, 6)
        if not (warned := page.evaluate("() => window.warned")):
            break
    assert not warned

    with hanging(page, server):
        page.clock.fast_forward("01:00:00")
        expect(page.locator(".d-live")).to_have_text(LIVE)
        expect(warning(page)).to_have_text("Not heard of the console for 1 h 00")
        expect(reload(page)).to_have_count(0)
        page.clock.run_for(21_000)
        reload(page).click(no_wait_after=True)
    page.wait_for_function("() => window.warned === undefined")  # it is another document
    expect(page.locator(".d-live")).to_have_text(LIVE)


def test_a_page_that_is_to_stand_still_does_and_is_not_expected_to_be_drawn(page: Page) -> None:
    drawn(page, 2)
    page.get_by_role("combobox", name="Refresh every").click()
    page.get_by_role("option", name="Off").click()
    expect(page.locator(".d-asof")).to_have_text(re.compile("^Standing still since"))
    settled(page)
    before = page.locator(".d-asof").inner_text(), drawing(page)
    page.clock.run_for(120_000)
    settled(page)
    assert (page.locator(".d-asof").inner_text(), drawing(page)) == before
    expect(warning(page)).to_have_count(0)
    page.get_by_role("combobox", name="Refresh every").click()
    page.get_by_role("option", name="5 s").click()
    expect(page.locator(".d-live")).to_have_text(LIVE)
    drawn(page, 2)
