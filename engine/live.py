"""What the page Active tasks shows of a site, or of a business: which tasks wait and run, in which order, and why.

A row is a task that has entered the queue and has not ended, in the words of queue and logs (Queued, Running, Paused,
Stopping). All comes from one snapshot. What many sessions ask alike is made once and kept for all of them, bounded:

    book    a business's rows as of a snapshot, with what order goes by, and who is held
    view    the order of a book's rows under one filter and sort, and how many stand under each word

A book is made of the one before and of what changed since: new versions of rows go behind the others, the old ones stay
until there are many, and a narrow table says which count. Only the rows of the page that is shown are ever gathered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import polars as pl

from .errors import Invalid
from .filters import Filter
from .lanes import lane_of
from .lifecycle import KIND_LABEL, PAUSED, RUNNING, SYSTEM_KINDS, UNFINISHED, Cause, Kind, Status, queue_word
from .living import OF_QUEUES, Place, among, asked_at, living
from .snapshot import LiveRow, Snapshot, frame_of
from .task import COLLECT, PROCESS
from .wording import WAITS_FOR, Words

T = TypeVar("T")

WORDS = ("Queued", "Running", PAUSED, "Stopping")  #: the chips; every row is under exactly one of them
SORTS = ("target", "task", "queued_at", "scope", "initiator", "owner", "word", "started_at", "priority")
ALL = Filter()
MOST_ROWS = 200  #: a page has at most so many
MOST_FOUND = 32  #: filters whose findings are handed on from book to book
LONGEST_TAIL = 5_000  #: changed rows behind the others, from which on a book is put in order

_WORD = {status.value: WORDS.index(queue_word(status, True, False)) for status in UNFINISHED}
_PAUSED = WORDS.index(PAUSED)
_PAGE = (
    "task_id", "number", "task", "name", "kind", "business", "site", "target", "target_kind", "scope", "initiator",
    "owner", "schedule_id", "requested_service", "service", "processor", "host", "status", "attempt", "priority",
    "version", "created_at", "queued_at", "started_at", "collected_at", "processing_queued_at",
    "processing_started_at", "collecting", "processing", "queue",
)  # fmt: skip
_ORDER = ("row", "task_id", "site", "system", "queue", "plain", "lane", "turn", "age", "code")


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the tasks asked for, and how many there are.

    `rows`: task_id, number, task ("Scan #12"), name, kind, business, site, target, target_kind, scope, initiator,
    owner, schedule_id, requested_service, service, processor, host (of the present stage), status, attempt, priority,
    version, created_at, queued_at, started_at, collected_at, processing_queued_at, processing_started_at, collecting,
    processing (progress, 0 to 1, empty where not known), word, and for who waits cause, held_by, place, of, why.

    `place` counts from 1 among the `of` tasks of the same lane (a site's audits, say, or a business's processing) that
    wait and are not held, by priority and then by time. With fair share between owners the next may come from behind.
    """

    rows: pl.DataFrame
    total: int  #: tasks asked for, on all pages
    counts: dict[str, int]  #: tasks under each word, the other filters applied
    system: int  #: system tasks that the filter finds, shown or not
    page: int  #: the page that this is: the last one, where a later one was asked for


def listing(
    snapshot: Snapshot,
    business: str,
    site: str | None = None,
    *,
    wanted: Filter = ALL,
    processors: str | None = None,
    words: Collection[str] = (),
    system: bool = False,
    sort: str = "queued_at",
    descending: bool = True,
    page: int = 0,
    size: int = 50,
    zone: str = "UTC",
) -> Listing:
    """List a page of the tasks in the queue, newest first unless asked otherwise; empty values come last.

    Among equals the newest comes first; only where the oldest are asked for first, the oldest does.

    No `words` means all. System tasks are left out unless asked for. Instants in `why` are told in the zone. With
    `processors`, each processor is called that for the filter, too.
    """
    if sort not in SORTS:
        raise Invalid(f"Tasks can't be sorted by “{sort}”; they can by {', '.join(SORTS)}", sort=sort)
    unknown = sorted(set(words) - set(WORDS))
    if unknown:
        raise Invalid(f"There is no “{unknown[0]}” in the queue; there are {', '.join(WORDS)}", word=unknown[0])
    if page < 0 or not 1 <= size <= MOST_ROWS:
        raise Invalid(f"Pages count from 0 and have 1 to {MOST_ROWS} rows", page=page, size=size)
    book = _book(snapshot, business)
    as_of = asked_at(wanted, snapshot.now) if wanted.relative else 0
    found = None if wanted.tree is None else (wanted, as_of, processors)
    asked = (site, found, frozenset(words), system, sort, descending)
    view = book.view(*asked)
    page = min(page, max(view.order.len() - 1, 0) // size)
    rows = book.page(asked, view, page, size, zone)
    return Listing(rows, view.order.len(), dict(zip(WORDS, view.counts, strict=True)), view.system, page)


def rows(snapshot: Snapshot, business: str, task_ids: Collection[int], zone: str = "UTC") -> pl.DataFrame:
    """Give the rows of some tasks, as a listing has them, in its order; those that have left the queue are missing."""
    book = _book(snapshot, business)
    wanted = pl.Series(task_ids, dtype=pl.Int64)
    return book.rows(book.order.filter(pl.col("task_id").is_in(wanted.implode()))["row"], zone)


def at_work(snapshot: Snapshot, business: str) -> pl.DataFrame:
    """Give the tasks of a business that a service is at work on, and their host: those that are first to end, first.

    Columns: task_id, task ("Scan #12"), site, kind, host, target (its name where it has none), stopping, since_at (µs,
    the first claim for the present stage), progress.
    """
    return _book(snapshot, business).at_work()


def system_tasks(snapshot: Snapshot, business: str, kinds: Collection[str], zone: str = "UTC") -> pl.DataFrame:
    """Give a business's system tasks of some kinds, as a listing has them, the newest first."""
    book = _book(snapshot, business)
    return book.rows(book.system_tasks(kinds), zone)


# --- what is kept


class _Kept(Generic[T]):
    """Things made once for all sessions, each for what it is made of; of both only the last asked for are kept.

    Who asks for what is being made waits for it, and makes nothing himself. What things are made of is known by
    identity: while they are kept it lives, so nothing else can have its id.
    """

    def __init__(self, owners: int, things: int) -> None:
        self._owners, self._things = owners, things
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[object, OrderedDict[object, _Slot[T]]]] = OrderedDict()

    def latest(self, key: object) -> T | None:
        """Give what was made of that name for the owner that was asked for last."""
        with self._lock:
            made = (slots[key].made for _, slots in reversed(self._kept.values()) if key in slots)
            return next((thing for thing in made if thing is not None), None)

    def get(self, owner: object, key: object, make: Callable[[], T]) -> T:
        with self._lock:
            _, slots = self._kept.setdefault(id(owner), (owner, OrderedDict()))
            slot = slots.setdefault(key, _Slot())
            self._kept.move_to_end(id(owner))
            slots.move_to_end(key)
            if len(self._kept) > self._owners:
                self._kept.popitem(last=False)
            if len(slots) > self._things:
                slots.popitem(last=False)
        with slot.lock:
            if slot.made is None:
                slot.made = make()
            return slot.made


class _Slot(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: T | None = None


@dataclass(frozen=True, slots=True)
class _View:
    order: pl.Series  #: rows of the book
    counts: tuple[int, ...]  #: under each word
    system: int


def _prepared(frame: pl.DataFrame, business: str) -> pl.DataFrame:
    """Pick a business's rows that are due, with what order goes by."""
    due = frame.filter(pl.col("business") == business, pl.col("queued_at").is_not_null())
    kind, processing = pl.col("kind"), pl.col("status") == Status.PROCESSING_QUEUED
    lane = kind.replace_strict({k.value: lane_of(k, COLLECT) for k in Kind}, return_dtype=pl.String)
    since = pl.when(processing).then("processing_queued_at").otherwise("queued_at")
    return (
        due.with_columns(
            task=kind.replace_strict(KIND_LABEL, return_dtype=pl.String) + " #" + pl.col("number").cast(pl.String),
            host=pl.when(pl.col("processing_started_at").is_not_null()).then("processor").otherwise("service"),
            system=kind.is_in([k.value for k in SYSTEM_KINDS]),
            plain=pl.col("status").replace_strict(_WORD, return_dtype=pl.UInt8),
            lane=pl.when(processing | (lane == PROCESS)).then(pl.lit("")).otherwise(pl.col("site") + "\n" + lane),
            # Instants need 51 bits until 2041, 52 until 2112; numbers 40. One number sorts twice as fast as two.
            age=pl.col("queued_at").cast(pl.Int128) * 2**40 + pl.col("number"),
            turn=((9 - pl.col("priority")) * 2**52 + since).cast(pl.Int128) * 2**40 + pl.col("number"),
        )
        .select(*_PAGE, "system", "plain", "lane", "turn", "age")
    )


def _narrow(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    """Take the columns that order and count, and number the rows."""
    narrow = rows.select(name for name in _ORDER if name not in ("row", "code")).with_row_index("row", first)
    return narrow.with_columns(pl.col("site", "lane").cast(pl.Categorical), code="plain")


def _changes(changes: Mapping[int, LiveRow | None], business: str) -> pl.DataFrame:
    rows = [live for live in changes.values() if live is not None and live[0].business == business]
    return _prepared(frame_of(rows), business)


def _difference(before: Snapshot, after: Snapshot) -> Mapping[int, LiveRow | None] | None:
    """Tell what is not the same in one of two snapshots as in the other, where that is easily known."""
    if after.base is before.base:
        known = after.overlay
    elif after.base.before() is before.base:
        known = {**after.base.changes, **after.overlay}
    else:
        return None
    if not before.overlay.keys() <= known.keys():
        return None
    old = before.overlay
    return {task_id: row for task_id, row in known.items() if task_id not in old or old[task_id] is not row}


_Changes = Mapping[int, LiveRow | None]
_Asking = tuple[str | None, Filter, int, str | None]  #: at which site which filter, as of when, processors called what


class _Book:
    """What a business has in the queue as of a snapshot; made of the book of another, where the difference is known."""

    def __init__(self, snapshot: Snapshot, business: str, other: _Book | None = None) -> None:
        self._snapshot, self._business = snapshot, business
        self.order: pl.DataFrame
        self._all: pl.DataFrame
        changes = None if other is None else _difference(other._snapshot, snapshot)
        fresh_start = changes is None
        if other is None or changes is None:
            changes = snapshot.overlay
            self._stock, self._tail = _prepared(snapshot.base.frame(), business), _changes(changes, business)
            rows, fresh = _narrow(self._stock, 0), _narrow(self._tail, self._stock.height)
        else:
            new = _changes(changes, business)
            self._stock, self._tail = other._stock, other._tail.vstack(new).rechunk()
            rows, fresh = other.order, _narrow(new, other._all.height)
        gone = pl.Series(list(changes), dtype=pl.Int64)
        held = pl.Series([queue for queue, (_, hold) in snapshot.queues.items() if hold is not None], dtype=pl.Int64)
        is_held = pl.col("queue").is_in(held.implode())
        #: newest first; `row` tells where in all rows
        self.order = (
            rows.filter(~pl.col("task_id").is_in(gone.implode()))
            .vstack(fresh)
            .sort("age", descending=True)
            .with_columns(code=pl.when(is_held).then(pl.lit(_PAUSED, pl.UInt8)).otherwise("plain"))
        )
        self._all = self._stock.vstack(self._tail)  # shares the memory of both
        if self._tail.height > LONGEST_TAIL:
            self._stock, self._tail = self._all[self.order["row"]], self._tail.clear()
            self._all = self._stock
            self.order = self.order.with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        self._found: dict[_Asking, pl.Series] = {}
        self._found_before = {} if other is None or fresh_start else other._carry(changes)
        self._holds = {hold.hold_id: hold for hold in snapshot.holds}
        self._throttles = {throttle.throttle_id: throttle for throttle in snapshot.throttles}
        self._views: _Kept[_View] = _Kept(1, 64)
        self._lanes: _Kept[pl.Series] = _Kept(1, 64)
        self._pages: _Kept[pl.DataFrame] = _Kept(1, 64)

    def view(self, *asked: Any) -> _View:
        return self._views.get(None, asked, lambda: self._view(*asked))

    def _view(
        self,
        site: str | None,
        found: tuple[Filter, int, str | None] | None,
        words: frozenset[str],
        system: bool,
        sort: str,
        descending: bool,
    ) -> _View:
        rows = self.order.lazy()
        if site is not None:
            rows = rows.filter(pl.col("site") == site)
        if found is not None:
            rows = rows.filter(pl.col("task_id").is_in(self._matching((site, *found)).implode()))
        asked = rows.select("row", "system", "code").collect()
        n_system = int(asked["system"].sum())
        if not system:
            asked = asked.filter(~pl.col("system"))
        counts = dict(asked["code"].value_counts().rows())
        if words:
            asked = asked.filter(pl.col("code").is_in([WORDS.index(word) for word in words]))
        order = asked["row"]  # newest first
        if sort == "queued_at":
            order = order if descending else order.reverse()
            return _View(order, tuple(int(counts.get(code, 0)) for code in range(len(WORDS))), n_system)
        if sort == "word":
            by = asked["code"].replace_strict(dict(enumerate(WORDS)), return_dtype=pl.String)
        else:
            by = self._all[{"task": "number"}.get(sort, sort)].gather(order)
            by = by.str.to_lowercase() if by.dtype == pl.String else by
        order = pl.DataFrame({"row": order, "by": by}).sort(
            "by", descending=descending, nulls_last=True, maintain_order=True
        )["row"]  # fmt: skip
        return _View(order, tuple(int(counts.get(code, 0)) for code in range(len(WORDS))), n_system)

    def _matching(self, asking: _Asking) -> pl.Series:
        """Find the ids that a filter does; of what it found before only what changed since is asked anew."""
        site, wanted, as_of, processors = asking
        place = Place(self._business, () if site is None else (site,), processors)
        if asking not in self._found_before or wanted.columns & OF_QUEUES:
            found = living(self._snapshot, place, wanted, as_of, ())["task_id"]
        else:
            before, changes = self._found_before[asking]
            rows = frame_of(row for row in changes.values() if row is not None)
            gone = pl.Series(list(changes), dtype=pl.Int64)
            found = before.filter(~before.is_in(gone.implode()))
            found = found.append(among(rows, place, wanted, as_of)["task_id"])
        self._found[asking] = found
        return found

    def _carry(self, changes: Mapping[int, LiveRow | None]) -> dict[_Asking, tuple[pl.Series, _Changes]]:
        """Hand on what filters found, each with what has changed since; of those asked last, while that is little."""
        kept: dict[_Asking, tuple[pl.Series, _Changes]] = {
            asking: (found, {**since, **changes}) for asking, (found, since) in self._found_before.items()
        } | {asking: (found, changes) for asking, found in self._found.copy().items()}
        few = [(asking, one) for asking, one in kept.items() if len(one[1]) <= LONGEST_TAIL]
        return dict(few[-MOST_FOUND:])

    def system_tasks(self, kinds: Collection[str]) -> pl.Series:
        """Pick the system tasks of some kinds, newest first."""
        order = self.order.filter("system")["row"]
        return order.filter(self._all["kind"].gather(order).is_in(list(kinds)))

    def page(self, asked: tuple[object, ...], view: _View, page: int, size: int, zone: str) -> pl.DataFrame:
        """Give a view's page; made once for all who look at it."""
        order = view.order.slice(page * size, size)
        return self._pages.get(None, (*asked, page, size, zone), lambda: self.rows(order, zone))

    def at_work(self) -> pl.DataFrame:
        """Give what a service is at work on; made once for all who look at it."""
        return self._pages.get(None, ("at work",), self._at_work)

    def _at_work(self) -> pl.DataFrame:
        order = self.order.filter(pl.col("plain").is_in([WORDS.index("Running"), WORDS.index("Stopping")]))["row"]
        processing = pl.col("processing_started_at").is_not_null()
        return (
            self._all.select(*_PAGE)[order]
            .filter(pl.col("status").is_in(sorted(RUNNING)))
            .select(
                "task_id", "task", "site", "kind", "host",
                target=pl.coalesce("target", "name"),
                stopping=pl.col("status") == Status.STOPPING,
                since_at=pl.when(processing).then("processing_started_at").otherwise("started_at"),
                progress=pl.when(processing).then("processing").otherwise("collecting"),
            )
            .sort("since_at", "task_id")
        )  # fmt: skip

    def rows(self, order: pl.Series, zone: str) -> pl.DataFrame:
        page = self._all.select(*_PAGE, "plain", "lane", "turn")[order]
        tell, places = Words(self._snapshot.now, zone), self._places(page)
        told = pl.DataFrame(
            [self._told(task, places.get(task["task_id"]), tell) for task in page.to_dicts()],
            schema={"word": pl.String, "cause": pl.String, "held_by": pl.Int64, "place": pl.Int64, "of": pl.Int64,
                    "why": pl.String},
            orient="row",
        )  # fmt: skip
        instants = pl.col([name for name in _PAGE if name.endswith("_at")]).cast(pl.Datetime("us"))
        return page.select(_PAGE).drop("queue").with_columns(instants).hstack(told)

    def _told(self, task: dict[str, Any], place: tuple[int, int] | None, tell: Words) -> tuple[Any, ...]:
        """Word a task, and say what it waits for, if it waits."""
        if task["queue"] is None:
            return WORDS[task["plain"]], None, None, None, None, None
        cause, held_by = self._snapshot.queues[task["queue"]]
        if held_by is not None:
            hold = asdict(self._holds[held_by])
            if hold["target_kind"] == "schedule":
                hold["target"] = f"“{task['name']}”"  # its runs bear its name
            return PAUSED, cause, held_by, None, None, tell.hold(hold)
        assert place is not None
        throttle = self._throttles.get(self._snapshot.throttled.get(task["queue"], 0))
        why = tell.throttle(asdict(throttle)) if throttle is not None else f"Waits for {WAITS_FOR[Cause(cause)]}"
        why += f", no. {place[0]:,} of {place[1]:,}"
        return WORDS[task["plain"]], cause, None, *place, why

    def _places(self, page: pl.DataFrame) -> dict[int, tuple[int, int]]:
        """Tell which of how many each waiting task of a page is, in its lane."""
        places: dict[int, tuple[int, int]] = {}
        for part in page.filter(pl.col("queue").is_not_null()).partition_by("lane"):
            name = part["lane"][0]
            lane = self._lane(name)
            turns = lane.search_sorted(part["turn"], "left").to_list()
            places |= {task: (turn + 1, lane.len()) for task, turn in zip(part["task_id"], turns, strict=True)}
        return places

    def _lane(self, lane: str) -> pl.Series:
        """Line up who waits in a lane by their turns, no two of which are the same."""
        waiting = (pl.col("lane") == lane) & pl.col("queue").is_not_null() & (pl.col("code") != _PAUSED)
        turns = self.order.lazy().filter(waiting).select("turn")
        return self._lanes.get(None, lane, lambda: turns.collect().to_series().sort())


_BOOKS: _Kept[_Book] = _Kept(owners=3, things=64)


def _book(snapshot: Snapshot, business: str) -> _Book:
    return _BOOKS.get(snapshot, business, lambda: _Book(snapshot, business, _BOOKS.latest(business)))
