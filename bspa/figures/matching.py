"""Scores of the same sub-images under several networks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from bspa.difficulty.scores import Scores, read_scores

GRID = ("scale", "size", "step", "threshold")
POSITIONS = ("image", "top", "left")


def read_matching(paths: Sequence[str | os.PathLike[str]]) -> list[Scores]:
    """Read score files whose n-th scores are all of the same sub-image.

    Raises:
        ValueError: a file is no score file, or is of other sub-images than the first.
    """
    scores = [read_scores(path) for path in paths]
    for path, other in zip(paths, scores, strict=True):
        difference = _difference(scores[0], other)
        if difference:
            raise ValueError(
                f"{path} is of other sub-images than {paths[0]}: {difference}; "
                "remove both and let them be scored again"
            )
        if not np.isfinite(other.mse).all():
            raise ValueError(f"{path} has scores that are not finite; the network that made them is broken")
    return scores


def _difference(first: Scores, other: Scores) -> str:
    for name in GRID:
        if getattr(first, name) != getattr(other, name):
            return f"{name} is {getattr(other, name)}, not {getattr(first, name)}"
    if len(first) != len(other):
        return f"there are {len(other):,}, not {len(first):,}"
    for name in POSITIONS:
        if not np.array_equal(getattr(first, name), getattr(other, name)):
            return f"they lie elsewhere ({name} differs)"
    return ""
