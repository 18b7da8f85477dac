"""Measures of fit and the warnings derived from them, on numbers and on runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import zoo
from reddiff import Gaussian, Keys, Poisson, Problem, Snapshot, solve
from reddiff.hooks import Hook
from reddiff.images.masks import make_mask
from reddiff.operators import BlockMean, CircularBlur, Mask, gaussian_psf
from reddiff.priors import GaussianRandomField, photo_prior
from reddiff.run.diagnostics import MISFIT, Finding, findings, least_ratio, warn
from reddiff.run.goodness_of_fit import fit
from reddiff.schedules import karras
from reddiff.solvers import NoiseAwareREDDiff, REDDiff
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

X = zoo.randn(3, 1, 24, 20, seed=3)
ALL = Mask(torch.ones(1, 1, 1, dtype=zoo.F64))
GOOD = {
    "ratio": 0.95,
    "rms": 0.19,
    "noise": 0.2,
    "size": 0.6,
    "data_term": -3.0,
    "smooth": 15.0,
    "rough": 1.3,
    "pairs": 5000.0,
    "count": 10000.0,
}


def said(changes: dict[str, float] | None = None, change: float = 0.001, words=()) -> list[str]:
    """What is said of a run, up to the first colon."""
    found = warn(GOOD | (changes or {}), change, words)
    return [text.partition(":")[0] for text, _ in found]


# ----------------------------------------------------------------------------------- measures


@pytest.mark.parametrize("noise", [Gaussian(0.3), Gaussian(torch.tensor([0.1, 0.2, 0.4]))])
def test_measures_are_those_of_the_problem(noise):
    operator = Mask(zoo.coin(24, 20, p=0.6))
    problem = Problem.simulate(X, operator, noise)
    x = X + 0.1
    got = fit(problem, x)
    torch.testing.assert_close(got.data_term, problem.nll(x))
    torch.testing.assert_close(got.ratio, problem.residual_ratio(x))
    torch.testing.assert_close(got.rms, (2 * problem.misfit(x) / problem.count).sqrt())
    torch.testing.assert_close(got.ratio, got.rms / torch.as_tensor(noise.sigma).double())
    torch.testing.assert_close(got.noise, torch.as_tensor(noise.sigma).double().expand(3))


def test_without_a_density_the_data_term_is_half_the_squared_residual_lane_by_lane():
    sigma = torch.tensor([0.2, 0.0, 0.3], dtype=zoo.F64)
    problem = Problem(X, ALL, Gaussian(sigma))
    got, x = fit(problem, X + 0.1), X + 0.1
    half = problem.misfit(x)
    with_density = Problem(X, ALL, Gaussian(sigma.clamp(min=0.1))).nll(x)
    torch.testing.assert_close(got.data_term[[0, 2]], with_density[[0, 2]])
    torch.testing.assert_close(got.data_term[1], half[1])
    assert torch.isinf(got.ratio).tolist() == [False, True, False]
    assert torch.isinf(fit(Problem(X, ALL, Gaussian(0)), X).ratio).all()


def test_the_ratio_of_counts_is_1_at_the_truth():
    x = zoo.randn(2, 1, 64, 64, seed=1).abs() + 0.5
    problem = Problem.simulate(x, BlockMean(2), Poisson(20.0))
    torch.testing.assert_close(fit(problem, x).ratio, torch.ones(2).double(), atol=0.06, rtol=0)


@pytest.mark.parametrize("slope", [-2.2, -0.5], ids=["photo-like", "rough"])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
def test_no_exact_posterior_mean_follows_the_noise(slope, sigma):
    """The bound holds for the prior's own draws, and is not a weak one for smooth ones."""
    prior = GaussianRandomField(slope)
    x = prior.sample(torch.empty(4, 1, 32, 32, dtype=zoo.F64), Keys(1, zoo.ids(4)).at(0))
    problem = Problem.simulate(x, ALL, Gaussian(sigma))
    got = fit(problem, prior.posterior(problem).mean)
    for numbers in got.rows():
        bound = least_ratio(numbers["smooth"], numbers["rough"])
        assert 0.79 * bound < numbers["ratio"] < 1.1
    assert not findings(got, torch.zeros(4), [True] * 4, [()] * 4, range(4))


def test_lanes_do_not_see_each_other():
    problem = Problem.simulate(X, Mask(zoo.coin(3, 24, 20, p=0.4), per_lane=True), Gaussian(0.2))
    together, x = fit(problem, X + 0.05), X + 0.05
    for i in range(3):
        index = torch.tensor([i])
        alone = fit(problem.select(index), x[index])
        assert next(alone.rows()) == pytest.approx([*together.rows()][i], rel=1e-12)


# ----------------------------------------------------------------------------------- warnings


def test_a_good_run_is_not_warned_about():
    assert said() == []
    assert said({"ratio": 1.1}) == []


def test_a_low_ratio_fits_the_noise_where_the_noise_can_be_seen():
    assert said({"ratio": 0.4}) == ["fits the noise"]
    assert said({"ratio": 0.4, "rough": 30.0}) == []  # the differences may be signal
    assert said({"ratio": 0.4, "pairs": 20.0}) == []
    assert said({"ratio": 0.001, "noise": 0.005, "rough": 3e3, "smooth": 3e4}) == []


def test_a_high_ratio_names_the_residual():
    (text, levels), *rest = warn(GOOD | {"ratio": 1.6, "rms": 0.32}, 0.001)
    assert text.startswith("the noise level may be too low: the residual suggests")
    assert levels == (0.32, 0.2)
    assert not rest
    assert said({"ratio": 1.6, "count": 9.0}) == []  # a few entries fluctuate by as much
    assert said({"ratio": torch.inf, "noise": 0.0, "rms": 0.32}) == [
        "the noise level may be too low"
    ]
    assert said({"ratio": torch.inf, "noise": 0.0, "rms": 0.001}) == []


def test_y_less_rough_than_its_noise_is_said():
    assert said({"rough": 0.3, "ratio": 0.5}) == ["the noise level may be too high"]
    assert said({"rough": (1 - MISFIT) ** 2}) == []


def test_a_run_that_still_moves_is_not_judged_by_its_ratio():
    assert said({"ratio": 3.0}, change=0.3) == ["not converged"]
    assert said({"noise": 0.001}, change=0.02) == ["not converged"]
    assert said(change=0.05) == []  # less than half of the noise, relative to y
    assert said({"ratio": 3.0}, words=("the inner solve stopped early",)) == [
        "the inner solve stopped early"
    ]


def test_a_finding_names_lane_and_run_and_converts_its_levels():
    found = Finding(7, None, "looks like {}, told {}", (0.0623, 0.02))
    assert found.sentence == "lane 7: looks like 0.062, told 0.02"
    assert found.words(0.5) == "looks like 0.031, told 0.01"
    assert replace(found, run=2).sentence.startswith("lane 7, run 2: looks")
    assert Finding(1, None, "a {} b").words() == "a {} b"


# -------------------------------------------------------------------------------------- runs


class Fussy(REDDiff):
    """Has something to say of some lanes."""

    def warnings(self, state):
        return [("the first entry is large",) if x > 0 else () for x in state.mu.x[:, 0].tolist()]


class Leave(Hook):
    """Ends lane 1 after two steps."""

    def converged(self, progress):
        row = torch.arange(len(progress.x))
        return (row == 1) & (progress.step == 2)


def test_what_the_solver_says_is_kept_of_lanes_that_left_and_through_a_snapshot(tmp_path):
    problem, prior = zoo.solver_problem()
    solver, ids = Fussy(karras(6, 0.02, 10.0)), zoo.ids(4)
    run = {"ids": ids, "hooks": [Leave()]}
    whole = solve(problem, prior, solver, **run)
    at_exit = whole.samples[:, 0, 0] > 0
    assert at_exit[1], "else this test shows nothing"
    for lane, large in zip(ids, at_exit.tolist(), strict=True):
        assert (f"lane {lane}: the first entry is large" in whole.warnings) == large
    for stop_at in (1, 4, 6):
        half = solve(problem, prior, solver, **run, stop_at=stop_at)
        half.snapshot.save(tmp_path / "snapshot")
        snapshot = Snapshot.load(tmp_path / "snapshot")
        end = solve(problem, prior, solver, hooks=[Leave()], resume=snapshot)
        assert end.warnings == whole.warnings
        assert end.report().splitlines()[:-1] == whole.report().splitlines()[:-1]
        for name in ("change", "residual_ratio", "data_term"):
            assert torch.equal(getattr(end, name), getattr(whole, name)), name


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    from importlib.resources import files

    from reddiff.images.io import read_picture

    folder = files("reddiff").joinpath("assets/photos")
    pixels = [read_picture(folder / f"{n}.png").pixels for n in ("astronaut", "chelsea")]
    return 2 * torch.stack([p[:, 100:164, 100:164] for p in pixels]) - 1


OPERATORS = {
    "denoise": Mask(torch.ones(1, 1, 1)),
    "inpaint": Mask(make_mask("random:0.7", (64, 64))),
    "sr": BlockMean(2),
    "deblur": CircularBlur(gaussian_psf(1.6).float()),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_the_default_solver_at_the_right_level_is_not_warned_about(photos, name, noise):
    problem = Problem.simulate(photos, OPERATORS[name], Gaussian(2 * noise))
    solver = NoiseAwareREDDiff.default(20)
    assert solve(problem, photo_prior(), solver).warnings == ()


def test_a_noise_level_three_times_too_low_or_high_is_found(photos):
    y = Problem.simulate(photos, OPERATORS["deblur"], Gaussian(0.2)).y
    for sigma, direction in ((0.2 / 3, "too low"), (0.6, "too high")):
        problem = Problem(y, OPERATORS["deblur"], Gaussian(sigma))
        result = solve(problem, photo_prior(), NoiseAwareREDDiff.default(20))
        assert len(result.findings) == 2
        for finding in result.findings:
            assert f"the noise level may be {direction}" in finding.text
            assert finding.levels == pytest.approx((0.2, sigma), rel=0.15)


@pytest.mark.slow
def test_the_papers_recipe_fits_the_noise_of_a_photo(photos):
    problem = Problem.simulate(photos, OPERATORS["denoise"], Gaussian(0.2))
    prior = photo_prior()
    solver = REDDiff.paper(50, lr=0.25, weight=1.0, prior=within(0.002, 80.0))
    assert all("fits the noise" in text for text in solve(problem, prior, solver).warnings)
