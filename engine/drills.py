"""The drills: simulated incidents that a person starts on the demo fleet of a running console.

`DRILLS` says what there is and what each needs, so that the command line and pages offer the same. Starting or ending
one is an audit row first, and happens when that row is durable. A drill that lasts ends after the seconds it was given,
when somebody ends it, or with the console; meanwhile the same one can't be started again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from .clock import DAY, SECOND
from .errors import Invalid, NotFound, Refused
from .fleet import Fleet
from .lanes import SERVES
from .lifecycle import COLLECTING_KINDS, Kind, task_label
from .messages import Action, Command, NoteDrill, Outcome
from .roles import Grants, Right, require
from .runtime import Engine
from .simulated import Simulated

ANSWERS_WITHIN = 30.0  #: seconds in which an audit row should be durable

Values = dict[str, Any]  #: of a drill's parameters, by name


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a drill needs to know. A parameter that neither is required nor has a default may be left out."""

    name: str
    help: str
    type: Callable[[Any], Any] = str
    default: str | int | float | None = None
    required: bool = False
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill on offer. One that `lasts` goes on until it is ended; its required parameters say which one that is."""

    name: str
    help: str
    parameters: tuple[Parameter, ...]
    lasts: bool = False

    @property
    def identity(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.required)


@dataclass(frozen=True, slots=True)
class Ongoing:
    """A drill that lasts and has not ended. `until` None: until somebody ends it."""

    drill: str
    values: Values
    until: int | None
    stage: str = ""  #: how far it is, where that is worth a word

    def __str__(self) -> str:
        which = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return f"{self.drill}: {which}{_until(self.until)}{f' ({self.stage})' if self.stage else ''}"


_BUSINESS = Parameter("business", "whose fleet", required=True)
_SITE = Parameter("site", "at which site", required=True)
_SERVICE = Parameter("service", "which host", required=True)
_FOR = Parameter("for", "seconds after which it ends by itself", float, least=1, most=7 * DAY / SECOND)
_KINDS = tuple(sorted(kind.value for kind in COLLECTING_KINDS))
_KIND = Parameter("kind", "type of the tasks", default="audit", choices=_KINDS)
_TASKS = Parameter("tasks", "how many", int, default=120, least=1, most=5_000)
_TIMES = Parameter("times", "how many times as long they take", float, default=5.0, least=1.1, most=1_000)

HOST_LOST, HUNG_TARGET, SURGE, SLOW_PROCESSORS = "host-lost", "hung-target", "surge", "slow-processors"

DRILLS = (
    Drill(HOST_LOST, "a host falls silent; what runs there is rescued", (_BUSINESS, _SERVICE, _FOR), lasts=True),
    Drill(HUNG_TARGET, "the next task that collects at a site hangs until somebody stops it", (_BUSINESS, _SITE),
          lasts=True),
    Drill(SURGE, "somebody at a site submits many tasks at once", (_BUSINESS, _SITE, _KIND, _TASKS)),
    Drill(SLOW_PROCESSORS, "a business's processors get slow", (_BUSINESS, _TIMES, _FOR), lasts=True),
)  # fmt: skip


class Drills:
    """The drills of one running console. `start` and `end` return a sentence that says what to expect."""

    def __init__(self, engine: Engine, world: Simulated, fleet: Fleet) -> None:
        self._engine, self._world, self._fleet = engine, world, fleet
        self._lock = threading.Lock()  # between looking whether a drill goes on and starting it nobody else starts it

    def start(self, name: str, given: Mapping[str, object], actor: str, grants: Grants) -> str:
        """Start a drill for a person, once it stands in the audit trail."""
        require(grants, Right.DRILL, None, None)  # first, so that nobody learns here what others have
        drill = named(name)
        values = _checked(drill, drill.parameters, given)
        self._find(values)
        begin = {
            HOST_LOST: self._lose_host, HUNG_TARGET: self._hang_target, SURGE: self._surge,
            SLOW_PROCESSORS: self._slow_processors,
        }[name]  # fmt: skip
        request = f"drill-{uuid4()}"
        with self._lock:
            if drill.lasts and (going := self._going(drill, values)):
                raise Refused(f"This drill goes on already: {going}. It was left as it is; end it to start it anew")
            self._note("start", drill, values, actor, grants, request)
            return begin(values, request)

    def end(self, name: str, given: Mapping[str, object], actor: str, grants: Grants) -> str:
        """End a drill that lasts, for a person."""
        require(grants, Right.DRILL, None, None)
        drill = named(name)
        if not drill.lasts:
            raise Refused(f"The drill {name} does not last; there is nothing to end")
        values = _checked(drill, drill.identity, given)
        self._find(values)
        cease = {
            HOST_LOST: self._return_host, HUNG_TARGET: self._release_target, SLOW_PROCESSORS: self._quicken_processors,
        }[name]  # fmt: skip
        with self._lock:
            if self._going(drill, values) is None:
                raise Refused(f"No such drill goes on: {Ongoing(name, values, None)}")
            self._note("end", drill, values, actor, grants, f"drill-{uuid4()}")
            return cease(values)

    def ongoing(self) -> list[Ongoing]:
        """List the drills that last and have not ended."""
        lost = [
            Ongoing(HOST_LOST, {"business": business, "service": service}, until)
            for (business, service), until in self._world.lost_hosts().items()
        ]
        slow = [
            Ongoing(SLOW_PROCESSORS, {"business": business}, until)
            for business, until in self._world.slow_businesses().items()
        ]
        hung = [
            Ongoing(HUNG_TARGET, {"business": business, "site": site}, None, self._victim(task))
            for (business, site), task in self._world.hung_targets().items()
        ]
        return lost + hung + slow

    def choices(self, name: str, values: Values) -> list[str]:
        """List what a parameter may be where the fleet says so: `values` holds the business that was chosen before."""
        if name == "business":
            return [business.name for business in self._fleet.businesses]
        business = self._fleet.business(values["business"])
        if name == "site":
            return [site.name for site in business.sites]
        return sorted(look.name for look in self._engine.snapshot.services if look.business == business.name)

    def _going(self, drill: Drill, values: Values) -> Ongoing | None:
        which = {parameter.name: values[parameter.name] for parameter in drill.identity}
        return next((one for one in self.ongoing() if one.drill == drill.name and one.values == which), None)

    def _victim(self, task: int | None) -> str:
        if task is None:
            return "waits for the next task that collects"
        live = self._engine.snapshot.live(task)
        return f"{task_label(live[0].kind, live[0].number)} hangs" if live is not None else "a task hangs"

    # --- what each does; returns what to expect

    def _lose_host(self, values: Values, _: str) -> str:
        until = self._until(values)
        self._world.lose_host(values["business"], values["service"], until)
        silence = self._engine.settings.int("silence_s")
        return f"{values['service']} has fallen silent{_until(until)}. It counts as offline after some {silence} s."

    def _hang_target(self, values: Values, _: str) -> str:
        self._world.hang_target(values["business"], values["site"])
        return f"The next task that collects at {values['site']} will hang. Stop that task, or end the drill."

    def _surge(self, values: Values, request: str) -> str:
        submission = self._world.surge(values["business"], values["site"], Kind(values["kind"]), values["tasks"])
        owner = submission.tasks[0].owner
        self._do(Command(f"{request}-tasks", owner, submission))
        return f"{owner} has submitted {values['tasks']:,} tasks of type {values['kind']} at {values['site']}."

    def _slow_processors(self, values: Values, _: str) -> str:
        until = self._until(values)
        self._world.slow_processors(values["business"], values["times"], until)
        whose = f"The processors of {values['business']}"
        return f"{whose} take {values['times']:g} times as long{_until(until)}, for what they start from now on."

    def _return_host(self, values: Values) -> str:
        self._world.return_host(values["business"], values["service"])
        return f"{values['service']} answers again."

    def _release_target(self, values: Values) -> str:
        self._world.release_target(values["business"], values["site"])
        return f"Targets at {values['site']} answer again; what hung there goes on."

    def _quicken_processors(self, values: Values) -> str:
        self._world.slow_processors(values["business"], 1.0)
        return f"The processors of {values['business']} are as fast as ever, for what they start from now on."

    def _until(self, values: Values) -> int | None:
        return self._engine.now + int(values["for"] * SECOND) if "for" in values else None

    # --- on the way there

    def _find(self, values: Values) -> None:
        """Refuse what names a business, site or host that the fleet does not have."""
        business = values["business"]
        self._fleet.business(business)
        if "site" in values:
            self._fleet.site(business, values["site"])
        services = [look for look in self._engine.snapshot.services if look.business == business]
        if "service" in values and values["service"] not in [look.name for look in services]:
            raise NotFound.named(f"service in {business}", values["service"], [look.name for look in services])
        if "kind" in values:
            roles = {look.role for look in services if look.site == values["site"]}
            if roles.isdisjoint(SERVES[values["kind"]]):
                raise Invalid(f"{values['site']} has no service that runs tasks of type {values['kind']}")

    def _note(self, verb: str, drill: Drill, values: Values, actor: str, grants: Grants, request: str) -> None:
        action: Action = NoteDrill(verb, drill.name, values["business"], values.get("site"), values)
        self._do(Command(request, actor, action, grants))

    def _do(self, command: Command) -> Outcome:
        outcome = self._engine.ask(command, ANSWERS_WITHIN)
        if outcome.refused is not None:
            raise Refused(outcome.refused)
        return outcome


def named(name: str) -> Drill:
    """Return the drill of a name; raise NotFound where there is none."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise NotFound.named("drill", name, [drill.name for drill in DRILLS])


def _checked(drill: Drill, parameters: tuple[Parameter, ...], given: Mapping[str, object]) -> Values:
    """Return the values of those parameters that have one, of the right type and within their bounds."""
    values: Values = {}
    known = [parameter.name for parameter in parameters]
    for name in given:
        if name not in known:
            raise NotFound.named(f"parameter of the drill {drill.name}", name, known)
    for parameter in parameters:
        value = given.get(parameter.name)
        value = parameter.default if value is None else value
        if value is not None:
            values[parameter.name] = _value(parameter, value)
        elif parameter.required:
            raise Invalid(f"The drill {drill.name} needs a {parameter.name}")
    return values


def _value(parameter: Parameter, given: object) -> object:
    if parameter.type is str:
        if parameter.choices and given not in parameter.choices:
            raise NotFound.named(parameter.name, given, parameter.choices)
        return str(given)
    bounds = f"from {parameter.least:g} to {parameter.most:g}"
    try:
        value = parameter.type(given)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"“{parameter.name}” is {given!r}; it must be a number {bounds}") from None
    if not parameter.least <= value <= parameter.most:  # so that “not a number” is refused, too
        raise Invalid(f"“{parameter.name}” is {given}; it must be {bounds}")
    return value


def _until(until: int | None) -> str:
    return "" if until is None else f" until {datetime.fromtimestamp(until / SECOND, UTC):%H:%M:%S} UTC"
