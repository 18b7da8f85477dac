"""Convolution with a separable PSF, with a closed-form inverse for any boundary condition."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.blur.boundary import Boundary, extend
from reddiff.operators.blur.psf import as_psf, check_fits
from reddiff.operators.separable import Factor, Separable, factor, stack
from reddiff.operators.shapes import check_y_shape

Taps = tuple[float, ...]


class SeparableBlur(Separable):
    r"""Convolution with a separable PSF :math:`h_{ij} = r_i c_j`: :math:`y = A_r\, x\, A_c^T`.

    The two matrices depend on the size of x, `(b, c, h, w)`. They are built in float64 and cached
    with their singular value decompositions, so that the first call at a new size is slow.

    Arguments:
        rows: r `(kh,)`, with kh odd; or `(b, kh)` with `per_lane`. It is used as given: divide by
            its sum for a DC gain of 1.
        columns: c `(kw,)`, with kw odd; or `(b, kw)` with `per_lane`.
        boundary: The boundary condition.
        per_lane: Whether axis 0 of both is the lane axis.

    Raises:
        InvalidArgument: If `rows` or `columns` is not finite, is all zero, or has even length or
            another number of axes; if their numbers of lanes differ; or, when applied, if one is
            longer than the image.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        boundary: Boundary = Boundary.REFLECT,
        *,
        per_lane: bool = False,
    ) -> None:
        super().__init__()
        for name, taps in (("rows", rows), ("columns", columns)):
            self.register_buffer(name, _checked(name, taps, per_lane))
        same = not per_lane or len(rows) == len(columns)
        expected, got = f"{len(rows)} lanes, as rows", f"{len(columns)} lanes"
        require(same, "columns", expected=expected, got=got)
        self.boundary = boundary
        self.batched = ("rows", "columns") if per_lane else ()

    @property
    def psf(self) -> Float[Tensor, "*b kh kw"]:
        """The point spread function, r c^T."""
        return self.rows[..., :, None] * self.columns[..., None, :]

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "c, h, w")
        check_fits(self.psf, y_shape[-2], y_shape[-1])
        return y_shape

    def factors(self, height: int, width: int, like: Tensor) -> tuple[Factor, Factor]:
        """The matrices A_r and A_c for this size."""
        check_fits(self.psf, height, width)
        return self._factor(self.rows, height, like), self._factor(self.columns, width, like)

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A^+ y without components attenuated below 3 % of the maximum, where y is mostly noise."""
        return self.pinv(y, rcond=0.03)

    def _factor(self, taps: Tensor, n: int, like: Tensor) -> Factor:
        if not self.batched:
            return _shared(tuple(taps.tolist()), n, self.boundary, like.dtype, like.device)
        each = tuple(tuple(row) for row in taps.tolist())
        return _per_lane(each, n, self.boundary, like.dtype, like.device)


def _checked(name: str, taps: Tensor, per_lane: bool) -> Tensor:
    """The validated weights as a floating-point tensor."""
    taps = torch.as_tensor(taps)
    ndim, form = (2, "(b, k)") if per_lane else (1, "(k,)")
    odd = taps.ndim == ndim and taps.shape[-1] % 2 == 1
    require(odd, name, expected=f"shape {form} with an odd k", got=tuple(taps.shape))
    return as_psf(taps.unsqueeze(-2), ("b",) if per_lane else (), name).squeeze(-2)


@lru_cache(maxsize=64)
def _decomposed(taps: Taps, n: int, boundary: Boundary) -> Factor:
    """The n x n matrix of convolution with these weights, and its decomposition."""
    weights: Float64[Tensor, " k"] = torch.tensor(taps, dtype=torch.float64)
    wide = extend(torch.eye(n, dtype=torch.float64), (len(taps) // 2, 0), boundary)
    return factor(wide.T.unfold(1, len(taps), 1).matmul(weights.flip(0)).T)


@lru_cache(maxsize=8)
def _shared(
    taps: Taps, n: int, boundary: Boundary, dtype: torch.dtype, device: torch.device
) -> Factor:
    return _decomposed(taps, n, boundary).to(torch.empty(0, dtype=dtype, device=device))


@lru_cache(maxsize=8)
def _per_lane(
    taps: tuple[Taps, ...], n: int, boundary: Boundary, dtype: torch.dtype, device: torch.device
) -> Factor:
    like = torch.empty(0, dtype=dtype, device=device)
    return stack([_decomposed(row, n, boundary) for row in taps]).to(like)
