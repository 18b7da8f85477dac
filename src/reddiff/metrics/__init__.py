"""How near pictures are to the truth, one number per lane, and how honest draws are."""

from reddiff.metrics.calibration import coverage as coverage
from reddiff.metrics.calibration import moment_errors as moment_errors
from reddiff.metrics.calibration import ranks as ranks
from reddiff.metrics.calibration import sliced_wasserstein as sliced_wasserstein
from reddiff.metrics.lpips import LPIPS as LPIPS
from reddiff.metrics.pixel import psnr as psnr
from reddiff.metrics.pixel import ssim as ssim
