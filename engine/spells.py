"""From when to when: holds in force, throttles shut, the console down, services at work or not, as SQL over the ledger.

Several checks ask what was in force at an instant or how long of a wait it lasted; what that is, is said here once.
Each text is a query, or the body of a `with`, that a check builds into its own; spells are [begun_at, ended_at), and
what still lasts ends in the year 9999. Changes of one instant are netted: a spell of no length is none.
"""

from __future__ import annotations

from .findings import listed
from .lifecycle import SYSTEM_KINDS

FOREVER = "timestamp '9999-01-01'"

#: Holds that have begun, with whom they cover.
HELD = f"""
    select business, site, target_kind, target, min(occurred_at) filter (event = 'begun') as begun_at,
           coalesce(min(occurred_at) filter (event not in ('placed', 'begun')), {FOREVER}) as ended_at
    from hold_event where batch <= $upto
    group by hold_id, business, site, target_kind, target having begun_at is not null
"""

#: Whom ramps and caps cover, in the columns of holds; `but`: whom a ramp leaves out although it is over him.
THROTTLES = f"""
    select throttle_id, throttle, rate, but, begun_at, ended_at, reach ->> '$[0]' as business,
           reach ->> '$[1]' as site, reach ->> '$[2]' as target_kind, reach ->> '$[3]' as target
    from (
        select b.throttle_id, b.throttle, b.rate, b.occurred_at as begun_at, part = 'but' as but,
               coalesce(e.occurred_at, {FOREVER}) as ended_at, unnest(from_json(b.detail -> part, '["JSON"]')) as reach
        from throttle_event b cross join (values ('over'), ('but')) parts(part)
        left join throttle_event e on e.throttle_id = b.throttle_id and e.event = 'ended' and e.batch <= $upto
        where b.event = 'begun' and b.batch <= $upto
    )
"""

#: Throttles shut, when nobody may start under them.
SHUT = f"""
    select throttle_id, occurred_at as begun_at,
           coalesce(lead(occurred_at) over (partition by throttle_id order by event_id), {FOREVER}) as ended_at, event
    from throttle_event where event in ('shut', 'open', 'ended') and batch <= $upto
    qualify event = 'shut'
"""

#: The console down, all businesses alike.
DOWN = f"""
    select occurred_at as begun_at, coalesce(lead(occurred_at) over (order by event_id), {FOREVER}) as ended_at, event
    from service_event where event in ('console_down', 'console_up') and batch <= $upto
    qualify event = 'console_down'
"""

#: The schedule of each task in `$span` that is a run of one, where any schedule was ever held.
SCHEDULED = """
    select task_id, detail ->> '$.schedule_id' as schedule_id from task_event
    where $span and event = 'submit' and batch <= $upto
      and exists (select 1 from hold_event where target_kind = 'schedule')
"""


def under_holds(rows: str, columns: str, during: str, held: str = "held") -> str:
    """Join rows with the holds that cover their task, by whatever target, as far as `during` (of r, h) says.

    Wants `held` (or what is called so) and `scheduled`, made of the queries above, in the `with` before it.
    """
    reach = "(h.business is null or h.business = r.business) and (h.site is null or h.site = r.site)"
    return " union all ".join(
        f"select {columns} from {rows} r {more} join {held} h "
        f"on h.target_kind = '{kind}' and h.target = {whose} and {reach} and {during}"
        for kind, whose, more in (
            ("user", "r.owner", ""),
            ("kind", "r.kind", ""),
            ("schedule", "s.schedule_id", "join scheduled s using (task_id)"),
            ("site", f"if(r.kind in ({listed(SYSTEM_KINDS)}), null, r.site)", ""),
        )
    )


#: What each service was after each of its events: its slots, role and site, and whether it was to be given work.
KNOWN = """
    select *, coalesce(wanted_now = 'online' and heard_now is distinct from 'lost'
                       and trusted_now is distinct from 'suspect', false) as available
    from (
        select event_id, occurred_at, business, service, last_value(slots ignore nulls) over w as slots_now,
               last_value(role ignore nulls) over w as role_now, last_value(place ignore nulls) over w as place_now,
               last_value(wanted ignore nulls) over w as wanted_now, last_value(heard ignore nulls) over w as heard_now,
               last_value(trusted ignore nulls) over w as trusted_now
        from (
            select event_id, occurred_at, business, service, (detail ->> '$.slots')::bigint as slots,
                   detail ->> '$.role' as role, if(event = 'service_added', coalesce(site, ''), null) as place,
                   case when event = 'service_added' then 'online'
                        when event in ('online', 'draining', 'offline') then event end as wanted,
                   if(event in ('lost', 'returned'), event, null) as heard,
                   if(event in ('suspect', 'cleared'), event, null) as trusted
            from service_event where batch <= $upto and service is not null and event <> 'stale_report'
        ) window w as (partition by business, service order by event_id)
    )
"""

LANES = "('scan', 'explorer'), ('connector', 'explorer'), ('connector', 'hosted_zone'), ('import', 'hosted_zone'), " \
        "('audit', 'audit_service'), ('process', 'processor')"  # fmt: skip
"""Which roles serve which lane."""


def lane(processing: str) -> str:
    """Name the lane of an event's stage: every processing, and all of a system task, is for the processors."""
    return f"if({processing} or kind in ({listed(SYSTEM_KINDS)}), 'process', kind)"


#: The body of a `with` that wants `place` (number, business, site, lane, requested, throttles: their ids, with commas;
#: '' for none) and ends in `keeping`:
#: what kept each place from each instant on, and how long it was kept so before, in microseconds.
KEEPING = f"""
    changed as (
        select occurred_at, business, service, role_now, place_now,
               available::int - lag(available::int, 1, 0) over (partition by business, service order by event_id) as n
        from ({KNOWN})
    ), pushed as (
        select number, epoch_us(occurred_at) as us, n as online, 0 as down, 0 as shut
        from place p join changed c
          on c.business = p.business and (p.lane, c.role_now) in ({LANES})
             and (p.lane = 'process' or c.place_now = p.site) and p.requested in ('', c.service)
        where n <> 0
        union all
        select number, unnest([epoch_us(begun_at), epoch_us(ended_at)]), 0, unnest([1, -1]), 0 from place, ({DOWN})
        union all
        select number, unnest([epoch_us(begun_at), epoch_us(ended_at)]), 0, 0, unnest([1, -1])
        from (select number, unnest(string_split(throttles, ','))::bigint as throttle_id from place
              where throttles <> '') join ({SHUT}) using (throttle_id)
        union all
        select number, 0, 0, 0, 0 from place
    ), counted as (
        select number, us, sum(sum(online)) over w as online, sum(sum(down)) over w as down,
               sum(sum(shut)) over w as shut
        from pushed group by number, us window w as (partition by number order by us)
    ), lasting as (
        select number, us, case when down > 0 then 'console' when shut > 0 then 'throttled'
                            when online = 0 then 'offline' else 'taken' end as cause,
               lead(us) over (partition by number order by us) - us as lasts
        from counted
    ), keeping as materialized (
        select number, us, cause,
               coalesce(sum(lasts) filter (cause = 'console') over w, 0)::bigint as console_before,
               coalesce(sum(lasts) filter (cause = 'throttled') over w, 0)::bigint as throttled_before,
               coalesce(sum(lasts) filter (cause = 'offline') over w, 0)::bigint as offline_before
        from lasting window w as (partition by number order by us rows between unbounded preceding and 1 preceding)
    )
"""
