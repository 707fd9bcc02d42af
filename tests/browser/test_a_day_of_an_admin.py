"""The way of an admin through Active tasks, from the first link to the log: on a real server, in a real browser."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from engine.store import Store
from tests.browser.conftest import PASSWORD, ROOT, Server, running

pytestmark = pytest.mark.browser

#: An audit comes every second and takes about twelve; six run at a time, so that some wait and some run at any time.
#: A scan runs at once, and for longer than anybody takes to make up his mind.
FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[kinds.scan]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "audit-1", role = "audit_service", slots = 3 },
  { name = "audit-2", role = "audit_service", slots = 3 },
  { name = "explorer-1", role = "explorer", slots = 60 },
]
targets = [
  { name = "srv", kind = "device", count = 40 },
  SEGMENTS
]
mix.audit = { per_hour = 3600, collect = { median_s = 12, sigma = 0.2 }, process = { median_s = 1, sigma = 0.1 } }
mix.scan = { per_hour = 360, collect = { median_s = 9000, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
""".replace("SEGMENTS", "".join(f'{{ name = "10.1.{n}.0/24", kind = "segment", assets = 40 }},' for n in range(30)))

#: Takes down, in the page, every word that a task's row ever had.
WATCH = """() => {
  const seen = window.seen = {}
  const look = () => {
    for (const host of document.querySelectorAll('*')) if (host.shadowRoot)
      for (const row of host.shadowRoot.querySelectorAll('.row.body:not(.gone)')) {
        const label = row.querySelector('a').textContent, word = row.querySelector('.tag').textContent
        const words = seen[label] = seen[label] || []
        if (words.at(-1) !== word) words.push(word)
      }
  }
  window.setInterval(look, 100)
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with running(folder, settings=None) as server:
        yield server


def watched(page: Page, server: Server) -> tuple[list[str], list[str]]:
    """Collect what the browser's console complains of, and what is asked of anybody but this server."""
    problems: list[str] = []
    outside: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((server.url, server.url.replace("http", "ws"), "data:", "blob:")):
            outside.append(request.url)

    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", asked)
    return problems, outside


def refreshes(page: Page, n: int) -> None:
    """Wait until the page has told of as many newer instants."""
    clock = page.locator(".d-live")
    for _ in range(n):
        told = clock.inner_text()
        expect(clock).not_to_have_text(told, timeout=10_000)


def test_an_admin_signs_in_watches_the_queue_and_cancels_exactly_one_task(
    browser: Browser, server: Server, folder: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    page = context.new_page()
    problems, outside = watched(page, server)
    page.goto(server.url + server.first_link())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set it and sign in").click()
    grid = page.get_by_role("grid", name="Active tasks")
    expect(grid.get_by_role("link").first).to_be_visible(timeout=60_000)

    # Rows move through the statuses.
    page.evaluate(WATCH)
    page.wait_for_function(
        "() => Object.values(window.seen).some(words => words.join() === 'Queued,Running')", timeout=60_000
    )

    # One is selected, and stays it through ten refreshes while others arrive.
    page.get_by_role("button", name=re.compile("^Queued")).click()
    expect(grid.get_by_text("Running", exact=True)).to_have_count(0)
    label = str(grid.get_by_role("checkbox").nth(1).get_attribute("aria-label"))
    page.get_by_role("button", name=re.compile("^All")).click()
    page.get_by_label(label, exact=True).check()
    refreshes(page, 10)
    expect(page.get_by_text(re.compile(r"^\d+ new$"))).to_be_visible()
    checked = [box.get_attribute("aria-label") for box in grid.get_by_role("checkbox", checked=True).all()]
    assert checked == [label]

    # One that runs is chosen instead, so that its stop has to be confirmed.
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("1 selected")).to_be_hidden()
    running = grid.get_by_role("row").filter(has=page.get_by_text("Running", exact=True))
    task = running.get_by_role("link", name=re.compile("^Scan #")).first.inner_text(timeout=60_000)
    page.get_by_label(f"Select {task}", exact=True).check()

    # The dialog stays while the page goes on, and exactly this task is asked to stop.
    page.get_by_role("button", name="Cancel 1 task").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("tried by a test")
    refreshes(page, 2)
    expect(dialog.get_by_label("Reason")).to_have_value("tried by a test")
    dialog.get_by_role("button", name="Cancel 1 task").click()
    expect(page.get_by_text("1 of 1 task cancelled or asked to stop")).to_be_visible()
    page.wait_for_function("task => window.seen[task].includes('Stopping')", arg=task, timeout=15_000)

    # It leaves the queue; its card tells the whole way, and who did it and why.
    expect(grid.get_by_role("link", name=task, exact=True)).to_have_count(0, timeout=90_000)
    number = int(task.rpartition("#")[2])
    with_card = f"{server.url}/?task={(1 << 40) + number}"
    page.goto(with_card)
    card = page.locator(".st-key-card")
    expect(card.get_by_text("Cancelled", exact=True)).to_be_visible(timeout=30_000)
    for step in ("New", "Active", "Stopping", "Stopped"):
        expect(card.locator(".d-way").get_by_text(step).first).to_be_visible()
    expect(card.get_by_text("admin, asked for; “tried by a test”")).to_be_visible()
    expect(card.get_by_role("button", name="Cancel")).to_have_count(0)
    context.close()
    assert problems == []
    assert outside == []

    server.stop()
    with Store.open(folder / "store") as store:
        stopped = store.read("select name, number, outcome, reason from task_finished where status <> 'Processed'")
    assert stopped.select("number", "outcome", "reason").rows() == [(number, "stopped", "by_user")]


def test_a_link_to_a_card_is_copied_and_shows_a_colleague_the_same(browser: Browser, server: Server) -> None:
    cookie = server.sign_in(server.first_link())
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    page.goto(server.url)
    grid = page.get_by_role("grid", name="Active tasks")
    link = grid.get_by_role("link").first
    expect(link).to_be_visible(timeout=60_000)
    label = link.inner_text()
    page.get_by_role("link", name=label, exact=True).click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(server.url)
    other = context.new_page()
    other.goto(copied)
    expect(other.locator(".st-key-card").get_by_text(label, exact=True)).to_be_visible(timeout=30_000)
    context.close()


def test_a_site_user_reads_everything_and_is_offered_nothing(
    browser: Browser, server: Server
) -> None:
    server.sign_in(server.first_link())
    said = subprocess.run(
        [sys.executable, "-m", "engine", "user", "invite", "sid", "--role", "site_user", "--business", "Acme",
         "--site", "Berlin", "--data", str(server.log.parent)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    cookie = server.sign_in(said.stdout.split()[-1])
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    page.goto(server.url)
    grid = page.get_by_role("grid", name="Active tasks")
    expect(grid.get_by_role("link").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("cancelling needs the role of a site admin")).to_be_visible()
    expect(grid.get_by_role("checkbox")).to_have_count(0)  # there is nothing that could be done with what is selected
    grid.get_by_role("link").first.click()
    expect(page.locator(".st-key-card")).to_be_visible()
    for name in ("Cancel", "Add a", "Stagger", "Bring online", "Drain"):
        expect(page.get_by_role("button", name=re.compile(f"^{name}"))).to_have_count(0)
    assert "proc-1" not in page.content()
    context.close()


