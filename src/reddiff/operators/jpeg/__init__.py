"""JPEG compression as an operator."""

from reddiff.operators.jpeg.coefficients import JPEGCoefficients
from reddiff.operators.jpeg.jpeg import JPEG, Subsampling

__all__ = ["JPEG", "JPEGCoefficients", "Subsampling"]
