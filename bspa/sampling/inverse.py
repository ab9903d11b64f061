"""Inverse sampling: sub-images from difficulty classes, the rarest class most often (Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bspa.data.crops import TRANSFORMS, check_windows
from bspa.data.packed import PackedImages
from bspa.difficulty.classes import inverse_probabilities
from bspa.difficulty.shards import ClassShard, open_shards
from bspa.sampling.random_numbers import pick
from bspa.sampling.sampler import Draw, PatchPool, Sampler, whole_images


class InverseSampler(Sampler):
    """Draws a class with probability P_k proportional to 1 / N_k, then a member of it uniformly.

    The members are the shards' pixels; if these hold windows, they are cut from ``images``.
    """

    def __init__(self, shards: Sequence[ClassShard], images: PackedImages, *, batch: int, seed: int):
        size, scale = shards[0].size, images.scale
        self._members = np.array([len(shard) for shard in shards], np.int64)
        # Where the members of all classes lie, class after class.
        if shards[0].samples == "pixels":
            # Each shard is one tall image: its members, one below the other.
            pool = PatchPool(
                [shard.lr.reshape(-1, size // scale, 3) for shard in shards],
                [shard.hr.reshape(-1, size, 3) for shard in shards],
                scale=scale,
                patch=size,
            )
            self._image = np.repeat(np.arange(len(shards)), self._members)
            self._top = np.concatenate([np.arange(count) * (size // scale) for count in self._members])
            self._left = np.zeros_like(self._top)
        else:
            pool, _ = whole_images(images, size)
            self._image, top, left = (
                np.concatenate([getattr(shard, name) for shard in shards])
                for name in ("image", "top", "left")
            )
            check_windows(images, self._image, top, left, size)
            self._top, self._left = top // scale, left // scale
        super().__init__(pool, batch=batch, seed=seed, stream="inverse")
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
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> InverseSampler:
    """Open a sampler of the class shards in the folder ``source``."""
    assert source is not None
    shards = open_shards(source)
    if shards[0].size != patch:
        raise ValueError(f"{source} holds sub-images of {shards[0].size} HR pixels, not {patch}")
    return InverseSampler(shards, images, batch=batch, seed=seed)
