"""One tick of the core with 100,000 waiting tasks of 5,000 owners under 50 holds, and placing a hold over all of them.

A tick takes in what a busy tick does: 20 submissions, 20 reports, 20 starts. The value is the median of 200 ticks.
"""

import argparse
import statistics
import time

from engine import messages as m
from engine.clock import Reading
from engine.core import Core
from engine.lifecycle import Kind
from tests.bench.common import report

T0 = 1_750_000_000_000_000


class Driver:
    """The core on a clock of its own, with an executor that finishes a few tasks a tick."""

    def __init__(self, fair_share: bool) -> None:
        self.core, self.now, self.serial = Core(), T0, 0
        self.core.queues.fair_share = fair_share
        self.running: list[m.StartOrder] = []

    def step(self, *actions: m.Action, reports: list[m.Report] | None = None) -> float:
        self.now += 20_000
        commands = []
        for action in actions:
            self.serial += 1
            commands.append(m.Command(f"r{self.serial}", "bench", action))
        start = time.perf_counter()
        step = self.core.step(Reading(self.now, self.now - T0), [*commands, *(reports or [])])
        spent = time.perf_counter() - start
        self.running += [order for order in step.orders if isinstance(order, m.StartOrder)]
        for _, outcome in step.outcomes:
            assert outcome.refused is None, outcome
        return spent

    def finish(self, n: int) -> list[m.Report]:
        some, self.running = self.running[:n], self.running[n:]
        return [
            m.Collected(o.task_id, o.lease) if o.stage == "collect" else m.Finished(o.task_id, o.lease) for o in some
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=5_000)
    parser.add_argument("--holds", type=int, default=50)
    parser.add_argument("--fair-share", action="store_true")
    options = parser.parse_args()
    driver = Driver(options.fair_share)
    driver.step(
        m.AddBusiness("b"),
        *(m.AddSite("b", f"site-{i}") for i in range(6)),
        *(m.AddService("b", f"site-{i}", f"audit-{i}", "audit_service", 8) for i in range(6)),
        *(m.AddService("b", f"site-{i}", f"explorer-{i}", "explorer", 4) for i in range(6)),
        m.AddService("b", None, "processor", "processor", 16),
    )
    kinds = (Kind.AUDIT, Kind.SCAN, Kind.CONNECTOR)

    def some(start: int, n: int) -> m.Submit:
        return m.Submit(
            [
                m.NewTask("b", f"site-{i % 6}", kinds[i % 3], "t", f"user-{i % options.owners}", "bench")
                for i in range(start, start + n)
            ]
        )

    for start in range(0, options.waiting, 1_000):
        driver.step(some(start, 1_000))
    targets = [m.HoldTarget("user", f"user-{i * 7}") for i in range(options.holds - 1)]
    driver.step(m.PlaceHolds("b", targets, "bench"))
    placing = driver.step(m.PlaceHolds("b", [m.HoldTarget("kind", "scan")], "bench"))
    ticks = [driver.step(some(options.waiting + 20 * i, 20), reports=driver.finish(20)) for i in range(200)]
    waiting = len(driver.core.queues.waiting)
    median = statistics.median(ticks) * 1000
    report(
        "dispatch", median, "ms a tick", 10, median <= 10 and waiting >= options.waiting * 0.95, waiting=waiting,
        worst_ms=round(max(ticks) * 1000, 3), placing_a_type_hold_ms=round(placing * 1000, 3),
        fair_share=options.fair_share,
    )  # fmt: skip


if __name__ == "__main__":
    main()
