"""PSNR and SSIM as the super-resolution papers compute them in MATLAB (Section 4.1)."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from bspa.metrics.borders import Image, cut_pair
from bspa.metrics.luma import to_y

PEAK = 255.0
WINDOW = 11
"""Side of SSIM's window in pixels: 3.5 sigma to each side of the centre."""
SIGMA = 1.5


def psnr_y(sr: Image, hr: Image, border: int) -> float:
    """Return the PSNR of an image on Y.

    Args:
        sr: the image, RGB (h, w, 3) uint8.
        hr: the original, of the same shape.
        border: pixels to cut from each side.

    Returns:
        dB; ``inf`` where the images do not differ in Y.

    Raises:
        ValueError: another type, unequal shapes, or a cut that leaves nothing.
    """
    sr_y, hr_y = map(to_y, cut_pair(sr, hr, border))
    mse = np.mean((sr_y - hr_y) ** 2)
    return float(10.0 * np.log10(PEAK**2 / mse)) if mse > 0 else float("inf")


def ssim_y(sr: Image, hr: Image, border: int) -> float:
    """Return the SSIM of an image on Y (Wang et al., Image Quality Assessment, 2004).

    Args:
        sr: the image, RGB (h, w, 3) uint8.
        hr: the original, of the same shape.
        border: pixels to cut from each side.

    Returns:
        The mean, in [-1, 1], over the positions where the window lies inside the cut image; 1 for identical
        images.

    Raises:
        ValueError: another type, unequal shapes, or less than 11x11 pixels left after the cut.
    """
    x, y = map(to_y, cut_pair(sr, hr, border, smallest=WINDOW))
    similarity = structural_similarity(
        x,
        y,
        win_size=WINDOW,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        K1=0.01,
        K2=0.03,
        data_range=PEAK,
    )
    return float(similarity)
