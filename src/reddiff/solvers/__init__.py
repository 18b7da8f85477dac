"""The solvers, one file each."""

from reddiff.solvers.base import Solver
from reddiff.solvers.daps import DAPS
from reddiff.solvers.ddnm import DDNM, DDNMPlus
from reddiff.solvers.ddrm import DDRM
from reddiff.solvers.diffpir import DiffPIR
from reddiff.solvers.dps import DPS
from reddiff.solvers.mcg import MCG
from reddiff.solvers.mmps import MMPS
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solvers.pigdm import PiGDM
from reddiff.solvers.pnp import PnPADMM, PnPHQS
from reddiff.solvers.pnpdm import PnPDM
from reddiff.solvers.red import RED
from reddiff.solvers.reddiff import REDDiff
from reddiff.solvers.rsd import RSD
from reddiff.solvers.sitcom import SITCOM
from reddiff.solvers.tmpd import TMPD
from reddiff.solvers.ula import ULA
from reddiff.solvers.unconditional import DDIM, Heun

__all__ = [
    "DAPS",
    "DDIM",
    "DDNM",
    "DDRM",
    "DPS",
    "MCG",
    "MMPS",
    "RED",
    "RSD",
    "SITCOM",
    "TMPD",
    "ULA",
    "DDNMPlus",
    "DiffPIR",
    "Heun",
    "NoiseAwareREDDiff",
    "PiGDM",
    "PnPADMM",
    "PnPDM",
    "PnPHQS",
    "REDDiff",
    "Solver",
]
