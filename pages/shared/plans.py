"""A site's schedules as a table: narrowed down, sorted and cut into pages, each in the words of this page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from engine.clock import MINUTE, SECOND
from engine.ledger import number_of
from engine.lifecycle import KIND_LABEL, PAUSED, STATUS, TERMINAL, Outcome, Status, queue_word
from engine.messages import ScheduleSpec
from engine.pausing import window_at
from engine.snapshot import BlackoutLook, HoldLook
from engine.timetable import MISS_DAYS, MISSED, Planned, Timetable

from . import addresses, chips, frame, grid, helps, times

ROWS = 50  #: on a page
LONGEST_SEARCH = 200
CHIPS = ("All", PAUSED, "With misses", "Last one failed")
#: word: its glyph and colour
GLYPHS = {
    "Queued": ("ring", "queued"), "Running": ("play", "run"), PAUSED: ("bars", "hold"), "Stopping": ("square", "stop"),
    "Finished": ("tick", "done"), "Cancelled": ("block", "stop"), "Failed": ("cross", "fail"),
}  # fmt: skip
COLUMNS: list[grid.Row] = [
    {"id": "name", "label": "Name", "type": "link", "width": "1.25fr", "sort": "asc", "card": "lead"},
    {"id": "kind", "label": "Type", "type": "text", "width": "76px", "sort": "asc"},
    {"id": "target", "label": "Target, scope", "type": "two", "width": ".95fr", "sort": "asc"},
    {"id": "rule", "label": "Rule", "type": "text", "width": "1.4fr"},
    {"id": "next", "label": "Next fire", "type": "two", "width": "168px", "sort": "asc", "card": "end"},
    {"id": "owner", "label": "Owner", "type": "text", "width": ".95fr", "sort": "asc", "pale": True},
    {"id": "last", "label": "Last run", "type": "status", "width": "1.5fr", "sort": "desc", "card": "line"},
    {"id": "runs", "label": "Runs", "type": "bars", "width": "76px"},
    {"id": "missed", "label": "Missed", "type": "number", "width": "58px", "sort": "desc"},
    {"id": "state", "label": "State", "type": "status", "width": "92px", "sort": "desc"},
]
#: what is left of them beside the card
NARROW = ("name", "rule", "next", "last", "state")
_SORTED = tuple(column["id"] for column in COLUMNS if "sort" in column)

Over = Callable[[Planned], HoldLook | None]
Kept = Callable[[ScheduleSpec, int], tuple[str, int] | None]  #: by which window a fire is kept, and until when


@dataclass(frozen=True, slots=True)
class Query:
    """What a viewer asked for; the page's address keeps it."""

    chip: str = "All"
    column: str = "next"
    desc: bool = False
    text: str = ""
    page: int = 0

    @classmethod
    def of(cls, address: Mapping[str, str], text: str) -> Query:
        """Read it off an address; what is not known there counts as not said."""
        chip, sort = address.get("show", "All"), address.get("sort", "next")
        column = sort.removeprefix("-")
        if column not in _SORTED:
            column, sort = "next", "next"
        chip = chip if chip in CHIPS else "All"
        return cls(chip, column, sort.startswith("-"), text[:LONGEST_SEARCH], addresses.page(address))


def label(schedule_id: int) -> str:
    """Name a schedule as every screen does: Schedule #12, numbered per business."""
    return f"Schedule #{number_of(schedule_id):,}"


def pauses(over: Sequence[HoldLook]) -> Over:
    """Return a look-up of the hold on a schedule itself."""
    by_id = {int(hold.target): hold for hold in over if hold.target_kind == "schedule"}
    return lambda planned: by_id.get(planned.schedule.schedule_id)


def windows(over: Sequence[HoldLook], blackouts: Sequence[BlackoutLook]) -> Kept:
    """Return a look-up of the blackout window that a fire of a schedule falls into."""
    return lambda spec, at: window_at(at, spec.kind, over, blackouts)


def search(made: Timetable, paused: Over) -> tuple[Query, list[Planned]]:
    """Let people narrow the schedules down; return what they asked for and all that is left, in order."""
    text = st.text_input("Search", key="find", bind="query-params", label_visibility="collapsed",
                         placeholder="Search name, type, target, scope, rule, owner …")  # fmt: skip
    query = Query.of(st.query_params, text or "")
    found = [one for one in made.planned if _matches(one, query.text)]
    kept = {
        "All": found,
        PAUSED: [one for one in found if paused(one)],
        "With misses": [one for one in found if one.missed],
        "Last one failed": [one for one in found if _failed(one)],
    }
    counts = {chip: len(kept[chip]) for chip in CHIPS}
    pressed = chips.chips(counts, query.chip, key="chips", label="Schedules")
    if pressed:
        frame.turn_to({"show": None if pressed == "All" else pressed, "page": None})
    return query, sorted(kept[query.chip], key=_order(query.column, paused), reverse=query.desc)


def _matches(one: Planned, text: str) -> bool:
    spec, wanted = one.schedule.spec, text.strip().casefold()
    told = (spec.name, KIND_LABEL[spec.kind], spec.target, spec.scope, one.prose, spec.rule.cron, spec.owner,
            label(one.schedule.schedule_id))  # fmt: skip
    return not wanted or any(wanted in part.casefold() for part in told if part)


def _failed(one: Planned) -> bool:
    ended = next((run for run in one.runs if STATUS[run["status"]] in TERMINAL), None)
    return ended is not None and ended["outcome"] == Outcome.FAILED


def _order(column: str, paused: Over) -> Callable[[Planned], Any]:
    def key(one: Planned) -> Any:
        spec = one.schedule.spec
        told: Any = {
            "name": spec.name.casefold(), "kind": KIND_LABEL[spec.kind],
            "target": (spec.target or spec.scope or "").casefold(), "next": one.next_at or 0,
            "owner": spec.owner.casefold(), "last": one.runs[0]["created_at"] if one.runs else 0,
            "missed": sum(one.missed.values()), "state": paused(one) is not None,
        }[column]  # fmt: skip
        return told, spec.name.casefold(), one.schedule.schedule_id

    return key


def table(
    query: Query, found: Sequence[Planned], paused: Over, kept: Kept, now: int, zone: str, *, key: str, narrow: bool,
    stale: bool,
) -> grid.Answer:
    """Draw the page of them that was asked for."""
    page = min(query.page, max(len(found) - 1, 0) // ROWS)
    shown = found[page * ROWS : (page + 1) * ROWS]
    there, here = times.zone_of(zone), times.zone()
    rows = [_row(one, paused(one), kept, now, there, here) for one in shown]
    if not rows:
        st.html("<div class='d-evidence'>No schedule matches. Clear the search, or choose All.</div>")
    columns = [column for column in COLUMNS if not narrow or column["id"] in NARROW]
    return grid.grid(
        rows, columns, key=key, label="Schedules", sort={"id": query.column, "desc": query.desc},
        view=repr((query, page)), picks=False, stale=stale,
    )  # fmt: skip


def pager(query: Query, total: int, zone: str) -> None:
    """Say what is shown, and offer to turn the page where there are several."""
    last_page = max(total - 1, 0) // ROWS
    page = min(query.page, last_page)
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        many = f"{total:,} {'schedule' if total == 1 else 'schedules'}"
        if last_page:
            many = f"{page * ROWS + 1:,}–{min((page + 1) * ROWS, total):,} of {many}"
        here = times.zone().key
        zones = f"Next fires are {zone}{', paler beside them ' + here if here != zone else ''}; other times are {here}."
        more = helps.mark("schedules.zones", "zones and misses")
        st.html(f"<div class='d-foot'>{many}. {zones} Misses are of the last {MISS_DAYS} days.{more}</div>")
        if last_page:
            for name, to in (("Previous", page), ("Next", page + 2)):
                off = not 1 <= to <= last_page + 1
                st.button(name, key=f"page.{name}", disabled=off, width="content",
                          on_click=lambda to=to: frame.address({"page": str(to) if to > 1 else None}))  # fmt: skip


def _row(one: Planned, hold: HoldLook | None, kept: Kept, now: int, there: ZoneInfo, here: ZoneInfo) -> grid.Row:
    spec, schedule_id = one.schedule.spec, one.schedule.schedule_id
    next_fire: Any = "–"
    if one.next_at is not None:
        told = short(one.next_at, times.day(now, there), there)
        yours = _near(one.next_at, times.day(one.next_at, there), here)
        next_fire = {"t": told, "s": "" if times.alike(one.next_at, there, here) else yours}
        if window := kept(spec, one.next_at):
            until = _near(window[1], times.day(now, here), here)
            next_fire |= {"g": "bars", "s": f"held by “{window[0]}” until {until}"}
    return {
        "id": str(schedule_id),
        "label": label(schedule_id),
        "name": {"t": spec.name, "h": f"?schedule={schedule_id}", "g": "bars" if hold else None},
        "kind": KIND_LABEL[spec.kind],
        "target": {"t": spec.target or spec.scope or "", "s": spec.scope if spec.target else ""},
        "rule": f"{one.prose} ({spec.rule.zone})" if spec.rule.cron and spec.rule.zone != there.key else one.prose,
        "next": next_fire,
        "owner": spec.owner,
        "last": _last(one, now),
        "runs": bars(one.runs),
        "missed": sum(one.missed.values()),
        "state": {**state(hold, now), "s": ""},
    }


def short(instant: int, today: date, there: ZoneInfo) -> str:
    """Word an instant to come in a table: to the minute, with the day where it is another."""
    at = datetime.fromtimestamp(instant / SECOND, there)
    clock = f"{at:%H:%M}{f':{at:%S}' if at.second else ''}"
    return clock if at.date() == today else f"{at:%a %d %b} {clock}"


def _near(instant: int, beside: date, here: ZoneInfo) -> str:
    """Word an instant as `short` does, where a clock that is hours apart stands beside it: the weekday is enough."""
    at = datetime.fromtimestamp(instant / SECOND, here)
    told = short(instant, at.date(), here)
    return told if at.date() == beside else f"{at:%a} {told}"


def state(hold: HoldLook | None, now: int) -> grid.Row:
    """Tell whether a schedule fires, or until when a hold keeps it."""
    if hold is None:
        return {"t": "On", "g": "ring", "k": "queued", "s": ""}
    until = "until resumed" if hold.until_at is None else f"until {times.moment(hold.until_at, now)}"
    return {"t": PAUSED, "g": "bars", "k": "hold", "s": until}


def _last(one: Planned, now: int) -> grid.Row:
    if not one.runs:
        return {"t": "Never ran", "g": "ring", "k": "queued", "s": ""}
    run = one.runs[0]
    said = word(run)
    drawn, token = GLYPHS[_plain(said)]
    here = times.zone()
    ended = run["finished_at"] or run["created_at"]
    at = short(ended - ended % MINUTE, times.day(now, here), here)
    return {"t": said, "g": drawn, "k": token, "s": at}


def glyph(run: Mapping[str, Any]) -> str:
    """Name the glyph of how a run stands or ended."""
    return GLYPHS[_plain(word(run))][0]


def _plain(said: str) -> str:
    return said.partition(" (")[0].replace("Finished with errors", "Finished")


def word(run: Mapping[str, Any]) -> str:
    """Say how a run stands or ended, as queue and logs do."""
    return queue_word(STATUS[run["status"]], True, run["held_by"] is not None, run["outcome"], run["errors"] or 0)


def bars(runs: Sequence[Mapping[str, Any]]) -> grid.Row:
    """Draw the last runs, oldest first: how long each took, and what came of it."""
    highest = max((run["took_s"] or 0.0 for run in runs), default=0.0) or 1.0
    kinds = [_kind(run) for run in reversed(runs)]
    drawn = [[(run["took_s"] or 0.0) / highest, kind] for run, kind in zip(reversed(runs), kinds, strict=True)]
    names = {"done": "finished", "fail": "failed", "stop": "cancelled", "run": "not ended"}
    told = ", ".join(f"{n:,} {name}" for kind, name in names.items() if (n := kinds.count(kind)))
    longest = f"; the longest took {times.wait(int(highest * SECOND))}" if runs else ""
    return {"v": drawn, "t": f"Last {len(runs):,}: {told}{longest}" if runs else "No runs yet"}


def _kind(run: Mapping[str, Any]) -> str:
    status = STATUS[run["status"]]
    ends = {Status.PROCESSED: "done", Status.CANCELED: "fail", Status.STOPPED: "stop"}
    return ends.get(status, "run")


def missed(counts: Mapping[str, int]) -> str:
    """Say how many fires had no run of their own, and why."""
    return ", ".join(f"{n:,}: {MISSED.get(why, why)}" for why, n in counts.items()) or "none"
