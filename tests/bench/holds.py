"""How soon a hold over 100,000 waiting tasks is seen, placed, lifted and lifted gradually: to the snapshot with it.

`python -m tests.bench.holds`: real time of a step of the core, its commit, and the snapshot with what pages ask of it.
Also counted: rows of tasks that these wrote, which must be none; and measured what each token of a ramp costs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from engine import messages as m
from engine.clock import SECOND, Reading
from engine.core import Core
from engine.ledger import Rows
from engine.lifecycle import Kind
from engine.snapshot import Publisher
from engine.store import Store
from tests.bench.common import report

TARGET_S = 1.0


class Console:
    """A core whose steps become durable and are published one by one; no host is there, so that all wait."""

    def __init__(self, store: Store, waiting: int, owners: int) -> None:
        self.store, self.core, self.at, self.requests = store, Core(), 1_780_000_000 * SECOND, 0
        sites = [f"site-{n}" for n in range(6)]
        self.do(m.AddBusiness("b"), *(m.AddSite("b", site) for site in sites))
        for start in range(0, waiting, 1_000):
            self.do(m.Submit([
                m.NewTask("b", sites[i % 6], Kind.AUDIT, "t", f"user-{i % owners}", "bench")
                for i in range(start, min(start + 1_000, waiting))
            ]))  # fmt: skip
        self.publisher = Publisher(self.core)
        self.publisher.current.tasks("status", "cause")  # as pages keep it

    def do(self, *actions: m.Action) -> Rows:
        commands = []
        for action in actions:
            self.requests += 1
            commands.append(m.Command(f"r{self.requests}", "bench", action))
        self.at += SECOND
        self.step = self.core.step(Reading(self.at, self.at), commands)
        assert all(outcome.refused is None for _, outcome in self.step.outcomes)
        self.store.commit(self.store.batch + 1, self.at, self.step.rows)
        return self.step.rows

    def seen_after(self, action: m.Action, cause: str, wanted: int) -> tuple[float, int]:
        """Do it; return after how many seconds a snapshot tells of it, and how many rows of tasks were written."""
        start = time.perf_counter()
        rows = self.do(action)
        snapshot = self.publisher.publish(self.store.batch, self.at, self.publisher.capture(self.step.touched))
        frame = snapshot.tasks("status", "cause")
        took = time.perf_counter() - start
        assert frame.filter(pl.col("cause") == cause).height == wanted
        return took, len(rows.task_event) + len(rows.task_done) + len(self.step.touched)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=5_000)
    options = parser.parse_args()
    hold, n = m.PlaceHolds("b", [m.HoldTarget("kind", "audit")], "bench"), options.waiting
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "data") as store:
        console = Console(store, n, options.owners)
        state, throttles = console.core.state, console.core.queues.throttles
        found = {"placed": console.seen_after(hold, "hold", n)}
        found["lifted"] = console.seen_after(m.LiftHolds(list(state.holds)), "offline", n)
        found["placed again"] = console.seen_after(hold, "hold", n)
        found["lifted gradually"] = console.seen_after(m.LiftHolds(list(state.holds), None, 30), "offline", n)
        assert [throttle.left for throttle in throttles.values()] == [n]
        found["let go"] = console.seen_after(m.EndRamps(list(throttles)), "offline", n)
        written = sum(rows for _, rows in found.values())
        # A host comes and takes the first token, which shuts the ramp over all the others; then the next one.
        console.do(hold)
        console.do(m.LiftHolds(list(state.holds), None, 60))
        host = m.AddService("b", "site-0", "audits", "audit_service", 8)
        found["shut by the first start"] = console.seen_after(host, "throttled", n - 1)
        found["opened and shut by a token"] = console.seen_after(m.AddSite("b", "more"), "throttled", n - 2)
    slowest = max(took for took, _ in found.values())
    told = {f"{what.replace(' ', '_')}_s": round(took, 3) for what, (took, _) in found.items()}
    report("holds", slowest, "s", TARGET_S, slowest <= TARGET_S and not written, waiting=n, owners=options.owners,
           task_rows_written=written, **told)  # fmt: skip


if __name__ == "__main__":
    main()
