"""A site's queue as seed 1 tells it: searched, narrowed down, sorted and cut into pages, in its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from engine.lifecycle import COLLECTING_KINDS, PAUSED, RUNNING, STATUS, SYSTEM_KINDS, Cause, Kind
from engine.live import Listing
from engine.sight import Sight

from . import addresses, chips, finding, frame, grid, holds, times

ROWS = 50  #: on a page
RESET = {"page": None}  #: what of an address goes where another list is asked for

#: chip: the words that it shows
CHIPS = {"All": (), "Queued": ("Queued",), "Running": ("Running", "Stopping"), PAUSED: (PAUSED,)}
#: column: what it is sorted by
SORTS = {
    "target": "target", "task": "task", "start": "queued_at", "scope": "scope", "initiator": "initiator",
    "status": "word",
}  # fmt: skip
WHY = {
    Cause.CONSOLE: "console was down",
    Cause.THROTTLED: "throttled",
    Cause.OFFLINE: "no service online",
    Cause.EXCLUSIVE: "explorers are scanning",
    Cause.CAPACITY: "capacity",
    Cause.UNKNOWN: "",
}
#: word: its glyph and colour
GLYPHS = {
    "Queued": ("ring", "queued"),
    "Running": ("play", "run"),
    PAUSED: ("bars", "hold"),
    "Stopping": ("square", "stop"),
}
_SYSTEM = "system tasks"  #: the switch that shows them
_ICONS = {"device": "device", "network": "network", "segment": "network", "range": "network", "cloud": "cloud"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a viewer asked for; the page's address keeps it."""

    chip: str = "All"
    system: bool = False  #: with system tasks
    column: str = "start"
    desc: bool = True
    text: str = ""  #: in the filter language
    page: int = 0

    @classmethod
    def of(cls, address: Mapping[str, str]) -> Query:
        """Read it off an address; what is not known there counts as not said."""
        chip, sort = address.get("status", "All"), address.get("sort", "-start")
        column = sort.removeprefix("-")
        if column not in SORTS:
            column, sort = "start", "-start"
        return cls(
            chip if chip in CHIPS else "All", "system" in address, column, sort.startswith("-"),
            address.get("q", ""), addresses.page(address),
        )  # fmt: skip


def find(sight: Sight, business: str, site: str, query: Query) -> Listing:
    """Have the engine list the page that was asked for."""
    return sight.listing(
        business, site, wanted=finding.read(query.text), words=CHIPS[query.chip], system=query.system,
        sort=SORTS[query.column], descending=query.desc, page=query.page, size=ROWS,
    )  # fmt: skip


def search(sight: Sight, business: str, site: str) -> tuple[Query, Listing]:
    """Let people narrow the queue down, and return what they asked for and what there is."""
    with st.container(horizontal=True, vertical_alignment="top", key="filter"):
        query = Query.of(st.query_params)
        with st.container():
            changes = dict(finding.search(sight, sight.place(business, site), query.text, RESET))
        found = find(sight, business, site, query)
        counts = {name: sum(found.counts[word] for word in words or found.counts) for name, words in CHIPS.items()}
        system = f"{found.system:,} system {'task' if found.system == 1 else 'tasks'}"
        switches = [(_SYSTEM, system, query.system)] if found.system or query.system else []
        pressed = chips.chips(counts, query.chip, key="chips", label="Status", switches=switches)
    if pressed == _SYSTEM:
        changes |= {"system": None if query.system else "shown", **RESET}
    elif pressed:
        changes |= {"status": None if pressed == "All" else pressed, **RESET}
    frame.turn_to(changes)
    return query, found


#: seed 1's, in its order
COLUMNS: list[grid.Row] = [
    {"id": "target", "label": "Device / Resource", "type": "text", "width": "1.5fr", "sort": "asc", "card": "lead"},
    {"id": "task", "label": "Task", "type": "link", "width": "1.05fr", "sort": "desc", "card": "end"},
    {"id": "start", "label": "Start date", "type": "two", "width": "1.2fr", "sort": "desc"},
    {"id": "scope", "label": "Scope", "type": "text", "width": "1.3fr", "sort": "asc"},
    {"id": "initiator", "label": "Initiator", "type": "text", "width": ".9fr", "sort": "asc", "pale": True},
    {"id": "status", "label": "Status", "type": "status", "width": "2.6fr", "sort": "asc", "card": "line"},
]

#: their widths beside the card
NARROW = ("1.25fr", "1.25fr", ".85fr", "1.1fr", "1.05fr", "2.1fr")


def table(
    sight: Sight,
    business: str,
    site: str,
    query: Query,
    found: Listing,
    now: int,
    *,
    key: str,
    narrow: bool,
    stale: bool,
    picks: bool,
) -> grid.Answer:
    """Draw a page of the tasks found. While some are selected, those on the screen are told about, too."""
    page = found.rows.to_dicts()
    known = {task["task_id"] for task in page}
    others = sight.tasks(business, site, [i for i in map(int, grid.shown(key)) if i not in known])
    over = {task["held_by"] for task in page + others}
    in_force = (hold for hold in sight.holds(business, site) if hold.hold_id in over)
    held_by = {hold.hold_id: holds.under(hold) for hold in in_force}
    there = times.zone()
    today = times.day(now, there)

    def start(instant: int) -> str:
        return times.moment_of(instant, today, there)

    rows = [row(task, now, narrow, held_by, start) for task in page + others]
    if not rows:
        narrowed = query.text or query.chip != "All"
        said = "No task matches. Clear the filter, or choose All." if narrowed else "There are but system tasks."
        st.html(f"<div class='d-evidence'>{said}</div>")
    columns = [{**c, "width": width} for c, width in zip(COLUMNS, NARROW, strict=True)] if narrow else COLUMNS
    return grid.grid(
        rows, columns, key=key, label="Active tasks", sort={"id": query.column, "desc": query.desc},
        view=repr((query, found.page)), size=len(page), stale=stale, picks=picks,
    )  # fmt: skip


def pager(found: Listing) -> None:
    """Say what is shown, and offer to turn the page where there are several."""
    total, last_page = found.total, max(found.total - 1, 0) // ROWS
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        first, last = min(found.page * ROWS + 1, total), min((found.page + 1) * ROWS, total)
        tasks = f"{total:,} {'task' if total == 1 else 'tasks'}"
        many = f"{first:,}–{last:,} of {tasks}" if last_page else tasks
        zone = times.zone().key
        st.html(f"<div class='d-foot'>{many}. Rows keep their place while one is selected. Times are {zone}.</div>")
        if last_page:
            for label, to in (("Previous", found.page), ("Next", found.page + 2)):
                off = not 1 <= to <= last_page + 1
                st.button(label, key=f"page.{label}", disabled=off, width="content",
                          on_click=lambda to=to: frame.address({"page": str(to) if to > 1 else None}))  # fmt: skip


def row(
    task: dict[str, Any], now: int, narrow: bool, held_by: Mapping[int, str], start: Callable[[int], str]
) -> grid.Row:
    """Word a task as a row of the grid; `start` words the instant at which it entered the queue."""
    glyph, token = GLYPHS[task["word"]]
    part, queued = progress(task), task["queued_at"]
    processing = task["processing_started_at"] is not None
    return {
        "id": str(task["task_id"]),
        "label": task["task"],
        "target": {"t": task["target"] or task["name"], "g": _icon(task)},
        "task": {"t": task["task"], "h": f"?task={task['task_id']}"},
        "start": {"t": start(queued), "s": "" if narrow else times.age(now - queued)},
        "scope": task["scope"] or "",
        "initiator": task["initiator"],
        "status": {
            "t": task["word"], "g": glyph, "k": "proc" if processing and token == "run" else token,
            "p": part, "s": "" if narrow and part is not None else why(task, now, held_by, short=narrow),
        },
    }  # fmt: skip


def _icon(task: dict[str, Any]) -> str:
    if Kind(task["kind"]) in SYSTEM_KINDS:
        return "gear"
    return _ICONS.get(task["target_kind"] or "", "device")


def has_slot(task: dict[str, Any]) -> bool:
    """Tell whether a service is at work on it."""
    return STATUS[task["status"]] in RUNNING


def collects(task: dict[str, Any]) -> bool:
    """Tell whether tasks of its type have a collecting stage."""
    return Kind(task["kind"]) in COLLECTING_KINDS


def progress(task: dict[str, Any]) -> float | None:
    """Tell how far the stage is that a service is at work on."""
    if not has_slot(task):
        return None
    return task["processing"] if task["processing_started_at"] is not None else task["collecting"]


def why(task: dict[str, Any], now: int, held_by: Mapping[int, str], *, short: bool = False) -> str:
    """Say why a task waits and as which of how many, or who is at work on it and for how long."""
    if task["held_by"] is not None:
        return "hold" if short else held_by.get(task["held_by"], "hold")
    if task["cause"]:
        cause = WHY[Cause(task["cause"])]
        if task["cause"] == Cause.THROTTLED and task.get("why") and not short:
            return str(task["why"])
        place = f"no. {task['place']:,}" if short else f"no. {task['place']:,} of {task['of']:,} in line"
        said = f"{cause}, {place}" if short else f"{cause}: {place}"
        return f"for a processor: {said}" if task["processing_queued_at"] is not None and not short else said
    if not has_slot(task):
        return ""
    since = task["processing_started_at"] or task["started_at"]
    return f"{task['host']}, {times.age(now - since)}" if task["host"] and since else task["host"] or ""
