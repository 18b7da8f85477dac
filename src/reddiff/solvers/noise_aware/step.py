r"""Parameters and results of the steps for a linear A and Gaussian noise.

Both forms, `spectral` and `iterative`, compute z and :math:`\mu` of `NoiseAwareREDDiff`. For
:math:`s = \sigma`, :math:`\lambda = 1` and :math:`\omega = 0`, z is a gradient step on the data
term, and :math:`\mu = D`: this is proximal gradient descent, whose fixed point for a Gaussian
prior is the posterior mean. For :math:`\omega = \lambda` and :math:`\rho = 0` the steps are those
of ADMM, with e as the scaled dual variable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CG_TOL, CG_ITERATIONS = 1e-2, 20  # more accuracy would be lost in the noise added next


@dataclass(frozen=True, eq=False)
class Level:
    """The noise levels and weights of one step.

    Arguments:
        s: The noise level of the step, `(b,)`.
        sigma_y: The noise level of y, above 0, `(b,)`.
        norm: The largest singular value of A, `(b,)`.
        scale: rho, the ratio of the added noise to the noise that would raise z to level s, `(b,)`.
        weight: lambda, the weight of the prior where A attenuates x, in (0, 1], `(b,)`.
        dual: omega, from 0 to lambda, `(b,)`.
        other: u, the deviation of the prior from a Gaussian, from 0 to 1, `(b,)`.
        found: Whether sigma_y is estimated, for which the degrees of freedom are needed.
        drawing: Whether coordinates with more noise than s take one data step instead of two, as
            draws from the posterior need, `(b,)`.
    """

    s: Float[Tensor, " b"]
    sigma_y: Float[Tensor, " b"]
    norm: Float[Tensor, " b"]
    scale: Float[Tensor, " b"]
    weight: Float[Tensor, " b"]
    dual: Float[Tensor, " b"]
    other: Float[Tensor, " b"]
    found: bool
    drawing: Bool[Tensor, " b"]

    @property
    def best(self) -> Float[Tensor, " b"]:
        """sigma, the noise of the best measured coordinate, at most s."""
        return torch.minimum(self.sigma_y / self.norm, self.s)

    @property
    def tau2(self) -> Float[Tensor, " b"]:
        """tau^2 of the data step before the denoiser."""
        return self.s**2 - (self.weight * self.best**2 - self.dual * self.s**2).clamp(min=0)

    @property
    def left(self) -> Float[Tensor, " b"]:
        """1 - omega / lambda, the factor on the data step after the denoiser."""
        return 1 - self.dual / self.weight

    @property
    def fresh2(self) -> Float[Tensor, " b"]:
        """P for a Gaussian prior: the variance of the noise in z that does not come from y."""
        return self.left * self.scale**2 * (self.s**2 - self.best**2)


@dataclass(frozen=True, eq=False)
class StepResult:
    """Result of one step.

    Arguments:
        mu: The next mean.
        denoised: D.
        error: z - D, the difference removed by the denoiser.
        freedom: Degrees of freedom of D per measured entry of y, by Stein's lemma, `(b,)`.
        solved: Whether the data steps reached their tolerance, `(b,)`.
    """

    mu: Tensor
    denoised: Tensor
    error: Tensor
    freedom: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]
