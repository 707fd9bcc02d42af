"""Sign-in by an identity provider, as OpenID Connect has it: the code flow, off unless it is configured.

A provider says who somebody is, and no more: an account must be there that was given that very identity, and what he
may, stays or ends is up to that account and to a session like any other (`access`). Of the provider nothing is kept, no
token and no cookie.

Streamlit has a `st.login` of its own, which is not used: it asks for a page that runs before anybody is signed in, and
leaves in the browser a signed identity that holds for thirty days and can't be taken back. So only its settings are
read, the section [auth] of its secrets, and the flow runs on routes of ours (`web`), with Authlib's client.

A sign-in that has begun is known here by its `state`, for ten minutes and once, and only to the browser that began it.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .clock import stopwatch
from .errors import DrainboardError, NotAllowed, SettingsError

log = logging.getLogger("drainboard")

CALLBACK = "/oauth2callback"  #: where a provider sends people back to; Streamlit's own has the same path
NEEDED = ("client_id", "client_secret", "redirect_uri", "server_metadata_url")
VALID = 600  #: seconds from beginning to end
MOST = 10_000  #: sign-ins under way
LEEWAY = 60  #: seconds that clocks may differ


class NotVouchedFor(NotAllowed):
    """The provider did not say who you are."""


class NoProvider(DrainboardError):
    """The identity provider could not be asked."""


class Identity(NamedTuple):
    """Whom a provider vouches for. `email` is what it has verified, `unverified` one that it has not."""

    sub: str
    email: str | None
    unverified: str | None


class Begun(NamedTuple):
    """A sign-in that has begun: where to send the browser, and what it must keep."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Configured:
    """What the section [auth] says."""

    name: str
    client_id: str
    client_secret: str
    redirect_uri: str
    server_metadata_url: str

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Configured:
        """Read the section; raise SettingsError, which names what is wrong but never a secret."""
        missing = [key for key in NEEDED if not isinstance(section.get(key), str) or not section[key].strip()]
        if missing:
            raise SettingsError(f"[auth] in secrets.toml lacks {', '.join(missing)}; the README says how to set it up")
        redirect, metadata = section["redirect_uri"].strip(), section["server_metadata_url"].strip()
        if not redirect.endswith(CALLBACK) or not _is_safe(redirect):
            raise SettingsError(
                f"[auth] in secrets.toml: redirect_uri must be the console's https address and {CALLBACK}, as in "
                f"https://console.example.org{CALLBACK}; http will do for a console on this machine only"
            )
        if not _is_safe(metadata):
            raise SettingsError("[auth] in secrets.toml: server_metadata_url must begin with https://")
        name = section.get("name") or urlsplit(metadata).hostname or "provider"
        return cls(str(name)[:60], section["client_id"].strip(), section["client_secret"], redirect, metadata)


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is known of a sign-in under way: whose browser, what its token must say, where to go on, and its age."""

    browser: str  #: SHA-256 of what the browser keeps
    nonce: str
    verifier: str
    next_path: str
    age: Callable[[], float]


class Provider:
    """One identity provider; any task of the server's loop may use it."""

    def __init__(self, configured: Configured) -> None:
        # Loaded only where it is needed: it takes its time and its memory.
        from authlib.integrations.starlette_client import OAuth

        self.name = configured.name
        self._configured = configured
        self._client: Any = OAuth().register(
            "drainboard", client_id=configured.client_id, client_secret=configured.client_secret,
            server_metadata_url=configured.server_metadata_url,
            client_kwargs={"scope": "openid email", "code_challenge_method": "S256"},
        )  # fmt: skip
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._lock = threading.Lock()

    async def begin(self, next_path: str) -> Begun:
        """Begin a sign-in that leads on to a path; raise NoProvider where the provider does not answer."""
        try:
            made = await self._client.create_authorization_url(self._configured.redirect_uri, prompt="select_account")
        except Exception as error:
            raise self._silent(error) from None
        secret = secrets.token_urlsafe(32)
        pending = _Pending(_hash(secret), made["nonce"], made["code_verifier"], next_path, stopwatch())
        with self._lock:
            self._pending[_hash(made["state"])] = pending
            while len(self._pending) > MOST or next(iter(self._pending.values())).age() > VALID:
                self._pending.popitem(last=False)
        return Begun(made["url"], secret)

    async def end(self, answer: Mapping[str, str], secret: str | None) -> tuple[Identity, str]:
        """Tell from a provider's answer whom it vouches for, and where to go on; raise NotVouchedFor or NoProvider."""
        with self._lock:
            pending = self._pending.pop(_hash(answer.get("state", "")), None)
        if (
            pending is None or pending.age() > VALID or secret is None
            or not hmac.compare_digest(pending.browser, _hash(secret))
        ):  # fmt: skip
            raise NotVouchedFor("This sign-in was not begun in this browser, or too long ago; begin anew")
        if "error" in answer or not answer.get("code"):
            log.info("%s let nobody in: %r", self.name, answer.get("error", "no code")[:100])
            raise NotVouchedFor(f"{self.name} did not let you in")
        return _identity(await self._claims(answer["code"], pending)), pending.next_path

    async def _claims(self, code: str, pending: _Pending) -> Mapping[str, Any]:
        """Have the provider change a code into what it says of somebody, and check that it says so, to us and now."""
        configured = self._configured
        try:
            metadata = await self._client.load_server_metadata()
            token = await self._client.fetch_access_token(
                configured.redirect_uri, code=code, code_verifier=pending.verifier
            )
        except Exception as error:
            raise self._silent(error) from None
        wanted = {  # beyond what Authlib asks by itself: it would take a token to another with us as its party
            "iss": {"essential": True, "value": metadata.get("issuer") or "\0"},
            "aud": {"essential": True, "value": configured.client_id},
            "nonce": {"essential": True, "value": pending.nonce},
        }
        try:
            claims: Mapping[str, Any] | None = await self._client.parse_id_token(
                token, pending.nonce, claims_options=wanted, leeway=LEEWAY
            )
        except Exception as error:
            log.warning("What %s says of somebody does not stand up: %s", self.name, error)
            claims = None
        if claims is None:
            raise NotVouchedFor(f"What {self.name} says of you does not stand up; begin anew")
        return claims

    def _silent(self, error: Exception) -> NoProvider:
        log.warning("%s could not be asked: %s: %s", self.name, type(error).__name__, error)
        return NoProvider(f"{self.name} could not be asked; try again, or sign in with a password")


def _identity(claims: Mapping[str, Any]) -> Identity:
    email = claims.get("email")
    email = email if isinstance(email, str) and email else None
    verified = claims.get("email_verified") in (True, "true")
    return Identity(str(claims["sub"]), email if verified else None, None if verified else email)


def _is_safe(url: str) -> bool:
    """Tell whether nobody on the way can listen in."""
    parts = urlsplit(url)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and here))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
