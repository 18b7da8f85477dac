"""The methods by name, as used by the command line, records, tests, benchmarks and docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import lookup
from reddiff.lanes import norm
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

Make = Callable[[Prior | None, Problem | None, int], Solver[Any]]

LEAST_NOISE = 0.01  # last level of methods that anneal down to the noise level, if sigma_y is 0


@dataclass(frozen=True)
class Method:
    """A solver with its published settings.

    Arguments:
        summary: A description of one line.
        steps: The default number of steps.
        make: Builds the solver from the prior (for its range of levels, or None), the problem (for
            its noise level, or None) and the number of steps.
    """

    summary: str
    steps: int
    make: Make

    @property
    def cost(self) -> StepCost:
        """The cost of a step with the default settings."""
        return self.make(None, None, self.steps).cost


Strength = Callable[[Operator, Tensor], Tensor]


def _noise_level(problem: Problem | None, strength: Strength) -> float:
    """sigma_y divided by the strength of A, or `LEAST_NOISE` if they are not known.

    All lanes share one schedule. It uses their mean noise level; the largest level would leave
    noise in all other lanes.
    """
    if problem is None or not isinstance(problem.noise, Gaussian):
        return LEAST_NOISE
    x = problem.y.new_zeros(len(problem), *problem.x_shape)
    sigma = torch.as_tensor(problem.noise.sigma).to(x)
    level = float((sigma / strength(problem.operator, x)).mean())
    return level if 0 < level < float("inf") else LEAST_NOISE


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


def _preset(paper: Callable[[int, Prior | None], Solver[Any]]) -> Make:
    """`Method.make` for a preset that does not need the noise level."""
    return lambda prior, _, steps: paper(steps, prior)


def _noise_aware(prior: Prior | None, problem: Problem | None, steps: int) -> Solver[Any]:
    made = NoiseAwareREDDiff
    return made.default(steps) if prior is None else made.for_prior(prior, steps)


def _rsd(steps: int, prior: Prior | None) -> Solver[Any]:
    return preset_for(prior, RSD(vp_within(steps)))


def _pnpdm(steps: int, prior: Prior | None) -> Solver[Any]:
    return PnPDM.paper(steps, prior, average=max(1, steps // 3))


def _ddrm(prior: Prior | None, problem: Problem | None, steps: int) -> Solver[Any]:
    return DDRM.default(steps, prior, sigma_n=_noise_level(problem, _brightness))


def _hqs(prior: Prior | None, problem: Problem | None, steps: int) -> Solver[Any]:
    return PnPHQS.paper(steps, prior, sigma_n=_noise_level(problem, _brightness))


def _admm(prior: Prior | None, problem: Problem | None, steps: int) -> Solver[Any]:
    low = max(_noise_level(problem, _spectral_norm), LEAST_NOISE)
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
    "red-diff": Method("RED-diff as released: Adam on weighted means", 100, _preset(REDDiff.paper)),
    "rsd": Method(
        "RED-diff with four particles that repel each other; their mean", 100, _preset(_rsd)
    ),
    "dps": Method(
        "DPS: DDPM guided by the gradient of the residual's norm", 500, _preset(DPS.paper)
    ),
    "mcg": Method(
        "MCG: DPS and a projection; ignores noise", 500, _preset(partial(MCG.paper, zeta=0.3))
    ),
    "pigdm": Method("PiGDM: guidance by the pseudo-inverse", 100, _preset(PiGDM.paper)),
    "tmpd": Method("TMPD: guidance by the denoiser's row sums", 200, _preset(TMPD.paper)),
    "mmps": Method("MMPS: guidance by the denoiser's covariance", 100, _preset(MMPS.paper)),
    "jfps": Method("JFPS: MMPS with an assumed covariance, no vjps", 64, _preset(JFPS.default)),
    "tds": Method("TDS: sequential Monte Carlo, 16 particles; a draw", 100, _preset(TDS.default)),
    "ddrm": Method("DDRM: in spectral coordinates of A", 20, _ddrm),
    "ddnm": Method("DDNM: null-space projection; ignores noise", 100, _preset(DDNM.paper)),
    "ddnm-plus": Method("DDNM+: the same for noisy y", 100, _preset(DDNMPlus.paper)),
    "diffpir": Method(
        "DiffPIR: proximal data steps and fresh noise",
        100,
        _preset(partial(DiffPIR.paper, lam=1.0, zeta=1.0)),
    ),
    "daps": Method("DAPS: clean draws along the flow, new noise", 200, _preset(DAPS.paper)),
    "pnp-dm": Method("PnP-DM: split Gibbs sampling; mean of the last third", 60, _preset(_pnpdm)),
    "sitcom": Method("SITCOM: optimizes the network's input", 20, _preset(SITCOM.paper)),
    "red": Method(
        "RED, accelerated: one level, fixed point",
        200,
        _preset(partial(RED.paper, accelerated=True)),
    ),
    "pnp-hqs": Method("PnP-HQS (DPIR): a denoiser of falling level", 8, _hqs),
    "pnp-admm": Method("PnP-ADMM: the same with a dual variable", 30, _admm),
    "ula": Method("Langevin at one level; slow, and a draw", 1000, _preset(ULA.paper)),
}

ALIASES = {"paper": "red-diff"}  # names used by earlier versions


def method(name: str) -> Method:
    """The method of this name.

    Raises:
        InvalidArgument: If there is no such method.
    """
    return lookup(METHODS, "solver", ALIASES.get(name, name))
