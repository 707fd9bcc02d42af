"""The schedules of a site as a list that can be narrowed down, the open one beside; or word that there is none yet."""

from dataclasses import dataclass

import streamlit as st

from engine.sight import Sight
from engine.timetable import Timetable

from . import addresses, asking, frame, grid, plan_actions, plan_card, plan_form, plans, presses


@dataclass(frozen=True, slots=True)
class Recurring:
    """Where the schedules are, and whether whoever looks may change them."""

    business: str
    site: str
    may: bool

    @property
    def key(self) -> str:
        return repr(("schedules", self.business, self.site))

    def section(self, sight: Sight, made: Timetable, now: int, zone: str, stale: bool) -> None:
        """List them, or say that there is none; and draw the one that is open, also one that was removed."""
        if made.planned:
            self._list(sight, made, now, zone, stale)
            return
        self._nothing(zone, stale)
        frame.hold(grid.follow(self.key, st.query_params, "schedule"))
        if opened := grid.state(self.key)[1]:
            paused = plans.pauses(sight.holds(self.business, self.site))
            self._card(sight, made, opened, paused, now, zone, stale)

    def _list(self, sight: Sight, made: Timetable, now: int, zone: str, stale: bool) -> None:
        """Let people narrow the schedules down, list a page of them, and the open one beside."""
        over = sight.holds(self.business, self.site)
        paused, kept = plans.pauses(over), plans.windows(over, sight.blackouts(self.business, self.site))
        with st.container(horizontal=True, vertical_alignment="center", key="filter"):
            query, found = plans.search(made, paused)
            if self.may and presses.button("New schedule", key="new", width="content", disabled=stale):
                asking.later(lambda: plan_form.new(self.business, self.site, zone))
        frame.hold(grid.follow(self.key, st.query_params, "schedule"))
        _, opened = grid.state(self.key)
        with st.container(horizontal=True, wrap=False, key="split"):
            left, right = st.container(), st.container(width=320) if opened else None
        plans.pager(query, len(found), zone)
        with left:
            answer = plans.table(query, found, paused, kept, now, zone, key=self.key, narrow=bool(opened), stale=stale)
        if answer.sort:
            frame.turn_to({"sort": "-" * answer.sort["desc"] + answer.sort["id"], "page": None})
        if right and opened:
            with right:
                self._card(sight, made, opened, paused, now, zone, stale)

    def _card(
        self, sight: Sight, made: Timetable, opened: str, paused: plans.Over, now: int, zone: str, stale: bool
    ) -> None:
        """Draw the open schedule, and do what is pressed on it."""
        wanted = addresses.number(opened) or 0
        planned = next((one for one in made.planned if one.schedule.schedule_id == wanted), None)
        hold = paused(planned) if planned is not None else None
        past = sight.past(self.business, self.site, wanted)
        kept = plans.windows(sight.holds(self.business, self.site), sight.blackouts(self.business, self.site))
        pressed = plan_card.card(planned, hold, kept, past, now, zone, key=self.key, may=self.may, stale=stale)
        if pressed is not None and planned is not None:
            plan_actions.carry_out(pressed, planned.schedule, hold)

    def _nothing(self, zone: str, stale: bool) -> None:
        """Say that nothing recurs here yet, and what a schedule is for."""
        with st.container(key="empty"):
            st.html(
                "<div class='d-finding'>Nothing recurs at this site yet.</div>"
                "<div class='d-evidence'>A schedule submits a task at set times, in a zone of its own, for an owner."
                "</div>"
            )
            if self.may and presses.button("New schedule", key="new", type="primary", width="content", disabled=stale):
                asking.later(lambda: plan_form.new(self.business, self.site, zone))
