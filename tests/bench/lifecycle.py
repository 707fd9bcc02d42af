"""Durable full lifecycles a second: submit → Processed through the running engine, by public commands.

A child runs the engine with everything in force (audit, wait split, rollups, checkpoints, three holds) and an executor
that answers each order at once. It submits in hundreds, then singly, then at ten a second, and is killed with SIGKILL;
the parent reopens the store and counts again. `--peer` races the queue to beat in the same run, where it is installed.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engine import messages as m
from engine import rollups
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.settings import Settings
from engine.store import Store
from tests.bench import peers
from tests.bench.common import report

OWNERS = 100
IN_FLIGHT = 20  #: commands that wait for their acknowledgement at the same time


class Prompt:
    """An executor that does all work the moment it is ordered."""

    name = "prompt"

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.finished = 0
        self.all_done = threading.Event()
        self.expected = 0

    def give(self, orders: Sequence[m.Order]) -> None:
        assert self.engine is not None
        reports: list[m.Report] = []
        for order in orders:
            assert isinstance(order, m.StartOrder)
            if order.stage == "collect":
                reports.append(m.Collected(order.task_id, order.lease))
            else:
                reports.append(m.Finished(order.task_id, order.lease))
        self.engine.report(reports)
        self.finished += sum(isinstance(r, m.Finished) for r in reports)

    def step(self, now: int) -> Sequence[m.Report]:
        return [m.Heartbeat("bench", ["audit-1", "processor-1"])]


def task(i: int) -> m.NewTask:
    return m.NewTask(
        "bench", "site", Kind.AUDIT, "Nightly audit", f"user-{i % OWNERS}", f"user-{i % OWNERS}", target=f"host-{i}"
    )


def run(folder: Path, tasks: int, singly: int) -> None:
    prompt = Prompt()
    engine = Engine(folder, Settings({"publish_s": 20}), lambda _: [prompt])
    prompt.engine = engine
    engine.start()
    serial = iter(range(1 << 60))

    def do(action: m.Action) -> "object":
        return engine.do(m.Command(f"request-{next(serial)}", "bench", action))

    for action in (
        m.AddBusiness("bench"),
        m.AddSite("bench", "site"),
        m.AddService("bench", "site", "audit-1", "audit_service", 4_000, "prompt"),
        m.AddService("bench", None, "processor-1", "processor", 4_000, "prompt"),
        m.PlaceHolds("bench", [m.HoldTarget("user", "nobody"), m.HoldTarget("kind", "import")], "bench"),
        m.PlaceHolds("bench", [m.HoldTarget("user", "else")], "bench"),
    ):
        outcome = do(action).result(10)
        assert outcome.refused is None, outcome

    def submit(total: int, each: int) -> dict[str, float]:
        acks: list[float] = []
        pending: list[tuple[float, object]] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(0, total, each):
            asked = time.perf_counter()
            future = do(m.Submit([task(i) for i in range(start, min(start + each, total))]))
            future.add_done_callback(lambda _, asked=asked: acks.append(time.perf_counter() - asked))
            pending.append((asked, future))
            if len(pending) >= IN_FLIGHT:
                pending.pop(0)[1].result(60)
        for _, future in pending:
            future.result(60)
        expected = before + total
        while engine.snapshot.numbers["bench", "site"].running or prompt.finished < expected:
            time.sleep(0.01)
        while engine.store.read("select count(*) from task_done").item() < expected:
            time.sleep(0.02)
        acks.sort()
        return {
            "tasks_per_s": total / (time.perf_counter() - wall),
            "cpu_ms_per_task": (time.process_time() - cpu) * 1000 / total,
            "ack_p50_ms": acks[len(acks) // 2] * 1000,
            "ack_p99_ms": acks[int(len(acks) * 0.99)] * 1000,
        }

    before = 0
    hundreds = submit(tasks, 100)
    before = tasks
    single = submit(singly, 1)
    quiet = []
    for i in range(60):
        asked = time.perf_counter()
        do(m.Submit([task(i)])).result(10)
        quiet.append(time.perf_counter() - asked)
        time.sleep(max(0.0, 0.1 - quiet[-1]))
    quiet.sort()
    print(
        json.dumps(
            {
                "hundreds": hundreds,
                "singly": single,
                "quiet_ack_p99_ms": quiet[-1] * 1000,
                "acknowledged": tasks + singly + len(quiet),
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        ),
        flush=True,
    )
    os.kill(os.getpid(), signal.SIGKILL)


def recount(folder: Path) -> tuple[int, int, float]:
    """Reopen after the kill: tasks submitted, of these finished, seconds until it was open."""
    start = time.perf_counter()
    with Store.open(folder) as store:
        store.recover()
        opened = time.perf_counter() - start
        rollups.advance(store)
        submitted = store.read("select count(*) from task_event where event = 'submit'").item()
        finished = store.read("select count(*) from task_event where event = 'finish'").item()
    return submitted, finished, opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--singly", type=int, default=10_000)
    parser.add_argument("--peer", action="store_true", help="race pgqueuer on PostgreSQL, else Dramatiq on Redis, too")
    parser.add_argument(
        "--peer-python", default=os.environ.get("DRAINBOARD_PEER_PYTHON", sys.executable), metavar="PATH",
        help="the interpreter that has the peer (DRAINBOARD_PEER_PYTHON)",
    )  # fmt: skip
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.tasks, options.singly)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "store"
        child = subprocess.run(
            [sys.executable, "-m", "tests.bench.lifecycle", "--run", str(folder), "--tasks", str(options.tasks),
             "--singly", str(options.singly)],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        measured = json.loads(child.stdout)
        submitted, finished, opened = recount(folder)
    rate, cpu = measured["hundreds"]["tasks_per_s"], measured["hundreds"]["cpu_ms_per_task"]
    whole = submitted == measured["acknowledged"]
    if options.peer:
        measured["peer"] = peers.beside(options.peer_python, rate, cpu)
    prompt = measured["hundreds"]["ack_p99_ms"] <= 500 and measured["quiet_ack_p99_ms"] <= 60
    report(
        "lifecycle", rate, "tasks/s", 10_000, rate >= 10_000 and cpu <= 0.1 and prompt and whole, **measured,
        submitted=submitted, finished=finished, nothing_lost=whole, reopened_s=round(opened, 3),
    )  # fmt: skip


if __name__ == "__main__":
    main()
