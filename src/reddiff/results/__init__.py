"""The results of runs: estimates, status, cost and warnings."""

from reddiff.results.cost import Cost as Cost
from reddiff.results.reconstruction import Reconstruction as Reconstruction
from reddiff.results.status import Finding as Finding
from reddiff.results.status import Status as Status
