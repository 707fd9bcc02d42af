"""Finding tasks: the filter bar of a page, with what it knows to complete, and the filter that counts."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import filters
from engine.catalogue import Place
from engine.errors import Invalid
from engine.filters import Filter
from engine.sight import Sight

from . import filterbar, frame, tasklist, times
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
