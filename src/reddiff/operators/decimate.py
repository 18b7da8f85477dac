"""Subsampling without a filter: every f-th row and column is kept."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_count
from reddiff.operators.base import Shape
from reddiff.operators.shapes import enlarged
from reddiff.operators.spectral import SpectralOperator


class Decimate(SpectralOperator):
    r"""Keeps every f-th row and column: :math:`y_{ij} = x_{f i + o,\, f j + o}`.

    There is no anti-aliasing filter: detail finer than a pixel of y is aliased. `x[::4, ::4]` and
    cv2.INTER_NEAREST have offset 0; Pillow's NEAREST and torch's "nearest-exact" have offset
    f // 2.

    Arguments:
        factor: f, at least 1.
        offset: o, the first row and column that is kept, from 0 to f - 1.

    Raises:
        InvalidArgument: If `factor` or `offset` is out of range, or, when applied, if the factor
            does not divide the sides of x.
    """

    def __init__(self, factor: int, offset: int = 0) -> None:
        super().__init__()
        require_count("factor", factor)
        require_count("offset", offset, 0)
        require(offset < factor, "offset", expected=f"less than the factor {factor}", got=offset)
        self.factor, self.offset = factor, offset

    def extra_repr(self) -> str:
        return f"{self.factor}, {self.offset}"

    def x_shape(self, y_shape: Shape) -> Shape:
        return enlarged(y_shape, self.factor)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k l"]:
        h, w = x.shape[-2:]
        good = h % self.factor == 0 and w % self.factor == 0
        require(good, "x", expected=f"sides that {self.factor} divides", got=f"{h} x {w}")
        return self._kept(x).clone()

    def adjoint(self, y: Float[Tensor, "b c k l"]) -> Float[Tensor, "b c h w"]:
        f = self.factor
        x = y.new_zeros(*y.shape[:-2], f * y.shape[-2], f * y.shape[-1])
        self._kept(x).copy_(y)
        return x

    def initial_estimate(self, y: Float[Tensor, "b c k l"]) -> Float[Tensor, "b c h w"]:
        """Nearest-neighbor upsampling: each pixel of y fills the block that it was taken from."""
        return y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        """1 at the pixels that are kept, 0 elsewhere."""
        s = torch.zeros(z.shape[-2:], dtype=z.dtype, device=z.device)
        self._kept(s).fill_(1)
        return s

    def v(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return z

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x

    def u(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k l"]:
        return self(z)

    def ut(self, y: Float[Tensor, "b c k l"]) -> Float[Tensor, "b c h w"]:
        return self.adjoint(y)

    def _kept(self, x: Tensor) -> Tensor:
        return x[..., self.offset :: self.factor, self.offset :: self.factor]
