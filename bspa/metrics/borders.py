"""The part of an image that is scored: all but its borders, where a network lacks what lies outside.

Shape legend: h and w are pixels of the whole image, H and W those left after the cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class UnmeasurableError(ValueError):
    """A metric has no value for this image, which is no mistake: it is too small, or without texture."""


def cut(image: Image, border: int, *, smallest: int = 1) -> Image:
    """Return ``image``, RGB (h, w, 3) uint8, without ``border`` pixels at each side: a view (H, W, 3).

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
            f"an image of {size(image)} pixels is too small: with {border} cut from each border, "
            f"at least {smallest}x{smallest} must be left"
        )
    return image[border : border + height, border : border + width]


def cut_pair(sr: Image, hr: Image, border: int, *, smallest: int = 1) -> tuple[Image, Image]:
    """Return both images without their borders, as `cut` does; a `ValueError` if they differ in size."""
    _check_rgb("sr", sr)
    _check_rgb("hr", hr)
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {size(sr)}, hr is {size(hr)} (height x width); they must be of one size")
    return cut(sr, border, smallest=smallest), cut(hr, border, smallest=smallest)


def size(image: Image) -> str:
    """Return height x width of an image (h, w, 3), as messages tell it."""
    return f"{image.shape[0]}x{image.shape[1]}"


def _check_rgb(name: str, image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"{name}: an array of {image.dtype} and shape {image.shape}; "
            "an RGB image (h, w, 3) of uint8 is needed"
        )
