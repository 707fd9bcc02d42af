"""Files to take away, by plain links: all of what a page shows a part of, as CSV.

A link says what is wanted and nothing of who wants it: it never goes stale, can be kept, sent on or given to `curl`,
and whoever follows it gets what he may see at that moment, by the same reads as pages, or is told why not. Files are
made beside all else, a few at a time and one for each person, and left off once nobody waits for them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

import polars as pl
from anyio import CapacityLimiter, Lock, create_task_group, to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import activity, filters
from .access import Actor
from .catalogue import Asked
from .clock import SECOND
from .console import current
from .errors import Busy, DrainboardError, Invalid, NotAllowed, NotFound
from .filters import Filter
from .ledger import ReportResult
from .lifecycle import Kind
from .reports import as_csv
from .sight import Sight
from .tables import csv
from .web import COOKIE, EXPORT, tell

MOST = 100_000  #: rows of a file
NOT_READY = "The console is not ready yet; try again shortly"
LOGS = {"Scan log": Kind.SCAN, "Audit log": Kind.AUDIT}
_AT_A_TIME = CapacityLimiter(2)  #: files: each may take some hundred MB while it is made
_TURNS = WeakValueDictionary[str, Lock]()  #: by name: nobody has more than one of them made


@dataclass(frozen=True, slots=True)
class File:
    """What somebody gets, and under which name."""

    name: str
    content: bytes


# --- addresses


def of_activity(wanted: Filter, about: str | None) -> str:
    """Write the address of the rows of the audit trail that a filter finds."""
    return _address("activity", {"about": about, **_of_filter(wanted)})


def of_log(business: str, site: str, log: str, wanted: Filter) -> str:
    """Write the address of a log of a site, of what a filter finds in it."""
    return _address("log", {"business": business, "site": site, "log": LOGS[log].value, **_of_filter(wanted)})


def of_table(site: str, result: ReportResult, n: int) -> str:
    """Write the address of a table of what a report has found, as it is seen at a site."""
    asked = {"business": result.business, "site": site, "report": str(result.task_id), "table": str(n)}
    return _address("report", asked)


def _address(what: str, asked: Mapping[str, str | None]) -> str:
    given = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{EXPORT}{what}?{given}" if given else f"{EXPORT}{what}"


def _of_filter(wanted: Filter) -> dict[str, str]:
    return {"q": wanted.text, "zone": wanted.zone} if wanted.text else {}


# --- files


def logged(log: str, wanted: Filter) -> Filter:
    """Make the filter that finds in a log what another one finds among all tasks."""
    return filters.both(filters.parse(f"type:{LOGS[log]}", wanted.zone), wanted)


def _activity(sight: Sight, asked: Mapping[str, str]) -> File:
    wanted, about = _filter(asked, activity.LANGUAGE), asked.get("about")
    if about is not None and about not in activity.ABOUT:
        raise Invalid(f"Rows are about {_any_of(activity.ABOUT)}; correct “about” in the address")
    return _newest("activity", sight.audit_export(wanted, about, MOST + 1))


def _log(sight: Sight, asked: Mapping[str, str]) -> File:
    log = next((name for name, kind in LOGS.items() if kind == asked.get("log")), None)
    if log is None:
        raise Invalid(f"A log is {_any_of(tuple(LOGS.values()))}; correct “log” in the address")
    business, site = _place(sight, asked)
    of_log = logged(log, _filter(asked))
    return _newest(f"{log} {site}", sight.ended_tasks(sight.place(business, site), Asked(of_log), MOST + 1))


def _table(sight: Sight, asked: Mapping[str, str]) -> File:
    business, site = _place(sight, asked)
    report, n = _number(asked.get("report")), _number(asked.get("table"))
    result = None if report is None else sight.result(business, site, report)
    tables = [] if result is None else result.result["tables"]
    if result is None or n is None or n >= len(tables):
        raise NotFound("There is no such result at this site, or none that you may see")
    day = f"{datetime.fromtimestamp(result.made_at / SECOND, UTC):%Y-%m-%d}"
    return File(f"{_slug(result.name)}-{_slug(tables[n]['title'])}-{day}.csv", as_csv(tables[n]).encode())


def _newest(name: str, rows: pl.DataFrame) -> File:
    """Make a file of rows, the newest first; where there are more than one holds, its name says that it is cut."""
    cut = f" (newest {MOST})" if rows.height > MOST else ""
    return File(f"{name}{cut}.csv", csv(rows.head(MOST)))


def _filter(asked: Mapping[str, str], language: filters.Language | None = None) -> Filter:
    return filters.parse(asked.get("q", ""), asked.get("zone", "UTC"), language)


def _place(sight: Sight, asked: Mapping[str, str]) -> tuple[str, str]:
    """Read off which site is meant; whoever may not see it is not told whether it is there."""
    business, site = asked.get("business"), asked.get("site")
    if not business or not site:
        raise Invalid("The address must name a business and a site")
    sight.place(business, site)
    if (business, site) not in sight.snapshot.zones:
        raise NotFound("There is no such site in this business")
    return business, site


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _any_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


# --- routes

_Maker = Callable[[Sight, Mapping[str, str]], File]
_MADE: dict[str, tuple[_Maker, tuple[str, ...]]] = {
    "activity": (_activity, ("q", "zone", "about")),
    "log": (_log, ("business", "site", "log", "q", "zone")),
    "report": (_table, ("business", "site", "report", "table")),
}
"""What makes a file, and what its address may say: of a word that nobody reads, too much would be given."""


class _SignedOut(NotAllowed):
    """You are signed out: sign in, and follow the link again."""


_STATUS: tuple[tuple[type[DrainboardError], int], ...] = (
    (_SignedOut, 401), (NotAllowed, 403), (NotFound, 404), (Invalid, 400),
)  # fmt: skip


async def give(request: Request) -> Response:
    """Make a file for whoever asks, or tell him why there is none; leave it off when he leaves."""
    gone, answer = threading.Event(), Response()
    async with create_task_group() as both:

        async def heed() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            gone.set()
            both.cancel_scope.cancel()

        both.start_soon(heed)
        answer = await _answer(request, gone.is_set)
        both.cancel_scope.cancel()
    return answer


async def _answer(request: Request, gone: Callable[[], bool]) -> Response:
    what, cookie = request.path_params["what"], request.cookies.get(COOKIE)
    try:
        turn = _TURNS.setdefault(_who(cookie).name, Lock())
        async with turn:
            file = await to_thread.run_sync(_make, what, cookie, request.query_params, gone, limiter=_AT_A_TIME)
    except DrainboardError as told:
        status = next((status for kind, status in _STATUS if isinstance(told, kind)), 503)
        return tell(request, f"{told}", status)
    return Response(file.content, headers={
        "content-type": "text/csv; charset=utf-8", "content-disposition": _taken_as(file.name),
        "cache-control": "no-store", "x-content-type-options": "nosniff",
    })  # fmt: skip


def _who(cookie: str | None) -> Actor:
    console = current()
    if console is None or console.access is None:
        raise Busy(NOT_READY)
    who = console.access.who(cookie)
    if who is None:
        raise _SignedOut
    return who


def _make(what: str, cookie: str | None, asked: Mapping[str, str], gone: Callable[[], bool]) -> File:
    """Make it with the rights of now: it may have had to wait for its turn."""
    who, console = _who(cookie), current()
    if console is None or console.watch is None:
        raise Busy(NOT_READY)
    if what not in _MADE:
        raise NotFound.named("file to take away", what[:60], _MADE)
    make, words = _MADE[what]
    unknown = next((word for word in asked if word not in words), None)
    if unknown is not None:
        raise Invalid(f"The address says {_any_of(words)}; there is no “{unknown[:60]}”")
    return make(Sight(console.watch, who.grants, who.name, gone), asked)


def _taken_as(name: str) -> str:
    """Name a file for a browser, and once more in plain letters for what knows no others."""
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


routes = [Route(EXPORT + "{what}", give, methods=["GET"])]
