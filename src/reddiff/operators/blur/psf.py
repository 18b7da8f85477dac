"""Point spread functions (odd sides, centered, sum 1, float64), and their validation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.shapes import check_y_shape

NEGLIGIBLE = 1e-7  # relative to the sum of a PSF; below the resolution of float32


def as_psf(psf: Tensor, axes: tuple[str, ...] = (), name: str = "psf") -> Tensor:
    """A PSF, or several, as a validated floating-point tensor.

    Arguments:
        psf: `(*axes, kh, kw)`.
        axes: The names of the axes before the last two.
        name: The name of the argument in error messages.

    Raises:
        InvalidArgument: If it is not finite, has an even side or another number of axes, or if
            one of the PSFs is all zero.
    """
    psf = torch.as_tensor(psf)
    psf = psf if psf.is_floating_point() else psf.to(torch.get_default_dtype())
    form, shape = ", ".join((*axes, "kh", "kw")), tuple(psf.shape)
    odd = psf.ndim == len(axes) + 2 and all(n % 2 for n in shape[-2:])
    expected = f"shape ({form}) with odd sides (`center_psf` makes them odd)"
    require(odd, name, expected=expected, got=shape)
    require(psf.numel() > 0, name, expected="at least one PSF", got=shape)
    require(bool(psf.isfinite().all()), name, expected="finite values", got="nan or inf")
    nonzero = bool(psf.reshape(-1, shape[-2] * shape[-1]).any(1).all())
    require(nonzero, name, expected="at least one entry that is not zero", got="all zero")
    return psf


def center_psf(psf: Tensor, center: tuple[int, int] | None = None) -> Tensor:
    """Pad a PSF to odd sides around its center, and trim negligible margins.

    All blurs convolve (they do not correlate), and the origin of a PSF is its middle pixel.
    Opposite margins that together hold less than 1e-7 of the PSF are removed, since they would only
    make the blur slower.

    Arguments:
        psf: `(kh, kw)`, with sides of any parity.
        center: The row and column of the center, counted from 0; (kh // 2, kw // 2) by default.

    Raises:
        InvalidArgument: If the PSF has another number of axes or no entries, or if the center lies
            outside it.
    """
    shape = tuple(psf.shape)
    require(psf.ndim == 2 and psf.numel() > 0, "psf", expected="shape (kh, kw)", got=shape)
    middle = (shape[0] // 2, shape[1] // 2) if center is None else center
    inside = all(0 <= at < n for at, n in zip(middle, shape, strict=True))
    require(inside, "center", expected=f"a row and a column within {shape}", got=center)
    for axis, at in enumerate(middle):
        before, after = at, shape[axis] - 1 - at
        margin = [0, 0, 0, 0]
        first = 2 * (1 - axis)  # torch's `pad` counts axes from the last
        margin[first : first + 2] = max(after - before, 0), max(before - after, 0)
        psf = _trimmed(pad(psf, margin), axis)
    return psf


def _trimmed(psf: Tensor, axis: int) -> Tensor:
    """A PSF of odd side without negligible margins along an axis."""
    line = psf.abs().sum(1 - axis)
    radius = len(line) // 2
    pairs = line[:radius] + line[radius + 1 :].flip(0)  # from the edges to the middle
    cut = int((pairs.cumsum(0) <= NEGLIGIBLE * line.sum()).sum())
    return psf.narrow(axis, cut, len(line) - 2 * cut)


def check_fits(psf: Tensor, height: int, width: int, name: str = "psf") -> None:
    """Raise InvalidArgument if a PSF is larger than the image."""
    kernel = tuple(psf.shape[-2:])
    fits = kernel[0] <= height and kernel[1] <= width
    require(fits, name, expected=f"at most the size of the image {height, width}", got=kernel)


def image_shape(psf: Tensor, y_shape: Shape) -> Shape:
    """`y_shape`, which is also the shape of x.

    Raises:
        InvalidArgument: If it is not (c, h, w), or the PSF is larger than the image.
    """
    check_y_shape(y_shape, 3, "c, h, w")
    check_fits(psf, y_shape[-2], y_shape[-1])
    return y_shape


def gaussian_psf(sigma: float, radius: int | None = None) -> Float64[Tensor, "k k"]:
    """A Gaussian PSF `(2 radius + 1, 2 radius + 1)` with sum 1, in float64.

    Arguments:
        sigma: The standard deviation in pixels, positive.
        radius: Half the side in pixels, 0 or more; by default 4 sigma, rounded up.

    Raises:
        InvalidArgument: If `sigma` is not positive, or `radius` negative.
    """
    require(sigma > 0, "sigma", expected="a positive number of pixels", got=sigma)
    r = int(-(-4 * sigma // 1)) if radius is None else radius
    require(r >= 0, "radius", expected="0 or more", got=r)
    line = torch.exp(-0.5 * (torch.arange(-r, r + 1, dtype=torch.float64) / sigma) ** 2)
    return torch.outer(line, line) / line.sum() ** 2


def uniform_psf(side: float) -> Float64[Tensor, "k k"]:
    """A uniform box of `side` x `side` pixels, with odd sides and sum 1, in float64.

    The weight of a pixel is its overlap with the box. Unless `side` is odd, the box covers pixels
    at its edge partially: along each axis, a side of 2 gives the weights (1, 2, 1) / 4.

    Arguments:
        side: The side of the box in pixels, positive.

    Raises:
        InvalidArgument: If `side` is not positive and finite.
    """
    require_pixels("side", side)
    r = reach(side / 2)
    pixels = torch.arange(-r, r + 1, dtype=torch.float64)
    line = (side / 2 + 0.5 - pixels.abs()).clamp(0, min(1.0, side)) / side
    return torch.outer(line, line) / line.sum() ** 2


def motion_psf(length: float, angle: float) -> Float64[Tensor, "h w"]:
    r"""The PSF of uniform linear motion, antialiased, with odd sides and sum 1, in float64.

    y is the mean of the bilinearly interpolated x along the path. The weight of pixel (i, j) is

    .. math:: h_{ij} = \int_{-1/2}^{1/2}
        \Lambda(\ell s \cos\theta - j)\, \Lambda(\ell s \sin\theta + i)\, ds

    where :math:`\Lambda(u) = \max(0, 1 - |u|)`. Between the points at which the path crosses a row
    or column of pixel centers both factors are linear, so that two-point Gauss quadrature is exact.

    Arguments:
        length: The length of the path in pixels, 0 or more; with 0 there is no blur.
        angle: The direction of the path in degrees, counterclockwise from the x axis.

    Raises:
        InvalidArgument: If `length` is negative, or either is not finite.
    """
    good = math.isfinite(length) and length >= 0
    require(good, "length", expected="0 pixels or more", got=length)
    require(math.isfinite(angle), "angle", expected="a finite number of degrees", got=angle)
    turn = math.radians(angle)
    # Rounded, so that a horizontal path has exactly one row.
    dx, dy = round(length * math.cos(turn), 9), round(-length * math.sin(turn), 9)
    cuts = [torch.tensor([-0.5, 0.5], dtype=torch.float64)]
    for d in (dx, dy):
        if d:
            half = int(abs(d) / 2)
            cuts.append(torch.arange(-half, half + 1, dtype=torch.float64) / d)
    edges = torch.cat(cuts).clamp(-0.5, 0.5).sort().values
    middle, span = (edges[1:] + edges[:-1]) / 2, edges.diff()
    s = torch.cat([middle - span / math.sqrt(12), middle + span / math.sqrt(12)])
    rows, columns = _tents(dy * s), _tents(dx * s)
    psf = rows.T @ (columns * torch.cat([span, span])[:, None] / 2)
    return psf / psf.sum()


def _tents(path: Tensor) -> Tensor:
    """Lambda(path - i) for the pixels i = -r ... r, `(n, 2 r + 1)`."""
    r = math.ceil(round(float(path.abs().max()), 9))
    pixels = torch.arange(-r, r + 1, dtype=torch.float64)
    return (1 - (path[:, None] - pixels).abs()).clamp(min=0)


def require_pixels(name: str, value: float) -> None:
    """Raise `InvalidArgument` unless the value is a positive finite number."""
    good = math.isfinite(value) and value > 0
    require(good, name, expected="a positive finite number of pixels", got=value)


def reach(radius: float) -> int:
    """The index of the outermost pixel, counted from the center, that overlaps a given radius."""
    return max(0, math.ceil(round(radius - 0.5, 9)))
