"""What must not happen, whoever tries: texts that mislead, files that run, secrets that lie open, logs that lie.

Sign-in, sessions and guesses have test_access; rights test_roles and test_rights; the running server
tests/browser/test_security. The README's section on security lists which test stands for which requirement.
"""

from __future__ import annotations

import asyncio
import csv as csvs
import io
import logging
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import messages as m
from engine import web
from engine.access import WrongCredentials
from engine.chain import KEY
from engine.control import SOCKET, Control, Reply, Request
from engine.errors import CommitFailed, InvalidImport, SettingsError
from engine.joblogs import parse
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.reports import as_csv
from engine.runtime import Engine
from engine.settings import Settings, load
from engine.store import Store
from engine.tables import clean, csv
from tests.desk import SITE
from tests.desk import Desk as Core
from tests.test_access import HERE, OTHER, PASSWORD, SITE_USER, Desk

ROOT = Path(__file__).resolve().parent.parent

# --- texts

MISLEADING = [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\x1b\x07\x7f\x85\r\b"]
HARMLESS = ["naïve café", "日本語", "שלום", "می‌خواهم", "👩‍💻", "a\u200bb"]

RULE = Rule.cron_rule("30 2 * * *", "UTC")

WHERE: dict[str, Callable[[str], m.Action]] = {
    "a task's name": lambda text: m.Submit([m.NewTask(*SITE, Kind.SCAN, text, "ann", "ann")]),
    "its target": lambda text: m.Submit([m.NewTask(*SITE, Kind.SCAN, "task", "ann", "ann", text)]),
    "its owner": lambda text: m.Submit([m.NewTask(*SITE, Kind.SCAN, "task", text, "ann")]),
    "a schedule's name": lambda text: m.CreateSchedule(m.ScheduleSpec(text, *SITE, Kind.SCAN, RULE, "ann")),
    "a hold's reason": lambda text: m.PlaceHolds("acme", [m.HoldTarget("user", "bob")], text),
    "who is held": lambda text: m.PlaceHolds("acme", [m.HoldTarget("user", text)], ""),
    "a widget": lambda text: m.RefreshWidget(*SITE, text),
    "a view's name": lambda text: m.KeepView(text, "Failed"),
    "a view's filter": lambda text: m.KeepView("mine", "Failed", text),
    "a site's name": lambda text: m.AddSite("acme", text),
}


@pytest.mark.parametrize("sign", MISLEADING, ids=lambda sign: f"U+{ord(sign):04X}")
@pytest.mark.parametrize("where", WHERE)
def test_a_sign_that_makes_a_text_read_as_another_is_refused(where: str, sign: str) -> None:
    desk = Core()
    desk.at += 1
    step = desk.step(WHERE[where](f"invoice{sign}exe"))
    told = str(desk.outcomes[-1].refused)
    assert not step.rows
    assert f"U+{ord(sign):04X}" in told or "characters that can be seen" in told or "can't be stored" in told


@pytest.mark.parametrize("text", HARMLESS)
def test_a_name_in_any_script_stays_as_it_is(text: str) -> None:
    desk = Core()
    desk.at += 1
    desk.step(WHERE["its target"](text), WHERE["a hold's reason"](f"{text}\nsecond line"))
    assert [outcome.refused for outcome in desk.outcomes[-2:]] == [None, None]


def test_a_log_that_holds_such_signs_is_refused_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text("id,submitted,ended,state,target\n1,5,6,completed,srv\u202egnp\n2,5,6,completed,srv\n", "utf-8")
    bad = parse(file, "csv").bad
    assert [(row.line, row.reason) for row in bad] == [
        (2, "the target has a character that steers how text is shown (U+202E)")
    ]


# --- files for a spreadsheet

FORMULAS = [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20SUM(1)",
    "=cmd|'/c calc'!A1", '=HYPERLINK("http://evil.example","x")',
]  # fmt: skip


@pytest.mark.parametrize("payload", FORMULAS, ids=ascii)
def test_no_text_in_a_file_is_a_formula_and_numbers_stay_numbers(payload: str) -> None:
    written = csv(pl.DataFrame({"name": [payload], "n": [-5]})).decode()
    table = {"columns": [["name", "text"], ["n", "number"]], "rows": [[payload, -5]]}
    for text in (written, as_csv(table)):
        (_, (name, n)) = list(csvs.reader(io.StringIO(text, newline="")))
        assert (name, n) == (f"'{payload}", "-5")


def test_every_file_that_leaves_is_written_by_one_of_the_two_that_disarm_formulas() -> None:
    """A new way out is to be looked at, and then named here."""
    ways = r"write_csv|write_excel|csv\.writer|to_csv|download_button|st\.dataframe|st\.data_editor|DictWriter"
    found = {
        (path.relative_to(ROOT).as_posix(), way)
        for folder in ("engine", "pages")
        for path in (ROOT / folder).rglob("*.py")
        for way in re.findall(ways, path.read_text("utf-8"))
    }
    assert found == {
        ("engine/tables.py", "write_csv"), ("engine/reports.py", "csv.writer"), ("engine/shell.py", "write_csv"),
        ("pages/shared/acting.py", "st.dataframe"),
    }  # fmt: skip
    assert "disableDataExport = true" in (ROOT / ".streamlit" / "config.toml").read_text()


# --- secrets


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_but_its_owner_reads_a_store_its_copy_its_key_or_its_socket(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert mode(tmp_path / "store") == 0o700
        assert mode(tmp_path / "store" / KEY) == 0o600
        store.copy_to(tmp_path / "copy")
    assert mode(tmp_path / "copy") == 0o700
    assert mode(tmp_path / "copy" / KEY) == 0o600

    def answer(_: Request) -> Reply:
        return {}

    control = Control(tmp_path, answer)
    try:
        assert mode(tmp_path / SOCKET) == 0o600
    finally:
        control.close()


def test_a_store_that_stood_open_is_closed_at_the_next_start(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    (tmp_path / "store").chmod(0o755)
    Store.open(tmp_path / "store").close()
    assert mode(tmp_path / "store") == 0o700


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o644])
def test_a_secret_in_a_file_that_others_can_read_stops_the_start(tmp_path: Path, open_to: int) -> None:
    file, token = tmp_path / "settings.toml", "canary-token-of-the-test"
    file.write_text(f'metrics_token = "{token}"\n')
    file.chmod(open_to)
    with pytest.raises(SettingsError, match="chmod 600") as told:
        load(tmp_path, {})
    assert token not in str(told.value)
    file.chmod(0o600)
    assert load(tmp_path, {})["metrics_token"] == token
    file.write_text("seed_days = 3\n")
    file.chmod(open_to)
    assert load(tmp_path, {})["seed_days"] == 3, "nothing in it is secret"


# --- logs


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "store")
    yield one
    one.store.close()


def test_who_did_not_get_in_stands_in_the_log_and_no_password_does(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.user("bob")
    caplog.set_level(logging.INFO, "drainboard")
    for name, password in (("bob", OTHER), (PASSWORD, "in the wrong field")):
        with pytest.raises(WrongCredentials):
            desk.access.sign_in(name, password, HERE)
    assert [record.getMessage() for record in caplog.records] == [
        f"Somebody at '{HERE}' did not get in as 'bob'",
        f"Somebody at '{HERE}' did not get in as a user that there is not",
    ]
    assert PASSWORD not in caplog.text


def test_who_was_refused_what_stands_in_the_log_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "drainboard")
    engine = Engine(tmp_path / "store", Settings()).start()
    try:
        forged = "ann\n2026-11-29 WARNING drainboard: root was let in\x1b[2K\u202e"
        for actor, business in ((forged, "acme"), ("ann", forged)):
            command = m.Command("r1", actor, m.AddSite(business, "berlin"), [SITE_USER])
            assert engine.do(command).result(20).refused
    finally:
        engine.close()
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("AddSite was refused to '")
        assert line.isprintable()
        assert line.isascii()


def test_a_terminal_obeys_nothing_that_stands_in_a_name() -> None:
    assert clean("srv\x1b[2J\x07\u202e\n") == "srv\ufffd[2J\ufffd\ufffd\ufffd"


# --- where the store of accounts fails


def test_while_nothing_can_be_kept_nobody_gets_in(desk: Desk) -> None:
    desk.user("bob")
    known = set(desk.access._sessions)
    desk.breaks = True
    with pytest.raises(CommitFailed):
        desk.access.sign_in("bob", PASSWORD, HERE)
    assert set(desk.access._sessions) == known


# --- files from outside


def test_an_archive_and_markup_are_refused_as_logs_whatever_they_would_unpack_to(tmp_path: Path) -> None:
    """A zip bomb is not unpacked, an entity not followed: nothing here opens an archive or reads XML."""
    for name, content in {
        "bomb.csv": b"PK\x03\x04" + bytes(1_000), "jobs.csv": b"\x1f\x8b\x08" + bytes(1_000),
        "xxe.csv": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>\n',
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidImport) as told:
            parse(tmp_path / name, "csv")
        assert "root:" not in str(told.value)
    for path in [*(ROOT / "engine").glob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        assert not re.search(r"import (zipfile|tarfile|gzip|pickle)|xml\.(etree|sax|dom)|lxml", path.read_text("utf-8"))


# --- dependencies


def test_every_dependency_is_pinned_to_one_version_and_the_readme_does_not_claim_an_audit() -> None:
    for name in ("requirements.txt", "tests/requirements.txt"):
        for line in (ROOT / name).read_text().splitlines():
            assert re.match(r"#|[A-Za-z0-9_-]+==[0-9][0-9.]*(\s|$)", line), f"{name}: {line}"
    assert "no check looks them up among known vulnerabilities" in (ROOT / "README.md").read_text("utf-8")


# --- the guard, by itself


async def behind(scope: web.Message, receive: web.Receive, send: web.Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
    await send({"type": "http.response.body", "body": b"behind the guard"})


def ask(
    path: str, host: str = "localhost", hosts: Sequence[str] = (), method: str = "GET", origin: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Send a request through the guard; return status, headers and body."""
    told: list[web.Message] = []

    async def send(message: web.Message) -> None:
        told.append(message)

    async def receive() -> web.Message:
        return {"type": "http.request"}

    headers = [(b"host", host.encode())] + ([] if origin is None else [(b"origin", origin.encode())])
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    asyncio.run(web.Guard(behind, hosts)(scope, receive, send))
    start, body = told
    return start["status"], {n.decode(): v.decode() for n, v in start["headers"]}, body["body"].decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:8501", 200), ("localhost.", 200), ("a.ops.example", 200), ("evil.example", 421),
     ("ops.example.evil.example", 421), ("xops.example", 421), ("localhost@evil.example", 421), ("[::1", 421),
     ("", 421)],
)  # fmt: skip
def test_a_host_name_that_is_not_ours_gets_nothing(host: str, status: int) -> None:
    got, headers, body = ask("/static/x.js", host, ("localhost", "*.ops.example"))
    assert got == status
    assert ("behind the guard" in body) == (status == 200)
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://%", "http:///", "\\", None])
def test_a_form_from_what_is_no_address_is_refused_like_any_from_elsewhere(origin: str | None) -> None:
    assert ask("/auth/sign-in", method="POST", origin="http://localhost")[0] == 200
    assert ask("/auth/sign-in", method="POST", origin=origin)[0] == 403


def test_what_is_for_one_person_is_kept_by_no_cache_and_what_is_the_same_for_all_may_be() -> None:
    for path, said in (("/", "no-store"), ("/media/x.csv", "no-store"), ("/static/x.js", "public")):
        assert ask(path)[1]["cache-control"] == said


def test_a_page_loads_nothing_from_elsewhere_and_sends_nothing_there() -> None:
    policy = ask("/")[1]["content-security-policy"]
    parts: dict[str, Any] = {name: sources for name, *sources in (part.split() for part in policy.split(";"))}
    assert parts["default-src"] == parts["form-action"] == parts["base-uri"] == ["'self'"]
    assert parts["frame-ancestors"] == parts["object-src"] == ["'none'"]
    for sources in parts.values():
        assert set(sources) <= {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
