"""A solver and a prior as a reconstructor for deepinv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from reddiff.errors import require
from reddiff.interop.deepinv.measurement import from_deepinv
from reddiff.noise import Noise
from reddiff.operators.base import Shape
from reddiff.priors.base import Prior
from reddiff.solvers.base import Solver
from reddiff.solving import solve
from reddiff.units import to_pixels


class Reconstructor(nn.Module):
    """(y, physics) -> x, made by `as_reconstructor`."""

    def __init__(
        self,
        solver: Solver[Any] | None,
        prior: Prior,
        noise: Noise | None,
        pixels: bool,
        x_shape: Shape | None,
        lanes: tuple[str, ...],
        seed: int,
        runs: int,
    ) -> None:
        super().__init__()
        self.prior, self.solver = prior, solver
        self.noise, self.pixels, self.x_shape, self.lanes = noise, pixels, x_shape, lanes
        self.seed, self.runs = seed, runs

    def forward(self, y: Tensor, physics: Any) -> Tensor:
        """The estimate of x `(b, ...)`, without a gradient."""
        problem = from_deepinv(
            y.detach(),
            physics,
            noise=self.noise,
            pixels=self.pixels,
            x_shape=self.x_shape,
            lanes=self.lanes,
        )
        x = solve(
            problem, self.prior, self.solver, seed=self.seed, runs=self.runs, progress=False
        ).x
        return to_pixels(x) if self.pixels else x


def as_reconstructor(
    solver: Solver[Any] | None,
    prior: Prior,
    *,
    noise: Noise | None = None,
    pixels: bool = True,
    x_shape: Shape | None = None,
    lanes: Sequence[str] = (),
    seed: int = 0,
    runs: int = 1,
) -> Reconstructor:
    """A module `model(y, physics) -> x`, for deepinv's `test`, its trainer and its benchmarks.

    The lanes of a batch have the ids 0 to b - 1, so the random numbers of an image depend on its
    position in the batch.

    Arguments:
        solver: As for `solve`; None for the default.
        prior: The diffusion model, for x in [-1, 1] if `pixels`. It moves with the module.
        noise: The noise of y, in the units of y; by default that of `physics.noise_model`.
        pixels: Whether the physics and the result use x in [0, 1], as in deepinv.
        x_shape: As for `from_deepinv`.
        lanes: As for `from_deepinv`.
        seed: As for `solve`.
        runs: Runs per image; the result is their mean.

    Raises:
        InvalidArgument: If an argument cannot be used. The module raises the errors of
            `from_deepinv` and `solve`.
    """
    good = solver is None or isinstance(solver, Solver)
    require(good, "solver", expected="a Solver or None", got=type(solver).__name__)
    require(isinstance(prior, Prior), "prior", expected="a Prior", got=type(prior).__name__)
    return Reconstructor(solver, prior, noise, pixels, x_shape, tuple(lanes), seed, runs)
