"""Rows as text: aligned for a terminal, CSV that a spreadsheet reads as data, whatever the data says. Pure."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Sequence

import polars as pl

from .reports import FORMULA

LONGEST_CELL = 40  #: characters of a cell in an aligned table; the rest is cut off

PLAINLY = "plainly"  #: how an encoder deals with signs that it lacks, once this module is imported

_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": ".", "·": "-", "×": "x"})


def csv(frame: pl.DataFrame, header: bool = True) -> bytes:
    """Write a frame as CSV in UTF-8; what a spreadsheet would take for a formula gets an apostrophe in front."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    harmless = [
        pl.when(pl.any_horizontal([pl.col(name).str.starts_with(sign) for sign in FORMULA]))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    ]
    written = frame.with_columns(harmless)
    # Polars takes a lone carriage return for no end of a line, and leaves it unquoted; spreadsheets begin a row there.
    broken = any(frame[name].str.contains("\r", literal=True).any() for name in texts)
    return written.write_csv(
        datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ", include_header=header,
        quote_style="non_numeric" if broken else "necessary",
    ).encode()  # fmt: skip


def clean(text: str, longest: int = LONGEST_CELL) -> str:
    """Take from a text what a terminal would obey instead of showing it, and what is longer than a cell."""
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def widths(rows: Iterable[Sequence[str]]) -> list[int]:
    """Tell how wide each column must be for its cells."""
    return [max(map(_width, column)) for column in zip(*rows, strict=True)]


def aligned(row: Sequence[str], wide: Sequence[int]) -> str:
    """Write a row's cells, one below the other with those of other rows."""
    return "  ".join(cell + " " * (to - _width(cell)) for cell, to in zip(row, wide, strict=True)).rstrip()


def _width(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Let a terminal that lacks a sign have one that it has, for each."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(sign if sign.isascii() else "?" for sign in signs), error.end


codecs.register_error(PLAINLY, _plainly)
