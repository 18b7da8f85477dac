"""Convolution with a symmetric PSF and reflecting boundaries, which the DCT diagonalizes."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.blur.boundary import Boundary
from reddiff.operators.blur.general import convolve
from reddiff.operators.blur.psf import as_psf, check_fits, image_shape
from reddiff.operators.dct import dct2, idct2
from reddiff.operators.kept import Kept
from reddiff.operators.spectral import SpectralOperator


class SymmetricBlur(SpectralOperator):
    r"""Convolution with a PSF that is symmetric under both flips, with `Boundary.REFLECT`.

    The discrete cosine transform C diagonalizes it, :math:`A = C^T\,\mathrm{diag}(\hat h)\,C` with

    .. math:: \hat h_{kl} = \sum_{ij} h_{ij} \cos(\pi k i / H) \cos(\pi l j / W),

    where i and j count from the center. Thus :math:`V = C^T`, :math:`s = |\hat h|` and
    :math:`U = C^T\,\mathrm{diag}(\mathrm{sign}\,\hat h)`. A is symmetric. x and y are
    `(b, c, h, w)`.

    Arguments:
        psf: The point spread function `(kh, kw)`, with odd sides and its center in the middle; or
            `(b, kh, kw)` with `per_lane`. Used as given: divide by its sum for a DC gain of 1.
        per_lane: Whether axis 0 of the PSF is the lane axis.

    Raises:
        InvalidArgument: If the PSF is not symmetric under both flips, is not finite, is all zero,
            or has an even side or another number of axes, or, when applied, if it is larger than
            the image.

    References:
        M. K. Ng, R. H. Chan, W.-C. Tang, "A fast algorithm for deblurring models with Neumann
        boundary conditions", SIAM J. Sci. Comput. 21(3), 1999, Theorem 3.2.
    """

    psf: Tensor

    def __init__(self, psf: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        psf = as_psf(psf, ("b",) if per_lane else ())
        got = f"one that differs from its flips by up to {_lopsidedness(psf):.3g}"
        require(is_symmetric(psf), "psf", expected="a PSF symmetric under both flips", got=got)
        even = (psf + psf.flip(-1)) / 2  # makes A exactly symmetric
        self.register_buffer("psf", (even + even.flip(-2)) / 2)
        self.batched = ("psf",) if per_lane else ()
        self._kept, self._cosine = Kept(), Kept()

    def x_shape(self, y_shape: Shape) -> Shape:
        return image_shape(self.psf, y_shape)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return convolve(x, self.psf, Boundary.REFLECT, self._kept)

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A y, since A is symmetric."""
        return self(y)

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A^+ y without frequencies attenuated below 3 % of the maximum: they are mostly noise."""
        return self.pinv(y, rcond=0.03)

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        return self._transfer(z).abs()

    def v(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return idct2(z)

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return dct2(x)

    def u(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The inverse DCT of sign(h) z."""
        return idct2(self._transfer(z).sign() * z)

    def ut(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """sign(h) times the DCT of y."""
        return self._transfer(y).sign() * dct2(y)

    def _transfer(self, x: Tensor) -> Tensor:
        """The eigenvalues of A, `(1 or b, 1, h, w)`."""
        h, w = x.shape[-2:]
        check_fits(self.psf, h, w)
        return self._cosine.get(
            self.psf, (h, w, x.dtype), partial(_eigenvalues, self.psf, h, w, x.dtype)
        )


def _eigenvalues(psf: Tensor, h: int, w: int, dtype: torch.dtype) -> Tensor:
    psf = psf.to(dtype)
    kh, kw = psf.shape[-2:]
    transfer = _cosines(h, kh).to(psf) @ psf @ _cosines(w, kw).to(psf).mT
    rounding = 32 * torch.finfo(dtype).eps * psf.abs().sum((-2, -1), keepdim=True)
    kept = torch.where(transfer.abs() > rounding, transfer, 0)  # zeros become exact
    return kept.reshape(-1, 1, h, w)


def is_symmetric(psf: Tensor) -> bool:
    """Whether PSFs equal both of their flips, up to rounding."""
    return _lopsidedness(psf) <= 32 * torch.finfo(psf.dtype).eps


def _lopsidedness(psf: Tensor) -> float:
    """The largest difference between a PSF and its flips, relative to its largest entry."""
    rest = torch.maximum((psf - psf.flip(-1)).abs(), (psf - psf.flip(-2)).abs())
    return float((rest.amax((-2, -1)) / psf.abs().amax((-2, -1))).max())


@lru_cache(maxsize=64)
def _cosines(n: int, side: int) -> Float64[Tensor, "n k"]:
    """cos(pi k i / n) for k = 0 ... n - 1 and the offsets i from the center of a kernel."""
    place = torch.arange(side, dtype=torch.float64) - side // 2
    return torch.cos(torch.arange(n, dtype=torch.float64)[:, None] * place * (math.pi / n))
