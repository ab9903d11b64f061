"""ClassSR's grid of windows over an image (Section 4.1).

Source: Kong et al., "ClassSR: A General Framework to Accelerate Super-Resolution Networks by Data
Characteristic", CVPR 2021, which the paper follows. All lengths are in HR pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def starts(length: int, size: int, step: int, threshold: int) -> NDArray[np.int64]:
    """Starts of the windows along one side: 0, step, 2 step, ... while whole windows fit.

    The last full window is added when more than ``threshold`` pixels would be left over.

    Args:
        length: of the side.
        size: of a window.
        step: between neighbouring starts.
        threshold: pixels that may be left over.

    Raises:
        ValueError: the side is shorter than a window, or size, step or threshold is out of its range.
    """
    if size < 1 or step < 1 or threshold < 0:
        raise ValueError(
            f"size is {size}, step {step}, threshold {threshold}; size and step must be 1 or more, "
            "threshold 0 or more"
        )
    if length < size:
        raise ValueError(f"a side of {length} pixels is shorter than a window of {size}")
    regular = np.arange(0, length - size + 1, step, dtype=np.int64)
    if length - (regular[-1] + size) > threshold:
        return np.append(regular, length - size)
    return regular


def grid(height: int, width: int, *, size: int, step: int, threshold: int) -> NDArray[np.int64]:
    """Return (n, 2) top and left of each window over an image, row by row; see `starts`."""
    tops = starts(height, size, step, threshold)
    lefts = starts(width, size, step, threshold)
    return np.stack([np.repeat(tops, len(lefts)), np.tile(lefts, len(tops))], axis=1)


def count_windows(shapes: ArrayLike, *, size: int, step: int, threshold: int) -> int:
    """Count the windows over images of ``shapes``, (n, 2) heights and widths."""
    return sum(
        len(starts(height, size, step, threshold)) * len(starts(width, size, step, threshold))
        for height, width in np.asarray(shapes).tolist()
    )
