from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import psnr_y, ssim_y

MATLAB = {2: (36.058756, 0.980312), 3: (31.812360, 0.956393), 4: (29.359312, 0.934269)}


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def disturbed(image: np.ndarray, strength: int, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-1, 2, image.shape) * strength
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def released(scale: int) -> tuple[np.ndarray, np.ndarray]:
    if "BSPA_DATA" not in os.environ:
        pytest.skip("BSPA_DATA is not set: the images that MATLAB scored are not at hand")
    folder = Path(os.environ["BSPA_DATA"]) / "metrics" / f"x{scale}"
    sr, hr = (np.asarray(Image.open(folder / f"butterfly_{kind}.png")) for kind in ("SR", "HR"))
    return sr, hr


@pytest.mark.parametrize("scale", MATLAB)
def test_the_numbers_are_matlab_s(scale):
    sr, hr = released(scale)
    psnr, ssim = MATLAB[scale]
    # One unit of the last digit: at x2 the exact PSNR is 36.0587565293 (see below), on the edge of rounding.
    assert psnr_y(sr, hr, scale) == pytest.approx(psnr, rel=0, abs=1e-6)
    assert ssim_y(sr, hr, scale) == pytest.approx(ssim, rel=0, abs=5e-7)


@pytest.mark.parametrize("scale", MATLAB)
def test_psnr_is_that_of_whole_number_arithmetic(scale):
    sr, hr = released(scale)
    r, g, b = np.moveaxis((sr.astype(np.int64) - hr)[scale:-scale, scale:-scale], 2, 0)
    # 255,000 times the difference in Y, without rounding anywhere.
    difference = 65481 * r + 128553 * g + 24966 * b
    mse = Fraction(int((difference**2).sum()), difference.size * 255_000**2)
    assert psnr_y(sr, hr, scale) == pytest.approx(10 * math.log10(255**2 / mse), rel=0, abs=1e-12)


def test_luma_of_the_extremes_and_of_each_primary():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    np.testing.assert_allclose(
        to_y(colours), [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966], rtol=0, atol=1e-12
    )


def test_luma_is_not_rounded():
    assert to_y(np.array([1, 0, 0], np.uint8)) == pytest.approx(16 + 65.481 / 255, abs=1e-12)


def test_psnr_of_a_known_error():
    # A step of one in all three channels is a step of 219/255 in Y.
    hr = np.full((8, 9, 3), 100, np.uint8)
    assert psnr_y(hr + np.uint8(1), hr, 2) == pytest.approx(20 * math.log10(255 / (219 / 255)), abs=1e-9)


def test_identical_images():
    image = photo(20, 30)
    assert psnr_y(image, image.copy(), 2) == math.inf
    assert ssim_y(image, image.copy(), 2) == 1.0


def test_ssim_is_that_of_an_independent_implementation():
    hr = photo(40, 37)
    sr = disturbed(hr, 30)
    x, y = to_y(sr)[3:-3, 3:-3], to_y(hr)[3:-3, 3:-3]
    _, values = structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    assert ssim_y(sr, hr, 3) == pytest.approx(values[5:-5, 5:-5].mean(), abs=1e-12)


def test_the_smallest_image_is_one_window():
    hr = photo(15, 15)
    assert -1 <= ssim_y(disturbed(hr, 9), hr, 2) < 1
    with pytest.raises(ValueError, match=r"15x15 pixels is too small: with 3 cut .* 11x11"):
        ssim_y(hr, hr, 3)


@given(border=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_what_lies_in_the_cut_border_does_not_count(border, seed):
    hr = photo(24, 29, seed)
    sr = disturbed(hr, 12, seed)
    elsewhere = photo(24, 29, seed + 1)
    inside = np.s_[border:-border, border:-border]
    elsewhere[inside] = sr[inside]
    assert psnr_y(elsewhere, hr, border) == psnr_y(sr, hr, border)
    assert ssim_y(elsewhere, hr, border) == ssim_y(sr, hr, border)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_larger_error_scores_lower_and_the_order_of_the_images_is_free(seed):
    # Mid-gray, so that nothing is clipped and the same disturbance grows with its strength.
    hr = photo(18, 18, seed) // 2 + np.uint8(64)
    near, far = disturbed(hr, 4, seed), disturbed(hr, 16, seed)
    for metric in (psnr_y, ssim_y):
        assert metric(near, hr, 2) > metric(far, hr, 2)
        assert metric(far, hr, 2) == pytest.approx(metric(hr, far, 2), abs=1e-12)


@pytest.mark.parametrize("metric", [psnr_y, ssim_y])
@pytest.mark.parametrize(
    ("sr", "hr", "border", "message"),
    [
        (photo(20, 20), photo(20, 21), 2, "sr is 20x20, hr is 20x21"),
        (photo(20, 20) / 255.0, photo(20, 20), 2, "sr: an array of float64"),
        (photo(20, 20), photo(20, 20)[..., 0], 2, r"hr: .* shape \(20, 20\)"),
        (photo(20, 20), photo(20, 20), -1, "border: -1"),
        (photo(20, 20), photo(20, 20), 10, "too small"),
    ],
)
def test_what_cannot_be_compared_is_refused(metric, sr, hr, border, message):
    with pytest.raises(ValueError, match=message):
        metric(sr, hr, border)


def test_the_convention_is_one_line():
    assert CONVENTION
    assert "\n" not in CONVENTION
