"""Every figure is drawn here, from plain values, in the tokens of the viewer's theme. No page knows the library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import streamlit as st

from engine.clock import SECOND
from engine.hosts import Day
from engine.rollups import QUARTER
from engine.timetable import Load

from .look import TOKENS

WIDE = QUARTER // 1_000  #: milliseconds: an axis of time counts in them
CONFIG = {"displayModeBar": False, "responsive": True}


def show(figure: go.Figure, *, key: str, alt: str | None = None) -> None:
    """Put a figure on the page; the same figure is not sent again. `alt` says what it shows to who can't see it."""
    st.plotly_chart(figure, theme=None, config=CONFIG, key=key, alt=alt)


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


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@lru_cache(maxsize=64)
def busy_hours(load: Load, of: str) -> go.Figure:
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
        rows, DAYS, said, of, title=f"Hour of the day, {load.zone}", hover="%{y} %{x:02d}:00 %{customdata}"
    )
    figure.update_xaxes(tickvals=list(range(0, 24, 3)), ticktext=[f"{hour:02}" for hour in range(0, 24, 3)])
    return figure


@lru_cache(maxsize=64)
def stacked_minutes(load: Load, of: str) -> go.Figure:
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
    figure = _heatmap(rows, hours, said, of, title=title, hover=hover, gap=0.5)
    figure.update_xaxes(tickvals=list(range(0, 60, 5)), ticktext=[f":{minute:02}" for minute in range(0, 60, 5)])
    figure.update_yaxes(tickvals=[f"{hour:02}" for hour in range(0, 24, 3)], title=_title("Hour of the day", of))
    return figure


NAMED = 6  #: points of a chart of shares that bear their names


@lru_cache(maxsize=64)
def shares(points: tuple[tuple[str, float, float], ...], chosen: str, of: str) -> go.Figure:
    """Draw what everybody used against what he waited, each as a share of all, with the line of those who are even."""
    figure = go.Figure(layout={"template": template(of), "height": 260, "uirevision": "shares"})
    figure.add_scatter(x=[0, 100], y=[0, 100], mode="lines", line={"width": 1, "color": token("line", of)},
                       hoverinfo="skip")  # fmt: skip
    most = _apart(points, chosen)
    top = min(25 * (int(4 * max(0.2, *(share for _, *both in points for share in both))) + 1), 100)
    figure.add_scatter(
        x=[100 * used for _, used, _ in points], y=[100 * waited for _, _, waited in points], mode="markers+text",
        text=[_escaped(who) if who in most else "" for who, *_ in points],
        textposition=[f"middle {'left' if 100 * used > 0.6 * top else 'right'}" for _, used, _ in points],
        textfont={"size": 12, "color": token("ink", of)}, cliponaxis=False,
        marker={"size": 8, "line": {"width": 0},
                "color": [token("accent" if who == chosen else "ink3", of) for who, *_ in points]},
        customdata=[_escaped(who) for who, *_ in points],
        hovertemplate="%{customdata}<br>%{x:.1f}\u202f% of the service time<br>%{y:.1f}\u202f% of all waiting"
                      "<extra></extra>",
    )  # fmt: skip
    axis = {"range": [-0.02 * top, 1.03 * top], "tickvals": [top * n / 5 for n in range(6)], "tickformat": "d",
            "gridcolor": token("line", of), "showgrid": True}  # fmt: skip
    figure.update_layout(hovermode="closest", margin={"l": 58, "r": 12, "t": 10, "b": 42})
    figure.update_xaxes(**axis, title=_title("Share of the service time, %", of))
    figure.update_yaxes(**axis, title=_title("Share of all waiting, %", of))
    return figure


def _apart(points: tuple[tuple[str, float, float], ...], chosen: str) -> set[str]:
    """Choose whose names can stand beside their points: the greatest shares, as far as they leave each other room."""
    reach = max(0.05, *(share for _, *both in points for share in both))
    named: dict[str, tuple[float, float]] = {}
    for who, used, waited in sorted(points, key=lambda point: (point[0] != chosen, -max(point[1:]))):
        room = all(abs(waited - y) > 0.08 * reach or abs(used - x) > 0.35 * reach for x, y in named.values())
        if room and len(named) < NAMED:
            named[who] = used, waited
    return set(named)


def _heatmap(
    rows: Sequence[Sequence[int]], names: Sequence[str], said: Any, of: str, *, title: str, hover: str,
    gap: float = 1,
) -> go.Figure:  # fmt: skip
    top = max(max(row) for row in rows)
    scale = [[0, token("line2", of)], [0.001, _mixed("bg", "run", 0.22, of)], [1, token("run", of)]]
    figure = go.Figure(
        go.Heatmap(
            z=rows, x=list(range(len(rows[0]))), y=names, customdata=said, hovertemplate=f"{hover}<extra></extra>",
            xgap=gap, ygap=gap,
            zmin=0, zmax=max(top, 1), colorscale=scale,
            colorbar={
                "thickness": 8, "outlinewidth": 0, "len": 1, "lenmode": "fraction", "xpad": 8, "ypad": 0, "nticks": 4,
                "tickfont": {"color": token("ink2", of), "size": 12},
                "tickvals": sorted({0, top // 2, top}) if top else [0],
            },
        )
    )  # fmt: skip
    figure.update_layout(
        template=template(of), height=236, uirevision="load", hovermode="closest", hoverlabel={"align": "left"},
        margin={"l": 44, "r": 8, "t": 8, "b": 40},
    )  # fmt: skip
    plain = {"showgrid": False, "zeroline": False, "fixedrange": True, "tickangle": 0}
    line = token("line", of)
    figure.update_xaxes(**plain, ticks="outside", ticklen=3, tickcolor=line, title=_title(title, of))
    figure.update_yaxes(**plain, autorange="reversed", type="category", ticks="", tickvals=list(names))
    return figure


def _title(text: str, of: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12, "color": token("ink2", of)}, "standoff": 6}


def _mixed(one: str, other: str, share: float, of: str) -> str:
    """Mix two tokens: so much of the other."""
    pairs = zip(*(bytes.fromhex(token(name, of)[1:]) for name in (one, other)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _escaped(text: str) -> str:
    """Write a text so that a hover box shows it as it is: it knows some tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
