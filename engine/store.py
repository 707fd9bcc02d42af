"""The store: the one owner of DuckDB. Connections, the lock, group commit, recovery, checkpoints, cursors for readers.

A batch of the ledger's rows is one transaction; batch numbers have no gap, and each batch is a link of the chain. So a
batch that was acknowledged is there whole, whatever ended the process, and a store that lacks one refuses to open.

Never open the `.duckdb` file in this process except through DuckDB, not even to read or copy it: closing any other
handle on it drops DuckDB's POSIX lock, and a second process could then write unseen. `store.lock` is our own guard.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from . import chain
from .batch import Batch, Bulk, prepare
from .chain import Broken, Head
from .clock import SECOND
from .columns import (
    columns_of,
    ledger_rows,
    plain_columns,
    plain_schema,
    plain_select,
    stored_columns,
)
from .errors import CommitFailed, GivenUp, StoreDamaged, StoreError, StoreFull, StoreInUse
from .ledger import (
    NUMBER_BITS,
    NUMBERED_TABLES,
    Audit,
    BlackoutEvent,
    BlackoutFire,
    HoldEvent,
    QueueShift,
    Rows,
    SavedView,
    ScheduleEvent,
    ScheduleFire,
    ServiceEvent,
    TaskEvent,
    TaskRow,
    ThrottleEvent,
    json_text,
)
from .lifecycle import TERMINAL, Reason, Status
from .patience import Patience
from .schema import append, migrate, quoted

Cursor = duckdb.DuckDBPyConnection
Found = TypeVar("Found")

DATABASE = "drainboard.duckdb"
LOCK = "store.lock"

LONG_LOG = 48_000_000  #: bytes in the write-ahead log from which a checkpoint is due
REPEAT_SPAN = 600 * SECOND  #: a repeated request id is recognised for so long, also after a restart


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
    throttle_events: list[ThrottleEvent]
    schedule_events: list[ScheduleEvent]
    schedule_fires: list[ScheduleFire]  #: the last of each schedule, and the last about a run that was owed
    blackout_events: list[BlackoutEvent]
    blackout_fires: list[BlackoutFire]  #: the last of each blackout window, and all that placed a hold
    task_events: list[TaskEvent]  #: all events of unfinished and of lately deleted tasks
    queue_shifts: list[QueueShift]  #: since the oldest of these tasks began to wait
    audits: list[Audit]  #: those young enough to recognise a repeated request by
    saved_views: list[SavedView]  #: those that were not removed


class Store:
    """One open store. `commit` and `publish_live` belong to the writer thread; reads and `checkpoint` to any thread."""

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
        self._needed_bytes = 3 * min(LONG_LOG, checkpoint_mb * 1_000_000) + 500_000_000
        self._write = threading.RLock()
        self._reopening = threading.RLock()
        self._local = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._patience = Patience()
        self._generation = 0
        self._closed = False
        self._incoming: dict[str, _Incoming] = {}
        self._con = self._connect()
        self.batch = 0  #: the last durable batch
        self._link, self._clock = chain.NO_LINK, 0
        self._restored: set[int] = set()  #: tasks whose newest row says New

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        memory_limit: str = "1GB",
        threads: int = 2,
        checkpoint_mb: int = 4 * LONG_LOG // 1_000_000,
        rebase: bool = False,
    ) -> Store:
        """Open the store in a folder, or make a new one there.

        Refused at once while another holds it; refused as damaged where it lacks what was acknowledged, unless `rebase`
        says to accept it as it is (after a backup was put back).
        """
        folder.mkdir(parents=True, exist_ok=True)
        _close_to_others(folder)
        lock = _take_lock(folder / LOCK)
        try:
            head = chain.read_head(folder)
            _refuse_remains(folder, Head() if rebase else head)
            key = chain.read_key(folder, make=not (folder / DATABASE).exists())
            store = cls(folder, lock, key, memory_limit, threads, checkpoint_mb)
            try:
                with whole(store._con):
                    migrate(store._con)
                store._find_last()
                if not rebase:
                    chain.refuse_loss(folder, head, store.batch, store._link_of(head.batch))
                store._clock = max(store._clock, head.clock)
                store._write_head()
            except BaseException:
                store._close_database()
                raise
        except BaseException as error:
            os.close(lock)
            if isinstance(error, duckdb.Error):
                raise StoreDamaged(
                    f"{folder / DATABASE} can't be opened: {str(error).rstrip('.!')}. "
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
            try:
                prepared = prepare(self._key, self._link, batch, now, rows, bulk or {}, self._restored)
                self._insert(prepared)
            except duckdb.Error as error:
                self._after_failure(batch, error)
            except (OSError, MemoryError, pa.ArrowException) as error:  # rows that come in bulk could not be read
                raise CommitFailed(f"Batch {batch} could not be written: {error}", batch=batch) from error
            self.batch, self._link = batch, prepared.link
            self._clock = max(self._clock, now)
            for row in rows.task_done:
                if row.status == Status.NEW:
                    self._restored.add(row.task_id)
                else:
                    self._restored.discard(row.task_id)
            # The head is for finding what was lost. The batch is durable: a full disk must not make it fail now.
            with suppress(OSError):
                self._write_head()

    def _insert(self, batch: Batch) -> None:
        con = self._con
        counts = {table: content.num_rows for table, content in batch.tables.items()}
        for table, content in batch.tables.items():
            self._hand_over(table, content)
        for table in batch.bulk:  # prepared out here, or a roll-back would take what is prepared away
            nothing = columns_of(plain_schema(table).empty_table())
            self._hand_over(table, stored_columns(table, nothing, batch.number))
        counts = {table: content.num_rows for table, content in batch.tables.items()}
        try:
            with whole(con):
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
                        self._hand_over(table, stored_columns(table, columns_of(block), batch.number))
                        con.execute(f"execute append_{table}").fetchall()
                        counts[table] = counts.get(table, 0) + block.num_rows
                con.execute(
                    "insert into batch values (?, make_timestamp(?), ?, ?)",
                    [batch.number, batch.now, json_text(counts), batch.link],
                ).fetchall()
        finally:
            for incoming in self._incoming.values():
                incoming.table = incoming.table.schema.empty_table()  # lets go of the rows

    def _hand_over(self, table: str, content: pa.Table) -> None:
        """Lay a table's new rows where its prepared INSERT finds them: planning it anew costs more than running it."""
        if table not in self._incoming:
            incoming = _Incoming(content)
            self._con.register(f"incoming_{table}", incoming)
            self._con.execute(f"prepare append_{table} as {append(table)}").fetchall()
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
                content = stored_columns("task_done", plain_columns("task_done", rows), batch)
                cursor.register("incoming_live", content)
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
            with whole(cursor):
                yield cursor
        except BaseException as error:
            if isinstance(error, duckdb.FatalException):
                with suppress(duckdb.Error):
                    self._outlive(generation, error)
            if isinstance(error, duckdb.Error):
                raise StoreError(f"The store could not do this: {error}") from error
            raise

    def checkpoint(self, *, beside_commits: bool = False) -> None:
        """Move what the write-ahead log holds into the database file: half a second for a long one.

        Commits wait, unless it goes on beside them; then room that deleted rows leave is not won back.
        """
        generation = self._generation
        try:
            with self._open_write() if beside_commits else nullcontext():
                self.cursor().execute("checkpoint").fetchall()
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException):
                with suppress(duckdb.Error):
                    self._outlive(generation, error)
            raise StoreError(f"The checkpoint failed: {error}") from error

    @contextmanager
    def _open_write(self) -> Iterator[None]:
        """Keep a write open that is never committed: while there is one, DuckDB lets others commit beside a checkpoint.

        Measured: commits wait 0.2 s at most for a log of 60 MB, and without it as long as the checkpoint takes.
        """
        cursor = self._con.cursor()
        try:
            cursor.begin()
            cursor.execute("insert into schema_version values (0)").fetchall()
            yield
        finally:
            with suppress(duckdb.Error):
                cursor.rollback()
            cursor.close()

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
                f"Only {free // 1_000_000:,} MB are free on the disk of the store, {self._needed_bytes // 1_000_000:,} "
                "MB are needed: new work is refused until there is room. What was acknowledged is safe.",
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
        _close_to_others(folder)
        cursor = self._con.cursor()
        try:
            cursor.execute(f"attach {quoted(str(folder / DATABASE))} as backup")
            cursor.execute(f"copy from database {self.path.stem} to backup").fetchall()
            last = "select batch, link, epoch_us(committed_at) from backup.batch order by batch desc limit 1"
            head = Head(*(cursor.execute(last).fetchall() or [Head()])[0])
            cursor.execute("detach backup")
        except duckdb.Error as error:
            raise StoreError(f"The store could not be copied to {folder}: {error}") from error
        finally:
            cursor.close()
        chain.write_key(folder, self._key)
        chain.write_head(folder, head)
        return head.batch

    def keep_clock(self, now: int) -> None:
        """Note the engine's clock beside the store, so that a restart knows since when the console was down.

        Not while a commit is under way, which may take long and notes it itself: who beats must not wait for it.
        """
        if self._write.acquire(blocking=False):
            try:
                if not self._closed:  # else the next who holds the store writes its head
                    self._clock = max(self._clock, now)
                    self._write_head()
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
        frame: pl.DataFrame = self._run(lambda cursor: cursor.sql(sql, params=params).pl())
        return frame

    def few(self, sql: str) -> list[dict[str, Any]]:
        """Run a query to its end and return its rows, which are few, by the names of their columns.

        It is bound once, where `read` binds it twice: of a long query that finds nothing this is half the work.
        """
        return self._run(lambda cursor: _named(cursor.execute(sql)))

    def arrow(self, sql: str) -> pa.Table:
        """Run a query to its end and return its rows as Arrow columns."""
        return self._run(lambda cursor: cursor.sql(sql).to_arrow_table())

    @contextmanager
    def unless(self, gone: Callable[[], bool]) -> Iterator[None]:
        """Have what the calling thread reads within interrupted once `gone` says that nobody waits for it: GivenUp.

        `gone` is asked now and then, in another thread; it must be quick.
        """
        before, self._local.gone = getattr(self._local, "gone", None), gone
        try:
            yield
        except duckdb.InterruptException as error:
            raise GivenUp from error
        finally:
            self._local.gone = before

    def _run(self, query: Callable[[Cursor], Found]) -> Found:
        """Run a query, and once more if the database was invalidated under it."""
        generation, cursor = self._generation, self.cursor()
        gone = getattr(self._local, "gone", None)
        try:
            with self._patience.lasts(gone, cursor.interrupt) if gone is not None else nullcontext():
                return query(cursor)
        except duckdb.Error as error:
            self._outlive(generation, error)
            return query(self.cursor())

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
        order = order or f"batch, {chain.order_by(source)}"
        frame = self.read(f"select {plain_select(source)} from {table} where {where} order by {order}", list(params))
        return ledger_rows(source, [column.to_list() for column in frame.get_columns()])

    def recover(self, undo_span: int = 0) -> Recovered:
        """Read back what the core needs to go on, with tasks deleted up to `undo_span` ago.

        Unfinished is what was live when last published or has had an event since, unless its last event ended it; so
        nothing older than the last publication is searched, except for the events of the tasks found.
        """
        (published,) = self.cursor().execute("select batch from live_mark").fetchall()[0]
        ended = ", ".join(quoted(status) for status in sorted(TERMINAL))
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
            throttle_events=self.rows(
                "throttle_event",
                # who waits may have waited for one that has ended since
                "throttle_id not in (select throttle_id from throttle_event where event = 'ended' "
                f"and occurred_at < make_timestamp({self._clock if joined is None else joined}))",
            ),
            schedule_events=self.rows("schedule_event"),
            schedule_fires=self.rows(
                "schedule_fire",
                # when it occurs next follows from the last occurrence, whether a run is owed from the last queued one
                "event_id in (select unnest([max(event_id) filter (count > 0), "
                "max(event_id) filter (outcome = 'queued' or count = 0)]) from schedule_fire group by schedule_id)",
            ),
            blackout_events=self.rows("blackout_event"),
            blackout_fires=self.rows(
                "blackout_fire",
                "hold_id is not null or event_id in (select max(event_id) from blackout_fire group by blackout_id)",
            ),
            task_events=events,
            queue_shifts=(
                [] if joined is None else self.rows("queue_shift", f"occurred_at >= make_timestamp({joined})")
            ),
            audits=self.rows("audit", f"occurred_at >= make_timestamp({max(self._clock - REPEAT_SPAN, 0)})"),
            saved_views=self.rows("saved_view", "not removed"),
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

    def refuse_wrong_key(self) -> None:
        """Refuse to go on with a key that is not this store's. Opening it does not: it may be looked at."""
        chain.refuse_wrong_key(self.arrow, self._key, self.folder)

    def broken_link(
        self, from_batch: int = 1, rows_at_once: int = 300_000, told: Callable[[int, int], None] = lambda *_: None
    ) -> Broken | None:
        """Recompute the chain from the rows that are there, and name the first batch that differs; see `chain`."""
        return chain.broken_link(self.arrow, self._key, chain.read_head(self.folder), from_batch, rows_at_once, told)

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
                self._write_head()
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

    def _link_of(self, batch: int) -> str | None:
        found = self._con.execute("select link from batch where batch = ?", [batch]).fetchall()
        return found[0][0] if len(found) == 1 else None

    def _write_head(self) -> None:
        chain.write_head(self.folder, Head(self.batch, self._link, self._clock))


class _Incoming:
    """The rows that a commit hands to DuckDB: registered once per table, filled anew for each batch."""

    def __init__(self, empty: pa.Table) -> None:
        self.table = empty

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def _named(cursor: Cursor) -> list[dict[str, Any]]:
    """Fetch what a cursor found, each row by the names of its columns."""
    names = [name for name, *_ in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def whole(con: Cursor) -> Iterator[None]:
    """Make one transaction of what is done within: all of it, or nothing."""
    con.begin()
    try:
        yield
        con.commit()
    except BaseException:
        with suppress(duckdb.Error):
            con.rollback()
        raise


def require_free(folder: Path) -> None:
    """Raise StoreInUse while somebody holds the store in a folder, sound or damaged."""
    os.close(_take_lock(folder / LOCK))


def discard(folder: Path) -> None:
    """Remove what is left of a store that never became whole; StoreInUse while somebody is still building it."""
    if folder.exists():
        lock = _take_lock(folder / LOCK)
        try:
            shutil.rmtree(folder)
        finally:
            os.close(lock)


def _close_to_others(folder: Path) -> None:
    """Let nobody but its owner into a store's folder: hashes of passwords are in the database, beside it is the key."""
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)


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


def _refuse_remains(folder: Path, head: Head) -> None:
    """Refuse a folder whose database is gone while traces of it are left: opening would destroy or hide them."""
    path = folder / DATABASE
    if path.exists():
        return
    if Path(f"{path}.wal").exists():
        raise StoreDamaged(
            f"{path} is missing, but its write-ahead log {DATABASE}.wal is there and may be the last copy of what was "
            "acknowledged. Put the database file back beside it, or move the log away to start anew."
        )
    if head.batch:
        raise StoreDamaged(
            f"{path} is missing, but batch {head.batch} was acknowledged in it. Put it back, use `restore`, or "
            f"remove {chain.HEAD} to start anew."
        )
