"""Law: the same A gives the same quality, however it is written down.

A class with a spectral form is solved in spectral coordinates; a function, a composition and a
SciPy operator by conjugate gradients. Most A are weak (near the identity): noise that is counted
twice shows there first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator as ScipyOperator
from skimage import data
from torch import Tensor

from reddiff import Gaussian, Problem, from_linear_operator, operator, solve
from reddiff.metrics import psnr
from reddiff.operators import (
    BlockMean,
    ChannelMix,
    CircularBlur,
    Diagonal,
    Identity,
    LinearOperator,
    Mask,
    Operator,
    gaussian_psf,
)
from reddiff.operators.base import Shape
from reddiff.priors import photo_prior
from reddiff.solvers import NoiseAwareREDDiff

SIDE, STEPS, SIGMA = 48, 20, 0.2
SHAPE = (3, SIDE, SIDE)
VIGNETTE = (1 - 0.4 * torch.linspace(-1, 1, SIDE) ** 2).expand(SHAPE)
CLASSES: dict[str, LinearOperator] = {
    "identity": Identity(),
    "vignette": Diagonal(VIGNETTE),
    "mild blur": CircularBlur(gaussian_psf(0.5).float()),
    "blur": CircularBlur(gaussian_psf(1.5).float()),
    "channel mean": ChannelMix(torch.full((1, 3), 1 / 3)),
    "block mean": BlockMean(2),
    "mask": Mask((torch.arange(SIDE * SIDE).view(SIDE, SIDE) % 3 > 0).float()),
}


# y says nothing of colors there: they are drawn, and so is their error (16 to 19 dB with the seed).
SEEN: dict[str, Callable[[Tensor], Tensor]] = {"channel mean": lambda x: x.mean(1, keepdim=True)}


class Hidden(LinearOperator):
    """An operator of which nobody knows the spectrum."""

    def __init__(self, inner: LinearOperator) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(y)

    def measured(self, y: Tensor) -> Tensor:
        return self.inner.measured(y)

    def x_shape(self, y_shape: Shape) -> Shape:
        return self.inner.x_shape(y_shape)


def scipy_form(a: LinearOperator) -> Operator:
    y_shape = tuple(a(torch.zeros(1, *SHAPE)).shape[1:])

    def matvec(x: np.ndarray) -> np.ndarray:
        return a.double()(torch.from_numpy(x.reshape(1, *SHAPE).astype(float))).numpy().ravel()

    def rmatvec(y: np.ndarray) -> np.ndarray:
        y = torch.from_numpy(y.reshape(1, *y_shape).astype(float))
        return a.double().adjoint(y).numpy().ravel()

    size = int(np.prod(y_shape)), int(np.prod(SHAPE))
    vectors = ScipyOperator(size, matvec=matvec, rmatvec=rmatvec)
    return from_linear_operator(vectors, x_shape=SHAPE)


FORMS: dict[str, Callable[[LinearOperator], Operator]] = {
    "own class": Hidden,
    "function": lambda a: operator(lambda x: a(x), x_shape=SHAPE),
    "composition": lambda a: Hidden(Identity()) @ Hidden(a),
    "SciPy": scipy_form,
}


WRITTEN = [(form, name) for form in ("function", "composition") for name in CLASSES]
WRITTEN += [("own class", "mild blur"), ("SciPy", "mild blur"), ("SciPy", "mask")]


def pictures() -> Tensor:
    crops = [data.astronaut()[20:68, 190:238], data.coffee()[150:198, 200:248]]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def quality() -> Callable[[str, Operator, Tensor], float]:
    prior, truth = photo_prior(), pictures()
    solver = NoiseAwareREDDiff.for_prior(prior, STEPS)

    def run(name: str, a: Operator, y: Tensor) -> float:
        x = solve(Problem(y, a, Gaussian(SIGMA)), prior, solver, check=False).x
        seen = SEEN.get(name, lambda v: v)
        return float(psnr((seen(x) + 1) / 2, (seen(truth) + 1) / 2).mean())

    return run


@pytest.fixture(scope="module")
def best(quality) -> Callable[[str], tuple[Tensor, float]]:
    """y of an A, and the PSNR of its spectral form."""

    @cache
    def found(name: str) -> tuple[Tensor, float]:
        y = Problem.simulate(pictures(), CLASSES[name], Gaussian(SIGMA)).y
        return y, quality(name, CLASSES[name], y)

    return found


@pytest.mark.parametrize(("form", "name"), WRITTEN)
def test_every_form_of_an_operator_is_restored_alike(
    form, name, quality, best, measure, monkeypatch
):
    """Conjugate gradients, with the search for a closed form turned off."""
    monkeypatch.setattr("reddiff.problem.problem.simplified", lambda a, y: a)
    y, wanted = best(name)
    y = y.flatten(1) if form == "SciPy" else y
    got = quality(name, FORMS[form](CLASSES[name]), y)
    measure(f"{name} as {form}: {got:.2f} dB, spectral {wanted:.2f}")
    assert abs(got - wanted) < 0.3


def test_what_blurs_little_is_no_worse_than_noise_alone(best):
    """As a denoiser of the same y would do; deblurring by a kernel this small gains nothing."""
    assert best("mild blur")[1] > best("identity")[1] - 3
    assert best("vignette")[1] > best("identity")[1] - 3
