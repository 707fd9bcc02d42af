"""A new task, or one for each of several targets: checked while it is written, submitted now or for later."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from engine.clock import HOUR, SECOND
from engine.lifecycle import KIND, KIND_LABEL, Kind, task_label
from engine.messages import NewTask, Submit
from engine.ranges import read_span, span_text
from engine.roles import Right
from engine.targets import WORKS_ON, Wanted, named, wanted

from . import asking, frame, notice, presses, times
from .plain import plain

HINT = {
    Kind.SCAN: "a segment, 10.40.12.0/24, or a device a line",
    Kind.AUDIT: "a device, by name or address, a line",
    Kind.CONNECTOR: "a cloud resource a line, as the fleet names it",
    Kind.IMPORT: "a segment, 10.40.12.0/24, a line",
}
COPY = "Copy as new task"
ANY, SHOWN, WIDTH = "any that can", 4, 620


def ask(business: str, site: str, like: Mapping[str, Any] | None = None) -> None:
    """Open the dialog, filled in like another task where one is given; see `likeness`.

    One opening is one request, however often its button is pressed.
    """
    _dialog(business, site, like or {}, f"new-{uuid4()}")


def can_copy(task: Mapping[str, Any]) -> bool:
    """Tell whether people may submit tasks of its type."""
    return KIND[task["kind"]] in WORKS_ON


def likeness(task: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Take of a task what a new one like it is given: its facts and settings, not whose it is nor when it came."""
    kind = KIND[task["kind"]]
    own = task["name"] != named(kind, task["target"] or "")
    longest = settings.get("longest_wait_s")
    return {
        "kind": kind, "targets": task["target"] or "", "name": task["name"] if own else "",
        "scope": task["scope"] or "", "service": task["requested_service"] or ANY, "priority": task["priority"],
        "longest": span_text(longest * SECOND) if longest is not None else "",
        "of": task_label(task["kind"], task["number"]),
    }  # fmt: skip


@asking.dialog("New task", width=WIDTH)
def _dialog(business: str, site: str, like: Mapping[str, Any], request: str) -> None:
    sight = frame.sight()
    if like:
        st.html(f"<div class='d-evidence'>Filled in like {escape(like['of'])}; it will be yours.</div>")
    of = like.get("kind", Kind.SCAN)
    kind = st.segmented_control("Type", list(WORKS_ON), default=of, format_func=lambda k: KIND_LABEL[k],
                                required=True, key=f"{request}.kind")  # fmt: skip
    text = st.text_area(f"Targets: {HINT[kind]}", like.get("targets", "") if kind is of else "", height=110,
                        key=f"{request}.targets {kind}", max_chars=60_000)  # fmt: skip
    found = wanted(text or "", kind)
    names = [target.name for target in found.targets]
    _said(found, sight.in_flight(business, site, kind, names))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", like.get("name", "") if kind is of else "", max_chars=200,
                             key=f"{request}.name {kind}", placeholder=named(kind, "…")).strip()  # fmt: skip
        scope = st.text_input("Scope", like.get("scope", ""), max_chars=200, key=f"{request}.scope",
                              placeholder="what it covers, in your words").strip()  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        services = [ANY, *sight.able(business, site, kind)]
        chosen = like.get("service", ANY)
        service = st.selectbox("Service", services, services.index(chosen) if chosen in services else 0,
                               key=f"{request}.service {kind}", width=190)  # fmt: skip
        priority = st.selectbox("Priority", list(range(9, -1, -1)), 9 - like.get("priority", 5),
                                key=f"{request}.priority", width=90)  # fmt: skip
        waits = st.text_input("Waits at most", like.get("longest", ""), max_chars=20, key=f"{request}.longest",
                              placeholder="no limit", width=130, help="Canceled where it has waited for longer, "
                              "holds left out: 90s, 10m, 1h30m, 2d").strip()  # fmt: skip
        longest = read_span(waits)
        when = st.segmented_control("Start", ["Now", "Later"], default="Now", required=True, key=f"{request}.when")
        here, due = times.zone(), None
        if when == "Later":
            soon = times.wall_of(frame.engine().now + HOUR, here)
            wall = st.datetime_input(f"At, {here.key}", soon, step=60, format="YYYY-MM-DD", key=f"{request}.due",
                                     width=200)  # fmt: skip
            due = times.instant_of(wall, here) if wall is not None else None
    wrong = bool(waits) and (longest is None or longest < SECOND)
    if due is not None and wall is not None and (doubt := times.doubt(wall, here, frame.engine().now)):
        st.html(f"<div class='d-told'>{escape(doubt)}</div>")
    if wrong:
        told = escape(f"“{waits}” is no time to wait; write one as 90s, 10m, 1h30m or 2d.")
        st.html(f"<div class='d-told no'>{told}</div>")
    n = f" {len(names):,} {'task' if len(names) == 1 else 'tasks'}" if names else ""
    off = not names or bool(found.faults) or (when == "Later" and due is None) or wrong
    if asking.agreed(f"Submit{n}", request, disabled=off):
        me = frame.actor().name
        tasks = [
            NewTask(business, site, kind, name or named(kind, target.name), me, me, target.name, target.kind,
                    scope or None, None if service == ANY else service, priority, due,
                    longest // SECOND if longest else None)
            for target in found.targets
        ]  # fmt: skip
        outcome = frame.do(Submit(tasks), f"{request}-{abs(hash(tuple(tasks)))}")  # other contents, another request
        if outcome.refused:
            st.error(plain(outcome.refused))
        else:
            later = f", to start {times.whole(due, here)}" if due is not None else ""
            notice.keep(f"{len(outcome.changed):,} submitted{later}")
            asking.close()


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


def offer(business: str, site: str, off: bool) -> bool:
    """Offer the dialog to who may submit; return whether it was just asked for."""
    if not frame.allowed(Right.OPERATE, business, site):
        return False
    return presses.button("New task", key="new-task", width="content", disabled=off)
