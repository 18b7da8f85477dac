r"""Base class and steps of samplers, whose state is :math:`x_0 + s\,n` at decreasing levels s.

Samplers are written in the variables :math:`x = x_t / \alpha_t` and
:math:`s = \sigma_t / \alpha_t`, in which VP, VE and flow schedules are equivalent. Constants that a
paper states in VP variables are converted by `vp_alpha` where they are used.
"""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior, Pullback
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.snapshot import State
from reddiff.solvers.base import Solver
from reddiff.solvers.inits import Init, pinv, zeros

NOISE = 10.0  # noise level from which on x is invisible


@dataclass(frozen=True)
class Diffused(State):
    """A noisy x, and the estimate of the clean x.

    Arguments:
        x: x_0 + s n, at the level of the next step.
        x_0: The estimate; x itself once s is 0.
    """

    x: Tensor
    x_0: Tensor


@dataclass(frozen=True)
class Sampler(Solver[Diffused], ABC):
    """Base class of solvers that turn noise into an estimate along decreasing noise levels.

    Arguments:
        schedule: The noise levels; each step goes from one to the next.
        start: The x_0 to which noise of the first level is added; zeros, as published. If the prior
            has low levels only, `inits.pinv` is better.
        clip: Estimates of the prior are clipped to [-clip, clip]; 1 in codes that clip images.

    Raises:
        InvalidArgument: If `clip` is not positive.
    """

    has_fixed_point: ClassVar[bool] = False  # the last step goes to the clean x

    start: Init = field(default=zeros, kw_only=True)
    clip: float = field(default=math.inf, kw_only=True)

    def __post_init__(self) -> None:
        require(self.clip > 0, "clip", expected="a number above 0", got=self.clip)

    def fitted(self, prior: Prior) -> Solver[Diffused]:
        """The solver for a prior; it starts at A^+ y if the prior's levels do not hide x."""
        made = super().fitted(prior)
        low = made.schedule.levels[0] < NOISE
        if made is self or not low or not isinstance(made, Sampler) or made.start is not zeros:
            return made
        return replace(made, start=pinv)

    @property
    def draws_posterior(self) -> bool:
        return True

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Diffused:
        """x <- start + s n at the first level."""
        x_0 = self.start(problem, rng)
        s = self.schedule.levels[0].to(x_0)
        return Diffused(x_0 + s * rng.randn_like(x_0), x_0)

    def estimate(self, state: Diffused) -> Float[Tensor, "b *n"]:
        return state.x_0

    def levels(self, k: Int[Tensor, " b"], like: Tensor) -> tuple[Tensor, Tensor]:
        """The levels `(b,)` before and after step k, in the dtype of `like`."""
        table = self.schedule.levels.to(like)
        return table[k], table[k + 1]

    def denoise(self, prior: Prior, x: Float[Tensor, "b *n"], s: Tensor) -> Float[Tensor, "b *n"]:
        return self._clipped(prior(x, s))

    def denoise_vjp(
        self, prior: Prior, x: Float[Tensor, "b *n"], s: Tensor
    ) -> tuple[Float[Tensor, "b *n"], Pullback]:
        """D(x, s), clipped, and its pullback, including the clip; it can be called only once."""
        x_0, pullback = prior.vjp(x, s, once=True)
        if self.clip == math.inf:
            return x_0, pullback
        inside = x_0.abs() <= self.clip
        return self._clipped(x_0), lambda v: pullback(v * inside)

    def _clipped(self, x_0: Tensor) -> Tensor:
        if self.clip == math.inf:
            return x_0
        clipped = x_0.clamp(-self.clip, self.clip)
        return clipped.where(torch.isfinite(x_0), torch.nan)  # clipping must not hide a divergence


def arrive(x: Tensor, x_0: Tensor, s_next: Tensor) -> Diffused:
    """The state at level `s_next` `(b,)`, whose estimate is x_0, or x if `s_next` is 0."""
    return Diffused(x, torch.where(per_lane(s_next, x) > 0, x_0, x))


def ddim(
    x: Float[Tensor, "b *n"],
    x_0: Float[Tensor, "b *n"],
    s: Tensor,
    s_next: Tensor,
    eta: float,
    rng: Rng,
) -> Float[Tensor, "b *n"]:
    r"""The DDIM step from level s to `s_next` `(b,)`; with eta = 1 the ancestral step of DDPM.

    .. math:: x' = x_0 + \sqrt{s'^2 - u^2}\,\hat\varepsilon + u z, \qquad
        u = \eta\,s' \sqrt{1 - s'^2 / s^2}, \quad \hat\varepsilon = (x - x_0) / s

    References:
        | Denoising Diffusion Implicit Models (Song et al., 2020), Equations 12 and 16,
        | https://arxiv.org/abs/2010.02502
    """
    s, s_next = per_lane(s, x), per_lane(s_next, x)
    up = eta * s_next * (1 - (s_next / s) ** 2).clamp(min=0).sqrt()
    down = (s_next**2 - up**2).clamp(min=0).sqrt()
    out = x_0 + down / s * (x - x_0)
    return out + up * rng.randn_like(x) if eta else out


def renoise(
    x_0: Float[Tensor, "b *n"], eps: Tensor, s_next: Tensor, fresh: float, rng: Rng
) -> Float[Tensor, "b *n"]:
    r"""x_0 at level `s_next` `(b,)`: :math:`x_0 + s' (\sqrt{1 - f^2}\,\varepsilon + f z)`.

    Arguments:
        x_0: The clean estimate.
        eps: The noise :math:`\varepsilon` to keep.
        s_next: The noise level s'.
        fresh: f, the share of new noise, from 0 to 1.
        rng: The random number generator for z.
    """
    noise = (1 - fresh**2) ** 0.5 * eps
    if fresh:
        noise = noise + fresh * rng.randn_like(x_0)
    return x_0 + per_lane(s_next, x_0) * noise


def vp_alpha(s: Tensor) -> Tensor:
    """alpha at noise level s in VP variables, where alpha^2 + sigma^2 = 1."""
    return (1 + s**2).rsqrt()
