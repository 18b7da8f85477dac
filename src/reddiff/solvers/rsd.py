r"""RSD: RED-diff with several particles that repel each other."""

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
    r"""Repulsive score distillation: P particles (means) per lane, with kernel repulsion.

    .. math::
        g_i = \nabla_{\mu_i}\!\left[\text{RED-diff}\right] + \lambda_t\,\gamma\,s\,
        \nabla_{\mu_i} \log \textstyle\sum_j k_s(\mu_i, \mu_j), \qquad
        k_s(u, v) = \exp\left(-\lVert f(u) - f(v) \rVert^2 / h_s\right)

    The sum is a kernel density estimate of the distribution q of the particles, and
    :math:`-s \nabla \log q` is the corresponding :math:`\varepsilon` at level s. With
    :math:`\gamma = 1` the particles follow the Wasserstein gradient flow of KL(q_s || p_s), instead
    of moving to a mode. The bandwidth :math:`h_0 = \mathrm{median}_{i<j}\, d_{ij}^2 / \log(P + 1)`,
    over the pairs of a lane, is that of the paper. At level s it is diffused like q,
    :math:`h_s = h_0 + 2 s^2` for pixels; otherwise the repulsion would dominate at large s.

    The particles show modes and directions that y does not determine. They are not calibrated draws
    from the posterior, because the kernel smooths q and :math:`\lambda` replaces sigma_y as in
    RED-diff. With one particle the method is RED-diff. `estimate` is the mean of the particles,
    which need not be close to any of them.

    Arguments:
        schedule: The noise levels; this and the other arguments of RED-diff are as there.
        particles: P. A step makes P times as many evaluations. Particles with the same initial
            value separate because of their noise; `inits.noise` gives different initial values.
        gamma: :math:`\gamma`, the dimensionless strength of the repulsion, >= 0. With 0 the
            particles are independent runs of RED-diff; above 1 they spread wider than the prior.
        features: f, a differentiable function from `(rows, *n)` to `(rows, ...)`, row by row. It
            defines in what the particles should differ, such as the embedding of a network; by
            default pixels. A module must be on the device of y. :math:`h_s / h_0` is that of
            pixels.

    References:
        | Repulsive Score Distillation for Diverse Sampling of Diffusion Models
        | (Zilberstein et al., 2024), https://arxiv.org/abs/2406.16683
        | (The released code divides by log(P - 1), so that two particles do not repel each other.
        | The diffused bandwidth is our modification.)

    Raises:
        InvalidArgument: If a number is out of range, or, in the first step, if f has no gradient.
    """

    particles: int = 4
    gamma: float = 1.0
    features: Features | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_nonnegative("gamma", self.gamma)
        require_count("particles", self.particles)

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> REDDiffState:
        """The initial mu_i; a random `start` gives each particle its own."""
        starts = [self.start(problem, rng) for _ in range(self.particles)]
        x = torch.stack(starts, 1).flatten(0, 1)
        return REDDiffState.start(x, self._learned, self.particles)

    @property
    def cost(self) -> StepCost:
        return StepCost(self.draws * self.particles)

    def step(
        self, state: REDDiffState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> REDDiffState:
        """The step of RED-diff for every particle, with gradients that depend on the others."""
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
        h = torch.where(h > 0, h, 1)  # if all features are equal, the gradient is zero
        near = (-d_f[:, :, None] / h[..., None]).softmax(3)  # per draw and pair
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
        got = "a function without a gradient"
        require(f.requires_grad, "features", expected="a differentiable function", got=got)

        def pullback(v: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(f, leaf, v)
            return grad

        return f.detach(), pullback

    def estimate(self, state: REDDiffState) -> Float[Tensor, "b *n"]:
        return self._by_lane(state.mu.x).mean(1)

    def sample(self, state: REDDiffState, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """The first n particles, each with noise of its sigma_q.

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
    """The median of d over the pairs of a lane, divided by log(P + 1)."""
    p = d.shape[1]
    i, j = torch.triu_indices(p, p, 1, device=d.device)
    return d[:, i, j].median(1).values / math.log(p + 1)
