"""Somebody who looks at pages without a browser: signed in to a real console, with a session of his own."""

from __future__ import annotations

import pytest
from streamlit.runtime.context import ContextProxy

from engine import console as consoles
from engine.access import Actor
from engine.console import Console
from engine.roles import EVERYTHING, Grants
from engine.web import COOKIE

FOUNDER = Actor("console", EVERYTHING)
PASSWORD = "correct horse battery"


def visit(console: Console, monkeypatch: pytest.MonkeyPatch, name: str = "ann", grants: Grants = EVERYTHING) -> None:
    """Let what is looked at from now on be a console's, seen by somebody who signs in to it just now.

    Without a browser there are no cookies: they are handed in where Streamlit would have read them.
    """
    monkeypatch.setattr(consoles, "_current", console)
    access = console.access
    assert access is not None
    if name in {user.name for user in access.users(FOUNDER)}:
        token = access.sign_in(name, PASSWORD, "127.0.0.1")
    else:
        token = access.use_link(access.invite(FOUNDER, name, grants), PASSWORD, "127.0.0.1")
    monkeypatch.setattr(ContextProxy, "cookies", {COOKIE: token})
