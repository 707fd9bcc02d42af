"""When a schedule occurs, and how to say it. Pure; the only module that knows cronsim.

Cronsim walks the calendar of wall-clock times; what a wall-clock time means in a zone is decided here, by cronsim's own
rule (Debian cron's). A fixed time runs once: in the spring gap right after it, however many fall into it; in the
repeated hour the first time. With a wildcard minute or hour a rule follows real time: what the gap skips does not run,
and the repeated hour runs twice.

The split is needed because cronsim, started in a zone, loses runs where the clock shifts by half an hour or at
midnight, answers by where it started, and can stand still for ever (Pacific/Chatham). Here `next_after` is a function
of the rule and the instant alone. Comparing is done in UTC: wall-clock arithmetic drops the fold.
"""

from __future__ import annotations

import copy
import re
from calendar import month_name
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .clock import DAY, MINUTE, SECOND
from .errors import InvalidSchedule

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # wall-clock arithmetic is done without a zone, on purpose
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_LONGEST_EXPRESSION = 200
_LONGEST_INTERVAL_S = 10 * 366 * 86_400
_LATEST_ANCHOR = 32_503_680_000 * SECOND  #: the year 3000, so that some intervals later is still an instant
_LONGEST_SEARCH_YEARS = 50  #: as far as cronsim looks ahead; what does not occur by then never does
_TRIAL_START = 1_767_225_600 * SECOND  #: 2026-01-01 UTC: a fixed place to try an expression from

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST_NAMED = 4  #: longer lists of times and days make no sentence

_FIELDS = (
    ("minute", "0–59"),
    ("hour", "0–23"),
    ("day of month", "1–31, L or LW"),
    ("month", "1–12 or JAN–DEC"),
    ("weekday", "0–7 or SUN–SAT, 5L, 5#2"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a schedule occurs: a five-field cron expression read in `zone`, or every so many seconds from an anchor."""

    cron: str | None
    every_s: int | None
    anchor_at: int  #: where an interval starts, µs UTC; 0 for cron
    zone: str

    @classmethod
    def cron_rule(cls, expression: str, zone: str) -> Rule:
        """Make a rule from a five-field cron expression; raise InvalidSchedule where it is none or never occurs."""
        check_zone(zone)
        if len(expression) > _LONGEST_EXPRESSION:
            raise InvalidSchedule(
                f"An expression of {len(expression)} characters is too long; it takes at most {_LONGEST_EXPRESSION}"
            )
        fields = expression.split()
        text = " ".join(fields)
        if len(fields) != len(_FIELDS):
            names = ", ".join(name for name, _ in _FIELDS)
            raise InvalidSchedule(
                f"“{text}” has {len(fields)} field{'' if len(fields) == 1 else 's'}; a rule needs five: {names}",
                expression=text,
            )
        for position, (field, (name, allowed)) in enumerate(zip(fields, _FIELDS, strict=True)):
            alone = " ".join(field if i == position else "*" for i in range(len(_FIELDS)))
            try:
                CronSim(alone, _EPOCH)
            except (CronSimError, ValueError, AssertionError):
                raise InvalidSchedule(
                    f"The {name} “{field}” (field {position + 1} of “{text}”) is not valid; "
                    f"it takes {allowed}, and lists, ranges and steps of them",
                    expression=text,
                    field=name,
                ) from None
        rule = cls(text, None, 0, zone)
        try:
            rule.next_after(_TRIAL_START)
        except CronSimError:
            raise _never(rule) from None
        return rule

    @classmethod
    def interval(cls, every_s: int, anchor_at: int, zone: str = "UTC") -> Rule:
        """Make a rule that occurs at `anchor_at` (µs UTC) and every `every_s` seconds from then on."""
        check_zone(zone)
        if not 1 <= every_s <= _LONGEST_INTERVAL_S:
            raise InvalidSchedule(
                f"An interval of {every_s} s is not possible; it takes at least 1 s, at most {_LONGEST_INTERVAL_S} s",
                every_s=every_s,
            )
        if not 0 <= anchor_at <= _LATEST_ANCHOR:
            raise InvalidSchedule("An interval counts from an instant of the years 1970 to 2999", anchor_at=anchor_at)
        return cls(None, every_s, anchor_at, zone)

    def check(self) -> None:
        """Raise InvalidSchedule for a rule that neither of the two above would have made."""
        made = (
            Rule.interval(self.every_s, self.anchor_at, self.zone) if self.cron is None and self.every_s is not None
            else Rule.cron_rule(self.cron or "", self.zone)
        )  # fmt: skip
        if made != self:
            raise InvalidSchedule("A rule is a cron expression or an interval, not both")

    def next_after(self, after: int) -> int:
        """Return the first nominal occurrence strictly later than `after` (µs UTC)."""
        return _next_after(self, after)

    def occurrences(self, after: int, until: int, limit: int | None = None) -> list[int]:
        """List the nominal occurrences in (after, until], the first `limit` of them."""
        if limit is None and self.cron is not None and after < until and self._multiplies(after, until):
            return self._multiplied(after, until)
        found: list[int] = []
        for at in islice(self._walk(after), limit):
            if at > until:
                break
            found.append(at)
        return found

    def missed(self, after: int, until: int) -> tuple[int, int, int] | None:
        """Return first, last and number of the occurrences in (after, until], or None where there is none."""
        if self.every_s is not None:
            every = self.every_s * SECOND
            first = self.next_after(after)
            if first > until:
                return None
            more = (until - first) // every
            return first, first + more * every, more + 1
        first = last = count = 0
        for at in self._walk(after):
            if at > until:
                break
            first = at if not count else first
            last, count = at, count + 1
        return (first, last, count) if count else None

    def delayed(self, minutes: int) -> Rule:
        """Make the rule that occurs so many minutes later; raise InvalidSchedule where it would leave its hour."""
        if self.every_s is not None:
            return Rule(None, self.every_s, self.anchor_at + minutes * MINUTE, self.zone)
        minute, *rest = (self.cron or "").split()
        if not re.fullmatch(r"\d+(,\d+)*", minute):
            raise InvalidSchedule(f"“{self.cron}” names no minutes of its own to move", expression=self.cron or "")
        moved = sorted(int(part) + minutes for part in minute.split(","))
        if moved[-1] > 59 and rest != ["*"] * 4:
            raise InvalidSchedule(f"“{self.cron}” would leave its hour if it came {minutes} min later",
                                  expression=self.cron or "")  # fmt: skip
        return Rule.cron_rule(" ".join([",".join(str(m) for m in sorted(m % 60 for m in moved)), *rest]), self.zone)

    def to_dict(self) -> dict[str, Any]:
        """Put the rule into words that JSON knows; `from_dict` gives the same rule back."""
        if self.cron is not None:
            return {"cron": self.cron, "zone": self.zone}
        return {"every_s": self.every_s, "anchor_at": self.anchor_at, "zone": self.zone}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Rule:
        """Make the rule again that `to_dict` wrote. It was checked then and is not checked again."""
        return cls(record.get("cron"), record.get("every_s"), record.get("anchor_at", 0), record["zone"])

    def prose(self) -> str:
        """Say the rule in words ("Weekdays at 02:30"), or return the expression where no good sentence exists."""
        if self.every_s is not None:
            return _interval_prose(self.every_s, _wall(self.anchor_at, _zone(self.zone)), self.zone)
        return _cron_prose(self.cron or "") or self.cron or ""

    def _walk(self, after: int) -> Iterator[int]:
        if self.every_s is not None:
            return self._every(after)
        minute, hour = (self.cron or "").split()[:2]
        return self._real_times(after) if minute.startswith("*") or hour.startswith("*") else self._fixed_times(after)

    def _multiplies(self, after: int, until: int) -> bool:
        """Tell whether days times hours times minutes gives what walking would; fixed times mind each clock change."""
        minute, hour = (self.cron or "").split()[:2]
        # From the instant before: a gap that ends right after `after` brings what it skipped.
        return minute.startswith("*") or hour.startswith("*") or _stretch(self.zone, after - 1)[1] > until

    def _multiplied(self, after: int, until: int) -> list[int]:
        """List what `_walk` would find, forty times as quick where a rule occurs each minute."""
        rule = _parsed(self.cron or "")
        days = " ".join((self.cron or "").split()[2:])
        of_day = [(hour * 60 + minute) * MINUTE for hour in sorted(rule.hours) for minute in sorted(rule.minutes)]
        found: list[int] = []
        while after < until:
            offset, end = _stretch(self.zone, after)
            last = min(end - 1, until)
            for midnight in _days(days, (after + offset) // DAY * DAY, last + offset):
                found += [at for at in (midnight - offset + span for span in of_day) if after < at <= last]
            after = last
        return found

    def _every(self, after: int) -> Iterator[int]:
        every = (self.every_s or 1) * SECOND
        at = self.anchor_at + max(0, (after - self.anchor_at) // every + 1) * every
        while True:
            yield at
            at += every

    def _fixed_times(self, after: int) -> Iterator[int]:
        zone = _zone(self.zone)
        latest = after
        for wall in _calendar(self.cron or "", _wall(after, zone)):
            at = _first_instant(wall, zone)
            if at > latest:
                yield at
                latest = at

    def _real_times(self, after: int) -> Iterator[int]:
        latest = after
        barren_until = after + _LONGEST_SEARCH_YEARS * 366 * DAY
        while latest < barren_until:
            # Within one stretch of constant offset, wall-clock time is real time.
            offset, end = _stretch(self.zone, latest)
            for wall in _calendar(self.cron or "", _EPOCH + (latest + offset) * _MICROSECOND):
                at = (wall - _EPOCH) // _MICROSECOND - offset
                if at >= end:
                    break
                yield at
                barren_until = at + _LONGEST_SEARCH_YEARS * 366 * DAY
            latest = end - 1


def check_zone(zone: str) -> None:
    """Raise InvalidSchedule for a name that is no IANA time zone, with the one that was probably meant."""
    if zone not in _zone_names():
        near = get_close_matches(zone, sorted(_zone_names()), n=1)
        hint = f"; did you mean “{near[0]}”?" if near else "; it takes an IANA name such as “Europe/Berlin”"
        raise InvalidSchedule(f"There is no time zone “{zone}”{hint}", zone=zone)


@lru_cache(maxsize=16384)
def _next_after(rule: Rule, after: int) -> int:
    """Find the next occurrence; whoever fires one and whoever replays that it was fired ask for the same."""
    found = next(rule._walk(after), None)
    if found is None:
        raise _never(rule)
    return found


def _never(rule: Rule) -> InvalidSchedule:
    return InvalidSchedule(f"“{rule.cron}” never occurs in {rule.zone}", expression=rule.cron, zone=rule.zone)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=65536)
def _parsed(expression: str) -> CronSim:
    return CronSim(expression, _EPOCH)


def _calendar(expression: str, after: datetime) -> CronSim:
    """Walk the wall-clock times of an expression later than `after`. A copy spares the parsing, which is most of it."""
    walk = copy.copy(_parsed(expression))
    walk.dt = after.replace(microsecond=0)
    return walk


@lru_cache(maxsize=1024)
def _days(days: str, first: int, last: int) -> tuple[int, ...]:
    """List the days that the last three fields of an expression name, from `first` on (midnights on the wall, µs)."""
    found = []
    for day in _calendar(f"0 0 {days}", _EPOCH + (first - MINUTE) * _MICROSECOND):
        midnight = (day - _EPOCH) // _MICROSECOND
        if midnight > last:
            break
        found.append(midnight)
    return tuple(found)


def _wall(at: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH_UTC + at * _MICROSECOND).astimezone(zone).replace(tzinfo=None, fold=0)


def _first_instant(wall: datetime, zone: ZoneInfo) -> int:
    """Return when a wall-clock time comes: the first time where it comes twice, after the gap where it never comes."""
    while True:
        at = (wall.replace(tzinfo=zone) - _EPOCH_UTC) // _MICROSECOND
        if _wall(at, zone) == wall:
            return at
        wall += _MINUTE


def _offset(zone: ZoneInfo, at: int) -> int:
    moment = (_EPOCH_UTC + at * _MICROSECOND).astimezone(zone)
    return (moment.utcoffset() or timedelta()) // _MICROSECOND


def _stretch(zone_name: str, after: int) -> tuple[int, int]:
    """Return the offset that holds right after `after`, and the end of the stretch it surely holds for."""
    zone = _zone(zone_name)
    at = after + 1
    year = (_EPOCH_UTC + at * _MICROSECOND).year
    end = next(end for end in _stretch_ends(zone_name, year) if end > at)
    return _offset(zone, at), end


@lru_cache(maxsize=8192)
def _stretch_ends(zone_name: str, year: int) -> tuple[int, ...]:
    """Return the instants of a year at which the zone's offset changes, and the year's end."""
    zone = _zone(zone_name)
    start = (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH_UTC) // _MICROSECOND
    year_end = (datetime(year + 1, 1, 1, tzinfo=UTC) - _EPOCH_UTC) // _MICROSECOND
    ends = []
    for day in range(start, year_end, DAY):
        low, high = day, min(day + DAY, year_end)
        if _offset(zone, low) == _offset(zone, high):
            continue
        while high - low > SECOND:
            middle = (low + high) // 2 // SECOND * SECOND
            if _offset(zone, middle) == _offset(zone, low):
                low = middle
            else:
                high = middle
        ends.append(high)
    return (*ends, year_end)


def _cron_prose(expression: str) -> str | None:
    """Word an expression as clock times or a frequency, with its days; None where one of them has no words."""
    _, hour, day, _, weekday = expression.upper().split()
    rule = _parsed(expression)
    months = _months_prose(rule.months)
    dates = _dates_prose(rule.days) if day != "*" else ""
    weekdays = _weekdays_prose(rule.weekdays) if weekday != "*" else ""
    if months is None or dates is None or weekdays is None or (dates and weekdays and rule.day_and):
        return None
    days = " ".join(filter(None, [" and ".join(filter(None, [dates, weekdays])), months]))
    days = days.replace("of each month in ", "of ")
    minutes, hours = sorted(rule.minutes), sorted(rule.hours)
    clock = "" if hour.startswith("*") else _clock_prose(minutes, hours)
    if clock:
        days = days if dates or weekdays else f"every day {months}".rstrip()
        if not dates and " the " not in weekdays:
            days = days.removeprefix("on ")
        return _capital(f"{days} at {clock}")
    often = _frequency_prose(minutes, hours)
    return _capital(f"{often} {days}".rstrip()) if often else None


def _clock_prose(minutes: list[int], hours: list[int]) -> str:
    """Name the times of day where they are few."""
    if len(minutes) * len(hours) > _MOST_NAMED:
        return ""
    return _listed([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])


def _frequency_prose(minutes: list[int], hours: list[int]) -> str | None:
    first, last = f"{hours[0]:02}:{minutes[0]:02}", f"{hours[-1]:02}:{minutes[-1]:02}"
    all_day, unbroken = len(hours) == 24, hours == list(range(hours[0], hours[-1] + 1))
    if len(minutes) == 1:
        if all_day:
            return f"every hour at :{minutes[0]:02}"
        step = _even_step(hours, 24)
        if step:
            return f"every {step} hours " + (f"from {first}" if hours[0] else f"at :{minutes[0]:02}")
        return f"every hour from {first} to {last}" if unbroken else None
    step = _even_step(minutes, 60)
    if step and unbroken:
        often = "every minute" if step == 1 else f"every {step} minutes"
        if not all_day:
            return f"{often} from {first} to {last}"
        return f"{often} from :{minutes[0]:02}" if minutes[0] else often
    if len(minutes) <= _MOST_NAMED and all_day:
        return f"every hour at {_listed([f':{minute:02}' for minute in minutes])}"
    return None


def _even_step(values: list[int], circle: int) -> int | None:
    """Return the step between values that go evenly round the circle."""
    step, rest = divmod(circle, len(values))
    even = len(values) > 1 and rest == 0 and all(b - a == step for a, b in pairwise(values))
    return step if even else None


def _weekdays_prose(weekdays: set[Any]) -> str | None:
    plain = sorted({item % 7 for item in weekdays if isinstance(item, int)}, key=lambda day: (day - 1) % 7)
    nth = sorted(
        ((day % 7, week) for day, week in (item for item in weekdays if not isinstance(item, int))),
        key=lambda item: (item[1] == CronSim.LAST, item[1], item[0]),
    )
    if nth:
        names = [f"the {'last' if week == CronSim.LAST else _ORDINALS[week - 1]} {_WEEKDAYS[day]}" for day, week in nth]
        return None if plain or len(nth) > _MOST_NAMED else f"on {_listed(names)} of each month"
    if len(plain) == 7:
        return None
    if plain == [1, 2, 3, 4, 5]:
        return "on weekdays"
    if plain == [6, 0]:
        return "on weekends"
    if len(plain) > 3 and plain == list(range(plain[0], plain[-1] + 1)):
        return f"on {_WEEKDAYS[plain[0]]}s to {_WEEKDAYS[plain[-1]]}s"
    return f"on {_listed([f'{_WEEKDAYS[day]}s' for day in plain])}" if len(plain) <= _MOST_NAMED else None


def _dates_prose(days: set[int]) -> str | None:
    special = {CronSim.LAST: "the last day", CronSim.LAST_WEEKDAY: "the last weekday"}
    plain = sorted(day for day in days if day not in special)
    if len(plain) > _MOST_NAMED:
        if plain != list(range(plain[0], plain[-1] + 1)):
            return None
        parts = [f"days {plain[0]} to {plain[-1]}"]
    else:
        parts = [f"day{'s' if len(plain) > 1 else ''} {_listed([str(day) for day in plain])}"] if plain else []
    parts += [words for value, words in special.items() if value in days]
    return f"on {' and '.join(parts)} of each month"


def _months_prose(months: set[int]) -> str | None:
    """Name the months: an empty word for all of them, None for too many to name."""
    if len(months) == 12:
        return ""
    ordered = sorted(months)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"from {month_name[ordered[0]]} to {month_name[ordered[-1]]}"
    return f"in {_listed([month_name[month] for month in ordered])}" if len(ordered) <= _MOST_NAMED else None


def _interval_prose(every_s: int, anchor: datetime, zone: str) -> str:
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, size = next((unit, size) for unit, size in units if every_s % size == 0)
    number = every_s // size
    often = f"Every {unit}" if number == 1 else f"Every {number} {unit}s"
    return f"{often} from {anchor:%Y-%m-%d %H:%M}{f':{anchor:%S}' if anchor.second else ''} {zone}"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
