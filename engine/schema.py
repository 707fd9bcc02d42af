"""The schema: the ledger's row types as DuckDB tables, the tables and views derived from them, a comment on each.

A column's type follows from its row type and its name: `_at` is an instant, `_s` a duration, exact to the microsecond.
Nothing is written down twice, and nothing that people script against goes without a comment. Column names are public;
a change of them is a migration.

The ledger's tables are append-only, have no keys, and carry the number of the batch that wrote them. `task_done` is
derived, written in the same commit: one self-contained wide row per finished task, so that list pages read one table
without a join. A later version of a row (hidden, shown again, restored, finished after that) is appended, and the
earlier one gets the batch that replaced it: `superseded_by`. `task` is a plain view, the union of `task_finished` and
`task_unfinished`. Counts and filters are quick on it; DuckDB does not push ORDER BY … LIMIT through a union, so that
pages ask the two halves for their first rows each.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Protocol

from .errors import StoreError
from .ledger import KEYS, ROW_TYPES


class SqlCursor(Protocol):
    """As much of a DuckDB cursor as the schema needs; DuckDB itself is the store's."""

    def execute(self, query: str, parameters: Any = ..., /) -> SqlCursor: ...

    def fetchall(self) -> list[Any]: ...


def migrate(cursor: SqlCursor, steps: Sequence[tuple[int, str]] | None = None) -> None:
    """Create the schema in a new store, or lead an older one to the newest version; the transaction is the caller's.

    Steps are pairs of a version and the SQL that leads to it from the one before, ascending; MIGRATIONS by default.
    """
    steps = MIGRATIONS if steps is None else steps
    newest = max((version for version, _ in steps), default=1)
    if not cursor.execute("select 1 from duckdb_tables() where table_name = 'schema_version'").fetchall():
        for statement in _tables():
            cursor.execute(statement)
        cursor.execute("insert into schema_version values (?)", [newest])
    else:
        (version,) = cursor.execute("select version from schema_version").fetchall()[0]
        if version > newest:
            raise StoreError(
                f"The store has schema version {version}, this program knows only up to {newest}. "
                "It was written by a newer Drainboard: start that one."
            )
        if version == newest:
            return
        for number, sql in steps:
            if number > version:
                cursor.execute(sql)
        cursor.execute("update schema_version set version = ?", [newest])
    for statement in _views():
        cursor.execute(statement)
    describe(cursor, _TABLES, _COLUMNS)


def describe(cursor: SqlCursor, tables: dict[str, str], columns: dict[str, str]) -> None:
    """Comment on what is not yet: tables, and columns, whose text is looked up as `table.column`, else `column`."""
    views = _commented(cursor, "view_name, comment from duckdb_views()")
    there = views | _commented(cursor, "table_name, comment from duckdb_tables()")
    comments = [
        f"comment on {'view' if table in views else 'table'} {table} is {quoted(text)}"
        for table, text in tables.items()
        if there.get(table) != text
    ]
    found = "select table_name, column_name, comment from duckdb_columns() where not internal"
    for table, column, comment in cursor.execute(found).fetchall():
        if table in tables:
            text = columns.get(f"{table}.{column}") or columns[column]
            if comment != text:
                comments.append(f"comment on column {table}.{column} is {quoted(text)}")
    if comments:
        cursor.execute(";\n".join(comments))  # hundreds of them: one by one they take twice the time of opening a store


def _commented(cursor: SqlCursor, what: str) -> dict[str, str | None]:
    return dict(cursor.execute(f"select {what} where not internal").fetchall())


def quoted(text: str) -> str:
    """Write a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


# --- tables

_SQL_TYPES = {str: "VARCHAR", bool: "BOOLEAN", float: "DOUBLE", int: "BIGINT", dict: "JSON"}


def _sql_type(column: str, hint: object) -> str:
    if column.endswith("_at"):
        return "TIMESTAMP"
    if column.endswith("_s"):
        return "DECIMAL(18,6)"
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    (kind,) = (part for part in options if part is not type(None))
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


def _tables() -> Iterator[str]:
    for table in (*ROW_TYPES, "task_live", *_OWN_TABLES):
        yield _create(table)
    yield "insert into live_mark values (0)"


def _create(table: str) -> str:
    columns = [f"{name} {kind}" for name, kind in (_OWN_TABLES.get(table) or _columns(table)).items()]
    if table in KEYS:
        columns.append(f"primary key ({', '.join(KEYS[table])})")
    return f"create table {table} ({', '.join(columns)})"


MIGRATIONS: tuple[tuple[int, str], ...] = (
    (2, "; ".join(_create(table) for table in ("account", "sign_in", "one_time_link"))),
    (3, _create("saved_view")),
    (4, _create("report_result")),
    (5, "; ".join(_create(table) for table in ("blackout_event", "blackout_fire"))),
    (6, "alter table account add column if not exists identity varchar"),
    (7, _create("throttle_event")),
)
"""What leads older stores to the newest version. A new store starts there."""


def append(table: str) -> str:
    """Write how a table takes in the rows that lie in `incoming_<table>`."""
    if table == "asset":
        return """
            insert into asset by name
                (select * exclude (seen_at), seen_at as first_seen_at, seen_at as last_seen_at from incoming_asset)
            on conflict do update set
                batch = excluded.batch,
                name = if(excluded.last_seen_at < last_seen_at, name, excluded.name),
                type = if(excluded.last_seen_at < last_seen_at, type, excluded.type),
                online = if(excluded.last_seen_at < last_seen_at, online, excluded.online),
                outlier_score = coalesce(excluded.outlier_score, outlier_score),
                last_seen_at = greatest(excluded.last_seen_at, last_seen_at)
        """
    verb = "insert or replace" if table in KEYS else "insert"
    return f"{verb} into {table} by name from incoming_{table}"


# --- views

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
    "throttle": """
        select throttle_id, throttle, business, site, owner, rate, at_most, event, reason, actor,
               first_value(occurred_at) over (partition by throttle_id order by event_id) as begun_at, batch
        from throttle_event
        qualify row_number() over (partition by throttle_id order by event_id desc) = 1
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
    "blackout": """
        select blackout_id, version, business, site, name, event, actor, occurred_at,
               (detail ->> '$.duration_s')::bigint::decimal(18, 6) as duration_s, detail ->> '$.reason' as reason,
               (detail ->> '$.suspend')::boolean as suspend, detail, batch
        from blackout_event
        qualify row_number() over (partition by blackout_id order by event_id desc) = 1
    """,
}


def _views() -> Iterator[str]:
    columns = ", ".join([*TYPES["task_done"], "batch"])
    for view, sql in _VIEWS.items():
        yield f"create or replace view {view} as {sql.format(columns=columns)}"


# --- what tables and columns hold

_TABLES = {
    "task_event": "One step in the life of one task. Append-only: the truth that all else follows from",
    "service_event": "One change of the fleet: added, state, refused report, console down. Append-only",
    "hold_event": "One change of a hold: placed, begun, ended. Append-only",
    "throttle_event": "One change of a ramp or cap: begun, changed, shut, open, ended. Append-only",
    "schedule_event": "One version of a schedule: created, edited, removed. Append-only",
    "schedule_fire": "What became of one nominal time of a schedule, or of a run of skipped ones. Append-only",
    "blackout_event": "One version of a blackout window: created, edited, removed. Append-only",
    "blackout_fire": "What became of one nominal time of a blackout window, or of a run of missed ones. Append-only",
    "queue_shift": "So many waiting tasks began to wait for another cause. Append-only",
    "audit": "One object that a person's command changed, or was refused for. Append-only",
    "task_done": "Finished tasks, one row each; newer versions are appended. Read the view task instead",
    "task_live": "Unfinished tasks as of the last published batch. Read the view task instead",
    "live_mark": "The batch as of which task_live was published",
    "widget_refresh": "One finished refresh of a dashboard's widget",
    "asset": "Assets as the last processed task saw them",
    "report_result": "What a report or an outlier calculation found, one row each",
    "account": "Those who may sign in, as they stand",
    "sign_in": "Sessions, ended or not",
    "one_time_link": "Links that let somebody set his password, once",
    "saved_view": "Views that people keep under a name, as they stand",
    "batch": "One row per commit: a link of the chain over all ledger rows",
    "schema_version": "The version of this schema",
    "task_finished": "Finished tasks, the newest version of each row",
    "task_unfinished": "Live tasks as of the last published batch, without those that have finished since",
    "task": "All tasks: finished ones and, as of the last published batch, live ones",
    "hold": "Holds as they stand: the latest event of each",
    "throttle": "Ramps and caps as they stand: the latest event of each",
    "service": "Services as they stand: what the latest events made of each",
    "schedule": "Schedules as they stand: the latest version of each",
    "blackout": "Blackout windows as they stand: the latest version of each",
}

_COLUMNS = {
    "account": "Whose it is",
    "address": "From where",
    "began_at": "When it began (UTC)",
    "changed_at": "When it was last changed (UTC)",
    "disabled": "Whether the account may not sign in",
    "ended_at": "When it was ended; empty while it lasts (UTC)",
    "identity": "By which a provider of identities knows the account; empty: it has but a password",
    "grants": "What the account may: role, business and site of each grant, as JSON",
    "made_at": "When it was made (UTC)",
    "result": "Its figures and tables, as JSON; the event that ended its task bears their SHA-256 as digest",
    "made_by": "Who made it",
    "password": "Its argon2id hash; empty until one was set",
    "purpose": "invite or reset",
    "seen_at": "When it was last used (UTC)",
    "token": "SHA-256 of the secret, which is kept nowhere here",
    "used_at": "When it was used; empty until then (UTC)",
    "valid_until_at": "Until when it can be used (UTC)",
    "action": "What the actor asked for",
    "actor": "Who performed it: a user, a service, engine, dispatcher, import, cli:<user>",
    "after": "The object after the change, as JSON",
    "assets_changed": "Assets that processing found changed",
    "assets_gone": "Assets that processing no longer found",
    "assets_new": "Assets that processing found for the first time",
    "assets_offline": "Assets seen offline",
    "assets_online": "Assets seen online",
    "at_most": "How many tasks of the user may run at once; empty for a ramp",
    "attempt": "Worker losses so far, per stage",
    "audit_id": "Business number and its own running number of audit rows, in one 64-bit number",
    "batch": "The commit that wrote this row",
    "begun_at": "When it began (UTC)",
    "before": "The object before the change, as JSON",
    "business": "The tenant",
    "cause": "Why a waiting task waits: hold, console, throttled, offline, exclusive, capacity, unknown",
    "collected_at": "When collecting was done (UTC)",
    "committed_at": "The engine's clock at the commit (UTC)",
    "blackout_id": "The blackout window",
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
    "duration_s": "How long each hold of the window lasts, in seconds",
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
    "outlier_score": "How unlike its peers at the site the asset is, 0 to 10; empty until an outlier calculation ran",
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
    "rate": "How many tasks a ramp lets start in a minute; empty for a cap",
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
    "filter": "What it shows, in the filter language",
    "removed": "Whether its owner or an admin dropped it",
    "sort": "By what it is sorted",
    "tab": "The tab that it opens",
    "throttle": "ramp: so many starts a minute after a resume; cap: so many running tasks of a user",
    "throttle_id": "The ramp or cap",
    "view_id": "What its link carries",
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
    "hold_event.target": "The user, task type, schedule or site that the hold covers",
    "hold_event.target_kind": "user, kind, schedule or site",
    "hold.target": "The user, task type, schedule or site that the hold covers",
    "hold.target_kind": "user, kind, schedule or site",
    "hold.event": "The latest event: placed, begun or ended",
    "throttle_event.owner": "The user whom a cap is on; empty for a ramp",
    "throttle_event.business": "The business; empty for a ramp over holds of several",
    "throttle_event.site": "The site, where a ramp is of one only",
    "throttle_event.event": "begun, changed (a cap), shut (nobody may start), open (somebody may), ended",
    "throttle.owner": "The user whom a cap is on; empty for a ramp",
    "throttle.event": "The latest event: begun, changed, shut, open or ended",
    "schedule_fire.outcome": "What became of it: submitted, skipped …",
    "blackout_fire.nominal_at": "The time at which the window was to begin, the first that this row stands for (UTC)",
    "blackout_fire.until_at": "When it was to be over (UTC)",
    "blackout_fire.hold_id": "The hold that was placed for it",
    "blackout_fire.outcome": "held, or missed: the console was down all the while",
    "blackout.reason": "Why the site is held",
    "audit.outcome": "changed, skipped or refused",
    "widget_refresh.run_s": "Seconds of running",
    "widget_refresh.wait_s": "Seconds waited for a processor",
    "asset.target": "The asset's address",
    "report_result.site": "The site that it is of; empty: the business as a whole",
    "report_result.name": "Which report it is, or Outlier calculation",
    "report_result.created_by": "Who started its task",
    "account.created_at": "When the account was made (UTC)",
    "saved_view.business": "The business that it is shared with; empty: it is its owner's alone",
    "saved_view.owner": "Whose view it is",
    "live_mark.batch": "The batch as of which task_live was published",
    "schema_version.version": "The version of this schema",
}
