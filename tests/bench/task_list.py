"""The list of all tasks on a long history: server milliseconds of pages, exact counts and text search, median of some.

Pages are cut behind the first row, deep within and at the end, by every sort that a tab lists, as a refresh does and as
somebody who has just opened a link to them (cold). Counts are made anew, by whoever asks a filter first, and moved on
by a batch as a refresh does. The census is taken before, as it is by then on a console. Times are wall-clock, beside
the CPU time of all threads; the tasks are those of the busiest business.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.catalogue import ENDED_TABS, SORTS, Asked, Catalogue, Key
from engine.census import AT_ONCE
from engine.core import Core
from engine.deciding import Policy
from engine.filters import Filter, parse
from engine.lifecycle import Tab
from engine.living import Place
from engine.runtime import rebuild
from engine.snapshot import Publisher, Snapshot
from engine.standing import last_instant
from engine.store import Store
from tests.bench.common import report
from tests.bench.imports import memory
from tests.bench.multiply import long_history

PAGE_MS, COUNT_MS, TEXT_MS = 50, 50, 600
STRUCTURED = ("", "user:{owner}", "type:scan outcome:finished", "finished:-30d -type:audit",
              "status:canceled wait:>10m", "user:{owner} target:{target} finished:<-7d")  # fmt: skip
TEXTS = ("{target}", "no such thing anywhere", "discovery OR *srv*1", "-scan {owner}")


def snapshot_of(store: Store) -> Snapshot:
    """Make the snapshot of a store as a console does that starts."""
    core: Core = rebuild(store.recover(), Policy())
    current = Publisher(core).current
    return replace(current, batch=store.batch)


class Spent(float):
    """Milliseconds of wall-clock time, and of CPU time."""

    cpu: float


def milliseconds(times: int, ask: Callable[[], object]) -> Spent:
    spent, cpu = [], []
    for _ in range(times + 1):
        start, used = time.perf_counter(), time.process_time()
        ask()
        spent.append((time.perf_counter() - start) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    found = Spent(round(statistics.median(spent[1:]), 1))
    found.cpu = round(statistics.median(cpu[1:]), 1)
    return found


def both(found: dict[str, Spent]) -> dict[str, tuple[float, float]]:
    """Give both times of each."""
    return {name: (float(ms), ms.cpu) for name, ms in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="10 million is what the target speaks of")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--store", type=Path, help="a folder in which the long history is kept for the next bench")
    options = parser.parse_args()
    with long_history(options.tasks, options.store) as (folder, tasks), Store.open(folder) as store:
        snapshot, now = snapshot_of(store), last_instant(store) or 0
        busiest = "select business, site from task_done group by all order by count(*) desc limit 1"
        business, site = store.read(busiest).row(0)
        names = Catalogue(store).names(Place(business, (site,)))
        owner, target = names["user"][0], names["target"][0]

        def filter_of(text: str) -> Filter:
            return parse(text.format(owner=f'"{owner}"', target=f'"{target}"'))

        pages: dict[str, Spent] = {}
        counts: dict[str, Spent] = {}
        moved: dict[str, Spent] = {}
        searches: dict[str, Spent] = {}
        places = {"site": Place(business, (site,)), "business": Place(business)}
        catalogue, cold = Catalogue(store), dict[str, Spent]()
        start, used = time.perf_counter(), time.process_time()
        for _ in range(-(-tasks // AT_ONCE)):
            catalogue.take_census()
        census = {"s": round(time.perf_counter() - start, 2), "cpu_s": round(time.process_time() - used, 2)}
        for where, place in places.items():
            for at in ENDED_TABS:
                for column in SORTS[at]:
                    for down in (True, False):
                        deep = middle(store, column)
                        for name, cut in (("first", {}), ("deep", {"after": deep}), ("last", {"before": Key(None, 0)})):
                            ask = partial(catalogue.page, snapshot, place, Asked(Filter()), now, at, sort=column)
                            ms = milliseconds(options.times, partial(ask, descending=down, **cut))
                            pages[f"{where}, {at}, {'-' * down}{column}, {name}"] = ms
                            ask = partial(page_anew, catalogue, snapshot, place, Asked(Filter()), now, at, sort=column)
                            if cut:
                                opened = milliseconds(options.times // 2, partial(ask, descending=down, **cut))
                                cold[f"{where}, {at}, {'-' * down}{column}, {name}"] = opened
            for text in STRUCTURED:
                asked = Asked(filter_of(text))
                counts[f"{where}, {text or 'everything'}"] = milliseconds(
                    options.times, partial(count_anew, catalogue, snapshot, place, asked, now)
                )
                moved[f"{where}, {text or 'everything'}"] = refreshed(
                    catalogue, snapshot, place, asked, now, options.times
                )
                pages[f"{where}, {text or 'everything'}"] = milliseconds(
                    options.times, partial(catalogue.page, snapshot, place, asked, now, Tab.COMPLETED)
                )
            for text in TEXTS:
                asked = Asked(filter_of(text))
                searches[f"{where}, count, {text}"] = milliseconds(
                    options.times, partial(count_anew, catalogue, snapshot, place, asked, now)
                )
                searches[f"{where}, page, {text}"] = milliseconds(
                    options.times, partial(page_anew, catalogue, snapshot, place, asked, now, Tab.COMPLETED)
                )
        rss = memory("VmHWM")
    missed = {
        name: ms
        for found, most in ((pages, PAGE_MS), (counts, COUNT_MS), (moved, COUNT_MS), (searches, TEXT_MS))
        for name, ms in found.items()
        if ms > most
    }
    worst = {"page": max(pages.values()), "count": max(counts.values()), "count of a refresh": max(moved.values()),
             "text": max(searches.values()), "page, cold": max(cold.values())}  # fmt: skip
    cpu = {name: round(max(ms.cpu for ms in found.values()), 1) for name, found in (
        ("page", pages), ("count", counts), ("count of a refresh", moved), ("text", searches), ("page, cold", cold))}
    report(
        "task_list", worst["page"], "ms, the slowest page", PAGE_MS, not missed, tasks=tasks, worst=worst,
        worst_cpu=cpu, missed=missed, counts=both(counts), moved=both(moved), searches=both(searches), census=census,
        slowest_cold=dict(sorted(both(cold).items(), key=lambda item: -item[1][1])[:8]), rss_mb=round(rss),
    )  # fmt: skip


def forget(catalogue: Catalogue) -> None:
    """Have a catalogue count anew whatever it is asked; its census stays."""
    fresh = Catalogue(catalogue._store)
    catalogue._counted, catalogue._cuts = fresh._counted, fresh._cuts


def count_anew(catalogue: Catalogue, snapshot: Snapshot, place: Place, asked: Asked, now: int) -> object:
    forget(catalogue)
    return catalogue.counts(snapshot, place, asked, now)


def page_anew(catalogue: Catalogue, *asked: object, **cut: object) -> object:
    forget(catalogue)
    return catalogue.page(*asked, **cut)


def middle(store: Store, column: str) -> Key:
    """Name a key half-way down a column."""
    instant = column.endswith("_at")
    value = f"epoch_us({column})" if instant else column
    row = store.read(
        f"select {value}::bigint as value, task_id from task_done where {column} is not null "
        f"and task_id % 1000 = 0 order by {column}"
    )
    return Key(*row.row(row.height // 2))


def refreshed(catalogue: Catalogue, snapshot: Snapshot, place: Place, asked: Asked, now: int, times: int) -> Spent:
    """Count as of a batch before, then as of the last one, and tell how long the second takes."""
    spent, cpu = [], []
    for _ in range(times):
        forget(catalogue)
        earlier = replace(snapshot, batch=snapshot.batch - 1)
        catalogue.counts(earlier, place, asked, now)
        start, used = time.perf_counter(), time.process_time()
        catalogue.counts(snapshot, place, asked, now)
        spent.append((time.perf_counter() - start) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    found = Spent(round(statistics.median(spent), 1))
    found.cpu = round(statistics.median(cpu), 1)
    return found


if __name__ == "__main__":
    main()
