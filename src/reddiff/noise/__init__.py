"""Noise models: what y is, given a = A(x). Every nll is a sum over y, in nats, per lane."""

from reddiff.noise.base import Noise
from reddiff.noise.counts import Poisson, PoissonGaussian
from reddiff.noise.gaussian import DiagonalGaussian, Gaussian, UnknownGaussian
from reddiff.noise.robust import Huber, Laplace
from reddiff.noise.sensor import Clipped, Rounded
from reddiff.noise.speckle import Speckle
from reddiff.noise.stacked import Stacked

__all__ = [
    "Clipped",
    "DiagonalGaussian",
    "Gaussian",
    "Huber",
    "Laplace",
    "Noise",
    "Poisson",
    "PoissonGaussian",
    "Rounded",
    "Speckle",
    "Stacked",
    "UnknownGaussian",
]
