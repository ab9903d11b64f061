"""Class shards: the sub-images of one difficulty class as one file that can be memory-mapped.

Shape legend: N_k members of class k, P and p pixels of an HR and an LR sub-image.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.crops import check_windows, crop_pairs
from bspa.difficulty import assign_classes
from bspa.difficulty import thresholds as largest_scores
from bspa.hdf5 import memory_map, open_format
from bspa.packed import PackedImages
from bspa.reporting import Reporter
from bspa.scores import Scores

FORMAT = "bspa-class-shard"
FORMAT_VERSION = 1
BLOCK_BYTES = 32 << 20


def shard_path(directory: str | os.PathLike[str], k: int) -> Path:
    """Path of the shard of class ``k`` = 1..K."""
    return Path(directory) / f"class{k:02}.h5"


def write_class_shards(
    directory: str | os.PathLike[str],
    images: PackedImages,
    scores: Scores,
    sizes: ArrayLike,
    *,
    thresholds: ArrayLike,
) -> None:
    """Write ``class01.h5`` ... into ``directory``, in one pass over the images.

    Members keep the order of the scores. Memory does not grow with their number, and the directory appears
    when all its files are complete; one that was there before is replaced.

    Args:
        directory: where the shards go.
        images: what the sub-images are cut from.
        scores: difficulty and position of each sub-image.
        sizes: (K,) members of each class, easiest first.
        thresholds: (K,) largest MSE of each class.

    Raises:
        ValueError: the scores are of other images, or the classes of other scores.
    """
    sizes, thresholds = np.asarray(sizes, np.int64), np.asarray(thresholds, np.float64)
    if scores.scale != images.scale:
        raise ValueError(f"the scores are for scale {scores.scale}, the images for scale {images.scale}")
    check_windows(images, scores.image, scores.top, scores.left, scores.size)
    if not np.array_equal(largest_scores(scores.mse, sizes), thresholds):
        raise ValueError(
            "the thresholds do not come from these scores; remove the file and let compute_thresholds "
            "write it again"
        )
    classes = assign_classes(scores.mse, sizes)
    reporter = Reporter("sub-images written", len(scores))
    with _atomic_directory(directory) as folder, contextlib.ExitStack() as stack:
        files = []
        for k in range(1, len(sizes) + 1):
            file = stack.enter_context(h5py.File(shard_path(folder, k), "w"))
            _lay_out(file, scores, classes == k, k, thresholds)
            files.append(file)
        filled = np.zeros(len(sizes), np.int64)
        block = max(1, BLOCK_BYTES // (3 * scores.size**2))
        for start in range(0, len(scores), block):
            some = slice(start, start + block)
            lr, hr = crop_pairs(images, scores.image[some], scores.top[some], scores.left[some], scores.size)
            for k in np.unique(classes[some]) - 1:
                members = classes[some] == k + 1
                target = slice(filled[k], filled[k] + np.count_nonzero(members))
                files[k]["lr"][target] = lr[members]
                files[k]["hr"][target] = hr[members]
                filled[k] = target.stop
            reporter.report(start + len(lr))


def _lay_out(
    file: h5py.File, scores: Scores, members: NDArray[np.bool_], k: int, thresholds: NDArray[np.float64]
) -> None:
    count, size, scale = int(np.count_nonzero(members)), scores.size, scores.scale
    for name, side in (("lr", size // scale), ("hr", size)):
        # Contiguous, for memory maps; not filled first, since every member will be written.
        file.create_dataset(name, (count, side, side, 3), np.uint8, fill_time="never")
    for name in ("mse", "image", "top", "left"):
        file[name] = getattr(scores, name)[members]
    file.attrs.update(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "scale": scale,
            "size": size,
            "class": k,
            "thresholds": thresholds,
            "reference_sha256": scores.reference_sha256,
        }
    )


@contextlib.contextmanager
def _atomic_directory(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder that becomes ``directory`` if the block succeeds, and vanishes if not."""
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        for path in folder.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if directory.exists():
            directory.rename(Path(temporary) / "old")
        folder.rename(directory)


class ClassShard:
    """One class of sub-images, memory-mapped: processes share its pages, and nothing is read before use.

    Raises:
        ValueError: the file is truncated, of another kind or of another format version.
    """

    lr: NDArray[np.uint8]
    """(N_k, p, p, 3)"""
    hr: NDArray[np.uint8]
    """(N_k, P, P, 3)"""
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
    """P."""
    k: int
    """The class, 1 the easiest."""
    thresholds: NDArray[np.float64]
    """(K,) largest MSE of each class."""
    reference_sha256: str
    """Digest of the reference network's weights file."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_format(path, FORMAT, FORMAT_VERSION, rule="write_class_shards") as file:
            self.scale, self.size, self.k = (int(file.attrs[name]) for name in ("scale", "size", "class"))
            self.thresholds = file.attrs["thresholds"]
            self.reference_sha256 = str(file.attrs["reference_sha256"])
            self.mse, self.image, self.top, self.left = (
                file[name][:] for name in ("mse", "image", "top", "left")
            )
            self.lr, self.hr = (memory_map(path, file[name]) for name in ("lr", "hr"))

    def __len__(self) -> int:
        return len(self.mse)


def open_shards(directory: str | os.PathLike[str]) -> list[ClassShard]:
    """Open every class of ``directory``, easiest first.

    Raises:
        ValueError: a shard is damaged, or the shards are not the classes 1..K of one split.
    """
    shards = sorted(
        (ClassShard(path) for path in Path(directory).glob("class*.h5")), key=lambda shard: shard.k
    )
    splits = {(len(shard.thresholds), shard.scale, shard.size) for shard in shards}
    if len(splits) != 1 or [shard.k for shard in shards] != list(range(1, len(shards[0].thresholds) + 1)):
        raise ValueError(
            f"{directory} holds classes {[shard.k for shard in shards]}, not every class of one split; "
            "remove it and let write_class_shards make it again"
        )
    return shards
