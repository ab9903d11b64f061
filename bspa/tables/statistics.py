"""The confidence interval of a mean difference over photographs and seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

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
    seeds, images = differences.shape
    if min(seeds, images) < 2 or not np.isfinite(differences).all():
        return math.nan, math.nan

    def mean(seed_draws: NDArray[Any], image_draws: NDArray[Any], axis: int) -> NDArray[np.float64]:
        assert axis == -1
        of_images = differences[seed_draws].mean(axis=-2)
        return np.take_along_axis(of_images, image_draws, axis=-1).mean(axis=-1)

    interval = bootstrap(
        (np.arange(seeds), np.arange(images)),
        mean,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, NUMBERS_AT_ONCE // differences.size),
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)
