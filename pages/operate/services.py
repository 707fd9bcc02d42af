"""Services: the hosts that drain a site's queue, how each stands and does, and what waits because of one."""

from functools import partial

import streamlit as st

from engine.hosts import worst
from engine.roles import Right
from engine.sight import Hosts, Sight
from pages.shared import asking, frame, grid, helps, hostcard, hostlist, hosts, notice, presses, times
from pages.shared.verdict import verdict

engine = frame.engine()
business, site = frame.site()
ABLE = frame.allowed(Right.SERVE, business, site)
GRID = repr(("services", business, site))  #: what is open at one site is not open at another


@st.fragment(run_every=frame.refresh())
def live() -> None:
    """Draw the page from the newest snapshot: the verdict, the table by role, the open host."""
    frame.watch(business, site)
    sight = frame.sight()
    well, now = sight.pulse.well, frame.known_at(engine)
    found = sight.hosts(business, site)
    frame.head("Services", hostlist.shown(found, site) if not found.archive else f"{site} is an archive", engine)
    if found.archive:
        verdict("unknown", "An archive has no services", f"{site} holds imported history: nothing can run there.")
        return
    if not ABLE:
        st.html("<div class='d-readonly'>You read this page; changing hosts needs the role of a site admin.</div>")
    judge(sight, found, now, well)
    if not (found.own or found.processors):
        return
    frame.hold(grid.follow(GRID, st.query_params, "service"))
    _, opened = grid.state(GRID)
    with st.container(horizontal=True, wrap=False, key="split"):
        left, right = st.container(), st.container(width=hostcard.WIDTH) if opened else None
    with left:
        at_work = sight.at_work(business, site)
        hostlist.table(found, at_work, business, now, key=GRID, narrow=bool(opened), stale=not well)
        more = helps.mark("services.page", "this table")
        st.html(f"<div class='d-foot'>{hostlist.FOOT} Times are {times.zone().key}.{more}</div>")
    if right and opened:
        everybody = (*found.own, *(found.processors if found.named else ()))
        host = next((host for host in everybody if host.look.name == opened), None)
        with right:
            wish = hostcard.card(host, sight, business, site, now, key=GRID, stale=not well)
        if wish:
            asking.later(partial(hosts.show, business, site, opened, wish))


def judge(sight: Sight, found: Hosts, now: int, well: bool) -> None:
    """Say which host is missed most, and offer what can be done about it; and to add one."""
    if not well:
        said = f"No news for {frame.silence(engine)}: this is how it was at {times.clock(now)}"
        why = frame.trouble(engine)
        verdict("stale", said, f"{why} Hosts go on by themselves; changes are off until it answers.")
        return
    if not found.own:
        with st.container(key="empty"):
            st.html(hostlist.empty(site, business))
            if ABLE and presses.button("Add a host", key="add-host", type="primary", width="content"):
                asking.later(partial(hosts.add, business, site))
        return
    host = worst([*found.own, *found.processors])
    named = host is not None and (found.named or host.look.site is not None)
    able = hosts.offers(host.look) if host is not None and named else []
    name = host.look.name if host is not None else ""
    changes = sight.changes(business, site, name) if named else []
    offered = [f"Bring {name} back" if "Bring back" in able else f"Open {name}"] if named else []
    offered += ["Add a host"] if ABLE else []
    told = hostlist.told(found, now, hostlist.who_and_why(changes))
    pressed = verdict(*told, offered, "services.states")
    if pressed is None:
        return
    if offered[pressed] == "Add a host":
        asking.later(partial(hosts.add, business, site))
    elif "Bring back" in able:
        asking.later(partial(hosts.show, business, site, name, "Bring back"))
    else:
        grid.open_row(GRID, name)
        frame.again()


notice.tell()
live()
