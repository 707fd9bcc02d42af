"""A table as a file to take away, made when somebody takes it.

The server knows large files again by samples of them, their type and their name: two of different people, or of
different minutes, could be one to it, and somebody would get the other. So each has a type of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

import polars as pl
import streamlit as st

from engine.tables import csv

MOST = 100_000  #: rows of a file


def unique_csv() -> str:
    """Make a media type for one CSV file."""
    return f"text/csv; export={token_hex(16)}"


def button(name: str, make: Callable[[], pl.DataFrame], *, key: str) -> None:
    """Offer a table as a file; it is made when somebody takes it."""
    st.download_button("Export CSV", lambda: csv(make()), file_name=f"{name}.csv", mime=unique_csv(), key=key,
                       width="content", on_click="ignore")  # fmt: skip
