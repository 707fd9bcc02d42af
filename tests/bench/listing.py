"""Active tasks with 100,000 of them live: CPU milliseconds that a refresh costs, one browser session after another.

Between two refreshes some tasks start, end and come, so that each refresh sees a snapshot of its own, and now and then
one with a new base. The first session's refresh makes the view; the others, who ask alike, share it. What is counted is
the process's CPU time in the listing alone, all its threads; making snapshots is the engine's.
"""

import argparse
import random
import statistics
import time

from engine import messages as m
from engine.clock import SECOND, Reading
from engine.core import Core
from engine.filters import parse
from engine.lifecycle import Kind
from engine.live import SORTS, listing
from engine.snapshot import Publisher, Snapshot
from tests.bench.common import report

TARGET_MS = 20
KINDS = (Kind.AUDIT,) * 7 + (Kind.SCAN, Kind.CONNECTOR, Kind.QUERY)


FILTERS = ("host-12", "type:audit age:<1h", "status:Paused")  #: asked for the first time, and at a refresh


class Fleet:
    """A site with many tasks waiting, of many owners, some of them held."""

    def __init__(self, tasks: int, owners: int, holds: int) -> None:
        self.core, self.now, self._born, self._requests = Core(), 1_780_000_000 * SECOND, 1_780_000_000 * SECOND, 0
        self.chance, self.owners = random.Random(1), owners
        self._running: list[m.StartOrder] = []
        self.touched: set[int] = set()
        self.do(
            m.AddBusiness("acme"), m.AddSite("acme", "berlin", "Europe/Berlin"),
            m.AddService("acme", "berlin", "audit-1", "audit_service", 500),
            m.AddService("acme", "berlin", "explorer-1", "explorer", 50),
            m.AddService("acme", None, "processor-1", "processor", 100),
        )  # fmt: skip
        self.do(*(m.PlaceHolds("acme", [m.HoldTarget("user", f"user-{n}")], "Later") for n in range(holds)))
        for _ in range(tasks // 100):
            self.submit(100)

    def do(self, *actions: m.Action | m.Report) -> None:
        inputs: list[m.Command | m.Report] = []
        for action in actions:
            self._requests += 1
            is_report = isinstance(action, m.Report)
            inputs.append(action if is_report else m.Command(f"r{self._requests}", "ann", action))
        self.now += SECOND // 100
        step = self.core.step(Reading(self.now, self.now - self._born), inputs)
        self._running += [order for order in step.orders if isinstance(order, m.StartOrder)]
        self.touched |= {event.task_id for event in step.rows.task_event}

    def submit(self, n: int) -> None:
        self.do(m.Submit([self._task() for _ in range(n)]))

    def _task(self) -> m.NewTask:
        kind, owner = self.chance.choice(KINDS), f"user-{self.chance.randrange(self.owners)}"
        target = f"host-{self.chance.randrange(20_000)}"
        return m.NewTask("acme", "berlin", kind, f"{kind} of {target}", owner, owner, target, "device", "servers")

    def second(self, n: int) -> None:
        """Let so many stages end, and half as many tasks come: each has two."""
        ended, self._running = self._running[:n], self._running[n:]
        done = [(m.Collected if o.stage == "collect" else m.Finished)(o.task_id, o.lease) for o in ended]
        self.do(*done)
        self.submit(n // 2)


def spent(shown: Snapshot, **asked: object) -> float:
    start = time.process_time()
    listing(shown, "acme", "berlin", **asked)
    return (time.process_time() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--refreshes", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--changes", type=int, default=100, help="stages that end between two refreshes")
    options = parser.parse_args()
    fleet = Fleet(options.tasks, 5_000, 50)
    publisher = Publisher(fleet.core)
    start = time.process_time()
    publisher.current.base.frame()
    frame_ms = (time.process_time() - start) * 1000
    first_ms = spent(publisher.current)
    alone, shared, pages, rebased = [], [], [], []
    for batch in range(1, options.refreshes + 1):
        fleet.touched.clear()
        fleet.second(options.changes)
        before = publisher.current.base
        shown = publisher.publish(batch, fleet.now, publisher.capture(fleet.touched))
        makes = spent(shown)
        alone.append(makes)
        if shown.base is not before:
            rebased.append(makes)
        others = [spent(shown) for _ in range(options.sessions - 1)]
        shared.append((makes + sum(others)) / options.sessions)
        pages += others
    views = {sort: spent(shown, sort=sort, descending=False) for sort in SORTS}
    views["page 1,000"] = spent(shown, page=1_000)
    first = {wanted: spent(shown, wanted=parse(wanted)) for wanted in FILTERS}
    fleet.touched.clear()
    fleet.second(options.changes)
    shown = publisher.publish(options.refreshes + 1, fleet.now, publisher.capture(fleet.touched))
    spent(shown)  # what everybody shares
    filtered = {wanted: (first[wanted], spent(shown, wanted=parse(wanted))) for wanted in FILTERS}
    value = statistics.mean(alone)
    report(
        "listing", value, "CPU ms a refresh, one session", TARGET_MS, value <= TARGET_MS,
        tasks=len(fleet.core.state.tasks),
        changed_rows=len(fleet.touched), median_ms=round(statistics.median(alone), 2),
        with_a_new_base_ms=round(statistics.mean(rebased), 1) if rebased else None, rebased=len(rebased),
        sessions=options.sessions, shared_ms=round(statistics.mean(shared), 2),
        page_ms=round(statistics.median(pages), 2), first_frame_ms=round(frame_ms), first_view_ms=round(first_ms),
        filters_ms={wanted: [round(ms, 1) for ms in told] for wanted, told in filtered.items()},
        new_views_ms={name: round(ms, 1) for name, ms in views.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
