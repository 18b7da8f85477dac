"""The solvers of `posterior.py`, at settings that suit priors whose posterior is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from reddiff import Gaussian, Problem
from reddiff.schedules import constant, geometric, karras, vp
from reddiff.solvers import (
    DAPS,
    DDRM,
    MCG,
    MMPS,
    RED,
    RSD,
    TMPD,
    ULA,
    DiffPIR,
    NoiseAwareREDDiff,
    PiGDM,
    PnPADMM,
    PnPDM,
    PnPHQS,
    REDDiff,
    Solver,
    catalogue,
)
from reddiff.solvers.base_sampler import Sampler
from reddiff.solvers.steps.conditional import PerturbAndSolve


@dataclass(frozen=True)
class Method:
    """A solver as it is tried here.

    Arguments:
        make: From the problem (for the size of its noise, where a method asks for one) and the
            steps.
        steps: The steps it makes.
        sweep: The numbers of steps of `convergence`.
        draws: How many draws one run gives through `reddiff.draw`; 0 takes its estimate.
        most: The most draws of a cell of `gaussian` and `convergence`, for slow ones.
        few: The most draws of a problem of `mixtures`; below 1000 also a fourth of the truths of
            `calibration`.
        point: Whether all its runs are one: it gives no draws, and is left out of both.
    """

    make: Callable[[Problem, int], Solver[Any]]
    steps: int
    sweep: tuple[int, ...] = (10, 20, 50, 100, 200, 500)
    draws: int = 0
    most: int = 4000
    few: int = 1000
    point: bool = False


def finest(problem: Problem) -> float:
    """The least noise of any coordinate of x that y shows: sigma_y / ||A||."""
    assert isinstance(problem.noise, Gaussian)
    x = torch.zeros(len(problem), *problem.x_shape, dtype=problem.y.dtype)
    return float((torch.as_tensor(problem.noise.sigma) / problem.operator.norm(x)).min())


def spread(n: int) -> REDDiff:
    return REDDiff(vp(n), nats=True, weight=100.0, sigma_q=0.1, learn_sigma_q=True)


def daps(n: int, *, error_covariance: bool) -> DAPS:
    """Exact draws about D itself, at one evaluation a level."""
    exact = PerturbAndSolve()
    return DAPS(karras(n, 0.05, 100.0), exact, ode_steps=1, error_covariance=error_covariance)


def published(name: str, steps: int | None = None, **limits: Any) -> Method:
    """A method of the catalogue; without clipping, which these priors do not call for."""
    entry = catalogue.METHODS[name]

    def make(problem: Problem, n: int) -> Solver[Any]:
        solver = entry.make(None, problem, n)
        return replace(solver, clip=math.inf) if isinstance(solver, Sampler) else solver

    return Method(make, entry.steps if steps is None else steps, **limits)


# Every method of the catalogue; some with other settings, and some in more than one way.
METHODS: dict[str, Method] = {name: published(name) for name in catalogue.METHODS}
METHODS |= {
    "noise-aware, realism 1": Method(lambda _, n: NoiseAwareREDDiff.default(n, realism=1.0), 50),
    "red-diff": published("red-diff", 1000, most=200, few=50),
    "red-diff, learned spread": Method(lambda _, n: spread(n), 1000, draws=40, most=2000, few=200),
    "rsd": Method(
        lambda _, n: RSD(vp(n), nats=True, weight=100.0), 200, draws=4, most=400, few=200
    ),
    "dps": published("dps", 1000, few=200),
    "mcg": Method(lambda _, n: replace(MCG.paper(n), clip=math.inf), 1000, few=200),
    "tmpd": Method(lambda _, n: TMPD(karras(n)), 200, few=500),
    "mmps": Method(lambda _, n: MMPS(karras(n), iterations=20), 100),
    "mmps, 1 CG step": published("mmps", 256),
    "ddrm": Method(lambda _, n: DDRM.paper(n), 20),  # the catalogue's levels are for pictures
    "diffpir": Method(lambda _, n: DiffPIR(vp(n)), 100),
    "diffpir, error covariance": Method(lambda _, n: DiffPIR(vp(n), error_covariance=True), 50),
    "pigdm, error covariance": Method(lambda _, n: PiGDM(vp(n), error_covariance=True), 50),
    "daps": Method(lambda _, n: DAPS(karras(n, 0.1, 100.0), PerturbAndSolve()), 200, few=200),
    "daps, error covariance": Method(lambda _, n: daps(n, error_covariance=True), 50),
    "pnp-dm": Method(lambda p, n: PnPDM.annealed(n, rho_min=finest(p)), 100, most=1000, few=200),
    "sitcom": published("sitcom", most=1000, few=200),
    "tds": published("tds", most=200, few=200),
    "ula": Method(lambda _, n: ULA(geometric(n, 0.05, 2.0)), 1000, few=200),
    "red": Method(lambda _, n: RED(constant(n, 0.1), 100.0), 100, most=2, point=True),
    "pnp-hqs": Method(
        lambda p, n: PnPHQS(geometric(n, min(finest(p), 1.0), 1.0)), 24, most=2, point=True
    ),
    "pnp-admm": Method(lambda _, n: PnPADMM(constant(n, 0.3)), 100, most=2, point=True),
}
