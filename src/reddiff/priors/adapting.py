"""A prior of pictures for pictures of another number of channels or another size."""

from __future__ import annotations

from reddiff.priors.base import Prior
from reddiff.priors.gray import ChannelwisePrior, GrayPrior
from reddiff.priors.latent import LatentPrior
from reddiff.priors.tiled import TiledPrior

LEAST = 8  # pixels of the side of a tile


def adapted(prior: Prior, shape: tuple[int, ...]) -> Prior:
    """The prior for one x `(c, h, w)` of this shape.

    A prior of color pictures becomes one of gray pictures (`GrayPrior`), one of gray pictures is
    applied to each channel (`ChannelwisePrior`), and one of a fixed size to overlapping tiles
    (`TiledPrior`). A prior that accepts x, or that none of these makes fit, is returned as it is.

    Arguments:
        prior: The prior.
        shape: The shape of one x.
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
