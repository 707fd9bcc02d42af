"""Changing a New task: all of it that may be, checked while it is written, with a reason, undone on request.

It is changed as it was seen when the dialog opened: where somebody else was quicker, nothing is changed, and that is
told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from engine import bulk, targets
from engine.bulk import Done, Verb
from engine.lifecycle import KIND, STATUS, SYSTEM_KINDS, Kind, task_label
from engine.messages import Edit, EditMany
from engine.sight import Sight

from . import acting, asking, frame, times

EDIT = "Edit"
ANY = "any that can"
WIDTH = 620
_ACT = acting.Act(EDIT, Verb.EDIT, (), "changed", undone=True)


def can(task: Mapping[str, Any]) -> bool:
    """Tell whether a task, as it stands, can be changed at all."""
    return bulk.refusal(Verb.EDIT, STATUS[task["status"]], KIND[task["kind"]], bool(task.get("hidden"))) is None


def ask(task: Mapping[str, Any], key: str) -> None:
    """Open the dialog of a task; `key` is that of the grid in which it was chosen."""
    _dialog(task, f"edit-{uuid4()}", key)


@asking.dialog("Edit task", width=WIDTH)
def _dialog(task: Mapping[str, Any], request: str, key: str) -> None:
    asked = st.empty()
    if f"{request}.done" not in st.session_state:
        with asked.container():
            done = _form(task, request)
        if done is None:
            return
        st.session_state[f"{request}.done"] = done
        asked.empty()
    acting.came_of_it(_ACT, st.session_state[f"{request}.done"], request, key)


def _form(task: Mapping[str, Any], request: str) -> Done | None:
    """Ask for the changes; return what came of them once they are made."""
    sight, kind = frame.sight(), KIND[task["kind"]]
    said = f"{task_label(kind, task['number'])}, version {task['version']:,}. It can be changed until it starts."
    st.html(f"<div class='d-evidence'>{escape(said)}</div>")
    texts, faults, hints = ({}, [], []) if kind in SYSTEM_KINDS else _texts(sight, task, kind, request)
    changes = texts | _rest(sight, task, kind, request, faults, hints)
    _told(faults, hints)
    reason = asking.reason(request)
    done = None
    if asking.agreed("Save", request, disabled=not changes or bool(faults)):
        done = _save(task, changes, reason, request)
    if why := st.session_state.get(f"{request}.why"):
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")
    return done


def _texts(
    sight: Sight, task: Mapping[str, Any], kind: Kind, request: str
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Ask for name, target and scope; return what is changed, what is wrong with it, and what to know of it."""
    changes: dict[str, Any] = {}
    faults, hints = [], []
    for name in ("name", "target", "scope"):
        before = task[name] or ""
        given = st.text_input(name.capitalize(), before, max_chars=200, key=f"{request}.{name}").strip()
        if given != before.strip():
            changes[name] = given or None
    if "name" in changes and not changes["name"]:
        faults.append("A task needs a name.")
    if "target" in changes and kind in targets.WORKS_ON:
        found = targets.one(changes["target"] or "", kind, task["target_kind"])
        if isinstance(found, str):
            faults.append(f"“{changes['target'] or ''}” is no target for it: {found}.")
        else:
            changes["target"] = found.name
            twice = sight.in_flight(task["business"], task["site"], kind, [found.name])
            hints += [f"{label} works on {name} too, or waits to." for name, label in twice.items()]
            if "name" not in changes and task["name"] == targets.named(kind, task["target"] or ""):
                changes["name"] = targets.named(kind, found.name)
                hints.append(f"Its name follows: {changes['name']}.")
    return changes, faults, hints


def _rest(
    sight: Sight, task: Mapping[str, Any], kind: Kind, request: str, faults: list[str], hints: list[str]
) -> dict[str, Any]:
    """Ask for service, priority and, as long as it has not come, when it starts; return what is changed."""
    changes: dict[str, Any] = {}
    asked = task["requested_service"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if kind not in SYSTEM_KINDS:
            able = sight.able(task["business"], task["site"], kind)
            services = list(dict.fromkeys([ANY, *able, asked or ANY]))
            service = st.selectbox("Service", services, services.index(asked or ANY), key=f"{request}.service",
                                   width=190)  # fmt: skip
            if service != (asked or ANY):
                changes["requested_service"] = None if service == ANY else service
        priority = st.selectbox("Priority", list(range(9, -1, -1)), 9 - task["priority"], key=f"{request}.priority",
                                width=90)  # fmt: skip
        if priority != task["priority"]:
            changes["priority"] = priority
        if task["queued_at"] is None:
            here = times.zone()
            due = times.wall_of(task["due_at"], here)
            wall = st.datetime_input(f"Starts, {here.key}", due, step=60, format="YYYY-MM-DD", key=f"{request}.due",
                                     width=210)  # fmt: skip
            if wall is None:
                faults.append("Say when it is to start.")
            elif wall != due:
                changes["due_at"] = times.instant_of(wall, here)
                if doubt := times.doubt(wall, here, frame.engine().now):
                    hints.append(doubt)
    return changes


def _told(faults: Sequence[str], hints: Sequence[str]) -> None:
    if lines := [*faults, *hints]:
        no = " no" if faults else ""
        st.html(f"<div class='d-told{no}'>{'<br>'.join(map(escape, lines))}</div>")


def _save(task: Mapping[str, Any], changes: Mapping[str, Any], reason: str | None, request: str) -> Done | None:
    """Have it changed; a try that was refused is kept to be told, and the next one is another request."""
    tries = st.session_state.get(f"{request}.tries", 0)
    part = [task["task_id"]], EditMany([Edit(task["task_id"], task["version"], changes)], reason)
    done = bulk.carry_out([part], f"{request}-{tries}", frame.do)
    if done.changed:
        return done
    st.session_state[f"{request}.tries"] = tries + 1
    st.session_state[f"{request}.why"] = done.refused or next((why for _, why in done.skipped), "Nothing changed")
    return None
