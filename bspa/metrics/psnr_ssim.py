"""PSNR and SSIM as the super-resolution papers compute them in MATLAB (Section 4.1)."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from bspa.metrics.borders import Image, cut
from bspa.metrics.luma import to_y

PEAK = 255.0
WINDOW = 11
"""Side of SSIM's window in pixels: 3.5 sigma to each side of the centre."""


def psnr_y(sr: Image, hr: Image, border: int) -> float:
    """Return the PSNR of an image on Y in dB; ``inf`` where the images do not differ in Y.

    Args:
        sr: the image, RGB (h, w, 3) uint8.
        hr: the original, of the same shape.
        border: pixels to cut from each side.

    Raises:
        ValueError: another type, unequal shapes, or a cut that leaves nothing.
    """
    sr_y, hr_y = map(to_y, cut(border, sr=sr, hr=hr))
    mse = np.mean((sr_y - hr_y) ** 2)
    return float(10.0 * np.log10(PEAK**2 / mse)) if mse > 0 else float("inf")


def ssim_y(sr: Image, hr: Image, border: int) -> float:
    """Return the SSIM of an image on Y (Wang et al., Image Quality Assessment, 2004); 1 for identical images.

    It is the mean, in [-1, 1], over the positions where the window lies inside the cut image.

    Args:
        sr: the image, RGB (h, w, 3) uint8.
        hr: the original, of the same shape.
        border: pixels to cut from each side.

    Raises:
        ValueError: another type, unequal shapes, or less than 11x11 pixels left after the cut.
    """
    sr_y, hr_y = map(to_y, cut(border, smallest=WINDOW, sr=sr, hr=hr))
    gaussian = {"win_size": WINDOW, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(sr_y, hr_y, **gaussian, K1=0.01, K2=0.03, data_range=PEAK))
