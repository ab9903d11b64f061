from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import psnr_y, ssim_y
from tests.support.noise import noise

MATLAB = {2: (36.058756, 0.980312), 3: (31.812360, 0.956393), 4: (29.359312, 0.934269)}


def disturbed(image: np.ndarray, strength: int, seed: int = 1) -> np.ndarray:
    steps = np.random.default_rng(seed).integers(-1, 2, image.shape) * strength
    return np.clip(image + steps, 0, 255).astype(np.uint8)


def released(data: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    folder = data / "metrics" / f"x{scale}"
    sr, hr = (np.asarray(Image.open(folder / f"butterfly_{kind}.png")) for kind in ("SR", "HR"))
    return sr, hr


@pytest.mark.parametrize("scale", MATLAB)
def test_the_numbers_are_matlab_s(data: Path, scale: int) -> None:
    sr, hr = released(data, scale)
    psnr, ssim = MATLAB[scale]
    # One unit of the last digit: at x2 the exact PSNR is 36.0587565293 (see below), on the edge of rounding.
    assert psnr_y(sr, hr, scale) == pytest.approx(psnr, rel=0, abs=1e-6)
    assert ssim_y(sr, hr, scale) == pytest.approx(ssim, rel=0, abs=5e-7)


@pytest.mark.parametrize("scale", MATLAB)
def test_psnr_is_that_of_whole_number_arithmetic(data: Path, scale: int) -> None:
    sr, hr = released(data, scale)
    r, g, b = np.moveaxis((sr.astype(np.int64) - hr)[scale:-scale, scale:-scale], 2, 0)
    # 255,000 times the difference in Y, without rounding anywhere.
    difference = 65481 * r + 128553 * g + 24966 * b
    mse = Fraction(int((difference**2).sum()), difference.size * 255_000**2)
    assert psnr_y(sr, hr, scale) == pytest.approx(10 * math.log10(255**2 / mse), rel=0, abs=1e-12)


def test_luma_of_the_extremes_and_of_each_primary() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    np.testing.assert_allclose(to_y(colours), expected, rtol=0, atol=1e-12)


def test_identical_images() -> None:
    image = noise(20, 30)
    assert psnr_y(image, image.copy(), 2) == math.inf
    assert ssim_y(image, image.copy(), 2) == 1.0


def test_the_smallest_image_is_one_window() -> None:
    hr = noise(15, 15)
    assert -1 <= ssim_y(disturbed(hr, 9), hr, 2) < 1
    with pytest.raises(ValueError, match=r"15x15 .* 11x11"):
        ssim_y(hr, hr, 3)


@given(border=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_what_lies_in_the_cut_border_does_not_count(border: int, seed: int) -> None:
    hr = noise(24, 29, seed)
    sr = disturbed(hr, 12, seed)
    elsewhere = noise(24, 29, seed + 1)
    inside = np.s_[border:-border, border:-border]
    elsewhere[inside] = sr[inside]
    assert psnr_y(elsewhere, hr, border) == psnr_y(sr, hr, border)
    assert ssim_y(elsewhere, hr, border) == ssim_y(sr, hr, border)


@pytest.mark.parametrize("metric", [psnr_y, ssim_y])
@pytest.mark.parametrize(
    ("sr", "hr", "border", "message"),
    [
        (noise(20, 20), noise(20, 21), 2, "sr is 20x20, hr is 20x21"),
        (noise(20, 20) / 255.0, noise(20, 20), 2, "sr: an array of float64"),
        (noise(20, 20), noise(20, 20)[..., 0], 2, r"hr: .* shape \(20, 20\)"),
        (noise(20, 20), noise(20, 20), -1, "border: -1"),
        (noise(20, 20), noise(20, 20), 10, "too small"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    metric: Callable[..., float], sr: np.ndarray, hr: np.ndarray, border: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(sr, hr, border)
