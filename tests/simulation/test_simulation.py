"""A thousand lives keep every invariant, reach every hazard, and find every planted bug."""

from __future__ import annotations

import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import pytest

from tests.simulation.invariants import NAMES, broken
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import World

HAZARDS = (
    # the store and the console
    "commit failed", "crash before durable", "durable but not acknowledged", "durable, and the checkpoint fatal",
    "step while a commit is in flight", "crash with a commit in flight", "crash between batches", "restart",
    "claim durable, its order lost", "order given again", "command on a stopped console", "rescue: console_restarted",
    # clocks
    "wall set back", "wall set forward", "machine slept",
    # services
    "host silent", "background scheduler stalled", "lost", "lost without a first heartbeat", "returned",
    "rescue: worker_lost", "fail: worker_lost", "rescue: service_offline", "hung target", "stop or suspend ignored",
    "stop_not_confirmed", "suspect", "finish after the stop was asked for", "report repeated late", "stale_report",
    # holds
    "hold placed", "hold to come", "hold begun", "hold expired", "hold lifted", "hold of one site",
    "hold of all businesses", "hold on a site", "hold that suspends", "suspended", "suspension not_answered",
    "suspension withdrawn", "checkpoint after the request had lapsed", "resume while another pauses",
    # blackout windows
    "blackout held", "blackout missed", "blackout window created", "blackout window edited", "blackout window removed",
    "blackout window removed while it holds",
    # throttles
    "ramp begun", "ramp shut", "ramp open", "ramp ended released", "ramp ended held", "ramp ended lifted",
    "cap begun", "cap changed", "cap shut", "cap open", "cap ended", "cap below what runs",
    # people
    "double click", "double click across a restart", "deleted", "restore", "hide", "unhide", "delete of a running task",
    "stale edit", "edit moves a waiting task", "expire", "one of many edits refused", "rerun", "keep", "drop",
    # schedules and widgets
    "occurrence fired", "occurrence skipped", "occurrence coalesced", "occurrence queued",
    "widget's refresh answers several",
)  # fmt: skip
REACHED = 100
MUTANT_SEEDS = 60
HARMLESS_SEEDS = 20  #: in the quick form; every planted bug is found within as many


def live(seed: int) -> tuple[int, list[str], Counter[str]]:
    """Live one life; return what is broken in it and which hazards it met."""
    world = World(seed)
    try:
        world.run()
        return seed, broken(world), world.notes.hazards
    except Exception:
        return seed, ["crash: " + traceback.format_exc(limit=-4)], world.notes.hazards


@cache
def sound(seed: int) -> list[str]:
    """Tell what is broken in a life without a planted bug; several bugs are found in the same few lives."""
    return live(seed)[1]


def test_every_life_keeps_every_invariant_and_every_hazard_is_met(pytestconfig: pytest.Config) -> None:
    seeds = pytestconfig.getoption("--seeds") or (20_000 if pytestconfig.getoption("--long") else 1_000)
    hazards: Counter[str] = Counter()
    failed: dict[int, list[str]] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for seed, found, met in pool.map(live, range(seeds), chunksize=10):
            hazards += met
            if found:
                failed[seed] = found
    told = "\n".join(f"python -m tests.simulation {seed}\n    {found[0]}" for seed, found in list(failed.items())[:5])
    assert not failed, f"{len(failed)} of {seeds} lives are broken. Replay with\n{told}"
    if seeds >= 1_000:
        assert {name: hazards[name] for name in HAZARDS if hazards[name] < REACHED} == {}


def kill(mutant: Mutant, seeds: int = MUTANT_SEEDS) -> tuple[int, str] | None:
    """Find the first seed in which the mutant breaks what it must (or, a harmless one, anything), and what.

    Looks also where the life ends in an error: a crash alone kills nobody.
    """
    for seed in range(seeds):
        world = mutant.world(seed, mutant.core)
        error: Exception | None = None
        try:
            world.run()
        except Exception as raised:
            error = raised
        if named := _named(world, mutant):
            return seed, named
        if error is not None:
            raise error
    return None


def _named(world: World, mutant: Mutant) -> str | None:
    found = broken(world)
    return next((what for what in found if not mutant.found_by or what.split(":")[0] in mutant.found_by), None)


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.found_by])
def test_a_planted_bug_is_found_by_its_invariant(name: str) -> None:
    mutant = MUTANTS[name]
    killed = kill(mutant)
    assert killed is not None, f"{MUTANT_SEEDS} lives did not find it"
    seed, _ = killed
    assert sound(seed) == [], "the same life without the bug is sound"


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if not mutant.found_by])
def test_a_harmless_change_survives(name: str, pytestconfig: pytest.Config) -> None:
    assert kill(MUTANTS[name], MUTANT_SEEDS if pytestconfig.getoption("--long") else HARMLESS_SEEDS) is None


def test_every_invariant_finds_a_planted_bug() -> None:
    """An invariant that nothing can break would be worth nothing."""
    assert {name for mutant in MUTANTS.values() for name in mutant.found_by} == NAMES
