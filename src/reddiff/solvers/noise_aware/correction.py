"""The data step after the denoiser, with the measured covariance of the prior's error."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.linalg import Solution
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.solvers.noise_aware.step import CG_TOL, Level
from reddiff.solvers.steps.conditioning import conditioned

FEW = 6  # CG iterations; more have little effect and amplify rounding errors


def measured_step(
    problem: Problem,
    operator: LinearOperator,
    prior: Prior,
    d: Tensor,
    level: Level,
    plain: Callable[[], Solution],
) -> Solution:
    r"""D + P A^T (A P A^T + lambda sigma_y^2)^-1 (y - A D), by a few CG iterations.

    :math:`P = P_0 ((1 - u) I + u\,C_s / s^2)`, where :math:`P_0` (`level.fresh2`) is P for a
    Gaussian prior. Lanes with u = 0 take the step `plain`.
    """
    used, x = level.other > 0, d
    if not bool(used.any()):
        return plain()
    other = per_lane(level.other, d)
    if bool((used & (level.fresh2 > 0)).any()):
        errors = prior.error_covariance(level.s, d).scaled(1 / level.s**2)

        def spread(v: Tensor) -> Tensor:
            return per_lane(level.fresh2, v) * ((1 - other) * v + other * errors(v))

        near, noise2 = operator.linearise(d), level.weight * level.sigma_y**2
        var_y = per_lane(noise2, problem.y)
        x = conditioned(problem, d, near, spread, var_y, tol=CG_TOL, iterations=FEW)
    if bool(used.all()):
        return Solution(x, used)
    rest = plain()
    return Solution(torch.where(other > 0, x, rest.x), used | rest.converged)
