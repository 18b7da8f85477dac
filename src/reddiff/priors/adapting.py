"""Adapts a prior of images to another number of channels or another size."""

from __future__ import annotations

from reddiff.priors.base import Prior
from reddiff.priors.gray import ChannelwisePrior, GrayPrior
from reddiff.priors.latent import LatentPrior
from reddiff.priors.tiled import TiledPrior

LEAST = 8  # smallest side of a tile in pixels


def adapted(prior: Prior, shape: tuple[int, ...]) -> Prior:
    """The prior, adapted to images of another shape.

    For gray images, a color prior is wrapped in a `GrayPrior`. For images with several channels, a
    gray prior is applied to each (`ChannelwisePrior`). For larger images, a prior of fixed size is
    applied to overlapping tiles (`TiledPrior`). The prior is returned unchanged if it accepts the
    shape already, or if none of these helps.

    Arguments:
        prior: The prior.
        shape: The shape `(c, h, w)` of one x.
    """
    pictures = len(shape) == len(prior.shape) == 3 and not isinstance(prior, LatentPrior)
    if not pictures or prior.accepts(shape):
        return prior
    new = prior
    if (prior.shape[0], shape[0]) == (3, 1):
        new = GrayPrior(new)
    elif prior.shape[0] == 1 and shape[0] > 1:
        new = ChannelwisePrior(new, shape[0])
    side = new.shape[1]
    if not new.accepts(shape) and side is not None and side >= LEAST and side == new.shape[2]:
        new = TiledPrior(new)
    return new if new.accepts(shape) else prior
