r"""Reverse diffusion within one step of a solver, from a noise level per lane to a clean x."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.random import Rng

Denoise = Callable[[Tensor, Tensor], Tensor]

POWER = 7  # rho in Equation 5 of Karras et al. (2022)


def inner_levels(s: Tensor, end: Tensor, n: int) -> list[Tensor]:
    """n levels `(b,)` from s down to `end`, evenly spaced in the 7th root, followed by 0."""
    first, last = s ** (1 / POWER), torch.minimum(end, s) ** (1 / POWER)
    fractions = torch.linspace(0, 1, n, dtype=torch.float64).tolist()
    return [*((first + u * (last - first)) ** POWER for u in fractions), torch.zeros_like(s)]


def probability_flow(
    denoise: Denoise, x: Float[Tensor, "b *n"], levels: list[Tensor]
) -> Float[Tensor, "b *n"]:
    """Euler steps along the probability flow, with one evaluation per level, ending at D(x, s)."""
    for s, s_next in pairwise(levels):
        x_0 = denoise(x, s)
        x = x_0 + per_lane(s_next / s, x) * (x - x_0)
    return x


def reverse_sde(
    denoise: Denoise, x: Float[Tensor, "b *n"], levels: list[Tensor], rng: Rng
) -> Float[Tensor, "b *n"]:
    r"""A draw of x_0 given x at the first level, by the reverse SDE, with one evaluation per level.

    .. math:: x' = w x + (1 - w)\,\hat D + s' \sqrt{1 - w}\,n, \qquad w = s'^2 / s^2

    where :math:`\hat D` is D extrapolated to the middle of the step, in log s, from the previous
    level: :math:`\hat D = D + \frac{h}{2 h_{-}} (D - D_{-})`, :math:`h = \log(s / s')`. The first
    step, the last step and steps between equal levels use D.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models
        | (Lu et al., 2022), SDE-DPM-Solver++(2M), https://arxiv.org/abs/2211.01095
    """
    before, h_before = None, levels[0]
    for s, s_next in pairwise(levels[:-1]):
        x_0, h = denoise(x, s), (s / s_next).log()
        ahead = x_0
        if before is not None:
            slope = torch.where(h_before > 0, h / (2 * h_before.where(h_before > 0, 1)), 0)
            ahead = x_0 + per_lane(slope, x) * (x_0 - before)
        w = per_lane((s_next / s) ** 2, x)
        noise = per_lane(s_next, x) * (1 - w).clamp(min=0).sqrt() * rng.randn_like(x)
        x = w * x + (1 - w) * ahead + noise
        before, h_before = x_0, h
    return denoise(x, levels[-2])
