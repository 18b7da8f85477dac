from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam

from reddiff import Gaussian, InvalidArgument, Keys, Problem, Schedule, solve
from reddiff.operators import Matrix
from reddiff.optim import cosine_lr
from reddiff.priors import GaussianPrior
from reddiff.random import STARTING
from reddiff.schedules import karras, vp
from reddiff.solvers import REDDiff
from reddiff.solvers.inits import zeros
from reddiff.solvers.orders import ascending, random, stratified
from reddiff.solvers.variants import Variant
from reddiff.solvers.weightings import WEIGHTINGS, const, square
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SCHEDULE = karras(5, 0.05, 2.0)
IDS = (0, 1, 2)


def parts(solver: REDDiff, problem: Problem, prior, mu, k: int = 2, sigma_q=None, step: int = 9):
    """The gradients of one step, with noise that `noises` gives again."""
    sigma_q = mu.new_full((len(mu),), solver.sigma_q) if sigma_q is None else sigma_q
    index = torch.full((len(mu),), k)
    return solver.grad(mu, sigma_q, problem, prior, index, Keys(0, IDS).at(step))


def noises(solver: REDDiff, mu: torch.Tensor, step: int = 9):
    """The level draws, the network's noise and the data term's noise of `parts`."""
    rng = Keys(0, IDS).at(step)
    u = rng.rand_like(mu.new_empty(len(mu), solver.draws, dtype=torch.float64))
    eps = rng.randn_like(mu.new_empty(len(mu), solver.draws, *mu.shape[1:]))
    return u, eps, rng.randn_like(mu)


@pytest.fixture
def mu(problem) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(problem.y.shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("schedule", [SCHEDULE, vp(5)], ids=["edm", "vp"])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_gradient_is_that_of_the_papers_loss(problem, prior, mu, name, schedule):
    w, weight, k = WEIGHTINGS[name], 0.7, 2
    solver = REDDiff(schedule, weight=weight, weighting=w)
    _, eps, _ = noises(solver, mu)
    alpha, sigma = schedule.alpha[k], schedule.sigma[k]
    x_t = alpha * mu + sigma * eps[:, 0]
    eps_hat = (x_t - alpha * prior(x_t, sigma, alpha)) / sigma
    leaf = mu.clone().requires_grad_()
    regularizer = weight * w(sigma / alpha) * ((eps_hat - eps[:, 0]) * leaf).sum()
    (expected,) = torch.autograd.grad(problem.misfit(leaf).sum() + regularizer, leaf)
    torch.testing.assert_close(parts(solver, problem, prior, mu)[0], expected)


def test_with_the_linear_weight_the_regularizer_is_the_denoiser_residual(problem, prior, mu):
    solver = REDDiff(SCHEDULE, weight=0.3, variant=Variant(data_weight=0.0))
    s = SCHEDULE.levels[2]
    _, eps, _ = noises(solver, mu)
    expected = 0.3 * (mu - prior(mu + s * eps[:, 0], s))
    torch.testing.assert_close(parts(solver, problem, prior, mu)[0], expected)


def test_red_is_one_level_without_noise(problem, prior, mu):
    solver = REDDiff.red(4, 0.2, weight=0.5, optimizer=partial(SGD, lr=0.1))
    expected = problem.misfit_grad(mu) + 0.5 * (mu - prior(mu, 0.2))
    for k in range(4):
        torch.testing.assert_close(parts(solver, problem, prior, mu, k)[0], expected)


def test_score_distillation_does_not_look_at_the_data(problem, prior, mu):
    solver = REDDiff.sds(SCHEDULE, optimizer=partial(SGD, lr=0.1), order=random)
    grad = parts(solver, problem, prior, mu)[0]
    other = Problem(torch.zeros_like(problem.y), problem.operator, Gaussian(9.0))
    assert torch.equal(parts(solver, other, prior, mu)[0], grad)
    assert solver.weighting is const
    assert solver.weight == 1


@pytest.mark.parametrize("order", [ascending, random])
def test_several_draws_are_averaged_each_at_a_level_of_its_own(problem, prior, mu, order):
    solver = REDDiff(
        SCHEDULE, draws=3, order=order, weighting=square, variant=Variant(data_weight=0.0)
    )
    u, eps, _ = noises(solver, mu)
    levels = SCHEDULE.levels[order(torch.full((3,), 2), len(SCHEDULE), u)]
    each = []
    for j in range(3):
        s = levels[:, j].view(3, 1, 1, 1)
        x_t = mu + s * eps[:, j]
        each.append(0.25 * s**2 * ((x_t - prior(x_t, s)) / s - eps[:, j]))
    expected = torch.stack(each).mean(0)
    torch.testing.assert_close(parts(solver, problem, prior, mu)[0], expected)
    assert (len(levels.unique()) > 1) == (order is random)


def test_in_nats_the_data_term_is_the_likelihood(problem, prior, mu):
    solver = REDDiff(SCHEDULE, weight=0.0, nats=True)
    torch.testing.assert_close(parts(solver, problem, prior, mu)[0], problem.grad(mu))
    half = replace(solver, variant=Variant(data_weight=0.5))
    torch.testing.assert_close(parts(half, problem, prior, mu)[0], 0.5 * problem.grad(mu))


def test_means_are_sums_over_their_numbers_of_entries(problem, prior, mu):
    data, regularizer = (
        parts(REDDiff(SCHEDULE, weight=w, variant=Variant(data_weight=d)), problem, prior, mu)[0]
        for w, d in ((0.0, 1.0), (0.4, 0.0))
    )
    got = parts(REDDiff(SCHEDULE, weight=0.4, variant=Variant(means=True)), problem, prior, mu)[0]
    m, n = int(problem.count[0]), mu[0].numel()
    assert m < n
    torch.testing.assert_close(got, data / m + regularizer / n)


@pytest.mark.parametrize("means", [False, True])
def test_the_gradients_of_a_spread_are_those_of_autograd(problem, prior, mu, means):
    """In mu and sigma_q, with x_0 ~ q in the data term and x_t ~ q_t in the regularizer."""
    solver = REDDiff(
        SCHEDULE, sigma_q=0.3, learn_sigma_q=True, variant=Variant(means=means), weighting=square
    )
    spread = torch.tensor([0.3, 0.1, 2.0], dtype=torch.float64)
    _, eps, z = noises(solver, mu)
    eps, s = eps[:, 0], SCHEDULE.levels[2]
    leaf, leaf_q = mu.clone().requires_grad_(), spread.clone().requires_grad_()
    sigma_q = leaf_q.view(-1, 1, 1, 1)
    data = problem.misfit(leaf + sigma_q * z)
    eta = (1 + (sigma_q / s) ** 2).sqrt()
    x_t = leaf + s * eta * eps
    with torch.no_grad():
        eps_hat = (x_t - prior(x_t, s)) / s
        score_gap = eps_hat - eps / eta
    regularizer = 0.25 * s**2 * (score_gap * x_t).flatten(1).sum(1)
    m, n = (problem.count, mu[0].numel()) if means else (1, 1)
    loss = (data / m + regularizer / n).sum()
    expected = torch.autograd.grad(loss, (leaf, leaf_q))
    got = parts(solver, problem, prior, mu, sigma_q=spread)
    torch.testing.assert_close(got, expected)


def test_the_learned_spread_moves_by_its_logarithm(problem, prior):
    solver = REDDiff(SCHEDULE, partial(SGD, lr=1e-3), sigma_q=0.3, learn_sigma_q=True)
    state = solver.init(problem, prior, Keys(0, IDS).at(STARTING))
    mu = state.mu.x
    sigma_q = torch.full((3,), 0.3, dtype=torch.float64)
    grad = parts(solver, problem, prior, mu, k=0, sigma_q=sigma_q, step=0)[1]
    new = solver.step(state, problem, prior, torch.zeros(3).long(), Keys(0, IDS).at(0))
    expected = sigma_q.log() - 1e-3 * sigma_q * grad
    torch.testing.assert_close(new.log_sigma_q.x[:, 0], expected)


def test_the_paper_preset_is_the_released_loop(problem, prior):
    """Written out with torch alone, one image at a time."""
    steps, seed = 12, 4
    got = solve(problem, prior, REDDiff.paper(steps), seed=seed)
    beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    abar = torch.cumprod(1 - beta, 0)
    times = torch.linspace(999, 0, steps).round().long()
    mask = problem.measured
    for lane in range(3):
        mu = problem.y[lane].clone().requires_grad_()
        optimizer = Adam([mu], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0)
        for k, t in enumerate(times):
            before = mu.detach().clone()
            rng = Keys(seed, (lane,)).at(k)
            rng.rand_like(torch.empty(1, 1, dtype=torch.float64))
            eps = rng.randn_like(mu.detach()[None, None])[0, 0]
            alpha, sigma = abar[t].sqrt(), (1 - abar[t]).sqrt()
            x_t = alpha * mu.detach() + sigma * eps
            x_0 = prior(x_t[None], sigma, alpha)[0]
            eps_hat = (x_t - alpha * x_0) / sigma
            data = ((problem.y[lane] - mu)[mask[lane]] ** 2).mean() / 2
            regularizer = ((eps_hat - eps) * mu).mean() * sigma / alpha
            optimizer.zero_grad()
            (data + 0.25 * regularizer).backward()
            optimizer.step()
        torch.testing.assert_close(got.x[lane], before, rtol=1e-9, atol=1e-9)


def test_the_paper_preset_in_sums(problem, prior):
    """Lambda M / N and Adam's eps times M, as its docstring says."""
    paper = REDDiff.paper(12)
    m, n = int(problem.count[0]), problem.y[0].numel()
    optimizer = partial(Adam, lr=0.1, betas=(0.9, 0.99), eps=1e-8 * m)
    sums = REDDiff(paper.schedule, optimizer, weight=0.25 * m / n, variant=Variant(lag=True))
    expected = solve(problem, prior, paper).x
    torch.testing.assert_close(solve(problem, prior, sums).x, expected, rtol=1e-9, atol=1e-9)


def test_the_paper_preset_can_be_cut_to_a_range():
    schedule = REDDiff.paper(20, prior=within(0.01, 0.8)).schedule
    assert len(schedule) == 20
    assert 0.01 <= schedule.levels[-2] < schedule.levels[0] <= 0.8
    assert len(REDDiff.paper().schedule) == 1000


def test_lag_returns_the_iterate_before_the_last_step(problem, prior):
    plain = REDDiff(SCHEDULE)
    lagging = solve(problem, prior, replace(plain, variant=Variant(lag=True)))
    assert torch.equal(lagging.x, solve(problem, prior, plain, stop_at=len(SCHEDULE) - 1).x)


def test_the_learning_rate_follows_its_schedule(problem, prior):
    solver = REDDiff(SCHEDULE, partial(SGD, lr=0.1), lr_schedule=cosine_lr, start=zeros)
    state = solver.init(problem, prior, Keys(0, IDS).at(STARTING))
    for k in range(3):
        mu = state.mu.x
        grad = parts(solver, problem, prior, mu, k=k, step=k)[0]
        state = solver.step(state, problem, prior, torch.full((3,), k), Keys(0, IDS).at(k))
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * k / len(SCHEDULE)))
        torch.testing.assert_close(state.mu.x, mu - rate * grad)


@pytest.mark.parametrize("learn", [False, True])
def test_samples_of_q_have_its_mean_and_spread(problem, prior, learn):
    solver = REDDiff(SCHEDULE, sigma_q=0.3, learn_sigma_q=learn)
    state = solver.init(problem, prior, Keys(0, IDS).at(STARTING))
    draws = solver.sample(state, 2000, Keys(0, IDS).at(0))
    assert draws.shape == (3, 2000, 2, 6, 6)
    torch.testing.assert_close(draws.mean(1), state.mu.x, atol=0.05, rtol=0)
    spread = draws.std(1)
    torch.testing.assert_close(spread, torch.full_like(spread, 0.3), rtol=0.1, atol=0)
    point = replace(solver, sigma_q=0.0, learn_sigma_q=False)
    state = point.init(problem, prior, Keys(0, IDS).at(STARTING))
    draws = point.sample(state, 2, Keys(0, IDS).at(0))
    assert torch.equal(draws, state.mu.x[:, None].expand_as(draws))


def test_levels_may_be_repeated(problem, prior):
    flat = Schedule(torch.ones(4), torch.full((4,), 0.2))
    assert torch.isfinite(solve(problem, prior, REDDiff(flat)).x).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, r"weight: expected a finite value >= 0, got -1.0"),
        ({"weight": math.nan}, r"weight: expected a finite value >= 0, got nan"),
        ({"sigma_q": math.inf}, r"sigma_q: expected a finite value >= 0, got inf"),
        ({"draws": 0}, r"draws: expected an integer of at least 1, got 0"),
        ({"learn_sigma_q": True}, r"sigma_q: expected a positive start to learn from, got 0.0"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(InvalidArgument, match=message):
        REDDiff(SCHEDULE, **options)


@pytest.mark.parametrize("name", ["noise_scale", "data_weight"])
def test_variants_out_of_range(name):
    with pytest.raises(InvalidArgument, match=f"{name}: expected a finite value >= 0, got -0.1"):
        Variant(**{name: -0.1})


def test_draws_is_an_integer():
    with pytest.raises(
        InvalidArgument, match=r"draws: expected an integer of at least 1, got 1\.5"
    ):
        REDDiff(SCHEDULE, draws=1.5)


@pytest.mark.parametrize("data_weight", [0.0, 0.6])
def test_score_distillation_with_data_rests_at_its_closed_form(data_weight):
    """d A^T (A mu - y) + lambda E_t[s / (c + s^2)] (mu - m) = 0, for a prior N(m, diag(c))."""
    c, m = torch.tensor([0.1, 0.5, 1.0, 3.0]).double(), torch.tensor([0.5, -1.0, 0.2, 1.0]).double()
    a = torch.tensor([[1.0, 0.5, 0.0, -0.2], [0.0, 1.0, 1.0, 0.3]]).double()
    problem = Problem(torch.tensor([[0.7, -0.9]]).double(), Matrix(a), Gaussian(0.1))
    schedule = karras(40, 0.05, 5.0)
    solver = REDDiff.sds(
        schedule.subsample(40),
        optimizer=partial(SGD, lr=0.1),
        order=stratified,
        data_weight=data_weight,
        weight=1.4,
    )
    levels = Schedule(*(v[:-1].repeat_interleave(15) for v in (schedule.alpha, schedule.sigma)))
    solver = replace(solver, schedule=levels, draws=400, lr_schedule=cosine_lr, start=zeros)
    s = schedule.levels[:-1, None]
    pull = 1.4 * (s / (c + s**2)).mean(0)
    h = data_weight * a.mT @ a + pull.diag()
    rest = torch.linalg.solve(h, data_weight * problem.y[0] @ a + pull * m)
    got = solve(problem, GaussianPrior(m, c.diag()), solver).x[0]
    torch.testing.assert_close(got, rest, rtol=0, atol=0.02)
    assert (rest - (m if data_weight else 0)).norm() > 0.3
