"""The little markup of Help's topics, made into HTML. Everything else in a text is shown as it is.

Within a line: `code`, **bold**, [[Button]] (by the very name that it has on its page, … for what varies),
[words](topic#section), [words](page:settings), and {name_of_a_setting}, which shows the value in force.
Lines: paragraphs, "- " and "1. " lists. A test sees that topics hold no marks but these.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape, unescape

from engine.settings import Settings, named
from engine.wording import Words

BUTTON = re.compile(r"\[\[([^\]]+)\]\]")
LINK = re.compile(r"\[([^\[\]]+)\]\(([a-z_:]*)(?:#([a-z-]+))?\)")
SETTING = re.compile(r"\{([a-z0-9_]+)\}")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ITEM = re.compile(r"(-|\d+\.) ")

PAGES = {"active": "./", "async_tasks": "async-tasks"}  #: a page's address, where it is not its script's name


def inline(text: str, settings: Settings | None = None) -> str:
    """Make a line's markup into HTML; without settings the names of settings stay."""
    kept: list[str] = []  # of code nothing else is marked up

    def keep(found: re.Match[str]) -> str:
        kept.append(f"<code>{found[1]}</code>")
        return f"\0{len(kept) - 1}\0"

    said = _CODE.sub(keep, escape(text, quote=False))
    said = BUTTON.sub(r"<span class='button'>\1</span>", said)
    said = LINK.sub(lambda found: f"<a {_address(found[2], found[3])}>{found[1]}</a>", said)
    said = _BOLD.sub(r"<b>\1</b>", said)
    if settings is not None:
        said = SETTING.sub(lambda found: worded(settings, found[1]), said)
    return re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], said)


def _address(target: str, section: str | None) -> str:
    """Write a link's attributes: a topic goes without loading the page anew, another page as any address does."""
    if target.startswith("page:"):
        script = target.removeprefix("page:")
        return f"href='{PAGES.get(script, script)}' target='_self' data-page='{script}'"
    return address(target, section or "")


def address(topic: str, section: str = "") -> str:
    """Write the attributes of a link to a topic's section."""
    where = f"{topic}.{section}" if section else topic
    return f"href='?topic={where}' data-topic='{where}'"


def worded(settings: Settings, name: str) -> str:
    """Word a setting's value in force, with its unit; raise ValueError where nobody may see it."""
    setting = named(name)
    if setting.secret:
        raise ValueError(f"{name} is secret")
    if name.endswith("_s"):
        return Words.span(settings.float(name)).replace(" ", "\u00a0")
    unit = {"ms": "\u202fms", "mb": "\u202fMiB", "days": "\u00a0days"}.get(name.rpartition("_")[2], "")
    value = settings[name]
    return f"{value:g}{unit}" if isinstance(value, float) else f"{escape(settings.shown(name))}{unit}"


def blocks(lines: Iterable[str], table: Callable[[str], str], settings: Settings) -> str:
    """Make lines into paragraphs, lists and tables; `table` gives what {{name}} on a line of its own stands for."""
    made: list[str] = []
    for paragraph in "\n".join(lines).split("\n\n"):
        text = paragraph.strip()
        if text.startswith("{{"):
            made.append(table(text.strip("{}")))
        elif _ITEM.match(text):
            tag = "ul" if text.startswith("-") else "ol"
            items = [" ".join(item.split()) for item in re.split(r"^(?:-|\d+\.) ", text, flags=re.MULTILINE)[1:]]
            made.append(f"<{tag}>{''.join(f'<li>{inline(item, settings)}</li>' for item in items)}</{tag}>")
        elif text:
            made.append(f"<p>{inline(' '.join(text.split()), settings)}</p>")
    return "".join(made)


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], name: str) -> str:
    """Make a table of cells that are HTML already. On a phone its rows become blocks, but not those of a matrix, whose
    first head is empty.
    """
    size = "wide few" if len(head) == 2 else "wide" if not head[0] else "wide stack"
    titles = "".join(f"<th scope='col'>{title}</th>" for title in head)
    lines = (zip(head, row, strict=True) for row in rows)
    cells = "".join(
        f"<tr>{''.join(f'<td data-head={title!r}>{cell}</td>' for title, cell in line)}</tr>" for line in lines
    )
    return f"<div class='{size}' role='region' aria-label='{name}'><table><tr>{titles}</tr>{cells}</table></div>"


def text_of(html: str) -> str:
    """Return what somebody reads of a piece of HTML, on one line."""
    spaced = re.sub(r"</?(?:p|li|ul|ol|td|th|tr|table|div|h2|h3|svg|text)[^>]*>", " ", html)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", spaced)).split())
