"""Counts that are moved on: each is as of a batch, and from then on only what later batches brought is counted.

So a refresh counts nothing anew, however long the history is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Group = TypeVar("Group", bound=Hashable | None)


class Counted(Generic[Group]):
    """Counts by group, each as of a batch; moved on by one who asks, while nobody else moves the same."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Tally[Group]] = OrderedDict()

    def _tally(self, key: object) -> _Tally[Group]:
        with self._lock:
            tally = self._kept.setdefault(key, _Tally())
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return tally

    def up_to(
        self, key: object, batch: int, count: Callable[[int | None, int], Mapping[Group, int]]
    ) -> Mapping[Group, int]:
        """Return a count as of a batch; `count` counts from one batch to another, or everything from None on."""
        tally = self._tally(key)
        with tally.lock:
            if tally.batch is None:
                tally.n, tally.batch = count(None, batch), batch
            elif batch > tally.batch:
                tally.n, tally.batch = added(tally.n, count(tally.batch, batch)), batch
            elif batch < tally.batch:  # of an older snapshot: it is told, and not kept
                return added(tally.n, negated(count(batch, tally.batch)))
            return tally.n

    def has(self, key: object) -> bool:
        """Tell whether there is a count already."""
        with self._lock:
            tally = self._kept.get(key)
        return tally is not None and tally.batch is not None

    def known(self, key: object, batch: int, n: Mapping[Group, int]) -> None:
        """Keep a count that follows from another, if there is none."""
        tally = self._tally(key)
        with tally.lock:
            if tally.batch is None:
                tally.n, tally.batch = n, batch


@dataclass(slots=True)
class _Tally(Generic[Group]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    batch: int | None = None
    n: Mapping[Group, int] = field(default_factory=dict)


def added(one: Mapping[Group, int], other: Mapping[Group, int]) -> Mapping[Group, int]:
    """Add two counts up, group by group."""
    return {group: one.get(group, 0) + other.get(group, 0) for group in one.keys() | other.keys()}


def negated(n: Mapping[Group, int]) -> Mapping[Group, int]:
    """Turn a count round, to take it away."""
    return {group: -each for group, each in n.items()}
