r"""Draws from :math:`p(y \mid A(x))\, e^{-\|x - c\|^2 / 2 r^2}`, a likelihood near a center."""

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

TOL, ITERATIONS = 1e-6, 500  # of the system that a draw solves: its error is far below its spread


@dataclass(frozen=True)
class Conditional(ABC):
    """A way to draw x from a Gaussian around a center times the likelihood of y."""

    @abstractmethod
    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        """One draw per lane.

        Arguments:
            problem: y, A and the noise.
            center: c, of the shape of x.
            r: The standard deviation of x about the center, above 0, in units of x `(b,)`.
            start: Where iterative methods begin.
            rng: The source of noise.
        """

    def check(self, problem: Problem) -> None:
        """Raise Unsupported if there is no such density, or no way to draw from it."""
        check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Conditional:
        """The same with its published step size times `factor` `(b,)`, if it has one."""
        return self


@final
@dataclass(frozen=True)
class PerturbAndSolve(Conditional):
    r"""Exact draws, for a linear A and Gaussian noise: the solution for perturbed y and center.

    .. math:: x = \arg\min_x \frac{\|y + \sigma_y n_1 - A x\|^2}{2 \sigma_y^2} +
        \frac{\|x - c - r n_2\|^2}{2 r^2}

    sigma_y = 0 is a limit of it: draws that explain y exactly.
    See `reddiff.solvers.steps.proximal.proximal`.

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
    r"""Draws for split Gibbs sampling that leave its other half without bias.

    .. math:: z \sim N(y;\, A z,\; \sigma_y^2 - r^2 A A^T)\; e^{-\|z - x\|^2 / 2 r^2}

    The noise of y is sharpened by what the split adds: integrated over z, that is exactly
    :math:`N(y; A x, \sigma_y^2)`, so that x follows the posterior at any r up to
    :math:`\sigma_y / \|A\|`, where `PerturbAndSolve` gives the one of noise
    :math:`\sigma_y^2 + r^2 A A^T`. In spectral coordinates, with
    :math:`g_i = \min(1, r^2 s_i^2 / \sigma_y^2)`,

    .. math:: z_i = x_i + g_i (y_i / s_i - x_i) + r \sqrt{1 - g_i}\, n_i

    For a larger r the variance is cut at 0: z is consistent with y exactly, and x sees y_i / s_i
    with noise r. For spectral operators and Gaussian noise, sigma_y = 0 included. Ours.
    """

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        y = SpectralView.required(problem)
        x = y.operator.vt(center)
        r = per_lane(r, x)
        reached = r * y.s >= y.sigma  # also where sigma_y is 0
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
    """The proximal point of a perturbed center and, for Gaussian noise, a perturbed y."""
    center = center + per_lane(r, center) * rng.randn_like(center)
    if isinstance(problem.noise, Gaussian):
        problem = perturbed_data(problem, rng)
    if problem.linear_gaussian:  # no start: its residual would have to be found first
        return proximal_map(problem, center, r, tol=TOL, iterations=ITERATIONS).x
    return proximal_map(problem, center, r, start=start).x


def check_density(method: Conditional, noise: Noise) -> None:
    """Raise Unsupported for Gaussian noise of sigma 0, which has no density."""
    if isinstance(noise, Gaussian) and noise.noiseless:
        name = type(method).__name__
        raise Unsupported(f"{name}: expected noise with sigma > 0, got sigma = 0")
