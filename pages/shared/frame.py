"""What surrounds every page: the waiting room before the console is live, the engine, and who is looking."""

import streamlit as st

from engine.access import Actor
from engine.console import Stage, current
from engine.runtime import Engine
from engine.web import COOKIE, SIGN_IN, SIGN_OUT


def engine() -> Engine:
    """Return the running engine; a page only runs while there is one."""
    console = current()
    if console is None or console.engine is None:
        st.rerun()
    return console.engine


def actor() -> Actor:
    """Tell who is looking, asked anew at every run and refresh; whoever is signed out meanwhile sees nothing more."""
    console = current()
    found = console.access.who(st.context.cookies.get(COOKIE)) if console and console.access else None
    if found is None:
        st.title("Signed out")
        st.html(f'<a href="{SIGN_IN}" target="_self">Sign in</a>')
        st.stop()
    return found


def account(who: Actor) -> None:
    """Show who is signed in, and the way out."""
    with st.sidebar:
        st.caption(who.name)
        st.html(f'<form method="post" action="{SIGN_OUT}"><button type="submit">Sign out</button></form>')


@st.fragment(run_every=1)
def waiting_room(_: Stage | None) -> None:
    """Say how far the first start is, and go on by itself when the console is live."""
    console = current()
    stage = console.stage if console else Stage("starting")
    if console is not None and console.engine is not None:
        st.rerun(scope="app")
    st.title("Drainboard")
    if stage.name == "failed":
        st.error(stage.text)
        st.caption("Nothing was lost. The log of the server says more; mend what it names and start again.")
    else:
        st.progress(min(max(stage.fraction, 0.0), 1.0), text=stage.text or "Starting")
        if stage.name == "seeding":
            st.caption("First start: the demo fleet works through its history, then it goes live.")
