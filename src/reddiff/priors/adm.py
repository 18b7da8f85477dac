r"""The U-Net of guided diffusion (ADM).

The parameters have the names and shapes of the authors' files.

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal & Nichol, 2021), Section 3 and
    | Appendix I, https://arxiv.org/abs/2105.05233
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.priors.adm_blocks import (
    GROUPS,
    AttentionBlock,
    Double,
    Halve,
    ResBlock,
    Stage,
    positions,
)


@dataclass(frozen=True)
class Plan:
    """The architecture of a U-Net.

    Arguments:
        channels: The number of channels of the images.
        width: The base number of channels.
        multipliers: Factors on `width` for each level, finest first; the resolution is halved
            from level to level.
        blocks: The number of residual blocks at each level.
        attention: The downsampling factors (1, 2, 4, ...) at which there is self-attention.
        heads: The number of attention heads, if `head_width` is None.
        head_width: The number of channels per head.
        heads_first: See `attend`.
        scale_shift: See `ResBlock`.
        resblock_updown: Whether residual blocks do the resampling; otherwise single convolutions.
    """

    channels: int
    width: int
    multipliers: Sequence[float]
    blocks: int
    attention: Sequence[int]
    heads: int = 1
    head_width: int | None = None
    heads_first: bool = True
    scale_shift: bool = True
    resblock_updown: bool = True

    @property
    def widths(self) -> list[int]:
        """The number of channels at each level."""
        return [int(m * self.width) for m in self.multipliers]

    @property
    def embedding(self) -> int:
        """The length of the embedding of the noise level."""
        return 4 * self.width

    def heads_of(self, width: int) -> int:
        """The number of attention heads for this number of channels."""
        return self.heads if self.head_width is None else width // self.head_width

    def embed(self) -> nn.Sequential:
        """The two layers of the embedding of the noise level."""
        inner, outer = (nn.Linear(n, self.embedding) for n in (self.width, self.embedding))
        return nn.Sequential(inner, nn.SiLU(), outer)

    def stage(self, before: int, level: int) -> Stage:
        """A residual block, followed by attention at the levels that have it."""
        width = self.widths[level]
        stage = Stage(self._block(before, width))
        if 2**level in self.attention:
            stage.append(self._attention(width))
        return stage

    def middle(self) -> Stage:
        """The stage between encoder and decoder."""
        width = self.widths[-1]
        return Stage(self._block(width, width), self._attention(width), self._block(width, width))

    def descend(self) -> tuple[nn.ModuleList, list[int]]:
        """The stages of the encoder, and the number of channels after each."""
        width = self.widths[0]
        stages, widths = [Stage(nn.Conv2d(self.channels, width, 3, padding=1))], [width]
        for level, width in enumerate(self.widths):
            for _ in range(self.blocks):
                stages.append(self.stage(widths[-1], level))
                widths.append(width)
            if level < len(self.widths) - 1:
                halve = partial(F.avg_pool2d, kernel_size=2)
                down = self._block(width, width, halve) if self.resblock_updown else Halve(width)
                stages.append(Stage(down))
                widths.append(width)
        return nn.ModuleList(stages), widths

    def ascend(self, skips: Sequence[int]) -> nn.ModuleList:
        """The stages of the decoder; each also receives one output of the encoder."""
        stages, left, before = nn.ModuleList(), list(skips), self.widths[-1]
        for level in reversed(range(len(self.widths))):
            for _ in range(self.blocks + 1):
                stage = self.stage(before + left.pop(), level)
                stages.append(stage)
                before = self.widths[level]
            if level:
                double = partial(F.interpolate, scale_factor=2.0, mode="nearest")
                resblock = self.resblock_updown
                stage.append(self._block(before, before, double) if resblock else Double(before))
        return stages

    def _block(
        self, before: int, width: int, resample: Callable[[Tensor], Tensor] | None = None
    ) -> ResBlock:
        of = self.embedding
        return ResBlock(before, width, of, scale_shift=self.scale_shift, resample=resample)

    def _attention(self, width: int) -> AttentionBlock:
        return AttentionBlock(width, self.heads_of(width), heads_first=self.heads_first)


class ADM(nn.Module):
    """The network of guided diffusion.

    The sides of x must be multiples of `2 ** (len(plan.multipliers) - 1)`.

    Arguments:
        plan: The architecture.
        outputs: The number of output channels; twice that of x for a learned variance.
        classes: The number of labels of a class-conditional network, or None.
    """

    def __init__(self, plan: Plan, outputs: int, classes: int | None = None) -> None:
        super().__init__()
        self.width = plan.width
        self.time_embed = plan.embed()
        self.label_emb = None if classes is None else nn.Embedding(classes, plan.embedding)
        self.input_blocks, skips = plan.descend()
        self.middle_block = plan.middle()
        self.output_blocks = plan.ascend(skips)
        width = plan.widths[0]
        last = nn.Conv2d(width, outputs, 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), last)

    def forward(
        self, x: Float[Tensor, "b c h w"], t: Tensor, y: Int[Tensor, "b"] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """The prediction of the network, `(b, outputs, h, w)`.

        Arguments:
            x: x_t.
            t: The diffusion step, from 0; fractions are allowed.
            y: Labels, for a class-conditional network.

        Raises:
            InvalidArgument: If labels are given to an unconditional network, or are missing for a
                conditional one.
        """
        emb = embedded(self.time_embed, t, self.width)
        wants, given = self.label_emb is not None, y is not None
        require(wants == given, "y", expected="a label" if wants else "no label", got=given)
        if self.label_emb is not None and y is not None:
            emb = emb + self.label_emb(y)
        h, skips = x, []
        for stage in self.input_blocks:
            h = stage(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h)


def embedded(layers: nn.Module, t: Tensor, width: int) -> Tensor:
    """The embedding of the diffusion step t."""
    held = next(layers.parameters()).dtype
    t = t if t.is_floating_point() else t.float()
    out: Tensor = layers(positions(t, width).to(held))
    return out
