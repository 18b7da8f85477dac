"""Gaussian mixtures; their posterior for a linear A and Gaussian noise is a mixture, too.

Computations use the dtype of the prior; use float64 for reference solutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane, repeat
from reddiff.priors.base import Prior
from reddiff.priors.gaussian_posterior import dense_matrix, likelihood_sigma
from reddiff.problem import Problem
from reddiff.random import DRAWING, Keys, Rng


class GaussianMixture(Prior):
    r"""The mixture :math:`\sum_k w_k N(m_k, C_k)` with dense covariances.

    Arguments:
        weights: `(K,)`, positive; normalized to sum 1.
        means: `(K, *n)`.
        covs: `(K, N, N)`, symmetric positive definite.

    Raises:
        InvalidArgument: If the shapes do not match, or a weight or an eigenvalue is not positive.
    """

    trusted = True

    weights: Tensor
    means: Tensor
    covs: Tensor
    c: Tensor
    q: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covs: Tensor) -> None:
        super().__init__(tuple(means.shape[1:]))
        k, n = len(means), means[0].numel()
        require(weights.shape == (k,), "weights", expected=f"shape {(k,)}", got=weights.shape)
        require(covs.shape == (k, n, n), "covs", expected=f"shape {(k, n, n)}", got=covs.shape)
        require(bool((weights > 0).all()), "weights", expected="values above 0", got=weights)
        c = covs.diagonal(dim1=1, dim2=2)
        self.diagonal = torch.equal(c.diag_embed(), covs)  # then no change of basis is needed
        c, q = (c.clone(), torch.eye(n).to(covs)) if self.diagonal else torch.linalg.eigh(covs)
        require(bool((c > 0).all()), "covs", expected="positive definite matrices", got=c.min())
        self.register_buffer("weights", weights / weights.sum())
        self.register_buffer("means", means.flatten(1))
        self.register_buffer("covs", covs)
        self.register_buffer("c", c)
        self.register_buffer("q", q)

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """The estimates of all components, weighted by their posterior probabilities given x."""
        var = sigma.reshape(-1, 1, 1) ** 2
        d = x.flatten(1)[:, None] - self.means
        z = d if self.diagonal else torch.einsum("bkn,knm->bkm", d, self.q)
        log_p = self.weights.log() - 0.5 * (z**2 / (self.c + var) + (self.c + var).log()).sum(2)
        shrunk = z * self.c / (self.c + var)
        back = shrunk if self.diagonal else torch.einsum("bkm,knm->bkn", shrunk, self.q)
        each = self.means + back
        return (log_p.softmax(1)[:, :, None] * each).sum(1).view_as(x)

    def sample(self, like: Float[Tensor, "b *n"], rng: Rng) -> Float[Tensor, "b *n"]:
        """Draws of x, one per lane, with the shape of `like`."""
        rows = torch.zeros(len(like), dtype=torch.int64, device=like.device)
        return _draw(self.weights[None], self.means[None], self.covs[None], rows, like, rng)

    def posterior(self, problem: Problem) -> MixturePosterior:
        """The exact posterior of a linear problem with Gaussian noise.

        Raises:
            Unsupported: If the operator is not linear or the noise not Gaussian, or sigma is 0.
        """
        a = dense_matrix(problem)
        y = problem.y.flatten(1)
        var = per_lane(likelihood_sigma(problem), y[:, 0]).expand(len(a)) ** 2
        ca = torch.einsum("kij,bmj->bkim", self.covs, a)
        s = torch.einsum("bmi,bkin->bkmn", a, ca)
        s = s + var[:, None, None, None] * torch.eye(a.shape[1]).to(a)
        r = y[:, None] - torch.einsum("bmi,ki->bkm", a, self.means)
        factor = torch.linalg.cholesky(s)
        solved = torch.cholesky_solve(r[..., None], factor)[..., 0]
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_w = self.weights.log() - 0.5 * (r * solved).sum(-1) - log_det
        means = self.means + torch.einsum("bkim,bkm->bki", ca, solved)
        covs = self.covs - ca @ torch.cholesky_solve(ca.mT, factor)
        return MixturePosterior(log_w.softmax(1), means, covs, problem.x_shape)


@dataclass(frozen=True, eq=False)
class MixturePosterior:
    """A Gaussian mixture per lane, the posterior of a `GaussianMixture`.

    Arguments:
        weights: `(b, K)`.
        means: `(b, K, N)`.
        covs: `(b, K, N, N)`.
        shape: The shape of one x.
    """

    weights: Tensor
    means: Tensor
    covs: Tensor
    shape: tuple[int, ...]

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """The posterior mean."""
        return (self.weights[..., None] * self.means).sum(1).unflatten(1, self.shape)

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The posterior covariance times v: the sum of those within and between components."""
        flat = v.flatten(1)
        d = self.means - self.mean.flatten(1)[:, None]
        each = torch.einsum("bkij,bj->bki", self.covs, flat)
        each = each + d * torch.einsum("bki,bi->bk", d, flat)[..., None]
        return (self.weights[..., None] * each).sum(1).view_as(v)

    def sample(self, n: int, *, seed: int = 0) -> Float[Tensor, "b n *m"]:
        """n exact draws per lane."""
        b = len(self.weights)
        like = self.means.new_empty(b * n, *self.shape)
        rng = Keys(seed, tuple(range(b))).repeat(n).at(DRAWING)
        rows = repeat(torch.arange(b, device=like.device), n)
        x = _draw(self.weights, self.means, self.covs, rows, like, rng)
        return x.unflatten(0, (b, n))


def _draw(
    weights: Tensor, means: Tensor, covs: Tensor, rows: Tensor, like: Tensor, rng: Rng
) -> Tensor:
    """One draw per entry of `rows`, the indices of the mixtures (b, K, ...) to draw from."""
    u = rng.rand_like(like.flatten(1)[:, :1].to(weights))
    k = (weights[rows].cumsum(1) < u).sum(1).clamp(max=weights.shape[1] - 1)
    n = rng.randn_like(like).flatten(1)
    root = torch.linalg.cholesky(covs)[rows, k]
    return (means[rows, k] + (root @ n[..., None])[..., 0]).view_as(like)
