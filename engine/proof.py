"""The chain checked on demand: one check at a time for all who ask, in a thread of its own that leaves others room.

A check reads every row of the ledger, up to the batch that was the last one when it began; commits and pages go on. It
takes at most half of a core, in small pieces. What it found stays until the next one is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from .chain import Broken
from .clock import stopwatch
from .errors import DrainboardError
from .store import Store

SHARE = 0.5  #: of a core that a check takes
ROWS_AT_ONCE = 10_000  #: so that no piece keeps others from their turn for long


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the chain: up to which batch of which last one it has come, and what it found once it has ended."""

    by: str
    began_at: int
    done: int = 0
    upto: int = 0
    ended_at: int | None = None
    broken: Broken | None = None
    failed: str | None = None  #: why it came to no end

    @property
    def whole(self) -> bool:
        """Tell whether it has ended and found every batch as it was committed."""
        return self.ended_at is not None and self.broken is None and self.failed is None


class _Stopped(Exception):
    """The console closes."""


class Proof:
    """The checks of one store's chain; any thread may ask."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store, self._now = store, now
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._last: Check | None = None
        self._thread: threading.Thread | None = None

    @property
    def last(self) -> Check | None:
        """The check that goes on, or else the last one."""
        return self._last

    def begin(self, by: str) -> Check:
        """Begin a check, unless one goes on; return the one that does."""
        with self._lock:
            if self._last is None or self._last.ended_at is not None:
                self._last = Check(by, self._now())
                self._thread = threading.Thread(target=self._run, name="drainboard-proof", daemon=True)
                self._thread.start()
            return self._last

    def close(self) -> None:
        """End a check that goes on; there will be no other."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        assert self._last is not None
        spent = stopwatch()
        rested = 0.0

        def told(done: int, upto: int) -> None:
            nonlocal rested
            assert self._last is not None
            self._last = replace(self._last, done=done, upto=upto)
            rest = (spent() - rested) / SHARE - spent()
            before = spent()
            if self._stop.wait(max(rest, 0.0)):
                raise _Stopped
            rested += spent() - before

        broken, failed = None, None
        try:
            broken = self._store.broken_link(rows_at_once=ROWS_AT_ONCE, told=told)
        except _Stopped:
            failed = "The console was stopped meanwhile"
        except DrainboardError as error:
            failed = str(error)
        except Exception as error:  # whatever the store says of rows that were tampered with, it is told
            failed = f"The ledger could not be read: {error}"
        self._last = replace(self._last, ended_at=self._now(), broken=broken, failed=failed)
