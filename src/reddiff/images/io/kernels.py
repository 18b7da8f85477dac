"""Blur kernels from arrays: odd sides, sum 1, and notes on changes made to them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.operators.blur.psf import center_psf

MAX_SIDE = 1023  # pixels: a larger array is not a kernel
NEARER = 0.6  # pixels: an even side is centered before n // 2 if the centroid is this far before it
OFF_CENTER = 0.5  # pixels: a kernel that shifts the picture by more gets a note
NEGATIVE = 1e-3  # of the sum: more negative values than this get a note


class Kernel(NamedTuple):
    """A point spread function with sum 1, and notes.

    Attributes:
        psf: `(kh, kw)` with odd sides, its center in the middle, in float64.
        total: Its sum before normalization; 1 for pictures, whose scale is arbitrary.
        notes: Sentences for the user.
    """

    psf: Tensor
    total: float
    notes: tuple[str, ...] = ()

    @property
    def normalized(self) -> bool:
        """Whether the sum was not 1, so that it had to be normalized."""
        return abs(self.total - 1) > 1e-4


def as_kernel(values: Tensor | NDArray[Any], *, scaled: bool = True) -> Kernel:
    """The blur kernel in an array `(kh, kw)`; axes of length 1 around the two are dropped.

    The kernel is convolved with the picture. Kernels for cv2.filter2D and torch's conv2d, which
    correlate, must first be flipped along both axes. The center is element (kh // 2, kw // 2),
    counted from 0. On an even side it is the element before that, if the centroid is nearer to it,
    as for pictures blurred by `scipy.signal.convolve(..., mode="same")`.

    Arguments:
        values: Real numbers with a positive sum.
        scaled: Whether a sum other than 1 gets a note.

    Raises:
        InvalidArgument: If it has other axes, a side above 1023, complex or infinite values, or a
            sum that is not well above zero.
    """
    array = _real(values)
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    shape = array.shape
    good = array.ndim == 2 and 0 < min(shape) <= max(shape) <= MAX_SIDE
    expected = f"a kernel of two axes, at most {MAX_SIDE} pixels each"
    require(good, "kernel", expected=expected, got=f"shape {tuple(values.shape)}")
    psf = torch.from_numpy(array.astype(np.float64))
    finite = bool(psf.isfinite().all())
    require(finite, "kernel", expected="a kernel of finite values", got="nan or inf")
    total, size = float(psf.sum()), float(psf.abs().sum())
    expected = "a kernel that can be divided by its sum"
    require(total > 1e-3 * size, "kernel", expected=expected, got=f"a sum of {total:.4g}")
    psf = psf / total
    center = _center(psf)
    odd = center_psf(psf, center)
    odd = odd / odd.sum()
    total = total if scaled else 1.0
    return Kernel(odd, total, tuple(_notes(psf, center, total)))


def _real(values: Tensor | NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    if array.dtype.kind == "c":
        imaginary = float(np.abs(array.imag).max(initial=0))
        got = f"complex ones, with imaginary parts up to {imaginary:.3g}"
        good = imaginary == 0
        require(good, "kernel", expected="real values (a PSF is an intensity, |h|^2)", got=got)
        array = array.real
    if array.dtype.kind not in "fiub":
        raise InvalidArgument("kernel", expected="an array of numbers", got=f"{array.dtype}")
    return array


def _centroid(psf: Float64[Tensor, "kh kw"]) -> tuple[float, float]:
    """The centroid of the positive part: row and column, counted from 0."""
    weights = psf.clamp(min=0)
    total = weights.sum()
    lines = weights.sum(1), weights.sum(0)
    row, column = (float(v @ torch.arange(len(v), dtype=v.dtype) / total) for v in lines)
    return row, column


def _center(psf: Float64[Tensor, "kh kw"]) -> tuple[int, int]:
    """The center: n // 2, or the element before it on an even side."""
    pairs = zip(psf.shape, _centroid(psf), strict=True)
    row, column = (n // 2 - (n % 2 == 0 and at < n // 2 - NEARER) for n, at in pairs)
    return row, column


def _notes(psf: Float64[Tensor, "kh kw"], center: tuple[int, int], total: float) -> list[str]:
    notes, (height, width) = [], psf.shape
    if abs(total - 1) > 1e-4:
        notes.append(f"The kernel summed to {total:.4g}; it was divided by that.")
    if height % 2 == 0 or width % 2 == 0:
        notes.append(
            f"The kernel has an even side ({height} x {width}): its center was assumed at element "
            f"{center}, counted from 0."
        )
    down, right = (at - c for at, c in zip(_centroid(psf), center, strict=True))
    if max(abs(down), abs(right)) > OFF_CENTER + 1e-6:
        moved = _words(down, "down", "up"), _words(right, "right", "left")
        back = _words(-down, "down", "up"), _words(-right, "right", "left")
        notes.append(
            f"The kernel is off its center, element {center}: its centroid lies "
            f"{_joined(moved)}. The result is shifted relative to the picture, {_joined(back)}."
        )
    negative = float(-psf.clamp(max=0).sum())
    if negative > NEGATIVE:
        notes.append(f"The kernel has negative values, {negative:.1%} of its sum; they were kept.")
    return notes


def _words(offset: float, ahead: str, behind: str) -> str:
    if abs(offset) < 0.05:
        return ""
    return f"{abs(offset):.1f} pixels {ahead if offset > 0 else behind}"


def _joined(words: tuple[str, str]) -> str:
    return " and ".join(word for word in words if word)
