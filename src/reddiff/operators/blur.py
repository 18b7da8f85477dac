"""Deblurring: y is x convolved with a point spread function."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fft2, irfft2, rfft2

from reddiff.errors import require
from reddiff.lanes import lanes
from reddiff.operators.base import Shape, SpectralOperator, check_y_shape


class CircularBlur(SpectralOperator):
    r"""Convolution with any PSF on a torus: :math:`A = F^{-1}\,\mathrm{diag}(\hat h)\,F`.

    The spectral coordinates are real: V is the Hartley transform, s = :math:`|\hat h|`, and
    U = V after the all-pass filter of the phases, :math:`\hat h / |\hat h|`.

    Arguments:
        psf: The point spread function `(kh, kw)`, odd sides, its centre in the middle; or
            `(b, kh, kw)` with `per_lane`. Taken as it is: divide by its sum for a DC gain of 1.
        per_lane: Whether axis 0 of the PSF numbers lanes.

    Raises:
        InvalidArgument: If the PSF is not finite, all zero, of even sides or of another rank.
    """

    psf: Tensor

    def __init__(self, psf: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        psf = torch.as_tensor(psf)
        psf = psf if psf.is_floating_point() else psf.to(torch.get_default_dtype())
        ndim = 3 if per_lane else 2
        form = "(b, kh, kw)" if per_lane else "(kh, kw)"
        shape = tuple(psf.shape)
        odd = psf.ndim == ndim and all(n % 2 for n in shape[-2:])
        require(odd, "psf", expected=f"shape {form} with odd sides", got=shape)
        finite = bool(torch.isfinite(psf).all())
        require(finite, "psf", expected="finite values", got="nan or inf")
        nonzero = bool(psf.reshape(-1, shape[-2] * shape[-1]).any(1).all())
        require(nonzero, "psf", expected="at least one entry that is not zero", got="all zero")
        self.register_buffer("psf", psf)
        self.batched = ("psf",) if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of y."""
        check_y_shape(y_shape, 3, "c, h, w")
        self._check_size(y_shape[-2], y_shape[-1])
        return y_shape

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """psf * x."""
        return self._filter(x, self._transfer(x))

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Correlation with the PSF."""
        return self._filter(y, self._transfer(y).conj())

    def invert(
        self, b: Float[Tensor, "b c h w"], lam: Tensor | float, gain: Tensor | float = 1.0
    ) -> Float[Tensor, "b c h w"]:
        """The Wiener-type filter 1 / (gain |h|^2 + lam)."""
        power = self._transfer(b).abs() ** 2
        return self._filter(b, 1 / (lanes(gain, b) * power + lanes(lam, b)))

    def guess(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A^+ y without the frequencies that are damped below 3 %: there y is mostly noise."""
        return self.pinv(y, rcond=0.03)

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        """|h| at every frequency."""
        return self._transfer(z, full=True).abs()

    def v(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The Hartley transform, its own inverse."""
        f = fft2(z, norm="ortho")
        return f.real - f.imag

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The Hartley transform."""
        return self.v(x)

    def u(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The Hartley transform, then the all-pass filter."""
        return self._filter(self.v(z), self._phase(z))

    def ut(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The all-pass filter undone, then the Hartley transform."""
        return self.v(self._filter(y, self._phase(y).conj()))

    def _check_size(self, height: int, width: int) -> None:
        kernel = tuple(self.psf.shape[-2:])
        fits = kernel[0] <= height and kernel[1] <= width
        require(fits, "psf", expected=f"at most the size of the image {height, width}", got=kernel)

    def _transfer(self, x: Tensor, full: bool = False) -> Tensor:
        """The transfer function, (1 or b, 1, h, w) or half of it in the last axis."""
        h, w = x.shape[-2:]
        self._check_size(h, w)
        kh, kw = self.psf.shape[-2:]
        padded = torch.nn.functional.pad(self.psf.to(x.dtype), (0, w - kw, 0, h - kh))
        padded = padded.roll((-(kh // 2), -(kw // 2)), (-2, -1)).reshape(-1, 1, h, w)
        transfer = fft2(padded) if full else rfft2(padded)
        rounding = 32 * torch.finfo(x.dtype).eps * padded.abs().sum((-2, -1), keepdim=True)
        return torch.where(transfer.abs() > rounding, transfer, 0)  # a zero is 0, not 1e-17

    def _phase(self, x: Tensor) -> Tensor:
        transfer = self._transfer(x)
        size = transfer.abs()
        return torch.where(size > 0, transfer / torch.where(size > 0, size, 1), 0)

    @staticmethod
    def _filter(x: Tensor, transfer: Tensor) -> Tensor:
        return irfft2(rfft2(x) * transfer, s=x.shape[-2:])


def gaussian_psf(sigma: float, radius: int | None = None) -> Tensor:
    """A Gaussian PSF `(2 radius + 1, 2 radius + 1)` of sum 1, in float64.

    Arguments:
        sigma: The standard deviation in pixels, positive.
        radius: Half the side; 4 sigma, rounded up, by default.

    Raises:
        InvalidArgument: If `sigma` is not positive, or `radius` negative.
    """
    require(sigma > 0, "sigma", expected="a positive number of pixels", got=sigma)
    r = int(-(-4 * sigma // 1)) if radius is None else radius
    require(r >= 0, "radius", expected="0 or more", got=r)
    line = torch.exp(-0.5 * (torch.arange(-r, r + 1, dtype=torch.float64) / sigma) ** 2)
    return torch.outer(line, line) / line.sum() ** 2


def motion_psf(length: float, angle: float) -> Tensor:
    r"""The PSF of a straight, even motion of the camera: odd sides, sum 1, float64, antialiased.

    y is the mean along the path of x, interpolated bilinearly: the weight of pixel (i, j) is

    .. math:: h_{ij} = \int_{-1/2}^{1/2}
        \Lambda(\ell s \cos\theta - j)\, \Lambda(\ell s \sin\theta + i)\, ds

    with the tent :math:`\Lambda(u) = \max(0, 1 - |u|)`. Both factors are linear between the points
    where the path crosses a row or column of pixel centres, so the two-point Gauss rule is exact.

    Arguments:
        length: The length of the path in pixels, 0 or more; 0 is no blur.
        angle: Its direction in degrees, counterclockwise from the x axis.

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
    """The tent around each pixel -r ... r at each place of a path, (n, 2 r + 1)."""
    r = math.ceil(round(float(path.abs().max()), 9))
    pixels = torch.arange(-r, r + 1, dtype=torch.float64)
    return (1 - (path[:, None] - pixels).abs()).clamp(min=0)
