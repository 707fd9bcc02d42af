"""The queue to beat, measured in the same run as our own bench: pgqueuer on PostgreSQL, else Dramatiq on Redis.

A peer lives in an interpreter of its own (`--peer-python`), never in the project's, so the second half of this file
runs there and the whole file imports nothing of ours. pgqueuer enqueues in thousands and is measured twice: with
workers that take ten tasks at once, as it comes, and a hundred, where it was fastest. It keeps three log rows a task;
Dramatiq keeps nothing. PostgreSQL is as durable as it comes (fsync, synchronous commit); Redis syncs its append-only
file every second, which is less than what we promise.

Servers are scratch ones: a temporary folder, a Unix socket, no network, and ended by their process id.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

TASKS = 40_000
ENQUEUE = 1_000  #: tasks in one call, where the peer can take many
BATCHES = (10, 100)  #: tasks that a worker takes at once, where the peer can: one race for each
WORKERS = 2
PATIENCE = 18.0  #: seconds after which a race counts what is finished by then
STARTS_WITHIN = 8.0  #: seconds for a server to be ready
LIVES_FOR = 28.0  #: seconds after which a client or worker that is still there is killed

TICK = os.sysconf("SC_CLK_TCK")


class NotInstalled(Exception):
    """What is missing, in words."""


# --- our half: servers, workers, the stopwatch


def beside(python: str, rate: float, cpu_ms: float) -> str | list[dict[str, Any]]:
    """Measure the peer that is there, and tell our figures divided by its."""
    missing = []
    for peer in (_pgqueuer, _dramatiq):
        try:
            races = peer(python)
        except NotInstalled as what:
            missing.append(str(what))
        except Exception as error:  # our own figures must not get lost with the peer's
            return f"failed: {type(error).__name__}: {error}"
        else:
            for race in races:
                race["tasks_per_s_ours_to_theirs"] = round(rate / race["tasks_per_s"], 2)
                race["cpu_ms_per_task_ours_to_theirs"] = round(cpu_ms / race["cpu_ms_per_task"], 2)
            return races
    return f"not installed: {'; '.join(missing)}"


def _pgqueuer(python: str) -> list[dict[str, Any]]:
    version = _version(python, "pgqueuer", "asyncpg")
    initdb, postgres = _program("initdb"), _program("postgres")
    name = f"pgqueuer {version}, PostgreSQL {_said(postgres, '--version').split()[2]}"
    races = []
    for batch in BATCHES:
        with _scratch() as (folder, user):
            database = folder / "database"
            subprocess.run(
                [initdb, "-D", database, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, user=user, cwd=folder,
            )  # fmt: skip
            command = [postgres, "-D", str(database), "-k", str(folder), "-c", "listen_addresses="]
            command += ["-c", "shared_buffers=256MB"]
            with _running(command, ready=folder / ".s.PGSQL.5432", end=signal.SIGINT, user=user) as server:
                race = _race(python, "pgqueuer", folder, batch, server.pid)
            races.append({"name": name, "enqueued_by": ENQUEUE, "batch": batch} | race)
    return races


def _dramatiq(python: str) -> list[dict[str, Any]]:
    version = _version(python, "dramatiq", "redis")
    redis = _program("redis-server")
    name = f"Dramatiq {version}, Redis {_said(redis, '--version').split()[2].removeprefix('v=')}"
    with _scratch() as (folder, user):
        command = [redis, "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir", str(folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "everysec"]
        with _running(command, ready=folder / "redis.sock", end=signal.SIGTERM, user=user) as server:
            race = _race(python, "dramatiq", folder, 1, server.pid)
    return [{"name": name, "enqueued_by": 1} | race]


def _race(python: str, peer: str, folder: Path, batch: int, server: int) -> dict[str, Any]:
    """Let workers that are up and idle drain what one client enqueues; count CPU of client, workers and server."""
    command = [python, "-P", __file__, peer, str(folder), str(batch)]
    with ExitStack() as stack:
        client = stack.enter_context(_talking([*command, "client"]))  # it makes the tables first
        workers = [stack.enter_context(_talking([*command, "worker"])) for _ in range(WORKERS)]
        running = [server, client.pid, *(worker.pid for worker in workers)]
        before = sum(map(_cpu_s, running))
        assert client.stdin is not None
        assert client.stdout is not None
        print("go", file=client.stdin, flush=True)
        line = client.stdout.readline()
        if not line:
            raise RuntimeError(f"{peer} did not come to an end")
        told: dict[str, Any] = json.loads(line)
        cpu = sum(map(_cpu_s, running)) - before
    return {
        "workers": WORKERS, "tasks": told["tasks"], "tasks_per_s": round(told["tasks"] / told["seconds"], 1),
        "enqueued_per_s": round(told["enqueued"] / told["enqueue_s"], 1),
        "cpu_ms_per_task": round(cpu * 1000 / told["tasks"], 4),
    }  # fmt: skip


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _cpu_s(pid: int) -> float:
    """Tell what a process has used with those that it started, the ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) / TICK
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return own + sum(_cpu_s(int(child)) for child in children)


def _version(python: str, package: str, *needs: str) -> str:
    code = f"import importlib.metadata as i; print(*[i.version(p) for p in {[package, *needs]!r}])"
    try:
        asked = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalled(f"no interpreter for {package} ({error})") from None
    if asked.returncode:
        raise NotInstalled(f"{package} with {' and '.join(needs)} in the interpreter that --peer-python names")
    return asked.stdout.split()[0]


def _program(name: str) -> str:
    """Find a server's program; Debian keeps PostgreSQL's out of the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or next(map(str, debian), None)
    if found is None:
        raise NotInstalled(name)
    return found


@contextmanager
def _scratch() -> Iterator[tuple[Path, str | None]]:
    """Make a folder for a server, and name the user it must run as: PostgreSQL refuses to be root."""
    user = None
    if os.geteuid() == 0:
        user = next((name for name in ("postgres", "nobody") if name in {u.pw_name for u in pwd.getpwall()}), None)
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as place:
        if user is not None:
            shutil.chown(place, user)
        yield Path(place), user


@contextmanager
def _running(command: list[str], ready: Path, end: signal.Signals, user: str | None) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, user=user, cwd=ready.parent
    )
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{Path(command[0]).name} did not start")
            time.sleep(0.05)
        yield process
    finally:
        _end(process, end)


@contextmanager
def _talking(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a client or a worker of the peer until the block ends; begin when it says that it is ready."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True)
        last_resort = threading.Timer(LIVES_FOR, process.kill)
        last_resort.daemon = True
        last_resort.start()
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                complaints.seek(0)
                said = complaints.read().strip().splitlines() or ["it said nothing"]
                raise RuntimeError(f"the {command[-1]} did not start: {said[-1]}")
            yield process
        finally:
            _end(process, signal.SIGTERM)
            last_resort.cancel()


def _end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- the peer's half: runs in its interpreter


def _tell_ready() -> None:
    print("ready", flush=True)


def _tell(tasks: int, enqueued: int, enqueue_s: float, seconds: float) -> None:
    print(json.dumps({"tasks": tasks, "enqueued": enqueued, "enqueue_s": enqueue_s, "seconds": seconds}), flush=True)
    sys.stdin.read()  # the parent looks at our CPU time, then ends us


async def _pgqueuer_client(folder: str, _: int) -> None:
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(host=folder, user="bench", database="postgres")
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    _tell_ready()
    sys.stdin.readline()
    start = time.perf_counter()
    enqueued = 0
    while enqueued < TASKS and time.perf_counter() - start < PATIENCE:
        await queries.enqueue(["nothing"] * ENQUEUE, [b"host"] * ENQUEUE, [0] * ENQUEUE)
        enqueued += ENQUEUE
    enqueue_s = time.perf_counter() - start
    while await connection.fetchval("select exists(select from pgqueuer)"):
        if time.perf_counter() - start > PATIENCE:
            break
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - start
    done = await connection.fetchval("select count(*) from pgqueuer_log where status = 'successful'")
    _tell(done, enqueued, enqueue_s, seconds)


async def _pgqueuer_worker(folder: str, batch: int) -> None:
    import asyncpg
    from pgqueuer import PgQueuer

    worker = PgQueuer.from_asyncpg_connection(await asyncpg.connect(host=folder, user="bench", database="postgres"))

    @worker.entrypoint("nothing")
    async def nothing(job: object) -> None:
        pass

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.shutdown.set)
    asyncio.get_running_loop().call_later(1.0, _tell_ready)  # it has no event for “listening”
    await worker.run(batch_size=batch)


def _dramatiq_actor(folder: str) -> tuple[Any, Any]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=f"unix://{folder}/redis.sock")
    dramatiq.set_broker(broker)
    tally = os.open(f"{folder}/tally", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @dramatiq.actor
    def nothing(payload: str) -> None:
        os.write(tally, b".")

    return broker, nothing


def _dramatiq_client(folder: str, _: int) -> None:
    _, nothing = _dramatiq_actor(folder)
    tally = Path(folder) / "tally"
    _tell_ready()
    sys.stdin.readline()
    start = time.perf_counter()
    enqueued = 0
    while enqueued < TASKS and time.perf_counter() - start < PATIENCE:
        nothing.send("host")
        enqueued += 1
    enqueue_s = time.perf_counter() - start
    while tally.stat().st_size < enqueued and time.perf_counter() - start < PATIENCE:
        time.sleep(0.05)
    _tell(tally.stat().st_size, enqueued, enqueue_s, time.perf_counter() - start)


def _dramatiq_worker(folder: str, _: int) -> None:
    import dramatiq

    broker, _ = _dramatiq_actor(folder)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = dramatiq.Worker(broker, worker_threads=4)
    worker.start()
    _tell_ready()
    stop.wait()
    worker.stop(timeout=2_000)


def _play(role: Callable[[str, int], Any], folder: str, batch: int) -> None:
    if not asyncio.iscoroutinefunction(role):
        role(folder, batch)
        return
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(role(folder, batch))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["pgqueuer", "dramatiq"])
    parser.add_argument("folder")
    parser.add_argument("batch", type=int)
    parser.add_argument("role", choices=["client", "worker"])
    asked = parser.parse_args()
    _play(globals()[f"_{asked.peer}_{asked.role}"], asked.folder, asked.batch)
