"""A real server on a free loopback port, and Debian's Chromium."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


PASSWORD = "correct horse battery"


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Send one request and follow nothing; return status, headers and body. A header of "" is left out."""
        link = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        given = {"Origin": self.url} | {name.replace("_", "-"): value for name, value in headers.items()}
        body = urllib.parse.urlencode(form) if form is not None else None
        link.request(method, path, body, {name: value for name, value in given.items() if value})
        answer = link.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        text = answer.read().decode(errors="replace")
        link.close()
        return answer.status, told, text

    def first_link(self, patience: float = 90) -> str:
        """Wait until the log tells how the first admin gets in; return the path."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            found = re.search(r"Make the first admin, once: http://localhost:\d+(/auth/link/\S+)", self.log.read_text())
            if found:
                return found.group(1)
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"The log tells of no link: {self.log.read_text()}")

    def sign_in(self, link: str, password: str = PASSWORD) -> str:
        """Set a password by a link; return the cookie of the session that this begins."""
        status, told, text = self.ask("POST", link, {"password": password})
        assert status == 303, text
        return told["set-cookie"].partition(";")[0]

    def cookies(self, cookie: str) -> list[Any]:
        """Write a cookie as a browser's context takes it."""
        name, _, value = cookie.partition("=")
        return [{"name": name, "value": value, "url": self.url}]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_live(self, patience: float = 90) -> None:
        """Wait until it is live, however long one answer takes."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(OSError):
                if '"live"' in self.get("/healthz")[1]:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def cli(self, *words: str) -> str:
        """Run a verb of the command line on the server's data folder; return what it writes, in JSON."""
        command = [sys.executable, "-m", "engine", *words, "--data", str(self.log.parent), "--json"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def invited(self, name: str, *role: str) -> str:
        """Invite somebody by the command line and sign him in; return the cookie of his session."""
        told = self.cli("user", "invite", name, *role)
        link = re.search(r"/auth/link/[\w-]+", told)
        assert link is not None, told
        return self.sign_in(link.group())

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let it do nothing while the block lasts: it hears of all that was done meanwhile at once."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> float:
        """Ask the server to stop; return how many seconds it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        return time.monotonic() - start


def serve(data: Path, log: Path, *options: str, port: int = 0, checkout: Path = ROOT) -> Server:
    """Start the app as the README does, on a port of its own, and wait until it answers."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *options],
            cwd=checkout, env=os.environ | {"DRAINBOARD_DATA": str(data)}, stdout=written, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", process, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            server.get("/healthz")
            return server
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(f"The server did not answer: {log.read_text()}")


@contextmanager
def running(folder: Path, fleet: str | None = None, settings: str | None = "seed_days = 0\n") -> Iterator[Server]:
    """Serve a data folder with such settings and such a fleet (None: as they are there) until the block ends."""
    for name, written in (("settings.toml", settings), ("fleet.toml", fleet)):
        if written is not None:
            (folder / name).write_text(written)
    server = serve(folder, folder / "server.log")
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def cookie(server: Server) -> str:
    """Give the session of the first admin of a module's server."""
    return server.sign_in(server.first_link())


@contextmanager
def looking(browser: Browser, server: Server, cookie: str, path: str = "/", width: int = 1280) -> Iterator[Page]:
    """Open a path in Berlin, and wait for the page around what is asked for; no page may end in an exception."""
    context = browser.new_context(viewport={"width": width, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    page.goto(server.url + path)
    expect(page.locator("[data-testid=stSidebar]")).to_be_attached(timeout=150_000)
    yield page
    assert page.locator("[data-testid=stException]").count() == 0
    context.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=20_000)  # a busy machine shows some things late
        yield browser
        browser.close()
