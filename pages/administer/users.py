"""Users: who may sign in, with which roles, how each account stands, and what became of sign-ins."""

from collections.abc import Mapping

import streamlit as st

from engine import users
from engine.access import STATES, Actor
from engine.roles import Right, may
from engine.users import FIELDS, LANGUAGE, SORTS, Page
from pages.shared import (
    addresses,
    asking,
    chips,
    finding,
    frame,
    grid,
    helps,
    notice,
    presses,
    times,
    usercard,
    userforms,
)

ROWS = 50  #: on a page
RESET = {"page": None}
GRID = "users"
CHIPS = {"All": None, **{state.capitalize(): state for state in STATES}}

engine = frame.engine()


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw a page of users, as they stand right now, and the open one beside it."""
    who, access, address = frame.actor(), frame.access(), st.query_params
    if not any(may(who.grants, Right.USERS, grant.business, None) for grant in who.grants):
        st.rerun()  # a role was taken away meanwhile: the frame says so
    frame.hold_on()
    well, now = engine.pulse.well, frame.known_at(engine)
    everybody = access.users(who)
    frame.head("Users", said(who), engine)
    if not well:
        st.html("<div class='d-readonly'>The engine does not answer: this is who was known when it last did, and "
                "changes are off until it does.</div>")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", key="finder"):
        with st.container():
            known = finding.completed(FIELDS, users.names(everybody))
            changes = dict(finding.ask(address.get("q", ""), known, RESET, LANGUAGE))
        st.html(helps.mark("users.filter", "this filter"), width="content")
        new = presses.button("New user", key="new-user", type="primary", width="content", disabled=not well)
    wanted = finding.read(address.get("q", ""), LANGUAGE)
    state = address.get("state") if address.get("state") in STATES else None
    sort, down = sorted_by(address.get("sort", ""))
    number = addresses.page(address) + 1
    page = users.page(everybody, wanted, now, state=state, sort=sort, descending=down, number=number, size=ROWS)
    shown = {name: sum(page.counts.values()) if key is None else page.counts[key] for name, key in CHIPS.items()}
    chosen = next(name for name, key in CHIPS.items() if key == state)
    pressed = chips.chips(shown, chosen, key="state", label="How they stand", tabs=True)
    if pressed and pressed != chosen:
        changes |= {"state": CHIPS[pressed], **RESET}
    frame.turn_to(changes)
    if new:
        asking.later(userforms.create)
    frame.hold(grid.follow(GRID, address, "user"))
    _, opened = grid.state(GRID)
    with st.container(horizontal=True, wrap=False, key="split"):
        left, right = st.container(), st.container(width=usercard.WIDTH) if opened else None
    with left:
        rows(page, now, sort, down, bool(opened), not well, f"{wanted.text} {state} {page.number} {sort} {down}")
        pager(page, shown[chosen])
    if right and opened:
        user = next((user for user in everybody if user.name == opened), None)
        with right:
            wish = usercard.card(user, who, access, now, key=GRID, stale=not well)
        if wish is not None and user is not None:
            asking.later(lambda: userforms.ask(wish, user))


def said(who: Actor) -> str:
    """Say whose users are listed."""
    if may(who.grants, Right.USERS, None, None):
        return "of the whole platform"
    businesses = {grant.business for grant in who.grants if grant.business is not None}
    return f"of {', '.join(sorted(one for one in businesses if may(who.grants, Right.USERS, one, None)))}"


def sorted_by(asked: str) -> tuple[str, bool]:
    """Read off the address by what they are sorted, and whether the other way round."""
    column = asked.removeprefix("-")
    return (column, asked.startswith("-")) if column in SORTS else ("name", False)


def rows(page: Page, now: int, sort: str, down: bool, narrow: bool, stale: bool, view: str) -> None:
    """Draw a page of rows; beside a card, without what the card tells."""
    if not page.users:
        st.html("<div class='d-evidence'>No user matches. Change the filter, or look at all of them.</div>")
    columns = [column for column in usercard.COLUMNS if not narrow or column["id"] not in usercard.TOLD]
    answer = grid.grid([usercard.line(user, now) for user in page.users], columns, key=GRID, label="Users", picks=False,
                       stale=stale, view=view, sort={"id": sort, "desc": down})  # fmt: skip
    if answer.sort:
        frame.turn_to({"sort": "-" * answer.sort["desc"] + answer.sort["id"], **RESET})


def pager(page: Page, total: int) -> None:
    """Say what is shown of how many, and offer to turn the page."""
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        n = len(page.users)
        counted = f"{total:,} {'user' if total == 1 else 'users'}"
        many = f"{page.before + 1:,}–{page.before + n:,} of {counted}" if n and n < total else counted
        st.html(f"<div class='d-foot'>{many}. Times are {times.zone().key}.</div>")
        turns: tuple[tuple[str, bool, Mapping[str, str | None]], ...] = (
            ("First", page.number > 1, RESET),
            ("Previous", page.number > 1, {"page": str(page.number - 1)}),
            ("Next", page.number < page.of, {"page": str(page.number + 1)}),
        )
        for label, can, changes in turns if page.of > 1 else ():
            st.button(label, key=f"page.{label}", disabled=not can, width="content",
                      on_click=lambda changes=changes: frame.address(changes))  # fmt: skip


notice.tell()
live()
