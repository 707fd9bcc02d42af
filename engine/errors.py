"""Every refusal the engine can utter. The docstring of the class is its default message; facts are attributes."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DrainboardError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, **facts: object) -> None:
        self.facts = facts
        super().__init__(message or (self.__doc__ or "").strip())


class Refused(DrainboardError):
    """This can't be done now; nothing was changed."""


class GivenUp(Refused):
    """Nobody waits for this any more; it was left off."""


class IllegalTransition(Refused):
    """A task can't go this way."""

    def __init__(self, event: str, status: str | None) -> None:
        super().__init__(f"“{event}” is not possible for a task that is {status}", event=event, status=status)


class NotAllowed(Refused):
    """You may not do this; nothing was changed."""


class NotFound(Refused):
    """There is no such thing."""

    @classmethod
    def named(cls, what: str, name: object, known: Iterable[object] = ()) -> NotFound:
        """Name what is missing and, where one is near, what was probably meant."""
        near = get_close_matches(str(name), [str(k) for k in known], n=1)
        hint = f"; did you mean “{near[0]}”?" if near else ""
        return cls(f"There is no {what} “{name}”{hint}", what=what, name=name)


class Invalid(Refused):
    """The input is not valid; nothing was changed."""


class InvalidFilter(Invalid):
    """The filter can't be read."""

    def __init__(self, message: str | None = None, *, at: int = 0, length: int = 1) -> None:
        self.at, self.length = at, length
        super().__init__(message, at=at, length=length)

    def pointed(self, text: str) -> str:
        """Write the part of the filter around the fault, and below it where it is."""
        begin = max(0, self.at - 60)
        shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[begin : self.at + 60])
        return f"{shown}\n{' ' * (self.at - begin)}{'^' * max(1, min(self.length, len(text) - self.at, 60))}"


class InvalidFleet(Invalid):
    """The fleet file is not valid."""


class InvalidSchedule(Invalid):
    """The schedule's rule is not valid."""


class InvalidImport(Invalid):
    """The file can't be imported as it is."""


class SettingsError(Invalid):
    """A setting is not valid."""


class StoreError(DrainboardError):
    """The store can't be used."""


class StoreInUse(StoreError):
    """Another process holds this store; ask it, or stop it first."""


class StoreDamaged(StoreError):
    """The store is not what was last acknowledged; nothing was opened for writing."""


class StoreFull(StoreError):
    """Too little free disk space: new work is refused until there is room; what was acknowledged is safe."""


class CommitFailed(StoreError):
    """The last commit failed and is being retried; nothing acknowledged is lost."""


class Busy(Refused):
    """The engine is not taking commands right now; try again shortly."""
