"""Requests to the routes behind the guard, as the server sends them there, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.applications import Starlette

from engine import exports, web

Answer = tuple[int, dict[str, str], bytes]  #: status, headers and body


def ask(address: str, **headers: str) -> Answer:
    """Get what an address has."""
    return _apart(lambda: _ask(address, headers))


def turns_of_the_loop(address: str, **headers: str) -> int:
    """Tell how often whatever else the server does had its turn until an address had answered."""

    async def counted() -> int:
        asked, turns = asyncio.ensure_future(_ask(address, headers)), 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await asked)[0] == 200
        return turns

    return _apart(counted)


def _apart(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with ThreadPoolExecutor(1) as elsewhere:  # the browser tests' driver keeps a loop of its own in this thread
        return elsewhere.submit(lambda: asyncio.run(make())).result()


def left_in_line(address: str, **headers: str) -> bool:
    """Tell whether somebody who asks for a file and leaves before it is his turn is waited for no longer."""

    async def asked_and_left() -> bool:
        others = object(), object()
        for other in others:
            await exports._AT_A_TIME.acquire_on_behalf_of(other)
        try:
            return not (await asyncio.wait_for(_ask(address, headers, stays=False), 30))[2]
        finally:
            for other in others:
                exports._AT_A_TIME.release_on_behalf_of(other)

    return bool(_apart(asked_and_left))


def at_once(n: int, address: str, **headers: str) -> int:
    """Ask for a file so many times at once; tell how many were under way at most."""

    async def counted() -> int:
        asked, most = [asyncio.ensure_future(_ask(address, headers)) for _ in range(n)], 0
        while not all(one.done() for one in asked):
            await asyncio.sleep(0)
            most = max(most, exports._AT_A_TIME.borrowed_tokens)
        assert [answer[0] for answer in await asyncio.gather(*asked)] == [200] * n
        return most

    return int(_apart(counted))


async def _ask(address: str, headers: dict[str, str], stays: bool = True) -> Answer:
    told: list[Any] = []
    coming = [{"type": "http.request"}, *([] if stays else [{"type": "http.disconnect"}])]

    async def receive() -> dict[str, Any]:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    parts = urlsplit(address)
    scope = {
        "type": "http", "method": "GET", "path": unquote(parts.path), "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "scheme": "http",
        "server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    await web.Guard(Starlette(routes=[*web.routes, *exports.routes]))(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in told)
    return told[0]["status"], {n.decode(): v.decode() for n, v in told[0]["headers"]}, body
