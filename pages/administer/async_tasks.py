"""Async tasks: whose tasks a business has under way; users and task types paused, resumed, capped; blackout windows.

Its other part, Fairness, is open to everybody: of the places that he may see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from engine import bulk, pausing
from engine.bulk import Verb
from engine.catalogue import LIVE_TABS, TABS, TOGETHER, Asked, Key, Page
from engine.lifecycle import KIND, KIND_LABEL, STATUS, task_label
from engine.roles import Right
from engine.sight import Sight
from pages.shared import (
    acting,
    asking,
    blackoutlist,
    capdialog,
    chips,
    edittask,
    fair,
    finding,
    frame,
    grid,
    holdlist,
    holds,
    notice,
    pausedialog,
    presses,
    resumedialog,
    tasklist,
    throttlelist,
    times,
)

engine = frame.engine()
PARTS = TASKS, FAIRNESS = "Tasks", "Fairness"
SEARCH, BUSINESS = "async.q", "async.business"
RESET: finding.Changes = {"after": None, "before": None}

COLUMNS: list[grid.Row] = [
    {"id": "user", "label": "User", "type": "text", "width": "1fr", "sort": "asc", "card": "lead"},
    {"id": "type", "label": "Task Type", "type": "text", "width": ".9fr", "sort": "asc"},
    {"id": "task", "label": "Task", "type": "links", "width": "1fr", "card": "end"},
    {"id": "created", "label": "Created At", "type": "two", "width": "1.3fr", "sort": "desc"},
    {"id": "status", "label": "Status", "type": "status", "width": "3.2fr", "card": "line"},
    {"id": "do", "label": "Actions", "type": "act", "width": "126px"},
]
SORTED_BY = dict(zip(("created", "user", "type"), TOGETHER, strict=True))


@dataclass(frozen=True, slots=True)
class Query:
    """What a viewer asked for; the page's address keeps it."""

    text: str
    finished: bool
    sort: str
    down: bool
    after: Key | None
    before: Key | None

    @classmethod
    def of(cls, address: Mapping[str, str]) -> Query:
        """Read it off an address; what is not known there counts as not said."""
        sort = address.get("sort", "")
        column, down = sort.removeprefix("-"), sort.startswith("-")
        if column not in TOGETHER:
            column, down = "created_at", True
        after, before = Key.of(address.get("after", "")), Key.of(address.get("before", ""))
        return cls(address.get("q", "")[:100], "finished" in address, column, down, after, before)


def chosen(own: Sequence[str]) -> str:
    """Tell which business is looked at: that of the address, else the one of the chosen site."""
    here, _ = frame.site()
    asked = st.query_params.get("business", here)
    return asked if asked in own else own[0]


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: search and actions, the holds, a page of the tasks."""
    sight = frame.sight()
    seen = list(dict.fromkeys(business for business, _ in sight.places()))
    own = [business for business in seen if frame.allowed(Right.HOLD, business, None)]
    if st.query_params.get("part") == FAIRNESS.lower() or not own:
        fairness(sight, seen, bool(own))
        return
    business = chosen(own)
    frame.watch(business, None)
    now, well = frame.known_at(engine), sight.pulse.well
    query = Query.of(st.query_params)
    frame.head("Async tasks", f"background work that users of {business} started", engine)
    parts(TASKS)
    pauses = sight.pauses(business)
    asked = Asked(pausing.searched(query.text, times.zone().key), system=True)
    place = sight.place(business)
    counts, tabs = sight.counts(place, asked).tabs, TABS if query.finished else LIVE_TABS
    frame.turn_to(tools(sight, business, own, query, sum(counts[at] for at in LIVE_TABS), well))
    holdlist.section(business, pauses.kept(), now, well)
    throttlelist.ramps(business, pauses.ramps, now, well)
    throttlelist.caps(business, pauses.caps(), well)
    blackoutlist.section(business, pauses.windows(), live_sites(sight, business), now, well)
    page = sight.together(place, asked, tabs, sort=query.sort, descending=query.down, after=query.after,
                          before=query.before, size=tasklist.ROWS)  # fmt: skip
    total = sum(counts[at] for at in tabs)
    st.html(f"<div class='d-h2'><b>Tasks</b><span>{total:,}</span></div>")
    if not page.rows.height:
        said = "No task of such a user or type." if query.text else "There are no tasks to show"
        st.html(f"<div class='d-nothing'>{said}</div>")
        return
    table(sight, business, query, page, now, well)
    tasklist.pager(page, total, "What runs can't be deleted: stop it first.")


def live_sites(sight: Sight, business: str) -> list[str]:
    """Name the sites of a business where something can run, and so be held."""
    able = {service.site for service in sight.snapshot.services if service.business == business}
    return [site for of, site in sight.places() if of == business and site in able]


def fairness(sight: Sight, seen: Sequence[str], more: bool) -> None:
    """Draw who uses the services and who waits; there may be more of the page."""
    frame.site()  # says what to do where there is none
    business = chosen(seen)
    frame.hold_on()
    frame.head("Async tasks", f"who uses the services of {business}, and who waits behind whom", engine)
    if more:
        parts(FAIRNESS)
    else:
        st.html("<div class='d-readonly'>You read this page; pausing users and task types needs the role of a business "
                "admin.</div>")  # fmt: skip
    fair.section(sight, business, sight.pulse.well, partial(choose_business, business, seen) if len(seen) > 1 else None)


def parts(shown: str) -> None:
    """Let people turn to the other part of the page."""
    pressed = chips.chips(dict.fromkeys(PARTS), shown, key="async.part", label="Parts of the page", tabs=True)
    if pressed and pressed != shown:
        frame.turn_to({"part": FAIRNESS.lower() if pressed == FAIRNESS else None, "sort": None, **RESET})


def choose_business(business: str, among: Sequence[str]) -> None:
    """Let people choose a business."""
    st.session_state[BUSINESS] = business
    st.selectbox(
        "Business", among, key=BUSINESS, label_visibility="collapsed", width=160,
        on_change=lambda: frame.address({"business": st.session_state[BUSINESS], "place": None, **RESET}),
    )  # fmt: skip


def tools(
    sight: Sight, business: str, own: Sequence[str], query: Query, unfinished: int, well: bool
) -> dict[str, str | None]:
    """Let people choose a business, search, see finished tasks too, pause and resume; return what the address is to
    change."""
    paused, changes = sight.numbers(business, None).paused, dict[str, str | None]()
    with st.container(horizontal=True, vertical_alignment="center", key="async"):
        choose_business(business, own)
        st.session_state.setdefault(SEARCH, query.text)
        st.text_input(
            "Search", key=SEARCH, placeholder="User or task type", label_visibility="collapsed", max_chars=100,
            type="search", live=True, width=140,
            on_change=lambda: frame.address({"q": st.session_state[SEARCH] or None, **RESET}),
        )  # fmt: skip
        switch = ("finished", "Finished tasks too", query.finished)
        if chips.chips({}, "", key="finished", label="Shown besides", switches=[switch]):
            changes = {"finished": None if query.finished else "shown", **RESET}
        found = f"<b>{unfinished:,}</b> unfinished" + (" found" if query.text else "")
        st.html(f"<div class='d-evidence'>{found}, <b>{paused:,}</b> paused</div>")
        off = not well
        if presses.button("Pause User", key="async.user", disabled=off, width="content"):
            asking.later(partial(pausedialog.ask, business, "user"))
        if presses.button("Pause Task Type", key="async.kind", disabled=off, width="content"):
            asking.later(partial(pausedialog.ask, business, "kind"))
        if presses.button("Cap User", key="async.cap", disabled=off, width="content"):
            asking.later(partial(capdialog.ask, business))
        if presses.button("Resume All", key="async.resume", type="primary", disabled=off, width="content"):
            asking.later(partial(resumedialog.ask, business))
    return changes


def table(sight: Sight, business: str, query: Query, page: Page, now: int, well: bool) -> None:
    """Draw a page of the tasks, with what can be done to each."""
    rows, there = page.rows.to_dicts(), times.zone()
    today = times.day(now, there)
    held_by = {hold.hold_id: holds.told(hold, now) for hold in sight.pauses(business).holds}
    told = [row(task, now, held_by, lambda at: times.moment_of(at, today, there), well) for task in rows]
    shown = next(column for column, by in SORTED_BY.items() if by == query.sort)
    answer = grid.grid(told, COLUMNS, key=f"async {business}", label="Async tasks", picks=False, stale=not well,
                       sort={"id": shown, "desc": query.down}, view=repr(query))  # fmt: skip
    if answer.sort:
        frame.turn_to({"sort": "-" * answer.sort["desc"] + SORTED_BY[answer.sort["id"]], **RESET})
    if answer.action:
        task = next((task for task in rows if str(task["task_id"]) == answer.action["id"]), None)
        if task is not None:
            carry_out(answer.action["act"], task, sight, f"async {business}")
        presses.settle()  # it is gone


def row(
    task: dict[str, Any], now: int, held_by: Mapping[int, str], moment: Callable[[int], str], well: bool
) -> grid.Row:
    """Word a task as a row; what can't be done to it says why."""
    label, live = task_label(task["kind"], task["number"]), task["finished_at"] is None
    return {
        "id": str(task["task_id"]),
        "label": label,
        "user": task["owner"],
        "type": KIND_LABEL[KIND[task["kind"]]],
        "task": {"links": [{"t": label, "h": f"/task?id={task['task_id']}"}]},
        "created": {"t": moment(task["created_at"]), "s": times.age(now - task["created_at"]) if live else ""},
        "status": tasklist.status(task, now, held_by),
        "do": [
            {"act": verb.value, "t": verb.capitalize(), "off": why_not(verb, task) if well else "No answer yet"}
            for verb in (Verb.EDIT, Verb.DELETE)
        ],
    }


def why_not(verb: Verb, task: Mapping[str, Any]) -> str:
    """Say why a task can't be acted on; empty where it can."""
    return bulk.refusal(verb, STATUS[task["status"]], KIND[task["kind"]], bool(task["hidden"])) or ""


def carry_out(verb: str, task: dict[str, Any], sight: Sight, key: str) -> None:
    """Open the dialog of what was pressed in a row."""
    if verb == Verb.EDIT:
        asking.later(partial(edittask.ask, task, key))
    found = sight.preview(Verb.DELETE, sight.those(sight.place(task["business"]), [task["task_id"]]))
    asking.later(partial(acting.ask, acting.DELETE, found, key))


notice.tell()
live()
