"""The filter language: one line that says which tasks are meant; one for grids, counts, bulk actions and views. Pure.

    status:Active,Paused age:>2h -type:query "front door" (user:ann OR user:bob)

Terms side by side must all hold; OR binds weaker, parentheses group, `-` or NOT turns a term or a group around. A term
is `key:value`, with several values by comma, or a text to look for. Quotes take blanks and signs as they are, within
them a backslash does so for a quote; `*` outside of them stands for any text; `none` and `any` ask whether there is a
value. Instants are told back from now (-24h), as dates (2026-11-20, today) or as clock times of one (2026-11-20T14:30),
in the reader's zone; durations as 90s, 10m, 2h, 3d, 1w or 1h30m; both, and numbers, with >, >=, <, <= or as a..b.

A filter is an immutable tree. `Filter.text` writes it so that it reads as the same tree; `Filter.sql` and `Filter.expr`
find the same tasks, since both come from the same conditions. Reading takes time in proportion to the text; what is
longer or deeper than anybody would write is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import polars as pl

from . import conditions as c
from .conditions import WILD, Condition, folded
from .errors import InvalidFilter, InvalidSchedule
from .ledger import NUMBER_BITS
from .lifecycle import (
    KIND_LABEL,
    PAUSED,
    STATUS,
    Cause,
    Kind,
    Outcome,
    Reason,
    Status,
    Tab,
    queue_word,
    tab,
)
from .ranges import Moment, Range, read_range
from .recurrence import check_zone

LONGEST = 4_000  #: characters
MOST_TERMS = 200
MOST_VALUES = 200  #: of one term
MOST_STARS = 20  #: of one value: each may be tried at every place of a text
DEEPEST = 50  #: parentheses and negations within each other

# --- the keys


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the language: what it looks at, how its values are written, and which there are, where these are known.

    `sort` is word, text (found within), closed, instant, span, number or id.
    """

    key: str
    sort: str
    columns: tuple[str, ...]
    help: str
    also: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Tell whether there may be no value, so that none and any can be asked for."""
        return self.sort != "span" and all(column not in c.NEVER_EMPTY for column in self.columns)


def _queue_words() -> dict[str, tuple[tuple[str, bool | None], ...]]:
    """Tell which shown statuses each word of queue and logs covers, and whether the task must be due."""
    words: dict[str, list[tuple[str, bool | None]]] = {}
    for status in Status:
        for due in (True, False) if status is Status.NEW else (None,):
            word = queue_word(status, due is not False, False)
            words.setdefault(word, []).append((status.value, due))
    return {word: tuple(found) for word, found in words.items()}


_QUEUE_WORDS = _queue_words()
_SHOWN = {**{word: ((word, None),) for word in (*STATUS, PAUSED)}, **{
    word: found for word, found in _QUEUE_WORDS.items() if word not in STATUS}}  # fmt: skip
_TABS = tuple(t.value for t in Tab if t is not Tab.RECURRING)
_TYPES = {**{kind.value: kind for kind in Kind}, **{label.lower(): kind for kind, label in KIND_LABEL.items()}}

FIELDS: tuple[Field, ...] = (
    Field("status", "closed", ("shown_status", "queued_at"), "the status, in the words of either vocabulary",
          values=tuple(_SHOWN)),
    Field("tab", "closed", ("status", "queued_at"), "the tab that it is in", values=_TABS),
    Field("type", "closed", ("kind",), "the task type", ("kind",), tuple(kind.value for kind in Kind)),
    Field("user", "word", ("owner",), "the user behind it", ("owner",)),
    Field("target", "word", ("target",), "what it works on"),
    Field("scope", "word", ("scope",), "what it covers"),
    Field("site", "word", ("site",), "the site"),
    Field("service", "word", ("service", "processor"), "the host that works or worked on it", ("host",)),
    Field("initiator", "word", ("initiator",), "who caused it: a user, Schedule or System"),
    Field("by", "word", ("created_by",), "who submitted it"),
    Field("name", "text", ("name",), "its name has this within"),
    Field("outcome", "closed", ("outcome",), "how it ended", values=tuple(Outcome)),
    Field("reason", "closed", ("reason",), "why it ended so", values=tuple(Reason)),
    Field("error", "text", ("error",), "its error has this within"),
    Field("cause", "closed", ("cause",), "what it waits for", values=tuple(Cause)),
    Field("held", "id", ("held_by",), "whether a hold keeps it, or which", values=("yes", "no")),
    Field("age", "span", ("queued_at",), "how long ago it entered the queue"),
    Field("wait", "span", ("wait_s", "queued_at", "started_at", "finished_at"), "how long it waited, or waits so far"),
    Field("run", "span", ("run_s",), "how long it was collected"),
    Field("process", "span", ("process_s",), "how long it was processed"),
    Field("duration", "span", ("started_at", "finished_at"), "from its start to its end, or until now"),
    Field("created", "instant", ("created_at",), "when it was submitted"),
    Field("queued", "instant", ("queued_at",), "when it entered the queue", ("start",)),
    Field("due", "instant", ("due_at",), "when it is to start"),
    Field("started", "instant", ("started_at",), "when it was first claimed"),
    Field("collected", "instant", ("collected_at",), "when it was collected"),
    Field("finished", "instant", ("finished_at",), "when it ended", ("ended",)),
    Field("id", "id", ("number", "task_id"), "its number, as in Scan #123", ("number",)),
    Field("schedule", "id", ("schedule_id",), "the number of its schedule"),
    Field("priority", "number", ("priority",), "0 to 9, higher first"),
    Field("attempt", "number", ("attempt",), "how often its service was lost"),
    Field("errors", "number", ("errors",), "how many errors processing counted"),
    Field("hidden", "closed", ("hidden",), "whether it is hidden from lists", values=("yes", "no")),
    Field("source", "word", ("source",), "live, demo, or the import it came from"),
    Field("business", "word", ("business",), "the business"),
)  # fmt: skip

_SEARCHED = ("name", "target", "scope", "owner", "initiator", "site")
_HOW = {
    "instant": "write -24h, 2026-11-20, today, >-2h or -7d..-1d",
    "span": "write >90s, <10m, 1h30m..2h or <=3d",
    "number": "write 5, >5 or 2..7",
    "id": "write a number",
}


@dataclass(frozen=True, eq=False)
class Language:
    """What rows of some table can be asked for: its keys, and where a text without one is looked for."""

    fields: tuple[Field, ...]
    somewhere: Callable[[str], Condition]

    @cached_property
    def names(self) -> Mapping[str, Field]:
        return {name: field for field in self.fields for name in (field.key, *field.also)}


# --- the values

NONE, ANY = "none", "any"


Value = str | Range
"""A pattern (with WILD for `*`), a word of the program, or a range; `none` and `any` behind a mark ask for a value."""

_MARK = "\1"

# --- the tree


@dataclass(frozen=True, slots=True)
class Term:
    """A key with its values, any of which may hold."""

    key: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.key}:{','.join(_value_text(value) for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text to look for, in what a task is called."""

    pattern: str

    def __str__(self) -> str:
        return _pattern_text(self.pattern)


@dataclass(frozen=True, slots=True)
class Negation:
    part: Node

    def __str__(self) -> str:
        return f"-{_grouped(self.part)}"


@dataclass(frozen=True, slots=True)
class Both:
    """All of two or more."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(_grouped(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Any of two or more."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(_grouped(part) for part in self.parts)


Node = Term | Text | Negation | Both | Either


def _grouped(node: Node) -> str:
    return f"({node})" if isinstance(node, Both | Either) else str(node)


@dataclass(frozen=True)
class Filter:
    """Which tasks are meant. Without a tree, all of them."""

    tree: Node | None = None
    zone: str = "UTC"  #: of dates and clock times
    language: Language | None = None  #: None: that of tasks

    @cached_property
    def text(self) -> str:
        """The filter in the language, so that it reads as the same tree."""
        return "" if self.tree is None else str(self.tree)

    @cached_property
    def relative(self) -> bool:
        """Whether it finds other tasks as time passes."""
        return any(
            term.key in ("age", "wait", "duration")
            or any(isinstance(end, Moment) and end.relative for v in term.values if isinstance(v, Range)
                   for end in (v.low, v.high))
            for term in _terms(self.tree)
        )  # fmt: skip

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys that it names."""
        return frozenset(term.key for term in _terms(self.tree))

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns of the table task that it reads."""
        return c.columns_of(self.condition(0))

    def condition(self, now: int) -> Condition:
        """Say what it comes down to at an instant (µs)."""
        return c.All() if self.tree is None else _condition(self.tree, now, self.zone, self.language or TASKS)

    def sql(self, now: int) -> tuple[str, dict[str, object]]:
        """Write it as an SQL test over the table task, and the parameters in that: $f0, $f1 …"""
        to = c.Parameters()
        return self.condition(now).sql(to), to.given

    def expr(self, now: int) -> pl.Expr:
        """Write it for a Polars frame of the table's columns: instants Datetime("us"), durations Float64 seconds."""
        return self.condition(now).expr()

    def shown_sql(self, now: int, business: str | None = None, sites: Sequence[str] = ()) -> str:
        """Write it as a query that could be run as it stands."""
        to = c.Literals()
        parts = [f"business = {to.text(business)}"] if business is not None else []
        parts += [f"site in ({', '.join(map(to.text, sites))})"] if sites else []
        parts += [self.condition(now).sql(to)] if self.tree is not None else []
        where = "\n  and ".join(parts) or "true"
        return f"select *\nfrom task\nwhere {where}\norder by created_at desc"


def both(one: Filter, other: Filter) -> Filter:
    """Make the filter that finds what two of one zone find both; what is left of an empty one is the other."""
    if one.tree is None or other.tree is None:
        return Filter(one.tree or other.tree, other.zone, other.language)
    return Filter(Both((one.tree, other.tree)), other.zone, other.language)


def _terms(node: Node | None) -> Iterable[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, Negation):
        yield from _terms(node.part)
    elif isinstance(node, Both | Either):
        for part in node.parts:
            yield from _terms(part)


# --- reading


def parse(text: str, zone: str = "UTC", language: Language | None = None) -> Filter:
    """Read a filter, of tasks unless another language is given.

    Raise InvalidFilter, which says what is wrong, where, and how it would be right.
    """
    if len(text) > LONGEST:
        raise InvalidFilter(f"A filter has at most {LONGEST:,} characters; this has {len(text):,}", at=LONGEST)
    for at, sign in enumerate(text):
        if sign in (WILD, _MARK) or 0xD800 <= ord(sign) <= 0xDFFF:
            raise InvalidFilter("A filter can't have such a character; take it out", at=at, length=1)
    try:
        check_zone(zone)
    except InvalidSchedule as error:
        raise InvalidFilter(str(error), length=max(len(text), 1)) from None
    found = Filter(_Reader(text, (language or TASKS).names).read(), zone, language)
    if len(found.text) > LONGEST:
        raise InvalidFilter(f"Written out, this filter has more than {LONGEST:,} characters", length=len(text))
    return found


_ENDS = re.compile(r"[\s()]")


class _Reader:
    """Reads a text from left to right, each character once."""

    def __init__(self, text: str, fields: Mapping[str, Field]) -> None:
        self._text, self._at, self._terms = text, 0, 0
        self._fields = fields

    def read(self) -> Node | None:
        self._skip()
        if self._at == len(self._text):
            return None
        node = self._either(0)
        if self._at < len(self._text):
            raise self._fault("There is no parenthesis that this one closes; take it out", self._at)
        return node

    def _fault(self, said: str, at: int, length: int = 1) -> InvalidFilter:
        return InvalidFilter(said, at=at, length=length)

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _word(self, word: str) -> bool:
        """Take a word of the language, if it stands here by itself."""
        after = self._at + len(word)
        if not self._text.startswith(word, self._at):
            return False
        if after < len(self._text) and not _ENDS.match(self._text[after]):
            return False
        self._at = after
        self._skip()
        return True

    def _either(self, depth: int) -> Node:
        parts = [self._both(depth)]
        while True:
            at = self._at
            if not self._word("OR"):
                break
            if self._at == len(self._text) or self._text[self._at] == ")":
                raise self._fault("OR needs a term on its right", at, 2)
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] != ")":
            at = self._at
            if self._word("OR"):
                if not parts:
                    raise self._fault("OR needs a term on its left", at, 2)
                self._at = at
                break
            parts.append(self._unary(depth))
            self._skip()
        if not parts:
            said = "There is nothing within these parentheses; write a term, or take them out"
            raise self._fault(said, max(min(self._at, len(self._text)) - 1, 0), 2)
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _unary(self, depth: int) -> Node:
        at, sign = self._at, self._text[self._at]
        if depth > DEEPEST:
            raise self._fault(f"A filter is at most {DEEPEST} parentheses and negations deep", at)
        if sign == "-" or (sign == "N" and self._word("NOT")):
            if sign == "-":
                self._at += 1
            if self._at == len(self._text) or self._text[self._at].isspace() or self._text[self._at] == ")":
                raise self._fault("A negation needs a term right behind it, as in -type:query", at, self._at - at or 1)
            return Negation(self._unary(depth + 1))
        if sign == "(":
            self._at += 1
            self._skip()
            node = self._either(depth + 1)
            if self._at == len(self._text):
                raise self._fault("This parenthesis is not closed; add “)”", at)
            self._at += 1
            return node
        return self._term()

    def _term(self) -> Node:
        self._terms += 1
        at = self._at
        if self._terms > MOST_TERMS:
            raise self._fault(f"A filter has at most {MOST_TERMS} terms", at)
        first, quoted = self._pattern(":,")
        if self._at == len(self._text) or self._text[self._at] != ":" or quoted:
            while self._at < len(self._text) and not _ENDS.match(self._text[self._at]):
                piece = self._text[self._at]
                if piece in ":,":
                    self._at += 1
                    first += piece
                else:
                    first += self._pattern(":,")[0]
            return Text(folded(self._starred(first, at)))
        self._at += 1
        name = first.lower()
        field = self._fields.get(name)
        if field is None:
            near = get_close_matches(name, self._fields, n=1)
            hint = f"did you mean {near[0]}:?" if near else "quote it to look for it as a text"
            raise self._fault(f"There is no key “{first.replace(WILD, '*')}”; {hint}", at, max(len(first), 1))
        values: list[Value] = []
        while True:
            begin = self._at
            raw, quoted = self._pattern(",")
            if self._at == begin:
                raise self._fault(f"{field.key}: needs a value; {how(field)}", begin)
            values.append(_value(field, raw, quoted, begin, self._at - begin))
            if len(values) > MOST_VALUES:
                raise self._fault(f"A term has at most {MOST_VALUES} values", begin)
            if self._at == len(self._text) or self._text[self._at] != ",":
                break
            self._at += 1
        return Term(field.key, tuple(dict.fromkeys(values)))

    def _pattern(self, until: str) -> tuple[str, bool]:
        """Take a word: quoted pieces as they are, `*` elsewhere as WILD; tell whether any of it was quoted."""
        pieces: list[str] = []
        quoted, begin = False, self._at
        text, end = self._text, len(self._text)
        while self._at < end:
            sign = text[self._at]
            if sign == '"':
                pieces.append(self._quoted())
                quoted = True
            elif sign in until or _ENDS.match(sign):
                break
            else:
                pieces.append(WILD if sign == "*" else sign)
                self._at += 1
        return self._starred("".join(pieces), begin), quoted

    def _starred(self, raw: str, begin: int) -> str:
        """Take several stars in a row as one; refuse what has more of them than anybody would write."""
        pattern = re.sub(f"{WILD}+", WILD, raw)
        if pattern.count(WILD) > MOST_STARS:
            raise self._fault(f"A text has at most {MOST_STARS} of *", begin, self._at - begin)
        return pattern

    def _quoted(self) -> str:
        begin, pieces, text = self._at, list[str](), self._text
        self._at += 1
        while self._at < len(text):
            sign = text[self._at]
            self._at += 1
            if sign == '"':
                return "".join(pieces)
            if sign == "\\" and self._at < len(text):
                sign = text[self._at]
                self._at += 1
            pieces.append(sign)
        raise self._fault(f"The quote that begins at character {begin + 1} is not closed; add “\"”", begin)


def how(field: Field) -> str:
    """Say how a key's values are written."""
    if field.values:
        return f"there are {', '.join(map(_pattern_text, field.values))}"
    if field.key == "id":
        return "write a number, >500 or 100..200"
    return _HOW.get(field.sort, "write a word, or quote several")


def _value(field: Field, raw: str, quoted: bool, at: int, length: int) -> Value:
    """Read one value of a key."""
    if not quoted and raw.lower() in (NONE, ANY) and field.empty:
        return _MARK + raw.lower()

    def fault(said: str) -> InvalidFilter:
        return InvalidFilter(said, at=at, length=max(length, 1))

    shown = raw.replace(WILD, "*")
    if field.sort in ("word", "text"):
        if not raw:
            raise fault(f"{field.key}: needs a value; write a word, or {field.key}:none for those without")
        return folded(raw)
    if field.sort == "closed":
        known = {value.lower(): value for value in field.values}
        if field.key == "type":
            known |= {word: kind.value for word, kind in _TYPES.items()}
        if field.key == "outcome":
            known["cancelled"] = Outcome.STOPPED  # as queue and logs say it
        found = known.get(raw.lower()) or known.get(raw.lower().replace("_", " "))
        if found is None:
            near = get_close_matches(raw.lower(), known, n=1)
            hint = f"did you mean {_pattern_text(known[near[0]])}?" if near else how(field)
            raise fault(f"There is no {field.key} “{shown}”; {hint}")
        return found
    if field.sort == "id":
        if raw.lower() in field.values:
            return raw.lower()
        if field.key == "id" and (raw[:1] in ("<", ">") or ".." in raw):
            among = read_range(raw.replace("#", ""), "number")
            if among is not None:
                return str(among.low) if among.low == among.high else _forwards(among, fault)
        digits = raw.removeprefix("#")
        if not digits.isascii() or not digits.isdigit() or int(digits) >= 1 << 63:
            more = f" or {' or '.join(field.values)}" if field.values else ""
            raise fault(f"“{shown}” is no number; {how(field) if not more else _HOW['id']}{more}")
        return str(int(digits))
    found_range = read_range(raw, field.sort)
    if found_range is None:
        sort = {"instant": "time", "span": "duration"}.get(field.sort, field.sort)
        raise fault(f"“{shown}” is no {sort}; {_HOW[field.sort]}")
    return _forwards(found_range, fault)


def _forwards(found: Range, fault: Callable[[str], InvalidFilter]) -> Range:
    if found.turned:
        meant = Range(found.high, found.low, span=found.span)
        raise fault(f"“{found}” ends before it begins; did you mean {meant}?")
    return found


# --- writing

_PLAIN = re.compile(r'[^\s()",:*]+')


def _pattern_text(pattern: str) -> str:
    """Write a pattern so that it is read as the same: pieces quoted where they must be, WILD as `*`."""
    pieces = pattern.split(WILD)
    said = [piece if not piece or _PLAIN.fullmatch(piece) else _quote(piece) for piece in pieces]
    text = "*".join(said)
    if not text or text[0] == "-" or text in ("OR", "NOT") or (len(pieces) == 1 and text.lower() in (NONE, ANY)):
        text = "*".join([_quote(pieces[0]), *said[1:]])
    return text


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value_text(value: Value) -> str:
    if isinstance(value, Range):
        return str(value)
    return value[1:] if value.startswith(_MARK) else _pattern_text(value)


# --- meaning


def _condition(node: Node, now: int, zone: str, language: Language) -> Condition:
    match node:
        case Negation(part):
            return c.Not(_condition(part, now, zone, language))
        case Both(parts):
            return c.All(tuple(_condition(part, now, zone, language) for part in parts))
        case Either(parts):
            return c.AnyOf(tuple(_condition(part, now, zone, language) for part in parts))
        case Text(pattern):
            return language.somewhere(pattern)
        case Term(key, values):
            field = language.names[key]
            return _any(_test(field, value, now, zone) for value in values)


def _any(tests: Iterable[Condition]) -> Condition:
    """Join tests by or; several words of one column become one test."""
    found, words = list[Condition](), dict[str, list[str]]()
    for test in tests:
        if isinstance(test, c.OneOf) and isinstance(test.values[0], str):
            words.setdefault(test.column, []).extend(str(value) for value in test.values)
        else:
            found.append(test)
    found += [c.OneOf(column, tuple(dict.fromkeys(values))) for column, values in words.items()]
    return found[0] if len(found) == 1 else c.AnyOf(tuple(found))


def _somewhere(pattern: str) -> Condition:
    """Look for a text in what a task is called; Scan #12, #12 and 12 find it by its number, too."""
    tests: list[Condition] = [c.Like(column, pattern, whole=False) for column in _SEARCHED]
    numbered = re.fullmatch(r"(?:([^\W\d][^\d#]*?) ?)?#?([0-9]{1,12})", pattern)
    labels = {kind.value: folded(label) for kind, label in KIND_LABEL.items()}
    if numbered:
        word, number = numbered[1], int(numbered[2])
        kinds = tuple(kind for kind, label in labels.items() if word is None or label == word)
        if kinds:
            of = () if word is None else (c.OneOf("kind", kinds),)
            tests.append(c.All((c.OneOf("number", (number,)), *of)))
    elif WILD not in pattern and (kinds := tuple(kind for kind, label in labels.items() if pattern in label)):
        tests.append(c.OneOf("kind", kinds))
    return c.AnyOf(tuple(tests))


def _test(field: Field, value: Value, now: int, zone: str) -> Condition:
    if isinstance(value, Range):
        return _within(field, value, now, zone)
    if value.startswith(_MARK):
        empty = c.All(tuple(c.Empty(column) for column in field.columns))
        return empty if value[1:] == NONE else c.Not(empty)
    if field.sort in ("word", "text"):
        likes = tuple(c.Like(column, value, field.sort == "word") for column in field.columns)
        return likes[0] if len(likes) == 1 else c.AnyOf(likes)
    if field.key == "status":
        return _any(_shown(word, due) for word, due in _SHOWN[value])
    if field.key == "tab":
        return _any(
            _all_of(c.OneOf("status", (status.value,)), *_due(due))
            for status in Status
            for due in ((True, False) if status is Status.NEW else (None,))
            if tab(status, due is not False) == value
        )
    if field.key == "type":
        return c.OneOf("kind", (value,))
    if field.key == "hidden":
        return c.IsTrue("hidden") if value == "yes" else c.Not(c.IsTrue("hidden"))
    if field.key == "held":
        if value in ("yes", "no"):
            return c.Not(c.Empty("held_by")) if value == "yes" else c.Empty("held_by")
        return _numbered("held_by", int(value))
    if field.key == "id":
        return c.AnyOf((c.OneOf("number", (int(value),)), c.OneOf("task_id", (int(value),))))
    if field.key == "schedule":
        return _numbered("schedule_id", int(value))
    return c.OneOf(field.columns[0], (value,))


def _shown(word: str, due: bool | None) -> Condition:
    return _all_of(c.OneOf("shown_status", (word,)), *_due(due))


def _due(due: bool | None) -> tuple[Condition, ...]:
    if due is None:
        return ()
    return (c.Not(c.Empty("queued_at")),) if due else (c.Empty("queued_at"),)


def _all_of(*parts: Condition) -> Condition:
    return parts[0] if len(parts) == 1 else c.All(parts)


def _numbered(column: str, number: int) -> Condition:
    """Find an id, or the number within a business that it ends in."""
    if number >= 1 << NUMBER_BITS:
        return c.OneOf(column, (number,))
    return c.Ends(column, number)


def _within(field: Field, wanted: Range, now: int, zone: str) -> Condition:
    low, high = wanted.low, wanted.high
    if field.sort == "instant":
        tests = []
        if isinstance(low, Moment):
            begin, end = low.span(now, zone)
            tests.append(c.Compare(field.columns[0], ">=", begin if wanted.low_in or low.ago is not None else end))
        if isinstance(high, Moment):
            begin, end = high.span(now, zone)
            moment = high.ago is not None
            tests.append(c.Compare(field.columns[0], "<=" if moment else "<", end if wanted.high_in else begin))
        return _all_of(*tests)
    ends = [(">=" if wanted.low_in else ">", low), ("<=" if wanted.high_in else "<", high)]
    return _all_of(*(_measured(field, sign, end, now) for sign, end in ends if isinstance(end, int)))


_TURNED = {">=": "<=", ">": "<", "<=": ">=", "<": ">"}


def _measured(field: Field, sign: str, value: int, now: int) -> Condition:
    """Compare a number, or a duration that is stored or follows from instants and the present."""
    if field.key == "age":
        return c.Compare("queued_at", _TURNED[sign], now - value)
    if field.key == "wait":
        waits = c.All((c.Empty("started_at"), c.Empty("finished_at")))
        so_far = c.Compare("queued_at", _TURNED[sign], now - value)
        return c.AnyOf((c.All((waits, so_far)), c.All((c.Not(waits), c.Compare("wait_s", sign, value)))))
    if field.key == "duration":
        return c.Between("started_at", "finished_at", now, sign, value)
    return c.Compare(field.columns[0], sign, value)


TASKS = Language(FIELDS, _somewhere)
