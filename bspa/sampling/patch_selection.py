"""Choose the patches to train on from the hardest of every image (SamplingAug).

Source: Wang et al., "SamplingAug", BMVC 2021, and its public code. Every selection starts from the same
candidates, the hardest ``share`` of an image's offsets. ``nms`` and ``darts`` thin them out, so that the
chosen patches of an image do not all show the same place. (The public code thins all offsets first and takes
the hardest share of the rest.)
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bspa.sampling.maps import ErrorMaps
from bspa.sampling.random_numbers import RandomNumbers
from bspa.sampling.selections import Selection
from bspa.system.progress import Progress

log = logging.getLogger("bspa")

Way = Literal["greedy", "nms", "darts"]
Offsets = NDArray[np.int32]


def hardest(mse: NDArray[np.float32], count: int) -> Offsets:
    """Return (``count``, 2) offsets of the largest errors (h, w), largest first, equal ones by position."""
    order = np.argsort(-mse, axis=None, kind="stable")[:count]
    return np.stack(np.divmod(order, mse.shape[1]), axis=1).astype(np.int32)


def thin_out(candidates: Offsets, side: int, overlap: float) -> Offsets:
    """Keep each of (k, 2) candidates in turn, unless it overlaps one kept before by more than ``overlap``.

    Overlap is the intersection over union of windows of ``side`` LR pixels.
    """
    # A kept window excludes the same displacements wherever it lies. A margin avoids clipping.
    common = side - np.abs(np.arange(1 - side, side))
    intersection = np.outer(common, common)
    excluded = intersection / (2 * side**2 - intersection) > overlap
    ruled_out = np.zeros(candidates.max(axis=0) + excluded.shape, np.bool_)
    size = len(excluded)
    kept = []
    for n, (top, left) in enumerate(candidates.tolist()):
        if not ruled_out[top + side - 1, left + side - 1]:
            kept.append(n)
            ruled_out[top : top + size, left : left + size] |= excluded
    return candidates[kept]


def select_patches(maps: ErrorMaps, *, share: float, selection: Way, overlap: float, seed: int) -> Selection:
    """Choose patches of every image from its hardest.

    ``greedy`` chooses every candidate. ``nms`` (non-maximum suppression) goes through the candidates from the
    hardest on, ``darts`` in random order; both skip what overlaps a chosen patch by more than ``overlap``.

    Args:
        maps: error maps of the images.
        share: share of an image's offsets that are candidates, in (0, 1].
        selection: how to choose.
        overlap: largest intersection over union of two chosen patches, in [0, 1] (``nms``, ``darts``).
        seed: of the random order, 0 or more (``darts``).
    """
    random = RandomNumbers(seed, "darts")
    counts = [max(1, round(share * int(offsets))) for offsets in maps.shapes.prod(axis=1)]
    chosen = np.empty((sum(counts), 2), np.int32)  # the part not filled takes no memory
    bounds = np.zeros(len(maps) + 1, np.int64)
    progress = Progress("images searched", len(maps))
    for i, count in enumerate(counts):
        offsets = hardest(maps[i], count)
        if selection == "darts":
            offsets = offsets[np.argsort(random.table(i, count, 1)[:, 0], kind="stable")]
        if selection != "greedy":
            offsets = thin_out(offsets, maps.patch // maps.scale, overlap)
        bounds[i + 1] = bounds[i] + len(offsets)
        chosen[bounds[i] : bounds[i + 1]] = offsets
        progress.report(i + 1)
    log.info("%s: %d patches of %d candidates in %d images", selection, bounds[-1], len(chosen), len(maps))
    return Selection(chosen[: bounds[-1]], bounds, maps.patch, maps.scale)
