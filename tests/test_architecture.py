"""The import rule, executable: who may import what, each ban with its reason."""

import ast
import re
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).resolve().parent.parent
ORDER = re.findall(r"^    (\w+)  ", engine.__doc__ or "", re.MULTILINE)

ONLY_IN = {
    "streamlit": (("app.py", "pages/"), "the engine must run and be tested without a browser"),
    "plotly": (("app.py", "pages/shared/charts.py"), "charts are drawn in one place, from frames"),
    "duckdb": (("engine/store.py", "engine/adhoc.py"), "one owner of the file: anything else would drop its lock"),
    "apscheduler": (("engine/runtime.py",), "the core decides when a schedule is due, never APScheduler"),
    "cronsim": (("engine/recurrence.py",), "one place says when a schedule occurs"),
    "authlib": (("engine/oidc.py",), "one place asks an identity provider, and checks what it says"),
    "prometheus_client": (("engine/metrics.py",), "one place says what is told, by a registry of its own"),
    "random": (
        ("engine/fleet.py", "engine/simulated.py", "engine/seeding.py"),
        "the core has no randomness of its own",
    ),
    "time": (
        ("engine/clock.py", "engine/store.py", "engine/imports.py", "engine/runtime.py", "engine/verbs.py",
         "engine/__main__.py"),
        "time comes from the engine's clock; beside it only ages of threads and children, and a CLI's instants",
    ),
}
PURE = ("errors", "lifecycle", "ledger", "roles", "recurrence", "messages", "fleet", "reports", "task", "lanes",
        "holds", "splits", "subqueues", "dispatch", "state", "deciding", "holding", "firing", "hearing", "machine",
        "commanding", "ontasks", "onplans", "onplaces", "core", "outbox", "snapshot", "schema", "columns", "chain",
        "batch", "health", "usual", "conditions", "ranges", "filters", "tables", "targets", "tally", "views", "bulk",
        "masks")  # fmt: skip
IMPURE_MODULES = {"os", "socket", "subprocess", "threading", "time", "random", "duckdb", "apscheduler", "queue"}


def sources() -> list[Path]:
    return sorted([ROOT / "app.py", *ROOT.glob("engine/*.py"), *ROOT.glob("pages/**/*.py")])


def imports(path: Path) -> list[tuple[str, int]]:
    """List what a file imports: dotted names from the top, and the line."""
    found = []
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names = [f"{module}.{alias.name}" for alias in node.names]
            found += [(name, node.lineno) for name in (names if module in ("engine", "pages") else [module])]
    return found


def test_every_engine_module_has_its_place_in_the_reading_order() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in ROOT.glob("engine/*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", list(ROOT.glob("engine/*.py")), ids=lambda path: path.stem)
def test_an_engine_module_imports_only_modules_above_it(path: Path) -> None:
    if path.stem == "__init__":
        assert imports(path) == []
        return
    here = ORDER.index(path.stem)
    for name, line in imports(path):
        if name.startswith("engine."):
            assert ORDER.index(name.split(".")[1]) < here, f"{path.name}:{line} imports {name}, which stands below it"
        assert not name.startswith("pages"), f"{path.name}:{line}: the engine knows no pages"


@pytest.mark.parametrize("module", sorted(ONLY_IN))
def test_a_library_stays_in_its_place(module: str) -> None:
    places, reason = ONLY_IN[module]
    for path in sources():
        where = path.relative_to(ROOT).as_posix()
        if not where.startswith(places):
            for name, line in imports(path):
                assert name.split(".")[0] != module, f"{where}:{line} imports {module}: {reason}"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_reaches_for_nothing_outside(module: str) -> None:
    allowed = {
        "snapshot": {"threading"},  # its readers share a frame that the first of them builds
        "fleet": {"random"},  # who draws from its mix brings the numbers
        "chain": {"os"},  # it keeps the files of its key and head
    }.get(module, set())
    for name, line in imports(ROOT / "engine" / f"{module}.py"):
        assert name.split(".")[0] not in IMPURE_MODULES - allowed, f"engine/{module}.py:{line} imports {name}"


def test_nothing_but_the_router_lies_directly_in_pages() -> None:
    """The server would run such a file as a page of its own, without the frame."""
    assert [path.name for path in (ROOT / "pages").glob("*.py")] == ["router.py"]


@pytest.mark.parametrize("path", list(ROOT.glob("pages/**/*.py")), ids=lambda path: path.stem)
def test_pages_hold_no_sql_threads_or_raw_html(path: Path) -> None:
    text = path.read_text("utf-8")
    for word, reason in {
        r"\bselect\b.+\bfrom\b": "SQL belongs to engine.standing, looks and history",
        r"\bthreading\b": "threads belong to engine.runtime",
        r"unsafe_allow": "text in data is never markup",
    }.items():
        found = re.search(word, text, re.IGNORECASE)
        assert found is None, f"{path.relative_to(ROOT)}: “{found.group() if found else ''}”: {reason}"


def test_the_top_level_holds_what_the_design_names() -> None:
    listed = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__"))}
    assert listed <= {"app.py", "pages", "engine", "data", "tests", "requirements.txt", "README.md"}


@pytest.mark.parametrize("path", [p for p in sources() if not p.is_relative_to(ROOT / "engine")], ids=str)
def test_nobody_goes_by_the_identity_that_streamlit_keeps(path: Path) -> None:
    """Only our session gives rights: Streamlit's own identity can't be taken back."""
    assert not re.search(r"\bst\.(user|login|logout)\b", path.read_text("utf-8")), f"{path} goes by st.user"
