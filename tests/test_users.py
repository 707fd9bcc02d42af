"""Users as a list: whom a filter finds, counted by state, sorted, page by page."""

from __future__ import annotations

import pytest

from engine import users
from engine.access import ACTIVE, DISABLED, INVITED, STATES, User
from engine.clock import DAY, HOUR
from engine.errors import InvalidFilter
from engine.roles import Grant, Role

NOW = 1_780_000_000_000_000
BERLIN, OSLO = Grant(Role.SITE_USER, "Acme", "Berlin"), Grant(Role.SITE_ADMIN, "Acme", "Oslo")
GLOBEX = Grant(Role.BUSINESS_ADMIN, "Globex")


def user(name: str, *grants: Grant, state: str = ACTIVE, identity: str | None = None, last: int | None = None,
         sessions: int = 0) -> User:  # fmt: skip
    return User(name, grants or (BERLIN,), identity, state, None, None, last, sessions, NOW - 9 * DAY, NOW - DAY)


SOME = [
    user("ann", BERLIN, OSLO, last=NOW - HOUR, sessions=2),
    user("Bob", GLOBEX, identity="bob@globex.example", last=NOW - 3 * DAY),
    user("cid", state=INVITED),
    user("dan", Grant(Role.PLATFORM_ADMIN), state=DISABLED, last=NOW - 2 * DAY),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "ann Bob cid dan"), ("name:b*", "Bob"), ("ann", "ann"), ('role:"site admin"', "ann"),
        ("business:globex", "Bob"), ("site:oslo", "ann"), ("-site:berlin", "Bob dan"), ("email:@globex", "Bob"),
        ("last:-24h", "ann"), ("last:none", "cid"), ("sessions:>0", "ann"), ("identity:none", "ann cid dan"),
        ('"business admin, glob"', "Bob"), ("name:ann OR name:cid", "ann cid"), ("nobody", ""),
    ],
)  # fmt: skip
def test_a_filter_finds_users(text: str, found: str) -> None:
    assert [one.name for one in users.page(SOME, users.parse(text), NOW).users] == found.split()


def test_a_wrong_key_is_named() -> None:
    with pytest.raises(InvalidFilter, match="There is no key “rle”; did you mean role:"):
        users.parse("rle:admin")


def test_users_are_counted_by_state_whatever_state_is_shown() -> None:
    page = users.page(SOME, users.parse("-name:dan"), NOW, state=INVITED)
    assert [one.name for one in page.users] == ["cid"]
    assert page.counts == dict.fromkeys(STATES, 0) | {ACTIVE: 2, INVITED: 1}


@pytest.mark.parametrize(
    ("sort", "descending", "order"),
    [("name", False, "ann Bob cid dan"), ("name", True, "dan cid Bob ann"), ("last", True, "ann dan Bob cid"),
     ("last", False, "Bob dan ann cid"), ("sessions", True, "ann Bob cid dan")],
)  # fmt: skip
def test_users_are_sorted_and_who_never_signed_in_comes_last(sort: str, descending: bool, order: str) -> None:
    page = users.page(SOME, users.parse(""), NOW, sort=sort, descending=descending)
    assert [one.name for one in page.users] == order.split()


def test_pages_cover_everybody_once_and_one_beyond_the_last_is_the_last() -> None:
    many = [user(f"user-{n:04}") for n in range(1_003)]
    pages = [users.page(many, users.parse(""), NOW, number=n) for n in range(1, 22)]
    assert pages[0].of == 21
    assert [one.name for page in pages for one in page.users] == [one.name for one in many]
    assert [page.before for page in pages[:3]] == [0, 50, 100]
    for number in (22, 10**9):
        assert users.page(many, users.parse(""), NOW, number=number) == pages[-1]
    assert users.page(many, users.parse(""), NOW, number=-5) == pages[0]
    assert users.page([], users.parse(""), NOW).users == []
