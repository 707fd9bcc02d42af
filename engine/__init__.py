"""Drainboard's engine, in reading order.

Words and rules first, all of them pure:

    errors        every refusal the engine can utter; the docstring is the message
    settings      every setting: name, default, help
    clock         real and virtual time; what counts as ticked
    lifecycle     statuses, the transition table, outcomes, tabs, the two vocabularies
    ledger        the rows that are the truth, and how ids are made

    roles         who may do what, and where: the one table of rights
    recurrence    when a schedule occurs, and how to say it
    messages      commands, reports, orders, outcomes
    wellformed    what a command must be made of before anybody looks at what it asks for
    views         saved views: who sees one, who may change it, what becomes of one
    fleet         businesses, sites, services, users, mixes; loads and validates fleet.toml
    reports       what reports and the outlier calculation make of assets
    task          one live task
    lanes         which services serve which tasks, and whether one has room
    holds         what holds and throttles are, and whom each is over
    splits        for what somebody has waited: clocks of waiting, and the difference of two readings
    subqueues     where tasks wait: places, lines and sub-queues, and who goes first in each
    dispatch      all that waits and all that serves: who may start next, and why the others may not
    state         what the rows make of the world: apply
    deciding      a step under way: every change is a row first, then applied
    holding       holds, blackout windows and throttles begin and end; how long a task may wait
    firing        tasks come in: submitted by people, or by schedules at their nominal times
    hearing       reports of services, and what follows where they say nothing
    machine       what the engine does by itself: time passes, and tasks start
    commanding    what every command needs: who asks, what he may, what is told of it
    ontasks       what people do with tasks
    onplans       what people do with holds and schedules
    onblackouts   what people do with blackout windows
    onplaces      what people do with places and people: services, users, sessions, views, drills, settings
    core          the deterministic state machine: a step, and each command carried out once
    outbox        commit, then act
    snapshot      what pages read instead of the state

Then the world:

    simulated     the executor that plays a fleet
    schema        the ledger's rows as tables, what is derived as views, a comment on each
    columns       the ledger's rows as Arrow columns, and back
    chain         the HMAC chain over all batches: links, their check, key and head
    batch         the rows of one commit made ready to be written
    patience      interrupts work that nobody waits for any more
    store         DuckDB: connections, lock, group commit, recovery
    rollups       derived tables, and how they are computed from the ledger
    findings      what every check shares: the ledger as of one batch, and how what is wrong is told
    numbering     are batches, events and audit rows whole, numbered and in time?
    spells        from when to when: holds, the console down, services at work, as SQL
    legality      do the steps of tasks, the life of holds and the work of services keep to the rules?
    waits         does every wait add up, each cause with its very microseconds?
    turns         did everybody start in his turn?
    occurrences   is every nominal time of a schedule or blackout window settled once, at most one run waiting?
    derived       do task rows, live rows and rollups say what the ledger says?
    verify        is the ledger legal, and does all the rest follow from it?
    throttle      wrong guesses at passwords, and how long the next one has to wait
    oidc          sign-in by an identity provider: whom it vouches for
    accounts      what an account is, and what of it counts: names, identities, how long a session lasts
    access        accounts, sign-in and sessions: who somebody is, asked anew each time
    seeding       history at full speed, on a virtual clock
    wording       how findings are said: instants, spans, hosts, runs, holds. Pure
    health        frames in, the four signals out. Pure
    usual         what is usual at this hour of the week, and when a queue will be empty. Pure
    conditions    what a filter comes down to: conditions on columns, as SQL and for Polars. Pure
    ranges        instants, durations and numbers as somebody writes them. Pure
    counted       counts that are moved on by what later batches brought
    filters       the filter language: one line that says which tasks are meant. Pure
    users         the users that somebody manages: filtered, counted by state, sorted, page by page. Pure
    tables        rows as text: aligned for a terminal, CSV that a spreadsheet reads as data. Pure
    targets       what somebody wants worked on, as he writes it: checked, each once. Pure
    standing      what stands: unfinished tasks, services, sites, schedules, holds, as frames
    history       what was: queues over time, what is usual, a task's life, an imported log's facts
    inventory     assets as they stand, what reports found, and what one that ends now finds
    timetable     what schedules did and will do: last runs, misses, next fires, the load to be expected
    pausing       what holds keep waiting, what one to be would touch, what lifting some releases
    looks         what the health checks go by, gathered
    living        the unfinished tasks that a filter finds at a place
    bulk          actions over many tasks: what one would touch, frozen, and how it is carried out
    census        how many ended tasks there are of each sort: filters over words are counted by it
    catalogue     every task of a place, live and ended: by tab, filter and sort, page by page, counted
    activity      the audit trail: filtered, counted, page by page, within what grants reach
    proof         the chain of batches checked on demand, beside all else
    live          what Active tasks shows of a site: filtered, sorted, counted, and why each task waits
    hosts         hosts that drain the queue: how they stand, what waits because of one, a day's use, what befell it
    fairness      who uses the services, who waits behind whom, what a pause gives back to the others
    joblogs       what swf, sacct and csv files say, as jobs
    imports       jobs into the ledger
    undo          taking a request back: what it changed, put the other way round
    tally         what a running engine counts since it started
    runtime       engine thread, inbox, snapshots, background scheduler: the only wiring
    masks         what is told to whoever may not know it all
    watch         what all sessions share of what they see, made at most every few seconds
    sight         what one person sees, by his grants: the one door for reads
    drills        simulated incidents that people start on a running fleet
    tuning        changes of settings by people: checked, audited, then written into settings.toml
    byfilter      tasks by filter, as the command line asks for them: listed in parts, counted, acted on
    restraints    holds, ramps, caps and blackout windows, as the command line asks for them
    verbs         what the command line can do with a store
    control       the socket through which it asks a running console
    arguments     what verbs take on the command line besides tasks: checked so that bad usage is told as such
    shell         tasks by filter at a terminal: shown as they come, actions confirmed first
    console       first start, engine, orderly stop
    metrics       what Prometheus is told
    web           routes and headers
    exports       files to take away, by plain links: what pages show, as CSV
    __main__      the command line

A module imports only modules above it in this list.
"""
