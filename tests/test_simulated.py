"""The simulated fleet: what it does with orders that nobody foresaw."""

from __future__ import annotations

import pytest

from engine import messages as m
from engine import simulated
from engine.clock import HOUR, MINUTE, SECOND
from engine.core import Input
from engine.fleet import load
from engine.lifecycle import Kind
from engine.simulated import Simulated

START = 1_780_000_000 * SECOND

FLEET = """
[businesses.acme]
processors = [{ name = "proc-1", slots = 4 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 6 }]
targets = [{ name = "srv", kind = "device" }]
"""


@pytest.fixture
def world() -> Simulated:
    one = Simulated(load(FLEET), seed=1, tells_progress=False)
    one.step(START)
    return one


def audit(lease: int, site: str = "berlin", task: int = 7, attempt: int = 0) -> m.StartOrder:
    return m.StartOrder("simulated", "acme", site, "audit-1", task, lease, "collect", Kind.AUDIT, "srv", attempt, 0.0)


def told(world: Simulated, after: int, hours: int = 12) -> list[Input]:
    """Let hours pass, some minutes at a time; return what was told but for heartbeats."""
    inputs = [i for n in range(hours * 6) for i in world.step(START + after + n * 10 * MINUTE)]
    return [i for i in inputs if not isinstance(i, m.Alive)]


def stops(inputs: list[Input]) -> int:
    return sum(isinstance(i, m.Command) and isinstance(i.action, m.Stop) for i in inputs)


def test_a_task_at_a_site_that_the_fleet_file_no_longer_has_fails_and_takes_no_other_along(world: Simulated) -> None:
    world.give([audit(1, site="paris", task=1), audit(2, task=2)])
    lost, done = told(world, SECOND)
    assert lost == m.Failed(1, 1, "error", "The fleet file has no site paris")
    assert done == m.Collected(2, 2)


def test_a_run_that_hung_before_its_task_was_rescued_never_gets_the_new_one_stopped(world: Simulated) -> None:
    world.hang_target("acme", "berlin")
    world.give([audit(1)])
    world.step(START + SECOND)
    world.give([audit(2, attempt=1)])
    assert told(world, MINUTE) == [m.Collected(7, 2)]


def test_a_hung_task_whose_stop_was_not_heard_is_not_stopped_for_ever(
    world: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "STOPS_UNHEARD", 1.0)
    world.hang_target("acme", "berlin")
    world.give([audit(1)])
    assert stops(told(world, SECOND, hours=5)) in (1, 2)
    world.give([m.StopOrder("simulated", "acme", "audit-1", 7, 1)])
    assert told(world, 5 * HOUR) == []


def test_a_hung_task_that_nobody_knows_any_more_is_stopped_twice_at_most(world: Simulated) -> None:
    world.hang_target("acme", "berlin")
    world.give([audit(1)])
    assert stops(told(world, SECOND, hours=48)) == 2
