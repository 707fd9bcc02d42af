"""The holds over a business: how old each is, what it reaches, what it keeps waiting, and the way to lift one."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from engine.clock import SECOND
from engine.pausing import Kept
from engine.roles import Right
from engine.snapshot import HoldLook

from . import asking, frame, grid, helps, holds, presses, resumedialog, times

COLUMNS: list[grid.Row] = [
    {"id": "hold", "label": "Hold", "type": "status", "width": "2.2fr", "card": "lead"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "2.1fr"},
    {"id": "by", "label": "By", "type": "text", "width": ".8fr", "pale": True},
    {"id": "since", "label": "Since", "type": "two", "width": "1.1fr"},
    {"id": "ends", "label": "Ends", "type": "two", "width": "1.2fr"},
    {"id": "reach", "label": "Reach", "type": "text", "width": ".9fr", "pale": True},
    {"id": "keeps", "label": "Keeps waiting", "type": "number", "width": "98px"},
    {"id": "told", "label": "", "type": "two", "narrow": True, "card": "line"},
    {"id": "do", "label": "", "type": "act", "width": "66px", "card": "end"},
]


def section(business: str, kept: Sequence[Kept], now: int, well: bool) -> None:
    """List the holds, oldest first; warn of those that somebody may have forgotten."""
    if not kept:
        return
    warn(kept, now)
    n = "1 hold" if len(kept) == 1 else f"{len(kept):,} holds"
    st.html(f"<div class='d-h2'><b>Holds</b><span>{n}</span>{helps.mark('holds', 'holds')}</div>")
    rows = [row(one, now, well) for one in kept]
    answer = grid.grid(rows, COLUMNS, key=f"holds {business}", label="Holds", sort={"id": "", "desc": False},
                       picks=False, stale=not well)  # fmt: skip
    if answer.action:
        chosen = [one for one in kept if str(one.hold.hold_id) == answer.action["id"]]
        if chosen:
            asking.later(lambda: resumedialog.lift(business, chosen))
        presses.settle()  # it is gone


def warn(kept: Sequence[Kept], now: int) -> None:
    """Say which holds are older than the setting allows for."""
    limit = frame.engine().settings.int("old_hold_s") * SECOND
    old = [
        one for one in kept
        if one.hold.in_force and one.hold.blackout is None and now - one.hold.from_at > limit
    ]  # fmt: skip
    if old:
        named = "; ".join(
            f"{holds.on(one.hold)} for {times.age(now - one.hold.from_at)}" for one in old[: holds.MOST]
        )  # fmt: skip
        more = f" and {len(old) - holds.MOST:,} more" if len(old) > holds.MOST else ""
        said = f"Held for longer than {times.age(limit)}: {named}{more}. Is that still meant?"
        st.html(f"<div class='d-told no' role='status'>{escape(said)}</div>")


def row(one: Kept, now: int, well: bool) -> grid.Row:
    """Word a hold as a row."""
    hold, name, there = one.hold, holds.on(one.hold), times.zone()
    today = times.day(now, there)
    place = f" at {hold.site}" if hold.site else ""
    until = "" if hold.until_at is None else f" until {times.brief(hold.until_at, today, there)}"
    alone = "" if one.alone == one.waiting else f"{one.waiting - one.alone:,} of them under other holds, too"
    return {
        "id": str(hold.hold_id),
        "label": name,
        "hold": {"t": name[0].upper() + name[1:], "g": "bars" if hold.in_force else "ring",
                 "k": "hold" if hold.in_force else "queued"},
        "reason": hold.reason or "",
        "by": hold.actor if hold.blackout is None else "its rule",
        "since": {"t": times.brief(hold.from_at, today, there),
                  "s": times.age(now - hold.from_at) if hold.in_force else "to come"},
        "ends": "no expiry" if hold.until_at is None else
                {"t": times.brief(hold.until_at, today, there), "s": f"in {times.age(hold.until_at - now)}"},
        "reach": reach(hold),
        "keeps": {"t": one.waiting, "s": alone},
        "told": {"t": f"keeps {one.waiting:,}{place}{until}", "s": hold.reason or ""},
        "do": [{"act": "lift", "t": "Lift", "off": why_not(hold) if well else "The engine does not answer"}],
    }  # fmt: skip


def reach(hold: HoldLook) -> str:
    """Say how far a hold reaches."""
    if hold.business is None:
        return "every business"
    return hold.site or "all sites"


def why_not(hold: HoldLook) -> str:
    """Say why whoever looks can't lift a hold; empty where he can."""
    right = Right.SCHEDULE if hold.target_kind == "schedule" else Right.HOLD
    return "" if frame.allowed(right, hold.business, hold.site) else "A platform admin placed it for every business"
