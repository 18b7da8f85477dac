"""Draws from what a variational solver fitted."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, SnapshotError, require
from reddiff.random import DRAWING, Keys
from reddiff.results import Reconstruction
from reddiff.snapshot import Snapshot, describe
from reddiff.solvers.base import Solver


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
    require(isinstance(solver, Solver), "solver", expected="a Solver", got=type(solver).__name__)
    good = isinstance(n, int) and n >= 1
    require(good, "n", expected="an integer of at least 1", got=repr(n))
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
