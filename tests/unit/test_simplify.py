from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, Problem, operator, solve
from reddiff.operators import (
    CircularBlur,
    Diagonal,
    Identity,
    Mask,
    Operator,
    gaussian_psf,
)
from reddiff.operators.simplify import simplified
from reddiff.priors import GaussianRandomField
from reddiff.solvers import DDRM

SHAPE = (1, 8, 8)
Y = torch.zeros(2, *SHAPE, dtype=torch.float64)
WEIGHTS = 1 + torch.arange(64, dtype=torch.float64).view(SHAPE) / 64
BLUR = CircularBlur(gaussian_psf(1.0, 2))
HOLES = Mask((torch.arange(64).view(SHAPE) % 3 > 0).double())


def own(function) -> Operator:
    return operator(function, x_shape=SHAPE, example=Y)


@pytest.mark.parametrize("a", [own(lambda x: x), own(lambda x: x.clone()), Identity() @ Identity()])
def test_identities_are_found(a):
    assert isinstance(simplified(a, Y), Identity)


@pytest.mark.parametrize("a", [own(lambda x: WEIGHTS * x), Diagonal(WEIGHTS) @ HOLES])
def test_diagonal_operators_are_found(a):
    found = simplified(a, Y)
    x = torch.randn(2, *SHAPE, dtype=torch.float64)
    assert isinstance(found, Diagonal)
    torch.testing.assert_close(found(x), a(x))
    assert (found.measured(Y) == (a(x) != 0)).all()


@pytest.mark.parametrize(
    "a", [Identity() @ BLUR, BLUR @ Identity(), Mask(torch.ones(8, 8).double()) @ BLUR]
)
def test_identities_leave_compositions(a):
    assert simplified(a, Y) is BLUR


@pytest.mark.parametrize(
    "a",
    [
        own(lambda x: x.roll(1, -1)),
        own(lambda x: x + 1e-6 * x.roll(1, -1)),
        own(lambda x: x**3),
        HOLES @ BLUR,
        BLUR,
        Diagonal(torch.stack([WEIGHTS, WEIGHTS]), per_lane=True) @ HOLES,
    ],
)
def test_others_stay_as_they_are(a):
    assert simplified(a, Y) is a


def test_solvers_in_spectral_coordinates_take_what_is_diagonal():
    prior = GaussianRandomField(channels=1)
    x = torch.randn(2, *SHAPE, dtype=torch.float64)
    wanted, got = (
        solve(Problem.simulate(x, a, Gaussian(0.1)), prior, DDRM.paper(4)).x
        for a in (Diagonal(WEIGHTS), own(lambda x: WEIGHTS * x))
    )
    torch.testing.assert_close(got, wanted)
