"""The noise of several measurements combined in one y."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.noise.base import Noise
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Stacked(Noise):
    """One noise model per part of y `(b, M)`, for operators of `reddiff.operators.stack`.

    Arguments:
        parts: The noise models.
        y_shapes: The shape of one y of each part.

    Raises:
        InvalidArgument: If the numbers of noise models and shapes differ or are 0.
    """

    parts: tuple[Noise, ...]
    y_shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        count, got = len(self.parts), len(self.y_shapes)
        require(count == got > 0, "y_shapes", expected=f"one for each of {count} noises", got=got)

    @property
    def censored(self) -> bool:
        return any(part.censored for part in self.parts)

    def sample(self, a: Float[Tensor, "b m"], rng: Rng) -> Float[Tensor, "b m"]:
        return self._each(lambda noise, v: noise.sample(v, rng), a)

    def nll_each(self, y: Float[Tensor, "b m"], a: Float[Tensor, "b m"]) -> Tensor:
        return self._each(lambda noise, v, u: noise.nll_each(v, u), y, a)

    def grad_each(self, y: Float[Tensor, "b m"], a: Float[Tensor, "b m"]) -> Tensor:
        return self._each(lambda noise, v, u: noise.grad_each(v, u), y, a)

    def residual(self, y: Float[Tensor, "b m"], a: Float[Tensor, "b m"]) -> Tensor:
        return self._each(lambda noise, v, u: noise.residual(v, u), y, a)

    def std(self, a: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        return self._each(lambda noise, v: noise.std(v), a)

    def curvature(self, y: Float[Tensor, "b m"], a: Float[Tensor, "b m"]) -> Tensor:
        return self._each(lambda noise, v, u: noise.curvature(v, u), y, a)

    def select(self, index: Tensor) -> Stacked:
        return replace(self, parts=tuple(part.select(index) for part in self.parts))

    def check(self, y: Tensor) -> None:
        for noise, v in zip(self.parts, self._split(y), strict=True):
            noise.check(v)

    def _split(self, y: Tensor) -> list[Tensor]:
        pieces = y.split([math.prod(shape) for shape in self.y_shapes], 1)
        return [v.reshape(-1, *s) for v, s in zip(pieces, self.y_shapes, strict=True)]

    def _each(self, function: Callable[..., Tensor], *values: Tensor) -> Tensor:
        rows = zip(self.parts, *(self._split(v) for v in values), strict=True)
        return torch.cat([function(*row).flatten(1) for row in rows], 1)
