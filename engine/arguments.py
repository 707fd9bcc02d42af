"""What verbs take on the command line besides tasks: reasons, zones, instants, durations; holds, caps, windows, users.

What can be checked before anybody is asked is checked here, so that it is told as bad usage; what it means, and whether
it can be done, the verb says.
"""

from __future__ import annotations

import argparse
from typing import Any
from zoneinfo import available_timezones

from .lifecycle import Kind
from .ranges import Moment, read_moment, read_span
from .roles import Role

LONGEST_REASON = 200
MOST = 1_000_000  #: of what is a number of tasks; the engine says how many it takes

Adding = Any  #: what argparse adds parsers to


def reason(text: str) -> str:
    """Read a reason."""
    said = text.strip()
    if not said.isprintable():
        raise argparse.ArgumentTypeError("has characters that can't be seen")
    if len(said) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"has at most {LONGEST_REASON} characters")
    return said


def _needed(text: str) -> str:
    said = reason(text)
    if not said:
        raise argparse.ArgumentTypeError("says nothing; whoever finds the tasks waiting reads it")
    return said


def zone(text: str) -> str:
    """Read the name of a time zone."""
    if text not in available_timezones():
        raise argparse.ArgumentTypeError(f"there is no zone {text!r}; names look like Europe/Stockholm")
    return text


def span(text: str) -> int:
    """Read a duration, in microseconds."""
    found = read_span(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; they look like 90s, 45m, 1h30m, 2d")
    return found


def instant(text: str) -> Moment:
    """Read an instant of some zone, as a date with or without a time."""
    found = read_moment(text)
    if found is None or found.relative:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant; they look like 2026-12-01 or 2026-12-01T06:30")
    return found


def _number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return number


def _id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise argparse.ArgumentTypeError(f"{text!r} is no ID; the list tells them")
    return int(text)


# --- what verbs take


def add_hold(verb: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Offer what `hold` does."""
    which = verb.add_subparsers(required=True, metavar="ACTION")
    one = _add(which, common, "list", "list the holds in force and to come, and ramps")
    one.add_argument("--zone", type=zone, default="UTC", help="zone of the times in the table")
    one = _add(which, common, "place", "pause users or task types: what waits of them does not start")
    _add_targets(one)
    one.add_argument("--everywhere", action="store_true", help="task types only: in every business")
    one.add_argument("--site", help="at this site only")
    end = one.add_mutually_exclusive_group()
    end.add_argument("--for", dest="lasts", type=span, metavar="DURATION",
                     help="how long, as 90m or 1d (else: until lifted)")  # fmt: skip
    end.add_argument("--until", type=instant, metavar="INSTANT", help="until when, as 2026-12-01T06:30")
    one.add_argument("--zone", type=zone, default="UTC", help="zone of --until")
    one.add_argument("--suspend", action="store_true", help="ask the hosts to put running tasks aside, too")
    one.add_argument("--reason", type=_needed, required=True, help="why, and what ends it")
    _add_dry_run(one)
    one = _add(which, common, "lift", "lift holds, at once or gradually")
    one.add_argument("ids", nargs="*", type=_id, metavar="ID", help="of a hold, as the list tells it")
    _add_targets(one)
    one.add_argument("--all", dest="every", action="store_true",
                     help="all on users and task types; not those on schedules and of windows")  # fmt: skip
    one.add_argument("--rate", type=_number, metavar="N", help="gradually: let so many tasks a minute start")
    one.add_argument("--reason", type=reason, help="for the audit trail")
    _add_dry_run(one)
    one = _add(which, common, "let-go", "let all go at once that a gradual release still keeps back")
    one.add_argument("ids", nargs="*", type=_id, metavar="ID", help="of a ramp, as the list tells it")
    one.add_argument("--all", dest="every", action="store_true", help="all ramps")
    one.add_argument("--reason", type=reason, help="for the audit trail")


def add_cap(verb: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Offer what `cap` does."""
    which = verb.add_subparsers(required=True, metavar="ACTION")
    _add(which, common, "list", "list the caps, with what runs and waits")
    one = _add(which, common, "set", "let at most so many tasks of a user run at once; what runs goes on")
    one.add_argument("user", metavar="USER")
    one.add_argument("--at-most", type=_number, required=True, metavar="N", help="collecting or processing")
    one.add_argument("--reason", type=_needed, required=True, help="why, and what ends it")
    one = _add(which, common, "remove", "take a user's cap away")
    one.add_argument("user", metavar="USER")
    one.add_argument("--reason", type=reason, help="for the audit trail")


def add_blackout(verb: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Offer what `blackout` does."""
    which = verb.add_subparsers(required=True, metavar="ACTION")
    _add(which, common, "list", "list the blackout windows, the next to begin first")
    one = _add(which, common, "add", "hold a whole site at set times")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--site", required=True, help="which site it holds")
    _add_rule(one, needed=True)
    one.add_argument("--reason", type=reason, help="why nothing may run then")
    one.add_argument("--suspend", action="store_true", help="ask the hosts to put running tasks aside, too")
    _add_dry_run(one)
    one = _add(which, common, "change", "change a window from its next time on; what is not named stays")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--site", help="where there are several of that name")
    one.add_argument("--name", dest="new_name", metavar="NEW", help="another name")
    _add_rule(one, needed=False)
    one.add_argument("--reason", type=reason, help="why nothing may run then")
    one.add_argument("--suspend", action=argparse.BooleanOptionalAction,
                     help="ask the hosts to put running tasks aside, too, or not any more")  # fmt: skip
    _add_dry_run(one)
    one = _add(which, common, "remove", "remove a window, and lift what it holds now")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--site", help="where there are several of that name")
    one.add_argument("--reason", type=reason, help="for the audit trail")


def add_user(verb: argparse.ArgumentParser) -> None:
    """Offer what `user` does."""
    verb.add_argument("do", choices=USER_DOES,
                      help="invite (add): a link for a new user, or a new one where it was lost; reset: one for a new "
                      "password; grant, revoke: one role more or less; change: other roles or another identity; "
                      "forgive: wrong guesses")  # fmt: skip
    verb.add_argument("name", nargs="?", default="", metavar="NAME")
    verb.add_argument("--role", default="", choices=[role.value for role in Role],
                      help="needed to invite, grant or revoke; with change, instead of all that he has")  # fmt: skip
    verb.add_argument("--business", help="where the role holds; none for a platform_admin")
    verb.add_argument("--site", help="where the role holds; for site_admin and site_user")
    verb.add_argument("--identity", help="the e-mail address, or sub:…, by which an identity provider knows the user; "
                      "an empty one takes it away")  # fmt: skip
    verb.add_argument("--reason", type=reason, help="for the audit trail")


USER_DOES = (
    "add", "invite", "reset", "list", "change", "grant", "revoke", "disable", "enable", "sign-out", "forgive",
)  # fmt: skip


def _add(which: Adding, common: argparse.ArgumentParser, name: str, help: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = which.add_parser(name, parents=[common], help=help, description=help)
    one.set_defaults(do=name)
    one.add_argument("--business", help="whose; needed to change something where there are several")
    return one


def _add_targets(one: argparse.ArgumentParser) -> None:
    one.add_argument("--user", dest="users", action="append", default=[], metavar="USER",
                     help="may come more than once")  # fmt: skip
    one.add_argument("--type", dest="types", action="append", default=[], choices=[kind.value for kind in Kind],
                     help="a task type; may come more than once")  # fmt: skip


def _add_rule(one: argparse.ArgumentParser, needed: bool) -> None:
    when = one.add_mutually_exclusive_group(required=needed)
    when.add_argument("--cron", metavar="RULE", help="when it begins, as “0 22 * * 6”: Saturdays at 22:00")
    when.add_argument("--every", type=span, metavar="DURATION", help="instead: so often, counted from --first")
    one.add_argument("--first", type=instant, metavar="INSTANT", help="a time from which --every counts")
    one.add_argument("--zone", type=zone, help="whose clock it goes by (else: the site's)")
    one.add_argument("--for", dest="lasts", type=span, required=needed, metavar="DURATION",
                     help="how long it lasts, as 4h")  # fmt: skip


def _add_dry_run(one: argparse.ArgumentParser) -> None:
    one.add_argument("--dry-run", action="store_true", help="show what it would do, and do nothing")


# --- what is sent


_OURS = frozenset({"run", "data", "json"})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Put what was given into what a verb takes; instants are of the zone that was named."""
    told = {name: value for name, value in vars(options).items() if name not in _OURS}
    if "until" in told:
        until, there = told["until"], told.pop("zone")
        told["until"] = None if until is None else until.span(0, there)[0]
    if "first" in told:
        first = told.pop("first")  # an instant of the zone that the rule will have, and that the console knows
        told["rule"] = {name: told.pop(name) for name in ("cron", "every", "zone")} | {"first": first and str(first)}
    return told


def lacks(options: argparse.Namespace) -> str | None:
    """Tell what is missing of what goes together, which argparse can't tell; None where nothing is."""
    has = vars(options)
    if "everywhere" in has and not has["users"] and not has["types"]:
        return "Say with --user or --type what is to be paused"
    if "everywhere" in has and has["everywhere"] and has["business"]:
        return "Either --business or --everywhere, not both"
    if "rate" in has and bool(has["ids"] or has["users"] or has["types"]) == has["every"]:
        return "Say which holds: by ID, --user, --type, or --all of a business"
    if has["do"] == "let-go" and bool(has["ids"]) == has["every"]:
        return "Say which ramps: by ID, or --all"
    if "first" in has and (has["every"] is None) != (has["first"] is None):
        return "--every and --first go together"
    if has["do"] == "set" and not has["user"].strip():
        return "A cap needs a user that it is on"
    return None
