"""FFDNet as a frozen first stage, and a U-Net that corrects it: one raw network of EDM's kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.priors.ffdnet import FFDNet, FFDNetPrior
from reddiff.priors.parametric import edm_coefficients
from reddiff.priors.unet import UNet

# FFDNet takes part fully between the middle two levels and not at all beyond the outer two; between
# these its part is linear in ln(sigma). For pixels in [-1, 1]; measured on photos.
LEVELS = (6 / 255, 20 / 255, 200 / 255, 400 / 255)


class Refined(nn.Module):
    r"""A raw network :math:`F` of the EDM preconditioning that starts from FFDNet's estimate.

    .. math::
        F = w F_1 + (1 - w) U(c_{in} x, w F_1;\ \ln(\sigma) / 4), \quad
        F_1 = (f(x, \sigma) - c_{skip} x) / c_{out}

    where :math:`f` is FFDNet and :math:`w` is `share` at the noise levels that FFDNet is good at
    and fades to zero outside them (`LEVELS`). A U-Net that ignores its extra input makes this the
    weighted mean of two denoisers. FFDNet stays as it is, in single precision: at low noise, half
    precision would cost more than its rounding.

    References:
        | FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising
        | (Zhang et al., 2018), https://arxiv.org/abs/1710.04026

    Arguments:
        unet: U, with as many extra input channels as the image has.
        first: f, for images in [0, 1].
        share: The greatest w, in 0 to 1 (1 is left out: the U-Net would have no say).
    """

    def __init__(self, unet: UNet, first: FFDNet, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"share: expected a number from 0 to below 1, got {share}")
        self.unet, self.first, self.share = unet, first, share
        self.first.requires_grad_(False)

    def weight(self, log_sigma: Tensor) -> Tensor:
        """w, for each level."""
        low, full, last, high = (math.log(level) for level in LEVELS)
        rise, fall = (log_sigma - low) / (full - low), (high - log_sigma) / (high - last)
        return self.share * torch.minimum(rise, fall).clamp(0, 1)

    def forward(
        self, x: Float[Tensor, "b c h w"], c_noise: Float[Tensor, "b"]
    ) -> Float[Tensor, "b c h w"]:
        r"""The raw output for scaled images.

        Arguments:
            x: The noisy images, times :math:`c_{in}`.
            c_noise: One noise level per image, :math:`\ln(\sigma) / 4`.
        """
        log_sigma = 4 * c_noise[:, None, None, None]
        w = self.weight(log_sigma)
        if not self.training and not bool((w > 0).any()):  # no FFDNet at all: the better half of a diffusion's levels
            out: Tensor = self.unet(torch.cat([x, torch.zeros_like(x)], dim=1), c_noise)
            return out
        with torch.autocast(x.device.type, enabled=False):
            estimate = self._first(x, log_sigma)
        raw = self.unet(torch.cat([x, w * estimate], dim=1), c_noise)
        return w * estimate + (1 - w) * raw

    def _first(
        self, x: Float[Tensor, "b c h w"], log_sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b c h w"]:
        """F_1, finite at any level."""
        sigma = log_sigma.clamp(math.log(LEVELS[0]), math.log(LEVELS[-1])).exp()
        c_skip, c_out, c_in, _ = edm_coefficients(sigma)
        noisy = x / c_in
        clean = 2 * self.first((noisy + 1) / 2, sigma / 2) - 1
        return (clean - c_skip * noisy) / c_out


def raw_network(config: Mapping[str, Any]) -> tuple[UNet | Refined, UNet]:
    """The raw network that the metadata of a weights file describe, and the trained part of it.

    Arguments:
        config: The arguments of `UNet`; with `"refines": "ffdnet"` and a `share`, that U-Net
            corrects FFDNet, whose weights are those of the package.

    Raises:
        ValueError: If it refines something else, or a value is out of range.
        TypeError: If an entry is missing or unknown.
    """
    options = dict(config)
    refines = options.pop("refines", None)
    if refines is None:
        unet = UNet(**options)
        return unet, unet
    if refines != "ffdnet":
        raise ValueError(f"refines: expected 'ffdnet', got {refines!r}")
    share = float(options.pop("share"))
    unet = UNet(**{"extra_channels": 3, **options})
    return Refined(unet, FFDNetPrior().net, share), unet
