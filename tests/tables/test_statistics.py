from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from bspa.tables.statistics import detectable_difference, holm, mean_interval, p_value


def differences(
    generator: np.random.Generator, seeds: int, images: int, *,
    of_seeds: float, of_images: float, of_pairs: float,
) -> np.ndarray:  # fmt: skip
    """Differences of true mean 0: what a seed, an image, and both together add to it."""
    return (
        of_seeds * generator.standard_normal((seeds, 1))
        + of_images * generator.standard_normal((1, images))
        + of_pairs * generator.standard_normal((seeds, images))
    )


def coverage(trials: int, **spread: Any) -> float:
    """How often the interval holds the true mean."""
    generator = np.random.default_rng(7)
    ends = [mean_interval(differences(generator, **spread), resamples=499) for _ in range(trials)]
    return float(np.mean([low <= 0 <= high for low, high in ends]))


@pytest.mark.parametrize(
    "spread",
    [
        {"seeds": 8, "images": 30, "of_seeds": 0.5, "of_images": 1.0, "of_pairs": 1.0},
        # As it is with super-resolution: the images differ, the seeds hardly.
        {"seeds": 3, "images": 100, "of_seeds": 0.02, "of_images": 0.2, "of_pairs": 0.1},
    ],
    ids=["seeds and images", "mostly images"],
)
def test_the_interval_holds_the_true_mean_as_often_as_it_says(spread: dict[str, Any]) -> None:
    # 200 trials of probability 0.95 have a standard deviation of 0.015.
    assert 0.90 <= coverage(200, **spread) <= 0.99


def test_of_few_seeds_the_interval_holds_as_often_as_is_documented() -> None:
    for seeds, expected in ((2, 0.5), (3, 0.75), (5, 0.85)):
        spread = {"seeds": seeds, "images": 10, "of_seeds": 1.0, "of_images": 0.0, "of_pairs": 0.01}
        assert coverage(100, **spread) == pytest.approx(expected, abs=0.1), f"{seeds} seeds"


@pytest.fixture
def values() -> np.ndarray:
    return differences(np.random.default_rng(3), 4, 12, of_seeds=0.1, of_images=0.4, of_pairs=0.2)


def test_the_width_is_that_of_both_spreads() -> None:
    """Of many seeds and images the interval is the normal one, of Owen's variance."""
    generator = np.random.default_rng(0)
    values = differences(generator, 60, 80, of_seeds=1.0, of_images=1.5, of_pairs=0.0)
    variance = values.mean(axis=1).var() / 60 + values.mean(axis=0).var() / 80
    low, high = mean_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(variance), rel=0.05)


def test_the_interval_leans_as_the_differences_do() -> None:
    """The percentiles of the resamples, which cannot leave the range of the differences."""
    values = np.zeros((2, 20))
    values[:, 0] = 1.0
    low, high = mean_interval(values)
    assert low == 0
    assert high > 2 * values.mean()


def test_two_seeds_and_two_images_are_enough() -> None:
    low, high = mean_interval(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert (low, high) == (0.0, 3.0)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((1, 100)),
        np.ones((3, 1)),
        np.array([[0, 1], [2, math.inf]]),
        np.array([[0, 1], [2, math.nan]]),
    ],
)
def test_few_or_infinite_differences_have_no_interval(values: np.ndarray) -> None:
    assert np.isnan(mean_interval(values)).all()


def test_the_size_of_batches_bounds_memory_alone(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bspa.tables.statistics.NUMBERS_AT_ONCE", 100 * values.size)
    in_small_batches = mean_interval(values)
    monkeypatch.undo()
    low, high = mean_interval(values)
    assert in_small_batches == pytest.approx((low, high), abs=0.05 * (high - low))


def test_a_small_p_value_means_that_the_interval_excludes_zero() -> None:
    generator = np.random.default_rng(4)
    small = 0
    for shift in np.linspace(-0.5, 0.5, 21):
        differences = generator.normal(shift, 0.5, (5, 14)) + generator.normal(0, 0.1, (5, 1))
        low, high = mean_interval(differences, resamples=1999)
        p = p_value(differences, resamples=1999)
        assert (p < 0.049) <= (low > 0 or high < 0)
        assert p >= ttest_1samp(differences.mean(axis=1), 0).pvalue
        small += p < 0.05
    assert 5 < small < 21
    assert p_value(np.full((3, 4), 0.1)) == pytest.approx(2 / 10_000)
    assert math.isnan(p_value(np.zeros((1, 4))))


@pytest.mark.parametrize("seeds", [3, 5])
def test_p_values_of_no_difference_are_rarely_small(seeds: int) -> None:
    """Where seeds differ more than images, the bootstrap alone would call a fifth of these significant."""
    generator = np.random.default_rng(6)
    ps = [
        p_value(generator.normal(0, 0.2, (seeds, 1)) + generator.normal(0, 0.1, (1, 14)), resamples=499)
        for _ in range(100)
    ]
    assert np.mean(np.array(ps) < 0.05) < 0.09


def test_holm_is_the_published_procedure() -> None:
    # Worked by hand: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    corrected = holm([math.nan, 0.02])
    assert math.isnan(corrected[0])
    assert corrected[1] == 0.02


def test_the_detectable_difference_is_found_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    spread, seeds = 0.1, 5
    many = generator.normal(0, spread, (2000, seeds, 1)) + np.zeros((1, 3))
    true = detectable_difference(list(many))
    assert 0.74 < np.mean(ttest_1samp(many[:, :, 0] + true, 0, axis=1).pvalue < 0.05) < 0.86
    assert math.isnan(detectable_difference([np.zeros((1, 3))]))
    assert math.isnan(detectable_difference([np.full((3, 3), np.inf)]))
