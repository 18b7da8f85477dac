"""The less common noises: densities, slopes, draws and domains; the default solver runs on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

import zoo
from reddiff import (
    DiagonalGaussian,
    Huber,
    InvalidArgument,
    Keys,
    Laplace,
    PoissonGaussian,
    Problem,
    Speckle,
    solve,
)
from reddiff.noise.robust import KINK
from reddiff.operators import Mask, Operator
from reddiff.priors import GaussianRandomField
from reddiff.random import DRAWING
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
LEVELS = torch.tensor([[0.3], [2.0]], dtype=F64)
PER_LANE = torch.tensor([0.3, 2.0], dtype=F64)
NOISES = {
    "diagonal": DiagonalGaussian(LEVELS),
    "laplace": Laplace(0.4),
    "laplace-per-lane": Laplace(PER_LANE),
    "huber": Huber(0.4),
    "huber-narrow": Huber(0.4, delta=0.1),
    "huber-wide": Huber(PER_LANE, delta=3.0),
    "camera": PoissonGaussian(3.0, 0.5),
    "camera-per-lane": PoissonGaussian(3.0, PER_LANE),
    "speckle": Speckle(4.0),
    "speckle-few": Speckle(0.7),
    "speckle-per-lane": Speckle(10 * PER_LANE),
}
every = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
RATES = torch.tensor([[0.5], [3.0]], dtype=F64)


def line(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=F64)


def density(noise, lane: int):
    """y -> p(y | a) of a lane, for numpy."""
    one = noise.select(torch.tensor([lane]))
    a = RATES[lane : lane + 1]
    return lambda y: float((-one.nll_each(torch.full_like(a, float(y)), a)).exp())


def support(noise, a: float, std: float) -> tuple[float, float]:
    positive = isinstance(noise, Speckle)
    return (noise.floor if positive else a - 40 * std), a + 40 * std


@pytest.mark.parametrize("lane", [0, 1])
@every
def test_the_density_has_sum_one_mean_a_and_variance_std(noise, lane):
    a, std = float(RATES[lane]), float(noise.std(RATES)[lane])
    p, (low, high) = density(noise, lane), support(noise, a, std)
    nodes = {"points": sorted({max(low, a + k * std) for k in (-4, -1, 0, 1, 4)}), "limit": 400}
    moments = [
        integrate.quad(lambda y, k=k: p(y) * (y - a) ** k, low, high, **nodes)[0] for k in range(3)
    ]
    small = isinstance(noise, Speckle)  # its density is changed below the floor
    np.testing.assert_allclose(moments[0], 1, atol=2e-2 if small else 1e-6)
    np.testing.assert_allclose(moments[1] / std, 0, atol=2e-2 if small else 1e-6)
    np.testing.assert_allclose(moments[2], std**2, rtol=1e-2 if small else 1e-5)


@pytest.mark.parametrize(
    ("noise", "law"),
    [
        (DiagonalGaussian(0.3 * torch.ones(1, 3)), stats.norm(1.5, 0.3)),
        (Laplace(0.4), stats.laplace(1.5, 0.4)),
        (Huber(0.4, delta=10.0), stats.norm(1.5, 0.4)),
        (Speckle(4.0), stats.gamma(4.0, scale=1.5 / 4)),
        (Speckle(0.6), stats.gamma(0.6, scale=1.5 / 0.6)),
        (PoissonGaussian(3.0, 0.4), stats.norm(1.5, math.sqrt(0.5 + 0.16))),
    ],
    ids=lambda v: type(v).__name__,
)
def test_the_density_is_that_of_scipy(noise, law):
    y = line(0.3, 1.4, 4.0)
    a = torch.full_like(y, 1.5)
    np.testing.assert_allclose(noise.nll_each(y, a), -law.logpdf(y.numpy()), rtol=1e-6)


@every
def test_the_slope_is_the_derivative_and_the_curvature_leads_to_y(noise):
    y = zoo.randn(2, 40, seed=1).abs() + 0.05
    a = zoo.randn(2, 40, seed=2)
    a[:, ::2] = a[:, ::2].abs() + 0.01
    a.requires_grad_()
    (wanted,) = torch.autograd.grad(noise.nll_each(y, a).sum(), a)
    a = a.detach()
    got = noise.grad_each(y, a)
    kink = torch.zeros_like(y, dtype=torch.bool)
    if isinstance(noise, Laplace):
        kink = (y - a).abs() < KINK * noise.std(a) / math.sqrt(2)
    assert not kink.all()
    torch.testing.assert_close(got[~kink], wanted[~kink])
    curvature = noise.curvature(y, a)
    assert torch.isfinite(curvature).all()
    assert (curvature > 0).all()
    if not isinstance(noise, PoissonGaussian):
        torch.testing.assert_close(a - got / curvature, y)


@pytest.mark.parametrize("noise", [Speckle(4.0), DiagonalGaussian(LEVELS)])
def test_curvature_is_fisher_information(noise):
    a = RATES.expand(2, 40_000)
    y = noise.sample(a, Keys(0, (0, 1)).at(0))
    torch.testing.assert_close(noise.curvature(y, a), 1 / noise.std(a) ** 2)
    fisher = noise.grad_each(y, a).var(1)
    torch.testing.assert_close(fisher, 1 / noise.std(a)[:, 0] ** 2, rtol=0.04, atol=0)


def camera_law(rate: float, gain: float, sigma: float):
    """The exact distribution function of Poisson(g a) / g + sigma n."""
    k = np.arange(400)
    weights = stats.poisson.pmf(k, gain * rate)
    return lambda y: (weights * stats.norm.cdf(np.asarray(y)[..., None], k / gain, sigma)).sum(-1)


@pytest.mark.parametrize("lane", [0, 1])
@every
def test_draws_are_of_the_law(noise, lane):
    a = RATES.expand(2, 4000)
    y = noise.sample(a, Keys(3, (0, 1)).at(0))[lane].numpy()
    rate, std = float(RATES[lane]), float(noise.std(RATES)[lane])
    if isinstance(noise, PoissonGaussian):
        sigma = float(noise.select(torch.tensor([lane])).sigma)
        cdf = camera_law(rate, noise.gain, sigma)
    elif isinstance(noise, Speckle):
        looks = float(noise.select(torch.tensor([lane])).looks)
        cdf = stats.gamma(looks, scale=rate / looks).cdf
    else:
        grid = rate + std * np.linspace(-30, 30, 6001)
        p = density(noise, lane)
        mass = integrate.cumulative_simpson([p(v) for v in grid], x=grid, initial=0)

        def cdf(v):
            return np.interp(v, grid, mass)

    assert stats.kstest(y, cdf).pvalue > 1e-3
    assert abs(y.mean() - rate) < 5 * std / math.sqrt(len(y))


def test_a_camera_of_many_counts_has_the_exact_likelihood_nearly():
    """The Gaussian in place of the sum over counts, in the mean over y: 0.001 nats at 100."""
    gain, sigma, rate = 100.0, 0.03, 1.0
    law, y = camera_law(rate, gain, sigma), np.linspace(0.4, 1.6, 2001)
    exact = np.gradient(law(y), y)
    a = torch.full((1, 2001), rate, dtype=F64)
    nll = PoissonGaussian(gain, sigma).nll_each(torch.tensor(y)[None], a)[0].numpy()
    assert integrate.simpson(exact * (np.log(exact) + nll), x=y) < 2e-3


@every
def test_draws_of_a_lane_do_not_depend_on_its_neighbors_and_keep_the_dtype(noise):
    a = RATES.expand(2, 9)
    whole = noise.sample(a, Keys(3, (5, 6)).at(0))
    for lane in (0, 1):
        one = noise.select(torch.tensor([lane]))
        assert torch.equal(
            one.sample(a[lane : lane + 1], Keys(3, (5 + lane,)).at(0))[0], whole[lane]
        )
    single = noise.sample(a.float(), Keys(3, (5, 6)).at(0))
    for value in (single, noise.std(a.float()), noise.nll_each(single, a.float())):
        assert value.dtype == torch.float32
        assert value.shape == a.shape


@every
def test_select_picks_and_repeats_lanes(noise):
    index = torch.tensor([1, 0, 1])
    torch.testing.assert_close(noise.select(index).std(RATES[index]), noise.std(RATES)[index])
    noise.check(torch.ones(2, 1, dtype=F64))


def test_speckle_below_its_floor_goes_on_along_the_tangent():
    noise = Speckle(2.0, floor=0.1)
    y, a = line(0.5, 0.5, 0.05, 0.05), line(0.1, -1.0, 0.1, -1.0)
    slope = 2 * (0.1 - 0.5) / 0.1**2
    nll = noise.nll_each(y, a)
    torch.testing.assert_close(nll[0, 1], nll[0, 0] - 1.1 * slope)
    assert nll[0, 2] == nll[0, 3]
    torch.testing.assert_close(noise.grad_each(y, a)[:, 1:], line(slope, 2 * 0.05 / 0.1**2, 0))
    torch.testing.assert_close(noise.std(line(-3.0, 0.0)), line(0.1, 0.1) / math.sqrt(2))
    assert torch.isfinite(noise.nll_each(line(0.0, 0.0), line(0.0, 1.0))).all()


def test_a_camera_below_zero_has_its_read_noise_alone():
    noise = PoissonGaussian(3.0, 0.5)
    y, a = line(0.2, 1.0), line(-0.4, -0.1)
    np.testing.assert_allclose(noise.nll_each(y, a), -stats.norm(a, 0.5).logpdf(y))
    torch.testing.assert_close(noise.grad_each(y, a), (a - y) / 0.25)
    torch.testing.assert_close(noise.curvature(y, a), torch.full_like(a, 4.0))


@given(factor=st.floats(5, 100), delta=st.floats(0.1, 5))
def test_an_outlier_pulls_no_harder_than_delta(factor, delta):
    noise = Huber(0.3, delta=delta)
    slope = noise.grad_each(line(delta * factor, 0.0), line(0.0, 0.0))
    torch.testing.assert_close(slope, line(-delta / 0.3, 0.0))


def test_deviations_of_one_y_serve_every_lane_and_may_be_repeated():
    sigma = torch.tensor([0.1, 0.2, 0.3], dtype=F64).view(1, 3, 1, 1)
    noise = DiagonalGaussian(sigma)
    y = torch.zeros(4, 3, 2, 5, dtype=F64)
    noise.check(y)
    assert torch.equal(noise.std(y), sigma.expand_as(y))
    assert noise.select(torch.tensor([2, 2])) is noise


BAD = {
    "sigma 0": (lambda: DiagonalGaussian(torch.zeros(1, 3)), "sigma: expected positive .* 0 to 0"),
    "sigma nan": (lambda: DiagonalGaussian(torch.full((1, 2), torch.nan)), "sigma: .* nan"),
    "sigma number": (lambda: DiagonalGaussian(0.3), r"sigma: expected a tensor .*, got 0.3"),
    "sigma vector": (lambda: DiagonalGaussian(torch.ones(3)), r"sigma: .* axes of y, got \(3,\)"),
    "sigma shape": (
        lambda: DiagonalGaussian(torch.ones(2, 4)).check(torch.ones(3, 4)),
        r"sigma: expected .*\('1 or 3', 4\), got \(2, 4\)",
    ),
    "scale": (lambda: Laplace(-1.0), "scale: expected positive finite values, got -1"),
    "scale lanes": (lambda: Laplace(PER_LANE).check(torch.ones(3, 4)), "scale: .* 3, got 2 values"),
    "scale shape": (lambda: Laplace(LEVELS), r"scale: expected a number or shape \(b,\), got \(2"),
    "scale text": (lambda: Laplace("loud"), "scale: expected positive finite values, got loud"),
    "huber sigma": (lambda: Huber(math.inf), "sigma: expected positive finite values, got inf"),
    "delta": (lambda: Huber(1.0, delta=0.0), "delta: expected a number from 0.01 to 10, got 0.0"),
    "gain": (lambda: PoissonGaussian(0.0, 1.0), "gain: expected positive finite values, got 0"),
    "gain lanes": (lambda: PoissonGaussian(PER_LANE, 1.0), "gain: expected one number, got"),
    "read noise": (lambda: PoissonGaussian(1.0, 0.0), "sigma: expected positive .*, got 0"),
    "rates": (
        lambda: PoissonGaussian(1.0, 1.0).sample(-torch.ones(1, 2), Keys(0, (0,)).at(0)),
        "a: expected rates of 0 or more, got -1",
    ),
    "looks": (lambda: Speckle(torch.tensor([1.0, 0.0])), "looks: expected positive finite values"),
    "floor": (lambda: Speckle(1.0, floor=0.0), "floor: expected positive finite values, got 0"),
    "floor lanes": (lambda: Speckle(1.0, floor=PER_LANE), "floor: expected one number, got"),
    "speckle y": (
        lambda: Speckle(1.0).check(-torch.ones(1, 2)),
        "y: expected values of 0 or more under Speckle, got -1",
    ),
    "speckle lanes": (lambda: Speckle(PER_LANE).check(torch.ones(3, 2)), "looks: .* 3, got 2"),
    "intensities": (
        lambda: Speckle(1.0).sample(-torch.ones(1, 2), Keys(0, (0,)).at(0)),
        "a: expected intensities of 0 or more, got -1",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()


class Rates(Operator):
    """x -> exp(x / 2)."""

    def forward(self, x):
        return (x / 2).exp()

    def x_shape(self, y_shape):
        return y_shape


SOLVED = {
    "diagonal": (False, DiagonalGaussian((0.5 * zoo.randn(1, 1, 12, 12)).exp() / 5)),
    "laplace": (False, Laplace(0.15)),
    "huber": (False, Huber(0.15)),
    "camera": (True, PoissonGaussian(20.0, 0.1)),
    "speckle": (True, Speckle(4.0)),
}


@pytest.mark.parametrize("name", SOLVED)
def test_noise_aware_explains_y_as_well_as_the_truth_does(name, measure):
    """At realism 1 the residual ratio is that of the truth; each lane is as if it were alone."""
    positive, noise = SOLVED[name]
    prior, ids = GaussianRandomField(-2.2), tuple(range(24))
    x = prior.sample(torch.empty(24, 1, 12, 12, dtype=F64), Keys(1, ids).at(DRAWING))
    mask = Mask(zoo.coin(1, 12, 12, p=0.6)[0])
    problem = Problem.simulate(x, mask @ Rates() if positive else mask, noise)
    result = solve(problem, prior, NoiseAwareREDDiff.default(30, realism=1.0))
    ratio = result.residual_ratio / problem.residual_ratio(x)
    measure(f"{name}: residual ratio {float(ratio.mean()):.2f} of the truth's")
    assert 0.76 < ratio.mean() < 1.1
    assert ((ratio > 0.28) & (ratio < 3)).all()
