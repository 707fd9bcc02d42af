"""The script that every session runs: no console yet → say how far it is; else the menu and the page.

Nothing else lies directly in `pages/`: the server would run such files as pages of their own, without this frame.
"""

import streamlit as st

from engine.console import current
from engine.roles import Right
from pages.shared import asking, frame, heard, look, tasklink
from pages.shared.frame import Entry

MENU = {
    "Operate": [
        Entry("Active tasks", "operate/active.py", tells=frame.in_flight, help="active"),
        Entry("Tasks", "operate/tasks.py", "tasks", help="tasks"),
        Entry("Task", "operate/task.py", "task", help="tasks", listed=False),
        Entry("Schedules", "operate/schedules.py", "schedules", help="schedules"),
        Entry("Services", "operate/services.py", "services", tells=frame.offline, help="services"),
        Entry("Logs", "operate/logs.py", "logs", help="logs"),
        Entry("Reports", "operate/reports.py", "reports", help="reports"),
    ],
    "Administer": [
        Entry("Async tasks", "administer/async_tasks.py", "async-tasks", rights=(Right.HOLD, Right.SEE),
              tells=frame.held, help="holds"),
        Entry("Activity", "administer/activity.py", "activity", rights=(Right.AUDIT,), help="activity"),
        Entry("Users", "administer/users.py", "users", rights=(Right.USERS,), help="users"),
        Entry("Settings and drills", "administer/settings.py", "settings", rights=(Right.SETTINGS, Right.DRILL),
              help="settings"),
    ],
    "": [Entry("Help", "help/help.py", "help")],
}

st.set_page_config(page_title="Drainboard", page_icon="≡", layout="wide")
look.apply()
heard.watch()
console = current()
if console is None or console.engine is None:
    frame.waiting_room(console.stage if console else None)
else:
    page, listed = frame.navigation(MENU)
    frame.actor()
    tasklink.follow(page, listed)
    frame.menu(listed, page)
    asking.now()
    page.run()
