"""Pausing users or task types: found, chosen, looked at for what it does, and placed as holds under one request.

What a hold would touch is told as of the last change in the dialog. Whatever is chosen, one press places one hold for
each under one request id; a try that was refused is told, and the next one is another request.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from uuid import uuid4

import streamlit as st

from engine.clock import HOUR
from engine.lifecycle import KIND_LABEL, Kind
from engine.messages import HoldTarget, PlaceHolds
from engine.pausing import Candidate, Reach
from engine.roles import Right

from . import asking, frame, grid, notice, times

AT = "Until …"
ENDS = {"No expiry": None, "1 h": HOUR, "4 h": 4 * HOUR, "24 h": 24 * HOUR, AT: 0}
WORDS = {"user": ("user", "users", "User"), "kind": ("task type", "task types", "Task type")}
SHOWN = 3  #: targets that have a column of their own


def ask(business: str, kind: str, chosen: Sequence[str] = ()) -> None:
    """Open the dialog that pauses users ("user") or task types ("kind") of a business, with some chosen already."""
    request = f"hold-{uuid4()}"
    grid.select(f"{request}.grid", chosen)
    asking.dialog(f"Pause {WORDS[kind][1]}", width="large")(_dialog)(business, kind, request)


def _dialog(business: str, kind: str, request: str) -> None:
    left, right = st.columns([5, 6], gap="medium")
    with left:
        everywhere = kind == "kind" and frame.allowed(Right.HOLD, None, None) and st.checkbox(
            "In every business, not only in this one", key=f"{request}.everywhere"
        )  # fmt: skip
        reached = None if everywhere else business
        pauses, now = frame.sight().pauses(reached), frame.engine().now
        known = frame.sight().people(business) if kind == "user" else ()
        chosen = _choose(pauses.users(known) if kind == "user" else pauses.kinds(), kind, business, request)
    targets = [HoldTarget(kind, name) for name in chosen]
    with right:
        until = _until(now, request)
        found = pauses.reach(targets, until)
        st.html(_does(found, kind, until))
        reason = st.text_input("Reason, shown to those who keep the place going", max_chars=200,
                               placeholder="why, and what ends it", key=f"{request}.reason").strip()  # fmt: skip
        collecting = found.total("collecting")
        suspend = st.checkbox(
            f"Also suspend what runs, where it can ({collecting:,} now)", key=f"{request}.suspend",
            disabled=not collecting,
        ) and bool(collecting)  # fmt: skip
        _buttons(PlaceHolds(reached, targets, reason, until_at=until, suspend=suspend), found, kind, request)


def _choose(candidates: Sequence[Candidate], kind: str, business: str, request: str) -> list[str]:
    """Let people look for some and tick one or many; return their names."""
    wanted = st.text_input(f"Search {WORDS[kind][1]}", placeholder="Part of a name", key=f"{request}.q", type="search",
                           live=True, max_chars=100).strip().lower()  # fmt: skip
    rows = [
        {
            "id": one.name, "label": _label(kind, one.name),
            "name": {"t": _label(kind, one.name), "s": "paused already" if one.held else ""},
            "waiting": one.waiting, "running": one.running,
        }
        for one in candidates if wanted in _label(kind, one.name).lower()
    ]  # fmt: skip
    columns: list[grid.Row] = [
        {"id": "name", "label": WORDS[kind][2], "type": "two", "width": "2fr"},
        {"id": "waiting", "label": "Waiting ↓", "type": "number", "width": "82px"},
        {"id": "running", "label": "Running", "type": "number", "width": "72px"},
    ]
    key = f"{request}.grid"
    if not candidates:
        st.html(f"<div class='d-evidence'>{escape(business)} has no users yet: nobody who belongs to it has an account "
                "or had a task.</div>")  # fmt: skip
        return []
    with st.container(height=330, border=False, key="candidates"):
        if not rows:
            st.html("<div class='d-evidence'>Nobody is found by that name.</div>" if kind == "user"
                    else "<div class='d-evidence'>No task type is found by that name.</div>")  # fmt: skip
        answer = grid.grid(rows, columns, key=key, label=WORDS[kind][1].capitalize(), sort={"id": "", "desc": True},
                           view=wanted, cards=False)  # fmt: skip
    return list(answer.selected)


def _label(kind: str, name: str) -> str:
    return KIND_LABEL[Kind(name)] if kind == "kind" else name


def _until(now: int, request: str) -> int | None:
    """Ask when it ends; None: when somebody resumes."""
    ends = st.segmented_control("Ends", list(ENDS), default="1 h", required=True, key=f"{request}.ends")
    if ends != AT:
        span = ENDS[ends or "No expiry"]
        return now + span if span else None
    here = times.zone()
    wall = st.datetime_input(f"Until, {here.key}", times.wall_of(now + HOUR, here), step=60, format="YYYY-MM-DD",
                             key=f"{request}.at", width=220, required=True)  # fmt: skip
    return times.instant_of(wall, here) if wall is not None else None


def _does(found: Reach, kind: str, until: int | None) -> str:
    """Say what it does, target by target where there are few, and together."""
    n = len(found.each)
    if not n:
        return f"<div class='d-what'><b>What this does</b><span>choose {WORDS[kind][1]} first</span></div>"
    shown = found.each if 1 < n <= SHOWN else ()
    heads = "".join(f"<th class='n'>{escape(_label(kind, one.target.name))}</th>" for one in shown)
    lines = [("Waiting tasks held", "waiting"), ("of them, under another hold already", "already"),
             ("Running tasks, go on", "running"), ("To come later, held then", "later"),
             (f"Fires of schedules until {_brief(found.until_at)}", "fires")]  # fmt: skip
    body = "".join(
        f"<tr><td>{escape(label)}</td>"
        + "".join(f"<td class='n'>{getattr(one, what):,}</td>" for one in shown)
        + f"<td class='n'>{found.total(what):,}</td></tr>"
        for label, what in lines
        if what not in ("already", "later") or found.total(what)
    )
    names = WORDS[kind][n > 1]
    together = "both" if n == 2 else "together" if n > 1 else ""
    whose = ""
    if kind == "kind" and found.users:
        most = ", ".join(f"{name} ({count:,})" for name, count in found.users[:5])
        whose = f"Tasks of {most}{f' and {len(found.users) - 5:,} more' if len(found.users) > 5 else ''}. "
    due = "; ".join(f"“{name}” {_brief(at)}" for at, name in found.next)
    skipped = f"Next fires, skipped or kept waiting: {due}. " if due else ""
    far = " Fires are told for a week." if until is not None and until > found.until_at else ""
    new = "New tasks of theirs wait as Paused." if kind == "user" else "New tasks of such types wait as Paused."
    return (
        f"<div class='d-what'><b>What this does</b><span>{n:,} {names}</span></div>"
        f"<table class='tb'><tr><th></th>{heads}<th class='n'>{together}</th></tr>{body}</table>"
        f"<div class='d-evidence'>{escape(whose + skipped + new + ' Nothing is stopped or deleted.' + far)}</div>"
    )


def _brief(instant: int) -> str:
    return times.brief(instant, times.day(frame.engine().now, times.zone()), times.zone())


def _buttons(action: PlaceHolds, found: Reach, kind: str, request: str) -> None:
    n, waiting = len(action.targets), found.total("waiting")
    what = f"{n:,} {WORDS[kind][n > 1]}" if n else WORDS[kind][1]
    tasks = f", hold {waiting:,} {'task' if waiting == 1 else 'tasks'}" if n else ""
    go = asking.agreed(f"Pause {what}{tasks}", request, disabled=not n)
    if go:
        _place(action, what, request)
    if why := st.session_state.get(f"{request}.why"):
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")


def _place(action: PlaceHolds, what: str, request: str) -> None:
    if not action.reason:
        st.session_state[f"{request}.why"] = "Say why: whoever finds the tasks paused reads it."
        return
    tries = st.session_state.get(f"{request}.tries", 0)
    outcome = frame.do(action, f"{request}-{tries}")
    if outcome.refused:
        st.session_state[f"{request}.tries"] = tries + 1
        st.session_state[f"{request}.why"] = outcome.refused
        return
    now = frame.engine().now
    lasts = f"until {times.moment(action.until_at, now)}" if action.until_at is not None else "until somebody resumes"
    notice.keep(f"{what} paused {lasts}")
    asking.close()
