"""A problem from a deepinv physics, with the noise of its noise model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.interop.deepinv.physics import physics_operator
from reddiff.noise import (
    Gaussian,
    Laplace,
    Noise,
    Poisson,
    PoissonGaussian,
    Speckle,
    UnknownGaussian,
)
from reddiff.operators.base import Shape
from reddiff.problem import Problem
from reddiff.units import from_pixels


def from_deepinv(
    y: Tensor,
    physics: Any,
    *,
    noise: Noise | None = None,
    pixels: bool = True,
    x_shape: Shape | None = None,
    lanes: Sequence[str] = (),
) -> Problem:
    """The problem y = physics(x) of deepinv. y is `(b, ...)`, on the device of the physics.

    Arguments:
        y: The measurement, the result of `physics(x)`.
        physics: A `deepinv.physics.Physics`, or anything with `A`, a `noise_model` and, if it is
            linear, `A_adjoint`.
        noise: The noise of y, in the units of y. By default that of `physics.noise_model`.
        pixels: Whether the physics expects x in [0, 1], as in deepinv; the problem then has x in
            [-1, 1], see `reddiff.from_pixels`. If False, x has the units of the physics.
        x_shape: The shape of one x. Needed for a nonlinear physics without `img_size` if y has
            another shape than x.
        lanes: The names of the parameters of the physics that have one entry per image, such as
            `("mask",)`.

    Raises:
        InvalidArgument: If the physics cannot be used, or its noise model has no likelihood.
    """
    require(isinstance(y, Tensor), "y", expected="a torch.Tensor", got=type(y).__name__)
    require(y.is_floating_point() and y.ndim >= 2, "y", expected="real (b, ...)", got=_what(y))
    _check_sensor(y, physics)
    if noise is None:
        y, noise = noise_of(y, physics)
    operator = physics_operator(physics, y=y, x_shape=x_shape, lanes=lanes)
    return from_pixels(y, operator, noise) if pixels else Problem(y, operator, noise)


def noise_of(y: Tensor, physics: Any) -> tuple[Tensor, Noise]:
    """The noise of y from a deepinv `noise_model`, and y in the units of A(x).

    Supported are Gaussian noise (with a random level it becomes `UnknownGaussian`), no noise,
    Poisson, Poisson and Gaussian, gamma and Laplace. deepinv's gain is the inverse of that of
    `Poisson`.

    Raises:
        InvalidArgument: If there is no noise model, or another one.
    """
    model = getattr(physics, "noise_model", None)
    names = [kind.__name__ for kind in type(model).__mro__]
    make = next((_NOISES[name] for name in names if name in _NOISES), None)
    if make is None:
        expected = f"one of {', '.join(_NOISES)}; or give noise=..."
        raise InvalidArgument("physics.noise_model", expected=expected, got=names[0])
    return make(y, model)


def _gaussian(y: Tensor, model: Any) -> tuple[Tensor, Noise]:
    return y, Gaussian(_level(y, model, "sigma"))


def _poisson(y: Tensor, model: Any) -> tuple[Tensor, Noise]:
    gain = _number(y, model, "gain")
    return y if bool(model.normalize) else gain * y, Poisson(1 / gain)


def _poisson_gaussian(y: Tensor, model: Any) -> tuple[Tensor, Noise]:
    gain = _number(y, model, "gain")
    return y, PoissonGaussian(1 / gain, _level(y, model, "sigma"))


_NOISES: dict[str, Callable[[Tensor, Any], tuple[Tensor, Noise]]] = {
    "GaussianNoise": _gaussian,
    "ZeroNoise": lambda y, _: (y, Gaussian(0.0)),
    "UniformGaussianNoise": lambda y, _: (y, UnknownGaussian()),
    "PoissonNoise": _poisson,
    "PoissonGaussianNoise": _poisson_gaussian,
    "GammaNoise": lambda y, model: (y, Speckle(_level(y, model, "l"))),
    "LaplaceNoise": lambda y, model: (y, Laplace(_level(y, model, "b"))),
}


def _level(y: Tensor, model: Any, name: str) -> float | Tensor:
    """A parameter of a noise model: a number, or one per lane."""
    value = torch.as_tensor(getattr(model, name), dtype=torch.float64).detach()
    if value.numel() == 1:
        return float(value)
    fits = value.numel() == len(value) == len(y)
    expected = f"a number, or one for each of the {len(y)} lanes of y"
    require(fits, f"physics.noise_model.{name}", expected=expected, got=tuple(value.shape))
    return value.reshape(-1).to(y)


def _number(y: Tensor, model: Any, name: str) -> float:
    value = _level(y, model, name)
    if isinstance(value, Tensor):
        alike = bool((value == value[0]).all())
        expected = "one number for all lanes"
        require(alike, f"physics.noise_model.{name}", expected=expected, got=value.tolist())
        value = float(value[0])
    return value


def _check_sensor(y: Tensor, physics: Any) -> None:
    """Raise InvalidArgument for a sensor model: it changes the distribution of the noise."""
    sensor = getattr(physics, "sensor", None)
    if callable(sensor):
        probe = 2 * torch.rand(y.shape, generator=torch.Generator().manual_seed(0)).to(y) - 0.5
        same = torch.equal(sensor(probe), probe)
        expected = "no sensor model (it acts after the noise, so there is no likelihood)"
        require(same, "physics.sensor_model", expected=expected, got="one that changes y")


def _what(y: Tensor) -> str:
    return f"{y.dtype} {tuple(y.shape)}"
