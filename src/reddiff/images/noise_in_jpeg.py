"""Estimate the noise that a picture had before JPEG compression.

Compression removes most of the noise in chroma and in high frequencies with coarse quantization
steps, so the finest wavelet coefficients of R, G and B underestimate the noise. Luma keeps it in
the frequencies with fine steps. There the spectrum has a plateau, because the power of pictures
falls with frequency and that of white noise does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.operators.jpeg.color import LUMA, SIDE

MOST = 4096  # blocks that are looked at
FEWEST = 30
STEPS = torch.arange(3, 80, dtype=torch.float64)
LATTICE = 0.6  # |mean exp(2 pi i c / step)| of coefficients c that are its multiples, and rounding
LINES = range(2, 12)  # sums of the two frequencies: below is content, beyond are coarse steps
PLATEAU, EVEN = 3, 1.3  # that many lines in a row, the largest over the smallest
SEEN = 0.5  # noise below so much of a step is rounded away


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Cosine coefficients `(n, 64)` of luma in levels of 255, and their quantization steps `(64,)`.

    A step is 1 if it cannot be determined, and inf if nearly all coefficients are zero. `quantized`
    is the fraction of the low frequencies with a step, among those where a step can be detected.
    """

    coefficients: Tensor
    steps: Tensor
    quantized: float


def jpeg_noise(
    pixels: Float[Tensor, "c h w"], seen: Bool[Tensor, "c h w"], *, known: bool
) -> float | None:
    """The standard deviation of the noise in a picture before JPEG compression, in [0, 1] pixels.

    For RGB it is the level of each channel, assuming independent noise in the channels; the noise
    of luma is 0.67 times as large.

    Arguments:
        pixels: The decoded picture, gray or RGB.
        seen: Which entries are measured.
        known: Whether the picture comes from a JPEG file; if False, this is tested first.

    Returns:
        The level; None if the picture was not a JPEG file, or has no plateau of noise.
    """
    weights = pixels.new_tensor(LUMA if len(pixels) == 3 else (1.0,)).double()
    luma = 255 * torch.einsum("c,chw->hw", weights, pixels.double())
    whole = seen.all(0)
    corners = {
        (top, left) for top in (0, luma.shape[0] % SIDE) for left in (0, luma.shape[1] % SIDE)
    }
    inside = ((pixels > 0) & (pixels < 1)).all(0)  # clipped values are not multiples of steps
    found = [
        _blocks(*(v[top:, left:] for v in (luma, whole, inside))) for top, left in sorted(corners)
    ]
    blocks = max((b for b in found if b is not None), key=lambda b: b.quantized, default=None)
    if blocks is None or not (known or blocks.quantized > 0.5):
        return None
    level = _plateau(blocks)
    return None if level is None else level / 255 / float(weights.norm())


def _blocks(
    luma: Float[Tensor, "h w"], whole: Bool[Tensor, "h w"], inside: Bool[Tensor, "h w"]
) -> _Blocks | None:
    """The blocks that are measured and not flat, starting at the upper left corner."""
    rows, columns = luma.shape[0] // SIDE, luma.shape[1] // SIDE
    if rows * columns < FEWEST:
        return None
    parts = [
        v[: rows * SIDE, : columns * SIDE].unflatten(0, (rows, SIDE)).unflatten(2, (columns, SIDE))
        for v in (luma, whole, inside)
    ]
    samples, kept, sharp = (v.transpose(1, 2).flatten(0, 1) for v in parts)
    samples, sharp = (v[kept.flatten(1).all(1)] for v in (samples, sharp))
    samples, sharp = (v[:: max(1, len(v) // MOST)] for v in (samples, sharp))
    matrix = _cosines()
    c = (matrix @ samples @ matrix.T).flatten(1)
    some = (c[:, 1:].abs() > 1.5).any(1)
    if int(some.sum()) < FEWEST:
        return None
    exact = c[some & sharp.flatten(1).all(1)]
    c = c[some]
    steps = torch.stack([_step(band) for band in (exact if len(exact) >= FEWEST else c).T])
    low = [i for i in range(1, SIDE**2) if sum(divmod(i, SIDE)) <= 5]
    testable = steps[low][steps[low].isfinite()]
    share = float((testable >= float(STEPS[0])).double().mean()) if len(testable) >= 5 else 0.0
    return _Blocks(c, steps, share)


def _step(c: Float[Tensor, " n"]) -> Tensor:
    """The quantization step of coefficients: 1 if there is none, inf if nearly all are zero."""
    c = c[c.abs() > 2]
    if len(c) < FEWEST / 2:
        return c.new_tensor(math.inf)
    steps = STEPS[1.2 * c.abs().median() >= STEPS]
    wave = torch.exp(2j * math.pi * c / steps[:, None]).mean(1).abs()
    good = steps[wave > LATTICE]
    return good.max() if len(good) else c.new_tensor(1.0)


def _plateau(blocks: _Blocks) -> float | None:
    """The noise level, in levels of luma, of the plateau at high frequencies; None without one."""
    lines: list[float] = []
    for total in LINES:
        bands = [u * SIDE + total - u for u in range(SIDE) if 0 <= total - u < SIDE]
        steps = blocks.steps[bands]
        fine = steps.isfinite()
        if not bool(fine.all()):
            break
        power = blocks.coefficients[:, bands].square().mean(1).median()
        n = len(bands)
        power = power / (1 - 2 / (9 * n)) ** 3 - (steps**2).mean() / 12  # a median of chi-squares
        level = math.sqrt(max(float(power), 0.0))
        if level < SEEN * float(steps.mean()):
            break
        lines.append(level)
    for end in range(len(lines), PLATEAU - 1, -1):
        last = lines[end - PLATEAU : end]
        if max(last) < EVEN * min(last):
            return min(last)
    return None


def _cosines() -> Float[Tensor, "8 8"]:
    """The matrix of the orthonormal cosine transform; rows are frequencies."""
    n = torch.arange(SIDE, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * SIDE)) * math.sqrt(2 / SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix
