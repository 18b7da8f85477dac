"""JPEG compression as an operator."""

from reddiff.operators.jpeg.coefficients import JPEGCoefficients
from reddiff.operators.jpeg.headers import Subsampling
from reddiff.operators.jpeg.jpeg import JPEG

__all__ = ["JPEG", "JPEGCoefficients", "Subsampling"]
