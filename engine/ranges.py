"""Instants, durations and numbers as somebody writes them in a filter: read, written again, and what they mean. Pure.

Whatever is read is written so that it reads as the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from .clock import SECOND


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as somebody wrote it: some time before now, or a day, minute or second of the reader's zone."""

    ago: int | None = None  #: µs
    days: int | None = None  #: before today
    text: str = ""  #: of a date, with or without a clock time

    def __str__(self) -> str:
        if self.ago is not None:
            return f"-{span_text(self.ago)}"
        if self.days is not None:
            return "yesterday" if self.days else "today"
        return self.text

    def span(self, now: int, zone: str) -> tuple[int, int]:
        """Tell when it begins and ends, in microseconds; a day has the hours that it has there."""
        if self.ago is not None:
            return now - self.ago, now - self.ago
        there = ZoneInfo(zone)
        if self.days is not None:
            day = datetime.fromtimestamp(now / SECOND, there).date() - timedelta(days=self.days)
            return _midnight(day, there), _midnight(day + timedelta(days=1), there)
        if "T" not in self.text:
            day = date.fromisoformat(self.text)
            return _midnight(day, there), _midnight(day + timedelta(days=1), there)
        at = datetime.fromisoformat(self.text).replace(tzinfo=there)
        first = int(at.timestamp()) * SECOND
        return first, first + (SECOND if self.text.count(":") == 2 else 60 * SECOND)

    @property
    def relative(self) -> bool:
        return not self.text


def _midnight(day: date, there: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=there).timestamp()) * SECOND


@dataclass(frozen=True, slots=True)
class Range:
    """From one value to another, either of which may be open; a sign says whether the end itself counts."""

    low: Moment | int | None
    high: Moment | int | None
    low_in: bool = True
    high_in: bool = True
    span: bool = False  #: the values are durations in µs

    @property
    def turned(self) -> bool:
        """Whether it ends before it begins, whatever the time is: then nothing is within it."""
        low, high = self.low, self.high
        if isinstance(low, int) and isinstance(high, int):
            return low > high
        if isinstance(low, Moment) and isinstance(high, Moment):
            if low.text and high.text:
                return low.text > high.text and not low.text.startswith(high.text)
            if low.ago is not None and high.ago is not None:
                return low.ago < high.ago
            return low.days is not None and high.days is not None and low.days < high.days
        return False

    def __str__(self) -> str:
        def say(value: Moment | int) -> str:
            return span_text(value) if self.span and isinstance(value, int) else str(value)

        if self.low is not None and self.high is not None:
            alone = self.low == self.high and not (isinstance(self.low, Moment) and self.low.ago is not None)
            return say(self.low) if alone else f"{say(self.low)}..{say(self.high)}"
        if self.low is not None:
            return (">=" if self.low_in else ">") + say(self.low)
        assert self.high is not None
        return ("<=" if self.high_in else "<") + say(self.high)


def read_range(raw: str, sort: str) -> Range | None:
    """Read instants, durations ("span") or numbers: one, from or up to one, or a..b; None where it is none."""
    read, is_span = _READ[sort], sort == "span"
    for sign in (">=", "<=", ">", "<"):
        if raw.startswith(sign):
            value = read(raw[len(sign) :])
            if value is None:
                return None
            within = sign.endswith("=")
            return (Range(value, None, within, True, is_span) if sign[0] == ">"
                    else Range(None, value, True, within, is_span))  # fmt: skip
    if ".." in raw:
        low, high = (read(part) for part in raw.split("..", 1))
        return None if low is None or high is None else Range(low, high, span=is_span)
    value = read(raw)
    if value is None:
        return None
    if isinstance(value, Moment) and value.ago is not None:
        return Range(value, None)  # -24h: since then
    return Range(value, value, span=is_span)


def _number(text: str) -> int | None:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        return None
    return int(text)


_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:[0-9]{1,7}(?:\.[0-9]{1,6})?(?:w|d|h|min|m|s))+")
_SPAN_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(w|d|h|min|m|s)")
_LONGEST_SPAN = 100 * 366 * 86_400 * SECOND


def _span(text: str) -> int | None:
    """Read a duration, as 1h30m, in microseconds."""
    if len(text) > 60 or not _SPAN.fullmatch(text):
        return None
    total = 0
    for whole, part, unit in _SPAN_PART.findall(text):
        factor = _UNITS["m" if unit == "min" else unit]
        total += int(whole) * factor * SECOND + (int(part.ljust(6, "0")) * factor if part else 0)
    return total if total <= _LONGEST_SPAN else None


def read_span(text: str) -> int | None:
    """Read a duration, as 90s, 10m, 1h30m, in microseconds; None where it is none."""
    return _span("".join(text.split()).lower())


def span_text(microseconds: int) -> str:
    """Write a duration so that it is read as the same."""
    rest, parts = microseconds, []
    for unit, seconds in list(_UNITS.items())[1:-1]:
        n, rest = divmod(rest, seconds * SECOND)
        if n:
            parts.append(f"{n}{unit}")
    if rest or not parts:
        whole, fraction = divmod(rest, SECOND)
        parts.append(f"{whole}{f'.{fraction:06}'.rstrip('0') if fraction else ''}s")
    return "".join(parts)


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?")


def _moment(text: str) -> Moment | None:
    if text.lower() in ("today", "yesterday"):
        return Moment(days=int(text.lower() == "yesterday"))
    if text.lower() == "now":
        return Moment(ago=0)
    if text.startswith("-"):
        ago = _span(text[1:])
        return None if ago is None else Moment(ago=ago)
    if not _DATE.fullmatch(text.upper()):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return Moment(text=text.upper()) if 1970 <= at.year < 9999 else None


def read_moment(text: str) -> Moment | None:
    """Read an instant, as 2026-11-01, 2026-11-01T08:30, today, -2h; None where it is none."""
    return _moment(text.strip())


_READ: dict[str, Callable[[str], Moment | int | None]] = {"instant": _moment, "span": _span, "number": _number}
