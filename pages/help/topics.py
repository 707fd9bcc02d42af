"""The topics of Help: the Markdown files beside this module, in reading order, made into HTML and searched.

A file opens with "# Title" and one line that says what it is for. Sections begin with "## Heading {#anchor}"; one that
tells of a page of its own names it, "{page: schedules}", and is left out for as long as there is no such page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.settings import Settings

from . import chart, facts
from .markup import blocks, text_of

HERE = Path(__file__).resolve().parent

#: heading in the list of topics: the files, in reading order
GROUPS = {
    "Working with tasks": ("active", "cancel", "tasks", "holds", "schedules", "services", "logs", "reports"),
    "When something is wrong": ("troubleshooting", "waits"),
    "Reference": ("statuses", "roles", "users", "activity", "settings", "drills", "words"),
}
ORDER = tuple(name for names in GROUPS.values() for name in names)
AROUND = 90  #: so many characters of a found section stand on either side of what was sought

_HEADING = re.compile(r"## (.+?) \{#([a-z-]+)\}(?: \{page: (\w+)\})?")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a topic. The first has neither heading nor anchor."""

    anchor: str
    heading: str
    page: str | None  #: that it tells of
    lines: tuple[str, ...]

    def html(self, settings: Settings) -> str:
        return blocks(self.lines, lambda name: _table(name, settings), settings)


@dataclass(frozen=True, slots=True)
class Topic:
    """One page of Help."""

    name: str
    title: str
    about: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A section in which something was found, and what stands around it: before, the words themselves, after."""

    topic: Topic
    section: Section
    around: tuple[str, str, str]


@cache
def topics() -> dict[str, Topic]:
    """Read every topic, without sections about pages that there are not."""
    return {name: parsed(name, (HERE / f"{name}.md").read_text("utf-8"), scripts()) for name in ORDER}


@cache
def scripts() -> frozenset[str]:
    """Name the pages that there are, by their scripts."""
    return frozenset(
        path.stem for path in HERE.parent.glob("*/*.py") if path.parent.name not in ("shared", "help")
    )  # fmt: skip


def parsed(name: str, text: str, pages: frozenset[str]) -> Topic:
    """Read a topic off its file."""
    title, about, *lines = text.strip().split("\n")
    sections: list[Section] = []
    heading, kept = ("", "", None), []
    for line in [*lines, None]:
        found = _HEADING.fullmatch(line) if line is not None and line.startswith("## ") else None
        if line is not None and found is None:
            kept.append(line)
            continue
        anchor, words, page = heading
        if page is None or page in pages:
            sections.append(Section(anchor, words, page, tuple(kept)))
        if found is not None:
            heading, kept = (found[2], found[1], found[3]), []
    return Topic(name, title.removeprefix("# "), about, tuple(sections))


def search(text: str, settings: Settings) -> Iterator[Found]:
    """Find the sections that hold a text; where none does, those that hold each of its words."""
    wanted = " ".join(text.lower().split())
    read = [
        (topic, section, f"{section.heading or topic.title}. {topic.about if not section.heading else ''} "
                         f"{text_of(section.html(settings))}")
        for topic in topics().values()
        for section in topic.sections
    ]  # fmt: skip
    found = [one for one in read if wanted in one[2].lower()]
    words = [wanted] if found else wanted.split()
    for topic, section, said in found or [one for one in read if all(word in one[2].lower() for word in words)]:
        at = min((place for word in words if (place := said.lower().find(word)) >= 0), default=0)
        length = next((len(word) for word in words if said.lower().startswith(word, at)), 0)
        start = said.rfind(" ", 0, max(at - AROUND, 0) + 1) + 1
        end = said.find(" ", min(at + length + AROUND, len(said)))
        end = len(said) if end < 0 else end
        before = ("… " if start else "") + said[start:at]
        after = said[at + length : end] + (" …" if end < len(said) else "")
        yield Found(topic, section, (before, said[at : at + length], after))


def _table(name: str, settings: Settings) -> str:
    return chart.svg() if name == "chart" else facts.table(name, settings)
