"""The blackout windows of a business: when each holds its site, what it keeps now, and the way to change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.clock import SECOND
from engine.messages import BlackoutSpec
from engine.pausing import Window
from engine.recurrence import Rule

from . import asking, blackoutform, grid, helps, presses, times

EDIT, REMOVE = "Edit", "Remove"
COLUMNS: list[grid.Row] = [
    {"id": "name", "label": "Window", "type": "status", "width": "1.6fr", "card": "lead"},
    {"id": "site", "label": "Site", "type": "text", "width": "1fr"},
    {"id": "rule", "label": "When", "type": "two", "width": "2.2fr"},
    {"id": "next", "label": "Next", "type": "two", "width": "205px"},
    {"id": "lasts", "label": "Lasts", "type": "text", "width": "52px"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "1.2fr"},
    {"id": "keeps", "label": "Keeps", "type": "number", "width": "56px"},
    {"id": "told", "label": "", "type": "two", "narrow": True, "card": "line"},
    {"id": "do", "label": "", "type": "act", "width": "126px", "card": "end"},
]


def section(business: str, windows: Sequence[Window], sites: Sequence[str], now: int, well: bool) -> None:
    """List the windows, the next to begin first, and offer a new one; `sites` are those that can have one."""
    n = "1 window" if len(windows) == 1 else f"{len(windows):,} windows" if windows else "none yet"
    with st.container(horizontal=True, vertical_alignment="center", key="blackouts"):
        st.html(f"<div class='d-h2'><b>Blackout windows</b><span>{n}</span>"
                f"{helps.mark('holds.windows', 'blackout windows')}</div>")  # fmt: skip
        if presses.button("New window", key="blackout.new", width="content", disabled=not (well and sites)):
            asking.later(lambda: blackoutform.new(business, sites))
    if not windows:
        return
    rows = [row(one, now, well) for one in windows]
    answer = grid.grid(rows, COLUMNS, key=f"blackouts {business}", label="Blackout windows", picks=False,
                       sort={"id": "", "desc": False}, stale=not well)  # fmt: skip
    if answer.action:
        pressed = answer.action
        look = next((one.look for one in windows if str(one.look.blackout_id) == pressed["id"]), None)
        if look is not None:
            asking.later(lambda: (blackoutform.edit if pressed["act"] == EDIT else blackoutform.remove)(look))
        presses.settle()  # it is gone


def row(one: Window, now: int, well: bool) -> grid.Row:
    """Word a window as a row."""
    spec, here = one.look.spec, times.zone()
    off = "" if well else "The engine does not answer"
    return {
        "id": str(one.look.blackout_id),
        "label": spec.name,
        "name": {"t": spec.name, "g": "bars" if one.keeps is not None else "ring",
                 "k": "hold" if one.keeps is not None else "queued"},
        "site": spec.site,
        "rule": when(spec.rule),
        "told": {"t": spec.rule.prose(), "s": f"{spec.site}, {spec.rule.zone}"},
        "next": following(one.look.next_at, spec, now),
        "lasts": times.lasts(spec.duration_s * SECOND),
        "reason": spec.reason,
        "keeps": {"t": "–" if one.keeps is None else one.keeps,
                  "s": "" if one.keeps is not None else f"it holds nothing at {times.only_clock(now)} {here.key}"},
        "do": [{"act": act, "t": act, "off": off} for act in (EDIT, REMOVE)],
    }  # fmt: skip


def when(rule: Rule) -> Any:
    """Word a rule with its zone, which an interval names itself."""
    return {"t": rule.prose(), "s": rule.zone if rule.cron is not None else ""}


def following(at: int, spec: BlackoutSpec, now: int) -> Any:
    """Word when a window begins next: in the viewer's zone, and in its own where that shows another time."""
    own, here = times.zone_of(spec.rule.zone), times.zone()
    told = times.brief(at, times.day(now, here), here)
    if times.alike(at, own, here):
        return {"t": told, "s": f"in {times.age(at - now)}"}
    return {"t": told, "s": f"{times.brief(at, times.day(now, own), own)} {times.short_name(at, own)}"}
