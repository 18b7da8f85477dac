r"""RSD: particles of RED-diff that repel each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require, require_count, require_nonnegative
from reddiff.lanes import per_lane, repeat
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.base import StepCost
from reddiff.solvers.gaussian_q import REDDiffState
from reddiff.solvers.particles import PerParticle
from reddiff.solvers.reddiff import REDDiff

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RSD(REDDiff):
    r"""Repulsive score distillation: P means per lane, held apart by a kernel.

    .. math::
        g_i = \nabla_{\mu_i}\!\left[\text{RED-diff}\right] + \lambda_t\,\gamma\,s\,
        \nabla_{\mu_i} \log \textstyle\sum_j k_s(\mu_i, \mu_j), \qquad
        k_s(u, v) = \exp\left(-\lVert f(u) - f(v) \rVert^2 / h_s\right)

    The sum is a density q of the particles, and :math:`-s \nabla \log q` is its eps at level s:
    :math:`\gamma = 1` is the Wasserstein gradient flow of KL(q_s || p_s) in the place of the pull
    to a mode, with a kernel for q. :math:`h_0 = \mathrm{median}_{i<j}\, d_{ij}^2 / \log(P + 1)` is
    the paper's, from the pairs of one lane; at level s it is diffused as q is,
    :math:`h_s = h_0 + 2 s^2` on pixels, without which repulsion would outgrow all else where s is
    large. The particles show modes and where y leaves room, and are no calibrated posterior: the
    kernel blurs q, and :math:`\lambda` stands for sigma_y as in RED-diff. With one particle it is
    RED-diff, and its `estimate` is the mean of the particles, which need not be near any.

    Arguments:
        schedule: The noise levels; this and all of RED-diff's arguments are as there.
        particles: P. A step makes P times as many evaluations. Those that start at one place part
            by their noise; `inits.noise` starts them apart.
        gamma: :math:`\gamma`, the strength of the repulsion, without a unit. At 0 each particle
            is a run of RED-diff of its own; above 1 the particles spread wider than the prior.
        features: f, from `(rows, *n)` to `(rows, ...)`, row by row, differentiable: what shall
            differ between particles, such as a network's embedding; pixels if None. A module must
            be on the device of y, and :math:`h_s / h_0` is that of the pixels.

    References:
        | Repulsive Score Distillation for Diverse Sampling of Diffusion Models
        | (Zilberstein et al., 2024), https://arxiv.org/abs/2406.16683
        | (Its public code divides by log(P - 1), under which two particles do not repel. The
        | diffused bandwidth is ours.)

    Raises:
        InvalidArgument: If a number is out of its range; in the first step, if f has no gradient.
    """

    particles: int = 4
    gamma: float = 1.0
    features: Features | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_nonnegative("gamma", self.gamma)
        require_count("particles", self.particles)

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> REDDiffState:
        """mu_i <- A^+ y; a random start draws anew for each particle."""
        starts = [self.start(problem, rng) for _ in range(self.particles)]
        x = torch.stack(starts, 1).flatten(0, 1)
        return REDDiffState.start(x, self._learned, self.particles)

    @property
    def cost(self) -> StepCost:
        return StepCost(self.draws * self.particles)

    def step(
        self, state: REDDiffState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> REDDiffState:
        """RED-diff's step of every particle, by gradients that see the others of its lane."""
        rng, k = PerParticle(rng, self.particles), repeat(k, self.particles)
        return super().step(state, problem.repeated(self.particles), prior, k, rng)

    def _regularizer(
        self, mu: Tensor, sigma_q: Tensor, prior: Prior, levels: Float[Tensor, "b j"], rng: Rng
    ) -> tuple[Tensor, Tensor]:
        pull, toward_sigma = super()._regularizer(mu, sigma_q, prior, levels, rng)
        if self.particles > 1 and self.gamma > 0:
            pull = pull + self._repulsion(mu, levels.to(mu))
        return pull, toward_sigma

    def _repulsion(self, mu: Tensor, levels: Float[Tensor, "b j"]) -> Tensor:
        """lambda_t gamma s grad log sum_j k_s, averaged over the draws."""
        f, pullback = self._embed(mu)
        x, f, s = (v.unflatten(0, (-1, self.particles)) for v in (mu.flatten(1), f, levels))
        d_f = _squared_distances(f)
        d_x = d_f if self.features is None else _squared_distances(x)
        h_f, h_x = _bandwidth(d_f), _bandwidth(d_x)
        ratio = torch.where(h_x > 0, h_f / h_x, 1)
        h = per_lane(h_f, s) + 2 * s**2 * per_lane(ratio, s)
        h = torch.where(h > 0, h, 1)  # features that are all the same have no slope anyway
        near = (-d_f[:, :, None] / h[..., None]).softmax(3)  # of the density, per draw and pair
        slope = -2 * self.weight * self.weighting(s) * self.gamma * s / (h * s.shape[2])
        push = slope.sum(2, keepdim=True) * f - torch.einsum("bij,bijq->biq", slope, near) @ f
        return pullback(push.flatten(0, 1))

    def _embed(self, mu: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """f(mu) `(rows, m)`, and its pullback."""
        if self.features is None:
            return mu.flatten(1), lambda v: v.view_as(mu)
        with torch.enable_grad():
            leaf = mu.detach().requires_grad_()
            f = self.features(leaf).flatten(1)
        got = "one without a gradient"
        require(f.requires_grad, "features", expected="a differentiable function", got=got)

        def pullback(v: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(f, leaf, v)
            return grad

        return f.detach(), pullback

    def estimate(self, state: REDDiffState) -> Float[Tensor, "b *n"]:
        return self._by_lane(state.mu.x).mean(1)

    def sample(self, state: REDDiffState, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """The first n particles, each with noise of its own sigma_q.

        Raises:
            InvalidArgument: If n is above P.
        """
        require(n <= self.particles, "n", expected=f"at most {self.particles} particles", got=n)
        sigma_q = state.sigma_q(self.sigma_q)
        mu, spread = (self._by_lane(v)[:, :n] for v in (state.mu.x, sigma_q))
        wide = spread.reshape(*spread.shape, *[1] * (mu.ndim - 2))
        return mu + wide * rng.randn_like(mu)

    def _by_lane(self, v: Tensor) -> Tensor:
        return v.unflatten(0, (-1, self.particles))


def _squared_distances(f: Float[Tensor, "b P m"]) -> Float[Tensor, "b P P"]:
    return torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def _bandwidth(d: Float[Tensor, "b P P"]) -> Float[Tensor, " b"]:
    """The median over the pairs of a lane, over log(P + 1)."""
    p = d.shape[1]
    i, j = torch.triu_indices(p, p, 1, device=d.device)
    return d[:, i, j].median(1).values / math.log(p + 1)
