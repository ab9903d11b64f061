"""PSNR as the super-resolution papers compute it in MATLAB (Section 4.1)."""

from __future__ import annotations

import numpy as np

from bspa.metrics.borders import Image, cut
from bspa.metrics.luma import to_y

PEAK = 255.0


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
