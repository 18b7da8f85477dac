r"""What the steps for a linear A and Gaussian noise are given, and what they return.

Both forms, `spectral` and `iterative`, compute the z and :math:`\mu` of `NoiseAwareREDDiff`. At
:math:`s = \sigma`, :math:`\lambda = 1` and :math:`\omega = 0` the first is a gradient step on the
data term and the second is the identity: proximal gradient descent, whose fixed point on a
Gaussian prior is the posterior mean. At :math:`\omega = \lambda` and :math:`\rho = 0` they are the
steps of ADMM, with e the scaled dual variable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CG_TOL, CG_ITERATIONS = 1e-2, 20  # a tighter one is lost under the noise added next


@dataclass(frozen=True, eq=False)
class Level:
    """The noise levels and weights of one step.

    Arguments:
        s: The noise level of the step, `(b,)`.
        sigma_y: The noise of y, above 0, `(b,)`.
        norm: The largest singular value of A, `(b,)`.
        scale: Rho, the ratio of the noise added to the noise that would bring z to the level s,
            `(b,)`.
        weight: Lambda, the weight of the prior where A damps x, above 0 and at most 1, `(b,)`.
        dual: Omega, from 0 to lambda, `(b,)`.
        other: u, how far the prior is from Gaussian, from 0 to 1, `(b,)`.
        found: Whether sigma_y is being estimated; only then are the degrees of freedom needed.
    """

    s: Float[Tensor, " b"]
    sigma_y: Float[Tensor, " b"]
    norm: Float[Tensor, " b"]
    scale: Float[Tensor, " b"]
    weight: Float[Tensor, " b"]
    dual: Float[Tensor, " b"]
    other: Float[Tensor, " b"]
    found: bool

    @property
    def best(self) -> Float[Tensor, " b"]:
        """Noise of the best measured coordinate, at most s."""
        return torch.minimum(self.sigma_y / self.norm, self.s)

    @property
    def tau2(self) -> Float[Tensor, " b"]:
        """Tau^2 of the step before the denoiser."""
        return self.s**2 - (self.weight * self.best**2 - self.dual * self.s**2).clamp(min=0)

    @property
    def left(self) -> Float[Tensor, " b"]:
        """The part of the correction by y after the denoiser that the dual variable leaves."""
        return 1 - self.dual / self.weight

    @property
    def fresh2(self) -> Float[Tensor, " b"]:
        """The variance of the noise in z that is not from y, as the correction by y takes it."""
        return self.left * self.scale**2 * (self.s**2 - self.best**2)


@dataclass(frozen=True, eq=False)
class StepResult:
    """Result of one step.

    Arguments:
        mu: The next mean.
        denoised: D.
        error: z - D, what the denoiser took away.
        freedom: Degrees of freedom of D for each measured entry of y (Stein), `(b,)`.
        solved: Whether the data steps reached their tolerance, `(b,)`.
    """

    mu: Tensor
    denoised: Tensor
    error: Tensor
    freedom: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]
