"""Draws from a Gaussian around a center times the likelihood."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, Unsupported
from reddiff.metrics import moment_errors
from reddiff.noise import Poisson
from reddiff.operators import Mask, Matrix
from reddiff.operators.composition import LinearCompose
from reddiff.solvers.steps.automatic import Automatic
from reddiff.solvers.steps.conditional import Conditional, PerturbAndSolve, Sharpened
from reddiff.solvers.steps.likelihood import Target, curvature
from reddiff.solvers.steps.mcmc import HMC, Langevin

pytestmark = pytest.mark.usefixtures("untyped")

LANES = 4000


def wide(sigma: float, r: float, lanes: int = LANES) -> tuple[Problem, Tensor, Tensor]:
    """One problem in many lanes: a matrix 3 x 4, a center, and r."""
    y = zoo.randn(1, 3, seed=1).expand(lanes, -1).clone()
    center = zoo.randn(1, 4, seed=2).expand(lanes, -1).clone()
    problem = Problem(y, Matrix(zoo.randn(3, 4, seed=3)), Gaussian(sigma))
    return problem, center, torch.full((lanes,), r, dtype=zoo.F64)


def moments(problem: Problem, center: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """The exact mean and covariance of the first lane."""
    a, sigma = problem.operator.a, float(problem.noise.sigma)
    cov = torch.linalg.inv(a.mT @ a / sigma**2 + torch.eye(4, dtype=zoo.F64) / r[0] ** 2)
    return cov @ (a.mT @ problem.y[0] / sigma**2 + center[0] / r[0] ** 2), cov


def keys(lanes: int = LANES) -> Keys:
    return Keys(3, tuple(range(lanes)))


@torch.no_grad()
@pytest.mark.parametrize("method", [PerturbAndSolve(), HMC(6, 6), Automatic()])
@pytest.mark.parametrize(("sigma", "r"), [(0.3, 0.5), (0.05, 2.0)])
def test_moments(method: Conditional, sigma: float, r: float) -> None:
    problem, center, radius = wide(sigma, r)
    x = method(problem, center, radius, center, keys().at(0))
    mean, cov = moments(problem, center, radius)
    assert (x.mean(0) - mean).norm() < 4 * (cov.trace() / LANES) ** 0.5
    assert (torch.cov(x.mT) - cov).norm() < 0.07 * cov.norm()


@torch.no_grad()
def test_hmc_from_anywhere() -> None:
    """Trajectories alone reach the density, and rejections are what keeps it."""
    shape, lanes = (40,), 100
    y = torch.full((lanes, *shape), 0.7, dtype=zoo.F64)
    problem = Problem(y, zoo.SoftClip(), Gaussian(0.4))
    center, r = torch.zeros_like(y), torch.full((lanes,), 0.8, dtype=zoo.F64)
    grid = torch.linspace(-5, 5, 20001, dtype=zoo.F64)
    log_p = -((0.7 - torch.tanh(2 * grid)) ** 2) / (2 * 0.4**2) - grid**2 / (2 * 0.8**2)
    p = log_p.softmax(0)
    mean = (p * grid).sum()
    std = (p * (grid - mean) ** 2).sum().sqrt()
    x = HMC(15, 8)(problem, center, r, center, keys(lanes).at(0))
    assert abs(x.mean() - mean) < 4 * std / 4000**0.5
    assert abs(x.std() / std - 1) < 0.05
    coarse = HMC(40, 8, step=4.0)(problem, center, r, center, keys(lanes).at(0))
    assert abs(coarse.std() / std - 1) < 0.1


@torch.no_grad()
def test_langevin_bias() -> None:
    """The variance is 1 / (l - h l^2 / 2) in each direction."""
    shape, lanes, sigma, r = (2, 50), 100, 0.5, 1.0
    mask = torch.ones(shape, dtype=zoo.F64)
    mask[1] = 0
    y = torch.full((lanes, *shape), 0.3, dtype=zoo.F64)
    problem = Problem(y, Mask(mask), Gaussian(sigma))
    center, radius = torch.zeros_like(y), torch.full((lanes,), r, dtype=zoo.F64)
    stiff = sigma**-2 + r**-2
    for method, h in (
        (Langevin(200, step=0.8), 0.8 / stiff),
        (Langevin(200, lr=0.05), 0.05),
        (Langevin(200, lr=0.1).paced(torch.full((lanes,), 0.5, dtype=zoo.F64)), 0.05),
    ):
        x = method(problem, center, radius, center, keys(lanes).at(0))
        for row, curve, mean in ((0, stiff, 0.3 / sigma**2 / stiff), (1, r**-2, 0.0)):
            wanted = (curve - h * curve**2 / 2) ** -0.5
            assert abs(x[:, row].mean() - mean) < 6 * wanted / 5000**0.5
            assert abs(x[:, row].std() / wanted - 1) < 0.04


@torch.no_grad()
def test_langevin_transcription() -> None:
    """x - h ((A^T A x - A^T y) / sigma^2 + (x - c) / r^2) + sqrt(2h) n, written anew."""
    problem, center, r = wide(0.2, 0.7, 3)
    got = Langevin(3, lr=1e-3, tau=0.1)(problem, center, r, center + 1, keys(3).at(5))
    rng, x, a = keys(3).at(5), center + 1, problem.operator.a
    for _ in range(3):
        slope = (x @ a.mT - problem.y) @ a / 0.1**2 + (x - center) / 0.7**2
        x = x - 1e-3 * slope + 2e-3**0.5 * rng.randn_like(x)
    torch.testing.assert_close(got, x, rtol=0, atol=1e-10)


@torch.no_grad()
def test_noiseless() -> None:
    """Without noise every draw explains y, and the rest keeps the spread r."""
    problem, center, r = wide(0.0, 0.5)
    x = PerturbAndSolve()(problem, center, r, center, keys().at(0))
    assert problem.residual(x).abs().max() < 1e-4
    null = torch.linalg.svd(problem.operator.a)[2][3]
    assert abs(((x - center) @ null).std() / 0.5 - 1) < 0.05


@torch.no_grad()
@pytest.mark.parametrize("method", [Langevin(300, step=0.3), HMC(300, 8)])
def test_photons(method: Conditional) -> None:
    """Counts, zero ones among them: a Gamma law times a Gaussian, by quadrature."""
    lanes, gain = 60, 5.0
    y = torch.tensor([0.0, 0.2, 2.0], dtype=zoo.F64).repeat_interleave(20).expand(lanes, -1)
    problem = Problem(y.clone(), Mask(torch.ones(60, dtype=zoo.F64)), Poisson(gain))
    center, r = torch.full_like(y, 1.0), torch.full((lanes,), 1.0, dtype=zoo.F64)
    x = method(problem, center, r, center, keys(lanes).at(0))
    grid = torch.linspace(-4, 8, 24001, dtype=zoo.F64)[:, None]
    nll = problem.noise.nll_each(y[0, ::20].expand(len(grid), -1), grid.expand(-1, 3))
    p = (-nll - (grid - 1) ** 2 / 2).softmax(0)
    mean = (p * grid).sum(0)
    std = (p * (grid - mean) ** 2).sum(0).sqrt()
    found = x.view(lanes, 3, 20).transpose(1, 2).reshape(-1, 3)
    bound = 0.1 if isinstance(method, HMC) else 0.3  # slow, and exact; fast, and tamed
    assert torch.isfinite(x).all()
    assert ((found.mean(0) - mean) / std)[1:].abs().max() < bound
    assert (found.std(0) / std - 1)[1:].abs().max() < bound


def test_curvature() -> None:
    y = torch.tensor([[0.0, 0.0], [4.0, 4.0]], dtype=zoo.F64)
    problem = Problem(y, Mask(torch.ones(2, dtype=zoo.F64)), Poisson(3.0))
    got = curvature(problem, problem.noise)
    assert got[0].item() == pytest.approx(9.0, rel=0.1)  # one count
    assert 0.5 * 3 / 4 < got[1].item() < 3 / 4
    noisy = Gaussian(torch.tensor([0.1, 0.5], dtype=zoo.F64))
    assert curvature(problem, noisy).tolist() == pytest.approx([100.0, 4.0])


@torch.no_grad()
def test_rise() -> None:
    """Differences of the energy, from its definition."""
    problem, center, r = wide(0.2, 0.7, 3)
    x, new = center + zoo.randn(3, 4, seed=5), center + zoo.randn(3, 4, seed=6)
    target = Target(problem, problem.noise, center, r, curvature(problem, problem.noise))
    energy = [problem.nll(v) + ((v - center) ** 2).sum(1) / (2 * 0.7**2) for v in (x, new)]
    got = target.rise(x, problem.operator(x), new, problem.operator(new))
    torch.testing.assert_close(got, energy[1] - energy[0])


@torch.no_grad()
@pytest.mark.parametrize("method", [PerturbAndSolve(), HMC(2, 2), Langevin(2), Automatic()])
def test_divergence_shows(method: Conditional) -> None:
    problem, center, r = wide(0.2, 0.7, 3)
    center[1, 2] = torch.nan
    x = method(problem, center, r, center, keys(3).at(0))
    assert torch.isfinite(x).all(1).tolist() == [True, False, True]


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_sharpened(share: float) -> None:
    """Mean and covariance of z in closed form, r being at most sigma / ||A||."""
    problem, center, _ = wide(0.3, 0.1)
    a = problem.operator.a
    r = share * 0.3 / float(torch.linalg.matrix_norm(a, 2))
    z = Sharpened()(problem, center, torch.full((LANES,), r, dtype=zoo.F64), center, keys().at(0))
    pull = (r / 0.3) ** 2
    mean = center[0] + pull * a.mT @ (problem.y[0] - a @ center[0])
    cov = r**2 * (torch.eye(4, dtype=zoo.F64) - pull * a.mT @ a)
    off, wrong = moment_errors(z[None], mean[None], cov[None])
    assert off.item() < 0.04
    assert wrong.item() < 0.08


def test_sharpened_beyond_the_noise_explains_y() -> None:
    problem, center, r = wide(0.0, 0.5)
    z = Sharpened()(problem, center, r, center, keys().at(0))
    torch.testing.assert_close(problem.operator(z), problem.y, rtol=0, atol=1e-8)


def test_refusals() -> None:
    problem, _, _ = wide(0.0, 1.0, 2)
    for method in (Langevin(), HMC(), Automatic(Langevin())):
        nonlinear = Problem(problem.y, zoo.SoftClip(), Gaussian(0.0))
        with pytest.raises(Unsupported, match="sigma > 0"):
            method.check(nonlinear)
    with pytest.raises(Unsupported, match=r"PerturbAndSolve: expected a LinearOperator .*SoftClip"):
        PerturbAndSolve().check(nonlinear)
    a = LinearCompose(Matrix(zoo.randn(2, 3)), problem.operator)
    composed = Problem(problem.y[:, :2], a, Gaussian(0.1))
    with pytest.raises(Unsupported, match=r"Sharpened: expected a SpectralOperator .*LinearCompos"):
        Sharpened().check(composed)
    Langevin(tau=0.1).check(nonlinear)
    Automatic().check(problem)
    for make in (
        lambda: Langevin(0),
        lambda: Langevin(step=2.0),
        lambda: Langevin(lr=-1.0),
        lambda: Langevin(tau=0.0),
        lambda: HMC(0),
        lambda: HMC(leapfrog=0),
        lambda: HMC(step=0.0),
    ):
        with pytest.raises(InvalidArgument, match=r"steps|step|lr|tau|leapfrog"):
            make()


class Broken(zoo.SoftClip):
    """Good values, and a gradient that is NaN."""

    def forward(self, x: Tensor) -> Tensor:
        """x, and a root of -1 that is not chosen."""
        return torch.where(x > -9, x, (0 * x - 1).sqrt())


@torch.no_grad()
def test_broken_gradient_shows() -> None:
    """A chain that rejects every step would hide it."""
    y = torch.ones(2, 3, dtype=zoo.F64)
    r = torch.full((2,), 0.1, dtype=zoo.F64)
    x = HMC(2, 2)(Problem(y, Broken(), Gaussian(0.1)), y, r, y, keys(2).at(0))
    assert torch.isnan(x).all()
