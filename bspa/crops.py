"""Cut sub-images out of packed images, LR and HR together."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from bspa.packed import PackedImages

Pixels = NDArray[np.uint8]
Positions = NDArray[np.int32]


def check_windows(images: PackedImages, image: Positions, top: Positions, left: Positions, size: int) -> None:
    """Refuse windows that do not lie within the images, on the LR pixel grid.

    Raises:
        ValueError: naming the first such window; the windows were made for another source or scale.
    """
    advice = "the windows belong to another source or scale; run crop_sub_images again"
    if size < 1 or size % images.scale:
        raise ValueError(f"windows of {size} HR pixels do not divide by the scale, {images.scale}: {advice}")
    outside = (image < 0) | (image >= len(images))
    if outside.any():
        raise ValueError(f"a window is on image {image[outside][0]} of {len(images)} images: {advice}")
    height, width = images.hr_shapes[image].T
    outside = (top < 0) | (left < 0) | (top + size > height) | (left + size > width)
    outside |= (top % images.scale != 0) | (left % images.scale != 0)
    if outside.any():
        n = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"window {n} ({size}x{size} HR pixels at top {top[n]}, left {left[n]}) does not fit image "
            f"{images.ids[image[n]]} ({width[n]}x{height[n]}, scale {images.scale}): {advice}"
        )


def crop_pairs(
    images: PackedImages, image: Positions, top: Positions, left: Positions, size: int
) -> tuple[Pixels, Pixels]:
    """Return the LR (n, size / scale, size / scale, 3) and HR (n, size, size, 3) pixels of n windows.

    Args:
        images: packed images; only those named are touched.
        image: (n,) index of each window's image; windows of one image are best side by side.
        top: (n,) first row, in HR pixels, a multiple of the scale.
        left: (n,) first column, likewise.
        size: side of the windows in HR pixels, a multiple of the scale.
    """
    scale = images.scale
    borders = [0, *(np.flatnonzero(np.diff(image)) + 1).tolist(), len(image)]
    lr, hr = [], []
    for start, stop in itertools.pairwise(borders):
        of_image, i = slice(start, stop), int(image[start])
        lr.append(_windows(images.lr(i), size // scale)[top[of_image] // scale, left[of_image] // scale])
        hr.append(_windows(images.hr(i), size)[top[of_image], left[of_image]])
    return np.concatenate(lr), np.concatenate(hr)


def _windows(image: Pixels, size: int) -> Pixels:
    """View (H, W, 3) as every window at every position: (H - size + 1, W - size + 1, size, size, 3)."""
    return np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
