"""Seconds from the click to the answer when thousands of tasks are stopped at once: one commit of a running engine.

Half of them run, half wait, among many others that go on waiting; their steps, audit rows and the rows of those that
ended are durable when the answer comes. The other actions over as many tasks are measured beside it, and what takes
them back, each with the reading of what it needs.
"""

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from engine import bulk, history
from engine import messages as m
from engine.bulk import Verb, carry_out, parts, preview
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.settings import Settings
from engine.store import Store
from engine.undo import undo
from tests.bench.common import report
from tests.bench.multiply import long_history

TARGET_S = 2.0


class Fleet:
    """A site with many tasks, of which so many run."""

    def __init__(self, folder: Path, tasks: int, running: int, others: int) -> None:
        self.engine = Engine(folder, Settings({"publish_s": 3600})).start()
        self.requests = 0
        self.do(m.AddBusiness("bench")), self.do(m.AddSite("bench", "site"))
        self.do(m.AddService("bench", "site", "audit-1", "audit_service", running))
        self.others = self.submit(others, Kind.SCAN)
        self.tasks = self.submit(tasks, Kind.AUDIT)

    def do(self, action: m.Action, request: str | None = None) -> m.Outcome:
        self.requests += 1
        outcome = self.engine.do(m.Command(request or f"r{self.requests}", "bench", action)).result(120)
        assert outcome.refused is None, outcome
        return outcome

    def submit(self, n: int, kind: Kind) -> list[int]:
        ids: list[int] = []
        for first in range(0, n, 5_000):
            new = [m.NewTask("bench", "site", kind, "task", f"user-{i % 500}", "bench", f"host-{i}")
                   for i in range(first, min(n, first + 5_000))]  # fmt: skip
            ids += [int(task) for task in self.do(m.Submit(new)).changed]
        return ids

    def frame(self, tasks: list[int]) -> pl.DataFrame:
        """Give what a page would show of some tasks, live or not, once a snapshot tells of all that was done."""
        while self.engine.snapshot.batch < self.engine.store.batch:
            time.sleep(0.01)
        live = self.engine.snapshot.tasks().select(bulk.COLUMNS)
        ended = self.engine.store.read("select * from task_finished").select(bulk.COLUMNS)
        return pl.concat([live, ended.join(live, on="task_id", how="anti")]).filter(
            pl.col("task_id").is_in(pl.Series(tasks).implode())
        )

    def act(self, verb: Verb, tasks: list[int], request: str, **more: object) -> dict[str, float]:
        """Carry an action out; tell how long its preview took, and the rest."""
        frame, start = self.frame(tasks), time.perf_counter()
        frozen = preview(verb, frame)
        seen = time.perf_counter()
        done = carry_out(parts(frozen, self.rows, **more), request, self.do)
        assert len(done.changed) == len(tasks), (verb, done.whys)
        self.changed = [int(task) for task in done.changed]
        took = time.perf_counter() - seen
        return {"running": frozen.running, "preview_ms": round((seen - start) * 1000, 1), "s": round(took, 3)}

    def undone(self, request: str) -> float:
        start = time.perf_counter()
        found = undo(self.engine.store, request)
        done = carry_out(found.parts, f"undo {request}", self.do)
        assert len(done.changed) == found.count, done.whys
        return round(time.perf_counter() - start, 3)

    def rows(self, ids: object) -> object:
        return history.finished(self.engine.store, ids)


def lookups(tasks: int, n: int) -> dict[str, object]:
    """Read the rows of so many ended tasks of a long history by their ids: of the newest, and of any."""
    with long_history(tasks) as (folder, total), Store.open(folder) as store:
        newest = "select task_id from task_done order by finished_at desc limit"
        any_of = f"select task_id from task_done where hash(task_id) % {total // n} = 0 limit"
        found: dict[str, object] = {"history": total}
        for name, sql in (("newest", newest), ("any", any_of)):
            ids = store.read(f"{sql} {n}")["task_id"].to_list()
            wall, cpu = time.perf_counter(), time.process_time()
            assert len(history.finished(store, ids)) == len(ids)
            found[f"rows_of_{name}_ms"] = round((time.perf_counter() - wall) * 1000)
            found[f"rows_of_{name}_cpu_ms"] = round((time.process_time() - cpu) * 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--others", type=int, default=20_000, help="tasks that go on waiting")
    parser.add_argument("--history", type=int, default=0, help="ended tasks among which rows are looked up; 0: none")
    options = parser.parse_args()
    n = options.tasks
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        fleet = Fleet(Path(place) / "store", n, n // 2, options.others)
        cpu = time.process_time()
        found["stop"] = fleet.act(Verb.STOP, fleet.tasks, "stop")
        cpu = time.process_time() - cpu
        batches = fleet.engine.store.read("select count(distinct batch) from task_event where request_id = 'stop'")
        some = fleet.others[:n]
        found["edit"] = fleet.act(Verb.EDIT, some, "edit", changes={"priority": 9})
        found["undo_edit_s"] = fleet.undone("edit")
        found["rerun"] = fleet.act(Verb.RERUN, some, "rerun")
        again = fleet.changed
        found["delete"] = fleet.act(Verb.DELETE, again, "delete")
        found["undo_delete_s"] = fleet.undone("delete")
        fleet.do(m.Stop(again))
        found["hide"] = fleet.act(Verb.DELETE, again, "hide")
        found["undo_hide_s"] = fleet.undone("hide")
        fleet.engine.close()
    if options.history:
        found |= lookups(options.history, n)
    seconds: float = found["stop"]["s"]
    assert found["stop"]["running"] == n // 2
    one_commit = batches.item() == 1
    report(
        "bulk", seconds, f"s to stop {n:,} tasks, half of them running", TARGET_S, seconds <= TARGET_S and one_commit,
        others=options.others, one_commit=one_commit, cpu_s=round(cpu, 3), **found,
    )  # fmt: skip


if __name__ == "__main__":
    main()
