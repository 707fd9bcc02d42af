"""Interrupts work that nobody waits for any more: a search whose asker has typed on, or has gone.

Work is interrupted only between its begin and its end, never what the same worker does next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_EVERY = 0.1  #: seconds between two looks whether somebody still waits; what is done sooner is never looked at
IDLE = 5.0  #: seconds without such work after which nobody watches


class Patience:
    """Watches the work of any number of threads, by one thread that is there only while it has something to watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._watching = False

    @contextmanager
    def lasts(self, gone: Callable[[], bool], interrupt: Callable[[], None]) -> Iterator[None]:
        """Call `interrupt` as soon as `gone` says yes, if that is before the end of what is done within."""
        work = object()
        with self._changed:
            self._watched[work] = gone, interrupt
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="drainboard-patience", daemon=True).start()
            elif len(self._watched) == 1:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._watched[work]

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(LOOK_EVERY)
            with self._changed:
                if not self._watched and not self._changed.wait_for(lambda: self._watched, IDLE):
                    self._watching = False
                    return
                for gone, interrupt in self._watched.values():
                    if gone():
                        interrupt()
