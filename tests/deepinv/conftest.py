"""What comes before the first import of deepinv."""

from __future__ import annotations

import shim
import torch

shim.install()
torch.set_num_threads(1)
