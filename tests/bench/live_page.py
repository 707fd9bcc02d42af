"""A page with 100,000 live tasks: the CPU that the server spends on each refresh, by clients as browsers are.

The server is started as the README says, on a short and on a long history, and people sign in at its door. Each session
is a websocket that does what a browser's tab does: it runs the page, takes the interval and the id of each part that
refreshes itself, asks for a new run of that part at the interval whether or not the last has come, and sends with it
the state of its widgets and the hashes of the messages it still keeps. All look at one site as one person, so they
share what sessions can share. A refresh is over when the browser is told so; one that shows an error, or a page without
rows, fails the bench.

The CPU is that of the server's process, all its threads, children apart. What the engine spends with nobody looking is
measured first and taken off. A minute each holds one publication of the live tasks (`publish_s`), whenever it begins.
Clients run in this process: where there are only two cores they slow the server down, which latencies show.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ContextInfo
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

from engine import messages as m
from engine.fleet import load_file
from engine.lifecycle import Kind
from engine.runtime import Engine
from engine.settings import Settings
from engine.simulated import Simulated
from tests.bench.common import report
from tests.bench.multiply import FLEET, long_history
from tests.browser.conftest import Server, serve

TARGET_MS, FLAT = 20, 0.2
KEPT_UP = 0.95  #: part of the refreshes asked for that must have come
BUSINESS, SITE = "Harbor Health", "London campus"  #: the busiest of the demo fleet
KINDS = (Kind.AUDIT,) * 7 + (Kind.SCAN,) * 2 + (Kind.CONNECTOR,)
GRID = "drainboard_grid"
TICKS = os.sysconf("SC_CLK_TCK")


# --- the store and the server


def fill(folder: Path, tasks: int, owners: int, holds: int) -> None:
    """Let many tasks of many owners wait at the site, some of them held: far more than its few services ever run."""
    engine = Engine(folder, Settings({"publish_s": 3600}), lambda _: [Simulated(load_file(FLEET), 1)]).start()
    chance, stamp = random.Random(1), time.time_ns()

    def do(n: int, action: m.Action) -> None:
        outcome = engine.do(m.Command(f"fill-{stamp}-{n}", "bench", action)).result(60)
        assert outcome.refused is None, outcome.refused

    def task() -> m.NewTask:
        kind, owner, target = chance.choice(KINDS), f"user-{chance.randrange(owners)}", chance.randrange(20_000)
        named = f"host-{target}"
        return m.NewTask(BUSINESS, SITE, kind, f"{kind} of {named}", owner, owner, named, "device", "servers")

    do(-1, m.PlaceHolds(BUSINESS, [m.HoldTarget("user", f"user-{n}") for n in range(holds)], "Later"))
    for n in range(-(-tasks // 1_000)):
        do(n, m.Submit([task() for _ in range(min(1_000, tasks - n * 1_000))]))
    engine.close()


@contextlib.contextmanager
def serving(rows: int, options: argparse.Namespace) -> Iterator[tuple[Server, str]]:
    """Serve a store with so many finished tasks and the live ones; give the server and the cookie of who signed in."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place)
        kept = options.store if rows == max(options.rows) else None
        with long_history(rows, kept or data / "store") as (folder, _):
            if folder != data / "store":
                shutil.copytree(folder, data / "store")  # the next bench finds it as it was
        subprocess.run(
            [sys.executable, "-m", "tests.bench.live_page", "--fill", str(data / "store"), "--live", str(options.live),
             "--owners", str(options.owners), "--holds", str(options.holds)],
            check=True,
        )  # fmt: skip
        (data / "settings.toml").write_text(f"fleet_speed = {options.speed}\n")
        server = serve(data, data / "server.log")
        try:
            yield server, server.sign_in(server.first_link())
        except BaseException:
            print("".join(server.log.read_text().splitlines(keepends=True)[-40:]), file=sys.stderr)
            raise
        finally:
            server.stop()


def spent(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> int:
    """Return the most memory that a process has had so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024)


# --- a browser's tab


@dataclass(slots=True)
class Seen:
    """What one tab saw in a while."""

    refreshes: int = 0
    asked: int = 0
    bytes: int = 0
    latencies: list[float] = field(default_factory=list)
    bytes_of: Counter[str] = field(default_factory=Counter)  #: by the kind of what was sent


class Tab:
    """One session: what the browser keeps of it, and what it does with a message."""

    def __init__(self, url: str, cookie: str, path: str) -> None:
        self.url, self.cookie = url, cookie
        self._name, _, asked = path.partition("?")
        self.seen = Seen()
        self._query, self._page = "&".join(part for part in (urlencode({"site": SITE}), asked) if part), ""
        self._widgets: dict[str, WidgetState] = {}
        self._kept: dict[str, tuple[ForwardMsg, int]] = {}  #: messages by hash, with the run of their last use
        self._keep_for = self._runs = 0
        self._timers: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._asked: list[float] = []  #: when runs were asked for that have not begun
        self._begun: list[float] = []  #: and those that the present run answers
        self._grid: str | None = None  #: what the grid was given last
        self._drawn = False  #: in the present run
        self._live = ""  #: the part of the page that the grid is in; what else refreshes itself is paid for with it
        self._link: ClientConnection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()

    async def open(self) -> None:
        """Open the page and wait until it stands."""
        self._link = await connect(
            self.url.replace("http", "ws") + "/_stcore/stream", subprotocols=["streamlit"], origin=self.url,
            additional_headers={"Cookie": self.cookie}, max_size=None,
        )  # fmt: skip
        self._listener = asyncio.create_task(self._listen())
        await self._run()
        waiting = asyncio.create_task(self._loaded.wait())
        await asyncio.wait({waiting, self._listener}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        self.check()
        assert waiting.done(), "The page was not there within a minute"

    async def close(self) -> None:
        for _, timer in self._timers.values():
            timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        if self._link is not None:
            await self._link.close()

    def check(self) -> None:
        """Raise what the listener or a timer died of."""
        for task in (self._listener, *(timer for _, timer in self._timers.values())):
            if task is not None and task.done():
                task.result()
                raise AssertionError("The server closed the connection")

    def rows(self) -> int:
        """Count the rows of the grid as it stands."""
        return len(json.loads(self._grid)["rows"]) if self._grid else 0

    async def _listen(self) -> None:
        assert self._link is not None
        async for payload in self._link:
            assert isinstance(payload, bytes)
            self._take(payload)

    async def _run(self, fragment: str = "") -> None:
        asked = BackMsg()
        told = asked.rerun_script
        told.query_string, told.page_script_hash, told.fragment_id = self._query, self._page, fragment
        if not self._page:
            told.page_name = self._name
        told.is_auto_rerun = bool(fragment)
        told.widget_states.widgets.extend(self._widgets.values())
        told.cached_message_hashes.extend(self._kept)
        told.context_info.CopyFrom(
            ContextInfo(timezone="Europe/Berlin", timezone_offset=-60, locale="en-US", url=self.url + "/",
                        color_scheme="light")
        )  # fmt: skip
        if fragment and fragment == self._live:
            self.seen.asked += 1
            self._asked.append(time.perf_counter())
        assert self._link is not None
        await self._link.send(asked.SerializeToString())

    async def _refresh(self, fragment: str, every: float) -> None:
        """Ask again and again, as an interval timer of a browser does: late ones do not shift the next."""
        at = time.perf_counter()
        while True:
            at += every
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await self._run(fragment)

    def _take(self, payload: bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(payload)
        kind = message.WhichOneof("type")
        self.seen.bytes += len(payload)
        if kind == "ref_hash":
            message = self._kept[message.ref_hash][0]
            self._kept[message.hash] = message, self._runs
            kind = message.WhichOneof("type")
        elif message.metadata.cacheable:
            self._kept.setdefault(message.hash, (message, self._runs))
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._draw(message, len(payload))
        else:
            self.seen.bytes_of[str(kind)] += len(payload)
        if kind == "new_session":
            self._page = message.new_session.page_script_hash
            self._keep_for = message.new_session.config.max_cached_message_age or self._keep_for
            self._begun, self._asked, self._drawn = self._begun + self._asked, [], False
            if not message.metadata.run.fragment_ids:
                self._stop(list(self._timers))
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self._start(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            self._stop(list(message.stop_auto_rerun.fragment_ids))
        elif kind == "script_finished":
            self._finish(message)

    def _draw(self, message: ForwardMsg, size: int) -> None:
        element = message.delta.new_element
        kind = str(element.WhichOneof("type"))
        assert kind != "exception", f"The page shows an exception: {element.exception}"
        assert kind != "alert" or element.alert.format != Alert.ERROR, f"The page shows an error: {element.alert.body}"
        if kind == "selectbox":
            box = element.selectbox
            chosen = box.raw_value if box.set_value else box.options[box.default] if box.options else ""
            self._widgets[box.id] = WidgetState(id=box.id, string_value=chosen)
        elif kind == "text_input":
            line = element.text_input
            said = line.value if line.set_value else line.default
            self._widgets[line.id] = WidgetState(id=line.id, string_value=said)
        elif kind == "bidi_component":
            kind = element.bidi_component.component_name.rpartition(".")[2]
            if kind == GRID:
                self._grid, self._drawn, self._live = element.bidi_component.json, True, message.delta.fragment_id
        self.seen.bytes_of[kind] += size

    def _start(self, fragment: str, every: float) -> None:
        if fragment in self._timers and self._timers[fragment][0] == every:
            return
        self._stop([fragment])
        self._timers[fragment] = every, asyncio.create_task(self._refresh(fragment, every))

    def _stop(self, fragments: list[str]) -> None:
        for fragment in fragments:
            if fragment in self._timers:
                self._timers.pop(fragment)[1].cancel()

    def _finish(self, message: ForwardMsg) -> None:
        ended = message.script_finished
        if ended != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._forget(set(message.metadata.run.fragment_ids))
        if self._grid is not None:  # where the server is slow, a refresh overtakes the page's first run
            self._loaded.set()
        if ended == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY and self._live in message.metadata.run.fragment_ids:
            assert self._drawn, "A refresh has no grid"
            self.seen.refreshes += 1
            now = time.perf_counter()
            self.seen.latencies += [now - asked for asked in self._begun]
        if ended != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._begun = []

    def _forget(self, fragments: set[str]) -> None:
        """Let go of messages that the last runs did not use; a run of a part only counts for what it drew."""
        self._runs += 1
        for name, (message, used) in list(self._kept.items()):
            if (not fragments or message.delta.fragment_id in fragments) and self._runs - used > self._keep_for:
                del self._kept[name]


# --- the measurement


async def look(
    server: Server, cookie: str, path: str, sessions: int, seconds: float, warm: float
) -> dict[str, float]:
    """Let so many look, and say what it cost while they did."""
    tabs = [Tab(server.url, cookie, path) for _ in range(sessions)]
    chance = random.Random(sessions)
    try:
        for tab in tabs:
            await tab.open()
            await asyncio.sleep(chance.uniform(0, 2 / sessions))  # nobody's clock strikes with another's
        await asyncio.sleep(warm)
        for tab in tabs:
            tab.seen = Seen()
        cpu, own, batch, start = spent(server.process.pid), time.process_time(), batch_of(server), time.perf_counter()
        await asyncio.sleep(seconds)
        took, cpu, own = time.perf_counter() - start, spent(server.process.pid) - cpu, time.process_time() - own
        batches = batch_of(server) - batch
        seen = [tab.seen for tab in tabs]
        for tab in tabs:
            tab.check()
        rows = {tab.rows() for tab in tabs}
        assert min(rows) > 0, "The grid is empty"
    finally:
        for tab in tabs:
            await tab.close()
    refreshes = sum(one.refreshes for one in seen)
    assert refreshes, "Nothing was refreshed"
    latencies = sorted(latency * 1000 for one in seen for latency in one.latencies)
    sizes: Counter[str] = sum((one.bytes_of for one in seen), Counter())
    return {
        "cores": cpu / took, "client_cores": own / took, "refreshes": refreshes,
        "refreshes_per_s": refreshes / took, "asked_per_s": sum(one.asked for one in seen) / took,
        "p50_ms": statistics.median(latencies), "p95_ms": latencies[int(len(latencies) * 0.95)],
        "kb_per_refresh": sum(one.bytes for one in seen) / refreshes / 1000, "rows": max(rows),
        "batches_per_s": batches / took,
    } | {f"kb_{name}": size / refreshes / 1000 for name, size in sizes.most_common(5)}  # fmt: skip


def batch_of(server: Server) -> int:
    return int(json.loads(server.get("/healthz")[1])["batch"])


def idle(server: Server, seconds: float) -> float:
    """Return the cores that the server keeps busy with nobody looking."""
    before, start = spent(server.process.pid), time.perf_counter()
    time.sleep(seconds)
    return (spent(server.process.pid) - before) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000_000], help="finished tasks")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 25])
    parser.add_argument("--live", type=int, default=100_000, help="tasks that wait at the site")
    parser.add_argument("--owners", type=int, default=5_000)
    parser.add_argument("--holds", type=int, default=50)
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than life the simulated fleet works")
    parser.add_argument("--seconds", type=float, default=60, help="for the idle server and for each number of sessions")
    parser.add_argument("--warm", type=float, default=10, help="seconds before each measurement")
    parser.add_argument("--store", type=Path, help="a folder in which the longest history is kept for the next bench")
    parser.add_argument("--page", default="", help="another page than Active tasks, such as tasks?tab=completed")
    parser.add_argument("--quick", action="store_true", help="see in a minute that it works; the figures mean little")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.live, options.owners, options.holds)
        return
    if options.quick:
        options.rows, options.live, options.seconds, options.warm = [1_000], 2_000, 5, 2
    cost: dict[int, dict[int, float]] = {}
    for rows in options.rows:
        with serving(rows, options) as (server, cookie):
            time.sleep(options.warm)
            baseline = idle(server, options.seconds)
            for sessions in options.sessions:
                told = asyncio.run(look(server, cookie, options.page, sessions, options.seconds, options.warm))
                ms = (told["cores"] - baseline) / told["refreshes_per_s"] * 1000
                cost.setdefault(sessions, {})[rows] = ms
                kept_up = told["refreshes_per_s"] >= KEPT_UP * sessions and told["cores"] <= 1
                report(
                    "live_page", ms, "CPU ms per session and refresh", TARGET_MS, ms <= TARGET_MS and kept_up,
                    page=options.page or "Active tasks", history=rows, live=options.live, sessions=sessions,
                    kept_up=kept_up, baseline_cores=round(baseline, 3), peak_mb=memory(server.process.pid),
                    seconds=options.seconds, **{name: round(value, 3) for name, value in told.items()},
                )  # fmt: skip
    if len(options.rows) > 1:
        short, long = min(options.rows), max(options.rows)
        ratios = {sessions: round(by[long] / by[short], 3) for sessions, by in cost.items()}
        worst = max(ratios.values(), key=lambda ratio: abs(ratio - 1))
        report(
            "live_page_flatness", worst, f"times the CPU with {long:,} as with {short:,} finished tasks", 1 + FLAT,
            abs(worst - 1) <= FLAT, by_sessions=ratios,
        )  # fmt: skip


if __name__ == "__main__":
    main()
