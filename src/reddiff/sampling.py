"""Draws from a prior, and from the distribution fitted by a variational solver."""

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

    The quality depends on the solver and its highest noise level. Draws start from noise of that
    level, independent of the prior mean. A prior with low levels only gives noise with texture.

    Arguments:
        prior: The diffusion prior. Draws have its device and dtype (for a prior without parameters,
            torch's defaults).
        shape: The shape of one x.
        count: The number of draws, at least 1.
        solver: A sampler such as `Heun`, `DDIM` or `DDIM.ddpm`; by default Heun's method with the
            18 levels of EDM, within the range of the prior. (The spread is then some percent too
            large where the prior is narrow; 40 steps are more accurate.) With `REDDiff`, whose y
            has no measured entries here, this is score distillation.
        seed: Draw i is a function of (seed, i), whatever the number of draws.
        hooks: Hooks, called after every step.

    Returns:
        The draws `(count, *shape)`, with NaN in those that diverged.

    Raises:
        InvalidArgument: If the prior does not accept the shape, or another argument is invalid.
        Unsupported: If the solver is not defined for a problem without measured entries.
    """
    require(isinstance(prior, Prior), "prior", expected="a Prior", got=type(prior).__name__)
    require_count("count", count)
    shape = tuple(shape)
    good = all(isinstance(n, int) and n >= 1 for n in shape) and prior.accepts(shape)
    require(good, "shape", expected=f"a shape that fits {prior.shape}", got=shape)
    like = next(chain(prior.parameters(), prior.buffers()), torch.empty(0))
    y = torch.zeros(count, *shape, dtype=prior.dtype, device=like.device)
    problem = Problem(y, _Nothing(), Gaussian(1.0))
    method = Heun.edm(prior=prior) if solver is None else solver
    result = solve(problem, prior, method, seed=seed, hooks=hooks, progress=False)
    failed = (result.status[:, 0] == Status.DIVERGED).to(y.device)
    return torch.where(failed.view(-1, *[1] * len(shape)), torch.nan, result.x)


def sampler(name: str, prior: Prior, steps: int | None = None) -> Solver[Any]:
    """The sampler with this name, with levels within the range of a prior, for command lines.

    Arguments:
        name: `heun` (EDM), `ddim` or `ddpm` (the linear VP schedule).
        prior: The prior to draw from.
        steps: The number of steps; by default 18, 100 and 1000, or the number of levels if smaller.

    Raises:
        InvalidArgument: If there is no such sampler, or if there are fewer levels than steps.
    """
    return lookup(SAMPLERS, "solver", name)(prior, steps)


def _heun(prior: Prior, steps: int | None) -> Solver[Any]:
    return Heun.edm(18 if steps is None else steps, prior)


def _ddim(eta: float, default: int, prior: Prior, steps: int | None) -> Solver[Any]:
    levels = vp(1000).restrict(prior.sigma_min, prior.sigma_max)
    schedule = levels.subsample(min(default, len(levels)) if steps is None else steps)
    return DDIM(schedule, eta=eta)


# Each takes the prior and the number of steps, or None for the default number.
SAMPLERS: dict[str, Callable[[Prior, int | None], Solver[Any]]] = {
    "heun": _heun,
    "ddim": partial(_ddim, 0.0, 100),
    "ddpm": partial(_ddim, 1.0, 1000),
}


@torch.no_grad()
def draw(
    result: Reconstruction, solver: Solver[Any], n: int, *, seed: int = 0
) -> Float[Tensor, "b S n *m"]:
    """n draws per run from the final distribution of a variational solver.

    `REDDiff` gives draws from N(mu, sigma_q^2 I), and `RSD` its particles, of which n must not
    exceed the number.

    Arguments:
        result: The result of `solve`, with b lanes and S runs per lane.
        solver: The solver that was used.
        n: The number of draws, at least 1.
        seed: Random seed. The noise is a function of (seed, lane id, run).

    Returns:
        Draws by lane and run; NaN for the NaN entries of a run that diverged.

    Raises:
        Unsupported: If the solver is not variational.
        SnapshotError: If the result is from another solver.
        InvalidArgument: If n is out of range, or if a stopping rule ended some runs early, whose
            states are not kept.
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
    """Raise InvalidArgument if the states of some runs were not kept."""
    wanted = len(snapshot.ids) * snapshot.samples
    if rows == wanted:
        return
    raise InvalidArgument(
        "result",
        expected=f"the states of all {wanted} runs (solve without tol and EarlyStop keeps them)",
        got=f"those of {rows}, because the others ended earlier",
    )


class _Nothing(Selection):
    """An operator that measures nothing: y has the shape of x, and all singular values are 0."""

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return z.new_zeros(())
