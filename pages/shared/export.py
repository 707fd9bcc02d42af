"""A table as a file to take away, made when somebody takes it."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from engine.tables import csv

MOST = 100_000  #: rows of a file


def button(name: str, make: Callable[[], pl.DataFrame], *, key: str) -> None:
    """Offer a table as a file; it is made when somebody takes it."""
    st.download_button("Export CSV", lambda: csv(make()), file_name=f"{name}.csv", mime="text/csv", key=key,
                       width="content", on_click="ignore")  # fmt: skip
