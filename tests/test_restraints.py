"""Holds, caps and blackout windows from the command line: a real console asked through its socket, or found at rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import messages as m
from engine.__main__ import main
from engine.clock import DAY, HOUR, MINUTE
from engine.console import STORE, Console
from engine.lifecycle import Kind
from engine.recurrence import Rule
from engine.runtime import Engine

from .stores import laid

#: Audits wait for ever, since nobody audits.
FLEET = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [{ name = "ann", role = "business_admin" }]

[businesses.acme.sites.berlin]
name = "Berlin"
zone = "Europe/Berlin"
services = [{ name = "explorer-1", role = "explorer", slots = 1 }]
targets = [{ name = "db", kind = "segment", assets = 5 }]
schedules = [{ name = "Night", kind = "scan", cron = "0 23 * * *", owner = "ann", target = "db" }]
"""
SECOND_BUSINESS = FLEET.replace("acme", "globex").replace('"Acme"', '"Globex"').replace('"ann"', '"gus"')


class Shell:
    """A folder, the console that runs on it, and what the command line says of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys, self._serial = folder, capsys, 0
        (folder / "settings.toml").write_text("seed_days = 0\n")
        (folder / "fleet.toml").write_text(FLEET + SECOND_BUSINESS)
        laid(folder / STORE)
        self.console = Console(folder).start(wait=True)

    @property
    def engine(self) -> Engine:
        assert self.console.engine is not None
        return self.console.engine

    def say(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main([*words, "--data", str(self.folder)])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def ask(self, *words: str) -> dict[str, Any]:
        """Have a verb carried out and read its answer as data."""
        code, out, err = self.say(*words, "--json")
        assert (code, err) == (0, ""), (out, err)
        found: dict[str, Any] = json.loads(out)
        return found

    def submit(self, n: int, owner: str, business: str = "Acme") -> list[int]:
        self._serial += 1
        new = m.NewTask(business, "Berlin", Kind.AUDIT, "task", owner, owner)
        outcome = self.engine.do(m.Command(f"test-{self._serial}", "ann", m.Submit([new] * n))).result(60)
        assert outcome.refused is None, outcome.refused
        return [int(task) for task in outcome.changed]

    def trail(self) -> list[tuple[str, ...]]:
        """Tell what the command line left in the audit trail."""
        return self.engine.store.read(
            "select action, object_kind, object_id, outcome, reason from audit where actor like 'cli:%' "
            "order by audit_id"
        ).rows()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    one = Shell(tmp_path, capsys)
    yield one
    one.console.close()


ACME = ("--business", "Acme")


def test_a_name_that_nobody_is_known_by_is_taken_and_told_to_be_strange(shell: Shell) -> None:
    """He may have an account tomorrow; but it may be a slip, too."""
    shell.submit(1, "bob")
    ended = shell.submit(1, "old.hand")
    assert shell.engine.do(m.Command("stop", "ann", m.Stop(ended))).result(60).changed == ended
    bob, old, slip = (
        shell.say("hold", "place", "--user", name, *ACME, "--reason", "x")[1] for name in ("bob", "old.hand", "bobb")
    )  # fmt: skip
    assert "There is no" not in bob + old
    assert "There is no account or task in Acme so far of “bobb”; did you mean “bob”?\nPlaced: " in slip
    assert "so far of “bobb”" in shell.say("cap", "set", "bobb", *ACME, "--at-most", "2", "--reason", "x")[1]


def test_a_user_is_paused_and_resumed_gradually_and_what_is_kept_back_is_let_go(shell: Shell) -> None:
    shell.submit(5, "bob")
    looked = shell.say("hold", "place", "--user", "bob", *ACME, "--reason", "backlog", "--dry-run")
    assert looked[0] == 0
    assert "user bob: keeps 5 tasks waiting; 0 tasks that run go on\nNothing was changed." in looked[1]
    assert shell.ask("hold", "list")["holds"] == []

    (placed,) = shell.ask("hold", "place", "--user", "bob", *ACME, "--reason", "backlog", "--for", "2h")["holds"]
    (held,) = shell.ask("hold", "list")["holds"]
    assert (held["hold_id"], held["target"], held["reason"], held["keeps"]) == (placed, "bob", "backlog", 5)
    assert abs(held["until_at"] - held["from_at"] - 2 * HOUR) < MINUTE
    assert "user bob" in shell.say("hold", "list", "--zone", "Europe/Berlin")[1]

    lifted = shell.ask("hold", "lift", "--user", "bob", "--rate", "6", "--reason", "go on")
    assert (lifted["changed"], lifted["tasks"], lifted["rate"]) == ([placed], 5, 6)
    (ramp,) = shell.ask("hold", "list", *ACME)["ramps"]
    assert (ramp["rate"], ramp["reason"]) == (6, "go on")
    assert "RAMP OVER" in shell.say("hold", "list")[1]
    assert shell.ask("hold", "let-go", str(ramp["throttle_id"]))["changed"] == [ramp["throttle_id"]]
    assert shell.ask("hold", "list")["ramps"] == []
    assert [row[:2] + row[4:] for row in shell.trail()] == [
        ("hold", "user", "backlog"), ("lift", "user", "go on"), ("release", "ramp", None)
    ]  # fmt: skip


def test_all_are_resumed_but_those_on_everybody_and_of_windows_which_are_named(shell: Shell) -> None:
    shell.submit(3, "bob")
    mine = shell.ask("hold", "place", "--user", "bob", "--user", "cid", *ACME, "--reason", "x")["holds"]
    (every,) = shell.ask("hold", "place", "--type", "audit", "--everywhere", "--reason", "y")["holds"]
    (other,) = shell.ask("hold", "place", "--user", "gus", "--business", "Globex", "--reason", "z")["holds"]
    code, told, _ = shell.say("hold", "lift", "--all", *ACME)
    assert code == 0
    assert f"Lifted: {mine[0]}, {mine[1]}" in told
    assert "It lets no task go." in told
    assert "type Audit (every business) still keeps 3" in told
    assert f"{every}  type Audit, every business" in told
    assert [one["hold_id"] for one in shell.ask("hold", "list")["holds"]] == [every, other]
    again = shell.say("hold", "lift", str(mine[0]))
    assert (again[0], again[1]) == (1, f"Nothing was lifted.\n  {mine[0]}: already ended\n")
    shell.say("hold", "lift", str(every), str(other))
    assert "There is no hold to lift." in shell.say("hold", "lift", "--all", *ACME)[1]


def test_a_cap_is_set_changed_and_removed_and_stands_in_the_audit_trail(shell: Shell) -> None:
    shell.submit(4, "bob")
    code, told, _ = shell.say("cap", "set", "bob", "--at-most", "2", *ACME, "--reason", "his share")
    assert (code, told) == (0, "At most 2 of bob at once in Acme; now 0 running, 4 waiting. What runs goes on.\n")
    shell.ask("cap", "set", "bob", "--at-most", "3", *ACME, "--reason", "more")
    (cap,) = shell.ask("cap", "list")["caps"]
    assert (cap["user"], cap["at_most"], cap["running"], cap["waiting"]) == ("bob", 3, 0, 4)
    assert shell.say("cap", "list")[1].splitlines()[1].split()[:5] == ["bob", "Acme", "3", "0", "4"]
    shell.ask("cap", "remove", "bob", *ACME)
    assert shell.say("cap", "list")[1] == "Nobody has a cap.\n"
    assert [row[0] for row in shell.trail()] == ["cap", "cap", "uncap"]
    code, _, err = shell.say("cap", "remove", "bob", *ACME)
    assert (code, err) == (1, "There is no cap on bob, or it was removed\n")


def test_a_window_is_added_in_a_zone_of_its_own_changed_and_removed(shell: Shell) -> None:
    words = ("Night off", *ACME, "--site", "Berlin", "--cron", "30 22 * * *", "--for", "4h", "--reason", "updates")
    code, told, _ = shell.say("blackout", "add", *words, "--dry-run")
    assert code == 0
    assert told.startswith("“Night off” holds Berlin: Every day at 22:30 (Europe/Berlin), for 4h each time\n")
    assert "Schedules that fire in it: Night.\nNothing was changed." in told
    assert shell.ask("blackout", "list")["windows"] == []

    shell.ask("blackout", "add", *words)
    (window,) = shell.ask("blackout", "list")["windows"]
    assert (window["name"], window["duration_s"], window["reason"], window["suspend"]) == (
        "Night off", 14_400, "updates", False,
    )  # fmt: skip
    assert window["rule"] == {"cron": "30 22 * * *", "zone": "Europe/Berlin"}

    shell.ask("blackout", "change", "Night off", "--zone", "America/New_York", "--for", "90m", "--suspend")
    (window,) = shell.ask("blackout", "list")["windows"]
    assert (window["version"], window["duration_s"], window["suspend"]) == (2, 5_400, True)
    assert window["rule"] == {"cron": "30 22 * * *", "zone": "America/New_York"}
    assert window["next_at"] == Rule.cron_rule("30 22 * * *", "America/New_York").next_after(shell.engine.now)
    assert "so already" in shell.say("blackout", "change", "Night off", "--for", "90m")[1]
    assert "America/New_York" in shell.say("blackout", "list")[1]

    shell.ask("blackout", "remove", "Night off", "--reason", "done")
    assert shell.ask("blackout", "list")["windows"] == []
    assert [row[0::4] for row in shell.trail()] == [("create", None), ("edit", None), ("remove", "done")]


def test_a_window_that_comes_every_so_often_counts_from_an_instant_of_the_zone_that_it_goes_by(shell: Shell) -> None:
    words = (*ACME, "--site", "Berlin", "--every", "8h", "--first", "1970-01-02T00:00", "--for", "1h")
    shell.ask("blackout", "add", "There", *words)
    shell.ask("blackout", "add", "Here", *words, "--zone", "UTC")
    found = {one["name"]: one for one in shell.ask("blackout", "list")["windows"]}
    assert found["There"]["rule"] == {"every_s": 28_800, "anchor_at": DAY - HOUR, "zone": "Europe/Berlin"}
    assert found["Here"]["rule"] == {"every_s": 28_800, "anchor_at": DAY, "zone": "UTC"}
    assert (found["Here"]["next_at"] - DAY) % (8 * HOUR) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hold place --user bob --reason x", "There are 2 businesses (Acme, Globex); say with --business which one"),
        ("hold place --user bob --business Acmee --reason x", "There is no business “Acmee”; did you mean “Acme”?"),
        ("hold place --user bob --everywhere --reason x", "Only a task type can be held system-wide"),
        ("hold place --user bob --business Acme --site Berln --reason x", "no site “Berln”; did you mean “Berlin”?"),
        ("hold place --user bob --business Acme --until 2020-01-01 --reason x", "must end after it begins"),
        ("hold lift --user bob", "There is no hold on “user bob”"),
        ("hold lift 1 --rate 1000", "released gradually at 1 to 600 a minute"),
        ("cap set bob --business Acme --at-most 20000 --reason x", "A cap is 1 to 10,000 running tasks"),
        ("blackout add W --business Acme --site Berln --cron 0_2_*_*_* --for 1h", "no site in Acme “Berln”; did you"),
        ("blackout add W --business Acme --site Berlin --cron 0_25_*_*_* --for 1h", "hour “25”"),
        ("blackout add W --business Acme --site Berlin --cron 0_2_*_*_* --for 9d", "from 1 minute to 7 days"),
        ("blackout add W --business Acme --site Berlin --cron 0_*_*_*_* --for 3h", "occur a third time before"),
        ("blackout remove Nights", "There is no blackout window “Nights”"),
    ],
)
def test_what_can_not_be_done_is_refused_in_one_line_and_changes_nothing(shell: Shell, words: str, said: str) -> None:
    code, out, err = shell.say(*(word.replace("_", " ") for word in words.split()))
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.splitlines()) == 1
    snapshot = shell.engine.snapshot
    assert (list(snapshot.holds), list(snapshot.throttles), list(snapshot.blackouts)) == ([], [], [])


def test_windows_of_one_name_are_told_apart_by_their_place(shell: Shell) -> None:
    for business in ("Acme", "Globex"):
        shell.ask("blackout", "add", "W", "--business", business, "--site", "Berlin", "--cron", "0 2 * * *",
                  "--for", "1h")  # fmt: skip
    code, _, err = shell.say("blackout", "remove", "W")
    assert code == 1
    assert "There are 2 windows “W” (" in err
    shell.ask("blackout", "remove", "W", "--business", "Globex")
    assert [one["business"] for one in shell.ask("blackout", "list")["windows"]] == ["Acme"]


def test_without_a_console_it_is_listed_as_it_was_left_and_nothing_is_changed(shell: Shell) -> None:
    shell.submit(5, "bob")
    shell.ask("hold", "place", "--user", "bob", *ACME, "--reason", "backlog")
    shell.ask("cap", "set", "bob", "--at-most", "2", *ACME, "--reason", "his share")
    shell.ask("blackout", "add", "W", *ACME, "--site", "Berlin", "--cron", "0 2 * * *", "--for", "1h")
    shell.console.close()
    (held,) = shell.ask("hold", "list")["holds"]
    assert (held["target"], held["keeps"]) == ("bob", 5)
    assert [one["at_most"] for one in shell.ask("cap", "list")["caps"]] == [2]
    assert [one["name"] for one in shell.ask("blackout", "list")["windows"]] == ["W"]
    looked = shell.say("hold", "place", "--user", "bob", *ACME, "--reason", "x", "--dry-run")
    assert "keeps 5 tasks waiting" in looked[1]
    for words in (
        ("hold", "place", "--user", "cid", *ACME, "--reason", "x"), ("hold", "lift", "--user", "bob"),
        ("cap", "remove", "bob", *ACME), ("blackout", "remove", "W"),
    ):  # fmt: skip
        code, _, err = shell.say(*words)
        assert code == 1
        assert "This needs a running console, and nothing was changed" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hold place --user bob", "--reason"), ("hold place --user bob --reason _", "whoever finds the tasks waiting"),
        ("hold place --reason x", "Say with --user or --type"),
        ("hold place --type audits --reason x", "audits"),
        ("hold place --type audit --everywhere --business Acme --reason x", "not both"),
        ("hold place --user bob --for soon --reason x", "no duration"),
        ("hold place --user bob --until tomorrow --reason x", "no instant"),
        ("hold place --user bob --for 1h --until 2027-01-01 --reason x", "not allowed with"),
        ("hold lift", "Say which holds"), ("hold lift 7 --all", "Say which holds"), ("hold lift seven", "no ID"),
        ("hold lift 7 --rate 0", "whole number from 1"), ("hold let-go", "Say which ramps"),
        ("cap set bob --reason x", "--at-most"), ("cap set bob --at-most 3", "--reason"),
        ("blackout add W --site Berlin --for 1h", "--cron"), ("blackout add W --site Berlin --cron x", "--for"),
        ("blackout add W --site Berlin --every 1d --for 1h", "--every and --first go together"),
        ("blackout add W --site Berlin --cron x --for 1h --zone Berlin", "no zone"),
    ],
)
def test_bad_usage_is_told_apart_from_a_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        sys.exit(main([*(word.replace("_", " ") for word in words.split()), "--data", str(tmp_path)]))
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
