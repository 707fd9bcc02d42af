"""The form of a schedule, new or to be changed: what it yields, when, and what its rule means while one types it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape
from typing import Any
from uuid import uuid4
from zoneinfo import available_timezones

import streamlit as st

from engine.clock import HOUR
from engine.errors import InvalidSchedule
from engine.lanes import SERVES, lane_of
from engine.lifecycle import KIND_LABEL, SYSTEM_KINDS, Kind
from engine.messages import CreateSchedule, EditSchedule, ScheduleSpec
from engine.recurrence import Rule
from engine.roles import Right
from engine.standing import Schedule
from engine.task import COLLECT

from . import asking, frame, notice, plan_card, plans, times

NIGHTLY = "0 2 * * *"
ANY = "Any that can"
CRON, INTERVAL = "Cron", "Interval"
TARGETS = {"device": "Device", "segment": "Segment", "cloud": "Cloud resource"}
UNITS = {"minutes": 60, "hours": 3600, "days": 86_400, "seconds": 1}
UNDER_A_HOLD = {"skip": "Skip its runs", "queue_one": "Queue one run, skip the rest"}


def new(business: str, site: str, zone: str) -> None:
    """Open the form of a schedule to be made at a site."""
    rule = Rule.cron_rule(NIGHTLY, zone)
    spec = ScheduleSpec("", business, site, Kind.SCAN, rule, frame.actor().name, target_kind="segment")
    _new(spec, f"plan-{uuid4()}")


def edit(schedule: Schedule) -> None:
    """Open the form of a schedule as it was seen just now."""
    _edit(schedule, f"plan-{uuid4()}")


@asking.dialog("New schedule", width="large")
def _new(spec: ScheduleSpec, request: str) -> None:
    wanted = _ask(spec, request)
    if asking.agreed("Create schedule", request, disabled=wanted is None) and wanted is not None:
        outcome = frame.do(CreateSchedule(wanted), _id(request, wanted))
        if not outcome.refused:
            (made,) = outcome.changed
            notice.keep(f"{plans.label(int(made))} “{wanted.name}” is created: {wanted.rule.prose()}")
            frame.address({"schedule": str(made)})
            asking.close()
        st.session_state[_why(request)] = outcome.refused
    _refused(st.session_state.get(_why(request)))


@asking.dialog("Edit schedule", width="large")
def _edit(schedule: Schedule, request: str) -> None:
    label = plans.label(schedule.schedule_id)
    st.html(f"<div class='d-evidence'>{escape(label)}, version {schedule.version:,}. What runs or waits already stays "
            "as it is; a change counts from the next fire on.</div>")  # fmt: skip
    wanted = _ask(schedule.spec, request)
    if asking.agreed("Save", request, disabled=wanted is None) and wanted is not None:
        if wanted == schedule.spec:
            asking.close()
        outcome = frame.do(EditSchedule(schedule.schedule_id, schedule.version, wanted), _id(request, wanted))
        if not outcome.refused:
            notice.keep(f"{label} “{wanted.name}” is changed: {wanted.rule.prose()}")
            asking.close()
        st.session_state[_why(request)] = f"{outcome.refused}{_by_whom(schedule)}"
    _refused(st.session_state.get(_why(request)))


def _id(request: str, wanted: ScheduleSpec) -> str:
    """Name a request: with other contents it is another one, or it would get the same answer again."""
    return f"{request}-{abs(hash(wanted))}"


def _by_whom(schedule: Schedule) -> str:
    """Tell who made the version that stands, where it is not the one that was seen."""
    versions = frame.sight().past(schedule.spec.business, schedule.spec.site, schedule.schedule_id).versions
    newest = versions[0] if versions else None
    if newest is None or newest.version <= schedule.version:
        return ""
    return f". Version {newest.version:,} was {newest.event} by {newest.actor} at {times.clock(newest.at)}"


def _why(request: str) -> str:
    """Name where it is kept why the last try was refused: it is told until the next one."""
    return f"{request}.why"


def _refused(why: str | None) -> None:
    if why:
        st.html(f"<div class='d-told no' role='alert'>{escape(why)}</div>")


def _ask(spec: ScheduleSpec, key: str) -> ScheduleSpec | None:
    """Ask for all of a schedule; None as long as its rule is none."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", spec.name, max_chars=100, key=f"{key}.name").strip()
        kind = st.selectbox("Type", list(Kind), list(Kind).index(spec.kind), format_func=lambda k: KIND_LABEL[k],
                            key=f"{key}.kind", width=170)  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = spec.target_kind or "segment"
        kinds = list(dict.fromkeys([*TARGETS, of]))
        target_kind = st.selectbox("Target is a", kinds, kinds.index(of), format_func=lambda k: TARGETS.get(k, k),
                                   key=f"{key}.target_kind", width=150)  # fmt: skip
        target = st.text_input("Target", spec.target or "", max_chars=200, key=f"{key}.target").strip()
        scope = st.text_input("Scope", spec.scope or "", max_chars=200, key=f"{key}.scope").strip()
    rule = ask_rule(spec.rule, key, "Fires by")
    if rule is not None:
        with st.container(key="plan-means"):
            st.html(f"<div class='d-what'><b>{escape(rule.prose())}</b></div>")
            plan_card.next_fires(rule, frame.engine().now)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for_others = frame.allowed(Right.USERS, spec.business, None)
        owner = st.text_input("Owner", spec.owner, max_chars=100, key=f"{key}.owner", disabled=not for_others).strip()
        services = _services(spec, kind)
        chosen = spec.requested_service if spec.requested_service in services else ANY
        service = st.selectbox("Service", services, services.index(chosen), key=f"{key}.service {kind}", width=170)
        priority = st.selectbox("Priority", list(range(9, -1, -1)), 9 - spec.priority, key=f"{key}.priority", width=90)
        on_hold = st.selectbox("Under a hold", list(UNDER_A_HOLD), list(UNDER_A_HOLD).index(spec.on_hold),
                               format_func=lambda o: UNDER_A_HOLD[o], key=f"{key}.on_hold", width=210)  # fmt: skip
    if rule is None:
        return None
    return replace(
        spec, name=name, kind=kind, rule=rule, owner=owner, target=target or None, scope=scope or None,
        target_kind=target_kind if target else spec.target_kind if not spec.target else None,
        requested_service=None if service == ANY else service, priority=priority, on_hold=on_hold,
    )  # fmt: skip


def _services(spec: ScheduleSpec, kind: Kind) -> list[str]:
    """List who could run it, as far as whoever looks may know them by name."""
    home = None if kind in SYSTEM_KINDS else spec.site
    known: Sequence[Any] = ()
    if frame.allowed(Right.SEE, spec.business, home):
        known = frame.sight().services(spec.business, home)
    able = [service.name for service in known if service.role in SERVES[lane_of(kind, COLLECT)]]
    asked = [spec.requested_service] if spec.requested_service and kind == spec.kind else []
    return list(dict.fromkeys([ANY, *able, *asked]))


def ask_rule(rule: Rule, key: str, label: str) -> Rule | None:
    """Ask for a rule; say why and return None where it means nothing."""
    now = frame.engine().now
    with st.container(horizontal=True, vertical_alignment="bottom"):
        way = st.segmented_control(label, [CRON, INTERVAL], default=CRON if rule.cron is not None else INTERVAL,
                                   required=True, key=f"{key}.way")  # fmt: skip
        if way == CRON:
            cron = st.text_input("Minute, hour, day of month, month, weekday", rule.cron or NIGHTLY, max_chars=200,
                                 key=f"{key}.cron", live=True)  # fmt: skip
        else:
            unit = next(u for u in ("days", "hours", "minutes", "seconds") if (rule.every_s or 3600) % UNITS[u] == 0)
            every = st.number_input("Every", None, None, (rule.every_s or 3600) // UNITS[unit], step=1,
                                    key=f"{key}.every", width=110)  # fmt: skip
            unit = st.selectbox("Unit", list(UNITS), list(UNITS).index(unit), key=f"{key}.unit", width=120)
        zones = _zones()
        zone = st.selectbox("Zone", zones, zones.index(rule.zone) if rule.zone in zones else None, key=f"{key}.zone",
                            width=230)  # fmt: skip
        if way == INTERVAL:
            there = times.zone_of(zone or rule.zone)
            anchor = rule.anchor_at or now - now % HOUR
            first = st.datetime_input(f"Counted from, {there.key}", times.wall_of(anchor, there), step=60,
                                      key=f"{key}.anchor {there.key}", format="YYYY-MM-DD", width=220)  # fmt: skip
    try:
        if way == CRON:
            made = Rule.cron_rule(cron, zone or "")
        else:
            same = first == times.wall_of(anchor, there)  # to the minute; the anchor may know the second
            at = anchor if same else times.instant_of(first, there)
            made = Rule.interval(int(every or 0) * UNITS[unit], at, zone or "")
    except InvalidSchedule as error:
        _refused(str(error))
        return None
    return made


@lru_cache(maxsize=1)
def _zones() -> list[str]:
    """List the zones that people know: areas and places, and UTC."""
    return ["UTC", *sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))]
