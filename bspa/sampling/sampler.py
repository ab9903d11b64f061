"""Training batches: uniform sampling (Eq. 1), inverse sampling (Eq. 4) and informative patches (SamplingAug).

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n. A sampler
says which patches a batch holds (`draw`); its pool holds the images that they are cut from.
Shape legend: n samples, P and p pixels of an HR and an LR patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bspa.data.crops import check_windows
from bspa.data.packed import PackedImages
from bspa.difficulty.classes import inverse_probabilities
from bspa.difficulty.shards import ClassShard
from bspa.sampling.patches import TRANSFORMS, Batch, Draw, PatchPool
from bspa.sampling.random_numbers import RandomNumbers, pick
from bspa.sampling.selections import Selection


class Sampler(Protocol):
    """What a stage trains on."""

    pool: PatchPool

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        ...

    def batch(self, iteration: int) -> Batch:
        """Return these patches: LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous."""
        ...


class _PoolSampler:
    """What the samplers share."""

    def __init__(self, pool: PatchPool, *, batch: int, seed: int, stream: str):
        if batch < 1:
            raise ValueError(f"batch is {batch}; it must be 1 or more")
        self.pool = pool
        self._batch = batch
        self._random = RandomNumbers(seed, stream)

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        raise NotImplementedError

    def batch(self, iteration: int, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        return self.pool.crop(self.draw(iteration), out)


def _whole_images(images: PackedImages, patch: int) -> tuple[PatchPool, NDArray[np.int64]]:
    """Return the images as a pool, and (n, 2) how many windows fit along each one's sides, in LR pixels."""
    scale = images.scale
    if patch < 1 or patch % scale:
        raise ValueError(f"patch is {patch} HR pixels; it must be a multiple of the scale, {scale}")
    if not len(images):
        raise ValueError("there is no image to sample from")
    numbers = range(len(images))
    pool = PatchPool(
        [images.lr(i) for i in numbers], [images.hr(i) for i in numbers], scale=scale, patch=patch
    )
    for name, image in zip(images.ids, pool.hr, strict=True):
        if min(image.shape[:2]) < patch:
            height, width = image.shape[:2]
            raise ValueError(
                f"image {name} ({width}x{height}) is smaller than a patch of {patch} HR pixels; "
                "take it out of the source or lower the patch size"
            )
    return pool, np.array([image.shape[:2] for image in pool.lr], np.int64) - pool.lr_patch + 1


class UniformSampler(_PoolSampler):
    """Patches cropped from whole images: an image uniformly, then a window uniformly (Eq. 1).

    Windows lie anywhere on the LR pixel grid; each is flipped horizontally, flipped vertically and
    transposed with probability 1/2 each.

    Args:
        images: where to crop.
        patch: side of the HR patch in pixels, a multiple of the scale.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: the patch is no multiple of the scale, or larger than an image.
    """

    def __init__(self, images: PackedImages, *, patch: int, batch: int, seed: int, stream: str = "uniform"):
        pool, self._positions = _whole_images(images, patch)
        super().__init__(pool, batch=batch, seed=seed, stream=stream)

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        numbers = self._random.table(iteration, self._batch, 4)
        image = pick(numbers[:, 0], len(self.pool))
        top, left = pick(numbers[:, 1:3], self._positions[image]).T
        return Draw(image, top, left, pick(numbers[:, 3], TRANSFORMS))


class InformativeSampler(_PoolSampler):
    """Informative patches of whole images (SamplingAug): an image uniformly, then one of its chosen offsets.

    The chosen offsets of an image are equally likely; the augmentation is that of `UniformSampler`.

    Args:
        images: where to crop.
        selection: the offsets to crop at.
        patch: side of the HR patch in pixels, that of the selection.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: the selection is for other images, another scale or another size of patch.
    """

    def __init__(
        self,
        images: PackedImages,
        selection: Selection,
        *,
        patch: int,
        batch: int,
        seed: int,
        stream: str = "informative",
    ):
        pool, positions = _whole_images(images, patch)
        super().__init__(pool, batch=batch, seed=seed, stream=stream)
        advice = "remove its file and let select_patches make it again"
        if (selection.patch, selection.scale) != (patch, images.scale):
            raise ValueError(
                f"the selection is for patches of {selection.patch} HR pixels at scale {selection.scale}, "
                f"not {patch} at scale {images.scale}; {advice}"
            )
        if len(selection) != len(images):
            raise ValueError(f"the selection is for {len(selection)} images, not {len(images)}; {advice}")
        for i, name in enumerate(images.ids):
            corners = selection.of_image(i)
            if not len(corners) or corners.min() < 0 or (corners.max(axis=0) >= positions[i]).any():
                raise ValueError(f"the selection does not fit image {name}; {advice}")
        self._offsets, self._starts = selection.offsets, selection.bounds[:-1]
        self._counts = np.diff(selection.bounds)

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        numbers = self._random.table(iteration, self._batch, 3)
        image = pick(numbers[:, 0], len(self.pool))
        chosen = self._starts[image] + pick(numbers[:, 1], self._counts[image])
        top, left = self._offsets[chosen].T.astype(np.int64)
        return Draw(image, top, left, pick(numbers[:, 2], TRANSFORMS))


class InverseSampler(_PoolSampler):
    """Sub-images from difficulty classes: a class with P_k proportional to 1 / N_k (Eq. 4), then a member.

    Members of a class are equally likely; the augmentation is that of `UniformSampler`.

    Args:
        shards: one for each class, of one scale and one size.
        images: what the sub-images are cut from, whole; without them the shards must hold the pixels.
        batch: samples in a batch.
        seed: of the random numbers, 0 or more.
        stream: name of the sequence; samplers with the same seed and other names are independent.

    Raises:
        ValueError: there is no shard, they are of different sizes, or hold windows of other images.
    """

    def __init__(
        self,
        shards: Sequence[ClassShard],
        *,
        images: PackedImages | None = None,
        batch: int,
        seed: int,
        stream: str = "inverse",
    ):
        pool, corners = _pool_of_pixels(shards) if images is None else _pool_of_windows(shards, images)
        super().__init__(pool, batch=batch, seed=seed, stream=stream)
        # Sub-images of all classes one after the other: image of the pool, top and left in LR pixels.
        self._image, self._top, self._left = corners
        self._members = np.array([len(shard) for shard in shards], np.int64)
        self._starts = np.cumsum(self._members) - self._members
        self._borders = np.cumsum(inverse_probabilities(self._members))[:-1]

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` a batch holds, the same for the same ``iteration``."""
        numbers = self._random.table(iteration, self._batch, 3)
        k = np.searchsorted(self._borders, numbers[:, 0], side="right")
        n = self._starts[k] + pick(numbers[:, 1], self._members[k])
        image, top, left = (column[n].astype(np.int64) for column in (self._image, self._top, self._left))
        return Draw(image, top, left, pick(numbers[:, 2], TRANSFORMS))


Corners = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]


def _pool_of_pixels(shards: Sequence[ClassShard]) -> tuple[PatchPool, Corners]:
    """Each shard is one image of the pool: its sub-images, one below the other."""
    sides = {(shard.lr.shape[1], shard.hr.shape[1]) for shard in shards}
    if len(sides) != 1:
        raise ValueError(f"class shards of one size are needed, but LR and HR sides are {sorted(sides)}")
    ((side, patch),) = sides
    columns = (
        [shard.lr.reshape(-1, side, 3) for shard in shards],
        [shard.hr.reshape(-1, patch, 3) for shard in shards],
    )
    pool = PatchPool(*columns, scale=patch // side, patch=patch)
    counts = [len(shard) for shard in shards]
    top = np.concatenate([np.arange(count) * side for count in counts])
    return pool, (np.repeat(np.arange(len(shards)), counts), top, np.zeros_like(top))


def _pool_of_windows(shards: Sequence[ClassShard], images: PackedImages) -> tuple[PatchPool, Corners]:
    """The pool is the photographs, whole."""
    sizes = {(shard.size, shard.scale) for shard in shards}
    if len(sizes) != 1 or {scale for _, scale in sizes} != {images.scale}:
        raise ValueError(
            f"class shards of one size at scale {images.scale} are needed, "
            f"but sizes and scales are {sorted(sizes)}"
        )
    ((patch, scale),) = sizes
    image, top, left = (
        np.concatenate([getattr(shard, name) for shard in shards]) for name in ("image", "top", "left")
    )
    check_windows(images, image, top, left, patch)
    pool, _ = _whole_images(images, patch)
    return pool, (image, top // scale, left // scale)
