"""Routes and headers of the web app, beside its pages: who may come in, and how.

The guard stands before everything that the server answers. It refuses websockets from other origins, lets nobody who is
not signed in further than the sign-in page, and adds the headers that every answer carries. Signing in, setting a
password by a link and signing out are plain forms of our own, so that a session's cookie is never seen by a script. An
identity provider, where there is one, only tells who it is: what gives rights is that same session, and nothing else.

`/healthz` computes the age of the engine's tick and of the scheduler's beat itself, so that a dead thread can't say it
is well. `/metrics` needs no session but a token of its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from html import escape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from . import metrics
from .access import LINK, Access
from .accounts import LONGEST, LONGEST_PASSWORD, SHORTEST_PASSWORD
from .clock import SECOND
from .console import current
from .errors import DrainboardError, NotFound
from .oidc import CALLBACK, VALID, NoProvider, Provider
from .throttle import Throttled

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "drainboard_session"
METRICS = "/metrics"
EXPORT = "/export/"  #: where files to take away lie; `exports` has them
BEGUN_COOKIE = "drainboard_oidc"  #: of a sign-in at the provider that is under way
SIGN_IN, SIGN_OUT, AT_PROVIDER = "/auth/sign-in", "/auth/sign-out", "/auth/provider"
LONGEST_FORM = 16_384

HEADERS = (
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",  # nothing comes from elsewhere or goes there, whatever gets into a page
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
        b"base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
NO_STORE = (b"cache-control", b"no-store")  #: on all but what is the same for everybody
OF_FORMS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    # A link's secret stands in the address: no other site may learn it. With "no-referrer" forms would have no origin.
    "referrer-policy": "same-origin",
}
#: the server's pages that tell of it, and its own way to sign in, which would leave an identity that can't be revoked
CLOSED = ("/_stcore/metrics", "/_stcore/agent", "/auth/login", "/auth/logout")
STATIC = "/static/"
OPEN = ("/healthz", "/auth/", CALLBACK, STATIC, "/_stcore/health")  #: what anybody may ask for


# --- health


async def healthz(_: Request) -> JSONResponse:
    """Answer 200 while seeding, starting or live and well; 503 with the reason else."""
    console = current()
    stage = console.stage if console else None
    if console is None or stage is None:
        return JSONResponse({"status": "down"}, 503)
    if stage.name != "live" or console.engine is None:
        well = stage.name in ("seeding", "starting")
        body = {"status": stage.name, "progress": round(stage.fraction, 3), "detail": stage.text}
        return JSONResponse(body, 200 if well else 503)
    pulse = console.engine.pulse
    body = {
        "status": "live" if pulse.well else "unwell",
        "tick_age_s": round(pulse.tick_age, 3),
        "scheduler_age_s": round(pulse.scheduler_age, 3),
        "batch": pulse.batch,
        "trouble": pulse.trouble,
    }
    return JSONResponse(body, 200 if pulse.well else 503)


# --- metrics


async def tell_metrics(request: Request) -> Response:
    """Answer Prometheus, if it brings the token that the settings name; without one in the settings, nobody."""
    console = current()
    token = str(console.settings["metrics_token"]) if console else ""
    if not token:
        how = "set metrics_token in settings.toml, or DRAINBOARD_METRICS_TOKEN, and start the console anew"
        return JSONResponse({"error": f"/metrics is closed; to open it, {how}"}, 404)
    brought = _header(request.scope, b"authorization").split(None, 1)
    if len(brought) != 2 or brought[0].lower() != b"bearer" or not hmac.compare_digest(brought[1], token.encode()):
        return Response(status_code=401, headers={"www-authenticate": "Bearer", "cache-control": "no-store"})
    told, content_type = await run_in_threadpool(metrics.tell, console, request.headers.get("accept", ""))
    return Response(told, headers={"content-type": content_type, "cache-control": "no-store"})


# --- signing in and out


async def show_sign_in(request: Request) -> Response:
    return _sign_in_form(_own_path(request.query_params.get("next")))


async def sign_in(request: Request) -> Response:
    """Begin a session and go on to where somebody wanted to go; a wrong guess and a wrong name are told alike."""
    form = await _form(request)
    next_path = _own_path(form.get("next"))
    access = _access()
    if access is None:
        return _sign_in_form(next_path, "The console is not ready yet; try again shortly.", 503)
    try:
        token = await run_in_threadpool(
            access.sign_in, form.get("name", ""), form.get("password", ""), _address(request)
        )
    except Throttled as told:
        return _sign_in_form(next_path, f"{told}.", 429)
    except DrainboardError as told:
        return _sign_in_form(next_path, f"{told}", 401)
    return await _signed_in(request, access, token, next_path)


_provider: Provider | None = None


def offer(provider: Provider | None) -> None:
    """Let people sign in by an identity provider besides, or (None) by none."""
    global _provider
    _provider = provider


async def go_to_provider(request: Request) -> Response:
    """Send a browser to the provider, with what it must bring back."""
    next_path = _own_path(request.query_params.get("next"))
    if _provider is None:
        return _sign_in_form(next_path, "No identity provider is set up here.", 404)
    try:
        begun = await _provider.begin(next_path)
    except NoProvider as told:
        return _sign_in_form(next_path, f"{told}.", 502)
    answer = RedirectResponse(begun.url, 303, {"cache-control": "no-store"})
    answer.set_cookie(
        BEGUN_COOKIE, begun.secret, max_age=VALID, path=CALLBACK, httponly=True, samesite="lax",
        secure=_by_tls(request),
    )
    return answer


async def come_from_provider(request: Request) -> Response:
    """Begin a session for whom the provider vouches for, if there is an account of his; say why not else."""
    access = _access()
    if _provider is None:
        return _sign_in_form("/", "No identity provider is set up here.", 404)
    try:
        identity, next_path = await _provider.end(request.query_params, request.cookies.get(BEGUN_COOKIE))
        if access is None:
            raise NotFound("The console is not ready yet; try again shortly")
        token = await run_in_threadpool(access.sign_in_as, identity, _provider.name, _address(request))
        answer = await _signed_in(request, access, token, next_path)
    except NoProvider as told:
        answer = _sign_in_form("/", f"{told}.", 502)
    except DrainboardError as told:
        answer = _sign_in_form("/", f"{told}.", 403)
    answer.delete_cookie(BEGUN_COOKIE, path=CALLBACK, httponly=True, samesite="lax")
    return answer


async def show_link(request: Request) -> Response:
    access = _access()
    try:
        if access is None:
            raise NotFound("The console is not ready yet; try again shortly")
        link = access.link(request.path_params["secret"])
    except DrainboardError as told:
        return _page("Link", f'<p class="told">{escape(str(told))}.</p>', 404)
    return _password_form(link.account)


async def use_link(request: Request) -> Response:
    """Set a password by a one-time link, and begin a session."""
    form = await _form(request)
    access, secret = _access(), request.path_params["secret"]
    name = ""
    try:
        if access is None:
            raise NotFound("The console is not ready yet; try again shortly")
        name = access.link(secret).account
        token = await run_in_threadpool(access.use_link, secret, form.get("password", ""), _address(request))
    except NotFound as told:
        return _page("Link", f'<p class="told">{escape(str(told))}.</p>', 404)
    except DrainboardError as told:
        return _password_form(name, f"{told}.", 400)
    return await _signed_in(request, access, token, "/")


async def sign_out(request: Request) -> Response:
    access = _access()
    if access is not None:
        await run_in_threadpool(access.sign_out, request.cookies.get(COOKIE))
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return answer


routes = [
    Route("/healthz", healthz),
    Route(METRICS, tell_metrics),
    Route(SIGN_IN, show_sign_in, methods=["GET"]),
    Route(SIGN_IN, sign_in, methods=["POST"]),
    Route(SIGN_OUT, sign_out, methods=["POST"]),
    Route(AT_PROVIDER, go_to_provider, methods=["GET"]),
    Route(CALLBACK, come_from_provider, methods=["GET"]),
    Route(LINK + "{secret}", show_link, methods=["GET"]),
    Route(LINK + "{secret}", use_link, methods=["POST"]),
]


def _access() -> Access | None:
    console = current()
    return console.access if console else None


async def _signed_in(request: Request, access: Access, token: str, next_path: str) -> Response:
    await run_in_threadpool(access.sign_out, request.cookies.get(COOKIE))  # this one takes the place of what was open
    answer = RedirectResponse(next_path, 303)
    answer.set_cookie(
        COOKIE, token, max_age=LONGEST // SECOND, path="/", httponly=True, samesite="lax", secure=_by_tls(request)
    )
    return answer


def _by_tls(request: Request) -> bool:
    """Tell whether the browser came by TLS: a proxy that takes it off need not say so, where `public_url` does."""
    console = current()
    known = urlsplit(str(console.settings["public_url"]) if console else "")
    host = request.headers.get("host", "").lower()
    return request.url.scheme == "https" or (known.scheme == "https" and host == known.netloc.lower())


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _own_path(wanted: str | None) -> str:
    """Let somebody be sent on within this console only."""
    ours = wanted and wanted.startswith("/") and not wanted.startswith("//")
    return wanted if wanted and ours and "\\" not in wanted and wanted.isprintable() else "/"


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[-1] for name, values in fields.items()}


# --- the forms


_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#18212c;--ink2:#55616e;--line:#dce1e6;--accent:#0b5cad;--fail:#b84300}
@media(prefers-color-scheme:dark){:root{--bg:#10161d;--ink:#e4e9ee;--ink2:#a0acb8;--line:#2a3540;--accent:#6db3f2;
--fail:#ff8f57}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--bg);color:var(--ink);
font:14px/20px "Source Sans 3","Source Sans Pro",system-ui,sans-serif}
main{width:min(320px,calc(100vw - 32px))}
h1{font-size:18px;line-height:24px;margin:0 0 16px;font-weight:600}
label{display:block;margin:0 0 12px;color:var(--ink2);font-size:12px}
input{display:block;width:100%;height:32px;margin-top:2px;padding:0 8px;font:inherit;font-size:14px;color:var(--ink);
background:var(--bg);border:1px solid var(--line);border-radius:4px}
input:focus,button:focus{outline:2px solid var(--accent);outline-offset:1px}
button{height:32px;padding:0 14px;font:inherit;font-weight:600;color:var(--bg);background:var(--accent);border:0;
border-radius:4px;cursor:pointer}
p{margin:0 0 12px;color:var(--ink2);overflow-wrap:anywhere}.told{color:var(--fail)}
.or{margin:16px 0 0;padding-top:16px;border-top:1px solid var(--line)}
a{display:block;padding:5px 14px;text-align:center;font-weight:600;color:var(--accent);border:1px solid var(--accent);
border-radius:4px;text-decoration:none}a:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
"""


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Drainboard: {escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style>'
        f"<main><h1>Drainboard</h1>{body}</main></html>",
        status, OF_FORMS,
    )  # fmt: skip


def tell(request: Request, said: str, status: int) -> Response:
    """Say why something is not to be had: to a person by a page, to a program as JSON."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": said}, status)
    told = f'<p class="told">{escape(said.rstrip("."))}.</p><a href="/">Go to the console</a>'
    return _page("not to be had", told, status)


def _sign_in_form(next_path: str, told: str = "", status: int = 200) -> HTMLResponse:
    return _page(
        "sign in",
        (f'<p class="told" role="alert">{escape(told)}</p>' if told else "")
        + f'<form method="post" action="{SIGN_IN}"><input type="hidden" name="next" value="{escape(next_path)}">'
        '<label>Name<input name="name" autocomplete="username" required autofocus></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
        "<button>Sign in</button></form>"
        + (
            f'<p class="or"><a href="{AT_PROVIDER}?next={quote(next_path, safe="")}">Sign in with '
            f"{escape(_provider.name)}</a></p>" if _provider is not None else ""
        ),
        status,
    )


def _password_form(name: str, told: str = "", status: int = 200) -> HTMLResponse:
    lengths = f'minlength="{SHORTEST_PASSWORD}" maxlength="{LONGEST_PASSWORD}"'
    return _page(
        "set a password",
        (f'<p class="told" role="alert">{escape(told)}</p>' if told else "")
        + f"<p>Choose a password for <strong>{escape(name)}</strong>. This link works once.</p>"
        f'<form method="post"><input type="hidden" name="username" autocomplete="username" value="{escape(name)}">'
        f'<label>Password, at least {SHORTEST_PASSWORD} characters<input name="password" type="password" '
        f'autocomplete="new-password" required {lengths} autofocus></label>'
        "<button>Set it and sign in</button></form>",
        status,
    )


# --- the guard


class Guard:
    """Pure ASGI middleware around everything the server answers, under one of the host names in `hosts` (none: any)."""

    def __init__(self, app: App, hosts: Collection[str] = ()) -> None:
        self.app, self.hosts = app, tuple(host.strip().lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if not scope["path"].startswith(STATIC):
                    headers = [*(header for header in headers if header[0].lower() != NO_STORE[0]), NO_STORE]
                present = {name.lower() for name, _ in headers}
                message["headers"] = [*headers, *(header for header in HEADERS if header[0] not in present)]
            await send(message)

        if scope["type"] == "websocket":
            if not self._known(scope) or not _same_origin(scope) or not _may_enter(scope):
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
        elif scope["type"] == "http":
            refusal = _refusal(scope) if self._known(scope) else _UNKNOWN_HOST
            if refusal is not None:
                await refusal(scope, receive, send_with_headers)
                return
        await self.app(scope, receive, send_with_headers)

    def _known(self, scope: Message) -> bool:
        """Tell whether a request is for a host name of ours: another's may lead here to borrow a visitor's browser.

        Those who look after the console may come by any name: they bring no session.
        """
        if not self.hosts or scope["path"] in ("/healthz", METRICS):
            return True
        try:
            host = urlsplit("//" + _header(scope, b"host").decode("latin-1")).hostname or ""
        except ValueError:
            return False
        host = host.rstrip(".")
        return any(known in ("*", host) or (known[:2] == "*." and host.endswith(known[1:])) for known in self.hosts)


_UNKNOWN_HOST = JSONResponse(
    {"error": "This console goes by another host name; allowedHosts in .streamlit/config.toml lists its names"}, 421
)


def _refusal(scope: Message) -> Response | None:
    """Answer for the server where it must not: what is closed, forms from elsewhere, and all that needs a session."""
    path: str = scope["path"]
    if path.startswith(CLOSED):
        return JSONResponse({"error": "not found"}, 404)
    if path.startswith("/auth/") and scope["method"] == "POST" and not _same_origin(scope):
        return JSONResponse({"error": "This form is to be sent from this console only"}, 403)
    if path.startswith(OPEN) or path == METRICS or _may_enter(scope):
        return None
    if scope["method"] == "GET" and b"text/html" in _header(scope, b"accept"):
        wanted = quote(path) + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303)
    return JSONResponse({"error": "Sign in first"}, 401)


def _may_enter(scope: Message) -> bool:
    """Tell whether a session stands behind a request; while there is nobody to ask yet, only progress is shown."""
    access = _access()
    return access is None or access.who(Request({**scope, "type": "http"}).cookies.get(COOKIE)) is not None


def _same_origin(scope: Message) -> bool:
    """Tell whether something comes from a page that this very server sent."""
    origin = _header(scope, b"origin").decode("latin-1")
    try:
        return bool(origin) and urlsplit(origin).netloc == _header(scope, b"host").decode("latin-1")
    except ValueError:  # it is no address at all
        return False


def _header(scope: Message, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name.lower() == wanted), b"")
