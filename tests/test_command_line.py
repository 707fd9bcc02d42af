"""The command line where something is in its way: Ctrl-C, another user's console, another store's key."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine import messages as m
from engine.__main__ import main
from engine.chain import KEY
from engine.control import SOCKET, Control, Reply, Request
from engine.errors import StoreDamaged
from engine.runtime import Engine
from engine.settings import Settings
from engine.store import Store

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupted(child: subprocess.Popen[str]) -> tuple[int, str]:
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    return child.returncode, out + err


def test_ctrl_c_while_it_loads_ends_it_quietly(tmp_path: Path) -> None:
    child = start("verify", "--data", str(tmp_path))
    while "duckdb" not in Path(f"/proc/{child.pid}/maps").read_text():  # one of the imports, and not the last
        assert child.poll() is None
    assert interrupted(child) == (130, "")


def test_ctrl_c_while_a_verb_waits_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(os.path.relpath(tmp_path / SOCKET))
        silent.listen()
        silent.settimeout(60)
        child = start("verify", "--data", str(tmp_path))
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(1), "it has asked, and waits"
            assert interrupted(child) == (130, "")


@contextmanager
def somebody_else(path: Path) -> Iterator[None]:
    """Be a user who may not write to a file: root becomes nobody, anybody else shuts himself out."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    else:
        path.chmod(0)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.seteuid(os.getuid())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, which pytest's own is not."""
    folder = Path("/tmp") / f"drainboard-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_another_users_console_is_told_in_one_line(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(_: Request) -> Reply:
        return {"exit": 0, "text": "This is for its owner only"}

    control = Control(open_folder, answer)
    try:
        assert main(["health", "--data", str(open_folder)]) == 0
        assert "its owner" in capsys.readouterr().out
        with somebody_else(open_folder / SOCKET):
            assert main(["health", "--data", str(open_folder)]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.splitlines() == [
            f"The console on {open_folder} is another user's, and answers only him; run this command as that user"
        ]
    finally:
        control.close()


def test_a_key_of_another_store_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine", "other"):
        engine = Engine(tmp_path / name / "store", Settings()).start()
        assert engine.do(m.Command("founding", "ann", m.AddBusiness(name))).result(30).refused is None
        engine.close()
    store, key = tmp_path / "mine" / "store", tmp_path / "mine" / "store" / KEY
    right = key.read_text()
    before = (store / "head.json").read_text()
    for wrong, told in (
        ((tmp_path / "other" / "store" / KEY).read_text(), "is not the key of this store.*Put the right one back"),
        ("", "is not the key of this store"),
        ("no key at all", "holds no key.*Put the right one back"),
    ):
        key.write_text(wrong)
        with pytest.raises(StoreDamaged, match=told):
            Engine(store, Settings())
        assert main(["health", "--data", str(tmp_path / "mine")]) == 1
        assert "ut the right one back" in capsys.readouterr().err
        assert main(["verify", "--data", str(tmp_path / "mine")]) == 1
    assert (store / "head.json").read_text() == before
    key.write_text(right)
    Engine(store, Settings()).start().close()
    assert main(["verify", "--data", str(tmp_path / "mine")]) == 0


def test_a_batch_that_was_tampered_with_is_not_taken_for_a_wrong_key(tmp_path: Path) -> None:
    engine = Engine(tmp_path, Settings()).start()
    for n in range(5):
        assert engine.do(m.Command(f"founding-{n}", "ann", m.AddBusiness(f"acme-{n}"))).result(30).refused is None
    engine.close()
    with Store.open(tmp_path) as store:
        newest = store.read("select max(batch) from audit").item()
        with store.transaction() as cursor:
            cursor.execute("update audit set actor = 'eve' where batch = ?", [newest]).fetchall()
        store.refuse_wrong_key()
        broken = store.broken_link()
        assert broken is not None
        assert broken.batch == newest
