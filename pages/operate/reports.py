"""Reports: the three reports and the outlier calculation, what they have found, and the assets that they go by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from engine.clock import SECOND
from engine.inventory import SORTS
from engine.lifecycle import COMPARISON, EXTERNAL, OUTLIERS, OVERVIEW, Kind, result_site
from engine.messages import StartReport
from engine.roles import Right
from pages.shared import addresses, frame, grid, helps, presses, queue, times
from pages.shared.found import cell, found, of
from pages.shared.verdict import verdict

TELLS = {
    OVERVIEW: "What there is, by type and by site, what is new and what is gone, and the top outliers.",
    COMPARISON: "Sites side by side: assets, how many are online, new, gone or seen lately, their types and scores.",
    EXTERNAL: "What can be reached from outside: public addresses and what is in a cloud, and when it was last seen.",
    OUTLIERS: "Scores how unlike its peers each asset is, from 0 to 10, and says what sets it apart.",
}
KINDS = {name: Kind.OUTLIER if name == OUTLIERS else Kind.REPORT for name in TELLS}
ROWS = 50  #: assets on a page
FEW = 8  #: results that are listed unless all are asked for
AWAITED = 4 * SECOND  #: how long a start counts before pages see its task

engine = frame.engine()
business, site = frame.site()
OF = {name: result_site(kind, name, site) for name, kind in KINDS.items()}  #: None: of the whole business
RESULTS = f"results {business} {site}"


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the reports with what is under way, and what they have found so far."""
    frame.watch(business, site)
    sight = frame.sight()
    well, now = sight.pulse.well, frame.known_at(engine)
    at_work, results = sight.reports_at_work(business, site), sight.results(business, site)
    frame.head("Reports", f"of {site} and {business}", engine)
    if not any(may_start(name) for name in TELLS):
        st.html("<div class='d-readonly'>You read this page; starting a report needs the role of a site admin.</div>")
    say(at_work, results, now, well)
    for name in TELLS:
        offer(name, [task for task in at_work if task["name"] == name], now, well)
    listed(results, now, well)


def say(at_work: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], now: int, well: bool) -> None:
    """Open the page with what is being made, or what was made last."""
    if not well:
        verdict("stale", f"No news for {frame.silence(engine)}: this is how it was at {times.clock(now)}",
                frame.trouble(engine))  # fmt: skip
        return
    last = next(iter(results), None)
    made = (
        f"Last made: {last['name']}, {times.age(now - last['made_at'])} ago, for {last['created_by']}."
        if last else "Nothing has been made here yet: start one below."
    )  # fmt: skip
    if at_work:
        n = len(at_work)
        verdict("busy", f"{n:,} {'report is' if n == 1 else 'reports are'} being made", f"{_named(at_work)}. {made}")
    else:
        verdict("steady", "No report is being made", made)


def _named(tasks: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(task["name"] for task in tasks)
    return ", ".join(f"{name} ({n:,})" if n > 1 else name for name, n in counts.items())


def may_start(name: str) -> bool:
    """Tell whether to offer it to whoever looks; the engine decides."""
    return frame.allowed(Right.OPERATE, business, OF[name])


def offer(name: str, tasks: Sequence[Mapping[str, Any]], now: int, well: bool) -> None:
    """Draw a report's row: what it tells and of what, how far it is where it is being made, and its start."""
    key, told = name.replace(" ", "-").lower(), f"told {business} {site} {name}"
    refused, asked_at = st.session_state.get(told, ("", 0))
    awaited = not tasks and not refused and now - asked_at < AWAITED
    with st.container(key=f"one-report-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"row-report-{key}"):
            who = "site" if OF[name] else "business"
            tells = f"{TELLS[name]} Of {of(business, OF[name])}; {who} admins may start it."
            st.html(f"<div class='d-what'><b>{escape(name)}</b><span>{escape(tells)}</span></div>")
            if doing := "Started" if awaited else _how_far(tasks, now):
                st.html(f"<div class='d-doing'>{escape(doing)}</div>", width="content")
            why = _why_not(name, bool(tasks) or awaited, well)
            said = why or f"Start: {name}"
            if presses.button("Start", key=f"start {name}", help=said, disabled=why is not None, width="content"):
                outcome = frame.do(StartReport(business, site, name), f"report-{uuid4()}")
                st.session_state[told] = outcome.refused or "", engine.now
                frame.again()
        if refused:
            st.html(f"<div class='d-told no' role='alert'>{escape(refused)}</div>")


def _why_not(name: str, being_made: bool, well: bool) -> str | None:
    """Say why it can't be started now, if so."""
    if not may_start(name):
        return f"Starting it needs the role of a {'site' if OF[name] else 'business'} admin"
    if being_made:
        return "It is being made already"
    return None if well else "The engine does not answer"


def _how_far(tasks: Sequence[Mapping[str, Any]], now: int) -> str:
    if not tasks:
        return ""
    task = dict(tasks[-1])  # the one that came first
    part, why = queue.progress(task), queue.why(task, now, {})
    more = f", {len(tasks) - 1:,} more" if len(tasks) > 1 else ""
    said = f"{part * 100:.0f}\u202f%" if part is not None else why
    return f"{task['word']}{f', {said}' if said else ''}{more}"


def listed(results: Sequence[Mapping[str, Any]], now: int, well: bool) -> None:
    """List what was found, the newest first; one that is chosen opens in place of the page."""
    every = "all" in st.query_params
    few = len(results) <= FEW
    with st.container(horizontal=True, vertical_alignment="bottom", key="report-results"):
        counted = f"{len(results):,}, the newest first" if few or every else f"the newest {FEW} of {len(results):,}"
        st.html(f"<div class='d-h2'><b>Results</b><span>{counted if results else 'none yet'}</span></div>")
        if not few:
            label, to = ("Show the newest", None) if every else (f"Show all {len(results):,}", "results")
            st.button(label, key="every", width="content", on_click=lambda: frame.address({"all": to}))
    if not results:
        return
    rows = [
        {
            "id": str(one["task_id"]),
            "label": one["name"],
            "name": {"t": one["name"], "h": f"?report={one['task_id']}"},
            "of": of(business, one["site"]),
            "made": {"t": times.moment(one["made_at"], now), "s": times.age(now - one["made_at"])},
            "by": one["created_by"],
        }
        for one in (results if every else results[:FEW])
    ]
    columns: list[grid.Row] = [
        {"id": "name", "label": "Report", "type": "link", "width": "1.6fr", "card": "lead"},
        {"id": "of", "label": "Of", "type": "text", "width": "1.2fr", "card": "line"},
        {"id": "made", "label": "Made", "type": "two", "width": "1.2fr", "card": "end"},
        {"id": "by", "label": "For", "type": "text", "width": "1fr", "pale": True},
    ]
    answer = grid.grid(rows, columns, key=RESULTS, label="Results", sort={"id": "made", "desc": True}, picks=False,
                       stale=not well)  # fmt: skip
    if answer.open is not None:
        frame.address({"report": answer.open})
        grid.open_row(RESULTS, None)
        st.rerun()


# --- assets

COLUMNS: list[grid.Row] = [
    {"id": "name", "label": "Asset", "type": "text", "width": "1.3fr", "sort": "asc", "card": "lead"},
    {"id": "target", "label": "Address", "type": "text", "width": "1.2fr", "sort": "asc", "card": "line"},
    {"id": "type", "label": "Type", "type": "text", "width": "1fr", "sort": "asc"},
    {"id": "online", "label": "Online", "type": "text", "width": ".6fr", "sort": "desc", "pale": True},
    {"id": "first_seen_at", "label": "First seen", "type": "text", "width": "1.1fr", "sort": "desc", "pale": True},
    {"id": "last_seen_at", "label": "Last seen", "type": "text", "width": "1.1fr", "sort": "desc", "pale": True},
    {"id": "outlier_score", "label": "Outlier score", "type": "number", "width": ".8fr", "sort": "desc", "card": "end"},
]


@st.fragment(run_every=None if frame.refresh() is None else max(5, frame.refresh() or 0))
def assets() -> None:
    """List the site's assets, those least like their peers first unless asked otherwise."""
    frame.watch(business, site)
    address, now = st.query_params, frame.known_at(engine)
    more = helps.mark("reports.score", "the outlier score")
    st.html("<div class='d-h2'><b>Assets</b><span>The outlier score tells how unlike the site's other assets one is, "
            f"from 0 to 10; “–” until it is calculated.</span>{more}</div>")  # fmt: skip
    text = st.text_input("Search assets", key="assets", bind="query-params", label_visibility="collapsed",
                         placeholder="Search asset, address, type …", max_chars=200)  # fmt: skip
    sort = address.get("sort", "-outlier_score")
    sort = sort if sort.removeprefix("-") in SORTS else "-outlier_score"
    page = addresses.page(address)
    column, desc = sort.removeprefix("-"), sort.startswith("-")
    there = frame.sight().assets(
        business, site, search=(text or "")[:200], sort=column, descending=desc, page=page, size=ROWS
    )
    rows = [_asset(row, now) for row in there.rows.to_dicts()]
    if rows:
        answer = grid.grid(rows, COLUMNS, key=f"assets {business} {site}", label="Assets", picks=False,
                           sort={"id": column, "desc": desc}, view=repr((text, sort, there.page)))  # fmt: skip
        if answer.sort:
            frame.turn_to({"sort": "-" * answer.sort["desc"] + answer.sort["id"], "page": None})
    else:
        said = "No asset matches." if text else "No task has found an asset here yet."
        st.html(f"<div class='d-evidence'>{said}</div>")
    _turn(there.page, there.total)


def _asset(row: Mapping[str, Any], now: int) -> grid.Row:
    return {
        "id": row["target"],
        "name": row["name"],
        "target": row["target"],
        "type": row["type"],
        "online": cell(row["online"], "yes"),
        "first_seen_at": cell(row["first_seen_at"], "instant", now),
        "last_seen_at": cell(row["last_seen_at"], "instant", now),
        "outlier_score": cell(row["outlier_score"], "score"),
    }


def _turn(page: int, total: int) -> None:
    """Say what is shown, and offer to turn the page where there are several."""
    last = max(total - 1, 0) // ROWS
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        many = f"{total:,} {'asset' if total == 1 else 'assets'}"
        shown = f"{page * ROWS + 1:,}–{min((page + 1) * ROWS, total):,} of {many}" if last else many
        st.html(f"<div class='d-foot'>{shown}. Times are {escape(times.zone().key)}.</div>")
        for label, to in (("Previous", page), ("Next", page + 2)) if last else ():
            st.button(label, key=f"page.{label}", disabled=not 1 <= to <= last + 1, width="content",
                      on_click=lambda to=to: frame.address({"page": str(to) if to > 1 else None}))  # fmt: skip


# --- one result


def opened(task_id: str) -> None:
    """Show one result in place of the page, and the way back."""
    number = addresses.number(task_id) or 0
    result = frame.sight().result(business, site, number)
    above()
    if result is None:
        st.html("<div class='d-finding'>There is no such result here.</div>"
                "<div class='d-evidence'>It may be of another site, or of a whole business that you see but a part of; "
                "or the report is still being made.</div>")  # fmt: skip
        st.button("All reports", key="all-reports", width="content", on_click=back)
        return
    found(result, site, frame.known_at(engine), back)


@st.fragment(run_every=frame.refresh())
def above() -> None:
    """Draw the head row above a result, which stays as it is."""
    frame.watch(business, site)
    frame.head("Reports", f"of {site} and {business}", engine)


def back() -> None:
    """Leave the result for the page."""
    frame.address({"report": None})


if (chosen := st.query_params.get("report")) is not None:
    opened(chosen)
else:
    live()
    assets()
