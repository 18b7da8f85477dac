"""The picture tasks: what each one measures, simulated on a truth or given as a degraded picture.

Pixels are in [0, 1] here; solvers work on 2 pixels - 1, so noise doubles on the way in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from reddiff.errors import InvalidArgument, require
from reddiff.operators import BlockMean, CircularBlur, Mask, Operator, grayscale

Pixels = Float[Tensor, "_ _ _"]


class Task(ABC):
    """One way a picture is degraded, in [0, 1] pixels `(c, h, w)`."""

    name: ClassVar[str]
    lr: ClassVar[float]  # RED-diff's published learning rate for the task
    weight: ClassVar[float] = 0.25  # and its lambda

    @abstractmethod
    def degrade(self, x: Pixels) -> Pixels:
        """The measurement of a picture, without noise."""

    @abstractmethod
    def operator(self, y: Pixels) -> Operator:
        """The forward model of `measurement(y)`, for a degraded picture y."""

    def measurement(self, y: Pixels) -> Pixels:
        """The degraded picture as the operator sees it."""
        return y

    def picture(self, x: Pixels, y: Pixels) -> Pixels:
        """The restored picture for the degraded one, from the solver's x."""
        return x

    @property
    def scale(self) -> int:
        """How many times larger than y the restored picture is."""
        return 1


@dataclass(frozen=True)
class Denoise(Task):
    """Noise only."""

    name = "denoise"
    lr = 0.25
    weight = 1.0

    def degrade(self, x: Pixels) -> Pixels:
        """x itself."""
        return x

    def operator(self, y: Pixels) -> Operator:
        """The identity."""
        return Mask(y.new_ones(1, 1, 1))


@dataclass(frozen=True, eq=False)
class Inpaint(Task):
    """Missing pixels.

    Arguments:
        mask: `(1, h, w)`, 1 where the picture is kept.
    """

    mask: Tensor

    name = "inpaint"
    lr = 0.25

    def degrade(self, x: Pixels) -> Pixels:
        """Missing pixels are black."""
        self._check(x)
        return x * self.mask.to(x)

    def operator(self, y: Pixels) -> Operator:
        """The mask."""
        self._check(y)
        return Mask(self.mask.to(y))

    def _check(self, y: Pixels) -> None:
        mask, size = tuple(self.mask.shape[-2:]), tuple(y.shape[-2:])
        expected = f"the picture's height and width {size}"
        require(mask == size, "mask", expected=expected, got=mask)


@dataclass(frozen=True)
class SuperResolve(Task):
    """A picture whose pixels are means of blocks.

    Arguments:
        factor: The side of a block.
    """

    factor: int

    name = "sr"
    lr = 0.1

    def __post_init__(self) -> None:
        good = isinstance(self.factor, int) and self.factor >= 2
        require(good, "scale", expected="an integer of 2 or more", got=repr(self.factor))

    def degrade(self, x: Pixels) -> Pixels:
        """Block means; a size that the factor does not divide is first extended to one it does."""
        h, w = x.shape[-2:]
        extended = pad(x[None], (0, -w % self.factor, 0, -h % self.factor), mode="replicate")
        small: Tensor = BlockMean(self.factor)(extended)
        return small[0]

    def operator(self, y: Pixels) -> Operator:
        """Block means."""
        return BlockMean(self.factor)

    @property
    def scale(self) -> int:
        """The factor."""
        return self.factor


@dataclass(frozen=True, eq=False)
class Deblur(Task):
    """A blur that goes on beyond the picture's border.

    The solver works on a larger, periodic canvas of which only the picture is measured, so nothing
    is assumed of what lies beyond the border; the margin is cut away in the end.

    Arguments:
        kernel: The PSF `(kh, kw)`, odd sides, sum 1.
    """

    kernel: Tensor

    name = "deblur"
    lr = 0.5

    def degrade(self, x: Pixels) -> Pixels:
        """Convolution, the picture mirrored at its border."""
        kh, kw = self.kernel.shape
        self._check(x)
        around = (kw // 2, kw // 2, kh // 2, kh // 2)
        extended = pad(x[:, None].double(), around, mode="reflect")
        flipped = self.kernel.double().to(x.device).flip(0, 1)[None, None]
        return conv2d(extended, flipped)[:, 0].to(x.dtype)

    def operator(self, y: Pixels) -> Operator:
        """Circular convolution on the canvas, seen where the picture is."""
        return Mask(self._on_canvas(torch.ones_like(y[:1]))) @ CircularBlur(self.kernel.to(y))

    def measurement(self, y: Pixels) -> Pixels:
        """The picture on the canvas."""
        self._check(y)
        return self._on_canvas(y)

    def picture(self, x: Pixels, y: Pixels) -> Pixels:
        """The canvas without its margin."""
        return x[..., : y.shape[-2], : y.shape[-1]]

    def _on_canvas(self, y: Tensor) -> Tensor:
        sizes = zip(y.shape[-2:], self.kernel.shape, strict=True)
        down, right = (smooth_size(size + max(2 * side, 16)) - size for size, side in sizes)
        return pad(y, (0, right, 0, down))

    def _check(self, y: Pixels) -> None:
        kernel, size = tuple(self.kernel.shape), tuple(y.shape[-2:])
        fits = kernel[0] <= size[0] and kernel[1] <= size[1]
        require(fits, "kernel", expected=f"at most the picture's size {size}", got=kernel)


@dataclass(frozen=True)
class Colorize(Task):
    """A colour picture seen in grey."""

    name = "colorize"
    lr = 0.25

    def degrade(self, x: Pixels) -> Pixels:
        """The luma."""
        require(x.shape[0] == 3, "image", expected="a colour picture", got="a grey one")
        return grayscale(x.dtype).to(x.device)(x[None])[0]

    def operator(self, y: Pixels) -> Operator:
        """The luma."""
        return grayscale(y.dtype)

    def measurement(self, y: Pixels) -> Pixels:
        """The luma, if the degraded picture has three channels."""
        return self.degrade(y) if y.shape[0] == 3 else y


TASKS = ("inpaint", "sr", "deblur", "denoise", "colorize")


def make_task(
    name: str,
    *,
    mask: Tensor | None = None,
    scale: int | None = None,
    kernel: Tensor | None = None,
) -> Task:
    """The task of this name with its parameter, for command lines and records.

    Arguments:
        name: One of `TASKS`.
        mask: For `inpaint`.
        scale: For `sr`.
        kernel: For `deblur`.

    Raises:
        InvalidArgument: If the name is unknown, the task's parameter is missing, or one is given
            that the task does not have.
    """
    require(name in TASKS, "task", expected=f"one of {', '.join(TASKS)}", got=name)
    given = {"mask": mask, "scale": scale, "kernel": kernel}
    wanted = {"inpaint": "mask", "sr": "scale", "deblur": "kernel"}.get(name)
    for parameter, value in given.items():
        if parameter == wanted and value is None:
            raise InvalidArgument(parameter, expected=f"one for the task {name}", got="none")
        if parameter != wanted and value is not None:
            raise InvalidArgument(parameter, expected=f"none for the task {name}", got="one")
    if mask is not None:
        return Inpaint(mask)
    if scale is not None:
        return SuperResolve(scale)
    if kernel is not None:
        return Deblur(kernel)
    return Denoise() if name == "denoise" else Colorize()


def smooth_size(size: int) -> int:
    """The least number from `size` on without a prime factor above 5, where FFTs are fast.

    Arguments:
        size: A positive integer.
    """
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
