"""What every command needs: who asks, what he may, what is told of it in the audit trail. Pure.

Commands come in families, each a module of its own: tasks (`ontasks`), holds and schedules (`onplans`), blackout
windows (`onblackouts`), places and people (`onplaces`). `core` joins them. A method here that refuses raises Refused
before it has changed anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import wellformed
from .errors import Invalid, NotFound, Refused
from .ledger import Audit, Detail, TaskRow, new_row
from .machine import Machine
from .roles import Right, may, require
from .state import Business
from .task import Task

LATEST = 253_402_300_799_999_999  #: the last instant of the year 9999: a later one can be neither shown nor stored


class Commanded(Machine):
    """A machine that somebody asks for something; `_request` is the command that is being carried out."""

    @property
    def _actor(self) -> str:
        assert self._request is not None
        return self._request.actor

    def _may(self, right: Right, business: str | None, site: str | None) -> bool:
        assert self._request is not None
        return may(self._request.grants, right, business, site)

    def _require(self, right: Right, business: str | None, site: str | None) -> None:
        assert self._request is not None
        require(self._request.grants, right, business, site)

    def _own(self, place: Task | TaskRow | None) -> bool:
        """Tell whether the actor may touch a task; one that he may not touch is to him as if it were not there."""
        return place is not None and self._may(Right.OPERATE, place.business, place.site)

    def _business(self, name: str) -> Business:
        business = self.state.businesses.get(name)
        if business is None:
            raise NotFound.named("business", name, self.state.businesses)
        return business

    def _audit(
        self, action: str, object_kind: str, object_id: object, business: str | None, site: str | None = None, *,
        outcome: str = "changed", before: Detail | None = None, after: Detail | None = None, reason: str | None = None,
    ) -> None:
        assert self._request is not None
        owner = self.state.business(business if business in self.state.businesses else None)
        owner.last_audit += 1
        self._step.rows.audit.append(
            new_row(
                Audit, (
                    owner.last_audit, self._step.now, business, site, self._request.actor, action, object_kind,
                    str(object_id), outcome, before, after, reason, self._request.request_id,
                ),
            )
        )

    def _tell(
        self, verb: str, task_id: int, where: Task | TaskRow | None, why: str | None, reason: str | None,
        changed: list[int | str], skipped: list[tuple[int | str, str]],
    ) -> None:
        if why is None:
            changed.append(task_id)
        else:
            skipped.append((task_id, why))
        self._audit(
            verb, "task", task_id, where.business if where else None, where.site if where else None,
            outcome=why or "changed", reason=reason,
        )


def check_instant(what: str, at: object) -> None:
    if at is not None and not (isinstance(at, int) and 0 <= at <= LATEST):
        raise Invalid(f"The {what} {at!r} is no instant")


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name for good that people could not tell from another, or not see at all: it is never taken back."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > 100:
        raise Invalid(f"A {what}'s name has 1 to 100 characters that can be seen, and no space around them")
    like = next((other for other in known if wellformed.likeness(other) == wellformed.likeness(name)), None)
    if like is not None:
        raise Refused(f"There is a {what} “{like}” already")
