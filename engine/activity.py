"""The audit trail as pages read it: who did what to what, newest first, filtered, counted exactly, page by page.

Every read is within a `Reach`, which follows from grants: rows beyond it are neither shown nor counted, nor can a
filter tell that they are there. Pages are cut by keys, so rows that come meanwhile move none from one page to another.
The table only grows: counts are moved on by what later batches brought, and while a count stands still its pages are
what they were, so that a refresh reads nothing anew.

A request may come in parts, `id`, `id/2`, `id/3` …; to the reader that is one request, under the first part's id. How
many parts there were is not told: some may lie beyond his reach. Instants in rows are integer microseconds.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import polars as pl
import polars.selectors as cs

from . import conditions as c
from . import filters
from .conditions import EARLIEST, LATEST, Condition
from .counted import Counted
from .errors import Invalid
from .filters import Field, Filter, Language
from .ledger import NUMBER_BITS
from .lifecycle import task_label
from .living import asked_at
from .roles import Grants, Right, may
from .store import Store

T = TypeVar("T")

MOST_ROWS = 200  #: a page has at most so many
MOST_NAMES = 100  #: that complete a key
_KEPT = 200  #: counts, and pages and rows, that are kept
_KEPT_TASKS = 10_000  #: names of tasks that are

CHANGED, SKIPPED = "changed", "skipped"

#: what an action is about: the chips over the trail, in their order
ABOUT = ("tasks", "holds", "schedules", "services", "users", "rest")

FIELDS: tuple[Field, ...] = (
    Field("actor", "word", ("actor",), "who did it", ("who", "user")),
    Field("action", "word", ("action",), "what was done, as in stop", ("what",)),
    Field("object", "word", ("object_kind",), "to what sort of object, as in task", ("kind",)),
    Field("id", "word", ("object_id",), "to which object, by its id or name"),
    Field("number", "number", ("object_number",), "to which object, by its number, as in Scan #123"),
    Field("outcome", "closed", ("result",), "whether it changed the object", values=(CHANGED, SKIPPED)),
    Field("when", "instant", ("occurred_at",), "when it was done", ("time", "at")),
    Field("reason", "text", ("reason",), "the reason given has this within"),
    Field("request", "word", ("request",), "the request that it was part of"),
    Field("site", "word", ("site",), "the site of the object"),
    Field("business", "word", ("home",), "its business"),
)
_SEARCHED = ("actor", "action", "object_kind", "object_id", "reason", "outcome")
_NAMED = {"actor": "actor", "action": "action", "object": "object_kind", "site": "site", "business": "business"}


def _somewhere(pattern: str) -> Condition:
    """Look for a text in a row; #12 and Scan #12 find an object by its number, too."""
    tests: list[Condition] = [c.Like(column, pattern, whole=False) for column in _SEARCHED]
    if found := re.fullmatch(r"(?:[^\W\d][^\d#]* ?)?#([0-9]{1,12})", pattern):
        tests.append(c.OneOf("object_number", (int(found[1]),)))
    return c.AnyOf(tuple(tests))


LANGUAGE = Language(FIELDS, _somewhere)


def parse(text: str, zone: str = "UTC") -> Filter:
    """Read a filter of the trail; raise InvalidFilter, which says what is wrong and where."""
    return filters.parse(text, zone, LANGUAGE)


def by_request(request: str) -> Filter:
    """Make the filter that finds what one request did, in all its parts."""
    return Filter(filters.Term("request", (c.folded(request),)), "UTC", LANGUAGE)


@dataclass(frozen=True, slots=True)
class Reach:
    """Which rows may be read: all, those of some businesses, those of some sites. What is of no business is for all."""

    everything: bool = False
    businesses: tuple[str, ...] = ()
    sites: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, grants: Grants) -> Reach:
        """Tell what somebody with these grants may read."""
        if may(grants, Right.AUDIT, None, None):
            return cls(everything=True)
        named = sorted({grant.business for grant in grants if grant.business is not None})
        whole = tuple(name for name in named if may(grants, Right.AUDIT, name, None))
        places = {(g.business, g.site) for g in grants if g.business not in (None, *whole) and g.site is not None}
        sites = sorted((b, s) for b, s in places if b is not None and may(grants, Right.AUDIT, b, s))
        return cls(False, whole, tuple(sites))

    @property
    def nothing(self) -> bool:
        return not (self.everything or self.businesses or self.sites)

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Write it as a test, and the parameters in that."""
        if self.everything:
            return "true", {}
        params: dict[str, Any] = {f"b{n}": name for n, name in enumerate(self.businesses)}
        tests = [f"business in ({', '.join(f'${name}' for name in params)})"] if params else []
        for n, (business, site) in enumerate(self.sites):
            params |= {f"sb{n}": business, f"ss{n}": site}
            tests.append(f"(business = $sb{n} and site = $ss{n})")
        return f"({' or '.join(tests) or 'false'})", params


class Cut(NamedTuple):
    """Where a page is cut: by when a row was made (µs), and its id."""

    occurred_at: int
    audit_id: int

    def token(self) -> str:
        """Write it for an address; `Cut.of` reads it."""
        return f"{self.occurred_at}.{self.audit_id}"

    @classmethod
    def of(cls, token: str) -> Cut | None:
        """Read a cut off an address; None where it is none."""
        found = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,18})", token)
        if found is None or not EARLIEST <= int(found[1]) <= LATEST:
            return None
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the trail: rows, how many stand before them, and where the next and the one before are cut."""

    rows: pl.DataFrame
    before: int
    next: Cut | None
    previous: Cut | None


class Named(NamedTuple):
    """What an object is called, and where it is."""

    name: str
    business: str
    site: str | None


_NUMBERED = "object_kind in ('task', 'schedule', 'hold', 'blackout', 'ramp')"
_NUMBER = f"if({_NUMBERED}, try_cast(object_id as bigint) & {(1 << NUMBER_BITS) - 1}, null)"
_SOURCE = f"""(
    select rowid as row_no, audit_id, batch, occurred_at, business, site, actor, action, object_kind, object_id,
           outcome, reason, if(outcome = '{CHANGED}', '{CHANGED}', '{SKIPPED}') as result, {_NUMBER} as object_number,
           business as home,
           if(contains(request_id, '/'), regexp_replace(request_id, '/[0-9]+$', ''), request_id) as request,
           case when action in ('hold', 'lift', 'release', 'cap', 'uncap') or object_kind = 'blackout' then 'holds'
                when object_kind = 'task' then 'tasks'
                when object_kind = 'schedule' then 'schedules' when object_kind = 'user' then 'users'
                when object_kind in ('service', 'site', 'business') then 'services' else 'rest' end as about
    from audit)"""
_ROW = ("audit_id", "occurred_at", "business", "site", "actor", "action", "object_kind", "object_id",
        "object_number", "result", "outcome", "reason", "request")  # fmt: skip
_NEWEST = "order by occurred_at desc, audit_id desc"


class Trail:
    """The audit trail of one store; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: Counted[str] = Counted(_KEPT)
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, tuple[int, Any]] = OrderedDict()
        self._tasks: dict[int, Named] = {}  #: what one is called and where it is never changes

    def counts(self, reach: Reach, wanted: Filter, now: int) -> Mapping[str, int]:
        """Count the rows that a filter finds, exactly, by what they are about."""
        return self._count(reach, wanted, asked_at(wanted, now), self._store.batch)

    def page(
        self, reach: Reach, wanted: Filter, now: int, *, about: str | None = None, after: Cut | None = None,
        before: Cut | None = None, size: int = 50,
    ) -> Page:
        """Give the page that begins after a cut, or ends before one; the newest one without either."""
        if not 1 <= size <= MOST_ROWS:
            raise Invalid(f"A page has 1 to {MOST_ROWS} rows", size=size)
        as_of, batch = asked_at(wanted, now), self._store.batch
        before = None if after else before
        counts = self._count(reach, wanted, as_of, batch)
        total = counts.get(about, 0) if about is not None else sum(counts.values())
        return self._keep(
            (*_asked(reach, wanted, as_of), about, after, before, size), total,
            lambda: self._page(reach, wanted, as_of, batch, about, after, before, size),
        )  # fmt: skip

    def entry(self, reach: Reach, audit_id: int) -> dict[str, Any] | None:
        """Give one row with what it keeps of before and after, and its batch; None where there is none in reach."""
        return self._keep((reach, audit_id), 0, lambda: self._entry(reach, audit_id))

    def _entry(self, reach: Reach, audit_id: int) -> dict[str, Any] | None:
        here, params = reach.sql()
        found = self._store.read(
            f"""select {", ".join(f"s.{name}" for name in _ROW)}, s.batch, a.before::varchar as before,
                       a.after::varchar as after
                from (select * from {_SOURCE} where audit_id = $audit_id and {here}) s
                join audit a on a.rowid = s.row_no""",
            params | {"audit_id": audit_id},
        )
        row = next(_plain(found).iter_rows(named=True), None)
        return row and row | {side: json.loads(row[side]) if row[side] else None for side in ("before", "after")}

    def of_request(self, reach: Reach, request: str) -> int:
        """Count the rows in reach that one request made, in all its parts."""
        return sum(self.counts(reach, by_request(request), 0).values())

    def names(self, reach: Reach) -> Mapping[str, list[str]]:
        """List the words in reach that complete a filter, by key, most used first."""
        here, params = reach.sql()
        return {
            key: self._store.read(
                f"""select {column} from audit where {here} and {column} is not null
                    group by {column} order by count(*) desc, {column} limit {MOST_NAMES}""",
                params,
            )[column].to_list()
            for key, column in _NAMED.items()
        }

    def all(self, reach: Reach, wanted: Filter, now: int, *, about: str | None, most: int) -> pl.DataFrame:
        """Give the newest rows that a filter finds, so many at most, with before and after as JSON; for an export."""
        where, params = self._where(reach, wanted, asked_at(wanted, now), self._store.batch, about)
        kept = "row_no, occurred_at, business, site, actor, action, object_kind, object_id, object_number, outcome"
        return self._store.read(
            f"""select s.* exclude (row_no), a.before::varchar as before, a.after::varchar as after
                from (select {kept}, reason, request from {_SOURCE} where {where} {_NEWEST} limit {int(most)}) s
                join audit a on a.rowid = s.row_no order by s.occurred_at desc, a.audit_id desc""",
            params,
        )

    def tasks(self, task_ids: Collection[int]) -> dict[int, Named]:
        """Name tasks that have ended or were published as live, by their ids."""
        new = [task_id for task_id in task_ids if task_id not in self._tasks]
        if new:
            self._tasks = dict(list(self._tasks.items())[-_KEPT_TASKS:]) | self._read_tasks(new)
        known = self._tasks
        return {task_id: known[task_id] for task_id in task_ids if task_id in known}

    def _read_tasks(self, task_ids: Collection[int]) -> dict[int, Named]:
        found = self._store.read(
            " union ".join(
                f"""select task_id, kind, number, business, site from {table}
                    where task_id in (select unnest($ids::bigint[]))"""
                for table in ("task_done", "task_live")
            ),
            {"ids": list(task_ids)},
        )
        return {task_id: Named(task_label(kind, n), *place) for task_id, kind, n, *place in found.rows()}

    def schedules(self, schedule_ids: Collection[int]) -> dict[int, Named]:
        """Name schedules, also those that were removed, by their ids."""
        return self._named("schedule", schedule_ids)

    def blackouts(self, blackout_ids: Collection[int]) -> dict[int, Named]:
        """Name blackout windows, also those that were removed, by their ids."""
        return self._named("blackout", blackout_ids)

    def _named(self, view: str, ids: Collection[int]) -> dict[int, Named]:
        if not ids:
            return {}
        found = self._store.read(
            f"select {view}_id, name, business, site from {view} where {view}_id in (select unnest($ids::bigint[]))",
            {"ids": list(ids)},
        )
        return {an_id: Named(*facts) for an_id, *facts in found.rows()}

    # --- inside

    def _keep(self, key: object, mark: int, make: Callable[[], T]) -> T:
        """Return what was made under a key last, unless the mark has moved since; nothing is kept of nothing."""
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[0] == mark:
            return known[1]  # type: ignore[no-any-return]  # a key always stands for the same sort of thing
        made = make()
        if made is not None:
            with self._lock:
                self._kept[key] = mark, made
                self._kept.move_to_end(key)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def _count(self, reach: Reach, wanted: Filter, as_of: int, batch: int) -> Mapping[str, int]:
        def count(last: int | None, upto: int) -> Mapping[str, int]:
            where, params = self._where(reach, wanted, as_of, upto, None)
            since = "" if last is None else f" and batch > {last}"
            found = self._store.read(
                f"select about, count(*)::bigint as n from {_SOURCE} where {where}{since} group by about", params
            )
            return dict(found.rows())

        return self._counted.up_to(_asked(reach, wanted, as_of), batch, count)

    def _where(
        self, reach: Reach, wanted: Filter, as_of: int, batch: int, about: str | None
    ) -> tuple[str, dict[str, Any]]:
        here, params = reach.sql()
        test, given = wanted.sql(as_of)
        parts = [here, f"batch <= {batch}", f"({test})"]
        if about is not None:
            parts.append("about = $about")
            params["about"] = about
        return " and ".join(parts), params | given

    def _page(
        self, reach: Reach, wanted: Filter, as_of: int, batch: int, about: str | None, after: Cut | None,
        before: Cut | None, size: int,
    ) -> Page:
        where, params = self._where(reach, wanted, as_of, batch, about)
        cut, backwards = after or before, before is not None
        limit, order = size + 1, "order by occurred_at, audit_id" if backwards else _NEWEST
        beyond = f" and {_beyond(cut, backwards)}" if cut else ""
        found = self._store.read(
            f"select {', '.join(_ROW)} from {_SOURCE} where {where}{beyond} {order} limit {limit}", params
        )
        more, rows = found.height > size, _plain(found.head(size))
        if backwards:
            if not more:  # it would be shorter than a page: then it is the first one
                return self._page(reach, wanted, as_of, batch, about, None, None, size)
            rows = rows.reverse()
        ahead = 0
        if cut is not None and rows.height:
            earlier = _beyond(_cut(rows, 0), True)
            ahead = self._store.read(f"select count(*) from {_SOURCE} where {where} and {earlier}", params).item()
        follows = rows.height > 0 and (more or backwards)
        return Page(rows, ahead, _cut(rows, -1) if follows else None, _cut(rows, 0) if ahead else None)


def _asked(reach: Reach, wanted: Filter, as_of: int) -> tuple[object, ...]:
    return reach, wanted.text, wanted.zone, as_of if wanted.relative else None


def _beyond(cut: Cut, newer: bool) -> str:
    """Write which rows come after a cut, or (newer) before it; the first test lets DuckDB skip what can't match."""
    sign, at = ">" if newer else "<", f"make_timestamp({cut.occurred_at})"
    return f"(occurred_at {sign}= {at} and (occurred_at {sign} {at} or audit_id {sign} {cut.audit_id}))"


def _cut(rows: pl.DataFrame, at: int) -> Cut:
    return Cut(rows["occurred_at"][at], rows["audit_id"][at])


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(cs.datetime().dt.epoch("us"))


# --- what a row keeps of before and after


class Difference(NamedTuple):
    """A fact of an object before and after; None where there was none, or the row does not keep it."""

    name: str
    before: Any
    after: Any


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[list[Difference], int]:
    """Set a row's before and after side by side, fact by fact; those that stayed as they were are only counted."""
    old, new = _flat(before or {}), _flat(after or {})
    found = [Difference(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    same = [one for one in found if one.name in old and one.name in new and one.before == one.after]
    return [one for one in found if one not in same], len(same)


def _flat(detail: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in detail.items():
        if isinstance(value, dict):
            facts |= _flat(value, f"{within}{name}.")
        else:
            facts[f"{within}{name}"] = value
    return facts


def unnamed(detail: dict[str, Any] | None, names: Collection[str], instead: str) -> dict[str, Any] | None:
    """Call hosts that are not to be seen by their names something else, wherever a row keeps one."""
    if detail is None:
        return None
    return {
        name: unnamed(value, names, instead) if isinstance(value, dict)
        else instead if isinstance(value, str) and value in names else value
        for name, value in detail.items()
    }  # fmt: skip


def unnamed_text(detail: str | None, names: Collection[str], instead: str) -> str | None:
    """Do the same where before or after stands as JSON."""
    if detail is None or not any(name in detail for name in names):
        return detail
    return json.dumps(unnamed(json.loads(detail), names, instead), ensure_ascii=False)
