"""Activity: the audit trail, newest first: who did what to what, before and after, and whether all of it stands."""

from collections.abc import Mapping

import streamlit as st

from engine import exports
from engine.activity import ABOUT, FIELDS, LANGUAGE, Cut, Page
from engine.errors import NotAllowed
from engine.proof import Check
from engine.sight import Sight
from pages.shared import chips, export, finding, frame, grid, helps, notice, times, trail
from pages.shared.verdict import verdict

ROWS = 50  #: on a page
RESET = {"after": None, "before": None}
GRID = "activity"
CHECK = "Check the chain"
CHIPS = {"All": None, **{about.capitalize(): about for about in ABOUT}}
WHAT_IT_IS = ("Each commit is a link of a chain over all rows: one that was edited, added, moved or taken out behind "
              "the console’s back is found out.")  # fmt: skip

engine = frame.engine()


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw a page of the trail, as it is right now, and the open row beside it."""
    sight, address, now = frame.sight(), st.query_params, frame.known_at(engine)
    try:
        names, check = sight.audit_names(), sight.check()
    except NotAllowed:  # a role was taken away meanwhile: the frame says so
        st.rerun()
    frame.hold_on()
    well = sight.pulse.well
    wanted = finding.read(address.get("q", ""), LANGUAGE)
    about = address.get("about") if address.get("about") in ABOUT else None
    counts = sight.audit_counts(wanted)
    frame.head("Activity", said(sight), engine)
    judge(sight, check, well)
    with st.container(horizontal=True, vertical_alignment="center", key="finder"):
        with st.container():
            changes = dict(finding.ask(address.get("q", ""), finding.completed(FIELDS, names), RESET, LANGUAGE))
        st.html(helps.mark("activity.filter", "this filter"), width="content")
        export.link(exports.of_activity(wanted, about))
    shown = {name: sum(counts.values()) if key is None else counts.get(key, 0) for name, key in CHIPS.items()}
    chosen = next(name for name, key in CHIPS.items() if key == about)
    pressed = chips.chips(shown, chosen, key="about", label="What it is about", tabs=True)
    if pressed and pressed != chosen:
        changes |= {"about": CHIPS[pressed], **RESET}
    frame.turn_to(changes)
    frame.hold(grid.follow(GRID, address, "entry"))
    _, opened = grid.state(GRID)
    after, before = Cut.of(address.get("after", "")), Cut.of(address.get("before", ""))
    page = sight.audit(wanted, about=about, after=after, before=before, size=ROWS)
    with st.container(horizontal=True, wrap=False, key="split"):
        left, right = st.container(), st.container(width=trail.WIDTH) if opened else None
    with left:
        table(sight, page, now, bool(opened), not well, f"{wanted.text} {about} {after} {before}")
        pager(page, shown[chosen])
    if right and opened:
        with right:
            entry = sight.audit_entry(int(opened)) if opened.isdecimal() and len(opened) < 19 else None
            asked = trail.card(entry, sight, now, key=GRID)
        if asked:
            frame.turn_to(asked)


def said(sight: Sight) -> str:
    """Say whose trail it is."""
    reach = sight.reach()
    if reach.everything:
        return "of the whole platform"
    return f"of {', '.join([*reach.businesses, *(f'{site}, {business}' for business, site in reach.sites)])}"


def judge(sight: Sight, check: Check | None, well: bool) -> None:
    """Say what is known of the chain, and offer to check it."""
    if not well:
        verdict("stale", f"No news for {frame.silence(engine)}: the trail ends there",
                f"{frame.trouble(engine)} What was done by then is shown.")  # fmt: skip
        return
    if check is not None and check.ended_at is None:
        part = f"{100 * check.done // max(check.upto, 1)} %"
        upto = f"Batch {check.done:,} of {check.upto:,}. " if sight.reach().everything else ""
        verdict("busy", f"The chain is being checked, {part}", f"{upto}You can leave this page meanwhile.")
        return
    if check is None:
        pressed = verdict("unknown", "The chain was not checked since the console started", WHAT_IT_IS, [CHECK],
                          "activity.chain")  # fmt: skip
    else:
        pressed = verdict(*told(check, sight.reach().everything), [CHECK], "activity.chain")
    if pressed is not None:
        sight.begin_check()
        st.rerun(scope="fragment")


def told(check: Check, everything: bool) -> tuple[str, str, str]:
    """Word what a check has found."""
    ended = check.ended_at or check.began_at
    when = f"Checked {times.whole(ended, times.zone())} in {times.wait(ended - check.began_at)}, for {check.by}."
    if check.broken is not None:
        where = f" at batch {check.broken.batch:,}" if everything else ""
        return "alarm", f"The chain is broken{where}: {check.broken.why}", f"{when} What comes before it stands."
    if check.failed is not None:
        return "alarm", f"The chain could not be checked: {check.failed}", when
    upto = f"batches 1 to {check.upto:,} are as they were committed" if everything else "all is as it was committed"
    return "steady", f"The chain is whole, {upto}", when


def table(sight: Sight, page: Page, now: int, narrow: bool, stale: bool, view: str) -> None:
    """Draw a page of rows; beside a card, without the columns that the card tells."""
    rows, there = page.rows.to_dicts(), times.zone()
    if not rows:
        st.html("<div class='d-evidence'>Nothing was done that matches. Change the filter, or look at all rows.</div>")
    today, names = times.day(now, there), sight.audited(rows)
    columns = [one for one in trail.COLUMNS if not narrow or one["id"] not in trail.TOLD]
    grid.grid([trail.line(row, names, today, there) for row in rows], columns, key=GRID, label="Activity", picks=False,
              stale=stale, view=view, sort={"id": "when", "desc": True})  # fmt: skip


def pager(page: Page, total: int) -> None:
    """Say what is shown of how many, and offer to turn the page."""
    with st.container(horizontal=True, vertical_alignment="center", key="pager"):
        n = page.rows.height
        rows = f"{total:,} {'row' if total == 1 else 'rows'}"
        many = f"{page.before + 1:,}–{page.before + n:,} of {rows}" if n and n < total else rows
        st.html(f"<div class='d-foot'>{many}. Times are {times.zone().key}.</div>")
        turns: tuple[tuple[str, bool, Mapping[str, str | None]], ...] = (
            ("Newest", page.before > 0, RESET),
            ("Newer", page.previous is not None,
             {"after": None, "before": page.previous.token() if page.previous else None}),
            ("Older", page.next is not None, {"after": page.next.token() if page.next else None, "before": None}),
        )  # fmt: skip
        if page.previous or page.next:
            for label, can, changes in turns:
                st.button(label, key=f"page.{label}", disabled=not can, width="content",
                          on_click=lambda changes=changes: frame.address(changes))  # fmt: skip


notice.tell()
live()
