"""Does every wait add up, each cause with its very microseconds? Do the depths of the queues?

A wait lasts from the event that let a task join a queue to the one that let it leave, and at each instant of it counts
for the first cause that applies: a hold, the console down, a ramp or cap that is shut, no service online for it; then,
for a scan, that every explorer scans, for anything else that every slot is taken. Which it was follows from the
recorded events of holds, throttles and services alone; what the leaving event tells of it equals that. Imports tell
waits of unknown cause, and no others do.
"""

from __future__ import annotations

from collections.abc import Iterator

from .findings import IMPORT, Ledger, Wrong
from .lifecycle import Cause
from .spells import HELD, KEEPING, SCHEDULED, THROTTLES, lane, under_holds

CAUSES = tuple(cause.value for cause in Cause)


def of_tasks(ledger: Ledger, span: str) -> Iterator[Wrong]:
    """Compare what each wait of some tasks is said to have been for with what was in force meanwhile."""
    return ledger.wrongs(_WAITS, span=span)


def depths(ledger: Ledger) -> Iterator[Wrong]:
    """See that no queue ever held less than nothing, whatever its tasks waited for."""
    return ledger.wrongs(_DEPTHS)


WAITED_SHAPE = '{"waited": {' + ", ".join(f'"{cause}": "BIGINT"' for cause in CAUSES) + '}, "start_unknown": "BOOLEAN"}'
"""How to read what an event tells of a wait off its detail."""


def waited_us(told: str) -> str:
    """Sum what an event, whose detail was read as `told`, tells of a wait."""
    return " + ".join(f"coalesce({told}.waited.{cause}, 0)" for cause in CAUSES)


def _told(cause: str) -> str:
    return f"coalesce(told.waited.{cause}, 0)"


#: cause, for how long of a wait it was in force, and how that is said
_IN_FORCE = (
    ("hold", "hold_us", "under a hold; holds were in force"),
    ("console", "console_us", "for the console; it was down, and no hold on,"),
    ("throttled", "throttled_us", "throttled; with console up and no hold on, a ramp or cap was shut"),
    ("offline", "offline_us", "offline; with console up, no hold on and no throttle shut, no service for it was there"),
    ("exclusive", "if(lane = 'scan', taken_us, 0)", "for an explorer that scans; so it was"),
    ("capacity", "if(lane = 'scan', 0, taken_us)", "for a free slot; so it was"),
)

_DISAGREEING = " union all ".join(
    f"select 'wait split', batch, business, site, kind, task_id, "
    f"format('{{}} tells of {{}} µs of waiting {says} for {{}} µs of it', event, {_told(cause)}, {in_force}) "
    f"from compared where {_told(cause)} <> {in_force}"
    for cause, in_force, says in _IN_FORCE
)

_WAITS = f"""
    with held as materialized ({HELD}),
    scheduled as materialized ({SCHEDULED}),
    asked as (
        -- Few tasks ask for a service: the text is searched first, since reading it as JSON takes its time.
        select task_id, event_id,
               coalesce(detail ->> if(event = 'edit', '$.changes.requested_service', '$.requested_service'), '')
                   as requested
        from task_event
        where $span and batch <= $upto and event in ('submit', 'edit')
          and contains(detail::varchar, '"requested_service"')
    ), moved as (
        select event_id, batch, epoch_us(occurred_at) as us, task_id, event, business, site, kind, owner, actor, dq, dp,
               case when dq < 0 or dp < 0 or event = 'edit' then json_transform(detail, '{WAITED_SHAPE}') end as told
        from task_event
        where $span and batch <= $upto and (dq <> 0 or dp <> 0 or event = 'edit')
    ), walked as (
        select *, lag(us) over (partition by task_id order by event_id) as joined_at,
               us - joined_at as lasted
        from moved where event <> 'edit' or told.waited is not null
    ), waited as materialized (
        select *, {waited_us("told")} as told_us, {lane("dp < 0")} as lane
        from walked where (dq < 0 or dp < 0 or event = 'edit') and joined_at is not null
    ), begun as materialized (
        select w.*, if(lane = 'process', '', coalesce(site, '')) as at_site,
               if(dp < 0, '', coalesce(requested, '')) as asked_for,
               make_timestamp(joined_at) as joined, make_timestamp(us) as gone
        from waited w asof left join asked a on w.task_id = a.task_id and w.event_id > a.event_id
        where actor <> '{IMPORT}' and lasted > 0
    ), throttle as materialized ({THROTTLES}
    ), throttled as (
        {
    under_holds(
        "begun", "r.event_id, h.throttle_id, h.but", "h.begun_at < r.gone and h.ended_at > r.joined", "throttle"
    )
}
    ), live as materialized (
        select b.*, coalesce(t.throttles, '') as throttles
        from begun b left join (
            select event_id, string_agg(throttle_id::varchar, ',' order by throttle_id) as throttles
            from (select event_id, throttle_id from throttled group by all having not bool_or(but)) group by event_id
        ) t using (event_id)
    ), place as materialized (
        select row_number() over () as number, * from (
            select distinct business, at_site as site, lane, asked_for as requested, throttles from live)
    ), {KEEPING},
    covered as materialized (
        {
    under_holds(
        "live",
        "r.event_id, greatest(epoch_us(h.begun_at), r.joined_at) as since, least(epoch_us(h.ended_at), r.us) as until",
        "h.begun_at < r.gone and h.ended_at > r.joined",
    )
}
    ), gaps as (
        -- Between holds that follow one another or overlap, and after the last of them.
        select event_id, coalesce(max(until) over before, joined_at) as since, c.since as until
        from (select * from covered union all
              select event_id, us, us from live where event_id in (select event_id from covered)) c
        join live using (event_id)
        window before as (partition by event_id order by c.since, until
                          rows between unbounded preceding and 1 preceding)
    ), free as (
        select event_id, joined_at as since, us as until from live
        where event_id not in (select event_id from covered)
        union all
        select event_id, since, until from gaps where until > since
    ), placed as (
        select event_id, number, since, until
        from free join live using (event_id) join place p
          on (p.business, p.site, p.lane, p.requested, p.throttles)
             = (live.business, at_site, live.lane, asked_for, live.throttles)
    ), lengths as (
        select event_id, sum(until - since)::bigint as free_us,
               sum(e.console_before + if(e.cause = 'console', until - e.us, 0)
                   - s.console_before - if(s.cause = 'console', since - s.us, 0))::bigint as console_us,
               sum(e.throttled_before + if(e.cause = 'throttled', until - e.us, 0)
                   - s.throttled_before - if(s.cause = 'throttled', since - s.us, 0))::bigint as throttled_us,
               sum(e.offline_before + if(e.cause = 'offline', until - e.us, 0)
                   - s.offline_before - if(s.cause = 'offline', since - s.us, 0))::bigint as offline_us
        from placed f
        asof join keeping s on f.number = s.number and f.since >= s.us
        asof join keeping e on f.number = e.number and f.until >= e.us
        group by event_id
    ), compared as materialized (
        select w.*, lasted - coalesce(free_us, 0) as hold_us, coalesce(console_us, 0) as console_us,
               coalesce(throttled_us, 0) as throttled_us, coalesce(offline_us, 0) as offline_us,
               coalesce(free_us - console_us - throttled_us - offline_us, 0) as taken_us
        from live w left join lengths using (event_id)
    )
    select 'wait split' as "check", batch, business, site, kind, task_id,
           format('{{}} after {{}} µs of waiting tells of {{}} µs', event, lasted, told_us) as what
    from waited where told_us <> lasted and not coalesce(told.start_unknown, false)
    union all
    select 'wait split', batch, business, site, kind, task_id,
           format('{{}} tells of a wait of less than nothing', event)
    from waited where least({", ".join(map(_told, CAUSES))}) < 0
    union all
    select 'wait split', batch, business, site, kind, task_id, format('{{}} tells of a wait of unknown cause', event)
    from waited where actor <> '{IMPORT}' and told.waited.unknown is not null
    union all {_DISAGREEING}
"""

_DEPTHS = """
    with moved as (
        select occurred_at, business, site, kind, 'collect' as queue, cause, dq as n
        from task_event where dq <> 0 and batch <= $upto
        union all
        select occurred_at, business, site, kind, 'process', cause, dp from task_event where dp <> 0 and batch <= $upto
        union all
        select occurred_at, business, site, kind, queue, from_cause, -n from queue_shift where batch <= $upto
        union all
        select occurred_at, business, site, kind, queue, to_cause, n from queue_shift where batch <= $upto
    ), summed as (
        -- Changes of one instant are netted: the window's frame takes all of them in.
        select business, site, kind, queue, cause, occurred_at,
               sum(n) over (partition by business, site, kind, queue, cause order by occurred_at) as depth
        from moved
    )
    select 'depths' as "check", null::bigint as batch, business, site, format('{}s', kind) as thing,
           format('from {} on, {} wait to {} for {}', min(occurred_at), min(depth), queue,
                  coalesce(cause, 'no cause')) as what
    from summed where depth < 0 group by business, site, kind, queue, cause
"""
