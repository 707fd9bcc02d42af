"""Commit, then act: what a batch decided leaves only when the batch is durable. Pure.

Steps collect in the open batch. At most one batch is in flight; the writer commits it, under the same number however
often that takes, and only `settle` hands out its outcomes, orders and touched tasks. A crash loses unsettled batches
whole, and with them everything that would have followed from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .deciding import Step


@dataclass(slots=True)
class Batch(Step):
    """Steps that become one commit, and what leaves after it."""

    number: int = 0

    @property
    def events(self) -> int:
        return len(self.rows.task_event)


class Outbox:
    """Holds back what must not leave yet."""

    def __init__(self, last_batch: int) -> None:
        self.open = Batch(0, number=last_batch + 1)
        self.in_flight: Batch | None = None

    def add(self, step: Step) -> None:
        """Take in what a step decided. (A step may as well be decided right into the open batch.)"""
        batch = self.open
        batch.now = step.now
        batch.rows.extend(step.rows)
        batch.outcomes += step.outcomes
        batch.orders += step.orders
        batch.touched |= step.touched

    def seal(self) -> Batch | None:
        """Close the open batch and return it for the commit; None while one is in flight or nothing is open.

        A batch without rows needs no commit: it bears the number of the last one that does, and leaves in its turn.
        """
        batch = self.open
        if self.in_flight is not None or not (batch.rows or batch.outcomes or batch.orders or batch.touched):
            return None
        self.in_flight = batch
        if batch.rows:
            self.open = Batch(0, number=batch.number + 1)
        else:
            self.open = Batch(0, number=batch.number)
            batch.number -= 1
        return batch

    def reserve(self, now: int) -> Batch:
        """Put an empty batch in flight ahead of the open one, for rows that somebody else makes."""
        assert self.in_flight is None
        assert not self.open.rows
        self.in_flight = Batch(now, number=self.open.number)
        self.open.number += 1
        return self.in_flight

    def settle(self, batch: Batch) -> Batch:
        """Let a durable batch's outcomes and orders leave."""
        assert batch is self.in_flight
        self.in_flight = None
        return batch
