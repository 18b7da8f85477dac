"""Chooses the blur class with the fastest solve for a PSF and a boundary condition."""

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
    """Convolution with a PSF, as an operator with a closed-form inverse where there is one.

    The result is a `CircularBlur` if the boundary is circular; a `SymmetricBlur` if the boundary is
    `REFLECT` and the PSF symmetric under both flips; a `SeparableBlur` if the PSF is the outer
    product of two vectors; and otherwise a `Blur`, the only one whose `solve` iterates. With
    `per_lane`, the condition must hold for all PSFs. x and y are `(b, c, h, w)`.

    Arguments:
        psf: The point spread function `(kh, kw)`, with odd sides and its center in the middle; or
            `(b, kh, kw)` with `per_lane`. It is used as given.
        boundary: The boundary condition.
        per_lane: Whether axis 0 of the PSF is the lane axis.

    Raises:
        InvalidArgument: If the PSF is not finite, is all zero, or has an even side or another
            number of axes.
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
