"""For what somebody has waited: clocks that run over causes, and the difference of two readings. Pure.

How long a task waited for what is what its clocks read now, less what they read when it joined: nothing is counted
while nothing changes, and the parts always add up. A line's clock (see `subqueues`) runs over what keeps the line as a
whole; a sub-queue's runs over hold, and over its line's while it is not held.

A clock is kept as a *mark*: its cause, since when, and what it read then. Marks are immutable, so that a wait can be
told without the queue.
"""

from __future__ import annotations

from .lifecycle import Cause

CAUSES = (Cause.HOLD, Cause.CONSOLE, Cause.THROTTLED, Cause.OFFLINE, Cause.EXCLUSIVE, Cause.CAPACITY)
"""The order of a split: microseconds waited for each of these."""

HOLD, CONSOLE, THROTTLED, OFFLINE, EXCLUSIVE, CAPACITY = range(6)
NOTHING = (0, 0, 0, 0, 0, 0)

Split = tuple[int, ...]  #: microseconds waited for each cause, in their order
Mark = tuple[int, int, Split]  #: a line's cause, since when, and its reading then
QueueMark = tuple[bool, int, Split, Split]  #: held?, since when, the sub-queue's reading then, its line's then
Marks = tuple[QueueMark, Mark]  #: of a sub-queue and its line: both clocks, as they stand from now on
Joined = tuple[int, QueueMark, Mark]  #: when somebody joined a sub-queue, and the marks then


def waited(joined: Joined, marks: Marks, at: int) -> dict[str, int]:
    """Tell for what somebody has waited who joined a sub-queue, in microseconds, by the marks that it has now."""
    joined_at, mark, line_mark = joined
    mark_now, line_now = marks
    if mark_now is mark and (line_now is line_mark or mark[0]):
        us = at - joined_at
        return {CAUSES[HOLD if mark[0] else line_mark[0]]: us} if us else {}
    before, now = read_queue(mark, line_mark, joined_at), read_queue(mark_now, line_now, at)
    return {cause: n - b for cause, n, b in zip(CAUSES, now, before, strict=True) if n != b}


def read_line(mark: Mark, at: int) -> Split:
    """Read a line's clock."""
    cause, since, total = mark
    reading = list(total)
    reading[cause] += at - since
    return tuple(reading)


def read_queue(mark: QueueMark, line_mark: Mark, at: int) -> Split:
    """Read a sub-queue's clock, its line's being at `line_mark`."""
    held, since, total, opened_at = mark
    if held:
        return (total[0] + at - since, *total[1:])
    now = read_line(line_mark, at)
    return tuple(t + n - o for t, n, o in zip(total, now, opened_at, strict=True))
