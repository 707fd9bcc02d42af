"""Hosts that drain the queue: how they stand, what waits because of one, how much each did over a day, what befell it.

Use is told by quarter hours and adds up exactly, in integer microseconds. All of it comes from the ledger's own deltas:

    used     slot-seconds, from every claim to what ended it: collected, finished, failed, stopped, put aside under a
             hold or taken back by a rescue; so every attempt counts, and a task in Stopping still has its slot
    offered  slot-seconds while the host was online or draining, its machine not lost and the console up. What went on
             at other times (a lost host's slots until its tasks are taken back) counts neither as offered nor as used
    done     stages that the host itself ended: handed over, processed, failed or stopped. What the engine took back
             from it, or gave up on its behalf, is not its work

A host with more tasks in it than slots, after somebody took slots away, has used more than it offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from .clock import DAY, HOUR
from .lanes import SERVES
from .lifecycle import Cause
from .rollups import QUARTER
from .snapshot import ServiceLook, Snapshot
from .standing import listed
from .store import Store

ONLINE, DRAINING, SUSPECT, OFFLINE, LOST = WORDS = ("online", "draining", "suspect", "offline", "lost")
"""How a host stands, from the best to the worst: lost is offline because nothing is heard of its machine."""

MOST_CHANGES = 500
_OURS = (Cause.OFFLINE, Cause.EXCLUSIVE, Cause.CAPACITY)  #: causes that one more host would help against
_OWN_ENDS = ("collected", "finish", "fail", "confirm_stop")
_WANTED, _HEARD = ("service_added", "online", "draining", "offline"), ("lost", "returned")


@dataclass(frozen=True, slots=True)
class Day:
    """A host's last 24 hours, by quarter hours; the last one goes on. None: it offered nothing then."""

    at: Sequence[int] = ()  #: when each quarter begins
    use: Sequence[float | None] = ()  #: share of the slot-seconds offered that was used
    done: Sequence[int] = ()  #: stages it ended
    share: float | None = None  #: of the whole day
    an_hour: float | None = None  #: stages it ended per hour in which it offered anything


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it stands."""

    look: ServiceLook
    word: str
    heard_at: int | None  #: the last sign of life; None: none since the console's start
    waits: Mapping[str, int]  #: tasks that wait because it takes nothing, by lane
    oldest_at: int | None  #: since when the oldest of them does
    day: Day


def word(look: ServiceLook) -> str:
    """Say how a host stands, in one of the `WORDS`."""
    if OFFLINE in (look.state, look.wanted):
        return OFFLINE if look.wanted == OFFLINE else LOST
    return SUSPECT if look.suspect else look.state


def standing(
    snapshot: Snapshot, heard: Mapping[tuple[str, str], int | None], days: Mapping[str, Day], business: str,
    site: str | None,
) -> list[Host]:
    """List a site's hosts, or a business's processors (no site): by role, then by name."""
    looks = [look for look in snapshot.services if (look.business, look.site) == (business, site)]
    roles = [role for roles in SERVES.values() for role in roles]
    found = []
    for look in sorted(looks, key=lambda look: (roles.index(look.role), look.name)):
        waits, oldest_at = kept_waiting(snapshot, look)
        day, at = days.get(look.name, Day()), heard.get((business, look.name))
        found.append(Host(look, word(look), at, waits, oldest_at, day))
    return found


def kept_waiting(snapshot: Snapshot, look: ServiceLook) -> tuple[dict[str, int], int | None]:
    """Count by lane who waits because a host takes nothing, and tell since when the oldest of them does.

    That is who asks for this host and no other, and who waits in a lane that it would serve for an online host or a
    free slot; nobody who is held. Where two such hosts are missing, each keeps the same tasks waiting.
    """
    waits: dict[str, int] = {}
    oldest_at: int | None = None
    if word(look) != ONLINE:
        for queue in snapshot.waiting:
            in_its_lane = look.role in SERVES[queue.lane] and look.site in (None, queue.site)
            its_own = queue.requested == look.name or (queue.requested is None and in_its_lane)
            if queue.business == look.business and queue.cause in _OURS and its_own:
                waits[queue.lane] = waits.get(queue.lane, 0) + queue.n
                oldest_at = queue.oldest_at if oldest_at is None else min(oldest_at, queue.oldest_at)
    return waits, oldest_at


def worst(hosts: Sequence[Host]) -> Host | None:
    """Pick the host that is missed most: by who waits because of it, then by how it stands; None: all are online."""
    away = [host for host in hosts if host.word != ONLINE]
    return max(away, key=lambda host: (sum(host.waits.values()), WORDS.index(host.word)), default=None)


# --- a day's use


def use(store: Store, snapshot: Snapshot, now: int, business: str) -> pl.DataFrame:
    """Follow each host of a business over the last 24 hours, in quarter hours; the last one goes on.

    Columns: name, at, offered_us, used_us, on_us (how long it offered anything), done. What ran at the snapshot's batch
    is known, and what began and ended since any instant before it: so nothing that ran is missed, however long it runs.
    """
    start_at = -(-now // QUARTER) * QUARTER - DAY
    looks = {look.name: look for look in snapshot.services if look.business == business}
    changes = _changes(store, snapshot.batch, business, start_at, now)
    cuts = sorted({*range(start_at, now, QUARTER), *changes["at"].to_list()})
    pieces = pl.DataFrame({"at": cuts, "until": [*cuts[1:], now]}, schema={"at": pl.Int64, "until": pl.Int64})
    names = pl.DataFrame(
        [(name, look.used) for name, look in looks.items()], schema={"name": pl.String, "used": pl.Int64}, orient="row"
    )
    moves = _moves(store, snapshot.batch, business, pieces)
    lasts = pl.col("until") - pl.col("at")
    whole = (
        names.join(pieces, how="cross")
        .join(moves, on=["name", "at"], how="left")
        .with_columns(pl.col("dr", "area", "done").fill_null(0))
        .sort("name", "at")
        .with_columns(at_work=pl.col("used") - pl.col("dr").cum_sum(reverse=True).over("name"))  # as a piece begins
        .join_asof(_slots(changes), on="at", by="name", check_sortedness=False)
    )
    return (
        whole.with_columns(on=pl.col("slots") > 0)
        .group_by("name", at=pl.col("at") - pl.col("at") % QUARTER, maintain_order=True)
        .agg(
            offered_us=(pl.col("slots") * lasts).sum(),
            used_us=(pl.col("at_work") * lasts + pl.col("area")).filter("on").sum(),
            on_us=lasts.filter("on").sum(),
            done=pl.col("done").sum(),
        )
    )


def _changes(store: Store, batch: int, business: str, start_at: int, now: int) -> pl.DataFrame:
    """List what changed a host's slots or whether it offers them, and when the console was down: name, what, at, slots.

    What was so already at the start counts from there; of the console `name` is empty.
    """
    return store.read(
        f"""
        with told as (
            select service as name, event as what, epoch_us(occurred_at) as at_us, event_id,
                   (detail ->> '$.slots')::bigint as slots,
                   case when event = 'slots' then 'slots' when event in ({listed(_HEARD)}) then 'heard'
                        when service is null then 'console' else 'wanted' end as about
            from service_event
            where batch <= $batch and occurred_at <= make_timestamp($now)
              and (business = $business and service is not null
                   and event in ({listed((*_WANTED, *_HEARD, "slots"))})
                   or event in ('console_down', 'console_up')))
        select name, what, greatest(at_us, $start_at) as at, slots from told
        where at_us >= $start_at
           or what = 'service_added'
           or event_id in (select max(event_id) from told where at_us < $start_at group by name, about)
        order by at_us, event_id
        """,
        {"batch": batch, "business": business, "start_at": start_at, "now": now},
    )


def _slots(changes: pl.DataFrame) -> pl.DataFrame:
    """Tell how many slots each host offered from each change on: name, at, slots."""
    down = False
    state: dict[str, tuple[int, bool, bool]] = {}  #: slots, wanted at all, heard of
    told: list[tuple[str, int, int]] = []
    for name, what, at, slots in changes.iter_rows():
        if name is None:
            down = what == "console_down"
        else:
            had, wanted, heard = state.get(name, (0, True, True))
            if what in _HEARD:
                heard = what == "returned"
            elif what != "slots":
                wanted = what != OFFLINE
            state[name] = (had if slots is None else slots, wanted, heard)
        for each in state if name is None else (name,):
            had, wanted, heard = state[each]
            told.append((each, at, had if wanted and heard and not down else 0))
    found = pl.DataFrame(told, schema={"name": pl.String, "at": pl.Int64, "slots": pl.Int64}, orient="row")
    return found.unique(["name", "at"], keep="last", maintain_order=True)  # of one instant the last counts


def _moves(store: Store, batch: int, business: str, pieces: pl.DataFrame) -> pl.DataFrame:
    """Add up what was claimed and ended within each piece: name, at, dr, area (of dr to the piece's end), done."""
    if not pieces.height:
        return pl.DataFrame(schema={"name": pl.String, "at": pl.Int64, "dr": pl.Int64, "area": pl.Int64,
                                    "done": pl.Int64})  # fmt: skip
    return store.read(
        f"""
        with piece as (select unnest($at::bigint[]) as from_us, unnest($until::bigint[]) as to_us),
        move as (
            select service as name, epoch_us(occurred_at) as at_us, dr,
                   event in ({listed(_OWN_ENDS)}) and actor = service as own
            from task_event
            where business = $business and service is not null and dr <> 0 and batch <= $batch
              and occurred_at >= make_timestamp($start_at))
        select name, from_us as at, sum(dr)::bigint as dr,
               sum(dr * (to_us - least(at_us, to_us)))::bigint as area, (count(*) filter (own))::bigint as done
        from move asof join piece on move.at_us >= piece.from_us
        group by name, from_us
        """,
        {
            "at": pieces["at"].to_list(), "until": pieces["until"].to_list(), "start_at": pieces["at"][0],
            "business": business, "batch": batch,
        },
    )  # fmt: skip


def days(used: pl.DataFrame) -> dict[str, Day]:
    """Put the use of each host together as a day."""
    return {
        str(name): _day(quarters) for (name,), quarters in used.partition_by("name", as_dict=True).items()
    }


def together(used: pl.DataFrame, names: Sequence[str]) -> Day:
    """Put the use of several hosts together as one day, as if they were one."""
    chosen = used.filter(pl.col("name").is_in(list(names)))
    return _day(
        chosen.group_by("at").agg(pl.col("offered_us", "used_us", "done").sum(), pl.col("on_us").max()).sort("at")
    )


def _day(quarters: pl.DataFrame) -> Day:
    offered, used, on, done = (int(quarters[name].sum()) for name in ("offered_us", "used_us", "on_us", "done"))
    share = pl.when(pl.col("offered_us") > 0).then(pl.col("used_us") / pl.col("offered_us"))
    return Day(
        quarters["at"].to_list(),
        quarters.select(share).to_series().to_list(),
        quarters["done"].to_list(),
        used / offered if offered else None,
        done * HOUR / on if on else None,
    )


# --- what befell a host


def changes(store: Store, business: str, name: str) -> pl.DataFrame:
    """Tell what befell a host, the latest first: at, event, reason, actor, slots; the last 500 changes at most."""
    return store.read(
        """
        select occurred_at as at, event, reason, actor, (detail ->> '$.slots')::bigint as slots
        from service_event where business = $business and service = $name
        order by event_id desc limit $most
        """,
        {"business": business, "name": name, "most": MOST_CHANGES},
    )
