"""What was pressed in a component, heard exactly once.

A component could send it as a trigger, which lasts for one run. But where two things happen before a run begins, the
server makes one run of both, and may drop a trigger in it. So it is sent as state, numbered, and stays until the next;
what was heard is remembered here.
"""

from typing import Any

import streamlit as st


def heard(told: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
    """Return what a component told last, unless that was heard before; it has its number under "n"."""
    last = f"{key}.heard"
    if not told or told["n"] == st.session_state.get(last):
        return None
    st.session_state[last] = told["n"]
    return told
