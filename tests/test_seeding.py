"""A history as it is built: the same on any machine, legal, and whole or not there at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import active_children
from pathlib import Path

import polars as pl
import pytest

from engine import seeding, verify
from engine.__main__ import main
from engine.clock import SECOND
from engine.console import SEEDING, STORE, Console
from engine.errors import DrainboardError, Invalid
from engine.fleet import load
from engine.ledger import LEDGER_TABLES, Rows
from engine.store import Store

NOW = 1_780_000_000 * SECOND

BARE = """
[businesses.{name}]
processors = [{{ name = "proc-{name}", slots = 2 }}]
users = [{{ name = "{name}-user", role = "{role}", sites = ["berlin"] }}]

[businesses.{name}.sites.berlin]
zone = "Europe/Berlin"
services = [{{ name = "audit-{name}", role = "audit_service", slots = 4 }}]
targets = [{{ name = "srv", kind = "device", count = 10 }}]
"""
BUSY = BARE + "mix.audit = {{ per_hour = 60, collect = {{ median_s = 60, sigma = 0.2 }} }}\n"

TWO = BUSY.format(name="acme", role="business_admin") + BUSY.format(name="globex", role="site_admin")


def build(
    folder: Path, fleet: str, *, tasks: int = 0, days: int = 1, progress: Callable[[float, str], None] = lambda *_: None
) -> int:
    return seeding.seed(folder, load(fleet), days=days, tasks=tasks, seed=3, now=NOW, progress=progress)


def content(folder: Path) -> list[pl.DataFrame]:
    with Store.open(folder) as store:
        tables = (*LEDGER_TABLES, "task_done", "task_live", "asset")
        return [store.read(f"select * from {table} order by all") for table in tables]


def test_the_same_history_comes_of_any_number_of_cores_and_is_legal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = TWO + BARE.format(name="idle", role="business_admin")
    for cores in (1, 3):
        monkeypatch.setattr(seeding.os, "cpu_count", lambda cores=cores: cores)
        assert build(tmp_path / str(cores), fleet, tasks=600) > 400
    one, three = content(tmp_path / "1"), content(tmp_path / "3")
    assert all(a.equals(b) for a, b in zip(one, three, strict=True))
    with Store.open(tmp_path / "3") as store:
        assert verify.check(store) == []


def test_a_fleet_in_which_nobody_may_hold_anything_has_a_history_without_holds(tmp_path: Path) -> None:
    build(tmp_path, BARE.format(name="acme", role="site_user"), days=14)
    with Store.open(tmp_path) as store:
        assert store.rows("hold_event") == []
        assert verify.check(store) == []


def test_in_a_blackout_window_of_the_fleet_tasks_wait_until_it_is_over_and_go_on_then(tmp_path: Path) -> None:
    window = '{ name = "Night off", every_s = 28800, duration_s = 3600, reason = "maintenance" }'
    build(tmp_path, BUSY.format(name="acme", role="site_admin") + f"blackouts = [{window}]\n", days=2)
    with Store.open(tmp_path) as store:
        holds = store.read(
            """select min(occurred_at) filter (event = 'begun') as begun,
                      min(occurred_at) filter (event = 'expired') as over
               from hold_event where target_kind = 'site' group by hold_id order by 1"""
        ).drop_nulls()
        assert holds.height >= 5
        assert set(holds["over"] - holds["begun"]) == {timedelta(hours=1)}
        for begun, over in holds.rows():
            span = {"begun": begun, "over": over}
            claims = "select count(*) from task_event where event = 'claim' and occurred_at "
            assert store.read(f"{claims} >= $begun and occurred_at < $over", span).item() == 0
            assert store.read(f"{claims} >= $over and occurred_at < $over + interval 1 minute", {"over": over}).item()
        assert store.read("select count(*) from task where wait_hold_s > 0").item() > 100
        assert verify.check(store) == []


def test_a_number_of_tasks_is_refused_where_the_fleet_makes_none(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="makes no tasks"):
        build(tmp_path, BARE.format(name="acme", role="business_admin"), tasks=100)


def test_a_process_that_is_killed_while_it_tells_ends_the_history_in_words(tmp_path: Path) -> None:
    def kill(fraction: float, _: str) -> None:
        if fraction > 0.1:
            time.sleep(0.5)  # until its pipe is full, so that it is in the middle of a message
            for child in active_children():
                child.kill()

    with pytest.raises(DrainboardError, match="ended before the history did"):
        build(tmp_path, TWO, tasks=20_000, progress=kill)
    assert active_children() == []


def test_a_stop_is_noticed_even_where_what_is_told_never_runs_out(tmp_path: Path) -> None:
    told: list[float] = []

    def progress(fraction: float, _: str) -> None:
        time.sleep(0.2)  # so that the next chapter is always there
        told.append(fraction)

    seeding.seed(
        tmp_path, load(TWO), days=1, tasks=200, seed=3, now=NOW, progress=progress, stopped=lambda: len(told) >= 3
    )
    assert len(told) == 3


@pytest.fixture
def broken_off(tmp_path: Path) -> Path:
    """A data folder in which a history was begun and not ended."""
    (tmp_path / "fleet.toml").write_text(TWO)
    with Store.open(tmp_path / SEEDING) as store:
        store.commit(1, NOW, Rows())
    return tmp_path


def test_a_history_never_goes_on_top_of_one_that_was_broken_off(broken_off: Path) -> None:
    assert main(["seed", "--data", str(broken_off), "--days", "1", "--tasks", "200"]) == 0
    assert not (broken_off / SEEDING).exists()
    with Store.open(broken_off / STORE) as store:
        assert verify.check(store) == []


def test_who_starts_while_a_history_is_being_built_is_told_and_leaves_it_alone(
    broken_off: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(broken_off / SEEDING) as store:
        assert main(["seed", "--data", str(broken_off), "--days", "1"]) == 1
        assert "holds the store" in capsys.readouterr().err
        with pytest.raises(DrainboardError, match="holds the store"):
            Console(broken_off).start(wait=True)
        store.commit(2, NOW, Rows())
    assert content(broken_off / SEEDING)
