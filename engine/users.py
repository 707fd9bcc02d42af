"""The users that somebody manages, as a list: filtered, counted by state, sorted, page by page. Pure.

There are a thousand of them perhaps, all in memory: a page is cut out of what `access` tells at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from . import conditions as c
from . import filters
from .access import STATES, User
from .conditions import Condition
from .filters import Field, Filter, Language
from .roles import ROLE_LABEL, worded

FIELDS: tuple[Field, ...] = (
    Field("name", "word", ("name",), "the user's name", ("user",)),
    Field("role", "text", ("roles",), "a role or its scope has this within, as in \"site admin\"", ("scope",)),
    Field("business", "text", ("businesses",), "a business of a role has this within"),
    Field("site", "text", ("sites",), "a site of a role has this within"),
    Field("identity", "text", ("identity",), "the identity at the provider has this within", ("email",)),
    Field("last", "instant", ("last_at",), "when the user last signed in", ("signed",)),
    Field("created", "instant", ("created_at",), "when the account was made"),
    Field("sessions", "number", ("sessions",), "how many sessions are open"),
)
SORTS = ("name", "last", "sessions", "created")
_COLUMNS = {"name": "name", "last": "last_at", "sessions": "sessions", "created": "created_at"}


def _somewhere(pattern: str) -> Condition:
    return c.AnyOf(tuple(c.Like(column, pattern, whole=False) for column in ("name", "roles", "identity")))


LANGUAGE = Language(FIELDS, _somewhere)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of users, how many the filter finds by state, and how many pages those of the chosen state fill."""

    users: Sequence[User]
    counts: Mapping[str, int]
    number: int  #: from 1
    of: int
    before: int  #: users before this page


def parse(text: str, zone: str = "UTC") -> Filter:
    """Read a filter of users; raise InvalidFilter, which says what is wrong and where."""
    return filters.parse(text, zone, LANGUAGE)


def names(users: Sequence[User]) -> dict[str, list[str]]:
    """List the words that complete a filter, by key."""
    return {
        "name": [user.name for user in users],
        "role": list(ROLE_LABEL.values()),
        "business": sorted({grant.business for user in users for grant in user.grants if grant.business}),
        "site": sorted({grant.site for user in users for grant in user.grants if grant.site}),
    }


def page(
    users: Sequence[User], wanted: Filter, now: int, *, state: str | None = None, sort: str = "name",
    descending: bool = False, number: int = 1, size: int = 50,
) -> Page:  # fmt: skip
    """Cut a page out of those whom a filter finds; a number beyond the last page gives that one."""
    frame = pl.DataFrame(
        {
            "nth": range(len(users)),
            "name": [user.name for user in users],
            "roles": ["; ".join(worded(user.grants)) for user in users],
            "businesses": ["; ".join(grant.business or "" for grant in user.grants) for user in users],
            "sites": ["; ".join(grant.site or "" for grant in user.grants) for user in users],
            "identity": [user.identity for user in users],
            "state": [user.state for user in users],
            "sessions": [user.sessions for user in users],
            "last_at": [user.last_at for user in users],
            "created_at": [user.created_at for user in users],
        },
        schema={
            "nth": pl.Int64, **dict.fromkeys(("name", "roles", "businesses", "sites", "identity", "state"), pl.String),
            "sessions": pl.Int64, "last_at": pl.Int64, "created_at": pl.Int64,
        },
    ).with_columns(pl.col("last_at", "created_at").cast(pl.Datetime("us")))  # fmt: skip
    found = frame.filter(wanted.expr(now))
    by_state = dict(found.group_by("state").len().rows())
    mine = found if state is None else found.filter(pl.col("state") == state)
    by_name = pl.col("name").str.to_lowercase()
    order = mine.sort(
        by_name if sort == "name" else pl.col(_COLUMNS[sort]), by_name, "name", descending=[descending, False, False],
        nulls_last=True,
    )  # fmt: skip
    pages = max(1, -(-order.height // size))
    number = min(max(number, 1), pages)
    before = (number - 1) * size
    shown = [users[nth] for nth in order["nth"].slice(before, size)]
    return Page(shown, {name: by_state.get(name, 0) for name in STATES}, number, pages, before)
