"""The solvers, one file each."""

from reddiff.solvers.base import Solver
from reddiff.solvers.reddiff import REDDiff

__all__ = ["REDDiff", "Solver"]
