"""Job logs: what is read out of them, what is refused and where, and the ledger rows that they become."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import accumulate
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import joblogs, rollups, verbs, verify
from engine import messages as m
from engine.batch import Batch, Bulk
from engine.chain import BLOCK
from engine.clock import DAY, MINUTE, SECOND
from engine.errors import InvalidImport
from engine.imports import Limits, LogRows, Place, Staged, digest, load, numbered
from engine.joblogs import BadRow, Job, Parsed, State, parse
from engine.ledger import Rows, ServiceEvent, TaskEvent, TaskRow, make_id, number_of
from engine.lifecycle import NEXT, TERMINAL, Kind, Status
from engine.runtime import Engine
from engine.settings import Settings
from engine.state import State as LiveState
from engine.state import apply
from engine.store import Store

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
TRACES = {
    "kth": ("KTH-SP2-1996-2.1-cln.swf", "swf"),
    "phillips": ("xdmod_phillips_slurm_sacct.log", "sacct"),
}
BUSINESS_NO, FIRST_EVENT, FIRST_TASK = 7, 101, 41
LATER = 1 << 52


def trace(name: str) -> tuple[Path, str, dict[str, Any]]:
    file, format = TRACES[name]
    path, facts = SHARED / "traces" / file, SHARED / "reference" / "trace_facts.json"
    if not path.exists() or not facts.exists():
        pytest.skip(f"the reference trace {file} is not beside this checkout")
    return path, format, json.loads(facts.read_text())[name]


def place(kind: str = "scan") -> Place:
    return Place("Acme", "Archive", kind, "log")


def as_rows(tables: Bulk) -> Rows:
    """What the store would be handed, numbered, as the ledger's rows."""
    given = numbered(tables, BUSINESS_NO, FIRST_EVENT, FIRST_TASK)
    columns = {table: pa.concat_tables(blocks).to_pydict() for table, blocks in given.items()}
    details = columns["task_event"]["detail"]
    columns["task_event"]["detail"] = [None if text is None else json.loads(text) for text in details]
    return Rows(
        task_event=[TaskEvent(*row) for row in zip(*columns["task_event"].values(), strict=True)],
        task_done=[TaskRow(*row) for row in zip(*columns["task_done"].values(), strict=True)],
    )


def rows_of(parsed: Parsed, kind: str = "scan", imported_at: int = LATER) -> Rows:
    return as_rows(LogRows(parsed, place(kind), imported_at).tables())


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text + "+00:00").timestamp()) * SECOND


def where(bad: list[BadRow]) -> dict[int, str]:
    return {row.line: row.reason for row in bad}


def nearest_rank(values: list[int], q: float) -> int:
    return sorted(values)[ceil(q * len(values)) - 1]


def peak(changes: list[tuple[int, int]]) -> dict[str, int]:
    """The highest running sum once the changes of each instant are netted, and when it is first reached."""
    net: Counter[int] = Counter()
    for at, n in changes:
        net[at] += n
    instants = sorted(net)
    depths = list(accumulate(net[at] for at in instants))
    return {"max": max(depths), "at": instants[depths.index(max(depths))] // SECOND}


# --- the reference traces


@pytest.mark.parametrize("name", TRACES)
def test_a_real_log_has_the_jobs_that_others_counted_in_it(name: str) -> None:
    path, format, facts = trace(name)
    parsed = parse(path, format)
    assert (len(parsed.jobs), parsed.bad, parsed.left_out) == (facts["rows"], [], {})
    assert Counter(job.state.value for job in parsed.jobs) == facts["status"]
    users = Counter(job.user for job in parsed.jobs)
    assert len(users) == facts["users"]
    assert [list(most) for most in users.most_common(1)] == facts["busiest_user"]
    if name == "phillips":
        assert Counter(job.scope for job in parsed.jobs) == facts["types"]
    last_submit = max(job.submit_at for job in parsed.jobs)
    assert round((last_submit - parsed.first_at) / DAY, 2) == facts["span_days"]
    assert sum(job.start_at is None for job in parsed.jobs) == facts["missing_start"]
    assert sum(job.end_at is None for job in parsed.jobs) == facts["missing_end"]
    submits = Counter(job.submit_at // MINUTE for job in parsed.jobs)
    assert max(submits.values()) == facts["max_submits_same_minute"]


@pytest.mark.parametrize("name", TRACES)
def test_the_rows_of_a_real_log_have_its_waits_and_its_peaks(name: str) -> None:
    path, format, facts = trace(name)
    rows = rows_of(parse(path, format))
    waits = [row.wait_s // SECOND for row in rows.task_done if row.wait_s is not None]
    assert len(waits) == facts["wait"]["n"]
    assert fmean(waits) == pytest.approx(facts["wait"]["mean"], rel=1e-12)
    assert nearest_rank(waits, 0.5) == facts["wait"]["p50_nearest"]
    assert nearest_rank(waits, 0.95) == facts["wait"]["p95_nearest"]
    assert max(waits) == facts["wait"]["max"]
    runs = [row.run_s / SECOND for row in rows.task_done if row.run_s is not None]
    assert fmean(runs) == pytest.approx(facts["run_mean"], rel=1e-12)
    assert peak([(e.occurred_at, e.dq) for e in rows.task_event]) == facts["peak_queued"]
    assert peak([(e.occurred_at, e.dr) for e in rows.task_event]) == facts["peak_running"]
    words = {"by_user": "cancelled", "error": "failed", "timeout": "timeout", None: "completed"}
    assert Counter(words[row.reason] for row in rows.task_done) == facts["status"]
    assert_legal(rows)


def test_the_same_log_makes_the_same_rows_twice() -> None:
    path, format, _ = trace("phillips")
    with load(path, format, place(), not_after=LATER) as staged:
        assert rows_of(parse(path, format)) == as_rows(staged.rows)


# --- from jobs to rows


def assert_legal(rows: Rows) -> None:
    """Ids run on without a gap, time never goes back, every edge is in the table, every lease is that of the stage."""
    ids = [event.event_id for event in rows.task_event]
    assert ids == list(range(make_id(BUSINESS_NO, FIRST_EVENT), make_id(BUSINESS_NO, FIRST_EVENT) + len(ids)))
    instants = [event.occurred_at for event in rows.task_event]
    assert instants == sorted(instants)
    status: dict[int, Status] = {}
    lease: dict[int, int | None] = {}
    for event in rows.task_event:
        task = event.task_id
        before = status.get(task)
        assert event.from_status == before
        status[task] = NEXT[event.event, before, Kind(event.kind)]
        assert event.to_status == status[task]
        if event.event in ("claim", "process"):
            lease[task] = event.event_id
        elif before in (Status.NEW, Status.SCANNED, Status.CONNECTED, None):
            lease[task] = None
        assert event.lease == lease[task]
        assert (event.cause == "unknown") == bool(event.dq or event.dp)
        assert (event.actor, event.service, event.attempt) == ("import", None, 0)
    assert set(status.values()) <= TERMINAL
    assert {row.task_id: row.status for row in rows.task_done} == status
    sums: Counter[tuple[int, str]] = Counter()
    for event in rows.task_event:
        for column in ("dq", "dp", "dr"):
            sums[event.task_id, column] += getattr(event, column)
            assert 0 <= sums[event.task_id, column] <= 1
    assert not any(sums.values())
    assert [number_of(row.task_id) for row in rows.task_done] == [row.number for row in rows.task_done]


def live_rows(rows: Rows) -> dict[int, TaskRow]:
    """What the live engine's own `apply` makes of the events, on a host that has no name as imports have none."""
    state = LiveState()
    setup = [
        ("Acme", None, None, "business_added", None),
        ("Acme", "Archive", None, "site_added", {"zone": "UTC", "archive": True}),
        ("Acme", "Archive", "", "service_added", {"role": "explorer", "slots": 10, "executor": "none"}),
    ]
    for n, (business, site, service, event, detail) in enumerate(setup, make_id(BUSINESS_NO, 1)):
        apply(state, ServiceEvent(n, 0, business, site, service, event, None, "system", None, detail))
    ended = {}
    for event in rows.task_event:
        task = state.tasks.get(event.task_id)
        apply(state, event)
        if task is not None and event.task_id not in state.tasks:
            ended[event.task_id] = task.row()
    assert not state.tasks
    return ended


instants = st.integers(0, 20).map(lambda s: s * SECOND)


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    made = []
    for n in range(draw(st.integers(1, 12))):
        times = sorted(draw(st.lists(instants, min_size=3, max_size=3)))
        state = draw(st.sampled_from(State))
        start_at = draw(st.sampled_from([None, times[1]]))
        end_at = draw(st.sampled_from([None, times[2]])) if state is State.UNKNOWN_END else times[2]
        error = draw(st.sampled_from([None, "out of memory"]))
        kind, target = draw(st.sampled_from([None, *Kind])), draw(st.sampled_from([None, "10.0.0.1"]))
        made.append(
            Job(n + 1, str(n), f"Job {n}", draw(st.sampled_from("ab")), draw(st.sampled_from([None, "black"])),
                times[0], start_at, end_at, state, error, kind, target)
        )  # fmt: skip
    return made


@given(jobs())
@settings(deadline=None, max_examples=200)
def test_any_log_becomes_legal_events_and_the_rows_that_a_live_fleet_would_make_of_them(made: list[Job]) -> None:
    rows = rows_of(Parsed(made))
    assert_legal(rows)
    unknown_start = {e.task_id for e in rows.task_event if e.detail and "start_unknown" in e.detail}
    live = live_rows(rows)
    assert [row for row in rows.task_done if row.task_id not in unknown_start] == [
        live[row.task_id] for row in rows.task_done if row.task_id not in unknown_start
    ]
    for row in rows.task_done:
        if row.task_id in unknown_start:
            assert (row.status, row.started_at, row.wait_s, row.run_s) == ("Processed", None, None, None)
        else:
            assert row.wait_s == row.wait_unknown_s
    numbered = sorted(rows.task_done, key=lambda row: row.number)
    assert [row.queued_at for row in numbered] == sorted(job.submit_at for job in made)
    assert rows == rows_of(Parsed(made))


def one(
    state: State, start_s: int | None = 10, end_s: int | None = 30, kind: str = "scan"
) -> tuple[list[str], TaskRow]:
    """The events of one job, submitted at 5, with a bystander who is the log's last to be heard of, at 99."""
    job = Job(1, "1", "Job 1", "ann", None, 5 * SECOND, start_s and start_s * SECOND, end_s and end_s * SECOND, state)
    bystander = Job(2, "2", "Job 2", "bob", None, 99 * SECOND, None, 99 * SECOND, State.CANCELLED)
    rows = rows_of(Parsed([job, bystander]), kind=kind)
    row = rows.task_done[0]
    return [f"{e.event} {e.occurred_at // SECOND}" for e in rows.task_event if e.task_id == row.task_id], row


def test_a_completed_job_is_collected_and_processed_at_its_end() -> None:
    events, row = one(State.COMPLETED)
    assert events == ["submit 5", "claim 10", "collected 30", "hand_over 30", "process 30", "finish 30"]
    assert (row.status, row.outcome, row.reason) == ("Processed", "finished", None)
    assert (row.wait_s, row.run_s, row.process_wait_s, row.process_s) == (5 * SECOND, 20 * SECOND, 0, 0)


def test_a_completed_job_without_a_start_is_claimed_at_its_end_and_its_wait_stays_unknown() -> None:
    events, row = one(State.COMPLETED, start_s=None)
    assert events == ["submit 5", "claim 30", "collected 30", "hand_over 30", "process 30", "finish 30"]
    assert (row.started_at, row.wait_s, row.wait_unknown_s, row.run_s) == (None, None, 0, None)


@pytest.mark.parametrize(("state", "reason"), [(State.CANCELLED, "by_user"), (State.PREEMPTED, "preempted")])
def test_a_cancelled_job_is_stopped_where_it_stood(state: State, reason: str) -> None:
    events, row = one(state)
    assert events == ["submit 5", "claim 10", "request_stop 30", "confirm_stop 30"]
    assert (row.status, row.outcome, row.reason, row.run_s) == ("Stopped", "stopped", reason, 20 * SECOND)
    events, row = one(state, start_s=None)
    assert events == ["submit 5", "stop 30"]
    assert (row.status, row.reason, row.started_at, row.wait_s) == ("Stopped", reason, None, 25 * SECOND)


@pytest.mark.parametrize(("state", "reason"), [(State.FAILED, "error"), (State.TIMEOUT, "timeout")])
def test_a_failed_job_is_canceled_where_it_stood(state: State, reason: str) -> None:
    events, row = one(state)
    assert events == ["submit 5", "claim 10", "fail 30"]
    assert (row.status, row.outcome, row.reason) == ("Canceled", "failed", reason)
    events, row = one(state, start_s=None)
    assert events == ["submit 5", "fail 30"]
    assert (row.started_at, row.run_s) == (None, None)


def test_a_job_that_never_ended_is_canceled_at_the_logs_last_instant() -> None:
    events, row = one(State.UNKNOWN_END, end_s=None)
    assert events == ["submit 5", "claim 10", "fail 99"]
    assert (row.status, row.outcome, row.reason, row.started_at) == ("Canceled", "failed", "unknown_end", 10 * SECOND)
    events, row = one(State.UNKNOWN_END, start_s=None, end_s=None)
    assert events == ["submit 5", "fail 99"]


def test_a_job_of_a_system_kind_has_no_collecting_stage() -> None:
    events, row = one(State.COMPLETED, kind="report")
    assert events == ["submit 5", "claim 10", "finish 30"]
    assert (row.collected_at, row.run_s, row.process_s) == (None, None, 20 * SECOND)


def test_events_of_one_instant_stand_as_in_the_file() -> None:
    late_submit = Job(1, "1", "Job 1", "ann", None, 7 * SECOND, 10 * SECOND, 20 * SECOND, State.FAILED)
    early_submit = Job(2, "2", "Job 2", "ann", None, 5 * SECOND, 10 * SECOND, 20 * SECOND, State.FAILED)
    rows = rows_of(Parsed([late_submit, early_submit]))
    assert [(row.number, row.name) for row in rows.task_done] == [(FIRST_TASK, "Job 2"), (FIRST_TASK + 1, "Job 1")]
    claims = [number_of(event.task_id) for event in rows.task_event if event.event == "claim"]
    assert claims == [FIRST_TASK + 1, FIRST_TASK]


def test_a_log_from_the_future_would_drag_the_ledgers_clock_along_and_is_refused() -> None:
    job = Job(1, "1", "Job 1", "ann", None, 5, 6, 7, State.COMPLETED)
    assert rows_of(Parsed([job]), imported_at=7)
    with pytest.raises(InvalidImport, match="future"):
        rows_of(Parsed([job]), imported_at=6)


def test_an_unknown_task_type_is_refused_by_name() -> None:
    with pytest.raises(InvalidImport, match="“scann”"):
        rows_of(Parsed([Job(1, "1", "Job 1", "ann", None, 5, 6, 7, State.COMPLETED)]), kind="scann")


# --- swf


def swf(number: object = 1, submit: object = 0, wait: object = 10, run: object = 20, status: object = 1,
        user: object = 3, queue: object = -1, partition: object = -1) -> str:  # fmt: skip
    return f"{number} {submit} {wait} {run} 4 -1 -1 4 60 -1 {status} {user} 1 -1 {queue} {partition} -1 -1"


def written(folder: Path, *lines: str, ending: str = "\n", name: str = "log") -> Path:
    path = folder / name
    path.write_bytes("".join(line + ending for line in lines).encode())
    return path


def swf_file(folder: Path, *lines: str) -> Path:
    return written(folder, "; UnixStartTime: 1000", *lines)


def test_swf_counts_from_the_start_that_its_header_names(tmp_path: Path) -> None:
    parsed = parse(swf_file(tmp_path, swf(15, 5, 10, 20, user=91, queue=3), swf(16, partition=2, user=-1)), "swf")
    first, second = parsed.jobs
    assert (first.id, first.name, first.user, first.scope) == ("15", "Job 15", "u91", "queue-3")
    assert (first.submit_at, first.start_at, first.end_at) == (1005 * SECOND, 1015 * SECOND, 1035 * SECOND)
    assert (second.user, second.scope) == ("unknown", "partition-2")


def test_swf_without_its_start_is_refused_by_the_name_of_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match=r"UnixStartTime.*line 2"):
        parse(written(tmp_path, "; Version: 2.2", swf()), "swf")
    with pytest.raises(InvalidImport, match="second, different UnixStartTime in line 3"):
        parse(swf_file(tmp_path, swf(), "; UnixStartTime: 2000"), "swf")


def test_swf_times_of_minus_one_are_unknown(tmp_path: Path) -> None:
    lines = [
        swf(1, wait=-1, run=20),
        swf(2, run=-1),
        swf(3, status=-1),
        swf(4, wait=50, run=-1, status=5),
        swf(5, wait=50, run=0, status=5),
    ]
    got = {job.id: (job.state, job.start_at, job.end_at) for job in parse(swf_file(tmp_path, *lines), "swf").jobs}
    assert got == {
        "1": (State.UNKNOWN_END, None, None),
        "2": (State.UNKNOWN_END, 1010 * SECOND, None),
        "3": (State.UNKNOWN_END, 1010 * SECOND, 1030 * SECOND),
        "4": (State.CANCELLED, None, 1050 * SECOND),
        "5": (State.CANCELLED, 1050 * SECOND, 1050 * SECOND),
    }


def test_swf_parts_of_a_swapped_job_are_counted_and_its_summary_is_the_job(tmp_path: Path) -> None:
    lines = [swf(1, run=50), swf(1, run=20, status=2), swf(1, run=30, status=3), swf(2, status=4), swf(2, status=2)]
    parsed = parse(swf_file(tmp_path, *lines), "swf")
    assert [job.end_at for job in parsed.jobs] == [1060 * SECOND]
    assert parsed.left_out == {"partial executions": 4}
    assert where(parsed.bad) == {5: "a part of job 2, which has no summary line"}


def test_every_bad_swf_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = swf_file(
        tmp_path,
        swf(1),
        "",
        swf(2, run=-5),
        swf(3, wait=-2),
        swf(4, submit=-1),
        swf(5, status=7),
        "; a remark",
        swf(1),
        swf(6) + " 0",
        "this is no job",
        swf(7, submit="noon"),
        swf("x"),
        swf(8, run="inf"),
        swf(9, run="1_0"),
        swf(10, run="9" * 30),
        swf(11, run="20.5"),
    )
    parsed = parse(path, "swf")
    assert [(job.line, job.id) for job in parsed.jobs] == [(2, "1"), (17, "11")]
    assert where(parsed.bad) == {
        4: "negative run time (-5)",
        5: "negative wait (-2)",
        6: "has no submit time",
        7: "unknown status 7",
        9: "duplicate id 1: line 2 has it too",
        10: "has 19 fields where swf has 18",
        11: "has 4 fields where swf has 18",
        12: "submit time “noon” is not a number of seconds",
        13: "job number “x” is not a whole number",
        14: "run time “inf” is not a number of seconds",
        15: "run time “1_0” is not a number of seconds",
        16: f"run time “{'9' * 30}” is too large",
    }
    assert parsed.bad[0].text == swf(2, run=-5)


# --- sacct


COLUMNS = "JobID|JobName|User|Partition|Submit|Start|End|State|ExitCode"


def sacct(an_id: str = "1", name: str = "scan", user: str = "ann", partition: str = "black",
          submit: str = "2024-03-01T10:00:00", start: str = "2024-03-01T10:05:00", end: str = "2024-03-01T10:30:00",
          state: str = "COMPLETED", code: str = "0:0") -> str:  # fmt: skip
    return "|".join((an_id, name, user, partition, submit, start, end, state, code))


def headless(*facts: str) -> str:
    """A row in the order of columns that output without a header has: id, partition, user, times, state, name."""
    an_id, partition, user, submit, start, end, state, name = facts
    return "|".join(
        [an_id, an_id, "c", partition, "q", "a", "g", "1", user, "2", submit, submit, start, end, "t", "0:0", state,
         "1", "1", "1", "m", "r", "a", "l", "n", name]
    )  # fmt: skip


def test_sacct_is_read_by_its_header_in_any_order(tmp_path: Path) -> None:
    job = parse(written(tmp_path, COLUMNS, sacct("7")), "sacct").jobs[0]
    turned = ["|".join(reversed(line.split("|"))) + "|more" for line in (COLUMNS, sacct("7"))]
    again = parse(written(tmp_path, *turned), "sacct").jobs[0]
    assert job == again
    assert (job.line, job.id, job.name, job.user, job.scope) == (2, "7", "scan", "ann", "black")
    assert (job.submit_at, job.start_at) == (utc("2024-03-01T10:00:00"), utc("2024-03-01T10:05:00"))
    assert job.end_at == utc("2024-03-01T10:30:00")


def test_sacct_without_a_header_is_read_by_place(tmp_path: Path) -> None:
    times = ("2024-03-01T10:00:00", "2024-03-01T10:05:00", "2024-03-01T10:30:00")
    plain = parse(written(tmp_path, headless("7", "black", "ann", *times, "COMPLETED", "scan")), "sacct").jobs[0]
    headed = parse(written(tmp_path, COLUMNS, sacct("7")), "sacct").jobs[0]
    assert plain == headed._replace(line=1)


def test_a_first_job_that_is_named_like_a_column_is_no_header(tmp_path: Path) -> None:
    times = ("2024-03-01T10:00:00", "2024-03-01T10:05:00", "2024-03-01T10:30:00")
    parsed = parse(written(tmp_path, headless("7", "black", "ann", *times, "COMPLETED", "submit")), "sacct")
    assert [job.name for job in parsed.jobs] == ["submit"]


def test_sacct_with_closing_pipes_byte_order_mark_and_dos_line_ends_reads_the_same(tmp_path: Path) -> None:
    plain = parse(written(tmp_path, COLUMNS, sacct("7")), "sacct")
    assert parse(written(tmp_path, "\ufeff" + COLUMNS + "|", "", sacct("7") + "|", ending="\r\n"), "sacct").jobs == [
        plain.jobs[0]._replace(line=3)
    ]


def test_sacct_job_steps_and_repeated_headers_are_counted_and_array_jobs_are_jobs(tmp_path: Path) -> None:
    lines = [sacct("1"), sacct("1.batch"), sacct("1.0"), sacct("1.extern"), COLUMNS, sacct("2_4"), sacct("2_[5-9]")]
    parsed = parse(written(tmp_path, COLUMNS, *lines), "sacct")
    assert [job.id for job in parsed.jobs] == ["1", "2_4", "2_[5-9]"]
    assert parsed.left_out == {"job steps": 3, "repeated headers": 1}
    assert not parsed.bad


@pytest.mark.parametrize(
    ("word", "state", "error"),
    [
        ("COMPLETED", State.COMPLETED, None),
        ("FAILED", State.FAILED, "failed, exit code 1:0"),
        ("OUT_OF_MEMORY", State.FAILED, "out of memory, exit code 1:0"),
        ("NODE_FAIL", State.FAILED, "node fail, exit code 1:0"),
        ("BOOT_FAIL", State.FAILED, "boot fail, exit code 1:0"),
        ("DEADLINE", State.FAILED, "deadline, exit code 1:0"),
        ("TIMEOUT", State.TIMEOUT, "timeout, exit code 1:0"),
        ("CANCELLED", State.CANCELLED, None),
        ("CANCELLED by 123", State.CANCELLED, "cancelled by 123"),
        ("CANCELLED+", State.CANCELLED, None),
        ("PREEMPTED", State.PREEMPTED, None),
        ("REQUEUED", State.UNKNOWN_END, None),
    ],
)
def test_sacct_states_are_brought_to_ours(tmp_path: Path, word: str, state: State, error: str | None) -> None:
    job = parse(written(tmp_path, COLUMNS, sacct(state=word, code="1:0")), "sacct").jobs[0]
    assert (job.state, job.error) == (state, error)


@pytest.mark.parametrize("word", ["RUNNING", "PENDING", "SUSPENDED", "COMPLETED"])
def test_sacct_jobs_without_an_end_never_ended(tmp_path: Path, word: str) -> None:
    lines = [sacct("1", end="Unknown", state=word), sacct("2", start="None", end="Unknown", state=word)]
    parsed = parse(written(tmp_path, COLUMNS, *lines), "sacct")
    assert [(job.state, job.start_at is None, job.end_at) for job in parsed.jobs] == [
        (State.UNKNOWN_END, False, None),
        (State.UNKNOWN_END, True, None),
    ]


def test_every_bad_sacct_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        COLUMNS,
        sacct("1"),
        sacct("2", end="2024-03-01T10:04:00"),
        sacct("3", start="2024-03-01T09:00:00"),
        sacct("4", submit="Unknown"),
        sacct("5", state="EXPLODED"),
        sacct("6", state=""),
        sacct("7", name="a|b"),
        sacct("1"),
        sacct("8", start="2024-13-01T10:00:00"),
        sacct("", name="nameless"),
        "half a",
        sacct("9", start="Unknown", end="2024-03-01T09:00:00"),
        sacct("10", user="u" * 300),
        sacct("11", name="n" * 300),
        sacct("12", submit="1969-12-31T23:59:59"),
    )
    with path.open("ab") as file:
        file.write(sacct("13", name="caf\0").encode() + b"\n")
        file.write(sacct("14", name="caf?").encode().replace(b"?", b"\xe9") + b"\n")
        file.write(sacct("15").encode() + b"x" * (joblogs.LONGEST_LINE + 5) + b"\n")
        file.write(sacct("16").encode())
    parsed = parse(path, "sacct")
    assert [(job.line, job.id) for job in parsed.jobs] == [(2, "1"), (15, "11"), (20, "16")]
    assert parsed.jobs[1].name == "n" * 199 + "…"
    assert where(parsed.bad) == {
        3: "ends before it starts",
        4: "starts before it was submitted",
        5: "has no submit time",
        6: "unknown state “EXPLODED”",
        7: "has no state",
        8: "has 10 fields where the header names 9; a “|” within a name does that",
        9: "duplicate id 1: line 2 has it too",
        10: "start time “2024-13-01T10:00:00” is not a time",
        11: "has no id",
        12: "has 1 fields where the header names 9; a “|” within a name does that",
        13: "ends before it was submitted",
        14: "the user is longer than 200 characters",
        16: "submit time “1969-12-31T23:59:59” is not between 1970 and 9999 (numbers are read as Unix seconds)",
        17: "holds a NUL byte",
        18: "is not UTF-8",
        19: "the line is longer than 1,048,576 bytes",
    }
    assert {len(row.text) for row in parsed.bad if row.line == 19} == {joblogs.RAW_SHOWN}


def test_a_sacct_header_that_lacks_what_is_needed_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="lacks the sacct columns start, end"):
        parse(written(tmp_path, "JobID|Submit|State", "1|2024-03-01T10:00:00|COMPLETED"), "sacct")


def test_rows_from_the_future_are_bad_when_a_limit_is_given(tmp_path: Path) -> None:
    path = written(tmp_path, COLUMNS, sacct("1"), sacct("2", end="2024-03-01T12:00:00"))
    parsed = parse(path, "sacct", not_after=utc("2024-03-01T11:00:00"))
    assert where(parsed.bad) == {3: "lies in the future (2024-03-01 12:00:00 UTC); is the time zone right?"}


# --- zones


def test_naive_times_are_of_the_zone_that_is_named(tmp_path: Path) -> None:
    job = parse(written(tmp_path, COLUMNS, sacct()), "sacct", zone="Europe/Stockholm").jobs[0]
    assert job.submit_at == utc("2024-03-01T09:00:00")
    with pytest.raises(InvalidImport, match="no time zone “Mars/Olympus”"):
        parse(written(tmp_path, COLUMNS, sacct()), "sacct", zone="Mars/Olympus")


def test_a_time_that_comes_twice_is_the_first_unless_the_job_would_run_backwards(tmp_path: Path) -> None:
    lines = [
        sacct("1", submit="2024-10-27T02:10:00", start="2024-10-27T02:20:00", end="2024-10-27T02:50:00"),
        sacct("2", submit="2024-10-27T02:50:00", start="2024-10-27T02:10:00", end="2024-10-27T02:20:00"),
    ]
    first, second = parse(written(tmp_path, COLUMNS, *lines), "sacct", zone="Europe/Stockholm").jobs
    assert (first.submit_at, first.end_at) == (utc("2024-10-27T00:10:00"), utc("2024-10-27T00:50:00"))
    assert (second.submit_at, second.start_at) == (utc("2024-10-27T00:50:00"), utc("2024-10-27T01:10:00"))
    assert second.end_at == utc("2024-10-27T01:20:00")


def test_a_time_that_never_came_is_read_with_the_offset_before_the_change(tmp_path: Path) -> None:
    line = sacct(submit="2024-03-31T02:30:00", start="2024-03-31T03:40:00", end="2024-03-31T04:00:00")
    job = parse(written(tmp_path, COLUMNS, line), "sacct", zone="Europe/Stockholm").jobs[0]
    assert job.submit_at == utc("2024-03-31T01:30:00")


# --- csv


def test_csv_is_read_by_its_header_with_quotes_and_line_ends_inside(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "id,user,submitted,started,ended,state,scope,name,kind,target",
        '1,"Lovelace, Ann",2024-03-01T10:00:00Z,2024-03-01 10:05:00,1709288000.5,done,lab,"two',
        'lines, ""quoted""",audit,10.0.0.1',
        "",
        ",,,,,,,,,",
        "2,bob,2024-03-01T12:00:00+02:00,,2024-03-01T10:30:00,Failed,,,,",
        "3,bob,2024-03-01,,never,failed,,,,",
        '4,bob,"open',
        "5,bob,2024-03-01,,,running,,,,",
    )
    parsed = parse(path, "csv")
    first, second = parsed.jobs
    assert first == Job(
        2, "1", 'two\nlines, "quoted"', "Lovelace, Ann", "lab", utc("2024-03-01T10:00:00"), utc("2024-03-01T10:05:00"),
        1709288000_500_000, State.COMPLETED, None, Kind.AUDIT, "10.0.0.1",
    )  # fmt: skip
    assert (second.line, second.start_at, second.kind, second.scope) == (6, None, None, None)
    assert second.submit_at == utc("2024-03-01T10:00:00")
    assert parsed.left_out == {"empty rows": 1}
    assert where(parsed.bad) == {
        7: "end time “never” is not a time",
        8: "can't be read as csv: unexpected end of data (the row runs to line 9)",
    }


def test_every_bad_csv_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "id;submitted;started;ended;state;kind",
        "1;100;110;120;ok;",
        "2;100;110;120;perhaps;",
        "3;100;110;120;;",
        "4;100;110;120;ok;cleaning",
        "5;100;110",
        "6;;110;120;ok;",
        "7;100;90;120;ok;",
        "8;100;110;105;ok;",
        ";100;110;120;ok;",
        "1;100;110;120;ok;",
        "9;1709288000000;110;120;ok;",
        f"10;{'9' * 500};110;120;ok;",
        '11;"100"0;110;120;ok;',
        "12;100;110;120;ok;report",
    )
    parsed = parse(path, "csv")
    assert [(job.line, job.id) for job in parsed.jobs] == [(2, "1"), (15, "12")]
    beyond = "is not between 1970 and 9999 (numbers are read as Unix seconds)"
    assert where(parsed.bad) == {
        3: "unknown state “perhaps”",
        4: "has no state",
        5: "unknown kind “cleaning”",
        6: "has 3 cells where the header names 6",
        7: "has no submit time",
        8: "starts before it was submitted",
        9: "ends before it starts",
        10: "has no id",
        11: "duplicate id 1: line 2 has it too",
        12: f"submit time “1709288000000” {beyond}",
        13: f"submit time “{'9' * 40}” {beyond}",
        14: "can't be read as csv: ';' expected after '\"'",
    }


def test_a_column_map_names_columns_that_the_header_calls_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, "nr,born,Dead At,fate,created", "1,100,120,ok,50")
    parsed = parse(path, "csv", column_map={"id": "nr", "submitted": "born", "ended": "dead at", "state": "fate"})
    assert [(job.id, job.submit_at, job.end_at) for job in parsed.jobs] == [("1", 100 * SECOND, 120 * SECOND)]
    with pytest.raises(InvalidImport, match="has no column for id, ended, state; it has nr, born"):
        parse(path, "csv")
    with pytest.raises(InvalidImport, match="no column “number” for id"):
        parse(path, "csv", column_map={"id": "number"})
    with pytest.raises(InvalidImport, match="no “age” to map"):
        parse(path, "csv", column_map={"age": "nr"})
    with pytest.raises(InvalidImport, match="column map is for csv"):
        parse(path, "swf", column_map={"id": "nr"})


def test_a_csv_header_that_can_be_read_two_ways_or_not_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="two columns “id”"):
        parse(written(tmp_path, "id,id,submitted,ended,state"), "csv")
    with pytest.raises(InvalidImport, match="is empty"):
        parse(written(tmp_path, "", ""), "csv")


# --- files and refusals


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x1f\x8b\x08", "compressed"), (b"PK\x03\x04", "zip archive"), ("id".encode("utf-16"), "UTF-16")],
)
def test_a_file_that_is_no_text_is_refused_by_what_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(InvalidImport, match=says):
        parse(path, "swf")


def test_what_is_no_file_or_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="There is no file"):
        parse(tmp_path / "absent", "swf")
    with pytest.raises(InvalidImport, match="is not a file"):
        parse(tmp_path, "swf")
    with pytest.raises(InvalidImport, match="no log format “xml”; known are swf, sacct, csv"):
        parse(tmp_path, "xml")


lines_of_all_formats = st.sampled_from(
    [COLUMNS, sacct("1"), sacct("2.0"), sacct("3", end="x"), swf(4), swf(5, status=2), '"', "|",
     "id,submitted,ended,state", "6,1,2,ok", "\r", "\0", "\u2028", "é"]
)  # fmt: skip


any_line = st.text(max_size=30).filter(lambda text: "\n" not in text)
HEADS = {"swf": "; UnixStartTime: 5", "sacct": COLUMNS, "csv": "id,submitted,ended,state"}


@given(st.sampled_from(joblogs.FORMATS), st.lists(lines_of_all_formats | any_line, max_size=12), st.binary(max_size=6))
@settings(deadline=None, max_examples=300)
def test_whatever_a_file_holds_each_row_is_a_job_or_bad_or_counted(format: str, lines: list[str], tail: bytes) -> None:
    content = "\n".join([HEADS[format], *lines]).encode(errors="surrogatepass") + b"\n" + tail
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(content)
        parsed = parse(path, format)
    rows = [line for line in content.split(b"\n")[1:] if line.decode(errors="replace").strip()]
    accounted = len(parsed.jobs) + len(parsed.bad) + sum(parsed.left_out.values())
    if format == "swf":
        rows = [row for row in rows if not row.startswith(b";")]
        accounted -= sum("no summary" in row.reason for row in parsed.bad)  # counted as left out already
    if format == "csv" and b'"' in content:  # a quoted text may take further lines in
        assert accounted <= len(rows)
    else:
        assert accounted == len(rows)


def read(path: Path, format: str, **told: Any) -> Staged:
    with load(path, format, place(), not_after=LATER, **told) as staged:
        return staged


def test_load_refuses_bad_rows_and_lists_the_first_twenty(tmp_path: Path) -> None:
    path = swf_file(tmp_path, swf(0), *(swf(n, run=-5) for n in range(1, 31)))
    with pytest.raises(InvalidImport) as refusal:
        read(path, "swf")
    said = str(refusal.value).splitlines()
    assert said[0] == "log has 30 bad rows; nothing was imported:"
    assert said[1] == "  line 3: negative run time (-5)"
    assert said[20:] == ["  line 22: negative run time (-5)", "  and 10 more"]
    taken = read(path, "swf", skip_bad=True)
    assert (taken.tasks, len(taken.bad)) == (1, 30)


def test_load_refuses_a_log_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match="holds no job"):
        read(swf_file(tmp_path, swf(1, run=-5)), "swf", skip_bad=True)


def test_the_child_makes_the_rows_that_this_process_would_make(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "nr,submitted,ended,state,kind,name,target,error",
        "1,2024-07-01 10:00,2024-07-01 11:00,failed,audit,first,10.0.0.1,no route",
        "2,2024-07-01 10:00,,running,,,,",
        "3,2024-07-01 10:00,soon,running,,,,",
        ",,,,,,,",
    )
    told: dict[str, Any] = {"zone": "Europe/Stockholm", "column_map": {"id": "nr"}, "not_after": LATER}
    here = parse(path, "csv", **told)
    with load(path, "csv", place(), skip_bad=True, **told) as staged:
        assert as_rows(staged.rows) == rows_of(here)
        assert (staged.tasks, staged.events) == (2, len(rows_of(here).task_event))
        assert (staged.bad, staged.left_out) == (here.bad, {"empty rows": 1})
    assert len(here.bad) == 1


def test_a_log_longer_than_a_block_is_staged_in_blocks_and_numbered_across_them(tmp_path: Path) -> None:
    path = swf_file(tmp_path, *(swf(n, submit=n % 977, user=n % 7) for n in range(BLOCK // 6 + 100)))
    with load(path, "swf", place(), not_after=LATER) as staged:
        assert [block.num_rows for block in staged.rows["task_event"]] == [BLOCK, staged.events - BLOCK]
        rows = as_rows(staged.rows)
    assert rows == rows_of(parse(path, "swf"))
    assert_legal(rows)


def test_a_refusal_in_the_child_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidImport, match=r"^log has no “; UnixStartTime:”"):
        read(written(tmp_path, swf()), "swf")


def test_a_child_that_is_ended_early_is_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"no job\n" * 2_000_000)
    with pytest.raises(InvalidImport, match="took longer than"):
        read(path, "swf", limits=Limits(wall_s=0.05))
    with pytest.raises(InvalidImport, match="ended by SIGXCPU"):
        read(path, "swf", limits=Limits(cpu_s=1))
    with pytest.raises(InvalidImport, match=r"^Reading log needs more than 200 MB of memory,"):
        read(path, "swf", limits=Limits(memory_bytes=200 << 20))


def test_the_digest_knows_the_same_log_again(tmp_path: Path) -> None:
    first, copy = written(tmp_path, "a", name="one"), written(tmp_path, "a", name="two")
    assert digest(first) == digest(copy) != digest(written(tmp_path, "b", name="three"))


# --- into a store


def some_jobs(folder: Path, n: int = 300) -> Path:
    return swf_file(folder, *(swf(k, submit=k, wait=k % 7, status=(1, 1, 0, 5)[k % 4], user=k % 5) for k in range(n)))


def import_into(context: verbs.Context, path: Path, **told: Any) -> verbs.Reply:
    reply = verbs.import_log(context, str(path), "swf", "Acme", "Archive", **told)
    assert verify.check(context.store) == []
    return reply


def imported(store: Store) -> Rows:
    return Rows(task_event=store.rows("task_event", "actor = 'import'"), task_done=store.rows("task_done"))


def test_a_log_gets_into_a_store_at_rest_and_into_one_that_an_engine_runs_with_the_same_rows(tmp_path: Path) -> None:
    path = some_jobs(tmp_path)
    with Store.open(tmp_path / "rest") as store:
        rollups.prepare(store)
        reply = import_into(verbs.Context(tmp_path / "rest", Settings(), store, "cli:ann"), path)
        assert (reply.exit, reply.data["tasks"]) == (0, 300)
        at_rest = imported(store)
    engine = Engine(tmp_path / "live", Settings()).start()
    try:
        import_into(verbs.Context(tmp_path / "live", Settings(), engine.store, "cli:ann", engine), path)
        assert imported(engine.store) == at_rest
        assert len(at_rest.task_done) == 300
        # what comes after has the ids that follow
        engine.do(m.Command("site", "ann", m.AddSite("Acme", "Berlin"))).result(30)
        new = m.NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", "ann", "ann")
        outcome = engine.do(m.Command("later", "ann", m.Submit([new]))).result(30)
        assert [number_of(int(task)) for task in outcome.changed] == [301]
        assert verify.check(engine.store) == []
    finally:
        engine.close()


def test_the_same_file_is_refused_the_second_time_unless_forced(tmp_path: Path) -> None:
    path = some_jobs(tmp_path, 10)
    with Store.open(tmp_path / "store") as store:
        rollups.prepare(store)
        context = verbs.Context(tmp_path / "store", Settings(), store, "cli:ann")
        import_into(context, path)
        with pytest.raises(InvalidImport, match="was imported before; --force imports it again"):
            import_into(context, path)
        import_into(context, path, force=True)
        assert store.read("select count(*), count(distinct task_id) from task").row(0) == (20, 20)
        assert len(store.rows("audit", "action = 'import'")) == 2


def test_of_two_who_import_the_same_file_at_once_the_second_is_refused(tmp_path: Path) -> None:
    path = some_jobs(tmp_path, 10)
    engine = Engine(tmp_path / "store", Settings()).start()
    try:
        context = verbs.Context(tmp_path / "store", Settings(), engine.store, "cli:ann", engine)
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(verbs.import_log, context, str(path), "swf", "Acme", "Archive") for _ in range(2)]
        (refused,) = filter(None, (one.exception() for one in asked))
        assert "was imported before" in str(refused)
        assert len(imported(engine.store).task_done) == 10
    finally:
        engine.close()


def test_an_import_whose_commit_fails_is_tried_again_under_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path / "store", Settings()).start()
    try:
        insert, tried = engine.store._insert, []

        def insert_at_the_second_try(batch: Batch) -> None:
            tried.append(batch.number)
            if batch.bulk and tried.count(batch.number) == 1:
                list(batch.bulk["task_event"])
                raise duckdb.IOException("no space left on device")
            insert(batch)

        monkeypatch.setattr(engine.store, "_insert", insert_at_the_second_try)
        context = verbs.Context(tmp_path / "store", Settings(), engine.store, "cli:ann", engine)
        reply = import_into(context, some_jobs(tmp_path, 50))
        assert tried.count(reply.data["batch"]) == 2
        assert len(imported(engine.store).task_done) == 50
    finally:
        engine.close()
