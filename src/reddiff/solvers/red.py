"""RED: regularization by denoising, by fixed-point iteration at one noise level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reddiff.errors import require_positive
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import held, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, preset_for, unsolved
from reddiff.solvers.inits import Init, pinv
from reddiff.solvers.steps.proximal import proximal_map

BYTE = 127.5  # gray levels of 8-bit images per unit of pixels in [-1, 1]


@dataclass(frozen=True)
class REDState(State):
    """An iterate, and the next input of the denoiser.

    Arguments:
        x: The iterate.
        z: The next input of the denoiser: x, extrapolated if the method is accelerated.
        t: The sequence t_k of the momentum, `(b,)`.
        solved: Whether the last data step reached its tolerance.
    """

    x: Float[Tensor, "b *n"]
    z: Float[Tensor, "b *n"]
    t: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]


@dataclass(frozen=True)
class RED(Solver[REDState]):
    r"""Regularization by denoising, by its fixed-point iteration.

    .. math:: x \leftarrow \arg\min_x \; -\log p(y \mid A(x))
        + \tfrac{1}{2} \lambda \lVert x - D(x_{prev}, s) \rVert^2

    at one level s (`schedules.constant`), without added noise, for any operator and noise. A fixed
    point solves :math:`-\nabla \log p(y \mid A(x)) + \lambda (x - D(x, s)) = 0`. For
    :math:`\lambda = 1 / s^2` this is the condition for a mode of the posterior under the prior
    smoothed by noise of level s: for a Gaussian prior with covariance C, the posterior mean for
    C + s^2 I. The method is deterministic and gives no uncertainty. `REDDiff.red` solves the same
    equation by gradient steps.

    `accelerated` is RED-APG with L = 1: D is evaluated at
    :math:`x_k + \frac{t_{k-1} - 1}{t_k} (x_k - x_{k-1})` with
    :math:`t_k = (1 + \sqrt{1 + 4 t_{k-1}^2}) / 2` and :math:`t_0 = 1`, independently in each lane.
    It has the same fixed points, and needs fewer steps where convergence is slow.

    Arguments:
        schedule: The noise level of each step, usually constant.
        weight: :math:`\lambda`, in nats per squared unit of x, above 0.
        accelerated: Whether to use momentum.
        start: The initial x, from `solvers.inits`.

    References:
        | The Little Engine that Could (Romano, Elad & Milanfar, 2017), Section 4.2 (fixed point),
        | https://arxiv.org/abs/1611.02862
        | Regularization by Denoising: Clarifications and New Interpretations (Reehorst & Schniter,
        | 2019), Algorithm 6 (RED-APG), https://arxiv.org/abs/1806.02296

    Raises:
        InvalidArgument: If weight is not positive and finite.
    """

    weight: float
    accelerated: bool = False
    start: Init = pinv

    def __post_init__(self) -> None:
        require_positive("weight", self.weight)

    @classmethod
    def paper(
        cls,
        steps: int = 200,
        prior: Prior | None = None,
        *,
        sigma: float = 3.25 / BYTE,
        weight: float = 0.02 * BYTE**2,
        accelerated: bool = False,
    ) -> RED:
        """The published settings, for images in [-1, 1] with sigma_y = sqrt(2) / 127.5.

        Arguments:
            steps: The number of iterations.
            prior: If given, levels are limited to its range.
            sigma: The noise level: 3.25 / 127.5 for uniform blur, 4.1 / 127.5 for Gaussian blur,
                3 / 127.5 for super-resolution (Section 6 and the released code).
            weight: 0.02, 0.01 and 0.008 times 127.5^2 for these three tasks.
            accelerated: Whether to use momentum.
        """
        schedule = preset(partial(held, steps, sigma))
        return preset_for(prior, cls(schedule, weight, accelerated))

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> REDState:
        x = self.start(problem, rng)
        t = x.new_ones(len(x))
        return REDState(x, x, t, torch.ones_like(t, dtype=torch.bool))

    def step(
        self, state: REDState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> REDState:
        """The data step at D(z), then momentum."""
        s = self.schedule.levels.to(state.x)[k]
        spread = torch.full_like(state.t, self.weight**-0.5)
        found = proximal_map(problem, prior(state.z, s), spread)
        x = z = found.x
        t = (1 + (1 + 4 * state.t**2).sqrt()) / 2
        if self.accelerated:
            z = x + per_lane((state.t - 1) / t, x) * (x - state.x)
        return REDState(x, z, t, found.converged)

    def estimate(self, state: REDState) -> Float[Tensor, "b *n"]:
        return state.x

    def warnings(self, state: REDState) -> list[tuple[str, ...]]:
        return unsolved(state.solved)
