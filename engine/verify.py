"""Is the ledger legal, and does all the rest follow from it? `check` names what is wrong and where.

Written without the core: what the core may do is said a second time, in SQL over the ledger, so that a bug of the core
shows as a finding. Only the occurrences of schedules and the order of turns go through Python. Everything is looked at
as of one batch, the last durable one when the check began; a console may go on committing meanwhile.

    chain              every batch is as it was committed, and the last is the acknowledged one
    event ids          a business's events are numbered without a gap, none twice, none another's
    time               a business's events follow one another in time and batch; nothing lies after its commit
    edges              every step of a task is in the transition table and goes on from the step before
    deltas             every step changes the queues as such a step does, and names the cause of whom it moves
    leases             each stage has the lease and the service of its claim, from its first event to its last
    attempts           attempts count lost services, anew for each stage
    one service        a task waits in one queue or runs on one service, never in two places
    wait split         the parts of each wait add up to it, and each is as long as its cause was in force
    holds              holds are placed, begun and ended in this order; nothing starts or fires under one
    throttles          nobody starts under a ramp sooner than its rate allows, nor beyond his cap
    task rows          the row of each finished task says what its events say
    live rows          the rows published for unfinished tasks say what their events said by then
    widget refreshes   each finished refresh of a widget has one row, with its times
    results            each result of a report is the very one that the end of its task tells of
    slots              no service runs more than its slots
    exclusive scans    no explorer runs two scans
    services           what starts, starts on a service of the right sort that is online, as requested
    dispatch order     nobody starts before one who goes before him, is not held and waits for the same service
    depths             no queue has ever held less than nothing, whatever its tasks waited for
    schedules          every nominal time is settled once, with its task where one was fired
    blackouts          every nominal time of a blackout window is settled once, by a hold as long as the window says
    one waiting run    no schedule fires while a run of it waits; none is kept from firing by a run that does not
    rollups            the charts' tables are what the ledger makes of them
    peaks              so are the highest depths
    wait histogram     and the counts of waits
    audit ids          audit rows are numbered without a gap

Imports keep their own time and know no services, so order in time, turns, slots, services, holds and exclusivity are
not asked of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from . import derived, legality, numbering, occurrences, turns, waits
from .findings import KEPT, Finding, Ledger, Wrong, where
from .ledger import NUMBER_BITS, number_of
from .store import DATABASE, Store

Progress = Callable[[str, int, int], None]


def nothing_there(folder: Path) -> str | None:
    """Say so where a folder holds no store, and nothing that was one; None where there is something to check."""
    if any(folder.glob(f"{DATABASE}*")) or (folder / "head.json").exists():
        return None
    return f"There is no store in {folder}: nothing to check."


def check(store: Store, progress: Progress | None = None, *, fair_share: bool = False) -> list[Finding]:
    """Look at everything up to the last durable batch; return what is wrong, in the order of the checks.

    Of each check the first twenty findings are told, and one more that counts the others. `progress` is told what is
    looked at next, and how many steps of how many are done. `fair_share` is the setting: who goes first among those of
    one priority is not asked under it.
    """
    ledger = Ledger(store)
    found: dict[str, list[Finding]] = {name: [] for name in CHECKS}
    counts: Counter[str] = Counter()
    steps = list(_steps(ledger, fair_share))
    for done, (sentence, step) in enumerate(steps):
        if progress is not None:
            progress(sentence, done, len(steps))
        for wrong in step():
            name = wrong["check"]
            counts[name] += wrong.get("standing_for", 1)
            if len(found[name]) < KEPT:
                found[name].append(Finding(name, where(wrong), wrong["what"]))
    if progress is not None:
        progress("done", len(steps), len(steps))
    for name, findings in found.items():
        more = counts[name] - len(findings)
        if more:
            findings.append(Finding(name, "elsewhere", f"{more:,} more of this sort"))
    return list(chain.from_iterable(found.values()))


CHECKS: dict[str, str] = dict(re.findall(r"^    (\S+(?: \S+)*)  +(.+)$", __doc__ or "", re.MULTILINE))
"""Each check's name, and what it holds to be true."""


def _steps(ledger: Ledger, fair_share: bool) -> Iterator[tuple[str, Callable[[], Iterator[Wrong]]]]:
    """List all that is to be done, in an order that puts what explains the most first."""
    yield "the chain of batches", partial(numbering.batches, ledger)
    yield "numbers and times", partial(numbering.events, ledger)
    for first, last in ledger.task_stretches():
        span = f"task_id between {first} and {last}"
        words = f"tasks of {ledger.name(first >> NUMBER_BITS)} from #{number_of(first):,} on"
        yield f"steps of {words}", partial(legality.steps, ledger, span)
        yield f"waits of {words}", partial(waits.of_tasks, ledger, span)
        yield f"rows of {words}", partial(derived.finished_rows, ledger, span)
    yield "holds", partial(legality.holds, ledger)
    yield "ramps and caps", partial(legality.throttles, ledger)
    yield "published rows", partial(derived.live_rows, ledger)
    for no, name in ledger.businesses():
        yield f"services of {name}", partial(legality.services, ledger, name)
        yield f"turns in {name}", partial(turns.in_order, ledger, no, name, fair_share)
    yield "the console's own pauses", partial(legality.console, ledger)
    yield "depths", partial(waits.depths, ledger)
    yield "schedules", partial(occurrences.schedules, ledger)
    yield "blackout windows", partial(occurrences.blackouts, ledger)
    yield "runs that wait", partial(occurrences.one_waiting_run, ledger)
    yield "rollups", partial(derived.charts, ledger)
    yield "audit rows", partial(numbering.audit_rows, ledger)
