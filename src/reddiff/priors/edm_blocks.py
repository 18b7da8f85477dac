r"""The layers of the networks of EDM: residual blocks with attention, and resampling by a filter.

The parameters have the names and shapes of the authors' files.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    | Appendix F, https://arxiv.org/abs/2206.00364
    | Score-Based Generative Modeling through SDEs (Song et al., 2021), Appendix H: DDPM++ and
    | NCSN++, https://arxiv.org/abs/2011.13456
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.priors.adm_blocks import GROUPS, attend

GROUP_WIDTH = 4  # smallest number of channels per group


@dataclass(frozen=True)
class Style:
    """The settings shared by all blocks of a network.

    Arguments:
        taps: The resampling filter along each axis, up to a factor.
        eps: The epsilon of group normalizations.
        scale: The factor on the sum of a block and its skip connection.
        scale_shift: Whether the embedding of the noise level scales and shifts the normalized
            channels; otherwise it is added to them.
        head_width: The number of channels per attention head; None for a single head.
        project: Whether the skip connection of a resampling block has a 1 x 1 convolution even if
            the number of channels stays the same.
    """

    taps: tuple[float, ...] = (1, 1)
    eps: float = 1e-6
    scale: float = math.sqrt(0.5)
    scale_shift: bool = False
    head_width: int | None = None
    project: bool = True

    def norm(self, width: int) -> nn.GroupNorm:
        """A group normalization for this number of channels."""
        return nn.GroupNorm(min(GROUPS, width // GROUP_WIDTH), width, self.eps)


class Resample(nn.Module):
    """Resampling by a factor of 2 with a filter and zero padding.

    Arguments:
        taps: The filter along each axis, up to a factor.
        doubles: Whether to upsample; otherwise downsample.
    """

    resample_filter: Tensor

    def __init__(self, taps: Sequence[float], *, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        row = torch.tensor(taps, dtype=torch.float32)
        kernel = torch.outer(row, row) / row.sum() ** 2
        self.register_buffer("resample_filter", kernel[None, None])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        return resampled(x, self.resample_filter, doubles=self.doubles)


class ResampledConv(nn.Conv2d):
    """A convolution combined with resampling by a factor of 2.

    Arguments:
        before: The number of channels of the input.
        width: The number of channels of the output.
        kernel: The side of the kernel, odd.
        taps: See `Resample`.
        doubles: See `Resample`.
        last: Whether to downsample after the convolution, using its zero padding.
    """

    resample_filter: Tensor

    def __init__(
        self,
        before: int,
        width: int,
        kernel: int,
        taps: Sequence[float],
        *,
        doubles: bool,
        last: bool = False,
    ) -> None:
        reach = (len(taps) - 1) // 2 if last else 0
        super().__init__(before, width, kernel, padding=kernel // 2 + reach)
        self.doubles, self.last = doubles, last
        self.register_buffer("resample_filter", Resample(taps, doubles=doubles).resample_filter)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        if self.last:
            return resampled(super().forward(x), self.resample_filter, doubles=False, border=0)
        return super().forward(resampled(x, self.resample_filter, doubles=self.doubles))


def resampled(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "1 1 k k"],
    *,
    doubles: bool,
    border: int | None = None,
) -> Float[Tensor, "b c i j"]:
    """x resampled by a factor of 2, each channel filtered by the same kernel.

    Arguments:
        x: The input.
        kernel: The kernel, with even sides and sum 1.
        doubles: Whether to upsample; otherwise downsample.
        border: The width of the zero padding; by default such that the factor is exactly 2.
    """
    channels = x.shape[1]
    border = (kernel.shape[-1] - 1) // 2 if border is None else border
    each = kernel.to(x.dtype).expand(channels, -1, -1, -1)
    if doubles:
        return F.conv_transpose2d(x, 4 * each, stride=2, padding=border, groups=channels)
    return F.conv2d(x, each, stride=2, padding=border, groups=channels)


class Block(nn.Module):
    """A residual block of two convolutions, modulated by the embedding of the noise level.

    Arguments:
        before: The number of channels of the input.
        width: The number of channels of the output.
        embedding: The length of the embedding of the noise level.
        style: The settings of the network.
        doubles: Whether to upsample (True), downsample (False) or neither (None) before the first
            convolution.
        attention: Whether self-attention among all pixels follows.
    """

    def __init__(
        self,
        before: int,
        width: int,
        embedding: int,
        style: Style,
        *,
        doubles: bool | None = None,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.scale, self.scale_shift = style.scale, style.scale_shift
        self.norm0, self.norm1 = style.norm(before), style.norm(width)
        self.conv0 = _conv(before, width, 3, style, doubles)
        self.affine = nn.Linear(embedding, 2 * width if style.scale_shift else width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.skip: nn.Module = nn.Identity()
        if before != width or (doubles is not None and style.project):
            self.skip = _conv(before, width, 1, style, doubles)
        elif doubles is not None:
            self.skip = Resample(style.taps, doubles=doubles)
        self.heads = 0
        if attention:
            self.heads = 1 if style.head_width is None else width // style.head_width
            self.norm2 = style.norm(width)
            self.qkv = nn.Conv2d(width, 3 * width, 1)
            self.proj = nn.Conv2d(width, width, 1)

    def forward(
        self, x: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b d i j"]:
        h = self.conv0(F.silu(self.norm0(x)))
        features = self.affine(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = features.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), 1 + scale)
        else:
            h = self.norm1(h + features)
        x = (self.skip(x) + self.conv1(F.silu(h))) * self.scale
        return x if not self.heads else (x + self._attention(x)) * self.scale

    def _attention(self, x: Tensor) -> Tensor:
        """Self-attention; the channels of `qkv` are ordered as (head, channel, q k v)."""
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm2(x)).view(b, self.heads, c // self.heads, 3, -1)
        qkv = qkv.transpose(2, 3).reshape(b, 3 * c, -1)
        out: Tensor = self.proj(attend(qkv, self.heads, heads_first=True).view(b, c, height, width))
        return out


def _conv(before: int, width: int, kernel: int, style: Style, doubles: bool | None) -> nn.Conv2d:
    if doubles is None:
        return nn.Conv2d(before, width, kernel, padding=kernel // 2)
    return ResampledConv(before, width, kernel, style.taps, doubles=doubles)
