"""FFDNet, a published denoiser of color photos, as a prior for low and medium noise levels."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor, nn

from reddiff.priors.base import Prior
from reddiff.priors.error_spectrum import ErrorSpectrum

ASSET, ERRORS = "assets/ffdnet/ffdnet_color.safetensors", "assets/ffdnet/errors.json"


class FFDNet(nn.Module):
    """The color FFDNet: twelve convolutions at half resolution, with the noise level as an input.

    Each 2 x 2 block of pixels is folded into channels, which doubles the receptive field at a
    quarter of the cost. Any height and width is accepted.

    References:
        | FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising
        | (Zhang et al., 2018), https://arxiv.org/abs/1710.04026

    Arguments:
        channels: The number of channels of the images, 3 for the published weights.
        width: The number of channels of the hidden layers.
        depth: The number of convolutions.
    """

    def __init__(self, channels: int = 3, width: int = 96, depth: int = 12) -> None:
        super().__init__()
        widths = [4 * channels + 1, *[width] * (depth - 1), 4 * channels]
        layers: list[nn.Module] = []
        for m, n in pairwise(widths):
            layers += [nn.Conv2d(m, n, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])

    def forward(
        self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b c h w"]:
        """Denoise images in [0, 1] with Gaussian noise of standard deviation `sigma`."""
        h, w = x.shape[-2:]
        blocks = F.pixel_unshuffle(F.pad(x, (0, w % 2, 0, h % 2), mode="replicate"), 2)
        level = sigma.expand(-1, 1, *blocks.shape[-2:])
        y: Tensor = F.pixel_shuffle(self.body(torch.cat([blocks, level], 1)), 2)
        return y[..., :h, :w]


class FFDNetPrior(Prior):
    r"""The published color FFDNet as a prior on RGB photos in [-1, 1], of any height and width.

    .. math:: D(x, \sigma) = 2 f\bigl(\tfrac{x + 1}{2}, \tfrac{\sigma}{2}\bigr) - 1

    where :math:`f` is `FFDNet`. It was trained for noise levels from 0 to 75/255 on [0, 1]. The
    range used here, 1/255 to 100/255, was chosen by measurements on Kodak photos: above 75/255 the
    quality decreases at the same slow rate (26.3 dB at 75/255, 25.0 dB at 100/255); below 1/255 the
    network removes more detail than noise. `vp_within(steps, prior.sigma_min, prior.sigma_max)`
    gives a schedule in this range.

    The weights are frozen; gradients with respect to the input are available.
    """

    def __init__(self) -> None:
        super().__init__((3, None, None), sigma_min=2 / 255, sigma_max=200 / 255)
        with torch.device("meta"):  # the weights of the file replace all values
            self.net = FFDNet()
        weights = load(files("reddiff").joinpath(ASSET).read_bytes())
        self.net.load_state_dict(weights, assign=True)
        self.net.to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.values, self.trusted = (-1.0, 1.0), True
        self.errors = ErrorSpectrum.from_json(files("reddiff").joinpath(ERRORS).read_text())
        self.requires_grad_(False).eval()

    def denoise(
        self, x: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b 3 h w"]:
        """E[x_0 | x_0 + sigma n = x]."""
        clean: Tensor = self.net((x + 1) / 2, sigma / 2)
        return 2 * clean - 1
