"""The command line: `python -m engine VERB`.

Exit codes: 0 done, 1 refused or a check failed, 2 bad usage, 130 ended by Ctrl-C. Errors are one clear line. Where a
console runs on the data folder, a verb asks it through its socket; verbs that need the store to themselves say so.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # The imports below take a second or so, and nothing is begun that would have to be ended.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import json
import logging
import pwd
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

from . import arguments, control, drills, rollups, seeding, shell, verbs
from .console import SEEDING, STORE, Console, fleet_file
from .errors import DrainboardError, Refused, StoreInUse
from .fleet import load_file
from .joblogs import FORMATS
from .lifecycle import Kind
from .settings import data_folder, load
from .store import Store, discard
from .tables import PLAINLY

INTERRUPTED = 130  #: what shells call a command that Ctrl-C ended


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a sign is no reason to fail
            stream.reconfigure(errors=PLAINLY)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(shell.as_values(words) if words[:1] in (["tasks"], ["bulk"]) else words)
    except SystemExit:  # after --help, or bad usage
        _written()
        raise
    folder: Path = options.data
    try:
        reply: verbs.Reply | None = options.run(folder, options)
    except DrainboardError as error:
        reply = verbs.Reply(1, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read it has enough
        reply = None
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename or folder}"
        reply = verbs.Reply(1, text) if _written() else verbs.Reply(1, "")
    except Exception as error:
        if os.environ.get("DRAINBOARD_TRACEBACK"):
            raise
        text = f"This should not have happened: {error}. With DRAINBOARD_TRACEBACK=1 in the environment it says where."
        reply = verbs.Reply(1, text)
    if reply is None:  # it has been written already
        return 0 if _written() else 1
    if options.json:
        written = _written(json.dumps({"exit": reply.exit, "text": reply.text, **reply.data}, default=str))
    else:
        wrong = reply.exit == shell.USAGE or (reply.exit and not reply.data)
        written = _written(reply.text, sys.stderr if wrong else sys.stdout)
    return reply.exit if written else reply.exit or 1


def _written(text: str = "", stream: TextIO | None = None) -> bool:
    """See that all is written that was said, and tell where it can't be. That a reader has enough is no trouble."""
    try:
        if text:
            print(text, file=stream)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the end of the program would try again
        if not isinstance(error, BrokenPipeError):
            with suppress(OSError):
                print(f"The answer could not be written: {error.strerror}", file=sys.stderr)
            return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description="Drainboard's command line")
    everywhere, deeper = argparse.ArgumentParser(add_help=False), argparse.ArgumentParser(add_help=False)
    everywhere.set_defaults(data=data_folder(), json=False)
    for common in (everywhere, deeper):  # a verb's own verbs take them, too, and leave alone what stood before
        absent = argparse.SUPPRESS
        common.add_argument("--data", type=Path, default=absent, help="the data folder (DRAINBOARD_DATA)")
        common.add_argument("--json", action="store_true", default=absent, help="answer in one line of JSON")
    verb = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        one = verb.add_parser(name, parents=[everywhere], help=help, description=help)
        one.set_defaults(run=run)
        return one

    add("run", _run, "run the engine without the web app, until SIGTERM or Ctrl-C")
    one = add("seed", _seed, "build a demo history into an empty data folder")
    one.add_argument("--days", type=int, default=14, help="days of history that end now")
    one.add_argument("--tasks", type=int, default=0, help="about how many tasks (0: as many as the fleet makes)")
    one.add_argument("--seed", type=int, default=1, help="seed of the random numbers")
    one.add_argument("--progress", action="store_true", help="tell progress in lines of JSON")
    one = add("import", _import, "put a job log (swf, sacct, csv) into the ledger, whole or not at all")
    one.add_argument("file", metavar="FILE")
    one.add_argument("--format", required=True, choices=FORMATS)
    one.add_argument("--business", required=True)
    one.add_argument("--site", required=True, help="made as an archive where it is missing")
    one.add_argument("--kind", default="scan", choices=[kind.value for kind in Kind])
    one.add_argument("--zone", default="UTC", help="zone of times that carry none")
    one.add_argument("--skip-bad", action="store_true", help="take the good rows and count the bad ones")
    one.add_argument("--force", action="store_true", help="import a file again")
    one.add_argument("--column", action="append", default=[], metavar="NAME=COLUMN", help="map a csv column")
    add("health", _ask("health"), "report the four health-check signals with their evidence")
    shell.add_tasks(add("tasks", _tasks, "list the tasks that a filter finds, count them, or show the query"))
    shell.add_bulk(add("bulk", _bulk, "act on all tasks that a filter finds: look first, then do, then undo"), deeper)
    add("verify", _verify, "check the ledger, and that all the rest follows from it")
    arguments.add_user(add("user", _user, "invite users, give them new links, change their roles, bar or list them"))
    one = add("hold", _restrain("hold"), "pause users and task types; resume them, at once or gradually")
    arguments.add_hold(one, deeper)
    arguments.add_cap(add("cap", _restrain("cap"), "let at most so many tasks of a user run at once"), deeper)
    arguments.add_blackout(add("blackout", _restrain("blackout"), "hold a whole site at set times, by itself"), deeper)
    one = add("backup", _backup, "copy the store into a new folder, also while a console runs")
    one.add_argument("target", metavar="FOLDER")
    one = add("restore", _restore, "put a backup in the store's place; what was there is kept")
    one.add_argument("backup", metavar="FOLDER", type=Path)
    _add_drills(add("drill", _drill, "start or end a simulated incident on the fleet of a running console"), deeper)
    return parser


def _add_drills(verb: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Offer a verb for each drill, `end` for those that last, and `list`."""
    which = verb.add_subparsers(required=True, metavar="DRILL")

    def offer(among: Any, drill: drills.Drill, do: str, parameters: tuple[drills.Parameter, ...]) -> None:
        one = among.add_parser(drill.name, parents=[common], help=drill.help, description=drill.help)
        one.set_defaults(do=do, drill=drill.name, parameters=[parameter.name for parameter in parameters])
        for parameter in parameters:
            default = "" if parameter.default is None else f" (default: {parameter.default})"
            one.add_argument(
                f"--{parameter.name}", dest=parameter.name, required=parameter.required, type=parameter.type,
                choices=parameter.choices or None, help=parameter.help + default,
            )  # fmt: skip

    for drill in drills.DRILLS:
        offer(which, drill, "start", drill.parameters)
    end = which.add_parser("end", help="end a drill that lasts").add_subparsers(required=True, metavar="DRILL")
    for drill in drills.DRILLS:
        if drill.lasts:
            offer(end, drill, "end", drill.identity)
    which.add_parser("list", parents=[common], help="list the drills that go on").set_defaults(
        do="list", drill="", parameters=[]
    )


# --- verbs that a running console answers


def _ask(verb: str) -> Any:
    return lambda folder, _: _carry_out(folder, verb, {})


def _carry_out(folder: Path, verb: str, arguments: dict[str, Any]) -> verbs.Reply:
    with _Desk(folder) as desk:
        return desk.ask(verb, arguments)


class _Desk(ExitStack):
    """Asks the console that runs on the folder; where none does, opens the store, once, and does it here."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._context: verbs.Context | None = None

    def ask(self, verb: str, arguments: dict[str, Any]) -> verbs.Reply:
        if self._context is None:
            reply = _ask_console(self._folder, verb, arguments)
            if reply is not None:
                return reply
            self._context = self._open(verb)
        return verbs.carry_out(self._context, verb, arguments)

    def _open(self, verb: str) -> verbs.Context:
        folder = self._folder
        if (folder / SEEDING).exists():
            raise Refused(f"A history is being built in {folder}; try again when it is complete")
        if verb != "import" and not (folder / STORE).exists():
            raise Refused(f"There is no store in {folder}")
        store = self.enter_context(Store.open(folder / STORE))
        if verb != "verify":  # which tells it as it tells all else
            store.refuse_wrong_key()
        rollups.prepare(store)
        return verbs.Context(folder / STORE, load(folder), store, _actor())


def _ask_console(folder: Path, verb: str, arguments: dict[str, Any]) -> verbs.Reply | None:
    reply = control.ask(folder, {"verb": verb, "arguments": arguments, "actor": _actor()}) if folder.exists() else None
    return None if reply is None else verbs.Reply(reply["exit"], reply["text"], reply.get("data", {}))


def _drill(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    given = {name: getattr(options, name) for name in options.parameters}
    reply = _ask_console(folder, "drill", {"do": options.do, "name": options.drill, "given": given})
    if reply is None:
        raise Refused(f"No console runs on {folder}; a drill needs one")
    return reply


def _import(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    pairs = [pair.partition("=") for pair in options.column]
    arguments = {
        "file": str(Path(options.file).resolve()), "format": options.format, "business": options.business,
        "site": options.site, "kind": options.kind, "zone": options.zone, "skip_bad": options.skip_bad,
        "force": options.force, "column_map": {name: column for name, _, column in pairs} or None,
    }
    return _carry_out(folder, "import", arguments)


def _tasks(folder: Path, options: argparse.Namespace) -> verbs.Reply | None:
    with _Desk(folder) as desk:
        return shell.find(desk.ask, options)


def _bulk(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    with _Desk(folder) as desk:
        return shell.act(desk.ask, options)


def _verify(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    if not (folder / STORE).exists():
        return verbs.Reply(0, f"There is no store in {folder}: nothing to verify.", {"findings": []})
    return _carry_out(folder, "verify", {})


def _user(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    return _carry_out(folder, "user", arguments.given(options))


def _restrain(verb: str) -> Any:
    def run(folder: Path, options: argparse.Namespace) -> verbs.Reply:
        if wrong := arguments.lacks(options):
            return verbs.Reply(shell.USAGE, wrong)
        return _carry_out(folder, verb, arguments.given(options))

    return run


def _backup(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    if not (folder / STORE).exists():
        raise Refused(f"There is no store in {folder}: nothing to back up")
    return _carry_out(folder, "backup", {"target": str(Path(options.target).resolve())})


# --- verbs that need the store to themselves


def _restore(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    folder.mkdir(parents=True, exist_ok=True)
    return verbs.restore(folder, STORE, options.backup)


def _seed(folder: Path, options: argparse.Namespace) -> verbs.Reply:
    """Build in `seeding/` and rename into place when complete; SIGTERM leaves nothing behind."""
    if (folder / STORE).exists():
        raise Refused(f"There is a store in {folder} already; seeding needs a folder without one")
    discard(folder / SEEDING)  # a history goes into a new store, never on top of one that was broken off
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    fleet = load_file(fleet_file(folder))

    def progress(fraction: float, text: str) -> None:
        if options.progress:
            print(json.dumps({"fraction": fraction, "text": text}), flush=True)

    tasks = seeding.seed(
        folder / SEEDING, fleet, days=options.days, tasks=options.tasks, seed=options.seed, now=time.time_ns() // 1000,
        progress=progress, stopped=stop.is_set,
    )
    if stop.is_set():
        raise Refused("Stopped before the history was complete; nothing is kept")
    (folder / SEEDING).rename(folder / STORE)
    return verbs.Reply(0, "" if options.progress else f"{tasks:,} tasks over {options.days} days", {"tasks": tasks})


def _run(folder: Path, _: argparse.Namespace) -> verbs.Reply:
    """Run until told to stop, then stop in order."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    console = Console(folder)
    try:
        console.start(wait=True)
        logging.getLogger("drainboard").info("Running on %s; SIGTERM or Ctrl-C stops in order", folder)
        while not stop.wait(1.0):
            pass
    except StoreInUse as error:
        return verbs.Reply(1, str(error))
    finally:
        console.close()
    return verbs.Reply(0, "")


def _actor() -> str:
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # as in a container that runs under any number
        return f"cli:{os.getuid()}"


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
