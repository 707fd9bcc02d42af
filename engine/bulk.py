"""Actions over many tasks: what one would touch, frozen when it was looked at, and how it is carried out. Pure.

A preview is of all tasks that a filter finds, not of a page; it keeps their ids, so that what comes or changes between
preview and click is never acted on unseen. Whoever carries it out sends as few commands as can be, one for up to ten
thousand tasks: so one commit and one request id. More go in parts, whose request ids are made of the first, so that all
of them can be undone as one. The core decides each task anew and says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import polars as pl

from . import messages as m
from .ledger import TaskRow
from .lifecycle import KIND, NEXT, RUNNING, STATUS, TERMINAL, Kind, Status

AT_ONCE = 10_000  #: tasks of one command, and so of one commit
COLUMNS = ("task_id", "owner", "business", "site", "kind", "status", "version", "hidden")  #: that a preview goes by

Do = Callable[[m.Action, str], m.Outcome]
"""Has an action carried out under a request id, and returns when its outcome is durable."""

Part = tuple[Sequence[int], m.Action]
"""The tasks of one command, and the command."""


class Verb(StrEnum):
    """What can be done to many tasks at once. Deleting one that has ended hides it."""

    STOP = "stop"
    DELETE = "delete"
    RESTORE = "restore"
    RERUN = "rerun"
    EDIT = "edit"


def refusal(verb: Verb, status: Status, kind: Kind, hidden: bool) -> str | None:
    """Say why a task that stands so can't be acted on, in the core's words; None where it can."""
    ended = status in TERMINAL
    if verb is Verb.STOP:
        if status is Status.STOPPING:
            return "already stopping"
        stops = any((event, status, kind) in NEXT for event in ("stop", "request_stop"))
        return None if stops else "not found, or already finished"
    if verb is Verb.DELETE:
        if ended:
            return "not found, or already deleted" if hidden else None
        return None if status is Status.NEW else "stop it first"
    if verb is Verb.RESTORE:
        return None if ended and hidden else "not deleted, or not found"
    if verb is Verb.RERUN:
        return "a widget's refresh is asked for on its dashboard" if kind is Kind.QUERY else None
    if ended:
        return "The task is not found, or already finished"
    return None if status is Status.NEW else f"Only New tasks can be edited; this one is {status}"


NO_RIGHT = "you may not change tasks at their site"


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action over many tasks would touch, as it was when it was looked at."""

    verb: Verb
    versions: Mapping[int, int]  #: the tasks, and the version of each that was seen
    users: Sequence[tuple[str, int]]  #: whose they are, and how many, most first
    sites: Sequence[tuple[str, str, int]]  #: business, site and how many, most first
    running: int  #: of them, how many hold a slot: a stop waits for their services
    ended: int  #: of them, how many have ended
    left: Sequence[tuple[str, int]]  #: why others that were found can't be acted on, and how many, most first
    _ended: frozenset[int] = field(default=frozenset(), repr=False)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self.versions)

    @property
    def count(self) -> int:
        return len(self.versions)

    @property
    def frozen(self) -> list[tuple[int, int, bool]]:
        """What `parts` needs of it: each task, the version that was seen, and whether it had ended."""
        return [(task_id, version, task_id in self._ended) for task_id, version in self.versions.items()]

    @classmethod
    def of(cls, verb: Verb, frozen: Iterable[tuple[int, int, bool]]) -> Preview:
        """Take up what was frozen elsewhere, without whose and where the tasks are."""
        tasks = list(frozen)
        ended = frozenset(task_id for task_id, _, over in tasks if over)
        return cls(verb, {task_id: version for task_id, version, _ in tasks}, (), (), 0, len(ended), (), ended)


def preview(verb: Verb, tasks: pl.DataFrame, may: Callable[[str, str], bool] = lambda *_: True) -> Preview:
    """Freeze what an action would touch of the tasks in a frame that has COLUMNS; `may` tells who may where."""
    states = tasks.select("status", "kind", "hidden").unique()
    places = tasks.select("business", "site").unique()
    whys = states.with_columns(
        why=pl.Series([refusal(verb, STATUS[status], KIND[kind], hidden) for status, kind, hidden in states.rows()],
                      dtype=pl.String)
    )  # fmt: skip
    rights = places.with_columns(right=pl.Series([may(*place) for place in places.rows()], dtype=pl.Boolean))
    told = (
        tasks.select(COLUMNS)
        .unique("task_id", keep="first", maintain_order=True)
        .join(whys, on=states.columns, how="left", maintain_order="left")
        .join(rights, on=places.columns, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(why=pl.when("right").then("why").otherwise(pl.lit(NO_RIGHT)))
    )
    taken, left = told.filter(pl.col("why").is_null()), told.filter(pl.col("why").is_not_null())
    ended = taken.filter(pl.col("status").is_in(sorted(TERMINAL)))
    return Preview(
        verb,
        dict(taken.select("task_id", "version").iter_rows()),
        _counted(taken, "owner"),
        _counted(taken, "business", "site"),
        taken.filter(pl.col("status").is_in(sorted(RUNNING))).height,
        ended.height,
        _counted(left, "why"),
        frozenset(ended["task_id"]),
    )


def _counted(tasks: pl.DataFrame, *by: str) -> list[Any]:
    return tasks.group_by(by).agg(n=pl.len()).sort("n", *by, descending=[True, *(False for _ in by)]).rows()


def parts(
    preview: Preview,
    rows: Callable[[Sequence[int]], Mapping[int, TaskRow]],
    *,
    reason: str | None = None,
    changes: Mapping[str, object] | None = None,
    longest_waits: Callable[[Mapping[int, TaskRow]], Mapping[int, int]] = lambda _: {},
) -> Iterator[Part]:
    """Make the commands that carry a preview out, each when it is its turn; `rows` reads tasks that have ended.

    `changes` are an edit's. `longest_waits` reads those of such rows, which a run anew keeps. What was seen living is
    deleted as that only: one that has run since stays in the lists.
    """
    for ids in _pieces(preview.ids):
        if preview.verb is Verb.STOP:
            yield ids, m.Stop(ids, reason)
        elif preview.verb is Verb.DELETE:
            ended = [task_id for task_id in ids if task_id in preview._ended]
            yield ids, m.Delete(ids, reason, rows(ended) if ended else {})
        elif preview.verb is Verb.RESTORE:
            yield ids, m.Restore(ids, rows(ids))
        elif preview.verb is Verb.RERUN:
            ended_rows = rows(ids)
            yield ids, m.Rerun(ids, reason, ended_rows, longest_waits(ended_rows))
        else:
            wanted = dict(changes or {})
            yield ids, m.EditMany([m.Edit(task_id, preview.versions[task_id], wanted) for task_id in ids], reason)


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(ids), AT_ONCE):
        yield ids[first : first + AT_ONCE]


@dataclass(slots=True)
class Done:
    """What came of an action over many tasks."""

    changed: list[int | str] = field(default_factory=list)
    skipped: list[tuple[int | str, str]] = field(default_factory=list)  #: each with why
    refused: str | None = None  #: why a command was refused as a whole, or not answered; then the rest was not tried
    left: list[int] = field(default_factory=list)  #: of which tasks that command was, and those after it
    requests: list[str] = field(default_factory=list)  #: the ids of those that were sent

    @property
    def whys(self) -> dict[str, int]:
        """Count the skipped tasks by reason, most first."""
        counts: dict[str, int] = {}
        for _, why in self.skipped:
            counts[why] = counts.get(why, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def carry_out(
    commands: Iterable[Part], request: str, do: Do, told: Callable[[int], None] = lambda _: None
) -> Done:
    """Send commands one after the other under ids made of one request id; gather what came of each task.

    `told` hears after each how many tasks were dealt with so far. The first that is refused as a whole ends it. The
    same commands under the same request id, sent again within ten minutes, change nothing twice.
    """
    done, dealt_with = Done(), 0
    for turn, (ids, action) in enumerate(commands):
        if done.refused is not None:
            done.left += ids
            continue
        done.requests.append(part_of(request, turn))
        outcome = do(action, done.requests[-1])
        done.changed += outcome.changed
        done.skipped += outcome.skipped
        if outcome.refused is not None:
            done.refused = outcome.refused
            done.left += ids
            continue
        dealt_with += len(ids)
        told(dealt_with)
    return done


def part_of(request: str, turn: int) -> str:
    """Name the request of one of several commands; the first bears the id itself."""
    return f"{request}/{turn + 1}" if turn else request
