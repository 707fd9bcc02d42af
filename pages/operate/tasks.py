"""Tasks: every task of a site or a business, live or ended, by tab: found, opened, acted on, alone or by thousands."""

from typing import Any

import polars as pl
import streamlit as st

from engine.catalogue import Asked, Page
from engine.filters import Filter
from engine.lifecycle import Tab
from engine.roles import Right
from engine.sight import Sight
from pages.shared import (
    acting,
    asking,
    card,
    chips,
    edittask,
    finding,
    frame,
    grid,
    helps,
    holds,
    newtask,
    notice,
    savedviews,
    tasklist,
    times,
)
from pages.shared.acting import Act
from pages.shared.card import Opened
from pages.shared.recurring import Recurring
from pages.shared.tasklist import Query

engine = frame.engine()
business, site = frame.site()


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: tabs, filter, the open task, and a page of the tab."""
    frame.watch(business, site)
    sight = frame.sight()
    now, well = frame.known_at(engine), sight.pulse.well
    query = Query.of(st.query_params)
    place = sight.place(business, None if query.everywhere else site)
    frame.head("Tasks", f"{business}, all sites" if query.everywhere else site, engine)
    wanted = finding.read(query.text)
    asked = Asked(wanted, query.system, query.hidden)
    counts, made = sight.counts(place, asked), sight.timetable(business, site)
    shown = {**counts.tabs, Tab.RECURRING: len(made.planned)}
    changes = dict(savedviews.follow(sight))
    new = False
    pressed = chips.chips(shown, query.tab, key="tabs", label="Tabs", tabs=True)
    if pressed and pressed != query.tab:
        changes |= {"tab": pressed.lower(), "sort": None, **tasklist.RESET}
    if query.tab is not Tab.RECURRING:
        with st.container(horizontal=True, vertical_alignment="top", key="finder"):
            with st.container():
                changes |= finding.search(sight, place, query.text, tasklist.RESET)
            st.html(helps.mark("tasks.filter", "the filter language"), width="content")
            changes |= tasklist.switches(sight, business, query, counts)
            changes |= savedviews.menu(sight, business, query)
            finding.sql(wanted, now, place)
            new = newtask.offer(business, site, off=not well)
    if changes:
        notice.tell()
    frame.turn_to(changes)
    if new:
        asking.later(lambda: newtask.ask(business, site))
    if query.tab is Tab.RECURRING:
        zone = sight.snapshot.zones.get((business, site), "UTC")
        may = frame.allowed(Right.SCHEDULE, business, site)
        Recurring(business, site, may).section(sight, made, now, zone, not well)
        return
    key = grid_of(query)
    frame.hold(grid.follow(key, st.query_params))
    selected, task_id = grid.state(key)
    opened, wish = None, None
    if task_id:
        opened = card.find_anywhere(sight, task_id, now)
        labels = offered(opened.task) if opened else ()
        wish = card.top(opened, now, engine.settings.int("attempts"), key=key, actions=labels, stale=not well)
    page = sight.page(place, asked, query.tab, sort=query.sort, descending=query.down, after=query.after,
                      before=query.before, size=tasklist.ROWS)  # fmt: skip
    total = counts.tabs[query.tab]
    act = None
    able = may_act(None if query.everywhere else site)
    if able:
        act = acting.bar(selected, total, acting.ACTS[query.tab], key=key, view=query.view, off=not well)
    else:
        st.html("<div class='d-readonly'>You read this page; acting on tasks needs the role of a site admin.</div>")
    table(sight, query, wanted, page, now, well, able)
    tasklist.pager(page, total)
    if wish is not None and opened is not None:
        carry_out(wish.action, opened, sight, key)
    elif act is not None:
        verb, ids = act
        ask(verb, sight, sight.matching(place, asked, [query.tab]) if ids is None else sight.those(place, ids), key)


def grid_of(query: Query) -> str:
    """Name the grid of what is looked at: what is selected in one tab or at one site is not in another."""
    return repr(("tasks", business, None if query.everywhere else site, query.tab.value))


def offered(task: dict[str, Any]) -> list[str]:
    """Name what a card offers to do with its task, to who may."""
    if not frame.allowed(Right.OPERATE, task["business"], task["site"]):
        return []
    own = [(edittask.EDIT, edittask.can(task)), (newtask.COPY, newtask.can_copy(task))]
    return [*(act.label for act in acting.of_task(task)), *(label for label, can in own if can)]


def carry_out(action: str, opened: Opened, sight: Sight, key: str) -> None:
    """Open the dialog of what was pressed on a card."""
    task = opened.task
    if action == edittask.EDIT:
        asking.later(lambda: edittask.ask(task, key))
    if action == newtask.COPY:
        asking.later(lambda: newtask.ask(task["business"], task["site"], newtask.likeness(task, opened.settings)))
    act = next(one for one in acting.of_task(task) if one.label == action)
    ask(act, sight, sight.those(sight.place(task["business"], task["site"]), [task["task_id"]]), key)


def ask(act: Act, sight: Sight, tasks: pl.DataFrame, key: str) -> None:
    """Freeze what an action would touch, and open its dialog."""
    found = sight.preview(act.verb, tasks)
    asking.later(lambda: acting.ask(act, found, key))


def may_act(at: str | None) -> bool:
    """Tell whether whoever looks may change tasks at a site, or (None) at some of the business."""
    sites = [at] if at is not None else [s for b, s in frame.sight().places() if b == business]
    return any(frame.allowed(Right.OPERATE, business, s) for s in sites)


def table(sight: Sight, query: Query, wanted: Filter, page: Page, now: int, well: bool, able: bool) -> None:
    """Draw a page of the tab; only who is able to act on tasks picks some."""
    rows, there = page.rows.to_dicts(), times.zone()
    if not rows:
        other = "No task matches here. Look at the other tabs, or change the filter."
        st.html(f"<div class='d-evidence'>{other if wanted.text else tasklist.NOTHING[query.tab]}</div>")
    today = times.day(now, there)
    sites = {row["site"] for row in rows}
    held_by = {h.hold_id: holds.under(h) for name in sites for h in sight.holds(business, name)}
    told = [tasklist.row(task, now, held_by, today, there) for task in rows]
    sort = {"id": tasklist.sorted_column(query), "desc": query.down}
    answer = grid.grid(
        told, tasklist.columns(query, rows, today, there), key=grid_of(query), label="Tasks", sort=sort,
        view=query.view, stale=not well, lifts=True, picks=able,
    )  # fmt: skip
    if answer.sort:
        by = tasklist.sorted_by(answer.sort["id"], query.tab)
        frame.turn_to({"sort": "-" * answer.sort["desc"] + by, **tasklist.RESET})


notice.tell()
live()
