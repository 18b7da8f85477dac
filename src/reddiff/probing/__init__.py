"""Find out whether a network is wired as it was trained."""

from reddiff.probing.report import Finding, Probe
from reddiff.probing.search import probe

__all__ = ["Finding", "Probe", "probe"]
