"""Draws: from a prior alone, and from what a variational solver fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, SnapshotError, lookup, require, require_count
from reddiff.hooks import Hook
from reddiff.noise import Gaussian
from reddiff.operators.base import Shape
from reddiff.operators.mask import Selection
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import DRAWING, Keys
from reddiff.results import Reconstruction, Status
from reddiff.schedules import vp
from reddiff.snapshot import Snapshot, describe
from reddiff.solvers.base import Solver
from reddiff.solvers.unconditional import DDIM, Heun
from reddiff.solving import solve


def sample(
    prior: Prior,
    shape: Sequence[int],
    count: int,
    *,
    solver: Solver[Any] | None = None,
    seed: int = 0,
    hooks: Sequence[Hook] = (),
) -> Float[Tensor, "b *n"]:
    """Draws from a prior.

    They are as good as the solver and its highest level: a draw starts from noise of that level
    and knows nothing of the prior's mean, so a prior of low levels only gives noise with texture.

    Arguments:
        prior: The diffusion model; the draws are on its device and of its dtype (torch's default
            for a prior without parameters).
        shape: The shape of one x.
        count: How many, at least 1.
        solver: A sampler such as `Heun`, `DDIM` or `DDIM.ddpm`; by default Heun's method on the 18
            levels of EDM, within those of the prior (some percent too wide where the prior is
            narrow; 40 steps are closer). `REDDiff` gets a y without entries: score distillation.
        seed: Draw i is a function of (seed, i): more draws leave the first ones as they are.
        hooks: Called after every step.

    Returns:
        The draws `(count, *shape)`; NaN in those that diverged.

    Raises:
        InvalidArgument: If the shape is none the prior takes, or another argument cannot be used.
        Unsupported: If the solver has no theory for such a problem.
    """
    require(isinstance(prior, Prior), "prior", expected="a Prior", got=type(prior).__name__)
    require_count("count", count)
    shape = tuple(shape)
    good = all(isinstance(n, int) and n >= 1 for n in shape) and prior.accepts(shape)
    require(good, "shape", expected=f"one that fits {prior.shape}", got=shape)
    like = next(chain(prior.parameters(), prior.buffers()), torch.empty(0))
    y = torch.zeros(count, *shape, dtype=prior.dtype, device=like.device)
    problem = Problem(y, _Nothing(), Gaussian(1.0))
    method = Heun.edm(prior=prior) if solver is None else solver
    result = solve(problem, prior, method, seed=seed, hooks=hooks, progress=False)
    failed = (result.status[:, 0] == Status.DIVERGED).to(y.device)
    return torch.where(failed.view(-1, *[1] * len(shape)), torch.nan, result.x)


def sampler(name: str, prior: Prior, steps: int | None = None) -> Solver[Any]:
    """The sampler of this name, on the levels that a prior is good for: for command lines.

    Arguments:
        name: `heun` (EDM), `ddim` or `ddpm` (the linear VP schedule).
        prior: The prior to draw from.
        steps: How many; by default 18, 100 and 1000, or as many as there are levels.

    Raises:
        InvalidArgument: If there is none of this name, or there are not as many levels.
    """
    return lookup(SAMPLERS, "solver", name)(prior, steps)


def _heun(prior: Prior, steps: int | None) -> Solver[Any]:
    return Heun.edm(18 if steps is None else steps, prior)


def _ddim(eta: float, default: int, prior: Prior, steps: int | None) -> Solver[Any]:
    levels = vp(1000).restrict(prior.sigma_min, prior.sigma_max)
    schedule = levels.subsample(min(default, len(levels)) if steps is None else steps)
    return DDIM(schedule, eta=eta)


# From the prior and the number of steps, None for the method's own.
SAMPLERS: dict[str, Callable[[Prior, int | None], Solver[Any]]] = {
    "heun": _heun,
    "ddim": partial(_ddim, 0.0, 100),
    "ddpm": partial(_ddim, 1.0, 1000),
}


@torch.no_grad()
def draw(
    result: Reconstruction, solver: Solver[Any], n: int, *, seed: int = 0
) -> Float[Tensor, "b S n *m"]:
    """n draws per run from the distribution that a variational solver ended with.

    `REDDiff` gives draws from N(mu, sigma_q^2 I), `RSD` its particles, for which n is at most
    their number.

    Arguments:
        result: What `solve` gave, from the b lanes and S runs of each.
        solver: The solver it was given.
        n: How many, at least 1.
        seed: The noise is a function of (seed, lane id, run).

    Returns:
        Draws by lane and run; NaN where the state of a run that diverged is.

    Raises:
        Unsupported: If the solver has no such distribution.
        SnapshotError: If the result is of another solver.
        InvalidArgument: If n is out of range, or a stopping rule ended some runs before the
            others, whose states are not kept.
    """
    snapshot = result.snapshot
    if snapshot is None:
        raise InvalidArgument("result", expected="one of `solve`", got="one of `sample_posterior`")
    require(isinstance(solver, Solver), "solver", expected="a Solver", got=type(solver).__name__)
    require_count("n", n)
    if snapshot.solver != describe(solver):
        raise SnapshotError(
            f"result: expected one of {describe(solver)}, got one of {snapshot.solver}"
        )
    solver = solver.to(result.x.device)
    state = solver.load(snapshot.tree["state"])
    _check_whole(snapshot, len(solver.estimate(state)))
    keys = Keys(seed, result.ids).repeat(snapshot.samples)
    draws = solver.sample(state, n, keys.at(DRAWING))
    return draws.unflatten(0, (len(result.ids), snapshot.samples))


def _check_whole(snapshot: Snapshot, rows: int) -> None:
    """Refuse a state of which some runs were let go."""
    wanted = len(snapshot.ids) * snapshot.samples
    if rows == wanted:
        return
    raise InvalidArgument(
        "result",
        expected=f"the states of all {wanted} runs (solve without tol and EarlyStop keeps them)",
        got=f"those of {rows}, as the others ended earlier",
    )


class _Nothing(Selection):
    """Measures no entry: y has the shape of x, all singular values are 0."""

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return z.new_zeros(())
