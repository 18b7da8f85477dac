"""JPEG: y is the image after compression and decompression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.jpeg import codec, color
from reddiff.operators.orientation import Orientation
from reddiff.operators.quantise import straight_through
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.tone import check_range

if TYPE_CHECKING:
    from PIL.Image import Image
from reddiff.operators.jpeg.headers import Subsampling, read_header
from reddiff.operators.jpeg.tables import check_tables, tables_of


class JPEG(Operator):
    """Baseline JPEG compression and decompression.

    x is clipped to [low, high], and its chroma is subsampled. The DCT coefficients of each 8 x 8
    block of luma and chroma are rounded to multiples of the entries of a quantization table. The
    stages and their integer arithmetic are those of libjpeg and libjpeg-turbo: y equals, bit for
    bit, what Pillow decodes from a file that Pillow wrote. Half precision and devices without
    float64 are not supported.

    The gradient is a straight-through estimate, in which rounding and clipping are replaced by the
    identity and the linear chroma subsampling is kept. The true gradient is zero almost everywhere.

    Arguments:
        quality: From 1 to 100, as for Pillow and libjpeg; with `per_lane`, integers `(b,)`.
        tables: The quantization tables of luma and chroma `(2, 8, 8)`, in place of a quality:
            integers from 1, in row-major (not zigzag) order; with `per_lane`, `(b, 2, 8, 8)`.
        subsampling: The chroma subsampling; 4:2:0 is the default of Pillow.
        orientation: The EXIF orientation of the file. Blocks and tables refer to the image as
            stored; x and y are upright.
        low: The value of black.
        high: The value of white. x is `(b, 3, h, w)`, RGB, or `(b, 1, h, w)`, gray.
        per_lane: Whether axis 0 of the parameters is the lane axis.

    References:
        | The stages: see `reddiff.operators.jpeg.codec`.
        | Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation
        | (Bengio, Leonard & Courville, 2013), https://arxiv.org/abs/1308.3432 (straight-through)

    Raises:
        InvalidArgument: Unless exactly one of `quality` and `tables` is given; if it is out of
            range or has another shape; or if low is not below high.
    """

    straight_through = True
    tables: Tensor

    def __init__(
        self,
        quality: int | Tensor | None = None,
        *,
        tables: Tensor | None = None,
        subsampling: Subsampling = Subsampling.S420,
        orientation: Orientation = Orientation.UPRIGHT,
        low: float = -1.0,
        high: float = 1.0,
        per_lane: bool = False,
    ) -> None:
        super().__init__()
        check_range(low, high)
        one = (quality is None) != (tables is None)
        require(one, "quality", expected="a quality or tables", got=f"{quality}, {tables}")
        if tables is None:
            tables = tables_of(quality, per_lane)
        check_tables(tables, per_lane)
        self.subsampling, self.orientation = subsampling, Orientation(orientation)
        self.low, self.high = low, high
        self.register_buffer("tables", tables.long())
        self.batched = ("tables",) if per_lane else ()

    @classmethod
    def of(cls, file: str | Path | Image, *, low: float = -1.0, high: float = 1.0) -> JPEG:
        """The operator with the tables, the subsampling and the EXIF orientation of a file.

        x and y are upright, as `read_picture` returns the file.

        Arguments:
            file: The path of a JPEG file, or an image that Pillow opened from one.
            low: The value of black.
            high: The value of white.

        Raises:
            PictureError: If the file cannot be read or is not a JPEG file.
            InvalidArgument: If its colors are neither YCbCr nor gray, or if its subsampling is not
                a `Subsampling`.
        """
        header = read_header(file)
        return cls(
            tables=header.tables,
            subsampling=header.subsampling,
            orientation=header.orientation,
            low=low,
            high=high,
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        self._check_channels("x", tuple(x.shape[1:]))
        scale = 255 / (self.high - self.low)
        x = self.orientation.stored(x)
        levels = ((x.detach().double() - self.low) * scale).round().clamp(0, 255)
        shown = self.low + self._through(levels) / scale
        return self.orientation.upright(straight_through(shown.to(x.dtype), self._smooth(x)))

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "1 or 3, h, w")
        self._check_channels("y", y_shape)
        return y_shape

    def surrogate(self) -> tuple[Operator, Tensor]:
        """Chroma subsampling alone, and the rms quantization error of a typical photo.

        The error is 0.27 times the mean quantization step of the four lowest frequencies of luma:
        most coefficients at higher frequencies are smaller than their steps.
        """
        step = self.tables[..., 0, :2, :2].double().mean((-2, -1))
        return _Smooth(self), 0.27 * (self.high - self.low) / 255 * step

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return y.clamp(self.low, self.high)

    def _through(self, levels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Integer levels from 0 to 255, encoded and decoded."""
        tables = self.tables if self.batched else self.tables[None]
        if levels.shape[1] == 1:
            return codec.requantise(levels[:, 0], tables[:, 0])[:, None]
        rows, columns = self.subsampling.value
        h, w = levels.shape[-2:]
        ycc = color.to_ycc(levels)
        planes = [codec.requantise(ycc[:, 0], tables[:, 0])]
        for channel in (1, 2):
            small = codec.requantise(color.shrink(ycc[:, channel], rows, columns), tables[:, 1])
            small = small[:, :, : -(-w // columns)]
            planes.append(color.spread(small, rows, columns, whole=True)[:, :h, :w])
        return color.to_rgb(torch.stack(planes, 1))

    def _smooth(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The linear part, for stored orientation: chroma is averaged and interpolated."""
        rows, columns = self.subsampling.value
        if x.shape[1] == 1 or rows * columns == 1:
            return x
        h, w = x.shape[-2:]
        luma = (x * x.new_tensor(color.LUMA)[:, None, None]).sum(1)
        planes = []
        for channel in (0, 2):  # R - Y and B - Y are multiples of Cr and Cb
            chroma = color.extend(x[:, channel] - luma, -h % rows, -w % columns)
            small = avg_pool2d(chroma[:, None], (rows, columns))[:, 0]
            planes.append(color.spread(small, rows, columns, whole=False)[:, :h, :w])
        red, blue = planes
        to_green = [-color.LUMA[i] / color.LUMA[1] for i in (0, 2)]
        green = to_green[0] * red + to_green[1] * blue
        return torch.stack([luma + red, luma + green, luma + blue], 1)

    @staticmethod
    def _check_channels(name: str, shape: Shape) -> None:
        good = shape[0] in (1, 3)
        require(good, name, expected="1 or 3 channels", got=shape[0])


class _Smooth(Operator):
    """The linear part of a codec: chroma subsampling."""

    def __init__(self, codec: JPEG) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        turn = self.codec.orientation
        return turn.upright(self.codec._smooth(turn.stored(x)))

    def x_shape(self, y_shape: Shape) -> Shape:
        return self.codec.x_shape(y_shape)

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.codec.initial_estimate(y)

    @property
    def lanes(self) -> None:
        """None: the tables have no effect."""
        return
