"""Exact: the priors with a closed form, and RED-diff, against answers computed independently.

What is compared with is plain numpy on dense matrices (or a grid), and for the preset `paper` a
transcription of the loss in autograd; of the library only the noise and the operators' matrices
are used for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.optim import LBFGS, SGD, Adafactor, Adam, AdamW, NAdam, RMSprop

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, Keys, Problem, solve
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Mask, Matrix
from reddiff.optim import MakeOptimizer, cosine_lr
from reddiff.priors import GaussianMixture, GaussianPrior, GaussianRandomField, Prior
from reddiff.priors.gaussian import GaussianBase
from reddiff.schedules import Schedule, vp
from reddiff.solvers import REDDiff, inits, orders
from reddiff.solvers.variants import Variant
from reddiff.solvers.weightings import WEIGHTINGS

Array = np.ndarray
Measure = Callable[[str], None]


def array(x: Tensor) -> Array:
    return x.detach().cpu().double().numpy()


def columns(operator: Callable[[Tensor], Tensor], like: Tensor) -> Array:
    """A linear function as one matrix per lane, `(b, m, n)`."""
    n = like[0].numel()
    eye = torch.eye(n, dtype=like.dtype, device=like.device).view(n, 1, *like.shape[1:])
    return np.stack([array(operator(e.expand_as(like)).flatten(1)) for e in eye], 2)


# ---------------------------------------------------------------------- the priors: denoisers


def field_covariance(case: zoo.PriorCase, h: int, w: int) -> Array:
    """The covariance of one channel from the definition of the spectrum."""
    field = case.build()
    assert isinstance(field, GaussianRandomField)
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
    f = np.sqrt(fy**2 + fx**2)
    f[0, 0] = 1 / max(h, w)
    power = f**field.exponent
    power *= field.std**2 / power.mean()
    auto = np.fft.ifft2(power).real
    i, j = (g.ravel() for g in np.mgrid[:h, :w])
    return auto[(i[:, None] - i) % h, (j[:, None] - j) % w]


def moments(case: zoo.PriorCase) -> tuple[Array, Array, Array]:
    """Weights `(K,)`, means `(K, n)` and covariances `(K, n, n)` of the prior."""
    prior = case.build()
    if isinstance(prior, GaussianMixture):
        return array(prior.weights), array(prior.means), array(prior.covs)
    if isinstance(prior, GaussianRandomField):
        c, h, w = case.x_shape
        covs = np.kron(np.eye(c), field_covariance(case, h, w))[None]
        return np.ones(1), np.full((1, c * h * w), float(prior.mean)), covs
    if case.name == "gaussian-semidefinite":
        root = array(zoo.randn(6, 4, seed=22))
        return np.ones(1), array(zoo.randn(1, 6, seed=23)), (root @ root.T)[None]
    return np.ones(1), array(zoo.randn(1, 6, seed=20)), array(zoo.spd(6, seed=21))[None]


EXACT = {
    "gaussian",
    "gaussian-semidefinite",
    "field-odd",
    "field-even",
    "mixture",
    "mixture-diagonal",
}


@zoo.every("case", zoo.PRIORS, lambda case: case.name in EXACT)
def test_tweedie(case: zoo.PriorCase, device: torch.device) -> None:
    """D(x, s) = x + s^2 grad log p_s(x), with the density written out by torch.distributions."""
    weights, means, covs = (torch.from_numpy(v) for v in moments(case))
    n = means.shape[1]
    for s in case.levels:
        noisy = covs + s**2 * torch.eye(n, dtype=zoo.F64)
        density = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, noisy))
        x = (zoo.randn(3, n, seed=2) * (0.5 + s)).requires_grad_()
        (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
        wanted = x.detach() + s**2 * score
        at = x.detach().view(3, *case.x_shape).to(device)
        assert_same(case.make(device)(at, s).flatten(1).cpu(), wanted, tol=1e-9)


# --------------------------------------------------------------------- the priors: posteriors


@dataclass(frozen=True)
class Answer:
    """A posterior per lane: weights `(b, K)`, means `(b, K, n)`, covariances `(b, K, n, n)`."""

    weights: Array
    means: Array
    covs: Array

    @property
    def mean(self) -> Array:
        return np.einsum("bk,bki->bi", self.weights, self.means)

    @property
    def cov(self) -> Array:
        d = self.means - self.mean[:, None]
        second = self.covs + np.einsum("bki,bkj->bkij", d, d)
        return np.einsum("bk,bkij->bij", self.weights, second)


def bayes(case: zoo.PriorCase, problem: Problem, sigmas: Array) -> Answer:
    """Bayes' rule on dense matrices, one lane and one component at a time."""
    weights, means, covs = moments(case)
    like = torch.zeros(len(problem), *case.x_shape, dtype=zoo.F64, device=problem.y.device)
    a_all = columns(problem.operator, like)
    lanes = []
    for a, y, seen, sigma in zip(
        a_all,
        array(problem.y.flatten(1)),
        array(problem.measured.flatten(1)) > 0,
        sigmas,
        strict=True,
    ):
        a, y = a[seen], y[seen]
        log_w, mu, cov = [], [], []
        for w, m, c in zip(weights, means, covs, strict=True):
            s = a @ c @ a.T + sigma**2 * np.eye(len(y))
            gain = np.linalg.solve(s, a @ c).T
            log_w.append(np.log(w) + scipy.stats.multivariate_normal.logpdf(y, a @ m, s))
            mu.append(m + gain @ (y - a @ m))
            cov.append(c - gain @ a @ c)
        w = np.exp(np.array(log_w) - max(log_w))
        lanes.append((w / w.sum(), np.array(mu), np.array(cov)))
    return Answer(*(np.stack(v) for v in zip(*lanes, strict=True)))


def measurements(shape: tuple[int, ...]) -> dict[str, Callable[[int], LinearOperator]]:
    """Operators to pose problems with, shared and per lane."""
    if len(shape) == 1:
        n = shape[0]
        return {
            "matrix": lambda b: Matrix(zoo.randn(b, 3, n, seed=50), per_lane=True),
            "mask": lambda b: Mask(zoo.coin(b, n, p=0.5, seed=51), per_lane=True),
        }
    c, h, w = shape
    psf = zoo.randn(3, 1, 1, seed=52) * torch.ones(3, 3, dtype=zoo.F64)
    psf = psf + zoo.randn(3, 3, 3, seed=53)
    cases: dict[str, Callable[[int], LinearOperator]] = {
        "mask": lambda b: Mask(zoo.coin(b, h, w, p=0.4, seed=51), per_lane=True),
        "matrix": lambda b: Matrix(zoo.randn(4, c * h * w, seed=50), shape=shape),
    }
    if min(h, w) >= 3:
        cases["blur"] = lambda b: CircularBlur(psf[:b], per_lane=True)
    if h % 2 == w % 2 == 0:
        cases["sr"] = lambda b: BlockMean(2)
    return cases


def pose(case: zoo.PriorCase, name: str, device: torch.device) -> tuple[Problem, Prior, Array]:
    sigmas = torch.tensor([0.05, 0.3, 1.0], dtype=zoo.F64)
    prior = case.make(device)
    assert isinstance(prior, GaussianBase | GaussianMixture)
    like = torch.empty(3, *case.x_shape, dtype=zoo.F64, device=device)
    x = prior.sample(like, Keys(9, (0, 1, 2)).at(0))
    operator = measurements(case.x_shape)[name](3).to(device)
    return Problem.simulate(x, operator, Gaussian(sigmas.to(device))), prior, sigmas.numpy()


POSED = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in zoo.PRIORS
    if case.name in EXACT
    for name in measurements(case.x_shape)
]


@pytest.mark.parametrize(("case", "name"), POSED)
def test_posterior(case: zoo.PriorCase, name: str, device: torch.device) -> None:
    """Mean and covariance against dense linear algebra."""
    problem, prior, sigmas = pose(case, name, device)
    assert isinstance(prior, GaussianBase | GaussianMixture)
    answer, posterior = bayes(case, problem, sigmas), prior.posterior(problem)
    np.testing.assert_allclose(array(posterior.mean.flatten(1)), answer.mean, atol=1e-8)
    for seed in range(6):  # as many as the dense priors have entries, so for them it is all of it
        v = zoo.randn(3, *case.x_shape, seed=seed)
        wanted = np.einsum("bij,bj->bi", answer.cov, array(v.flatten(1)))
        got = array(posterior.covariance(v.to(device)).flatten(1))
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize(("case", "name"), POSED)
def test_posterior_samples(case: zoo.PriorCase, name: str, device: torch.device) -> None:
    """Draws: mean and covariance within five standard errors, entry by entry."""
    problem, prior, sigmas = pose(case, name, device)
    assert isinstance(prior, GaussianBase | GaussianMixture)
    answer, n = bayes(case, problem, sigmas), 1000
    draws = array(prior.posterior(problem).sample(n, seed=4).flatten(2))
    assert draws.shape == (3, n, answer.mean.shape[1])
    var = np.einsum("bii->bi", answer.cov)
    error = draws.mean(1) - answer.mean
    assert (np.abs(error) < 5.5 * np.sqrt(var / n) + 1e-9).all()
    d = draws - answer.mean[:, None]
    products = d[..., :, None] * d[..., None, :] if d.shape[2] < 20 else d[..., None] ** 2
    wanted = answer.cov if d.shape[2] < 20 else var[..., None]
    spread = products.std(1) / math.sqrt(n)
    assert (np.abs(products.mean(1) - wanted) < 5.5 * spread + 1e-9).all()
    first, second = array(prior.posterior(problem).sample(2, seed=5).flatten(2)).swapaxes(0, 1)
    assert (np.abs(first - second).max(1) > 1e-3).all()


def test_mixture_on_a_grid(device: torch.device) -> None:
    """In two dimensions, against integrals of prior times likelihood over a grid."""
    means = torch.tensor([[-1.0, 0.5], [1.2, -0.3], [0.2, 1.5]], dtype=zoo.F64)
    covs = torch.stack([0.3 * zoo.spd(2, seed=s) for s in (60, 61, 62)])
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=zoo.F64)
    a, sigma = torch.tensor([[0.8, -1.1]], dtype=zoo.F64), 0.4
    y = torch.tensor([[0.3], [-1.2]], dtype=zoo.F64)
    prior = GaussianMixture(weights, means, covs).to(device)
    problem = Problem(y.to(device), Matrix(a).to(device), Gaussian(sigma))
    posterior = prior.posterior(problem)

    line = np.linspace(-7, 7, 561)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    p = sum(
        w * scipy.stats.multivariate_normal(m, c).pdf(grid)
        for w, m, c in zip(array(weights), array(means), array(covs), strict=True)
    )
    draws = array(posterior.sample(4000, seed=1))
    for lane in range(2):
        mass = p * np.exp(-((float(y[lane, 0]) - grid @ array(a)[0]) ** 2) / (2 * sigma**2))
        mass /= mass.sum()
        mean = mass @ grid
        cov = (grid - mean).T @ ((grid - mean) * mass[:, None])
        np.testing.assert_allclose(array(posterior.mean)[lane], mean, atol=1e-9)
        got = columns(posterior.covariance, torch.zeros(2, 2, dtype=zoo.F64, device=device))
        np.testing.assert_allclose(got[lane], cov, atol=1e-9)
        # The distribution function along three directions, not the moments alone.
        for direction in ([1.0, 0.0], [0.0, 1.0], [0.8, 0.6]):
            along = grid @ direction
            for cut in np.quantile(draws[lane] @ direction, [0.1, 0.3, 0.5, 0.7, 0.9]):
                share = (draws[lane] @ direction <= cut).mean()
                assert abs(share - mass[along <= cut].sum()) < 5 * 0.5 / math.sqrt(4000)


def test_prior_samples(device: torch.device) -> None:
    """What a prior draws has its mean and covariance."""
    for case in zoo.PRIORS:
        if case.name not in EXACT:
            continue
        prior = case.make(device)
        assert isinstance(prior, GaussianBase | GaussianMixture)
        n = 4000
        like = torch.empty(n, *case.x_shape, dtype=zoo.F64, device=device)
        x = array(prior.sample(like, Keys(1, tuple(range(n))).at(0)).flatten(1))
        weights, means, covs = moments(case)
        one = Answer(weights[None], means[None], covs[None])
        sd = np.sqrt(np.diag(one.cov[0]))
        assert (np.abs(x.mean(0) - one.mean[0]) < 5.5 * sd / math.sqrt(n) + 1e-9).all()
        assert np.abs(np.cov(x.T) - one.cov[0]).max() < 8 * (sd**2).max() / math.sqrt(n)


# --------------------------------------------------- RED-diff: where it comes to rest, and when


WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda s: s,
    "sqrt": lambda s: np.sqrt(s),
    "square": lambda s: s * s,
    "log": lambda s: np.log(1 + s),
    "trunc_linear": lambda s: np.minimum(s, 1),
    "power2over3": lambda s: np.cbrt(s) ** 2,
    "const": lambda s: np.ones_like(s),
}
LEVELS = vp(40)  # of 1000: a sum over levels either way
SIGMA_Y = 0.3


@dataclass(frozen=True)
class Toy:
    """A Gaussian problem of six unknowns and four measurements, dense."""

    m: Array
    c: Array  # eigenvalues of the covariance
    q: Array  # and eigenvectors
    a: Array
    y: Array  # (b, 4)

    @classmethod
    def make(cls, lanes: int = 1) -> Toy:
        a = array(zoo.randn(4, 6, seed=70))
        m, cov = array(zoo.randn(6, seed=20)), array(zoo.spd(6, seed=21))
        rng = np.random.default_rng(71)
        x = rng.multivariate_normal(m, cov, lanes)
        y = x @ a.T + SIGMA_Y * rng.standard_normal((lanes, 4))
        c, q = np.linalg.eigh(cov)
        return cls(m, c, q, a, y)

    def problem(self, device: torch.device) -> tuple[Problem, Prior]:
        """The same, for the library."""
        operator = Matrix(torch.from_numpy(self.a)).to(device)
        y = torch.from_numpy(self.y).to(device)
        return Problem(y, operator, Gaussian(SIGMA_Y)), zoo.gaussian().to(device)

    def rest(self, pull: Array, precision: float = 1.0) -> Array:
        """The root of A^T (A mu - y) precision + Q diag(pull) Q^T (mu - m), `(b, 6)`."""
        h = self.q @ np.diag(pull) @ self.q.T
        right = precision * self.y @ self.a + h @ self.m
        return np.linalg.solve(precision * self.a.T @ self.a + h, right.T).T

    def posterior_mean(self) -> Array:
        """The posterior mean, where the pull of the prior is its precision."""
        return self.rest(1 / self.c, 1 / SIGMA_Y**2)

    def pull(self, solver: REDDiff, name: str) -> Array:
        """lambda E_t[w(s) s / (c + s^2)]; losses of means stand for lambda M / N."""
        s = array(solver.schedule.levels[:-1])[:, None]
        lam = solver.weight * (4 / 6 if solver.variant.means else 1)
        return lam * (WEIGHTS[name](s) * s / (self.c + s**2)).mean(0)


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).mean()))


def settle(
    solver: REDDiff, toy: Toy, device: torch.device, name: str = "linear", *, tol: float
) -> None:
    """Run, and end at the stationary point, which is far from the posterior mean."""
    problem, prior = toy.problem(device)
    x = array(solve(problem, prior, solver, seed=3).x)
    precision = 1 / SIGMA_Y**2 if solver.nats else 1.0
    rest = toy.rest(toy.pull(solver, name), precision)
    gap = rms(rest - toy.posterior_mean())
    assert rms(array(problem.initial_estimate()) - rest) > 3 * tol * gap  # it did not start there
    assert rms(x - rest) < tol * gap


ADAM = partial(Adam, lr=0.02)
SETTLED: dict[str, MakeOptimizer] = {
    "adam": ADAM,
    "sgd": partial(SGD, lr=0.05, momentum=0.9),
    "adamw": partial(AdamW, lr=0.02, weight_decay=0.0),
    "rmsprop": partial(RMSprop, lr=0.02),
    "nadam": partial(NAdam, lr=0.02),
    "adafactor": partial(Adafactor, lr=0.05),
}

# weighting -> the distance from the stationary point, in the distances of that from the posterior
# mean, that a run of 400 steps of 1000 draws may end at. The noise of the gradient explains it: it
# is largest where the low levels weigh most. At least 2.5 times what four seeds show.
SETTLES = {
    "linear": 0.025,
    "sqrt": 0.05,
    "square": 0.01,
    "log": 0.05,
    "trunc_linear": 0.1,
    "power2over3": 0.04,
    "const": 0.15,
}


def quick(names: Iterable[str], *chosen: str) -> list[Any]:
    """All names as parameters, those not chosen among the slow tests."""
    slow = pytest.mark.slow
    return [pytest.param(name, marks=[] if name in chosen else [slow]) for name in names]


def settling(steps: int = 400, **settings: Any) -> REDDiff:
    """A decaying step, levels drawn at random, many of them per step."""
    schedule = Schedule(
        torch.cat([LEVELS.alpha[:-1].repeat_interleave(steps // 40), LEVELS.alpha[-1:]]),
        torch.cat([LEVELS.sigma[:-1].repeat_interleave(steps // 40), LEVELS.sigma[-1:]]),
    )
    common: dict[str, Any] = {
        "optimizer": ADAM,
        "weight": 1.0,
        "order": orders.stratified,
        "draws": 1000,
        "lr_schedule": cosine_lr,
    }
    return REDDiff(schedule, **(common | settings))


@pytest.mark.parametrize("name", quick(WEIGHTS, "linear", "sqrt"))
def test_rest_weighting(name: str, device: torch.device) -> None:
    settle(settling(weighting=WEIGHTINGS[name]), Toy.make(2), device, name, tol=SETTLES[name])


@pytest.mark.parametrize("optimizer", quick([n for n in SETTLED if n != "adam"], "sgd", "adamw"))
def test_rest_optimizer(optimizer: str, device: torch.device) -> None:
    settle(settling(optimizer=SETTLED[optimizer]), Toy.make(2), device, tol=0.04)


def test_rest_lbfgs(device: torch.device) -> None:
    """Without noise, at one level: its curvature is a difference of gradients.

    Gradients with fresh noise each differ by their noise more than by the step, and where LBFGS
    then goes depends on the last bit.
    """
    toy = Toy.make(2)
    problem, prior = toy.problem(device)
    optimizer = partial(LBFGS, lr=1.0, max_iter=1, history_size=5, tolerance_change=0.0)
    solver = REDDiff.red(100, 0.4, weight=1.0, optimizer=optimizer)
    rest = toy.rest(toy.pull(solver, "linear"))
    x = array(solve(problem, prior, solver).x)
    assert rms(x - rest) < 1e-4 * rms(array(problem.initial_estimate()) - rest)


@pytest.mark.parametrize(
    ("settings", "tol"),
    [
        pytest.param({"order": orders.random}, 0.04, id="random"),
        pytest.param({"nats": True, "weight": 12.0}, 0.04, id="nats"),
        pytest.param({"weight": 0.25}, 0.04, id="weight"),
        pytest.param({"variant": Variant(means=True)}, 0.04, id="means"),
        pytest.param({"sigma_q": 0.1, "optimizer": SETTLED["sgd"]}, 0.1, id="sigma-q"),
    ],
)
def test_rest_variants(settings: dict[str, Any], tol: float, device: torch.device) -> None:
    """nats, means and lambda move the point as they should; a fixed spread does not."""
    settle(settling(draws=2000, **settings), Toy.make(2), device, tol=tol)


@pytest.mark.parametrize("name", WEIGHTS)
def test_mean_gradient_prior(name: str, device: torch.device) -> None:
    """The regularizer's mean gradients, in mu and in sigma_q, anywhere; to 5 standard errors."""
    solver = REDDiff(
        LEVELS,
        weighting=WEIGHTINGS[name],
        weight=0.7,
        order=orders.stratified,
        draws=400,
        sigma_q=0.4,
        variant=Variant(data_weight=0.0),
    )
    toy, q = Toy.make(1), 0.4
    h = toy.q @ np.diag(toy.pull(solver, name)) @ toy.q.T
    wanted_q = q * prior_slope(toy, solver, name, q)
    check_mean_gradient(solver, toy, q, h @ (0.3 - toy.m), wanted_q, device, lanes=400)


@pytest.mark.parametrize("nats", [False, True])
def test_mean_gradient_data(nats: bool, device: torch.device) -> None:
    """The same of the data term."""
    solver = REDDiff(LEVELS, weight=0.0, nats=nats, sigma_q=0.4)
    toy, q, precision = Toy.make(1), 0.4, 1 / SIGMA_Y**2 if nats else 1.0
    wanted_mu = precision * toy.a.T @ (toy.a @ np.full(6, 0.3) - toy.y[0])
    wanted_q = q * precision * np.trace(toy.a.T @ toy.a)
    check_mean_gradient(solver, toy, q, wanted_mu, wanted_q, device, lanes=8000)


def check_mean_gradient(
    solver: REDDiff,
    toy: Toy,
    q: float,
    wanted_mu: Array,
    wanted_q: float,
    device: torch.device,
    *,
    lanes: int,
) -> None:
    """At mu = .3, over lanes that are the same but for their noise."""
    one, prior = toy.problem(device)
    k = torch.zeros(lanes, dtype=torch.long, device=device)
    mu = torch.full((lanes, 6), 0.3, dtype=zoo.F64, device=device)
    rng = Keys(2, tuple(range(lanes))).at(0)
    both = solver.to(device).grad(mu, mu.new_full((lanes,), q), one.select(k), prior, k, rng)
    for got, wanted in zip(map(array, both), (wanted_mu, wanted_q), strict=True):
        error = np.abs(got.mean(0) - wanted)
        assert (error < 5 * got.std(0) / math.sqrt(lanes)).all()
        assert error.max() < 0.1 * np.abs(wanted).max()


def prior_slope(toy: Toy, solver: REDDiff, name: str, q: float) -> float:
    """The derivative of the regularizer in sigma_q at sigma_q = q, over q.

    With x_t / alpha = mu + s eta n, <n, eps_hat> has the mean s^2 eta sum 1/(c + s^2) and
    <n, n> / eta the mean d / eta; both times lambda_t sigma_q / (s eta).
    """
    s = array(solver.schedule.levels[:-1])
    each = (1 / (toy.c + s[:, None] ** 2)).sum(1) - 6 / (q**2 + s**2)
    return float(solver.weight * (WEIGHTS[name](s) * s * each).mean())


def test_rest_is_not_the_posterior_mean(measure: Measure) -> None:
    """How far apart they are, in rms over entries; std of the posterior beside it."""
    toy = Toy.make(64)
    mean = toy.posterior_mean()
    std = posterior_std(toy)
    for name, wanted in REST.items():
        solver = REDDiff(vp(1000), weighting=WEIGHTINGS[name])
        gap = rms(toy.rest(toy.pull(solver, name)) - mean)
        measure(f"stationary point - posterior mean, {name}, rms {gap:.3f} (posterior {std:.3f})")
        assert gap == pytest.approx(wanted, rel=0.02)


def posterior_std(toy: Toy) -> float:
    """The root mean posterior variance."""
    precision = toy.a.T @ toy.a / SIGMA_Y**2 + toy.q @ np.diag(1 / toy.c) @ toy.q.T
    return float(np.sqrt(np.diag(np.linalg.inv(precision)).mean()))


# weighting -> rms distance from the posterior mean: of the stationary point, and of the result of
# the descending order (1000 steps of Adam at .1, lambda .25) for the default and the two extremes.
# The posterior's own std is .62, and A^+ y is .72 away.
REST = {
    "linear": 0.349,
    "sqrt": 0.257,
    "square": 0.779,
    "log": 0.267,
    "trunc_linear": 0.222,
    "power2over3": 0.285,
    "const": 0.185,
}
DESCENDING = {
    "linear": 0.233,
    "square": 0.174,
    "const": 0.387,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCENDING)
def test_descending(name: str, device: torch.device, measure: Measure) -> None:
    """The paper's order ends somewhere else again: by simulation."""
    gap = descend(Toy.make(64), name, device)
    measure(f"descending order - posterior mean, {name}, rms {gap:.3f}")
    assert gap == pytest.approx(DESCENDING[name], rel=0.1)


def descend(toy: Toy, name: str, device: torch.device) -> float:
    """The distance at which the defaults end."""
    problem, prior = toy.problem(device)
    x = array(solve(problem, prior, REDDiff(vp(1000), weighting=WEIGHTINGS[name]), seed=3).x)
    return rms(x - toy.posterior_mean())


@pytest.mark.slow
@pytest.mark.parametrize("nats", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_learned_spread(nats: bool, device: torch.device) -> None:
    """sigma_q where the gradient of the KL divergence, data term included, is zero."""
    toy = Toy.make(12)
    solver = settling(
        1000,
        optimizer=partial(Adam, lr=0.01),
        draws=200,
        sigma_q=0.2,
        learn_sigma_q=True,
        nats=nats,
        weight=250.0 if nats else 25.0,
    )
    precision = 1 / SIGMA_Y**2 if nats else 1.0
    trace = precision * np.trace(toy.a.T @ toy.a)
    wanted = scipy.optimize.brentq(
        lambda q: trace + prior_slope(toy, solver, "linear", q), 1e-3, 10
    )
    assert abs(math.log(wanted / 0.2)) > 0.4  # it did not start there
    problem, prior = toy.problem(device)
    result = solve(problem, prior, solver, seed=3)
    state = solver.load(result.snapshot.tree["state"])
    assert state.log_sigma_q is not None
    got = array(state.log_sigma_q.x[:, 0].exp())
    assert abs(np.log(got / wanted).mean()) < 0.06  # one lane varies by .05: four standard errors
    np.testing.assert_allclose(got, wanted, rtol=0.3)
    rest = toy.rest(toy.pull(solver, "linear"), precision)
    assert rms(array(result.x) - rest) < 0.03 * rms(rest - toy.posterior_mean())
    draws = array(solver.sample(state, 4000, Keys(0, (*range(12),)).at(0)))
    np.testing.assert_allclose(draws.std(1).mean(1), got, rtol=0.03)
    np.testing.assert_allclose(draws.mean(1), array(result.x), atol=6 * wanted / math.sqrt(4000))


# -------------------------------------------------------------- RED-diff: the released recipe


@dataclass(frozen=True)
class Task:
    """A task: its operator here, and the same written anew for one image `(1, c, h, w)`."""

    operator: Callable[[], LinearOperator]
    forward: Callable[[Tensor], Tensor]  # only what is measured, flat
    kept: Callable[[Tensor], Tensor]  # of the library's y, flat
    steps: int = 60


MASK = zoo.coin(1, 4, 6, p=0.4, seed=80)[0]
PSF = zoo.randn(3, 3, seed=81)
A = zoo.randn(7, 24, seed=82)


def _convolve(x: Tensor) -> Tensor:
    wide = F.pad(x, (1, 1, 1, 1), mode="circular")
    return F.conv2d(wide, PSF.flip(0, 1).to(x)[None, None]).flatten()


TASKS = {
    "mask": Task(
        lambda: Mask(MASK),
        lambda x: x[..., MASK.to(x.device) > 0].flatten(),
        lambda y: y[..., MASK.to(y.device) > 0].flatten(),
    ),
    "blur": Task(lambda: CircularBlur(PSF), _convolve, lambda y: y.flatten()),
    "sr": Task(lambda: BlockMean(2), lambda x: F.avg_pool2d(x, 2).flatten(), Tensor.flatten),
    "matrix": Task(
        lambda: Matrix(A, shape=(1, 4, 6)), lambda x: A.to(x) @ x.flatten(), Tensor.flatten, 400
    ),
}


def transcription(
    y: Tensor,
    forward: Callable[[Tensor], Tensor],
    mu: Tensor,
    eps_network: Callable[[Tensor, int], Tensor],
    noise: list[Tensor],
    lr: float,
    lam: float,
) -> Tensor:
    """The released recipe for one image, by autograd."""
    steps = len(noise)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), 0)
    mu = mu.clone().requires_grad_()
    optimizer = torch.optim.Adam([mu], lr=lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=0)
    before = mu.detach().clone()
    for k in range(steps):
        t = 999 - round(k * 999 / (steps - 1))
        sqrt_abar, sqrt_rest = abar[t].sqrt().item(), (1 - abar[t]).sqrt().item()
        with torch.no_grad():
            x_t = sqrt_abar * mu + sqrt_rest * noise[k]
            eps_hat = eps_network(x_t, t)
        loss = ((y - forward(mu)) ** 2).mean() / 2
        loss = loss + lam * sqrt_rest / sqrt_abar * ((eps_hat - noise[k]).detach() * mu).mean()
        optimizer.zero_grad()
        loss.backward()
        before = mu.detach().clone()
        optimizer.step()
    return before


@pytest.mark.parametrize("form", ["means", "sums"])
@pytest.mark.parametrize("name", TASKS)
def test_paper(name: str, form: str, device: torch.device) -> None:
    """`REDDiff.paper`, fed the same noise, lane by lane; and its conversion to sums."""
    task, ids, shape, lr, lam = TASKS[name], (4, 1), (1, 4, 6), 0.25, 0.7
    mean, cov = zoo.randn(*shape, seed=83), zoo.spd(24, seed=84)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=zoo.F64), 0)

    def eps_network(x_t: Tensor, t: int) -> Tensor:
        """-sigma times the score of N(sqrt(abar) m, abar C + (1 - abar) I)."""
        spread = abar[t] * cov + (1 - abar[t]) * torch.eye(24, dtype=zoo.F64)
        off = (x_t.cpu() - abar[t].sqrt() * mean).flatten()
        score = -torch.linalg.solve(spread, off)
        return (-(1 - abar[t]).sqrt() * score).view_as(x_t).to(x_t)

    x = 0.7 * zoo.randn(2, *shape, seed=85).to(device)
    problem = Problem.simulate(x, task.operator().to(device), Gaussian(0.2))
    solver = REDDiff.paper(task.steps, lr=lr, weight=lam)
    count = task.kept(problem.y[:1]).numel()
    if form == "sums":
        adam = partial(Adam, lr=lr, betas=(0.9, 0.99), eps=1e-8 * count)
        solver = replace(solver, variant=Variant(lag=True), weight=lam * count / 24, optimizer=adam)
    prior = GaussianPrior(mean, cov).to(device)
    got = solve(problem, prior, solver, seed=6, ids=ids).x

    like = torch.empty(2, 1, *shape, dtype=zoo.F64, device=device)
    noise = []
    for k in range(task.steps):
        rng = Keys(6, ids).at(k)
        rng.rand_like(like)  # the draw of the levels, which the descending order ignores
        noise.append(rng.randn_like(like)[:, 0])
    guess = problem.initial_estimate()
    for i in range(2):
        wanted = transcription(
            task.kept(problem.y[i : i + 1]),
            task.forward,
            guess[i : i + 1],
            eps_network,
            [n[i : i + 1] for n in noise],
            lr,
            lam,
        )
        assert_same(got[i], wanted[0], tol=1e-9)
        assert (got[i] - guess[i]).abs().max() > 0.01


def test_paper_settings() -> None:
    """The numbers of the released recipe."""
    solver = REDDiff.paper()
    assert len(solver.schedule) == 1000
    assert (solver.weight, solver.sigma_q, solver.draws) == (0.25, 0.0, 1)
    assert solver.variant.means
    assert solver.variant.lag
    assert not solver.nats
    group = solver.optimizer([torch.zeros(1)]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.1, (0.9, 0.99), 1e-8)
    assert group["weight_decay"] == 0


def test_special_cases(device: torch.device) -> None:
    """RED: the regularizer's gradient is weight (mu - D(mu, s)). SDS: the data do not matter."""
    toy = Toy.make(2)
    problem, prior = toy.problem(device)
    red = REDDiff.red(300, 0.4, weight=1.3, optimizer=partial(SGD, lr=0.1, momentum=0.9))
    mu = problem.initial_estimate()
    rng = Keys(0, (0, 1)).at(0)
    k = torch.zeros(2, dtype=torch.long, device=device)
    got, _ = red.to(device).grad(mu, mu.new_zeros(2), problem, prior, k, rng)
    assert_same(got, problem.misfit_grad(mu) + 1.3 * (mu - prior(mu, 0.4)))
    h = (
        toy.q @ np.diag(1.3 * 0.4**2 / (toy.c + 0.4**2)) @ toy.q.T
    )  # mu - D = s^2/(c + s^2) (mu - m)
    wanted = np.linalg.solve(toy.a.T @ toy.a + h, (toy.y @ toy.a + h @ toy.m).T).T
    np.testing.assert_allclose(array(solve(problem, prior, red).x), wanted, atol=1e-6)
    sds = REDDiff.sds(LEVELS, optimizer=ADAM, order=orders.random)
    other = replace(problem, y=problem.y + 1)
    start = {"start": inits.zeros}
    one, two = (solve(p, prior, replace(sds, **start)).x for p in (problem, other))
    assert torch.equal(one, two)
    got, _ = sds.to(device).grad(mu, mu.new_zeros(2), problem, prior, k, Keys(0, (0, 1)).at(0))
    rng = Keys(0, (0, 1)).at(0)
    u = rng.rand_like(mu.new_empty(2, 1))
    n = rng.randn_like(mu.new_empty(2, 1, 6))[:, 0]
    alpha, sigma = (v[:, None].to(mu) for v in LEVELS((u[:, 0].cpu() * 40).long()))
    x_t = alpha * mu + sigma * n
    assert_same(got, (x_t - alpha * prior(x_t, sigma, alpha)) / sigma - n)
