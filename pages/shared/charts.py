"""Every figure is drawn here, from plain values, in the tokens of the viewer's theme. No page knows the library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import streamlit as st

from engine.clock import SECOND
from engine.hosts import Day
from engine.rollups import QUARTER

from .look import TOKENS

WIDE = QUARTER // 1_000  #: milliseconds: an axis of time counts in them
CONFIG = {"displayModeBar": False, "responsive": True}


def show(figure: go.Figure, *, key: str) -> None:
    """Put a figure on the page; the same figure is not sent again."""
    st.plotly_chart(figure, theme=None, config=CONFIG, key=key)


def theme() -> str:
    """Name the viewer's theme."""
    return st.context.theme.type or "light"


def token(name: str, of: str) -> str:
    """Give a token's colour in a theme."""
    return TOKENS[name][of == "dark"]


def template(of: str) -> go.layout.Template:
    """Give what all figures of a theme share: type, grid, margins, hover; no legend, no title, nothing to drag."""
    axis: dict[str, Any] = {
        "zeroline": False, "showline": False, "automargin": False, "fixedrange": True,
        "tickfont": {"size": 12, "color": token("ink2", of)},
    }  # fmt: skip
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": False, "dragmode": False,
            "font": {"family": "Source Sans, sans-serif", "size": 12, "color": token("ink2", of)},
            "margin": {"l": 44, "r": 84, "t": 10, "b": 24}, "hovermode": "x unified",
            "hoverlabel": {"bgcolor": token("panel", of), "bordercolor": token("line", of),
                           "font": {"size": 12, "color": token("ink", of)}},
            "xaxis": {**axis, "showgrid": False, "ticks": "outside", "ticklen": 3, "tickcolor": token("line", of),
                      "nticks": 6, "tickangle": 0},
            "yaxis": {**axis, "gridcolor": token("line", of), "gridwidth": 1, "nticks": 5, "rangemode": "tozero"},
        }
    )  # fmt: skip


def times(instants: Sequence[int], zone: ZoneInfo) -> list[datetime]:
    """Write instants as clocks in a zone show them: the axis knows no zones."""
    return [datetime.fromtimestamp(at / SECOND, zone).replace(tzinfo=None) for at in instants]


@st.cache_resource(max_entries=64, ttl=120)
def day_of_a_host(at: tuple[int, ...], use: tuple[float | None, ...], done: tuple[int, ...], zone: str, of: str) -> Any:
    """Draw how much of a host was used and what it got done, quarter hour by quarter hour, one above the other."""
    there = times(at, ZoneInfo(zone))
    ended = [n if share is not None or n else None for n, share in zip(done, use, strict=True)]
    figure = go.Figure(layout={"template": template(of), "height": 176, "uirevision": "day"})
    # No filling: it would bridge the time in which the host was away.
    used = [None if share is None else share * 100 for share in use]
    end = [datetime.fromtimestamp((at[-1] + QUARTER) / SECOND, ZoneInfo(zone)).replace(tzinfo=None)] if at else []
    figure.add_scatter(
        x=[*there, *end], y=[*used, *used[-1:]], yaxis="y2", mode="lines",
        line={"width": 1.4, "color": token("ink", of), "shape": "hv"}, connectgaps=False,
        hovertemplate="%{y:.0f}\u202f% of its slots used<extra></extra>",
    )  # fmt: skip
    figure.add_bar(x=there, y=ended, marker={"color": token("ink3", of), "line": {"width": 0}}, offset=0,
                   width=0.8 * WIDE, hovertemplate="%{y} done<extra></extra>")  # fmt: skip
    figure.update_layout(
        margin={"l": 44, "r": 6, "t": 18, "b": 22},
        xaxis={"anchor": "y", "nticks": 5, "tickformat": "%H:%M", "hoverformat": "%a %H:%M"},
        yaxis={"domain": [0, 0.4], "nticks": 3, "tickformat": "d"},
        yaxis2={
            "domain": [0.56, 1], "range": [0, max([100.0, *(s * 100 for s in use if s is not None)])],
            "tickvals": [0, 50, 100], "ticktext": ["0", "50", "100\u202f%"], "gridcolor": token("line", of),
            "fixedrange": True, "zeroline": False, "tickfont": {"size": 12, "color": token("ink2", of)}, "anchor": "x",
        },
        annotations=[
            {"text": text, "xref": "paper", "yref": "paper", "x": 0, "y": y, "xanchor": "left", "yanchor": "bottom",
             "showarrow": False, "font": {"size": 12, "color": token("ink2", of)}, "yshift": 3}
            for text, y in (("slots used", 1), ("done per quarter of an hour", 0.4))
        ],
    )  # fmt: skip
    return figure


def day(found: Day, zone: str) -> go.Figure:
    """Draw a host's last 24 hours in a zone and the viewer's theme."""
    return day_of_a_host(tuple(found.at), tuple(found.use), tuple(found.done), zone, theme())
