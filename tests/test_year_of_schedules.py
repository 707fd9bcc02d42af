"""A year of schedules in six zones through the real core: none missed, none doubled, over restarts and clock jumps.

The oracle is cronsim itself, walked through the whole year in each zone. (Where cronsim started in a zone is known to
lose runs, zones that shift by half an hour, only fixed times are compared; see recurrence.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from engine import messages as m
from engine.clock import DAY, HOUR, SECOND, Reading
from engine.core import Core
from engine.ledger import NUMBERED_TABLES
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.state import replay

START = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * SECOND
YEAR = 365 * DAY
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "UTC")
FIXED = ("0 0 * * *", "30 2 * * *", "15 1 * * *", "0 2 * * 0", "0 9 * * 1-5", "30 0 1 * *", "0 9 13 * 5")
WILD = ("0 * * * *", "*/30 1-3 * * *")


def oracle(expression: str, zone: str) -> list[int]:
    """Walk cronsim through the year in one go."""
    walk = CronSim(expression, datetime.fromtimestamp(START / SECOND, UTC).astimezone(ZoneInfo(zone)))
    found = []
    for moment in walk:
        at = int(moment.timestamp()) * SECOND
        if at > START + YEAR:
            return found
        found.append(at)
    return found


class Year:
    """A core that is stepped from timer to timer, with crashes and jumps thrown in."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.rows: list[Any] = []
        self.core = Core()
        self.now = START
        self.serial = count()
        self.down: list[tuple[int, int]] = []
        self.do(m.AddBusiness("b"), m.AddSite("b", "s"), m.AddService("b", None, "processor", "processor", 500))

    def do(self, *actions: m.Action) -> list[m.Outcome]:
        step = self.step([m.Command(f"r{next(self.serial)}", "ann", action) for action in actions])
        for _, outcome in step.outcomes:
            assert outcome.refused is None, outcome
        return [outcome for _, outcome in step.outcomes]

    def step(self, inputs: list[Any], down_from: int | None = None, start: bool = False) -> Any:
        reading = Reading(self.now, self.now - START, down_from)
        if start:
            step = self.core.start(reading, ("simulated",))
        else:
            step = self.core.step(reading, [m.Alive("simulated"), *inputs])
        for table in NUMBERED_TABLES:
            self.rows += getattr(step.rows, table)
        done = [
            m.Finished(order.task_id, order.lease) for order in step.orders if isinstance(order, m.StartOrder)
        ]
        if done and not start:
            self.now += 1000
            self.step(done)
        return step

    def live(self) -> None:
        while self.now < START + YEAR:
            due = self.core.next_timer() or START + YEAR
            self.now = min(max(due, self.now + 1), START + YEAR)
            dice = self.chance.random()
            if dice < 0.0006:
                self.crash(self.chance.choice((SECOND, HOUR, 30 * HOUR)))
            elif dice < 0.004:
                asleep, self.now = self.now, self.now + self.chance.choice((5 * SECOND, 2 * HOUR, 3 * DAY))
                self.step([], down_from=asleep)
            elif dice < 0.02:
                self.step([])  # the same instant again, as after a clock that was set back: the core goes forward
                self.step([])
            else:
                self.step([])

    def crash(self, away: int) -> None:
        last = self.core.state.last
        self.core = Core(replay(sorted(self.rows, key=lambda row: (row.occurred_at, row.event_id))))
        self.now = max(self.now, last) + away
        self.step([], down_from=last, start=True)


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_occurrences_is_told_once_each(zone: str) -> None:
    year = Year(len(zone))
    expressions = FIXED if zone == "Australia/Lord_Howe" else FIXED + WILD
    specs = [m.ScheduleSpec(e, "b", "s", Kind.OUTLIER, Rule.cron_rule(e, zone), "ann") for e in expressions]
    ids = [int(outcome.changed[0]) for outcome in year.do(*(m.CreateSchedule(spec) for spec in specs))]
    year.live()
    fires = [row for row in year.rows if type(row).__name__ == "ScheduleFire"]
    outcomes = Counter(fire.outcome for fire in fires)
    assert outcomes["fired"] > 1_000
    assert outcomes["coalesced"] > 0
    for schedule_id, expression in zip(ids, expressions, strict=True):
        expected = [at for at in oracle(expression, zone) if at > START]
        told: list[int] = []
        for fire in fires:
            if fire.schedule_id == schedule_id:
                within = expected[bisect_left(expected, fire.nominal_at) : bisect_right(expected, fire.last_nominal_at)]
                assert (len(within), within[0], within[-1]) == (fire.count, fire.nominal_at, fire.last_nominal_at)
                told += within
        until = max((fire.last_nominal_at for fire in fires if fire.schedule_id == schedule_id), default=0)
        assert told == [at for at in expected if at <= until], expression
        assert not [at for at in expected if until < at <= year.core.state.last], f"{expression}: missed at the end"
    tasks = Counter(row.task_id for row in fires if row.task_id is not None)
    assert set(tasks.values()) == {1}
