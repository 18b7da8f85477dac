"""RED-diff with exact data steps and weights that follow from the noise level of y."""

from reddiff.solvers.noise_aware.realism import REALISM as REALISM
from reddiff.solvers.noise_aware.solver import NoiseAwareREDDiff as NoiseAwareREDDiff
from reddiff.solvers.noise_aware.state import NoiseAwareState as NoiseAwareState
