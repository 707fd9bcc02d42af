"""Users as a page words them: the table's rows, and the card of one with sessions, guesses and past sign-ins."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

import streamlit as st

from engine.access import ACTIVE, BY_LINK, DISABLED, INVITED, PASSWORD, THROTTLED, Access, Actor, Happened, User
from engine.errors import NotFound
from engine.roles import worded
from engine.throttle import Waiting

from . import frame, grid, helps, presses, times
from .copylink import copy_link

WIDTH = 340
MOST = 12  #: lines of a history, or of guesses
CHANGE, LINK, SIGN_OUT, DISABLE, ENABLE, FORGIVE = (
    "Change…", "New link", "Sign out everywhere", "Disable", "Enable", "Forgive guesses",
)  # fmt: skip
_LOOKS = {
    ACTIVE: ("tick", "done"), INVITED: ("ring", "queued"), THROTTLED: ("bars", "hold"), DISABLED: ("block", "stop"),
}  # fmt: skip
_HOW = {PASSWORD: "with the password", BY_LINK: "by a link"}
COLUMNS: list[grid.Row] = [
    {"id": "name", "label": "Name", "type": "link", "width": "1.1fr", "sort": "asc", "card": "lead"},
    {"id": "roles", "label": "Roles", "type": "text", "width": "2.2fr"},
    {"id": "state", "label": "State", "type": "status", "width": "1.6fr"},
    {"id": "last", "label": "Last sign-in", "type": "number", "width": "106px", "sort": "desc", "card": "end"},
    {"id": "sessions", "label": "Open sessions", "type": "number", "width": "106px", "sort": "desc"},
    {"id": "said", "label": "Roles and state", "type": "two", "card": "line", "narrow": True},
]
TOLD = ("last", "sessions")  #: columns that a card beside the table tells instead


def line(user: User, now: int) -> grid.Row:
    """Word a user for the table."""
    there, held = times.zone(), worded(user.grants)
    glyph, token = _LOOKS[user.state]
    return {
        "id": user.name,
        "label": user.name,
        "name": {"t": user.name, "h": f"?{urlencode({'user': user.name})}"},
        "roles": held[0] if len(held) == 1 else f"{len(held):,} roles: {'; '.join(held)}",
        "state": {"t": user.state.capitalize(), "g": glyph, "k": token, "s": _more(user, now)},
        "last": times.brief(user.last_at, times.day(now, there), there) if user.last_at is not None else "never",
        "sessions": user.sessions,
        "said": {"t": "; ".join(held), "s": "" if user.state == ACTIVE else user.state.capitalize()},
    }


def _more(user: User, now: int) -> str:
    """Say what of a state matters: until when."""
    if user.state == THROTTLED and user.until is not None:
        return f"until {times.moment(user.until, now)}"
    if user.state == INVITED:
        return "the link has lapsed" if user.link_until is None else f"link for {times.age(user.link_until - now)} more"
    return ""


# --- the card


def card(user: User | None, who: Actor, access: Access, now: int, *, key: str, stale: bool = False) -> str | None:
    """Draw a user as he stands, or say that there is none; return what was just asked for."""
    with st.container(key="card", width=WIDTH):
        with st.container(horizontal=True, vertical_alignment="top"):
            name = user.name if user is not None else "No such user"
            state = "" if user is None else ", ".join(p for p in (user.state.capitalize(), _more(user, now)) if p)
            st.html(f"<div class='d-cardhead'><b>{escape(name)}</b><br>{escape(state)}</div>")
            grid.close_button(key)
        if user is None:
            st.html("<div class='d-evidence'>There is no such user, or he is not yours to manage.</div>")
            return None
        try:
            guesses, history = access.guesses(who, user.name), access.history(who, user.name)
            obstacles = access.obstacles(who, user.name)
        except NotFound:  # changed by another admin a moment ago
            frame.again()
        st.html(_facts(user, access, who, now))
        _guesses(guesses, now)
        _history(history, now)
        return _offers(user, guesses, obstacles, key, stale)


def _offers(user: User, guesses: Sequence[Waiting], obstacles: dict[str, str], key: str, stale: bool) -> str | None:
    """Offer what can be done; what can't be done is off and says why."""
    wish = None
    nothing = "Nothing is open" if not user.sessions else None
    offered: list[tuple[str, str | None]] = [
        (CHANGE, None), (LINK, obstacles.get("link")), (SIGN_OUT, nothing),
        (ENABLE, None) if user.state == DISABLED else (DISABLE, obstacles.get("disable")),
        *([(FORGIVE, None)] if guesses else []),
    ]  # fmt: skip
    with st.container(horizontal=True, key="user-acts"):
        for label, why in offered:
            if presses.button(label, key=f"{key}.{user.name}.{label}", disabled=stale or why is not None, help=why,
                              width="content"):  # fmt: skip
                wish = label
        copy_link({"user": user.name}, key=f"{key}.copy")
    if why := obstacles.get("disable"):
        st.html(f"<div class='d-foot'>{escape(why)}.</div>")
    return wish


def _facts(user: User, access: Access, who: Actor, now: int) -> str:
    there = times.zone()
    last = f"{times.moment(user.last_at, now)} ({times.age(now - user.last_at)} ago)" if user.last_at else "never"
    open_ones = [
        f"from {session.address} since {times.moment(session.began_at, now)}, "
        f"used {times.age(now - session.seen_at)} ago"
        for session in access.sessions(who, user.name)
    ]
    link = "" if user.link_until is None else f"one is valid until {times.to_come(user.link_until, there)}"
    facts = {
        "Roles": "<br>".join(map(escape, worded(user.grants))),
        "Identity": escape(user.identity or ""),
        "Last sign-in": escape(last),
        "Open": "<br>".join(map(escape, open_ones[:MOST])) or "no session",
        "Link": escape(link),
        "Account made": escape(times.whole(user.created_at, there)),
        "Changed": escape(times.whole(user.changed_at, there)) if user.changed_at != user.created_at else "",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts.items() if value)
    return f"<table class='d-facts d-audit'>{rows}</table>"


def _guesses(guesses: Sequence[Waiting], now: int) -> None:
    """Say which wrong guesses count, and until when the next ones have to wait."""
    if not guesses:
        return
    n = sum(one.wrong for one in guesses)
    said = [(one.address, _waits(one, now)) for one in guesses[:MOST]]
    rows = "".join(f"<tr><td>{escape(address)}</td><td>{escape(waits)}</td></tr>" for address, waits in said)
    more = len(guesses) - MOST
    left = f"<div class='d-foot'>and from {more:,} more addresses</div>" if more > 0 else ""
    st.html(f"<div class='d-carded'><b>Wrong guesses</b> {n:,} that count{helps.mark('users.throttled', 'this')}</div>"
            f"<table class='d-tasks'>{rows}</table>{left}")  # fmt: skip


def _waits(one: Waiting, now: int) -> str:
    until = max(one.until, one.of_address)
    why = ", for whomever" if one.of_address > one.until else ""
    return f"{one.wrong:,} wrong" + (f", waits until {times.moment(until, now)}{why}" if until else "")


def _history(history: Sequence[Happened], now: int) -> None:
    rows = "".join(_step(step, now) for step in history[:MOST])
    said = "" if history else "nothing yet"
    st.html(f"<div class='d-carded'><b>Sign-ins</b> {said}</div><table class='d-way d-befell'>{rows}</table>")


def _step(step: Happened, now: int) -> str:
    place = f"from {step.address}" if step.address else ""
    how = "" if step.by is None else _HOW.get(step.by, f"by {step.by}")
    if step.refused is not None:
        word, dot, more = "Not let in", "canceled", [step.refused, place, how if how != _HOW[PASSWORD] else ""]
    elif step.what == "sign_in":
        word, dot, more = "Signed in", "processed", [place, how]
    elif step.what == "set_password":
        word, dot, more = "Set a password", "active", [place, how]
    else:
        word, dot, more = "Signed out" if step.own else "Signed out by an admin", "new", [place]
    said = ", ".join(part for part in more if part)
    return (
        f"<tr><td>{escape(times.moment(step.at, now))}</td><td class='d-dot {dot}'></td>"
        f"<td>{escape(word)}<small>{escape(said)}</small></td></tr>"
    )
