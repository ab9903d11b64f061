"""Cut sub-images out of packed images, LR and HR together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages

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
    images: PackedImages,
    image: Positions,
    top: Positions,
    left: Positions,
    size: int,
    *,
    out: tuple[Pixels, Pixels] | None = None,
    places: NDArray[np.intp] | None = None,
) -> tuple[Pixels, Pixels]:
    """Return the LR (n, size / scale, size / scale, 3) and HR (n, size, size, 3) pixels of n windows.

    Args:
        images: packed images; only those named are touched.
        image: (n,) index of each window's image; windows of one image are best side by side.
        top: (n,) first row, in HR pixels, a multiple of the scale.
        left: (n,) first column, likewise.
        size: side of the windows in HR pixels, a multiple of the scale.
        out: LR and HR arrays to fill and return, with room for n windows; new ones if not given.
        places: (n,) which window of the result each one becomes; in their order if not given.
    """
    scale, small = images.scale, size // images.scale
    if out is None:
        out = (
            np.empty((len(image), small, small, 3), np.uint8),
            np.empty((len(image), size, size, 3), np.uint8),
        )
    lr, hr = out
    of_image = -1
    order = range(len(image)) if places is None else places.tolist()
    for n, i, y, x in zip(order, image.tolist(), top.tolist(), left.tolist(), strict=True):
        if i != of_image:
            lr_image, hr_image, of_image = images.lr(i), images.hr(i), i
        hr[n] = hr_image[y : y + size, x : x + size]
        y, x = y // scale, x // scale
        lr[n] = lr_image[y : y + small, x : x + small]
    return lr, hr
