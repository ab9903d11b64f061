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
    """The images of a file of `bspa.data.packing`, memory-mapped: they are read where they are touched.

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
            self._hr = np.split(memory_map(path, file["hr"]), file["hr_offset"][1:])
            self._lr = np.split(memory_map(path, file["lr"]), file["lr_offset"][1:])

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, index: int) -> Pixels:
        """Return HR image ``index`` as a read-only view (H, W, 3), uint8 RGB."""
        return self._hr[index].reshape(*self.hr_shapes[index], 3)

    def lr(self, index: int) -> Pixels:
        """Return LR image ``index`` as a read-only view (H / scale, W / scale, 3), uint8 RGB."""
        return self._lr[index].reshape(*self.lr_shapes[index], 3)
