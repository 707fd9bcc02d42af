"""The four health-check signals, each with its evidence: a look at the queues in, signals out. Pure.

    steady         the queue is empty most of the time
    pile_up        dozens stay queued, and the oldest wait grows
    stuck          a task runs for hours, and far longer than it usually does
    slow_widgets   a dashboard's refreshes take far longer than usual: three of the last five did

and, as a warning, old_hold. A signal that does not hold says so in the same words, and one that can't be judged says
that it is not known. Held tasks never raise an alarm; an archive of imported history has no verdict. A pile-up is told
per site for what waits to be collected or run, and per business (no site) for what waits to be processed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from .clock import MINUTE, SECOND
from .lanes import AUDIT_SERVICE, EXPLORER, HOSTED_ZONE, PROCESSOR, SERVES, lane_of
from .lifecycle import Cause, Kind, Status, task_label
from .settings import Settings
from .task import COLLECT, PROCESS
from .wording import (
    HELD,
    WAITS_FOR,
    Facts,
    Row,
    Words,
    a_or_an,
    are,
    called,
    came_and_left,
    count,
    every,
    listed,
    wait,
)

ALARMS = ("pile_up", "stuck", "slow_widgets", "old_hold")  #: worst first
VISIBLE_S = 1.0  #: nobody sees that a quicker refresh is slow
ENOUGH_REFRESHES = 3  #: fewer tell nothing about what is usual
LAST_REFRESHES, SLOW_REFRESHES = 5, 3  #: of a site: one in forty is slow without anything being wrong
SLOW_TASKS = 3  #: fewer say nothing about how fast a processor is
SLOW_PROCESSOR = 2.0  #: how many times as long as usual it takes over its last tasks

_HOSTS = {
    "scan": "explorer",
    "connector": "connector host",
    "import": "hosted zone",
    "audit": "audit host",
    "process": "processor",
}
#: what to add where a lane's hosts don't suffice; a hosted zone has all of its slots for connectors
_ROLE_TO_ADD = {
    "scan": EXPLORER,
    "connector": HOSTED_ZONE,
    "import": HOSTED_ZONE,
    "audit": AUDIT_SERVICE,
    "process": PROCESSOR,
}



@dataclass(frozen=True, slots=True)
class Look:
    """All that the checks go by, of one moment; `looks.look` makes it. Instants are Datetime("us") in its frames."""

    now: int
    sites: pl.DataFrame  #: business, site, zone, archive, added_at
    services: pl.DataFrame  #: business, site, name, role, state, suspect, slots, used, since_at
    holds: pl.DataFrame  #: hold_id, business, site, target_kind, target, reason, actor, from_at, until_at, in_force, …
    #: business, site, stage, kind, requested_service, cause, held, n, oldest_at
    waiting: pl.DataFrame
    #: business, site, minute_at, by (schedule or user), name, schedule_ids, n, of (all): the minute that most came in
    stacked: pl.DataFrame
    #: business, site, at, queued, oldest_s: at each minute of the last day, now, and since when there has been enough
    #: for a pile-up; without a site: for processing
    depth: pl.DataFrame
    #: business, site, arrived, departed, process_arrived, process_departed, finished: in the last 15 minutes
    flow: pl.DataFrame
    #: live tasks in a slot: stage, host, since_at, usual_s (the p95 of this stage), usual_of (target, kind, none), runs
    running: pl.DataFrame
    #: business, processor, kind, n: what the processors work on, for all sites of their business
    processing: pl.DataFrame
    #: business, processor, tasks, times: how many times as long as usual it took over its last tasks, the median
    paces: pl.DataFrame
    #: business, site, widget, recent, latency_s, before, usual_s, and pending_s: since when a refresh is asked for
    widgets: pl.DataFrame
    #: business, site, widget, at, latency_s: the last five of each site in the last 15 minutes
    refreshes: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is an alarm; the settings of the same names."""

    pile_up_tasks: int = 24
    pile_up_s: int = 900
    stuck_s: int = 7200
    stuck_times_p95: float = 3.0
    slow_widget_times: float = 3.0
    old_hold_s: int = 86_400

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            settings.int("pile_up_tasks"), settings.int("pile_up_s"), settings.int("stuck_s"),
            settings.float("stuck_times_p95"), settings.float("slow_widget_times"), settings.int("old_hold_s"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signal:
    """One health check's answer for a place: in people's words, and as facts (instants in µs, durations in seconds).

    What its facts hold, so that whoever shows it can offer what helps:

    steady         minutes, empty (of these), queued
    pile_up        queued, since_at, oldest_s, oldest_before_s, arrived, departed, paused, cause, causes (count by
                   cause), lane, role (of a host to add), wanted (the one host that most of it asks for), hosts (how
                   many the lane has), away (those that are not available: name, role, state, suspect, since_at), slow
                   (the processors that are: name, times, tasks), stacked (the minute most of it came in: n, minute_at,
                   who [(schedule or user, name, n)], schedule_ids, users; or None)
    stuck          tasks, the longest first: task_id, label, business, site, target, scope, owner, service, stage,
                   since_at, ran_s, usual_s, usual_of, runs, times, stuck
    slow_widgets   widgets that had a slow refresh of late, the slowest first: widget, latency_s, usual_s, times,
                   pending; refreshes (how many are of late), slow_refreshes (of these), judged (widgets), slow (as
                   above), process_queued, process_oldest_s, away (processors), processors (the names of all), busy (of
                   each: name, slots, used, kinds (count by task type))
    old_hold       holds: hold_id, target_kind, target, from_at
    """

    name: str
    holds: bool
    business: str | None
    site: str | None
    headline: str
    evidence: list[str]
    facts: Facts
    action: str
    known: bool = True  #: False: there is nothing to judge by yet


def signals(look: Look, limits: Limits, zone: str = "UTC") -> list[Signal]:
    """Judge every live site, and every business's processing; instants are told in the zone."""
    tell = Words(look.now, zone)
    sites = look.sites.filter(~pl.col("archive")).select("business", "site").rows()
    if not sites:
        what = "There is no site yet" if look.sites.is_empty() else "An archive of imported history has no live verdict"
        return [Signal("steady", False, None, None, what, [], {}, "", known=False)]
    found: list[Signal] = []
    for business, site in sites:
        pile_up = _pile_up(look, limits, tell, business, site)
        found += [
            _steady(look, limits, tell, business, site, pile_up),
            pile_up,
            _stuck(look, limits, tell, business, site),
            _slow_widgets(look, limits, tell, business, site),
        ]
    found += [_pile_up(look, limits, tell, business, None) for business in dict.fromkeys(b for b, _ in sites)]
    return found + _old_holds(look, limits, tell)


def verdict(found: Sequence[Signal]) -> Signal | None:
    """Pick the signal to show first: the worst alarm, else a busy queue before a steady one; None of none."""
    for name in ALARMS:
        for signal in found:
            if signal.name == name and signal.holds:
                return signal
    calm = [signal for signal in found if signal.name == "steady"]
    return min(calm, key=lambda signal: (not signal.known, signal.holds), default=None)


# --- 1. steady


def _steady(look: Look, limits: Limits, tell: Words, business: str, site: str, pile_up: Signal) -> Signal:
    at = pl.col("at").dt.epoch("us")
    depth = _of_place(look.depth, business, site).filter((at % MINUTE == 0) | (at == look.now))
    minutes = depth.height
    if not minutes:
        return Signal("steady", False, business, site, "Too young to judge", [], {}, "", known=False)
    empty = int((depth["queued"] == 0).sum())
    share = empty / minutes
    span = tell.span(max(minutes - 1, 1) * 60)
    facts = {"minutes": minutes, "empty": empty, "queued": depth["queued"][-1]}
    many = pile_up.facts["queued"] >= limits.pile_up_tasks
    holds = share > 0.5 and not many
    percent = f"{100 * share:.0f}\u202f%"
    if many:  # whatever it was like before
        headline = "Not steady: tasks are piling up" if pile_up.holds else f"Busy: {pile_up.headline}"
        return Signal("steady", False, business, site, headline, pile_up.evidence, pile_up.facts | facts, "")
    n, away, lane = pile_up.facts["queued"], pile_up.facts["away"], pile_up.facts["lane"]
    if n and (away or (lane and not pile_up.facts["hosts"])):
        short = f"{called(away)} {tell.is_state(away)}" if away else f"there is no {_HOSTS[lane]} here"
        headline = f"Short of hosts: {short}, and {count(n, 'task')} {wait(n)}"
        return Signal("steady", False, business, site, headline, pile_up.evidence, pile_up.facts | facts, "")
    if holds:
        headline = f"Steady: the queue was empty {percent} of the last {span}"
    else:
        headline = f"Busy: the queue was empty only {percent} of the last {span}"
    evidence = [f"Nothing was queued at {empty:,} of the last {count(minutes, 'minute')}."]
    return Signal("steady", holds, business, site, headline, evidence, facts, "Nothing to do." if holds else "")


# --- 2. pile-up


@dataclass(frozen=True, slots=True)
class _Backlog:
    """What is queued at a place, and for what it waits."""

    ready: list[Row]
    paused: int
    lane: str | None  #: where most of it waits
    causes: Counter[str]
    hosts: list[Row]  #: that serve the lane, or the one that most of it asks for
    wanted: str | None  #: the one service that most of it asks for
    slow: list[Facts]  #: of the hosts, where they are processors, those that are far slower than usual

    @property
    def n(self) -> int:
        return sum(row["n"] for row in self.ready)

    @property
    def cause(self) -> str | None:
        """What most of it waits for."""
        return self.causes.most_common(1)[0][0] if self.causes else None

    @property
    def away(self) -> list[Row]:
        return [host for host in self.hosts if host["state"] != "online" or host["suspect"]]


def _backlog(look: Look, waiting: list[Row], business: str, site: str | None) -> _Backlog:
    ready = [row for row in waiting if not row["held"]]
    lanes: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for row in ready:
        lanes[lane_of(Kind(row["kind"]), row["stage"])] += row["n"]
        causes[row["cause"] or Cause.UNKNOWN] += row["n"]
    lane = lanes.most_common(1)[0][0] if lanes else None
    hosts: list[Row] = []
    wanted: str | None = None
    if lane is not None:
        at = None if lane == "process" else site
        hosts = [
            host
            for host in _rows(look.services)
            if host["business"] == business and host["site"] == at and host["role"] in SERVES[lane]
        ]
        asked: Counter[str | None] = Counter()
        for row in ready:
            if row["stage"] == COLLECT and lane_of(Kind(row["kind"]), COLLECT) == lane:
                asked[row["requested_service"]] += row["n"]
        name, n = asked.most_common(1)[0] if asked else (None, 0)
        if name is not None and 2 * n > lanes[lane]:
            wanted, hosts = name, [host for host in hosts if host["name"] == name]
    paused = sum(row["n"] for row in waiting if row["held"])
    return _Backlog(ready, paused, lane, causes, hosts, wanted, _slow(look, business) if lane == "process" else [])


@dataclass(frozen=True, slots=True)
class _Growth:
    """How long a place has had enough queued to pile up, and whether the oldest wait grows."""

    queued: int
    since: int | None  #: since when there were enough, at the end of each minute
    longer: bool  #: there were already when the look back begins
    lasts_s: float
    oldest_s: float | None
    before_s: float | None  #: the oldest wait `over_s` ago, once it had begun
    over_s: float

    @property
    def rising(self) -> bool:
        return self.oldest_s is not None and self.oldest_s > (self.before_s or 0.0)


def _growth(look: Look, limits: Limits, business: str, site: str | None) -> _Growth:
    depth = _of_place(look.depth, business, site)
    at: list[int] = depth["at"].dt.epoch("us").to_list()
    queued: list[int] = depth["queued"].to_list()
    oldest: list[float | None] = depth["oldest_s"].to_list()
    start = len(queued)
    while start and queued[start - 1] >= limits.pile_up_tasks:
        start -= 1
    since = at[start] if start < len(at) else None
    lasts_s = (look.now - since) / SECOND if since is not None else 0.0
    # Growth shows over a span in proportion: after a day of piling up, a quarter of an hour without is mere noise.
    over_s = max(limits.pile_up_s, lasts_s / 4)
    minutes = [(instant, age) for instant, age in zip(at, oldest, strict=True) if instant % MINUTE == 0]
    before = [minute for minute in minutes if minute[0] <= look.now - over_s * SECOND][-1:]
    if since is not None and (not before or before[0][0] < since):
        # Before it began nobody had waited for long: a queue that moves fast would seem to grow for its first minute.
        before = [minute for minute in minutes if since <= minute[0] < look.now][:1] or before
    return _Growth(
        queued[-1] if queued else 0, since, start == 0, lasts_s, oldest[-1] if oldest else None,
        before[0][1] if before else None, (look.now - before[0][0]) / SECOND if before else over_s,
    )  # fmt: skip


def _queued(growth: _Growth, limits: Limits, tell: Words, where: str) -> str:
    said = f"{count(growth.queued, 'task')} {are(growth.queued)} queued at {where}"
    if growth.since is None:
        return f"{said}."
    lasts = tell.span(growth.lasts_s) + (" or longer" if growth.longer else "")
    return f"{said}; it has been {limits.pile_up_tasks} or more since {tell.instant(growth.since)}, for {lasts}."


def _pile_up(look: Look, limits: Limits, tell: Words, business: str, site: str | None) -> Signal:
    stage = PROCESS if site is None else COLLECT
    waiting = [
        row
        for row in _rows(look.waiting)
        if row["business"] == business and row["stage"] == stage and site in (None, row["site"])
    ]
    backlog = _backlog(look, waiting, business, site)
    growth = _growth(look, limits, business, site)
    n, lasts = growth.queued, tell.span(growth.lasts_s)
    stacked = _stacked(look, business, site)
    arrived, departed = _flow(look, business, site)
    facts: Facts = {
        "queued": n, "since_at": growth.since, "oldest_s": growth.oldest_s, "oldest_before_s": growth.before_s,
        "arrived": arrived, "departed": departed, "paused": backlog.paused,
        "causes": dict(backlog.causes.most_common()), "cause": backlog.cause, "lane": backlog.lane,
        "role": _ROLE_TO_ADD[backlog.lane] if backlog.lane else None, "wanted": backlog.wanted,
        "hosts": len(backlog.hosts), "away": _told(backlog.away), "slow": backlog.slow, "stacked": stacked,
    }  # fmt: skip
    evidence = _backlog_evidence(backlog, growth, stacked, (arrived, departed), tell)
    evidence.insert(0, _queued(growth, limits, tell, site or f"{business}’s processors"))
    if n >= limits.pile_up_tasks and growth.lasts_s >= limits.pile_up_s and growth.rising:
        why, action = _why(backlog, stacked, tell)
        return Signal("pile_up", True, business, site, f"Backing up: {why}", evidence, facts, action)
    if n < limits.pile_up_tasks:
        headline = f"No pile-up: {n} queued" if n else "No pile-up: nothing is queued"
    elif growth.lasts_s < limits.pile_up_s:
        headline = f"{n} queued for {lasts}: a pile-up from {tell.span(limits.pile_up_s)} on"
    else:
        headline = f"{n} queued for {lasts}, but the oldest wait does not grow: the queue moves"
    return Signal("pile_up", False, business, site, headline, evidence, facts, "")


def _backlog_evidence(
    backlog: _Backlog, growth: _Growth, stacked: Facts | None, flow: tuple[int, int], tell: Words
) -> list[str]:
    """Say what speaks for the cause first, then the rest: a page may show no more than the beginning."""
    evidence: list[str] = []
    if backlog.away:
        evidence.append(tell.away(backlog.away))
    if backlog.slow:
        evidence.append(tell.slow(backlog.slow))
    together = ""
    if stacked and 4 * stacked["n"] >= growth.queued:
        who = listed([f"{by} {name} ({count})" for by, name, count in stacked["who"][:3]])
        together = f"{stacked['n']} of them came in one minute, {tell.instant(stacked['minute_at'])}: {who}."
    if together and not evidence:
        evidence.append(together)
    if growth.queued:
        evidence.append(f"In the last 15 min {came_and_left(*flow)}.")
    if growth.oldest_s is not None:
        earlier = "nobody waited" if growth.before_s is None else f"the oldest had waited {tell.span(growth.before_s)}"
        now, ago = tell.span(growth.oldest_s), tell.span(growth.over_s)
        evidence.append(f"The oldest has waited {now}; {ago} earlier {earlier}.")
    if backlog.causes:
        causes = [f"{WAITS_FOR[Cause(cause)]} ({count})" for cause, count in backlog.causes.most_common()]
        evidence.append(f"They wait for {listed(causes)}.")
    if together and together not in evidence:
        evidence.append(together)
    if backlog.paused:
        evidence.append(f"{count(backlog.paused, 'more task')} {are(backlog.paused)} held; they don't count here.")
    return evidence


def _why(backlog: _Backlog, stacked: Facts | None, tell: Words) -> tuple[str, str]:
    """Name the cause of a pile-up, and what to do about it."""
    host = _HOSTS[backlog.lane or "process"]
    hosts, away = backlog.hosts, backlog.away
    if backlog.lane is not None and not hosts:
        return f"there is no {host} here to do the work", f"Add {a_or_an(host)} to the site."
    if away:
        names = listed([service["name"] for service in away])
        fix = f"See to {names}: bring it back online, or add another {host}."
        if backlog.wanted is not None:
            return f"{backlog.wanted}, which most of the queued tasks ask for, {tell.is_state(away)}", fix
        return _share(away, hosts, host, tell), fix
    if backlog.slow:
        return tell.takes(backlog.slow), _see_to(backlog.slow)
    if stacked and 2 * stacked["n"] >= backlog.n:
        action = "Stagger the schedules and big submissions so that they don't stack on the same minute."
        return f"{stacked['n']} tasks came in one minute, {tell.instant(stacked['minute_at'])}", action
    action = f"Stagger big runs; if the load persists, add another {host}."
    if backlog.cause == Cause.EXCLUSIVE:
        return f"{every(hosts, host)} is scanning, one scan at a time", action
    if len(hosts) == 1:
        return f"the only {host} has no free slot for it", action
    return f"all {len(hosts)} {host}s are full" if hosts else "the cause is not known", action


def _see_to(slow: list[Facts]) -> str:
    return f"See what slows {called(slow)} down: memory, disk, what else runs there. Or add another processor."


def _told(hosts: list[Row]) -> list[Facts]:
    return [{key: host[key] for key in ("name", "role", "state", "suspect", "since_at")} for host in hosts]


def _share(away: list[Row], hosts: list[Row], host: str, tell: Words) -> str:
    if len(hosts) == 1:
        return f"the only {host} {tell.is_state(away)}"
    if len(away) == len(hosts):
        return f"all {len(hosts)} {host}s {tell.is_state(away)}"
    return f"{len(away)} of {len(hosts)} {host}s {tell.is_state(away)}"


def _flow(look: Look, business: str, site: str | None) -> tuple[int, int]:
    came, left = ("process_arrived", "process_departed") if site is None else ("arrived", "departed")
    rows = [row for row in _rows(look.flow) if row["business"] == business and site in (None, row["site"])]
    return sum(row[came] for row in rows), sum(row[left] for row in rows)


def _stacked(look: Look, business: str, site: str | None) -> Facts | None:
    """Tell which minute brought most of what is queued at a site, if it brought more than one."""
    rows = [row for row in _rows(look.stacked) if (row["business"], row["site"]) == (business, site)]
    n = rows[0]["of"] if rows else 0
    if n < 2:
        return None
    return {
        "n": n, "minute_at": rows[0]["minute_at"], "who": [(row["by"], row["name"], row["n"]) for row in rows],
        "schedule_ids": [schedule_id for row in rows for schedule_id in row["schedule_ids"]],
        "users": [row["name"] for row in rows if row["by"] == "user"],
    }  # fmt: skip


# --- 3. stuck


def _stuck(look: Look, limits: Limits, tell: Words, business: str, site: str) -> Signal:
    running = [
        row
        for row in _rows(look.running)
        if (row["business"], row["site"]) == (business, site) and row["status"] != Status.STOPPING
    ]
    ran: list[Facts] = []
    for row in running:
        seconds, usual = (look.now - row["since_at"]) / SECOND, row["usual_s"]
        ran.append({
            "task_id": row["task_id"], "label": task_label(row["kind"], row["number"]), "business": business,
            "site": site, "target": row["target"], "scope": row["scope"], "owner": row["owner"],
            "service": row["host"], "stage": row["stage"], "since_at": row["since_at"], "ran_s": seconds,
            "usual_s": usual, "usual_of": row["usual_of"], "runs": row["runs"],
            "times": seconds / usual if usual else None,
            "stuck": seconds > max(limits.stuck_s, limits.stuck_times_p95 * (usual or 0.0)),
        })  # fmt: skip
    ran.sort(key=lambda task: -task["ran_s"])
    stuck = [task for task in ran if task["stuck"]]
    evidence = [tell.run(task) for task in stuck or ran[:1]]
    if not stuck:
        headline = f"No task is stuck: {len(ran)} running" if ran else "No task is stuck: nothing is running"
        return Signal("stuck", False, business, site, headline, evidence, {"tasks": []}, "")
    first = stuck[0]
    times = "" if first["times"] is None else f", {tell.times(first['times'])} as long as usual"
    headline = f"Stuck: {first['label']} has run for {tell.span(first['ran_s'])}{times}"
    if len(stuck) > 1:
        headline = f"Stuck: {len(stuck)} tasks have run for hours, {first['label']} for {tell.span(first['ran_s'])}"
    action = "Open the task to see its scope. If its target is unreachable or its script hangs, stop it."
    return Signal("stuck", True, business, site, headline, evidence, {"tasks": stuck}, action)


# --- 4. slow widgets


def _slow_widgets(look: Look, limits: Limits, tell: Words, business: str, site: str) -> Signal:
    last, widgets, judged = _refreshes(look, limits, business, site)
    slow, holds = sum(last), sum(last) >= SLOW_REFRESHES
    waiting = [
        row
        for row in _rows(look.waiting)
        if row["business"] == business and lane_of(Kind(row["kind"]), row["stage"]) == "process"
    ]
    backlog = _backlog(look, waiting, business, None)
    slow_processors = _slow(look, business)
    oldest = min((row["oldest_at"] for row in backlog.ready), default=None)
    age = None if oldest is None else (look.now - oldest) / SECOND
    facts: Facts = {
        "widgets": widgets, "refreshes": len(last), "slow_refreshes": slow, "judged": judged, "slow": slow_processors,
        "process_queued": backlog.n, "process_oldest_s": age, "away": _told(backlog.away),
        "processors": list(dict.fromkeys(host["name"] for host in _processors(look, business))),
        "busy": _busy(look, business),
    }  # fmt: skip
    queue = f"{count(backlog.n, 'task')} {wait(backlog.n)} for {business}’s processors now"
    queue += "." if age is None else f", the oldest for {tell.span(age)}."
    if not judged:
        headline = "No widget has been refreshed often enough to know what is usual"
        return Signal("slow_widgets", False, business, site, headline, [queue], facts, "", known=False)
    evidence = [tell.widgets(widgets)] if widgets else []
    if backlog.away:
        evidence.append(tell.away(backlog.away))
    if slow_processors:
        evidence.append(tell.slow(slow_processors))
    evidence.append(queue)
    if not holds:
        but = f", but for {slow} of the last {count(len(last), 'refresh', 'refreshes')}" if slow else ""
        headline = f"Widgets refresh as usual ({count(judged, 'widget')}){but}"
        return Signal("slow_widgets", False, business, site, headline, evidence, facts, "")
    action = (
        "Look at the queue first: once it drains, refreshes are as quick as usual again. Then look at the processors."
    )
    if backlog.away:
        why = _share(backlog.away, backlog.hosts, "processor", tell)
    elif slow_processors:
        why, action = tell.takes(slow_processors), _see_to(slow_processors)
    elif backlog.n > 1:
        why = f"{backlog.n} tasks wait for the processors"
    else:
        why = f"{slow} of the last {len(last)} refreshes, {widgets[0]['widget']} by {tell.times(widgets[0]['times'])}"
    return Signal("slow_widgets", True, business, site, f"Dashboard is slow: {why}", evidence, facts, action)


def _refreshes(look: Look, limits: Limits, business: str, site: str) -> tuple[list[bool], list[Facts], int]:
    """Judge a site's last refreshes: which were slow, the slow widgets at their worst, and how many can be judged."""
    widgets = [row for row in _rows(look.widgets) if (row["business"], row["site"]) == (business, site)]
    usual: dict[str, float] = {
        row["widget"]: row["usual_s"] for row in widgets if row["before"] >= ENOUGH_REFRESHES and row["usual_s"]
    }
    last: list[bool] = []
    worst: dict[str, Facts] = {}

    def judge(widget: str, latency_s: float, pending: bool) -> float:
        """Return how many times as long as it may take it took, or 0 where that is not slow."""
        times = latency_s / usual[widget]
        if times <= limits.slow_widget_times or latency_s < VISIBLE_S:
            return 0.0
        if widget not in worst or times > worst[widget]["times"]:
            worst[widget] = {
                "widget": widget, "latency_s": latency_s, "usual_s": usual[widget], "times": times, "pending": pending,
            }  # fmt: skip
        return times / limits.slow_widget_times

    for row in _rows(look.refreshes):
        if (row["business"], row["site"]) == (business, site) and row["widget"] in usual:
            last.append(judge(row["widget"], row["latency_s"], False) > 0)
    for row in widgets:
        if row["widget"] in usual and row["pending_s"] is not None:
            # What takes as long as three slow ones counts as three: the next can't come before it is done.
            last += [True] * int(judge(row["widget"], row["pending_s"], True))
    return last[-LAST_REFRESHES:], sorted(worst.values(), key=lambda widget: -widget["times"]), len(usual)


def _processors(look: Look, business: str) -> list[Row]:
    return [host for host in _rows(look.services) if (host["business"], host["role"]) == (business, PROCESSOR)]


def _slow(look: Look, business: str) -> list[Facts]:
    """List the processors of a business that take far longer than usual over the same work."""
    return [
        {"name": row["processor"], "times": row["times"], "tasks": row["tasks"]}
        for row in _rows(look.paces)
        if row["business"] == business and row["tasks"] >= SLOW_TASKS and row["times"] >= SLOW_PROCESSOR
    ]


def _busy(look: Look, business: str) -> list[Facts]:
    """Tell what each processor works on. Of other sites it names no task: counts by task type say enough."""
    kinds: dict[str, Counter[str]] = {}
    for row in _rows(look.processing):
        if row["business"] == business:
            kinds.setdefault(row["processor"], Counter())[row["kind"]] += row["n"]
    busy: dict[str, Facts] = {}
    for host in _processors(look, business):  # several that go by one name are told as one
        name = host["name"]
        one = busy.setdefault(name, {"name": name, "slots": 0, "used": 0, "kinds": dict(kinds.get(name, {}))})
        one["slots"] += host["slots"]
        one["used"] += host["used"]
    return list(busy.values())


# --- old holds


def _old_holds(look: Look, limits: Limits, tell: Words) -> list[Signal]:
    """Warn of holds that have been in force for long, one signal for each business or site that they are over."""
    old: dict[tuple[str | None, str | None], list[Row]] = {}
    for hold in _rows(look.holds):
        forgotten = hold["in_force"] and hold["blackout"] is None  # a window ends by itself
        if forgotten and look.now - hold["from_at"] > limits.old_hold_s * SECOND:
            old.setdefault((hold["business"], hold["site"]), []).append(hold)
    found = []
    for (business, site), over in old.items():
        over.sort(key=lambda hold: hold["from_at"])
        evidence = [tell.hold(hold) for hold in over]
        first = over[0]
        age = tell.span((look.now - first["from_at"]) / SECOND)
        headline = f"Held for {age}: {HELD[first['target_kind']]} {first['target']}"
        if len(over) > 1:
            headline = f"{len(over)} holds are old, the oldest has been in force for {age}"
        facts = {
            "holds": [{key: hold[key] for key in ("hold_id", "target_kind", "target", "from_at")} for hold in over]
        }
        action = "Resume what need not wait any longer, or give the hold an end."
        found.append(Signal("old_hold", True, business, site, headline, evidence, facts, action))
    return found


def _of_place(frame: pl.DataFrame, business: str, site: str | None) -> pl.DataFrame:
    return frame.filter(pl.col("business") == business, pl.col("site").eq_missing(pl.lit(site, pl.String)))


def _rows(frame: pl.DataFrame) -> list[Row]:
    """Read a frame as rows, its instants as microseconds."""
    return frame.with_columns(cs.datetime().dt.epoch("us")).to_dicts()
