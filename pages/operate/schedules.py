"""Schedules: what recurs at a site and what comes once, what stacks on the same minute, and what became of it."""

from typing import Any

import streamlit as st

from engine.roles import Right
from engine.timetable import Load
from pages.shared import (
    asking,
    charts,
    frame,
    helps,
    holds,
    notice,
    once,
    plans,
    stagger,
    times,
)
from pages.shared.recurring import Recurring
from pages.shared.verdict import Level, verdict

STACKED = 3  #: schedules in one minute from which on it is worth a word
MOST = 3  #: names that are told of them

engine = frame.engine()
business, site = frame.site()
MAY = frame.allowed(Right.SCHEDULE, business, site)
MAY_CHANGE_TASKS = frame.allowed(Right.OPERATE, business, site)
LIST = Recurring(business, site, MAY)


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: what stacks, the load, the schedules, the chosen one, what comes once."""
    frame.watch(business, site)
    sight = frame.sight()
    stale, now = not sight.pulse.well, frame.known_at(engine)
    made, zone = sight.timetable(business, site), sight.snapshot.zones.get((business, site), "UTC")
    over = sight.holds(business, site)
    frame.head("Schedules", f"{_many(len(made.planned), 'schedule')} at {site}", engine)
    if not MAY:
        st.html("<div class='d-readonly'>You read this page; changing, pausing and running schedules needs the role of "
                "a site admin.</div>")  # fmt: skip
    holds.strip(over, sight.numbers(business, site).paused, offer=False)
    if made.planned:
        paused = plans.pauses(over)
        load(made.load, sum(paused(one) is not None for one in made.planned), now if stale else None)
    LIST.section(sight, made, now, zone, stale)
    once.section(sight.scheduled(business, site), now, zone, key=f"once {business} {site}", may=MAY_CHANGE_TASKS,
                 stale=stale)  # fmt: skip


def load(expected: Load, paused: int, stale_since: int | None) -> None:
    """Say which minute is stacked the most, offer to pull it apart, and draw the load of who is not paused.

    While the engine is not heard of, say so instead.
    """
    busiest, offers = expected.busiest, []
    if busiest is None:
        level: Level = "steady"
        said, why = "No two schedules fire in the same minute", _fullest(expected)
    else:
        level = "busy" if busiest.n >= STACKED else "steady"
        names = ", ".join(f"“{name}”" for name in busiest.names[:MOST])
        more = f" and {busiest.n - MOST:,} more" if busiest.n > MOST else ""
        said = f"{busiest.n:,} schedules fire {busiest.when()}"
        why = f"{names}{more}. {_fullest(expected)}"
        offers = ["Stagger schedules"] if MAY else []
    if paused:
        why += f" {_many(paused, 'paused schedule')} {'is' if paused == 1 else 'are'} left out."
    if stale_since is not None:
        news = f"No news for {frame.silence(engine)}: this is how it was at {times.clock(stale_since)}"
        silent = frame.trouble(engine)
        verdict("stale", news, f"{silent} Nothing fires until it does; what was missed then runs once.")
    elif verdict(level, said, why, offers, "schedules.stagger") is not None and busiest is not None:
        asking.later(lambda: stagger.ask(business, site, busiest.schedule_ids))
    with st.container(horizontal=True, key="charts" if stale_since is None else "charts-stale"):
        with st.container():
            st.html("<div class='d-h2'><b>Expected load</b><span>busy minutes that fires bring, by weekday and hour"
                    f"</span>{helps.mark('schedules.page', 'these charts')}</div>")  # fmt: skip
            charts.show(charts.busy_hours(expected, charts.theme()), key="busy", alt=_fullest(expected))
        with st.container():
            st.html("<div class='d-h2'><b>Stacked minutes</b><span>schedules that fire together, at most, in the week "
                    "to come</span></div>")  # fmt: skip
            charts.show(charts.stacked_minutes(expected, charts.theme()), key="stacked", alt=said)


def _fullest(expected: Load) -> str:
    """Name the hour that most work comes in, and what is not known."""
    day, hour, fires, busy_s = max(expected.hours.iter_rows(), key=lambda row: (row[3], row[2]))
    when = f"{charts.DAYS[day - 1]} {hour:02}:00–{(hour + 1) % 24:02}:00"
    told = f"Most work comes {when}: {_many(round(busy_s / 60), 'busy minute')} by {_many(fires, 'fire')}."
    unknown = expected.unknown
    left = f" How long {_many(unknown, 'schedule')} will take is not known yet." if unknown else ""
    return f"{told if fires else 'Nothing fires in the coming week.'}{left}"


def _many(n: Any, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


notice.tell()
live()
