"""What all samplers of training batches share.

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n. `draw` says
which patches a batch holds; the pool holds the images they are cut from. Each patch is flipped horizontally,
flipped vertically and transposed with probability 1/2 each.

Each way of sampling is a module with a class and a function ``open_sampler(images, source, *, patch, batch,
seed, shuffle_from)``, where ``source`` is the file or folder that says what to sample.

Shape legend: n samples, P and p pixels of an HR and an LR patch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.sampling.patches import Batch, Draw, PatchPool
from bspa.sampling.random_numbers import RandomNumbers, pick


class Sampler(Protocol):
    """What a stage trains on."""

    pool: PatchPool

    def draw(self, iteration: int) -> Draw:
        """Return which patches of ``pool`` the batch of ``iteration`` holds."""
        ...

    def batch(self, iteration: int) -> Batch:
        """Return these patches: LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous."""
        ...


class PoolSampler:
    """Base of the samplers; ones with the same ``seed`` and different ``stream`` are independent.

    Args:
        pool: the images.
        batch: patches in a batch.
        seed, stream: of the random numbers.
        shuffle_from: the iteration from which `images` goes through the images in random order, each once
            before any comes again; None: it draws them independently.
    """

    def __init__(
        self, pool: PatchPool, *, batch: int, seed: int, stream: str, shuffle_from: int | None = None
    ):
        self.pool = pool
        self._batch = batch
        self._random = RandomNumbers(seed, stream)
        self._shuffle_from = shuffle_from
        order = RandomNumbers(seed, f"{stream}.order")
        # Batches are drawn in order: two passes are enough. A pass is numbered by its first sample in the run.
        self._pass = lru_cache(maxsize=2)(lambda first: order.permutation(first, len(pool)))

    def draw(self, iteration: int) -> Draw:
        """See `Sampler`; each way of sampling has its own."""
        raise NotImplementedError

    def images(self, iteration: int, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose the images of a batch, by ``numbers`` in [0, 1) if the draws are independent."""
        if self._shuffle_from is None:
            return pick(numbers, len(self.pool))
        start = self._shuffle_from * self._batch
        samples = np.arange(iteration * self._batch, (iteration + 1) * self._batch)
        passes, places = np.divmod(samples - start, len(self.pool))
        firsts = start + passes * len(self.pool)
        return np.array([self._pass(int(f))[p] for f, p in zip(firsts, places, strict=True)], np.int64)

    def batch(self, iteration: int, out: Batch | None = None) -> Batch:
        """See `Sampler`; the batch is written into ``out`` if given."""
        return self.pool.crop(self.draw(iteration), out)


def whole_images(images: PackedImages, patch: int) -> tuple[PatchPool, NDArray[np.int64]]:
    """Return the images as a pool, and the (images, 2) numbers of windows, vertical and horizontal.

    Raises:
        ValueError: the patch is not a multiple of the scale, or an image is smaller.
    """
    scale = images.scale
    if patch % scale:
        raise ValueError(f"patch is {patch} HR pixels; it must be a multiple of the scale, {scale}")
    numbers = range(len(images))
    pool = PatchPool(
        [images.lr(i) for i in numbers], [images.hr(i) for i in numbers], scale=scale, patch=patch
    )
    for name, image in zip(images.ids, pool.hr_images, strict=True):
        if min(image.shape[:2]) < patch:
            height, width = image.shape[:2]
            raise ValueError(
                f"image {name} ({width}x{height}) is smaller than a patch of {patch} HR pixels; "
                "remove it from the source or lower the patch size"
            )
    return pool, np.array([image.shape[:2] for image in pool.lr_images], np.int64) - pool.lr_patch + 1
