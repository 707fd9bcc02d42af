"""The card of one task beside the grid: rings, facts, why it waits, and its way so far."""

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from . import grid, queue, times
from .bulk import Wish
from .rings import ring, rings

#: instant: what happened then
_WAY = {
    "queued_at": "Queued",
    "started_at": "Started",
    "collected_at": "Collected",
    "processing_queued_at": "Queued for processing",
    "processing_started_at": "Processing",
}


def card(
    task: dict[str, Any] | None, now: int, *, key: str, actions: Sequence[str] = (), stale: bool = False
) -> Wish | None:
    """Draw a task, or say that it has left; return the action that was just pressed."""
    wish = None
    with st.container(key="card", width=280):
        with st.container(horizontal=True, vertical_alignment="top"):
            label, target = (task["label"], task["target"] or task["name"]) if task else ("It has left the queue", "")
            st.html(f"<div class='d-cardhead'><b>{escape(label)}</b><br>{escape(target)}</div>")
            selected, _ = grid.state(key)
            st.button("✕", key=f"{key}.close", type="tertiary", width="content", help="Close",
                      on_click=lambda: grid.put(key, selected=selected))  # fmt: skip
        if task is None:
            st.html("<div class='d-evidence'>It ended while its card was open.</div>")
            return None
        _progress(task, now, stale)
        _facts(task, now)
        _way(task, now)
        if actions:
            with st.container(horizontal=True):
                for action in actions:
                    if st.button(action, key=f"{key}.card.{action}", disabled=stale, width="content"):
                        wish = Wish(action, (task["task_id"],))
    return wish


def _progress(task: dict[str, Any], now: int, stale: bool) -> None:
    collected = 1.0 if task["collected_at"] else task["collecting"] if task["started_at"] else 0.0
    processed = task["processing"] if task["processing_started_at"] else 0.0
    since, end = task["started_at"], task["collected_at"] or now
    spent = times.age(end - since) if since and queue.collects(task) else ""
    at_work = task["processing_started_at"]
    rings(
        ring("Collected", collected, _by(task["service"], spent), applies=queue.collects(task)),
        ring("Processed", processed, _by(task["processor"], times.age(now - at_work) if at_work else "")),
        key="rings",
        stale=stale,
    )


def _by(host: str | None, spent: str) -> str:
    return ", ".join(part for part in (host, spent) if part)


def _facts(task: dict[str, Any], now: int) -> None:
    facts = {
        "Status": task["word"],
        "Waits for" if task["cause"] else "At work": queue.why(task, now),
        "Scope": task["scope"],
        "Initiator": task["initiator"],
        "Site": task["site"],
        "Asked for": task["requested_service"],
        "Priority": str(task["priority"]),
        "Attempt": str(task["attempt"]) if task["attempt"] else None,
    }
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    st.html(f"<table class='d-facts'>{rows}</table>")


def _way(task: dict[str, Any], now: int) -> None:
    steps = sorted((task[name], word) for name, word in _WAY.items() if task[name])
    ends = [at for at, _ in steps[1:]] + [now]
    rows = "".join(
        f"<tr><td>{times.moment(at, now)}</td><td>{escape(word)}</td><td>{times.age(end - at)}</td></tr>"
        for (at, word), end in zip(steps, ends, strict=True)
    )
    st.html(f"<table class='d-way'>{rows}</table>")
