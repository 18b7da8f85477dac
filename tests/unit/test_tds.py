"""TDS: mode shares of mixtures, and what its particles and weights do."""

from __future__ import annotations

import pytest
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, draw, solve
from reddiff.operators import Matrix
from reddiff.priors import GaussianMixture
from reddiff.schedules import karras
from reddiff.solvers import TDS
from reddiff.solvers.tds import Weighted

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
MEANS = torch.tensor([[1.0, 0.0], [-1.0, 0.3], [0.0, 1.2]], dtype=F64)
COVS = 0.04 * torch.eye(2, dtype=F64).expand(3, 2, 2).contiguous()
PRIOR = GaussianMixture(torch.tensor([0.5, 0.3, 0.2], dtype=F64), MEANS, COVS)
PROBLEMS = [(0.2, (0.3, 0.5), 0.3), (0.9, (0.0, 1.0), 0.5), (-0.2, (1.0, 0.2), 0.8)]


def posed(y: float, a: tuple[float, float], sigma: float) -> Problem:
    matrix = Matrix(torch.tensor([a], dtype=F64))
    return Problem(torch.tensor([[y]], dtype=F64), matrix, Gaussian(sigma))


def shares(x: torch.Tensor) -> torch.Tensor:
    """Of draws `(S, 2)`: the mean probability of each component given x, p(k | y) if exact."""
    log_p = PRIOR.weights.log() - torch.cdist(x, MEANS).square() / (2 * 0.04)
    return log_p.softmax(1).mean(0)


def errors(particles: int, steps: int, runs: int) -> list[float]:
    """The largest error of the shares of modes, for each problem."""
    found = []
    for case in PROBLEMS:
        problem = posed(*case)
        solver = TDS(karras(steps, 0.002, 40.0), particles=particles)
        result = solve(problem, PRIOR, solver, runs=runs, progress=False)
        got = shares(draw(result, solver, particles)[0].flatten(0, 1))
        found.append(float((got - PRIOR.posterior(problem).weights[0]).abs().max()))
    return found


def test_mode_shares_are_those_of_the_posterior(measure):
    found = errors(particles=64, steps=40, runs=40)
    measure(f"TDS, 64 particles, 40 steps: mode shares off by {max(found):.3f}")
    assert max(found) < 0.06


@pytest.mark.slow
def test_one_particle_is_biased_and_many_are_not():
    assert max(errors(particles=1, steps=100, runs=2000)) > 0.06
    assert max(errors(particles=64, steps=100, runs=100)) < 0.03


def test_the_result_is_a_particle_of_the_end():
    solver = TDS(karras(10, 0.01, 20.0), particles=4)
    result = solve(posed(*PROBLEMS[0]), PRIOR, solver, runs=3, progress=False)
    particles = draw(result, solver, 200)[0]
    for one, several in zip(result.samples[0], particles, strict=True):
        assert (several == one).all(1).any()
    assert result.cost.evaluations == (3 * 10 * 4,)
    assert result.cost.vjps == (3 * 10 * 4,)


def test_resampling_keeps_the_means_of_weighted_particles():
    solver = TDS(karras(5), particles=8, threshold=0.5)
    lanes = 4000
    log_w = 2 * zoo.randn(1, 8, seed=3).expand(lanes, 8)
    rng = Keys(0, tuple(range(lanes))).at(0)
    index, new = solver._resampled(log_w, rng)
    counts = torch.stack([torch.bincount(row, minlength=8) for row in index]).double()
    expected = 8 * log_w[0].softmax(0)
    assert (counts - expected).abs().max() < 1 + 1e-9  # systematic: the integers on either side
    assert (counts.mean(0) - expected).abs().max() < 0.04
    torch.testing.assert_close(new.logsumexp(1) - torch.tensor(8.0).log(), log_w.logsumexp(1))
    even = 0.1 * log_w
    index, new = solver._resampled(even, rng)
    assert torch.equal(index, torch.arange(8).expand(lanes, 8))
    assert torch.equal(new, even)


def test_draws_follow_the_weights():
    lanes = 3000
    log_w = torch.tensor([0.1, 0.2, 0.7], dtype=F64).log().expand(lanes, 3)
    x = torch.arange(3.0, dtype=F64).view(1, 3, 1).expand(lanes, 3, 1)
    rng = Keys(0, tuple(range(lanes))).at(0)
    found = TDS(karras(5), particles=3).sample(Weighted(x, log_w, x[:, 0]), 2, rng)
    got = torch.bincount(found.flatten().long()) / found.numel()
    torch.testing.assert_close(got, torch.tensor([0.1, 0.2, 0.7]), atol=0.03, rtol=0)


def test_settings_are_checked():
    with pytest.raises(InvalidArgument, match="particles"):
        TDS(karras(5), particles=0)
    with pytest.raises(InvalidArgument, match="number from 0 to 1"):
        TDS(karras(5), threshold=1.5)
