"""What a command must be made of before anybody looks at what it asks for: types, lengths, sizes. Pure.

The core takes the values of a command to be what `messages` declares. One that is not (a text for a number, a number
that no column holds, half a megabyte for a name) could stop the engine or block the ledger for good, whoever sent it;
so it is refused as a whole, and nothing is changed. What values mean, and which of them are possible, is the core's to
say; how long the texts of a view may be, `views` says.
"""

from __future__ import annotations

import types
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import Invalid
from .ledger import TaskRow, json_text
from .messages import Action, Command, KeepView

MOST = 100_000  #: things of one command
LONGEST = 4_000  #: characters of a text, where nothing is said of it
LONGEST_REASON = 1_000
LONGEST_NAME = 400  #: of a name, a target, a scope: of what stands in a column
LONGEST_DETAIL = 64_000  #: of what is kept as JSON
_SHORT = frozenset({
    "actor", "business", "created_by", "initiator", "name", "owner", "report", "request_id", "requested_service",
    "role", "scope", "service", "site", "source", "target", "target_kind", "user", "verb", "widget", "zone",
})  # fmt: skip
_INT64 = 1 << 63

Check = Callable[[str, Any], None]
"""Raises Invalid, which names what is checked, for a value that is not as declared."""


def check(command: Command) -> None:
    """Raise Invalid for a command that is not as `messages` declares it."""
    check_action = _ACTIONS.get(type(command.action))
    if check_action is None:
        raise Invalid(f"There is no command {type(command.action).__name__}")
    _name("request id", command.request_id)
    _name("actor", command.actor)
    check_action("", command.action)


def likeness(name: str) -> str:
    """Write a name as people read it: whose names are one here can't be told apart, whatever they are made of."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE)


_ALIKE = str.maketrans("аеорсухіѕјһԁԛԝкмнтвɡıοανρτυικ", "aeopcyxisjhdqwkmhtbgioavptuik")  # letters of other scripts


def _wrong(what: str, value: object, wanted: str) -> Invalid:
    shown = ascii(value)[:60] if isinstance(value, str | int | float | None) else type(value).__name__
    return Invalid(f"The {what or 'command'} is {shown}; it must be {wanted}")


def _text(longest: int) -> Check:
    def check_text(what: str, value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong(what, value, "a text")
        if len(value) > longest:
            raise Invalid(f"The {what} has at most {longest:,} characters; this one has {len(value):,}")
        _check_signs(f"The {what}", value)

    return check_text


def _check_signs(what: str, text: str) -> None:
    if text.isprintable():
        return
    if not _storable(text):
        raise Invalid(f"{what} has a character that can't be stored; take it out")
    odd = next(filter(misleads, text), None)
    if odd is not None:
        raise Invalid(
            f"{what} has a character that steers how text is shown and is not seen itself (U+{ord(odd):04X}); "
            "take it out"
        )


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def misleads(sign: str) -> bool:
    """Tell whether a sign could make a text read as another: it breaks a line, turns its direction, or is a control.

    Marks that scripts need, such as joiners, are none of these; nor are a tab and the end of a line of a longer text.
    """
    return sign in _MISLEADING or (unicodedata.category(sign) == "Cc" and sign not in "\t\n")


_MISLEADING = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


_name, _reason, _any_text = _text(LONGEST_NAME), _text(LONGEST_REASON), _text(LONGEST)


def _of_view(what: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _wrong(what, value, "a text")
    _check_signs(f"The {what} of a view", value)


def _number(what: str, value: Any) -> None:
    if type(value) is not int:
        raise _wrong(what, value, "a whole number")
    if not -_INT64 <= value < _INT64:
        raise Invalid(f"The {what} is beyond what can be stored")


def _yes_or_no(what: str, value: Any) -> None:
    if value is not True and value is not False:
        raise _wrong(what, value, "yes or no")


def _anything(what: str, value: Any) -> None:
    pass


def _one_of_a_kind(kind: type[Enum]) -> Check:
    def check_kind(what: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise _wrong(what, value, f"one of {', '.join(str(each.value) for each in kind)}")

    return check_kind


def _list(of: Check) -> Check:
    def check_list(what: str, value: Any) -> None:
        if not isinstance(value, list | tuple):
            raise _wrong(what, value, "a list")
        if len(value) > MOST:
            raise Invalid(f"A command is about at most {MOST:,} {what}; this one has {len(value):,}")
        for each in value:
            of(what, each)

    return check_list


def _detail(what: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(what, value, "named values")
    try:
        written = json_text(dict(value))
    except (TypeError, ValueError, RecursionError):
        raise Invalid(f"The {what} has a value that can't be stored") from None
    if len(written) > LONGEST_DETAIL:
        raise Invalid(f"The {what} can't be stored: it has more than {LONGEST_DETAIL:,} characters")
    if "\\u0000" in written or not _storable(written):
        raise Invalid(f"The {what} has a character that can't be stored; take it out")
    if any(map(_MISLEADING.__contains__, written)):
        _check_signs(f"The {what}", written)


def _changes(what: str, value: Any) -> None:
    _detail(what, value)
    for name, changed in value.items():
        _any_text(what, name)
        if isinstance(changed, str):
            (_name if name in _SHORT else _any_text)(name, changed)
        elif changed is not None:
            _number(name, changed)


def _rows(what: str, value: Any) -> None:
    """Rows of tasks that have ended stand under their own ids: else one would be changed by another one's rights."""
    if not isinstance(value, Mapping):
        raise _wrong(what, value, "rows by task")
    for task_id, row in value.items():
        if not isinstance(row, TaskRow) or row.task_id != task_id:
            raise _wrong(what, row, "the row of the task that it stands for")


def _optional(of: Check) -> Check:
    def check_optional(what: str, value: Any) -> None:
        if value is not None:
            of(what, value)

    return check_optional


def _made_of(kind: type) -> Check:
    """Make the check of a type of `messages`, field by field."""
    hints = get_type_hints(kind)  # in the order of the fields
    checks = [(name, name.replace("_", " "), _checked(kind, name, hint)) for name, hint in hints.items()]

    def check_fields(what: str, value: Any) -> None:
        if type(value) is not kind:
            raise _wrong(what, value, f"a {kind.__name__}")
        for name, said, check_one in checks:
            check_one(said, getattr(value, name))

    def check_tuple(what: str, value: Any) -> None:
        if type(value) is not kind:
            raise _wrong(what, value, f"a {kind.__name__}")
        row: Any = value
        for each, (_, said, check_one) in zip(row, checks, strict=True):
            check_one(said, each)

    return check_fields if is_dataclass(kind) else check_tuple


def _checked(kind: type, name: str, hint: Any) -> Check:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return _optional(_checked(kind, name, inner))
    if origin is Sequence or getattr(origin, "__name__", "") == "Sequence":
        return _list(_checked(kind, name, args[0]))
    if name == "finished":
        return _rows
    if name == "changes":
        return _changes
    if origin is not None:
        return _detail
    if hint is str:
        if kind is KeepView:
            return _of_view
        return _reason if name == "reason" else _name if name in _SHORT else _any_text
    simple: dict[Any, Check] = {int: _number, bool: _yes_or_no, Any: _anything, object: _anything}
    if hint in simple:
        return simple[hint]
    return _one_of_a_kind(hint) if issubclass(hint, Enum) else _made_of(hint)


_ACTIONS: dict[type, Check] = {kind: _made_of(kind) for kind in get_args(Action)}
