"""Time travel: samplers that repeatedly return to a higher noise level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_count, require_share
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive


@dataclass(frozen=True)
class Traveller(Sampler, ABC):
    r"""Base class of samplers with time travel.

    Every `travel` levels, counted from the last one, the sample returns to the noise level of
    `travel` levels before, :math:`x + \sqrt{s_{up}^2 - s^2}\,z`, and goes through these levels
    again, until it has done so `repeats` times. Each step costs one evaluation; a run with time
    travel has more steps than levels.

    Arguments:
        schedule: The noise levels.
        eta: :math:`\eta`, the share of new noise in each step, 0 to 1.
        travel: l, the number of levels of a segment, at least 1.
        repeats: r, how often each segment is traversed; 1 is without time travel.

    References:
        | Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al.,
        | 2022), Section 3.4 and Algorithm 2 (time travel), https://arxiv.org/abs/2212.00490

    Raises:
        InvalidArgument: If eta is not in [0, 1], or travel or repeats is not an integer >= 1.
    """

    eta: float = 0.85
    travel: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("eta", self.eta)
        require_count("travel", self.travel)
        require_count("repeats", self.repeats)

    @property
    def steps(self) -> int:
        return len(self._walk())

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        """One step down, followed by a return to a higher level where the sequence has one."""
        s, s_next, s_up = self.ways(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        x, x_0 = self.restored(state.x, x_0, s, s_next, problem, rng)
        if self.repeats > 1:
            up = (s_up**2 - s_next**2).clamp(min=0).sqrt()
            x = x + per_lane(up, x) * rng.randn_like(x)
        return arrive(x, x_0, s_next)

    @abstractmethod
    def restored(
        self, x: Tensor, x_0: Tensor, s: Tensor, s_next: Tensor, problem: Problem, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """x at level `s_next` `(b,)`, and the estimate x_0' behind it, given x_0 = D(x, s)."""

    def ways(self, k: Int[Tensor, " b"], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The levels `(b,)` before step k, after it, and after the return to a higher level."""
        table = self.schedule.levels.to(like)
        walk = torch.tensor((*self._walk(), len(self.schedule)), device=k.device)
        return table[walk[k]], table[walk[k] + 1], table[walk[k + 1]]

    def _walk(self) -> tuple[int, ...]:
        return walk(len(self.schedule), self.travel, self.repeats)


@lru_cache(maxsize=64)
def walk(levels: int, travel: int, repeats: int) -> tuple[int, ...]:
    """The sequence of the levels 0 to levels - 1 at which the denoiser is evaluated.

    Each level is followed by the next one, or by the one `travel` levels before the next.
    """
    turns = {
        k: repeats - 1 for k in range(travel, levels) if (levels - 1 - k) % travel == 0
    }  # how often to return from level k
    visits = [0]
    while visits[-1] < levels - 1:
        k = visits[-1] + 1
        if turns.get(k, 0):
            turns[k] -= 1
            k -= travel
        visits.append(k)
    return tuple(visits)
