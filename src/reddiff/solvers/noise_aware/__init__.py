"""RED-diff with weights set by the noise level of y, and exact data steps."""

from reddiff.solvers.noise_aware.realism import REALISM as REALISM
from reddiff.solvers.noise_aware.solver import NoiseAwareREDDiff as NoiseAwareREDDiff
from reddiff.solvers.noise_aware.state import NoiseAwareState as NoiseAwareState
