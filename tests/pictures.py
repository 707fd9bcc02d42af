"""Pictures of the real thing. `python -m tests.pictures` takes the README's anew, in some five minutes; with `--all
FOLDER` those of every page and dialog too, in both themes, on a desktop and a phone, as an admin and as a site user.

The demo fleet is seeded as a first start does, lives ten times as fast, and loses a host; the pictures are of the site
that feels it, and of one where nothing has happened yet. Then people pause, cap and close what they can, so that Async
tasks has something to show, and Users its people. Look at them whenever pages change their face; names of stages after
the folder take only those, and `--seeded DATA` takes the history of a data folder instead of building one.
"""

import argparse
import io
import json
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from engine.__main__ import main as engine
from pages.help import topics
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT, Server, serve

FOLDER = ROOT / ".pictures"
BUSINESS, SITE, HOST = "Northwind Logistics", "Newark terminal", "ewr-audit-1"
SETTINGS = "fleet_speed = 10.0\npile_up_s = 60\npile_up_tasks = 12\n"
ZONE = "America/New_York"
WIDTHS = (1280, 390)
TALLEST = 2_600  #: pixels of a picture
PATIENCE = 15_000  #: milliseconds
SEEDED_WITHIN = 600  #: seconds, on a machine that has other things to do

#: What is done to a business before its Async tasks are taken, at other sites than the one that Active tasks is of.
RESTRAINED = (
    "hold place --type audit --site 'Santos port' --for 6h --reason 'The crane vendor tests its agents'",
    "drill surge --kind audit --tasks 90 --site 'Santos port'",
    "hold lift --type audit --rate 3 --reason 'Tests are over; slowly, the port network is thin'",
    "hold place --user felix.brandt --for 3h --reason 'Ad-hoc audits all morning; asked to batch them'",
    "hold place --type connector --site 'Santos port' --reason 'API quota used up; the cloud team will say when'",
    "cap set tom.okafor --at-most 2 --reason 'Leave explorers to the others until Friday'",
    "cap set nw.scanbot --at-most 4 --reason 'Scripted; it can wait'",
    "blackout add Stocktaking --site 'Berlin hub' --cron '{soon}' --for 4h --reason 'Scanners are counted'",
)
#: Who is there on Users: name, roles, whether he has signed in.
PEOPLE: tuple[tuple[str, tuple[tuple[str, ...], ...], bool], ...] = (
    ("greta.vogel", (("business_admin", BUSINESS),), True),
    ("jonas.reuter", (("site_admin", BUSINESS, "Berlin hub"),), True),
    ("ida.lindqvist", (("site_admin", BUSINESS, "Berlin hub"), ("site_admin", BUSINESS, SITE)), True),
    ("dana.cole", (("site_user", BUSINESS, SITE),), False),
    ("joana.pires", (("site_user", BUSINESS, "Santos port"),), True),
    ("amelia.grant", (("business_admin", "Harbor Health"),), False),
)

#: A site at which nothing has ever happened.
EMPTY = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 3 }]
targets = [{ name = "srv", kind = "device", count = 9 }]
mix.audit = { per_hour = 0, collect = { median_s = 300, sigma = 0.1 }, process = { median_s = 1, sigma = 0.1 } }
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a picture is of: an address, and how to get from there to what is to be seen."""

    path: str
    steps: Callable[[Page], None] = lambda page: None
    whole: bool = False  #: the page as tall as it is, else what a window shows


def press(*names: str) -> Callable[[Page], None]:
    """Press one button after the other, the last one of each name: a card's, rather than the page's."""

    def steps(page: Page) -> None:
        for name in names:
            page.get_by_role("button", name=name, exact=True).last.click()
            page.wait_for_timeout(1_000)

    return steps


def follow(grid: str, *then: str, link: str | None = None) -> Callable[[Page], None]:
    """Open a row of a grid, and press buttons then."""

    def steps(page: Page) -> None:
        links = page.get_by_role("grid", name=grid).get_by_role("link")
        (links if link is None else links.filter(has_text=link)).first.click()
        page.wait_for_timeout(1_500)
        press(*then)(page)

    return steps


def choose(*then: str) -> Callable[[Page], None]:
    """Choose three tasks, and press buttons then."""

    def steps(page: Page) -> None:
        boxes = page.get_by_role("grid", name="Tasks").get_by_role("checkbox")
        for n in (1, 2, 3):
            boxes.nth(n).click()
        page.wait_for_timeout(1_500)
        press(*then)(page)

    return steps


def type_wrong(page: Page) -> None:
    bar = page.get_by_role("combobox", name="Filter")
    bar.fill("status:Nwe type:scan")
    bar.press("Enter")


def complete(page: Page) -> None:
    page.get_by_role("combobox", name="Filter").press_sequentially("status:")


def result(report: str) -> Callable[[Page], None]:
    """Open the newest result of a report; make one where there is none yet."""

    def steps(page: Page) -> None:
        made = page.get_by_role("grid", name="Results").get_by_role("link", name=report)
        page.get_by_role("button", name=re.compile("^Show all")).click()
        page.wait_for_timeout(1_500)
        if not made.count():
            page.locator("[class*=st-key-one-report-]", has_text=report).get_by_role("button", name="Start").click()
        made.first.click(timeout=60_000)

    return steps


def phone_menu(page: Page) -> None:
    if page.get_by_test_id("stExpandSidebarButton").is_visible():
        page.get_by_test_id("stExpandSidebarButton").click()


TABS = ("active", "processing", "scheduled", "failed", "completed", "recurring")
STAGES: dict[str, Stage] = {
    "active-tasks": Stage("/", follow("Active tasks")),
    "menu": Stage("/", phone_menu),
    **{f"tasks-{tab}": Stage(f"/tasks?tab={tab}", whole=True) for tab in TABS},
    "tasks-error": Stage("/tasks", type_wrong),
    "tasks-complete": Stage("/tasks", complete),
    "tasks-sql": Stage("/tasks", press("SQL")),
    "tasks-views": Stage("/tasks", press("Views")),
    "tasks-new": Stage("/tasks", press("New task")),
    "tasks-card": Stage("/tasks", follow("Tasks"), whole=True),
    "tasks-card-completed": Stage("/tasks?tab=completed", follow("Tasks"), whole=True),
    "tasks-selected": Stage("/tasks", choose()),
    **{f"tasks-{name.lower()}": Stage("/tasks", choose(name)) for name in ("Stop", "Priority", "Delete")},
    "schedules": Stage("/schedules", whole=True),
    "schedules-card": Stage("/schedules", follow("Schedules"), whole=True),
    "schedules-edit": Stage("/schedules", follow("Schedules", "Edit")),
    "schedules-pause": Stage("/schedules", follow("Schedules", "Pause")),
    "schedules-remove": Stage("/schedules", follow("Schedules", "Remove")),
    "schedules-new": Stage("/schedules", press("New schedule")),
    "schedules-stagger": Stage("/schedules", press("Stagger schedules")),
    "services": Stage("/services", whole=True),
    "services-card": Stage("/services", follow("Services", link=HOST), whole=True),
    "services-drain": Stage("/services", follow("Services", "Drain", link="ewr-explorer-1")),
    "services-offline": Stage("/services", follow("Services", "Take offline", link="ewr-explorer-1")),
    "services-slots": Stage("/services", follow("Services", "Change slots…", link="ewr-explorer-1")),
    "services-add": Stage("/services", press("Add a host")),
    "logs-scan": Stage("/logs", whole=True),
    "logs-audit": Stage("/logs?log=audit", follow("Audit log")),
    "reports": Stage("/reports", whole=True),
    "report-overview": Stage("/reports", result("Organization overview report"), whole=True),
    "report-comparison": Stage("/reports", result("Site and organization comparison"), whole=True),
    "report-external": Stage("/reports", result("External assets report"), whole=True),
    "report-outliers": Stage("/reports", result("Outlier calculation"), whole=True),
    "async-tasks": Stage("/async-tasks", whole=True),
    "async-pause": Stage("/async-tasks", press("Pause User")),
    "async-cap": Stage("/async-tasks", press("Cap User")),
    "async-resume": Stage("/async-tasks", press("Resume All")),
    "async-window": Stage("/async-tasks", press("New window")),
    "fairness": Stage("/async-tasks?part=fairness", whole=True),
    "fairness-card": Stage("/async-tasks?part=fairness", follow("Fairness"), whole=True),
    "users": Stage("/users", whole=True),
    "users-card": Stage("/users", follow("Users", link="jonas.reuter"), whole=True),
    "users-new": Stage("/users", press("New user")),
    "users-link": Stage("/users", follow("Users", "New link", "Make a link")),
    "users-change": Stage("/users", follow("Users", "Change…")),
    "settings": Stage("/settings", whole=True),
    "help": Stage("/help", whole=True),
    **{f"help-{name}": Stage(f"/help?topic={name}", whole=True) for name in topics.ORDER},
}
PAGES = {
    "active-tasks": "/", **{f"tasks-{tab}": f"/tasks?tab={tab}" for tab in TABS}, "schedules": "/schedules",
    "services": "/services", "logs": "/logs", "reports": "/reports",
    "fairness": "/async-tasks?part=fairness",
}  # fmt: skip


SHOWN = ("async-tasks", "fairness-card")  #: in the README besides


def main(arguments: list[str] | None = None) -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--all", dest="folder", type=Path, help="take every page and dialog, into this folder")
    asked.add_argument("stages", nargs="*", help="only these")
    asked.add_argument("--seeded", type=Path, metavar="DATA", help="a data folder whose history is taken")
    options = asked.parse_args(arguments)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with served(SETTINGS, seeded=options.seeded) as (server, cookie, data):
            tell(data, "drill", "host-lost", "--business", BUSINESS, "--service", HOST)
            if options.folder is None:
                readme(browser, server, cookie, data)
            else:
                restrain(data)
                people(server, data)
                every(browser, server, cookie, STAGES, options.folder, options.stages)
                reader = server.sign_in(invited(data))
                read = {f"reader-{name}": Stage(path) for name, path in PAGES.items()}
                every(browser, server, reader, read, options.folder, options.stages)
        if options.folder is not None:
            with served("seed_days = 0\n", EMPTY) as (server, cookie, _):
                empty = {f"empty-{name}": Stage(path) for name, path in PAGES.items()}
                every(browser, server, cookie, empty, options.folder, options.stages, site="Berlin")
        browser.close()


@contextmanager
def served(settings: str, fleet: str | None = None, seeded: Path | None = None) -> Iterator[tuple[Server, str, Path]]:
    """Serve a new data folder; yield the server, an admin's cookie and the folder."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place)
        if seeded is not None:
            shutil.copytree(seeded / "store", data / "store")
        (data / "settings.toml").write_text(settings)
        if fleet is not None:
            (data / "fleet.toml").write_text(fleet)
        server = serve(data, data / "server.log")
        try:
            yield server, server.sign_in(server.first_link(SEEDED_WITHIN)), data
        finally:
            server.stop()


def tell(data: Path, *words: str) -> dict[str, Any]:
    """Have a verb of the command line carried out; return its answer."""
    with redirect_stdout(io.StringIO()) as told:
        assert engine([*words, "--data", str(data), "--json"]) == 0, told.getvalue()
    answer: dict[str, Any] = json.loads(told.getvalue())
    return answer


def invited(data: Path, name: str = "reader", role: str = "site_user", *place: str) -> str:
    """Invite somebody, who may read the site unless told otherwise; return the path of the link."""
    business, site = (*(place or (BUSINESS, SITE)), None)[:2]
    where = ["--business", business, *(["--site", site] if site else [])]
    return str(tell(data, "user", "invite", name, "--role", role, *where)["link"])


def restrain(data: Path) -> None:
    """Pause, cap and close what people do; return once the window has begun."""
    soon = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(seconds=70)
    rule = f"{soon.minute} {soon.hour} * * *"
    for words in RESTRAINED:
        tell(data, *shlex.split(words.format(soon=rule)), "--business", BUSINESS)
    while not any(hold["blackout"] for hold in tell(data, "hold", "list")["holds"]):
        time.sleep(1)


def people(server: Server, data: Path) -> None:
    """Invite people, let most of them sign in, bar one, and let somebody guess at the password of another."""
    for name, roles, signs_in in PEOPLE:
        link = invited(data, name, *roles[0])
        for role, *place in roles[1:]:
            tell(data, "user", "grant", name, "--role", role, "--business", place[0], "--site", place[1])
        if signs_in:
            server.sign_in(link)
    tell(data, "user", "disable", "joana.pires", "--reason", "left the company")
    for _ in range(6):
        server.ask("POST", "/auth/sign-in", {"name": "jonas.reuter", "password": "not this one"})


@contextmanager
def opened(
    browser: Browser, server: Server, cookie: str, path: str, theme: str, width: int = 1280, site: str = SITE
) -> Iterator[Page]:
    """Open a page of a site as somebody sees it."""
    context = browser.new_context(
        viewport={"width": width, "height": 800 if width > 600 else 844}, color_scheme=theme, timezone_id=ZONE,
        has_touch=width <= 600,
    )  # fmt: skip
    context.add_cookies(server.cookies(cookie))
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{server.url}{path}{'&' if '?' in path else '?'}site={site.replace(' ', '+')}")
    yield page
    context.close()


def readme(browser: Browser, server: Server, cookie: str, data: Path) -> None:
    """Take the README's pictures."""
    FOLDER.mkdir(exist_ok=True)
    for theme in ("light", "dark"):
        with opened(browser, server, cookie, "/", theme) as page:
            expect(page.locator(".d-verdict")).to_have_text(re.compile("^Backing up"), timeout=300_000)
            running = page.get_by_role("row").filter(has=page.get_by_text("Running", exact=True))
            running.first.get_by_role("link").click()
            expect(page.locator(".st-key-card")).to_be_visible()
            time.sleep(3)
            page.screenshot(path=FOLDER / f"active-tasks-{theme}.png")
    restrain(data)
    for theme in ("light", "dark"):
        for name in SHOWN:
            stage = STAGES[name]
            with opened(browser, server, cookie, stage.path, theme) as page:
                expect(page.locator("h1.d-title")).to_be_visible(timeout=60_000)
                page.wait_for_timeout(3_000)
                stage.steps(page)
                page.wait_for_timeout(1_500)
                page.screenshot(path=FOLDER / f"{name}-{theme}.png")


def every(
    browser: Browser, server: Server, cookie: str, stages: dict[str, Stage], folder: Path, only: list[str],
    site: str = SITE,
) -> None:
    """Take a picture of each stage, in both themes and widths; say which can't be got to, or is too broad."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, stage in stages.items():
        if only and name not in only:
            continue
        for theme, width in ((theme, width) for width in WIDTHS for theme in ("light", "dark")):
            with opened(browser, server, cookie, stage.path, theme, width, site) as page:
                try:
                    expect(page.locator("h1.d-title")).to_be_visible(timeout=60_000)
                    page.wait_for_timeout(2_000)
                    stage.steps(page)
                except (AssertionError, Error) as error:  # the others are worth having all the same
                    print(f"{name}, {theme}, {width}: {str(error).splitlines()[0]}")
                page.wait_for_timeout(1_500)
                take(page, folder / f"{name}-{theme}-{width}.png", stage.whole)


def take(page: Page, path: Path, whole: bool) -> None:
    """Take a picture; a page scrolls within itself, so that the window grows to show it whole."""
    size = page.viewport_size
    main = page.get_by_test_id("stMain")
    assert size is not None
    over, tall = main.evaluate("main => [main.scrollWidth - main.clientWidth, main.scrollHeight]")
    if over > 0:
        print(f"{path.name}: {over} pixels too broad")
    if whole and tall > size["height"]:
        page.set_viewport_size({"width": size["width"], "height": min(tall + 10, TALLEST)})
        page.wait_for_timeout(500)
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
