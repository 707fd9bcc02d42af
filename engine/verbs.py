"""What the command line can do with a store, the same whether a console runs on it or nobody does.

A verb gets a `Context`: the data folder and the store, and the engine where one runs. It returns a `Reply`: exit code,
words for a person, data for a script. Only `import` writes either way; what else changes something needs the engine.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from . import byfilter, health, imports, looks, messages, restraints, rollups, verify
from .access import ACTIVE, INVITED, LINK, Access, Actor, User
from .batch import Bulk
from .byfilter import ACTS, Desk, Wanted
from .catalogue import Catalogue
from .clock import Reading
from .core import Core
from .drills import Drills
from .errors import Invalid, InvalidFilter, InvalidImport, NotFound, Refused, StoreError
from .ledger import Audit, Rows
from .lifecycle import Kind
from .outbox import Outbox
from .restraints import Came
from .roles import EVERYTHING, Grant, checked, worded
from .runtime import Engine, Import, policy_of, rebuild
from .settings import Settings
from .snapshot import Snapshot
from .state import Business
from .store import Store, require_free


@dataclass(frozen=True)
class Context:
    """Where a verb works and for whom. What a running console has is None where none runs on the store."""

    folder: Path  #: the store's
    settings: Settings
    store: Store
    actor: str
    engine: Engine | None = None
    drills: Drills | None = None
    access: Access | None = None
    catalogue: Catalogue | None = None

    @cached_property
    def desk(self) -> Desk:
        """What tasks are asked of: the console's own snapshot, else one made of the store, once."""
        catalogue = self.catalogue or Catalogue(self.store)
        if self.engine is None:
            snapshot = byfilter.at_rest(self.store, self.settings)
            return Desk(self.store, catalogue, snapshot, max(now(), snapshot.now), self.actor)
        snapshot = _up_to_date(self.engine)
        return Desk(
            self.store, catalogue, snapshot, max(self.engine.now, snapshot.now), self.actor, self.engine
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a verb: 0 done, 1 refused or a check failed."""

    exit: int
    text: str
    data: dict[str, Any] = field(default_factory=dict)


def _up_to_date(engine: Engine) -> Snapshot:
    """Wait a moment for a snapshot with all that has been acknowledged: a script looks right after it has acted."""
    engine.shown()
    return engine.snapshot


def now() -> int:
    return time.time_ns() // 1000


# --- health


def tell_health(context: Context) -> Reply:
    """Report the four health-check signals, each with its evidence; exit 1 where one calls for action."""
    snapshot = context.engine.snapshot if context.engine else None
    limits = health.Limits.of(context.settings)
    now = context.engine.now if context.engine else None
    signals = health.signals(looks.look(context.store, snapshot, now, enough=limits.pile_up_tasks), limits)
    lines = []
    for signal in signals:
        mark = "!" if signal.holds and signal.name in health.ALARMS else "·"
        where = " / ".join(part for part in (signal.business, signal.site) if part) or "everywhere"
        lines.append(f"{mark} {signal.name:<12}  {where}: {signal.headline}")
        if mark == "!":
            lines += [f"      {sentence}" for sentence in signal.evidence]
    alarming = any(signal.holds and signal.name in health.ALARMS for signal in signals)
    return Reply(1 if alarming else 0, "\n".join(lines), {"signals": [asdict(signal) for signal in signals]})


# --- verify


def check_store(context: Context) -> Reply:
    """Check that the ledger is legal and that all the rest follows from it."""
    if context.engine is not None:
        rollups.advance(context.store)
    findings = verify.check(context.store, fair_share=bool(context.settings["fair_share"]))
    if not findings:
        batch = context.store.batch
        return Reply(0, f"Verified: nothing wrong up to batch {batch}.", {"batch": batch, "findings": []})
    lines = [f"{finding.check}: {finding.where}: {finding.what}" for finding in findings]
    return Reply(1, "\n".join(lines), {"findings": [asdict(finding) for finding in findings]})


# --- backup


def back_up(context: Context, target: str) -> Reply:
    """Copy the store as of one batch into a new folder; the console goes on meanwhile."""
    folder = Path(target)
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty; a backup gets a folder of its own")
    batch = context.store.copy_to(folder)
    return Reply(0, f"Backed up to {folder}, up to batch {batch}.", {"batch": batch, "folder": str(folder)})


def restore(data: Path, store_name: str, backup: Path) -> Reply:
    """Put a backup in a store's place; what was there is kept beside it. Needs the store to itself."""
    if not (backup / "drainboard.duckdb").exists():
        raise NotFound(f"{backup} holds no backup: there is no drainboard.duckdb in it")
    place = data / store_name
    if place.exists():
        require_free(place)
    incoming = data / f"{store_name}.restoring"
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        shutil.copytree(backup, incoming, ignore=shutil.ignore_patterns("store.lock"))
        with Store.open(incoming, rebase=True) as store:
            broken = store.broken_link()
            if broken is not None:
                raise StoreError(f"The backup is damaged at batch {broken.batch}: {broken.why}. Nothing was changed.")
            batch = store.batch
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    kept = None
    if place.exists():
        require_free(place)
        kept = data / f"{store_name}.before-restore-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        place.rename(kept)
    incoming.rename(place)
    text = f"Restored batch {batch} from {backup}." + (f" The store that was there is kept in {kept}." if kept else "")
    return Reply(0, text, {"batch": batch, "kept": str(kept) if kept else None})


# --- import


_IMPORTING = threading.Lock()  #: logs are read side by side, and put into the ledger one after the other


def import_log(
    context: Context, file: str, format: str, business: str, site: str, *, kind: str = "scan", zone: str = "UTC",
    skip_bad: bool = False, force: bool = False, column_map: dict[str, str] | None = None,
) -> Reply:
    """Read a job log and put all of it into the ledger in one commit, or nothing of it."""
    path = Path(file)
    if kind not in list(Kind):
        raise NotFound.named("task type", kind, list(Kind))
    if not path.is_file():
        raise InvalidImport(f"There is no file {path}")
    fingerprint = imports.digest(path)
    if not force:
        _refuse_known(context.store, path, fingerprint)
    place = imports.Place(business, site, kind, f"import:{path.name}")
    options: dict[str, Any] = {"zone": zone, "column_map": column_map, "not_after": now(), "skip_bad": skip_bad}
    with imports.load(path, format, place, **options) as log, _IMPORTING:
        if not force:
            _refuse_known(context.store, path, fingerprint)  # somebody may have imported it while it was read
        _found(context, business, site, zone)
        request = f"import-{uuid4()}"

        def make(base: Business) -> tuple[Rows, Bulk]:
            told = {"file": path.name, "format": format, "tasks": log.tasks, "left_out": len(log.bad)}
            audit = Audit(
                base.last_audit + 1, now(), business, site, context.actor, "import",
                "file", fingerprint, "changed", None, told, None, request,
            )
            return Rows(audit=[audit]), log.numbered(base.no, base.next_event(), base.next_task())

        batch = _load(context, business, log, make)
    rollups.advance(context.store)
    told = [f"{log.tasks:,} {'task' if log.tasks == 1 else 'tasks'} imported into {business} / {site}"]
    told += [f"{n:,} {what} left out" for what, n in log.left_out.items() if n]
    if log.bad:
        told.append(f"{len(log.bad):,} bad rows left out:")
        told += [f"  line {row.line}: {row.reason}" for row in log.bad[: imports.BAD_ROWS_SHOWN]]
    data = {
        "batch": batch, "tasks": log.tasks, "left_out": dict(log.left_out),
        "bad": [{"line": row.line, "reason": row.reason} for row in log.bad],
    }
    return Reply(0, "\n".join(told), data)


def _refuse_known(store: Store, path: Path, fingerprint: str) -> None:
    if _has(store, "audit", "action = 'import' and object_id = ?", fingerprint):
        raise InvalidImport(f"{path.name} was imported before; --force imports it again")


def _has(store: Store, table: str, where: str, *values: str) -> bool:
    return bool(store.read(f"select count(*) from {table} where {where}", list(values)).item())


def _found(context: Context, business: str, site: str, zone: str) -> None:
    """Make the business and the site, an archive, where they are missing."""
    actions: list[messages.Action] = []
    if not _has(context.store, "service_event", "event = 'business_added' and business = ?", business):
        actions.append(messages.AddBusiness(business))
    if not _has(context.store, "service_event", "event = 'site_added' and business = ? and site = ?", business, site):
        actions.append(messages.AddSite(business, site, zone, archive=True))
    commands = [messages.Command(f"found-{uuid4()}", context.actor, action) for action in actions]
    if context.engine is not None:
        outcomes = [context.engine.ask(command, 30) for command in commands]
    elif commands:
        with _at_rest(context) as (core, outbox, _):
            step = core.obey(Reading(now(), 0, context.store.clock), commands)
            outbox.add(step)
            outcomes = [outcome for _, outcome in step.outcomes]
    else:
        outcomes = []
    for outcome in outcomes:
        if outcome.refused is not None:
            raise Refused(outcome.refused)


def _load(
    context: Context, business: str, log: imports.Staged, make: Callable[[Business], tuple[Rows, Bulk]]
) -> int:
    if context.engine is not None:
        batch = context.engine.load(Import(business, log.events, log.tasks, make))
        context.engine.shown()
        return batch
    with _at_rest(context) as (core, outbox, bulk):
        rows, tables = make(core.state.businesses[business])
        outbox.open.rows.extend(rows)
        outbox.open.now = core.state.last
        bulk.update(tables)
    return context.store.batch


@contextmanager
def _at_rest(context: Context) -> Iterator[tuple[Core, Outbox, dict[str, Iterable[Any]]]]:
    """Rebuild the core of a store that no engine runs; commit what the caller put into the outbox and the bulk."""
    core = rebuild(context.store.recover(), policy_of(context.settings))
    outbox = Outbox(context.store.batch)
    bulk: dict[str, Iterable[Any]] = {}
    yield core, outbox, bulk
    batch = outbox.seal()
    if batch is not None and batch.rows:
        context.store.commit(batch.number, max(batch.now, context.store.clock), batch.rows, bulk)


# --- drill


def drill(context: Context, do: str, name: str = "", given: dict[str, Any] | None = None) -> Reply:
    """Start or end a drill, or list those that go on."""
    if context.drills is None:
        raise Refused("A drill needs a running console")
    if do == "list":
        ongoing = context.drills.ongoing()
        text = "\n".join(map(str, ongoing)) or "No drill goes on."
        return Reply(0, text, {"ongoing": [asdict(one) for one in ongoing]})
    act = context.drills.start if do == "start" else context.drills.end
    return Reply(0, act(name, given or {}, context.actor, EVERYTHING), {"drill": name})


# --- users


def manage_users(
    context: Context, do: str, name: str = "", role: str = "", business: str | None = None, site: str | None = None,
    identity: str | None = None, reason: str | None = None,
) -> Reply:  # fmt: skip
    """Invite a user, give him a new link, change him, bar or sign him out, let him guess again, or list all."""
    if context.access is None:
        raise Refused("Users are managed on a running console")
    access, by = context.access, Actor(context.actor, EVERYTHING)
    if do == "list":
        users = access.users(by)
        data = [
            {"name": user.name, "disabled": user.disabled, "signs_in": user.state != INVITED, "state": user.state,
             "grants": [[*grant] for grant in user.grants], "identity": user.identity, "last_at": user.last_at,
             "sessions": user.sessions} for user in users
        ]  # fmt: skip
        lines = [f"{u.name}{f' ({u.state})' if u.state != ACTIVE else ''}: "
                 + "; ".join(" / ".join(part for part in grant if part) for grant in u.grants) for u in users]
        return Reply(0, "\n".join(lines) or "There is no user yet.", {"users": data})
    if do in ("disable", "enable"):
        access.disable(by, name, do == "disable", reason)
        return Reply(0, f"{name} is {do}d.", {"user": name})
    if do == "sign-out":
        ended = access.sign_out_everywhere(by, name, reason)
        return Reply(0, f"{name} is signed out everywhere; {ended:,} open.", {"user": name, "sessions": ended})
    if do == "forgive":
        access.forgive(by, name, reason)
        return Reply(0, f"{name}: wrong guesses count no more.", {"user": name})
    if context.engine is not None:
        _check_place(context.engine, business, site)
    known = next((user for user in access.users(by) if user.name == name), None)
    if do in ("change", "grant", "revoke"):
        if known is None:
            raise NotFound.named("user", name, [user.name for user in access.users(by)])
        return _change_user(access, by, known, do, checked(role, business, site) if role else None, identity, reason)
    if do == "reset":
        secret = access.reset(by, name)
    elif known is not None and not role:  # the link has lapsed, or got lost
        secret = access.invite(by, name, known.grants, identity)
    else:
        secret = access.invite(by, name, [checked(role, business, site)], identity)
    link, reached = f"{LINK}{secret}", str(context.settings["public_url"])
    how = "" if reached else (
        ".\nPut in front of it where browsers reach the console, as in https://console.example.org; "
        "with public_url in settings.toml it stands there by itself"
    )  # fmt: skip
    told = f"{name} sets a password at this address, once and within two days{how}:\n{reached}{link}"
    return Reply(0, told, {"user": name, "link": f"{reached}{link}"})


def _change_user(
    access: Access, by: Actor, user: User, do: str, grant: Grant | None, identity: str | None, reason: str | None
) -> Reply:
    """Give a user other roles or another identity; what is not named stays."""
    if grant is None and (do != "change" or identity is None):
        what = "a --role, or an --identity" if do == "change" else "the --role that is meant"
        raise Invalid(f"It needs {what}; nothing was changed")
    grants = [grant] if grant is not None and do == "change" else list(user.grants)
    if grant is not None and do == "grant":
        grants = [*dict.fromkeys([*grants, grant])]
    elif grant is not None and do == "revoke":
        if grant not in grants:
            raise NotFound(f"{user.name} has no such role; he is {'; '.join(worded(grants))}")
        grants.remove(grant)
        if not grants:
            raise Refused(f"It is the last role of {user.name}; give him another one first, or disable him")
    who = user.identity if identity is None else identity or None
    told = {"user": user.name, "grants": [[*one] for one in grants], "identity": who}
    if set(grants) == set(user.grants) and who == user.identity:
        return Reply(0, f"{user.name} is so already; nothing was changed.", told)
    access.change(by, user.name, grants, who, seen=user.changed_at, reason=reason)
    known_by = f", known as {who}" if who else ""
    return Reply(0, f"{user.name}: {'; '.join(worded(grants))}{known_by}. It counts at once.", told)


def _check_place(engine: Engine, business: str | None, site: str | None) -> None:
    places = engine.snapshot.zones
    if business is not None and business not in {b for b, _ in places}:
        raise NotFound.named("business", business, sorted({b for b, _ in places}))
    if business is not None and site is not None and (business, site) not in places:
        raise NotFound.named(f"site in {business}", site, [s for b, s in places if b == business])


# --- holds, caps, blackout windows


def _restraint(came_of: Callable[..., Came]) -> Callable[..., Reply]:
    def carry_out(context: Context, do: str, **given: Any) -> Reply:
        came = came_of(context.desk, do, **given)
        return Reply(1 if came.refused else 0, came.text, came.data)

    return carry_out


# --- tasks by filter


def find_tasks(context: Context, do: str, wanted: Sequence[Any], **how: Any) -> Reply:
    """List the tasks that a filter finds, some at a time; or count them; or write the query that finds them."""
    asked = Wanted(*wanted)
    try:
        if do == "sql":
            sql = context.desk.sql(asked)
            return Reply(0, sql, {"sql": sql})
        return Reply(0, "", context.desk.counts(asked) if do == "count" else context.desk.rows(asked, **how))
    except InvalidFilter as error:
        return _unreadable(error, asked)


def act_on_tasks(context: Context, do: str, act: str, **how: Any) -> Reply:
    """Preview an action over all tasks that a filter finds, or a request's undoing; or carry it out."""
    desk = context.desk
    if do == "preview" and act == "undo":
        back = desk.undo(how["request"])
        text = f"Take back “{back.verb}” by {back.actor}: {back.count:,} tasks."
        text += f" {len(back.left):,} stay, since somebody changed them." if back.left else ""
        return Reply(0, text, {"count": back.count, "running_console": context.engine is not None})
    if do == "preview":
        asked = Wanted(*how["wanted"])
        try:
            found = desk.preview(act, asked)
        except InvalidFilter as error:
            return _unreadable(error, asked)
        data = {name: getattr(found, name) for name in ("count", "users", "sites", "running", "ended", "left")}
        more = {"frozen": found.frozen, "running_console": context.engine is not None}
        return Reply(0, byfilter.told(found, act, asked), data | more)
    if context.engine is None:
        raise Refused("Acting on tasks needs a running console")
    done = desk.take_back(**how) if act == "undo" else desk.carry_out(act, **how)
    text = byfilter.came_of_it(done, act)
    if done.changed and act in ACTS and ACTS[act].undone:
        text += f"\nTo take it back: python -m engine bulk undo {done.requests[0]}"
    nothing = bool(done.skipped) and not done.changed
    data = {"changed": done.changed, "skipped": done.skipped, "refused": done.refused, "requests": done.requests}
    return Reply(1 if done.refused or nothing else 0, text, data)


def _unreadable(error: InvalidFilter, asked: Wanted) -> Reply:
    return Reply(2, f"{error}\n{error.pointed(asked.filter)}", {"at": error.at, "length": error.length})


# --- by name


def carry_out(context: Context, verb: str, arguments: dict[str, Any]) -> Reply:
    """Run a verb by its name, as the command line asked for it here or through the socket."""
    run = _VERBS.get(verb)
    if run is None:
        raise Refused(f"“{verb}” needs the store to itself; stop the console first")
    return run(context, **arguments)


_VERBS: dict[str, Callable[..., Reply]] = {
    "health": tell_health,
    "verify": check_store,
    "backup": back_up,
    "import": import_log,
    "user": manage_users,
    "drill": drill,
    "hold": _restraint(restraints.hold),
    "cap": _restraint(restraints.cap),
    "blackout": _restraint(restraints.blackout),
    "tasks": find_tasks,
    "bulk": act_on_tasks,
}
