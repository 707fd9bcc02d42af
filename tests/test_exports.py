"""Files to take away, over the real routes and guard of a real console: who gets which, what is in them, and what those
are told who get none."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from engine import activity, exports, filters, web
from engine import console as consoles
from engine import messages as m
from engine.access import Access, Actor
from engine.catalogue import Asked
from engine.console import STORE, Console
from engine.exports import MOST
from engine.ledger import AssetSeen, Rows
from engine.lifecycle import Kind, own_name
from engine.roles import EVERYTHING, Grant, Role
from engine.sight import Sight
from engine.store import Store
from tests import routes
from tests.routes import Answer
from tests.test_rights import KINDS, WORDS, There, alike, business, founded, seen_by, soon, watch_of, words
from tests.test_roles import GRANT, NEIGHBOUR, NO_BUSINESS, NO_SITE, OPERATORS, OWN, STRANGER, Place, reaches

PASSWORD = "correct horse battery"
ROOT = Actor("cli", EVERYTHING)
ODD_SITE = ("acme", 'Zürich "Süd"; 1/2')
FORMULA = '=HYPERLINK("http://evil.example","x")'
PAGE = {"accept": "text/html"}


@dataclass(frozen=True)
class World:
    console: Console
    there: Mapping[Place, There]
    cookies: Mapping[Role, str]

    @property
    def access(self) -> Access:
        assert self.console.access is not None
        return self.console.access

    @property
    def sight(self) -> Sight:
        """See what a platform admin does."""
        return Sight(watch_of(self.console), EVERYTHING)

    def enter(self, name: str, grant: Grant) -> str:
        """Let somebody new sign in; return his cookie."""
        token = self.access.use_link(self.access.invite(ROOT, name, [grant]), PASSWORD, "127.0.0.1")
        return f"{web.COOKIE}={token}"

    def get(self, address: str, role: Role = Role.PLATFORM_ADMIN, **headers: str) -> Answer:
        return routes.ask(address, cookie=self.cookies[role], **headers)

    def do(self, action: m.Action) -> m.Outcome:
        assert self.console.engine is not None
        outcome = self.console.engine.do(m.Command(f"r{id(action)}", "ann", action)).result(30)
        assert outcome.refused is None, outcome
        return outcome


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("exports")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (folder / "fleet.toml").write_text(KINDS + business(OWN[0]) + business(STRANGER[0]))
    Console(folder).start(wait=True).close()
    with Store.open(folder / STORE) as store:
        store.commit(store.batch + 1, store.clock + 1, Rows(asset=[
            AssetSeen(*place, "8.8.4.4", f"{word} router", "router", store.clock, True, None)
            for place, word in WORDS.items()
        ]))  # fmt: skip
    console = Console(folder).start(wait=True)
    try:
        soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == len(WORDS))
        made = World(console, {place: founded(console, place, word) for place, word in WORDS.items()}, {})
        made = World(console, made.there, {role: made.enter(f"the.{role}", grant) for role, grant in GRANT.items()})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(consoles, "_current", console)
            yield made
    finally:
        console.close()


def log(place: Place, q: str = "", kind: str = "audit", **more: str) -> str:
    return "/export/log?" + urlencode({"business": place[0], "site": place[1], "log": kind, "q": q, **more})


def report(place: Place, task_id: int | str, table: int | str = 1) -> str:
    asked = {"business": place[0], "site": place[1], "report": task_id, "table": table}
    return f"/export/report?{urlencode(asked)}"


def rows(answer: Answer) -> list[dict[str, Any]]:
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def said(answer: Answer) -> str:
    """Give the words of a refusal."""
    assert answer[0] >= 400, answer[2]
    assert "content-disposition" not in answer[1]
    return str(json.loads(answer[2])["error"])


# --- who gets what


@pytest.mark.parametrize("place", WORDS, ids=" ".join)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("what", ["log", "report"])
def test_a_file_of_a_site_is_for_whoever_sees_the_site_and_for_nobody_else(
    world: World, what: str, role: Role, place: Place
) -> None:
    there, absent = world.there[place], NO_SITE if place[0] == OWN[0] else NO_BUSINESS

    def address(of: Place) -> str:
        return log(of) if what == "log" else report(of, there.report)

    answer = world.get(address(place), role)
    if reaches(role, place):
        assert rows(answer)
        assert words(answer[2].decode()) == {there.word}, "of that site alone"
    else:
        in_vain = world.get(address(absent), role)
        assert answer[0] == in_vain[0] == 403
        assert alike(said(answer), place, there) == alike(said(in_vain), absent, there)


@pytest.mark.parametrize("role", Role)
def test_of_the_trail_everybody_gets_the_rows_that_his_grants_cover(world: World, role: Role) -> None:
    answer = world.get("/export/activity", role)
    if role in OPERATORS:
        assert words(answer[2].decode()) == seen_by(role)
        assert {row["business"] for row in rows(answer)} - {""} == {place[0] for place in WORDS if reaches(role, place)}
    else:
        assert answer[0] == 403
        assert said(answer) == "You may not read the audit trail"


@pytest.mark.parametrize("place", [NEIGHBOUR, STRANGER], ids=" ".join)
@pytest.mark.parametrize("role", [Role.SITE_ADMIN, Role.SITE_USER])
def test_at_ones_own_site_nothing_of_another_is_found_by_its_id_or_its_words(
    world: World, role: Role, place: Place
) -> None:
    there = world.there[place]
    for q in (f"id:{there.ended}", f"*{there.word[1:-1]}*", f"site:{place[1]}", f"business:{place[0]} OR type:audit"):
        answer = world.get(log(OWN, q), role)
        assert there.word not in answer[2].decode()
    if role in OPERATORS:
        assert rows(world.get(f"/export/activity?q=id:{there.ended}", role)) == []
    assert world.get(report(OWN, there.report), role)[0] == 404


def test_a_report_on_a_whole_business_is_not_for_who_sees_a_part_of_it(world: World) -> None:
    (whole,) = world.do(m.StartReport(*OWN, "Organization overview report")).changed
    soon(lambda: world.sight.has_result(*OWN, int(whole)))
    assert rows(world.get(report(OWN, whole, 0), Role.BUSINESS_ADMIN))
    for role in (Role.SITE_ADMIN, Role.SITE_USER):
        refused, in_vain = world.get(report(OWN, whole, 0), role), world.get(report(OWN, 1 << 41, 0), role)
        assert (refused[0], said(refused)) == (in_vain[0], said(in_vain)) == (404, said(in_vain))


def test_a_stranger_gets_nothing_and_a_person_is_led_to_the_file_by_way_of_the_sign_in(world: World) -> None:
    address = log(OWN, "outcome:failed OR user:ann", zone="Europe/Berlin")
    for cookie in ("", f"{web.COOKIE}=forged", f"{web.COOKIE}="):
        for wanted in (address, "/export/activity", report(OWN, world.there[OWN].report), "/export/anything"):
            assert (status := routes.ask(wanted, cookie=cookie))[0] == 401, status
    status, headers, _ = routes.ask(address, **PAGE)
    assert (status, headers["location"]) == (303, f"/auth/sign-in?next={quote(address, safe='')}")


def test_a_link_gives_what_whoever_follows_it_may_see_at_that_moment(world: World) -> None:
    his = world.enter("moving", GRANT[Role.BUSINESS_ADMIN])
    trail, oslo = "/export/activity", log(NEIGHBOUR)
    assert {row["site"] for row in rows(routes.ask(trail, cookie=his))} >= {OWN[1], NEIGHBOUR[1]}
    assert rows(routes.ask(oslo, cookie=his))
    world.access.change(ROOT, "moving", [GRANT[Role.SITE_ADMIN]])
    assert {row["site"] for row in rows(routes.ask(trail, cookie=his))} == {OWN[1]}
    assert routes.ask(oslo, cookie=his)[0] == 403
    world.access.change(ROOT, "moving", [GRANT[Role.SITE_USER]])
    assert routes.ask(trail, cookie=his)[0] == 403
    world.access.disable(ROOT, "moving")
    assert routes.ask(trail, cookie=his)[0] == 401


# --- what is in it


def test_a_file_has_what_the_page_counts_by_the_filter_that_stands_in_its_link(world: World) -> None:
    for text in ("", "-user:nobody", "status:processed finished:-24h", 'created:>2026-01-01 "kestrel box"', "id:1"):
        for zone in ("UTC", "Asia/Tokyo"):
            wanted = filters.parse(text, zone)
            counts = world.sight.counts(world.sight.place(*OWN), Asked(exports.logged("Audit log", wanted)))
            found = rows(world.get(exports.of_log(*OWN, "Audit log", wanted)))
            assert len(found) == sum(counts.ended)
            assert {row["kind"] for row in found} <= {"audit"}
    for text in ("", "action:submit", f"business:{OWN[0]} -action:submit", "at:-1h"):
        wanted = filters.parse(text, "Asia/Tokyo", activity.LANGUAGE)
        counts = world.sight.audit_counts(wanted)
        for about in (None, *activity.ABOUT):
            found = rows(world.get(exports.of_activity(wanted, about)))
            assert len(found) == (sum(counts.values()) if about is None else counts.get(about, 0))


@pytest.mark.parametrize(("address", "name"), [(log(OWN), f"Audit log {OWN[1]}"), ("/export/activity", "activity")])
def test_a_file_that_does_not_hold_all_that_was_found_says_so_by_its_name(
    world: World, monkeypatch: pytest.MonkeyPatch, address: str, name: str
) -> None:
    found = rows(world.get(address))
    for most, called in ((len(found), f"{name}.csv"), (len(found) - 1, f"{name} (newest {len(found) - 1}).csv")):
        monkeypatch.setattr(exports, "MOST", most)
        cut = world.get(address)
        assert rows(cut) == found[:most]
        assert f'filename="{called}"' in cut[1]["content-disposition"]


def test_the_dates_of_a_filter_are_those_of_the_zone_in_the_link(world: World) -> None:
    ended_at = max(row["finished_at"] for row in world.sight.ended_tasks(
        world.sight.place(*OWN), Asked(exports.logged("Audit log", filters.parse(""))), MOST
    ).to_dicts())  # fmt: skip
    text = f"finished:<{ended_at.strftime('%Y-%m-%dT%H:%M')}"
    behind, ahead = (len(rows(world.get(log(OWN, text, zone=zone)))) for zone in ("Etc/GMT+9", "Etc/GMT-9"))
    assert (behind > 0, ahead) == (True, 0)


def test_a_file_begins_with_the_names_of_its_columns_also_where_nothing_is_found(world: World) -> None:
    for address, first in (
        (log(OWN, kind="scan"), "task_id,number,name,kind,business,site,target,"),
        ("/export/activity?q=actor:nobody", "occurred_at,business,site,actor,action,object_kind,object_id,"),
        (report(OWN, world.there[OWN].report, 1), "Asset,Address,Type,"),
    ):  # fmt: skip
        body = world.get(address)[2].decode()
        assert body.startswith(first), body
        if "report" not in address:
            assert body.count("\n") == 1


def test_no_text_that_somebody_gave_reaches_a_file_as_a_formula(world: World) -> None:
    task = m.NewTask(*OWN, Kind.AUDIT, own_name(Kind.AUDIT, FORMULA), FORMULA, FORMULA, FORMULA, "device", FORMULA)
    (made,) = world.do(m.Submit([task])).changed
    world.do(m.Stop([int(made)], FORMULA))
    (row,) = soon(lambda: rows(world.get(log(OWN, f"id:{made}"))))
    given = [cell for cell in row.values() if FORMULA in cell]
    assert len(given) >= 4
    (stop,) = rows(world.get(f"/export/activity?q=id:{made}+action:stop"))
    assert stop["reason"] == f"'{FORMULA}"
    for cell in (*given, *stop.values()):
        assert not re.match(r"[=+@\t\r]|-\D", cell), cell


def test_a_file_comes_under_a_name_that_says_what_it_is(world: World) -> None:
    world.do(m.AddSite(*ODD_SITE, "Europe/Zurich"))
    soon(lambda: ODD_SITE in world.sight.snapshot.zones)
    names = {}
    for address in (log(OWN), log(ODD_SITE, kind="scan"), "/export/activity", report(OWN, world.there[OWN].report, 1)):
        status, headers, body = world.get(address)
        assert status == 200, body
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        names[address] = headers["content-disposition"]
        assert names[address].isascii()
    ours, odd, trail, table = names.values()
    assert ours == "attachment; filename=\"Audit log berlin.csv\"; filename*=UTF-8''Audit%20log%20berlin.csv"
    assert odd == ('attachment; filename="Scan log Z_rich _S_d__ 1_2.csv"; '
                   "filename*=UTF-8''Scan%20log%20Z%C3%BCrich%20%22S%C3%BCd%22%3B%201%2F2.csv")  # fmt: skip
    assert 'filename="activity.csv"' in trail
    assert re.search(r'filename="external-assets-report-external-assets-\d{4}-\d\d-\d\d\.csv"', table)


# --- what those are told who get none

FAULTS = {
    "/export/activity?q=actr:ann": (400, "There is no key “actr”; did you mean actor:"),
    "/export/activity?q=actor:ann&zone=Mars/Olympus": (400, "Mars/Olympus"),
    "/export/activity?about=nonsense": (400, "tasks, holds, schedules, services, users or rest"),
    "/export/activity?q=%ff%00": (400, "such a character"),
    log(OWN, "(type:audit"): (400, "parenthesis"),
    log(OWN, "x" * 5_000): (400, "at most"),
    log(OWN, kind="connector"): (400, "scan or audit"),
    "/export/log?log=audit": (400, "must name a business and a site"),
    log(NO_SITE): (404, "no such site"),
    log(NO_BUSINESS): (404, "no such site"),
    report(NO_SITE, 1): (404, "no such site"),
    report(OWN, 1 << 41): (404, "no such result"),
    report(OWN, "1e9"): (404, "no such result"),
    report(OWN, "9" * 99): (404, "no such result"),
    "/export/activity?filter=actor:ann": (400, "q, zone or about; there is no “filter”"),
    log(OWN, Zone="UTC"): (400, "there is no “Zone”"),
    "/export/logs": (404, "did you mean “log”?"),
}


@pytest.mark.parametrize("address", FAULTS, ids=lambda address: address[:60])
def test_what_is_wrong_with_an_address_is_said_to_programs_and_to_people(world: World, address: str) -> None:
    status, words = FAULTS[address]
    answer = world.get(address)
    assert answer[0] == status
    assert words in said(answer)
    status, headers, page = world.get(address, **PAGE)
    assert status == FAULTS[address][0]
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-store"
    assert words in page.decode()
    assert '<a href="/">Go to the console</a>' in page.decode()


@pytest.mark.parametrize("table", [2, 99, -1, "", "one"])
def test_a_table_that_a_result_does_not_have_is_none(world: World, table: int | str) -> None:
    there = world.there[OWN]
    assert rows(world.get(report(OWN, there.report, 1)))
    assert "no such result" in said(world.get(report(OWN, there.report, table)))


def test_what_an_address_says_is_no_markup_in_the_page_that_refuses_it(world: World) -> None:
    evil = "<script>x</script>"
    _, _, page = world.get("/export/activity?q=" + quote(f"{evil}:1"), **PAGE)
    assert evil not in page.decode()


def test_until_the_console_is_there_a_file_is_to_be_asked_for_again(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consoles, "_current", None)
        answer = world.get("/export/activity")
    assert answer[0] == 503
    assert said(answer) == "The console is not ready yet; try again shortly"


def test_while_a_file_is_made_the_server_goes_on(world: World) -> None:
    turns = routes.turns_of_the_loop("/export/activity", cookie=world.cookies[Role.PLATFORM_ADMIN])
    assert turns > 3, "made in the loop itself, it would be there after the first turn"


def test_who_leaves_before_his_file_is_made_is_waited_for_no_longer(world: World) -> None:
    assert routes.left_in_line(log(OWN), cookie=world.cookies[Role.SITE_USER])


def test_nobody_has_two_files_made_at_once(world: World) -> None:
    assert routes.at_once(4, log(OWN), cookie=world.cookies[Role.SITE_USER]) == 1
