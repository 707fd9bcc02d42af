"""Options of the test run."""

import pytest

#: The files that take the longest, which begin first: who came to one last would work alone at the end.
LONGEST = {"test_simulation", "test_catalogue", "test_year_of_schedules", "test_verify", "test_imports",
           "test_tasks_by_filter", "test_seeding"}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="take the long forms of slow tests")
    parser.addoption("--seeds", type=int, default=0, help="how many lives the simulation lives (default 1,000)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="a long form; --long takes it"))
