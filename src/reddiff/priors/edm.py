r"""The networks of EDM: DDPM++ and NCSN++ (`SongUNet`), and ADM (`DhariwalUNet`).

The parameters have the names and shapes of the authors' files.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    | Appendix F and Table 8, https://arxiv.org/abs/2206.00364
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reddiff.priors.adm_blocks import positions
from reddiff.priors.edm_blocks import Style
from reddiff.priors.edm_network import EDMNetwork, EDMPlan, conv3

DDPM = Style()
NCSN = Style(taps=(1, 3, 3, 1))
ADM_STYLE = Style(eps=1e-5, scale=1.0, scale_shift=True, head_width=64, project=False)
FREQUENCIES = 16.0  # standard deviation of the random Fourier frequencies of NCSN++


class SongUNet(EDMNetwork):
    """The network DDPM++ or NCSN++.

    Arguments:
        plan: The architecture.
        ncsn: Whether it is NCSN++, with random Fourier features of the noise level, downsampled
            versions of the input at each level, and a longer resampling filter.
    """

    def __init__(self, plan: EDMPlan, *, ncsn: bool) -> None:
        style, features = (NCSN, 2 * plan.width) if ncsn else (DDPM, plan.width)
        super().__init__(plan, style, plan.width, features, residual=ncsn)
        self.map_noise = RandomFrequencies(features) if ncsn else None
        if plan.classes is not None:
            self.map_label = nn.Linear(plan.classes, features)
        width = plan.widths[0]
        self.dec[f"{plan.level(0)}_aux_norm"] = style.norm(width)
        self.dec[f"{plan.level(0)}_aux_conv"] = conv3(width, plan.channels)

    def embed(self, t: Float[Tensor, "b"], y: Tensor | None) -> Float[Tensor, "b e"]:
        if self.map_noise is None:
            cos, sin = positions(t, self.features, endpoint=True).chunk(2, dim=1)
        else:
            cos, sin = self.map_noise(t)
        emb = torch.cat([sin, cos], dim=1).to(self.map_layer0.weight.dtype)
        if y is not None:
            emb = emb + self.label(self.map_label, y, math.sqrt(self.plan.classes or 1))
        out: Tensor = F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))
        return out

    def attends_up(self, block: int) -> bool:
        return block == self.plan.blocks

    def last(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        name = self.plan.level(0)
        out: Tensor = self.dec[f"{name}_aux_conv"](F.silu(self.dec[f"{name}_aux_norm"](x)))
        return out


class DhariwalUNet(EDMNetwork):
    """ADM, with the parameter names of EDM.

    Arguments:
        plan: The architecture.
    """

    def __init__(self, plan: EDMPlan) -> None:
        super().__init__(plan, ADM_STYLE, plan.widths[0], plan.width, residual=False)
        if plan.classes is not None:
            self.map_label = nn.Linear(plan.classes, plan.embedding, bias=False)
        self.out_norm = self.style.norm(plan.widths[0])
        self.out_conv = conv3(plan.widths[0], plan.channels)

    def embed(self, t: Float[Tensor, "b"], y: Tensor | None) -> Float[Tensor, "b e"]:
        features = positions(t, self.features).to(self.map_layer0.weight.dtype)
        emb = self.map_layer1(F.silu(self.map_layer0(features)))
        if y is not None:
            emb = emb + self.label(self.map_label, y)
        return F.silu(emb)

    def attends_up(self, block: int) -> bool:
        return True

    def last(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        out: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return out


class RandomFrequencies(nn.Module):
    """Cosines and sines of t at random frequencies, which are stored with the weights."""

    freqs: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.empty(features // 2).normal_(0, FREQUENCIES))

    def forward(self, t: Float[Tensor, "b"]) -> tuple[Tensor, Tensor]:
        angle = t[:, None] * (2 * math.pi * self.freqs.to(t.dtype))
        return angle.cos(), angle.sin()
