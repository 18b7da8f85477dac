"""The one table from names to objects: what command lines, records and `restore` may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reddiff.errors import InvalidArgument, lookup
from reddiff.priors.base import Prior
from reddiff.priors.ffdnet import FFDNetPrior
from reddiff.priors.photo import photo_prior
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solvers.reddiff import REDDiff
from reddiff.tasks import Task


@dataclass(frozen=True)
class SolverEntry:
    """A solver for picture tasks.

    Arguments:
        summary: One line on what it is.
        steps: The steps it makes unless told otherwise.
        make: From the task, the steps, and the prior, for its range.
    """

    summary: str
    steps: int
    make: Callable[[Task, int, Prior], Solver[Any]]


@dataclass(frozen=True)
class PriorEntry:
    """A prior for pictures.

    Arguments:
        summary: One line on what it is.
        make: Loads it.
    """

    summary: str
    make: Callable[[], Prior]


def _noise_aware(task: Task, steps: int, prior: Prior) -> Solver[Any]:
    return NoiseAwareREDDiff.for_prior(prior, steps)


def _paper(task: Task, steps: int, prior: Prior) -> Solver[Any]:
    low, high = prior.sigma_min, prior.sigma_max
    return REDDiff.paper(steps, lr=task.lr, weight=task.weight, sigma_min=low, sigma_max=high)


SOLVERS = {
    "noise-aware": SolverEntry(
        "RED-diff in nats, exact data steps; its weights follow from the noise level",
        50,
        _noise_aware,
    ),
    "paper": SolverEntry(
        "RED-diff as released: Adam on weighted means, published settings per task", 100, _paper
    ),
}

PRIORS = {
    "photo": PriorEntry("our U-Net, trained on photos; levels 0.002 to 80", photo_prior),
    "ffdnet": PriorEntry("FFDNet (Zhang et al., 2018), low and middle levels", FFDNetPrior),
}


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
