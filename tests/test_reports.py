"""Reports say what the assets say, the outlier score picks the odd one out, and what was found is kept for good."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from math import log2
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest

from engine import inventory, reports, verify
from engine import messages as m
from engine.clock import DAY, SECOND, Reading
from engine.errors import NotFound
from engine.ledger import AssetSeen, Detail, ReportResult, Rows, digest
from engine.lifecycle import COMPARISON, EXTERNAL, OUTLIERS, OVERVIEW, REPORTS, Kind, own_name
from engine.recurrence import Rule
from engine.reports import Scope
from engine.roles import Grant, Role
from engine.store import Store
from tests.desk import PROCESSOR, SITE, START, Desk

T = TypeVar("T")

NOW = 1_780_000_000 * SECOND
MIDDAY = datetime(2026, 5, 28, 20, 26, 40)  # noqa: DTZ001  # NOW, as the table has it
SCOPE = Scope("Acme", None, ["Berlin", "Oslo", "Rome"], NOW)
BERLIN = Scope("Acme", "Berlin", ["Berlin"], NOW)
HOLIDAY = "printer-1"


def asset(
    name: str, target: str, kind: str = "server", site: str = "Berlin", *, online: bool = True, first: float = 100,
    last: float = 0, score: float | None = None,
) -> tuple[Any, ...]:
    """An asset that was first and last seen so many days ago."""
    seen = MIDDAY - timedelta(days=first), MIDDAY - timedelta(days=last)
    return "Acme", site, target, name, kind, online, score, *seen


def table(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), reports.SCHEMA, orient="row")


FEW = table(
    asset("a", "10.0.0.1", first=2, score=7.5),
    asset("b", "10.0.0.2", online=False, first=20, last=8, score=1.0),
    asset("c", "10.0.1.1", "printer", score=2.0),
    asset("d", "10.0.1.2", "printer", online=False, last=31),
    asset("e", "8.8.4.4", "router", "Oslo", first=6.9, score=5.0),
    asset("f", "2a00:1450::5", "router", "Oslo", first=29, last=29),
    asset("g", "fd00::5", "router", "Oslo", online=False, last=40, score=0.0),
    asset("h", "eu-host-007", "Cloud host", "Oslo", last=7),
)


def figures(result: Detail) -> dict[str, Any]:
    return {figure["label"]: figure["value"] for figure in result["figures"]}


def rows(result: Detail, title: str) -> list[list[Any]]:
    (found,) = [table for table in result["tables"] if table["title"] == title]
    return list(found["rows"])


# --- the three reports, by hand


def test_the_overview_counts_by_type_and_site_what_is_new_what_is_gone_and_who_stands_out() -> None:
    result = reports.overview(FEW, SCOPE)
    assert (result["report"], result["business"], result["site"], result["made_at"]) == (OVERVIEW, "Acme", None, NOW)
    assert figures(result) == {
        "Assets": 8, "Online": 0.625, "New in 7 days": 2, "Not seen for 30 days": 2, "Outliers": 2,
    }  # fmt: skip
    assert rows(result, "Assets by type") == [
        ["router", 3, 0.375, 2, 1], ["printer", 2, 0.25, 1, 1], ["server", 2, 0.25, 1, 1],
        ["Cloud host", 1, 0.125, 1, 0],
    ]  # fmt: skip
    assert rows(result, "Assets by site") == [  # assets, share, online, offline, new in 7 and in 30 days, gone
        ["Berlin", 4, 0.5, 2, 2, 1, 2, 1], ["Oslo", 4, 0.5, 3, 1, 1, 2, 1], ["Rome", 0, 0, 0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert [row[0] for row in rows(result, "Top outliers")] == ["a", "e", "c", "b"]
    assert [row[0] for row in rows(result, "Newest assets")] == ["a", "e"]
    assert [row[0] for row in rows(result, "Not seen for 30 days")] == ["g", "d"]


def test_the_comparison_puts_sites_beside_each_other_and_all_of_them_below() -> None:
    result = reports.comparison(FEW, SCOPE)
    assert figures(result) == {
        "Sites": 3, "Assets": 8, "Online": 0.625, "Seen in 7 days": 0.5, "Median outlier score": 2.0,
    }  # fmt: skip
    assert rows(result, "Sites side by side") == [
        # assets, online, coverage, new in 7 and in 30 days, gone, types, median and highest score
        ["Berlin", 4, 0.5, 0.5, 1, 2, 1, 2, 2.0, 7.5],
        ["Oslo", 4, 0.75, 0.5, 1, 2, 1, 2, 2.5, 5.0],
        ["Rome", 0, None, None, 0, 0, 0, 0, None, None],
        ["All of Acme", 8, 0.625, 0.5, 2, 4, 2, 4, 2.0, 7.5],
    ]
    types = {row[0]: row[1:] for row in rows(result, "Types by site")}
    assert types == {  # in all, at Berlin, Oslo, Rome
        "router": [3, 0, 3, 0], "printer": [2, 2, 0, 0], "server": [2, 2, 0, 0], "Cloud host": [1, 0, 1, 0],
    }  # fmt: skip


def test_what_can_be_reached_from_outside_has_a_public_address_or_is_in_a_cloud() -> None:
    result = reports.external(FEW.filter(pl.col("site") == "Oslo"), Scope("Acme", "Oslo", ["Oslo"], NOW))
    assert figures(result) == {
        "External assets": 3, "Public addresses": 2, "In a cloud": 1, "Online": 3, "Not seen for 7 days": 1,
    }  # fmt: skip
    found = rows(result, "External assets")
    assert [row[0] for row in found] == ["e", "f", "h"]
    assert [row[4] for row in found] == ["public address", "public address", "in a cloud"]
    assert found[0][6] == NOW, "when it was last seen"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("10.1.2.3", False), ("172.16.0.1", False), ("172.32.0.1", True),
        ("192.168.0.1", False), ("192.169.0.1", True), ("169.254.1.1", False), ("127.0.0.1", False), ("0.0.0.0", False),
        ("100.64.0.1", False), ("203.0.113.7", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False),
        ("fe80::1", False), ("fd12::1", False), ("2001:db8::1", False), ("ber-srv-01", False), ("8.8.8", False),
        ("8.8.8.8.8", False), ("999.1.1.1", False), ("", False), ("dead.beef", False), ("8.8.8.8/24", False),
    ],
)  # fmt: skip
def test_an_address_is_public_where_the_internet_can_reach_it(address: str, public: bool) -> None:
    assert table(asset("x", address)).select(reports.public("target")).item() is public


# --- the outlier score


def crowd(n: int = 400, site: str = "Berlin") -> list[tuple[Any, ...]]:
    """Workstations and phones in two blocks, nearly all online, of the same week."""
    return [
        asset(f"h{i}", f"10.0.{i % 2}.{i // 2}", ("workstation", "phone")[i % 2], site, online=i % 10 > 0)
        for i in range(n)
    ]


def scores(assets: pl.DataFrame) -> dict[str, float]:
    return dict(reports.scored(assets).select("name", "score").rows())


@pytest.mark.parametrize(
    "odd",
    [
        asset(HOLIDAY, "10.0.0.250", "printer"),
        asset(HOLIDAY, "172.20.9.9", "workstation"),
        asset(HOLIDAY, "10.0.0.250", "phone"),  # of a common type, where there are but workstations
        asset(HOLIDAY, "10.0.0.250", "workstation", first=1),
    ],
)
def test_the_odd_one_out_scores_highest(odd: tuple[Any, ...]) -> None:
    found = scores(table(*crowd(), odd))
    assert max(found, key=lambda name: found[name]) == HOLIDAY
    assert found[HOLIDAY] > 3 + sorted(found.values())[-2]


def test_scores_lie_between_0_and_10_and_stay_the_same_in_any_order() -> None:
    chance = random.Random(3)
    assets = [
        asset(f"h{i}", chance.choice(("10.0.0.", "x-", "2a00::", "")) + str(i), chance.choice("abcdefgh"),
              chance.choice(("Berlin", "Oslo")), online=chance.random() < 0.9, first=chance.uniform(0, 300))
        for i in range(2_000)
    ]  # fmt: skip
    found = scores(table(*assets))
    assert min(found.values()) == 0
    assert 3 < max(found.values()) <= 10
    assert all(round(score, 1) == score for score in found.values())
    chance.shuffle(assets)
    assert scores(table(*assets)) == found


def test_nobody_stands_out_where_all_are_alike_and_nobody_at_all_has_no_score() -> None:
    alike = table(*[asset(f"h{i}", f"10.0.0.{i}") for i in range(50)])
    assert set(scores(alike).values()) == {0.0}
    assert set(scores(table(asset("alone", "10.0.0.1"))).values()) == {0.0}
    assert scores(table()) == {}


def test_peers_are_those_of_the_same_site() -> None:
    here, elsewhere = crowd(100), crowd(100, "Oslo")
    odd = asset(HOLIDAY, "10.0.0.250", "printer")
    more = [asset(f"p{i}", f"10.0.0.{i + 100}", "printer", "Oslo") for i in range(100)]
    assert scores(table(*here, odd))[HOLIDAY] == scores(table(*here, odd, *elsewhere, *more))[HOLIDAY] > 5


def test_a_score_is_worked_out_as_the_module_says() -> None:
    assets = table(*[asset(f"h{i}", f"10.0.0.{i}") for i in range(15)], asset(HOLIDAY, "10.0.9.1", online=False))
    rare, common = 2 * log2(16), 2 * log2(16 / 15)  # by its place and its state
    usual = (rare + 15 * common) / 16
    assert scores(assets)[HOLIDAY] == round(10 * (1 - 2 ** (-(rare - usual) / 4)), 1)


def test_the_calculation_tells_what_sets_an_asset_apart_and_hands_back_only_the_scores_that_changed() -> None:
    assets = table(*crowd(), asset(HOLIDAY, "10.0.0.250", "printer", online=False, last=3))
    result, seen = reports.outliers(assets, BERLIN)
    assert figures(result)["Assets scored"] == figures(result)["Changed"] == len(seen) == 401
    first = rows(result, "Least like their peers")[0]
    assert first[0] == HOLIDAY
    assert "printer in 10.0.0: 1 of 401" in first[-1]
    assert "offline: 41 of 401" in first[-1]
    assert sum(row[1] for row in rows(result, "How scores are spread")) == 401
    told = {one.name: one for one in seen}[HOLIDAY]
    assert (told.seen_at, told.online, told.outlier_score) == (NOW - 3 * DAY, False, scores(assets)[HOLIDAY])
    again = reports.scored(assets).with_columns(outlier_score="score").select(reports.SCHEMA.names())
    result, seen = reports.outliers(again, BERLIN)
    assert (seen, figures(result)["Changed"]) == ([], 0)


# --- what is kept


@pytest.mark.parametrize("made", [reports.overview, reports.comparison, reports.external,
                                  lambda assets, scope: reports.outliers(assets, scope)[0]])  # fmt: skip
def test_a_result_is_plain_json_however_little_and_however_much_there_is(
    made: Callable[[pl.DataFrame, Scope], Detail]
) -> None:
    long = "name" * 30
    many = [
        asset(f"{long}{i}", f"{8 + i % 3}.8.{i // 256 % 256}.{i % 256}", f"cloud {long} {i}", f"site {i % 40}",
              first=i % 40, last=i % 35, score=i % 10)
        for i in range(8_000)
    ]  # fmt: skip
    for assets in (table(), FEW, table(*many)):
        result = made(assets, SCOPE)
        text = json.dumps(result, allow_nan=False)
        assert json.loads(text) == result
        assert len(text.encode()) <= reports.MOST_BYTES
        for one in result["tables"]:
            assert all(len(row) == len(one["columns"]) for row in one["rows"])
            assert one["left_out"] >= 0
    if made is reports.external:
        listed = result["tables"][1]
        assert len(listed["rows"]) + listed["left_out"] == 8_000, "no list is cut in silence"


def test_a_table_goes_out_as_csv_that_no_spreadsheet_takes_for_formulas() -> None:
    evil = table(asset('=HYPERLINK("http://x")', "8.8.8.8", 'a "quoted", type', first=1, last=1))
    found = reports.external(evil, BERLIN)["tables"][1]
    head, line = reports.as_csv(found).splitlines()
    assert head == "Asset,Address,Type,Online,Why,First seen,Last seen,Outlier score"
    assert line == (
        '"\'=HYPERLINK(""http://x"")",8.8.8.8,"a ""quoted"", type",yes,public address,2026-05-27T20:26:40Z,'
        "2026-05-27T20:26:40Z,"
    )


def test_names_are_the_systems_own() -> None:
    assert REPORTS == (
        "Organization overview report", "Site and organization comparison", "External assets report",
    )  # fmt: skip
    assert own_name(Kind.OUTLIER, "Outliers at night") == "Outlier calculation"
    assert own_name(Kind.QUERY, "x") == "Query"
    assert own_name(Kind.REPORT, "Weekly", EXTERNAL) == EXTERNAL
    assert own_name(Kind.REPORT, "Weekly") == OVERVIEW
    assert own_name(Kind.SCAN, "Weekly") == "Weekly"


# --- the core


def started(desk: Desk, report: str) -> int:
    desk.wait(1, m.StartReport(*SITE, report))
    assert desk.outcomes[-1].refused is None
    return int(desk.outcomes[-1].changed[0])


@pytest.mark.parametrize(
    ("report", "kind", "site"),
    [(OVERVIEW, "report", None), (COMPARISON, "report", None), (EXTERNAL, "report", "berlin"),
     (OUTLIERS, "outlier", "berlin")],
)  # fmt: skip
def test_a_report_is_a_system_task_and_its_result_is_of_what_it_is_on(report: str, kind: str, site: str | None) -> None:
    desk = Desk(PROCESSOR)
    task = started(desk, report)
    (order,) = [order for order in desk.orders if isinstance(order, m.StartOrder)]
    assert (order.name, order.kind, order.stage) == (report, kind, "process")
    found = {"report": report, "n": 3}
    step = desk.wait(2, desk.finished(task)._replace(result=found))
    row = desk.row(task)
    assert (row.name, row.kind, row.initiator, row.owner, row.created_by) == (report, kind, "System", "System", "ann")
    assert row.scope == (site or "acme")
    (result,) = step.rows.report_result
    assert result == ReportResult(task, "acme", site, report, "ann", row.finished_at or 0, found)
    assert desk.events(task, "finish")[0].detail == {"digest": digest(found)}


def test_a_result_that_comes_while_its_task_is_being_stopped_is_kept() -> None:
    desk = Desk(PROCESSOR)
    task = started(desk, EXTERNAL)
    finished = desk.finished(task)._replace(result={"n": 1})
    desk.wait(1, m.Stop([task]))
    desk.wait(1, finished)
    assert desk.row(task).reason == "finished_before_stop"
    assert [result.result for result in desk.rows.report_result] == [{"n": 1}]


def test_a_result_under_an_old_lease_is_not_kept() -> None:
    desk = Desk(PROCESSOR)
    task = started(desk, EXTERNAL)
    desk.wait(1, m.Finished(task, desk.lease(task) - 1, result={"n": 1}))
    assert desk.rows.report_result == []


def test_who_may_start_what_is_decided_by_the_engine() -> None:
    def outcome(report: str, *grants: Grant) -> m.Outcome:
        desk = Desk(PROCESSOR)
        command = m.Command("r", "sid", m.StartReport(*SITE, report), grants)
        (told,) = desk.core.step(Reading(START + SECOND, SECOND), [command]).outcomes
        return told[1]

    business, site = Grant(Role.BUSINESS_ADMIN, "acme"), Grant(Role.SITE_ADMIN, *SITE)
    for report in (*REPORTS, OUTLIERS):
        assert outcome(report, business).changed
        assert "may not" in (outcome(report, Grant(Role.SITE_USER, *SITE)).refused or "")
        assert "may not" in (outcome(report, Grant(Role.SITE_ADMIN, "acme", "oslo")).refused or "")
        assert "may not" in (outcome(report, Grant(Role.BUSINESS_ADMIN, "globex")).refused or "")
    for report in (EXTERNAL, OUTLIERS):
        assert outcome(report, site).changed
    for report in (OVERVIEW, COMPARISON):
        assert "acme" in (outcome(report, site).refused or "")
    assert "did you mean “External assets report”" in (outcome("External asset report", business).refused or "")


def test_a_report_that_there_is_none_of_is_refused_and_never_made_as_another() -> None:
    desk = Desk(PROCESSOR)
    rule = Rule.interval(60, 0)
    new = m.NewTask(*SITE, Kind.REPORT, "Organisation overview report", "ann", "ann")
    sites = m.ScheduleSpec("Every Monday", *SITE, Kind.REPORT, rule, "ann", target="the boss")
    desk.wait(1, m.Submit([new]), m.CreateSchedule(sites), m.Submit([new._replace(name=EXTERNAL)]))
    submitted, created, fine = desk.outcomes[-3:]
    assert submitted.refused == (
        "There is no report “Organisation overview report”; did you mean “Organization overview report”?"
    )
    assert OVERVIEW in (created.refused or "")
    assert fine.refused is None
    with pytest.raises(NotFound, match="There is no report “Monthly”"):
        reports.analyse(Kind.REPORT, "Monthly", FEW, SCOPE)


def test_a_report_that_is_being_made_is_not_started_once_more_from_wherever() -> None:
    desk = Desk()
    desk.wait(1, m.AddSite("acme", "oslo"))
    starts = [
        m.StartReport(*SITE, OVERVIEW), m.StartReport("acme", "oslo", OVERVIEW), m.StartReport(*SITE, EXTERNAL),
        m.StartReport("acme", "oslo", EXTERNAL), m.StartReport("acme", "oslo", EXTERNAL),
    ]  # fmt: skip
    desk.wait(1, *starts)
    told = [outcome.refused for outcome in desk.outcomes[-5:]]
    assert told == [None, "It is being made already, by Report #1", None, None,
                    "It is being made already, by Report #3"]  # fmt: skip
    desk.wait(1, m.Stop([*desk.core.state.tasks]))
    desk.wait(1, m.StartReport(*SITE, OVERVIEW))
    assert desk.outcomes[-1].refused is None


def test_a_report_is_not_renamed_into_none() -> None:
    desk = Desk()
    task = desk.submit(Kind.REPORT)
    desk.wait(1, m.Edit(task, 1, {"name": "Mine"}), m.Edit(task, 1, {"name": COMPARISON}))
    assert (desk.outcomes[-2].refused, desk.outcomes[-1].changed) == ("There is no report “Mine”", [task])


def test_a_schedules_runs_of_a_system_kind_bear_the_systems_name() -> None:
    desk = Desk(PROCESSOR)
    rule = Rule.interval(60, 0)
    specs = [
        m.ScheduleSpec("Every minute", *SITE, Kind.OUTLIER, rule, "ann"),
        m.ScheduleSpec("Boss wants it", *SITE, Kind.REPORT, rule, "ann", target=COMPARISON),
    ]
    desk.wait(1, *map(m.CreateSchedule, specs))
    desk.wait(61)
    names = {(task.name, task.initiator) for task in desk.core.state.tasks.values()}
    assert names == {(OUTLIERS, "Schedule"), (COMPARISON, "Schedule")}


# --- the store


def seen(target: str, at: int, *, online: bool = True, score: float | None = None) -> AssetSeen:
    return AssetSeen("acme", "berlin", target, target, "server", at, online, score)


def kept(store: Store) -> dict[str, tuple[Any, ...]]:
    found = store.read("select target, online, outlier_score, epoch_us(last_seen_at) from asset").rows()
    return {target: rest for target, *rest in found}


@pytest.mark.parametrize("together", [True, False])
def test_a_score_neither_undoes_a_later_sight_nor_is_undone_by_one(tmp_path: Path, together: bool) -> None:
    sights = [
        seen("a", NOW), seen("b", NOW),
        seen("a", NOW + 5, online=False), seen("a", NOW, score=4.0),  # calculated of what was known before
        seen("b", NOW, score=2.0), seen("b", NOW + 5, online=False),
    ]  # fmt: skip
    with Store.open(tmp_path) as store:
        for rows in [sights] if together else [[one] for one in sights]:
            store.commit(store.batch + 1, NOW + 10, Rows(asset=rows))
        assert kept(store) == {"a": [False, 4.0, NOW + 5], "b": [False, 2.0, NOW + 5]}


def test_a_result_is_there_after_a_restart_and_in_a_backup_and_hidden_from_no_check(tmp_path: Path) -> None:
    desk = Desk(PROCESSOR)
    task = started(desk, OVERVIEW)
    found = {"report": OVERVIEW, "text": "Ünïcødé 漢 'x' \"y\" \u2028", "rows": [[1, 2.5, None, True]]}
    desk.wait(2, desk.finished(task)._replace(result=found))
    with Store.open(tmp_path / "store") as store:
        store.commit(1, desk.rows.task_event[-1].occurred_at + 1, desk.rows)
    with Store.open(tmp_path / "store") as store:
        kept = inventory.result(store, task)
        assert kept is not None
        assert (kept.result, kept.name, kept.site) == (found, OVERVIEW, None)
        assert store.broken_link() is None
        store.copy_to(tmp_path / "backup")
    with Store.open(tmp_path / "backup", rebase=True) as store:
        assert inventory.result(store, task) == kept
        assert verify.check(store) == []
        with store.transaction() as cursor:
            cursor.execute("update report_result set result = replace(result::varchar, '2.5', '3.5')").fetchall()
        (finding,) = verify.check(store)
        assert finding.check == "results"
        assert "not the one that its end tells of" in finding.what
