"""Settings as people change them on a console that runs: what is refused, what is written, and what counts when."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.console import STORE, Console
from engine.errors import DrainboardError, NotAllowed, SettingsError
from engine.health import Limits
from engine.roles import EVERYTHING, Grant, Role
from engine.runtime import Engine
from engine.settings import SETTINGS, Setting, Settings, load
from engine.tuning import Line, Tuning, edited

from .stores import laid

WRITTEN = """# ours
seed_days = 0   # nothing to seed
pile_up_tasks = 30 # busy place
"stuck_s" = 9000
"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    (tmp_path / "settings.toml").write_text(WRITTEN)
    laid(tmp_path / STORE)
    one = Console(tmp_path).start(wait=True)
    yield one
    one.close()


@pytest.fixture
def engine(console: Console) -> Engine:
    assert console.engine is not None
    return console.engine


@pytest.fixture
def tuning(console: Console) -> Tuning:
    assert console.tuning is not None
    return console.tuning


def line(tuning: Tuning, name: str) -> Line:
    return next(one for one in tuning.lines(EVERYTHING) if one.setting.name == name)


def change(tuning: Tuning, name: str, value: float | bool | None) -> str:
    return tuning.change(name, value, line(tuning, name).seen, "ann", EVERYTHING)


def trail(engine: Engine) -> list[tuple[str, str, str, str, str]]:
    return engine.store.read(
        "select actor, action, object_id, before, after from audit where object_kind = 'setting' order by audit_id"
    ).rows()


def test_a_limit_of_the_verdict_counts_at_once_and_stands_in_trail_and_file(
    console: Console, engine: Engine, tuning: Tuning
) -> None:
    assert change(tuning, "pile_up_tasks", 7) == "pile_up_tasks is 7 from now on."
    assert Limits.of(engine.settings).pile_up_tasks == 7
    ((actor, action, name, before, after),) = trail(engine)
    assert (actor, action, name) == ("ann", "set", "pile_up_tasks")
    assert (json.loads(before), json.loads(after)) == ({"value": 30}, {"value": 7})
    path = console.folder / "settings.toml"
    assert path.read_text() == WRITTEN.replace("= 30 #", "= 7 #")
    assert [p.name for p in console.folder.iterdir() if p.name.startswith(".settings")] == []
    assert load(console.folder, {}).int("pile_up_tasks") == 7


def test_a_reason_that_was_given_stands_beside_the_change(engine: Engine, tuning: Tuning) -> None:
    tuning.change("undo_s", 300, line(tuning, "undo_s").seen, "ann", EVERYTHING, "people ask within minutes")
    change(tuning, "undo_s", 900)
    said = "select reason from audit where object_kind = 'setting' order by audit_id"
    assert engine.store.read(said).rows() == [("people ask within minutes",), (None,)]


def test_what_is_read_at_the_start_counts_after_the_next_one(
    console: Console, engine: Engine, tuning: Tuning
) -> None:
    said = change(tuning, "silence_s", 45)
    assert said == "silence_s is 45 from the next start on; until then 30 counts."
    assert engine.settings.int("silence_s") == 30
    now = line(tuning, "silence_s")
    assert (now.now, now.then, now.source) == ("30", "45", "settings.toml")
    assert (console.folder / "settings.toml").read_text() == WRITTEN + "silence_s = 45\n"
    console.close()
    again = Console(console.folder).start(wait=True)
    try:
        assert again.engine is not None
        assert again.engine.settings.int("silence_s") == 45
    finally:
        again.close()


def test_a_setting_goes_back_to_its_default_by_leaving_the_file(
    console: Console, engine: Engine, tuning: Tuning
) -> None:
    assert "its default" in change(tuning, "stuck_s", None)
    assert engine.settings.int("stuck_s") == 7200
    assert line(tuning, "stuck_s").source == "default"
    assert (console.folder / "settings.toml").read_text() == WRITTEN.replace('"stuck_s" = 9000\n', "")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("silence_s", 4, "silence_s = 4 is too small; the least is 5"),
        ("silence_s", 30.5, "silence_s = 30.5 is not a whole number"),
        ("silence_s", float("inf"), "silence_s = inf is not a whole number"),
        ("stuck_times_p95", float("nan"), "is too large"),
        ("fair_share", 7, "fair_share = 7 is not true or false"),
        ("pile_up_tasks", 30, "pile_up_tasks is 30 already; nothing was changed"),
        ("pile_up_task", 30, "did you mean “pile_up_tasks”"),
    ],
)
def test_what_is_out_of_bounds_or_no_change_is_refused_and_leaves_no_trace(
    console: Console, engine: Engine, tuning: Tuning, name: str, value: float, said: str
) -> None:
    known = {one.setting.name: one.seen for one in tuning.lines(EVERYTHING)}
    with pytest.raises(DrainboardError, match=said):
        tuning.change(name, value, known.get(name, 0), "ann", EVERYTHING)
    assert trail(engine) == []
    assert (console.folder / "settings.toml").read_text() == WRITTEN


def test_the_second_of_two_admins_is_told_what_the_first_one_did(engine: Engine, tuning: Tuning) -> None:
    seen = line(tuning, "silence_s").seen
    tuning.change("silence_s", 45, seen, "ann", EVERYTHING)
    with pytest.raises(DrainboardError, match="Somebody has changed silence_s meanwhile: it is 45 now"):
        tuning.change("silence_s", 60, seen, "ben", EVERYTHING)
    assert [row[0] for row in trail(engine)] == ["ann"]


def test_what_the_environment_sets_is_not_changed_here(console: Console, engine: Engine) -> None:
    tuning = Tuning(engine, console.folder, {"DRAINBOARD_SILENCE_S": "90"})
    now = line(tuning, "silence_s")
    assert (now.then, now.source) == ("90", "DRAINBOARD_SILENCE_S")
    assert now.locked
    with pytest.raises(DrainboardError, match=r"DRAINBOARD_SILENCE_S goes before settings\.toml"):
        change(tuning, "silence_s", 45)
    assert trail(engine) == []


@pytest.mark.parametrize("role", [Role.BUSINESS_ADMIN, Role.SITE_ADMIN, Role.SITE_USER])
def test_who_is_no_platform_admin_neither_sees_nor_changes_settings(
    engine: Engine, tuning: Tuning, role: Role
) -> None:
    grants = [Grant(role, "Northwind Logistics", None if role is Role.BUSINESS_ADMIN else "Berlin hub")]
    seen = line(tuning, "silence_s").seen
    with pytest.raises(NotAllowed):
        tuning.lines(grants)
    with pytest.raises(NotAllowed, match="You may not change settings at the whole platform"):
        tuning.change("silence_s", 45, seen, "ben", grants)
    assert trail(engine) == []


def test_a_file_that_can_not_be_written_changes_nothing(console: Console, engine: Engine, tuning: Tuning) -> None:
    path = console.folder / "settings.toml"
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    path.symlink_to(console.folder / "nowhere" / "settings.toml")
    with pytest.raises(DrainboardError, match=r"settings.toml can't be written: .*pile_up_s stays as it was"):
        change(tuning, "pile_up_s", 60)
    assert trail(engine) == []
    assert engine.settings.int("pile_up_s") == 900
    path.unlink()
    path.write_text(WRITTEN)
    path.chmod(mode)
    change(tuning, "pile_up_s", 60)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(
    ("text", "value", "left"),
    [
        ("", 4, "seed = 4\n"),
        ("undo_s = 1", 4, "undo_s = 1\nseed = 4\n"),
        ("seed=1#one\nseed_days = 2\n", 4, "seed=4#one\nseed_days = 2\n"),
        ("# seed = 9\r\nseed = 1\r\n", 4, "# seed = 9\r\nseed = 4\r\n"),
        ("note = 'seed = 1 # no'\nseed = '1' # text\n", 4, "note = 'seed = 1 # no'\nseed = 4 # text\n"),
        ("seed = 1\n", None, ""),
    ],
)
def test_only_the_line_that_a_change_is_about_changes(text: str, value: int | None, left: str) -> None:
    assert edited(text, "seed", value) == left


def test_a_line_that_can_not_be_changed_alone_is_left_to_people() -> None:
    with pytest.raises(DrainboardError, match="Nothing was changed; change it there"):
        edited('note = """\nseed = 1\n"""\nseed = 2\n', "seed", 4)


def test_a_secret_is_never_written_out() -> None:
    secret = Setting("token", "", "a token", secret=True)
    assert (secret.shown("abc"), secret.shown("")) == ("set", "not set")
    assert [s.name for s in SETTINGS if s.secret] == ["metrics_token"]


def test_a_whole_number_is_not_cut_to_fit() -> None:
    with pytest.raises(DrainboardError, match=r"silence_s = 30.5 is not a whole number"):
        Settings({"silence_s": 30.5})
    assert Settings({"silence_s": 30.0}).int("silence_s") == 30


@pytest.mark.parametrize(
    ("given", "kept"),
    [("https://console.example.org", "https://console.example.org"), (" http://[::1]:8501/ ", "http://[::1]:8501"),
     ("http://10.0.0.5:8501", "http://10.0.0.5:8501"), ("", "")],
)  # fmt: skip
def test_where_browsers_reach_the_console_is_kept_without_what_may_surround_it(given: str, kept: str) -> None:
    assert Settings({"public_url": given})["public_url"] == kept


@pytest.mark.parametrize(
    "given",
    ["console.example.org", "ftp://a.example", "https://", "https://a.example/path", "https://a.example?x=1", 5,
     "https://user:secret@a.example", "https://a b.example", "https://a.example:port", "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_no_address_is_not_taken_for_where_browsers_reach_the_console(given: object) -> None:
    with pytest.raises(SettingsError, match="public_url"):
        Settings({"public_url": given})
