"""Nothing of one business reaches another: a visitor opens every page, presses what there is, asks for what is not his,
and all that the server sent him, frame by frame, is searched for words that only the other business has."""

import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from engine.access import Actor
from engine.console import Console
from engine.roles import EVERYTHING, Grant, Role
from tests.browser.conftest import PASSWORD, Server, serve
from tests.browser.crawling import PATHS, Visit, look_around, visiting
from tests.test_rights import KINDS, WORDS, There, business, founded, soon
from tests.test_roles import GRANT, NEIGHBOUR, OWN, STRANGER, Place

pytestmark = pytest.mark.browser

CANARY, NEXT_DOOR, HIS = WORDS[STRANGER], WORDS[NEIGHBOUR], WORDS[OWN]
PEOPLE = {"ada": GRANT[Role.BUSINESS_ADMIN], "sam": GRANT[Role.SITE_ADMIN], "sid": GRANT[Role.SITE_USER],
          "root": Grant(Role.PLATFORM_ADMIN)}  # fmt: skip
SECRETS = (CANARY, STRANGER[0])  #: that nobody of the own business may ever be sent
AT = urllib.parse.urlencode({"business": OWN[0], "site": OWN[1]})


@dataclass(frozen=True)
class World:
    server: Server
    there: Mapping[Place, There]

    def cookie(self, name: str) -> str:
        status, told, _ = self.server.ask("POST", "/auth/sign-in", {"name": name, "password": PASSWORD})
        assert status == 303
        return told["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("tenancy")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (folder / "fleet.toml").write_text(KINDS + business(OWN[0]) + business(STRANGER[0]))
    console = Console(folder).start(wait=True)
    try:
        soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == len(WORDS))
        there = {place: founded(console, place, word) for place, word in WORDS.items()}
        assert console.access is not None
        for name, grant in PEOPLE.items():
            link = console.access.invite(Actor("cli", EVERYTHING), name, [grant])
            console.access.use_link(link, PASSWORD, "127.0.0.1")
    finally:
        console.close()
    server = serve(folder, folder / "server.log")
    server.wait_live()
    yield World(server, there)
    if server.process.poll() is None:
        server.stop()


def parts(word: str) -> str:
    """Write a word so that it finds what bears it and is not that word itself: what is asked for may be echoed."""
    return word[1:-1]


def trespass(visit: Visit, there: There, cookie: str) -> None:
    """Ask for what is elsewhere: by ids in addresses, by searches, by filters, by routes."""
    asked = urllib.parse.quote(parts(there.word))
    for path in (
        f"/task?id={there.waiting}", f"/task?id={there.ended}", f"/?task={there.waiting}", f"/tasks?task={there.ended}",
        f"/tasks?filter=id:{there.ended}", f"/tasks?filter=target:*{asked}*", f"/tasks?filter={asked}&tab=completed",
        f"/logs?filter=*{asked}*", f"/schedules?schedule={there.schedule}", f"/reports?report={there.report}",
        f"/reports?search={asked}", f"/services?service={asked}", f"/async-tasks?search={asked}",
        f"/activity?filter=request:{there.request}", f"/activity?filter=id:{there.ended}",
        f"/activity?entry={there.audit}", f"/activity?filter={asked}", f"/tasks?view={there.view}",
        f"/tasks?after={there.ended}.{there.ended}", f"/help?search={asked}&topic={asked}",
    ):  # fmt: skip
        visit.go(path)
        searched = visit.page.locator("input[role=combobox][aria-label=Filter], input[type=search]").first
        if searched.is_visible():
            searched.fill(parts(there.word))
            searched.press("Enter")
            visit.settle()
    for path in ("/healthz", "/metrics", "/_stcore/host-config", "/_stcore/metrics", "/media/x.csv", "/auth/sign-in",
                 "/component/x", f"/media/{there.request}.csv", f"/export/activity?q={asked}",
                 f"/export/activity?q=id:{there.ended}", f"/export/log?{AT}&log=audit&q=*{asked}*",
                 f"/export/log?{AT}&log=audit&q=id:{there.ended}", f"/export/report?{AT}&report={there.report}&table=0",
                 f"/export/report?{AT}&report={there.report}&table=1"):  # fmt: skip
        status, told, body = visit.server.ask("GET", path, Cookie=cookie)
        visit.texts.append(f"{status} {told} {body}")


@pytest.mark.parametrize("name", ["ada", "sid"])
def test_nothing_of_another_business_reaches_anybody_of_this_one(world: World, name: str, browser: Browser) -> None:
    cookie = world.cookie(name)
    with visiting(browser, world.server, cookie) as visit:
        look_around(visit, OWN[1], most=6 if name == "ada" else 4)
        trespass(visit, world.there[STRANGER], cookie)
        came = visit.everything()
        visit.frames.clear()
        elsewhere = urllib.parse.quote(f"{STRANGER[1]} · {STRANGER[0]}")
        for path in (f"/async-tasks?business={STRANGER[0]}", f"/tasks?site={elsewhere}", f"/?site={elsewhere}"):
            visit.go(path)
        assert CANARY not in "\n".join(frame.decode("utf-8", "replace") for frame in visit.frames), "named by himself"
    assert visit.pressed > 20
    assert HIS in came, "what is his own was there to be seen"
    assert visit.frames
    assert any(file.suggested_filename.endswith(" log berlin.csv") for file in visit.downloads)
    for secret in SECRETS:
        assert secret not in came, came[max(0, came.index(secret) - 200) : came.index(secret) + 200]


def test_what_somebody_else_was_given_is_seen_where_it_is_sought(world: World, browser: Browser) -> None:
    """That the search above can find something: to a platform's admin the same pages do send the words."""
    with visiting(browser, world.server, world.cookie("root")) as visit:
        for path in ("", "tasks", "schedules", "services", "activity"):
            visit.go(f"/{path}?site={urllib.parse.quote(f'{STRANGER[1]} · {STRANGER[0]}')}")
            came = "\n".join(frame.decode("utf-8", "replace") for frame in visit.frames)
            assert CANARY in came, path
            visit.frames.clear()


def test_nothing_of_the_next_site_reaches_who_has_but_one(world: World, browser: Browser) -> None:
    """But for views that are shared with the whole business; they are not opened here: their filters are echoed."""
    unopened = replace(world.there[NEIGHBOUR], view="0" * 16)
    cookie = world.cookie("sam")
    with visiting(browser, world.server, cookie) as visit:
        look_around(visit, OWN[1], PATHS, most=4)
        trespass(visit, unopened, cookie)
        came = visit.everything()
    assert HIS in came
    filtered = f"target:{NEXT_DOOR}*"
    for shared in (f"{NEXT_DOOR} view", filtered, urllib.parse.quote(filtered), f"{NEXT_DOOR}.owner"):
        came = came.replace(shared, "")
    for secret in (NEXT_DOOR, *SECRETS):
        assert secret not in came, came[max(0, came.index(secret) - 200) : came.index(secret) + 200]


