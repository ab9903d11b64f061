"""The difficulty scores of a source's sub-images, as a file."""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from bspa.system.files import atomic_path
from bspa.system.hdf5 import open_format

FORMAT = "bspa-difficulty-scores"
FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores:
    """The difficulty of N sub-images and where they lie."""

    mse: NDArray[np.float32]
    """(N,) mean square error of the reference network, RGB in [0, 1]."""
    image: NDArray[np.int32]
    """(N,) index of the packed image."""
    top: NDArray[np.int32]
    """(N,) first row, HR pixels."""
    left: NDArray[np.int32]
    """(N,) first column, HR pixels."""
    size: int
    """Side of a sub-image, HR pixels."""
    step: int
    """Distance of neighbours, HR pixels."""
    threshold: int
    """Pixels left over at the border beyond which a last window is added."""
    scale: int
    reference_sha256: str
    """Digest of the reference network's weights file."""
    precision: str = "float32"
    """Of the network's arithmetic; see `bspa.difficulty.scoring.arithmetic`."""
    sees: str = "sub_images"
    """What the network saw: ``sub_images`` alone, or whole ``images``."""

    def __len__(self) -> int:
        return len(self.mse)


def write_scores(path: str | os.PathLike[str], scores: Scores) -> None:
    """Write ``scores`` as HDF5: four datasets of N values, everything else as attributes."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name in ("mse", "image", "top", "left"):
            file[name] = getattr(scores, name)
        for name in ("size", "step", "threshold", "scale", "reference_sha256", "precision", "sees"):
            file.attrs[name] = getattr(scores, name)
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """Read what `write_scores` wrote.

    Raises:
        ValueError: the file is damaged, of another kind or of another format version.
    """
    with open_format(path, FORMAT, FORMAT_VERSION, rule="score_difficulty") as file:
        return Scores(
            mse=file["mse"][:],
            image=file["image"][:],
            top=file["top"][:],
            left=file["left"][:],
            size=int(file.attrs["size"]),
            step=int(file.attrs["step"]),
            threshold=int(file.attrs["threshold"]),
            scale=int(file.attrs["scale"]),
            reference_sha256=str(file.attrs["reference_sha256"]),
            precision=str(file.attrs["precision"]),
            sees=str(file.attrs["sees"]),
        )
