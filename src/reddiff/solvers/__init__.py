"""The solvers, one file each."""

from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solvers.reddiff import REDDiff

__all__ = ["NoiseAwareREDDiff", "REDDiff", "Solver"]
