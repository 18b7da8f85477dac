"""RED-diff: variational inference with a diffusion regularizer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Adam

from reddiff.errors import require, require_count, require_nonnegative
from reddiff.lanes import dot, per_lane, repeat
from reddiff.optim import LrSchedule, MakeOptimizer, constant_lr, optimizers_of
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, constant, vp_within
from reddiff.solvers.base import Solver, StepCost, preset_for
from reddiff.solvers.gaussian_q import REDDiffState
from reddiff.solvers.inits import Init, pinv
from reddiff.solvers.orders import Order, descending
from reddiff.solvers.variants import ALGORITHM_1, RELEASED, Variant
from reddiff.solvers.weightings import Weighting, const, linear


def paper_adam(lr: float = 0.1) -> MakeOptimizer:
    """The optimizer of the paper."""
    return partial(Adam, lr=lr, betas=(0.9, 0.99))


ADAM = paper_adam()


@dataclass(frozen=True)
class REDDiff(Solver[REDDiffState]):
    r"""Fits :math:`q(x_0 \mid y) = N(\mu, \sigma_q^2 I)` to the posterior by optimization.

    .. math::
        \min_\mu \; E_q\, \tfrac{1}{2} \lVert y - A(x_0) \rVert^2 + \textstyle\sum_t \lambda_t \,
        \mathrm{sg}(\hat\varepsilon(x_t) - \varepsilon)^\top \mu, \qquad \lambda_t = \lambda\,w(s_t)

    With the linear weighting :math:`w(s) = s` the regularizer's gradient is
    :math:`\lambda (\mu - D(\mu + s\,\varepsilon, s))`. sigma_y does not appear: it is part of
    :math:`\lambda`, unless `nats` is set.

    Arguments:
        schedule: The noise levels; one optimizer step is made per level.
        optimizer: Builds any torch optimizer from a list of tensors, one per lane.
        lr_schedule: Maps the completed fraction of the run, in [0, 1), to a factor on the rate.
        weight: :math:`\lambda`, the weight of the regularizer relative to the data term, >= 0.
        weighting: :math:`w(s)`, from `solvers.weightings` or your own.
        order: The order of the levels, from `solvers.orders`.
        draws: Network evaluations averaged per optimizer step ("parallel" in the paper), each with
            its own noise and, if the order is random, its own level.
        sigma_q: The standard deviation of q, in units of x, >= 0; its initial value, if learned.
        learn_sigma_q: Whether to fit :math:`\log \sigma_q` as well, including the data term.
        start: The initial mu, from `solvers.inits`.
        nats: Whether the data term is the negative log-likelihood in nats, instead of half the
            squared residual.
        variant: Modifications that reproduce other methods, from `solvers.variants`.

    References:
        | A Variational Perspective on Solving Inverse Problems with Diffusion Models
        | (Mardani et al., 2023), Algorithm 1, https://arxiv.org/abs/2305.04391
        | With sigma_q > 0 (Section 3): :math:`x_t / \alpha = \mu + s \eta n` with
        | :math:`\eta^2 = 1 + \sigma_q^2 / s^2`. The gradient with respect to mu is
        | :math:`\lambda_t (\hat\varepsilon - n/\eta)`; that for :math:`\sigma_q` is its inner
        | product with :math:`n \sigma_q / (s \eta)`.

    Raises:
        InvalidArgument: If a number is out of range.
    """

    optimizer: MakeOptimizer = ADAM
    lr_schedule: LrSchedule = constant_lr
    weight: float = 0.25
    weighting: Weighting = linear
    order: Order = descending
    draws: int = 1
    sigma_q: float = 0.0
    learn_sigma_q: bool = False
    start: Init = pinv
    nats: bool = False
    variant: Variant = ALGORITHM_1

    def __post_init__(self) -> None:
        require_nonnegative("weight", self.weight)
        require_nonnegative("sigma_q", self.sigma_q)
        require_count("draws", self.draws)
        positive = self.sigma_q > 0 or not self.learn_sigma_q
        require(positive, "sigma_q", expected="a positive start to learn from", got=self.sigma_q)

    @classmethod
    def paper(
        cls,
        steps: int = 1000,
        prior: Prior | None = None,
        *,
        lr: float = 0.1,
        weight: float = 0.25,
        sigma_q: float = 0.0,
    ) -> REDDiff:
        r"""The released code: losses are means, Adam, the iterate before the last step.

        With sums, this is :math:`\lambda` = `weight` M / N and an eps of 1e-8 M in Adam.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            lr: 0.1 for super-resolution, 0.25 for inpainting (0.5 with 100 steps), 0.5 for
                deblurring, HDR and phase retrieval.
            weight: 0.25; 1 for noisy inpainting.
            sigma_q: 0; 1e-4 for noiseless inpainting.
        """
        levels, adam = vp_within(steps), paper_adam(lr)
        solver = cls(levels, adam, weight=weight, sigma_q=sigma_q, variant=RELEASED)
        return preset_for(prior, solver)

    @classmethod
    def red(cls, steps: int, sigma: float, *, weight: float, optimizer: MakeOptimizer) -> REDDiff:
        r"""RED by gradient steps, at one level and without noise.

        The regularizer has the gradient weight (mu - D(mu, sigma)): Romano, Elad & Milanfar (2017),
        Equation 37, https://arxiv.org/abs/1611.02862. `steps` is the number of optimizer steps.
        """
        levels, variant = constant(steps, sigma), Variant(noise_scale=0.0)
        return cls(levels, optimizer, weight=weight, variant=variant)

    @classmethod
    def sds(
        cls,
        schedule: Schedule,
        *,
        optimizer: MakeOptimizer,
        order: Order,
        data_weight: float = 0.0,
        weight: float = 1.0,
    ) -> REDDiff:
        r"""Score distillation sampling: :math:`w(s) = 1`, by default without y.

        DreamFusion (Poole et al., 2023), Equation 3, https://arxiv.org/abs/2209.14988, where levels
        are visited in random order.

        Arguments:
            schedule: The noise levels.
            optimizer: As for the class.
            order: As for the class.
            data_weight: The weight of half the squared residual; with 0, mu moves to a mode.
            weight: The weight of the distillation term.
        """
        variant = Variant(data_weight=data_weight)
        return cls(
            schedule, optimizer, weight=weight, weighting=const, order=order, variant=variant
        )

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        optimizers_of(self.optimizer, [problem.y.new_zeros(1).requires_grad_()])

    def needs_density(self) -> bool:
        return self.nats and self.variant.data_weight > 0

    @property
    def cost(self) -> StepCost:
        return StepCost(self.draws)

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> REDDiffState:
        return REDDiffState.start(self.start(problem, rng), self._learned)

    @property
    def _learned(self) -> float | None:
        return self.sigma_q if self.learn_sigma_q else None

    def step(
        self, state: REDDiffState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> REDDiffState:
        mu, sigma_q = state.mu, state.sigma_q(self.sigma_q)
        grad_mu, grad_sigma_q = self.grad(mu.x, sigma_q, problem, prior, k, rng)
        if self.variant.lag and mu.count + 1 == len(self.schedule):
            return state
        factor = self.lr_schedule(mu.count / len(self.schedule))
        return state.step(self.optimizer, grad_mu, sigma_q * grad_sigma_q, factor)

    def grad(
        self,
        mu: Float[Tensor, "b *n"],
        sigma_q: Float[Tensor, " b"],
        problem: Problem,
        prior: Prior,
        k: Int[Tensor, " b"],
        rng: Rng,
    ) -> tuple[Float[Tensor, "b *n"], Float[Tensor, " b"]]:
        """Stochastic gradients of the loss with respect to mu and sigma_q."""
        u = rng.rand_like(mu.new_empty(len(mu), self.draws, dtype=torch.float64))
        s = self.schedule.levels[self.order(k, len(self.schedule), u)]
        regularizer = self._regularizer(mu, sigma_q, prior, s, rng)
        data = self._data(mu, sigma_q, problem, rng)
        return self.variant.total(problem, data, regularizer)

    def _data(
        self, mu: Tensor, sigma_q: Tensor, problem: Problem, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        if self.variant.data_weight == 0:
            return torch.zeros_like(mu), torch.zeros_like(sigma_q)
        grad = problem.grad if self.nats else problem.misfit_grad
        if self.sigma_q == 0:
            return grad(mu), torch.zeros_like(sigma_q)
        z = rng.randn_like(mu)
        x_0 = mu + per_lane(sigma_q, mu) * z  # x_0 ~ q(x_0 | y)
        g = grad(x_0)
        return g, dot(z, g)

    def _regularizer(
        self, mu: Tensor, sigma_q: Tensor, prior: Prior, levels: Float[Tensor, "b j"], rng: Rng
    ) -> tuple[Tensor, Tensor]:
        b, j = levels.shape
        eps = rng.randn_like(mu.new_empty(b, j, *mu.shape[1:])).flatten(0, 1)
        eps = self.variant.noise_scale * eps  # eps ~ N(0, I)
        wide = repeat(mu, j)
        s = per_lane(levels.flatten(), wide)
        spread = per_lane(repeat(sigma_q, j), wide)
        eta = (1 + (spread / s) ** 2).sqrt()
        x_t = wide + s * eta * eps  # x_t = alpha_t x_0 + sigma_t eps, divided by alpha_t
        eps_hat = (x_t - prior(x_t, s)) / s
        g = self.weight * self.weighting(s) * (eps_hat - eps / eta)
        toward_sigma = dot(eps, g) * (spread / (s * eta)).flatten()
        return g.unflatten(0, (b, j)).mean(1), toward_sigma.view(b, j).mean(1)

    def estimate(self, state: REDDiffState) -> Float[Tensor, "b *n"]:
        return state.mu.x

    def sample(self, state: REDDiffState, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """Draws from q = N(mu, sigma_q^2 I)."""
        mu = self.estimate(state).unsqueeze(1)
        noise = rng.randn_like(mu.expand(-1, n, *mu.shape[2:]))
        return mu + per_lane(state.sigma_q(self.sigma_q), mu) * noise
