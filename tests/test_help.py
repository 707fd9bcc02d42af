"""Help tells of everything that the code has words for, and every word in it that is a button's, a page's, a link's
stands for one that there is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from engine.drills import DRILLS
from engine.errors import NotFound
from engine.health import ALARMS, Limits
from engine.lifecycle import (
    KIND_LABEL,
    PAUSED,
    REASON_WORDS,
    TRANSITIONS,
    Cause,
    Kind,
    Outcome,
    Reason,
    Status,
    Tab,
    queue_word,
)
from engine.roles import ROLE_LABEL, ROLES_WITH, Right, Role
from engine.settings import SETTINGS, Settings
from pages.help import articles, chart, facts, markup, topics
from pages.help.markup import BUTTON, LINK, SETTING, text_of
from pages.help.topics import ORDER, Section, Topic
from pages.shared import queue
from pages.shared.hosts import ROLE_WORD

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "pages" / "help"
ALL = topics.topics()
MARKS = re.compile(r"\*\*[^*]+\*\*|`[^`]+`|\{\{[a-z]+\}\}|" + "|".join(p.pattern for p in (BUTTON, LINK, SETTING)))


def read(name: str, section: str | None = None) -> str:
    """Return what somebody reads in a topic, or in one section of it."""
    parts = [one.html(Settings()) for one in ALL[name].sections if section in (None, one.anchor)]
    assert parts, f"{name} has no section {section}"
    return text_of(" ".join(parts))


def sections() -> list[tuple[Topic, Section]]:
    """List every section, those about pages to come too."""
    every = frozenset(re.findall(r"\{page: (\w+)\}", "".join(path.read_text("utf-8") for path in HERE.glob("*.md"))))
    parsed = [topics.parsed(name, (HERE / f"{name}.md").read_text("utf-8"), every) for name in ORDER]
    return [(topic, section) for topic in parsed for section in topic.sections]


# --- everything is told


def test_every_status_is_told_with_what_it_is_in_both_vocabularies() -> None:
    docs = facts.documented(Status)
    table = read("statuses", "statuses")
    words = read("statuses", "words")
    for status in Status:
        assert docs[status] in table
        assert f"{status} {docs[status]} {queue_word(status, status is not Status.NEW, False)}" in table
        assert status in words
    assert PAUSED in table


def test_every_transition_is_told_with_who_fires_it() -> None:
    told = read("statuses", "transitions")
    for edge in TRANSITIONS:
        assert facts.step(edge.event) in told
        assert edge.fired_by in told


def test_the_chart_draws_every_arrow_of_the_table_and_no_other() -> None:
    drawn = set()
    for event, source, target in re.findall(r"data-event='([^']+)' data-from='([^']*)' data-to='([^']+)'", chart.svg()):
        drawn |= {(one, source, target) for one in event.split()}
    table = {
        (edge.event, source, edge.target)
        for edge in TRANSITIONS
        for source in edge.sources or ("",)
        if edge.target is not None and edge.target != source
    }
    assert drawn == {(event, str(source), str(target)) for event, source, target in table}
    assert [f"data-status='{status}'" in chart.svg() for status in Status] == [True] * len(Status)


def test_every_place_in_the_chart_is_a_status_and_every_way_an_arrow() -> None:
    """So that nothing is left behind when the table changes."""
    assert set(chart.PLACES) == set(Status)
    assert set(chart.WAYS) <= {(source, target) for _, source, target in chart.arrows()}


def test_every_reason_is_told_with_its_words_and_what_to_do() -> None:
    assert set(facts.REASON_ADVICE) == set(REASON_WORDS) >= set(Reason)
    told = read("statuses", "reasons")
    for name, words in REASON_WORDS.items():
        assert f"{name} {words} " in told


def test_every_cause_is_told_with_what_it_is_and_what_to_do() -> None:
    assert set(facts.CAUSE_ADVICE) == set(Cause)
    assert set(queue.WHY) | {Cause.HOLD} == set(Cause)
    told = read("waits")
    for cause in Cause:
        assert f"{cause} {facts.documented(Cause)[cause]}" in told


def test_every_health_signal_has_its_section_that_says_what_one_sees_what_it_means_and_what_to_do() -> None:
    for name in ("steady", *ALARMS):
        told = read("troubleshooting", name.replace("_", "-"))
        assert re.search(r"You see .* It means .* Do ", told), name


def test_every_limit_of_the_verdict_is_told_with_the_value_in_force() -> None:
    limits = Limits.__dataclass_fields__
    assert set(facts.LIMIT_HELP) == set(limits)
    table = text_of(facts.table("limits", Settings({"pile_up_tasks": 77, "stuck_s": 5400})))
    assert "pile_up_tasks 77 " in table
    assert "stuck_s 1 h 30 min " in table
    used = set(SETTING.findall((HERE / "troubleshooting.md").read_text("utf-8")))
    assert set(limits) <= used


def test_every_setting_is_told() -> None:
    told = read("settings", "all")
    for setting in SETTINGS:
        assert f"{setting.name} {setting.shown(setting.default)} {setting.help}" in told


def test_a_secret_setting_is_never_told_and_no_other_value_that_only_admins_may_see() -> None:
    token = "0123456789abcdef-secret"
    settings = Settings({"metrics_token": token, "memory_limit_mb": 4321})
    every = "".join(articles.article(topic, settings) for topic in ALL.values())
    assert token not in every
    assert "4321" not in every
    with pytest.raises(ValueError, match="secret"):
        markup.inline("{metrics_token}", settings)


def test_every_role_and_right_is_told_as_the_table_has_it() -> None:
    assert set(facts.RIGHT_DOES) == set(Right)
    assert set(facts.SCOPES) == set(Role)
    html = facts.table("roles", Settings())
    for right in Right:
        row = re.search(rf"<tr><td[^>]*>{re.escape(facts.RIGHT_DOES[right])}</td>(.*?)</tr>", html)
        assert row
        ticks = [cell == "✓" for cell in re.findall("<td[^>]*>(.)</td>", row[1])]
        assert ticks == [role in ROLES_WITH[right] for role in Role]
    for label in ROLE_LABEL.values():
        assert label in html


def test_every_task_type_service_tab_outcome_column_and_drill_is_told() -> None:
    assert set(facts.OUTCOMES) == set(Outcome)
    assert set(facts.SERVICE_DOES) == set(ROLE_WORD)
    assert set(facts.COLUMN_HELP) == {column["id"] for column in queue.COLUMNS}
    for kind in Kind:
        assert f"{KIND_LABEL[kind]} {kind} " in read("tasks", "types")
    for tab in Tab:
        assert tab in read("tasks", "tabs")
    for word in ROLE_WORD.values():
        assert word.capitalize() in read("services")
    for outcome in Outcome:
        assert outcome in read("statuses", "outcomes")
    for column in queue.COLUMNS:
        assert column["label"] in read("active", "columns")
    for drill in DRILLS:
        assert drill.help in read("drills").lower()
    for field in facts.FIELDS:
        assert f"{field.key}:" in read("tasks", "filter")


def test_every_table_stands_in_some_topic() -> None:
    text = "".join(path.read_text("utf-8") for path in HERE.glob("*.md"))
    assert set(re.findall(r"\{\{([a-z]+)\}\}", text)) == {*facts.TABLES, "chart"}


def test_every_file_is_a_topic_and_every_topic_has_a_file() -> None:
    assert sorted(path.stem for path in HERE.glob("*.md")) == sorted(ORDER)


# --- what is told is there


@cache
def labels() -> frozenset[str]:
    """Collect every text in pages, with … for what varies in it; of scripts of components, each text in them."""
    found: set[str] = set()
    for path in ROOT.glob("pages/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))) if path.parent != HERE else ():
            if isinstance(node, ast.JoinedStr):
                said = "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
                found |= {re.sub(r"…(.*…)?", "…", said), *re.findall(r">([^<>]+)</button>", said)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value, *re.findall(r"'([^'\n]*)'", node.value), *re.findall(r">([^<>]+)</", node.value)}
    return frozenset(found)


@pytest.mark.parametrize("name", ORDER)
def test_every_button_that_help_names_stands_on_a_page_by_that_very_name(name: str) -> None:
    for section in ALL[name].sections:
        for label in BUTTON.findall("\n".join(section.lines)):
            assert label in labels(), f"{name}.md names the button “{label}”; no page has it"


def test_a_button_that_no_page_has_would_be_found_out() -> None:
    assert "Cancel …" in labels()
    assert "Sign out" in labels()
    assert "Copy link" in labels()
    assert "Abort …" not in labels()


@pytest.mark.parametrize("name", ORDER)
def test_every_link_leads_to_a_topic_a_section_or_a_page_that_is_there(name: str) -> None:
    anchors = {topic.name: {section.anchor for section in topic.sections} for topic in ALL.values()}
    lines = [line for section in ALL[name].sections for line in section.lines]
    advice = [*facts.REASON_ADVICE.values(), *facts.CAUSE_ADVICE.values()] if name in ("statuses", "waits") else []
    for _, target, section in LINK.findall("\n".join([*lines, *advice])):
        if target.startswith("page:"):
            assert target.removeprefix("page:") in topics.scripts(), f"{name}: there is no page {target}"
        else:
            assert target in ORDER, f"{name}: there is no topic {target}"
            assert section in anchors[target], f"{name}: {target} has no section {section}"


def test_every_page_of_the_menu_has_its_topic_and_the_address_that_help_links_to() -> None:
    source = (ROOT / "pages" / "router.py").read_text("utf-8")
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Entry"]
    assert calls
    for call in calls:
        title, script, *rest = [ast.literal_eval(argument) for argument in call.args]
        told = {word.arg: word.value for word in call.keywords}
        path = rest[0] if rest else ast.literal_eval(told["path"]) if "path" in told else ""
        stem = Path(script).stem
        if title == "Help":
            continue
        assert "help" in told, f"{title} names no topic of Help"
        assert ast.literal_eval(told["help"]) in ORDER
        assert markup.PAGES.get(stem, stem).removeprefix("./") == path


def test_settings_that_are_named_in_a_line_are_there() -> None:
    for topic, section in sections():
        for name in SETTING.findall(re.sub(r"\{\{[a-z]+\}\}|`[^`]+`", "", "\n".join(section.lines))):
            try:
                markup.worded(Settings(), name)
            except NotFound as error:
                pytest.fail(f"{topic.name}: {error}")


def test_topics_hold_no_marks_but_those_that_are_made_into_something() -> None:
    for topic, section in sections():
        for line in section.lines:
            bare = MARKS.sub("", line)
            assert not re.search(r"[*`{}\[\]<>|]|^#", bare), f"{topic.name}: “{line}”"


def test_topics_have_short_lines_of_about_and_no_two_sections_of_one_anchor() -> None:
    for topic in ALL.values():
        assert topic.title
        assert 20 < len(topic.about) < 110
        anchors = [section.anchor for section in topic.sections]
        assert len(set(anchors)) == len(anchors)


def test_every_mark_beside_figures_and_titles_leads_to_a_section_that_there_is() -> None:
    pages = Path(topics.__file__).parents[1]
    written = "\n".join(path.read_text("utf-8") for path in pages.glob("*/*.py"))
    found = set(re.findall(rf"""["']((?:{'|'.join(ORDER)})[.][a-z-]+)["']""", written))
    found -= {"holds.show"}  # a button's key
    assert {"tasks.filter", "active.figures", "services.states", "troubleshooting.stuck"} <= found
    assert found <= {f"{topic.name}.{section.anchor}" for topic, section in sections()}


def test_a_section_about_a_page_that_is_to_come_waits_for_it() -> None:
    text = "# T\nAbout.\n\nIntro.\n\n## One {#one} {page: later}\nOne.\n\n## Two {#two}\nTwo.\n"
    assert [s.anchor for s in topics.parsed("t", text, frozenset()).sections] == ["", "two"]
    assert [s.anchor for s in topics.parsed("t", text, frozenset({"later"})).sections] == ["", "one", "two"]


# --- markup and search


def test_text_is_no_markup_but_for_the_marks() -> None:
    html = markup.inline("<img src=x onerror=y> **bold <i>** `a <b> **c**` [[Go <x>]] {stuck_s}", Settings())
    assert "<img" not in html
    assert "<i>" not in html
    assert "<b>bold &lt;i&gt;</b>" in html
    assert "<code>a &lt;b&gt; **c**</code>" in html
    assert html.endswith("2\u00a0h")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "'\" onmouseover=x", "&amp;", "]]>", "\\", "(?", "𝕊"])
def test_a_search_for_anything_shows_it_as_text(text: str) -> None:
    html = articles.results(text, Settings())
    assert "<script" not in html
    assert "Search" in html
    assert text in text_of(html) or "Nothing is found" not in html


def test_a_search_finds_words_of_prose_and_of_tables_and_says_where() -> None:
    def places(text: str) -> list[tuple[str, str]]:
        return [(found.topic.name, found.section.anchor) for found in topics.search(text, Settings())]

    assert ("statuses", "reasons") in places("stop_not_confirmed")
    assert ("schedules", "clocks") in places("autumn")
    assert places("CLOCKS   change")[0][0] == "schedules"  # neither case nor space matters
    assert ("services", "lost") in places("lost heard machine")  # of no such phrase, the words
    assert places("xyzzy") == []


def test_what_a_search_found_stands_among_its_neighbours() -> None:
    found = next(iter(topics.search("put back into the queue, keeps", Settings())))
    before, words, after = found.around
    assert words == "put back into the queue, keeps"
    assert before.endswith("What ran there is ")
    assert after.startswith(" its place in line")
