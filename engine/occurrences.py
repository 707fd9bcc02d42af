"""Is every nominal time of a schedule settled once, with its task where one was fired, and at most one run waiting?

The rows of `schedule_fire` are compared with the runs submitted, and then with the times at which each version of a
schedule occurs, a schedule at a time: each of these times is in exactly one row, up to the last committed tick.

Likewise for blackout windows, whose times are settled by holds: each is in force from its nominal time until the window
is over, or lifted before; and none was missed while the console was up.

A run that waits keeps the next one from being fired, at the moment of firing and at no other: rescue, suspension,
undoing and "run now" may let several wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .findings import Ledger, Wrong, listed, when
from .ledger import NUMBER_BITS
from .lifecycle import SYSTEM_KINDS
from .recurrence import Rule
from .spells import DOWN

FIRES_AT_ONCE = 200_000
NOMINAL_AT_ONCE = 1_000
FOREVER = 2**62  #: later than any event


def schedules(ledger: Ledger) -> Iterator[Wrong]:
    """Compare fired rows with the runs submitted, then walk each schedule's nominal times beside its rows."""
    yield from ledger.wrongs(_FIRED)
    yield from _walked(ledger, "schedule", "schedule", _last_tick(ledger))
    yield from ledger.wrongs(
        """select 'schedules' as "check", batch, business, site, format('schedule {}', schedule_id) as thing,
                  'fired, but there is no such schedule' as what
           from schedule_fire where batch <= $upto and schedule_id not in (select schedule_id from schedule_event)"""
    )


def blackouts(ledger: Ledger) -> Iterator[Wrong]:
    """Walk each blackout window's nominal times beside its rows, and look at the holds that these tell of."""
    last_tick = _last_tick(ledger)
    yield from ledger.wrongs(_WINDOWS, last_tick=last_tick)
    yield from _walked(ledger, "blackout", "window", last_tick)


def one_waiting_run(ledger: Ledger) -> Iterator[Wrong]:
    """See that a schedule fired only when no run of it waited, and was kept from firing only when one did."""
    return ledger.wrongs(_WAITING_RUNS)


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a schedule or window, in force from its event until the next one's (None: still)."""

    rule: Rule
    since: int
    until: int | None


def _walked(ledger: Ledger, what: str, called: str, last_tick: int) -> Iterator[Wrong]:
    """Walk the nominal times of all that has a rule, "schedule" or "blackout", beside the rows that settle them."""
    versions: dict[int, list[_Version]] = {}
    wheres: dict[int, Wrong] = {}
    for event in ledger.store.rows(f"{what}_event", f"batch <= {ledger.upto}", order="event_id"):
        an_id = getattr(event, f"{what}_id")
        _succeed(versions.setdefault(an_id, []), event)
        wheres[an_id] = {
            "check": f"{what}s", "business": event.business, "site": event.site, "thing": f"{called} “{event.name}”"
        }  # fmt: skip
    for ids in _in_portions(ledger, what, versions):
        frame = ledger.read(
            f"select {what}_id, batch, epoch_us(nominal_at), epoch_us(last_nominal_at), count, epoch_us(occurred_at), "
            f"outcome from {what}_fire where batch <= $upto and {what}_id in ($ids) order by {what}_id, event_id",
            ids=", ".join(map(str, ids)),
        )
        rows: dict[int, list[tuple[Any, ...]]] = {}
        for an_id, *row in frame.iter_rows():
            rows.setdefault(an_id, []).append(tuple(row))
        for an_id in ids:
            for batch, wrong in _settled(versions[an_id], rows.get(an_id, []), last_tick):
                yield {**wheres[an_id], "batch": batch, "what": wrong}


def _succeed(versions: list[_Version], event: Any) -> None:
    """Let the version that an event made, or removal, follow the one before."""
    if versions and versions[-1].until is None:
        versions[-1] = _Version(versions[-1].rule, versions[-1].since, event.occurred_at)
    if event.event != "removed":
        versions.append(_Version(Rule.from_dict(event.detail["rule"]), event.occurred_at, None))


def _last_tick(ledger: Ledger) -> int:
    """Tell up to when time passed for schedules: what was committed while the console was down lies after it."""
    frame = ledger.read(
        """select epoch_us(max(committed_at)) from batch where batch <= $upto and batch < coalesce(
               (select arg_max(if(event = 'console_down', batch, null), event_id) from service_event
                where event in ('console_down', 'console_up') and batch <= $upto
                having arg_max(event, event_id) = 'console_down'), $upto + 1)"""
    )
    return frame.item() or 0


def _in_portions(ledger: Ledger, what: str, all_ids: Iterable[int]) -> Iterator[list[int]]:
    """Group schedules or windows so that not too many rows are read at once."""
    counts = dict(ledger.read(f"select {what}_id, count(*) from {what}_fire where batch <= $upto group by 1").rows())
    portion: list[int] = []
    size = 0
    for an_id in all_ids:
        portion.append(an_id)
        size += counts.get(an_id, 0)
        if size >= FIRES_AT_ONCE or len(portion) >= 1_000:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _settled(versions: list[_Version], rows: list[tuple[Any, ...]], last_tick: int) -> Iterator[tuple[int | None, str]]:
    """Compare nominal times with the rows that settle them, in order; say what is missed, doubled or miscounted."""
    owed: int | None = None
    place = 0
    for version in versions:
        until = last_tick if version.until is None else version.until
        due = _nominal(version.rule, version.since, until)
        expected = next(due, None)
        while place < len(rows) and (version.until is None or rows[place][4] <= until):
            batch, first, last, count, _, outcome = rows[place]
            place += 1
            if not count:
                if owed != first or first != last or outcome == "queued":
                    yield batch, f"a queued run is released for {when(first)}, but none was queued for it"
                owed = None
                continue
            if outcome == "queued":
                owed = last
            while expected is not None and expected < first:
                yield batch, f"{when(expected)} was missed: no row settles it"
                expected = next(due, None)
            if expected != first:
                yield batch, f"{when(first)} was settled before, or is no nominal time of the rule"
                continue
            n = 0
            while expected is not None and expected <= last:
                n, reached = n + 1, expected
                expected = next(due, None)
            if n != count or reached != last:
                yield batch, f"a row counts {count} nominal times from {when(first)} to {when(last)}, there are {n}"
        while expected is not None:
            yield None, f"{when(expected)} was missed: no row settles it"
            expected = next(due, None)
    for batch, first, *_ in rows[place:]:
        yield batch, f"{when(first)} was settled when there was no such rule any more"


def _nominal(rule: Rule, after: int, until: int) -> Iterator[int]:
    while True:
        part = rule.occurrences(after, until, NOMINAL_AT_ONCE)
        yield from part
        if len(part) < NOMINAL_AT_ONCE:
            return
        after = part[-1]


_FIRED = """
    with runs as (
        select batch, task_id, business, site, kind, event_id, (detail ->> '$.schedule_id')::bigint as schedule_id
        from task_event where event = 'submit' and actor = 'schedule' and batch <= $upto
    ), fires as (
        select *, row_number() over (partition by task_id order by event_id) as nth
        from schedule_fire where batch <= $upto
    )
    select 'schedules' as "check", f.batch, f.business, f.site, format('schedule {}', f.schedule_id) as thing, r.kind,
           f.task_id,
           case when (f.outcome = 'fired') <> (f.task_id is not null)
                then format('{} for {}, {} a task', f.outcome, nominal_at, if(f.task_id is null, 'without', 'with'))
                when nth > 1 then format('the run fired for {} was fired before', nominal_at)
                else format('fired for {}, but its run was not submitted with it', nominal_at) end as what
    from fires f left join runs r on r.task_id = f.task_id and r.batch = f.batch and r.schedule_id = f.schedule_id
    where (f.outcome = 'fired') <> (f.task_id is not null) or (f.task_id is not null and (r.task_id is null or nth > 1))
    union all
    select 'schedules', r.batch, r.business, r.site, format('schedule {}', r.schedule_id), r.kind, r.task_id,
           'a run was submitted that stands for no nominal time'
    from runs r where r.task_id not in (select task_id from fires where task_id is not null)
"""

#: What a step tells late, it tells after the console was down: its nominal instant lies in such a spell.
_WINDOWS = f"""
    with down as materialized ({DOWN}),
    held as (
        select hold_id, any_value(business) as business, any_value(site) as site, any_value(target) as target,
               any_value(target_kind) as target_kind, any_value(from_at) as from_at, any_value(until_at) as until_at,
               any_value(actor) filter (event = 'placed') as actor, min(batch) as batch,
               min(occurred_at) filter (event = 'begun') as begun_at,
               min(occurred_at) filter (event not in ('placed', 'begun')) as ended_at
        from hold_event where batch <= $upto group by hold_id
    ), fires as (
        select f.*, v.name, (v.detail ->> '$.duration_s')::bigint as lasts_s,
               row_number() over (partition by f.hold_id order by f.event_id) as nth
        from (select * from blackout_fire where batch <= $upto) f
        asof left join (select blackout_id, event_id, name, detail from blackout_event where batch <= $upto) v
          on f.blackout_id = v.blackout_id and f.event_id > v.event_id
    ), judged as (
        select f.batch, f.business, f.site, f.blackout_id, f.name, case
            when lasts_s is null then format('{{}} for {{}}, but there is no such window', outcome, nominal_at)
            when f.until_at <> last_nominal_at + to_seconds(lasts_s)
            then format('the window of {{}} lasts {{}} s, it is said to be over at {{}}', last_nominal_at, lasts_s,
                        f.until_at)
            when (outcome = 'held') <> (f.hold_id is not null) or (outcome = 'held' and count > 1)
            then format('{{}} for {{}}, {{}} a hold', outcome, nominal_at, if(f.hold_id is null, 'without', 'with'))
            when outcome = 'held' and (nth > 1 or h.batch is distinct from f.batch)
            then format('held for {{}}, but no hold was placed with it', nominal_at)
            when outcome = 'held' and (h.business, h.site, h.target_kind, h.target, h.from_at, h.until_at)
                 is distinct from (f.business, f.site, 'site', f.site, nominal_at, f.until_at)
            then format('held for {{}}, but its hold says otherwise', nominal_at)
            when outcome = 'held' and begun_at is distinct from nominal_at and not exists (
                from down d where nominal_at between d.begun_at and d.ended_at and begun_at <= d.ended_at)
            then format('its hold began at {{}}, the window at {{}}', coalesce(begun_at::varchar, 'no time'),
                        nominal_at)
            when outcome = 'held' and coalesce(h.ended_at, make_timestamp($last_tick)) > f.until_at and not exists (
                from down d where f.until_at between d.begun_at and d.ended_at
                and coalesce(h.ended_at, f.until_at) <= d.ended_at)
            then format('its hold ended at {{}}, the window at {{}}', coalesce(h.ended_at::varchar, 'no time'),
                        f.until_at)
            when outcome = 'missed' and exists (
                from batch b where b.batch < f.batch and committed_at >= nominal_at and committed_at < f.until_at
                and not exists (from down d where committed_at between d.begun_at and d.ended_at))
            then format('missed at {{}}, though the console was up', nominal_at) end as what
        from fires f left join held h using (hold_id)
    )
    select 'blackouts' as "check", batch, business, site, format('window “{{}}”', coalesce(name, blackout_id::varchar))
           as thing, what
    from judged where what is not null
    union all
    select 'blackouts', batch, business, site, format('hold on {{}} {{}}', target_kind, target),
           'placed by the engine, but no window says so'
    from held where actor = 'engine' and hold_id not in (select hold_id from fires where hold_id is not null)
"""

#: A run is submitted before the row that tells it was fired, so what it found waiting is asked at its submission.
_WAITING_RUNS = f"""
    with runs as (
        select task_id, (detail ->> '$.schedule_id')::bigint as schedule_id from task_event
        where event = 'submit' and batch <= $upto and contains(detail::varchar, '"schedule_id"')
    ), switched as (
        select schedule_id, task_id, event_id, event, kind,
               to_status = 'New' or (to_status = 'Processing, queued' and kind in ({listed(SYSTEM_KINDS)})) as waits
        from task_event join runs using (task_id) where batch <= $upto
        qualify waits <> lag(waits, 1, false) over (partition by task_id order by event_id)
    ), waiting as (
        select *, lead(event_id, 1, {FOREVER}) over (partition by task_id order by event_id) as until
        from switched qualify waits
    ), fires as (
        select *, outcome = 'fired' as fired from schedule_fire
        where batch <= $upto and (outcome = 'fired' or reason = 'still_waiting')
    ), walked as (
        select *, max(until) over before > event_id as another_waits, arg_max(task_id, until) over before as which
        from (select schedule_id, task_id, kind, event_id, event, until from waiting
              union all select schedule_id, null, null, event_id, 'kept', 0 from fires where not fired)
        window before as (partition by schedule_id order by event_id rows between unbounded preceding and 1 preceding)
    )
    select 'one waiting run' as "check", batch, business, site, format('schedule {{}}', schedule_id) as thing, kind,
           task_id, format('fired for {{}}, while run #{{}} of it waited', nominal_at,
                           which & {(1 << NUMBER_BITS) - 1}) as what
    from fires join walked using (schedule_id, task_id) where event = 'submit' and another_waits
    union all
    select 'one waiting run', batch, business, site, format('schedule {{}}', schedule_id), null, null,
           format('skipped for {{}} as if a run of it waited; none did', nominal_at)
    from fires join walked using (schedule_id, event_id) where event = 'kept' and not coalesce(another_waits, false)
"""
