"""Tasks by filter at a terminal: asked for in parts, shown as a table, CSV or JSON; actions confirmed before they go.

What is listed is written as it comes, so that millions of tasks are never held and a reader who has enough ends it.
Nothing is done to any task before its preview was shown and somebody said yes, on the terminal or by --yes; what was
frozen then is what is acted on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO
from uuid import uuid4
from zoneinfo import ZoneInfo

import polars as pl

from . import arguments, tables
from .byfilter import ACTS, Wanted
from .catalogue import ROW, TABS, sorts
from .clock import SECOND
from .errors import DrainboardError, Refused
from .lifecycle import Tab, task_label
from .schema import TYPES
from .verbs import Reply

Ask = Callable[[str, dict[str, Any]], Reply]
"""Has a verb carried out by its name, by the console that runs or on the store that none runs on."""

USAGE = 2  #: exit code

Row = dict[str, Any]


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Offer what `tasks` takes."""
    parser.add_argument("filter", nargs="?", default="", metavar="FILTER", help="in the filter language; none: all")
    _add_place(parser)
    parser.add_argument("--sort", metavar="[-]COLUMN", help="order by a column, downwards with a minus")
    parser.add_argument("--limit", type=_limit, default=50, metavar="N", help="rows at most (default 50; 0: all)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--count", action="store_true", help="count them, tab by tab, exactly")
    how.add_argument("--csv", action="store_true", help="write CSV with all columns of the table task")
    how.add_argument("--sql", action="store_true", help="write the query that finds the same")


def add_bulk(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Offer the actions, and taking one back."""
    which = parser.add_subparsers(required=True, metavar="ACTION")
    for name, act in ACTS.items():
        one = which.add_parser(name, parents=[common], help=act.help, description=f"{act.help}. {act.does}")
        one.set_defaults(act=name)
        one.add_argument("filter", nargs="?", default="", metavar="FILTER", help="in the filter language")
        one.add_argument("--all", action="store_true", help="instead of a filter: every task in these tabs")
        _add_place(one, f"where to look (default {', '.join(act.tabs).lower()})")
        if act.verb == "edit":
            one.add_argument("--to", type=int, choices=range(10), required=True, metavar="0-9",
                             help="higher goes first")  # fmt: skip
        if act.reason:
            one.add_argument("--reason", type=arguments.reason, default="",
                             help="for the audit trail; needed but to --dry-run")  # fmt: skip
        one.add_argument("--dry-run", action="store_true", help="show what it would touch, and do nothing")
        one.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    one = which.add_parser("undo", parents=[common], help="take back what one of these did")
    one.set_defaults(act="undo")
    one.add_argument("request", metavar="REQUEST", help="as it was told when it was done")
    one.add_argument("--dry-run", action="store_true", help="show what it would take back, and do nothing")
    one.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")


def _add_place(parser: argparse.ArgumentParser, tabs: str = "where to look (default: all)") -> None:
    parser.add_argument("--business", help="whose tasks; needed to act where there are several")
    parser.add_argument("--site", help="at which site")
    parser.add_argument("--tab", action="append", default=[], type=_tab, choices=[t.value.lower() for t in TABS],
                        help=f"{tabs}; may be given more than once")  # fmt: skip
    parser.add_argument("--system", action="store_true", help="system tasks, too")
    parser.add_argument("--hidden", action="store_true", help="hidden tasks, too")
    parser.add_argument("--zone", type=arguments.zone, default="UTC",
                        help="zone of dates in the filter and in the table")  # fmt: skip


def as_values(arguments: list[str]) -> list[str]:
    """Let what begins with one dash be a value, as in `tasks -type:query --sort -created_at`: -h is the only option."""
    return [f" {word}" if word[:1] == "-" != word[1:2] and word not in ("-", "-h") else word for word in arguments]


def _limit(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 (all) or more")
    return number


def _tab(text: str) -> str:
    return text.strip().lower()


# --- listing


def find(ask: Ask, options: argparse.Namespace) -> Reply | None:
    """List, count or tell the query; None where the answer has been written already."""
    wanted = _wanted(options)
    if options.sql or options.count:
        reply = ask("tasks", {"do": "sql" if options.sql else "count", "wanted": wanted})
        return reply if options.sql or reply.exit else Reply(0, _counted(reply.data), reply.data)
    sort: str | None = options.sort.strip() if options.sort else None
    known = sorts(Tab(tab) for tab in wanted.tabs or TABS)
    if sort is not None and sort.removeprefix("-") not in known:
        return Reply(USAGE, f"Such tasks can't be sorted by “{sort}”; they can by {', '.join(known)}", {"sort": sort})
    how: dict[str, Any] = {"wanted": wanted, "sort": sort}
    first = ask("tasks", {"do": "list", **how, "most": options.limit or sys.maxsize})
    if first.exit:
        return first
    rest = _parts(ask, how, options.limit, first)
    try:
        if options.json:
            _write_json(rest, sys.stdout)
        elif options.csv:
            _write_csv(rest)
        else:
            _write_table(rest, options, wanted, ask)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has enough
        raise
    except OSError as error:
        raise Refused(f"The answer could not be written: {error.strerror}") from None
    return None


def _parts(ask: Ask, how: dict[str, Any], limit: int, first: Reply) -> Iterator[dict[str, Any]]:
    """Go on asking as long as somebody wants more; what has been listed stays where an answer fails."""
    part, listed = first, 0
    while True:
        listed += len(part.data["rows"])
        yield part.data
        left = limit - listed if limit else sys.maxsize
        if part.data["next"] is None or left <= 0:
            return
        more = {"after": part.data["next"], "as_of": part.data["now"], "most": left}
        part = ask("tasks", {"do": "list", **how, **more})
        if part.exit:
            raise Refused(part.text)


def _write_json(parts: Iterator[dict[str, Any]], out: TextIO) -> None:
    """Write one line of JSON, row by row."""
    out.write('{"rows": [')
    between, more = "", True
    try:
        for part in parts:
            for row in part["rows"]:
                out.write(between + json.dumps(row))
                between = ", "
            more = part["next"] is not None
    except DrainboardError:
        out.write('], "more": true, "exit": 1, "text": "The console did not answer to the end"}\n')
        raise
    out.write(f'], "more": {json.dumps(more)}, "exit": 0, "text": ""}}\n')


def _write_csv(parts: Iterator[dict[str, Any]]) -> None:
    """Write bytes, whatever the terminal's encoding: a file of these goes elsewhere."""
    sorts_of = {"BIGINT": pl.Int64, "BOOLEAN": pl.Boolean, "DOUBLE": pl.Float64, "DECIMAL(18,6)": pl.Float64}
    schema = {name: sorts_of.get(TYPES["task_done"][name], pl.String) for name in ROW}
    schema |= {name: pl.Int64 for name in ROW if name.endswith("_at")}
    instants = pl.col([name for name in ROW if name.endswith("_at")])
    sys.stdout.flush()
    for n, part in enumerate(parts):
        rows = pl.DataFrame([{name: row[name] for name in ROW} for row in part["rows"]], schema=schema)
        sys.stdout.buffer.write(tables.csv(rows.with_columns(instants.cast(pl.Datetime("us"))), header=n == 0))


def _write_table(
    parts: Iterator[dict[str, Any]], options: argparse.Namespace, wanted: Wanted, ask: Ask
) -> None:
    zone, shown, more, wide = ZoneInfo(options.zone), 0, False, list[int]()
    head: list[str] = []
    for part in parts:
        cells = [_cells(row, zone, part["now"], part["businesses"] > 1) for row in part["rows"]]
        if not wide and cells:  # as wide as the first part needs, without what is empty there
            empty = {name for name in cells[0] if name not in ("task", "status") and not any(c[name] for c in cells)}
            head = [name for name in cells[0] if name not in empty]
            wide = tables.widths([_headed(head, options.zone), *([c[name] for name in head] for c in cells)])
            print(tables.aligned(_headed(head, options.zone), wide))
        for row in cells:
            print(tables.aligned([row[name] for name in head], wide))
        shown, more = shown + len(cells), part["next"] is not None
    sys.stdout.flush()
    if more or not shown:
        counts = ask("tasks", {"do": "count", "wanted": wanted}).data
        said = f"{shown:,} of {counts['total']:,} tasks; --limit shows more" if more else "No task matches."
        left = [f"{counts[f'{what}_left_out']:,} with --{what}" for what in ("system", "hidden")
                if counts[f"{what}_left_out"] and not shown]  # fmt: skip
        print(said + (f" ({', '.join(left)})" if left else ""), file=sys.stderr)


_INSTANTS = ("created", "started", "finished")


def _headed(names: list[str], zone: str) -> list[str]:
    """Head the columns; the zone is named once."""
    first = next((name for name in names if name in _INSTANTS), None)
    return [f"{name.upper()} ({zone})" if name == first else name.upper() for name in names]


def _cells(row: Row, zone: ZoneInfo, now: int, several: bool) -> dict[str, str]:
    """Write a task's cells by the name of their column."""
    done = row.get("processing") if row["processing_started_at"] is not None else row.get("collecting")
    status = row["shown_status"]
    if row["finished_at"] is None and done is not None:
        status += f" {done:.0%}".replace("%", " %")
    elif row["reason"]:
        status += f" ({row['reason']})"
    until = row["finished_at"] if row["finished_at"] is not None else now
    cells = {
        "task": task_label(row["kind"], row["number"]), "status": status,
        **({"business": row["business"]} if several else {}),
        "site": row["site"], "target": row["target"], "owner": row["owner"],
        "service": row["processor"] if row["processing_started_at"] is not None else row["service"],
        **{name: _instant(row[f"{name}_at"], zone) for name in _INSTANTS},
        "took": "" if row["started_at"] is None else _span(until - row["started_at"]),
    }  # fmt: skip
    return {name: tables.clean(cell or "") for name, cell in cells.items()}


def _instant(at: int | None, zone: ZoneInfo) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at / SECOND, UTC).astimezone(zone):%Y-%m-%d %H:%M}"


def _span(microseconds: int) -> str:
    seconds = max(0, microseconds) // SECOND
    if seconds < 90:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 5400 else f"{seconds // 3600} h {seconds // 60 % 60:02} min"


def _counted(counts: dict[str, Any]) -> str:
    lines = [(tab, f"{n:,}") for tab, n in counts["tabs"].items()]
    if len(lines) > 1:
        lines.append(("All", f"{counts['total']:,}"))
    digits = max(len(n) for _, n in lines)
    left = [f"{counts[f'{what}_left_out']:,} {what} tasks are left out; --{what} counts them" for what in
            ("system", "hidden") if counts[f"{what}_left_out"]]  # fmt: skip
    return "\n".join([f"{tab:<10}  {n:>{digits}}" for tab, n in lines] + left)


# --- acting


def act(ask: Ask, options: argparse.Namespace) -> Reply:
    """Preview an action, have it confirmed and carry it out."""
    name, undoing = options.act, options.act == "undo"
    if not undoing and bool(options.filter.strip()) == options.all:
        why = "Without a filter this would be every task there; if that is meant, say --all"
        return Reply(USAGE, "Either a filter or --all, not both" if options.all else why)
    if not undoing and ACTS[name].reason and not options.reason and not options.dry_run:
        return Reply(USAGE, "It needs a --reason, for the audit trail")
    if not options.dry_run and not options.yes and not sys.stdin.isatty():
        return Reply(USAGE, "There is no terminal to ask on; look with --dry-run, and then say --yes")
    which = {"request": options.request} if undoing else {"wanted": _wanted(options)}
    found = ask("bulk", {"do": "preview", "act": name, **which})
    if found.exit:
        return found
    frozen = found.data.pop("frozen", [])
    if not found.data["count"]:
        return Reply(0, f"{found.text}\nThere is nothing to do.", found.data)
    if options.dry_run:
        more = {} if undoing else {"tasks": [task_id for task_id, _, _ in frozen]}
        return Reply(0, f"{found.text}\nNothing was changed.", found.data | more)
    if not options.json or not options.yes:
        print(found.text, file=sys.stderr)
    if not found.data["running_console"]:
        raise Refused(f"No console runs on {options.data}, and nothing was changed; start one, if only by "
                      "`python -m engine run`, and ask again")  # fmt: skip
    if not options.yes and not _agreed("Go on?"):
        return Reply(1, "Nothing was changed.")
    request = f"{name}-{uuid4()}"
    if undoing:
        return ask("bulk", {"do": "take back", "act": name, "request": options.request, "new_request": request})
    how = {"frozen": frozen, "request": request, "reason": getattr(options, "reason", None) or None,
           "priority": getattr(options, "to", None)}  # fmt: skip
    return ask("bulk", {"do": "carry out", "act": name, **how})


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        options.filter.strip(), options.zone, options.business, options.site,
        [tab.capitalize() for tab in options.tab], options.system, options.hidden,
    )  # fmt: skip
