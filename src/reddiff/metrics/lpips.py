"""LPIPS, the published perceptual distance, with its weights in the package."""

from __future__ import annotations

from importlib.resources import files

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.metrics.pixel import check_pair

ASSET = "assets/lpips/lpips_alexnet.safetensors"
LEAST = 64  # pixels: the deepest features of a 64x64 picture are 3x3
# Mean and standard deviation of the photos AlexNet was trained on, per channel, in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    r"""The learned perceptual distance, version 0.1 on AlexNet: 0 for the truth, larger is worse.

    .. math:: \sum_l \mathrm{mean}_{hw} \sum_c w_{lc}
        \bigl(\hat f_{lc}(x) - \hat f_{lc}(x_0)\bigr)^2

    where :math:`f_l` are the outputs of the five convolutions after their ReLU, each divided by its
    norm over the channels, and :math:`w \ge 0` was fitted to human judgments. The weights are the
    published ones, stored in float16. Gradients flow to the pictures, not to the weights.

    References:
        | The Unreasonable Effectiveness of Deep Features as a Perceptual Metric
        | (Zhang et al., 2018), https://arxiv.org/abs/1801.03924
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):  # the weights of the file replace all values
            convs = [
                nn.Conv2d(3, 64, 11, stride=4, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
            self.convs = nn.ModuleList(convs)
            self.weights = nn.ParameterList(torch.zeros(conv.out_channels) for conv in convs)
        half = load(files("reddiff").joinpath(ASSET).read_bytes())
        self.load_state_dict({name: values.float() for name, values in half.items()}, assign=True)
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            buffer = torch.tensor(values).reshape(3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, truth: Tensor) -> Float[Tensor, " b"]:
        """The distance of each lane.

        Arguments:
            x: Pictures `(b, 3, h, w)` or `(b, 1, h, w)` of at least 64x64 pixels, in [0, 1]: *not*
                the [-1, 1] of the published code and of the solvers. Values outside [0, 1] are
                allowed, because estimates have them, and are not clamped.
            truth: The true pictures, of the same shape, in [0, 1].

        Raises:
            InvalidArgument: If the shapes differ, these are not batches of pictures, they do not
                have 1 or 3 channels, are too small, or the truth has values outside [0, 1].
        """
        check_pair(x, truth, least=LEAST)
        require(x.shape[1] in (1, 3), "x", expected="1 or 3 channels", got=x.shape[1])
        if truth.numel():
            low, high = float(truth.min()), float(truth.max())
            if low < -0.01 or high > 1.01:
                got = f"{low:.4g} to {high:.4g}"
                raise InvalidArgument("truth", expected="pixels in [0, 1]", got=got)
        layers = zip(self.features(x), self.features(truth), self.weights, strict=True)
        parts = [((f - g).square() * w[:, None, None]).sum(1).mean((1, 2)) for f, g, w in layers]
        return torch.stack(parts).sum(0)

    def features(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The five maps of features of pictures in [0, 1], of norm 1 over the channels."""
        # Broadcasting in the subtraction makes three equal channels from a gray picture.
        h = (2 * x.to(self.shift) - 1 - self.shift) / self.scale
        maps = []
        for layer, conv in enumerate(self.convs):
            if layer in (1, 2):
                h = F.max_pool2d(h, 3, stride=2)
            h = F.relu(conv(h))
            maps.append(h / (torch.linalg.vector_norm(h, dim=1, keepdim=True) + 1e-10))
        return maps
