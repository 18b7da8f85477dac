"""The step for a nonlinear A or non-Gaussian noise: the denoiser, then a proximal map."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.noise import Gaussian
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.solvers.noise_aware.step import CG_ITERATIONS, CG_TOL, StepResult
from reddiff.solvers.steps.proximal import proximal_map


def nonlinear_step(
    problem: Problem,
    prior: Prior,
    z: Float[Tensor, "b *n"],
    s: Float[Tensor, " b"],
    sigma_y: Float[Tensor, " b"] | None,
) -> StepResult:
    """The proximal map of the negative log-likelihood at D(z, s).

    Arguments:
        problem: y, A and the noise.
        prior: The prior.
        z: The input of the denoiser.
        s: The level of the step.
        sigma_y: The sigma of Gaussian noise; None for other noise.
    """
    d = prior(z, s)
    if sigma_y is not None:
        sigma_y = torch.where(sigma_y.isfinite(), sigma_y, 1)  # NaN in a lane stays in that lane
        problem = problem.derived(noise=Gaussian(sigma_y))
    found = proximal_map(problem, d, s, tol=CG_TOL, iterations=CG_ITERATIONS)
    return StepResult(found.x, d, torch.zeros_like(d), torch.zeros_like(s), found.converged)
