"""Cancelling tasks: the dialog that says what a stop does and what it leaves alone, and what came of it."""

from uuid import uuid4

import streamlit as st

from engine.messages import Stop

from . import asking, frame, grid, notice


def ask(ids: tuple[int, ...], key: str) -> None:
    """Open the dialog over tasks of a grid; one opening is one request, however often its button is pressed."""
    _dialog(ids, key, f"cancel-{uuid4()}")


@asking.dialog("Cancel tasks")
def _dialog(ids: tuple[int, ...], key: str, request: str) -> None:
    n = f"{len(ids):,} {'task' if len(ids) == 1 else 'tasks'}"
    st.html(
        "<ul class='d-says'><li>What waits is cancelled at once.</li>"
        "<li>What runs is asked to stop, and shows Stopping until its service confirms.</li>"
        "<li>Data that was collected stays; nothing is rolled back.</li>"
        "<li>A schedule goes on with its next run.</li></ul>"
    )
    reason = asking.reason(request)
    if asking.agreed(f"Cancel {n}", request):
        outcome = frame.do(Stop(ids, reason), request)
        left = ", ".join(sorted({why for _, why in outcome.skipped}))
        said = f"{len(outcome.changed):,} of {n} cancelled or asked to stop{f'; left: {left}' if left else ''}"
        notice.keep(outcome.refused or said)
        grid.select(key)
        grid.open_row(key, None)
        asking.close()
