"""The link by which a table is taken away as a file, and which can be kept; `engine.exports` makes the file."""

from html import escape

import streamlit as st


def link(address: str, label: str = "Export CSV", about: str = "") -> None:
    """Draw a link to a file, as a button looks; `about` tells it from others of the label.

    It leads to a tab of its own, which is gone once the file comes, and else says why there is none: of a link with
    `download` a browser would tell only that it failed.
    """
    said = f" title='Take “{escape(about)}” along' aria-label='{escape(label)}: {escape(about)}'" if about else ""
    st.html(f"<a class='d-button' href='{escape(address)}' target='_blank'{said}>{escape(label)}</a>", width="content")
