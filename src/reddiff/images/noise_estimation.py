"""Estimate the noise level of a picture from its finest wavelet coefficients."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

_MAD = 0.6744897501960817  # the median of |n| for standard normal n
_ENOUGH = 100  # coefficients, for a median
# High-pass filters of unit norm: Daubechies' with two vanishing moments, and Haar's.
_DB2 = (-0.48296291314469025, 0.8365163037378079, -0.2241438680420134, -0.12940952255126037)
_HAAR = (-0.7071067811865476, 0.7071067811865476)
# Values that fill areas: the largest number of values, and the smallest fraction of the picture.
_FILLS, _FILLED = 4, 0.01
_CLIPPED = (
    0.005  # the fraction of pixels at black or white above which the picture counts as clipped
)
# Distance in sigma of a window's mean from the clipping value, in order of preference.
_AWAY = (2.0, 1.5, 1.0, 0.5, 0.0)


def noise_level(
    y: Float[Tensor, "b c h w"], measured: Bool[Tensor, "b c h w"] | None = None
) -> Float[Tensor, " b"]:
    r"""The standard deviation of white Gaussian noise in images, in their own units.

    The median of the absolute diagonal wavelet coefficients, divided by 0.6745. Few of them are
    edges, so the median depends on the noise alone. Fine texture counts as noise, so the estimate
    tends to be too high. The wavelet is Daubechies' second, or Haar's if too few windows of the
    former are measured.

    Areas with a constant value (a frame, a background set to zero) have no noise and are excluded,
    if enough remains. If the picture is clipped at its lowest or highest value, windows far enough
    from that value are preferred.

    Arguments:
        y: The images.
        measured: Which entries are measured. A coefficient is used if its whole window is measured.

    Returns:
        One level per lane; zero if too few coefficients can be used.

    References:
        | Ideal Spatial Adaptation by Wavelet Shrinkage (Donoho & Johnstone, 1994), Section 4.4
    """
    known = torch.ones_like(y, dtype=torch.bool) if measured is None else measured
    pairs = zip(y[:, :, None], known[:, :, None], strict=True)
    return torch.stack([_level(lane, mask) for lane, mask in pairs])


def filled(y: Float[Tensor, "c h w"], measured: Bool[Tensor, "c h w"]) -> Bool[Tensor, "c h w"]:
    """The entries in areas of a constant value, and their neighbors, which have no noise.

    A pixel is flat if it equals its eight neighbors. Only a few values that fill large areas count,
    so the flat parts of smooth gradients are not excluded.
    """
    filled = torch.zeros_like(measured)
    if min(y.shape[-2:]) < 3:
        return filled
    clean = torch.where(measured, y, 0)
    for i, plane in enumerate(clean[:, None]):
        flat = (max_pool2d(plane, 3, 1, 1) == -max_pool2d(-plane, 3, 1, 1))[0] & measured[i]
        values, counts = plane[0][flat].unique(return_counts=True)
        most = counts.argsort(descending=True)[:_FILLS]
        most = most[counts[most] >= _FILLED * plane.numel()]
        flat = flat & torch.isin(plane[0], values[most])
        filled[i] = max_pool2d(flat.to(y.dtype)[None], 5, 1, 2)[0] > 0
    return filled


def grain(y: Float[Tensor, "c h w"], measured: Bool[Tensor, "c h w"]) -> float:
    """The smallest step between the values of a picture; 0 if it has one value.

    This is the step of the recording, not of the file: 10 bits in a 16-bit file have steps of 64.
    """
    values = y[measured].double().unique()
    steps = values.diff()
    steps = steps[steps > 1e-6]  # less is rounding, of floats
    return float(steps.min()) if len(steps) else 0.0


def _level(y: Float[Tensor, "c 1 h w"], known: Bool[Tensor, "c 1 h w"]) -> Float[Tensor, ""]:
    clean = torch.where(known, y, 0)
    still = filled(y[:, 0], known[:, 0])[:, None]
    cut = _Cut(y, known & ~still)
    for taps in (_DB2, _HAAR):
        if min(y.shape[-2:]) < len(taps):
            continue
        line = torch.tensor(taps, dtype=y.dtype, device=y.device)
        window = torch.ones_like(line).outer(torch.ones_like(line))[None, None]
        detail = conv2d(clean, line.outer(line)[None, None], stride=2).abs()
        whole = conv2d((~known).to(y.dtype), window, stride=2) == 0
        moving = whole & (conv2d(still.to(y.dtype), window, stride=2) == 0)
        if int(moving.sum()) >= _ENOUGH:
            return cut.level(detail, moving, clean, window)
        if int(whole.sum()) >= _ENOUGH or len(taps) == len(_HAAR):
            return detail[whole].median() / _MAD if whole.any() else y.new_zeros(())
    return y.new_zeros(())


class _Cut:
    """The values at which a picture is clipped, if it is."""

    def __init__(self, y: Tensor, known: Tensor) -> None:
        values = y[known]
        self.low, self.high = -math.inf, math.inf
        self.cut = torch.zeros_like(known)
        if values.numel() and values.min() < values.max():
            for name, bound in (("low", values.min()), ("high", values.max())):
                at = known & (y == bound)
                if float(at.sum()) > _CLIPPED * values.numel():
                    setattr(self, name, float(bound))
                    self.cut = self.cut | at

    def level(self, detail: Tensor, whole: Tensor, y: Tensor, window: Tensor) -> Tensor:
        """The noise level estimated from these coefficients."""
        sigma = detail[whole].median() / _MAD
        if math.isinf(self.low) and math.isinf(self.high):
            return sigma
        mean = conv2d(y, window / window.sum(), stride=2)
        cut = conv2d(self.cut.to(y.dtype), window / window.sum(), stride=2)
        for _ in range(3):
            for away in _AWAY:
                inside = (mean >= self.low + away * sigma) & (mean <= self.high - away * sigma)
                inside = inside & whole
                if int(inside.sum()) >= _ENOUGH:
                    part = float(cut[inside].mean())
                    sigma = detail[inside].median() / _MAD / _kept(part)
                    break
        return sigma


def _kept(part: float) -> float:
    """The standard deviation of a clipped standard normal, given the fraction that is clipped."""
    part = min(part, 0.35)  # beyond this, the median itself is clipped
    if part == 0:
        return 1.0
    bound = float(torch.special.ndtri(torch.tensor(part, dtype=torch.float64)))
    density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
    mean = bound * part + density
    square = bound**2 * part + bound * density + 1 - part
    return math.sqrt(square - mean**2)
