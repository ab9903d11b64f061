"""The luma on which papers measure super-resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_y(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the luma Y (BT.601) of RGB (..., 3) uint8: float64 (...) in [16, 235], not rounded.

    The same as MATLAB's ``rgb2ycbcr`` of the image as double.
    """
    r, g, b = (rgb[..., channel].astype(np.float64) for channel in range(3))
    return (65.481 * r + 128.553 * g + 24.966 * b) / 255.0 + 16.0
