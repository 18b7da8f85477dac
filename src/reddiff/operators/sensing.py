"""Compressed sensing: few measurements, each a weighted sum of many pixels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fft2, ifft2
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from reddiff.errors import require, require_count
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
from reddiff.random import Rng


class RandomFourier(Sampled):
    r"""Random Fourier coefficients of each channel, y `(b, c, m)`, at the same frequencies.

    A frequency k and its mirror image -k are sampled together. With F the orthonormal 2-D DFT of x,
    they give two entries of y, :math:`\sqrt{2}\, \mathrm{Re} F_k` and
    :math:`\sqrt{2}\, \mathrm{Im} F_k`. A k that is its own mirror image gives the real number
    :math:`F_k`. The mean (k = 0) is always sampled; the others are drawn uniformly.

    Arguments:
        size: (h, w) of x, which has any number of channels.
        ratio: m / (h w), in (0, 1]; m is rounded, to within two entries.
        seed: Random seed; a sequence of seeds gives each lane its own frequencies.

    Raises:
        InvalidArgument: If the ratio is outside (0, 1] or so small that m = 0, or if `size` is not
            two positive integers.

    References:
        E. Candes, J. Romberg, T. Tao, "Robust uncertainty principles: exact signal reconstruction
        from highly incomplete frequency information", 2006.
    """

    kind: Tensor

    def __init__(self, size: tuple[int, int], ratio: float, seed: Seeds = 0) -> None:
        n = entries("size", size, 2)
        kept(ratio, n)
        kind, mirror = _frequencies(*size)
        lone, pairs = (kind == 0).nonzero()[:, 0], (kind == 1).nonzero()[:, 0]
        more, both = round(ratio * (len(lone) - 1)), round(ratio * len(pairs))
        sets = []
        for rng in draws(seed):
            single = lone[1:][shuffled(rng, len(lone) - 1)[0, :more]]
            pair = pairs[shuffled(rng, len(pairs))[0, :both]]
            sets.append(torch.cat([lone[:1], single, pair, mirror[pair]]).sort().values[None])
        super().__init__(per_lane(sets, seed), n)
        self.size = tuple(size)
        self.register_buffer("kind", kind.view(size))

    def x_shape(self, y_shape: Shape) -> Shape:
        """(c, h, w) for y `(c, m)`."""
        check_count(y_shape, "c, m", self.rows.shape[-1])
        return y_shape[0], *self.size

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c n"]:
        """Real parts at one frequency of each mirror pair, imaginary parts at the other."""
        got = tuple(x.shape[-2:])
        require(got == self.size, "x", expected=f"an image of {self.size} pixels", got=got)
        f = fft2(x, norm="ortho")
        root = math.sqrt(2)  # Im F_k is stored at -k, where F has its negative
        z = torch.where(self.kind == 2, -root * f.imag, root * f.real)
        return torch.where(self.kind == 0, f.real, z).flatten(-2)

    def v(self, z: Float[Tensor, "b c n"]) -> Float[Tensor, "b c h w"]:
        """The image with these Fourier coefficients."""
        grid = z.unflatten(-1, self.size)
        root = math.sqrt(2)
        real = torch.where(self.kind == 0, grid, torch.where(self.kind == 1, root * grid, 0))
        imag = torch.where(self.kind == 2, -root * grid, 0)
        return ifft2(torch.complex(real, imag), norm="ortho").real


class BlockGaussian(Sampled):
    r"""Block compressed sensing: y `(b, c, h / B, w / B, m)` is :math:`\Phi x` for each block.

    :math:`\Phi` is an m x B^2 matrix, the same for all blocks and channels. Its rows are those of a
    Gaussian random matrix, orthonormalized, so that the noise of y is in the units of x.

    Arguments:
        block: B, the side of a block in pixels, at least 1.
        ratio: m / B^2, in (0, 1]; m is rounded.
        seed: Random seed; a sequence of seeds gives each lane its own matrix.

    Raises:
        InvalidArgument: If the ratio is outside (0, 1] or so small that m = 0, if `block` is not
            an integer of at least 1, or, when applied, if it does not divide the sides of x.

    References:
        L. Gan, "Block compressed sensing of natural images", 2007, section 2.
    """

    basis: Tensor

    def __init__(self, block: int, ratio: float, seed: Seeds = 0) -> None:
        require_count("block", block)
        n = block**2
        super().__init__(torch.arange(kept(ratio, n)), n)
        self.block = block
        bases = per_lane([_rotation(rng, n) for rng in draws(seed)], seed)
        self.register_buffer("basis", bases, persistent=False)
        self.batched = ("basis",) if bases.ndim == 3 else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        """(c, h, w) for y `(c, h / B, w / B, m)`."""
        check_count(y_shape, "c, h / B, w / B, m", self.rows.shape[-1])
        c, h, w, _ = y_shape
        return c, h * self.block, w * self.block

    def vt(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w n"]:
        sides = tuple(x.shape[-2:])
        whole = all(side % self.block == 0 for side in sides)
        require(whole, "x", expected=f"sides divisible by the block {self.block}", got=sides)
        blocks = pixel_unshuffle(x, self.block).unflatten(1, (x.shape[1], self.n)).movedim(2, -1)
        return self._apply_to(blocks, self.basis.mT)

    def v(self, z: Float[Tensor, "b c h w n"]) -> Float[Tensor, "b c H W"]:
        blocks = self._apply_to(z, self.basis).movedim(-1, 2)
        return pixel_shuffle(blocks.flatten(1, 2), self.block)

    def _apply_to(self, blocks: Tensor, matrix: Tensor) -> Tensor:
        out = blocks.flatten(1, 3) @ matrix.to(blocks.dtype)
        return out.view(blocks.shape)


def _rotation(rng: Rng, n: int) -> Float[Tensor, "1 n n"]:
    """A random orthogonal matrix, uniform (Haar) on O(n)."""
    q, r = torch.linalg.qr(rng.randn_like(torch.empty(1, n, n, dtype=torch.float64)))
    return q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


def _frequencies(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The kind of each frequency, and the index of its mirror image, both flattened.

    The kind is 0 for a frequency that is its own mirror image; in a mirror pair, it is 1 for one
    frequency and 2 for the other.
    """
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    index = rows * width + columns
    mirror = (-rows % height) * width + (-columns % width)
    kind = torch.where(index == mirror, 0, torch.where(index < mirror, 1, 2))
    return kind.flatten(), mirror.flatten()
