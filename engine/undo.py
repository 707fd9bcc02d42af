"""Taking a request back: what it changed is read off its audit rows and put the other way round.

A deletion and a hiding are undone by a restoration, an edit by an edit back to what was there before. Each task is
taken back by itself, and only as the request left it: one that somebody has changed since stays as it is now, and is
told. Who asked first does not matter; who undoes needs the right to change these tasks, and the core decides that, and
whether it is too late, once more. An undo is a request like any other: an edit taken back can be edited back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import history
from . import messages as m
from .bulk import AT_ONCE, Part
from .errors import NotFound, Refused
from .store import Store

DELETE, EDIT = "delete", "edit"
SINCE = "somebody changed it since"


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a request back."""

    request: str
    verb: str  #: what was done: delete (or hide), edit
    actor: str  #: who did it
    asked_at: int
    parts: Sequence[Part]
    left: Sequence[tuple[int, str]]  #: tasks that it changed and that stay as they are, each with why

    @property
    def count(self) -> int:
        return sum(len(ids) for ids, _ in self.parts)


def undo(store: Store, request: str, may: Callable[[str, str], bool] = lambda *_: True) -> Undo:
    """Make what takes a request back, in all its parts, at the places where `may` says so.

    Raise NotFound where it changed no task there, Refused where what it did can't be taken back.
    """
    rows = [row for row in _changes(store, request) if may(row["business"], row["site"])]
    if not rows:
        raise NotFound("There is no such request, or it changed no task that you may change")
    first = rows[0]
    rows = [row for row in rows if (row["action"], row["actor"]) == (first["action"], first["actor"])]
    if first["action"] == DELETE:
        found = _restorations(store, rows)
    elif first["action"] == EDIT:
        found = _edits_back(rows)
    else:
        raise Refused(f"“{first['action']}” can't be undone; deleting, hiding and editing can")
    return Undo(request, first["action"], first["actor"], first["at_us"], *found)


def _changes(store: Store, request: str) -> Sequence[Mapping[str, Any]]:
    """Read what a request changed, in all its parts, in the order in which it did."""
    return store.read(
        """
        select object_id::bigint as task_id, action, actor, business, site, request_id, epoch_us(occurred_at) as at_us,
               before::varchar as before, after::varchar as after
        from audit
        where (request_id = $request or starts_with(request_id, $request || '/'))
          and object_kind = 'task' and outcome = 'changed'
        order by batch, audit_id
        """,
        {"request": request},
    ).to_dicts()


def _restorations(store: Store, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Part], list[tuple[int, str]]]:
    ids = [row["task_id"] for row in rows]
    last = dict(
        store.read(
            f"""
            select task_id, arg_max(request_id, event_id) from task_event
            where occurred_at >= make_timestamp({rows[0]["at_us"]}) and task_id in (select unnest($ids::bigint[]))
            group by task_id
            """,
            {"ids": ids},
        ).iter_rows()
    )
    still = [row["task_id"] for row in rows if last.get(row["task_id"]) == row["request_id"]]
    changed = set(ids).difference(still)
    finished = history.finished(store, still)
    parts: list[Part] = []
    for start in range(0, len(still), AT_ONCE):
        piece = still[start : start + AT_ONCE]
        parts.append((piece, m.Restore(piece, {i: finished[i] for i in piece if i in finished})))
    return parts, [(task_id, SINCE) for task_id in ids if task_id in changed]


def _edits_back(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Part], list[tuple[int, str]]]:
    """Make the edits back, to the version that the edit made: the core refuses what has another by now."""
    edits, left = [], []
    for row in rows:
        before, after = json.loads(row["before"] or "{}"), json.loads(row["after"] or "{}")
        before.pop("version", None)
        if "version" in after:
            edits.append(m.Edit(row["task_id"], after["version"], before))
        else:
            left.append((row["task_id"], "its audit row does not tell which version it made"))
    parts: list[Part] = []
    for start in range(0, len(edits), AT_ONCE):
        piece = edits[start : start + AT_ONCE]
        parts.append(([edit.task for edit in piece], m.EditMany(piece, "undone")))
    return parts, left
