"""Assumed covariances of x that are diagonal in a fixed basis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require_positive
from reddiff.operators.dct import dct2, idct2
from reddiff.priors.covariance import Covariance, white


@dataclass(frozen=True)
class Spread(ABC):
    """A covariance of x, for x of any shape."""

    @abstractmethod
    def eigen(self, like: Float[Tensor, "b *n"]) -> Covariance:
        """The covariance for x with the shape of `like`, shared by all lanes."""


@final
@dataclass(frozen=True)
class White(Spread):
    """C = std^2 I.

    Arguments:
        std: The standard deviation in units of x, above 0.

    Raises:
        InvalidArgument: If std is not positive.
    """

    std: float = 0.5

    def __post_init__(self) -> None:
        require_positive("std", self.std)

    def eigen(self, like: Float[Tensor, "b *n"]) -> Covariance:
        return white(self.std**2, like)


@final
@dataclass(frozen=True)
class PowerLaw(Spread):
    r"""Images with the power spectrum :math:`|f|^{\gamma}` in the DCT basis of each channel.

    f is in half cycles per pixel. At f = 0 the power is that of the lowest other frequency. An x
    that is not an image (c, h, w) is assumed to be white.

    Arguments:
        std: The standard deviation of a pixel, above 0.
        exponent: :math:`\gamma`; about -2 for natural images.

    Raises:
        InvalidArgument: If std is not positive.
    """

    std: float = 0.5
    exponent: float = -2.2

    def __post_init__(self) -> None:
        require_positive("std", self.std)

    def eigen(self, like: Float[Tensor, "b *n"]) -> Covariance:
        if like.ndim < 4:
            return White(self.std).eigen(like)
        h, w = like.shape[-2:]
        down, across = (torch.arange(n, dtype=like.dtype, device=like.device) / n for n in (h, w))
        frequency = (down[:, None] ** 2 + across**2).sqrt()
        power = frequency.clamp(min=1 / max(h, w)) ** self.exponent
        variance = power * (self.std**2 / power.mean())
        return Covariance(variance.view(*[1] * (like.ndim - 2), h, w), dct2, idct2)
