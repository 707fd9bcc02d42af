"""What surrounds every page: the waiting room before the console is live, who is looking, the menu, the head row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests, ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx
from streamlit.runtime.state import get_session_state

from engine.access import Access, Actor
from engine.clock import SECOND, stopwatch
from engine.console import Stage, current
from engine.errors import DrainboardError
from engine.messages import Action, Command, Outcome
from engine.roles import Grants, Right, may, worded
from engine.runtime import Engine
from engine.sight import Sight
from engine.web import COOKIE, SIGN_IN, SIGN_OUT

from . import drawer, grid, heard, presses, times

ANSWERED_WITHIN = 15.0  #: seconds
COUNTED_EVERY = 10  #: seconds between two looks at what the menu counts, at least
HELD_FOR = 20.0  #: seconds for which an address that was asked for is held, where the browser is not heard of before
SLOW = 30  #: seconds between two refreshes from which on a page is not called live
REFRESH = {"1 s": 1, "5 s": 5, "30 s": 30, "5 min": 300, "Off": None}


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the menu: for whoever has one of the rights anywhere; without rights, for everybody.

    `path` is its address, "" the root's. What it `tells` stands beside it, if there is anything to tell. `help` names
    the topic of Help that fits it. One that is not `listed` is reached by links only.
    """

    title: str
    script: str
    path: str = ""
    rights: tuple[Right, ...] = ()
    tells: Callable[[], str] | None = None
    help: str = ""
    listed: bool = True

    def open_to(self, grants: Grants) -> bool:
        """Tell whether it is for somebody with these grants."""
        return not self.rights or any(may(grants, right, g.business, g.site) for right in self.rights for g in grants)


Menu = Mapping[str, Sequence[Entry]]  #: by section


def engine() -> Engine:
    """Return the running engine; a page only runs while there is one."""
    console = current()
    if console is None or console.engine is None:
        st.rerun()
    return console.engine


def actor() -> Actor:
    """Tell who is looking, asked anew at every run and refresh; whoever is signed out meanwhile sees nothing more."""
    found = _who()
    if found is None:
        console = current()
        if console is not None and console.access is not None and not console.access.founded:
            st.html("<div class='d-finding'>The console is ready, and nobody can sign in yet.</div>")
            st.html("<div class='d-evidence'>The server's log has the link that makes the first admin, once.</div>")
            st.stop()
        st.html("<div class='d-finding'>You are signed out.</div>")
        st.html(f"<a href='{SIGN_IN}' target='_self'>Sign in</a>")
        st.stop()
    return found


def _who() -> Actor | None:
    console = current()
    return console.access.who(st.context.cookies.get(COOKIE)) if console and console.access else None


def sight() -> Sight:
    """Return what whoever is looking sees right now, of one snapshot."""
    console = current()
    if console is None or console.watch is None:
        st.rerun()
    who = actor()
    return Sight(console.watch, who.grants, who.name, _gone(), _leave)


def _gone() -> Callable[[], bool]:
    """Make what tells whether this very run is not waited for any more."""
    run = get_script_run_ctx()
    if run is None or run.script_requests is None:
        return lambda: False
    requests, parts = run.script_requests, len(run.fragment_ids_this_run or ())
    return lambda: left(requests, parts)


def _leave() -> None:
    """Break off the run that is not waited for any more, and let what it has drawn stand with what it has not.

    A run that is stopped counts as all there is: what it has not come to would vanish from the screen, and with it what
    somebody types there.
    """
    st.session_state.get("page")  # whoever asks for the whole page, or leaves, is heard here
    again()


def left(requests: ScriptRequests, parts: int) -> bool:
    """Tell whether somebody typed on, went elsewhere, or left, while a run draws so many parts; 0: the whole page.

    Not that the next refresh is due: a search that takes longer than that would never come to its end. Nor, where more
    than one part is drawn, that another one is asked for: a dialog's turn may come after that search. Streamlit itself
    looks at this whenever a run draws something, but while a query runs, nothing is drawn; it has no public name.
    """
    asked, then = requests._state, requests._rerun_data
    if asked is not ScriptRequestType.RERUN:
        return asked is ScriptRequestType.STOP
    return not then.is_auto_rerun and (parts == 1 or not (then.fragment_id or then.fragment_id_queue))


def access() -> Access:
    """Return what knows the accounts; it asks who wants to know or change something of them."""
    console = current()
    if console is None or console.access is None:
        st.rerun()
    return console.access


def origin() -> str:
    """Tell where browsers reach the console: as the settings say, else as this browser does; "" where nobody knows."""
    told = str(engine().settings["public_url"])
    here = urlsplit(st.context.url or "")
    return told or (f"{here.scheme}://{here.netloc}" if here.scheme and here.netloc else "")


def do(action: Action, request: str) -> Outcome:
    """Have the engine do something for whoever is looking, if he may; return once the outcome is durable and shown."""
    who = actor()
    try:
        return engine().ask(Command(request, who.name, action, who.grants), ANSWERED_WITHIN)
    except (DrainboardError, TimeoutError) as error:
        return Outcome(refused=str(error) or "The engine did not answer in time; look whether it happened")


def allowed(right: Right, business: str | None, site: str | None) -> bool:
    """Tell whether whoever is looking has a right somewhere: to offer what it is for; the engine decides."""
    return may(actor().grants, right, business, site)


def watch(business: str, site: str | None) -> None:
    """Within a refresh, see that whoever looks still may see this site, or (None) the business as a whole; else run the
    page anew, which says so."""
    if not may(actor().grants, Right.SEE, business, site):
        st.rerun()
    hold_on()


def account() -> None:
    """Show who is signed in and where he may what, and behind "Account" all of that and the way out."""
    who = actor()
    held = worded(who.grants) or ["No role"]
    more = f" and {len(held) - 1:,} more" if len(held) > 1 else ""
    every = "; ".join(held)
    st.html(
        f"<div class='d-account'><b>{escape(who.name)}</b>"
        f"<small title='{escape(every)}'>{escape(held[0])}{more}</small></div>"
    )
    with st.popover("Account", type="tertiary", key="account"):
        grants = "".join(f"<li>{escape(grant)}</li>" for grant in held)
        st.html(
            f"<div class='d-grants'><b>{escape(who.name)}</b> has these roles:<ul>{grants}</ul>"
            f"<form method='post' action='{SIGN_OUT}'><button type='submit'>Sign out</button></form></div>"
        )


def navigation(sections: Menu) -> tuple[Any, dict[str, list[tuple[Entry, Any]]]]:
    """Make the pages; return the one that the address asks for, and those to list, by section.

    A page that is not for whoever looks has its address all the same, where it says so.
    """
    who = _who()
    grants = who.grants if who is not None else ()
    every: list[Any] = []
    listed: dict[str, list[tuple[Entry, Any]]] = {}
    for section, entries in sections.items():
        for entry in entries:
            open_to = entry.open_to(grants)
            script = entry.script if open_to else partial(not_open, entry.title)
            page = st.Page(script, title=entry.title, url_path=entry.path or None, default=not entry.path)
            every.append(page)
            if open_to and entry.listed:
                listed.setdefault(section, []).append((entry, page))
    return st.navigation(every, position="hidden"), listed


def not_open(title: str) -> None:
    """Say that a page is not for whoever looks."""
    st.html(f"<h1 class='d-title'>{escape(title)}</h1>")
    st.html(
        "<div class='d-finding'>This page is not open to your role.</div>"
        "<div class='d-evidence'>If you need it, ask an admin for a role that has it; the menu lists what is open to "
        "you.</div>"
    )


def menu(sections: Mapping[str, Sequence[tuple[Entry, Any]]], current: Any) -> None:
    """Draw the mark, the choice of site and the pages by section into the sidebar; what has no section stands below."""
    if st.session_state.get("page") != current.title:
        st.session_state.pop(_TURNED, None)  # it was of another page
        presses.forget()
        grid.leave()
        st.session_state["page"] = current.title
    bars = "".join(f"<b style='width:{width}px'></b>" for width in (16, 11, 6))
    with st.sidebar:
        st.html(f"<div class='d-mark'><i>{bars}</i>Drainboard</div>")
        choose_site()
        _links({section: pages for section, pages in sections.items() if section})
        _help(sections, current)
        account()
        drawer.drawer()


def _links(sections: Mapping[str, Sequence[tuple[Entry, Any]]]) -> None:
    pace = st.session_state[_PACE] = refresh()
    who = _who()

    @st.fragment(run_every=None if pace is None else max(pace, COUNTED_EVERY))
    def links() -> None:
        now = _who()
        if who is not None and now is not None and set(now.grants) != set(who.grants):
            st.rerun()  # with other roles there are other pages
        for section, pages in sections.items():
            st.html(f"<div class='d-section'>{escape(section)}</div>")
            for entry, page in pages:
                told = entry.tells() if entry.tells is not None else ""
                st.page_link(page, label=f"{entry.title} :gray[{told}]" if told else entry.title)

    links()


def _help(sections: Mapping[str, Sequence[tuple[Entry, Any]]], current: Any) -> None:
    """Link to Help, at the topic that fits the page on the screen."""
    every = [entry for pages in sections.values() for entry, page in pages if page.url_path == current.url_path]
    topic = next((entry.help for entry in every), "")
    with st.container(key="foot"):
        for entry, page in sections.get("", ()):
            st.page_link(page, label=entry.title, query_params={"topic": topic} if topic else None)


def in_flight() -> str:
    """Count what is in flight at the chosen site."""
    place = _place()
    return f"{sum(sight().listing(*place, size=1).counts.values()):,}" if place is not None else ""


def offline() -> str:
    """Count the hosts of the chosen site that are offline, where there are any."""
    place = _place()
    n = sum(service.state == "offline" for service in sight().services(*place)) if place is not None else 0
    return f"*{n:,} offline*" if n else ""


def held() -> str:
    """Count the tasks that are paused in the business of the chosen site, where there are any."""
    place = _place()
    if place is None or not allowed(Right.HOLD, place[0], None):
        return ""
    n = sight().numbers(place[0], None).paused
    return f"*{n:,} held*" if n else ""


def _place() -> tuple[str, str] | None:
    """Return the chosen site; None where there is none, or nobody to see it any more."""
    console = current()
    if _who() is None or console is None or console.watch is None:
        return None
    return _sites().get(st.session_state.get("site", ""))


_TURNED, _UNKNOWN, _PACE = "turned to", "unknown site", "pace of this page"
_NOTHING: tuple[dict[str, str | None], Callable[[], float], bool] = ({}, stopwatch(), False)
"""What is held, for how long by now, and whether the next run is one that the page itself has asked for."""
_OF_A_SITE = ("task", "schedule", "report", "service", "page", "after", "before")  #: what an address has of one


def choose_site() -> None:
    """Let the viewer choose among the sites; the address keeps which."""
    if sites := _sites():
        asked = st.query_params.get("site", "")
        if asked and asked not in sites:
            meant = [name for name, (business, site) in sites.items() if asked in (site, f"{site} · {business}")]
            if len(meant) == 1:  # whoever sent the link sees another site of that name, or another one does no more
                st.query_params["site"] = meant[0]
            else:
                st.session_state[_UNKNOWN] = asked
        st.selectbox("Site", list(sites), key="site", label_visibility="collapsed", bind="query-params",
                     on_change=_site_chosen)  # fmt: skip


def _site_chosen() -> None:
    st.session_state.pop(_UNKNOWN, None)
    address(dict.fromkeys(_OF_A_SITE))


def site() -> tuple[str, str]:
    """Return the chosen business and site; without any, say what to do and end the run."""
    sites = _sites()
    if st.session_state.get("site") not in sites:
        st.html("<div class='d-finding'>There is no site yet.</div>")
        st.caption("Import a log, or give the data folder a fleet file and start anew.")
        st.stop()
    if asked := st.session_state.get(_UNKNOWN):
        said = f"The address names the site “{asked[:100]}”, which is not there or not for you to see; this is another."
        st.html(f"<div class='d-told no' role='alert'>{escape(said)}</div>")
    return sites[st.session_state["site"]]


def _sites() -> dict[str, tuple[str, str]]:
    """Name the sites; where two businesses have one of the same name, with the business."""
    places = sight().places()
    names = [site for _, site in places]
    return {f"{site} · {business}" if names.count(site) > 1 else site: (business, site) for business, site in places}


def site_name(business: str, site: str) -> str:
    """Name a site as the choice of sites does, and addresses."""
    return next((name for name, place in _sites().items() if place == (business, site)), site)


def link(business: str, site: str, **parameters: str) -> str:
    """Write the address of Active tasks at a site, with parameters, as a link within the app."""
    return "/?" + urlencode({"site": site_name(business, site), **parameters})


def go_to(page: Any, business: str, site: str, parameters: Mapping[str, str]) -> None:
    """Open a page at a site, whichever was chosen before; call it above the choice of sites."""
    st.session_state["site"] = site_name(business, site)
    st.switch_page(page, query_params={"site": st.session_state["site"], **parameters})


def address(changes: Mapping[str, str | None]) -> None:
    """Change parameters of the page's address, which says what its viewer asked for; None takes one out.

    Call it where the page is drawn next: in what a widget calls, or in a dialog.
    """
    hold(changes, runs_anew=True)


def _put(changes: Mapping[str, str | None]) -> None:
    """Change them all at once: each change that is sent to a browser is a step that its way back goes through."""
    given = {name: value for name, value in changes.items() if value is not None}
    gone = [name for name, value in changes.items() if value is None and name in st.query_params]
    if not gone and all(st.query_params.get(name) == value for name, value in given.items()):
        return
    with get_session_state().query_params() as address:
        for name in gone:
            address.discard_param_no_forward_msg(name)
        address.update(given)


def turn_to(changes: Mapping[str, str | None]) -> None:
    """Change the address as was pressed, and draw anew; within a refresh.

    It is held so until the browser has heard of it: until then it would say the old one once more.
    """
    if not changes:
        presses.settle()
        return
    hold(changes, runs_anew=True)
    presses.settle()  # nothing from here back can be broken off by another run
    again()


def again() -> NoReturn:
    """Draw anew what is being drawn: some parts of the page, or all of it.

    A page as a whole runs not only at first: the server makes one run of a press and of whatever else asks for all. Of
    several parts, `st.rerun` would let go of those that were drawn before: what they have no more, as a dialog its
    fault, is taken off the screen at the end of a run that comes to its end.
    """
    run = get_script_run_ctx()
    if run is not None and run.script_requests is not None and (parts := run.fragment_ids_this_run):
        run.script_requests.request_rerun(
            RerunData(run.query_string, page_script_hash=run.page_script_hash, fragment_id_queue=list(parts),
                      is_fragment_scoped_rerun=True, cached_message_hashes=run.cached_message_hashes,
                      context_info=run.context_info)
        )  # fmt: skip
        st.session_state.get("page")  # where the server looks for what is asked of it, and begins
    st.rerun()


def hold(changes: Mapping[str, str | None], *, runs_anew: bool = False) -> None:
    """Change the address within a refresh, which goes on; held likewise."""
    if changes:
        held, *_ = st.session_state.get(_TURNED, _NOTHING)
        st.session_state[_TURNED] = {**held, **changes}, stopwatch(), runs_anew
        _put(changes)


def hold_on() -> None:
    """Put right what an address has lost of what was pressed just now.

    Once a browser has said the new address, another one means that somebody went elsewhere.
    """
    held, held_for, own = st.session_state.get(_TURNED, _NOTHING)
    lost = {name: value for name, value in held.items() if st.query_params.get(name) != value}
    if held_for() > HELD_FOR or not (own or lost):
        st.session_state.pop(_TURNED, None)
        return
    st.session_state[_TURNED] = held, held_for, False
    _put(lost)


def refresh() -> int | None:
    """Tell how many seconds lie between two refreshes; None: none by itself."""
    return REFRESH[st.session_state.get("refresh") or "1 s"]


def known_at(running: Engine) -> int:
    """Tell up to when the engine has been heard of: its clock, which stands still where it does not tick."""
    pulse = running.pulse
    return running.now if pulse.well else running.now - int((pulse.silence - pulse.tick_age) * SECOND)


def trouble(running: Engine) -> str:
    """Say in a sentence why there is no news."""
    why = running.pulse.trouble or "the engine does not answer"
    return f"{why[0].upper()}{why[1:]}."


def silence(running: Engine) -> str:
    """Tell for how long the engine has not been heard of."""
    return times.age(int(running.pulse.silence * SECOND))


def head(title: str, shown: str, running: Engine) -> None:
    """Draw the head row: title, what is shown, and how old it is. A new refresh rate counts at once."""
    pace, pulse = refresh(), running.pulse
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.html(f"<h1 class='d-title'>{escape(title)}</h1>", width="content")
        st.html(f"<div class='d-shown'>{escape(shown)}</div>")
        clock, rest = times.clock(running.now), ""
        if not pulse.well:
            kind, said, rest = "d-stale", f"Stale: {silence(running)} old", ", engine not answering"
        elif pace is None:
            kind, said = "d-asof", f"Standing still since {clock}"
        elif pace >= SLOW:
            kind, said = "d-asof", f"As of {clock}, every {times.age(pace * SECOND)}"
        else:
            kind, said = "d-live", f"Live, {clock}"
        heard.words(said, kind, pace, rest)
        st.selectbox("Refresh every", list(REFRESH), key="refresh", label_visibility="collapsed", width=84,
                     persist_state="session")  # fmt: skip
    if refresh() != st.session_state.get(_PACE, pace):
        st.rerun()  # only a run of the whole page changes how often its parts are drawn


@st.fragment(run_every=1)
def waiting_room(_: Stage | None) -> None:
    """Say how far the first start is, and go on by itself when the console is live."""
    console = current()
    stage = console.stage if console else Stage("starting")
    if console is not None and console.engine is not None:
        st.rerun(scope="app")
    with st.container(width=640):
        st.title("Drainboard")
        if stage.name == "failed":
            st.error(stage.text)
            st.caption("Nothing was changed. The log of the server says more; mend what it names and start again.")
        else:
            st.progress(min(max(stage.fraction, 0.0), 1.0), text=stage.text or "Starting")
            if stage.name == "seeding":
                st.caption("First start: the demo fleet works through its history, then it goes live.")
