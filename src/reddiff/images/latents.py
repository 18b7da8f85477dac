"""Restore pictures in the latent space of a prior."""

from __future__ import annotations

import torch

from reddiff.errors import require
from reddiff.operators import ChannelMix, Operator
from reddiff.priors.latent import LatentPrior
from reddiff.problem import Problem


def pictures_of(prior: LatentPrior, problem: Problem) -> Operator:
    """The map from latents to the pictures of a problem: the decoder, and its channel mean if gray.

    Raises:
        InvalidArgument: If the sides of the pictures are not multiples of the decoder's factor, or
            latents of this size do not fit the prior or the decoder.
    """
    shape, decoder = problem.x_shape, prior.decoder
    z_shape = decoder.x_shape(shape)
    expected = f"a picture whose latents are of shape {prior.shape}, as the prior's"
    require(prior.accepts(z_shape), "image", expected=expected, got=f"latents of {z_shape}")
    with torch.no_grad():
        made = tuple(decoder(problem.y.new_zeros(1, *z_shape)).shape[1:])
    if shape[0] == 1 and made == (3, *shape[1:]):
        gray = ChannelMix(torch.full((1, 3), 1 / 3, dtype=problem.y.dtype)).to(problem.y.device)
        return gray @ decoder
    expected = f"a picture of shape {made}, as the decoder makes of latents of {z_shape}"
    require(made == shape, "image", expected=expected, got=f"one of {shape}")
    return decoder
