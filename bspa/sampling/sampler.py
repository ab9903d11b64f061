"""What all samplers of training batches share.

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n. `draw` says
which patches a batch holds; the pool holds the images they are cut from. Each patch is flipped horizontally,
flipped vertically and transposed with probability 1/2 each.

Each way of sampling is a module with a class and a function ``open_sampler(images, source, *, patch, batch,
seed)``, where ``source`` is the file or folder that says what to sample.

Shape legend: n samples, P and p pixels of an HR and an LR patch.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.sampling.patches import Batch, Draw, PatchPool
from bspa.sampling.random_numbers import RandomNumbers


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
    """Base of the samplers; ones with the same ``seed`` and different ``stream`` are independent."""

    def __init__(self, pool: PatchPool, *, batch: int, seed: int, stream: str):
        self.pool = pool
        self._batch = batch
        self._random = RandomNumbers(seed, stream)

    def draw(self, iteration: int) -> Draw:
        """See `Sampler`; each way of sampling has its own."""
        raise NotImplementedError

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
