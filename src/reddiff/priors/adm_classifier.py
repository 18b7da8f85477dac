"""The encoder of ADM as a classifier of noisy images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.priors.adm import Plan, embedded
from reddiff.priors.adm_blocks import (
    GROUPS,
    attend,
)


class AttentionPool(nn.Module):
    """Attention pooling: the output of attention with the mean over pixels as the query.

    Arguments:
        side: The side of the input in pixels.
        width: The number of channels.
        heads: The number of heads.
        outputs: The length of the output vector.
    """

    def __init__(self, side: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.zeros(width, side**2 + 1))
        self.qkv_proj = nn.Conv1d(width, 3 * width, 1)
        self.c_proj = nn.Conv1d(width, outputs, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        flat = x.flatten(2)
        flat = torch.cat([flat.mean(2, keepdim=True), flat], dim=2) + self.positional_embedding
        pooled = attend(self.qkv_proj(flat), self.heads, heads_first=False)[:, :, :1]
        return self.c_proj(pooled).squeeze(2)


class ADMClassifier(nn.Module):
    """Class logits of noisy images, from the encoder of an ADM network.

    Arguments:
        plan: The architecture.
        side: The side of x in pixels.
        classes: The number of labels.
    """

    def __init__(self, plan: Plan, side: int, classes: int) -> None:
        super().__init__()
        self.width, self.side, self.classes = plan.width, side, classes
        self.time_embed = plan.embed()
        self.input_blocks, _ = plan.descend()
        self.middle_block = plan.middle()
        width, smallest = plan.widths[-1], side // 2 ** (len(plan.multipliers) - 1)
        pool = AttentionPool(smallest, width, plan.heads_of(width), classes)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), pool)

    def forward(self, x: Float[Tensor, "b c h w"], t: Tensor) -> Float[Tensor, "b k"]:
        """The logits `(b, classes)` of x_t at diffusion step t."""
        emb = embedded(self.time_embed, t, self.width)
        h = x
        for stage in self.input_blocks:
            h = stage(h, emb)
        return self.out(self.middle_block(h, emb))
