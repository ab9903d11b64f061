"""Write class shards: the sub-images of each difficulty class as one file, their pixels or where they lie.

HDF5, N_k members of class k in the order of the scores: ``mse`` (N_k,), their difficulty; ``image``, ``top``,
``left`` (N_k,), where they lie in the packed images, HR pixels; for pixels also ``lr`` (N_k, p, p, 3) and
``hr`` (N_k, P, P, 3) uint8, contiguous, to be memory-mapped.

Attributes: format, format_version, key, samples (``pixels`` or ``windows``), scale, size (P), class,
thresholds, reference_sha256. Windows take 16 bytes a member; training cuts the same pixels out of the packed
images.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedRandom
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.data.crops import check_windows, crop_pairs
from bspa.data.packed import PackedImages
from bspa.difficulty.classes import assign_classes
from bspa.difficulty.classes import thresholds as largest_scores
from bspa.difficulty.scores import Scores
from bspa.system.files import atomic_folder
from bspa.system.hdf5 import create_hdf5, let_go
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress

FORMAT = "bspa-class-shard"
FORMAT_VERSION = 2
BLOCK_BYTES = 8 << 20
"""HR pixels that are cut before they are written."""

Samples = Literal["pixels", "windows"]
Pixels = NDArray[np.uint8]


def write_class_shards(
    directory: str | os.PathLike[str],
    images: PackedImages,
    scores: Scores,
    sizes: ArrayLike,
    *,
    thresholds: ArrayLike,
    samples: Samples,
    key: str,
) -> None:
    """Write ``class01.h5`` ... into ``directory``, in one pass over the images, in memory of constant size.

    The classes have (K,) ``sizes`` and ``thresholds``, their largest MSE, easiest first. The directory
    appears when all its files are complete, and replaces an earlier one.

    Raises:
        ValueError: the scores belong to other images, or the classes to other scores.
    """
    sizes, thresholds = np.asarray(sizes, np.int64), np.asarray(thresholds, np.float64)
    check_windows(images, scores.image, scores.top, scores.left, scores.size)
    if not np.array_equal(largest_scores(scores.mse, sizes), thresholds):
        raise ValueError(
            "the thresholds do not come from these scores; remove their file and let compute_thresholds "
            "make it again"
        )
    classes = assign_classes(scores.mse, sizes)
    attributes = {
        "samples": samples, "scale": scores.scale, "size": scores.size, "thresholds": thresholds,
        "reference_sha256": scores.reference_sha256,
    }  # fmt: skip
    with atomic_folder(directory) as folder, contextlib.ExitStack() as stack:
        pixel_files = []
        for k in range(1, len(sizes) + 1):
            path, offsets = folder / f"class{k:02}.h5", []
            with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes, **{"class": k}) as file:
                for name in ("mse", "image", "top", "left"):
                    file[name] = getattr(scores, name)[classes == k]
                if samples == "pixels":
                    offsets = _reserve_pixels(file, scores)
            pixel_files.append([stack.enter_context(_open_at(path, offset)) for offset in offsets])
        if samples == "pixels":
            _write_pixels(pixel_files, images, scores, classes - 1)


def _reserve_pixels(file: h5py.File, scores: Scores) -> list[int]:
    """Give ``lr`` and ``hr`` their place, to be filled without HDF5; return the first byte of each."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    offsets = []
    for name, side in (("lr", scores.size // scores.scale), ("hr", scores.size)):
        shape = len(file["mse"]), side, side, 3
        dataset = file.create_dataset(name, shape, np.uint8, dcpl=early, fill_time="never")
        offsets.append(dataset.id.get_offset())
    return offsets


def _open_at(path: Path, offset: int) -> BufferedRandom:
    file = path.open("rb+")
    file.seek(offset)
    return file


def _write_pixels(
    files: Sequence[Sequence[BufferedRandom]],
    images: PackedImages,
    scores: Scores,
    classes: NDArray[np.int64],
) -> None:
    """Append the sub-images to the LR and HR ``files`` of their ``classes``, 0..K-1.

    One thread cuts ahead, block by block, each block sorted by class. Another flushes to the disk early, so
    that the end does not wait for all of it.
    """
    size, total = scores.size, len(scores)
    block = min(max(1, BLOCK_BYTES // (3 * size**2)), total)
    # One is written while two are cut.
    buffers = [
        tuple(np.empty((block, side, side, 3), np.uint8) for side in (size // scores.scale, size))
        for _ in range(3)
    ]

    def cut(start: int) -> tuple[Pixels, Pixels, NDArray[np.int64]]:
        some = slice(start, start + block)
        places = np.argsort(np.argsort(classes[some], kind="stable"))
        lr, hr = buffers[start // block % 3]
        windows = scores.image[some], scores.top[some], scores.left[some]
        crop_pairs(images, *windows, size, out=(lr, hr), places=places)
        for mapped in (images.lr(0), images.hr(0)):
            let_go(mapped)
        return lr, hr, np.bincount(classes[some], minlength=len(files))

    def flush() -> None:
        for _, hr_file in files:
            os.fsync(hr_file.fileno())

    progress = Progress("sub-images written", total)
    starts = range(0, total, block)
    with ThreadPoolExecutor(1) as flusher:
        flushed = flusher.submit(flush)
        for start, (lr, hr, counts) in zip(starts, map_in_order(cut, starts, threads=1), strict=True):
            ends = counts.cumsum()
            for (lr_file, hr_file), first, end in zip(files, ends - counts, ends, strict=True):
                lr_file.write(lr[first:end].data)
                hr_file.write(hr[first:end].data)
            if flushed.done():
                flushed.result()
                flushed = flusher.submit(flush)
            progress.report(start + int(ends[-1]))
        flushed.result()
