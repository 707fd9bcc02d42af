"""Finding tasks: the filter bar of a page, with what it knows to complete, and the filter that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from engine import filters
from engine.errors import InvalidFilter
from engine.filters import Field, Filter, Language
from engine.living import Place
from engine.sight import Sight

from . import filterbar, times

_BAR, _FAULT = "filter bar", "filter fault"


Changes = Mapping[str, str | None]
"""Parameters of the address that somebody wants otherwise. A page gathers them all, and runs anew but once: else what
is pressed while something else is under way would be lost."""


def search(sight: Sight, place: Place, text: str, reset: Changes) -> Changes:
    """Let people say which tasks they want. What can't be read yet, or is wrong, changes nothing.

    `text` is the filter that counts; with another one, `reset` changes, too.
    """
    return ask(text, keys(sight, place), reset)


def ask(text: str, known: Sequence[Mapping[str, Any]], reset: Changes, language: Language | None = None) -> Changes:
    """Do the same for what another language asks for, with the keys that it is completed by."""
    if not (st.session_state.get(_BAR) or {}).get("asked"):
        st.session_state.pop(_FAULT, None)  # it was about a bar that is no longer there
    fault = st.session_state.get(_FAULT)
    if text and not read(text, language).text:
        fault = _fault_of(text, language)
    typed = filterbar.filter_bar(text, known, key=_BAR, fault=fault)
    if typed is None:
        return {}
    fault = _fault_of(typed.text, language)
    if fault is None:
        st.session_state.pop(_FAULT, None)
        return {"q": typed.text or None, **reset}
    if typed.draft:
        return {}
    st.session_state[_FAULT] = fault
    return {"q": text or None}


def sql(wanted: Filter, now: int, place: Place) -> None:
    """Show the query that finds the same."""
    with st.popover("SQL", key="sql"):
        st.html("<div class='d-evidence'>The same tasks by SQL, as of now:</div>")
        st.code(wanted.shown_sql(now, place.business, place.sites), language="sql", wrap_lines=True)


def read(text: str, language: Language | None = None) -> Filter:
    """Read a filter off an address; one that can't be read finds everything."""
    try:
        return filters.parse(text, times.zone().key, language)
    except InvalidFilter:
        return Filter(None, times.zone().key, language)


def _fault_of(text: str, language: Language | None) -> filterbar.Fault | None:
    """Say what is wrong with a text, if anything is."""
    try:
        filters.parse(text, times.zone().key, language)
    except InvalidFilter as error:
        return filterbar.Fault(str(error), text, error.at, error.length)
    return None


def keys(sight: Sight, place: Place) -> list[dict[str, Any]]:
    """List the keys of the language, with the values that this viewer may know."""
    return completed([field for field in filters.FIELDS if field.key != "business"], sight.names(place))


def completed(fields: Iterable[Field], names: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Write fields of a language as the bar takes them, with names that complete their values."""
    return [
        {
            "k": field.key, "help": field.help, "also": list(field.also),
            "values": [*field.values, *names.get(field.key, ()), *(("none", "any") if field.empty else ())],
            "hint": filters.how(field),
        }
        for field in fields
    ]  # fmt: skip
