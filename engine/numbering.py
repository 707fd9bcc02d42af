"""Is the ledger whole? The chain of its batches, the numbers of its events and audit rows, and their order in time.

Every business numbers its events over all tables without a gap, and its audit rows likewise; numbers, batches and
instants rise together; nothing happened after its commit; and each batch is a link of the chain, up to the head that
lies outside the store. So a row that was lost, added, edited or moved shows here, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator

from .findings import IMPORT, NUMBER_OF, Ledger, Wrong, quoted, stretches
from .ledger import NUMBER_BITS, NUMBERED_TABLES, SYSTEM, make_id, number_of

EVENTS_AT_ONCE = 2_000_000
CHAIN_RETRIES = 20


def batches(ledger: Ledger) -> Iterator[Wrong]:
    """See that every batch is as it was committed, and the last one is the one that was acknowledged."""
    broken = ledger.store.broken_link()
    for _ in range(CHAIN_RETRIES):
        if broken is None or broken.batch <= ledger.upto:
            break
        broken = ledger.store.broken_link()  # perhaps a batch was committed between two of its reads
    if broken is not None:
        yield {"check": "chain", "batch": broken.batch, "what": broken.why}


def events(ledger: Ledger) -> Iterator[Wrong]:
    """See that events are numbered without a gap, each business's by itself, and follow one another in time."""
    for no, highest in ledger.highest("event_id", NUMBERED_TABLES).items():
        before, batch, us = 0, 0, 0
        for first, last in stretches(no, highest, EVENTS_AT_ONCE):
            span = f"event_id between {first} and {last} and batch <= {ledger.upto}"
            yield from ledger.wrongs(
                _ORDER, span=span, name=quoted(ledger.name(no)), id=make_id(no, before), batch=batch, us=us
            )
            so_far = ledger.read(f"select max(event_id), max(batch), max(us) from ({_NUMBERED})", span=span).row(0)
            if so_far[0] is not None:
                before, batch, us = number_of(so_far[0]), so_far[1], max(us, so_far[2] or 0)
    yield from ledger.wrongs(_NAMES)
    yield from ledger.wrongs(_AFTER_COMMIT)


def audit_rows(ledger: Ledger) -> Iterator[Wrong]:
    """See that audit rows are numbered without a gap, each business's by itself."""
    for no, highest in ledger.highest("audit_id", ("audit",)).items():
        for first, last in stretches(no, highest, EVENTS_AT_ONCE):
            span = f"audit_id between {first} and {last}"
            yield from ledger.wrongs(
                _AUDIT, span=span, first=max(first, make_id(no, 1)) - 1, no=no, name=quoted(ledger.name(no))
            )


_NUMBERED = " union all ".join(
    f"select event_id, batch, if({actor} = '{IMPORT}', null, epoch_us(occurred_at)) as us, '{table}' as source "
    f"from {table} where $span"
    for table in NUMBERED_TABLES
    for actor in ["'engine'" if table in ("schedule_fire", "blackout_fire") else "actor"]
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
}) e left join ({NUMBER_OF}) n using (business)
    where coalesce(n.no, {SYSTEM}) <> e.event_id >> {NUMBER_BITS}
"""

_AFTER_COMMIT = f"""
    select 'time' as "check", batch, format('a row of {{}} happened at {{}}, after its commit at {{}}', source,
                                          max(latest), max(committed_at)) as what
    from ({
    " union all ".join(
        f"select '{table}' as source, batch, max(occurred_at) as latest from {table} "
        f"where batch <= $upto{' and actor <> ' + quoted(IMPORT) if table == 'task_event' else ''} group by batch"
        for table in NUMBERED_TABLES
    )
}) join batch using (batch) where latest > committed_at group by batch, source
"""

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
    from walked w left join ({NUMBER_OF}) n using (business) where coalesce(n.no, {SYSTEM}) <> $no
"""
