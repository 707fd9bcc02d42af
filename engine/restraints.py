"""Holds, ramps, caps and blackout windows, as the command line asks for them: listed, placed, changed, lifted.

The same counts and the same commands as the page Async tasks. Whoever asks can read the data folder, so that nothing is
hidden from him. What is listed is of the store as it stands, whether a console runs on it or nobody does; what changes
something needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from . import messages as m
from . import pausing, standing, tables
from .byfilter import Desk
from .clock import SECOND
from .errors import Invalid, NotFound, Refused
from .ledger import number_of
from .lifecycle import KIND_LABEL, Kind
from .pausing import Pauses
from .ranges import read_moment, span_text
from .recurrence import Rule
from .snapshot import BlackoutLook, HoldLook

_TARGETS = {"user": "user", "kind": "type", "schedule": "schedule", "site": "site"}
LISTED = 5  #: fires under a window, and holds that stay; the rest is counted


@dataclass(frozen=True, slots=True)
class Came:
    """What came of it, in words and as data; `refused` where nothing was changed that should have been."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    refused: bool = False


# --- holds and ramps


def hold(desk: Desk, do: str, **given: Any) -> Came:
    """List holds and ramps; place holds; lift some, gradually or at once; let go what ramps keep back."""
    does: dict[str, Callable[..., Came]] = {"list": _list_holds, "place": _place, "lift": _lift, "let-go": _let_go}
    return does[do](desk, **given)


def _list_holds(desk: Desk, business: str | None, zone: str) -> Came:
    pauses = _pauses(desk, _known(desk, business))
    kept, ramps, there = pauses.kept(), pauses.ramps, ZoneInfo(zone)
    holds = [("ID", "HOLD", "WHERE", f"SINCE ({zone})", "UNTIL", "BY", "KEEPS", "REASON")]
    for one in kept:
        h = one.hold
        until = _instant(h.until_at, there) if h.until_at is not None else "lifted"
        since = _instant(h.from_at, there) + ("" if h.in_force else " (to come)")
        holds.append((str(h.hold_id), _on(h), _where(h.business, h.site), since, until, h.actor, f"{one.waiting:,}",
                      h.reason or ""))  # fmt: skip
    lines = _table(holds) if kept else ["No hold is in force or to come."]
    if ramps:
        rows = [("ID", "RAMP OVER", f"SINCE ({zone})", "A MINUTE", "LEFT", "BY", "REASON")]
        for ramp in ramps:
            over = ", ".join(_named(kind, target) for _, _, kind, target in ramp.over)
            rows.append((str(ramp.throttle_id), over, _instant(ramp.begun_at, there), f"{ramp.rate:,}",
                         f"{ramp.left:,}", ramp.actor, ramp.reason or ""))  # fmt: skip
        lines += ["", *_table(rows)]
    told = [asdict(one.hold) | {"keeps": one.waiting, "keeps_alone": one.alone} for one in kept]
    return Came("\n".join(lines), {"holds": told, "ramps": [asdict(ramp) for ramp in ramps]})


def _place(
    desk: Desk, business: str | None, everywhere: bool, users: Sequence[str], types: Sequence[str], site: str | None,
    lasts: int | None, until: int | None, suspend: bool, reason: str, dry_run: bool,
) -> Came:  # fmt: skip
    of = None if everywhere else _one(desk, business)
    until_at = until if lasts is None else desk.now + lasts
    targets = [m.HoldTarget("user", name) for name in users] + [m.HoldTarget("kind", name) for name in types]
    reach = _pauses(desk, of).reach(targets, until_at)
    lines, data = [], []
    for one in reach.each:
        goes_on = f"{_tasks(one.running)} that run go on" if one.running != 1 else "1 task that runs goes on"
        if suspend and one.collecting:
            goes_on += f", {one.collecting:,} of them asked to suspend"
        fires = f"; {one.fires:,} runs of schedules fall due meanwhile" if one.fires else ""
        named = _named(one.target.kind, one.target.name)
        lines.append(f"{named}: keeps {_tasks(one.waiting)} waiting; {goes_on}{fires}")
        data.append({k: v for k, v in asdict(one).items() if k != "target"} | asdict(one.target))
    lines += _strangers(desk, of, users)
    if dry_run:
        return Came("\n".join([*_as_of(site, lines), "Nothing was changed."]), {"targets": data})
    outcome = _do(desk, m.PlaceHolds(of, targets, reason, site, None, until_at, suspend))
    ids = ", ".join(map(str, outcome.changed))
    return Came("\n".join([*_as_of(site, lines), f"Placed: {ids}"]), {"targets": data, "holds": [*outcome.changed]})


def _strangers(desk: Desk, business: str | None, names: Sequence[str]) -> list[str]:
    """Say of whom a business knows nothing: he may come yet, or the name is a slip."""
    if business is None or not names:
        return []
    known = [*(one.name for one in _pauses(desk, business).users()), *standing.people(desk.store, business)]
    strange = set(names) - set(known)
    strange -= set(standing.had_tasks(desk.store, business, sorted(strange))) if strange else set()
    what = f"account or task in {business} so far of"
    return [str(NotFound.named(what, name, known)) for name in names if name in strange]


def _as_of(site: str | None, lines: list[str]) -> list[str]:
    return lines if site is None else [f"Only at {site}; these are of all sites:", *lines]


def _lift(
    desk: Desk, ids: Sequence[int], business: str | None, users: Sequence[str], types: Sequence[str], every: bool,
    rate: int | None, reason: str | None, dry_run: bool,
) -> Came:  # fmt: skip
    pauses = _pauses(desk, _one(desk, business) if every else _known(desk, business))
    there = pauses.holds
    meant = [h for h in there if h.hold_id in ids]
    for kind, names in (("user", users), ("kind", types)):
        for name in names:
            of_it = [h for h in there if (h.target_kind, h.target) == (kind, name)]
            if not of_it:
                raise NotFound.named("hold on", _named(kind, name), [_on(h) for h in there])
            meant += of_it
    if every:
        meant += [h for h in there if h.business is not None and h.target_kind in ("user", "kind")]
    stay = [h for h in there if every and h not in meant]
    chosen = list(dict.fromkeys([*ids, *(h.hold_id for h in meant)]))
    if not chosen:
        return Came("\n".join(["There is no hold to lift.", *_stays(stay)]), {"changed": [], "skipped": []})
    found = pauses.release(chosen)
    drain = found.drain if rate is None else found.paced(rate)
    about = ""
    if drain.seconds is not None:
        about = f", {drain.word} {span_text(round(drain.seconds) * SECOND)} until all that waits has begun"
    pace = "at once" if rate is None else f"{rate:,} a minute"
    says = f"{_tasks(found.tasks)} may start, {pace}{about}." if found.tasks else "It lets no task go."
    says += "".join(f"\n{_on(h)} ({_where(h.business, h.site)}) still keeps {n:,}." for h, n in found.staying)
    data: dict[str, Any] = {"holds": chosen, "tasks": found.tasks, "seconds": drain.seconds, "rate": rate}
    if dry_run:
        named = [f"Would lift {_on(h)}, {_where(h.business, h.site)} ({h.hold_id})" for h in meant]
        return Came("\n".join([*named, says, *_stays(stay), "Nothing was changed."]), data)
    outcome = _do(desk, m.LiftHolds(chosen, reason, rate))
    lifted = f"Lifted: {', '.join(map(str, outcome.changed))}" if outcome.changed else "Nothing was lifted."
    lines = [lifted, *([says] if outcome.changed else []), *_skipped(outcome), *_stays(stay)]
    return Came("\n".join(lines), data | _told(outcome), not outcome.changed)


def _stays(holds: Sequence[HoldLook]) -> list[str]:
    named = [f"  {h.hold_id}  {_on(h)}, {_where(h.business, h.site)}" for h in holds[:LISTED]]
    more = [f"  and {len(holds) - LISTED:,} more"] if len(holds) > LISTED else []
    head = "Left, since --all means those of users and task types in the business; an ID lifts one:"
    return [head, *named, *more] if holds else []


def _let_go(desk: Desk, ids: Sequence[int], business: str | None, every: bool, reason: str | None) -> Came:
    ramps = [ramp.throttle_id for ramp in _pauses(desk, _known(desk, business)).ramps] if every else []
    chosen = [*dict.fromkeys([*ids, *ramps])]
    if not chosen:
        return Came("No ramp is under way.", {"changed": [], "skipped": []})
    outcome = _do(desk, m.EndRamps(chosen, reason))
    ended = ", ".join(map(str, outcome.changed))
    text = f"All of it may start now: {ended}" if ended else "Nothing was let go."
    return Came("\n".join([text, *_skipped(outcome)]), _told(outcome), not outcome.changed)


# --- caps


def cap(desk: Desk, do: str, **given: Any) -> Came:
    """List caps; set one, as a new one or another number; remove one."""
    does: dict[str, Callable[..., Came]] = {"list": _list_caps, "set": _set_cap, "remove": _remove_cap}
    return does[do](desk, **given)


def _list_caps(desk: Desk, business: str | None) -> Came:
    caps = _pauses(desk, _known(desk, business)).caps()
    rows = [("USER", "BUSINESS", "AT MOST", "RUNNING", "WAITING", "BY", "REASON")]
    rows += [
        (str(one.cap.owner), str(one.cap.business), f"{one.cap.at_most:,}", f"{one.cap.running:,}",
         f"{one.waiting:,}", one.cap.actor, one.cap.reason or "") for one in caps
    ]  # fmt: skip
    data = [
        {"user": one.cap.owner, "business": one.cap.business, "at_most": one.cap.at_most, "running": one.cap.running,
         "waiting": one.waiting, "actor": one.cap.actor, "reason": one.cap.reason, "begun_at": one.cap.begun_at}
        for one in caps
    ]  # fmt: skip
    return Came("\n".join(_table(rows)) if caps else "Nobody has a cap.", {"caps": data})


def _set_cap(desk: Desk, user: str, business: str | None, at_most: int, reason: str) -> Came:
    of = _one(desk, business)
    _do(desk, m.SetCap(of, user, at_most, reason))
    found = next((one for one in _pauses(desk, of).users() if one.name == user), None)
    now = f"{found.running:,} running, {found.waiting:,} waiting" if found else "none running, none waiting"
    said = [*_strangers(desk, of, [user]),
            f"At most {at_most:,} of {user} at once in {of}; now {now}. What runs goes on."]  # fmt: skip
    return Came("\n".join(said), {"user": user, "business": of, "at_most": at_most})


def _remove_cap(desk: Desk, user: str, business: str | None, reason: str | None) -> Came:
    of = _one(desk, business)
    _do(desk, m.RemoveCap(of, user, reason))
    return Came(f"{user} has no cap any more in {of}.", {"user": user, "business": of})


# --- blackout windows


def blackout(desk: Desk, do: str, **given: Any) -> Came:
    """List blackout windows with their next times; add, change and remove them."""
    does: dict[str, Callable[..., Came]] = {"list": _list_windows, "add": _add, "change": _change, "remove": _remove}
    return does[do](desk, **given)


def _list_windows(desk: Desk, business: str | None) -> Came:
    windows = _pauses(desk, _known(desk, business)).windows()
    rows = [("WINDOW", "BUSINESS", "SITE", "WHEN", "ZONE", "LASTS", "NEXT", "KEEPS", "REASON")]
    for one in windows:
        spec = one.look.spec
        rows.append((
            spec.name, spec.business, spec.site, spec.rule.prose(), spec.rule.zone, span_text(spec.duration_s * SECOND),
            _instant(one.look.next_at, ZoneInfo(spec.rule.zone)), "-" if one.keeps is None else f"{one.keeps:,}",
            spec.reason,
        ))  # fmt: skip
    data = [
        {"id": one.look.blackout_id, "version": one.look.version, **_as_data(one.look.spec),
         "next_at": one.look.next_at, "keeps": one.keeps} for one in windows
    ]  # fmt: skip
    return Came("\n".join(_table(rows)) if windows else "There is no blackout window.", {"windows": data})


def _add(
    desk: Desk, name: str, business: str | None, site: str, rule: Mapping[str, Any], lasts: int, reason: str | None,
    suspend: bool | None, dry_run: bool,
) -> Came:  # fmt: skip
    of = _one(desk, business)
    here = desk.snapshot.zones.get((of, site))
    if here is None:
        raise NotFound.named(f"site in {of}", site, [one for b, one in desk.snapshot.zones if b == of])
    spec = m.BlackoutSpec(name, of, site, _rule(rule, here), _seconds(lasts), reason or "", bool(suspend))
    return _settle(desk, spec, m.CreateBlackout(spec), dry_run)


def _change(
    desk: Desk, name: str, business: str | None, site: str | None, new_name: str | None, rule: Mapping[str, Any],
    lasts: int | None, reason: str | None, suspend: bool | None, dry_run: bool,
) -> Came:  # fmt: skip
    look = _window(desk, name, business, site)
    old = look.spec
    new = replace(
        old, name=old.name if new_name is None else new_name, reason=old.reason if reason is None else reason,
        duration_s=old.duration_s if lasts is None else _seconds(lasts),
        suspend=old.suspend if suspend is None else suspend,
    )  # fmt: skip
    if rule["cron"] is not None or rule["every"] is not None:
        new = replace(new, rule=_rule(rule, old.rule.zone))
    elif rule["zone"] is not None:
        new = replace(new, rule=replace(old.rule, zone=rule["zone"]))
    if new == old:
        return Came(f"“{old.name}” is so already; nothing was changed.", {"window": _as_data(old)})
    return _settle(desk, new, m.EditBlackout(look.blackout_id, look.version, new), dry_run)


def _remove(desk: Desk, name: str, business: str | None, site: str | None, reason: str | None) -> Came:
    look = _window(desk, name, business, site)
    outcome = _do(desk, m.RemoveBlackout(look.blackout_id, reason))
    lifted = "; what it held is lifted" if len(outcome.changed) > 1 else ""
    return Came(f"“{look.spec.name}” holds {look.spec.site} no more{lifted}.", {"window": _as_data(look.spec)})


def _settle(desk: Desk, spec: m.BlackoutSpec, action: m.Action, dry_run: bool) -> Came:
    """Tell what a window does and when, and make it so unless somebody only looks."""
    spec.rule.check()
    closure, there = _pauses(desk, spec.business).closure(spec), ZoneInfo(spec.rule.zone)
    lines = [
        f"“{spec.name}” holds {spec.site}: {spec.rule.prose()} ({spec.rule.zone}), "
        f"for {span_text(spec.duration_s * SECOND)} each time",
        *(f"  {_instant(begin, there)} to {_instant(end, there)}" for begin, end in closure.times),
        f"Waiting there now: {_tasks(closure.now.waiting)}.",
    ]
    names = list(dict.fromkeys(name for _, name in closure.fires))
    if names:
        more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
        lines.append(f"Schedules that fire in it: {', '.join(names[:LISTED])}{more}.")
    data: dict[str, Any] = {"window": _as_data(spec), "times": closure.times, "schedules": names}
    if dry_run:
        return Came("\n".join([*lines, "Nothing was changed."]), data)
    outcome = _do(desk, action)
    return Came("\n".join(lines), data | {"id": outcome.changed[0]})


def _window(desk: Desk, name: str, business: str | None, site: str | None) -> BlackoutLook:
    """Find the one window that is meant by its name, and by its place where there are several of that name."""
    known = _known(desk, business)
    looks = [w for w in desk.snapshot.blackouts if known in (None, w.spec.business) and site in (None, w.spec.site)]
    found = [one for one in looks if one.spec.name == name]
    if not found:
        raise NotFound.named("blackout window", name, [one.spec.name for one in looks])
    if len(found) > 1:
        places = "; ".join(f"{one.spec.business} / {one.spec.site}" for one in found)
        raise Refused(f"There are {len(found)} windows “{name}” ({places}); --business and --site say which is meant")
    return found[0]


def _rule(given: Mapping[str, Any], zone: str) -> Rule:
    zone, first = given["zone"] or zone, read_moment(given["first"] or "")
    if given["cron"] is not None:
        return Rule.cron_rule(given["cron"], zone)
    if first is None:
        raise Invalid(f"“{given['first']}” is no instant; nothing was changed")
    return Rule.interval(_seconds(given["every"]), first.span(0, zone)[0], zone)


def _seconds(span: int) -> int:
    if span % SECOND:
        raise Invalid("A blackout window goes by whole seconds")
    return span // SECOND


def _as_data(spec: m.BlackoutSpec) -> dict[str, Any]:
    return {**{k: v for k, v in asdict(spec).items() if k != "rule"}, "rule": spec.rule.to_dict()}


# --- what they have in common


def _pauses(desk: Desk, business: str | None) -> Pauses:
    return Pauses(desk.snapshot, desk.store, pausing.counted(desk.snapshot, business), business, desk.now)


def _known(desk: Desk, business: str | None) -> str | None:
    """Check a business where one is named; None: all of them."""
    names = sorted({name for name, _ in desk.snapshot.zones})
    if business is not None and business not in names:
        raise NotFound.named("business", business, names)
    return business


def _one(desk: Desk, business: str | None) -> str:
    """Tell which business is meant; where there is but one, it need not be named."""
    names = sorted({name for name, _ in desk.snapshot.zones})
    if _known(desk, business) is not None:
        return str(business)
    if len(names) != 1:
        listed = f"There are {len(names)} businesses ({', '.join(names)})" if names else "There is no business yet"
        raise Refused(f"{listed}; say with --business which one is meant" if names else listed)
    return names[0]


def _do(desk: Desk, action: m.Action) -> m.Outcome:
    if desk.engine is None:
        raise Refused("This needs a running console, and nothing was changed; start one, if only by "
                      "`python -m engine run`, and ask again")  # fmt: skip
    outcome = desk.do(action, f"restraint-{uuid4()}")
    if outcome.refused is not None:
        raise Refused(outcome.refused)
    return outcome


def _told(outcome: m.Outcome) -> dict[str, Any]:
    return {"changed": [*outcome.changed], "skipped": [[*one] for one in outcome.skipped]}


def _skipped(outcome: m.Outcome) -> list[str]:
    return [f"  {which}: {why}" for which, why in outcome.skipped]


def _on(hold: HoldLook) -> str:
    return f"window “{hold.blackout}”" if hold.blackout is not None else _named(hold.target_kind, hold.target)


def _named(target_kind: str, target: str) -> str:
    if target_kind == "kind" and target in list(Kind):
        target = KIND_LABEL[Kind(target)]
    elif target_kind == "schedule":
        target = f"#{number_of(int(target)):,}"
    return f"{_TARGETS[target_kind]} {target}"


def _where(business: str | None, site: str | None) -> str:
    return " / ".join(part for part in (business, site) if part) or "every business"


def _tasks(n: int) -> str:
    return "1 task" if n == 1 else f"{n:,} tasks"


def _instant(at: int | None, zone: ZoneInfo) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at / SECOND, UTC).astimezone(zone):%Y-%m-%d %H:%M}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    cleaned = [[tables.clean(cell) for cell in row] for row in rows]
    wide = tables.widths(cleaned)
    return [tables.aligned(row, wide) for row in cleaned]
