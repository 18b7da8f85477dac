"""An inverse problem: y = A(x) + noise, one independent problem per lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import Unsupported, require
from reddiff.lanes import dot, repeat
from reddiff.noise import DiagonalGaussian, Gaussian, Noise, Stacked, UnknownGaussian
from reddiff.operators.base import Operator, Shape
from reddiff.operators.diagonal import Diagonal
from reddiff.operators.linear import LinearOperator
from reddiff.operators.mask import Selection
from reddiff.operators.precision import lowered
from reddiff.operators.simplify import simplified
from reddiff.operators.stacked import stack
from reddiff.random import MEASURING, Keys


@dataclass(frozen=True, eq=False)
class Problem:
    """Measurements, and how they came about.

    Entries of y that the operator does not measure are set to zero (they may be anything, NaN
    too); the tensor given is not changed.

    Arguments:
        y: The measurements `(b, ...)`, floating point, on the device of the operator.
        operator: A. Parameters of a higher precision than y, such as a PSF in float64, are taken in
            that of y.
        noise: The noise of y, in the units of y.

    Raises:
        InvalidArgument: If y has a wrong type, shape, dtype or device, or NaN or inf where it is
            measured; names what came and what was expected.
    """

    y: Tensor
    operator: Operator
    noise: Noise

    def __post_init__(self) -> None:
        y, operator, noise = self.y, self.operator, self.noise
        require(isinstance(y, Tensor), "y", expected="a torch.Tensor", got=type(y).__name__)
        expected = "a floating-point dtype; complex data as two channels, torch.view_as_real"
        require(y.is_floating_point(), "y", expected=expected, got=y.dtype)
        require(y.ndim >= 2, "y", expected="shape (b, ...)", got=tuple(y.shape))
        require(y.numel() > 0, "y", expected="at least one lane and entry", got=tuple(y.shape))
        is_operator = isinstance(operator, Operator)
        require(is_operator, "operator", expected="an Operator", got=type(operator).__name__)
        is_noise = isinstance(noise, Noise)
        expected = "a Noise, such as Gaussian(sigma)"
        require(is_noise, "noise", expected=expected, got=type(noise).__name__)
        operator = lowered(operator, y.dtype)
        object.__setattr__(self, "operator", operator)
        _check_place(y, operator)
        operator.x_shape(tuple(y.shape[1:]))
        fits = operator.lanes in (None, len(y))
        require(fits, "y", expected=f"{operator.lanes} lanes, as the operator", got=tuple(y.shape))
        y = torch.where(self.measured, y, 0)
        bad = (~torch.isfinite(y)).flatten(1).any(1).nonzero().flatten().tolist()
        require(not bad, "y", expected="finite values", got=f"nan or inf in lanes {bad}")
        noise.check(y)
        object.__setattr__(self, "y", y)

    @classmethod
    def simulate(
        cls,
        x: Float[Tensor, "b *n"],
        operator: Operator,
        noise: Noise,
        *,
        seed: int = 0,
        ids: Sequence[int] | None = None,
    ) -> Problem:
        """The problem of a known x: measures it, and adds noise drawn from (seed, lane id).

        Raises:
            InvalidArgument: If x does not fit the operator, or there is not one id per lane.
        """
        ids = tuple(range(len(x))) if ids is None else tuple(ids)
        require(len(ids) == len(x), "ids", expected=f"{len(x)} ids", got=f"{len(ids)} ids")
        fits = operator.lanes in (None, len(x))
        require(fits, "x", expected=f"{operator.lanes} lanes, as the operator", got=tuple(x.shape))
        operator = lowered(operator, x.dtype)
        with torch.no_grad():
            y = noise.sample(operator(x), Keys(seed, ids).at(MEASURING))
        return cls(y, operator, noise)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        kind = str(self.y.dtype).removeprefix("torch.")
        y = f"y {tuple(self.y.shape)} {kind}"
        return f"Problem({y}, {self.operator!r}, {type(self.noise).__name__})"

    def __str__(self) -> str:
        """Four lines: lanes, y, operator, noise."""
        kind = str(self.y.dtype).removeprefix("torch.")
        low, high = (int(n) for n in (self.count.min(), self.count.max()))
        seen = f"{low}" if low == high else f"{low} to {high}"
        shape = tuple(self.y.shape[1:])
        levels = f"from {float(self.y.min()):.3g} to {float(self.y.max()):.3g}"
        return "\n".join(
            [
                f"Problem of {len(self)} lanes, {kind} on {self.y.device}",
                f"  y: {shape}, {seen} of {self.y[0].numel()} entries measured, {levels}",
                f"  operator: {self.operator!r}, x {self.x_shape} -> y {shape}",
                f"  noise: {_noise_words(self.noise)}",
            ]
        )

    @property
    def x_shape(self) -> Shape:
        """The shape of one x."""
        return self.operator.x_shape(tuple(self.y.shape[1:]))

    @property
    def linear(self) -> LinearOperator:
        """A, where it is linear.

        Raises:
            Unsupported: If it is not.
        """
        if not isinstance(self.operator, LinearOperator):
            got = type(self.operator).__name__
            raise Unsupported(f"operator: expected a LinearOperator, got {got}")
        return self.operator

    @property
    def sigma_y(self) -> float | Tensor:
        """The standard deviation of Gaussian noise, one number or one per lane.

        Raises:
            Unsupported: If the noise is of another law, or its level is not known.
        """
        if not isinstance(self.noise, Gaussian):
            got = type(self.noise).__name__
            raise Unsupported(f"noise: expected Gaussian(sigma), got {got}")
        return self.noise.sigma

    @property
    def linear_gaussian(self) -> bool:
        """Whether A is linear and the noise Gaussian, of a known level per lane."""
        return isinstance(self.operator, LinearOperator) and isinstance(self.noise, Gaussian)

    @cached_property
    def measured(self) -> Bool[Tensor, "b *m"]:
        """Which entries of y carry a measurement."""
        return self.operator.measured(self.y)

    @cached_property
    def count(self) -> Float[Tensor, " b"]:
        """M, the number of measured entries per lane."""
        return self.measured.flatten(1).sum(1).to(self.y.dtype)

    def residual(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """y - A(x), zero where nothing is measured, or y is a bound that A(x) meets."""
        return torch.where(self.measured, self.noise.residual(self.y, self.operator(x)), 0)

    def misfit(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """||y - A(x)||^2 / 2 of `residual`, a sum per lane that ignores the noise level."""
        r = self.residual(x)
        return 0.5 * dot(r, r)

    def misfit_grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `misfit`."""
        a, pullback = self.operator.vjp(x)
        return pullback(torch.where(self.measured, -self.noise.residual(self.y, a), 0))

    def nll(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """-log p(y | x) in nats, summed over y, per lane.

        Raises:
            Unsupported: If the noise is Gaussian with sigma 0.
        """
        return self.noise.nll(self.y, self.operator(x), self.measured)

    def grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `nll`.

        Raises:
            Unsupported: If the noise is Gaussian with sigma 0.
        """
        a, pullback = self.operator.vjp(x)
        return pullback(self.noise.grad(self.y, a, self.measured))

    def standardised(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """`Noise.residual` / std(y given a): 0 where nothing is measured, inf where sigma is 0."""
        std = self.noise.std(a)
        z = torch.where(std > 0, self.noise.residual(self.y, a) / std, torch.inf)
        return torch.where(self.measured, z, 0)

    def residual_ratio(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """The rms of (y - A(x)) / std(y given A(x)) over the measured entries; inf for sigma 0.

        1, with fluctuations of 1 / sqrt(2 M), of a draw from the posterior, less of its mean.
        """
        z = self.standardised(self.operator(x))
        return (dot(z, z) / self.count.clamp(min=1)).sqrt()

    def initial_estimate(self) -> Float[Tensor, "b *n"]:
        """A first x from y alone: A^+ y where A is linear."""
        return self.operator.initial_estimate(self.y)

    def adjoint(self) -> Float[Tensor, "b *n"]:
        """A^T y; for a nonlinear A, its pullback at zero."""
        if isinstance(self.operator, LinearOperator):
            return self.operator.adjoint(self.y)
        return self.operator.vjp(self.y.new_zeros(len(self), *self.x_shape))[1](self.y)

    def select(self, index: Tensor) -> Problem:
        """The problems of some of the lanes (or some of them repeated), in the order given."""
        operator, noise = self.operator.select(index), self.noise.select(index)
        return self.derived(y=self.y[index], operator=operator, noise=noise)

    def repeated(self, times: int) -> Problem:
        """Each lane `times` times, the copies of one lane side by side. It is made once."""
        if times == 1:
            return self
        if times not in self._copies:
            lanes = torch.arange(len(self), device=self.y.device)
            self._copies[times] = self.select(repeat(lanes, times))
        return self._copies[times]

    @cached_property
    def _copies(self) -> dict[int, Problem]:
        return {}

    def derived(
        self,
        *,
        y: Tensor | None = None,
        operator: Operator | None = None,
        noise: Noise | None = None,
    ) -> Problem:
        """This problem with other parts that are sound because they were made from its own.

        Nothing is validated, so that it costs nothing within a step. What the operator does not
        measure must be zero in y.
        """
        new = object.__new__(Problem)
        parts = {
            "y": self.y if y is None else y,
            "operator": self.operator if operator is None else operator,
            "noise": self.noise if noise is None else noise,
        }
        new.__dict__.update(parts)
        if operator is None:  # what is measured does not depend on the values of y
            known = {k: v for k, v in self.__dict__.items() if k in ("measured", "count")}
            new.__dict__.update(known)
        return new

    @classmethod
    def stack(cls, problems: Sequence[Problem]) -> Problem:
        """Several measurements of the same x as one, each with its own operator and noise.

        y is `(b, M)`: the measurements, flattened, one after the other.

        Raises:
            InvalidArgument: If there is none, or they are of different lanes or x.
        """
        require(len(problems) > 0, "problems", expected="at least one", got="none")
        counts = [len(problem) for problem in problems]
        expected = f"{counts[0]} lanes each, as the first"
        require(len(set(counts)) == 1, "problems", expected=expected, got=counts)
        shapes = tuple(tuple(problem.y.shape[1:]) for problem in problems)
        operator = stack([problem.operator for problem in problems], shapes)
        noises = tuple(problem.noise for problem in problems)
        levels = {n.sigma if isinstance(n, Gaussian) else n for n in noises}
        alike = len(levels) == 1 and isinstance(noises[0], Gaussian)
        noise = noises[0] if alike else Stacked(noises, shapes)
        return cls(torch.cat([problem.y.flatten(1) for problem in problems], 1), operator, noise)

    def whitened(self) -> Problem:
        """The same problem with Gaussian noise of level 1, where it is Gaussian of several levels.

        y and A are divided by the levels, entry by entry; the likelihood of x stays as it is.
        `solve` does it by itself. Other problems are returned as they are.
        """
        levels = _levels(self.noise, self.y)
        if levels is None:
            return self
        weights = (1 / levels).expand(len(levels), *self.y.shape[1:])
        operator = _weighted(self.operator, weights)
        return self.derived(y=self.y / levels, operator=operator, noise=Gaussian(1.0))

    def simplified(self) -> Problem:
        """The same problem with the closed form of A, where `operators.simplify` finds one."""
        operator = simplified(self.operator, self.y)
        return self if operator is self.operator else self.derived(operator=operator)

    def smoothed(self) -> Problem:
        """The same problem with an A that jumps replaced by the smooth one near it.

        Their difference counts as Gaussian noise beside that of y. Other problems, and other noise,
        are returned as they are.
        """
        near = self.operator.surrogate()
        if near is None or not isinstance(self.noise, Gaussian | UnknownGaussian):
            return self
        operator, apart = near
        if isinstance(self.noise, UnknownGaussian):  # which is found with it
            return self.derived(operator=operator)
        levels = (torch.as_tensor(v, dtype=self.y.dtype) for v in (self.noise.sigma, apart))
        sigma, apart = (level.to(self.y.device) for level in levels)
        return self.derived(operator=operator, noise=Gaussian((sigma**2 + apart**2).sqrt()))

    def pullback(self, decoder: Operator) -> Problem:
        """The problem of z with x = decoder(z): a latent problem."""
        return Problem(self.y, self.operator @ decoder, self.noise)


def _noise_words(noise: Noise) -> str:
    """A noise with its parameters, of tensors their range."""
    parts = []
    for field in fields(noise):
        value = getattr(noise, field.name)
        if isinstance(value, Tensor) and value.numel() > 1:
            value = f"{float(value.min()):.4g} to {float(value.max()):.4g}"
        elif isinstance(value, Tensor):
            value = f"{float(value):.4g}"
        elif isinstance(value, tuple):
            value = f"{len(value)} parts"
        parts.append(f"{field.name}={_noise_words(value) if isinstance(value, Noise) else value}")
    return f"{type(noise).__name__}({', '.join(parts)})"


def _levels(noise: Noise, y: Tensor) -> Tensor | None:
    """The standard deviations of Gaussian noise of several levels, `(1 or b, ...)`, else None."""
    if isinstance(noise, DiagonalGaussian):
        return noise.sigma.to(y)
    if isinstance(noise, Stacked):
        known = all(isinstance(part, Gaussian | DiagonalGaussian) for part in noise.parts)
        sharp = any(isinstance(part, Gaussian) and part.noiseless for part in noise.parts)
        return noise.std(y) if known and not sharp else None
    return None


def _weighted(operator: Operator, weights: Tensor) -> Operator:
    """A with each entry of y times its weight, `(1 or b, *m)`, 0 where it is not measured."""
    count = len(weights) if operator.lanes is None else operator.lanes
    weights = weights * operator.measured(weights.expand(count, *weights.shape[1:]))
    per_lane = len(weights) > 1
    diagonal = Diagonal(weights if per_lane else weights[0], per_lane=per_lane)
    return diagonal if isinstance(operator, Selection) else diagonal @ operator


def _check_place(y: Tensor, operator: Operator) -> None:
    """Check that y is where, and of the type that, the operator's parameters are."""
    for module_name, module in operator.named_modules(prefix="operator"):
        for name, value in module.named_buffers(recurse=False):
            where = f"{module_name}.{name}"
            same = value.device == y.device
            require(same, "y", expected=f"device {value.device}, as {where}", got=y.device)
            internal = name in module._non_persistent_buffers_set
            typed = value.dtype == y.dtype or not value.is_floating_point() or internal
            require(typed, "y", expected=f"dtype {value.dtype}, as {where}", got=y.dtype)
