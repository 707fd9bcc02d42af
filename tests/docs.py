"""The parts of the README that are made from the code: `python -m tests.docs` writes them, test_docs compares them."""

import re
import sys
import tempfile
from pathlib import Path

import engine
from engine import rollups
from engine.lifecycle import mermaid
from engine.metrics import METRICS, OF_THE_PROCESS, PROGRESS, STATE
from engine.settings import SETTINGS, Settings
from engine.store import Store

README = Path(__file__).resolve().parent.parent / "README.md"


def life() -> str:
    return f"```mermaid\n{mermaid()}\n```"


def modules() -> str:
    listed = re.findall(r"^    (\w+)  +(.+)$", engine.__doc__ or "", re.MULTILINE)
    return "\n".join(["| engine module, in reading order | what it is for |", "|---|---|"]
                     + [f"| {name} | {purpose} |" for name, purpose in listed])  # fmt: skip


def settings() -> str:
    return "\n".join(["| name | default | what it does |", "|---|---|---|"]
                     + [f"| `{s.name}` | {Settings().shown(s.name)} | {s.help} |" for s in SETTINGS])  # fmt: skip


def metrics() -> str:
    """List every metric of ours by the name under which it is found, and the first two of the process."""
    rows = [(STATE[0], "gauge", ("state",), STATE[1]), (PROGRESS[0], "gauge", (), PROGRESS[1])]
    rows += [(told.name + "_total" * (told.type == "counter"), told.type, told.labels, told.help) for told in METRICS]
    rows += [(n, "counter" if n.endswith("_total") else "gauge", (), help) for n, help in OF_THE_PROCESS.items()]
    return "\n".join(["| metric | type | labels | what it tells |", "|---|---|---|---|"]
                     + [f"| `{n}` | {t} | {', '.join(labels)} | {h} |" for n, t, labels, h in rows])  # fmt: skip


def tables() -> str:
    """List every public table with its comment and its columns, from a store made on the spot."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store") as store:
        rollups.prepare(store)
        found = store.read(
            "select table_name, comment from duckdb_tables() union all "
            "select view_name, comment from duckdb_views() where not internal order by 1"
        ).rows()
        columns = store.read(
            "select table_name, column_name from duckdb_columns() where not internal order by table_name, column_index"
        ).rows()
    lines = ["| table | what a row is | columns |", "|---|---|---|"]
    for table, comment in found:
        names = ", ".join(f"`{column}`" for owner, column in columns if owner == table)
        lines.append(f"| `{table}` | {comment} | {names} |")
    return "\n".join(lines)


SECTIONS = {
    "life of a task": life, "modules": modules, "settings": settings, "metrics": metrics, "tables": tables,
}  # fmt: skip


def section(text: str, name: str) -> str:
    """Return what stands between a section's mark and the next heading, mark or sentence after a blank line."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert found, f"README.md lacks the marks of “{name}”"
    return found.group(1)


def main() -> int:
    text = README.read_text("utf-8")
    for name, make in SECTIONS.items():
        text = text.replace(
            f"<!-- {name} -->\n{section(text, name)}\n<!-- end -->", f"<!-- {name} -->\n{make()}\n<!-- end -->"
        )
    README.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
