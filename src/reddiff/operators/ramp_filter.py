"""The ramp filter of filtered back projection, and window functions for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Window = Callable[[Tensor], Tensor]


def ramp(frequency: Tensor) -> Tensor:
    """The window 1 at all frequencies: the unmodified ramp filter."""
    return torch.ones_like(frequency)


def hann(frequency: Tensor) -> Tensor:
    """The Hann window (1 + cos(2 pi f)) / 2, f in cycles per detector: 1 at 0, 0 at 1/2."""
    return (1 + torch.cos(2 * math.pi * frequency)) / 2


def ramp_filtered(y: Float[Tensor, "b c k d"], window: Window) -> Float[Tensor, "b c k d"]:
    """Each view of y, filtered along the detectors by the ramp filter times the window."""
    n = y.shape[-1]
    width = 2 ** math.ceil(math.log2(2 * n)) if n > 1 else 2  # no wrap-around
    taps = torch.arange(width, dtype=torch.float64)
    taps = torch.minimum(taps, width - taps)
    odd = taps % 2 == 1
    kernel = torch.where(odd, -1 / (math.pi * torch.where(odd, taps, 1)) ** 2, 0)
    kernel[0] = 0.25
    transfer = torch.fft.rfft(kernel).real * window(torch.fft.rfftfreq(width).double())
    return torch.fft.irfft(torch.fft.rfft(y, width) * transfer.to(y), width)[..., :n]
