"""A mean difference over photographs and seeds: its interval, its p-value, and what a design can see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, t, ttest_1samp

NUMBERS_AT_ONCE = 4_000_000
"""Numbers of 8 bytes in a batch of resamples."""


def mean_interval(differences: NDArray[np.float64], *, resamples: int = 9999) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of paired differences, by the bootstrap.

    Each seed's network is scored on the same images, so seeds and images are resampled independently (Owen,
    The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). The ends are percentiles of the means of
    the resamples: a mean has no bias for BCa to correct, and BCa's acceleration needs more seeds.

    With few seeds that differ much more than the images, intervals are too narrow: instead of 95 %, they hold
    the true mean in 50 % (2 seeds), 75 % (3) or 85 % (5) of cases.

    Args:
        differences: (seeds, images), of a method's scores to another's, in the score's unit.
        resamples: number of means drawn.

    Returns:
        The ends; NaN for fewer than two seeds or images, and where a difference is not finite.
    """
    found = _bootstrap(differences, resamples)
    if found is None:
        return math.nan, math.nan
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def p_value(differences: NDArray[np.float64], *, resamples: int = 9999) -> float:
    """Return the two-sided p-value of a mean difference of zero.

    It is the larger of two: that of the resamples of `mean_interval`, at least 2 / (resamples + 1), which is
    too small for few seeds that differ much, and that of a paired t-test over the seeds. NaN without an
    interval.
    """
    found = _bootstrap(differences, resamples)
    if found is None:
        return math.nan
    means = found.bootstrap_distribution
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    of_seeds = differences.mean(axis=1)
    spread = of_seeds.std(ddof=1)
    of_t_test = float(ttest_1samp(of_seeds, 0).pvalue) if spread else 0.0
    return min(1.0, max(2 * (beyond + 1) / (len(means) + 1), of_t_test))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of comparisons (Holm 1979); those that are NaN are no comparisons."""
    order = sorted((p, number) for number, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, number) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[number] = largest
    return corrected


def detectable_difference(differences: Sequence[NDArray[np.float64]]) -> float:
    """Return the smallest true mean difference that such a design finds in 4 of 5 cases, in the score's unit.

    For a paired two-sided t-test over the seeds at the level of 5 %, with the spread of the seeds' mean
    differences, pooled over the comparisons ((seeds, images) each, all of as many seeds). NaN for fewer than
    two seeds, and where no comparison is finite.
    """
    means = [part.mean(axis=1) for part in differences if np.isfinite(part).all()]
    if not means or len(means[0]) < 2:
        return math.nan
    seeds = len(means[0])
    spread = math.sqrt(np.mean([part.var(ddof=1) for part in means]))
    quantiles = t.ppf([0.975, 0.8], seeds - 1)
    return float(quantiles.sum() * spread / math.sqrt(seeds))


def _bootstrap(differences: NDArray[np.float64], resamples: int) -> Any:
    """Resample the means; None for fewer than two seeds or images, and where a difference is not finite."""
    seeds, images = differences.shape
    if min(seeds, images) < 2 or not np.isfinite(differences).all():
        return None

    def mean(seed_draws: NDArray[Any], image_draws: NDArray[Any], axis: int) -> NDArray[np.float64]:
        assert axis == -1
        of_images = differences[seed_draws].mean(axis=-2)
        return np.take_along_axis(of_images, image_draws, axis=-1).mean(axis=-1)

    return bootstrap(
        (np.arange(seeds), np.arange(images)),
        mean,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, NUMBERS_AT_ONCE // differences.size),
        rng=np.random.default_rng(0),
    )
