"""Saved views: a tab, a filter and a sort under a name, for oneself or shared with the business, reachable by link."""

from __future__ import annotations

from html import escape
from uuid import uuid4

import streamlit as st

from engine.errors import NotFound
from engine.lifecycle import Tab
from engine.messages import DropView, KeepView
from engine.sight import Sight
from engine.standing import View

from . import frame, notice, presses, tasklist
from .copylink import copy_link
from .finding import Changes
from .plain import plain
from .tasklist import Query

_OPENED = "view opened"


def follow(sight: Sight) -> Changes:
    """Where the address names a view, ask for what that asks for; say so where there is none to be seen."""
    view_id = st.query_params.get("view")
    if view_id == st.session_state.get(_OPENED):
        return {}
    st.session_state[_OPENED] = view_id
    if view_id is None:
        return {}
    try:
        return _asked(sight.view(view_id))
    except NotFound as error:
        notice.keep(str(error))
        return {"view": None}


def _asked(view: View) -> dict[str, str | None]:
    asked = {"view": view.view_id, "tab": view.tab or None, "q": view.filter or None, "sort": view.sort or None}
    return tasklist.RESET | asked


def menu(sight: Sight, business: str, query: Query) -> Changes:
    """List the views that may be seen, and offer to keep what is shown as one."""
    changes: dict[str, str | None] = {}
    with st.popover("Views", key="views"):
        kept = sight.views(business)
        if not kept:
            st.html("<div class='d-evidence'>No view is kept yet. Keep tab, filter and sort under a name.</div>")
        for view in kept:
            with st.container(horizontal=True, vertical_alignment="center", key=f"view-{view.view_id}"):
                if presses.button(plain(view.name), key=f"view.{view.view_id}", type="tertiary", width="content"):
                    st.session_state[_OPENED] = view.view_id
                    changes = _asked(view)
                st.html(f"<div class='d-evidence'>{escape(_about(view))}</div>")
                copy_link({"view": view.view_id}, key=f"link.{view.view_id}")
                if view.changeable and presses.button("Drop", key=f"drop.{view.view_id}", width="content"):
                    outcome = frame.do(DropView(view.view_id), f"drop-view-{uuid4()}")
                    notice.keep(outcome.refused or f"“{view.name}” is dropped")
                    changes = changes or {"q": query.text or None}
        name = st.text_input("Keep what is shown as", max_chars=100, key="view-name", placeholder="a name")
        shared = st.checkbox(f"Share with everybody at {business}", key="view-shared")
        if presses.button("Keep view", key="view-keep", disabled=not name.strip(), width="content"):
            sort = "-" * query.down + query.sort if query.sort else ""
            action = KeepView(name.strip(), query.tab.lower(), query.text, sort, business if shared else None)
            outcome = frame.do(action, f"keep-view-{uuid4()}")
            notice.keep(outcome.refused or f"“{name.strip()}” is kept; its link is in Views")
            changes = changes or {"q": query.text or None}
    return changes


def _about(view: View) -> str:
    tab = Tab(view.tab.capitalize()) if view.tab.capitalize() in tasklist.TABS else Tab.ACTIVE
    whose = f"shared by {view.owner}" if view.business is not None else "yours alone"
    return ", ".join(part for part in (tab, view.filter, whose) if part)
