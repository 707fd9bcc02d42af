"""What one person sees: every read that a page makes, by his grants, of one snapshot. The one door for reads.

A `Sight` is made anew for each run and refresh, of grants that were looked up just then, and refuses what these do not
cover. What belongs to a business as a whole, its processors, is shown to whoever sees but a site as counts: nowhere
under its name. That something is held everybody sees; who holds it and why is for those who keep the place going
(`masks`). The `Watch` behind it keeps what all sessions share. Instants in rows are integer microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from . import (
    activity,
    bulk,
    history,
    hosts,
    inventory,
    live,
    standing,
    timetable,
    undo,
)
from .activity import Reach
from .bulk import Preview, Verb
from .catalogue import LIVE_TABS, Asked, Counts, Page
from .chain import Broken
from .errors import GivenUp, NotAllowed, NotFound
from .fairness import Given, Lens
from .filters import Filter
from .history import Recent
from .hosts import Day, Host
from .inventory import Found
from .lanes import SERVES, lane_of
from .ledger import ReportResult, TaskRow
from .lifecycle import (
    ANALYSED,
    KIND,
    STATUS,
    SYSTEM_KINDS,
    Kind,
    Outcome,
    Tab,
    result_site,
    tab,
    task_label,
)
from .live import Listing
from .living import Place
from .masks import A_PROCESSOR, SOMEBODY, masked, of_system
from .pausing import Pauses
from .proof import Check
from .roles import Grants, Right, may, may_somewhere, require
from .snapshot import BlackoutLook, HoldLook, Numbers, ServiceLook, Waits
from .standing import Schedule, View
from .task import COLLECT
from .timetable import Past, Planned, Timetable
from .undo import Undo
from .watch import Judged, Quiet, Watch, plain
from .wording import GRADUALLY


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a task is, among all tasks."""

    business: str
    site: str
    tab: Tab
    hidden: bool
    system: bool


@dataclass(frozen=True, slots=True)
class Hosts:
    """A site's hosts and its business's processors, the latter all of one name where theirs are not to be seen."""

    own: Sequence[Host]
    processors: Sequence[Host]
    processing: Day  #: the day of all processors together
    named: bool  #: whether processors go under their names
    archive: bool  #: whether the site is one of imported history: nothing can run there


class Sight:
    """What somebody of this name with these grants sees of the snapshot that was current when this was made.

    What may take long, counts, pages and files of tasks, is left off once `gone` tells that he does not wait for it any
    more: then `leave` is called, and if that returns, GivenUp raised.
    """

    def __init__(
        self, watch: Watch, grants: Grants, name: str = "", gone: Callable[[], bool] | None = None,
        leave: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._watch, self._grants, self._name = watch, grants, name
        self._gone, self._leave = gone, leave
        self.snapshot = watch.engine.snapshot
        self.pulse = watch.engine.pulse

    def _see(self, business: str, site: str | None) -> None:
        require(self._grants, Right.SEE, business, site)

    def _names_processors(self, business: str) -> bool:
        return may(self._grants, Right.SEE, business, None)

    def _reasons(self, business: str, site: str) -> bool:
        return may(self._grants, Right.REASONS, business, site)

    def places(self) -> list[tuple[str, str]]:
        """List the sites that may be seen: business and site."""
        return sorted(place for place in self.snapshot.zones if may(self._grants, Right.SEE, *place))

    def listing(self, business: str, site: str, **asked: Any) -> Listing:
        """List a page of a site's queue; `asked` is what `live.listing` takes."""
        self._see(business, site)
        named = None if self._names_processors(business) else A_PROCESSOR
        found = live.listing(self.snapshot, business, site, processors=named, **asked)
        return replace(found, rows=self._rows(found.rows, business, site))

    def place(self, business: str, site: str | None = None) -> Place:
        """Tell where to look for tasks: at a site, or at all of a business's sites that may be seen."""
        sites: tuple[str, ...] = () if site is None else (site,)
        if site is None and not self._names_processors(business):
            sites = tuple(place[1] for place in self.places() if place[0] == business)
        for each in sites or (None,):
            self._see(business, each)
        return Place(business, sites, None if self._names_processors(business) else A_PROCESSOR)

    def counts(self, place: Place, asked: Asked) -> Counts:
        """Count the tasks asked for, tab by tab; `place` is one that `place` gave."""
        with self._while_awaited():
            return self._watch.catalogue.counts(self.snapshot, self._seen(place), asked, self._now)

    def page(self, place: Place, asked: Asked, at: Tab | None, **cut: Any) -> Page:
        """Give a page of a tab, or (None) of whatever has ended; `cut` is what `Catalogue.page` takes.

        Live rows have besides: host, of the present stage, and for who waits place, of and why.
        """
        with self._while_awaited():
            page = self._watch.catalogue.page(self.snapshot, self._seen(place), asked, self._now, at, **cut)
        return self._shown(place, page, at in LIVE_TABS)

    def together(self, place: Place, asked: Asked, tabs: Collection[Tab], **cut: Any) -> Page:
        """Give a page of several tabs in one order, as `page` gives one; `cut` is what `Catalogue.together` takes."""
        with self._while_awaited():
            page = self._watch.catalogue.together(self.snapshot, self._seen(place), asked, self._now, tabs, **cut)
        return self._shown(place, page, any(at in LIVE_TABS for at in tabs))

    def _shown(self, place: Place, page: Page, live_ones: bool) -> Page:
        rows = page.rows
        if live_ones and rows.height:
            told = live.rows(self.snapshot, place.business, rows["task_id"].to_list())
            reasons = all(self._reasons(place.business, site) for site in rows["site"].unique())
            told = self._told(told, place.business, reasons).select("task_id", "host", "place", "of", "why")
            rows = rows.join(told, on="task_id", how="left", maintain_order="left")
        return replace(page, rows=plain(rows))

    def matching(self, place: Place, asked: Asked, tabs: Collection[Tab]) -> pl.DataFrame:
        """List all tasks asked for in some tabs, for an action on them; see `Catalogue.matching`."""
        return self._watch.catalogue.matching(self.snapshot, self._seen(place), asked, self._now, tabs)

    def names(self, place: Place) -> Mapping[str, list[str]]:
        """List the words that complete a filter at a place, by key."""
        place = self._seen(place)
        sites = [site for business, site in self.places() if business == place.business]
        return {**self._watch.names(place), "site": sites}

    def in_flight(self, business: str, site: str, kind: Kind, targets: Collection[str]) -> dict[str, str]:
        """Tell which of the targets have an unfinished task of the type at the site: by target, its label."""
        self._see(business, site)
        rows = self.snapshot.tasks("number", "kind", "business", "site", "target")
        here = rows.filter(
            pl.col("business") == business, pl.col("site") == site, pl.col("kind") == kind,
            pl.col("target").is_in(pl.Series(targets, dtype=pl.String).implode()),
        )  # fmt: skip
        return {target: task_label(kind, number) for target, number in here.select("target", "number").rows()}

    def able(self, business: str, site: str, kind: Kind) -> list[str]:
        """List the site's services that could run a task of the type."""
        roles = SERVES[lane_of(kind, COLLECT)]
        return [look.name for look in self.services(business, site) if look.role in roles]

    def those(self, place: Place, task_ids: Collection[int]) -> pl.DataFrame:
        """List some tasks of a place, for an action on them; see `Catalogue.those`."""
        return self._watch.catalogue.those(self.snapshot, self._seen(place), task_ids)

    def ended_tasks(self, place: Place, asked: Asked, most: int) -> pl.DataFrame:
        """Give all ended tasks asked for, so many at most; see `Catalogue.ended`."""
        with self._while_awaited():
            return self._watch.catalogue.ended(self.snapshot, self._seen(place), asked, self._now, most)

    def stopped_by(self, place: Place, rows: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
        """Tell who stopped those of the rows, of a page, that somebody stopped."""
        place = self._seen(place)
        stopped = {
            row["task_id"]: row["finished_at"] for row in rows
            if row["outcome"] == Outcome.STOPPED and row["business"] == place.business
            and (not place.sites or row["site"] in place.sites)
        }  # fmt: skip
        return history.stopped_by(self._watch.engine.store, stopped) if stopped else {}

    def where(self, task_id: int) -> Spot | None:
        """Tell where a task is, if it may be seen; None as if there were none."""
        living = self.snapshot.live(task_id)
        if living is not None:
            row: Mapping[str, Any] = living[0]._asdict()
        else:
            row = next(history.task(self._watch.engine.store, task_id).iter_rows(named=True), {})
        business, site = row.get("business"), row.get("site")
        if not (business and site and may(self._grants, Right.SEE, business, site)):
            return None
        at = tab(STATUS[row["status"]], row["queued_at"] is not None)
        return Spot(business, site, at, row["hidden"], KIND[row["kind"]] in SYSTEM_KINDS)

    @contextmanager
    def _while_awaited(self) -> Iterator[None]:
        try:
            with nullcontext() if self._gone is None else self._watch.engine.store.unless(self._gone):
                yield
        except GivenUp:
            self._leave()
            raise

    @property
    def _now(self) -> int:
        return max(self._watch.engine.now, self.snapshot.now)

    def _seen(self, place: Place) -> Place:
        """Check a place anew, whoever made it."""
        for site in place.sites or (None,):
            self._see(place.business, site)
        return replace(place, processors=None if self._names_processors(place.business) else A_PROCESSOR)

    def tasks(self, business: str, site: str, task_ids: Collection[int]) -> list[dict[str, Any]]:
        """Give those of the tasks that are in the site's queue, as a listing has them."""
        self._see(business, site)
        if not task_ids:
            return []
        rows = live.rows(self.snapshot, business, task_ids).filter(pl.col("site") == site)
        return self._rows(rows, business, site).to_dicts()

    def task(self, business: str, site: str, task_id: int) -> dict[str, Any] | None:
        """Give an unfinished task of the site, due or not: the columns of the table task and those of a listing."""
        self._see(business, site)
        found = self.snapshot.live(task_id)
        if found is None or (found[0].business, found[0].site) != (business, site):
            return None
        row, told = found[0]._asdict(), self.tasks(business, site, [task_id])
        if told:
            return row | told[0]
        if not self._names_processors(business) and row["kind"] in SYSTEM_KINDS and row["requested_service"]:
            row["requested_service"] = A_PROCESSOR
        not_yet = dict.fromkeys(("collecting", "processing", "host", "place", "of", "why"))
        return row | not_yet | {"task": task_label(row["kind"], row["number"]), "word": "Scheduled"}

    def ended(self, business: str, site: str, task_id: int) -> dict[str, Any] | None:
        """Give a task of the site that has ended, as the table task has it; None where there is none."""
        self._see(business, site)
        rows = history.task(self._watch.engine.store, task_id)
        rows = rows.filter(pl.col("business") == business, pl.col("site") == site)
        if not self._names_processors(business):
            rows = rows.with_columns(
                processor=masked("processor", pl.lit(True)),
                requested_service=masked("requested_service", of_system()),
            )
        return next(iter(plain(rows).to_dicts()), None)

    def timeline(self, business: str, site: str, task_id: int) -> list[dict[str, Any]]:
        """Tell the life of a task of the site, step by step; see `history.timeline`. Of any other, nothing."""
        self._see(business, site)
        steps = self._watch.timeline(task_id, self.snapshot)
        steps = steps.filter(pl.col("business") == business, pl.col("site") == site)
        names = [s.name for s in self.snapshot.services if (s.business, s.site) == (business, None)]
        if names and not self._names_processors(business):
            processing = pl.col("service").is_in(names)  # by name: who stops may have been at either stage
            itself = processing & (pl.col("actor") == pl.col("service"))
            asked = pl.col("why").str.contains("requested_service: ", literal=True)
            alike = pl.col("why").str.replace_many(names, [A_PROCESSOR] * len(names))
            steps = steps.with_columns(
                service=masked("service", processing),
                actor=masked("actor", itself),
                why=pl.when(asked).then(alike).otherwise("why"),
            )
        return plain(steps).to_dicts()

    def settings(self, business: str, site: str, task_id: int, created_at: int) -> Mapping[str, Any]:
        """Tell with what a task of the site was submitted besides what its row says; of any other, nothing."""
        self._see(business, site)
        event = self._watch.submission(task_id, created_at)
        if event is None or (event.business, event.site) != (business, site):
            return {}
        return {name: value for name, value in (event.detail or {}).items() if name not in TaskRow._fields}

    def waits(self, business: str, site: str, task_id: int) -> Waits:
        """Tell for what an unfinished task of the site has waited up to now; of any other, nothing."""
        self._see(business, site)
        live = self.snapshot.live(task_id)
        if live is None or (live[0].business, live[0].site) != (business, site):
            return Waits({}, 0, 0)
        return self.snapshot.waits(task_id, max(self._watch.engine.now, self.snapshot.now))

    def judged(self, business: str, site: str, zone: str) -> Judged:
        """Judge a site, and its business's processing, in words of the zone."""
        self._see(business, site)
        named, reasons = self._names_processors(business), self._reasons(business, site)
        return self._watch.judged(business, site, zone, named, reasons)

    def numbers(self, business: str, site: str | None) -> Numbers:
        """Count a site's tasks, or (None) a business's, by where they stand."""
        self._see(business, site)
        return self.snapshot.numbers.get((business, site), Numbers())

    def recent(self, business: str, site: str) -> Recent:
        """Follow the site's queue over the last hours."""
        self._see(business, site)
        return self._watch.usual.recent(self._watch.engine.now, business, site, snapshot=self.snapshot)

    def usual(self, business: str, site: str) -> dict[str, float | None]:
        """Give what is usual at this hour of the site's week: queued_low, queued_high, oldest_s_low …"""
        self._see(business, site)
        zone = self.snapshot.zones.get((business, site), "UTC")
        return self._watch.usual.now(self._watch.engine.now, business, site, zone=zone)

    def quiet(self, business: str, site: str) -> Quiet:
        """Tell what happened last at a site and what comes next."""
        self._see(business, site)
        return self._watch.quiet(business, site)

    def services(self, business: str, site: str | None) -> list[ServiceLook]:
        """List a site's own services, or a business's processors (no site)."""
        self._see(business, site)
        return [s for s in self.snapshot.services if (s.business, s.site) == (business, site)]

    def hosts(self, business: str, site: str) -> Hosts:
        """Tell how a site's hosts and its business's processors stand, and how they did over the last 24 hours."""
        self._see(business, site)
        use, named, heard = self._watch.use(business), self._names_processors(business), self._watch.engine.heard
        own = hosts.standing(self.snapshot, heard, use.days, business, site)
        processors = hosts.standing(self.snapshot, heard, use.days, business, None)
        if not named:
            processors = [replace(host, look=replace(host.look, name=A_PROCESSOR)) for host in processors]
        return Hosts(own, processors, use.processing, named, site in use.archives)

    def at_work(self, business: str, site: str) -> dict[str, list[dict[str, Any]]]:
        """List by host what a site's hosts are at work on, and its business's processors where they go by name.

        A task is as `live.at_work` has it. Whoever sees processors by name sees every site that they work for.
        """
        self._see(business, site)
        named = self._names_processors(business)
        homes = (site, None) if named else (site,)
        found: dict[str, list[dict[str, Any]]] = {
            s.name: [] for s in self.snapshot.services if s.business == business and s.site in homes
        }
        for task in live.at_work(self.snapshot, business).to_dicts():
            if task["host"] in found:
                found[task["host"]].append(task)
        return found

    def changes(self, business: str, site: str, name: str) -> list[dict[str, Any]]:
        """Tell what befell a host of the site, or a processor that goes by name; see `hosts.changes`. Else nothing."""
        self._see(business, site)
        homes = (site, None) if self._names_processors(business) else (site,)
        here = (s for s in self.snapshot.services if (s.business, s.name) == (business, name) and s.site in homes)
        look = next(here, None)
        return self._watch.changes(look) if look is not None else []

    def schedules(self, business: str, site: str) -> list[Schedule]:
        """List a site's schedules as they stand."""
        self._see(business, site)
        return standing.schedules(self._watch.engine.store, business, site)

    def holds(self, business: str, site: str) -> list[HoldLook]:
        """List the holds in force over a site."""
        self._see(business, site)
        over = [
            h for h in self.snapshot.holds if h.in_force and h.business in (None, business) and h.site in (None, site)
        ]
        return over if self._reasons(business, site) else [replace(h, reason=None, actor=SOMEBODY) for h in over]

    def blackouts(self, business: str, site: str) -> list[BlackoutLook]:
        """List the blackout windows of a site by name; why there is one is for those who keep the place going."""
        self._see(business, site)
        here = [w for w in self.snapshot.blackouts if (w.spec.business, w.spec.site) == (business, site)]
        if not self._reasons(business, site):
            here = [replace(w, spec=replace(w.spec, reason="")) for w in here]
        return sorted(here, key=lambda one: one.spec.name)

    def pauses(self, business: str | None) -> Pauses:
        """Tell what holds keep, and what others would, in a business or (None) on the platform: to who pauses there."""
        require(self._grants, Right.HOLD, business, None)
        return Pauses(
            self.snapshot, self._watch.engine.store, self._watch.standing(business, self.snapshot), business, self._now
        )

    def fairness(self, business: str, site: str | None, period: str) -> Lens:
        """Tell who used the services in a period and who waited, at a site or (None) at all that may be seen.

        Some time old: the longer it takes to add up, the longer it serves. Who works at other sites only is not named.
        """
        return self._watch.lens(self.place(business, site), period)

    def given(self, business: str, site: str | None, period: str, owner: str) -> Given:
        """Tell what pausing a user whom `fairness` names would have given back to the others there.

        Of who is not named there, nothing: NotFound, in the same words whether there is such a user elsewhere or not.
        """
        place = self.place(business, site)
        seen = self._watch.lens(place, period)
        if not any(one.user and one.who == owner for one in seen.shares):
            raise NotFound("No such user had tasks here in the period")
        return self._watch.given(place, period, seen, owner)

    def archives(self, business: str) -> list[str]:
        """Name the sites of imported history that may be seen in a business."""
        return [site for site in self._watch.archives(business) if may(self._grants, Right.SEE, business, site)]

    def people(self, business: str) -> list[str]:
        """Name whom a business knows beside the owners of unfinished tasks: its accounts, and owners in its history."""
        require(self._grants, Right.HOLD, business, None)
        accounts = standing.people(self._watch.engine.store, business)
        return list(dict.fromkeys([*accounts, *self._watch.names(Place(business)).get("user", ())]))

    def views(self, business: str) -> list[View]:
        """List the views kept for a business by name: one's own and those shared with it."""
        if not may_somewhere(self._grants, Right.SEE, business):
            self._see(business, None)
        return standing.views(self._watch.engine.store, self._name, self._grants, business)

    def view(self, view_id: str) -> View:
        """Give the view of a link; raise NotFound, in the same words, for one that is not there or not shared."""
        found = standing.view(self._watch.engine.store, self._name, self._grants, view_id)
        if found is None:
            raise NotFound("There is no such view, or it is not shared with you")
        return found

    def preview(self, verb: Verb, tasks: pl.DataFrame) -> Preview:
        """Freeze what an action over tasks that were listed here would touch; see `bulk.preview`."""
        return bulk.preview(verb, tasks, self._operates)

    def finished(self, task_ids: Collection[int]) -> dict[int, TaskRow]:
        """Give the rows of those of the tasks that have ended, for a command; none of those that one may not change."""
        rows = history.finished(self._watch.engine.store, task_ids)
        return {task_id: row for task_id, row in rows.items() if self._operates(row.business, row.site or "")}

    def longest_waits(self, rows: Mapping[int, TaskRow]) -> dict[int, int]:
        """Give the longest waits of rows that `finished` gave, of those that have one."""
        mine = {task_id: row for task_id, row in rows.items() if self._operates(row.business, row.site or "")}
        return history.longest_waits(self._watch.engine.store, mine)

    def undo(self, request: str) -> Undo:
        """Make what takes a request back, as far as one may change what it changed; see `undo.undo`."""
        return undo.undo(self._watch.engine.store, request, self._operates)

    def _operates(self, business: str, site: str) -> bool:
        return may(self._grants, Right.OPERATE, business, site)

    def assets(self, business: str, site: str, **asked: Any) -> Found:
        """List a page of a site's assets; `asked` is what `inventory.listing` takes."""
        self._see(business, site)
        engine = self._watch.engine

        def make() -> Found:
            found = inventory.listing(engine.store, business, site, **asked)
            return replace(found, rows=plain(found.rows))

        return self._watch.assets.get((business, site, *sorted(asked.items())), engine.now, make)

    def reports_at_work(self, business: str, site: str) -> list[dict[str, Any]]:
        """List the reports and outlier calculations under way whose results can be seen here, as a listing has them."""
        self._see(business, site)
        rows = live.system_tasks(self.snapshot, business, ANALYSED)
        tasks = self._rows(rows, business, site).to_dicts()
        of = [result_site(task["kind"], task["name"], task["site"]) for task in tasks]
        return [task for task, place in zip(tasks, of, strict=True) if self._result_seen(site, business, place)]

    def results(self, business: str, site: str) -> list[dict[str, Any]]:
        """List what reports have found at the site, and of the business as a whole where that is seen; newest first."""
        self._see(business, site)
        engine, whole = self._watch.engine, may(self._grants, Right.SEE, business, None)
        return self._watch.results.get(
            (business, site, whole), engine.now,
            lambda: plain(inventory.results(engine.store, business, [site], whole=whole)).to_dicts(),
        )

    def result(self, business: str, site: str, task_id: int) -> ReportResult | None:
        """Give what a task of the site, or one on the whole business, has found; None where nothing is to be seen."""
        there = self.has_result(business, site, task_id)
        return inventory.result(self._watch.engine.store, task_id) if there else None

    def has_result(self, business: str, site: str, task_id: int) -> bool:
        """Tell whether `result` has something to give."""
        self._see(business, site)
        place = inventory.result_place(self._watch.engine.store, task_id)
        return place is not None and place[0] == business and self._result_seen(site, business, place[1])

    def _result_seen(self, site: str, business: str, of: str | None) -> bool:
        return of == site or (of is None and may(self._grants, Right.SEE, business, None))

    def timetable(self, business: str, site: str) -> Timetable:
        """Tell what the site's schedules did and will do, some seconds old; next fires lie in the future all the same.

        The runs of a schedule are those that had ended by then, and those that go on.
        """
        self._see(business, site)
        made, now = self._watch.timetable(business, site), self._watch.engine.now
        return replace(made, planned=[_still_to_come(one, now) for one in made.planned])

    def past(self, business: str, site: str, schedule_id: int) -> Past:
        """Tell what one schedule of the site was and did, with the runs that go on; of any other, nothing."""
        self._see(business, site)
        known = self._watch.past(business, site, schedule_id)
        going = timetable.unfinished(self.snapshot, business, site, schedule_id).sort("created_at", descending=True)
        ran = {step["run"]["task_id"] for step in known.steps if "run" in step}
        fresh = [{"run": run} for run in going.iter_rows(named=True) if run["task_id"] not in ran]
        return replace(known, steps=timetable.capped([*fresh, *known.steps]))

    def runs(self, business: str, site: str, schedule_id: int) -> list[dict[str, Any]]:
        """List the last runs of one schedule of the site, newest first, some seconds old; see `timetable.runs`.

        The schedule may be gone: its runs stay. Of any other site's, nothing.
        """
        self._see(business, site)
        return self._watch.runs(business, site, schedule_id)

    def scheduled(self, business: str, site: str) -> list[dict[str, Any]]:
        """List the site's tasks that are to come once, the next ones first; see `timetable.scheduled`."""
        self._see(business, site)
        rows = timetable.scheduled(self.snapshot, business, site)
        if not self._names_processors(business):
            rows = rows.with_columns(requested_service=masked("requested_service", of_system()))
        return rows.to_dicts()

    # --- the audit trail

    def reach(self) -> Reach:
        """Tell which rows of the audit trail may be read; raise NotAllowed where none may."""
        reach = Reach.of(self._grants)
        if reach.nothing:
            raise NotAllowed("You may not read the audit trail", right=Right.AUDIT.name)
        return reach

    def audit_counts(self, wanted: Filter) -> Mapping[str, int]:
        """Count the rows of the audit trail that a filter finds, by what they are about."""
        return self._watch.trail.counts(self.reach(), wanted, self._now)

    def audit(self, wanted: Filter, **cut: Any) -> activity.Page:
        """Give a page of the audit trail; `cut` is what `Trail.page` takes."""
        return self._watch.trail.page(self.reach(), wanted, self._now, **cut)

    def audit_names(self) -> Mapping[str, list[str]]:
        """List the words that complete a filter of the audit trail, by key."""
        return self._watch.audit_names(self.reach())

    def audit_entry(self, audit_id: int) -> dict[str, Any] | None:
        """Give one row with its before and after, and how many rows in reach its request made; see `Trail.entry`.

        Batches are numbered over the whole platform: they are for whoever sees all of it.
        """
        reach = self.reach()
        row = self._watch.trail.entry(reach, audit_id)
        if row is None:
            return None
        told = {
            "batch": row["batch"] if reach.everything else None,
            "of_request": self._watch.trail.of_request(reach, row["request"]) if row["request"] else 0,
        }
        hidden = self._hidden_hosts(row["business"])
        return row | told | {side: activity.unnamed(row[side], hidden, A_PROCESSOR) for side in ("before", "after")}

    def audit_export(self, wanted: Filter, about: str | None, most: int) -> pl.DataFrame:
        """Give the newest rows that a filter finds, so many at most, with before and after as JSON."""
        with self._while_awaited():
            rows = self._watch.trail.all(self.reach(), wanted, self._now, about=about, most=most)
        masked = {name: self._hidden_hosts(name) for name in rows["business"].drop_nulls().unique()}
        if not any(masked.values()):
            return rows
        sides = [
            pl.Series(side, [
                activity.unnamed_text(text, masked.get(business, frozenset()), A_PROCESSOR)
                for business, text in rows.select("business", side).rows()
            ], dtype=pl.String)
            for side in ("before", "after")
        ]  # fmt: skip
        return rows.with_columns(sides)

    def audited(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Tell what is called what rows of the audit trail name by a number, as far as one may see it."""
        ids: dict[str, set[int]] = {"task": set(), "schedule": set(), "blackout": set()}
        for row in rows:
            if row["object_kind"] in ids and row["object_number"] is not None:
                ids[row["object_kind"]].add(int(row["object_id"]))
        living = [found[0] for task_id in ids["task"] if (found := self.snapshot.live(task_id)) is not None]
        named = {task.task_id: activity.Named(task_label(task.kind, task.number), task.business, task.site)
                 for task in living}  # fmt: skip
        named |= self._watch.trail.tasks(ids["task"].difference(named))
        named |= self._watch.trail.schedules(ids["schedule"]) | self._watch.trail.blackouts(ids["blackout"])
        return {
            str(an_id): found.name for an_id, found in named.items()
            if may(self._grants, Right.SEE, found.business, found.site)
        }  # fmt: skip

    def _hidden_hosts(self, business: str | None) -> frozenset[str]:
        """Name a business's processors, where they are not to be seen by their names."""
        if business is None or self._names_processors(business):
            return frozenset()
        return frozenset(s.name for s in self.snapshot.services if (s.business, s.site) == (business, None))

    def check(self) -> Check | None:
        """Tell how the check of the chain goes on, or what the last one found.

        Batches are numbered over the whole platform, and what is broken may be another's: where it is, is for whoever
        sees all of it.
        """
        reach, found = self.reach(), self._watch.proof.last
        if found is None or reach.everything:
            return found
        broken = found.broken and Broken(0, "a platform admin sees where")
        failed = found.failed and "it came to no end; a platform admin sees why"
        part = round(100 * found.done / max(found.upto, 1))
        return replace(found, by=SOMEBODY, done=part, upto=100, broken=broken, failed=failed)

    def begin_check(self) -> None:
        """Begin a check of the chain, unless one goes on."""
        self.reach()
        self._watch.proof.begin(self._name)

    def _rows(self, rows: pl.DataFrame, business: str, site: str) -> pl.DataFrame:
        return plain(self._told(rows, business, self._reasons(business, site)))

    def _told(self, rows: pl.DataFrame, business: str, reasons: bool) -> pl.DataFrame:
        if not reasons:
            held = pl.col("held_by").is_not_null()
            gradually = pl.col("why").str.starts_with(GRADUALLY)
            rows = rows.with_columns(
                why=pl.when(held).then(pl.lit("Held"))
                .when(gradually).then(pl.format(f"{GRADUALLY}, no. {{}} of {{}}", "place", "of"))
                .otherwise("why")
            )  # fmt: skip
        if not self._names_processors(business):
            at_work = pl.col("processing_started_at").is_not_null()
            rows = rows.with_columns(
                processor=masked("processor", pl.lit(True)),
                host=masked("host", at_work),
                requested_service=masked("requested_service", of_system()),
            )
        return rows


def _still_to_come(one: Planned, now: int) -> Planned:
    """Look again when a schedule fires next, where that has passed."""
    if one.next_at is None or one.next_at > now:
        return one
    return replace(one, next_at=one.schedule.spec.rule.next_after(now))
