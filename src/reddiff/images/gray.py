"""Gray pictures: one measurement per pixel, even if a file repeats it in three channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator

# The largest difference between the channels of a gray picture, in [0, 1] pixels. JPEG quantizes
# chroma and rounds it to whole levels, which changes R, G and B by up to 3 levels relative to each
# other.
NEARLY = 4.2 / 255
ODD = 0.001  # the fraction of pixels that may differ more than that,
FAR = 12 / 255  # and by how much


def gray_spread(pixels: Float[Tensor, "c h w"], seen: Bool[Tensor, "c h w"]) -> float | None:
    """The largest difference between the three channels of a gray picture; None for other pictures.

    The channels of a gray picture are equal, up to the rounding in JPEG files. A gray scene with
    independent noise in the channels counts as a color picture, because it has three measurements
    of each pixel.

    Arguments:
        pixels: The picture `(c, h, w)` in [0, 1].
        seen: Which entries are measured.
    """
    if len(pixels) != 3:
        return None
    apart = (pixels.amax(0) - pixels.amin(0))[seen.all(0)]
    if not len(apart) or float(apart.max()) > FAR:
        return None
    return float(apart.max()) if float((apart > NEARLY).double().mean()) <= ODD else None


class Repeated(LinearOperator):
    """A gray picture `(b, 1, h, w)` as one of three equal channels."""

    def forward(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
        return x.expand(-1, 3, -1, -1).contiguous()

    def adjoint(self, y: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        return y.sum(1, keepdim=True)

    def x_shape(self, y_shape: Shape) -> Shape:
        return (1, *y_shape[1:])


class ChannelMean(LinearOperator):
    """The mean of three channels."""

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        return x.mean(1, keepdim=True)

    def adjoint(self, y: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
        return y.expand(-1, 3, -1, -1) / 3

    def x_shape(self, y_shape: Shape) -> Shape:
        return (3, *y_shape[1:])


def on_gray(operator: Operator, y: Float[Tensor, "1 h w"]) -> Operator:
    """The form of an operator that applies to the gray measurement y.

    The operator itself is returned if it treats one channel like three equal channels, or if it
    maps color to one channel. Otherwise the result is the channel mean of A applied to three equal
    channels; or of A applied to a color picture, if A removes all color.

    Arguments:
        operator: A, on pixels in [0, 1].
        y: A gray measurement with one channel.
    """
    shape, wide = tuple(y.shape), (3, *y.shape[1:])
    direct, three = _tried(operator, shape), _tried(operator, wide)
    if three is None or len(three.x[0]) != 3 or (direct is not None and len(direct.x[0]) != 1):
        return operator
    if direct is not None:
        with torch.no_grad():
            again = operator(direct.x.expand(-1, 3, -1, -1).contiguous())
        if bool(torch.isclose(again, direct.y, rtol=1e-4, atol=1e-5).all()):
            return operator
    if bool(torch.isclose(three.y, three.y[:, :1], rtol=1e-4, atol=1e-5).all()):
        return ChannelMean() @ operator
    return ChannelMean() @ operator @ Repeated()


@dataclass(frozen=True, eq=False)
class _Trial:
    """A random picture x, and y = A(x)."""

    x: Tensor
    y: Tensor


def _tried(operator: Operator, y_shape: Shape) -> _Trial | None:
    """A random x with A(x) of this shape; None if A takes no such x."""
    try:
        shape = operator.x_shape(y_shape)
        like = next((b for b in operator.buffers() if b.is_floating_point()), torch.zeros(()))
        x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).to(like)
        with torch.no_grad():
            y = operator(x)
    except Exception:  # noqa: BLE001 - a user's function may raise anything
        return None
    return _Trial(x, y) if tuple(y.shape) == (1, *y_shape) else None
