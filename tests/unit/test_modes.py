"""Results do not depend on the modes of torch around a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import reddiff
from reddiff import Gaussian, Problem, iterate, solve
from reddiff.operators import CircularBlur, gaussian_psf
from reddiff.priors import FFDNetPrior, GaussianRandomField, photo_prior
from reddiff.run.modes import differentiable_module, ordinary_modes
from reddiff.solvers import DPS, MMPS
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

IMAGE = np.random.default_rng(0).random((16, 16, 3))
QUICK = {"noise": 0.05, "steps": 2}


@contextmanager
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES = {
    "float64": double,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
}


@pytest.fixture(scope="module", params=[{"task": "sr:bicubic", "scale": 2}, {"task": "jpeg:30"}])
def ordinary(request):
    """A task, and the result without a mode."""
    return request.param, reddiff.restore(IMAGE, **request.param, **QUICK).pixels


@pytest.mark.parametrize("mode", MODES)
def test_restore_in_every_mode(mode, ordinary):
    task, wanted = ordinary
    with MODES[mode]():
        out = reddiff.restore(IMAGE, **task, **QUICK)
        again = reddiff.degrade(out.picture, **task)
    assert torch.equal(out.pixels, wanted)
    assert again.pixels.dtype == torch.float32
    assert not out.pixels.is_inference()


@pytest.mark.parametrize("solver", ["dps", "mcg", "pigdm", "tmpd", "mmps", "sitcom"])
def test_every_solver_under_inference_mode(solver):
    with torch.inference_mode():
        out = reddiff.restore(IMAGE, task="sr", scale=2, solver=solver, **QUICK)
    assert torch.isfinite(out.pixels).all()


@pytest.mark.parametrize("solver", ["noise-aware", "dps", "ddrm", "daps"])
def test_solvers_with_float64_as_the_default(solver):
    wanted = reddiff.restore(IMAGE, task="sr", scale=2, solver=solver, **QUICK).pixels
    with double():
        out = reddiff.restore(IMAGE, task="sr", scale=2, solver=solver, **QUICK).pixels
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("preset", [DPS.paper, MMPS.paper])
def test_problems_and_priors_made_under_inference_mode(preset):
    """Their tensors are ones that autograd refuses to save."""

    def made() -> tuple[Problem, reddiff.priors.Prior]:
        field = GaussianRandomField(-2.0)
        field.register_buffer("scale", torch.ones(1, dtype=torch.float64))
        blur = CircularBlur(gaussian_psf(0.7))
        y = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 1, 8, 8)
        return Problem(y, blur, Gaussian(0.1)), field

    problem, prior = made()
    solver = preset(3).fitted(within(0.01, 10.0))
    wanted = solve(problem, prior, solver).x
    with torch.inference_mode():
        problem, prior = made()
        assert problem.y.is_inference()
        out = solve(problem, prior, solver).x
        steps = [progress.step for progress in iterate(problem, prior, solver)]
        assert torch.is_inference_mode_enabled()
    assert torch.equal(out, wanted)
    assert steps == [1, 2, 3]


def test_modules_are_copied_only_where_they_must_be():
    prior = photo_prior()
    assert differentiable_module(prior) is prior
    with torch.inference_mode():
        field = CircularBlur(gaussian_psf(0.7))
    assert differentiable_module(field) is not field
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), ordinary_modes():
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert not torch.is_grad_enabled()


def test_networks_load_in_float32_whatever_the_default():
    with double():
        for prior in (photo_prior(), FFDNetPrior()):
            assert prior.dtype == torch.float32
