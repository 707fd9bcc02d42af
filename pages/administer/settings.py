"""Settings and drills: incidents to try the console with, and what the console goes by."""

from functools import partial
from html import escape
from typing import Any, Literal
from uuid import uuid4

import streamlit as st

from engine.console import current
from engine.drills import DRILLS, Drill, Drills, Ongoing, Parameter, Values
from engine.errors import DrainboardError
from engine.lifecycle import KIND_LABEL, Kind
from engine.roles import Right
from engine.settings import AT_FIRST_START, AT_ONCE, FILE
from engine.tuning import Line, Tuning
from pages.shared import asking, frame, presses, times
from pages.shared.verdict import verdict

TITLE = {"host-lost": "Lost host", "hung-target": "Hung target", "surge": "Surge", "slow-processors": "Slow processors"}
LABEL = {"for": "Ends after (s)", "times": "Times as long", "tasks": "Tasks", "kind": "Type", "service": "Host"}
COUNTS = {AT_ONCE: "at once", AT_FIRST_START: "at a first start"}  #: what else there is counts after the next start
NO_ANSWER = "The engine did not answer in time; look in a moment whether it happened."

engine = frame.engine()


def tell(what: str, done: bool, said: str) -> None:
    """Keep what came of a request beside what it was about, until the next one."""
    for key in [key for key in st.session_state if str(key).startswith("told.")]:
        del st.session_state[key]
    st.session_state[f"told.{what}"] = done, said


def told(what: str) -> None:
    """Say what came of the last request, if it was about this."""
    if found := st.session_state.get(f"told.{what}"):
        done, said = found
        st.html(f"<div class='d-told{'' if done else ' no'}' role='status'>{escape(said)}</div>")


# --- drills


@st.fragment(run_every=frame.refresh())
def live(drills: Drills | None) -> None:
    """Draw the head, and the drills that go on, each with its end."""
    if not frame.allowed(Right.DRILL, None, None) and not frame.allowed(Right.SETTINGS, None, None):
        st.rerun()
    frame.head("Settings and drills", "of the whole platform", engine)
    if drills is None or not frame.allowed(Right.DRILL, None, None):
        return
    ongoing = drills.ongoing()
    if not ongoing:
        verdict("steady", "No drill goes on", "What Active tasks shows now is not of a drill's making.")
    else:
        n = "1 drill goes on" if len(ongoing) == 1 else f"{len(ongoing):,} drills go on"
        verdict("busy", n, "The console does not know that it is only a drill, and neither do people who look at it.")
    for one in ongoing:
        key = f"{one.drill} {' '.join(map(str, one.values.values()))}"
        with st.container(horizontal=True, vertical_alignment="center", key=f"going-{key}"):
            st.html(_going(one))
            if presses.button("End", key=f"end {key}", help=f"End {TITLE[one.drill].lower()}", width="content"):
                end(drills, one)
    told("ended")


def _going(one: Ongoing) -> str:
    where = " / ".join(str(value) for value in one.values.values())
    until = f"until {times.clock(one.until)}" if one.until is not None else "until it is ended"
    return (
        f"<div class='d-going'><b>{escape(TITLE[one.drill])}: {escape(where)}</b>"
        f"<span>{escape(f'{one.stage[:1].upper()}{one.stage[1:]}, ' if one.stage else '')}"
        f"{escape(until if one.stage else until.capitalize())}</span></div>"
    )


def end(drills: Drills, one: Ongoing) -> None:
    """End a drill, and say what came of it."""
    who = frame.actor()
    try:
        tell("ended", True, drills.end(one.drill, one.values, who.name, who.grants))
    except (DrainboardError, TimeoutError) as error:
        tell("ended", False, str(error) or NO_ANSWER)
    st.rerun()


def offer(drills: Drills, drill: Drill) -> None:
    """Draw a drill's row: what it does, what it needs to know, and its start."""
    with st.container(key=f"drill-{drill.name}"):
        with st.container(horizontal=True, vertical_alignment="bottom", key=f"row-{drill.name}"):
            st.html(_what(TITLE[drill.name], f"{drill.help[:1].upper()}{drill.help[1:]}."))
            values: dict[str, Any] = {}
            for parameter in drill.parameters:
                values[parameter.name] = ask(drills, drill, parameter, values)
            tip = f"Start {TITLE[drill.name].lower()}"
            if presses.button("Start", key=f"start {drill.name}", help=tip, width="content"):
                who = frame.actor()
                try:
                    tell(drill.name, True, drills.start(drill.name, values, who.name, who.grants))
                except (DrainboardError, TimeoutError) as error:
                    tell(drill.name, False, str(error) or NO_ANSWER)
                st.rerun()
        told(drill.name)


def ask(drills: Drills, drill: Drill, parameter: Parameter, before: Values) -> Any:
    """Ask for a parameter in the way that fits it; `before` holds what was asked for further left."""
    label, key = LABEL.get(parameter.name, parameter.name.capitalize()), f"{drill.name}.{parameter.name}"
    if parameter.type is str:
        options = list(parameter.choices) or drills.choices(parameter.name, before)
        index = options.index(str(parameter.default)) if parameter.default in options else 0
        names = {kind.value: KIND_LABEL[kind] for kind in Kind}
        # What may be chosen depends on the business: with another one, this is another question.
        return st.selectbox(label, options, index, key=f"{key} {before.get('business', '')}",
                            width=110 if parameter.choices else 180,
                            format_func=lambda chosen: names[chosen] if parameter.choices else chosen)  # fmt: skip
    whole = parameter.type is int
    kind: type[int] | type[float] = int if whole else float
    default = kind(parameter.default) if parameter.default is not None else None
    # Without bounds here: a browser would keep a number beyond them back, and the last good one would count.
    return st.number_input(
        label, None, None, default, step=kind(1), key=key, width=120,
        format="%d" if whole else "%g", placeholder="never" if default is None else None,
    )  # fmt: skip


def _what(name: str, does: str) -> str:
    return f"<div class='d-what'><b>{escape(name)}</b><span>{escape(does)}</span></div>"


# --- settings


def table(tuning: Tuning) -> None:
    """List every setting, each with its change."""
    try:
        lines = tuning.lines(frame.actor().grants)
    except DrainboardError as error:
        st.html(f"<div class='d-told no' role='status'>{escape(str(error))}. What counts now goes on counting; mend "
                "the file, or the next start will refuse it.</div>")  # fmt: skip
        return
    told("settings")
    with st.container(horizontal=True, key="set-head"):
        st.html("<div class='d-set d-sethead'><span>Setting</span><span class='v'>Now</span><span class='d'>Default"
                "</span><span>Source</span><span>A change counts</span></div>")  # fmt: skip
        st.html("<div style='width:68px'></div>", width="content")
    for line in lines:
        name = line.setting.name
        with st.container(horizontal=True, vertical_alignment="center", key=f"set-{name}"):
            st.html(_row(line))
            off = line.locked is not None
            if presses.button("Change", key=f"change {name}", disabled=off, help=line.locked, width=68):
                asking.later(partial(form, tuning, line, f"change-{uuid4()}"))


def _row(line: Line) -> str:
    setting = line.setting
    later = f"<i>then {escape(line.then)}</i>" if line.then != line.now else ""
    why = f"<small>{escape(line.locked)}.</small>" if line.locked else ""
    source = "environment" if line.locked else line.source
    return (
        f"<div class='d-set'><div class='n'><b>{escape(setting.name)}</b><small>{escape(setting.help)}.</small>{why}"
        "</div>"
        f"<div class='v'><span class='k'>Now </span>{escape(line.now)}{later}</div>"
        f"<div class='d'><span class='k'>Default </span>{escape(setting.shown(setting.default))}</div>"
        f"<div class='s'><span class='k'>From </span>{escape(source)}</div>"
        f"<div class='c'><span class='k'>Counts </span>{COUNTS.get(setting.counts, 'after the next start')}</div></div>"
    )


@asking.dialog("Change a setting")
def form(tuning: Tuning, line: Line, request: str) -> None:
    """Ask for a setting's value; one opening is about the value as it was seen then."""
    setting = line.setting
    st.html(_what(setting.name, f"{setting.help}."))
    value: Any
    if isinstance(setting.default, bool):
        value = st.selectbox("Value", [False, True], int(bool(line.value)), key=request,
                             format_func=lambda chosen: str(chosen).lower())  # fmt: skip
    elif isinstance(setting.default, str):
        kind: Literal["password", "default"] = "password" if setting.secret else "default"
        value = st.text_input("Value", str(line.value or ""), key=request, type=kind)
    else:
        # As text: a widget for numbers would cut 30.5 or clip 0 without a word; the engine's own bounds say why not.
        value = _number(st.text_input(f"Value, from {setting.least:,.10g} to {setting.most:,.10g}",
                                      "" if line.value is None else str(line.value), key=request))  # fmt: skip
    reason = asking.reason(request)
    st.html(f"<div class='d-evidence'>A change counts {escape(setting.counts)}. It stands in the audit trail under "
            f"your name and goes into {FILE}, of which all else stays as it is.</div>")  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right"):
        if presses.button("Dismiss", key=f"{request}.keep", width="content"):
            asking.close()
        back = f"Back to {setting.shown(setting.default)}"
        if line.source == FILE and presses.button(back, key=f"{request}.back", width="content"):
            change(tuning, line, None, reason)
        if presses.button(f"Change {setting.name}", key=f"{request}.go", type="primary", width="content"):
            change(tuning, line, value, reason)


def _number(text: str) -> Any:
    """Read a number; what is none goes on as it is, to be refused in the settings' own words."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def change(tuning: Tuning, line: Line, value: Any, reason: str | None) -> None:
    """Have the engine change it; what it refuses is told in the dialog, what it did on the page."""
    who = frame.actor()
    try:
        tell("settings", True, tuning.change(line.setting.name, value, line.seen, who.name, who.grants, reason))
    except (DrainboardError, TimeoutError) as error:
        st.html(f"<div class='d-told no' role='alert'>{escape(str(error) or NO_ANSWER)}</div>")
        return
    asking.close()


console = current()
drills, tuning = (console.drills, console.tuning) if console is not None else (None, None)
live(drills)
if drills is not None and frame.allowed(Right.DRILL, None, None):
    st.html("<div class='d-h2'><b>Drills</b><span>Simulated incidents on the demo fleet. Each stands in the audit "
            "trail.</span></div>")  # fmt: skip
    for each in DRILLS:
        offer(drills, each)
if tuning is not None and frame.allowed(Right.SETTINGS, None, None):
    st.html("<div class='d-h2'><b>Settings</b><span>The limits of the verdict count at once. The rest is read when the "
            "console starts.</span></div>")  # fmt: skip
    table(tuning)
