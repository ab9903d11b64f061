"""Write difficulty scores, in a module of their own: a change to how they are read does not score again.

HDF5: ``mse`` (N,) float32, ``image``, ``top``, ``left`` (N,) int32; everything else as attributes.
"""

from __future__ import annotations

import os

import h5py
import numpy as np
from numpy.typing import NDArray

from bspa.difficulty.windows import Windows
from bspa.system.files import atomic_path

FORMAT = "bspa-difficulty-scores"
FORMAT_VERSION = 3


def write_scores(
    path: str | os.PathLike[str],
    mse: NDArray[np.float32],
    windows: Windows,
    *,
    scale: int,
    reference_sha256: str,
    precision: str,
    key: str,
) -> None:
    """Write the scores of sub-images and where these lie.

    Args:
        path: HDF5 file to write.
        mse: (N,) mean square errors, RGB in [0, 1].
        windows: the N sub-images.
        scale: HR pixels to an LR pixel along each side.
        reference_sha256: digest of the weights file of the network that was scored.
        precision: ``float32`` or ``bfloat16``.
        key: of the product.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION, "key": key})
        file.attrs.update({"scale": scale, "reference_sha256": reference_sha256, "precision": precision})
        for name in ("size", "step", "threshold"):
            file.attrs[name] = getattr(windows, name)
        file["mse"] = mse
        for name in ("image", "top", "left"):
            file[name] = getattr(windows, name)
