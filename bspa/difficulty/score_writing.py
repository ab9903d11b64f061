"""Write difficulty scores, in a module of their own: a change to how they are read does not score again.

HDF5: ``mse``, ``mse_y`` (N,) float32, ``image``, ``top``, ``left`` (N,) int32; everything else as attributes.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from bspa.difficulty.windows import Windows
from bspa.system.hdf5 import create_hdf5

FORMAT = "bspa-difficulty-scores"
FORMAT_VERSION = 4


def write_scores(
    path: str | os.PathLike[str],
    mse: NDArray[np.float32],
    mse_y: NDArray[np.float32],
    windows: Windows,
    *,
    scale: int,
    reference_sha256: str,
    precision: str,
    key: str,
) -> None:
    """Write the scores of sub-images and where these lie; see `bspa.difficulty.scores.Scores`."""
    grid = {name: getattr(windows, name) for name in ("size", "step", "threshold")}
    network = {"scale": scale, "reference_sha256": reference_sha256, "precision": precision}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **grid, **network) as file:
        file["mse"], file["mse_y"] = mse, mse_y
        for name in ("image", "top", "left"):
            file[name] = getattr(windows, name)
