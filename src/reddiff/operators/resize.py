"""Super-resolution: y is a downsampled x."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from reddiff.errors import require, require_count
from reddiff.lanes import per_lane
from reddiff.operators.base import Shape
from reddiff.operators.resampling import Filter, bicubic, resampling_factor
from reddiff.operators.separable import Factor, Separable
from reddiff.operators.shapes import enlarged
from reddiff.operators.spectral import SpectralOperator


class BlockMean(SpectralOperator):
    r"""Downsampling by averaging: y holds the mean of each `factor` x `factor` block of x.

    All singular values are 1 / factor. V is an orthonormal basis of each block, built by a
    Householder reflection: its first vector is constant, the others span the null space.

    Arguments:
        factor: The side of a block, at least 1. x is `(b, c, h factor, w factor)`, y is
            `(b, c, h, w)`.

    Raises:
        InvalidArgument: If `factor` is not an integer of at least 1.
    """

    reflector: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        require_count("factor", factor)
        self.factor = factor
        w = torch.full((factor**2,), -1.0 / factor, dtype=torch.float64)
        w[0] += 1.0  # H = I - 2 w w^T / w^T w swaps e_0 and the constant unit vector
        self.register_buffer("reflector", w / w.norm() if factor > 1 else 0 * w, persistent=False)

    def extra_repr(self) -> str:
        return f"{self.factor}"

    def x_shape(self, y_shape: Shape) -> Shape:
        return enlarged(y_shape, self.factor)

    def forward(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w"]:
        _check_sides(x.shape[-2], x.shape[-1], self.factor)
        return avg_pool2d(x, self.factor)

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        """Each value of y spread over its block, divided by factor^2."""
        f = self.factor
        return (y / f**2).repeat_interleave(f, -2).repeat_interleave(f, -1)

    def invert(
        self, b: Float[Tensor, "b c H W"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b c H W"]:
        """The Woodbury identity with A A^T = I / factor^2."""
        lam, weight = per_lane(lam, b), per_lane(weight, b)
        seen = self.adjoint(self(b))
        return (b - weight / (lam + weight / self.factor**2) * seen) / lam

    def wiener(
        self, y: Float[Tensor, "b c h w"], weight: Tensor | float
    ) -> Float[Tensor, "b c H W"]:
        """A^T y / (1 / factor^2 + 1 / weight), since A A^T = I / factor^2."""
        return self.adjoint(y / (1 / self.factor**2 + 1 / per_lane(weight, y)))

    def spectrum(self, z: Float[Tensor, "b c k h w"]) -> Tensor:
        """1 / factor for the constant vector of a block, 0 for the others, `(k, 1, 1)`."""
        s = torch.zeros(self.factor**2, 1, 1, dtype=z.dtype, device=z.device)
        s[0] = 1 / self.factor
        return s

    def v(self, z: Float[Tensor, "b c k h w"]) -> Float[Tensor, "b c H W"]:
        return pixel_shuffle(self._reflect(z).flatten(1, 2), self.factor)

    def vt(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c k h w"]:
        blocks = pixel_unshuffle(x, self.factor)
        return self._reflect(blocks.unflatten(1, (x.shape[1], -1)))

    def u(self, z: Float[Tensor, "b c k h w"]) -> Float[Tensor, "b c h w"]:
        """The first coordinate of each block."""
        return z[:, :, 0]

    def ut(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k h w"]:
        """y as the first coordinate of each block."""
        zeros = y.new_zeros(*y.shape[:2], self.factor**2 - 1, *y.shape[2:])
        return torch.cat([y.unsqueeze(2), zeros], 2)

    def _reflect(self, z: Float[Tensor, "b c k h w"]) -> Float[Tensor, "b c k h w"]:
        w = self.reflector.to(z.dtype)[:, None, None]
        return z - 2 * w * (w * z).sum(2, keepdim=True)


class Resize(Separable):
    r"""Downsampling by an integer factor with an anti-aliasing filter, as in Pillow.

    :math:`y = A_h x A_w^T`, where the rows of :math:`A_h` and :math:`A_w` sum to 1: a constant
    image stays the same.

    Arguments:
        factor: An integer of at least 1. x is `(b, c, h factor, w factor)`, y is `(b, c, h, w)`.
        filter: `bicubic` (cubic convolution with a = -1/2), `lanczos` (3 lobes), `triangle`
            (bilinear), `box`, or another `Filter`.
        shift: Offset of the pixels of y from the centers of their blocks, down and to the right,
            in pixels of x; smaller than `factor` in magnitude.

    Raises:
        InvalidArgument: If `factor` is not an integer of at least 1, if `filter` is not a Filter,
            if `shift` is not smaller than `factor`, or, when applied, if the factor does not
            divide the sides of x.

    References:
        R. Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 15.
    """

    def __init__(
        self,
        factor: int,
        filter: Filter = bicubic,  # noqa: A002
        *,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        require_count("factor", factor)
        self.factor, self.shift = factor, float(shift)
        good = abs(shift) < factor
        require(good, "shift", expected=f"less than {factor} pixels", got=shift)
        is_filter = isinstance(filter, Filter)
        expected = "a Filter, such as bicubic"
        require(is_filter, "filter", expected=expected, got=type(filter).__name__)
        self.filter = filter

    def x_shape(self, y_shape: Shape) -> Shape:
        return enlarged(y_shape, self.factor)

    def factors(self, height: int, width: int, like: Tensor) -> tuple[Factor, Factor]:
        """The resampling matrices for both axes, cached."""
        _check_sides(height, width, self.factor)
        sides = (height, width)
        down, across = (
            resampling_factor(n, self.factor, self.filter, like.dtype, like.device, self.shift)
            for n in sides
        )
        return down, across


def _check_sides(height: int, width: int, factor: int) -> None:
    whole = height % factor == 0 and width % factor == 0
    expected = f"sides divisible by the factor {factor}"
    require(whole, "x", expected=expected, got=f"{height} x {width}")
