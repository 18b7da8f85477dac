"""Spatially varying blur."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import product
from types import EllipsisType
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.fft import irfft2, rfft2
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.blur.boundary import Boundary, extend, fold
from reddiff.operators.blur.general import fast_size, inside, radius, transfer
from reddiff.operators.blur.psf import as_psf, check_fits
from reddiff.operators.kept import Kept
from reddiff.operators.linear import LinearOperator
from reddiff.operators.shapes import check_y_shape


class VaryingBlur(LinearOperator):
    r"""Spatially varying blur, with PSFs interpolated bilinearly between the nodes of a grid.

    .. math:: A x = \sum_k h_k * (w_k x),\qquad \sum_k w_k = 1.

    The PSF belongs to the pixel of x, the source of the light: an impulse at node k produces
    :math:`h_k`, and an impulse between nodes produces a convex combination of the adjacent PSFs.
    (With :math:`w_k (h_k * x)`, the PSF would belong to the pixel of y.) The nodes are evenly
    spaced; the first and last lie on the edge pixels. With one node along an axis, the PSF is
    constant along it. A constant image stays constant where the PSFs are equal, and approximately
    so elsewhere. x and y are `(b, c, h, w)`.

    The adjoint is exact; `solve` uses conjugate gradients. Each node costs FFTs of the region in
    which its weight is not zero.

    Arguments:
        psfs: The PSFs at the nodes, `(rows, columns, kh, kw)`, with odd sides and centered; or
            `(b, rows, columns, kh, kw)` with `per_lane`. They are used as given.
        boundary: The boundary condition.
        per_lane: Whether axis 0 of the PSFs is the lane axis.

    Raises:
        InvalidArgument: If a PSF is not finite or is all zero, or if they have an even side or
            another number of axes; or, when applied, if a PSF is larger than the image or the grid
            has more nodes than pixels along an axis.

    References:
        J. G. Nagy, D. P. O'Leary, "Restoring images degraded by spatially variant blur", SIAM J.
        Sci. Comput. 19(4), 1998. L. Denis, E. Thiebaut, F. Soulez, J.-M. Becker, R. Mourya, "Fast
        approximations of shift-variant blur", IJCV 115, 2015.
    """

    psfs: Tensor

    def __init__(
        self, psfs: Tensor, boundary: Boundary = Boundary.REFLECT, *, per_lane: bool = False
    ) -> None:
        super().__init__()
        axes = ("rows", "columns")
        psfs = as_psf(psfs, ("b", *axes) if per_lane else axes, "psfs")
        self.register_buffer("psfs", psfs)
        self.boundary = boundary
        self.batched = ("psfs",) if per_lane else ()
        rows, columns = psfs.shape[-4:-2]
        self._kept = [[Kept() for _ in range(columns)] for _ in range(rows)]

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "c, h, w")
        self._check_size(y_shape[-2], y_shape[-1])
        return y_shape

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sum over nodes of the weighted image convolved with the PSF of the node."""
        self._check_size(x.shape[-2], x.shape[-1])
        r = radius(self.psfs)
        wide = extend(x, r, self.boundary)
        full = pad(torch.zeros_like(wide), (r[1], r[1], r[0], r[0]))
        for node in self._nodes(x):
            part = node.weight * wide[node.inner]
            to = full[node.outer]
            size = fast_size(to)
            blurred = irfft2(rfft2(part, s=size) * self._transfer(node, x, size), s=size)
            to += blurred[..., : to.shape[-2], : to.shape[-1]]
        return inside(full, x, r)

    def adjoint(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The weighted sum over nodes of y correlated with the PSF of the node."""
        self._check_size(y.shape[-2], y.shape[-1])
        r = radius(self.psfs)
        spread = pad(y, (2 * r[1], 2 * r[1], 2 * r[0], 2 * r[0]))
        wide = pad(torch.zeros_like(y), (r[1], r[1], r[0], r[0]))
        for node in self._nodes(y):
            part, to = spread[node.outer], wide[node.inner]
            size = fast_size(part)
            seen = irfft2(rfft2(part, s=size) * self._transfer(node, y, size).conj(), s=size)
            to += node.weight * seen[..., : to.shape[-2], : to.shape[-1]]
        return fold(wide, r, self.boundary)

    def _transfer(self, node: _Node, x: Tensor, size: tuple[int, int]) -> Tensor:
        """The transfer function of the node's PSF, computed once per size and dtype."""
        make = partial(transfer, node.psf, x[:0], size)
        return node.kept.get(self.psfs, (size, x.dtype), make)

    def _check_size(self, height: int, width: int) -> None:
        check_fits(self.psfs, height, width, "psfs")
        rows, columns = self.psfs.shape[-4:-2]
        expected = f"a grid with at most one node per pixel, {height} x {width}"
        fits = rows <= height and columns <= width
        require(fits, "psfs", expected=expected, got=f"one of {rows} x {columns}")

    def _nodes(self, x: Tensor) -> Iterator[_Node]:
        """The nodes with their PSFs, and the region of the padded image where each has weight."""
        (h, w), (rows, columns), r = x.shape[-2:], self.psfs.shape[-4:-2], radius(self.psfs)
        down, across = (
            _spans(rows, h, r[0], self.boundary),
            _spans(columns, w, r[1], self.boundary),
        )
        for (i, (top, v)), (j, (left, u)) in product(enumerate(down), enumerate(across)):
            bottom, right = top + len(v), left + len(u)
            inner = (..., slice(top, bottom), slice(left, right))
            outer = (..., slice(top, bottom + 2 * r[0]), slice(left, right + 2 * r[1]))
            weight = (v[:, None] * u).to(x)
            yield _Node(self.psfs[..., i, j, :, :], self._kept[i][j], weight, inner, outer)


class _Node(NamedTuple):
    """A node of the grid.

    Arguments:
        psf: The PSF at the node, `(kh, kw)` or `(b, kh, kw)`.
        kept: Caches its transfer function between calls.
        weight: The interpolation weights within `inner`.
        inner: The region of the padded image where the weights are not all zero.
        outer: The region that the blurred content of `inner` extends to.
    """

    psf: Tensor
    kept: Kept
    weight: Tensor
    inner: tuple[EllipsisType | slice, ...]
    outer: tuple[EllipsisType | slice, ...]


@lru_cache(maxsize=64)
def _spans(nodes: int, n: int, r: int, boundary: Boundary) -> list[tuple[int, Tensor]]:
    """For each node, its first pixel with weight and its weights, in n pixels padded by r."""
    spans = []
    for line in extend(hats(nodes, n), (0, r), boundary):
        place = line.nonzero().flatten()
        first, last = int(place[0]), int(place[-1])
        spans.append((first, line[first : last + 1]))
    return spans


@lru_cache(maxsize=64)
def hats(nodes: int, n: int) -> Float64[Tensor, "nodes n"]:
    """Linear interpolation weights of each node at n pixels, with sum 1 at every pixel."""
    if nodes == 1:
        return torch.ones(1, n, dtype=torch.float64)
    at = torch.linspace(0, nodes - 1, n, dtype=torch.float64)
    return (1 - (at - torch.arange(nodes, dtype=torch.float64)[:, None]).abs()).clamp(min=0)
