"""A site's hosts: the dialog of one, with what it does and what to do about it, and the one that adds another."""

from collections.abc import Iterable
from html import escape
from uuid import uuid4

import streamlit as st

from engine.messages import AddService, Outcome, SetService
from engine.roles import Right
from engine.snapshot import ServiceLook

from . import frame, notice, queue, times
from .plain import plain

ROLE_WORD = {
    "explorer": "explorer", "audit_service": "audit host", "hosted_zone": "hosted zone", "processor": "processor",
}  # fmt: skip
_WANT = {"Bring online": "online", "Drain": "draining", "Take offline": "offline"}
_WORD = {
    "online": "Online: it takes work as soon as its machine reports.",
    "draining": "Draining: it ends what it runs and takes nothing new.",
    "offline": "Offline: it takes nothing.",
}


def show(business: str, site: str, name: str) -> None:
    """Open the dialog of a host."""
    _host(business, site, name, f"host-{uuid4()}")


def add(business: str, site: str | None, role: str) -> None:
    """Open the dialog that adds a host of a role to a site, or to the business (no site)."""
    _add(business, site, role, f"add-host-{uuid4()}")


@st.dialog("Host")
def _host(business: str, site: str, name: str, request: str) -> None:
    sight = frame.sight()
    host = next((service for service in sight.services(business, site) if service.name == name), None)
    if host is None:
        st.html(f"<div class='d-finding'>There is no host {escape(name)} at {escape(site)} any more.</div>")
        return
    now = frame.engine().now
    running = sight.listing(business, site, words=["Running", "Stopping"], size=200).rows.to_dicts()
    at_work = [task for task in running if task["host"] == name and queue.has_slot(task)]
    named = [f"{task['task']} ({task['target'] or task['name']})" for task in at_work]
    if host.used > len(named):  # of very many, a page of the list has not all
        named.append(f"{host.used - len(named):,} more")
    facts = {
        "Host": f"{host.name}, {ROLE_WORD[host.role]}",
        "State": f"{host.state}{', suspect' if host.suspect else ''} since {times.moment(host.since, now)}"
        f" ({times.age(now - host.since)})",
        "Slots": f"{host.used:,} of {host.slots:,} in use",
        "At work": ", ".join(named) or "nothing",
    }
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    st.html(f"<table class='d-facts'>{rows}</table>")
    st.html(f"<div class='d-evidence'>{escape(_advice(host))}</div>")
    if not frame.allowed(Right.SERVE, business, site):
        st.caption("Changing a host needs the role of a site admin.")
        return
    reason = st.text_input("Reason", max_chars=200, placeholder="for the audit trail", key=f"{request}.reason")
    with st.container(horizontal=True, horizontal_alignment="right"):
        for label, state in _WANT.items():
            off = host.state == state
            if st.button(label, key=f"{request}.{state}", disabled=off, width="content"):
                _done(frame.do(SetService(business, name, state, reason=reason or None), f"{request}-{state}"),
                      f"{name}: {_WORD[state]}")  # fmt: skip


def _advice(host: ServiceLook) -> str:
    if host.suspect:
        return "It did not confirm a stop. It gets nothing new until it reports again."
    if host.state == "offline":
        return ("Nothing has been heard of it, or somebody took it offline. Once its machine reports again and it is "
                "wanted online, it takes work by itself; what waits keeps its place.")  # fmt: skip
    return _WORD[host.state]


@st.dialog("Add a host")
def _add(business: str, site: str | None, role: str, request: str) -> None:
    neighbours = frame.sight().services(business, site)
    here = [s for s in neighbours if s.role == role]
    where = site or business
    st.html(
        f"<div class='d-evidence'>{escape(where)} has {len(here):,} {escape(ROLE_WORD[role])}"
        f"{'' if len(here) == 1 else 's'}. A new one takes work as soon as it reports.</div>"
    )
    name = st.text_input("Name", value=_free_name(role, here, neighbours), max_chars=60, key=f"{request}.name")
    usual = max((s.slots for s in here), default=2)
    # Without bounds here: a browser would keep a number beyond them back, and the last good one would count.
    slots = st.number_input("Slots: tasks at a time", None, None, usual, step=1, key=f"{request}.slots")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep as it is", key=f"{request}.keep", width="content"):
            st.rerun()
        if st.button(f"Add {plain(name.strip()) or 'it'}", key=f"{request}.go", type="primary", width="content",
                     disabled=not name.strip() or slots is None):  # fmt: skip
            # Another name is another request: the same one would get the same answer again.
            wanted = AddService(business, site, name.strip(), role, int(slots))
            _done(frame.do(wanted, f"{request}-{slots}-{wanted.name}"), f"{wanted.name} is added to {where}")


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
    st.rerun()
