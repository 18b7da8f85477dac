"""The methods of `photos.py`: every solver of the catalogue, and a few of them in other forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from reddiff import Problem, schedules
from reddiff.images.presets import PUBLISHED, preset
from reddiff.images.tasks import Inpaint, Task
from reddiff.priors import Prior
from reddiff.solvers import DAPS, DiffPIR, NoiseAwareREDDiff, PiGDM, REDDiff, catalogue
from reddiff.solvers.base import Solver, preset_for
from reddiff.solvers.steps.conditional import PerturbAndSolve

INPAINT_WEIGHT = 1.0  # published for noisy inpainting

Make = Callable[[Task, Problem, int, Prior], Solver[Any]]


@dataclass(frozen=True)
class Method:
    """A method's steps, and its solver from the task, the problem, the steps and the prior."""

    steps: int
    make: Make


@dataclass(frozen=True)
class Setting:
    """What `tune` chooses."""

    weight: float
    lr: float
    steps: int


def realism(r: float) -> Method:
    return Method(50, lambda _, __, n, prior: NoiseAwareREDDiff.for_prior(prior, n, realism=r))


def released(prior: Prior, setting: Setting) -> Solver[Any]:
    """The released recipe, on at most those of its 1000 levels that are in the prior's range.

    For `photo_prior` these are 930; the preset would otherwise place as many levels as asked for.
    """
    steps = min(setting.steps, len(schedules.vp(1000).restrict(prior.sigma_min, prior.sigma_max)))
    return REDDiff.paper(steps, prior, lr=setting.lr, weight=setting.weight)


def paper(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    published = PUBLISHED["red-diff"].get(task.name)
    made = released(prior, Setting(0.25, 0.1, steps))
    made = replace(made, **published) if published else made
    return replace(made, weight=INPAINT_WEIGHT) if isinstance(task, Inpaint) else made


def named(name: str) -> Make:
    return lambda task, problem, steps, prior: preset(name, task.name, prior, problem, steps, None)


def diffpir(*, error_covariance: bool) -> Make:
    """DiffPIR at lambda = zeta = 1 for every task."""
    return lambda _, __, n, prior: replace(
        DiffPIR.paper(n, prior), lam=1.0, zeta=1.0, error_covariance=error_covariance
    )


def pigdm_with_covariance(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return replace(PiGDM.paper(steps, prior), error_covariance=True)


def daps(*, error_covariance: bool) -> Make:
    """DAPS about D itself, with exact draws: one evaluation a level."""
    settings = {"ode_steps": 1, "error_covariance": error_covariance}
    return lambda _, __, n, prior: preset_for(
        prior, DAPS(schedules.preset(partial(daps_levels, n)), PerturbAndSolve(), **settings)
    )


def daps_levels(n: int, sigma_min: float, sigma_max: float) -> schedules.Schedule:
    return schedules.karras(n, max(0.02, sigma_min), min(100.0, sigma_max))


METHODS = {
    "noise-aware": Method(50, named("noise-aware")),
    "noise-aware-20": Method(20, named("noise-aware")),
    "paper": Method(1000, paper),
} | {f"realism-{r:g}": realism(r) for r in (0, 0.25, 0.5, 0.75, 1)}
PEERS = [name for name in catalogue.METHODS if name not in (*METHODS, "red-diff")]
METHODS |= {name: Method(catalogue.METHODS[name].steps, named(name)) for name in PEERS}
METHODS |= {
    "diffpir-isotropic": Method(100, diffpir(error_covariance=False)),
    "diffpir-covariance": Method(100, diffpir(error_covariance=True)),
    "daps-isotropic": Method(100, daps(error_covariance=False)),
    "daps-covariance": Method(100, daps(error_covariance=True)),
    "pigdm-covariance": Method(100, pigdm_with_covariance),
}
