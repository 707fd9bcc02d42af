"""Active tasks: what is queued or running at a site right now, newest first."""

import polars as pl
import streamlit as st

from engine.lifecycle import queue_words, task_label
from engine.roles import Right, may
from engine.snapshot import Numbers, Snapshot
from pages.shared import frame, times

ROWS = 50

engine = frame.engine()
grants = frame.actor().grants
sites = sorted(place for place in engine.snapshot.zones if may(grants, Right.SEE, *place))
if not sites:
    st.title("Active tasks")
    st.info("There is no site yet. Import a log, or give the data folder a fleet file and start anew.")
    st.stop()
chosen = st.sidebar.selectbox(
    "Site", sites, format_func=lambda place: f"{place[1]} · {place[0]}", key="site", label_visibility="collapsed"
)


@st.fragment(run_every=1)
def live() -> None:
    """Draw the page anew from the newest snapshot."""
    if not may(frame.actor().grants, Right.SEE, *chosen):
        st.rerun()
    snapshot, pulse = engine.snapshot, engine.pulse
    title, state = st.columns([3, 1], vertical_alignment="bottom")
    title.title("Active tasks")
    if pulse.well:
        state.markdown(f":green[●] Live, {times.clock(snapshot.now)}")
    else:
        state.markdown(f":orange[●] No news for {pulse.tick_age:.0f} s")
    numbers(snapshot)
    grid(snapshot)
    services(snapshot)


def numbers(snapshot: Snapshot) -> None:
    """Show how many tasks stand where."""
    here = snapshot.numbers.get(chosen, Numbers())
    slots = snapshot.slots(*chosen)
    for column, (label, value) in zip(
        st.columns(4),
        (
            ("Queued", f"{here.queued:,}"),
            ("Running", f"{here.running:,} of {slots:,} slots" if slots else f"{here.running:,}"),
            ("Processing, queued", f"{here.process_queued:,}"),
            ("Paused", f"{here.paused:,}"),
        ),
        strict=True,
    ):
        column.metric(label, value)


def grid(snapshot: Snapshot) -> None:
    """List the newest tasks of the site that have entered the queue."""
    business, site = chosen
    tasks = snapshot.tasks().filter(business=business, site=site).filter(pl.col("queued_at").is_not_null())
    newest = tasks.sort("queued_at", "task_id", descending=True).head(ROWS)
    if newest.is_empty():
        st.success("Steady. Nothing waits and nothing runs here.")
        return
    words = queue_words(newest["status"].to_list(), newest["held_by"].to_list())
    st.dataframe(
        pl.DataFrame(
            {
                "Device / Resource": newest["target"],
                "Task": [task_label(kind, n) for kind, n in newest.select("kind", "number").iter_rows()],
                "Start date": [times.clock(at) for at in newest["queued_at"]],
                "Scope": newest["scope"],
                "Initiator": newest["initiator"],
                "Status": words,
                "Waits for": newest["cause"],
                "Service": [
                    processor or service for service, processor in newest.select("service", "processor").iter_rows()
                ],
            }
        ).with_columns(pl.col(pl.String).fill_null("")),
        key="grid",
        hide_index=True,
        height=min(ROWS, newest.height) * 35 + 38,
    )
    st.caption(f"{newest.height} of {tasks.height:,} tasks, newest first. Times are {times.zone().key}.")


def services(snapshot: Snapshot) -> None:
    """List the site's services and the business's processors."""
    business, site = chosen
    here = [s for s in snapshot.services if s.business == business and s.site in (site, None)]
    if here:
        st.subheader("Services")
        st.dataframe(
            pl.DataFrame(
                {
                    "Service": [s.name for s in here],
                    "Role": [s.role.replace("_", " ") for s in here],
                    "State": [s.state + (", suspect" if s.suspect else "") for s in here],
                    "Slots used": [f"{s.used} of {s.slots}" for s in here],
                    "Since": [times.wait(snapshot.now - s.since) for s in here],
                }
            ),
            key="services",
            hide_index=True,
        )


live()
