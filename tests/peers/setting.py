"""What the tests of every peer share: a prior, measurements, and runs of ours step by step."""

from __future__ import annotations

import torch
from bridges import Global
from common import photo
from torch import Tensor

import reddiff
from reddiff import Gaussian, Problem
from reddiff.lanes import norm
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Mask, gaussian_psf
from reddiff.priors import GaussianRandomField, Prior
from reddiff.schedules import Schedule
from reddiff.solvers.base_sampler import Diffused, Sampler

SHAPE = (1, 4, 4)
FIELD = GaussianRandomField(-2.2, std=0.5)
SIGMA = 0.1


def operators(size: tuple[int, int] = (4, 4)) -> dict[str, LinearOperator]:
    bits = torch.rand(size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return {
        "mask": Mask((bits > 0.5).double()),
        "blur": CircularBlur(gaussian_psf(0.6, 1)),
        "sr": BlockMean(2),
    }


def measured(operator: LinearOperator, sigma: float = SIGMA, b: int = 2) -> Problem:
    """y of draws of a Gaussian prior, in double precision."""
    x = torch.empty(b, *SHAPE, dtype=torch.float64)
    x = FIELD.sample(x, reddiff.Keys(0, tuple(range(b))).at(0))
    return Problem.simulate(x, operator, Gaussian(sigma), seed=1)


def of_photo(operator: LinearOperator) -> Problem:
    """y of a small photo, in single precision."""
    x = 2 * photo("chelsea", 32)[None] - 1
    return Problem.simulate(x, operator, Gaussian(SIGMA), seed=1)


def started(schedule: Schedule, problem: Problem) -> Tensor:
    """Noise of the first level, in the shape of x."""
    x = problem.y.new_empty(len(problem), *problem.x_shape)
    return schedule.levels[0].to(x) * reddiff.Keys(7, tuple(range(len(x)))).at(0).randn_like(x)


def apart(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, the worst lane."""
    a = a.view_as(b).to(b)
    return float((norm(a - b) / norm(b)).max())


def ours(
    solver: Sampler, problem: Problem, prior: Prior, start: Tensor, seed: int = 0
) -> list[Tensor]:
    """The states x of a sampler after every step, with noise from torch's global generator."""
    rng, state, found = Global(), Diffused(start, start), []
    torch.manual_seed(seed)
    with torch.no_grad():
        for k in range(solver.steps):
            index = torch.full((len(problem),), k)
            state = solver.step(state, problem, prior, index, rng)
            found.append(state.x)
    return found
