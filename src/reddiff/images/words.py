"""Parse names with numbers, of masks, kernels, tasks and ranges: `motion:15,30`, `jpeg:10`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from reddiff.errors import nearest, require, require_name

Entry = TypeVar("Entry")

NAME = re.compile(r"[a-z][a-z-]+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
LONGEST = 20  # characters of a number


@dataclass(frozen=True)
class Spoken(Generic[Entry]):
    """A parsed text such as `motion:15,30`.

    Arguments:
        entry: The entry of its name in the table.
        text: The text after the colon; empty if there is no colon.
    """

    entry: Entry
    text: str


def split_word(text: str) -> tuple[str, str | None]:
    """The name before the first colon, and the text after it; None if there is no colon."""
    name, colon, rest = text.partition(":")
    return name, rest if colon else None


def spoken(argument: str, text: str, table: Mapping[str, Entry]) -> Spoken[Entry] | None:
    """The entry of a table that a text names, or None if the text can only be a file.

    A file that has the name of an entry is given as `./NAME`.

    Arguments:
        argument: The name of the argument, for messages.
        text: A name in the table, optionally with a colon and a text; or a file.
        table: The entries by name.

    Raises:
        InvalidArgument: If the text is empty, or if it is not a file, and its name resembles one in
            the table.
    """
    require(text != "", argument, expected="a file or one of the words", got=repr(text))
    name, rest = split_word(text)
    if name in table:
        return Spoken(table[name], rest or "")
    misspelled = rest is not None and NAME.fullmatch(name) and nearest(name, table)
    if misspelled and not os.path.lexists(text):
        require_name(name, table, argument, "a file or one of the words")
    return None


def numbers(argument: str, form: str, text: str) -> tuple[float, ...]:
    """The finite numbers in a text, as many as its form has.

    Arguments:
        argument: The name of the argument, for messages.
        form: The expected form, such as `motion:LENGTH,ANGLE` or `brush:LOW-HIGH`.
        text: The text after the colon.

    Raises:
        InvalidArgument: If the text is not that many finite numbers in ASCII digits, of at most 20
            characters each.
    """
    mark = "-" if "-" in form else ","
    parts = text.split(mark)
    good = len(parts) == len(form.split(mark)) and all(
        len(part) <= LONGEST and NUMBER.fullmatch(part) and math.isfinite(float(part))
        for part in parts
    )
    require(good, argument, expected=form, got=_whole_word(form, text))
    return tuple(map(float, parts))


def integers(argument: str, form: str, text: str) -> tuple[int, ...]:
    """The whole numbers in a text; arguments as for `numbers`.

    Raises:
        InvalidArgument: If it is not that many whole numbers.
    """
    found = numbers(argument, form, text)
    good = all(number.is_integer() for number in found)
    require(good, argument, expected=f"{form}, whole numbers", got=_whole_word(form, text))
    return tuple(map(int, found))


def _whole_word(form: str, text: str) -> str:
    word, names = split_word(form)
    short = text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}..."
    return short if names is None else f"{word}:{short}"
