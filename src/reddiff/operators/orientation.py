"""The eight orientations in which a file may store an image, as numbered by EXIF."""

from __future__ import annotations

from enum import IntEnum

from jaxtyping import Shaped
from torch import Tensor


class Orientation(IntEnum):
    """The value of EXIF tag 274: how to turn the stored image to display it upright."""

    UPRIGHT = 1
    MIRRORED = 2
    TURNED_180 = 3
    FLIPPED = 4
    TRANSPOSED = 5
    TURNED_90 = 6  # clockwise
    TRANSVERSED = 7
    TURNED_270 = 8

    @property
    def swaps(self) -> bool:
        """Whether the stored height is the upright width."""
        return self >= Orientation.TRANSPOSED

    def upright(self, x: Shaped[Tensor, "*b h w"]) -> Shaped[Tensor, "*b H W"]:
        """Turn a stored image upright."""
        x = x.mT if self.swaps else x
        return x.flip(self._flips) if self._flips else x

    def stored(self, x: Shaped[Tensor, "*b h w"]) -> Shaped[Tensor, "*b H W"]:
        """Turn an upright image into its stored orientation; the inverse of `upright`."""
        x = x.flip(self._flips) if self._flips else x
        return x.mT if self.swaps else x

    @property
    def _flips(self) -> list[int]:
        """The axes to flip, after transposing."""
        return [-2] * (self in (3, 4, 7, 8)) + [-1] * (self in (2, 3, 6, 7))
