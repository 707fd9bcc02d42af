"""Services in a real browser: a host drained, brought back and given slots, another one added; a site user reads."""

import json
import re
import urllib.parse
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.store import Store
from tests.browser.conftest import Server, running

pytestmark = pytest.mark.browser

#: Audits that outlast the test, so that a host has something to run.
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
  { name = "audit-1", role = "audit_service", slots = 2 }, { name = "audit-2", role = "audit_service", slots = 3 },
  { name = "explorer-1", role = "explorer", slots = 2 },
]
targets = [{ name = "srv", kind = "device", count = 9 }]
mix.audit = { per_hour = 0, collect = { median_s = 3000, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
"""
WIDE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("services"), FLEET) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(server.sign_in(server.first_link())))
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    page.get_by_text("in flight at Berlin").wait_for(timeout=60_000)
    server.cli("drill", "surge", "--business", "Acme", "--site", "Berlin", "--tasks", "3")  # something to stop
    page.get_by_role("button", name=re.compile("^Running [1-9]")).wait_for(timeout=60_000)
    page.get_by_role("link", name="Services").click()
    expect(page.get_by_role("grid", name="Services")).to_be_visible(timeout=30_000)
    yield page
    context.close()
    assert problems == []


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def card(page: Page) -> Locator:
    return page.locator(".st-key-card")


def told(page: Page) -> Locator:
    return page.locator(".d-verdict")


def test_every_host_is_listed_under_its_role_with_its_slots_and_its_last_sign_of_life(page: Page) -> None:
    expect(page.locator(".d-shown")).to_have_text(re.compile(r"^3 of 3 hosts online at Berlin, \d of 7 slots used$"))
    expect(told(page)).to_have_text("Steady: every host is online")
    for heading in ("Explorers", "Audit hosts", "Processors"):
        expect(page.get_by_role("grid").get_by_text(heading)).to_be_visible()
    expect(row(page, "audit-2")).to_contain_text(re.compile(r"Online.*of 3.*\d s ago"))


def test_a_hosts_tasks_lead_to_active_tasks(page: Page) -> None:
    link = page.get_by_role("grid").get_by_role("link", name=re.compile(r"^Audit #")).first
    address = urllib.parse.parse_qs(urllib.parse.urlsplit(link.get_attribute("href") or "").query)
    assert address["site"] == ["Berlin"]
    number = link.inner_text()
    other = page.context.new_page()
    other.goto(urllib.parse.urljoin(page.url, link.get_attribute("href") or ""))
    expect(card(other)).to_contain_text(number, timeout=60_000)
    expect(card(other)).to_contain_text("Running")
    other.close()


def test_a_host_is_drained_after_its_consequence_was_read(page: Page) -> None:
    row(page, "audit-1").get_by_role("link", name="audit-1").click()
    expect(card(page)).to_contain_text("audit host at Berlin")
    expect(page).to_have_url(re.compile(r"[?&]service=audit-1"))
    card(page).get_by_role("button", name="Drain").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile(r"takes nothing new, until somebody brings it back"))).to_be_visible()
    expect(dialog.get_by_text(re.compile(r"1 other audit host goes on at Berlin"))).to_be_visible()
    dialog.get_by_label("Reason").fill("being moved")
    dialog.get_by_role("button", name="Drain: audit-1").click()
    expect(page.get_by_text("audit-1: Draining")).to_be_visible(timeout=20_000)
    expect(row(page, "audit-1")).to_contain_text("Draining", timeout=20_000)
    expect(told(page)).to_have_text(re.compile("^audit-1 is draining since .+:"))
    expect(card(page)).to_contain_text("By admin: “being moved”.")


def test_it_is_taken_offline_and_what_it_ran_is_taken_over_by_others(page: Page) -> None:
    card(page).get_by_role("button", name="Take offline").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("counts as no failed attempt|nothing that would have to"))).to_be_visible()
    dialog.get_by_role("button", name="Take offline: audit-1").click()
    expect(row(page, "audit-1")).to_contain_text(re.compile("Offline.*0 of 2"), timeout=20_000)
    expect(page.locator(".d-shown")).to_contain_text("2 of 3 hosts online")
    expect(page.get_by_test_id("stSidebar").get_by_role("link", name="Services")).to_contain_text(
        "1 offline", timeout=30_000
    )


def test_the_verdict_brings_it_back(page: Page) -> None:
    page.get_by_role("button", name="Bring audit-1 back").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("It takes work at once.")).to_be_visible()
    dialog.get_by_role("button", name="Bring back: audit-1").click()
    expect(row(page, "audit-1")).to_contain_text("Online", timeout=20_000)
    expect(told(page)).to_have_text("Steady: every host is online")


def test_its_slots_are_changed_and_a_number_that_makes_no_sense_is_refused(page: Page) -> None:
    card(page).get_by_role("button", name="Change slots").click()
    dialog = page.get_by_role("dialog")
    slots = dialog.get_by_label("Slots: tasks at a time")
    expect(dialog.get_by_role("button", name="Change slots to 2")).to_be_disabled()
    slots.fill("0")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Change slots to 0").click()
    expect(dialog.get_by_text("audit-1 can't have 0 slots")).to_be_visible()
    slots.fill("5")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Change slots to 5").click()
    expect(page.get_by_text("audit-1: 5 slots from now on")).to_be_visible(timeout=20_000)
    expect(row(page, "audit-1")).to_contain_text("of 5", timeout=20_000)
    expect(card(page)).to_contain_text("5 slots")


def test_a_host_is_added_under_the_role_that_was_chosen(page: Page) -> None:
    page.get_by_role("button", name="Add a host").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name="Role").click()
    page.get_by_role("option", name="Hosted zone").click()
    expect(dialog.get_by_text("Berlin has 0 hosted zones.")).to_be_visible()
    offered = dialog.get_by_role("button", name="Add hosted_zone-1")
    expect(offered).to_be_visible()  # the last that changes with the role: the name above is that of the new one
    dialog.get_by_label("Name", exact=True).fill("zone-1")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Add zone-1").click()
    expect(page.get_by_text("zone-1 is added to Berlin")).to_be_visible(timeout=20_000)
    expect(row(page, "zone-1")).to_contain_text("Online", timeout=20_000)
    expect(page.get_by_role("grid").get_by_text("Hosted zones")).to_be_visible()


def test_a_link_shows_the_card_that_its_sender_saw_and_a_name_that_is_none_is_told(page: Page, server: Server) -> None:
    other = page.context.new_page()
    other.goto(f"{server.url}/services?site=Berlin&service=audit-2")
    expect(card(other)).to_contain_text("audit-2", timeout=60_000)
    expect(card(other)).to_contain_text("What befell it")
    other.goto(f"{server.url}/services?site=Berlin&service=%3Cb%3Enone")
    expect(card(other)).to_contain_text("there never was such a host", timeout=60_000)
    other.close()


def test_a_site_user_reads_the_page_and_is_offered_nothing(browser: Browser, server: Server) -> None:
    said = server.cli("user", "invite", "sid", "--role", "site_user", "--business", "Acme", "--site", "Berlin")
    link = json.loads(said)["text"].split()[-1]
    context = browser.new_context(viewport=WIDE)
    context.add_cookies(server.cookies(server.sign_in(link)))
    page = context.new_page()
    page.goto(f"{server.url}/services?service=audit-1")
    expect(card(page)).to_contain_text("Changing a host needs the role of a site admin.", timeout=60_000)
    expect(page.get_by_text("You read this page; changing hosts needs the role of a site admin.")).to_be_visible()
    for name in ("Add a host", "Drain", "Take offline", "Bring back", re.compile("^Change slots")):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("grid").get_by_text("1 processor", exact=True)).to_be_visible()
    assert "proc-1" not in page.content()
    page.goto(f"{server.url}/services?service=proc-1")
    expect(card(page)).to_contain_text("there never was such a host", timeout=60_000)
    context.close()


def test_on_a_phone_every_host_has_its_two_lines_and_nothing_is_wider_than_the_screen(
    browser: Browser, server: Server, page: Page
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies(page.context.cookies())
    phone = context.new_page()
    phone.goto(f"{server.url}/services")
    expect(row(phone, "audit-1")).to_be_visible(timeout=60_000)
    expect(row(phone, "audit-1").get_by_text("Online", exact=True)).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_on_a_phone_the_menu_goes_away_once_a_page_is_chosen_and_each_page_names_its_site(
    browser: Browser, server: Server, page: Page
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies(page.context.cookies())
    phone = context.new_page()
    phone.goto(f"{server.url}/services")
    expect(row(phone, "audit-1")).to_be_visible(timeout=60_000)
    phone.get_by_test_id("stExpandSidebarButton").click()
    menu = phone.get_by_test_id("stSidebar")
    menu.get_by_role("link", name="Tasks", exact=True).click()
    expect(phone.get_by_role("heading", name="Tasks", exact=True)).to_be_visible(timeout=30_000)
    expect(menu.get_by_role("link", name="Services")).not_to_be_in_viewport()
    expect(phone.locator(".d-shown")).to_have_text("Berlin")
    expect(phone.locator(".d-shown")).to_be_in_viewport()

    # Tabs that have no room are reached all the same: the chosen one is brought into view.
    phone.goto(f"{server.url}/tasks?tab=recurring")
    expect(phone.get_by_role("button", name=re.compile("^Recurring"))).to_be_in_viewport(ratio=0.9, timeout=60_000)
    context.close()


def test_what_was_done_stands_in_the_ledger_and_in_the_audit_trail(page: Page, server: Server) -> None:
    page.goto("about:blank")
    server.stop()
    with Store.open(server.log.parent / "store") as store:
        events = store.read(
            "select event, reason, actor from service_event where service = 'audit-1' and actor = 'admin' "
            "order by event_id"
        ).rows()
        services = {row[0]: row[1:] for row in store.read("select service, role, slots, state from service").rows()}
        rescued = store.read("select count(*) from task_event where event = 'rescue' and attempt > 0").item()
        trail = store.read(
            "select object_id, after from audit where actor = 'admin' and object_kind = 'service' order by audit_id"
        ).rows()
    assert events == [
        ("draining", "being moved", "admin"), ("offline", None, "admin"), ("online", None, "admin"),
        ("slots", None, "admin"),
    ]  # fmt: skip
    assert services["audit-1"] == ("audit_service", 5, "online")
    assert services["zone-1"][0] == "hosted_zone"
    assert rescued == 0
    assert [(name, json.loads(after).get("state")) for name, after in trail] == [
        ("audit-1", "draining"), ("audit-1", "offline"), ("audit-1", "online"), ("audit-1", "online"), ("zone-1", None),
    ]  # fmt: skip
