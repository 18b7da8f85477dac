"""Priors and levels of this library as deepinv and azula take them.

Both are imported here. They are no dependencies: `make test-peers` installs them into a venv of
their own, `.venv/peers`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reddiff.priors import Prior
from reddiff.priors.covariance import Covariance
from reddiff.random import Rng
from reddiff.schedules import Schedule
from reddiff.units import to_pixels

sys.path.append(str(Path(__file__).parents[1] / "tests/deepinv"))
import shim

shim.install()
import azula  # noqa: E402
import azula.denoise  # noqa: E402
import azula.linalg.covariance  # noqa: E402
import azula.noise  # noqa: E402

import deepinv  # noqa: E402

VERSIONS = {"azula": azula.__version__, "deepinv": deepinv.__version__}


class Global(Rng):
    """Noise from the global generator of torch, as the peers draw it."""

    def __init__(self) -> None:
        super().__init__(())

    def randn_like(self, like: Tensor) -> Tensor:
        return torch.randn_like(like)


def counted(d: Tensor, owner: Any) -> Tensor:
    """d; every backward pass through it is added to `owner.vjps`."""

    def add(_: Tensor) -> None:
        owner.vjps += 1

    if d.requires_grad:
        d.register_hook(add)
    return d


# ------------------------------------------------------------------------------------------ deepinv


class Denoiser(deepinv.models.Denoiser):
    """A prior as a denoiser of deepinv: x in [0, 1], sigma in its units.

    deepinv calls it in single precision; it computes in that of the prior. Levels are cut to the
    range of the prior, and at level 0 x stays as it is.

    Arguments:
        prior: Of x in [-1, 1].
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior
        self.evaluations = self.vjps = 0

    def forward(self, x: Tensor, sigma: float | Tensor, **_: Any) -> Tensor:
        x = x.to(self.prior.dtype or x.dtype)
        s = 2 * torch.as_tensor(sigma).to(x).flatten().expand(len(x))
        if not s.any():
            return x
        self.evaluations += 1
        s = s.clamp(self.prior.sigma_min, self.prior.sigma_max)
        return to_pixels(counted(self.prior(2 * x - 1, s), self))


# -------------------------------------------------------------------------------------------- azula


class Levels(azula.noise.Schedule):
    """A table of levels as a schedule of azula; steps go from each to the next.

    Arguments:
        schedule: K levels and the last one, in VP variables: alpha^2 + sigma^2 is 1.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.table = schedule.levels

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        steps = len(self.table) - 1
        s = self.table.to(t)[(steps * (1 - t)).round().long()]
        alpha = (1 + s**2).rsqrt()
        return alpha, alpha * s


class AzulaDenoiser(azula.denoise.Denoiser):
    """A prior as a denoiser of azula, whose linear solvers take flat x `(b, n)`.

    Arguments:
        prior: The prior.
        schedule: The levels.
        shape: Of one x.
    """

    def __init__(self, prior: Prior, schedule: azula.noise.Schedule, shape: Sequence[int]) -> None:
        super().__init__()
        self.prior, self.schedule, self.shape = prior, schedule, tuple(shape)
        self.evaluations = self.vjps = 0

    def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> azula.denoise.DiracPosterior:
        self.evaluations += 1
        alpha, sigma = self.schedule(t)
        x = x_t.view(-1, *self.shape)
        mean = counted(self.prior(x, sigma.to(x), alpha.to(x)), self)
        return azula.denoise.DiracPosterior(mean.flatten(1))


class Fixed(azula.linalg.covariance.Covariance):
    """A covariance of this library as one of azula, of flat x, for sums with isotropic ones."""

    def __init__(self, covariance: Covariance, x_shape: Sequence[int]) -> None:
        self.covariance, self.x_shape = covariance, tuple(x_shape)

    def _with(self, variance: Tensor) -> Fixed:
        c = self.covariance
        return Fixed(Covariance(variance, c.to, c.back), self.x_shape)

    @property
    def shape(self) -> Sequence[int]:
        return tuple(self.covariance.variance.shape)

    def __add__(self, other: Any) -> Fixed:
        return self._with(self.covariance.variance + other.lmbda)

    def __mul__(self, other: Any) -> Fixed:
        return self._with(self.covariance.variance * other.lmbda)

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.covariance(x.view(-1, *self.x_shape)).flatten(1)

    def color(self, x: Tensor) -> Tensor:
        return self.covariance.root(x.view(-1, *self.x_shape)).flatten(1)

    @property
    def inv(self) -> Fixed:
        return self._with(1 / self.covariance.variance)

    def logdet(self) -> Tensor:
        return self.covariance.variance.log().sum()
