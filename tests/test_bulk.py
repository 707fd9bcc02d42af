"""Actions over many tasks, from the preview to the undo, on the real core and store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from engine import bulk, history, verify
from engine import messages as m
from engine.bulk import Verb, carry_out, parts, preview, refusal
from engine.clock import SECOND, Reading
from engine.errors import NotFound, Refused
from engine.ledger import TaskRow
from engine.lifecycle import KIND, STATUS, Kind, own_name
from engine.roles import EVERYTHING, Grant, Grants, Right, Role, may
from engine.runtime import Engine
from engine.settings import Settings
from engine.task import again
from engine.undo import undo
from tests.driving import Drive, lived
from tests.stores import laid

OSLO_ADMIN = [Grant(Role.SITE_ADMIN, "acme", "oslo")]


class Site:
    """A store under a core, whose tasks wait (every service drains) until a test says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.drive = Drive(folder)
        self.drive.found()
        self.drive.do(*(m.SetService(*key, "draining") for key in self.drive.core.queues.services))

    def send(self, actor: str = "ann", grants: Grants = EVERYTHING) -> bulk.Do:
        """Give what carries an action out and makes it durable, a microsecond later."""

        def do(action: m.Action, request: str) -> m.Outcome:
            drive = self.drive
            drive.now += 1
            command = m.Command(request, actor, action, grants)
            step = drive.core.step(Reading(drive.now, drive.now - drive._born), [command])
            drive.now = step.now
            drive._take(step)
            drive.commit()
            ((_, outcome),) = step.outcomes
            return outcome

        return do

    def submit(
        self, n: int, owner: str = "ann", site: str = "berlin", kind: Kind = Kind.AUDIT, **facts: object
    ) -> list[int]:
        new = m.NewTask("acme", site, kind, own_name(kind, "task"), owner, owner, **facts)
        (outcome,) = self.drive.do(m.Submit([new] * n))
        return [int(task) for task in outcome.changed]

    def start(self, kinds: str = "audit") -> None:
        """Let what waits for a kind of service start, as far as there are slots."""
        names = [key for key in self.drive.core.queues.services if kinds in key[1]]
        self.drive.do(*(m.SetService(*key, "online", 5) for key in names))

    def finish(self, tasks: Sequence[int]) -> None:
        """Stop tasks that wait, which ends them."""
        self.drive.do(m.Stop(tasks))

    def frame(self) -> pl.DataFrame:
        self.drive.publish()
        return self.drive.store.read("select * from task order by task_id")

    def rows(self, ids: Sequence[int]) -> Mapping[int, TaskRow]:
        return history.finished(self.drive.store, ids)

    def waits(self, rows: Mapping[int, TaskRow]) -> Mapping[int, int]:
        return history.longest_waits(self.drive.store, rows)

    def task(self, task_id: int) -> TaskRow:
        """Give a task as it is, live or not."""
        live = self.drive.core.state.tasks.get(task_id)
        return live.row() if live is not None else self.rows([task_id])[task_id]

    def do(self, verb: Verb, request: str, tasks: Sequence[int] | None = None, **more: object) -> bulk.Done:
        frame = self.frame()
        frame = frame if tasks is None else frame.filter(pl.col("task_id").is_in(tasks))
        return carry_out(parts(preview(verb, frame), self.rows, **more), request, self.send())

    def undo(self, request: str, by: str, actor: str = "ann", grants: Grants = EVERYTHING) -> bulk.Done:
        found = undo(self.drive.store, request, lambda *place: may(grants, Right.OPERATE, *place))
        return carry_out(found.parts, by, self.send(actor, grants))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "store")
    yield made
    made.drive.commit()
    made.drive.publish()
    assert verify.check(made.drive.store) == []
    made.drive.store.close()


# --- previews


def test_a_preview_counts_tasks_users_sites_and_what_runs_and_says_why_the_rest_is_left(site: Site) -> None:
    site.submit(7, "ann")
    gone = site.submit(2, "cid")
    site.start()
    site.submit(3, "bob", "oslo", Kind.SCAN)
    site.finish(gone)
    found = preview(Verb.STOP, site.frame())
    assert (found.count, found.running, found.ended) == (10, 5, 0)
    assert found.users == [("ann", 7), ("bob", 3)]
    assert found.sites == [("acme", "berlin", 7), ("acme", "oslo", 3)]
    assert found.left == [("not found, or already finished", 2)]
    deleting = preview(Verb.DELETE, site.frame())
    assert (deleting.count, deleting.running, deleting.ended) == (7, 0, 2)
    assert deleting.left == [("stop it first", 5)]


def test_a_preview_leaves_out_where_one_may_not_change_tasks(site: Site) -> None:
    site.submit(4), site.submit(3, site="oslo")
    found = preview(Verb.STOP, site.frame(), lambda *place: may(OSLO_ADMIN, Right.OPERATE, *place))
    assert (found.count, found.sites, found.left) == (3, [("acme", "oslo", 3)], [(bulk.NO_RIGHT, 4)])


def test_a_preview_of_nothing_is_of_nothing(site: Site) -> None:
    site.submit(1)
    for verb in Verb:
        found = preview(verb, site.frame().clear())
        assert (found.count, found.users, found.sites, found.left) == (0, [], [], [])
        assert list(parts(found, site.rows)) == []


def test_what_comes_after_the_preview_is_not_acted_on(site: Site) -> None:
    seen = site.submit(3)
    frozen = preview(Verb.STOP, site.frame())
    later = site.submit(2)
    done = carry_out(parts(frozen, site.rows), "r", site.send())
    assert done.changed == seen
    assert [site.task(task).status for task in later] == ["New", "New"]


def test_what_has_run_since_it_was_seen_waiting_is_not_hidden_by_its_deletion(site: Site) -> None:
    (task,) = site.submit(1)
    frozen = preview(Verb.DELETE, site.frame())
    site.finish([task])
    done = carry_out(parts(frozen, site.rows), "r", site.send())
    assert done.skipped == [(task, "not found, or already deleted")]
    assert not site.task(task).hidden


def test_a_preview_and_the_core_agree_on_every_task_and_verb(tmp_path: Path) -> None:
    drive = lived(tmp_path / "store", tasks=500)
    site = Site.__new__(Site)
    site.drive = drive
    statuses: set[tuple[str, bool]] = set()
    for verb in (Verb.RERUN, Verb.EDIT, Verb.DELETE, Verb.RESTORE, Verb.STOP):
        frame = site.frame()
        statuses |= set(frame.select("status", "hidden").rows())
        said = {
            task_id: refusal(verb, STATUS[status], KIND[kind], hidden)
            for task_id, status, kind, hidden in frame.select("task_id", "status", "kind", "hidden").rows()
        }
        everything = preview(verb, frame)
        assert set(everything.ids) == {task_id for task_id, why in said.items() if why is None}
        assert dict(everything.left) == {
            why: sum(other == why for other in said.values()) for why in said.values() if why is not None
        }
        versions = dict(frame.select("task_id", "version").rows())
        asked = replace(everything, versions=versions, _ended=frozenset(said))
        done = carry_out(parts(asked, site.rows, changes={"priority": 3}), f"all {verb}", site.send())
        told = dict(done.skipped)
        for task_id, why in said.items():
            if why is not None:
                assert told[task_id] == why, (verb, task_id)
        only_the_core_knows = {"too late to undo", "another run of its schedule waits",
                               "another refresh of its widget waits"}  # fmt: skip
        assert {why for task_id, why in told.items() if said[int(task_id)] is None} <= only_the_core_knows
        if verb is not Verb.RERUN:
            assert set(done.changed) == set(everything.ids) - told.keys()
        else:
            assert len(done.changed) == everything.count
    assert len(statuses) >= 8, statuses
    drive.publish()
    assert verify.check(drive.store) == []
    drive.store.close()


# --- carrying out


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    one = Engine(laid(tmp_path / "store"), Settings()).start()
    founding: tuple[m.Action, ...] = (
        m.AddBusiness("Acme"), m.AddSite("Acme", "Berlin"), m.AddService("Acme", "Berlin", "audit-1", "audit_service",
                                                                          2_500)
    )  # fmt: skip
    for n, action in enumerate(founding):
        assert one.do(m.Command(f"founding-{n}", "ann", action)).result(30).refused is None
    try:
        yield one
    finally:
        one.close()


def test_five_thousand_stops_are_one_commit_of_one_request_that_tells_of_each_task(engine: Engine) -> None:
    def do(action: m.Action, request: str) -> m.Outcome:
        return engine.do(m.Command(request, "ann", action)).result(60)

    tasks = [m.NewTask("Acme", "Berlin", Kind.AUDIT, "Audit", f"user-{i % 50}", "ann") for i in range(5_001)]
    ids = [int(task) for task in do(m.Submit(tasks), "submit").changed]
    do(m.Stop(ids[:1]), "one before")
    frame = pl.DataFrame(
        [(task, "ann", "Acme", "Berlin", "audit", "New", 1, False) for task in ids], schema=list(bulk.COLUMNS),
        orient="row",
    )  # fmt: skip
    done = carry_out(parts(preview(Verb.STOP, frame), lambda _: {}, reason="wrong targets"), "all of them", do)
    assert done.changed == ids[1:]
    assert done.skipped == [(ids[0], "already stopping")]
    assert (done.refused, done.left, done.requests) == (None, [], ["all of them"])
    events = engine.store.rows("task_event", "request_id = 'all of them'")
    audits = engine.store.rows("audit", "request_id = 'all of them'")
    assert {event.event: 0 for event in events} == {"request_stop": 0, "stop": 0}
    assert [event.task_id for event in events] == ids[1:]
    assert [int(row.object_id) for row in audits] == ids
    assert {row.reason for row in audits} == {"wrong targets"}
    batches = engine.store.read("select distinct batch from task_event where request_id = 'all of them'")
    assert batches.height == 1
    assert engine.store.read("select batch from audit where request_id = 'all of them' group by 1").equals(batches)


def test_more_than_one_command_takes_go_in_parts_that_tell_how_far_they_are_and_are_undone_as_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 4)
    ids = site.submit(10)
    told: list[int] = []
    frozen = preview(Verb.DELETE, site.frame())
    done = carry_out(parts(frozen, site.rows), "big", site.send(), told.append)
    assert (done.changed, done.requests, told) == (ids, ["big", "big/2", "big/3"], [4, 8, 10])
    site.send("bob")(m.Delete(site.submit(1)), "big/4")
    assert undo(site.drive.store, "big").count == 10, "another's request that only bears a like name is his own"
    assert site.undo("big", "back").changed == ids
    assert {site.task(task).status for task in ids} == {"New"}


def test_what_is_refused_as_a_whole_ends_it_and_names_what_was_not_tried(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    ids = site.submit(6)
    send, answers = site.send(), iter([None, "The engine did not answer in time", None])

    def do(action: m.Action, request: str) -> m.Outcome:
        refused = next(answers)
        return send(action, request) if refused is None else m.Outcome(refused=refused)

    frozen = preview(Verb.STOP, site.frame())
    done = carry_out(parts(frozen, site.rows), "r", do)
    assert (done.changed, done.left, done.refused) == (ids[:2], ids[2:], "The engine did not answer in time")
    done = carry_out(parts(frozen, site.rows), "r", send)
    assert (done.changed, done.skipped) == (ids, []), "sent once more it goes on, and the first part keeps its outcome"
    assert {row.outcome for row in site.drive.store.rows("audit", "action = 'stop'")} == {"changed"}


# --- editing


def test_many_tasks_are_edited_each_if_it_is_still_as_it_was_seen(site: Site) -> None:
    one, two, three, four = site.submit(4)
    frozen = preview(Verb.EDIT, site.frame())
    site.drive.do(m.Edit(two, 1, {"priority": 1}), m.Stop([three]))
    done = carry_out(parts(frozen, site.rows, changes={"priority": 8}, reason="urgent"), "sooner", site.send())
    assert done.changed == [one, four]
    assert done.skipped == [
        (two, "Somebody changed this task meanwhile (version 2, yours 1)"),
        (three, "The task is not found, or already finished"),
    ]  # fmt: skip
    assert done.whys == dict.fromkeys([why for _, why in done.skipped], 1)
    assert [site.task(task).priority for task in (one, two, four)] == [8, 1, 8]
    audits = site.drive.store.rows("audit", "request_id = 'sooner'")
    assert [(int(row.object_id), row.before, row.after, row.reason) for row in audits if row.outcome == "changed"] == [
        (task, {"priority": 5, "version": 1}, {"priority": 8, "version": 2}, "urgent") for task in (one, four)
    ]


def test_what_can_not_be_set_is_told_of_each_task(site: Site) -> None:
    ids = site.submit(2)
    done = site.do(Verb.EDIT, "r", changes={"owner": "bob"})
    assert [task for task, _ in done.skipped] == ids
    assert "no editable field “owner”" in done.skipped[0][1]


# --- undoing


def test_deleting_and_hiding_are_undone_together(site: Site) -> None:
    new, ended = site.submit(3), site.submit(2)
    site.finish(ended)
    before = [site.task(task) for task in (*new, *ended)]
    assert sorted(site.do(Verb.DELETE, "away").changed) == [*new, *ended]
    assert all(site.task(task).hidden for task in (*new, *ended))
    found = undo(site.drive.store, "away")
    assert (found.verb, found.actor, found.count, found.left) == ("delete", "ann", 5, [])
    assert sorted(site.undo("away", "back").changed) == [*new, *ended]
    after = [site.task(task) for task in (*new, *ended)]
    assert [(row.status, row.hidden, row.queued_at) for row in after] == [
        (row.status, False, row.queued_at) for row in before
    ]


def test_what_somebody_changed_after_a_deletion_stays_as_he_left_it(site: Site) -> None:
    ended = site.submit(3)
    site.finish(ended)
    site.do(Verb.DELETE, "away")
    send = site.send("bob")
    send(m.Restore(ended[:1], site.rows(ended)), "bob shows it")
    send(m.Delete(ended[:1], "mine", site.rows(ended)), "and hides it for good")
    found = undo(site.drive.store, "away")
    assert found.left == [(ended[0], "somebody changed it since")]
    assert site.undo("away", "back").changed == ended[1:]
    assert site.task(ended[0]).hidden


def test_of_two_who_hide_the_same_at_once_one_does_and_likewise_of_two_who_show_it(site: Site) -> None:
    (task,) = site.submit(1)
    site.finish([task])
    for wanted, said in ((m.Delete, "not found, or already deleted"), (m.Restore, "not deleted, or not found")):
        action = wanted([task], finished=site.rows([task]))  # both have looked before either acts
        first, other = site.drive.tick(SECOND, action, action)
        site.drive.commit()
        (late,) = site.drive.tick(SECOND, action)
        assert (first.changed, other.skipped, late.skipped) == ([task], [(task, said)], [(task, said)])
        site.drive.commit()
    assert (site.task(task).version, site.task(task).hidden) == (3, False)


def test_a_deletion_is_undone_within_its_time_a_hiding_also_later(site: Site) -> None:
    (new,), (ended,) = site.submit(1), site.submit(1)
    site.finish([ended])
    site.do(Verb.DELETE, "away")
    site.drive.now += site.drive.policy.undo
    done = site.undo("away", "back")
    assert (done.changed, done.skipped) == ([ended], [(new, "too late to undo")])


def test_an_edit_is_taken_back_to_what_each_task_had_and_that_can_be_taken_back_too(site: Site) -> None:
    low, high = *site.submit(1, priority=2), *site.submit(1, priority=7)
    site.do(Verb.EDIT, "all nine", changes={"priority": 9, "name": "urgent"})
    assert site.undo("all nine", "back").changed == [low, high]
    assert [(site.task(t).priority, site.task(t).name) for t in (low, high)] == [(2, "task"), (7, "task")]
    assert site.undo("back", "and again").changed == [low, high]
    assert [site.task(t).priority for t in (low, high)] == [9, 9]


def test_what_somebody_edited_after_an_edit_stays_as_he_left_it(site: Site) -> None:
    one, two = site.submit(2)
    site.do(Verb.EDIT, "all nine", changes={"priority": 9})
    site.drive.do(m.Edit(one, 2, {"priority": 4}), actor="bob")
    done = site.undo("all nine", "back")
    assert (done.changed, [task for task, _ in done.skipped]) == ([two], [one])
    assert [site.task(t).priority for t in (one, two)] == [4, 5]


def test_only_what_one_may_change_oneself_is_undone(site: Site) -> None:
    berlin, oslo = site.submit(2), site.submit(2, site="oslo")
    site.do(Verb.EDIT, "all nine", changes={"priority": 9})
    assert site.undo("all nine", "back", "oz", OSLO_ADMIN).changed == oslo
    with pytest.raises(NotFound, match="no task that you may change"):
        site.undo("all nine", "back", "user", [Grant(Role.SITE_USER, "acme", "berlin")])
    every = undo(site.drive.store, "all nine").parts
    done = carry_out(every, "forged", site.send("oz", OSLO_ADMIN))
    assert [task for task, _ in done.skipped] == [*berlin, *oslo], "the core decides it once more"
    assert [site.task(task).priority for task in berlin] == [9, 9]


def test_what_can_not_be_undone_says_so(site: Site) -> None:
    site.submit(1)
    site.do(Verb.STOP, "halt")
    with pytest.raises(Refused, match="“stop” can't be undone; deleting, hiding and editing can"):
        undo(site.drive.store, "halt")
    for absent in ("never", "", "ha", "%", "halt/"):
        with pytest.raises(NotFound):
            undo(site.drive.store, absent)


def test_an_edit_of_before_edits_told_their_version_is_left_as_it_is(site: Site) -> None:
    (task,) = site.submit(1)
    site.do(Verb.EDIT, "old", changes={"priority": 9})
    with site.drive.store.transaction() as cursor:
        kept = cursor.execute("select after::varchar from audit where request_id = 'old'").fetchall()[0][0]
        cursor.execute("update audit set after = '{\"priority\":9}' where request_id = 'old'").fetchall()
    found = undo(site.drive.store, "old")
    assert (found.count, [left for left, _ in found.left]) == (0, [task])
    with site.drive.store.transaction() as cursor:
        cursor.execute("update audit set after = ? where request_id = 'old'", [kept]).fetchall()


# --- running again


def test_a_task_that_has_ended_and_one_that_lives_are_run_again_with_their_facts(site: Site) -> None:
    facts = {"target": "db-1", "target_kind": "device", "scope": "servers", "priority": 8,
             "requested_service": "audit-berlin"}  # fmt: skip
    ended, alive = (site.submit(1, "bob", longest_wait_s=wait, **facts) for wait in (900, 600))
    site.finish(ended)
    asked = preview(Verb.RERUN, site.frame())
    done = carry_out(parts(asked, site.rows, reason="once more", longest_waits=site.waits), "r", site.send("cid"))
    assert len(done.changed) == 2
    for first, second in zip((*ended, *alive), map(int, done.changed), strict=True):
        before, run = site.task(first), site.task(second)
        same = ("kind", "business", "site", "name", "target", "target_kind", "scope", "priority", "requested_service")
        assert [getattr(run, name) for name in same] == [getattr(before, name) for name in same]
        assert (run.owner, run.initiator, run.created_by, run.rerun_of) == ("cid", "cid", "cid", first)
        assert (run.status, run.version, run.schedule_id) == ("New", 1, None)
    assert [site.drive.core.state.tasks[int(run)].longest_wait_s for run in done.changed] == [900, 600]
    audits = site.drive.store.rows("audit", "request_id = 'r'")
    assert [(row.action, row.object_id, row.after, row.reason) for row in audits] == [
        ("rerun", str(new), {"rerun_of": old}, "once more")
        for new, old in zip(done.changed, (*ended, *alive), strict=True)
    ]


def test_what_can_not_be_run_again_is_told_with_why_and_the_others_run(site: Site) -> None:
    (audit,), (report,) = site.submit(1), site.submit(1, "System", kind=Kind.REPORT)
    site.drive.do(m.RefreshWidget("acme", "berlin", "Assets"), m.AddSite("acme", "old", archive=True))
    (query,) = (task.id for task in site.drive.core.state.tasks.values() if task.kind is Kind.QUERY)
    archived = {1 << 45: site.task(audit)._replace(task_id=1 << 45, site="old")}
    gone = {2 << 45: site.task(audit)._replace(task_id=2 << 45, requested_service="audit-paris")}
    outcome = site.send()(m.Rerun([audit, report, query, 77, *archived, *gone], None, archived | gone), "r")
    assert len(outcome.changed) == 2
    assert outcome.skipped == [
        (query, "a widget's refresh is asked for on its dashboard"),
        (77, "not found"),
        (1 << 45, "old is an archive of imported history; nothing can run there"),
        (2 << 45, "There is no service “audit-paris”; did you mean “audit-berlin”?"),
    ]
    assert site.task(int(outcome.changed[1])).owner == "System", "what is the system's stays the system's"
    again = m.Rerun([audit, report, query, 77, *archived, *gone])
    assert site.send()(again, "r") == outcome, "the same request makes no further runs"


def test_a_row_made_into_a_task_names_who_asks_and_what_it_repeats(site: Site) -> None:
    row = site.task(*site.submit(1, "bob", due_at=site.drive.now + 3_600 * SECOND, priority=3))
    new = again(row, "cid")
    assert (new.owner, new.initiator, new.priority, new.due_at, new.rerun_of) == ("cid", "cid", 3, None, row.task_id)


def test_rows_of_tasks_that_have_ended_are_read_by_their_ids_in_their_newest_version(site: Site) -> None:
    ended, alive = site.submit(3), site.submit(1)
    site.finish(ended)
    site.do(Verb.DELETE, "away", ended[:1])
    site.undo("away", "back")
    found = history.finished(site.drive.store, [*ended, *alive, 77])
    assert found == {task: site.drive.finished[task] for task in ended}
    assert found[ended[0]].version == 3
    assert history.finished(site.drive.store, []) == {}
