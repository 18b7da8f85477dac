"""Every metric of pictures. To add one, write one entry in METRICS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff import metrics


@dataclass(frozen=True)
class MetricCase:
    """A function of pictures in [0, 1] and the true ones, to one number per lane."""

    name: str
    make: Callable[[], Callable[[Tensor, Tensor], Tensor]]
    best: float  # the value of the truth itself
    larger_is_better: bool = True
    graded: bool = True  # a little worse picture has a worse value, not only a value no better


METRICS = [
    MetricCase("psnr", lambda: metrics.psnr, torch.inf),
    MetricCase("ssim", lambda: metrics.ssim, 1.0),
    MetricCase("lpips", metrics.LPIPS, 0.0, larger_is_better=False),
    MetricCase("top-1", metrics.Top1Agreement, 1.0, graded=False),
]
