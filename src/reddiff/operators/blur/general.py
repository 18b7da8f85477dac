"""Convolution with any PSF and any boundary condition."""

from __future__ import annotations

from functools import lru_cache, partial

from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import irfft2, rfft2
from torch.nn.functional import pad

from reddiff.operators.base import Shape
from reddiff.operators.blur.boundary import Boundary, extend, fold
from reddiff.operators.blur.psf import as_psf, check_fits, image_shape
from reddiff.operators.kept import Kept
from reddiff.operators.linear import LinearOperator


class Blur(LinearOperator):
    r"""Convolution with any PSF and boundary condition: :math:`A = C_h E`.

    E pads the image on each side by half the size of the PSF. :math:`C_h` is the valid part of the
    convolution, so that y has the size of x, `(b, c, h, w)`; it is computed with FFTs of 5-smooth
    sizes. The adjoint :math:`E^T C_h^T` is exact; `solve` uses conjugate gradients. `make_blur`
    returns an operator with a closed-form inverse where there is one.

    Arguments:
        psf: The point spread function `(kh, kw)`, with odd sides and its center in the middle; or
            `(b, kh, kw)` with `per_lane`. It is used as given: divide by its sum for a DC gain of 1
            (with `Boundary.ZERO` the image still darkens towards its edges).
        boundary: The boundary condition.
        per_lane: Whether axis 0 of the PSF is the lane axis.

    Raises:
        InvalidArgument: If the PSF is not finite, is all zero, or has an even side or another
            number of axes, or, when applied, if it is larger than the image.
    """

    psf: Tensor

    def __init__(
        self, psf: Tensor, boundary: Boundary = Boundary.REFLECT, *, per_lane: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("psf", as_psf(psf, ("b",) if per_lane else ()))
        self.boundary = boundary
        self.batched = ("psf",) if per_lane else ()
        self._kept = Kept()

    def x_shape(self, y_shape: Shape) -> Shape:
        return image_shape(self.psf, y_shape)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return convolve(x, self.psf, self.boundary, self._kept)

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Correlation with the PSF, followed by `fold`, the adjoint of the padding."""
        return correlate(y, self.psf, self.boundary, self._kept)


def convolve(x: Tensor, psf: Tensor, boundary: Boundary, kept: Kept) -> Float[Tensor, "b c h w"]:
    """The convolution of images `(b, c, h, w)` with a PSF `(kh, kw)`, or one per lane.

    `kept` caches the transfer function of the PSF between calls.
    """
    check_fits(psf, x.shape[-2], x.shape[-1])
    r = radius(psf)
    wide = extend(x, r, boundary)
    size = fast_size(wide)
    return inside(irfft2(rfft2(wide, s=size) * _kept(kept, psf, x, size), s=size), x, r)


def correlate(y: Tensor, psf: Tensor, boundary: Boundary, kept: Kept) -> Float[Tensor, "b c h w"]:
    """The adjoint of `convolve`."""
    check_fits(psf, y.shape[-2], y.shape[-1])
    r = radius(psf)
    spread = outside(y, r)
    size = fast_size(spread)
    wide = irfft2(rfft2(spread, s=size) * _kept(kept, psf, y, size).conj(), s=size)
    return fold(wide[..., : spread.shape[-2], : spread.shape[-1]], r, boundary)


def radius(psf: Tensor) -> tuple[int, int]:
    """Half the sides of a PSF `(..., kh, kw)`, rounded down."""
    return psf.shape[-2] // 2, psf.shape[-1] // 2


def fast_size(x: Tensor) -> tuple[int, int]:
    """The smallest size that holds an image and has a fast FFT: no prime factor exceeds 5."""
    return smooth_size(x.shape[-2]), smooth_size(x.shape[-1])


def transfer(psf: Tensor, x: Tensor, size: tuple[int, int]) -> Complex[Tensor, "l 1 h k"]:
    """The Fourier transform of PSFs `(kh, kw)` or `(l, kh, kw)`, in the precision of x."""
    return rfft2(psf.to(x.dtype), s=size).reshape(-1, 1, size[0], size[1] // 2 + 1)


def _kept(kept: Kept, psf: Tensor, x: Tensor, size: tuple[int, int]) -> Tensor:
    return kept.get(psf, (size, x.dtype), partial(transfer, psf, x[:0], size))


def inside(full: Tensor, x: Tensor, r: tuple[int, int]) -> Tensor:
    """The valid part of the convolution of a padded image, which has the size of x."""
    return full[..., 2 * r[0] : 2 * r[0] + x.shape[-2], 2 * r[1] : 2 * r[1] + x.shape[-1]]


def outside(y: Tensor, r: tuple[int, int]) -> Tensor:
    """The adjoint of `inside`: y padded with zeros."""
    return pad(y, (2 * r[1], 0, 2 * r[0], 0))


@lru_cache(maxsize=4096)
def smooth_size(size: int) -> int:
    """The smallest 5-smooth number (no prime factor above 5) that is at least `size`.

    Arguments:
        size: A positive integer.
    """
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
