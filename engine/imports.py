"""Job logs into the ledger: jobs become the rows that a live fleet would have written.

`load` is the door: a child process with limits reads the file and stages what it found; a file with bad rows is refused
unless they are to be skipped. `to_rows` turns the jobs into events and finished tasks. The caller commits them, and
makes the site and the owners. Invariant: the same file makes the same rows, to the last id.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from .errors import InvalidImport
from .joblogs import BadRow, Job, Parsed, State, parse
from .ledger import Detail, Rows, TaskEvent, TaskRow, make_id
from .lifecycle import SYSTEM_KINDS, Cause, Kind, Outcome, Reason, Status, successor

ACTOR = "import"
BAD_ROWS_SHOWN = 20


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, by which the same log is known again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(
    path: Path,
    format: str,
    *,
    zone: str = "UTC",
    column_map: Mapping[str, str] | None = None,
    not_after: int | None = None,
    skip_bad: bool = False,
) -> Parsed:
    """Read a log in a child process; raise InvalidImport for bad rows that are not to be skipped, and for no jobs."""
    parsed = stage_in_child(path, format, zone=zone, column_map=column_map, not_after=not_after)
    if parsed.bad and not skip_bad:
        count, shown = len(parsed.bad), parsed.bad[:BAD_ROWS_SHOWN]
        listed = [f"{path.name} has {count} bad {'row' if count == 1 else 'rows'}; nothing was imported:"]
        listed += [f"  line {row.line}: {row.reason}" for row in shown]
        if count > len(shown):
            listed.append(f"  and {count - len(shown)} more")
        raise InvalidImport("\n".join(listed), bad=parsed.bad)
    if not parsed.jobs:
        raise InvalidImport(f"{path.name} holds no job that could be imported", bad=parsed.bad)
    return parsed


# --- from jobs to ledger rows


_TAKES, _CARRIES = 1, 2  #: what an event does with a lease
_FACTS, _WAIT, _ERROR = 1, 2, 3  #: what an event tells in its detail


class _Step(NamedTuple):
    """One event of a life, with all that is the same for every task that lives it."""

    event: str
    from_status: str | None
    to_status: str
    reason: str | None
    cause: str | None
    dq: int
    dp: int
    dr: int
    lease: int
    tells: int


class _Life(NamedTuple):
    """The way of a job: its events, one group for each instant (submitted, started where that is known, ended)."""

    groups: tuple[tuple[_Step, ...], ...]
    kind: str
    status: str
    outcome: str
    reason: str | None
    processed: bool  #: after a collecting stage
    system: bool


_REASON = {
    State.COMPLETED: None,
    State.FAILED: Reason.ERROR,
    State.TIMEOUT: Reason.TIMEOUT,
    State.CANCELLED: Reason.BY_USER,
    State.PREEMPTED: Reason.PREEMPTED,
    State.UNKNOWN_END: Reason.UNKNOWN_END,
}
_STOPPED = frozenset({State.CANCELLED, State.PREEMPTED})
_OUTCOME = {
    Status.PROCESSED: Outcome.FINISHED,
    Status.STOPPED: Outcome.STOPPED,
    Status.CANCELED: Outcome.FAILED,
}
_DELTAS = {
    "submit": (1, 0, 0),
    "claim": (-1, 0, 1),
    "collected": (0, 0, -1),
    "hand_over": (0, 1, 0),
    "process": (0, -1, 1),
    "finish": (0, 0, -1),
    "request_stop": (0, 0, 0),
    "confirm_stop": (0, 0, -1),
}
_FROM_QUEUE, _FROM_SLOT = (-1, 0, 0), (0, 0, -1)  #: stop and fail, by where the task stands
_LEASE = {"claim": _TAKES, "process": _TAKES} | dict.fromkeys(
    ("collected", "finish", "request_stop", "confirm_stop"), _CARRIES
)


@cache
def _life(kind: Kind, state: State, started: bool) -> _Life:
    system, completed = kind in SYSTEM_KINDS, state is State.COMPLETED
    ending: tuple[str, ...]
    if completed:
        ending = ("finish",) if system else ("collected", "hand_over", "process", "finish")
    elif state in _STOPPED:
        ending = ("request_stop", "confirm_stop") if started else ("stop",)
    else:
        ending = ("fail",)
    groups = (
        [("submit",), ("claim",), ending] if started else [("submit",), ("claim", *ending) if completed else ending]
    )
    reason = _REASON[state]
    status: Status | None = None
    life = []
    for group in groups:
        steps = []
        for event in group:
            to_status = successor(event, status, kind)
            waits = status is Status.NEW
            dq, dp, dr = _DELTAS.get(event, _FROM_QUEUE if waits else _FROM_SLOT)
            tells = _FACTS if event == "submit" else _WAIT if waits else _ERROR if to_status in _OUTCOME else 0
            steps.append(
                _Step(
                    event,
                    status.value if status else None,
                    to_status.value,
                    reason.value if reason and event not in ("submit", "claim") else None,
                    Cause.UNKNOWN.value if dq or dp else None,
                    dq,
                    dp,
                    dr,
                    _CARRIES if event == "fail" and not waits else _LEASE.get(event, 0),
                    tells,
                )
            )
            status = to_status
        life.append(tuple(steps))
    assert status is not None
    return _Life(
        tuple(life), kind.value, status.value, _OUTCOME[status].value, reason.value if reason else None,
        completed and not system, system,
    )  # fmt: skip


def to_rows(
    parsed: Parsed,
    *,
    business: str,
    site: str,
    kind: str,
    business_no: int,
    first_event: int,
    first_task: int,
    imported_at: int,
    source: str,
) -> Rows:
    """Make the events and finished tasks of a log, numbered on from `first_event` and `first_task`.

    Tasks are numbered by submission, events by instant; what ties stands as in the file. A completed job whose start
    the log doesn't know is claimed at its end; that claim says `start_unknown`, and the task has no start, no wait and
    no run time. Raises InvalidImport where the log reaches beyond `imported_at`: the ledger's clock would follow it.
    """
    jobs = parsed.jobs
    if not jobs:
        return Rows()
    try:
        default_kind = Kind(kind)
    except ValueError:
        raise InvalidImport(f"There is no task type “{kind}”; known are {', '.join(Kind)}") from None
    last_at = parsed.last_at
    if last_at > imported_at:
        raise InvalidImport("The log reaches into the future; is the time zone right?")
    collecting = gc.isenabled()
    gc.disable()  # of millions of tuples none can be garbage, and looking through them takes longer than making them
    try:
        lives = [_life(job.kind or default_kind, job.state, job.start_at is not None) for job in jobs]
        by_submit = sorted(range(len(jobs)), key=[job.submit_at for job in jobs].__getitem__)
        task_ids = [0] * len(jobs)
        for task_id, n in enumerate(by_submit, make_id(business_no, first_task)):
            task_ids[n] = task_id
        events = _events(jobs, lives, task_ids, last_at, business, site, source, make_id(business_no, first_event))
        tasks = [
            _task_row(jobs[n], lives[n], task_ids[n], number, last_at, business, site, source)
            for number, n in enumerate(by_submit, first_task)
        ]
    finally:
        if collecting:
            gc.enable()
    return Rows(task_event=events, task_done=tasks)


def count_events(parsed: Parsed, kind: str) -> int:
    """Tell how many events `to_rows` will make, so that their ids can be set aside first."""
    return sum(
        len(group)
        for job in parsed.jobs
        for group in _life(job.kind or Kind(kind), job.state, job.start_at is not None).groups
    )


def _events(
    jobs: list[Job],
    lives: list[_Life],
    task_ids: list[int],
    last_at: int,
    business: str,
    site: str,
    source: str,
    event_id: int,
) -> list[TaskEvent]:
    instants: list[int] = []
    groups: list[tuple[int, tuple[_Step, ...]]] = []
    for n, job in enumerate(jobs):
        end_at = last_at if job.end_at is None else job.end_at
        instants += (job.submit_at, end_at) if job.start_at is None else (job.submit_at, job.start_at, end_at)
        groups += [(n, steps) for steps in lives[n].groups]

    events: list[TaskEvent] = []
    leases: list[int | None] = [None] * len(jobs)
    append, new = events.append, tuple.__new__
    for place in sorted(range(len(instants)), key=instants.__getitem__):
        n, steps = groups[place]
        job, at, task_id, kind = jobs[n], instants[place], task_ids[n], lives[n].kind
        owner, lease = job.user, leases[n]
        for event, from_status, to_status, reason, cause, dq, dp, dr, leased, tells in steps:
            if leased == _TAKES:
                leases[n] = lease = event_id
            append(
                new(TaskEvent, (
                    event_id, at, task_id, event, from_status, to_status, reason, ACTOR, business, site, kind, owner,
                    None, lease if leased else None, 0, cause, dq, dp, dr, None,
                    _detail(job, tells, event, at, source) if tells else None,
                ))
            )  # fmt: skip
            event_id += 1
    return events


def _detail(job: Job, tells: int, event: str, at: int, source: str) -> Detail | None:
    """Tell what the live core tells: facts at submission, the wait of what leaves the queue, the error at the end."""
    detail: Detail = {}
    if tells == _FACTS:
        detail = {"name": job.name, "initiator": job.user, "source": source}
        if job.scope is not None:
            detail["scope"] = job.scope
        if job.target is not None:
            detail["target"] = job.target
        return detail
    if tells == _WAIT:
        if event == "claim" and job.start_at is None:
            return {"start_unknown": True}
        if at > job.submit_at:
            detail["waited"] = {_UNKNOWN: at - job.submit_at}
    if event != "claim" and job.error:
        detail["error" if event == "fail" else "note"] = job.error
    return detail or None


_UNKNOWN = Cause.UNKNOWN.value


def _task_row(
    job: Job, life: _Life, task_id: int, number: int, last_at: int, business: str, site: str, source: str
) -> TaskRow:
    """Make the row that the live core would have made of the job's events."""
    submit_at, start_at, user = job.submit_at, job.start_at, job.user
    end_at = last_at if job.end_at is None else job.end_at
    ran = None if start_at is None else end_at - start_at
    left_queue_at = (None if life.outcome == "finished" else end_at) if start_at is None else start_at
    waited = None if left_queue_at is None else left_queue_at - submit_at
    collected_at = end_at if life.processed else None
    return TaskRow(
        task_id, number, job.name, life.kind, business, site, job.target, None, job.scope, user, user, ACTOR,
        None, None, None, None, source,  # schedule, requested service, service, processor
        life.status, life.status, None, None, life.outcome, life.reason,
        job.error if life.outcome == "failed" else None,
        0, 0, 5, 1, False, None,  # errors, attempt, priority, version, hidden, rerun of
        submit_at, None, submit_at, start_at, collected_at, collected_at,
        start_at if life.system else collected_at, end_at,
        waited, 0, 0, 0, 0, 0, 0, waited or 0,  # wholly of unknown cause
        0 if life.processed else None, 0,  # processing never waited
        None if life.system else ran, ran if life.system else 0 if life.processed else None,
        None, None, None, None, None,  # changes of assets
    )  # fmt: skip


# --- the child


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reading child may use before it is ended."""

    memory_bytes: int = 4 << 30
    cpu_s: int = 300
    wall_s: float = 600


_STAGED = {
    "line": pl.Int64,
    "id": pl.String,
    "name": pl.String,
    "user": pl.String,
    "scope": pl.String,
    "submit_at": pl.Int64,
    "start_at": pl.Int64,
    "end_at": pl.Int64,
    "state": pl.String,
    "error": pl.String,
    "kind": pl.String,
    "target": pl.String,
}
_CHECKOUT = Path(__file__).resolve().parents[1]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONTZPATH", "TMPDIR")  #: no secrets of ours


def stage_in_child(
    path: Path,
    format: str,
    *,
    zone: str = "UTC",
    column_map: Mapping[str, str] | None = None,
    not_after: int | None = None,
    limits: Limits | None = None,
) -> Parsed:
    """Parse a log in a child process with limits. Whatever ends the child early is an InvalidImport that says so."""
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="drainboard-import-") as folder:
        request = {
            "path": str(path.absolute()),
            "format": format,
            "zone": zone,
            "column_map": dict(column_map or {}),
            "not_after": not_after,
            "folder": folder,
            "memory_bytes": limits.memory_bytes,
            "cpu_s": limits.cpu_s,
        }
        try:
            child = subprocess.run(
                [sys.executable, "-m", "engine.imports", json.dumps(request)],
                cwd=_CHECKOUT,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=limits.wall_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InvalidImport(f"Reading {path.name} took longer than {limits.wall_s} s and was ended") from None
        said = child.stderr.decode(errors="replace").strip()
        if child.returncode == _REFUSED:
            raise InvalidImport(said)
        if child.returncode < 0:
            by = signal.Signals(-child.returncode).name
            raise InvalidImport(
                f"Reading {path.name} was ended by {by}, so nothing was imported (it may use "
                f"{limits.memory_bytes >> 20:,} MB of memory and {limits.cpu_s} s of CPU time)"
            )
        if child.returncode:
            raise InvalidImport(f"Reading {path.name} broke off: {said.splitlines()[-1] if said else 'no word why'}")
        return _unstage(Path(folder))


_REFUSED = 3


def _stage(parsed: Parsed, folder: Path) -> None:
    columns = zip(*parsed.jobs, strict=True) if parsed.jobs else ((),) * len(_STAGED)
    staged = {name: list(column) for name, column in zip(_STAGED, columns, strict=True)}
    pl.DataFrame(staged, schema=_STAGED).write_ipc(folder / "jobs.arrow")
    rest = {"bad": parsed.bad, "left_out": parsed.left_out}
    (folder / "rest.json").write_text(json.dumps(rest), encoding="utf-8")


def _unstage(folder: Path) -> Parsed:
    frame = pl.read_ipc(folder / "jobs.arrow")
    columns: dict[str, list[object]] = {name: frame[name].to_list() for name in _STAGED}
    states, kinds = {str(state): state for state in State}, {str(kind): kind for kind in Kind}
    columns["state"] = [states[str(word)] for word in columns["state"]]
    columns["kind"] = [None if word is None else kinds[str(word)] for word in columns["kind"]]
    rest = json.loads((folder / "rest.json").read_text(encoding="utf-8"))
    return Parsed(
        list(map(Job._make, zip(*columns.values(), strict=True))),
        [BadRow(*row) for row in rest["bad"]],
        rest["left_out"],
    )


def _main() -> int:
    request = json.loads(sys.argv[1])
    memory, cpu = request["memory_bytes"], request["cpu_s"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    path = Path(request["path"])
    try:
        parsed = parse(path, request["format"], request["zone"], request["column_map"], request["not_after"])
        _stage(parsed, Path(request["folder"]))
    except InvalidImport as refusal:
        print(refusal, file=sys.stderr)
        return _REFUSED
    except MemoryError:
        print(f"Reading {path.name} needs more than {memory >> 20:,} MB of memory", file=sys.stderr)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
