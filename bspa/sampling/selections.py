"""The chosen patches of a source's images as a file.

HDF5: ``offset`` (M, 2) int32 and ``bound`` (n + 1,) int64, see `Selection`; the rest are attributes.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bspa.system.hdf5 import create_hdf5, memory_map, open_hdf5

FORMAT = "bspa-patch-selection"
FORMAT_VERSION = 1


class Selection(NamedTuple):
    """Where the chosen patches of n images lie."""

    offsets: NDArray[np.int32]
    """(M, 2) top and left in LR pixels, image after image, in the order they were chosen."""
    bounds: NDArray[np.int64]
    """(n + 1,) image i has the offsets bounds[i] to bounds[i + 1] - 1."""
    patch: int
    """Side of a patch, HR pixels."""
    scale: int


def write_selection(path: str | os.PathLike[str], chosen: Selection, *, key: str, **settings: Any) -> None:
    """Write ``chosen`` as HDF5, with the product's ``key`` and the settings of `select_patches`."""
    attributes = {"patch": chosen.patch, "scale": chosen.scale, **settings}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes) as file:
        file["offset"], file["bound"] = chosen.offsets, chosen.bounds


def read_selection(path: str | os.PathLike[str]) -> Selection:
    """Read what `write_selection` wrote; the offsets are memory-mapped."""
    with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="select_patches") as file:
        offsets, bounds = memory_map(path, file["offset"], np.int32), file["bound"][:]
        if bounds[0] != 0 or bounds[-1] != len(offsets) or (np.diff(bounds) < 0).any():
            raise ValueError("bounds and offsets disagree")
        return Selection(offsets, bounds, int(file.attrs["patch"]), int(file.attrs["scale"]))
