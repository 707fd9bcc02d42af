"""Job logs into the ledger: jobs become the rows that a live fleet would have written.

`load` is the door: a child process with limits reads the file, makes the rows and stages them in blocks; a file with
bad rows is refused unless they are to be skipped. The staged rows count from zero, because only the engine can tell
what is next: it sets their ids aside, `Staged.numbered` shifts the rows onto them, and the store takes block after
block into one commit. So a log of any length passes through the console with a block in memory at a time, and as
little Python as that. The caller makes the site. Invariant: the same file makes the same rows, to the last id.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from .batch import Bulk
from .chain import BLOCK
from .columns import plain_schema
from .errors import InvalidImport
from .joblogs import BadRow, Parsed, State, parse
from .ledger import TaskEvent, TaskRow, json_text, make_id, number_of
from .lifecycle import SYSTEM_KINDS, Cause, Kind, Outcome, Reason, Status, successor

ACTOR = "import"
BAD_ROWS_SHOWN = 20


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, by which the same log is known again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log's tasks belong: the kind is for jobs that don't tell theirs, the source says where they come from."""

    business: str
    site: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Staged:
    """A log that was read: how much there is of it, what is no job, and its rows, numbered from zero."""

    tasks: int
    events: int
    bad: list[BadRow] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    rows: Bulk = field(default_factory=dict)

    def numbered(self, business_no: int, first_event: int, first_task: int) -> Bulk:
        """Give the rows with the ids that were set aside for them."""
        return numbered(self.rows, business_no, first_event, first_task)


@contextmanager
def load(
    path: Path,
    format: str,
    place: Place,
    *,
    zone: str = "UTC",
    column_map: Mapping[str, str] | None = None,
    not_after: int,
    skip_bad: bool = False,
    limits: Limits | None = None,
) -> Iterator[Staged]:
    """Read a log in a child process; raise InvalidImport for bad rows that are not to be skipped, and for no jobs.

    The rows lie in files that are gone after the `with`. Whatever ends the child early is an InvalidImport, too.
    """
    with tempfile.TemporaryDirectory(prefix="drainboard-import-") as folder:
        request = {
            "path": str(path.absolute()),
            "format": format,
            "place": [place.business, place.site, place.kind, place.source],
            "zone": zone,
            "column_map": dict(column_map or {}),
            "not_after": not_after,
            "skip_bad": skip_bad,
            "folder": folder,
        }
        _read_in_child(path, request, limits or Limits())
        staged = _unstage(Path(folder))
        if staged.bad and not skip_bad:
            count, shown = len(staged.bad), staged.bad[:BAD_ROWS_SHOWN]
            listed = [f"{path.name} has {count} bad {'row' if count == 1 else 'rows'}; nothing was imported:"]
            listed += [f"  line {row.line}: {row.reason}" for row in shown]
            if count > len(shown):
                listed.append(f"  and {count - len(shown)} more")
            raise InvalidImport("\n".join(listed), bad=staged.bad)
        if not staged.tasks:
            raise InvalidImport(f"{path.name} holds no job that could be imported", bad=staged.bad)
        yield staged


# --- what becomes of a job


_TAKES, _CARRIES = 1, 2  #: what an event does with a lease
_FACTS, _WAIT, _ERROR = 1, 2, 3  #: what an event tells in its detail
_SUBMITTED, _STARTED, _ENDED = 0, 1, 2  #: the instant of a job that an event bears


class _Step(NamedTuple):
    """One event of a life, with all that is the same for every task that lives it."""

    instant: int
    event: str
    from_status: str | None
    to_status: str
    reason: str | None
    cause: str | None
    dq: int
    dp: int
    dr: int
    leased: int
    tells: int


_STEP = {
    "instant": pl.Int8, "event": pl.String, "from_status": pl.String, "to_status": pl.String, "reason": pl.String,
    "cause": pl.String, "dq": pl.Int64, "dp": pl.Int64, "dr": pl.Int64, "leased": pl.Int8, "tells": pl.Int8,
}  # fmt: skip

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


def _life(kind: Kind, state: State, started: bool) -> list[_Step]:
    """Name the events of a job, each with the instant that it bears."""
    completed = state is State.COMPLETED
    ending: tuple[str, ...]
    if completed:
        ending = ("finish",) if kind in SYSTEM_KINDS else ("collected", "hand_over", "process", "finish")
    elif state in _STOPPED:
        ending = ("request_stop", "confirm_stop") if started else ("stop",)
    else:
        ending = ("fail",)
    events = [("submit", _SUBMITTED)]
    if started or completed:
        events.append(("claim", _STARTED if started else _ENDED))
    events += [(event, _ENDED) for event in ending]

    reason, status, steps = _REASON[state], None, []
    for event, instant in events:
        to_status = successor(event, status, kind)
        waits = status is Status.NEW
        dq, dp, dr = _DELTAS.get(event, _FROM_QUEUE if waits else _FROM_SLOT)
        steps.append(
            _Step(
                instant,
                event,
                status.value if status else None,
                to_status.value,
                reason.value if reason and event not in ("submit", "claim") else None,
                Cause.UNKNOWN.value if dq or dp else None,
                dq,
                dp,
                dr,
                _CARRIES if event == "fail" and not waits else _LEASE.get(event, 0),
                _FACTS if event == "submit" else _WAIT if waits else _ERROR if to_status in _OUTCOME else 0,
            )
        )
        status = to_status
    return steps


# --- from jobs to rows


_JOB = {
    "line": pl.Int64, "id": pl.String, "name": pl.String, "user": pl.String, "scope": pl.String,
    "submit_at": pl.Int64, "start_at": pl.Int64, "end_at": pl.Int64, "state": pl.String, "error": pl.String,
    "kind": pl.String, "target": pl.String,
}  # fmt: skip


class LogRows:
    """The events and finished tasks of a log, numbered from zero, made a block at a time.

    Tasks are numbered by submission, events by instant; what ties stands as in the file. A completed job whose start
    the log doesn't know is claimed at its end; that claim says `start_unknown`, and the task has no start, no wait and
    no run time. Raises InvalidImport where the log reaches beyond `imported_at`: the ledger's clock would follow it.
    """

    def __init__(self, parsed: Parsed, place: Place, imported_at: int) -> None:
        if place.kind not in list(Kind):
            raise InvalidImport(f"There is no task type “{place.kind}”; known are {', '.join(Kind)}")
        if parsed.last_at > imported_at:
            raise InvalidImport("The log reaches into the future; is the time zone right?")
        self._place = place
        told = dict(zip(_JOB, map(list, zip(*parsed.jobs, strict=True)), strict=True))
        jobs = pl.DataFrame(told, schema=_JOB).with_columns(
            pl.col("kind").fill_null(place.kind),
            pl.col("end_at").fill_null(parsed.last_at),
            started=pl.col("start_at").is_not_null(),
        )
        ways = jobs.select("kind", "state", "started").unique(maintain_order=True).with_row_index("life")
        lives = [_life(Kind(kind), State(state), started) for _, kind, state, started in ways.rows()]
        lasts = [steps[-1] for steps in lives]
        ways = ways.with_columns(
            pl.Series("status", [last.to_status for last in lasts]),
            pl.Series("outcome", [_OUTCOME[Status(last.to_status)].value for last in lasts]),
            pl.Series("reason", [last.reason for last in lasts], pl.String),
            system=pl.col("kind").is_in(sorted(SYSTEM_KINDS)),
        )
        self._jobs = jobs.join(ways, on=["kind", "state", "started"], how="left", maintain_order="left")
        self._steps = pl.DataFrame([step for steps in lives for step in steps], _STEP, orient="row")
        self._order(np.array([len(steps) for steps in lives]))

    def _order(self, lengths: Any) -> None:
        """Lay out all events job by job, then find the place of each in time, and under which lease it stands."""
        jobs, steps = self._jobs, self._steps
        life = jobs["life"].to_numpy()
        counts = lengths[life]
        ends = np.cumsum(counts)
        self._job_of = np.repeat(np.arange(len(life)), counts)
        self._step_of = np.arange(ends[-1]) + np.repeat((np.cumsum(lengths) - lengths)[life] - (ends - counts), counts)
        instants = np.stack([jobs[name].fill_null(0).to_numpy() for name in ("submit_at", "start_at", "end_at")])
        self._at = instants[steps["instant"].to_numpy()[self._step_of], self._job_of]
        self._by_time = np.argsort(self._at, kind="stable")
        self._event_no = _places(self._by_time)
        # A life never carries a lease that it did not take before, so the last taker in this layout is its own.
        takes = steps["leased"].to_numpy()[self._step_of] == _TAKES
        taken_at = np.maximum.accumulate(np.where(takes, np.arange(len(takes)), 0))
        self._lease_no = self._event_no[taken_at]
        self._by_submit = np.argsort(jobs["submit_at"].to_numpy(), kind="stable")
        self._task_no = _places(self._by_submit)

    @property
    def tasks(self) -> int:
        return len(self._by_submit)

    @property
    def events(self) -> int:
        return len(self._by_time)

    def tables(self) -> dict[str, Iterable[pa.Table]]:
        """Give the blocks of each table, made anew each time that they are asked for."""
        return {
            "task_event": _Blocks(self.events, lambda start: self._events(self._by_time[start : start + BLOCK])),
            "task_done": _Blocks(self.tasks, lambda start: self._tasks(self._by_submit[start : start + BLOCK])),
        }

    def _events(self, which: Any) -> pa.Table:
        of_job = self._job_of[which]
        jobs = self._jobs.select(
            "submit_at", "start_at", "started", "kind", "name", "scope", "target", "error", owner="user"
        )
        events = pl.concat([jobs[of_job], self._steps[self._step_of[which]]], how="horizontal").with_columns(
            event_id=pl.Series(self._event_no[which]),
            occurred_at=pl.Series(self._at[which]),
            task_id=pl.Series(self._task_no[of_job]),
            lease=pl.when(pl.col("leased") > 0).then(pl.Series(self._lease_no[which])),
        )
        events = events.with_columns(detail=_details(self._place.source))
        constants = _constants(TaskEvent, events.columns, actor=ACTOR, attempt=0, **self._where())
        return _plain("task_event", events.with_columns(constants))

    def _tasks(self, which: Any) -> pa.Table:
        """Make the rows that the live core would have made of the jobs' events."""
        done, start, end = pl.col("outcome") == Outcome.FINISHED, pl.col("start_at"), pl.col("end_at")
        processed = done & ~pl.col("system")
        system = pl.col("system")
        left_queue = pl.when(pl.col("started")).then(start).when(~done).then(end)
        ran = end - start
        collected = pl.when(processed).then(end)
        jobs = self._jobs[which]
        tasks = jobs.select(
            "name", "kind", "target", "scope", "status", "outcome", "reason",
            task_id=pl.Series(self._task_no[which]),
            number=pl.Series(self._task_no[which]),
            initiator="user",
            owner="user",
            shown_status="status",
            error=pl.when(pl.col("outcome") == Outcome.FAILED).then("error"),
            created_at="submit_at",
            queued_at="submit_at",
            started_at="start_at",
            collected_at=collected,
            processing_queued_at=collected,
            processing_started_at=pl.when(system).then(start).otherwise(collected),
            finished_at="end_at",
            wait_s=left_queue - pl.col("submit_at"),
            wait_unknown_s=(left_queue - pl.col("submit_at")).fill_null(0),  # wholly of unknown cause
            process_wait_s=pl.when(processed).then(0),  # processing never waited
            run_s=pl.when(~system).then(ran),
            process_s=pl.when(system).then(ran).when(processed).then(0),
        )  # fmt: skip
        zeros = dict.fromkeys(
            ("errors", "attempt", "wait_hold_s", "wait_throttled_s", "wait_offline_s", "wait_exclusive_s",
             "wait_capacity_s", "wait_console_s", "process_wait_hold_s"), 0,
        )  # fmt: skip
        constants = _constants(
            TaskRow, tasks.columns, created_by=ACTOR, source=self._place.source, priority=5, version=1, hidden=False,
            **zeros, **self._where(),
        )  # fmt: skip
        return _plain("task_done", tasks.with_columns(constants))

    def _where(self) -> dict[str, str]:
        return {"business": self._place.business, "site": self._place.site}


def _details(source: str) -> pl.Expr:
    """Tell what the live core tells: facts at submission, the wait of what leaves the queue, the error at the end."""
    facts = pl.concat_str(
        pl.lit('{"name":'), _json("name"), pl.lit(',"initiator":'), _json("owner"),
        pl.lit(f',"source":{json_text(source)}'), _part("scope"), _part("target"), pl.lit("}"),
    )  # fmt: skip
    event, tells, waited = pl.col("event"), pl.col("tells"), pl.col("occurred_at") - pl.col("submit_at")
    unknown = f'"waited":{{"{Cause.UNKNOWN}":'
    wait = pl.when(tells == _WAIT, waited > 0).then(pl.concat_str(pl.lit(unknown), waited, pl.lit("}")))
    word = pl.when(event == "fail").then(pl.lit('"error":')).otherwise(pl.lit('"note":'))
    error = pl.when(tells > _FACTS, event != "claim").then(pl.concat_str(word, _json("error")))
    told = pl.concat_str(wait, error, separator=",", ignore_nulls=True)
    return (
        pl.when(tells == _FACTS)
        .then(facts)
        .when(tells == _WAIT, event == "claim", ~pl.col("started"))
        .then(pl.lit('{"start_unknown":true}'))
        .when(told != "")
        .then(pl.concat_str(pl.lit("{"), told, pl.lit("}")))
    )


def _json(column: str) -> pl.Expr:
    return pl.col(column).map_batches(_quote, return_dtype=pl.String)


def _quote(texts: pl.Series) -> pl.Series:
    return pl.Series([None if text is None else json_text(text) for text in texts], dtype=pl.String)


def _part(column: str) -> pl.Expr:
    return pl.concat_str(pl.lit(f',"{column}":'), _json(column)).fill_null("")


def _places(order: Any) -> Any:
    """Turn an order (which comes first, second …) into the place of each."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def _constants(row: type[Any], there: list[str], **values: object) -> list[pl.Expr]:
    """Fill the columns of a row type that are not there: with one value for all rows, else with nothing."""
    return [pl.lit(values.get(name)).alias(name) for name in row._fields if name not in there]


def _plain(table: str, frame: pl.DataFrame) -> pa.Table:
    schema = plain_schema(table)
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).combine_chunks()


class _Blocks:
    """Blocks that are made when they are asked for, as often as they are."""

    def __init__(self, rows: int, make: Callable[[int], pa.Table]) -> None:
        self._rows, self._make = rows, make

    def __iter__(self) -> Iterator[pa.Table]:
        return map(self._make, range(0, self._rows, BLOCK))


def numbered(rows: Bulk, business_no: int, first_event: int, first_task: int) -> Bulk:
    """Shift rows that count from zero so that they follow on what a business has."""
    first_event, first_task = make_id(business_no, first_event), make_id(business_no, first_task)
    shifts = {"event_id": first_event, "lease": first_event, "task_id": first_task, "number": number_of(first_task)}
    return {table: _Shifted(blocks, shifts) for table, blocks in rows.items()}


class _Shifted:
    """Blocks with other ids."""

    def __init__(self, blocks: Iterable[pa.Table], shifts: Mapping[str, int]) -> None:
        self._blocks, self._shifts = blocks, shifts

    def __iter__(self) -> Iterator[pa.Table]:
        for block in self._blocks:
            for position, column in enumerate(block.schema.names):
                if column in self._shifts:
                    block = block.set_column(position, column, pc.add(block.column(position), self._shifts[column]))
            yield block


# --- the child


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reading child may use before it is ended."""

    memory_bytes: int = 4 << 30
    cpu_s: int = 300
    wall_s: float = 600


_CHECKOUT = Path(__file__).resolve().parents[1]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONTZPATH", "TMPDIR")  #: no secrets of ours
_REFUSED = 3
_WATCHED_EVERY_S = 0.05
_AMISS = 256 << 20  #: what the child may map beyond its limit before its own process refuses, in bytes


def _read_in_child(path: Path, request: Mapping[str, object], limits: Limits) -> None:
    limited = {**request, "memory_bytes": limits.memory_bytes, "cpu_s": limits.cpu_s}
    with subprocess.Popen(
        [sys.executable, "-m", "engine.imports", json.dumps(limited)],
        cwd=_CHECKOUT,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            said = _words_of(child, path, limits)
        finally:
            child.kill()
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


def _words_of(child: subprocess.Popen[bytes], path: Path, limits: Limits) -> str:
    """Wait for the child and return what it said; refuse what takes more time or memory than it may.

    Memory is watched from here, because a Python that runs out of it while it handles an exception may never return.
    """
    until = time.monotonic() + limits.wall_s
    while True:
        try:
            return child.communicate(timeout=_WATCHED_EVERY_S)[1].decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            if time.monotonic() > until:
                raise InvalidImport(f"Reading {path.name} took longer than {limits.wall_s} s and was ended") from None
            if _pages_of(child.pid).resident > limits.memory_bytes:
                raise InvalidImport(_too_much_memory(path, limits.memory_bytes)) from None


def _too_much_memory(path: Path, may_use: int) -> str:
    return f"Reading {path.name} needs more than {may_use >> 20:,} MB of memory, so nothing was imported"


class _Pages(NamedTuple):
    """What a process has mapped and what of it is in memory, both in bytes."""

    mapped: int
    resident: int


def _pages_of(pid: int | str) -> _Pages:
    mapped, resident, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return _Pages(int(mapped) * resource.getpagesize(), int(resident) * resource.getpagesize())


def _stage(parsed: Parsed, rows: LogRows | None, folder: Path) -> None:
    compressed = pa.ipc.IpcWriteOptions(compression="lz4")
    for table, blocks in rows.tables().items() if rows else ():
        with pa.ipc.new_file(str(folder / table), plain_schema(table), options=compressed) as file:
            for block in blocks:
                file.write_table(block)
    rest = {
        "tasks": rows.tasks if rows else 0, "events": rows.events if rows else 0, "bad": parsed.bad,
        "left_out": parsed.left_out, "tables": list(rows.tables()) if rows else [],
    }  # fmt: skip
    (folder / "rest.json").write_text(json.dumps(rest), encoding="utf-8")


def _unstage(folder: Path) -> Staged:
    rest = json.loads((folder / "rest.json").read_text(encoding="utf-8"))
    bad = [BadRow(*row) for row in rest["bad"]]
    rows = {table: _File(folder / table) for table in rest["tables"]}
    return Staged(rest["tasks"], rest["events"], bad, rest["left_out"], rows)


class _File:
    """Staged blocks, read one by one; held open, so that nobody who tidies up temporary files takes them away."""

    def __init__(self, path: Path) -> None:
        self._blocks = pa.ipc.open_file(pa.OSFile(str(path)))

    def __iter__(self) -> Iterator[pa.Table]:
        for n in range(self._blocks.num_record_batches):
            yield pa.Table.from_batches([self._blocks.get_batch(n)])


def _main() -> int:
    request = json.loads(sys.argv[1])
    memory, cpu = request["memory_bytes"], request["cpu_s"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _pages_of("self").mapped + memory + _AMISS
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    path = Path(request["path"])
    try:
        parsed = parse(path, request["format"], request["zone"], request["column_map"], request["not_after"])
        wanted = parsed.jobs and (request["skip_bad"] or not parsed.bad)
        rows = LogRows(parsed, Place(*request["place"]), request["not_after"]) if wanted else None
        parsed.jobs.clear()
        _stage(parsed, rows, Path(request["folder"]))
    except InvalidImport as refusal:
        print(refusal, file=sys.stderr)
        return _REFUSED
    except MemoryError:
        print(_too_much_memory(path, memory), file=sys.stderr)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
