"""The part of an image that is scored: all but its borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class UnmeasurableError(ValueError):
    """Image too small or too flat for this metric; scored as NaN."""


def cut(border: int, *, smallest: int = 1, **images: Image) -> list[Image]:
    """Return views of ``images`` without ``border`` pixels at each side; their names are for messages.

    Raises:
        ValueError: an image is not RGB (h, w, 3) uint8, shapes differ, or the border is negative.
        UnmeasurableError: less than ``smallest`` pixels are left along a side.
    """
    for name, image in images.items():
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"{name}: an array of {image.dtype} and shape {image.shape}; expected RGB (h, w, 3) uint8"
            )
    sizes = {name: f"{image.shape[0]}x{image.shape[1]}" for name, image in images.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} is {size}" for name, size in sizes.items())
        raise ValueError(f"{found} (height x width); they must have one size")
    if border < 0:
        raise ValueError(f"border: {border}; the number of pixels to cut cannot be negative")
    height, width, _ = next(iter(images.values())).shape
    if min(height, width) < 2 * border + smallest:
        raise UnmeasurableError(
            f"an image of {height}x{width} pixels is too small: at least {smallest}x{smallest} must be left "
            f"after cutting {border} from each border"
        )
    return [image[border : height - border, border : width - border] for image in images.values()]
