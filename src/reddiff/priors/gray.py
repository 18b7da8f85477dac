"""Conversions between priors of color images and priors of gray images."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.around import Around
from reddiff.priors.base import Prior

BLIND = 10.0  # noise level at which an x in [-1, 1] is no longer visible


class GrayPrior(Around):
    r"""A prior of gray images :math:`g`, made from a color prior of :math:`x = (g, g, g)`.

    .. math:: D_\mathrm{gray}(v, s) = \frac{1}{3} \sum_c D_c\big((v, v, v), \sqrt 3\, s\big)

    The mean of three channels with independent noise of level :math:`\sqrt 3\, s` has noise of
    level s. Therefore v, repeated in three channels, is given to the color prior at level
    :math:`\sqrt 3\, s`. This is exact for a Gaussian prior whose channel mean is independent of the
    differences between channels.

    Arguments:
        inner: A prior on `(3, h, w)`.

    Raises:
        InvalidArgument: If the inner prior does not have three channels.
    """

    def __init__(self, inner: Prior) -> None:
        color = len(inner.shape) == 3 and inner.shape[0] == 3
        require(color, "prior", expected="a prior on (3, h, w)", got=f"one on {inner.shape}")
        # If the color prior covers levels at which x is invisible, so does this one: see `denoise`.
        high = inner.sigma_max if inner.sigma_max >= BLIND else inner.sigma_max / math.sqrt(3)
        super().__init__(inner, (1, *inner.shape[1:]), inner.sigma_min / math.sqrt(3), high)
        self.errors = inner.errors.gray() if inner.errors else None

    def denoise(
        self, x: Float[Tensor, "b 1 h w"], sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b 1 h w"]:
        """The channel mean of the color prior's estimate.

        Beyond the highest level of the color prior, x is scaled down to that level. The noise
        level is then correct, and the image is invisible in the noise in either case.
        """
        level = math.sqrt(3) * sigma
        shrink = (self.inner.sigma_max / level).clamp(max=1)
        three = (x * shrink).expand(-1, 3, -1, -1).contiguous()
        clean: Tensor = self.inner.denoise(three, torch.minimum(level, level * shrink))
        return clean.mean(1, keepdim=True)


class ChannelwisePrior(Around):
    """A gray prior, applied to each channel of images with several channels.

    The channels are denoised independently: correlations between them are ignored. An image costs
    one evaluation per channel.

    Arguments:
        inner: A prior on `(1, h, w)`.
        channels: The number of channels of x.

    Raises:
        InvalidArgument: If the inner prior does not have one channel.
    """

    def __init__(self, inner: Prior, channels: int = 3) -> None:
        gray = len(inner.shape) == 3 and inner.shape[0] == 1
        require(gray, "prior", expected="a prior on (1, h, w)", got=f"one on {inner.shape}")
        super().__init__(inner, (channels, *inner.shape[1:]))
        self.channels = channels
        self.evaluations, self.vjps = channels * inner.evaluations, channels * inner.vjps

    def denoise(
        self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b c h w"]:
        """The estimates for all channels."""
        level = sigma.repeat_interleave(self.channels, 0)
        return self.inner.denoise(x.flatten(0, 1)[:, None], level).reshape(x.shape)
