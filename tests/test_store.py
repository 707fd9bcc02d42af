"""The store keeps what it acknowledged, notices what was changed behind its back, and says so plainly."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from engine import chain, rollups
from engine.batch import prepare
from engine.chain import BLOCK, HEAD, KEY, NO_LINK, read_head
from engine.clock import HOUR, MINUTE, SECOND
from engine.columns import plain_columns, plain_schema
from engine.errors import CommitFailed, StoreDamaged, StoreError, StoreFull, StoreInUse
from engine.ledger import (
    KEYS,
    LEDGER_TABLES,
    ROW_TYPES,
    Account,
    AssetSeen,
    Audit,
    QueueShift,
    Rows,
    TaskEvent,
    TaskRow,
    make_id,
)  # fmt: skip
from engine.schema import MIGRATIONS, TYPES, migrate
from engine.store import DATABASE, Store, whole

from .stores import fresh

NOW = 1_800_000_000_000_000
ODD_TEXTS = ["plain", "naïve – Ünïcødé 漢字 🛰", "", "line\nbreak\t\"quoted\" 'single'", "nul\0inside", "a" * 500]
ODD_DETAILS = [{}, {"name": "Nightly", "n": [1, 2.5, None, True], "ü": {"deep": "漢"}}, {"text": "a\u2028b\"'\\"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with fresh(tmp_path) as opened:
        yield opened


def made_up(table: str, n: int, draw: random.Random) -> list[Any]:
    """Rows of one type with odd values in every column; what may be absent sometimes is."""
    rows = []
    for i in range(n):
        values = []
        for name, hint in typing.get_type_hints(ROW_TYPES[table]).items():
            kinds = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
            kind = next(k for k in kinds if k is not type(None))
            value: Any
            if type(None) in kinds and draw.random() < 0.3:
                value = None
            elif name in ("event_id", "audit_id"):
                value = make_id(1 + i % 3, i)
            elif name.endswith("_at"):
                value = NOW + draw.randrange(-(10**15), 10**15)
            elif kind is str:
                value = draw.choice(ODD_TEXTS)
            elif kind is bool:
                value = draw.random() < 0.5
            elif kind is float:
                value = draw.random()
            elif kind is int:
                value = draw.choice([0, 1, -1, draw.randrange(2**40)])
            else:
                value = draw.choice(ODD_DETAILS)
            values.append(value)
        rows.append(ROW_TYPES[table](*values))
    return rows


def event(
    task: int, number: int, kind: str, to_status: str, at: int = NOW, business: int = 1, **given: Any
) -> TaskEvent:
    row = TaskEvent(
        make_id(business, number), at, make_id(business, task), kind, None, to_status, None, "ann", "acme", "berlin",
        "scan", "ann", None, None, 0, None, 0, 0, 0, None, None,
    )  # fmt: skip
    return row._replace(**given)


def task_row(task: int, status: str, **given: Any) -> TaskRow:
    whole = {
        "task_id": make_id(1, task), "number": task, "name": f"Nightly {task}", "kind": "scan", "business": "acme",
        "site": "berlin", "initiator": "ann", "owner": "ann", "created_by": "ann", "source": "live", "status": status,
        "shown_status": status, "errors": 0, "attempt": 0, "priority": 5, "version": 1, "hidden": False,
        "created_at": NOW + task, "process_wait_hold_s": 0,
        **{name: 0 for name in TaskRow._fields if name.startswith("wait_") and name != "wait_s"}, **given,
    }  # fmt: skip
    return TaskRow(*(whole.get(name) for name in TaskRow._fields))


def audit(number: int, **given: Any) -> Audit:
    row = Audit(
        make_id(1, number), NOW, "acme", "berlin", "ann", "stop", "task", "7", "changed", None, {"n": number}, None, "r"
    )
    return row._replace(**given)


def commit(store: Store, **tables: list[Any]) -> int:
    store.commit(store.batch + 1, NOW + store.batch, Rows(**tables))
    return store.batch


# --- what goes in comes out


@pytest.mark.parametrize("table", [table for table in ROW_TYPES if table not in KEYS])
def test_rows_come_back_from_a_reopened_store_as_they_were(tmp_path: Path, table: str) -> None:
    rows = made_up(table, 300, random.Random(table))
    if table == "task_done":
        rows = [row._replace(task_id=i) for i, row in enumerate(rows)]
    with Store.open(tmp_path) as store:
        commit(store, **{table: rows[:200]})
        commit(store, **{table: rows[200:]})
    with Store.open(tmp_path) as store:
        found = store.rows(table)
    key: Callable[[Any], str] = repr
    assert sorted(found, key=key) == sorted(rows, key=key)


def test_instants_and_durations_are_exact_in_sql(store: Store) -> None:
    commit(store, task_done=[task_row(1, "Processed", wait_s=1, run_s=3_600_000_001, finished_at=NOW + 1)])
    found = store.read("select wait_s::varchar, run_s::varchar, epoch_us(finished_at) from task_done").row(0)
    assert found == ("0.000001", "3600.000001", NOW + 1)


def test_details_are_json_in_sql(store: Store) -> None:
    commit(store, task_event=[event(1, 1, "submit", "New", detail={"name": "Nightly", "n": [1, 2]})])
    assert store.read("select detail->>'name', detail->'n'->1 from task_event").row(0) == ("Nightly", "2")


def test_half_a_surrogate_pair_does_not_block_the_ledger(store: Store) -> None:
    commit(store, audit=[audit(1, actor="bad\ud800", after={"x": "\udfff"})])
    assert store.rows("audit")[0].actor == "bad?"
    assert store.broken_link() is None


def test_rows_stand_in_the_order_of_batch_and_event(store: Store) -> None:
    commit(store, task_event=[event(1, 2, "a", "New"), event(1, 1, "b", "New")])
    commit(store, task_event=[event(1, 3, "c", "New")])
    assert [row.event for row in store.rows("task_event")] == ["b", "a", "c"]


def test_every_public_column_has_a_comment(store: Store) -> None:
    bare = store.read(
        "select table_name, column_name from duckdb_columns() where not internal and comment is null "
        "union all select table_name, '' from duckdb_tables() where comment is null"
    )
    assert bare.rows() == []


def test_comments_that_are_others_or_none_are_put_right_when_tables_are_prepared(store: Store) -> None:
    told = """select table_name, column_name, comment from duckdb_columns() where not internal
              union all select table_name, '', comment from duckdb_tables() order by all"""
    comments = store.read(told)
    with store.transaction() as cursor:
        for what in ("table queue_minute", "column queue_minute.site"):
            cursor.execute(f"comment on {what} is 'of a version before'")
        for what in ("table wait_histogram", "column wait_histogram.n"):
            cursor.execute(f"comment on {what} is null")
    assert not store.read(told).equals(comments)
    rollups.prepare(store)
    assert store.read(told).equals(comments)


def test_assets_are_upserted(store: Store) -> None:
    seen = AssetSeen("acme", "berlin", "10.0.0.1", "printer", "device", NOW, True, 0.5)
    commit(store, asset=[seen])
    commit(store, asset=[seen._replace(seen_at=NOW + 1, online=False, outlier_score=None),
                         seen._replace(seen_at=NOW + 2, name="plotter", online=False, outlier_score=None)])  # fmt: skip
    found = store.read(
        "select name, epoch_us(first_seen_at), epoch_us(last_seen_at), online, outlier_score, batch from asset"
    )
    assert found.rows() == [("plotter", NOW, NOW + 2, False, 0.5, 2)]


def test_half_a_million_rows_are_one_batch(store: Store) -> None:
    one = event(1, 1, "submit", "New")
    commit(store, task_event=[one._replace(event_id=i) for i in range(500_000)])
    assert store.read("select count(*), max(batch) from task_event").row(0) == (500_000, 1)


# --- the task view


def shown(store: Store) -> list[tuple[Any, ...]]:
    return store.read("select number, status, hidden from task order by number").rows()


def test_a_task_is_listed_once_whatever_happens_to_it(store: Store) -> None:
    store.publish_live([task_row(1, "New"), task_row(2, "Active")], store.batch)
    assert shown(store) == [(1, "New", False), (2, "Active", False)]
    commit(store, task_done=[task_row(2, "Processed")], task_event=[event(2, 1, "finish", "Processed")])
    assert shown(store) == [(1, "New", False), (2, "Processed", False)]
    commit(store, task_done=[task_row(1, "Stopped", hidden=True)], task_event=[event(1, 2, "stop", "Stopped")])
    assert shown(store) == [(1, "Stopped", True), (2, "Processed", False)]
    commit(store, task_done=[task_row(1, "New")], task_event=[event(1, 3, "restore", "New")])
    assert shown(store) == [(1, "New", False), (2, "Processed", False)]
    store.publish_live([task_row(1, "Active")], store.batch)
    assert shown(store) == [(1, "Active", False), (2, "Processed", False)]
    commit(store, task_done=[task_row(1, "Canceled")], task_event=[event(1, 4, "fail", "Canceled")])
    assert shown(store) == [(1, "Canceled", False), (2, "Processed", False)]
    store.publish_live([], store.batch)
    for hidden, kind in ((True, "hide"), (False, "unhide"), (True, "hide")):
        commit(store, task_done=[task_row(2, "Processed", hidden=hidden)], task_event=[event(2, 5, kind, "Processed")])
        assert shown(store) == [(1, "Canceled", False), (2, "Processed", hidden)]


def test_earlier_versions_can_be_read_as_of_their_batch(store: Store) -> None:
    commit(store, task_done=[task_row(1, "Processed")])
    commit(store, task_done=[task_row(1, "Processed", hidden=True)], task_event=[event(1, 1, "hide", "Processed")])
    for batch, hidden in ((1, False), (2, True)):
        as_of = "batch <= ? and (superseded_by is null or superseded_by > ?)"
        assert [row.hidden for row in store.rows("task_done", as_of, [batch, batch])] == [hidden]


def test_versions_are_known_after_reopening(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, task_done=[task_row(1, "Stopped")])
        commit(store, task_done=[task_row(1, "New")], task_event=[event(1, 1, "restore", "New")])
    with Store.open(tmp_path) as store:
        commit(store, task_done=[task_row(1, "Processed")], task_event=[event(1, 2, "finish", "Processed")])
        assert shown(store) == [(1, "Processed", False)]


def test_two_versions_in_one_batch_leave_the_last(store: Store) -> None:
    commit(
        store,
        task_done=[task_row(1, "Stopped"), task_row(1, "New")],
        task_event=[event(1, 1, "stop", "Stopped"), event(1, 2, "restore", "New")],
    )
    assert shown(store) == [(1, "New", False)]


# --- batches


def test_a_durable_batch_is_not_written_twice(store: Store) -> None:
    rows = Rows(audit=[audit(1)])
    store.commit(1, NOW, rows)
    store.commit(1, NOW, rows)
    assert store.read("select count(*) from audit").item() == 1


def test_a_gap_in_batch_numbers_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="without a gap"):
        store.commit(2, NOW, Rows(audit=[audit(1)]))


def test_rows_that_come_in_bulk_make_the_same_store_and_chain_as_rows_at_once(tmp_path: Path) -> None:
    n = BLOCK * 2 + 5
    rows = Rows(task_event=[event(i, i, "submit", "New", detail={"n": i}) for i in range(n)], audit=[audit(1)])
    columns = pa.table(plain_columns("task_event", rows.task_event), plain_schema("task_event"))
    blocks = [columns.slice(start, BLOCK) for start in range(0, n, BLOCK)]
    links = []
    for name in ("at once", "in bulk"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / KEY).write_text("ab" * 32)
        with Store.open(folder) as store:
            if name == "in bulk":
                store.commit(1, NOW, Rows(audit=rows.audit), {"task_event": blocks})
            else:
                store.commit(1, NOW, rows)
            assert store.broken_link() is None
            assert store.broken_link(rows_at_once=1) is None
            assert store.rows("task_event") == rows.task_event
            links.append(store.read("select link, row_counts::varchar from batch").row(0)[0])
    assert len(set(links)) == 1


def test_a_bulk_that_breaks_off_leaves_nothing_and_can_be_tried_again(store: Store) -> None:
    commit(store, audit=[audit(1)])
    rows = [event(i, i, "submit", "New") for i in range(20)]
    columns = pa.table(plain_columns("task_event", rows), plain_schema("task_event"))
    blocks = [columns.slice(0, 10), columns.slice(10, 10)]

    class Unreadable:
        """Reads well for the chain, and breaks off when the rows are written."""

        times = 0

        def __iter__(self) -> Iterator[pa.Table]:
            self.times += 1
            yield blocks[0]
            if self.times > 1:
                raise OSError
            yield blocks[1]

    with pytest.raises(CommitFailed):
        store.commit(2, NOW, Rows(audit=[audit(2)]), {"task_event": Unreadable()})
    assert store.read("select (select count(*) from task_event) + (select count(*) from audit)").item() == 1
    store.commit(2, NOW, Rows(audit=[audit(2)]), {"task_event": [columns]})
    assert (store.rows("task_event"), store.broken_link()) == (rows, None)


def test_an_empty_batch_is_a_batch(store: Store) -> None:
    assert commit(store) == 1
    assert store.broken_link() is None


def run_child(code: str, folder: Path, **popen: Any) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[1]
    preamble = """
        import os, resource, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from engine.errors import *
        from engine.ledger import *
        from engine.store import Store
        folder = Path(sys.argv[1])
        def audits(start, n, text="x"):
            return Rows(audit=[Audit(make_id(1, start + i), 1, "acme", None, "ann", "stop", "task", "7", "changed",
                                     None, {"text": text}, None, "r") for i in range(n)])
        def may_write_up_to(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code), str(folder), str(root)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen,
    )  # fmt: skip


def output_of(child: subprocess.Popen[str]) -> str:
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    return out


def test_a_batch_that_could_not_be_written_can_be_tried_again(tmp_path: Path) -> None:
    """The disk takes no more (here: a limit on the size of files), then it does again."""
    child = run_child(
        """
        store = Store.open(folder)
        store.commit(1, 1, audits(1, 10))
        may_write_up_to(store.wal_bytes() + 100)
        try:
            store.commit(2, 2, audits(11, 1000, os.urandom(500).hex()))
        except CommitFailed as error:
            print("failed:", error)
        print(store.read("select count(*) from audit").item(), store.batch)
        may_write_up_to(resource.RLIM_INFINITY)
        store.commit(2, 2, audits(11, 1000))
        store.commit(3, 3, audits(1011, 10))
        print(store.read("select count(*) from audit").item(), store.batch, store.broken_link())
        """,
        tmp_path,
    )
    failed, before, after = output_of(child).splitlines()
    assert failed.startswith("failed: Batch 2 could not be written")
    assert (before, after) == ("10 1", "1020 3 None")
    with Store.open(tmp_path) as store:
        assert store.read("select count(*) from audit").item() == 1020


def test_commits_go_on_beside_a_checkpoint_and_a_kill_loses_none_of_them(tmp_path: Path) -> None:
    child = run_child(
        """
        import threading
        store = Store.open(folder)
        shrunk, stop = [], threading.Event()
        def checkpoints():
            while not stop.is_set():
                before = store.wal_bytes()
                store.checkpoint(beside_commits=True)
                shrunk.append(store.wal_bytes() < before)
        beside = threading.Thread(target=checkpoints)
        beside.start()
        for batch in range(1, 121):
            store.commit(batch, batch, audits(batch * 1000, 200))
        stop.set()
        beside.join()
        print(sum(shrunk), flush=True)
        os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    out, err = child.communicate(timeout=120)
    assert child.returncode == -9, err
    assert int(out) >= 5
    with Store.open(tmp_path) as store:
        assert store.batch == 120
        assert store.read("select count(*), count(distinct audit_id) from audit").row(0) == (24_000, 24_000)
        assert store.read("select count(*) from schema_version").item() == 1
        assert store.broken_link() is None


def test_a_commit_whose_checkpoint_failed_is_durable_and_readers_go_on(tmp_path: Path) -> None:
    """DuckDB invalidates the whole database then; it has to be closed and opened again under everybody's feet."""
    child = run_child(
        """
        import threading
        store = Store.open(folder, checkpoint_mb=1)
        store.commit(1, 1, audits(1, 10))
        store.checkpoint()
        seen, errors, stop = [], [], threading.Event()
        def reading():
            while not stop.is_set():
                try:
                    seen.append(store.read("select count(*) from audit").item())
                except Exception as error:
                    errors.append(error)
        readers = [threading.Thread(target=reading) for _ in range(3)]
        [reader.start() for reader in readers]
        may_write_up_to(store.path.stat().st_size + 1_500_000)
        generation, batch = store._generation, 1
        while store._generation == generation and batch < 60:
            batch += 1
            try:
                store.commit(batch, batch, audits(batch * 1000, 100, os.urandom(2000).hex()))
            except CommitFailed as error:
                batch -= 1
                may_write_up_to(resource.RLIM_INFINITY)
        may_write_up_to(resource.RLIM_INFINITY)
        reopened = store._generation - generation
        last = batch
        for batch in range(last + 1, last + 4):
            store.commit(batch, batch, audits(batch * 1000, 100))
        stop.set()
        [reader.join() for reader in readers]
        print(reopened, store.read("select count(*) from audit").item() == 10 + 100 * (store.batch - 1),
              store.broken_link(), errors, seen == sorted(seen) or "mixed")
        """,
        tmp_path,
    )
    reopened, right, broken, errors, _ = output_of(child).split(maxsplit=4)
    assert int(reopened) >= 1
    assert (right, broken, errors) == ("True", "None", "[]")


def test_no_acknowledged_batch_is_lost_to_kill_9(tmp_path: Path) -> None:
    draw = random.Random(9)
    acknowledged = 0
    for _ in range(4):
        child = run_child(
            """
            store = Store.open(folder, checkpoint_mb=1)
            while True:
                n = store.batch + 1
                store.commit(n, n, audits(n * 1000, 200))
                print(n, flush=True)
            """,
            tmp_path,
        )
        assert child.stdout is not None
        goal = acknowledged + draw.randrange(3, 25)
        while acknowledged < goal:
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=60)
        acknowledged = max([acknowledged, *map(int, rest.split("\n")[:-1])])
        with Store.open(tmp_path) as store:
            assert store.batch in (acknowledged, acknowledged + 1)
            acknowledged = store.batch
            assert store.read("select count(*) from audit").item() == 200 * acknowledged
            assert store.broken_link() is None


# --- opening


def test_a_second_opener_is_told_who_holds_the_store(store: Store) -> None:
    with pytest.raises(StoreInUse, match=f"Process {os.getpid()} holds"):
        Store.open(store.folder)
    child = run_child(
        """
        try:
            Store.open(folder)
        except StoreInUse as error:
            print(error)
        """,
        store.folder,
    )
    assert f"Process {os.getpid()} holds" in output_of(child)


def test_a_log_without_its_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    wal = tmp_path / f"{DATABASE}.wal"
    wal.write_bytes(b"the last copy")
    with pytest.raises(StoreDamaged, match="write-ahead log"):
        Store.open(tmp_path)
    assert wal.read_bytes() == b"the last copy"
    assert not (tmp_path / DATABASE).exists()


def test_a_store_behind_its_head_is_refused_and_the_gap_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, audit=[audit(1)])
    head = json.loads((tmp_path / HEAD).read_text())
    (tmp_path / HEAD).write_text(json.dumps(head | {"batch": 5}))
    with pytest.raises(StoreDamaged, match=r"ends at batch 1, but batch 5 was acknowledged.*4 are missing"):
        Store.open(tmp_path)
    with Store.open(tmp_path, rebase=True) as store:
        assert store.batch == 1
    with Store.open(tmp_path) as store:
        assert commit(store, audit=[audit(2)]) == 2


def test_a_store_ahead_of_its_head_is_normal(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, audit=[audit(1)])
        before = (tmp_path / HEAD).read_text()
        commit(store, audit=[audit(2)])
    (tmp_path / HEAD).write_text(before)
    with Store.open(tmp_path) as store:
        assert store.batch == 2


def test_another_store_in_its_place_is_refused(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        with Store.open(tmp_path / name) as store:
            commit(store, audit=[audit(1, actor=name)])
    (tmp_path / "other" / DATABASE).replace(tmp_path / "mine" / DATABASE)
    with pytest.raises(StoreDamaged, match="not the one that was acknowledged"):
        Store.open(tmp_path / "mine")


def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, audit=[audit(1)])
    (tmp_path / DATABASE).unlink()
    with pytest.raises(StoreDamaged, match="is missing, but batch 1 was acknowledged"):
        Store.open(tmp_path)
    assert not (tmp_path / DATABASE).exists()


def test_a_lost_key_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
        commit(store, audit=[audit(1)])
    (tmp_path / KEY).unlink()
    with pytest.raises(StoreDamaged, match=r"chain\.key is missing"):
        Store.open(tmp_path)


def test_a_spoiled_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    content = bytearray((tmp_path / DATABASE).read_bytes())
    content[4096:8192] = os.urandom(4096)
    content[8192:12288] = os.urandom(4096)
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(StoreDamaged, match="`restore`"):
        Store.open(tmp_path)


def test_a_refused_store_can_be_opened_once_it_is_right(tmp_path: Path) -> None:
    wal = tmp_path / f"{DATABASE}.wal"
    wal.write_bytes(b"x")
    with pytest.raises(StoreDamaged):
        Store.open(tmp_path)
    wal.unlink()
    Store.open(tmp_path).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.transaction() as cursor:
        cursor.execute("update schema_version set version = 99").fetchall()
    with pytest.raises(StoreError, match=r"version 99.*newer Drainboard"):
        Store.open(tmp_path)


def test_an_older_schema_is_led_to_the_newest_or_left_as_it_was(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    con = duckdb.connect(str(tmp_path / DATABASE))
    newest = MIGRATIONS[-1][0]
    steps = (
        (newest + 1, "create table extra (batch bigint)"),
        (newest + 2, "alter table extra add column batch2 bigint; bad sql"),
    )
    with pytest.raises(duckdb.Error), whole(con):
        migrate(con, steps)
    assert con.sql("select version from schema_version").fetchall() == [(newest,)]
    assert con.sql("select * from duckdb_tables() where table_name = 'extra'").fetchall() == []
    with whole(con):
        migrate(con, steps[:1])
    assert con.sql("select version from schema_version").fetchall() == [(newest + 1,)]
    assert con.sql("select count(*) from extra").fetchall() == [(0,)]
    con.close()


def test_a_store_from_before_there_were_accounts_gets_their_tables(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, audit=[audit(1)])
        with store.transaction() as cursor:
            for table in re.findall(r"create table (\w+)", " ".join(sql for _, sql in MIGRATIONS)):
                cursor.execute(f"drop table {table}").fetchall()
            cursor.execute("update schema_version set version = 1").fetchall()
    ann = Account("ann", None, False, {"grants": []}, NOW, NOW)
    with Store.open(tmp_path) as store:
        assert store.broken_link() is None
        assert store.read("select count(*) from blackout").item() == 0
        commit(store, account=[ann])
        commit(store, account=[ann, ann._replace(disabled=True)])
        assert store.rows("account") == [ann._replace(disabled=True)]
        assert store.read("select count(*) from audit").item() == 1


def test_accounts_from_before_there_were_identities_have_none(tmp_path: Path) -> None:
    ann = Account("ann", "hashed", False, {"grants": []}, NOW, NOW)
    with Store.open(tmp_path) as store:
        commit(store, account=[ann])
        with store.transaction() as cursor:
            cursor.execute("alter table account drop column identity").fetchall()
            for table in re.findall(r"create table (\w+)", " ".join(sql for v, sql in MIGRATIONS if v > 5)):
                cursor.execute(f"drop table {table}").fetchall()
            cursor.execute("update schema_version set version = 5").fetchall()
    with Store.open(tmp_path) as store:
        assert store.rows("account") == [ann]
        commit(store, account=[ann._replace(identity="ann@acme.example")])
    with Store.open(tmp_path) as store:
        assert store.rows("account") == [ann._replace(identity="ann@acme.example")]


def test_batches_from_before_there_were_blackout_windows_keep_their_links() -> None:
    """The very link that such a batch was given then; and rows of that sort count where there are some."""
    rows = Rows(audit=[audit(2)], task_event=[event(1, 2, "submit", "New")])
    link = prepare(b"k" * 32, NO_LINK, 1, NOW, rows, {}, ()).link
    assert link == "7f7b9a1ae4a883ae925b9029cf2539a839c3e7a4cb6185bb742ed6065b93cdf2"
    rows.blackout_fire += made_up("blackout_fire", 1, random.Random(1))
    assert prepare(b"k" * 32, NO_LINK, 1, NOW, rows, {}, ()).link != link


def test_too_little_space_is_told_before_the_disk_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.check_space()
    monkeypatch.setattr(store, "_needed_bytes", store.free_space() * 2)
    with pytest.raises(StoreFull, match="MB are free"):
        store.check_space()


# --- the chain


@pytest.fixture
def chained(store: Store) -> Store:
    for n in range(1, 9):
        commit(
            store,
            audit=[audit(2 * n), audit(2 * n + 1, reason="why" if n % 2 else None)],
            task_event=[event(n, 2 * n, "submit", "New"), event(n, 2 * n + 1, "edit", "New", detail={"n": n})],
            queue_shift=[QueueShift(NOW, "acme", None, "scan", "collect", "hold", "capacity", n)],
        )
    return store


def test_an_untouched_chain_holds_however_it_is_read(chained: Store) -> None:
    assert chained.broken_link() is None
    assert chained.broken_link(rows_at_once=1) is None
    assert chained.broken_link(from_batch=5) is None


@pytest.mark.parametrize(
    ("change", "batch"),
    [
        ("update audit set actor = 'eve' where batch = 3 and audit_id % 2 = 0", 3),
        ("update audit set reason = '' where batch = 4 and reason is null", 4),
        ("update audit set occurred_at = occurred_at + interval 1 microsecond where batch = 5", 5),
        ("update task_event set detail = '{\"n\":9}' where batch = 6 and detail is not null", 6),
        ("update task_event set owner = 'ann ', actor = 'an' where batch = 2", 2),
        ("delete from task_event where batch = 7 and event = 'edit'", 7),
        ("delete from audit where batch = 8", 8),
        ("update audit set batch = batch + 1 where batch = 3", 3),
        ("insert into audit select * replace (0 as audit_id) from audit where batch = 4", 4),
        ("insert into audit select * replace (99 as batch) from audit where batch = 4", 9),
        ("insert into audit select * replace (null as batch) from audit where batch = 4", 9),
        ("update queue_shift set n = n + 1 where batch = 2", 2),
        ("update batch set committed_at = committed_at + interval 1 second where batch = 4", 4),
        ("delete from batch where batch = 4; delete from audit where batch = 4", 4),
        # swap two rows' places in the order of events
        ("update task_event set event_id = event_id + if(event = 'edit', -1, 1) where batch = 3", 3),
        # cut the ledger off after batch 6, wholly
        ("delete from batch where batch > 6; delete from audit where batch > 6; delete from task_event where batch > 6;"
         "delete from queue_shift where batch > 6", 7),
    ],
)  # fmt: skip
def test_the_chain_finds_what_was_changed(chained: Store, change: str, batch: int) -> None:
    with chained.transaction() as cursor:
        for statement in change.split(";"):
            cursor.execute(statement).fetchall()
    broken = chained.broken_link()
    assert broken is not None
    assert broken.batch == batch
    assert chained.broken_link(rows_at_once=1) == broken


@pytest.mark.parametrize(
    "change",
    [
        "delete from task_event where event_id & 1023 = {page}",
        "insert into task_event select * from task_event where event_id & 1023 = {page}",
        "update task_event set event_id = null where event_id & 1023 = {page} + 1",
        "update task_event set owner = 'eve' where event_id & 1023 = 2 * {page}",
    ],
)
def test_a_long_batch_is_checked_page_by_page_and_no_page_lets_a_change_through(
    store: Store, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "BLOCK", 10)
    monkeypatch.setattr(chain, "PAGE", 20)
    commit(store, task_event=[event(i, i, "submit", "New") for i in range(1, 101)], audit=[audit(1)])
    commit(store, task_event=[event(i, i, "submit", "New") for i in range(101, 146)])
    assert store.broken_link(rows_at_once=30) is None
    with store.transaction() as cursor:
        cursor.execute(change.format(page=20)).fetchall()
    for rows_at_once in (30, 1000):
        broken = store.broken_link(rows_at_once=rows_at_once)
        assert broken is not None
        assert broken.batch == 1


def test_absent_and_empty_and_shifted_texts_make_different_links(tmp_path: Path) -> None:
    links = set()
    for i, (actor, action) in enumerate([("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")]):
        for reason in (None, ""):
            folder = tmp_path / f"{i}{reason}"
            folder.mkdir()
            (folder / KEY).write_text("00" * 32)
            with Store.open(folder) as store:
                commit(store, audit=[audit(1, actor=actor, action=action, reason=reason)])
                links.add(store.read("select link from batch").item())
    assert len(links) == 8


def test_the_chain_covers_every_ledger_table(tmp_path: Path) -> None:
    draw = random.Random(4)
    with Store.open(tmp_path) as store:
        for _ in range(5):
            commit(store, **{table: made_up(table, 20, draw) for table in LEDGER_TABLES})
        assert store.broken_link() is None
        for table in LEDGER_TABLES:
            for column in ROW_TYPES[table]._fields:
                with suppress(Undo), store.transaction() as cursor:
                    spoil(cursor, table, column)
                    broken = store.broken_link()
                    assert broken is not None, f"{table}.{column} is not covered"
                    assert broken.batch == 3
                    raise Undo
        assert store.broken_link() is None


class Undo(Exception):
    """Roll a transaction back."""


def spoil(cursor: Any, table: str, column: str) -> None:
    kind = TYPES[table][column]
    other = {"TIMESTAMP": "make_timestamp(1)", "VARCHAR": "'spoiled'", "BIGINT": "-7", "JSON": "'{\"spoiled\":1}'",
             "BOOLEAN": f"not {column}"}[kind]  # fmt: skip
    cursor.execute(f"update {table} set {column} = {other} where batch = 3").fetchall()


# --- recovery


def test_recovery_of_a_new_store_is_empty(store: Store) -> None:
    found = store.recover()
    assert (found.batch, found.last_event_id, found.task_events) == (0, {}, [])


def test_recovery_reads_back_all_that_the_core_needs(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = {
        table: made_up(table, 10, draw)
        for table in ("service_event", "hold_event", "schedule_event", "schedule_fire", "blackout_event",
                      "blackout_fire")
    }  # fmt: skip
    rows["schedule_fire"] = [
        row._replace(schedule_id=i % 3, count=1, outcome="queued") for i, row in enumerate(rows["schedule_fire"])
    ]
    rows["blackout_fire"] = [
        row._replace(blackout_id=i % 2, hold_id=None if i in (3, 9) else i)
        for i, row in enumerate(sorted(rows["blackout_fire"]))
    ]
    with Store.open(tmp_path) as store:
        commit(store, **rows, audit=[audit(4), audit(6, occurred_at=NOW - HOUR)])
        commit(store, task_event=[event(5, 77, "submit", "New", business=2, detail={"a": 1})])
        store.keep_clock(NOW + 5 * SECOND)
    with Store.open(tmp_path) as store:
        found = store.recover()
        assert found.batch == 2
        assert found.now == NOW + 5 * SECOND
        assert found.last_event_id[2] == make_id(2, 77)
        assert found.last_audit_id == {1: make_id(1, 6)}
        assert found.last_task_id == {2: make_id(2, 5)}
        assert found.task_events == [event(5, 77, "submit", "New", business=2, detail={"a": 1})]
        assert found.audits == [audit(4)]
        assert sorted(found.hold_events) == sorted(rows["hold_event"])
        last = {row.schedule_id: row for row in sorted(rows["schedule_fire"])}
        assert {row.schedule_id: row for row in found.schedule_fires} == last
        assert len(found.schedule_fires) == 3
        assert sorted(found.blackout_events) == sorted(rows["blackout_event"])
        assert sorted(found.blackout_fires) == [row for row in rows["blackout_fire"] if row != rows["blackout_fire"][3]]


@pytest.mark.parametrize("publish_after", range(8))
def test_exactly_the_unfinished_tasks_come_back(tmp_path: Path, publish_after: int) -> None:
    """Whenever live tasks were last published, also never (after batch 0)."""
    steps: list[tuple[int, str, str]] = [
        (1, "submit", "New"), (2, "submit", "New"), (1, "claim", "Active"), (2, "stop", "Stopped"),
        (3, "submit", "New"), (1, "fail", "Canceled"), (2, "restore", "New"),
    ]  # fmt: skip
    live: dict[int, TaskRow] = {}
    with Store.open(tmp_path) as store:
        for number, (task, kind, status) in enumerate(steps, 1):
            row = task_row(task, status)
            ends = status in ("Stopped", "Canceled")
            commit(
                store,
                task_event=[event(task, number, kind, status, at=NOW + number * MINUTE)],
                task_done=[row] if ends or kind == "restore" else [],
            )
            if ends:
                live.pop(task)
            else:
                live[task] = row._replace(created_at=NOW + MINUTE)
            if number == publish_after:
                store.publish_live(list(live.values()), store.batch)
    with Store.open(tmp_path) as store:
        found = store.recover()
        expected = [number for number, (task, _, _) in enumerate(steps, 1) if task in (2, 3)]
        assert [row.event_id for row in found.task_events] == [make_id(1, number) for number in expected]


def test_lately_deleted_tasks_come_back_for_undo(store: Store) -> None:
    for task, ago in ((1, MINUTE), (2, HOUR)):
        at = NOW - ago
        commit(
            store,
            task_event=[
                event(task, 2 * task, "submit", "New", at=at - 1, dq=1),
                event(task, 2 * task + 1, "stop", "Stopped", at=at, reason="deleted", dq=-1),
            ],
            task_done=[task_row(task, "Stopped", reason="deleted", created_at=at - 1, finished_at=at)],
        )
    store.publish_live([], store.batch)
    assert store.recover().task_events == []
    assert {row.task_id for row in store.recover(undo_span=10 * MINUTE).task_events} == {make_id(1, 1)}


def test_shifts_since_the_oldest_wait_come_back(store: Store) -> None:
    shift = QueueShift(NOW - HOUR, "acme", "berlin", "scan", "collect", "hold", "capacity", 1)
    commit(
        store,
        task_event=[event(1, 1, "submit", "New", at=NOW, dq=1)],
        queue_shift=[shift, shift._replace(occurred_at=NOW + 1)],
    )
    assert [row.occurred_at for row in store.recover().queue_shifts] == [NOW + 1]


# --- readers


def test_threads_read_while_batches_are_written(store: Store) -> None:
    errors: list[Exception] = []
    seen: list[list[int]] = [[] for _ in range(4)]
    stop = threading.Event()

    def reading(mine: list[int], modulus: int) -> None:
        try:
            while not stop.is_set():
                frame = store.read("select count(*) as n, ? as mine, max(batch) as b from audit", [modulus])
                n, own, batch = frame.row(0)
                assert own == modulus
                assert n == 50 * (batch or 0)
                mine.append(n)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=reading, args=(seen[i], i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 41):
        store.commit(n, NOW + n, Rows(audit=[audit(50 * n + i) for i in range(50)]))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(counts == sorted(counts) and counts for counts in seen)


def test_python_variables_are_out_of_reach_of_sql(store: Store) -> None:
    secret = pl.DataFrame({"a": [1]})
    with pytest.raises(duckdb.Error, match="secret"):
        store.read("select * from secret")
    assert secret.height == 1


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def half_done() -> None:
        with store.transaction() as cursor:
            cursor.execute("insert into live_mark values (1)").fetchall()
            cursor.execute("select * from nowhere").fetchall()

    with pytest.raises(StoreError, match="nowhere"):
        half_done()
    assert store.read("select count(*) from live_mark").item() == 1


def test_a_clock_that_beats_on_after_the_store_was_closed_leaves_the_head_to_the_next(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, audit=[audit(1)])
    with Store.open(tmp_path) as after:
        commit(after, audit=[audit(2)])
        store.keep_clock(NOW + SECOND)
        assert read_head(tmp_path).batch == after.batch == 2


def test_a_closed_store_says_so_and_lets_the_next_in(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.read("select 1")
    Store.open(tmp_path).close()
