"""What keeps tasks from starting by somebody's word: holds and throttles, and whom each is over. Pure.

A hold lets nobody start whom it is over. A throttle lets some: a ramp so many a minute of what a resume released, a cap
so many of a user at once. Both are on *targets*: a user, a task type, a schedule or a site; so whom they are over
follows from what a task is, and never from when it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .clock import MINUTE
from .lifecycle import SYSTEM_KINDS, Kind

Reach = tuple[str | None, str | None, str, str]  #: business and site (None: all), target kind, target


def targets_of(site: str, kind: Kind, owner: str, schedule: int | None) -> list[tuple[str, str]]:
    """List what a hold could be on to cover such tasks. A hold on a site covers what is collected there."""
    found: list[tuple[str, str]] = [("user", owner), ("kind", kind), ("schedule", str(schedule))]
    return found if kind in SYSTEM_KINDS else [*found, ("site", site)]


class Hold:
    """A pause in force or to come, over a user, a task type, a schedule or a site."""

    __slots__ = ("actor", "begun", "blackout", "business", "from_at", "id", "reason", "site", "suspend", "target",
                 "target_kind", "until_at")

    def __init__(
        self, an_id: int, business: str | None, site: str | None, target_kind: str, target: str,
        reason: str | None, actor: str, from_at: int, until_at: int | None, suspend: bool,
    ) -> None:
        self.id, self.business, self.site = an_id, business, site
        self.target_kind, self.target = target_kind, target
        self.reason, self.actor = reason, actor
        self.from_at, self.until_at, self.suspend = from_at, until_at, suspend
        self.begun = False
        self.blackout: int | None = None  #: the blackout window that placed it

    @property
    def reach(self) -> Reach:
        return self.business, self.site, self.target_kind, self.target

    def reaches(self, business: str, site: str) -> bool:
        return self.business in (None, business) and self.site in (None, site)


class Throttle:
    """A ramp (`rate`: so many starts a minute of what a resume released) or a cap (`at_most` of a user run at once)."""

    __slots__ = ("actor", "at_most", "begun_at", "business", "but", "id", "left", "left_of", "over", "owner", "rate",
                 "reason", "running", "shut", "shut_at", "site")

    def __init__(
        self, an_id: int, business: str | None, site: str | None, owner: str | None, rate: int | None,
        at_most: int | None, over: Sequence[Reach], but: Sequence[Reach], reason: str | None, actor: str, begun_at: int,
    ) -> None:
        self.id, self.business, self.site, self.owner = an_id, business, site, owner
        self.rate, self.at_most, self.reason, self.actor = rate, at_most, reason, actor
        self.over, self.but = tuple(over), tuple(but)  #: it covers what is over, but not what other holds kept
        self.begun_at = begun_at
        self.shut, self.shut_at = False, begun_at
        self.left = 0  #: a ramp's: who waited when it began, and still does
        self.left_of: Counter[str] = Counter()  #: of these, each business's
        self.running = 0  #: a cap's: tasks of the user

    @property
    def opens_at(self) -> int:
        """The nominal instant of a ramp's next token: never sooner after a start than its rate allows."""
        assert self.rate is not None
        return self.shut_at + -(-MINUTE // self.rate)

    @property
    def has_room(self) -> bool:
        """Tell whether a cap lets one more start."""
        return self.at_most is None or self.running < self.at_most

    def covers(self, business: str, site: str, kind: Kind, owner: str, schedule: int | None) -> bool:
        whose = targets_of(site, kind, owner, schedule)

        def reached(reach: Reach) -> bool:
            return reach[0] in (None, business) and reach[1] in (None, site) and reach[2:] in whose

        return any(map(reached, self.over)) and not any(map(reached, self.but))
