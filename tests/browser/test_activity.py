"""Activity in a real browser: what one request did is joined, an edit shows before and after, the chain is checked and
a store that was tampered with is named; a business's admin sees his own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from engine.console import STORE
from engine.store import Store
from tests.browser.conftest import Server, running, serve

pytestmark = pytest.mark.browser

TASKS = 12

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
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "srv", kind = "device", count = 9 }]
mix.audit = { per_hour = 0, collect = { median_s = 3000, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }

[businesses.canary]
name = "Canary"
processors = [{ name = "canary-proc", slots = 2 }]
users = [{ name = "canary-hank", role = "business_admin" }]

[businesses.canary.sites.paris]
name = "Canary Paris"
zone = "Europe/Paris"
services = [{ name = "canary-audit", role = "audit_service", slots = 1 }]
targets = [{ name = "canary-box", kind = "device", count = 2 }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("activity")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder, settings=None) as server:
        yield server


@pytest.fixture(scope="module")
def admin(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(server.sign_in(server.first_link())))
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(admin: BrowserContext, server: Server) -> Page:
    page = admin.new_page()
    page.goto(f"{server.url}/tasks")
    expect(page.get_by_role("grid", name="Tasks")).to_be_visible(timeout=60_000)
    for business, site in (("Acme", "Berlin"), ("Canary", "Canary Paris")):
        server.cli("drill", "surge", "--business", business, "--site", site, "--tasks", str(TASKS))
        server.cli("bulk", "stop", "type:audit", "--business", business, "--reason", "Wrong targets", "--yes")
    page.goto(f"{server.url}/activity")
    expect(rows(page).first).to_be_visible(timeout=60_000)
    return page


def rows(page: Page) -> Locator:
    return page.get_by_role("grid", name="Activity").locator(".row.body")


def ask(page: Page, text: str) -> None:
    bar = page.get_by_role("combobox", name="Filter")
    bar.fill(text)
    bar.press("Enter")


def test_the_rows_of_one_bulk_stop_are_joined_by_their_request(page: Page) -> None:
    ask(page, "action:stop business:Acme")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_visible()
    rows(page).first.get_by_role("link").first.click()
    card = page.locator(".st-key-card")
    expect(card).to_contain_text("Stop: Audit #")
    expect(card).to_contain_text("Wrong targets")
    expect(card).to_contain_text(f"{TASKS:,} rows of this request")
    ask(page, "")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_hidden()
    page.get_by_role("button", name=f"Show all {TASKS} rows").click()
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_visible()
    assert "q=request" in page.url
    assert "entry=" in page.url
    page.get_by_role("button", name="✕").last.click()
    expect(card).to_be_hidden()


def test_an_edit_shows_before_and_after_side_by_side(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/services?site=Berlin&service=audit-1")
    page.get_by_role("button", name="Change slots…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Slots: tasks at a time").fill("3")
    dialog.get_by_label("Slots: tasks at a time").press("Tab")
    dialog.get_by_label("Reason").fill("<b>A bigger host</b>")
    dialog.get_by_label("Reason").press("Tab")
    dialog.get_by_role("button", name=re.compile("slots")).click()
    expect(dialog).to_be_hidden()
    page.goto(f"{server.url}/activity?about=services&q=action%3Aset")
    rows(page).first.get_by_role("link").first.click()
    card = page.locator(".st-key-card")
    expect(card).to_contain_text("Set: Service audit-1")
    expect(card).to_contain_text("<b>A bigger host</b>")
    expect(card).to_contain_text("1 fact stayed as before")
    facts = card.locator(".d-sides tr")
    expect(facts).to_have_count(2)
    expect(facts.nth(1)).to_have_text(re.compile(r"slots\s*1\s*3"))


def test_a_fault_in_the_filter_is_named_and_a_key_is_completed(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/activity")
    expect(rows(page).first).to_be_visible()
    ask(page, "actr:ann")
    expect(page.get_by_role("alert")).to_contain_text("There is no key “actr”; did you mean actor:?")
    ask(page, "")
    bar = page.get_by_role("combobox", name="Filter")
    bar.press_sequentially("outcome:sk")
    bar.press("Tab")
    expect(bar).to_have_value("outcome:skipped ")
    ask(page, "")


def test_what_the_filter_finds_can_be_taken_away(page: Page) -> None:
    ask(page, "action:stop business:Acme")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert download.value.suggested_filename == "activity.csv"
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == TASKS + 1
    assert "Wrong targets" in lines[1]


def test_a_link_of_some_refreshes_ago_still_gives_the_file_by_mouse_and_keyboard(page: Page) -> None:
    ask(page, "action:stop business:Acme")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_visible()
    link, clock = page.get_by_role("link", name="Export CSV").element_handle(), page.locator(".d-live")
    for _ in range(3):
        expect(clock).not_to_have_text(clock.inner_text())
    for press in (link.click, lambda: link.press("Enter"), link.click):
        expect(clock).not_to_have_text(clock.inner_text())
        with page.expect_download() as download:
            press()
        assert len(Path(download.value.path()).read_text("utf-8").splitlines()) == TASKS + 1


def test_the_address_of_a_file_can_be_kept_and_gives_it_to_whoever_may_see_it(page: Page, server: Server) -> None:
    ask(page, "action:stop business:Acme")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_visible()
    kept = page.get_by_role("link", name="Export CSV").get_attribute("href") or ""
    ask(page, "")
    expect(page.get_by_role("button", name=f"All {TASKS}", exact=True)).to_be_hidden()
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
    status, _, text = server.ask("GET", kept, Cookie=cookie)
    assert (status, len(text.splitlines())) == (200, TASKS + 1)
    assert server.ask("GET", kept)[0] == 401


def test_whoever_gets_no_file_reads_why_in_a_tab_of_its_own(browser: Browser, server: Server, page: Page) -> None:
    context = browser.new_context()
    context.add_cookies(server.cookies(server.invited("eve", "--role", "platform_admin")))
    kept = context.new_page()
    kept.goto(f"{server.url}/activity")
    link = kept.get_by_role("link", name="Export CSV")
    expect(link).to_be_visible(timeout=60_000)
    context.clear_cookies()
    with context.expect_page() as told:
        link.click()
    expect(told.value.get_by_role("button", name="Sign in")).to_be_visible()
    assert kept.url == f"{server.url}/activity"
    context.close()


def test_a_log_can_be_taken_away_too(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/logs?log=audit&site=Berlin")
    expect(page.get_by_role("button", name=f"Audit log {TASKS}")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert download.value.suggested_filename == "Audit log Berlin.csv"
    assert len(Path(download.value.path()).read_text("utf-8").splitlines()) == TASKS + 1
    page.goto(f"{server.url}/activity")


def test_a_business_admin_sees_his_own_business_and_checks_the_chain_without_batches(
    browser: Browser, server: Server, page: Page
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    try:
        context.add_cookies(server.cookies(server.invited("anna", "--role", "business_admin", "--business", "Acme")))
        hers = context.new_page()
        hers.goto(f"{server.url}/activity?q=-action%3Anothing")
        expect(rows(hers).first).to_be_visible(timeout=30_000)
        expect(hers.locator(".d-shown")).to_have_text("of Acme")
        assert "Canary" not in hers.content()
        hers.get_by_role("button", name="Check the chain").click()
        said = hers.locator(".d-verdict")
        expect(said).to_have_text("The chain is whole, all is as it was committed", timeout=30_000)
        ask(hers, "business:Canary")
        expect(hers.get_by_text("Nothing was done that matches.")).to_be_visible()
        expect(hers.get_by_role("button", name="All 0", exact=True)).to_be_visible()
    finally:
        context.close()


def test_the_chain_is_checked_on_demand_and_a_store_that_was_tampered_with_is_named(
    admin: BrowserContext, folder: Path, server: Server, page: Page
) -> None:
    page.goto(f"{server.url}/activity")
    page.get_by_role("button", name="Check the chain").click()
    said = page.locator(".d-verdict")
    expect(said).to_have_text(re.compile(r"^The chain is whole, batches 1 to [\d,]+ are as"), timeout=30_000)
    server.stop()
    with Store.open(folder / STORE) as store:
        where = "action = 'stop' and business = 'Acme'"
        batch = store.read(f"select min(batch) from audit where {where}").item()
        store.cursor().execute(f"update audit set actor = 'nobody' where {where} and batch = {batch}").fetchall()
    again = serve(folder, folder / "again.log")
    try:
        name, value = next((c["name"], c["value"]) for c in admin.cookies() if "127.0.0.1" in str(c["domain"]))
        admin.add_cookies(again.cookies(f"{name}={value}"))
        page.goto(again.url)
        expect(said).to_contain_text("Steady", timeout=60_000)
        page.goto(f"{again.url}/activity")
        expect(said).to_have_text("The chain was not checked since the console started", timeout=60_000)
        page.get_by_role("button", name="Check the chain").click()
        expect(said).to_contain_text(f"The chain is broken at batch {batch:,}", timeout=30_000)
        expect(rows(page).first).to_be_visible()
    finally:
        again.stop()
