"""What the verdict offers to do: the remedy of each health signal, for whoever may, and how each is carried out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.health import ALARMS
from engine.lifecycle import PAUSED
from engine.roles import Right
from engine.watch import Judged

from . import asking, cancel, frame, hosts, stagger
from .kpi import Kpi
from .verdict import Level

MOST = 3  #: offered at a time


@dataclass(frozen=True, slots=True)
class Remedy:
    """A button of the verdict: its label, and what pressing it does."""

    label: str
    carry_out: Callable[[], None]


#: what Help has on each signal
TOPICS = {
    "steady": "troubleshooting.steady", "pile_up": "troubleshooting.pile-up", "stuck": "troubleshooting.stuck",
    "slow_widgets": "troubleshooting.slow-widgets", "old_hold": "troubleshooting.old-hold",
}  # fmt: skip


def told(judged: Judged, figures: Sequence[Kpi]) -> tuple[Level, str, str]:
    """Put what is said first into the verdict's words: how grave it is, the headline, the evidence.

    Steady as the day was, a queue is not called so while a figure beside it is out of usual.
    """
    first = judged.first
    if first is None:
        return "unknown", "There is nothing to judge by yet", ""
    calm: Level = "steady" if first.holds else "busy"
    level: Level = "unknown" if not first.known else "alarm" if first.name in ALARMS else calm
    if level == "steady" and (over := [kpi for kpi in figures if kpi.out and "usual" in kpi.note]):
        units = [kpi.unit.partition(":")[0] for kpi in over]
        said = ", ".join(f"{kpi.label.lower()} {f'{kpi.value} {unit}'.strip()} ({kpi.note})"
                         for kpi, unit in zip(over[:2], units, strict=False))  # fmt: skip
        was = first.headline.removeprefix("Steady: ")
        return "busy", f"More than usual: {said}", f"{was[:1].upper()}{was[1:]}. Nothing to do unless it lasts."
    return level, first.headline, " ".join([*first.evidence[:MOST], first.action]).strip()


def topic(judged: Judged) -> str:
    """Name the topic of Help that tells what to do about what is said first."""
    return TOPICS.get(judged.first.name, "") if judged.first is not None else ""


def remedies(judged: Judged, business: str, site: str, grid: str) -> list[Remedy]:
    """List what can be done about that which is said first; acting on tasks is done over a page's grid."""
    first = judged.first
    if first is None or (first.name == "steady" and "away" not in first.facts):
        return []
    found = {
        "steady": _pile_up, "pile_up": _pile_up, "stuck": _stuck, "slow_widgets": _slow_widgets, "old_hold": _old_hold,
    }[first.name]  # fmt: skip
    return list(found(first.facts, business, site, grid))[:MOST]


def _pile_up(facts: dict[str, Any], business: str, site: str, _: str) -> Iterator[Remedy]:
    here = {service.name for service in frame.sight().services(business, site)}
    for host in facts["away"][:2]:
        if host["name"] in here:
            yield Remedy(f"Open {host['name']}", _opens(hosts.show, business, site, host["name"]))
    stacked = (facts["stacked"] or {}).get("schedule_ids", [])
    if len(stacked) > 1 and frame.allowed(Right.SCHEDULE, business, site):
        yield Remedy("Stagger schedules", _opens(stagger.ask, business, site, tuple(stacked)))
    role = facts["role"]
    if role is not None and frame.allowed(Right.SERVE, business, _home(role, site)):
        yield Remedy("Add a host", _opens(hosts.add, business, site, role))
    yield Remedy("Show the longest waits", _show(status="Queued", sort="start"))


def _stuck(facts: dict[str, Any], business: str, site: str, grid: str) -> Iterator[Remedy]:
    worst = facts["tasks"][0]
    if frame.allowed(Right.OPERATE, business, site):
        ids = tuple(task["task_id"] for task in facts["tasks"])
        label = f"Cancel {worst['label']}" if len(ids) == 1 else f"Cancel {len(ids):,} stuck tasks"
        yield Remedy(label, _opens(cancel.ask, ids, grid))
    yield Remedy(f"Open {worst['label']}", _show(task=str(worst["task_id"])))


def _slow_widgets(_: dict[str, Any], business: str, site: str, __: str) -> Iterator[Remedy]:
    yield Remedy("Show system tasks", _show(system="shown", status=None))
    if frame.allowed(Right.SERVE, business, None):
        yield Remedy("Add a processor", _opens(hosts.add, business, site, "processor"))


def _old_hold(_: dict[str, Any], __: str, ___: str, ____: str) -> Iterator[Remedy]:
    yield Remedy("Show paused tasks", _show(status=PAUSED, system="shown"))


def _home(role: str, site: str) -> str | None:
    """Tell where a host of a role belongs: processors to the business as a whole."""
    return None if role == "processor" else site


def _show(**address: str | None) -> Callable[[], None]:
    return lambda: frame.address({"page": None, **address})


def _opens(dialog: Callable[..., None], *about: Any) -> Callable[[], None]:
    """Open a dialog, outside of the refresh in which it is asked for."""
    return partial(asking.later, partial(dialog, *about))
