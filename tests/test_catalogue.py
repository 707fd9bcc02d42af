"""The list of all tasks: every one is in exactly one tab, counts equal rows, pages leave nobody out, live or ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import polars as pl
import pytest

from engine import messages as m
from engine.catalogue import FIRST, LIVE_TABS, SORTS, TABS, TOGETHER, Asked, Catalogue, Counts, Key, Page
from engine.clock import MINUTE
from engine.errors import Invalid
from engine.filters import parse
from engine.lifecycle import STATUS, Kind, Tab, own_name, tab
from engine.living import Place

from .health_fixtures import Life
from .seeds import seeds

ACME = Place("Acme")
BERLIN = Place("Acme", ("Berlin",))
EVERY = Asked(parse(""), system=True, hidden=True)
OWNERS = ("ann", "bob", "Çelik")


def founded(folder: Path) -> Life:
    life = Life(folder)
    life.do(m.AddSite("Acme", "Oslo", "Europe/Oslo"), m.AddService("Acme", "Oslo", "audit-9", "audit_service", 2))
    return life


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return founded(tmp_path)


class Anything:
    """Somebody who does whatever comes to mind, and keeps a record of what he has started."""

    def __init__(self, life: Life, chance: Random) -> None:
        self.life, self.chance, self.ids = life, chance, list[int]()

    def act(self) -> None:
        life, chance = self.life, self.chance
        some = chance.sample(self.ids, min(len(self.ids), 3))
        acts: list[Callable[[], object]] = [
            self.submit, self.submit, self.submit, self.submit,
            lambda: life.live(chance.uniform(1, 40)),
            lambda: life.live(chance.uniform(1, 200)),
            lambda: life.do(m.Stop(some)),
            lambda: life.do(m.Delete(some, finished=self.finished(some))),
            lambda: life.do(m.Restore(some, finished=self.finished(some))),
            lambda: self.ids.extend(map(int, life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"))[0].changed)),
            lambda: life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Later",
                                         until_at=life.now + 3 * MINUTE)),
            lambda: life.do(m.SetService("Acme", "audit-1", chance.choice(("online", "offline", "draining")))),
        ]  # fmt: skip
        chance.choice(acts)()

    def submit(self) -> None:
        life, chance = self.life, self.chance
        owner, kind = chance.choice(OWNERS), chance.choice((Kind.AUDIT, Kind.SCAN, Kind.AUDIT, Kind.REPORT))
        later = life.now + chance.randrange(10 * MINUTE) if chance.random() < 0.2 else None
        site = "Oslo" if kind is Kind.AUDIT and chance.random() < 0.3 else "Berlin"
        name, target = own_name(kind, f"{kind} {chance.randrange(5)}"), f"srv-{chance.randrange(9)}"
        task = m.NewTask("Acme", site, kind, name, owner, owner, target, "device", due_at=later)
        (outcome,) = life.do(m.Submit([task] * chance.randrange(1, 4)))
        self.ids += map(int, outcome.changed)

    def finished(self, ids: list[int]) -> dict[int, object]:
        self.life.snapshot()
        rows = self.life.store.rows("task_done", "superseded_by is null and task_id in (select unnest(?))", [ids])
        return {row.task_id: row for row in rows}


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Give a life of which nothing more is done: for tests that only read."""
    life = founded(tmp_path_factory.mktemp("settled"))
    anything = Anything(life, Random(7))
    for _ in range(80):
        anything.act()
    life.submit(3, owner="ANN")
    life.snapshot()
    return life


def truth(life: Life, ids: list[int]) -> dict[int, Tab]:
    """Tell each task's tab by its last event."""
    life.snapshot()
    found = life.store.read(
        """select task_id, arg_max(to_status, event_id) as status, bool_or(event = 'due' or dq > 0) as due
           from task_event group by task_id"""
    )
    return {task_id: tab(STATUS[status], due) for task_id, status, due in found.rows()}


def pages(ask: Callable[..., Page], **cut: object) -> list[Page]:
    found = [ask(**cut)]
    while found[-1].next is not None:
        found.append(ask(after=found[-1].next, **cut))
    return found


@pytest.mark.parametrize("seed", seeds(5, of=12))
def test_whatever_happens_every_task_is_in_exactly_one_tab_and_counts_equal_rows(life: Life, seed: int) -> None:
    anything, catalogue = Anything(life, Random(seed)), Catalogue(life.store)
    for _ in range(6):
        for _ in range(12):
            anything.act()
        snapshot, now = life.snapshot(), life.now
        counts = catalogue.counts(snapshot, ACME, EVERY, now)
        listed: Counter[int] = Counter()
        for at in TABS:
            ask = partial(catalogue.page, snapshot, ACME, EVERY, now, at)
            there = [task_id for page in pages(ask, size=7) for task_id in page.rows["task_id"]]
            assert len(there) == counts.tabs[at]
            listed.update(there)
            assert all(truth(life, there)[task_id] is at for task_id in there)
        assert set(listed) == set(anything.ids)
        assert set(listed.values()) <= {1}


@pytest.mark.parametrize("seed", seeds(2, of=4))
def test_counts_that_are_moved_on_equal_counts_made_anew(life: Life, seed: int) -> None:
    anything, kept = Anything(life, Random(100 + seed)), Catalogue(life.store)
    wanted = [Asked(parse(text)) for text in ("", "user:ann", "-user:ann srv-1", "type:report hidden:yes", "age:<5m")]
    for _ in range(10):
        for _ in range(6):
            anything.act()
        snapshot = life.snapshot()
        for place in (ACME, BERLIN):
            for asked in wanted:
                told = kept.counts(snapshot, place, asked, life.now)
                assert told == Catalogue(life.store).counts(snapshot, place, asked, life.now), asked.filter.text


@pytest.mark.parametrize("seed", seeds(2, of=4))
def test_counts_by_sorts_equal_counts_of_rows_also_of_an_older_snapshot(
    life: Life, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.census.AT_ONCE", 10)
    anything, by_sort, earlier = Anything(life, Random(200 + seed)), Catalogue(life.store), None
    anything.ids += life.submit(30)
    life.live(400)
    life.snapshot()
    by_sort.take_census()  # a part of it, as of this batch
    masked = Place("Acme", ("Berlin",), "a processor")
    wanted = [
        Asked(parse(text))
        for text in ("", "user:ann", "srv-1 OR oslo", "-srv", "target:none", "service:processor-1", "status:stopped",
                     "hidden:yes", "reason:deleted", "finished:<-2m", "user:bob age:>1m", "-type:report created:<-1m")
    ]  # fmt: skip
    for turn in range(8):
        for _ in range(8):
            anything.act()
        snapshot = life.snapshot()
        by_row = Catalogue(life.store)
        with monkeypatch.context() as patch:
            patch.setattr("engine.census.SOON", -1)  # no census is taken while somebody waits
            told = [by_row.counts(s, place, asked, life.now)
                    for s in (earlier or snapshot, snapshot) for place in (ACME, BERLIN, masked) for asked in wanted]
        if turn % 2:
            by_sort.take_census()
        assert told == [
            Catalogue.counts(by_sort, s, place, asked, life.now)
            for s in (earlier or snapshot, snapshot) for place in (ACME, BERLIN, masked) for asked in wanted
        ]  # fmt: skip
        earlier = snapshot


def test_where_every_task_is_of_its_own_sort_rows_are_counted(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.census.MOST_SORTS", 20)
    catalogue = Catalogue(life.store)
    for n in range(30):
        life.submit(1, target=f"srv-{n}")
        life.live(61)
        snapshot = life.snapshot()
        assert catalogue.counts(snapshot, ACME, Asked(parse("srv")), life.now).tabs[Tab.COMPLETED] == n
    assert catalogue.page(snapshot, ACME, Asked(parse("srv-29")), life.now, Tab.COMPLETED).rows.height == 0
    assert catalogue.page(snapshot, ACME, Asked(parse("srv-7")), life.now, Tab.COMPLETED).rows.height == 1


def test_what_stands_before_a_page_is_right_whatever_came_and_went_since_it_was_counted(life: Life) -> None:
    anything, kept = Anything(life, Random(5)), Catalogue(life.store)
    cuts: list[dict[str, Key | None]] = [{}]
    for _ in range(12):
        for _ in range(8):
            anything.act()
        snapshot = life.snapshot()
        for column, down in (("finished_at", True), ("started_at", False)):
            every = pages(partial(Catalogue.page, kept, snapshot, ACME, Asked(parse("-user:bob")), life.now, None,
                                  sort=column, descending=down, size=200))  # fmt: skip
            ids = [task_id for each in every for task_id in each.rows["task_id"]]
            for cut in list(cuts):
                ask = partial(Catalogue.page, snapshot=snapshot, place=ACME, asked=Asked(parse("-user:bob")),
                              now=life.now, at=None, sort=column, descending=down, size=3, **cut)  # fmt: skip
                page = ask(kept)
                there = page.rows["task_id"].to_list()
                assert ids[page.before : page.before + len(there)] == there
                assert ask(Catalogue(life.store)).before == page.before
                if column == "finished_at" and len(cuts) < 12:
                    cuts += [{"after": page.next}] * (page.next is not None)
                    cuts += [{"before": page.previous}] * (page.previous is not None)
    assert len(cuts) > 5


def test_a_day_is_that_of_the_asker_s_zone_whoever_asked_the_same_before(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.submit(1)
    life.live(100)
    snapshot = life.snapshot()
    day = "finished:2026-11-25"  # it is still the 24th in Europe

    def found(zone: str) -> int:
        return sum(catalogue.counts(snapshot, ACME, Asked(parse(day, zone)), life.now).ended)

    assert [found(zone) for zone in ("Europe/Berlin", "Pacific/Kiritimati", "UTC")] == [0, 1, 0]


def test_an_older_snapshot_is_counted_as_of_its_own_batch(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.submit(3)
    life.live(100)
    before = life.snapshot()
    then = catalogue.counts(before, ACME, EVERY, life.now)
    life.submit(5)
    life.live(200)
    now = catalogue.counts(life.snapshot(), ACME, EVERY, life.now)
    assert now.tabs[Tab.COMPLETED] == then.tabs[Tab.COMPLETED] + 5 == 8
    assert catalogue.counts(before, ACME, EVERY, life.now) == then
    assert catalogue.page(before, ACME, EVERY, life.now, Tab.COMPLETED).rows.height == 3


def test_system_tasks_and_hidden_ones_are_left_out_and_counted_unless_asked_for(life: Life) -> None:
    catalogue = Catalogue(life.store)
    (first, *_) = life.submit(4)
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"))
    life.live(300)
    snapshot = life.snapshot()
    rows = {row.task_id: row for row in life.store.rows("task_done", "task_id = ?", [first])}
    life.do(m.Delete([first], finished=rows))
    snapshot = life.snapshot()

    def completed(asked: Asked) -> tuple[int, int, int, int]:
        counts: Counts = catalogue.counts(snapshot, ACME, asked, life.now)
        page = catalogue.page(snapshot, ACME, asked, life.now, Tab.COMPLETED)
        at = Tab.COMPLETED
        return page.rows.height, counts.tabs[at], counts.system[at], counts.hidden[at]

    assert completed(Asked(parse(""))) == (3, 3, 1, 1)
    assert completed(Asked(parse(""), system=True)) == (4, 4, 1, 1)
    assert completed(Asked(parse(""), hidden=True)) == (4, 4, 1, 1)
    assert completed(EVERY) == (5, 5, 1, 1)
    assert completed(Asked(parse("type:query"))) == (1, 1, 1, 0)
    assert completed(Asked(parse("hidden:yes"))) == (1, 1, 0, 1)


@pytest.mark.parametrize("at", TABS)
def test_every_sort_that_a_tab_lists_cuts_the_same_pages_there_and_back(settled: Life, at: Tab) -> None:
    catalogue, snapshot, now = Catalogue(settled.store), settled.snapshot(), settled.now
    for column in SORTS[at]:
        for down in (True, False):
            ask = partial(catalogue.page, snapshot, ACME, EVERY, now, at, sort=column, descending=down, size=4)
            there = pages(ask)
            rows = pl.concat([page.rows for page in there])
            assert rows["task_id"].n_unique() == rows.height
            by = rows[column].str.to_lowercase() if rows.schema[column] == pl.String else rows[column]
            values = by.drop_nulls().to_list()
            assert values == sorted(values, reverse=down)
            assert by.head(len(values)).null_count() == 0  # empty ones come last
            assert [page.before for page in there] == list(range(0, max(rows.height, 1), 4))
            back = [there[-1]]
            while back[-1].previous is not None:
                back.append(ask(before=back[-1].previous))
            assert [page.rows["task_id"].to_list() for page in reversed(back)] == [
                page.rows["task_id"].to_list() for page in there
            ]


def test_rows_that_come_meanwhile_move_none_from_one_page_to_another(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.submit(30)
    life.live(700)
    first = catalogue.page(life.snapshot(), ACME, EVERY, life.now, Tab.COMPLETED, size=10)
    second = catalogue.page(life.snapshot(), ACME, EVERY, life.now, Tab.COMPLETED, size=10, after=first.next)
    life.submit(20)
    life.live(600)
    again = catalogue.page(life.snapshot(), ACME, EVERY, life.now, Tab.COMPLETED, size=10, after=first.next)
    assert again.rows["task_id"].to_list() == second.rows["task_id"].to_list()
    assert (second.before, again.before) == (10, 30)


def test_a_page_before_a_row_that_left_its_tab_is_still_found(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.do(m.SetService("Acme", "audit-1", "offline"), m.SetService("Acme", "audit-2", "offline"),
            m.SetService("Acme", "audit-3", "offline"))  # fmt: skip
    life.submit(12)
    snapshot = life.snapshot()
    first = catalogue.page(snapshot, ACME, EVERY, life.now, Tab.ACTIVE, size=5)
    assert first.next is not None
    life.do(m.Stop([first.next.task_id]))
    then = catalogue.page(life.snapshot(), ACME, EVERY, life.now, Tab.ACTIVE, size=5, after=first.next)
    rest = catalogue.page(snapshot, ACME, EVERY, life.now, Tab.ACTIVE, size=5, after=first.next)
    assert then.rows["task_id"].to_list() == rest.rows["task_id"].to_list()


def test_all_that_match_are_listed_for_an_action_whatever_page_is_shown(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.submit(60, owner="bob")
    life.submit(5, owner="ann")
    life.live(70)
    snapshot = life.snapshot()
    asked = Asked(parse("user:bob"))
    found = catalogue.matching(snapshot, ACME, asked, life.now, [Tab.ACTIVE, Tab.PROCESSING, Tab.COMPLETED])
    assert found["owner"].unique().to_list() == ["bob"]
    assert found.height == 60
    counts = catalogue.counts(snapshot, ACME, asked, life.now)
    only = catalogue.matching(snapshot, ACME, asked, life.now, [Tab.ACTIVE])
    assert only.height == counts.tabs[Tab.ACTIVE] > 0


def test_some_tasks_are_listed_for_an_action_whether_they_live_or_not(life: Life) -> None:
    catalogue = Catalogue(life.store)
    ended = life.submit(2)
    life.live(100)
    living = life.submit(2)
    (elsewhere,) = life.do(m.Submit([m.NewTask("Acme", "Oslo", Kind.AUDIT, "audit", "eve", "eve", "fjord")]))
    ids = [ended[0], living[0], int(elsewhere.changed[0]), 7]
    found = catalogue.those(life.snapshot(), BERLIN, ids)
    assert found["task_id"].to_list() == [living[0], ended[0]]
    assert found["status"].to_list() == ["Active", "Processed"]


def test_who_may_not_see_processors_can_neither_read_nor_find_one_by_name(life: Life) -> None:
    catalogue = Catalogue(life.store)
    life.submit(4)
    life.live(66)
    life.submit(2)
    life.live(62)
    masked, snapshot = Place("Acme", ("Berlin",), "a processor"), life.snapshot()
    for at in (Tab.PROCESSING, Tab.COMPLETED):
        named = catalogue.page(snapshot, BERLIN, EVERY, life.now, at).rows["processor"].drop_nulls().unique()
        assert named.to_list() == ["processor-1"]
        seen = catalogue.page(snapshot, masked, EVERY, life.now, at).rows["processor"].drop_nulls().unique()
        assert seen.to_list() == ["a processor"]
        by_name = Asked(parse("service:processor-1"), system=True, hidden=True)
        assert catalogue.page(snapshot, BERLIN, by_name, life.now, at).rows.height > 0
        assert catalogue.page(snapshot, masked, by_name, life.now, at).rows.height == 0
        assert catalogue.counts(snapshot, masked, by_name, life.now).tabs[at] == 0


def test_words_that_complete_a_filter_are_those_of_the_place(life: Life) -> None:
    life.submit(3, owner="bob")
    life.submit(1, owner="ann")
    life.do(m.Submit([m.NewTask("Acme", "Oslo", Kind.AUDIT, "audit", "eve", "eve", "fjord")]))
    life.live(400)
    life.snapshot()
    names = Catalogue(life.store).names(BERLIN)
    assert names["user"] == ["bob", "ann"]
    assert names["target"] == ["db-7"]
    assert set(Catalogue(life.store).names(ACME)["user"]) == {"ann", "bob", "eve"}


def test_a_sort_that_the_tab_does_not_list_is_refused_by_name(life: Life) -> None:
    snapshot = life.snapshot()
    with pytest.raises(Invalid, match="can't be sorted by “owner”; they can by finished_at"):
        Catalogue(life.store).page(snapshot, ACME, EVERY, life.now, Tab.COMPLETED, sort="owner")


@pytest.mark.parametrize("key", [Key(None, 5), Key(17, 1), Key("a.b/ü", 2), Key("", 3), Key(-4, 9)])
def test_a_key_survives_the_address_it_is_written_into(key: Key) -> None:
    assert Key.of(key.token()) == key


@pytest.mark.parametrize("token", ["", "x", "1", "1.", "1.q7", "1.i", "-1.n", "99999999999999999999.n", "1.i9" * 9,
                                   "1.s\ud800", "1.sa\0"])  # fmt: skip
def test_what_is_no_key_is_none(token: str) -> None:
    assert Key.of(token) is None


@pytest.mark.parametrize("at", [*TABS, None])
def test_a_key_of_another_sort_or_of_nowhere_counts_as_none(settled: Life, at: Tab | None) -> None:
    catalogue, snapshot, like = Catalogue(settled.store), settled.snapshot(), at or Tab.COMPLETED
    for sort in SORTS[like]:
        ask = partial(catalogue.page, snapshot, ACME, EVERY, settled.now, at, sort=sort, size=7)
        first = ask().rows["task_id"].to_list()
        text = sort not in ("number", "priority") and not sort.endswith("_at")
        for value in ("", "ABC", "'; drop table task", 2**63 - 1, -(2**63) + 1, 0, None):
            for way in ("after", "before"):
                page = ask(**{way: Key(value, 5)})
                if isinstance(value, str) is not text and value is not None and (text or isinstance(value, str)):
                    assert page.rows["task_id"].to_list() == first


def test_every_tab_can_be_sorted_as_it_first_is() -> None:
    assert all(FIRST[at][0] in SORTS[at] for at in TABS)


@pytest.mark.parametrize("tabs", [LIVE_TABS, TABS], ids=["unfinished", "all"])
@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("sort", TOGETHER)
def test_several_tabs_in_one_list_are_paged_in_one_order_forwards_and_backwards(
    settled: Life, sort: str, down: bool, tabs: tuple[Tab, ...]
) -> None:
    catalogue, snapshot, now = Catalogue(settled.store), settled.snapshot(), settled.now
    ask = partial(catalogue.together, snapshot, ACME, EVERY, now, tabs, sort=sort, descending=down, size=7)
    forwards = pages(ask)
    rows = pl.concat([page.rows for page in forwards], how="diagonal")
    total = sum(catalogue.counts(snapshot, ACME, EVERY, now).tabs[at] for at in tabs)
    assert rows["task_id"].n_unique() == rows.height == total > 20
    value = pl.col(sort).str.to_lowercase() if sort != "created_at" else pl.col(sort)
    assert rows["task_id"].to_list() == rows.sort([value, "task_id"], descending=down)["task_id"].to_list()
    assert [page.before for page in forwards] == list(range(0, total, 7))
    page, back = forwards[-1], [forwards[-1]]
    while page.previous is not None:
        page = ask(before=page.previous)
        back.insert(0, page)
        assert len(back) <= len(forwards)
    assert [p.rows["task_id"].to_list() for p in back] == [p.rows["task_id"].to_list() for p in forwards]
    assert [p.before for p in back] == [p.before for p in forwards]
    assert all(p.next is not None for p in back[:-1])


def test_several_tabs_in_one_list_are_sorted_by_nothing_else_and_a_key_of_another_sort_counts_as_none(
    life: Life
) -> None:
    life.submit(3)
    catalogue, snapshot = Catalogue(life.store), life.snapshot()
    with pytest.raises(Invalid, match="created_at, owner, kind"):
        catalogue.together(snapshot, ACME, EVERY, life.now, TABS, sort="target")
    page = catalogue.together(snapshot, ACME, EVERY, life.now, TABS, sort="owner", after=Key(5, 1))
    assert page.rows.height == 3
