"""Forward models: y = A(x) + noise."""

from reddiff.operators.algebra import Compose, LinearCompose, LinearSum, Scaled, Sum, Transposed
from reddiff.operators.base import ClosedForm, LinearOperator, Operator, SpectralOperator
from reddiff.operators.blur.boundary import Boundary
from reddiff.operators.blur.camera_shake import levin_psf, shake_psf
from reddiff.operators.blur.circular import CircularBlur
from reddiff.operators.blur.factory import make_blur
from reddiff.operators.blur.general import Blur
from reddiff.operators.blur.psf import center_psf, disk_psf, gaussian_psf, motion_psf, uniform_psf
from reddiff.operators.blur.separable import SeparableBlur
from reddiff.operators.blur.symmetric import SymmetricBlur
from reddiff.operators.blur.varying import VaryingBlur
from reddiff.operators.codes import octanary_codes, uniform_codes
from reddiff.operators.color import ChannelMix, grayscale
from reddiff.operators.custom import from_linear_operator, from_matrix
from reddiff.operators.decimate import Decimate
from reddiff.operators.diagonal import Diagonal
from reddiff.operators.hadamard import WalshHadamard
from reddiff.operators.jpeg.coefficients import JPEGCoefficients
from reddiff.operators.jpeg.jpeg import JPEG, Subsampling
from reddiff.operators.kspace import birdcage_maps, cartesian_mask, equispaced_mask, radial_mask
from reddiff.operators.mask import Identity, Mask
from reddiff.operators.matrix import Matrix
from reddiff.operators.mosaic import Bayer, BayerPattern
from reddiff.operators.mri import MultiCoilMRI, SingleCoilMRI
from reddiff.operators.nonlinear import NonlinearBlur
from reddiff.operators.orientation import Orientation
from reddiff.operators.phase import CodedDiffraction, Modulus, PhaseRetrieval
from reddiff.operators.radon import Radon, hann, ramp
from reddiff.operators.resampling import Filter, bicubic, box, lanczos, triangle
from reddiff.operators.resize import BlockMean, Resize
from reddiff.operators.sensing import BlockGaussian, RandomFourier
from reddiff.operators.separable import Separable
from reddiff.operators.stacked import side_by_side, stack
from reddiff.operators.tone import Clip, Gamma, Quantise

__all__ = [
    "JPEG",
    "Bayer",
    "BayerPattern",
    "BlockGaussian",
    "BlockMean",
    "Blur",
    "Boundary",
    "ChannelMix",
    "CircularBlur",
    "Clip",
    "ClosedForm",
    "CodedDiffraction",
    "Compose",
    "Decimate",
    "Diagonal",
    "Filter",
    "Gamma",
    "Identity",
    "JPEGCoefficients",
    "LinearCompose",
    "LinearOperator",
    "LinearSum",
    "Mask",
    "Matrix",
    "Modulus",
    "MultiCoilMRI",
    "NonlinearBlur",
    "Operator",
    "Orientation",
    "PhaseRetrieval",
    "Quantise",
    "Radon",
    "RandomFourier",
    "Resize",
    "Scaled",
    "Separable",
    "SeparableBlur",
    "SingleCoilMRI",
    "SpectralOperator",
    "Subsampling",
    "Sum",
    "SymmetricBlur",
    "Transposed",
    "VaryingBlur",
    "WalshHadamard",
    "bicubic",
    "birdcage_maps",
    "box",
    "cartesian_mask",
    "center_psf",
    "disk_psf",
    "equispaced_mask",
    "from_linear_operator",
    "from_matrix",
    "gaussian_psf",
    "grayscale",
    "hann",
    "lanczos",
    "levin_psf",
    "make_blur",
    "motion_psf",
    "octanary_codes",
    "radial_mask",
    "ramp",
    "shake_psf",
    "side_by_side",
    "stack",
    "triangle",
    "uniform_codes",
    "uniform_psf",
]
