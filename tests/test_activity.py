"""The audit trail: read within what grants reach and not a row beyond, paged so that nothing is left out or told twice,
counted exactly; and its chain checked on demand, beside a console that goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from engine import activity
from engine import messages as m
from engine.activity import ABOUT, Cut, Reach, Trail, difference, parse
from engine.clock import SECOND
from engine.console import STORE, Console
from engine.errors import InvalidFilter, NotAllowed
from engine.filters import Filter
from engine.ledger import Audit, Rows, make_id
from engine.lifecycle import OVERVIEW, Kind, own_name
from engine.masks import A_PROCESSOR, SOMEBODY
from engine.proof import Check, Proof
from engine.recurrence import Rule
from engine.roles import EVERYTHING, Grant, Grants, Role
from engine.sight import Sight
from engine.store import Store
from engine.tables import csv

T = TypeVar("T")
PATIENCE = 60.0

FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-secret", slots = 1 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "audit-1", role = "audit_service", slots = 1 }]
targets = [{ name = "srv", kind = "device", count = 3 }]

[businesses.acme.sites.oslo]
name = "Oslo"
zone = "Europe/Oslo"
services = [{ name = "audit-2", role = "audit_service", slots = 1 }]
targets = [{ name = "box", kind = "device", count = 3 }]

[businesses.globex]
name = "Canary-Globex"
processors = [{ name = "canary-proc", slots = 1 }]
users = [{ name = "canary-hank", role = "business_admin" }]

[businesses.globex.sites.paris]
name = "Canary-Paris"
zone = "Europe/Paris"
services = [{ name = "canary-audit", role = "audit_service", slots = 1 }]
targets = [{ name = "canary-box", kind = "device", count = 3 }]
"""
PLATFORM = EVERYTHING
ADMIN = [Grant(Role.BUSINESS_ADMIN, "Acme")]
SITE_ADMIN = [Grant(Role.SITE_ADMIN, "Acme", "Berlin")]
USER = [Grant(Role.SITE_USER, "Acme", "Berlin")]
STRANGER = [Grant(Role.BUSINESS_ADMIN, "Canary-Globex")]
EVERY = parse("")

BULK = "bulk-" + "7" * 12


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("activity")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    console = Console(folder).start(wait=True)
    soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == 3)
    live(console)
    yield console
    console.close()


def live(console: Console) -> None:
    """Let people of both businesses do something of every sort."""
    for business, site, who, host in (
        ("Acme", "Berlin", "ann", "audit-1"), ("Acme", "Oslo", "ann", "audit-2"),
        ("Canary-Globex", "Canary-Paris", "canary-hank", "canary-audit"),
    ):  # fmt: skip
        later = console.engine.now + 3600 * SECOND if console.engine is not None else 0
        new = m.NewTask(business, site, Kind.AUDIT, own_name(Kind.AUDIT, "later"), who, who, f"{host}-target",
                        "device", due_at=later)  # fmt: skip
        tasks = [int(task) for task in do(console, m.Submit([new] * 4), who).changed]
        do(console, m.Edit(tasks[0], 1, {"priority": 8}), who)
        rule = Rule.cron_rule("0 0 1 1 *", "UTC")
        made = do(console, m.CreateSchedule(m.ScheduleSpec(f"Nightly {site}", business, site, Kind.AUDIT, rule, who)),
                  who).changed[0]  # fmt: skip
        do(console, m.PlaceHolds(business, [m.HoldTarget("schedule", str(made))], f"why {site}"), who)
        do(console, m.PlaceHolds(business, [m.HoldTarget("user", who)], f"why {business}"), who)
        do(console, m.SetService(business, host, slots=2, reason=f"=cmd {site}"), who)
    processor = m.NewTask("Acme", "Berlin", Kind.REPORT, OVERVIEW, "ann", "ann", requested_service="proc-secret")
    (report,) = do(console, m.Submit([processor._replace(due_at=later)])).changed
    do(console, m.Edit(int(report), 1, {"requested_service": None}))
    # One request of the platform's admin, in two parts: one for each business.
    trail = see(console, PLATFORM).audit(parse("action:submit"), size=200).rows
    for turn, business in enumerate(("Acme", "Canary-Globex")):
        ids = trail.filter((trail["business"] == business) & (trail["site"] != "Oslo"))["object_id"].to_list()
        audits = [int(i) for i in ids if int(i) != report][:3]
        do(console, m.Stop(audits), "root", BULK if not turn else f"{BULK}/{turn + 1}")


def do(console: Console, action: m.Action, actor: str = "ann", request: str | None = None) -> m.Outcome:
    assert console.engine is not None
    outcome = console.engine.do(m.Command(request or uuid4().hex, actor, action)).result(PATIENCE)
    assert outcome.refused is None, outcome.refused
    return outcome


def see(console: Console, grants: Grants) -> Sight:
    assert console.watch is not None
    return Sight(console.watch, grants, "somebody")


def soon(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "It did not happen in time"
        time.sleep(0.05)
    return found


def rows_of(console: Console, grants: Grants, text: str = "") -> list[dict[str, Any]]:
    return see(console, grants).audit(parse(text), size=200).rows.to_dicts()


# --- rights and tenancy


def test_each_role_reads_its_own_rows_all_of_them_and_no_other(console: Console) -> None:
    assert console.engine is not None
    every = console.engine.store.read("select audit_id, business, site from audit")
    expected = {
        "platform": (PLATFORM, every),
        "business": (ADMIN, every.filter(every["business"] == "Acme")),
        "site": (SITE_ADMIN, every.filter((every["business"] == "Acme") & (every["site"] == "Berlin"))),
        "stranger": (STRANGER, every.filter(every["business"] == "Canary-Globex")),
    }
    for name, (grants, mine) in expected.items():
        assert {row["audit_id"] for row in rows_of(console, grants)} == set(mine["audit_id"]), name
        assert sum(see(console, grants).audit_counts(EVERY).values()) == mine.height > 0, name
        assert see(console, grants).audit_export(EVERY, None, 1_000).height == mine.height, name


@pytest.mark.parametrize(
    "read",
    [
        lambda sight: sight.reach(),
        lambda sight: sight.audit(EVERY),
        lambda sight: sight.audit_counts(EVERY),
        lambda sight: sight.audit_names(),
        lambda sight: sight.audit_entry(1),
        lambda sight: sight.audit_export(EVERY, None, 10),
        lambda sight: sight.check(),
        lambda sight: sight.begin_check(),
    ],
)
@pytest.mark.parametrize("grants", [USER, []])
def test_who_has_no_admins_role_reads_nothing(
    console: Console, read: Callable[[Sight], object], grants: Grants
) -> None:
    with pytest.raises(NotAllowed):
        read(see(console, grants))


@pytest.mark.parametrize("grants", [ADMIN, SITE_ADMIN, [*SITE_ADMIN, Grant(Role.SITE_USER, "Acme", "Oslo")]])
def test_nothing_of_another_business_shows_in_rows_cards_names_counts_or_exports(
    console: Console, grants: Grants
) -> None:
    sight = see(console, grants)
    page = sight.audit(EVERY, size=200)
    entries = [sight.audit_entry(i) for i in page.rows["audit_id"]]
    told = repr([page, entries, sight.audit_names(), sight.audited(page.rows.to_dicts()), sight.reach()])
    told += csv(sight.audit_export(EVERY, None, 1_000)).decode()
    assert "anary" not in told
    assert f"{BULK}/" not in told  # how many parts it had would tell of the others
    for text in ("business:Canary-Globex", "canary", "site:Canary-Paris", "actor:canary-hank", "-business:Acme"):
        assert sum(sight.audit_counts(parse(text)).values()) == 0, text
        assert sight.audit(parse(text)).rows.height == 0, text
    assert rows_of(console, PLATFORM, "canary")


def test_a_row_beyond_reach_is_as_if_it_were_not_there(console: Console) -> None:
    foreign = rows_of(console, STRANGER)[0]["audit_id"]
    assert see(console, ADMIN).audit_entry(foreign) is None
    assert see(console, ADMIN).audit_entry(foreign + 10_000) is None
    assert see(console, SITE_ADMIN).audit_entry(rows_of(console, ADMIN, "site:Oslo")[0]["audit_id"]) is None
    task = next(row for row in rows_of(console, STRANGER) if row["object_kind"] == "task")
    assert see(console, ADMIN).audited([task]) == {}
    assert see(console, STRANGER).audited([task])


def test_a_request_is_one_in_all_its_parts_and_counts_what_is_in_reach(console: Console) -> None:
    def joined(grants: Grants) -> int:
        (row, *_) = rows_of(console, grants, "action:stop")
        assert row["request"] == BULK
        entry = see(console, grants).audit_entry(row["audit_id"])
        assert entry is not None
        listed = rows_of(console, grants, activity.by_request(row["request"]).text)
        assert len(listed) == entry["of_request"]
        return int(entry["of_request"])

    assert (joined(PLATFORM), joined(ADMIN), joined(SITE_ADMIN), joined(STRANGER)) == (6, 3, 3, 3)


def test_batches_are_told_to_who_sees_the_whole_platform_only(console: Console) -> None:
    audit_id = rows_of(console, SITE_ADMIN)[0]["audit_id"]
    everything, part = (see(console, grants).audit_entry(audit_id) for grants in (PLATFORM, SITE_ADMIN))
    assert everything
    assert part
    assert everything["batch"] > 0
    assert part["batch"] is None


def test_who_sees_but_a_site_reads_of_no_processor_by_its_name(console: Console) -> None:
    edit = rows_of(console, SITE_ADMIN, "action:edit site:Berlin")[0]
    entry = see(console, SITE_ADMIN).audit_entry(edit["audit_id"])
    assert entry is not None
    assert entry["before"]["requested_service"] == A_PROCESSOR
    named = see(console, ADMIN).audit_entry(edit["audit_id"])
    assert named is not None
    assert named["before"]["requested_service"] == "proc-secret"
    assert "proc-secret" not in csv(see(console, SITE_ADMIN).audit_export(EVERY, None, 1_000)).decode()
    assert "proc-secret" in csv(see(console, ADMIN).audit_export(EVERY, None, 1_000)).decode()


# --- what is told


def test_an_edit_tells_what_was_there_before_and_after(console: Console) -> None:
    row = rows_of(console, ADMIN, "action:edit site:Oslo")[0]
    entry = see(console, ADMIN).audit_entry(row["audit_id"])
    assert entry is not None
    found, same = difference(entry["before"], entry["after"])
    assert {one.name: (one.before, one.after) for one in found} == {"priority": (5, 8), "version": (1, 2)}
    assert same == 0


def test_facts_that_stayed_are_counted_and_those_within_facts_are_set_side_by_side() -> None:
    found, same = difference({"rule": {"cron": "0 2 * * *", "zone": "UTC"}, "n": 1},
                             {"rule": {"cron": "0 3 * * *", "zone": "UTC"}, "n": 1, "new": None})  # fmt: skip
    assert [one.name for one in found] == ["rule.cron", "new"]
    assert same == 2


def test_the_filter_finds_by_each_of_its_keys(console: Console) -> None:
    stop = rows_of(console, ADMIN, "action:stop")[0]
    for text, n in {
        "actor:root": 3, "who:root action:stop": 3, "object:task action:stop": 3, f"id:{stop['object_id']}": None,
        f"number:{stop['object_number']} object:task site:Berlin": None, f"#{stop['object_number']} site:Berlin": None,
        "outcome:changed action:stop": 3, "outcome:skipped action:stop": 0, "when:-1h action:stop": 3,
        "when:<2020-01-01": 0, "reason:\"why Oslo\"": 1, "\"why oslo\"": 1, f"request:{BULK}": 3,
        "site:none -actor:fleet": 2, "action:hold (site:Oslo OR site:none)": None,
    }.items():  # fmt: skip
        found = rows_of(console, ADMIN, text)
        assert len(found) == n if n is not None else found, text
    with pytest.raises(InvalidFilter, match="did you mean actor:"):
        parse("actr:ann")


def test_every_filter_and_its_opposite_find_each_row_once(console: Console) -> None:
    total = sum(see(console, PLATFORM).audit_counts(EVERY).values())
    for key in ("actor:ann", "business:Acme", "site:Berlin", "number:1", "request:x*", "reason:why", "outcome:changed",
                "object:task", "id:1*", "when:-1h", "why"):  # fmt: skip
        counts = see(console, PLATFORM).audit_counts
        assert sum(counts(parse(key)).values()) + sum(counts(parse(f"-{key}")).values()) == total, key


def test_chips_count_what_their_pages_list(console: Console) -> None:
    sight = see(console, ADMIN)
    counts = sight.audit_counts(EVERY)
    assert set(counts) <= set(ABOUT)
    for about in ABOUT:
        assert sight.audit(EVERY, about=about, size=200).rows.height == counts.get(about, 0)
    assert {"tasks", "holds", "schedules", "services"} <= set(counts)


def test_a_file_for_a_spreadsheet_holds_no_formulas(console: Console) -> None:
    told = csv(see(console, ADMIN).audit_export(parse("object:service"), None, 100)).decode()
    assert "'=cmd Berlin" in told
    assert ",=cmd" not in told


# --- pages and counts over a trail that grows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def append(store: Store, n: int, business: str = "Acme") -> None:
    """Commit so many rows, three to an instant, so that the cut must go by the id, too."""
    first = store.read("select count(*) from audit").item()
    rows = [
        Audit(make_id(1, i + 1), 1_780_000_000 * SECOND + i // 3 * SECOND, business, "Berlin", "ann", "stop", "task",
              str(make_id(1, i)), "changed", None, None, None, f"r{i // 10}")
        for i in range(first, first + n)
    ]  # fmt: skip
    store.commit(store.batch + 1, rows[-1].occurred_at, Rows(audit=rows))


def test_pages_hold_every_row_once_while_new_ones_come(store: Store) -> None:
    trail, reach = Trail(store), Reach(everything=True)
    append(store, 100)
    seen: list[int] = []
    after = None
    while True:
        page = trail.page(reach, EVERY, 0, after=after, size=7)
        seen += page.rows["audit_id"].to_list()
        if page.next is None:
            break
        assert Cut.of(page.next.token()) == page.next
        after = page.next
        append(store, 5)
        assert trail.page(reach, EVERY, 0, after=after, size=7).before == len(seen) + store.batch * 5 - 5
    assert seen == [make_id(1, i) for i in range(100, 0, -1)]


def test_turning_back_shows_the_pages_before(store: Store) -> None:
    trail, reach = Trail(store), Reach(everything=True)
    append(store, 50)
    first = trail.page(reach, EVERY, 0, size=10)
    second = trail.page(reach, EVERY, 0, after=first.next, size=10)
    third = trail.page(reach, EVERY, 0, after=second.next, size=10)
    back = trail.page(reach, EVERY, 0, before=third.previous, size=10)
    assert back.rows.equals(second.rows)
    assert (back.before, back.next, back.previous) == (second.before, second.next, second.previous)
    home = trail.page(reach, EVERY, 0, before=back.previous, size=10)
    assert home.rows.equals(first.rows)
    assert (home.before, home.previous) == (0, None)
    last = trail.page(reach, EVERY, 0, after=Cut(0, 1), size=10)
    assert (last.rows.height, last.next) == (0, None)


def test_counts_and_pages_are_as_new_after_every_commit(store: Store) -> None:
    trail = Trail(store)
    reach, other = Reach(businesses=("Acme",)), Reach(sites=(("Globex", "Berlin"),))
    wanted = parse("request:r1")
    for n in range(1, 6):
        append(store, 7)
        append(store, 3, "Globex")
        assert trail.counts(reach, EVERY, 0) == {"tasks": 7 * n}
        assert trail.counts(other, EVERY, 0) == {"tasks": 3 * n}
        assert trail.page(other, EVERY, 0, size=200).rows.height == 3 * n
        expected = store.read("select count(*) from audit where request_id = 'r1'").item()
        assert sum(trail.counts(Reach(everything=True), wanted, 0).values()) == expected
        assert trail.page(Reach(everything=True), wanted, 0).rows.height == expected


def test_a_filter_of_the_present_moment_forgets_what_has_grown_old(store: Store) -> None:
    trail, reach = Trail(store), Reach(everything=True)
    append(store, 30)  # over ten seconds
    began = 1_780_000_000 * SECOND
    wanted = parse("when:-1h")
    assert trail.counts(reach, wanted, began + 60 * SECOND) == {"tasks": 30}
    assert trail.counts(reach, wanted, began + 2 * 3600 * SECOND) == {}
    assert trail.page(reach, wanted, began + 2 * 3600 * SECOND).rows.height == 0


@pytest.mark.parametrize("token", ["", "1", "x.1", "1.x", "-1.1", f"{10**18}.1", "1.1.1", f"1.{10**19}"])
def test_a_cut_that_is_none_is_not_read(token: str) -> None:
    assert Cut.of(token) is None


# --- the chain


def checked(proof: Proof) -> Check:
    proof.begin("ann")

    def ended() -> Check | None:
        return proof.last if proof.last is not None and proof.last.ended_at is not None else None

    return soon(ended)


def test_a_chain_is_checked_to_its_end_beside_commits(store: Store) -> None:
    for _ in range(20):
        append(store, 50)
    proof = Proof(store, lambda: 1)
    assert proof.last is None
    found = checked(proof)
    assert found.whole
    assert (found.done, found.upto, found.by) == (20, 20, "ann")
    append(store, 5)
    assert checked(proof).upto == 21


def test_a_check_names_the_batch_whose_rows_were_changed(store: Store) -> None:
    for _ in range(9):
        append(store, 5)
    store.cursor().execute("update audit set actor = 'eve' where batch = 4").fetchall()
    found = checked(Proof(store, lambda: 1))
    assert found.broken is not None
    assert found.broken.batch == 4
    assert not found.whole


def test_one_check_serves_all_who_ask_and_ends_with_the_console(store: Store) -> None:
    for _ in range(400):
        append(store, 40)
    proof = Proof(store, lambda: 1)
    first = proof.begin("ann")
    assert proof.begin("bob").by == first.by == "ann"
    began = time.monotonic()
    proof.close()
    assert time.monotonic() - began < 2
    assert proof.last is not None
    assert proof.last.ended_at is not None


def test_a_console_checks_its_own_chain_and_tells_where_to_the_platform_only(console: Console) -> None:
    see(console, SITE_ADMIN).begin_check()

    def ended() -> Check | None:
        check = see(console, PLATFORM).check()
        return check if check is not None and check.ended_at is not None else None

    found = soon(ended)
    assert found.whole
    assert found.by == "somebody"
    assert console.engine is not None
    assert 0 < found.upto <= console.engine.store.batch
    part = see(console, SITE_ADMIN).check()
    assert part is not None
    assert part.whole
    assert (part.done, part.upto, part.by) == (100, 100, SOMEBODY)


def test_where_a_chain_is_broken_is_not_told_to_who_sees_a_part(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    console = Console(tmp_path).start(wait=True)
    try:
        soon(lambda: console.engine is not None and len(console.engine.snapshot.zones) == 3)
        live(console)
    finally:
        console.close()
    with Store.open(tmp_path / STORE) as store:
        where = "business = 'Canary-Globex' and action = 'edit'"
        batch = store.read(f"select batch from audit where {where}").item()
        store.cursor().execute(f"update audit set actor = 'eve' where {where}").fetchall()
    console = Console(tmp_path).start(wait=True)
    try:
        see(console, PLATFORM).begin_check()

        def ended() -> Check | None:
            check = see(console, PLATFORM).check()
            return check if check is not None and check.ended_at is not None else None

        found = soon(ended)
        assert found.broken is not None
        assert found.broken.batch == batch
        part = see(console, ADMIN).check()
        assert part is not None
        assert part.broken is not None
        assert not part.whole
        assert str(batch) not in json.dumps([part.broken.why, part.failed, part.done, part.upto])
    finally:
        console.close()


def test_filters_of_tasks_and_of_the_trail_are_told_apart() -> None:
    assert isinstance(parse("actor:ann"), Filter)
    with pytest.raises(InvalidFilter):
        parse("status:New")
