"""The transition table, every status times every event times every kind, against a table written out by hand."""

from __future__ import annotations

import pytest

from engine.errors import IllegalTransition
from engine.lifecycle import (
    EVENTS,
    NEXT,
    TERMINAL,
    TRANSITIONS,
    Kind,
    Status,
    Tab,
    is_waiting,
    mermaid,
    queue_word,
    queue_words,
    shown_status,
    successor,
    tab,
    task_label,
)

SCANNING, CONNECTING, SYSTEM = {"scan", "audit"}, {"connector", "import"}, {"report", "query", "outlier"}
EVERY = SCANNING | CONNECTING | SYSTEM

LEGAL = (
    # event, from, to, for these kinds
    ("submit", None, "New", EVERY),
    ("due", "New", "New", EVERY),
    ("claim", "New", "Active", SCANNING),
    ("claim", "New", "Connecting", CONNECTING),
    ("claim", "New", "Processing", SYSTEM),
    ("collected", "Active", "Scanned", SCANNING),
    ("collected", "Connecting", "Connected", CONNECTING),
    ("hand_over", "Scanned", "Processing, queued", SCANNING),
    ("hand_over", "Connected", "Processing, queued", CONNECTING),
    ("process", "Processing, queued", "Processing", EVERY),
    ("finish", "Processing", "Processed", EVERY),
    ("stop", "New", "Stopped", EVERY),
    ("stop", "Scanned", "Stopped", SCANNING),
    ("stop", "Connected", "Stopped", CONNECTING),
    ("stop", "Processing, queued", "Stopped", EVERY),
    ("request_stop", "Active", "Stopping", SCANNING),
    ("request_stop", "Connecting", "Stopping", CONNECTING),
    ("request_stop", "Processing", "Stopping", EVERY),
    ("confirm_stop", "Stopping", "Stopped", EVERY),
    ("fail", "New", "Canceled", EVERY),
    ("fail", "Active", "Canceled", SCANNING),
    ("fail", "Connecting", "Canceled", CONNECTING),
    ("fail", "Processing", "Canceled", EVERY),
    ("fail", "Stopping", "Canceled", EVERY),
    ("expire", "New", "Canceled", EVERY),
    ("suspended", "Active", "New", SCANNING),
    ("suspended", "Connecting", "New", CONNECTING),
    ("rescue", "Active", "New", SCANNING),
    ("rescue", "Connecting", "New", CONNECTING),
    ("rescue", "Processing", "Processing, queued", EVERY),
    ("restore", "Stopped", "New", EVERY),
    ("edit", "New", "New", EVERY),
    ("ask_to_suspend", "Active", "Active", SCANNING),
    ("ask_to_suspend", "Connecting", "Connecting", CONNECTING),
    ("suspend_lapsed", "Active", "Active", SCANNING),
    ("suspend_lapsed", "Connecting", "Connecting", CONNECTING),
    ("suspend_lapsed", "Stopping", "Stopping", SCANNING | CONNECTING),
    ("hide", "Processed", "Processed", EVERY),
    ("hide", "Stopped", "Stopped", EVERY),
    ("hide", "Canceled", "Canceled", EVERY),
    ("unhide", "Processed", "Processed", EVERY),
    ("unhide", "Stopped", "Stopped", EVERY),
    ("unhide", "Canceled", "Canceled", EVERY),
)
EXPECTED = {(event, start, kind): end for event, start, end, kinds in LEGAL for kind in kinds}

IN_TAB = {
    "Scanned": "Processing", "Connected": "Processing", "Processing, queued": "Processing", "Processing": "Processing",
    "Active": "Active", "Connecting": "Active", "Stopping": "Active", "Processed": "Completed", "Stopped": "Failed",
    "Canceled": "Failed",
}  # fmt: skip


@pytest.mark.parametrize("event", sorted({row[0] for row in LEGAL} | set(EVENTS)))
@pytest.mark.parametrize("start", [None, *Status])
def test_an_event_leads_where_the_table_says_and_nowhere_else(event: str, start: Status | None) -> None:
    for kind in Kind:
        end = EXPECTED.get((event, start, kind.value))
        if end is None:
            with pytest.raises(IllegalTransition):
                successor(event, start, kind)
        else:
            assert successor(event, start, kind) == end


def test_the_unrolled_table_has_no_edge_of_its_own() -> None:
    assert {(event, start, kind.value): end.value for (event, start, kind), end in NEXT.items()} == EXPECTED


def test_no_way_leads_from_stopping_to_processed() -> None:
    ends, reached = {Status.STOPPING}, set[Status]()
    while ends:
        here = ends.pop()
        reached.add(here)
        ends |= {end for (event, start, _), end in NEXT.items() if start is here and event != "restore"} - reached
    assert reached == {Status.STOPPING, Status.STOPPED, Status.CANCELED}


def test_what_has_ended_moves_no_more_but_by_undoing_a_deletion() -> None:
    leaving = {(event, start) for (event, start, _), end in NEXT.items() if start in TERMINAL and end is not start}
    assert leaving == {("restore", Status.STOPPED)}


def test_every_edge_names_who_fires_it() -> None:
    assert all(edge.fired_by for edge in TRANSITIONS)


@pytest.mark.parametrize("status", Status)
def test_every_task_is_in_exactly_one_tab(status: Status) -> None:
    if status is Status.NEW:
        assert (tab(status, due=True), tab(status, due=False)) == (Tab.ACTIVE, Tab.SCHEDULED)
    else:
        assert tab(status, due=True) == tab(status, due=False) == IN_TAB[status.value]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("due", [True, False])
def test_only_what_waits_is_shown_as_paused(status: Status, due: bool) -> None:
    waits = (status is Status.NEW and due) or status is Status.PROCESSING_QUEUED
    assert is_waiting(status, due) == waits
    assert shown_status(status, due, held=True) == ("Paused" if waits else status.value)
    assert shown_status(status, due, held=False) == status.value
    assert (queue_word(status, due, held=True) == "Paused") == waits


def test_the_queue_s_words_are_seed_1_s() -> None:
    words = {status.value: queue_word(status, due=True, held=False) for status in Status}
    assert words == {
        "New": "Queued", "Active": "Running", "Scanned": "Running", "Connecting": "Running", "Connected": "Running",
        "Processing, queued": "Running", "Processing": "Running", "Processed": "Finished", "Stopping": "Stopping",
        "Stopped": "Cancelled", "Canceled": "Failed",
    }  # fmt: skip
    assert queue_word(Status.NEW, due=False, held=True) == "Scheduled"
    assert queue_word(Status.PROCESSED, True, False, "finished_with_errors", 3) == "Finished with errors (3)"
    assert queue_words(["New", "New", "Active"], [None, 7, 7]) == ["Queued", "Paused", "Running"]


def test_a_task_is_named_by_its_type_and_number() -> None:
    assert [task_label(kind.value, 7) for kind in Kind] == [
        "Scan #7", "Audit #7", "Connector #7", "Import #7", "Report #7", "Query #7", "Outlier calculation #7",
    ]  # fmt: skip


def test_the_chart_draws_every_edge_that_changes_a_status() -> None:
    arrows = {line.split(" : ")[0].strip() for line in mermaid().splitlines() if "-->" in line and "[*]" not in line}
    by_value = {status.value: status.name for status in Status}
    assert arrows == {
        f"{by_value[start]} --> {by_value[end]}" for _, start, end, _ in LEGAL if start is not None and start != end
    }
