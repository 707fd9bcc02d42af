"""What the verdict offers, done: stuck tasks cancelled, stacked schedules staggered, a host opened and one added."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.__main__ import main
from engine.store import Store
from tests.browser.conftest import Server, running

pytestmark = pytest.mark.browser

SCHEDULES = "\n".join(
    f'  {{ name = "Nightly {n}", kind = "audit", owner = "ann", every_s = 60 }},' for n in range(1, 13)
)

#: One slot for twelve schedules that fire in the same second. Nothing ends while the test looks on.
FLEET = f"""
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{{ name = "proc-1", slots = 1 }}]
users = [{{ name = "ann", role = "business_admin" }}]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{{ name = "audit-1", role = "audit_service", slots = 1 }}]
targets = [{{ name = "srv", kind = "device", count = 1 }}]
mix.audit = {{ per_hour = 0, collect = {{ median_s = 900, sigma = 0.1 }}, process = {{ median_s = 1, sigma = 0.1 }} }}
schedules = [
{SCHEDULES}
]
"""
SETTINGS = "seed_days = 0\npile_up_tasks = 8\npile_up_s = 5\nsilence_s = 5\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("remedies"), FLEET, settings=SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(server.sign_in(server.first_link())))
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    expect(page.locator(".d-verdict")).to_have_text(re.compile("^Backing up"), timeout=150_000)
    yield page
    context.close()
    assert problems == []


def test_schedules_that_fire_together_are_staggered_from_the_verdict(page: Page) -> None:
    expect(page.locator(".d-verdict")).to_have_text(re.compile(r"tasks came in one minute"))
    page.get_by_role("button", name="Stagger schedules").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("row")).to_have_count(13)
    dialog.get_by_label("Minutes apart").fill("7")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("row").nth(2)).to_contain_text("07")
    dialog.get_by_role("button", name="Move 11 schedules").click()
    expect(page.get_by_text("11 of 11 schedules moved")).to_be_visible(timeout=60_000)
    expect(dialog).to_be_hidden()


def test_a_host_is_added_and_takes_work_at_once(page: Page) -> None:
    page.get_by_role("button", name="Add a host").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("audit-2")
    dialog.get_by_label("Slots: tasks at a time").fill("2")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Add audit-2").click()
    expect(page.get_by_text("audit-2 is added to Berlin")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Running 3")).wait_for(timeout=20_000)


def test_a_host_that_has_fallen_silent_is_opened_and_taken_out_of_service(page: Page, server: Server) -> None:
    lost = ["drill", "host-lost", "--data", str(server.log.parent), "--business", "Acme", "--service", "audit-2"]
    assert main(lost) == 0
    page.get_by_role("button", name="Open audit-2").click(timeout=60_000)
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("^lost since"))).to_be_visible()
    expect(dialog.get_by_text("0 of 2 in use")).to_be_visible()
    dialog.get_by_role("button", name="Drain").click()
    dialog.get_by_label("Reason").fill("being mended")
    dialog.get_by_role("button", name="Drain: audit-2").click()
    expect(page.get_by_text("audit-2: Draining")).to_be_visible()
    expect(dialog).to_be_hidden()


def test_what_was_done_stands_in_the_ledger_and_in_the_audit_trail(page: Page, server: Server) -> None:
    page.goto("about:blank")
    server.stop()
    with Store.open(server.log.parent / "store") as store:
        edited = store.read("select distinct detail::varchar from schedule_event where event = 'edited'")
        audit = store.read("select action, object_id, reason from audit where actor = 'admin'")
    assert edited.height == 11  # no two at the same minute
    assert audit["action"].to_list().count("edit") == 11
    assert ("set", "audit-2", "being mended") in audit.rows()
    assert ("add", "audit-2") in audit.select("action", "object_id").rows()
