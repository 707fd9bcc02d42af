"""Saved views: who sees one, who may change it, and what becomes of one that is kept or dropped. Pure.

A view is a name for a tab, a filter and a sort. It is its owner's alone, or shared with a business: then whoever sees
some of that business, if only one site, sees the view, and nobody else does, not even by its link. What it finds is
still for each what his own grants cover. Anybody keeps views of his own, and shares them where he sees something. A
shared one is changed or dropped by its owner, or by who manages the users of that business; with whom it is shared is
for its owner alone to say. A view that somebody does not see is to him as if it were not there.

What tab, filter and sort mean is the pages' affair: here they are texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from .errors import Invalid, NotAllowed, NotFound, Refused
from .ledger import Detail, SavedView
from .messages import Command, DropView, KeepView
from .roles import Grants, Right, may, may_somewhere, require
from .wellformed import likeness

LONGEST_NAME = 100
LONGEST_FILTER = 4_000
LONGEST_WORD = 200  #: a tab's or a sort's
MOST = 200  #: views that one owner keeps

Change = tuple[SavedView | None, SavedView]
"""A view as it was, where it was, and as it is now."""


def seen(view: SavedView, user: str, grants: Grants) -> bool:
    """Tell whether somebody sees a view: his own, or one shared with a business that he sees some of."""
    return view.owner == user if view.business is None else may_somewhere(grants, Right.SEE, view.business)


def may_change(view: SavedView, user: str, grants: Grants) -> bool:
    """Tell whether somebody who sees a view may change or drop it."""
    return view.owner == user or (view.business is not None and may(grants, Right.USERS, view.business, None))


def require_sharing(grants: Grants, business: str) -> None:
    """Raise NotAllowed, whether the business exists or not, unless somebody may share views with it."""
    if not may_somewhere(grants, Right.SEE, business):
        require(grants, Right.SEE, business, None)


def kept(views: Mapping[str, SavedView], action: KeepView, request: Command, now: int) -> Change:
    """Make the view that an action asks to be kept, among those that there are; raise Refused where it can't be."""
    _check_texts(action)
    before = None if action.view is None else _changeable(views, action.view, request)
    owner = before.owner if before is not None else request.actor
    if before is not None and action.business != before.business and owner != request.actor:
        raise NotAllowed(f"With whom “{before.name}” is shared is for {owner} to say; nothing was changed")
    mine = [view for view in views.values() if view.owner == owner and view is not before]
    if before is None and len(mine) >= MOST:
        raise Refused(f"You keep {MOST} views already; drop one first")
    for view in mine:
        if view.business == action.business and likeness(view.name) == likeness(action.name):
            raise Refused(f"There is a view “{view.name}” already; change that one, or take another name")
    view_id = before.view_id if before is not None else _new_id(views, action, request)
    texts = action.name, action.tab, action.filter, action.sort
    return before, SavedView(view_id, owner, action.business, *texts, now, removed=False)


def dropped(views: Mapping[str, SavedView], action: DropView, request: Command, now: int) -> Change:
    """Make a view one that was removed; raise Refused where it can't be."""
    before = _changeable(views, action.view, request)
    return before, before._replace(changed_at=now, removed=True)


def as_detail(view: SavedView, reader: str | None) -> Detail:
    """Tell what can change of a view, for the audit trail of a business, or (None) of the platform.

    While it is its owner's alone, what it says is no business's affair: it may be about another one.
    """
    told = ("name", "owner", "business", "tab", "filter", "sort") if reader in (None, view.business) else (
        "owner", "business")  # fmt: skip
    return {name: getattr(view, name) for name in told}


def _changeable(views: Mapping[str, SavedView], view_id: str, request: Command) -> SavedView:
    view = views.get(view_id)
    if view is None or not seen(view, request.actor, request.grants):
        raise NotFound("There is no such view, or it is not shared with you")
    if not may_change(view, request.actor, request.grants):
        raise NotAllowed(f"“{view.name}” is for {view.owner} or an admin of {view.business} to change")
    return view


def _check_texts(action: KeepView) -> None:
    name = action.name
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise Invalid("A view's name has characters that can be seen, and no space around them")
    for what, text, longest in (
        ("name", name, LONGEST_NAME), ("tab", action.tab, LONGEST_WORD), ("filter", action.filter, LONGEST_FILTER),
        ("sort", action.sort, LONGEST_WORD),
    ):  # fmt: skip
        if not isinstance(text, str):
            raise Invalid(f"The {what} of a view is a text")
        if len(text) > longest:
            raise Invalid(f"The {what} of a view has at most {longest:,} characters; this one has {len(text):,}")


def _new_id(views: Mapping[str, SavedView], action: KeepView, request: Command) -> str:
    """Make an id of the request, so that it tells nobody how many views others keep."""
    made_of = repr((request.request_id, request.actor, action.business, action.name))
    for turn in range(len(views) + 1):
        view_id = sha256(f"{made_of} {turn}".encode("utf-8", "replace")).hexdigest()[:16]
        if view_id not in views:
            break
    return view_id
