"""Every setting: name, default, help. The README's table is tested against this one.

Settings come from `settings.toml` in the data folder; an environment variable `DRAINBOARD_<NAME>` goes before it. Most
are read once, when the console starts; some are read each time they are needed, so that a change counts at once.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import NotFound, SettingsError

FILE = "settings.toml"

AT_ONCE, AT_START, AT_FIRST_START = "at once", "after the next start", "at the first start on an empty data folder"
"""From when on a change counts."""

Value = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table. A value has the type of its default and lies within `least` and `most`.

    The value of a `secret` one is never shown, nor written into the audit trail or a message.
    """

    name: str
    default: int | float | bool | str
    help: str
    least: float = 0
    most: float = 1e9
    counts: str = AT_START
    secret: bool = False  #: never shown, not even in what is said about a wrong one; has 16 characters at least
    origin: bool = False  #: where browsers reach a server: http or https, a host, a port if need be, and no more

    @property
    def variable(self) -> str:
        return f"DRAINBOARD_{self.name.upper()}"

    def shown(self, value: object) -> str:
        """Write a value as settings.toml has it; of a secret one only whether it is set."""
        if value == "" or self.secret:
            return "not set" if value == "" else "set"
        return str(value).lower() if isinstance(value, bool) else str(value)


SETTINGS: tuple[Setting, ...] = (
    Setting("fair_share", False, "Let owners take turns within a priority instead of first come, first served"),
    Setting("stop_deadline_s", 60, "Seconds until a stop that nobody confirms ends the task Canceled", 1),
    Setting("suspend_deadline_s", 60, "Seconds until a request to suspend lapses and the task runs on", 1),
    Setting("silence_s", 30, "Seconds without a heartbeat until a service counts as lost", 5),
    Setting("attempts", 3, "How many lost services end a task Canceled (worker lost)", 1),
    Setting("undo_s", 600, "Seconds in which a deletion can be undone", 0),
    Setting("commit_window_ms", 30, "How long a commit waits for company under load, in milliseconds", 0),
    Setting("memory_limit_mb", 768, "Memory that DuckDB may use for its buffers, in MiB", 128, 1e6),
    Setting("free_space_mb", 500, "Free disk space below which new work is refused, in MiB", 0),
    Setting("publish_s", 60, "Seconds between two publications of live tasks and rollups", 1),
    Setting("seed_days", 14, "Days of history that the first start generates (0: none)", 0, 3_660, AT_FIRST_START),
    Setting("seed_tasks", 0, "About how many tasks the first start generates (0: as many as the fleet makes)", 0, 1e8,
            AT_FIRST_START),
    Setting("seed", 1, "Seed of the simulated fleet's random numbers", 0),
    Setting("fleet_speed", 1.0, "How much faster than life the simulated fleet works", 0.01, 1e4),
    Setting("pile_up_tasks", 24, "Queued tasks from which a site may count as piling up", 1, counts=AT_ONCE),
    Setting("pile_up_s", 900, "Seconds for which they must have been queued so, the oldest age rising", 1,
            counts=AT_ONCE),
    Setting("stuck_s", 7200, "Seconds of running below which no task counts as stuck", 1, counts=AT_ONCE),
    Setting("stuck_times_p95", 3.0, "How many times its usual p95 a stuck task has run, at least", 1, counts=AT_ONCE),
    Setting("slow_widget_times", 3.0, "How many times its usual latency a slow widget takes, at least", 1,
            counts=AT_ONCE),
    Setting("old_hold_s", 86_400, "Seconds after which a hold in force is warned of", 60, counts=AT_ONCE),
    Setting("public_url", "", "Where browsers reach the console, as in https://console.example.org; links that set a "
            "password begin so", counts=AT_ONCE, origin=True),
    Setting("metrics_token", "", "Token that opens /metrics to Prometheus (none: closed)", secret=True),
)  # fmt: skip

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Settings:
    """The settings in force, each as an attribute of its name."""

    def __init__(self, values: Mapping[str, object] | None = None, source: str = "settings") -> None:
        self._values: dict[str, Value] = {s.name: s.default for s in SETTINGS}
        self._sources: dict[str, str] = {}
        for name, value in (values or {}).items():
            self.put(name, value, source)

    def put(self, name: str, value: object, source: str | None) -> None:
        """Set one that a source names (None: the default); raise SettingsError where it can't be that."""
        self._values[name] = checked(name, value, source or "default")
        if source is None:
            self._sources.pop(name, None)
        else:
            self._sources[name] = source

    def source(self, name: str) -> str | None:
        """Tell which file or variable set it; None: the default."""
        return self._sources.get(name)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def shown(self, name: str) -> str:
        """Write a setting's value so that people may see it."""
        return _BY_NAME[name].shown(self._values[name])

    def int(self, name: str) -> int:
        return int(self._values[name])

    def float(self, name: str) -> float:
        return float(self._values[name])


def named(name: str) -> Setting:
    """Return the setting of a name; raise NotFound where there is none."""
    if name not in _BY_NAME:
        raise NotFound.named("setting", name, _BY_NAME)
    return _BY_NAME[name]


def checked(name: str, value: object, source: str) -> Value:
    """Turn a value into its setting's type, or say what is wrong with it and where it stands."""
    setting = _BY_NAME.get(name)
    if setting is None:
        raise SettingsError(f"{source}: {NotFound.named('setting', name, _BY_NAME)}")
    if setting.secret:
        return _checked_secret(name, value, source)
    if setting.origin:
        return _checked_origin(name, value, source)
    kind = type(setting.default)
    try:
        if kind is bool:
            if str(value).lower() not in ("true", "false", "1", "0"):
                raise ValueError
            return str(value).lower() in ("true", "1")
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = kind(value)  # type: ignore[call-overload, arg-type]  # anything unfit raises and is told below
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{source}: {name} = {value!r} is not {_A[kind]}") from None
    if isinstance(number, int | float) and number < setting.least:
        raise SettingsError(f"{source}: {name} = {value} is too small; the least is {setting.least:g}")
    if isinstance(number, int | float) and not number <= setting.most:
        raise SettingsError(f"{source}: {name} = {value} is too large; the most is {setting.most:g}")
    return number


SHORTEST_SECRET = 16


def _checked_secret(name: str, value: object, source: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{source}: {name} is not a text")
    if value and (len(value) < SHORTEST_SECRET or not value.isascii() or not value.isprintable() or " " in value):
        raise SettingsError(
            f"{source}: {name} must have at least {SHORTEST_SECRET} letters, digits or signs and no space; "
            "`openssl rand -hex 32` makes a good one"
        )
    return value


def _checked_origin(name: str, value: object, source: str) -> str:
    text = value.strip().removesuffix("/") if isinstance(value, str) else None
    try:
        parts = urlsplit(text or "")
        whole = parts.scheme in ("http", "https") and parts.hostname and f"{parts.scheme}://{parts.netloc}" == text
        fits = text == "" or (whole and parts.port != 0 and "@" not in parts.netloc)
    except ValueError:  # of a port that is none
        fits = False
    if not fits or text is None or not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(f"{source}: {name} = {value!r} is no address; write it as in https://console.example.org")
    return text


_A = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def data_folder() -> Path:
    """Tell where the store and the settings are: `DRAINBOARD_DATA`, else `data/` beside the engine."""
    return Path(os.environ.get("DRAINBOARD_DATA") or Path(__file__).resolve().parent.parent / "data")


def _refuse_readable_secrets(path: Path, values: Mapping[str, object]) -> None:
    for setting in SETTINGS:
        if setting.secret and values.get(setting.name) and path.stat().st_mode & 0o077:
            raise SettingsError(
                f"{path} holds {setting.name}, which is secret, and others than its owner can read it: "
                f"chmod 600 it, or set {setting.variable} instead"
            )


def load(folder: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of a data folder; raise SettingsError naming file or variable, setting and value."""
    path = folder / FILE
    values: dict[str, object] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text("utf-8"))
            _refuse_readable_secrets(path, values)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}") from None
    settings = Settings(values, str(path))
    for setting in SETTINGS:
        if setting.variable in environment:
            settings.put(setting.name, environment[setting.variable], setting.variable)
    return settings
