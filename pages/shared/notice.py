"""What came of a request whose dialog has closed: kept for the next run, and said once."""

import streamlit as st

from .plain import plain

_KEPT = "notice"


def keep(said: str) -> None:
    """Have it said when the page runs again."""
    st.session_state[_KEPT] = said


def tell() -> None:
    """Say what was kept, if anything."""
    if said := st.session_state.get(_KEPT):
        st.toast(plain(said), duration="long")  # it may tell of what was left out, and why
        st.session_state.pop(_KEPT)  # only now: a run may be broken off before it has said it
