"""What a filter comes down to: few conditions on columns of the table task, each both as SQL and for Polars. Pure.

A condition is true or false of every row, never unknown, so that its negation finds exactly the other rows. In SQL no
column of instants or words is wrapped, but in lower(): the store leaves out by its statistics what can't match, and
lowers each word of a dictionary once. Texts are compared as DuckDB's lower() has them, which Polars is made to follow:
İ becomes i, and Σ always σ. (Letters that Unicode has had only since 2024 may differ.) Patterns are matched by both
in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from .clock import SECOND
from .ledger import NUMBER_BITS

_NUMBER = (1 << NUMBER_BITS) - 1
WILD = "\0"  #: stands for any text within a pattern; no text of people's has it

NEVER_EMPTY = frozenset({
    "task_id", "number", "name", "kind", "business", "initiator", "owner", "created_by", "source", "status",
    "shown_status", "errors", "attempt", "priority", "version", "hidden", "created_at",
    "occurred_at", "actor", "action", "object_kind", "object_id", "result",
})  # fmt: skip


def folded(text: str) -> str:
    """Lower a text as the conditions' columns are."""
    return text.replace("İ", "i").replace("Σ", "σ").lower()


def _lowered(column: str) -> pl.Expr:
    return pl.col(column).str.replace_many(["İ", "Σ"], ["i", "σ"]).str.to_lowercase()


class Parameters:
    """Puts data beside the SQL, under names of its own."""

    def __init__(self) -> None:
        self.given: dict[str, object] = {}

    def _put(self, value: object) -> str:
        name = f"f{len(self.given)}"
        self.given[name] = value
        return f"${name}"

    def text(self, value: str) -> str:
        return self._put(value)

    def number(self, value: int) -> str:
        return f"{self._put(value)}::bigint"

    def seconds(self, microseconds: int) -> str:
        return f"{self._put(_seconds(microseconds))}::decimal(18,6)"

    def instant(self, microseconds: int) -> str:
        return f"make_timestamp({self.number(microseconds)})"


class Literals(Parameters):
    """Writes data into the SQL, quoted: to be read, and run elsewhere."""

    def text(self, value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    def number(self, value: int) -> str:
        return str(value)

    def seconds(self, microseconds: int) -> str:
        return _seconds(microseconds)

    def instant(self, microseconds: int) -> str:
        if not EARLIEST <= microseconds <= LATEST:
            return f"make_timestamp({microseconds})"
        at = datetime.fromtimestamp(microseconds // SECOND, UTC)
        fraction = f".{microseconds % SECOND:06}" if microseconds % SECOND else ""
        return f"timestamp '{at:%Y-%m-%d %H:%M:%S}{fraction}'"


EARLIEST, LATEST = -62_135_596_800 * SECOND, 253_402_300_799 * SECOND  #: the instants of the years 1 to 9999


def _seconds(microseconds: int) -> str:
    sign, rest = "-" if microseconds < 0 else "", abs(microseconds)
    return f"{sign}{rest // SECOND}.{rest % SECOND:06}"


@dataclass(frozen=True, slots=True)
class All:
    """All of some conditions; of none, always."""

    parts: tuple[Condition, ...] = ()

    def sql(self, to: Parameters) -> str:
        return f"({' and '.join(part.sql(to) for part in self.parts)})" if self.parts else "true"

    def expr(self) -> pl.Expr:
        return pl.all_horizontal([part.expr() for part in self.parts]) if self.parts else pl.lit(True)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Any of some conditions; of none, never."""

    parts: tuple[Condition, ...] = ()

    def sql(self, to: Parameters) -> str:
        return f"({' or '.join(part.sql(to) for part in self.parts)})" if self.parts else "false"

    def expr(self) -> pl.Expr:
        return pl.any_horizontal([part.expr() for part in self.parts]) if self.parts else pl.lit(False)


@dataclass(frozen=True, slots=True)
class Not:
    """What a condition does not find."""

    part: Condition

    def sql(self, to: Parameters) -> str:
        return f"(not {self.part.sql(to)})"

    def expr(self) -> pl.Expr:
        return ~self.part.expr()


@dataclass(frozen=True, slots=True)
class Empty:
    """A column has nothing."""

    column: str

    def sql(self, to: Parameters) -> str:
        return f"({self.column} is null)"

    def expr(self) -> pl.Expr:
        return pl.col(self.column).is_null()


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column has one of the program's own words, or numbers."""

    column: str
    values: tuple[str, ...] | tuple[int, ...]

    def sql(self, to: Parameters) -> str:
        listed = [to.text(value) if isinstance(value, str) else to.number(value) for value in self.values]
        test = f"{self.column} = {listed[0]}" if len(listed) == 1 else f"{self.column} in ({', '.join(listed)})"
        return _known(self.column, test)

    def expr(self) -> pl.Expr:
        return pl.col(self.column).is_in(pl.Series(list(self.values)).implode()).fill_null(False)


@dataclass(frozen=True, slots=True)
class Ends:
    """An id ends in a number: that within its business."""

    column: str
    number: int

    def sql(self, to: Parameters) -> str:
        return _known(self.column, f"({self.column} & {_NUMBER}) = {to.number(self.number)}")

    def expr(self) -> pl.Expr:
        return ((pl.col(self.column) & pl.lit(_NUMBER, pl.Int64)) == self.number).fill_null(False)


@dataclass(frozen=True, slots=True)
class IsTrue:
    """A column of yes and no says yes."""

    column: str

    def sql(self, to: Parameters) -> str:
        return _known(self.column, self.column)

    def expr(self) -> pl.Expr:
        return pl.col(self.column).fill_null(False)


@dataclass(frozen=True, slots=True)
class Like:
    """A text column is like a pattern, in any case: as a whole, or where it has it within."""

    column: str
    pattern: str  #: folded; WILD stands for any text
    whole: bool = True

    @property
    def _pieces(self) -> list[str]:
        return self.pattern.split(WILD)

    def sql(self, to: Parameters) -> str:
        lowered, pieces = f"lower({self.column})", self._pieces
        if not self.whole:
            pieces = ["", *pieces, ""]
        if len(pieces) == 1:
            test = f"{lowered} = {to.text(pieces[0])}"
        elif not any(pieces):
            test = "true"
        elif len(pieces) == 2 and not pieces[1]:
            test = f"starts_with({lowered}, {to.text(pieces[0])})"
        elif len(pieces) == 2 and not pieces[0]:
            test = f"ends_with({lowered}, {to.text(pieces[1])})"
        elif len(pieces) == 3 and not pieces[0] and not pieces[2]:
            test = f"contains({lowered}, {to.text(pieces[1])})"
        else:
            test = f"regexp_matches({lowered}, {to.text(_regex(pieces))})"
        return _known(self.column, test)

    def expr(self) -> pl.Expr:
        lowered, pieces = _lowered(self.column), self._pieces
        if self.whole and len(pieces) == 1:
            found = lowered == pl.lit(pieces[0])
        elif not self.whole and len(pieces) == 1:
            found = lowered.str.contains(pl.lit(pieces[0]), literal=True)
        else:
            found = lowered.str.contains(_regex(pieces if self.whole else ["", *pieces, ""]))
        return found.fill_null(False)


@dataclass(frozen=True, slots=True)
class Compare:
    """A column is before or beyond a value: an instant (µs), a number, or a duration (µs) of seconds."""

    column: str
    sign: str  #: <, <=, >, >=, =
    value: int

    def sql(self, to: Parameters) -> str:
        if self.column.endswith("_at"):
            value = to.instant(self.value)
        else:
            value = to.seconds(self.value) if self.column.endswith("_s") else to.number(self.value)
        return _known(self.column, f"{self.column} {self.sign} {value}")

    def expr(self) -> pl.Expr:
        column = pl.col(self.column)
        if self.column.endswith("_at"):
            column = column.dt.epoch("us")
        value = self.value / SECOND if self.column.endswith("_s") else self.value
        return _compared(column, self.sign, pl.lit(value)).fill_null(False)


@dataclass(frozen=True, slots=True)
class Between:
    """From one instant to another it took less or more than a duration (µs); what has not ended counts up to now."""

    first: str
    last: str
    now: int
    sign: str
    value: int

    def sql(self, to: Parameters) -> str:
        until = f"epoch_us(coalesce({self.last}, {to.instant(self.now)}))"
        return _known(self.first, f"{until} - epoch_us({self.first}) {self.sign} {to.number(self.value)}")

    def expr(self) -> pl.Expr:
        until = pl.col(self.last).dt.epoch("us").fill_null(self.now)
        return _compared(until - pl.col(self.first).dt.epoch("us"), self.sign, pl.lit(self.value)).fill_null(False)


Condition = All | AnyOf | Not | Empty | OneOf | Ends | IsTrue | Like | Compare | Between


def _known(column: str, test: str) -> str:
    """Have a test say no where there is nothing to test."""
    return f"({test})" if column in NEVER_EMPTY else f"({column} is not null and {test})"


def _compared(left: pl.Expr, sign: str, right: pl.Expr) -> pl.Expr:
    methods = {"<": left.lt, "<=": left.le, ">": left.gt, ">=": left.ge, "=": left.eq}
    return methods[sign](right)


def _regex(pieces: Sequence[str]) -> str:
    """Write a pattern's pieces as a regular expression that both engines read, and match in linear time."""
    return "(?s)^" + ".*".join(_escaped(piece) for piece in pieces) + "$"


def _escaped(text: str) -> str:
    return re.sub(r"[^\w\s]", lambda m: "\\" + m[0] if m[0].isascii() else m[0], text)


def columns_of(condition: Condition) -> frozenset[str]:
    """Name the columns that a condition reads."""
    match condition:
        case All(parts) | AnyOf(parts):
            return frozenset().union(*map(columns_of, parts))
        case Not(part):
            return columns_of(part)
        case Between(first, last):
            return frozenset({first, last})
        case _:
            return frozenset({condition.column})
