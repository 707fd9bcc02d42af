"""Job logs: what swf, sacct and csv files say, as jobs. Pure but for reading the one file.

`parse` is the door. Invariant: every row of the file is a job, a bad row with line number and reason, or counted in
`left_out`.

Where a log leaves room, this is how it is read:

- A job without an end never ended, whatever its state says; it is Canceled `unknown_end` at the log's last instant.
  A job that has an end but whose state doesn't tell how (swf -1, sacct REQUEUED) is Canceled `unknown_end` at that end.
- Local times that come twice (clocks set back) are the first, unless only the second keeps the job's own order; times
  that never came (clocks set forward) are read with the offset before the change. Unix seconds need no zone.
- swf lists a job that was swapped out as one summary (status 0 or 1) and its parts (2, 3, 4): the summary is the job,
  the parts are left out and counted, and parts without a summary are bad. A job cancelled with a wait but no run time
  never started: it waited that long.
"""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zoneinfo import ZoneInfo

from .clock import SECOND
from .errors import InvalidImport
from .lifecycle import Kind
from .wellformed import misleads

NOBODY = "unknown"  #: owns the jobs whose log names no user

LONGEST_LINE = 1 << 20
LONGEST_TEXT = 200  #: of an id, a user, a scope, a target; a longer name or error is cut, visibly
RAW_SHOWN = 120


class State(StrEnum):
    """How a job ended, in the words that all formats are brought to."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    UNKNOWN_END = "unknown_end"


class Job(NamedTuple):
    """One job as the log tells it; instants in microseconds UTC. `kind` None means the kind that the import is told."""

    line: int
    id: str
    name: str
    user: str
    scope: str | None
    submit_at: int
    start_at: int | None
    end_at: int | None
    state: State
    error: str | None = None
    kind: Kind | None = None
    target: str | None = None

    @property
    def latest_at(self) -> int:
        """The last thing known of it."""
        return self.end_at or self.start_at or self.submit_at


class BadRow(NamedTuple):
    """A row that can't be a job: where it begins, why, and the beginning of its text."""

    line: int
    reason: str
    text: str


@dataclass(slots=True)
class Parsed:
    """What a log holds: jobs and bad rows in file order, and how many rows of which sort are no jobs."""

    jobs: list[Job] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def first_at(self) -> int:
        return min(job.submit_at for job in self.jobs)

    @property
    def last_at(self) -> int:
        """The log's last instant: jobs that never ended are taken to run, or wait, until then."""
        return max(job.latest_at for job in self.jobs)


# --- reading a file


class _RowError(Exception):
    """This row can't be a job; the message says why."""


class _Reader(ABC):
    """One format: what a record of the file is, and what job it tells of."""

    def __init__(self, lines: _Lines, file: str, calendar: _Calendar, column_map: Mapping[str, str]) -> None:
        self._lines, self._file, self._calendar, self._column_map = lines, file, calendar, column_map
        self.left_out: dict[str, int] = {}

    @abstractmethod
    def records(self) -> Iterator[list[str] | _RowError | None]:
        """Yield each record's fields, why it has none, or None for what is no row (header, comment, blank line)."""

    @abstractmethod
    def job(self, line: int, fields: list[str]) -> Job | None:
        """Make a job of a record; None where it was counted as left out."""

    def leftovers(self) -> Iterable[BadRow]:
        """Tell which rows only the end of the file shows to be bad."""
        return ()

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1


def parse(
    path: Path,
    format: str,
    zone: str = "UTC",
    column_map: Mapping[str, str] | None = None,
    not_after: int | None = None,
) -> Parsed:
    """Read a log in this process. Raises InvalidImport only where the file as a whole can't be read.

    Rows with an instant later than `not_after` are bad: the ledger must not reach into the future.
    """
    if format not in FORMATS:
        raise InvalidImport(f"There is no log format “{format}”; known are {', '.join(FORMATS)}")
    if column_map and format != "csv":
        raise InvalidImport(f"A column map is for csv; {format} has columns of its own")
    calendar = _Calendar(zone)
    jobs: list[Job] = []
    bad: list[BadRow] = []
    lines_of: dict[str, int] = {}
    with _opened(path) as file:
        lines = _Lines(file)
        reader = _READERS[format](lines, path.name, calendar, column_map or {})
        for fields in reader.records():
            line, last_line, text, fault = lines.take()
            if fields is None:
                continue
            try:
                if fault is not None:
                    raise _RowError(fault)
                if isinstance(fields, _RowError):
                    raise fields
                job = reader.job(line, fields)
                if job is None:
                    continue
                _check(job, not_after)
                if lines_of.setdefault(job.id, line) != line:
                    raise _RowError(f"duplicate id {job.id}: line {lines_of[job.id]} has it too")
            except _RowError as why:
                spans = f" (the row runs to line {last_line})" if last_line > line else ""
                bad.append(BadRow(line, f"{why}{spans}", text))
            else:
                jobs.append(job)
        bad.extend(reader.leftovers())
    return Parsed(jobs, sorted(bad), reader.left_out)


def _check(job: Job, not_after: int | None) -> None:
    submit_at, start_at, end_at = job.submit_at, job.start_at, job.end_at
    if start_at is not None and start_at < submit_at:
        raise _RowError("starts before it was submitted")
    if end_at is not None and start_at is not None and end_at < start_at:
        raise _RowError("ends before it starts")
    if end_at is not None and end_at < submit_at:
        raise _RowError("ends before it was submitted")
    if job.latest_at > _LAST:
        raise _RowError("lasts beyond the year 9999")
    if not_after is not None and job.latest_at > not_after:
        when = _EPOCH + timedelta(microseconds=job.latest_at)
        raise _RowError(f"lies in the future ({when:%Y-%m-%d %H:%M:%S} UTC); is the time zone right?")


_NOT_TEXT = {
    b"\x1f\x8b": "is compressed (gzip); unpack it first",
    b"PK": "is a zip archive; unpack it first",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
}


def _opened(path: Path) -> BinaryIO:
    if not path.exists():
        raise InvalidImport(f"There is no file {path}")
    if not path.is_file():
        raise InvalidImport(f"{path} is not a file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidImport(f"{path} can't be read: {error.strerror}") from None
    head = file.read(2)
    if head in _NOT_TEXT:
        file.close()
        raise InvalidImport(f"{path.name} {_NOT_TEXT[head]}")
    file.seek(0)
    return file


class _Lines:
    """The physical lines of a file as text, with the place, the look and the faults of the record that they make up."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self._first: int | None = None
        self._text = ""
        self._fault: str | None = None

    def __iter__(self) -> Iterator[str]:
        readline = self._file.readline
        while raw := readline(LONGEST_LINE + 1):
            self.number += 1
            if self.number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
                self._fault = f"the line is longer than {LONGEST_LINE:,} bytes"
                while (more := readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                    pass
                raw = raw[:RAW_SHOWN].replace(b'"', b"'") + b"\n"  # what is cut off must not leave a quote open
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                self._fault = self._fault or "is not UTF-8"
                text = raw.decode(errors="replace")
            if "\0" in text:
                self._fault = self._fault or "holds a NUL byte"
            if self._first is None:
                self._first, self._text = self.number, text
            yield text

    def take(self) -> tuple[int, int, str, str | None]:
        """Close the present record: its first line and its last, the beginning of its text, its fault if it has one."""
        line, text, fault = self._first or self.number, self._text, self._fault
        self._first, self._fault = None, None
        return line, self.number, text[:RAW_SHOWN].rstrip("\r\n"), fault


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_NO_TIME = frozenset({"", "unknown", "none", "n/a", "null", "-"})


class _Calendar:
    """Times as logs write them, made into instants."""

    def __init__(self, zone: str) -> None:
        try:
            self._zone = UTC if zone == "UTC" else ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise InvalidImport(f"There is no time zone “{zone}”; names look like Europe/Stockholm") from None

    def instant(self, text: str, what: str, not_before: int | None = None) -> int | None:
        """Read ISO 8601 or Unix seconds; None for a time that the log doesn't know.

        `not_before` decides which of two passes of a repeated hour is meant.
        """
        text = text.strip()
        if text.lower() in _NO_TIME:
            return None
        if text.replace(".", "", 1).isdecimal():
            at = round(float(text[:40]) * SECOND)  # more digits are beyond all years
        else:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise _RowError(f"{what} “{text[:40]}” is not a time") from None
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            at = _micros(moment)
            if not_before is not None and at < not_before:
                second = _micros(moment.replace(fold=1))
                at = second if second >= not_before else at
        if not 0 <= at <= _LAST:
            raise _RowError(f"{what} “{text[:40]}” is not between 1970 and 9999 (numbers are read as Unix seconds)")
        return at


def _micros(moment: datetime) -> int:
    offset = moment.utcoffset()
    past = moment.replace(tzinfo=UTC) - _EPOCH
    if offset:
        past -= offset
    return (past.days * 86400 + past.seconds) * SECOND + past.microseconds


def _make_job(
    line: int,
    an_id: str,
    submit_at: int | None,
    start_at: int | None,
    end_at: int | None,
    state: State,
    *,
    user: str = "",
    scope: str = "",
    name: str = "",
    error: str = "",
    kind: Kind | None = None,
    target: str = "",
) -> Job:
    """Settle what is the same for all formats: what must be there, what stands for nothing, how long texts may be."""
    if not an_id:
        raise _RowError("has no id")
    if submit_at is None:
        raise _RowError("has no submit time")
    for what, text in (("id", an_id), ("user", user), ("scope", scope), ("target", target)):
        if len(text) > LONGEST_TEXT:
            raise _RowError(f"the {what} is longer than {LONGEST_TEXT} characters")
    for what, text in (("user", user), ("scope", scope), ("name", name), ("error", error), ("target", target)):
        odd = None if text.isprintable() else next(filter(misleads, text.replace("\r\n", "\n")), None)
        if odd is not None:
            raise _RowError(f"the {what} has a character that steers how text is shown (U+{ord(odd):04X})")
    return Job(
        line,
        an_id,
        _cut(name) or f"Job {an_id}",
        user or NOBODY,
        scope or None,
        submit_at,
        start_at,
        end_at,
        State.UNKNOWN_END if end_at is None else state,
        _cut(error) or None,
        kind,
        target or None,
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


# --- swf, the Standard Workload Format


_SWF_COLUMNS = 18
_SWF_START = re.compile(r";\s*UnixStartTime:\s*(\d{1,11})\b")
_SWF_STATES = {
    0: State.FAILED,
    1: State.COMPLETED,
    5: State.CANCELLED,
    -1: State.UNKNOWN_END,
}
_SWF_PARTS = frozenset({2, 3, 4})


class _Swf(_Reader):
    """Columns: job, submit, wait, run, …, status (11), user (12), group, executable, queue (15), partition (16), …"""

    def __init__(self, lines: _Lines, file: str, calendar: _Calendar, column_map: Mapping[str, str]) -> None:
        super().__init__(lines, file, calendar, column_map)
        self._start_at: int | None = None
        self._summaries: set[int] = set()
        self._parts: dict[int, BadRow] = {}

    def records(self) -> Iterator[list[str] | _RowError | None]:
        for text in self._lines:
            if text.startswith(";"):
                self._header(text)
                yield None
            else:
                yield text.split() or None

    def _header(self, text: str) -> None:
        found = _SWF_START.match(text)
        if found is None:
            return
        start_at = int(found[1]) * SECOND
        if self._start_at not in (None, start_at):
            raise InvalidImport(f"{self._file} has a second, different UnixStartTime in line {self._lines.number}")
        self._start_at = start_at

    def job(self, line: int, fields: list[str]) -> Job | None:
        if len(fields) != _SWF_COLUMNS:
            raise _RowError(f"has {len(fields)} fields where swf has {_SWF_COLUMNS}")
        if self._start_at is None:
            raise InvalidImport(
                f"{self._file} has no “; UnixStartTime:” before its first job (line {line}), so its times hang in the "
                "air; add such a line, with the Unix second that its times count from"
            )
        number, status = _whole(fields[0], "job number"), _whole(fields[10], "status")
        if status in _SWF_PARTS:
            self._leave_out("partial executions")
            if number not in self._parts:
                text = " ".join(fields)[:RAW_SHOWN]
                self._parts[number] = BadRow(line, f"a part of job {number}, which has no summary line", text)
            return None
        self._summaries.add(number)
        state = _SWF_STATES.get(status)
        if state is None:
            raise _RowError(f"unknown status {status}")
        submit, wait, run = _span(fields[1], "submit time"), _span(fields[2], "wait"), _span(fields[3], "run time")
        submit_at = None if submit is None else self._start_at + submit
        start_at = None if submit_at is None or wait is None else submit_at + wait
        end_at = None if start_at is None or run is None else start_at + run
        if state is State.CANCELLED and run is None:
            start_at, end_at = None, start_at
        user = _whole(fields[11], "user")
        queue, partition = _whole(fields[14], "queue"), _whole(fields[15], "partition")
        scope = f"partition-{partition}" if partition >= 0 else f"queue-{queue}" if queue >= 0 else ""
        return _make_job(
            line, str(number), submit_at, start_at, end_at, state, user=f"u{user}" if user >= 0 else "", scope=scope
        )

    def leftovers(self) -> Iterable[BadRow]:
        return [row for number, row in self._parts.items() if number not in self._summaries]


def _whole(text: str, what: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise _RowError(f"{what} “{text[:40]}” is not a whole number")
    return int(text)


def _span(text: str, what: str) -> int | None:
    """Read seconds as microseconds; -1 is swf's word for unknown."""
    if not text.removeprefix("-").replace(".", "", 1).isdecimal():
        raise _RowError(f"{what} “{text[:40]}” is not a number of seconds")
    us = round(float(text[:40]) * SECOND)
    if us == -SECOND:
        return None
    if us < 0:
        raise _RowError(f"negative {what} ({text[:40]})")
    if us > _LAST:
        raise _RowError(f"{what} “{text[:40]}” is too large")
    return us


# --- sacct, Slurm's accounting


# fmt: off
#: the columns of output without a header: the list that Open XDMoD asks sacct for
_SACCT_COLUMNS = [
    "jobid", "jobidraw", "cluster", "partition", "qos", "account", "group", "gid", "user", "uid", "submit", "eligible",
    "start", "end", "elapsed", "exitcode", "state", "nnodes", "ncpus", "reqcpus", "reqmem", "reqtres", "alloctres",
    "timelimit", "nodelist", "jobname",
]
_SACCT_NEEDED = ("jobid", "submit", "start", "end", "state")

_STATE_WORDS = {
    State.COMPLETED: ("completed",),
    State.FAILED: (
        "failed", "out_of_memory", "node_fail", "boot_fail", "deadline", "launch_failed", "reconfig_fail",
    ),
    State.TIMEOUT: ("timeout",),
    State.CANCELLED: ("cancelled", "revoked"),
    State.PREEMPTED: ("preempted",),
    State.UNKNOWN_END: (
        "pending", "running", "requeued", "suspended", "resizing", "completing", "configuring", "requeue_fed",
        "requeue_hold", "resv_del_hold", "signaling", "special_exit", "stage_out", "stopped",
    ),
}
# fmt: on
_SACCT_STATES = {word: state for state, words in _STATE_WORDS.items() for word in words}


class _Sacct(_Reader):
    """`sacct --parsable2` (or `--parsable`): fields between pipes, with or without a line of column names."""

    def __init__(self, lines: _Lines, file: str, calendar: _Calendar, column_map: Mapping[str, str]) -> None:
        super().__init__(lines, file, calendar, column_map)
        self._columns = _SACCT_COLUMNS
        self._place = {name: n for n, name in enumerate(_SACCT_COLUMNS)}
        self._header: list[str] | None = None

    def records(self) -> Iterator[list[str] | _RowError | None]:
        first = True
        for text in self._lines:
            if not text.strip():
                yield None
                continue
            fields = text.rstrip("\r\n").split("|")
            if first:
                first = False
                if self._take_header(fields):
                    yield None
                    continue
            if fields == self._header:  # several outputs put together
                self._leave_out("repeated headers")
                yield None
            else:
                yield fields

    def _take_header(self, fields: list[str]) -> bool:
        names = [name.strip().lower() for name in fields]
        if "jobid" not in names and not {"submit", "state"} <= set(names):  # a job may be named “submit”
            return False
        missing = [name for name in _SACCT_NEEDED if name not in names]
        if missing:
            raise InvalidImport(
                f"{self._file} lacks the sacct columns {', '.join(missing)}; ask for them with --format"
            )
        self._header, self._columns = fields, names
        self._place = {name: n for n, name in enumerate(names)}
        return True

    def job(self, line: int, fields: list[str]) -> Job | None:
        if len(fields) == len(self._columns) + 1 and not fields[-1]:
            fields.pop()  # sacct --parsable ends each line with a pipe
        if len(fields) != len(self._columns):
            raise _RowError(
                f"has {len(fields)} fields where {'the header names' if self._header else 'sacct without header has'} "
                f"{len(self._columns)}; a “|” within a name does that"
            )
        place = self._place
        an_id = fields[place["jobid"]].strip()
        if "." in an_id:
            self._leave_out("job steps")
            return None
        words = fields[place["state"]].split()
        word = words[0].lower().rstrip("+") if words else ""
        state = _SACCT_STATES.get(word)
        if state is None:
            raise _RowError(f"unknown state “{fields[place['state']][:40]}”" if word else "has no state")
        instant = self._calendar.instant
        submit_at = instant(fields[place["submit"]], "submit time")
        start_at = instant(fields[place["start"]], "start time", submit_at)
        end_at = instant(fields[place["end"]], "end time", submit_at if start_at is None else start_at)

        def given(column: str) -> str:
            n = place.get(column)
            return "" if n is None else fields[n].strip()

        error = ""
        if state in (State.FAILED, State.TIMEOUT):
            code = given("exitcode")
            error = word.replace("_", " ") + (f", exit code {code}" if code not in ("", "0:0") else "")
        elif state is State.CANCELLED and len(words) > 1:
            error = " ".join(words).lower()
        return _make_job(
            line, an_id, submit_at, start_at, end_at, state, user=given("user"), scope=given("partition"),
            name=given("jobname"), error=error,
        )  # fmt: skip


# --- csv


CSV_COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("job_id", "jobid", "task_id"),
    "user": ("owner", "username", "user_name", "submitted_by"),
    "submitted": ("submitted_at", "submit", "submit_time", "created", "created_at", "queued_at"),
    "started": ("started_at", "start", "start_time"),
    "ended": ("ended_at", "end", "end_time", "finished", "finished_at", "completed_at"),
    "state": ("status",),
    "scope": ("partition", "queue"),
    "name": ("job_name", "jobname", "title"),
    "kind": ("task_type",),
    "target": ("device", "host"),
    "error": ("message", "error_message"),
}
"""What a csv log may tell, and the further names that its header may have for it; a column map goes before both."""

_CSV_NEEDED = ("id", "submitted", "ended", "state")
# fmt: off
_CSV_STATE_WORDS = {
    State.COMPLETED: ("complete", "done", "finished", "success", "succeeded", "processed", "ok"),
    State.FAILED: ("failure", "error", "errored", "oom"),
    State.TIMEOUT: ("timed_out", "timedout"),
    State.CANCELLED: ("canceled", "stopped", "aborted", "killed"),
    State.UNKNOWN_END: (
        "new", "scheduled", "queued", "waiting", "paused", "active", "started", "in_progress", "unknown", "unknown_end",
    ),
}
# fmt: on
_CSV_STATES = _SACCT_STATES | {word: state for state, words in _CSV_STATE_WORDS.items() for word in words}


class _Csv(_Reader):
    """A header row and comma, semicolon, tab or pipe between cells; quoted cells may hold anything, line ends too."""

    def __init__(self, lines: _Lines, file: str, calendar: _Calendar, column_map: Mapping[str, str]) -> None:
        super().__init__(lines, file, calendar, column_map)
        self._place: dict[str, int] = {}
        self._width = 0

    def records(self) -> Iterator[list[str] | _RowError | None]:
        source = iter(self._lines)
        head = next((text for text in source if text.strip()), None)
        if head is None:
            raise InvalidImport(f"{self._file} is empty; a csv log begins with a row of column names")
        rows = csv.reader(chain([head], source), delimiter=max(",;\t|", key=head.count), strict=True)
        try:
            self._take_header(next(rows))
        except csv.Error as error:
            raise InvalidImport(f"The header row of {self._file} can't be read: {error}") from None
        yield None
        while True:
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield _RowError(f"can't be read as csv: {error}")
                continue
            told = any(map(str.strip, cells))
            if not told and len(cells) > 1:
                self._leave_out("empty rows")
            yield cells if told else None

    def _take_header(self, names: list[str]) -> None:
        plain = [_plain(name) for name in names]
        self._width = len(names)
        for known in self._column_map:
            if known not in CSV_COLUMNS:
                raise InvalidImport(f"A csv log has no “{known}” to map; it can tell {', '.join(CSV_COLUMNS)}")
        for known, aliases in CSV_COLUMNS.items():
            wanted = [_plain(self._column_map[known])] if known in self._column_map else [known, *aliases]
            found = next((name for name in wanted if name in plain), None)
            if found is not None:
                if plain.count(found) > 1:
                    raise InvalidImport(f"{self._file} has two columns “{found}”")
                self._place[known] = plain.index(found)
            elif known in self._column_map:
                raise InvalidImport(
                    f"{self._file} has no column “{self._column_map[known]}” for {known}; it has {', '.join(names)}"
                )
        missing = [known for known in _CSV_NEEDED if known not in self._place]
        if missing:
            raise InvalidImport(
                f"{self._file} has no column for {', '.join(missing)}; it has {', '.join(names)}. A column map "
                "(--column NAME=COLUMN) tells which is which"
            )

    def job(self, line: int, fields: list[str]) -> Job | None:
        if len(fields) != self._width:
            raise _RowError(f"has {len(fields)} cells where the header names {self._width}")

        def given(column: str) -> str:
            n = self._place.get(column)
            return "" if n is None else fields[n].strip()

        word = given("state")
        state = _CSV_STATES.get(_plain(word))
        if state is None and word.lower().startswith("cancelled by "):  # as sacct has it
            state = State.CANCELLED
        if state is None:
            raise _RowError(f"unknown state “{word[:40]}”" if word else "has no state")
        kind = None
        if given("kind"):
            try:
                kind = Kind(given("kind").lower())
            except ValueError:
                raise _RowError(f"unknown kind “{given('kind')[:40]}”") from None
        instant = self._calendar.instant
        submit_at = instant(given("submitted"), "submit time")
        start_at = instant(given("started"), "start time", submit_at)
        end_at = instant(given("ended"), "end time", submit_at if start_at is None else start_at)
        return _make_job(
            line, given("id"), submit_at, start_at, end_at, state, user=given("user"), scope=given("scope"),
            name=given("name"), error=given("error"), kind=kind, target=given("target"),
        )  # fmt: skip


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


_READERS: dict[str, type[_Reader]] = {"swf": _Swf, "sacct": _Sacct, "csv": _Csv}
FORMATS = tuple(_READERS)
