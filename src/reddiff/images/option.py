"""An option of the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_STEPS = 100_000
MAX_TILE = 1 << 16
MAX_SCALE = 1024
MAX_DRAWS = 100_000
MAX_SEED = (1 << 63) - 1


@dataclass(frozen=True)
class Option:
    """How a setting is written on the command line and in a record.

    Arguments:
        kind: `str`, `int`, `float` or `bool`.
        help: Its meaning, in one or two sentences.
        low: The smallest number allowed.
        high: The largest number allowed.
        metavar: The placeholder in the help text.
    """

    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf
    metavar: str | None = None


def described(kind: type, help_text: str, **more: Any) -> Mapping[str, Option]:
    """The metadata of a field that is an option."""
    return {"option": Option(kind, help_text, **more)}
