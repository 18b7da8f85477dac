"""The PSF of a defocused lens."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.operators.blur.psf import reach, require_pixels


def disk_psf(radius: float) -> Float64[Tensor, "k k"]:
    r"""A uniform disk, the PSF of a defocused lens, with odd sides and sum 1, in float64.

    The weight of a pixel is the area of its overlap with the disk, computed exactly. The area of
    the disk within the rectangle from the center to (x, y) is

    .. math:: F(x, y) = \int_0^x \min(y, \sqrt{R^2 - u^2})\, du,

    and the overlap with a pixel is a signed sum of F at its four corners.

    Arguments:
        radius: R in pixels, positive.

    Raises:
        InvalidArgument: If `radius` is not positive and finite.
    """
    require_pixels("radius", radius)
    r = reach(radius)
    edges = torch.arange(-r, r + 2, dtype=torch.float64) - 0.5
    corner = _disk_area(edges.abs()[:, None], edges.abs()[None, :], radius)
    corner = corner * edges.sign()[:, None] * edges.sign()[None, :]
    psf = corner.diff(dim=0).diff(dim=1).clamp(min=0)  # rounding can give -1e-17
    return psf / psf.sum()


def _disk_area(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The area of a disk within the rectangle from its center to (x, y), with x, y >= 0."""
    x, y = torch.broadcast_tensors(x.clamp(max=radius), y.clamp(max=radius))
    flat = torch.minimum(x, (radius**2 - y**2).clamp(min=0).sqrt())  # below it, the rim is above y
    return flat * y + _under(x, radius) - _under(flat, radius)


def _under(u: Tensor, radius: float) -> Tensor:
    """The area between the rim and the axis, from 0 to u."""
    rim = (radius**2 - u**2).clamp(min=0).sqrt()
    return (u * rim + radius**2 * (u / radius).clamp(max=1).asin()) / 2
