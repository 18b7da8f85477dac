r"""Draws from :math:`p(y \mid A(x))\, e^{-\|x - c\|^2 / 2 r^2}`, likelihood times a Gaussian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.steps.conditioning import check_linear_gaussian, perturbed_data
from reddiff.solvers.steps.proximal import proximal_map
from reddiff.spectral_view import SpectralView

TOL, ITERATIONS = 1e-6, 500  # of the linear system: errors are far below the spread of draws


@dataclass(frozen=True)
class Conditional(ABC):
    """A method to draw x from the likelihood of y times a Gaussian around a center."""

    @abstractmethod
    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane.

        Arguments:
            problem: y, A and the noise.
            center: c, with the shape of x.
            r: The standard deviation of the Gaussian, above 0, in units of x, `(b,)`.
            start: The initial value of iterative methods, with the shape of x.
            rng: The random number generator.
        """

    def check(self, problem: Problem) -> None:
        """Raise Unsupported if the density does not exist or the method cannot draw from it."""
        check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Conditional:
        """The method with its published step size, if any, times `factor` `(b,)`."""
        return self


@final
@dataclass(frozen=True)
class PerturbAndSolve(Conditional):
    r"""Exact draws for a linear A and Gaussian noise, by solving for a perturbed y and center.

    .. math:: x = \arg\min_x \frac{\|y + \sigma_y n_1 - A x\|^2}{2 \sigma_y^2} +
        \frac{\|x - c - r n_2\|^2}{2 r^2}

    For sigma_y = 0 draws are consistent with y; see `reddiff.solvers.steps.proximal.proximal_map`.

    References:
        | Gaussian Sampling by Local Perturbations (Papandreou & Yuille, 2010)
    """

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        return perturbed(problem, center, r, start, rng)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported unless A is linear and the noise Gaussian."""
        check_linear_gaussian("PerturbAndSolve", problem)


@final
@dataclass(frozen=True)
class Sharpened(Conditional):
    r"""Draws of z for split Gibbs sampling that remove the bias of the splitting.

    .. math:: z \sim N(y;\, A z,\; \sigma_y^2 - r^2 A A^T)\; e^{-\|z - x\|^2 / 2 r^2}

    The covariance of the noise of y is reduced by that added by the splitting. Integrated over z,
    the likelihood is exactly :math:`N(y; A x, \sigma_y^2)`, so that x follows the posterior for any
    r up to :math:`\sigma_y / \|A\|`. (With `PerturbAndSolve`, it follows the posterior for noise of
    covariance :math:`\sigma_y^2 + r^2 A A^T`.) In spectral coordinates, with
    :math:`g_i = \min(1, r^2 s_i^2 / \sigma_y^2)`,

    .. math:: z_i = x_i + g_i (y_i / s_i - x_i) + r \sqrt{1 - g_i}\, n_i

    For larger r the variance is clipped at 0: z is then consistent with y, and y_i / s_i has noise
    of level r for x. The method applies to spectral operators and Gaussian noise, including sigma_y
    = 0. It is not from a paper.
    """

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        y = SpectralView.required(problem)
        x = y.operator.vt(center)
        r = per_lane(r, x)
        reached = r * y.s >= y.sigma  # also if sigma_y = 0
        ratio = r * y.s / torch.where(reached, 1, y.sigma)
        g = torch.where(reached, 1, ratio**2) * y.seen
        noise = y.operator.vt(rng.randn_like(center))
        return y.operator.v(x + g * (y.x - x) + r * (1 - g).sqrt() * noise)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported unless A has a spectral form and the noise is Gaussian."""
        if SpectralView.of(problem) is None:
            raise Unsupported(
                "Sharpened: expected a SpectralOperator and Gaussian noise, got "
                f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
            )


def perturbed(problem: Problem, center: Tensor, r: Tensor, start: Tensor, rng: Rng) -> Tensor:
    """The proximal map for a perturbed center and, if the noise is Gaussian, a perturbed y."""
    center = center + per_lane(r, center) * rng.randn_like(center)
    if isinstance(problem.noise, Gaussian):
        problem = perturbed_data(problem, rng)
    if problem.linear_gaussian:  # a start would cost one more residual
        return proximal_map(problem, center, r, tol=TOL, iterations=ITERATIONS).x
    return proximal_map(problem, center, r, start=start).x


def check_density(method: Conditional, noise: Noise) -> None:
    """Raise Unsupported for Gaussian noise with sigma = 0, which has no density."""
    if isinstance(noise, Gaussian) and noise.noiseless:
        name = type(method).__name__
        raise Unsupported(f"{name}: expected noise with sigma > 0, got sigma = 0")
