"""Finding tasks: the filter bar of a page, with what it knows to complete, and the filter that counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from engine import filters
from engine.catalogue import Counts, Place
from engine.errors import InvalidFilter
from engine.filters import Filter
from engine.sight import Sight

from . import chips, filterbar, tasklist, times
from .tasklist import Query

_FAULT = "filter fault"


Changes = Mapping[str, str | None]
"""Parameters of the address that somebody wants otherwise. A page gathers them all, and runs anew but once: else what
is pressed while something else is under way would be lost."""


def search(sight: Sight, place: Place, query: Query) -> Changes:
    """Let people say which tasks they want. What can't be read yet, or is wrong, changes nothing."""
    zone, fault = times.zone().key, st.session_state.get(_FAULT)
    if query.text and not read(query).text:
        fault = _fault_of(query.text, zone)
    typed = filterbar.filter_bar(query.text, keys(sight, place), key="filter bar", fault=fault)
    if typed is None:
        return {}
    fault = _fault_of(typed.text, zone)
    if fault is None:
        st.session_state.pop(_FAULT, None)
        return {"q": typed.text or None, **tasklist.RESET}
    if typed.draft:
        return {}
    st.session_state[_FAULT] = fault
    return {"q": query.text or None}


def switches(sight: Sight, business: str, query: Query, counts: Counts) -> Changes:
    """Let people look at all sites, at system tasks and at hidden ones, of which it says how many there are."""
    system, hidden = counts.system.get(query.tab, 0), counts.hidden.get(query.tab, 0)
    offered = [
        ("all", "All sites", query.everywhere, len([b for b, _ in sight.places() if b == business]) > 1),
        ("system", f"{system:,} system {'task' if system == 1 else 'tasks'}", query.system, system > 0),
        ("hidden", f"{hidden:,} hidden", query.hidden, hidden > 0),
    ]
    shown = [(name, said, on) for name, said, on, useful in offered if useful or on]
    pressed = chips.chips({}, "", key="switches", label="Shown besides", switches=shown) if shown else ""
    on = {name: on for name, _, on in shown}
    return {pressed: None if on[pressed] else "shown", **tasklist.RESET} if pressed else {}


def sql(wanted: Filter, now: int, place: Place) -> None:
    """Show the query that finds the same."""
    with st.popover("SQL", key="sql"):
        st.html("<div class='d-evidence'>The same tasks by SQL, as of now:</div>")
        st.code(wanted.shown_sql(now, place.business, place.sites), language="sql", wrap_lines=True)


def read(query: Query) -> Filter:
    """Read the filter off an address; one that can't be read finds everything."""
    try:
        return filters.parse(query.text, times.zone().key)
    except InvalidFilter:
        return Filter(zone=times.zone().key)


def _fault_of(text: str, zone: str) -> filterbar.Fault | None:
    """Say what is wrong with a text, if anything is."""
    try:
        filters.parse(text, zone)
    except InvalidFilter as error:
        return filterbar.Fault(str(error), text, error.at, error.length)
    return None


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
