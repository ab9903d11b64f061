"""Scores of the same sub-images under several networks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from bspa.difficulty.scores import Scores, read_scores

SAME = ("scale", "size", "step", "threshold", "image", "top", "left")


def read_matching(paths: Sequence[str | os.PathLike[str]]) -> list[Scores]:
    """Read score files whose n-th scores are all of the same sub-image.

    Raises:
        ValueError: a file holds no scores, scores that are not finite, or those of other sub-images.
    """
    scores = [read_scores(path) for path in paths]
    for path, other in zip(paths, scores, strict=True):
        for name in SAME:
            if not np.array_equal(getattr(scores[0], name), getattr(other, name)):
                raise ValueError(
                    f"{path} scores other sub-images than {paths[0]}: {name} differs; "
                    "remove both and let them be scored again"
                )
        if not np.isfinite(other.mse).all():
            raise ValueError(f"{path} has scores that are not finite: the network's output is not")
    return scores
