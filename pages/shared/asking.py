"""Dialogs that a page's refresh asks for, opened by the router, outside of it.

A dialog that a refreshing part opens itself is a part of that part. Where something is pressed in it at the moment at
which the refresh is due, the server runs the two as one and drops what was pressed. Opened outside, it is a part of its
own, and every press counts.
"""

from collections.abc import Callable

import streamlit as st

from . import presses

_ASKED = "asked"


def later(open_dialog: Callable[[], None]) -> None:
    """Run the page anew, which then opens the dialog; call it in a refresh."""
    st.session_state[_ASKED] = open_dialog
    presses.settle()
    st.rerun()


def now() -> None:
    """Open what was asked for, if anything was; the router calls it, once per run."""
    if open_dialog := st.session_state.pop(_ASKED, None):
        open_dialog()
