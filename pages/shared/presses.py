"""What was pressed, heard until it was acted upon, and then no more.

Where two things happen before a run begins, the server makes one run of both; where the one begins anew, what was
pressed is no part of the second beginning, and a run may be broken off by the next one before it has acted. So a press
in a component is sent as state instead of as a trigger, numbered, and stays; who has acted on all that a run has heard
says so by `settle`. A press of a button is noted as it arrives, and kept until the button is drawn.
"""

from typing import Any

import streamlit as st

from engine.clock import stopwatch

KEPT_FOR = 20.0  #: seconds; what was pressed longer ago is not expected any more
_HEARD, _SETTLED, _PRESSED = "presses heard", "presses settled", "presses of buttons"


def button(label: str, *, key: str, **drawn: Any) -> bool:
    """Draw a button as `st.button` does; tell once of each press, in whichever run draws it next."""
    st.button(label, key=key, on_click=_press, args=(key,), **drawn)
    pressed = st.session_state.get(_PRESSED, {}).pop(key, None)
    return pressed is not None and pressed() < KEPT_FOR and not drawn.get("disabled", False)


def _press(key: str) -> None:
    st.session_state.setdefault(_PRESSED, {})[key] = stopwatch()


def forget(begins: str = "") -> None:
    """Forget the presses of buttons, or of those whose keys begin so: what they were of is not there any more."""
    pressed = st.session_state.get(_PRESSED, {})
    for key in [key for key in pressed if key.startswith(begins)]:
        del pressed[key]


def heard(told: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
    """Return what a component told last, unless it was settled; it has its number under "n"."""
    if not told or told["n"] == st.session_state.get(_SETTLED, {}).get(key):
        return None
    st.session_state.setdefault(_HEARD, {})[key] = told["n"]
    return told


def settle() -> None:
    """Take all that was heard as acted upon."""
    st.session_state.setdefault(_SETTLED, {}).update(st.session_state.pop(_HEARD, {}))
