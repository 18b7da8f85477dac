"""The networks that a weights file may name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from reddiff.priors.unet import UNet

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
}
