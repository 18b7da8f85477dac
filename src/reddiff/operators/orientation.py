"""The eight orientations in which a file may hold a picture, as EXIF numbers them."""

from __future__ import annotations

from enum import IntEnum

from jaxtyping import Shaped
from torch import Tensor


class Orientation(IntEnum):
    """How the stored picture becomes upright: the value of EXIF's tag 274."""

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
        """The upright picture of a stored one."""
        x = x.mT if self.swaps else x
        return x.flip(self._flips) if self._flips else x

    def stored(self, x: Shaped[Tensor, "*b h w"]) -> Shaped[Tensor, "*b H W"]:
        """The stored picture of an upright one: the inverse of `upright`."""
        x = x.flip(self._flips) if self._flips else x
        return x.mT if self.swaps else x

    @property
    def _flips(self) -> list[int]:
        """The axes along which the order is reversed, after transposing."""
        return [-2] * (self in (3, 4, 7, 8)) + [-1] * (self in (2, 3, 6, 7))
