"""PSNR and SSIM as the super-resolution papers compute them in MATLAB (Section 4.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from bspa.metrics.borders import Image, cut_pair
from bspa.metrics.luma import to_y

CONVENTION = (
    "PSNR (dB, peak 255) and SSIM (11x11 Gaussian window, sigma 1.5, K = 0.01 and 0.03, valid region) on the "
    "unrounded Y of BT.601 (16 to 235) of 8-bit RGB images, as many pixels as the scale cut from each border"
)

PEAK = 255.0
WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def psnr_y(sr: Image, hr: Image, border: int) -> float:
    """Return the PSNR in dB of ``sr`` against ``hr``, on Y, ``border`` pixels cut from each side.

    Both are RGB (h, w, 3) uint8. Images that do not differ in Y inside the cut have no error to measure:
    their PSNR is ``inf``.

    Raises:
        ValueError: another type, unequal shapes, or a cut that leaves nothing.
    """
    sr_y, hr_y = map(to_y, cut_pair(sr, hr, border))
    mse = np.mean((sr_y - hr_y) ** 2)
    return float(10.0 * np.log10(PEAK**2 / mse)) if mse > 0 else float("inf")


def ssim_y(sr: Image, hr: Image, border: int) -> float:
    """Return the SSIM in [-1, 1] of ``sr`` against ``hr``, on Y, ``border`` pixels cut from each side.

    Both are RGB (h, w, 3) uint8. The mean of Wang et al.'s SSIM map (Image Quality Assessment, 2004) over the
    positions where the window lies wholly inside the cut image; 1 for identical images.

    Raises:
        ValueError: another type, unequal shapes, or less than 11x11 pixels left after the cut.
    """
    x, y = map(to_y, cut_pair(sr, hr, border, smallest=WINDOW))
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    variance_x = _local_mean(x * x) - mean_x * mean_x
    variance_y = _local_mean(y * y) - mean_y * mean_y
    covariance = _local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(luminance * contrast_structure))


def _local_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian-weighted mean of (H, W) over each window inside it: (H - 10, W - 10)."""
    radius = WINDOW // 2
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    filtered = correlate1d(correlate1d(image, weights, axis=0), weights, axis=1)
    return filtered[radius:-radius, radius:-radius]
