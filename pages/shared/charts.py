"""Charts: frames in, figures out. The only module that knows Plotly; colours are our tokens, baked in per theme."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from engine.timetable import Load

from .look import TOKENS

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FONT = "Source Sans, sans-serif"
_QUIET = {"displayModeBar": False}


def theme() -> str:
    """Tell which theme the viewer has."""
    return st.context.theme.type or "light"


def show(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a figure; `alt` says what it shows to whoever can't see it."""
    st.plotly_chart(figure, key=key, theme=None, config=_QUIET, alt=alt)


@lru_cache(maxsize=64)
def busy_hours(load: Load, theme: str) -> go.Figure:
    """Draw the minutes of work that schedules bring in each hour of the week."""
    busy = [round(seconds / 60) for seconds in load.hours["busy_s"]]
    count = list(load.hours["fires"])
    rows = [busy[24 * day : 24 * day + 24] for day in range(7)]
    said = [
        [
            f"to {hour + 1:02}:00<br>{busy[24 * day + hour]:,} busy min, {_many(count[24 * day + hour], 'fire')}"
            for hour in range(24)
        ]
        for day in range(7)
    ]
    figure = _heatmap(
        rows, DAYS, said, theme, title=f"Hour of the day, {load.zone}", hover="%{y} %{x:02d}:00 %{customdata}"
    )
    figure.update_xaxes(tickvals=list(range(0, 24, 3)), ticktext=[f"{hour:02}" for hour in range(0, 24, 3)])
    return figure


@lru_cache(maxsize=64)
def stacked_minutes(load: Load, theme: str) -> go.Figure:
    """Draw how many schedules fire at most in each minute of the day, so that the minutes of the hour line up."""
    rows = [[0] * 60 for _ in range(24)]
    said = [["no fires"] * 60 for _ in range(24)]
    for hour, minute, stacked, names in load.clock.iter_rows():
        rows[hour][minute] = stacked
        more = f"<br>and {stacked - len(names):,} more" if stacked > len(names) else ""
        named = "<br>".join(_escaped(name) for name in names)
        said[hour][minute] = f"{_many(stacked, 'schedule')}<br>{named}{more}"
    hours = [f"{hour:02}" for hour in range(24)]
    title, hover = f"Minute of the hour, {load.zone}", "%{y}:%{x:02d}<br>%{customdata}"
    figure = _heatmap(rows, hours, said, theme, title=title, hover=hover, gap=0.5)
    figure.update_xaxes(tickvals=list(range(0, 60, 5)), ticktext=[f":{minute:02}" for minute in range(0, 60, 5)])
    figure.update_yaxes(tickvals=[f"{hour:02}" for hour in range(0, 24, 3)], title=_title("Hour of the day", theme))
    return figure


def _heatmap(
    rows: Sequence[Sequence[int]], names: Sequence[str], said: Any, theme: str, *, title: str, hover: str,
    gap: float = 1,
) -> go.Figure:  # fmt: skip
    top = max(max(row) for row in rows)
    scale = [[0, _token("line2", theme)], [0.001, _mixed("bg", "run", 0.22, theme)], [1, _token("run", theme)]]
    figure = go.Figure(
        go.Heatmap(
            z=rows, x=list(range(len(rows[0]))), y=names, customdata=said, hovertemplate=f"{hover}<extra></extra>",
            xgap=gap, ygap=gap,
            zmin=0, zmax=max(top, 1), colorscale=scale,
            colorbar={
                "thickness": 8, "outlinewidth": 0, "len": 1, "lenmode": "fraction", "xpad": 8, "ypad": 0, "nticks": 4,
                "tickfont": {"color": _token("ink2", theme), "size": 12},
                "tickvals": sorted({0, top // 2, top}) if top else [0],
            },
        )
    )  # fmt: skip
    figure.update_layout(
        template=go.layout.Template(), paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", height=236,
        dragmode=False, uirevision="fixed",
        margin={"l": 44, "r": 8, "t": 8, "b": 40}, showlegend=False,
        font={"family": FONT, "size": 12, "color": _token("ink2", theme)},
        hoverlabel={
            "bgcolor": _token("panel", theme), "bordercolor": _token("line", theme), "align": "left",
            "font": {"family": FONT, "color": _token("ink", theme), "size": 12},
        },
    )  # fmt: skip
    plain = {"showgrid": False, "zeroline": False, "fixedrange": True, "tickangle": 0}
    line = _token("line", theme)
    figure.update_xaxes(**plain, ticks="outside", ticklen=3, tickcolor=line, title=_title(title, theme))
    figure.update_yaxes(**plain, autorange="reversed", type="category", ticks="")
    return figure


def _title(text: str, theme: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12, "color": _token("ink2", theme)}, "standoff": 6}


def _token(name: str, theme: str) -> str:
    return TOKENS[name][theme == "dark"]


def _mixed(one: str, other: str, share: float, theme: str) -> str:
    """Mix two tokens: so much of the other."""
    pairs = zip(*(bytes.fromhex(_token(name, theme)[1:]) for name in (one, other)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _escaped(text: str) -> str:
    """Write a text so that a hover box shows it as it is: it knows some tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
