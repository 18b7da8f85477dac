"""The solvers, one file each."""

from reddiff.solvers.base import Solver
from reddiff.solvers.dps import DPS
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solvers.reddiff import REDDiff
from reddiff.solvers.unconditional import DDIM, Heun

__all__ = ["DDIM", "DPS", "Heun", "NoiseAwareREDDiff", "REDDiff", "Solver"]
