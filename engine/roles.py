"""Who may do what, and where: roles, grants, rights, and the one table that joins them. Pure.

An actor has grants, each a role within a scope, and may do what any of them allows. Scope is everything for a platform
admin, a business for its admin, a site for the others; what belongs to a business as a whole (its processors, its
holds) lies beyond a site. Nothing is allowed that the table does not name.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from .errors import NotAllowed


class Role(StrEnum):
    """What somebody is, within the scope of a grant."""

    PLATFORM_ADMIN = "platform_admin"
    BUSINESS_ADMIN = "business_admin"
    SITE_ADMIN = "site_admin"
    SITE_USER = "site_user"


class Right(StrEnum):
    """What somebody may do, worded to follow "may not"."""

    SEE = "see what happens"
    REASONS = "see who holds tasks and why"
    AUDIT = "read the audit trail"
    OPERATE = "submit, stop or change tasks"
    HOLD = "pause and resume"
    SCHEDULE = "change schedules"
    SERVE = "change services"
    FOUND = "found businesses"
    USERS = "manage users"
    DRILL = "start drills"
    SETTINGS = "change settings"


_ADMINS = frozenset({Role.PLATFORM_ADMIN, Role.BUSINESS_ADMIN})

ROLES_WITH: dict[Right, frozenset[Role]] = {
    Right.SEE: frozenset(Role),
    Right.REASONS: _ADMINS | {Role.SITE_ADMIN},
    Right.AUDIT: _ADMINS | {Role.SITE_ADMIN},
    Right.OPERATE: _ADMINS | {Role.SITE_ADMIN},
    Right.HOLD: _ADMINS,
    Right.SCHEDULE: _ADMINS | {Role.SITE_ADMIN},
    Right.SERVE: _ADMINS | {Role.SITE_ADMIN},
    Right.FOUND: frozenset({Role.PLATFORM_ADMIN}),
    Right.USERS: _ADMINS,
    Right.DRILL: frozenset({Role.PLATFORM_ADMIN}),
    Right.SETTINGS: frozenset({Role.PLATFORM_ADMIN}),
}
"""Which roles carry a right, each within the scope of its grant."""

ROLE_LABEL = {
    Role.PLATFORM_ADMIN: "Platform admin",
    Role.BUSINESS_ADMIN: "Business admin",
    Role.SITE_ADMIN: "Site admin",
    Role.SITE_USER: "Site user",
}


class Grant(NamedTuple):
    """A role within a scope: everything, a business, or a site of a business."""

    role: Role
    business: str | None = None
    site: str | None = None

    def covers(self, business: str | None, site: str | None) -> bool:
        """Tell whether something at a site lies in the scope; site None: of the business as a whole, None: of all."""
        if self.role is Role.PLATFORM_ADMIN:
            return True
        if business is None or business != self.business:
            return False
        return self.role is Role.BUSINESS_ADMIN or (site is not None and site == self.site)


Grants = Collection[Grant]

EVERYTHING: Grants = (Grant(Role.PLATFORM_ADMIN),)
"""What the engine's own people have: executors, the fleet file, and whoever can read the data folder anyway."""


def may(grants: Grants, right: Right, business: str | None, site: str | None) -> bool:
    """Tell whether some grant carries the right at a site (None: for the business as a whole; both None: for all)."""
    roles = ROLES_WITH[right]
    return any(grant.role in roles and grant.covers(business, site) for grant in grants)


def may_somewhere(grants: Grants, right: Right, business: str) -> bool:
    """Tell whether some grant carries the right in a business, be it at one of its sites only."""
    places = [(business, None), *((grant.business, grant.site) for grant in grants if grant.business == business)]
    return any(may(grants, right, *place) for place in places)


def require(grants: Grants, right: Right, business: str | None, site: str | None) -> None:
    """Raise NotAllowed, naming right and place, unless some grant carries the right there.

    The same words whether the place exists or not: nobody learns what others have. So name only what was asked for.
    """
    if not may(grants, right, business, site):
        where = " / ".join(part for part in (business, site) if part) or "the whole platform"
        raise NotAllowed(f"You may not {right} at {where}; nothing was changed", right=right.name)


def worded(grants: Grants) -> list[str]:
    """Word grants for people, those that reach furthest first: "Business admin, Northwind"."""
    ordered = sorted(grants, key=lambda grant: list(Role).index(grant.role))
    return [", ".join(part for part in (ROLE_LABEL[g.role], g.site, g.business) if part) for g in ordered]


def checked(role: str, business: str | None, site: str | None) -> Grant:
    """Make a grant of words from outside; raise NotAllowed where role and scope do not go together."""
    try:
        known = Role(role)
    except ValueError:
        raise NotAllowed(f"There is no role “{role}”; known are {', '.join(Role)}") from None
    needed = {Role.PLATFORM_ADMIN: (False, False), Role.BUSINESS_ADMIN: (True, False)}.get(known, (True, True))
    if (business is not None, site is not None) != needed:
        scope = {(False, False): "no scope", (True, False): "a business", (True, True): "a business and a site"}[needed]
        raise NotAllowed(f"The role {known} goes with {scope}")
    return Grant(known, business, site)
