from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from tests import zoo
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.metrics import psnr
from reddiff.operators import BlockMean, Mask, Matrix
from reddiff.priors import Prior, photo_prior
from reddiff.random import STARTING
from reddiff.schedules import Schedule, karras
from reddiff.solvers import DDRM
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

LEVELS = (20.0, 3.0, 0.6, 0.25, 0.1, 0.02, 0.0)


class Oracle(Prior):
    """Knows the truth."""

    trusted = True

    def __init__(self, truth: Tensor) -> None:
        super().__init__(tuple(truth.shape[1:]))
        self.truth = truth

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.truth.expand_as(x)


def schedule(*levels: float) -> Schedule:
    s = torch.tensor(levels, dtype=zoo.F64)
    return Schedule(torch.ones_like(s), s)


def transcription(problem: Problem, prior: Prior, eta: float, eta_b: float, keys: Keys) -> Tensor:
    """Equations 7 and 8, entry by entry."""
    out = []
    for i in range(len(problem)):
        one = problem.select(torch.tensor([i]))
        u, sing, vt = np.linalg.svd(one.operator.a[0].numpy(), full_matrices=True)
        sing = np.concatenate([sing, np.zeros(vt.shape[0] - len(sing))])
        sigma_y = float(one.noise.sigma)
        uty = u.T @ one.y[0].numpy()
        mine = Keys(keys.seed, (keys.ids[i],))
        like = torch.zeros(1, vt.shape[0], dtype=zoo.F64)

        def noise(step: int, mine=mine, like=like, vt=vt) -> np.ndarray:
            return vt @ mine.at(step).randn_like(like)[0].numpy()

        z = noise(STARTING)
        x = np.empty_like(z)
        for j, s in enumerate(sing):
            if s > 0 and sigma_y / s <= LEVELS[0]:
                x[j] = uty[j] / s + np.sqrt(LEVELS[0] ** 2 - (sigma_y / s) ** 2) * z[j]
            else:
                x[j] = LEVELS[0] * z[j]
        for t in range(len(LEVELS) - 1):
            above, level = LEVELS[t], LEVELS[t + 1]
            d = vt @ prior(torch.as_tensor(vt.T @ x)[None], above)[0].numpy()
            z = noise(t)
            old = x.copy()
            for j, s in enumerate(sing):
                if s == 0:
                    mean = d[j] + np.sqrt(1 - eta**2) * level * (old[j] - d[j]) / above
                    x[j] = mean + eta * level * z[j]
                elif level < sigma_y / s:
                    y_bar = uty[j] / s
                    mean = d[j] + np.sqrt(1 - eta**2) * level * (y_bar - d[j]) / (sigma_y / s)
                    x[j] = mean + eta * level * z[j]
                else:
                    mean = (1 - eta_b) * d[j] + eta_b * uty[j] / s
                    x[j] = mean + np.sqrt(level**2 - (sigma_y * eta_b / s) ** 2) * z[j]
        out.append(torch.as_tensor(vt.T @ x))
    return torch.stack(out)


@pytest.mark.parametrize(("eta", "eta_b"), [(0.85, 1.0), (0.3, 0.7), (1.0, 1.0), (0.0, 0.5)])
def test_is_the_papers(eta, eta_b):
    problem, prior = zoo.solver_problem()
    keys = Keys(5, zoo.ids(len(problem)))
    solver = DDRM(schedule(*LEVELS), eta, eta_b)
    got = solve(problem, prior, solver, seed=5, ids=keys.ids).x
    wanted = transcription(problem, prior, eta, eta_b, keys)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-8)


def crowd(sigma: float, lanes: int = 4000) -> tuple[Problem, Oracle]:
    """One truth, measured anew in each lane: singular values from 3 to .01, and two of zero."""
    left, right = (torch.linalg.qr(zoo.randn(n, n, seed=n)).Q for n in (4, 6))
    s = torch.tensor([3.0, 0.5, 0.1, 0.01], dtype=zoo.F64)
    operator = Matrix(left @ torch.diag(s) @ right[:4])
    truth = zoo.randn(1, 6, seed=3)
    x = truth.expand(lanes, -1)
    return Problem.simulate(x, operator, Gaussian(sigma)), Oracle(truth)


@pytest.mark.parametrize("eta_b", [1.0, 0.6])
def test_every_level_has_its_noise(eta_b):
    """With the truth for an estimate, x at level s is N(truth, s^2 I), y's noise included."""
    problem, prior = crowd(0.05)
    keys = Keys(0, tuple(range(len(problem))))
    solver = DDRM(schedule(*LEVELS), eta_b=eta_b)
    state = solver.init(problem, prior, keys.at(STARTING))
    operator = problem.operator
    for step, s in enumerate(LEVELS[1:-1]):
        state = solver.step(state, problem, prior, torch.full((len(problem),), step), keys.at(step))
        z = operator.vt(state.x - prior.truth) / s
        assert z.mean(0).abs().max() < 5 / len(z) ** 0.5
        assert (z.T @ z / len(z) - torch.eye(6, dtype=zoo.F64)).abs().max() < 0.1


def test_the_start_is_y_with_noise_added_where_that_is_possible():
    problem, prior = crowd(0.3)  # sigma_i = .1, .6, 3, 30: one beyond the first level
    solver = DDRM(schedule(20.0, 1.0, 0.0))
    state = solver.init(problem, prior, Keys(0, tuple(range(len(problem)))).at(STARTING))
    operator = problem.operator
    x_0 = operator.vt(state.x_0)
    y = operator.ut(problem.y) / torch.tensor([3.0, 0.5, 0.1, 1, 1, 1], dtype=zoo.F64)
    torch.testing.assert_close(x_0[:, :3], y[:, :3])
    assert x_0[:, 3:].abs().max() < 1e-10
    z = operator.vt(state.x - prior.truth)[:, :3] / 20
    assert (z.T @ z / len(z) - torch.eye(3, dtype=zoo.F64)).abs().max() < 0.1


def test_without_noise_the_answer_explains_y():
    problem, prior = zoo.solver_problem()
    exact = Problem(problem.y, problem.operator, Gaussian(0.0))
    x = solve(exact, prior, DDRM.paper(9)).x
    assert exact.residual(x).abs().max() < 1e-10


def test_lanes_with_and_without_noise_share_a_batch():
    problem, prior = zoo.solver_problem(2)
    mixed = Problem(problem.y, problem.operator, Gaussian(torch.tensor([0.0, 0.3], dtype=zoo.F64)))
    x = solve(mixed, prior, DDRM.paper(9)).x
    size = mixed.residual(x).norm(dim=1)
    assert size[0] < 1e-10
    assert size[1] > 1e-3


@pytest.mark.parametrize("sigma", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("least", [1e-3, 1e-7, 1e-30])
def test_tiny_singular_values_stay_harmless(sigma, least):
    a = torch.diag(torch.tensor([1.0, 0.5, least]))
    prior = zoo.gaussian(3).to(torch.float32)
    x = zoo.randn(4, 3).float()
    problem = Problem.simulate(x, Matrix(a), Gaussian(sigma))
    got = solve(problem, prior, DDRM.paper(20)).x
    assert torch.isfinite(got).all()
    assert got.abs().max() < 20


def test_rounding_errors_are_no_singular_values():
    """Nor is y divided by them."""
    operator = Matrix(torch.diag(torch.tensor([1.0, 0.5, 5e-15], dtype=zoo.F64)))
    problem = Problem(zoo.randn(2, 3), operator, Gaussian(0.0))
    x = solve(problem, zoo.gaussian(3), DDRM.paper(5)).x
    assert x.abs().max() < 100


@pytest.mark.parametrize("name", ["eta", "eta_b"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_are_from_0_to_1(name, value):
    with pytest.raises(InvalidArgument, match=f"{name}: expected a number from 0 to 1"):
        DDRM(karras(3), **{name: value})


def test_refuses_other_operators_and_noises():
    x = zoo.randn(2, 1, 4, 4).abs()
    prior = Oracle(x)
    masked = Problem(x[..., :2, :2], Mask(torch.eye(2).double()) @ BlockMean(2), Gaussian(0.1))
    with pytest.raises(Unsupported, match="DDRM: expected operator of type SpectralOperator"):
        solve(masked, prior, DDRM.paper(3))
    counts = Problem(x, Mask(torch.ones(4, 4).double()), Poisson(10.0))
    with pytest.raises(Unsupported, match="DDRM: expected noise of type Gaussian, got Poisson"):
        solve(counts, prior, DDRM.paper(3))


def test_the_preset():
    solver = DDRM.paper(prior=within(0.1, 10.0))
    assert (solver.steps, solver.eta, solver.eta_b) == (20, 0.85, 1.0)
    s = solver.schedule.levels[:-1]
    assert s.min() >= 0.1
    assert s.max() <= 10


def test_the_default_has_even_levels_from_two_to_the_noise():
    solver = DDRM.default(20, within(0.002, 80.0), sigma_n=0.1)
    assert (solver.steps, solver.eta, solver.eta_b) == (20, 0.85, 1.0)
    assert torch.allclose(solver.schedule.levels, torch.linspace(2, 0, 21).double())
    narrow = DDRM.default(5, within(0.3, 1.0)).schedule.levels
    assert torch.allclose(narrow, torch.tensor([1.0, 0.825, 0.65, 0.475, 0.3, 0.0]).double())
    with pytest.raises(InvalidArgument, match="sigma_n: expected "):
        DDRM.default(sigma_n=0.0)


@pytest.mark.slow
def test_missing_pixels_gain_from_the_levels_of_the_default():
    """Over the published ones, at the same 20 evaluations."""
    pixels = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    x = 2 * interpolate(pixels, (48, 48), mode="area") - 1
    mask = (torch.rand(48, 48, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    problem = Problem.simulate(x, Mask(mask), Gaussian(0.1), seed=1)
    prior = photo_prior()
    made = (DDRM.default(20, prior, sigma_n=0.1), DDRM.paper(20, prior))
    gained, published = (float(psnr(solve(problem, prior, m).x / 2, x / 2)) for m in made)
    assert gained > published + 0.4
