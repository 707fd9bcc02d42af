"""A new task, or one for each of several targets: checked while it is written, submitted now or for later."""

from __future__ import annotations

from html import escape
from uuid import uuid4

import streamlit as st

from engine.lifecycle import KIND_LABEL, Kind
from engine.messages import NewTask, Submit
from engine.roles import Right
from engine.targets import VERB, WORKS_ON, Wanted, wanted

from . import frame, notice, times
from .plain import plain

HINT = {
    Kind.SCAN: "a segment, 10.40.12.0/24, or a device a line",
    Kind.AUDIT: "a device, by name or address, a line",
    Kind.CONNECTOR: "a cloud resource a line, as the fleet names it",
    Kind.IMPORT: "a segment, 10.40.12.0/24, a line",
}
ANY, SHOWN = "any that can", 4


def ask(business: str, site: str) -> None:
    """Open the dialog; one opening is one request, however often its button is pressed."""
    _dialog(business, site, f"new-{uuid4()}")


@st.dialog("New task", width="large")
def _dialog(business: str, site: str, request: str) -> None:
    sight = frame.sight()
    kind = st.segmented_control("Type", list(WORKS_ON), default=Kind.SCAN, format_func=lambda k: KIND_LABEL[k],
                                required=True, key=f"{request}.kind")  # fmt: skip
    text = st.text_area(f"Targets: {HINT[kind]}", key=f"{request}.targets {kind}", height=110, max_chars=60_000)
    found = wanted(text or "", kind)
    names = [target.name for target in found.targets]
    _said(found, sight.in_flight(business, site, kind, names))
    scope = st.text_input("Scope", max_chars=200, key=f"{request}.scope", placeholder="what it covers, in your words")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        services = [ANY, *sight.able(business, site, kind)]
        service = st.selectbox("Service", services, key=f"{request}.service {kind}", width=180)
        priority = st.selectbox("Priority", list(range(9, -1, -1)), 4, key=f"{request}.priority", width=90)
        when = st.segmented_control("Start", ["Now", "Later"], default="Now", required=True, key=f"{request}.when")
        here, due = times.zone(), None
        if when == "Later":
            soon = times.wall_of(frame.engine().now + 3_600_000_000, here)
            wall = st.datetime_input(f"At, {here.key}", soon, step=60, format="YYYY-MM-DD", key=f"{request}.due",
                                     width=200)  # fmt: skip
            due = times.instant_of(wall, here) if wall is not None else None
    n = f"{len(names):,} {'task' if len(names) == 1 else 'tasks'}"
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Leave it", key=f"{request}.keep", width="content"):
            st.rerun()
        off = not names or bool(found.faults) or (when == "Later" and due is None)
        if st.button(f"Submit {n}", key=f"{request}.go", type="primary", width="content", disabled=off):
            me = frame.actor().name
            tasks = [
                NewTask(business, site, kind, f"{VERB[kind]} {target.name}", me, me, target.name, target.kind,
                        scope.strip() or None, None if service == ANY else service, priority, due)
                for target in found.targets
            ]  # fmt: skip
            outcome = frame.do(Submit(tasks), f"{request}-{abs(hash(tuple(tasks)))}")  # other contents, another request
            if outcome.refused:
                st.error(plain(outcome.refused))
            else:
                later = f", to start {times.whole(due, here)}" if due is not None else ""
                notice.keep(f"{len(outcome.changed):,} submitted{later}")
                st.rerun()


def _said(found: Wanted, in_flight: dict[str, str]) -> None:
    """Say what of the text is wrong, stands there again, or is worked on already."""
    lines = [f"Line {line}, “{word}”: {why}." for line, word, why in found.faults[:SHOWN]]
    if len(found.faults) > SHOWN:
        lines.append(f"And {len(found.faults) - SHOWN:,} more lines.")
    if found.again:
        lines.append(f"Written more than once, taken once: {', '.join(found.again[:SHOWN])}.")
    if in_flight:
        named = ", ".join(f"{target} ({task})" for target, task in list(in_flight.items())[:SHOWN])
        more = f" and {len(in_flight) - SHOWN:,} more" if len(in_flight) > SHOWN else ""
        lines.append(f"In the queue or at work already, these would come twice: {named}{more}.")
    if lines:
        no = " no" if found.faults else ""
        st.html(f"<div class='d-told{no}'>{'<br>'.join(map(escape, lines))}</div>")


def offer(business: str, site: str) -> bool:
    """Offer the dialog to who may submit; return whether it was just asked for."""
    if not frame.allowed(Right.OPERATE, business, site):
        return False
    return st.button("New task", key="new-task", width="content")
