"""Metrics of restored pictures against their truths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from reddiff.bench.images import Truth
from reddiff.metrics import LPIPS, psnr, ssim

Score = Callable[[Tensor, Tensor], Tensor]


class Scorer:
    """Computes the metrics of a spec.

    Arguments:
        metrics: Their names; metrics that need more than a picture and its truth are ignored.
        device: The device of networks.
    """

    def __init__(self, metrics: Sequence[str], device: torch.device) -> None:
        self.metrics, self.device = metrics, device

    def scores(self, pixels: Tensor, truths: Sequence[Truth]) -> dict[str, Tensor]:
        """The metrics of pictures `(b, c, h, w)`, which are clamped to [0, 1].

        Draws from a prior are not clamped. PSNR is always among the metrics.
        """
        truth = torch.stack([t.pixels for t in truths]).to(pixels)
        pixels = pixels if truths[0].drawn else pixels.clamp(0, 1)
        known: dict[str, Score] = {"psnr": psnr, "ssim": ssim}
        if "lpips" in self.metrics:
            known["lpips"] = self._lpips
        wanted = {k: f for k, f in known.items() if k in self.metrics or k == "psnr"}
        with torch.inference_mode():
            return {name: score(pixels, truth).cpu() for name, score in wanted.items()}

    def psnr(self, pixels: Tensor, truths: Sequence[Truth]) -> Tensor:
        """The PSNR of `scores`."""
        return Scorer((), self.device).scores(pixels, truths)["psnr"]

    @cached_property
    def _lpips(self) -> LPIPS:
        return LPIPS().to(self.device)
