"""New stores for tests that each need one: copies of one that was made, once a process, as every store is made.

Making one takes longer than most of these tests do, since each of its columns gets its comment.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from engine import rollups
from engine.chain import HEAD, KEY
from engine.store import DATABASE, Store


def fresh(folder: Path) -> Store:
    """Open the store in a folder; where there is none, a new one with its rollups prepared."""
    return Store.open(laid(folder))


def laid(folder: Path) -> Path:
    """Lay a new store with its rollups prepared into a folder where there is none, for whoever opens it; return it."""
    if not (folder / DATABASE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in (DATABASE, HEAD, KEY):
            shutil.copy(_made() / name, folder / name)
    return folder


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="drainboard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with Store.open(folder) as store:
        rollups.prepare(store)
    return folder
