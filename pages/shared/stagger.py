"""Staggering schedules that fire in the same minute: how they would move apart, and doing it."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from html import escape
from uuid import uuid4

import streamlit as st

from engine.clock import MINUTE
from engine.errors import InvalidSchedule
from engine.messages import EditSchedule
from engine.recurrence import Rule
from engine.standing import Schedule

from . import asking, frame, notice

APART = 5  #: minutes


def ask(business: str, site: str, schedule_ids: tuple[int, ...]) -> None:
    """Open the dialog over some schedules of a site."""
    _dialog(business, site, schedule_ids, f"stagger-{uuid4()}")


@asking.dialog("Stagger schedules", width="large")
def _dialog(business: str, site: str, schedule_ids: tuple[int, ...], request: str) -> None:
    schedules = _together(frame.sight().schedules(business, site), schedule_ids)
    if len(schedules) < 2:
        st.html("<div class='d-finding'>These schedules are not there any more.</div>")
        return
    st.html("<div class='d-evidence'>The first keeps its time; each further one comes later by as many minutes.</div>")
    apart = int(st.number_input("Minutes apart", 1, 59, APART, key=f"{request}.apart"))
    moves = [(schedule, _moved(schedule, n * apart)) for n, schedule in enumerate(schedules)]
    rows = "".join(
        f"<tr><td>{escape(schedule.spec.name)}</td><td>{escape(schedule.spec.owner)}</td>"
        f"<td>{escape(schedule.spec.rule.prose())}</td><td>{escape(rule.prose() if isinstance(rule, Rule) else rule)}"
        "</td></tr>"
        for schedule, rule in moves
    )
    st.html(f"<table class='tb'><tr><th>Schedule<th>Owner<th>Now<th>Then</tr>{rows}</table>")
    able = [(s, rule) for s, rule in moves[1:] if isinstance(rule, Rule)]
    n = f"{len(able):,} {'schedule' if len(able) == 1 else 'schedules'}"
    if asking.agreed(f"Move {n}", request, disabled=not able):
        refused = [
            why
            for schedule, rule in able
            if (why := frame.do(
                EditSchedule(schedule.schedule_id, schedule.version, replace(schedule.spec, rule=rule)),
                f"{request}-{schedule.schedule_id}",
            ).refused)
        ]  # fmt: skip
        left = f"; left: {'; '.join(refused)}" if refused else ""
        notice.keep(f"{len(able) - len(refused):,} of {n} moved{left}")
        asking.close()


def _together(schedules: Sequence[Schedule], wanted: Collection[int]) -> list[Schedule]:
    """Pick those wanted, and what fires next in the same minute as one of them."""
    minutes = {s.schedule_id: s.spec.rule.next_after(frame.engine().now) // MINUTE for s in schedules}
    shared = {minutes[s.schedule_id] for s in schedules if s.schedule_id in wanted}
    return [s for s in schedules if minutes[s.schedule_id] in shared]


def _moved(schedule: Schedule, minutes: int) -> Rule | str:
    """Return the rule so many minutes later, or say why there is none."""
    try:
        return schedule.spec.rule.delayed(minutes) if minutes else schedule.spec.rule
    except InvalidSchedule as error:
        return f"stays: {error}"
