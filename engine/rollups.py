"""Derived tables for charts, computed from the ledger by SQL: queue_minute, queue_quarter, wait_histogram.

`advance` takes in the batches committed since the last call, in one transaction beside the commits. It recomputes the
minutes that the new events touch, out of all events in them, and every later minute if the new events leave another
depth behind. So there are no parts to merge, an import that lands in the past needs no special care, and what is
stored always equals what `recompute` makes of the whole ledger. Buckets go by `occurred_at`, never by arrival.

Rows are sparse: one per level, key and bucket with a change. Readers carry the last value forward, and read what is not
rolled up yet off the ledger by the very same SQL: `depth_series` does both.

- arrived: joins of the collecting queue by submit, due, restore (not by rescue or suspension, which only put back).
- started: first claims. finished: events that end a task.
- depth: waiting to be collected (or run), a running sum of dq; process_depth of dp; running of dr.
- held, process_held: of these, those whose cause is a hold.
- highest: the highest depth within the bucket. Changes of one instant are netted first; the depth carried in counts
  unless a change falls exactly on the bucket's start. Levels have their own, since peaks don't add up.
- wait_histogram counts finished tasks by the hour in which they (first) started: stage collect by `started_at` and
  `wait_s`, stage process by `processing_started_at` and `process_wait_s`. See `bin_of`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import polars as pl

from .clock import MINUTE
from .lifecycle import TERMINAL, TRANSITIONS, Cause, Status
from .schema import describe
from .store import Cursor, Store

QUARTER = 15 * MINUTE
PIECE = 250_000  #: events that are rolled up at a time
STRETCH = 250_000  #: events that a read adds up anew at most, for what came late and is not rolled up yet
ALL = 2**62  #: later than any batch
LEVELS = ("kind", "site", "business", "all")
KEYS = {level: ("business", "site", "kind")[: 3 - n] for n, level in enumerate(LEVELS)}
BIN_WIDTH = 1.02
SHORTEST_WAIT_S = 0.001  #: shorter waits all fall into bin 0

_JOINS = "'submit', 'due', 'restore'"
_PUT_BACK = "'rescue', 'suspended'"
_ENDS = ", ".join(sorted({f"'{edge.event}'" for edge in TRANSITIONS if edge.target in TERMINAL}))

_COUNTED = ("arrived", "started", "finished")
_LEVELLED = ("depth", "held", "process_depth", "process_held", "running")

_QUEUE = """(
    bucket timestamp, level varchar, business varchar, site varchar, kind varchar,
    arrived bigint, started bigint, finished bigint,
    depth bigint, held bigint, process_depth bigint, process_held bigint, running bigint, highest bigint, batch bigint
)"""
_SCHEMA = (
    f"create table if not exists queue_minute {_QUEUE}",
    f"create table if not exists queue_quarter {_QUEUE}",
    """create table if not exists wait_histogram (
        hour timestamp, business varchar, site varchar, kind varchar, stage varchar, bin bigint, n bigint
    )""",
    "create table if not exists put_back (task_id bigint, event_id bigint)",
    "create table if not exists rollup_state (rolled_batch bigint, frontier timestamp)",
    "insert into rollup_state select 0, make_timestamp(0) where not exists (select 1 from rollup_state)",
)
_TABLES = {
    "queue_minute": "Queues by minute; a row where something changed. Carry depths forward to minutes without a row",
    "queue_quarter": "Queues by quarter of an hour; a row where something changed",
    "wait_histogram": "How many finished tasks waited how long, by the hour in which they started",
    "put_back": "Tasks that were put back into the queue: their later claims are not first ones",
    "rollup_state": "Up to which batch, and which minute, the rollups have come",
}
_COLUMNS = {
    "arrived": "Tasks that joined the queue for collecting (or running) by submit, due or restore",
    "batch": "The batch as of which this row was computed",
    "bin": "0: below 1 ms; k: from 0.001 * 1.02^(k-1) seconds, 2 % wide",
    "bucket": "Start of the minute or quarter of an hour (UTC)",
    "business": "The tenant; empty at level all",
    "depth": "Tasks waiting to be collected (or run) at the bucket's end",
    "event_id": "The event that put it back",
    "finished": "Tasks that ended",
    "frontier": "Start of the latest minute that has been rolled up (UTC)",
    "held": "Of depth, those waiting under a hold",
    "highest": "The highest depth within the bucket",
    "hour": "Start of the hour (UTC)",
    "kind": "What sort of work; empty above level kind",
    "level": "kind, site, business or all; the keys above it are empty, and peaks don't add up",
    "n": "How many tasks",
    "process_depth": "Tasks waiting for a processor at the bucket's end",
    "process_held": "Of process_depth, those waiting under a hold",
    "rolled_batch": "The last batch taken in",
    "running": "Tasks running at the bucket's end",
    "site": "The place in the business; empty above level site",
    "stage": "collect or process",
    "started": "Tasks claimed for the first time",
    "task_id": "The task",
}


_ADVANCING = threading.Lock()  #: two at a time, an import's and the publication's, would take in the same batches


def prepare(store: Store) -> None:
    """Create the derived tables where they are missing; call once after opening a store."""
    with store.transaction() as cursor:
        for statement in _SCHEMA:
            cursor.execute(statement).fetchall()
        describe(cursor, _TABLES, _COLUMNS)


def advance(store: Store) -> int:
    """Take in what was committed since the last call; return the batch that the rollups now stand for."""
    with _ADVANCING, store.transaction() as cursor:
        upto = store.batch
        rolled, frontier = _state(cursor)
        if upto <= rolled:
            return rolled
        news = f"batch > {rolled} and batch <= {upto}"
        cursor.execute(
            f"insert into put_back select task_id, event_id from task_event where event in ({_PUT_BACK}) and {news}"
        ).fetchall()
        latest = frontier
        for start, end, last in _spans(cursor, news, frontier):
            for begin, until in _pieces(cursor, start, end):
                _rebuild(cursor, begin, until, upto)
            latest = max(latest, last - last % MINUTE)
        _advance_histogram(cursor, rolled, upto)
        cursor.execute(
            "update rollup_state set rolled_batch = ?, frontier = make_timestamp(?)", [upto, latest]
        ).fetchall()
    return upto


def rebuild(store: Store) -> int:
    """Forget all derived rows and compute them anew."""
    with store.transaction() as cursor:
        for table in ("queue_minute", "queue_quarter", "wait_histogram", "put_back"):
            cursor.execute(f"delete from {table}").fetchall()
        cursor.execute("update rollup_state set rolled_batch = 0, frontier = make_timestamp(0)").fetchall()
    return advance(store)


def recompute(store: Store) -> dict[str, pl.DataFrame]:
    """Compute each table from the whole ledger up to the rolled batch: no spans, no stored rows."""
    with store.transaction() as cursor:
        rolled, _ = _state(cursor)
        return {table: cursor.sql(whole).pl() for table, whole in _wholes(rolled).items()}


def differences(store: Store) -> pl.DataFrame:
    """List the rows in which the stored tables differ from the recomputed ones; `side` says who has it."""
    found = []
    with store.transaction() as cursor:
        rolled, _ = _state(cursor)
        for table, whole in _wholes(rolled).items():
            stored = f"select columns(lambda c: c <> 'batch') from {table}"
            cursor.execute(f"create or replace temp table recomputed as {whole}").fetchall()
            # Both sides cancel each other out; a row that is there more often on one side is told as often.
            sides = f"""
                select if(surplus > 0, 'stored', 'recomputed') as side, columns(lambda c: c <> 'surplus')
                from (select * exclude (times), sum(times)::bigint as surplus
                      from (select *, 1 as times from ({stored})
                            union all by name select *, -1 as times from recomputed)
                      group by all having surplus <> 0), unnest(range(abs(surplus)))
                order by all
            """
            frame: pl.DataFrame = cursor.sql(sides).pl()
            found.append(frame.select(pl.lit(table).alias("table"), pl.all()))
        cursor.execute("drop table recomputed").fetchall()
    return pl.concat(found, how="diagonal")


def depth_series(
    store: Store,
    level: str,
    start_at: int,
    end_at: int,
    bucket: int = MINUTE,
    *,
    business: str | None = None,
    site: str | None = None,
    kind: str | None = None,
) -> pl.DataFrame:
    """Give a row for each bucket that begins in [start_at, end_at): counts, depths carried forward, the exact highest.

    `bucket` is a whole number of minutes, `start_at` the start of a minute. Up to date with the last commit: what is
    not rolled up yet is read off the ledger. Only where that would mean to add up a long stretch of it anew, after the
    import of a log, what came late is left out until it is rolled up, some seconds later.
    """
    wanted = {"business": business, "site": site, "kind": kind}
    asked = pl.DataFrame({name: pl.Series([wanted[name]], dtype=pl.String) for name in KEYS.get(level, ())})
    return depths(store, level, asked, start_at, end_at, bucket).drop(asked.columns)


def depths(
    store: Store, level: str, asked: pl.DataFrame, start_at: int, end_at: int, bucket: int = MINUTE
) -> pl.DataFrame:
    """Give such a series for each of some keys at once: `asked` has the level's columns, which go before the others."""
    if level not in LEVELS or bucket % MINUTE or start_at % MINUTE or bucket <= 0:
        raise ValueError(f"level is one of {LEVELS}; start and bucket are whole minutes")
    places = max(-((start_at - end_at) // bucket), 0)
    end_at = start_at + places * bucket
    names = KEYS[level]
    # One key is looked up as such; several are picked out of all, which costs no more than two.
    params = asked.row(0, named=True) if asked.height == 1 else {}
    of_key = " and ".join(["true", *(f"{name} = ${name}" for name in params)])
    of_level = f"level = '{level}' and {of_key}"
    with store.transaction() as cursor:
        rolled, frontier = _state(cursor)
        # From this minute on the stored rows don't know all that happened.
        (open_from,) = cursor.execute(
            f"""select epoch_us(date_trunc('minute', min(occurred_at))) from (
                select occurred_at from task_event where batch > {rolled} and {of_key}
                union all select occurred_at from queue_shift where batch > {rolled} and {of_key})""",
            params,
        ).fetchall()[0]
        if open_from is not None and open_from < frontier:
            during = _during(open_from, end_at)
            (events,) = cursor.execute(f"select count(*) from task_event where {during}").fetchall()[0]
            if events > STRETCH:
                open_from = frontier
        stored_to = end_at if open_from is None else min(open_from, end_at)
        base_to = min(start_at, stored_to)
        sources = [_stored_before(base_to, of_level)]
        if start_at < stored_to:
            coarse_to = start_at
            if bucket % QUARTER == 0 and start_at % QUARTER == 0:
                coarse_to = max(start_at, stored_to - stored_to % QUARTER)
                sources.append(f"select * from queue_quarter where {of_level} and {_between(start_at, coarse_to)}")
            sources.append(f"select * from queue_minute where {of_level} and {_between(coarse_to, stored_to)}")
        if open_from is not None and open_from < end_at:
            again = (
                "select task_id, event_id from put_back union all select task_id, event_id from task_event "
                f"where event in ({_PUT_BACK}) and batch > {rolled}"
            )
            fresh = _buckets(
                f"{_during(open_from, end_at)} and {of_key}",
                store.batch,
                MINUTE,
                base=_stored_before(open_from, of_level),
                again=again,
            )
            sources.append(f"select * from ({fresh}) where level = '{level}'")
        line = " union all ".join(f"({source})" for source in sources)
        place = f"floor((epoch_us(bucket) - {start_at}) / {bucket})::bigint"
        folded = cursor.sql(
            f"""
            select {"".join(f"{name}, " for name in names)}
                   greatest({place}, -1) as place, min(epoch_us(bucket)) as first_at,
                   {", ".join(f"sum({name})::bigint as {name}" for name in _COUNTED)},
                   {", ".join(f"arg_max({name}, bucket) as {name}" for name in _LEVELLED)},
                   max(highest) as highest
            from ({line}) group by {"".join(f"{name}, " for name in names)} place
            """,
            params=params,
        ).pl()
    return _carried(folded, asked, start_at, places, bucket)


def _carried(folded: pl.DataFrame, asked: pl.DataFrame, start_at: int, places: int, bucket: int) -> pl.DataFrame:
    """Spread sparse rows over a full grid for each key; place -1 is what stood before it."""
    grid = pl.DataFrame({"place": pl.int_range(-1, places, eager=True)})
    if asked.width:
        grid = asked.join(grid, how="cross", maintain_order="left_right")
    full = grid.join(folded, on=grid.columns, how="left", nulls_equal=True, maintain_order="left").with_columns(
        *(pl.col(name).fill_null(0) for name in _COUNTED),
        # What stood before is known, if only as nothing, so that no key goes on with the depths of the one before it.
        *(
            pl.when(pl.col("place") == -1).then(pl.col(name).fill_null(0)).otherwise(name).forward_fill()
            for name in _LEVELLED
        ),
        (start_at + pl.col("place") * bucket).alias("bucket_us"),
    )
    brought = pl.col("depth").shift(1, fill_value=0)
    starts_later = pl.col("first_at").is_null() | (pl.col("first_at") > pl.col("bucket_us"))
    return (
        full.with_columns(
            pl.max_horizontal("highest", pl.when(starts_later).then(brought)).alias("highest"),
            pl.from_epoch("bucket_us", time_unit="us").alias("bucket"),
        )
        .filter(pl.col("place") >= 0)
        .select(*asked.columns, "bucket", *_COUNTED, *_LEVELLED, "highest")
    )


def moves(store: Store, start_at: int, end_at: int, business: str, site: str | None = None) -> pl.DataFrame:
    """Give each instant in [start_at, end_at) at which the queues of a business or site changed, and by how much.

    Columns: at (µs), queued, process_queued; what is held is in neither, as it is not in depth less held.
    """
    changes = _changes(_during(start_at, end_at), store.batch, "select 0 as task_id, 0 as event_id where false")
    return store.read(
        f"""
        select epoch_us(occurred_at) as at, sum(dq - hq)::bigint as queued, sum(dp - hp)::bigint as process_queued
        from ({changes})
        where business = $business and ($site::varchar is null or site = $site::varchar)
        group by occurred_at having sum(dq - hq) <> 0 or sum(dp - hp) <> 0 order by occurred_at
        """,
        {"business": business, "site": site},
    )


def bin_of(wait_s: float) -> int:
    """Name the bin of a wait: 0 below a millisecond, else bins that grow by 2 %."""
    if wait_s < SHORTEST_WAIT_S:
        return 0
    return 1 + math.floor(math.log(wait_s / SHORTEST_WAIT_S) / math.log(BIN_WIDTH))


def bin_middle(a_bin: int) -> float:
    """Give the wait in seconds that stands for a bin: no wait in it is further off than 1 %."""
    return 0.0 if a_bin == 0 else float(SHORTEST_WAIT_S * BIN_WIDTH ** (a_bin - 0.5))


# --- the SQL


def _state(cursor: Cursor) -> tuple[int, int]:
    rolled, frontier = cursor.execute("select rolled_batch, epoch_us(frontier) from rollup_state").fetchall()[0]
    return rolled, frontier


def _between(start: int, end: int | None) -> str:
    return _instants("bucket", start, end)


def _during(start: int, end: int | None) -> str:
    return _instants("occurred_at", start, end)


def _instants(column: str, start: int, end: int | None) -> str:
    upper = "" if end is None else f" and {column} < make_timestamp({end})"
    return f"{column} >= make_timestamp({start}){upper}"


def _changes(where: str, upto: int, again: str) -> str:
    """Everything that moves a number, with the part that a hold has in it; `again` are the tasks once put back."""
    hold = f"'{Cause.HOLD}'"
    into_hold = f"n * ((to_cause = {hold})::bigint - (from_cause = {hold})::bigint)"
    return f"""
        select occurred_at, business, site, kind, dq, dp, dr,
               if(cause = {hold}, dq, 0) as hq, if(cause = {hold}, dp, 0) as hp,
               (event in ({_JOINS}) and dq > 0)::bigint as arrived,
               (event = 'claim' and coalesce(event_id < put_back_by, true))::bigint as started,
               (event in ({_ENDS}))::bigint as finished
        from task_event
        left join (select task_id, min(event_id) as put_back_by from ({again}) group by task_id) using (task_id)
        where {where} and batch <= {upto} and (dq <> 0 or dp <> 0 or dr <> 0 or event in ({_ENDS}))
        union all
        select occurred_at, business, site, kind, 0, 0, 0,
               if(queue = 'collect', {into_hold}, 0), if(queue = 'process', {into_hold}, 0), 0, 0, 0
        from queue_shift
        where {where} and batch <= {upto}
    """


_LEVEL = (
    "case grouping(business, site, kind) when 0 then 'kind' when 1 then 'site' when 3 then 'business' else 'all' end"
)


def _same(one: str, other: str) -> str:
    return f"{one}.level = {other}.level and " + " and ".join(
        f"{one}.{name} is not distinct from {other}.{name}" for name in ("business", "site", "kind")
    )


def _floor(width: int, column: str) -> str:
    if width == MINUTE:
        return f"date_trunc('minute', {column})"
    return f"time_bucket(interval {width // MINUTE} minutes, {column}, timestamp '1970-01-01')"


def _buckets(where: str, upto: int, width: int, *, base: str, again: str) -> str:
    """Rows of all levels for the buckets in a span of the ledger; `base` are the rows that stood before it.

    Sums are taken over all buckets and peaks over all instants, at all levels, which is the bulk of the work: there
    each key is one small number.
    """
    sums = {"dq": "depth", "hq": "held", "dp": "process_depth", "hp": "process_held", "dr": "running"}
    levelled = ", ".join(
        f"(sum({delta}) over (partition by place order by m.bucket) + coalesce(b.{name}, 0))::bigint as {name}"
        for delta, name in sums.items()
    )
    bucket = _floor(width, "occurred_at")
    return f"""
        with change as materialized ({_changes(where, upto, again)}),
        moved as materialized (
            select {_LEVEL} as level, {bucket} as bucket, business, site, kind,
                   {", ".join(f"sum({name})::bigint as {name}" for name in (*sums, *_COUNTED))}
            from change
            group by grouping sets
                ((bucket, business, site, kind), (bucket, business, site), (bucket, business), (bucket))
        ),
        base as materialized ({base}),
        place as materialized (
            select business, site, kind,
                   4 * dense_rank() over (order by business, site, kind) as of_kind,
                   4 * dense_rank() over (order by business, site) + 1 as of_site,
                   4 * dense_rank() over (order by business) + 2 as of_business
            from (select distinct business, site, kind from moved where level = 'kind')
        ),
        named as (
            select 'kind' as level, business, site, kind, of_kind as place from place
            union select 'site', business, site, null, of_site from place
            union select 'business', business, null, null, of_business from place
            union select 'all', null, null, null, 3
        ),
        numbered as (
            select place, bucket, {", ".join((*sums, *_COUNTED))} from moved m join named n on {_same("n", "m")}
        ),
        stood as (select place, b.* from base b join named n on {_same("n", "b")}),
        ends as (
            select place, m.bucket, {", ".join(f"m.{name}" for name in _COUNTED)}, {levelled},
                   coalesce(b.depth, 0) as stood, dq
            from numbered m left join stood b using (place)
        ),
        -- The default frame takes all rows of one instant together: that nets them.
        risen as (
            select place, occurred_at, sum(dq) over (partition by place order by occurred_at) as risen
            from (select occurred_at, dq, unnest([of_kind, of_site, of_business, 3]) as place
                  from change c join place p
                  on c.business = p.business and c.site is not distinct from p.site and c.kind = p.kind
                  where dq <> 0)
        ),
        peak as (
            select place, {bucket} as bucket, max(risen) as risen, min(occurred_at) as first_at
            from risen group by all
        )
        select e.bucket, n.level, n.business, n.site, n.kind,
               {", ".join(f"e.{name}::bigint as {name}" for name in _COUNTED)},
               {", ".join(f"e.{name}" for name in _LEVELLED)},
               greatest(p.risen + e.stood, case when p.first_at > e.bucket or p.place is null then e.depth - e.dq end)
                   ::bigint as highest,
               {upto}::bigint as batch
        from ends e
        join named n using (place)
        left join peak p on p.bucket = e.bucket and p.place = e.place
    """


def _stored_before(start: int, where: str = "true") -> str:
    """The last stored row of each key before the start of a minute."""
    quarter = start - start % QUARTER
    return f"""
        select max(bucket) as bucket, level, business, site, kind, 0 as arrived, 0 as started, 0 as finished,
               {", ".join(f"arg_max({name}, bucket) as {name}" for name in _LEVELLED)},
               arg_max(depth, bucket) as highest, max(batch) as batch
        from (select * from queue_quarter where bucket < make_timestamp({quarter}) and {where}
              union all select * from queue_minute where {_between(quarter, start)} and {where})
        group by level, business, site, kind
    """


def _spans(cursor: Cursor, news: str, frontier: int) -> list[tuple[int, int | None, int]]:
    """Say which minutes new batches ask to compute anew: (start, end or open, the last new instant in it).

    What lies before the frontier came late. If it leaves every depth as it was, only its own minutes change.
    """
    first, last = cursor.execute(
        f"""
        select epoch_us(min(occurred_at)), epoch_us(max(occurred_at)) from (
            select occurred_at from task_event where {news} union all select occurred_at from queue_shift where {news})
        """
    ).fetchall()[0]
    if first is None:
        return []
    if first >= frontier:
        return [(first - first % MINUTE, None, last)]
    changes = _changes(news, ALL, "select 0 as task_id, 0 as event_id where false")
    found = cursor.execute(
        f"""
        select late, epoch_us(min(first_at)), epoch_us(max(last_at)), bool_or(lasting) from (
            select occurred_at < make_timestamp({frontier}) as late,
                   min(occurred_at) as first_at, max(occurred_at) as last_at,
                   sum(dq) <> 0 or sum(dp) <> 0 or sum(dr) <> 0 or sum(hq) <> 0 or sum(hp) <> 0 as lasting
            from ({changes}) group by late, business, site, kind)
        group by late order by late desc
        """
    ).fetchall()
    spans: list[tuple[int, int | None, int]] = []
    for late, first, last, lasting in found:
        start, end = first - first % MINUTE, last - last % MINUTE + MINUTE
        if late and lasting:
            return [(start, None, max(row[2] for row in found))]
        spans.append((start, end if late else None, last))
    return spans


def _pieces(cursor: Cursor, start: int, end: int | None) -> Iterator[tuple[int, int | None]]:
    """Cut a span at quarters into pieces of so many events that computing one takes little memory."""
    (events,) = cursor.execute(f"select count(*) from task_event where {_during(start, end)}").fetchall()[0]
    if events > PIECE:
        quarters = cursor.execute(
            f"""
            select epoch_us({_floor(QUARTER, "occurred_at")}) as quarter, count(*) from task_event
            where {_during(start, end)} group by quarter order by quarter
            """
        ).fetchall()
        gathered = 0
        for quarter, n in quarters:
            if gathered and gathered + n > PIECE:
                yield start, quarter
                start, gathered = quarter, 0
            gathered += n
    yield start, end


def _rebuild(cursor: Cursor, start: int, end: int | None, upto: int) -> None:
    """Compute the minutes in [start, end) anew, and the quarters that they are part of."""
    fresh = _buckets(
        _during(start, end), upto, MINUTE, base=_stored_before(start), again="select task_id, event_id from put_back"
    )
    cursor.execute(f"create or replace temp table fresh as {fresh}").fetchall()
    cursor.execute(f"delete from queue_minute where {_between(start, end)}").fetchall()
    cursor.execute("insert into queue_minute by name from fresh").fetchall()
    cursor.execute("drop table fresh").fetchall()
    start -= start % QUARTER
    end = None if end is None else end + -end % QUARTER
    keys = "level, business, site, kind"
    quarters = f"""
        with minute as (
            select *, lag(depth) over (partition by {keys} order by bucket) as brought from (
                select * from queue_minute where {_between(start, end)}
                union all select * from ({_stored_before(start)}))
        )
        select {_floor(QUARTER, "bucket")} as bucket, {keys},
               {", ".join(f"sum({name})::bigint as {name}" for name in _COUNTED)},
               {", ".join(f"arg_max({name}, minute.bucket) as {name}" for name in _LEVELLED)},
               greatest(max(highest), case when min(minute.bucket) > {_floor(QUARTER, "min(minute.bucket)")}
                                      then arg_min(coalesce(brought, 0), minute.bucket) end) as highest,
               max(batch) as batch
        from minute where {_between(start, end).replace("bucket", "minute.bucket")}
        group by {_floor(QUARTER, "minute.bucket")}, {keys}
    """
    cursor.execute(f"create or replace temp table fresh as {quarters}").fetchall()
    cursor.execute(f"delete from queue_quarter where {_between(start, end)}").fetchall()
    cursor.execute("insert into queue_quarter by name from fresh").fetchall()
    cursor.execute("drop table fresh").fetchall()


def _wholes(upto: int) -> dict[str, str]:
    return {
        "queue_minute": _whole(upto, MINUTE),
        "queue_quarter": _whole(upto, QUARTER),
        "wait_histogram": _whole_histogram(upto),
    }


def _whole(upto: int, width: int) -> str:
    buckets = _buckets(
        "true",
        upto,
        width,
        base="select * from queue_minute where false",
        again=f"select task_id, event_id from task_event where event in ({_PUT_BACK})",
    )
    return f"select * exclude (batch) from ({buckets})"


def _waits(rows: str, weight: str) -> str:
    """Count the waits of task rows by hour and bin."""
    bins = f"floor(ln({{0}}::double / {SHORTEST_WAIT_S}) / ln({BIN_WIDTH}::double))::bigint"
    a_bin = f"if({{0}} < {SHORTEST_WAIT_S}, 0, 1 + {bins})"
    stages = " union all ".join(
        f"select date_trunc('hour', {started}) as hour, business, site, kind, '{stage}' as stage, "
        f"{a_bin.format(waited)} as bin, {weight} as n from rows "
        f"where {started} is not null and {waited} is not null and status <> '{Status.NEW}'"
        for stage, started, waited in (
            ("collect", "started_at", "wait_s"),
            ("process", "processing_started_at", "process_wait_s"),
        )
    )
    return (
        f"with rows as ({rows}) select hour, business, site, kind, stage, bin, sum(n)::bigint as n "
        f"from ({stages}) group by all having sum(n) <> 0"
    )


def _whole_histogram(upto: int) -> str:
    return _waits(
        f"select * from task_done where batch <= {upto} and (superseded_by is null or superseded_by > {upto})", "1"
    )


def _advance_histogram(cursor: Cursor, rolled: int, upto: int) -> None:
    """Add the new task rows, and take back those that a newer version has replaced."""
    columns = "task_id, business, site, kind, status, started_at, wait_s, processing_started_at, process_wait_s"
    rows = f"""
        select {columns}, 1 as weight from task_done
        where batch > {rolled} and batch <= {upto} and (superseded_by is null or superseded_by > {upto})
        union all
        select {columns}, -1 as weight from task_done
        where batch <= {rolled} and superseded_by > {rolled} and superseded_by <= {upto}
    """
    cursor.execute(
        f"""
        merge into wait_histogram h using ({_waits(rows, "weight")}) w
        on h.hour = w.hour and h.business = w.business and h.site is not distinct from w.site and h.kind = w.kind
           and h.stage = w.stage and h.bin = w.bin
        when matched and h.n + w.n = 0 then delete
        when matched then update set n = h.n + w.n
        when not matched then insert by name
        """
    ).fetchall()
