"""Does everything that happened keep to the rules? The steps of each task, the life of holds, what services run.

What the core may do is written down here a second time: an edge is in the transition table and goes on from the step
before, moves the queues as such a step does, and bears the lease of its claim; a task is in one place at a time; a
service is online, of the right sort, and runs no more than its slots, an explorer no second scan.

Imports know no services, so services and slots are not asked of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from .findings import IMPORT, NUMBER_OF, Ledger, Wrong, listed, quoted
from .ledger import NUMBER_BITS
from .lifecycle import NEXT, RUNNING
from .spells import DOWN, HELD, KNOWN, LANES, SCHEDULED, SHUT, THROTTLES, lane, under_holds


def steps(ledger: Ledger, span: str) -> Iterator[Wrong]:
    """Walk the events of some tasks, each task's by itself, and hold each of them against the rules."""
    yield from ledger.wrongs(_STEPS, span=span)
    yield from ledger.wrongs(_STARTED, span=span)


def holds(ledger: Ledger) -> Iterator[Wrong]:
    """See that holds are placed, begun and ended in this order, and that no schedule fires under one."""
    return ledger.wrongs(_HOLDS)


def throttles(ledger: Ledger) -> Iterator[Wrong]:
    """See that ramps and caps shut and open as they must, and that nobody starts under one that does not let him."""
    if ledger.read("select 1 from throttle_event where batch <= $upto limit 1").height:
        yield from ledger.wrongs(_THROTTLES)
        yield from ledger.wrongs(_RAMPED, span="true")
        yield from ledger.wrongs(_CAPPED)


def services(ledger: Ledger, business: str) -> Iterator[Wrong]:
    """See what each service of a business was given, against what it was just then and what it ran already."""
    return ledger.wrongs(_SERVICES, name=quoted(business))


def console(ledger: Ledger) -> Iterator[Wrong]:
    """See that nothing started while the console was down."""
    return ledger.wrongs(_CONSOLE)


# --- the steps of each task

_IN_SLOT = listed(RUNNING)

_LAWFUL = ", ".join(
    f"({quoted(event)}, {quoted(source or '')}, {quoted(kind)}, {quoted(target)})"
    for (event, source, kind), target in NEXT.items()
)

_DQ = """case
    when event = 'submit' then (coalesce(due_at, 0) <= epoch_us(occurred_at))::int
    when event = 'due' then 1
    when event = 'claim' then -1
    when event in ('stop', 'fail', 'expire') and from_status = 'New' then -was_due::int
    when event in ('suspended', 'rescue') and to_status = 'New' then 1
    when event = 'restore' then was_due::int
    else 0 end"""
_DP = """case
    when event = 'hand_over' or (event = 'rescue' and to_status = 'Processing, queued') then 1
    when event = 'process' or (event = 'stop' and from_status = 'Processing, queued') then -1
    else 0 end"""
_DR = """case
    when event in ('claim', 'process') then 1
    when event in ('collected', 'finish', 'confirm_stop', 'suspended', 'rescue') then -1
    when event = 'fail' and from_status <> 'New' then -1
    else 0 end"""
_LEASE = f"case when starts or from_status in ({_IN_SLOT}) then own_lease end"
_SERVICE = f"case when starts or from_status in ({_IN_SLOT}) then own_service end"
_ATTEMPT = """case
    when event in ('submit', 'hand_over') then 0
    else attempt_before + (reason = 'worker_lost' and event in ('rescue', 'fail'))::int end"""

#: check, when it is wrong, and how that is said
_RULES: tuple[tuple[str, str, str], ...] = (
    (
        "edges",
        "from_status is distinct from status_before",
        "format('{} starts from {}, but the task was {}', event, coalesce(from_status, 'nothing'), "
        "coalesce(status_before, 'not there yet'))",
    ),
    (
        "edges",
        "lawful_to is distinct from to_status",
        "format('{} leads from {} to {}, which no {} may do', event, coalesce(from_status, 'nothing'), to_status, "
        "kind)",
    ),
    (
        "edges",
        "event <> 'submit' and facts is distinct from facts_before",
        "format('{} names {} / {} / {} of {}; the task was submitted as another', event, business, site, kind, owner)",
    ),
    (
        "edges",
        "event = 'restore' and not (event_before = 'stop' and reason_before = 'deleted')",
        "'restored, but it was not deleted'",
    ),
    (
        "edges",
        "event = 'hand_over' "
        "and (event_before, at_before, batch_before) is distinct from ('collected', occurred_at, batch)",
        "'handed over apart from having been collected'",
    ),
    (
        "edges",
        "event_before = 'collected' and event <> 'hand_over'",
        "format('collected, then {} instead of handed over', event)",
    ),
    (
        "edges",
        "event = 'due' and was_due",
        "'due, though it was before'",
    ),
    (
        "deltas",
        f"(dq, dp, dr) is distinct from ({_DQ}, {_DP}, {_DR})",
        "format('{} from {} changes waiting, waiting for processing, running by {}, {}, {}; it must be {}, {}, "
        f"{{}}', event, coalesce(from_status, 'nothing'), dq, dp, dr, {_DQ}, {_DP}, {_DR})",
    ),
    (
        "deltas",
        "(dq <> 0 or dp <> 0) and cause is null",
        "format('{} moves the task in or out of a queue without naming the cause', event)",
    ),
    (
        "leases",
        "starts and lease is distinct from event_id",
        "format('{} bears lease {}, not its own event id {}', event, lease, event_id)",
    ),
    (
        "leases",
        f"not starts and lease is distinct from {_LEASE}",
        f"format('{{}} bears lease {{}}, the stage has {{}}', event, coalesce(lease::varchar, 'none'), "
        f"coalesce(({_LEASE})::varchar, 'none'))",
    ),
    (
        "leases",
        f"coalesce(service, '') <> coalesce({_SERVICE}, '')",
        f"format('{{}} names service {{}}, the stage runs on {{}}', event, coalesce(service, 'none'), "
        f"coalesce({_SERVICE}, 'none'))",
    ),
    (
        "attempts",
        f"attempt is distinct from {_ATTEMPT}",
        f"format('{{}} counts {{}} lost services, there were {{}}', event, attempt, {_ATTEMPT})",
    ),
    (
        "one service",
        "queued not in (0, 1) or process_queued not in (0, 1) or running not in (0, 1) "
        "or queued + process_queued + running > 1",
        "format('after {} the task waits {} times, waits for processing {} times and runs {} times', event, queued, "
        "process_queued, running)",
    ),
    (
        "services",
        f"starts and service is null and actor <> '{IMPORT}'",
        "format('{} on no service', event)",
    ),
    (
        "services",
        "event = 'claim' and requested <> '' and service is distinct from requested",
        "format('started on {}, but {} was requested', coalesce(service, 'no service'), requested)",
    ),
    (
        "event ids",
        f"event_id >> {NUMBER_BITS} is distinct from no or task_id >> {NUMBER_BITS} is distinct from no",
        "format('event {} or its task bears the number of another business', event_id)",
    ),
)

_STEPS = f"""
    with source as (
        select event_id, batch, occurred_at, task_id, event, from_status, to_status, reason, actor, business, site,
               kind, owner, service, lease, attempt, cause, dq, dp, dr, event in ('claim', 'process') as starts,
               case when event = 'submit' and contains(detail::varchar, '"due_at"')
                    then (detail ->> '$.due_at')::bigint end as due_at,
               -- Few tasks ask for a service: the text is searched first, since reading it as JSON takes its time.
               case when event in ('submit', 'edit') and contains(detail::varchar, '"requested_service"')
                    then coalesce(detail ->> if(event = 'edit', '$.changes.requested_service',
                                                '$.requested_service'), '') end as requested,
               hash(business, site, kind, owner) as facts
        from task_event where $span and batch <= $upto
    ), walked as (
        select * replace (last_value(requested ignore nulls) over w as requested),
               lag(to_status) over w as status_before, lag(event) over w as event_before,
               lag(reason) over w as reason_before, lag(attempt) over w as attempt_before,
               lag(occurred_at) over w as at_before, lag(batch) over w as batch_before,
               lag(facts) over w as facts_before,
               last_value(if(starts, event_id, null) ignore nulls) over w as own_lease,
               last_value(if(starts, coalesce(service, ''), null) ignore nulls) over w as own_service,
               sum(dq) over w as queued, sum(dp) over w as process_queued, sum(dr) over w as running,
               sum(greatest(dq, 0)) over w > greatest(dq, 0) as was_due
        from source window w as (partition by task_id order by event_id)
    ), judged as (
        select walked.*, lawful.to_status as lawful_to, no
        from walked
        left join (values {_LAWFUL}) lawful(event, from_status, kind, to_status)
          on lawful.event = walked.event and lawful.from_status = coalesce(walked.from_status, '')
             and lawful.kind = walked.kind
        left join ({NUMBER_OF}) numbered on numbered.business = walked.business
    )
    select said."check", batch, business, site, kind, task_id, said.what
    from (select *, unnest(list_filter([{
    ", ".join(f"case when {wrong} then {{'check': {quoted(name)}, 'what': {what}}} end" for name, wrong, what in _RULES)
}], lambda x: x is not null)) as said
          from judged where {" or ".join(f"({wrong})" for _, wrong, _ in _RULES)})
"""

#: A hold is asked at claim time.
_STARTED = f"""
    with held as materialized ({HELD}),
    scheduled as materialized ({SCHEDULED}),
    started as (
        select * from task_event
        where $span and batch <= $upto and event in ('claim', 'process') and actor <> '{IMPORT}'
    )
    select distinct 'holds' as "check", batch, business, site, kind, task_id,
           format('{{}} at {{}}, while a hold on {{}} {{}} was in force', event, occurred_at, target_kind, target)
               as what
    from ({
    under_holds("started", "r.*, h.target_kind, h.target", "h.begun_at <= r.occurred_at and r.occurred_at < h.ended_at")
})
"""


# --- holds, services, the console

_HOLDS = """
    with walked as (
        select *, lag(event) over w as before, lag(occurred_at) over w as at_before
        from hold_event where batch <= $upto
        window w as (partition by hold_id order by event_id)
    ), spans as (
        select target, min(event_id) filter (event = 'begun') as begun,
               min(event_id) filter (event not in ('placed', 'begun')) as ended
        from hold_event where target_kind = 'schedule' and batch <= $upto
        group by hold_id, target having begun is not null
    )
    select 'holds' as "check", batch, business, site, format('hold on {} {}', target_kind, target) as thing,
           format('{} follows {}', event, coalesce(before, 'nothing')) as what
    from walked
    where (event = 'placed') <> (before is null) or before in ('lifted', 'expired')
       or (event = 'begun' and before <> 'placed') or event not in ('placed', 'begun', 'lifted', 'expired')
    union all
    select 'holds', batch, business, site, format('hold on {} {}', target_kind, target),
           format('{} at {}, before its time', event, occurred_at)
    from walked where (event = 'begun' and occurred_at < from_at) or (event = 'expired' and occurred_at < until_at)
    union all
    select 'holds', f.batch, f.business, f.site, format('schedule {}', schedule_id),
           format('fired for {}, while a hold on the schedule was in force', nominal_at)
    from schedule_fire f join spans s on s.target = f.schedule_id::varchar and s.begun < f.event_id
         and (s.ended is null or f.event_id < s.ended)
    where f.outcome = 'fired' and f.batch <= $upto
"""

_THROTTLES = """
    with walked as (
        select *, lag(event) over w as last_event, lag(occurred_at) over w as at_before,
               last_value(if(event <> 'changed', event, null) ignore nulls) over (
                   partition by throttle_id order by event_id rows between unbounded preceding and 1 preceding
               ) as before
        from throttle_event where batch <= $upto window w as (partition by throttle_id order by event_id)
    )
    select 'throttles' as "check", batch, business, site, format('{} {}', throttle, coalesce(owner, '')) as thing,
           format('{} follows {}', event, coalesce(before, 'nothing')) as what
    from walked
    where (event = 'begun') <> (before is null) or before = 'ended' or (event = 'shut' and before = 'shut')
       or (event = 'open' and before <> 'shut') or (event = 'changed' and throttle <> 'cap')
       or event not in ('begun', 'changed', 'shut', 'open', 'ended')
    union all
    select 'throttles', batch, business, site, throttle,
           format('open at {}, before its time: shut at {}, at {} a minute', occurred_at, at_before, rate)
    from walked
    where throttle = 'ramp' and event = 'open' and last_event = 'shut'
      and (epoch_us(occurred_at) - epoch_us(at_before)) * rate < 60000000
"""

_RAMPED = f"""
    with throttle as materialized (select * from ({THROTTLES}) where throttle = 'ramp'),
    scheduled as materialized ({SCHEDULED}),
    started as (
        select event_id, batch, occurred_at, task_id, event, business, site, kind, owner from task_event
        where batch <= $upto and event in ('claim', 'process') and actor <> '{IMPORT}'
          and occurred_at >= (select min(begun_at) from throttle)
    ), covered as (
        {
    under_holds(
        "started", "r.*, h.throttle_id, h.rate, h.but", "h.begun_at <= r.occurred_at and r.occurred_at < h.ended_at",
        "throttle",
    )
}
    ), ramped as materialized (
        select * exclude (but),
               lag(occurred_at) over (partition by throttle_id order by occurred_at, event_id) as before
        from (select * exclude (but), bool_or(but) as but from covered group by all having not bool_or(but))
    )
    select 'throttles' as "check", batch, business, site, kind, task_id,
           format('{{}} at {{}}, the last one under the ramp of {{}} a minute was at {{}}', event, occurred_at, rate,
                  before) as what
    from ramped where (epoch_us(occurred_at) - epoch_us(before)) * rate < 60000000
    union all
    select 'throttles', batch, business, site, kind, task_id,
           format('{{}} at {{}}, while its ramp was shut', r.event, occurred_at)
    from ramped r join ({SHUT}) s on s.throttle_id = r.throttle_id
         and s.begun_at < r.occurred_at and r.occurred_at < s.ended_at
"""

_CAPPED = f"""
    with cap as (
        select event_id, batch, business, owner, event, if(event = 'ended', null, at_most) as at_most
        from throttle_event where throttle = 'cap' and batch <= $upto
    ), acts as materialized (
        select event_id, batch, business, site, kind, task_id, event, owner, sum(dr) over w as running
        from task_event
        where batch <= $upto and dr <> 0 and actor <> '{IMPORT}' and (business, owner) in
              (select (business, owner) from cap)
        window w as (partition by business, owner order by event_id rows unbounded preceding)
    )
    select 'throttles' as "check", a.batch, a.business, a.site, a.kind, a.task_id,
           format('{{}}, and {{}} then ran {{}} tasks, at most {{}} may', a.event, a.owner, a.running, c.at_most)
               as what
    from acts a asof join cap c on a.business = c.business and a.owner = c.owner and a.event_id > c.event_id
    where a.event in ('claim', 'process') and a.running > c.at_most
    union all
    select 'throttles', c.batch, c.business, null, null, null,
           format('the cap on {{}} is {{}}, while {{}} of {{}} ran', c.owner, c.event, coalesce(a.running, 0),
                  c.at_most)
    from cap c asof left join acts a on a.business = c.business and a.owner = c.owner and c.event_id > a.event_id
    where c.event in ('shut', 'open') and (c.event = 'shut') <> (coalesce(a.running, 0) >= c.at_most)
"""

_SERVICES = f"""
    with known as (select * from ({KNOWN}) where business = $name
    ), acts as (
        select event_id, batch, site, service, kind, task_id, event, sum(dr) over w as running,
               sum(if(kind = 'scan', dr, 0)) over w as scanning
        from task_event where business = $name and batch <= $upto and dr <> 0 and service is not null
        window w as (partition by service order by event_id rows unbounded preceding)
    ), started as (
        select a.*, k.* exclude (event_id, service, business, occurred_at),
               {lane("event = 'process'")} as lane
        from (select * from acts where event in ('claim', 'process')) a
        asof left join known k on a.service = k.service and a.event_id > k.event_id
    ), wrong as materialized (
        select * from started
        where running > slots_now or (role_now = 'explorer' and (scanning > 1 or running - scanning > slots_now - 1))
           or not coalesce(available, false)
           or (lane, role_now) not in ({LANES}) or (role_now <> 'processor' and site <> place_now)
    )
    select 'slots' as "check", batch, $name as business, site, kind, task_id,
           format('started on {{}}, which then ran {{}} in {{}} slots', service, running, slots_now) as what
    from wrong where running > slots_now
       or (role_now = 'explorer' and kind <> 'scan' and running - scanning > slots_now - 1)
    union all
    select 'exclusive scans', batch, $name, site, kind, task_id,
           format('started on {{}}, which then ran {{}} scans', service, scanning)
    from wrong where role_now = 'explorer' and kind = 'scan' and scanning > 1
    union all
    select 'services', batch, $name, site, kind, task_id,
           format('started on {{}}, which was {{}}', service,
                  case when wanted_now is null then 'not there' when heard_now = 'lost' then 'lost'
                       when trusted_now = 'suspect' then 'suspect' else wanted_now end)
    from wrong where not coalesce(available, false)
    union all
    select 'services', batch, $name, site, kind, task_id,
           format('started on {{}}, {{}} of {{}}, which does not do that', service, coalesce(role_now, 'nothing'),
                  coalesce(nullif(place_now, ''), 'the business'))
    from wrong where (lane, role_now) not in ({LANES}) or (role_now <> 'processor' and site <> place_now)
"""

_CONSOLE = f"""
    select 'services' as "check", e.batch, e.business, e.site, e.kind, e.task_id,
           format('{{}} at {{}}, while the console was down', e.event, e.occurred_at) as what
    from task_event e join ({DOWN}) d on e.occurred_at > d.begun_at and e.occurred_at < d.ended_at
    where e.batch <= $upto and e.event in ('claim', 'process') and e.actor <> '{IMPORT}'
"""
