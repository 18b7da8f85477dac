"""Phase retrieval against NumPy; ambiguities, initial estimate and errors."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_refused
from reddiff import Gaussian, Keys, Problem, solve
from reddiff.lanes import norm
from reddiff.operators import CodedDiffraction, PhaseRetrieval, octanary_codes, uniform_codes
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff


def distance(x, truth):
    """||x - truth|| / ||truth||, up to the sign of each channel."""
    gaps = [torch.linalg.vector_norm(s * x - truth, dim=(-2, -1)) for s in (1, -1)]
    return torch.minimum(*gaps) / torch.linalg.vector_norm(truth, dim=(-2, -1))


@pytest.mark.parametrize("oversampling", [1.0, 1.5, 2.0, 2.7])
def test_moduli_are_those_of_the_padded_transform(oversampling):
    x = zoo.randn(2, 3, 6, 5)
    sides = [math.floor(oversampling * n + 0.5) for n in (6, 5)]
    wanted = np.abs(np.fft.fft2(x.numpy(), s=sides, norm="ortho"))
    np.testing.assert_allclose(PhaseRetrieval(oversampling)(x).numpy(), wanted, atol=1e-13)
    z = x[:, :2]
    wanted = np.abs(np.fft.fft2(z[:, :1].numpy() + 1j * z[:, 1:].numpy(), s=sides, norm="ortho"))
    got = PhaseRetrieval(oversampling, complex_x=True)(z).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-13)


def test_coded_moduli():
    x, codes = zoo.randn(2, 3, 6, 5), octanary_codes(4, (6, 5))
    m = codes[:, 0].numpy() + 1j * codes[:, 1].numpy()
    wanted = np.abs(np.fft.fft2(m * x.numpy()[:, :, None], norm="ortho"))
    operator = CodedDiffraction(codes)
    np.testing.assert_allclose(operator(x).numpy(), wanted, atol=1e-13)
    assert torch.equal(CodedDiffraction(torch.from_numpy(m))(x), operator(x))
    per_lane = CodedDiffraction(torch.stack([codes, codes.flip(0)]), per_lane=True)
    wanted = torch.stack([operator(x)[0], operator(x)[1].flip(1)])
    torch.testing.assert_close(per_lane(x), wanted)


def test_what_cannot_be_told_apart():
    x = torch.zeros(1, 2, 8, 7, dtype=zoo.F64)
    x[..., 1:5, 1:6] = zoo.randn(1, 2, 4, 5)
    operator = PhaseRetrieval()
    for other in (-x, x.flip(-1, -2), x.roll((2, -1), (-2, -1))):
        torch.testing.assert_close(operator(other), operator(x))
    assert (operator(x.flip(-1)) - operator(x)).abs().max() > 0.1
    turned = torch.stack([-x[:, 1], x[:, 0]], 1)
    coded = CodedDiffraction(uniform_codes(3, (8, 7)), complex_x=True)
    torch.testing.assert_close(coded(turned), coded(x))


@given(h=st.integers(1, 40), w=st.integers(1, 40), f=st.floats(1, 5), complex_x=st.booleans())
def test_the_shape_of_x_follows_from_that_of_y(h, w, f, complex_x):
    operator = PhaseRetrieval(f, complex_x=complex_x)
    y = operator(torch.ones(1, 2, h, w))
    assert operator.x_shape(tuple(y.shape[1:])) == (2, h, w)


@pytest.mark.parametrize("complex_x", [False, True])
@pytest.mark.parametrize(
    "make",
    [PhaseRetrieval, partial(CodedDiffraction, uniform_codes(3, (4, 4)))],
    ids=["fourier", "coded"],
)
def test_slopes_and_guesses_are_finite_at_zero(make, complex_x):
    operator = make(complex_x=complex_x)
    zero = torch.zeros(1, 2, 4, 4, dtype=zoo.F64)
    a, pull = operator.vjp(zero)
    assert not a.any()
    assert not pull(torch.ones_like(a)).any()
    assert not operator.initial_estimate(a).any()
    for y in (-torch.ones_like(a), 1e30 * torch.ones_like(a), 1e-30 * torch.ones_like(a)):
        assert torch.isfinite(operator.initial_estimate(y)).all()
        assert torch.isfinite(operator.float().initial_estimate(y.float())).all()


@pytest.mark.parametrize("codes", [uniform_codes, octanary_codes])
def test_the_guess_finds_x_from_a_few_codes(codes):
    x = zoo.randn(3, 2, 16, 12)
    real = CodedDiffraction(codes(8, (16, 12)))
    assert distance(real.initial_estimate(real(x)), x).max() < 1e-3
    operator = CodedDiffraction(codes(12, (16, 12)), complex_x=True)
    found = operator.initial_estimate(operator(x))
    phase = (
        (torch.complex(found[:, 0], found[:, 1]).conj() * torch.complex(x[:, 0], x[:, 1]))
        .sum((-2, -1), keepdim=True)
        .sgn()
    )
    z = torch.complex(found[:, 0], found[:, 1]) * phase
    assert (norm(torch.stack([z.real, z.imag], 1) - x) < 0.01 * norm(x)).all()


def test_the_guess_explains_moduli_better_than_noise_does():
    x = zoo.randn(3, 1, 12, 12)
    operator = PhaseRetrieval()
    y = operator(x)
    guess = operator.initial_estimate(y)
    noise = zoo.randn(*x.shape, seed=4)
    assert (norm(operator(guess) - y) < 0.6 * norm(operator(noise) - y)).all()
    assert (norm(operator.vjp(guess)[1](operator(guess) - y)) > 0).all()


def test_restarts_find_x_from_four_codes(measure):
    prior = GaussianRandomField(-1.0)
    like = torch.empty(2, 1, 12, 12, dtype=zoo.F64)
    x = prior.sample(like, Keys(1, (0, 1)).at(5))
    operator = CodedDiffraction(uniform_codes(4, (12, 12)))
    result = solve(
        Problem.simulate(x, operator, Gaussian(0.05)),
        prior,
        NoiseAwareREDDiff.default(20),
        runs=2,
    )
    error = distance(result.best, x)
    measure(f"coded diffraction, 4 codes, sigma 0.05: relative error {float(error.max()):.3f}")
    assert error.max() < 0.15


def test_codes_are_what_they_say():
    uniform, octanary = uniform_codes(50, (20, 20)), octanary_codes(50, (20, 20))
    torch.testing.assert_close((uniform**2).sum(1), torch.ones(50, 20, 20, dtype=zoo.F64))
    assert uniform.mean((0, 2, 3)).abs().max() < 0.02
    power = (octanary**2).sum(1)
    assert abs(float(power.mean()) - 1) < 0.03
    assert abs(float((power > 1).double().mean()) - 0.2) < 0.02
    assert octanary.mean((0, 2, 3)).abs().max() < 0.02
    assert int((octanary[:, 0] * octanary[:, 1]).count_nonzero()) == 0
    assert torch.equal(octanary, octanary_codes(50, (20, 20), seed=0))
    assert not torch.equal(octanary, octanary_codes(50, (20, 20), seed=1))


CODES = torch.ones(3, 2, 4, 5)
BAD = {
    "oversampling": (partial(PhaseRetrieval, 0.5), "oversampling", "1 or more", "0.5"),
    "infinite": (partial(PhaseRetrieval, math.inf), "oversampling", "finite", "inf"),
    "odd side": (partial(PhaseRetrieval(2).x_shape, (1, 7, 8)), "y", "(8, 8)", "(7, 8)"),
    "small side": (partial(PhaseRetrieval(4).x_shape, (1, 1, 8)), "y", "(4, 8)", "(1, 8)"),
    "y rank": (partial(PhaseRetrieval().x_shape, (8, 8)), "y", "(b, c, h, w)", "(b, 8, 8)"),
    "y channels": (
        partial(PhaseRetrieval(complex_x=True).x_shape, (2, 8, 8)),
        "y",
        "(b, 1, ...)",
        "(b, 2, 8, 8)",
    ),
    "x channels": (
        partial(PhaseRetrieval(complex_x=True), torch.ones(1, 3, 4, 4)),
        "x",
        "(b, 2, h, w)",
        "(1, 3, 4, 4)",
    ),
    "codes rank": (partial(CodedDiffraction, CODES[0]), "codes", "(codes, 2, h, w)", "(2, 4, 5)"),
    "codes int": (partial(CodedDiffraction, CODES.long()), "codes", "real", "torch.int64"),
    "codes lanes": (
        partial(CodedDiffraction, CODES, per_lane=True),
        "codes",
        "(b, codes, ...)",
        "(3, 2, 4, 5)",
    ),
    "codes nan": (partial(CodedDiffraction, torch.nan * CODES), "codes", "finite", "nan"),
    "codes dark": (partial(CodedDiffraction, 0 * CODES), "codes", "other than zero", "20 pixels"),
    "coded x": (
        partial(CodedDiffraction(CODES), torch.ones(1, 1, 5, 4)),
        "x",
        "(4, 5)",
        "(5, 4)",
    ),
    "coded y": (
        partial(CodedDiffraction(CODES).x_shape, (1, 2, 4, 5)),
        "y",
        "(b, c, 3, 4, 5)",
        "(b, 1, 2, 4, 5)",
    ),
    "count": (partial(uniform_codes, 0, (4, 5)), "count", "at least 1", "0 of (4, 5)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    assert_refused(*BAD[name])
