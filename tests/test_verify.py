"""A store that the core wrote is clean, and every corruption planted in it is found and named."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engine import chain, findings, imports, joblogs, numbering, occurrences, rollups, turns, verify
from engine import messages as m
from engine.clock import HOUR, MINUTE, SECOND, Reading
from engine.ledger import Rows
from engine.lifecycle import EVENTS, Kind
from engine.recurrence import Rule
from engine.store import Store
from tests.driving import POLICY, Drive, black_out, lived


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    drive = lived(folder, tasks=1_200, throttles=1)
    black_out(drive)
    drive.publish()
    drive.store.close()
    return folder


@pytest.fixture
def store(good: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of the good store, to be spoilt."""
    shutil.copytree(good, tmp_path / "copy")
    with Store.open(tmp_path / "copy") as opened:
        yield opened


def names(store: Store) -> set[str]:
    return {finding.check for finding in verify.check(store)}


def plant(store: Store, *statements: str) -> None:
    with store.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement).fetchall()


def rechain(store: Store) -> None:
    """Forge the chain, as only somebody who holds its key can, so that the other checks stand alone."""
    before, links = chain.NO_LINK, []
    batches = chain.stored_batches(store.arrow)
    for batch, parts in zip(batches, chain.contents(store.arrow, batches), strict=True):
        before = chain.link(store._key, before, batch.number, batch.now, parts)
        links.append(f"({batch.number}, '{before}')")
    forged = f"(values {', '.join(links)}) forged(batch, link)"
    plant(store, f"update batch set link = forged.link from {forged} where forged.batch = batch.batch")
    store._link = before
    store._write_head()


# --- what is whole


def test_a_store_in_which_everything_happened_is_clean(store: Store) -> None:
    assert verify.check(store) == []


def test_the_life_that_the_checks_look_at_holds_every_sort_of_event(store: Store) -> None:
    """Else a clean bill would say little."""
    seen = store.read("select distinct event from task_event")["event"].to_list()
    assert set(EVENTS) - set(seen) == set()
    for table, column, wanted in (
        ("service_event", "event", {"lost", "returned", "suspect", "cleared", "console_down", "console_up", "slots",
                                    "stale_report", "draining", "offline", "online"}),
        ("hold_event", "event", {"placed", "begun", "lifted", "expired"}),
        ("schedule_fire", "outcome", {"fired", "skipped", "coalesced", "queued"}),
        ("blackout_fire", "outcome", {"held", "missed"}),
        ("blackout_event", "event", {"created", "edited", "removed"}),
        ("throttle_event", "throttle || ' ' || event", {"ramp begun", "ramp shut", "ramp open", "ramp ended",
                                                        "cap begun", "cap changed", "cap shut", "cap open",
                                                        "cap ended"}),
        ("queue_shift", "to_cause", {"hold", "console", "throttled", "offline", "exclusive", "capacity"}),
    ):  # fmt: skip
        assert wanted <= set(store.read(f"select distinct {column} as word from {table}")["word"].to_list())


@pytest.mark.parametrize("seed", [2, 3])
def test_other_lives_are_clean_too(tmp_path: Path, seed: int) -> None:
    drive = lived(tmp_path / "data", tasks=400, seed=seed, throttles=seed)
    black_out(drive)
    assert verify.check(drive.store) == []
    drive.publish()
    drive.restart(HOUR)
    assert verify.check(drive.store) == []
    drive.store.close()


def test_an_empty_store_is_clean(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        assert verify.check(store) == []
        rollups.prepare(store)
        assert verify.check(store) == []


def test_an_absent_store_is_told_apart_from_one_that_lost_its_database(good: Path, tmp_path: Path) -> None:
    assert (
        verify.nothing_there(tmp_path / "nowhere") == f"There is no store in {tmp_path / 'nowhere'}: nothing to check."
    )
    assert verify.nothing_there(good) is None
    shutil.copytree(good, tmp_path / "robbed")
    (tmp_path / "robbed" / "drainboard.duckdb").unlink()
    assert verify.nothing_there(tmp_path / "robbed") is None


def test_an_import_keeps_the_store_clean(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "jobs.csv"
    log.write_text(
        "id,submitted,started,ended,state,user,kind\n"
        "1,2020-01-01 00:00:00,2020-01-01 00:10:00,2020-01-01 01:00:00,completed,ann,scan\n"
        "2,2020-01-01 00:05:00,2020-01-01 00:11:00,2020-01-01 00:59:00,failed,bob,scan\n"
        "3,2020-01-01 00:06:00,2020-01-01 00:12:00,2020-01-01 00:50:00,cancelled,ann,audit\n"
        "4,2020-01-01 00:07:00,,2020-01-01 00:20:00,cancelled,ann,scan\n"
        "5,2020-01-01 00:08:00,,2020-01-01 00:30:00,completed,ann,report\n"
        "6,2020-01-01 00:09:00,,2020-01-01 00:40:00,completed,ann,import\n"
        "7,2020-01-01 00:09:00,2020-01-01 00:09:00,,timeout,cid,query\n"
        "8,2020-01-01 00:09:30,,2020-01-01 00:45:00,failed,cid,connector\n"
        "9,2020-01-01 00:09:40,2020-01-01 00:30:00,2020-01-01 00:46:00,completed,cid,outlier\n"
    )
    parsed = joblogs.parse(log, "csv")
    assert not parsed.bad
    last = store.read("select max(event_id), max(task_id) from task_event where business = 'acme'").row(0)
    first_event, first_task = ((number & (1 << 40) - 1) + 1 for number in last)
    later = store.read(
        "select max(n) from (select max(event_id) as n from service_event where business = 'acme' union all "
        "select max(event_id) from hold_event where business = 'acme' union all "
        "select max(event_id) from schedule_fire where business = 'acme')"
    ).item()
    first_event = max(first_event, (later & (1 << 40) - 1) + 1)
    now = store.read("select epoch_us(max(committed_at)) from batch").item()
    rows = imports.LogRows(parsed, imports.Place("acme", "berlin", "scan", "import:jobs.csv"), now)
    store.commit(store.batch + 1, now, Rows(), imports.numbered(rows.tables(), 1, first_event, first_task))
    assert verify.check(store) == []
    rollups.advance(store)
    assert verify.check(store) == []


def test_a_check_beside_a_console_that_commits_is_clean(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "data")
    drive.found()
    enough = threading.Event()

    def live() -> None:
        for turn in range(400):
            drive.tick(2 * SECOND, m.Submit([drive.task() for _ in range(3)]))
            drive.commit()
            if turn % 20 == 0:
                drive.publish()
            if enough.is_set():
                return

    console = threading.Thread(target=live)
    console.start()
    try:
        for _ in range(3):
            before = drive.store.batch
            assert verify.check(drive.store) == []
            assert drive.store.batch > before
    finally:
        enough.set()
        console.join()
        drive.store.close()


def test_what_is_committed_while_the_console_is_down_is_no_missed_occurrence(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "data")
    drive.found()
    drive.tick(6 * MINUTE)
    drive.commit()
    drive.now += HOUR
    command = m.Command("at rest", "cli:ann", m.AddSite("acme", "archive", archive=True))
    drive.outbox.add(drive.core.obey(Reading(drive.now, 0, drive.now - HOUR), [command]))
    drive.commit()
    assert verify.check(drive.store) == []
    drive.tick(MINUTE)
    drive.commit()
    assert verify.check(drive.store) == []
    drive.store.close()


def test_a_schedule_that_is_edited_and_removed_owes_nothing_more(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "data")
    drive.found()
    every = Rule.interval(30, drive.now)
    spec = m.ScheduleSpec("Often", "acme", "berlin", Kind.AUDIT, every, "ann")
    ((schedule,),) = (outcome.changed for outcome in drive.do(m.CreateSchedule(spec)))
    for _ in range(10):
        drive.tick(11 * SECOND)
    rarely = m.ScheduleSpec("Rarely", "acme", "berlin", Kind.AUDIT, Rule.interval(70, drive.now), "ann")
    drive.do(m.EditSchedule(int(schedule), 1, rarely))
    for _ in range(20):
        drive.tick(11 * SECOND)
    drive.do(m.RemoveSchedule(int(schedule)))
    drive.tick(10 * MINUTE)
    drive.commit()
    assert verify.check(drive.store) == []
    drive.store.close()


def test_with_fair_share_owners_take_turns_and_only_priorities_are_asked_for(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "data", policy=replace(POLICY, fair_share=True))
    drive.found()
    owners = ("ann",) * 6 + ("bob",) * 3
    audits = [m.NewTask("acme", "berlin", Kind.AUDIT, "Audit", owner, owner) for owner in owners]
    drive.do(m.Submit(audits))
    for _ in range(60):
        drive.tick(10 * SECOND)
    drive.commit()
    assert verify.check(drive.store, fair_share=True) == []
    assert names(drive.store) == {"dispatch order"}
    drive.store.close()


# --- what is spoilt


@dataclass(frozen=True)
class Spoilt:
    """One corruption: who names it, how it is planted, and who else may speak of it."""

    what: str
    check: str
    sql: tuple[str, ...]
    others: frozenset[str] = frozenset()


def spoilt(what: str, check: str, *sql: str, others: str = "") -> Spoilt:
    return Spoilt(what, check, sql, frozenset(others.split(", ")) - {""})


_LAST = "(select max(batch) from batch)"
_NOW = "(select max(committed_at) from batch)"
_NEXT = """(select 1 + max(n) from (
    select max(event_id) as n from task_event where business = 'acme'
    union all select max(event_id) from service_event where business = 'acme'
    union all select max(event_id) from hold_event where business = 'acme'
    union all select max(event_id) from schedule_fire where business = 'acme'))"""
_PROCESSED = "(select min(task_id) from task_done where status = 'Processed' and kind = 'scan')"


def _first(event: str, more: str = "true") -> str:
    return f"event_id = (select min(event_id) from task_event where event = '{event}' and {more})"


def _passed(more: str, place: str = "(u.business, u.site) = (t.business, t.site)") -> str:
    """Find a task `u` that waited, never held, while a task `t` of the same place started."""
    return f"""(select min(u.task_id) from task_event u
        join task_event j on j.task_id = u.task_id and j.event_id < u.event_id and (j.dq > 0 or j.dp > 0)
        join task_event t on t.event_id > j.event_id and t.event_id < u.event_id and {place}
        where u.event in ('claim', 'process') and t.event in ('claim', 'process') and {more}
          and (u.detail -> '$.waited.hold') is null and (u.detail -> '$.waited.throttled') is null
          and j.event in ('submit', 'hand_over')
          and (u.event = 'process') = (j.event = 'hand_over') and (j.detail ->> '$.requested_service') is null
          and u.task_id not in (select task_id from task_event where event = 'edit'))"""


_WAITED = "(detail -> '$.waited.capacity')::bigint > 1000"

LEDGER = (
    spoilt(
        "lost event", "event ids",
        f"delete from task_event where {_first('ask_to_suspend')}",
    ),
    spoilt(
        "event of another business", "event ids",
        f"update task_event set business = 'globex' where {_first('due')}",
        others="edges, depths, rollups, peaks",
    ),
    spoilt(
        "event moved in time", "time",
        f"update task_event set occurred_at = occurred_at - interval 1 hour where {_first('edit')}",
        others="wait split, depths",
    ),
    spoilt(
        "illegal edge", "edges",
        f"update task_event set to_status = 'Processing' where {_first('collected')}",
        others="task rows",
    ),
    spoilt(
        "step after the end", "edges",
        f"""insert into task_event by name select * replace ({_NEXT} as event_id, {_LAST} as batch,
            {_NOW} as occurred_at, 'edit' as event, to_status as from_status, null as service, null as lease,
            {{'changes': {{'name': 'again'}}}}::json as detail, 0 as dr)
            from task_event where {_first("finish", "business = 'acme'")}""",
        others="task rows, results",
    ),
    spoilt(
        "wrong delta", "deltas",
        f"update task_event set dq = 0 where {_first('due')}",
        others="one service, wait split, depths, task rows, rollups, peaks",
    ),
    spoilt(
        "change without a cause", "deltas",
        f"update task_event set cause = null where {_first('claim', 'batch > 60')}",
        others="depths, rollups, peaks",
    ),
    spoilt(
        "wrong lease", "leases",
        f"update task_event set lease = lease - 1 where {_first('collected')}",
    ),
    spoilt(
        "report of another service", "leases",
        f"update task_event set service = 'processor-9' where {_first('finish')}",
        others="slots, exclusive scans, services",
    ),
    spoilt(
        "miscounted attempts", "attempts",
        "update task_event set attempt = attempt + 1 where event_id = (select max(event_id) from task_event "
        "where event = 'rescue' and reason = 'worker_lost')",
    ),
    spoilt(
        "double claim", "one service",
        f"""insert into task_event by name select * replace ({_NEXT} as event_id, {_LAST} as batch,
            {_NOW} as occurred_at, {_NEXT} as lease, null as detail)
            from task_event e where event = 'claim' and business = 'acme' and task_id in (
                select task_id from task_live where status in ('Active', 'Connecting', 'Processing'))
            order by event_id desc limit 1""",
        others="edges, slots, exclusive scans, services, holds, wait split, depths, live rows, rollups, peaks",
    ),
    spoilt(
        "wait split off by a microsecond", "wait split",
        f"""update task_event set detail = json_merge_patch(detail, {{'waited': {{'capacity':
            (detail -> '$.waited.capacity')::bigint + 1}}}}::json) where {_first("claim", _WAITED)}""",
        others="task rows, live rows",
    ),
    spoilt(
        "wait under a hold called a lack of capacity", "wait split",
        """update task_event set detail = json_merge_patch(detail, {'waited': {
               'capacity': coalesce((detail -> '$.waited.capacity')::bigint, 0)
                           + (detail -> '$.waited.hold')::bigint, 'hold': null}}::json)
           where event_id = (select max(event_id) from task_event where event = 'claim'
                             and (detail -> '$.waited.hold')::bigint > 1000)""",
        others="task rows, live rows",
    ),
    spoilt(
        "wait for the console called a lack of capacity", "wait split",
        """update task_event set detail = json_merge_patch(detail, {'waited': {
               'capacity': coalesce((detail -> '$.waited.capacity')::bigint, 0)
                           + (detail -> '$.waited.console')::bigint, 'console': null}}::json)
           where event_id = (select max(event_id) from task_event where event in ('claim', 'process')
                             and (detail -> '$.waited.console')::bigint > 1000)""",
        others="task rows, live rows, widget refreshes",
    ),
    spoilt(
        "wait for a lost service called a lack of capacity", "wait split",
        """update task_event set detail = json_merge_patch(detail, {'waited': {
               'capacity': coalesce((detail -> '$.waited.capacity')::bigint, 0)
                           + (detail -> '$.waited.offline')::bigint, 'offline': null}}::json)
           where event_id = (select min(event_id) from task_event where event = 'claim' and kind = 'audit'
                             and (detail -> '$.waited.offline')::bigint > 1000)""",
        others="task rows, live rows",
    ),
    spoilt(
        "wait for another scan called a lack of capacity", "wait split",
        """update task_event set detail = json_merge_patch(detail, {'waited': {
               'capacity': (detail -> '$.waited.exclusive')::bigint, 'exclusive': null}}::json)
           where event_id = (select min(event_id) from task_event where event = 'claim'
                             and (detail -> '$.waited.exclusive')::bigint > 1000)""",
        others="task rows, live rows",
    ),
    spoilt(
        "wait of a task that asked for a service that was there", "wait split",
        """update task_event set detail = json_merge_patch(detail, {'requested_service': 'nowhere'}::json)
           where event = 'submit' and kind = 'audit' and task_id = (
               select min(task_id) from task_event where event = 'claim' and kind = 'audit'
               and (detail -> '$.waited.capacity')::bigint > 1000)""",
        others="services, task rows, live rows",
    ),
    spoilt(
        "passed over by a lower priority", "dispatch order",
        f"""update task_event set detail = json_merge_patch(detail, {{'priority': 99}}::json)
            where event = 'submit' and task_id = {_passed("u.kind = 'scan' and t.kind = 'scan'")}""",
        others="task rows, live rows",
    ),
    spoilt(
        "import passed over by a connector at the zone", "dispatch order",
        f"""update task_event set detail = json_merge_patch(detail, {{'priority': 99}}::json)
            where event = 'submit' and task_id = {
    _passed("u.kind = 'import' and t.kind = 'connector' and t.service like 'zone%'")
}""",
        others="task rows, live rows",
    ),
    spoilt(
        "passed over at the processors", "dispatch order",
        f"""update task_event set detail = json_merge_patch(detail, {{'priority': 99}}::json)
            where event = 'submit' and task_id = {
    _passed("u.event = 'process' and t.kind = 'query' and t.event = 'claim'", "u.business = t.business")
}""",
        others="task rows, live rows",
    ),
    spoilt(
        "fired while a run waited", "one waiting run",
        """update task_event set detail = json_merge_patch(detail, {'schedule_id': (
               select min(schedule_id) from schedule_fire where outcome = 'fired' and business = 'acme')}::json)
           where event = 'submit' and task_id = (
               select min(u.task_id) from task_event u join task_event j using (task_id)
               join schedule_fire f on f.event_id between j.event_id and u.event_id
               where u.event = 'claim' and j.event = 'submit' and j.actor <> 'schedule' and u.business = 'acme'
                 and f.outcome = 'fired' and f.schedule_id = (
                     select min(schedule_id) from schedule_fire where outcome = 'fired' and business = 'acme'))""",
        others="task rows, live rows, wait split, holds",
    ),
    spoilt(
        "kept from firing by a run that did not wait", "one waiting run",
        "update schedule_fire set reason = 'still_waiting' where outcome = 'skipped' and reason = 'hold'",
    ),
    spoilt(
        "started under a hold", "holds",
        """update hold_event set target_kind = 'kind', target = (select arg_max(kind, event_id) from task_event
               where event = 'claim' and business = 'acme' and occurred_at between
               (select min(h.occurred_at) from hold_event h where h.event = 'begun'
                    and h.hold_id = (select min(hold_id) from hold_event where event = 'begun' and business = 'acme'))
               and (select min(h.occurred_at) from hold_event h where h.event in ('lifted', 'expired')
                    and h.hold_id = (select min(hold_id) from hold_event where event = 'begun' and business = 'acme')))
           where hold_id = (select min(hold_id) from hold_event where event = 'begun' and business = 'acme')""",
        others="wait split, dispatch order",
    ),
    spoilt(
        "hold that began twice", "holds",
        "update hold_event set event = 'begun' where event_id = (select max(event_id) from hold_event "
        "where event = 'lifted' and business = 'acme')",
        others="wait split, live rows",
    ),
    spoilt(
        "cap that was lower", "throttles",
        "update throttle_event set at_most = 1 where throttle = 'cap' and at_most > 1",
    ),
    spoilt(
        "ramp that was slower", "throttles",
        "update throttle_event set rate = 1 where throttle = 'ramp' and rate = 60",
    ),
    spoilt(
        "ramp that shut later", "throttles",
        "update throttle_event set occurred_at = occurred_at + interval 10 millisecond where event_id = "
        "(select min(event_id) from throttle_event where throttle = 'ramp' and event = 'shut')",
        others="wait split, time, dispatch order",
    ),
    spoilt(
        "too many for the slots", "slots",
        """update service_event set detail = json_merge_patch(detail, {'slots': 1}::json)
           where event = 'service_added' and service = 'processor-0' and business = 'acme'""",
    ),
    spoilt(
        "started on a lost service", "services",
        """update service_event set event = 'lost' where event_id = (
               select min(event_id) from service_event where event = 'online' and service like 'processor%')""",
        others="wait split",
    ),
    spoilt(
        "started on a service of another sort", "services",
        """update service_event set detail = json_merge_patch(detail, {'role': 'audit_service'}::json)
           where event = 'service_added' and service = 'explorer-berlin-1' and business = 'acme'""",
        others="slots, wait split",
    ),
    spoilt(
        "more left than came", "depths",
        "update queue_shift set n = n + 1000 where n = (select max(n) from queue_shift) and batch > 10",
        others="rollups",
    ),
    spoilt(
        "missed occurrence", "schedules",
        "delete from schedule_fire where event_id = (select max(event_id) from schedule_fire where count = 1 "
        "and outcome = 'skipped')",
        others="event ids",
    ),
    spoilt(
        "doubled occurrence", "schedules",
        f"""insert into schedule_fire by name select * replace ({_NEXT} as event_id, {_LAST} as batch,
            {_NOW} as occurred_at, 'skipped' as outcome, null as task_id) from schedule_fire
            where event_id = (select max(event_id) from schedule_fire where business = 'acme' and outcome = 'fired'
                              and count = 1)""",
    ),
    spoilt(
        "miscounted occurrences", "schedules",
        "update schedule_fire set count = count - 1 where event_id = (select max(event_id) from schedule_fire "
        "where outcome = 'coalesced')",
    ),
    spoilt(
        "run of another schedule", "schedules",
        """update schedule_fire set task_id = task_id + 1 where event_id = (
               select max(event_id) from schedule_fire where outcome = 'fired')""",
    ),
    spoilt(
        "window passed over", "blackouts",
        "delete from blackout_fire where event_id = (select min(event_id) from blackout_fire where outcome = 'missed')",
        others="event ids",
    ),
    spoilt(
        "window missed though the console was up", "blackouts",
        """update blackout_fire set outcome = 'missed', hold_id = null where event_id = (
               select max(event_id) from blackout_fire where outcome = 'held')""",
    ),
    spoilt(
        "hold that outlasts its window", "blackouts",
        """update hold_event set occurred_at = occurred_at + interval 1 second where event_id = (
               select max(event_id) from hold_event where actor = 'engine' and event = 'expired')""",
        others="time, wait split, dispatch order, holds, live rows",
    ),
    spoilt(
        "window that says it was shorter", "blackouts",
        "update blackout_event set detail = json_merge_patch(detail, {'duration_s': 60}::json) where version = 2",
    ),
    spoilt(
        "hold of two windows at once", "blackouts",
        """update blackout_fire set hold_id = (select min(hold_id) from blackout_fire)
           where event_id = (select max(event_id) from blackout_fire where outcome = 'held')""",
    ),
    spoilt(
        "lost audit row", "audit ids",
        "delete from audit where audit_id = (select min(audit_id) + 7 from audit where business = 'acme')",
    ),
)  # fmt: skip

DERIVED = (
    spoilt(
        "rollup off by one", "rollups",
        "update queue_minute set depth = depth + 1 where level = 'kind' and kind = 'scan' "
        "and bucket = (select max(bucket) from queue_minute where level = 'kind' and kind = 'scan')",
    ),
    spoilt(
        "wrong peak", "peaks",
        "update queue_quarter set highest = highest - 1 where level = 'all' and bucket = (select min(bucket) from "
        "queue_quarter)",
    ),
    spoilt(
        "wait counted in another bin", "wait histogram",
        "update wait_histogram set bin = bin + 1 where (hour, kind, site, business, bin) in (select (hour, kind, site, "
        "business, bin) from wait_histogram where stage = 'collect' order by bin desc limit 1)",
    ),
    spoilt(
        "task row disagreeing with the ledger", "task rows",
        f"update task_done set owner = 'mallory' where task_id = {_PROCESSED}",
    ),
    spoilt(
        "task row a microsecond off", "task rows",
        f"update task_done set run_s = run_s + 0.000001 where task_id = {_PROCESSED}",
    ),
    spoilt(
        "finished task without its row", "task rows",
        f"delete from task_done where task_id = {_PROCESSED}",
        others="wait histogram",
    ),
    spoilt(
        "finished task with two rows", "task rows",
        f"insert into task_done select * from task_done where task_id = {_PROCESSED}",
        others="wait histogram",
    ),
    spoilt(
        "newer version not marked", "task rows",
        "update task_done set superseded_by = null where (task_id, batch) in (select (task_id, batch) from task_done "
        "where superseded_by is not null and status <> 'New' order by task_id, batch limit 1)",
        others="wait histogram",
    ),
    spoilt(
        "live row disagreeing", "live rows",
        "update task_live set priority = priority + 1 where task_id = (select min(task_id) from task_live)",
    ),
    spoilt(
        "live row missing", "live rows",
        "delete from task_live where task_id = (select min(task_id) from task_live)",
    ),
    spoilt(
        "waiting task not shown as Paused", "live rows",
        "update task_live set held_by = null "
        "where task_id = (select min(task_id) from task_live where held_by is not null)",
    ),
    spoilt(
        "wrong latency of a widget", "widget refreshes",
        "update widget_refresh set latency_s = latency_s + 1 where task_id = (select min(task_id) from widget_refresh)",
    ),
    spoilt(
        "another result put in a report's place", "results",
        """update report_result set result = '{"report":"x","n":1}'
           where task_id = (select min(task_id) from report_result)""",
    ),
    spoilt(
        "result missing", "results",
        "delete from report_result where task_id = (select min(task_id) from report_result)",
    ),
    spoilt(
        "result of a business given to a site", "results",
        "update report_result set site = 'berlin' where task_id = (select min(task_id) from report_result "
        "where site is null)",
    ),
    spoilt(
        "result of a task that found none", "results",
        "insert into report_result select batch, task_id, business, site, name, created_by, finished_at, '{}' "
        "from task_done where task_id = (select min(task_id) from task_done where kind = 'scan' and "
        "outcome = 'finished')",
    ),
)  # fmt: skip


def two_scans(store: Store) -> list[str]:
    """Move a scan to the explorer beside its own, where another ran already."""
    frame = store.read(
        """with stage as (
               select task_id, business, site, service, lease, min(event_id) as first, max(event_id) as last
               from task_event where kind = 'scan' and service like 'explorer%' and dr <> 0 group by all)
           select a.lease, b.service from stage a join stage b
           on a.business = b.business and a.site = b.site and a.service > b.service
              and a.first between b.first and b.last
           where a.task_id not in (select task_id from task_event where (detail ->> '$.requested_service') is not null
                                   or (detail ->> '$.changes.requested_service') is not null)
           order by a.lease limit 1"""
    )
    lease, service = frame.row(0)
    return [f"update task_event set service = '{service}' where lease = {lease}"]


def swapped(store: Store) -> list[str]:
    """Let two tasks of one line change places from the first one's start on, as if the later one had gone first."""
    frame = store.read(
        """with line as (
                select s.task_id, s.event_id as joined, c.event_id as started, s.business, s.site, s.kind, s.owner,
                       s.detail ->> '$.priority' as priority
                from task_event s join task_event c using (task_id)
                where s.event = 'submit' and s.dq = 1 and c.event = 'claim' and s.kind <> 'query'
                  and (s.detail ->> '$.requested_service') is null
                  and (s.detail ->> '$.schedule_id') is null and (c.detail -> '$.waited.hold') is null
                  and s.task_id not in (select task_id from task_event where event in ('edit', 'rescue', 'suspended')))
            select a.task_id, b.task_id, a.started from line a join line b
            on (a.business, a.site, a.kind, a.owner) = (b.business, b.site, b.kind, b.owner)
               and a.priority is not distinct from b.priority
               and a.joined < b.joined and b.joined < a.started and a.started < b.started
            order by a.started limit 1"""
    )
    first, second, since = frame.row(0)
    return [
        f"update task_event set task_id = {first} + {second} - task_id "
        f"where task_id in ({first}, {second}) and event_id >= {since}"
    ]


#: One for each check is planted always, the others in the long form.
SHORT = {
    *{one.check: one.what for one in reversed((*LEDGER, *DERIVED))}.values(), "doubled occurrence",
    "wait for a lost service called a lack of capacity", "import passed over by a connector at the zone",
}  # fmt: skip
FORGED = {"illegal edge", "double claim", "wrong lease", "wait split off by a microsecond", "doubled occurrence"}


def marked(which: tuple[Spoilt, ...], always: set[str]) -> Iterator[Any]:
    for one in which:
        yield pytest.param(one, marks=[] if one.what in always else pytest.mark.long, id=one.what)


@pytest.mark.parametrize("one", [*marked(LEDGER, SHORT)])
def test_a_spoilt_ledger_is_named_by_its_check_and_by_the_chain(store: Store, one: Spoilt) -> None:
    plant(store, *one.sql)
    found = names(store)
    assert {one.check, "chain"} <= found
    assert found <= {one.check, "chain"} | one.others


@pytest.mark.parametrize("one", [*marked(LEDGER, FORGED)])
def test_a_ledger_that_was_wrong_when_it_was_committed_is_named_without_the_chain(store: Store, one: Spoilt) -> None:
    plant(store, *one.sql)
    rechain(store)
    found = names(store)
    assert one.check in found
    assert "chain" not in found


@pytest.mark.parametrize("one", [*marked(DERIVED, SHORT)])
def test_a_spoilt_derived_row_is_named_by_its_check_and_by_no_other(store: Store, one: Spoilt) -> None:
    plant(store, *one.sql)
    found = names(store)
    assert one.check in found
    assert found <= {one.check} | one.others


def test_two_scans_on_one_explorer_are_named(store: Store) -> None:
    plant(store, *two_scans(store))
    rechain(store)
    found = names(store)
    assert "exclusive scans" in found
    assert found <= {"exclusive scans", "task rows", "live rows", "slots", "services"}


def test_a_task_that_started_before_an_earlier_one_of_its_line_is_named(store: Store) -> None:
    plant(store, *swapped(store))
    rechain(store)
    found = verify.check(store)
    assert {finding.check for finding in found} >= {"dispatch order"}
    assert {finding.check for finding in found} <= {"dispatch order", "wait split", "task rows", "live rows", "results"}
    (told,) = [finding for finding in found if finding.check == "dispatch order"]
    assert "went before " in told.what


def test_an_edited_audit_row_is_named_with_its_batch(store: Store) -> None:
    plant(store, "update audit set actor = 'mallory' where audit_id = (select max(audit_id) from audit)")
    batch = store.read("select batch from audit where actor = 'mallory'").item()
    (finding,) = verify.check(store)
    assert finding == verify.Finding(
        "chain", f"batch {batch}", f"the rows of batch {batch} are not those that were committed"
    )


def test_an_audit_trail_cut_at_its_end_is_named(store: Store) -> None:
    plant(store, "delete from audit where batch = (select max(batch) from audit)")
    assert names(store) == {"chain"}


def test_a_ledger_cut_at_its_end_is_named(store: Store) -> None:
    last = store.batch
    tables = ("task_event", "service_event", "hold_event", "schedule_event", "schedule_fire", "queue_shift", "audit",
              "task_done", "widget_refresh", "batch")  # fmt: skip
    plant(store, *(f"delete from {table} where batch = {last}" for table in tables))
    (finding,) = [finding for finding in verify.check(store) if finding.check == "chain"]
    assert f"the ledger ends at batch {last - 1}, batch {last} was acknowledged" in finding.what


def test_every_check_is_seen_to_find_something() -> None:
    named = {one.check for one in (*LEDGER, *DERIVED) if one.what in SHORT} | {"chain", "exclusive scans"}
    assert named == set(verify.CHECKS)


# --- how it is told


def test_a_finding_says_where_it_is_and_what_was_expected(store: Store) -> None:
    task_id, number, business, site = store.read(
        "select task_id, number, business, site from task_done where status = 'Processed' and kind = 'audit' "
        "order by task_id limit 1"
    ).row(0)
    plant(store, f"update task_done set priority = 7, errors = 3 where task_id = {task_id}")
    (finding,) = verify.check(store)
    assert finding.check == "task rows"
    assert finding.where.startswith(f"{business} / {site} / Audit #{number}, batch ")
    assert "priority is 7, the ledger says" in finding.what
    assert "errors is 3, the ledger says" in finding.what


def test_of_many_findings_of_one_check_twenty_are_told_and_the_rest_are_counted(store: Store) -> None:
    total = store.read("select count(*) from task where finished_at is not null").item()
    plant(store, "update task_done set target = 'elsewhere'")
    findings = verify.check(store)
    assert {finding.check for finding in findings} == {"task rows"}
    assert len(findings) == verify.KEPT + 1
    assert findings[-1] == verify.Finding("task rows", "elsewhere", f"{total - verify.KEPT:,} more of this sort")


def test_progress_is_told_step_by_step_to_the_end(store: Store) -> None:
    told: list[tuple[str, int, int]] = []
    verify.check(store, lambda what, done, total: told.append((what, done, total)))
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert told[-1] == ("done", len(told) - 1, len(told) - 1)


def test_small_spans_find_what_one_large_one_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "TASKS_AT_ONCE", 317)
    monkeypatch.setattr(numbering, "EVENTS_AT_ONCE", 1_997)
    monkeypatch.setattr(turns, "EVENTS_AT_ONCE", 499)
    monkeypatch.setattr(occurrences, "FIRES_AT_ONCE", 7)
    monkeypatch.setattr(occurrences, "NOMINAL_AT_ONCE", 3)
    assert verify.check(store) == []
    plant(store, *LEDGER[0].sql, *DERIVED[3].sql)
    assert names(store) == {"chain", "event ids", "task rows"}
