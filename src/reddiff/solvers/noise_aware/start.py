"""The state before the first step."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot
from reddiff.noise import UnknownGaussian
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.noise_aware.levels import Levels
from reddiff.solvers.noise_aware.state import NoiseAwareState

LEAST = 0.1  # lower bound on the gaussianity
# At levels near the noise of y, the proximal step on D counts y twice; well below, the error is
# small. With Poisson noise (30 photons per pixel): 22.2 dB at the noise of y, 25.5 dB at a quarter.
APART = 0.25


def initial_state(problem: Problem, prior: Prior, levels: Levels, rng: Rng) -> NoiseAwareState:
    """mu near A^+ y, with the noise level of y if it is known."""
    mu = problem.initial_estimate()
    operator, noise = problem.operator, problem.noise
    near = operator.linearise(mu + rng.randn_like(mu))
    norm = operator.norm(mu, near)
    norm = torch.where(norm > 0, norm, 1)
    if isinstance(noise, UnknownGaussian):
        sigma_y, low = _rms(problem.y, problem), torch.zeros_like(norm)
    else:
        sigma_y = _rms(noise.std(near.a), problem)
        lower = 1.0 if problem.linear_gaussian else APART
        low = levels.last(lower * sigma_y / norm).clamp(max=prior.sigma_max)
    eta = prior.gaussianity(torch.where(low > 0, low, 1), mu).clamp(LEAST, 1)
    none, solved = torch.zeros_like(mu), torch.isfinite(norm)
    state = NoiseAwareState(mu, mu, sigma_y, low, norm, eta, none, none, solved)
    deep = levels.last_of_draws(low, sigma_y / norm, prior.sigma_min)
    draws = (state.non_gaussianity == 0) & (low > 0)
    return replace(state, low=torch.where(draws, deep, low))


def _rms(y: Tensor, problem: Problem) -> Float[Tensor, " b"]:
    """The root mean square of the measured entries."""
    y = torch.where(problem.measured, y, 0)
    return (dot(y, y) / problem.count.clamp(min=1)).sqrt()
