"""A stranger's first minutes: the page answers while the history is built, goes live by itself, moves, and stops."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PASSWORD, ROOT, serve

pytestmark = pytest.mark.browser


def test_the_first_start_shows_its_progress_then_a_living_queue_and_stops_in_order(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 1\nfleet_speed = 60.0\n")
    server = serve(tmp_path, tmp_path / "server.log")
    try:
        status, body = server.get("/healthz")
        assert (status, json.loads(body)["status"]) in ((200, "seeding"), (200, "starting"))

        page = browser.new_context(timezone_id="Asia/Kolkata", locale="en-GB").new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        outside: list[str] = []
        page.on(
            "request", lambda r: outside.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else None
        )
        page.goto(server.url)
        expect(page.get_by_text("log has the link that makes the first admin")).to_be_visible(timeout=90_000)
        page.goto(server.url + server.first_link())
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Set it and sign in").click()
        expect(page.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=30_000)
        expect(page.get_by_text(re.compile(r"Live, \d\d:\d\d:\d\d IST"))).to_be_visible()

        # The queue moves: with the fleet sixty times as fast as life, the newest row is soon another one.
        newest = page.get_by_role("grid", name="Active tasks").get_by_role("link").first
        expect(newest).to_have_text(re.compile(r"(Scan|Audit|Connector|Import|Query|Report|Outlier calculation) #\d+"))
        before = newest.inner_text()
        expect(newest).not_to_have_text(before, timeout=60_000)

        assert json.loads(server.get("/healthz")[1])["status"] == "live"
        assert problems == []
        assert [url for url in outside if not url.startswith(server.url.replace("http", "ws"))] == []
    finally:
        spent = server.stop()
    assert spent < 10
    assert server.process.returncode in (0, -15)


def test_strangers_are_told_nothing_and_other_origins_get_no_socket(tmp_path: Path) -> None:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    server = serve(tmp_path, tmp_path / "server.log")
    try:
        assert server.get("/_stcore/metrics")[0] == 404
        assert server.get("/_stcore/agent/openapi.json")[0] == 404
        address = server.url.replace("http", "ws") + "/_stcore/stream"
        for origin in ("http://evil.example", None):
            with pytest.raises((InvalidStatus, WebSocketException)), connect(address, origin=origin):
                pass
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("settings.toml", "silence_s = 1\n", "silence_s = 1 is too small"),
        ("fleet.toml", "[businesses.acme]\nname = 'Acme'\n", "fleet.toml has"),
    ],
)
def test_a_wrong_file_is_told_in_words_and_nothing_starts(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", "0"],
        cwd=ROOT, env=os.environ | {"DRAINBOARD_DATA": str(tmp_path)}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert told in said
    assert "Traceback" not in said
