"""A table as a file to take away: CSV that a spreadsheet reads as data, whatever the data says."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

MOST = 100_000  #: rows of a file
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv(frame: pl.DataFrame) -> bytes:
    """Write a frame as CSV in UTF-8; what a spreadsheet would take for a formula gets an apostrophe in front."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    harmless = [
        pl.when(pl.any_horizontal([pl.col(name).str.starts_with(sign) for sign in _FORMULA]))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    ]
    return frame.with_columns(harmless).write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ").encode()


def button(name: str, make: Callable[[], pl.DataFrame], *, key: str) -> None:
    """Offer a table as a file; it is made when somebody takes it."""
    st.download_button("Export CSV", lambda: csv(make()), file_name=f"{name}.csv", mime="text/csv", key=key,
                       width="content", on_click="ignore")  # fmt: skip
