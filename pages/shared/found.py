"""What a report found: its figures, and each of its tables with a way to take it along."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import streamlit as st

from engine import exports
from engine.ledger import Detail, ReportResult

from . import export, kpi, times
from .copylink import copy_link
from .kpi import Kpi

SHOWN = 100  #: rows of a table that the page draws; its CSV has all
NUMBERS = ("count", "share", "score")


def of(business: str, site: str | None) -> str:
    """Say what a result is of."""
    return site or f"all of {business}"


def found(result: ReportResult, site: str, now: int, back: Callable[[], None]) -> None:
    """Draw a result as it is seen at a site: when and for whom it was made, figures, tables, and the way back."""
    said, at = result.result, f"{times.moment(result.made_at, now)} {times.zone().key}"
    with st.container(horizontal=True, vertical_alignment="center", key="report-made"):
        st.html(
            f"<div class='d-finding'>{escape(result.name)} of {escape(of(result.business, result.site))}</div>"
            f"<div class='d-evidence'>Made {escape(at)}, {times.age(now - result.made_at)} ago, for "
            f"{escape(result.created_by)}, of {said['assets']:,} assets as they were then.</div>"
        )
        copy_link({"report": str(result.task_id)}, key="report-copy")
        st.button("All reports", key="all-reports", width="content", on_click=back)
    kpi.strip([_kpi(figure) for figure in said["figures"]], key="report-figures")
    for n, table in enumerate(said["tables"]):
        _table(result, site, table, n, now)


def _kpi(figure: Detail) -> Kpi:
    value = figure["value"]
    if value is None:
        return Kpi(figure["label"], None, note=figure["note"])
    number, _, unit = cell(value, figure["kind"]).partition("\u202f")
    return Kpi(figure["label"], number, unit, figure["note"])


def _table(result: ReportResult, site: str, table: Detail, n: int, now: int) -> None:
    rows, left = table["rows"], table["left_out"]
    shown, whole = rows[:SHOWN], len(rows) + left
    counted = f"{whole:,} {'row' if whole == 1 else 'rows'}"
    counted = f"The first {len(shown):,} of {counted}" if len(shown) < whole else counted
    more = f"; {'all' if not left else f'{len(rows):,}'} in the CSV" if len(shown) < len(rows) else ""
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"report-table-{n}"):
        note = f"{table['note'][:1].upper()}{table['note'][1:]}. " if table["note"] else ""
        st.html(f"<div class='d-h2'><b>{escape(table['title'])}</b><span>{escape(note)}{counted}{more}</span></div>")
        if rows:
            export.link(exports.of_table(site, result, n), "CSV", table["title"])
    if not rows:
        st.html("<div class='d-evidence'>None.</div>")
        return
    head = "".join(f"<th{_right(kind)}>{escape(label)}</th>" for label, kind in table["columns"])
    kinds = [kind for _, kind in table["columns"]]
    body = "".join(f"<tr>{_cells(row, kinds, now)}</tr>" for row in shown)
    st.html(
        f"<div class='d-scroll'><table class='tb'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any], kinds: Sequence[str], now: int) -> str:
    cells = [f"<td{_right(k)}>{escape(cell(v, k, now))}</td>" for v, k in zip(row, kinds, strict=True)]
    if len(cells) > 1 and kinds[-1] == "text":  # the one that may be long
        cells[-1] = cells[-1].replace("<td", "<td class='w'", 1)
    return "".join(cells)


def cell(value: Any, kind: str, now: int = 0) -> str:
    """Word one value of a result; what is not known is “–”."""
    if value is None:
        return "–"
    if kind == "count":
        return f"{value:,}"
    if kind == "share" and 0 < value < 0.005:
        return "under 1\u202f%"
    if kind == "share":
        return f"{value * 100:.0f}\u202f%"
    if kind == "score":
        return f"{value:.1f}"
    if kind == "instant":
        return times.moment(value, now)
    if kind == "yes":
        return "yes" if value else "no"
    return str(value)


def _right(kind: str) -> str:
    return " class='n'" if kind in NUMBERS else ""
