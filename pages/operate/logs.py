"""Logs: what scans and audits came to, latest first: outcome, duration, changes, who ended it. To take away, too."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from engine import exports
from engine.catalogue import Asked
from engine.exports import LOGS
from engine.lifecycle import STATUS, queue_word, task_label
from pages.shared import card, chips, export, finding, frame, grid, tasklist, times
from pages.shared.tasklist import Query

engine = frame.engine()
business, site = frame.site()
GRID = repr(("logs", business, site))

GLYPHS = {"Finished": ("tick", "done"), "Cancelled": ("block", "stop"), "Failed": ("cross", "fail")}
COLUMNS: list[grid.Row] = [
    {"id": "task", "label": "Task", "type": "link", "width": "104px", "card": "end"},
    {"id": "target", "label": "Device / Resource", "type": "text", "width": "1fr", "card": "lead"},
    {"id": "scope", "label": "Scope", "type": "text", "width": "1.1fr"},
    {"id": "service", "label": "Service", "type": "text", "width": "1.05fr", "pale": True},
    {"id": "initiator", "label": "Initiator", "type": "text", "width": ".9fr", "pale": True},
    tasklist.instant("started", "Started"),
    tasklist.instant("finished", "Ended"),
    {"id": "span", "label": "Duration", "type": "number", "width": "76px"},
    {"id": "outcome", "label": "Outcome", "type": "status", "width": "1.9fr", "card": "line"},
    {"id": "by", "label": "Ended by", "type": "text", "width": ".85fr", "pale": True},
]
SORTS = {"started": "started_at", "finished": "finished_at"}


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw a page of the chosen log."""
    frame.watch(business, site)
    sight, address = frame.sight(), st.query_params
    chosen = next((name for name in LOGS if name.split()[0].lower() == address.get("log")), "Scan log")
    query, now = Query.of({**address, "tab": "completed"}), frame.known_at(engine)
    place = sight.place(business, site)
    frame.head("Logs", site, engine)
    with st.container(horizontal=True, vertical_alignment="center", key="filter"):
        logs = st.container(width="content")
        wanted = finding.read(query.text)
        with st.container():
            changes = dict(finding.search(sight, place, query.text, tasklist.RESET))
        export.link(exports.of_log(business, site, chosen, wanted))
    of_log = {log: Asked(exports.logged(log, wanted)) for log in LOGS}
    counts = {log: sum(sight.counts(place, asked).ended) for log, asked in of_log.items()}
    with logs:
        pressed = chips.chips(counts, chosen, key="logs", label="Log")
    if pressed and pressed != chosen:
        changes |= {"log": pressed.split()[0].lower(), **tasklist.RESET}
    frame.turn_to(changes)
    frame.hold(grid.follow(GRID, address))
    _, opened = grid.state(GRID)
    if opened:
        shown = card.find_anywhere(sight, opened, now)
        card.top(shown, now, engine.settings.int("attempts"), key=GRID, stale=not sight.pulse.well, logged=True)
    page = sight.page(place, of_log[chosen], None, sort=query.sort, descending=query.down, after=query.after,
                      before=query.before, size=tasklist.ROWS)  # fmt: skip
    rows = page.rows.to_dicts()
    stopped_by = sight.stopped_by(place, rows)
    there = times.zone()
    today = times.day(now, there)
    if not rows:
        said = "Nothing has ended that matches." if wanted.text else f"No {LOGS[chosen]} has ended here yet."
        st.html(f"<div class='d-evidence'>{said}</div>")
    answer = grid.grid(
        [line(row, stopped_by.get(row["task_id"]), today, there) for row in rows],
        tasklist.widened(COLUMNS, rows, today, there), key=GRID, label=chosen, picks=False, lifts=True,
        stale=not sight.pulse.well, view=query.view + chosen,
        sort={"id": next((c for c, by in SORTS.items() if by == query.sort), ""), "desc": query.down},
    )  # fmt: skip
    if answer.sort:
        frame.turn_to({"sort": "-" * answer.sort["desc"] + SORTS[answer.sort["id"]], **tasklist.RESET})
    tasklist.pager(page, counts[chosen])


def line(task: Mapping[str, Any], stopped_by: str | None, today: date, there: ZoneInfo) -> grid.Row:
    """Word a task that has ended, as queue and logs do."""
    start, end = task["started_at"], task["finished_at"]
    word = queue_word(STATUS[task["status"]], True, False, task["outcome"], task["errors"])
    glyph, token = GLYPHS[word.split()[0]]
    return {
        "id": str(task["task_id"]),
        "label": task_label(task["kind"], task["number"]),
        "task": {"t": task_label(task["kind"], task["number"]), "h": f"?task={task['task_id']}"},
        "target": task["target"] or task["name"],
        "scope": task["scope"],
        "service": task["service"],
        "initiator": task["initiator"],
        "started": tasklist.told(start, end, today, there) if start is not None else None,
        "finished": tasklist.told(end, None, today, there),
        "span": tasklist.span(task),
        "outcome": {"t": word, "g": glyph, "k": token, "s": tasklist.result(task)},
        "by": stopped_by or task["processor"] or task["service"],
    }


live()
