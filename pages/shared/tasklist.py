"""The list of all tasks as seed 2 tells it: what an address asks for, the tabs' columns, tasks as rows, the pager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from engine.catalogue import FIRST, SORTS, Counts, Key, Page
from engine.lifecycle import PAUSED, REASON_WORDS, STATUS, Status, Tab, task_label
from engine.sight import Sight

from . import chips, finding, frame, grid, queue, times

ROWS = 50  #: on a page
#: what is said of a tab without tasks
NOTHING = {
    Tab.ACTIVE: "Nothing is queued or running.",
    Tab.PROCESSING: "Nothing is being processed, nor waits for it.",
    Tab.SCHEDULED: "No task is to come later. One that is submitted for later stands here until its due time.",
    Tab.FAILED: "Nothing has failed or was stopped.",
    Tab.COMPLETED: "Nothing has been completed yet.",
}
TABS = tuple(Tab)
RESET = {"after": None, "before": None, "view": None}  #: what of an address goes where another list is asked for

#: shown status: its glyph and colour
GLYPHS = {
    "New": ("ring", "queued"), "Active": ("play", "run"), "Connecting": ("play", "run"), "Scanned": ("play", "proc"),
    "Connected": ("play", "proc"), "Processing, queued": ("ring", "proc"), "Processing": ("play", "proc"),
    "Processed": ("tick", "done"), "Stopping": ("square", "stop"), "Stopped": ("block", "stop"),
    "Canceled": ("cross", "fail"), PAUSED: ("bars", "hold"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """What a viewer asked for; the page's address keeps it."""

    tab: Tab = Tab.ACTIVE
    text: str = ""  #: in the filter language
    everywhere: bool = False  #: at all sites of the business
    system: bool = False
    hidden: bool = False
    sort: str = ""  #: a column; none: the tab's own
    down: bool = True
    after: Key | None = None
    before: Key | None = None

    @classmethod
    def of(cls, address: Mapping[str, str]) -> Query:
        """Read it off an address; what is not known there counts as not said."""
        name = address.get("tab", "").capitalize()
        tab = Tab(name) if name in TABS else Tab.ACTIVE
        sort = address.get("sort", "")
        column = sort.removeprefix("-")
        if column not in SORTS.get(tab, ()):
            column, down = FIRST.get(tab, ("", True))
        else:
            down = sort.startswith("-")
        after, before = Key.of(address.get("after", "")), Key.of(address.get("before", ""))
        return cls(
            tab, address.get("q", ""), "all" in address, "system" in address, "hidden" in address, column, down, after,
            None if after else before,
        )  # fmt: skip

    @property
    def view(self) -> str:
        """Name what is looked at: when it changes, so do the rows, whatever is selected."""
        return repr((self.tab, self.text, self.everywhere, self.system, self.hidden, self.sort, self.down, self.after,
                     self.before))  # fmt: skip


def switches(sight: Sight, business: str, query: Query, counts: Counts) -> finding.Changes:
    """Let people look at all sites, at system tasks and at hidden ones, of which it says how many there are."""
    system, hidden = counts.system.get(query.tab, 0), counts.hidden.get(query.tab, 0)
    offered = [
        ("all", "All sites", query.everywhere, len([b for b, _ in sight.places() if b == business]) > 1),
        ("system", f"{system:,} system {'task' if system == 1 else 'tasks'}", query.system, system > 0),
        ("hidden", f"{hidden:,} hidden", query.hidden, hidden > 0),
    ]
    shown = [(name, said, on) for name, said, on, useful in offered if useful or on]
    pressed = chips.chips({}, "", key="switches", label="Shown besides", switches=shown) if shown else ""
    on = {name: on for name, _, on in shown}
    return {pressed: None if on[pressed] else "shown", **RESET} if pressed else {}


# --- columns

_TASK: grid.Row = {"id": "task", "label": "Task", "type": "link", "width": "116px", "sort": "desc", "card": "end"}
_NAME: grid.Row = {"id": "name", "label": "Name", "type": "text", "width": ".95fr", "sort": "asc", "card": "lead"}
_TARGET: grid.Row = {"id": "target", "label": "Target", "type": "text", "width": "1fr", "sort": "asc"}
_SITE: grid.Row = {"id": "site", "label": "Site", "type": "text", "width": "1fr", "sort": "asc"}
_SERVICE: grid.Row = {"id": "service", "label": "Service", "type": "text", "width": "1fr", "sort": "asc", "pale": True}
_OWNER: grid.Row = {"id": "owner", "label": "Owner", "type": "text", "width": ".9fr", "sort": "asc", "pale": True}
_STATUS: grid.Row = {"id": "status", "label": "Status", "type": "status", "width": "2.6fr", "sort": "asc",
                     "card": "line"}  # fmt: skip
_SPAN: grid.Row = {"id": "span", "label": "Duration", "type": "number", "width": "76px"}
_RESULT: grid.Row = {**_STATUS, "label": "Status and result", "width": "2.4fr"}


_INSTANTS = {"created": "created_at", "started": "started_at", "due": "due_at", "finished": "finished_at"}
_CLOCK, _DATED = "74px", "98px"  #: a column of instants, all of today or not


def instant(column: str, label: str) -> grid.Row:
    """Make a column of instants, as wide as clocks are."""
    return {"id": column, "label": label, "type": "number", "width": _CLOCK, "sort": "desc"}


def widened(
    columns: Sequence[grid.Row], rows: Sequence[Mapping[str, Any]], today: date, there: ZoneInfo
) -> list[grid.Row]:
    """Give those columns the room for dates whose instants are not all of today; beside an end it alone has them."""
    names = {column["id"] for column in columns} & set(_INSTANTS)
    dated = {
        name
        for name in ({"finished"} if "finished" in names else names)
        if any(row[at] is not None and times.day(row[at], there) != today for at in [_INSTANTS[name]] for row in rows)
    }
    return [{**column, "width": _DATED} if column["id"] in dated else column for column in columns]


def told(instant: int, end: int | None, today: date, there: ZoneInfo) -> grid.Row:
    """Word an instant for its column, in full behind it; one that an end stands beside goes by the end's day."""
    brief = times.brief(instant, today, there) if end is None else times.beside(instant, end, there)
    return {"t": brief, "s": times.whole(instant, there)}


_COLUMNS: Mapping[Tab, tuple[grid.Row, ...]] = {
    Tab.ACTIVE: (_TASK, _NAME, _TARGET, _SITE, _SERVICE, _OWNER, instant("created", "Created"),
                 instant("started", "Started"), _STATUS),
    Tab.PROCESSING: (_TASK, _NAME, _TARGET, _SITE, _SERVICE, _OWNER, instant("created", "Created"),
                     instant("started", "Started"), _STATUS),
    Tab.SCHEDULED: (_TASK, _NAME, _TARGET, _SITE, _SERVICE, _OWNER, instant("created", "Created"),
                    {**instant("due", "Starts"), "sort": "asc"}, {**_STATUS, "width": "1.2fr"}),
    Tab.FAILED: (_TASK, _NAME, _TARGET, _SITE, _SERVICE, _OWNER, instant("created", "Created"),
                 instant("started", "Started"), instant("finished", "Ended"), _SPAN, _RESULT),
    Tab.COMPLETED: (_TASK, _NAME, _TARGET, _SITE, _SERVICE, _OWNER, instant("created", "Created"),
                    instant("started", "Started"), instant("finished", "Finished"), _SPAN, _RESULT),
}  # fmt: skip
_SORTED_BY = {
    "task": "number", "name": "name", "target": "target", "site": "site", "service": "service", "owner": "owner",
    "status": "status", **_INSTANTS,
}  # fmt: skip


def columns(query: Query, rows: Sequence[Mapping[str, Any]], today: date, there: ZoneInfo) -> list[grid.Row]:
    """List a tab's columns, wider where these rows' instants have dates; one site's rows don't name it.

    Only what the catalogue can sort by has a sort.
    """
    found = []
    for column in widened(_COLUMNS[query.tab], rows, today, there):
        if column["id"] == "site" and not query.everywhere:
            continue
        by = sorted_by(column["id"], query.tab)
        found.append(column if by in SORTS[query.tab] else {k: v for k, v in column.items() if k != "sort"})
    return found


def sorted_by(column: str, at: Tab) -> str:
    """Name what a column is sorted by."""
    if column == "service" and at is Tab.PROCESSING:
        return "processor"
    return _SORTED_BY.get(column, "")


def sorted_column(query: Query) -> str:
    """Name the column that is sorted by something."""
    return next((c["id"] for c in _COLUMNS[query.tab] if sorted_by(c["id"], query.tab) == query.sort), "")


# --- rows


def row(task: Mapping[str, Any], now: int, held_by: Mapping[int, str], today: date, there: ZoneInfo) -> grid.Row:
    """Word a task as a row of its tab."""
    ended = task["finished_at"]
    said = {
        "id": str(task["task_id"]),
        "label": task_label(task["kind"], task["number"]),
        "task": {"t": task_label(task["kind"], task["number"]), "h": f"?task={task['task_id']}"},
        "name": task["name"],
        "target": task["target"],
        "site": task["site"],
        "service": host(task),
        "owner": task["owner"],
        "status": status(task, now, held_by),
        "span": span(task),
    }
    for column, name in _INSTANTS.items():
        at = task[name]
        said[column] = told(at, ended if column != "finished" else None, today, there) if at is not None else None
    return said


def host(task: Mapping[str, Any]) -> str | None:
    """Name who is or was at work on a task last, or who is asked for."""
    if task["processing_started_at"] is not None and task["finished_at"] is None:
        return task["processor"]
    return task["service"] or task["processor"] or task["requested_service"]


def status(task: Mapping[str, Any], now: int, held_by: Mapping[int, str]) -> grid.Row:
    """Word a status as seed 2 does, with progress and what it waits for, where it lives."""
    word = task["shown_status"] if task["finished_at"] is None else task["status"]
    glyph, token = GLYPHS[word]
    if task["finished_at"] is not None:
        return {"t": word, "g": glyph, "k": token, "s": result(task)}
    part = queue.progress(dict(task)) if "collecting" in task else None
    why = queue.why(dict(task), now, held_by) if task.get("place") or task["held_by"] else ""
    if part is not None and task.get("host"):
        why = ""
    return {"t": word, "g": glyph, "k": token, "p": part, "s": why}


def span(task: Mapping[str, Any]) -> str | None:
    """Word how long it took from its start to its end."""
    if task["started_at"] is None or task["finished_at"] is None:
        return None
    return times.wait(task["finished_at"] - task["started_at"])


def result(task: Mapping[str, Any]) -> str:
    """Sum up what came of a task: what changed, or why it ended."""
    if STATUS[task["status"]] is not Status.PROCESSED:
        return task["error"] or REASON_WORDS.get(task["reason"], task["reason"] or "")
    changes = changed(task)
    errors = f"{task['errors']:,} errors" if task["errors"] else ""
    nothing = "no change" if task["assets_new"] is not None else ""
    return ", ".join(part for part in (errors, *changes) if part) or nothing


def changed(task: Mapping[str, Any]) -> list[str]:
    """Say what processing found: new, changed and gone assets."""
    counts = ((task["assets_new"], "new"), (task["assets_changed"], "changed"), (task["assets_gone"], "gone"))
    return [f"{n:,} {word}" for n, word in counts if n]


def pager(page: Page, total: int, hint: str = "Rows keep their place while one is selected.") -> None:
    """Say what is shown of how many, and offer to turn the page."""
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        n = page.rows.height
        tasks = f"{total:,} {'task' if total == 1 else 'tasks'}"
        many = f"{page.before + 1:,}–{page.before + n:,} of {tasks}" if n and n < total else tasks
        zone = times.zone().key
        st.html(f"<div class='d-foot'>{many}. {hint} Times are {zone}.</div>")
        if page.previous or page.next:
            turns: tuple[tuple[str, bool, dict[str, str | None]], ...] = (
                ("First", page.before > 0, RESET),
                ("Previous", page.previous is not None,
                 {"after": None, "before": page.previous.token() if page.previous else None}),
                ("Next", page.next is not None, {"after": page.next.token() if page.next else None, "before": None}),
            )  # fmt: skip
            for label, can, changes in turns:
                st.button(label, key=f"page.{label}", disabled=not can, width="content",
                          on_click=lambda changes=changes: frame.address(changes))  # fmt: skip
