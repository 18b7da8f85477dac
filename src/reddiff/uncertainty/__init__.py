"""How sure a result is: draws from the posterior, and the posterior of numbers computed from x."""

from reddiff.uncertainty.functionals import Functional as Functional
from reddiff.uncertainty.functionals import functional as functional
from reddiff.uncertainty.posterior import sample_posterior as sample_posterior
