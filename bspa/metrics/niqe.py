"""NIQE: the distance of an image's local statistics from those of good photographs, without a reference.

Source: A. Mittal, R. Soundararajan and A. C. Bovik, "Making a 'completely blind' image quality analyzer",
IEEE Signal Processing Letters 20 (2013), and the authors' MATLAB release for what the paper leaves open:
blocks of 96x96 pixels, a 7x7 window of sigma 7/6, two scales, the grid on which shapes are fitted.

The release takes 8-bit gray images; as in the super-resolution papers, gray is the rounded Y here. MATLAB
R2021a gives 5.72957338 for Set14's baboon (BasicSR's documentation), this module 5.72957388.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.special import gamma
from skimage.util import view_as_blocks

from bspa.data.resize import imresize
from bspa.metrics.borders import Image, UnmeasurableError, cut
from bspa.metrics.luma import to_y
from bspa.system.reading import reading

Array = NDArray[np.float64]

BLOCK = 96
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns between the two pixels of a product: side by side and along both diagonals."""

SHAPES: Array = np.arange(200, 10001) / 1000
"""The shapes alpha, 0.2 to 10, that the release tries."""
MOMENT_RATIOS: Array = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
"""(E|x|)^2 / E(x^2) of the generalised Gaussian distribution of each of `SHAPES`."""

FLAT = 1e-10
"""Contrast that is rounding error: far below any contrast of whole numbers."""

MODEL_ARRAYS = {"mu_pris_param": (1, 36), "cov_pris_param": (36, 36), "gaussian_window": (7, 7)}
"""Names and shapes in the file of a pristine model."""


def read_pristine_model(path: str | os.PathLike[str]) -> tuple[Array, Array, Array]:
    """Read the distribution of the features of good photographs from the ``.npz`` file that BasicSR ships.

    Returns:
        The mean (36,), the covariance (36, 36), and the weights of the local mean and deviation (7, 7).

    Raises:
        ValueError: ``path`` is another kind of file, or an array is missing, of another shape or not finite.
        OSError: it cannot be read.
    """
    model = "NIQE's pristine model, a NumPy .npz file"
    with reading(path, model, advice=""), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    for name, shape in MODEL_ARRAYS.items():
        array = arrays.get(name, np.zeros(0))
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            found = ", ".join(f"{key} {value.dtype} {value.shape}" for key, value in arrays.items())
            raise ValueError(
                f"{path}: not NIQE's pristine model: {name} must be finite floats of shape {shape}; the file "
                f"holds {found or 'nothing'}"
            )
    mean, covariance, window = (arrays[name].astype(np.float64) for name in MODEL_ARRAYS)
    return mean[0], covariance, window


def niqe(image: Image, border: int, model: str | os.PathLike[str]) -> float:
    """Return the NIQE of an image: 0 for the statistics of good photographs; lower is more natural.

    Args:
        image: RGB (h, w, 3) uint8.
        border: pixels to cut from each side. Only whole blocks of 96x96 pixels of the rest count, from the
            top left.
        model: path of the pristine model, see `read_pristine_model`.

    Raises:
        ValueError: another type of image, a negative border, or a file that is not a pristine model.
        UnmeasurableError: fewer than two blocks (192x96 pixels) are left, or fewer than two have texture.
    """
    pristine_mean, pristine_covariance, window = read_pristine_model(model)
    (inside,) = cut(border, image=image)
    rows, columns = inside.shape[0] // BLOCK, inside.shape[1] // BLOCK
    if rows * columns < 2:
        raise UnmeasurableError(
            f"an image of {image.shape[0]}x{image.shape[1]} pixels is too small for NIQE: 192x96 or 96x192 "
            f"must be left after cutting {border} from each border"
        )
    y = np.floor(to_y(inside[: rows * BLOCK, : columns * BLOCK]) + 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):  # a block without texture has features that are NaN
        half = imresize(y, 0.5, border="symmetric")
        both = ((y, BLOCK), (half, BLOCK // 2))
        features = np.hstack([_block_features(_normalised(part, window), side) for part, side in both])
        mean = np.nansum(features, axis=0) / np.count_nonzero(~np.isnan(features), axis=0)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) < 2:
        raise UnmeasurableError(
            f"NIQE needs two blocks of 96x96 pixels with texture; {len(whole)} of {len(features)} have it"
        )
    difference = pristine_mean - mean
    covariance = (pristine_covariance + np.cov(whole, rowvar=False)) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))  # Eq. 10


def _normalised(y: Array, window: Array) -> Array:
    """Y less its local mean, divided by its local deviation plus 1 (Eq. 1)."""
    mean = correlate(y, window, mode="nearest")
    variance = np.abs(correlate(y * y, window, mode="nearest") - mean * mean)
    contrast = y - mean
    # Equal pixels have no contrast; rounding error must not give it a sign.
    contrast[np.abs(contrast) < FLAT] = 0
    return contrast / (np.sqrt(variance) + 1)


def _block_features(contrast: Array, side: int) -> Array:
    """Features (n, 18) of n square blocks: shapes and widths of the pixels and of their products."""
    blocks = view_as_blocks(contrast, (side, side)).reshape(-1, side, side)
    alpha, left, right = _fit(blocks)
    features = [alpha, (left + right) / 2]
    for shift in NEIGHBOURS:  # as in the release, the last row and column neighbour the first
        alpha, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        mean = (right - left) * gamma(2 / alpha) / gamma(1 / alpha)  # Eq. 8
        features += [alpha, mean, left, right]
    return np.column_stack(features)


def _fit(blocks: Array) -> tuple[Array, Array, Array]:
    """Fit the asymmetric generalised Gaussian distribution (Eq. 7) to blocks (n, side, side), by moments.

    Returns the shape alpha and the widths beta to the left and to the right, (n,) each; a width is NaN where
    no value lies on its side of 0.
    """
    values = blocks.reshape(len(blocks), -1)
    squares = values**2
    sigma_left, sigma_right = (
        np.sqrt(np.sum(squares, axis=1, where=side) / np.count_nonzero(side, axis=1))
        for side in (values < 0, values > 0)
    )
    g = sigma_left / sigma_right
    ratio = np.mean(np.abs(values), axis=1) ** 2 / np.mean(squares, axis=1)
    ratio *= (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    alpha = SHAPES[[np.argmin((MOMENT_RATIOS - value) ** 2) for value in ratio]]
    width = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, sigma_left * width, sigma_right * width
