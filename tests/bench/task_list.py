"""The list of all tasks on a long history: server milliseconds of pages, exact counts and text search, median of some.

Pages are cut behind the first row, deep within and at the end, by every sort that a tab lists; counts are made anew,
and moved on by a batch as a refresh does. Times are wall-clock; the tasks are those of the busiest business.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.catalogue import ENDED_TABS, SORTS, Asked, Catalogue, Key
from engine.core import Core
from engine.filters import Filter, parse
from engine.lifecycle import Tab
from engine.living import Place
from engine.machine import Policy
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


def milliseconds(times: int, ask: Callable[[], object]) -> float:
    spent = []
    for _ in range(times + 1):
        start = time.perf_counter()
        ask()
        spent.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(spent[1:]), 1)


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

        pages: dict[str, float] = {}
        counts: dict[str, float] = {}
        moved: dict[str, float] = {}
        searches: dict[str, float] = {}
        places = {"site": Place(business, (site,)), "business": Place(business)}
        for where, place in places.items():
            catalogue = Catalogue(store)
            for at in ENDED_TABS:
                for column in SORTS[at]:
                    for down in (True, False):
                        deep = middle(store, column)
                        for name, cut in (("first", {}), ("deep", {"after": deep}), ("last", {"before": Key(None, 0)})):
                            ask = partial(catalogue.page, snapshot, place, Asked(Filter()), now, at, sort=column)
                            ms = milliseconds(options.times, partial(ask, descending=down, **cut))
                            pages[f"{where}, {at}, {'-' * down}{column}, {name}"] = ms
            for text in STRUCTURED:
                asked = Asked(filter_of(text))
                counts[f"{where}, {text or 'everything'}"] = milliseconds(
                    options.times, partial(count_anew, store, snapshot, place, asked, now)
                )
                moved[f"{where}, {text or 'everything'}"] = refreshed(store, snapshot, place, asked, now, options.times)
                pages[f"{where}, {text or 'everything'}"] = milliseconds(
                    options.times, partial(catalogue.page, snapshot, place, asked, now, Tab.COMPLETED)
                )
            for text in TEXTS:
                asked = Asked(filter_of(text))
                searches[f"{where}, count, {text}"] = milliseconds(
                    options.times, partial(count_anew, store, snapshot, place, asked, now)
                )
                searches[f"{where}, page, {text}"] = milliseconds(
                    options.times, partial(catalogue.page, snapshot, place, asked, now, Tab.COMPLETED)
                )
        rss = memory("VmHWM")
    missed = {
        name: ms
        for found, most in ((pages, PAGE_MS), (counts, COUNT_MS), (moved, COUNT_MS), (searches, TEXT_MS))
        for name, ms in found.items()
        if ms > most
    }
    worst = {"page": max(pages.values()), "count": max(counts.values()), "count of a refresh": max(moved.values()),
             "text": max(searches.values())}  # fmt: skip
    report(
        "task_list", worst["page"], "ms, the slowest page", PAGE_MS, not missed, tasks=tasks, worst=worst,
        missed=missed, counts=counts, moved=moved, searches=searches, rss_mb=round(rss),
    )  # fmt: skip


def count_anew(store: Store, snapshot: Snapshot, place: Place, asked: Asked, now: int) -> object:
    return Catalogue(store).counts(snapshot, place, asked, now)


def middle(store: Store, column: str) -> Key:
    """Name a key half-way down a column."""
    instant = column.endswith("_at")
    value = f"epoch_us({column})" if instant else column
    row = store.read(
        f"select {value}::bigint as value, task_id from task_done where {column} is not null "
        f"and task_id % 1000 = 0 order by {column}"
    )
    return Key(*row.row(row.height // 2))


def refreshed(store: Store, snapshot: Snapshot, place: Place, asked: Asked, now: int, times: int) -> float:
    """Count as of a batch before, then as of the last one, and tell how long the second takes."""
    spent = []
    for _ in range(times):
        catalogue = Catalogue(store)
        earlier = replace(snapshot, batch=snapshot.batch - 1)
        catalogue.counts(earlier, place, asked, now)
        start = time.perf_counter()
        catalogue.counts(snapshot, place, asked, now)
        spent.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(spent), 1)


if __name__ == "__main__":
    main()
