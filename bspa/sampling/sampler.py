"""What all samplers of training batches share.

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n. `draw` says
which patches a batch holds; the pool holds the images they are cut from. Each patch is flipped horizontally,
flipped vertically and transposed with probability 1/2 each.

Each way of sampling is a module with a class and a function ``open_sampler(images, source, *, patch, batch,
seed, shuffle_from)``, where ``source`` is the file or folder that says what to sample.

Shape legend: n samples, h and w pixels of an LR image, P and p pixels of an HR and an LR patch, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bspa.data.crops import crop_pairs
from bspa.data.packed import PackedImages
from bspa.sampling.random_numbers import RandomNumbers, pick

Pixels = NDArray[np.uint8]
Batch = tuple[Pixels, Pixels]
"""LR (n, p, p, 3) and HR (n, P, P, 3), C-contiguous."""


class Draw(NamedTuple):
    """Where the samples of a batch lie; each is (n,) int64."""

    image: NDArray[np.int64]
    """Number of the image in the pool."""
    top: NDArray[np.int64]
    """First row, LR pixels."""
    left: NDArray[np.int64]
    """First column, LR pixels."""
    transform: NDArray[np.int64]
    """Orientation, see `bspa.data.crops.orient`."""


class PatchPool:
    """LR (h, w, 3) and HR (s h, s w, 3) uint8 images to cut patches of ``patch`` HR pixels from."""

    def __init__(self, lr: Sequence[Pixels], hr: Sequence[Pixels], *, scale: int, patch: int):
        # Plain arrays, since slicing an np.memmap costs more than copying a patch.
        self.lr_images, self.hr_images = ([np.asarray(image) for image in images] for images in (lr, hr))
        self.scale, self.patch, self.lr_patch = scale, patch, patch // scale

    def __len__(self) -> int:
        return len(self.lr_images)

    def lr(self, index: int) -> Pixels:
        """Return LR image ``index``."""
        return self.lr_images[index]

    def hr(self, index: int) -> Pixels:
        """Return HR image ``index``."""
        return self.hr_images[index]

    def crop(self, draw: Draw, out: Batch | None = None) -> Batch:
        """Cut the patches of a batch, into ``out`` if given."""
        top, left = draw.top * self.scale, draw.left * self.scale
        return crop_pairs(self, draw.image, top, left, self.patch, out=out, transforms=draw.transform)


class Sampler:
    """What a stage trains on; samplers with the same ``seed`` and different ``stream`` are independent.

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
        # Batches come in order: two passes are enough. A pass is numbered by its first sample.
        self._pass = lru_cache(maxsize=2)(lambda first: order.permutation(first, len(pool)))

    def draw(self, iteration: int) -> Draw:
        """Say which patches of the pool the batch of ``iteration`` holds."""
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

    def batch(self, iteration: int) -> Batch:
        """Return these patches."""
        return self.pool.crop(self.draw(iteration))


def whole_images(images: PackedImages, patch: int) -> tuple[PatchPool, NDArray[np.int64]]:
    """Return the images as a pool, and the (images, 2) numbers of windows, vertical and horizontal."""
    positions = (images.hr_shapes - patch) // images.scale + 1
    if positions.min() < 1:
        i = int(positions.min(axis=1).argmin())
        height, width = images.hr_shapes[i]
        raise ValueError(
            f"image {images.ids[i]} ({width}x{height}) is smaller than a patch of {patch} HR pixels; "
            "remove it from the source or lower the patch size"
        )
    lr, hr = zip(*((images.lr(i), images.hr(i)) for i in range(len(images))), strict=True)
    return PatchPool(lr, hr, scale=images.scale, patch=patch), positions
