"""Finding tasks: the filter bar of a page, with what it knows to complete, and the filter that counts."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import filters
from engine.catalogue import Counts, Place
from engine.errors import Invalid
from engine.filters import Filter
from engine.sight import Sight

from . import chips, filterbar, frame, tasklist, times
from .tasklist import Query

_FAULT = "filter fault"


def search(sight: Sight, place: Place, query: Query) -> Filter:
    """Let people say which tasks they want; return the filter that counts: the last that could be read."""
    zone = times.zone().key
    try:
        wanted, fault = filters.parse(query.text, zone), st.session_state.get(_FAULT)
    except Invalid as error:
        wanted, fault = filters.parse("", zone), _fault(error, query.text)
    typed = filterbar.filter_bar(query.text, keys(sight, place), key="filter bar", fault=fault)
    if typed is None:
        return wanted
    try:
        filters.parse(typed.text, zone)
    except Invalid as error:
        if not typed.draft:
            st.session_state[_FAULT] = _fault(error, typed.text)
            st.rerun(scope="fragment")
        return wanted
    st.session_state.pop(_FAULT, None)
    frame.address({"q": typed.text or None, **tasklist.RESET})
    st.rerun(scope="fragment")
    return wanted


def switches(sight: Sight, business: str, query: Query, counts: Counts) -> None:
    """Let people look at all sites, at system tasks and at hidden ones, of which it says how many there are."""
    system, hidden = counts.system.get(query.tab, 0), counts.hidden.get(query.tab, 0)
    offered = [
        ("all", "All sites", query.everywhere, len([b for b, _ in sight.places() if b == business]) > 1),
        ("system", f"{system:,} system {'task' if system == 1 else 'tasks'}", query.system, system > 0),
        ("hidden", f"{hidden:,} hidden", query.hidden, hidden > 0),
    ]
    shown = [(name, said, on) for name, said, on, useful in offered if useful or on]
    pressed = chips.chips({}, "", key="switches", label="Shown besides", switches=shown) if shown else ""
    if pressed:
        on = next(on for name, _, on in shown if name == pressed)
        frame.address({pressed: None if on else "shown", **tasklist.RESET})
        st.rerun(scope="fragment")


def sql(wanted: Filter, now: int, place: Place) -> None:
    """Show the query that finds the same."""
    with st.popover("SQL", key="sql"):
        st.html("<div class='d-evidence'>The same tasks by SQL, as of now:</div>")
        st.code(wanted.shown_sql(now, place.business, place.sites), language="sql", wrap_lines=True)


def _fault(error: Invalid, text: str) -> filterbar.Fault:
    return filterbar.Fault(str(error), text, getattr(error, "at", 0), getattr(error, "length", 1))


def keys(sight: Sight, place: Place) -> list[dict[str, Any]]:
    """List the keys of the language, with the values that this viewer may know."""
    names = sight.names(place)
    return [
        {
            "k": field.key, "help": field.help, "also": list(field.also),
            "values": [*field.values, *names.get(field.key, ()), *(("none", "any") if field.empty else ())],
            "hint": filters.how(field),
        }
        for field in filters.FIELDS
        if field.key != "business"
    ]  # fmt: skip
