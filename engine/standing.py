"""What stands: unfinished tasks, services, sites, schedules, holds and saved views, as Polars frames.

A live console hands in its snapshot and gets tasks, services and holds as of that; without one (a store that no engine
runs) tasks are those of the last publication, services and holds those of the ledger. Instants are `Datetime("us")` in
frames and integer microseconds elsewhere; durations end in `_s` and are seconds, Float64.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import polars as pl

from .clock import SECOND
from .ledger import SavedView
from .lifecycle import RUNNING, TERMINAL, Status
from .messages import ScheduleSpec
from .roles import Grants
from .snapshot import ServiceLook, Snapshot
from .state import spec_from_detail
from .store import Store
from .task import COLLECT, PROCESS
from .views import may_change, seen

_SERVICE_FIELDS = attrgetter(*(field.name for field in fields(ServiceLook)))
SCOPE = """($business::varchar is null or business = $business::varchar)
    and ($site::varchar is null or site = $site::varchar)"""
OWN = "source in ('live', 'demo')"  #: work of this fleet, not of an imported log


def last_instant(store: Store) -> int | None:
    """Tell the engine's clock at the last commit; None for an empty store."""
    instant: int | None = store.read("select epoch_us(max(committed_at)) as at_us from batch").item()
    return instant


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in its present version."""

    schedule_id: int
    version: int
    spec: ScheduleSpec


def schedules(store: Store, business: str, site: str) -> list[Schedule]:
    """List a site's schedules as they stand, by name."""
    found = store.read(
        """
        select schedule_id, version, name, detail::varchar as detail from schedule
        where business = $business and site = $site and event <> 'removed' order by name, schedule_id
        """,
        {"business": business, "site": site},
    )
    return [
        Schedule(row["schedule_id"], row["version"],
                 spec_from_detail(business, site, row["name"], json.loads(row["detail"])))
        for row in found.iter_rows(named=True)
    ]  # fmt: skip


def people(store: Store, business: str) -> list[str]:
    """Name those who have an account with a role in a business, and may sign in."""
    found = store.read("select name, grants::varchar as grants from account where not disabled order by name")
    return [
        name for name, kept in found.rows()
        if any(business == where for _, where, _ in json.loads(kept)["grants"])
    ]  # fmt: skip


def had_tasks(store: Store, business: str, names: Sequence[str]) -> list[str]:
    """Name those who own tasks that have ended in a business."""
    found = store.read(
        """select distinct owner from task_finished
           where business = $business and list_contains($names::varchar[], owner)""",
        {"business": business, "names": list(names)},
    )  # fmt: skip
    return found["owner"].to_list()


@dataclass(frozen=True, slots=True)
class View:
    """A saved view as somebody sees it."""

    view_id: str
    name: str
    owner: str
    business: str | None  #: that it is shared with; None: nobody
    tab: str
    filter: str
    sort: str
    changed_at: int
    changeable: bool  #: by who looks


def views(store: Store, user: str, grants: Grants, business: str) -> list[View]:
    """List the saved views that somebody sees, by name: his own, and those shared with a business."""
    return _views(
        store, user, grants, "not removed and (business = ? or (business is null and owner = ?))", business, user
    )


def view(store: Store, user: str, grants: Grants, view_id: str) -> View | None:
    """Give one saved view; None where there is none, or where somebody does not see it."""
    return next(iter(_views(store, user, grants, "not removed and view_id = ?", view_id)), None)


def _views(store: Store, user: str, grants: Grants, where: str, *params: str) -> list[View]:
    kept: list[SavedView] = store.rows("saved_view", where, params, order="lower(name), owner, view_id")
    return [
        View(one.view_id, one.name, one.owner, one.business, one.tab, one.filter, one.sort, one.changed_at,
             may_change(one, user, grants))
        for one in kept if seen(one, user, grants)
    ]  # fmt: skip


_LIVE_COLUMNS = (
    "task_id", "number", "name", "kind", "business", "site", "target", "target_kind", "scope", "owner", "schedule_id",
    "requested_service", "service", "processor", "status", "held_by", "cause", "created_at", "queued_at", "started_at",
    "processing_queued_at", "processing_started_at", "run_s", "process_s",
)  # fmt: skip


def live_tasks(
    store: Store, snapshot: Snapshot | None = None, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """List the unfinished tasks: of the snapshot, else those of the last publication that have not ended since.

    Columns of the table task: ids, facts, status, held_by, cause, instants, run_s, process_s; and waits_for, the stage
    ("collect" or "process") that it stands in a queue for, empty where it runs or is not due.
    """
    if snapshot is None:
        found = store.read(
            f"""select {", ".join(_LIVE_COLUMNS)} from task
                where status not in ({listed(TERMINAL)}) and {SCOPE} order by task_id""",
            {"business": business, "site": site},
        ).with_columns(pl.col("run_s", "process_s").cast(pl.Float64))
    else:
        found = (
            within(snapshot.tasks(*_LIVE_COLUMNS), business, site)
            .select(_LIVE_COLUMNS)
            .with_columns(
                pl.col([name for name in _LIVE_COLUMNS if name.endswith("_at")]).cast(pl.Datetime("us")),
                pl.col("run_s", "process_s") / SECOND,
            )
        )
    queued = (pl.col("status") == Status.NEW) & pl.col("queued_at").is_not_null()
    return found.with_columns(
        waits_for=pl.when(queued)
        .then(pl.lit(COLLECT))
        .when(pl.col("status") == Status.PROCESSING_QUEUED)
        .then(pl.lit(PROCESS))
    )


def running_tasks(store: Store, tasks: pl.DataFrame) -> pl.DataFrame:
    """Pick those of the live tasks that hold a slot, with the host and the beginning of the present stage.

    Columns of `live_tasks` and: stage ("collect" or "process"), host, since_at. A stage begun anew after a rescue or a
    suspension counts from its last claim.
    """
    processing = pl.col("processing_started_at").is_not_null()
    found = tasks.filter(pl.col("status").is_in(sorted(RUNNING))).with_columns(
        stage=pl.when(processing).then(pl.lit(PROCESS)).otherwise(pl.lit(COLLECT)),
        host=pl.when(processing).then("processor").otherwise("service"),
        since_at=pl.when(processing).then("processing_started_at").otherwise("started_at"),
        again=pl.when(processing).then("process_s").otherwise("run_s").is_not_null(),
    )
    again = found.filter("again")
    if again.height:
        claims = store.read(
            """
            select task_id, max(occurred_at) as claimed_at from task_event
            where event in ('claim', 'process') and occurred_at >= $start_at
              and task_id in (select unnest($ids::bigint[]))
            group by task_id
            """,
            {"start_at": again["started_at"].min(), "ids": again["task_id"].to_list()},
        )
        found = (
            found.join(claims, on="task_id", how="left", maintain_order="left")
            .with_columns(since_at=pl.coalesce("claimed_at", "since_at"))
            .drop("claimed_at")
        )
    return found.drop("again")


def sites(store: Store, *, business: str | None = None, site: str | None = None) -> pl.DataFrame:
    """List the sites: business, site, zone, archive (imported history: no services), added_at."""
    return store.read(
        f"""
        select business, site, detail->>'$.zone' as zone, (detail->>'$.archive')::boolean as archive,
               occurred_at as added_at
        from service_event where event = 'site_added' and {SCOPE} order by business, site
        """,
        {"business": business, "site": site},
    )


_SERVICE_SCHEMA = pl.Schema({
    "business": pl.String(), "site": pl.String(), "name": pl.String(), "role": pl.String(), "state": pl.String(),
    "suspect": pl.Boolean(), "slots": pl.Int64(), "used": pl.Int64(), "since_at": pl.Datetime("us"),
    "wanted": pl.String(),
})  # fmt: skip


def services(
    store: Store,
    snapshot: Snapshot | None = None,
    *,
    business: str | None = None,
    site: str | None = None,
    tasks: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """List the services of a site and the processors of its business, as of the snapshot, else of the ledger.

    Columns: business, site (empty for processors), name, role, state (online, draining, offline), suspect, slots, used,
    since_at (the last change of state), wanted (the state that people want).
    """
    if snapshot is not None:
        looks = [
            _SERVICE_FIELDS(look)
            for look in snapshot.services
            if business in (None, look.business) and (look.site is None or site in (None, look.site))
        ]
        return pl.DataFrame(looks, schema=_SERVICE_SCHEMA, orient="row")
    found = store.read(
        """
        select business, any_value(site) as site, service as name,
               any_value(detail->>'$.role') filter (event = 'service_added') as role,
               coalesce(arg_max(event, event_id) filter (event in ('online', 'draining', 'offline')), 'online')
                   as wanted,
               arg_max(event, event_id) filter (event in ('lost', 'returned')) as heard,
               if(heard = 'lost', 'offline', wanted) as state,
               coalesce(arg_max(event, event_id) filter (event in ('suspect', 'cleared')) = 'suspect', false)
                   as suspect,
               arg_max((detail->>'$.slots')::bigint, event_id) filter (event in ('service_added', 'slots')) as slots,
               max(occurred_at) filter (event <> 'slots') as since_at
        from service_event
        where service is not null and ($business::varchar is null or business = $business::varchar)
          and (site is null or $site::varchar is null or site = $site::varchar)
        group by business, service order by business, service
        """,
        {"business": business, "site": site},
    )
    running = running_tasks(store, live_tasks(store) if tasks is None else tasks)
    used = running.group_by("business", "host").agg(used=pl.len().cast(pl.Int64))
    return (
        found.join(used, left_on=["business", "name"], right_on=["business", "host"], how="left", maintain_order="left")
        .with_columns(pl.col("used").fill_null(0))
        .select(_SERVICE_SCHEMA.names())
    )


_HOLD_SCHEMA = pl.Schema({
    "hold_id": pl.Int64(), "business": pl.String(), "site": pl.String(), "target_kind": pl.String(),
    "target": pl.String(), "reason": pl.String(), "actor": pl.String(), "from_at": pl.Datetime("us"),
    "until_at": pl.Datetime("us"), "in_force": pl.Boolean(), "blackout": pl.String(),
})  # fmt: skip
_HOLD_FIELDS = attrgetter(*_HOLD_SCHEMA.names())


def holds(
    store: Store, snapshot: Snapshot | None = None, *, business: str | None = None, site: str | None = None
) -> pl.DataFrame:
    """List the holds in force and to come that reach a business or site, as of the snapshot, else of the ledger.

    Columns: hold_id, business (empty: system-wide), site, target_kind, target, reason, actor, from_at, until_at,
    in_force, blackout (the name of the blackout window that placed it, if one did).
    """
    if snapshot is not None:
        found = pl.DataFrame([_HOLD_FIELDS(look) for look in snapshot.holds], schema=_HOLD_SCHEMA, orient="row")
    else:
        found = store.read(
            """
            select hold_id, any_value(business) as business, any_value(site) as site,
                   any_value(target_kind) as target_kind, any_value(target) as target,
                   any_value(reason) filter (event = 'placed') as reason,
                   any_value(actor) filter (event = 'placed') as actor, any_value(from_at) as from_at,
                   any_value(until_at) as until_at, bool_or(event = 'begun') as in_force,
                   any_value(name) as blackout
            from hold_event left join (select hold_id, name from blackout_fire join blackout using (blackout_id))
                 using (hold_id)
            group by hold_id having not bool_or(event not in ('placed', 'begun')) order by hold_id
            """
        )
    return found.filter(_reaches("business", business), _reaches("site", site))


def _reaches(column: str, name: str | None) -> pl.Expr:
    return pl.lit(True) if name is None else pl.col(column).is_null() | (pl.col(column) == name)


def status_counts(store: Store, *, business: str | None = None, site: str | None = None) -> pl.DataFrame:
    """Count the tasks by stored status: status, n. Live ones count as of the last publication."""
    return store.read(
        f"select status, count(*) as n from task where {SCOPE} group by status order by n desc, status",
        {"business": business, "site": site},
    )


def at_site(site: str | None) -> pl.Expr:
    return pl.lit(True) if site is None else pl.col("site") == site


def within(frame: pl.DataFrame, business: str | None, site: str | None) -> pl.DataFrame:
    return frame.filter(pl.lit(True) if business is None else pl.col("business") == business, at_site(site))


def listed(words: Iterable[Any]) -> str:
    """Write words of the program, never data, as a list of SQL literals."""
    return ", ".join(f"'{word}'" for word in sorted(words))
