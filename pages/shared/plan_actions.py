"""What people do with a schedule beside changing it: pause and resume it, run it now, remove it."""

from html import escape
from uuid import uuid4

import streamlit as st

from engine.clock import HOUR, MINUTE, SECOND
from engine.ledger import number_of
from engine.lifecycle import task_label
from engine.messages import HoldTarget, LiftHolds, Outcome, PlaceHolds, RemoveSchedule, RunNow
from engine.snapshot import HoldLook
from engine.standing import Schedule

from . import asking, frame, notice, plan_card, plan_form, plans, times
from .plain import plain

AT = "At …"
TWICE = 2 * SECOND  #: presses that are less far apart count as one
ENDS = {"When somebody resumes it": None, "In 1 hour": HOUR, "In 4 hours": 4 * HOUR, "In 24 hours": 24 * HOUR, AT: 0}


def carry_out(action: str, schedule: Schedule, hold: HoldLook | None) -> None:
    """Do what was just pressed: at once where nothing can be lost by it, else after asking once more."""
    if action == plan_card.EDIT:
        asking.later(lambda: plan_form.edit(schedule))
    elif action == plan_card.PAUSE:
        asking.later(lambda: _pause(schedule, f"pause-{uuid4()}"))
    elif action == plan_card.RESUME and hold is not None:
        outcome = frame.do(LiftHolds([hold.hold_id]), f"resume-{uuid4()}")
        left = "; ".join(why for _, why in outcome.skipped)
        _done(outcome, f"{_named(schedule)} is resumed" if not left else f"Left as it was: {left}")
    elif action == plan_card.RUN:
        outcome = frame.do(RunNow(schedule.schedule_id), _once(f"run {schedule.schedule_id}"))
        number = number_of(int(outcome.changed[0])) if outcome.changed else 0
        waits = "; it waits until the schedule is resumed" if hold is not None else ""
        _done(outcome, f"{task_label(schedule.spec.kind, number)} is submitted for {_named(schedule)}{waits}")
    elif action == plan_card.REMOVE:
        asking.later(lambda: _remove(schedule, f"remove-{uuid4()}"))


def _once(what: str) -> str:
    """Name a request that asks for nothing more: the same one where it was pressed twice by a slip of the hand."""
    now = frame.engine().now
    request, at = st.session_state.get(what, ("", now - TWICE))
    if now - at >= TWICE:
        request = f"run-{uuid4()}"
    st.session_state[what] = request, now
    return request


def _named(schedule: Schedule) -> str:
    return f"{plans.label(schedule.schedule_id)} “{schedule.spec.name}”"


@asking.dialog("Pause schedule")
def _pause(schedule: Schedule, request: str) -> None:
    queues = schedule.spec.on_hold == "queue_one"
    st.html(
        f"<div class='d-what'><b>{escape(_named(schedule))}</b></div><ul class='d-says'>"
        f"<li>{'One run is queued until the pause ends; its' if queues else 'Its'} fires until then are skipped, and "
        "told as missed.</li><li>Runs that wait already wait on, as Paused; what runs goes on.</li></ul>"
    )
    reason = st.text_input("Reason", max_chars=200, placeholder="for whoever finds it paused", key=f"{request}.reason")
    now, here = frame.engine().now, times.zone()
    ends = st.selectbox("Ends", list(ENDS), key=f"{request}.ends")
    until = now + span if (span := ENDS[ends]) else None
    if ends == AT:
        wall = st.datetime_input(f"At, {here.key}", times.wall_of(now + HOUR, here), step=60, format="YYYY-MM-DD",
                                 key=f"{request}.at")  # fmt: skip
        until = times.instant_of(wall, here) if wall is not None else None
    if asking.agreed("Pause schedule", request):
        target = HoldTarget("schedule", str(schedule.schedule_id))
        minute = until // MINUTE if until is not None else None  # with another end it is another request
        outcome = frame.do(
            PlaceHolds(schedule.spec.business, [target], reason.strip(), schedule.spec.site, until_at=until),
            f"{request}-{minute}",
        )
        lasts = f"until {times.moment(until, now)}" if until is not None else "until somebody resumes it"
        _done(outcome, f"{_named(schedule)} is paused {lasts}")


@asking.dialog("Remove schedule")
def _remove(schedule: Schedule, request: str) -> None:
    st.html(
        f"<div class='d-what'><b>{escape(_named(schedule))}</b><span>{escape(schedule.spec.rule.prose())}</span></div>"
        "<ul class='d-says'><li>It fires no more, and a pause of it ends.</li><li>Runs that wait or run already go on."
        "</li><li>Its past runs stay in the logs. This can't be undone.</li></ul>"
    )
    reason = asking.reason(request)
    if asking.agreed(f"Remove {plans.label(schedule.schedule_id)}", request):
        outcome = frame.do(RemoveSchedule(schedule.schedule_id, reason), request)
        if not outcome.refused:
            frame.address({"schedule": None})
        _done(outcome, f"{_named(schedule)} is removed")


def _done(outcome: Outcome, said: str) -> None:
    """Say on the page what was done, in a dialog what was refused."""
    if outcome.refused:
        st.error(plain(outcome.refused))
        return
    notice.keep(said)
    asking.close()
