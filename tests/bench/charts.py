"""What charts and health read, on a long history: server milliseconds of each read, at the median of some.

The first of each, which finds nothing in memory yet, is told apart. Times are wall-clock: they hold what a page waits.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from engine import history, looks, rollups, standing
from engine.clock import DAY, HOUR, MINUTE
from engine.store import Store
from tests.bench.common import report
from tests.bench.imports import memory
from tests.bench.multiply import long_history

TARGET_MS = 100
RANGES = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY, "half a year": 180 * DAY, "all": 3000 * DAY}


def reads(store: Store) -> dict[str, Callable[[], object]]:
    """Name every read, with what it asks for the busiest site, its business, and everything."""
    now = standing.last_instant(store) or 0
    busiest = "select business, site from task_done group by all order by count(*) desc limit 1"
    business, site = store.read(busiest).row(0)
    first = store.read("select epoch_us(min(occurred_at)) from task_event").item()
    kind = store.read(f"select kind from task_done where site = '{site}' group by 1 order by count(*) desc").row(0)[0]
    tasks = standing.live_tasks(store)
    running = standing.running_tasks(store, tasks)
    minutes = list(range(now - DAY - now % MINUTE, now, MINUTE))
    found: dict[str, Callable[[], object]] = {}
    for name, span in RANGES.items():
        start = max(now - span, first)
        for level, keys in (
            ("all", {}),
            ("business", {"business": business}),
            ("site", {"business": business, "site": site}),
            ("kind", {"business": business, "site": site, "kind": kind}),
        ):
            found[f"depth of {level}, {name}"] = lambda start=start, keys=keys: history.depth(store, start, now, **keys)
    here = {"business": business, "site": site}
    return found | {
        "flow, everything": lambda: history.flow(store, now - 15 * MINUTE, now),
        "flow, site": lambda: history.flow(store, now - 15 * MINUTE, now, **here),
        "oldest wait, site": lambda: history.oldest_wait(store, minutes, **here, tasks=tasks),
        "oldest wait, processing": lambda: history.oldest_wait(
            store, minutes, business=business, stage="process", tasks=tasks
        ),
        "usual durations": lambda: looks.usual_durations(store, now, running),
        "widget latencies": lambda: looks.widget_latencies(store, now),
        "latest refreshes": lambda: looks.latest_refreshes(store, now),
        "paces of processors": lambda: looks.paces(store, now, running),
        "live tasks": lambda: standing.live_tasks(store),
        "running tasks": lambda: standing.running_tasks(store, tasks),
        "sites": lambda: standing.sites(store),
        "services": lambda: standing.services(store, tasks=tasks),
        "holds": lambda: standing.holds(store),
        "status counts, everything": lambda: standing.status_counts(store),
        "status counts, site": lambda: standing.status_counts(store, **here),
        "trace facts, site": lambda: history.trace_facts(store, business, site),
        "look, everything": lambda: looks.look(store, now=now),
        "look, site": lambda: looks.look(store, now=now, **here),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="10 million is what the target speaks of")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--store", type=Path, help="a folder in which the long history is kept for the next bench")
    options = parser.parse_args()
    with long_history(options.tasks, options.store) as (folder, tasks), Store.open(folder) as store:
        rollups.prepare(store)
        first, usual = {}, {}
        for name, read in reads(store).items():
            spent = []
            for _ in range(1 + options.times):
                start = time.perf_counter()
                read()
                spent.append((time.perf_counter() - start) * 1000)
            first[name], usual[name] = round(spent[0], 1), round(statistics.median(spent[1:]), 1)
        rss = memory("VmHWM")
    missed = {name: ms for name, ms in usual.items() if ms > TARGET_MS}
    worst = max(usual.values())
    report(
        "charts", worst, "ms, the slowest read", TARGET_MS, not missed, tasks=tasks, missed=missed, ms=usual,
        first_ms=first, rss_mb=round(rss),
    )  # fmt: skip


if __name__ == "__main__":
    main()
