"""The part of an image that is scored: all but its borders.

Shape legend: h and w are pixels of the whole image, H and W those left after the cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class UnmeasurableError(ValueError):
    """Image too small or too flat for this metric; scored as NaN."""


def cut(image: Image, border: int, *, smallest: int = 1) -> Image:
    """Return a view (H, W, 3) of ``image``, RGB (h, w, 3) uint8, without ``border`` pixels at each side.

    Raises:
        ValueError: another type or shape, or a negative border.
        UnmeasurableError: less than ``smallest`` pixels are left along a side.
    """
    _check_rgb("image", image)
    if border < 0:
        raise ValueError(f"border: {border}; the number of pixels to cut cannot be negative")
    height, width = image.shape[0] - 2 * border, image.shape[1] - 2 * border
    if min(height, width) < smallest:
        raise UnmeasurableError(
            f"an image of {size(image)} pixels is too small: at least {smallest}x{smallest} must be left "
            f"after cutting {border} from each border"
        )
    return image[border : border + height, border : border + width]


def cut_pair(sr: Image, hr: Image, border: int, *, smallest: int = 1) -> tuple[Image, Image]:
    """Return both images without their borders, as `cut` does; a `ValueError` if they differ in size."""
    _check_rgb("sr", sr)
    _check_rgb("hr", hr)
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {size(sr)}, hr is {size(hr)} (height x width); they must have one size")
    return cut(sr, border, smallest=smallest), cut(hr, border, smallest=smallest)


def size(image: Image) -> str:
    """Write the height x width of an image (h, w, 3)."""
    return f"{image.shape[0]}x{image.shape[1]}"


def _check_rgb(name: str, image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"{name}: an array of {image.dtype} and shape {image.shape}; expected RGB (h, w, 3) uint8"
        )
