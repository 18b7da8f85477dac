"""Plug-and-play: a denoiser replaces the proximal map of the prior in HQS (DPIR) or ADMM."""

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

BYTE = 127.5  # gray levels of 8-bit images per unit of pixels in [-1, 1]


@dataclass(frozen=True)
class PnPState(State):
    """The variables of a splitting.

    Arguments:
        z: The last output of the denoiser.
        u: The scaled dual variable, in units of x; zero for HQS.
        solved: Whether the last data step reached its tolerance.
    """

    z: Float[Tensor, "b *n"]
    u: Float[Tensor, "b *n"]
    solved: Bool[Tensor, " b"]


@dataclass(frozen=True)
class PlugAndPlay(Solver[PnPState], ABC):
    """Base class of deterministic methods that alternate a data step and the denoiser.

    Arguments:
        schedule: The noise levels.
        lam: The weight of the prior in the data step, above 0.
        start: The initial z, from `solvers.inits`.

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
        """The data step at z - u, then the denoiser at x + u."""
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
    r"""Half-quadratic splitting with a denoiser at decreasing levels: DPIR.

    .. math:: x = \arg\min_x \; -\log p(y \mid A(x)) + \lambda \lVert x - z \rVert^2 / 2 s_k^2,
        \qquad z \leftarrow D(x, s_k)

    It accepts any operator and noise. The result depends on the sequence of levels. At a constant
    level, z would converge to D(x) for the fixed point x of `RED` with weight
    :math:`\lambda / s^2`. The method is deterministic and gives no uncertainty.

    Arguments:
        schedule: The noise levels.
        lam: :math:`\lambda`, the weight of the prior in the data step, above 0.
        start: The initial z, from `solvers.inits`.

    References:
        | Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2020), Equations
        | 6 and 7 and Section 4.2, https://arxiv.org/abs/2008.13751

    Raises:
        InvalidArgument: If lam is not positive and finite.
    """

    has_fixed_point: ClassVar[bool] = False  # as published, the levels decrease until the end

    @classmethod
    def paper(
        cls, steps: int = 8, prior: Prior | None = None, *, sigma_n: float = 7.65 / BYTE
    ) -> PnPHQS:
        """The published settings, for images in [-1, 1]: levels even in log s from 49 / 127.5.

        The released code starts from y for deblurring and from an interpolation of y for
        super-resolution; `inits.scaled_adjoint` is similar to both, for any linear A.

        Arguments:
            steps: The number of iterations: 8 for deblurring, 24 for super-resolution.
            prior: If given, levels are limited to its range.
            sigma_n: The last level, above 0: sigma_y, if A preserves the brightness of a constant
                image. 7.65 / 127.5 is the highest noise level of deblurring in the paper.

        Raises:
            InvalidArgument: If sigma_n is not positive.
        """
        require(sigma_n > 0, "sigma_n", expected="a number above 0", got=sigma_n)
        schedule = preset(partial(_levels, steps, sigma_n))
        return preset_for(prior, cls(schedule, start=scaled_adjoint))

    def dual(self, u: Float[Tensor, "b *n"], gap: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """u, which stays zero."""
        return u


@dataclass(frozen=True)
class PnPADMM(PlugAndPlay):
    r"""The alternating direction method of multipliers (ADMM) with a denoiser.

    .. math:: x = \arg\min_x \; -\log p(y \mid A(x))
        + \lambda \lVert x - (z - u) \rVert^2 / 2 s_k^2, \qquad
        z \leftarrow D(x + u, s_k), \qquad u \leftarrow u + x - z

    It accepts any operator and noise. In the notation of the papers
    :math:`\rho_k = \lambda / s_k^2`; decreasing levels correspond to an increasing penalty. If D is
    a proximal map, the limit does not depend on the level. For a Gaussian prior and any constant
    level, it is the mode of the likelihood times the prior to the power :math:`\lambda`, which for
    :math:`\lambda = 1` is the posterior mean. Denoisers of other priors only approximate a proximal
    map. The method is deterministic and gives no uncertainty.

    Arguments:
        schedule: The noise levels; `schedules.constant` to converge.
        lam: :math:`\lambda`, the weight of the prior, above 0.
        start: The initial z, from `solvers.inits`.

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
