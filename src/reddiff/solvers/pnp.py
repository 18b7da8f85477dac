"""Plug-and-play: a denoiser in the place of the prior's proximal map, by HQS (DPIR) or ADMM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reddiff.errors import require, require_positive
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, geometric, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, preset_for, unsolved
from reddiff.solvers.inits import Init, pinv, scaled_adjoint
from reddiff.solvers.steps.proximal import proximal_map

BYTE = 127.5  # pixels from 0 to 255, per unit of pixels from -1 to 1


@dataclass(frozen=True)
class PnPState(State):
    """What a splitting keeps between steps.

    Arguments:
        z: What the denoiser said last.
        u: The scaled dual variable, in units of x; zero without one.
        solved: Whether the last data step reached its tolerance.
    """

    z: Float[Tensor, "b *n"]
    u: Float[Tensor, "b *n"]
    solved: Bool[Tensor, " b"]


@dataclass(frozen=True)
class PlugAndPlay(Solver[PnPState], ABC):
    """A data step, then the denoiser, at each level; deterministic.

    Arguments:
        schedule: The levels.
        lam: The weight of the prior in the data step, above 0.
        start: Where z starts, from `solvers.inits`.

    Raises:
        InvalidArgument: If lam is not positive and finite.
    """

    lam: float = 0.23
    start: Init = pinv

    def __post_init__(self) -> None:
        require_positive("lam", self.lam)

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> PnPState:
        z = self.start(problem, rng)
        solved = torch.ones(len(z), dtype=torch.bool, device=z.device)
        return PnPState(z, torch.zeros_like(z), solved)

    def step(
        self, state: PnPState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> PnPState:
        """The data step about z - u, then the denoiser of x + u."""
        s = self.schedule.levels.to(state.z)[k]
        found = proximal_map(problem, state.z - state.u, s / self.lam**0.5)
        z = prior(found.x + state.u, s)
        return PnPState(z, self.dual(state.u, found.x - z), found.converged)

    @abstractmethod
    def dual(self, u: Float[Tensor, "b *n"], gap: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The next u, given x - z."""

    def estimate(self, state: PnPState) -> Float[Tensor, "b *n"]:
        return state.z

    def warnings(self, state: PnPState) -> list[tuple[str, ...]]:
        return unsolved(state.solved)


@dataclass(frozen=True)
class PnPHQS(PlugAndPlay):
    r"""Half-quadratic splitting with a denoiser of falling level: DPIR.

    .. math:: x = \arg\min_x \; -\log p(y \mid A(x)) + \lambda \lVert x - z \rVert^2 / 2 s_k^2,
        \qquad z \leftarrow D(x, s_k)

    Any operator and any noise. It has no fixed point of interest of its own: how far it gets is a
    matter of the levels. At one level for ever it would be `RED` with the weight
    :math:`\lambda / s^2`, seen after the denoiser. There is no spread.

    Arguments:
        schedule: The levels.
        lam: :math:`\lambda`, the weight of the prior in the data step, above 0.
        start: Where z starts, from `solvers.inits`.

    References:
        | Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2020), Equations
        | 6 and 7 and Section 4.2, https://arxiv.org/abs/2008.13751

    Raises:
        InvalidArgument: If lam is not positive and finite.
    """

    has_fixed_point: ClassVar[bool] = False  # it ends on its way down, as published

    @classmethod
    def paper(
        cls, steps: int = 8, prior: Prior | None = None, *, sigma_n: float = 7.65 / BYTE
    ) -> PnPHQS:
        """The published settings, for pictures in [-1, 1]: levels even in log from 49 / 127.5.

        The released code starts from y for deblurring and from an interpolation of y for SR;
        `inits.scaled_adjoint` is like either, for any linear A.

        Arguments:
            steps: The iterations: 8 for deblurring, 24 for SR.
            sigma_n: The last level, above 0: that of the noise of y, 7.65 / 127.5 in the paper's
                most noisy deblurring, where a flat x has a y of the same brightness.
            prior: The levels are those that this prior is good for; by default all of them.

        Raises:
            InvalidArgument: If sigma_n is not positive.
        """
        require(sigma_n > 0, "sigma_n", expected="a number above 0", got=sigma_n)
        schedule = preset(partial(_levels, steps, sigma_n))
        return preset_for(prior, cls(schedule, start=scaled_adjoint))

    def dual(self, u: Float[Tensor, "b *n"], gap: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """Zero, without a dual variable."""
        return u


@dataclass(frozen=True)
class PnPADMM(PlugAndPlay):
    r"""The alternating direction method of multipliers with a denoiser.

    .. math:: x = \arg\min_x \; -\log p(y \mid A(x))
        + \lambda \lVert x - (z - u) \rVert^2 / 2 s_k^2, \qquad
        z \leftarrow D(x + u, s_k), \qquad u \leftarrow u + x - z

    Any operator and any noise. In the papers' terms :math:`\rho_k = \lambda / s_k^2`, and falling
    levels are a penalty that grows. With a proximal map for D, the level drops out of what it
    converges to: on a Gaussian prior, for any constant level, that is the mode under
    :math:`\lambda` times the prior's energy, and for :math:`\lambda` = 1 exactly the posterior
    mean. Denoisers of other priors are only near such a map; and there is no spread.

    Arguments:
        schedule: The levels; `schedules.constant` to converge.
        lam: :math:`\lambda`, the weight of the prior, above 0.
        start: Where z starts, from `solvers.inits`.

    References:
        | Plug-and-Play Priors for Model Based Reconstruction (Venkatakrishnan et al., 2013)
        | Plug-and-Play ADMM for Image Restoration (Chan et al., 2016), Algorithm 1,
        | https://arxiv.org/abs/1605.01710

    Raises:
        InvalidArgument: If lam is not positive and finite.
    """

    lam: float = 1.0

    def dual(self, u: Float[Tensor, "b *n"], gap: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """u + x - z."""
        return u + gap


def _levels(steps: int, sigma_n: float, sigma_min: float, sigma_max: float) -> Schedule:
    high = min(max(49 / BYTE, sigma_min), sigma_max)
    return geometric(steps, min(max(sigma_n, sigma_min), high), high)
