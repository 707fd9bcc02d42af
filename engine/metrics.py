"""What Prometheus is told: numbers of the current snapshot, of what the engine has counted, and of the process.

Read from what is published and counted anyhow, never from the state or the store, so that a scrape waits for nobody.
While there is no engine (a history is being built, the store could not be opened) it tells the state and the process.
Whoever may scrape sees all businesses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .clock import SECOND
from .console import Console, Stage
from .runtime import Engine, Pulse
from .snapshot import ServiceLook, Snapshot
from .splits import CAUSES
from .tally import Spread, Tally
from .task import COLLECT, PROCESS

STATES = ("seeding", "starting", "live", "unwell", "failed", "stopped")
HELD_KINDS = ("user", "kind", "schedule")
SERVICE_STATES = ("online", "suspect", "draining", "offline")

@dataclass(frozen=True, slots=True)
class Scrape:
    """What all metrics of one scrape are read off, so that they tell of the same moment."""

    shown: Snapshot
    now: int
    pulse: Pulse
    tally: Tally
    log_bytes: int
    free_bytes: int

    @classmethod
    def of(cls, engine: Engine) -> Scrape:
        store = engine.store
        return cls(engine.snapshot, engine.now, engine.pulse, engine.tally, store.wal_bytes(), store.free_space())


Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]
Spreads = Iterable[tuple[Labels, Spread]]


@dataclass(frozen=True, slots=True)
class Told:
    """One metric: what it means, its labels, and how it is read."""

    name: str
    type: str  #: gauge, counter or histogram
    help: str
    labels: Labels
    read: Callable[[Scrape], Samples | Spreads]

    def family(self, scrape: Scrape) -> Metric:
        made = _FAMILIES[self.type](self.name, self.help, labels=self.labels)
        for labels, value in self.read(scrape):
            made.add_metric(labels, *(_cumulative(value) if isinstance(value, Spread) else (value,)))
        family: Metric = made
        return family


_FAMILIES: dict[str, Any] = {
    "gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily,
}  # fmt: skip


def _cumulative(spread: Spread) -> tuple[list[tuple[str, float]], float]:
    counts, total = list(spread.counts), spread.total
    buckets, n = [], 0
    for bound, count in zip((*map(str, spread.bounds), "+Inf"), counts, strict=True):
        n += count
        buckets.append((bound, float(n)))
    return buckets, total


def _one(read: Callable[[Scrape], float | None]) -> Callable[[Scrape], Samples]:
    """Read a single number; none where there is none yet."""
    return lambda scrape: [] if (value := read(scrape)) is None else [((), value)]


def _copied(read: Callable[[Tally], dict[Any, Any]]) -> Callable[[Scrape], Any]:
    """Copy what the writer may add to meanwhile, before anybody walks through it."""
    return lambda scrape: dict(read(scrape.tally)).items()


# --- reading


def _waiting(scrape: Scrape) -> Samples:
    """Count for each site, stage and cause, also where nobody waits: a number that vanishes raises no alarm."""
    shown = scrape.shown
    found: Counter[Labels] = Counter()
    for queue in shown.waiting:
        found[queue.business, queue.site, queue.stage, queue.cause] += queue.n
    for place in shown.zones:
        for stage in (COLLECT, PROCESS):
            for cause in CAUSES:
                key = (*place, stage, cause.value)
                yield key, found[key]


def _oldest(scrape: Scrape) -> Samples:
    shown, now = scrape.shown, scrape.now
    oldest = {(*place, stage): now for place in shown.zones for stage in (COLLECT, PROCESS)}
    for queue in shown.waiting:
        if queue.cause != CAUSES[0]:
            key = queue.business, queue.site, queue.stage
            oldest[key] = min(oldest[key], queue.oldest_at)
    for key, since in oldest.items():
        yield key, (now - since) / SECOND


def _running(scrape: Scrape) -> Samples:
    for (business, site), numbers in scrape.shown.numbers.items():
        if site is not None:
            yield (business, site), numbers.running


def _by_state(count: Callable[[ServiceLook], int]) -> Callable[[Scrape], Samples]:
    """Add up what counts of each service, by place, role and state."""

    def samples(scrape: Scrape) -> Samples:
        found: Counter[Labels] = Counter()
        for s in scrape.shown.services:
            state = "suspect" if s.suspect and s.state == "online" else s.state
            for each in SERVICE_STATES:
                found[s.business, s.site or "", s.role, each] += count(s) if each == state else 0
        return found.items()

    return samples


def _holds(scrape: Scrape) -> Samples:
    shown = scrape.shown
    found = {(business, kind): 0 for business in ("", *dict.fromkeys(b for b, _ in shown.zones)) for kind in HELD_KINDS}
    for hold in shown.holds:
        if hold.in_force:
            key = hold.business or "", hold.target_kind
            found[key] = found.get(key, 0) + 1
    return found.items()


METRICS: tuple[Told, ...] = (
    Told(
        "drainboard_waiting_tasks", "gauge",
        "Tasks that wait to be collected or run (stage collect) or to be processed (stage process), by what they wait "
        "for; cause hold is what pages show as Paused",
        ("business", "site", "stage", "cause"), _waiting,
    ),
    Told(
        "drainboard_oldest_wait_seconds", "gauge",
        "How long the one that is not held and queues longest has queued; 0 where nobody waits",
        ("business", "site", "stage"), _oldest,
    ),
    Told("drainboard_running_tasks", "gauge", "Tasks on a service, those that stop included", ("business", "site"),
         _running),
    Told(
        "drainboard_services", "gauge",
        "Services by role and state; suspect: online, but given nothing until it reports. No site: of the business",
        ("business", "site", "role", "state"), _by_state(lambda service: 1),
    ),
    Told("drainboard_service_slots", "gauge", "Slots of these services", ("business", "site", "role", "state"),
         _by_state(lambda service: service.slots)),
    Told("drainboard_service_slots_used", "gauge", "Slots in which a task runs", ("business", "site", "role", "state"),
         _by_state(lambda service: service.used)),
    Told("drainboard_holds", "gauge", "Holds in force, by what they pause; no business: system-wide",
         ("business", "target_kind"), _holds),
    Told("drainboard_tasks_arrived", "counter", "Tasks that joined a queue since the start, put back ones left out",
         ("business", "site", "kind"), _copied(lambda tally: tally.arrived)),
    Told("drainboard_tasks_finished", "counter", "Tasks that ended since the start, by outcome",
         ("business", "site", "kind", "outcome"), _copied(lambda tally: tally.finished)),
    Told(
        "drainboard_wait_seconds", "histogram",
        "How long tasks that ended since the start had waited for a stage, all causes together",
        ("business", "site", "stage"), _copied(lambda tally: tally.waits),
    ),
    Told("drainboard_commit_seconds", "histogram", "How long commits took, and how many there were since the start", (),
         lambda scrape: [((), scrape.tally.commits)]),
    Told("drainboard_commit_failures", "counter", "Tries of a commit that failed; each is tried again", (),
         _one(lambda scrape: scrape.tally.failed_commits)),
    Told("drainboard_last_commit_age_seconds", "gauge", "Seconds since the last commit since the start, if any", (),
         _one(lambda scrape: scrape.pulse.commit_age)),
    Told("drainboard_batch", "gauge", "Number of the last durable batch", (), _one(lambda scrape: scrape.pulse.batch)),
    Told("drainboard_ticks", "counter", "Ticks of the engine since the start", (),
         _one(lambda scrape: scrape.tally.ticks)),
    Told("drainboard_tick_seconds", "counter", "Seconds that these ticks took, all together", (),
         _one(lambda scrape: scrape.tally.ticking_s)),
    Told("drainboard_tick_age_seconds", "gauge", "Seconds since the last tick; unwell from 5 on", (),
         _one(lambda scrape: scrape.pulse.tick_age)),
    Told("drainboard_scheduler_beat_age_seconds", "gauge",
         "Seconds since the background scheduler's last beat; unwell from 5 on", (),
         _one(lambda scrape: scrape.pulse.scheduler_age)),
    Told("drainboard_inbox_items", "gauge", "Commands and reports that the engine has not looked at yet", (),
         _one(lambda scrape: scrape.pulse.inbox)),
    Told("drainboard_write_ahead_log_bytes", "gauge", "Bytes that a checkpoint would move into the database", (),
         _one(lambda scrape: scrape.log_bytes)),
    Told("drainboard_disk_free_bytes", "gauge", "Bytes that the store's disk has left", (),
         _one(lambda scrape: scrape.free_bytes)),
)  # fmt: skip
"""All that is told of a running engine, in order."""

STATE = "drainboard_state", "1 for the state that the console is in, 0 for the others"
PROGRESS = "drainboard_start_progress_ratio", "How far the first start is with building its history, 0 to 1"
OF_THE_PROCESS = {
    "process_cpu_seconds_total": "CPU seconds of the console's process",
    "process_resident_memory_bytes": "Memory that it holds",
}
"""Of what the library tells of the process, what one looks at first; see its own help for the rest."""


def tell(console: Console | None, accept: str) -> tuple[bytes, str]:
    """Write a scrape's answer in the format that Prometheus asks for; return it with its content type."""
    registry = CollectorRegistry()  # our own and for once: nothing that other libraries register gets out
    registry.register(_Collected(console))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, console: Console | None) -> None:
        self._console = console

    def describe(self) -> Iterable[Metric]:
        return ()  # or registering would collect

    def collect(self) -> Iterator[Metric]:
        console = self._console
        stage = console.stage if console is not None else Stage("stopped")
        engine = console.engine if console is not None and stage.name == "live" else None
        scrape = Scrape.of(engine) if engine is not None else None
        state = "unwell" if scrape is not None and not scrape.pulse.well else stage.name
        states = GaugeMetricFamily(*STATE, labels=["state"])
        for each in STATES:
            states.add_metric([each], each == state)
        yield states
        yield GaugeMetricFamily(*PROGRESS, value=stage.fraction)
        if scrape is not None:
            for told in METRICS:
                yield told.family(scrape)
        yield from ProcessCollector(registry=None).collect()
