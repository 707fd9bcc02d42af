"""The strip that says what is held: one line, as long as a hold is in force over a site."""

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

import streamlit as st

from engine.ledger import number_of
from engine.lifecycle import KIND_LABEL, Kind
from engine.roles import Right
from engine.snapshot import HoldLook

from . import frame, presses, times

MOST = 3  #: that are named
_TARGETS = {"user": "user", "kind": "type", "schedule": "schedule", "site": "site"}


def strip(over: Sequence[HoldLook], paused: int, *, offer: bool = True) -> bool:
    """Draw it; return whether people want to see what is paused, where a page offers that."""
    if not over:
        return False
    count = "1 hold in force" if len(over) == 1 else f"{len(over):,} holds in force"
    named = ", ".join(map(said, over[:MOST])) + (f" and {len(over) - MOST:,} more" if len(over) > MOST else "")
    tasks = f"{paused:,} {'task' if paused == 1 else 'tasks'} paused at this site"
    way = ""
    if any(frame.allowed(Right.HOLD, hold.business, None) for hold in over):
        site = urlencode({"site": st.query_params["site"]}) if "site" in st.query_params else ""
        way = f" <a class='d-link' href='/async-tasks?{escape(site, quote=True)}' target='_self'>Review and resume</a>"
    with st.container(horizontal=True, vertical_alignment="center", key="holds"):
        said_of = escape(named[0].upper() + named[1:])
        st.html(f"<div class='d-holds'><b>{count}.</b> {said_of}. <span>{tasks}.</span>{way}</div>")
        if not (offer and paused):
            return False
        return presses.button("Show paused", key="holds.show", type="tertiary", width="content")


def said(hold: HoldLook) -> str:
    """Word a hold: user m.ortiz until 18:00:00."""
    until = "without expiry" if hold.until_at is None else f"until {times.moment(hold.until_at, hold.from_at)}"
    return f"{on(hold)} {until}"


def under(hold: HoldLook) -> str:
    """Word it beside "Paused": hold on user m.ortiz until 18:00:00; by blackout window “Month end” until 18:00:00."""
    return f"{'hold on' if hold.blackout is None else 'by'} {said(hold)}"


def waits_for(hold: HoldLook) -> str:
    """Word it beside "Waits for": the end of blackout window “Month end” at 18:00:00."""
    if hold.blackout is None or hold.until_at is None:
        return under(hold)
    return f"the end of {on(hold)} at {times.moment(hold.until_at, hold.from_at)}"


def told(hold: HoldLook, now: int) -> str:
    """Word a hold for a task under it, with whose it is and why: user m.ortiz until 18:00:00, by a.kovac: “backlog”."""
    there = times.zone()
    until = f"until {times.brief(hold.until_at, times.day(now, there), there)}" if hold.until_at else "without expiry"
    everywhere = " in every business" if hold.business is None else ""
    reason = f": “{hold.reason}”" if hold.reason else ""
    if hold.blackout is not None:
        return f"by {on(hold)} {until}{reason}"
    return f"{on(hold)}{everywhere} {until}, by {hold.actor}{reason}"


def on(hold: HoldLook) -> str:
    """Name what a hold is on, user m.ortiz; one of a blackout window goes by that one's name."""
    if hold.blackout is not None:
        return f"blackout window “{hold.blackout}”"
    return named(hold.target_kind, hold.target)


def named(target_kind: str, target: str) -> str:
    """Name a target of holds: user m.ortiz."""
    if target_kind == "kind":
        target = KIND_LABEL[Kind(target)]
    elif target_kind == "schedule":
        target = f"#{number_of(int(target)):,}"
    return f"{_TARGETS[target_kind]} {target}"
