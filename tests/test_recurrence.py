"""When schedules occur: cronsim's rule, in every zone, from every start."""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from engine.clock import DAY, HOUR, MINUTE, SECOND
from engine.errors import InvalidSchedule
from engine.recurrence import Rule

REFERENCE = Path(__file__).resolve().parents[1] / ".." / "shared" / "reference" / "cron_dst.md"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "America/Havana",
)
FIXED = ("30 2 * * *", "0 2 * * 0", "0 0 * * *", "0,30 0-3 * * *", "30 0 1 * *", "0 9 13 * 5", "45 23 L * *")
WILDCARD = ("*/30 * * * *", "5 * * * *", "*/15 2 * * *", "0 */2 * * *", "*/20 0-3 * * 0", "*/10 0 * * 1-5")


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def utc(text: str) -> int:
    return us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def local(at: int, zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


YEAR = (utc("2026-01-01T00:00"), utc("2027-01-01T00:00"))


def reference_rows() -> list[tuple[str, str, str, list[str]]]:
    if not REFERENCE.exists():
        return []
    cells = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in REFERENCE.read_text().splitlines()]
    rows = [row for row in cells if len(row) == 5 and "/" in row[0]]
    return [(zone, start, expression.strip("`"), fires.split()) for zone, start, expression, fires, _ in rows]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the folder with the reference tables is not beside the checkout")
def test_occurrences_around_clock_changes_are_those_of_the_reference_table() -> None:
    rows = reference_rows()
    assert rows
    for zone, start, expression, fires in rows:
        found = Rule.cron_rule(expression, zone).occurrences(utc(start), utc(start) + 400 * DAY, len(fires))
        assert [f"{local(at, 'UTC'):%m-%dT%H:%MZ}" for at in found] == fires, (zone, start, expression)


@cache
def clock_changes(zone: str) -> list[int]:
    offsets = [(at, local(at, zone).utcoffset()) for at in range(*YEAR, HOUR)]
    return [at for (_, earlier), (at, later) in pairwise(offsets) if earlier != later]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", FIXED + WILDCARD)
def test_next_after_gives_the_same_times_from_any_start(zone: str, expression: str) -> None:
    rule = Rule.cron_rule(expression, zone)
    times = rule.occurrences(YEAR[0] - 1, YEAR[1] + 90 * DAY)
    assert all(earlier < later for earlier, later in pairwise(times))
    chance = random.Random(f"{zone} {expression}")
    starts = [chance.randrange(*YEAR) for _ in range(150)]
    for change in clock_changes(zone):
        starts += [change + chance.randrange(-3 * HOUR, 3 * HOUR) for _ in range(60)]
        starts += [
            change + minutes * MINUTE + nudge for minutes in range(-120, 121, 15) for nudge in (-1, 0, 1, SECOND)
        ]
    for start in sorted(starts):
        assert rule.next_after(start) == times[bisect_right(times, start)], local(start, zone)


def walked_by_cronsim(expression: str, zone: str, after: int, until: int) -> list[int]:
    times: list[int] = []
    for moment in CronSim(expression, local(after, zone)):
        at = us(moment.astimezone(UTC))
        if at > until:
            break
        times.append(at)
    return times


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", FIXED)
def test_fixed_times_are_those_of_one_long_walk_of_cronsim_in_the_zone(zone: str, expression: str) -> None:
    walked = walked_by_cronsim(expression, zone, *YEAR)
    assert Rule.cron_rule(expression, zone).occurrences(*YEAR) == walked


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata"])
@pytest.mark.parametrize("expression", WILDCARD)
def test_wildcard_times_are_those_of_cronsim_in_zones_that_change_by_whole_hours_at_night(
    zone: str, expression: str
) -> None:
    for after, until in [("2026-03-01", "2026-04-05"), ("2026-10-20", "2026-11-05")]:
        walked = walked_by_cronsim(expression, zone, utc(after), utc(until))
        assert Rule.cron_rule(expression, zone).occurrences(utc(after), utc(until)) == walked


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Chatham", "America/Santiago"])
@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("*/15 2 * * *", lambda t: t.hour == 2 and t.minute % 15 == 0),
        ("0 */2 * * *", lambda t: t.hour % 2 == 0 and t.minute == 0),
        ("* 3 * * 0", lambda t: t.hour == 3 and t.isoweekday() == 7),
        ("*/20 1-3 * * 0", lambda t: 1 <= t.hour <= 3 and t.minute % 20 == 0 and t.isoweekday() == 7),
        ("5 * * * *", lambda t: t.minute == 5),
    ],
)
def test_a_rule_with_wildcards_runs_at_each_real_minute_that_matches_on_the_wall(
    zone: str, expression: str, matches: Callable[[datetime], bool]
) -> None:
    rule = Rule.cron_rule(expression, zone)
    for change in clock_changes(zone) or [utc("2026-03-29T01:00")]:
        minutes = range(change - DAY, change + DAY + 1, MINUTE)
        expected = [at for at in minutes if matches(local(at, zone))]
        assert rule.occurrences(change - DAY - 1, change + DAY) == expected


def test_times_in_the_spring_gap_run_once_right_after_it() -> None:
    rule = Rule.cron_rule("0,15,30,45 2 * * *", "Europe/Berlin")
    assert rule.occurrences(utc("2026-03-28T12:00"), utc("2026-03-29T12:00")) == [utc("2026-03-29T01:00")]
    assert rule.occurrences(utc("2026-03-29T01:00") - 1, utc("2026-03-29T01:00")) == [utc("2026-03-29T01:00")]


def test_fixed_times_run_once_when_the_hour_repeats_even_when_asked_within_its_second_pass() -> None:
    rule = Rule.cron_rule("30 2 * * *", "Europe/Berlin")
    assert rule.next_after(utc("2026-10-24T12:00")) == utc("2026-10-25T00:30")
    assert rule.next_after(utc("2026-10-25T01:10")) == utc("2026-10-26T01:30")


def test_wildcard_minutes_run_in_both_passes_of_a_repeated_hour() -> None:
    rule = Rule.cron_rule("*/30 2 * * *", "Europe/Berlin")
    night = rule.occurrences(utc("2026-10-24T12:00"), utc("2026-10-25T12:00"))
    assert [f"{local(at, 'UTC'):%H:%M}" for at in night] == ["00:00", "00:30", "01:00", "01:30"]


def test_next_after_is_strictly_later_down_to_the_microsecond() -> None:
    rule = Rule.cron_rule("30 2 * * *", "UTC")
    at = utc("2026-05-01T02:30")
    assert rule.next_after(at - 1) == at
    assert rule.next_after(at) == at + DAY
    assert rule.next_after(at + 1) == at + DAY


def test_a_leap_day_is_found_across_eight_years() -> None:
    assert Rule.cron_rule("0 0 29 2 *", "UTC").next_after(utc("2096-03-01T00:00")) == utc("2104-02-29T00:00")


def test_intervals_keep_their_anchor_in_absolute_time() -> None:
    anchor = utc("2026-03-28T12:00")
    rule = Rule.interval(6 * 3600, anchor, "Europe/Berlin")
    assert rule.next_after(anchor - 30 * DAY) == anchor
    assert rule.next_after(anchor - 1) == anchor
    assert rule.next_after(anchor) == anchor + 6 * HOUR
    assert rule.next_after(anchor + 365 * DAY + 1) == anchor + 365 * DAY + 6 * HOUR


@pytest.mark.parametrize(
    "rule",
    [
        Rule.interval(420, utc("2026-01-01T00:03")),
        Rule.cron_rule("*/20 * * * *", "Australia/Lord_Howe"),
        Rule.cron_rule("0 5 * * 1-5", "Asia/Kolkata"),
    ],
)
def test_missed_counts_what_occurrences_lists(rule: Rule) -> None:
    chance = random.Random(7)
    for _ in range(40):
        after = chance.randrange(*YEAR)
        until = after + chance.randrange(3 * DAY)
        times = rule.occurrences(after, until)
        assert rule.missed(after, until) == ((times[0], times[-1], len(times)) if times else None)


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Chatham"])
@pytest.mark.parametrize("expression", [*FIXED, *WILDCARD, "* * * * *", "0 8 * * 1#1", "0 0 LW * *", "* 1 29 2 *"])
def test_all_occurrences_of_a_span_are_those_that_one_walk_finds(expression: str, zone: str) -> None:
    rule, chance = Rule.cron_rule(expression, zone), random.Random(f"{expression} {zone}")
    for change in (*clock_changes(zone), utc("2026-12-31T20:00")):
        after = change - chance.randrange(3 * DAY)
        until = after + chance.choice([1, HOUR, DAY, 7 * DAY])
        walked, at = [], after
        while len(walked) < 400 and (at := rule.next_after(at)) <= until:
            walked.append(at)
        found = rule.occurrences(after, until)
        assert found[:400] == walked
        assert len(found) == len(walked) or len(walked) == 400


def test_occurrences_stop_at_the_limit_and_include_the_end() -> None:
    rule = Rule.interval(60, 0)
    assert rule.occurrences(0, 3 * MINUTE) == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert rule.occurrences(0, 3 * MINUTE, 2) == [MINUTE, 2 * MINUTE]
    assert rule.occurrences(0, MINUTE - 1) == []


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("61 2 * * *", "UTC", ["minute", "“61”", "field 1", "0–59"]),
        ("0 24 * * *", "UTC", ["hour", "“24”", "field 2"]),
        ("0 0 0 * *", "UTC", ["day of month", "“0”", "field 3"]),
        ("0 0 * FOO *", "UTC", ["month", "“FOO”", "field 4"]),
        ("0 0 * * 5#6", "UTC", ["weekday", "“5#6”", "field 5"]),
        ("*/0 * * * *", "UTC", ["minute", "“*/0”"]),
        ("5-1 * * * *", "UTC", ["minute", "“5-1”"]),
        ("1" * 5000 + " * * * *", "UTC", ["5008 characters", "200"]),
        ("0 0 30 2 *", "UTC", ["“0 0 30 2 *”", "never occurs"]),
        ("*/15 2 * 3 0L", "Europe/Berlin", ["never occurs in Europe/Berlin"]),
        ("* * * *", "UTC", ["4 fields", "five"]),
        ("0 * * * * *", "UTC", ["6 fields", "five"]),
        ("@daily", "UTC", ["1 field", "five"]),
        ("", "UTC", ["0 fields"]),
        ("0 0 * * *", "Europe/Berln", ["“Europe/Berln”", "did you mean “Europe/Berlin”"]),
        ("0 0 * * *", "", ["time zone", "Europe/Berlin"]),
    ],
)
def test_a_wrong_rule_is_refused_with_what_is_wrong_and_where(expression: str, zone: str, words: list[str]) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        Rule.cron_rule(expression, zone)
    for word in words:
        assert word in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_an_interval_below_a_second_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="at least 1 s"):
        Rule.interval(0, 0)


@pytest.mark.parametrize(
    ("expression", "prose"),
    [
        ("30 2 * * 1-5", "Weekdays at 02:30"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("* * * * *", "Every minute"),
        ("5 * * * *", "Every hour at :05"),
        ("0,30 * * * *", "Every 30 minutes"),
        ("7-59/20 * * * *", "Every 20 minutes from :07"),
        ("*/15 9-17 * * MON-FRI", "Every 15 minutes from 09:00 to 17:45 on weekdays"),
        ("0 9-17 * * *", "Every hour from 09:00 to 17:00"),
        ("0 */6 * * *", "Every 6 hours at :00"),
        ("0 1-23/2 * * *", "Every 2 hours from 01:00"),
        ("0 0 * * *", "Every day at 00:00"),
        ("0 8,12,16 * * *", "Every day at 08:00, 12:00 and 16:00"),
        ("0 9 * * 1,4", "Mondays and Thursdays at 09:00"),
        ("0 9 * * mon,thu", "Mondays and Thursdays at 09:00"),
        ("0 9 * * 1-4", "Mondays to Thursdays at 09:00"),
        ("0 22 * * 6,7", "Weekends at 22:00"),
        ("0 9 * JUN MON", "Mondays in June at 09:00"),
        ("30 0 1 * *", "On day 1 of each month at 00:30"),
        ("0 9 1,15 * *", "On days 1 and 15 of each month at 09:00"),
        ("0 9 1 1,7 *", "On day 1 of January and July at 09:00"),
        ("0 9 1 1-6 *", "On day 1 of each month from January to June at 09:00"),
        ("0 9 L * *", "On the last day of each month at 09:00"),
        ("0 9 LW * *", "On the last weekday of each month at 09:00"),
        ("0 9 * * 5L", "On the last Friday of each month at 09:00"),
        ("0 9 * * 5#2", "On the second Friday of each month at 09:00"),
        ("0 9 13 * 5", "On day 13 of each month and on Fridays at 09:00"),
        ("*/10 * 1 * *", "Every 10 minutes on day 1 of each month"),
        ("0 9 */2 * 5", "0 9 */2 * 5"),
        ("*/7  * * * *", "*/7 * * * *"),
    ],
)
def test_a_rule_is_said_in_words_or_by_its_expression(expression: str, prose: str) -> None:
    assert Rule.cron_rule(expression, "Europe/Berlin").prose() == prose


@pytest.mark.parametrize(
    ("every_s", "zone", "prose"),
    [
        (6 * 3600, "UTC", "Every 6 hours from 2026-01-01 00:00 UTC"),
        (3600, "UTC", "Every hour from 2026-01-01 00:00 UTC"),
        (86400, "Asia/Kolkata", "Every day from 2026-01-01 05:30 Asia/Kolkata"),
        (90, "UTC", "Every 90 seconds from 2026-01-01 00:00 UTC"),
    ],
)
def test_an_interval_is_said_with_its_anchor(every_s: int, zone: str, prose: str) -> None:
    assert Rule.interval(every_s, YEAR[0], zone).prose() == prose


@pytest.mark.parametrize(
    "rule", [Rule.cron_rule("0 2  * * MON", "Europe/Berlin"), Rule.interval(900, 42, "Asia/Kolkata")]
)
def test_a_rule_survives_the_ledger(rule: Rule) -> None:
    assert Rule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


def test_the_prose_of_any_rule_is_a_sentence_or_the_expression_itself() -> None:
    chance = random.Random(3)
    minutes, hours = ("0", "*/5", "10,40", "9-17", "*"), ("2", "*", "8-18", "*/4")
    days, months, weekdays = ("*", "1", "L", "2-9"), ("*", "6"), ("*", "1-5", "5L", "1#1,3#1")
    for _ in range(200):
        expression = " ".join(chance.choice(choices) for choices in (minutes, hours, days, months, weekdays))
        prose = Rule.cron_rule(expression, "UTC").prose()
        assert prose == expression or re.fullmatch(r"[A-Z][A-Za-z0-9:, ]+", prose), (expression, prose)
