"""The key figures of a site's queue, each beside what is usual at this hour of the week."""

from typing import Any

from engine import usual
from engine.clock import SECOND
from engine.history import Recent
from engine.live import Listing
from engine.sight import Sight

from .kpi import Kpi
from .times import age, wait


def figures(sight: Sight, business: str, site: str, now: int) -> tuple[int, list[Kpi]]:
    """Count what is in flight, and work the figures out."""
    oldest = sight.listing(business, site, words=["Queued"], sort="queued_at", descending=False, size=1)
    recent, bands = sight.recent(business, site), sight.usual(business, site)
    queued = oldest.counts["Queued"]
    in_flight = sum(oldest.counts.values())
    return in_flight, [
        _queued(queued, recent, bands),
        _at_work(sight, business, site, recent, bands),
        _oldest(oldest, now, recent, bands),
        _p95(recent, bands),
        _drains(queued, recent, bands),
    ]


def _queued(queued: int, recent: Recent, bands: dict[str, float | None]) -> Kpi:
    band = _band(bands, "queued")
    return Kpi("Queued", f"{queued:,}", "", _says(band), recent.series["queued"].to_list(), band, _above(queued, band))


def _at_work(sight: Sight, business: str, site: str, recent: Recent, bands: dict[str, float | None]) -> Kpi:
    services = sight.services(business, site)
    slots = sum(s.slots for s in services if s.state == "online")
    used = sum(s.used for s in services if s.state == "online")
    away = [s for s in services if s.state != "online" or s.suspect]
    if away:
        lost = sum(s.slots for s in away)
        note = f"{lost:,} slots lost with {away[0].name if len(away) == 1 else f'{len(away):,} hosts'}"
    else:
        note = f"{used:,} of {slots:,} slots here, {used / slots * 100:.0f}\u202f% busy" if slots else "no host online"
    numbers = sight.numbers(business, site)
    running = numbers.running - numbers.system_running  # as its line and band, and as all that is counted here
    return Kpi("At work", f"{running:,}", "", note, recent.series["running"].to_list(), _band(bands, "running"))


def _oldest(oldest: Listing, now: int, recent: Recent, bands: dict[str, float | None]) -> Kpi:
    first = next(iter(oldest.rows.to_dicts()), None)
    line = [waited or 0.0 for waited in recent.series["oldest_s"].to_list()]
    band = _band(bands, "oldest_s")
    if first is None:
        return Kpi("Oldest wait", None, "", "nothing waits", line, band)
    now_s = (now - first["queued_at"]) / SECOND
    value, unit = parted(now_s)
    return Kpi("Oldest wait", value, unit, _wait_says(band) or first["task"], line, band, _above(now_s, band))


def _p95(recent: Recent, bands: dict[str, float | None]) -> Kpi:
    line = recent.series["wait_s"].to_list()
    band = _band(bands, "wait_s")
    now_s = line[-1] if line else None
    value, unit = parted(now_s)
    note = "nothing began in the last hour" if now_s is None else _wait_says(band)
    return Kpi("Wait, p95 of last hour", value, unit, note, line, band, _above(now_s, band))


def _drains(queued: int, recent: Recent, bands: dict[str, float | None]) -> Kpi:
    drain = usual.drain(queued, recent.arrived, recent.departed, recent.over_s)
    an_hour = round((recent.departed - recent.arrived) * 3600 / recent.over_s) if recent.over_s else 0
    if drain.word == "about" and drain.seconds is not None:
        value, note = "about " + age(int(drain.seconds * SECOND)), f"shrinks by {an_hour:,} an hour"
    elif drain.word == "does not":
        value = "does not"
        note = f"grows by {-an_hour:,} an hour at this pace" if an_hour else "as many come as leave"
    elif drain.word == "empty":
        value, note = "now", "nothing to drain"
    else:
        value, note = "unknown", drain.reason
    return Kpi("Drains in", value, "", note, out=drain.word == "does not" and _above(queued, _band(bands, "queued")))


def unknown() -> list[Kpi]:
    """List the figures of a site of which nothing is measured: an archive."""
    return [
        Kpi(label, None) for label in ("Queued", "At work", "Oldest wait", "Wait, p95 of last hour", "Drains in")
    ]


def _band(bands: dict[str, float | None], name: str) -> tuple[float, float] | None:
    low, high = bands[f"{name}_low"], bands[f"{name}_high"]
    return None if low is None or high is None else (low, high)


def _above(value: float | None, usual: tuple[float, float] | None) -> bool:
    return value is not None and usual is not None and value > usual[1]


def _says(usual: tuple[float, float] | None) -> str:
    return "" if usual is None else f"usual {usual[0]:,.0f}–{usual[1]:,.0f}"


def _wait_says(usual: tuple[float, float] | None) -> str:
    if usual is None:
        return ""
    low, high = (wait(int(seconds * SECOND)) for seconds in usual)
    number, _, unit = low.rpartition(" ")
    return f"usual {number}–{high}" if high.endswith(f" {unit}") else f"usual {low} – {high}"


def parted(seconds: Any) -> tuple[str | None, str]:
    """Part a wait from its unit, which is set small."""
    if seconds is None:
        return None, ""
    said = wait(int(seconds * SECOND))
    value, _, unit = said.rpartition(" ")
    return (value, {"min": "min:s"}.get(unit, unit)) if unit in ("s", "min") else (said, "")
