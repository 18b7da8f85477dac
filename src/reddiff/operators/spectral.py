"""Linear operators with a known singular value decomposition."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.operators.base import Linearisation
from reddiff.operators.linear import ClosedForm


class SpectralOperator(ClosedForm):
    r"""A linear A with a known singular value decomposition :math:`A = U\,\mathrm{diag}(s)\,V^T`.

    The columns of V are a complete orthonormal basis for x: `vt` maps x to n real spectral
    coordinates, and `v` maps them back. `ut` maps y to the same n coordinates, with zeros where
    s = 0; `u` maps them to y and ignores those where s = 0. `forward`, `adjoint`, `solve` and
    `pinv` are derived from these methods.
    """

    @abstractmethod
    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        """The singular values s >= 0, broadcastable with the spectral coordinates z."""

    @abstractmethod
    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        """V z."""

    @abstractmethod
    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        """V^T x."""

    @abstractmethod
    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        """U z."""

    @abstractmethod
    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        """U^T y."""

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """U diag(s) V^T x."""
        z = self.vt(x)
        return self.u(self.spectrum(z) * z)

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """V diag(s) U^T y."""
        z = self.ut(y)
        return self.v(self.spectrum(z) * z)

    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """Division by weight s^2 + lam in the spectral coordinates."""
        z = self.vt(b)
        return self.v(z / (per_lane(weight, z) * self.spectrum(z) ** 2 + per_lane(lam, z)))

    def wiener(self, y: Float[Tensor, "b *m"], weight: Tensor | float) -> Float[Tensor, "b *n"]:
        """Multiplication by s / (s^2 + 1 / weight) in the spectral coordinates."""
        z = self.ut(y)
        s = self.spectrum(z)
        return self.v(z * (s / (s**2 + 1 / per_lane(weight, z))))

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """A^+ y."""
        return self.pinv(y)

    def norm(
        self, x: Float[Tensor, "b *n"], near: Linearisation | None = None, *, iterations: int = 8
    ) -> Float[Tensor, " b"]:
        """The largest singular value, exactly."""
        z = self.vt(x)
        return self.spectrum(z).expand_as(z).flatten(1).amax(1)

    def pinv(self, y: Float[Tensor, "b *m"], rcond: float | None = None) -> Float[Tensor, "b *n"]:
        """A^+ y, where singular values below `rcond` times the lane's largest count as zero.

        Arguments:
            y: A measurement.
            rcond: A number in [0, 1); by default 100 times the machine epsilon of the dtype.
        """
        z = self.ut(y)
        s = self.spectrum(z).expand_as(z)
        if rcond is None:
            rcond = 100 * torch.finfo(z.dtype).eps
        kept = s > rcond * per_lane(s.flatten(1).amax(1), s)
        return self.v(torch.where(kept, z / torch.where(kept, s, 1), 0))
