"""Accounts, sign-in and sessions, on a real store and core and a clock that the test moves."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from engine import messages as m
from engine.access import (
    ACTIVE,
    BY_LINK,
    DISABLED,
    HASHED_AT_ONCE,
    INVITED,
    IS_DISABLED,
    LINK,
    LINK_VALID,
    NO_PASSWORD,
    THROTTLED,
    WRONG_PASSWORD,
    Access,
    Actor,
    SignedOut,
    User,
    WrongCredentials,
)  # fmt: skip
from engine.accounts import IDLE, LONGEST
from engine.clock import HOUR, MINUTE, SECOND, Reading
from engine.core import Core
from engine.errors import CommitFailed, DrainboardError, Invalid, NotAllowed, NotFound, Refused
from engine.oidc import Identity
from engine.outbox import Outbox
from engine.roles import EVERYTHING, Grant, Role
from engine.settings import Settings
from engine.throttle import (
    FIRST_DELAY,
    GUESS_SPAN,
    GUESSES_AT_AN_ACCOUNT,
    GUESSES_FROM_AN_ADDRESS,
    Throttled,
)  # fmt: skip
from engine.verbs import Context, manage_users

from .stores import fresh

START = 1_780_000_000 * SECOND
PASSWORD, OTHER = "correct horse battery", "wrong horse battery"
HERE, THERE = "127.0.0.1", "127.0.0.2"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

PLATFORM = Actor("root", EVERYTHING)
ACME_ADMIN = Actor("ada", (Grant(Role.BUSINESS_ADMIN, "acme"),))
SITE_USER = Grant(Role.SITE_USER, "acme", "berlin")


class Desk:
    """An access desk over a store, whose commands are committed at once; `breaks` lets the next commit fail."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.breaks = folder, START, False
        self.core = Core()
        self.open()
        for action in (m.AddBusiness("acme"), m.AddSite("acme", "berlin"), m.AddBusiness("globex"),
                       m.AddSite("globex", "berlin")):  # fmt: skip
            self.keep(m.Command(f"founding-{self.now}", "fleet", action))

    def open(self) -> None:
        self.store = fresh(self.folder)
        self.outbox = Outbox(self.store.batch)
        self.access = Access(self.store, self.keep, lambda: self.now, CHEAP)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def keep(self, command: m.Command) -> m.Outcome:
        if self.breaks:
            self.breaks = False
            raise CommitFailed
        self.now += 1
        step = self.core.step(Reading(self.now, self.now - START), [command])
        self.outbox.add(step)
        batch = self.outbox.seal()
        assert batch is not None
        if batch.rows:
            self.store.commit(batch.number, batch.now, batch.rows)
        self.outbox.settle(batch)
        ((_, outcome),) = step.outcomes
        return outcome

    def user(self, name: str, *grants: Grant, by: Actor = PLATFORM) -> str:
        """Invite somebody who sets the usual password; return the token of the session that this begins."""
        return self.access.use_link(self.access.invite(by, name, grants or (SITE_USER,)), PASSWORD, HERE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "store")
    yield desk
    desk.store.close()


def audits(desk: Desk) -> list[tuple[str, str, str]]:
    rows = desk.store.read("select actor, action, object_id from audit where object_kind = 'user' order by audit_id")
    return [tuple(row) for row in rows.rows()]


# --- the first admin, invitations, resets


def test_the_first_link_makes_the_platforms_admin_and_there_is_none_after_that(desk: Desk) -> None:
    secret = desk.access.first_link()
    assert secret is not None
    token = desk.access.use_link(secret, PASSWORD, HERE)
    assert desk.access.who(token) == Actor("admin", (Grant(Role.PLATFORM_ADMIN),))
    assert desk.access.first_link() is None
    desk.reopen()
    assert desk.access.first_link() is None
    assert audits(desk)[:2] == [("console", "invite", "admin"), ("admin", "set_password", "admin")]


def test_a_first_link_that_was_not_used_gives_way_to_that_of_the_next_start(desk: Desk) -> None:
    first = desk.access.first_link()
    desk.reopen()
    second = desk.access.first_link()
    assert first is not None
    assert second is not None
    with pytest.raises(NotFound):
        desk.access.use_link(first, PASSWORD, HERE)
    assert desk.access.use_link(second, PASSWORD, HERE)


def test_a_link_works_once_and_for_two_days_also_over_a_restart(desk: Desk) -> None:
    secret = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    desk.reopen()
    desk.access.use_link(secret, PASSWORD, HERE)
    for _ in range(2):
        with pytest.raises(NotFound, match="ask for a new one"):
            desk.access.use_link(secret, OTHER, HERE)
        desk.reopen()
    late = desk.access.invite(PLATFORM, "cid", [SITE_USER])
    desk.now += LINK_VALID
    with pytest.raises(NotFound):
        desk.access.use_link(late, PASSWORD, HERE)
    with pytest.raises(NotFound):
        desk.access.use_link("made up", PASSWORD, HERE)


def test_a_link_that_gave_way_to_another_stays_dead_over_a_restart_also_once_that_was_used(desk: Desk) -> None:
    first = desk.access.invite(PLATFORM, "ann", [SITE_USER])
    desk.now += SECOND
    desk.access.use_link(desk.access.invite(PLATFORM, "ann", [SITE_USER]), PASSWORD, HERE)
    desk.reopen()
    with pytest.raises(NotFound):
        desk.access.use_link(first, OTHER, THERE)
    assert desk.access.sign_in("ann", PASSWORD, HERE)


def test_a_commit_that_fails_leaves_a_link_to_be_used_again(desk: Desk) -> None:
    secret = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    desk.breaks = True
    with pytest.raises(CommitFailed):
        desk.access.use_link(secret, PASSWORD, HERE)
    assert desk.access.who(desk.access.use_link(secret, PASSWORD, HERE))


def test_a_reset_changes_the_password_and_ends_what_was_open(desk: Desk) -> None:
    before = desk.user("bob")
    secret = desk.access.reset(PLATFORM, "bob")
    assert desk.access.who(before), "the old password works until a new one is set"
    after = desk.access.use_link(secret, OTHER, THERE)
    assert desk.access.who(before) is None
    assert desk.access.who(after)
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("bob", PASSWORD, HERE)
    desk.reopen()
    assert desk.access.who(before) is None
    assert desk.access.sign_in("bob", OTHER, HERE)


@pytest.mark.parametrize("password", ["", "short", "x" * 1_001])
def test_a_password_too_short_or_too_long_is_refused_and_the_link_stays(desk: Desk, password: str) -> None:
    secret = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    with pytest.raises(Invalid, match="10 to 1,000 characters"):
        desk.access.use_link(secret, password, HERE)
    assert desk.access.use_link(secret, PASSWORD, HERE)


@pytest.mark.parametrize("name", ["", " bob", "bob/../ann", "b" * 65, "bob\n", "<b>"])
def test_names_that_could_mislead_are_refused(desk: Desk, name: str) -> None:
    with pytest.raises(Invalid):
        desk.access.invite(PLATFORM, name, [SITE_USER])


@pytest.mark.parametrize("name", ["Ann", "ANN", "Ann  Lee", "ann lee"])
def test_a_name_that_people_would_take_for_anothers_is_refused(desk: Desk, name: str) -> None:
    for known in ("ann", "Ann Lee"):
        desk.access.invite(PLATFORM, known, [SITE_USER])
    with pytest.raises(Refused, match="like"):
        desk.access.invite(PLATFORM, name, [SITE_USER])


@pytest.mark.parametrize("name", ["engine", "schedule", "Schedule", "System", "system", "import", "console", "fleet"])
def test_nobody_goes_by_the_name_under_which_the_console_itself_acts(desk: Desk, name: str) -> None:
    """Else he could be paused by nobody, and `verify` would take his work for the engine's."""
    with pytest.raises(Refused, match="console"):
        desk.access.invite(PLATFORM, name, [SITE_USER])


def test_neither_passwords_nor_tokens_nor_links_are_kept_as_they_are(desk: Desk) -> None:
    secret = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    token = desk.access.use_link(secret, PASSWORD, HERE)
    tables = ("account", "sign_in", "one_time_link", "audit")
    kept = "".join(str(desk.store.read(f"select * from {table}").rows()) for table in tables)
    assert "$argon2id$" in kept
    for confidential in (PASSWORD, token, secret):
        assert confidential not in kept


# --- sessions


def test_a_session_outlives_a_restart_and_ends_with_signing_out(desk: Desk) -> None:
    token = desk.user("bob")
    desk.reopen()
    assert desk.access.who(token) == Actor("bob", (SITE_USER,))
    desk.access.sign_out(token)
    assert desk.access.who(token) is None
    desk.access.sign_out(token)
    desk.reopen()
    assert desk.access.who(token) is None
    with pytest.raises(SignedOut):
        desk.access.require(token)


def test_a_session_that_is_in_use_outlives_a_restart_and_one_that_idles_does_not(desk: Desk) -> None:
    used, idle = desk.user("bob"), desk.access.sign_in("bob", PASSWORD, HERE)
    trail, batch = audits(desk), desk.store.batch
    desk.now += IDLE - MINUTE
    assert desk.access.who(used)
    assert desk.access.note_use() == 1
    assert desk.access.note_use() == 0, "nothing was used since"
    assert (audits(desk), desk.store.batch) == (trail, batch + 1), "one commit for all sessions, and no audit row"
    desk.reopen()
    desk.now += IDLE - MINUTE
    assert desk.access.who(used) == Actor("bob", (SITE_USER,))
    assert desk.access.who(idle) is None


def test_last_use_that_can_not_be_kept_now_is_kept_with_the_next_note(desk: Desk) -> None:
    token = desk.user("bob")
    desk.now += IDLE - MINUTE
    assert desk.access.who(token)
    desk.breaks = True
    with pytest.raises(CommitFailed):
        desk.access.note_use()
    assert desk.access.note_use() == 1
    desk.reopen()
    desk.now += IDLE - MINUTE
    assert desk.access.who(token)


def test_a_session_that_ends_while_its_use_is_noted_stays_ended(desk: Desk) -> None:
    token = desk.user("bob")
    desk.now += MINUTE
    assert desk.access.who(token)
    leaving = threading.Thread(target=desk.access.sign_out, args=[token])
    keep = desk.keep

    def slowly(command: m.Command) -> m.Outcome:
        if isinstance(command.action, m.NoteUse):
            leaving.start()
            leaving.join(0.2)
        return keep(command)

    desk.access._keep = slowly
    assert desk.access.note_use() == 1
    leaving.join(10)
    assert desk.access.who(token) is None
    desk.reopen()
    assert desk.access.who(token) is None


def test_a_session_ends_when_idle_and_at_last_even_when_used(desk: Desk) -> None:
    idle, used = desk.user("bob"), desk.access.sign_in("bob", PASSWORD, HERE)
    began = desk.now
    desk.now += IDLE - MINUTE
    assert desk.access.who(used)
    desk.now += 2 * MINUTE
    assert desk.access.who(idle) is None
    while desk.now + 20 * MINUTE < began + LONGEST:
        desk.now += 20 * MINUTE
        assert desk.access.who(used)
    desk.now = began + LONGEST + MINUTE
    assert desk.access.who(used) is None


def test_each_sign_in_has_a_token_of_its_own_and_nobody_can_choose_one(desk: Desk) -> None:
    tokens = {desk.user("bob"), *(desk.access.sign_in("bob", PASSWORD, HERE) for _ in range(3))}
    assert len(tokens) == 4
    assert all(desk.access.who(token) for token in tokens)
    for stranger in (None, "", "0", "a" * 43, "\x00"):
        assert desk.access.who(stranger) is None


def test_the_last_platform_admin_who_can_sign_in_is_not_disabled(desk: Desk) -> None:
    platform = Grant(Role.PLATFORM_ADMIN)
    root, second = desk.user("root", platform), desk.access.invite(PLATFORM, "second", [platform])
    cli = Actor("cli:ops", EVERYTHING)
    with pytest.raises(Refused, match="root is the last platform admin who can sign in"):
        desk.access.disable(cli, "root")
    assert desk.access.who(root), "an invitation that nobody has used yet does not count"
    desk.access.use_link(second, PASSWORD, HERE)
    desk.access.disable(cli, "root")
    with pytest.raises(Refused, match="second is the last"):
        desk.access.disable(cli, "second")
    desk.access.disable(cli, "root", disabled=False)
    desk.access.disable(cli, "second")


def test_two_admins_who_disable_each_other_at_once_leave_one(desk: Desk) -> None:
    names = ("root", "second")
    for name in names:
        desk.user(name, Grant(Role.PLATFORM_ADMIN))
    at_once, refused = threading.Barrier(2), list[str]()

    def disable(by: str, other: str) -> None:
        at_once.wait()
        try:
            desk.access.disable(Actor(by, EVERYTHING), other)
        except Refused as refusal:
            refused.append(str(refusal))

    both = [threading.Thread(target=disable, args=pair) for pair in (names, names[::-1])]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(refused) == 1
    assert sum(not user.disabled for user in desk.access.users(PLATFORM)) == 1


def test_disabling_ends_open_sessions_at_once_and_bars_the_door_until_enabled(desk: Desk) -> None:
    token = desk.user("bob")
    desk.access.disable(PLATFORM, "bob")
    assert desk.access.who(token) is None
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("bob", PASSWORD, HERE)
    desk.access.disable(PLATFORM, "bob", disabled=False)
    assert desk.access.who(token) is None, "what was open stays closed"
    assert desk.access.sign_in("bob", PASSWORD, HERE)
    with pytest.raises(Refused, match="another admin"):
        desk.access.disable(Actor("bob", EVERYTHING), "bob")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_link_that_was_sent_before_a_disabling_is_of_no_use_after_enabling(desk: Desk, restarted: bool) -> None:
    desk.user("bob")
    for secret in (desk.access.invite(ACME_ADMIN, "ann", [SITE_USER]), desk.access.reset(PLATFORM, "bob")):
        name = desk.access.link(secret).account
        desk.access.disable(PLATFORM, name)
        if restarted:
            desk.reopen()
        desk.access.disable(PLATFORM, name, disabled=False)
        assert seen(desk, name).link_until is None
        with pytest.raises(NotFound, match="ask for a new one"):
            desk.access.use_link(secret, OTHER, HERE)
        assert desk.access.use_link(desk.access.reset(PLATFORM, name), OTHER, HERE)


def test_an_invitation_of_somebody_who_is_disabled_is_not_renewed(desk: Desk) -> None:
    desk.access.invite(ACME_ADMIN, "ann", [SITE_USER])
    desk.access.disable(PLATFORM, "ann")
    for renew in (lambda: desk.access.invite(ACME_ADMIN, "ann", [SITE_USER]),
                  lambda: desk.access.reset(PLATFORM, "ann")):  # fmt: skip
        with pytest.raises(Refused, match="enable the account first"):
            renew()
    assert seen(desk, "ann").disabled


def test_where_the_first_admin_is_disabled_or_signs_in_by_a_provider_no_link_is_made_for_him(desk: Desk) -> None:
    assert desk.access.first_link()
    desk.access.disable(PLATFORM, "admin")
    desk.reopen()
    assert desk.access.first_link() is None
    assert seen(desk, "admin").disabled
    desk.access.disable(PLATFORM, "admin", disabled=False)
    assert desk.access.first_link()
    desk.access.change(PLATFORM, "admin", [Grant(Role.PLATFORM_ADMIN)], "sub:1")
    assert desk.access.sign_in_as(Identity("1", None, None), "Acme ID", HERE)
    desk.reopen()
    assert desk.access.first_link() is None


def test_a_disabling_that_could_not_be_kept_leaves_session_and_link_as_they_were(desk: Desk) -> None:
    token, secret = desk.user("bob"), desk.access.reset(PLATFORM, "bob")
    desk.breaks = True
    with pytest.raises(CommitFailed):
        desk.access.disable(PLATFORM, "bob")
    assert desk.access.who(token)
    assert not seen(desk, "bob").disabled
    assert desk.access.use_link(secret, OTHER, HERE)


# --- guessing


def test_a_wrong_name_and_a_wrong_password_are_told_alike(desk: Desk) -> None:
    desk.user("bob")
    told = []
    for name, password in (("bob", OTHER), ("nobody", PASSWORD), ("", ""), ("bob", "")):
        with pytest.raises(WrongCredentials) as error:
            desk.access.sign_in(name, password, THERE)
        told.append(str(error.value))
    assert len(set(told)) == 1
    desk.access.invite(PLATFORM, "cid", [SITE_USER])
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("cid", "", HERE)


def test_of_a_thousand_guesses_few_are_looked_at_and_the_owner_still_gets_in_from_elsewhere(desk: Desk) -> None:
    desk.user("bob")
    looked_at = 0
    for n in range(1_000):
        desk.now += SECOND // 10
        try:
            desk.access.sign_in("bob", f"guess {n}", THERE)
        except WrongCredentials:
            looked_at += 1
        except Throttled:
            pass
    assert GUESSES_AT_AN_ACCOUNT <= looked_at <= 25
    with pytest.raises(Throttled, match="try again in"):
        desk.access.sign_in("bob", PASSWORD, THERE)
    assert desk.access.sign_in("bob", PASSWORD, HERE)
    desk.now += GUESS_SPAN + HOUR
    assert desk.access.sign_in("bob", PASSWORD, THERE), "nobody is locked out for ever"


@pytest.mark.parametrize("address", ["2001:db8:1:2::{:x}", "2001:db8:1:2:{:x}::1%eth0", "::ffff:127.0.0.2"])
def test_who_has_a_network_of_addresses_has_no_more_guesses_than_who_has_one(desk: Desk, address: str) -> None:
    desk.user("bob")
    for n in range(GUESSES_AT_AN_ACCOUNT):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in("bob", OTHER, address.format(n + 1))
    with pytest.raises(Throttled):
        desk.access.sign_in("bob", PASSWORD, address.format(99))
    for elsewhere in ("2001:db8:1:3::1", "127.0.0.1", "::1", "unknown"):
        assert desk.access.sign_in("bob", PASSWORD, elsewhere)


class Crowded(PasswordHasher):
    """Hashes as ever, but finds out whether more passwords than may be are hashed at once."""

    met = threading.Barrier(HASHED_AT_ONCE + 1, timeout=1)
    crowded = False

    def verify(self, *given: Any) -> Any:
        try:
            self.met.wait()
            Crowded.crowded = True
        except threading.BrokenBarrierError:
            pass
        return super().verify(*given)


def test_a_crowd_of_guesses_takes_the_memory_of_a_few(desk: Desk) -> None:
    access = Access(desk.store, desk.keep, lambda: desk.now, Crowded(time_cost=1, memory_cost=8, parallelism=1))
    told: list[str] = []

    def guess(n: int) -> None:
        with pytest.raises(WrongCredentials):
            access.sign_in(f"user-{n}", OTHER, THERE)
        told.append("wrong")

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(3 * HASHED_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == len(threads), "all are answered"
    assert not Crowded.crowded


def test_guesses_over_many_names_from_one_address_are_throttled_too(desk: Desk) -> None:
    looked_at = 0
    for n in range(500):
        desk.now += SECOND // 100
        try:
            desk.access.sign_in(f"user-{n}", OTHER, THERE)
        except WrongCredentials:
            looked_at += 1
        except Throttled:
            pass
    assert looked_at == GUESSES_FROM_AN_ADDRESS


def test_the_wait_doubles_with_each_further_wrong_guess(desk: Desk) -> None:
    desk.user("bob")
    for _ in range(GUESSES_AT_AN_ACCOUNT):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in("bob", OTHER, THERE)
    waits = []
    for _ in range(3):
        with pytest.raises(Throttled) as told:
            desk.access.sign_in("bob", OTHER, THERE)
        waits.append(told.value.facts["wait_us"])
        desk.now += waits[-1]
        with pytest.raises(WrongCredentials):
            desk.access.sign_in("bob", OTHER, THERE)
    assert [round(wait / FIRST_DELAY) for wait in waits] == [1, 2, 4]


# --- who manages whom


def test_a_business_admin_manages_users_of_his_business_and_nobody_elses(desk: Desk) -> None:
    desk.access.invite(ACME_ADMIN, "bob", [SITE_USER])
    for grant in (Grant(Role.PLATFORM_ADMIN), Grant(Role.SITE_USER, "globex", "berlin")):
        with pytest.raises(NotAllowed):
            desk.access.invite(ACME_ADMIN, "eve", [grant])
    desk.access.invite(PLATFORM, "both", [SITE_USER, Grant(Role.SITE_USER, "globex", "berlin")])
    desk.access.invite(PLATFORM, "root2", [Grant(Role.PLATFORM_ADMIN)])
    assert [account.name for account in desk.access.users(ACME_ADMIN)] == ["bob"]
    for name in ("both", "root2", "nobody"):
        for act in (desk.access.reset, desk.access.disable):
            with pytest.raises(NotFound, match="There is no user"):
                act(ACME_ADMIN, name)
    with pytest.raises(Refused, match="already"):
        desk.access.invite(ACME_ADMIN, "root2", [SITE_USER])
    assert {a.name for a in desk.access.users(PLATFORM)} == {"bob", "both", "root2"}
    assert desk.access.users(Actor("sam", (SITE_USER,))) == []


def test_an_invitation_can_be_renewed_until_a_password_is_set(desk: Desk) -> None:
    first = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    second = desk.access.invite(PLATFORM, "bob", [Grant(Role.SITE_ADMIN, "acme", "berlin")])
    with pytest.raises(NotFound):
        desk.access.use_link(first, PASSWORD, HERE)
    token = desk.access.use_link(second, PASSWORD, HERE)
    actor = desk.access.who(token)
    assert actor is not None
    assert actor.grants == (Grant(Role.SITE_ADMIN, "acme", "berlin"),)
    with pytest.raises(Refused, match="already"):
        desk.access.invite(PLATFORM, "bob", [SITE_USER])


GLOBEX_USER = Grant(Role.SITE_USER, "globex", "berlin")
ROOT = Grant(Role.PLATFORM_ADMIN)


def seen(desk: Desk, name: str, by: Actor = PLATFORM) -> User:
    return next(user for user in desk.access.users(by) if user.name == name)


def test_other_roles_count_at_once_in_what_is_open(desk: Desk) -> None:
    token = desk.user("bob")
    desk.access.change(PLATFORM, "bob", [Grant(Role.BUSINESS_ADMIN, "acme")], reason="promoted")
    assert desk.access.who(token) == Actor("bob", (Grant(Role.BUSINESS_ADMIN, "acme"),))
    desk.reopen()
    assert desk.access.who(token) == Actor("bob", (Grant(Role.BUSINESS_ADMIN, "acme"),))
    (row,) = desk.store.read("select business, before, after, reason from audit where action = 'change'").rows()
    assert row[0] == "acme"
    assert "site_user" in row[1]
    assert "business_admin" in row[2]
    assert row[3] == "promoted"


def test_nobody_gives_another_more_than_he_has_or_changes_his_own_roles(desk: Desk) -> None:
    desk.user("bob")
    desk.access.invite(PLATFORM, "both", [SITE_USER, GLOBEX_USER])
    before = {user.name: user.grants for user in desk.access.users(PLATFORM)}
    for grants in ([ROOT], [SITE_USER, GLOBEX_USER], [Grant(Role.BUSINESS_ADMIN, "globex")]):
        with pytest.raises(NotAllowed):
            desk.access.change(ACME_ADMIN, "bob", grants)
    with pytest.raises(Invalid, match="at least one role"):
        desk.access.change(ACME_ADMIN, "bob", [])
    with pytest.raises(NotFound):
        desk.access.change(ACME_ADMIN, "both", [SITE_USER])
    own = Actor("bob", (Grant(Role.BUSINESS_ADMIN, "acme"),))
    with pytest.raises(Refused, match="your own roles"):
        desk.access.change(own, "bob", [Grant(Role.BUSINESS_ADMIN, "acme")])
    assert {user.name: user.grants for user in desk.access.users(PLATFORM)} == before


def test_who_manages_users_of_two_businesses_manages_one_who_is_of_both(desk: Desk) -> None:
    admin = Actor("ada", (Grant(Role.BUSINESS_ADMIN, "acme"), Grant(Role.BUSINESS_ADMIN, "globex")))
    desk.access.invite(admin, "both", [SITE_USER, GLOBEX_USER])
    desk.access.disable(admin, "both")
    assert seen(desk, "both", admin).state == DISABLED
    with pytest.raises(NotFound):
        desk.access.disable(ACME_ADMIN, "both")


def test_where_else_a_user_had_or_gets_a_role_is_told_to_neither_business(desk: Desk) -> None:
    canary = Grant(Role.SITE_USER, "globex", "canary")
    desk.keep(m.Command("canary", "fleet", m.AddSite("globex", "canary")))
    desk.access.invite(PLATFORM, "ann", [SITE_USER, canary])
    desk.access.change(PLATFORM, "ann", [SITE_USER])
    desk.access.change(PLATFORM, "ann", [canary])
    rows = desk.store.rows("audit", "action = 'change'")
    assert [row.business for row in rows] == [None, None]
    both = Actor("bo", (Grant(Role.BUSINESS_ADMIN, "acme"), Grant(Role.BUSINESS_ADMIN, "globex")))
    desk.access.change(both, "ann", [canary, SITE_USER])
    desk.access.change(both, "ann", [SITE_USER])
    (ann,) = [user for user in desk.access.users(PLATFORM) if user.name == "ann"]
    assert ann.grants == (SITE_USER,)
    desk.access.invite(both, "ann", [canary])
    assert not desk.store.rows("audit", "business is not null and before::varchar like '%canary%'")


def test_the_last_platform_admin_who_can_sign_in_keeps_that_role(desk: Desk) -> None:
    cli = Actor("cli:ops", EVERYTHING)
    desk.user("root", ROOT)
    desk.access.invite(PLATFORM, "second", [ROOT], "second@acme.example")
    with pytest.raises(Refused, match="root is the last platform admin"):
        desk.access.change(cli, "root", [SITE_USER])
    desk.user("third", ROOT)
    desk.access.change(cli, "root", [SITE_USER])
    assert seen(desk, "root").grants == (SITE_USER,)


def test_of_two_who_change_a_user_the_second_looks_again(desk: Desk) -> None:
    desk.user("bob")
    as_seen = seen(desk, "bob").changed_at
    desk.access.change(PLATFORM, "bob", [Grant(Role.SITE_ADMIN, "acme", "berlin")], seen=as_seen)
    with pytest.raises(Refused, match="look again"):
        desk.access.change(PLATFORM, "bob", [SITE_USER], seen=as_seen)


def test_two_who_change_a_user_at_once_undo_nothing_of_each_other(desk: Desk) -> None:
    secret = desk.access.invite(PLATFORM, "bob", [SITE_USER])
    keep, setting = desk.keep, threading.Thread(target=lambda: desk.access.use_link(secret, PASSWORD, HERE))

    def slowly(command: m.Command) -> m.Outcome:
        if isinstance(command.action, m.KeepUsers):
            setting.start()
            setting.join(0.3)
        return keep(command)

    desk.access._keep = slowly
    desk.access.change(PLATFORM, "bob", [Grant(Role.SITE_ADMIN, "acme", "berlin")])
    setting.join(10)
    desk.reopen()
    assert seen(desk, "bob").grants == (Grant(Role.SITE_ADMIN, "acme", "berlin"),)
    assert desk.access.sign_in("bob", PASSWORD, HERE)


def test_signing_out_everywhere_ends_all_sessions_also_over_a_restart_and_leaves_the_door_open(desk: Desk) -> None:
    tokens = [desk.user("bob"), desk.access.sign_in("bob", PASSWORD, THERE)]
    other = desk.user("cid")
    assert seen(desk, "bob").sessions == 2
    assert {session.address for session in desk.access.sessions(PLATFORM, "bob")} == {HERE, THERE}
    assert desk.access.sign_out_everywhere(ACME_ADMIN, "bob") == 2
    for _ in range(2):
        assert not any(map(desk.access.who, tokens))
        assert desk.access.who(other)
        desk.reopen()
    assert seen(desk, "bob").sessions == 0
    assert desk.access.sign_in("bob", PASSWORD, HERE)


def test_a_session_that_disabling_ended_stays_ended_over_a_restart_and_an_enabling(desk: Desk) -> None:
    token = desk.user("bob")
    desk.access.disable(PLATFORM, "bob")
    desk.reopen()
    desk.access.disable(PLATFORM, "bob", disabled=False)
    assert desk.access.who(token) is None


def test_sessions_last_where_their_end_could_not_be_kept(desk: Desk) -> None:
    token = desk.user("bob")
    for act in (desk.access.disable, desk.access.sign_out_everywhere):
        desk.breaks = True
        with pytest.raises(CommitFailed):
            act(PLATFORM, "bob")
        assert desk.access.who(token)


def test_a_sign_in_that_crosses_with_a_disabling_leaves_no_session(desk: Desk) -> None:
    desk.user("bob")
    keep = desk.keep

    def meanwhile(command: m.Command) -> m.Outcome:
        outcome = keep(command)
        if isinstance(command.action, m.KeepSignIn) and command.action.verb == "sign_in":
            desk.access._keep = keep
            desk.access.disable(PLATFORM, "bob")
        return outcome

    desk.access._keep = meanwhile
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("bob", PASSWORD, HERE)
    desk.access.disable(PLATFORM, "bob", disabled=False)
    desk.reopen()
    assert seen(desk, "bob").sessions == 0


def test_a_users_state_is_told(desk: Desk) -> None:
    secret = desk.access.invite(ACME_ADMIN, "bob", [SITE_USER])
    invited = seen(desk, "bob")
    assert (invited.state, invited.link_until, invited.last_at) == (INVITED, desk.now - 1 + LINK_VALID, None)
    desk.access.use_link(secret, PASSWORD, HERE)
    active = seen(desk, "bob")
    assert (active.state, active.link_until, active.last_at, active.sessions) == (ACTIVE, None, desk.now - 1, 1)
    for _ in range(GUESSES_AT_AN_ACCOUNT):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in("bob", OTHER, THERE)
    assert (seen(desk, "bob").state, seen(desk, "bob").until) == (THROTTLED, desk.now + FIRST_DELAY)
    desk.access.disable(PLATFORM, "bob")
    assert seen(desk, "bob").state == DISABLED
    with pytest.raises(Refused, match="enable the account first"):
        desk.access.reset(PLATFORM, "bob")


def test_an_invitation_can_be_renewed_until_somebody_has_signed_in(desk: Desk) -> None:
    first = desk.access.invite(ACME_ADMIN, "bob", [SITE_USER])
    with pytest.raises(Refused, match="already"):
        desk.access.invite(ACME_ADMIN, "bob", [SITE_USER], renew=False)
    second = desk.access.invite(ACME_ADMIN, "bob", [SITE_USER])
    with pytest.raises(NotFound):
        desk.access.link(first)
    desk.access.use_link(second, PASSWORD, HERE)
    with pytest.raises(Refused, match="already"):
        desk.access.invite(ACME_ADMIN, "bob", [SITE_USER])


def test_a_history_tells_when_from_where_how_and_why_not(desk: Desk) -> None:
    desk.access.sign_out(desk.user("bob"))
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("bob", OTHER, THERE)
    at = desk.now
    expected = [
        ("sign_in", WRONG_PASSWORD, THERE, "password"), ("sign_out", None, None, None),
        ("sign_in", None, HERE, BY_LINK), ("set_password", None, HERE, BY_LINK),
    ]  # fmt: skip
    assert [tuple(step[1:5]) for step in desk.access.history(ACME_ADMIN, "bob")] == expected
    desk.now += SECOND
    assert desk.access.note_refused() == 1
    assert desk.access.note_refused() == 0
    for _ in range(2):
        history = desk.access.history(ACME_ADMIN, "bob")
        assert [tuple(step[1:5]) for step in history] == expected
        assert history[0].at == at, "when it was tried, not when it was written"
        desk.reopen()
    desk.access.invite(PLATFORM, "cid", [GLOBEX_USER])
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("cid", OTHER, THERE)
    assert desk.access.history(PLATFORM, "cid")[0].refused == NO_PASSWORD
    with pytest.raises(NotFound, match="There is no user “cid”"):
        desk.access.history(ACME_ADMIN, "cid")
    desk.access.disable(PLATFORM, "bob")
    with pytest.raises(WrongCredentials):
        desk.access.sign_in("bob", PASSWORD, THERE)
    assert desk.access.history(PLATFORM, "bob")[0].refused == IS_DISABLED


def test_what_became_of_sign_ins_at_another_business_is_for_that_to_know(desk: Desk) -> None:
    desk.user("ann", Grant(Role.BUSINESS_ADMIN, "globex"))
    desk.now += SECOND
    desk.access.change(PLATFORM, "ann", [SITE_USER])
    desk.access.sign_in("ann", PASSWORD, THERE)
    assert [step.address for step in desk.access.history(ACME_ADMIN, "ann")] == [THERE]
    assert len(desk.access.history(PLATFORM, "ann")) > 1


@pytest.mark.parametrize("grant", [Grant(Role.SITE_USER, "acme", "berlim"), Grant(Role.BUSINESS_ADMIN, "globez")])
def test_no_role_is_given_at_a_place_that_is_not_there(desk: Desk, grant: Grant) -> None:
    with pytest.raises(NotAllowed, match="There is no"):
        desk.access.invite(PLATFORM, "ann", [grant])
    desk.user("bob")
    with pytest.raises(NotAllowed, match="There is no"):
        desk.access.change(PLATFORM, "bob", [grant])


def test_who_was_not_let_in_is_kept_of_users_only_and_takes_no_commit_of_its_own(desk: Desk) -> None:
    desk.user("bob")
    batch = desk.store.batch
    for name in ("bob", "hunter2, a password typed as a name"):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in(name, OTHER, THERE)
    assert desk.store.batch == batch
    desk.breaks = True
    with pytest.raises(CommitFailed):
        desk.access.note_refused()
    assert desk.access.note_refused() == 1
    (row,) = desk.store.read("select business, actor, object_id, outcome from audit where outcome <> 'changed'").rows()
    assert row == ("acme", "console", "bob", WRONG_PASSWORD)


def test_wrong_guesses_are_forgiven_by_who_may(desk: Desk) -> None:
    desk.user("bob")

    def guess() -> None:
        with pytest.raises(WrongCredentials):
            desk.access.sign_in("bob", OTHER, THERE)

    for _ in range(GUESSES_AT_AN_ACCOUNT):
        guess()
    (waiting,) = desk.access.guesses(ACME_ADMIN, "bob")
    assert (waiting.address, waiting.wrong, waiting.until) == (THERE, GUESSES_AT_AN_ACCOUNT, desk.now + FIRST_DELAY)
    with pytest.raises(NotFound):
        desk.access.forgive(Actor("gus", (Grant(Role.BUSINESS_ADMIN, "globex"),)), "bob")
    desk.access.forgive(ACME_ADMIN, "bob")
    assert desk.access.guesses(ACME_ADMIN, "bob") == []
    assert desk.access.sign_in("bob", PASSWORD, THERE)
    assert ("ada", "forgive", "bob") in audits(desk)


def test_an_address_that_waits_for_all_its_guesses_is_let_go_on_by_who_manages_all_users_only(desk: Desk) -> None:
    desk.user("bob")
    desk.user("bea")
    for n in range(GUESSES_FROM_AN_ADDRESS):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in({0: "bob", 1: "bea"}.get(n, f"user-{n}"), OTHER, THERE)
    (waiting,) = desk.access.guesses(ACME_ADMIN, "bob")
    assert waiting.until == 0
    assert waiting.of_address > desk.now
    desk.access.forgive(ACME_ADMIN, "bob")
    with pytest.raises(Throttled):
        desk.access.sign_in("bob", PASSWORD, THERE)
    desk.access.forgive(PLATFORM, "bea")
    assert desk.access.sign_in("bob", PASSWORD, THERE)


@pytest.mark.parametrize("identity", ["bob", "bob@", "@acme.example", "b b@acme.example", "sub:", "sub:a b", "x\n@a.b"])
def test_an_identity_that_no_provider_could_give_is_refused(desk: Desk, identity: str) -> None:
    with pytest.raises(Invalid, match="identity"):
        desk.access.invite(PLATFORM, "bob", [SITE_USER], identity)


def test_an_identity_is_of_one_account_and_another_one_ends_what_is_open(desk: Desk) -> None:
    token = desk.access.use_link(desk.access.invite(PLATFORM, "bob", [SITE_USER], "Bob@acme.example"), PASSWORD, HERE)
    with pytest.raises(Refused, match="Another account has that identity"):
        desk.access.invite(PLATFORM, "cid", [SITE_USER], "bob@ACME.example")
    desk.access.change(PLATFORM, "bob", [SITE_USER], "Bob@acme.example")
    assert desk.access.who(token)
    desk.access.change(PLATFORM, "bob", [SITE_USER], "sub:1234")
    assert desk.access.who(token) is None
    desk.access.invite(PLATFORM, "cid", [SITE_USER], "bob@acme.example")
    desk.access.invite(PLATFORM, "dan", [SITE_USER], "sub:ABC")
    desk.access.invite(PLATFORM, "eva", [SITE_USER], "sub:abc")
    desk.reopen()
    assert seen(desk, "bob").identity == "sub:1234"


def test_a_link_is_told_with_the_consoles_address_where_that_is_known_and_is_the_last_word_always(desk: Desk) -> None:
    def told(**settings: str) -> str:
        context = Context(desk.folder, Settings(settings), desk.store, "cli:ops", access=desk.access)
        reply = manage_users(context, "invite", "bob", "platform_admin")
        assert reply.text.split()[-1] == reply.data["link"]
        return reply.text

    whole = told(public_url="https://console.example.org/")
    assert whole.split()[-1].startswith("https://console.example.org/auth/link/")
    assert "public_url" not in whole
    bare = told()
    assert bare.split()[-1].startswith("/auth/link/")
    assert "Put in front of it where browsers reach the console" in bare


def test_the_command_line_lists_users_as_they_stand_and_signs_them_out(desk: Desk) -> None:
    token = desk.user("bob")
    desk.access.invite(PLATFORM, "cid", [SITE_USER], "cid@acme.example")
    context = Context(desk.folder, Settings(), desk.store, "cli:ops", access=desk.access)
    listed = manage_users(context, "list")
    assert listed.text.splitlines() == ["bob: site_user / acme / berlin", "cid (invited): site_user / acme / berlin"]
    assert [(u["name"], u["sessions"], u["identity"]) for u in listed.data["users"]] == [
        ("bob", 1, None), ("cid", 0, "cid@acme.example"),
    ]  # fmt: skip
    assert manage_users(context, "sign-out", "bob").data["sessions"] == 1
    assert desk.access.who(token) is None


def test_the_command_line_changes_users_as_the_page_does_and_says_why_in_the_audit_trail(desk: Desk) -> None:
    context = Context(desk.folder, Settings(), desk.store, "cli:ops", access=desk.access)
    token = desk.user("bob")
    at_acme = {"role": "business_admin", "business": "acme"}
    assert "Business admin, acme; Site user, berlin, acme" in manage_users(context, "grant", "bob", **at_acme).text
    assert desk.access.require(token).grants == (SITE_USER, Grant(Role.BUSINESS_ADMIN, "acme"))
    manage_users(context, "revoke", "bob", "site_user", "acme", "berlin", reason="he moved on")
    assert desk.access.require(token).grants == (Grant(Role.BUSINESS_ADMIN, "acme"),)
    manage_users(context, "change", "bob", "site_user", "acme", "berlin", "bob@acme.example")
    assert (seen(desk, "bob").grants, seen(desk, "bob").identity) == ((SITE_USER,), "bob@acme.example")
    assert desk.access.who(token) is None, "another identity ends what is open"
    manage_users(context, "change", "bob", identity="")
    assert (seen(desk, "bob").grants, seen(desk, "bob").identity) == ((SITE_USER,), None)
    assert "so already" in manage_users(context, "grant", "bob", "site_user", "acme", "berlin").text
    manage_users(context, "disable", "bob", reason="on leave")
    manage_users(context, "enable", "bob")
    manage_users(context, "forgive", "bob", reason="it was him")
    trail = desk.store.read("select action, reason from audit where actor = 'cli:ops' order by audit_id").rows()
    assert trail == [
        ("change", None), ("change", "he moved on"), ("change", None), ("change", None), ("disable", "on leave"),
        ("enable", None), ("forgive", "it was him"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("do", "given", "said"),
    [
        ("change", {}, "It needs a --role, or an --identity"), ("grant", {}, "It needs the --role that is meant"),
        ("revoke", {"role": "platform_admin"}, "bob has no such role; he is Site user, berlin, acme"),
        ("revoke", {"role": "site_user", "business": "acme", "site": "berlin"}, "It is the last role of bob"),
        ("grant", {"role": "site_user", "business": "acme"}, "goes with a business and a site"),
        ("invite", {}, "There is a user “bob” already"),
    ],
)
def test_the_command_line_refuses_half_a_change_of_a_user(
    desk: Desk, do: str, given: dict[str, str], said: str
) -> None:
    desk.user("bob")
    before = seen(desk, "bob")
    with pytest.raises(DrainboardError, match=re.escape(said)):
        manage_users(Context(desk.folder, Settings(), desk.store, "cli:ops", access=desk.access), do, "bob", **given)
    assert seen(desk, "bob") == before


def test_an_invitation_that_got_lost_is_made_anew_with_the_roles_it_had(desk: Desk) -> None:
    context = Context(desk.folder, Settings(), desk.store, "cli:ops", access=desk.access)
    desk.access.invite(PLATFORM, "cid", [SITE_USER], "cid@acme.example")
    secret = manage_users(context, "invite", "cid").data["link"].removeprefix(LINK)
    assert desk.access.link(secret).account == "cid"
    assert (seen(desk, "cid").grants, seen(desk, "cid").identity) == ((SITE_USER,), "cid@acme.example")


def test_what_would_be_refused_of_a_user_is_told_beforehand_and_is_refused(desk: Desk) -> None:
    desk.user("root", ROOT)
    desk.user("bob")
    desk.access.disable(PLATFORM, "bob")
    cli = Actor("cli:ops", EVERYTHING)
    assert desk.access.obstacles(Actor("root", EVERYTHING), "root").keys() == {"disable", "roles"}
    for name, what, act in (("root", "disable", desk.access.disable), ("bob", "link", desk.access.reset)):
        ((key, why),) = desk.access.obstacles(cli, name).items()
        assert key == what
        with pytest.raises(Refused) as refusal:
            act(cli, name)
        assert str(refusal.value) == why
    with pytest.raises(NotFound):
        desk.access.obstacles(ACME_ADMIN, "root")


# --- identity providers


def test_who_is_vouched_for_gets_the_session_of_the_account_with_that_identity(desk: Desk) -> None:
    desk.access.invite(PLATFORM, "bob", [SITE_USER], "bob@acme.example")
    desk.access.invite(PLATFORM, "cid", [SITE_USER], "sub:1234")
    token = desk.access.sign_in_as(Identity("77", "BOB@acme.example", None), "Acme ID", HERE)
    assert desk.access.who(token) == Actor("bob", (SITE_USER,))
    assert seen(desk, "bob").state == ACTIVE
    assert desk.access.history(PLATFORM, "bob")[0][1:5] == ("sign_in", None, HERE, "Acme ID")
    both = desk.access.sign_in_as(Identity("1234", "bob@acme.example", None), "Acme ID", HERE)
    assert desk.access.who(both) == Actor("cid", (SITE_USER,)), "what the provider made up is surer than an address"
    desk.reopen()
    assert desk.access.who(token)
    desk.access.disable(PLATFORM, "bob")
    assert desk.access.who(token) is None


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        (Identity("77", None, "bob@acme.example"), "Acme ID has not verified that bob@acme.example is yours"),
        (Identity("77", "eve@acme.example", None), "No account here has the identity eve@acme.example"),
        (Identity("77", None, None), "No account here has the identity sub:77"),
        (Identity("bob@acme.example", None, None), "No account here has the identity sub:bob@acme.example"),
        (Identity("1234 ", None, None), "No account"), (Identity("12345", None, None), "No account"),
        (Identity("77", "sub:1234", None), "No account"), (Identity("77", "\u212aim@acme.example", None), "No account"),
        (Identity("9", "dan@acme.example", None), "The account dan is disabled"),
    ],
)  # fmt: skip
def test_nobody_gets_in_by_an_identity_that_is_not_his_accounts(desk: Desk, identity: Identity, why: str) -> None:
    for name, known in (("bob", "bob@acme.example"), ("cid", "sub:1234"), ("kim", "kim@acme.example"),
                        ("dan", "dan@acme.example"), ("none", None)):  # fmt: skip
        desk.access.invite(PLATFORM, name, [SITE_USER], known)
    desk.access.disable(PLATFORM, "dan")
    users = desk.access.users(PLATFORM)
    with pytest.raises(NotAllowed, match=re.escape(why)):
        desk.access.sign_in_as(identity, "Acme ID", HERE)
    assert desk.access.users(PLATFORM) == users
    assert not any(user.sessions for user in users)
