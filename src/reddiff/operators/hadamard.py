"""Compressed sensing by scrambled Walsh-Hadamard transforms."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fft

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.sampled import (
    Sampled,
    Seeds,
    check_count,
    draws,
    entries,
    kept,
    per_lane,
    shuffled,
)


class WalshHadamard(Sampled):
    r"""Rows drawn from a scrambled Walsh-Hadamard transform: y `(b, m)`.

    .. math:: y = P\, (W \otimes H)\, \Pi\, D\, x

    D flips random signs, an equal number of each. Pi permutes all entries of x, channels included,
    at random. W is the orthonormal Walsh-Hadamard transform whose size is the largest power of two
    that divides n, the number of entries of x. H is the orthonormal Hartley transform for the
    remaining odd factor of n. P keeps m rows drawn without replacement. The cost is O(n log n).
    Every entry of y depends on all entries of x, with weights of magnitude 1 / sqrt(n) if n is a
    power of two, and of at most sqrt(2 / n) otherwise.

    Arguments:
        shape: The shape of one x, such as `(3, 64, 64)`, with n entries.
        ratio: m / n, in (0, 1]; m is rounded to an integer.
        seed: Random seed for D, Pi and P; a sequence of seeds gives each lane its own.

    Raises:
        InvalidArgument: If the ratio is outside (0, 1] or so small that m = 0, or if the shape
            has an entry that is not a positive integer.

    References:
        L. Gan, T. T. Do, T. D. Tran, "Fast compressive imaging using scrambled block Hadamard
        ensemble", EUSIPCO 2008; T. T. Do et al., "Fast and efficient compressive sensing using
        structurally random matrices", 2012, eq. 1.
    """

    signs: Tensor
    order: Tensor

    def __init__(self, shape: Shape, ratio: float, seed: Seeds = 0) -> None:
        n = entries("shape", shape)
        m = kept(ratio, n)
        sets = [[shuffled(rng, n) for _ in range(3)] for rng in draws(seed)]
        order, half, rows = (per_lane(part, seed) for part in zip(*sets, strict=True))
        super().__init__(rows[..., :m].sort(-1).values, n)
        self.shape = tuple(shape)
        self.register_buffer("order", order)
        self.register_buffer("signs", 1 - 2 * (half % 2).to(torch.int8))
        self.batched = ("rows", "order", "signs") if self.batched else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape given at construction."""
        check_count(y_shape, "m", self.rows.shape[-1])
        return self.shape

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b k"]:
        got = tuple(x.shape[1:])
        require(got == self.shape, "x", expected=f"shape (b, *{self.shape})", got=f"(b, *{got})")
        flat = x.flatten(1)
        flat = (self.signs * flat).gather(1, self.order.expand_as(flat))
        return _transform(flat)

    def v(self, z: Float[Tensor, "b k"]) -> Float[Tensor, "b *n"]:
        """The transform, which is its own inverse, then the inverse permutation and the signs."""
        flat = _transform(z)
        flat = torch.zeros_like(flat).scatter(1, self.order.expand_as(flat), flat)
        return (self.signs * flat).unflatten(1, self.shape)


def _transform(flat: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """W (x) H, the Walsh-Hadamard and Hartley transforms: orthonormal and self-inverse."""
    n = flat.shape[1]
    power = n & -n  # the largest power of two that divides n
    z = flat.view(len(flat), power, n // power)
    if power < n:
        f = fft(z, norm="ortho")
        z = f.real - f.imag
    half = 1
    while half < power:
        a, b = z.unflatten(1, (-1, 2, half)).unbind(2)
        z = torch.stack([a + b, a - b], 2).flatten(1, 3)
        half *= 2
    return z.flatten(1) / math.sqrt(power)
