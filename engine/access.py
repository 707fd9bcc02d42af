"""Accounts, sign-in and sessions: who somebody is, asked anew each time.

A session is an opaque token that only the browser keeps; here is its SHA-256. `who` looks it up on every command, query
and refresh, so that signing out, disabling an account or changing its grants works at once, in every open tab. There is
no default account: while none exists, one link makes the platform's first admin. A link works once, and for a while.

Everything that changes is an audit row and a row beside the ledger in one commit (`keep`), and counts here once that is
durable. When a session was last used is no change: it is known here at once, and kept every few minutes, for all
sessions together (`note_use`), so that a restart ends none that is in use. Guesses are throttled by account and address
together and by address, never by account alone: nobody can lock another out. A wrong name takes as long as a wrong
password.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .clock import DAY, HOUR, MINUTE, SECOND
from .errors import Invalid, NotAllowed, NotFound, Refused
from .ledger import Account, Detail, OneTimeLink, SignIn
from .messages import Command, KeepSignIn, KeepUsers, NoteUse, Outcome
from .roles import EVERYTHING, Grant, Grants, Right, Role, checked, may, require
from .store import Store

log = logging.getLogger("drainboard")

IDLE = 30 * MINUTE  #: a session that was not used for so long is over
LONGEST = 12 * HOUR  #: and one that began so long ago
NOTED_EVERY = 5 * MINUTE  #: what a crash may forget of a session's use
LINK_VALID = 2 * DAY
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@'-]{0,62}[A-Za-z0-9]|[A-Za-z0-9]")
FIRST_ADMIN = "admin"
INVITE, RESET = "invite", "reset"
LINK = "/auth/link/"  #: where the web app answers to a link, before its secret

GUESSES_AT_AN_ACCOUNT = 5  #: wrong ones from one address
GUESSES_FROM_AN_ADDRESS = 20
GUESS_SPAN = 15 * MINUTE
FIRST_DELAY = 30 * SECOND  #: doubles with each further wrong guess, up to GUESS_SPAN

Keep = Callable[[Command], Outcome]
"""Has a command carried out and returns when its outcome is durable."""


class Actor(NamedTuple):
    """Somebody who is signed in, with what he may right now."""

    name: str
    grants: Grants


class WrongCredentials(NotAllowed):
    """Name or password is wrong."""


class SignedOut(NotAllowed):
    """You are not signed in, or not any more; nothing was changed."""


class Throttled(Refused):
    """Too many wrong guesses; wait a while."""


@dataclass(slots=True)
class _Guesses:
    """Wrong guesses in a row, when the last one was, and until when the next has to wait."""

    wrong: int = 0
    last: int = 0
    until: int = 0


class Throttle:
    """Counts wrong guesses and makes further ones wait. Kept in memory only: a restart forgives."""

    def __init__(self) -> None:
        self._guesses: dict[tuple[str, ...], _Guesses] = {}
        self._lock = threading.Lock()

    def admit(self, name: str, address: str, now: int) -> None:
        """Count a guess as wrong until `forgive`; raise Throttled, uncounted, where it has to wait."""
        with self._lock:
            self._forget(now)
            keys = ((name, address), GUESSES_AT_AN_ACCOUNT), ((address,), GUESSES_FROM_AN_ADDRESS)
            for key, _ in keys:
                wait = self._guesses.get(key, _Guesses()).until - now
                if wait > 0:
                    raise Throttled(f"Too many wrong guesses; try again in {-(-wait // SECOND)} s", wait_us=wait)
            for key, allowed in keys:
                guesses = self._guesses.setdefault(key, _Guesses())
                guesses.wrong, guesses.last = guesses.wrong + 1, now
                if guesses.wrong >= allowed:
                    guesses.until = now + min(FIRST_DELAY << min(guesses.wrong - allowed, 20), GUESS_SPAN)

    def forgive(self, name: str, address: str) -> None:
        """Take back what was counted, once somebody has shown who he is."""
        with self._lock:
            self._guesses.pop((name, address), None)
            of_address = self._guesses.get((address,))
            if of_address is not None:
                of_address.wrong, of_address.until = max(0, of_address.wrong - 1), 0

    def _forget(self, now: int) -> None:
        for key in [key for key, guesses in self._guesses.items() if guesses.last + GUESS_SPAN <= now >= guesses.until]:
            del self._guesses[key]


class Access:
    """The accounts, sessions and links of one console. Any thread may ask; `keep` must not wait for one of them."""

    def __init__(self, store: Store, keep: Keep, now: Callable[[], int], hasher: PasswordHasher | None = None) -> None:
        self._keep, self._now = keep, now
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._throttle = Throttle()
        self._lock = threading.Lock()
        self._barring = threading.Lock()
        self._noting = threading.Lock()  # taken before the other; see note_use
        self._noted_at = now()
        self._accounts: dict[str, Account] = {account.name: account for account in store.rows("account")}
        young = f"ended_at is null and began_at >= make_timestamp({max(now() - LONGEST, 0)})"
        self._sessions: dict[str, SignIn] = {session.token: session for session in store.rows("sign_in", young)}
        unused = store.rows("one_time_link", "used_at is null", order="made_at")
        newest = {link.account: link for link in unused}  # a new link is the only one that works
        self._links: dict[str, OneTimeLink] = {link.token: link for link in newest.values()}

    # --- who is it?

    def who(self, token: str | None) -> Actor | None:
        """Tell who a session belongs to, and what he may right now; None when it is over or never was."""
        if not token:
            return None
        now, hashed = self._now(), _hash(token)
        with self._lock:
            session = self._sessions.get(hashed)
            if session is None or now - session.seen_at > IDLE or now - session.began_at > LONGEST:
                return None
            account = self._accounts.get(session.account)
            if account is None or account.disabled:
                return None
            self._sessions[hashed] = session._replace(seen_at=max(now, session.seen_at))
        return Actor(account.name, grants_of(account))

    def require(self, token: str | None) -> Actor:
        """Tell who it is, or raise SignedOut."""
        actor = self.who(token)
        if actor is None:
            raise SignedOut
        return actor

    def note_use(self) -> int:
        """Keep when sessions were last used, of all that were since the last note; tell how many.

        What was collected here must be on its way before one of these sessions can end, or the note would undo its end.
        """
        with self._noting:
            now = self._now()
            with self._lock:
                used = [s for s in self._sessions.values() if s.seen_at > max(s.began_at, self._noted_at)]
            if used:
                self._do("console", NoteUse(used), EVERYTHING)
            self._noted_at = now
        return len(used)

    # --- signing in and out

    def sign_in(self, name: str, password: str, address: str) -> str:
        """Begin a session and return its token; raise WrongCredentials, or Throttled without looking."""
        self._throttle.admit(name[:200], address, self._now())
        account = self._accounts.get(name)
        right = self._verify(account.password if account else None, password)
        if account is None or not right or account.disabled:
            # Under a name that nobody has stands now and then a password.
            whose = ascii(name) if account is not None else "a user that there is not"
            log.warning("Somebody at %s did not get in as %s", ascii(address), whose)
            raise WrongCredentials
        self._throttle.forgive(name, address)
        return self._begin(account.name, "sign_in", address)

    def sign_out(self, token: str | None) -> None:
        """End a session; no harm if it is over."""
        with self._noting, self._lock:
            session = self._sessions.pop(_hash(token or ""), None)
        if session is not None:
            ended = session._replace(ended_at=self._now())
            self._do(session.account, KeepSignIn("sign_out", [ended]), ())

    def link(self, secret: str) -> OneTimeLink:
        """Look at a link that has not been used; raise NotFound, in the same words, for any other."""
        with self._lock:
            link = self._links.get(_hash(secret))
            account = self._accounts.get(link.account) if link else None
        if link is None or self._now() >= link.valid_until_at or (account is not None and account.disabled):
            raise NotFound("This link is not valid, or not any more; ask for a new one")
        return link

    def use_link(self, secret: str, password: str, address: str) -> str:
        """Set the password of a link's account, end its other sessions, and begin one; return its token."""
        _check_password(password)
        link = self.link(secret)
        hashed = self._hasher.hash(password)
        now = self._now()
        with self._noting, self._lock:
            if self._links.pop(link.token, None) is None:
                raise NotFound("This link was used already; ask for a new one")
            account = self._accounts[link.account]._replace(password=hashed, changed_at=now)
            ended = self._end_sessions(account.name, now)
        try:
            self._do(
                account.name,
                KeepSignIn("set_password", ended, [account], [link._replace(used_at=now)]),
                grants_of(account),
            )
        except Exception:
            with self._lock:
                self._links[link.token] = link
            raise
        with self._lock:
            self._accounts[account.name] = account
        return self._begin(account.name, "sign_in", address)

    # --- users

    @property
    def founded(self) -> bool:
        """Whether somebody has set a password."""
        return any(account.password for account in self._accounts.values())

    def first_link(self) -> str | None:
        """Make the link that creates the platform's first admin; None once somebody has set a password."""
        if self.founded:
            return None
        return self.invite(Actor("console", EVERYTHING), FIRST_ADMIN, [Grant(Role.PLATFORM_ADMIN)])

    def invite(self, by: Actor, name: str, grants: Sequence[Grant]) -> str:
        """Make an account, or renew the invitation of one without a password; return the link's secret."""
        if not NAME.fullmatch(name):
            raise Invalid(
                "A user's name has 1 to 64 letters, digits, spaces and . _ @ ' -, with a letter or digit at both ends"
            )
        if not grants:
            raise Invalid("A user needs at least one role")
        for grant in grants:
            require(by.grants, Right.USERS, grant.business, None)
        known = self._accounts.get(name)
        if known is not None and (known.password or not self._manages(by, known)):
            raise Refused(f"There is a user “{name}” already")
        now = self._now()
        account = Account(name, None, False, grants_as_detail(grants), known.created_at if known else now, now)
        secret, link = self._new_link(name, INVITE, by.name, now)
        self._manage(by, "invite", account, links=[link], after=account.grants)
        return secret

    def reset(self, by: Actor, name: str) -> str:
        """Make a link with which a user can set a new password; the old one works until he does."""
        account = self._managed(by, name)
        secret, link = self._new_link(name, RESET, by.name, self._now())
        self._manage(by, "reset", account, links=[link])
        return secret

    def disable(self, by: Actor, name: str, disabled: bool = True) -> None:
        """Bar a user from signing in and end what he has open, or let him in again.

        The last platform admin who can sign in is not barred, not by the command line either: nobody could undo it on a
        page. One who was invited and has set no password yet does not count: his link may lapse.
        """
        with self._barring:  # of two admins who bar each other, the second finds himself the last one
            account = self._managed(by, name)
            if by.name == name:
                raise Refused("You can't disable yourself; ask another admin")
            if disabled and _is_platforms(account) and not any(
                _is_platforms(other) for other in self._accounts.values() if other.name != name
            ):
                raise Refused(f"{name} is the last platform admin who can sign in; invite another one first")
            now = self._now()
            changed = account._replace(disabled=disabled, changed_at=now)
            self._manage(
                by, "disable" if disabled else "enable", changed, before={"disabled": account.disabled},
                after={"disabled": disabled},
            )
        if disabled:
            with self._noting, self._lock:
                self._end_sessions(name, now)

    def users(self, by: Actor) -> list[Account]:
        """List the accounts that somebody manages, by name."""
        return sorted((a for a in self._accounts.values() if self._manages(by, a)), key=lambda account: account.name)

    def _managed(self, by: Actor, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None or not self._manages(by, account):
            raise NotFound.named("user", name, [account.name for account in self.users(by)])
        return account

    @staticmethod
    def _manages(by: Actor, account: Account) -> bool:
        """Who manages users in every business that an account reaches into, manages it."""
        return all(may(by.grants, Right.USERS, grant.business, None) for grant in grants_of(account))

    def _manage(
        self, by: Actor, verb: str, account: Account, *, links: Sequence[OneTimeLink] = (),
        before: Detail | None = None, after: Detail | None = None,
    ) -> None:
        businesses = {grant.business for grant in grants_of(account)}
        (business,) = businesses if len(businesses) == 1 else (None,)
        self._do(by.name, KeepUsers(verb, account.name, business, [account], links, before, after), by.grants)
        with self._lock:
            self._accounts[account.name] = account
            for link in links:  # a new link is the only one: what was sent before no longer works
                for other in [o for o in self._links.values() if o.account == link.account]:
                    del self._links[other.token]
                self._links[link.token] = link

    # --- inside

    def _begin(self, name: str, verb: str, address: str) -> str:
        token, now = secrets.token_urlsafe(32), self._now()
        session = SignIn(_hash(token), name, address, now, now, None)
        self._do(name, KeepSignIn(verb, [session]), ())
        with self._lock:
            self._sessions[session.token] = session
        return token

    def _end_sessions(self, name: str, now: int) -> list[SignIn]:
        mine = [session for session in self._sessions.values() if session.account == name]
        for session in mine:
            del self._sessions[session.token]
        return [session._replace(ended_at=now) for session in mine]

    def _verify(self, hashed: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(hashed or self._nobody, password[:LONGEST_PASSWORD]) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    def _do(self, actor: str, action: KeepUsers | KeepSignIn | NoteUse, grants: Grants) -> None:
        outcome = self._keep(Command(f"access-{uuid4()}", actor, action, grants))
        if outcome.refused is not None:
            raise NotAllowed(outcome.refused)

    def _new_link(self, name: str, purpose: str, by: str, now: int) -> tuple[str, OneTimeLink]:
        secret = secrets.token_urlsafe(32)
        return secret, OneTimeLink(_hash(secret), name, purpose, by, now, now + LINK_VALID, None)


def _is_platforms(account: Account) -> bool:
    """Tell whether somebody is a platform admin who can sign in."""
    able = account.password is not None and not account.disabled
    return able and any(grant.role is Role.PLATFORM_ADMIN for grant in grants_of(account))


def _check_password(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        lengths = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,}"
        raise Invalid(f"A password has {lengths} characters; this one has {len(password)}")


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def grants_of(account: Account) -> tuple[Grant, ...]:
    """Read an account's grants."""
    return tuple(checked(*grant) for grant in account.grants["grants"])


def grants_as_detail(grants: Iterable[Grant]) -> Detail:
    """Write grants as an account keeps them."""
    return {"grants": [[grant.role.value, grant.business, grant.site] for grant in grants]}
