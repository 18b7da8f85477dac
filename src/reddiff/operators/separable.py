"""Operators that are separable into rows and columns, A = A_h (x) A_w, for every channel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.spectral import SpectralOperator


@dataclass(frozen=True, eq=False)
class Factor:
    """A matrix that acts along one axis of an image, and its singular value decomposition.

    Arguments:
        matrix: `(m, n)`, from n pixels to m, or one per lane `(b, m, n)`.
        u: The first k = min(m, n) left singular vectors, `(..., m, k)`.
        s: The singular values, zero-padded to length n: `(..., n)`.
        vt: All right singular vectors, as rows: `(..., n, n)`.
    """

    matrix: Float[Tensor, "*b m n"]
    u: Float[Tensor, "*b m k"]
    s: Float[Tensor, "*b n"]
    vt: Float[Tensor, "*b n n"]

    def to(self, like: Tensor) -> Factor:
        """A copy with the dtype and on the device of `like`."""
        return Factor(*(t.to(like) for t in (self.matrix, self.u, self.s, self.vt)))


def factor(matrix: Float[Tensor, "*b m n"]) -> Factor:
    """A `Factor` from a matrix, or from one per lane, by singular value decomposition.

    Singular values below max(m, n) times the rounding error of the largest one are set to zero.

    Arguments:
        matrix: `(m, n)` or `(b, m, n)`, preferably float64, so that the numerical rank is right.

    Raises:
        InvalidArgument: If the matrix is not finite, or all zero.
    """
    finite = bool(torch.isfinite(matrix).all())
    require(finite, "matrix", expected="finite values", got="nan or inf")
    require(bool(matrix.any()), "matrix", expected="a matrix that is not zero", got="zeros")
    m, n = matrix.shape[-2:]
    u, s, vt = torch.linalg.svd(matrix, full_matrices=True)
    least = s.amax(-1, keepdim=True) * max(m, n) * torch.finfo(s.dtype).eps
    s = torch.where(s > least, s, 0)
    return Factor(matrix, u[..., : min(m, n)], pad(s, (0, n - s.shape[-1])), vt)


def stack(factors: Sequence[Factor]) -> Factor:
    """Factors of single lanes, stacked along the lane axis."""
    fields = ([getattr(f, name) for f in factors] for name in ("matrix", "u", "s", "vt"))
    return Factor(*(torch.stack(tensors) for tensors in fields))


class Separable(SpectralOperator):
    r""":math:`y = A_h\, x\, A_w^T` for every channel.

    The singular value decomposition follows from those of the two factors,
    :math:`A_h = U_h S_h V_h^T` and :math:`A_w = U_w S_w V_w^T`:
    :math:`V = V_h \otimes V_w`, :math:`U = U_h \otimes U_w` and :math:`s = s_h s_w^T`. The
    spectral coordinates have the shape of x.

    A subclass implements `factors` and `x_shape`. Both matrix products are dense: a call costs
    O(h w (h + w)) operations per channel.
    """

    @abstractmethod
    def factors(self, height: int, width: int, like: Tensor) -> tuple[Factor, Factor]:
        """(A_h, A_w) for x of this size.

        It is called at every application of the operator and should cache its results.

        Arguments:
            height: The height of x in pixels.
            width: The width of x in pixels.
            like: A tensor with the dtype and device that the factors should have.
        """

    def forward(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w"]:
        down, across = self._factors(x)
        return _both(down.matrix, x, across.matrix.mT)

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        down, across = self._factors_of(y)
        return _both(down.matrix.mT, y, across.matrix)

    def spectrum(self, z: Float[Tensor, "b c H W"]) -> Tensor:
        """The products of the singular values of the two factors."""
        return _spectrum(*self._factors(z))

    def v(self, z: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        down, across = self._factors(z)
        return _both(down.vt.mT, z, across.vt)

    def vt(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
        down, across = self._factors(x)
        return _both(down.vt, x, across.vt.mT)

    def u(self, z: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w"]:
        """U_h z U_w^T, ignoring coordinates where s = 0."""
        down, across = self._factors(z)
        seen = torch.where(_spectrum(down, across) > 0, z, 0)
        seen = seen[..., : down.u.shape[-1], : across.u.shape[-1]]
        return _both(down.u, seen, across.u.mT)

    def ut(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        """U_h^T y U_w, zero where s = 0."""
        down, across = self._factors_of(y)
        z = _both(down.u.mT, y, across.u)
        s = _spectrum(down, across)
        z = pad(z, (0, s.shape[-1] - z.shape[-1], 0, s.shape[-2] - z.shape[-2]))
        return torch.where(s > 0, z, 0)

    def _factors(self, x: Tensor) -> tuple[Factor, Factor]:
        return self.factors(x.shape[-2], x.shape[-1], x)

    def _factors_of(self, y: Tensor) -> tuple[Factor, Factor]:
        height, width = self.x_shape(tuple(y.shape[1:]))[-2:]
        return self.factors(height, width, y)


def _both(left: Tensor, image: Tensor, right: Tensor) -> Tensor:
    """left @ image @ right for every lane and channel; the matrices may have a lane axis."""
    return left.unsqueeze(-3) @ image @ right.unsqueeze(-3)


def _spectrum(down: Factor, across: Factor) -> Tensor:
    """s_h s_w^T, `(H, W)`, or `(b, 1, H, W)` if a factor has a lane axis."""
    s = down.s[..., :, None] * across.s[..., None, :]
    return s if s.ndim == 2 else s.unsqueeze(1)
