"""Validation of the arguments of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from reddiff.errors import Unsupported, require, require_count
from reddiff.priors.adapting import adapted
from reddiff.priors.base import Prior
from reddiff.priors.latent import LatentPrior
from reddiff.problem import Problem
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff


def as_integers(values: Sequence[Any]) -> tuple[Any, ...]:
    """Integers of NumPy as those of Python; other values, and bool, as they are."""
    return tuple(
        v if isinstance(v, bool) or not isinstance(v, Integral) else int(v) for v in values
    )


def default_solver(
    problem: Problem, prior: Prior, solver: Solver[Any] | None, ids: Sequence[int]
) -> Solver[Any]:
    """The given solver, or the default one, fitted to the prior, after a check of all types."""
    for name, value, wanted in (
        ("problem", problem, Problem),
        ("prior", prior, Prior),
        ("solver", solver, (Solver, type(None))),
        ("ids", ids, Sequence),
    ):
        expected = f"a {name.capitalize()}" if name != "ids" else "a Sequence"
        require(isinstance(value, wanted), name, expected=expected, got=type(value).__name__)
    return NoiseAwareREDDiff.for_prior(prior) if solver is None else solver.fitted(prior)


def check_run(
    problem: Problem, prior: Prior, solver: Solver[Any], ids: tuple[int, ...], runs: int
) -> None:
    """Raise InvalidArgument or Unsupported if the arguments are not consistent."""
    require_count("runs", runs)
    require(len(ids) == len(problem), "ids", expected=f"{len(problem)} ids", got=f"{len(ids)} ids")
    twice = [i for i, times in Counter(ids).items() if times > 1]
    require(not twice, "ids", expected="distinct ids", got=f"more than one of {twice[:5]}")
    solver.check(problem, prior)
    if solver.cost.vjps > 0 and not prior.differentiable:
        name, wanted = type(solver).__name__, "a prior with gradients"
        raise Unsupported(f"{name}: expected {wanted}, got an ONNX network, which has none")
    shape = problem.x_shape
    latents = ", for latents: solve problem.pullback(prior.decoder)"
    given = f"a prior for {prior.shape}{latents * isinstance(prior, LatentPrior)}"
    hint = "" if adapted(prior, shape) is prior else " (reddiff.priors.adapted makes one)"
    expected = f"a prior for x of shape {shape}{hint}"
    require(prior.accepts(shape), "prior", expected=expected, got=given)
    fits = prior.lanes in (None, len(problem))
    require(fits, "prior", expected=f"conditions of {len(problem)} lanes", got=prior.lanes)
    for tensor in (*prior.parameters(), *prior.buffers()):
        if tensor.is_floating_point():
            same = tensor.device == problem.y.device
            got = problem.y.device
            require(same, "y", expected=f"device {tensor.device}, as the prior", got=got)
    dtype = prior.dtype
    good = dtype in (None, problem.y.dtype)
    require(good, "y", expected=f"dtype {dtype}, as the prior", got=problem.y.dtype)
    a_shape = tuple(problem.operator(problem.y.new_zeros(len(problem), *shape)).shape)
    expected = f"shape {a_shape}, that of A(x) for x of shape {shape}"
    require(a_shape == problem.y.shape, "y", expected=expected, got=tuple(problem.y.shape))
