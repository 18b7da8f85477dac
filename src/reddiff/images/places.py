"""Classes of pixels in a picture: flat, edge, texture."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

STRATA = ("flat", "edge", "texture")
FLAT = 0.02  # rms of the gradient, for pixels in [0, 1], below which a pixel is flat
STRAIGHT = 0.7  # coherence of the gradient above which it is an edge
WINDOW = 5  # pixels


def strata(pixels: Float[Tensor, "c h w"]) -> Int[Tensor, "h w"]:
    """The index in `STRATA` of each pixel, from the structure tensor of the mean of the channels.

    Arguments:
        pixels: A picture in [0, 1].
    """
    gray = pad(pixels.double().mean(0)[None, None], (1, 1, 1, 1), mode="replicate")
    dx = (gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]) / 2
    dy = (gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]) / 2
    xx, yy, xy = (_smooth(a * b) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    energy = xx + yy
    coherence = ((xx - yy).square() + 4 * xy.square()).sqrt() / energy.clamp(min=1e-12)
    kinds = torch.where(coherence > STRAIGHT, 1, 2)
    return torch.where(energy.sqrt() < FLAT, 0, kinds)[0, 0]


def _smooth(values: Tensor) -> Tensor:
    side = WINDOW // 2
    return avg_pool2d(values, WINDOW, 1, side, count_include_pad=False)
