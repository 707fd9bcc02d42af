"""What a running engine counts since it started, so that others may graph it: sums that only grow. Pure.

The engine thread counts its ticks, the writer what it has made durable; anybody may read, without a lock: what is read
was true a moment ago. Only this fleet's own work counts, no imported log, and nothing from before the start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial

from .clock import SECOND
from .ledger import Rows
from .lifecycle import TERMINAL, TRANSITIONS
from .task import COLLECT, PROCESS

ARRIVES = frozenset({"submit", "due", "restore"})  #: who is put back by a rescue or suspension does not arrive anew
ENDS = frozenset(edge.event for edge in TRANSITIONS if edge.target in TERMINAL)

COMMIT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0)


class Spread:
    """How many lengths fell up to each of some bounds (the last count: beyond them all), and their sum, in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Tally:
    """The sums. Keys begin with business and site."""

    def __init__(self) -> None:
        self.ticks, self.ticking_s = 0, 0.0
        self.commits = Spread(COMMIT_BOUNDS)
        self.failed_commits = 0
        self.committed_at: float | None = None  #: by the monotonic clock
        self.arrived: Counter[tuple[str, str, str]] = Counter()  #: … and kind
        self.finished: Counter[tuple[str, str, str, str]] = Counter()  #: … kind and outcome
        self.waits: defaultdict[tuple[str, str, str], Spread]  #: … and stage: of tasks that ended
        self.waits = defaultdict(partial(Spread, WAIT_BOUNDS))

    def ticked(self, seconds: float) -> None:
        """Count a tick of the engine, and how long it took."""
        self.ticks += 1
        self.ticking_s += seconds

    def committed(self, rows: Rows, seconds: float, at: float) -> None:
        """Count a durable batch, how long its commit took, and what it says of tasks."""
        self.commits.add(seconds)
        self.committed_at = at
        arrived, ended = [], []
        for event in rows.task_event:
            what = event.event
            if what in ENDS:
                ended.append(event.task_id)
            elif what in ARRIVES and event.dq > 0:
                arrived.append((event.business, event.site or "", event.kind))
        self.arrived.update(arrived)
        ends = Counter(ended)
        finished = []
        for row in rows.task_done:
            if ends[row.task_id] > 0 and row.finished_at is not None:
                ends[row.task_id] -= 1  # its row may have further versions
                business, site = row.business, row.site or ""
                finished.append((business, site, row.kind, row.outcome or ""))
                if row.started_at is not None and row.wait_s is not None:
                    self.waits[business, site, COLLECT].add(row.wait_s / SECOND)
                if row.processing_started_at is not None and row.process_wait_s is not None:
                    self.waits[business, site, PROCESS].add(row.process_wait_s / SECOND)
        self.finished.update(finished)
