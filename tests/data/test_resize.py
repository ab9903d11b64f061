from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bspa.data.resize import imresize

Samples = NDArray[Any]


def describe(result: Samples, expected: Samples) -> str:
    """The distribution of the error, for a message that helps."""
    error = result.astype(np.float64) - expected.astype(np.float64)
    values, counts = np.unique(error[error != 0], return_counts=True)
    return f"{np.count_nonzero(error)} of {error.size} samples differ: " + ", ".join(
        f"{value:+g} x{count}" for value, count in list(zip(values, counts, strict=True))[:10]
    )


def assert_same(result: Samples, expected: Samples) -> None:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected), describe(result, expected)


def keys(x: Samples) -> Samples:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def matlab(image: Samples, scale: float, border: str, rounded: bool) -> Samples:
    """imresize.m line by line, in doubles: `contributions`, then one dimension after the other."""
    for axis in (0, 1):
        length = image.shape[axis]
        x = np.arange(1, np.ceil(length * scale) + 1)
        kernel_width, squeeze = (4 / scale, scale) if scale < 1 else (4, 1)
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = np.floor(u - kernel_width / 2)
        indices = left[:, None] + np.arange(int(np.ceil(kernel_width)) + 2)
        weights = squeeze * keys(squeeze * (u[:, None] - indices))
        weights /= weights.sum(axis=1, keepdims=True)
        if border == "clamp":
            indices = np.minimum(np.maximum(1, indices), length)
        else:
            aux = np.concatenate([np.arange(1, length + 1), np.arange(length, 0, -1)])
            indices = aux[np.mod(indices - 1, len(aux)).astype(int)]
        samples = np.moveaxis(image.astype(np.float64), axis, 0)[indices.astype(int) - 1]
        image = np.moveaxis(np.einsum("ok,ok...->o...", weights, samples), 0, axis)
        if rounded:
            image = np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
    return image


SCALES = [1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 8, 1, 2, 3, 4, 8]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([(), (1,), (3,), (4,)]),
    scale=st.sampled_from(SCALES),
    border=st.sampled_from(["clamp", "symmetric"]),
    contrast=st.sampled_from([2, 256]),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_matlab(
    height: int, width: int, channels: tuple[int, ...], scale: float, border: str, contrast: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(0, contrast, (height, width, *channels))
    image = (samples * (255 // (contrast - 1))).astype(np.uint8)  # black and white overshoots the most
    assert_same(imresize(image, scale, border=border), matlab(image, scale, border, rounded=True))
    for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-10)):
        result = imresize(image.astype(dtype), scale, border=border)
        expected = matlab(image, scale, border, rounded=False)
        assert result.dtype == dtype
        assert np.abs(result - expected).max() < tolerance, describe(result, expected)


@given(st.integers(0, 255), st.integers(1, 30), st.integers(1, 30), st.sampled_from(SCALES))
def test_a_constant_image_stays_constant(value: int, height: int, width: int, scale: float) -> None:
    for dtype in (np.uint8, np.float64):
        result = imresize(np.full((height, width, 3), value, dtype), scale)
        assert result.shape == (math.ceil(scale * height), math.ceil(scale * width), 3)
        assert np.abs(result.astype(np.float64) - value).max() <= (0 if dtype is np.uint8 else 1e-10)


# Whole weights of an inner output when shrinking, and what they sum to.
HALF = [-3, -9, 29, 111, 111, 29, -9, -3]
QUARTER = [-7, -45, -75, -49, 93, 399, 745, 987, 987, 745, 399, 93, -49, -75, -45, -7]


@pytest.mark.parametrize(("factor", "weights"), [(2, HALF), (4, QUARTER)])
def test_ties_go_up(factor: int, weights: list[int]) -> None:
    column = np.random.default_rng(0).integers(0, 256, factor * 50_000)  # one wide: the second pass keeps it
    windows = np.lib.stride_tricks.sliding_window_view(column, len(weights))[factor // 2 :: factor]
    sums, total = windows @ np.array(weights), sum(weights)
    tied = (2 * sums % (2 * total) == total) & (sums > 0) & (sums < 255 * total)
    assert tied.sum() > 5
    result = imresize(column.astype(np.uint8)[:, None], 1 / factor)[2:, 0][: len(sums)]
    assert_same(result[tied], ((sums[tied] + total / 2) / total).astype(np.uint8))


def test_views_and_read_only_input() -> None:
    image = np.random.default_rng(0).integers(0, 256, (36, 48, 4), dtype=np.uint8)
    view = image[::-1, :, 2::-1]
    view.flags.writeable = False
    assert_same(imresize(view, 1 / 3), imresize(np.ascontiguousarray(view), 1 / 3))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8), {"scale": 0.3}, "scale is 0.3; expected a whole number"),
        ((8, 8), {"scale": 0}, "scale is 0"),
        ((8, 8), {"scale": float("nan")}, "scale is nan"),
        ((8, 8), {"scale": 2, "border": "wrap"}, "'wrap'; allowed: clamp, symmetric"),
        ((8,), {"scale": 2}, r"shape \(8,\)"),
        ((0, 8, 3), {"scale": 2}, r"shape \(0, 8, 3\)"),
    ],
)
def test_mistakes_are_named(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imresize(np.zeros(shape, np.uint8), **options)
    with pytest.raises(ValueError, match="uint16 samples; expected uint8"):
        imresize(np.zeros((8, 8), np.uint16), 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("benchmark", ["Set5", "Set14"])
def test_benchmark_pairs_are_identical(data: Path, benchmark: str, scale: float) -> None:
    folder = data / "benchmarks" / benchmark / f"x{scale}"
    hr_files = sorted(folder.glob("*_HR.png"))
    assert len(hr_files) == {"Set5": 5, "Set14": 14}[benchmark]
    for file in hr_files:
        hr = np.asarray(Image.open(file))
        lr = np.asarray(Image.open(file.with_name(file.name.replace("_HR", "_LR"))))
        assert_same(imresize(hr, 1 / scale), lr)
