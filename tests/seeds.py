"""REDDIFF_TEST_SEED: other random numbers in place of all that a test draws, its data included.

Every seed, of a run or of the tensors and arrays of a test, stands for another one. To be imported
before anything that draws.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

OTHER = int(os.environ.get("REDDIFF_TEST_SEED", "0"))
SHIFT = 1_000_003 * OTHER


class Generator(torch.Generator):
    """A generator whose seeds are shifted."""

    def manual_seed(self, seed: int) -> torch.Generator:
        """Seed it, where `seed` has 64 bits."""
        return super().manual_seed((seed + SHIFT) % 2**63)


def _shift() -> None:
    seeded, array = torch.manual_seed, np.random.default_rng

    def manual_seed(seed: int) -> torch.Generator:
        return seeded((seed + SHIFT) % 2**63)

    def default_rng(seed: Any = None) -> np.random.Generator:
        return array(seed + SHIFT if isinstance(seed, int) else seed)

    torch.Generator, torch.manual_seed, np.random.default_rng = Generator, manual_seed, default_rng


if OTHER:
    _shift()
