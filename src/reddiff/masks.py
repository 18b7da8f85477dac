"""Inpainting masks from a few words: `random:0.7`, `box:96`, `text:lorem`, or a picture file."""

from __future__ import annotations

from importlib.resources import as_file, files

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.pictures import read_mask
from reddiff.random import DRAWING, Keys

TEXTS = ("lorem", "lolcat")


def make_mask(
    spec: str, size: tuple[int, int], *, seed: int = 0, fit: bool = False
) -> Float[Tensor, "1 h w"]:
    """The mask that a text describes, 1 where the picture is kept.

    Arguments:
        spec: `random:P` drops each pixel with probability P; `box:N` drops a central square of N
            pixels; `text:NAME` writes a text over the picture (one that ships with the package,
            repeated over large pictures); anything else is a file, white where kept.
        size: (h, w) of the picture.
        seed: The seed of `random`.
        fit: Resize a file of another size instead of refusing it.

    Raises:
        InvalidArgument: If the words make no sense, or the mask would keep nothing.
        PictureError: If the file cannot be read, or has another size.
    """
    kind, _, value = spec.partition(":")
    if kind == "random" and value:
        drop = _number(spec, value, 0, 1)
        u = Keys(seed, (0,)).at(DRAWING).rand_like(torch.empty(1, *size, dtype=torch.float64))
        mask = (u >= drop).float()
    elif kind == "box" and value:
        side = int(_number(spec, value, 1, min(size) - 1))
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        mask = torch.ones(1, *size)
        mask[:, top : top + side, left : left + side] = 0
    elif kind == "text" and value:
        mask = _text(value, size)
    else:
        mask = read_mask(spec, size, fit)
    require(bool(mask.any()), "mask", expected="at least one kept pixel", got=f"none in {spec}")
    return mask


def _number(spec: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        expected = f"a number from {low:g} to {high:g} after the colon"
        raise InvalidArgument("mask", expected=expected, got=spec)
    return number


def _text(name: str, size: tuple[int, int]) -> Tensor:
    if name not in TEXTS:
        expected = f"text:{' or text:'.join(TEXTS)}"
        raise InvalidArgument("mask", expected=expected, got=f"text:{name}")
    with as_file(files("reddiff").joinpath(f"assets/masks/{name}.png")) as path:
        page = read_mask(str(path), (256, 256), False)
    down, across = -(-size[0] // 256), -(-size[1] // 256)
    return page.repeat(1, down, across)[:, : size[0], : size[1]]
