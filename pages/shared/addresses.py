"""Numbers in an address, which anybody may have written: what is none, or out of all measure, counts as not said."""

from collections.abc import Mapping


def number(text: str | None, digits: int = 18) -> int | None:
    """Read a number, of so many digits at most; None where it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= digits else None


def page(address: Mapping[str, str]) -> int:
    """Tell which page an address asks for, from 0 on."""
    return max((number(address.get("page"), 8) or 1) - 1, 0)
