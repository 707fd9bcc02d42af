"""Assets as they stand, what reports found, and what a report that ends now finds: reads of the store.

A result is read as it was kept; only its place says who may see it, which is the caller's to ask. Instants are integer
microseconds in arguments and plain values, `Datetime("us")` in frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from . import messages as m
from . import reports
from .errors import Invalid
from .ledger import AssetSeen, Detail, ReportResult
from .lifecycle import result_site
from .simulated import Analyst
from .standing import SCOPE, sites
from .store import Store

SORTS = ("name", "target", "type", "online", "first_seen_at", "last_seen_at", "outlier_score")
MOST_ROWS = 200
LONGEST_SEARCH = 200
MOST_RESULTS = 200
_COLUMNS = ", ".join(reports.SCHEMA.names())


@dataclass(frozen=True, slots=True)
class Found:
    """One page of the assets asked for (columns of the table asset but for batch), and how many there are."""

    rows: pl.DataFrame
    total: int
    page: int  #: the page that this is: the last one, where a later one was asked for


def assets(store: Store, business: str, site: str | None = None) -> pl.DataFrame:
    """Give the assets of a business or of one site, as reports take them."""
    return store.read(
        f"select {_COLUMNS} from asset where {SCOPE} order by business, site, target",
        {"business": business, "site": site},
    )


def listing(
    store: Store,
    business: str,
    site: str,
    *,
    search: str = "",
    sort: str = "outlier_score",
    descending: bool = True,
    page: int = 0,
    size: int = 50,
) -> Found:
    """List a page of a site's assets, those least like their peers first unless asked otherwise; empty values last.

    `search` is looked for as it is, in any case, in name, address and type.
    """
    if sort not in SORTS:
        raise Invalid(f"Assets can't be sorted by “{sort}”; they can by {', '.join(SORTS)}", sort=sort)
    if page < 0 or not 1 <= size <= MOST_ROWS:
        raise Invalid(f"Pages count from 0 and have 1 to {MOST_ROWS} rows", page=page, size=size)
    if len(search) > LONGEST_SEARCH:
        raise Invalid(f"A search has at most {LONGEST_SEARCH} characters")
    here = """from asset where business = $business and site = $site
              and ($search = '' or contains(lower(name || chr(10) || target || chr(10) || type), lower($search)))"""
    asked = {"business": business, "site": site, "search": search.strip()}
    total: int = store.read(f"select count(*) {here}", asked).item()
    page = min(page, max(total - 1, 0) // size)
    by = f"lower({sort})" if reports.SCHEMA[sort] == pl.String else sort
    rows = store.read(
        f"""select {_COLUMNS} {here} order by {by} {"desc" if descending else "asc"} nulls last, target
            limit {size} offset {page * size}""",
        asked,
    )
    return Found(rows, total, page)


_PLACES = """business = $business and (site in (select unnest($sites::varchar[])) or (site is null and $whole))"""


def results(
    store: Store, business: str, sites: Sequence[str], *, whole: bool, most: int = MOST_RESULTS
) -> pl.DataFrame:
    """List what there is of some sites, and of the business as a whole where `whole` says so, the newest first.

    Columns: task_id, name, site, created_by, made_at.
    """
    return store.read(
        f"""
        select task_id, name, site, created_by, made_at from report_result where {_PLACES}
        order by made_at desc, task_id desc limit {min(most, MOST_RESULTS)}
        """,
        {"business": business, "sites": list(sites), "whole": whole},
    )


def result(store: Store, task_id: int) -> ReportResult | None:
    """Give what a task found; None where it found nothing, is not there, or has not ended."""
    found: list[ReportResult] = store.rows("report_result", "task_id = ?", [task_id])
    return found[0] if found else None


def result_place(store: Store, task_id: int) -> tuple[str, str | None] | None:
    """Tell of which business and site (None: of all of it) a task's result is, if it has one."""
    found = store.read("select business, site from report_result where task_id = $id limit 1", {"id": task_id})
    return next(found.iter_rows(), None)


def analyst(store: Store) -> Analyst:
    """Make what works a report out by the assets that are in the store when it ends."""

    def analyse(order: m.StartOrder, now: int) -> tuple[Detail | None, Sequence[AssetSeen]]:
        site = result_site(order.kind, order.name, order.site)
        known = sites(store, business=order.business)
        names = known.filter(~pl.col("archive"))["site"].to_list() if site is None else [site]
        scope = reports.Scope(order.business, site, names, now)
        return reports.analyse(order.kind, order.name, assets(store, order.business, site), scope)

    return analyse
