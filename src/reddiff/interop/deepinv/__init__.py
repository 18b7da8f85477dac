"""Conversions between this library and deepinv in both directions. deepinv is never imported."""

from reddiff.interop.deepinv.measurement import from_deepinv, noise_of
from reddiff.interop.deepinv.physics import physics_operator
from reddiff.interop.deepinv.reconstructor import Reconstructor, as_reconstructor

__all__ = ["Reconstructor", "as_reconstructor", "from_deepinv", "noise_of", "physics_operator"]
