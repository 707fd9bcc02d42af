"""The card of one schedule beside the grid: what it does and when, its next fires, its last runs and misses."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from engine.clock import DAY, MINUTE, SECOND
from engine.lifecycle import KIND_LABEL, REASON_WORDS, STATUS, task_label
from engine.recurrence import Rule
from engine.snapshot import HoldLook
from engine.timetable import MISS_DAYS, MISSED, Past, Planned, Version

from . import grid, plans, presses, tasklink, times
from .copylink import copy_link

LONGEST = 60 * 366 * DAY  #: as far as the next fires are looked for
NEXT = 5  #: fires that are listed
ON_HOLD = {"skip": "skips its runs", "queue_one": "queues one run, skips the rest"}
WHILE_PAUSED = {"skip": ", skipped while paused", "queue_one": ", one of them queued while paused"}
EDIT, PAUSE, RESUME, RUN, REMOVE = "Edit", "Pause", "Resume", "Run now", "Remove"


def card(
    planned: Planned | None, hold: HoldLook | None, kept: plans.Kept, past: Past | None, now: int, zone: str, *,
    key: str, may: bool, stale: bool,
) -> str | None:
    """Draw a schedule, or say that there is none; return the action that was just pressed."""
    with st.container(key="card", width=320):
        with st.container(horizontal=True, vertical_alignment="top"):
            name = planned.schedule.spec.name if planned else ""
            label = plans.label(planned.schedule.schedule_id) if planned else "No such schedule"
            st.html(f"<div class='d-cardhead'><b>{escape(label)}</b><br>{escape(name)}</div>")
            grid.close_button(key)
        if planned is None or past is None:
            gone = next((v for v in past.versions if v.spec is None), None) if past else None
            st.html(f"<div class='d-evidence'>{escape(_gone(gone, now))}</div>")
            if past is not None and past.versions:
                _steps(past.steps, now)
                _versions(past.versions, now)
            return None
        _facts(planned, hold, now, zone)
        spec = planned.schedule.spec
        next_fires(spec.rule, now, WHILE_PAUSED[spec.on_hold] if hold else "", lambda at: kept(spec, at))
        pressed = _actions(planned, hold, key, stale) if may else None
        _steps(past.steps, now)
        _versions(past.versions, now)
    return pressed


def _gone(removed: Version | None, now: int) -> str:
    if removed is None:
        return "It is not at this site, or there never was such a schedule."
    return f"{removed.actor} removed it at {times.moment(removed.at, now)}. Its runs stay in the logs."


def _actions(planned: Planned, hold: HoldLook | None, key: str, stale: bool) -> str | None:
    pressed = None
    with st.container(horizontal=True, key="plan-actions"):
        for action in (EDIT, RESUME if hold else PAUSE, RUN, REMOVE):
            known = f"{key}.{planned.schedule.schedule_id}.{action}"
            if presses.button(action, key=known, disabled=stale, width="content"):
                pressed = action
        copy_link({"schedule": str(planned.schedule.schedule_id)}, key=f"{key}.copy")
    return pressed


def _facts(planned: Planned, hold: HoldLook | None, now: int, zone: str) -> None:
    spec = planned.schedule.spec
    state = plans.state(hold, now)
    paused = ", ".join(part for part in (state["s"], _placed(hold)) if part)
    facts = {
        "State": f"{state['t']}{f' {paused}' if paused else ''}",
        "Rule": planned.prose,
        "Cron": spec.rule.cron if spec.rule.cron != planned.prose else None,
        "Zone": f"{spec.rule.zone}{'' if spec.rule.zone == zone else f' (the site’s is {zone})'}",
        "Type": KIND_LABEL[spec.kind],
        "Target": spec.target,
        "Scope": spec.scope,
        "Asks for": spec.requested_service,
        "Owner": spec.owner,
        "Priority": str(spec.priority) if spec.priority != 5 else None,
        "Under a hold": ON_HOLD[spec.on_hold],
        "Usually takes": took(planned.usual_s) or "not known yet",
        "Missed": f"{plans.missed(planned.missed)} ({MISS_DAYS} days)",
    }
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    st.html(f"<table class='d-facts'>{rows}</table>")


def _placed(hold: HoldLook | None) -> str:
    if hold is None:
        return ""
    return f"by {hold.actor}{f': {hold.reason}' if hold.reason else ''}"


def next_fires(
    rule: Rule, now: int, paused: str = "", kept: Callable[[int], tuple[str, int] | None] = lambda _: None
) -> None:
    """List when a rule fires next, by its own zone and by the viewer's where that shows another time.

    `kept` names the blackout window that a fire falls into, and tells until when that lasts.
    """
    own, here = times.zone_of(rule.zone), times.zone()
    fires = rule.occurrences(now, now + LONGEST, NEXT)
    differ = not all(times.alike(at, own, here) for at in fires)
    heads = f"<th>{escape(rule.zone)}</th>" + (f"<th>{escape(here.key)}, yours</th>" if differ else "")
    rows = "".join(
        f"<tr><td>{escape(times.to_come(at, own))}</td>"
        f"{f'<td>{escape(times.to_come(at, here))}</td>' if differ else ''}</tr>{_kept(kept(at), differ, here)}"
        for at in fires
    )
    st.html(f"<div class='d-h3'>Next fires{paused}</div><table class='d-fires'><tr>{heads}</tr>{rows}</table>")


def _kept(window: tuple[str, int] | None, differ: bool, here: ZoneInfo) -> str:
    if window is None:
        return ""
    said = escape(f"held by “{window[0]}” until {times.to_come(window[1], here)}")
    return f"<tr><td class='kept' colspan='{1 + differ}'>{said}</td></tr>"


def _steps(steps: Sequence[Mapping[str, Any]], now: int) -> None:
    rows = "".join(_run(step["run"], now) if "run" in step else _missed(step, now) for step in steps)
    st.html(f"<div class='d-h3'>Last runs</div><table class='d-way'>{rows}</table>" if rows else
            "<div class='d-h3'>Last runs</div><div class='d-evidence'>It has not run yet.</div>")  # fmt: skip


def _run(run: Mapping[str, Any], now: int) -> str:
    why = REASON_WORDS.get(run["reason"], run["reason"]) if run["reason"] else ""
    by = "" if run["initiator"] == "Schedule" else f"run now by {run['initiator']}"
    link = (
        f"<a href='{escape(tasklink.address(run['task_id']))}' target='_self'>"
        f"{escape(task_label(run['kind'], run['number']))}</a>"
    )
    says = ", ".join([link, *(escape(part) for part in (by, run["error"] or why) if part)])
    status = STATUS[run["status"]]
    return _line(run["created_at"], status.name.lower(), plans.word(run), says, took(run["took_s"]), now)


def took(seconds: float | None) -> str:
    """Word how long something took; nothing where that is not known."""
    return times.wait(int(seconds * SECOND)) if seconds is not None else ""


def _missed(step: Mapping[str, Any], now: int) -> str:
    why = MISSED.get(step["why"], step["why"])
    n = step["missed"]
    if not n:
        return _line(step["last"], "missed", "Queued", "one run waits for the hold to end", "", now)
    span = f"from {_when(step['first'], now)}, " if n > 1 else ""
    return _line(step["last"], "missed", f"{n:,} missed" if n > 1 else "Missed", escape(f"{span}{why}"), "", now)


def _line(at: int, dot: str, word: str, says: str, took: str, now: int) -> str:
    """Write a step; what it says is HTML already."""
    return (
        f"<tr><td class='d-when'>{_when(at, now)}</td><td class='d-dot {dot}'></td><td>{escape(word)}"
        f"{f'<small>{says}</small>' if says else ''}</td><td>{took}</td></tr>"
    )


def _when(at: int, now: int) -> str:
    here = times.zone()
    return plans.short(at - at % MINUTE, times.day(now, here), here)


def _versions(versions: Sequence[Version], now: int) -> None:
    rows = "".join(
        f"<tr><td class='d-when'>{_when(v.at, now)}</td><td class='d-said'>"
        f"{escape(f'Version {v.version:,} by {v.actor}')}"
        f"<small>{escape(_changes(v, before))}</small></td></tr>"
        for v, before in zip(versions, [*versions[1:], None], strict=True)
    )
    st.html(f"<div class='d-h3'>Versions</div><table class='d-way'>{rows}</table>")


def _changes(version: Version, before: Version | None) -> str:
    """Say what a version changed of the one before."""
    new, old = version.spec, before.spec if before else None
    if new is None or old is None:
        return version.event
    told = []
    for name in ("name", "kind", "target", "scope", "requested_service", "owner", "priority", "on_hold"):
        if getattr(new, name) != getattr(old, name):
            told.append(f"{name.replace('_', ' ')} {getattr(old, name) or '–'} → {getattr(new, name) or '–'}")
    if new.rule != old.rule:
        told.append(f"{old.rule.prose()} → {new.rule.prose()}")
    if new.rule.zone != old.rule.zone:
        told.append(f"{old.rule.zone} → {new.rule.zone}")
    return "; ".join(told) or "nothing changed"
