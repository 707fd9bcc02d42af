"""What people want done to tasks, from the bar below a grid. It decides nothing; a page hands it to the engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from . import grid, presses


@dataclass(frozen=True, slots=True)
class Wish:
    """An action that was just pressed, and the ids of the tasks it is for."""

    action: str
    ids: tuple[int, ...]


def bar(selected: Sequence[str], living: Sequence[int], actions: Sequence[str], *, key: str, off: bool) -> Wish | None:
    """Tell how many are selected and still live, offer the actions by count, and return what was pressed."""
    if not selected:
        presses.forget(f"{key}.bulk.")
        return None
    wish = None
    n, left = len(living), len(selected) - len(living)
    with st.container(horizontal=True, vertical_alignment="center", key="bulk"):
        gone = f", {left:,} left the queue" if left else ""
        st.html(f"<b>{len(selected):,} selected</b>{gone}", width="content")
        for action in actions:
            label = f"{action} {n:,} {'task' if n == 1 else 'tasks'}"
            if presses.button(label, key=f"{key}.bulk.{action}", disabled=off or not n, width="content"):
                wish = Wish(action, tuple(living))
        grid.clear_button(key)
    return wish
