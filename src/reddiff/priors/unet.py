"""The network of the photo prior: a small, fully convolutional U-Net."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class NoiseEmbedding(nn.Module):
    r"""Embedding of the noise level: Fourier features at octave frequencies, then two layers.

    Arguments:
        channels: The length of the embedding.
        octaves: The number of frequencies; the lowest has a period of 4 in `c_noise`.
    """

    def __init__(self, channels: int = 128, octaves: int = 6) -> None:
        super().__init__()
        self.octaves = octaves
        self.inner = nn.Linear(2 * octaves + 1, channels)
        self.outer = nn.Linear(channels, channels)

    def forward(self, c_noise: Float[Tensor, "b"]) -> Float[Tensor, "b e"]:
        octave = torch.arange(self.octaves, device=c_noise.device, dtype=c_noise.dtype)
        angle = c_noise[:, None] * (math.pi / 2) * 2**octave
        features = torch.cat([c_noise[:, None], angle.cos(), angle.sin()], dim=1)
        return F.silu(self.outer(F.silu(self.inner(features))))


class ResidualBlock(nn.Module):
    r"""A residual block of two convolutions around a gate that depends on the noise level.

    .. math:: h \leftarrow h + C_2 (u \odot v), \quad (u, v) = (1 + a) \odot C_1 \bar h + b

    where :math:`\bar h` is normalized to mean 0 and variance 1 over the channels of each pixel (a
    LayerNorm without weights, which keeps distant pixels independent), and :math:`(a, b)` is a
    linear function of the noise embedding (FiLM). :math:`C_2` is initialized with small weights, so
    that an untrained block is close to the identity.

    References:
        | Simple Baselines for Image Restoration (Chen et al., 2022), Section 4: the normalization
        | and the gate, https://arxiv.org/abs/2204.04676

    Arguments:
        channels: The number of channels of input and output. :math:`u` and :math:`v` each have two
            thirds as many, rounded to a multiple of 32.
        embedding: The length of the noise embedding.
        gain: The factor on the initial weights of :math:`C_2`; about (number of blocks) ** -0.5.
    """

    def __init__(self, channels: int, embedding: int, gain: float) -> None:
        super().__init__()
        hidden = max(32 * round(channels / 48), 8)
        self.first = nn.Conv2d(channels, 2 * hidden, 3, padding=1)
        self.film = nn.Linear(embedding, 4 * hidden)
        self.second = nn.Conv2d(hidden, channels, 3, padding=1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        for conv, factor in ((self.first, 0.7), (self.second, gain)):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                conv.weight.mul_(factor)

    def forward(
        self, h: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b c h w"]:
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, dim=1)
        normal = F.layer_norm(h.permute(0, 2, 3, 1), h.shape[1:2]).permute(0, 3, 1, 2)
        left, right = torch.addcmul(shift, self.first(normal), 1 + scale).chunk(2, dim=1)
        out: Tensor = h + self.second(left * right)
        return out


class UNet(nn.Module):
    r"""The network :math:`F` of the EDM preconditioning, for images of any height and width.

    .. math:: D(x; \sigma) = c_{skip}\, x + c_{out}\, F(c_{in}\, x;\ \ln(\sigma) / 4)

    Blocks of 2 x 2 pixels are folded into channels (pixel unshuffle) and processed by a U-Net of
    residual blocks, whose skip connections are added. Without attention, the cost is linear in the
    number of pixels. The last layer is initialized to zero, so that :math:`F = 0` before training.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
        | Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2021): DRUNet

    Arguments:
        image_channels: The number of channels of the image, 3 for color.
        channels: The number of channels at each level, finest first.
        blocks: The number of residual blocks at each level, in the encoder and again in the
            decoder; the coarsest level has them once.
        embedding: The length of the noise embedding.
        unshuffle: The side of the blocks folded into channels; 1 for full resolution.
    """

    def __init__(
        self,
        image_channels: int = 3,
        channels: Sequence[int] = (96, 160, 192, 160),
        blocks: Sequence[int] = (4, 3, 2, 1),
        embedding: int = 64,
        unshuffle: int = 2,
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(f"{len(channels)} channel counts for {len(blocks)} block counts")
        self.unshuffle = unshuffle
        self.multiple = unshuffle * 2 ** (len(channels) - 1)
        gain = (2 * sum(blocks)) ** -0.5
        folded = image_channels * unshuffle**2

        def stack(level: int) -> nn.ModuleList:
            width = channels[level]
            return nn.ModuleList(
                ResidualBlock(width, embedding, gain) for _ in range(blocks[level])
            )

        coarse = range(1, len(channels))
        self.embed = NoiseEmbedding(embedding)
        self.head = nn.Conv2d(folded, channels[0], 3, padding=1)
        self.down = nn.ModuleList(stack(i - 1) for i in coarse)
        self.shrink = nn.ModuleList(nn.Conv2d(channels[i - 1], channels[i], 2, 2) for i in coarse)
        self.middle = stack(len(channels) - 1)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(channels[i], channels[i - 1], 2, 2) for i in coarse
        )
        self.up = nn.ModuleList(stack(i - 1) for i in coarse)
        self.tail = nn.Conv2d(channels[0], folded, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Float[Tensor, "b c h w"], c_noise: Float[Tensor, "b"]
    ) -> Float[Tensor, "b c h w"]:
        r"""F, with the shape of x.

        Arguments:
            x: The noisy images, times :math:`c_{in}`.
            c_noise: :math:`\ln(\sigma) / 4`, one per image.
        """
        height, width = x.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        if any(padding):
            x = F.pad(x, padding, mode="replicate")
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 is too coarse here
            emb = self.embed(c_noise)
        h = self.head(F.pixel_unshuffle(x, self.unshuffle))
        skips = []
        for stack, shrink in zip(self.down, self.shrink, strict=True):
            h = _through(stack, h, emb)
            skips.append(h)
            h = shrink(h)
        h = _through(self.middle, h, emb)
        for stack, grow, skip in reversed(list(zip(self.up, self.grow, skips, strict=True))):
            h = _through(stack, grow(h) + skip, emb)
        out = F.pixel_shuffle(self.tail(h), self.unshuffle)
        return out[..., :height, :width]


def _through(
    stack: nn.Module, h: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]
) -> Float[Tensor, "b c h w"]:
    """The output of the residual blocks of one level, applied in sequence."""
    for block in stack.children():
        h = block(h, emb)
    return h
