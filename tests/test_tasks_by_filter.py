"""Tasks by filter from the command line: a real console on a real store, asked through its socket or found at rest."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from engine import messages as m
from engine.__main__ import main
from engine.byfilter import AT_A_TIME
from engine.console import STORE, Console
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.store import Store

from .stores import laid

ROOT = Path(__file__).resolve().parent.parent
FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "explorer-1", role = "explorer", slots = 1 }]
targets = [{ name = "db", kind = "device", count = 5 }]

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "explorer-2", role = "explorer", slots = 1 }]
targets = [{ name = "db", kind = "device", count = 5 }]
"""

Run = Callable[..., tuple[int, str, str]]


class Fleet:
    """A running console in which audits wait for ever, since nobody audits, and what the command line says of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "settings.toml").write_text("seed_days = 0\n")
        (folder / "fleet.toml").write_text(FLEET)
        laid(folder / STORE)
        self.console = Console(folder).start(wait=True)

    @property
    def engine(self) -> Engine:
        assert self.console.engine is not None
        return self.console.engine

    def do(self, action: m.Action, request: str = "") -> m.Outcome:
        self.serial = getattr(self, "serial", 0) + 1
        outcome = self.engine.do(m.Command(request or f"test-{self.serial}", "ann", action)).result(60)
        assert outcome.refused is None, outcome.refused
        return outcome

    def submit(
        self, n: int = 1, owner: str = "ann", site: str = "Berlin", kind: Kind = Kind.AUDIT, business: str = "Acme",
        **facts: object,
    ) -> list[int]:
        new = m.NewTask(business, site, kind, "task", owner, owner, **facts)
        return [int(task) for task in self.do(m.Submit([new] * n)).changed]

    def statuses(self, tasks: Sequence[int]) -> list[str]:
        """Tell how tasks stand by their last event."""
        found = self.engine.store.read(
            "select task_id, arg_max(to_status, event_id) from task_event where task_id in (select unnest($1)) "
            "group by 1", [list(tasks)],
        )  # fmt: skip
        stands = dict(found.iter_rows())
        return [stands[task] for task in tasks]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.console.close()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a verb on the folder and tells exit code, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words, "--data", str(tmp_path)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def rows(run: Run) -> Callable[..., list[dict[str, object]]]:
    def rows(*words: str) -> list[dict[str, object]]:
        code, out, err = run("tasks", *words, "--json")
        assert (code, err) == (0, "")
        found: list[dict[str, object]] = json.loads(out)["rows"]
        return found

    return rows


Rows = Callable[..., list[dict[str, object]]]


def child(folder: Path, *words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "engine", *words, "--data", str(folder)]
    return subprocess.run(command, cwd=ROOT, timeout=120, **({"capture_output": True} | how))


# --- finding


def test_a_filter_finds_live_and_ended_tasks_in_the_order_asked_for(fleet: Fleet, rows: Rows) -> None:
    first, second, third = fleet.submit(3, owner="bob")
    fleet.submit(2, owner="ann")
    fleet.do(m.Stop([second]))
    assert [row["task_id"] for row in rows("user:bob")] == [third, second, first]
    assert [row["task_id"] for row in rows("user:bob", "--sort", "number")] == [first, second, third]
    assert [row["task_id"] for row in rows("-user:ann", "--sort", "-number", "--tab", "active")] == [third, first]
    assert [row["task_id"] for row in rows("user:bob", "--tab", "failed")] == [second]
    assert [row["task_id"] for row in rows("user:bob", "--limit", "1")] == [third]


def test_what_is_listed_in_parts_has_every_task_once_and_as_many_as_are_counted(
    fleet: Fleet, rows: Rows, run: Run
) -> None:
    tasks = fleet.submit(AT_A_TIME + 300)
    fleet.do(m.Stop(tasks[::2]))
    found = [row["task_id"] for row in rows("--limit", "0")]
    assert found == sorted(tasks, reverse=True)
    _, out, _ = run("tasks", "--limit", "0", "--csv")
    assert [int(row["task_id"]) for row in csv.DictReader(io.StringIO(out))] == found
    code, out, _ = run("tasks", "--count", "--json")
    told = json.loads(out)
    ended = len(tasks[::2])
    assert (code, told["total"], told["tabs"]["Failed"]) == (0, len(tasks), ended)
    assert told["tabs"]["Active"] == len(tasks) - ended
    _, out, err = run("tasks", "--limit", "0")
    assert (len(out.splitlines()), err) == (1 + len(tasks), "")
    _, out, err = run("tasks", "--limit", "7")
    assert len(out.splitlines()) == 8
    assert err == f"7 of {len(tasks):,} tasks; --limit shows more\n"


def test_system_and_hidden_tasks_are_left_out_until_asked_for_and_told(fleet: Fleet, rows: Rows, run: Run) -> None:
    (task,) = fleet.submit()
    report = fleet.do(m.StartReport("Acme", "Berlin", "External assets report")).changed[0]
    fleet.do(m.Stop([task]))
    assert run("bulk", "hide", "user:ann", "--reason", "old", "--yes")[0] == 0
    assert rows() == []
    assert {row["task_id"] for row in rows("--system", "--hidden")} == {task, report}
    assert [row["task_id"] for row in rows("type:report")] == [report]
    assert "(1 with --system, 1 with --hidden)" in run("tasks")[2]


def test_tasks_of_all_businesses_are_listed_together_unless_one_is_named(fleet: Fleet, rows: Rows, run: Run) -> None:
    fleet.do(m.AddBusiness("Globex"))
    fleet.do(m.AddSite("Globex", "Rome"))
    one, other = *fleet.submit(), *fleet.submit(business="Globex", site="Rome")
    assert [row["task_id"] for row in rows()] == [other, one]
    assert [row["task_id"] for row in rows("--business", "Acme")] == [one]
    assert [row["task_id"] for row in rows("--site", "Rome")] == [other]
    assert "BUSINESS" in run("tasks")[1]
    assert "BUSINESS" not in run("tasks", "--business", "Acme")[1]
    assert run("tasks", "--business", "Globx") == (1, "", "There is no business “Globx”; did you mean “Globex”?\n")
    code, _, err = run("bulk", "stop", "--all", "--reason", "x", "--yes")
    assert (code, "say with --business which one" in err) == (1, True)
    assert fleet.statuses([one, other]) == ["New", "New"]


def test_a_filter_that_cant_be_read_is_pointed_at(fleet: Fleet, run: Run) -> None:
    told = "There is no key “tpye”; did you mean type:?\nuser:ann tpye:scan\n         ^^^^\n"
    for words in (["tasks", "--count"], ["tasks", "--sql"], ["tasks"], ["bulk", "stop", "--reason", "x", "--yes"]):
        assert run(*words, "user:ann tpye:scan") == (2, "", told)
    code, out, _ = run("tasks", "tpye:scan", "--json")
    assert (code, json.loads(out)["at"]) == (2, 0)
    assert run("tasks", "--sort", "colour")[0] == 2


def test_at_rest_tasks_are_found_as_the_stopped_console_left_them_and_by_the_query_that_is_shown(
    fleet: Fleet, rows: Rows, run: Run
) -> None:
    tasks = fleet.submit(4, owner="bob")
    fleet.submit(2, owner="bob", site="Oslo")
    fleet.do(m.Stop(tasks[:1]))
    words = "user:bob", "--site", "Berlin", "--tab", "active"
    live = rows(*words)
    fleet.console.close()
    at_rest = rows(*words)
    assert [row["task_id"] for row in at_rest] == [row["task_id"] for row in live] == tasks[:0:-1]
    assert json.loads(run("tasks", "--count", "--json")[1])["tabs"]["Active"] == 5
    _, sql, _ = run("tasks", *words, "--sql")
    with Store.open(fleet.folder / STORE) as store:
        assert store.read(sql)["task_id"].sort(descending=True).to_list() == tasks[:0:-1]


# --- acting


def test_all_that_match_are_stopped_in_one_request_for_the_one_who_asked(fleet: Fleet, run: Run) -> None:
    meant, other = fleet.submit(30, owner="bob"), fleet.submit(5, owner="ann")
    code, out, err = run("bulk", "stop", "user:bob", "--reason", "wrong scope", "--yes")
    assert (code, out) == (0, "30 stopped or asked to stop.\n")
    assert "30 tasks to stop" in err
    assert "bob (30)" in err
    assert set(fleet.statuses(meant)) == {"Stopped"}
    assert set(fleet.statuses(other)) == {"New"}
    audit = fleet.engine.store.read(
        "select distinct actor, action, reason, request_id from audit where object_id in (select unnest($1)::varchar)",
        [meant],
    ).filter(action="stop")
    ((actor, _, reason, _),) = audit.rows()
    assert actor.startswith("cli:")
    assert reason == "wrong scope"
    code, out, _ = run("bulk", "stop", "user:bob", "--reason", "wrong scope", "--yes")
    assert (code, "nothing to do" in out) == (0, True)


def test_more_tasks_than_fit_one_commit_are_stopped_in_parts(fleet: Fleet, run: Run) -> None:
    tasks = fleet.submit(10_500)
    code, out, _ = run("bulk", "stop", "--all", "--reason", "x", "--yes", "--json")
    told = json.loads(out)
    assert (code, len(told["changed"]), told["skipped"]) == (0, len(tasks), [])
    assert told["requests"] == [told["requests"][0], f"{told['requests'][0]}/2"]


def test_a_dry_run_tells_what_would_be_touched_and_changes_nothing(fleet: Fleet, run: Run) -> None:
    tasks = fleet.submit(3)
    code, out, _ = run("bulk", "stop", "--all", "--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["count"], sorted(told["tasks"]), told["users"]) == (0, 3, tasks, [["ann", 3]])
    assert set(fleet.statuses(tasks)) == {"New"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["", "--reason", "x", "--yes"], "say --all"),
        (["user:ann", "--all", "--reason", "x", "--yes"], "not both"),
        (["user:ann", "--yes"], "--reason"),
        (["user:ann", "--reason", "x"], "no terminal"),
    ],
)
def test_what_could_be_a_slip_is_refused_before_anything_happens(
    fleet: Fleet, words: list[str], why: str
) -> None:
    tasks = fleet.submit(2)
    done = child(fleet.folder, "bulk", "stop", *words, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, b"")
    assert why in done.stderr.decode()
    assert set(fleet.statuses(tasks)) == {"New"}


def ask_on_a_terminal(folder: Path, meanwhile: Callable[[], object], answer: bytes) -> tuple[int, str]:
    """Have tasks stopped by somebody at a terminal, who lets something happen before he answers."""
    mine, his = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "engine", "bulk", "stop", "user:ann", "--reason", "x", "--data", str(folder)],
        cwd=ROOT, stdin=his, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as asking:  # fmt: skip
        assert asking.stderr is not None
        assert asking.stdout is not None
        told = b""
        while not told.endswith(b"[y/N] "):
            told += os.read(asking.stderr.fileno(), 1)
        meanwhile()
        os.write(mine, answer)
        said = asking.stdout.read().decode()
    os.close(mine)
    os.close(his)
    return asking.returncode, said


def test_what_comes_after_the_preview_is_not_touched(fleet: Fleet) -> None:
    seen, later = fleet.submit(2), list[int]()
    code, said = ask_on_a_terminal(fleet.folder, lambda: later.extend(fleet.submit(3)), b"y\n")
    assert (code, said) == (0, "2 stopped or asked to stop.\n")
    assert fleet.statuses([*seen, *later]) == ["Stopped"] * 2 + ["New"] * 3


def test_what_ended_after_the_preview_is_told_with_why(fleet: Fleet) -> None:
    seen = fleet.submit(2)
    code, said = ask_on_a_terminal(fleet.folder, lambda: fleet.do(m.Stop(seen[:1])), b"y\n")
    assert (code, said) == (0, "1 stopped or asked to stop. 1 left as they were: not found, or already finished (1).\n")


def test_who_does_not_say_yes_changes_nothing(fleet: Fleet) -> None:
    tasks = fleet.submit(2)
    assert ask_on_a_terminal(fleet.folder, lambda: None, b"\n")[0] == 1
    assert set(fleet.statuses(tasks)) == {"New"}


def test_a_deletion_and_a_new_priority_can_be_taken_back(fleet: Fleet, rows: Rows, run: Run) -> None:
    tasks = fleet.submit(3)
    for words, stands in ((["delete"], ["Stopped"] * 3), (["priority", "--to", "8"], ["New"] * 3)):
        code, out, _ = run("bulk", *words, "--all", "--reason", "x", "--yes")
        assert code == 0
        assert fleet.statuses(tasks) == stands
        back = re.search(r"bulk undo (\S+)", out)
        assert back is not None
        if words[0] == "priority":
            assert {row["priority"] for row in rows()} == {8}
        code, out, _ = run("bulk", "undo", back[1], "--yes")
        assert (code, out) == (0, "3 taken back.\n")
        assert set(fleet.statuses(tasks)) == {"New"}
        assert {row["priority"] for row in rows()} == {5}


def test_ended_tasks_are_hidden_shown_again_and_submitted_once_more(fleet: Fleet, rows: Rows, run: Run) -> None:
    tasks = fleet.submit(2, target="db-1")
    fleet.do(m.Stop(tasks))
    assert run("bulk", "hide", "target:db-1", "--reason", "x", "--yes")[1].startswith("2 hidden.\n")
    assert rows("--tab", "failed") == []
    assert run("bulk", "unhide", "target:db-1", "--yes")[1] == "2 shown again.\n"
    assert len(rows("--tab", "failed")) == 2
    assert run("bulk", "rerun", "target:db-1", "--reason", "x", "--yes")[1] == "2 submitted again.\n"
    again = rows("target:db-1", "--tab", "active")
    assert sorted(row["rerun_of"] for row in again) == tasks


def test_a_stop_leaves_ended_and_scheduled_tasks_alone_unless_their_tab_is_named(fleet: Fleet, run: Run) -> None:
    later = fleet.submit(due_at=fleet.engine.now + 3_600_000_000)
    fleet.do(m.Stop(fleet.submit()))
    assert "No task matches in Active, Processing." in run("bulk", "stop", "--all", "--reason", "x", "--yes")[1]
    assert run("bulk", "stop", "--all", "--tab", "scheduled", "--reason", "x", "--yes")[0] == 0
    assert fleet.statuses(later) == ["Stopped"]


def test_without_a_console_nothing_is_done_and_what_to_do_is_told(fleet: Fleet, run: Run) -> None:
    fleet.submit(2)
    fleet.console.close()
    code, out, err = run("bulk", "stop", "--all", "--reason", "x", "--yes")
    assert (code, out) == (1, "")
    assert "2 tasks to stop" in err
    assert "python -m engine run" in err
    assert run("bulk", "stop", "--all", "--dry-run")[0] == 0


# --- where output goes


def test_a_reader_that_has_enough_ends_it_quietly(fleet: Fleet) -> None:
    fleet.submit(AT_A_TIME * 2)
    for how in ([], ["--csv"], ["--json"]):
        read, write = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-m", "engine", "tasks", "--limit", "0", *how, "--data", str(fleet.folder)],
            cwd=ROOT, stdout=write, stderr=subprocess.PIPE,
        ) as listing:  # fmt: skip
            os.close(write)
            assert os.read(read, 20)
            os.close(read)
            assert listing.stderr is not None
            assert (listing.stderr.read(), listing.wait(60)) == (b"", 0)


def test_a_full_disk_is_told_in_one_line(fleet: Fleet) -> None:
    fleet.submit(100)
    with Path("/dev/full").open("wb") as full:
        for words in (["tasks"], ["tasks", "--csv"], ["tasks", "--count"]):
            done = child(fleet.folder, *words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
            assert done.returncode == 1
            assert done.stderr.decode() == "The answer could not be written: No space left on device\n"


def test_a_terminal_that_lacks_a_sign_gets_another_and_csv_stays_utf_8(fleet: Fleet) -> None:
    fleet.submit(owner="Çelik")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = child(fleet.folder, "tasks", env=plain)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?elik" in done.stdout
    assert "Çelik".encode() in child(fleet.folder, "tasks", "--csv", env=plain).stdout
    done = child(fleet.folder, "tasks", "tpye:scan", env=plain)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, b'There is no key "tpye"; did you mean type:?')


def test_a_formula_leaves_as_text_and_what_is_no_text_is_refused(fleet: Fleet, run: Run) -> None:
    fleet.submit(owner="=1+1")
    assert ",'=1+1," in run("tasks", "--csv")[1]
    assert child(fleet.folder, "tasks", b"user:\xff").returncode == 2
    words = "bulk", "stop", "--all", "--yes", "--reason"
    assert child(fleet.folder, *words, b"\xff").returncode == 2
