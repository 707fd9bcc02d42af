"""Async tasks in a browser: a user paused with a reason for an hour, his new tasks Paused, all resumed, and the audit
rows that say so; Resume All lifts what its dialog listed while somebody else pauses."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.clock import HOUR, SECOND
from engine.store import Store
from tests.browser.conftest import Server, looking, running

pytestmark = pytest.mark.browser

HERE = "/async-tasks?site=Berlin"

#: One slot, which the first task keeps: what comes later waits.
FLEET = """
[kinds.audit]
failure = 0
hung = 0
errors = 0

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 1 }]
users = [{ name = "ann", role = "business_admin" }, { name = "bob", role = "site_user", sites = ["berlin"] }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "srv", kind = "device", count = 1 }]
mix.audit = { per_hour = 0, collect = { median_s = 9000, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }

[businesses.globex]
name = "Globex"
processors = [{ name = "proc-2", slots = 1 }]
users = [{ name = "hank", role = "business_admin" }]

[businesses.globex.sites.paris]
name = "Paris"
zone = "Europe/Paris"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 1 }]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("async"), FLEET, settings="seed_days = 0\nold_hold_s = 60\n") as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server, cookie: str) -> Iterator[Page]:
    with looking(browser, server, cookie, HERE) as page:
        yield page


def rows(page: Page) -> Locator:
    return page.get_by_role("grid", name="Async tasks").locator(".row.body")


def holds(page: Page) -> Locator:
    return page.get_by_role("grid", name="Holds", exact=True).locator(".row.body")


def submit(page: Page, server: Server, *targets: str) -> None:
    """Submit audits on Tasks, in the name of whoever is signed in."""
    page.goto(f"{server.url}/tasks?site=Berlin")
    page.get_by_role("button", name="New task").click(timeout=60_000)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="Audit").click()
    dialog.get_by_label(re.compile("^Targets: a device, by name")).fill("\n".join(targets))
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name=re.compile(f"^Submit {len(targets)} task")).click()
    expect(dialog).to_be_hidden()
    page.goto(f"{server.url}/async-tasks?site=Berlin")


def pause(page: Page, button: str, name: str, reason: str, ends: str = "1 h") -> None:
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox", name=f"Select {name}").check()
    expect(dialog.get_by_text("What this does")).to_be_visible()
    dialog.get_by_role("radio", name=ends).click()
    dialog.get_by_label(re.compile("^Reason")).fill(reason)
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name=re.compile("^Pause 1 ")).click()
    expect(dialog).to_be_hidden()


def test_an_empty_business_says_so_and_another_one_is_chosen(page: Page) -> None:
    expect(page.get_by_text("There are no tasks to show")).to_be_visible()
    box = page.get_by_label("Business", exact=True)
    box.click()
    box.fill("Globex")
    page.get_by_role("option", name="Globex", exact=True).first.click()
    expect(page).to_have_url(re.compile("business=Globex"))
    expect(page.locator(".d-shown")).to_contain_text("users of Globex")
    dialog = page.get_by_role("dialog")
    for button, said in (
        ("Pause User", "Globex has no users yet"), ("Resume All", "Nothing to resume: no hold of Globex"),
    ):  # fmt: skip
        page.get_by_role("button", name=button).click()
        expect(dialog.get_by_text(said)).to_be_visible()
        expect(dialog.get_by_label("Release gradually")).to_have_count(0)
        dialog.get_by_role("button", name="Dismiss").click()
        expect(dialog).to_be_hidden()


def test_a_user_is_paused_for_an_hour_with_a_reason_and_his_new_tasks_arrive_paused(
    page: Page, server: Server
) -> None:
    submit(page, server, "srv-1")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Pause User").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Search users").fill("ADM")
    expect(dialog.get_by_role("checkbox", name="Select bob")).to_have_count(0)
    dialog.get_by_role("checkbox", name="Select admin").check()
    expect(dialog.locator(".tb")).to_contain_text(re.compile(r"Running tasks, go on\s*1"))
    dialog.get_by_role("button", name="Pause 1 user, hold 0 tasks").click()
    expect(dialog.get_by_text("Say why")).to_be_visible()
    dialog.get_by_label(re.compile("^Reason")).fill("audits run <b>twice</b>")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name="Pause 1 user, hold 0 tasks").click()
    expect(page.get_by_text(re.compile("1 user paused until"))).to_be_visible()
    expect(holds(page)).to_have_count(1)
    expect(holds(page)).to_contain_text("audits run <b>twice</b>")
    submit(page, server, "srv-2")
    expect(rows(page)).to_have_count(2)
    paused = rows(page).filter(has_text="Paused")
    expect(paused).to_have_count(1)
    expect(paused).to_contain_text(re.compile("user admin until .*, by admin: “audits run <b>twice</b>”"))


def test_the_list_is_searched_and_sorted_and_running_tasks_say_why_they_stay(page: Page) -> None:
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="User", exact=True).click()
    expect(page).to_have_url(re.compile("sort=owner"))
    expect(page.get_by_role("columnheader", name="User ↑")).to_be_visible()
    page.get_by_role("button", name="User ↑").click()
    expect(page).to_have_url(re.compile("sort=-owner"))
    going = rows(page).filter(has_text="Active")
    expect(going.get_by_role("button", name="Delete")).to_be_disabled()
    expect(going.get_by_role("button", name="Delete")).to_have_attribute("title", "stop it first")
    page.get_by_label("Search", exact=True).fill("scan")
    expect(page.get_by_text("No task of such a user or type.")).to_be_visible()
    page.get_by_label("Search", exact=True).fill("audi")
    expect(rows(page)).to_have_count(2)


def test_resume_all_lifts_what_its_dialog_listed_while_somebody_else_pauses(
    page: Page, browser: Browser, server: Server, cookie: str
) -> None:
    expect(holds(page)).to_have_count(1)
    page.get_by_role("button", name="Resume All").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Lift 1 hold, release 1 task")).to_be_enabled()
    with looking(browser, server, cookie, HERE) as other:
        pause(other, "Pause Task Type", "Audit", "meanwhile", "No expiry")
        expect(holds(other)).to_have_count(2)
    dialog.get_by_label("Reason").fill("fixed")
    page.keyboard.press("Tab")
    dialog.get_by_role("button", name=re.compile("^Lift 1 hold, release")).click()
    expect(page.get_by_text("1 hold lifted")).to_be_visible()
    expect(holds(page)).to_have_count(1)
    expect(holds(page)).to_contain_text("meanwhile")
    expect(rows(page).filter(has_text="type Audit without expiry, by admin: “meanwhile”")).to_have_count(1)


def test_a_hold_older_than_the_setting_allows_is_warned_of(page: Page) -> None:
    expect(page.get_by_text(re.compile("Held for longer than 1 min: type Audit for"))).to_be_visible(timeout=90_000)


def test_a_phone_has_no_part_that_sticks_out(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(rows(page)).to_have_count(2)
    assert page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth") <= 390
    expect(holds(page).first.get_by_text("keeps 1", exact=True)).to_be_visible()
    expect(holds(page).first.get_by_role("button", name="Lift")).to_be_visible()


def test_on_a_phone_what_is_paused_already_reads_so_in_whole(page: Page, server: Server) -> None:
    held = ("--type", "outlier", "--business", "Acme", "--reason")
    server.cli("hold", "place", *held, "to be read")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Pause Task Type").click()
    dialog = page.get_by_role("dialog")
    row = dialog.locator(".row.body").filter(has_text="Outlier calculation")
    for said in (row.get_by_text("Outlier calculation"), row.get_by_text("paused already"),
                 dialog.get_by_text(re.compile("^Also suspend"))):  # fmt: skip
        expect(said).to_be_visible()
        assert said.evaluate("text => text.scrollWidth <= text.clientWidth")
    server.cli("hold", "lift", *held, "read")


def test_one_hold_is_lifted_and_the_audit_rows_tell_it_all(page: Page, server: Server) -> None:
    holds(page).get_by_role("button", name="Lift").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Lift 1 hold, release 1 task").click()
    expect(page.get_by_text("1 hold lifted")).to_be_visible()
    expect(holds(page)).to_have_count(0)
    expect(rows(page).filter(has_text="Paused")).to_have_count(0)
    page.goto("about:blank")
    server.stop()
    with Store.open(server.log.parent / "store") as store:
        audit = store.read(
            """select action, object_kind, object_id, actor, reason, after::varchar as after,
                      epoch_us(occurred_at) as at
               from audit where action in ('hold', 'lift') and object_id <> 'outlier' order by audit_id"""
        ).to_dicts()  # fmt: skip
    assert [(row["action"], row["object_kind"], row["object_id"], row["reason"]) for row in audit] == [
        ("hold", "user", "admin", "audits run <b>twice</b>"), ("hold", "kind", "audit", "meanwhile"),
        ("lift", "user", "admin", "fixed"), ("lift", "kind", "audit", None),
    ]  # fmt: skip
    assert {row["actor"] for row in audit} == {"admin"}
    until = json.loads(audit[0]["after"])["until_at"]
    assert abs(until - audit[0]["at"] - HOUR) < 120 * SECOND
    assert time.time() * SECOND < until
