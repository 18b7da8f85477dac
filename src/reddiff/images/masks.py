"""Inpainting masks from descriptions such as `random:0.7`, `box:96`, `brush:10-20`, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.images.brush import brush_mask
from reddiff.images.io import read_mask
from reddiff.images.words import numbers, spoken
from reddiff.random import DRAWING, Keys

TEXTS = ("lorem", "lolcat")
Size = tuple[int, int]


@dataclass(frozen=True)
class MaskWord:
    """A kind of mask with a name, such as `random:0.7`.

    Arguments:
        form: The name, and the text after its colon.
        make: Makes the mask, 1 where pixels are kept, from that text, the size (h, w) and the seed.
    """

    form: str
    make: Callable[[str, Size, int], Tensor]


def make_mask(spec: str, size: Size, *, seed: int = 0, fit: bool = False) -> Float[Tensor, "1 h w"]:
    """The mask that a text describes, 1 where the picture is kept.

    Arguments:
        spec: `random:P` removes each pixel with probability P. `box:N` removes a central square of
            N x N pixels; an N below 1 is a share of the shorter side. `brush:LOW-HIGH` removes
            strokes of a brush (`brush_mask`) that cover LOW to HIGH percent of the picture.
            `text:NAME` removes the letters of a text in the package, repeated over large pictures.
            Anything else is a file, white where pixels are kept.
        size: (h, w) of the picture.
        seed: The random seed of `random` and `brush`.
        fit: Resize a mask file of another size instead of raising an error.

    Raises:
        InvalidArgument: If the text is invalid, or the mask would keep no pixel.
        PictureError: If the file cannot be read, or has another size.
    """
    found = spoken("mask", spec, WORDS)
    mask = read_mask(spec, size, fit) if found is None else found.entry.make(found.text, size, seed)
    require(bool(mask.any()), "mask", expected="at least one kept pixel", got=f"none in {spec}")
    return mask


def _random(text: str, size: Size, seed: int) -> Tensor:
    drop = _number("random:SHARE", text, 0, 1)
    u = Keys(seed, (0,)).at(DRAWING).rand_like(torch.empty(1, *size, dtype=torch.float64))
    return (u >= drop).float()


def _box(text: str, size: Size, _: int) -> Tensor:
    number = _number("box:SIDE", text, 0, min(size) - 1)
    side = int(number) if number >= 1 else round(number * min(size))
    require(side >= 1, "mask", expected="a box of at least a pixel", got=f"box:{text}")
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    mask = torch.ones(1, *size)
    mask[:, top : top + side, left : left + side] = 0
    return mask


def _brush(text: str, size: Size, seed: int) -> Tensor:
    low, high = (number / 100 for number in numbers("mask", "brush:LOW-HIGH", text))
    expected = "brush:LOW-HIGH with percents 0 < LOW <= HIGH < 100"
    require(0 < low <= high < 1, "mask", expected=expected, got=text)
    return brush_mask(size, (low, high), seed)


def _text(name: str, size: Size, _: int) -> Tensor:
    expected = f"text:{' or text:'.join(TEXTS)}"
    require(name in TEXTS, "mask", expected=expected, got=f"text:{name}")
    with as_file(files("reddiff").joinpath(f"assets/masks/{name}.png")) as path:
        page = read_mask(str(path), (256, 256), False)
    down, across = -(-size[0] // 256), -(-size[1] // 256)
    return page.repeat(1, down, across)[:, : size[0], : size[1]]


def _number(form: str, text: str, low: float, high: float) -> float:
    (number,) = numbers("mask", form, text)
    expected = f"{form}, a number from {low:g} to {high:g}"
    require(low <= number <= high, "mask", expected=expected, got=text)
    return number


WORDS = {
    "random": MaskWord("random:SHARE", _random),
    "box": MaskWord("box:SIDE", _box),
    "brush": MaskWord("brush:LOW-HIGH", _brush),
    "text": MaskWord(f"text:{'|'.join(TEXTS)}", _text),
}
