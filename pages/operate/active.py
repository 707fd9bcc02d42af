"""Active tasks: what is queued or running at a site right now, newest first, and whether the queue backs up."""

import streamlit as st

from engine.lifecycle import PAUSED
from engine.snapshot import Numbers
from pages.shared import bulk, cancel, card, findings, frame, grid, holds, kpi, queue, times
from pages.shared.bulk import Wish
from pages.shared.chips import chips
from pages.shared.queue import Found, Query
from pages.shared.verdict import verdict

engine = frame.engine()
business, site = frame.site()
ACTIONS = ("Cancel",) if frame.operates(business, site) else ()
GRID = f"active {business} {site}"  #: what is chosen at one site is not chosen at another
asked = st.query_params


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: the verdict, the figures, the grid, the chosen task."""
    frame.watch(business, site)
    snapshot, well = engine.snapshot, engine.pulse.well
    now = engine.now if well else engine.now - frame.silence(engine)
    here = snapshot.numbers.get((business, site), Numbers())
    frame.head("Active tasks", f"{here.queued + here.running + here.paused:,} in flight at {site}", engine)
    if holds.strip(snapshot, business, site, here.paused):
        frame.address({"status": PAUSED, "page": None})
    judge(well, now)
    numbers(here, snapshot.slots(business, site), well)
    found = search(well)
    wish = tasks(found, now, well)
    if wish:
        carry_out(wish)


def judge(well: bool, now: int) -> None:
    """Say how the queue is, and take people to what it is about."""
    if not well:
        said = f"No news for {times.age(frame.silence(engine))}: this is how it was at {times.clock(now)}"
        why = engine.pulse.trouble or "The engine does not answer."
        verdict("stale", said, f"{why} Running tasks go on by themselves; actions are off until it answers.")
        return
    found = st.session_state["findings"] = findings.findings(engine, business, site, times.zone().key)
    pressed = verdict(found.level, found.headline, found.evidence, found.offers)
    if pressed:
        frame.address(found.offers[pressed])


def numbers(here: Numbers, slots: int, well: bool) -> None:
    """Show how much waits and runs beside what is usual."""
    found = st.session_state.get("findings")
    kpi.strip(findings.kpis(found, here.queued, here.running, slots), key="kpis", stale=not well)


def search(well: bool) -> Found:
    """Let people narrow the queue down; the address keeps what they asked for."""
    with st.container(horizontal=True, vertical_alignment="center", key="filter"):
        text = st.text_input("Search", key="q", bind="query-params", label_visibility="collapsed",
                             placeholder="Search device, task, scope, initiator, status …")  # fmt: skip
        query = Query.of(asked, text or "")
        found = queue.find(engine.snapshot, business, site, query)
        pressed = chips(found.counts, query.chip, key="chips", label="Status", on=query.system,
                        switch=f"{found.system:,} system tasks" if found.system or query.system else "")  # fmt: skip
    if pressed:
        frame.address(query.press(pressed))
        st.rerun(scope="fragment")
    return found


def tasks(found: Found, now: int, well: bool) -> Wish | None:
    """List a page of them and the open one beside; return what people want done."""
    grid.follow(GRID, asked)
    selected, opened = grid.state(GRID)
    if found.live.is_empty() and not selected:
        queue.nothing(site)
        return None
    with st.container(horizontal=True, wrap=False, key="split"):
        left, right = st.container(), st.container(width=280) if opened else None
    wish = bulk.bar(selected, found.living(selected), ACTIONS, key=GRID, off=not well)
    page = queue.pager(found)
    with left:
        answer = queue.table(found, page, now, key=GRID, narrow=bool(opened), stale=not well)
    if answer.sort:
        frame.address({"sort": "-" * answer.sort["desc"] + answer.sort["id"]})
        st.rerun(scope="fragment")
    if right:
        with right:
            wish = card.card(found.task(opened), now, key=GRID, actions=ACTIONS, stale=not well) or wish
    return wish


def carry_out(wish: Wish) -> None:
    """Ask once more, and send what people want to the engine."""
    cancel.ask(wish.ids, GRID)


cancel.tell()
if not ACTIONS:
    st.caption("You see this site; cancelling needs the role of a site admin.")
live()
