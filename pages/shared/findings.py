"""What the health checks say of a site, worked out once for all sessions that look at it."""

from dataclasses import dataclass

import polars as pl
import streamlit as st

from engine import health, history
from engine.clock import SECOND
from engine.health import Look, Signal
from engine.runtime import Engine

from .kpi import Kpi
from .times import age, wait

EVERY_S = 8  #: seconds that a look serves everybody
FEW = 60  #: minutes without which nothing is usual

_OFFERS = {
    "pile_up": {"Show the longest waits": {"status": "Queued", "sort": "start"}},
    "steady": {"Show the longest waits": {"status": "Queued", "sort": "start"}},
    "slow_widgets": {"Show system tasks": {"system": "shown"}},
    "old_hold": {"Show paused tasks": {"status": "Paused"}},
}


@dataclass(frozen=True, slots=True)
class Findings:
    """A look at a site, and what to say of it."""

    look: Look
    first: Signal | None

    @property
    def level(self) -> str:
        """Grade what is said first, for the verdict line."""
        if self.first is None or not self.first.known:
            return "unknown"
        if self.first.name in health.ALARMS:
            return "alarm"
        return "steady" if self.first.holds else "busy"

    @property
    def headline(self) -> str:
        return self.first.headline if self.first else "There is nothing to judge by yet"

    @property
    def evidence(self) -> str:
        """Say why, and what to do about it."""
        return " ".join([*self.first.evidence[:3], self.first.action]).strip() if self.first else ""

    @property
    def offers(self) -> dict[str, dict[str, str]]:
        """Name the buttons that take people to what it is about: what each changes in the page's address."""
        if self.first is None or self.level in ("steady", "unknown"):
            return {}
        if self.first.name == "stuck":
            worst = self.first.facts["tasks"][0]
            return {f"Open {worst['label']}": {"task": str(worst["task_id"])}}
        return _OFFERS.get(self.first.name, {})


@st.cache_resource(ttl=EVERY_S, max_entries=200, show_spinner=False)
def _look(_engine: Engine, business: str, site: str) -> Look:
    return history.look(_engine.store, _engine.snapshot, _engine.now, business=business, site=site)


@st.cache_resource(ttl=EVERY_S, max_entries=500, show_spinner=False)
def findings(_engine: Engine, business: str, site: str, zone: str) -> Findings:
    """Judge a site, in words of the zone; at most every few seconds, whoever asks."""
    look = _look(_engine, business, site)
    signals = health.signals(look, health.Limits.of(_engine.settings), zone)
    return Findings(look, health.verdict([s for s in signals if s.site in (site, None)]))


def kpis(found: Findings | None, queued: int, running: int, slots: int) -> list[Kpi]:
    """Work out the figures of a site's queue, beside what was usual in the last day."""
    if found is None:
        unknown = [Kpi(label, None) for label in ("Oldest wait", "Left in 15 min", "Drains in")]
        return [Kpi("Queued", f"{queued:,}"), Kpi("Running", f"{running:,}"), *unknown]
    look = found.look
    site = look.sites["site"].to_list()
    depth = look.depth.filter(pl.col("site").is_in(site)).sort("at")
    depths, oldest = depth["queued"].to_list(), depth["oldest_s"].to_list()
    came, left = (int(look.flow.filter(pl.col("site").is_in(site))[c].sum()) for c in ("arrived", "departed"))
    usual = _usual([d for d in depths if d is not None])
    usual_wait = _usual([waited or 0.0 for waited in oldest])
    now_wait = oldest[-1] if oldest else None
    value, unit = _parted(now_wait)
    drains, of = _drains(queued, came, left)
    return [
        Kpi("Queued", f"{queued:,}", "", _says(usual, "{:.0f}"), depths[-FEW:], usual, _above(queued, usual)),
        Kpi("Running", f"{running:,}", f"of {slots:,} slots" if slots else "",
            f"{slots - running:,} free" if slots > running else "none free" if slots else "no service online"),
        Kpi("Oldest wait", value, unit,
            "nothing waits" if now_wait is None else _says_wait(usual_wait),
            line=[waited or 0.0 for waited in oldest[-FEW:]], usual=usual_wait, out=_above(now_wait, usual_wait)),
        Kpi("Left in 15 min", f"{left:,}", note=f"{came:,} came"),
        Kpi("Drains in", drains, note=of, out=drains == "does not" and _above(queued, usual)),
    ]  # fmt: skip


def _usual(values: list[float]) -> tuple[float, float] | None:
    if len(values) < FEW:
        return None
    series = pl.Series(values, dtype=pl.Float64)
    return series.quantile(0.1) or 0.0, series.quantile(0.9) or 0.0


def _above(value: float | None, usual: tuple[float, float] | None) -> bool:
    return value is not None and usual is not None and value > usual[1]


def _says(usual: tuple[float, float] | None, form: str) -> str:
    return "" if usual is None else f"usual {form.format(usual[0])}–{form.format(usual[1])}"


def _says_wait(usual: tuple[float, float] | None) -> str:
    return "" if usual is None else f"usual {wait(int(usual[0] * SECOND))} – {wait(int(usual[1] * SECOND))}"


def _parted(seconds: float | None) -> tuple[str | None, str]:
    """Part a wait from its unit, which is set small."""
    if seconds is None:
        return None, ""
    said = wait(int(seconds * SECOND))
    value, _, unit = said.rpartition(" ")
    return (value, {"min": "min:s"}.get(unit, unit)) if unit in ("s", "min") else (said, "")


def _drains(queued: int, came: int, left: int) -> tuple[str, str]:
    if queued == 0:
        return "now", "nothing to drain"
    if left <= came:
        more = (came - left) * 4
        return "does not", f"grows by {more:,} an hour at this pace" if more else "as many come as leave"
    return "about " + age(queued * 900 * SECOND // (left - came)), f"shrinks by {(left - came) * 4:,} an hour"
