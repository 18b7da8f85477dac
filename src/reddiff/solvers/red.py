"""RED as it was published: fixed-point iterations at one level of a denoiser."""

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

BYTE = 127.5  # pixels from 0 to 255, per unit of pixels from -1 to 1


@dataclass(frozen=True)
class REDState(State):
    """An iterate, and where the denoiser looks next.

    Arguments:
        x: The iterate.
        z: x, with momentum if the method has it.
        t: The momentum's counter `(b,)`.
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

    at one level s (`schedules.constant`) and without noise, for any operator and any noise. What
    it converges to solves :math:`-\nabla \log p(y \mid A(x)) + \lambda (x - D(x, s)) = 0`, which is
    exact for the posterior under the prior smoothed by s if :math:`\lambda = 1 / s^2`: on a
    Gaussian prior of covariance C, the mean of the posterior with C + s^2 for C. There is no
    spread. `REDDiff.red` is the same equation by gradient steps.

    `accelerated` evaluates D at :math:`x_k + \frac{t_{k-1} - 1}{t_k} (x_k - x_{k-1})` with
    :math:`t_k = (1 + \sqrt{1 + 4 t_{k-1}^2}) / 2` and :math:`t_0 = 1`, in each lane on its own:
    RED-APG with L = 1. It has the same fixed points, and reaches them in fewer steps where they
    take many.

    Arguments:
        schedule: The level, so many times; with others than `constant`, the level of each step.
        weight: :math:`\lambda`, in nats per squared unit of x, above 0.
        accelerated: Whether to take the momentum.
        start: Where x starts, from `solvers.inits`.

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
        """The published settings, for pictures in [-1, 1], with y of sigma sqrt(2) / 127.5.

        Arguments:
            steps: The iterations.
            sigma: The level: 3.25 / 127.5 for uniform blur, 4.1 / 127.5 for Gaussian blur,
                3 / 127.5 for SR (Section 6 and the released code, in units of 0 to 255).
            weight: .02, .01 and .008 for the three, times 127.5^2.
            accelerated: Whether to take the momentum.
            prior: The levels are those that this prior is good for; by default all of them.
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
        """The data step about D, then momentum."""
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
