"""Capping a user: how many of his tasks may run at once, set, changed or taken away, each with a reason."""

from __future__ import annotations

from html import escape
from uuid import uuid4

import streamlit as st

from engine.messages import RemoveCap, SetCap
from engine.onplans import MOST_AT_ONCE
from engine.snapshot import ThrottleLook

from . import asking, frame, notice

USUAL = 5


def ask(business: str) -> None:
    """Open the dialog that caps a user of a business."""
    asking.dialog("Cap a user")(_dialog)(business, None, f"cap-{uuid4()}")


def change(business: str, cap: ThrottleLook) -> None:
    """Open the dialog that changes a cap."""
    asking.dialog("Change a cap")(_dialog)(business, cap, f"cap-{uuid4()}")


def remove(business: str, cap: ThrottleLook) -> None:
    """Open the dialog that takes a cap away."""
    asking.dialog("Remove a cap")(_farewell)(business, cap, f"cap-{uuid4()}")


def _dialog(business: str, cap: ThrottleLook | None, request: str) -> None:
    st.html("<div class='d-evidence'>Collecting or processing, each counts as one running task. What runs goes on, "
            "also where it is more; what waits starts as slots become free.</div>")  # fmt: skip
    pauses = frame.sight().pauses(business)
    user = cap.owner if cap is not None else None
    if user is None:
        capped = {one.cap.owner for one in pauses.caps()}
        names = [one.name for one in pauses.users(frame.sight().people(business)) if one.name not in capped]
        user = st.selectbox("User", names, None, placeholder="Choose a user", key=f"{request}.user")
    now = (cap and cap.at_most) or USUAL
    at_most = st.number_input("At most so many running at once", 1, MOST_AT_ONCE, now, step=1, key=f"{request}.n")
    found = next((one for one in pauses.users() if one.name == user), None)
    if user is not None:
        counts = f"{found.running:,} running, {found.waiting:,} waiting" if found else "none running, none waiting"
        st.html(f"<div class='d-evidence'>{escape(user)} now: {counts}.</div>")
    why = "why, and what ends it"
    reason = st.text_input("Reason", max_chars=200, placeholder=why, key=f"{request}.reason").strip()
    if asking.agreed("Set the cap" if cap is None else "Change the cap", request, disabled=user is None):
        if not reason:
            st.session_state[f"{request}.why"] = "Say why: whoever finds the tasks waiting reads it."
        elif user is not None:
            _send(SetCap(business, user, int(at_most), reason), f"At most {at_most:,} of {user} at once", request)
    _why(request)


def _farewell(business: str, cap: ThrottleLook, request: str) -> None:
    st.html(f"<div class='d-evidence'>{escape(str(cap.owner))} may run at most {cap.at_most:,} at once now. "
            "Without the cap, what waits starts as hosts have room.</div>")  # fmt: skip
    reason = asking.reason(request)
    if asking.agreed("Remove the cap", request):
        _send(RemoveCap(business, str(cap.owner), reason), f"{cap.owner} has no cap any more", request)
    _why(request)


def _send(action: SetCap | RemoveCap, done: str, request: str) -> None:
    tries = st.session_state.get(f"{request}.tries", 0)
    outcome = frame.do(action, f"{request}-{tries}")
    if outcome.refused:
        st.session_state[f"{request}.tries"] = tries + 1
        st.session_state[f"{request}.why"] = outcome.refused
        return
    notice.keep(done)
    asking.close()


def _why(request: str) -> None:
    if why := st.session_state.get(f"{request}.why"):
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")
