"""One console on one data folder: the first start's seeding, then the engine, then an orderly stop.

The launcher of the web app and the headless `run` both start one. The app answers while a child process builds the demo
fleet's history in `seeding/`; the folder is renamed into place when it is complete, so that a store is whole or absent.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from . import inventory, verbs
from .access import NOTED_EVERY, REFUSED_NOTED_EVERY, Access
from .clock import SECOND
from .control import Control, Reply, Request
from .drills import Drills
from .errors import Busy, DrainboardError
from .fleet import Fleet, load_file
from .messages import Command
from .runtime import Engine
from .settings import Settings, load
from .simulated import Simulated
from .store import discard
from .tuning import Tuning
from .watch import Watch

log = logging.getLogger("drainboard")

CHECKOUT = Path(__file__).resolve().parent.parent
STORE, SEEDING = "store", "seeding"
KEPT_WITHIN = 30.0  #: seconds in which what concerns accounts should be durable


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the console stands: "seeding", "starting", "live", "failed" or "stopped"; how far; in words."""

    name: str
    fraction: float = 0.0
    text: str = ""


class Console:
    """Start with `start`, read `stage`, `engine`, `watch`, `access`, `drills` and `tuning`, end with `close`.

    While nobody can sign in yet, `welcome` gets the secret of the link that makes the first admin.
    """

    def __init__(self, folder: Path, *, seed: bool = True, welcome: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.settings: Settings = load(folder)
        self.fleet: Fleet = load_file(fleet_file(folder))
        self.engine: Engine | None = None
        self.watch: Watch | None = None
        self.access: Access | None = None
        self.drills: Drills | None = None
        self.tuning: Tuning | None = None
        self.stage = Stage("starting")
        self._seed, self._welcome = seed, welcome
        self._child: subprocess.Popen[str] | None = None
        self._closing = False
        self._control: Control | None = None
        self._opener = threading.Thread(target=self._open, name="drainboard-opener", daemon=True)

    def start(self, wait: bool = False) -> Console:
        """Open the store, or build one first; with `wait`, return when that is settled and raise what went wrong."""
        if not wait:
            self._opener.start()
            return self
        self._open(tell=False)  # whoever waits tells it
        if self.engine is None:
            raise DrainboardError(self.stage.text)
        return self

    def close(self) -> None:
        """Stop what runs, within five seconds."""
        self._closing = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(3)
            except subprocess.TimeoutExpired:
                self._child.kill()
        if self._opener.is_alive():
            self._opener.join(4)
        if self._control is not None:
            self._control.close()
        noting = threading.Thread(target=self._note_last, daemon=True)  # a commit that hangs must not hold up the stop
        noting.start()
        noting.join(1)
        if self.watch is not None:
            self.watch.proof.close()
        if self.engine is not None:
            self.engine.close()
        self.stage = Stage("stopped")

    def _open(self, tell: bool = True) -> None:
        try:
            discard(self.folder / SEEDING)
            if self._seed and not (self.folder / STORE).exists() and self.settings.int("seed_days") > 0:
                self._build_history()
            if self._closing:
                return
            self.stage = Stage("starting", 1.0, "Opening the store")
            world = Simulated(self.fleet, self.settings.int("seed"), self.settings.float("fleet_speed"))
            engine = Engine(self.folder / STORE, self.settings, lambda _: (world,))
            world.analyst = inventory.analyst(engine.store)
            engine.start()
            if not engine.snapshot.zones:
                self._found(engine)
            self.drills = Drills(engine, world, self.fleet)
            self.tuning = Tuning(engine, self.folder)
            self.access = Access(engine.store, lambda c: engine.do(c).result(KEPT_WITHIN), lambda: engine.now)
            engine.every(NOTED_EVERY / SECOND, "note use of sessions", self._note_use)
            engine.every(REFUSED_NOTED_EVERY / SECOND, "note who was not let in", self._note_refused)
            self.watch = Watch(engine)
            self._control = Control(self.folder, self._answer)
            self.engine = engine
            self.stage = Stage("live", 1.0)
            secret = self.access.first_link() if self._welcome is not None else None
            if secret is not None and self._welcome is not None:
                self._welcome(secret)
            elif self._welcome is not None and not self.access.founded:
                log.warning("Nobody has a password yet: python -m engine user invite NAME --role platform_admin")
        except DrainboardError as error:
            if tell:
                log.error("%s", error)
            self.stage = Stage("failed", 0.0, str(error))
        except Exception:
            log.exception("The console could not start")
            self.stage = Stage("failed", 0.0, "The console could not start; the server's log says why")

    def _note_last(self) -> None:
        self._note_refused()
        self._note_use()

    def _note_use(self) -> None:
        """Keep when sessions were last used; what can't be kept now will be with the next note."""
        if self.access is not None:
            with suppress(DrainboardError, TimeoutError):
                self.access.note_use()

    def _note_refused(self) -> None:
        if self.access is not None:
            with suppress(DrainboardError, TimeoutError):
                self.access.note_refused()

    def _found(self, engine: Engine) -> None:
        """Bring the fleet into an empty store."""
        for n, action in enumerate(self.fleet.founding()):
            engine.do(Command(f"founding-{n}", "fleet", action)).result(30)

    def _answer(self, request: Request) -> Reply:
        """Answer the command line, as the verb would if nobody ran here."""
        if self.engine is None:
            raise Busy("The console is not ready yet; try again shortly")
        context = verbs.Context(
            self.folder / STORE, self.settings, self.engine.store, str(request["actor"]), self.engine, self.drills,
            self.access, self.watch.catalogue if self.watch is not None else None,
        )  # fmt: skip
        return asdict(verbs.carry_out(context, request["verb"], request["arguments"]))

    def _build_history(self) -> None:
        """Let a child build the demo's history, so that this process goes on answering."""
        days, tasks = self.settings.int("seed_days"), self.settings.int("seed_tasks")
        self.stage = Stage("seeding", 0.0, f"Building {days} days of history")
        command = [
            sys.executable, "-m", "engine", "seed", "--data", str(self.folder), "--days", str(days),
            "--tasks", str(tasks), "--seed", str(self.settings.int("seed")), "--progress",
        ]  # fmt: skip
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=CHECKOUT, stdout=pipe, stderr=pipe, text=True, stdin=subprocess.DEVNULL
        ) as self._child:
            assert self._child.stdout is not None
            assert self._child.stderr is not None
            for line in self._child.stdout:
                told = json.loads(line)
                self.stage = Stage("seeding", told["fraction"], told["text"])
            said = self._child.stderr.read().strip()
        if self._child.returncode != 0 and not self._closing:
            raise DrainboardError(f"The demo's history could not be built: {said or 'the child ended'}")


def fleet_file(folder: Path) -> Path:
    """Tell which fleet file counts: the data folder's if it has one, else the checkout's."""
    own = folder / "fleet.toml"
    return own if own.exists() else CHECKOUT / "data" / "fleet.toml"


_current: Console | None = None


def launch(folder: Path, welcome: Callable[[str], None]) -> Console:
    """Start this process's one console without waiting for it."""
    global _current
    if _current is None:
        _current = Console(folder, welcome=welcome).start()
    return _current


def current() -> Console | None:
    """Return this process's console, for pages and routes."""
    return _current
