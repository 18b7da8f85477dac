"""The layers of ADM: residual blocks, attention and resampling.

The parameters have the names and shapes of the authors' files.

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal & Nichol, 2021), Section 3 and
    | Appendix I, https://arxiv.org/abs/2105.05233
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 32  # groups in every group normalization


def positions(
    t: Float[Tensor, "b"], features: int, longest: float = 1e4, *, endpoint: bool = False
) -> Float[Tensor, "b f"]:
    """Cosines and sines of t at `features / 2` frequencies from 1 down to about 1 / longest.

    With `endpoint` the lowest frequency is exactly 1 / longest.
    """
    half = features // 2
    k = torch.arange(half, device=t.device, dtype=t.dtype)
    angle = t[:, None] * torch.exp(k * (-math.log(longest) / (half - endpoint)))
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def attend(qkv: Float[Tensor, "b c n"], heads: int, *, heads_first: bool) -> Float[Tensor, "b d n"]:
    """Multi-head self-attention among n positions, with c = 3 d.

    Arguments:
        qkv: Queries, keys and values, concatenated along the channels.
        heads: The number of heads.
        heads_first: Whether channels are ordered as (head, q k v, channel), or (q k v, head,
            channel).
    """
    b, c, n = qkv.shape
    split = (heads, 3) if heads_first else (3, heads)
    q, k, v = qkv.view(b, *split, c // (3 * heads), n).mT.unbind(2 if heads_first else 1)
    return F.scaled_dot_product_attention(q, k, v).mT.reshape(b, c // 3, n)


class AttentionBlock(nn.Module):
    """Self-attention among all pixels, with a residual connection.

    Arguments:
        width: The number of channels.
        heads: The number of heads.
        heads_first: See `attend`.
    """

    def __init__(self, width: int, heads: int, *, heads_first: bool) -> None:
        super().__init__()
        self.heads, self.heads_first = heads, heads_first
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        flat = x.flatten(2)
        h = attend(self.qkv(self.norm(flat)), self.heads, heads_first=self.heads_first)
        return (flat + self.proj_out(h)).view(x.shape)


class ResBlock(nn.Module):
    """A residual block of two convolutions, modulated by the embedding of the noise level.

    Arguments:
        before: The number of channels of the input.
        width: The number of channels of the output.
        embedding: The length of the embedding of the noise level.
        scale_shift: Whether the embedding scales and shifts the normalized channels; otherwise it
            is added to them.
        resample: Resampling before the first convolution, or None.
    """

    def __init__(
        self,
        before: int,
        width: int,
        embedding: int,
        *,
        scale_shift: bool = True,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        first, second = (nn.Conv2d(n, width, 3, padding=1) for n in (before, width))
        self.in_layers = nn.Sequential(nn.GroupNorm(GROUPS, before), nn.SiLU(), first)
        features = 2 * width if scale_shift else width
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, features))
        norm, dropout = nn.GroupNorm(GROUPS, width), nn.Identity()  # no dropout at inference
        self.out_layers = nn.Sequential(norm, nn.SiLU(), dropout, second)
        same = before == width
        self.skip_connection = nn.Identity() if same else nn.Conv2d(before, width, 1)

    def forward(
        self, x: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b d i j"]:
        norm, silu, first = self.in_layers
        h = silu(norm(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = first(h)
        features = self.emb_layers(emb)[:, :, None, None]
        norm, silu, _, second = self.out_layers
        if self.scale_shift:
            scale, shift = features.chunk(2, dim=1)
            h = torch.addcmul(shift, norm(h), 1 + scale)
        else:
            h = norm(h + features)
        return self.skip_connection(x) + second(silu(h))


class Halve(nn.Module):
    """Downsampling by a convolution with stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        return self.op(x)


class Double(nn.Module):
    """Nearest-neighbor upsampling by 2, followed by a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.Sequential):
    """A sequence of layers; its residual blocks receive the embedding of the noise level."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x
