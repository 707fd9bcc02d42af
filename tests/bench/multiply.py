"""A long history out of a short one: copies of a seeded store's finished tasks, put before it in time.

Ten million tasks through the engine would take most of an hour; copying by SQL gives the same tables, columns and
distributions in minutes, the rollups' rows too. Ids, leases and batches of a copy are shifted so that nothing
coincides, instants by whole days, so that buckets and hours of the day stay what they are. The chain does not cover the
copies, and live tasks are in the copies' rollups but not in their ledger, so such a store is for measuring only.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import rollups
from engine.clock import DAY
from engine.fleet import load_file
from engine.ledger import Rows
from engine.seeding import seed
from engine.store import Store

FLEET = Path(__file__).resolve().parents[2] / "data" / "fleet.toml"
INSTANTS = ("occurred_at", "created_at", "due_at", "queued_at", "started_at", "collected_at", "processing_queued_at",
            "processing_started_at", "finished_at", "bucket", "hour", "made_at")  # fmt: skip
FINISHED = "task_id in (select task_id from task_done)"
COPIED = {
    "task_event": FINISHED, "task_done": "true", "widget_refresh": "true", "put_back": FINISHED,
    "report_result": "true", "queue_minute": "true", "queue_quarter": "true", "wait_histogram": "true",
}  # fmt: skip
"""Which rows of which tables a copy takes."""


@contextmanager
def long_history(tasks: int, keep: Path | None = None) -> Iterator[tuple[Path, int]]:
    """Give a store with so many finished tasks, and how many it has; one that is kept is made only once."""
    with tempfile.TemporaryDirectory() as place:
        folder = keep or Path(place) / "store"
        if not folder.exists():
            part = max(min(tasks, 100_000), tasks // 10)
            seed(folder, load_file(FLEET), days=14, tasks=part, seed=1, now=time.time_ns() // 1000,
                 progress=lambda *_: None)  # fmt: skip
            multiply(folder, tasks)
        with Store.open(folder) as store:
            total: int = store.read("select count(*) from task_done").item()
        yield folder, total


def multiply(folder: Path, wanted: int) -> None:
    """Let a store hold at least so many finished tasks."""
    with Store.open(folder) as store:
        rollups.prepare(store)
        live = store.rows("task_live")
        batches, events, tasks = (
            store.read(f"select max({column}) from {table}").item()
            for column, table in (("batch", "batch"), ("event_id & ((1::bigint << 40) - 1)", "task_event"),
                                  ("task_id & ((1::bigint << 40) - 1)", "task_event"))
        )  # fmt: skip
        first, last = store.read("select epoch_us(min(occurred_at)), epoch_us(max(occurred_at)) from task_event").row(0)
        days = (last - first) // DAY + 1
        sizes = {table: store.read(f"select count(*) from {table}").item() for table in COPIED}
        times = -(-wanted // sizes["task_done"])
        for copy in range(1, times):
            shifted = {
                "event_id": f"event_id + {events * copy}", "lease": f"lease + {events * copy}",
                "task_id": f"task_id + {tasks * copy}", "number": f"number + {tasks * copy}",
                "batch": f"batch + {batches * copy}",
            } | {column: f"{column} - interval ({days * copy}) days" for column in INSTANTS}  # fmt: skip
            for table, taken in COPIED.items():
                columns = [name for name, *_ in store.read(f"describe {table}").rows()]
                picked = ", ".join(f"{shifted[c]} as {c}" if c in shifted else c for c in columns)
                with store.transaction() as cursor:
                    cursor.execute(
                        f"insert into {table} select {picked} from {table} where rowid < {sizes[table]} and {taken}"
                    ).fetchall()
            with store.transaction() as cursor:
                cursor.execute(
                    f"insert into batch select batch + {batches * copy}, committed_at, row_counts, link from batch "
                    f"where batch <= {batches}"
                ).fetchall()
            store.checkpoint()
        with store.transaction() as cursor:
            cursor.execute(f"update rollup_state set rolled_batch = {batches * times}").fetchall()
    with Store.open(folder, rebase=True) as store:
        store.publish_live(live, store.batch)
        # The copies bear the links of their originals; an engine that starts wants a newest batch chained with the key.
        store.commit(store.batch + 1, last, Rows())
