"""Where the samples of a batch lie, and the images they are cut from.

Shape legend: n samples, h and w pixels of an LR image, P and p pixels of an HR and an LR patch, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bspa.data.crops import crop_pairs

Pixels = NDArray[np.uint8]
Batch = tuple[Pixels, Pixels]


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

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return sum(image.nbytes for images in (self.lr_images, self.hr_images) for image in images)

    def crop(self, draw: Draw, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        shapes = [(len(draw.image), side, side, 3) for side in (self.lr_patch, self.patch)]
        for buffer, shape in zip(out or (), shapes, strict=bool(out)):
            if buffer.shape != shape or buffer.dtype != np.uint8 or not buffer.flags.c_contiguous:
                raise ValueError(
                    f"out holds {buffer.dtype} {buffer.shape}; LR and HR must be C-contiguous uint8 {shapes}"
                )
        top, left = draw.top * self.scale, draw.left * self.scale
        return crop_pairs(self, draw.image, top, left, self.patch, out=out, transforms=draw.transform)
