"""Uncertainty of results: posterior draws, functionals of x, and calibration tests."""

from reddiff.uncertainty.arviz_export import to_arviz as to_arviz
from reddiff.uncertainty.chains import chains_of as chains_of
from reddiff.uncertainty.chains import ess_bulk as ess_bulk
from reddiff.uncertainty.chains import ess_tail as ess_tail
from reddiff.uncertainty.chains import rhat as rhat
from reddiff.uncertainty.functionals import Functional as Functional
from reddiff.uncertainty.functionals import functional as functional
from reddiff.uncertainty.information import measured_share as measured_share
from reddiff.uncertainty.information import prior_std as prior_std
from reddiff.uncertainty.posterior import sample_posterior as sample_posterior
from reddiff.uncertainty.predictive import ResidualTests as ResidualTests
from reddiff.uncertainty.predictive import residual_tests as residual_tests
from reddiff.uncertainty.ranking import SBC as SBC
from reddiff.uncertainty.ranking import pit as pit
from reddiff.uncertainty.ranking import rank_statistics as rank_statistics
from reddiff.uncertainty.ranking import sbc as sbc
from reddiff.uncertainty.ranking import tarp as tarp
from reddiff.uncertainty.uniformity import CoverageCurve as CoverageCurve
from reddiff.uncertainty.uniformity import RankTest as RankTest
from reddiff.uncertainty.uniformity import coverage_curve as coverage_curve
from reddiff.uncertainty.uniformity import rank_test as rank_test
