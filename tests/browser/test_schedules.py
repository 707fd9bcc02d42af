"""Schedules in a browser, by a machine whose clock says 31 October 2026: made across a clock change, changed, paused,
resumed, run, removed, and read by who may only read."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.store import Store
from tests.browser.conftest import ROOT, Server, looking, serve
from tests.test_recurrence import REFERENCE, reference_rows

pytestmark = pytest.mark.browser

NEW_YORK = "America/New_York"
FROM = "2026-10-31T12:00"  #: one of the instants that the reference table starts from
OFFSETS = {"EDT": timedelta(hours=-4), "EST": timedelta(hours=-5)}

#: The machine's clock, set back: Python's own wall clock is read through these two.
CLOCK = """
import os, time
_behind, _time, _time_ns = int(os.environ["CLOCK_BEHIND_NS"]), time.time, time.time_ns
time.time = lambda: _time() - _behind / 1e9
time.time_ns = lambda: _time_ns() - _behind
"""

FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 1 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "srv", kind = "device", count = 1 }]
mix.audit = { per_hour = 0, collect = { median_s = 2, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("schedules")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    (folder / "sitecustomize.py").write_text(CLOCK)
    behind = datetime.now(UTC) - datetime.fromisoformat(FROM).replace(tzinfo=UTC) - timedelta(seconds=1)
    with clock_set_back(folder, behind):
        server = serve(folder, folder / "server.log")
    yield server
    if server.process.poll() is None:
        server.stop()


@contextmanager
def clock_set_back(folder: Path, behind: timedelta) -> Iterator[None]:
    given = {"PYTHONPATH": str(folder), "CLOCK_BEHIND_NS": str(int(behind.total_seconds()) * 10**9)}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    with looking(browser, server, cookie, "/schedules") as page:
        yield page


def card(page: Page) -> Locator:
    return page.locator(".st-key-card")


def choose(dialog: Locator, label: str, option: str) -> None:
    """Pick an option of a select box by typing it."""
    box = dialog.get_by_label(label, exact=True)
    box.click()
    box.fill(option)
    dialog.page.get_by_role("option", name=option, exact=True).first.click()


def fires(within: Locator) -> list[str]:
    """Read the next fires off the page, those of the schedule's own zone, in UTC as the reference writes them."""
    found = []
    for cell in within.locator(".d-fires td:first-child").all_inner_texts():
        day, clock, zone = cell.split()[1:]
        found.append(f"{datetime.fromisoformat(f'{day} {clock}') - OFFSETS[zone]:%m-%dT%H:%MZ}")
    return found


def test_an_empty_site_says_that_nothing_recurs_and_offers_a_schedule(page: Page) -> None:
    expect(page.get_by_text("Nothing recurs at this site yet.")).to_be_visible()
    expect(page.get_by_text("No task is to come later.")).to_be_visible()
    expect(page.get_by_role("button", name="New schedule")).to_be_enabled()


@pytest.mark.skipif(not REFERENCE.exists(), reason="the folder with the reference tables is not beside the checkout")
def test_a_schedule_is_made_across_a_clock_change_and_its_fires_are_those_of_the_reference_table(page: Page) -> None:
    rows = [(cron, told) for zone, start, cron, told in reference_rows() if (zone, start) == (NEW_YORK, FROM)]
    assert len(rows) >= 4
    page.get_by_role("button", name="New schedule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("New York")
    choose(dialog, "Type", "Audit")
    choose(dialog, "Zone", NEW_YORK)
    expect(dialog.locator(".d-fires th").first).to_have_text(NEW_YORK)
    expect(dialog.locator(".d-fires th").last).to_have_text("Europe/Berlin, yours")
    for cron, told in rows:
        dialog.get_by_label("Minute, hour, day of month, month, weekday").fill(cron)
        for _ in range(200):  # it follows what is typed
            if fires(dialog)[: len(told)] == told:
                break
            page.wait_for_timeout(100)
        assert fires(dialog)[: len(told)] == told, cron
    cron, told = next(row for row in rows if row[0] == "15 1 * * *")
    dialog.get_by_label("Minute, hour, day of month, month, weekday").fill(cron)
    expect(dialog.get_by_text("Every day at 01:15")).to_be_visible()
    dialog.get_by_role("button", name="Create schedule").click()
    expect(page.get_by_text("“New York” is created: Every day at 01:15")).to_be_visible()
    expect(page).to_have_url(re.compile(r"schedule=\d+"))
    expect(card(page).locator(".d-cardhead")).to_contain_text("New York")
    expect(card(page).locator(".d-fires tr")).to_have_count(6)  # a head, and the next five
    assert fires(card(page))[: len(told)] == told
    expect(page.get_by_role("grid", name="Schedules").get_by_role("link", name="New York")).to_be_visible()


@pytest.fixture
def opened(page: Page) -> Page:
    """The page with the one schedule's card; it is made where no earlier test has."""
    link = page.get_by_role("grid", name="Schedules").get_by_role("link").first
    nothing = page.get_by_text("Nothing recurs at this site yet.")
    expect(link.or_(nothing).first).to_be_visible(timeout=60_000)
    if nothing.count():
        page.get_by_role("button", name="New schedule").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name", exact=True).fill("New York")
        choose(dialog, "Type", "Audit")
        dialog.get_by_role("button", name="Create schedule").click()
        expect(dialog).to_be_hidden()
    else:
        link.click()
    expect(card(page).get_by_role("button", name="Run now")).to_be_visible()
    return page


def test_a_rule_that_is_none_is_refused_in_words_while_one_types(page: Page) -> None:
    page.get_by_role("button", name="New schedule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Minute, hour, day of month, month, weekday").fill("15 25 * * *")
    expect(dialog.get_by_text("The hour “25” (field 2 of")).to_be_visible()
    expect(dialog.get_by_role("button", name="Create schedule")).to_be_disabled()
    dialog.get_by_label("Minute, hour, day of month, month, weekday").fill("15 2 * * *")
    expect(dialog.get_by_role("button", name="Create schedule")).to_be_enabled()
    dialog.get_by_role("button", name="Create schedule").click()
    expect(dialog.get_by_text("A schedule needs a name")).to_be_visible()
    dialog.get_by_role("button", name="Dismiss").click()
    expect(dialog).to_be_hidden()


def test_of_two_who_edit_it_the_second_is_told_by_whom_it_was_changed(
    opened: Page, browser: Browser, server: Server, cookie: str
) -> None:
    card(opened).get_by_role("button", name="Edit").click()
    late = opened.get_by_role("dialog")
    expect(late.get_by_label("Name", exact=True)).to_have_value("New York")
    with looking(browser, server, cookie, opened.url.removeprefix(server.url)) as other:
        card(other).get_by_role("button", name="Edit").click()
        dialog = other.get_by_role("dialog")
        dialog.get_by_label("Name", exact=True).fill("New York, servers")
        dialog.get_by_label("Scope").fill("Databases")
        other.keyboard.press("Tab")
        dialog.get_by_role("button", name="Save").click()
        expect(other.get_by_text("“New York, servers” is changed")).to_be_visible()
    late.get_by_label("Name", exact=True).fill("Lost")
    opened.keyboard.press("Tab")
    late.get_by_role("button", name="Save").click()
    expect(late.get_by_text(re.compile(r"Somebody changed this schedule meanwhile.*Version 2 was edited by admin at"))
           ).to_be_visible()  # fmt: skip
    late.get_by_role("button", name="Dismiss").click()
    expect(card(opened).get_by_text("scope – → Databases")).to_be_visible()


def test_it_is_paused_with_a_reason_and_resumed(opened: Page) -> None:
    card(opened).get_by_role("button", name="Pause").click()
    dialog = opened.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("moving racks")
    opened.keyboard.press("Tab")
    dialog.get_by_role("button", name="Pause schedule").click()
    expect(opened.get_by_text("is paused until somebody resumes it")).to_be_visible()
    expect(card(opened).get_by_text("Paused until resumed, by admin: moving racks")).to_be_visible()
    expect(card(opened).get_by_text("Next fires, skipped while paused")).to_be_visible()
    opened.get_by_role("button", name="Paused 1").click()
    expect(opened).to_have_url(re.compile("show=Paused"))
    card(opened).get_by_role("button", name="Resume").click()
    expect(opened.get_by_text("is resumed")).to_be_visible()
    expect(card(opened).get_by_role("button", name="Pause")).to_be_visible()
    expect(opened.get_by_text("No schedule matches.")).to_be_visible()


def test_it_is_run_now_once_even_by_a_double_click_and_the_run_is_told_of(opened: Page) -> None:
    card(opened).get_by_role("button", name="Run now").dblclick()
    expect(opened.get_by_text(re.compile(r"Audit #\d+ is submitted for Schedule #"))).to_be_visible()
    expect(card(opened).get_by_text(re.compile(r"Audit #\d+, run now by admin"))).to_be_visible(timeout=20_000)
    expect(card(opened).locator(".d-way").first.get_by_text("Finished")).to_be_visible(timeout=30_000)


def test_who_may_only_read_sees_it_all_and_is_offered_nothing(browser: Browser, server: Server, opened: Page) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine", "user", "invite", "sid", "--role", "site_user", "--business", "Acme",
         "--site", "Berlin", "--data", str(server.log.parent)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reader = server.sign_in(done.stdout.split()[-1])
    with looking(browser, server, reader, opened.url.removeprefix(server.url)) as page:
        expect(page.get_by_text("needs the role of a site admin")).to_be_visible()
        expect(card(page).get_by_text("Next fires")).to_be_visible()
        expect(page.get_by_role("grid", name="Schedules").get_by_role("link")).to_have_count(1)
        for name in ("New schedule", "Edit", "Pause", "Run now", "Remove", "Stagger schedules"):
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


def test_a_phone_has_no_part_that_sticks_out(opened: Page) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    expect(card(opened)).to_be_visible()
    assert opened.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390


def test_it_is_removed_and_a_link_to_it_says_by_whom(opened: Page, server: Server) -> None:
    address = opened.url
    card(opened).get_by_role("button", name="Remove").click()
    dialog = opened.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("tried by a test")
    opened.keyboard.press("Tab")
    dialog.get_by_role("button", name=re.compile(r"^Remove Schedule #\d+")).click()
    expect(opened.get_by_text("is removed")).to_be_visible()
    expect(opened.get_by_text("Nothing recurs at this site yet.")).to_be_visible()
    opened.goto(address)
    expect(card(opened).get_by_text("admin removed it at")).to_be_visible(timeout=30_000)
    expect(card(opened).get_by_text("Version 3 by admin")).to_be_visible()
    opened.goto("about:blank")
    server.stop()
    with Store.open(server.log.parent / "store") as store:
        audit = store.read("select action, reason from audit where object_kind = 'schedule' order by audit_id")
    assert audit["action"].to_list() == ["create", "edit", "hold", "lift", "run_now", "remove"]
    assert audit["reason"].to_list() == [None, None, "moving racks", None, None, "tried by a test"]
