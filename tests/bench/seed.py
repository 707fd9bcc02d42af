"""History generated through the real engine: tasks a second of `python -m engine seed`, from start to store."""

import argparse
import json
import subprocess
import sys
import tempfile
import time

from tests.bench.common import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--tasks", type=int, default=200_000, help="0: what the first start builds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "engine", "seed", "--data", folder, "--days", str(options.days),
             "--tasks", str(options.tasks), "--json"],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        spent = time.perf_counter() - start
    tasks = json.loads(done.stdout)["tasks"]
    first_start = options.tasks == 0
    target = 30 if first_start else 15_000
    value = spent if first_start else tasks / spent
    met = spent <= target if first_start else value >= target
    report("seed", value, "s" if first_start else "tasks/s", target, met, tasks=tasks, days=options.days,
           seconds=round(spent, 2))  # fmt: skip


if __name__ == "__main__":
    main()
