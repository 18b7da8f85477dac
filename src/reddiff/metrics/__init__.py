"""Distances of pictures from the truth, one number per lane, and tests of draws."""

from reddiff.metrics.agreement import Top1Agreement as Top1Agreement
from reddiff.metrics.calibration import coverage as coverage
from reddiff.metrics.calibration import moment_errors as moment_errors
from reddiff.metrics.calibration import ranks as ranks
from reddiff.metrics.calibration import sliced_wasserstein as sliced_wasserstein
from reddiff.metrics.distances import frechet_distance as frechet_distance
from reddiff.metrics.distances import kernel_distance as kernel_distance
from reddiff.metrics.draws import Interval as Interval
from reddiff.metrics.draws import central_interval as central_interval
from reddiff.metrics.draws import moments as moments
from reddiff.metrics.draws import needed_draws as needed_draws
from reddiff.metrics.draws import quantile as quantile
from reddiff.metrics.efficientnet import EfficientNetLite0 as EfficientNetLite0
from reddiff.metrics.lpips import LPIPS as LPIPS
from reddiff.metrics.pixel import psnr as psnr
from reddiff.metrics.pixel import ssim as ssim
