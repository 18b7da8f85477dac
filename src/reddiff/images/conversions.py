"""Convert masks, kernels and numbers of any kind for tasks and solvers."""

from __future__ import annotations

import operator
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import require
from reddiff.images.io import Picture, as_kernel, as_picture, read_kernel
from reddiff.images.io.inputs import kernel_of, mask_of
from reddiff.images.masks import make_mask
from reddiff.images.settings import Degradation, check_numbers, options

Mask = Tensor | NDArray[Any] | PIL.Image.Image | Picture | str | Path
Kernel = Tensor | NDArray[Any] | PIL.Image.Image | Picture | str | Path
S = TypeVar("S", bound=Degradation)

WORDS = "a text, a path, an array, a tensor or a PIL image"


def take_numbers(settings: S) -> S:
    """The settings with all numbers converted to those of Python.

    Raises:
        InvalidArgument: If one is not a number, or out of its range.
    """
    new: dict[str, Any] = {}
    for name, option in options(type(settings)).items():
        take = {int: take_whole, float: take_number}.get(option.kind)
        if take is not None:
            new[name] = take(name, getattr(settings, name))
    settings = replace(settings, **new)
    check_numbers(settings)
    return settings


def take_mask(
    mask: Mask, size: tuple[int, int], seed: int, fit: bool = False
) -> Float[Tensor, "c h w"]:
    """A mask, 1 where pixels are kept, from a text, a file, a PIL image, an array or a tensor.

    In pictures and arrays of integers, a pixel is kept if it is at least half as bright as white;
    transparent pixels are not kept. Other numbers must be 0 or 1.

    Raises:
        InvalidArgument: If it is none of these, or has another shape.
        PictureError: If a file cannot be read, or has another size.
    """
    if isinstance(mask, str | Path):
        return make_mask(str(mask), size, seed=seed, fit=fit)
    if isinstance(mask, PIL.Image.Image | Picture):
        return mask_of(as_picture(mask))
    good = isinstance(mask, np.ndarray | Tensor)
    require(good, "mask", expected=WORDS, got=f"a {type(mask).__name__}")
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype.kind in "iu" and array.size and array.max() > 1:
        top = 65535 if array.dtype.itemsize == 2 else 255
        array = array >= top / 2
    require(array.dtype.kind in "biuf", "mask", expected="numbers", got=f"{array.dtype}")
    binary = bool(((array == 0) | (array == 1)).all())
    require(binary, "mask", expected="entries 0 or 1", got=_extremes(array))
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[:2] == size and array.shape[1:] != size:
        array = np.moveaxis(array, -1, 0)  # channels last
    array = array[None] if array.ndim == 2 else array
    fits = array.ndim == 3 and array.shape[0] in (1, 2, 3, 4) and array.shape[1:] == size
    expected = f"the picture's height and width {size}"
    require(fits, "mask", expected=expected, got=f"shape {tuple(mask.shape)}")
    found = torch.from_numpy(array.astype(np.float32))
    return found[:1] if bool((found == found[:1]).all()) else found


def _extremes(array: NDArray[Any]) -> str:
    return f"values from {float(array.min()):.4g} to {float(array.max()):.4g}"


def take_kernel(kernel: Kernel, notes: list[str]) -> Tensor:
    """The PSF from a text, a file, a PIL image, an array or a tensor; warnings go to the notes.

    Raises:
        InvalidArgument: If it is not a kernel.
        PictureError: If a file cannot be read.
    """
    if isinstance(kernel, str | Path):
        found = read_kernel(kernel)
    elif isinstance(kernel, PIL.Image.Image | Picture):
        found = kernel_of(as_picture(kernel))
    else:
        good = isinstance(kernel, np.ndarray | Tensor)
        require(good, "kernel", expected=WORDS, got=f"a {type(kernel).__name__}")
        found = as_kernel(kernel)
    notes.extend(found.notes)
    return found.psf


def take_whole(name: str, value: Any) -> int | None:
    """An integer of any kind, or None."""
    if value is None:
        return None
    whole = isinstance(value, Integral) or (
        isinstance(value, np.ndarray | Tensor) and not value.ndim
    )
    truth = isinstance(value, bool | np.bool_)
    try:
        found = operator.index(value)
    except TypeError:
        whole, found = False, 0
    require(whole and not truth, name, expected="an integer", got=_short(value))
    return found


def take_number(name: str, value: Any) -> float | None:
    """A number of any kind, or None."""
    if value is None:
        return None
    array = isinstance(value, np.ndarray | Tensor)
    if array and value.ndim == 0:
        value = value.item()
    good = isinstance(value, Real) and not isinstance(value, bool)
    got = f"an array of shape {tuple(value.shape)}" if array and not good else _short(value)
    require(good, name, expected="a number", got=got)
    return float(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
