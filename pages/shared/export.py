"""A table as a file to take away, made when somebody takes it: of what he may see by then."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from engine.sight import Sight
from engine.tables import csv

from . import frame

MOST = 100_000  #: rows of a file


def button(name: str, make: Callable[[Sight], pl.DataFrame], *, key: str) -> None:
    """Offer a table as a file; it is made when somebody takes it, by a thread that has no session of its own."""
    see = frame.sight_later()
    st.download_button("Export CSV", lambda: csv(make(see())), file_name=f"{name}.csv", mime="text/csv", key=key,
                       width="content", on_click="ignore")  # fmt: skip
