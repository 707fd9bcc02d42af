"""What people do on Reports: start one, see it end, read and take along what it found; and what a site user can't."""

import csv
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from engine import verify
from engine.clock import DAY
from engine.console import STORE, Console
from engine.ledger import AssetSeen, Rows
from engine.store import Store
from tests.browser.conftest import ROOT, Server, running
from tests.browser.test_a_day_of_an_admin import watched

pytestmark = pytest.mark.browser

FLEET = """
[kinds.report]
failure = 0
process = { median_s = 4, sigma = 0.1 }

[kinds.outlier]
failure = 0
process = { median_s = 4, sigma = 0.1 }

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 3 }]
targets = [{ name = "srv", kind = "device", count = 5 }]
"""
ODD = "<b>odd</b> one"
NOW = time.time_ns() // 1000
ASSETS = [
    *[AssetSeen("Acme", "Berlin", f"10.0.0.{i}", f"host-{i:02}", "workstation", NOW - DAY, i % 4 > 0, None)
      for i in range(1, 61)],
    *[AssetSeen("Acme", "Berlin", f"Azure-{i:02}", f"Azure-{i:02}", "cloud host", NOW - 8 * DAY, True, None)
      for i in range(1, 16)],
    AssetSeen("Acme", "Berlin", "8.8.4.4", ODD, "router", NOW - 20 * DAY, False, None),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder whose one site has assets, and nothing that would change them."""
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    Console(tmp_path).start(wait=True).close()
    with Store.open(tmp_path / STORE) as store:
        store.commit(store.batch + 1, store.clock + 1, Rows(asset=ASSETS))
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with running(folder, settings=None) as server:
        yield server


def enter(browser: Browser, server: Server, cookie: str) -> tuple[BrowserContext, Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, timezone_id="Europe/Berlin")
    context.add_cookies(server.cookies(cookie))
    return context, context.new_page()


def row(page: Page, report: str) -> Locator:
    return page.locator(f".st-key-one-report-{report.replace(' ', '-').lower()}")


def make(page: Page, report: str) -> None:
    """Start a report and wait until its result is listed."""
    results = page.get_by_role("grid", name="Results").get_by_role("link", name=report)
    before = results.count()
    row(page, report).get_by_role("button", name="Start").click()
    going = row(page, report).filter(has=page.get_by_text(re.compile("Started|Queued|Running")))
    expect(going.get_by_role("button", name="Start", disabled=True)).to_be_visible(timeout=20_000)
    expect(results).to_have_count(before + 1, timeout=60_000)
    expect(row(page, report).get_by_role("button", name="Start")).to_be_enabled(timeout=20_000)


def figure(page: Page, label: str) -> Locator:
    return page.locator(".kpi", has=page.get_by_text(label, exact=True)).locator(".value")


def test_an_admin_starts_reports_and_reads_what_the_assets_say(
    browser: Browser, server: Server, folder: Path
) -> None:
    context, page = enter(browser, server, server.sign_in(server.first_link()))
    problems, outside = watched(page, server)
    page.goto(server.url)
    page.get_by_role("link", name="Reports").click()
    expect(page.get_by_text("No report is being made")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Nothing has been made here yet")).to_be_visible()

    # A report: its figures are those of the asset table, and its table goes out as CSV.
    make(page, "External assets report")
    expect(page.get_by_text("Last made: External assets report")).to_be_visible()
    page.get_by_role("grid", name="Results").get_by_role("link", name="External assets report").click()
    expect(page.get_by_text("External assets report of Berlin")).to_be_visible(timeout=20_000)
    for label, value in (("External assets", "16"), ("Public addresses", "1"), ("In a cloud", "15"), ("Online", "15")):
        expect(figure(page, label)).to_have_text(value)
    found = page.locator(".d-scroll").nth(1).get_by_role("row")
    expect(found).to_have_count(17)
    expect(found.nth(1)).to_contain_text(ODD)
    with page.expect_download() as waited:
        page.get_by_role("link", name="CSV: External assets", exact=True).click()
    taken = list(csv.reader(Path(waited.value.path()).read_text("utf-8").splitlines()))
    assert [line[0] for line in taken[:2]] == ["Asset", ODD]
    assert len(taken) == 17
    assert re.fullmatch(r"external-assets-report-external-assets-\d{4}-\d\d-\d\d\.csv", waited.value.suggested_filename)
    address = page.url
    page.get_by_role("button", name="All reports").click()
    expect(page.get_by_text("No report is being made")).to_be_visible(timeout=20_000)

    make(page, "Organization overview report")
    page.get_by_role("grid", name="Results").get_by_role("link", name="Organization overview report").click()
    expect(figure(page, "Assets")).to_have_text(str(len(ASSETS)), timeout=20_000)
    online = sum(one.online for one in ASSETS)
    expect(figure(page, "Online")).to_have_text(f"{online / len(ASSETS) * 100:.0f}%")
    expect(page.get_by_text(f"{online} of {len(ASSETS)}")).to_be_visible()
    expect(page.locator(".d-scroll").first.get_by_role("row").nth(1)).to_contain_text("workstation6079")
    page.get_by_role("button", name="All reports").click()

    # The outlier calculation writes the scores that the assets show.
    assets = page.get_by_role("grid", name="Assets").get_by_role("row")
    expect(assets.nth(1).get_by_role("gridcell").last).to_have_text("–", timeout=20_000)
    make(page, "Outlier calculation")
    expect(assets.nth(1).get_by_role("gridcell").last).to_have_text(re.compile(r"^\d\.\d$"), timeout=20_000)
    expect(assets.nth(1)).to_contain_text(ODD)
    page.get_by_label("Search assets").fill("azure-07")
    page.get_by_label("Search assets").press("Enter")
    expect(page.get_by_text("1 asset. Times are Europe/Berlin.")).to_be_visible(timeout=20_000)
    expect(assets.nth(1)).to_contain_text("Azure-07")

    # A link to a result, and the task's own card, lead to it.
    assert problems == []
    assert outside == []
    page.goto(address)
    expect(page.get_by_text("External assets report of Berlin")).to_be_visible(timeout=30_000)
    page.goto(f"{server.url}/?task={address.rpartition('report=')[2]}")
    page.get_by_role("link", name="Open the result").click(timeout=30_000)
    expect(page.get_by_text("External assets report of Berlin")).to_be_visible(timeout=30_000)
    context.close()

    server.stop()
    with Store.open(folder / STORE) as store:
        assert verify.check(store) == []
        made = store.read("select name, site, created_by from report_result order by made_at").rows()
        scored = dict(store.read("select name, outlier_score from asset").rows())
    assert made == [
        ("External assets report", "Berlin", "admin"), ("Organization overview report", None, "admin"),
        ("Outlier calculation", "Berlin", "admin"),
    ]  # fmt: skip
    assert max(scored, key=lambda name: scored[name]) == ODD
    assert None not in scored.values()


def test_a_site_user_reads_the_results_of_his_site_and_starts_nothing(
    browser: Browser, server: Server, folder: Path
) -> None:
    context, page = enter(browser, server, server.sign_in(server.first_link()))
    page.goto(f"{server.url}/reports")
    expect(page.get_by_text("No report is being made")).to_be_visible(timeout=60_000)
    for report in ("External assets report", "Site and organization comparison"):
        make(page, report)
    page.get_by_role("grid", name="Results").get_by_role("link", name="Site and organization comparison").click()
    expect(page.get_by_text("Site and organization comparison of all of Acme")).to_be_visible(timeout=20_000)
    whole = page.url
    context.close()
    said = subprocess.run(
        [sys.executable, "-m", "engine", "user", "invite", "sid", "--role", "site_user", "--business", "Acme",
         "--site", "Berlin", "--data", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    context, page = enter(browser, server, server.sign_in(said.stdout.split()[-1]))
    page.goto(f"{server.url}/reports")
    expect(page.get_by_text("starting a report needs the role of a site admin")).to_be_visible(timeout=60_000)
    starts = page.get_by_role("button", name="Start")
    expect(starts).to_have_count(4)
    for n in range(4):
        expect(starts.nth(n)).to_be_disabled()
    links = page.get_by_role("grid", name="Results").get_by_role("link")
    expect(links).to_have_text(["External assets report"], timeout=20_000)
    links.first.click()
    expect(page.get_by_text("External assets report of Berlin")).to_be_visible(timeout=20_000)
    page.goto(whole)
    expect(page.get_by_text("There is no such result here.")).to_be_visible(timeout=30_000)
    assert "Types by site" not in page.content()
    context.close()
