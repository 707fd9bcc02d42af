"""A visitor who opens every page, presses what there is to press, and keeps all that the server sends him."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Download, Error, Locator, Page, Response, WebSocket

from tests.browser.conftest import ROOT, Server

_ENTRY = re.compile(r'Entry\("[^"]+", "[^"]+"(?:, "([^"]*)")?')
PATHS = tuple(found[1] or "" for found in _ENTRY.finditer((ROOT / "pages" / "router.py").read_text("utf-8")))
"""The addresses of all pages of the menu."""
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
LEAVES = ("Sign out",)  #: what would end the visit


@dataclass
class Visit:
    """What came in while somebody looked around."""

    page: Page
    server: Server
    frames: list[bytes] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    downloads: list[Download] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)  #: that the browser asked, or tried to
    said: list[str] = field(default_factory=list)  #: on the browser's console
    texts: list[str] = field(default_factory=list)  #: of pages, as a reader sees them
    pressed: int = 0

    def go(self, path: str) -> None:
        """Open a page and wait until it stands."""
        self.page.goto(self.server.url + path)
        self.settle()

    def settle(self) -> None:
        self.page.locator(IDLE).first.wait_for(timeout=30_000)
        self.texts.append(self.page.locator("body").inner_text())

    def press_everything(self, most: int = 12) -> None:
        """Press each button, tab and menu of the page, once, and take away the files that it offers at the end.

        The dialog that opens is left, and so is the page if it turns.
        """
        here = self.page.url
        for within in ("[data-testid=stMain]", "[data-testid=stSidebar]"):
            buttons = self.page.locator(f"{within} button:visible, {within} summary:visible")
            for n in range(min(buttons.count(), most)):
                if self._press(buttons.nth(n)):
                    self.pressed += 1
                    self.settle()
                    self._leave(here)
        for file in self.page.locator("a.d-button:visible").all():
            with self.page.expect_download():
                file.click()

    def _press(self, button: Locator) -> bool:
        try:
            if button.inner_text(timeout=500) in LEAVES:
                return False
            button.click(timeout=1_000)
        except Error:
            return False  # it has gone, or lies under another
        return True

    def _leave(self, here: str) -> None:
        self.page.keyboard.press("Escape")
        if urlsplit(self.page.url).path != urlsplit(here).path:
            self.page.goto(here)
        self.settle()

    def everything(self) -> str:
        """Give all that came in: texts, frames, answers and files, as one text."""
        came = [*self.texts, *(frame.decode("utf-8", "replace") for frame in self.frames)]
        for answer in self.answers:
            try:
                came.append(f"{answer.all_headers()} {answer.text()}")
            except Error:  # of a page that is left, or one that leads elsewhere: without a body
                continue
        came += [Path(download.path()).read_text("utf-8", "replace") for download in self.downloads]
        return "\n".join(came)


@contextmanager
def visiting(browser: Browser, server: Server, cookie: str) -> Iterator[Visit]:
    """Let somebody visit the console with his cookie."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    visit = Visit(page, server)

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: visit.frames.append(
            payload if isinstance(payload, bytes) else payload.encode()
        ))  # fmt: skip

    def answered(answer: Response) -> None:
        if "/static/" not in answer.url:
            visit.answers.append(answer)

    page.on("websocket", listen)
    page.on("response", answered)
    page.on("download", lambda download: visit.downloads.append(download))
    page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: visit.said.append(message.text))
    page.on("dialog", lambda dialog: dialog.dismiss())
    yield visit
    context.close()


def look_around(visit: Visit, site: str, paths: Sequence[str] = PATHS, most: int = 12) -> None:
    """Open pages at a site, and press what there is."""
    for path in paths:
        visit.go(f"/{path}?site={site}")
        visit.press_everything(most)
