"""Convolution with periodic boundaries, which the Fourier transform diagonalizes."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fft2, irfft2, rfft2
from torch.nn.functional import conv2d, pad

from reddiff.lanes import per_lane
from reddiff.operators.base import Operator, Shape
from reddiff.operators.blur.psf import as_psf, check_fits, image_shape
from reddiff.operators.kept import Kept
from reddiff.operators.linear import LinearOperator
from reddiff.operators.spectral import SpectralOperator


class CircularBlur(SpectralOperator):
    r"""Convolution with periodic boundaries: :math:`A = F^{-1}\,\mathrm{diag}(\hat h)\,F`.

    The spectral coordinates are real. V is the Hartley transform, :math:`s = |\hat h|`, and U is V
    followed by the all-pass filter :math:`\hat h / |\hat h|`. x and y are `(b, c, h, w)`.

    Arguments:
        psf: The point spread function `(kh, kw)`, with odd sides and its center in the middle; or
            `(b, kh, kw)` with `per_lane`. Used as given: divide by its sum for a DC gain of 1.
        per_lane: Whether axis 0 of the PSF is the lane axis.

    Raises:
        InvalidArgument: If the PSF is not finite, is all zero, or has an even side or another
            number of axes, or, when applied, if it is larger than the image.
    """

    psf: Tensor

    def __init__(self, psf: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        self.register_buffer("psf", as_psf(psf, ("b",) if per_lane else ()))
        self.batched = ("psf",) if per_lane else ()
        self.least = tuple(self.psf.shape[-2:])  # the size of the smallest allowed image
        self._half, self._full = Kept(), Kept()

    def x_shape(self, y_shape: Shape) -> Shape:
        return image_shape(self._checked_part, y_shape)

    @property
    def T(self) -> LinearOperator:
        return self._of(self.psf.flip((-2, -1)), bool(self.batched), self.least)

    def product_with(self, inner: Operator) -> Operator | None:
        """The product of two circular blurs is a blur with the convolution of their PSFs."""
        if not isinstance(inner, CircularBlur):
            return None
        pairs = zip(self.least, inner.least, strict=True)
        least = tuple(max(sides) for sides in pairs)
        psf = _convolved(self.psf, inner.psf)
        nonzero = bool(psf.flatten(-2).any(-1).all())
        per_lane = bool(self.batched or inner.batched)
        return self._of(psf, per_lane, least) if nonzero else None

    @staticmethod
    def _of(psf: Tensor, per_lane: bool, least: Shape) -> CircularBlur:
        """A blur whose PSF may be larger than the smallest image, `least`; it wraps around."""
        made = CircularBlur(psf, per_lane=per_lane)
        made.least = least
        return made

    @property
    def _checked_part(self) -> Tensor:
        return self.psf[..., : self.least[0], : self.least[1]]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self._filter(x, self._transfer(x))

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self._filter(y, self._transfer(y).conj())

    def invert(
        self, b: Float[Tensor, "b c h w"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b c h w"]:
        """The filter 1 / (weight |h|^2 + lam), h being the transfer function."""
        power = self._transfer(b).abs() ** 2
        return self._filter(b, 1 / (per_lane(weight, b) * power + per_lane(lam, b)))

    def wiener(
        self, y: Float[Tensor, "b c h w"], weight: Tensor | float
    ) -> Float[Tensor, "b c h w"]:
        """The Wiener filter conj(h) / (|h|^2 + 1 / weight), h being the transfer function."""
        h = self._transfer(y)
        return self._filter(y, h.conj() / (h.abs() ** 2 + 1 / per_lane(weight, y)))

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A^+ y without frequencies attenuated below 3 % of the maximum: they are mostly noise."""
        return self.pinv(y, rcond=0.03)

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        return self._transfer(z, full=True).abs()

    def v(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The Hartley transform, which is its own inverse."""
        f = fft2(z, norm="ortho")
        return f.real - f.imag

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.v(x)

    def u(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The Hartley transform followed by the all-pass filter."""
        return self._filter(self.v(z), self._phase(z))

    def ut(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The inverse all-pass filter followed by the Hartley transform."""
        return self.v(self._filter(y, self._phase(y).conj()))

    def _transfer(self, x: Tensor, full: bool = False) -> Tensor:
        """The transfer function `(1 or b, 1, h, w)`; w // 2 + 1 columns of it unless `full`."""
        h, w = x.shape[-2:]
        check_fits(self._checked_part, h, w)
        kept = self._full if full else self._half
        return kept.get(
            self.psf, (h, w, x.dtype), partial(_transfer, self.psf, h, w, x.dtype, full)
        )

    def _phase(self, x: Tensor) -> Tensor:
        transfer = self._transfer(x)
        size = transfer.abs()
        return torch.where(size > 0, transfer / torch.where(size > 0, size, 1), 0)

    @staticmethod
    def _filter(x: Tensor, transfer: Tensor) -> Tensor:
        return irfft2(rfft2(x) * transfer, s=x.shape[-2:])


def _transfer(psf: Tensor, h: int, w: int, dtype: torch.dtype, full: bool) -> Tensor:
    kh, kw = psf.shape[-2:]
    padded = pad(psf.to(dtype), (0, -kw % w, 0, -kh % h))
    padded = padded.unflatten(-1, (-1, w)).sum(-2).unflatten(-2, (-1, h)).sum(-3)
    padded = padded.roll((-(kh // 2), -(kw // 2)), (-2, -1)).reshape(-1, 1, h, w)
    transfer = fft2(padded) if full else rfft2(padded)
    rounding = 32 * torch.finfo(dtype).eps * padded.abs().sum((-2, -1), keepdim=True)
    return torch.where(transfer.abs() > rounding, transfer, 0)  # zeros become exact


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """The full convolution of two PSFs, each shared or one per lane."""
    dtype, lanes = torch.promote_types(a.dtype, b.dtype), a.shape[:-2] or b.shape[:-2]
    count, (kh, kw) = (lanes[0] if lanes else 1), b.shape[-2:]
    a, b = (k.to(dtype).expand(count, *k.shape[-2:]) for k in (a, b))
    kernels = b.flip((-2, -1))[:, None]
    full = conv2d(a[None], kernels, padding=(kh - 1, kw - 1), groups=count)[0]
    return full if lanes else full[0]
