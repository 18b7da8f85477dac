from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adafactor, Adam

from reddiff import Gaussian, InvalidArgument, Keys, Problem, draw, solve
from reddiff.operators import Matrix
from reddiff.priors import GaussianMixture
from reddiff.random import STARTING
from reddiff.schedules import karras, vp
from reddiff.solvers import RSD, REDDiff
from reddiff.solvers.inits import noise
from reddiff.solvers.orders import random
from reddiff.solvers.variants import RELEASED, Variant
from reddiff.solvers.weightings import square

pytestmark = pytest.mark.usefixtures("untyped")

SCHEDULE = karras(5, 0.05, 2.0)
F64 = torch.float64


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def embed(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x.flatten(1) @ randn(x[0].numel(), 3, seed=44).to(x) / 4)


@pytest.mark.parametrize("features", [None, embed])
@pytest.mark.parametrize("schedule", [vp(6), SCHEDULE])
def test_a_step_by_scores_in_vp_variables(problem, prior, schedule, features):
    """alpha_t, sigma_t, scores: RED-diff's eps minus -sigma_t times the score of the kernels."""
    count, k, weight, gamma, rate = 3, 2, 0.7, 1.3, 0.05
    solver = RSD(
        schedule,
        partial(SGD, lr=rate),
        weight=weight,
        weighting=square,
        start=noise,
        particles=count,
        gamma=gamma,
        features=features,
    )
    state = solver.init(problem, prior, Keys(0, (0, 1, 2)).at(STARTING))
    new = solver.step(state, problem, prior, torch.full((3,), k), Keys(0, (0, 1, 2)).at(k))
    s = schedule.levels[k]
    alpha, sigma = 1 / (1 + s**2).sqrt(), s / (1 + s**2).sqrt()
    f = (lambda x: x.flatten(1)) if features is None else features
    rng = Keys(0, (0, 1, 2)).at(k)
    rng.rand_like(torch.empty(3, count, 1, dtype=F64))
    eps = rng.randn_like(torch.empty(3, count, 1, *problem.x_shape, dtype=F64))[:, :, 0]
    for lane in range(3):
        mu = solver.sample(state, count, Keys(0, (0, 1, 2)).at(0))[lane]
        pairs = [(i, j) for i in range(count) for j in range(i)]

        def spread(v, pairs=pairs):
            return sorted(float(((v[i] - v[j]) ** 2).sum()) for i, j in pairs)[1] / math.log(4)

        h, h_x = spread(f(mu)), spread(mu.flatten(1))
        for i in range(count):
            x_t = alpha * mu[i] + sigma * eps[lane, i]
            eps_hat = (x_t - alpha * prior(x_t[None], sigma, alpha)[0]) / sigma
            leaf = (alpha * mu[i]).requires_grad_()
            gaps = ((f(leaf[None] / alpha) - f(mu)) ** 2).sum(1)
            kernels = torch.exp(-gaps / (h + 2 * (sigma / alpha) ** 2 * h / h_x))
            (score,) = torch.autograd.grad(kernels.sum().log(), leaf)
            gap = eps_hat - eps[lane, i] + gamma * sigma * score
            data = problem.misfit_grad(mu[i].expand(3, -1, -1, -1))[lane]
            grad = data + weight * (sigma / alpha) ** 2 * gap
            got = new.mu.x.unflatten(0, (3, count))[lane, i]
            torch.testing.assert_close(got, mu[i] - rate * grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": partial(Adafactor, lr=0.1), "start": noise, "variant": Variant(lag=True)},
        {"draws": 2, "order": random, "sigma_q": 0.2, "learn_sigma_q": True, "variant": RELEASED},
    ],
)
def test_one_particle_is_reddiff(problem, prior, settings):
    plain = REDDiff(SCHEDULE, **settings)
    alone = RSD(SCHEDULE, particles=1, gamma=7.0, **settings)
    assert torch.equal(solve(problem, prior, alone).x, solve(problem, prior, plain).x)


def test_the_estimate_is_the_mean_of_the_particles(problem, prior):
    solver = RSD(SCHEDULE, particles=3)
    result = solve(problem, prior, solver)
    particles = draw(result, solver, 3)[:, 0]
    torch.testing.assert_close(result.x, particles.mean(1))
    torch.testing.assert_close(draw(result, solver, 2)[:, 0], particles[:, :2])
    assert result.cost.evaluations == (15,) * 3
    assert (particles[:, 0] - particles[:, 1]).abs().max() > 1e-3


def test_samples_have_the_spread_of_their_particle(problem, prior):
    solver = RSD(SCHEDULE, particles=2, sigma_q=0.3)
    point = replace(solver, sigma_q=0.0)
    state = solver.init(problem, prior, Keys(0, (0, 1, 2)).at(STARTING))
    one, mean = (s.sample(state, 2, Keys(0, (0, 1, 2)).at(0)) for s in (solver, point))
    assert float((one - mean).std()) == pytest.approx(0.3, rel=0.1)


# Two modes at -1 and 1 of the coordinate that nothing measures.
MODES = GaussianMixture(
    torch.ones(2, dtype=F64),
    torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]], dtype=F64),
    0.05 * torch.eye(4, dtype=F64).expand(2, 4, 4),
)
TWO = Problem.simulate(0.2 * randn(40, 4), Matrix(torch.eye(4, dtype=F64)[1:]), Gaussian(0.1))


def spread_out(**settings) -> torch.Tensor:
    """The unmeasured coordinate of every particle, `(lanes, particles)`."""
    adam = partial(Adam, lr=0.1, betas=(0.9, 0.99))
    solver = RSD(vp(50), adam, weight=1.0, **settings)
    result = solve(TWO, MODES, solver)
    assert float(result.residual_ratio.mean()) < 1.2
    return draw(result, solver, solver.particles)[:, 0, :, 0]


@pytest.mark.parametrize("particles", [2, 4])
def test_particles_cover_both_modes(particles):
    alone, together = (
        ((x > 0.3).any(1) & (x < -0.3).any(1)).double().mean()
        for x in (spread_out(particles=particles, gamma=g) for g in (0.0, 2.0))
    )
    assert together > 0.97
    assert alone < (0.7 if particles == 2 else 0.95)


def test_particles_stand_at_the_modes():
    x = spread_out(particles=2, gamma=2.0)
    assert ((x.abs() - 1).abs() < 0.5).double().mean() > 0.9


@pytest.mark.slow
def test_diversity_grows_with_gamma():
    spreads = [float(spread_out(particles=2, gamma=g).std(1).mean()) for g in (0.0, 0.5, 1.0)]
    assert spreads[0] * 1.1 < spreads[1] < spreads[2] / 1.1


def first(x: torch.Tensor) -> torch.Tensor:
    return x[:, :1]


def test_features_say_what_shall_differ():
    """Of a coordinate that they do not see, the particles are free."""
    wide, free = (
        float(spread_out(particles=2, gamma=1.0, features=f).std(1).mean())
        for f in (first, lambda x: x[:, 1:])
    )
    assert wide > 1.3 * free


@pytest.mark.parametrize("features", [None, embed, lambda x: 0 * x])
def test_particles_that_coincide_do_not_repel(problem, prior, features):
    mu = randn(3, 1, 2, 6, 6).expand(-1, 2, -1, -1, -1).flatten(0, 1)
    solver = RSD(SCHEDULE, particles=2, features=features)
    push = solver._repulsion(mu, torch.full((6, 1), 0.3, dtype=F64))
    torch.testing.assert_close(push, torch.zeros_like(mu))


def test_two_particles_push_each_other_with_equal_force():
    mu = randn(2, 2, 5).flatten(0, 1)
    push = RSD(SCHEDULE, particles=2)._repulsion(mu, torch.full((4, 1), 0.3, dtype=F64))
    one, other = push.view(2, 2, 5).unbind(1)
    torch.testing.assert_close(one, -other)
    apart = (mu.view(2, 2, 5)[:, 0] - mu.view(2, 2, 5)[:, 1]) * one
    assert (apart.sum(1) < -1e-3).all()  # a gradient is descended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1.0}, r"gamma: expected a finite value >= 0, got -1.0"),
        ({"gamma": math.nan}, r"gamma: expected a finite value >= 0, got nan"),
        ({"particles": 0}, r"particles: expected an integer of at least 1, got 0"),
        ({"weight": -1.0}, r"weight: expected"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(InvalidArgument, match=message):
        RSD(SCHEDULE, **options)


def test_more_samples_than_particles(problem, prior):
    solver = RSD(SCHEDULE, particles=3)
    with pytest.raises(InvalidArgument, match=r"n: expected at most 3 particles, got 4"):
        draw(solve(problem, prior, solver), solver, 4)


@pytest.mark.parametrize("features", [torch.zeros_like, lambda x: x.detach()])
def test_features_without_a_gradient(problem, prior, features):
    with pytest.raises(InvalidArgument, match=r"features: expected a differentiable function"):
        solve(problem, prior, RSD(SCHEDULE, features=features))
