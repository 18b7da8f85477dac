"""Linear tasks that act on each channel: missing pixels, downsampling, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import conv2d, pad

from reddiff.errors import require
from reddiff.images.tasks.base import Pixels, Task
from reddiff.operators import BlockMean, CircularBlur, Decimate, Identity, Mask, Operator, Resize
from reddiff.operators.blur.general import smooth_size
from reddiff.operators.blur.psf import as_psf
from reddiff.operators.resampling import Filter, bicubic

MAX_SCALE = 64  # at 64, one pixel in 4,096 is left


@dataclass(frozen=True)
class Denoise(Task):
    """Noise only."""

    name = "denoise"

    def _forward(self, x: Pixels) -> Pixels:
        return x

    def _operator(self, y: Pixels) -> Operator:
        return Identity()


@dataclass(frozen=True, eq=False)
class Inpaint(Task):
    """Missing pixels.

    Arguments:
        mask: `(1, h, w)`, 1 where the picture is kept.
    """

    mask: Tensor

    name = "inpaint"

    def _forward(self, x: Pixels) -> Pixels:
        self._check(x)
        return x * self.mask.to(x)

    def _operator(self, y: Pixels) -> Operator:
        self._check(y)
        return Mask(self.mask.to(y))

    def _measured(self, y: Pixels) -> Bool[Tensor, "_ _ _"]:
        self._check(y)
        return (self.mask > 0).to(y.device).expand_as(y)

    def _check(self, y: Pixels) -> None:
        mask, size = tuple(self.mask.shape[-2:]), tuple(y.shape[-2:])
        expected = f"the picture's height and width {size}"
        require(mask == size, "mask", expected=expected, got=mask)
        channels = self.mask.shape[0] if self.mask.ndim == 3 else 1
        got = f"{channels} of the mask"
        require(channels in (1, len(y)), "mask", expected=f"1 or {len(y)} channels", got=got)


class Sampling(Enum):
    """The pixel of a block that was kept, for pictures subsampled without a filter."""

    FIRST = auto()  # x[::f, ::f], cv2.INTER_NEAREST
    MIDDLE = auto()  # x[f // 2 :: f, f // 2 :: f], NEAREST of Pillow


@dataclass(frozen=True)
class SuperResolve(Task):
    """A smaller picture.

    Arguments:
        factor: The factor by which the sides were divided, from 2 to 64.
        filter: The filter that was used; None for block means.
    """

    factor: int
    filter: Filter | Sampling | None = None

    name = "sr"

    def __post_init__(self) -> None:
        integer = isinstance(self.factor, int) and not isinstance(self.factor, bool)
        good = integer and 2 <= self.factor <= MAX_SCALE
        large = integer and abs(self.factor) > 10**9
        got = "a number of ten digits or more" if large else repr(self.factor)
        require(good, "scale", expected=f"an integer from 2 to {MAX_SCALE}", got=got)

    def _forward(self, x: Pixels) -> Pixels:
        """Downsample. A picture whose sides are not multiples of the factor is extended first."""
        h, w = x.shape[-2:]
        extended = pad(x[None], (0, -w % self.factor, 0, -h % self.factor), mode="replicate")
        kept = self._offset
        small: Tensor = (
            self._operator(x)(extended) if kept is None else Decimate(self.factor, kept)(extended)
        )
        return small[0]

    def _operator(self, y: Pixels) -> Operator:
        """Block means, or the filter.

        Pixels that were selected without a filter are treated as those of a smoothed picture,
        centered where they were, and aliasing as noise. The exact operator leaves all other pixels
        to the prior. With it, the solvers were worse than bicubic interpolation at a scale of 4
        (see docs/operators.md).
        """
        if self._offset is not None:
            return Resize(self.factor, bicubic, shift=self._offset - (self.factor - 1) / 2)
        window = self.filter
        return Resize(self.factor, window) if isinstance(window, Filter) else BlockMean(self.factor)

    @property
    def _offset(self) -> int | None:
        """The row and column of the kept pixel in each block; None if a filter was used."""
        if not isinstance(self.filter, Sampling):
            return None
        return self.factor // 2 if self.filter is Sampling.MIDDLE else 0


@dataclass(frozen=True, eq=False)
class Deblur(Task):
    """A blur of a scene that extends beyond the picture's border.

    The solver works on a larger, periodic canvas of which only the picture is measured, so nothing
    is assumed about the scene beyond the border. The margin is removed at the end.

    Arguments:
        kernel: The PSF `(kh, kw)`, with odd sides, its center in the middle, and sum 1.
    """

    kernel: Tensor

    name = "deblur"

    def __post_init__(self) -> None:
        as_psf(self.kernel, name="kernel")

    def _forward(self, x: Pixels) -> Pixels:
        """Convolve, with the picture mirrored at its border."""
        kh, kw = self.kernel.shape
        self._check(x)
        around = (kw // 2, kw // 2, kh // 2, kh // 2)
        extended = pad(x[:, None].double(), around, mode="reflect")
        flipped = self.kernel.double().to(x.device).flip(0, 1)[None, None]
        return conv2d(extended, flipped)[:, 0].to(x.dtype)

    def _operator(self, y: Pixels) -> Operator:
        return Mask(self._on_canvas(torch.ones_like(y[:1]))) @ CircularBlur(self.kernel.to(y))

    def _measurement(self, y: Pixels) -> Pixels:
        """The picture on the canvas."""
        self._check(y)
        return self._on_canvas(y)

    def image(self, x: Pixels, y: Pixels) -> Pixels:
        """x without the margin of the canvas."""
        return x[..., : y.shape[-2], : y.shape[-1]]

    def _on_canvas(self, y: Tensor) -> Tensor:
        sizes = zip(y.shape[-2:], self.kernel.shape, strict=True)
        down, right = (smooth_size(size + max(2 * side, 16)) - size for size, side in sizes)
        return pad(y, (0, right, 0, down))

    def _check(self, y: Pixels) -> None:
        kernel, size = tuple(self.kernel.shape), tuple(y.shape[-2:])
        # one more, because a kernel as large as a picture with even sides is padded to odd sides
        fits = kernel[0] <= size[0] + 1 and kernel[1] <= size[1] + 1
        require(fits, "kernel", expected=f"at most the picture's size {size}", got=kernel)
