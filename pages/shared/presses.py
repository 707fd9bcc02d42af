"""What was pressed in a component, heard until it was acted upon, and then no more.

A component could send it as a trigger, which lasts for one run. But where two things happen before a run begins, the
server makes one run of both, and may drop a trigger in it; and a run may be broken off by the next one before it has
acted. So a press is sent as state, numbered, and stays; who has acted on all that a run has heard says so by `settle`.
"""

from typing import Any

import streamlit as st

_HEARD, _SETTLED = "presses heard", "presses settled"


def heard(told: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
    """Return what a component told last, unless it was settled; it has its number under "n"."""
    if not told or told["n"] == st.session_state.get(_SETTLED, {}).get(key):
        return None
    st.session_state.setdefault(_HEARD, {})[key] = told["n"]
    return told


def settle() -> None:
    """Take all that was heard as acted upon."""
    st.session_state.setdefault(_SETTLED, {}).update(st.session_state.pop(_HEARD, {}))
