"""A long job log into a running engine: how much memory the server takes for it, and how long others wait meanwhile.

A process runs the engine, submits a task twenty times a second and imports a made-up log; the peak of its memory is
taken from the moment that the import begins. The child that reads the log counts apart.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from engine import messages as m
from engine import verbs
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.settings import Settings
from tests.bench.common import report

EVERY = 0.05  #: seconds between two submits


def write_log(path: Path, jobs: int) -> None:
    """Make up a log in the Standard Workload Format: some hundred users, five queues, a tenth not completed."""
    chance, at = random.Random(1), 0
    with path.open("w") as file:
        file.write("; UnixStartTime: 1600000000\n")
        for number in range(1, jobs + 1):
            at += chance.randrange(20)
            wait, run = int(chance.expovariate(1 / 600)), int(chance.expovariate(1 / 900))
            status, user = chance.choices((1, 0, 5), (90, 4, 6))[0], int(chance.expovariate(1 / 40))
            queue = chance.randrange(5)
            file.write(f"{number} {at} {wait} {run} 4 -1 -1 4 60 -1 {status} {user} 1 -1 {queue} -1 -1 -1\n")


def memory(what: str) -> float:
    """Tell this process's memory in MB: VmRSS now, or VmHWM, its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def run(folder: Path, log: Path) -> None:
    engine = Engine(folder / "store", Settings()).start()
    for n, action in enumerate((m.AddBusiness("bench"), m.AddSite("bench", "site"))):
        engine.do(m.Command(f"founding-{n}", "bench", action)).result(10)
    acks: list[tuple[float, float]] = []
    over = threading.Event()
    ages: list[float] = []

    def submit() -> None:
        n = 0
        while not over.wait(EVERY):
            n += 1
            asked = time.perf_counter()
            new = m.NewTask("bench", "site", Kind.AUDIT, "Audit", "ann", "ann", target="host")
            engine.do(m.Command(f"submit-{n}", "bench", m.Submit([new]))).result(300)
            acks.append((asked, time.perf_counter() - asked))

    def watch() -> None:
        while not over.wait(0.1):
            ages.append(max(engine.pulse.tick_age, engine.pulse.scheduler_age))

    others = [threading.Thread(target=target) for target in (submit, watch)]
    for other in others:
        other.start()
    time.sleep(2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew
    before, start = memory("VmRSS"), time.perf_counter()
    context = verbs.Context(folder / "store", engine.settings, engine.store, "bench", engine)
    reply = verbs.import_log(context, str(log), "swf", "bench", "archive")
    spent = time.perf_counter() - start
    time.sleep(1)
    over.set()
    for other in others:
        other.join()
    waits = sorted(wait for asked, wait in acks if asked > start)
    peak = memory("VmHWM")
    print(
        json.dumps({
            "seconds": spent, "tasks": reply.data["tasks"], "before_mb": before, "peak_mb": peak,
            "additional_mb": peak - before,
            "child_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            "ack_p50_ms": waits[len(waits) // 2] * 1000, "ack_p99_ms": waits[int(len(waits) * 0.99)] * 1000,
            "longest_ack_s": waits[-1], "oldest_pulse_s": max(ages),
        }),
        flush=True,
    )  # fmt: skip
    engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.run / "jobs.swf")
        return
    with tempfile.TemporaryDirectory() as place:
        write_log(Path(place) / "jobs.swf", options.jobs)
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.imports", "--run", place], stdout=subprocess.PIPE, text=True, check=True
        )
    told = {name: round(value, 3) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}
    report("imports", told["additional_mb"], "MB", 500, told["additional_mb"] <= 500, **told)


if __name__ == "__main__":
    main()
