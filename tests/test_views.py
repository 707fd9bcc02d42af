"""Saved views through a running engine and through what people see: who keeps, shares, sees and changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from engine import messages as m
from engine import verify, views
from engine.errors import NotAllowed, NotFound
from engine.roles import EVERYTHING, Grant, Grants, Role
from engine.runtime import Engine
from engine.settings import Settings
from engine.sight import Sight
from engine.watch import Watch

from .stores import laid

BERLIN = [Grant(Role.SITE_USER, "Acme", "Berlin")]
OSLO = [Grant(Role.SITE_ADMIN, "Acme", "Oslo")]
ADMIN = [Grant(Role.BUSINESS_ADMIN, "Acme")]
STRANGER = [Grant(Role.BUSINESS_ADMIN, "Globex")]

FLEET = (m.AddBusiness("Acme"), m.AddSite("Acme", "Berlin"), m.AddSite("Acme", "Oslo"), m.AddBusiness("Globex"))

requests = count()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    one = Engine(laid(folder), Settings()).start()
    for action in FLEET:
        assert do(one, "fleet", action).refused is None
    try:
        yield one
    finally:
        one.close()


def do(engine: Engine, actor: str, action: m.Action, grants: Grants = EVERYTHING) -> m.Outcome:
    return engine.do(m.Command(f"r{next(requests)}", actor, action, grants)).result(30)


def keep(engine: Engine, actor: str, grants: Grants, name: str, **more: str | None) -> str:
    outcome = do(engine, actor, m.KeepView(name, **{"tab": "Failed", "filter": "type:scan", **more}), grants)
    assert outcome.refused is None, outcome.refused
    return str(outcome.changed[0])


def names(engine: Engine, actor: str, grants: Grants, business: str = "Acme") -> list[str]:
    return [view.name for view in Sight(Watch(engine), grants, actor).views(business)]


def test_a_view_of_ones_own_is_seen_by_nobody_else_not_even_by_its_link(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Mine", sort="-started")
    (view,) = Sight(Watch(engine), BERLIN, "ann").views("Acme")
    assert (view.view_id, view.owner, view.business, view.changeable) == (view_id, "ann", None, True)
    assert (view.tab, view.filter, view.sort) == ("Failed", "type:scan", "-started")
    assert Sight(Watch(engine), [], "ann").view(view_id) == view, "it is his own, wherever he sees anything"
    for grants in (BERLIN, ADMIN, EVERYTHING):
        assert names(engine, "bob", grants) == []
        with pytest.raises(NotFound, match="not shared with you"):
            Sight(Watch(engine), grants, "bob").view(view_id)


def test_a_shared_view_is_for_all_who_see_some_of_the_business_and_for_nobody_else(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    for name, grants in (("ann", BERLIN), ("oz", OSLO), ("ada", ADMIN), ("root", EVERYTHING)):
        assert names(engine, name, grants) == ["Ours"]
        assert Sight(Watch(engine), grants, name).view(view_id).business == "Acme"
    assert names(engine, "root", EVERYTHING, "Globex") == []
    assert names(engine, "hank", STRANGER, "Globex") == []
    with pytest.raises(NotAllowed):
        names(engine, "hank", STRANGER)
    with pytest.raises(NotFound) as unseen:
        Sight(Watch(engine), STRANGER, "hank").view(view_id)
    with pytest.raises(NotFound) as absent:
        Sight(Watch(engine), STRANGER, "hank").view("0" * 16)
    assert str(unseen.value) == str(absent.value)


def test_who_no_longer_sees_a_business_no_longer_sees_nor_changes_what_he_shared_there(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    with pytest.raises(NotFound):
        Sight(Watch(engine), STRANGER, "ann").view(view_id)
    assert "no such view" in str(do(engine, "ann", m.DropView(view_id), STRANGER).refused)


def test_nobody_shares_a_view_where_he_sees_nothing_whether_the_place_exists_or_not(engine: Engine) -> None:
    refused = [
        do(engine, "ann", m.KeepView("Ours", "Failed", business=business), BERLIN).refused or ""
        for business in ("Globex", "Nowhere")
    ]
    assert refused[0] == "You may not see what happens at Globex; nothing was changed"
    assert refused[1] == refused[0].replace("Globex", "Nowhere")
    assert "There is no business “Nowhere”" in str(
        do(engine, "root", m.KeepView("Ours", "Failed", business="Nowhere")).refused
    )


def test_a_name_is_taken_once_by_an_owner_for_himself_and_once_in_a_business(engine: Engine) -> None:
    first = keep(engine, "ann", BERLIN, "Slow scans")
    refused = do(engine, "ann", m.KeepView("SLOW scans", "Failed"), BERLIN).refused
    assert refused == "There is a view “Slow scans” already; change that one, or take another name"
    assert do(engine, "ann", m.KeepView("Sl\u043ew scans", "Failed"), BERLIN).refused == refused, "by a Cyrillic o"
    keep(engine, "ann", BERLIN, "Slow scans", business="Acme")
    keep(engine, "bob", BERLIN, "Slow scans", business="Acme")
    other = keep(engine, "ann", BERLIN, "Other")
    assert do(engine, "ann", m.KeepView("slow scans", "Failed", view=other), BERLIN).refused
    assert keep(engine, "ann", BERLIN, "slow scans", view=first) == first, "its own name is free to it"
    assert do(engine, "ann", m.DropView(first), BERLIN).changed == [first]
    assert keep(engine, "ann", BERLIN, "Slow scans") != other


def test_a_view_that_is_changed_keeps_its_link_and_its_owner(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    assert keep(engine, "ada", ADMIN, "Better", business="Acme", filter="type:audit", view=view_id) == view_id
    view = Sight(Watch(engine), OSLO, "oz").view(view_id)
    assert (view.name, view.owner, view.filter, view.changeable) == ("Better", "ann", "type:audit", False)


@pytest.mark.parametrize("action", [lambda v: m.DropView(v), lambda v: m.KeepView("x", "All", "", "", "Acme", v)])
def test_a_shared_view_is_changed_by_its_owner_or_an_admin_of_the_business(
    engine: Engine, action: Callable[[str], m.Action]
) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    assert do(engine, "oz", action(view_id), OSLO).refused == "“Ours” is for ann or an admin of Acme to change"
    assert "Ours" not in str(do(engine, "hank", action(view_id), STRANGER).refused)
    assert names(engine, "ann", BERLIN) == ["Ours"]
    assert do(engine, "ada", action(view_id), ADMIN).changed == [view_id]


def test_with_whom_a_view_is_shared_is_for_its_owner_alone_to_say(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    told = do(engine, "root", m.KeepView("Ours", "Failed", business="Globex", view=view_id)).refused
    assert told == "With whom “Ours” is shared is for ann to say; nothing was changed"
    keep(engine, "ann", BERLIN, "Ours", view=view_id)
    assert names(engine, "oz", OSLO) == []
    keep(engine, "ann", BERLIN, "Ours", business="Acme", view=view_id)
    assert names(engine, "oz", OSLO) == ["Ours"]


def test_every_change_is_audited_with_what_was_before_and_after(engine: Engine) -> None:
    view_id = keep(engine, "ann", BERLIN, "Ours", business="Acme")
    keep(engine, "ann", BERLIN, "Mine", view=view_id)
    do(engine, "ann", m.DropView(view_id, "not needed"), BERLIN)
    rows = engine.store.rows("audit", "object_kind = 'view'")
    assert [(row.action, row.actor, row.business, row.reason) for row in rows] == [
        ("keep", "ann", "Acme", None), ("keep", "ann", "Acme", None), ("drop", "ann", None, "not needed"),
    ]  # fmt: skip
    (one, two, three) = rows
    assert {row.object_id for row in rows} == {view_id}
    assert one.before is None
    assert one.after == two.before
    assert two.after == {"owner": "ann", "business": None}
    assert three.before == {
        "name": "Mine", "owner": "ann", "business": None, "tab": "Failed", "filter": "type:scan", "sort": ""
    }  # fmt: skip
    assert three.after is None
    assert verify.check(engine.store) == []


def test_what_a_view_said_elsewhere_or_to_its_owner_alone_does_not_come_along_where_it_is_shared(
    engine: Engine,
) -> None:
    both = [*BERLIN, *STRANGER]
    view_id = keep(engine, "ann", both, "Canary", filter="target:canary")
    keep(engine, "ann", both, "Ours", business="Acme", view=view_id)
    keep(engine, "ann", both, "Theirs", business="Globex", view=view_id)
    rows = engine.store.rows("audit", "object_kind = 'view'")
    assert [row.business for row in rows] == [None, "Acme", None]
    assert not [row for row in rows if row.business is not None and "anary" in f"{row.before} {row.after}"]
    assert rows[1].before == {"owner": "ann", "business": None}


def test_views_and_their_names_outlive_the_console(engine: Engine, folder: Path) -> None:
    mine, ours = keep(engine, "ann", BERLIN, "Mine"), keep(engine, "ann", BERLIN, "Ours", business="Acme")
    do(engine, "ann", m.DropView(keep(engine, "ann", BERLIN, "Gone")), BERLIN)
    engine.close()
    again = Engine(folder, Settings()).start()
    try:
        assert names(again, "ann", BERLIN) == ["Mine", "Ours"]
        assert "already" in str(do(again, "ann", m.KeepView("mine", "Failed"), BERLIN).refused)
        keep(again, "ann", BERLIN, "Gone")
        assert do(again, "ada", m.DropView(ours), ADMIN).changed == [ours]
        with pytest.raises(NotFound):
            Sight(Watch(again), BERLIN, "ann").view(ours)
        assert Sight(Watch(again), BERLIN, "ann").view(mine).name == "Mine"
    finally:
        again.close()


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (m.KeepView("", "Failed"), "can be seen"),
        (m.KeepView(" Padded", "Failed"), "no space around"),
        (m.KeepView("two\nlines", "Failed"), "can be seen"),
        (m.KeepView(5, "Failed"), "name is 5; it must be a text"),
        (m.KeepView("x" * 101, "Failed"), "at most 100 characters"),
        (m.KeepView("Long", "Failed", "x" * 4_001), "at most 4,000 characters; this one has 4,001"),
        (m.KeepView("Odd", "Failed", None), "filter is None; it must be a text"),
        (m.KeepView("Odd", "Failed", "", ["name"]), "sort is list; it must be a text"),
        (m.KeepView("Odd", "Failed", "half \ud800"), "filter of a view has a character that can't be stored"),
        (m.KeepView("Odd", "x" * 201), "tab of a view has at most 200"),
    ],
)
def test_what_could_not_be_kept_or_read_is_refused(engine: Engine, view: m.KeepView, why: str) -> None:
    assert why in str(do(engine, "ann", view, BERLIN).refused)
    assert names(engine, "ann", BERLIN) == []


def test_a_filter_is_kept_as_it_was_given_whatever_it_means(engine: Engine) -> None:
    odd = "a' or 1=1 --\n<b>\t“ü” \\ %s {x} -type:query (a OR"
    view_id = keep(engine, "ann", BERLIN, "Odd", filter=odd.ljust(4_000, "ß"))
    assert Sight(Watch(engine), BERLIN, "ann").view(view_id).filter == odd.ljust(4_000, "ß")


def test_nobody_keeps_more_views_than_can_be_listed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST", 3)
    kept = [keep(engine, "ann", BERLIN, f"View {n}") for n in range(3)]
    assert do(engine, "ann", m.KeepView("One more", "Failed"), BERLIN).refused == (
        "You keep 3 views already; drop one first"
    )
    keep(engine, "ann", BERLIN, "View 9", view=kept[0])
    keep(engine, "bob", BERLIN, "One more")


def test_an_id_tells_nobody_how_many_views_others_keep(engine: Engine) -> None:
    ids = [keep(engine, name, BERLIN, "Mine") for name in ("ann", "bob", "cid")]
    assert len(set(ids)) == 3
    assert all(len(view_id) == 16 and int(view_id, 16) for view_id in ids)
