"""How hosts were used, worked out by hand beside a small fleet's day; what waits because of one; who is heard of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from random import Random

import pytest

from engine import hosts
from engine import messages as m
from engine.clock import DAY, HOUR, MINUTE, SECOND
from engine.hosts import Day
from engine.lifecycle import Kind
from engine.rollups import QUARTER
from engine.snapshot import Snapshot
from tests.desk import CLUSTER, EXPLORER, START, Desk
from tests.health_fixtures import NOON, Life

SLIGHTLY = 0.001  #: seconds: each step takes a microsecond


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path / "store")
    life.length = lambda order: 600.0 if order.stage == "collect" else 60.0
    yield life
    life.store.close()


def seen(life: Life) -> Snapshot:
    """Show what stands, with the batch that it stands for."""
    return replace(life.snapshot(), batch=life.store.batch)


def until(life: Life, minutes: float) -> None:
    """Live until so many minutes past noon."""
    life.live((NOON + minutes * MINUTE - life.now) / SECOND)


def quarters(life: Life, name: str) -> list[tuple[int, float, float, int]]:
    """Tell each quarter since noon: its minute, slot-seconds offered and used, stages done."""
    snapshot = seen(life)
    frame = hosts.use(life.store, snapshot, life.now, "Acme").filter(name=name)
    return [
        ((row["at"] - NOON) // MINUTE, row["offered_us"] / SECOND, row["used_us"] / SECOND, row["done"])
        for row in frame.iter_rows(named=True)
        if row["at"] >= NOON
    ]


def day(life: Life, name: str) -> Day:
    return hosts.days(hosts.use(life.store, seen(life), life.now, "Acme"))[name]


# --- a day's use


def test_a_slot_is_used_from_claim_to_handing_over_and_the_processor_from_then_on(life: Life) -> None:
    until(life, 10)
    life.submit()  # 12:10 to 12:20 on audit-1, to 12:21 on the processor
    until(life, 30)
    assert quarters(life, "audit-1") == [
        (0, pytest.approx(4 * 900, abs=SLIGHTLY), pytest.approx(300, abs=SLIGHTLY), 0),
        (15, pytest.approx(4 * 900, abs=SLIGHTLY), pytest.approx(300, abs=SLIGHTLY), 1),
    ]
    assert quarters(life, "processor-1")[1] == (15, 1800.0, pytest.approx(60, abs=SLIGHTLY), 1)
    found = day(life, "audit-1")
    assert found.share == pytest.approx(600 / (4 * 1800))
    assert found.an_hour == pytest.approx(2)  # one in half an hour: it has been there for no longer
    assert found.use[-2:] == pytest.approx([1 / 12, 1 / 12], abs=1e-5)
    assert set(found.use[:-2]) == {None}
    assert len(found.at) == 96


def test_what_still_runs_counts_up_to_now_and_so_does_what_began_before_the_day(life: Life) -> None:
    life.length = lambda order: None
    life.submit()
    until(life, 26 * 60 + 5)
    found = hosts.use(life.store, seen(life), life.now, "Acme").filter(name="audit-1")
    assert found["used_us"].to_list() == [QUARTER] * 95 + [5 * MINUTE]
    assert found["at"][0] == NOON + 2 * HOUR + QUARTER
    assert day(life, "audit-1").share == 0.25


def test_a_lost_host_has_used_its_slot_until_its_task_was_taken_back_and_has_done_nothing(life: Life) -> None:
    life.silent.add("audit-1")
    life.live(1)
    life.submit()
    until(life, 12)
    life.snapshot()
    (lost,) = [row for row in hosts.changes(life.store, "Acme", "audit-1").to_dicts() if row["event"] == "lost"]
    passed = lost["at"].replace(tzinfo=UTC).timestamp() - NOON / SECOND
    assert quarters(life, "audit-1") == [
        (0, pytest.approx(4 * passed, abs=1), pytest.approx(passed - 1, abs=SLIGHTLY), 0)
    ]
    assert quarters(life, "audit-2")[0][3] == 1


def test_a_host_offers_nothing_while_it_is_offline_and_something_while_it_drains(life: Life) -> None:
    until(life, 5)
    life.do(m.SetService("Acme", "audit-1", "offline"), m.SetService("Acme", "audit-2", "draining"))
    until(life, 20)
    life.do(m.SetService("Acme", "audit-1", "online"))
    until(life, 45)
    assert [offered for _, offered, _, _ in quarters(life, "audit-1")] == pytest.approx([1200, 2400, 3600], abs=0.01)
    assert [offered for _, offered, _, _ in quarters(life, "audit-2")] == pytest.approx([3600] * 3, abs=0.01)
    until(life, 26 * 60)
    assert [offered for _, offered, _, _ in quarters(life, "audit-1")] == [3600.0] * 96


def test_slots_count_from_when_they_were_changed_and_a_host_can_have_used_more_than_it_offered(life: Life) -> None:
    life.length = lambda order: None
    life.submit(9)  # three on each host
    until(life, 5)
    life.do(m.SetService("Acme", "audit-1", slots=1))
    until(life, 30)
    first, second = quarters(life, "audit-1")
    assert first[1] == pytest.approx(4 * 300 + 1 * 600, abs=SLIGHTLY)
    assert second[1:3] == (900.0, 2700.0)
    assert day(life, "audit-1").use[-1] == pytest.approx(3)


def test_time_while_the_console_was_down_counts_neither_as_offered_nor_as_used(life: Life) -> None:
    life.length = lambda order: None
    life.submit()
    until(life, 10)
    life.restart(10 * 60)  # what ran is begun anew at 12:20
    until(life, 30)
    assert [row[1:3] for row in quarters(life, "audit-1")] == [
        (pytest.approx(4 * 600, abs=0.01), pytest.approx(600, abs=0.01)),
        (pytest.approx(4 * 600, abs=0.01), pytest.approx(600, abs=0.01)),
    ]


def test_what_the_engine_gave_up_is_not_what_the_host_has_done(life: Life) -> None:
    life.length = lambda order: None
    (task,) = life.submit()
    life.live(10)
    life.do(m.Stop([task]))
    life.live(120)
    (row,) = quarters(life, "audit-1")
    assert row[3] == 0
    assert row[2] == pytest.approx(70, abs=1.5)  # its slot was taken until the stop was given up


def test_several_hosts_together_have_used_what_all_of_them_did_of_what_all_offered(life: Life) -> None:
    until(life, 10)
    life.submit(2)
    until(life, 30)
    used = hosts.use(life.store, seen(life), life.now, "Acme")
    both = hosts.together(used, ["audit-1", "audit-2"])
    assert both.share == pytest.approx(2 * 600 / (8 * 1800))
    assert both.an_hour == pytest.approx(4)
    assert hosts.together(used, []) == Day([], [], [], None, None)


def test_a_business_without_hosts_has_used_nothing(life: Life) -> None:
    life.do(m.AddBusiness("Globex"))
    assert hosts.use(life.store, seen(life), life.now, "Globex").height == 0


@pytest.mark.parametrize("seed", range(3))
def test_use_is_what_adding_up_every_claim_of_the_ledger_gives(life: Life, seed: int) -> None:
    random = Random(seed)
    life.length = lambda order: random.choice([5.0, 90.0, 700.0, 2500.0, None])
    for _ in range(60):
        if random.random() < 0.3:
            name = random.choice(["audit-1", "audit-2", "audit-3", "explorer-1"])
            life.do(m.SetService("Acme", name, random.choice(["online", "draining", "offline"])))
        if random.random() < 0.2:
            life.silent ^= {random.choice(["audit-1", "explorer-1", "processor-1"])}
        tasks = life.submit(random.randint(0, 3), random.choice([Kind.AUDIT, Kind.SCAN]))
        if tasks and random.random() < 0.3:
            life.do(m.Stop([tasks[0]]))
        life.live(random.randint(10, 1_200))
    snapshot = seen(life)
    found = hosts.use(life.store, snapshot, life.now, "Acme")
    spells = life.store.read(
        """
        select service, lease, epoch_us(min(occurred_at) filter (dr = 1)) as began,
               epoch_us(max(occurred_at) filter (dr = -1)) as ended
        from task_event where dr <> 0 group by service, lease
        """
    ).rows()
    for name, at, on_us, used_us in found.select("name", "at", "on_us", "used_us").iter_rows():
        if on_us in (0, min(QUARTER, life.now - at)):  # in service, or out of it, throughout
            whole = sum(
                max(0, min(at + QUARTER, life.now, ended or life.now) - max(at, began))
                for host, _, began, ended in spells
                if host == name
            )
            assert used_us == (whole if on_us else 0), (name, at)
    assert found["used_us"].sum() > 0


# --- what waits because of a host


def kept_waiting(life: Life, name: str) -> dict[str, int]:
    snapshot = seen(life)
    return hosts.kept_waiting(snapshot, next(look for look in snapshot.services if look.name == name))[0]


def test_tasks_wait_because_of_a_host_that_takes_nothing_in_their_lane(life: Life) -> None:
    life.do(*(m.SetService("Acme", f"audit-{n}", "offline") for n in (1, 2, 3)))
    life.live(1)
    before = life.now
    life.submit(5)
    assert kept_waiting(life, "audit-1") == {"audit": 5}
    assert kept_waiting(life, "explorer-1") == {}  # it is online
    snapshot = seen(life)
    (host,) = [h for h in hosts.standing(snapshot, {}, {}, "Acme", "Berlin") if h.look.name == "audit-2"]
    assert host.oldest_at is not None
    assert before <= host.oldest_at <= life.now
    life.do(m.SetService("Acme", "audit-2", "online"))  # four slots take four
    assert kept_waiting(life, "audit-1") == {"audit": 1}
    assert kept_waiting(life, "audit-2") == {}


def test_who_asks_for_a_host_waits_because_of_this_one_alone(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-1", "draining"), m.SetService("Acme", "audit-2", "offline"))
    new = m.NewTask("Acme", "Berlin", Kind.AUDIT, "audit", "ann", "ann", requested_service="audit-1")
    life.do(m.Submit([new, new]))
    assert kept_waiting(life, "audit-1") == {"audit": 2}
    assert kept_waiting(life, "audit-2") == {}


def test_who_is_held_does_not_wait_because_of_a_host(life: Life) -> None:
    life.do(m.SetService("Acme", "explorer-1", "offline"))
    life.submit(2, Kind.SCAN)
    life.submit(1, Kind.CONNECTOR)
    life.do(m.PlaceHolds("Acme", [m.HoldTarget("kind", "scan")], "pause"))
    assert kept_waiting(life, "explorer-1") == {"connector": 1}


def test_everything_waits_for_processing_because_of_the_only_processor(life: Life) -> None:
    life.do(m.SetService("Acme", "processor-1", "draining"))
    life.submit(2)
    life.do(m.RefreshWidget("Acme", "Berlin", "Open ports"), actor="system")
    until(life, 15)
    assert kept_waiting(life, "processor-1") == {"process": 3}


def test_the_worst_host_is_the_one_that_is_missed_most(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-3", "draining"), m.SetService("Acme", "explorer-1", "offline"))
    own = hosts.standing(seen(life), {}, {}, "Acme", "Berlin")
    assert [host.word for host in own] == ["offline", "online", "online", "draining"]
    worst = hosts.worst(own)
    assert worst is not None
    assert worst.look.name == "explorer-1"
    life.submit(9)
    worst = hosts.worst(hosts.standing(seen(life), {}, {}, "Acme", "Berlin"))
    assert worst is not None
    assert (worst.look.name, worst.waits) == ("audit-3", {"audit": 1})
    assert hosts.worst([]) is None


def test_a_host_is_lost_when_it_falls_silent_and_suspect_when_it_does_not_stop(life: Life) -> None:
    life.length = lambda order: None
    (task,) = life.submit()
    life.live(5)
    life.silent.add("audit-2")
    life.silent.add("audit-1")
    life.do(m.Stop([task]))
    life.live(15)
    life.silent.discard("audit-1")  # it beats, and so is not lost, but does not confirm
    life.live(46)
    words = {look.name: hosts.word(look) for look in seen(life).services}
    assert words["audit-2"] == "lost"
    assert words["audit-1"] == "suspect"
    life.do(m.SetService("Acme", "audit-2", "offline"))
    assert {look.name: hosts.word(look) for look in seen(life).services}["audit-2"] == "offline"
    life.do(m.SetService("Acme", "audit-2", "draining"))
    assert {look.name: hosts.word(look) for look in seen(life).services}["audit-2"] == "lost"


def test_what_befell_a_host_is_told_with_who_did_it_and_why(life: Life) -> None:
    life.do(m.SetService("Acme", "audit-1", "draining", reason="being mended"), actor="ben")
    life.do(m.SetService("Acme", "audit-1", slots=6))
    life.snapshot()
    found = hosts.changes(life.store, "Acme", "audit-1")
    assert found.select("event", "reason", "actor", "slots").rows() == [
        ("slots", None, "ann", 6), ("draining", "being mended", "ben", None), ("service_added", None, "ann", 4),
    ]  # fmt: skip


# --- when a host was last heard of


def heard(desk: Desk, name: str) -> float | None:
    at = desk.core.heard()["acme", name]
    return None if at is None else (at - START) / SECOND


def test_a_host_is_heard_of_when_its_executor_finds_it_alive_or_it_beats_itself() -> None:
    desk = Desk(EXPLORER, CLUSTER)
    assert heard(desk, "explorer") is None
    desk.wait(20)  # the simulated executor looks at its own; the cluster says nothing
    assert heard(desk, "explorer") == 20
    assert heard(desk, "far explorer") is None
    desk.wait(5, m.Heartbeat("acme", ["far explorer"]))
    desk.wait(5)
    assert heard(desk, "far explorer") == 25
    desk.silent.add("explorer")
    desk.wait(20)
    assert heard(desk, "explorer") == 30  # when it was last found alive
    desk.silent.clear()
    desk.wait(1)
    assert heard(desk, "explorer") == 51


def test_a_task_given_to_a_host_is_no_sign_of_life() -> None:
    desk = Desk(CLUSTER)
    desk.submit()
    assert desk.started()
    assert heard(desk, "far explorer") is None


def test_a_day_is_the_last_twenty_four_hours() -> None:
    assert DAY == 96 * QUARTER
