"""Is the ledger legal, and does all the rest follow from it? `check` names what is wrong and where.

Written without the core: what the core may do is said here a second time, in SQL over the ledger, so that a bug of the
core shows as a finding. Only the occurrences of schedules go through Python, a schedule at a time. What concerns one
task is asked for a span of tasks after the other, so memory stays bounded however long the history is. Everything is
looked at as of one batch, the last durable one when the check began; a console may go on committing meanwhile.

    chain              every batch is as it was committed, and the last is the acknowledged one
    event ids          a business's events are numbered without a gap, none twice, none another's
    time               a business's events follow one another in time and batch; nothing lies after its commit
    edges              every step of a task is in the transition table and goes on from the step before
    deltas             every step changes the queues as such a step does, and names the cause of whom it moves
    leases             each stage has the lease and the service of its claim, from its first event to its last
    attempts           attempts count lost services, anew for each stage
    one service        a task waits in one queue or runs on one service, never in two places
    wait split         the parts of each wait add up to it; those under holds and console are what these lasted
    holds              holds are placed, begun and ended in this order; nothing starts or fires under one
    task rows          the row of each finished task says what its events say
    live rows          the rows published for unfinished tasks say what their events said by then
    widget refreshes   each finished refresh of a widget has one row, with its times
    slots              no service runs more than its slots
    exclusive scans    no explorer runs two scans
    services           what starts, starts on a service of the right sort that is online, as requested
    depths             no queue has ever held less than nothing, whatever its tasks waited for
    schedules          every nominal time is settled once, with its task where one was fired
    rollups            the charts' tables are what the ledger makes of them
    peaks              so are the highest depths
    wait histogram     and the counts of waits
    audit ids          audit rows are numbered without a gap

Imports keep their own time and know no services, so order in time, slots, services, holds and exclusivity are not asked
of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from string import Template
from typing import Any

import polars as pl

from . import rollups
from .ledger import NUMBER_BITS, NUMBERED_TABLES, SYSTEM, TaskRow, make_id, number_of
from .lifecycle import COLLECTING_KINDS, NEXT, RUNNING, SYSTEM_KINDS, TERMINAL, Cause, task_label
from .recurrence import Rule
from .store import DATABASE, Store

KEPT = 20  #: findings told of each check; the rest are counted
TASKS_AT_ONCE = 200_000
EVENTS_AT_ONCE = 2_000_000
FIRES_AT_ONCE = 200_000
NOMINAL_AT_ONCE = 1_000
ROLLUPS_TOLD = 2_000
CHAIN_RETRIES = 20

IMPORT = "import"  #: the actor of imported events

Progress = Callable[[str, int, int], None]
Wrong = dict[str, Any]  #: check, what, and where: batch, business, site, kind, task_id, thing


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be: which check says so, where it is, what was expected and what was found."""

    check: str
    where: str
    what: str


def nothing_there(folder: Path) -> str | None:
    """Say so where a folder holds no store, and nothing that was one; None where there is something to check."""
    if any(folder.glob(f"{DATABASE}*")) or (folder / "head.json").exists():
        return None
    return f"There is no store in {folder}: nothing to check."


def check(store: Store, progress: Progress | None = None) -> list[Finding]:
    """Look at everything up to the last durable batch; return what is wrong, in the order of the checks.

    Of each check the first twenty findings are told, and one more that counts the others. `progress` is told what is
    looked at next, and how many steps of how many are done.
    """
    look = _Look(store)
    found: dict[str, list[Finding]] = {name: [] for name in CHECKS}
    counts: Counter[str] = Counter()
    steps = list(_steps(look))
    for done, (sentence, step) in enumerate(steps):
        if progress is not None:
            progress(sentence, done, len(steps))
        for wrong in step():
            name = wrong["check"]
            counts[name] += wrong.get("standing_for", 1)
            if len(found[name]) < KEPT:
                found[name].append(Finding(name, _where(wrong), wrong["what"]))
    if progress is not None:
        progress("done", len(steps), len(steps))
    for name, findings in found.items():
        more = counts[name] - len(findings)
        if more:
            findings.append(Finding(name, "elsewhere", f"{more:,} more of this sort"))
    return list(chain.from_iterable(found.values()))


CHECKS: dict[str, str] = dict(re.findall(r"^    (\S+(?: \S+)*)  +(.+)$", __doc__ or "", re.MULTILINE))
"""Each check's name, and what it holds to be true."""


class _Look:
    """What all checks share: the store, the batch they look up to, the businesses' numbers, the spans of tasks."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.upto = store.batch
        self.names: dict[int, str] = {SYSTEM: "the system"}
        for business, event_id in self.read(
            "select business, event_id from service_event where event = 'business_added' and batch <= $upto"
        ).iter_rows():
            self.names[event_id >> NUMBER_BITS] = business

    def name(self, no: int) -> str:
        return self.names.get(no, f"business number {no}")

    def read(self, sql: str, **parts: object) -> pl.DataFrame:
        return self.store.read(Template(sql).safe_substitute(upto=self.upto, **parts))

    def wrong(self, sql: str, **parts: object) -> Iterator[Wrong]:
        """Run a query whose rows are findings (check, batch, what and where) and keep the first of each check."""
        frame = self.read(
            f"""
            select *, count(*) over (partition by "check") as total from ({sql})
            qualify row_number() over (partition by "check" order by batch nulls last, what) <= {KEPT}
            """,
            **parts,
        )
        told: Counter[str] = Counter()
        for row in frame.iter_rows(named=True):
            told[row["check"]] += 1
            # The last one told stands for those beyond it too, so that they are counted.
            more = row["total"] - KEPT if told[row["check"]] == KEPT else 0
            yield {**row, "standing_for": 1 + more}

    def highest(self, column: str, tables: tuple[str, ...]) -> dict[int, int]:
        """Tell the highest running number in a column of ids, by business number."""
        parts = " union all ".join(f"select {column} as id from {table} where batch <= $upto" for table in tables)
        found = self.read(
            f"select id >> {NUMBER_BITS}, max(id) from ({parts}) where id is not null group by 1 order by 1"
        )
        return {no: number_of(highest) for no, highest in found.iter_rows()}


def _spans(no: int, highest: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut the ids of a business into stretches of at most `size`, [first, last]."""
    for start in range(0, highest + 1, size):
        yield make_id(no, start), make_id(no, start + size - 1)


def _task_spans(look: _Look) -> Iterator[tuple[int, int]]:
    """Cut all tasks into stretches of ids; small businesses share one."""
    shared: tuple[int, int, int] | None = None  #: first id, last id, how many at most
    for no, highest in look.highest("task_id", ("task_event", "task_done", "task_live")).items():
        for first, last in _spans(no, highest, TASKS_AT_ONCE):
            n = min(number_of(last), highest) - number_of(first) + 1
            if shared is not None and shared[2] + n <= TASKS_AT_ONCE:
                shared = shared[0], last, shared[2] + n
                continue
            if shared is not None:
                yield shared[0], shared[1]
            shared = first, last, n
    if shared is not None:
        yield shared[0], shared[1]


def _where(wrong: Wrong) -> str:
    parts = [wrong.get("business"), wrong.get("site")]
    if wrong.get("task_id") is not None:
        kind, number = wrong.get("kind"), number_of(wrong["task_id"])
        try:
            parts.append(task_label(kind or "", number))
        except ValueError:
            parts.append(f"{kind or 'task'} #{number}")
    parts.append(wrong.get("thing"))
    place = " / ".join(part for part in parts if part)
    batch = wrong.get("batch")
    return ", ".join(filter(None, [place, None if batch is None else f"batch {batch}"])) or "the whole store"


def _steps(look: _Look) -> Iterator[tuple[str, Callable[[], Iterator[Wrong]]]]:
    """List all that is to be done, in an order that puts what explains the most first."""
    yield "the chain of batches", partial(_chain, look)
    yield "numbers and times", partial(_numbers, look)
    for first, last in _task_spans(look):
        span = f"task_id between {first} and {last}"
        words = f"tasks of {look.name(first >> NUMBER_BITS)} from #{number_of(first):,} on"
        for what, sql in (("steps", _LIVES), ("waits", _WAITS), ("rows", _ROWS)):
            yield f"{what} of {words}", partial(look.wrong, sql, span=span)
    yield "holds", partial(look.wrong, _HOLDS)
    yield "published rows", partial(look.wrong, _LIVE)
    for no, name in look.names.items():
        if no != SYSTEM:
            yield f"services of {name}", partial(look.wrong, _SERVICES, name=_quoted(name))
    yield "the console's own pauses", partial(look.wrong, _CONSOLE)
    yield "depths", partial(look.wrong, _DEPTHS)
    yield "schedules", partial(_schedules, look)
    yield "rollups", partial(_rollups, look)
    yield "audit rows", partial(_audit, look)


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _list(words: Any) -> str:
    return ", ".join(_quoted(word) for word in sorted(words))


# --- chain, numbers, times


def _chain(look: _Look) -> Iterator[Wrong]:
    broken = look.store.broken_link()
    for _ in range(CHAIN_RETRIES):
        if broken is None or broken.batch <= look.upto:
            break
        broken = look.store.broken_link()  # perhaps a batch was committed between two of its reads
    if broken is not None:
        yield {"check": "chain", "batch": broken.batch, "what": broken.why}


def _numbers(look: _Look) -> Iterator[Wrong]:
    for no, highest in look.highest("event_id", NUMBERED_TABLES).items():
        before, batch, us = 0, 0, 0
        for first, last in _spans(no, highest, EVENTS_AT_ONCE):
            span = f"event_id between {first} and {last} and batch <= {look.upto}"
            yield from look.wrong(
                _ORDER, span=span, name=_quoted(look.name(no)), id=make_id(no, before), batch=batch, us=us
            )
            so_far = look.read(f"select max(event_id), max(batch), max(us) from ({_NUMBERED})", span=span).row(0)
            if so_far[0] is not None:
                before, batch, us = number_of(so_far[0]), so_far[1], max(us, so_far[2] or 0)
    yield from look.wrong(_NAMES)
    yield from look.wrong(_AFTER_COMMIT)


_NUMBERED = " union all ".join(
    f"select event_id, batch, if({actor} = '{IMPORT}', null, epoch_us(occurred_at)) as us, '{table}' as source "
    f"from {table} where $span"
    for table in NUMBERED_TABLES
    for actor in ["'schedule'" if table == "schedule_fire" else "actor"]
)

_ORDER = f"""
    with walked as (
        select *, coalesce(lag(event_id) over w, $id) as id_before, coalesce(lag(batch) over w, $batch) as batch_before,
               coalesce(max(us) over (w rows between unbounded preceding and 1 preceding), $us) as us_before
        from ({_NUMBERED}) window w as (order by event_id)
    ), told as (select *, event_id & {(1 << NUMBER_BITS) - 1} as number,
                       id_before & {(1 << NUMBER_BITS) - 1} as number_before from walked)
    select 'event ids' as "check", batch, $name as business,
           if(number = number_before, format('event {{}} is there twice', number),
              format('event {{}} follows event {{}}: {{}} missing between them', number, number_before,
                     number - number_before - 1)) as what
    from told where number <> number_before + 1
    union all
    select 'time', batch, $name,
           format('event {{}} ({{}}) happened at {{}}, before what precedes it', number, source, make_timestamp(us))
    from told where us < us_before
    union all
    select 'time', batch, $name, format('event {{}} is of batch {{}}, the one before it of batch {{}}',
                                         number, batch, batch_before)
    from told where batch < batch_before
"""

_NUMBER_OF = f"""
    select business, event_id >> {NUMBER_BITS} as no from service_event
    where event = 'business_added' and batch <= $upto
"""

_NAMES = f"""
    select 'event ids' as "check", e.batch, e.business,
           format('event {{}} in {{}} bears the number of another business ({{}})',
                  e.event_id & {(1 << NUMBER_BITS) - 1}, e.source, e.event_id >> {NUMBER_BITS}) as what
    from ({
    " union all ".join(
        f"select '{table}' as source, event_id, batch, business from {table} where batch <= $upto"
        for table in NUMBERED_TABLES
        if table != "task_event"
    )
}) e left join ({_NUMBER_OF}) n using (business)
    where coalesce(n.no, {SYSTEM}) <> e.event_id >> {NUMBER_BITS}
"""

_AFTER_COMMIT = f"""
    select 'time' as "check", batch, format('a row of {{}} happened at {{}}, after its commit at {{}}', source,
                                          max(latest), max(committed_at)) as what
    from ({
    " union all ".join(
        f"select '{table}' as source, batch, max(occurred_at) as latest from {table} "
        f"where batch <= $upto{' and actor <> ' + _quoted(IMPORT) if table == 'task_event' else ''} group by batch"
        for table in NUMBERED_TABLES
    )
}) join batch using (batch) where latest > committed_at group by batch, source
"""


# --- the steps of each task

_FINAL, _IN_SLOT = _list(TERMINAL), _list(RUNNING)

_LAWFUL = ", ".join(
    f"({_quoted(event)}, {_quoted(source or '')}, {_quoted(kind)}, {_quoted(target)})"
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
_LIVES_RULES: tuple[tuple[str, str, str], ...] = (
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
        "event <> 'submit' and (business, site, kind, owner) is distinct from facts_before",
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
        "event = 'claim' and requested.it is not null and service is distinct from requested.it",
        "format('started on {}, but {} was requested', coalesce(service, 'no service'), requested.it)",
    ),
    (
        "event ids",
        f"event_id >> {NUMBER_BITS} is distinct from no or task_id >> {NUMBER_BITS} is distinct from no",
        "format('event {} or its task bears the number of another business', event_id)",
    ),
)

_LIVES = f"""
    with source as (
        select event_id, batch, occurred_at, task_id, event, from_status, to_status, reason, actor, business, site,
               kind, owner, service, lease, attempt, cause, dq, dp, dr, event in ('claim', 'process') as starts,
               case when event = 'submit' then (detail ->> '$.due_at')::bigint end as due_at,
               case when event = 'submit' then {{'it': detail ->> '$.requested_service'}}
                    when event = 'edit' and json_exists(detail, '$.changes.requested_service')
                    then {{'it': detail ->> '$.changes.requested_service'}} end as requested
        from task_event where $span and batch <= $upto
    ), walked as (
        select * replace (last_value(requested ignore nulls) over w as requested),
               lag(to_status) over w as status_before, lag(event) over w as event_before,
               lag(reason) over w as reason_before, lag(attempt) over w as attempt_before,
               lag(occurred_at) over w as at_before, lag(batch) over w as batch_before,
               lag((business, site, kind, owner)) over w as facts_before,
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
        left join ({_NUMBER_OF}) numbered on numbered.business = walked.business
    )
    select said."check", batch, business, site, kind, task_id, said.what
    from (select *, unnest(list_filter([{
    ", ".join(
        f"case when {wrong} then {{'check': {_quoted(name)}, 'what': {what}}} end" for name, wrong, what in _LIVES_RULES
    )
}], lambda x: x is not null)) as said
          from judged where {" or ".join(f"({wrong})" for _, wrong, _ in _LIVES_RULES)})
"""

# --- waits, and the holds over them

_CAUSES = tuple(cause.value for cause in Cause)
_WAITED_SHAPE = (
    '{"waited": {' + ", ".join(f'"{cause}": "BIGINT"' for cause in _CAUSES) + '}, "start_unknown": "BOOLEAN"}'
)
_WAITED = " + ".join(f"coalesce(told.waited.{cause}, 0)" for cause in _CAUSES)

_HELD_SPANS = """
    select business, site, target_kind, target, min(occurred_at) filter (event = 'begun') as begun_at,
           coalesce(min(occurred_at) filter (event not in ('placed', 'begun')), timestamp '9999-01-01') as ended_at
    from hold_event where batch <= $upto
    group by hold_id, business, site, target_kind, target having begun_at is not null
"""

_CONSOLE_SPANS = """
    select occurred_at as begun_at,
           coalesce(lead(occurred_at) over (order by event_id), timestamp '9999-01-01') as ended_at, event
    from service_event where event in ('console_down', 'console_up') and batch <= $upto
    qualify event = 'console_down'
"""

_SCHEDULE_OF = """
    select task_id, detail ->> '$.schedule_id' as schedule_id from task_event
    where $span and event = 'submit' and exists (select 1 from hold_event where target_kind = 'schedule')
"""


def _under_holds(rows: str, columns: str, during: str) -> str:
    """Join rows with the holds that cover their task by owner, kind or schedule, as far as `during` (of r, h) says."""
    reach = "(h.business is null or h.business = r.business) and (h.site is null or h.site = r.site)"
    return " union all ".join(
        f"select {columns} from {rows} r {more} join held h "
        f"on h.target_kind = '{kind}' and h.target = {whose} and {reach} and {during}"
        for kind, whose, more in (
            ("user", "r.owner", ""),
            ("kind", "r.kind", ""),
            ("schedule", "s.schedule_id", "join scheduled s using (task_id)"),
        )
    )


_WAITS = f"""
    with held as materialized ({_HELD_SPANS}),
    down as materialized ({_CONSOLE_SPANS}),
    scheduled as materialized ({_SCHEDULE_OF}),
    moved as (
        select event_id, batch, occurred_at, task_id, event, business, site, kind, owner, actor, dq, dp,
               case when dq < 0 or dp < 0 or event = 'edit' then json_transform(detail, '{_WAITED_SHAPE}') end as told
        from task_event
        where $span and batch <= $upto and (dq <> 0 or dp <> 0 or event = 'edit')
    ), walked as (
        select *, lag(occurred_at) over w as joined_at
        from moved where event <> 'edit' or told.waited is not null
        window w as (partition by task_id order by event_id)
    ), waited as materialized (
        select *, epoch_us(occurred_at) - epoch_us(joined_at) as lasted, {_WAITED} as told_us
        from walked where (dq < 0 or dp < 0 or event = 'edit') and joined_at is not null
    ), live as (select * from waited where actor <> '{IMPORT}' and lasted > 0),
    kept as (
        {
    _under_holds(
        "live",
        "r.event_id, true as by_hold, greatest(h.begun_at, r.joined_at) as since, "
        "least(h.ended_at, r.occurred_at) as until",
        "h.begun_at < r.occurred_at and h.ended_at > r.joined_at",
    )
}
        union all
        select r.event_id, false, greatest(d.begun_at, r.joined_at), least(d.ended_at, r.occurred_at)
        from live r join down d on d.begun_at < r.occurred_at and d.ended_at > r.joined_at
    ), merged as (
        select event_id, by_hold, epoch_us(since) as since, epoch_us(until) as until,
               coalesce(max(epoch_us(until)) over before, 0) as any_until,
               coalesce(max(epoch_us(until)) filter (by_hold) over before, 0) as hold_until
        from kept
        window before as (partition by event_id order by since, until rows between unbounded preceding and 1 preceding)
    ), lengths as (
        select event_id, sum(greatest(0, until - greatest(since, any_until)))::bigint as all_us,
               coalesce(sum(greatest(0, until - greatest(since, hold_until))) filter (by_hold), 0)::bigint as hold_us
        from merged group by event_id
    ), compared as (
        select w.*, coalesce(hold_us, 0) as hold_us, coalesce(all_us, 0) - coalesce(hold_us, 0) as console_us
        from waited w left join lengths using (event_id)
    ), started as (
        select * from task_event
        where $span and batch <= $upto and event in ('claim', 'process') and actor <> '{IMPORT}'
    )
    select 'wait split' as "check", batch, business, site, kind, task_id,
           format('{{}} after {{}} µs of waiting tells of {{}} µs', event, lasted, told_us) as what
    from compared where told_us <> lasted and not coalesce(told.start_unknown, false)
    union all
    select 'wait split', batch, business, site, kind, task_id,
           format('{{}} tells of a wait of less than nothing', event)
    from compared where least({", ".join(f"coalesce(told.waited.{cause}, 0)" for cause in _CAUSES)}) < 0
    union all
    select 'wait split', batch, business, site, kind, task_id,
           format('{{}} tells of {{}} µs of waiting under a hold, holds were in force for {{}} µs of it', event,
                  coalesce(told.waited.hold, 0), hold_us)
    from compared where actor <> '{IMPORT}' and coalesce(told.waited.hold, 0) <> hold_us
    union all
    select 'wait split', batch, business, site, kind, task_id,
           format('{{}} tells of {{}} µs of waiting for the console, it was down (and no hold on) for {{}} µs of it',
                  event, coalesce(told.waited.console, 0), console_us)
    from compared where actor <> '{IMPORT}' and coalesce(told.waited.console, 0) <> console_us
    union all
    select 'wait split', batch, business, site, kind, task_id, format('{{}} tells of a wait of unknown cause', event)
    from compared where actor <> '{IMPORT}' and told.waited.unknown is not null
    union all
    select distinct 'holds', batch, business, site, kind, task_id,
           format('{{}} at {{}}, while a hold on {{}} {{}} was in force', event, occurred_at, target_kind, target)
    from ({
    _under_holds(
        "started", "r.*, h.target_kind, h.target", "h.begun_at <= r.occurred_at and r.occurred_at < h.ended_at"
    )
})
"""

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


# --- task rows, computed a second time

_FACTS_SHAPE = (
    '{"name": "VARCHAR", "target": "VARCHAR", "target_kind": "VARCHAR", "scope": "VARCHAR", "initiator": "VARCHAR", '
    '"created_by": "VARCHAR", "schedule_id": "BIGINT", "requested_service": "VARCHAR", "priority": "BIGINT", '
    '"due_at": "BIGINT", "rerun_of": "BIGINT", "widget": "VARCHAR", "source": "VARCHAR"}'
)
_END_SHAPE = '{"errors": "BIGINT", "joined": "BIGINT", "outcome": "VARCHAR", "error": "VARCHAR", "changes": ["BIGINT"]}'
_EDITED = ("name", "target", "scope", "priority", "requested_service", "due_at")
_COLLECTS = f"kind in ({_list(COLLECTING_KINDS)})"
_ASSETS = ("assets_new", "assets_changed", "assets_gone", "assets_online", "assets_offline")


def _edited(field: str, sql_type: str = "varchar") -> str:
    return f"if(edited.{field} is null, first.facts.{field}, (edited.{field}.it)::{sql_type})"


def _rows_of(events: str) -> str:
    """Make CTEs that end in `told`: the task rows that some events (a condition) make, and a widget's numbers."""
    waits = ", ".join(
        f"coalesce(sum(waits.waited.{cause}) filter (from_status = 'New'), 0)::bigint as wait_{cause}"
        for cause in _CAUSES
    )
    edits = ", ".join(
        f"arg_max({{'it': changes ->> '$.{f}'}}, event_id) filter (json_exists(changes, '$.{f}')) as {f}"
        for f in _EDITED
    )
    wait_sum = " + ".join(f"wait_{cause}" for cause in _CAUSES)
    wait_columns = ", ".join(f"wait_{cause} as wait_{cause}_s" for cause in _CAUSES)
    assets = ", ".join(f"if(ended, last.told.changes[{n}], null) as {name}" for n, name in enumerate(_ASSETS, 1))
    return f"""
        source as (
            select event_id, occurred_at, task_id, event, from_status, to_status, reason, actor, business, site, kind,
                   owner, service, attempt, dq, dp, dr, epoch_us(occurred_at) as us,
                   case when event = 'submit' then json_transform(detail, '{_FACTS_SHAPE}') end as facts,
                   case when dq < 0 or dp < 0 or event = 'edit'
                        then json_transform(detail, '{_WAITED_SHAPE}') end as waits,
                   case when event in ('finish', 'confirm_stop', 'stop', 'fail', 'expire')
                        then json_transform(detail, '{_END_SHAPE}') end as told,
                   case when event = 'edit' then detail -> '$.changes' end as changes
            from task_event where {events}
        ), summed as (
            select *, {_WAITED.replace("told.", "waits.")} as waits_us from source
        ), edited as (
            select task_id, {edits} from source where changes is not null group by task_id
        ), folded as (
            select task_id, any_value({{'event': event_id, 'moment': occurred_at, 'actor': actor, 'business': business,
                       'site': site, 'kind': kind, 'owner': owner, 'facts': facts}}) filter (event = 'submit') as first,
                   arg_max(to_status, event_id) as status, arg_max(attempt, event_id) as attempt,
                   count(*) filter (event in ('edit', 'restore', 'hide', 'unhide')) + 1 as version,
                   coalesce(arg_max(event in ('hide', 'stop'), event_id) filter (
                       event in ('hide', 'unhide', 'restore') or (event = 'stop' and reason = 'deleted')
                   ), false) as hidden,
                   arg_max({{'moment': occurred_at, 'us': us, 'event': event, 'status': to_status, 'reason': reason,
                       'told': told}}, event_id)
                       filter (to_status in ({_FINAL}) and event not in ('hide', 'unhide')) as last,
                   arg_max({{'reason': reason}}, event_id) filter (event = 'request_stop') as asked,
                   min(occurred_at) filter (event in ('submit', 'due') and dq > 0) as queued_at,
                   min(occurred_at) filter (event = 'claim') as claimed_at,
                   max(occurred_at) filter (event = 'collected') as collected_at,
                   min(occurred_at) filter (event = 'hand_over') as handed_at,
                   min(occurred_at) filter (event = 'rescue' and to_status = 'Processing, queued') as put_back_at,
                   min(occurred_at) filter (event = 'process') as processed_at,
                   arg_max(service, event_id) filter (event = 'claim') as claimed_by,
                   arg_max(service, event_id) filter (event = 'process') as processed_by,
                   arg_max(service, event_id) filter (event in ('claim', 'process')) as started_by,
                   coalesce(bool_or(waits.start_unknown), false) as start_unknown,
                   {waits},
                   count(*) filter (from_status = 'Processing, queued' and dp < 0) as process_waits,
                   coalesce(sum(waits_us) filter (from_status = 'Processing, queued'), 0)::bigint as process_wait,
                   coalesce(sum(waits.waited.hold) filter (from_status = 'Processing, queued'), 0)::bigint
                       as process_wait_hold,
                   sum(us) filter (event = 'claim') as claims_us, sum(us) filter (event = 'process') as processes_us,
                   max(us) filter (event in ('claim', 'process')) as started_us,
                   sum(us) filter (dr < 0 and from_status in ('Active', 'Connecting')) as collect_us,
                   sum(us) filter (dr < 0 and from_status = 'Processing') as process_us,
                   sum(us) filter (dr < 0 and from_status = 'Stopping') as stopping_us
            from summed group by task_id
        ), staged as (
            select *, first.kind as kind, status in ({_FINAL}) as ended,
                   not ({_COLLECTS.replace("kind", "first.kind")}) or handed_at is not null as in_processing,
                   if(status in ({_IN_SLOT}), started_us, 0) as open_us,
                   -- A stop ends the stage that it was asked for in.
                   if(in_processing, collect_us, coalesce(collect_us + stopping_us, collect_us, stopping_us))
                       as collects_us,
                   if(in_processing, coalesce(process_us + stopping_us, process_us, stopping_us), process_us)
                       as works_us
            from folded where first is not null
        ), told as (
            select s.task_id, s.task_id & {(1 << NUMBER_BITS) - 1} as number, {_edited("name")} as name, kind,
                   first.business as business, first.site as site, {_edited("target")} as target,
                   first.facts.target_kind as target_kind, {
        _edited("scope")
    } as scope, first.facts.initiator as initiator,
                   first.owner as owner, coalesce(first.facts.created_by, first.actor) as created_by,
                   first.facts.schedule_id as schedule_id, {_edited("requested_service")} as requested_service,
                   if({_COLLECTS}, claimed_by, null) as service, if({_COLLECTS}, processed_by, started_by) as processor,
                   coalesce(first.facts.source, 'live') as source, status,
                   if(ended, coalesce(last.told.outcome, case last.status when 'Processed' then 'finished'
                      when 'Stopped' then 'stopped' else 'failed' end), null) as outcome,
                   case when ended then last.reason when status = 'Stopping' then asked.reason end as reason,
                   if(ended and last.event in ('fail', 'expire'), last.told.error, null) as error,
                   if(ended, coalesce(last.told.errors, 0), 0) as errors, attempt,
                   coalesce({_edited("priority", "bigint")}, 5) as priority, version, hidden,
                   first.facts.rerun_of as rerun_of, first.moment as created_at,
                   make_timestamp({_edited("due_at", "bigint")}) as due_at, queued_at,
                   if(start_unknown, null, claimed_at) as started_at, collected_at,
                   coalesce(handed_at, put_back_at) as processing_queued_at,
                   if({_COLLECTS}, processed_at, if(start_unknown, null, claimed_at)) as processing_started_at,
                   if(ended, last.moment, null) as finished_at,
                   if(queued_at is null or start_unknown, null, {wait_sum}) as wait_s,
                   {wait_columns},
                   if(process_waits = 0, null, process_wait) as process_wait_s,
                   process_wait_hold as process_wait_hold_s,
                   if({_COLLECTS} and not start_unknown, collects_us - (claims_us - if(in_processing, 0, open_us)),
                      null)::bigint as run_s,
                   if({_COLLECTS} or not start_unknown, works_us + if(in_processing, open_us, 0)
                      - if({_COLLECTS}, 0, coalesce(claims_us, 0)) - coalesce(processes_us, 0),
                      null)::bigint as process_s,
                   {assets},
                   first.facts.widget as widget, if(ended, last.told.joined, null) as joined, last.us as last_us
            from staged s left join edited using (task_id)
        )
    """


_SHOWN = ("shown_status", "held_by", "cause")  #: what a row says about the moment, not about the past
_COMPARED = tuple(column for column in TaskRow._fields if column not in ("task_id", *_SHOWN))


def _differing(columns: tuple[str, ...]) -> tuple[str, str]:
    """Compare t (as the ledger tells it) with r (as it is stored): when they differ, and a text of how."""
    parts = []
    for column in columns:
        stored = f"(r.{column} * 1000000)::bigint" if column.endswith("_s") else f"r.{column}"
        unit = " µs" if column.endswith("_s") else ""
        parts.append((column, stored, unit))
    differs = " or ".join(f"t.{column} is distinct from {stored}" for column, stored, _ in parts)
    says = ", ".join(
        f"if(t.{column} is distinct from {stored}, '{column} is ' || coalesce({stored}::varchar || '{unit}', 'empty') "
        f"|| ', the ledger says ' || coalesce(t.{column}::varchar || '{unit}', 'empty'), null)"
        for column, stored, unit in parts
    )
    return differs, f"array_to_string(list_filter([{says}], lambda x: x is not null), '; ')"


_ROW_DIFFERS, _ROW_SAYS = _differing(_COMPARED)

_ROWS = f"""
    with {_rows_of("$span and batch <= $upto")},
    done as (
        select task_id, max(batch) as batch, count(*) as n, count(distinct batch) as batches
        from task_done where $span and batch <= $upto group by task_id
    ), stored as (
        select d.* from task_done d join done using (task_id, batch) where d.batch <= $upto
    ), versions as (
        -- A restored task's row New gives way to its next row or, before that, to its published live row.
        select task_id, batch, business, site, kind, status, if(superseded_by <= $upto, superseded_by, null) as marked,
               lead(batch) over (partition by task_id order by batch) as next_batch
        from task_done
        where $span and batch <= $upto
          and (superseded_by is not null or status = 'New' or task_id in (select task_id from done where n > 1))
    ), refreshed as (
        select *, count(*) over (partition by task_id) as n from widget_refresh where $span and batch <= $upto
    )
    select 'task rows' as "check", r.batch, t.business, t.site, t.kind, task_id, {_ROW_SAYS} as what
    from told t join stored r using (task_id) where t.status in ({_FINAL}) and ({_ROW_DIFFERS})
    union all
    select 'task rows', r.batch, t.business, t.site, t.kind, task_id,
           format('shown as {{}}{{}}, but the task has ended as {{}}', r.shown_status,
                  if(r.held_by is null, '', ' under a hold'), t.status)
    from told t join stored r using (task_id)
    where t.status in ({_FINAL}) and (r.shown_status <> t.status or r.held_by is not null or r.cause is not null)
    union all
    select 'task rows', null, business, site, kind, task_id, format('ended as {{}}, but has no row', status)
    from told where status in ({_FINAL}) and task_id not in (select task_id from stored)
    union all
    select 'task rows', r.batch, r.business, r.site, r.kind, task_id,
           format('has a row of {{}}, but its last event left it {{}}', r.status, coalesce(t.status, 'without a trace'))
    from stored r left join told t using (task_id)
    where t.status is null or (t.status not in ({_FINAL}) and r.status <> 'New')
    union all
    select 'task rows', batch, null, null, null, task_id, format('has {{}} rows of {{}} batches', n, batches)
    from done where n <> batches
    union all
    select 'task rows', batch, business, site, kind, task_id,
           format('a row of {{}} is marked as replaced by {{}}, its next row is of {{}}', status,
                  coalesce('batch ' || marked, 'none'), coalesce('batch ' || next_batch, 'none'))
    from versions
    where if(status = 'New', marked < batch or marked > next_batch or (marked is null and next_batch is not null),
             marked is distinct from next_batch)
    union all
    select 'widget refreshes', r.batch, t.business, t.site, t.kind, task_id,
           case when r.task_id is null then 'the refresh has no row' when r.n > 1 then 'the refresh has several rows'
                else format('the row says {{}} waited {{}} s, ran {{}} s, took {{}} s, joined by {{}}; the ledger '
                            || 'says {{}}, {{}} µs, {{}} µs, {{}} µs, {{}}', r.widget, r.wait_s, r.run_s, r.latency_s,
                            r.joined, t.widget, t.wait_s + coalesce(t.process_wait_s, 0), t.process_s,
                            t.last_us - epoch_us(t.created_at), coalesce(t.joined, 0)) end
    from told t left join refreshed r using (task_id)
    where t.widget is not null and t.status = 'Processed' and (
        r.n is distinct from 1 or r.widget <> t.widget or r.business <> t.business or r.site <> t.site
        or (r.wait_s * 1000000)::bigint <> t.wait_s + coalesce(t.process_wait_s, 0)
        or (r.run_s * 1000000)::bigint <> coalesce(t.process_s, 0)
        or (r.latency_s * 1000000)::bigint <> t.last_us - epoch_us(t.created_at) or r.joined <> coalesce(t.joined, 0))
    union all
    select 'widget refreshes', batch, business, site, null, task_id, 'a refresh is told of a task that finished none'
    from refreshed
    where task_id not in (select task_id from told where widget is not null and status = 'Processed')
"""

_LIVE_DIFFERS, _LIVE_SAYS = _differing((*_COMPARED, *_SHOWN))

#: One statement, and so one moment: the published rows may be rewritten at any time.
_PUBLISHED = "(select batch from live_mark)"
_LIVE = f"""
    with unfinished as materialized (
        select task_id from task_event where batch <= {_PUBLISHED}
        group by task_id having arg_max(to_status, event_id) not in ({_FINAL})
    ), {_rows_of(f"batch <= {_PUBLISHED} and task_id in (select task_id from unfinished)")},
    causes as (
        select task_id, arg_max(dq + dp, event_id) filter (dq <> 0 or dp <> 0) as moved
        from source group by task_id
    ), held as (
        select hold_id, business, site, target_kind, target, any_value(from_at) as from_at from hold_event
        where batch <= {_PUBLISHED} group by hold_id, business, site, target_kind, target
        having bool_or(event = 'begun') and not bool_or(event not in ('placed', 'begun'))
    ), over_them as (
        select task_id, arg_min(hold_id, (h.from_at, h.hold_id)) as held_by
        from told r join held h
          on (h.business is null or h.business = r.business) and (h.site is null or h.site = r.site)
             and h.target = case h.target_kind when 'user' then r.owner when 'kind' then r.kind
                            else r.schedule_id::varchar end
        group by task_id
    ), shown as (
        select told.*, coalesce(moved, 0) > 0 as waits, if(waits, held_by, null) as held_by,
               if(waits and held_by is not null, 'Paused', status) as shown_status
        from told left join causes using (task_id) left join over_them using (task_id)
    ), t as (
        select shown.*, case when not waits then null when shown.held_by is not null then 'hold'
                             when r.cause in ('hold', 'unknown') then 'another'
                             else coalesce(r.cause, 'another') end as cause
        from shown left join task_live r using (task_id)
    )
    select 'live rows' as "check", r.batch, t.business, t.site, t.kind, task_id, {_LIVE_SAYS} as what
    from t join task_live r using (task_id) where {_LIVE_DIFFERS}
    union all
    select 'live rows', null, business, site, kind, task_id,
           format('was {{}} when the live rows were published, but has none', status)
    from t where task_id not in (select task_id from task_live)
    union all
    select 'live rows', batch, business, site, kind, task_id,
           format('is published as {{}}, but was not unfinished then', status)
    from task_live where task_id not in (select task_id from unfinished)
    union all
    select 'live rows', min(batch), null, null, null, task_id, format('is published {{}} times', count(*))
    from task_live group by task_id having count(*) > 1
"""


# --- services

_LANES = "('scan', 'explorer'), ('connector', 'explorer'), ('connector', 'hosted_zone'), ('import', 'hosted_zone'), " \
         "('audit', 'audit_service'), ('processing', 'processor')"  # fmt: skip

_SERVICES = f"""
    with said as (
        select event_id, service, (detail ->> '$.slots')::bigint as slots, detail ->> '$.role' as role,
               if(event = 'service_added', coalesce(site, ''), null) as place,
               case when event = 'service_added' then 'online'
                    when event in ('online', 'draining', 'offline') then event end as wanted,
               if(event in ('lost', 'returned'), event, null) as heard,
               if(event in ('suspect', 'cleared'), event, null) as trusted
        from service_event
        where business = $name and batch <= $upto and service is not null and event <> 'stale_report'
    ), known as (
        select event_id, service, last_value(slots ignore nulls) over w as slots_now,
               last_value(role ignore nulls) over w as role_now, last_value(place ignore nulls) over w as place_now,
               last_value(wanted ignore nulls) over w as wanted, last_value(heard ignore nulls) over w as heard,
               last_value(trusted ignore nulls) over w as trusted
        from said window w as (partition by service order by event_id)
    ), acts as (
        select event_id, batch, site, service, kind, task_id, event, sum(dr) over w as running,
               sum(if(kind = 'scan', dr, 0)) over w as scanning
        from task_event where business = $name and batch <= $upto and dr <> 0 and service is not null
        window w as (partition by service order by event_id rows unbounded preceding)
    ), started as (
        select a.*, k.* exclude (event_id, service),
               if(event = 'process' or kind in ({_list(SYSTEM_KINDS)}), 'processing', kind) as lane
        from (select * from acts where event in ('claim', 'process')) a
        asof left join known k on a.service = k.service and a.event_id > k.event_id
    ), wrong as materialized (
        select * from started
        where running > slots_now or (role_now = 'explorer' and (scanning > 1 or running - scanning > slots_now - 1))
           or wanted is distinct from 'online' or heard = 'lost' or trusted = 'suspect'
           or (lane, role_now) not in ({_LANES}) or (role_now <> 'processor' and site <> place_now)
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
                  case when wanted is null then 'not there' when heard = 'lost' then 'lost'
                       when trusted = 'suspect' then 'suspect' else wanted end)
    from wrong where wanted is distinct from 'online' or heard = 'lost' or trusted = 'suspect'
    union all
    select 'services', batch, $name, site, kind, task_id,
           format('started on {{}}, {{}} of {{}}, which does not do that', service, coalesce(role_now, 'nothing'),
                  coalesce(nullif(place_now, ''), 'the business'))
    from wrong where (lane, role_now) not in ({_LANES}) or (role_now <> 'processor' and site <> place_now)
"""

_CONSOLE = f"""
    select 'services' as "check", e.batch, e.business, e.site, e.kind, e.task_id,
           format('{{}} at {{}}, while the console was down', e.event, e.occurred_at) as what
    from task_event e join ({_CONSOLE_SPANS}) d on e.occurred_at > d.begun_at and e.occurred_at < d.ended_at
    where e.batch <= $upto and e.event in ('claim', 'process') and e.actor <> '{IMPORT}'
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


# --- schedules

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


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a schedule, in force from its event until the next one's (None: still)."""

    rule: Rule
    since: int
    until: int | None


def _schedules(look: _Look) -> Iterator[Wrong]:
    """Compare fired rows with the runs submitted, then walk each schedule's nominal times beside its rows."""
    yield from look.wrong(_FIRED)
    last_tick = _last_tick(look)
    versions: dict[int, list[_Version]] = {}
    wheres: dict[int, Wrong] = {}
    for event in look.store.rows("schedule_event", f"batch <= {look.upto}", order="event_id"):
        own = versions.setdefault(event.schedule_id, [])
        if own and own[-1].until is None:
            own[-1] = _Version(own[-1].rule, own[-1].since, event.occurred_at)
        if event.event != "removed":
            own.append(_Version(Rule.from_dict(event.detail["rule"]), event.occurred_at, None))
        wheres[event.schedule_id] = {
            "check": "schedules", "business": event.business, "site": event.site, "thing": f"schedule “{event.name}”"
        }  # fmt: skip
    for ids in _in_portions(look, versions):
        frame = look.read(
            "select schedule_id, batch, epoch_us(nominal_at), epoch_us(last_nominal_at), count, epoch_us(occurred_at), "
            "outcome from schedule_fire where batch <= $upto and schedule_id in ($ids) order by schedule_id, event_id",
            ids=", ".join(map(str, ids)),
        )
        rows: dict[int, list[tuple[Any, ...]]] = {}
        for schedule_id, *row in frame.iter_rows():
            rows.setdefault(schedule_id, []).append(tuple(row))
        for schedule_id in ids:
            for batch, what in _settled(versions[schedule_id], rows.get(schedule_id, []), last_tick):
                yield {**wheres[schedule_id], "batch": batch, "what": what}
    yield from look.wrong(
        """select 'schedules' as "check", batch, business, site, format('schedule {}', schedule_id) as thing,
                  'fired, but there is no such schedule' as what
           from schedule_fire where batch <= $upto and schedule_id not in (select schedule_id from schedule_event)"""
    )


def _last_tick(look: _Look) -> int:
    """Tell up to when time passed for schedules: what was committed while the console was down lies after it."""
    frame = look.read(
        """select epoch_us(max(committed_at)) from batch where batch <= $upto and batch < coalesce(
               (select arg_max(if(event = 'console_down', batch, null), event_id) from service_event
                where event in ('console_down', 'console_up') and batch <= $upto
                having arg_max(event, event_id) = 'console_down'), $upto + 1)"""
    )
    return frame.item() or 0


def _in_portions(look: _Look, versions: dict[int, list[_Version]]) -> Iterator[list[int]]:
    """Group schedules so that not too many rows are read at once."""
    counts = dict(
        look.read("select schedule_id, count(*) from schedule_fire where batch <= $upto group by 1").iter_rows()
    )
    portion: list[int] = []
    size = 0
    for schedule_id in versions:
        portion.append(schedule_id)
        size += counts.get(schedule_id, 0)
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
                    yield batch, f"a queued run is released for {_when(first)}, but none was queued for it"
                owed = None
                continue
            if outcome == "queued":
                owed = last
            while expected is not None and expected < first:
                yield batch, f"{_when(expected)} was missed: no row settles it"
                expected = next(due, None)
            if expected != first:
                yield batch, f"{_when(first)} was settled before, or is no nominal time of the schedule"
                continue
            n = 0
            while expected is not None and expected <= last:
                n, reached = n + 1, expected
                expected = next(due, None)
            if n != count or reached != last:
                yield batch, f"a row counts {count} nominal times from {_when(first)} to {_when(last)}, there are {n}"
        while expected is not None:
            yield None, f"{_when(expected)} was missed: no row settles it"
            expected = next(due, None)
    for batch, first, *_ in rows[place:]:
        yield batch, f"{_when(first)} was settled when the schedule was no more"


def _nominal(rule: Rule, after: int, until: int) -> Iterator[int]:
    while True:
        part = rule.occurrences(after, until, NOMINAL_AT_ONCE)
        yield from part
        if len(part) < NOMINAL_AT_ONCE:
            return
        after = part[-1]


def _when(at: int) -> str:
    return f"{pl.from_epoch(pl.Series([at]), time_unit='us').item():%Y-%m-%d %H:%M:%S} UTC"


# --- derived tables, audit


def _rollups(look: _Look) -> Iterator[Wrong]:
    """Put the stored and the recomputed rows of each bucket beside each other, and tell apart what differs."""
    there = look.read("select count(*) from duckdb_tables() where table_name = 'rollup_state'").item()
    if not there:
        return
    if look.read("select rolled_batch from rollup_state").item() > look.store.batch:
        yield {"check": "rollups", "what": "they stand for a batch that is not there"}
        return
    differing = rollups.differences(look.store)
    if differing.is_empty():
        return
    keys = [name for name in ("table", "level", "business", "site", "kind", "bucket", "hour", "stage", "bin")
            if name in differing.columns]  # fmt: skip
    values = [name for name in differing.columns if name not in (*keys, "side")]
    for rows in differing.sort(keys).head(ROLLUPS_TOLD).partition_by(keys, maintain_order=True):
        sides = {row["side"]: row for row in rows.iter_rows(named=True)}
        stored, right = sides.get("stored"), sides.get("recomputed")
        row = stored or right or {}
        histogram = row["table"] == "wait_histogram"
        wrong: Wrong = {"check": "wait histogram" if histogram else "rollups", "business": row["business"],
                        "site": row["site"]}  # fmt: skip
        wrong["thing"] = " ".join(
            str(part) for part in (row["table"], row.get("level"), row["kind"], row.get("bucket") or row.get("hour"),
                                   row.get("stage")) if part is not None
        )  # fmt: skip
        if stored is None or right is None or rows.height > 2:
            what = "is there twice" if rows.height > 2 else "is missing" if stored is None else "should not be there"
            yield {**wrong, "what": f"the row {what}"}
            continue
        for name in values:
            if stored[name] != right[name]:
                peak = {"check": "peaks"} if name == "highest" else {}
                yield {**wrong, **peak, "what": f"{name} is {stored[name]}, the ledger says {right[name]}"}
    if differing.height > ROLLUPS_TOLD:
        more = differing.height - ROLLUPS_TOLD
        yield {"check": "rollups", "what": f"{more:,} more rows differ", "standing_for": more}


def _audit(look: _Look) -> Iterator[Wrong]:
    for no, highest in look.highest("audit_id", ("audit",)).items():
        for first, last in _spans(no, highest, EVENTS_AT_ONCE):
            span = f"audit_id between {first} and {last}"
            yield from look.wrong(
                _AUDIT, span=span, first=max(first, make_id(no, 1)) - 1, no=no, name=_quoted(look.name(no))
            )


_AUDIT = f"""
    with walked as (
        select a.*, coalesce(lag(audit_id) over (order by audit_id), $first) as id_before
        from audit a where $span and batch <= $upto
    )
    select 'audit ids' as "check", batch, $name as business,
           if(audit_id = id_before, format('audit row {{}} is there twice', audit_id & {(1 << NUMBER_BITS) - 1}),
              format('before audit row {{}} {{}} are missing', audit_id & {(1 << NUMBER_BITS) - 1},
                     audit_id - id_before - 1)) as what
    from walked where audit_id <> id_before + 1
    union all
    select 'audit ids', w.batch, w.business, 'an audit row bears the number of another business'
    from walked w left join ({_NUMBER_OF}) n using (business) where coalesce(n.no, {SYSTEM}) <> $no
"""
