"""The sub-images of a source as a file: where each window lies.

HDF5: ``image``, ``top``, ``left`` (N,) int32; size, step, threshold and scale as attributes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.difficulty.grid import grid
from bspa.system.hdf5 import create_hdf5, open_hdf5

FORMAT = "bspa-windows"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """Sub-images of a source at one scale: image after image, row after row; lengths in HR pixels."""

    image: NDArray[np.int32]
    """(N,) index of the packed image."""
    top: NDArray[np.int32]
    """(N,) first row."""
    left: NDArray[np.int32]
    """(N,) first column."""
    size: int
    """Side of a sub-image."""
    step: int
    """Distance between neighbours."""
    threshold: int
    """What may be left over at the border."""

    def __len__(self) -> int:
        return len(self.image)


def write_windows(
    path: str | os.PathLike[str],
    shapes: ArrayLike,
    *,
    size: int,
    step: int,
    threshold: int,
    scale: int,
    key: str,
) -> int:
    """Lay windows over HR images of ``shapes``, (n, 2) heights and widths; return their number.

    Raises:
        ValueError: size or step is not a multiple of the scale, or an image is smaller than a window.
    """
    if size % scale or step % scale:
        raise ValueError(f"size is {size}, step {step}; both must be multiples of the scale, {scale}")
    grids = [grid(int(h), int(w), size=size, step=step, threshold=threshold) for h, w in np.asarray(shapes)]
    windows = np.concatenate(grids)
    attributes = {"size": size, "step": step, "threshold": threshold, "scale": scale}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes) as file:
        file["image"] = np.repeat(np.arange(len(grids), dtype=np.int32), [len(g) for g in grids])
        file["top"], file["left"] = windows.T.astype(np.int32)
    return len(windows)


def read_windows(path: str | os.PathLike[str]) -> Windows:
    """Read what `write_windows` wrote."""
    with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="crop_sub_images") as file:
        return Windows(**read_columns(file))


def read_columns(file: h5py.File) -> dict[str, Any]:
    """Read the fields of `Windows` from a file of windows or of scores."""
    columns = {name: file[name][:] for name in ("image", "top", "left")}
    return columns | {name: int(file.attrs[name]) for name in ("size", "step", "threshold")}
