"""Seconds until the engine is ready on a long history: after an orderly stop, and after kill -9 under load.

Ready means: opened, recovered, the core rebuilt, a first tick done, a snapshot there.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from engine import messages as m
from engine.fleet import load_file
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.settings import Settings
from engine.simulated import Simulated
from tests.bench.common import report
from tests.bench.multiply import FLEET, long_history


def run(folder: Path, load: int) -> None:
    """Start, say how long it took, put some load on, and die; with no load, stop in order."""
    fleet = load_file(FLEET)
    start = time.perf_counter()
    engine = Engine(folder, Settings({"publish_s": 3600}), lambda _: [Simulated(fleet, 1)]).start()
    batch = engine.store.batch
    (business, site), *_ = sorted(engine.snapshot.zones)
    engine.do(m.Command(f"ready-{time.time_ns()}", "bench", m.LiftHolds([]))).result(30)
    ready = time.perf_counter() - start
    for n in range(load // 100):
        new = m.NewTask(business, site, Kind.AUDIT, "Load", "load", "load")
        engine.do(m.Command(f"load-{batch}-{n}", "bench", m.Submit([new] * 100))).result(30)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ready_s": ready, "rss_mb": rss, "batch": engine.store.batch}), flush=True)
    if load:
        os.kill(os.getpid(), signal.SIGKILL)
    engine.close()


def child(folder: Path, load: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.start", "--run", str(folder), "--load", str(load)],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="10 million is what the target speaks of")
    parser.add_argument("--load", type=int, default=20_000, help="tasks submitted before the kill")
    parser.add_argument("--store", type=Path, help="a folder in which the long history is kept for the next bench")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.load)
        return
    with long_history(options.tasks, options.store) as (folder, tasks):
        child(folder, 0)
        orderly = child(folder, options.load)
        killed = child(folder, 0)
    met = orderly["ready_s"] <= 5 and killed["ready_s"] <= 10
    report(
        "start", orderly["ready_s"], "s", 5, met, tasks=tasks, after_kill_s=round(killed["ready_s"], 3),
        after_kill_target=10, rss_mb=round(orderly["rss_mb"]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
