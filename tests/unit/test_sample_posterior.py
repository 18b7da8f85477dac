from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from scipy.stats.mstats import mquantiles

from reddiff import Gaussian, InvalidArgument, Problem, functional, sample_posterior, solve
from reddiff.hooks import Hook
from reddiff.metrics import central_interval, moments, needed_draws, quantile
from reddiff.operators import Identity, Mask
from reddiff.priors import GaussianRandomField
from reddiff.random import Keys
from reddiff.results import Status
from reddiff.run.loop import NO_DRAWS
from reddiff.solvers import DDRM, NoiseAwareREDDiff
from reddiff.uncertainty import Functional, posterior

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
FIELD = GaussianRandomField(-2.2, std=0.5)
DRAWS = NoiseAwareREDDiff.default(6, realism=1.0)


def problem(b: int = 2, size: int = 6, noise: float = 0.1) -> Problem:
    keys = Keys(3, tuple(range(b)))
    x = FIELD.sample(torch.empty(b, 1, size, size, dtype=F64), keys.at(0))
    return Problem(x + noise * keys.at(1).randn_like(x), Identity(), Gaussian(noise))


class Steps(Hook):
    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, progress):
        return {"first": progress.x.flatten(1)[:, 0]}

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("at_once", [1, 3, 7, 50])
def test_draws_are_the_runs_of_solve(at_once):
    hook = Steps()
    made = sample_posterior(problem(), FIELD, 7, solver=DRAWS, at_once=at_once, hooks=[hook])
    whole = solve(problem(), FIELD, DRAWS, runs=7, hooks=[Steps()])
    torch.testing.assert_close(made.samples, whole.samples)
    torch.testing.assert_close(made.x, whole.x)
    torch.testing.assert_close(made.history["first"], whole.history["first"])
    torch.testing.assert_close(made.data_term, whole.data_term)
    assert (made.cost.evaluations, made.cost.vjps) == (whole.cost.evaluations, whole.cost.vjps)
    assert torch.equal(made.status, whole.status)
    assert hook.closed == 1
    assert made.snapshot is None


def test_draws_on_disk_are_the_same(monkeypatch):
    kept = sample_posterior(problem(), FIELD, 19, solver=DRAWS)
    monkeypatch.setattr(posterior, "ON_DISK", 0)
    stored = sample_posterior(problem(), FIELD, 19, solver=DRAWS)
    assert torch.equal(stored.samples, kept.samples)
    assert torch.equal(stored.interval().low, kept.interval().low)
    assert torch.equal(stored.std, kept.std)


def test_default_draws_have_the_spread_of_the_posterior():
    made = sample_posterior(problem(), FIELD, 60)
    exact = FIELD.posterior(problem())
    assert made.warnings == ()
    probes = torch.eye(36, dtype=F64).view(36, 1, 6, 6)
    variance = torch.stack([exact.covariance(p.expand(2, -1, -1, -1)).flatten(1) for p in probes])
    wanted = variance.diagonal(dim1=0, dim2=2).mean()
    assert made.std.square().mean() / wanted == pytest.approx(1, abs=0.25)


def test_runs_that_are_no_draws_are_named_once():
    made = sample_posterior(problem(), FIELD, 4, solver=NoiseAwareREDDiff.default(2), at_once=2)
    assert [f.text for f in made.findings].count(NO_DRAWS) == 1


def test_a_draw_that_diverged_is_left_out():
    made = sample_posterior(problem(), FIELD, 21, solver=DRAWS)
    status = made.status.clone()
    status[0, 2] = int(Status.DIVERGED)
    samples = made.samples.clone()
    samples[0, 2] = 1e6
    failed = replace(made, status=status, samples=samples)
    rest = [i for i in range(21) if i != 2]
    torch.testing.assert_close(failed.interval().high[0], _type_6(samples[0, rest], 0.95))
    torch.testing.assert_close(failed.std[0], samples[0, rest].std(0))
    found = functional(failed, lambda x: float(x.mean()))
    assert torch.isnan(found.values[0, 2])
    assert found.mean[0] == pytest.approx(float(samples[0, rest].mean()))


def _type_6(values: torch.Tensor, q: float) -> torch.Tensor:
    flat = values.flatten(1).numpy()
    found = mquantiles(flat, [q], alphap=0, betap=0, axis=0).data[0]  # type 6
    return torch.from_numpy(found).view(values.shape[1:])


@pytest.mark.parametrize("q", [0.05, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_quantiles_are_those_of_scipy(q, block, monkeypatch):
    monkeypatch.setattr("reddiff.metrics.draws.BLOCK", block)
    samples = torch.randn(2, 23, 3, 5, dtype=F64)
    for lane, found in enumerate(quantile(samples, q)):
        torch.testing.assert_close(found, _type_6(samples[lane], q))


def test_moments_are_those_of_torch():
    samples = 100 + torch.randn(2, 9, 3, dtype=F64)
    mean, std = moments(samples)
    torch.testing.assert_close(mean, samples.mean(1))
    torch.testing.assert_close(std, samples.std(1))
    one = torch.tensor([[True] + 8 * [False], 9 * [False]])
    mean, std = moments(samples, one)
    torch.testing.assert_close(mean[0], samples[0, 0])
    assert torch.isnan(mean[1]).all()
    assert torch.isnan(std).all()


@pytest.mark.parametrize(("level", "least"), [(0.5, 3), (0.8, 9), (0.9, 19), (0.95, 39)])
def test_the_interval_of_the_fewest_draws_reaches_from_the_least_to_the_largest(level, least):
    assert needed_draws(level) == least
    samples = torch.randn(2, least, 4, dtype=F64)
    ends = central_interval(samples, level)
    torch.testing.assert_close(ends.low, samples.amin(1))
    torch.testing.assert_close(ends.high, samples.amax(1))
    with pytest.raises(InvalidArgument, match=f"draws: expected at least {least}"):
        central_interval(samples[:, 1:], level)


def test_intervals_hold_a_further_draw_as_often_as_they_say():
    draws = torch.randn(1, 25, 40_000, dtype=F64)
    ends = central_interval(draws, 0.9)
    fresh = torch.randn(40_000, dtype=F64)
    inside = ((fresh >= ends.low[0]) & (fresh <= ends.high[0])).double().mean()
    assert float(inside) == pytest.approx(0.9, abs=0.012)  # six deviations of the mean


def test_a_functional_is_the_number_of_every_draw():
    made = sample_posterior(problem(), FIELD, 39, solver=DRAWS)
    found = functional(made, lambda x: x.amax(), level=0.95)
    wanted = made.samples.flatten(2).amax(2)
    torch.testing.assert_close(found.values, wanted)
    torch.testing.assert_close(found.low, wanted.amin(1))
    torch.testing.assert_close(found.std, wanted.std(1))
    counts, edges = found.histogram(4)
    assert counts.sum(1).tolist() == [39, 39]
    torch.testing.assert_close(edges[:, -1], wanted.amax(1))
    shown = [float(v) for v in re.findall(r"-?[\d.]+", str(found).splitlines()[1])[:3]]
    width = float(found.high[1] - found.low[1])
    for text, value in zip(shown, (found.mean[1], found.low[1], found.high[1]), strict=True):
        assert text == pytest.approx(float(value), abs=width / 20)  # two digits of the width
    assert "95 % interval of 39 draws" in str(found)


def test_a_functional_that_changes_its_argument_leaves_the_draws_as_they_are():
    made = sample_posterior(problem(1), FIELD, 19, solver=DRAWS)
    before = made.samples.clone()
    found = functional(made, lambda x: x.mul_(2).sum())
    assert torch.equal(made.samples, before)
    torch.testing.assert_close(found.values, 2 * before.flatten(2).sum(2))


def test_a_widened_interval_holds_the_mean_however_skewed_the_draws_are():
    values = torch.cat([torch.linspace(0, 1, 97, dtype=F64), torch.full((2,), 1000.0)])[None]
    found = Functional(values, torch.ones_like(values, dtype=torch.bool), 0.9)
    assert found.high < 1 < found.mean  # the interval of the draws is as it is
    wide = found.widened(1.5)
    torch.testing.assert_close(wide.low, found.mean - 1.5 * (found.mean - found.low))
    torch.testing.assert_close(wide.high, found.mean)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x, "f: expected one number for one x, got 36 numbers"),
        (lambda x: "wide", "f: expected one number for one x, got str"),
        (lambda x: x.mean() / 0, "f: expected finite numbers, got -?inf of draw 0"),
        (lambda x: torch.rand(()), "f: expected the same number at every call"),
    ],
)
def test_functionals_that_are_no_numbers_of_x_are_refused(f, message):
    made = sample_posterior(problem(1), FIELD, 19, solver=DRAWS)
    with pytest.raises(InvalidArgument, match=message):
        functional(made, f)


def test_too_few_draws_for_a_functional_are_refused():
    made = sample_posterior(problem(1), FIELD, 18, solver=DRAWS)
    with pytest.raises(InvalidArgument, match=r"at least 19 draws for an interval of level 0\.9"):
        functional(made, lambda x: x.mean())


@pytest.mark.parametrize("name", ["n", "at_once"])
def test_counts_are_checked(name):
    with pytest.raises(InvalidArgument, match=name):
        sample_posterior(problem(1), FIELD, **{"n": 2, name: 0})


def test_other_samplers_draw_too():
    holes = replace(problem(), operator=Mask((torch.rand(6, 6, dtype=F64) > 0.5).double()))
    made = sample_posterior(holes, FIELD, 3, solver=DDRM.paper(5, FIELD))
    assert made.samples.shape == (2, 3, 1, 6, 6)
    assert (made.std > 0).any()
