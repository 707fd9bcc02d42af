"""Active tasks: what is queued or running at a site right now, newest first, and whether the queue backs up."""

import streamlit as st

from engine.lifecycle import PAUSED
from engine.roles import Right
from engine.sight import Sight
from engine.watch import Judged
from pages.shared import (
    asking,
    bulk,
    cancel,
    card,
    figures,
    frame,
    grid,
    holds,
    kpi,
    notice,
    queue,
    quiet,
    remedies,
    times,
)
from pages.shared.bulk import Wish
from pages.shared.verdict import verdict

engine = frame.engine()
business, site = frame.site()
ACTIONS = ("Cancel",) if frame.allowed(Right.OPERATE, business, site) else ()
GRID = repr(("active", business, site))  #: what is chosen at one site is not chosen at another


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: the verdict, the figures, the grid, the chosen task."""
    frame.watch(business, site)
    sight = frame.sight()
    well = sight.pulse.well
    now = frame.known_at(engine)
    judged = sight.judged(business, site, times.zone().key)
    in_flight, strip = (0, figures.unknown()) if judged.archive else figures.figures(sight, business, site, now)
    frame.head("Active tasks", f"{in_flight:,} in flight at {site}", engine)
    if not ACTIONS:
        st.html("<div class='d-readonly'>You read this page; cancelling needs the role of a site admin.</div>")
    if holds.strip(sight.holds(business, site), sight.numbers(business, site).paused):
        frame.address({"status": PAUSED, "system": "shown", "page": None})  # all that the strip has counted
    judge(judged, strip, well, now)
    kpi.strip(strip, key="kpis", stale=not well, topic="active.figures")
    tasks(sight, now, well)


def judge(judged: Judged, strip: list[kpi.Kpi], well: bool, now: int) -> None:
    """Say how the queue is, and offer what can be done about it."""
    if not well:
        said = f"No news for {frame.silence(engine)}: this is how it was at {times.clock(now)}"
        why = frame.trouble(engine)
        verdict("stale", said, f"{why} Running tasks go on by themselves; actions are off until it answers.")
        return
    offered = remedies.remedies(judged, business, site, GRID)
    told = remedies.told(judged, strip)
    pressed = verdict(*told, [remedy.label for remedy in offered], remedies.topic(judged))
    if pressed is not None:
        offered[pressed].carry_out()


def tasks(sight: Sight, now: int, well: bool) -> None:
    """Let people narrow the queue down, list a page of it, and the open task beside."""
    query, found = queue.search(sight, business, site)
    frame.hold(grid.follow(GRID, st.query_params))
    selected, opened = grid.state(GRID)
    if not (sum(found.counts.values()) or selected or opened or query.text or found.system):
        quiet.nothing(sight, business, site, now)
        return
    with st.container(horizontal=True, wrap=False, key="split"):
        left, right = st.container(), st.container(width=280) if opened else None
    living = [task["task_id"] for task in sight.tasks(business, site, [int(i) for i in selected])]
    wish = bulk.bar(selected, living, ACTIONS, key=GRID, off=not well)
    queue.pager(found)
    with left:
        answer = queue.table(
            sight, business, site, query, found, now, key=GRID, narrow=bool(opened), stale=not well,
            picks=bool(ACTIONS),
        )  # fmt: skip
    if answer.sort:
        frame.turn_to({"sort": "-" * answer.sort["desc"] + answer.sort["id"], "page": None})
    if right:
        with right:
            shown = card.find(sight, business, site, opened, now)
            attempts = engine.settings.int("attempts")
            wish = card.card(shown, now, attempts, key=GRID, actions=ACTIONS, stale=not well) or wish
    if wish:
        carry_out(wish)


def carry_out(wish: Wish) -> None:
    """Ask once more, and send what people want to the engine."""
    asking.later(lambda: cancel.ask(wish.ids, GRID))


notice.tell()
live()
