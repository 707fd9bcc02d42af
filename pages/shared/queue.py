"""A site's queue as seed 1 tells it: the live tasks of a snapshot in its words, searched, sorted and cut into pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl
import streamlit as st

from engine.lifecycle import (
    COLLECTING_KINDS,
    KIND_LABEL,
    PAUSED,
    RUNNING,
    STATUS,
    SYSTEM_KINDS,
    Cause,
    Kind,
    queue_words,
)
from engine.snapshot import Snapshot

from . import grid, holds, times

ROWS = 50  #: on a page

#: chip: the words that it shows
CHIPS = {"All": (), "Queued": ("Queued",), "Running": ("Running", "Stopping"), "Paused": (PAUSED,)}
#: column: what it is sorted by
SORTS = {
    "target": ("target",), "task": ("kind", "number"), "start": ("queued_at",), "scope": ("scope",),
    "initiator": ("initiator",), "status": ("word", "cause"),
}  # fmt: skip

WHY = {
    Cause.HOLD: "hold",
    Cause.CONSOLE: "console was down",
    Cause.THROTTLED: "throttled resumption",
    Cause.OFFLINE: "no service online",
    Cause.EXCLUSIVE: "explorers are scanning",
    Cause.CAPACITY: "capacity",
    Cause.UNKNOWN: "",
}
_LABELS = {kind.value: label for kind, label in KIND_LABEL.items()}
#: word: its glyph and colour
_GLYPHS = {
    "Queued": ("ring", "queued"),
    "Running": ("play", "run"),
    PAUSED: ("bars", "hold"),
    "Stopping": ("square", "stop"),
}
_ICONS = {"device": "device", "network": "network", "segment": "network", "range": "network", "cloud": "cloud"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a viewer asked for; the page's address keeps it."""

    chip: str = "All"
    system: bool = False  #: with system tasks
    column: str = "start"
    desc: bool = True
    text: str = ""

    @classmethod
    def of(cls, address: Mapping[str, str], text: str) -> Query:
        """Read it off an address; what is not known there counts as not said."""
        chip, sort = address.get("status", "All"), address.get("sort", "-start")
        column = sort.removeprefix("-")
        if column not in SORTS:
            column, sort = "start", "-start"
        return cls(chip if chip in CHIPS else "All", "system" in address, column, sort.startswith("-"), text)

    def press(self, chip: str) -> dict[str, str | None]:
        """Tell what a pressed chip changes in the address."""
        if chip == "switch":
            return {"system": None if self.system else "shown", "page": None}
        return {"status": None if chip == "All" else chip, "page": None}


@dataclass(frozen=True, slots=True)
class Found:
    """A site's live tasks that a query matches."""

    query: Query
    matching: pl.DataFrame  #: in order
    counts: dict[str, int]  #: by chip, of what matches but for the chip
    system: int  #: system tasks there are
    live: pl.DataFrame  #: all of the site

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching.height // ROWS))

    def page(self, number: int, also: Sequence[str] = ()) -> list[dict[str, Any]]:
        """List a page's tasks, then those of `also` that are still live and not among them."""
        at = (min(number, self.pages) - 1) * ROWS
        rows = self.matching.slice(at, ROWS)
        if also:
            known = pl.Series([int(task_id) for task_id in also], dtype=pl.Int64)
            others = self.live.filter(pl.col("task_id").is_in(known.implode()))
            rows = pl.concat([rows, others.join(rows, on="task_id", how="anti")])
        return rows.to_dicts()

    def living(self, selected: Sequence[str]) -> list[int]:
        """Return the ids among those selected whose tasks are still live."""
        known = pl.Series([int(task_id) for task_id in selected], dtype=pl.Int64)
        return self.live.filter(pl.col("task_id").is_in(known.implode()))["task_id"].to_list()

    def task(self, task_id: str | None) -> dict[str, Any] | None:
        """Return one live task, or None when it has left."""
        if task_id is None or not task_id.isdigit():
            return None
        rows = self.live.filter(pl.col("task_id") == int(task_id)).to_dicts()
        return rows[0] if rows else None


def find(snapshot: Snapshot, business: str, site: str, query: Query) -> Found:
    """Search the snapshot's live tasks that have entered the site's queue."""
    holds_of = {-1: ""} | {hold.hold_id: f"hold on {holds.said(hold)}" for hold in snapshot.holds}
    held, free = ({s: queue_words([s], [hold])[0] for s in STATUS} for hold in (1, None))
    live = (
        snapshot.tasks()
        .filter(pl.col("business") == business, pl.col("site") == site, pl.col("queued_at").is_not_null())
        .with_columns(
            word=pl.when(pl.col("held_by").is_not_null())
            .then(pl.col("status").replace_strict(held))
            .otherwise(pl.col("status").replace_strict(free)),
            held_for=pl.col("held_by").replace_strict(holds_of, default=None, return_dtype=pl.String),
            label=pl.format("{} #{}", pl.col("kind").replace_strict(_LABELS), "number"),
        )
    )
    is_system = pl.col("kind").is_in([kind.value for kind in SYSTEM_KINDS])
    wanted = live if query.system else live.filter(~is_system)
    if text := query.text.strip().lower():
        said = pl.concat_str(
            [pl.col(c).fill_null("") for c in ("target", "label", "scope", "initiator", "word", "name")], separator="\n"
        )
        wanted = wanted.filter(said.str.to_lowercase().str.contains(text, literal=True))
    counts = {
        chip: wanted.filter(pl.col("word").is_in(words)).height if words else wanted.height
        for chip, words in CHIPS.items()
    }
    if words := CHIPS.get(query.chip):
        wanted = wanted.filter(pl.col("word").is_in(words))
    by = [*SORTS.get(query.column, SORTS["start"]), "task_id"]
    ordered = wanted.sort(by, descending=query.desc, nulls_last=True)
    return Found(query, ordered, counts, live.filter(is_system).height, live)


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


def table(found: Found, page: int, now: int, *, key: str, narrow: bool, stale: bool) -> grid.Answer:
    """Draw a page of the tasks found. While some are selected, those on the screen are told about, too."""
    rows = [row(task, now, narrow) for task in found.page(page, grid.shown(key))]
    size = min(ROWS, found.matching.height - (page - 1) * ROWS)
    if not rows:
        st.html("<div class='d-evidence'>No task matches. Clear the search, or choose All.</div>")
    sort = {"id": found.query.column, "desc": found.query.desc}
    columns = [{**c, "width": width} for c, width in zip(COLUMNS, NARROW, strict=True)] if narrow else COLUMNS
    view = repr((found.query, page))
    return grid.grid(rows, columns, key=key, label="Active tasks", sort=sort, view=view, size=size, stale=stale)


def pager(found: Found) -> int:
    """Say what is shown, offer to turn the page where there are several, and return the page's number."""
    total = found.matching.height
    asked = st.query_params.get("page", "1")
    page = min(max(int(asked) if asked.isdigit() else 1, 1), found.pages)
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        first, last = min((page - 1) * ROWS + 1, total), min(page * ROWS, total)
        many = f"{first:,}–{last:,} of {total:,} tasks" if found.pages > 1 else f"{total:,} tasks"
        zone = times.zone().key
        st.html(f"<div class='d-foot'>{many}. Rows keep their place while one is selected. Times are {zone}.</div>")
        if found.pages > 1:
            for label, to in (("Previous", page - 1), ("Next", page + 1)):
                off = not 1 <= to <= found.pages
                st.button(label, key=f"page.{label}", disabled=off, width="content", on_click=_turn, args=(to,))
    return page


def _turn(to: int) -> None:
    st.query_params["page"] = str(to)


def nothing(site: str) -> None:
    """Say that the queue is empty."""
    with st.container(key="empty"):
        st.html(f"<div class='d-finding'>No task is queued or running at {escape(site)}.</div>")
        st.html("<div class='d-evidence'>The next one shows up here by itself.</div>")


def row(task: dict[str, Any], now: int, narrow: bool) -> dict[str, Any]:
    """Word a task as a row of the grid."""
    glyph, token = _GLYPHS.get(task["word"], ("play", "run"))
    part = progress(task)
    return {
        "id": str(task["task_id"]),
        "label": task["label"],
        "target": {"t": task["target"] or task["name"], "g": _icon(task)},
        "task": {"t": task["label"], "h": f"?task={task['task_id']}"},
        "start": {"t": times.moment(task["queued_at"], now), "s": "" if narrow else times.age(now - task["queued_at"])},
        "scope": task["scope"] or "",
        "initiator": task["initiator"],
        "status": {
            "t": task["word"], "g": glyph, "k": "proc" if task["processing_started_at"] and token == "run" else token,
            "p": part, "s": "" if narrow and part is not None else why(task, now, short=narrow),
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
    return task["processing"] if task["processing_started_at"] else task["collecting"]


def why(task: dict[str, Any], now: int, *, short: bool = False) -> str:
    """Say why a task waits, or who is at work on it and for how long."""
    if task["cause"]:
        said = (None if short else task["held_for"]) or WHY[Cause(task["cause"])]
        return f"for a processor: {said}" if task["processing_queued_at"] else said
    if not has_slot(task):
        return ""
    since = task["processing_started_at"] or task["started_at"]
    host = task["processor"] if task["processing_started_at"] else task["service"]
    return f"{host}, {times.age(now - since)}" if host and since else host or ""
