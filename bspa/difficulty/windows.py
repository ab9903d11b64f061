"""The sub-images of a source as a file: where each window lies.

HDF5: ``image``, ``top``, ``left`` (N,) int32; size, step, threshold and scale as attributes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.difficulty.grid import grid
from bspa.system.hdf5 import create_hdf5, open_hdf5

FORMAT = "bspa-windows"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """Sub-images of a source at one scale: image after image, row after row."""

    image: NDArray[np.int32]
    """(N,) index of the packed image."""
    top: NDArray[np.int32]
    """(N,) first row, HR pixels."""
    left: NDArray[np.int32]
    """(N,) first column, HR pixels."""
    size: int
    """Side of a sub-image, HR pixels."""
    step: int
    """Distance between neighbours, HR pixels."""
    threshold: int
    """HR pixels that may be left over at the border."""

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
        ValueError: size or step is not a multiple of the scale, there are no images, or one is smaller than
            a window.
    """
    if size % scale or step % scale:
        raise ValueError(
            f"size is {size}, step {step}; both must be multiples of the scale, {scale}, "
            "so that windows lie on LR pixels"
        )
    grids = [grid(int(h), int(w), size=size, step=step, threshold=threshold) for h, w in np.asarray(shapes)]
    if not grids:
        raise ValueError("there are no images to lay windows over")
    windows = np.concatenate(grids)
    attributes = {"size": size, "step": step, "threshold": threshold, "scale": scale}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes) as file:
        file["image"] = np.repeat(np.arange(len(grids)), [len(g) for g in grids]).astype(np.int32)
        file["top"], file["left"] = windows.T.astype(np.int32)
    return len(windows)


def read_windows(path: str | os.PathLike[str]) -> Windows:
    """Read what `write_windows` wrote."""
    with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="crop_sub_images") as file:
        return Windows(
            image=file["image"][:],
            top=file["top"][:],
            left=file["left"][:],
            size=int(file.attrs["size"]),
            step=int(file.attrs["step"]),
            threshold=int(file.attrs["threshold"]),
        )
