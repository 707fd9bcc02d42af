"""What pages, API and CLI read: the same whether a console runs or the store is at rest, and equal to what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine import history, imports, joblogs, looks, rollups, standing
from engine import messages as m
from engine.clock import DAY, HOUR, MINUTE, SECOND
from engine.ledger import Rows
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.store import Store

from .health_fixtures import NOON, Life

FLOW = ("arrived", "departed", "process_arrived", "process_departed")
SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def us(frame: pl.DataFrame, column: str) -> list[int | None]:
    return frame[column].dt.epoch("us").to_list()


def eventful(life: Life) -> None:
    """A busy hour: a full site, holds in force and to come, a host lost, one draining, one with more slots."""
    life.length = lambda order: 900.0
    life.submit(20)
    life.submit(3, Kind.SCAN, target="segment-1")
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"))
    life.live(600)
    life.do(
        m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Too many audits", until_at=life.now + HOUR),
        m.PlaceHolds(None, [m.HoldTarget("kind", "import")], "Maintenance", from_at=life.now + HOUR),
        m.SetService("Acme", "audit-3", "draining"),
        m.SetService("Acme", "processor-1", slots=5),
    )
    (lifted,) = life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "eve")], "By mistake"))
    life.do(m.LiftHolds([int(hold) for hold in lifted.changed]))
    life.submit(4, owner="bob")
    life.silent.add("audit-1")
    life.live(1300)
    task = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Later", "ann", "ann", due_at=life.now + HOUR)
    life.do(m.Submit([task]), m.RefreshWidget("Acme", "Berlin", "Open ports"))


def commit_log(life: Life, parsed: joblogs.Parsed, kind: str) -> None:
    """Put a log into the site Log as the console does."""
    business = life.core.state.businesses["Acme"]
    log = imports.LogRows(parsed, imports.Place("Acme", "Log", kind, "log"), life.now)
    rows = imports.numbered(log.tables(), business.no, business.next_event(), business.next_task())
    life.store.commit(life.store.batch + 1, life.now, Rows(), rows)


# --- at rest as in life


def test_services_holds_and_tasks_read_the_same_from_a_snapshot_and_from_the_ledger(life: Life) -> None:
    eventful(life)
    snapshot = life.snapshot()
    store = life.rest()
    by_name = {"check_row_order": False}
    assert_frame_equal(standing.services(store, snapshot), standing.services(store), **by_name)
    assert_frame_equal(standing.holds(store, snapshot), standing.holds(store), **by_name)
    live, left = standing.live_tasks(store, snapshot), standing.live_tasks(store)
    assert_frame_equal(live, left, **by_name)
    assert_frame_equal(standing.running_tasks(store, live), standing.running_tasks(store, left), **by_name)
    states = dict(standing.services(store).select("name", "state").rows())
    assert states["audit-1"] == "offline"
    assert states["audit-3"] == "draining"
    assert standing.holds(store).select("target", "in_force").rows() == [("import", False), ("bob", True)]
    assert set(live["waits_for"]) == {"collect", "process", None}


def test_a_hold_of_a_blackout_window_goes_by_its_name_from_a_snapshot_and_from_the_ledger(life: Life) -> None:
    rule = Rule.interval(600, life.now + 5 * SECOND)
    life.do(m.CreateBlackout(m.BlackoutSpec("Month end", "Acme", "Berlin", rule, 120, "closed")))
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "ann")], "quiet"))
    life.live(10)
    snapshot = life.snapshot()
    store = life.rest()
    assert_frame_equal(standing.holds(store, snapshot), standing.holds(store), check_row_order=False)
    told = dict(standing.holds(store).select("target", "blackout").rows())
    assert told == {"Berlin": "Month end", "ann": None}
    assert store.read("select name, duration_s::double, reason, suspend from blackout").rows() == [
        ("Month end", 120.0, "closed", False)
    ]


def test_a_look_at_a_store_at_rest_is_the_look_at_the_console_that_left_it(life: Life) -> None:
    eventful(life)
    live = life.look()
    at_rest = looks.look(life.rest(), now=life.now)
    for name in live.__slots__:
        of_life, of_rest = getattr(live, name), getattr(at_rest, name)
        if isinstance(of_life, pl.DataFrame):
            assert_frame_equal(of_life, of_rest, check_row_order=False)
        else:
            assert of_life == of_rest


def test_a_look_at_one_site_shows_nothing_of_another_but_the_common_processing(life: Life) -> None:
    life.do(m.AddSite("Acme", "Paris"), m.AddService("Acme", "Paris", "audit-9", "audit_service", 1))
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "eve")], "Paris only", site="Paris"))
    life.do(m.Submit([m.NewTask("Acme", "Paris", Kind.AUDIT, "Audit", "ann", "ann", "db-9")] * 3))
    life.submit(15)
    life.live(10)
    seen = looks.look(life.store, life.snapshot(), life.now, business="Acme", site="Berlin")
    assert seen.sites["site"].to_list() == ["Berlin"]
    assert "audit-9" not in seen.services["name"]
    assert "processor-1" in seen.services["name"]
    assert seen.holds.is_empty()
    assert set(seen.running["site"]) == set(seen.stacked["site"]) == {"Berlin"}
    assert set(seen.depth["site"]) == {"Berlin", None}


def test_an_empty_store_gives_empty_frames(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        rollups.prepare(store)
        assert standing.last_instant(store) is None
        seen = looks.look(store)
        frames = [getattr(seen, name) for name in seen.__slots__ if name != "now"]
        assert all(frame.is_empty() for frame in frames)
        assert standing.status_counts(store).is_empty()


# --- queues over time


def test_queued_leaves_out_what_is_held(life: Life) -> None:
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Later"))
    life.submit(5, owner="bob")
    life.submit(12 + 7)
    life.live(30)
    life.snapshot()
    series = history.depth(life.store, NOON, life.now, business="Acme", site="Berlin", bucket=MINUTE)
    assert (series["depth"][-1], series["held"][-1], series["queued"][-1]) == (12, 5, 7)


@pytest.mark.parametrize(
    ("hours", "width"), [(2, MINUTE), (24, 5 * MINUTE), (24 * 30, 6 * HOUR), (24 * 999, 24 * HOUR)]
)
def test_a_longer_range_gets_wider_buckets(life: Life, hours: int, width: int) -> None:
    life.snapshot()
    series = history.depth(life.store, NOON - hours * HOUR, NOON, business="Acme")
    first, second = us(series, "bucket")[:2]
    assert first is not None
    assert second is not None
    assert (second - first, first % width) == (width, 0)


def test_a_site_is_told_in_its_business(life: Life) -> None:
    with pytest.raises(ValueError, match="site in a business"):
        history.depth(life.store, NOON, NOON + HOUR, site="Berlin")


def test_who_came_and_went_is_counted_over_a_window_open_at_its_start(life: Life) -> None:
    life.length = lambda order: 30.0
    life.submit(14)
    life.live(100)
    life.snapshot()
    (row,) = history.flow(life.store, NOON, life.now).to_dicts()
    assert (row["arrived"], row["departed"], row["finished"]) == (14, 14, 4)
    assert (row["process_arrived"], row["process_departed"]) == (14, 6)
    last = us(life.store.read("select max(occurred_at) as at from task_event"), "at")[0]
    assert last is not None
    assert history.flow(life.store, last, life.now).is_empty()
    assert not history.flow(life.store, last - 1, last).is_empty()


def test_a_task_that_is_rescued_does_not_arrive_anew_nor_leave_twice(life: Life) -> None:
    life.length = lambda order: None
    life.submit(1)
    life.silent.add("audit-1")
    life.live(60)
    life.snapshot()
    assert life.store.read("select count(*) from task_event where event = 'claim'").item() == 2
    (row,) = history.flow(life.store, NOON, life.now).to_dicts()
    assert (row["arrived"], row["departed"]) == (1, 1)


def test_through_lost_hosts_and_a_restart_arrivals_less_departures_are_the_change_of_depth(life: Life) -> None:
    life.length = lambda order: 50.0 if order.stage == "collect" else 90.0
    life.submit(20)
    life.live(150)
    life.silent |= {"audit-1", "audit-2", "processor-1"}
    life.submit(5)
    life.live(120)
    life.silent.clear()
    life.restart(30)
    life.live(120)
    life.snapshot()
    put_back = "select count(*) filter (dq > 0), count(*) filter (dp > 0) from task_event where event = 'rescue'"
    assert min(life.store.read(put_back).row(0)) > 0
    rescued = life.store.read("select distinct occurred_at as at from task_event where event = 'rescue' order by 1")
    rescued_at = rescued["at"].dt.epoch("us").to_list()
    ends = [NOON, *range(NOON + MINUTE, life.now, MINUTE), *rescued_at, life.now]
    ends = sorted({*ends, *(at - 1 for at in ends)})
    for start_at, end_at in pairwise(ends):
        (row,) = history.flow(life.store, start_at, end_at).to_dicts() or [dict.fromkeys(FLOW, 0)]
        span = f"occurred_at > make_timestamp({start_at}) and occurred_at <= make_timestamp({end_at})"
        depth = life.store.read(f"select sum(dq)::bigint, sum(dp)::bigint from task_event where {span}").row(0)
        assert (row["arrived"] - row["departed"], row["process_arrived"] - row["process_departed"]) == (
            depth[0] or 0, depth[1] or 0,
        )  # fmt: skip
    at_rescue = history.flow(life.store, rescued_at[0] - 1, rescued_at[0]).row(0, named=True)
    assert at_rescue["departed"] < 0, "more were put back at that instant than left"


@pytest.mark.parametrize("rest", [False, True])
def test_the_oldest_wait_is_that_of_whoever_stood_longest_at_each_instant(life: Life, rest: bool) -> None:
    life.length = lambda order: 600.0 if order.stage == "collect" else 1.0
    life.submit_every(20, 60)
    snapshot = life.snapshot()
    store = life.rest() if rest else life.store
    instants = [*range(NOON - NOON % MINUTE, life.now, MINUTE), life.now]
    tasks = standing.live_tasks(store, None if rest else snapshot)
    ages = history.oldest_wait(store, instants, business="Acme", site="Berlin", tasks=tasks)
    waits = store.read(
        """select queued_at, coalesce(started_at, finished_at) as left_at from task_done
           union all select queued_at, started_at from task_live"""
        if rest
        else "select queued_at, coalesce(started_at, finished_at) as left_at from task_done"
    )
    if not rest:
        waits = pl.concat([waits, tasks.select("queued_at", left_at="started_at")])
    spans = waits.with_columns(pl.all().dt.epoch("us")).rows()
    for at, age in zip(instants, ages, strict=True):
        there = [since for since, left in spans if since <= at and (left is None or left > at)]
        assert age == ((at - min(there)) / SECOND if there else None)
    assert max(age for age in ages if age is not None) > 600


def test_the_oldest_wait_for_processing_is_told_apart(life: Life) -> None:
    life.length = lambda order: 60.0 if order.stage == "collect" else None
    life.submit(5)
    life.live(600)
    tasks = standing.live_tasks(life.store, life.snapshot())
    told = {
        stage: history.oldest_wait(life.store, [life.now], business="Acme", stage=stage, tasks=tasks)
        for stage in ("collect", "process")
    }
    assert told["collect"] == [None]
    assert told["process"] == [pytest.approx(540, abs=1)]


# --- what is usual


def test_usual_durations_are_nearest_rank_percentiles_of_finished_runs(life: Life) -> None:
    lengths = iter(range(1, 1000))
    life.length = lambda order: float(next(lengths)) if order.stage == "collect" else 2.0
    for n in range(30):
        life.submit(target=f"db-{n % 3}")
        life.live(1000)
    life.length = lambda order: None
    life.submit(target="db-1")
    life.do(m.Stop([task.id for task in life.core.state.tasks.values()]))  # never confirmed: no finished run
    life.live(120)
    life.submit(target="db-1")
    tasks = standing.live_tasks(life.store, life.snapshot())
    usual = looks.usual_durations(life.store, life.now, standing.running_tasks(life.store, tasks))
    found = {row["target"]: row for row in usual.to_dicts()}
    done = life.store.read("select target, run_s::double as run_s from task_done where status = 'Processed'")

    def p95(runs: list[float]) -> float:
        return sorted(runs)[ceil(0.95 * len(runs)) - 1]

    own = done.filter(pl.col("target") == "db-1")["run_s"].to_list()
    assert set(found) == {None, "db-1"}
    assert (found["db-1"]["runs"], found["db-1"]["run_s"]) == (10, p95(own))
    assert (found[None]["runs"], found[None]["run_s"]) == (30, p95(done["run_s"].to_list()))
    assert found["db-1"]["process_s"] == pytest.approx(2)


def test_an_imported_log_does_not_tell_what_is_usual(life: Life) -> None:
    life.submit()
    life.live(600)
    life.do(m.AddSite("Acme", "Log", archive=True))
    life.snapshot()
    end = life.now
    jobs = [
        joblogs.Job(n, str(n), "job", "carl", None, end - DAY, end - DAY, end, joblogs.State.COMPLETED, target="db-7")
        for n in range(50)
    ]
    commit_log(life, joblogs.Parsed(jobs), "audit")
    wanted = pl.DataFrame({"business": ["Acme"], "kind": ["audit"], "target": ["db-7"]})
    usual = looks.usual_durations(life.store, life.now, wanted)
    assert usual["runs"].to_list() == [1, 1]
    assert usual["run_s"].max() == pytest.approx(60)


def test_widgets_are_compared_with_their_own_past(life: Life) -> None:
    life.length = lambda order: 4.0
    life.refresh_every(60, 60, ("Open ports", "Assets"))
    life.length = lambda order: 10.0 if order.target == "Assets" else 4.0
    life.refresh_every(60, 15, ("Open ports", "Assets"))
    life.snapshot()
    found = looks.widget_latencies(life.store, life.now, business="Acme", site="Berlin")
    told = {row["widget"]: (row["latency_s"], row["usual_s"]) for row in found.to_dicts()}
    assert told["Assets"] == (pytest.approx(10, abs=0.1), pytest.approx(4, abs=0.1))
    assert told["Open ports"] == (pytest.approx(4, abs=0.1), pytest.approx(4, abs=0.1))
    assert found["recent"].to_list() == [15, 15]


def test_statuses_are_counted_with_live_tasks_as_they_were_published(life: Life) -> None:
    life.submit(20)
    life.live(70)
    counts = dict(standing.status_counts(life.rest(), business="Acme").rows())
    assert sum(counts.values()) == 20
    assert counts["Active"] == 8


# --- imported logs


@pytest.mark.parametrize(
    ("name", "file", "format"),
    [("kth", "KTH-SP2-1996-2.1-cln.swf", "swf"), ("phillips", "xdmod_phillips_slurm_sacct.log", "sacct")],
)
def test_a_real_log_amounts_to_what_others_counted_in_it(life: Life, name: str, file: str, format: str) -> None:
    path, reference = SHARED / "traces" / file, SHARED / "reference" / "trace_facts.json"
    if not path.exists() or not reference.exists():
        pytest.skip(f"the reference trace {file} is not beside this checkout")
    truth = json.loads(reference.read_text())[name]
    life.do(m.AddSite("Acme", "Log", archive=True))
    life.snapshot()
    commit_log(life, joblogs.parse(path, format), "scan")
    rollups.advance(life.store)
    facts = history.trace_facts(life.store, "Acme", "Log")
    assert facts.tasks == truth["rows"]
    assert facts.owners.height == truth["users"]
    assert facts.owners.row(0) == tuple(truth["busiest_user"][0])
    words = {"completed": "finished", "failed": "failed", "timeout": "failed", "cancelled": "stopped"}
    expected: dict[str, int] = {}
    for word, n in truth["status"].items():
        expected[words[word]] = expected.get(words[word], 0) + n
    by_outcome = dict(facts.statuses.group_by("outcome").agg(pl.col("n").sum()).rows())
    assert by_outcome == expected
    waits = truth["wait"]
    assert (facts.waits, facts.wait_p50_s, facts.wait_p95_s, facts.wait_max_s) == (
        waits["n"], waits["p50_nearest"], waits["p95_nearest"], waits["max"],
    )  # fmt: skip
    assert facts.wait_mean_s == pytest.approx(waits["mean"], rel=1e-12)
    peak = truth["peak_queued"]
    assert (facts.peak_queued, facts.peak_queued_at) == (peak["max"], peak["at"] * SECOND)
    assert facts.first_at is not None
    assert facts.last_at is not None
    assert datetime.fromtimestamp(facts.first_at / SECOND, UTC) < datetime.fromtimestamp(facts.last_at / SECOND, UTC)
