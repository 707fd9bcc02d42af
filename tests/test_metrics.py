"""What Prometheus is told, and who may ask, over the real routes and guard of a real console."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from engine import console as consoles
from engine import messages as m
from engine import web
from engine.clock import SECOND
from engine.console import STORE, Console
from engine.deciding import Step
from engine.errors import SettingsError
from engine.lifecycle import Kind, own_name
from engine.metrics import METRICS
from engine.runtime import Engine
from engine.settings import SETTINGS, Settings, load
from engine.store import Store
from engine.tally import ENDS, Tally
from tests import driving, routes
from tests.driving import Drive, lived
from tests.stores import laid

TOKEN = "0123456789abcdef-of-the-test"
FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [
  { name = "audit-1", role = "audit_service", slots = 3 }, { name = "audit-2", role = "audit_service", slots = 1 },
]
targets = [{ name = "db", kind = "device", count = 5 }]

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "explorer-1", role = "explorer", slots = 2 }]
targets = [{ name = "box", kind = "device", count = 5 }]
"""

LABELS = ("business", "site", "kind", "role", "stage", "cause", "state", "target_kind", "outcome", "le")
Numbers = dict[tuple[str, tuple[str, ...]], float]  #: by sample name and the values of its labels


def folder(path: Path, settings: str = "") -> Path:
    (path / "settings.toml").write_text(f'seed_days = 0\nfleet_speed = 0.01\nmetrics_token = "{TOKEN}"\n{settings}')
    (path / "settings.toml").chmod(0o600)
    (path / "fleet.toml").write_text(FLEET)
    return path


def soon(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time"
        time.sleep(0.05)
    return found


def engine_of(console: Console) -> Engine:
    assert console.engine is not None
    return console.engine


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """A console whose fleet works so slowly that nothing ends by itself."""
    laid(tmp_path / STORE)
    with running(Console(folder(tmp_path)), monkeypatch) as one:
        soon(lambda: len(engine_of(one).snapshot.zones) == 2)
        yield one


class running:  # noqa: N801  # a context, like those of contextlib
    def __init__(self, console: Console, monkeypatch: pytest.MonkeyPatch, wait: bool = True) -> None:
        self.console, self.wait = console, wait
        monkeypatch.setattr(consoles, "_current", console)

    def __enter__(self) -> Console:
        return self.console.start(self.wait)

    def __exit__(self, *_: object) -> None:
        self.console.close()


def ask(path: str = "/metrics", **headers: str) -> tuple[int, dict[str, str], str]:
    status, told, body = routes.ask(path, **headers)
    return status, told, body.decode()


def scraped(accept: str = "") -> Numbers:
    status, headers, text = ask(authorization=f"Bearer {TOKEN}", accept=accept)
    assert status == 200, text
    assert headers["cache-control"] == "no-store"
    parse = open_metrics if "openmetrics" in headers["content-type"] else text_string_to_metric_families
    return {
        (sample.name, tuple(sample.labels[label] for label in LABELS if label in sample.labels)): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def do(console: Console, *actions: m.Action) -> list[m.Outcome]:
    engine = engine_of(console)
    outcomes = [engine.do(m.Command(f"r{time.monotonic_ns()}", "ann", action)).result(30) for action in actions]
    for outcome in outcomes:
        assert outcome.refused is None, outcome.refused
    return outcomes


def new(kind: Kind, site: str = "Berlin", owner: str = "ann", **more: Any) -> m.NewTask:
    return m.NewTask("Acme", site, kind, own_name(kind, f"{kind} of it"), owner, owner, "db-1", "device", **more)


# --- who may ask


def test_it_is_closed_unless_the_settings_name_a_token_and_says_how_to_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    with running(Console(tmp_path), monkeypatch):
        for given in ("", "Bearer ", "Bearer none", f"Bearer {TOKEN}"):
            status, _, text = ask(authorization=given)
            assert status == 404
            assert "metrics_token" in text
            assert "drainboard_" not in text


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
              f"Bearer {TOKEN} {TOKEN}", f"Bearer {TOKEN.upper()}", "Bearer ü"],
)  # fmt: skip
def test_who_brings_no_token_or_a_wrong_one_gets_nothing(console: Console, given: str) -> None:
    status, headers, text = ask(authorization=given)
    assert (status, text) == (401, "")
    assert headers["www-authenticate"] == "Bearer"


def test_the_token_opens_this_one_door_and_no_session_opens_it(console: Console) -> None:
    assert ask(authorization=f"bearer {TOKEN}")[0] == 200
    for path in ("/", "/metrics/", "/metricsx", "/api/v1.0/tasks"):
        assert ask(path, authorization=f"Bearer {TOKEN}")[0] == 401
    assert console.access is not None
    secret = console.access.first_link()
    assert secret is not None
    session = console.access.use_link(secret, "correct horse battery", "127.0.0.1")
    assert ask(cookie=f"{web.COOKIE}={session}")[0] == 401


def test_a_secret_is_shown_neither_in_a_listing_nor_in_what_is_said_about_a_wrong_one(tmp_path: Path) -> None:
    named = load(folder(tmp_path), {})
    assert named["metrics_token"] == TOKEN
    assert [named.shown(setting.name) for setting in SETTINGS].count("set") == 1
    assert TOKEN not in "".join(named.shown(setting.name) for setting in SETTINGS)
    assert Settings().shown("metrics_token") == "not set"
    assert load(tmp_path, {"DRAINBOARD_METRICS_TOKEN": "another-token-of-the-test"})["metrics_token"] != TOKEN
    for wrong in ("too-short", "with a space between", "ünïcödé-ünïcödé", 1234567890123456, True):
        with pytest.raises(SettingsError, match="metrics_token") as told:
            Settings({"metrics_token": wrong})
        assert str(wrong) not in str(told.value)


# --- what is told


def test_a_scrape_tells_the_snapshots_numbers(console: Console) -> None:
    do(console, m.PlaceHolds("Acme", [m.HoldTarget("user", "bob")], "Later"))
    do(console, m.PlaceHolds(None, [m.HoldTarget("kind", "import")], "Maintenance"))
    do(console, m.SetService("Acme", "audit-2", "draining"))
    do(
        console, m.Submit([new(Kind.AUDIT)] * 7), m.Submit([new(Kind.AUDIT, owner="bob")] * 2),
        m.Submit([new(Kind.SCAN, "Oslo")] * 3), m.Submit([new(Kind.SCAN)] * 2),
        m.RefreshWidget("Acme", "Oslo", "Ports"), m.Submit([new(Kind.REPORT)] * 4),
        m.Submit([new(Kind.AUDIT, due_at=engine_of(console).now + 3600 * SECOND)]),
    )  # fmt: skip
    shown = soon(lambda: (s := engine_of(console).snapshot).batch == engine_of(console).store.batch and s)
    told, now = scraped(), engine_of(console).now
    assert told["drainboard_state", ("live",)] == 1
    tasks = shown.tasks().filter(pl.col("queue").is_not_null())
    by_cause = Counter(tasks.select("business", "site", "cause").rows())
    for (name, labels), value in told.items():
        if name == "drainboard_waiting_tasks":
            business, site, stage, cause = labels
            assert value == (by_cause[business, site, cause] if stage == "collect" else 0), (labels, by_cause)
    causes = {cause: n for (_, site, cause), n in by_cause.items() if site == "Berlin"}
    assert causes == {"hold": 2, "capacity": 7 - 3 + 4 - 1, "offline": 2}
    for (business, site), numbers in shown.numbers.items():
        if site is not None:
            waits = {labels[2:]: n for (name, labels), n in told.items()
                     if name == "drainboard_waiting_tasks" and labels[:2] == (business, site)}  # fmt: skip
            assert numbers.paused == sum(n for (_, cause), n in waits.items() if cause == "hold")
            assert numbers.queued == sum(n for (at, cause), n in waits.items() if at == "collect" and cause != "hold")
            assert numbers.running == told["drainboard_running_tasks", (business, site)]
            free = tasks.filter(pl.col("site") == site, pl.col("held_by").is_null())["queued_at"]
            oldest = (now - free.min()) / SECOND
            assert told["drainboard_oldest_wait_seconds", (business, site, "collect")] == pytest.approx(oldest, abs=1)
            assert told["drainboard_oldest_wait_seconds", (business, site, "process")] == 0
    services = "drainboard_services", "drainboard_service_slots", "drainboard_service_slots_used"
    audits = "Acme", "Berlin", "audit_service"
    assert [told[name, (*audits, "online")] for name in services] == [1, 3, 3]
    assert [told[name, (*audits, "draining")] for name in services] == [1, 1, 0]
    assert [told[name, ("Acme", "", "processor", "online")] for name in services] == [1, 2, 2]
    holds = {labels: n for (name, labels), n in told.items() if name == "drainboard_holds" and n}
    assert holds == {("Acme", "user"): 1, ("", "kind"): 1}
    assert told["drainboard_batch", ()] == shown.batch
    assert told["drainboard_tick_age_seconds", ()] < 5
    assert told["process_cpu_seconds_total", ()] > 0
    assert told["process_resident_memory_bytes", ()] > 10_000_000
    assert told["drainboard_disk_free_bytes", ()] > 0


def test_counters_tell_what_came_and_ended_since_the_start(console: Console) -> None:
    (submitted,) = do(console, m.Submit([new(Kind.AUDIT)] * 6))
    (later,) = do(console, m.Submit([new(Kind.SCAN, due_at=engine_of(console).now + 3600 * SECOND)]))
    soon(lambda: engine_of(console).snapshot.numbers["Acme", "Berlin"].running == 4)
    waiting = list(submitted.changed[4:])
    do(console, m.Stop([int(task) for task in waiting]), m.Delete([int(task) for task in later.changed]))
    stopped = "drainboard_tasks_finished_total", ("Acme", "Berlin", "scan", "stopped")
    count = "drainboard_commit_seconds_count", ()
    told = soon(lambda: (t := scraped()).get(stopped) and t[count] == t["drainboard_batch", ()] and t)
    counted = {key: n for key, n in told.items() if key[0].startswith("drainboard_tasks_")}
    assert counted == {
        ("drainboard_tasks_arrived_total", ("Acme", "Berlin", "audit")): 6,
        ("drainboard_tasks_finished_total", ("Acme", "Berlin", "audit", "stopped")): 2,
        ("drainboard_tasks_finished_total", ("Acme", "Berlin", "scan", "stopped")): 1,
    }
    assert told[count] == told["drainboard_commit_seconds_bucket", ("+Inf",)] > 0
    assert 0 < told["drainboard_commit_seconds_sum", ()] < 60
    assert told["drainboard_commit_failures_total", ()] == 0
    assert 0 <= told["drainboard_last_commit_age_seconds", ()] < 30
    assert told["drainboard_ticks_total", ()] > 0
    again = scraped("application/openmetrics-text; version=1.0.0")
    assert again["drainboard_ticks_total", ()] >= told["drainboard_ticks_total", ()]
    assert {key[0] for key in told} <= {key[0] for key in again}, "in either format"


def test_every_metric_of_a_running_engine_is_told_and_no_other(console: Console) -> None:
    do(console, m.Submit([new(Kind.AUDIT)]))
    _, _, text = ask(authorization=f"Bearer {TOKEN}")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name for name in families if name.startswith("drainboard_")}
    assert ours == {told.name for told in METRICS} | {"drainboard_state", "drainboard_start_progress_ratio"}
    for told in METRICS:
        assert (families[told.name].type, families[told.name].documentation) == (told.type, told.help)
    assert {name.partition("_")[0] for name in families} == {"drainboard", "process"}, "nothing global leaks"


# --- in whatever state


def test_while_a_history_is_built_the_state_and_the_process_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    (tmp_path / "settings.toml").write_text(f'seed_days = 300\nmetrics_token = "{TOKEN}"\n')
    with running(Console(tmp_path), monkeypatch, wait=False) as console:
        soon(lambda: console.stage.name == "seeding")
        told = scraped()
        assert told["drainboard_state", ("seeding",)] == 1
        assert told["drainboard_state", ("live",)] == 0
        assert 0 <= told["drainboard_start_progress_ratio", ()] < 1
        assert told["process_cpu_seconds_total", ()] > 0
        assert ("drainboard_batch", ()) not in told


def test_a_console_that_could_not_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(folder(tmp_path) / STORE), running(Console(tmp_path), monkeypatch, wait=False) as console:
        soon(lambda: console.stage.name == "failed")
        assert scraped()["drainboard_state", ("failed",)] == 1


def test_while_commits_fail_all_is_told_and_the_failures_are_counted(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: object) -> None:
        raise duckdb.IOException("no space left on device")

    do(console, m.Submit([new(Kind.AUDIT)]))
    batch = engine_of(console).store.batch
    with monkeypatch.context() as patch:
        patch.setattr(engine_of(console).store, "_insert", no_space)
        asked = engine_of(console).do(m.Command("late", "ann", m.Submit([new(Kind.AUDIT)])))
        told = soon(lambda: (t := scraped())["drainboard_commit_failures_total", ()] >= 2 and t)
        assert told["drainboard_state", ("unwell",)] == 1
        assert told["drainboard_state", ("live",)] == 0
        assert told["drainboard_batch", ()] == batch
    assert asked.result(30).changed
    soon(lambda: scraped()["drainboard_state", ("live",)] == 1)


class Stuck(list[m.Report]):
    """Reports that the engine does not get to the end of."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[m.Report]:
        self.reached.set()
        self.go_on.wait(30)
        return super().__iter__()


def test_a_scrape_does_not_wait_for_the_engine(console: Console) -> None:
    stuck = Stuck()
    engine_of(console).report(stuck)
    assert stuck.reached.wait(30)
    try:
        before = scraped()
        time.sleep(0.3)
        after = scraped()
        assert after["drainboard_tick_age_seconds", ()] >= before["drainboard_tick_age_seconds", ()] + 0.3
        assert after["drainboard_ticks_total", ()] == before["drainboard_ticks_total", ()]
    finally:
        stuck.go_on.set()


# --- what is counted


def test_the_tally_of_a_life_is_what_the_ledger_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()

    class Tallied(Drive):
        def _take(self, step: Step) -> None:
            tally.committed(step.rows, 0.01, 1.0)
            super()._take(step)

    monkeypatch.setattr(driving, "Drive", Tallied)
    drive = lived(tmp_path / "store", tasks=600, seed=5)
    with drive.store as store:
        drive.publish()
        sums = store.read(
            "select business, site, kind, sum(arrived)::bigint, sum(finished)::bigint from queue_quarter "
            "where level = 'kind' group by all"
        ).rows()
        events = store.read("select list(distinct event) from task_event").item().to_list()
        assert {"restore", "rescue", "hide", "expire", "confirm_stop"} <= set(events)
        assert {(b, s, k): n for b, s, k, n, _ in sums if n} == dict(tally.arrived)
        finished: Counter[tuple[str, ...]] = Counter()
        for (business, site, kind, outcome), n in tally.finished.items():
            assert outcome in ("finished", "finished_with_errors", "stopped", "failed")
            finished[business, site, kind] += n
        assert {(b, s, k): n for b, s, k, _, n in sums if n} == dict(finished)
        started = {"collect": "event = 'claim'", "process": "event = 'process' or event = 'rescue' and dp > 0"}
        for stage, event in started.items():
            before = f"from task_event s where s.task_id = e.task_id and s.event_id < e.event_id and ({event})"
            ended = store.read(
                f"select business, site, count(*) from task_event e where event in {tuple(sorted(ENDS))} "
                f"and exists ({before}) group by all"
            ).rows()
            counted = {key[:2]: sum(spread.counts) for key, spread in tally.waits.items() if key[2] == stage}
            assert counted == {(business, site): n for business, site, n in ended}


def test_who_queues_longest_is_known_through_rescues_edits_and_restorations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[bool] = Counter()

    class Watched(Drive):
        def tick(self, us: int, *actions: m.Action, actor: str = "ann") -> list[m.Outcome]:
            outcomes = super().tick(us, *actions, actor=actor)
            for queue in self.core.queues.queues.values():
                since = [waiting.entry[2] for waiting in queue.members.values()]
                assert queue.oldest() == min(since, default=None)
                assert set(queue.early) <= set(queue.members)
                seen[bool(queue.early)] += 1
            return outcomes

    monkeypatch.setattr(driving, "Drive", Watched)
    lived(tmp_path / "store", tasks=600, seed=3).store.close()
    assert min(seen[True], seen[False]) > 100
