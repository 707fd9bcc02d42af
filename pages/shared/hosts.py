"""What people do to hosts: the dialog of one, where a change first names its consequence, and the one that adds one.

Opened at a site for its hosts and its business's processors. Whether somebody may is decided by the engine; here is
left out what he may not.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from engine.clock import SECOND
from engine.hosts import Host
from engine.lanes import ROLES
from engine.messages import AddService, Outcome, SetService
from engine.roles import Right
from engine.snapshot import ServiceLook

from . import asking, frame, notice, times
from .plain import plain

MOST_NAMED = 12  #: tasks of a host
ROLE_WORD = {
    "explorer": "explorer", "audit_service": "audit host", "hosted_zone": "hosted zone", "processor": "processor",
}  # fmt: skip
#: change: the state that it asks for; slots are a number instead
CHANGES = {"Drain": "draining", "Take offline": "offline", "Bring back": "online", "Change slots": None}
_DOES = {
    "explorer": "It runs one scan at a time, and connectors in its other slots.",
    "audit_service": "It runs audits.",
    "hosted_zone": "It runs connectors and imports.",
    "processor": "It processes what every site of the business has collected, and runs system tasks.",
}
_SAID = {
    "online": "Online: it takes work as soon as its machine reports.",
    "draining": "Draining: it ends what it runs and takes nothing new.",
    "offline": "Offline: it takes nothing.",
}
#: what waits, by lane: one of it, several
_WAITING = {
    "scan": ("scan", "scans"), "audit": ("audit", "audits"), "connector": ("connector task", "connector tasks"),
    "import": ("import", "imports"), "process": ("task to be processed", "tasks to be processed"),
}  # fmt: skip


def show(business: str, site: str, name: str, change: str | None = None) -> None:
    """Open the dialog of a host, or at once that of one change of it."""
    _host(business, site, name, change, f"host-{uuid4()}")


def add(business: str, site: str, role: str | None = None) -> None:
    """Open the dialog that adds a host to a site, or a processor to its business; without a role, that is asked for."""
    _add(business, site, role, f"add-host-{uuid4()}")


def offers(look: ServiceLook) -> list[str]:
    """List the changes that would change something, for whoever may; drain first what works."""
    if not frame.allowed(Right.SERVE, look.business, look.site):
        return []
    return [
        label for label, state in CHANGES.items()
        if state != look.wanted and (label != "Drain" or look.wanted == "online")
    ]  # fmt: skip


def who_may(look: ServiceLook) -> str:
    """Say which role it takes to change a host."""
    role = "a business admin" if look.site is None else "a site admin"
    return f"Changing {'a processor' if look.site is None else 'a host'} needs the role of {role}."


def waiting(waits: Mapping[str, int]) -> str:
    """Word what waits: 36 audits, or 1 scan and 2 connector tasks."""
    return " and ".join(f"{n:,} {_WAITING[lane][n != 1]}" for lane, n in waits.items()) or "nothing"


def wait(waits: Mapping[str, int]) -> str:
    """Word that it waits: 36 audits wait."""
    return f"{waiting(waits)} {'waits' if sum(waits.values()) == 1 else 'wait'}"


def tasks(n: int) -> str:
    return f"{n:,} {'task' if n == 1 else 'tasks'}"


def silent(host: Host, now: int) -> bool:
    """Tell whether a host has not been heard of for longer than one may be silent."""
    return host.heard_at is None or now - host.heard_at > frame.engine().settings.int("silence_s") * SECOND


# --- one host


@asking.dialog("Host")
def _host(business: str, site: str, name: str, change: str | None, request: str) -> None:
    sight = frame.sight()
    here = sight.hosts(business, site)
    everybody = [*here.own, *here.processors]
    host = next((each for each in everybody if each.look.name == name), None)
    if host is None:
        st.html(f"<div class='d-finding'>There is no host {escape(name)} at {escape(site)} any more.</div>")
        return
    now = frame.engine().now
    at_work = sight.at_work(business, site).get(name, [])
    _facts(host, at_work, now)
    wanted = st.session_state.get(f"{request}.want", change)
    able = offers(host.look)
    if wanted is None:
        st.html(f"<div class='d-evidence'>{escape(advice(host))}</div>")
        if not able:
            st.caption(who_may(host.look))
        with st.container(horizontal=True, horizontal_alignment="right"):
            for label in able:
                st.button(label, key=f"{request}.{label}", width="content",
                          on_click=lambda label=label: st.session_state.update({f"{request}.want": label}))  # fmt: skip
    elif wanted not in able:
        st.html(f"<div class='d-evidence'>{escape(name)} is {escape(host.word)} already, or it is not yours to change."
                "</div>")  # fmt: skip
    else:
        _change(host, everybody, at_work, wanted, now, request)


def _facts(host: Host, at_work: list[dict[str, Any]], now: int) -> None:
    look = host.look
    heard = "not since the console started" if host.heard_at is None else f"{times.age(now - host.heard_at)} ago"
    named = [f"{task['task']} ({task['target']})" for task in at_work[:MOST_NAMED]]
    if len(at_work) > MOST_NAMED:
        named.append(f"{len(at_work) - MOST_NAMED:,} more")
    facts = {
        "Host": f"{look.name}, {ROLE_WORD[look.role]}",
        "State": f"{host.word} since {times.moment(look.since, now)} ({times.age(now - look.since)})",
        "Heard": heard,
        "Slots": f"{look.used:,} of {look.slots:,} in use",
        "At work": ", ".join(named) or "nothing",
    }
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    st.html(f"<table class='d-facts'>{rows}</table>")


def advice(host: Host) -> str:
    """Say what it means that a host stands as it does, and what would change it."""
    return {
        "online": "It takes work whenever a slot is free.",
        "draining": "It ends what it runs and takes nothing new, until somebody brings it back.",
        "suspect": "It did not confirm a stop. It gets nothing new until it reports again.",
        "offline": "It takes nothing until somebody brings it back; what waits keeps its place.",
        "lost": "Nothing is heard of its machine, and what it ran went back to the queue. It takes work again by "
                "itself as soon as the machine reports; what waits keeps its place.",
    }[host.word]  # fmt: skip


def _change(
    host: Host, everybody: list[Host], at_work: list[dict[str, Any]], label: str, now: int, request: str
) -> None:
    """Say what a change would do, ask for a reason, and have the engine do it."""
    name, state, slots = host.look.name, CHANGES[label], None
    if state is None:
        # Without bounds here: a browser would keep a number beyond them back, and the last good one would count.
        slots = st.number_input("Slots: tasks at a time", None, None, host.look.slots, step=1, key=f"{request}.slots")
    says = "".join(f"<li>{escape(line)}</li>" for line in _consequences(host, everybody, at_work, label, slots, now))
    st.html(f"<ul class='d-says'>{says}</ul>")
    reason = asking.reason(request)
    unchanged = state is None and (slots is None or int(slots) == host.look.slots)
    verb = f"{label} to {int(slots):,}" if slots is not None else f"{label}: {name}"
    if asking.agreed(plain(verb), request, disabled=unchanged):
        wanted = SetService(host.look.business, name, state, None if slots is None else int(slots), reason)
        # Another number is another request: the same one would get the same answer again.
        said = _SAID[state] if state else f"{wanted.slots:,} {'slot' if wanted.slots == 1 else 'slots'} from now on"
        _done(frame.do(wanted, f"{request}-{state or wanted.slots}"), f"{name}: {said}")


def _consequences(
    host: Host, everybody: list[Host], at_work: list[dict[str, Any]], label: str, slots: float | None, now: int
) -> list[str]:
    look = host.look
    if label == "Change slots":
        return [
            f"It runs {tasks(look.used)} in {look.slots:,} slots now.",
            "More slots are filled at once from what waits." if slots is None or slots >= look.used
            else "Fewer than it runs: no task is taken from it, and it starts none until so many have ended.",
        ]  # fmt: skip
    if label == "Bring back":
        heard = ("Its machine has not been heard of: it takes work as soon as that reports."
                 if silent(host, now) else "It takes work at once.")  # fmt: skip
        return [heard, f"Because of it {wait(host.waits)}." if host.waits else "Nothing waits because of it."]
    others = [h for h in everybody if h.look.role == look.role and h.look.name != look.name and h.word == "online"]
    free = sum(max(h.look.slots - h.look.used, 0) for h in others)
    role = ROLE_WORD[look.role]
    where = look.site or look.business
    left = (
        f"{len(others):,} other {role}{' goes' if len(others) == 1 else 's go'} on at {where}, with {free:,} free "
        f"{'slot' if free == 1 else 'slots'}."
        if others else f"No other {role} is online at {where}: what it serves waits until one is."
    )  # fmt: skip
    if label == "Drain":
        runs = f"It ends the {tasks(look.used)} it runs" if look.used else "It runs nothing"
        return [f"{runs} and takes nothing new, until somebody brings it back.", left]
    stopping = sum(task["stopping"] for task in at_work)
    back = max(look.used - stopping, 0)
    goes = "goes" if back == 1 else "go"
    return [
        f"{tasks(back)} that it runs {goes} back to the queue at once and {'begins' if back == 1 else 'begin'} anew "
        "elsewhere; that counts as no failed attempt." if back else "It runs nothing that would have to begin anew.",
        *([f"{tasks(stopping)} that is asked to stop ends as its stop is confirmed."] if stopping else []),
        left,
    ]  # fmt: skip


# --- another host


@asking.dialog("Add a host")
def _add(business: str, site: str, role: str | None, request: str) -> None:
    sight = frame.sight()
    if role is None:
        able = [r for r in ROLES if frame.allowed(Right.SERVE, business, _home(r, site))]
        role = st.selectbox("Role", able, key=f"{request}.role",
                            format_func=lambda r: ROLE_WORD[r][:1].upper() + ROLE_WORD[r][1:])  # fmt: skip
    home = _home(role, site)
    neighbours = sight.services(business, home)
    here = [s for s in neighbours if s.role == role]
    where = home or business
    st.html(
        f"<div class='d-evidence'>{escape(where)} has {len(here):,} {escape(ROLE_WORD[role])}"
        f"{'' if len(here) == 1 else 's'}. A new one takes work as soon as it reports. {_DOES[role]}</div>"
    )
    name = st.text_input("Name", value=_free_name(role, here, neighbours), max_chars=60, key=f"{request}.name.{role}")
    usual = max((s.slots for s in here), default=2)
    slots = st.number_input("Slots: tasks at a time", None, None, usual, step=1, key=f"{request}.slots.{role}")
    if asking.agreed(f"Add {plain(name.strip()) or 'it'}", request, disabled=not name.strip() or slots is None):
        # Another name is another request: the same one would get the same answer again.
        wanted = AddService(business, home, name.strip(), role, int(slots))
        _done(frame.do(wanted, f"{request}-{role}-{slots}-{wanted.name}"), f"{wanted.name} is added to {where}")


def _home(role: str, site: str) -> str | None:
    """Tell where a host of a role belongs: processors to the business as a whole."""
    return None if role == "processor" else site


def _free_name(role: str, here: Iterable[ServiceLook], neighbours: Iterable[ServiceLook]) -> str:
    """Name a new host as others of its role are named."""
    stem = next((s.name.rstrip("0123456789") for s in here), role.replace("_service", "") + "-")
    taken = {s.name for s in neighbours}
    return next(f"{stem}{n}" for n in range(1, 10_000) if f"{stem}{n}" not in taken)


def _done(outcome: Outcome, said: str) -> None:
    if outcome.refused:
        st.error(plain(outcome.refused))
        return
    left = "; ".join(why for _, why in outcome.skipped)
    notice.keep(f"Left as it was: {left}" if left else said)
    asking.close()
