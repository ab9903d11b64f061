"""The luma that papers measure super-resolution on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_y(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the luma Y of BT.601 of RGB (..., 3) uint8: float64 (...) in [16, 235], not rounded.

    MATLAB's ``rgb2ycbcr`` of the image as double.
    """
    r, g, b = (rgb[..., channel].astype(np.float64) for channel in range(3))
    return (65.481 * r + 128.553 * g + 24.966 * b) / 255.0 + 16.0
