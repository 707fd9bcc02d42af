"""Tasks by filter, as the command line asks for them: listed in parts, counted, written as SQL, acted on.

The same catalogue and the same bulk actions as the page Tasks. Whoever asks can read the data folder, so that nothing
is hidden from him. What he asks and what he is told is plain data that goes through a socket; between the preview of an
action and its carrying out it is the asker who keeps the frozen tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import polars.selectors as cs

from . import bulk, history
from .bulk import Done, Preview, Verb
from .catalogue import TABS, Asked, Catalogue, Key
from .errors import DrainboardError, NotFound, Refused
from .filters import Filter, both, parse
from .lifecycle import SYSTEM_KINDS, Tab
from .living import Place
from .messages import Action, Command, Outcome
from .runtime import Engine, policy_of, rebuild
from .settings import Settings
from .snapshot import Publisher, Snapshot
from .store import Store
from .tables import clean
from .undo import Undo, undo

AT_A_TIME = 2_000  #: rows of one answer: a console must not be kept from its work by who lists millions
ANSWERED_WITHIN = 60.0  #: seconds in which a command should be durable
SHOWN = 5  #: of users, sites and reasons; the rest is counted


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to all tasks that a filter finds in some tabs."""

    verb: Verb
    tabs: tuple[Tab, ...]  #: where it looks unless told otherwise
    help: str
    to: str  #: "{n} tasks to {to}"
    does: str
    done: str
    reason: bool = True  #: whether it is done for a reason
    undone: bool = False  #: whether it can be undone

    def wanted(self, filter: Filter) -> Filter:
        """Narrow a filter down to what can be meant."""
        return both(filter, parse("hidden:yes", filter.zone)) if self.verb is Verb.RESTORE else filter


ACTS = {
    "stop": Act(
        Verb.STOP, (Tab.ACTIVE, Tab.PROCESSING), "stop tasks that wait or run", "stop",
        "What waits is stopped at once; what runs is asked to stop, and what it has collected stays.",
        "stopped or asked to stop",
    ),
    "rerun": Act(
        Verb.RERUN, (Tab.FAILED,), "submit failed and stopped tasks again", "submit again",
        "Each is submitted once more as it was; the old one stays as it is.", "submitted again",
    ),
    "priority": Act(
        Verb.EDIT, (Tab.ACTIVE, Tab.SCHEDULED), "move New tasks in the line", "move in the line",
        "Only New tasks can still be moved in the line.", "moved in the line", undone=True,
    ),
    "delete": Act(
        Verb.DELETE, (Tab.ACTIVE, Tab.SCHEDULED), "take New tasks out of the queue", "take out of the queue",
        "New tasks are taken out of the queue; what runs is left alone.", "deleted", undone=True,
    ),
    "hide": Act(
        Verb.DELETE, (Tab.FAILED, Tab.COMPLETED), "hide ended tasks from lists", "hide",
        "They are left out of lists, and stay in the history.", "hidden", undone=True,
    ),
    "unhide": Act(
        Verb.RESTORE, (Tab.FAILED, Tab.COMPLETED), "list hidden tasks again", "list again",
        "Hidden tasks are listed again, deleted ones queue again while they can.", "shown again", reason=False,
    ),
}  # fmt: skip


class Wanted(NamedTuple):
    """Which tasks are meant, in words: as the command line has them."""

    filter: str
    zone: str = "UTC"
    business: str | None = None
    site: str | None = None
    tabs: Sequence[str] = ()
    system: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """A store with the snapshot of it that is asked, and the engine that runs on it, if one does."""

    store: Store
    catalogue: Catalogue
    snapshot: Snapshot
    now: int
    actor: str
    engine: Engine | None = None

    def rows(
        self, wanted: Wanted, sort: str | None, most: int, after: str | None = None, as_of: int | None = None
    ) -> dict[str, Any]:
        """List tasks in the order of a column (downwards with a minus before it), after those of an earlier answer.

        `next` and `now` are what the next question takes for `after` and `as_of`.
        """
        asked, places, now = _asked(wanted), self._places(wanted), self.now if as_of is None else as_of
        down = sort is not None and sort.startswith("-")
        rows, key = self.catalogue.rows(
            self.snapshot, places, asked, now, _tabs(wanted, TABS), sort=sort.lstrip("-") if sort else None,
            descending=down, after=None if after is None else Key.of(after), most=min(most, AT_A_TIME),
        )  # fmt: skip
        return {
            "rows": rows.with_columns(cs.datetime().dt.epoch("us")).to_dicts(), "now": now,
            "next": None if key is None else key.token(), "businesses": len(places),
        }  # fmt: skip

    def counts(self, wanted: Wanted) -> dict[str, Any]:
        """Count tasks exactly: by tab, and how many system tasks and hidden ones are left out."""
        asked, tabs = _asked(wanted), _tabs(wanted, TABS)
        found = [self.catalogue.counts(self.snapshot, place, asked, self.now) for place in self._places(wanted)]
        by_tab = {t.value: sum(counts.tabs[t] for counts in found) for t in tabs}
        system = 0 if asked.with_system else sum(counts.system[t] for counts in found for t in tabs)
        hidden = 0 if asked.with_hidden else sum(counts.hidden[t] for counts in found for t in tabs)
        return {"tabs": by_tab, "total": sum(by_tab.values()), "system_left_out": system, "hidden_left_out": hidden}

    def sql(self, wanted: Wanted) -> str:
        """Write the query that finds the same."""
        asked, places = _asked(wanted), self._places(wanted)
        filter, tabs = asked.filter, _tabs(wanted, TABS)
        also = [f"tab:{','.join(tabs)}"] if len(tabs) < len(TABS) else []
        also += [] if asked.with_system else [f"-type:{','.join(sorted(kind.value for kind in SYSTEM_KINDS))}"]
        also += [] if asked.with_hidden else ["hidden:no"]
        for words in also:
            filter = both(filter, parse(words, wanted.zone))
        business = places[0].business if len(places) == 1 else None
        return filter.shown_sql(self.now, business, [wanted.site] if wanted.site else [])

    def preview(self, name: str, wanted: Wanted) -> Preview:
        """Freeze what an action would touch of what a filter finds at one business."""
        act = ACTS[name]
        filter = act.wanted(parse(wanted.filter, wanted.zone))
        places = self._places(wanted)
        if len(places) > 1:
            names = ", ".join(place.business for place in places)
            raise Refused(f"There are {len(places)} businesses ({names}); say with --business which one is meant")
        asked, tabs = Asked(filter, wanted.system, wanted.hidden), _tabs(wanted, act.tabs)
        found = self.catalogue.matching(self.snapshot, places[0], asked, self.now, tabs)
        return bulk.preview(act.verb, found)

    def carry_out(
        self, name: str, frozen: Iterable[tuple[int, int, bool]], request: str, reason: str | None, priority: int | None
    ) -> Done:
        """Do to the tasks of a preview what was previewed."""
        changes = None if priority is None else {"priority": priority}
        parts = bulk.parts(
            Preview.of(ACTS[name].verb, frozen), lambda ids: history.finished(self.store, ids), reason=reason,
            changes=changes,
        )  # fmt: skip
        return bulk.carry_out(parts, request, self.do)

    def undo(self, request: str) -> Undo:
        """Tell what would take a request back."""
        return undo(self.store, request)

    def take_back(self, request: str, new_request: str) -> Done:
        """Undo a request, as far as what it changed stands as it left it."""
        back = self.undo(request)
        done = bulk.carry_out(back.parts, new_request, self.do)
        done.skipped += back.left
        return done

    def do(self, action: Action, request: str) -> Outcome:
        """Have a command carried out, and tell what came of it once it is durable and shown; faults as refusals."""
        if self.engine is None:
            raise Refused("This needs a running console")
        try:
            return self.engine.ask(Command(request, self.actor, action), ANSWERED_WITHIN)
        except (DrainboardError, TimeoutError) as error:
            return Outcome(refused=str(error) or "The engine did not answer in time; look whether it happened")

    def _places(self, wanted: Wanted) -> list[Place]:
        known = list(self.snapshot.zones)
        businesses = sorted({business for business, _ in known})
        if not businesses:
            raise NotFound("There is no business yet, and so no task")
        if wanted.business is not None and wanted.business not in businesses:
            raise NotFound.named("business", wanted.business, businesses)
        meant = [wanted.business] if wanted.business is not None else businesses
        if wanted.site is None:
            return [Place(business) for business in meant]
        found = [Place(business, (wanted.site,)) for business in meant if (business, wanted.site) in known]
        if not found:
            what = "site" if wanted.business is None else f"site in {wanted.business}"
            raise NotFound.named(what, wanted.site, [site for business, site in known if business in meant])
        return found


def at_rest(store: Store, settings: Settings) -> Snapshot:
    """Make a snapshot of a store that no engine runs on: as it was when the last one stopped."""
    snapshot = Publisher(rebuild(store.recover(), policy_of(settings))).current
    return replace(snapshot, batch=store.batch, now=max(snapshot.now, store.clock))


def told(preview: Preview, name: str, wanted: Wanted) -> str:
    """Say what an action would touch: how many, whose, where, how many of them run, which are left and why."""
    act, left = ACTS[name], sum(n for _, n in preview.left)
    if not preview.count and not left:
        return f"No task matches in {', '.join(_tabs(wanted, act.tabs))}."
    n = f"{preview.count:,} {'task' if preview.count == 1 else 'tasks'}"
    facts = {
        "of": _some(preview.users),
        "at": _some((site or business, n) for business, site, n in preview.sites),
        "running": f"{preview.running:,}" if preview.running else "",
        "left": f"{left:,}: {_some(preview.left)}" if left else "",
    }
    lines = [f"{n} to {act.to}, as they stand now. {act.does}"]
    return "\n".join(lines + [f"  {what:<8} {fact}" for what, fact in facts.items() if fact])


def came_of_it(done: Done, name: str) -> str:
    """Say what came of an action."""
    said = f"{len(done.changed):,} {'taken back' if name == 'undo' else ACTS[name].done}."
    if done.skipped:
        said += f" {len(done.skipped):,} left as they were: {_some(done.whys.items())}."
    if done.refused:
        said += f" Refused: {done.refused}. {len(done.left):,} were not tried."
    return said


def _some(counts: Iterable[tuple[str, int]]) -> str:
    listed = list(counts)
    said = [f"{clean(name, 100)} ({n:,})" for name, n in listed[:SHOWN]]
    return ", ".join(said) + (f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else "")


def _asked(wanted: Wanted) -> Asked:
    return Asked(parse(wanted.filter, wanted.zone), wanted.system, wanted.hidden)


def _tabs(wanted: Wanted, otherwise: Sequence[Tab]) -> tuple[Tab, ...]:
    return tuple(t for t in TABS if t.value in wanted.tabs) or tuple(otherwise)
