"""How near pictures are to the truth, one number per lane, and how honest draws are."""

from reddiff.metrics.calibration import coverage, moment_errors, ranks, sliced_wasserstein
from reddiff.metrics.lpips import LPIPS
from reddiff.metrics.pixel import psnr, ssim

__all__ = ["LPIPS", "coverage", "moment_errors", "psnr", "ranks", "sliced_wasserstein", "ssim"]
