"""The short link to one task, `/task?id=…`: it opens Tasks where that task is by now, with its card on top.

A task's business, site and tab are looked up when the link is followed, so it holds for as long as there is the task.
Of a task that is not there and of one that may not be seen the same is said.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine.sight import Sight, Spot

from . import addresses, frame

PATH, TASKS = "task", "tasks"
NONE = "There is no such task, or it is not yours to see."


def address(task_id: int) -> str:
    """Write the link, from any page of the console."""
    return f"{PATH}?id={task_id}"


def spot(sight: Sight, text: str | None) -> Spot | None:
    """Tell where the task of an address is, if there is one that may be seen."""
    task_id = addresses.number(text)
    return sight.where(task_id) if task_id is not None else None


def follow(page: Any, listed: Mapping[str, Sequence[tuple[frame.Entry, Any]]]) -> None:
    """Turn to Tasks if the page that is asked for is such a link, to a task that may be seen; above the menu."""
    wanted = st.query_params.get("id")
    if page.url_path != PATH or (found := spot(frame.sight(), wanted)) is None:
        return
    tasks = next(one for pages in listed.values() for entry, one in pages if entry.path == TASKS)
    parameters = {"tab": found.tab.lower(), "task": str(addresses.number(wanted))}
    parameters |= {name: "shown" for name, on in (("system", found.system), ("hidden", found.hidden)) if on}
    frame.go_to(tasks, found.business, found.site, parameters)
