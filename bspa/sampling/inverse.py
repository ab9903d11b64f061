"""Inverse sampling: sub-images from difficulty classes, the rarest class most often (Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bspa.data.crops import TRANSFORMS, check_windows
from bspa.data.packed import PackedImages
from bspa.difficulty.classes import inverse_probabilities
from bspa.difficulty.shards import ClassShard, open_shards
from bspa.sampling.patches import Draw, PatchPool
from bspa.sampling.random_numbers import pick
from bspa.sampling.sampler import PoolSampler, whole_images


class InverseSampler(PoolSampler):
    """Draws a class with probability P_k proportional to 1 / N_k, then a member of it uniformly.

    Windows are cut from ``images``; without them, the shards must hold pixels.

    Raises:
        ValueError: the shards' windows do not fit the images.
    """

    def __init__(
        self, shards: Sequence[ClassShard], *, images: PackedImages | None = None, batch: int, seed: int
    ):
        pool, corners = _pool_of_pixels(shards) if images is None else _pool_of_windows(shards, images)
        super().__init__(pool, batch=batch, seed=seed, stream="inverse")
        self._image, self._top, self._left = corners
        self._members = np.array([len(shard) for shard in shards], np.int64)
        self._starts = np.cumsum(self._members) - self._members
        self._borders = np.cumsum(inverse_probabilities(self._members))[:-1]

    def draw(self, iteration: int) -> Draw:
        """See `bspa.sampling.sampler.Sampler`."""
        numbers = self._random.table(iteration, self._batch, 3)
        k = np.searchsorted(self._borders, numbers[:, 0], side="right")
        n = self._starts[k] + pick(numbers[:, 1], self._members[k])
        image, top, left = (column[n].astype(np.int64) for column in (self._image, self._top, self._left))
        return Draw(image, top, left, pick(numbers[:, 2], TRANSFORMS))


def open_sampler(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int, shuffle_from: int | None
) -> InverseSampler:
    """Open a sampler of the class shards in the folder ``source``; its draws are always independent."""
    del shuffle_from
    assert source is not None
    shards = open_shards(source)
    if shards[0].size != patch:
        raise ValueError(f"{source} holds sub-images of {shards[0].size} HR pixels, not {patch}")
    pixels = shards[0].samples == "pixels"
    return InverseSampler(shards, images=None if pixels else images, batch=batch, seed=seed)


Corners = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
"""Image of the pool, top and left in LR pixels, of the sub-images of all classes, class after class."""


def _pool_of_pixels(shards: Sequence[ClassShard]) -> tuple[PatchPool, Corners]:
    """Treat each shard as one tall image: its sub-images, one below the other."""
    side, patch = shards[0].lr.shape[1], shards[0].hr.shape[1]
    columns = (
        [shard.lr.reshape(-1, side, 3) for shard in shards],
        [shard.hr.reshape(-1, patch, 3) for shard in shards],
    )
    pool = PatchPool(*columns, scale=patch // side, patch=patch)
    counts = [len(shard) for shard in shards]
    top = np.concatenate([np.arange(count) * side for count in counts])
    return pool, (np.repeat(np.arange(len(shards)), counts), top, np.zeros_like(top))


def _pool_of_windows(shards: Sequence[ClassShard], images: PackedImages) -> tuple[PatchPool, Corners]:
    """Take the whole photographs; the shards say where to cut."""
    patch, scale = shards[0].size, images.scale
    if shards[0].scale != scale:
        raise ValueError(f"the class shards are for scale {shards[0].scale}, the images for scale {scale}")
    image, top, left = (
        np.concatenate([getattr(shard, name) for shard in shards]) for name in ("image", "top", "left")
    )
    check_windows(images, image, top, left, patch)
    pool, _ = whole_images(images, patch)
    top //= scale
    left //= scale
    return pool, (image, top, left)
