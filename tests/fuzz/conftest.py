"""What the fuzzers share: how many of their seeded cases run.

`make fuzz` runs all of them, `make test-slow` one in twenty; REDDIFF_FUZZ is the part, from 0 to 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def cases() -> Callable[[int], range]:
    """The seeds to run of a fuzzer's full number of cases."""
    part = float(os.environ.get("REDDIFF_FUZZ", "0.05"))
    return lambda full: range(math.ceil(part * full))
