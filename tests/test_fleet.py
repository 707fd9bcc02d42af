"""Fleets: the demo's is believable, and a wrong file is told all that is wrong with it, and where."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from statistics import fmean, median
from zoneinfo import ZoneInfo

import pytest

from engine.clock import SECOND
from engine.errors import InvalidFleet, NotFound
from engine.fleet import Duration, Fleet, load, load_file
from engine.lifecycle import Kind
from engine.messages import AddBusiness, AddService, AddSite, BlackoutSpec, CreateBlackout, CreateSchedule
from engine.recurrence import Rule

_WEEKS = (1_780_272_000 * SECOND, (1_780_272_000 + 366 * 86_400) * SECOND)
DEMO = Path(__file__).resolve().parents[1] / "data" / "fleet.toml"

SMALL = """
[businesses.acme]
name = "Acme"
processors = [{ name = "proc-1", slots = 2 }]
users = [
  { name = "ann", role = "business_admin" },
  { name = "ben", full_name = "Ben Li", role = "site_admin", sites = ["berlin"], activity = 2 },
  { name = "cy", role = "site_user", sites = ["berlin"] },
]

[businesses.acme.sites.berlin]
name = "Berlin hub"
zone = "Europe/Berlin"
services = [
  { name = "explorer-1", role = "explorer", slots = 2 },
  { name = "audit-1", role = "audit_service", slots = 1 },
]
targets = [
  { name = "office", kind = "segment", assets = 40 },
  { name = "srv", kind = "device", count = 3 },
  { name = "cloud", kind = "cloud" },
]
widgets = [{ name = "Online", refresh_s = 600, process = { median_s = 20, sigma = 0.4 } }]
schedules = [
{name = "Night", kind = "scan", cron = "0 2 * * *", owner = "ben", target = "office", requested_service = "explorer-1"},
  { name = "Sync", kind = "connector", every_s = 900, anchor = 2026-01-01T00:05:00Z, owner = "ann", target = "cloud" },
]
blackouts = [
  { name = "Night off", cron = "30 22 * * 6", zone = "America/New_York", duration_s = 14400, suspend = true },
]
mix.audit = { per_hour = 2 }
"""


@pytest.fixture(scope="module")
def demo() -> Fleet:
    return load_file(DEMO)


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidFleet) as refusal:
        load(text, "small.toml")
    found = refusal.value.facts["problems"]
    assert isinstance(found, tuple)
    assert all(problem in str(refusal.value) for problem in found)
    return found


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_the_demo_keeps_every_class_of_service_busy_but_not_overwhelmed(demo: Fleet) -> None:
    loads = demo.loads()
    assert len(loads) == 6 * 3 + 2
    for one in loads:
        assert 0.3 < one.utilisation < 0.85, one


def test_the_demo_is_of_a_believable_size(demo: Fleet) -> None:
    sites = [site for business in demo.businesses for site in business.sites]
    users = [user for business in demo.businesses for user in business.users]
    assert len(demo.businesses) == 2
    assert len({site.zone for site in sites}) == len(sites) == 6
    assert len(users) == 40
    assert 6_000 < demo.tasks_per_day() < 10_000
    assert 35 <= sum(len(site.schedules) for site in sites) <= 45
    assert all(4 <= len(site.widgets) <= 6 for site in sites)
    assert sum(one.offered for one in demo.loads()) > 24, "a live page should show a dozen or two tasks per business"


def test_the_demo_has_audits_that_stack_on_one_minute(demo: Fleet) -> None:
    stacked = Counter(
        (site.name, spec.rule.cron)
        for business in demo.businesses
        for site in business.sites
        for spec in site.schedules
        if spec.kind is Kind.AUDIT
    )
    assert stacked["Berlin hub", "0 2 * * *"] >= 6
    assert max(stacked.values()) > 4, "more than the audit slots of the site"


def test_everyone_in_the_demo_who_submits_has_targets_to_submit_for(demo: Fleet) -> None:
    for business in demo.businesses:
        for site in business.sites:
            assert business.submitters(site.name)
            for kind, mix in site.mix.items():
                assert mix.per_hour == 0 or mix.collect is None or site.targets_for(kind), (site.name, kind)


def test_a_small_fleet_needs_only_what_differs_from_the_standard() -> None:
    fleet = load(SMALL)
    site = fleet.site("Acme", "Berlin hub")
    assert [target.name for target in site.targets] == ["office", "srv-01", "srv-02", "srv-03", "cloud"]
    assert [user.name for user in fleet.business("Acme").submitters("Berlin hub")] == ["ann", "ben"]
    assert fleet.business("Acme").users[1].sites == ("Berlin hub",)
    assert set(site.mix) == set(Kind)
    assert site.mix[Kind.AUDIT].per_hour == 2
    assert site.mix[Kind.AUDIT].collect is not None
    assert site.mix[Kind.REPORT].collect is None
    nightly, sync = site.schedules
    assert (nightly.rule.zone, nightly.target_kind, nightly.priority) == ("Europe/Berlin", "segment", 5)
    assert sync.rule.prose() == "Every 15 minutes from 2026-01-01 01:05 Europe/Berlin"


def test_founding_commands_name_everything_in_an_order_that_refers_only_backwards() -> None:
    actions = list(load(SMALL).founding())
    assert [type(action) for action in actions] == [
        AddBusiness, AddService, AddSite, AddService, AddService, CreateSchedule, CreateSchedule, CreateBlackout,
    ]  # fmt: skip
    assert actions[1] == AddService("Acme", None, "proc-1", "processor", 2)
    assert actions[3] == AddService("Acme", "Berlin hub", "explorer-1", "explorer", 2)


def test_a_blackout_window_has_a_zone_of_its_own_or_its_sites() -> None:
    (window,) = load(SMALL).site("Acme", "Berlin hub").blackouts
    rule = Rule.cron_rule("30 22 * * 6", "America/New_York")
    assert window == BlackoutSpec("Night off", "Acme", "Berlin hub", rule, 14400, "", True)
    (here,) = load(changed(', zone = "America/New_York"', "")).site("Acme", "Berlin hub").blackouts
    assert here.rule.zone == "Europe/Berlin"


def test_a_site_of_the_demo_is_maintained_at_night_by_the_clock_of_those_who_do_it(demo: Fleet) -> None:
    found = [(site, window) for business in demo.businesses for site in business.sites for window in site.blackouts]
    ((site, window),) = found
    assert window.rule.zone != site.zone
    for at in window.rule.occurrences(*_WEEKS):
        begin = datetime.fromtimestamp(at / SECOND, ZoneInfo(site.zone))
        assert begin.hour in (22, 23, 0, 1), "when few would submit anything there"


def test_a_site_takes_the_kind_as_the_fleet_has_it_and_overrides_key_by_key() -> None:
    text = (
        SMALL
        + '[kinds.audit]\nfailure = 0.2\nprofile = "day"\ncomplaints = ["no"]\n[profiles.day]\nhours = ['
        + ("0, " * 12 + "2, " * 12 + "]\n")
    )
    audit = load(text).site("Acme", "Berlin hub").mix[Kind.AUDIT]
    assert (audit.failure, audit.complaints) == (0.2, ("no",))
    assert audit.profile.factor(datetime(2026, 6, 1, 3)) == 0  # noqa: DTZ001  # the wall clock of the site
    own = (
        load(text.replace("per_hour = 2 }", "per_hour = 2, failure = 0.5 }")).site("Acme", "Berlin hub").mix[Kind.AUDIT]
    )
    assert (own.failure, own.profile.name) == (0.5, "day")


def test_the_factors_of_a_profile_average_to_one_over_the_week(demo: Fleet) -> None:
    monday = datetime(2026, 6, 1)  # noqa: DTZ001  # the wall clock of any site
    profiles = {mix.profile for business in demo.businesses for site in business.sites for mix in site.mix.values()}
    assert len(profiles) >= 3
    for profile in profiles:
        factors = [profile.factor(monday + timedelta(hours=hour)) for hour in range(7 * 24)]
        assert fmean(factors) == pytest.approx(1)
        assert max(factors) == pytest.approx(profile.peak)


def test_durations_are_drawn_around_their_median_and_mean() -> None:
    duration, chance = Duration(300, 0.6), Random(5)
    drawn = [duration.draw(chance) for _ in range(40_000)]
    assert median(drawn) == pytest.approx(300, rel=0.03)
    assert fmean(drawn) == pytest.approx(duration.mean_s, rel=0.03)


def test_loads_count_people_schedules_and_widgets() -> None:
    loads = {one.slots_for: one for one in load(SMALL).loads()}
    standard = Duration(300, 0.5).mean_s
    assert loads["scan"].offered == pytest.approx(standard / 86400)
    assert loads["audit"].offered == pytest.approx(2 * standard / 3600)
    assert (loads["connector"].offered, loads["connector"].slots) == (pytest.approx(4 * standard / 3600), 1)
    runs = (1 / 24 + 2 + 4) * Duration(30, 0.5).mean_s / 3600
    assert loads["process"].offered == pytest.approx(runs + Duration(20, 0.4).mean_s / 600)
    assert load(SMALL).tasks_per_day() == pytest.approx(1 + 48 + 96 + 144)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ('"audit_service", slots = 1', '"audit_service", slots = 0', "sites.berlin.services[1].slots", "from 1"),
        ('"audit_service", slots = 1', '"audit_service", slot = 1', "sites.berlin.services[1].slot", "“slots”?"),
        ('"audit_service", slots = 1', '"audit_service", slots = true', "sites.berlin.services[1].slots", "True"),
        ('role = "audit_service"', 'role = "auditservice"', "sites.berlin.services[1].role", "“audit_service”?"),
        ('name = "audit-1"', 'name = "proc-1"', "businesses.acme", "service “proc-1” stands there more than once"),
        ('name = "audit-1"', 'name = " "', "sites.berlin.services[1].name", "a text"),
        ('"Europe/Berlin"', '"Europe/Berln"', "sites.berlin.zone", "“Europe/Berlin”?"),
        ('zone = "Europe/Berlin"', "", "sites.berlin.zone", "is missing"),
        ('owner = "ben"', 'owner = "bem"', "sites.berlin.schedules[0].owner", "“ben”?"),
        ('"0 2 * * *"', '"0 25 * * *"', "sites.berlin.schedules[0].cron", "hour “25”"),
        ('cron = "0 2 * * *", ', "", "sites.berlin.schedules[0].cron", "either cron or every_s"),
        ('cron = "0 2', 'anchor = 2026-01-01T00:00:00Z, cron = "0 2', "sites.berlin.schedules[0].anchor", "every_s"),
        ('cron = "0 2', 'zone = "Berlin", cron = "0 2', "sites.berlin.schedules[0].zone", "“Berlin”"),
        ("every_s = 900", "every_s = 0", "sites.berlin.schedules[1].every_s", "from 1"),
        ("00:05:00Z", "00:05:00", "sites.berlin.schedules[1].anchor", "offset"),
        ('= "explorer-1"}', '= "explorer-9"}', "sites.berlin.schedules[0].requested_service", "“explorer-1”?"),
        ('= "explorer-1"}', '= "audit-1"}', "sites.berlin.schedules[0].requested_service", "can't run a scan"),
        ('target = "office"', 'target = "offise"', "sites.berlin.schedules[0].target", "“office”?"),
        ('target = "office"', 'target = "cloud"', "sites.berlin.schedules[0].target", "is a cloud"),
        ('kind = "scan"', 'kind = "import"', "sites.berlin.schedules[0].kind", "hosted_zone"),
        ('kind = "scan"', 'kind = "skan"', "sites.berlin.schedules[0].kind", "“scan”?"),
        ('slots = 2 },\n  { name = "audit', 'slots = 1 },\n  { name = "audit', "schedules[1].kind", "two slots"),
        ('cron = "30 22 * * 6", ', "", "sites.berlin.blackouts[0].cron", "a blackout window takes either"),
        ('"30 22 * * 6"', '"30 22 * * 8"', "sites.berlin.blackouts[0].cron", "weekday “8”"),
        ('"America/New_York"', '"America/NewYork"', "sites.berlin.blackouts[0].zone", "“America/New_York”?"),
        ("duration_s = 14400", "duration_s = 30", "sites.berlin.blackouts[0].duration_s", "from 60 to 604800, not 30"),
        ("duration_s = 14400", "lasts_s = 14400", "sites.berlin.blackouts[0].duration_s", "is missing"),
        ('"30 22 * * 6"', '"0 * * * *"', "sites.berlin.blackouts[0].duration_s", "make it shorter, or rarer"),
        ("suspend = true", 'suspend = "yes"', "sites.berlin.blackouts[0].suspend", "true or false"),
        ("mix.audit = { per_hour = 2 }", "mix.import = { per_hour = 2 }", "sites.berlin.mix.import", "hosted_zone"),
        ("mix.audit = { per_hour = 2 }", "mix.audits = { per_hour = 2 }", "sites.berlin.mix.audits", "“audit”?"),
        ("per_hour = 2 }", "per_hour = 2, failure = 1.5 }", "sites.berlin.mix.audit.failure", "from 0 to 1"),
        ("per_hour = 2 }", "per_hour = 2, failure = 0.6, hung = 0.6 }", "sites.berlin.mix.audit.failure", "1.2"),
        ("per_hour = 2 }", 'per_hour = 2, profile = "nightli" }', "sites.berlin.mix.audit.profile", "even"),
        ("per_hour = 2 }", "per_hour = -2 }", "sites.berlin.mix.audit.per_hour", "-2"),
        ("per_hour = 2 }", "per_hour = nan }", "sites.berlin.mix.audit.per_hour", "nan"),
        ("per_hour = 2 }", "per_hour = inf }", "sites.berlin.mix.audit.per_hour", "inf"),
        ("per_hour = 2 }", "per_hour = 1" + "0" * 400 + " }", "sites.berlin.mix.audit.per_hour", "a number from 0"),
        ("per_hour = 2 }", "failure = 0 }", "sites.berlin.mix.audit.per_hour", "is missing"),
        ("median_s = 20", "median_s = 0", "sites.berlin.widgets[0].process.median_s", "above 0"),
        ("refresh_s = 600", 'refresh_s = "10 min"', "sites.berlin.widgets[0].refresh_s", "whole number"),
        ('{ name = "srv", kind = "device", count = 3 },', "", "sites.berlin.mix.audit", "no target"),
        ('"site_user", sites = ["berlin"]', '"site_user", sites = ["berlim"]', "users[2].sites", "“berlin”?"),
        ('"site_user", sites = ["berlin"]', '"site_user"', "acme.users[2].sites", "is missing"),
        ('"site_user", sites = ["berlin"]', '"site_user", sites = []', "acme.users[2].sites", "empty"),
        ('name = "cy"', 'name = "ann"', "businesses", "user “ann” stands there more than once"),
        ('processors = [{ name = "proc-1", slots = 2 }]', "", "businesses.acme.processors", "is missing"),
        ('name = "Acme"', 'name = "Acme"\nsitez = 1', "businesses.acme.sitez", "“sites”?"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong_and_where(old: str, new: str, place: str, words: str) -> None:
    problems = problems_of(changed(old, new))
    assert any(place + ":" in problem and words in problem for problem in problems), problems


def test_all_problems_of_a_file_are_told_together_and_each_once() -> None:
    text = (
        changed("slots = 1 }", "slots = 0 }")
        .replace("Europe/Berlin", "Mars/Base")
        .replace('owner = "ben"', 'owner = "bob"')
    )
    problems = problems_of(text)
    assert {problem.split(":")[0].rsplit(".", 1)[-1] for problem in problems} >= {"slots", "zone", "owner"}
    assert len(set(problems)) == len(problems)


@pytest.mark.parametrize(
    "text", ["", "businesses = 3", "businesses = []", "[businesses]", "[businesses.acme]\nsites = 1"]
)
def test_a_file_of_another_shape_is_refused_without_a_traceback(text: str) -> None:
    assert problems_of(text)


def test_a_file_that_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidFleet, match=r"small\.toml is not valid TOML.*line 2"):
        load("a = 1\nb = = 2", "small.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFleet, match=r"none\.toml can't be read"):
        load_file(tmp_path / "none.toml")


def test_an_unknown_business_or_site_is_refused_with_what_was_probably_meant(demo: Fleet) -> None:
    with pytest.raises(NotFound, match="Northwind Logistics"):
        demo.business("Northwind Logistic")
    with pytest.raises(NotFound, match="Berlin hub"):
        demo.site("Northwind Logistics", "Berlin hab")


def test_a_schedule_of_a_report_that_there_is_none_of_is_told_with_the_one_that_was_meant() -> None:
    sync = '{ name = "Sync", kind = "connector"'
    text = changed(sync, '{ name = "Overview report", kind = "report", cron = "0 7 * * *", owner = "ann" },\n  ' + sync)
    (problem,) = problems_of(text)
    assert "“Overview report” is not known; did you mean “Organization overview report”?" in problem
