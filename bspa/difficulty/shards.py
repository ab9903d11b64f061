"""Read class shards: the sub-images of one difficulty class; see `bspa.difficulty.shard_writing`.

A reader imports its writer's format, not the other way: what only reads does not make the shards again.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bspa.difficulty.shard_writing import FORMAT, FORMAT_VERSION, Pixels, Samples
from bspa.system.hdf5 import memory_map, open_hdf5


class ClassShard:
    """One class of N_k sub-images. Its pixels are memory-mapped: nothing is read before it is touched."""

    samples: Samples
    """Whether the shard holds the sub-images' pixels, or only where they lie."""
    image: NDArray[np.int32]
    """(N_k,) index of the packed image."""
    top: NDArray[np.int32]
    """(N_k,) first row, HR pixels."""
    left: NDArray[np.int32]
    """(N_k,) first column, HR pixels."""
    lr: Pixels
    """(N_k, P / s, P / s, 3); only if ``samples`` is ``pixels``."""
    hr: Pixels
    """(N_k, P, P, 3); only if ``samples`` is ``pixels``."""
    size: int
    """P, HR pixels."""
    k: int
    """The class, 1 the easiest."""
    classes: int
    """K."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_hdf5(path, FORMAT, FORMAT_VERSION, rule="write_class_shards") as file:
            self.samples = file.attrs["samples"]
            self.size, self.k = int(file.attrs["size"]), int(file.attrs["class"])
            self.classes = len(file.attrs["thresholds"])
            self.image, self.top, self.left = (file[name][:] for name in ("image", "top", "left"))
            if self.samples == "pixels":
                self.lr, self.hr = memory_map(path, file["lr"]), memory_map(path, file["hr"])

    def __len__(self) -> int:
        return len(self.image)


def open_shards(directory: str | os.PathLike[str]) -> list[ClassShard]:
    """Open every class of ``directory``, easiest first; a ValueError if they are not 1..K of one split."""
    shards = sorted(map(ClassShard, Path(directory).glob("class*.h5")), key=lambda shard: shard.k)
    found = [shard.k for shard in shards]
    if not shards or found != list(range(1, shards[0].classes + 1)):
        raise ValueError(
            f"{directory} holds classes {found}, not every class of one split; "
            "remove it and let write_class_shards make it again"
        )
    return shards
