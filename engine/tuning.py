"""Changes of settings by people: checked by the settings' own bounds, in the audit trail, then in settings.toml.

The file stays its owner's: a change touches the one line that it is about. What the file will be is on the disk before
the audit row is asked for, so that only a rename can still go wrong once the row stands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .errors import Invalid, Refused
from .messages import Command, NoteSetting
from .roles import Grants, Right, require
from .runtime import Engine
from .settings import AT_FIRST_START, AT_ONCE, FILE, SETTINGS, Setting, Settings, Value, checked, load, named

NOTED_WITHIN = 30.0  #: seconds in which an audit row should be durable

_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^#\r\n]*?"


@dataclass(frozen=True, slots=True)
class Line:
    """A setting as it stands: what counts now, what will count after the next start, and who says so."""

    setting: Setting
    now: str
    then: str  #: the same, where nothing was changed since the start
    source: str  #: "default", "settings.toml" or the variable that goes before it
    value: Value | None  #: what a form begins with; None where it is secret
    seen: int  #: what a change has to bring along, so that nobody overwrites what he has not seen

    @property
    def locked(self) -> str | None:
        """Say why it can't be changed here; None where it can."""
        if self.source in ("default", FILE):
            return None
        return f"The environment variable {self.source} goes before {FILE}; change it there and start anew"


class Tuning:
    """The settings of one running console, for people. Any thread may ask."""

    def __init__(self, engine: Engine, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._engine, self._path, self._environment = engine, folder / FILE, environment
        self._lock = threading.Lock()

    def lines(self, grants: Grants) -> list[Line]:
        """List every setting; raise SettingsError where somebody has made the file unreadable meanwhile."""
        require(grants, Right.SETTINGS, None, None)
        saved = self._saved()
        return [self._line(setting, saved) for setting in SETTINGS]

    def change(
        self, name: str, value: Value | None, seen: int, actor: str, grants: Grants, reason: str | None = None
    ) -> str:
        """Change a setting for a person who saw it as `seen`, or take it out of the file (None); say what to expect."""
        require(grants, Right.SETTINGS, None, None)
        setting = named(name)
        wanted = setting.default if value is None else checked(name, value, "Nothing was changed")
        with self._lock:
            saved = self._saved()
            line = self._line(setting, saved)
            if line.locked is not None:
                raise Refused(f"{name} was not changed. {line.locked}")
            if line.seen != seen:
                raise Refused(
                    f"Somebody has changed {name} meanwhile: it is {line.then} now. Nothing was changed; "
                    "look whether you still want to"
                )
            before = saved[name]
            if before == wanted and (value is not None or line.source == "default"):
                raise Refused(f"{name} is {line.then} already; nothing was changed")
            note = partial(self._note, setting, before, wanted, actor, grants, reason)
            self._write(setting, None if value is None else wanted, note)
            if setting.counts == AT_ONCE:
                self._engine.settings.put(name, wanted, None if value is None else str(self._path))
        what = f"{name} is {setting.shown(wanted)}{', its default,' if value is None else ''}"
        if setting.counts == AT_ONCE:
            return f"{what} from now on."
        if setting.counts == AT_FIRST_START:
            return f"{what} for the next first start on an empty data folder; the history that is there stays."
        return f"{what} from the next start on; until then {line.now} counts."

    def _saved(self) -> Settings:
        return load(self._path.parent, self._environment)

    def _line(self, setting: Setting, saved: Settings) -> Line:
        value, said = saved[setting.name], saved.source(setting.name)
        source = "default" if said is None else FILE if said == str(self._path) else said
        # Also what counts at once is not what the file says, where somebody has edited that by hand since the start.
        now = setting.shown(self._engine.settings[setting.name])
        seen = hash((source, repr(value)))
        return Line(setting, now, setting.shown(value), source, None if setting.secret else value, seen)

    def _write(self, setting: Setting, value: Value | None, note: Callable[[], None]) -> None:
        """Have the file's next state on the disk, the change in the audit trail, and then the one in place."""
        place = Path(os.path.realpath(self._path))  # a link stays one
        try:
            old = place.read_bytes().decode() if place.exists() else ""
            new = edited(old, setting.name, value)
            handle, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=place.parent)
        except OSError as error:
            raise Refused(f"{FILE} can't be written: {error}. {setting.name} stays as it was") from None
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(new.encode())
                file.flush()
                os.fsync(file.fileno())
            if place.exists() and not setting.secret:
                shutil.copymode(place, draft)
            else:
                draft.chmod(0o600)
            note()
            draft.replace(place)
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Refused(f"{FILE} can't be written: {error}. Look whether {setting.name} stays as it was") from None
        finally:
            draft.unlink(missing_ok=True)

    def _note(
        self, setting: Setting, before: Value, after: Value, actor: str, grants: Grants, reason: str | None
    ) -> None:
        def told(value: Value) -> dict[str, object]:
            return {"value": setting.shown(value) if setting.secret else value}

        action = NoteSetting(setting.name, told(before), told(after), reason)
        request = f"setting-{os.urandom(16).hex()}"
        outcome = self._engine.do(Command(request, actor, action, grants)).result(NOTED_WITHIN)
        if outcome.refused is not None:
            raise Refused(outcome.refused)


def edited(text: str, name: str, value: Value | None) -> str:
    """Return the text of a settings file with one setting changed, or taken out (None), and all else as it was.

    Raise Invalid where the line is written so that changing it would change something else.
    """
    before = tomllib.loads(text)
    key = rf"[ \t]*(?:{name}|\"{name}\"|'{name}')[ \t]*=[ \t]*"
    pattern = re.compile(rf"^({key})({_VALUE})([ \t]*(?:#[^\r\n]*)?\r?\n?)$")
    lines = text.splitlines(keepends=True)
    found = [n for n, line in enumerate(lines) if pattern.match(line)]
    if value is None:
        lines = [line for n, line in enumerate(lines) if n not in found]
    elif found:
        lines[found[0]] = pattern.sub(lambda match: f"{match[1]}{_toml(value)}{match[3]}", lines[found[0]])
    else:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{name} = {_toml(value)}\n")
    new = "".join(lines)
    wanted = {key: kept for key, kept in before.items() if key != name}
    if value is not None:
        wanted[name] = value
    try:
        right = tomllib.loads(new) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise Invalid(f"{FILE} writes {name} so that it can't be changed here. Nothing was changed; change it there")
    return new


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
