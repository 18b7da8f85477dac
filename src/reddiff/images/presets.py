"""The one table from names to objects: what command lines, records and `restore` may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.optim import Adam

from reddiff.errors import InvalidArgument, lookup
from reddiff.images.tasks import Deblur, Denoise, Inpaint, Task
from reddiff.noise import Gaussian
from reddiff.priors.base import Prior
from reddiff.priors.ffdnet import FFDNetPrior
from reddiff.priors.photo import photo_prior
from reddiff.problem import Problem
from reddiff.schedules import geometric, vp_within
from reddiff.solvers import (
    DAPS,
    DDNM,
    DDRM,
    DPS,
    MCG,
    MMPS,
    RED,
    RSD,
    SITCOM,
    TMPD,
    ULA,
    DDNMPlus,
    DiffPIR,
    NoiseAwareREDDiff,
    PiGDM,
    PnPADMM,
    PnPDM,
    PnPHQS,
    REDDiff,
    Solver,
)
from reddiff.solvers.base_sampler import NOISE, Sampler
from reddiff.solvers.inits import pinv
from reddiff.solvers.noise_aware import REALISM

Make = Callable[[Task, Problem, int, Prior], Solver[Any]]
SETTLED = 0.75  # the realism up to which the last level of the default is that of the noise
# RED-diff's published learning rate and lambda, by the name of a task (demosaicking as
# inpainting, operators of the user's own as SR).
RELEASED = {
    "inpaint": {"lr": 0.25, "weight": 0.25},
    "denoise": {"lr": 0.25, "weight": 1.0},
    "colorize": {"lr": 0.25, "weight": 0.25},
    "demosaic": {"lr": 0.25, "weight": 0.25},
    "sr": {"lr": 0.1, "weight": 0.25},
    "deblur": {"lr": 0.5, "weight": 0.25},
    "hdr": {"lr": 0.5, "weight": 0.25},
    "quantise": {"lr": 0.5, "weight": 0.25},
    "jpeg": {"lr": 0.5, "weight": 0.25},
    "own": {"lr": 0.1, "weight": 0.25},
}
LEAST_NOISE = 0.01  # where the levels of methods end that end at the noise, if there is none


@dataclass(frozen=True)
class SolverEntry:
    """A solver for picture tasks.

    Arguments:
        summary: One line on what it is.
        steps: The steps it makes unless told otherwise.
        make: From the task, the problem (for its noise), the steps, and the prior (for its range).
        evaluations: Network evaluations of a step.
    """

    summary: str
    steps: int
    make: Make
    evaluations: int = 1


@dataclass(frozen=True)
class PriorEntry:
    """A prior for pictures.

    Arguments:
        summary: One line on what it is.
        make: Loads it.
    """

    summary: str
    make: Callable[[], Prior]


def _range(prior: Prior) -> dict[str, float]:
    return {"sigma_min": prior.sigma_min, "sigma_max": prior.sigma_max}


def _from_y(solver: Sampler, prior: Prior) -> Sampler:
    """The sampler, started from what y says, if the prior's first level is no plain noise."""
    return solver if prior.sigma_max >= NOISE else replace(solver, start=pinv)


def _noise(problem: Problem, otherwise: float) -> float:
    """The noise of y over ||A||, if its level is known, and the same of all lanes."""
    noise = problem.noise
    if not isinstance(noise, Gaussian):
        return otherwise
    x = problem.y.new_zeros(len(problem), *problem.x_shape)
    level = float((torch.as_tensor(noise.sigma).to(x) / problem.operator.gain(x)).max())
    return level if 0 < level < float("inf") else otherwise


def _noise_aware(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return NoiseAwareREDDiff.for_prior(prior, steps)


def _paper(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return REDDiff.paper(steps, **RELEASED[task.name], **_range(prior))


def _rsd(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    released = RELEASED[task.name]
    adam = partial(Adam, lr=released["lr"], betas=(0.9, 0.99))
    return RSD(vp_within(steps, **_range(prior)), adam, weight=released["weight"])


def _stepped(make: Callable[..., Sampler]) -> Make:
    """A preset of DPS's step size."""

    def from_task(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
        zeta = 0.5 if isinstance(task, Inpaint) else 0.3
        return _from_y(make(steps, zeta=zeta, **_range(prior)), prior)

    return from_task


def _diffpir(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    lam, zeta = (7.0, 0.3) if isinstance(task, Deblur) else (1.0, 1.0)
    return _from_y(DiffPIR.paper(steps, lam=lam, zeta=zeta, **_range(prior)), prior)


def _plain(make: Callable[..., Sampler]) -> Make:
    """A preset that knows no task."""
    return lambda _, __, steps, prior: _from_y(make(steps, **_range(prior)), prior)


def _pnpdm(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return PnPDM.paper(steps, average=max(1, steps // 3), **_range(prior))


def _red(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return RED.paper(steps, accelerated=True, **_range(prior))


def _hqs(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return PnPHQS.paper(steps, sigma_n=_noise(problem, LEAST_NOISE), **_range(prior))


def _admm(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    low = max(_noise(problem, LEAST_NOISE), LEAST_NOISE, prior.sigma_min)
    high = min(max(1.0, low), prior.sigma_max)
    return PnPADMM(geometric(steps, min(low, high), high))


def _ula(task: Task, problem: Problem, steps: int, prior: Prior) -> Solver[Any]:
    return ULA.paper(steps, **_range(prior))


SOLVERS = {
    "noise-aware": SolverEntry(
        "RED-diff in nats, exact data steps; its weights follow from the noise level",
        50,
        _noise_aware,
    ),
    "paper": SolverEntry(
        "RED-diff as released: Adam on weighted means, published settings per task", 100, _paper
    ),
    "rsd": SolverEntry(
        "RED-diff with four particles that repel each other; their mean", 100, _rsd, 4
    ),
    "dps": SolverEntry(
        "DPS: DDPM, guided by the residual's norm through the network", 500, _stepped(DPS.paper)
    ),
    "mcg": SolverEntry("MCG: DPS and a projection; ignores noise", 500, _stepped(MCG.paper)),
    "pigdm": SolverEntry("PiGDM: guidance by the pseudo-inverse", 100, _plain(PiGDM.paper)),
    "tmpd": SolverEntry("TMPD: guidance by the denoiser's row sums", 200, _plain(TMPD.paper)),
    "mmps": SolverEntry("MMPS: guidance by the denoiser's covariance", 100, _plain(MMPS.paper)),
    "ddrm": SolverEntry("DDRM: in spectral coordinates of A", 20, _plain(DDRM.paper)),
    "ddnm": SolverEntry("DDNM: null-space projection; ignores noise", 100, _plain(DDNM.paper)),
    "ddnm-plus": SolverEntry("DDNM+: the same for noisy y", 100, _plain(DDNMPlus.paper)),
    "diffpir": SolverEntry("DiffPIR: proximal data steps and fresh noise", 100, _diffpir),
    "daps": SolverEntry("DAPS: clean draws around the flow, new noise", 200, _plain(DAPS.paper), 5),
    "pnp-dm": SolverEntry("PnP-DM: split Gibbs sampling; mean of the last third", 60, _pnpdm, 10),
    "sitcom": SolverEntry("SITCOM: optimises the network's input", 20, _plain(SITCOM.paper), 31),
    "red": SolverEntry("RED, accelerated: one level, fixed point", 200, _red),
    "pnp-hqs": SolverEntry("PnP-HQS (DPIR): a denoiser of falling level", 8, _hqs),
    "pnp-admm": SolverEntry("PnP-ADMM: the same with a dual variable", 30, _admm),
    "ula": SolverEntry("Langevin at one level; slow, and a draw", 1000, _ula),
}

PRIORS = {
    "photo": PriorEntry("our U-Net, trained on photos; levels 0.002 to 80", photo_prior),
    "ffdnet": PriorEntry("FFDNet (Zhang et al., 2018), low and middle levels", FFDNetPrior),
}


def default_steps(entry: SolverEntry, task: Task, problem: Problem, realism: float | None) -> int:
    """The steps of a run of which nobody gives them.

    One for the default solver where it denoises at a known level: its answer is then the denoiser
    of y at that level, D(y, sigma), whatever the steps before it were. A realism above 3/4 goes
    below the level, and needs them.
    """
    known = isinstance(problem.noise, Gaussian)
    faithful = (REALISM if realism is None else realism) <= SETTLED
    denoises = entry is SOLVERS["noise-aware"] and isinstance(task, Denoise)
    return 1 if denoises and known and faithful else entry.steps


def solver_entry(name: str) -> SolverEntry:
    """The solver of this name.

    Raises:
        InvalidArgument: If there is none.
    """
    return lookup(SOLVERS, "solver", name)


def load_prior(name: str) -> Prior:
    """The prior of this name, or the photo network with the weights in this safetensors file.

    Raises:
        InvalidArgument: If it is neither.
        WeightsError: If the file does not fit the network.
    """
    if name in PRIORS:
        return PRIORS[name].make()
    if name.endswith(".safetensors"):
        return photo_prior(name)
    expected = f"one of {', '.join(PRIORS)}, or a .safetensors file"
    raise InvalidArgument("prior", expected=expected, got=name)
