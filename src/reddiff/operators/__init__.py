"""Forward models: y = A(x) + noise."""

from reddiff.operators.base import (
    ClosedForm,
    Compose,
    LinearCompose,
    LinearOperator,
    Operator,
    SpectralOperator,
)
from reddiff.operators.blur import CircularBlur, gaussian_psf, motion_psf
from reddiff.operators.colour import ChannelMix, grayscale
from reddiff.operators.mask import Mask
from reddiff.operators.matrix import Matrix
from reddiff.operators.resize import BlockMean

__all__ = [
    "BlockMean",
    "ChannelMix",
    "CircularBlur",
    "ClosedForm",
    "Compose",
    "LinearCompose",
    "LinearOperator",
    "Mask",
    "Matrix",
    "Operator",
    "SpectralOperator",
    "gaussian_psf",
    "grayscale",
    "motion_psf",
]
