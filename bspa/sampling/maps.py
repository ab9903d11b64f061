"""Read the error maps of a source's images; see `bspa.sampling.error_maps`."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from bspa.sampling.error_maps import FORMAT, FORMAT_VERSION
from bspa.system.hdf5 import memory_map, open_hdf5


class ErrorMaps:
    """Error maps of n images, memory-mapped: nothing is read before it is touched."""

    patch: int
    """Side of a patch, HR pixels."""
    scale: int
    """HR pixels to an LR pixel along each side."""
    shapes: NDArray[np.int64]
    """(n, 2) rows and columns of each map."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="map_informativeness") as file:
            self.patch, self.scale = int(file.attrs["patch"]), int(file.attrs["scale"])
            self.shapes, self._offsets = file["shape"][:], file["offset"][:]
            self._mse = memory_map(path, file["mse"], np.float32)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Return the (rows, columns) mean square errors of image ``index``, RGB in [0, 1]; read-only."""
        start, (rows, columns) = self._offsets[index], self.shapes[index].tolist()
        return self._mse[start : start + rows * columns].reshape(rows, columns)
