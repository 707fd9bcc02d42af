"""Time, as the engine knows it: wall instants that never go back, and the time that really ticked.

All instants are integer microseconds since 1970 in UTC; all durations here are integer microseconds too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR

LONGEST_TICK = SECOND  #: a longer gap between two readings did not tick: the process slept
JUMP = SECOND  #: the wall clock may run ahead of the monotonic one by this much before we follow it


class Reading(NamedTuple):
    """One look at the clock: `now` on the wall, `ticked` so far, and since when the engine was down, if it was."""

    now: int
    ticked: int
    down_from: int | None = None


class EngineClock:
    """Wall time anchored to the monotonic clock.

    Never goes back and never stands below `floor`. When the wall has run ahead by more than a second (a suspended
    machine, a corrected clock), it is followed forward and the gap is reported as down time. A wall set back is
    ignored: the monotonic clock carries on.
    """

    def __init__(
        self,
        floor: int = 0,
        wall: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._mono = monotonic()
        self._offset = max(wall(), floor + 1) - self._mono
        self._last = self._mono + self._offset
        self._ticked = 0

    def read(self) -> Reading:
        """Return a reading later than every one before it."""
        mono = self._monotonic()
        self._ticked += min(mono - self._mono, LONGEST_TICK)
        self._mono = mono
        now = max(mono + self._offset, self._last + 1)
        wall, down_from = self._wall(), None
        if wall - now > JUMP:
            down_from, now = now, wall
            self._offset = wall - mono
        self._last = now
        return Reading(now, self._ticked, down_from)


class VirtualClock:
    """Time that a test or a generator moves by hand. Everything that passes has ticked."""

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self._start = now

    def read(self) -> Reading:
        return Reading(self.now, self.now - self._start)


def stopwatch() -> Callable[[], float]:
    """Begin to measure what something costs; call what is returned for the seconds since."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began
