"""A console that can keep nothing: each page says how old its news is and offers no action, until it can again.

The disk that takes no more is a limit on the size of files, which the server's process is given and relieved of.
"""

import re
import resource
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import Server, running
from tests.browser.test_fairness import BUSY, FLEET, MIX

pytestmark = pytest.mark.browser

OFF = {
    "": (), "tasks?tab=active": ("New task",), "tasks?tab=recurring": ("New schedule",), "services": (),
    "async-tasks": ("Pause User", "Pause Task Type", "Cap User", "Resume All", "New window", "Edit", "Delete"),
    "async-tasks?part=fairness": ("Pause…",), "reports": ("Start",), "logs": (), "activity": (),
    "users": ("New user",),
}  # fmt: skip
"""What each page offers where the engine answers, and must not where it does not."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("full"), FLEET.replace(MIX, BUSY)) as server:
        yield server


@pytest.fixture
def pages(browser: Browser, server: Server, cookie: str) -> Iterator[dict[str, Page]]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies(server.cookies(cookie))
    yield {path: opened(context, f"{server.url}/{path}{'&' if '?' in path else '?'}site=Berlin") for path in OFF}
    context.close()


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    expect(page.locator(".d-live")).to_be_visible(timeout=60_000)
    return page


def offered(page: Page, label: str) -> Locator:
    return page.locator("[data-testid=stMain]").get_by_role("button", name=label, exact=True).first


def full(server: Server, is_full: bool) -> None:
    """Let no file of the server grow, or let them again."""
    most = 0 if is_full else resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_while_nothing_can_be_kept_each_page_says_so_and_offers_no_action(
    server: Server, pages: dict[str, Page]
) -> None:
    for path, labels in OFF.items():
        for label in labels:
            expect(offered(pages[path], label)).to_be_enabled(timeout=60_000)
    full(server, True)
    try:
        for path, labels in OFF.items():
            expect(pages[path].locator(".d-stale")).to_contain_text(re.compile(r"^Stale: .* old"), timeout=60_000)
            for label in labels:
                expect(offered(pages[path], label)).to_be_disabled()
        expect(pages[""].locator(".d-verdict")).to_contain_text("No news for")
        with pytest.raises(subprocess.CalledProcessError) as refused:
            server.cli("hold", "place", "--user", "ann", "--business", "Acme", "--reason", "Too much")
        assert "Nothing was changed" in refused.value.stdout + refused.value.stderr
    finally:
        full(server, False)
    for path, labels in OFF.items():
        expect(pages[path].locator(".d-live")).to_be_visible(timeout=30_000)
        for label in labels:
            expect(offered(pages[path], label)).to_be_enabled()
