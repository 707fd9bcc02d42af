"""Commit, then act: what a batch decided leaves only when the batch is durable. Pure.

Steps collect in the open batch. At most one batch is in flight; the writer commits it, under the same number however
often that takes, and only `settle` hands out its outcomes, orders and touched tasks. A crash loses unsettled batches
whole, and with them everything that would have followed from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .ledger import Rows
from .machine import Step
from .messages import Order, Outcome


@dataclass(slots=True)
class Batch:
    """Steps that become one commit, and what leaves after it."""

    number: int
    now: int = 0
    rows: Rows = field(default_factory=Rows)
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)

    @property
    def events(self) -> int:
        return len(self.rows.task_event)


class Outbox:
    """Holds back what must not leave yet."""

    def __init__(self, last_batch: int) -> None:
        self.open = Batch(last_batch + 1)
        self.in_flight: Batch | None = None

    def add(self, step: Step) -> None:
        """Take in what a step decided."""
        batch = self.open
        batch.now = step.now
        batch.rows.extend(step.rows)
        batch.outcomes += step.outcomes
        batch.orders += step.orders
        batch.touched |= step.touched

    def seal(self) -> Batch | None:
        """Close the open batch and return it for the commit; None while one is in flight or nothing is open.

        A batch without rows keeps its number for the next one: there is nothing to make durable.
        """
        batch = self.open
        if self.in_flight is not None or not (batch.rows or batch.outcomes or batch.orders or batch.touched):
            return None
        self.in_flight = batch
        self.open = Batch(batch.number + 1 if batch.rows else batch.number)
        return batch

    def settle(self, batch: Batch) -> Batch:
        """Let a durable batch's outcomes and orders leave."""
        assert batch is self.in_flight
        self.in_flight = None
        return batch
