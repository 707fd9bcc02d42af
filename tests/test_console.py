"""One console from start to stop: what it keeps when it is closed in order."""

from __future__ import annotations

import time
from pathlib import Path

from engine.access import Actor
from engine.console import STORE, Console
from engine.roles import EVERYTHING, Grant, Role
from engine.store import Store

FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "db", kind = "device", count = 5 }]
"""


def test_an_orderly_stop_keeps_when_a_session_was_last_used(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    console = Console(tmp_path).start(wait=True)
    try:
        assert console.access is not None
        assert console.engine is not None
        link = console.access.invite(Actor("console", EVERYTHING), "bob", [Grant(Role.PLATFORM_ADMIN)])
        token = console.access.use_link(link, "correct horse battery", "127.0.0.1")
        signed_in = console.engine.now
        while console.engine.now <= signed_in:
            time.sleep(0.05)
        used_at = console.engine.now
        assert console.access.who(token)
    finally:
        console.close()
    with Store.open(tmp_path / STORE) as store:
        (session,) = store.rows("sign_in", "ended_at is null")
        assert session.seen_at >= used_at > session.began_at
