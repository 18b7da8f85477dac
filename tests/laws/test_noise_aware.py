"""Exact, for noise-aware RED-diff: against closed-form answers on Gaussian random fields."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import Gaussian, Keys, Poisson, Problem, UnknownGaussian, Unsupported, solve
from reddiff.lanes import norm
from reddiff.operators import (
    BlockMean,
    CircularBlur,
    LinearOperator,
    Mask,
    Matrix,
    Operator,
    gaussian_psf,
)
from reddiff.operators.base import Shape
from reddiff.priors import GaussianMixture, GaussianRandomField, Prior
from reddiff.priors.covariance import Covariance
from reddiff.random import DRAWING
from reddiff.solvers import NoiseAwareREDDiff, REDDiff

from .compare import assert_same

SIDE = 32
PRIOR = GaussianRandomField(exponent=-2.2, std=0.5)
SIGMAS = (0.01, 0.1, 0.4)
IDENTITY = Mask(torch.ones(1, dtype=zoo.F64))


def random_mask(kept: float) -> Mask:
    u = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=zoo.F64)
    return Mask((u < kept).double())


def box() -> Mask:
    mask = torch.ones(SIDE, SIDE, dtype=zoo.F64)
    mask[10:22, 10:22] = 0
    return Mask(mask)


CELLS: dict[str, LinearOperator] = {
    "mask": random_mask(0.3),
    "box": box(),
    "blur": CircularBlur(gaussian_psf(2.0, 6)),
    "sr": BlockMean(4),
}
every_cell = pytest.mark.parametrize("name", CELLS)
every_sigma = pytest.mark.parametrize("sigma", SIGMAS)


def fields(count: int = 4, side: int = SIDE) -> Tensor:
    like = torch.empty(count, 1, side, side, dtype=zoo.F64)
    return PRIOR.sample(like, Keys(0, tuple(range(count))).at(DRAWING))


def psnr(x: Tensor, truth: Tensor) -> float:
    """Of peak 2, the mean over lanes."""
    return float(10 * (4 / (x - truth).square().flatten(1).mean(1)).log10().mean())


def run(problem: Problem, steps: int = 50, realism: float = 0.0) -> Tensor:
    return solve(problem, PRIOR, NoiseAwareREDDiff.default(steps, realism=realism)).x


# ------------------------------------------------------------------------------ posterior mean


@every_sigma
@every_cell
def test_without_noise_of_its_own_it_is_the_posterior_mean(name, sigma, measure):
    truth = fields()
    problem = Problem.simulate(truth, CELLS[name], Gaussian(sigma))
    exact = psnr(PRIOR.posterior(problem).mean, truth)
    lost = exact - psnr(run(problem), truth)
    measure(f"{name}, sigma_y {sigma}: {exact:.2f} dB exact, {lost:.3f} dB lost")
    assert lost < 0.3


@pytest.mark.parametrize("sigma", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("realism", [0.0, 0.3, 0.6])
def test_denoising_is_one_evaluation_of_the_denoiser(sigma, realism):
    """The last level is sigma_y, and the denoiser is shown y itself."""
    problem = Problem.simulate(fields(3), IDENTITY, Gaussian(sigma))
    wanted = PRIOR(problem.y, sigma)
    torch.testing.assert_close(run(problem, 10, realism), wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_denoising_with_all_of_the_posterior_is_a_draw(sigma):
    """Realism 1 goes on below sigma_y: D(y, sigma_y) is the mean of such runs, not each of them."""
    problem = Problem.simulate(fields(2), IDENTITY, Gaussian(sigma))
    wanted = PRIOR(problem.y, sigma)
    x = solve(problem, PRIOR, NoiseAwareREDDiff.default(50, realism=1.0), runs=32).samples
    total = posterior_variance(problem)
    off = (x - wanted[:, None]).square().flatten(2).sum(2)
    assert (off / total - 1).mean().abs() < 0.15
    assert (off / total - 1).abs().max() < 0.5
    assert (norm(x.mean(1) - wanted) ** 2 < 1.5 * total / 32).all()


# Distance to the exact mean, relative to it; twice what was measured. At the lowest noise it is
# what 20 conjugate gradient steps leave.
COMPOSED: dict[str, tuple[LinearOperator, tuple[float, float, float]]] = {
    "mask of blur": (random_mask(0.7) @ CircularBlur(gaussian_psf(1.5)), (0.0124, 0.0016, 0.0028)),
    "mean of blur": (BlockMean(2) @ CircularBlur(gaussian_psf(1.5)), (0.0026, 0.0020, 0.0026)),
}


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", COMPOSED)
def test_without_a_spectral_form_it_is_near_the_posterior_mean(name, level, measure):
    operator, bounds = COMPOSED[name]
    problem = Problem.simulate(fields(), operator, Gaussian(SIGMAS[level]))
    exact = PRIOR.posterior(problem).mean
    error = float((norm(run(problem) - exact) / norm(exact)).max())
    start = float((norm(problem.initial_estimate() - exact) / norm(exact)).min())
    measure(f"{name}, sigma_y {SIGMAS[level]}: {error:.4f} of the exact mean, A^+ y {start:.2f}")
    assert error < bounds[level]
    assert error < start


# ----------------------------------------------------------------------------- scale and lanes


def _scalable(scale: float) -> dict[str, LinearOperator]:
    a = zoo.randn(20, 64, seed=3)
    psf = gaussian_psf(1.0, 2)
    return {
        "blur": CircularBlur(scale * psf),
        "composed": Mask(zoo.coin(8, 8, p=0.7)) @ CircularBlur(scale * psf),
        "matrix": Matrix(scale * a, shape=(1, 8, 8)),
    }


@pytest.mark.parametrize("realism", [0.0, 0.6])
@pytest.mark.parametrize("name", _scalable(1.0))
def test_units_of_y_do_not_matter(name, realism):
    x = fields(3, side=8)
    one, two = (
        Problem.simulate(x, _scalable(scale)[name], Gaussian(scale * 0.1)) for scale in (1.0, 2.0)
    )
    torch.testing.assert_close(two.y, 2 * one.y)
    assert_same(run(two, 20, realism), run(one, 20, realism), tol=1e-8)


@pytest.mark.parametrize("operator", [*CELLS.values(), COMPOSED["mask of blur"][0]])
def test_a_level_of_noise_per_lane(operator):
    sigma = torch.tensor([0.4, 0.0, 0.1], dtype=zoo.F64)
    problem = Problem.simulate(fields(3), operator, Gaussian(sigma))
    solver = NoiseAwareREDDiff.default(20)
    together = solve(problem, PRIOR, solver).x
    for i in range(3):
        one = Problem(problem.y[i : i + 1], operator, Gaussian(float(sigma[i])))
        assert_same(together[i : i + 1], solve(one, PRIOR, solver, ids=(i,)).x, tol=1e-9)


class Sharp(Prior):
    """A Gaussian prior that claims an error as small as one that is not Gaussian has."""

    def __init__(self) -> None:
        super().__init__(PRIOR.shape, PRIOR.sigma_min, PRIOR.sigma_max)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return PRIOR.denoise(x, sigma)

    def error_covariance(self, s: Tensor, like: Tensor) -> Covariance:
        return PRIOR.error_covariance(s, like).scaled(torch.where(s < 2, 0.6, 1.0).to(s))


@pytest.mark.parametrize("realism", [0.0, 0.3, 0.65, 1.0])
@pytest.mark.parametrize("operator", [*CELLS.values(), COMPOSED["mask of blur"][0]])
def test_a_prior_that_is_not_gaussian_keeps_lanes_apart_and_resumes(operator, realism):
    """The dual variable, the error of the prior and the noise are per lane, and kept."""
    sigma, prior = torch.tensor([0.4, 0.05, 0.1], dtype=zoo.F64), Sharp()
    problem = Problem.simulate(fields(3), operator, Gaussian(sigma))
    solver = NoiseAwareREDDiff.default(12, realism=realism)
    together = solve(problem, prior, solver).x
    for i in range(3):
        one = Problem(problem.y[i : i + 1], operator, Gaussian(float(sigma[i])))
        assert_same(together[i : i + 1], solve(one, prior, solver, ids=(i,)).x, tol=1e-9)
    for stop in (3, 9):
        half = solve(problem, prior, solver, stop_at=stop)
        assert torch.equal(solve(problem, prior, solver, resume=half.snapshot).x, together)
    if realism < 0.5:
        assert (together - solve(problem, PRIOR, solver).x).abs().max() > 0.01


@pytest.mark.parametrize("realism", [0.0, 0.6, 1.0])
@every_cell
def test_without_noise_it_reproduces_y(name, realism):
    """Far better than `LEAST_NOISE`, 0.004, beyond which y is not trusted."""
    problem = Problem.simulate(fields(), CELLS[name], Gaussian(0.0))
    residual = norm(problem.residual(run(problem, 50, realism))) / problem.count.sqrt()
    assert residual.max() < (2e-3 if name == "blur" else 1e-4)


# ------------------------------------------------------------------------ other noise, other A


def test_poisson_counts(measure):
    """Nearer to the truth than A^+ y, and as near to y as the truth is."""
    prior = GaussianRandomField(exponent=-2.2, std=0.2, mean=1.0)
    like = torch.empty(3, 1, SIDE, SIDE, dtype=zoo.F64)
    x = prior.sample(like, Keys(0, (0, 1, 2)).at(DRAWING)).clamp(min=0.05)
    problem = Problem.simulate(x, CELLS["blur"], Poisson(30.0))
    result = solve(problem, prior, NoiseAwareREDDiff.default(30))
    start = problem.initial_estimate()
    measure(f"Poisson: {psnr(start, x):.2f} dB to {psnr(result.x, x):.2f} dB")
    assert psnr(result.x, x) > psnr(start, x) + 3
    assert (problem.nll(result.x) < problem.nll(torch.ones_like(x))).all()
    assert (problem.residual_ratio(result.x) - 1).abs().max() < 0.1


def test_a_nonlinear_operator(measure):
    x = fields(3)
    problem = Problem.simulate(x, zoo.SoftClip(), Gaussian(0.1))
    got, start = run(problem, 30), problem.initial_estimate()
    measure(f"tanh(2 x): {psnr(start, x):.2f} dB to {psnr(got, x):.2f} dB")
    assert (problem.nll(got) < problem.nll(start)).all()
    assert psnr(got, x) > psnr(start, x) + 3
    assert (problem.residual_ratio(got) < 1.1).all()


# -------------------------------------------------------------------------- spread and restarts


def posterior_variance(problem: Problem) -> Tensor:
    """The trace of the exact posterior covariance, by dense matrices, of the first lane."""
    keep = problem.measured[0].flatten()
    unit = torch.eye(keep.numel(), dtype=zoo.F64)[keep].view(-1, *problem.y.shape[1:])
    rows = PRIOR.covariance(problem.operator.adjoint(unit))  # of A C
    s = problem.operator(rows).flatten(1)[:, keep]
    s = s + problem.noise.sigma**2 * torch.eye(len(s), dtype=zoo.F64)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(s), rows.flatten(1), upper=False)
    return PRIOR.std**2 * rows[0].numel() - half.square().sum()


@every_sigma
@pytest.mark.parametrize("name", ["blur", "sr"])
def test_realism_1_has_the_spread_of_the_posterior(name, sigma, measure):
    problem = Problem.simulate(fields(2), CELLS[name], Gaussian(sigma))
    solver = NoiseAwareREDDiff.default(50, realism=1.0)
    x = solve(problem, PRIOR, solver, runs=48).samples
    wanted = posterior_variance(problem)
    got = x.var(1).flatten(1).sum(1).mean() / wanted
    bias = (norm(x.mean(1) - PRIOR.posterior(problem).mean) ** 2).mean() / wanted
    measure(f"{name}, sigma_y {sigma}: {got:.3f} of the posterior's variance, bias^2 {bias:.3f}")
    assert abs(got - 1) < 0.15
    assert bias < 2 / 48 + 0.02  # twice what 48 draws have


class Square(Operator):
    """x^2: the sign is lost."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape


def two_modes() -> GaussianMixture:
    """Of magnitudes that differ in most coordinates, so that y = x^2 tells them apart."""
    means = [[1.0, -0.5, 1.0, -0.5, 1.0, -0.5], [-0.5, 1.0, 0.5, -1.0, -0.5, 1.0]]
    covs = 0.01 * torch.eye(6, dtype=zoo.F64).repeat(2, 1, 1)
    weights = torch.tensor([0.5, 0.5], dtype=zoo.F64)
    return GaussianMixture(weights, torch.tensor(means, dtype=zoo.F64), covs)


@pytest.mark.parametrize("mode", [0, 1])
def test_the_best_of_several_starts_explains_y(mode):
    prior = two_modes()
    truth = prior.means[mode] + 0.1 * zoo.randn(6, 6, seed=5)
    problem = Problem.simulate(truth, Square(), Gaussian(0.1))
    result = solve(problem, prior, NoiseAwareREDDiff.default(30), runs=8)
    assert torch.equal(problem.nll(result.best), result.data_term.amin(1))
    explained = torch.cdist(result.samples, prior.means).argmin(2) == mode
    assert explained.double().mean() < 0.85  # some starts end in the wrong mode
    nearest = torch.cdist(result.best, prior.means).argmin(1)
    assert (nearest == mode).all()
    assert (problem.residual_ratio(result.best) < 1.2).all()


# ---------------------------------------------------------------------------- unknown noise


UNKNOWN = {
    **CELLS,
    "denoise": IDENTITY,
    "masked blur": random_mask(0.7) @ CircularBlur(gaussian_psf(1.0)),
}


@pytest.mark.parametrize("name", ["denoise", "mask", "blur", "sr", "masked blur"])
def test_noise_of_unknown_level_is_found(name):
    operator = UNKNOWN[name]
    sigma = torch.tensor([0.6, 1.2, 2.4], dtype=zoo.F64)  # below, this prior is as rough as noise
    known = Problem.simulate(fields(3), operator, Gaussian(sigma))
    problem = replace(known, noise=UnknownGaussian())
    result = solve(problem, PRIOR)
    found = result.noise_level[:, 0] / sigma
    assert found.min() > 0.6
    assert found.max() < 1.35
    alone = solve(problem.select(torch.tensor([1])), PRIOR, ids=[1])
    torch.testing.assert_close(result.x[1:2], alone.x, atol=1e-9, rtol=0)
    half = solve(problem, PRIOR, stop_at=20)
    resumed = solve(problem, PRIOR, resume=half.snapshot)
    assert torch.equal(result.x, resumed.x)
    assert torch.equal(result.noise_level, resumed.noise_level)


def test_a_solver_that_needs_the_level_refuses_unknown_noise():
    y = torch.zeros(1, 1, SIDE, SIDE, dtype=zoo.F64)
    problem = Problem(y, UNKNOWN["denoise"], UnknownGaussian())
    with pytest.raises(Unsupported, match="known level"):
        solve(problem, PRIOR, REDDiff.paper(3))
