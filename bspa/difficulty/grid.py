"""Where sub-images lie: ClassSR's grid of windows over an image (Section 4.1).

Source: Kong et al., "ClassSR: A General Framework to Accelerate Super-Resolution Networks by Data
Characteristic", CVPR 2021, which the paper follows. All lengths are in HR pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.system.files import atomic_path
from bspa.system.hdf5 import open_format

FORMAT = "bspa-windows"
FORMAT_VERSION = 1


def starts(length: int, size: int, step: int, threshold: int) -> NDArray[np.int64]:
    """Starts of the windows along a side: 0, step, 2 step, ... as far as whole windows go.

    The last possible window is added when more than ``threshold`` pixels would be left over.

    Args:
        length: of the side.
        size: of a window.
        step: between neighbours.
        threshold: pixels that may be left over.

    Raises:
        ValueError: the side is shorter than a window, or size, step or threshold make no sense.
    """
    if size < 1 or step < 1 or threshold < 0:
        raise ValueError(
            f"size is {size}, step {step}, threshold {threshold}; size and step must be 1 or more, "
            "threshold 0 or more"
        )
    if length < size:
        raise ValueError(f"a side of {length} pixels is shorter than a window of {size}")
    regular = np.arange(0, length - size + 1, step, dtype=np.int64)
    if length - (regular[-1] + size) > threshold:
        return np.append(regular, length - size)
    return regular


def grid(height: int, width: int, *, size: int, step: int, threshold: int) -> NDArray[np.int64]:
    """Return (n, 2) top and left of each window over an image, row after row; see `starts`."""
    tops = starts(height, size, step, threshold)
    lefts = starts(width, size, step, threshold)
    return np.stack([np.repeat(tops, len(lefts)), np.tile(lefts, len(tops))], axis=1)


def count_windows(shapes: ArrayLike, *, size: int, step: int, threshold: int) -> int:
    """Count the windows over images of ``shapes``, (n, 2) heights and widths."""
    return sum(
        len(starts(int(height), size, step, threshold)) * len(starts(int(width), size, step, threshold))
        for height, width in np.asarray(shapes)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Sub-images of a source at one scale, in the order of the images, then row after row."""

    image: NDArray[np.int32]
    """(N,) index of the packed image."""
    top: NDArray[np.int32]
    """(N,) first row."""
    left: NDArray[np.int32]
    """(N,) first column."""
    size: int
    step: int
    threshold: int

    def __len__(self) -> int:
        return len(self.image)


def write_windows(
    path: str | os.PathLike[str],
    shapes: ArrayLike,
    *,
    size: int,
    step: int,
    threshold: int,
    scale: int = 1,
) -> None:
    """Write the windows over images of ``shapes``, (n, 2) heights and widths, to the HDF5 file ``path``.

    Raises:
        ValueError: size or step is not a multiple of ``scale``, so that LR windows would not exist; or an
            image is smaller than a window.
    """
    if size % scale or step % scale:
        raise ValueError(
            f"size is {size}, step {step}; both must be multiples of the scale, {scale}, for the windows to "
            "lie on LR pixels"
        )
    grids = [grid(int(h), int(w), size=size, step=step, threshold=threshold) for h, w in np.asarray(shapes)]
    if not grids:
        raise ValueError("there are no images to lay windows over")
    windows = np.concatenate(grids)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["image"] = np.repeat(np.arange(len(grids)), [len(g) for g in grids]).astype(np.int32)
        file["top"], file["left"] = windows.T.astype(np.int32)
        file.attrs.update(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "size": size,
                "step": step,
                "threshold": threshold,
                "scale": scale,
            }
        )


def read_windows(path: str | os.PathLike[str]) -> Windows:
    """Read what `write_windows` wrote.

    Raises:
        ValueError: the file is damaged, of another kind or of another format version.
    """
    with open_format(path, FORMAT, FORMAT_VERSION, rule="crop_sub_images") as file:
        return Windows(
            image=file["image"][:],
            top=file["top"][:],
            left=file["left"][:],
            size=int(file.attrs["size"]),
            step=int(file.attrs["step"]),
            threshold=int(file.attrs["threshold"]),
        )
