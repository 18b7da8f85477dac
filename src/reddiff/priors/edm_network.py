"""Base class of the networks of EDM: architecture, encoder and decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.priors.edm_blocks import Block, ResampledConv, Style


@dataclass(frozen=True)
class EDMPlan:
    """The architecture of a network.

    Arguments:
        side: The side of the training images in pixels, which occurs in parameter names.
        channels: The number of channels of the images.
        width: The base number of channels.
        multipliers: Factors on `width` for each level, finest first; the resolution is halved
            from level to level.
        blocks: The number of residual blocks at each level.
        attention: The resolutions (sides in pixels) at which there is self-attention.
        classes: The number of labels of a class-conditional network, or None.
        augmentations: The number of augmentation parameters in training. At inference they are
            zero, so that their weights have no effect.
    """

    side: int
    channels: int
    width: int
    multipliers: Sequence[int]
    blocks: int
    attention: Sequence[int]
    classes: int | None = None
    augmentations: int = 0

    @property
    def widths(self) -> list[int]:
        """The number of channels at each level."""
        return [m * self.width for m in self.multipliers]

    @property
    def embedding(self) -> int:
        """The length of the embedding of the noise level."""
        return 4 * self.width

    def level(self, i: int) -> str:
        """The part of parameter names that denotes a level."""
        side = self.side >> i
        return f"{side}x{side}"

    def attends(self, i: int) -> bool:
        """Whether there is attention at a level."""
        return self.side >> i in self.attention


class EDMNetwork(nn.Module, ABC):
    """A U-Net of residual blocks that computes F of the EDM preconditioning.

    The sides of x must be multiples of `2 ** (len(plan.multipliers) - 1)`.

    Arguments:
        plan: The architecture.
        style: The settings of its blocks.
        first: The number of channels after the first convolution.
        features: The number of Fourier features of the noise level.
        residual: Whether downsampled versions of the input are added at each level.
    """

    def __init__(
        self, plan: EDMPlan, style: Style, first: int, features: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.plan, self.style, self.features = plan, style, features
        self.map_layer0 = nn.Linear(features, plan.embedding)
        self.map_layer1 = nn.Linear(plan.embedding, plan.embedding)
        if plan.augmentations:
            self.map_augment = nn.Linear(plan.augmentations, features, bias=False)
        self.enc, skips = self._encoder(first, residual)
        self.dec = self._decoder(skips)

    @abstractmethod
    def embed(self, t: Float[Tensor, "b"], y: Tensor | None) -> Float[Tensor, "b e"]:
        """The embedding of noise level and labels that the blocks receive."""

    @abstractmethod
    def attends_up(self, block: int) -> bool:
        """Whether this block of the decoder has attention, at levels with attention."""

    @abstractmethod
    def last(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The output of the network, from that of the last block."""

    def forward(
        self, x: Float[Tensor, "b c h w"], t: Tensor, y: Int[Tensor, "b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """F(x, t).

        Arguments:
            x: c_in(sigma) (x_0 + sigma n).
            t: c_noise(sigma).
            y: Labels, for a class-conditional network.

        Raises:
            InvalidArgument: If labels are given to an unconditional network, or are missing for a
                conditional one.
        """
        wants, given = self.plan.classes is not None, y is not None
        require(wants == given, "y", expected="a label" if wants else "no label", got=given)
        emb = self.embed(t if t.is_floating_point() else t.float(), y)
        h, smaller = x, x
        skips: list[Tensor] = []
        for layer in self.enc.values():
            if isinstance(layer, ResampledConv):
                h = skips[-1] = smaller = (h + layer(smaller)) * self.style.scale
            else:
                h = layer(h, emb) if isinstance(layer, Block) else layer(h)
                skips.append(h)
        for name, layer in self.dec.items():
            if "block" in name:
                h = torch.cat([h, skips.pop()], dim=1)
            if isinstance(layer, Block):
                h = layer(h, emb)
        return self.last(h)

    @staticmethod
    def label(layer: nn.Linear, y: Tensor, scale: float = 1.0) -> Tensor:
        """The output of a layer for one-hot labels times `scale`."""
        row = scale * F.embedding(y, layer.weight.T)
        return row if layer.bias is None else row + layer.bias

    def _encoder(self, first: int, residual: bool) -> tuple[nn.ModuleDict, list[int]]:
        """The layers of the encoder, and the number of channels after each."""
        plan = self.plan
        layers = nn.ModuleDict({f"{plan.level(0)}_conv": conv3(plan.channels, first)})
        widths, smaller = [first], plan.channels
        for i, width in enumerate(plan.widths):
            if i > 0:
                before = widths[-1]
                layers[f"{plan.level(i)}_down"] = self._block(before, before, doubles=False)
                widths.append(before)
                if residual:
                    conv = ResampledConv(
                        smaller, before, 3, self.style.taps, doubles=False, last=True
                    )
                    layers[f"{plan.level(i)}_aux_residual"], smaller = conv, before
            for k in range(plan.blocks):
                block = self._block(widths[-1], width, attention=plan.attends(i))
                layers[f"{plan.level(i)}_block{k}"] = block
                widths.append(width)
        return layers, widths

    def _decoder(self, skips: list[int]) -> nn.ModuleDict:
        """The layers of the decoder; its numbered blocks also receive one output of the encoder."""
        plan, layers, before = self.plan, nn.ModuleDict(), self.plan.widths[-1]
        for i in reversed(range(len(plan.widths))):
            name = plan.level(i)
            if i == len(plan.widths) - 1:
                layers[f"{name}_in0"] = self._block(before, before, attention=True)
                layers[f"{name}_in1"] = self._block(before, before)
            else:
                layers[f"{name}_up"] = self._block(before, before, doubles=True)
            for k in range(plan.blocks + 1):
                attention = plan.attends(i) and self.attends_up(k)
                width = plan.widths[i]
                block = self._block(before + skips.pop(), width, attention=attention)
                layers[f"{name}_block{k}"], before = block, width
        return layers

    def _block(
        self, before: int, width: int, *, doubles: bool | None = None, attention: bool = False
    ) -> Block:
        embedding = self.plan.embedding
        return Block(before, width, embedding, self.style, doubles=doubles, attention=attention)


def conv3(before: int, width: int) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(before, width, 3, padding=1)
