"""Accounts, sign-in and sessions: who somebody is, asked anew each time, and who may change that.

A session is an opaque token that only the browser keeps; here is its SHA-256. `who` looks it up on every command, query
and refresh, so that signing out, disabling an account or changing its grants works at once, in every open tab. There is
no default account: while none exists, one link makes the platform's first admin. A link works once, and for a while.

Everything that changes is an audit row and a row beside the ledger in one commit (`keep`), and counts here once that is
durable. When a session was last used is no change: it is known here at once, and kept every few minutes, for all
sessions together (`note_use`), so that a restart ends none that is in use. Who was not let in is an audit row, too,
where there is such a user, written a little later (`note_refused`): a wrong name takes as long as a wrong password.

Who manages users does so where his own grants reach, and to him others are as if not there. Nobody hands out more than
he has, changes his own roles, or bars the last platform admin who can sign in.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .accounts import (
    IDENTITY,
    LONGEST,
    LONGEST_PASSWORD,
    NAME,
    RESERVED,
    SUBJECT,
    alike,
    as_detail,
    check_password,
    digest,
    grants_as_detail,
    grants_of,
    home,
    is_platforms,
    key_of,
    lasts,
    same_identity,
)
from .clock import DAY, MINUTE, SECOND
from .errors import Invalid, NotAllowed, NotFound, Refused
from .ledger import Account, Detail, OneTimeLink, SignIn
from .messages import Command, KeepSignIn, KeepUsers, NoteRefused, NoteUse, Outcome, RefusedSignIn
from .oidc import Identity
from .roles import EVERYTHING, Grant, Grants, Right, Role, may, require
from .store import Store
from .throttle import Throttle, Waiting

log = logging.getLogger("drainboard")

NOTED_EVERY = 5 * MINUTE  #: what a crash may forget of a session's use
REFUSED_NOTED_EVERY = 2 * SECOND
MOST_REFUSED = 10_000  #: that wait to be noted
HASHED_AT_ONCE = 4  #: passwords: each takes 64 MB while it is, and whoever is nobody may bring one
LINK_VALID = 2 * DAY
FIRST_ADMIN = "admin"
INVITE, RESET = "invite", "reset"
LINK = "/auth/link/"  #: where the web app answers to a link, before its secret
ACTIVE, INVITED, THROTTLED, DISABLED = STATES = ("active", "invited", "throttled", "disabled")
PASSWORD, BY_LINK = "password", "link"  #: how somebody signs in
WRONG_PASSWORD, NO_PASSWORD, IS_DISABLED = "wrong password", "no password yet", "disabled"  #: why he is not let in
MOST_HISTORY = 50
OWN_ROLES = "You can't change your own roles; ask another admin"
OWN_ACCOUNT = "You can't disable yourself; ask another admin"
NO_LINK = "{} is disabled, and no link would work; enable the account first"

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


class User(NamedTuple):
    """An account as those who manage it see it. `until` is when the last address that has to wait may guess again."""

    name: str
    grants: tuple[Grant, ...]
    identity: str | None
    state: str
    until: int | None
    link_until: int | None  #: of the link that works, if one does
    last_at: int | None  #: when he last signed in
    sessions: int
    created_at: int
    changed_at: int

    @property
    def disabled(self) -> bool:
        return self.state == DISABLED


class Happened(NamedTuple):
    """A step in an account's history: sign_in, sign_out or set_password; why it was refused; from where and how."""

    at: int
    what: str
    refused: str | None
    address: str | None
    by: str | None
    own: bool  #: whether he did it, or an admin


class Session(NamedTuple):
    """A session that is open."""

    address: str
    began_at: int
    seen_at: int


_HASHER = PasswordHasher()


@lru_cache(maxsize=4)
def _nobody(hasher: PasswordHasher) -> str:
    """Give the hash that the password of an account that is not there is compared with; made once, as it takes long."""
    return hasher.hash(secrets.token_hex())


class Access:
    """The accounts, sessions and links of one console. Any thread may ask; `keep` must not wait for one of them."""

    def __init__(self, store: Store, keep: Keep, now: Callable[[], int], hasher: PasswordHasher | None = None) -> None:
        self._keep, self._now = keep, now
        self._hasher = hasher or _HASHER
        self._nobody = _nobody(self._hasher)
        self._hashing = threading.BoundedSemaphore(HASHED_AT_ONCE)
        self._throttle = Throttle()
        self._lock = threading.Lock()
        self._changing = threading.Lock()  # one account at a time: of two changes none undoes the other
        self._noting = threading.Lock()  # taken before the other; see note_use
        self._noted_at = now()
        self._accounts: dict[str, Account] = {account.name: account for account in store.rows("account")}
        young = f"ended_at is null and began_at >= make_timestamp({max(now() - LONGEST, 0)})"
        self._sessions: dict[str, SignIn] = {session.token: session for session in store.rows("sign_in", young)}
        newest = {link.account: link for link in store.rows("one_time_link", order="made_at")}
        # A new link is the only one that works: what was sent before one that was used does so no more either.
        self._links: dict[str, OneTimeLink] = {link.token: link for link in newest.values() if link.used_at is None}
        signed = store.read("select account, epoch_us(max(began_at))::bigint from sign_in group by account")
        self._last: dict[str, int] = dict(signed.rows())
        self._refused: list[RefusedSignIn] = []
        self._steps = Counter[str]()  #: in each account's history
        self._histories: dict[str, tuple[int, list[tuple[str | None, Happened]]]] = {}
        self._store = store

    # --- who is it?

    def who(self, token: str | None) -> Actor | None:
        """Tell who a session belongs to, and what he may right now; None when it is over or never was."""
        if not token:
            return None
        now, hashed = self._now(), digest(token)
        with self._lock:
            session = self._sessions.get(hashed)
            if session is None or not lasts(session, now):
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
                for over in [s for s in self._sessions.values() if not lasts(s, now)]:
                    del self._sessions[over.token]
            if used:
                self._do("console", NoteUse(used), EVERYTHING)
            self._noted_at = now
        return len(used)

    def note_refused(self) -> int:
        """Keep who was not let in since the last note; tell how many."""
        with self._lock:
            refused, self._refused = self._refused, []
        try:
            if refused:
                self._do("console", NoteRefused(refused), EVERYTHING)
        except Exception:
            with self._lock:
                self._refused = [*refused, *self._refused]
            raise
        self._stepped(*{one.user for one in refused})
        return len(refused)

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
            if account is not None:
                why = IS_DISABLED if right else NO_PASSWORD if account.password is None else WRONG_PASSWORD
                self._refuse(account, why, address, PASSWORD)
            raise WrongCredentials
        self._throttle.forgive(name, address)
        return self._begin(account, address, PASSWORD)

    def sign_in_as(self, identity: Identity, provider: str, address: str) -> str:
        """Begin a session of the account that was given an identity which a provider vouches for; return its token.

        Raise NotAllowed, which says why not: whoever is told is whom the provider says.
        """
        with self._lock:
            accounts = list(self._accounts.values())
        known = [f"{SUBJECT}{identity.sub}"]
        if identity.email and not identity.email.casefold().startswith(SUBJECT):  # an address that plays a subject
            known.append(identity.email)
        account = next((a for one in known for a in accounts if same_identity(a.identity, one)), None)
        if account is None and identity.unverified:
            whose = identity.unverified[:100]
            raise NotAllowed(f"{provider} has not verified that {whose} is yours; nobody was let in")
        if account is None:
            who = identity.email or f"{SUBJECT}{identity.sub}"
            raise NotAllowed(f"No account here has the identity {who[:100]}; ask an admin to give it to yours")
        if account.disabled:
            self._refuse(account, IS_DISABLED, address, provider)
            raise NotAllowed(f"The account {account.name} is disabled; ask an admin")
        return self._begin(account, address, provider)

    def sign_out(self, token: str | None) -> None:
        """End a session; no harm if it is over."""
        with self._noting, self._lock:
            session = self._sessions.pop(digest(token or ""), None)
        if session is not None:
            self._ended([session._replace(ended_at=self._now())])

    def link(self, secret: str) -> OneTimeLink:
        """Look at a link that has not been used; raise NotFound, in the same words, for any other."""
        with self._lock:
            link = self._links.get(digest(secret))
            account = self._accounts.get(link.account) if link else None
        if link is None or self._now() >= link.valid_until_at or (account is not None and account.disabled):
            raise NotFound("This link is not valid, or not any more; ask for a new one")
        return link

    def use_link(self, secret: str, password: str, address: str) -> str:
        """Set the password of a link's account, end its other sessions, and begin one; return its token."""
        check_password(password)
        self.link(secret)
        with self._hashing:
            hashed = self._hasher.hash(password)
        with self._changing:
            link, now = self.link(secret), self._now()
            account = self._accounts[link.account]._replace(password=hashed, changed_at=now)
            ended = self._end_sessions(account.name, now)
            used, told = link._replace(used_at=now), {"address": address, "by": BY_LINK}
            try:
                self._do(
                    account.name,
                    KeepSignIn("set_password", [*ended], [account], [used], home(account), told),
                    grants_of(account),
                )
            except Exception:
                self._restore(ended)
                raise
            with self._lock:
                self._links.pop(link.token, None)
            self._put(account)
        self._stepped(account.name)
        return self._begin(account, address, BY_LINK)

    # --- users

    @property
    def founded(self) -> bool:
        """Whether somebody has set a password."""
        return any(account.password for account in self._accounts.values())

    def first_link(self) -> str | None:
        """Make the link that creates the platform's first admin; None once somebody has set a password, and where the
        account is one that nobody can be invited to: it is disabled, or its user signs in through a provider."""
        known = self._accounts.get(FIRST_ADMIN)
        if self.founded or (known is not None and (known.disabled or not self._is_new(known))):
            return None
        return self.invite(Actor("console", EVERYTHING), FIRST_ADMIN, [Grant(Role.PLATFORM_ADMIN)])

    def invite(
        self, by: Actor, name: str, grants: Sequence[Grant], identity: str | None = None, *, renew: bool = True
    ) -> str:
        """Make an account, or (`renew`) invite one that nobody has signed in to anew; return the link's secret."""
        if not NAME.fullmatch(name):
            raise Invalid(
                "A user's name has 1 to 64 letters, digits, spaces and . _ @ ' -, with a letter or digit at both ends"
            )
        self._check_grants(by, grants)
        with self._changing:
            known = self._accounts.get(name)
            if known is not None and (not renew or not self._is_new(known) or not self._manages(by, known)):
                raise Refused(f"There is a user “{name}” already")
            if known is not None and known.disabled:
                raise Refused(NO_LINK.format(name))
            if alike(name) in RESERVED:
                raise Refused(f"“{name}” is what the console calls itself or its work; take another name")
            if known is None and any(alike(other) == alike(name) for other in self._accounts):
                raise Refused(f"There is a user with a name like “{name}” already; nobody could tell them apart")
            who = identity or (known.identity if known is not None else None)
            self._check_identity(name, who)
            now = self._now()
            created = known.created_at if known is not None else now
            account = Account(name, None, False, grants_as_detail(grants), created, now, who)
            secret, link = self._new_link(name, INVITE, by.name, now)
            before = as_detail(known) if known is not None else None
            self._manage(by, "invite", account, links=[link], before=before, after=as_detail(account))
        return secret

    def reset(self, by: Actor, name: str) -> str:
        """Make a link with which a user can set a new password; the old one works until he does."""
        with self._changing:
            account = self._managed(by, name)
            if why := self.obstacles(by, name).get("link"):
                raise Refused(why)
            secret, link = self._new_link(name, RESET, by.name, self._now())
            self._manage(by, "reset", account, links=[link])
        return secret

    def change(
        self, by: Actor, name: str, grants: Sequence[Grant], identity: str | None = None, *, seen: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Give a user other roles, or another identity, which counts at once in all that he has open.

        With another identity he has to sign in anew. `seen` is when the account was last changed, as the editor knew
        it; one that was changed since is left as it is.
        """
        self._check_grants(by, grants)
        with self._changing:
            account = self._managed(by, name)
            if seen is not None and seen != account.changed_at:
                raise Refused(f"{name} was changed meanwhile; look again")
            if by.name == name and set(grants) != set(grants_of(account)):
                raise Refused(OWN_ROLES)
            self._check_identity(name, identity)
            now = self._now()
            changed = account._replace(grants=grants_as_detail(grants), changed_at=now, identity=identity or None)
            if not is_platforms(changed):
                self._keep_a_platform_admin(account)
            self._manage(
                by, "change", changed, before=as_detail(account), after=as_detail(changed), reason=reason,
                ended=self._end_sessions(name, now) if changed.identity != account.identity else (),
            )

    def disable(self, by: Actor, name: str, disabled: bool = True, reason: str | None = None) -> None:
        """Bar a user from signing in, end what he has open and the link he has; or let him in again, by a new one."""
        with self._changing:  # of two admins who bar each other, the second finds himself the last one
            account = self._managed(by, name)
            if by.name == name:
                raise Refused(OWN_ACCOUNT)
            if disabled and (why := self.obstacles(by, name).get("disable")):
                raise Refused(why)
            now = self._now()
            with self._lock:
                barred = disabled or account.disabled
                sent = [one for one in self._links.values() if barred and one.account == name]
            self._manage(
                by, "disable" if disabled else "enable", account._replace(disabled=disabled, changed_at=now),
                links=[link._replace(valid_until_at=min(link.valid_until_at, now)) for link in sent],
                before={"disabled": account.disabled}, after={"disabled": disabled}, reason=reason,
                ended=self._end_sessions(name, now) if disabled else (),
            )

    def sign_out_everywhere(self, by: Actor, name: str, reason: str | None = None) -> int:
        """End all that a user has open; tell how many sessions that were."""
        with self._changing:
            account, now = self._managed(by, name), self._now()
            ended = self._end_sessions(name, now)
            lasted = sum(lasts(session, now) for session in ended)
            self._manage(by, "sign_out", account, before={"sessions": lasted}, after={"sessions": 0}, reason=reason,
                         ended=ended)  # fmt: skip
        return lasted

    def forgive(self, by: Actor, name: str, reason: str | None = None) -> None:
        """Forget the wrong guesses at a user's password. That an address waits for all its guesses, whosever account
        they were at, is taken back only for who manages all users."""
        with self._changing:
            account = self._managed(by, name)
            wrong = sum(waiting.wrong for waiting in self._throttle.standing(self._now()).get(name, ()))
            self._manage(by, "forgive", account, before={"wrong": wrong}, after={"wrong": 0}, reason=reason)
            self._throttle.clear(name, may(by.grants, Right.USERS, None, None))

    def users(self, by: Actor) -> list[User]:
        """List the users that somebody manages, by name."""
        now = self._now()
        standing = self._throttle.standing(now)
        with self._lock:
            accounts = list(self._accounts.values())
            sessions = Counter(s.account for s in self._sessions.values() if lasts(s, now))
            links = {link.account: link.valid_until_at for link in self._links.values() if now < link.valid_until_at}
        return [
            self._user(account, sessions[account.name], links.get(account.name), standing.get(account.name, ()), now)
            for account in sorted(accounts, key=lambda account: account.name) if self._manages(by, account)
        ]  # fmt: skip

    def obstacles(self, by: Actor, name: str) -> dict[str, str]:
        """Tell which of "disable", "roles" and "link" would be refused of a user as he stands, and why."""
        account = self._managed(by, name)
        found: dict[str, str] = {}
        if by.name == name:
            found = {"disable": OWN_ACCOUNT, "roles": OWN_ROLES}
        if account.disabled:
            found["link"] = NO_LINK.format(name)
        elif "disable" not in found:
            try:
                self._keep_a_platform_admin(account)
            except Refused as why:
                found["disable"] = str(why)
        return found

    def sessions(self, by: Actor, name: str) -> list[Session]:
        """List what a user has open, what was used last first."""
        self._managed(by, name)
        now = self._now()
        with self._lock:
            mine = [s for s in self._sessions.values() if s.account == name and lasts(s, now)]
        return [Session(s.address, s.began_at, s.seen_at) for s in sorted(mine, key=lambda s: -s.seen_at)]

    def guesses(self, by: Actor, name: str) -> list[Waiting]:
        """List the wrong guesses at a user's password that count, address by address, the latest to wait first."""
        self._managed(by, name)
        found = self._throttle.standing(self._now()).get(name, ())
        return sorted(found, key=lambda one: (-max(one.until, one.of_address), -one.wrong, one.address))

    def history(self, by: Actor, name: str) -> list[Happened]:
        """List a user's last sign-ins, those refused among them, sign-outs and new passwords, newest first.

        Of the time when he was another business's user, those who manage the users of that are told.
        """
        self._managed(by, name)
        with self._lock:
            step, kept = self._steps[name], self._histories.get(name)
            fresh = [Happened(r.at, "sign_in", r.why, r.address, r.by, False) for r in self._refused if r.user == name]
        if kept is None or kept[0] != step:
            found = self._store.read(
                """select coalesce((after ->> 'at')::bigint, epoch_us(occurred_at)) as tried, action,
                          if(outcome = 'changed', null, outcome), after ->> 'address', after ->> 'by',
                          actor = object_id, business
                   from audit
                   where object_kind = 'user' and object_id = $name
                     and action in ('sign_in', 'sign_out', 'set_password')
                   order by tried desc, audit_id desc limit $most""",
                {"name": name, "most": MOST_HISTORY},
            )
            kept = step, [(business, Happened(*facts)) for *facts, business in found.rows()]
            with self._lock:
                self._histories[name] = kept
        told = [one for business, one in kept[1] if business is None or may(by.grants, Right.USERS, business, None)]
        return [*reversed(fresh), *told][:MOST_HISTORY]

    def _user(
        self, account: Account, sessions: int, link: int | None, waiting: Sequence[Waiting], now: int
    ) -> User:
        until = max((max(one.until, one.of_address) for one in waiting), default=0)
        state = (
            DISABLED if account.disabled else THROTTLED if until > now
            else INVITED if self._is_new(account) else ACTIVE
        )  # fmt: skip
        return User(
            account.name, grants_of(account), account.identity, state, until if until > now else None,
            None if account.disabled else link, self._last.get(account.name), sessions, account.created_at,
            account.changed_at,
        )  # fmt: skip

    def _is_new(self, account: Account) -> bool:
        """Tell whether nobody has signed in to an account yet."""
        return account.password is None and account.name not in self._last

    def _managed(self, by: Actor, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None or not self._manages(by, account):
            raise NotFound.named("user", name, [user.name for user in self.users(by)])
        return account

    @staticmethod
    def _manages(by: Actor, account: Account) -> bool:
        """Who manages users in every business that an account reaches into, manages it."""
        return all(may(by.grants, Right.USERS, grant.business, None) for grant in grants_of(account))

    @staticmethod
    def _check_grants(by: Actor, grants: Sequence[Grant]) -> None:
        if not grants:
            raise Invalid("A user needs at least one role")
        for grant in grants:
            require(by.grants, Right.USERS, grant.business, None)

    def _check_identity(self, name: str, identity: str | None) -> None:
        if identity is None or identity == "":
            return
        if len(identity) > 320 or not IDENTITY.fullmatch(identity):
            raise Invalid("An identity is an e-mail address, or sub: and what the provider calls somebody")
        if any(same_identity(other.identity, identity) for other in self._accounts.values() if other.name != name):
            raise Refused("Another account has that identity already")

    def _keep_a_platform_admin(self, account: Account) -> None:
        """See that there stays a platform admin who can sign in: nobody could undo it on a page, so the command line is
        held to it, too. One who has no password does not count: a link may lapse, and a provider be out of reach."""
        others = (other for other in self._accounts.values() if other.name != account.name)
        if is_platforms(account) and not any(map(is_platforms, others)):
            raise Refused(f"{account.name} is the last platform admin who can sign in; invite another one first")

    def _manage(
        self, by: Actor, verb: str, account: Account, *, links: Sequence[OneTimeLink] = (),
        before: Detail | None = None, after: Detail | None = None, reason: str | None = None,
        ended: Sequence[SignIn] = (),
    ) -> None:
        known = self._accounts.get(account.name, account)
        try:
            self._do(
                by.name,
                KeepUsers(
                    verb, account.name, home(known, account), [account], links, before, after, reason, [*ended]
                ),
                by.grants,
            )
        except Exception:
            self._restore(ended)
            raise
        with self._lock:
            for link in links:  # a new link is the only one: what was sent before no longer works
                for other in [o for o in self._links.values() if o.account == link.account]:
                    del self._links[other.token]
                self._links[link.token] = link
        self._put(account)
        self._stepped(account.name)

    # --- inside

    def _begin(self, account: Account, address: str, by: str) -> str:
        """Begin a session of an account as it was when somebody showed that it is his."""
        token, now = secrets.token_urlsafe(32), self._now()
        session = SignIn(digest(token), account.name, address, now, now, None)
        told = {"address": address, "by": by}
        self._do(
            account.name, KeepSignIn("sign_in", [session], business=home(account), after=told), grants_of(account)
        )
        with self._lock:
            stands = key_of(self._accounts[account.name]) == key_of(account)
            if stands:
                self._sessions[session.token] = session
                self._last[account.name] = now
        if not stands:  # the account was barred or got another key while this one was tried
            self._ended([session._replace(ended_at=self._now())])
            raise WrongCredentials
        self._stepped(account.name)
        return token

    def _refuse(self, account: Account, why: str, address: str, by: str) -> None:
        """Remember that somebody was not let in; it is kept with the next note, so that it takes no time here."""
        with self._lock:
            if len(self._refused) < MOST_REFUSED:
                self._refused.append(RefusedSignIn(account.name, home(account), why, address, by, self._now()))

    def _put(self, account: Account) -> None:
        """Let an account count as it was kept. A session that began just now by a key that is none any more ends."""
        with self._lock:
            before = self._accounts.get(account.name)
            self._accounts[account.name] = account
        if before is not None and key_of(before) != key_of(account):
            self._ended(self._end_sessions(account.name, self._now()))

    def _end_sessions(self, name: str, now: int) -> list[SignIn]:
        with self._noting, self._lock:
            mine = [session for session in self._sessions.values() if session.account == name]
            for session in mine:
                del self._sessions[session.token]
        return [session._replace(ended_at=now) for session in mine]

    def _restore(self, ended: Iterable[SignIn]) -> None:
        """Let sessions last whose end could not be kept."""
        with self._lock:
            self._sessions.update((session.token, session._replace(ended_at=None)) for session in ended)

    def _ended(self, ended: Sequence[SignIn]) -> None:
        """Keep that sessions of one account have ended."""
        if ended:
            account = self._accounts[ended[0].account]
            self._do(account.name, KeepSignIn("sign_out", ended, business=home(account)), grants_of(account))
            self._stepped(account.name)

    def _stepped(self, *names: str) -> None:
        """Have histories read anew: something has happened."""
        with self._lock:
            self._steps.update(names)
            for name in names:
                self._histories.pop(name, None)

    def _verify(self, hashed: str | None, password: str) -> bool:
        try:
            with self._hashing:
                return self._hasher.verify(hashed or self._nobody, password[:LONGEST_PASSWORD]) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    def _do(self, actor: str, action: KeepUsers | KeepSignIn | NoteUse | NoteRefused, grants: Grants) -> None:
        outcome = self._keep(Command(f"access-{uuid4()}", actor, action, grants))
        if outcome.refused is not None:
            raise NotAllowed(outcome.refused)

    def _new_link(self, name: str, purpose: str, by: str, now: int) -> tuple[str, OneTimeLink]:
        secret = secrets.token_urlsafe(32)
        return secret, OneTimeLink(digest(secret), name, purpose, by, now, now + LINK_VALID, None)
