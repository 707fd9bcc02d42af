"""Routes and headers of the web app, beside its pages.

`/healthz` computes the age of the engine's tick and of the scheduler's beat itself, so that a dead thread can't say it
is well. The guard refuses websockets from other origins and adds the headers that every answer carries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .console import current

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
CLOSED = ("/_stcore/metrics", "/_stcore/agent")  #: the server's own pages that tell strangers about it


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


routes = [Route("/healthz", healthz)]


class Guard:
    """Pure ASGI middleware around everything the server answers."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not _same_origin(scope):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and scope["path"].startswith(CLOSED):
            await JSONResponse({"error": "not found"}, 404)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _same_origin(scope: Message) -> bool:
    """Tell whether a websocket comes from a page that this very server sent."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")
