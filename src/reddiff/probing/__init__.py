"""Diagnosis of whether a network is used with the parametrization that it was trained with."""

from reddiff.probing.report import Finding, Probe
from reddiff.probing.search import probe

__all__ = ["Finding", "Probe", "probe"]
