"""Read class shards: the sub-images of one difficulty class; see `bspa.difficulty.shard_writing`.

A reader imports its writer's format, not the other way: what only reads does not make the shards again.

Shape legend: N_k members of class k, P and p pixels of an HR and an LR sub-image.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bspa.difficulty.shard_writing import FORMAT, FORMAT_VERSION, Pixels, Samples, check_samples
from bspa.system.hdf5 import memory_map, open_hdf5


class ClassShard:
    """One class of sub-images. Its pixels are memory-mapped: nothing is read before it is touched."""

    samples: Samples
    """Whether the shard holds the sub-images' pixels, or only where they lie."""
    mse: NDArray[np.float32]
    """(N_k,) RGB in [0, 1]."""
    image: NDArray[np.int32]
    """(N_k,) index of the packed image."""
    top: NDArray[np.int32]
    """(N_k,) first row, HR pixels."""
    left: NDArray[np.int32]
    """(N_k,) first column, HR pixels."""
    scale: int
    size: int
    """P, HR pixels."""
    k: int
    """The class, 1 the easiest."""
    thresholds: NDArray[np.float64]
    """(K,) largest MSE of each class."""
    reference_sha256: str
    """Digest of the reference network's weights file."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="write_class_shards") as file:
            self.samples = file.attrs["samples"]
            check_samples(self.samples)
            self.scale, self.size, self.k = (int(file.attrs[name]) for name in ("scale", "size", "class"))
            self.thresholds = file.attrs["thresholds"]
            self.reference_sha256 = str(file.attrs["reference_sha256"])
            self.mse, self.image, self.top, self.left = (
                file[name][:] for name in ("mse", "image", "top", "left")
            )
            self._path, self._pixels = path, {}
            if self.samples == "pixels":
                self._pixels = {name: memory_map(path, file[name]) for name in ("lr", "hr")}

    def __len__(self) -> int:
        return len(self.mse)

    @property
    def lr(self) -> Pixels:
        """(N_k, p, p, 3) uint8; a ValueError if the shard holds windows."""
        return self._mapped("lr")

    @property
    def hr(self) -> Pixels:
        """(N_k, P, P, 3) uint8; a ValueError if the shard holds windows."""
        return self._mapped("hr")

    def _mapped(self, name: str) -> Pixels:
        if self.samples != "pixels":
            raise ValueError(
                f"{self._path} has no {name}: it holds {self.samples}, to be cut from the packed images; "
                "set shards: pixels in the config to store pixels"
            )
        return self._pixels[name]


def open_shards(directory: str | os.PathLike[str]) -> list[ClassShard]:
    """Open every class of ``directory``, easiest first; a ValueError if they are not 1..K of one split."""
    shards = sorted(
        (ClassShard(path) for path in Path(directory).glob("class*.h5")), key=lambda shard: shard.k
    )
    splits = {(len(shard.thresholds), shard.scale, shard.size, shard.samples) for shard in shards}
    if len(splits) != 1 or [shard.k for shard in shards] != list(range(1, len(shards[0].thresholds) + 1)):
        raise ValueError(
            f"{directory} holds classes {[shard.k for shard in shards]}, not every class of one split; "
            "remove it and let write_class_shards make it again"
        )
    return shards
