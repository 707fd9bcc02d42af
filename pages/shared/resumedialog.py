"""Lifting holds: all of a business, or one. What is lifted was listed when the dialog opened, and nothing else is.

A hold that somebody places meanwhile stays; one that has ended meanwhile is told as such. What is released may go at
once or gradually, so many tasks a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from uuid import uuid4

import streamlit as st

from engine.clock import SECOND
from engine.messages import LiftHolds
from engine.onplans import FASTEST
from engine.pausing import Kept, Release

from . import asking, frame, grid, holds, notice, times

USUAL_RATE = 30  #: tasks a minute

COLUMNS: list[grid.Row] = [
    {"id": "hold", "label": "Hold", "type": "two", "width": "1.6fr", "card": "lead"},
    {"id": "reason", "label": "Reason", "type": "text", "width": "1.8fr", "card": "line"},
    {"id": "by", "label": "By", "type": "text", "width": ".8fr", "pale": True},
    {"id": "since", "label": "Since", "type": "text", "width": "1fr"},
    {"id": "ends", "label": "Ends", "type": "text", "width": "1fr"},
    {"id": "keeps", "label": "Keeps", "type": "number", "width": "62px"},
    {"id": "short", "label": "", "type": "number", "narrow": True, "card": "end"},
]


def ask(business: str) -> None:
    """Open the dialog that lifts all holds of a business; those on schedules and of windows are listed unticked."""
    every = [one for one in frame.sight().pauses(business).kept() if one.hold.business is not None]
    ticked = [
        str(one.hold.hold_id) for one in every if one.hold.target_kind != "schedule" and one.hold.blackout is None
    ]  # fmt: skip
    _open("Resume all", business, every, ticked)


def lift(business: str, kept: Sequence[Kept]) -> None:
    """Open the dialog that lifts one hold."""
    _open("Lift hold", business, kept, [str(one.hold.hold_id) for one in kept])


def _open(title: str, business: str, listed: Sequence[Kept], ticked: Sequence[str]) -> None:
    request = f"resume-{uuid4()}"
    grid.select(f"{request}.grid", ticked)
    asking.dialog(title, width="large")(_dialog)(business, listed, request)


def _dialog(business: str, listed: Sequence[Kept], request: str) -> None:
    if not listed:
        st.html(f"<div class='d-evidence'>Nothing to resume: no hold of {escape(business)} is in force or to come."
                "</div>")  # fmt: skip
        asking.only_way_out(request)
        return
    if len(listed) > 1:
        st.html("<div class='d-evidence'>Only those ticked here are lifted; what is placed meanwhile stays. "
                "Holds on schedules and of blackout windows are left unless you tick them.</div>")  # fmt: skip
    chosen = _choose(listed, request)
    found = frame.sight().pauses(business).release(chosen)
    rate = _rate(request)
    st.html(_does(found, len(chosen), rate))
    reason = asking.reason(request)
    n = "1 hold" if len(chosen) == 1 else f"{len(chosen):,} holds"
    tasks = f"{found.tasks:,} {'task' if found.tasks == 1 else 'tasks'}"
    if asking.agreed(f"Lift {n}, release {tasks}", request, disabled=not chosen):
        _lift(chosen, reason, rate, request)
    if why := st.session_state.get(f"{request}.why"):
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")


def _choose(listed: Sequence[Kept], request: str) -> list[int]:
    now = frame.engine().now
    rows = [
        {
            "id": str(one.hold.hold_id), "label": holds.on(one.hold),
            "hold": {"t": holds.on(one.hold), "s": one.hold.site or ""},
            "reason": one.hold.reason or "", "by": one.hold.actor if one.hold.blackout is None else "its rule",
            "since": times.moment(one.hold.from_at, now),
            "ends": "no expiry" if one.hold.until_at is None else times.moment(one.hold.until_at, now),
            "keeps": one.waiting, "short": f"keeps {one.waiting:,}",
        }
        for one in listed
    ]  # fmt: skip
    answer = grid.grid(rows, COLUMNS, key=f"{request}.grid", label="Holds to lift", sort={"id": "", "desc": False})
    return sorted(int(hold_id) for hold_id in answer.selected)


def _rate(request: str) -> int | None:
    """Ask how many tasks a minute are to be let go; None: all at once."""
    with st.container(horizontal=True, vertical_alignment="center", key="gradually"):
        if not st.checkbox("Release gradually", key=f"{request}.gradually"):
            return None
        return int(st.number_input("Tasks a minute", 1, FASTEST, USUAL_RATE, step=1, key=f"{request}.rate", width=150))


def _does(found: Release, n: int, rate: int | None) -> str:
    """Say what lifting them lets go, how long that takes, and what other holds keep."""
    facts = {
        "Released": f"{found.tasks:,} waiting {'task' if found.tasks == 1 else 'tasks'} of {found.users:,} "
                    f"{'user' if found.users == 1 else 'users'}" if found.tasks else "no waiting task" if n else "",
        "Drains in": _drains(found, rate) if found.tasks else "",
    }  # fmt: skip
    facts |= {
        f"Stays: {holds.on(hold)}, in every business" if hold.business is None else f"Stays: {holds.on(hold)}":
            f"keeps {kept:,} waiting {'task' if kept == 1 else 'tasks'}"
            + (f", by {hold.actor}" if hold.blackout is None else "")
        for hold, kept in found.staying
    }  # fmt: skip
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    return f"<table class='d-facts d-release'>{rows}</table>"


def _drains(found: Release, rate: int | None) -> str:
    drain = found.drain if rate is None else found.paced(rate)
    if drain.seconds is None:
        return f"{drain.word}: {drain.reason[:1].lower()}{drain.reason[1:]}"
    lasts = f"{drain.word} {times.age(int(drain.seconds * SECOND))}"
    if drain != found.drain:
        return f"{lasts}, at {drain.reason}"
    return f"{lasts} with all else that waits, on {drain.reason}"


def _lift(chosen: Sequence[int], reason: str | None, rate: int | None, request: str) -> None:
    asked = f"{request}-{rate or ''}-{'-'.join(map(str, chosen))}"[:200]
    outcome = frame.do(LiftHolds(list(chosen), reason, rate), asked)
    if outcome.refused:
        st.session_state[f"{request}.why"] = outcome.refused
        return
    lifted = "1 hold" if len(outcome.changed) == 1 else f"{len(outcome.changed):,} holds"
    left = f"; {len(outcome.skipped):,} had ended already" if outcome.skipped else ""
    pace = f"; what waited starts at {rate:,} a minute" if rate is not None else ""
    notice.keep(f"{lifted} lifted{left}{pace}")
    asking.close()
