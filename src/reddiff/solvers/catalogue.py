"""The methods by name, as used by the command line, records, tests, benchmarks and docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import lookup, require
from reddiff.lanes import norm, per_lane
from reddiff.noise import Gaussian
from reddiff.operators.base import Operator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.schedules import Schedule, geometric, preset, vp_within
from reddiff.solvers.base import Solver, StepCost, preset_for
from reddiff.solvers.daps import DAPS
from reddiff.solvers.ddnm import DDNM, DDNMPlus
from reddiff.solvers.ddrm import DDRM
from reddiff.solvers.diffpir import DiffPIR
from reddiff.solvers.dps import DPS
from reddiff.solvers.jfps import JFPS
from reddiff.solvers.mcg import MCG
from reddiff.solvers.mmps import MMPS
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solvers.pigdm import PiGDM
from reddiff.solvers.pnp import PnPADMM, PnPHQS
from reddiff.solvers.pnpdm import PnPDM
from reddiff.solvers.red import RED
from reddiff.solvers.reddiff import REDDiff
from reddiff.solvers.rsd import RSD
from reddiff.solvers.sitcom import SITCOM
from reddiff.solvers.tds import TDS
from reddiff.solvers.tmpd import TMPD
from reddiff.solvers.ula import ULA

Strength = Callable[[Operator, Tensor], Tensor]

LEAST_NOISE = 0.01  # last level of methods that anneal down to the noise level, if sigma_y is 0
ALIKE = 1e-5  # largest relative difference of noise levels that count as one


@dataclass(frozen=True)
class Method:
    """A solver with its published settings.

    Arguments:
        summary: A description of one line.
        steps: The default number of steps.
        build: Builds the solver from the number of steps and the prior (for its range of levels, or
            None); and from `sigma_n`, the last level, if there is a `strength`.
        strength: For a method whose levels end at sigma_y divided by the strength of A: from A and
            an x to that strength `(b,)`.
    """

    summary: str
    steps: int
    build: Callable[..., Solver[Any]]
    strength: Strength | None = None

    @property
    def cost(self) -> StepCost:
        """The cost of a step with the default settings."""
        return self.make(None, None, self.steps).cost

    def make(self, prior: Prior | None, problem: Problem | None, steps: int) -> Solver[Any]:
        """The solver for a prior and a problem.

        Arguments:
            prior: For its range of levels; None for the levels of the method.
            problem: For its noise level; None if it is not known.
            steps: The number of steps.

        Raises:
            InvalidArgument: If the last level depends on the noise and differs between lanes, which
                share one schedule.
        """
        if self.strength is None:
            return self.build(steps, prior)
        levels = None if problem is None else self.last_levels(problem)
        if levels is None:
            return self.build(steps, prior, sigma_n=LEAST_NOISE)
        low, high = float(levels.min()), float(levels.max())
        expected = "lanes of one noise level for this method (sigma_y over the strength of A)"
        good = high <= low * (1 + ALIKE)
        require(good, "problem", expected=expected, got=f"levels from {low:.4g} to {high:.4g}")
        return self.build(steps, prior, sigma_n=float(levels[0]))

    def last_levels(self, problem: Problem) -> Float[Tensor, " b"] | None:
        """The last level of each lane; None if it does not depend on the problem.

        It is sigma_y divided by the strength of A, or `LEAST_NOISE` if that is 0 or infinite.
        """
        if self.strength is None or not isinstance(problem.noise, Gaussian):
            return None
        x = problem.y.new_zeros(len(problem), *problem.x_shape)
        strength = self.strength(problem.operator, x)
        levels = per_lane(problem.noise.sigma, strength) / strength
        return torch.where((levels > 0) & (levels < torch.inf), levels, LEAST_NOISE)


def _spectral_norm(operator: Operator, x: Tensor) -> Tensor:
    """||A|| at x `(b,)`."""
    return operator.norm(x)


def _brightness(operator: Operator, x: Tensor) -> Tensor:
    """The rms of A v for v = 1 everywhere, or ||A|| if that is larger, `(b,)`.

    It is 1 if A preserves the brightness of an image, also for block means, for which ||A|| < 1.
    """
    near = operator.linearise(x)
    flat = near.push(torch.ones_like(x))
    count = operator.measured(flat).flatten(1).sum(1).clamp(min=1)
    return torch.maximum(operator.norm(x, near), norm(flat) / count.sqrt())


def _noise_aware(steps: int, prior: Prior | None) -> Solver[Any]:
    made = NoiseAwareREDDiff
    return made.default(steps) if prior is None else made.for_prior(prior, steps)


def _rsd(steps: int, prior: Prior | None) -> Solver[Any]:
    return preset_for(prior, RSD(vp_within(steps)))


def _pnpdm(steps: int, prior: Prior | None) -> Solver[Any]:
    return PnPDM.paper(steps, prior, average=max(1, steps // 3))


def _admm(steps: int, prior: Prior | None, *, sigma_n: float) -> Solver[Any]:
    low = max(sigma_n, LEAST_NOISE)
    return preset_for(prior, PnPADMM(preset(partial(_falling, steps, low))))


def _falling(steps: int, last: float, sigma_min: float, sigma_max: float) -> Schedule:
    """Levels evenly spaced in log s from 1 to `last`, clipped to a range."""
    low = max(last, sigma_min)
    high = min(max(1.0, low), sigma_max)
    return geometric(steps, min(low, high), high)


METHODS = {
    "noise-aware": Method(
        "RED-diff with weights set by the noise level and exact data steps", 50, _noise_aware
    ),
    "red-diff": Method("RED-diff as released: Adam on weighted means", 100, REDDiff.paper),
    "rsd": Method("RED-diff with four particles that repel each other; their mean", 100, _rsd),
    "dps": Method("DPS: DDPM guided by the gradient of the residual's norm", 500, DPS.paper),
    "mcg": Method("MCG: DPS and a projection; ignores noise", 500, partial(MCG.paper, zeta=0.3)),
    "pigdm": Method("PiGDM: guidance by the pseudo-inverse", 100, PiGDM.paper),
    "tmpd": Method("TMPD: guidance by the denoiser's row sums", 200, TMPD.paper),
    "mmps": Method("MMPS: guidance by the denoiser's covariance", 100, MMPS.paper),
    "jfps": Method("JFPS: MMPS with an assumed covariance, no vjps", 64, JFPS.default),
    "tds": Method("TDS: sequential Monte Carlo, 16 particles; a draw", 100, TDS.default),
    "ddrm": Method(
        "DDRM: diffusion in the spectral coordinates of A", 20, DDRM.default, _brightness
    ),
    "ddnm": Method("DDNM: null-space projection; ignores noise", 100, DDNM.paper),
    "ddnm-plus": Method("DDNM+: DDNM for noisy y", 100, DDNMPlus.paper),
    "diffpir": Method(
        "DiffPIR: proximal data steps and fresh noise",
        100,
        partial(DiffPIR.paper, lam=1.0, zeta=1.0),
    ),
    "daps": Method("DAPS: ODE estimate, draw given y, new noise", 200, DAPS.paper),
    "pnp-dm": Method("PnP-DM: split Gibbs sampling; mean of the last third", 60, _pnpdm),
    "sitcom": Method("SITCOM: optimizes the network's input", 20, SITCOM.paper),
    "red": Method(
        "RED: accelerated fixed-point iteration at one level",
        200,
        partial(RED.paper, accelerated=True),
    ),
    "pnp-hqs": Method("PnP-HQS (DPIR): denoiser of decreasing level", 8, PnPHQS.paper, _brightness),
    "pnp-admm": Method("PnP-ADMM: PnP-HQS with a dual variable", 30, _admm, _spectral_norm),
    "ula": Method("ULA: Langevin sampling at one level; slow; a draw", 1000, ULA.paper),
}

ALIASES = {"paper": "red-diff"}  # names used by earlier versions


def method(name: str) -> Method:
    """The method of this name.

    Raises:
        InvalidArgument: If there is no such method.
    """
    return lookup(METHODS, "solver", ALIASES.get(name, name))
