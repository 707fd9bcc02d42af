"""The audit trail's rows as pages word them: the table, and the card of one row with before and after side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from engine.activity import CHANGED, Difference, by_request, difference
from engine.clock import SECOND
from engine.ledger import number_of
from engine.lifecycle import KIND_LABEL, Kind
from engine.sight import Sight

from . import frame, grid, presses, tasklink, times
from .copylink import copy_link

WIDTH = 380
LONGEST = 400  #: characters of a value that are shown
_KINDS: Mapping[str, str] = {kind.value: KIND_LABEL[kind] for kind in Kind}
_OUTCOMES = {True: ("tick", "done"), False: ("block", "queued")}
_NUMBERED = ("task", "schedule", "hold", "blackout")  #: objects that a number stands for
_NAMED = {"schedule": "Schedule", "blackout": "Blackout window"}
COLUMNS: list[grid.Row] = [
    {"id": "when", "label": "When", "type": "link", "width": "100px", "card": "end"},
    {"id": "who", "label": "Who", "type": "text", "width": "1fr"},
    {"id": "action", "label": "Action", "type": "text", "width": ".75fr"},
    {"id": "object", "label": "Object", "type": "links", "width": "1.2fr", "card": "lead"},
    {"id": "where", "label": "Where", "type": "text", "width": "1.5fr", "pale": True},
    {"id": "outcome", "label": "Outcome", "type": "status", "width": "1.1fr"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "1.4fr", "pale": True},
    {"id": "said", "label": "What happened", "type": "two", "card": "line", "narrow": True},
]
TOLD = ("where", "reason")  #: columns that a card beside the table tells instead


def action(verb: str) -> str:
    """Word an action; the filter knows it by the very word."""
    return verb.replace("_", " ").capitalize()


def label(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Name the object of a row."""
    kind, name = row["object_kind"], row["object_id"]
    if name in names and kind in _NUMBERED:
        return names[name] if kind == "task" else f"{_NAMED[kind]} “{names[name]}”"
    if kind in _NUMBERED and row["object_number"] is not None:
        return f"{kind.capitalize()} #{row['object_number']:,}"
    if kind == "kind":
        return f"Task type {_KINDS.get(name, name)}"
    return f"{kind.capitalize()} {name[:80]}"


def address(row: Mapping[str, Any]) -> str | None:
    """Tell where the object of a row is to be seen; None where nowhere by itself."""
    business, site, name = row["business"], row["site"], row["object_id"]
    if row["object_kind"] == "task" and business and name.isdecimal():
        return f"/{tasklink.address(int(name))}"
    if not business or not site:
        return None
    page = {"schedule": "schedules", "service": "services"}.get(row["object_kind"])
    return None if page is None else f"/{page}{frame.link(business, site, **{row['object_kind']: name})[1:]}"


def line(row: Mapping[str, Any], names: Mapping[str, str], today: date, there: ZoneInfo) -> grid.Row:
    """Word a row for the table."""
    changed, to = row["result"] == CHANGED, address(row)
    glyph, token = _OUTCOMES[changed]
    where = " / ".join(part for part in (row["business"], row["site"]) if part and part != row["object_id"])
    what = label(row, names)
    why = "" if changed else row["outcome"]
    return {
        "id": str(row["audit_id"]),
        "label": f"{action(row['action'])} {what}",
        "when": {"t": times.brief(row["occurred_at"], today, there), "h": f"?entry={row['audit_id']}"},
        "who": row["actor"],
        "action": action(row["action"]),
        "object": {"links": [{"t": what, "h": to}]},
        "where": where,
        "outcome": {"t": "Changed" if changed else "Skipped", "g": glyph, "k": token, "s": why},
        "reason": row["reason"] or "",
        "said": {"t": action(row["action"]), "s": ", ".join(p for p in (row["actor"], why or row["reason"]) if p)},
    }


# --- the card


def card(entry: Mapping[str, Any] | None, sight: Sight, now: int, *, key: str) -> dict[str, str | None]:
    """Draw a row with all that it keeps, or say that there is none; return what of the address was asked for."""
    asked: dict[str, str | None] = {}
    with st.container(key="card", width=WIDTH):
        names = sight.audited([entry]) if entry else {}
        with st.container(horizontal=True, vertical_alignment="top"):
            said = f"{action(entry['action'])}: {label(entry, names)}" if entry else "No such row"
            by = f"by {entry['actor']}, {times.whole(entry['occurred_at'], times.zone())}" if entry else ""
            st.html(f"<div class='d-cardhead'><b>{escape(said)}</b><br>{escape(by)}</div>")
            grid.close_button(key)
        if entry is None:
            st.html("<div class='d-evidence'>It is not in the trail, or not yours to read.</div>")
            return {}
        st.html(_facts(entry, names, now))
        st.html(_sides(entry))
        with st.container(horizontal=True):
            if entry["of_request"] > 1 and presses.button(
                f"Show all {entry['of_request']:,} rows", key=f"{key}.request", width="content"
            ):
                asked = {"q": by_request(entry["request"]).text, "about": None, "after": None, "before": None}
            copy_link({"entry": str(entry["audit_id"])}, key=f"{key}.copy")
    return asked


def _facts(entry: Mapping[str, Any], names: Mapping[str, str], now: int) -> str:
    to, what = address(entry), escape(label(entry, names))
    where = " / ".join(part for part in (entry["business"], entry["site"]) if part)
    n = entry["of_request"]
    facts = {
        "Object": f"<a class='d-link' href='{escape(to, quote=True)}' target='_self'>{what}</a>" if to else what,
        "Where": escape(where or "the whole platform"),
        "Outcome": "Changed" if entry["result"] == CHANGED else f"Skipped: {escape(entry['outcome'])}",
        "Reason": escape(entry["reason"] or "none was given"),
        "Age": times.age(now - entry["occurred_at"]),
        "Request": f"{escape(entry['request'])}<br>{n:,} {'row' if n == 1 else 'rows'} of this request"
        if entry["request"] else "",
        "Batch": f"{entry['batch']:,}" if entry["batch"] is not None else "",
    }  # fmt: skip
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts.items() if value)
    return f"<table class='d-facts d-audit'>{rows}</table>"


def _sides(entry: Mapping[str, Any]) -> str:
    """Set before and after side by side; say so where a row keeps neither."""
    found, same = difference(entry["before"], entry["after"])
    if not found and not same:
        return ("<div class='d-carded'><b>Before and after</b> This action set no facts of its own; what it led to is "
                "told by its object.</div>")  # fmt: skip
    rows = "".join(_row(one) for one in found)
    more = f"{same:,} {'fact' if same == 1 else 'facts'} stayed as before" if same else ""
    return (
        f"<div class='d-carded'><b>Before and after</b> {more}</div>"
        f"<table class='d-sides'><tr><th></th><th>Before</th><th>After</th></tr>{rows}</table>"
    )


def _row(one: Difference) -> str:
    before, after = (value(one.name, side) for side in (one.before, one.after))
    return (
        f"<tr><th>{escape(one.name.replace('_', ' ').replace('.', ' › '))}</th>"
        f"<td class='old'>{escape(before)}</td><td class='new'>{escape(after)}</td></tr>"
    )


def value(name: str, said: Any) -> str:
    """Word a value that a row keeps, by what its name says that it is."""
    last = name.rpartition(".")[2]
    if said is None:
        return "–"
    if isinstance(said, bool):
        return "yes" if said else "no"
    if isinstance(said, int) and last.endswith("_at"):
        return times.whole(said, times.zone())
    if isinstance(said, int | float) and last.endswith("_s"):
        return times.wait(int(said * SECOND))
    if isinstance(said, int) and (last.endswith("_id") or last in ("rerun_of", "task")):
        return f"#{number_of(said):,}"
    if last == "kind" and isinstance(said, str):
        return _KINDS.get(said, said)
    if isinstance(said, Sequence) and not isinstance(said, str):
        return "; ".join(value(name, part) for part in said) or "none"
    text = f"{said:,}" if isinstance(said, int | float) else str(said)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
