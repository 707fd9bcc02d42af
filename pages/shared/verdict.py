"""The verdict: the line that opens a page. It names the cause and its evidence and ends in a button."""

from collections.abc import Sequence
from html import escape
from typing import Literal

import streamlit as st

from . import helps, presses
from .plain import plain

Level = Literal["steady", "busy", "alarm", "unknown", "stale"]


def verdict(level: Level, headline: str, evidence: str, actions: Sequence[str] = (), topic: str = "") -> int | None:
    """Draw it; return which action was just pressed. What stands before a colon in the headline names the trouble.

    A `topic` of Help tells more of what it says.
    """
    trouble, colon, cause = headline.partition(": ")
    said = f"<em>{escape(trouble)}:</em> {escape(cause)}" if colon else f"<em>{escape(headline)}</em>"
    more = helps.mark(topic, "what this says") if topic else ""
    pressed = None
    with st.container(horizontal=True, vertical_alignment="center", key=f"verdict-{level}"):
        st.html(
            f"<div class='d-verdict' role='status'>{said}</div>"
            f"<div class='d-evidence'>{escape(evidence)}{more}</div>"
        )
        for n, label in enumerate(actions):
            rank = "secondary" if n else "primary"
            if presses.button(plain(label), key=f"offer.{label}", type=rank, width="content"):
                pressed = n
    return pressed
