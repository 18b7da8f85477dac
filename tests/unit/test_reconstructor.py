"""deepinv's side, with physics and noise models that look like deepinv's; the real one is tested
in `tests/deepinv`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import reddiff
import zoo
from laws.compare import assert_same, fingerprint
from reddiff import (
    Gaussian,
    InvalidArgument,
    Laplace,
    Poisson,
    PoissonGaussian,
    Speckle,
    UnknownGaussian,
    as_reconstructor,
    from_deepinv,
)
from reddiff.interop.deepinv import noise_of, physics_operator
from reddiff.operators import CircularBlur, LinearOperator, Mask, SpectralOperator
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff
from zoo import custom

F64 = torch.float64


class Model:
    """A noise model of given parameters."""

    def __init__(self, **parameters: Any) -> None:
        vars(self).update(parameters)


class GaussianNoise(Model): ...


class ZeroNoise(Model): ...


class UniformGaussianNoise(Model): ...


class PoissonNoise(Model): ...


class PoissonGaussianNoise(Model): ...


class GammaNoise(Model): ...


class LaplaceNoise(Model): ...


class UniformNoise(Model): ...


class MyGaussianNoise(GaussianNoise): ...


class Physics(nn.Module):
    """Some linear A with its adjoint."""

    def __init__(self, noise_model: Model, **buffers: Tensor) -> None:
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.noise_model = noise_model

    def A(self, x: Tensor) -> Tensor:
        return self.mask * x

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.A(y)

    def A_adjoint_A(self, x: Tensor) -> Tensor:
        return self.A_adjoint(self.A(x))


class Rotated(Physics):
    """mask (4, 4), with U and V of its own: half of the signs are minus."""

    def U(self, z: Tensor) -> Tensor:
        return z.flip(-1)

    def U_adjoint(self, y: Tensor) -> Tensor:
        return y.flip(-1)

    def V(self, z: Tensor) -> Tensor:
        return self.turn.mT @ z

    def V_adjoint(self, x: Tensor) -> Tensor:
        return self.turn @ x

    def A(self, x: Tensor) -> Tensor:
        return self.U(self.mask * self.V_adjoint(x))

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.V(self.mask * self.U_adjoint(y))


class Clipping(Physics):
    """Not linear, and its adjoint is some pseudo-inverse."""

    A_adjoint_A = property()

    def A(self, x: Tensor) -> Tensor:
        return (self.mask * x).clamp(0, 0.8)


Y = torch.rand(3, 1, 4, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
SIGMAS = torch.tensor([0.1, 0.2, 0.3])
MASKS = zoo.coin(3, 1, 4, 4, p=0.5)


@pytest.mark.parametrize(
    ("model", "kind", "values"),
    [
        (GaussianNoise(sigma=torch.tensor(0.25)), Gaussian, {"sigma": 0.25}),
        (MyGaussianNoise(sigma=0.25), Gaussian, {"sigma": 0.25}),
        (GaussianNoise(sigma=torch.tensor([[0.25]])), Gaussian, {"sigma": 0.25}),
        (ZeroNoise(), Gaussian, {"sigma": 0.0}),
        (UniformGaussianNoise(sigma_min=0.1), UnknownGaussian, {}),
        (PoissonNoise(gain=torch.tensor(0.125), normalize=True), Poisson, {"gain": 8.0}),
        (
            PoissonGaussianNoise(gain=torch.full((3,), 0.125), sigma=0.5),
            PoissonGaussian,
            {"gain": 8.0, "sigma": 0.5},
        ),
        (GammaNoise(l=4.0), Speckle, {"looks": 4.0}),
        (LaplaceNoise(b=0.5), Laplace, {"scale": 0.5}),
    ],
)
def test_noise_models(model: Model, kind: type, values: dict[str, float]) -> None:
    y, noise = noise_of(Y, Physics(model))
    assert type(noise) is kind
    assert {name: getattr(noise, name) for name in values} == values
    assert y is Y


def test_noise_per_lane_and_counts() -> None:
    noise = noise_of(Y, Physics(GaussianNoise(sigma=SIGMAS[:, None, None, None])))[1]
    assert isinstance(noise, Gaussian)
    assert_same(torch.as_tensor(noise.sigma), SIGMAS.to(F64))
    counts, poisson = noise_of(8 * Y, Physics(PoissonNoise(gain=0.125, normalize=False)))
    assert_same(counts, Y)
    assert poisson.gain == 8.0


def test_masks_blurs_and_decompositions_become_ours() -> None:
    """So that a solver has their singular values."""
    model = GaussianNoise(sigma=0.1)
    shared = from_deepinv(Y, Physics(model, mask=MASKS[:1])).operator
    assert isinstance(shared, Mask)
    assert shared.lanes is None
    own = from_deepinv(Y, Physics(model, mask=MASKS), lanes=("mask",)).operator
    assert isinstance(own, Mask)
    assert own.lanes == 3
    turn = torch.linalg.qr(zoo.randn(4, 4)).Q
    for lanes in (1, 3):
        mask = MASKS[:lanes] * zoo.randn(lanes, 1, 4, 4)
        physics = Rotated(model, mask=mask, turn=turn)
        operator = physics_operator(physics, y=Y, lanes=("mask",) if lanes > 1 else ())
        assert isinstance(operator, SpectralOperator)
        assert operator.lanes == (None if lanes == 1 else 3)
        assert_same(operator(Y), physics.A(Y))
        assert_same(operator.adjoint(Y), physics.A_adjoint(Y))
        b = 2.0 * operator.adjoint(operator(Y)) + 0.5 * Y
        assert_same(operator.solve(b, 0.5, 2.0), Y)
        assert torch.equal(operator.measured(Y)[:1], (mask != 0).flip(-1)[:1])
        index = torch.tensor([2, 0])
        assert_same(operator.select(index)(Y[index]), physics.A(Y)[index])


def test_a_turn_that_is_none_is_not_believed() -> None:
    """V that is not orthonormal: the physics is called, and solved by iteration."""
    model = GaussianNoise(sigma=0.1)
    physics = Rotated(model, mask=MASKS[:1], turn=zoo.randn(4, 4))
    physics.V = lambda z: torch.linalg.solve(physics.turn, z)
    physics.A_adjoint = lambda y: physics.turn.mT @ (physics.mask * y.flip(-1))
    operator = physics_operator(physics, y=Y)
    assert isinstance(operator, LinearOperator)
    assert not isinstance(operator, SpectralOperator)
    assert_same(operator.solve(Y, 0.3), torch.linalg.solve(*_system(operator)).view_as(Y))


def _system(operator: LinearOperator) -> tuple[Tensor, Tensor]:
    eye = torch.eye(16, dtype=F64).view(16, 1, 4, 4)
    a = operator(eye).flatten(1).T
    return a.T @ a + 0.3 * torch.eye(16, dtype=F64), Y.flatten(1)[..., None]


def test_convolutions_become_ours() -> None:
    class Blur(Physics):
        def A(self, x: Tensor) -> Tensor:
            return CircularBlur(self.filter[0, 0])(x)

        def A_adjoint(self, y: Tensor) -> Tensor:
            return CircularBlur(self.filter[0, 0].flip(0, 1))(y)

    physics = Blur(GaussianNoise(sigma=0.1), filter=zoo.randn(1, 1, 3, 3))
    assert isinstance(from_deepinv(Y, physics).operator, CircularBlur)


def test_an_example_of_zeros_proves_nothing() -> None:
    physics = Rotated(ZeroNoise(), mask=MASKS[:1], turn=torch.linalg.qr(zoo.randn(4, 4)).Q)
    operator = physics_operator(physics, example=torch.zeros_like(Y))
    assert_same(operator(Y), physics.A(Y))


def test_nonlinear_physics() -> None:
    physics = Clipping(GaussianNoise(sigma=0.1), mask=torch.ones(1, dtype=F64))
    problem = from_deepinv(Y, physics)
    assert not isinstance(problem.operator, LinearOperator)
    x = 2 * Y - 1
    assert_same(problem.operator(x), physics.A(Y))
    assert_same(problem.operator.vjp(x)[1](Y), torch.where(Y < 0.8, Y, 0) / 2)


def test_reconstructor_is_solve() -> None:
    """In pixels: the same as solving the problem in [-1, 1]; the physics is left as it is."""
    prior = GaussianRandomField()
    physics = Physics(GaussianNoise(sigma=0.05), mask=MASKS)
    solver = NoiseAwareREDDiff.default(10)
    model = as_reconstructor(solver, prior, lanes=("mask",), seed=3)
    before = fingerprint([physics, Y])
    got = model(MASKS * Y, physics)
    assert fingerprint([physics, Y]) == before
    problem = reddiff.Problem(MASKS * (2 * Y - 1), Mask(MASKS, per_lane=True), Gaussian(0.1))
    wanted = reddiff.solve(problem, prior, solver, seed=3).x
    assert_same(got, (wanted + 1) / 2)
    assert torch.equal(model.eval()(MASKS * Y, physics), got)
    raw = as_reconstructor(
        solver, prior, lanes=("mask",), pixels=False, noise=Gaussian(0.1), seed=3
    )
    assert_same(raw(problem.y, physics), wanted)
    several = as_reconstructor(solver, prior, lanes=("mask",), runs=2, seed=3)
    assert_same(several(MASKS * Y, physics), reddiff_mean(problem, prior, solver))
    assert as_reconstructor(None, prior, lanes=("mask",))(MASKS * Y, physics).shape == Y.shape


def reddiff_mean(problem: reddiff.Problem, prior: Any, solver: Any) -> Tensor:
    return (reddiff.solve(problem, prior, solver, seed=3, runs=2).x + 1) / 2


BAD: list[tuple[str, Any, str]] = [
    (
        "noise",
        lambda: from_deepinv(Y, Physics(UniformNoise(), mask=MASKS)),
        "physics.noise_model: expected one of GaussianNoise, ZeroNoise, UniformGaussianNoise, ",
    ),
    (
        "no-noise",
        lambda: from_deepinv(Y, custom.FakePhysics(MASKS)),
        "or give noise=..., got FakeNoise",
    ),
    (
        "levels",
        lambda: from_deepinv(Y, Physics(GaussianNoise(sigma=SIGMAS[:2]), mask=MASKS)),
        "sigma: expected a number, or one for each of the 3 lanes of y, got (2,)",
    ),
    (
        "gains",
        lambda: from_deepinv(Y, Physics(PoissonNoise(gain=SIGMAS, normalize=True), mask=MASKS)),
        "physics.noise_model.gain: expected one number for all lanes, got [0.1",
    ),
    (
        "physics",
        lambda: from_deepinv(Y, torch.tanh),
        "physics.noise_model: expected one of",
    ),
    (
        "no-physics",
        lambda: from_deepinv(Y, torch.tanh, noise=Gaussian(0.1)),
        "physics: expected an object with A, such as a deepinv Physics, got builtin",
    ),
    (
        "y",
        lambda: from_deepinv([Y, Y], Physics(ZeroNoise(), mask=MASKS)),
        "y: expected a torch.Tensor, got list",
    ),
    (
        "integers",
        lambda: from_deepinv(Y.long(), Physics(ZeroNoise(), mask=MASKS)),
        "y: expected real (b, ...), got torch.int64 (3, 1, 4, 4)",
    ),
    (
        "dtype",
        lambda: from_deepinv(Y.float(), Physics(ZeroNoise(), mask=MASKS)),
        "real values of torch.float32, as x",
    ),
    (
        "x_shape",
        lambda: from_deepinv(Y, Physics(ZeroNoise(), mask=MASKS[:1]), x_shape=(2, 4, 4)),
        "x_shape: expected that of an x whose measurement has shape (b, *(1, 4, 4)), got (2, 4, 4)",
    ),
    (
        "lanes",
        lambda: from_deepinv(Y, Physics(ZeroNoise(), mask=MASKS, other=torch.ones(2))),
        "lanes: expected the names of the parameters that differ between images, such as "
        "lanes=('mask',), of mask, got () and 3 y of one x",
    ),
    (
        "no-such-lanes",
        lambda: from_deepinv(Y, Physics(ZeroNoise(), mask=MASKS), lanes=("masks",)),
        "lanes: expected names of buffers or parameters of the physics: mask, got ['masks']",
    ),
    ("solver", lambda: as_reconstructor("dps", GaussianRandomField()), "solver: expected a Solver"),
    ("prior", lambda: as_reconstructor(None, nn.Identity()), "prior: expected a Prior, got Identi"),
]


@pytest.mark.parametrize(("make", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(make: Any, message: str, untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        make()


def test_a_sensor_is_refused() -> None:
    class Sensing(Physics):
        def sensor(self, y: Tensor) -> Tensor:
            return y.clamp(0, 1)

    with pytest.raises(InvalidArgument, match="sensor_model: expected no sensor model"):
        from_deepinv(Y, Sensing(ZeroNoise(), mask=MASKS))
