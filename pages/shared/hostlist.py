"""A site's hosts as a table, by role: how each stands, what it does, how much it was used, what waits because of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from engine.clock import DAY
from engine.hosts import DRAINING, LOST, OFFLINE, ONLINE, SUSPECT, WORDS, Host, worst
from engine.roles import Right
from engine.sight import Hosts

from . import frame, grid, hosts, times
from .verdict import Level

GROUPS = {
    "explorer": "Explorers", "audit_service": "Audit hosts", "hosted_zone": "Hosted zones", "processor": "Processors",
}  # fmt: skip
#: how a host stands: its glyph and colour
GLYPHS = {
    ONLINE: ("tick", "queued"), DRAINING: ("bars", "hold"), SUSPECT: ("square", "stop"), OFFLINE: ("block", "fail"),
    LOST: ("cross", "fail"),
}  # fmt: skip
UNNAMED = "processors"  #: the row of those that are counted only
MOST_LINKS, MOST_LETTERS = 2, 26  #: of tasks in a cell
FOOT = ("Used, 24 h: of the slot-seconds that a host offered while it was online or draining. Done: stages that "
        "it ended itself, per hour of that.")  # fmt: skip

COLUMNS: list[grid.Row] = [
    {"id": "host", "label": "Host", "type": "link", "width": "1.15fr", "card": "lead"},
    {"id": "state", "label": "State", "type": "status", "width": "1.2fr", "card": "line"},
    {"id": "slots", "label": "Slots used", "type": "slots", "width": "1.3fr", "card": "end"},
    {"id": "tasks", "label": "At work on", "type": "links", "width": "1.75fr"},
    {"id": "heard", "label": "Heard", "type": "text", "width": ".7fr", "pale": True},
    {"id": "use", "label": "Used, 24 h", "type": "spark", "width": "1.2fr"},
    {"id": "done", "label": "Done per hour", "type": "number", "width": ".75fr"},
    {"id": "waits", "label": "Waits for it", "type": "number", "width": ".85fr"},
]
BESIDE_A_CARD = ("host", "state", "slots", "use", "waits")


def table(
    found: Hosts, at_work: dict[str, list[dict[str, Any]]], business: str, now: int, *, key: str, narrow: bool,
    stale: bool,
) -> grid.Answer:
    """Draw it. Processors that are not to be named are one row: so many, and how many of them are online."""

    def row(host: Host) -> grid.Row:
        name = host.look.name
        return {
            "id": name, "label": name, "host": {"t": name, "h": f"?{urlencode({'service': name})}"},
            "state": _state(host.word, "" if host.word == ONLINE else times.age(now - host.look.since)),
            "slots": {"used": host.look.used, "slots": host.look.slots, "free": free(host)},
            "tasks": _links(at_work.get(name, []), business),
            "heard": "not yet" if host.heard_at is None else f"{times.age(now - host.heard_at)} ago",
            "use": _spark(host.day.use, host.day.share),
            "done": _rate(host.day.an_hour),
            "waits": _waits(host),
        }  # fmt: skip

    rows: list[grid.Row] = []
    for role, heading in GROUPS.items():
        of_role = [host for host in (*found.own, *found.processors) if host.look.role == role]
        if not of_role:
            continue
        counted = role == "processor" and not found.named
        new = [_counted(found, now)] if counted else [row(host) for host in of_role]
        new[0]["group"] = {"t": heading, "s": _heading(of_role, business)}
        rows += new
    columns = [c for c in COLUMNS if not narrow or c["id"] in BESIDE_A_CARD]
    return grid.grid(rows, columns, key=key, label="Services", sort={"id": "", "desc": False}, picks=False, stale=stale)


def _heading(of_role: Sequence[Host], business: str) -> str:
    online = [host.look for host in of_role if host.word == ONLINE]
    slots, used = sum(look.slots for look in online), sum(look.used for look in online)
    where = f" of {business}, for all its sites" if of_role[0].look.site is None else ""
    full = f", {used:,} of {slots:,} slots used" if slots else ""
    return f"{len(online):,} of {len(of_role):,} online{where}{full}"


def _counted(found: Hosts, now: int) -> grid.Row:
    processors = found.processors
    n, online = len(processors), sum(host.word == ONLINE for host in processors)
    last = max((host.word for host in processors), key=WORDS.index)
    heard = [host.heard_at for host in processors if host.heard_at is not None]
    name = f"{n:,} {'processor' if n == 1 else 'processors'}"
    return {
        "id": UNNAMED, "label": name, "host": {"t": name},
        "state": _state(last, "" if online == n else f"{n - online:,} of {n:,} not online"),
        "slots": {"used": sum(h.look.used for h in processors), "slots": sum(h.look.slots for h in processors),
                  "free": sum(map(free, processors))},
        "tasks": {"links": [], "s": "not shown to site roles"},
        "heard": f"{times.age(now - min(heard))} ago" if len(heard) == n else "not all yet",
        "use": _spark(found.processing.use, found.processing.share),
        "done": _rate(found.processing.an_hour),
        "waits": _waits(max(processors, key=lambda host: sum(host.waits.values()))),
    }  # fmt: skip


def free(host: Host) -> int:
    """Count the slots that the next tasks can have: none of a host that takes nothing."""
    return max(host.look.slots - host.look.used, 0) if host.word == ONLINE else 0


def _state(word: str, why: str) -> grid.Row:
    glyph, token = GLYPHS[word]
    return {"t": word.capitalize(), "g": glyph, "k": token, "s": why}


def _links(tasks: Sequence[dict[str, Any]], business: str) -> grid.Row:
    fit = len(tasks) <= MOST_LINKS and sum(len(task["task"]) for task in tasks) <= MOST_LETTERS
    first = tasks if fit else tasks[:1]
    links = [{"t": task["task"], "h": frame.link(business, task["site"], task=str(task["task_id"]))} for task in first]
    more = len(tasks) - len(links)
    return {"links": links, "s": f"and {more:,} more" if more else "" if links else "nothing"}


def _waits(host: Host) -> str:
    if len(host.waits) > 1:
        return hosts.tasks(sum(host.waits.values()))
    if host.waits:
        return hosts.waiting(host.waits)
    return "–" if host.word == ONLINE else "0"  # of one that takes tasks it is a slot that is waited for


def _spark(use: Sequence[float | None], share: float | None) -> grid.Row | None:
    if not any(part is not None for part in use):
        return None
    hours = [[part for part in use[at : at + 4] if part is not None] for at in range(0, len(use), 4)]
    return {"line": [round(sum(parts) / len(parts) * 100) if parts else None for parts in hours], "t": percent(share)}


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.0f}\u202f%"


def _rate(an_hour: float | None) -> str | None:
    return None if an_hour is None else rate(an_hour)


def rate(an_hour: float) -> str:
    """Word how many an hour: one decimal below a hundred."""
    return f"{an_hour:,.0f}" if an_hour >= 100 else f"{an_hour:.1f}"


def shown(found: Hosts, site: str) -> str:
    """Say in the head row how many of a site's hosts are online, and how full they are."""
    online = [host.look for host in found.own if host.word == ONLINE]
    n, slots, used = len(found.own), sum(look.slots for look in online), sum(look.used for look in online)
    said = f"{len(online):,} of {n:,} {'host' if n == 1 else 'hosts'} online at {site}"
    return f"{said}, {used:,} of {slots:,} slots used"


def told(found: Hosts, now: int, why: str) -> tuple[Level, str, str]:
    """Say what is most amiss with the hosts: how grave, the headline, the evidence. `why` the worst one stands so."""
    host = worst([*found.own, *found.processors])
    if host is None:
        busy = sum(h.look.used >= h.look.slots for h in found.own)
        full = f" {busy:,} of {len(found.own):,} {'has' if busy == 1 else 'have'} every slot in use." if busy else ""
        return "steady", "Steady: every host is online", f"Each takes work whenever it has a free slot.{full}"
    since = times.moment(host.look.since, now)
    if now - host.look.since >= DAY:
        since = f"{since} ({times.age(now - host.look.since)})"
    stands = {
        DRAINING: f"is draining since {since}", SUSPECT: f"is suspect since {since}",
        OFFLINE: f"is offline since {since}", LOST: f"has been silent since {since}",
    }[host.word]  # fmt: skip
    n = sum(host.waits.values())
    away = sum(h.word != ONLINE for h in (*found.own, *found.processors)) - 1
    evidence = [why, hosts.advice(host)]
    if host.oldest_at is not None:
        evidence.insert(1, f"The oldest has waited {times.wait(now - host.oldest_at)}.")
    if away:
        evidence.append(f"{away:,} other {'host is' if away == 1 else 'hosts are'} not online either.")
    waits = f"{hosts.wait(host.waits)} for it" if n else "nothing waits because of it"
    name = host.look.name
    if not found.named and host.look.site is None:  # "a processor", as the first word of a sentence
        name = name.capitalize()
    level: Level = "alarm" if n or host.word in (LOST, SUSPECT) else "busy"
    return level, f"{name} {stands}: {waits}", " ".join(part for part in evidence if part)


def who_and_why(changes: Sequence[dict[str, Any]]) -> str:
    """Say who made a host stand as it does, and why, by what befell it, the latest first."""
    last = next((change for change in changes if change["event"] != "slots"), None)
    if last is None or last["actor"] == "engine":
        return ""
    reason = f": “{last['reason']}”" if last["reason"] else ", without a reason"
    return f"By {last['actor']}{reason}."


def empty(site: str, business: str) -> str:
    """Say what to do where there is no host yet."""
    able = frame.allowed(Right.SERVE, business, site)
    how = ("Add one above: scans need an explorer, audits an audit host, connectors and imports a hosted zone; a "
           "processor takes what they collect." if able else "A site admin can add one here.")  # fmt: skip
    return (
        f"<div class='d-finding'>{escape(site)} has no host yet: what is submitted here waits.</div>"
        f"<div class='d-evidence'>{escape(how)}</div>"
    )
