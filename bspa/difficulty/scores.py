"""Read the difficulty scores of a source's sub-images."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bspa.difficulty.score_writing import FORMAT, FORMAT_VERSION
from bspa.difficulty.windows import Windows, read_columns
from bspa.system.hdf5 import open_hdf5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores(Windows):
    """Sub-images and their difficulty."""

    mse: NDArray[np.float32]
    """(N,) mean square error of the network, RGB in [0, 1]: the difficulty, if it is the reference."""
    mse_y: NDArray[np.float32]
    """(N,) mean square error of Y / 255."""
    scale: int
    """HR pixels to an LR pixel along each side."""
    reference_sha256: str
    """Digest of the reference network's weights file."""
    precision: str = "float32"
    """Of the network's convolutions: ``float32`` or ``bfloat16``."""


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """Read what `bspa.difficulty.score_writing.write_scores` wrote."""
    with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="score_difficulty") as file:
        return Scores(
            **read_columns(file),
            mse=file["mse"][:],
            mse_y=file["mse_y"][:],
            scale=int(file.attrs["scale"]),
            reference_sha256=str(file.attrs["reference_sha256"]),
            precision=str(file.attrs["precision"]),
        )
