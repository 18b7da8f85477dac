"""Diffusion priors: E[x_0 | x_t], and nothing a solver should not know."""

from reddiff.priors.base import Prior
from reddiff.priors.exact import (
    GaussianMixture,
    GaussianPosterior,
    GaussianPrior,
    GaussianRandomField,
    MixturePosterior,
)
from reddiff.priors.ffdnet import FFDNet, FFDNetPrior
from reddiff.priors.gray import GrayPrior
from reddiff.priors.parametric import EDMPrior, EpsPrior, FlowPrior, VPrior, X0Prior
from reddiff.priors.photo import photo_prior, weights_hash
from reddiff.priors.tiled import TiledPrior
from reddiff.priors.unet import UNet

__all__ = [
    "EDMPrior",
    "EpsPrior",
    "FFDNet",
    "FFDNetPrior",
    "FlowPrior",
    "GaussianMixture",
    "GaussianPosterior",
    "GaussianPrior",
    "GaussianRandomField",
    "GrayPrior",
    "MixturePosterior",
    "Prior",
    "TiledPrior",
    "UNet",
    "VPrior",
    "X0Prior",
    "photo_prior",
    "weights_hash",
]
