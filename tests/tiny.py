"""A weights file of a very small network of ours, so that runs take milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from reddiff.priors.unet import UNet

CONFIG = {"channels": [8, 8], "blocks": [1, 1], "embedding": 8}


def save_tiny(path: Path, *, factor: float = 1.0, seed: int = 0) -> Path:
    """Write the file; `factor` multiplies all weights (nan: a network whose runs diverge)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = UNet(**CONFIG)
        torch.nn.init.normal_(net.tail.weight, std=0.01)
    tensors = {name: (value * factor).contiguous() for name, value in net.state_dict().items()}
    save_file(tensors, path, metadata={"config": json.dumps(CONFIG)})
    return path
