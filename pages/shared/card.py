"""The card of one task beside the grid: rings, facts, why it waits and for what it has waited, and its way so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from engine.clock import SECOND
from engine.lanes import PROCESSOR, SERVES, lane_of
from engine.ledger import number_of
from engine.lifecycle import ANALYSED, KIND, PAUSED, REASON_WORDS, STATUS, TERMINAL, Cause, Kind, queue_word, task_label
from engine.sight import Sight
from engine.snapshot import Waits
from engine.targets import WORD
from engine.task import COLLECT

from . import addresses, frame, grid, holds, presses, queue, tasklink, times
from .bulk import Wish
from .copylink import copy_link
from .pastruns import past_runs
from .rings import ring, rings

_CAUSE = {
    Cause.HOLD: "hold",
    Cause.CONSOLE: "console down",
    Cause.THROTTLED: "throttled",
    Cause.OFFLINE: "no service online",
    Cause.EXCLUSIVE: "explorer scanning",
    Cause.CAPACITY: "capacity",
    Cause.UNKNOWN: "unknown",
}
_ROLE = {"explorer": "Explorer", "audit_service": "Audit host", "hosted_zone": "Hosted zone", "processor": "Asked for"}


@dataclass(frozen=True, slots=True)
class Opened:
    """The task that a card is about: still in the queue, or as it ended."""

    task: dict[str, Any]
    live: bool
    steps: Sequence[dict[str, Any]]
    waits: Waits | None
    why: str
    settings: Mapping[str, Any]  #: what it was submitted with, besides what the task says itself
    roles: Mapping[str, str]  #: of the site's services, by name
    runs: Sequence[dict[str, Any]]  #: the last ones of its schedule, newest first
    has_result: bool = False  #: of a report or an outlier calculation, to be seen on the page Reports


def find(sight: Sight, business: str, site: str, task_id: str | None, now: int) -> Opened | None:
    """Look a task up among those in the queue, then among those that have ended; None where it is neither."""
    wanted = addresses.number(task_id)
    if wanted is None:
        return None
    task, waits, why, has_result = sight.task(business, site, wanted), None, "", False
    live = task is not None
    if task is not None:
        held_by = {hold.hold_id: holds.waits_for(hold) for hold in sight.holds(business, site)}
        waits, why = sight.waits(business, site, wanted), queue.why(task, now, held_by)
    else:
        task = sight.ended(business, site, wanted)
        if task is None:
            return None
        task["task"] = task_label(task["kind"], task["number"])
        task["word"] = queue_word(STATUS[task["status"]], True, False, task["outcome"], task["errors"] or 0)
        has_result = Kind(task["kind"]) in ANALYSED and sight.has_result(business, site, wanted)
    return Opened(
        task, live, sight.timeline(business, site, wanted), waits, why,
        sight.settings(business, site, wanted, task["created_at"]),
        {service.name: service.role for service in sight.services(business, site)},
        sight.runs(business, site, task["schedule_id"]) if task["schedule_id"] is not None else (),
        has_result,
    )  # fmt: skip


def find_anywhere(sight: Sight, task_id: str, now: int) -> Opened | None:
    """Look a task up wherever it may be seen."""
    spot = tasklink.spot(sight, task_id)
    return find(sight, spot.business, spot.site, task_id, now) if spot is not None else None


def card(
    opened: Opened | None, now: int, attempts: int, *, key: str, actions: Sequence[str] = (), stale: bool = False
) -> Wish | None:
    """Draw a task as far as it has come, or say that there is none; return the action that was just pressed."""
    wish = None
    with st.container(key="card", width=280):
        task = opened.task if opened else None
        with st.container(horizontal=True, vertical_alignment="top"):
            label, target = (task["task"], task["target"] or task["name"]) if task else ("No such task", "")
            st.html(f"<div class='d-cardhead'><b>{escape(label)}</b><br>{escape(target)}</div>")
            grid.close_button(key)
        if opened is None or task is None:
            st.html("<div class='d-evidence'>It is not at this site, or there never was such a task.</div>")
            return None
        end = now if opened.live else task["finished_at"]
        _progress(task, end, stale)
        _facts(opened, now, attempts)
        if opened.has_result:
            address = urlencode({"site": st.session_state.get("site", ""), "report": task["task_id"]})
            st.html(f"<a class='d-link' href='reports?{escape(address)}' target='_self'>Open the result</a>")
        _way(opened, end)
        _past(opened, now, key)
        with st.container(horizontal=True):
            for action in actions if opened.live else ():
                if presses.button(action, key=f"{key}.{task['task_id']}.{action}", disabled=stale, width="content"):
                    wish = Wish(action, (task["task_id"],))
            copy_link({"task": str(task["task_id"])}, key=f"{key}.copy")
    return wish


def top(
    opened: Opened | None,
    now: int,
    attempts: int,
    *,
    key: str,
    actions: Sequence[str] = (),
    stale: bool = False,
    logged: bool = False,
) -> Wish | None:
    """Draw a task over a whole page's width, with all its instants; return the action that was just pressed.

    Its status is worded as on Tasks or, where it is `logged`, as in queue and logs.
    """
    wish = None
    with st.container(key="topcard"):
        task = opened.task if opened else None
        with st.container(horizontal=True, vertical_alignment="top", key="topcard-head"):
            said = f"{task['task']}, {task['name']}" if task else "No such task"
            about = _about(opened) if opened else ""
            st.html(f"<div class='d-cardhead'><b>{escape(said)}</b><br>{escape(about)}</div>")
            grid.close_button(key)
        if opened is None or task is None:
            st.html(f"<div class='d-evidence'>{tasklink.NONE}</div>")
            return None
        end = now if opened.live else task["finished_at"]
        with st.container(horizontal=True, vertical_alignment="top", key="topcard-parts"):
            with st.container(width=224):
                _progress(task, end, stale)
                _changes(task)
            with st.container():
                _facts(opened, now, attempts, target=True, logged=logged)
            with st.container():
                _instants(task, now)
            with st.container():
                _way(opened, end)
        _past(opened, now, key)
        with st.container(horizontal=True, key="topcard-actions"):
            for action in actions:
                if presses.button(action, key=f"{key}.{task['task_id']}.{action}", disabled=stale, width="content"):
                    wish = Wish(action, (task["task_id"],))
            if task["rerun_of"] is not None:
                said = f"Open {task_label(task['kind'], number_of(task['rerun_of']))}, which this repeats"
                grid.open_button(key, said, str(task["rerun_of"]))
            copy_link({"task": str(task["task_id"])}, key=f"{key}.copy")
        with st.expander("Log lines", key=f"{key}.log"):
            _log(opened)
    return wish


def _about(opened: Opened) -> str:
    """Say in a line what sort of run it is, and what is still to come."""
    task = opened.task
    scheduled = task["initiator"] == "Schedule"
    by = f"Run of the schedule “{task['name']}”" if scheduled else f"Asked for by {task['created_by']}"
    again = f", repeats {task_label(task['kind'], number_of(task['rerun_of']))}" if task.get("rerun_of") else ""
    later = " The change summary appears when it ends." if opened.live else ""
    hidden = " Hidden from lists." if task.get("hidden") else ""
    return f"{by}{again}.{later}{hidden}"


def _changes(task: Mapping[str, Any]) -> None:
    """Sum up what processing found, once it has ended."""
    if task.get("assets_new") is None:
        return
    counts = {
        "New": "assets_new", "Changed": "assets_changed", "Gone": "assets_gone", "Online": "assets_online",
        "Offline": "assets_offline",
    }  # fmt: skip
    cells = "".join(f"<tr><th>{word}</th><td>{task[column] or 0:,}</td></tr>" for word, column in counts.items())
    st.html(f"<table class='d-facts d-changes'><caption>Assets</caption>{cells}</table>")


def _instants(task: Mapping[str, Any], now: int) -> None:
    """List every instant of its life, in full."""
    there = times.zone()
    instants = {
        "Created": "created_at", "Due": "due_at", "Queued": "queued_at", "Started": "started_at",
        "Collected": "collected_at", "Queued to process": "processing_queued_at",
        "Processing since": "processing_started_at", "Ended": "finished_at",
    }  # fmt: skip
    rows = "".join(
        f"<tr><th>{word}</th><td>{times.whole(task[column], there)}</td></tr>"
        for word, column in instants.items()
        if task.get(column) is not None
    )
    st.html(f"<table class='d-facts d-instants'>{rows}</table>")


def _log(opened: Opened) -> None:
    """Write the ledger's lines of the task, as they stand there."""
    there = times.zone()
    lines = []
    for step in opened.steps:
        moved = step["from_status"] != step["to_status"]
        status = f"{step['from_status'] or '–'} → {step['to_status']}" if moved else step["to_status"]
        parts = [times.whole(step["at"], there), step["event"], status, step["actor"], step["service"] or "",
                 f"attempt {step['attempt'] + 1}", step["cause"] and f"waits for {step['cause']}", step["why"] or "",
                 f"batch {step['batch']}"]  # fmt: skip
        lines.append("  ".join(part for part in parts if part))
    st.code("\n".join(lines), language=None, wrap_lines=True)


def _progress(task: Mapping[str, Any], end: int, stale: bool) -> None:
    began, collected, processing = task["started_at"], task["collected_at"], task["processing_started_at"]
    whole = task["status"] == "Processed"
    collecting = 1.0 if collected else task.get("collecting") if began else 0.0
    done = 1.0 if whole else task.get("processing") if processing else 0.0
    spent = times.age((collected or processing or end) - began) if began and queue.collects(task) else ""
    rings(
        ring("Collected", collecting, _by(task["service"], spent), applies=queue.collects(task)),
        ring("Processed", done, _by(task["processor"], times.age(end - processing) if processing else "")),
        key="rings",
        stale=stale,
    )


def _by(host: str | None, spent: str) -> str:
    return ", ".join(part for part in (host, spent) if part)


def _past(opened: Opened, now: int, key: str) -> None:
    """Draw the past runs of its schedule, if it has one, and open the one that is pressed."""
    if not opened.runs:
        return
    name = f" of “{opened.task['name']}”" if opened.task["initiator"] == "Schedule" else ""
    st.html(f"<div class='d-h3'>Past runs{escape(name)}</div>")
    pressed = past_runs(opened.runs, opened.task["task_id"], now, key=f"{key}.runs")
    if pressed is not None:
        grid.open_row(key, pressed)
        presses.settle()
        frame.again()


def _facts(opened: Opened, now: int, attempts: int, *, target: bool = False, logged: bool = True) -> None:
    task = opened.task
    status = task["word"] if logged else PAUSED if task.get("held_by") else task["status"]
    named = task["initiator"] == "Schedule"
    ended = {"Ended": times.moment(task["finished_at"], now), "Why": _ended_why(task)} if not opened.live else {}
    facts = {
        "Status": status,
        "Waits for" if task.get("cause") else "At work": opened.why,
        **ended,
        "Target": _target(task) if target else None,
        "Scope": task["scope"],
        "Initiator": f"Schedule “{task['name']}”" if named else task["initiator"],
        "Owner": task["owner"],
        "Created by": task.get("created_by") if task.get("created_by") != task["owner"] else None,
        "Site": task["site"],
        **_hosts(opened),
        "Processor": task["processor"],
        "Priority": str(task["priority"]) if task["priority"] != 5 else None,
        **{_words(name): _setting(name, value) for name, value in opened.settings.items()},
        "Attempt": f"{task['attempt'] + 1:,} of {attempts:,}" if opened.live else f"{_attempts(task):,}",
        "Waited": _waited(opened),
    }
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    st.html(f"<table class='d-facts'>{rows}</table>")


def _target(task: Mapping[str, Any]) -> str | None:
    what = WORD.get(task["target_kind"], task["target_kind"])
    return f"{task['target']}{f' ({what})' if what else ''}" if task["target"] else None


def _hosts(opened: Opened) -> dict[str, str | None]:
    """Tell by whom it is or was collected, of each role that could: who does, who is asked for, or that any may."""
    task = opened.task
    at_work, asked = task["service"], task["requested_service"]
    if at_work is not None and at_work not in opened.roles:  # of an imported log
        return {"Service": at_work}
    said: dict[str, str | None] = {}
    for role in SERVES[lane_of(KIND[task["kind"]], COLLECT)]:
        if at_work is not None:
            said[_ROLE[role]] = at_work if opened.roles[at_work] == role else "not used"
        elif role == PROCESSOR or not opened.live:
            said[_ROLE[role]] = asked if opened.roles.get(asked or "", PROCESSOR) == role else None
        elif asked is not None:
            said[_ROLE[role]] = f"{asked}, as asked for" if opened.roles.get(asked) == role else "not to be used"
        else:
            said[_ROLE[role]] = "any that can"
    return said


def _words(name: str) -> str:
    """Name a setting as people do."""
    return {"longest_wait_s": "Waits at most"}.get(name, name.replace("_", " ").capitalize())


def _setting(name: str, value: Any) -> str:
    if name == "longest_wait_s":
        return times.wait(value * SECOND)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _attempts(task: Mapping[str, Any]) -> int:
    """Count the attempts of a task that has ended; lost services are counted, the last one's too if it ended so."""
    return int(task["attempt"]) + (task["reason"] != "worker_lost")


def _ended_why(task: Mapping[str, Any]) -> str:
    reason = REASON_WORDS.get(task["reason"], task["reason"]) if task["reason"] else ""
    return "; ".join(part for part in (reason, task["error"]) if part)


def _waited(opened: Opened) -> str:
    """Say for what it has waited, cause by cause; the parts add up to its whole wait."""
    if opened.waits is not None:
        collect, process = dict(opened.waits.collect), opened.waits.process
    else:
        seconds = {cause: opened.task[f"wait_{cause}_s"] for cause in Cause}
        collect = {cause: int(s * SECOND) for cause, s in seconds.items() if s}
        process = int((opened.task["process_wait_s"] or 0) * SECOND)
    parts = [f"{_CAUSE[Cause(cause)]} {times.wait(us)}" for cause, us in collect.items()]
    parts += [f"for a processor {times.wait(process)}"] if process else []
    return ", ".join(parts) or "not at all"


def _way(opened: Opened, end: int) -> None:
    """Tell every step: when, what it became, for how long, who did it and why."""
    steps = [step for step in opened.steps if step["from_status"] != step["to_status"] or step["why"]]
    ends = [step["at"] for step in steps[1:]] + [end]
    rows = "".join(_step(step, until) for step, until in zip(steps, ends, strict=True))
    st.html(f"<table class='d-way'>{rows}</table>")


def _step(step: Mapping[str, Any], until: int) -> str:
    moved = step["from_status"] != step["to_status"]
    word = step["to_status"] if moved else step["event"].replace("_", " ").capitalize()
    by = "" if step["actor"] in ("engine", step["service"]) else step["actor"]
    says = ", ".join(part for part in (step["service"], by, step["why"]) if part)
    status = STATUS[step["to_status"]]
    lasted = "" if status in TERMINAL else times.age(until - step["at"])
    return (
        f"<tr><td>{times.only_clock(step['at'])}</td><td class='d-dot {status.name.lower()}'></td><td>{escape(word)}"
        f"{f'<small>{escape(says)}</small>' if says else ''}</td><td>{lasted}</td></tr>"
    )
