"""Counts that are moved on: each is as of a batch, and from then on only what later batches brought is counted.

So a refresh counts nothing anew, however long the history is. Whoever asks for an older batch than is known has it
counted for himself: what is kept never goes back.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

KEPT = 256  #: counts that are kept, those asked for last

Group = TypeVar("Group", bound=Hashable)


class Counted(Generic[Group]):
    """Counts by group, each as of a batch; moved on by one who asks, while nobody else moves the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Tally[Group]] = OrderedDict()

    def up_to(
        self, key: object, batch: int, count: Callable[[int | None], Mapping[Group, int]]
    ) -> Mapping[Group, int]:
        """Return a count as of a batch; `count` counts from a batch on, or everything where it gets None."""
        with self._lock:
            tally = self._kept.setdefault(key, _Tally())
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        with tally.lock:
            if tally.batch is not None and batch < tally.batch:
                return count(None)  # of an older snapshot: it is asked for once, and not kept
            if tally.batch is None or batch > tally.batch:
                more = count(tally.batch)
                groups = tally.n.keys() | more.keys()
                tally.n = {group: tally.n.get(group, 0) + more.get(group, 0) for group in groups}
                tally.batch = batch
            return tally.n


@dataclass(slots=True)
class _Tally(Generic[Group]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    batch: int | None = None
    n: Mapping[Group, int] = field(default_factory=dict)
