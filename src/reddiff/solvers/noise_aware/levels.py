"""The noise levels of each lane, and the estimate of an unknown sigma_y."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.problem import Problem
from reddiff.schedules import Schedule, geometric
from reddiff.solvers.noise_aware.state import LEAST_NOISE, NoiseAwareState
from reddiff.solvers.noise_aware.step import StepResult

DEEP = 24  # times below the noise of the best measured coordinate


@dataclass(frozen=True)
class Levels:
    """A schedule with a last level for each lane.

    Arguments:
        schedule: The noise levels, before they are adapted to the noise of a lane.
        realism: r; above 3/4 the last level is below the noise of y.
    """

    schedule: Schedule
    realism: float

    def last(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The last level of lanes, given the noise level of their best measured coordinate."""
        levels = self.schedule.levels.to(sigma)
        first, last = levels[0], levels[-2]
        lower = max(0.0, 4 * self.realism - 3)
        low = sigma.clamp(min=last) ** (1 - lower) * last**lower
        return torch.minimum(low, first) if len(self.schedule) > 1 else low

    def last_of_draws(
        self, low: Tensor, sigma: Float[Tensor, " b"], least: float
    ) -> Float[Tensor, " b"]:
        """`low`, or what is so far below the noise that draws have spread in measured directions.

        Arguments:
            low: The last level.
            sigma: The noise of the best measured coordinate.
            least: The lowest level the prior is good for.
        """
        if self.realism < 1 or len(self.schedule) == 1:
            return low
        deep = torch.minimum(low, (sigma.clamp(min=LEAST_NOISE) / DEEP).clamp(min=least))
        return torch.where(sigma > 0, deep, low)  # without noise, draws reproduce y

    def at(self, low: Tensor, k: Tensor, *, stretched: bool) -> Float[Tensor, " b"]:
        """The level of step k in lanes with the last level `low`.

        If `stretched`, the schedule is rescaled to end at `low`; otherwise it is clipped there.
        """
        log_s = self.schedule.levels[:-1].log()
        first, last = log_s[0], log_s[-1]
        if not stretched:
            return torch.maximum(log_s[k].exp().to(low), low)
        u = (first - log_s) / (first - last) if first > last else torch.ones_like(log_s)
        return (first + u[k] * (low.double().log() - first)).exp().to(low)

    def discrepancy(
        self, state: NoiseAwareState, problem: Problem, result: StepResult, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Updated estimates of sigma_y and of the last level, after a step at level s.

        The last level is set once s has reached the noise level. If D has f degrees of freedom per
        entry of y, the expected mean square of y - A D is sigma_y^2 (1 - 2 f) + s^2 f (Stein's
        lemma, here for the norm of A = 1).
        """
        f = result.freedom.clamp(min=0, max=0.4)  # near 1/2 it does not determine sigma_y
        square = 2 * problem.misfit(result.denoised) / problem.count
        at = (s * state.norm) ** 2
        found = ((square - at * f) / (1 - 2 * f)).clamp(min=square, max=square / (1 - f)).sqrt()
        found = torch.where(torch.isfinite(found), found, state.sigma_y)  # NaN if the lane diverged
        searching = state.low == 0
        sigma_y = torch.where(searching, torch.minimum(state.sigma_y, found), state.sigma_y)
        reached = searching & (s * state.norm <= found)
        return sigma_y, torch.where(reached, self.last(found / state.norm), state.low)


def log_even(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Levels evenly spaced in log s; a single step is at the last level."""
    return geometric(steps, sigma_min, sigma_max if steps > 1 else sigma_min)
