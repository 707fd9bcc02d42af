"""What surrounds every page: the waiting room before the console is live, and the engine behind the pages."""

import streamlit as st

from engine.console import Stage, current
from engine.runtime import Engine


def engine() -> Engine:
    """Return the running engine; a page only runs while there is one."""
    console = current()
    if console is None or console.engine is None:
        st.rerun()
    return console.engine


@st.fragment(run_every=1)
def waiting_room(_: Stage | None) -> None:
    """Say how far the first start is, and go on by itself when the console is live."""
    console = current()
    stage = console.stage if console else Stage("starting")
    if console is not None and console.engine is not None:
        st.rerun(scope="app")
    st.title("Drainboard")
    if stage.name == "failed":
        st.error(stage.text, icon="✕")
        st.caption("Nothing was lost. The log of the server says more; mend what it names and start again.")
    else:
        st.progress(min(max(stage.fraction, 0.0), 1.0), text=stage.text or "Starting")
        if stage.name == "seeding":
            st.caption("First start: the demo fleet works through its history, then it goes live.")
