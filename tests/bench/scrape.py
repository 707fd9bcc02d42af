"""A scrape of /metrics with 100,000 live tasks of 5,000 owners: CPU milliseconds of the thread that answers it.

Also what the engine pays for it at each snapshot: taking down who waits for what, and since when.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine import messages as m
from engine.console import Console
from engine.lifecycle import Kind
from engine.metrics import tell
from tests.bench.common import report

TARGET_MS = 20
KINDS = (Kind.AUDIT, Kind.AUDIT, Kind.AUDIT, Kind.SCAN, Kind.QUERY)
SLOWLY = "seed_days = 0\nfleet_speed = 0.01\n"


def spent(times: int, do: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(times):
        start = time.thread_time()
        do()
        took.append((time.thread_time() - start) * 1000)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=5_000)
    parser.add_argument("--scrapes", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.toml").write_text(SLOWLY)
        console = Console(Path(folder)).start(wait=True)
        engine = console.engine
        assert engine is not None
        while engine.snapshot.batch < engine.store.batch:
            time.sleep(0.1)
        places = sorted(engine.snapshot.zones)
        answers = []
        for first in range(0, options.tasks, 100):
            tasks = [
                m.NewTask(*places[n % len(places)], KINDS[n % len(KINDS)], "Bench", f"user-{n % options.owners}", "ann")
                for n in range(first, first + 100)
            ]
            answers.append(engine.do(m.Command(f"bench-{first}", "ann", m.Submit(tasks))))
        refused = [answer.result(60).refused for answer in answers]
        assert not any(refused), refused
        while engine.snapshot.batch < engine.store.batch:
            time.sleep(0.1)
        shown = engine.snapshot
        took = spent(options.scrapes, lambda: tell(console, ""))
        looks = spent(options.scrapes, engine._publisher._waiting)
        lines = tell(console, "")[0].count(b"\n")
        console.close()
    value = statistics.median(took)
    report(
        "scrape", value, "CPU ms a scrape", TARGET_MS, value <= TARGET_MS, slowest_ms=round(max(took), 2),
        live=sum(look.n for look in shown.waiting) + sum(n.running for (_, site), n in shown.numbers.items() if site),
        sub_queues=len(shown.queues), sites=len(places), lines=lines, taking_down_ms=round(statistics.median(looks), 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
