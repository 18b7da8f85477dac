"""R-hat and effective sample sizes, against values of ArviZ."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from reddiff import (
    Gaussian,
    InvalidArgument,
    Problem,
    Unsupported,
    sample_posterior,
    solve,
    to_arviz,
)
from reddiff.hooks import Hook
from reddiff.operators import Identity
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff
from reddiff.uncertainty import chains_of, ess_bulk, ess_tail, rhat

F64 = torch.float64
FIELD = GaussianRandomField(-2.2, std=0.5)


def uniforms(count: int, state: int) -> np.ndarray:
    """A linear congruential generator: the same numbers everywhere."""
    out = []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        out.append((state + 0.5) / 2**31)
    return np.array(out)


def walks(chains: int, n: int, phi: float, shift: float, power: int, seed: int) -> torch.Tensor:
    """Autoregressive chains, each higher than the last by a shift."""
    u = uniforms(2 * chains * n, seed).reshape(2, chains, n)
    e = np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])
    e = np.sign(e) * np.abs(e) ** power
    x = np.zeros((chains, n))
    for t in range(n):
        x[:, t] = (phi * x[:, t - 1] if t else 0) + e[:, t]
    return torch.from_numpy(x + shift * np.arange(chains)[:, None])


# R-hat, bulk and tail ESS of arviz-stats 0.8.0, which smooths the last pair of the autocorrelations
# differently: up to 5 % in the second and third.
ARVIZ = [
    ((4, 200, 0.0, 0.0, 1, 1), (0.9994794731542266, 917.4369981130727, 773.0379419474159)),
    ((4, 200, 0.9, 0.0, 1, 2), (1.0950002904712866, 34.691822139031906, 80.01674107524168)),
    ((4, 101, 0.5, 0.5, 1, 3), (1.1045353283344383, 31.909910683552365, 149.8853157328091)),
    ((2, 60, -0.6, 0.0, 1, 4), (1.084330027971079, 249.50174952571496, 138.22922983626438)),
    ((3, 300, 0.7, 0.0, 3, 5), (1.020251889606456, 107.64710022936232, 238.6878074609044)),
]


@pytest.mark.parametrize(("case", "expected"), ARVIZ)
def test_diagnostics_are_those_of_arviz(case, expected):
    x = walks(*case)
    assert float(rhat(x)) == pytest.approx(expected[0], rel=1e-9)
    assert float(ess_bulk(x)) == pytest.approx(expected[1], rel=0.06)
    assert float(ess_tail(x)) == pytest.approx(expected[2], rel=1e-6)


def test_equal_values_and_several_quantities():
    x = walks(*ARVIZ[0][0]).round()
    assert float(rhat(x)) == pytest.approx(1.002940453540051, rel=1e-9)  # arviz-stats 0.8.0
    assert float(ess_bulk(x)) == pytest.approx(859.9610931952707, rel=1e-6)
    both = torch.stack([x, walks(*ARVIZ[1][0])])
    for f in (rhat, ess_bulk, ess_tail):
        assert f(both).tolist() == pytest.approx([float(f(v)) for v in both])


def test_chains_that_do_not_mix_or_hardly_move():
    steady = torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert rhat(steady) < 1.02
    assert rhat(steady + torch.arange(4.0)[:, None]) > 1.5  # other means
    assert rhat(steady * torch.tensor([1.0, 1, 1, 5])[:, None]) > 1.1  # another spread
    assert torch.isnan(rhat(torch.ones(2, 20, dtype=F64)))
    assert ess_bulk(steady.cumsum(1)) < 20


class Mean(Hook):
    def __call__(self, progress):
        return {"mean": progress.x.flatten(1).mean(1)}


def problem(b: int = 2) -> Problem:
    y = torch.randn(b, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    return Problem(y, Identity(), Gaussian(0.5))


def test_chains_are_the_runs_of_a_lane():
    solver = NoiseAwareREDDiff.default(20, realism=1.0)
    result = solve(problem(), FIELD, solver, runs=3, hooks=[Mean()], progress=False)
    chains = chains_of(result, "mean", warmup=0.4)
    assert chains.shape == (2, 3, 12)
    torch.testing.assert_close(chains[1, 2], result.history["mean"][8:, 1, 2])
    assert rhat(chains).shape == (2,)
    with pytest.raises(InvalidArgument, match=r"name: expected one of .*mean"):
        chains_of(result, "variance")


@pytest.mark.parametrize("f", [rhat, ess_bulk, ess_tail])
def test_short_chains_are_refused(f):
    with pytest.raises(InvalidArgument, match=r"chains: expected .* at least 8"):
        f(torch.zeros(4, 7, dtype=F64))
    with pytest.raises(InvalidArgument, match="chains: expected finite"):
        f(torch.full((4, 9), torch.nan, dtype=F64))


def test_without_arviz_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_base", None)
    result = sample_posterior(problem(), FIELD, 2, solver=NoiseAwareREDDiff.default(3, realism=1.0))
    with pytest.raises(Unsupported, match=r'pip install "reddiff\[arviz\]"'):
        to_arviz(result)


def test_what_arviz_is_given(monkeypatch):
    """The real one is tried in the tests beside other libraries."""
    given = {}
    module = ModuleType("arviz_base")
    module.from_dict = lambda groups, **more: given.update(groups=groups, **more)
    monkeypatch.setitem(sys.modules, "arviz_base", module)
    solver = NoiseAwareREDDiff.default(3, realism=1.0)
    result = sample_posterior(problem(), FIELD, 5, solver=solver, ids=[7, 3], hooks=[Mean()])
    to_arviz(result, problem())
    x = given["groups"]["posterior"]["x"]
    assert x.shape == (1, 5, 2, 1, 4, 4)
    np.testing.assert_array_equal(x[0, 3, 1], result.samples[1, 3])
    assert given["groups"]["history"]["mean"].shape == (5, 3, 2)
    assert given["groups"]["observed_data"]["y"].shape == (2, 1, 4, 4)
    assert given["coords"] == {"lane": [7, 3]}
    assert given["dims"]["x"] == ["lane", "x_0", "x_1", "x_2"]
