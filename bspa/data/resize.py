"""MATLAB's bicubic ``imresize``, bit for bit, for whole factors.

Source: MATLAB's ``imresize(image, scale, 'bicubic')`` with Keys' cubic (a = -1/2; R. Keys, "Cubic convolution
interpolation for digital image processing", 1981). When shrinking, the kernel is widened by the factor, which
is the antialiasing; when enlarging it is not. Rows are resized first, then columns.

Why it is exact. For a factor s the weights are whole numbers n_k over one common D (s = 2, 3, 4: D = 256, 81,
4096 when shrinking, 128, 27, 1024 when enlarging), so a uint8 sample is (sum of n_k x_k) / D before it is
rounded. Where D is a power of two, MATLAB's doubles are exact; ties occur, and go up. Where D is odd, no tie
occurs, and the nearest one is 1/(2D) away, far more than the error of a double. Either way MATLAB's answer is
floor(sum / D + 1/2), in whatever order one adds: the sums may run through a matrix product in float32, which
holds whole numbers exactly up to 2^24 (float64 where that is not enough). The quotient is safe too: (sum +
D/2) / D is a whole number, and exact, or at least 1/(2D) away from one, more than float32's rounding error.
For other factors (6, 10, ...), MATLAB's own rounding error may decide a tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BORDERS = ("clamp", "symmetric")

# Output samples in one matrix product: the band of input that it needs should stay in the cache.
_BLOCK = 16


def imresize(image: NDArray[Any], scale: float, *, border: str = "clamp") -> NDArray[Any]:
    """Resize ``image`` to (ceil(scale * H), ceil(scale * W)) as MATLAB's bicubic `imresize` does.

    Args:
        image: (H, W) or (H, W, C). uint8 is rounded (half up) and clipped to 0..255 after each of the two
            passes. Float of any range is computed in float64, neither rounded nor clipped, and the result
            has its type.
        scale: a whole number, or 1 divided by one: 4, 2, 1/3, 0.25.
        border: where the kernel leaves the image, ``clamp`` repeats the edge sample, ``symmetric`` mirrors
            the image with its edge sample, as newer MATLAB releases do.

    Raises:
        ValueError: another scale or border, an empty image, or samples that are neither uint8 nor float.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"image has shape {image.shape}; expected (height, width[, channels])")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image has {image.dtype} samples; expected uint8, or float of any range")
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; allowed: {', '.join(BORDERS)}")
    up, down = _ratio(scale)
    _, weights = _kernel(up, down)
    total = int(weights[0].sum())
    rounded = image.dtype == np.uint8
    exact_in_float32 = 255 * np.abs(weights).sum(axis=1).max() + total / 2 < 2**24
    compute = np.float32 if rounded and exact_in_float32 else np.float64

    def store(sums: NDArray[Any], out: NDArray[Any]) -> None:
        if rounded:
            sums += total / 2
        sums /= total
        if rounded:
            np.clip(sums, 0, 255, out=sums)  # the cast then cuts: floor, as nothing is negative
        np.copyto(out, sums, casting="unsafe")

    height, width = image.shape[:2]
    channels = image.size // (height * width)
    flat = image.reshape(height, width * channels)

    rows = np.empty((-(-height * up // down), width * channels), np.uint8 if rounded else np.float64)
    for target, source, matrix in _bands(height, up, down, border):
        store(matrix.astype(compute) @ flat[source].astype(compute), rows[target])

    result = np.empty((rows.shape[0], -(-width * up // down) * channels), image.dtype)
    each_channel = np.eye(channels, dtype=compute)
    for target, source, matrix in _bands(width, up, down, border):
        band = rows[:, source.start * channels : source.stop * channels].astype(compute)
        columns = slice(target.start * channels, target.stop * channels)
        store(band @ np.kron(matrix.T.astype(compute), each_channel), result[:, columns])
    return result.reshape(rows.shape[0], -1, *image.shape[2:])


def _ratio(scale: float) -> tuple[int, int]:
    """``scale`` as (up, down), of which one is 1."""
    if np.isfinite(scale) and scale > 0:
        up, down = max(round(scale), 1), max(round(1 / scale), 1)
        if abs(scale - up / down) < 1e-9 * scale:
            return up, down
    raise ValueError(f"scale is {scale!r}; expected a whole number or 1 divided by one, such as 4 or 1/3")


def _kernel(up: int, down: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets (n,) and whole weights (up, n): output x weighs the inputs x // up * down + offsets."""
    phase = np.arange(up)[:, None]
    offsets = np.arange(-2 * down - 2, 3 * down + 3)
    # Output x and input i have their centres at x + 1/2 and i + 1/2. The distance between them, in widths
    # of the kernel, is m / t; Keys' polynomials times 2 t^3 are whole numbers.
    m = np.abs((2 * phase + 1) * down - (2 * offsets + 1) * up)
    t = 2 * max(up, down)
    near = 3 * m**3 - 5 * m**2 * t + 2 * t**3
    far = -(m**3) + 5 * m**2 * t - 8 * m * t**2 + 4 * t**3
    weights = np.where(m <= t, near, np.where(m <= 2 * t, far, 0))
    weights //= np.gcd.reduce(weights, axis=None)
    assert np.ptp(weights.sum(axis=1)) == 0, "whole factors give every phase the same total"
    used = weights.any(axis=0)
    return offsets[used], weights[:, used]


def _bands(
    length: int, up: int, down: int, border: str
) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    """Blocks of outputs along a side: (outputs, the inputs they need, matrix of whole weights)."""
    offsets, weights = _kernel(up, down)
    outputs = np.arange(-(-length * up // down))
    for target in np.split(outputs, outputs[_BLOCK::_BLOCK]):
        source = (target // up * down)[:, None] + offsets
        if border == "clamp":
            source = source.clip(0, length - 1)
        else:
            source %= 2 * length
            source = np.minimum(source, 2 * length - 1 - source)
        first, stop = int(source.min()), int(source.max()) + 1
        matrix = np.zeros((len(target), stop - first))
        np.add.at(matrix, (np.arange(len(target))[:, None], source - first), weights[target % up])
        yield slice(target[0], target[-1] + 1), slice(first, stop), matrix
