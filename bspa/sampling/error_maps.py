"""How informative every patch of an image is: the error of its bilinear enlargement (SamplingAug).

Source: Wang et al., "SamplingAug: On the Importance of Patch Sampling Augmentation for Single Image
Super-Resolution", BMVC 2021. The n maps of a source are one HDF5 file: ``mse`` float32, map after map, row
after row; ``offset`` (n,), the first value of each map; ``shape`` (n, 2), its rows and columns. Attributes:
patch, scale, shave.

Shape legend: h and w pixels of an LR image, s the scale, P and p = P / s pixels of an HR and an LR patch.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.system.hdf5 import create_hdf5
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress

FORMAT = "bspa-informativeness"
FORMAT_VERSION = 1
BAND_ROWS = 32

Pixels = NDArray[np.uint8]


def shave_width(patch: int, scale: int) -> int:
    """Return how many HR pixels are left out along each side of a patch; refuse one that is too small."""
    shave = scale + 6
    if patch % scale or patch <= 2 * shave:
        least = (2 * shave // scale + 1) * scale
        raise ValueError(
            f"sub_images: x{scale}: size is {patch}; for informative sampling it must be a multiple of "
            f"{scale} and at least {least}, since {shave} HR pixels along each side of a patch are left out"
        )
    return shave


def error_map(hr: Pixels, lr: Pixels, *, patch: int, scale: int) -> NDArray[np.float32]:
    """Measure the error of the bilinear enlargement of ``lr`` (h, w, 3) over the patch at every LR offset.

    The enlargement is torch's with ``align_corners=False``. A patch's error is taken over its HR pixels less
    `shave_width` along each side. Sums are of integers, hence exact: patches with equal errors have equal
    values, wherever they lie.

    Returns:
        (h - p + 1, w - p + 1) mean square error, RGB in [0, 1]; PSNR is -10 log10 of it. The value at
        (top, left) is that of the patch whose first LR pixel lies there.
    """
    shave = shave_width(patch, scale)
    inner, side = patch - 2 * shave, patch // scale
    height, width = lr.shape[:2]
    tops = np.arange(height - side + 1) * scale + shave
    lefts = np.arange(width - side + 1) * scale + shave

    # An integral image. Of the sums along a row, only those that windows at the LR offsets need are kept.
    sums = np.zeros((height * scale + 1, len(lefts)), np.int64)
    for start in range(0, height * scale, BAND_ROWS):
        rows = np.arange(start, min(start + BAND_ROWS, height * scale))
        # (2s)^2 times the enlarged image, in integers
        enlarged = _enlarge(_enlarge(lr, rows, 0, scale), np.arange(width * scale), 1, scale)
        difference = enlarged - hr[rows[0] : rows[-1] + 1] * np.int32(4 * scale**2)
        along = np.zeros((len(rows), width * scale + 1), np.int64)
        np.cumsum(np.einsum("hwc,hwc->hw", difference, difference, dtype=np.int64), axis=1, out=along[:, 1:])
        sums[rows + 1] = along[:, lefts + inner] - along[:, lefts]
    np.cumsum(sums, axis=0, out=sums)
    unit = 255 * 4 * scale**2
    return ((sums[tops + inner] - sums[tops]) / (3 * inner**2 * unit**2)).astype(np.float32)


def _enlarge(
    image: NDArray[np.integer], places: NDArray[np.int64], axis: int, scale: int
) -> NDArray[np.int32]:
    """Interpolate linearly along ``axis`` at HR ``places``; return 2s times the values, in integers."""
    # Pixels are areas: HR pixel x lies at LR coordinate (x + 1/2) / s - 1/2 = (2x + 1 - s) / 2s.
    before, weight = np.divmod(2 * places + 1 - scale, 2 * scale)
    last = image.shape[axis] - 1
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = weight.astype(np.int32).reshape(shape)
    lower = image.take(np.clip(before, 0, last), axis)
    upper = image.take(np.clip(before + 1, 0, last), axis)
    return lower * (2 * scale - weight) + upper * weight


def write_maps(
    path: str | os.PathLike[str], images: PackedImages, *, patch: int, threads: int, key: str
) -> None:
    """Write the `error_map` of each image, ``threads`` images at a time.

    Raises:
        ValueError: the patch is too small, or larger than an image.
    """
    scale, shave = images.scale, shave_width(patch, images.scale)
    shapes = images.lr_shapes - patch // scale + 1
    if shapes.min() < 1:
        i = int(shapes.min(axis=1).argmin())
        height, width = images.hr_shapes[i]
        raise ValueError(
            f"image {images.ids[i]} ({width}x{height}) is smaller than a patch of {patch} HR pixels; "
            f"remove it from the source or lower sub_images: x{scale}: size"
        )
    ends = np.cumsum(shapes.prod(axis=1))

    def error_map_of(i: int) -> NDArray[np.float32]:
        return error_map(images.hr(i), images.lr(i), patch=patch, scale=scale)

    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, patch=patch, scale=scale, shave=shave) as file:
        file["shape"] = shapes
        file["offset"] = np.concatenate([[0], ends[:-1]])
        # Not filled first, since every value will be written.
        mse = file.create_dataset("mse", (ends[-1],), np.float32, fill_time="never")
        progress = Progress("images mapped", len(images))
        for i, values in enumerate(map_in_order(error_map_of, range(len(images)), threads=threads)):
            mse[ends[i] - values.size : ends[i]] = values.ravel()
            progress.report(i + 1)
