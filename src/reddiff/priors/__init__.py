"""Diffusion priors: E[x_0 | x_t], and nothing a solver should not know."""

from reddiff.priors.base import Prior as Prior
from reddiff.priors.conditions import ConditionalPrior as ConditionalPrior
from reddiff.priors.conditions import Conditions as Conditions
from reddiff.priors.error_covariance import Covariance as Covariance
from reddiff.priors.error_covariance import ErrorSpectrum as ErrorSpectrum
from reddiff.priors.ffdnet import FFDNet as FFDNet
from reddiff.priors.ffdnet import FFDNetPrior as FFDNetPrior
from reddiff.priors.gaussian import GaussianPosterior as GaussianPosterior
from reddiff.priors.gaussian import GaussianPrior as GaussianPrior
from reddiff.priors.gaussian import GaussianRandomField as GaussianRandomField
from reddiff.priors.gray import ChannelwisePrior as ChannelwisePrior
from reddiff.priors.gray import GrayPrior as GrayPrior
from reddiff.priors.latent import LatentPrior as LatentPrior
from reddiff.priors.mixture import GaussianMixture as GaussianMixture
from reddiff.priors.mixture import MixturePosterior as MixturePosterior
from reddiff.priors.network_prior import NetworkPrior as NetworkPrior
from reddiff.priors.network_prior import Units as Units
from reddiff.priors.parametric import EDMPrior as EDMPrior
from reddiff.priors.parametric import EpsPrior as EpsPrior
from reddiff.priors.parametric import FlowPrior as FlowPrior
from reddiff.priors.parametric import VPrior as VPrior
from reddiff.priors.parametric import X0Prior as X0Prior
from reddiff.priors.photo import photo_prior as photo_prior
from reddiff.priors.photo import weights_hash as weights_hash
from reddiff.priors.tiled import TiledPrior as TiledPrior
from reddiff.priors.unet import UNet as UNet
