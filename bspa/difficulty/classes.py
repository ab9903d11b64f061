"""From the difficulty of sub-images to classes and their sampling probabilities (Section 3.2, Eq. 2-4).

Class 1 is the easiest and largest, class K the hardest and smallest; the score of a sub-image is an MSE.
"""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.system.files import write_text

COLUMNS = ["k", "N_k", "t_k", "P_k"]


def class_sizes(total: int, classes: int, imbalance: float) -> NDArray[np.int64]:
    """Split ``total`` sub-images into long-tailed classes (Eq. 2).

    N_k is proportional to mu^k with mu = imbalance^(-1 / (classes - 1)), so that N_1 / N_K is the imbalance
    factor as nearly as whole numbers allow. The quotas are rounded by largest remainder (the larger class
    first where remainders tie); a class that would get nothing gets one sub-image.

    Args:
        total: number of sub-images, N.
        classes: number of classes, K; a single class is allowed and takes all.
        imbalance: N_1 / N_K, 1 or more.

    Returns:
        (classes,) whole numbers, easiest class first: non-increasing, at least 1 each, summing to ``total``.

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
    # Exact fractions: no sub-image is lost to rounding, whatever the total.
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
    """Probability of each class under inverse sampling, proportional to 1 / N_k (Eq. 4); they sum to 1.

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
        sizes: (K,) class sizes that sum to N.

    Raises:
        ValueError: a score is NaN, or the sizes do not sum to N.
    """
    scores, sizes = _checked(scores, sizes)
    return np.sort(scores)[np.cumsum(sizes) - 1].astype(np.float64)


def assign_classes(scores: ArrayLike, sizes: ArrayLike) -> NDArray[np.int64]:
    """Class 1..K of each sub-image by the rank of its score; equal scores rank by position.

    The classes have exactly the given sizes, also where equal scores straddle a border.

    Raises:
        ValueError: as `thresholds`.
    """
    scores, sizes = _checked(scores, sizes)
    classes = np.empty(len(scores), np.int64)
    classes[np.argsort(scores, kind="stable")] = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    return classes


def classify(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.int64]:
    """Class 1..K of sub-images that had no part in the thresholds (validation): the first with score <= t_k.

    Scores above the last threshold are of class K.

    Raises:
        ValueError: a score is NaN, or the thresholds are not ascending.
    """
    scores, thresholds = np.asarray(scores), np.asarray(thresholds)
    _refuse_nan(scores)
    if thresholds.size == 0 or not (np.diff(thresholds) >= 0).all():
        raise ValueError(f"thresholds are {thresholds.tolist()}; at least one, in ascending order, is needed")
    return np.searchsorted(thresholds[:-1], scores, side="left").astype(np.int64) + 1


def _checked(scores: ArrayLike, sizes: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    scores, sizes = np.asarray(scores), np.asarray(sizes, np.int64)
    _refuse_nan(scores)
    if sizes.size == 0 or sizes.min() < 1 or sizes.sum() != len(scores):
        raise ValueError(
            f"class sizes {sizes.tolist()} (sum {sizes.sum()}) do not split {len(scores)} scores; "
            "make them with class_sizes() from the number of scores"
        )
    return scores, sizes


def _refuse_nan(scores: NDArray[np.floating]) -> None:
    if np.isnan(scores).any():
        first = int(np.flatnonzero(np.isnan(scores))[0])
        raise ValueError(
            f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN (the first is number {first}); "
            "the reference network is broken, so score again with another one"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The long-tailed split of a training set; one row of the file for each class, easiest first."""

    sizes: NDArray[np.int64]
    """N_k, sub-images."""
    thresholds: NDArray[np.float64]
    """t_k, the largest MSE of the class (RGB in [0, 1])."""
    probabilities: NDArray[np.float64]
    """P_k of inverse sampling."""


def split_classes(scores: ArrayLike, classes: int, imbalance: float) -> Classes:
    """Split sub-images by their scores into ``classes`` classes with N_1 / N_K = ``imbalance``.

    Raises:
        ValueError: as `class_sizes` and `thresholds`.
    """
    sizes = class_sizes(len(np.asarray(scores)), classes, imbalance)
    return Classes(sizes, thresholds(scores, sizes), inverse_probabilities(sizes))


def write_classes(path: str | os.PathLike[str], classes: Classes) -> None:
    """Write CSV columns k, N_k, t_k, P_k; every number reads back as the very same float64."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = (classes.sizes.tolist(), classes.thresholds.tolist(), classes.probabilities.tolist())
    writer.writerows([k, *row] for k, row in enumerate(zip(*columns, strict=True), 1))
    write_text(path, text.getvalue())


def read_classes(path: str | os.PathLike[str]) -> Classes:
    """Read what `write_classes` wrote.

    Raises:
        ValueError: the file is not such a table.
    """
    rows = list(csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()))
    try:
        if [int(row["k"]) for row in rows] != list(range(1, len(rows) + 1)) or not rows:
            raise ValueError("column k does not count 1, 2, 3, ...")
        return Classes(
            np.array([int(row["N_k"]) for row in rows], np.int64),
            np.array([float(row["t_k"]) for row in rows]),
            np.array([float(row["P_k"]) for row in rows]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a thresholds file with columns {', '.join(COLUMNS)} ({error}); "
            "remove it and let compute_thresholds write it again"
        ) from error
