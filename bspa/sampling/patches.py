"""Patches of images: where the samples of a batch lie, and cutting them out, in one of 8 orientations.

Shape legend: n samples, h and w pixels of an LR image, P and p pixels of an HR and an LR patch, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Batch = tuple[Pixels, Pixels]

TRANSFORMS = 8
HORIZONTAL_FLIP, VERTICAL_FLIP, TRANSPOSE = 1, 2, 4


class Draw(NamedTuple):
    """Where the samples of a batch lie; each is (n,) int64."""

    image: NDArray[np.int64]
    """Number of the image in the pool."""
    top: NDArray[np.int64]
    """First row, LR pixels."""
    left: NDArray[np.int64]
    """First column, LR pixels."""
    transform: NDArray[np.int64]
    """Orientation, see `augment`."""


class PatchPool:
    """LR images and the HR images s times as large, to cut patches of one size out of.

    Args:
        lr: (h, w, 3) uint8 each; nothing is read before it is cut out.
        hr: (s h, s w, 3) uint8 each.
        scale: s.
        patch: P, a multiple of the scale.
    """

    def __init__(self, lr: Sequence[Pixels], hr: Sequence[Pixels], *, scale: int, patch: int):
        # Views made once: slicing a memory map again and again costs more than copying a patch.
        self.lr, self.hr = ([np.asarray(image) for image in images] for images in (lr, hr))
        self.scale, self.patch, self.lr_patch = scale, patch, patch // scale

    def __len__(self) -> int:
        return len(self.lr)

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return sum(image.nbytes for images in (self.lr, self.hr) for image in images)

    def crop(self, draw: Draw, out: Batch | None = None) -> Batch:
        """Return LR (n, p, p, 3) and HR (n, P, P, 3) uint8, C-contiguous; written into ``out`` if given."""
        size, side, scale = self.patch, self.lr_patch, self.scale
        lr, hr = self._buffers(len(draw.image), out)
        samples = zip(*(column.tolist() for column in draw), strict=True)
        for n, (i, top, left, transform) in enumerate(samples):
            augment(self.lr[i][top : top + side, left : left + side], transform, lr[n])
            top, left = top * scale, left * scale
            augment(self.hr[i][top : top + size, left : left + size], transform, hr[n])
        return lr, hr

    def _buffers(self, samples: int, out: Batch | None) -> Batch:
        shapes = [(samples, side, side, 3) for side in (self.lr_patch, self.patch)]
        if out is None:
            return np.empty(shapes[0], np.uint8), np.empty(shapes[1], np.uint8)
        for buffer, shape in zip(out, shapes, strict=True):
            if buffer.shape != shape or buffer.dtype != np.uint8 or not buffer.flags.c_contiguous:
                raise ValueError(
                    f"out holds {buffer.dtype} {buffer.shape}; LR and HR must be C-contiguous uint8 {shapes}"
                )
        return out


def augment(patch: Pixels, transform: int, out: Pixels) -> None:
    """Copy a square ``patch`` (P, P, 3) into ``out``, in one of the 8 orientations.

    The bits of ``transform`` say: 1 horizontal flip, 2 vertical flip, then 4 transpose.
    """
    moves_along_rows = transform & (HORIZONTAL_FLIP | TRANSPOSE)
    if moves_along_rows:
        patch = np.ascontiguousarray(patch)  # read the far-apart rows of a photograph once, in order
    if transform & HORIZONTAL_FLIP:
        patch = patch[:, ::-1]
    if transform & VERTICAL_FLIP:
        patch = patch[::-1]
    if transform & TRANSPOSE:
        patch = patch.transpose(1, 0, 2)
    if moves_along_rows:
        # Numpy would copy pixel by pixel, runs of 3 bytes; channel by channel is 5 times faster.
        for channel in range(3):
            out[..., channel] = patch[..., channel]
    else:
        out[...] = patch
