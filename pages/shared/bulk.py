"""What people want done to tasks, from the bar below a grid. It decides nothing; a page hands it to the engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from . import grid


@dataclass(frozen=True, slots=True)
class Wish:
    """An action that was just pressed, and the ids of the tasks it is for."""

    action: str
    ids: tuple[int, ...]


def bar(selected: Sequence[str], live: int, actions: Sequence[str], *, key: str, off: bool = False) -> Wish | None:
    """Tell how many are selected, offer the actions by count, and return what was pressed."""
    if not selected:
        return None
    wish = None
    n = len(selected)
    with st.container(horizontal=True, vertical_alignment="center", key="bulk"):
        st.html(f"<b>{n:,} selected</b> of {live:,}", width="content")
        for action in actions:
            label = f"{action} {n:,} {'task' if n == 1 else 'tasks'}"
            if st.button(label, key=f"{key}.bulk.{action}", disabled=off, width="content"):
                wish = Wish(action, tuple(int(task_id) for task_id in selected))
        opened = grid.state(key)[1]
        st.button("Clear", key=f"{key}.clear", width="content", on_click=lambda: grid.put(key, opened=opened))
    return wish
