"""The one JSON line of a bench, and a yardstick for how fast this machine is right now."""

import json
import os
import platform
import time


def yardstick() -> float:
    """Return the CPU seconds of a fixed loop, to tell figures of busy hours from those of calm ones (0.11)."""
    start, total = time.process_time(), 0
    for i in range(3_000_000):
        total += i
    return time.process_time() - start


def report(bench: str, value: float, unit: str, target: float, met: bool, **more: object) -> None:
    """Print the line."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    line = {"bench": bench, "value": round(value, 3), "unit": unit, "target": target, "met": met, "machine": machine}
    print(json.dumps(line | {"yardstick_s": round(yardstick(), 3)} | more), flush=True)
