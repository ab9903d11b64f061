"""What images are scored by: PSNR and SSIM, NIQE, and LPIPS, each with its convention in one line."""

from bspa.metrics.lpips import LPIPS_CONVENTION, lpips_alex
from bspa.metrics.luma import to_y
from bspa.metrics.niqe import NIQE_CONVENTION, niqe
from bspa.metrics.psnr_ssim import CONVENTION, psnr_y, ssim_y

__all__ = [
    "CONVENTION",
    "LPIPS_CONVENTION",
    "NIQE_CONVENTION",
    "lpips_alex",
    "niqe",
    "psnr_y",
    "ssim_y",
    "to_y",
]
