"""Validate types and ranges of values from untrusted JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

MAX_TEXT = 10_000
MAX_WHOLE = 1 << 63


def is_text(value: object) -> bool:
    """A string of limited length, without NUL."""
    return isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value


def is_whole(value: object) -> bool:
    """An integer of 64 bits."""
    return type(value) is int and -MAX_WHOLE <= value < MAX_WHOLE


def is_count(value: object) -> bool:
    """An integer of 64 bits, from 0."""
    return is_whole(value) and value >= 0  # type: ignore[operator]


def is_number(value: object) -> bool:
    """A finite number."""
    return is_whole(value) or (type(value) is float and math.isfinite(value))


def is_number_or_none(value: object) -> bool:
    """A finite number, or null."""
    return value is None or is_number(value)


def is_digits(value: object) -> bool:
    """A hash, in hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,64}", value) is not None


def table_of(good: Callable[[object], bool]) -> Callable[[object], bool]:
    """An object whose values are all good."""
    return lambda value: (
        isinstance(value, dict) and all(is_text(k) and good(v) for k, v in value.items())
    )


def is_notes(value: object) -> bool:
    """A list of strings."""
    return isinstance(value, list) and all(is_text(note) for note in value)


def is_cost(value: object) -> bool:
    """The cost of a run."""
    return (
        isinstance(value, dict)
        and all(is_count(value.get(name)) for name in ("evaluations", "vjps"))
        and is_number(value.get("seconds"))
    )


KINDS: dict[type, Callable[[object], bool]] = {
    str: is_text,
    bool: lambda value: isinstance(value, bool),
    int: is_whole,
    float: is_number,
}
