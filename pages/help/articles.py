"""What Help shows, as HTML: the list of topics, a topic, the contents, what a search has found."""

from html import escape

from engine.settings import Settings

from .markup import address
from .topics import GROUPS, Topic, search, topics

MOST = 40  #: sections that a search shows


def listed(chosen: str) -> str:
    """List the topics, the chosen one marked."""
    known = topics()
    parts = []
    for group, names in GROUPS.items():
        here = {name: " aria-current='page'" * (name == chosen) for name in names}
        links = "".join(f"<a {address(name)}{here[name]}>{escape(_short(known[name].title))}</a>" for name in names)
        parts.append(f"<h2>{escape(group)}</h2>{links}")
    return f"<details><summary>All topics</summary>{''.join(parts)}</details>"


def _short(title: str) -> str:
    """Leave out of a title what stands in brackets or behind a colon."""
    return title.partition(" (")[0].partition(":")[0]


def contents(said: str = "") -> str:
    """Say what there is to read."""
    said = said or "What Drainboard shows, what it means, and what to do."
    parts = [f"<h1>Help</h1><p class='about'>{escape(said)}</p>"]
    for group, names in GROUPS.items():
        items = "".join(
            f"<li><a {address(name)}>{escape(topic.title)}</a><small>{escape(topic.about)}</small></li>"
            for name, topic in ((name, topics()[name]) for name in names)
        )
        parts.append(f"<h3>{escape(group)}</h3><ul class='topics'>{items}</ul>")
    return "".join(parts)


def article(topic: Topic, settings: Settings) -> str:
    """Write a topic out, its sections listed first."""
    name = topic.name
    parts = [f"<h1>{escape(topic.title)}</h1><p class='about'>{escape(topic.about)}</p>"]
    headed = [section for section in topic.sections if section.heading]
    if len(headed) > 2:
        links = "".join(f"<a {address(name, one.anchor)}>{escape(_short(one.heading))}</a>" for one in headed)
        parts.append(f"<div class='toc'>{links}</div>")
    for section in topic.sections:
        if section.heading:
            parts.append(f"<h3 id='{section.anchor}'>{escape(section.heading)}</h3>")
        parts.append(section.html(settings))
    return "".join(parts)


def results(text: str, settings: Settings) -> str:
    """List the sections in which a text is found."""
    found = list(search(text, settings))
    n = "1 section" if len(found) == 1 else f"{len(found):,} sections"
    said = f"{n} with “{text}”" if found else f"Nothing is found of “{text}”. Try one word of it."
    parts = [f"<h1>Search</h1><p class='about'>{escape(said)}</p>"]
    for one in found[:MOST]:
        before, words, after = map(escape, one.around)
        where = one.topic.title + (f" › {one.section.heading}" if one.section.heading else "")
        parts.append(
            f"<div class='found'><a {address(one.topic.name, one.section.anchor)}>{escape(where)}</a>"
            f"<small>{before}<mark>{words}</mark>{after}</small></div>"
        )
    if len(found) > MOST:
        parts.append(f"<p class='about'>And {len(found) - MOST:,} more; say more of what you look for.</p>")
    return "".join(parts)
