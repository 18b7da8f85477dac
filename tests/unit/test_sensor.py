"""Rounded and clipped noise: probabilities far in the tails, slopes, draws and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

import zoo
from reddiff import Clipped, Gaussian, InvalidArgument, Keys, Problem, Rounded, solve
from reddiff.noise import Stacked
from reddiff.operators import Mask
from reddiff.priors import GaussianRandomField
from reddiff.random import DRAWING
from reddiff.run.goodness_of_fit import fit
from reddiff.solvers import NoiseAwareREDDiff

F64 = torch.float64
PER_LANE = torch.tensor([0.3, 2.0], dtype=F64)
EACH = 0.1 + zoo.randn(1, 40, seed=4).abs()
NOISES = {
    "rounded": Rounded(1.0, 0.3),
    "rounded-wide": Rounded(1.0, 0.02, origin=0.25),
    "rounded-fine": Rounded(1e-3, 0.4),
    "rounded-per-lane": Rounded(PER_LANE, 0.1 * PER_LANE),
    "rounded-each": Rounded(EACH, 0.2),
    "clipped": Clipped(0.3),
    "clipped-above": Clipped(PER_LANE, -math.inf, 0.5),
}
every = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)


def drawn(noise, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Some a, and a y each."""
    a = spread * zoo.randn(2, 40, seed=1)
    return noise.sample(a, Keys(0, (0, 1)).at(0)), a


def row(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=F64)


@pytest.mark.parametrize("off", [0.0, 0.2, 0.5, 0.7, 3.0])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 5.0])
def test_rounded_is_the_probability_of_a_step(off, sigma):
    y, a = row(2.0), row(2.0 - off)
    upper, lower = (0.5 + off) / sigma, (off - 0.5) / sigma
    wanted = stats.norm.logsf(lower) + math.log1p(
        -math.exp(stats.norm.logsf(upper) - stats.norm.logsf(lower))
    )
    got = Rounded(1.0, sigma).nll_each(y, a)
    np.testing.assert_allclose(got, -wanted, rtol=1e-9, atol=1e-14)
    if sigma > 0.1 and off < 1:
        p = integrate.quad(stats.norm.pdf, lower, upper)[0]
        np.testing.assert_allclose(got, -math.log(p), rtol=1e-9)


def test_clipped_is_the_censored_normal_of_scipy():
    y, a = row(-1.0, 0.3, 1.0, 1.0), row(-0.5, 0.1, 0.2, 4.0)
    law = stats.norm(a.numpy(), 0.3)
    wanted = [-law.logcdf(-1), -law.logpdf(y), -law.logsf(1), -law.logsf(1)]
    wanted = [w[0, i] for i, w in enumerate(wanted)]
    np.testing.assert_allclose(Clipped(0.3).nll_each(y, a)[0], wanted, rtol=1e-12)


def test_far_in_the_tails_all_is_finite_and_as_of_a_parabola():
    """Log-probabilities of -1e9 and less, where all of Phi is zero."""
    off = row(1e2, 1e4, 1e5)
    noise, y = Rounded(1.0, 1.0), torch.zeros_like(off)
    for sign in (1, -1):
        np.testing.assert_allclose(noise.nll_each(y, sign * off), (off - 0.5) ** 2 / 2, rtol=2e-3)
        np.testing.assert_allclose(noise.grad_each(y, sign * off), sign * (off - 0.5), rtol=1e-3)
        np.testing.assert_allclose(noise.curvature(y, sign * off), 1, atol=1e-3)
    high, short = Clipped(1.0, high=0.0), row(-1e2, -1e4, -1e6)
    np.testing.assert_allclose(high.nll_each(y, short), short**2 / 2, rtol=2e-3)
    np.testing.assert_allclose(high.grad_each(y, short), short, rtol=1e-3)
    np.testing.assert_allclose(high.curvature(y, short), 1, atol=1e-3)
    beyond = row(5.0, 1e2, 1e6)
    assert (high.nll_each(y, beyond) < 1e-6).all()
    assert (high.curvature(y, beyond) < 1e-4).all()
    assert (high.curvature(y.float(), beyond.float()) >= 0).all()


def test_many_fine_steps_are_gaussian():
    y, a = zoo.randn(2, 40, seed=1), zoo.randn(2, 40, seed=2)
    fine, wanted = Rounded(1e-4, 0.3), Gaussian(0.3)
    nll = fine.nll_each(y, a) + math.log(1e-4)
    torch.testing.assert_close(nll, wanted.nll_each(y, a), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fine.grad_each(y, a), wanted.grad_each(y, a), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fine.curvature(y, a), wanted.curvature(y, a), rtol=1e-4, atol=0)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
@every
def test_slope_and_curvature_are_derivatives(noise, spread):
    y, _ = drawn(noise)
    a = (y + spread * zoo.randn(2, 40, seed=2)).requires_grad_()
    (slope,) = torch.autograd.grad(noise.nll_each(y, a).sum(), a)
    usable = torch.isfinite(slope)  # autograd's own are not, of a probability of zero
    assert usable.double().mean() > 0.3
    a = a.detach()
    torch.testing.assert_close(noise.grad_each(y, a)[usable], slope[usable], rtol=1e-6, atol=1e-6)
    h = 1e-5
    difference = (noise.grad_each(y, a + h) - noise.grad_each(y, a - h)) / (2 * h)
    curvature = noise.curvature(y, a)
    largest = float(curvature.max()) + 1
    torch.testing.assert_close(curvature, difference, rtol=1e-4, atol=1e-6 * largest)
    assert (curvature >= 0).all()
    assert torch.isfinite(curvature).all()
    assert torch.isfinite(noise.grad_each(y, a)).all()


@every
def test_draws_have_the_probabilities_that_nll_says(noise):
    """In the mean over draws -log p is least at a, its slope zero, and squared, its curvature."""
    a = torch.linspace(-1, 1, 40, dtype=F64).repeat(400).expand(2, -1)
    y = torch.cat([noise.sample(v, Keys(i, (0, 1)).at(0)) for i, v in enumerate(a.split(40, 1))], 1)
    if noise.step is EACH if isinstance(noise, Rounded) else False:
        noise = Rounded(EACH.repeat(1, 400), 0.2)
    at, down, up = (noise.nll_each(y, a + d).mean(1) for d in (0, -0.2, 0.2))
    assert (at < torch.minimum(down, up)).all()
    score = noise.grad_each(y, a)
    size = noise.curvature(y, a).mean(1).sqrt()  # Fisher information, twice
    assert (score.mean(1).abs() < 5 * size / math.sqrt(a.shape[1])).all()
    torch.testing.assert_close(score.square().mean(1).sqrt(), size, rtol=0.1, atol=0)


def test_rounded_draws_are_on_the_grid_and_clipped_ones_within_limits():
    y, a = drawn(Rounded(0.5, 0.1, origin=0.2), spread=3)
    steps = (y - 0.2) / 0.5
    torch.testing.assert_close(steps, steps.round())
    assert ((y - a).abs() < 0.25 + 0.1 * 5).all()
    np.testing.assert_allclose((y - a).std(), Rounded(0.5, 0.1).std(a)[0, 0], rtol=0.2)
    y, _ = drawn(Clipped(0.1, -0.7, 0.4))
    assert float(y.min()) == -0.7
    assert float(y.max()) == 0.4


def test_a_limit_that_a_meets_leaves_no_residual():
    noise = Clipped(0.1)
    y, a = row(1, 1, -1, -1, 0.5), row(3, 0.8, -2, -0.5, 0.9)
    torch.testing.assert_close(noise.residual(y, a), row(0, 0.2, 0, -0.5, -0.4))
    problem = Problem(y, Mask(torch.ones(5, dtype=F64)), noise)
    torch.testing.assert_close(problem.misfit(a), torch.tensor([0.225], dtype=F64))
    torch.testing.assert_close(problem.misfit_grad(a), -noise.residual(y, a))
    torch.testing.assert_close(problem.standardised(a), 10 * noise.residual(y, a))
    both = Stacked((noise, Gaussian(1.0)), ((2,), (3,)))
    torch.testing.assert_close(both.residual(y, a), row(0, 0.2, 1, -0.5, -0.4))
    assert both.censored
    assert fit(problem, a).pairs == 0


@every
def test_select_dtype_and_lanes(noise):
    y, a = drawn(noise)
    index = torch.tensor([1, 0, 1])
    chosen = noise.select(index)
    torch.testing.assert_close(chosen.nll_each(y[index], a[index]), noise.nll_each(y, a)[index])
    torch.testing.assert_close(chosen.std(a[index]), noise.std(a)[index])
    noise.check(y)
    for name in ("std", "sample"):
        argument = () if name == "std" else (Keys(0, (0, 1)).at(0),)
        assert getattr(noise, name)(a.float(), *argument).dtype == torch.float32
    for value in (noise.nll_each, noise.grad_each, noise.curvature, noise.residual):
        got = value(y.float(), a.float())
        assert got.dtype == torch.float32
        assert got.shape == a.shape


@given(width=st.floats(1e-3, 1e4), off=st.floats(0, 1e3), sigma=st.floats(1e-3, 1e3))
def test_rounded_is_convex_with_its_least_value_at_y(width, off, sigma):
    noise = Rounded(width * sigma, sigma)
    y, a = row(0.0, 0.0), sigma * row(off, -off)
    nll, slope, curvature = (f(y, a) for f in (noise.nll_each, noise.grad_each, noise.curvature))
    assert torch.isfinite(nll).all()
    torch.testing.assert_close(nll[0, 0], nll[0, 1])
    assert (nll >= noise.nll_each(y, 0 * a) - 1e-9).all()
    assert float(slope[0, 0]) == -float(slope[0, 1]) >= 0
    assert ((curvature >= 0) & (curvature <= (1 + 1e-9) / sigma**2)).all()


BAD = {
    "step": (lambda: Rounded(0.0, 1.0), "step: expected positive finite values, got 0"),
    "before": (lambda: Rounded(1.0, -1.0), "sigma: expected positive finite values, got -1"),
    "origin": (lambda: Rounded(1.0, 1.0, math.nan), "origin: expected one finite number, got nan"),
    "step lanes": (
        lambda: Rounded(PER_LANE, 1.0).check(torch.ones(3, 4)),
        r"step: expected one value per lane of y, \(3,\), .* got \(2,\)",
    ),
    "sigma shape": (
        lambda: Rounded(1.0, EACH).check(torch.ones(2, 4)),
        r"sigma: expected .* got \(1, 40\)",
    ),
    "sigma": (lambda: Clipped(0.0), "sigma: expected positive finite values, got 0"),
    "limits": (lambda: Clipped(1.0, 1.0, -1.0), "high: expected a number above low = 1.0, got -1"),
    "y": (lambda: Clipped(1.0).check(row(0.5, 1.5)), "y: expected values from -1 to 1 .* to 1.5"),
    "lanes": (lambda: Clipped(PER_LANE).check(torch.zeros(3, 2)), "sigma: .* 3, got 2 values"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()


def posed(noise) -> tuple[Problem, torch.Tensor, GaussianRandomField]:
    prior, ids = GaussianRandomField(-2.2), tuple(range(6))
    x = prior.sample(torch.empty(6, 1, 12, 12, dtype=F64), Keys(1, ids).at(DRAWING))
    return Problem.simulate(x, Mask(torch.ones(1, dtype=F64)), noise), x, prior


@pytest.mark.parametrize("noise", [Rounded(1.0, 0.1), Clipped(0.2)], ids=["rounded", "clipped"])
def test_noise_aware_explains_y_as_well_as_the_truth_does(noise, measure):
    problem, x, prior = posed(noise)
    found = solve(problem, prior, NoiseAwareREDDiff.default(30, realism=1.0))
    ratio = found.residual_ratio / problem.residual_ratio(x)
    measure(f"residual ratio {float(ratio.mean()):.2f} of the truth's")
    assert 0.85 < ratio.mean() < 1.15
    assert found.findings == ()


def test_a_clipped_field_is_found_better_than_under_gaussian_noise(measure):
    problem, x, prior = posed(Clipped(0.2))
    wide = Gaussian(float((problem.y - x).square().mean().sqrt()))
    solver = NoiseAwareREDDiff.default(30, realism=0.0)
    errors = [
        float((solve(p, prior, solver).x - x).square().mean().sqrt())
        for p in (problem, Problem(problem.y, problem.operator, wide))
    ]
    measure(f"error {errors[0]:.3f}, under Gaussian noise {errors[1]:.3f}")
    assert errors[0] < 0.97 * errors[1]
