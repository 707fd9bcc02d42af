"""Tasks that are to come once: New and not yet due. They are listed by their due time, changed and removed."""

from collections.abc import Sequence
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from engine.lifecycle import KIND_LABEL, Kind, task_label
from engine.messages import Delete

from . import asking, edittask, frame, grid, helps, notice, presses, times
from .plain import plain

MOST = 100  #: that are listed
COLUMNS: list[grid.Row] = [
    {"id": "due", "label": "Due", "type": "two", "width": "1.5fr", "card": "end"},
    {"id": "task", "label": "Task", "type": "text", "width": "1fr"},
    {"id": "name", "label": "Name", "type": "text", "width": "1.6fr", "card": "lead"},
    {"id": "kind", "label": "Type", "type": "text", "width": ".8fr"},
    {"id": "target", "label": "Target, scope", "type": "two", "width": "1.8fr"},
    {"id": "owner", "label": "Owner", "type": "text", "width": "1fr", "pale": True},
    {"id": "priority", "label": "Priority", "type": "number", "width": "62px"},
    {"id": "do", "label": "", "type": "act", "width": "130px", "card": "line"},
]
ACTIONS = [{"act": "edit", "t": "Edit"}, {"act": "remove", "t": "Remove"}]


def section(tasks: Sequence[dict[str, Any]], now: int, zone: str, *, key: str, may: bool, stale: bool) -> None:
    """Draw them below the recurring ones, or say that there is none."""
    more = helps.mark("tasks.scheduled", "scheduled tasks")
    st.html(f"<div class='d-h2'><b>Scheduled once</b><span>{len(tasks):,} to come</span>{more}</div>")
    if not tasks:
        st.html("<div class='d-evidence'>No task is to come later. One that is submitted for later is listed here "
                "until its due time.</div>")  # fmt: skip
        return
    there, here = times.zone_of(zone), times.zone()
    off = "The engine does not answer" if stale else ""
    rows = [
        {
            "id": str(task["task_id"]),
            "due": {"t": times.to_come(task["due_at"], there),
                    "s": "" if times.alike(task["due_at"], there, here) else times.to_come(task["due_at"], here)},
            "task": task_label(task["kind"], task["number"]),
            "name": task["name"],
            "kind": KIND_LABEL[Kind(task["kind"])],
            "target": {"t": task["target"] or task["scope"] or "", "s": task["scope"] if task["target"] else ""},
            "owner": task["owner"],
            "priority": task["priority"],
            "do": [{**action, "off": off} for action in ACTIONS] if may else [],
        }
        for task in tasks[:MOST]
    ]  # fmt: skip
    answer = grid.grid(
        rows, COLUMNS if may else COLUMNS[:-1], key=key, label="Scheduled once", sort={"id": "due", "desc": False},
        picks=False, stale=stale,
    )  # fmt: skip
    if len(tasks) > MOST:
        st.html(f"<div class='d-foot'>The next {MOST:,} of {len(tasks):,}.</div>")
    if answer.action and may:
        task = next((task for task in tasks if str(task["task_id"]) == answer.action["id"]), None)
        if task is not None:
            if answer.action["act"] == "edit":
                asking.later(lambda: edittask.ask(task, key))
            else:
                asking.later(lambda: _remove(task, f"once-{uuid4()}"))
        presses.settle()  # it is gone


@asking.dialog("Remove task")
def _remove(task: dict[str, Any], request: str) -> None:
    st.html(
        f"<div class='d-what'><b>{escape(_label(task))}</b><span>due {escape(_due(task))}</span></div>"
        "<ul class='d-says'><li>It will not be run.</li><li>It can be restored for some minutes.</li></ul>"
    )
    reason = asking.reason(request)
    if asking.agreed("Remove task", request):
        outcome = frame.do(Delete([task["task_id"]], reason), request)
        left = "; ".join(why for _, why in outcome.skipped)
        _done(outcome.refused, f"Left: {left}" if left else f"{_label(task)} is removed")


def _label(task: dict[str, Any]) -> str:
    return f"{task_label(task['kind'], task['number'])} “{task['name']}”"


def _due(task: dict[str, Any]) -> str:
    return times.to_come(task["due_at"], times.zone())


def _done(refused: str | None, said: str) -> None:
    if refused:
        st.error(plain(refused))
        return
    notice.keep(said)
    asking.close()
