"""The child that test_crash kills: a real console under load. Each line it prints is a durable acknowledgement."""

import itertools
import json
import sys
from concurrent.futures import Future
from pathlib import Path

from engine import messages as m
from engine.console import Console
from engine.lifecycle import Kind

IN_FLIGHT = 8


def main(folder: Path) -> None:
    (folder / "settings.toml").write_text("seed_days = 0\nfleet_speed = 20.0\npublish_s = 1\n")
    console = Console(folder).start(wait=True)
    engine = console.engine
    assert engine is not None
    (business, site), *_ = sorted(engine.snapshot.zones)
    first = engine.store.batch
    print("ready", flush=True)
    pending: list[tuple[str, int, Future[m.Outcome]]] = []
    for n in itertools.count():
        request = f"load-{first}-{n}"
        tasks = 1 + n % 7
        new = m.NewTask(business, site, Kind.AUDIT, "Load", "load", "load", target=f"host-{n}")
        pending.append((request, tasks, engine.do(m.Command(request, "load", m.Submit([new] * tasks)))))
        if len(pending) < IN_FLIGHT:
            continue
        request, tasks, answer = pending.pop(0)
        outcome = answer.result(30)
        print(json.dumps({"request": request, "tasks": tasks}), flush=True)
        if n % 3 == 0:
            engine.do(m.Command(f"stop-{request}", "load", m.Stop([int(i) for i in outcome.changed[:2]])))
        if n % 50 == 0:
            target = [m.HoldTarget("user", f"user-{n}")]
            engine.do(m.Command(f"hold-{request}", "load", m.PlaceHolds(business, target, "load")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
