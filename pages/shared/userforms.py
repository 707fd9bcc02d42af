"""Dialogs about users: a new one, and what is done to one that there is. The engine decides each time anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TypeVar
from uuid import uuid4

import streamlit as st

from engine.access import LINK as PATH
from engine.access import LINK_VALID, User
from engine.clock import DAY
from engine.errors import DrainboardError
from engine.roles import Grant, Right, Role, worded

from . import asking, frame, notice, presses, usercard
from .copylink import copy_address
from .plain import plain

T = TypeVar("T")

NO_ANSWER = "The engine did not answer in time; look in a moment whether it happened"


def create() -> None:
    """Open the form of a user to be."""
    asking.dialog("New user")(_create)(f"user-{uuid4()}")


def ask(wish: str, user: User) -> None:
    """Open the dialog of what was pressed on a user's card."""
    request = f"user-{uuid4()}"
    if wish == usercard.CHANGE:
        asking.dialog("Change a user")(_change)(user, request)
    elif wish == usercard.LINK:
        asking.dialog("New link")(_new_link)(user, request)
    else:
        asking.dialog(wish)(_act)(wish, user, request)


def _create(request: str) -> None:
    if _shown_link(request):
        return
    st.html("<div class='d-evidence'>There is no initial password: you get a link, with which the user chooses one."
            "</div>")  # fmt: skip
    name = st.text_input("Name", max_chars=64, key=f"{request}.name").strip()
    grants = _roles((), request)
    identity = _identity(None, request)
    # Never off: a press would only end the typing then, and have to be made once more. The engine says what is missing.
    if asking.agreed("Create user", request):
        who = frame.actor()
        secret = _tried(lambda: frame.access().invite(who, name, grants, identity or None, renew=False), request)
        if secret is not None:
            frame.address({"user": name})
            _show_link(name, secret, request)
    _refused(request)


def _change(user: User, request: str) -> None:
    own = frame.access().obstacles(frame.actor(), user.name).get("roles")
    st.html(f"<div class='d-evidence'>{escape(user.name)}: what is changed counts at once, also in what is open now."
            "</div>")  # fmt: skip
    grants = _roles(user.grants, request, own)
    identity = _identity(user.identity, request)
    reason = asking.reason(request)
    if asking.agreed("Change user", request):
        if set(grants) == set(user.grants) and (identity or None) == user.identity:
            asking.close()
        who = frame.actor()

        def change() -> bool:
            frame.access().change(who, user.name, grants, identity or None, seen=user.changed_at, reason=reason)
            return True

        if _tried(change, request):
            notice.keep(f"{user.name}: {'; '.join(worded(grants))}")
            asking.close()
    _refused(request)


def _new_link(user: User, request: str) -> None:
    if _shown_link(request):
        return
    old = "The link that was sent before will not work any more." if user.link_until is not None else ""
    _says(
        "With a new link the user chooses a new password, once and within two days.",
        "Until then the old password goes on working, and sessions stay open." if user.last_at is not None else "",
        old,
    )
    if asking.agreed("Make a link", request):
        who = frame.actor()
        secret = _tried(lambda: frame.access().reset(who, user.name), request)
        if secret is not None:
            _show_link(user.name, secret, request)
    _refused(request)


def _act(wish: str, user: User, request: str) -> None:
    """Say what signing out, disabling, enabling or forgiving does, ask for a reason, and have it done."""
    access, name, who = frame.access(), user.name, frame.actor()
    sessions = f"{user.sessions:,} open {'session' if user.sessions == 1 else 'sessions'}"
    everywhere = frame.allowed(Right.USERS, None, None)
    says, said, do = {
        usercard.SIGN_OUT: (
            (f"Ends {sessions} of {name} at once.", "Signing in again is possible."), "signed out everywhere",
            access.sign_out_everywhere,
        ),
        usercard.DISABLE: (
            (f"{name} can't sign in any more, and {sessions} end at once.", "Tasks and schedules go on.",
             "The account can be enabled again."), "disabled",
            lambda by, of, why: access.disable(by, of, True, why),
        ),
        usercard.ENABLE: (
            (f"{name} can sign in again, with the password there was.",), "enabled",
            lambda by, of, why: access.disable(by, of, False, why),
        ),
        usercard.FORGIVE: (
            (f"What was guessed wrong at {name}'s password counts no more, and nobody has to wait for it.",
             "Addresses that wait for guesses at many accounts may guess on, too." if everywhere
             else "An address that waits for guesses at many accounts goes on waiting; a platform admin can let it go "
             "on."), "forgiven", access.forgive,
        ),
    }[wish]  # fmt: skip
    _says(*says)
    reason = asking.reason(request)
    if asking.agreed(f"{wish}: {plain(name)}", request):
        def act() -> bool:
            do(who, name, reason)
            return True

        if _tried(act, request):
            notice.keep(f"{name}: {said}")
            asking.close()
    _refused(request)


# --- what they have in common


def _roles(held: Sequence[Grant], request: str, locked: str | None = None) -> list[Grant]:
    """Ask for roles: of all that whoever looks may give, each with where it holds."""
    places = sorted(frame.engine().snapshot.zones)
    businesses = list(dict.fromkeys(business for business, _ in places))
    able = [Grant(Role.PLATFORM_ADMIN)] if frame.allowed(Right.USERS, None, None) else []
    for business in businesses:
        if frame.allowed(Right.USERS, business, None):
            sites = [site for of, site in places if of == business]
            able.append(Grant(Role.BUSINESS_ADMIN, business))
            able += [Grant(role, business, site) for site in sites for role in (Role.SITE_ADMIN, Role.SITE_USER)]
    options = list(dict.fromkeys([*held, *able]))
    chosen = st.multiselect("Roles", options, list(held), format_func=lambda grant: worded([grant])[0],
                            key=f"{request}.roles", placeholder="One or several", select_all=False,
                            disabled=locked is not None, help=locked)  # fmt: skip
    return list(chosen)


def _identity(known: str | None, request: str) -> str:
    return st.text_input(
        "Identity at a provider", known or "", max_chars=320, key=f"{request}.identity",
        placeholder="e-mail address, or sub:…; none: a password only",
    ).strip()  # fmt: skip


def _says(*lines: str) -> None:
    st.html(f"<ul class='d-says'>{''.join(f'<li>{escape(line)}</li>' for line in lines if line)}</ul>")


def _tried(act: Callable[[], T], request: str) -> T | None:
    """Have the engine do it; what it refuses is told in the dialog until the next try."""
    st.session_state.pop(f"{request}.why", None)
    try:
        return act()
    except (DrainboardError, TimeoutError) as error:
        st.session_state[f"{request}.why"] = str(error) or NO_ANSWER
        return None


def _refused(request: str) -> None:
    if why := st.session_state.get(f"{request}.why"):
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")


def _show_link(name: str, secret: str, request: str) -> None:
    st.session_state[f"{request}.link"] = name, secret
    frame.again()


def _shown_link(request: str) -> bool:
    """Show the link that was made, if one was: this once, since nobody keeps it."""
    made: tuple[str, str] | None = st.session_state.get(f"{request}.link")
    if made is None:
        return False
    name, secret = made
    origin = frame.origin()
    address = f"{origin}{PATH}{secret}"
    days = LINK_VALID // DAY
    st.html(f"<div class='d-evidence'>Send this link to <b>{escape(name)}</b>. It works once and within {days} days, "
            "and is shown only here and now: whoever has it can set the password.</div>")  # fmt: skip
    st.code(address, language=None, wrap_lines=True)
    if not origin:
        st.html("<div class='d-evidence'>Put in front of it where browsers reach the console, as in "
                "https://console.example.org.</div>")  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right"):
        copy_address(address, key=f"{request}.copy")
        if presses.button("Done", key=f"{request}.done", type="primary", width="content"):
            del st.session_state[f"{request}.link"]
            asking.close()
    return True
