"""The blur that solves fastest for a PSF and a boundary."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.operators.blur.boundary import Boundary
from reddiff.operators.blur.circular import CircularBlur
from reddiff.operators.blur.general import Blur
from reddiff.operators.blur.psf import as_psf
from reddiff.operators.blur.separable import SeparableBlur
from reddiff.operators.blur.symmetric import SymmetricBlur, is_symmetric
from reddiff.operators.linear import LinearOperator


def make_blur(
    psf: Tensor, boundary: Boundary = Boundary.REFLECT, *, per_lane: bool = False
) -> LinearOperator:
    """Convolution with a PSF, as the class that solves it best.

    `CircularBlur` if the boundary is circular; `SymmetricBlur` if the PSF is symmetric under both
    flips and the boundary `REFLECT`; `SeparableBlur` if the PSF is a product of rows and columns;
    else `Blur`, the only one that iterates. With `per_lane`, what it is must hold for all PSFs.

    Arguments:
        psf: The point spread function `(kh, kw)`, odd sides, its center in the middle; or
            `(b, kh, kw)` with `per_lane`. Taken as it is.
        boundary: What lies beyond the edges.
        per_lane: Whether axis 0 of the PSF numbers lanes.

    Raises:
        InvalidArgument: If the PSF is not finite, all zero, of even sides or of another rank.
    """
    psf = as_psf(psf, ("b",) if per_lane else ())
    if boundary is Boundary.CIRCULAR:
        return CircularBlur(psf, per_lane=per_lane)
    if boundary is Boundary.REFLECT and is_symmetric(psf):
        return SymmetricBlur(psf, per_lane=per_lane)
    u, s, vt = torch.linalg.svd(psf.double(), full_matrices=False)
    rest = s[..., 1:].sum(-1) / s[..., 0]
    if float(rest.max()) <= 32 * torch.finfo(psf.dtype).eps:
        root = s[..., :1].sqrt()
        rows, columns = (root * u[..., 0]).to(psf), (root * vt[..., 0, :]).to(psf)
        return SeparableBlur(rows, columns, boundary, per_lane=per_lane)
    return Blur(psf, boundary, per_lane=per_lane)
