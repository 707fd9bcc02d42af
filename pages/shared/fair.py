"""Fairness: who used the services of a place in a period and who waited, behind whom, and what a pause gives back.

A sentence, a chart and the card of one user, then everybody as a table. The figures are some time old by design, and
say of when; the table's order and who is open stand in the address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from engine.clock import SECOND
from engine.fairness import PERIODS, SCHEDULE, Given, Lens, Share
from engine.roles import Right
from engine.sight import Sight
from engine.task import SYSTEM_OWNER

from . import asking, charts, chips, frame, grid, helps, pausedialog, presses, times
from .plain import plain
from .verdict import Level, verdict

PLACE = "fair.place"
NAMES = {"1h": "Last hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "all": "All of it"}
MOST = 3  #: names that are told of whose work had the slots
ROWS = 100  #: people in the table
FAR_OFF = 0.25  #: from where on a replay that misses what was measured by such a part is called a hint
#: cause of a wait: what was waited for
WAITED_FOR = {
    "hold": "holds", "console": "the console to be back", "throttled": "caps and gradual releases",
    "offline": "a service online", "exclusive": "explorers that scan", "capacity": "a free slot",
    "processor": "a processor", "unknown": "what the log does not tell",
}  # fmt: skip
LONG = 100 * 3600  #: seconds from which on minutes are left out

COLUMNS: list[grid.Row] = [
    {"id": "who", "label": "User", "type": "link", "width": "1fr", "card": "lead"},
    {"id": "served", "label": "Service time", "type": "part", "width": "1.1fr", "sort": "desc"},
    {"id": "served_s", "label": "", "type": "number", "width": "76px", "pale": True},
    {"id": "waited", "label": "Waiting", "type": "part", "width": "1.1fr", "sort": "desc"},
    {"id": "waited_s", "label": "", "type": "number", "width": "76px", "pale": True},
    {"id": "tasks", "label": "Tasks", "type": "number", "width": "66px", "sort": "desc"},
    {"id": "mean", "label": "Mean wait", "type": "number", "width": "84px", "sort": "desc"},
    {"id": "p95", "label": "p95 wait", "type": "number", "width": "84px", "sort": "desc"},
    {"id": "waiting", "label": "Waiting now", "type": "number", "width": "92px", "sort": "desc"},
    {"id": "next", "label": "Next task", "type": "two", "width": "1.5fr"},
    {"id": "do", "label": "", "type": "act", "width": "78px"},
    {"id": "told", "label": "", "type": "text", "narrow": True, "card": "line"},
    {"id": "short", "label": "", "type": "number", "narrow": True, "card": "end"},
]  # fmt: skip
ONLY_NOW = ("waiting", "next", "do")  #: columns that say nothing of history
_BY = {
    "served": lambda one: one.served_s, "waited": lambda one: one.waited_s, "tasks": lambda one: one.tasks,
    "mean": lambda one: one.wait_mean_s or 0, "p95": lambda one: one.wait_p95_s or 0,
    "waiting": lambda one: one.waiting,
}  # fmt: skip


def section(sight: Sight, business: str, well: bool, choose_business: Callable[[], None] | None = None) -> None:
    """Draw it for a business: place and period to choose, the finding, chart and card, the table."""
    archives = sight.archives(business)
    site, period = _choose(sight, business, archives, choose_business)
    found = sight.fairness(business, site, period)
    where = site or business
    first, may = found.first, _may_pause(business, found)
    level, headline, evidence = finding(found, where, period)
    level = level if well else "stale"
    offered = first.who if first is not None and may and level == "busy" else None
    if verdict(level, headline, evidence, [f"Pause {offered}…"] if offered else [], "holds.fairness") is not None:
        asking.later(partial(pausedialog.ask, business, "user", [offered or ""]))
    if not found.shares:
        return
    key = repr(("fair", business, site, period))
    frame.hold(grid.follow(key, st.query_params, "who"))
    opened = grid.state(key)[1] or (first.who if first is not None else None)
    chosen = next((one for one in found.shares if one.who == opened), None)
    with st.container(horizontal=True, key="charts" if well else "charts-stale"):
        with st.container():
            st.html("<div class='d-h2'><b>Used against waited</b><span>above the line: more waiting than use</span>"
                    f"{helps.mark('holds.fairness', 'these shares')}</div>")  # fmt: skip
            points = tuple((one.who, one.served, one.waited) for one in found.shares)
            charts.show(charts.shares(points, opened or "", charts.theme()), key="shares", alt=headline)
        if chosen is not None:
            with st.container(key="fair-card"):
                _card(sight, business, site, period, chosen)
                offer = may and chosen.user and chosen.who != offered
                if offer and presses.button(plain(f"Pause {chosen.who}…"), key="fair.pause", width="content",
                                            disabled=not well):  # fmt: skip
                    asking.later(partial(pausedialog.ask, business, "user", [chosen.who]))
    _table(found, business, key, may, well)


def _choose(
    sight: Sight, business: str, archives: Sequence[str], choose_business: Callable[[], None] | None
) -> tuple[str | None, str]:
    """Let people choose a place of the business and a period; the address keeps both."""
    sites = [site for at, site in sight.places() if at == business]
    every = f"All of {business}"
    live = [site for site in sites if site not in archives]
    names = [*([every] if len(live) > 1 or frame.allowed(Right.SEE, business, None) else []), *sites]
    here = frame.site()
    asked = st.query_params.get("place", here[1] if here[0] == business else names[0])
    site = asked if asked in sites else names[0]
    periods = [period for period in PERIODS if period != "all" or site in archives]
    usual = "all" if site in archives else "24h"
    period = st.query_params.get("period", usual)
    period = period if period in periods else usual
    with st.container(horizontal=True, vertical_alignment="center", key="fair"):
        if choose_business is not None:
            choose_business()
        st.session_state[PLACE] = site
        st.selectbox(
            "Place", names, key=PLACE, label_visibility="collapsed", width=190,
            on_change=lambda: frame.address({"place": st.session_state[PLACE], "period": None, "who": None}),
        )  # fmt: skip
        counts = {NAMES[one]: None for one in periods}
        pressed = chips.chips(counts, NAMES[period], key="fair.period", label="Period")
    if pressed:
        frame.turn_to({"period": next(one for one in periods if NAMES[one] == pressed)})
    return (None if site == every else site), period


def _may_pause(business: str, found: Lens) -> bool:
    return not found.archive and frame.allowed(Right.HOLD, business, None)


# --- what it comes down to


def finding(found: Lens, where: str, period: str) -> tuple[Level, str, str]:
    """Say in a sentence who stands out, and what speaks for it."""
    span = _span(found, period)
    if not found.shares:
        more = "Its log holds no task of then." if found.archive else "Choose a longer period, or another place."
        return "steady", f"Nobody used the services of {where} {span}", more
    first, others = found.first, len(found.shares) - 1
    if first is None:
        return "steady", f"No user had tasks at {where} {span}", "Schedules and the system alone used the services."
    waited = sum(one.waited_s for one in found.shares)
    mean = "" if first.wait_mean_s is None else f", which waited {_wait(first.wait_mean_s)} in the mean"
    evidence = f"{_many(first.tasks, 'task')} {span}{mean}."
    if not others:
        return "steady", f"All of it is {first.who}’s: there is nobody else to wait for", evidence
    used, part = percent(first.served), percent(first.waited)
    if waited < 1:
        return "steady", f"Nobody waited; {first.who} has {used} of the service time", evidence
    if first.behind:
        mine = next((share for who, share in first.behind if who == first.who), 0.0)
        evidence += f" While they waited, tasks of the same user had {percent(mine)} of the slots."
    level: Level = "busy" if max(first.served, first.waited) >= 0.5 else "steady"
    return level, f"{first.who} has {part} of all waiting and {used} of the service time", evidence


def _span(found: Lens, period: str) -> str:
    if found.shortened:
        return f"since {_moment(found.from_at)} (the newest tasks of a longer period)"
    if period == "all":
        return "in the whole log"
    return f"in the last {NAMES[period].removeprefix('Last ')}" + (" of the log" if found.archive else "")


def _moment(instant: int) -> str:
    return times.moment(instant, frame.engine().now)


# --- the card of one user


def _card(sight: Sight, business: str, site: str | None, period: str, one: Share) -> None:
    """Tell of one user behind whom he waited, for what, and what pausing him would have given back."""
    st.html(f"<div class='d-h2'><b>{escape(one.who)}</b><span>{escape(_kind(one))}</span></div>")
    facts = {"Waited for": _causes(one), "Slots had meanwhile": _behind(one)}
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in facts.items() if said)
    st.html(f"<table class='d-facts d-instants'>{rows}</table>")
    if not one.user:
        said = "No user is behind these. Pause a schedule on its page, or a task type here."
        st.html(f"<div class='d-evidence'>{said}</div>")
        return
    told = sight.given(business, site, period, one.who)
    since = _moment(told.from_at)
    st.html(f"<div class='d-h3'>If {escape(one.who)} had been paused since {escape(since)}, an estimate"
            f"{helps.mark('holds.fairness-method', 'how this is estimated')}</div>")  # fmt: skip
    if not told.enough:
        st.html(f"<div class='d-evidence'>Only {_many(told.others, 'task')} of others came: too few to tell.</div>")
        return
    st.html(_estimate(told))
    st.html(f"<div class='d-evidence'>{escape(_given(told))}</div>")


def _kind(one: Share) -> str:
    return {SCHEDULE: "runs of all schedules", SYSTEM_OWNER: "what nobody asked for"}.get(
        one.who, _many(one.tasks, "task")
    )


def _causes(one: Share) -> str:
    parts = sorted(one.causes.items(), key=lambda part: -part[1])
    return ", ".join(f"{WAITED_FOR[cause]} {_wait(spent)}" for cause, spent in parts)


def _behind(one: Share) -> str:
    told = [("others elsewhere" if who is None else "own tasks" if who == one.who else who, part)
            for who, part in one.behind]  # fmt: skip
    named = [f"{who} {percent(part)}" for who, part in told[:MOST]]
    rest = sum(part for _, part in told[MOST:])
    return ", ".join([*named, *([f"{_many(len(told) - MOST, 'other')} {percent(rest)}"] if rest else [])])


def _estimate(told: Given) -> str:
    """Lay the others' waits side by side: measured, replayed, and replayed without him."""
    heads = "".join(f"<th class='n'>{name}</th>" for name in ("measured", "replayed", "without"))

    def line(label: str, of: str) -> str:
        cells = "".join(f"<td class='n'>{_wait(getattr(each, of))}</td>"
                        for each in (told.measured, told.before, told.after))  # fmt: skip
        return f"<tr><td>{label}</td>{cells}</tr>"

    return (f"<table class='tb'><tr><th>Waits of {_many(told.others, 'task')} of others</th>{heads}</tr>"
            f"{line('Mean', 'mean_s')}{line('p95', 'p95_s')}{line('All together', 'total_s')}</table>")  # fmt: skip


def _given(told: Given) -> str:
    """Say what it gives back, and how far that can be trusted."""
    back = told.before.mean_s - told.after.mean_s
    part = back / told.before.mean_s if told.before.mean_s else 0.0
    if abs(back) < 0.5:
        said = "Pausing would have given the others nothing back: they did not wait for these tasks."
    else:
        said = (f"Pausing would have given the others back {_wait(abs(back))} of a mean wait of "
                f"{_wait(told.before.mean_s)}, {percent(part)}.")  # fmt: skip
    off = told.off
    if off is None:
        return said
    far = " That is far off: take it as a hint." if abs(off) > FAR_OFF else ""
    side = "over" if off > 0 else "under"
    return f"{said} The replay itself is {abs(off) * 100:.1f}\u202f% {side} the measured mean.{far}"


# --- everybody


def _table(found: Lens, business: str, key: str, may: bool, well: bool) -> None:
    asked = st.query_params.get("sort", "-served")
    column, desc = asked.removeprefix("-"), asked.startswith("-")
    if column not in _BY:
        column, desc = "served", True
    people = sorted(found.shares, key=_BY[column], reverse=desc)
    rows = [_row(one, found, may and well) for one in people[:ROWS]]
    columns = [one for one in COLUMNS if not (found.archive and one["id"] in ONLY_NOW) and (may or one["id"] != "do")]
    answer = grid.grid(rows, columns, key=key, label="Fairness", sort={"id": column, "desc": desc},
                       view=repr((key, asked)), picks=False, stale=not well)  # fmt: skip
    if answer.sort:
        frame.turn_to({"sort": "-" * answer.sort["desc"] + answer.sort["id"]})
    if answer.action:
        name = answer.action["id"]
        if any(one.user and one.who == name for one in people):
            asking.later(partial(pausedialog.ask, business, "user", [name]))
        presses.settle()  # he is gone
    more = f" The {len(people) - ROWS:,} with the least are left out." if len(people) > ROWS else ""
    until = times.moment(found.until_at, found.from_at)
    st.html(f"<div class='d-foot'>{_moment(found.from_at)} to {until}, "
            f"{escape(times.zone().key)}; added up anew now and then, the less often the longer that takes.{more}"
            "</div>")  # fmt: skip


def _row(one: Share, found: Lens, may: bool) -> grid.Row:
    used, part = percent(one.served), percent(one.waited)
    causes = _causes(one)
    off = "" if may else "No answer yet"
    do = [{"act": "pause", "t": "Pause…", "off": off}] if one.user else []
    return {
        "id": one.who, "label": one.who,
        "who": {"t": one.who, "h": f"?who={one.who}"},
        "served": {"p": one.served, "t": used, "k": "run", "s": f"{used} of the service time"},
        "served_s": _wait(one.served_s),
        "waited": {"p": one.waited, "t": part, "s": causes and f"for {causes}"},
        "waited_s": {"t": _wait(one.waited_s), "s": causes},
        "tasks": one.tasks,
        "mean": None if one.wait_mean_s is None else _wait(one.wait_mean_s),
        "p95": None if one.wait_p95_s is None else _wait(one.wait_p95_s),
        "waiting": {"t": one.waiting, "s": f"{percent(one.waiting_share)} of all that wait now"},
        "next": in_line(one),
        "do": do,
        "told": f"used {used}, waited {part}" + ("" if found.archive else f"; {_line(one)}"),
        "short": f"{_many(one.tasks, 'task')}",
    }


def in_line(one: Share) -> Any:
    ahead = one.ahead
    if ahead is None:
        return {"t": "held" if one.waiting else "nothing waits"}
    if not ahead.tasks:
        return {"t": "next in line"}
    behind = f"behind {ahead.tasks:,}"
    if ahead.whose is None:
        return {"t": behind, "s": "of others elsewhere"}
    return {"t": behind, "s": f"{f'{ahead.of:,} ' if ahead.of < ahead.tasks else ''}of {ahead.whose}"}


def _line(one: Share) -> str:
    told: Mapping[str, str] = in_line(one)
    if "s" not in told:
        return told["t"]
    return f"next task {told['t']}{',' if told['s'][0].isdigit() else ''} {told['s']}"


def percent(share: float) -> str:
    """Word a share in whole per cent; what is less than one, or more than 99 but not all, says so."""
    if 0 < share < 0.01:
        return "<\u202f1\u202f%"
    if 0.99 < share < 1 - 1e-9:
        return ">\u202f99\u202f%"
    return f"{share * 100:.0f}\u202f%"


def _wait(seconds: float) -> str:
    """Word a wait; from some days on by whole hours, which add up."""
    return times.wait(round(seconds * SECOND)) if seconds < LONG else f"{seconds / 3600:,.0f} h"


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"
