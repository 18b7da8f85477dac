"""What comes before the first import of the peers."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
torch.set_num_threads(1)

import bridges  # noqa: E402, F401  # lets deepinv be imported
