"""Packed images: a source's HR and LR images at one scale in one file that can be memory-mapped.

All processes of a machine share its pages. `bspa.data.packing` says how the file is laid out.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from bspa.system.hdf5 import memory_map, open_hdf5

FORMAT = "bspa-packed"
FORMAT_VERSION = 2

Pixels = NDArray[np.uint8]


class PackedImages:
    """The images of a packed file, memory-mapped: they are read where they are touched.

    Args:
        path: HDF5 file that the rule pack_images made.

    Raises:
        ValueError: the file is damaged, of another kind or of another format version.
    """

    scale: int
    """HR pixels to an LR pixel along each side."""
    ids: list[str]
    hr_shapes: NDArray[np.int64]
    """(n, 2) height and width of each HR image."""
    lr_shapes: NDArray[np.int64]
    """(n, 2) height and width of each LR image."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="pack_images") as file:
            self.scale = int(file.attrs["scale"])
            self.ids = list(file["id"].asstr()[:])
            self.hr_shapes, self.lr_shapes = file["hr_shape"][:], file["lr_shape"][:]
            self._hr_offsets, self._lr_offsets = file["hr_offset"][:], file["lr_offset"][:]
            self._hr, self._lr = memory_map(path, file["hr"]), memory_map(path, file["lr"])

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, index: int) -> Pixels:
        """Return HR image ``index`` as a read-only view (H, W, 3), uint8 RGB."""
        return _image(self._hr, self._hr_offsets[index], self.hr_shapes[index])

    def lr(self, index: int) -> Pixels:
        """Return LR image ``index`` as a read-only view (H / scale, W / scale, 3), uint8 RGB."""
        return _image(self._lr, self._lr_offsets[index], self.lr_shapes[index])


def _image(samples: Pixels, offset: np.int64, shape: NDArray[np.int64]) -> Pixels:
    height, width = shape.tolist()
    return samples[offset : offset + 3 * height * width].reshape(height, width, 3)
