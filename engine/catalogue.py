"""Every task of a place, those that live and those that have ended: by tab, filter and sort, page by page, counted.

Unfinished tasks are a snapshot's; ended ones are the ledger's task rows up to the snapshot's batch, so nobody is seen
twice or missed. Pages are cut by keys, never by a number of rows to leave out: the page behind ten million rows costs
what the first one costs, and rows that come meanwhile move none from one page to another. What has ended is counted
once for a filter, by the census where it goes by words only, and from then on by what each batch added or replaced. So
are the rows that stand before a page: a refresh counts nothing anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import polars as pl

from . import bulk
from .census import WORDS, Census
from .conditions import EARLIEST, LATEST, All, Compare, Condition, Not, Parameters, columns_of
from .counted import Counted, added, negated
from .errors import Invalid
from .filters import Filter
from .lifecycle import TERMINAL, Tab, tab
from .living import SYSTEM, Place, asked_at, living, masked
from .schema import TYPES
from .snapshot import Snapshot
from .store import Store

LIVE_TABS = (Tab.ACTIVE, Tab.PROCESSING, Tab.SCHEDULED)
ENDED_TABS = (Tab.FAILED, Tab.COMPLETED)
TABS = (Tab.ACTIVE, Tab.PROCESSING, Tab.SCHEDULED, Tab.FAILED, Tab.COMPLETED)  #: every task is in exactly one
MOST_ROWS = 200  #: a page has at most so many
MOST_MATCHING = 100_000  #: so many tasks can be acted on at once
NAMED = {"user": "owner", "target": "target", "scope": "scope", "service": "service", "initiator": "initiator"}
MOST_NAMES = 100
_KEPT = 256  #: counts that are kept
_KEPT_CUTS = 2_000  #: likewise, of the rows before a page

#: what may be sorted by, in which tabs; the columns are those of the view `task`
SORTS: Mapping[Tab, tuple[str, ...]] = {
    Tab.ACTIVE: ("created_at", "started_at", "queued_at", "number", "name", "target", "site", "service", "owner",
                 "status", "priority"),
    Tab.PROCESSING: ("created_at", "started_at", "collected_at", "number", "name", "target", "site", "processor",
                     "owner", "status", "priority"),
    Tab.SCHEDULED: ("due_at", "created_at", "number", "name", "target", "site", "owner", "priority"),
    Tab.FAILED: ("finished_at", "created_at", "started_at", "number"),
    Tab.COMPLETED: ("finished_at", "created_at", "started_at", "number"),
}  # fmt: skip
#: how a tab is sorted unless asked otherwise, and whether downwards
FIRST: Mapping[Tab, tuple[str, bool]] = {
    Tab.ACTIVE: ("created_at", True), Tab.PROCESSING: ("created_at", True), Tab.SCHEDULED: ("due_at", False),
    Tab.FAILED: ("finished_at", True), Tab.COMPLETED: ("finished_at", True),
}  # fmt: skip
TOGETHER = ("created_at", "owner", "kind")  #: what all tabs in one list can be sorted by
ROW = tuple(TYPES["task_done"])
"""The columns of a row: those of the table task, and for live tasks `collecting` and `processing` (progress)."""

_ENDED_TAB = {status.value: tab(status, True) for status in TERMINAL}
_STATUSES = {t: tuple(s for s, there in _ENDED_TAB.items() if there is t) for t in ENDED_TABS}
_OF_BULK = bulk.COLUMNS


@dataclass(frozen=True, slots=True)
class Asked:
    """Which tasks are wanted: a filter, and whether system tasks and hidden ones are among them.

    A filter that speaks of task types itself finds system tasks, one that speaks of hidden ones finds these.
    """

    filter: Filter
    system: bool = False
    hidden: bool = False

    @property
    def with_system(self) -> bool:
        return self.system or not self.filter.keys.isdisjoint(("type", "id"))

    @property
    def with_hidden(self) -> bool:
        return self.hidden or not self.filter.keys.isdisjoint(("hidden", "id"))


class Counts(NamedTuple):
    """How many tasks each tab has, and how many more it would have with system tasks, and with hidden ones."""

    tabs: Mapping[Tab, int]
    system: Mapping[Tab, int]
    hidden: Mapping[Tab, int]

    @property
    def ended(self) -> list[int]:
        return [self.tabs[at] for at in ENDED_TABS]


def sorts(tabs: Iterable[Tab]) -> tuple[str, ...]:
    """Tell what the tasks of several tabs can be sorted by together: where ended ones are among them, as these can."""
    chosen = list(tabs)
    if any(t in ENDED_TABS for t in chosen):
        return SORTS[Tab.COMPLETED]
    return tuple(dict.fromkeys(column for t in chosen for column in SORTS[t]))


class Key(NamedTuple):
    """Where a page is cut: by a row's value in the column of the sort (µs, text, number or nothing) and its id."""

    value: int | str | None
    task_id: int

    def token(self) -> str:
        """Write it for an address; `Key.of` reads it."""
        kind = "n" if self.value is None else "s" if isinstance(self.value, str) else "i"
        return f"{self.task_id}.{kind}{'' if self.value is None else self.value}"

    @classmethod
    def of(cls, token: str) -> Key | None:
        """Read a key off an address; None where it is none."""
        found = re.fullmatch(r"(\d{1,19})\.(?:(n)|i(-?\d{1,19})|s([^\0\ud800-\udfff]{0,500}))", token, re.DOTALL)
        if found is None:
            return None
        task_id, nothing, number, text = found.groups()
        value = None if nothing else int(number) if number is not None else text
        fits = int(task_id) < 1 << 63 and not (isinstance(value, int) and abs(value) >= 1 << 63)
        return cls(value, int(task_id)) if fits else None


    def fits(self, column: str) -> bool:
        """Tell whether a page that is sorted by a column can be cut here."""
        if self.value is None:
            return column in _NULLABLE
        if column.endswith("_at"):
            return isinstance(self.value, int) and EARLIEST <= self.value <= LATEST
        return isinstance(self.value, int) is (column in _NUMBERS)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a tab: its rows, how many stand before them, and where the next and the one before are cut."""

    rows: pl.DataFrame
    before: int
    next: Key | None
    previous: Key | None


class Catalogue:
    """The tasks of one store and of the snapshots handed in; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._census = Census(store)
        self._counted: Counted[_Group] = Counted(_KEPT)
        self._cuts: Counted[None] = Counted(_KEPT_CUTS)

    def take_census(self) -> None:
        """Count the sorts of tasks that have ended: once for long, then what came since. Until then rows are asked."""
        self._census.take()

    def counts(self, snapshot: Snapshot, place: Place, asked: Asked, now: int) -> Counts:
        """Count the tasks asked for, tab by tab, exactly."""
        by = {t: [0, 0, 0, 0] for t in TABS}  #: neither, system, hidden, both
        live = living(snapshot, place, asked.filter, asked_at(asked.filter, now), ())
        counted = live.group_by("tab", "system", "hidden").len()
        for name, system, hidden, n in counted.select("tab", "system", "hidden", "len").rows():
            by[Tab(name)][system + 2 * hidden] += n
        for (name, system, hidden), n in self._ended(snapshot, place, asked.filter, now).items():
            by[Tab(name)][system + 2 * hidden] += n
        in_sight = [True, asked.with_system, asked.with_hidden, asked.with_system and asked.with_hidden]
        tabs = {t: sum(n for n, shown in zip(ns, in_sight, strict=True) if shown) for t, ns in by.items()}
        system = {t: ns[1] + (ns[3] if asked.with_hidden else 0) for t, ns in by.items()}
        hidden = {t: ns[2] + (ns[3] if asked.with_system else 0) for t, ns in by.items()}
        return Counts(tabs, system, hidden)

    def page(
        self,
        snapshot: Snapshot,
        place: Place,
        asked: Asked,
        now: int,
        at: Tab | None,
        *,
        sort: str | None = None,
        descending: bool | None = None,
        after: Key | None = None,
        before: Key | None = None,
        size: int = 50,
    ) -> Page:
        """Give the page of a tab that begins after a key, or ends before one; the first one without either.

        No tab means whatever has ended. Empty values come last in either direction. A key of another sort counts as
        none. Raises Invalid for a sort that the tab does not list.
        """
        like = Tab.COMPLETED if at is None else at
        column, down = FIRST[like]
        if sort is not None:
            column, down = sort, descending if descending is not None else sort == column and down
        if column not in SORTS[like]:
            sorts = ", ".join(SORTS[like])
            raise Invalid(f"{at or 'Ended'} tasks can't be sorted by “{column}”; they can by {sorts}", sort=column)
        if not 1 <= size <= MOST_ROWS:
            raise Invalid(f"A page has 1 to {MOST_ROWS} rows", size=size)
        after, before = (key if key is not None and key.fits(column) else None for key in (after, before))
        wanted = _Cut(column, down, after, before, size)
        as_of = asked_at(asked.filter, now)
        if at in LIVE_TABS:
            rows = _shown(living(snapshot, place, asked.filter, as_of, (*ROW, "collecting", "processing")), asked)
            return wanted.cut(rows.filter(pl.col("tab") == at))
        return self._ended_page(snapshot, place, asked, as_of, at, wanted)

    def together(
        self,
        snapshot: Snapshot,
        place: Place,
        asked: Asked,
        now: int,
        tabs: Collection[Tab],
        *,
        sort: str = "created_at",
        descending: bool = True,
        after: Key | None = None,
        before: Key | None = None,
        size: int = 50,
    ) -> Page:
        """Give a page of several tabs in one order, cut as `page` cuts one of a single tab.

        Names are sorted as if in small letters. Raises Invalid for a sort that is not in TOGETHER.
        """
        if sort not in TOGETHER:
            raise Invalid(f"Tasks can't be sorted by “{sort}” here; they can by {', '.join(TOGETHER)}", sort=sort)
        if not 1 <= size <= MOST_ROWS:
            raise Invalid(f"A page has 1 to {MOST_ROWS} rows", size=size)
        after, before = (key if key is not None and key.fits(sort) else None for key in (after, before))
        before = None if after is not None else before
        wanted, as_of = _Cut(sort, descending, after, before, size), asked_at(asked.filter, now)
        live = _shown(living(snapshot, place, asked.filter, as_of, (*ROW, "collecting", "processing")), asked)
        live = live.filter(pl.col("tab").is_in([t.value for t in tabs if t in LIVE_TABS]))
        statuses = [status for t in ENDED_TABS if t in tabs for status in _STATUSES[t]]
        if not statuses:
            return wanted.cut(live)
        sql, params = self._where(snapshot, place, asked, as_of, statuses)
        key, backwards = after or before, before is not None
        near = replace(wanted, size=size + 1).cut(live).rows.select(*ROW, "collecting", "processing")
        found = pl.concat([near, self._cut_out(sql, params, place, wanted, key, backwards)], how="diagonal")
        rows = replace(wanted, after=None, before=None, size=found.height).cut(found).rows
        if backwards and key is not None:  # a page cut out of live tasks alone is filled up from behind the key
            rows = rows.head(wanted.up_to(rows, key, itself=False))
        more = rows.height > size
        rows = rows.tail(size) if backwards else rows.head(size)
        if backwards and not rows.height:  # all that stood before it is gone: begin anew
            return self.together(snapshot, place, asked, now, tabs, sort=sort, descending=descending, size=size)
        earlier = 0
        if key is not None and rows.height:
            first = wanted.key(rows, 0)
            test = wanted.beyond(first, True)
            earlier = wanted.up_to(live, first, itself=False) + self._store.read(
                f"select count(*) as n from {sql} and {test}", params | wanted.keyed(first, test)
            ).item()
        return Page(
            rows, earlier, wanted.key(rows, -1) if rows.height and (more or backwards) else None,
            wanted.key(rows, 0) if rows.height and earlier else None,
        )  # fmt: skip

    def rows(
        self,
        snapshot: Snapshot,
        places: Sequence[Place],
        asked: Asked,
        now: int,
        tabs: Sequence[Tab],
        *,
        sort: str | None = None,
        descending: bool = False,
        after: Key | None = None,
        most: int = MOST_ROWS,
    ) -> tuple[pl.DataFrame, Key | None]:
        """Give the first rows of some tabs of some places in one order, or those behind a key, and the key to go on by.

        Unlike a page, it counts nothing that stands before. Rows are as a page has them. Without a sort, one tab is
        sorted as its page is, several by when tasks were created. Raises Invalid for a sort not in `sorts`.
        """
        first = FIRST[tabs[0]] if len(tabs) == 1 else ("created_at", True)
        column, down = first if sort is None else (sort, descending)
        if column not in sorts(tabs):
            raise Invalid(f"These tasks can't be sorted by “{column}”; they can by {', '.join(sorts(tabs))}", sort=sort)
        wanted, as_of = _Cut(column, down, after, None, most), asked_at(asked.filter, now)
        live, ended = [t.value for t in tabs if t in LIVE_TABS], [t for t in tabs if t in ENDED_TABS]
        parts = []
        for place in places:
            if live:
                rows = _shown(living(snapshot, place, asked.filter, as_of, (*ROW, "collecting", "processing")), asked)
                rows = replace(wanted, size=most + 1).cut(rows.filter(pl.col("tab").is_in(live))).rows
                parts.append(rows.select(*ROW, "collecting", "processing"))
            if ended:
                sql, params = self._where(snapshot, place, asked, as_of, [s for t in ended for s in _STATUSES[t]])
                parts.append(self._cut_out(sql, params, place, wanted, after, False))
        page = replace(wanted, after=None).cut(pl.concat(parts, how="diagonal"))
        return page.rows, page.next

    def matching(self, snapshot: Snapshot, place: Place, asked: Asked, now: int, tabs: Iterable[Tab]) -> pl.DataFrame:
        """List all tasks asked for in some tabs, for an action on them: what a preview tells of each, newest first.

        Raises Invalid beyond 100,000: so many are never meant.
        """
        as_of, parts, chosen = asked_at(asked.filter, now), [], set(tabs)
        columns = list(_OF_BULK)
        live = _shown(living(snapshot, place, asked.filter, as_of, _OF_BULK), asked)
        parts.append(live.filter(pl.col("tab").is_in([t.value for t in chosen])).select(columns))
        if ended := [t for t in ENDED_TABS if t in chosen]:
            sql, params = self._where(snapshot, place, asked, as_of, [s for t in ended for s in _STATUSES[t]])
            parts.append(self._store.read(f"select {', '.join(columns)} from {sql} limit {MOST_MATCHING + 1}", params))
        found = pl.concat(parts)
        if found.height > MOST_MATCHING:
            raise Invalid(f"More than {MOST_MATCHING:,} tasks match; narrow the filter down to act on them")
        return found.sort("task_id", descending=True)

    def those(self, snapshot: Snapshot, place: Place, task_ids: Collection[int]) -> pl.DataFrame:
        """List some tasks of a place, for an action on them, as `matching` does; others are left out."""
        ids = pl.Series(task_ids, dtype=pl.Int64)
        live = living(snapshot, place, Filter(), snapshot.now, _OF_BULK).select(_OF_BULK)
        live = live.filter(pl.col("task_id").is_in(ids.implode()))
        ended = self._store.read(
            f"""select {", ".join(_OF_BULK)} from {_source(place)} where {_at(place)}
                and task_id in (select unnest($ids::bigint[])) and batch <= $batch
                and (superseded_by is null or superseded_by > $batch) and status in ({_listed(_ENDED_TAB)})""",
            {**_place_params(place), "ids": ids.to_list(), "batch": snapshot.batch},
        )
        return pl.concat([live, ended]).sort("task_id", descending=True)

    def ended(self, snapshot: Snapshot, place: Place, asked: Asked, now: int, most: int) -> pl.DataFrame:
        """Give all ended tasks asked for, with all columns, the latest end first, for an export; so many at most."""
        sql, params = self._where(snapshot, place, asked, asked_at(asked.filter, now), _ENDED_TAB)
        return self._store.read(
            f"select {', '.join(ROW)} from {sql} order by finished_at desc, task_id desc limit {int(most)}", params
        )

    def names(self, place: Place) -> Mapping[str, list[str]]:
        """List the words that a place's ended tasks have, for completing a filter: by key, most used first."""
        found = {}
        for key, column in NAMED.items():
            found[key] = self._store.read(
                f"""select {column} from {_source(place)} where {_at(place)} and {column} is not null
                    and superseded_by is null group by {column} order by count(*) desc, {column} limit {MOST_NAMES}""",
                _place_params(place),
            )[column].to_list()
        return found

    # --- what has ended

    def _ended(self, snapshot: Snapshot, place: Place, wanted: Filter, now: int) -> Mapping[_Group, int]:
        """Count what has ended by (tab, system, hidden), from the last count on."""
        as_of = asked_at(wanted, now)

        def count(last: int | None, batch: int) -> Mapping[_Group, int]:
            condition = wanted.condition(as_of)
            if last is None:
                words, until = _split(condition)
                found = self._by_sort(place, words, batch)
                if found is not None and until is None:
                    return found
                if found is not None and until is not None and self._late(until):
                    return added(found, negated(self._count(place, All((words, Not(until))), None, batch)))
            return self._count(place, condition, last, batch)

        return self._counted.up_to(_counted_as(place, wanted, as_of), snapshot.batch, count)

    def _late(self, test: Compare) -> bool:
        """Tell whether less has come after an instant than before it, as far as the span of all tells."""
        span = f"select epoch_us(min({test.column})), epoch_us(max({test.column})) from task_done"
        first, last = self._store.read(span).row(0)
        return first is not None and test.value > (first + last) // 2

    def _by_sort(self, place: Place, wanted: Condition, batch: int) -> Mapping[_Group, int] | None:
        """Count by the census what a condition finds at a place; None where rows must tell."""
        if not columns_of(wanted).issubset(WORDS):
            return None
        sorts = self._census.as_of(batch)
        if sorts is None:
            return None
        here = sorts.filter(pl.col("business") == place.business)
        if place.sites:
            here = here.filter(pl.col("site").is_in(place.sites))
        if place.processors is not None:
            here = here.with_columns(masked(here.columns, place.processors))
        groups = here.filter(wanted.expr()).group_by("status", pl.col("kind").is_in(SYSTEM).alias("system"), "hidden")
        return _by_tab(groups.agg(pl.col("n").sum()))

    def _count(self, place: Place, wanted: Condition, last: int | None, batch: int) -> Mapping[_Group, int]:
        """Count the rows that stand as of a batch: all, or those that came since a last one less those replaced."""
        to = Parameters()
        groups = f"status, kind in ({_listed(SYSTEM)}) as system, hidden"
        where = f"{_source(place)} where {_at(place)} and ({wanted.sql(to)})"
        return _by_tab(self._change(groups, where, {**to.given, **_place_params(place)}, last, batch))

    def _change(
        self, groups: str, where: str, params: Mapping[str, Any], last: int | None, batch: int
    ) -> pl.DataFrame:
        """Count rows as of a batch, as n by groups: all, or those that came since a last one less those replaced."""
        since, params = "", {**params, "batch": batch}
        stands = "(superseded_by is null or superseded_by > $batch)"
        if last is not None:
            since, params["last"] = " and batch > $last", last
        sql = f"""select {groups}, count(*)::bigint as n from {where}
                  and batch <= $batch{since} and {stands} group by all"""
        if last is not None:
            sql += f""" union all select {groups}, -count(*)::bigint from {where}
                        and batch <= $last and superseded_by > $last and superseded_by <= $batch group by all"""
        return self._store.read(sql, params)

    def _where(
        self, snapshot: Snapshot, place: Place, asked: Asked, as_of: int, statuses: Iterable[str]
    ) -> tuple[str, dict[str, Any]]:
        sql, params = self._among(place, asked, as_of, statuses)
        sql += " and batch <= $batch and (superseded_by is null or superseded_by > $batch)"
        return sql, {**params, "batch": snapshot.batch}

    def _among(
        self, place: Place, asked: Asked, as_of: int, statuses: Iterable[str]
    ) -> tuple[str, dict[str, Any]]:
        """Say which rows are asked for, in all their versions."""
        test, params = asked.filter.sql(as_of)
        parts = [_at(place), f"status in ({_listed(statuses)})", f"({test})"]
        if not asked.with_system:
            parts.append(f"kind not in ({_listed(SYSTEM)})")
        if not asked.with_hidden:
            parts.append("not hidden")
        return f"{_source(place)} where {' and '.join(parts)}", {**params, **_place_params(place)}

    def _ended_page(
        self, snapshot: Snapshot, place: Place, asked: Asked, as_of: int, at: Tab | None, cut: _Cut
    ) -> Page:
        statuses = tuple(_ENDED_TAB) if at is None else _STATUSES[at]
        if self._none_there(snapshot, place, asked, as_of, statuses):
            return Page(_floats(self._store.read(f"select {', '.join(ROW)} from task_done limit 0")), 0, None, None)
        sql, params = self._where(snapshot, place, asked, as_of, statuses)
        key, backwards = (cut.after, False) if cut.after else (cut.before, True) if cut.before else (None, False)
        found = self._cut_out(sql, params, place, cut, key, backwards)
        more = found.height > cut.size
        rows = found.head(cut.size)
        rows = rows.reverse() if backwards else rows
        if backwards and not rows.height:  # all that stood before it is gone: begin anew
            return self._ended_page(snapshot, place, asked, as_of, at, _Cut(cut.column, cut.down, None, None, cut.size))
        before = 0
        if rows.height:
            before = self._before(snapshot.batch, place, asked, as_of, statuses, cut, key, backwards, rows)
        follows = more if not backwards else True
        return Page(
            rows, before, cut.key(rows, -1) if rows.height and follows else None,
            cut.key(rows, 0) if rows.height and before else None,
        )  # fmt: skip

    def _cut_out(
        self, sql: str, params: Mapping[str, Any], place: Place, cut: _Cut, key: Key | None, backwards: bool
    ) -> pl.DataFrame:
        """Read the rows of a page, and one more where there is one."""
        beyond = f" and {cut.beyond(key, backwards)}" if key else ""
        # In two steps: so many columns are gathered but for the rows of the page.
        order, limit = cut.order(backwards), cut.size + 1
        return _floats(self._store.read(
            f"""select {", ".join(ROW)} from {_source(place)}
                where row_no in (select row_no from {sql}{beyond} order by {order} limit {limit}) order by {order}""",
            {**params, **(cut.keyed(key, beyond) if key else {})},
        ))  # fmt: skip

    def _none_there(
        self, snapshot: Snapshot, place: Place, asked: Asked, as_of: int, statuses: Collection[str]
    ) -> bool:
        """Tell whether it is known, without looking through the rows, that there is none."""
        wanted = asked.filter
        if not self._counted.has(_counted_as(place, wanted, as_of)) and (
            not wanted.columns.issubset(WORDS) or self._census.as_of(snapshot.batch) is None
        ):
            return False
        tabs = {_ENDED_TAB[status].value for status in statuses}
        return not any(
            n for (name, system, hidden), n in self._ended(snapshot, place, wanted, as_of).items()
            if name in tabs and system <= asked.with_system and hidden <= asked.with_hidden
        )

    def _before(
        self, batch: int, place: Place, asked: Asked, as_of: int, statuses: tuple[str, ...], cut: _Cut,
        key: Key | None, backwards: bool, rows: pl.DataFrame,
    ) -> int:  # fmt: skip
        """Count the rows before a page, from the last count on; keep what follows for the pages beside it."""
        wanted = asked.filter
        asking = (_counted_as(place, wanted, as_of), asked.with_system, asked.with_hidden, statuses, cut.column,
                  cut.down)  # fmt: skip

        def count(last: int | None, batch: int) -> Mapping[None, int]:
            assert key is not None
            where, params = self._among(place, asked, as_of, statuses)
            earlier = cut.beyond(key, True) if backwards else f"not {cut.beyond(key, False)}"
            params |= cut.keyed(key, earlier)
            return {None: int(self._change("true", f"{where} and {earlier}", params, last, batch)["n"].sum())}

        before = 0
        if key is not None:
            before = self._cuts.up_to((asking, key, backwards), batch, count).get(None, 0)
            before -= rows.height if backwards else 0
        self._cuts.known((asking, cut.key(rows, 0), True), batch, {None: before})
        self._cuts.known((asking, cut.key(rows, -1), False), batch, {None: before + rows.height})
        return before


@dataclass(frozen=True, slots=True)
class _Cut:
    """How a tab is sorted and which page of it is wanted: by the column, empty values last, then by id."""

    column: str
    down: bool
    after: Key | None
    before: Key | None
    size: int

    def order(self, backwards: bool = False) -> str:
        way, nulls = ("desc" if self.down != backwards else "asc"), "first" if backwards else "last"
        return f"{_sorted_as(self.column)} {way} nulls {nulls}, task_id {way}"

    def beyond(self, key: Key, backwards: bool) -> str:
        """Write which rows come after a key, or before it."""
        sign = "<" if self.down != backwards else ">"
        column, nulls = _sorted_as(self.column), self.column in _NULLABLE
        if key.value is None:
            if not nulls:
                return "true" if backwards else "false"
            alone = f"{column} is null and task_id {sign} $key_id"
            return f"({column} is not null or {alone})" if backwards else f"({alone})"
        value = "make_timestamp($key_value::bigint)" if column.endswith("_at") else "$key_value"
        value = f"lower({value})" if column != self.column else value
        test = f"{column} {sign}= {value} and ({column} {sign} {value} or task_id {sign} $key_id)"
        return f"({test})" if backwards or not nulls else f"({test} or {column} is null)"

    def keyed(self, key: Key, test: str) -> dict[str, Any]:
        """Give the parameters that a test of `beyond` has."""
        given = {"key_value": key.value, "key_id": key.task_id}
        return {name: value for name, value in given.items() if f"${name}" in test}

    def key(self, rows: pl.DataFrame, at: int) -> Key:
        value = rows[self.column]
        value = value.dt.epoch("us") if self.column.endswith("_at") else value
        return Key(value[at], rows["task_id"][at])

    def cut(self, rows: pl.DataFrame) -> Page:
        """Cut the page out of all rows of a tab."""
        column = pl.col(self.column)
        text = rows.schema[self.column] == pl.String
        ordered = rows.sort(
            [column.str.to_lowercase() if text else column, "task_id"], descending=self.down, nulls_last=True
        )
        first = 0
        if self.after is not None:
            first = self.up_to(ordered, self.after)
        elif self.before is not None:
            first = max(self.up_to(ordered, self.before, itself=False) - self.size, 0)
        page = ordered.slice(first, self.size)
        last = first + page.height
        return Page(
            page, first, self.key(page, -1) if page.height and last < ordered.height else None,
            self.key(page, 0) if page.height and first else None,
        )  # fmt: skip

    def up_to(self, rows: pl.DataFrame, key: Key, itself: bool = True) -> int:
        """Count the rows up to a key, the row itself included or not; its task may have gone meanwhile."""
        column, ids = rows[self.column], rows["task_id"]
        column = column.dt.epoch("us") if self.column.endswith("_at") else column
        earlier_id = (ids > key.task_id) if self.down else (ids < key.task_id)
        same_id = ids == key.task_id if itself else pl.Series([False])
        if key.value is None:
            return int((column.is_not_null() | (column.is_null() & (earlier_id | same_id))).sum())
        value: object = key.value
        if column.dtype == pl.String:
            column, value = column.str.to_lowercase(), str(value).lower()
        earlier = (column > value) if self.down else (column < value)
        return int((earlier | ((column == value) & (earlier_id | same_id))).sum())


def _sorted_as(column: str) -> str:
    """Write what ended tasks are sorted by: names as live ones are, in small letters."""
    return f"lower({column})" if column == "owner" else column


_NUMBERS = {"number", "priority"}
#: of ended tasks; live ones are sorted by Polars, which looks for itself
_NULLABLE = {"started_at", "queued_at", "due_at", "collected_at", "target", "service", "processor", "site"}


_Group = tuple[str, bool, bool]
"""Tab, whether system tasks, whether hidden ones."""

def _split(condition: Condition) -> tuple[Condition, Compare | None]:
    """Part a condition into one and that something was before an instant, where it has a part that says so."""
    parts = condition.parts if isinstance(condition, All) else (condition,)
    times = [part for part in parts if isinstance(part, Compare) and part.column.endswith("_at")]
    until = [part for part in times if part.sign in ("<", "<=")]
    if len(until) != 1:
        return condition, None
    return All(tuple(part for part in parts if part is not until[0])), until[0]


def _by_tab(counted: pl.DataFrame) -> Mapping[_Group, int]:
    """Sum up n of status, system and hidden by tab."""
    found: dict[_Group, int] = {}
    for status, system, hidden, n in counted.select("status", "system", "hidden", "n").rows():
        if status in _ENDED_TAB:  # a task that was restored has a row New until it is published as live
            group = (_ENDED_TAB[status].value, system, hidden)
            found[group] = found.get(group, 0) + n
    return found


def _counted_as(place: Place, wanted: Filter, as_of: int) -> object:
    return place, wanted.text, wanted.zone, as_of if wanted.relative else None


def _floats(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col([name for name in ROW if name.endswith("_s")]).cast(pl.Float64))


def _shown(rows: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    if not asked.with_system:
        rows = rows.filter(~pl.col("system"))
    return rows if asked.with_hidden else rows.filter(~pl.col("hidden"))


# --- where


def _at(place: Place) -> str:
    sites = ", ".join(f"$site{n}" for n in range(len(place.sites)))
    return "business = $business" + (f" and site in ({sites})" if sites else "")


def _place_params(place: Place) -> dict[str, Any]:
    params: dict[str, Any] = {"business": place.business, **{f"site{n}": s for n, s in enumerate(place.sites)}}
    return params if place.processors is None else params | {"processors": place.processors}


def _source(place: Place) -> str:
    """Name the table, processors by what they are called: so no filter can find one out by its name."""
    if place.processors is None:
        return "(select rowid as row_no, * from task_done)"
    system = f"kind in ({_listed(SYSTEM)})"
    return f"""(select rowid as row_no, * replace (
        if(processor is null, null, $processors) as processor,
        if(requested_service is not null and {system}, $processors, requested_service) as requested_service)
        from task_done)"""


def _listed(words: Iterable[str]) -> str:
    """Write words of the program, never data, as a list of SQL literals."""
    return ", ".join(f"'{word}'" for word in words)


