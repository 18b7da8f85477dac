"""Find out whether a network is wired as it was trained."""

from reddiff.probing.probe import probe
from reddiff.probing.report import Finding, Probe

__all__ = ["Finding", "Probe", "probe"]
