"""Every bad input the library promises to refuse, refused before the network is called.

The run-time type checks of the test suite are off here: a user does not have them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.optim import LBFGS

from reddiff import (
    Gaussian,
    InvalidArgument,
    Poisson,
    Problem,
    ReddiffError,
    Snapshot,
    SnapshotError,
    Unsupported,
    solve,
)
from reddiff.operators import (
    BlockMean,
    CircularBlur,
    Mask,
    Matrix,
    Operator,
    SpectralOperator,
    gaussian_psf,
)
from reddiff.priors import Prior
from reddiff.schedules import constant, cosine, flow, karras, vp
from reddiff.snapshot import snapshot as snapshot_module
from reddiff.solvers import REDDiff
from reddiff.solvers.inits import Given
from reddiff.solvers.orders import order
from reddiff.solvers.weightings import weighting
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

Y = torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KEPT = (torch.arange(36).view(6, 6) % 3 > 0).double()
MASK = Mask(KEPT)
SOLVER = REDDiff(karras(4, 0.01, 1.0))


class Tripwire(Prior):
    """A prior in float64 for images of two channels, that must not be called."""

    trusted = True

    def __init__(self) -> None:
        super().__init__((2, None, None), sigma_min=0.005, sigma_max=50.0)
        self.register_buffer("buffer", torch.zeros(1, dtype=torch.float64))
        self.calls = 0

    def denoise(self, x, sigma):
        self.calls += 1
        raise AssertionError("the network was called")


class Plain(Operator):
    """The identity, not known to be linear and without parameters."""

    def forward(self, x):
        return x

    def x_shape(self, y_shape):
        return y_shape


class Cropping(Plain):
    """Wrong about the shape of its x."""

    def forward(self, x):
        return x[..., :4]


class NeedsSpectrum(REDDiff):
    requires = SpectralOperator


class NeedsGaussian(REDDiff):
    noises = Gaussian


def run(
    prior: Prior | None,
    y: Any = Y,
    operator: Any = MASK,
    noise: Any = Gaussian(0.1),  # noqa: B008
    solver: Any = SOLVER,
    **options: Any,
) -> None:
    solve(Problem(y, operator, noise), prior, solver, **options)


def with_value(value: float) -> torch.Tensor:
    y = Y.clone()
    y[1, 0, KEPT.bool()] = value
    return y


def psf(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


def resumed(prior: Prior, **changes: Any) -> None:
    """Resume from the snapshot of a run that was stopped before its first step."""
    saved = solve(Problem(Y, MASK, Gaussian(0.1)), prior, SOLVER, stop_at=0).snapshot
    run(prior, resume=saved, **changes)


def loaded(prior: Prior, folder: Path, share: float = 1.0) -> None:
    """Resume from a snapshot file that has lost its end."""
    path = folder / "run"
    solve(Problem(Y, MASK, Gaussian(0.1)), prior, SOLVER, stop_at=0).snapshot.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    run(prior, resume=Snapshot.load(path))


class Case(NamedTuple):
    """What is done, and what the error says: whose fault, what was expected, what came."""

    act: Callable[[Prior], None]
    argument: str
    expected: str
    got: str
    error: type[ReddiffError] = InvalidArgument


Y_CASES = {
    "a list": Case(partial(run, y=[[1.0]]), "y", "a torch.Tensor", "list"),
    "integers": Case(partial(run, y=Y.long()), "y", "a floating-point dtype", "torch.int64"),
    "complex": Case(
        partial(run, y=Y.to(torch.complex128)), "y", "a floating-point dtype", "torch.complex128"
    ),
    "other dtype than the operator": Case(
        partial(run, operator=Mask(KEPT.float())),
        "y",
        "dtype torch.float32, as operator.mask",
        "torch.float64",
    ),
    "other dtype than the prior": Case(
        partial(run, y=Y.float(), operator=BlockMean(1)),
        "y",
        "dtype torch.float64, as the prior",
        "torch.float32",
    ),
    "other device than the operator": Case(
        partial(run, y=Y.to("meta")), "y", "device cpu, as operator.mask", "meta"
    ),
    "other device than the prior": Case(
        lambda prior: run(prior.to("meta")), "y", "device meta, as the prior", "cpu"
    ),
    "no lanes axis": Case(partial(run, y=Y[0, 0, 0]), "y", "shape (b, ...)", "(6,)"),
    "no lanes": Case(partial(run, y=Y[:0]), "y", "at least one lane and entry", "(0, 2, 6, 6)"),
    "no rows": Case(partial(run, y=Y[:, :, :0]), "y", "at least one lane", "(3, 2, 0, 6)"),
    "rank": Case(
        partial(run, y=Y[:, 0], operator=BlockMean(2)), "y", "shape (b, c, h, w)", "(b, 6, 6)"
    ),
    "rank for a blur": Case(
        partial(run, y=Y[:, 0], operator=CircularBlur(psf(3, 3))),
        "y",
        "shape (b, c, h, w)",
        "(b, 6, 6)",
    ),
    "rows of a matrix": Case(
        partial(run, y=Y[:, 0, 0, :5], operator=Matrix(psf(6, 8))), "y", "shape (b, 6)", "(b, 5)"
    ),
    "channels": Case(
        partial(run, y=Y[:, :1]), "prior", "a prior for x of shape (1, 6, 6)", "(2, None, None)"
    ),
    "another shape than A(x)": Case(
        partial(run, operator=Cropping()), "y", "shape (3, 2, 6, 4), that of A(x)", "(3, 2, 6, 6)"
    ),
    "nan": Case(
        partial(run, y=with_value(math.nan)), "y", "finite values", "nan or inf in lanes [1]"
    ),
    "inf": Case(
        partial(run, y=with_value(math.inf)), "y", "finite values", "nan or inf in lanes [1]"
    ),
    "-inf": Case(partial(run, y=with_value(-math.inf)), "y", "finite values", "lanes [1]"),
    "negative counts": Case(
        partial(run, y=-Y.abs(), noise=Poisson(1.0)), "y", "values of 0 or more under Poisson", "-"
    ),
    "no operator": Case(partial(run, operator=torch.relu), "operator", "an Operator", "builtin"),
    "no noise": Case(partial(run, noise=0.1), "noise", "a Noise, such as Gaussian(sigma)", "float"),
}

NOISE_CASES = {
    "negative": Case(lambda p: run(p, noise=Gaussian(-0.1)), "sigma", "0 or more", "-0.1"),
    "true": Case(lambda p: run(p, noise=Gaussian(True)), "sigma", "0 or more", "True"),
    "nan": Case(lambda p: run(p, noise=Gaussian(math.nan)), "sigma", "finite values", "nan"),
    "inf": Case(lambda p: run(p, noise=Gaussian(math.inf)), "sigma", "finite values", "inf"),
    "a string": Case(lambda p: run(p, noise=Gaussian("0.1")), "sigma", "0 or more", "0.1"),
    "one lane negative": Case(
        lambda p: run(p, noise=Gaussian(torch.tensor([0.1, -0.2, 0.1]))),
        "sigma",
        "0 or more",
        "-0.2",
    ),
    "one lane nan": Case(
        lambda p: run(p, noise=Gaussian(torch.tensor([0.1, math.nan]))), "sigma", "finite", "nan"
    ),
    "per pixel": Case(
        lambda p: run(p, noise=Gaussian(psf(6, 6))), "sigma", "a number or shape (b,)", "(6, 6)"
    ),
    "other lanes": Case(
        partial(run, noise=Gaussian(psf(2))), "sigma", "one value per lane of y, 3", "2 values"
    ),
    "poisson gain 0": Case(lambda p: run(p, noise=Poisson(0.0)), "gain", "positive finite", "0.0"),
    "poisson gain nan": Case(
        lambda p: run(p, noise=Poisson(math.nan)), "gain", "positive finite", "nan"
    ),
    "poisson floor": Case(
        lambda p: run(p, noise=Poisson(1.0, floor=-1.0)), "floor", "positive finite", "-1.0"
    ),
    "noiseless and in nats": Case(
        partial(run, noise=Gaussian(0.0), solver=REDDiff(SOLVER.schedule, nats=True)),
        "REDDiff",
        "noise with sigma > 0",
        "sigma = 0",
        Unsupported,
    ),
    "one lane noiseless and in nats": Case(
        partial(
            run,
            noise=Gaussian(torch.tensor([0.1, 0.0, 0.1])),
            solver=REDDiff(SOLVER.schedule, nats=True),
        ),
        "REDDiff",
        "noise with sigma > 0",
        "sigma = 0",
        Unsupported,
    ),
}

PER_LANE = torch.stack([KEPT, KEPT, 0 * KEPT])

OPERATOR_CASES = {
    "mask of another shape": Case(
        partial(run, operator=Mask(psf(5, 6))), "mask", "broadcasts to (2, 6, 6)", "(5, 6)"
    ),
    "mask of more axes": Case(
        partial(run, operator=Mask(psf(1, 2, 6, 6))), "mask", "broadcasts to (2, 6, 6)", "(1, 2, 6"
    ),
    "mask without a kept pixel": Case(
        lambda p: run(p, operator=Mask(0 * KEPT)), "mask", "at least one kept entry", "lanes [0]"
    ),
    "mask without a kept pixel in one lane": Case(
        lambda p: run(p, operator=Mask(PER_LANE, per_lane=True)),
        "mask",
        "at least one kept entry",
        "none kept in lanes [2]",
    ),
    "mask that is not 0 or 1": Case(
        lambda p: run(p, operator=Mask(KEPT / 2)), "mask", "entries 0 or 1", "from 0 to 0.5"
    ),
    "mask with nan": Case(
        lambda p: run(p, operator=Mask(KEPT / 0)), "mask", "entries 0 or 1", "nan"
    ),
    "mask for other lanes": Case(
        partial(run, operator=Mask(PER_LANE[:2], per_lane=True)), "y", "2 lanes", "(3, 2, 6, 6)"
    ),
    "mask of one lane per number": Case(
        lambda p: run(p, operator=Mask(psf(3), per_lane=True)), "mask", "shape (b, ...)", "(3,)"
    ),
    "empty mask": Case(lambda p: run(p, operator=Mask(psf(0))), "mask", "at least one", "(0,)"),
    "psf larger than the image": Case(
        partial(run, operator=CircularBlur(psf(7, 3))),
        "psf",
        "the size of the image (6, 6)",
        "(7, 3)",
    ),
    "psf of even sides": Case(
        lambda p: run(p, operator=CircularBlur(psf(4, 3))), "psf", "odd sides", "(4, 3)"
    ),
    "psf of another rank": Case(
        lambda p: run(p, operator=CircularBlur(psf(3))), "psf", "shape (kh, kw)", "(3,)"
    ),
    "psf per lane of another rank": Case(
        lambda p: run(p, operator=CircularBlur(psf(3, 3), per_lane=True)),
        "psf",
        "shape (b, kh, kw)",
        "(3, 3)",
    ),
    "psf of zeros": Case(
        lambda p: run(p, operator=CircularBlur(0 * psf(3, 3))), "psf", "not zero", "all zero"
    ),
    "psf with nan": Case(
        lambda p: run(p, operator=CircularBlur(psf(3, 3) * math.nan)), "psf", "finite", "nan or inf"
    ),
    "psf for other lanes": Case(
        partial(run, operator=CircularBlur(psf(2, 3, 3), per_lane=True)), "y", "2 lanes", "(3, 2,"
    ),
    "width of a psf": Case(lambda p: gaussian_psf(0.0), "sigma", "positive number", "0.0"),
    "radius of a psf": Case(lambda p: gaussian_psf(1.0, -1), "radius", "0 or more", "-1"),
    "factor 0": Case(
        lambda p: run(p, operator=BlockMean(0)), "factor", "integer of at least 1", "0"
    ),
    "factor 1.5": Case(lambda p: run(p, operator=BlockMean(1.5)), "factor", "integer", "1.5"),
    "matrix of another rank": Case(lambda p: Matrix(psf(3)), "a", "shape (m, n)", "(3,)"),
    "matrix of nan": Case(lambda p: Matrix(psf(2, 2) * math.nan), "a", "finite", "nan or inf"),
    "matrix of zeros": Case(lambda p: Matrix(0 * psf(2, 2)), "a", "not zero", "zeros"),
    "matrix for another x": Case(
        lambda p: Matrix(psf(2, 6), shape=(5,)), "shape", "6 entries", "(5,)"
    ),
    "lanes of a composition": Case(
        lambda p: Mask(PER_LANE[:2], per_lane=True) @ CircularBlur(psf(3, 3, 3), per_lane=True),
        "operators",
        "the same number of lanes",
        "2 and 3 lanes",
    ),
    "no spectrum": Case(
        partial(run, operator=Plain(), solver=NeedsSpectrum(SOLVER.schedule)),
        "NeedsSpectrum",
        "operator of type SpectralOperator",
        "Plain",
        Unsupported,
    ),
    "another noise": Case(
        partial(run, y=Y.abs(), noise=Poisson(1.0), solver=NeedsGaussian(SOLVER.schedule)),
        "NeedsGaussian",
        "noise of type Gaussian",
        "Poisson",
        Unsupported,
    ),
}

SIMULATE_CASES = {
    "mask": Case(
        lambda p: Problem.simulate(Y, Mask(psf(5, 6)), Gaussian(0.1)),
        "mask",
        "broadcasts to (2, 6, 6)",
        "(5, 6)",
    ),
    "mask for other lanes": Case(
        lambda p: Problem.simulate(Y, Mask(PER_LANE[:2], per_lane=True), Gaussian(0.1)),
        "x",
        "2 lanes, as the operator",
        "(3, 2, 6, 6)",
    ),
    "psf": Case(
        lambda p: Problem.simulate(Y, CircularBlur(psf(7, 7)), Gaussian(0.1)),
        "psf",
        "at most the size of the image (6, 6)",
        "(7, 7)",
    ),
    "sides": Case(
        lambda p: Problem.simulate(Y, BlockMean(4), Gaussian(0.1)),
        "x",
        "divisible by the factor 4",
        "6 x 6",
    ),
    "columns of a matrix": Case(
        lambda p: Problem.simulate(Y, Matrix(psf(3, 4)), Gaussian(0.1)),
        "x",
        "(b, *(4,))",
        "(b, *(2,",
    ),
    "ids": Case(
        lambda p: Problem.simulate(Y, MASK, Gaussian(0.1), ids=(0, 1)), "ids", "3 ids", "2 ids"
    ),
    "negative rates": Case(
        lambda p: Problem.simulate(Y, MASK, Poisson(1.0)), "a", "rates of 0 or more", "-"
    ),
}


def steps_cases(value: object) -> dict[str, Case]:
    families = {
        "vp": vp,
        "cosine": cosine,
        "karras": karras,
        "flow": flow,
        "constant": lambda n: constant(n, 0.1),
        "paper": REDDiff.paper,
    }
    return {
        f"{name} {value!r}": Case(
            lambda p, make=make: run(p, solver=make(value)),
            "steps",
            "an integer of at least 1",
            repr(value),
        )
        for name, make in families.items()
    }


SOLVER_CASES = {
    "levels above the prior": Case(
        partial(run, solver=REDDiff(karras(4, 0.01, 51.0))),
        "schedule",
        "within the prior's 0.005 to 50",
        "0.01 to 51",
    ),
    "levels below the prior": Case(
        partial(run, solver=REDDiff(karras(4, 0.004, 1.0))),
        "schedule",
        "within the prior's 0.005 to 50",
        "0.004 to 1",
    ),
    **{
        name: case
        for value in (0, -3, 2.5, "10", True)
        for name, case in steps_cases(value).items()
    },
    "more steps than levels": Case(lambda p: REDDiff.paper(1001), "steps", "at most 1000", "1001"),
    "no levels in the range": Case(
        lambda p: REDDiff.paper(5, prior=within(300.0)),
        "sigma_min, sigma_max",
        "meets the levels",
        "300",
    ),
    "a weighting's name": Case(
        lambda p: weighting("linaer"), "weighting", "one of linear, sqrt", "linaer"
    ),
    "an order's name": Case(
        lambda p: order("up"), "order", "one of descending, ascending, random, stratified", "up"
    ),
    "start of another shape": Case(
        partial(run, solver=REDDiff(SOLVER.schedule, start=Given(Y[:2]))),
        "x",
        "shape (3, 2, 6, 6)",
        "(2, 2, 6, 6)",
    ),
    "lbfgs with several gradients per step": Case(
        partial(run, solver=REDDiff(SOLVER.schedule, LBFGS)),
        "optimizer",
        "max_iter=1",
        "max_iter=20",
    ),
}

RUN_CASES = {
    "no problem": Case(lambda p: solve(None, p, SOLVER), "problem", "a Problem", "NoneType"),
    "no prior": Case(lambda p: run(None), "prior", "a Prior", "NoneType"),
    "no solver": Case(partial(run, solver="reddiff"), "solver", "a Solver", "str"),
    "a class for a solver": Case(partial(run, solver=REDDiff), "solver", "a Solver", "ABCMeta"),
    "duplicate ids": Case(
        partial(run, ids=(4, 1, 4)), "ids", "distinct ids", "more than one of [4]"
    ),
    "too few ids": Case(partial(run, ids=(1, 2)), "ids", "3 ids", "2 ids"),
    "too many ids": Case(partial(run, ids=range(4)), "ids", "3 ids", "4 ids"),
    "one id": Case(partial(run, ids=5), "ids", "a Sequence", "int"),
    "ids of another type": Case(
        partial(run, ids=("a", "b", "c")), "ids", "integers of 64 bits", "'a'"
    ),
    "ids too large": Case(
        partial(run, ids=(0, 1, 2**63)), "ids", "integers of 64 bits", str(2**63)
    ),
    "seed": Case(partial(run, seed=0.5), "seed", "integers of 64 bits", "0.5"),
    "no samples": Case(partial(run, runs=0), "runs", "an integer of at least 1", "0"),
    "half a sample": Case(partial(run, runs=1.5), "runs", "an integer of at least 1", "1.5"),
    "tolerance 0": Case(partial(run, tol=0.0), "tol", "a positive finite number", "0.0"),
    "tolerance of a text": Case(partial(run, tol="a"), "tol", "a positive finite number", "a"),
    "a pause before the start": Case(
        partial(run, stop_at=-1), "stop_at", "an integer of at least 0", "-1"
    ),
    "a pause within a step": Case(
        partial(run, stop_at=1.5), "stop_at", "an integer of at least 0", "1.5"
    ),
    "tolerance nan": Case(partial(run, tol=math.nan), "tol", "a positive finite number", "nan"),
    "a path for a snapshot": Case(partial(run, resume="run"), "resume", "a Snapshot", "str"),
    "snapshot of another solver": Case(
        partial(resumed, solver=REDDiff(SOLVER.schedule, weight=2.0)),
        "resume",
        "a snapshot of REDDiff with weight=2.0",
        "one with weight=0.25",
        SnapshotError,
    ),
    "snapshot of another shape": Case(
        partial(resumed, y=Y[:2]),
        "resume",
        "y of shape (3, 2, 6, 6)",
        "(2, 2, 6, 6)",
        SnapshotError,
    ),
}

TABLES = {
    "y": Y_CASES,
    "noise": NOISE_CASES,
    "operator": OPERATOR_CASES,
    "simulate": SIMULATE_CASES,
    "solver": SOLVER_CASES,
    "run": RUN_CASES,
}
ALL = {f"{table}: {name}": c for table, cases in TABLES.items() for name, c in cases.items()}


def refuse(act: Callable[[Prior], None], case: Case) -> None:
    prior = Tripwire()
    with pytest.raises(ReddiffError) as caught:
        act(prior)
    assert caught.type is case.error
    assert prior.calls == 0
    message = str(caught.value)
    named, _, rest = message.partition(": expected ")
    expected, _, got = rest.rpartition(", got ")
    assert named.endswith(case.argument), message
    assert case.expected in expected, message
    assert case.got in got, message


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_refused_before_the_network_is_called(case):
    refuse(case.act, case)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_a_truncated_snapshot_is_refused(share, tmp_path):
    case = Case(partial(loaded, folder=tmp_path, share=share), "run", "a reddiff snapshot", "")
    refuse(case.act, case._replace(error=SnapshotError))


def test_a_snapshot_of_another_version_is_refused(tmp_path, monkeypatch):
    def act(prior: Prior) -> None:
        saved = solve(Problem(Y, MASK, Gaussian(0.1)), prior, SOLVER, stop_at=0).snapshot
        monkeypatch.setattr(snapshot_module, "FORMAT", 99)
        saved.save(tmp_path / "run")
        monkeypatch.undo()
        run(prior, resume=Snapshot.load(tmp_path / "run"))

    refuse(act, Case(act, "run", f"format {snapshot_module.FORMAT}", "99", SnapshotError))


@pytest.mark.parametrize("sigma", [0, 0.0, torch.zeros(3)], ids=repr)
def test_the_noiseless_limit_is_taken_where_there_is_one(sigma, prior):
    run(prior, noise=Gaussian(sigma))


def test_a_good_run_reaches_the_network():
    """The table would pass as well if every run were refused."""
    prior = Tripwire()
    with pytest.raises(AssertionError, match="the network was called"):
        run(prior)
    assert prior.calls == 1


def test_errors_are_documented_where_they_are_raised():
    for where in (Problem, Gaussian, Poisson, Mask, CircularBlur, Matrix, solve, Snapshot.load):
        assert "Raises:" in where.__doc__
