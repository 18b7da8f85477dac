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

GROUP_WIDTH = 4  # channels of a group, at the least


@dataclass(frozen=True)
class Style:
    """What the blocks of one family of networks have in common.

    Arguments:
        taps: The filter of resampling, along each axis, up to a factor.
        eps: Of normalizations.
        scale: Each sum of a block and its input is multiplied by it.
        scale_shift: Whether the features of the noise level scale and shift the normalized
            channels; else they are added.
        head_width: The number of channels of an attention head; None for one head.
        project: Whether an input whose sides alone change goes through a 1 x 1 convolution too.
    """

    taps: tuple[float, ...] = (1, 1)
    eps: float = 1e-6
    scale: float = math.sqrt(0.5)
    scale_shift: bool = False
    head_width: int | None = None
    project: bool = True

    def norm(self, width: int) -> nn.GroupNorm:
        """A normalization of so many channels."""
        return nn.GroupNorm(min(GROUPS, width // GROUP_WIDTH), width, self.eps)


class Resample(nn.Module):
    """Sides halved or doubled by a filter, with zeros beyond the border.

    Arguments:
        taps: The filter, along each axis, up to a factor.
        doubles: Whether sides are doubled.
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
    """A convolution of sides that are halved or doubled.

    Arguments:
        before: The number of channels of the input.
        width: The number of channels of the output.
        kernel: The side of the kernel, odd.
        taps: See `Resample`.
        doubles: See `Resample`.
        last: Whether the sides are halved after the convolution, with its zeros beyond the border.
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
    """Sides halved or doubled, each channel by the kernel, whose sum is 1.

    Arguments:
        x: The input.
        kernel: The kernel, of even sides.
        doubles: Whether sides are doubled.
        border: How many zeros there are beyond the border; as many as keep the factor of two by
            default.
    """
    channels = x.shape[1]
    border = (kernel.shape[-1] - 1) // 2 if border is None else border
    each = kernel.to(x.dtype).expand(channels, -1, -1, -1)
    if doubles:
        return F.conv_transpose2d(x, 4 * each, stride=2, padding=border, groups=channels)
    return F.conv2d(x, each, stride=2, padding=border, groups=channels)


class Block(nn.Module):
    """Two convolutions, with features of the noise level between them, added to the input.

    Arguments:
        before: The number of channels of the input.
        width: The number of channels of the output.
        embedding: The number of features of the noise level.
        style: That of the network.
        doubles: Whether sides are doubled (True) or halved (False), ahead of the first convolution.
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
        """Of queries, keys and values by (head, channel, q k v)."""
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm2(x)).view(b, self.heads, c // self.heads, 3, -1)
        qkv = qkv.transpose(2, 3).reshape(b, 3 * c, -1)
        out: Tensor = self.proj(attend(qkv, self.heads, heads_first=True).view(b, c, height, width))
        return out


def _conv(before: int, width: int, kernel: int, style: Style, doubles: bool | None) -> nn.Conv2d:
    if doubles is None:
        return nn.Conv2d(before, width, kernel, padding=kernel // 2)
    return ResampledConv(before, width, kernel, style.taps, doubles=doubles)
