"""Statistics of regions of a picture, as typed on the command line: `box:40,60,20,20=mean`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import lookup, require
from reddiff.images.io import read_mask
from reddiff.images.words import integers, split_word

BOX = "box:X,Y,WIDTH,HEIGHT"


def _contrast(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    return (high - low) / (high + low).clamp(min=1e-6)


STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.double().mean(),
    "sum": lambda values: values.double().sum(),
    "std": lambda values: values.double().std(),
    "min": lambda values: values.min(),
    "max": lambda values: values.max(),
    "contrast": _contrast,  # Michelson's, (max - min) / (max + min)
}


@dataclass(frozen=True)
class Region:
    """A statistic of the pixels of a region, over all channels, for pixels in [0, 1].

    Arguments:
        text: `WHERE=STATISTIC`, where WHERE is `box:X,Y,WIDTH,HEIGHT` in pixels from the top left,
            or the file of a mask, white inside the region; and STATISTIC is one of `STATISTICS`.

    Raises:
        InvalidArgument: If the text has another form.
    """

    text: str

    def __post_init__(self) -> None:
        where, equals, name = self.text.rpartition("=")
        expected = f"{BOX}=STATISTIC or MASKFILE=STATISTIC"
        require(bool(equals and where), "roi", expected=expected, got=self.text)
        lookup(STATISTICS, "roi", name)
        if self._box is not None:
            integers("roi", BOX, self._box)

    @property
    def statistic(self) -> Callable[[Tensor], Tensor]:
        """The function from the pixels of the region to the statistic."""
        return STATISTICS[self.text.rpartition("=")[2]]

    def mask(self, size: tuple[int, int]) -> Bool[Tensor, "1 h w"]:
        """The pixels of the region, in a picture of this height and width.

        Raises:
            InvalidArgument: If the region is not inside the picture, or has no pixel.
            PictureError: If the mask cannot be read, or has another size.
        """
        height, width = size
        if self._box is None:
            inside = read_mask(self.text.rpartition("=")[0], size, False) > 0.5
            require(bool(inside.any()), "roi", expected="a mask with white pixels", got=self.text)
            return self._enough(inside)
        x, y, w, h = integers("roi", BOX, self._box)
        good = w >= 1 and h >= 1 and 0 <= x <= width - w and 0 <= y <= height - h
        expected = f"a box inside the picture of {width}x{height} pixels"
        require(good, "roi", expected=expected, got=self.text)
        inside = torch.zeros(1, *size, dtype=torch.bool)
        inside[:, y : y + h, x : x + w] = True
        return self._enough(inside)

    def _enough(self, inside: Tensor) -> Tensor:
        """The same, if the statistic is defined for so many pixels."""
        good = self.statistic is not STATISTICS["std"] or int(inside.sum()) > 1
        require(good, "roi", expected="at least 2 pixels for std", got=self.text)
        return inside

    def of(self, size: tuple[int, int]) -> Callable[[Float[Tensor, "c h w"]], Tensor]:
        """The function from a picture of this size to the statistic."""
        inside, statistic = self.mask(size), self.statistic
        return lambda pixels: statistic(pixels[:, inside[0]])

    @property
    def _box(self) -> str | None:
        word, rest = split_word(self.text.rpartition("=")[0])
        return rest if word == "box" else None
