"""Task: what a link to one task shows where there is none to be seen; else the router has turned to Tasks by now."""

import streamlit as st

from pages.shared import tasklink

st.html("<h1 class='d-title'>Task</h1>")
st.html(
    f"<div class='d-finding'>{tasklink.NONE}</div>"
    "<div class='d-evidence'>Look whether the link was copied whole; its id is all digits. If it was, ask whoever sent "
    "it at which site the task is, and an admin for a role there.</div>"
    f"<a class='d-link' href='{tasklink.TASKS}' target='_self'>Open Tasks</a>"
)
