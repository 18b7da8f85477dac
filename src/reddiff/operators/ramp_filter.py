"""The filter of filtered back projection, and its windows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Window = Callable[[Tensor], Tensor]


def ramp(frequency: Tensor) -> Tensor:
    """No window: the ramp filter as it is."""
    return torch.ones_like(frequency)


def hann(frequency: Tensor) -> Tensor:
    """(1 + cos(2 pi f)) / 2: from 1 at f = 0 to 0 at f = 1/2, in cycles per detector."""
    return (1 + torch.cos(2 * math.pi * frequency)) / 2


def ramp_filtered(y: Float[Tensor, "b c k d"], window: Window) -> Float[Tensor, "b c k d"]:
    """Each view filtered along its detectors by the ramp times the window."""
    n = y.shape[-1]
    width = 2 ** math.ceil(math.log2(2 * n)) if n > 1 else 2  # no wrap-around
    taps = torch.arange(width, dtype=torch.float64)
    taps = torch.minimum(taps, width - taps)
    odd = taps % 2 == 1
    kernel = torch.where(odd, -1 / (math.pi * torch.where(odd, taps, 1)) ** 2, 0)
    kernel[0] = 0.25
    transfer = torch.fft.rfft(kernel).real * window(torch.fft.rfftfreq(width).double())
    return torch.fft.irfft(torch.fft.rfft(y, width) * transfer.to(y), width)[..., :n]
