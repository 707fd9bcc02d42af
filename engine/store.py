"""The store: the one owner of DuckDB. Schema, group commit, recovery, checkpoints, cursors for readers.

The ledger's tables are append-only, have no keys, and carry the number of the batch that wrote them. A batch is one
transaction; batch numbers have no gap; each batch is a link of an HMAC chain over all its ledger rows, whose key and
head lie outside the database. So an acknowledged batch is there whole, and a change made behind our back shows.

`task_done` is derived, written in the same commit: one self-contained wide row per finished task, so that list pages
read one table without a join. A later version of a row (hidden, shown again, restored, finished after that) is
appended, and the earlier one gets the batch that replaced it: `superseded_by`. `task` is a plain view, the union of
`task_finished` and `task_unfinished`. Counts and filters are quick on it; DuckDB does not push ORDER BY … LIMIT through
a union, so that pages ask the two halves for their first rows each.

Never open the `.duckdb` file in this process except through DuckDB, not even to read or copy it: closing any other
handle on it drops DuckDB's POSIX lock, and a second process could then write unseen. `store.lock` is our own guard.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import shutil
import threading
import time
import typing
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from .clock import SECOND
from .errors import CommitFailed, StoreDamaged, StoreError, StoreFull, StoreInUse
from .ledger import (
    LEDGER_TABLES,
    NUMBER_BITS,
    NUMBERED_TABLES,
    ROW_TYPES,
    AssetSeen,
    Audit,
    HoldEvent,
    QueueShift,
    Rows,
    ScheduleEvent,
    ScheduleFire,
    ServiceEvent,
    TaskEvent,
    TaskRow,
)
from .lifecycle import TERMINAL, Reason, Status

Cursor = duckdb.DuckDBPyConnection

DATABASE = "drainboard.duckdb"
HEAD = "head.json"
KEY = "chain.key"
LOCK = "store.lock"

REPEAT_SPAN = 600 * SECOND  #: a repeated request id is recognised for so long, also after a restart
NO_LINK = "00" * 32  #: what the first batch is chained to

VERSIONED = frozenset({"hide", "unhide", "restore"})  #: these events append a further version of a task's row

# --- schema: made from the ledger's row types, with a comment on every table and column

SCHEMA_VERSION = 1
MIGRATIONS: tuple[tuple[int, str], ...] = ()
"""(version, SQL that leads to it from the one before), ascending. A new store starts at SCHEMA_VERSION."""

_TABLES = {
    "task_event": "One step in the life of one task. Append-only: the truth that all else follows from",
    "service_event": "One change of the fleet: added, state, refused report, console down. Append-only",
    "hold_event": "One change of a hold: placed, begun, ended. Append-only",
    "schedule_event": "One version of a schedule: created, edited, removed. Append-only",
    "schedule_fire": "What became of one nominal time of a schedule, or of a run of skipped ones. Append-only",
    "queue_shift": "So many waiting tasks began to wait for another cause. Append-only",
    "audit": "One object that a person's command changed, or was refused for. Append-only",
    "task_done": "Finished tasks, one row each; newer versions are appended. Read the view task instead",
    "task_live": "Unfinished tasks as of the last published batch. Read the view task instead",
    "live_mark": "The batch as of which task_live was published",
    "widget_refresh": "One finished refresh of a dashboard's widget",
    "asset": "Assets as the last processed task saw them",
    "batch": "One row per commit: a link of the chain over all ledger rows",
    "schema_version": "The version of this schema",
    "task_finished": "Finished tasks, the newest version of each row",
    "task_unfinished": "Live tasks as of the last published batch, without those that have finished since",
    "task": "All tasks: finished ones and, as of the last published batch, live ones",
    "hold": "Holds as they stand: the latest event of each",
    "service": "Services as they stand: what the latest events made of each",
    "schedule": "Schedules as they stand: the latest version of each",
}

_COLUMNS = {
    "action": "What the actor asked for",
    "actor": "Who performed it: a user, a service, engine, dispatcher, import, cli:<user>",
    "after": "The object after the change, as JSON",
    "assets_changed": "Assets that processing found changed",
    "assets_gone": "Assets that processing no longer found",
    "assets_new": "Assets that processing found for the first time",
    "assets_offline": "Assets seen offline",
    "assets_online": "Assets seen online",
    "attempt": "Worker losses so far, per stage",
    "audit_id": "Business number and its own running number of audit rows, in one 64-bit number",
    "batch": "The commit that wrote this row",
    "before": "The object before the change, as JSON",
    "business": "The tenant",
    "cause": "Why a waiting task waits: hold, console, throttled, offline, exclusive, capacity, unknown",
    "collected_at": "When collecting was done (UTC)",
    "committed_at": "The engine's clock at the commit (UTC)",
    "count": "How many nominal times this row stands for",
    "created_at": "When the task was submitted (UTC)",
    "created_by": "Who submitted it",
    "detail": "What else belongs to this event, as JSON",
    "dp": "Change of the number waiting for processing",
    "dq": "Change of the number waiting to be collected (or run, for system tasks)",
    "dr": "Change of the number running",
    "due_at": "When a task for later falls due (UTC)",
    "error": "What went wrong, in words",
    "errors": "How many errors processing counted",
    "event": "What happened",
    "event_id": "Business number and its own gap-free running number of events, in one 64-bit number",
    "finished_at": "When the task ended (UTC)",
    "first_seen_at": "When a task first saw the asset (UTC)",
    "from_at": "From when the hold covers (UTC)",
    "from_cause": "The cause they waited for before",
    "from_status": "The stored status before",
    "held_by": "The oldest hold that covers the waiting task",
    "hidden": "Whether the task is hidden from lists",
    "hold_id": "The hold",
    "initiator": "Who caused the task: a user, Schedule or System",
    "joined": "How many requests this refresh answered beyond the first",
    "kind": "What sort of work: scan, audit, connector, import, report, query, outlier",
    "last_nominal_at": "The last nominal time that this row stands for (UTC)",
    "last_seen_at": "When a task last saw the asset (UTC)",
    "latency_s": "From the first request to the result, in seconds",
    "lease": "The event_id of the claim or process under which the task runs; reports with another are stale",
    "link": "HMAC-SHA256 over the previous link and all ledger rows of this batch, in hex",
    "n": "How many tasks",
    "name": "Its name",
    "nominal_at": "When the schedule's rule said to run (UTC)",
    "number": "The running number within the business, as in Scan #123",
    "object_id": "Which object",
    "object_kind": "What sort of object",
    "occurred_at": "When it happened (UTC)",
    "online": "Whether the asset answered",
    "outcome": "How it ended: finished, finished_with_errors, stopped, failed",
    "outlier_score": "How unlike its peers the asset is",
    "owner": "The user behind the task (a schedule's owner for its runs)",
    "placed_at": "When the hold was placed (UTC)",
    "priority": "0 to 9, higher first",
    "process_s": "Seconds of processing",
    "process_wait_hold_s": "Of process_wait_s, seconds under a hold",
    "process_wait_s": "Seconds waited for a processor",
    "processing_queued_at": "When the task began to wait for a processor (UTC)",
    "processing_started_at": "When processing first started (UTC)",
    "processor": "Which processor processed it",
    "queue": "collect or process",
    "queued_at": "When the task entered the queue (UTC)",
    "reason": "Why, as a word",
    "request_id": "The command that asked for it",
    "requested_service": "The one service it asked for",
    "role": "explorer, audit_service, hosted_zone or processor",
    "executor": "Who carries out its orders",
    "slots": "How many tasks it may run at the same time",
    "state": "online, draining or offline",
    "since_at": "When its state last changed (UTC)",
    "rerun_of": "The task that this one repeats",
    "row_counts": "How many rows the commit wrote, table by table, as JSON",
    "run_s": "Seconds of collecting",
    "schedule_id": "The schedule",
    "scope": "What the task covers, in the fleet's words",
    "service": "The service that does the work",
    "shown_status": "The status as pages show it: the stored one, or Paused under a hold",
    "site": "The place in the business",
    "source": "live, demo, or the import it came from",
    "started_at": "When the task was first claimed (UTC)",
    "status": "The stored status",
    "suspect": "Whether it did not confirm a stop and gets nothing until it reports",
    "superseded_by": "The batch that replaced this row by a newer version; empty for the newest",
    "suspend": "Whether running tasks were asked to suspend",
    "target": "What the task works on",
    "target_kind": "device, segment, cloud resource …",
    "task_id": "Business number and running number of the task, in one 64-bit number",
    "to_cause": "The cause they wait for now",
    "to_status": "The stored status after",
    "type": "What sort of asset",
    "until_at": "Until when the hold covers; empty for open end (UTC)",
    "version": "Counts edits; an edit must name the version it saw",
    "wait_capacity_s": "Of wait_s, seconds while every slot was taken",
    "wait_console_s": "Of wait_s, seconds while the console was down",
    "wait_exclusive_s": "Of wait_s, seconds while every online explorer was scanning",
    "wait_hold_s": "Of wait_s, seconds under a hold",
    "wait_offline_s": "Of wait_s, seconds while no service for it was online",
    "wait_s": "Seconds waited to be collected (or run), all waits together",
    "wait_throttled_s": "Of wait_s, seconds kept back by a resume ramp or cap",
    "wait_unknown_s": "Of wait_s, seconds of which an imported log does not tell the cause",
    "widget": "The widget",
    # the same word for something else
    "hold_event.target": "The user, task type or schedule that the hold covers",
    "hold_event.target_kind": "user, kind or schedule",
    "hold.target": "The user, task type or schedule that the hold covers",
    "hold.target_kind": "user, kind or schedule",
    "hold.event": "The latest event: placed, begun or ended",
    "schedule_fire.outcome": "What became of it: submitted, skipped …",
    "audit.outcome": "changed, skipped or refused",
    "widget_refresh.run_s": "Seconds of running",
    "widget_refresh.wait_s": "Seconds waited for a processor",
    "asset.target": "The asset's address",
    "live_mark.batch": "The batch as of which task_live was published",
    "schema_version.version": "The version of this schema",
}


_SQL_TYPES = {str: "VARCHAR", bool: "BOOLEAN", float: "DOUBLE", int: "BIGINT", dict: "JSON"}


def _sql_type(column: str, hint: object) -> str:
    if column.endswith("_at"):
        return "TIMESTAMP"
    if column.endswith("_s"):
        return "DECIMAL(18,6)"
    (kind,) = (part for part in typing.get_args(hint) or (hint,) if part is not type(None))
    return _SQL_TYPES[typing.get_origin(kind) or kind]


TYPES: dict[str, dict[str, str]] = {
    table: {column: _sql_type(column, hint) for column, hint in typing.get_type_hints(row).items()}
    for table, row in ROW_TYPES.items()
}
"""The SQL type of every column of every row type."""


def _columns(table: str) -> dict[str, str]:
    """List a stored table's columns in their order; `batch` is second in task_event, first elsewhere."""
    if table == "asset":
        kept = dict(TYPES["asset"])
        del kept["seen_at"]
        return {"batch": "BIGINT", **kept, "first_seen_at": "TIMESTAMP", "last_seen_at": "TIMESTAMP"}
    own = TYPES["task_done" if table == "task_live" else table]
    if table == "task_done":
        return {"batch": "BIGINT", **own, "superseded_by": "BIGINT"}
    if table == "task_event":
        return {"event_id": own["event_id"], "batch": "BIGINT", **own}
    return {"batch": "BIGINT", **own}


_OWN_TABLES = {
    "batch": {"batch": "BIGINT", "committed_at": "TIMESTAMP", "row_counts": "JSON", "link": "VARCHAR"},
    "live_mark": {"batch": "BIGINT"},
    "schema_version": {"version": "BIGINT"},
}

_VIEWS = {
    # A restored task is shown by its row New until the next publication lists it as live.
    "task_finished": "select {columns} from task_done where superseded_by is null",
    "task_unfinished": """
        select {columns} from task_live
        where task_id not in (select task_id from task_done where batch > (select batch from live_mark))
    """,
    "task": "select * from task_finished union all select * from task_unfinished",
    "hold": """
        select hold_id, business, site, target_kind, target, event, reason, actor,
               first_value(occurred_at) over (partition by hold_id order by event_id) as placed_at,
               from_at, until_at, suspend, batch
        from hold_event
        qualify row_number() over (partition by hold_id order by event_id desc) = 1
    """,
    "service": """
        with newest as (
            select business, service,
                   arg_max(event, event_id) filter (event in ('online', 'draining', 'offline')) as wanted,
                   arg_max(event, event_id) filter (event in ('lost', 'returned')) = 'lost' as lost,
                   arg_max(event, event_id) filter (event in ('suspect', 'cleared')) = 'suspect' as suspect,
                   arg_max(detail ->> 'slots', event_id) filter (event in ('service_added', 'slots'))::bigint as slots,
                   max(occurred_at) filter (event <> 'slots') as since_at, max(batch) as batch
            from service_event where service is not null and event <> 'stale_report' group by all)
        select a.business, a.site, service, a.detail ->> 'role' as role, a.detail ->> 'executor' as executor, n.slots,
               if(coalesce(n.lost, false), 'offline', coalesce(n.wanted, 'online')) as state,
               coalesce(n.suspect, false) as suspect, n.since_at, n.batch
        from newest n join service_event a using (business, service) where a.event = 'service_added'
    """,
    "schedule": """
        select schedule_id, version, business, site, name, event, actor, occurred_at, detail, batch
        from schedule_event
        qualify row_number() over (partition by schedule_id order by event_id desc) = 1
    """,
}


def _schema() -> Iterator[str]:
    tables = {table: _columns(table) for table in (*ROW_TYPES, "task_live")} | _OWN_TABLES
    for table, columns in tables.items():
        key = ", primary key (business, site, target)" if table == "asset" else ""
        yield f"create table {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())}{key})"
    yield "insert into live_mark values (0)"


def _views() -> Iterator[str]:
    columns = ", ".join([*TYPES["task_done"], "batch"])
    for view, sql in _VIEWS.items():
        yield f"create or replace view {view} as {sql.format(columns=columns)}"


def describe(cursor: Cursor, tables: dict[str, str], columns: dict[str, str]) -> None:
    """Put comments on tables and columns; a column's text is looked up as `table.column`, else `column`."""
    found = cursor.execute("select table_name, column_name from duckdb_columns() where not internal").fetchall()
    views = {name for (name,) in cursor.execute("select view_name from duckdb_views() where not internal").fetchall()}
    for table, text in tables.items():
        cursor.execute(f"comment on {'view' if table in views else 'table'} {table} is {_quoted(text)}")
    for table, column in found:
        if table in tables:
            text = columns.get(f"{table}.{column}") or columns[column]
            cursor.execute(f"comment on column {table}.{column} is {_quoted(text)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def migrate(con: Cursor, steps: Sequence[tuple[int, str]] = MIGRATIONS) -> None:
    """Create the schema in a new store, or lead an older one to the newest version, in one transaction."""
    newest = max((version for version, _ in steps), default=SCHEMA_VERSION)
    con.begin()
    try:
        if not con.execute("select 1 from duckdb_tables() where table_name = 'schema_version'").fetchall():
            for statement in _schema():
                con.execute(statement)
            con.execute("insert into schema_version values (?)", [newest])
        else:
            (version,) = con.execute("select version from schema_version").fetchall()[0]
            if version > newest:
                raise StoreError(
                    f"The store has schema version {version}, this program knows only up to {newest}. "
                    "It was written by a newer Drainboard: start that one."
                )
            if version == newest:
                con.rollback()
                return
            for number, sql in steps:
                if number > version:
                    con.execute(sql)
            con.execute("update schema_version set version = ?", [newest])
        for statement in _views():
            con.execute(statement)
        describe(con, _TABLES, _COLUMNS)
        con.commit()
    except BaseException:
        with suppress(duckdb.Error):
            con.rollback()
        raise


# --- rows to columns, and columns to the bytes that the chain is made of

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_CHUNK = 256  #: rows turned into columns at a time: they still lie in the processor's cache
_NULL = -(2**63)  #: stands for an absent number in the chain's bytes; no column can hold it

_ARROW = {"VARCHAR": pa.string(), "BOOLEAN": pa.bool_(), "DOUBLE": pa.float64()}

BLOCK = 65_536  #: rows that the chain, and what comes in bulk, goes by: a batch of millions need not be held at once

Bulk = Mapping[str, Iterable[pa.Table]]
"""Rows of a batch that are too many to hold: by table, blocks of plain columns in the order that the chain goes by,
BLOCK rows in each but the last. They are asked for more than once."""


def plain_schema(table: str) -> pa.Schema:
    """Name the plain columns of a table: int64, string, bool, double."""
    plain = {"VARCHAR": pa.string(), "JSON": pa.string()} | _ARROW
    return pa.schema([(name, plain.get(kind, pa.int64())) for name, kind in TYPES[table].items()])


def _arrays(table: str, rows: Sequence[Any]) -> dict[str, pa.Array]:
    """Turn rows into plain columns: int64, string, bool, double. Details become JSON text."""
    types = TYPES[table]
    columns: list[list[Any]] = [[] for _ in types]
    for start in range(0, len(rows), _CHUNK):
        for column, part in zip(columns, zip(*rows[start : start + _CHUNK], strict=True), strict=True):
            column.extend(part)
    arrays = {}
    for (name, kind), column in zip(types.items(), columns, strict=True):
        if kind == "JSON":
            column = [None if value is None else _encode(value) for value in column]
            kind = "VARCHAR"
        arrays[name] = _text(column) if kind == "VARCHAR" else pa.array(column, _ARROW.get(kind, pa.int64()))
    return arrays


def _text(column: list[str | None]) -> pa.Array:
    try:
        return pa.array(column, pa.string())
    except UnicodeEncodeError:
        # Half a surrogate pair is no text that can be stored; it must not block the ledger for ever.
        kept = [None if v is None else v.encode("utf-8", "replace").decode() for v in column]
        return pa.array(kept, pa.string())


def _as_stored(table: str, arrays: dict[str, pa.Array], batch: int) -> pa.Table:
    """Dress plain columns as the stored types, without copying, and add the batch."""
    types = TYPES[table]
    dressed: dict[str, pa.Array] = {}
    for name, array in arrays.items():
        kind = types[name]
        if kind == "TIMESTAMP":
            array = pa.Array.from_buffers(pa.timestamp("us"), len(array), array.buffers(), array.null_count)
        elif kind == "DECIMAL(18,6)":
            array = pa.Array.from_buffers(pa.decimal64(18, 6), len(array), array.buffers(), array.null_count)
        elif kind == "JSON":
            # Marked as JSON, so that DuckDB does not parse every text again to check it.
            array = pa.ExtensionArray.from_storage(pa.json_(), array)
        dressed[name] = array
        if name == "event_id" and table == "task_event":
            dressed["batch"] = _batch_column(batch, len(array))
    if "batch" not in dressed:
        dressed = {"batch": _batch_column(batch, len(next(iter(arrays.values())))), **dressed}
    return pa.table(dressed)


def _columns_of(block: pa.Table) -> dict[str, pa.Array]:
    return {name: column.combine_chunks() for name, column in zip(block.column_names, block.columns, strict=True)}


def _batch_column(batch: int, n: int) -> pa.Array:
    return pa.array(np.full(n, batch, dtype=np.int64))


class _Canonical:
    """The rows of one ledger table as bytes that are the same before and after storing; can be cut by rows.

    Numbers are 64-bit little-endian; texts are their lengths (-1 where absent), then all their UTF-8 bytes.
    """

    def __init__(self, table: str, arrays: Iterable[pa.Array]) -> None:
        self._table = table.encode()
        self._numbers: list[Any] = []
        self._texts: list[tuple[Any, Any, memoryview]] = []
        for array in arrays:
            if pa.types.is_string(array.type):
                self._texts.append(_text_parts(array))
            else:
                self._numbers.append(_numbers(array))

    def feed(self, mac: hmac.HMAC, start: int, stop: int) -> None:
        """Add rows start to stop, block by block; that there are none counts, too."""
        for first in range(start, max(stop, start + 1), BLOCK):
            last = min(first + BLOCK, stop)
            mac.update(b"%s %d\n" % (self._table, last - first))
            if first == last:
                return
            for values in self._numbers:
                mac.update(values[first:last])
            for lengths, offsets, data in self._texts:
                mac.update(lengths[first:last])
                mac.update(data[offsets[first] : offsets[last]])


def _numbers(array: pa.Array) -> Any:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int64())
    if array.null_count:
        array = array.fill_null(_NULL)
    return array.to_numpy()


def _text_parts(array: pa.Array) -> tuple[Any, Any, memoryview]:
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[array.offset : array.offset + len(array) + 1]
    lengths = np.diff(offsets)
    if array.null_count:
        absent = array.is_null().to_numpy(zero_copy_only=False)
        if lengths[absent].any():  # whoever made the array left bytes under what is absent; they are no part of it
            lengths[absent] = 0
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            data_buffer = array.drop_null().buffers()[2]
        lengths[absent] = -1
    return lengths, offsets, memoryview(data_buffer or b"")


def _ordered(table: str, rows: Sequence[Any]) -> list[Any]:
    """Put a batch's rows in the order that the chain goes by and that the table keeps."""
    if table == "queue_shift":
        return sorted(rows, key=lambda row: [(value is None, value) for value in row])
    return sorted(rows, key=itemgetter(0))


def _chain_order(table: str) -> str:
    if table == "queue_shift":
        return ", ".join(f"{column} nulls last" for column in TYPES[table])
    return next(iter(TYPES[table]))


def _as_plain(table: str) -> str:
    """Write the select list that gives a stored table's columns back as the ledger has them."""
    parts = []
    for name, kind in TYPES[table].items():
        expression = {
            "TIMESTAMP": f"epoch_us({name})",
            "DECIMAL(18,6)": f"({name}::decimal(38, 6) * 1000000)::bigint",
            "JSON": f"{name}::varchar",
        }.get(kind, name)
        parts.append(f"{expression} as {name}")
    return ", ".join(parts)


_INSERTS = {
    "asset": """
        insert into asset by name
            (select * exclude (seen_at), seen_at as first_seen_at, seen_at as last_seen_at from incoming_asset)
        on conflict do update set
            batch = excluded.batch, name = excluded.name, type = excluded.type, online = excluded.online,
            outlier_score = coalesce(excluded.outlier_score, outlier_score),
            last_seen_at = greatest(excluded.last_seen_at, last_seen_at)
    """
}
"""How a table takes in new rows, where it does not just append them."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """One commit, ready to be written."""

    number: int
    now: int
    tables: dict[str, pa.Table]
    bulk: Bulk
    superseded: list[int]
    link: str


class _Incoming:
    """The rows that a commit hands to DuckDB: registered once per table, filled anew for each batch."""

    def __init__(self, empty: pa.Table) -> None:
        self.table = empty

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def _link(key: bytes, before: str, batch: int, now: int) -> hmac.HMAC:
    mac = hmac.new(key, bytes.fromhex(before), sha256)
    mac.update(b"batch %d at %d\n" % (batch, now))
    return mac


# --- the store


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the core needs to go on: read back, not replayed. Rows stand in the order of (batch, event_id)."""

    batch: int
    now: int  #: the engine's clock: the later of the last own event and the side file's
    last_event_id: dict[int, int]  #: by business number, over all tables that share the sequence
    last_audit_id: dict[int, int]
    last_task_id: dict[int, int]
    service_events: list[ServiceEvent]
    hold_events: list[HoldEvent]
    schedule_events: list[ScheduleEvent]
    schedule_fires: list[ScheduleFire]  #: the last of each schedule, and the last about a run that was owed
    task_events: list[TaskEvent]  #: all events of unfinished and of lately deleted tasks
    queue_shifts: list[QueueShift]  #: since the oldest of these tasks began to wait
    audits: list[Audit]  #: those young enough to recognise a repeated request by


@dataclass(frozen=True, slots=True)
class Broken:
    """The first batch whose rows are not those that were committed."""

    batch: int
    why: str


class Store:
    """One open store. `commit`, `publish_live` and `checkpoint` belong to the writer thread; reads to any thread."""

    def __init__(
        self, folder: Path, lock: int, key: bytes, memory_limit: str, threads: int, checkpoint_mb: int
    ) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        self._lock, self._key = lock, key
        self._config: dict[str, Any] = {
            "threads": threads,
            "memory_limit": memory_limit,
            "checkpoint_threshold": f"{checkpoint_mb}MB",
            "python_enable_replacements": False,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
        }
        self._needed_bytes = (3 * checkpoint_mb + 500) * 1_000_000
        self._write = threading.RLock()
        self._reopening = threading.RLock()
        self._local = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._generation = 0
        self._closed = False
        self._incoming: dict[str, _Incoming] = {}
        self._con = self._connect()
        self.batch = 0  #: the last durable batch
        self._link, self._clock = NO_LINK, 0
        self._restored: set[int] = set()  #: tasks whose newest row says New

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        memory_limit: str = "1GB",
        threads: int = 2,
        checkpoint_mb: int = 128,
        rebase: bool = False,
    ) -> Store:
        """Open the store in a folder, or make a new one there.

        Refused at once while another holds it; refused as damaged where it lacks what was acknowledged, unless `rebase`
        says to accept it as it is (after a backup was put back).
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(folder / LOCK)
        try:
            head = _read_head(folder / HEAD)
            _refuse_remains(folder, {} if rebase else head)
            store = cls(folder, lock, _chain_key(folder), memory_limit, threads, checkpoint_mb)
            try:
                migrate(store._con)
                store._find_last()
                if not rebase:
                    store._compare(head)
                store._clock = max(store._clock, int(head.get("clock", 0)))
                store._write_head(store._clock)
            except BaseException:
                store._close_database()
                raise
        except BaseException as error:
            os.close(lock)
            if isinstance(error, duckdb.Error):
                raise StoreDamaged(
                    f"{folder / DATABASE} can't be opened: {error}. "
                    "Keep the file and its .wal, and put the last backup back with `restore`."
                ) from error
            raise
        return store

    # --- writing

    def commit(self, batch: int, now: int, rows: Rows, bulk: Bulk | None = None) -> None:
        """Make one batch durable, whole or not at all; a table's rows come in `rows` or, if they are many, in bulk.

        CommitFailed: nothing of it was written; the same batch may be tried again. A batch that is already durable is
        taken as done. Batches are numbered without a gap.
        """
        with self._write:
            if batch <= self.batch:
                return
            if batch != self.batch + 1:
                raise StoreError(f"Batch {batch} can't follow batch {self.batch}: batches are numbered without a gap.")
            prepared = self._prepare(batch, now, rows, bulk or {})
            try:
                self._insert(prepared)
            except duckdb.Error as error:
                self._after_failure(batch, error)
            self.batch, self._link = batch, prepared.link
            self._clock = max(self._clock, now)
            for row in rows.task_done:
                if row.status == Status.NEW:
                    self._restored.add(row.task_id)
                else:
                    self._restored.discard(row.task_id)
            # The head is for finding what was lost. The batch is durable: a full disk must not make it fail now.
            with suppress(OSError):
                self._write_head(self._clock)

    def _prepare(self, batch: int, now: int, rows: Rows, bulk: Bulk) -> _Batch:
        """Turn rows into what DuckDB takes in, and into the batch's link."""
        tables: dict[str, pa.Table] = {}
        mac = _link(self._key, self._link, batch, now)
        for table in ROW_TYPES:
            own = getattr(rows, table)
            if table in bulk:
                assert not own
                for block in bulk[table] if table in LEDGER_TABLES else ():
                    _Canonical(table, _columns_of(block).values()).feed(mac, 0, block.num_rows)
                continue
            if table in LEDGER_TABLES:
                own = _ordered(table, own)
            elif table == "task_done":
                own = list({row.task_id: row for row in own}.values())
            elif table == "asset":
                own = _latest(own)
            arrays = _arrays(table, own) if own else {}
            if table in LEDGER_TABLES:
                _Canonical(table, arrays.values()).feed(mac, 0, len(own))
            if own:
                tables[table] = _as_stored(table, arrays, batch)
        changed = {event.task_id for event in rows.task_event if event.event in VERSIONED} | self._restored
        superseded = [row.task_id for row in rows.task_done if row.task_id in changed] if changed else []
        return _Batch(batch, now, tables, bulk, superseded, mac.hexdigest())

    def _insert(self, batch: _Batch) -> None:
        con = self._con
        counts = {table: content.num_rows for table, content in batch.tables.items()}
        for table, content in batch.tables.items():
            self._hand_over(table, content)
        for table in batch.bulk:  # prepared out here, or a roll-back would take what is prepared away
            self._hand_over(table, _as_stored(table, _columns_of(plain_schema(table).empty_table()), batch.number))
        con.begin()
        try:
            if batch.superseded:
                con.execute(
                    "update task_done set superseded_by = ? "
                    "where superseded_by is null and task_id in (select unnest(?))",
                    [batch.number, batch.superseded],
                ).fetchall()
            for table in batch.tables:
                con.execute(f"execute append_{table}").fetchall()
            for table, blocks in batch.bulk.items():
                for block in blocks:
                    self._hand_over(table, _as_stored(table, _columns_of(block), batch.number))
                    con.execute(f"execute append_{table}").fetchall()
                    counts[table] = counts.get(table, 0) + block.num_rows
            con.execute(
                "insert into batch values (?, make_timestamp(?), ?, ?)",
                [batch.number, batch.now, _encode(counts), batch.link],
            ).fetchall()
            con.commit()
        except BaseException:
            with suppress(duckdb.Error):
                con.rollback()
            raise
        finally:
            for incoming in self._incoming.values():
                incoming.table = incoming.table.schema.empty_table()  # lets go of the rows

    def _hand_over(self, table: str, content: pa.Table) -> None:
        """Lay a table's new rows where its prepared INSERT finds them: planning it anew costs more than running it."""
        if table not in self._incoming:
            incoming = _Incoming(content)
            self._con.register(f"incoming_{table}", incoming)
            insert = _INSERTS.get(table, "insert into {0} by name from incoming_{0}").format(table)
            self._con.execute(f"prepare append_{table} as {insert}").fetchall()
            self._incoming[table] = incoming
        self._incoming[table].table = content

    def _after_failure(self, batch: int, error: duckdb.Error) -> None:
        """Return when the batch turned out to be durable all the same; raise CommitFailed when not."""
        if isinstance(error, duckdb.FatalException):
            self._reopen()
        try:
            durable = self._con.execute("select 1 from batch where batch = ?", [batch]).fetchall()
        except duckdb.Error as second:
            raise CommitFailed(f"Batch {batch} could not be written, nor looked for: {second}", batch=batch) from error
        if not durable:
            raise CommitFailed(f"Batch {batch} could not be written: {error}", batch=batch) from error

    def publish_live(self, rows: Sequence[TaskRow], batch: int) -> None:
        """Replace `task_live` by the unfinished tasks as of a batch."""
        # A restored task's row New gives way to its live row. Commits may touch it, too: only then they have to wait.
        with self._write if self._restored else nullcontext(), self.transaction() as cursor:
            cursor.execute("delete from task_live").fetchall()
            if rows:
                cursor.register("incoming_live", _as_stored("task_done", _arrays("task_done", rows), batch))
                try:
                    cursor.execute("insert into task_live by name from incoming_live").fetchall()
                finally:
                    cursor.unregister("incoming_live")
            if self._restored:
                given_way = cursor.execute(
                    f"update task_done set superseded_by = ? where superseded_by is null and batch <= ? "
                    f"and status = '{Status.NEW}' returning task_id",
                    [batch, batch],
                ).fetchall()
                self._restored.difference_update(task_id for (task_id,) in given_way)
            cursor.execute("update live_mark set batch = ?", [batch]).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Give a cursor within a transaction, for what is derived from the ledger. Runs beside commits, not in them."""
        generation, cursor = self._generation, self.cursor()
        try:
            cursor.begin()
            yield cursor
            cursor.commit()
        except BaseException as error:
            with suppress(duckdb.Error):
                cursor.rollback()
            if isinstance(error, duckdb.FatalException):
                with suppress(duckdb.Error):
                    self._outlive(generation, error)
            if isinstance(error, duckdb.Error):
                raise StoreError(f"The store could not do this: {error}") from error
            raise

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the database file. For idle times: it takes a while."""
        with self._write:
            try:
                self._con.execute("checkpoint").fetchall()
            except duckdb.FatalException as error:
                self._reopen()
                raise StoreError(f"The checkpoint failed: {error}") from error
            except duckdb.Error as error:
                raise StoreError(f"The checkpoint failed: {error}") from error

    def wal_bytes(self) -> int:
        """Tell how much the write-ahead log holds: what a checkpoint would move, and a start would replay."""
        try:
            return os.stat(f"{self.path}.wal").st_size
        except FileNotFoundError:
            return 0

    def free_space(self) -> int:
        """Tell how many bytes the disk has left."""
        return shutil.disk_usage(self.folder).free

    def check_space(self) -> None:
        """Raise StoreFull when the disk has less room than three checkpoints and 500 MB."""
        free = self.free_space()
        if free < self._needed_bytes:
            raise StoreFull(
                f"Only {free // 1_000_000:,} MB are free in {self.folder}, {self._needed_bytes // 1_000_000:,} MB are "
                "needed: new work is refused until there is room. What was acknowledged is safe.",
                free=free,
            )

    @property
    def clock(self) -> int:
        """The engine's clock as last known: of the last batch, or noted beside the store since."""
        return self._clock

    def copy_to(self, folder: Path) -> int:
        """Copy the store as of its last batch into a new folder, with its key and head; return the batch.

        Commits go on meanwhile: the copy is one snapshot of the database.
        """
        folder.mkdir(parents=True, exist_ok=True)
        cursor = self._con.cursor()
        try:
            cursor.execute(f"attach {_quoted(str(folder / DATABASE))} as backup")
            cursor.execute(f"copy from database {self.path.stem} to backup").fetchall()
            last = "select batch, link, epoch_us(committed_at) from backup.batch order by batch desc limit 1"
            batch, link, clock = (cursor.execute(last).fetchall() or [(0, NO_LINK, 0)])[0]
            cursor.execute("detach backup")
        except duckdb.Error as error:
            raise StoreError(f"The store could not be copied to {folder}: {error}") from error
        finally:
            cursor.close()
        _write_key(folder / KEY, self._key)
        (folder / HEAD).write_text(json.dumps({"batch": batch, "link": link, "clock": clock}))
        return int(batch)

    def keep_clock(self, now: int) -> None:
        """Note the engine's clock beside the store, so that a restart knows since when the console was down.

        Not while a commit is under way, which may take long and notes it itself: who beats must not wait for it.
        """
        if self._write.acquire(blocking=False):
            try:
                self._clock = max(self._clock, now)
                self._write_head(self._clock)
            finally:
                self._write.release()

    # --- reading

    def cursor(self) -> Cursor:
        """Give the calling thread's own cursor. Never pass it to another thread, never keep it."""
        if self._closed:
            raise StoreError("The store is closed.")
        if getattr(self._local, "generation", None) != self._generation:
            with self._reopening:
                self._local.cursor = self._con.cursor()
                self._local.generation = self._generation
                self._cursors.add(self._local.cursor)
        cursor: Cursor = self._local.cursor
        return cursor

    def read(self, sql: str, params: object = None) -> pl.DataFrame:
        """Run a query to its end and return its rows."""
        generation = self._generation
        try:
            frame: pl.DataFrame = self.cursor().sql(sql, params=params).pl()
        except duckdb.Error as error:
            self._outlive(generation, error)
            frame = self.cursor().sql(sql, params=params).pl()
        return frame

    def _outlive(self, generation: int, error: duckdb.Error) -> None:
        """Wait for the reopening, or do it, if the database was invalidated under a query; else raise its error."""
        if isinstance(error, duckdb.FatalException):
            with self._write:
                if generation == self._generation:
                    self._reopen()
        with self._reopening:
            if generation == self._generation:
                raise error

    def rows(
        self, table: str, where: str = "true", params: Sequence[object] = (), order: str | None = None
    ) -> list[Any]:
        """Read rows back as the ledger's tuples, in the order of (batch, event_id)."""
        source = "task_done" if table in ("task", "task_live") else table
        order = order or f"batch, {_chain_order(source)}"
        frame = self.read(f"select {_as_plain(source)} from {table} where {where} order by {order}", list(params))
        types = TYPES[source]
        columns: list[list[Any]] = [frame[name].to_list() for name in types]
        for position, kind in enumerate(types.values()):
            if kind == "JSON":
                columns[position] = [None if text is None else json.loads(text) for text in columns[position]]
        return list(map(ROW_TYPES[source]._make, zip(*columns, strict=True)))

    def recover(self, undo_span: int = 0) -> Recovered:
        """Read back what the core needs to go on, with tasks deleted up to `undo_span` ago.

        Unfinished is what was live when last published or has had an event since, unless its last event ended it; so
        nothing older than the last publication is searched, except for the events of the tasks found.
        """
        (published,) = self.cursor().execute("select batch from live_mark").fetchall()[0]
        ended = ", ".join(_quoted(status) for status in sorted(TERMINAL))
        with self.transaction() as cursor:
            cursor.execute(
                f"""
                create or replace temp table wanted as
                with since as (
                    select task_id, arg_max(to_status, event_id) as status, min(occurred_at) as seen_at
                    from task_event where batch > {published} group by task_id)
                select task_id, created_at from task_live where task_id not in (select task_id from since)
                union all
                select task_id, coalesce(l.created_at, d.created_at, s.seen_at) from since s
                left join (select task_id, created_at from task_live) l using (task_id)
                left join (select task_id, created_at from task_finished where status = '{Status.NEW}') d
                    using (task_id)
                where s.status not in ({ended})
                union
                select task_id, created_at from task_finished
                where status = '{Status.STOPPED}' and reason = '{Reason.DELETED}' and finished_at >= make_timestamp(?)
                """,
                [max(self._clock - undo_span, 0)],
            ).fetchall()
            # A literal bound, so that DuckDB skips the row groups before it.
            (oldest,) = cursor.execute("select epoch_us(min(created_at)) from wanted").fetchall()[0]
        events: list[TaskEvent] = []
        if oldest is not None:
            events = self.rows(
                "task_event",
                f"occurred_at >= make_timestamp({oldest}) and task_id in (select task_id from wanted)",
            )
        self.cursor().execute("drop table wanted").fetchall()
        highest = self._highest()
        joined = min((event.occurred_at for event in events if event.dq > 0 or event.dp > 0), default=None)
        return Recovered(
            batch=self.batch,
            now=self._clock,
            last_event_id=highest["event_id"],
            last_audit_id=highest["audit_id"],
            last_task_id=highest["task_id"],
            service_events=self.rows("service_event", "event <> 'stale_report'"),
            hold_events=self.rows("hold_event"),
            schedule_events=self.rows("schedule_event"),
            schedule_fires=self.rows(
                "schedule_fire",
                # when it occurs next follows from the last occurrence, whether a run is owed from the last queued one
                "event_id in (select unnest([max(event_id) filter (count > 0), "
                "max(event_id) filter (outcome = 'queued' or count = 0)]) from schedule_fire group by schedule_id)",
            ),
            task_events=events,
            queue_shifts=(
                [] if joined is None else self.rows("queue_shift", f"occurred_at >= make_timestamp({joined})")
            ),
            audits=self.rows("audit", f"occurred_at >= make_timestamp({max(self._clock - REPEAT_SPAN, 0)})"),
        )

    def _highest(self) -> dict[str, dict[int, int]]:
        """Find the highest id of each sort and business number."""
        parts = [f"select event_id >> {NUMBER_BITS} as no, max(event_id) as event_id, max(task_id) as task_id, "
                 "null as audit_id from task_event group by 1"]  # fmt: skip
        for table in NUMBERED_TABLES:
            if table != "task_event":
                parts.append(f"select event_id >> {NUMBER_BITS}, max(event_id), null, null from {table} group by 1")
        parts.append(f"select audit_id >> {NUMBER_BITS}, null, null, max(audit_id) from audit group by 1")
        found = self.read(
            "select no, max(event_id) as event_id, max(task_id) as task_id, max(audit_id) as audit_id "
            f"from ({' union all '.join(parts)}) group by 1"
        )
        return {
            column: dict(found.select("no", column).drop_nulls().iter_rows())
            for column in ("event_id", "task_id", "audit_id")
        }

    # --- the chain

    def broken_link(self, from_batch: int = 1, rows_at_once: int = 300_000) -> Broken | None:
        """Recompute the chain from the rows that are there, and name the first batch that differs.

        Finds rows edited, deleted, added or moved to another batch in any ledger table, batches removed anywhere, and
        a ledger cut off at its end (its head no longer is the one beside the store). Commits may go on meanwhile: the
        head is read first, and what comes after the last batch that is read then is left alone.
        """
        head = _read_head(self.folder / HEAD)
        batches = self.read("select batch, epoch_us(committed_at) as now, row_counts::varchar as n, link from batch "
                            "order by batch").rows()  # fmt: skip
        last = batches[-1][0] if batches else 0
        expected = 1
        for number, *_ in batches:
            if number != expected:
                return Broken(min(number, expected), f"batch {expected} is missing or not alone")
            expected += 1
        if head and head["batch"] > last:
            return Broken(last + 1, f"the ledger ends at batch {last}, batch {head['batch']} was acknowledged")
        for table in LEDGER_TABLES:
            beyond = "batch is null or batch < 1 or batch > (select coalesce(max(batch), 0) from batch)"
            stray = self.read(f"select count(*) from {table} where {beyond}").item()
            if stray:
                return Broken(last + 1, f"{stray} rows of {table} belong to no batch")
        before = NO_LINK if from_batch <= 1 else batches[from_batch - 2][3]
        todo = batches[max(from_batch, 1) - 1 :]
        while todo:
            size, n = 0, 0
            while n < len(todo) and (n == 0 or size < rows_at_once):
                size += _rows_in(todo[n][2])
                n += 1
            part, todo = todo[:n], todo[n:]
            computed = self._links(part, before)
            for (number, _, _, stored), link in zip(part, computed, strict=True):
                if link != stored:
                    return Broken(number, f"the rows of batch {number} are not those that were committed")
            before = part[-1][3]
        if head and head["batch"] >= 1 and batches[head["batch"] - 1][3] != head["link"]:
            return Broken(head["batch"], f"batch {head['batch']} is not the one that was acknowledged")
        return None

    def _links(self, batches: Sequence[tuple[int, int, str, str]], before: str) -> list[str]:
        first, last = batches[0][0], batches[-1][0]
        numbers = np.arange(first, last + 2)
        cut: list[tuple[_Canonical, Any]] = []
        for table in LEDGER_TABLES:
            found = self.cursor().sql(
                f"select batch, {_as_plain(table)} from {table} where batch between {first} and {last} "
                f"order by batch, {_chain_order(table)}"
            )
            content = found.to_arrow_table().combine_chunks()
            columns = [column.combine_chunks() for column in content.columns]
            bounds = np.searchsorted(columns[0].to_numpy(), numbers)
            cut.append((_Canonical(table, columns[1:]), bounds))
        links = []
        for position, (number, now, _, stored) in enumerate(batches):
            mac = _link(self._key, before, number, now)
            for canonical, bounds in cut:
                canonical.feed(mac, int(bounds[position]), int(bounds[position + 1]))
            links.append(mac.hexdigest())
            before = stored
        return links

    # --- opening and closing

    def _connect(self) -> Cursor:
        con = duckdb.connect(str(self.path), config=self._config)
        con.execute("set global TimeZone = 'UTC'").fetchall()
        self._incoming = {}
        return con

    def _reopen(self) -> None:
        """Close every cursor and open the database anew: the only way on after DuckDB invalidated it."""
        with self._reopening:
            self._close_database()
            self._generation += 1
            give_up = time.monotonic() + 10
            while True:
                try:
                    self._con = self._connect()
                    self._con.execute("select 1 from batch limit 1").fetchall()
                    return
                except duckdb.Error as error:
                    # A reader may still be ending its query on the old instance.
                    if time.monotonic() > give_up:
                        raise CommitFailed(f"The store could not be reopened: {error}") from error
                    with suppress(duckdb.Error, AttributeError):
                        self._con.close()
                    time.sleep(0.05)

    def _close_database(self) -> None:
        for cursor in list(self._cursors):
            with suppress(duckdb.Error):
                cursor.close()
        self._cursors.clear()
        with suppress(duckdb.Error):
            self._con.close()

    def close(self) -> None:
        """Checkpoint, close, and let go of the lock. Closing twice is fine."""
        with self._write:
            if self._closed:
                return
            with suppress(StoreError):
                self.checkpoint()
            self._closed = True
            self._close_database()
            with suppress(OSError):
                self._write_head(self._clock)
            os.close(self._lock)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_last(self) -> None:
        last = self._con.execute("select batch, epoch_us(committed_at), link from batch order by batch desc limit 1")
        for self.batch, self._clock, self._link in last.fetchall():
            pass
        restored = self._con.execute(f"select task_id from task_finished where status = '{Status.NEW}'")
        self._restored = {task_id for (task_id,) in restored.fetchall()}

    def _compare(self, head: dict[str, Any]) -> None:
        acknowledged = int(head.get("batch", 0))
        if acknowledged > self.batch:
            raise StoreDamaged(
                f"The store in {self.folder} ends at batch {self.batch}, but batch {acknowledged} was acknowledged: "
                f"{acknowledged - self.batch} are missing. Was the .wal file removed, or an old copy put in its "
                "place? Put it back, or use `restore` to accept a backup.",
                last=self.batch,
                acknowledged=acknowledged,
            )
        if acknowledged:
            found = self._con.execute("select link from batch where batch = ?", [acknowledged]).fetchall()
            if found != [(head["link"],)]:
                raise StoreDamaged(
                    f"Batch {acknowledged} in {self.folder} is not the one that was acknowledged: the store was "
                    "replaced or changed. Put the right one back, or use `restore` to accept a backup."
                )

    def _write_head(self, clock: int) -> None:
        text = json.dumps({"batch": self.batch, "link": self._link, "clock": clock})
        beside = self.folder / f"{HEAD}.new"
        beside.write_text(text)
        beside.replace(self.folder / HEAD)


def _latest(assets: Sequence[AssetSeen]) -> list[AssetSeen]:
    """Keep one row per asset, the last seen: an upsert can't touch a row twice."""
    latest: dict[tuple[str, str, str], AssetSeen] = {}
    for seen in assets:
        key = (seen.business, seen.site, seen.target)
        if key not in latest or latest[key].seen_at <= seen.seen_at:
            latest[key] = seen
    return list(latest.values())


def _rows_in(counts: str) -> int:
    try:
        return sum(json.loads(counts).values())
    except (TypeError, ValueError, AttributeError):
        return 0  # only sizes the next read; what was tampered with shows in the links


def _take_lock(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreInUse(
            f"Process {holder} holds the store in {path.parent}; ask it, or stop it first.", pid=holder
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreDamaged(f"{path} can't be read: {error}. Use `restore` to accept the store as it is.") from error
    return dict(head)


def _refuse_remains(folder: Path, head: dict[str, Any]) -> None:
    """Refuse a folder whose database is gone while traces of it are left: opening would destroy or hide them."""
    path = folder / DATABASE
    if path.exists():
        return
    if Path(f"{path}.wal").exists():
        raise StoreDamaged(
            f"{path} is missing, but its write-ahead log {DATABASE}.wal is there and may be the last copy of what was "
            "acknowledged. Put the database file back beside it, or move the log away to start anew."
        )
    if head.get("batch", 0):
        raise StoreDamaged(
            f"{path} is missing, but batch {head['batch']} was acknowledged in it. Put it back, use `restore`, or "
            f"remove {HEAD} to start anew."
        )


def _chain_key(folder: Path) -> bytes:
    path = folder / KEY
    try:
        return bytes.fromhex(path.read_text())
    except FileNotFoundError:
        if (folder / DATABASE).exists():
            raise StoreDamaged(
                f"{path} is missing: without it the chain of batches can neither be checked nor continued. "
                "Put it back from where you keep it."
            ) from None
    key = secrets.token_bytes(32)
    _write_key(path, key)
    return key


def _write_key(path: Path, key: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key.hex())
        file.flush()
        os.fsync(file.fileno())
