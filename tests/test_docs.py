"""What the README says is what the code does."""

import argparse
import re

import pytest

from engine.__main__ import _parser
from tests import docs

TEXT = docs.README.read_text("utf-8")


def test_the_pictures_of_the_readme_are_there() -> None:
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)
    assert shown
    for name in shown:
        assert (docs.README.parent / name).read_bytes().startswith(b"\x89PNG"), name


@pytest.mark.parametrize("name", docs.SECTIONS)
def test_a_generated_section_of_the_readme_is_up_to_date(name: str) -> None:
    """`python -m tests.docs` brings it up to date."""
    assert docs.section(TEXT, name) == docs.SECTIONS[name]()


def verbs() -> dict[str, str]:
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {choice.dest: choice.help or "" for choice in action._choices_actions}
    raise AssertionError("the command line has no verbs")


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    table = TEXT[TEXT.index("| verb |") :]
    table = table[: table.index("\n\n")]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)) == verbs()


def test_every_table_column_says_what_it_holds() -> None:
    """People script against these: a column without a comment is not documented."""
    assert "| None |" not in docs.tables()


def test_every_test_that_the_security_section_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+|\*)`", docs.section(TEXT, "security"))
    assert len(named) > 30
    for file, test in named:
        text = (docs.README.parent / "tests" / file).read_text("utf-8")
        assert f"def {test}(" in text or (test == "*" and "def test_" in text), f"{file}::{test}"
