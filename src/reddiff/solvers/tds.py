r"""TDS: guided sequential Monte Carlo, exact for many particles and small steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require_count, require_share
from reddiff.lanes import dot, per_lane, repeat
from reddiff.noise import Gaussian, Noise
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import karras, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, StepCost, preset_for
from reddiff.solvers.base_sampler import NOISE
from reddiff.solvers.inits import Init, pinv, zeros


@dataclass(frozen=True)
class Weighted(State):
    """Weighted particles.

    Arguments:
        x: The particles of each lane, at the level of the next step.
        log_w: The logarithms of their weights, without the twist at that level.
        x_0: The clean estimate of one particle, drawn according to the weights.
    """

    x: Float[Tensor, "b P *n"]
    log_w: Float[Tensor, "b P"]
    x_0: Float[Tensor, "b *n"]


@dataclass(frozen=True)
class TDS(Solver[Weighted]):
    r"""The twisted diffusion sampler.

    Particles follow the ancestral sampler, guided by the gradient of the twisting function

    .. math:: \log \tilde p_s(y \mid x) = -\frac{\lVert y - A(x_0) \rVert^2}{2 v_s}, \qquad
        v_s = \sigma_y^2 + \frac{s^2}{1 + s^2} \lVert A \rVert^2,

    with x_0 the denoiser's estimate at level s. A step from s to s' proposes

    .. math:: x' = x_0 + \tfrac{s'^2}{s^2} (x - x_0) + (s^2 - s'^2) \nabla \log \tilde p_s + u z,
        \qquad u^2 = s'^2 (1 - s'^2 / s^2),

    and the weights correct for the change of the proposal:

    .. math:: w' = w\,\frac{p(x' \mid x)\, \tilde p_{s'}(y \mid x')}
        {\tilde p_s(y \mid x)\, \tilde p(x' \mid x, y)},

    where the last twisting function is p(y | x). The particles of a lane are resampled
    (systematically) if their effective number falls below a fraction of P. The result of a run is
    one particle, which is a draw; `draw` makes more. For many particles, draws follow the posterior
    under the distribution of the ancestral sampler, which is the prior for small steps.

    Arguments:
        schedule: The noise levels, from pure noise to well below the noise of y.
        particles: P, per lane; 1 is guidance without correction.
        threshold: The fraction of P, in [0, 1], below which particles are resampled; 1 resamples at
            every step.
        start: The mean of the initial particles.

    References:
        | Practical and Asymptotically Exact Conditional Sampling in Diffusion Models (Wu et al.,
        | 2023), Algorithm 1, https://arxiv.org/abs/2306.17775

    Raises:
        InvalidArgument: If P is not positive, or the threshold not in [0, 1].
    """

    particles: int = 16
    threshold: float = 0.5
    start: Init = field(default=zeros, kw_only=True)

    noises: ClassVar[type[Noise]] = Gaussian
    has_fixed_point: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("particles", self.particles)
        require_share("threshold", self.threshold)

    @classmethod
    def default(cls, steps: int = 100, prior: Prior | None = None) -> TDS:
        """16 particles on the levels of EDM.

        If the range of the prior ends below the levels that hide x, the start is A^+ y.

        Arguments:
            steps: The number of levels.
            prior: If given, levels are limited to its range.
        """
        made = preset_for(prior, cls(preset(partial(karras, steps), 0.002, 80.0)))
        return made if made.schedule.levels[0] >= NOISE else replace(made, start=pinv)

    @property
    def cost(self) -> StepCost:
        return StepCost(self.particles, self.particles)

    @property
    def draws_posterior(self) -> bool:
        return True

    def needs_density(self) -> bool:
        return True

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Weighted:
        x_0 = self.start(problem, rng)
        wide = torch.stack([x_0] * self.particles, 1)
        x = wide + self.schedule.levels[0].to(x_0) * rng.randn_like(wide)
        return Weighted(x, x_0.new_zeros(wide.shape[:2]), x_0)

    def step(
        self, state: Weighted, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Weighted:
        table = self.schedule.levels.to(state.x)
        s, s_next = (per_lane(level, state.x) for level in (table[k], table[k + 1]))
        x_0, push, twist, fit = self._twisted(state.x, table[k], problem, prior)
        log_w = state.log_w + twist  # the weights at level s
        index, log_w = self._resampled(log_w, rng)
        x, x_0, push = (_chosen(v, index) for v in (state.x, x_0, push))
        twist, fit = twist.gather(1, index), fit.gather(1, index)
        up = (s_next**2 * (1 - (s_next / s) ** 2)).sqrt()
        z = rng.randn_like(x)
        shift = torch.where(up > 0, (s**2 - s_next**2) * push, 0)  # the last step goes to x_0
        proposed = x_0 + (s_next / s) ** 2 * (x - x_0) + shift + up * z
        moved = shift / torch.where(up > 0, up, 1)
        ratio = -(z * moved + moved**2 / 2).flatten(2).sum(2)
        log_w = log_w + ratio - twist
        log_w = log_w + torch.where(table[k + 1][:, None] > 0, 0, fit)
        now = log_w + torch.where(table[k + 1][:, None] > 0, twist, 0)
        one = _drawn(now, rng.rand_like(now[:, :1]))
        return Weighted(proposed, log_w, _chosen(x_0, one)[:, 0])

    def _twisted(
        self, x: Float[Tensor, "b P *n"], s: Float[Tensor, " b"], problem: Problem, prior: Prior
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x_0, the gradient of log p~(y | x), its value, and log p(y | x_0).

        The last two are up to a constant per lane.
        """
        rows, wide = x.flatten(0, 1), problem.repeated(self.particles)
        x_0, pullback = prior.vjp(rows, repeat(s, self.particles), once=True)
        near = wide.operator.linearise(x_0)
        r = torch.where(wide.measured, wide.y - near.a, 0)
        norm = problem.operator.norm(x_0.unflatten(0, x.shape[:2])[:, 0])
        noise = torch.as_tensor(problem.sigma_y).to(s).expand(len(s)) ** 2
        variance = noise + s**2 / (1 + s**2) * norm**2
        push = pullback(near.pull(r / per_lane(repeat(variance, self.particles), r)))
        misfit = dot(r, r).unflatten(0, x.shape[:2]) / 2
        x_0, push = (v.unflatten(0, x.shape[:2]) for v in (x_0, push))
        return x_0, push, -misfit / variance[:, None], -misfit / noise[:, None]

    def _resampled(
        self, log_w: Float[Tensor, "b P"], rng: Rng
    ) -> tuple[Int[Tensor, "b P"], Float[Tensor, "b P"]]:
        """The indices of the particles after resampling, and their log weights."""
        count = self.particles
        w = log_w.softmax(1)
        few = w.square().sum(1, keepdim=True) * count * self.threshold > 1
        place = torch.arange(count).to(w) + rng.rand_like(w[:, :1])  # one number per stratum
        index = torch.searchsorted(w.cumsum(1) * count, place).clamp(max=count - 1)
        same = torch.arange(count, device=index.device).expand_as(index)
        mean = torch.logsumexp(log_w, 1, keepdim=True)
        return torch.where(few, index, same), torch.where(few, mean, log_w)

    def estimate(self, state: Weighted) -> Float[Tensor, "b *n"]:
        return state.x_0

    def sample(self, state: Weighted, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """n particles, drawn by their weights, with repetition; of a run that has ended."""
        u = rng.rand_like(state.log_w.new_empty(len(state.log_w), n))
        return _chosen(state.x, _drawn(state.log_w, u))


def _chosen(v: Float[Tensor, "b P *n"], index: Int[Tensor, "b q"]) -> Float[Tensor, "b q *n"]:
    """The particles at these indices, per lane."""
    wide = index.view(*index.shape, *[1] * (v.ndim - 2)).expand(*index.shape, *v.shape[2:])
    return v.gather(1, wide)


def _drawn(log_w: Float[Tensor, "b P"], u: Float[Tensor, "b q"]) -> Int[Tensor, "b q"]:
    """Indices of particles, drawn according to their weights with uniform numbers u."""
    index = torch.searchsorted(log_w.softmax(1).cumsum(1), u)
    return index.clamp(max=log_w.shape[1] - 1)
