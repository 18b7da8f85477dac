"""Phase retrieval: y is the modulus of a Fourier transform."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex
from torch import Tensor
from torch.fft import fft2, ifft2
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.complex_images import join, split
from reddiff.operators.modulus import Modulus
from reddiff.operators.shapes import check_y_shape


class PhaseRetrieval(Modulus):
    r"""Fourier phase retrieval: :math:`y = |F P x|`.

    P pads with zeros, and F is the orthonormal 2-D DFT with frequency 0 first; the norm of A is 1.
    y is `(b, c, H, W)`, where H and W are h and w times the oversampling, rounded. The solution is
    not unique: x, -x, their rotations by 180 degrees, and shifts of an x with an empty border have
    the same y. Several runs, `solve(..., runs=8).best`, can find one of these.

    Arguments:
        oversampling: Ratio of the sides of y to those of x, 1 or more. From 2 on, y determines the
            autocorrelation of x, and thereby almost every x up to these ambiguities.
        complex_x: See `Modulus`.

    Raises:
        InvalidArgument: If the oversampling is less than 1 or not finite.

    References:
        | Phase Retrieval Algorithms: A Comparison (Fienup, 1982)
        | DPS: https://arxiv.org/abs/2209.14687, Section 4 (as a task for diffusion priors)
    """

    def __init__(self, oversampling: float = 2.0, *, complex_x: bool = False) -> None:
        super().__init__(complex_x=complex_x)
        good = math.isfinite(oversampling) and oversampling >= 1
        require(good, "oversampling", expected="a finite number of 1 or more", got=oversampling)
        self.oversampling = oversampling

    def size(self, y_shape: Shape) -> Shape:
        """The (h, w) that oversampling turns into this shape."""
        check_y_shape(y_shape, 3, "c, h, w")
        size = tuple(round(n / self.oversampling) for n in y_shape[1:])
        nearest = tuple(self._padded(max(n, 1)) for n in size)
        expected = f"sides {self.oversampling} times those of an image, such as {nearest}"
        require(nearest == y_shape[1:], "y", expected=expected, got=y_shape[1:])
        return size

    def waves(self, x: Tensor) -> Complex[Tensor, "b c H W"]:
        h, w = x.shape[-2:]
        return fft2(pad(x, (0, self._padded(w) - w, 0, self._padded(h) - h)), norm="ortho")

    def invert(self, waves: Complex[Tensor, "b c H W"]) -> Complex[Tensor, "b c h w"]:
        h, w = self.size(tuple(waves.shape[1:]))
        return ifft2(waves, norm="ortho")[..., :h, :w]

    def _padded(self, side: int) -> int:
        return math.floor(self.oversampling * side + 0.5)


class CodedDiffraction(Modulus):
    r"""Coded diffraction patterns: :math:`y_l = |F (m_l \odot x)|` for every code :math:`m_l`.

    F is the orthonormal 2-D DFT with frequency 0 first. x is `(b, c, h, w)` and y is
    `(b, c, codes, h, w)`. The norm of A is the maximum over pixels of
    :math:`\sqrt{\sum_l |m_l|^2}`.

    Arguments:
        codes: Complex `(codes, h, w)` or real `(codes, 2, h, w)` (Re, Im), of the dtype of y; or
            one set per lane, `(b, codes, ...)`, with `per_lane`.
        per_lane: Whether axis 0 of the codes is the lane axis.
        complex_x: See `Modulus`.

    Raises:
        InvalidArgument: If the codes have another shape, are not finite, or are all zero at one
            pixel.

    References:
        | Phase Retrieval from Coded Diffraction Patterns (Candes, Li & Soltanolkotabi, 2015)
    """

    codes: Tensor

    def __init__(self, codes: Tensor, *, per_lane: bool = False, complex_x: bool = False) -> None:
        super().__init__(complex_x=complex_x)
        codes = torch.as_tensor(codes)
        got = f"{tuple(codes.shape)}, {codes.dtype}"
        codes = split(codes) if codes.is_complex() else codes
        form = "(codes, h, w) complex or (codes, 2, h, w) real"
        form = f"(b, codes, ...), {form} per lane" if per_lane else form
        ranked = codes.ndim == (5 if per_lane else 4) and codes.shape[-3] == 2
        good = ranked and codes.numel() > 0 and codes.is_floating_point()
        require(good, "codes", expected=f"shape {form}", got=got)
        finite = bool(torch.isfinite(codes).all())
        require(finite, "codes", expected="finite values", got="nan or inf")
        dark = int((~codes.any(-3).any(-3)).sum())
        got = f"{dark} pixels where all codes are zero"
        require(dark == 0, "codes", expected="a code other than zero at every pixel", got=got)
        self.register_buffer("codes", codes.contiguous())
        self.batched = ("codes",) if per_lane else ()

    def size(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 4, "c, codes, h, w")
        count, _, h, w = self.codes.shape[-4:]
        expected = f"shape (b, c, {count}, {h}, {w})"
        got = f"(b, {', '.join(map(str, y_shape))})"
        require(y_shape[1:] == (count, h, w), "y", expected=expected, got=got)
        return h, w

    def waves(self, x: Tensor) -> Complex[Tensor, "b c k h w"]:
        wanted, got = tuple(self.codes.shape[-2:]), tuple(x.shape[-2:])
        require(got == wanted, "x", expected=f"size {wanted}, as the codes", got=got)
        return fft2(self._filters * x.unsqueeze(-3), norm="ortho")

    def invert(self, waves: Complex[Tensor, "b c k h w"]) -> Complex[Tensor, "b c h w"]:
        """The mean of F^-1 waves_l / m_l over the codes l, weighted by |m_l|^2."""
        filters = self._filters
        total = (filters.conj() * ifft2(waves, norm="ortho")).sum(-3)
        return total / (filters.real**2 + filters.imag**2).sum(-3)

    @property
    def _filters(self) -> Tensor:
        """The codes, complex `(1 or b, 1, codes, h, w)`."""
        return join(self.codes).reshape(-1, 1, *self.codes.shape[-4:-3], *self.codes.shape[-2:])
