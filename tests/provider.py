"""An identity provider to try sign-in with: OpenID Connect's code flow with PKCE and RS256, on loopback.

It vouches for whom the test says, and lies in the ways that the test says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "drainboard", "a secret that both have"


@dataclass
class PlayProvider:
    """Vouches for `claims`; puts `lies` over what a token says (None: nothing); signs with `key`, by `header`."""

    claims: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=lambda: {"alg": "RS256"})
    url: str = ""

    def __post_init__(self) -> None:
        self.key = self.own_key = RSAKey.generate_key(2048, {"kid": "one"})
        self.codes: dict[str, dict[str, str]] = {}
        self.refusals: list[str] = []
        self.server: uvicorn.Server | None = None

    def honest(self, **claims: Any) -> None:
        """Vouch for somebody, without a lie."""
        self.claims, self.lies, self.header, self.key = claims, {}, {"alg": "RS256"}, self.own_key

    def start(self) -> PlayProvider:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        app = Starlette(routes=[
            Route("/.well-known/openid-configuration", self.metadata), Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]), Route("/jwks", self.jwks),
        ])  # fmt: skip
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        threading.Thread(target=self.server.run, daemon=True).start()
        deadline = time.monotonic() + 30
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.server.started
        return self

    def stop(self) -> None:
        if self.server is not None:
            self.server.should_exit = True

    async def metadata(self, _: Request) -> Response:
        return JSONResponse({
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
        })  # fmt: skip

    async def jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.own_key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Ask somebody whether he wants to go on, as one does who has signed in at the provider already."""
        return HTMLResponse(f'<a href="{escape(self.answer(dict(request.query_params)))}">Continue</a>')

    def answer(self, asked: dict[str, str]) -> str:
        """Write where the browser is sent back to, with a code that works once."""
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None or request.headers.get("authorization") != f"Basic {basic}"
            or asked["code_challenge"] != challenge or form.get("redirect_uri") != asked["redirect_uri"]
        ):  # fmt: skip
            self.refusals.append(form.get("code", ""))
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        says = {
            "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.claims,
            **self.lies,
        }  # fmt: skip
        says = {name: value for name, value in says.items() if value is not None}
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self._signed(says)})

    def _signed(self, says: dict[str, Any]) -> str:
        if self.header["alg"] == "none":
            parts = (json.dumps(part).encode() for part in (self.header, says))
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        return jwt.encode(self.header, says, self.key)
