"""Operators that sample random coordinates of an orthonormal transform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.spectral import SpectralOperator
from reddiff.random import DRAWING, Keys, Rng

Seeds = int | Sequence[int]


class Sampled(SpectralOperator):
    r"""Rows of an orthonormal transform, :math:`A = P V^T`: all singular values are 1 or 0.

    A subclass implements `v` and `vt`. The last axis of their coordinates has n entries, of which
    y holds those in `rows`.

    Arguments:
        rows: Indices of the sampled coordinates, `(m,)`, or `(b, m)` for one set per lane.
        n: The number of coordinates.
    """

    rows: Tensor

    def __init__(self, rows: Int[Tensor, "*b m"], n: int) -> None:
        super().__init__()
        self.n = n
        self.register_buffer("rows", rows)
        self.batched = ("rows",) if rows.ndim == 2 else ()

    def extra_repr(self) -> str:
        return f"rows={tuple(self.rows.shape)} of {self.n}"

    def spectrum(self, z: Float[Tensor, "b *c n"]) -> Tensor:
        """1 for sampled coordinates, 0 for others, `(n,)`, `(b, 1, n)` or `(b, n)`."""
        seen = torch.zeros(*self.rows.shape[:-1], self.n, dtype=z.dtype, device=z.device)
        seen = seen.scatter(-1, self.rows, 1.0)
        return _with_channels(seen, z)

    def u(self, z: Float[Tensor, "b *c n"]) -> Float[Tensor, "b *c m"]:
        """The sampled coordinates of z."""
        return z.gather(-1, self._index(z))

    def ut(self, y: Float[Tensor, "b *c m"]) -> Float[Tensor, "b *c n"]:
        """y at the sampled coordinates, zeros elsewhere."""
        return y.new_zeros(*y.shape[:-1], self.n).scatter(-1, self._index(y), y)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """The sampled coordinates of x."""
        return self.u(self.vt(x))

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The inverse transform of y, with zeros at the coordinates that are not sampled."""
        return self.v(self.ut(y))

    def _index(self, z: Tensor) -> Tensor:
        return _with_channels(self.rows, z).expand(*z.shape[:-1], -1)


def draws(seed: Seeds) -> list[Rng]:
    """A random number generator for each seed.

    Raises:
        InvalidArgument: If there is no seed.
    """
    seeds = (seed,) if isinstance(seed, int) else tuple(seed)
    require(len(seeds) > 0, "seed", expected="at least one seed", got=seed)
    return [Keys(each, (0,)).at(DRAWING) for each in seeds]


def per_lane(parts: Sequence[Tensor], seed: Seeds) -> Tensor:
    """Parts `(1, ...)`, one per seed, joined along the lane axis; without it for a single seed."""
    return parts[0][0] if isinstance(seed, int) else torch.cat(list(parts))


def shuffled(rng: Rng, n: int) -> Int[Tensor, "1 n"]:
    """0 ... n - 1 in a random order."""
    return rng.rand_like(torch.empty(1, n, dtype=torch.float64)).argsort(stable=True)


def entries(name: str, shape: Sequence[int], ndim: int | None = None) -> int:
    """The number of entries of a shape.

    Raises:
        InvalidArgument: Names `name` if the shape is not of (`ndim`) positive integers.
    """
    good = len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
    good = good and ndim in (None, len(shape))
    axes = "positive integers" if ndim is None else f"{ndim} positive integers"
    require(good, name, expected=axes, got=tuple(shape))
    return math.prod(shape)


def kept(ratio: float, n: int) -> int:
    """The number of coordinates, out of n, that a ratio keeps.

    Raises:
        InvalidArgument: If the ratio is outside (0, 1] or keeps none.
    """
    require(0 < ratio <= 1, "ratio", expected="a number in (0, 1]", got=ratio)
    m = round(ratio * n)
    require(m > 0, "ratio", expected=f"at least one of {n} coordinates kept", got=ratio)
    return m


def check_count(y_shape: Shape, form: str, m: int) -> None:
    """Raise InvalidArgument unless one y has the axes named in `form`, the last of length m."""
    check_y_shape(y_shape, form.count(",") + 1, form)
    expected, got = f"shape (b, {form}) with m = {m}", f"(b, {', '.join(map(str, y_shape))})"
    require(y_shape[-1] == m, "y", expected=expected, got=got)


def _with_channels(rows: Tensor, z: Tensor) -> Tensor:
    return rows if rows.ndim == 1 else rows.reshape(len(rows), *[1] * (z.ndim - 2), -1)
