"""Words with numbers, as typed for masks, kernels, tasks and ranges: `motion:15,30`, `jpeg:10`."""

from __future__ import annotations

import math
import re

from reddiff.errors import require

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
LONGEST = 20  # characters of a number


def numbers(argument: str, form: str, text: str) -> tuple[float, ...]:
    """The finite numbers in a text, as many as its form names.

    Arguments:
        argument: What the text was given for.
        form: The whole word, such as `motion:LENGTH,ANGLE` or `brush:LOW-HIGH`.
        text: What was given after the colon.

    Raises:
        InvalidArgument: If it is not that many finite numbers in ASCII digits, of at most 20
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
    """The same, of whole numbers.

    Raises:
        InvalidArgument: If they are no whole numbers.
    """
    found = numbers(argument, form, text)
    good = all(number.is_integer() for number in found)
    require(good, argument, expected=f"{form}, whole numbers", got=_whole_word(form, text))
    return tuple(map(int, found))


def _whole_word(form: str, text: str) -> str:
    word, colon, _ = form.partition(":")
    short = text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}..."
    return f"{word}:{short}" if colon else short
