"""The step in the spectral coordinates of A."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.linalg import Solution
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.solvers.noise_aware.correction import measured_step
from reddiff.solvers.noise_aware.step import Level, StepResult
from reddiff.spectral_view import SpectralView


def spectral_step(
    problem: Problem,
    view: SpectralView,
    prior: Prior,
    w: Tensor,
    base: Tensor,
    eps: Tensor,
    level: Level,
) -> StepResult:
    """The exact step in the spectral coordinates of A; `base` is w - omega e.

    Coordinates with less noise than s use Tweedie's formula at their own noise level.
    """
    operator, seen, z_y, sigma = view.operator, view.seen, view.x, view.sigma_x
    s = per_lane(level.s, z_y)
    matched = view.reach(level.s)
    noise2 = per_lane(level.weight, z_y) * sigma**2
    shared = matched | (per_lane(level.drawing, z_y) == 0)  # the others take y once, in z
    weight = s**2 / (torch.where(shared, per_lane(level.tau2, z_y), 0) + noise2)
    weight = torch.where(seen, weight, 0).clamp(max=1)  # the weight of y in z
    fresh = (s**2 - (weight * sigma) ** 2).clamp(min=0).sqrt()
    noise = per_lane(level.scale, z_y) * operator.vt(eps)
    start = operator.vt(w)
    z = weight * z_y + (1 - weight) * start + fresh * noise
    if base is not w:
        z = z + weight * (start - operator.vt(base))
    given = operator.v(z)
    denoised = prior(given, level.s)
    d = operator.vt(denoised)

    def plain() -> Solution:
        left, share = per_lane(level.left, z_y), (sigma / s) ** 2
        own2, open2 = left * (s**2 - sigma**2), torch.where(shared, per_lane(level.fresh2, z_y), 0)
        to_y = torch.where(matched, own2 / (own2 + sigma**2), open2 / (open2 + noise2))
        mu = torch.where(seen, to_y * z_y + (1 - to_y) * d, d)
        mu = mu - torch.where(matched, left * share * (z - z_y), 0)
        return Solution(operator.v(mu), torch.ones_like(level.s, dtype=torch.bool))

    found = measured_step(problem, operator, prior, denoised, level, plain)
    taken = torch.where(matched, 1 - ((d - z) / s) ** 2, 0)
    return StepResult(
        mu=found.x,
        denoised=denoised,
        error=given - denoised,
        freedom=taken.flatten(1).sum(1) / problem.count,
        solved=found.converged,
    )
