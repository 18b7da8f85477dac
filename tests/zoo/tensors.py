"""Fixed random tensors, float64 on the CPU, that cases are made of."""

from __future__ import annotations

import torch
from torch import Tensor

F64 = torch.float64
CPU = torch.device("cpu")


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Fixed random numbers, float64 on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def coin(*shape: int, p: float, seed: int = 0) -> Tensor:
    """Zeros, and ones with probability p; at least one in each row."""
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    bits = (u < p).to(F64)
    bits.view(shape[0], -1)[:, 0] = 1
    return bits


def spd(n: int, seed: int = 0, floor: float = 0.1) -> Tensor:
    """A random covariance matrix."""
    root = 0.5 * randn(n, n, seed=seed)
    return root @ root.mT + floor * torch.eye(n, dtype=F64)


def ids(lanes: int) -> tuple[int, ...]:
    """Lane ids that are neither small nor in order."""
    return tuple((7919 * (i + 3)) % 1009 for i in range(lanes))
