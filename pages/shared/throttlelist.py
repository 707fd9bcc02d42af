"""Ramps in force over a business, and the caps on its users: who is slowed down, how far it is, and the way to end it.

A ramp that another business or a platform admin's hold is part of is shown, and ended by whom all of it is open to.
"""

from collections.abc import Sequence
from functools import partial
from uuid import uuid4

import streamlit as st

from engine.clock import MINUTE
from engine.messages import EndRamps
from engine.pausing import Capped
from engine.roles import Right
from engine.snapshot import ThrottleLook

from . import asking, capdialog, frame, grid, helps, holds, notice, presses, times

RAMPS: list[grid.Row] = [
    {"id": "over", "label": "Released gradually", "type": "status", "width": "1.2fr", "card": "lead"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "2.2fr"},
    {"id": "by", "label": "By", "type": "text", "width": ".8fr", "pale": True},
    {"id": "since", "label": "Since", "type": "two", "width": "1fr"},
    {"id": "rate", "label": "A minute", "type": "number", "width": "76px"},
    {"id": "left", "label": "Still wait", "type": "number", "width": "80px"},
    {"id": "ends", "label": "Ends about", "type": "two", "width": "1.2fr"},
    {"id": "told", "label": "", "type": "two", "narrow": True, "card": "line"},
    {"id": "do", "label": "", "type": "act", "width": "116px", "card": "end"},
]
CAPS: list[grid.Row] = [
    {"id": "user", "label": "Cap on", "type": "status", "width": "1.2fr", "card": "lead"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "2fr"},
    {"id": "by", "label": "By", "type": "text", "width": ".8fr", "pale": True},
    {"id": "at_most", "label": "At most", "type": "number", "width": "72px"},
    {"id": "running", "label": "Running", "type": "number", "width": "72px"},
    {"id": "waiting", "label": "Waiting", "type": "number", "width": "72px"},
    {"id": "told", "label": "", "type": "two", "narrow": True, "card": "line"},
    {"id": "do", "label": "", "type": "act", "width": "140px", "card": "end"},
]


def ramps(business: str, found: Sequence[ThrottleLook], now: int, well: bool) -> None:
    """List the ramps, oldest first; let all go of the one that is pressed."""
    if not found:
        return
    _head("Ramps", len(found), "ramp", "holds.gradually")
    rows = [_ramp(one, now, well) for one in found]
    answer = grid.grid(rows, RAMPS, key=f"ramps {business}", label="Ramps", sort={"id": "", "desc": False},
                       picks=False, stale=not well)  # fmt: skip
    if answer.action:
        _let_go(int(answer.action["id"]))


def caps(business: str, found: Sequence[Capped], well: bool) -> None:
    """List the caps by user; change or remove the one that is pressed."""
    if not found:
        return
    _head("Caps", len(found), "cap", "holds.caps")
    rows = [_cap(one, well) for one in found]
    answer = grid.grid(rows, CAPS, key=f"caps {business}", label="Caps", sort={"id": "", "desc": False},
                       picks=False, stale=not well)  # fmt: skip
    if answer.action:
        chosen = next((one for one in found if str(one.cap.throttle_id) == answer.action["id"]), None)
        if chosen is not None:
            open_dialog = capdialog.remove if answer.action["act"] == "remove" else capdialog.change
            asking.later(partial(open_dialog, business, chosen.cap))
        presses.settle()  # it is gone


def _head(title: str, n: int, word: str, topic: str) -> None:
    count = f"1 {word}" if n == 1 else f"{n:,} {word}s"
    st.html(f"<div class='d-h2'><b>{title}</b><span>{count}</span>{helps.mark(topic, f'{word}s')}</div>")


def _ramp(one: ThrottleLook, now: int, well: bool) -> grid.Row:
    assert one.rate is not None
    name, there = over(one), times.zone()
    end = one.begun_at if not one.left else now + one.left * MINUTE // one.rate
    today = times.day(now, there)
    mine = one.business is not None or frame.allowed(Right.HOLD, None, None)
    mine = mine and all(_open_to(reach[0], reach[1], reach[2]) for reach in one.over)
    why_not = "" if mine else "Some of it is not yours"
    return {
        "id": str(one.throttle_id),
        "label": name,
        "over": {"t": name[0].upper() + name[1:], "g": "ring", "k": "queued"},
        "reason": one.reason or "",
        "by": one.actor,
        "since": {"t": times.brief(one.begun_at, today, there), "s": times.age(now - one.begun_at)},
        "rate": one.rate,
        "left": one.left,
        "told": {"t": f"{one.rate:,} a minute, {one.left:,} left", "s": one.reason or ""},
        # Of a ramp that goes beyond the business, what else takes its turns is not told.
        "ends": {"t": times.brief(end, today, there),
                 "s": f"in {times.age(end - now)}{'' if one.business is not None else ' or later'}"}
        if one.left else "now",
        "do": [{"act": "go", "t": "Let all go now", "off": why_not if well else "The engine does not answer"}],
    }  # fmt: skip


def _open_to(business: str | None, site: str | None, kind: str) -> bool:
    return frame.allowed(Right.SCHEDULE if kind == "schedule" else Right.HOLD, business, site)


def _cap(one: Capped, well: bool) -> grid.Row:
    cap, off = one.cap, "" if well else "The engine does not answer"
    at_cap = cap.running >= (cap.at_most or 0)
    return {
        "id": str(cap.throttle_id),
        "label": str(cap.owner),
        "user": {"t": f"User {cap.owner}", "g": "ring" if at_cap else "play", "k": "queued" if at_cap else "run"},
        "reason": cap.reason or "",
        "by": cap.actor,
        "at_most": cap.at_most,
        "running": cap.running,
        "waiting": one.waiting,
        "told": {"t": f"{cap.running:,} of {cap.at_most:,} run, {one.waiting:,} wait", "s": cap.reason or ""},
        "do": [{"act": "change", "t": "Change", "off": off}, {"act": "remove", "t": "Remove", "off": off}],
    }


def over(ramp: ThrottleLook) -> str:
    """Name what a ramp releases: user m.ortiz, type Audit and 2 more."""
    named = [holds.named(kind, target) for _, _, kind, target in ramp.over]
    more = f" and {len(named) - holds.MOST:,} more" if len(named) > holds.MOST else ""
    return ", ".join(named[: holds.MOST]) + more


def _let_go(ramp: int) -> None:
    outcome = frame.do(EndRamps([ramp]), f"release-{uuid4()}")
    if outcome.refused:
        notice.keep(outcome.refused)
    else:
        notice.keep("All of it may start now" if outcome.changed else "That ramp had ended already")
    presses.settle()
    st.rerun()
