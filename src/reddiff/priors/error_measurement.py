"""Measurement of the error spectrum of a denoiser on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fftfreq

from reddiff.errors import require
from reddiff.random import MEASURING, Keys

if TYPE_CHECKING:
    from reddiff.priors.base import Prior

LEVELS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0)
BANDS = 24  # frequency bands, evenly spaced in the logarithm
LOWEST, HIGHEST = 1 / 128, 0.5**0.5  # cycles per pixel: one in 128 pixels; the Nyquist corner
BATCH = 16  # number of images denoised at once


@torch.no_grad()
def measured_error(
    prior: Prior, images: Float[Tensor, "n c h w"], levels: Sequence[float], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Measured levels, frequencies, color axes and power, the fields of an `ErrorSpectrum`.

    Raises:
        InvalidArgument: If the prior does not accept the images, or if fewer than two levels are
            in its range.
    """
    fits = images.ndim == 4 and prior.accepts(tuple(images.shape[1:]))
    expected = f"shape (n, *{prior.shape})"
    require(fits, "images", expected=expected, got=tuple(images.shape))
    low, high = prior.sigma_min, prior.sigma_max
    known = [s for s in sorted(levels) if low <= s <= high]
    expected = f"two or more from {low:g} to {high:g}"
    require(len(known) > 1, "levels", expected=expected, got=list(levels))
    axes, bands = _color_axes(images), _Bands(images)
    rows = []
    for s in known:
        errors = []
        for first in range(0, len(images), BATCH):
            x = images[first : first + BATCH]
            ids = tuple(range(first, first + len(x)))
            noise = Keys(seed, ids).at(MEASURING).randn_like(x)
            errors.append(x - prior(x + s * noise, s))
        error = torch.cat(errors)
        rows.append(bands.power(torch.einsum("cd,bchw->bdhw", axes.to(error), error)))
    return torch.tensor(known, dtype=torch.float64), bands.centers, axes, torch.stack(rows)


class _Bands:
    """Bands of spatial frequency for images of one size, and the power of errors in them."""

    def __init__(self, like: Float[Tensor, "n c h w"]) -> None:
        height, width = like.shape[-2:]
        lowest = max(1 / max(height, width), LOWEST)
        edges = torch.logspace(math.log10(lowest), math.log10(HIGHEST), BANDS + 1).to(like.device)
        f = (fftfreq(height)[:, None] ** 2 + fftfreq(width) ** 2).sqrt().to(like.device)
        self.band = torch.bucketize(f, edges[1:-1])
        count = torch.bincount(self.band.flatten(), minlength=BANDS)
        total = torch.zeros(BANDS, device=f.device).index_add(0, self.band.flatten(), f.flatten())
        self.used = count > 0
        self.count = count[self.used]
        self.centers = (total[self.used] / self.count).double().cpu().clamp(min=lowest)

    def power(self, errors: Float[Tensor, "n c h w"]) -> Float[Tensor, "c f"]:
        """The mean square of the orthonormal Fourier coefficients in each band."""
        square = torch.fft.fft2(errors.double(), norm="ortho").abs().square().mean(0)
        sums = square.new_zeros(len(square), BANDS)
        sums.index_add_(1, self.band.flatten(), square.flatten(1))
        return (sums[:, self.used] / self.count).cpu()


def _color_axes(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c c"]:
    """The eigenvectors of the covariance of the channels, by ascending eigenvalue."""
    centered = (images - images.mean((2, 3), keepdim=True)).double()
    return torch.linalg.eigh(torch.einsum("bchw,bdhw->cd", centered, centered).cpu())[1]
