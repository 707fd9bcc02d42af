"""A long history out of a short one: copies of a seeded store's finished tasks, put before it in time.

Ten million tasks through the engine would take most of an hour; copying by SQL gives the same tables, columns and
distributions in minutes. Ids, leases and batches of a copy are shifted so that nothing coincides. The chain does not
cover the copies, so such a store is for measuring only.
"""

from pathlib import Path

from engine import rollups
from engine.store import Store

INSTANTS = ("occurred_at", "created_at", "due_at", "queued_at", "started_at", "collected_at", "processing_queued_at",
            "processing_started_at", "finished_at")  # fmt: skip


def multiply(folder: Path, times: int) -> int:
    """Let a store hold `times` as many finished tasks; return how many it holds."""
    with Store.open(folder) as store:
        rollups.prepare(store)
        live = store.rows("task_live")
        batches, events, tasks = (
            store.read(f"select max({column}) from {table}").item()
            for column, table in (("batch", "batch"), ("event_id & ((1::bigint << 40) - 1)", "task_event"),
                                  ("task_id & ((1::bigint << 40) - 1)", "task_event"))
        )  # fmt: skip
        first, last = store.read("select epoch_us(min(occurred_at)), epoch_us(max(occurred_at)) from task_event").row(0)
        for copy in range(1, times):
            back = f"interval ({(last - first + 1) * copy}) microseconds"
            shifted = {
                "event_id": f"event_id + {events * copy}", "lease": f"lease + {events * copy}",
                "task_id": f"task_id + {tasks * copy}", "number": f"number + {tasks * copy}",
                "batch": f"batch + {batches * copy}",
            } | {column: f"{column} - {back}" for column in INSTANTS}  # fmt: skip
            for table in ("task_event", "task_done"):
                columns = [name for name, *_ in store.read(f"describe {table}").rows()]
                picked = ", ".join(f"{shifted[c]} as {c}" if c in shifted else c for c in columns)
                with store.transaction() as cursor:
                    cursor.execute(
                        f"insert into {table} select {picked} from {table} where batch <= {batches} "
                        "and task_id in (select task_id from task_done)"
                    ).fetchall()
            with store.transaction() as cursor:
                cursor.execute(
                    f"insert into batch select batch + {batches * copy}, committed_at, row_counts, link from batch "
                    f"where batch <= {batches}"
                ).fetchall()
            store.checkpoint()
        total: int = store.read("select count(*) from task_done").item()
    with Store.open(folder, rebase=True) as store:
        store.publish_live(live, store.batch)
    return total
