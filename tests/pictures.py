"""The README's pictures, taken of the real thing: `python -m tests.pictures`, in some five minutes.

The demo fleet is seeded as a first start does, lives ten times as fast, and loses a host; the picture is of the site
that feels it. Take them anew whenever the page changes its face.
"""

import re
import tempfile
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from engine.__main__ import main as engine
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT, serve

FOLDER = ROOT / ".pictures"
BUSINESS, SITE, HOST = "Northwind Logistics", "Newark terminal", "ewr-audit-1"
SETTINGS = "fleet_speed = 10.0\npile_up_s = 60\npile_up_tasks = 12\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        data = Path(place)
        (data / "settings.toml").write_text(SETTINGS)
        server = serve(data, data / "server.log")
        try:
            cookie = server.sign_in(server.first_link())
            lost = ["drill", "host-lost", "--data", place, "--business", BUSINESS, "--service", HOST]
            assert engine(lost) == 0
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for theme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": 1280, "height": 800}, color_scheme=theme, timezone_id="America/New_York"
                )
                context.add_cookies(server.cookies(cookie))
                page = context.new_page()
                page.goto(f"{server.url}/?site={SITE.replace(' ', '+')}")
                expect(page.locator(".d-verdict")).to_have_text(re.compile("^Backing up"), timeout=300_000)
                running = page.get_by_role("row").filter(has=page.get_by_text("Running", exact=True))
                running.first.get_by_role("link").click()
                expect(page.locator(".st-key-card")).to_be_visible()
                time.sleep(3)
                page.screenshot(path=FOLDER / f"active-tasks-{theme}.png")
                context.close()
            browser.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
