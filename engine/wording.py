"""How findings are said: instants, spans, hosts, runs, holds and throttles, as people do. Pure.

One phrase for one thing, wherever it is told: in a verdict, beside a waiting task, in the help.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from .clock import SECOND
from .lifecycle import Cause

Facts = dict[str, Any]
Row = dict[str, Any]

GRADUALLY = "Released gradually after a resume"
WAITS_FOR = {
    Cause.CONSOLE: "the console to come up",
    Cause.THROTTLED: "their turn in a gradual release, or under a user's cap",
    Cause.OFFLINE: "a service that is online",
    Cause.EXCLUSIVE: "an explorer that is not scanning",
    Cause.CAPACITY: "a free slot",
    Cause.UNKNOWN: "a reason that is not known",
}
HELD = {"user": "user", "kind": "task type", "schedule": "schedule", "site": "site"}


class Words:
    """Says instants, spans and findings as people do."""

    def __init__(self, now: int, zone: str) -> None:
        self._now, self._zone_name, self._zone = now, zone, ZoneInfo(zone)

    def instant(self, at: int) -> str:
        """Name an instant by the clock of the zone, with the day where it is not today's."""
        there = datetime.fromtimestamp(at / SECOND, UTC).astimezone(self._zone)
        today = datetime.fromtimestamp(self._now / SECOND, UTC).astimezone(self._zone)
        day = "" if there.date() == today.date() else f"{there.day} {there:%b} "
        return f"{day}{there:%H:%M} {self._zone_name}"

    @staticmethod
    def span(seconds: float) -> str:
        """Say a duration in its two largest units."""
        whole = round(seconds)
        if seconds < 10:
            return f"{seconds:.1f} s"
        if whole < 90:
            return f"{whole} s"
        if whole < 3600:
            return f"{whole // 60} min"
        if whole < 2 * 86_400:
            hours, minutes = divmod(whole // 60, 60)
            return f"{hours} h {minutes} min" if minutes else f"{hours} h"
        days, hours = divmod(whole // 3600, 24)
        return f"{count(days, 'day')} {hours} h" if hours else count(days, "day")

    @staticmethod
    def times(factor: float) -> str:
        return f"{factor:.1f} times" if factor < 10 else f"{factor:.0f} times"

    def state(self, host: Row) -> str:
        word = "suspect (it did not confirm a stop)" if host["state"] == "online" else host["state"]
        return f"has been {word} since {self.instant(host['since_at'])}"

    @staticmethod
    def is_state(hosts: list[Row]) -> str:
        states = {"suspect" if host["state"] == "online" else host["state"] for host in hosts}
        return f"{are(len(hosts))} {states.pop() if len(states) == 1 else 'not available'}"

    def run(self, task: Facts) -> str:
        what = task["label"] + (f" of {task['target']}" if task["target"] else "")
        scope = f" (scope {task['scope']})" if task["scope"] and task["scope"] != task["target"] else ""
        said = f"{what}{scope} has run on {task['service']} since {self.instant(task['since_at'])}"
        said += f", for {self.span(task['ran_s'])}"
        if task["times"] is None:
            return f"{said}; there is no earlier run to compare it with."
        of = "this target" if task["usual_of"] == "target" else "this task type"
        return (
            f"{said}: {self.times(task['times'])} the usual p95 of {self.span(task['usual_s'])} "
            f"({count(task['runs'], 'run')} of {of})."
        )

    def widgets(self, slow: list[Facts]) -> str:
        """Tell of slow widgets, of the slowest in full."""
        worst = slow[0]
        took = "has been refreshing for" if worst["pending"] else "took"
        said = f"{worst['widget']} {took} {self.span(worst['latency_s'])}, usually {self.span(worst['usual_s'])}"
        said += f" ({self.times(worst['times'])})"
        others = [f"{widget['widget']} ({self.times(widget['times'])})" for widget in slow[1:]]
        return f"{said}; slow as well: {listed(others)}." if others else f"{said}."

    def away(self, hosts: list[Row]) -> str:
        return listed([f"{host['name']} {self.state(host)}" for host in hosts]) + "."

    def takes(self, slow: list[Facts]) -> str:
        times = sorted(host["times"] for host in slow)[len(slow) // 2]
        return f"{called(slow)} {'takes' if len(slow) == 1 else 'take'} {self.times(times)} as long as usual"

    def slow(self, slow: list[Facts]) -> str:
        """Say how slow each processor is, or all of them where they are not to be told apart."""
        times = [f"{host['times']:.1f}" for host in slow]
        each = listed([f"{host['name']} {took}" for host, took in zip(slow, times, strict=True)])
        if called(slow) != listed([host["name"] for host in slow]):
            each = f"{called(slow)} {min(times, key=float)} to {max(times, key=float)}"
        return f"Times as long as usual that their last tasks took: {each}."

    def hold(self, hold: Row) -> str:
        until = "with no end" if hold["until_at"] is None else f"until {self.instant(hold['until_at'])}"
        reason = f": “{hold['reason']}”" if hold["reason"] else ""
        if hold["blackout"] is not None:
            return f"Paused by blackout window “{hold['blackout']}” {until}{reason}."
        since = self.instant(hold["from_at"])
        what = f"{HELD[hold['target_kind']]} {hold['target']}"
        return f"{hold['actor']} holds {what} since {since}, {until}{reason}."

    def throttle(self, throttle: Row) -> str:
        """Say what keeps tasks back under a ramp or at a cap."""
        if throttle["rate"] is not None:
            return f"{GRADUALLY} by {throttle['actor']}: {throttle['rate']:,} a minute"
        at_most = throttle["at_most"]
        return f"At the cap of {at_most:,} running {'task' if at_most == 1 else 'tasks'} of {throttle['owner']}"


def called(processors: list[Facts]) -> str:
    """Name processors, or count them where they are not to be told apart."""
    names = [processor["name"] for processor in processors]
    return listed(names) if len(set(names)) == len(names) else count(len(names), "processor")


def count(n: int, noun: str, plural: str = "") -> str:
    """Say how many: 1 task, 2,000 tasks."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


def are(n: int) -> str:
    """Say "is" of one, "are" of others."""
    return "is" if n == 1 else "are"


def wait(n: int) -> str:
    """Say "waits" of one, "wait" of others."""
    return "waits" if n == 1 else "wait"


def a_or_an(noun: str) -> str:
    """Put the article before a noun."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def every(hosts: list[Row], host: str) -> str:
    """Say of all hosts: the only processor, each of 3 processors."""
    return f"the only {host}" if len(hosts) == 1 else f"each of {len(hosts)} {host}s"


def listed(parts: list[str]) -> str:
    """Join what is named: one, another and a third."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def came_and_left(arrived: int, departed: int) -> str:
    """Say who came and, on balance, left; after a rescue more may have been put back than left."""
    if departed < 0:
        return f"{arrived:,} came, and {-departed:,} more were put back than left"
    return f"{arrived:,} came and {departed:,} left"
