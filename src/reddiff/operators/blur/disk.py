"""The PSF of a lens out of focus."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.operators.blur.psf import reach, require_pixels


def disk_psf(radius: float) -> Float64[Tensor, "k k"]:
    r"""A disk, the PSF of a lens out of focus: each pixel weighs as much as the disk covers of it.

    The areas are exact: that of the disk within the rectangle from the center to (x, y) is

    .. math:: F(x, y) = \int_0^x \min(y, \sqrt{R^2 - u^2})\, du,

    and a pixel is a difference of four such rectangles.

    Arguments:
        radius: R in pixels, any positive number.

    Raises:
        InvalidArgument: If `radius` is not positive and finite.
    """
    require_pixels("radius", radius)
    r = reach(radius)
    edges = torch.arange(-r, r + 2, dtype=torch.float64) - 0.5
    corner = _disk_area(edges.abs()[:, None], edges.abs()[None, :], radius)
    corner = corner * edges.sign()[:, None] * edges.sign()[None, :]
    psf = corner.diff(dim=0).diff(dim=1).clamp(min=0)  # rounding may leave -1e-17 of a corner
    return psf / psf.sum()


def _disk_area(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The area of a disk within the rectangle from its center to (x, y), x and y 0 or more."""
    x, y = torch.broadcast_tensors(x.clamp(max=radius), y.clamp(max=radius))
    flat = torch.minimum(x, (radius**2 - y**2).clamp(min=0).sqrt())  # the rim is above y up to here
    return flat * y + _under(x, radius) - _under(flat, radius)


def _under(u: Tensor, radius: float) -> Tensor:
    """The area below the rim from 0 to u."""
    rim = (radius**2 - u**2).clamp(min=0).sqrt()
    return (u * rim + radius**2 * (u / radius).clamp(max=1).asin()) / 2
