"""Acting on tasks, one or thousands: the bar that says on how many, and the dialog that says what it will do first.

What a dialog acts on is frozen when it opens: those selected, or all that the filter found on all pages. What comes
later is not touched. One opening is one request, however often its button is pressed; what can be undone says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from uuid import uuid4

import polars as pl
import streamlit as st

from engine import bulk
from engine.bulk import Done, Preview, Verb
from engine.errors import DrainboardError
from engine.lifecycle import KIND, STATUS, Tab

from . import asking, frame, grid, presses
from .plain import plain

SHOWN = 5  #: of users, sites and reasons; the rest is counted


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done: its label, and what it does, in sentences."""

    label: str
    verb: Verb
    does: tuple[str, ...]
    done: str  #: "{n} {done}"
    undone: bool = False  #: whether it can be undone


STOP = Act("Stop", Verb.STOP, (
    "What waits is stopped at once.",
    "What runs is asked to stop, and shows Stopping until its service confirms.",
    "Data that was collected stays; nothing is rolled back. A schedule goes on with its next run.",
), "stopped or asked to stop")  # fmt: skip
RERUN = Act("Run again", Verb.RERUN, (
    "Each is submitted once more as it was, in your name; the old one stays as it is.",
), "submitted again")  # fmt: skip
PRIORITY = Act("Priority", Verb.EDIT, (
    "Only New tasks can still be moved in the line. Higher goes first; 5 is the default.",
), "changed", undone=True)  # fmt: skip
DELETE = Act("Delete", Verb.DELETE, (
    "New tasks are taken out of the queue; ended ones are hidden from lists, and stay in the history.",
    "What runs is left alone: stop it first.",
), "deleted or hidden", undone=True)  # fmt: skip
SHOW = Act("Show again", Verb.RESTORE, ("Hidden tasks are listed again; deleted New ones while they can be.",),
           "shown again")  # fmt: skip

ACTS: dict[Tab, tuple[Act, ...]] = {
    Tab.ACTIVE: (STOP, PRIORITY, DELETE),
    Tab.PROCESSING: (STOP,),
    Tab.SCHEDULED: (PRIORITY, DELETE),
    Tab.FAILED: (RERUN, DELETE, SHOW),
    Tab.COMPLETED: (RERUN, DELETE, SHOW),
}


def of_task(task: dict[str, Any]) -> tuple[Act, ...]:
    """List what can be done to one task as it stands; what its card has dialogs of its own for is not among it."""
    stands = STATUS[task["status"]], KIND[task["kind"]], bool(task.get("hidden"))
    again = task["finished_at"] is not None
    return tuple(
        act
        for act in (STOP, RERUN, DELETE, SHOW)
        if bulk.refusal(act.verb, *stands) is None and (again or act is not RERUN)
    )


def bar(
    selected: Sequence[str], total: int, acts: Sequence[Act], *, key: str, view: str, off: bool
) -> tuple[Act, tuple[int, ...] | None] | None:
    """Tell how many are selected, offer the rest that match, and return what was pressed and on which; None: on all."""
    if not selected:
        presses.forget(f"{key}.act.")
    then, ticked = st.session_state.get(f"{key}.all", ("", frozenset()))
    everything = bool(selected) and then == view and ticked <= set(selected)  # of another view, others were meant
    if everything:
        st.session_state[f"{key}.all"] = view, frozenset(selected)
    else:
        st.session_state.pop(f"{key}.all", None)
    n = total if everything else len(selected)
    pressed = None
    with st.container(horizontal=True, vertical_alignment="center", key="acts"):
        said = f"<b>All {n:,}</b> that match are selected" if everything else f"<b>{n:,} selected</b> of {total:,}"
        st.html(said if selected else "<span class='d-evidence'>Select tasks to act on them.</span>")
        if selected and not everything and len(selected) < total:
            these = view, frozenset(selected)
            st.button(f"Select all {total:,}", key=f"{key}.everything", width="content", type="tertiary",
                      on_click=lambda: st.session_state.update({f"{key}.all": these}))  # fmt: skip
        for act in acts if selected else ():
            if presses.button(act.label, key=f"{key}.act.{act.label}", disabled=off, width="content"):
                pressed = act, None if everything else tuple(map(int, selected))
        if selected:
            grid.clear_button(key)
    return pressed


def ask(act: Act, found: Preview, key: str) -> None:
    """Open the dialog of an action over tasks that were looked at; `key` is the grid's they were selected in."""
    asking.dialog(f"{act.label} tasks")(_dialog)(act, found, f"{act.verb}-{uuid4()}", key)


def _dialog(act: Act, found: Preview, request: str, key: str) -> None:
    done: Done | None = st.session_state.get(f"{request}.done")
    if done is not None:
        came_of_it(act, done, request, key)
        return
    n = f"{found.count:,} {'task' if found.count == 1 else 'tasks'}"
    st.html(f"<ul class='d-says'>{''.join(f'<li>{escape(said)}</li>' for said in act.does)}</ul>")
    st.html(_preview(found))
    changes = None
    if act is PRIORITY:
        level = st.select_slider("Priority", list(range(10)), 5, key=f"{request}.priority")
        changes = {"priority": level}
    reason = asking.reason(request)
    go = asking.agreed(f"{act.label}: {n}", request, disabled=not found.count)
    if go:
        sight = frame.sight()
        parts = bulk.parts(found, sight.finished, reason=reason, changes=changes,
                           longest_waits=sight.longest_waits)  # fmt: skip
        st.session_state[f"{request}.done"] = bulk.carry_out(parts, request, frame.do, _progress(found.count))
        grid.select(key)  # however the dialog is left
        frame.again()


def _preview(found: Preview) -> str:
    """Say whose tasks they are, where, how many of them run, and which others are left, and why."""
    facts = {
        "Tasks": f"{found.count:,}, as they were when this opened",
        "Of": _some((name, n) for name, n in found.users),
        "At": _some((site, n) for _, site, n in found.sites),
        "Running": f"{found.running:,}" if found.running else "",
        "Ended": f"{found.ended:,}" if found.ended else "",
        "Left as they are": _some(found.left),
    }
    rows = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    return f"<table class='d-facts'>{rows}</table>"


def _some(counts: Any) -> str:
    listed = list(counts)
    said = [f"{name} ({n:,})" for name, n in listed[:SHOWN]]
    return ", ".join(said) + (f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else "")


def _progress(total: int) -> Callable[[int], None]:
    if total <= bulk.AT_ONCE:
        return lambda _: None
    shown = st.progress(0.0, text=f"0 of {total:,}")

    def tell(n: int) -> None:
        shown.progress(n / total, text=f"{n:,} of {total:,}")

    return tell


def came_of_it(act: Act, done: Done, request: str, key: str) -> None:
    """Say what came of it, task by task where somebody wants to know; offer to take it back."""
    no = " no" if done.refused else ""
    back = f"{request}.back" in st.session_state
    n = len(done.changed)
    said = f"{n:,} {'task' if n == 1 else 'tasks'} {'taken back' if back else act.done}."
    if done.refused:
        said += f" Refused: {done.refused}. {len(done.left):,} were not tried."
    st.html(f"<div class='d-told{no}'>{escape(said)}</div>")
    if done.skipped:
        with st.expander(f"{len(done.skipped):,} left as they were"):
            st.html(f"<div class='d-evidence'>{escape(_some(done.whys.items()))}</div>")
            st.dataframe(pl.DataFrame(done.skipped, schema=["task", "why"], orient="row"), height=200)
    with st.container(horizontal=True, horizontal_alignment="right"):
        if act.undone and done.changed and not back and presses.button("Undo", key=f"{request}.undo", width="content"):
            st.session_state[f"{request}.done"] = _taken_back(done.requests[0])
            st.session_state[f"{request}.back"] = True
            frame.again()
        if presses.button("Close", key=f"{request}.close", type="primary", width="content"):
            grid.select(key)
            asking.close()


def _taken_back(request: str) -> Done:
    try:
        back = frame.sight().undo(request)
    except DrainboardError as error:
        return Done(refused=plain(str(error)))
    done = bulk.carry_out(back.parts, f"undo-{uuid4()}", frame.do)
    done.skipped += back.left
    return done
