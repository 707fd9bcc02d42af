"""Instants, ages and waits as pages word them, in the viewer's zone, which is always named."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from engine.clock import MINUTE, SECOND


def zone() -> ZoneInfo:
    """Return the viewer's zone: the browser's; UTC where it names none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def day(instant: int, there: ZoneInfo) -> date:
    """Tell on which day an instant lies."""
    return datetime.fromtimestamp(instant / SECOND, there).date()


def clock(instant: int) -> str:
    """Word an instant of today as a clock does, with the zone's short name."""
    there = datetime.fromtimestamp(instant / SECOND, UTC).astimezone(zone())
    return f"{there:%H:%M:%S} {there.tzname()}"


def only_clock(instant: int) -> str:
    """Word an instant by the clock alone, where the day is told beside it."""
    return f"{datetime.fromtimestamp(instant / SECOND, UTC).astimezone(zone()):%H:%M:%S}"


def wait(microseconds: int) -> str:
    """Word a wait: 32 s, 23:51 min:s, from one hour 3 h 12."""
    seconds = max(0, microseconds) // SECOND
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02} min"
    return f"{seconds // 3600} h {microseconds // MINUTE % 60:02}"


def moment(instant: int, now: int) -> str:
    """Word an instant in a table: by the clock today, with the day before that."""
    there = zone()
    return moment_of(instant, day(now, there), there)


def moment_of(instant: int, today: date, there: ZoneInfo) -> str:
    """Word an instant as `moment`, where the day and the zone are known: a table has many."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"


def brief(instant: int, today: date, there: ZoneInfo) -> str:
    """Word an instant for a narrow column: by the clock today, day and clock this year, else the date."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    if at.date() == today:
        return f"{at:%H:%M:%S}"
    return f"{at.day} {at:%b %H:%M}" if at.year == today.year else f"{at:%Y-%m-%d}"


def beside(instant: int, end: int, there: ZoneInfo) -> str:
    """Word what came before an end that stands beside it: by the clock where that was on the same day, else the day."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    if at.date() == day(end, there):
        return f"{at:%H:%M:%S}"
    return f"{at.day} {at:%b}" if at.year == day(end, there).year else f"{at:%Y-%m-%d}"


def whole(instant: int, there: ZoneInfo) -> str:
    """Word an instant in full, with its zone's short name."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname()}"


def age(microseconds: int) -> str:
    """Word an age coarsely: 32 s, 5 min, 3 h 12, 4 days."""
    seconds = max(0, microseconds) // SECOND
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600} h {seconds // 60 % 60:02}"
    return f"{seconds // 86_400} days"


def lasts(microseconds: int) -> str:
    """Word a length that somebody chose, in full: 90 min, 4 h, 1 h 30, 2 days."""
    minutes = microseconds // MINUTE
    if minutes < 60 or (minutes < 120 and minutes % 60):
        return f"{minutes} min"
    if minutes % 1440 == 0:
        return "1 day" if minutes == 1440 else f"{minutes // 1440} days"
    return f"{minutes // 60} h" + (f" {minutes % 60:02}" if minutes % 60 else "")


def zone_of(name: str) -> ZoneInfo:
    """Return a zone that the engine knows by its name."""
    return ZoneInfo(name)


def to_come(instant: int, there: ZoneInfo) -> str:
    """Word an instant to come, with its day and the zone's short name then: Sun 2026-11-01 01:15 EDT."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    return f"{at:%a %Y-%m-%d %H:%M}{f':{at:%S}' if at.second else ''} {at.tzname()}"


def short_name(instant: int, there: ZoneInfo) -> str:
    """Name a zone in short as it is called at an instant: EDT."""
    return datetime.fromtimestamp(instant / SECOND, there).tzname() or there.key


def alike(instant: int, there: ZoneInfo, here: ZoneInfo) -> bool:
    """Tell whether clocks of two zones show the same at an instant."""
    at = datetime.fromtimestamp(instant / SECOND, UTC)
    return at.astimezone(there).utcoffset() == at.astimezone(here).utcoffset()


def instant_of(wall: datetime, there: ZoneInfo) -> int:
    """Read a wall-clock time in a zone."""
    return int(wall.replace(tzinfo=there).timestamp()) * SECOND


def doubt(wall: datetime, there: ZoneInfo, now: int) -> str:
    """Say what somebody may not have thought of who asks for a start at a wall-clock time, if there is anything."""
    instant = instant_of(wall, there)
    at = datetime.fromtimestamp(instant / SECOND, there)
    if instant <= now:
        return "That has passed: it joins the queue at once."
    if at.replace(tzinfo=None, fold=0) != wall:
        return f"Clocks skip {wall:%H:%M} on that day: it is to start at {at:%H:%M} {at.tzname()}."
    if at.replace(fold=1).utcoffset() != at.utcoffset():
        return f"Clocks show {wall:%H:%M} twice on that day: the first time counts, {at.tzname()}."
    return ""


def wall_of(instant: int, there: ZoneInfo) -> datetime:
    """Tell the wall-clock time of an instant in a zone, to the minute."""
    return datetime.fromtimestamp(instant // MINUTE * 60, there).replace(tzinfo=None)
