"""Columns: the ledger's rows as Arrow columns, the way DuckDB takes them in, and back again.

What goes in comes out: every value of a row is read back as it was, instants and durations in whole microseconds,
details as the same JSON; only half a surrogate pair, which is no text, becomes a question mark. Plain columns (int64,
string, bool, double) come first: the chain is made of their bytes. Stored columns are the same buffers under the names
of the stored types, so that nothing is copied. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from .ledger import ROW_TYPES, json_text
from .schema import TYPES

_ARROW = {"BOOLEAN": pa.bool_(), "DOUBLE": pa.float64()}


def plain_schema(table: str) -> pa.Schema:
    """Name the plain columns of a table: int64, string, bool, double."""
    plain = {"VARCHAR": pa.string(), "JSON": pa.string()} | _ARROW
    return pa.schema([(name, plain.get(kind, pa.int64())) for name, kind in TYPES[table].items()])


def columns_of(block: pa.Table) -> dict[str, pa.Array]:
    """Take a table apart, each column in one piece."""
    return {name: column.combine_chunks() for name, column in zip(block.column_names, block.columns, strict=True)}


def plain_columns(table: str, rows: Sequence[Any]) -> dict[str, pa.Array]:
    """Turn rows into plain columns: int64, string, bool, double. Details become JSON text."""
    columns = zip(*rows, strict=True)
    return {name: _plain(kind, column) for (name, kind), column in zip(TYPES[table].items(), columns, strict=True)}


def _plain(kind: str, column: Sequence[Any]) -> pa.Array:
    if kind == "JSON":
        return _text([None if value is None else json_text(value) for value in column])
    if kind == "VARCHAR":
        return _text(column)
    if kind in _ARROW:
        return pa.array(column, _ARROW[kind])
    return pl.Series(column, dtype=pl.Int64).to_arrow()  # no copy, and in half the time that Arrow takes for it


def _text(column: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(column, pa.string())
    except UnicodeEncodeError:
        # Half a surrogate pair is no text that can be stored; it must not block the ledger for ever.
        kept = [None if v is None else v.encode("utf-8", "replace").decode() for v in column]
        return pa.array(kept, pa.string())


def stored_columns(table: str, plain: dict[str, pa.Array], batch: int) -> pa.Table:
    """Dress plain columns as the stored types, without copying, and add the batch."""
    types = TYPES[table]
    dressed: dict[str, pa.Array] = {}
    for name, array in plain.items():
        kind = types[name]
        if kind == "TIMESTAMP":
            array = pa.Array.from_buffers(pa.timestamp("us"), len(array), array.buffers(), array.null_count)
        elif kind == "DECIMAL(18,6)":
            array = pa.Array.from_buffers(pa.decimal64(18, 6), len(array), array.buffers(), array.null_count)
        elif kind == "JSON":
            # Marked as JSON, so that DuckDB does not parse every text again to check it.
            array = pa.ExtensionArray.from_storage(pa.json_(), array)
        dressed[name] = array
        if name == "event_id" and table == "task_event":
            dressed["batch"] = _batch_column(batch, len(array))
    if "batch" not in dressed:
        dressed = {"batch": _batch_column(batch, len(next(iter(plain.values())))), **dressed}
    return pa.table(dressed)


def _batch_column(batch: int, n: int) -> pa.Array:
    return pa.array(np.full(n, batch, dtype=np.int64))


def plain_select(table: str) -> str:
    """Write the select list that gives a stored table's columns back as plain ones."""
    parts = []
    for name, kind in TYPES[table].items():
        expression = {
            "TIMESTAMP": f"epoch_us({name})",
            "DECIMAL(18,6)": f"({name}::decimal(38, 6) * 1000000)::bigint",
            "JSON": f"{name}::varchar",
        }.get(kind, name)
        parts.append(f"{expression} as {name}")
    return ", ".join(parts)


def ledger_rows(table: str, columns: Sequence[list[Any]]) -> list[Any]:
    """Turn plain columns, in the order of their row type, back into the ledger's rows."""
    values = [
        [None if text is None else json.loads(text) for text in column] if kind == "JSON" else column
        for column, kind in zip(columns, TYPES[table].values(), strict=True)
    ]
    return list(map(ROW_TYPES[table]._make, zip(*values, strict=True)))
