"""Compare a picture with the ground truth."""

from __future__ import annotations

from torch import Tensor

from reddiff.errors import InvalidArgument
from reddiff.images.io import Picture
from reddiff.metrics.pixel import WINDOW

Size = tuple[int, int]
LEAST_LPIPS = 64


def common_size(size: Size, truth: Size, scale: int = 1) -> Size:
    """The height and width over which a picture and a truth can be compared.

    They must have the same size. If the picture was enlarged by `scale`, the truth may be smaller
    or larger by less than `scale` pixels, because its sides need not be multiples of `scale`; both
    are then cropped at the bottom and right.

    Raises:
        InvalidArgument: If the sizes differ by more.
    """
    if any(abs(a - b) >= max(scale, 1) for a, b in zip(size, truth, strict=True)):
        expected = f"a picture of {size[1]}x{size[0]} pixels (width x height), as the result has"
        raise InvalidArgument("truth", expected=expected, got=f"one of {truth[1]}x{truth[0]}")
    return min(size[0], truth[0]), min(size[1], truth[1])


def compare(picture: Picture, truth: Picture, scale: int = 1) -> dict[str, float]:
    """PSNR in dB, SSIM (for at least 11 x 11 pixels) and LPIPS (for at least 64 x 64 pixels).

    Arguments:
        picture: The picture.
        truth: The true picture.
        scale: The factor by which the picture was enlarged, see `common_size`.

    Raises:
        InvalidArgument: If the sizes differ.
    """
    from reddiff.metrics import LPIPS, psnr, ssim

    height, width = common_size(picture.size, truth.size, scale)
    x, t = (p.pixels[None, :, :height, :width] for p in (picture, truth))
    x, t = (v.expand(-1, max(x.shape[1], t.shape[1]), -1, -1) for v in (x, t))
    values = {"psnr": float(psnr(x, t))}
    if min(height, width) >= WINDOW:
        values["ssim"] = float(ssim(x, t))
    if min(height, width) >= LEAST_LPIPS:
        rgb_x, rgb_t = (_rgb(v) for v in (x, t))
        values["lpips"] = float(LPIPS()(rgb_x, rgb_t))
    return values


def _rgb(pixels: Tensor) -> Tensor:
    return pixels.expand(-1, 3, -1, -1)
