"""What a report finds is worked out when it ends, by the assets as they are then, and read by those who may see it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from engine import messages as m
from engine import verify
from engine.clock import DAY, HOUR, SECOND
from engine.console import STORE, Console
from engine.errors import NotAllowed
from engine.fleet import load
from engine.ledger import AssetSeen, Detail, ReportResult
from engine.lifecycle import COMPARISON, EXTERNAL, OUTLIERS, OVERVIEW, REPORTS
from engine.roles import EVERYTHING, Grant, Grants, Role
from engine.seeding import seed
from engine.sight import Sight
from engine.simulated import Simulated
from engine.store import Store

T = TypeVar("T")

NOW = 1_780_000_000 * SECOND

# --- the simulated fleet

WORLD = """
[kinds.report]
process = { median_s = 60, sigma = 0.1 }

[businesses.acme]
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 6 }]
targets = [{ name = "srv", kind = "device" }]
"""


SEEN = AssetSeen("acme", "berlin", "x", "x", "server", NOW, True, None)


def figures(result: Detail) -> dict[str, Any]:
    return {figure["label"]: figure["value"] for figure in result["figures"]}


def rows(result: Detail, title: str) -> list[list[Any]]:
    (found,) = [table for table in result["tables"] if table["title"] == title]
    return list(found["rows"])


def order(lease: int, name: str, kind: str = "report") -> m.StartOrder:
    return m.StartOrder("simulated", "acme", "berlin", "proc-1", lease, lease, "process", kind, None, 0, 0.0, name)


def told(world: Simulated) -> list[m.Report]:
    inputs = [one for n in range(60) for one in world.step(NOW + (n + 1) * 10 * SECOND)]
    return [one for one in inputs if isinstance(one, m.Finished | m.Failed)]


def test_what_a_report_finds_is_worked_out_when_it_ends_and_never_for_a_query() -> None:
    world = Simulated(load(WORLD), seed=1, tells_progress=False)
    asked: list[tuple[str, int]] = []

    def analyst(order: m.StartOrder, now: int) -> tuple[Detail, list[AssetSeen]]:
        asked.append((order.name, now))
        return {"n": order.lease}, [SEEN._replace(seen_at=now)]

    world.analyst = analyst
    world.step(NOW)
    world.give([order(1, EXTERNAL), order(2, "Query", "query")])
    world.settle(NOW)
    ended = {report.lease: report for report in told(world)}
    ((name, at),) = asked
    assert (name, at > NOW + 30 * SECOND) == (EXTERNAL, True)
    assert ended[1] == m.Finished(1, 1, result={"n": 1}, assets=[SEEN._replace(seen_at=at)])
    assert ended[2] == m.Finished(2, 2)


def test_a_report_that_cannot_be_worked_out_fails_and_takes_no_other_along() -> None:
    world = Simulated(load(WORLD), seed=1, tells_progress=False)

    def analyst(order: m.StartOrder, now: int) -> tuple[Detail, tuple[AssetSeen, ...]]:
        if order.lease == 1:
            raise ValueError("the disk is gone")
        return {}, ()

    world.analyst = analyst
    world.step(NOW)
    world.give([order(1, OVERVIEW), order(2, OVERVIEW)])
    world.settle(NOW)
    ended = {report.lease: report for report in told(world)}
    assert ended == {1: m.Failed(1, 1, "error", "It could not be worked out: the disk is gone"),
                     2: m.Finished(2, 2, result={})}  # fmt: skip


# --- a running console

FLEET = """
[kinds.report]
failure = 0
process = { median_s = 2, sigma = 0.1 }

[kinds.outlier]
failure = 0
process = { median_s = 2, sigma = 0.1 }

[kinds.scan]
failure = 0
hung = 0
changes = { new = 3, changed = 3, online = 2, offline = 1 }

[kinds.connector]
failure = 0
changes = { new = 2, changed = 2 }

[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "explorer-1", role = "explorer", slots = 2 },
  { name = "zone-1", role = "hosted_zone", slots = 4 },
]
targets = [
  { name = "10.0.0.0/24 office", kind = "segment", assets = 40, types = ["workstation", "printer"] },
  { name = "Azure", kind = "cloud", assets = 20 },
  { name = "srv", kind = "device", count = 5 },
]
mix.scan = { per_hour = 600, collect = { median_s = 1, sigma = 0.2 }, process = { median_s = 1, sigma = 0.1 } }
mix.connector = { per_hour = 300, collect = { median_s = 1, sigma = 0.2 }, process = { median_s = 1, sigma = 0.1 } }

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 5 }]
"""
USER, CHIEF = [Grant(Role.SITE_USER, "Acme", "Berlin")], [Grant(Role.BUSINESS_ADMIN, "Acme")]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (folder / "fleet.toml").write_text(FLEET)
    one = Console(folder).start(wait=True)
    soon(lambda: known(one, "type = 'printer'") > 3 and known(one, "type = 'cloud host'") > 5)
    yield one
    one.close()


def known(console: Console, which: str) -> int:
    """Count the assets of a sort that the console knows."""
    assert console.engine is not None
    return int(console.engine.store.read(f"select count(*) from asset where {which}").item())


def soon(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time"
        time.sleep(0.1)
    return found


def see(console: Console, grants: Grants) -> Sight:
    assert console.watch is not None
    return Sight(console.watch, grants)


def make(console: Console, report: str, site: str = "Berlin") -> ReportResult:
    """Start a report and wait for what it finds."""
    engine = console.engine
    assert engine is not None
    command = m.Command(f"{uuid4()}", "ann", m.StartReport("Acme", site, report), CHIEF)
    (task_id,) = engine.do(command).result(20).changed
    return soon(lambda: see(console, CHIEF).result("Acme", site, int(task_id)))


def test_what_a_report_finds_is_what_the_asset_table_says(console: Console) -> None:
    assert console.engine is not None
    before = known(console, "true")
    found = make(console, OVERVIEW)
    after = known(console, "true")
    assert (found.created_by, found.site) == ("ann", None)
    assert before <= figures(found.result)["Assets"] <= after
    outside = make(console, EXTERNAL)
    assert 5 < figures(outside.result)["External assets"] <= known(console, "type = 'cloud host'")
    assert {row[2] for row in rows(outside.result, "External assets")} == {"cloud host"}
    addresses = console.engine.store.read("select target from asset where name like 'office-%'")["target"].to_list()
    assert addresses
    assert all(re.fullmatch(r"10\.0\.0\.\d+", address) for address in addresses)


def test_an_outlier_calculation_writes_the_scores_that_assets_show(console: Console) -> None:
    assert console.engine is not None
    found = make(console, OUTLIERS)
    assert known(console, "outlier_score is not null") >= figures(found.result)["Assets scored"] > 8
    sight = see(console, USER)
    page = soon(lambda: (at := sight.assets("Acme", "Berlin", size=10)).rows["outlier_score"][0] is not None and at)
    told = page.rows["outlier_score"].to_list()
    assert told == sorted(told, reverse=True)
    printers = sight.assets("Acme", "Berlin", search="PRINTER", sort="name", descending=False)
    assert set(printers.rows["type"]) == {"printer"}
    assert printers.rows["name"].to_list() == sorted(printers.rows["name"])


def test_whoever_sees_but_a_site_reads_the_results_of_that_site_only(console: Console) -> None:
    whole, berlin, oslo = make(console, COMPARISON), make(console, EXTERNAL), make(console, OUTLIERS, "Oslo")
    user, chief = see(console, USER), see(console, CHIEF)
    assert user.result("Acme", "Berlin", berlin.task_id) == berlin
    for other in (whole, oslo):
        assert user.result("Acme", "Berlin", other.task_id) is None
        assert not user.has_result("Acme", "Berlin", other.task_id)
    assert chief.result("Acme", "Oslo", oslo.task_id) == oslo
    assert chief.result("Acme", "Oslo", whole.task_id) == whole
    assert chief.result("Acme", "Oslo", berlin.task_id) is None, "of another site than the chosen one"

    def listed(sight: Sight) -> set[int]:
        return {one["task_id"] for one in sight.results("Acme", "Berlin")}

    soon(lambda: listed(chief) >= {whole.task_id, berlin.task_id} and berlin.task_id in listed(user))
    assert {one["site"] for one in user.results("Acme", "Berlin")} == {"Berlin"}


@pytest.mark.parametrize(
    "read",
    [
        lambda sight, *place: sight.assets(*place),
        lambda sight, *place: sight.results(*place),
        lambda sight, *place: sight.result(*place, 1),
        lambda sight, *place: sight.reports_at_work(*place),
    ],
)
def test_every_read_about_another_site_is_refused(console: Console, read: Callable[..., object]) -> None:
    read(see(console, USER), "Acme", "Berlin")
    for place in (("Acme", "Oslo"), ("Nowhere", "Nothing")):
        with pytest.raises(NotAllowed):
            read(see(console, USER), *place)


def test_what_is_under_way_is_told_to_whoever_will_see_its_result(console: Console) -> None:
    engine = console.engine
    assert engine is not None
    offline = m.SetService("Acme", "proc-1", "offline")
    engine.do(m.Command(f"{uuid4()}", "ann", offline, EVERYTHING)).result(20)
    try:
        for site, report in (("Berlin", OVERVIEW), ("Berlin", EXTERNAL), ("Oslo", OUTLIERS)):
            engine.do(m.Command(f"{uuid4()}", "ann", m.StartReport("Acme", site, report), CHIEF)).result(20)

        def names(grants: Grants, site: str) -> list[str]:
            return [task["name"] for task in see(console, grants).reports_at_work("Acme", site)]

        soon(lambda: sorted(names(CHIEF, "Berlin")) == sorted([OVERVIEW, EXTERNAL]))
        soon(lambda: sorted(names(CHIEF, "Oslo")) == sorted([OVERVIEW, OUTLIERS]))
        assert names(USER, "Berlin") == [EXTERNAL]
    finally:
        engine.do(m.Command(f"{uuid4()}", "ann", m.SetService("Acme", "proc-1", "online"), EVERYTHING)).result(20)


def test_a_console_that_has_made_reports_leaves_a_store_without_a_fault(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 0\nfleet_speed = 10.0\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    one = Console(tmp_path).start(wait=True)
    try:
        soon(lambda: known(one, "true") > 5)
        for report in (*REPORTS, OUTLIERS):
            make(one, report)
    finally:
        one.close()
    with Store.open(tmp_path / STORE) as store:
        assert verify.check(store) == []
        found = {row.name: row for row in store.rows("report_result")}
        assert {OVERVIEW, COMPARISON, EXTERNAL, OUTLIERS} <= set(found)
        assert figures(found[OUTLIERS].result)["Assets scored"] == found[OUTLIERS].result["assets"]


def test_a_history_brings_scores_and_the_results_of_its_last_day(tmp_path: Path) -> None:
    fleet = FLEET.replace("per_hour = 600", "per_hour = 60").replace("per_hour = 300", "per_hour = 30")
    more = "mix.report = { per_hour = 4 }\nmix.outlier = { per_hour = 2 }\n"
    fleet = fleet.replace("mix.connector", f"{more}mix.connector")
    seed(tmp_path, load(fleet), days=2, tasks=0, seed=3, now=NOW, progress=lambda *_: None)
    with Store.open(tmp_path) as store:
        found = store.rows("report_result")
        assert {row.name for row in found} == {OVERVIEW, COMPARISON, EXTERNAL, OUTLIERS}
        assert min(row.made_at for row in found) >= NOW - DAY
        assert min(row.made_at for row in found) < NOW - 20 * HOUR
        score, unscored = store.read(
            "select max(outlier_score), count(*) filter (outlier_score is null) from asset where site = 'Berlin'"
        ).row(0)
        assert 0 < score <= 10
        assert unscored < 5, "but for those that came last"
        last = max((row for row in found if row.name == OVERVIEW), key=lambda row: row.made_at)
        assert figures(last.result)["Assets"] == last.result["assets"] > 50
        names = store.read("select distinct kind, name, initiator from task where kind in ('report', 'outlier')").rows()
        assert {name for _, name, _ in names} == {OVERVIEW, COMPARISON, EXTERNAL, OUTLIERS}
        assert {initiator for _, _, initiator in names} == {"System"}
