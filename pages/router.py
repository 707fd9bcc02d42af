"""The script that every session runs: no console yet → say how far it is; else the menu and the page.

Nothing else lies directly in `pages/`: the server would run such files as pages of their own, without this frame.
"""

import streamlit as st

from engine.console import current
from pages.shared import frame, look

st.set_page_config(page_title="Drainboard", page_icon="≡", layout="wide")
look.apply()
console = current()
if console is None or console.engine is None:
    frame.waiting_room(console.stage if console else None)
else:
    sections = {"Operate": [st.Page("operate/active.py", title="Active tasks", default=True)]}
    page = st.navigation(sections, position="hidden")
    frame.actor()
    frame.menu(sections)
    page.run()
