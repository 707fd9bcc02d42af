"""Do task rows, live rows, widget refreshes and rollups say what the ledger says?

The row of each task is computed a second time, by SQL over its events, and compared with the stored one column by
column; so are the published rows of unfinished tasks, and the charts' tables. Whatever can be rebuilt from the ledger
equals what it would be rebuilt as.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import rollups
from .findings import Ledger, Wrong, listed, quoted
from .ledger import NUMBER_BITS, TaskRow
from .lifecycle import COLLECTING_KINDS, EXTERNAL, RUNNING, SYSTEM_KINDS, TERMINAL, Kind
from .waits import CAUSES, WAITED_SHAPE, waited_us

ROLLUPS_TOLD = 2_000


def finished_rows(ledger: Ledger, span: str) -> Iterator[Wrong]:
    """Compare the stored rows of some finished tasks, and of finished refreshes, with what their events say."""
    return ledger.wrongs(_ROWS, span=span)


def live_rows(ledger: Ledger) -> Iterator[Wrong]:
    """Compare the rows published for unfinished tasks with what their events said by then."""
    return ledger.wrongs(_LIVE)


def charts(ledger: Ledger) -> Iterator[Wrong]:
    """Put the stored and the recomputed rows of each bucket beside each other, and tell apart what differs."""
    there = ledger.read("select count(*) from duckdb_tables() where table_name = 'rollup_state'").item()
    if not there:
        return
    if ledger.read("select rolled_batch from rollup_state").item() > ledger.store.batch:
        yield {"check": "rollups", "what": "they stand for a batch that is not there"}
        return
    differing = rollups.differences(ledger.store)
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


# --- task rows, computed a second time

_FINAL, _IN_SLOT = listed(TERMINAL), listed(RUNNING)
_FACTS_SHAPE = (
    '{"name": "VARCHAR", "target": "VARCHAR", "target_kind": "VARCHAR", "scope": "VARCHAR", "initiator": "VARCHAR", '
    '"created_by": "VARCHAR", "schedule_id": "BIGINT", "requested_service": "VARCHAR", "priority": "BIGINT", '
    '"due_at": "BIGINT", "rerun_of": "BIGINT", "widget": "VARCHAR", "source": "VARCHAR"}'
)
_END_SHAPE = (
    '{"errors": "BIGINT", "joined": "BIGINT", "outcome": "VARCHAR", "error": "VARCHAR", "changes": ["BIGINT"], '
    '"digest": "VARCHAR"}'
)
_EDITED = ("name", "target", "scope", "priority", "requested_service", "due_at")
_COLLECTS = f"kind in ({listed(COLLECTING_KINDS)})"
_ASSETS = ("assets_new", "assets_changed", "assets_gone", "assets_online", "assets_offline")


def _edited(field: str, sql_type: str = "varchar") -> str:
    return f"if(edited.{field} is null, first.facts.{field}, (edited.{field}.it)::{sql_type})"


def _rows_of(events: str) -> str:
    """Make CTEs that end in `told`: the task rows that some events (a condition) make, and a widget's numbers."""
    waits = ", ".join(
        f"coalesce(sum(waits.waited.{cause}) filter (from_status = 'New'), 0)::bigint as wait_{cause}"
        for cause in CAUSES
    )
    edits = ", ".join(
        f"arg_max({{'it': changes ->> '$.{f}'}}, event_id) filter (json_exists(changes, '$.{f}')) as {f}"
        for f in _EDITED
    )
    wait_sum = " + ".join(f"wait_{cause}" for cause in CAUSES)
    wait_columns = ", ".join(f"wait_{cause} as wait_{cause}_s" for cause in CAUSES)
    assets = ", ".join(f"if(ended, last.told.changes[{n}], null) as {name}" for n, name in enumerate(_ASSETS, 1))
    return f"""
        source as (
            select event_id, occurred_at, task_id, event, from_status, to_status, reason, actor, business, site, kind,
                   owner, service, attempt, dq, dp, dr, epoch_us(occurred_at) as us,
                   case when event = 'submit' then json_transform(detail, '{_FACTS_SHAPE}') end as facts,
                   case when dq < 0 or dp < 0 or event = 'edit'
                        then json_transform(detail, '{WAITED_SHAPE}') end as waits,
                   case when event in ('finish', 'confirm_stop', 'stop', 'fail', 'expire')
                        then json_transform(detail, '{_END_SHAPE}') end as told,
                   case when event = 'edit' then detail -> '$.changes' end as changes
            from task_event where {events}
        ), summed as (
            select *, {waited_us("waits")} as waits_us from source
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
                   first.facts.widget as widget, if(ended, last.told.joined, null) as joined, last.us as last_us,
                   if(ended, last.told.digest, null) as digest
            from staged s left join edited using (task_id)
        )
    """


_SHOWN = ("shown_status", "held_by", "cause")  #: what a row says about the moment, not about the past
_COMPARED = tuple(column for column in TaskRow._fields if column not in ("task_id", *_SHOWN))


def _differing(columns: tuple[str, ...]) -> tuple[str, str]:
    """Compare t (as the ledger tells it) with r (as it is stored): when they differ, and a text of how."""
    stored = [f"(r.{column} * 1000000)::bigint" if column.endswith("_s") else f"r.{column}" for column in columns]
    units = [" || ' µs'" if column.endswith("_s") else "" for column in columns]
    differs = " or ".join(f"t.{column} is distinct from {there}" for column, there in zip(columns, stored, strict=True))
    # Lists, out of which one expression makes the text: one for each column would take longer to plan than to run.
    names = ", ".join(map(quoted, columns))
    told = ", ".join(f"t.{column}::varchar{unit}" for column, unit in zip(columns, units, strict=True))
    kept = ", ".join(f"{there}::varchar{unit}" for there, unit in zip(stored, units, strict=True))
    says = f"""array_to_string(list_transform(
        list_filter(list_zip([{names}], [{told}], [{kept}]), lambda x: x[2] is distinct from x[3]),
        lambda x: x[1] || ' is ' || coalesce(x[3], 'empty') || ', the ledger says ' || coalesce(x[2], 'empty')
    ), '; ')"""
    return differs, says


_ROW_DIFFERS, _ROW_SAYS = _differing(_COMPARED)

#: as `lifecycle.result_site`
_RESULT_SITE = f"if(t.kind = '{Kind.REPORT}' and t.name <> '{EXTERNAL}', null, t.site)"

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
    ), resulted as (
        select *, sha256(result::varchar) as digest, count(*) over (partition by task_id) as n
        from report_result where $span and batch <= $upto
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
    union all
    select 'results', r.batch, coalesce(t.business, r.business), coalesce(t.site, r.site), t.kind, task_id,
           case when r.task_id is null then 'its end tells of a result, but there is none'
                when t.digest is null then 'there is a result of a task whose end tells of none'
                when r.n > 1 then 'there are several results'
                when r.digest <> t.digest then 'the result is not the one that its end tells of'
                else format('the result is kept as {{}} of {{}} by {{}}, made at {{}}; the ledger says {{}} of {{}} by '
                            || '{{}}, at {{}}', r.name, coalesce(r.site, r.business), r.created_by, r.made_at, t.name,
                            coalesce({_RESULT_SITE}, t.business), t.created_by, t.finished_at) end
    from told t full join resulted r using (task_id)
    where t.digest is distinct from r.digest or r.n > 1 or r.business <> t.business or r.name <> t.name
       or r.created_by <> t.created_by or r.made_at <> t.finished_at
       or (r.task_id is not null and r.site is distinct from {_RESULT_SITE})
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
                            when 'site' then if(r.kind in ({listed(SYSTEM_KINDS)}), null, r.site)
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
