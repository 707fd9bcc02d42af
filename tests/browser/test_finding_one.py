"""One task among very many is found in a real browser by its target, its user and its age."""

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from engine.lifecycle import Kind, task_label
from engine.store import Store
from tests.bench.multiply import long_history
from tests.browser.conftest import Server, serve

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=[50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("many")
    with long_history(request.param, place / "store") as (_, tasks):
        assert tasks >= request.param
    return place


@pytest.fixture(scope="module")
def wanted(folder: Path) -> dict[str, Any]:
    """Pick an audit of long ago that somebody had on a target where he had others, too, but none within three hours.

    Three, because the hours that are asked for begin up to two before the task and end up to two after it, and the page
    asks some minutes after this does. Tasks of every kind and status count: the tab has more than audits.
    """
    with Store.open(folder / "store") as store:
        return store.read(
            """select site, kind, number, target, owner, date_sub('hour', queued_at, now()::timestamp) as hours
               from (select *, count(*) over (partition by business, target, owner order by queued_at
                                              range between interval 3 hours preceding and interval 3 hours following)
                                 as near,
                            count(*) filter (status = 'Processed') over (partition by business, target, owner) as ever
                     from task_done where superseded_by is null)
               where near = 1 and ever > 3 and kind = 'audit' and status = 'Processed'
                 and queued_at < now()::timestamp - interval 3 days
               order by hash(task_id) limit 1"""
        ).row(0, named=True)


@pytest.fixture(scope="module")
def server(folder: Path, wanted: dict[str, Any]) -> Iterator[Server]:
    server = serve(folder, folder / "server.log")
    yield server
    server.stop()


def test_one_is_found_by_target_user_and_age(browser: Browser, server: Server, wanted: dict[str, Any]) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(server.sign_in(server.first_link())))
    page = context.new_page()
    page.goto(f"{server.url}/tasks?{urllib.parse.urlencode({'site': wanted['site'], 'tab': 'completed'})}")
    bar = page.get_by_role("combobox", name="Filter")
    tab = page.get_by_role("group", name="Tabs").get_by_role("button", name=re.compile("^Completed "))
    expect(tab).to_be_visible(timeout=60_000)
    bar.click()
    bar.press_sequentially(f"target:{wanted['target']} user:{wanted['owner']}")
    bar.press("Enter")
    expect(tab).to_have_text(re.compile(r"^Completed (?!1$)\d{1,3}$"))  # the others that he had on it
    bar.press("End")
    bar.press_sequentially(f" age:{wanted['hours'] - 1}h..{wanted['hours'] + 2}h")
    bar.press("Enter")
    expect(tab).to_have_text("Completed 1")
    label = task_label(Kind(wanted["kind"]), wanted["number"])
    page.get_by_role("grid", name="Tasks").get_by_role("link", name=label, exact=True).click()
    card = page.locator(".st-key-topcard")
    expect(card).to_contain_text(label)
    expect(card).to_contain_text(wanted["target"])
    expect(card).to_contain_text(wanted["owner"])
    context.close()
