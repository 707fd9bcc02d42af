"""All of the checks, as the README's test command and continuous integration run them: lint, types, tests.

Arguments go to pytest, as in `python -m tests --long`. The browser tests drive Debian's Chromium; where it is missing,
it is installed first. They run by themselves, one after the other: what they wait for must come in time. The others
share the cores.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 3  #: of two cores: some tests wait for what they have started
NOTHING_RAN = 5  #: pytest's exit code where no test was chosen


def say(*command: str) -> int:
    print("+", *command, flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def install_chromium() -> None:
    if shutil.which("chromium") or not shutil.which("apt-get"):
        return
    privileged = [] if shutil.which("sudo") is None else ["sudo", "-n"]
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
        if say(*privileged, *command):
            print("Chromium could not be installed; the browser tests will say that they were skipped", flush=True)
            return


def main() -> int:
    install_chromium()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each server and child that a test starts compiles all anew
    python, given = sys.executable, sys.argv[1:]
    shared = "-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"
    codes = {
        name: say(*command)
        for name, command in {
            "lint": (python, "-m", "ruff", "check", "."),
            "types": (python, "-m", "mypy"),
            "tests": (python, "-m", "pytest", *shared, "-m", "not browser", *given),
            "browser tests": (python, "-m", "pytest", "-m", "browser", *given),
        }.items()
    }
    if sum(code == NOTHING_RAN for code in codes.values()) == 1:
        codes = {name: 0 if code == NOTHING_RAN else code for name, code in codes.items()}  # others were asked for
    failed = [name for name, code in codes.items() if code]
    print(f"Failed: {', '.join(failed)}" if failed else "All checks passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
