from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import gamma

from bspa.data.resize import imresize
from bspa.metrics.borders import UnmeasurableError
from bspa.metrics.luma import to_y
from bspa.metrics.niqe import niqe
from tests.support.pristine import model_arrays, write_model

MATLAB_BABOON = 5.72957338
"""Set14's baboon in MATLAB R2021a, by BasicSR's documentation of its `calculate_niqe`."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("niqe") / "model.npz")


@pytest.fixture
def released(data: Path) -> Path:
    return data / "metrics" / "niqe_pris_params.npz"


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smoothed random image, whose neighbouring pixels are alike as those of photographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    noise = rng.integers(-6, 7, (height, width, 3))
    return np.clip(imresize(coarse, 4)[:height, :width] + noise, 0, 255).astype(np.uint8)


def test_the_number_is_matlab_s(data: Path, released: Path) -> None:
    baboon = Image.open(data / "benchmarks" / "Set14" / "x4" / "001_HR.png").convert("RGB")
    assert niqe(np.asarray(baboon), 0, released) == pytest.approx(MATLAB_BABOON, rel=0, abs=1e-6)


# An independent implementation, value by value.


def normalised(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    height, width = image.shape
    padded = np.pad(image, 3, mode="edge")
    contrast, squares, mean = np.zeros_like(image), np.zeros_like(image), np.zeros_like(image)
    for row in range(7):
        for column in range(7):
            neighbour = padded[row : row + height, column : column + width]
            contrast += window[row, column] * (image - neighbour)
            mean += window[row, column] * neighbour
            squares += window[row, column] * neighbour**2
    return contrast / (np.sqrt(np.abs(squares - mean**2)) + 1)


def fitted(values: list[float]) -> tuple[float, float, float]:
    left, right = [v * v for v in values if v < 0], [v * v for v in values if v > 0]
    if not left or not right:
        return 0.2, math.nan, math.nan  # as MATLAB's min() of values that are all NaN
    left, right = math.sqrt(math.fsum(left) / len(left)), math.sqrt(math.fsum(right) / len(right))
    g = left / right
    r = math.fsum(map(abs, values)) ** 2 / (len(values) * math.fsum(v * v for v in values))
    r *= (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shapes = np.linspace(0.2, 10, 9801)
    misses = abs(gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes)) - r)
    _, alpha = min(zip(misses.tolist(), shapes.tolist(), strict=True))
    width = math.sqrt(math.gamma(1 / alpha) / math.gamma(3 / alpha))
    return alpha, left * width, right * width


def features_of(block: np.ndarray) -> list[float]:
    side = len(block)
    alpha, left, right = fitted(block.ravel().tolist())
    features = [alpha, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        products = [
            block[row, column] * block[row - down, (column - across) % side]
            for row in range(side)
            for column in range(side)
        ]
        alpha, left, right = fitted(products)
        mean = (right - left) * math.gamma(2 / alpha) / math.gamma(1 / alpha)
        features += [alpha, mean, left, right]
    return features


def plain_niqe(image: np.ndarray, border: int) -> float:
    pristine = model_arrays()
    image = image[border : len(image) - border, border : image.shape[1] - border]
    rows, columns = len(image) // 96, image.shape[1] // 96
    y = np.floor(to_y(image[: 96 * rows, : 96 * columns]) + 0.5)
    scales = [(normalised(y, pristine["gaussian_window"]), 96)]
    half = imresize(y, 0.5, border="symmetric")
    scales += [(normalised(half, pristine["gaussian_window"]), 48)]
    features = []
    for row, column in itertools.product(range(rows), range(columns)):
        full, half = (image[side * row :, side * column :][:side, :side] for image, side in scales)
        features.append(features_of(full) + features_of(half))
    whole = np.array([row for row in features if not np.isnan(row).any()])
    centred = whole - whole.mean(axis=0)
    covariance = (centred.T @ centred / (len(whole) - 1) + pristine["cov_pris_param"]) / 2
    difference = np.nanmean(features, axis=0) - pristine["mu_pris_param"][0]
    return math.sqrt(difference @ np.linalg.solve(covariance, difference))


def test_it_is_that_of_an_independent_implementation(model: Path) -> None:
    image = texture(101, 200)
    assert niqe(image, 2, model) == pytest.approx(plain_niqe(image, 2), rel=1e-9)


def test_flat_places_have_contrast_of_neither_sign(model: Path) -> None:
    image = texture(96, 288)
    for number, row in enumerate(range(0, 96, 24)):
        image[row : row + 20, 200:270] = (60 * number, 250 - 45 * number, 77)
    # A block without texture counts as in the release. The window reaches 3 pixels into its neighbours, the
    # half-size kernel further: flat means flat beyond.
    image[:, 76:212] = (40, 120, 200)
    assert niqe(image, 0, model) == pytest.approx(plain_niqe(image, 0), rel=1e-9)


@given(border=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_only_whole_blocks_inside_the_cut_count(model: Path, border: int, seed: int) -> None:
    image = texture(120, 230, seed)
    elsewhere = np.random.default_rng(seed).integers(0, 256, image.shape, dtype=np.uint8)
    counted = np.s_[border : border + 96, border : border + 192]
    elsewhere[counted] = image[counted]
    assert niqe(elsewhere, border, model) == niqe(image, border, model)
    assert niqe(image, border, model) == niqe(np.ascontiguousarray(image[counted]), 0, model)


def test_the_smallest_image_is_two_blocks(model: Path) -> None:
    for height, width in ((96, 192), (192, 96)):
        assert niqe(texture(height + 4, width + 4), 2, model) > 0
    for height, width in ((96, 191), (191, 191), (95, 500)):
        with pytest.raises(UnmeasurableError, match=rf"{height + 4}x{width + 4}"):
            niqe(texture(height + 4, width + 4), 2, model)
    with pytest.raises(UnmeasurableError, match="192x96 or 96x192"):
        niqe(texture(50, 50), 0, model)


def test_an_image_without_texture_has_none(model: Path) -> None:
    image = np.full((200, 200, 3), (37, 201, 9), np.uint8)
    with pytest.raises(UnmeasurableError, match="0 of 4"):
        niqe(image, 0, model)
    image[:40, :40] = texture(40, 40)
    with pytest.raises(UnmeasurableError, match="1 of 4"):
        niqe(image, 0, model)


def test_what_is_no_image_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="image: an array of float64") as caught:
        niqe(texture(96, 192) / 255.0, 0, model)
    assert not isinstance(caught.value, UnmeasurableError)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gaussian_window": None}, "gaussian_window must be .* holds mu_pris_param .*, cov_pris_param "),
        ({"mu_pris_param": np.zeros(36)}, r"mu_pris_param must .* mu_pris_param float64 \(36,\)"),
        ({"cov_pris_param": np.full((36, 36), np.nan)}, "cov_pris_param must be finite"),
        ({"gaussian_window": np.ones((7, 7), int)}, "gaussian_window must .* gaussian_window int64"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write_model(tmp_path / "model.npz", **changed)
    with pytest.raises(ValueError, match=rf"model\.npz: not NIQE's pristine model: {message}") as caught:
        niqe(texture(96, 192), 0, path)
    assert not isinstance(caught.value, UnmeasurableError)


def test_another_file_is_refused(tmp_path: Path, model: Path) -> None:
    whole = model.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    np.save(tmp_path / "array.npy", np.zeros(3))
    array = (tmp_path / "array.npy").read_bytes()
    for content in (b"<html>", b"", whole[:-40], array, damaged):
        path = tmp_path / "other.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.npz: "):
            niqe(texture(96, 192), 0, path)
    with pytest.raises(FileNotFoundError, match="gone"):
        niqe(texture(96, 192), 0, tmp_path / "gone.npz")
