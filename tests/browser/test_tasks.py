"""Tasks in a real browser: found by a filter, stopped by thousands, shown to a colleague by a link, taken back; and
only read by a site user."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.store import Store
from tests.browser.conftest import Server, running

pytestmark = pytest.mark.browser

MANY = 5_000

#: Audits that outlast the test, on few hosts: nearly all that a surge brings wait.
FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "audit-1", role = "audit_service", slots = 3 }, { name = "explorer-1", role = "explorer", slots = 1 },
]
targets = [{ name = "srv", kind = "device", count = 9 }]
mix.audit = { per_hour = 0, collect = { median_s = 3000, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
mix.scan = { per_hour = 1200, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 2 }]
mix.audit = { per_hour = 60, collect = { median_s = 1, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("tasks"), FLEET) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin",
        permissions=["clipboard-read", "clipboard-write"],
    )  # fmt: skip
    context.add_cookies(server.cookies(server.sign_in(server.first_link())))
    page = context.new_page()
    page.goto(server.url)
    page.get_by_role("link", name="Tasks", exact=True).click()
    expect(page.get_by_role("grid", name="Tasks")).to_be_visible(timeout=60_000)
    page.get_by_role("combobox", name="Site").or_(page.get_by_label("Site")).first.wait_for()
    server.cli("drill", "surge", "--business", "Acme", "--site", "Berlin", "--tasks", str(MANY))
    yield page
    context.close()


def tab(page: Page, name: str, count: str = r"[\d,]+") -> None:
    page.get_by_role("group", name="Tabs").get_by_role("button", name=re.compile(f"^{name} {count}$")).click()


def ask(page: Page, text: str) -> None:
    bar = page.get_by_role("combobox", name="Filter")
    bar.fill(text)
    bar.press("Enter")


def test_a_filter_is_completed_while_it_is_typed_and_counts_every_tab(page: Page) -> None:
    tab(page, "Active", f"{MANY:,}|5,0\\d\\d")
    bar = page.get_by_role("combobox", name="Filter")
    bar.click()
    bar.press_sequentially("typ")
    bar.press("ArrowDown")
    expect(bar).to_have_attribute("aria-activedescendant", "completion-0")
    expect(page.get_by_role("option", selected=True)).to_contain_text("type:")
    page.get_by_role("option", name=re.compile("^type:")).click()
    bar.press_sequentially("sc")
    bar.press("Tab")
    expect(bar).to_have_value("type:scan ")
    tab(page, "Completed", r"[1-9][\d,]*")
    expect(page.get_by_role("link", name=re.compile("^Scan #")).first).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("^Audit #"))).to_have_count(0)
    assert "q=type" in page.url


def test_a_fault_is_shown_where_it_is_and_the_last_filter_goes_on(page: Page) -> None:
    ask(page, "type:scan statsu:New")
    expect(page.get_by_role("alert")).to_contain_text("There is no key “statsu”; did you mean status:?")
    expect(page.get_by_role("alert").locator("mark")).to_have_text("statsu")
    expect(page.get_by_role("link", name=re.compile("^Scan #")).first).to_be_visible()
    ask(page, "type:scan")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_link_shows_a_colleague_what_its_sender_saw(page: Page, browser: Browser, server: Server) -> None:
    ask(page, "type:scan finished:-24h")
    page.get_by_role("button", name="Finished ↓").click()
    page.get_by_role("button", name="Finished ↑").wait_for()  # so rows keep their place while others come
    link = page.get_by_role("link", name=re.compile("^Scan #")).first
    number = link.inner_text()
    link.click()
    expect(page.locator(".st-key-topcard")).to_contain_text(number)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    made = json.loads(server.cli("user", "invite", "bea", "--role", "business_admin", "--business", "Acme"))
    path = re.search(r"/auth/link/\S+?(?=[\"\s]|$)", json.dumps(made))
    assert path is not None
    other = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    other.add_cookies(server.cookies(server.sign_in(path[0])))
    colleague = other.new_page()
    colleague.goto(copied)
    expect(colleague.locator(".st-key-topcard")).to_contain_text(number, timeout=60_000)
    expect(colleague.get_by_role("combobox", name="Filter")).to_have_value("type:scan finished:-24h")
    expect(colleague.get_by_role("button", name=re.compile("^Completed ")).first).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(colleague.get_by_role("link", name=number, exact=True)).to_be_visible()
    other.close()
    page.locator(".st-key-topcard").get_by_role("button", name="✕").click()


def test_all_that_match_are_stopped_in_one_go_after_a_preview(page: Page) -> None:
    tab(page, "Active")
    ask(page, "type:audit")
    expect(page.get_by_role("button", name=re.compile(f"^Active {MANY:,}$"))).to_be_visible(timeout=20_000)
    expect(page.get_by_role("link", name=re.compile("^Audit #")).first).to_be_visible()
    page.get_by_role("grid", name="Tasks").get_by_role("checkbox").nth(1).click()
    page.get_by_role("button", name=f"Select all {MANY:,}").click()
    expect(page.locator(".st-key-acts")).to_contain_text(f"All {MANY:,} that match are selected")
    page.get_by_role("button", name="Stop", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{MANY:,}, as they were when this opened")
    expect(dialog).to_contain_text("Running3")
    dialog.get_by_role("textbox", name="Reason").fill("a wrong import")
    dialog.get_by_role("button", name=f"Stop: {MANY:,} tasks").click()
    expect(dialog).to_contain_text(f"{MANY:,} tasks stopped or asked to stop.", timeout=30_000)
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("button", name="Active 0")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name=re.compile(f"^Failed {MANY:,}$"))).to_be_visible(timeout=30_000)


def test_the_way_back_takes_one_step_for_each_press_and_a_new_tab_begins_with_nothing_selected(page: Page) -> None:
    tab(page, "Failed", f"{MANY:,}")
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".st-key-pager")).to_contain_text("51–100 of")
    page.get_by_role("grid", name="Tasks").get_by_role("checkbox").nth(1).click()
    expect(page.locator(".st-key-acts")).to_contain_text("1 selected")
    tab(page, "Scheduled", "0")
    expect(page.locator(".st-key-acts")).to_contain_text("Select tasks to act on them.")
    expect(page).to_have_url(re.compile("tab=scheduled"))
    assert "after=" not in page.url
    for _ in range(3):  # until the server has heard of the new address
        expect(page.locator(".d-live")).not_to_have_text(page.locator(".d-live").inner_text())
    page.go_back()
    expect(page.locator(".st-key-pager")).to_contain_text("51–100 of")
    page.wait_for_timeout(4_000)  # and what it had asked for is held no more
    expect(page.get_by_role("button", name=re.compile("^Failed "))).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator(".st-key-pager")).to_contain_text("1–50 of")


def test_all_that_match_are_those_of_one_site_and_tab_and_only_while_all_that_was_ticked_is(
    page: Page, server: Server
) -> None:
    page.goto(f"{server.url}/tasks?site=Berlin&tab=failed")
    bar, grid = page.locator(".st-key-acts"), page.get_by_role("grid", name="Tasks")
    boxes = grid.get_by_role("checkbox", name="Select ")
    nothing = bar.get_by_text("Select tasks to act on them.")
    for n in (2, 4):
        boxes.nth(n).click()
    expect(bar).to_contain_text(re.compile(r"^2 selected of [45],\d{3}"))
    bar.get_by_role("button", name="Select all").click()
    expect(bar).to_contain_text(re.compile(r"^All [45],\d{3} that match are selected"))
    boxes.nth(4).click()
    expect(bar).to_contain_text("1 selected of")
    bar.get_by_role("button", name="Select all").click()
    expect(bar).to_contain_text("that match are selected")
    site = page.get_by_role("combobox", name="Site")
    for other in ("Oslo", "Berlin"):
        site.click()
        page.get_by_role("option", name=other, exact=True).click()
        expect(page.locator(".d-shown")).to_have_text(other)
        expect(nothing).to_be_visible()
    expect(grid.get_by_role("checkbox", checked=True)).to_have_count(0)
    boxes.nth(2).click()
    expect(bar).to_contain_text("1 selected of")


def test_what_is_ticked_just_before_another_tab_is_turned_to_is_not_selected_there(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/tasks?site=Berlin&tab=failed")
    boxes = page.get_by_role("grid", name="Tasks").get_by_role("checkbox", name="Select ")
    bar = page.locator(".st-key-acts")
    boxes.nth(2).click()
    expect(bar).to_contain_text("1 selected of")
    with server.standing_still():
        bar.get_by_role("button", name="Clear").click()
        boxes.nth(4).click()
        tab(page, "Completed")
        boxes.nth(6).click()
    expect(page.get_by_role("link", name=re.compile("^Scan #")).first).to_be_visible()
    expect(bar.get_by_text("Select tasks to act on them.")).to_be_visible()
    boxes.nth(1).click()
    expect(bar).to_contain_text("1 selected of")
    expect(boxes.and_(page.get_by_role("checkbox", checked=True))).to_have_count(1)


def there_and_back(page: Page) -> None:
    """Look at what has no grid of tasks, and at the tab Failed again."""
    tab(page, "Recurring", "0")
    expect(page.get_by_text("Nothing recurs at this site yet.")).to_be_visible()
    tab(page, "Failed")
    expect(page.get_by_role("grid", name="Tasks").get_by_role("link").first).to_be_visible()


def test_what_is_open_goes_along_to_another_tab_and_what_was_closed_does_not_come_back(
    page: Page, server: Server
) -> None:
    page.goto(f"{server.url}/tasks?site=Berlin&tab=failed")
    grid, card = page.get_by_role("grid", name="Tasks"), page.locator(".st-key-topcard")
    label = grid.get_by_role("link").nth(3).inner_text()
    link = grid.get_by_role("link", name=label, exact=True)
    link.click()
    expect(card).to_contain_text(label)
    there_and_back(page)
    expect(card).to_contain_text(label)
    link.click()
    expect(card).to_be_hidden()
    there_and_back(page)
    expect(link).to_be_visible()
    page.wait_for_timeout(2_000)
    expect(card).to_be_hidden()
    link.click()
    expect(card).to_contain_text(label)
    with server.standing_still():
        card.get_by_role("button", name="✕").click()
        tab(page, "Completed")
    expect(page.get_by_role("link", name=re.compile("^Scan #")).first).to_be_visible()
    expect(card).to_be_hidden()
    page.wait_for_timeout(2_000)
    expect(card).to_be_hidden()
    expect(page).not_to_have_url(re.compile("task="))


def test_a_view_is_kept_shared_and_reached_by_its_link(page: Page) -> None:
    tab(page, "Failed")
    ask(page, "type:audit -user:bea")
    page.get_by_role("button", name="Views").click()
    name = page.get_by_role("textbox", name="Keep what is shown as")
    name.fill("Stopped audits")
    name.press("Tab")
    page.get_by_text("Share with everybody at Acme").click()
    page.get_by_role("button", name="Keep view").click()
    expect(page.get_by_role("button", name="Stopped audits")).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Stopped audits").click()
    page.wait_for_url(re.compile(r"view=\w+"))
    link = re.search(r"view=\w+", page.url)
    assert link is not None
    other = page.context.new_page()
    other.goto(f"{page.url.partition('?')[0]}?{link[0]}")
    expect(other.get_by_role("combobox", name="Filter")).to_have_value("type:audit -user:bea", timeout=60_000)
    expect(other.get_by_role("button", name=re.compile("^Failed "))).to_have_attribute("aria-pressed", "true")
    other.close()
    page.keyboard.press("Escape")


def test_new_tasks_are_checked_line_by_line_and_come_when_they_are_to(page: Page) -> None:
    page.goto(page.url.partition("?")[0])
    page.get_by_role("button", name="New task").click()
    dialog = page.get_by_role("dialog")
    targets = dialog.get_by_role("textbox", name=re.compile("^Targets"))
    targets.fill("10.0.0.7/24\nsrv-1, srv-1")
    targets.press("Tab")
    expect(dialog).to_contain_text("Line 1, “10.0.0.7/24”: it is an address within a network; the network is 10.0.0.0/")
    expect(dialog).to_contain_text("Written more than once, taken once: srv-1.")
    expect(dialog.get_by_role("button", name=re.compile("^Submit"))).to_be_disabled()
    targets.fill("10.0.0.0/24 lab\nsrv-1")
    targets.press("Tab")
    dialog.get_by_text("Later", exact=True).click()
    expect(dialog).to_contain_text("At, Europe/Berlin")
    dialog.get_by_role("button", name="Submit 2 tasks").click()
    tab(page, "Scheduled", "2")
    expect(page.get_by_role("grid", name="Tasks")).to_contain_text("Discovery scan of 10.0.0.0/24 lab")
    expect(page.get_by_role("grid", name="Tasks")).to_contain_text("Discovery scan of srv-1")


def test_what_was_deleted_is_hidden_counted_and_can_be_taken_back(page: Page) -> None:
    tab(page, "Failed")
    expect(page.get_by_role("link", name=re.compile("^Audit #")).first).to_be_visible()
    page.get_by_role("grid", name="Tasks").get_by_role("checkbox").nth(1).click()
    page.get_by_role("grid", name="Tasks").get_by_role("checkbox").nth(2).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete: 2 tasks").click()
    expect(dialog).to_contain_text("2 tasks deleted or hidden.")
    expect(page.get_by_role("button", name="2 hidden")).to_be_visible()
    dialog.get_by_role("button", name="Undo").click()
    expect(dialog).to_contain_text("2 tasks taken back.")
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("button", name=re.compile(f"^Failed {MANY:,}$"))).to_be_visible(timeout=20_000)


def test_a_log_is_taken_along_as_a_file_with_all_that_the_filter_finds(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/logs?log=audit&q=outcome:stopped")
    expect(page.get_by_role("group", name="Log").get_by_role("button", name=f"Audit log {MANY:,}")).to_be_visible(
        timeout=20_000
    )
    with page.expect_download() as started:
        page.get_by_role("link", name="Export CSV").click()
    rows = list(csv.DictReader(started.value.path().read_text("utf-8").splitlines()))
    assert len(rows) == MANY
    assert {(row["kind"], row["status"], row["reason"]) for row in rows} == {("audit", "Stopped", "by_user")}
    page.goto(f"{server.url}/tasks")


def test_a_site_user_reads_and_acts_on_nothing(page: Page, browser: Browser, server: Server) -> None:
    made = server.cli("user", "invite", "uma", "--role", "site_user", "--business", "Acme", "--site", "Berlin")
    path = re.search(r"/auth/link/[\w-]+", made)
    assert path is not None
    other = browser.new_context(viewport={"width": 390, "height": 844})
    other.add_cookies(server.cookies(server.sign_in(path[0])))
    phone = other.new_page()
    phone.goto(f"{server.url}/tasks?tab=failed")
    expect(phone.get_by_text("You read this page")).to_be_visible(timeout=60_000)
    expect(phone.get_by_role("link", name=re.compile("^Audit #")).first).to_be_visible()
    assert phone.get_by_role("button", name="Delete").count() == 0
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    other.close()


def test_the_stop_is_one_request_of_one_commit_with_its_reason(page: Page, server: Server) -> None:
    page.goto("about:blank")
    server.stop()
    with Store.open(Path(server.log.parent) / "store") as store:
        rows = store.read(
            """select count(*) as n, count(distinct request_id) as requests, count(distinct batch) as batches,
                      any_value(reason) as reason, any_value(actor) as actor from audit where action = 'stop'"""
        ).row(0)
    assert rows == (MANY, 1, 1, "a wrong import", "admin")
