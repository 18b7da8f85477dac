"""Solvers for inverse problems, one file per method."""

from reddiff.solvers.base import Solver as Solver
from reddiff.solvers.daps import DAPS as DAPS
from reddiff.solvers.ddnm import DDNM as DDNM
from reddiff.solvers.ddnm import DDNMPlus as DDNMPlus
from reddiff.solvers.ddrm import DDRM as DDRM
from reddiff.solvers.diffpir import DiffPIR as DiffPIR
from reddiff.solvers.dps import DPS as DPS
from reddiff.solvers.jfps import JFPS as JFPS
from reddiff.solvers.mcg import MCG as MCG
from reddiff.solvers.mmps import MMPS as MMPS
from reddiff.solvers.noise_aware import NoiseAwareREDDiff as NoiseAwareREDDiff
from reddiff.solvers.pigdm import PiGDM as PiGDM
from reddiff.solvers.pnp import PnPADMM as PnPADMM
from reddiff.solvers.pnp import PnPHQS as PnPHQS
from reddiff.solvers.pnpdm import PnPDM as PnPDM
from reddiff.solvers.red import RED as RED
from reddiff.solvers.reddiff import REDDiff as REDDiff
from reddiff.solvers.rsd import RSD as RSD
from reddiff.solvers.sitcom import SITCOM as SITCOM
from reddiff.solvers.tds import TDS as TDS
from reddiff.solvers.tmpd import TMPD as TMPD
from reddiff.solvers.ula import ULA as ULA
from reddiff.solvers.unconditional import DDIM as DDIM
from reddiff.solvers.unconditional import Heun as Heun
