"""What all samplers of training batches share.

A batch is a pure function of seed, stream and iteration: the random numbers come from a counter-based
generator whose counter is the iteration, so a stage that resumes at step n needs nothing but n. `draw` says
which patches a batch holds; the pool holds the images they are cut from. Each patch is flipped horizontally,
flipped vertically and transposed with probability 1/2 each.

Each way of sampling is a module with a class and a function ``open_sampler(images, source, *, patch, batch,
seed)``, where ``source`` is the file or folder that says what to sample.

Shape legend: n samples, h and w pixels of an LR image, P and p pixels of an HR and an LR patch, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bspa.data.crops import crop_pairs
from bspa.data.packed import PackedImages
from bspa.sampling.random_numbers import RandomNumbers

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
    """What a stage trains on; samplers with the same ``seed`` and different ``stream`` are independent."""

    def __init__(self, pool: PatchPool, *, batch: int, seed: int, stream: str):
        self.pool = pool
        self._batch = batch
        self._random = RandomNumbers(seed, stream)

    def draw(self, iteration: int) -> Draw:
        """Say which patches of the pool the batch of ``iteration`` holds."""
        raise NotImplementedError

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
