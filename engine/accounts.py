"""What an account is, and what of it counts: names, identities, keys, homes, how long a session lasts. Pure.

Who reads a name must not take it for another one, nor for the console itself; and of two accounts none is both by the
identity that a provider tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from .clock import HOUR, MINUTE
from .errors import Invalid
from .ledger import Account, Detail, SignIn
from .roles import Grant, Role, checked
from .wellformed import likeness

IDLE = 30 * MINUTE  #: a session that was not used for so long is over
LONGEST = 12 * HOUR  #: and one that began so long ago
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@'-]{0,62}[A-Za-z0-9]|[A-Za-z0-9]")
SUBJECT = "sub:"  #: before what a provider calls somebody, where that is the identity
IDENTITY = re.compile(r"sub:[!-~]{1,255}|[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+")
RESERVED = frozenset({"console", "engine", "fleet", "import", "schedule", "system"})
"""Names, as `alike` writes them, that the trail and the ledger give to what nobody in person did."""


def is_platforms(account: Account) -> bool:
    """Tell whether somebody is a platform admin who can sign in."""
    able = account.password is not None and not account.disabled
    return able and any(grant.role is Role.PLATFORM_ADMIN for grant in grants_of(account))


def home(*versions: Account) -> str | None:
    """Tell whose user somebody is, where all his roles lie, and lay before a change, in one business."""
    businesses = {grant.business for account in versions for grant in grants_of(account)}
    return next(iter(businesses)) if len(businesses) == 1 else None


def alike(name: str) -> str:
    """Write a name as people read it, however many spaces stand in it."""
    return " ".join(likeness(name).split())


def key_of(account: Account) -> tuple[object, ...]:
    """Tell what opens an account."""
    return account.password, account.disabled, account.identity


def lasts(session: SignIn, now: int) -> bool:
    """Tell whether a session is neither over by age nor for want of use."""
    return now - session.seen_at <= IDLE and now - session.began_at <= LONGEST


def same_identity(one: str | None, other: str) -> bool:
    """Tell whether two identities are one: of addresses the case does not count, of what a provider made up it does."""
    if one is None or one.startswith(SUBJECT) or other.startswith(SUBJECT):
        return one == other
    return other.isascii() and one.lower() == other.lower()  # other letters may become plain ones when they are lowered


def as_detail(account: Account) -> Detail:
    """Write what the audit trail keeps of an account."""
    return {**account.grants, "identity": account.identity} if account.identity else account.grants


def check_password(password: str) -> None:
    """Raise Invalid for a password that is too short, or too long to be hashed."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        lengths = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,}"
        raise Invalid(f"A password has {lengths} characters; this one has {len(password)}")


def digest(secret: str) -> str:
    """Write a secret as it is kept: its SHA-256, from which nobody gets it back."""
    return sha256(secret.encode()).hexdigest()


def grants_of(account: Account) -> tuple[Grant, ...]:
    """Read an account's grants."""
    return tuple(checked(*grant) for grant in account.grants["grants"])


def grants_as_detail(grants: Iterable[Grant]) -> Detail:
    """Write grants as an account keeps them."""
    return {"grants": [[grant.role.value, grant.business, grant.site] for grant in grants]}
