"""The small question marks beside figures and titles: each leads to the fitting topic of Help, in a tab of its own."""

from html import escape
from urllib.parse import urlencode

import streamlit as st


def address(topic: str) -> str:
    """Write the address of a topic of Help ("services" or "services.states"), at the site that is chosen."""
    site = {"site": st.query_params["site"]} if "site" in st.query_params else {}
    return "/help?" + urlencode({"topic": topic, **site})


def mark(topic: str, about: str) -> str:
    """Make a mark, as HTML."""
    said = escape(f"Help on {about}", quote=True)
    return (
        f"<a class='d-help' href='{escape(address(topic), quote=True)}' target='_blank' title='{said}' "
        f"aria-label='{said}'></a>"
    )
