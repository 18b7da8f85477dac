"""A prior of color pictures as one of gray pictures."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.around import Around
from reddiff.priors.base import Prior

BLIND = 10.0  # a level at which nothing is left of x in [-1, 1]


class GrayPrior(Around):
    r"""Gray pictures :math:`g`, of which a color prior knows :math:`x = (g, g, g)`.

    .. math:: D_\mathrm{gray}(v, s) = \frac{1}{3} \sum_c D_c\big((v, v, v), \sqrt 3\, s\big)

    The mean of three channels with independent noise of level :math:`\sqrt 3\, s` has noise of
    level s. A gray v is therefore one measurement, shown to the color prior at the level at which
    color pictures have as much noise in their mean. Exact for a Gaussian prior whose mean over the
    channels is independent of their differences.

    Arguments:
        inner: A prior on `(3, h, w)`.

    Raises:
        InvalidArgument: If the inner prior is not one on three channels.
    """

    def __init__(self, inner: Prior) -> None:
        color = len(inner.shape) == 3 and inner.shape[0] == 3
        require(color, "prior", expected="a prior on (3, h, w)", got=f"one on {inner.shape}")
        # Where the color prior goes up to levels that hide x, so does this one: see `denoise`.
        high = inner.sigma_max if inner.sigma_max >= BLIND else inner.sigma_max / math.sqrt(3)
        super().__init__(inner, (1, *inner.shape[1:]), inner.sigma_min / math.sqrt(3), high)
        self.errors = inner.errors.gray() if inner.errors else None

    def denoise(
        self, x: Float[Tensor, "b 1 h w"], sigma: Float[Tensor, "b 1 1 1"]
    ) -> Float[Tensor, "b 1 h w"]:
        """The channel mean of the color prior's estimate.

        Above the color prior's highest level, x is scaled down to it: the noise is right, and of
        the picture there is nothing to be seen either way.
        """
        level = math.sqrt(3) * sigma
        shrink = (self.inner.sigma_max / level).clamp(max=1)
        three = (x * shrink).expand(-1, 3, -1, -1).contiguous()
        clean: Tensor = self.inner.denoise(three, torch.minimum(level, level * shrink))
        return clean.mean(1, keepdim=True)


class ChannelwisePrior(Around):
    """Pictures of several channels, each of which a gray prior knows by itself.

    The channels are denoised one by one: what they have in common is lost, and a picture costs as
    many evaluations as it has channels.

    Arguments:
        inner: A prior on `(1, h, w)`.
        channels: How many channels x has.

    Raises:
        InvalidArgument: If the inner prior is not one on one channel.
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
        """The gray estimates."""
        level = sigma.repeat_interleave(self.channels, 0)
        return self.inner.denoise(x.flatten(0, 1)[:, None], level).reshape(x.shape)
