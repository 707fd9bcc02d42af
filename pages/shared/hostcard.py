"""The card of one host beside the table: facts, what it is at work on, its last 24 hours, what befell it in 7 days."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from engine.clock import DAY
from engine.hosts import DRAINING, LOST, OFFLINE, ONLINE, Host
from engine.sight import Sight

from . import charts, frame, grid, hosts, presses, times
from .copylink import copy_link
from .hostlist import free, percent, rate, who_and_why

WIDTH = 320
DAYS = 7  #: that are told of what befell it
MOST_TASKS = 8
MOST_CHANGES = 12
#: what befell a host: the word for it, and its dot
_EVENTS = {
    "service_added": ("Added", "new"), "online": ("Brought back", "processed"), "draining": ("Draining", "stopping"),
    "offline": ("Offline", "canceled"), "lost": ("Lost, silent", "canceled"), "returned": ("Heard again", "processed"),
    "suspect": ("Suspect", "stopping"), "cleared": ("Cleared", "processed"), "slots": ("Slots", "new"),
}  # fmt: skip
_WHYS = {"silent": "silent for too long", "stop_not_confirmed": "a stop was not confirmed"}


def card(
    host: Host | None, sight: Sight, business: str, site: str, now: int, *, key: str, stale: bool = False
) -> str | None:
    """Draw a host as it stands, or say that there is none; return the change that was just asked for."""
    wish = None
    with st.container(key="card", width=WIDTH):
        with st.container(horizontal=True, vertical_alignment="top"):
            role = hosts.ROLE_WORD[host.look.role] if host else ""
            where = f"{role} of {business}" if host and host.look.site is None else f"{role} at {site}"
            name = host.look.name if host else "No such host"
            st.html(f"<div class='d-cardhead'><b>{escape(name)}</b><br>{escape(where if host else '')}</div>")
            grid.close_button(key)
        if host is None:
            st.html("<div class='d-evidence'>It is not at this site, or there never was such a host.</div>")
            return None
        befell = sight.changes(business, site, name)
        _facts(host, befell, now)
        _at_work(host, sight.at_work(business, site).get(name, []), business, now)
        if any(part is not None for part in host.day.use):
            zone = times.zone().key
            st.html(f"<div class='d-carded'><b>Last 24 hours</b> by quarter hours, {escape(zone)}</div>")
            charts.show(charts.day(host.day, zone), key=f"{key}.day.{name}")
        _befell(befell, now)
        able = hosts.offers(host.look)
        if not able:
            st.html(f"<div class='d-readonly'>{escape(hosts.who_may(host.look))}</div>")
        with st.container(horizontal=True):
            for label in able:
                dots = "…" if label == "Change slots" else ""
                if presses.button(f"{label}{dots}", key=f"{key}.{name}.{label}", disabled=stale, width="content"):
                    wish = label
            copy_link({"service": name}, key=f"{key}.copy")
    return wish


def _facts(host: Host, befell: Sequence[dict[str, Any]], now: int) -> None:
    look, can = host.look, free(host)
    oldest = f", the oldest for {times.wait(now - host.oldest_at)}" if host.oldest_at is not None else ""
    facts = {
        "State": f"{host.word.capitalize()} since {times.moment(look.since, now)} ({times.age(now - look.since)})",
        "Because": who_and_why(befell) if host.word in (DRAINING, OFFLINE, LOST) else "",
        "Slots": f"{look.used:,} of {look.slots:,} used{f', {can:,} free' if can else ''}",
        "Heard": "not since the console started" if host.heard_at is None
        else f"{times.age(now - host.heard_at)} ago",
        "Waits for it": f"{hosts.waiting(host.waits)}{oldest}" if host.word != ONLINE else "",
        "Over 24 h": _over(host),
    }  # fmt: skip
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items() if v)
    st.html(f"<table class='d-facts'>{rows}</table>")
    if host.word != ONLINE:
        st.html(f"<div class='d-foot'>{escape(hosts.advice(host))}</div>")


def _over(host: Host) -> str:
    if host.day.share is None:
        return "not at work"
    done = sum(host.day.done)
    per = f", {rate(host.day.an_hour)} an hour" if host.day.an_hour is not None else ""
    return f"{percent(host.day.share)} of its slots used, {done:,} done{per}"


def _at_work(host: Host, tasks: Sequence[dict[str, Any]], business: str, now: int) -> None:
    """List what it is at work on, each with how far it is and since when."""
    if not tasks:
        st.html("<div class='d-carded'><b>At work on</b> nothing</div>")
        return
    rows = "".join(_task(task, business, host.look.site, now) for task in tasks[:MOST_TASKS])
    more = len(tasks) - MOST_TASKS
    last = f"<tr><td colspan='3'>and {more:,} more</td></tr>" if more > 0 else ""
    st.html(f"<div class='d-carded'><b>At work on</b> {hosts.tasks(len(tasks))}</div>"
            f"<table class='d-tasks'>{rows}{last}</table>")  # fmt: skip


def _task(task: dict[str, Any], business: str, here: str | None, now: int) -> str:
    address = frame.link(business, task["site"], task=str(task["task_id"]))
    part = task["progress"]
    where = f"{task['target'] or ''}{'' if here else ', ' + task['site']}{', stopping' if task['stopping'] else ''}"
    bar = f"<u><i style='width:{int(part * 100)}%'></i></u>{int(part * 100)}\u202f%" if part is not None else "–"
    since = "" if task["since_at"] is None else times.age(now - task["since_at"])
    return (
        f"<tr><td><a href='{escape(address)}' target='_self'>{escape(task['task'])}</a><small>{escape(where)}</small>"
        f"</td><td>{bar}</td><td>{since}</td></tr>"
    )


def _befell(befell: Sequence[dict[str, Any]], now: int) -> None:
    recent = [change for change in befell if change["at"] >= now - DAYS * DAY]
    said = f"in the last {DAYS} days" if recent else f"nothing in the last {DAYS} days"
    rows = "".join(_change(change, now) for change in recent[:MOST_CHANGES])
    more = len(recent) - MOST_CHANGES
    left = f"<div class='d-foot'>and {more:,} earlier</div>" if more > 0 else ""
    table = f"<table class='d-way d-befell'>{rows}</table>"
    st.html(f"<div class='d-carded'><b>What befell it</b> {said}</div>{table}{left}")


def _change(change: dict[str, Any], now: int) -> str:
    word, dot = _EVENTS.get(change["event"], (change["event"], "new"))
    if change["event"] == "slots":
        word = f"{change['slots']:,} {'slot' if change['slots'] == 1 else 'slots'}"
    by = "" if change["actor"] == "engine" else change["actor"]
    why = _WHYS.get(change["reason"], f"“{change['reason']}”") if change["reason"] else ""
    says = ", ".join(part for part in (by, why) if part)
    return (
        f"<tr><td>{times.moment(change['at'], now)}</td><td class='d-dot {dot}'></td><td>{escape(word)}"
        f"{f'<small>{escape(says)}</small>' if says else ''}</td></tr>"
    )
