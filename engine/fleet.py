"""The fleet that a file describes: businesses, sites, services, users, schedules, and the mix of work they draw from.

`load` either returns a whole, consistent fleet or raises one InvalidFleet that lists everything wrong with the file,
each with its place (`businesses.acme.sites.berlin.services[2].slots`); so whoever holds a Fleet need not check it
again. Pure: who draws from a mix brings the random numbers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from difflib import get_close_matches
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from .clock import DAY, SECOND
from .errors import InvalidFleet, InvalidSchedule, NotFound
from .lifecycle import COLLECTING_KINDS, REPORTS, Kind, named_report
from .messages import (
    LONGEST_BLACKOUT,
    SHORTEST_BLACKOUT,
    Action,
    AddBusiness,
    AddService,
    AddSite,
    BlackoutSpec,
    CreateBlackout,
    CreateSchedule,
    ScheduleSpec,
)
from .recurrence import Rule, check_zone

SERVICE_ROLES = ("explorer", "audit_service", "hosted_zone")
USER_ROLES = ("business_admin", "site_admin", "site_user")
TARGET_KINDS = ("segment", "device", "cloud")
_TYPE_OF = {"segment": "host", "device": "device", "cloud": "cloud host"}  #: what a target's assets are, if not said

_COLLECTORS: dict[Kind, tuple[str, ...]] = {
    Kind.SCAN: ("explorer",),
    Kind.AUDIT: ("audit_service",),
    Kind.CONNECTOR: ("explorer", "hosted_zone"),
    Kind.IMPORT: ("hosted_zone",),
}
_TARGETS_OF: dict[Kind, tuple[str, ...]] = {
    Kind.SCAN: ("segment", "device"),
    Kind.AUDIT: ("device",),
    Kind.CONNECTOR: ("cloud",),
    Kind.IMPORT: ("segment", "cloud"),
}
_MEASURED_WEEK = (1_780_272_000 * SECOND, (1_780_272_000 + 7 * 86400) * SECOND)  #: one that starts 2026-06-01 UTC
_DEFAULT_ANCHOR = 1_577_836_800 * SECOND  #: 2020-01-01 UTC, the anchor of intervals that name none


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a stage takes: lognormal, by its median and the sigma of its logarithm."""

    median_s: float
    sigma: float

    @property
    def mean_s(self) -> float:
        return self.median_s * exp(self.sigma**2 / 2)

    def draw(self, chance: Random) -> float:
        """Draw a length in seconds."""
        return exp(chance.gauss(log(self.median_s), self.sigma))


@dataclass(frozen=True, slots=True)
class Profile:
    """How arrivals spread over the week in a site's zone; scaled so that the week's mean is 1."""

    name: str
    hours: tuple[float, ...]  #: 24, from midnight
    days: tuple[float, ...]  #: 7, from Monday

    def factor(self, wall: datetime) -> float:
        """Return how many times the mean rate arrives at a wall-clock time."""
        return self.hours[wall.hour] * self.days[wall.weekday()]

    @property
    def peak(self) -> float:
        """The highest factor, for drawing arrivals by thinning."""
        return max(self.hours) * max(self.days)


@dataclass(frozen=True, slots=True)
class Changes:
    """Mean number of assets per run that turn out new, changed, gone, back online or offline."""

    new: float = 0.0
    changed: float = 0.0
    gone: float = 0.0
    online: float = 0.0
    offline: float = 0.0


@dataclass(frozen=True, slots=True)
class Mix:
    """What tasks of one kind are like at one site, and how many people ask for. Schedules and widgets come on top."""

    kind: Kind
    per_hour: float  #: mean over the week, before the profile
    profile: Profile
    collect: Duration | None  #: None for kinds that only process
    process: Duration
    failure: float  #: probability that the first stage fails
    hung: float  #: probability that a target never answers: the stage runs until somebody stops it
    errors: float  #: probability that a run finishes with errors
    changes: Changes
    complaints: tuple[str, ...]  #: what failures say


@dataclass(frozen=True, slots=True)
class Service:
    """A host that drains the queue. Processors have no site."""

    name: str
    role: str
    slots: int


@dataclass(frozen=True, slots=True)
class Target:
    """What tasks work on: a segment, a device or a cloud resource, with about so many assets in it.

    `types` are what its assets are, the commonest first: each is about half as common as the one before.
    """

    name: str
    kind: str
    assets: int
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Widget:
    """A pinned query on a site's dashboard and how long its refresh takes a processor."""

    name: str
    refresh_s: int
    process: Duration


@dataclass(frozen=True, slots=True)
class User:
    """A person. `sites` names where a site admin or site user belongs; `activity` weighs who submits how much."""

    name: str
    full_name: str
    role: str
    sites: tuple[str, ...]
    activity: float


@dataclass(frozen=True, slots=True)
class Site:
    """A place with its own zone: services, targets, dashboard, schedules, blackout windows, a mix for every kind."""

    name: str
    zone: str
    services: tuple[Service, ...]
    targets: tuple[Target, ...]
    widgets: tuple[Widget, ...]
    schedules: tuple[ScheduleSpec, ...]
    blackouts: tuple[BlackoutSpec, ...]
    mix: Mapping[Kind, Mix]

    def targets_for(self, kind: Kind) -> tuple[Target, ...]:
        """Return what a task of a kind may work on; nothing for kinds without a target."""
        return tuple(target for target in self.targets if target.kind in _TARGETS_OF.get(kind, ()))


@dataclass(frozen=True, slots=True)
class Business:
    """A tenant."""

    name: str
    users: tuple[User, ...]
    processors: tuple[Service, ...]
    sites: tuple[Site, ...]

    def submitters(self, site: str) -> tuple[User, ...]:
        """Return who may submit tasks at a site."""
        return tuple(
            user
            for user in self.users
            if user.role == "business_admin" or (user.role == "site_admin" and site in user.sites)
        )


@dataclass(frozen=True, slots=True)
class Load:
    """The mean work offered to one class of slots, in slots kept busy (erlangs), and how many slots there are."""

    business: str
    site: str | None
    slots_for: str  #: scan, audit, connector or process
    offered: float
    slots: int

    @property
    def utilisation(self) -> float:
        return self.offered / self.slots if self.slots else 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    businesses: tuple[Business, ...]

    def business(self, name: str) -> Business:
        """Return the business of a name; raise NotFound where the fleet has none."""
        for business in self.businesses:
            if business.name == name:
                return business
        raise NotFound.named("business", name, [business.name for business in self.businesses])

    def site(self, business: str, name: str) -> Site:
        """Return a business's site; raise NotFound where it has none."""
        sites = self.business(business).sites
        for site in sites:
            if site.name == name:
                return site
        raise NotFound.named("site", name, [site.name for site in sites])

    def founding(self) -> Iterator[Action]:
        """Yield the commands that bring this fleet into an empty console, in an order the core accepts."""
        for business in self.businesses:
            yield AddBusiness(business.name)
            for processor in business.processors:
                yield AddService(business.name, None, processor.name, processor.role, processor.slots)
            for site in business.sites:
                yield AddSite(business.name, site.name, site.zone)
                for service in site.services:
                    yield AddService(business.name, site.name, service.name, service.role, service.slots)
                for spec in site.schedules:
                    yield CreateSchedule(spec)
                for window in site.blackouts:
                    yield CreateBlackout(window)

    def tasks_per_day(self) -> float:
        """Return the mean number of tasks a day: asked for by people, schedules and widgets."""
        per_hour = sum(
            sum(mix.per_hour for mix in site.mix.values())
            + sum(_fires_per_hour(spec) for spec in site.schedules)
            + sum(3600 / widget.refresh_s for widget in site.widgets)
            for business in self.businesses
            for site in business.sites
        )
        return per_hour * 24

    def loads(self) -> list[Load]:
        """Weigh the mean work of each class of slots against their number, before any failure or stop."""
        return [load for business in self.businesses for load in _loads(business)]


def load(text: str, source: str = "fleet.toml") -> Fleet:
    """Read a fleet from TOML; raise InvalidFleet with all that is wrong in it."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidFleet(f"{source} is not valid TOML: {error}", source=source) from None
    problems: list[str] = []
    fleet = _fleet(_Table("", content, problems))
    if problems:
        number = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InvalidFleet(f"{source} has {number}:\n{listed}", source=source, problems=tuple(problems))
    return fleet


def load_file(path: Path) -> Fleet:
    """Read a fleet from a file; raise InvalidFleet where it can't be read or is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFleet(f"The fleet file {path} can't be read: {error}", source=str(path)) from None
    return load(text, path.name)


def _fires_per_hour(spec: ScheduleSpec) -> float:
    missed = spec.rule.missed(*_MEASURED_WEEK)
    return (missed[2] if missed else 0) / (7 * 24)


def _loads(business: Business) -> Iterator[Load]:
    processing = 0.0
    for site in business.sites:
        rates = {kind: mix.per_hour for kind, mix in site.mix.items()}
        for spec in site.schedules:
            rates[spec.kind] += _fires_per_hour(spec)
        collecting = {
            kind: rates[kind] * mix.collect.mean_s / 3600 for kind, mix in site.mix.items() if mix.collect is not None
        }
        processing += sum(rates[kind] * mix.process.mean_s / 3600 for kind, mix in site.mix.items())
        processing += sum(widget.process.mean_s / widget.refresh_s for widget in site.widgets)
        slots = {role: [s.slots for s in site.services if s.role == role] for role in SERVICE_ROLES}
        explorers = slots["explorer"]
        yield Load(business.name, site.name, "scan", collecting[Kind.SCAN], len(explorers))
        yield Load(business.name, site.name, "audit", collecting[Kind.AUDIT], sum(slots["audit_service"]))
        connecting = collecting[Kind.CONNECTOR] + collecting[Kind.IMPORT]
        others = sum(explorers) - len(explorers) + sum(slots["hosted_zone"])
        yield Load(business.name, site.name, "connector", connecting, others)
    yield Load(business.name, None, "process", processing, sum(p.slots for p in business.processors))


# --- reading: every reader notes its problems and returns something harmless, so that one pass finds them all


_EVEN = Profile("even", (1.0,) * 24, (1.0,) * 7)  #: the profile that needs no naming
_REQUIRED: Final = object()
_UNBOUNDED = 10**12  #: more of anything is a slip of the pen
_Read = TypeVar("_Read")


class _Table:
    """One table of the file: takes keys with their checks, and notes what is wrong and where."""

    def __init__(self, place: str, content: object, problems: list[str]) -> None:
        self.place, self.problems = place, problems
        self.content: dict[str, Any] = content if isinstance(content, dict) else {}
        self._asked: set[str] = set()
        if not isinstance(content, dict):
            self.wrong("", f"must be a table, not {content!r}")

    def at(self, key: str) -> str:
        return ".".join(filter(None, [self.place, key]))

    def wrong(self, key: str, what: str) -> None:
        self.problems.append(f"{self.at(key)}: {what}")

    def has(self, key: str) -> bool:
        return key in self.content

    def take(self, key: str, default: Any, fits: Callable[[Any], bool], wanted: str, harmless: Any) -> Any:
        self._asked.add(key)
        if key not in self.content:
            if default is _REQUIRED:
                self.wrong(key, f"is missing; it takes {wanted}")
                return harmless
            return default
        value = self.content[key]
        if not fits(value):
            self.wrong(key, f"takes {wanted}, not {value!r}")
            return harmless
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> Any:
        return self.take(key, default, lambda v: isinstance(v, str) and bool(v.strip()), "a text", "")

    def choice(self, key: str, choices: Collection[str], default: Any = _REQUIRED) -> Any:
        value = self.text(key, default)
        if value in choices or value == "" or value is default:
            return value
        self.unknown(key, value, choices)
        return next(iter(choices), "")

    def unknown(self, key: str, value: str, known: Iterable[str]) -> None:
        """Note a name that stands for nothing, with the one that was probably meant."""
        known = list(known)
        near = get_close_matches(value, known, n=1)
        if near:
            hint = f"did you mean “{near[0]}”?"
        else:
            hint = f"there is {', '.join(known[:8])}{'…' if len(known) > 8 else ''}" if known else "there is none"
        self.wrong(key, f"“{value}” is not known; {hint}")

    def whole(self, key: str, default: Any = _REQUIRED, least: int = 0, most: int = _UNBOUNDED) -> Any:
        def fits(value: Any) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

        wanted = f"a whole number from {least}{f' to {most}' if most < _UNBOUNDED else ''}"
        return self.take(key, default, fits, wanted, least)

    def number(self, key: str, default: Any = _REQUIRED, above: float | None = None, most: float = _UNBOUNDED) -> float:
        def fits(value: Any) -> bool:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and 0 <= value <= most and (above is None or value > above)

        wanted = f"a number {'from 0' if above is None else f'above {above:g}'}"
        return float(self.take(key, default, fits, f"{wanted}{f' to {most:g}' if most < _UNBOUNDED else ''}", 1.0))

    def list_of(self, key: str, kind: type[_Read], wanted: str, default: Any) -> tuple[_Read, ...]:
        return tuple(
            self.take(key, default, lambda v: isinstance(v, list) and all(isinstance(i, kind) for i in v), wanted, ())
        )

    def table(self, key: str) -> _Table:
        self._asked.add(key)
        return _Table(self.at(key), self.content.get(key, {}), self.problems)

    def rows(self, key: str) -> list[_Table]:
        rows = self.take(key, (), lambda v: isinstance(v, list), "a list of tables", ())
        return [_Table(f"{self.at(key)}[{n}]", row, self.problems) for n, row in enumerate(rows)]

    def named(self, key: str) -> list[tuple[str, _Table]]:
        table = self.table(key)
        return [(name, _Table(table.at(name), content, self.problems)) for name, content in table.content.items()]

    def done(self) -> None:
        """Note the keys that nobody asked for."""
        for key in [key for key in self.content if key not in self._asked]:
            near = get_close_matches(key, sorted(self._asked), n=1)
            self.wrong(key, f"is not known here{f'; did you mean “{near[0]}”?' if near else ''}")


def _fleet(table: _Table) -> Fleet:
    profiles = {name: _profile(name, t) for name, t in table.named("profiles")}
    profiles.setdefault(_EVEN.name, _EVEN)
    kinds = table.table("kinds")
    standard = {kind: _mix(kinds.table(kind), profiles, _plain(kind), at_site=False) for kind in Kind}
    kinds.done()
    businesses = [_business(key, t, profiles, standard) for key, t in table.named("businesses")]
    if not businesses:
        table.wrong("businesses", "is missing; a fleet needs at least one business")
    _unique(table, "businesses", "business", [b.name for b in businesses])
    _unique(table, "businesses", "user", [user.name for b in businesses for user in b.users])
    table.done()
    return Fleet(tuple(businesses))


def _profile(name: str, table: _Table) -> Profile:
    def spread(key: str, length: int) -> tuple[float, ...]:
        wanted = f"a list of {length} numbers from 0"
        numbers = table.list_of(key, object, wanted, [1.0] * length)
        weights = [n for n in numbers if isinstance(n, int | float) and 0 <= n < _UNBOUNDED]
        if len(weights) != length or len(numbers) != length or sum(weights) <= 0:
            table.wrong(key, f"takes {wanted}, not all 0")
            return (1.0,) * length
        return tuple(weight * length / sum(weights) for weight in weights)

    profile = Profile(name, spread("hours", 24), spread("days", 7))
    table.done()
    return profile


def _duration(table: _Table) -> Duration:
    duration = Duration(table.number("median_s", above=0), table.number("sigma", 0.5, most=3))
    table.done()
    return duration


def _plain(kind: Kind) -> Mix:
    """Return what holds for a kind of which the file says nothing."""
    return Mix(
        kind=kind,
        per_hour=0.0,
        profile=_EVEN,
        collect=Duration(300, 0.5) if kind in COLLECTING_KINDS else None,
        process=Duration(30, 0.5),
        failure=0.0,
        hung=0.0,
        errors=0.0,
        changes=Changes(),
        complaints=("The task could not continue",),
    )


def _mix(table: _Table, profiles: Mapping[str, Profile], standard: Mix, at_site: bool) -> Mix:
    """Read the mix of a kind; what the table leaves out is as `standard` has it."""
    collect, changes = standard.collect, standard.changes
    if collect is not None:
        collect = _duration(table.table("collect")) if table.has("collect") else collect
        changes = _changes(table.table("changes"), changes)
    mix = Mix(
        kind=standard.kind,
        per_hour=table.number("per_hour") if at_site else 0.0,
        profile=profiles[table.choice("profile", list(profiles), standard.profile.name) or _EVEN.name],
        collect=collect,
        process=_duration(table.table("process")) if table.has("process") else standard.process,
        failure=table.number("failure", standard.failure, most=1),
        hung=table.number("hung", standard.hung, most=1),
        errors=table.number("errors", standard.errors, most=1),
        changes=changes,
        complaints=table.list_of("complaints", str, "a list of texts", standard.complaints) or standard.complaints,
    )
    if mix.failure + mix.hung > 1:
        table.wrong("failure", f"together with hung it must not exceed 1, but comes to {mix.failure + mix.hung:g}")
    table.done()
    return mix


def _changes(table: _Table, standard: Changes) -> Changes:
    changes = Changes(*(table.number(f.name, getattr(standard, f.name)) for f in fields(Changes)))
    table.done()
    return changes


def _service(table: _Table, roles: Sequence[str], role: str | None = None) -> Service:
    service = Service(table.text("name"), role or table.choice("role", roles), table.whole("slots", least=1, most=1000))
    table.done()
    return service


def _unique(table: _Table, key: str, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            table.wrong(key, f"the {what} “{name}” stands there more than once")
        seen.add(name)


def _business(key: str, table: _Table, profiles: Mapping[str, Profile], standard: Mapping[Kind, Mix]) -> Business:
    name = table.text("name", key)
    processors = tuple(_service(row, (), "processor") for row in table.rows("processors"))
    if not processors:
        table.wrong("processors", "is missing; without a processor no task of the business can finish")
    sites = table.named("sites")
    if not sites:
        table.wrong("sites", "is missing; a business needs at least one site")
    site_names = {site_key: str(site.content.get("name", site_key)) for site_key, site in sites}
    users = tuple(_user(row, site_names) for row in table.rows("users"))
    read = tuple(_site(site_key, site, name, users, processors, profiles, standard) for site_key, site in sites)
    _unique(table, "sites", "site", site_names.values())
    hosts = [service.name for site in read for service in site.services] + [p.name for p in processors]
    _unique(table, "", "service", hosts)
    table.done()
    return Business(name, users, processors, read)


def _user(table: _Table, site_names: Mapping[str, str]) -> User:
    name, role = table.text("name"), table.choice("role", USER_ROLES)
    places = table.list_of("sites", str, "a list of sites", ())
    for place in places:
        if place not in site_names:
            table.unknown("sites", place, site_names)
    if role != "business_admin" and not table.content.get("sites"):
        table.wrong("sites", f"is missing or empty; a {role} belongs to at least one site")
    user = User(
        name,
        table.text("full_name", name),
        role,
        tuple(site_names[place] for place in places if place in site_names),
        table.number("activity", 1.0),
    )
    table.done()
    return user


def _site(
    key: str,
    table: _Table,
    business: str,
    users: Sequence[User],
    processors: Sequence[Service],
    profiles: Mapping[str, Profile],
    standard: Mapping[Kind, Mix],
) -> Site:
    name, zone = table.text("name", key), _zone(table)
    services = tuple(_service(row, SERVICE_ROLES) for row in table.rows("services"))
    targets = tuple(target for row in table.rows("targets") for target in _targets(row))
    _unique(table, "targets", "target", [target.name for target in targets])
    widgets = tuple(_widget(row) for row in table.rows("widgets"))
    _unique(table, "widgets", "widget", [widget.name for widget in widgets])

    asked = table.table("mix")
    mix = dict(standard)
    for kind in Kind:
        row = asked.table(kind)
        if asked.has(kind):
            mix[kind] = _mix(row, profiles, standard[kind], at_site=True)
            _check_served(row, "", kind, services)
            if kind in _TARGETS_OF and not any(target.kind in _TARGETS_OF[kind] for target in targets):
                row.wrong("", f"the site has no target for it: a {kind} works on a {' or '.join(_TARGETS_OF[kind])}")
    asked.done()

    hosts = (*services, *processors)
    schedules = tuple(_schedule(row, business, name, zone, users, hosts, targets) for row in table.rows("schedules"))
    _unique(table, "schedules", "schedule", [spec.name for spec in schedules])
    blackouts = tuple(_blackout(row, business, name, zone) for row in table.rows("blackouts"))
    _unique(table, "blackouts", "blackout window", [window.name for window in blackouts])
    table.done()
    return Site(name, zone, services, targets, widgets, schedules, blackouts, mix)


def _serves(service: Service, kind: Kind) -> bool:
    if service.role not in _COLLECTORS.get(kind, ("processor",)):
        return False
    # An explorer's first slot is for scans; only the others run connectors.
    return not (service.role == "explorer" and kind is Kind.CONNECTOR and service.slots < 2)


def _check_served(table: _Table, key: str, kind: Kind, services: Sequence[Service]) -> None:
    if kind in _COLLECTORS and not any(_serves(service, kind) for service in services):
        wanted = " or ".join(_COLLECTORS[kind]).replace("explorer or", "explorer with two slots or")
        table.wrong(key, f"the site has no service for a {kind}; it takes one with role {wanted}")


def _targets(table: _Table) -> list[Target]:
    """Read a target, or `count` alike ones with numbered names."""
    name, kind = table.text("name"), table.choice("kind", TARGET_KINDS)
    assets, count = table.whole("assets", 1), table.whole("count", None, least=1, most=10_000)
    types = table.list_of("types", str, "a list of texts", ()) or (_TYPE_OF.get(kind, kind),)
    table.done()
    if count is None:
        return [Target(name, kind, assets, types)]
    digits = max(2, len(str(count)))
    return [Target(f"{name}-{n:0{digits}}", kind, assets, types) for n in range(1, count + 1)]


def _widget(table: _Table) -> Widget:
    widget = Widget(table.text("name"), table.whole("refresh_s", least=1), _duration(table.table("process")))
    table.done()
    return widget


def _schedule(
    table: _Table,
    business: str,
    site: str,
    zone: str,
    users: Sequence[User],
    services: Sequence[Service],
    targets: Sequence[Target],
) -> ScheduleSpec:
    kind = Kind(table.choice("kind", [kind.value for kind in Kind]) or Kind.REPORT)
    _check_served(table, "kind", kind, services)
    owner = table.text("owner")
    if owner and owner not in {user.name for user in users}:
        table.unknown("owner", owner, [user.name for user in users])
    target = table.text("target", None)
    of_target = next((t for t in targets if t.name == target), None)
    if target and of_target is None:
        table.unknown("target", target, [t.name for t in targets])
    elif of_target is not None and of_target.kind not in _TARGETS_OF.get(kind, ()):
        table.wrong("target", f"“{target}” is a {of_target.kind}, which a {kind} does not work on")
    requested = table.text("requested_service", None)
    host = next((s for s in services if s.name == requested), None)
    if requested and host is None:
        table.unknown("requested_service", requested, [s.name for s in services])
    elif host is not None and not _serves(host, kind):
        table.wrong("requested_service", f"“{requested}” ({host.role}, {host.slots} slots) can't run a {kind}")
    name = table.text("name")
    if name and not named_report(kind, name):
        table.unknown("name", name, REPORTS)
    spec = ScheduleSpec(
        name=name,
        business=business,
        site=site,
        kind=kind,
        rule=_rule(table, zone, "schedule"),
        owner=owner,
        target=target,
        target_kind=of_target.kind if of_target else None,
        scope=table.text("scope", None),
        requested_service=requested,
        priority=table.whole("priority", 5, most=9),
        longest_wait_s=table.whole("longest_wait_s", None, least=1),
        on_hold=table.choice("on_hold", ("skip", "queue_one"), "skip"),
    )
    table.done()
    return spec


def _blackout(table: _Table, business: str, site: str, zone: str) -> BlackoutSpec:
    known = len(table.problems)
    name, rule = table.text("name"), _rule(table, zone, "blackout window")
    shortest, longest = SHORTEST_BLACKOUT // SECOND, LONGEST_BLACKOUT // SECOND
    lasts_s = table.whole("duration_s", least=shortest, most=longest)
    suspend = table.take("suspend", False, lambda v: isinstance(v, bool), "true or false", False)
    window = BlackoutSpec(name, business, site, rule, lasts_s, table.text("reason", ""), suspend)
    if len(table.problems) == known and window.piles_up(_MEASURED_WEEK[0]):
        table.wrong("duration_s", "the window occurs a third time before the first is over; make it shorter, or rarer")
    table.done()
    return window


def _rule(table: _Table, zone: str, what: str) -> Rule:
    """Read `cron` or `every_s` (anchored at `anchor`, a date and time with its offset), in `zone` or the site's."""
    cron, every_s = table.text("cron", None), table.whole("every_s", None, least=1)
    zone = _zone(table, zone)
    anchor = table.take(
        "anchor", None, lambda v: isinstance(v, datetime) and v.tzinfo is not None, "a date and time with offset", None
    )
    if (cron is None) == (every_s is None):
        table.wrong("cron", f"a {what} takes either cron or every_s")
    elif cron is None:
        return Rule.interval(every_s, _DEFAULT_ANCHOR if anchor is None else int(anchor.timestamp()) * SECOND, zone)
    elif anchor is not None:
        table.wrong("anchor", "belongs to every_s; cron has none")
    elif cron:
        try:
            return Rule.cron_rule(cron, zone)
        except InvalidSchedule as error:
            table.wrong("cron", str(error))
    return Rule.interval(DAY // SECOND, 0)


def _zone(table: _Table, default: Any = _REQUIRED) -> str:
    zone: str = table.text("zone", default)
    try:
        check_zone(zone or "UTC")
    except InvalidSchedule as error:
        table.wrong("zone", str(error))
        return "UTC"
    return zone or "UTC"
