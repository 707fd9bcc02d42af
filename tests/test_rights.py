"""Every read, every role, own and other places: what the door for reads lets through, and that it tells nothing else.

Whatever there is at a place bears that place's word; so what somebody is told can be searched for words that are not
his. What commands change has its own table in test_roles, of the same shape.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar
from uuid import uuid4

import polars as pl
import pytest

from engine import activity
from engine import messages as m
from engine.bulk import Verb
from engine.catalogue import TABS, Asked
from engine.clock import HOUR
from engine.console import Console
from engine.errors import NotAllowed, Refused
from engine.filters import parse
from engine.ledger import TaskRow
from engine.lifecycle import EXTERNAL, Kind, Tab, own_name
from engine.living import Place as Sites
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grants, Role
from engine.sight import Sight
from tests.test_roles import (
    ABSENT,
    ADMINS,
    EVERYBODY,
    NEIGHBOUR,
    NO_BUSINESS,
    NO_SITE,
    NOBODY,
    OPERATORS,
    OWN,
    STRANGER,
    Place,
    granted,
    reaches,
)  # fmt: skip

T = TypeVar("T")

PATIENCE = 30.0  #: seconds in which a thing must have happened, on a busy machine
WORDS = {OWN: "kestrel", NEIGHBOUR: "osprey", STRANGER: "merlin"}
EVERY = Asked(parse(""), system=True, hidden=True)

KINDS = """
[kinds.audit]
failure = 0
hung = 0
collect = { median_s = 2, sigma = 0.1 }
process = { median_s = 2, sigma = 0.1 }
changes = { new = 9, changed = 9, online = 9 }

[kinds.connector]
failure = 0
hung = 0
collect = { median_s = 900000, sigma = 0.1 }
process = { median_s = 2, sigma = 0.1 }

[kinds.report]
failure = 0
process = { median_s = 2, sigma = 0.1 }
"""


def business(name: str) -> str:
    sites = {place[1]: word for place, word in WORDS.items() if place[0] == name}
    return f"""
[businesses.{name}]
processors = [{{ name = "{'heron' if name == OWN[0] else WORDS[STRANGER]}-proc", slots = 2 }}]
users = [{{ name = "{name}.admin", role = "business_admin" }}]
""" + "".join(
        f"""
[businesses.{name}.sites.{site}]
zone = "Europe/Berlin"
services = [
  {{ name = "{word}-audit", role = "audit_service", slots = 4 }},
  {{ name = "{word}-spare", role = "audit_service", slots = 4 }},
  {{ name = "{word}-zone", role = "hosted_zone", slots = 1 }},
]
targets = [
  {{ name = "{word}-box", kind = "device", count = 3 }},
  {{ name = "{word}-cloud", kind = "cloud", assets = 9 }},
]
"""
        for site, word in sites.items()
    )


@dataclass(frozen=True)
class There:
    """What there is at a place, by its ids and names."""

    waiting: int
    created_at: int
    ended: int
    row: TaskRow
    report: int
    schedule: int
    view: str
    request: str
    audit: int
    word: str

    @property
    def owner(self) -> str:
        return f"{self.word}.owner"

    @property
    def at_its_place(self) -> TaskRow:
        """Forge the row of the one that waits."""
        return self.row._replace(task_id=self.waiting, created_at=self.created_at)


NO_ROW = TaskRow(*[None] * len(TaskRow._fields))
NOTHING = There(ABSENT, 0, ABSENT, NO_ROW, ABSENT, ABSENT, "0" * 16, "none of all", ABSENT, "nightjar")


def founded(console: Console, place: Place, word: str) -> There:
    """Let everything that can be read be there at a place, each under the place's word."""
    engine = console.engine
    assert engine is not None
    owner = f"{word}.owner"

    def do(action: m.Action, request: str = "") -> list[int | str]:
        outcome = engine.do(m.Command(request or f"{uuid4()}", owner, action)).result(PATIENCE)
        assert outcome.refused is None, outcome
        return list(outcome.changed)

    def submit(kind: Kind = Kind.AUDIT, **facts: Any) -> int:
        name, target = own_name(kind, f"{word} task"), f"{word}-box-01"
        (made,) = do(m.Submit([m.NewTask(*place, kind, name, owner, owner, target, "device", **facts)]))
        return int(made)

    do(m.SetService(place[0], f"{word}-spare", "draining", reason=f"{word} why"))
    ended = submit()
    stopped = submit(due_at=engine.now + HOUR)
    waiting = submit(requested_service=f"{word}-spare", longest_wait_s=7_777)
    submit(due_at=engine.now + HOUR)
    submit(Kind.CONNECTOR)
    (report,) = do(m.StartReport(*place, EXTERNAL))
    deleted = f"{uuid4()}"
    do(m.Delete([stopped], f"{word} why"), deleted)
    rule = Rule.cron_rule("30 2 * * *", "Europe/Berlin")
    spec = m.ScheduleSpec(f"{word} nightly", *place, Kind.AUDIT, rule, owner, f"{word}-box-02")
    (schedule,) = do(m.CreateSchedule(spec))
    do(m.RunNow(int(schedule)))
    new_year = Rule.cron_rule("0 3 1 1 *", "UTC")
    do(m.CreateBlackout(m.BlackoutSpec(f"{word} freeze", *place, new_year, 60, f"{word} why")))
    do(m.PlaceHolds(place[0], [m.HoldTarget("user", f"{word}.idle")], f"{word} why", place[1]))
    (view,) = do(m.KeepView(f"{word} view", "Failed", f"target:{word}*", business=place[0]))
    sight = Sight(watch_of(console), EVERYTHING)
    rows = soon(lambda: (found := sight.finished([ended])) and found)
    soon(lambda: sight.has_result(*place, int(report)))
    (audit,) = sight.audit(activity.parse(f"id:{ended} action:submit")).rows["audit_id"]
    living = sight.snapshot.live(waiting) or Sight(watch_of(console), EVERYTHING).snapshot.live(waiting)
    assert living is not None
    return There(waiting, living[0].created_at, ended, rows[ended], int(report), int(schedule), str(view), deleted,
                 int(audit), word)  # fmt: skip


def watch_of(console: Console) -> Any:
    assert console.watch is not None
    return console.watch


def soon(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time"
        time.sleep(0.05)
    return found


@dataclass
class World:
    console: Console
    there: Mapping[Place, There]

    def sight(self, grants: Grants) -> Sight:
        return Sight(watch_of(self.console), grants, "sid")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("rights")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (folder / "fleet.toml").write_text(KINDS + business(OWN[0]) + business(STRANGER[0]))
    console = Console(folder).start(wait=True)
    soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == 3)
    yield World(console, {place: founded(console, place, word) for place, word in WORDS.items()})
    console.close()


# --- the table

Read = Callable[[Sight, Place, There], object]


def sites(place: Place) -> Sites:
    """Forge a place, as if some read had given it."""
    return Sites(place[0], (place[1],))


def listed(place: Place, there: There) -> pl.DataFrame:
    """Forge what a list would have of a task, as if one were allowed to see it."""
    return pl.DataFrame([{
        "task_id": there.waiting, "owner": there.owner, "business": place[0], "site": place[1], "kind": "audit",
        "status": "New", "version": 1, "hidden": False,
    }])  # fmt: skip


TELLS, COUNTS = True, False

AT_A_SITE: dict[str, tuple[bool, Read]] = {
    "listing": (TELLS, lambda s, p, t: s.listing(*p, size=200)),
    "place": (COUNTS, lambda s, p, t: s.place(*p)),
    "counts": (COUNTS, lambda s, p, t: s.counts(sites(p), EVERY)),
    "page": (TELLS, lambda s, p, t: [s.page(sites(p), EVERY, tab) for tab in TABS]),
    "together": (TELLS, lambda s, p, t: s.together(sites(p), EVERY, TABS)),
    "matching": (TELLS, lambda s, p, t: s.matching(sites(p), EVERY, TABS)),
    "names": (TELLS, lambda s, p, t: s.names(sites(p))),
    "in_flight": (TELLS, lambda s, p, t: s.in_flight(*p, Kind.AUDIT, [f"{t.word}-box-01"])),
    "able": (TELLS, lambda s, p, t: s.able(*p, Kind.AUDIT)),
    "those": (TELLS, lambda s, p, t: s.those(sites(p), [t.waiting, t.ended])),
    "ended_tasks": (TELLS, lambda s, p, t: s.ended_tasks(sites(p), EVERY, 100)),
    "stopped_by": (
        TELLS, lambda s, p, t: s.stopped_by(sites(p), s.page(sites(p), EVERY, Tab.FAILED).rows.to_dicts()),
    ),
    "tasks": (TELLS, lambda s, p, t: s.tasks(*p, [t.waiting, t.ended])),
    "task": (TELLS, lambda s, p, t: s.task(*p, t.waiting)),
    "ended": (TELLS, lambda s, p, t: s.ended(*p, t.ended)),
    "timeline": (TELLS, lambda s, p, t: s.timeline(*p, t.ended)),
    "settings": (COUNTS, lambda s, p, t: s.settings(*p, t.waiting, t.created_at)),
    "waits": (COUNTS, lambda s, p, t: s.waits(*p, t.ended)),
    "judged": (TELLS, lambda s, p, t: s.judged(*p, "UTC")),
    "numbers": (COUNTS, lambda s, p, t: s.numbers(*p)),
    "recent": (COUNTS, lambda s, p, t: s.recent(*p)),
    "usual": (COUNTS, lambda s, p, t: s.usual(*p)),
    "quiet": (TELLS, lambda s, p, t: s.quiet(*p)),
    "services": (TELLS, lambda s, p, t: s.services(*p)),
    "hosts": (TELLS, lambda s, p, t: s.hosts(*p)),
    "at_work": (TELLS, lambda s, p, t: s.at_work(*p)),
    "changes": (COUNTS, lambda s, p, t: s.changes(*p, f"{t.word}-spare")),
    "schedules": (TELLS, lambda s, p, t: s.schedules(*p)),
    "holds": (TELLS, lambda s, p, t: s.holds(*p)),
    "assets": (TELLS, lambda s, p, t: s.assets(*p, size=100)),
    "reports_at_work": (COUNTS, lambda s, p, t: s.reports_at_work(*p)),
    "results": (TELLS, lambda s, p, t: s.results(*p)),
    "result": (TELLS, lambda s, p, t: s.result(*p, t.report)),
    "has_result": (COUNTS, lambda s, p, t: s.has_result(*p, t.report)),
    "timetable": (TELLS, lambda s, p, t: s.timetable(*p)),
    "past": (TELLS, lambda s, p, t: s.past(*p, t.schedule)),
    "runs": (COUNTS, lambda s, p, t: s.runs(*p, t.schedule)),
    "scheduled": (TELLS, lambda s, p, t: s.scheduled(*p)),
    "blackouts": (TELLS, lambda s, p, t: s.blackouts(*p)),
    "fairness": (TELLS, lambda s, p, t: s.fairness(*p, "all")),
    "given": (COUNTS, lambda s, p, t: s.given(*p, "all", t.owner)),
}  # fmt: skip
"""What is read at a site, by whoever sees it: whether it tells of things by their names, and how to ask for it."""

OF_A_BUSINESS: dict[str, tuple[set[Role], Read]] = {
    "numbers of a business": (ADMINS, lambda s, p, t: s.numbers(p[0], None)),
    "services of a business": (ADMINS, lambda s, p, t: s.services(p[0], None)),
    "pauses": (ADMINS, lambda s, p, t: [p[0], s.pauses(p[0]).holds]),
    "people": (ADMINS, lambda s, p, t: s.people(p[0])),
}
"""What is read of all of a business, by whom."""

BY_ID: dict[str, tuple[set[Role], Read]] = {
    "where": (EVERYBODY, lambda s, p, t: [s.where(t.waiting), s.where(t.ended)]),
    "finished": (OPERATORS, lambda s, p, t: s.finished([t.ended])),
    "longest_waits": (OPERATORS, lambda s, p, t: s.longest_waits({t.waiting: t.at_its_place})),
    "undo": (OPERATORS, lambda s, p, t: s.undo(t.request)),
    "audit_entry": (OPERATORS, lambda s, p, t: s.audit_entry(t.audit)),
    "audited": (
        EVERYBODY,
        lambda s, p, t: s.audited([
            {"object_kind": kind, "object_id": str(an_id), "object_number": 1}
            for kind, an_id in (("task", t.waiting), ("task", t.ended), ("schedule", t.schedule))
        ]),
    ),
}  # fmt: skip
"""What is found by an id alone, wherever it is, by whom."""

OF_ALL: dict[str, tuple[set[Role], Callable[[Sight], object]]] = {
    "audit": (OPERATORS, lambda s: s.audit(activity.parse(""), size=200)),
    "audit_names": (OPERATORS, lambda s: s.audit_names()),
    "audit_export": (OPERATORS, lambda s: s.audit_export(activity.parse(""), None, 10_000)),
}
"""What is read of everything that one's grants cover, by whom."""

OF_A_SHARED_VIEW: dict[str, Read] = {
    "views": lambda s, p, t: s.views(p[0]),
    "view": lambda s, p, t: s.view(t.view),
}
"""What is read of views, by whoever sees some of the business that they are shared with."""

OTHER = {"archives", "places", "preview", "reach", "audit_counts", "check", "begin_check"}
"""What has a test of its own, below."""


def test_every_read_has_a_cell() -> None:
    """A read without one is open to nobody knows whom."""
    reads = {name for name, _ in inspect.getmembers(Sight, inspect.isfunction) if not name.startswith("_")}
    cells = {*AT_A_SITE, *OF_A_BUSINESS, *BY_ID, *OF_ALL, *OF_A_SHARED_VIEW, *OTHER}
    assert reads == {re.sub(" of a business$", "", cell) for cell in cells}


# --- what is asked of it

ROLES = pytest.mark.parametrize("role", [*Role, NOBODY], ids=str)
PLACES = pytest.mark.parametrize("place", WORDS, ids=" ".join)


def text(answer: object) -> str:
    """Write all that an answer holds, however deep."""
    if isinstance(answer, pl.DataFrame):
        return text(answer.to_dicts())
    if is_dataclass(answer) and not isinstance(answer, type):
        return " ".join(text(getattr(answer, field.name)) for field in fields(answer))
    if isinstance(answer, Mapping):
        return " ".join(f"{text(key)}: {text(value)}" for key, value in answer.items())
    if isinstance(answer, list | tuple | set | frozenset):
        return " ".join(map(text, answer))
    return str(answer)


def told(read: Callable[[], object]) -> str:
    """Have something read; give all that is told of it, also where it is refused."""
    try:
        return text(read())
    except Refused as refusal:
        return f"{type(refusal).__name__}: {refusal}"


def alike(said: str, place: Place, there: There) -> str:
    """Take out what somebody named himself."""
    for name in (*place, there.word, there.view, there.request, *map(str, (there.waiting, there.ended, there.audit))):
        said = said.replace(name, "*")
    return said


def words(said: str) -> set[str]:
    return {word for word in WORDS.values() if word in said}


def seen_by(role: Role | None) -> set[str]:
    return {word for place, word in WORDS.items() if reaches(role, place)}


@PLACES
@ROLES
@pytest.mark.parametrize("name", AT_A_SITE)
def test_a_site_is_read_by_whoever_sees_it_and_by_nobody_else(
    world: World, name: str, role: Role | None, place: Place
) -> None:
    tells, read = AT_A_SITE[name]
    there, sight = world.there[place], world.sight(granted(role))
    if reaches(role, place):
        said = text(read(sight, place, there))
        assert there.word in said or not tells
        assert words(said) <= (seen_by(role) if name == "judged" else {there.word}), "of that site alone"
    else:
        with pytest.raises(NotAllowed) as refusal:
            read(sight, place, there)
        absent = NO_SITE if place[0] == OWN[0] else NO_BUSINESS
        in_vain = told(lambda: read(sight, absent, NOTHING))
        assert alike(f"NotAllowed: {refusal.value}", place, there) == alike(in_vain, absent, NOTHING)


@pytest.mark.parametrize("place", [NEIGHBOUR, STRANGER], ids=" ".join)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", [name for name in AT_A_SITE if name != "judged"])
def test_at_ones_own_site_what_is_elsewhere_is_as_if_it_were_not_there(
    world: World, name: str, role: Role, place: Place
) -> None:
    """Asked for by its id where one may ask: a page takes ids off an address. (A look asks for nothing by its id.)"""
    there = world.there[place]
    assert there.word not in told(lambda: AT_A_SITE[name][1](world.sight(granted(role)), OWN, there))


@PLACES
@ROLES
@pytest.mark.parametrize("name", OF_A_BUSINESS)
def test_a_business_is_read_as_a_whole_by_its_admins(world: World, name: str, role: Role | None, place: Place) -> None:
    roles, read = OF_A_BUSINESS[name]
    sight = world.sight(granted(role))
    if role in roles and reaches(role, place):
        assert words(text(read(sight, place, world.there[place]))) <= seen_by(role)
    else:
        with pytest.raises(NotAllowed) as refusal:
            read(sight, place, world.there[place])
        in_vain = told(lambda: read(sight, NO_BUSINESS, NOTHING))
        assert alike(f"NotAllowed: {refusal.value}", place, NOTHING) == alike(in_vain, NO_BUSINESS, NOTHING)


@PLACES
@ROLES
@pytest.mark.parametrize("name", BY_ID)
def test_what_an_id_names_is_found_by_whoever_may_and_is_to_others_as_if_it_were_not_there(
    world: World, name: str, role: Role | None, place: Place
) -> None:
    roles, read = BY_ID[name]
    there, sight = world.there[place], world.sight(granted(role))
    said = told(lambda: read(sight, place, there))
    in_vain = told(lambda: read(sight, place, NOTHING))
    if role in roles and reaches(role, place):
        assert alike(said, place, there) != alike(in_vain, place, NOTHING)
    else:
        assert alike(said, place, there) == alike(in_vain, place, NOTHING)


@ROLES
@pytest.mark.parametrize("name", OF_ALL)
def test_the_trail_tells_of_the_places_that_ones_grants_cover_and_of_no_other(
    world: World, name: str, role: Role | None
) -> None:
    roles, read = OF_ALL[name]
    sight = world.sight(granted(role))
    if role in roles:
        assert words(text(read(sight))) == seen_by(role)
    else:
        with pytest.raises(NotAllowed):
            read(sight)


@PLACES
@ROLES
@pytest.mark.parametrize("name", OF_A_SHARED_VIEW)
def test_a_shared_view_is_seen_by_whoever_sees_some_of_its_business(
    world: World, name: str, role: Role | None, place: Place
) -> None:
    read, there, sight = OF_A_SHARED_VIEW[name], world.there[place], world.sight(granted(role))
    said = told(lambda: read(sight, place, there))
    if role is not NOBODY and (role is Role.PLATFORM_ADMIN or place[0] == OWN[0]):
        assert there.word in said
        assert WORDS[STRANGER] not in said or place == STRANGER
    else:
        assert alike(said, place, there) == alike(told(lambda: read(sight, NO_BUSINESS, NOTHING)), NO_BUSINESS, NOTHING)


@ROLES
def test_places_and_the_chain_are_told_as_far_as_ones_grants_reach(world: World, role: Role | None) -> None:
    sight = world.sight(granted(role))
    assert sight.places() == sorted(place for place in WORDS if reaches(role, place))
    reads: tuple[Callable[[], object], ...] = (
        sight.reach, lambda: sight.audit_counts(activity.parse("")), sight.check, sight.begin_check,
    )  # fmt: skip
    for read in reads:
        if role in OPERATORS:
            read()
        else:
            with pytest.raises(NotAllowed):
                read()


@PLACES
@ROLES
def test_an_action_over_tasks_counts_those_that_one_may_change(world: World, role: Role | None, place: Place) -> None:
    found = world.sight(granted(role)).preview(Verb.STOP, listed(place, world.there[place]))
    assert found.count == (role in OPERATORS and reaches(role, place))


def test_counts_of_the_trail_are_of_what_is_in_reach(world: World) -> None:
    every = activity.parse("")
    whole, own = (sum(world.sight(granted(role)).audit_counts(every).values())
                  for role in (Role.PLATFORM_ADMIN, Role.SITE_ADMIN))  # fmt: skip
    assert 0 < own < whole
