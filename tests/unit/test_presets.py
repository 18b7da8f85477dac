"""Presets adapt to the levels of the prior; other schedules that leave them are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import Gaussian, InvalidArgument, Problem, Snapshot, solve
from reddiff import solvers as S
from reddiff.operators import BlockMean, Identity
from reddiff.priors import EpsPrior, FFDNetPrior, Prior, photo_prior
from reddiff.schedules import SLACK, Schedule, geometric, in_words, karras, vp, vp_within
from reddiff.solvers.catalogue import METHODS
from reddiff.solvers.inits import pinv, zeros
from zoo.priors import within

PRESETS: dict[str, Callable[[int], S.Solver[Any]]] = {
    "reddiff": lambda n: S.REDDiff.paper(n),
    "dps": lambda n: S.DPS.paper(n),
    "mcg": lambda n: S.MCG.paper(n),
    "pigdm": lambda n: S.PiGDM.paper(n),
    "tmpd": lambda n: S.TMPD.paper(n),
    "mmps": lambda n: S.MMPS.paper(n),
    "jfps": lambda n: S.JFPS.default(n),
    "ddrm": lambda n: S.DDRM.paper(n),
    "ddnm": lambda n: S.DDNM.paper(n),
    "ddnm+": lambda n: S.DDNMPlus.paper(n),
    "diffpir": lambda n: S.DiffPIR.paper(n),
    "daps": lambda n: replace(S.DAPS.paper(n), ode_steps=2),
    "pnpdm": lambda n: S.PnPDM.paper(n, average=1),
    "pnpdm-annealed": lambda n: S.PnPDM.annealed(n, rho_min=0.1),
    "tds": lambda n: replace(S.TDS.default(n), particles=1),
    "sitcom": lambda n: S.SITCOM.paper(n, inner=1),
    "red": lambda n: S.RED.paper(n),
    "hqs": lambda n: S.PnPHQS.paper(n),
    "ula": lambda n: S.ULA.paper(n),
    "noise-aware": lambda n: S.NoiseAwareREDDiff.default(n),
    "heun": lambda n: S.Heun.edm(n),
    "ddpm": lambda n: S.DDIM.ddpm(n),
}


class Narrow(Prior):
    """A Gaussian that refuses levels beyond its range."""

    trusted = True

    def __init__(self, low: float, high: float) -> None:
        super().__init__((1, None, None), low, high)
        self.calls = 0

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        assert self.sigma_min * (1 - 2 * SLACK) <= float(sigma.min())
        assert float(sigma.max()) <= self.sigma_max * (1 + 2 * SLACK)
        return x / (1 + sigma**2)


def problem() -> Problem:
    return Problem(0.5 * zoo.randn(2, 1, 4, 4), Identity(), Gaussian(0.1))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("low", "high"), [(0.002, 80.0), (0.2, 0.5)])
def test_presets_fit_themselves_to_the_prior(name: str, low: float, high: float) -> None:
    prior, solver = Narrow(low, high), PRESETS[name](3)
    kept = solver.schedule.levels.clone()
    run = solve(problem(), prior, solver)
    assert torch.isfinite(run.x).all()
    assert prior.calls > 0
    assert int(run.steps[0, 0]) == solver.steps  # as many as asked for
    assert torch.equal(solver.schedule.levels, kept)
    assert PRESETS[name](3).fitted(Narrow(0.0, math.inf)).schedule.levels.equal(kept)


@pytest.fixture(scope="module")
def photo() -> Prior:
    return photo_prior()


@pytest.mark.parametrize("name", [*PRESETS, *METHODS])
def test_the_photo_prior_takes_presets_of_any_number_of_levels(name: str, photo: Prior) -> None:
    """Also of more than the 930 levels of the VP chain that are within its range."""
    made = METHODS[name].make if name in METHODS else None
    make = PRESETS[name] if made is None else partial(made, None, None)
    for steps in (1, 931, 1000):
        solver = make(steps).fitted(photo)
        assert len(solver.schedule) == steps
        solver.check(problem(), photo)
        levels = solver.schedule.levels[:-1]
        assert photo.sigma_min <= levels.min() * (1 + SLACK)
        assert levels.max() <= photo.sigma_max * (1 + SLACK)


def test_what_a_range_leaves_of_the_linear_schedule() -> None:
    prior = Narrow(0.002, 80.0)
    levels = S.REDDiff.paper(1000).fitted(prior).schedule.levels
    assert len(levels) == 1001
    assert (levels.diff() < 0).all()
    assert float(levels[0]) == pytest.approx(80, rel=0.02)
    assert float(levels[-2]) == pytest.approx(float(vp(1000).levels[-2]))
    few = vp_within(20, 0.5, 2.0)
    assert torch.isin(few.levels, vp(1000).levels).all()
    kept = vp(1000).restrict(0.5, 2.0)
    same = vp_within(len(kept), 0.5, 2.0)
    torch.testing.assert_close(same.levels, kept.levels)
    double = vp_within(2 * len(kept) - 1, 0.5, 2.0)
    torch.testing.assert_close(double.levels[:-1:2], kept.levels[:-1])
    torch.testing.assert_close(
        double.alpha**2 + double.sigma**2, torch.ones(len(double) + 1).double()
    )
    narrower = S.REDDiff.paper(10, prior=within(high=5.0)).fitted(Narrow(0.5, 80.0)).schedule.levels
    assert float(narrower[0]) <= 5.0
    with pytest.raises(InvalidArgument, match="steps: expected at most 1000 levels, got 1001"):
        vp_within(1001)


def test_samplers_of_low_levels_start_from_y() -> None:
    assert S.DPS.paper(5).fitted(FFDNetPrior()).start is pinv
    assert S.DPS.paper(5).fitted(Narrow(0.002, 80.0)).start is zeros
    daps = S.DAPS.paper(5).fitted(Narrow(0.05, 80.0))
    assert isinstance(daps, S.DAPS)
    assert daps.ode_end == 0.05


def test_a_fitted_run_resumes_from_its_snapshot() -> None:
    prior = Narrow(0.05, 0.9)
    full = solve(problem(), prior, S.DDRM.paper(4))
    half: Snapshot = solve(problem(), prior, S.DDRM.paper(4), stop_at=2).snapshot
    assert torch.equal(solve(problem(), prior, S.DDRM.paper(4), resume=half).x, full.x)


def test_schedules_of_ones_own_are_refused() -> None:
    for schedule in (karras(3), geometric(3, 0.01, 1.0), vp(3)):
        with pytest.raises(InvalidArgument, match=r"schedule: expected levels .* within the prior"):
            solve(problem(), Narrow(0.05, 0.9), S.REDDiff(schedule))


@pytest.mark.parametrize("name", ["dps", "ddnm", "ddrm", "diffpir", "pigdm"])
def test_the_linear_schedule_in_single_precision(name: str) -> None:
    """That of diffusers, whose ends are off by 0.03 %."""

    class Net(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.1 * x

    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    prior = EpsPrior(Net(), (3, None, None), abar)
    assert prior.sigma_max != float(vp(1000).levels[0])
    y = Problem.simulate(torch.rand(1, 3, 4, 4), BlockMean(2), Gaussian(0.1))
    run = solve(y, prior, PRESETS[name](1000 if name == "ddrm" else 5), stop_at=1)
    assert torch.isfinite(run.x).all()


def test_levels_within_a_thousandth_of_the_ends_pass() -> None:
    for low, high, good in (
        (0.1 * 1.0009, 2.0, True),
        (0.1, 2.0 / 1.0009, True),
        (0.102, 2.0, False),
    ):
        solver = S.REDDiff(geometric(4, 0.1, 2.0))
        if good:
            solve(problem(), Narrow(low, high), solver)
            continue
        with pytest.raises(InvalidArgument, match=r"prior's 0.102 to 2 .*, got 0.1 to 2$"):
            solve(problem(), Narrow(low, high), solver)


def test_numbers_that_differ_look_different() -> None:
    assert in_words((0.01, 157.4), (0.01, 157.4)) == ("0.01 to 157.4", "0.01 to 157.4")
    assert in_words((0.01, 157.4), (0.01, 157.6)) == ("0.01 to 157.4", "0.01 to 157.6")
    wanted, got = in_words((0.0100005, 157.40001), (0.01, 157.41))
    assert wanted.split()[0] != got.split()[0]
    assert wanted.split()[2] != got.split()[2]


def test_messages_hold_no_tables() -> None:
    values = torch.linspace(2, 1, 1001)
    broken = {
        "alpha": (values.clone().index_fill(0, torch.tensor(700), math.nan), values),
        "sigma": (values, values.clone().index_fill(0, torch.tensor(700), -1.0)),
        "sigma / alpha": (torch.ones(1001), values.clone().index_fill(0, torch.tensor(700), 5.0)),
    }
    for name, (alpha, sigma) in broken.items():
        with pytest.raises(InvalidArgument, match=f"^{name}: expected ") as caught:
            Schedule(alpha, sigma)
        assert len(str(caught.value)) < 160
        assert "700" in str(caught.value)
