"""The step for a linear A and Gaussian noise, in spectral form if A has one."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.noise_aware.iterative import iterative_step
from reddiff.solvers.noise_aware.realism import dual_share, early_noise_scale, prior_weight
from reddiff.solvers.noise_aware.spectral import spectral_step
from reddiff.solvers.noise_aware.state import NoiseAwareState
from reddiff.solvers.noise_aware.step import Level, StepResult
from reddiff.spectral_view import SpectralView


def linear_step(
    state: NoiseAwareState,
    problem: Problem,
    operator: LinearOperator,
    prior: Prior,
    s: Float[Tensor, " b"],
    beta: Float[Tensor, " b"],
    eps: Float[Tensor, "b *n"],
    rng: Rng,
    *,
    r: float,
    early: Bool[Tensor, " b"],
    known: bool,
) -> tuple[Float[Tensor, "b *n"], StepResult]:
    """The step at level s, with momentum beta and noise eps.

    Arguments:
        state: The state before the step.
        problem: y, A and the noise.
        operator: A.
        prior: The prior.
        s: The noise level.
        beta: The momentum, before it is reduced because of the dual variable.
        eps: The noise of z.
        rng: The random number generator for further noise.
        r: The realism.
        early: Whether the step is in the first half of the run.
        known: Whether sigma_y is given.

    Returns:
        w, and the result of the step.
    """
    u = state.non_gaussianity
    weight, share = prior_weight(r, state.gaussianity), dual_share(r, u)
    level = Level(
        s,
        state.positive_sigma_y(known=known),
        state.norm,
        early_noise_scale(r, u, early),
        weight,
        dual=weight * share,
        other=u,
        found=not known,
        drawing=(u == 0) & (r == 1),
    )
    base = w = state.extrapolated(beta * (1 - share))
    if r < 0.5:
        base = w - per_lane(level.dual, w) * state.error
    view = SpectralView.of(problem, level.sigma_y)
    if view is not None:
        return w, spectral_step(problem, view, prior, w, base, eps, level)
    return w, iterative_step(problem, operator, prior, w, base, eps, level, rng)
