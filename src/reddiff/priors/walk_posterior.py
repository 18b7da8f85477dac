r"""The posterior of a random walk for a linear A and Gaussian noise, by Gibbs sampling.

Let L be the matrix of cumulative sums, H = A L, and W the diagonal matrix of the latent variances
(0 where an increment is 0). Given W, the increments are Gaussian. Their distribution depends on
:math:`G = H^T S^{-1} H` and :math:`g = H^T S^{-1} y`, with :math:`S = \sigma_y^2 I + H W H^T`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import per_lane, repeat
from reddiff.priors.gaussian_posterior import dense_matrix, likelihood_sigma
from reddiff.priors.increments import Increments
from reddiff.problem import Problem
from reddiff.random import Keys, Rng

BURN_IN = 100
SWEEPS = 1000


def increments_sample(law: Increments, like: Float[Tensor, "b n"], rng: Rng) -> Tensor:
    """Draws of increments with the shape of `like`."""
    u = law.variance(like, rng).sqrt() * rng.randn_like(like)
    return torch.where(rng.rand_like(like) < law.rate, u, 0)


@dataclass(frozen=True, eq=False)
class WalkPosterior:
    """p(x | y) of a random walk, by Gibbs sampling: exact up to the Monte Carlo error.

    Arguments:
        increments: The distribution of the increments.
        problem: The problem.
        sweeps: The number of sweeps over which `mean` averages the conditional means.
        burn_in: The number of sweeps discarded by `mean`, and that of each chain of `sample`.

    Raises:
        Unsupported: If the operator is not linear, the noise not Gaussian, or its sigma 0.

    References:
        | A Statistical Framework to Investigate the Optimality of Signal-Reconstruction Methods
        | (Bohra et al., 2023), Section IV, https://arxiv.org/abs/2203.09920
    """

    increments: Increments
    problem: Problem
    sweeps: int = SWEEPS
    burn_in: int = BURN_IN

    def __post_init__(self) -> None:
        likelihood_sigma(self.problem)

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """The posterior mean."""
        chain = _Chain(self.increments, self.problem)
        keys = Keys(0, tuple(range(len(self.problem))))
        total = torch.zeros_like(chain.u)
        for k in range(self.burn_in + self.sweeps):
            mean = chain.sweep(keys.at(k))
            if k >= self.burn_in:
                total = total + mean
        return (total / self.sweeps).cumsum(1).unflatten(1, self.problem.x_shape)

    def sample(self, n: int, *, seed: int = 0) -> Float[Tensor, "b n *m"]:
        """n draws per lane, each the last state of a separate chain."""
        problem, b = self.problem, len(self.problem)
        wide = problem.select(repeat(torch.arange(b, device=problem.y.device), n))
        chain = _Chain(self.increments, wide)
        keys = Keys(seed, tuple(range(b))).repeat(n)
        for k in range(self.burn_in):
            chain.sweep(keys.at(k))
        return chain.u.cumsum(1).view(b, n, *problem.x_shape)


class _Chain:
    """The state of the Gibbs sampler: increments u, variances w, and `on`, 1 where u is not 0."""

    def __init__(self, law: Increments, problem: Problem) -> None:
        self.law = law
        a = dense_matrix(problem)
        self.h = a.flip(2).cumsum(2).flip(2)  # A L: column i is the sum of columns i, i + 1, ...
        self.y = problem.y.flatten(1)
        self.sigma = per_lane(likelihood_sigma(problem), self.y).expand(len(a), 1)
        self.u = self.y.new_zeros(len(a), a.shape[2])
        self.w = torch.full_like(self.u, law.std**2 / law.rate)
        self.on = torch.ones_like(self.u)

    def sweep(self, rng: Rng) -> Float[Tensor, "b n"]:
        """Make one sweep and return the mean of the increments given the variances before it."""
        if self.law.rate < 1:
            self._switch(rng)
        w = self.w * self.on
        u = w.sqrt() * rng.randn_like(w)
        noise = self.sigma * rng.randn_like(self.y)
        fresh = self.y - torch.einsum("bmn,bn->bm", self.h, u) - noise
        found = torch.cholesky_solve(torch.stack([self.y, fresh], 2), self._factor(w))
        mean, shift = torch.einsum("bmn,bmk->kbn", self.h, found)
        self.u = u + w * shift
        given = self.law.variance_given(self.u, rng)
        if self.law.rate < 1:
            given = torch.where(self.on > 0, given, self.law.variance(self.u, rng))
        self.w = given
        return w * mean

    def _factor(self, w: Tensor) -> Tensor:
        s = (self.h * w[:, None]) @ self.h.mT
        return torch.linalg.cholesky(s + (self.sigma**2)[..., None] * torch.eye(s.shape[1]).to(s))

    def _switch(self, rng: Rng) -> None:
        """Draw `on` entry by entry, with all u integrated out."""
        h, n = self.h, self.u.shape[1]
        columns = torch.cat([h, self.y[..., None]], 2)
        both = h.mT @ torch.cholesky_solve(columns, self._factor(self.w * self.on))  # G and g
        threshold = torch.logit(rng.rand_like(self.u).double(), 1e-12)
        prior = math.log(self.law.rate / (1 - self.law.rate))
        on = list(self.on.unbind(1))
        for i in range(n):
            row, w, old = both[:, i], self.w[:, i], on[i]
            without = 1 - old * w * row[:, i]
            q, r = row[:, i] / without, row[:, n] / without
            odds = prior - 0.5 * torch.log1p(w * q) + 0.5 * w * r**2 / (1 + w * q)
            on[i] = (threshold[:, i] < odds).to(w)
            change = (on[i] - old) * w
            scale = change / (1 + change * row[:, i])
            both = both - (scale[:, None] * both[:, :, i])[..., None] * row[:, None]
        self.on = torch.stack(on, 1)
