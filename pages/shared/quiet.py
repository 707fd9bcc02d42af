"""What a page says where nothing is queued or running: what happened last, and what comes next."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from engine.lifecycle import task_label
from engine.sight import Sight
from engine.standing import Schedule

from . import times

MOST = 3  #: schedules that are named


def nothing(sight: Sight, business: str, site: str, now: int) -> None:
    """Say that the queue is empty, since when, and until when."""
    found = sight.quiet(business, site)
    with st.container(key="empty"):
        st.html(f"<div class='d-finding'>No task is queued or running at {escape(site)}.</div>")
        parts = []
        if found.last is not None:
            last = found.last
            on = f" on {last['target']}" if last["target"] else ""
            label = task_label(last["kind"], last["number"])
            parts.append(f"Last one finished {times.age(now - last['finished_at'])} ago: {label}{on}.")
        if found.next_at is not None:
            parts.append(f"Next: {_named(found.due)} at {times.moment(found.next_at, now)}.")
        said = " ".join(parts) or "Nothing ended here in the last day, and no schedule is to come."
        st.html(f"<div class='d-evidence'>{escape(said)}</div>")


def _named(due: Sequence[Schedule]) -> str:
    named = ", ".join(f"“{schedule.spec.name}”" for schedule in due[:MOST])
    return f"{named} and {len(due) - MOST:,} more" if len(due) > MOST else named
