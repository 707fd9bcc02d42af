"""kill -9 of the real process under load: what was acknowledged is there, whole, and the console takes up again."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import rollups, verify
from engine.store import Store

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN = 10.0  #: seconds, on a busy machine


def load(folder: Path) -> subprocess.Popen[str]:
    """Start a console that submits, stops and holds as fast as it is answered, and tells each acknowledgement."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash_load", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "rounds", [pytest.param(20, id="20 kills"), pytest.param(200, id="200 kills", marks=pytest.mark.long)]
)
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(20261123)
    acknowledged: dict[str, int] = {}
    for _ in range(rounds):
        started = time.monotonic()
        child = load(tmp_path)
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            assert time.monotonic() - started < READY_WITHIN
            deadline = time.monotonic() + chance.uniform(0.1, 1.5)
            while time.monotonic() < deadline:
                told = json.loads(child.stdout.readline())
                acknowledged[told["request"]] = told["tasks"]
        finally:
            child.send_signal(signal.SIGKILL)
            rest, _ = child.communicate()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                told = json.loads(line)
                acknowledged[told["request"]] = told["tasks"]

    with Store.open(tmp_path / "store") as store:
        rollups.prepare(store)
        found = dict(
            store.read(
                "select request_id, count(*) from task_event where event = 'submit' group by request_id"
            ).iter_rows()
        )
        lost = {request for request, tasks in acknowledged.items() if found.get(request) != tasks}
        assert not lost
        assert len(acknowledged) > rounds
        counted = store.read(
            "select batch, cast(json_extract(row_counts, '$.task_event') as bigint) as told, "
            "(select count(*) from task_event e where e.batch = b.batch) as there from batch b"
        )
        assert counted.filter((counted["told"].fill_null(0)) != counted["there"]).is_empty()
        rollups.advance(store)
        assert verify.check(store) == []
