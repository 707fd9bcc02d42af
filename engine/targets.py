"""What somebody wants worked on, as he writes it: a target a line, checked by what the task type can work on. Pure.

Nothing is guessed and nothing left out in silence: a line is a target, the same as one before, or a fault, told why.
A segment is a network in CIDR form, with a name behind it if it has one; a device is a host name or an address; a cloud
resource is named as the fleet names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from .lifecycle import Kind

MOST = 1_000  #: targets at once
LONGEST = 200  #: characters of one
LARGEST = 1 << 16  #: addresses of a segment

#: what each type works on, as people may ask for it
WORKS_ON: dict[Kind, tuple[str, ...]] = {
    Kind.SCAN: ("segment", "device"),
    Kind.AUDIT: ("device",),
    Kind.CONNECTOR: ("cloud",),
    Kind.IMPORT: ("segment",),
}
WORD = {"segment": "segment", "device": "device", "cloud": "cloud resource"}
VERB = {Kind.SCAN: "Discovery scan of", Kind.AUDIT: "Audit of", Kind.CONNECTOR: "Sync with", Kind.IMPORT: "Import of"}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


@dataclass(frozen=True, slots=True)
class Target:
    """One target and what it is: segment, device or cloud."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The targets of a text, each once, in its order; those that stood there again; and what is none, by line."""

    targets: tuple[Target, ...]
    again: tuple[str, ...]
    faults: tuple[tuple[int, str, str], ...]  #: line, what stands there, why it is none


def wanted(text: str, kind: Kind) -> Wanted:
    """Read targets, one a line or by commas, for a type of task."""
    targets: dict[str, Target] = {}
    again: dict[str, None] = {}
    faults: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.split(","):
            name = " ".join(word.split())
            if not name:
                continue
            found = _target(name, kind)
            if isinstance(found, str):
                faults.append((number, name[:LONGEST], found))
            elif (same := _same(found)) in targets:
                again[found.name] = None
            elif len(targets) >= MOST:
                faults.append((number, name, f"these are more than {MOST:,}; submit the rest as a task of its own"))
            else:
                targets[same] = found
    return Wanted(tuple(targets.values()), tuple(again), tuple(faults))


def named(kind: Kind, target: str) -> str:
    """Name a task by its target, where nobody gave it a name."""
    return f"{VERB[kind]} {target}"


def one(text: str, kind: Kind, of: str | None) -> Target | str:
    """Read the one target that a task shall have from now on, or why it can't be that.

    What a task works on (`of`) is settled when it is submitted: a segment can't become a device.
    """
    found = wanted(text, kind)
    if found.faults:
        return found.faults[0][2]
    if len(found.targets) != 1:
        return "a task has one target"
    (target,) = found.targets
    if of is not None and target.kind != of:
        return f"it is a {WORD[target.kind]}, and this task works on a {WORD.get(of, of)}; submit a new one instead"
    return target


def _same(target: Target) -> str:
    """Tell what makes a target the same as another: of a segment its addresses, however they and it are written."""
    if target.kind == "segment":
        return str(ip_network(target.name.partition(" ")[0]))
    return target.name.lower().removesuffix(".")


def _target(name: str, kind: Kind) -> Target | str:
    """Tell what a name is, or why it is nothing that the type works on."""
    of = WORKS_ON[kind]
    if len(name) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if not name.isprintable():
        return "it has characters that can't be seen"
    if of == ("cloud",):
        return Target(name, "cloud")
    network, _, _ = name.partition(" ")
    if "/" in network:
        if "segment" not in of:
            return "it is a segment; an audit is of a device"
        return _segment(name, network)
    if "device" not in of:
        return "it is no segment; write a network as 10.0.0.0/24"
    if " " in name:
        return "a device has no blank in its name; write one target a line"
    try:
        return Target(str(ip_address(name)), "device")
    except ValueError:
        if re.fullmatch(r"[0-9.]+", name):
            return "it is no address"
    return Target(name, "device") if _HOST.fullmatch(name) else "it is no host name and no address"


def _segment(name: str, network: str) -> Target | str:
    try:
        found = ip_network(network)
    except ValueError:
        try:
            meant = ip_network(network, strict=False)
        except ValueError:
            return "it is no network; write one as 10.0.0.0/24"
        return f"it is an address within a network; the network is {meant}"
    if found.num_addresses > LARGEST:
        return f"it has {found.num_addresses:,} addresses; {LARGEST:,} are the most"
    return Target(name, "segment")
