"""Noise models: the distribution of y given a = A(x). Log-likelihoods are in nats."""

from reddiff.noise.base import Noise as Noise
from reddiff.noise.clipped import Clipped as Clipped
from reddiff.noise.counts import Poisson as Poisson
from reddiff.noise.counts import PoissonGaussian as PoissonGaussian
from reddiff.noise.gaussian import DiagonalGaussian as DiagonalGaussian
from reddiff.noise.gaussian import Gaussian as Gaussian
from reddiff.noise.gaussian import UnknownGaussian as UnknownGaussian
from reddiff.noise.robust import Huber as Huber
from reddiff.noise.robust import Laplace as Laplace
from reddiff.noise.rounded import Rounded as Rounded
from reddiff.noise.speckle import Speckle as Speckle
from reddiff.noise.stacked import Stacked as Stacked
