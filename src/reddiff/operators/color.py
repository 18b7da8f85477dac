"""Mixing of the color channels of each pixel, such as conversion to gray."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.spectral import SpectralOperator


class ChannelMix(SpectralOperator):
    """y = M x at each pixel, where M mixes the channels; recovering x is colorization.

    Arguments:
        matrix: M `(m, c)`, m <= c, of full rank. x is `(b, c, h, w)`, y is `(b, m, h, w)`.

    Raises:
        InvalidArgument: If the matrix is not 2-D, has m > c, or has linearly dependent rows.
    """

    left: Tensor
    right: Tensor
    s: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        wide = matrix.ndim == 2 and matrix.shape[0] <= matrix.shape[1]
        require(wide, "matrix", expected="shape (m, c), m <= c", got=tuple(matrix.shape))
        left, s, right = torch.linalg.svd(matrix, full_matrices=True)
        full = bool(s[-1] > 1e-6 * s[0])
        require(full, "matrix", expected="independent rows", got=f"singular values {s.tolist()}")
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.register_buffer("s", pad(s, (0, matrix.shape[1] - len(s))))

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "m, h, w")
        m, got = len(self.left), f"(b, {', '.join(map(str, y_shape))})"
        require(y_shape[0] == m, "y", expected=f"shape (b, {m}, h, w)", got=got)
        return len(self.right), *y_shape[1:]

    def extra_repr(self) -> str:
        return f"matrix=({len(self.left)}, {len(self.right)})"

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        """The singular values, zero-padded to length c."""
        return self.s[:, None, None]

    def v(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.einsum("kc,bkhw->bchw", self.right, z)

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.einsum("kc,bchw->bkhw", self.right, x)

    def u(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b m h w"]:
        return torch.einsum("mk,bkhw->bmhw", self.left, z[:, : len(self.left)])

    def ut(self, y: Float[Tensor, "b m h w"]) -> Float[Tensor, "b c h w"]:
        """U^T y at every pixel, zero-padded to c channels."""
        z = torch.einsum("mk,bmhw->bkhw", self.left, y)
        return pad(z, (0, 0, 0, 0, 0, len(self.right) - len(self.left)))


def grayscale(dtype: torch.dtype = torch.float32) -> ChannelMix:
    """The luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, from x `(b, 3, h, w)`."""
    return ChannelMix(torch.tensor([[0.299, 0.587, 0.114]], dtype=dtype))
