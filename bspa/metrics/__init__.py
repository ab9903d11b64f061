"""What images are scored by: PSNR and SSIM, NIQE, and LPIPS, each with its convention in one line."""

from bspa.metrics.fidelity import CONVENTION, psnr_y, ssim_y
from bspa.metrics.lpips import LPIPS_CONVENTION, lpips_alex
from bspa.metrics.luma import to_y
from bspa.metrics.naturalness import NIQE_CONVENTION, niqe

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
