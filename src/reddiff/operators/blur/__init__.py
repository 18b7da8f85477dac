"""Blurs, boundary conditions and point spread functions (PSFs)."""

from reddiff.operators.blur.boundary import Boundary
from reddiff.operators.blur.camera_shake import levin_psf, shake_psf
from reddiff.operators.blur.circular import CircularBlur
from reddiff.operators.blur.disk import disk_psf
from reddiff.operators.blur.factory import make_blur
from reddiff.operators.blur.general import Blur
from reddiff.operators.blur.psf import center_psf, gaussian_psf, motion_psf, uniform_psf
from reddiff.operators.blur.separable import SeparableBlur
from reddiff.operators.blur.symmetric import SymmetricBlur
from reddiff.operators.blur.varying import VaryingBlur

__all__ = [
    "Blur",
    "Boundary",
    "CircularBlur",
    "SeparableBlur",
    "SymmetricBlur",
    "VaryingBlur",
    "center_psf",
    "disk_psf",
    "gaussian_psf",
    "levin_psf",
    "make_blur",
    "motion_psf",
    "shake_psf",
    "uniform_psf",
]
