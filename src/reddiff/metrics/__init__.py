"""How near pictures are to the truth: one number per lane, `(b, c, h, w) -> (b,)`."""

from reddiff.metrics.lpips import LPIPS
from reddiff.metrics.pixel import psnr, ssim

__all__ = ["LPIPS", "psnr", "ssim"]
