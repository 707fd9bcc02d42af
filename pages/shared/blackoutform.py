"""The forms of a blackout window: new, to be changed, to be removed, and what it would touch while one types it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from uuid import uuid4

import streamlit as st

from engine.clock import SECOND
from engine.messages import (
    LONGEST_BLACKOUT,
    SHORTEST_BLACKOUT,
    BlackoutSpec,
    CreateBlackout,
    EditBlackout,
    Outcome,
    RemoveBlackout,
)
from engine.pausing import Closure
from engine.recurrence import Rule
from engine.snapshot import BlackoutLook

from . import asking, frame, notice, plan_form, times

SATURDAYS = "0 22 * * 6"
UNITS = {"minutes": 60, "hours": 3600, "days": 86_400}
MOST = 4  #: fires that are named


def new(business: str, sites: Sequence[str]) -> None:
    """Open the form of a window to be made, at one of some sites."""
    here, site = frame.site()
    site = site if here == business and site in sites else sites[0]
    zone = frame.sight().snapshot.zones.get((business, site), "UTC")
    _new(BlackoutSpec("", business, site, Rule.cron_rule(SATURDAYS, zone), 4 * 3600), sites, f"window-{uuid4()}")


def edit(look: BlackoutLook) -> None:
    """Open the form of a window as it was seen just now."""
    _edit(look, f"window-{uuid4()}")


def remove(look: BlackoutLook) -> None:
    """Ask once more before a window is removed."""
    _remove(look, f"window-{uuid4()}")


@asking.dialog("New blackout window", width="large")
def _new(spec: BlackoutSpec, sites: Sequence[str], request: str) -> None:
    wanted = _ask(spec, sites, request)
    if asking.agreed("Create window", request, disabled=wanted is None) and wanted is not None:
        _done(frame.do(CreateBlackout(wanted), _id(request, wanted)), f"{_named(wanted)} is created", request)
    _refused(request)


@asking.dialog("Edit blackout window", width="large")
def _edit(look: BlackoutLook, request: str) -> None:
    st.html("<div class='d-evidence'>A change counts from the next time on. What the window holds now stays until it "
            "is over, or somebody lifts it.</div>")  # fmt: skip
    wanted = _ask(look.spec, (look.spec.site,), request)
    if asking.agreed("Save", request, disabled=wanted is None) and wanted is not None:
        if wanted == look.spec:
            asking.close()
        outcome = frame.do(EditBlackout(look.blackout_id, look.version, wanted), _id(request, wanted))
        _done(outcome, f"{_named(wanted)} is changed", request)
    _refused(request)


@asking.dialog("Remove blackout window")
def _remove(look: BlackoutLook, request: str) -> None:
    spec = look.spec
    st.html(
        f"<div class='d-what'><b>{escape(spec.name)}</b><span>{escape(spec.site)}, {escape(spec.rule.prose())}</span>"
        "</div><ul class='d-says'><li>It holds its site no more; what it holds now is lifted at once.</li>"
        "<li>Holds that people placed stay. This can’t be undone.</li></ul>"
    )
    reason = asking.reason(request)
    if asking.agreed("Remove window", request):
        outcome = frame.do(RemoveBlackout(look.blackout_id, reason), request)
        lifted = "; what it held is lifted" if len(outcome.changed) > 1 else ""
        _done(outcome, f"{_named(spec)} is removed{lifted}", request)
    _refused(request)


def _ask(spec: BlackoutSpec, sites: Sequence[str], key: str) -> BlackoutSpec | None:
    """Ask for all of a window and say what it does; None as long as it can't be one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", spec.name, max_chars=100, key=f"{key}.name", live=True,
                             placeholder="such as Month end").strip()  # fmt: skip
        site = st.selectbox("Site", sites, sites.index(spec.site), key=f"{key}.site", disabled=len(sites) == 1,
                            width=170)  # fmt: skip
    rule = plan_form.ask_rule(spec.rule, key, "Begins by")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unit = next((u for u in ("days", "hours") if spec.duration_s % UNITS[u] == 0), "minutes")
        lasts = st.number_input("Lasts", None, None, spec.duration_s // UNITS[unit], step=1, key=f"{key}.lasts",
                                width=110)  # fmt: skip
        unit = st.selectbox("Unit", list(UNITS), list(UNITS).index(unit), key=f"{key}.unit", width=120)
        reason = st.text_input("Reason", spec.reason, max_chars=200, key=f"{key}.reason",
                               placeholder="for whoever finds the tasks paused").strip()  # fmt: skip
    suspend = st.checkbox("Also suspend what is collecting when it begins, where it can keep a checkpoint",
                          spec.suspend, key=f"{key}.suspend")  # fmt: skip
    if rule is None:
        return None
    duration = int(lasts or 0) * UNITS[unit]
    if not SHORTEST_BLACKOUT <= duration * SECOND <= LONGEST_BLACKOUT:
        _told("A window lasts from 1 minute to 7 days.")
        return None
    wanted = replace(spec, name=name, site=site, rule=rule, duration_s=duration, reason=reason, suspend=suspend)
    st.html(_does(wanted, frame.sight().pauses(spec.business).closure(wanted)))
    if not name:
        st.html("<div class='d-evidence'>Give the window a name: those who find their tasks paused read it.</div>")
        return None
    return wanted


def _does(spec: BlackoutSpec, found: Closure) -> str:
    """Say when the window is next, what waits at its site now, and which fires fall into it."""
    own, here = times.zone_of(spec.rule.zone), times.zone()
    differ = not all(times.alike(at, own, here) for at, _ in found.times)
    heads = f"<th>{escape(own.key)}</th>" + (f"<th>{escape(here.key)}, yours</th>" if differ else "")
    spans = "".join(
        f"<tr><td>{escape(_span(begin, end, own))}</td>"
        f"{f'<td>{escape(_span(begin, end, here))}</td>' if differ else ''}</tr>"
        for begin, end in found.times
    )
    now = found.now
    waits = f"{now.waiting:,} {'task waits' if now.waiting == 1 else 'tasks wait'} at {spec.site} that it would keep"
    runs = f"{now.running:,} {'runs' if now.running == 1 else 'run'} and would go on"
    if spec.suspend:
        runs += f", {now.collecting:,} of them asked to suspend"
    fires = "No schedule fires in these windows."
    if found.fires:
        names = list(dict.fromkeys(name for _, name in found.fires))
        named = ", ".join(f"“{name}”" for name in names[:MOST])
        more = f" and {len(names) - MOST:,} more" if len(names) > MOST else ""
        fires = f"Runs of {named}{more} that fire in them wait as Paused until the window is over."
    says = f"Now {waits}; {runs}. {fires} Reports and other system tasks are not kept."
    return (
        f"<div class='d-what'><b>{escape(spec.rule.prose())}, for {escape(times.lasts(spec.duration_s * SECOND))}</b>"
        f"</div><table class='d-fires'><tr>{heads}</tr>{spans}</table><div class='d-evidence'>{escape(says)}</div>"
    )


def _span(begin: int, end: int, there: times.ZoneInfo) -> str:
    same = times.day(begin, there) == times.day(end, there)
    until = times.to_come(end, there)
    return f"{times.to_come(begin, there)} – {until.split(' ', 2)[2] if same else until}"


def _named(spec: BlackoutSpec) -> str:
    return f"Blackout window “{spec.name}”"


def _id(request: str, wanted: BlackoutSpec) -> str:
    """Name a request: with other contents it is another one, or it would get the same answer again."""
    return f"{request}-{abs(hash(wanted))}"


def _done(outcome: Outcome, said: str, request: str) -> None:
    """Say on the page what was done; what was refused, the dialog tells until the next try."""
    if not outcome.refused:
        notice.keep(said)
        asking.close()
    st.session_state[f"{request}.why"] = outcome.refused


def _refused(request: str) -> None:
    if why := st.session_state.get(f"{request}.why"):
        _told(why)


def _told(why: str) -> None:
    st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")
