"""Cut square patches out of images, LR and HR together, in one of 8 orientations."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages

Pixels = NDArray[np.uint8]
Positions = NDArray[np.integer]

TRANSFORMS = 8
HORIZONTAL_FLIP, VERTICAL_FLIP, TRANSPOSE = 1, 2, 4


class Images(Protocol):
    """LR images and the HR images ``scale`` times as large, (h, w, 3) uint8."""

    @property
    def scale(self) -> int:
        """HR pixels to an LR pixel along each side."""

    def hr(self, index: int, /) -> Pixels:
        """HR image."""

    def lr(self, index: int, /) -> Pixels:
        """LR image."""


def check_windows(images: PackedImages, image: Positions, top: Positions, left: Positions, size: int) -> None:
    """Refuse windows that do not lie within the images on the LR pixel grid, naming the first."""
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
    images: Images,
    image: Positions,
    top: Positions,
    left: Positions,
    size: int,
    *,
    out: tuple[Pixels, Pixels] | None = None,
    places: NDArray[np.intp] | None = None,
    transforms: NDArray[np.int64] | None = None,
) -> tuple[Pixels, Pixels]:
    """Return the LR (n, size / scale, size / scale, 3) and HR (n, size, size, 3) pixels of n windows.

    Args:
        images: images to cut from.
        image: (n,) index of each window's image; windows of one image are best side by side.
        top, left: (n,) first row and column, in HR pixels, multiples of the scale.
        size: side of the windows in HR pixels, a multiple of the scale.
        out: LR and HR arrays to fill and return, with room for n windows; new ones if not given.
        places: (n,) which window of the result each one becomes; in their order if not given.
        transforms: (n,) orientation of each window, see `orient`; as it lies if not given.
    """
    scale, small, n = images.scale, size // images.scale, len(image)
    lr, hr = out or (np.empty((n, small, small, 3), np.uint8), np.empty((n, size, size, 3), np.uint8))
    order = range(n) if places is None else places.tolist()
    turns = [0] * n if transforms is None else transforms.tolist()
    of_image = -1
    for place, i, y, x, turn in zip(order, image.tolist(), top.tolist(), left.tolist(), turns, strict=True):
        if i != of_image:
            lr_image, hr_image, of_image = images.lr(i), images.hr(i), i
        orient(hr_image[y : y + size, x : x + size], turn, hr[place])
        y, x = y // scale, x // scale
        orient(lr_image[y : y + small, x : x + small], turn, lr[place])
    return lr, hr


def orient(patch: Pixels, transform: int, out: Pixels) -> None:
    """Copy a square ``patch`` (P, P, 3) into ``out``, in one of the 8 orientations.

    The bits of ``transform`` say: 1 horizontal flip, 2 vertical flip, then 4 transpose.
    """
    moves_along_rows = transform & (HORIZONTAL_FLIP | TRANSPOSE)
    if moves_along_rows:
        patch = np.ascontiguousarray(patch)  # read the far-apart rows of a photograph once, in order
    if transform & HORIZONTAL_FLIP:
        patch = patch[:, ::-1]
    if transform & VERTICAL_FLIP:
        patch = patch[::-1]
    if transform & TRANSPOSE:
        patch = patch.transpose(1, 0, 2)
    if moves_along_rows:
        # Numpy would copy pixel by pixel, runs of 3 bytes; channel by channel is 5 times faster.
        for channel in range(3):
            out[..., channel] = patch[..., channel]
    else:
        out[...] = patch
