"""Dialogs: opened outside of whatever part of a page asks for one, and open until somebody closes them.

A dialog that a refreshing part opens itself is a part of that part. Where something is pressed in it at the moment at
which the refresh is due, the server runs the two as one and drops what was pressed. So the router opens it, beside the
page, and opens it anew whenever the page as a whole runs, for whatever reason, with what was given in it kept: it is
the same opening until it is left by `close` or by the browser's own ways, or its page is; or until what it is about is
not there, or not to be seen by whoever looks, any more: then the page says so.
"""

from collections.abc import Callable
from functools import wraps
from typing import Literal, NoReturn, ParamSpec

import streamlit as st

from engine.errors import NotAllowed, NotFound

from . import presses

P = ParamSpec("P")

_ASKED, _OPEN, _PAGE = "asked", "open dialog", "page of the dialog"


def later(open_dialog: Callable[[], None]) -> NoReturn:
    """Run the page anew, which then opens the dialog; call it in a refresh."""
    st.session_state[_ASKED], st.session_state[_PAGE] = open_dialog, st.session_state.get("page")
    presses.settle()
    st.rerun()


def dialog(
    title: str, *, width: Literal["small", "large"] | int = "small"
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make of what draws a dialog's inside what opens the dialog, for the router to call."""

    def opens(inside: Callable[P, None]) -> Callable[P, None]:
        @wraps(inside)
        def shown(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                inside(*args, **kwargs)
            except (NotAllowed, NotFound):
                close()

        @wraps(inside)
        def open_dialog(*args: P.args, **kwargs: P.kwargs) -> None:
            def draw() -> None:
                st.dialog(title, width=width, on_dismiss=_dismissed)(shown)(*args, **kwargs)

            st.session_state[_OPEN] = draw
            draw()

        return open_dialog

    return opens


def now() -> None:
    """Open what was asked for, or keep open what is; the router calls it, once per run, before it draws the page."""
    state = st.session_state
    asked = state.pop(_ASKED, None)
    if state.get(_PAGE) != state.get("page"):
        state.pop(_OPEN, None)
    elif asked is not None:
        asked()
    elif drawn := state.get(_OPEN):
        drawn()


def reason(request: str) -> str | None:
    """Ask in a dialog why, for the audit trail; None where nothing is said."""
    placeholder = "for the audit trail"
    return st.text_input("Reason", max_chars=200, placeholder=placeholder, key=f"{request}.reason").strip() or None


def agreed(label: str, request: str, *, disabled: bool = False) -> bool:
    """Draw a dialog's last line: leave it, or have it do what it is for; tell whether that was pressed."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        _way_out(request)
        return presses.button(label, key=f"{request}.go", type="primary", width="content", disabled=disabled)


def only_way_out(request: str) -> None:
    """Draw the last line of a dialog in which there is nothing to do."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        _way_out(request)


def _way_out(request: str) -> None:
    if presses.button("Dismiss", key=f"{request}.keep", width="content"):
        close()


def close() -> NoReturn:
    """Leave the dialog, and run the page anew without it; call it in the dialog."""
    _dismissed()
    st.rerun()


def _dismissed() -> None:
    st.session_state.pop(_OPEN, None)
