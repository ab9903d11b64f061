"""Difficulty classes of sub-images and their sampling probabilities (Section 3.2, Eq. 2-4).

Class 1 is the easiest and largest, class K the hardest and smallest. The score of a sub-image is an MSE.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def class_sizes(total: int, classes: int, imbalance: float) -> NDArray[np.int64]:
    """Split ``total`` sub-images into long-tailed classes (Eq. 2).

    N_k is proportional to mu^k with mu = imbalance^(-1 / (classes - 1)). The quotas are rounded by largest
    remainder (ties: the larger class first). A class that would be empty gets one sub-image.

    Args:
        total: number of sub-images, N.
        classes: number of classes, K.
        imbalance: N_1 / N_K, 1 or more.

    Returns:
        (classes,) sizes, easiest class first: non-increasing, at least 1 each, with the sum ``total``.

    Raises:
        ValueError: fewer than one class, an imbalance below 1, or more classes than sub-images.
    """
    if classes < 1:
        raise ValueError(f"classes is {classes}; it must be 1 or more")
    if not (math.isfinite(imbalance) and imbalance >= 1):
        raise ValueError(f"imbalance is {imbalance}; N_1 / N_K must be a finite number, 1 or more")
    if total < classes:
        raise ValueError(
            f"{total} sub-images cannot fill {classes} classes; use fewer classes or more training images"
        )
    # Exact fractions, so that rounding loses no sub-image.
    weights = [Fraction(imbalance ** (-k / max(classes - 1, 1))) for k in range(classes)]
    filled = classes
    while True:
        sizes = _largest_remainder(total - (classes - filled), weights[:filled])
        if sizes[-1] > 0:
            return np.array(sizes + [1] * (classes - filled), np.int64)
        filled -= sizes.count(0)


def _largest_remainder(total: int, weights: list[Fraction]) -> list[int]:
    whole = sum(weights)
    quotas = [total * weight / whole for weight in weights]
    sizes = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda k: sizes[k] - quotas[k])
    for k in by_remainder[: total - sum(sizes)]:
        sizes[k] += 1
    return sizes


def inverse_probabilities(sizes: ArrayLike) -> NDArray[np.float64]:
    """Probabilities (K,) of the classes under inverse sampling, proportional to 1 / N_k (Eq. 4).

    Args:
        sizes: (K,) class sizes, N_k.

    Raises:
        ValueError: there is no class, or an empty one.
    """
    sizes = np.asarray(sizes)
    if sizes.size == 0 or sizes.min() < 1:
        raise ValueError(f"class sizes are {sizes.tolist()}; every class needs at least one sub-image")
    inverse = 1.0 / sizes
    return inverse / inverse.sum()


def thresholds(scores: ArrayLike, sizes: ArrayLike) -> NDArray[np.float64]:
    """Largest score of each class, t_k = t[N_1 + ... + N_k] in ascending order (Eq. 3).

    Args:
        scores: (N,) MSE of the sub-images.
        sizes: (K,) class sizes, with the sum N.

    Returns:
        (K,) thresholds in ascending order.

    Raises:
        ValueError: a score is NaN, or the sizes do not sum to N.
    """
    scores, sizes = np.asarray(scores), np.asarray(sizes, np.int64)
    broken = np.flatnonzero(np.isnan(scores))
    if broken.size:
        raise ValueError(
            f"{broken.size} of {scores.size} scores are NaN (the first is number {broken[0]}); "
            "replace the reference network and score again"
        )
    if sizes.size == 0 or sizes.min() < 1 or sizes.sum() != len(scores):
        raise ValueError(
            f"class sizes {sizes.tolist()} (sum {sizes.sum()}) do not split {len(scores)} scores; "
            "make them with class_sizes() from the number of scores"
        )
    return np.sort(scores)[np.cumsum(sizes) - 1].astype(np.float64)


def assign_classes(scores: ArrayLike, sizes: ArrayLike) -> NDArray[np.int64]:
    """Assign (N,) scores to classes 1..K of (K,) ``sizes`` by their rank; equal scores rank by position."""
    sizes = np.asarray(sizes)
    classes = np.empty(sizes.sum(), np.int64)
    classes[np.argsort(scores, kind="stable")] = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    return classes


def classify(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.int64]:
    """Classify other sub-images (validation) by thresholds: the first class with score <= t_k, else K."""
    return np.searchsorted(np.asarray(thresholds)[:-1], np.asarray(scores), side="left").astype(np.int64) + 1


class Classes(NamedTuple):
    """The long-tailed split of a training set into K classes, easiest first."""

    sizes: NDArray[np.int64]
    """(K,) N_k, sub-images."""
    thresholds: NDArray[np.float64]
    """(K,) t_k, largest MSE of the class, RGB in [0, 1]."""
    probabilities: NDArray[np.float64]
    """(K,) P_k of inverse sampling."""


def split_classes(scores: ArrayLike, classes: int, imbalance: float) -> Classes:
    """Split sub-images by their scores into ``classes`` classes with N_1 / N_K = ``imbalance``."""
    sizes = class_sizes(len(np.asarray(scores)), classes, imbalance)
    return Classes(sizes, thresholds(scores, sizes), inverse_probabilities(sizes))
