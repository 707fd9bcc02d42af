"""What is usual is told by the same hour of the week, and when a queue drains by who came and left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random

import polars as pl
import pytest

from engine import history, rollups, standing, usual
from engine import messages as m
from engine.clock import HOUR, MINUTE, SECOND
from engine.lifecycle import Kind

from .health_fixtures import NOON, Life

MONDAY = datetime(2026, 3, 23, tzinfo=UTC).replace(tzinfo=None)  # the clocks of Berlin go forward on the Sunday after


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "data")
    with made.store:
        yield made


def series(minutes: int, queued: list[int], start: datetime = MONDAY) -> pl.DataFrame:
    at = [start + timedelta(minutes=n) for n in range(minutes)]
    cells = [queued[n % len(queued)] for n in range(minutes)]
    return pl.DataFrame({"bucket": at, "queued": cells, "running": cells, "oldest_s": [float(n) for n in cells]})


NO_WAITS = pl.DataFrame(schema={"hour": pl.Datetime("us"), "wait_s": pl.Float64})


def test_a_band_leaves_out_the_lowest_and_the_highest_tenth() -> None:
    weeks = [series(60, list(range(1, 11)), MONDAY + timedelta(days=days)) for days in (0, 7)]
    found = usual.bands(pl.concat(weeks), NO_WAITS, "UTC")
    assert found.height == 168
    assert (found["queued_low"][0], found["queued_high"][0]) == (2, 9)
    assert found["queued_low"][1] is None
    assert found["wait_s_low"].null_count() == 168


def test_hours_are_those_of_the_site_through_a_change_of_the_clock() -> None:
    """09:00 in Berlin is 08:00 UTC before the change, 07:00 after it: both are the same hour of the week."""
    before = series(60, [5], MONDAY + timedelta(hours=8))
    after = series(60, [9], MONDAY + timedelta(days=7, hours=7))
    found = usual.bands(pl.concat([before, after]), NO_WAITS, "Europe/Berlin")
    assert found.select("hour", "queued_low", "queued_high").row(9) == (9, 5, 9)
    at = round((MONDAY + timedelta(days=7, hours=7, minutes=30)).replace(tzinfo=UTC).timestamp() * SECOND)
    assert usual.hour_of_week(at, "Europe/Berlin") == 9


def test_the_hours_beside_it_tell_of_waits_too() -> None:
    hours = [MONDAY + timedelta(days=days, hours=n) for days in (0, 7) for n in (0, 1, 2)]
    waits = pl.DataFrame({"hour": hours, "wait_s": [1.0, 2.0, 30.0] * 2})
    found = usual.bands(series(1, [0]), waits, "UTC")
    assert found.select("wait_s_low", "wait_s_high").row(1) == (1.0, 30.0)
    assert found.select("wait_s_low", "wait_s_high").row(167) == (1.0, 1.0)


def test_an_hour_seen_in_one_week_only_goes_by_that_hour_of_all_days_and_one_seen_once_by_nothing() -> None:
    tuesday, thursday = (series(60, [n], MONDAY + timedelta(days=n, hours=9)) for n in (1, 3))
    once = series(60, [5], MONDAY + timedelta(hours=14))
    found = usual.bands(pl.concat([tuesday, thursday, once]), NO_WAITS, "UTC")
    assert [found.select("queued_low", "queued_high").row(24 * day + 9) for day in (0, 1, 3)] == [(1, 3)] * 3
    assert found["queued_low"][14] is None


def test_a_p95_is_the_wait_that_one_in_twenty_exceeds() -> None:
    chance = Random(3)
    waits = [chance.randrange(20) for _ in range(137)]
    counts = pl.DataFrame({"hour": [MONDAY] * 137, "wait_s": [float(n) for n in waits], "n": [1] * 137})
    grouped = counts.group_by("hour", "wait_s").agg(pl.col("n").sum())
    assert usual.p95_by_hour(grouped).rows() == [(MONDAY, sorted(waits)[ceil(0.95 * 137) - 1])]


def test_the_oldest_by_turn_is_who_came_when_all_before_had_come() -> None:
    frame = pl.DataFrame({"arrived": [3, 0, 2, 0, 0], "queued": [1, 1, 2, 1, 0]})
    # The last one of minute 0 waits, then both of minute 2, then the last of them; half a minute more or less.
    assert usual.oldest_by_turn(frame, MINUTE).to_list() == [30, 90, 30, 90, 0]
    before = pl.DataFrame({"arrived": [0, 1], "queued": [4, 5]})
    assert usual.oldest_by_turn(before, MINUTE).to_list() == [None, None]


@pytest.mark.parametrize(
    ("given", "word", "seconds"),
    [
        ((38, 10, 29, 900), "about", 1800), ((38, 30, 30, 900), "does not", None), ((38, 39, 9, 900), "does not", None),
        ((38, 0, 0, 900), "unknown", None), ((38, 1, 2, 900), "unknown", None), ((0, 9, 9, 900), "empty", 0),
        ((38, 10, 29, 0), "unknown", None),
    ],
)  # fmt: skip
def test_a_queue_drains_by_what_leaves_over_what_comes(
    given: tuple[int, int, int, float], word: str, seconds: float | None
) -> None:
    found = usual.drain(*given)
    assert (found.word, found.seconds) == (word, seconds)
    assert found.reason


def test_more_put_back_than_left_is_said_in_words_not_as_a_number_below_zero() -> None:
    found = usual.drain(38, 3, -12, 900)
    assert (found.word, found.seconds) == ("does not", None)
    assert found.reason.endswith("3 came, and 12 more were put back than left in the last 15 min")


def test_usual_bands_follow_the_rollups_from_when_the_site_was_there(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usual, "DAYS", 1)
    life.length = lambda order: 600.0 if order.stage == "collect" else 1.0
    life.submit_every(30, 180)
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"))
    life.rest()
    found = history.usual_bands(life.store, life.now, "Acme", "Berlin", zone="Europe/Berlin")
    hours = found.filter(pl.col("queued_low").is_not_null())["hour"].to_list()
    assert [hour for hour in hours if 24 <= hour < 48] == [37, 38, 39]  # Tuesday 13:00 to 16:00, from noon in UTC
    depth = rollups.depth_series(life.store, "kind", NOON, life.now, business="Acme", site="Berlin", kind="audit")
    last = depth.filter(pl.col("bucket").dt.hour() == 14)["depth"].sort().to_list()
    row = found.filter(pl.col("hour") == 39).row(0, named=True)
    assert (row["queued_low"], row["queued_high"]) == (last[round(0.1 * 59)], last[round(0.9 * 59)])
    assert 0 < row["oldest_s_low"] <= row["oldest_s_high"] < 3 * 3600
    assert 0 < row["wait_s_low"] <= row["wait_s_high"]
    assert row["running_low"] == row["running_high"] == 12


def test_bands_are_made_once_an_hour(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.rest()
    made: list[int] = []
    true = history.usual_bands

    def counted(store: object, now: int, *args: object, **more: object) -> pl.DataFrame:
        made.append(now)
        return true(store, now, *args, **more)

    monkeypatch.setattr(history, "usual_bands", counted)
    kept = history.Usual(life.store)
    for seconds in (0, 60, 3599, 3600):
        assert set(kept.now(NOON + seconds * SECOND, "Acme", "Berlin")) >= {"queued_low", "wait_s_high"}
    assert made == [NOON, NOON + HOUR]


def test_the_last_hours_are_shared_for_some_seconds(life: Life) -> None:
    life.rest()
    kept = history.Usual(life.store, every_s=10)
    first = kept.recent(NOON, "Acme", "Berlin")
    assert kept.recent(NOON + 9 * SECOND, "Acme", "Berlin") is first
    assert kept.recent(NOON + 10 * SECOND, "Acme", "Berlin") is not first


def test_the_last_hours_end_with_what_stands_now(life: Life) -> None:
    life.length = lambda order: 600.0 if order.stage == "collect" else 1.0
    life.submit_every(20, 60)
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Later"))
    life.submit(3, owner="bob")
    life.live(7)
    shown = life.snapshot()
    found = history.recent(life.store, life.now, "Acme", "Berlin", snapshot=shown)
    tasks = standing.live_tasks(life.store, shown).filter(pl.col("waits_for") == "collect", pl.col("held_by").is_null())
    last = found.series.row(-1, named=True)
    assert last["at"].replace(tzinfo=UTC).timestamp() * SECOND == pytest.approx(life.now, abs=1)
    assert last["queued"] == tasks.height
    assert last["running"] == 12
    oldest: int = tasks["queued_at"].dt.epoch("us").min()
    assert last["oldest_s"] == (life.now - oldest) / SECOND
    assert found.series["at"].is_sorted()
    assert 70 <= found.series.height <= 74
    waits = life.store.read("select wait_s::double as s from task_done").to_series().to_list()
    started = standing.live_tasks(life.store, shown).filter(pl.col("started_at").is_not_null())
    waits += ((started["started_at"] - started["queued_at"]).dt.total_microseconds() / SECOND).to_list()
    assert last["wait_s"] == sorted(waits)[ceil(0.95 * len(waits)) - 1]
    assert found.drain.word == "does not"
    start_at = life.now - round(found.over_s * SECOND)
    flow = history.flow(life.store, start_at, life.now, business="Acme", site="Berlin")
    assert flow.select("arrived", "departed").row(0) == (found.arrived, found.departed)
    assert 900 <= found.over_s < 960


def test_a_site_that_nothing_is_known_of_gives_empty_answers(life: Life) -> None:
    life.rest()
    assert history.usual_bands(life.store, life.now, "Acme", "Nowhere").height == 168
    found = history.recent(life.store, life.now, "Acme", "Nowhere")
    assert (found.arrived, found.departed, found.drain.word) == (0, 0, "empty")


def test_system_tasks_count_only_where_asked(life: Life) -> None:
    life.length = lambda order: None
    life.submit(20, Kind.QUERY, target="all")
    shown = life.snapshot()
    without, with_them = (
        history.recent(life.store, life.now + MINUTE, "Acme", "Berlin", snapshot=shown, system=system)
        for system in (False, True)
    )
    assert (without.series["queued"][-1], with_them.series["queued"][-1]) == (0, 18)
    assert without.series["oldest_s"][-1] is None
    assert with_them.series["oldest_s"][-1] == 60
