"""Wrong guesses at passwords, and how long the next one has to wait. Pure but for its lock.

Guesses are counted by account and address together and by address, never by account alone: nobody can lock another out.
Addresses of IPv6 count by their network, as whoever has one has as many of them as he likes. What is counted is kept in
memory only: a restart forgives.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .clock import MINUTE, SECOND
from .errors import Refused

GUESSES_AT_AN_ACCOUNT = 5  #: wrong ones from one address
GUESSES_FROM_AN_ADDRESS = 20
GUESS_SPAN = 15 * MINUTE
OWN_NETWORK = 64  #: bits of an IPv6 address that are given out together
FIRST_DELAY = 30 * SECOND  #: doubles with each further wrong guess, up to GUESS_SPAN


class Throttled(Refused):
    """Too many wrong guesses; wait a while."""


class Waiting(NamedTuple):
    """Wrong guesses at an account from one address, and until when the next has to wait (0: it need not).

    Where the address as a whole waits, for its guesses at whomever, `of_address` tells until when.
    """

    address: str
    wrong: int
    until: int
    of_address: int


@dataclass(slots=True)
class _Guesses:
    """Wrong guesses in a row, when the last one was, and until when the next has to wait."""

    wrong: int = 0
    last: int = 0
    until: int = 0


class Throttle:
    """Counts wrong guesses and makes further ones wait. Kept in memory only: a restart forgives."""

    def __init__(self) -> None:
        self._guesses: dict[tuple[str, ...], _Guesses] = {}
        self._lock = threading.Lock()

    def admit(self, name: str, address: str, now: int) -> None:
        """Count a guess as wrong until `forgive`; raise Throttled, uncounted, where it has to wait."""
        address = network(address)
        with self._lock:
            self._forget(now)
            keys = ((name, address), GUESSES_AT_AN_ACCOUNT), ((address,), GUESSES_FROM_AN_ADDRESS)
            for key, _ in keys:
                wait = self._guesses.get(key, _Guesses()).until - now
                if wait > 0:
                    raise Throttled(f"Too many wrong guesses; try again in {-(-wait // SECOND)} s", wait_us=wait)
            for key, allowed in keys:
                guesses = self._guesses.setdefault(key, _Guesses())
                guesses.wrong, guesses.last = guesses.wrong + 1, now
                if guesses.wrong >= allowed:
                    guesses.until = now + min(FIRST_DELAY << min(guesses.wrong - allowed, 20), GUESS_SPAN)

    def forgive(self, name: str, address: str) -> None:
        """Take back what was counted, once somebody has shown who he is."""
        address = network(address)
        with self._lock:
            self._guesses.pop((name, address), None)
            of_address = self._guesses.get((address,))
            if of_address is not None:
                of_address.wrong, of_address.until = max(0, of_address.wrong - 1), 0

    def _forget(self, now: int) -> None:
        for key in [key for key, guesses in self._guesses.items() if guesses.last + GUESS_SPAN <= now >= guesses.until]:
            del self._guesses[key]

    def standing(self, now: int) -> Mapping[str, list[Waiting]]:
        """Tell what is counted, by account; the names are as they were typed."""
        found: dict[str, list[Waiting]] = {}
        with self._lock:
            self._forget(now)
            for key, guesses in self._guesses.items():
                if len(key) == 2:
                    name, address = key
                    of_address = self._guesses.get((address,), _Guesses()).until
                    until, whole = (at if at > now else 0 for at in (guesses.until, of_address))
                    found.setdefault(name, []).append(Waiting(address, guesses.wrong, until, whole))
        return found

    def clear(self, name: str, addresses: bool) -> None:
        """Forget what was guessed wrong at an account; with `addresses`, let those that it came from guess on, too."""
        with self._lock:
            for key in [key for key in self._guesses if len(key) == 2 and key[0] == name]:
                del self._guesses[key]
                if addresses:
                    self._guesses.pop((key[1],), None)


def network(address: str) -> str:
    """Write what an address counts as: itself, but the network of one of IPv6, unless it stands for one of IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return address if found.is_loopback else str(ipaddress.IPv6Network((found, OWN_NETWORK), strict=False))
