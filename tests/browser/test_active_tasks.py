"""The live grid under people's hands: what they chose stays chosen while the queue moves under it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Server, running

pytestmark = pytest.mark.browser


#: At any hour something waits, something leaves and something comes, some seconds apart.
FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }, { name = "bob", role = "site_user", sites = ["berlin"] }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "audit-1", role = "audit_service", slots = 3 },
  { name = "explorer-1", role = "explorer", slots = 1 },
]
targets = [
  { name = "srv", kind = "device", count = 20 },
  { name = "10.1.0.0/24 offices", kind = "segment", assets = 40 },
]
mix.audit = { per_hour = 600, collect = { median_s = 20, sigma = 0.3 }, process = { median_s = 3, sigma = 0.3 } }
mix.scan = { per_hour = 120, collect = { median_s = 40, sigma = 0.3 }, process = { median_s = 3, sigma = 0.3 } }
"""
WAITING = 30  #: tasks that wait from the start on


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("data"), FLEET) as server:
        yield server


@pytest.fixture(scope="module")
def cookie(server: Server) -> str:
    cookie = server.sign_in(server.first_link())
    for kind in ("audit", "scan"):
        server.cli("drill", "surge", "--business", "Acme", "--site", "Berlin", "--kind", kind, "--tasks", str(WAITING))
    return cookie


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    expect(page.get_by_role("grid", name="Active tasks").get_by_role("link").first).to_be_visible(timeout=90_000)
    yield page
    context.close()
    assert problems == []


def test_a_selected_task_is_cancelled_with_a_reason_while_the_grid_goes_on(page: Page) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    chosen = grid.get_by_role("row").nth(2).get_by_role("checkbox")
    label = chosen.get_attribute("aria-label") or ""
    page.get_by_label(label, exact=True).check()
    page.get_by_role("button", name="Cancel 1 task").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Data that was collected stays")).to_be_visible()
    page.wait_for_timeout(3_000)
    dialog.get_by_label("Reason").fill("tried by a test")
    dialog.get_by_role("button", name="Cancel 1 task").click()
    expect(page.get_by_text("1 of 1 task cancelled or asked to stop")).to_be_visible()
    expect(dialog).to_be_hidden()
    expect(grid.get_by_role("checkbox", checked=True)).to_have_count(0)


def order(page: Page) -> list[str]:
    """Tell which tasks are listed, from the top down."""
    return page.get_by_role("grid", name="Active tasks").get_by_role("link").all_inner_texts()


def test_the_same_task_stays_selected_while_others_arrive(page: Page) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    label = grid.get_by_role("row").nth(3).get_by_role("checkbox").get_attribute("aria-label") or ""
    assert re.fullmatch(r"Select .+ #\d+", label)

    page.get_by_label(label, exact=True).check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    place, before = page.get_by_label(label, exact=True).bounding_box(), order(page)  # some may have come until then
    arrivals = page.get_by_text(re.compile(r"^\d+ new$"))
    expect(arrivals).to_be_visible(timeout=60_000)
    page.wait_for_timeout(3_000)

    assert page.get_by_label(label, exact=True).bounding_box() == place
    checked = [box.get_attribute("aria-label") for box in grid.get_by_role("checkbox", checked=True).all()]
    assert checked == [label]
    assert order(page) == before

    page.get_by_role("button", name="Clear").click()
    expect(arrivals).to_be_hidden()
    expect(grid.get_by_role("checkbox", checked=True)).to_have_count(0)
    expect(grid.get_by_role("link").first).not_to_have_text(before[0])


def test_a_filter_and_a_chip_narrow_the_queue_and_the_address_keeps_both(page: Page) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    page.get_by_role("combobox", name="Filter").fill("type:audit -user:nobody")
    page.keyboard.press("Enter")
    expect(grid.get_by_role("link").filter(has_not_text="Audit")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Running")).click()
    expect(grid.get_by_text("Queued", exact=True)).to_have_count(0)
    expect(page).to_have_url(re.compile(r"q=type%3Aaudit.*status=Running"))
    page.reload()
    expect(page.get_by_role("button", name=re.compile("^Running"))).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("type:audit -user:nobody")


def test_a_fault_in_the_filter_is_told_and_the_queue_goes_on(page: Page) -> None:
    page.get_by_role("combobox", name="Filter").fill("type:audti")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("did you mean audit?")
    expect(page.get_by_role("grid", name="Active tasks").get_by_role("link").first).to_be_visible()
    page.get_by_role("link", name="Tasks", exact=True).click()
    expect(page.get_by_role("grid", name="Tasks")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


#: what the server says comes late, so that refreshes which the browser asks for meanwhile bring an old address
LATE = """
window.WebSocket = class extends WebSocket {
  addEventListener(kind, hear, ...rest) {
    super.addEventListener(kind, kind === 'message' ? told => setTimeout(() => hear(told), 1200) : hear, ...rest)
  }
}
"""


def test_over_a_slow_line_what_was_pressed_counts_and_stays(page: Page) -> None:
    page.add_init_script(LATE)
    page.reload()
    grid = page.get_by_role("grid", name="Active tasks")
    head, card = grid.get_by_role("columnheader"), page.locator(".st-key-card")
    for _ in range(3):
        grid.get_by_role("link").nth(1).click(timeout=60_000)
        expect(card).to_be_visible(timeout=15_000)
        page.wait_for_timeout(3_000)
        card.get_by_role("button", name="✕").click()
        expect(card).to_be_hidden(timeout=15_000)
        for n in (1, 3, 4):
            grid.get_by_role("row").nth(n).get_by_role("checkbox").click()
        head.filter(has_text="Scope").get_by_role("button").click()
        expect(head.filter(has_text="Scope")).to_have_attribute("aria-sort", "ascending", timeout=15_000)
        page.wait_for_timeout(4_000)  # runs that were under way come to their end
        expect(card).to_be_hidden()
        expect(page.get_by_text("3 selected")).to_be_visible()
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(page.get_by_text("3 selected")).to_be_hidden(timeout=15_000)
        head.filter(has_text="Start date").get_by_role("button").click()
        expect(head.filter(has_text="Start date")).to_have_attribute("aria-sort", "descending", timeout=15_000)


def test_what_is_picked_right_after_clearing_stays_picked(page: Page) -> None:
    page.add_init_script(LATE)
    page.reload()
    grid = page.get_by_role("grid", name="Active tasks")
    first, other = (grid.get_by_role("row").nth(n).get_by_role("checkbox") for n in (2, 4))
    first.click(timeout=60_000)
    expect(page.get_by_text("1 selected")).to_be_visible(timeout=15_000)
    then = page.get_by_label(other.get_attribute("aria-label") or "", exact=True)
    page.get_by_role("button", name="Clear", exact=True).click()
    then.click()
    page.wait_for_timeout(5_000)  # what the server says of the clearing has come, and been answered
    expect(page.get_by_text("1 selected")).to_be_visible()
    checked = grid.get_by_role("checkbox", checked=True)
    expect(checked.and_(then)).to_have_count(1)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(checked).to_have_count(0, timeout=15_000)


def test_what_is_picked_after_clearing_stays_picked_though_the_server_hears_of_both_at_once(
    page: Page, server: Server
) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    boxes, checked = grid.get_by_role("checkbox", name="Select "), grid.get_by_role("checkbox", checked=True)
    for _ in range(3):
        boxes.nth(2).click()
        expect(page.get_by_text("1 selected")).to_be_visible()
        picked = [boxes.nth(n).get_attribute("aria-label") or "" for n in (4, 6, 8)]
        with server.standing_still():
            grid.get_by_label(picked[0], exact=True).click()
            page.get_by_role("button", name="Clear", exact=True).click()
            for label in picked[1:]:
                grid.get_by_label(label, exact=True).click()
        expect(page.get_by_text("2 selected")).to_be_visible()
        page.wait_for_timeout(2_000)
        expect(page.get_by_text("2 selected")).to_be_visible()
        assert sorted(box.get_attribute("aria-label") or "" for box in checked.all()) == sorted(picked[1:])
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(checked).to_have_count(0)
        expect(page.locator(".st-key-bulk")).to_be_hidden()


def test_what_is_opened_after_closing_stays_open_though_the_server_hears_of_both_at_once(
    page: Page, server: Server
) -> None:
    grid, card = page.get_by_role("grid", name="Active tasks"), page.locator(".st-key-card")
    grid.get_by_role("checkbox", name="Select ").nth(3).click()  # from here on, rows keep their places
    expect(page.get_by_text("1 selected")).to_be_visible()
    for one, other in ((2, 4), (5, 1), (3, 6)):
        labels = [grid.get_by_role("link").nth(n).inner_text() for n in (one, other)]
        grid.get_by_role("link", name=labels[0], exact=True).click()
        expect(card).to_contain_text(labels[0])
        with server.standing_still():
            card.get_by_role("button", name="✕").click()
            grid.get_by_role("link", name=labels[1], exact=True).click()
        expect(card).to_contain_text(labels[1])
        page.wait_for_timeout(2_000)
        expect(card).to_contain_text(labels[1])
        expect(page.get_by_text("1 selected")).to_be_visible()
        with server.standing_still():
            grid.get_by_role("link", name=labels[0], exact=True).click()
            card.get_by_role("button", name="✕").click()
        expect(card).to_be_hidden()
        expect(page).not_to_have_url(re.compile("task="))


def test_the_sheet_keeps_its_heights(page: Page) -> None:
    heights = {
        name: round(page.locator(selector).first.bounding_box()["height"])
        for name, selector in {
            "row": ".row.body",
            "head": ".row.head",
            "input": ".bar .line",
            "chips": ".chips .one",
            "menu": "[data-testid=stPageLink-NavLink]",
        }.items()
    }
    assert heights == {"row": 29, "head": 27, "input": 30, "chips": 30, "menu": 25}


def test_a_link_to_a_task_opens_its_card_which_closes_without_touching_the_selection(
    page: Page, server: Server
) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    link = grid.get_by_role("link").nth(2)
    address, label = link.evaluate("link => [link.getAttribute('href'), link.innerText]")  # at once: rows move
    page.goto(f"{server.url}/{address}")
    card = page.locator(".st-key-card")
    expect(card.get_by_text(label, exact=True).or_(card.get_by_text("It has left the queue"))).to_be_visible()
    box = page.get_by_label(
        grid.get_by_role("row").nth(4).get_by_role("checkbox").get_attribute("aria-label") or "", exact=True
    )
    box.check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    card.get_by_role("button", name="✕").click()
    expect(card).to_be_hidden()
    expect(page).not_to_have_url(re.compile("task="))
    expect(box).to_be_checked()


def test_the_grid_is_worked_by_keyboard(page: Page) -> None:
    grid = page.get_by_role("grid", name="Active tasks")
    grid.get_by_role("row").nth(2).get_by_role("checkbox").focus()
    page.keyboard.press("Space")  # from here on, rows keep their places
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.get_by_text("2 selected")).to_be_visible()
    rows = grid.get_by_role("row").all()
    checked = [n for n, row in enumerate(rows) if n and row.get_by_role("checkbox").is_checked()]
    assert checked[1] == checked[0] + 1
    expect(rows[checked[1]].get_by_role("checkbox")).to_be_focused()


def test_a_phone_gets_rows_of_two_lines_and_nothing_sticks_out(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    row = page.locator(".row.body").first
    expect(row.locator(".lead")).to_be_visible()
    expect(row.locator(".two")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390
